"""Deployments that need no key, and those of the same service that do."""

from __future__ import annotations

import pytest

from airflow_provider_docstatus.exceptions import KeyRejected, RequestRejected
from airflow_provider_docstatus.protocol.messages import Request
from airflow_provider_docstatus.protocol.responses import read_object
from tests.transport.loopback import BOTH, answer, endpoint_of, serving, vendor_with

KEYLESS = vendor_with(key_optional=True)
REQUEST = Request(path="/x", route="/x")


@BOTH
def test_without_a_key_a_request_is_sent_where_keys_are_optional(send, monkeypatch):
    with serving() as server:
        endpoint = endpoint_of(monkeypatch, KEYLESS, host=f"http://{server.place}", password=None)
        assert send(endpoint, REQUEST).code == 200
    assert not {"x-api-key", "authorization"} & server.headers().keys()


@BOTH
def test_a_key_is_sent_where_keys_are_optional_if_there_is_one(send, monkeypatch):
    with serving() as server:
        endpoint = endpoint_of(monkeypatch, KEYLESS, host=f"http://{server.place}")
        assert send(endpoint, REQUEST).has_key
    assert server.headers()["x-api-key"] == endpoint.key


@BOTH
@pytest.mark.parametrize(
    ("password", "said"),
    [
        (None, "with 401: no key; this deployment wants a key: put it into the password of the connection."),
        ("wrong-key", "with 401: no key. Check the key (password) of the connection."),
    ],
    ids=["without a key", "with a key"],
)
def test_a_401_says_whether_a_key_is_missing_or_wrong(send, password, said, monkeypatch):
    with serving() as server:
        server.reply = answer(401, b'{"detail": "no key"}')
        endpoint = endpoint_of(monkeypatch, KEYLESS, host=f"http://{server.place}", password=password)
        response = send(endpoint, REQUEST)
    with pytest.raises(KeyRejected) as caught:
        read_object(endpoint.service, response)
    assert str(caught.value) == f"Made-up answered GET /x {said}"


def test_a_wait_goes_on_without_the_key_it_began_with_only_where_keys_are_optional(monkeypatch):
    endpoint_of(monkeypatch, KEYLESS, password=None).check_unchanged("made_up", has_key=True)
    with pytest.raises(RequestRejected, match="has no password"):
        endpoint_of(monkeypatch, vendor_with(), password=None).check_unchanged("made_up", has_key=True)
