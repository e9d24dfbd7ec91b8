"""Let a pipeline go on when a document is extracted. Trigger it with the document's id."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_docstatus.sensors import DocStatusSensor


@task
def go_on(status: dict[str, Any]) -> str:
    """Your next step: it starts when the document is extracted, and not at all when the extraction failed."""
    return f"{status['id']} has {status['details'].get('total_pages')} pages"


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    params={"conn_id": "neurolinker_default", "document_id": ""},
    tags=["docstatus"],
)
def gate_one_document() -> None:
    """Wait without holding a worker slot."""
    gate = DocStatusSensor(
        task_id="gate",
        conn_id="{{ params.conn_id }}",
        document_id="{{ params.document_id }}",
        deferrable=True,
    )
    go_on(gate.output)


gate_one_document()
