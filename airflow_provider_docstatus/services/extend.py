"""Extend (https://docs.extend.ai): a route for each kind of run, which the beginning of the id names."""

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


def _list(name: str, filters: str, **more: Any) -> ListRoute:
    known, token = tuple(filters.split()), "nextPageToken"
    return ListRoute(path=f"/{name}_runs", items="data", filters=known, paging="token", at=token, next=token, **more)


def _run(name: str, prefix: str, filters: str, **more: Any) -> Route:
    """Describe one kind of run (SDK, types/*_run.py and *_runs/raw_client.py); the summaries of lists have the same names."""
    fields: dict[str, Any] = {
        "errors": ("failureReason failureMessage", "rejectionNote"),  # a code of an open list and a text; a reviewer's note
        "links": ("dashboardUrl",),
        "times": {
            "created_at": ("createdAt", "initialRunAt"),  # this, the start and the end are a workflow run's
            "started_at": ("startTime",),
            "updated_at": ("updatedAt",),
            "completed_at": ("endTime",),
        },
        "details": {
            "file_name": ("file.name", "files.0.name"),  # the second a workflow run's; a package of several files has no one name
            "total_pages": ("metrics.pageCount", "file.metadata.pageCount"),
            "credits": ("usage.totalCredits", "usage.credits"),  # with those of the runs that it caused, and without
            "batch_id": ("batchId",),
        },
        "result": ResultRoute(take="output"),
        "listing": _list(name, filters),
        "submit": Submission(path=f"/{name}_runs", id="id"),
        "cancel": f"/{name}_runs/{{id}}/cancel",
    }
    return Route(path=f"/{name}_runs/{{id}}", id_prefixes=tuple(prefix.split()), ids=("id",), **{**fields, **more})


# extraction/confidence-scores: two numbers from 0 to 1, either of which may be null; if the review agent is on, one from 1 to 5.
# The lowest of all counts. An array, each of its items and each field of these have numbers of their own.
_SCORES = ("ocrConfidence", "logprobsConfidence")
_OF_CLASSIFICATION = Confidence(paths=("",), names=("confidence",))  # types/classify_output.py: from 0 to 1


def _of_fields(path: str) -> tuple[Confidence, ...]:
    return (
        Confidence(paths=(path,), names=_SCORES),
        Confidence(paths=(path,), names=("reviewAgentScore",), scale=(5,)),
    )


_OF_FILES = "status batchId source sourceId fileNameContains"
_EXTRACT = _run("extract", "exr_", f"extractorId {_OF_FILES} sortBy sortDir", confidence=_of_fields("metadata.*"))

EXTEND = ServiceDescription(
    name="extend",
    title="Extend",
    host="https://api.extend.ai",
    regions={"us2": "https://api.us2.extend.app", "eu1": "https://api.eu1.extend.ai"},  # SDK, environment.py
    docs="https://docs.extend.ai/2026-02-09/api-reference/",
    auth={"bearer": ("Authorization", "Bearer {key}")},
    headers={"x-extend-api-version": "2026-02-09"},  # mandatory; older versions answer in other shapes
    connection_headers=("x-extend-workspace-id",),  # mandatory with a key of the whole organisation
    routes={
        "extract": _EXTRACT,
        "classify": _run("classify", "clr_", f"classifierId {_OF_FILES} sortBy sortDir", confidence=(_OF_CLASSIFICATION,)),
        "split": _run("split", "splr_", f"splitterId {_OF_FILES} sortBy sortDir"),
        # So a status has a link in place of the data, and stays small. Data is asked for inline: no page names the link's host.
        "parse": _run(
            "parse",
            "pr_",
            _OF_FILES,
            query={"responseType": "url"},
            result=ResultRoute(path="/parse_runs/{id}", take="output"),
            # types/chunk_metadata.py: of the least sure word, null without OCR
            confidence=(Confidence(paths=("chunks.*.metadata",), names=("minOcrConfidence",)),),
        ),
        "edit": _run("edit", "edr_", "status source fileNameContains sortBy sortDir", cancel=""),
        "workflow": _run(
            "workflow",
            "workflow_run_",
            "workflowId status batchId fileNameContains",
            awaits_reviewer=True,
            result=ResultRoute(take="stepRuns"),
            confidence=_of_fields("**"),
        ),
        # It says neither of which kind it is nor what is in it. Extract runs are listed; of other kinds its own word counts.
        "batch": _run(
            "batch",
            "bpr_ bpar_",
            "",
            kind="batch",
            counters=("runCount",),
            members=_list("extract", "", item=_EXTRACT, query={"batchId": "{id}"}),
            result=ResultRoute(path="/extract_runs/{id}", take="output", has_status=False),
            listing=None,
            submit=Submission(path="/extract_runs/batch", id="id"),
            cancel="",
        ),
    },
    words={
        State.RUNNING: ("pending", "processing", "cancelling"),
        State.SUCCEEDED: ("processed",),
        State.REVIEW: ("needs_review",),  # a workflow run that a person will make processed or rejected
        State.FAILED: ("failed", "rejected"),
        State.CANCELLED: ("cancelled",),
    },
    envelope=("code message", "requestId"),
    quota={"code": ("usage_blocked",)},  # error-handling page; it does not say with which HTTP code
    retry_flag="retryable",
    retry_headers=("retry-after-ms", "x-ratelimit-reset"),  # SDK, core/http_client.py
    calls_per_second=10,  # general/rate-limits: GETs on the least plan
    poll_interval=5.0,  # the SDK asks every second for 30 s, then more and more seldom, up to 30 s (wrapper/polling.py)
    tier="sdk",
    evidence="SDK 1.20.0 with its prose, CLI, vendor's pages",
)
