"""Azure AI Document Intelligence 4.0 (https://learn.microsoft.com/en-us/azure/ai-services/document-intelligence/)."""

from typing import Any

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription, Submission
from airflow_provider_docstatus.status import State

# Paths, fields and words: specification/ai/data-plane/DocumentIntelligence/stable/2024-11-30 of Azure/azure-rest-api-specs
_DOCS = "https://learn.microsoft.com/en-us/azure/ai-services/document-intelligence"


def _operation(owner: str, analyze: str, results: str, **more: Any) -> Route:
    """Return the route of one operation. Its id is ``model/result``, or the URL in the submission's Operation-Location."""
    return Route(
        path=f"{owner}/{results}/{{result_id}}",
        docs=f"{_DOCS}/v3-error-guide",
        query={"api-version": "2024-11-30"},
        ids=(),  # the path has them; the reply has none, or a batch's second one
        # v3-error-guide: the message that helps is in the inner errors, which may be inside each other
        errors=("error.innererror.code error.innererror", "error.code error"),
        times={"created_at": ("createdDateTime",), "updated_at": ("lastUpdatedDateTime",)},
        submit=Submission(path=f"{owner}:{analyze}", id_header="operation-location"),
        **more,
    )


_MODEL = "/documentModels/{model_id}"
# The specification, AnalyzedDocument and DocumentField: from 0 to 1, also of fields inside fields. Models without documents, such
# as read and layout, give it for each word.
_ANALYSIS: dict[str, Any] = {
    "details": {"model": ("analyzeResult.modelId",)},
    "result": ResultRoute(take="analyzeResult"),
    "confidence": (
        Confidence(paths=("documents.*", "documents.*.fields.**"), names=("confidence",)),
        Confidence(paths=("pages.*.words.*",), names=("confidence",), otherwise=True),
    ),
}
AZURE_DI = ServiceDescription(
    name="azure_di",
    title="Azure Document Intelligence",
    class_name="AzureDI",
    docs=_DOCS,
    # Each resource has a host of its own: https://{resource}.cognitiveservices.azure.com
    auth={"api_key": ("Ocp-Apim-Subscription-Key", "{key}"), "bearer": ("Authorization", "Bearer {key}")},
    prefixes=("/documentintelligence",),
    routes={
        "model": _operation(_MODEL, "analyze", "analyzeResults", **_ANALYSIS),
        "classifier": _operation("/documentClassifiers/{classifier_id}", "analyze", "analyzeResults", **_ANALYSIS),
        "batch": _operation(
            _MODEL,
            "analyzeBatch",
            "analyzeBatchResults",
            counters=("result.succeededCount", "result.failedCount", "result.skippedCount"),
            partial=("result.failedCount", "result.skippedCount"),  # the word is succeeded all the same
            good="result.succeededCount",
            details={"progress": ("percentCompleted",)},  # 0 to 100
            result=ResultRoute(take="result"),  # counters and a link to each document's data, in the caller's storage
        ),
    },
    status_hosts=("*.cognitiveservices.azure.com", "*.api.cognitive.microsoft.com"),
    words={
        State.RUNNING: ("notstarted", "running"),
        State.SUCCEEDED: ("succeeded",),
        State.FAILED: ("failed", "skipped"),
        State.CANCELLED: ("canceled",),
    },
    envelope=("error.innererror.code error.innererror",),
    calls_per_second=15,  # service-limits: submissions and polls of one resource, tier S0; F0 has 1
    retention="results are kept for 24 hours after completion",
    retention_seconds=86_400.0,
    tier="sdk",
    evidence="Microsoft's specification of 2024-11-30, error guide and SDK 1.0.2",
)
