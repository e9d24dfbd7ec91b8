"""One long run for many claims: forty waits, and beside them others, while triggerers are killed and stopped.

The others end in every way there is, fetch extracted data, or are acted upon while they are deferred. They begin before the
forty and end after the first of them, so that no worker is busy with them while all forty are deferred; those that run into
their ``execution_timeout`` come first and are over before that.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sqlite3
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.e2e.real_airflow import FINAL_RUN_STATES, RealAirflow, signal_session
from tests.e2e.waits import FINAL, Planned, Watch, extractions, good_wait, ids_of, late_waits, other_waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_docstatus.testing import StandInVendors

WAITS = 40
SLOTS = 2
JOB_SECONDS = 90.0
OTHERS_TIMEOUT = JOB_SECONDS + 50  # they begin up to half a minute before the forty
LEG_ENDS_WITHIN = 3.0  # a task is "deferred" a moment before its process is gone
OTHERS_DEFERRED_WITHIN = 90.0
LIMIT_SECONDS = 420.0
DAG = "forty_waits"
OTHERS = "mixed_endings"
ACTED_UPON = "acted_upon"
OUT_OF_TIME = "out_of_time"
ACTS = ("failed", "success", "clear")


@dataclass
class Sample:
    """What was seen at one moment, in seconds since the run was triggered."""

    at: float
    busy: int
    taken: int
    deferred: int


@dataclass
class RoughRun:
    """The run and how it went; times are epoch seconds, durations seconds."""

    airflow: RealAirflow
    vendors: StandInVendors
    triggerers: dict[str, int]
    """The name of each triggerer's process and the id of its job."""
    watch: Watch = field(init=False)
    run_id: str = ""
    state: str = ""
    planned: list[Planned] = field(default_factory=list)
    makespan: float = 0.0
    samples: list[Sample] = field(default_factory=list, repr=False)
    others_run_id: str = ""
    others: list[Planned] = field(default_factory=list)
    extractions: list[dict[str, Any]] = field(default_factory=list)
    late: list[Planned] = field(default_factory=list)
    late_run_id: str = ""
    late_until: float = 0.0
    """When the last of the late ones was not over yet, in seconds since the run was triggered."""
    acted_upon: list[Planned] = field(default_factory=list)
    acted_upon_run_id: str = ""
    acted_at: float = 0.0
    killed_at: float = 0.0
    stopped_at: float = 0.0
    woken_at: float = 0.0
    of_the_killed: set[int] = field(default_factory=set)
    of_the_stopped: set[int] = field(default_factory=set)
    take_overs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Watch(self.airflow)

    @property
    def all_deferred(self) -> list[Sample]:
        """The moments at which every wait was deferred, those of the last leg's end left out, also of the late ones'."""
        moments = [sample for sample in self.samples if sample.deferred == WAITS]
        return [sample for sample in moments if sample.at > max(moments[0].at, self.late_until) + LEG_ENDS_WITHIN]

    def go(self) -> None:
        """Start everything, look once a second, disturb it, and return when all has ended."""
        for dag_id in (DAG, OTHERS, ACTED_UPON, OUT_OF_TIME):
            self.airflow.wait_for_dag(dag_id)
        self._start_the_others()
        self.planned = [good_wait(self.vendors, number, JOB_SECONDS) for number in range(WAITS)]
        for number in range(0, WAITS, 3):
            self.vendors.jobs[self.planned[number].arguments["request_id"]].reply = {"job_page_url": page_of(number)}
        self.watch.look()
        started = time.monotonic()
        self.run_id = self.airflow.trigger(DAG, {"waits": [one.arguments for one in self.planned]})
        script = self._disturb()
        while not self._is_over(started):
            self._look(time.monotonic() - started)
            next(script, None)
            time.sleep(1)
        script.close()

    def _start_the_others(self) -> None:
        self.airflow.api("POST", "/pools", json={"name": "others", "slots": SLOTS})
        self.airflow.api("POST", "/pools", json={"name": ACTED_UPON, "slots": SLOTS})
        self.late = list(late_waits(self.vendors))
        self.late_run_id = self.airflow.trigger(OUT_OF_TIME, {"waits": [one.arguments for one in self.late]})
        self.others = list(other_waits(self.vendors, math.inf, OTHERS_TIMEOUT))
        self.extractions = extractions(self.vendors, math.inf)
        conf = {"waits": [one.arguments for one in self.others], "extractions": self.extractions}
        self.acted_upon = [good_wait(self.vendors, number, math.inf) for number, _ in enumerate(ACTS)]
        self.acted_upon_run_id = self.airflow.trigger(ACTED_UPON, {"waits": [one.arguments for one in self.acted_upon]})
        self.others_run_id = self.airflow.trigger(OTHERS, conf)
        deadline = time.monotonic() + OTHERS_DEFERRED_WITHIN
        waits = len(self.late) + len(self.acted_upon) + len(self.others) + len(self.extractions)
        while len(self.watch.deferred_at) < waits:
            assert time.monotonic() < deadline, f"not all others were deferred: {self.watch.states}"
            self.watch.look()
            time.sleep(0.3)

    def _finish_the_others(self) -> None:
        for one in (*self.others, *(Planned(arguments, "success", {}) for arguments in self.extractions)):
            if "timeout" not in one.arguments:
                for job_id in ids_of(one):
                    self.vendors.finish(job_id)

    def _is_over(self, started: float) -> bool:
        if not self.state:
            state = self.airflow.run_state(DAG, self.run_id)
            self.state = state if state in FINAL_RUN_STATES else ""
            self.makespan = time.monotonic() - started
        assert time.monotonic() < started + LIMIT_SECONDS, f"the run does not end: {self.watch.states}"
        return bool(self.state) and self.airflow.run_state(OTHERS, self.others_run_id) in FINAL_RUN_STATES

    def _look(self, at: float) -> None:
        pool = self.airflow.pool()
        taken = pool["running_slots"] + pool["queued_slots"]
        self.samples.append(Sample(at=at, busy=self.airflow.busy_slots(), taken=taken, deferred=pool["deferred_slots"]))
        self.watch.look()
        if self.watch.count(OUT_OF_TIME, *FINAL) < len(self.late):
            self.late_until = at

    # ---------------------------------------------------------- what goes wrong; one step a look

    def _disturb(self) -> Iterator[None]:
        yield from until(self._triggerers_have_asked_for_all_acted_upon)
        self._act()
        yield from until(lambda: len(self.all_deferred) > 0)
        yield from self._kill(self._busiest())
        yield from self._stop_and_wake(self._busiest())

    def _triggerers_have_asked_for_all_acted_upon(self) -> bool:
        return all(self.requests_for(planned) > 1 for planned in self.acted_upon)

    def requests_for(self, planned: Planned, since: float = 0.0) -> int:
        """Return how many requests about a wait's id have reached the vendor."""
        (job_id,) = ids_of(planned)
        return sum(job_id in record.path and record.time > since for record in list(self.vendors.requests))

    def _act(self) -> None:
        """Mark one task failed, one as a success, and clear one, which finds no slot to begin anew."""
        no_slots = {"pool": ACTED_UPON, "slots": 0, "include_deferred": False}
        self.airflow.api("PATCH", f"/pools/{ACTED_UPON}", json=no_slots)
        for number, act in enumerate(ACTS):
            if act == "clear":
                body = {"dry_run": False, "only_failed": False, "dag_run_id": self.acted_upon_run_id}
                self.airflow.api("POST", f"/dags/{ACTED_UPON}/clearTaskInstances", json=body | {"task_ids": [["wait", number]]})
            else:
                path = f"/dags/{ACTED_UPON}/dagRuns/{self.acted_upon_run_id}/taskInstances/wait/{number}"
                self.airflow.api("PATCH", path, json={"new_state": act})
        self.acted_at = time.time()

    def _busiest(self) -> str:
        return max(self.triggerers, key=lambda name: len(self.watch.owners.get(self.triggerers[name], ())))

    def _kill(self, name: str) -> Iterator[None]:
        """SIGKILL a triggerer, start another, and wait until all waits have changed hands."""
        job = self.triggerers.pop(name)
        self.of_the_killed = set(self.watch.owners[job])
        self.airflow.kill(name)
        self.killed_at = time.time()
        self.airflow.start("third triggerer", *self.airflow.components["triggerer"])
        yield from until(lambda: not self.watch.owners.get(job))
        self.take_overs.append(time.time() - self.killed_at)
        yield from until(lambda: self.airflow.triggerer_jobs()[-1] > max(*self.triggerers.values(), job))
        self.triggerers["third triggerer"] = self.airflow.triggerer_jobs()[-1]

    def _stop_and_wake(self, name: str) -> Iterator[None]:
        """SIGSTOP a triggerer until others have its waits and the first of them ends, then let it go on."""
        process, job = self.airflow.processes[name], self.triggerers[name]
        self.of_the_stopped = set(self.watch.owners[job])
        signal_session(process.pid, signal.SIGSTOP)
        while self._database_is_held():  # by the one that was stopped: nobody else could write
            signal_session(process.pid, signal.SIGCONT)
            time.sleep(0.1)
            signal_session(process.pid, signal.SIGSTOP)
        self.stopped_at = time.time()
        try:
            yield from until(lambda: not self.watch.owners.get(job))
            self.take_overs.append(time.time() - self.stopped_at)
            yield from until(lambda: self.watch.count(DAG, "deferred") < WAITS)
        finally:
            signal_session(process.pid, signal.SIGCONT)
            self.woken_at = time.time()
            self._finish_the_others()

    def _database_is_held(self) -> bool:
        with contextlib.closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=3, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
        return False


def until(is_true: Callable[[], bool]) -> Iterator[None]:
    """Let a look pass, and another, until something is true."""
    while not is_true():
        yield


def page_of(number: int) -> str:
    """Return the vendor's page of a job."""
    return f"https://neurolinker.example/jobs/{number}"
