"""As many waits as the run's conf names, for whichever services it names."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_docstatus.sensors import DocStatusSensor

with DAG("forty_waits", schedule=None):

    @task
    def waits(dag_run: Any = None) -> list[dict[str, Any]]:
        """Return the arguments of each wait."""
        return list(dag_run.conf["waits"])

    # Known to take long: no watching on, so that a worker leg is as short as it gets
    DocStatusSensor.partial(task_id="wait", deferrable=True, watch_on_worker=0, poke_interval=5, timeout=600).expand_kwargs(
        waits()
    )
