"""Aitronos documents (https://docs.aitronos.com/docs/api-reference/documents/): one job a document, the data inline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.values import get_path, one_line
from airflow_provider_docstatus.status import State

_DOCS = "https://docs.aitronos.com/docs"


def _envelope_text(body: Any) -> str | None:
    """Return the whole text of an error envelope: code, message, system message, type, details, trace id."""
    error = get_path(body, "error")
    if not isinstance(error, Mapping) or not error.get("message"):
        return None
    more = [one_line(error["system_message"])] if error.get("system_message") else []
    more += [f"{name} {one_line(error[name])}" for name in ("type", "details", "trace_id") if error.get(name)]
    code = f"{error['code']}: " if error.get("code") else ""
    return one_line(f"{code}{one_line(error['message'])}" + (f" ({'; '.join(map(str, more))})" if more else ""))


def _may_be_spend_limit(body: Any) -> bool:
    # usage-limits-guide: a monthly spend limit is a 429 too, and has another code, which no page names.
    code = get_path(body, "error.code")
    return isinstance(code, str) and code.strip().upper() != "RATE_LIMIT_EXCEEDED"


AITRONOS = ServiceDescription(
    name="aitronos",
    title="Aitronos",
    host="https://api.aitronos.com",
    docs=f"{_DOCS}/api-reference/documents/introduction",
    # Some samples send the API key as a Bearer token; that header is meant for a JWT (documentation/authentication).
    auth={"api_key": ("X-API-Key", "{key}"), "bearer": ("Authorization", "Bearer {key}")},
    prefixes=("/v1",),
    routes={
        "job": Route(
            kind="job",
            path="/documents/jobs/{id}",
            docs=f"{_DOCS}/api-reference/documents/get-job-status",
            errors=("error_message",),  # not "explanation": the model's words, which may repeat the document's
            times={"created_at": ("created_at",), "completed_at": ("completed_at",)},
            details={
                "confidence": ("confidence",),  # 0 to 1, 0 to 100 or an object: the pages and the SDK differ
                "processing_time": ("processing_time",),
                "cost_chf": ("cost_chf",),
                "model_used": ("model_used",),
            },
            result=ResultRoute(path="/documents/jobs/{id}", take="extracted_data"),
        )
    },
    words={
        "pending": State.RUNNING,
        "processing": State.RUNNING,
        "completed": State.SUCCEEDED,
        "failed": State.FAILED,
        "cancelled": State.CANCELLED,  # only in the SDK (types/job_status.py)
        "canceled": State.CANCELLED,
    },
    error_text=_envelope_text,
    may_be_quota=_may_be_spend_limit,
    retry_headers=("x-ratelimit-retry-after", "x-ratelimit-reset", "x-ratelimit-reset-requests"),
    remaining_headers=("x-ratelimit-remaining", "x-ratelimit-reset"),
    calls_per_minute=100,  # Standard plan, documentation/rate-limiting
    calls_per_day=10_000,
    poll_interval=10.0,  # the documented 2 s loop uses up 100 calls a minute with four jobs
    least_poll_interval=2.0,
    grace=15.0,
    evidence="vendor's pages and SDK 0.8.178",
)
