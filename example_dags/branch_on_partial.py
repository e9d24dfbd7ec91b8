"""Wait for a request of several documents; when some of them failed, say which and go on with another branch."""

from __future__ import annotations

from datetime import datetime, timezone

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.types import Status


@task.branch
def all_or_some(status: Status) -> str:
    """Choose the branch by what the gate says."""
    return "use_all" if status["state"] == "succeeded" else "name_the_failed"


@task
def use_all(status: Status) -> list[str]:
    """Return the documents to go on with: all of them."""
    return list(status["children"])


@task
def name_the_failed(status: Status) -> dict[str, str]:
    """Return the files of the documents without data, and the vendor's reason for each (of the first twenty)."""
    unfit = [document for document, state in status["children"].items() if state != "succeeded"]
    names, errors = status["file_names"], status["errors"]
    return {names.get(document, document): errors.get(document, "no reason given") for document in unfit}


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    params={"conn_id": "neurolinker_default", "request_id": ""},
    tags=["docstatus"],
)
def branch_on_partial() -> None:
    """Open the gate for partial requests too; without `accept` it stays shut and fails, whatever else succeeded."""
    gate = DocStatusSensor(
        task_id="gate",
        conn_id="{{ params.conn_id }}",
        request_id="{{ params.request_id }}",
        accept=("partial",),
        deferrable=True,
    )
    all_or_some(gate.output) >> [use_all(gate.output), name_the_failed(gate.output)]


branch_on_partial()
