"""The stand-in is held to the truth by unsiloed-sdk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from unsiloed_sdk import AsyncUnsiloedClient, UnsiloedClient
from unsiloed_sdk.exceptions import (
    APIError,
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
)
from unsiloed_sdk.exceptions import TimeoutError as UnsiloedTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_docstatus.testing import StandInVendors

SCHEMA = {"type": "object", "properties": {"invoice_number": {"type": "string"}}}
CATEGORIES = ["invoice", "contract"]
LINK = "https://example.com/invoice.pdf"
QUICK = {"poll_interval": 0.02, "max_wait": 3}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "parse": {},
    "extract": {"schema": SCHEMA},
    "classify": {"categories": CATEGORIES},
    "split": {"categories": CATEGORIES},
}
LINK_NAME = {"parse": "url", "extract": "file_url", "classify": "file_url", "split": "file_url"}
DONE = {"parse": "Succeeded", "extract": "completed", "classify": "completed", "split": "completed"}
FAILED = {"parse": "Failed", "extract": "failed", "classify": "failed", "split": "failed"}
OPERATIONS = sorted(ARGUMENTS)


@pytest.fixture
def client(vendors: StandInVendors) -> Iterator[UnsiloedClient]:
    """Return the SDK's synchronous client."""
    client = UnsiloedClient(api_key="us_stand_in", base_url=vendors.url)
    yield client
    client.close()


@pytest.fixture
def named(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a file of a given name."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(b"%PDF")
        return path

    return make


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("by", ["file", "bytes", "link"])
def test_it_submits_and_waits(client: UnsiloedClient, named: Callable[[str], Path], operation: str, by: str) -> None:
    """Each operation has its own parts, its own route and its own words."""
    document = {"file": named("invoice.pdf")} if by == "file" else {"file": b"%PDF"}
    document = {LINK_NAME[operation]: LINK} if by == "link" else document
    job = getattr(client, f"{operation}_and_wait")(**document, **ARGUMENTS[operation], **QUICK)
    assert job.status == DONE[operation]
    assert job.chunks if operation == "parse" else job.result


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_submits_and_waits_asynchronously(vendors: StandInVendors, operation: str) -> None:
    """The same with the other client."""

    async def run() -> Any:
        async with AsyncUnsiloedClient(api_key="us_stand_in", base_url=vendors.url) as client:
            wait = getattr(client, f"{operation}_and_wait")
            return await wait(file=b"%PDF", **ARGUMENTS[operation], **QUICK)

    assert asyncio.run(run()).status == DONE[operation]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_reads_a_failed_job(client: UnsiloedClient, named: Callable[[str], Path], operation: str) -> None:
    """The text is in ``message`` for parse and in ``error`` elsewhere."""
    wait = getattr(client, f"{operation}_and_wait")
    job = wait(file=named("fail.pdf"), **ARGUMENTS[operation], **QUICK)
    text = job.message if operation == "parse" else job.error
    assert (job.status, text) == (FAILED[operation], "Document is corrupted or unreadable")


def test_it_stops_on_review(client: UnsiloedClient, named: Callable[[str], Path]) -> None:
    """The result is there, for a human to look at."""
    job = client.extract_and_wait(file=named("review.pdf"), schema=SCHEMA, **QUICK)
    assert (job.status, job.result["invoice_number"]["value"]) == ("review", "INV-2024-001")


def test_it_never_stops_on_a_cancelled_parse(client: UnsiloedClient, named: Callable[[str], Path]) -> None:
    """A mistake of the SDK: ``Cancelled`` is missing from its final words."""
    with pytest.raises(UnsiloedTimeoutError, match="did not complete"):
        client.parse_and_wait(file=named("cancel.pdf"), poll_interval=0.02, max_wait=0.3)


def test_it_reads_every_field_of_its_models(vendors: StandInVendors, client: UnsiloedClient) -> None:
    """The submit's answers and the finished jobs fill the SDK's classes."""
    submitted = client.parse(file=b"%PDF", merge_tables=True)
    assert (submitted.status, submitted.file_name, submitted.credit_used) == ("Starting", "document.pdf", 10)
    assert (submitted.merge_tables, submitted.quota_remaining) == (True, 450)
    parsed = client.get_parse_result(vendors.add_job("unsiloed", "parse", seconds=0))
    assert (parsed.page_count, parsed.total_chunks, len(parsed.chunks)) == (10, 25, 1)
    extracted = client.get_extract_result(vendors.add_job("unsiloed", seconds=0))
    assert (extracted.file_name, extracted.metadata["page_count"]) == (None, 27)
    split = client.get_split_result(vendors.add_job("unsiloed", "split", seconds=0))
    assert (split.quota_remaining, len(split.result["files"])) == (450, 1)


def test_it_declines_the_output_by_a_header(vendors: StandInVendors, client: UnsiloedClient) -> None:
    """The page has a query parameter for it."""
    job_id = vendors.add_job("unsiloed", "parse", seconds=0)
    assert client.get_parse_result(job_id, output_file=True).chunks is None
    assert vendors.requests[-1].headers["output-file"] == "true"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_reports_a_wrong_key(vendors: StandInVendors, operation: str) -> None:
    """The SDK sends the key as ``api-key``."""
    client = UnsiloedClient(api_key="us_wrong", base_url=vendors.url)
    with pytest.raises(AuthenticationError, match="Invalid API key"):
        getattr(client, f"get_{operation}_result")("1")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_reports_an_unknown_job(client: UnsiloedClient, operation: str) -> None:
    """As plain text for parse, in FastAPI's envelope elsewhere."""
    with pytest.raises(NotFoundError, match="not found"):
        getattr(client, f"get_{operation}_result")("1")


def test_it_stumbles_over_the_404_its_own_page_shows(vendors: StandInVendors, client: UnsiloedClient) -> None:
    """A mistake of the SDK: a bare JSON string has no ``get``."""
    vendors.prefer = {"404 as a bare JSON string"}
    with pytest.raises(AttributeError):
        client.get_parse_result("1")


@pytest.mark.parametrize("operation", ["classify", "extract", "split"])
def test_it_reports_a_used_up_quota(vendors: StandInVendors, client: UnsiloedClient, operation: str) -> None:
    """402 with an object for detail."""
    vendors.limit("unsiloed", 0, reason="payment")
    with pytest.raises(QuotaExceededError, match="Insufficient quota"):
        getattr(client, operation)(file=b"%PDF", **ARGUMENTS[operation])


def test_it_stumbles_over_the_402_of_parse(vendors: StandInVendors, client: UnsiloedClient) -> None:
    """A mistake of the SDK: it takes the detail for an object, and the specification says text."""
    vendors.limit("unsiloed", 0, reason="payment")
    with pytest.raises(AttributeError):
        client.parse(file=b"%PDF")


@pytest.mark.parametrize(("reason", "text"), [("rate", "Rate limit exceeded"), ("quota", "Usage limit exceeded")])
def test_it_reports_both_kinds_of_429(vendors: StandInVendors, client: UnsiloedClient, reason: str, text: str) -> None:
    """Only the text tells them apart."""
    vendors.limit("unsiloed", 0, reason=reason)  # type: ignore[arg-type]  # one of the three
    with pytest.raises(APIError, match=text) as raised:
        client.parse(file=b"%PDF")
    assert raised.value.status_code == 429


def test_it_reports_what_the_vendor_finds_wrong(vendors: StandInVendors, client: UnsiloedClient) -> None:
    """A 400 has an exception of its own."""
    vendors.answer_next(400, body={"detail": "Invalid schema data: Not a valid JSON"})
    with pytest.raises(InvalidRequestError, match="Not a valid JSON"):
        client.extract(file=b"%PDF", schema=SCHEMA)
