"""
The waits that tests/bench/real.py measures; the run's conf names the ids.

The vendor begins a job when it is first asked about it, so each gate submits its own document: with two worker slots a wait that
holds its slot lets two documents be worked on at a time. A list needs its ids beforehand: there a task submits them all.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_docstatus.hooks import AitronosHook
from airflow_provider_docstatus.sensors import DocStatusSensor

CONN = "aitronos_default"
DOCUMENTS = 12
IDS = [f"{{{{ dag_run.conf['ids'][{number}] }}}}" for number in range(DOCUMENTS)]
FIRST = IDS[0]


class AsSoonAsItEnds(DocStatusSensor):
    """Polls its service far more often than that would like: the shortest deferrals there can be."""

    def defer(self, *, trigger: Any, **settings: Any) -> Any:
        trigger.spec.poke_interval = 0.25
        return super().defer(trigger=trigger, **settings)


def _ids(dag_run: Any = None) -> list[str]:
    return list(dag_run.conf["ids"])


def _submit(dag_run: Any = None) -> list[str]:
    session, job_ids = AitronosHook().get_conn(), []
    for one in dag_run.conf["ids"]:
        reply = session.post("/v1/documents/extract", files={"file": (one, b"%PDF-1.4")}, data={"schema": "{}"})
        reply.raise_for_status()
        job_ids.append(reply.json()["job_id"])
    return job_ids


with DAG("poke", schedule=None):

    @task.sensor(mode="poke", poke_interval=2, timeout=600)
    def wait(job_id: str) -> bool:
        """Hold a worker slot until the job is over."""
        return AitronosHook().get_status(job_id=job_id).state.is_final

    wait.expand(job_id=IDS)

with DAG("reschedule", schedule=None):
    DocStatusSensor.partial(task_id="wait", conn_id=CONN, mode="reschedule", deferrable=False, timeout=600).expand(job_id=IDS)

with DAG("mapped", schedule=None):
    DocStatusSensor.partial(task_id="wait", conn_id=CONN, deferrable=True, timeout=600).expand(job_id=IDS)

with DAG("mapped_at_once", schedule=None):
    DocStatusSensor.partial(task_id="wait", conn_id=CONN, deferrable=True, watch_on_worker=0, timeout=600).expand(job_id=IDS)

with DAG("list", schedule=None):
    job_ids = task(_submit, task_id="submit")()
    DocStatusSensor(task_id="wait", conn_id=CONN, job_id=job_ids, deferrable=True, timeout=600)

for dag_id, settings in (("gate", {}), ("gate_at_once", {"watch_on_worker": 0}), ("gate_every_2", {"poke_interval": 2})):
    with DAG(dag_id, schedule=None, max_active_runs=200, max_active_tasks=200):
        DocStatusSensor(task_id="wait", conn_id=CONN, job_id=FIRST, deferrable=True, timeout=600, **settings)

with DAG("race", schedule=None, max_active_tasks=1000):
    AsSoonAsItEnds.partial(task_id="wait", conn_id=CONN, deferrable=True, watch_on_worker=0, timeout=600).expand(
        job_id=task(_ids, task_id="ids")()
    )
