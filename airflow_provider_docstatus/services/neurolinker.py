"""Neurolinker by Ainexxo (https://neurolinker.ainexxo.com/docs/api/): requests of several documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus.protocol.description import Content, ListRoute, Route, ServiceDescription, Submission
from airflow_provider_docstatus.protocol.values import text_in
from airflow_provider_docstatus.status import DocumentStatus, State

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOCS = "https://neurolinker.ainexxo.com/docs/api"
# No field for a failed document's text is documented; these are the names FastAPI services use.
_ERRORS = ("error", "error_message", "message", "msg", "detail")
_INSIDE = "data"  # the SDK accepts a reply nested there (helpers.py)

# An item of request-status: the vendor's facts stand below "result", the names differ (filename outside, file_name inside).
# Extracted data never stands there: "results" names its files, and it is fetched from routes of its own.
_DOCUMENT_OF_A_REQUEST = Route(
    kind="document",
    parameter="document_id",
    path="/document-status/{id}",
    ids=("document_id", "id"),
    errors=(*_ERRORS, *(f"result.{name}" for name in _ERRORS)),
    links=("document_page_url",),
    times={"started_at": ("result.started_at",), "completed_at": ("result.completed_at",)},
    details={
        "file_name": ("result.file_name", "filename"),
        "file_type": ("result.file_type",),
        "file_size_bytes": ("result.file_size_bytes",),
        "total_pages": ("result.total_pages",),
    },
)
_DOCUMENT = Route(
    kind="document",
    parameter="document_id",
    path="/document-status/{id}",
    docs=f"{_DOCS}/document-status.html",
    ids=("document_id",),
    errors=_ERRORS,
    inside=_INSIDE,
    links=("document_page_url",),
    times={"started_at": ("started_at",), "completed_at": ("completed_at",)},
    details={
        "request_id": ("request_id",),
        "file_name": ("file_name",),
        "file_type": ("file_type",),
        "file_size_bytes": ("file_size_bytes",),
        "total_pages": ("total_pages",),
    },
    parent=("request", "request_id"),
)
_REQUEST = Route(
    kind="request",
    parameter="request_id",
    path="/request-status/{id}",
    docs=f"{_DOCS}/request-status.html",
    ids=("request_id", "request_uid"),
    errors=_ERRORS,
    inside=_INSIDE,
    links=("job_page_url",),
    times={"started_at": ("started_at",), "completed_at": ("completed_at",)},
    counters=("total", "completed", "failed", "processing"),
    children="documents",
    child=_DOCUMENT_OF_A_REQUEST,
    details={"total_size_bytes": ("total_size_bytes",)},
    listing=ListRoute(
        path="/tasks",
        items="tasks.requests",
        item=Route(
            kind="request",
            parameter="request_id",
            path="/request-status/{id}",
            ids=("request_id",),
            times={"started_at": ("start_time",)},
            details={"total_documents": ("total_documents",)},
        ),
    ),
    submit=Submission(path="/extract", id="request_uid"),
)


def _believe_the_counters(state: State, status: DocumentStatus, _body: Mapping[str, Any]) -> State:
    """
    Correct the state of a request by its counters and its documents.

    The vendor does not define ``partial``. A request of 27 documents kept it for weeks (docs/api/tasks.html), so it is final once
    no document is being processed. ``completed`` counts as partial if documents failed, and as running if some are open. If the
    counters say that all documents have ended, they win over a document's own word. A request without a good document has failed.
    """
    if status.kind != "request" or state not in (State.SUCCEEDED, State.PARTIAL):
        return state
    total, completed, failed, processing = (status.counters.get(name) for name in _REQUEST.counters)
    states = status.child_states
    failed_documents = max(failed or 0, sum(states.get(one, 0) for one in (State.FAILED, State.CANCELLED, State.EXPIRED)))
    none_good = not completed and State.SUCCEEDED not in states and (completed is not None or bool(states))
    bad = State.FAILED if none_good and failed_documents else State.PARTIAL
    all_ended = total is not None and (completed or 0) + failed_documents >= total
    if state is State.PARTIAL:
        counted = processing is not None or total is not None
        nothing_open = processing == 0 or all_ended if counted else bool(states) and State.RUNNING not in states
        return bad if nothing_open else State.RUNNING
    if processing or (total is not None and completed is not None and not all_ended):
        return State.RUNNING
    if (total is None or completed is None) and State.RUNNING in states:
        return State.RUNNING
    return bad if failed_documents else State.SUCCEEDED


def _content_of_an_item(item: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Read one document of a content reply: errors come inside a 200 (docs/api/documents-results.html)."""
    error = next((item[name] for name in ("error", "error_message", "detail") if item.get(name)), None)
    if error is not None or item.get("success") is False:
        return None, text_in({"error": error} if error is not None else item) or "the vendor gave no reason"
    if "content" in item:
        found = item["content"]
    else:  # images and summaries stand under a name of their own; paths and signed links are not data
        plumbing = {"document_id", "filename", "storage_path", "download_url", "file_size", "success", "status", "format"}
        parts = {name: part for name, part in item.items() if name not in plumbing}
        found = next(iter(parts.values())) if len(parts) == 1 else parts
    return None if found in ("", {}, []) else found, None


NEUROLINKER = ServiceDescription(
    name="neurolinker",
    title="Neurolinker",
    host="https://neurolinker.api.ainexxo.com",
    docs=f"{_DOCS}/",
    auth={"bearer": ("Authorization", "Bearer {key}")},
    # The headings of every docs page say /api/v1; both official SDKs and their live tests use /v1 since SDK 0.1.3.
    prefixes=("/v1", "/api/v1"),
    routes={"request": _REQUEST, "document": _DOCUMENT},
    words={
        # The SDK takes "pending" for finished (polling.py), against the vendor's own pages; "submitted" is in the vendor's mocks.
        State.RUNNING: ("processing", "pending", "submitted", "queued"),
        State.SUCCEEDED: ("completed",),
        State.FAILED: ("failed",),
        State.PARTIAL: ("partial",),
    },
    adjust=_believe_the_counters,
    poll_interval=10.0,  # the SDK's cap; it starts at 2 s
    least_poll_interval=2.0,
    grace=60.0,  # both SDKs swallow a 404 after submitting: "some deployments"
    retention="stored free for 30 days after upload",  # then kept and billed (docs/billing.html): no reason for a 404
    contents={
        "json": Content(path="/documents/json"),
        "markdown": Content(path="/documents/markdown"),
        "images": Content(path="/documents/images"),
        "page-summaries": Content(path="/documents/page-summaries"),
        "section-summaries": Content(path="/documents/section-summaries"),
        "document-summary": Content(path="/documents/document-summary", options={"summary_type": "page"}),
        "fields": Content(path="/documents/fields"),
        "scalars": Content(path="/documents/scalars"),
    },
    read_item=_content_of_an_item,
    tier="sdk",
    evidence="vendor's pages, OpenAPI file, SDK 0.2.2 and the SDKs' live tests (prefix `/v1`)",
)
