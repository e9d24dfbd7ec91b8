"""
What waiting costs on a real Airflow with all its processes: ``make bench-airflow``. The vendor is the stand-in, on loopback.

    waits     twelve documents, two worker slots: poke, reschedule, mapped gates, one list
    gates     what a gate adds to a job, by the job's length
    race      how many of 200 healthy tasks Airflow loses when they come back from the triggerer at once, and how many by default
    metrics   the lines that arrive at a UDP statsd from a triggerer
    leaks     what 50,000 waits leave behind in one process (leaks.py; no Airflow is started for it)

Figures are worth something beside the others of the same run only. What is counted:

makespan         from the run's start to its end, by Airflow's own times
CPU              user and system seconds of every process of Airflow while the run lasts: scheduler with its LocalExecutor and the
                 tasks, triggerer, API server, DAG processor; children that have ended included. This script asks for the run's
                 state every two seconds, which the API server pays for. Above idle: less what the same processes use, asked the
                 same way, with nothing to do
calls            status questions that arrived at the vendor
slots held       worker processes that run a task, as the operating system sees them, on average over the makespan
added            from the job's end at the vendor to the gate's end, when the next task can start
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import random
import secrets
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from typing_extensions import Self

from airflow_provider_docstatus.testing import Job, StandInVendors
from tests.bench.leaks import leaks
from tests.e2e.real_airflow import FINAL_RUN_STATES, RealAirflow

SEED = 20261122
DAGS = Path(__file__).with_name("dags") / "real_gates.py"
DOCUMENTS = 12  # of dags/real_gates.py
SLOTS = 2
#: Seconds that the documents of the first table take: twenty, a few more or less.
JOBS = [17.0 + 0.5 * number for number in range(DOCUMENTS)]
random.Random(SEED).shuffle(JOBS)
IDLE_SECONDS = 20.0
ASK_EVERY = 2.0
LONGEST_RUN = 560.0
#: What keeps Airflow quiet: nothing changes in the DAG files.
QUIET = {
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "600",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
}


class Vendors(StandInVendors):
    """Begins a job when it is first asked about it; the id ends in the seconds that it takes."""

    def find(self, service: Any, job_id: str, *kinds: str) -> Job | None:
        if job_id not in self.jobs:
            self.keep(Job(service=service, kind=kinds[0], job_id=job_id, seconds=_seconds_of(job_id)))
        return super().find(service, job_id, *kinds)

    def submitted(self, service: Any, kind: str, file_name: str, possible_endings: Iterable[str]) -> Job:
        job = super().submitted(service, kind, file_name, possible_endings)
        job.seconds = _seconds_of(file_name)
        return job

    def questions(self) -> int:
        return sum(record.method == "GET" for record in list(self.requests))


def new_ids(seconds: Iterable[float]) -> list[str]:
    """Return an id for each job; the vendor reads from it how long the job takes."""
    token = secrets.token_hex(4)
    return [f"{token}-{number}-{one:.2f}" for number, one in enumerate(seconds)]


def _seconds_of(name: str) -> float:
    return float(name.rsplit("-", 1)[1])


@contextlib.contextmanager
def airflow(*, slots: int, per_minute: int | None = None, **environment: str) -> Iterator[tuple[RealAirflow, Vendors]]:
    """Start vendors and an Airflow; run a gate, so that all of it is warm."""
    with Vendors() as vendors, tempfile.TemporaryDirectory(prefix="docstatus-bench-") as home:
        connections = vendors.environment()
        if per_minute is not None:
            fields = {**vendors.connections()["aitronos_default"], "extra": {"calls_per_minute": per_minute}}
            connections["AIRFLOW_CONN_AITRONOS_DEFAULT"] = json.dumps(fields)
        with RealAirflow(Path(home), slots=slots, environment={**QUIET, **connections, **environment}, dags=[DAGS]) as real:
            run(real, "gate", new_ids([0.1]))
            yield real, vendors


def run(real: RealAirflow, dag: str, ids: list[str]) -> str:
    """Run a DAG to its end and return the run's id; say so if it failed."""
    run_id = real.trigger(dag, {"ids": ids})
    wait_for(real, dag, run_id)
    return run_id


def wait_for(real: RealAirflow, dag: str, run_id: str) -> None:
    until = time.monotonic() + LONGEST_RUN
    while real.run_state(dag, run_id) not in FINAL_RUN_STATES:
        if time.monotonic() > until:
            sys.exit(f"{dag} does not end")
        time.sleep(ASK_EVERY)


def cpu_seconds(real: RealAirflow) -> float:
    """Return the CPU time that Airflow's processes have used so far, with that of children that have ended."""
    total = 0.0
    for started in real.processes.values():
        root = psutil.Process(started.pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])  # user, system, and both of the children that were waited for
    return total


@dataclass
class Slots:
    """Looks how many worker slots are held, four times a second, from a thread of its own."""

    real: RealAirflow
    seen: list[tuple[float, int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.25):
            self.seen.append((time.time(), self.real.busy_slots()))

    def average(self, began: float, ended: float) -> float:
        return statistics.fmean([busy for at, busy in self.seen if began <= at <= ended] or [0])


def epoch(text: str) -> float:
    """Return one of the API's times in epoch seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# ------------------------------------------------------------------------------------------------------ waits

VARIANTS = {
    "poke": '`@task.sensor(mode="poke")`, every 2 s',
    "reschedule": 'mapped, `mode="reschedule"`, every 10 s',
    "mapped": "mapped, deferrable",
    "mapped_at_once": "mapped, deferrable, `watch_on_worker=0`",
    "list": "one list, deferrable (and the task that submits)",
}


def waits(only: Iterable[str] = VARIANTS) -> list[str]:
    """Measure twelve documents on two slots."""
    rows = []
    with airflow(slots=SLOTS) as (real, vendors):
        began, before = time.monotonic(), cpu_seconds(real)
        while time.monotonic() < began + IDLE_SECONDS:
            real.pool()
            time.sleep(ASK_EVERY)
        idle = (cpu_seconds(real) - before) / (time.monotonic() - began)
        for variant in only:
            rows.append(_one_of_the_waits(real, vendors, variant, idle))
            say(rows[-1])
    return [
        f"**{DOCUMENTS} documents of {min(JOBS):g} to {max(JOBS):g} s, {SLOTS} worker slots**; idle: {idle:.2f} CPU s a second",
        "",
        "| | makespan, s | CPU, s | above idle, s | calls | slots held |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def _one_of_the_waits(real: RealAirflow, vendors: Vendors, variant: str, idle: float) -> str:
    vendors.requests.clear()
    with Slots(real) as slots:
        started, before = time.monotonic(), cpu_seconds(real)
        run_id = run(real, variant, new_ids(JOBS))
        time.sleep(1.5)  # the last task's process ends
        used, lasted = cpu_seconds(real) - before, time.monotonic() - started
    made = real.api("GET", f"/dags/{variant}/dagRuns/{run_id}")
    if made["state"] != "success":
        sys.exit(f"{variant} failed:\n{real.failures(variant, run_id)}")
    began, ended = epoch(made["start_date"]), epoch(made["end_date"])
    held = slots.average(began, ended)
    return (
        f"| {VARIANTS[variant]} | {ended - began:.0f} | {used:.1f} | {used - idle * lasted:.1f} "
        f"| {vendors.questions()} | {held:.2f} |"
    )


# ------------------------------------------------------------------------------------------------------ gates

LENGTHS = (60.0, 20.0, 5.0, 2.0, 0.5)
#: Seconds between two gates: their worker starts must not wait for one another.
APART = 3.5
GATES = {"gate": "as it comes", "gate_at_once": "`watch_on_worker=0`", "gate_every_2": "`poke_interval=2`"}


def gates(each: int = 3) -> list[str]:
    """Measure what a gate adds, one job after another."""
    begun: list[tuple[str, float, str, str]] = []
    with airflow(slots=8) as (real, vendors):
        for _, length, dag in itertools.product(range(each), LENGTHS, GATES):
            (one,) = new_ids([length])
            begun.append((dag, length, real.trigger(dag, {"ids": [one]}), one))
            time.sleep(APART)
        found: dict[tuple[str, float], list[tuple[float, float]]] = {}
        for dag, length, run_id, one in begun:
            wait_for(real, dag, run_id)
            (task,) = real.task_instances(dag, run_id)
            if task["state"] != "success":
                sys.exit(f"a gate failed:\n{real.failures(dag, run_id)}")
            ended, job = epoch(task["end_date"]), vendors.jobs[one]
            found.setdefault((dag, length), []).append((ended - job.ended_at, ended - epoch(task["start_date"])))
    rows = []
    for length in sorted(LENGTHS):
        cells = [_spread(pair[part] for pair in found[dag, length]) for part in (0, 1) for dag in GATES]
        rows.append(f"| {length:g} | " + " | ".join(cells) + " |")
    return [
        f"**What a gate adds**, s: median (least to most) of {each} jobs of each length",
        "",
        "| job, s | " + " | ".join(f"{what}, {title}" for what in ("added", "start to end") for title in GATES.values()) + " |",
        "|---" * 7 + "|",
        *rows,
    ]


def _spread(numbers: Iterable[float]) -> str:
    known = sorted(numbers)
    return f"{statistics.median(known):.1f} ({known[0]:.1f} to {known[-1]:.1f})"


# ------------------------------------------------------------------------------------------------------- race

LOST = "but the task instance's state"
#: Airflow's own setting, which RealAirflow lowers: a task's process may linger so long, and its slot's report comes so late.
LINGERING = {"AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5"}


def race(tasks: int = 200, slots: Iterable[int] = (8,), shortest: Iterable[str] = ("0", "")) -> list[str]:
    """Count the healthy tasks that are lost when jobs end 0 to 4 s after the worker's look; "" is the default."""
    rows = []
    for number, seconds in itertools.product(slots, shortest):
        setting = {"AIRFLOW__DOCSTATUS__SHORTEST_DEFERRAL": seconds} if seconds else {}
        with airflow(slots=number, per_minute=60_000, **LINGERING, **setting) as (real, _):
            dice = random.Random(SEED)
            run_id = run(real, "race", new_ids(dice.uniform(0.0, 4.0) for _ in range(tasks)))
            mapped = [one for one in real.task_instances("race", run_id) if one["task_id"] == "wait"]
            failed = [one for one in mapped if one["state"] == "failed"]
            log = (real.home / "out" / "scheduler.log").read_text(errors="replace")
            lines = [line for line in log.splitlines() if LOST in line]
            if len(failed) != sum(one["state"] != "success" for one in mapped):
                sys.exit("some are neither failed nor well")
            rows.append(f"| {number} | {seconds or '5 (default)'} | {len(failed)} of {len(mapped)} | {len(lines)} |")
            say(rows[-1] + (f"\n{lines[0][:400]}" if lines else ""))
    return [
        "**Healthy tasks that Airflow lost**, jobs that end 0 to 4 s after the task has deferred",
        "",
        "| slots | `shortest_deferral`, s | lost | lines of the scheduler that say so |",
        "|---|---|---|---|",
        *rows,
    ]


# ---------------------------------------------------------------------------------------------------- metrics


@contextlib.contextmanager
def statsd() -> Iterator[tuple[int, list[str]]]:
    """Listen as a statsd does; yield the port, and the lines as they arrive."""
    lines: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(0.2)
        stopped = threading.Event()

        def listen() -> None:
            while not stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    lines.extend(listening.recv(65_536).decode().splitlines())

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1], lines
        finally:
            stopped.set()
            thread.join()


def metrics() -> list[str]:
    """Show what arrives at a statsd while four waits go through one 429."""
    with statsd() as (port, lines):
        settings = {"ON": "True", "HOST": "127.0.0.1", "PORT": str(port), "PREFIX": "airflow"}
        environment = {f"AIRFLOW__METRICS__STATSD_{name}": value for name, value in settings.items()}
        with airflow(slots=4, **environment) as (real, vendors):
            lines.clear()
            ids = new_ids([15.0] * 4)
            runs = [real.trigger("gate_at_once", {"ids": [one]}) for one in ids]
            until = time.monotonic() + 60
            while real.pool()["deferred_slots"] < len(ids):
                if time.monotonic() > until:
                    sys.exit("the gates did not defer")
                time.sleep(0.5)
            vendors.answer_next(429, headers={"Retry-After": "2"}, path="/v1/documents/jobs/")
            for run_id in runs:
                wait_for(real, "gate_at_once", run_id)
    ours = [line for line in lines if "docstatus" in line]
    wanted = {"polls", "throttles", "wait", "open_waits"}
    arrived = {name for name in wanted if any(f".{name}:" in line for line in ours)}
    counted = [f"{line} ({ours.count(line)} times)" if ours.count(line) > 1 else line for line in dict.fromkeys(ours)]
    missing = f" MISSING: {', '.join(sorted(wanted - arrived))}" if wanted - arrived else ""
    return [
        f"**What arrives at a statsd** from the triggerer, four waits and one 429:{missing}",
        "",
        *(f"    {line}" for line in counted),
    ]


# ------------------------------------------------------------------------------------------------------- main

SECTIONS: dict[str, Callable[..., list[str]]] = {
    "waits": waits,
    "gates": gates,
    "race": race,
    "metrics": metrics,
    "leaks": leaks,
}


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description="Measure waiting on a real Airflow.")
    words.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas")
    words.add_argument("--variants", default=",".join(VARIANTS), help="waits: which ones, with commas")
    words.add_argument("--each", type=int, default=3, help="gates: jobs of each length")
    words.add_argument("--tasks", type=int, default=200, help="race: how many tasks")
    words.add_argument("--slots", default="8", help="race: how many worker slots, with commas")
    words.add_argument(
        "--shortest", default="0,", help="race: values of [docstatus] shortest_deferral, with commas; empty: the default"
    )
    wanted = words.parse_args()
    options: dict[str, dict[str, Any]] = {
        "waits": {"only": wanted.variants.split(",")},
        "gates": {"each": wanted.each},
        "race": {
            "tasks": wanted.tasks,
            "slots": [int(one) for one in wanted.slots.split(",")],
            "shortest": wanted.shortest.split(","),
        },
    }
    for name in wanted.only.split(","):
        print("\n".join(SECTIONS[name](**options.get(name, {}))), end="\n\n", flush=True)
    print(
        f"Airflow {version('apache-airflow')}, SQLite, LocalExecutor, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, one run."
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
