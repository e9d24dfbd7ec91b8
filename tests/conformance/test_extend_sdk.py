"""The recorded replies of Extend are held to the truth by extend-ai: they fit its types, and it follows them to the end."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from extend_ai import AsyncExtend, Extend, NotFoundError, PollingOptions, TooManyRequestsError, UnauthorizedError

from tests.conformance.recorded import good_replies

if TYPE_CHECKING:
    from airflow_provider_docstatus.testing import StandInVendors
    from airflow_provider_docstatus.testing.recordings import Reply

KEY = "extend_stand_in"
FILE = {"url": "https://files.example/invoice.pdf"}
FAILING = {"url": "https://files.example/fail.pdf"}
OFTEN = PollingOptions(max_wait_ms=5000, fast_poll_interval_ms=20)
SUBMISSIONS: dict[str, dict[str, Any]] = {
    "extract": {"extractor": {"id": "ex_1"}},
    "classify": {"classifier": {"id": "cl_1"}},
    "split": {"splitter": {"id": "spl_1"}},
    "parse": {},
    "edit": {},
    "workflow": {"workflow": {"id": "workflow_1"}},
}
IN_BATCHES = ("extract", "classify", "split", "parse")


@pytest.fixture
def client(vendors: StandInVendors) -> Extend:
    """Return the SDK's client."""
    return Extend(base_url=vendors.url, token=KEY)


def runs(client: Any, kind: str) -> Any:
    """Return the part of a client that handles one kind of run."""
    return getattr(client, f"{kind}_runs")


def of_type(name: str, body: Any) -> Any:
    """Read a body as one of the SDK's types, and check it: the SDK itself does not."""
    return getattr(import_module(f"extend_ai.types.{name}"), name.title().replace("_", "")).model_validate(body)


@pytest.mark.parametrize("reply", good_replies("extend", "submit", "status", "result"))
def test_its_types_take_every_recorded_run(reply: Reply) -> None:
    """Seven types, with every word."""
    word = reply.expect.get("word", reply.body["status"])
    assert of_type(f"{reply.route}_run", reply.body).status.value == word


@pytest.mark.parametrize("reply", good_replies("extend", "list"))
def test_its_types_take_every_recorded_list(reply: Reply) -> None:
    """Their items are summaries."""
    assert all(of_type(f"{reply.route}_run_summary", item) for item in reply.body["data"])


@pytest.mark.parametrize("kind", SUBMISSIONS)
def test_it_submits_and_polls(vendors: StandInVendors, client: Extend, kind: str) -> None:
    """Each kind of run has a route; all requests name the version of the API."""
    run = runs(client, kind).create_and_poll(file=FILE, **SUBMISSIONS[kind], polling_options=OFTEN)
    assert run.status == "PROCESSED"
    assert run.step_runs[0].result.extract_run.output.value if kind == "workflow" else run.output
    assert {(record.path.split("/")[1], record.status) for record in vendors.requests} == {(f"{kind}_runs", 200)}
    assert {record.headers["x-extend-api-version"] for record in vendors.requests} == {"2026-02-09"}
    assert len(vendors.requests) > 2, "it had to wait"


def test_it_submits_and_polls_asynchronously(vendors: StandInVendors) -> None:
    """The same with the other client."""

    async def extract() -> Any:
        client = AsyncExtend(base_url=vendors.url, token=KEY)
        return await client.extract_runs.create_and_poll(file=FILE, extractor={"id": "ex_1"}, polling_options=OFTEN)

    run = asyncio.run(extract())
    assert (run.status, run.output.value["invoice_number"], run.usage.total_credits) == ("PROCESSED", "INV-1", 6.0)


def test_it_finds_the_link_to_large_data(vendors: StandInVendors, client: Extend) -> None:
    """What is behind the link has the shape of the output."""
    run_id = vendors.add_job("extend", "parse", seconds=0)
    run = client.parse_runs.retrieve(run_id, response_type="url")
    assert (run.output, run.metrics.page_count) == (None, 3)
    inline = client.parse_runs.retrieve(run_id)
    assert (inline.output_url, inline.output.chunks[0].type) == (None, "page")
    assert httpx.get(run.output_url).json()["chunks"][0]["content"] == inline.output.chunks[0].content


@pytest.mark.parametrize("kind", SUBMISSIONS)
def test_it_reads_why_a_run_failed(client: Extend, kind: str) -> None:
    """A code and a text."""
    run = runs(client, kind).create_and_poll(file=FAILING, **SUBMISSIONS[kind], polling_options=OFTEN)
    assert (run.status, run.failure_reason, run.failure_message) == (
        "FAILED",
        "OUT_OF_CREDITS",
        "Not enough credits to run this.",
    )


@pytest.mark.parametrize("word", ["NEEDS_REVIEW", "REJECTED", "CANCELLED"])
def test_it_stops_where_a_person_decides(vendors: StandInVendors, client: Extend, word: str) -> None:
    """The SDK waits for neither of them."""
    name = {"NEEDS_REVIEW": "that waits for a person", "REJECTED": "that a person rejected"}.get(word)
    recorded = f"a workflow run {name}" if name else "a cancelled workflow run"
    run_id = vendors.add_job("extend", "workflow", seconds=0, recorded=recorded)
    assert client.workflow_runs.retrieve(run_id).status == word


@pytest.mark.parametrize("kind", IN_BATCHES)
def test_it_submits_batches(vendors: StandInVendors, client: Extend, kind: str) -> None:
    """A batch tells no more than how many runs it has."""
    batch = runs(client, kind).create_batch(inputs=[{"file": FILE}, {"file": FILE}], **SUBMISSIONS[kind])
    assert (batch.object, batch.run_count, batch.status) == ("batch_run", 2, "PENDING")
    vendors.finish(batch.id)
    assert client.batch_runs.get(batch.id).status == "PROCESSED"


@pytest.mark.parametrize("kind", IN_BATCHES)
def test_it_lists_the_runs_of_a_batch(vendors: StandInVendors, client: Extend, kind: str) -> None:
    """By the batch's id, each kind by itself."""
    good, bad = (vendors.add_job("extend", kind, seconds=0, ends=ends) for ends in ("completed", "failed"))
    listed = runs(client, kind).list(batch_id="bpr_Xj8mK2pL9nR4vT7qY5wZ")
    assert {run.id: run.status.value for run in listed.data} == {good: "PROCESSED", bad: "FAILED"}
    assert listed.next_page_token is None


@pytest.mark.parametrize("kind", SUBMISSIONS)
def test_it_lists_runs(vendors: StandInVendors, client: Extend, kind: str) -> None:
    """Without their output."""
    run_id = vendors.add_job("extend", kind, seconds=0)
    assert [(run.id, run.status) for run in runs(client, kind).list().data] == [(run_id, "PROCESSED")]


def test_it_reports_an_unknown_run(client: Extend) -> None:
    """The envelope reaches the caller."""
    with pytest.raises(NotFoundError) as raised:
        client.extract_runs.retrieve("exr_unknown")
    assert (raised.value.body["code"], raised.value.body["retryable"]) == ("NOT_FOUND", False)


def test_it_reports_a_wrong_key(vendors: StandInVendors) -> None:
    """The SDK sends the key as a Bearer token."""
    with pytest.raises(UnauthorizedError) as raised:
        Extend(base_url=vendors.url, token="wrong").parse_runs.retrieve("pr_1")
    assert raised.value.body["code"] == "UNAUTHORIZED"
    assert vendors.requests[-1].headers["authorization"] == "Bearer wrong"


def test_it_reports_a_rate_limit(vendors: StandInVendors, client: Extend) -> None:
    """With the vendor's word that the same request may succeed later."""
    vendors.limit("extend", 0)
    with pytest.raises(TooManyRequestsError) as raised:
        client.extract_runs.retrieve("exr_1", request_options={"max_retries": 0})
    assert (raised.value.body["code"], raised.value.body["retryable"]) == ("RATE_LIMIT_EXCEEDED", True)
