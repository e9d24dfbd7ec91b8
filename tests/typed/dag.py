"""A user's DAG, which a type checker reads and nobody runs; what it must complain of has the code of its complaint."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.status import DocumentStatus
from airflow_provider_docstatus.types import DataManifest, FileManifest, Items, Manifest, Status


@task
def submit(file: str) -> str:
    return file


@task
def one(status: Status) -> str:
    name: str | None = status["details"].get("file_name")
    failed = [status["file_names"].get(child, child) for child, state in status["children"].items() if state == "failed"]
    if "review" in status:
        who: str | None = status["review"]["decided_by"]
        return who or "nobody"
    return f"{name or status['id']} is {status['state']} since {status['completed_at'] or '?'}: {', '.join(failed)}"


@task
def several(manifest: Manifest) -> dict[str, str]:
    good: list[str] = manifest["ids"].get("succeeded", [])
    share: float = len(good) / manifest["total"]
    return {manifest["file_names"].get(bad, bad): text for bad, text in manifest["errors"].items() if share < 1}


@task
def data(items: Items) -> list[Any]:
    return [{"file": items["file_names"].get(one), "data": data} for one, data in items["items"].items()]


@task
def load(written: DataManifest) -> str:
    return f"COPY {written['path']} -- {written['rows']:d} rows, {written['bytes']:d} bytes, {written['sha256'].upper()}"


@task
def rows(beside: FileManifest) -> list[int]:
    status: Status | None = beside.get("status")
    return [] if status is not None else [offset for offset, _length in beside["rows"].values()]


@task
def wrong(status: Status, manifest: Manifest, written: DataManifest) -> int:
    status["stat"]  # type: ignore[typeddict-item]
    manifest["total"].upper()  # type: ignore[attr-defined]
    number: int = written["path"]  # type: ignore[assignment]
    status["link"].upper()  # type: ignore[union-attr]
    return number


@task
def asked(job_id: str) -> Status:
    status: DocumentStatus = DocStatusHook("aitronos_default").get_status(job_id=job_id)
    return status.to_dict()


@dag  # type: ignore[arg-type]  # Airflow says that it must return a DAG
def invoices() -> None:
    ids = submit.expand(file=["a.pdf", "b.pdf"])
    gate = DocStatusSensor(task_id="gate", conn_id="aitronos_default", job_id=ids, deferrable=True)
    several(gate.output)  # type: ignore[arg-type]  # Airflow says that a task takes values only
    fetch = ExtractedDataOperator(task_id="fetch", conn_id="aitronos_default", job_id="{{ ti.xcom_pull('gate') }}")
    data(fetch.output)  # type: ignore[arg-type]  # as above
