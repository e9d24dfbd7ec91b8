"""Write the data of many documents to object storage, and load it row by row: none of it goes through XCom."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

try:
    from airflow.sdk import ObjectStoragePath, dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task
    from airflow.io.path import ObjectStoragePath

from airflow_provider_docstatus.operators import ExtractedDataOperator


@task
def submitted(params: dict[str, Any] | None = None) -> list[str]:
    """Stand for what submits the documents: return the ids of the jobs."""
    return list((params or {})["job_ids"])


@task
def load(written: dict[str, Any]) -> dict[str, Any]:
    """Stand for your warehouse: read the file row by row. ``written`` says where it is, and how each id ended."""
    totals: dict[str, Any] = {}
    with ObjectStoragePath(written["path"]).open("r") as rows:
        for line in rows:
            row = json.loads(line)
            totals[row["id"]] = row["data"].get("total_amount")
    return {"totals": totals, "without data": written["errors"]}


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    params={"conn_id": "aitronos_default", "job_ids": [], "folder": "s3://aws_default@my-bucket/invoices/"},
    tags=["docstatus"],
)
def extract_to_storage() -> None:
    """A path that ends in a slash is a directory: each run and each mapped task writes a file of its own below it."""
    extract = ExtractedDataOperator(
        task_id="extract",
        conn_id="{{ params.conn_id }}",
        job_id=submitted(),
        output_path="{{ params.folder }}",
        wait_for_completion=True,
        wait_for=0.9,
        deferrable=True,
        on_item_error="skip",
    )
    load(extract.output)


extract_to_storage()
