"""Reducto: data inline or behind a link, and lists that name more states than a job."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import NoData, ServiceUnavailable
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import REDUCTO
from tests.conversations import converse, response

JOB = Target(route="job", id="j1")
LINK = "https://bucket.s3.amazonaws.com/r9?X-Amz-Signature=1"


def done(**result: Any) -> Any:
    return response({"status": "Completed", "result": {"response_type": "parse", "job_id": "j1", **result}})


def fetch(*replies: Any) -> Any:
    (_, items, _), sent = converse(fetch_result(REDUCTO, JOB, status=None, content=None, options={}), *replies)
    return items["j1"], sent


def test_data_is_the_same_inline_and_behind_a_link():
    full = {"type": "full", "chunks": [{"content": "Invoice"}]}
    inline, _ = fetch(done(result=full))
    linked, sent = fetch(done(result={"type": "url", "url": LINK, "result_id": "r9"}), response(full))
    assert inline == linked == full
    assert sent[1].link == LINK


def test_a_link_that_has_expired_is_asked_for_anew():
    expired, new = done(result={"type": "url", "url": LINK}), done(result={"type": "url", "url": f"{LINK}2"})
    refusal = response(text="<Error/>", code=403, headers={"content-type": "application/xml"})
    data, sent = fetch(expired, refusal, new, response({"type": "full", "chunks": [1]}))
    assert data["chunks"] == [1]
    assert [one.link for one in sent] == ["", LINK, "", f"{LINK}2"]


def test_a_storage_that_is_down_is_waited_for():
    with pytest.raises(ServiceUnavailable):
        fetch(done(result={"type": "url", "url": LINK}), response(text="slow down", code=503))


def test_an_edit_gives_the_edited_document():
    assert fetch(done(document_url=LINK), response(text=b"%PDF-1.7\xff", headers={"content-type": "application/pdf"}))[0] == (
        b"%PDF-1.7\xff"
    )


def test_a_field_called_url_is_no_link():
    assert fetch(done(result=[{"url": LINK}]))[0] == [{"url": LINK}]


def test_an_empty_extraction_is_no_data():
    with pytest.raises(NoData, match=r"holds no result\.result"):
        fetch(done(result=[]))


def test_lists_leave_the_configurations_out_and_go_on_by_cursor():
    first = response({"jobs": [{"job_id": "j1", "status": "InProgress"}], "next_cursor": "c2"})
    last = response({"jobs": [{"job_id": "j2", "status": "Cancelled"}], "next_cursor": None})
    found, sent = converse(list_jobs(REDUCTO, filters={}, limit=None, offset=0), first, last)
    assert [(one.id, one.state.value) for one in found] == [("j1", "running"), ("j2", "cancelled")]
    assert [one.query for one in sent] == [
        {"exclude_configs": "true", "limit": "500"},
        {"exclude_configs": "true", "limit": "500", "cursor": "c2"},
    ]
