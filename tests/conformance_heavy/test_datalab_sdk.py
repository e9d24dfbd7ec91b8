"""The recorded replies of Datalab are held to the truth by datalab-python-sdk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from datalab_sdk import AsyncDatalabClient, ConvertOptions, DatalabClient
from datalab_sdk.exceptions import DatalabAPIError
from datalab_sdk.models import ExtractOptions, SegmentOptions

if TYPE_CHECKING:
    from pathlib import Path

    from datalab_sdk.models import ConversionResult

    from airflow_provider_docstatus.testing import StandInVendors

KEY = "datalab_stand_in"
QUICK: dict[str, Any] = {"max_polls": 100, "poll_interval": 0.02}
LINK = "https://example.com/invoice.pdf"


@pytest.fixture
def client(vendors: StandInVendors) -> DatalabClient:
    """Return the SDK's synchronous client."""
    return DatalabClient(api_key=KEY, base_url=vendors.url)


def test_it_converts_a_file(vendors: StandInVendors, client: DatalabClient, tmp_path: Path) -> None:
    """It asks where the submit's answer says, with the key."""
    path = tmp_path / "invoice.pdf"
    path.write_bytes(b"%PDF")
    result = client.convert(path, options=ConvertOptions(output_format="markdown"), **QUICK)
    assert (result.success, result.status, result.error, result.error_in) == (True, "complete", None, None)
    assert (result.markdown, result.page_count, result.parse_quality_score) == ("# Invoice", 4, 4.6)
    last = vendors.requests[-1]
    assert (last.path.rpartition("/")[0], last.key_ok) == ("/api/v1/convert", True)


def test_it_converts_asynchronously(vendors: StandInVendors) -> None:
    """The same with the other client."""

    async def run() -> ConversionResult:
        async with AsyncDatalabClient(api_key=KEY, base_url=vendors.url) as client:
            return await client.convert(file_url=LINK, **QUICK)

    assert asyncio.run(run()).markdown == "# Invoice"


def test_it_extracts(client: DatalabClient) -> None:
    """The extracted data is a text that holds JSON."""
    result = client.extract(file_url=LINK, options=ExtractOptions(page_schema="{}"), **QUICK)
    assert result.extraction_schema_json == '{"invoice_number": "INV-2024-001"}'


def test_it_segments(client: DatalabClient) -> None:
    """The segments are an object."""
    result = client.segment(file_url=LINK, options=SegmentOptions(segmentation_schema="{}"), **QUICK)
    assert result.segmentation_results["segments"][0]["name"] == "Summary"


def test_a_failed_request_says_complete(client: DatalabClient) -> None:
    """It is returned and not raised; only the flag tells."""
    result = client.convert(file_url="https://example.com/fail.pdf", **QUICK)
    assert (result.status, result.success, result.error, result.error_in) == (
        "complete",
        False,
        "The file could not be read.",
        "VALIDATION",
    )


def test_it_writes_the_reply_to_a_file(client: DatalabClient, tmp_path: Path) -> None:
    """For large results; the status is read on the way."""
    result = client.convert(file_url=LINK, stream_response_to=tmp_path / "reply.json", **QUICK)
    assert (result.success, result.status) == (True, "complete")
    assert "# Invoice" in result.output_path.read_text()


def test_it_runs_a_pipeline(client: DatalabClient) -> None:
    """With words of its own, and steps."""
    run = client.run_pipeline("pl_abc123", file_url=LINK, **QUICK)
    assert (run.status, [step.status for step in run.steps]) == ("completed", ["completed", "completed"])
    assert run.steps[0].result_url == f"/api/v1/pipelines/executions/{run.execution_id}/steps/0/result"


def test_it_reads_a_pipeline_with_a_failed_step(vendors: StandInVendors, client: DatalabClient) -> None:
    """The step has the text."""
    run = client.get_pipeline_execution(vendors.add_job("datalab", "pipeline", seconds=0, ends="partial"))
    assert (run.status, run.steps[1].error_message) == ("completed_with_errors", "The schema names no field.")


@pytest.mark.parametrize("ask", ["convert", "get_pipeline_execution"])
def test_it_reads_the_code_of_an_error(vendors: StandInVendors, client: DatalabClient, ask: str) -> None:
    """A mistake of the SDK: it looks for the text when the connection is closed already."""
    client._async_client.api_key = "wrong"
    with pytest.raises(DatalabAPIError, match="Unauthorized") as raised:
        client.convert(file_url=LINK, **QUICK) if ask == "convert" else client.get_pipeline_execution("pex_1")
    assert (raised.value.status_code, raised.value.response_data) == (401, None)
    assert vendors.requests[-1].key_ok is False


@pytest.mark.parametrize(
    ("reason", "code", "text"), [("payment", 403, "active, paid subscription"), ("rate", 429, "Rate limit exceeded")]
)
def test_it_reports_the_limits(vendors: StandInVendors, reason: str, code: int, text: str) -> None:
    """A 403 is about the subscription. The text is read where the reply goes to a file, by a helper that repeats a 429."""
    vendors.limit("datalab", 0, reason=reason)  # type: ignore[arg-type]  # one of the three

    async def ask() -> None:
        async with AsyncDatalabClient(api_key=KEY, base_url=vendors.url) as client:
            once = client._poll_get_streaming.__wrapped__
            await once(client, f"{vendors.url}/api/v1/convert/1", None)

    with pytest.raises(DatalabAPIError, match=text) as raised:
        asyncio.run(ask())
    assert raised.value.status_code == code


def test_it_reports_an_unknown_run(client: DatalabClient) -> None:
    """By the code alone."""
    with pytest.raises(DatalabAPIError, match="Not Found") as raised:
        client.get_pipeline_execution("pex_1")
    assert raised.value.status_code == 404
