"""Waits that end in every way, waits that somebody acts upon or that take too long, and the fetching of what was extracted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor

WAITING = {"deferrable": True, "watch_on_worker": 0, "poke_interval": 5}


@task
def arguments(which: str, dag_run: Any = None) -> list[dict[str, Any]]:
    """Return the arguments of each wait."""
    return list(dag_run.conf[which])


# A retry shows in the try's number: none of the ends calls for one
with DAG("mixed_endings", schedule=None, default_args={"retries": 1, "retry_delay": timedelta(seconds=1)}):
    DocStatusSensor.partial(task_id="wait", pool="others", **WAITING).expand_kwargs(arguments("waits"))
    ExtractedDataOperator.partial(task_id="extract", pool="others", wait_for_completion=True, **WAITING).expand_kwargs(
        arguments("extractions")
    )

with DAG("acted_upon", schedule=None):
    DocStatusSensor.partial(task_id="wait", pool="acted_upon", **WAITING).expand_kwargs(arguments("waits"))

# Ahead of all others, so that no queue is between the limit and a task's end
LIMITED = {"execution_timeout": timedelta(seconds=15), "priority_weight": 1000, "weight_rule": "absolute"}

with DAG("out_of_time", schedule=None, default_args={"retries": 1, "retry_delay": timedelta(seconds=1)}):
    DocStatusSensor.partial(task_id="wait", pool="others", **WAITING, **LIMITED).expand_kwargs(arguments("waits"))
