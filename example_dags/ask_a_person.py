"""Ask a person when the vendor flags a document for review, and go on as they decide. It takes Airflow 3.1 or newer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_docstatus.sensors import DocStatusSensor


@task
def go_on(status: dict[str, Any]) -> str:
    """Your next step: it starts when the vendor is sure, or when somebody has looked at the document and approved it."""
    review = status.get("review")
    return f"{status['id']}: approved by {review['decided_by']}" if review else f"{status['id']}: the vendor is sure"


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    params={"conn_id": "unsiloed_default", "job_id": "", "operation": "extract"},
    tags=["docstatus"],
)
def ask_a_person() -> None:
    """Wait for the vendor, then for a person, if need be. On Airflow 3.3 the latter holds no slot at all."""
    gate = DocStatusSensor(
        task_id="gate",
        conn_id="{{ params.conn_id }}",
        job_id="{{ params.job_id }}",
        operation="{{ params.operation }}",
        on_review="ask",
        review_timeout=timedelta(days=3),
        deferrable=True,
    )
    go_on(gate.output)


ask_a_person()
