"""Aitronos' stand-in answers as the vendor's pages say."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from airflow_provider_docstatus.testing import StandInVendors

HEADERS = {"X-API-Key": "ak_stand_in"}
SCHEMA = '{"invoice_number": "string"}'


def ask(vendors: StandInVendors, job_id: str, headers: dict[str, str] = HEADERS) -> requests.Response:
    """Ask for a job."""
    return requests.get(f"{vendors.url}/v1/documents/jobs/{job_id}", headers=headers, timeout=5)


def submit(vendors: StandInVendors, *names: str, part: str = "file", **data: str) -> requests.Response:
    """Submit files by name."""
    path = "/v1/documents/extract" + ("/batch" if part == "files" else "")
    files = [(part, (name, b"%PDF")) for name in names]
    return requests.post(vendors.url + path, headers=HEADERS, files=files, data=data, timeout=5)


def test_a_job_carries_its_data_when_it_is_completed(vendors: StandInVendors) -> None:
    """The fields are those of the page, the numbers those of its sample."""
    body = ask(vendors, submit(vendors, "a.pdf", schema=SCHEMA).json()["job_id"]).json()
    assert set(body) == {
        "success", "job_id", "status", "extracted_data", "confidence", "processing_time", "cost_chf",
        "model_used", "created_at", "completed_at",
    }  # fmt: skip
    assert (body["status"], body["confidence"], body["cost_chf"]) == ("completed", 0.95, 0.015)
    assert body["extracted_data"]["invoice_number"] == "INV-2024-001"


@pytest.mark.parametrize(
    ("seconds", "age", "ends", "expected"),
    [
        (100, 0, "completed", {"status": "pending", "model_used": None, "completed_at": None}),
        (100, 50, "completed", {"status": "processing", "model_used": "gpt-4o", "processing_time": None}),
        (10, 50, "failed", {"status": "failed", "success": True, "cost_chf": 0.0, "processing_time": 1.5}),
        (10, 50, "cancelled", {"status": "cancelled", "cost_chf": 0.0, "extracted_data": None}),
    ],
)
def test_fields_are_null_until_there_is_something_to_say(
    vendors: StandInVendors, seconds: float, age: float, ends: str, expected: dict[str, Any]
) -> None:
    """Only a failed job has an error message."""
    job_id = vendors.add_job("aitronos", seconds=seconds, ends=ends, created_at=time.time() - age)
    body = ask(vendors, job_id).json()
    assert body.items() >= expected.items()
    assert bool(body.get("error_message")) == (ends == "failed")


def test_page_and_sdk_can_be_told_apart(vendors: StandInVendors) -> None:
    """Confidence has three shapes, a failed job two values of success."""
    done, failed = (
        vendors.add_job("aitronos", seconds=0),
        vendors.add_job("aitronos", seconds=0, ends="failed"),
    )
    vendors.prefer = {"confidence as an object", "a failed job that says success=false"}
    assert ask(vendors, done).json()["confidence"]["overall"] == 94
    assert ask(vendors, failed).json()["success"] is False
    vendors.prefer = {"confidence from 0 to 100"}
    assert ask(vendors, done).json()["confidence"] == 95.5


def test_sync_answers_when_the_job_is_over(vendors: StandInVendors) -> None:
    """The answer is the finished job, with the headers of the submit route."""
    vendors.job_seconds = 0.05
    answer = submit(vendors, "a.pdf", schema=SCHEMA, sync="true", include_raw_text="true")
    assert (answer.json()["status"], answer.headers["X-Cost-CHF"]) == ("completed", "0.015")
    assert "INV-2024-001" in answer.json()["raw_text"]


def test_a_batch_returns_ids_or_jobs_and_works_on_five_at_a_time(vendors: StandInVendors) -> None:
    """The page returns ids, the SDK's type wants jobs."""
    vendors.job_seconds = 10
    body = submit(vendors, *["a.pdf"] * 6, part="files", schema=SCHEMA).json()
    assert (body["total_documents"], len(body["job_ids"])) == (6, 6)
    assert [vendors.jobs[job_id].seconds for job_id in body["job_ids"]] == [10, 10, 10, 10, 10, 20]
    vendors.prefer = {"an accepted batch of jobs"}
    body = submit(vendors, "a.pdf", part="files", schema=SCHEMA).json()
    assert [job["status"] for job in body["jobs"]] == ["pending"]


@pytest.mark.parametrize(
    ("names", "part", "data"),
    [
        (("a.pdf",), "file", {}),
        (("a.pdf",), "other", {"schema": SCHEMA}),
        (("a.pdf",) * 51, "files", {"schema": SCHEMA}),
    ],
    ids=["no schema", "no file", "too many files"],
)
def test_a_submit_is_checked(vendors: StandInVendors, names: tuple[str, ...], part: str, data: dict[str, str]) -> None:
    """What is missing is named in the vendor's envelope."""
    answer = submit(vendors, *names, part=part, **data)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")


def test_an_unknown_job_is_404_in_the_vendors_envelope(vendors: StandInVendors) -> None:
    """Every answer has the request's id and the rate-limit headers."""
    answer = ask(vendors, "job_x")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]) == (
        404,
        "JOB_NOT_FOUND",
        {"job_id": "job_x"},
    )
    assert set(error) == {
        "code", "message", "system_message", "type", "status", "details", "trace_id", "timestamp",
    }  # fmt: skip
    assert answer.headers["x-request-id"].startswith("req_")
    assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(answer.headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-API-Key": "ak_stand_in"}, 200),
        ({"Authorization": "Bearer jwt_stand_in"}, 200),
        ({"Authorization": "Bearer ak_stand_in"}, 401),
        ({"api-key": "ak_stand_in"}, 401),
        ({}, 401),
    ],
)
def test_the_key_goes_into_its_own_header(vendors: StandInVendors, headers: dict[str, str], status: int) -> None:
    """A login token goes into ``Authorization``; the key does not, whatever the samples say."""
    answer = ask(vendors, vendors.add_job("aitronos", seconds=math.inf), headers)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["code"] == "UNAUTHORIZED"
