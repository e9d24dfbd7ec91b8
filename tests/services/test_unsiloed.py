"""Unsiloed: a route for each operation, the generic jobs, batches, and error bodies of every shape."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import NoData, QuotaExhausted, RateLimited, RequestRejected
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import converse, response


def poll(route: str, *responses: Any) -> DocumentStatus:
    return converse(poll_one(UNSILOED, Target(route=route, id="x-1")), *responses)[0]


def batch(word: str, jobs: list[str] | None = None, **counters: Any) -> DocumentStatus:
    body: dict[str, Any] = {"batch_id": "x-1", "status": word, **counters}
    if jobs is not None:
        body["jobs"] = [{"job_id": f"j-{n}", "status": one} for n, one in enumerate(jobs)]
    return poll("batch", response(body))


def counts(total: Any, completed: Any, failed: Any, cancelled: Any) -> dict[str, Any]:
    return {"total_jobs": total, "completed_jobs": completed, "failed_jobs": failed, "cancelled_jobs": cancelled}


@pytest.mark.parametrize(
    ("word", "jobs", "counters", "adjusted"),
    [
        ("completed", None, counts(2, 2, 0, 0), State.SUCCEEDED),
        ("completed", None, {}, State.SUCCEEDED),
        ("completed", ["completed", "COMPLETED"], {}, State.SUCCEEDED),
        ("completed", None, counts(2, 1, 1, 0), State.PARTIAL),
        ("completed", None, counts(2, 1, 0, 1), State.PARTIAL),
        ("completed", ["completed", "FAILED"], {}, State.PARTIAL),
        ("completed", ["completed", "FAILED"], counts(2, 2, 0, 0), State.PARTIAL),
        ("completed", None, counts(3, 2, 0, 0), State.RUNNING),
        ("completed", ["completed", "queued"], {}, State.RUNNING),
        ("completed", ["completed", "archived"], {}, State.RUNNING),
        ("completed", None, counts(2, 0, 2, 0), State.FAILED),
        ("completed", None, counts(2, 0, 1, 1), State.FAILED),
        ("completed", None, counts(2, 0, 0, 2), State.CANCELLED),
        ("completed", ["FAILED", "cancelled"], {}, State.FAILED),
        ("completed", ["cancelled", "cancelled"], {}, State.CANCELLED),
        ("completed", ["completed", "cancelled"], counts(2, None, None, 2), State.PARTIAL),
        ("completed", None, counts(0, 0, 0, 0), State.SUCCEEDED),
        ("COMPLETED_WITH_FAILURES", None, counts(2, 0, 2, 0), State.FAILED),
        ("COMPLETED_WITH_FAILURES", ["FAILED"], {}, State.FAILED),
        ("COMPLETED_WITH_FAILURES", None, counts(2, None, 2, 0), State.PARTIAL),
        ("COMPLETED_WITH_FAILURES", None, {}, State.PARTIAL),
        ("COMPLETED_WITH_FAILURES", None, counts(2, 1, 1, 0), State.PARTIAL),
        ("COMPLETED_WITH_FAILURES", None, counts(3, 1, 1, 0), State.RUNNING),
        ("COMPLETED_WITH_FAILURES", ["completed"], {}, State.PARTIAL),
        ("failed", None, counts(3, 1, 1, 0), State.FAILED),
        ("processing", None, counts(2, 2, 0, 0), State.RUNNING),
    ],
)
def test_a_batchs_counters_correct_its_word(word, jobs, counters, adjusted):
    assert batch(word, jobs, **counters).state is adjusted


@pytest.mark.parametrize("route", ["classify", "split"])
@pytest.mark.parametrize(
    ("word", "result", "adjusted"),
    [
        ("completed", {"success": False, "message": "No category fits"}, State.FAILED),
        ("completed", {"success": True}, State.SUCCEEDED),
        ("completed", {"success": None}, State.SUCCEEDED),
        ("completed", {"success": "false"}, State.SUCCEEDED),
        ("completed", None, State.SUCCEEDED),
        ("processing", {"success": False}, State.RUNNING),
        ("review", {"success": False}, State.REVIEW),
    ],
)
def test_completed_beside_a_flag_that_says_no_has_failed(route, word, result, adjusted):
    assert poll(route, response({"job_id": "x-1", "status": word, "result": result})).state is adjusted


@pytest.mark.parametrize("route", ["extract", "job"])
def test_what_stands_in_a_result_is_no_message_without_a_flag_that_says_no(route):
    body = {"job_id": "x-1", "status": "review", "result": {"success": True, "message": "SECRET", "error": "SECRET"}}
    assert poll(route, response(body)).message is None


@pytest.mark.parametrize("route", ["classify", "split"])
@pytest.mark.parametrize("name", ["message", "error", "detail"])
def test_a_flag_that_says_no_brings_its_message(route, name):
    result = {"success": False, name: "No category fits"}
    status = poll(route, response({"job_id": "x-1", "status": "completed", "error": None, "result": result}))
    assert status.message == "No category fits"


@pytest.mark.parametrize("route", ["extract", "parse", "job"])
def test_a_flag_and_facts_among_extracted_data_are_not_the_vendors(route):
    """A schema may have fields of these names."""
    result = {"success": False, "message": "Jane Doe", "total_pages": "Jane Doe", "confidence": "Jane Doe"}
    status = poll(route, response({"job_id": "x-1", "status": "completed", "result": result}))
    assert (status.state, status.message, status.details) == (State.SUCCEEDED, None, {"operation": route})


@pytest.mark.parametrize(
    ("route", "body", "pages"),
    [
        ("extract", {"metadata": {"page_count": 27}}, 27),
        ("classify", {"result": {"success": True, "total_pages": 2}}, 2),
        ("split", {"result": {"success": True, "total_pages": 3}}, 3),
        ("parse", {"page_count": 10}, 10),
        ("parse", {"metadata": {"page_count": 27}}, None),
    ],
    ids=str,
)
def test_pages_are_read_where_the_vendor_documents_them(route, body, pages):
    assert poll(route, response({"job_id": "x-1", "status": "completed", **body})).details.get("total_pages") == pages


def test_the_internal_id_of_a_parse_is_not_its_id():
    assert poll("parse", response({"job_id": "x-1", "id": "internal", "status": "Starting"})).id == "x-1"


@pytest.mark.parametrize("body", [{"id": "x-1"}, {"job_id": "x-1"}, {"job_id": "x-1", "id": "internal"}], ids=str)
def test_a_generic_job_has_its_id_under_either_name(body):
    assert poll("job", response({**body, "status": "queued"})).id == "x-1"


@pytest.mark.parametrize(
    ("progress", "fact"),
    [({"percentage": 40}, 40), (100, 100), ("Starting document processing...", "Starting document processing...")],
    ids=str,
)
def test_progress_is_a_fact_and_never_the_state(progress, fact):
    status = poll("job", response({"id": "x-1", "status": "COMPLETED", "progress": progress}))
    assert (status.state, status.details["progress"]) == (State.SUCCEEDED, fact)


def test_links_results_and_user_ids_never_stand_in_a_status():
    link = "https://bucket.example/public/SECRET"
    body = {
        "job_id": "x-1",
        "status": "completed",
        "file_url": link,
        "user_id": "SECRET",
        "parameters": {"classes": ["SECRET"]},
        "result": {"success": True, "files": [{"full_path": link}]},
        "chunks": ["SECRET"],
        "configuration": {"a": "SECRET"},
        "metadata": {"schema": {"a": "SECRET"}, "page_count": 3},
    }
    for route in UNSILOED.routes:
        status = poll(route, response({**body, "batch_id": "x-1"}))
        assert "SECRET" not in repr(status)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response(text="Rate limit exceeded", code=429), RateLimited),
        (response("Rate limit exceeded", 429), RateLimited),
        (response({"detail": "Rate limit exceeded"}, 429), RateLimited),
        (response({"error": "Rate limit exceeded"}, 429), RateLimited),
        (response({}, 429), RateLimited),
        (response([], 429), RateLimited),
        (response(text="", code=429), RateLimited),
        (response(text="USAGE LIMIT EXCEEDED\n", code=429), QuotaExhausted),
        (response(text="Soft usage limit exceeded for this second", code=429), RateLimited),
        (response("Usage limit exceeded", 429), QuotaExhausted),
        (response({"detail": "Usage limit exceeded"}, 429), QuotaExhausted),
        (response({"error": "Usage limit exceeded"}, 429), QuotaExhausted),
        (response({"detail": {"status": "QUOTA_EXCEEDED", "message": "m"}}, 429), QuotaExhausted),
        (response({"detail": {"status": "BUSY", "message": "m"}}, 429), RateLimited),
    ],
    ids=lambda value: getattr(value, "__name__", None) or value.body.decode()[:40],
)
def test_the_two_kinds_of_429_are_told_apart(reply, kind):
    with pytest.raises(kind) as caught:
        poll("parse", reply)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": "Job not found", "details": {"message": "Job 'x' does not exist"}}, "Job not found: Job 'x' does not exist"),
        ({"error": "Job not found", "details": None}, "Job not found"),
        ({"error": "Job not found", "details": "gone"}, "Job not found"),
        ({"details": {"message": "gone"}, "message": "m"}, "gone"),
        ({"error": {"message": "m"}, "details": {"message": "gone"}}, "m: gone"),
    ],
    ids=str,
)
def test_the_generic_apis_details_are_read(body, text):
    with pytest.raises(RequestRejected, match=f"with 418: {text}\\. Check"):
        poll("job", response(body, 418))


@pytest.mark.parametrize(
    "error", [{"error_details": {"error_type": "x", "message": "torn page"}}, {"error": "torn page"}], ids=str
)
def test_a_failed_job_of_a_batch_says_why(error):
    jobs = [{"job_id": "j-1", "status": "failed", **error}, {"job_id": "j-2", "status": "completed"}]
    status = poll("batch", response({"batch_id": "x-1", "status": "completed", "jobs": jobs}))
    assert status.state is State.PARTIAL
    assert status.to_dict()["errors"] == {"j-1": "torn page"}


def test_what_a_job_of_a_batch_or_a_list_extracted_is_believed_no_more_than_of_one_polled_alone():
    jobs = [
        {"job_id": "j-1", "status": "completed", "result": {"success": False, "message": "Jane Doe"}},
        {"job_id": "j-2", "status": "failed", "result": {"success": False, "message": "Jane Doe"}},
    ]
    status = poll("batch", response({"batch_id": "x-1", "status": "completed", **counts(2, 1, 1, 0), "jobs": jobs}))
    assert [child.state for child in status.children] == [State.SUCCEEDED, State.FAILED]
    assert status.to_dict()["errors"] == {"j-2": "failed"}
    page = response({"jobs": jobs, "pagination": {"has_more": False}})
    listed, _ = converse(list_jobs(UNSILOED, filters={}, limit=2, offset=0), page)
    assert [(one.state, one.message) for one in listed] == [(State.SUCCEEDED, None), (State.FAILED, None)]


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "status": "failed", "error": "nothing read"},
        {"success": False, "message": "nothing read"},
    ],
    ids=str,
)
def test_what_a_generic_job_says_instead_of_data_is_no_data(body):
    job = Target(route="job", id="x-1")
    finished = response({"job_id": "x-1", "status": "COMPLETED"})
    flow = fetch_result(UNSILOED, job, status=None, content=None, options={})
    with pytest.raises(NoData, match="nothing read"):
        converse(flow, finished, response(body))


@pytest.mark.parametrize(
    "body", [{"success": True, "result": {"a": 1}}, {"result": {"success": False}}, {"data": {"success": False}}], ids=str
)
def test_the_data_of_a_generic_job_is_its_whole_reply(body):
    job = Target(route="job", id="x-1")
    flow = fetch_result(UNSILOED, job, status=None, content=None, options={})
    (_, found, _), _ = converse(flow, response({"job_id": "x-1", "status": "COMPLETED"}), response(body))
    assert found == {"x-1": body}


def test_a_job_of_a_batch_without_data_is_named_with_its_reason():
    jobs = [{"job_id": "j-1", "status": "completed"}, {"job_id": "j-2", "status": "completed"}]
    batch_of_two = response({"batch_id": "x-1", "status": "completed", **counts(2, 2, 0, 0), "jobs": jobs})
    flow = fetch_result(UNSILOED, Target(route="batch", id="x-1"), status=None, content=None, options={})
    bad = response({"success": False, "error": "nothing read"})
    (_, items, errors), _ = converse(flow, batch_of_two, response({"a": 1}), bad)
    assert items == {"j-1": {"a": 1}}
    assert list(errors) == ["j-2"]
    assert "nothing read" in errors["j-2"]
