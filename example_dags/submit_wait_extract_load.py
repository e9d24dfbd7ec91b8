"""Submit a document, wait for it, fetch what was extracted, load it."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_docstatus.hooks import AitronosHook
from airflow_provider_docstatus.operators import ExtractedDataOperator

SCHEMA = {"type": "object", "properties": {"invoice_number": {"type": "string"}, "total_amount": {"type": "number"}}}


@task
def submit(conn_id: str, file: str) -> str:
    """Send the file and return the job's id. A submit is not repeated: it may be billed twice."""
    path = Path(file)
    session = AitronosHook(conn_id).get_conn()
    reply = session.post(
        "/v1/documents/extract",
        files={"file": (path.name, path.read_bytes(), "application/pdf")},
        data={"schema": json.dumps(SCHEMA)},
    )
    reply.raise_for_status()
    return reply.json()["job_id"]


@task
def load(invoice: dict[str, Any]) -> str:
    """Stand for your warehouse: write the data to a file and return its path."""
    path = Path(tempfile.mkdtemp(prefix="invoices-")) / "invoice.json"
    path.write_text(json.dumps(invoice))
    return str(path)


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    params={"conn_id": "aitronos_default", "file": "/data/invoice.pdf"},
    tags=["docstatus"],
)
def submit_wait_extract_load() -> None:
    """One operator waits and fetches; put a DocStatusSensor in between to gate without fetching."""
    extract = ExtractedDataOperator(
        task_id="extract",
        conn_id="{{ params.conn_id }}",
        job_id=submit("{{ params.conn_id }}", "{{ params.file }}"),
        wait_for_completion=True,
        deferrable=True,
    )
    load(extract.output)


submit_wait_extract_load()
