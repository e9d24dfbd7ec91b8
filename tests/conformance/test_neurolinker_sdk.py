"""The stand-in is held to the truth by neurolinker-sdk."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("neurolinker-sdk needs Python 3.11", allow_module_level=True)

from neurolinker_sdk import (
    AsyncNeuroLinker,
    NeuroLinker,
    NeuroLinkerAPIError,
    extract_document_ids,
    extract_markdown_document_ids,
    extract_request_uid,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_docstatus.testing import StandInVendors

FILE = ("invoice.pdf", b"%PDF")
SCHEMA = {"type": "object", "properties": {"invoice_number": {"type": "string"}}}


def options(vendors: StandInVendors, key: str = "nl_stand_in") -> dict[str, Any]:
    """Return what a client is made with: the SDK's polling, only faster."""
    return {"base_url": vendors.url, "token": key, "timeout_s": 3, "poll_interval_s": 0.02}


@pytest.fixture
def client(vendors: StandInVendors) -> Iterator[NeuroLinker]:
    """Return the SDK's synchronous client."""
    with NeuroLinker(**options(vendors)) as client:
        yield client


@pytest.fixture
def finished(client: NeuroLinker) -> list[str]:
    """Return the ids of two finished documents."""
    request_uid = extract_request_uid(client.extraction.extract(documents=[FILE, FILE]))
    return extract_document_ids(client.extraction.wait_for_request(request_uid))


@pytest.mark.parametrize(
    "documents",
    [
        {"documents": [FILE]},
        {"urls": ["https://example.com/invoice.pdf"]},
        {"documents": [FILE], "alias": "a"},
    ],
    ids=["file", "link", "alias"],
)
def test_it_submits_and_waits(client: NeuroLinker, documents: dict[str, Any]) -> None:
    """The SDK finds the request's id, its status and its documents' ids."""
    request_uid = extract_request_uid(client.extraction.extract(**documents))
    body = client.extraction.wait_for_request(request_uid)
    assert (body["request_id"], body["status"]) == (request_uid, "completed")
    (document_id,) = extract_document_ids(body)
    assert client.extraction.status.document(document_id)["status"] == "completed"


def test_it_submits_and_waits_asynchronously(vendors: StandInVendors) -> None:
    """The same with the other client, through to the data."""

    async def extract() -> tuple[dict[str, Any], dict[str, Any]]:
        client = AsyncNeuroLinker(**options(vendors))
        try:
            submitted = await client.extraction.extract(documents=[FILE], enrichment_mode="turbo")
            body = await client.extraction.wait_for_request(extract_request_uid(submitted))
            return body, await client.extraction.documents.json(extract_document_ids(body))
        finally:
            await client.aclose()

    body, results = asyncio.run(extract())
    assert body["status"] == "completed"
    assert results["results"][0]["content"]["invoice_number"] == "INV-2024-001"


def test_it_stops_on_a_failed_request(client: NeuroLinker) -> None:
    """One failed document of one makes the request fail."""
    request_uid = extract_request_uid(client.extraction.extract(documents=[("fail.pdf", b"%PDF")]))
    assert client.extraction.wait_for_request(request_uid)["status"] == "failed"


def test_it_never_stops_on_a_partial_request(client: NeuroLinker) -> None:
    """A mistake of the SDK: ``partial`` is missing from its final words."""
    request_uid = extract_request_uid(client.extraction.extract(documents=[FILE, ("fail.pdf", b"%PDF")]))
    with pytest.raises(TimeoutError, match="'status': 'partial'"):
        client.extraction.wait_for_request(request_uid, timeout_s=0.3)


def test_it_waits_for_an_id_the_vendor_does_not_know_yet(vendors: StandInVendors, client: NeuroLinker) -> None:
    """The SDK takes a 404 for a deployment that is late."""
    vendors.hidden_seconds = 0.1
    request_uid = extract_request_uid(client.extraction.extract(documents=[FILE]))
    assert client.extraction.wait_for_request(request_uid)["status"] == "completed"
    assert 404 in {record.status for record in vendors.requests}


def test_it_extracts_fields(client: NeuroLinker) -> None:
    """Field extraction has its own submit and its own result."""
    submitted = client.extraction.extract_fields(json_schema=SCHEMA, documents=[FILE])
    body = client.extraction.wait_for_request(extract_request_uid(submitted))
    (item,) = client.extraction.documents.fields(extract_document_ids(body))["results"]
    assert item["content"]["invoice_number"] == "INV-2024-001"


def test_it_extracts_scalars_from_finished_documents(client: NeuroLinker, finished: list[str]) -> None:
    """The SDK polls and fetches under the new ids."""
    submitted = client.extraction.extract_fields_from_markdown(json_schema=SCHEMA, document_ids=finished)
    client.extraction.wait_for_request(extract_request_uid(submitted))
    results = client.extraction.documents.scalars(extract_markdown_document_ids(submitted))["results"]
    assert [item["content"]["currency"] for item in results] == ["CHF", "CHF"]


def test_it_fetches_every_kind_of_result(client: NeuroLinker, finished: list[str]) -> None:
    """Each route takes many ids and returns an item for each."""
    documents = client.extraction.documents
    replies = [
        documents.markdown(finished, content_types=["text", "tables"]),
        documents.json(finished),
        documents.images(finished),
        documents.page_summaries(finished),
        documents.section_summaries(finished),
        documents.document_summary(finished, summary_type="page"),
    ]
    assert all(reply["success"] and reply["successful"] == len(reply["results"]) == 2 for reply in replies)


def test_it_gets_fields_of_a_full_extraction_as_an_error_item(client: NeuroLinker, finished: list[str]) -> None:
    """As the SDK's docstring says: an item inside a 200, no exception."""
    reply = client.extraction.documents.fields(finished)
    assert (reply["failed"], bool(reply["results"][0]["error"])) == (2, True)


def test_it_lists_zips_and_makes_schemas(client: NeuroLinker, finished: list[str]) -> None:
    """The remaining calls of its extraction module."""
    (listed,) = client.extraction.list_tasks()["tasks"]["requests"]
    zipped = client.extraction.make_zip(job_uid=listed["request_id"], document_uid=finished[0])
    assert (zipped["success"], listed["total_documents"]) == (True, 2)
    assert client.extraction.generate_schema(description="the invoice's number")


@pytest.mark.parametrize("status", [401, 403])
def test_it_reports_a_wrong_key(vendors: StandInVendors, status: int) -> None:
    """The vendor's smoke test accepts either code."""
    vendors.neurolinker_wrong_key = status  # type: ignore[assignment]  # one of the two
    with NeuroLinker(**options(vendors, "nl_wrong")) as client, pytest.raises(NeuroLinkerAPIError) as raised:
        client.extraction.list_tasks()
    assert (raised.value.status_code, raised.value.response_json) == (status, {"detail": "Invalid API key"})


def test_it_reports_an_unknown_id(client: NeuroLinker) -> None:
    """Asked once, a 404 is an error; the wait would swallow it."""
    with pytest.raises(NeuroLinkerAPIError) as raised:
        client.extraction.status.request("2c83d7c8-7ff5-42f3-a276-9d5a86785167")
    assert (raised.value.status_code, raised.value.response_json) == (404, {"detail": "Request not found"})


def test_it_reports_missing_credits(vendors: StandInVendors, client: NeuroLinker) -> None:
    """402 with a text for detail."""
    vendors.limit("neurolinker", 0, reason="payment", path="/extract")
    with pytest.raises(NeuroLinkerAPIError) as raised:
        client.extraction.extract(documents=[FILE])
    assert (raised.value.status_code, raised.value.response_json) == (402, {"detail": "Not enough credits"})


def test_it_reports_an_unsupported_keyword(client: NeuroLinker) -> None:
    """400 with a text for detail."""
    with pytest.raises(NeuroLinkerAPIError) as raised:
        client.extraction.extract_fields(json_schema={"oneOf": []}, documents=[FILE])
    assert raised.value.response_json == {"detail": "Unsupported schema keyword: oneOf"}


@pytest.mark.parametrize(("prefix", "status"), [("/api/v1", 404), ("redirect", 307)])
def test_it_knows_one_prefix_only(vendors: StandInVendors, client: NeuroLinker, prefix: str, status: int) -> None:
    """The SDK asks below ``/v1`` and does not follow redirects."""
    vendors.neurolinker_prefix = prefix  # type: ignore[assignment]  # one of the four
    with pytest.raises(NeuroLinkerAPIError) as raised:
        client.extraction.list_tasks()
    assert raised.value.status_code == status
