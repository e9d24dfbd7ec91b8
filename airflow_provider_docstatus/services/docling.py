"""docling-serve (https://github.com/docling-project/docling-serve): run by its users; a task for up to three files."""

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription, Submission
from airflow_provider_docstatus.status import State

_DOCS = "https://github.com/docling-project/docling-serve/blob/main/docs"

DOCLING = ServiceDescription(
    name="docling",
    title="docling-serve",
    docs=f"{_DOCS}/usage.md",
    auth={"api_key": ("X-Api-Key", "{key}")},  # seen live, with DOCLING_SERVE_API_KEY set
    key_optional=True,  # seen live: without that setting no route wants a key
    connection_headers=("X-Tenant-Id",),  # auth.py; a task of another tenant answers 404
    prefixes=("/v1", "/v1alpha"),  # CHANGELOG.md: /v1alpha before 1.0.0
    routes={
        "convert": Route(
            path="/status/poll/{id}",
            ids=("task_id",),
            status=("task_status",),
            errors=("failure.message", "error_message"),  # since 2026-06 and 2026-02; older servers give neither
            partial=("task_meta.num_failed", "task_meta.num_partially_succeeded"),  # null with the Local engine, seen live
            good="task_meta.num_succeeded task_meta.num_partially_succeeded",  # counted apart: jobkit, convert/results.py
            counters=tuple(
                f"task_meta.num_{name}" for name in ("docs", "processed", "succeeded", "partially_succeeded", "failed")
            ),
            details={"task_type": ("task_type",), "task_position": ("task_position",)},
            long_poll=("wait", 60.0),  # only the Ray engine waits
            result=ResultRoute(
                path="/result/{id}",
                take="document|",  # chunks, and the counts of a remote target, stand beside each other
                status=("status",),
                failure="failure",  # {"kind": "TaskFailureResult", "failure": {...}} in a 200
                partial=("num_failed", "num_partially_succeeded"),  # of a remote target, whose reply has no word
                good="num_succeeded num_partially_succeeded",
                errors=("errors", "failure.message"),
                media=("application/zip",),  # two files, or the target zip
                details={"file_name": ("document.filename",)},  # of a single file; the status route names none
                decides=True,  # seen live: "success" is the task's, its documents may have failed
                kept_after_read=300.0,  # DOCLING_SERVE_RESULT_REMOVAL_DELAY; not with DOCLING_SERVE_SINGLE_USE_RESULTS=false
            ),
            # datamodel/service/responses.py: from 0 to 1, null where nothing was measured. The grades' lower bounds:
            # datamodel/base_models.py, _score_to_grade.
            confidence=(
                Confidence(where="reply", paths=("confidence.pages.*",), names=("mean_score",)),
                Confidence(where="reply", paths=("confidence",), names=("mean_score",), otherwise=True),
                Confidence(
                    where="reply",
                    paths=("confidence",),
                    names=("mean_grade",),
                    grades={"poor": 0.0, "fair": 0.5, "good": 0.8, "excellent": 0.9},
                    otherwise=True,
                ),
            ),
            submit=Submission(path="/convert/file/async", id="task_id"),
        )
    },
    words={
        State.RUNNING: ("pending", "started"),
        State.SUCCEEDED: ("success",),
        State.PARTIAL: ("partial_success",),
        State.FAILED: ("failure", "skipped"),
    },
    poll_interval=5.0,  # docs/usage.md
    lost_after=60.0,  # several replicas with the Local engine do not know each other's tasks (issues 177, 226)
    retention="with the Local engine in memory until a restart, with RQ and Ray 4 hours; 5 minutes after it was read",
    tier="live",
    evidence="docling-serve 1.38.2, seen live on 2026-11-25, and its source",
)
