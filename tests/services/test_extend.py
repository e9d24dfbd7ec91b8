"""Extend: the beginning of an id names its route, and a batch's runs are listed by a route of their own."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target, target_of
from airflow_provider_docstatus.services import EXTEND
from airflow_provider_docstatus.status import State
from tests.conversations import converse, response

BATCH = Target(route="batch", id="bpr_1")
ENDED = response({"object": "batch_run", "id": "bpr_1", "status": "PROCESSED", "runCount": 2})


def runs(*words: str, token: str | None = None) -> Any:
    data = [{"object": "extract_run", "id": f"exr_{number}", "status": word} for number, word in enumerate(words, 1)]
    return response({"object": "list", "data": data, "nextPageToken": token})


@pytest.mark.parametrize(
    ("job_id", "route"),
    [
        ("exr_1", "extract"),
        ("clr_1", "classify"),
        ("splr_1", "split"),
        ("pr_1", "parse"),
        ("edr_1", "edit"),
        ("workflow_run_1", "workflow"),
        ("bpr_1", "batch"),
        ("bpar_1", "batch"),
    ],
)
def test_the_beginning_of_an_id_names_its_route(job_id, route):
    assert target_of(EXTEND, {"job_id": job_id}) == Target(route=route, id=job_id)


def test_an_id_that_begins_otherwise_needs_an_operation():
    with pytest.raises(RequestRejected, match="say operation="):
        target_of(EXTEND, {"job_id": "vr_1"})


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["PROCESSED", "PROCESSED"], State.SUCCEEDED),
        (["PROCESSED", "FAILED"], State.PARTIAL),
        (["FAILED", "CANCELLED"], State.FAILED),
        ([], State.SUCCEEDED),  # of another kind than extract runs
    ],
)
def test_a_finished_batch_is_as_good_as_its_runs(words, state):
    status, sent = converse(poll_one(EXTEND, BATCH), ENDED, runs(*words))
    assert (status.state, status.word, len(status.children)) == (state, "PROCESSED", len(words))
    assert (sent[1].path, sent[1].query) == ("/extract_runs", {"batchId": "bpr_1"})


def test_the_runs_of_a_batch_are_read_from_all_pages():
    last = response({"data": [{"id": "exr_9", "status": "FAILED"}], "nextPageToken": None})
    status, sent = converse(poll_one(EXTEND, BATCH), ENDED, runs("PROCESSED", token="t2"), last)
    assert [child.id for child in status.children] == ["exr_1", "exr_9"]
    assert sent[2].query == {"batchId": "bpr_1", "nextPageToken": "t2"}


def test_the_data_of_a_batch_is_that_of_its_runs():
    good = response({"id": "exr_1", "status": "PROCESSED", "output": {"value": {"total": 12}, "metadata": {}}})
    flow = fetch_result(EXTEND, BATCH, status=None, content=None, options={})
    (status, items, errors), sent = converse(flow, ENDED, runs("PROCESSED", "FAILED"), good)
    assert status.state is State.PARTIAL
    assert items == {"exr_1": {"value": {"total": 12}, "metadata": {}}}
    assert list(errors) == ["exr_2"]
    assert sent[2].path == "/extract_runs/exr_1"
