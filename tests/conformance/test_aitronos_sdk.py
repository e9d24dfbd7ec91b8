"""The stand-in is held to the truth by aitronos-sdk, whose answers are typed models."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from aitronos import Aitronos, AsyncAitronos
from aitronos.core.api_error import ApiError
from aitronos.errors import NotFoundError, UnprocessableEntityError
from pydantic import ValidationError

if TYPE_CHECKING:
    from aitronos.types import DocumentExtractResponse

    from airflow_provider_docstatus.testing import StandInVendors

FILE = ("invoice.pdf", b"%PDF")
SCHEMA = json.dumps({"invoice_number": "string"})
ONCE = {"max_retries": 0}


@pytest.fixture
def client(vendors: StandInVendors) -> Aitronos:
    """Return the SDK's synchronous client; its model of confidence wants the four numbers."""
    vendors.prefer = {"confidence as an object"}
    return Aitronos(base_url=vendors.url, api_key="ak_stand_in")


def wait(client: Aitronos, job_id: str) -> DocumentExtractResponse:
    """Poll as the vendor's page does, only faster: the SDK has no helper for it."""
    for _ in range(100):
        job = client.document_extraction.get_job_status(job_id)
        if job.status in {"completed", "failed", "cancelled"}:
            return job
        time.sleep(0.02)
    pytest.fail(f"{job_id} did not end")


def test_it_submits_and_polls(client: Aitronos) -> None:
    """Every field of the SDK's model is accepted, and its times are times."""
    submitted = client.document_extraction.extract_document(file=FILE, schema=SCHEMA)
    assert (submitted.success, submitted.status, submitted.completed_at) == (True, "pending", None)
    job = wait(client, submitted.job_id)
    assert (job.status, job.extracted_data["invoice_number"]) == ("completed", "INV-2024-001")
    assert (job.confidence.overall, job.model_used, job.cost_chf) == (94, "gpt-4o", 0.015)
    assert job.completed_at > job.created_at


def test_it_submits_and_polls_asynchronously(vendors: StandInVendors) -> None:
    """The same with the other client."""
    vendors.prefer = {"confidence as an object"}

    async def extract() -> DocumentExtractResponse:
        client = AsyncAitronos(base_url=vendors.url, api_key="ak_stand_in").document_extraction
        job = await client.extract_document(file=FILE, schema=SCHEMA, organization_id="org_1")
        while job.status in {"pending", "processing"}:
            await asyncio.sleep(0.02)
            job = await client.get_job_status(job.job_id)
        return job

    assert asyncio.run(extract()).status == "completed"


def test_it_extracts_synchronously(client: Aitronos) -> None:
    """``sync`` arrives as a form field and returns the finished job."""
    job = client.document_extraction.extract_document(file=FILE, schema=SCHEMA, sync=True)
    assert (job.status, job.extracted_data["currency"]) == ("completed", "CHF")


def test_it_reads_headers_of_the_submit(client: Aitronos) -> None:
    """The SDK documents these three."""
    raw = client.document_extraction.with_raw_response.extract_document(file=FILE, schema=SCHEMA)
    assert {"x-processing-method", "x-model-used", "x-cost-chf"} <= set(raw.headers)


@pytest.mark.parametrize(
    ("file_name", "status", "success", "error"),
    [
        ("fail.pdf", "failed", True, "Document is corrupted or unreadable"),
        ("fail.pdf", "failed", False, None),
        ("cancel.pdf", "cancelled", True, None),
    ],
)
def test_it_reads_every_bad_end(
    vendors: StandInVendors, client: Aitronos, *, file_name: str, status: str, success: bool, error: str | None
) -> None:
    """The SDK's model has no error message; it keeps unknown fields. In its own sample ``success`` is false."""
    vendors.prefer = set() if success else {"a failed job that says success=false"}
    submitted = client.document_extraction.extract_document(file=(file_name, b"%PDF"), schema=SCHEMA)
    job = wait(client, submitted.job_id)
    assert (job.status, job.success, job.extracted_data) == (status, success, None)
    assert getattr(job, "error_message", None) == error


def test_it_submits_batches(vendors: StandInVendors, client: Aitronos) -> None:
    """The SDK's model wants whole jobs."""
    vendors.prefer = {"an accepted batch of jobs", "confidence as an object"}
    batch = client.document_extraction.extract_documents_batch(files=[FILE, ("fail.pdf", b"")], schema=SCHEMA)
    assert (batch.success, batch.total_documents, batch.batch_id[:6]) == (True, 2, "batch_")
    assert [wait(client, job.job_id).status for job in batch.jobs] == ["completed", "failed"]


def test_it_refuses_the_batch_the_page_describes(client: Aitronos) -> None:
    """Page and SDK contradict each other: ``job_ids`` or ``jobs``."""
    with pytest.raises(ValidationError, match="jobs"):
        client.document_extraction.extract_documents_batch(files=[FILE], schema=SCHEMA)


@pytest.mark.parametrize("shape", ["a finished job", "confidence from 0 to 100"])
def test_it_refuses_the_confidence_the_pages_describe(vendors: StandInVendors, client: Aitronos, shape: str) -> None:
    """Page, docstring and model contradict each other: 0.95, 95.5 or an object."""
    vendors.prefer = {shape}
    job_id = vendors.add_job("aitronos", seconds=0)
    with pytest.raises(ValidationError, match="confidence"):
        client.document_extraction.get_job_status(job_id)


def test_it_reports_an_unknown_job(client: Aitronos) -> None:
    """The body is the vendor's envelope."""
    with pytest.raises(NotFoundError) as raised:
        client.document_extraction.get_job_status("job_unknown")
    assert raised.value.body["error"]["details"] == {"job_id": "job_unknown"}


def test_it_reports_a_wrong_key(vendors: StandInVendors) -> None:
    """The SDK sends the key as ``x-api-key``."""
    with pytest.raises(ApiError) as raised:
        Aitronos(base_url=vendors.url, api_key="ak_wrong").document_extraction.get_job_status("job_1")
    assert (raised.value.status_code, raised.value.body["error"]["code"]) == (401, "UNAUTHORIZED")


def test_it_can_log_in_with_a_token(vendors: StandInVendors) -> None:
    """A token goes into ``Authorization``."""
    client = Aitronos(base_url=vendors.url, api_key="", token="jwt_stand_in")
    job = client.document_extraction.get_job_status(vendors.add_job("aitronos"))
    assert job.status == "pending"


def test_it_reports_a_broken_schema(client: Aitronos) -> None:
    """422 in the vendor's envelope."""
    with pytest.raises(UnprocessableEntityError) as raised:
        client.document_extraction.extract_document(file=FILE, schema="{")
    assert raised.value.body["error"]["code"] == "VALIDATION_ERROR"


def test_it_waits_as_long_as_it_is_told(vendors: StandInVendors, client: Aitronos) -> None:
    """The SDK reads ``Retry-After`` and asks again."""
    job_id = vendors.add_job("aitronos", seconds=0)
    vendors.limit("aitronos", 1, window=0.5)
    client.document_extraction.get_job_status(job_id)
    begin = time.monotonic()
    assert client.document_extraction.get_job_status(job_id).status == "completed"
    assert time.monotonic() - begin >= 1
    assert [record.status for record in vendors.requests] == [200, 429, 200]


@pytest.mark.parametrize(
    ("reason", "code", "header"),
    [("rate", "RATE_LIMIT_EXCEEDED", "60"), ("quota", "USAGE_LIMIT_EXCEEDED", None)],
)
def test_it_reports_both_kinds_of_429(
    vendors: StandInVendors, client: Aitronos, reason: str, code: str, header: str | None
) -> None:
    """Body and headers reach the caller."""
    vendors.limit("aitronos", 0, reason=reason)  # type: ignore[arg-type]  # one of the three
    with pytest.raises(ApiError) as raised:
        client.document_extraction.get_job_status("job_1", request_options=ONCE)
    assert (raised.value.status_code, raised.value.body["error"]["code"]) == (429, code)
    assert raised.value.headers.get("retry-after") == header
