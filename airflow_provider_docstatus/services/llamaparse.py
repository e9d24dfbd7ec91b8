"""LlamaParse v2 (https://developers.llamaindex.ai/llamaparse/): the parse jobs and the extraction jobs of LlamaCloud."""

from typing import Any

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.description import (
    BatchRoute,
    ListRoute,
    ResultRoute,
    Route,
    ServiceDescription,
    Submission,
)
from airflow_provider_docstatus.status import State

_FILTERS = ("status", "created_at_on_or_after", "created_at_on_or_before", "project_id", "organization_id")


def _jobs(path: str, **more: Any) -> Route:
    """Return the route of one kind of job; its list, its batch and its submission have the same path."""
    return Route(
        path=f"{path}/{{id}}",
        ids=("id",),
        errors=("error_message",),
        times={"created_at": ("created_at",), "updated_at": ("updated_at",)},
        # How many items a page has is not documented; an id that is left out is polled by itself.
        batch=BatchRoute(path=path, parameter="job_ids", items="items", repeats=True, most_ids=20),
        listing=ListRoute(path=path, items="items", filters=_FILTERS, paging="token", at="page_token", next="next_page_token"),
        submit=Submission(path=path, id="id"),
        cancel=f"{path}/{{id}}/cancel",
        **more,
    )


_PARSE = _jobs(
    "/parse",
    id_prefixes=("pjb-",),  # SDK, resources/batches.py
    inside="job",  # types/parsing_get_response.py; an item of the list is the same without it
    # "name" is the job's display name (SDK). No parameter sets it, so it should be the file's: an inference.
    details={"tier": ("tier",), "file_name": ("name",), "credits": ("usage.credits",)},
    # The tier "fast" has text only, and refuses markdown with 400 (third party). Pages that failed stand among the others.
    result=ResultRoute(query={"expand": "markdown"}, take="markdown"),
    # types/parsing_get_response.py: from 0 to 1, null of a page that was not scored; with confidence_score_effort="high" only
    confidence=(Confidence(where="reply", query={"expand": "metadata"}, paths=("metadata.pages.*",), names=("confidence",)),),
)
_EXTRACT = _jobs(
    "/extract",
    details={"total_pages": ("metadata.usage.num_pages_extracted",), "credits": ("usage.credits",)},
    result=ResultRoute(take="extract_result"),
    # types/beta/extracted_data.py: from 0 to 1, of each field, with confidence_scores=true only
    confidence=(
        Confidence(
            where="reply",
            query={"expand": "extract_metadata"},
            paths=tuple(f"extract_metadata.field_metadata.{of}_metadata.**" for of in ("document", "page", "row")),
            names=("confidence",),
        ),
    ),
)
LLAMAPARSE = ServiceDescription(
    name="llamaparse",
    title="LlamaParse",
    class_name="LlamaParse",
    host="https://api.cloud.llamaindex.ai",
    regions={"eu": "https://api.cloud.eu.llamaindex.ai"},  # general/troubleshooting: a key of the other region answers 401
    docs="https://developers.llamaindex.ai/llamaparse/parse/guides/api-reference/",
    auth={"bearer": ("Authorization", "Bearer {key}")},
    prefixes=("/api/v2",),
    routes={"parse": _PARSE, "extract": _EXTRACT},
    words={
        State.RUNNING: ("pending", "running", "throttled"),  # the last in the SDK's filter of the extraction list only
        State.SUCCEEDED: ("completed",),
        State.FAILED: ("failed",),
        State.CANCELLED: ("cancelled",),
    },
    retry_headers=("retry-after-ms",),  # SDK, _base_client.py
    poll_interval=5.0,  # the SDK begins at 1 s and goes up to 5 s (_polling.py)
    retention="for how long is not published; expired jobs answer 404",  # general/data_retention
    webhooks="https://developers.llamaindex.ai/llamaparse/general/webhooks/",
    tier="sdk",
    evidence="SDK 2.19.0, vendor's pages; error texts partly from issues of the SDK's repository",
)
