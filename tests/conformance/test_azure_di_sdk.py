"""The recorded replies of Azure Document Intelligence are held to the truth by azure-ai-documentintelligence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from azure.ai.documentintelligence import DocumentIntelligenceClient
from azure.ai.documentintelligence.aio import DocumentIntelligenceClient as AsyncDocumentIntelligenceClient
from azure.ai.documentintelligence.models import (
    AnalyzeBatchDocumentsRequest,
    AnalyzeDocumentRequest,
    AzureBlobContentSource,
    ClassifyDocumentRequest,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.ai.documentintelligence.models import AnalyzeResult

    from airflow_provider_docstatus.testing import StandInVendors

MODEL = "prebuilt-invoice"
KEY = "azure_di_stand_in"


def settings(vendors: StandInVendors, key: str = KEY) -> dict[str, Any]:
    """Return the arguments that lead a client to the stand-in."""
    return {"endpoint": vendors.url, "credential": AzureKeyCredential(key), "polling_interval": 0.02, "retry_total": 0}


def named(name: str) -> AnalyzeDocumentRequest:
    """Return the body of a submission; its link's name says how the job ends."""
    return AnalyzeDocumentRequest(url_source=f"https://example.com/{name}.pdf")


@pytest.fixture
def client(vendors: StandInVendors) -> Iterator[DocumentIntelligenceClient]:
    """Return the SDK's synchronous client."""
    with DocumentIntelligenceClient(**settings(vendors)) as client:
        yield client


def test_it_analyzes(vendors: StandInVendors, client: DocumentIntelligenceClient) -> None:
    """It follows the header of the submit, key included; two ids are in the path, the version is in the query."""
    poller = client.begin_analyze_document(MODEL, named("invoice"))
    result = poller.result()
    assert (result.api_version, result.model_id, result.content, len(result.pages)) == ("2024-11-30", MODEL, "INV-2024-001", 1)
    assert result.documents[0].fields["InvoiceId"].value_string == "INV-2024-001"
    last = vendors.requests[-1]
    assert last.path == f"/documentintelligence/documentModels/{MODEL}/analyzeResults/{poller.details['operation_id']}"
    assert (last.query, last.key_ok) == ({"api-version": "2024-11-30"}, True)


def test_it_analyzes_bytes(client: DocumentIntelligenceClient) -> None:
    """A file may be the body as it stands."""
    assert client.begin_analyze_document(MODEL, b"%PDF").result().model_id == MODEL


def test_it_analyzes_asynchronously(vendors: StandInVendors) -> None:
    """The same with the other client."""

    async def run() -> AnalyzeResult:
        async with AsyncDocumentIntelligenceClient(**settings(vendors)) as client:
            return await (await client.begin_analyze_document(MODEL, named("invoice"))).result()

    assert asyncio.run(run()).model_id == MODEL


def test_it_classifies(client: DocumentIntelligenceClient) -> None:
    """A classifier has a path of its own."""
    poller = client.begin_classify_document("myClassifier", ClassifyDocumentRequest(url_source="https://example.com/forms.pdf"))
    assert [(one.doc_type, one.confidence) for one in poller.result().documents] == [("formA", 0.97), ("formB", 0.97)]


@pytest.mark.parametrize("name", ["fail", "cancel"])
def test_a_failed_and_a_canceled_analysis_raise(client: DocumentIntelligenceClient, name: str) -> None:
    """Both count as failed; the useful text is in the inner error."""
    with pytest.raises(HttpResponseError) as raised:
        client.begin_analyze_document(MODEL, named(name)).result()
    if name == "fail":
        assert raised.value.error.code == "InvalidRequest"
        assert raised.value.error.innererror["message"].startswith("The file format is unsupported or corrupted.")


def test_it_waits_as_a_running_reply_says(vendors: StandInVendors) -> None:
    """``Retry-After`` of a good reply goes before the client's own interval."""
    pauses: list[float] = []

    class Transport(RequestsTransport):
        def sleep(self, duration: float) -> None:
            pauses.append(duration)

    vendors.answer_next(200, body={"status": "running"}, headers={"Retry-After": "3"}, path="/analyzeResults/")
    with DocumentIntelligenceClient(**settings(vendors), transport=Transport()) as client:
        client.begin_analyze_document(MODEL, named("invoice")).result()
    assert (pauses[0], set(pauses[1:])) == (3, {0.02})


def batch(name: str) -> AnalyzeBatchDocumentsRequest:
    """Return the body of a batch's submission; the result container's name says how the job ends."""
    source = AzureBlobContentSource(container_url="https://storage.example/in")
    return AnalyzeBatchDocumentsRequest(azure_blob_source=source, result_container_url=f"https://storage.example/{name}")


def test_it_analyzes_a_batch(client: DocumentIntelligenceClient) -> None:
    """The outcome counts the documents."""
    result = client.begin_analyze_batch_documents(MODEL, batch("invoices")).result()
    assert (result.succeeded_count, result.failed_count, result.skipped_count) == (2, 0, 0)
    assert [one.status for one in result.details] == ["succeeded", "succeeded"]


def test_a_failed_document_of_a_batch_is_no_word(client: DocumentIntelligenceClient) -> None:
    """The word is succeeded, so nothing is raised; only the counters tell."""
    result = client.begin_analyze_batch_documents(MODEL, batch("partial")).result()
    assert (result.succeeded_count, result.failed_count) == (1, 1)
    assert (result.details[1].status, result.details[1].error.code) == ("failed", "InvalidRequest")


def test_it_reports_a_wrong_key(vendors: StandInVendors) -> None:
    """The text is the gateway's."""
    refused = pytest.raises(ClientAuthenticationError, match="Access denied due to invalid subscription key")
    with DocumentIntelligenceClient(**settings(vendors, "wrong")) as client, refused:
        client.begin_analyze_document(MODEL, named("invoice"))


def test_it_reports_a_result_that_is_gone(vendors: StandInVendors, client: DocumentIntelligenceClient) -> None:
    """404 for a result that is not there, or not there any more."""
    vendors.job_seconds = 60
    poller = client.begin_analyze_document(MODEL, named("invoice"))
    vendors.forget(f"{MODEL}/{poller.details['operation_id']}")
    with pytest.raises(HttpResponseError, match="NotFound") as raised:
        poller.result()
    assert raised.value.status_code == 404


def test_it_reports_the_rate_limit(vendors: StandInVendors, client: DocumentIntelligenceClient) -> None:
    """Submits and polls count alike."""
    vendors.limit("azure_di", 0)
    with pytest.raises(HttpResponseError, match="exceeded rate limit") as raised:
        client.begin_analyze_document(MODEL, named("invoice"))
    assert raised.value.status_code == 429
