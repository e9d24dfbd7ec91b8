"""A description of a vendor is data: what it must hold, and how little is enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_docstatus.exceptions import RateLimited
from airflow_provider_docstatus.protocol.description import (
    BatchRoute,
    Content,
    ListRoute,
    ResultRoute,
    Route,
    ServiceDescription,
)
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import target_of
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from airflow_provider_docstatus.status import State
from tests.conversations import converse, refusal, response


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({State.RUNNING: ("working",), State.SUCCEEDED: ("ok",)}, "no vendor word means failed"),
        ({State.RUNNING: ("working",), State.FAILED: ("bad",)}, "no vendor word means succeeded"),
        ({State.SUCCEEDED: ("OK",), State.FAILED: ("bad",)}, "lower case"),
        ({State.SUCCEEDED: (" ok",), State.FAILED: ("bad",)}, "lower case"),
        ({State.SUCCEEDED: ("ok",), State.FAILED: ("bad", "ok")}, "ok stand in two states"),
    ],
    ids=["no failure word", "no success word", "upper case", "blank", "two states"],
)
def test_a_description_that_could_not_tell_how_a_job_ends_is_an_import_error(words, said):
    with pytest.raises(ValueError, match=said):
        replace(AITRONOS, words=words)


def test_the_failure_word_may_be_missing_where_a_flag_decides_or_the_description_says_that_there_is_none():
    words = {State.SUCCEEDED: ("complete",)}
    flagged = {"job": replace(AITRONOS.routes["job"], flag="success")}
    assert replace(AITRONOS, words=words, routes=flagged).states == {"complete": State.SUCCEEDED}
    assert replace(AITRONOS, words=words, has_no_failure_word=True).states == {"complete": State.SUCCEEDED}


def test_a_vendor_with_nothing_special_needs_eight_fields():
    plain = ServiceDescription(
        name="plain",
        title="Plain",
        host="https://plain.example",
        docs="https://plain.example/docs",
        auth={"bearer": ("Authorization", "Bearer {key}")},
        routes={"job": Route(path="/jobs/{id}", result=ResultRoute(take="output.fields"))},
        words={State.RUNNING: ("busy",), State.SUCCEEDED: ("ok",), State.FAILED: ("bad",)},
    )
    target = target_of(plain, {"job_id": "a+b"})
    reply = {"job_id": "a+b", "status": "OK", "output": {"fields": [1]}}
    (status, items, errors), (request,) = converse(
        fetch_result(plain, target, status=None, content=None, options={}), response(reply)
    )
    assert (status.state, items, errors) == (State.SUCCEEDED, {"a+b": [1]}, {})
    assert (request.method, request.path, request.label) == ("GET", "/jobs/a%2Bb", "GET /jobs/{job_id}")
    assert "no such id" in refusal(poll_one(plain, target), response({"error": "no such id"}, 422))
    assert "Slow down" in refusal(poll_one(plain, target), response({"error": "Slow down"}, 429), kind=RateLimited)


def test_descriptions_of_optional_routes_are_data_too():
    assert ListRoute(path="/x", items="x", item=AITRONOS.routes["job"]).page_size is None
    assert Content(path="/x").options == {}
    assert BatchRoute(path="/x", parameter="ids", items="x").longest_query > 0


@pytest.mark.parametrize(
    ("service", "parameters"),
    [(NEUROLINKER, ["request_id", "document_id"]), (AITRONOS, ["job_id"]), (UNSILOED, ["job_id"])],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_parameters_of_a_service_are_those_of_its_routes_each_once(service, parameters):
    assert service.parameters == parameters
    assert service.has_operations is (service is UNSILOED)
