"""Two hundred waits on PostgreSQL, Redis and Celery, with two workers and two triggerers, of which one each is lost."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_provider_docstatus.poller import DEADLINE_GRACE
from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import COMPONENTS, FINAL_RUN_STATES, TRIGGERER_DEAD_AFTER, RealAirflow
from tests.e2e.waits import START_TAKES, Planned, Watch, ends_of, good_wait, ids_of, not_as_planned, other_waits, starts_of
from tests.ha.servers import postgresql, redis

WAITS = 200
ODD_SETS = 4  # times ten other ends
TIMEOUT = 180.0  # of the waits for jobs that never end
CONCURRENCY = 2  # legs at a time, each worker
WORKER_DEAD_AFTER = 20
LIMIT_SECONDS = 1200.0
DAG = "mixed_endings"
TAKEN_OVER_WITHIN = TRIGGERER_DEAD_AFTER + 12.0
TIMED_OUT_WITHIN = DEADLINE_GRACE + 15.0  # the last question of some seventy waits on one key waits for its turn


def worker(home: Path, name: str) -> tuple[str, ...]:
    """Return the arguments that start a Celery worker of this name."""
    own = ("--celery-hostname", f"{name}@%h", "--pid", str(home / f"{name}.pid"), "--concurrency", str(CONCURRENCY))
    return ("celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip", *own)


@dataclass
class Run:
    """A finished run and how it went."""

    airflow: RealAirflow
    vendors: StandInVendors
    watch: Watch
    triggerers: dict[str, int]
    planned: list[Planned]
    run_id: str = ""
    seconds: float = 0.0
    of_the_killed: set[int] = field(default_factory=set)
    taken_over_after: float = 0.0
    may_have_been_lost: set[int] = field(default_factory=set)

    def go(self) -> None:
        """Start the waits, kill a worker and a triggerer in the middle, let the jobs end, and return when all waits have."""
        started = time.monotonic()
        self.airflow.wait_for_dag(DAG)
        self.airflow.api("POST", "/pools", json={"name": "others", "slots": WAITS})
        conf = {"waits": [one.arguments for one in self.planned], "extractions": []}
        self.run_id = self.airflow.trigger(DAG, conf)
        script = self._disturb()
        while self.airflow.run_state(DAG, self.run_id) not in FINAL_RUN_STATES:
            self.watch.look()
            next(script, None)
            assert time.monotonic() < started + LIMIT_SECONDS, f"the run does not end: {Counter(self.watch.states.values())}"
            time.sleep(1)
        self.seconds = time.monotonic() - started

    def _disturb(self) -> Iterator[None]:
        while self.watch.count(DAG, "deferred") < WAITS / 4:
            yield
        deadline = time.monotonic() + LIMIT_SECONDS / 10
        while not self.airflow.busy_slots("worker two"):
            assert time.monotonic() < deadline, "worker two does nothing"
            time.sleep(0.05)
        self.airflow.kill("worker two")
        running = self.airflow.read("SELECT map_index FROM task_instance WHERE task_id = 'wait' AND state = 'running'")
        self.may_have_been_lost = {row["map_index"] for row in running}
        self.airflow.start("worker three", *worker(self.airflow.home, "three"))
        while self.watch.count(DAG, "deferred") < WAITS / 2:
            yield
        name = max(self.triggerers, key=lambda name: len(self.watch.owners[self.triggerers[name]]))
        job = self.triggerers[name]
        self.of_the_killed = set(self.watch.owners[job])
        self.airflow.kill(name)
        killed_at = time.time()
        while self.watch.owners.get(job):
            yield
        self.taken_over_after = time.time() - killed_at
        while len(self.watch.deferred_at) < WAITS:
            yield
        for one in self.planned:
            if "timeout" not in one.arguments:
                for job_id in ids_of(one):
                    self.vendors.finish(job_id)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run two hundred waits to their end."""
    home = tmp_path_factory.mktemp("airflow")
    with postgresql() as database, redis(tmp_path_factory.mktemp("redis")) as broker, StandInVendors() as vendors:
        settings = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
            # What a lost worker had taken from the queue is handed out again after this; 24 hours by default
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(WORKER_DEAD_AFTER),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        }
        components = {
            **COMPONENTS,
            "worker one": worker(home, "one"),
            "worker two": worker(home, "two"),
        }
        dags = [Path(__file__).parents[1] / "e2e" / "dags" / "rough_waits.py"]
        environment = vendors.environment() | settings
        with RealAirflow(home, slots=4 * CONCURRENCY, environment=environment, dags=dags, components=components) as airflow:
            (first,) = airflow.triggerer_jobs()
            triggerers = {"triggerer": first, "second triggerer": airflow.start_triggerer("second triggerer")}
            odd = [wait for _ in range(ODD_SETS) for wait in other_waits(vendors, math.inf, TIMEOUT)]
            good = [good_wait(vendors, number, math.inf) for number in range(WAITS - len(odd))]
            run = Run(airflow, vendors, Watch(airflow), triggerers, odd + good)
            run.go()
            yield run


def test_every_wait_ends_as_it_must(run: Run) -> None:
    """Succeeded, partial, review, failed, cancelled, timed out, skipped, a list; a second try only after a lost worker."""
    wrong = not_as_planned(run.airflow, DAG, run.run_id, run.planned, may_retry=run.may_have_been_lost)
    assert not wrong, "\n".join(wrong) + "\n" + run.airflow.failures(DAG, run.run_id)
    tries = [one["try_number"] for one in run.airflow.task_instances(DAG, run.run_id) if one["task_id"] == "wait"]
    print(
        f"\n{WAITS} waits in {run.seconds:.0f} s: {len(run.of_the_killed)} taken over {run.taken_over_after:.0f} s after their "
        f"triggerer was killed, {sum(number > 1 for number in tries)} tried again for a lost worker; all ends right"
    )


def test_no_wait_ends_twice(run: Run) -> None:
    """Airflow logged one deferral, two legs and one end for the last try of each, the first but for the lost worker."""
    legs = {"running": 2, "deferred": 1}
    assert ends_of(run.airflow, DAG) == {number: legs | {plan.task: 1} for number, plan in enumerate(run.planned)}


def test_the_waits_of_a_killed_triggerer_change_hands(run: Run) -> None:
    """Airflow's own threshold, and little more."""
    assert run.of_the_killed
    assert run.taken_over_after < TAKEN_OVER_WITHIN


def test_no_deadline_moves(run: Run) -> None:
    """Each wait's trigger kept its arguments, and its deadline is its own start and time-out."""
    started = starts_of(run.airflow, DAG, run.run_id)
    for number, plan in enumerate(run.planned):
        if number in run.may_have_been_lost:  # a second try has a deadline of its own
            continue
        (kwargs,) = run.watch.kwargs[DAG, "wait", number]
        assert 0 <= kwargs["deadline"] - (started[number] + plan.arguments.get("timeout", 3600.0)) < START_TAKES, number
        if "timeout" in plan.arguments:
            assert 0 <= run.watch.left_at[DAG, "wait", number] - kwargs["deadline"] < TIMED_OUT_WITHIN, number
