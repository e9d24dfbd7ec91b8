"""Submit many files at once, wait for all of them in one task, and hand each one's data straight to the next task."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_docstatus.hooks import AitronosHook
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor

SCHEMA = {"type": "object", "properties": {"invoice_number": {"type": "string"}, "total_amount": {"type": "number"}}}


@task
def files(folder: str) -> list[str]:
    """Return the files to submit."""
    return sorted(str(path) for path in Path(folder).glob("*.pdf"))


@task
def submit(conn_id: str, file: str) -> str:
    """Send a file and return the job's id. A submit is not repeated: it may be billed twice."""
    path = Path(file)
    reply = (
        AitronosHook(conn_id)
        .get_conn()
        .post(
            "/v1/documents/extract",
            files={"file": (path.name, path.read_bytes(), "application/pdf")},
            data={"schema": json.dumps(SCHEMA)},
        )
    )
    reply.raise_for_status()
    return reply.json()["job_id"]


@task
def count(counts: dict[str, int], total: int) -> str:
    """Say how the wait went."""
    return f"{counts.get('succeeded', 0)} of {total} invoices are ready"


@task
def add_up(invoices: dict[str, Any]) -> float:
    """Stand for your warehouse: return what the invoices come to."""
    return sum(invoice["total_amount"] for invoice in invoices.values())


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    params={"conn_id": "aitronos_default", "folder": "/data/invoices"},
    tags=["docstatus"],
)
def many_invoices() -> None:
    """Hand the ids of the mapped task to the gate, and its manifest to the operator; each field is an XCom of its own as well."""
    ids = submit.partial(conn_id="{{ params.conn_id }}").expand(file=files("{{ params.folder }}"))
    gate = DocStatusSensor(task_id="gate", conn_id="{{ params.conn_id }}", job_id=ids, deferrable=True, multiple_outputs=True)
    count(gate.output["counts"], gate.output["total"])
    extract = ExtractedDataOperator(task_id="extract", conn_id="{{ params.conn_id }}", job_id=gate.output, multiple_outputs=True)
    add_up(extract.output["items"])


many_invoices()
