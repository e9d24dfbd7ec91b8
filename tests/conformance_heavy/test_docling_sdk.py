"""The recorded replies of docling-serve are held to the truth by the vendor's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from docling.datamodel.base_models import ConversionStatus
from docling.datamodel.service.requests import HttpSourceRequest
from docling.datamodel.service.targets import InBodyTarget
from docling.service_client import DoclingServiceClient
from docling.service_client.client import ChunkerKind, StatusWatcherKind
from docling.service_client.exceptions import (
    ResultNotReadyError,
    ServiceError,
    TaskExecutionError,
    TaskNotFoundError,
    UsageLimitExceededError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_docstatus.testing import StandInVendors

KEY = "docling_stand_in"


def settings(vendors: StandInVendors) -> dict[str, Any]:
    """Return the arguments that lead a client to the stand-in and let it poll."""
    return {
        "url": vendors.url,
        "api_key": KEY,
        "status_watcher": StatusWatcherKind.POLLING,
        "poll_server_wait": 0.0,
        "poll_client_interval": 0.02,
        "job_timeout": 5.0,
        "http_retries": 0,
    }


@pytest.fixture
def client(vendors: StandInVendors) -> Iterator[DoclingServiceClient]:
    """Return the SDK's synchronous client."""
    with DoclingServiceClient(**settings(vendors)) as client:
        yield client


def submit(client: DoclingServiceClient, name: str = "invoice.html") -> Any:
    """Submit a link; its name says how the task ends."""
    return client.submit(HttpSourceRequest(url=f"https://example.com/{name}"), target=InBodyTarget())


def test_it_converts(vendors: StandInVendors, client: DoclingServiceClient) -> None:
    """It submits, polls to the end, and fetches the result by a request of its own."""
    job = submit(client)
    assert job.status == "pending"
    result = job.result()
    assert (job.status, result.status, result.errors) == ("success", ConversionStatus.SUCCESS, [])
    assert [request.path.replace(job.task_id, "") for request in vendors.requests][-2:] == ["/v1/status/poll/", "/v1/result/"]
    assert all(request.key_ok for request in vendors.requests)


def test_it_converts_a_file(client: DoclingServiceClient, tmp_path: Any) -> None:
    """A file is a form's part."""
    path = tmp_path / "invoice.html"
    path.write_text("<h1>Invoice</h1>")
    assert client.submit(path, target=InBodyTarget()).result().status is ConversionStatus.SUCCESS


def test_it_sees_a_task_go_on(client: DoclingServiceClient) -> None:
    """Every status fits its model."""
    seen = [update.task_status for update in submit(client).watch()]
    assert (seen[0], seen[-1]) == ("pending", "success")
    assert set(seen) <= {"pending", "started", "success"}


def test_it_cuts_into_chunks(vendors: StandInVendors, client: DoclingServiceClient, tmp_path: Any) -> None:
    """The result of a chunking task has another form."""
    path = tmp_path / "invoice.html"
    path.write_text("<h1>Invoice</h1>")
    job = client.submit_chunk(path, ChunkerKind.HIERARCHICAL)
    vendors.jobs[job.task_id].recorded = "chunks"
    assert job.result().chunks[0].filename == "invoice.html"


def test_it_reads_a_task_that_broke(vendors: StandInVendors, client: DoclingServiceClient) -> None:
    """The task's word is failure, and its result is a 404."""
    job = submit(client, "fail.html")
    vendors.jobs[job.task_id].recorded = "the result of a task that broke"
    with pytest.raises(TaskExecutionError, match=r"Internal processing error\."):
        job.result()
    assert job.status == "failure"


def test_a_failed_document_is_no_word_of_the_task(vendors: StandInVendors, client: DoclingServiceClient) -> None:
    """The task's word is success; only the result tells."""
    job = submit(client)
    vendors.jobs[job.task_id].recorded = "the only document failed"
    result = job.result()
    assert (job.status, result.status) == ("success", ConversionStatus.FAILURE)
    assert result.errors[0].error_message == "VLM inference failed: ConnectionError"


def test_it_reports_a_result_that_is_not_ready(vendors: StandInVendors, client: DoclingServiceClient) -> None:
    """404 while the task is at work."""
    vendors.job_seconds = 60
    job = submit(client)
    with pytest.raises(ResultNotReadyError):
        client._fetch_convert_result_payload(job.task_id, None)


def test_it_reports_an_unknown_task(client: DoclingServiceClient) -> None:
    """404 with a text of its own."""
    with pytest.raises(TaskNotFoundError):
        client._poll_task_status("1", 0.0)


def test_it_reports_a_wrong_key(vendors: StandInVendors) -> None:
    """With the framework's phrase."""
    with DoclingServiceClient(**settings(vendors) | {"api_key": "wrong"}) as client, pytest.raises(ServiceError) as raised:
        submit(client)
    assert (raised.value.status_code, raised.value.detail) == (401, "Unauthorized")


def test_it_reports_a_used_up_quota(vendors: StandInVendors, client: DoclingServiceClient) -> None:
    """Hosted servers may answer so."""
    vendors.limit("docling", 0, reason="payment")
    with pytest.raises(UsageLimitExceededError) as raised:
        submit(client)
    assert (raised.value.current_usage, raised.value.limit) == (1000, 1000)
