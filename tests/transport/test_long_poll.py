"""A service that can hold its answer gets the time that it may take; nothing is held unless the connection says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_docstatus.protocol.flows import status_request
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.provider_info import form_settings
from airflow_provider_docstatus.services import AITRONOS
from tests.transport.loopback import BOTH, endpoint_of, serving, vendor_with

HOLDS = vendor_with(routes={"job": replace(AITRONOS.routes["job"], query={"a": "b"}, long_poll=("wait", 10.0))})


@BOTH
@pytest.mark.parametrize(("extra", "query"), [({}, "a=b"), ({"long_poll": 30}, "a=b&wait=10")], ids=["off", "on"])
def test_the_parameter_is_sent_if_the_connection_says_so(send, extra, query, monkeypatch):
    with serving() as server:
        endpoint = endpoint_of(monkeypatch, HOLDS, extra, host=f"http://{server.place}")
        send(endpoint, status_request(endpoint.service, Target(route="job", id="j-1")))
    assert server.target() == f"/documents/jobs/j-1?{query}"


def test_only_the_form_of_a_service_that_can_hold_its_answer_has_the_setting():
    assert "long_poll" in form_settings(HOLDS)
    assert "long_poll" not in form_settings(AITRONOS)
