"""Neurolinker: requests of several documents, whose counters are believed before their word."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import NEUROLINKER
from airflow_provider_docstatus.status import MOST_CHILDREN, DocumentStatus, State
from tests.conversations import converse, response

REQUEST = Target(route="request", id="r-1")


def state(word: str, documents: list[str] | None = None, **counters: Any) -> State:
    body: dict[str, Any] = {"request_id": "r-1", "status": word, **counters}
    if documents is not None:
        body["documents"] = [{"document_id": f"d-{n}", "status": one} for n, one in enumerate(documents)]
    return converse(poll_one(NEUROLINKER, REQUEST), response(body))[0].state


def counts(total: Any, completed: Any, failed: Any, processing: Any) -> dict[str, Any]:
    return {"total": total, "completed": completed, "failed": failed, "processing": processing}


@pytest.mark.parametrize(
    ("word", "documents", "counters", "adjusted"),
    [
        ("completed", None, counts(2, 2, 0, 0), State.SUCCEEDED),
        ("completed", None, {}, State.SUCCEEDED),
        ("completed", ["completed"], {}, State.SUCCEEDED),
        ("completed", None, counts("2", 2.0, "0", 0), State.SUCCEEDED),
        ("completed", None, counts(2, 1, 1, 0), State.PARTIAL),
        ("completed", None, counts(None, None, 1, None), State.PARTIAL),
        ("completed", ["completed", "failed"], {}, State.PARTIAL),
        ("completed", ["completed", "failed"], counts(2, 2, 0, 0), State.PARTIAL),
        ("completed", None, counts(2, 1, 0, 1), State.RUNNING),
        ("completed", None, counts(2, 1, 0, 0), State.RUNNING),
        ("completed", None, counts(None, None, None, 1), State.RUNNING),
        ("completed", ["completed", "pending"], {}, State.RUNNING),
        ("completed", None, counts(2, 0, 2, 0), State.FAILED),
        ("completed", None, counts(2, 0, 2, None), State.FAILED),
        ("completed", ["failed", "failed"], {}, State.FAILED),
        ("completed", ["failed"], counts(None, None, 1, None), State.FAILED),
        ("completed", ["completed", "failed"], counts(2, 0, 2, 0), State.PARTIAL),
        ("completed", None, counts(0, 0, 0, 0), State.SUCCEEDED),
        ("partial", None, counts(2, 0, 2, 0), State.FAILED),
        ("partial", ["failed", "failed"], {}, State.FAILED),
        ("partial", ["failed", "processing"], counts(2, 0, 1, 1), State.RUNNING),
        ("partial", None, counts(2, None, 2, 0), State.PARTIAL),
        ("partial", None, counts(2, 0, 0, 0), State.PARTIAL),
        ("partial", None, counts(2, 1, 1, 0), State.PARTIAL),
        ("partial", None, counts(2, 1, 0, 0), State.PARTIAL),
        ("partial", None, counts(2, 1, 1, None), State.PARTIAL),
        ("partial", ["completed", "failed"], {}, State.PARTIAL),
        ("partial", ["completed", "failed"], counts(2, 1, None, None), State.PARTIAL),
        ("partial", None, counts(2, 1, 0, 1), State.RUNNING),
        ("partial", None, counts(3, 1, 1, None), State.RUNNING),
        ("partial", ["failed", "processing"], {}, State.RUNNING),
        ("partial", None, {}, State.RUNNING),
        ("partial", [], {}, State.RUNNING),
        ("failed", None, counts(2, 1, 0, 1), State.FAILED),
        ("processing", None, counts(2, 2, 0, 0), State.RUNNING),
    ],
)
def test_a_requests_counters_correct_its_word(word, documents, counters, adjusted):
    assert state(word, documents, **counters) is adjusted


def test_counters_of_a_document_are_none():
    body = {"document_id": "d-1", "status": "completed", "failed": 3, "processing": 1}
    status, _ = converse(poll_one(NEUROLINKER, Target(route="document", id="d-1")), response(body))
    assert (status.state, status.counters) == (State.SUCCEEDED, {})


@pytest.mark.parametrize("place", ["", "result"])
@pytest.mark.parametrize("name", ["error", "error_message", "message", "msg", "detail"])
def test_a_failed_documents_text_is_found_under_any_usual_name(place, name):
    """The vendor documents no field for it."""
    inside = {place: {name: "torn page"}} if place else {name: "torn page"}
    body = {"request_id": "r-1", "status": "failed", "documents": [{"document_id": "d-1", "status": "failed", **inside}]}
    status, _ = converse(poll_one(NEUROLINKER, REQUEST), response(body))
    assert status.to_dict()["errors"] == {"d-1": "torn page"}


def test_a_document_inside_a_request_has_its_facts_and_no_user():
    result = {
        "file_name": "a.pdf",
        "file_type": "application/pdf",
        "file_size_bytes": 5,
        "total_pages": 8,
        "user_uid": "USER",
        "started_at": "2025-10-15T09:49:50Z",
        "results": {"storage_path": "uploads/USER/r-1/d-1/"},
    }
    documents = [{"document_id": "d-1", "filename": "b.pdf", "status": "completed", "result": result}]
    body = {"request_id": "r-1", "status": "completed", "documents": documents}
    ((child,), *_) = (converse(poll_one(NEUROLINKER, REQUEST), response(body))[0].children,)
    assert child.kind == "document"
    assert child.started_at == "2025-10-15T09:49:50+00:00"
    assert {
        "file_name": "a.pdf",
        "file_type": "application/pdf",
        "file_size_bytes": 5,
        "total_pages": 8,
    }.items() <= child.details.items()
    assert "USER" not in repr(child)


@pytest.mark.parametrize("link", ["http://x.example/job", "javascript:alert(1)", 7], ids=str)
def test_a_link_that_is_not_https_is_dropped(link):
    body = {"request_id": "r-1", "status": "processing", "job_page_url": link}
    assert converse(poll_one(NEUROLINKER, REQUEST), response(body))[0].link is None


@pytest.mark.parametrize("content", NEUROLINKER.contents)
def test_every_content_is_a_request_of_its_own(content):
    document = Target(route="document", id="d-1")
    finished = response({"document_id": "d-1", "status": "completed"})
    items = response({"results": [{"document_id": "d-1", "content": [1]}]})
    flow = fetch_result(NEUROLINKER, document, status=None, content=content, options={})
    (_, found, _), requests = converse(flow, finished, items)
    assert found == {"d-1": [1]}
    assert requests[1].path == f"/documents/{content}"
    assert requests[1].json is not None
    assert ("summary_type" in requests[1].json) == (content == "document-summary")


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({"content": "# A"}, ("# A", None)),
        ({"content": {"a": 1}, "download_url": "https://x/?sig=1"}, ({"a": 1}, None)),
        ({"content": 0}, (0, None)),
        ({"images": ["a.png"], "storage_path": "uploads/USER"}, (["a.png"], None)),
        ({"summaries": [1], "pages": 2}, ({"summaries": [1], "pages": 2}, None)),
        ({"content": None}, (None, None)),
        ({"content": ""}, (None, None)),
        ({}, (None, None)),
        ({"error": "not submitted for fields"}, (None, "not submitted for fields")),
        ({"error_message": "late", "content": "x"}, (None, "late")),
        ({"detail": [{"loc": ["body"], "msg": "bad"}]}, (None, "body: bad")),
        ({"success": False, "message": "gone"}, (None, "gone")),
        ({"success": False}, (None, "the vendor gave no reason")),
        ({"success": True, "content": "x", "error": None}, ("x", None)),
    ],
    ids=str,
)
def test_an_item_is_data_or_an_error(item, found):
    assert NEUROLINKER.read_item is not None
    assert NEUROLINKER.read_item({"document_id": "d-1", "filename": "a.pdf", **item}) == found


def test_a_status_that_left_children_out_is_polled_again_before_the_data():
    ids = [f"d-{n}" for n in range(MOST_CHILDREN + 1)]
    documents = [{"document_id": one, "status": "completed"} for one in ids]
    told = response({"request_id": "r-1", "status": "completed", "documents": documents})
    waited_for = converse(poll_one(NEUROLINKER, REQUEST), told)[0].to_dict()
    assert waited_for["children"] == {}
    flow = fetch_result(NEUROLINKER, REQUEST, status=DocumentStatus.from_dict(waited_for), content=None, options={})
    tens = [ids[start : start + 10] for start in range(0, len(ids), 10)]
    replies = [response({"results": [{"document_id": one, "content": one} for one in ten]}) for ten in tens]
    (_, items, errors), _ = converse(flow, told, *replies)
    assert (items, errors) == ({one: one for one in ids}, {})
