"""Two hundred waits on PostgreSQL, Redis and Celery, with two workers and two triggerers, of which one each is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import COMPONENTS, FINAL_RUN_STATES, TRIGGERER_DEAD_AFTER, RealAirflow
from tests.e2e.waits import Planned, Watch, ends_of, good_wait, not_as_planned, other_waits, starts_of
from tests.ha.servers import postgresql, redis

WAITS = 200
ODD_SETS = 4  # times ten other ends
JOB_SECONDS = 150.0
TIMEOUT = 180.0  # of the waits for jobs that never end
CONCURRENCY = 2  # legs at a time, each worker
WORKER_DEAD_AFTER = 20
LIMIT_SECONDS = 1200.0
DAG = "mixed_endings"
TAKEN_OVER_WITHIN = TRIGGERER_DEAD_AFTER + 12.0
TIMED_OUT_WITHIN = 15.0


def worker(home: Path, name: str) -> tuple[str, ...]:
    """Return the arguments that start a Celery worker of this name."""
    own = ("--celery-hostname", f"{name}@%h", "--pid", str(home / f"{name}.pid"), "--concurrency", str(CONCURRENCY))
    return ("celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip", *own)


@dataclass
class Run:
    """A finished run and how it went; times are epoch seconds."""

    airflow: RealAirflow
    watch: Watch
    planned: list[Planned]
    run_id: str = ""
    seconds: float = 0.0
    killed_at: float = 0.0
    of_the_killed: set[int] = field(default_factory=set)
    taken_over_after: float = 0.0
    on_the_lost_worker: set[int] = field(default_factory=set)

    def go(self) -> None:
        """Start the waits, kill a worker and a triggerer in the middle of them, and return when all have ended."""
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
        running = "SELECT map_index FROM task_instance WHERE task_id = 'wait' AND state IN ('queued', 'running')"
        self.on_the_lost_worker = {row["map_index"] for row in self.airflow.read(running)}
        self.airflow.kill("worker two")
        self.airflow.start("worker three", *worker(self.airflow.home, "three"))
        while self.watch.count(DAG, "deferred") < WAITS / 2:
            yield
        oldest, *_ = jobs = self.airflow.triggerer_jobs()
        assert len(jobs) == 2, jobs
        assert self.watch.owners[oldest], "the older triggerer has no waits"
        self.of_the_killed = set(self.watch.owners[oldest])
        self.airflow.kill("triggerer")
        self.killed_at = time.time()
        while self.watch.owners.get(oldest):
            yield
        self.taken_over_after = time.time() - self.killed_at


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
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(WORKER_DEAD_AFTER),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        }
        components = {
            **COMPONENTS,
            "second triggerer": COMPONENTS["triggerer"],
            "worker one": worker(home, "one"),
            "worker two": worker(home, "two"),
        }
        dags = [Path(__file__).parents[1] / "e2e" / "dags" / "rough_waits.py"]
        with RealAirflow(
            home, slots=32, environment=vendors.environment() | settings, dags=dags, components=components
        ) as airflow:
            odd = [wait for _ in range(ODD_SETS) for wait in other_waits(vendors, JOB_SECONDS, TIMEOUT)]
            good = [good_wait(vendors, number, JOB_SECONDS) for number in range(WAITS - len(odd))]
            run = Run(airflow, Watch(airflow), odd + good)
            run.go()
            yield run


def test_every_wait_ends_as_it_must(run: Run) -> None:
    """Succeeded, partial, review, failed, cancelled, timed out, skipped, a list; a second try only after a lost worker."""
    wrong = not_as_planned(run.airflow, DAG, run.run_id, run.planned, may_retry=run.on_the_lost_worker)
    assert not wrong, "\n".join(wrong) + "\n" + run.airflow.failures(DAG, run.run_id)
    tries = [one["try_number"] for one in run.airflow.task_instances(DAG, run.run_id) if one["task_id"] == "wait"]
    print(
        f"\n{WAITS} waits in {run.seconds:.0f} s: {len(run.of_the_killed)} taken over {run.taken_over_after:.0f} s after their "
        f"triggerer was killed, {sum(number > 1 for number in tries)} tried again for a lost worker; all ends right"
    )


def test_no_wait_ends_twice(run: Run) -> None:
    """Airflow logged one end for each, and but for the lost worker one deferral and two legs."""
    ends = ends_of(run.airflow, DAG)
    assert len(ends) == WAITS
    for number, plan in enumerate(run.planned):
        assert ends[number][plan.task] == 1, (number, ends[number])
        assert sum(ends[number][state] for state in ("success", "failed", "skipped")) == 1, (number, ends[number])
        if number not in run.on_the_lost_worker:
            assert (ends[number]["running"], ends[number]["deferred"]) == (2, 1), (number, ends[number])


def test_the_waits_of_a_killed_triggerer_change_hands(run: Run) -> None:
    """Airflow's own threshold, and little more."""
    assert run.of_the_killed
    assert run.taken_over_after < TAKEN_OVER_WITHIN


def test_no_deadline_moves(run: Run) -> None:
    """Each wait's trigger kept its arguments, and its deadline is its own start and time-out."""
    started = starts_of(run.airflow, DAG, run.run_id)
    for number, plan in enumerate(run.planned):
        if number in run.on_the_lost_worker:  # a second try has a deadline of its own
            continue
        (kwargs,) = run.watch.kwargs[DAG, "wait", number]
        assert kwargs["deadline"] == pytest.approx(started[number] + plan.arguments.get("timeout", 3600.0), abs=2.0), number
        if "timeout" in plan.arguments:
            assert 0 <= run.watch.left_at[DAG, "wait", number] - kwargs["deadline"] < TIMED_OUT_WITHIN, number
