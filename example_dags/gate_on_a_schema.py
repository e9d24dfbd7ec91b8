"""Open the gate only for an invoice that has what the next step needs, and whose fields the vendor is sure of."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor

#: Unsiloed returns each field as {"value": ..., "score": ...}.
INVOICE: dict[str, Any] = {
    "type": "object",
    "required": ["invoice_number", "total_amount"],
    "properties": {
        "invoice_number": {"properties": {"value": {"type": "string", "minLength": 1}}},
        "total_amount": {"properties": {"value": {"type": "number", "exclusiveMinimum": 0}}},
    },
}


@task(trigger_rule="one_failed")
def say_why(ti: Any = None) -> str:
    """Tell somebody: names of fields and numbers of confidence, no value of the document."""
    told = ti.xcom_pull(task_ids="gate", key="docstatus")
    return f"{told['id']} needs a look; its least sure fields: {', '.join(told['confidence']['fields']) or 'none'}"


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    params={"conn_id": "unsiloed_default", "job_id": ""},
    tags=["docstatus"],
)
def gate_on_a_schema() -> None:
    """The data is read by the gate and dropped; what it lets pass is fetched by the operator."""
    where: dict[str, Any] = {"conn_id": "{{ params.conn_id }}", "operation": "extract", "job_id": "{{ params.job_id }}"}
    gate = DocStatusSensor(task_id="gate", require=INVOICE, min_confidence=0.9, deferrable=True, **where)
    extract = ExtractedDataOperator(task_id="extract", **where)
    gate >> [extract, say_why()]


gate_on_a_schema()
