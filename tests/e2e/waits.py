"""Waits with the ends they must come to, and an eye on all of them while they are out."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from airflow_provider_docstatus.testing import StandInVendors
    from tests.e2e.real_airflow import RealAirflow

MARKER = "Zephyrine Quandt owes 4711 florins"
"""Document text: it belongs into the XCom of whoever fetches data, and nowhere else."""
CONTENT = {"content": {"debt": MARKER}}

FINAL = frozenset({"success", "failed", "skipped"})
LOGGED = FINAL | {"running", "deferred"}
START_TAKES = 10.0
"""Seconds; the worker's clock of a task begins once the API server has answered, and Airflow's own before."""

Key = tuple[str, str, int]
"""DAG, task, map index."""


@dataclass(frozen=True)
class Planned:
    """
    A wait and what must become of it.

    :param arguments: the sensor's, JSON.
    :param task: the task's final state.
    :param says: what the XCom ``docstatus`` says, among other things.
    """

    arguments: dict[str, Any]
    task: str
    says: dict[str, Any]


def good_wait(vendors: StandInVendors, number: int, seconds: float) -> Planned:
    """Give one of the three services a job that ends well, and plan the wait for it."""
    if number % 3 == 0:
        arguments = {"conn_id": "neurolinker_default", "request_id": vendors.add_job("neurolinker", seconds=seconds, **CONTENT)}
    elif number % 3 == 1:
        arguments = {"conn_id": "aitronos_default", "job_id": vendors.add_job("aitronos", seconds=seconds, **CONTENT)}
    else:
        job_id = vendors.add_job("unsiloed", seconds=seconds, **CONTENT)
        arguments = {"conn_id": "unsiloed_default", "job_id": job_id, "operation": "extract"}
    return Planned(arguments, "success", {"state": "succeeded"})


def other_waits(vendors: StandInVendors, seconds: float, timeout: float) -> Iterator[Planned]:
    """
    Yield a wait for each other end: failed, partial, review, cancelled, timed out, skipped, and a list of ids.

    :param seconds: how long the jobs take; infinite until they are finished.
    :param timeout: of the waits for jobs that never end (seconds).
    """
    neurolinker, aitronos, unsiloed = ({"conn_id": f"{name}_default"} for name in ("neurolinker", "aitronos", "unsiloed"))
    unsiloed["operation"] = "extract"

    def job(service: Any, ends: str, **fields: Any) -> str:
        return vendors.add_job(service, **{"seconds": seconds, "ends": ends, **CONTENT, **fields})

    partial = {"state": "partial", "counters": {"completed": 2, "failed": 1}}
    yield Planned(neurolinker | {"request_id": job("neurolinker", "failed")}, "failed", {"state": "failed"})
    yield Planned(neurolinker | {"request_id": job("neurolinker", "partial", documents=3)}, "failed", partial)
    accepted = {"request_id": job("neurolinker", "partial", documents=3), "accept": ["partial"]}
    yield Planned(neurolinker | accepted, "success", partial)
    yield Planned(aitronos | {"job_id": job("aitronos", "failed")}, "failed", {"state": "failed"})
    yield Planned(aitronos | {"job_id": job("aitronos", "cancelled")}, "failed", {"state": "cancelled"})
    yield Planned(unsiloed | {"job_id": job("unsiloed", "review")}, "failed", {"state": "review"})
    yield Planned(unsiloed | {"job_id": job("unsiloed", "failed"), "soft_fail": True}, "skipped", {"state": "failed"})
    endless = {"job_id": job("aitronos", "completed", seconds=math.inf), "timeout": timeout}
    yield Planned(aitronos | endless, "failed", {"state": "running"})
    skipped = {"job_id": job("unsiloed", "completed", seconds=math.inf), "timeout": timeout, "soft_fail": True}
    yield Planned(unsiloed | skipped, "skipped", {"state": "running"})
    several = {"request_id": [job("neurolinker", ends, documents=2) for ends in ("completed", "partial")], "accept": ["partial"]}
    yield Planned(neurolinker | several, "success", {"counts": {"succeeded": 1, "partial": 1}})


def late_waits(vendors: StandInVendors) -> Iterator[Planned]:
    """Yield waits that end by their task's ``execution_timeout``: one that fails, one that is skipped, and a list."""
    running = {"state": "running"}
    endless = {"conn_id": "aitronos_default", "job_id": vendors.add_job("aitronos", seconds=math.inf)}
    yield Planned(endless, "failed", running)
    skipped = {"conn_id": "unsiloed_default", "operation": "extract", "soft_fail": True}
    yield Planned(skipped | {"job_id": vendors.add_job("unsiloed", seconds=math.inf)}, "skipped", running)
    several = [vendors.add_job("neurolinker", seconds=seconds) for seconds in (math.inf, 0.0)]
    counts = {"timed_out": 1, "succeeded": 1}
    yield Planned({"conn_id": "neurolinker_default", "request_id": several}, "failed", {"counts": counts})


def extractions(vendors: StandInVendors, seconds: float) -> list[dict[str, Any]]:
    """Give each service a document, and return the arguments that fetch what is extracted from it."""
    document = vendors.add_job("neurolinker", "document", seconds=seconds, **CONTENT)
    return [
        {"conn_id": "neurolinker_default", "document_id": document},
        {"conn_id": "aitronos_default", "job_id": vendors.add_job("aitronos", seconds=seconds, **CONTENT)},
        {
            "conn_id": "unsiloed_default",
            "job_id": vendors.add_job("unsiloed", seconds=seconds, **CONTENT),
            "operation": "extract",
        },
    ]


def ids_of(planned: Planned) -> list[str]:
    """Return the ids a wait is for."""
    (ids,) = (planned.arguments[name] for name in ("request_id", "document_id", "job_id") if name in planned.arguments)
    return [ids] if isinstance(ids, str) else list(ids)


class Watch:
    """
    Look at Airflow's database again and again while waits are out, and remember what it said.

    Both tables forget: a trigger's row goes with its wait, and a task's ``next_kwargs`` with its end.
    """

    def __init__(self, airflow: RealAirflow) -> None:
        self.airflow = airflow
        self.states: dict[Key, str] = {}
        self.owners: dict[int, set[int]] = {}
        self.deferred_at: dict[Key, float] = {}
        self.left_at: dict[Key, float] = {}
        self.kwargs: dict[Key, list[dict[str, Any]]] = defaultdict(list)
        self.stored: set[str] = set()

    def look(self) -> None:
        """Take in which wait is where now."""
        now = time.time()
        triggers = {row["id"]: row for row in self.airflow.read('SELECT id, triggerer_id, kwargs FROM "trigger"')}
        self.owners = defaultdict(set)
        for row in triggers.values():
            self.owners[row["triggerer_id"]].add(row["id"])
            self.stored.add(row["kwargs"])
        query = "SELECT dag_id, task_id, map_index, state, trigger_id, next_kwargs FROM task_instance"
        for row in self.airflow.read(query):
            key = (row["dag_id"], row["task_id"], row["map_index"])
            self.states[key] = row["state"]
            self.stored.add(str(row["next_kwargs"]))
            if row["state"] == "deferred":
                self.deferred_at.setdefault(key, now)
                self._remember_kwargs(key, triggers.get(row["trigger_id"]))
            elif key in self.deferred_at:
                self.left_at.setdefault(key, now)

    def _remember_kwargs(self, key: Key, trigger: dict[str, Any] | None) -> None:
        kwargs = json.loads(trigger["kwargs"]) if trigger else None
        if kwargs is not None and kwargs not in self.kwargs[key]:
            self.kwargs[key].append(kwargs)

    def count(self, dag_id: str, *states: str) -> int:
        """Return how many of a DAG's waits are in one of these states."""
        return sum(key[0] == dag_id and key[1] == "wait" and state in states for key, state in self.states.items())


def not_as_planned(
    airflow: RealAirflow, dag_id: str, run_id: str, planned: Sequence[Planned], may_retry: Collection[int] = ()
) -> list[str]:
    """Return a line for each wait that did not end as it must, or not in its first try (second, for some numbers)."""
    lines = []
    instances = {one["map_index"]: one for one in airflow.task_instances(dag_id, run_id) if one["task_id"] == "wait"}
    for number, plan in enumerate(planned):
        one = instances[number]
        status = airflow.xcom(dag_id, run_id, "wait", key="docstatus", map_index=number)
        says = {name: narrowed(status.get(name), value) for name, value in plan.says.items()}
        tries = (1, 2) if number in may_retry else (1,)
        if (one["state"], says) != (plan.task, plan.says) or one["try_number"] not in tries:
            lines.append(f"{dag_id} {number}: {one['state']} in try {one['try_number']}, {says}; planned: {plan}")
    return lines


def narrowed(value: Any, planned: Any) -> Any:
    """Return of a dict what the plan speaks of."""
    return {name: value.get(name) for name in planned} if isinstance(planned, dict) and isinstance(value, dict) else value


def ends_of(airflow: RealAirflow, dag_id: str) -> dict[int, Counter[str]]:
    """Return how often each wait's last try began a leg (``running``), deferred, and came to an end, as Airflow logged it."""
    tries: dict[int, dict[int, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in airflow.read("SELECT dag_id, map_index, try_number, event FROM log WHERE task_id = 'wait'"):
        if row["dag_id"] == dag_id and row["event"] in LOGGED:
            tries[row["map_index"]][row["try_number"]][row["event"]] += 1
    return {map_index: of_tries[max(of_tries)] for map_index, of_tries in tries.items()}


def starts_of(airflow: RealAirflow, dag_id: str, run_id: str) -> dict[int, float]:
    """Return when each wait of a run first started (epoch seconds)."""
    instances = [one for one in airflow.task_instances(dag_id, run_id) if one["task_id"] == "wait"]
    return {one["map_index"]: datetime.fromisoformat(one["start_date"].replace("Z", "+00:00")).timestamp() for one in instances}
