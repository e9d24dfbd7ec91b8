"""Datalab (https://documentation.datalab.to/): one request a document, the data inline or behind a link, and pipelines."""

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription, Submission
from airflow_provider_docstatus.status import State

_DOCS = "https://documentation.datalab.to"


def _request(operation: str, *confidence: Confidence) -> Route:
    """Return the route of one operation; its submission has the same path."""
    return Route(
        path=f"/{operation}/{{id}}",
        docs=f"{_DOCS}/api-reference/{operation}-result-check",
        ids=(),
        flag="success",  # false beside "complete" is how a request fails (api-reference, SDK client.py)
        errors=("error",),
        details={
            "total_pages": ("page_count",),
            "output_format": ("output_format",),
            "runtime": ("runtime",),
            "parse_quality_score": ("parse_quality_score",),  # 0 to 5
            "total_cost": ("total_cost",),  # cents
            "error_in": ("error_in",),  # VALIDATION, INFERENCE or OTHER
        },
        result=ResultRoute(link=("result_url",)),  # the link leads to the same JSON, for expires_in seconds
        confidence=confidence,
        submit=Submission(path=f"/{operation}", id="request_id"),
    )


_TIMES = {"started_at": ("started_at",), "created_at": ("created",)}
_STEP = Route(path="/pipelines/executions/{id}", ids=("step_index",), errors=("error_message",), times=_TIMES)
DATALAB = ServiceDescription(
    name="datalab",
    title="Datalab",
    host="https://www.datalab.to",
    docs=_DOCS,
    auth={"api_key": ("X-API-Key", "{key}")},
    prefixes=("/api/v1",),
    routes={
        "convert": _request("convert", Confidence(paths=("parse_quality_score",), scale=(5,))),
        # recipes/structured-extraction/confidence-scoring: {score, reasoning} of 1 to 5 for each field, in the extraction mode
        # "fast" only, and a while after the word "complete"
        "extract": _request(
            "extract", Confidence(paths=("extraction_schema_json.**",), names=("score",), beside="reasoning", scale=(5,))
        ),
        # The SDK's tests (tests/conftest.py) show "high"; no page says what the grades mean, so these are ours.
        "segment": _request(
            "segment",
            Confidence(
                paths=("segmentation_results.segments.*",),
                names=("confidence",),
                grades={"low": 0.0, "medium": 0.5, "high": 1.0},
            ),
        ),
        "pipeline": Route(
            path="/pipelines/executions/{id}",
            docs=f"{_DOCS}/api-reference/pipelines/get-pipeline-execution",
            id_prefixes=("pex_",),
            ids=("execution_id",),
            times={**_TIMES, "completed_at": ("completed_at",)},
            children="steps",
            child=_STEP,
            details={"pipeline_id": ("pipeline_id",)},
            result=ResultRoute(take="steps"),  # the data of each has a path of its own: result_url
            submit=Submission(path="/pipelines/{pipeline_id}/run", id="execution_id"),
        ),
    },
    # request_check_url in a submission's answer; the second host is in the SDK's tests
    status_hosts=("www.datalab.to", "api.datalab.to"),
    words={  # complete and processing: requests; the others: pipelines (SDK models.py)
        State.RUNNING: ("processing", "pending", "running"),
        State.SUCCEEDED: ("complete", "completed"),
        State.PARTIAL: ("completed_with_errors",),
        State.FAILED: ("failed",),
    },
    quota_codes=(403,),  # platform/troubleshooting: a subscription that is missing, expired or unpaid
    calls_per_minute=200,  # docs/common/limits; a newer version of that page says 400
    retention="results are kept for 1 hour to 1 day after completion",  # an older page, and the page of DELETE /results
    webhooks="https://documentation.datalab.to/platform/webhooks",
    tier="sdk",
    evidence="vendor's pages and SDK 0.5.0",
)
