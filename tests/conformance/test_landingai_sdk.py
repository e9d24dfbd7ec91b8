"""The recorded replies of LandingAI ADE are held to the truth by landingai-ade, for both versions of the API."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from landingai_ade import APIStatusError, AsyncLandingAIADE, AuthenticationError, LandingAIADE, NotFoundError, RateLimitError
from landingai_ade.lib.v2_errors import JobFailedError, JobWaitTimeoutError
from landingai_ade.types import ExtractJobGetResponse, ExtractJobListResponse, ParseJobGetResponse, ParseJobListResponse
from landingai_ade.types.v2 import JobStatus, V2ExtractResult, V2ParseResponse

from tests.conformance.recorded import good_replies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from landingai_ade.types.v2 import Job

    from airflow_provider_docstatus.testing import StandInVendors
    from airflow_provider_docstatus.testing.recordings import Reply

FILE = ("invoice.pdf", b"%PDF")
SCHEMA = {"type": "object", "properties": {"invoice_number": {"type": "string"}}}
MARKDOWN = "# Invoice INV-2024-001"
QUICK: dict[str, Any] = {"poll_interval": 0.02, "timeout": 5}
KEY = "landingai_stand_in"
RESULTS: dict[str, Any] = {"parse": V2ParseResponse, "extract": V2ExtractResult}
JOBS: dict[str, Any] = {"parse_v1": ParseJobGetResponse, "extract_v1": ExtractJobGetResponse}
LISTS: dict[str, Any] = {"parse_v1": ParseJobListResponse, "extract_v1": ExtractJobListResponse}


def settings(vendors: StandInVendors) -> dict[str, Any]:
    """Return the arguments that lead a client to the stand-in; each version of the API has a host of its own."""
    return {
        "apikey": KEY,
        "base_url": vendors.url,
        "v2_base_url": vendors.url,
        "max_retries": 0,
        "_strict_response_validation": True,
    }


@pytest.fixture
def client(vendors: StandInVendors) -> Iterator[LandingAIADE]:
    """Return the SDK's synchronous client."""
    with LandingAIADE(**settings(vendors)) as client:
        yield client


@pytest.mark.parametrize("reply", good_replies("landingai", "status", "result", "list"))
def test_its_types_take_every_recorded_reply(reply: Reply) -> None:
    """The models of v2 are for the result alone, and the SDK has none for workflows."""
    model = (LISTS if reply.ask == "list" else JOBS).get(reply.route)
    if model:
        model.model_validate(reply.body)
    result = None if reply.ask == "list" else reply.body.get("result")
    if result and reply.route in RESULTS:
        RESULTS[reply.route].model_validate(result)


def test_it_parses(client: LandingAIADE) -> None:
    """Its own helper polls to the end; every field has the type of its model."""
    submitted = client.v2.parse_jobs.create(document=FILE)
    assert (submitted.status, submitted.completed_at, submitted.job_id[:6]) == (JobStatus.PENDING, None, "parse-")
    job = client.v2.parse_jobs.wait(submitted.job_id, **QUICK)
    assert (job.status, job.job_id, job.error) == (JobStatus.COMPLETED, submitted.job_id, None)
    assert job.completed_at > job.created_at
    assert isinstance(job.result, V2ParseResponse)
    metadata = V2ParseResponse.model_validate(job.raw["result"]).metadata
    assert (metadata.page_count, metadata.failed_pages, metadata.billing.total_credits) == (4, [], 6)
    assert job.result.markdown == "# Invoice"


def test_it_extracts(client: LandingAIADE) -> None:
    """The same for a schema and a text."""
    submitted = client.v2.extract_jobs.create(schema=SCHEMA, markdown=MARKDOWN)
    job = client.v2.extract_jobs.wait(submitted.job_id, **QUICK)
    assert isinstance(job.result, V2ExtractResult)
    result = V2ExtractResult.model_validate(job.raw["result"])
    assert (result.extraction, result.schema_violation_error) == ({"invoice_number": "INV-2024-001"}, None)
    assert result.metadata.model_version == "extract-20260314"


def test_it_parses_asynchronously(vendors: StandInVendors) -> None:
    """The same with the other client."""

    async def run() -> Job:
        async with AsyncLandingAIADE(**settings(vendors)) as client:
            submitted = await client.v2.parse_jobs.create(document_url="https://example.com/invoice.pdf")
            return await client.v2.parse_jobs.wait(submitted.job_id, **QUICK)

    assert asyncio.run(run()).status is JobStatus.COMPLETED


def test_it_reads_a_failed_job(client: LandingAIADE) -> None:
    """The text is in ``error``."""
    submitted = client.v2.parse_jobs.create(document=("fail.pdf", b"%PDF"))
    job = client.v2.parse_jobs.wait(submitted.job_id, **QUICK)
    assert (job.status, job.error.code, job.error.message) == (
        JobStatus.FAILED,
        "internal_error",
        "The document could not be converted.",
    )
    with pytest.raises(JobFailedError, match="could not be converted"):
        client.v2.parse_jobs.wait(submitted.job_id, raise_on_failure=True, **QUICK)


def test_a_failed_page_is_no_word(client: LandingAIADE) -> None:
    """The word is completed; only the result's metadata tells."""
    submitted = client.v2.parse_jobs.create(document=("partial.pdf", b"%PDF"))
    job = client.v2.parse_jobs.wait(submitted.job_id, **QUICK)
    assert (job.status, V2ParseResponse.model_validate(job.raw["result"]).metadata.failed_pages) == (JobStatus.COMPLETED, [3])


def test_it_reads_a_result_that_was_saved_elsewhere(vendors: StandInVendors, client: LandingAIADE) -> None:
    """The metadata comes with the link, the result does not."""
    job_id = vendors.add_job("landingai", "parse", seconds=0, recorded="a parse job whose result was saved elsewhere")
    job = client.v2.parse_jobs.get(job_id)
    assert (job.status, job.result, job.metadata["page_count"]) == (JobStatus.COMPLETED, None, 4)
    assert job.raw["output_url"].startswith("https://")


def test_it_takes_a_new_word_for_pending(vendors: StandInVendors, client: LandingAIADE) -> None:
    """So it waits for ever where we say that the word is unknown."""
    job_id = vendors.add_job("landingai", "parse", seconds=0, word="archived")
    with pytest.raises(JobWaitTimeoutError, match="last status: pending"):
        client.v2.parse_jobs.wait(job_id, poll_interval=0.02, timeout=0.1)


def test_it_lists(vendors: StandInVendors, client: LandingAIADE) -> None:
    """With the failure's text in another field than in a job's own reply."""
    done, failed = (vendors.add_job("landingai", "parse", seconds=0, ends=ends) for ends in ("completed", "failed"))
    jobs = client.v2.parse_jobs.list(page=0, page_size=100)
    assert {job.job_id: job.status.value for job in jobs} == {done: "completed", failed: "failed"}
    assert [job.error.message for job in jobs if job.error] == ["The file is encrypted."]
    assert jobs.has_more is False
    assert vendors.requests[-1].query == {"page": "0", "pageSize": "100"}


def wait_v1(get: Any, job_id: str) -> Any:
    """Poll a job of v1; the SDK has no helper for it."""
    for _ in range(100):
        job = get(job_id)
        if job.status in {"completed", "failed", "cancelled"}:
            return job
        time.sleep(0.02)
    pytest.fail(f"{job_id} did not end")


def test_it_parses_with_v1(client: LandingAIADE) -> None:
    """Every field has the type of its model."""
    submitted = client.parse_jobs.create(document=FILE)
    job = wait_v1(client.parse_jobs.get, submitted.job_id)
    assert (job.status, job.progress, job.failure_reason) == ("completed", 1.0, None)
    assert (job.data.markdown, job.metadata.page_count, job.metadata.failed_pages) == ("# Invoice", 4, [])


def test_it_extracts_with_v1(client: LandingAIADE) -> None:
    """The schema is a text here."""
    submitted = client.extract_jobs.create(schema=json.dumps(SCHEMA), markdown=MARKDOWN)
    job = wait_v1(client.extract_jobs.get, submitted.job_id)
    assert (job.status, job.data.extraction) == ("completed", {"invoice_number": "INV-2024-001"})


def test_it_reads_a_failed_job_of_v1(client: LandingAIADE) -> None:
    """The text is in ``failure_reason``."""
    submitted = client.parse_jobs.create(document=("fail.pdf", b"%PDF"))
    job = wait_v1(client.parse_jobs.get, submitted.job_id)
    assert (job.status, job.failure_reason) == ("failed", "The file is encrypted.")


@pytest.mark.parametrize("kind", ["parse", "extract"])
def test_a_206_is_a_good_reply(vendors: StandInVendors, client: LandingAIADE, kind: str) -> None:
    """The SDK returns it as any other; only the code and the metadata tell."""
    job_id = vendors.add_job("landingai", f"{kind}_v1", seconds=0, ends="partial")
    raw = getattr(client, f"{kind}_jobs").with_raw_response.get(job_id)
    metadata = raw.parse().metadata
    assert (raw.status_code, raw.parse().status) == (206, "completed")
    assert metadata.failed_pages == [3] if kind == "parse" else "required by the schema" in metadata.schema_violation_error


def test_a_large_result_is_behind_a_link(vendors: StandInVendors, client: LandingAIADE) -> None:
    """The link wants no key."""
    job_id = vendors.add_job("landingai", "parse_v1", seconds=0, recorded="a parse job of v1 with a large result")
    job = client.parse_jobs.get(job_id)
    assert job.data is None
    assert httpx.get(job.output_url).json()["markdown"] == "# Invoice"


def test_it_lists_with_v1(vendors: StandInVendors, client: LandingAIADE) -> None:
    """Progress is there, the data is not."""
    job_id = vendors.add_job("landingai", "extract_v1", seconds=0, ends="failed")
    listed = client.extract_jobs.list(page=0, page_size=10)
    assert [(job.job_id, job.status, job.failure_reason) for job in listed.jobs] == [(job_id, "failed", "The file is encrypted.")]
    assert listed.has_more is False


def test_it_reports_a_wrong_key(vendors: StandInVendors) -> None:
    """With the code of the envelope."""
    with LandingAIADE(**settings(vendors) | {"apikey": "wrong"}) as client:
        with pytest.raises(AuthenticationError, match="invalid_api_key"):
            client.v2.parse_jobs.get("parse-1")
        with pytest.raises(AuthenticationError, match="Missing or invalid API key"):
            client.parse_jobs.get("1")


def test_it_reports_an_unknown_job(client: LandingAIADE) -> None:
    """In the envelope of each version."""
    with pytest.raises(NotFoundError, match="not_found"):
        client.v2.parse_jobs.get("parse-1")
    with pytest.raises(NotFoundError, match="detail"):
        client.parse_jobs.get("1")


def test_it_reports_the_limits(vendors: StandInVendors, client: LandingAIADE) -> None:
    """429 is the rate, 402 are the credits."""
    vendors.limit("landingai", 0)
    with pytest.raises(RateLimitError, match="rate_limit_exceeded"):
        client.v2.parse_jobs.get("parse-1")
    vendors.limit("landingai", 0, reason="payment")
    with pytest.raises(APIStatusError, match="not have enough credits") as raised:
        client.v2.extract_jobs.get("extract-1")
    assert raised.value.status_code == 402
