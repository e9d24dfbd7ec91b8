"""LandingAI ADE (https://docs.landing.ai/): a route for each operation of v2, and those of v1 on a host of their own."""

from typing import Any

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.description import (
    ListRoute,
    ResultRoute,
    Route,
    ServiceDescription,
    Submission,
)
from airflow_provider_docstatus.status import State

_DOCS = "https://docs.landing.ai"
# v2: specs/v2-aide.json of github.com/landing-ai/ade-python, v1: specs/v1-ade.json there
_V2: dict[str, Any] = {
    "docs": f"{_DOCS}/dpt3/parse-async",
    "times": {"created_at": ("created_at",), "completed_at": ("completed_at",)},
    "result": ResultRoute(take="result"),  # output_url beside it is the caller's own output_save_url
}
_V1: dict[str, Any] = {
    "docs": f"{_DOCS}/ade/ade-parse-async",
    "host": "https://api.va.landing.ai",
    "regions": {"eu": "https://api.va.eu-west-1.landing.ai"},
    "times": {"created_at": ("received_at",)},  # epoch; created_at is 0 where an older deployment has none
    "result": ResultRoute(take="data", link=("output_url",)),  # a link over 1 MB, for 1 hour, a new one with each GET
}
# Where the result was saved elsewhere, its metadata are not inside the result.
_DETAILS = {
    "progress": ("progress",),  # 0 to 1, in v2 only while processing
    "file_name": ("metadata.filename",),
    "total_pages": ("result.metadata.page_count", "metadata.page_count"),
    "model": ("result.metadata.model_version", "metadata.model_version", "metadata.version"),
    "credits": ("result.metadata.billing.total_credits", "metadata.billing.total_credits", "metadata.credit_usage"),
}


def _jobs(path: str, *, partial: tuple[str, ...] = (), why: tuple[str, ...] = (), **more: Any) -> Route:
    """Return the route of one kind of job; its list and its submission have the same path."""
    return Route(
        path=path + "/{id}",
        codes={206: State.PARTIAL},  # v1: pages failed, or the data breaks the schema; v2: only in a test of the SDK
        partial=(*partial, *why),
        errors=("error.code error.message", "failure_reason", *why),  # v2 has failure_reason in its lists
        details=_DETAILS,
        # pageSize also in v2: SDK 1.18.1; its specification says page_size
        listing=ListRoute(
            path=path,
            items="jobs",
            filters=("status",),
            paging="page",
            at="page",
            size="pageSize",
            page_size=100,
            next="has_more",
        ),
        submit=Submission(path=path, id="job_id"),
        **more,
    )


# SDK, types/v2/parse_response.py: from 0 to 1, for each word, of the model dpt-3-verity only
_OF_WORDS = (Confidence(paths=("structure.**",), names=("confidence",), beside="range"),)
# types/parse_job_get_response.py: for each chunk, by its id; null of models that do not measure it
_OF_CHUNKS = (Confidence(paths=("grounding.*",), names=("confidence",)),)
# ade/ade-extract-confidence-score: from 0 to 1, for each field, called experimental; v2's specification does not name it
_OF_FIELDS = (Confidence(paths=("extraction_metadata.**",), names=("confidence",)),)
_FAILED_PAGES = ("result.metadata.failed_pages", "metadata.failed_pages")
LANDINGAI = ServiceDescription(
    name="landingai",
    title="LandingAI",
    class_name="LandingAI",
    host="https://api.ade.landing.ai",
    regions={"eu": "https://api.ade.eu-west-1.landing.ai"},
    docs=_DOCS,
    auth={"bearer": ("Authorization", "Bearer {key}")},  # v1's specification calls the scheme "Basic Auth"; it is this one
    routes={
        "parse": _jobs("/v2/parse/jobs", partial=_FAILED_PAGES, id_prefixes=("parse-",), confidence=_OF_WORDS, **_V2),
        "extract": _jobs(
            "/v2/extract/jobs",
            why=("result.schema_violation_error",),
            id_prefixes=("extract-",),
            confidence=_OF_FIELDS,
            **_V2,
        ),
        "workflow": _jobs("/v2/workflow/jobs", id_prefixes=("v2-workflow-",), **_V2),
        "parse_v1": _jobs("/v1/ade/parse/jobs", partial=_FAILED_PAGES, confidence=_OF_CHUNKS, **_V1),
        "extract_v1": _jobs("/v1/ade/extract/jobs", why=("metadata.schema_violation_error",), confidence=_OF_FIELDS, **_V1),
    },
    words={
        State.RUNNING: ("pending", "processing"),
        State.SUCCEEDED: ("completed",),
        State.FAILED: ("failed",),
        State.CANCELLED: ("cancelled",),  # v1, and v2's SDK and pages
    },
    envelope=("code message",),  # v1: FastAPI's detail
    quota_codes=(402, 403),  # dpt3/parse-troubleshoot: 402 no credits, 403 no API access on the free plan
    link_hosts=("*.amazonaws.com",),  # v1's specification: a presigned S3 URL
    retention="results are kept for 24 hours after completion; with zero data retention, until they are read once",
    retention_seconds=86_400.0,  # dpt3/webhooks
    zero_retention=True,
    webhooks="https://docs.landing.ai/dpt3/webhooks",
    tier="sdk",
    evidence="vendor's specifications of v1 and v2, pages and SDK 1.18.1",
)
