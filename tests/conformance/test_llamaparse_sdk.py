"""The recorded replies of LlamaParse are held to the truth by llama-cloud: they fit its types, and it follows them to the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import llama_cloud
import pytest
from llama_cloud import AsyncLlamaCloud, LlamaCloud
from llama_cloud._polling import PollingError
from llama_cloud.types import (
    ExtractV2Job,
    ExtractV2JobQueryResponse,
    ParsingCreateResponse,
    ParsingGetResponse,
    ParsingListResponse,
)

from tests.conformance.recorded import good_replies

if TYPE_CHECKING:
    from airflow_provider_docstatus.testing import StandInVendors
    from airflow_provider_docstatus.testing.recordings import Reply

KEY = "llamaparse_stand_in"
PARSE: dict[str, Any] = {"tier": "agentic", "version": "latest", "source_url": "https://files.example/invoice.pdf"}
FAILING = PARSE | {"source_url": "https://files.example/fail.pdf"}
OFTEN: dict[str, Any] = {"polling_interval": 0.02, "backoff": "constant"}


@pytest.fixture
def client(vendors: StandInVendors) -> LlamaCloud:
    """Return the SDK's client, which checks the replies against its types, and does not ask twice."""
    return LlamaCloud(base_url=vendors.url, api_key=KEY, max_retries=0, _strict_response_validation=True)


@pytest.mark.parametrize("reply", good_replies("llamaparse", "submit", "status", "result"))
def test_its_types_take_every_recorded_job(reply: Reply) -> None:
    """What a parse's submission returns is flat, its status is not."""
    parse = ParsingCreateResponse if reply.ask == "submit" else ParsingGetResponse
    (parse if reply.route == "parse" else ExtractV2Job).model_validate(reply.body)


@pytest.mark.parametrize("reply", good_replies("llamaparse", "list", "statuses"))
def test_its_types_take_every_recorded_list(reply: Reply) -> None:
    """Items of both are flat."""
    if reply.route == "extract":
        ExtractV2JobQueryResponse.model_validate(reply.body)
    else:
        assert all(ParsingListResponse.model_validate(item) for item in reply.body["items"])


def test_it_parses(vendors: StandInVendors, client: LlamaCloud) -> None:
    """Submitted, polled and fetched in one call."""
    result = client.parsing.parse(**PARSE, **OFTEN, expand=["markdown"])
    assert (result.job.status, result.job.error_message) == ("COMPLETED", None)
    assert result.markdown.pages[0].markdown.startswith("# Invoice")
    assert {record.status for record in vendors.requests} == {200}
    assert len(vendors.requests) > 3, "it had to wait"


def test_it_parses_asynchronously(vendors: StandInVendors) -> None:
    """The same with the other client."""

    async def parse() -> Any:
        async with AsyncLlamaCloud(base_url=vendors.url, api_key=KEY, max_retries=0, _strict_response_validation=True) as client:
            return await client.parsing.parse(**PARSE, **OFTEN, expand=["text"])

    assert asyncio.run(parse()).text.pages[0].text == "Invoice Total: 12.00"


def test_it_parses_what_it_uploads(client: LlamaCloud) -> None:
    """A file goes to another path."""
    job = client.parsing.create(tier="agentic", version="latest", upload_file=("invoice.pdf", b"%PDF"))
    assert client.parsing.wait_for_completion(job.id, **OFTEN).status == "COMPLETED"


@pytest.mark.parametrize(("name", "field"), [("items", "pages"), ("markdown", None)])
def test_it_finds_the_link_to_large_data(vendors: StandInVendors, client: LlamaCloud, name: str, field: str | None) -> None:
    """Items are JSON behind the link, markdown is text."""
    job_id = vendors.add_job("llamaparse", "parse", seconds=0)
    result = client.parsing.get(job_id, expand=[f"{name}_content_metadata"])
    linked = httpx.get(result.result_content_metadata[name].presigned_url)
    assert linked.status_code == 200
    assert field in linked.json() if field else linked.text.startswith("# Invoice")


def test_it_extracts(client: LlamaCloud) -> None:
    """The data are inside the job."""
    job = client.extract.run(file_input="dfl-1", configuration={"data_schema": {"type": "object"}}, **OFTEN)
    assert (job.status, job.extract_result["invoice_number"]) == ("COMPLETED", "INV-1")


def test_it_reads_why_a_job_failed(client: LlamaCloud) -> None:
    """The job's error message is in the exception."""
    with pytest.raises(PollingError, match=r"FAILED \| Error: Job timed out"):
        client.parsing.parse(**FAILING, **OFTEN, expand=["markdown"])


def test_it_reports_a_cancelled_job(vendors: StandInVendors, client: LlamaCloud) -> None:
    """Which to the SDK is a failure."""
    job_id = vendors.add_job("llamaparse", "extract", seconds=0, ends="cancelled")
    with pytest.raises(PollingError, match="CANCELLED"):
        client.extract.wait_for_completion(job_id, **OFTEN)


def test_it_asks_for_several_jobs_at_once(vendors: StandInVendors, client: LlamaCloud) -> None:
    """The ids stand in one parameter that repeats."""
    ids = [vendors.add_job("llamaparse", "parse", seconds=0, ends=ends) for ends in ("completed", "failed", "cancelled")]
    page = client.parsing.list(job_ids=ids[:2])
    assert {job.id: job.status for job in page.items} == {ids[0]: "COMPLETED", ids[1]: "FAILED"}


def test_it_lists_jobs(vendors: StandInVendors, client: LlamaCloud) -> None:
    """Each kind has a list of its own."""
    parse, extract = vendors.add_job("llamaparse", "parse", seconds=0), vendors.add_job("llamaparse", "extract", seconds=0)
    assert [job.id for job in client.parsing.list()] == [parse]
    assert [job.id for job in client.extract.list()] == [extract]


def test_it_reports_an_unknown_job(client: LlamaCloud) -> None:
    """The text reaches the caller."""
    with pytest.raises(llama_cloud.NotFoundError, match="Job not found"):
        client.parsing.get("pjb-unknown")


def test_it_reports_a_wrong_key(vendors: StandInVendors) -> None:
    """The SDK sends the key as a Bearer token."""
    with pytest.raises(llama_cloud.AuthenticationError, match="Invalid authentication token"):
        LlamaCloud(base_url=vendors.url, api_key="wrong", max_retries=0).extract.get("ext-1")
    assert vendors.requests[-1].headers["authorization"] == "Bearer wrong"


def test_it_reports_a_rate_limit(vendors: StandInVendors, client: LlamaCloud) -> None:
    """As an error of its own."""
    vendors.limit("llamaparse", 0)
    with pytest.raises(llama_cloud.RateLimitError, match="Rate limit exceeded"):
        client.parsing.get("pjb-1")
