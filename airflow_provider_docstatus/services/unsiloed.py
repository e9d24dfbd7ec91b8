"""Unsiloed (https://docs.unsiloed.ai/api-reference/): a route for each operation, and the generic job API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.description import (
    BatchRoute,
    ListRoute,
    ResultRoute,
    Route,
    ServiceDescription,
)
from airflow_provider_docstatus.status import DocumentStatus, State

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOCS = "https://docs.unsiloed.ai/api-reference"
_TIMES = {
    "created_at": ("created_at",),
    "started_at": ("started_at",),
    "updated_at": ("updated_at",),
    "completed_at": ("finished_at", "completed_at"),
}
_FILE = {"file_name": ("file_name", "pdf_name"), "total_pages": ("page_count",)}
# Below "result" stands extracted data, but for classify and split: theirs is the vendor's own {success, message, ...}.
_RESULT_ERRORS = ("error", "result.message", "result.error", "result.detail")
_PROGRESS = {"progress": ("progress.percentage", "progress")}
# The page calls the id "id", the specification of the same path "job_id". Jobs of a batch and of a list look alike.
_ITEM = Route(
    path="/jobs/{id}",
    docs=f"{_DOCS}/jobs/status",
    key_optional=True,
    ids=("job_id", "id"),
    errors=("error", "error_details.message", "error_message", "message"),  # a batch and a list name it error_details
    times=_TIMES,
    details={**_FILE, **_PROGRESS, "type": ("type", "operation"), "file_hash": ("pdf_hash",)},
)
_JOB = replace(
    _ITEM,
    # 400 and 500 carry the job's state here: not finished yet, and failed.
    result=ResultRoute(path="/jobs/{id}/result", has_status=False, codes={400: State.RUNNING, 500: State.FAILED}),
    # It never says "review", so jobs of extract must not be polled by it.
    batch=BatchRoute(
        path="/jobs/status", parameter="job_ids", items="jobs", query={"include_progress": "true"}, key_optional=True
    ),
    listing=ListRoute(
        path="/jobs",
        items="jobs",
        item=_ITEM,
        filters=("status", "operation", "created_after", "created_before", "tags"),
        page_size=100,
        key_optional=True,
    ),
)


def _believe_the_counters(state: State, status: DocumentStatus, _body: Mapping[str, Any]) -> State:
    """Correct the state of a batch by its counters and its jobs."""
    if status.kind != "batch" or state not in (State.SUCCEEDED, State.PARTIAL):
        return state
    total, *ended = (status.counters.get(name) for name in ("total_jobs", "completed_jobs", "failed_jobs", "cancelled_jobs"))
    states = status.child_states
    good = (State.RUNNING, State.SUCCEEDED, State.REVIEW)
    bad = (ended[1] or 0) + (ended[2] or 0) or sum(number for child, number in states.items() if child not in good)
    is_counted = total is not None and any(number is not None for number in ended)
    still_open = is_counted and sum(number or 0 for number in ended) < (total or 0)
    if still_open or (not is_counted and State.RUNNING in states):
        return State.RUNNING
    if not bad:
        return state
    known_good = ended[0] is not None or bool(states)
    if ended[0] or not known_good or any(child in good for child in states):
        return State.PARTIAL
    all_cancelled = not ended[1] and all(child is State.CANCELLED for child in states)
    return State.CANCELLED if all_cancelled else State.FAILED


UNSILOED = ServiceDescription(
    name="unsiloed",
    title="Unsiloed",
    host="https://prod.visionapi.unsiloed.ai",
    docs=f"{_DOCS}/",
    # Every SDK version and the current pages: api-key. The generic /jobs pages: X-API-Key. Two specifications: Bearer.
    auth={
        "api_key": ("api-key", "{key}"),
        "x_api_key": ("X-API-Key", "{key}"),
        "bearer": ("Authorization", "Bearer {key}"),
    },
    routes={
        "extract": Route(
            path="/extract/{id}",
            docs=f"{_DOCS}/jobs/results",
            times=_TIMES,
            details={**_FILE, "total_pages": ("page_count", "metadata.page_count")},
            result=ResultRoute(take="result"),
            # extraction/response-format: from 0 to 1, of each field, of an array as a whole, and of each field in it. Newer: two
            # numbers in place of one (jobs/results).
            confidence=(
                Confidence(paths=("**",), names=("score",), beside="value"),
                Confidence(paths=("**.score",), names=("grounding_score", "extraction_score")),
            ),
        ),
        "parse": Route(
            path="/parse/{id}",
            docs=f"{_DOCS}/parser/get-parse-job-status",
            refuses_in_text=True,  # 400, 402, 404, 429 and 500 as text/plain, in the samples as a JSON string
            query={"include_chunks": "false"},  # the reply is status and result in one, many MB when finished
            errors=("message", "error"),
            times=_TIMES,
            details={
                **_FILE,
                "file_type": ("file_type",),
                "total_chunks": ("total_chunks",),
                "credit_used": ("credit_used",),
            },
            result=ResultRoute(path="/parse/{id}", query={"include_chunks": "true"}, take="chunks total_chunks page_count"),
        ),
        "classify": Route(
            path="/classify/{id}",
            docs=f"{_DOCS}/classification/get-classification-status",
            errors=_RESULT_ERRORS,
            flag="result.success",
            times=_TIMES,
            details={
                **_FILE,
                **_PROGRESS,
                "total_pages": ("page_count", "result.total_pages"),
                "confidence": ("result.confidence",),
            },
            result=ResultRoute(take="result"),
            # From 0 to 1: the SDK's README prints that of a split as a percentage, and the samples of both are below 1.
            confidence=(Confidence(paths=("", "page_results.*"), names=("confidence",)),),
        ),
        "split": Route(
            path="/splitter/{id}",
            docs=f"{_DOCS}/splitting/get-split-status",
            errors=_RESULT_ERRORS,
            flag="result.success",
            times=_TIMES,
            details={**_FILE, **_PROGRESS, "total_pages": ("page_count", "result.total_pages")},
            result=ResultRoute(take="result"),
            confidence=(Confidence(paths=("files.*",), names=("confidence_score",)),),
        ),
        "job": _JOB,
        "batch": Route(
            kind="batch",
            path="/jobs/batch/{id}",
            docs=f"{_DOCS}/jobs/status",
            key_optional=True,
            ids=("batch_id",),
            times=_TIMES,
            counters=("total_jobs", "completed_jobs", "failed_jobs", "cancelled_jobs"),
            children="jobs",
            child=_ITEM,
            details={"progress": ("overall_progress",)},
            result=ResultRoute(path="/jobs/{id}/result", has_status=False),
        ),
    },
    # "type" of the generic job page, and the names of the pages
    operations={
        "extraction": "extract",
        "parsing": "parse",
        "chunking": "parse",
        "classification": "classify",
        "splitter": "split",
        "splitting": "split",
    },
    words={
        State.RUNNING: ("starting", "awaitingupload", "queued", "pending", "processing", "running", "in_progress"),
        State.SUCCEEDED: ("succeeded", "success", "completed", "done"),
        State.REVIEW: ("review",),  # finished with data, flagged for a human
        State.PARTIAL: ("completed_with_failures", "partial"),
        State.FAILED: ("failed", "error"),
        State.CANCELLED: ("cancelled", "canceled"),
        State.EXPIRED: ("expired",),
    },
    adjust=_believe_the_counters,
    envelope=("error details.message",),  # the generic API's {error, details{error_type, message, job_id}, suggestions[]}
    # The two kinds of 429 of parse differ by this text alone (parser/parse-document); the other routes send a status.
    quota={"detail.status": ("quota_exceeded",), **dict.fromkeys(("detail", "error", ""), ("usage limit exceeded",))},
    calls_per_minute=60,  # per organisation, documented for POST /parse; no page says that polls do not count
    poll_interval=10.0,  # jobs/status page: every 5 to 10 s, never under 2
    least_poll_interval=2.0,
    grace=15.0,
    retention="jobs and results are kept for 7 days",
    retention_seconds=7 * 86_400.0,  # jobs/results page; expires_in of a parse job may shorten it
    tier="sdk",
    evidence="vendor's pages and SDK 0.1.7 (extract, parse, classify, split); withdrawn pages (job, batch, several jobs, list)",
)
