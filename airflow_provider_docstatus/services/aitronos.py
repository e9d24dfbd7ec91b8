"""Aitronos documents (https://docs.aitronos.com/docs/api-reference/documents/): one job a document, the data inline."""

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription, Submission
from airflow_provider_docstatus.status import State

_DOCS = "https://docs.aitronos.com/docs"

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
            result=ResultRoute(take="extracted_data"),
            # One number (0.95 on the page of the status, 95.5 in the SDK's docstring), or four up to 100 in an object (SDK,
            # types/confidence_metrics.py). A number below 1 is of 1, one above it of 100. 1 can be either, and counts as missing.
            confidence=(
                Confidence(where="reply", paths=("confidence",), scale=(1, 100)),
                Confidence(where="reply", paths=("confidence.*",), scale=(100,)),
            ),
            submit=Submission(path="/documents/extract", id="job_id"),
        )
    },
    words={
        State.RUNNING: ("pending", "processing"),
        State.SUCCEEDED: ("completed",),
        State.FAILED: ("failed",),
        State.CANCELLED: ("cancelled", "canceled"),  # only in the SDK (types/job_status.py)
    },
    envelope=("error.code error.message", "error.system_message", "error.type", "error.details", "error.trace_id"),
    # usage-limits-guide: a monthly spend limit is a 429 too, and has another code, which no page names.
    rate={"error.code": ("rate_limit_exceeded",)},
    retry_headers=("x-ratelimit-retry-after", "x-ratelimit-reset", "x-ratelimit-reset-requests"),
    remaining_headers=("x-ratelimit-remaining", "x-ratelimit-reset"),
    calls_per_minute=100,  # Standard plan, documentation/rate-limiting; the documented 2 s loop uses that up with four jobs
    calls_per_day=10_000,
    tier="sdk",
    evidence="vendor's pages and SDK 0.8.178",
)
