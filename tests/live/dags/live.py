"""Files submitted to a real docling-serve, gated on and fetched; and gates and fetches that the run's conf names."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor
from tests.live.samples import SAMPLES
from tests.live.server import OPTIONS

WAITING = {"deferrable": True, "watch_on_worker": 0, "poke_interval": 2, "timeout": 120}
CONNECTION = "{{ dag_run.conf['conn_id'] }}"


@task(multiple_outputs=True)
def submit(dag_run: Any = None) -> dict[str, Any]:
    """Submit files and return the tasks' ids: one to gate on, one to fetch without a gate, several to gate on together."""
    session = DocStatusHook(dag_run.conf["conn_id"]).get_conn()

    def send(name: str) -> str:
        reply = session.post("/v1/convert/file/async", files={"files": (name, SAMPLES[name]())}, data=OPTIONS)
        reply.raise_for_status()
        return reply.json()["task_id"]

    return {"one": send("invoice.html"), "alone": send("invoice.docx"), "several": [send(name) for name in dag_run.conf["files"]]}


@task
def arguments(which: str, dag_run: Any = None) -> list[dict[str, Any]]:
    """Return the arguments of each gate or fetch."""
    return list(dag_run.conf[which])


with DAG("live_files", schedule=None):
    ids = submit()
    gate_one = DocStatusSensor(task_id="gate_one", conn_id=CONNECTION, job_id=ids["one"], **WAITING)
    fetch_one = ExtractedDataOperator(task_id="fetch_one", conn_id=CONNECTION, job_id=ids["one"])
    gate_one >> fetch_one
    ExtractedDataOperator(task_id="fetch_alone", conn_id=CONNECTION, job_id=ids["alone"], wait_for_completion=True, **WAITING)
    gate_several = DocStatusSensor(task_id="gate_several", conn_id=CONNECTION, job_id=ids["several"], **WAITING)
    ExtractedDataOperator(task_id="fetch_several", conn_id=CONNECTION, job_id=gate_several.output)

with DAG("live_steps", schedule=None):
    DocStatusSensor.partial(task_id="gate", **WAITING).expand_kwargs(arguments("gate"))
    ExtractedDataOperator.partial(task_id="fetch", wait_for_completion=True, **WAITING).expand_kwargs(arguments("fetch"))
