"""The recorded replies of Reducto are held to the truth by reductoai: they fit its types, and it follows them to the end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import reducto
from reducto import AsyncReducto, Reducto
from reducto.lib.helpers import handle_url_response
from reducto.types import JobGetAllResponse
from reducto.types.job_get_response import AsyncJobResponse, EnhancedAsyncJobResponse

from tests.conformance.recorded import good_replies

if TYPE_CHECKING:
    from airflow_provider_docstatus.testing import StandInVendors
    from airflow_provider_docstatus.testing.recordings import Reply

KEY = "reducto_stand_in"
FILE = "https://files.example/invoice.pdf"
SUBMISSIONS: dict[str, dict[str, Any]] = {
    "parse": {"input": FILE},
    "extract": {"input": FILE},
    "split": {"input": FILE, "split_description": []},
    "edit": {"document_url": FILE, "edit_instructions": "Fill in the name."},
    "classify": {"input": FILE},
    "pipeline": {"input": FILE, "pipeline_id": "pipeline_1"},
}


@pytest.fixture
def client(vendors: StandInVendors) -> Reducto:
    """Return the SDK's client, which checks the replies against its types, and does not ask twice."""
    return Reducto(base_url=vendors.url, api_key=KEY, max_retries=0, _strict_response_validation=True)


def wait(client: Reducto, job_id: str) -> Any:
    """Poll as the vendor's page does, only faster: the SDK has no helper for it."""
    for _ in range(100):
        job = client.job.get(job_id)
        if job.status not in {"Pending", "Idle"}:
            return job
        time.sleep(0.02)
    pytest.fail(f"{job_id} did not end")


@pytest.mark.parametrize("reply", good_replies("reducto", "status", "result"))
def test_its_types_take_every_recorded_job(reply: Reply) -> None:
    """The words that the list alone has are guesses here."""
    (EnhancedAsyncJobResponse if "type" in reply.body else AsyncJobResponse).model_validate(reply.body)


@pytest.mark.parametrize("reply", good_replies("reducto", "list"))
def test_its_types_take_every_recorded_list(reply: Reply) -> None:
    """With all seven words."""
    JobGetAllResponse.model_validate(reply.body)


@pytest.mark.parametrize("operation", SUBMISSIONS)
def test_it_submits_and_polls(vendors: StandInVendors, client: Reducto, operation: str) -> None:
    """Every operation has a path of its own to submit to; their jobs share one route."""
    job_id = getattr(client, operation).run_job(**SUBMISSIONS[operation]).job_id
    job = wait(client, job_id)
    assert (job.status, job.error, job.result.job_id) == ("Completed", None, job_id)
    assert {record.status for record in vendors.requests} == {200}
    assert [record.path for record in vendors.requests[:2]] == [f"/{operation}_async", f"/job/{job_id}"]


def test_it_submits_and_polls_asynchronously(vendors: StandInVendors) -> None:
    """The same with the other client."""

    async def parse() -> Any:
        async with AsyncReducto(base_url=vendors.url, api_key=KEY, max_retries=0, _strict_response_validation=True) as client:
            job_id = (await client.parse.run_job(input=FILE)).job_id
            job = await client.job.get(job_id)
            while job.status in {"Pending", "Idle"}:
                await asyncio.sleep(0.02)
                job = await client.job.get(job_id)
        return job

    assert asyncio.run(parse()).result.result.chunks[0].blocks[0].type == "Title"


def test_it_follows_the_link_to_large_data(vendors: StandInVendors, client: Reducto) -> None:
    """The SDK's own helper sends no key there, and reads the chunks as it reads those of a small reply."""
    job_id = vendors.add_job("reducto", seconds=0, recorded="a finished job whose data is behind a link")
    response = client.job.get(job_id).result
    assert response.result.type == "url"
    assert handle_url_response(response).result.chunks[0].content.startswith("# Invoice")
    assert "authorization" not in vendors.requests[-1].headers


def test_it_reads_why_a_job_failed(client: Reducto) -> None:
    """The name of the error is one of the SDK's."""
    job = wait(client, client.parse.run_job(input="https://files.example/fail.pdf").job_id)
    assert (job.status, job.result, job.error.name) == ("Failed", None, "DOCUMENT_CORRUPT")


def test_it_lists_jobs(vendors: StandInVendors, client: Reducto) -> None:
    """One page, which has no next one."""
    ids = {vendors.add_job("reducto", seconds=0), vendors.add_job("reducto", seconds=0, ends="failed")}
    page = client.job.get_all(limit=10)
    assert {job.job_id: job.status in {"Completed", "Failed"} for job in page.jobs} == dict.fromkeys(ids, True)
    assert page.next_cursor is None


def test_it_reports_an_unknown_job(client: Reducto) -> None:
    """The envelope reaches the caller."""
    with pytest.raises(reducto.NotFoundError) as raised:
        client.job.get("job-unknown")
    assert raised.value.body["error"]["name"] == "NOT_FOUND"


def test_it_reports_a_wrong_key(vendors: StandInVendors) -> None:
    """The SDK sends the key as a Bearer token."""
    with pytest.raises(reducto.AuthenticationError):
        Reducto(base_url=vendors.url, api_key="wrong", max_retries=0).job.get("job-1")
    assert vendors.requests[-1].headers["authorization"] == "Bearer wrong"


def test_it_reports_a_rate_limit(vendors: StandInVendors, client: Reducto) -> None:
    """With the name of the SDK's enumeration."""
    vendors.limit("reducto", 0)
    with pytest.raises(reducto.RateLimitError) as raised:
        client.job.get("job-1")
    assert raised.value.body["error"]["name"] == "RATE_LIMIT"
