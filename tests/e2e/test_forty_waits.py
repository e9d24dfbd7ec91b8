"""Forty waits, two worker slots, real processes: what deferring is for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import FINAL_RUN_STATES, RealAirflow

WAITS = 40
SLOTS = 2  # what RealAirflow starts with
JOB_SECONDS = 90.0
POLL_SECONDS = 5.0  # poke_interval of dags/forty_waits.py
MARGIN_SECONDS = 20.0  # picking up triggers and events, the scheduler's loop, and this test looking once a second
LEG_ENDS_WITHIN = 3.0  # a task is "deferred" a moment before its process is gone
LIMIT_SECONDS = 420.0
DAG = "forty_waits"


@dataclass
class Sample:
    """What was seen at one moment, in seconds since the run was triggered."""

    at: float
    busy: int
    taken: int
    deferred: int


@dataclass
class Run:
    """A finished run and how it went."""

    run_id: str
    state: str
    waits: list[dict[str, Any]]
    makespan: float
    samples: list[Sample] = field(repr=False)

    @property
    def all_deferred(self) -> list[Sample]:
        """The moments at which every wait was deferred, those of the last leg's end left out."""
        moments = [sample for sample in self.samples if sample.deferred == WAITS]
        return [sample for sample in moments if sample.at > moments[0].at + LEG_ENDS_WITHIN]


@pytest.fixture(scope="module")
def run(real_airflow: RealAirflow, vendors: StandInVendors) -> Run:
    """Run forty waits for ninety-second jobs of the three services to their end, looking once a second."""
    real_airflow.wait_for_dag(DAG)
    waits = [wait_for_a_new_job(vendors, number) for number in range(WAITS)]
    started, samples = time.monotonic(), []
    run_id = real_airflow.trigger(DAG, {"waits": waits})
    while (state := real_airflow.run_state(DAG, run_id)) not in FINAL_RUN_STATES:
        pool = real_airflow.pool()
        sample = Sample(
            at=time.monotonic() - started,
            busy=real_airflow.busy_slots(),
            taken=pool["running_slots"] + pool["queued_slots"],
            deferred=pool["deferred_slots"],
        )
        samples.append(sample)
        assert sample.at < LIMIT_SECONDS, f"the run does not end: {sample}"
        time.sleep(1)
    return Run(run_id, state, waits, time.monotonic() - started, samples)


def wait_for_a_new_job(vendors: StandInVendors, number: int) -> dict[str, Any]:
    """Give a service a job and return the sensor's arguments that wait for it."""
    if number % 3 == 0:
        page = {"job_page_url": page_of(number)}
        return {
            "conn_id": "neurolinker_default",
            "request_id": vendors.add_job("neurolinker", seconds=JOB_SECONDS, reply=page),
        }
    if number % 3 == 1:
        return {"conn_id": "aitronos_default", "job_id": vendors.add_job("aitronos", seconds=JOB_SECONDS)}
    return {
        "conn_id": "unsiloed_default",
        "job_id": vendors.add_job("unsiloed", seconds=JOB_SECONDS),
        "operation": "extract",
    }


def page_of(number: int) -> str:
    """Return the vendor's page of a job."""
    return f"https://neurolinker.example/jobs/{number}"


def test_all_forty_waits_succeed(real_airflow: RealAirflow, run: Run) -> None:
    """Every job ended well, so every wait does."""
    assert run.state == "success", real_airflow.failures(DAG, run.run_id)


def test_no_worker_slot_is_in_use_while_all_are_deferred(run: Run) -> None:
    """Neither Airflow's count nor the operating system knows of a running task, for as long as nothing has ended."""
    quiet = run.all_deferred
    assert len(quiet) >= JOB_SECONDS / 6, f"all {WAITS} were seen deferred only {len(quiet)} times: {run.samples}"
    assert {(sample.busy, sample.taken) for sample in quiet} == {(0, 0)}
    assert max(sample.busy for sample in run.samples) == SLOTS, "busy_slots() sees nothing, so it proves nothing"


def test_the_whole_takes_the_longest_job_and_not_the_sum(run: Run) -> None:
    """Beside the job there are only the legs, two for each wait; what a leg costs here is measured in the same run."""
    one_leg_each = next(sample.at for sample in run.samples if sample.deferred == WAITS)
    print(
        f"\n{WAITS} waits of {JOB_SECONDS:.0f} s on {SLOTS} slots: {run.makespan:.0f} s in all, "
        f"{one_leg_each * SLOTS / WAITS:.2f} s a leg, deferred together for {len(run.all_deferred)} looks"
    )
    assert run.makespan <= JOB_SECONDS + POLL_SECONDS + 2 * one_leg_each + MARGIN_SECONDS
    assert run.makespan < JOB_SECONDS * WAITS / SLOTS / 4


def test_the_status_of_each_wait_is_in_xcom(real_airflow: RealAirflow, run: Run) -> None:
    """The small status dict says the same of every service."""
    for map_index in range(3):
        wait = run.waits[map_index]
        status = real_airflow.xcom(DAG, run.run_id, "wait", map_index=map_index)
        assert status["service"] == wait["conn_id"].removesuffix("_default")
        assert status["id"] == wait.get("request_id", wait.get("job_id"))
        assert status["state"] == "succeeded"


def test_the_vendors_page_is_an_extra_link(real_airflow: RealAirflow, run: Run) -> None:
    """The link the vendor gave is on the task's page."""
    assert page_of(0) in real_airflow.links(DAG, run.run_id, "wait", map_index=0).values()


def test_no_key_is_in_any_log(real_airflow: RealAirflow, run: Run, vendors: StandInVendors) -> None:
    """Neither a task's log nor that of a process holds a key."""
    assert run.samples
    logs = [file for folder in ("logs", "out") for file in (real_airflow.home / folder).rglob("*") if file.is_file()]
    assert logs
    for file in logs:
        text = file.read_text(errors="replace")
        assert not [service for service, key in vendors.keys.items() if key in text], file
