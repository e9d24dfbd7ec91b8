"""LlamaParse: a parse job stands below ``job`` in its own reply, and alone in lists."""

from __future__ import annotations

import pytest

from airflow_provider_docstatus.exceptions import NoData, RequestRejected
from airflow_provider_docstatus.protocol.flows import poll_batch, poll_one
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target, target_of
from airflow_provider_docstatus.services import LLAMAPARSE
from airflow_provider_docstatus.status import State
from tests.conversations import converse, response

PARSE, EXTRACT = Target(route="parse", id="pjb-1"), Target(route="extract", id="e1")


def job(number: int, status: str) -> dict[str, str]:
    return {"id": f"pjb-{number}", "status": status, "created_at": "2026-08-01T10:00:00Z"}


def test_a_status_asks_for_no_content_and_data_for_markdown():
    _, (asked,) = converse(poll_one(LLAMAPARSE, PARSE), response({"job": job(1, "COMPLETED")}))
    reply = response({"job": job(1, "COMPLETED"), "markdown": {"pages": [1]}})
    (_, items, _), (fetched,) = converse(
        fetch_result(LLAMAPARSE, PARSE, status=None, content=None, options={}), reply, prefix="/api/v2"
    )
    assert (asked.query, fetched.query, items) == ({}, {"expand": "markdown"}, {"pjb-1": {"pages": [1]}})
    assert fetched.label == "GET /api/v2/parse/{job_id}"


def test_data_of_a_parse_may_be_missing():
    with pytest.raises(NoData, match="holds no markdown"):
        converse(fetch_result(LLAMAPARSE, PARSE, status=None, content=None, options={}), response({"job": job(1, "COMPLETED")}))


def test_several_ids_stand_in_a_parameter_that_repeats():
    targets = [Target(route="parse", id=f"pjb-{number}") for number in (1, 2, 3)]
    found, (sent,) = converse(
        poll_batch(LLAMAPARSE, targets), response({"items": [job(2, "RUNNING"), job(1, "FAILED")], "next_page_token": "t"})
    )
    assert {target.id: status.state for target, status in found.items()} == {"pjb-1": State.FAILED, "pjb-2": State.RUNNING}
    assert sent.query == {"job_ids": ("pjb-1", "pjb-2", "pjb-3")}


def test_a_fact_of_the_extracted_data_is_none_of_the_job():
    data = {"id": "other", "status": "FAILED", "error_message": "none", "job": {"status": "FAILED", "id": "x"}}
    body = {"id": "e1", "status": "COMPLETED", "extract_result": data}
    assert converse(poll_one(LLAMAPARSE, EXTRACT), response(body))[0].state is State.SUCCEEDED


def test_only_ids_of_parse_jobs_are_known_by_their_beginning():
    assert target_of(LLAMAPARSE, {"job_id": "pjb-1"}) == PARSE
    assert target_of(LLAMAPARSE, {"job_id": "e1"}, "extract") == EXTRACT
    with pytest.raises(RequestRejected, match="one of parse, extract"):
        target_of(LLAMAPARSE, {"job_id": "e1"})
