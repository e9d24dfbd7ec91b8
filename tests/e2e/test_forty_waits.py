"""Forty waits, two worker slots, real processes: what deferring is for."""

from __future__ import annotations

import pytest

from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.rough_run import DAG, JOB_SECONDS, SLOTS, WAITS, RoughRun, page_of

POLL_SECONDS = 5.0  # poke_interval of dags/forty_waits.py
MARGIN_SECONDS = 20.0  # picking up triggers and events, the scheduler's loop, and the test looking once a second


@pytest.fixture(scope="module")
def run(rough_run: RoughRun) -> RoughRun:
    """Run forty waits for ninety-second jobs of the three services to their end, looking once a second."""
    return rough_run


def test_all_forty_waits_succeed(real_airflow: RealAirflow, run: RoughRun) -> None:
    """Every job ended well, so every wait does."""
    assert run.state == "success", real_airflow.failures(DAG, run.run_id)


def test_no_worker_slot_is_in_use_while_all_are_deferred(run: RoughRun) -> None:
    """Neither Airflow's count nor the operating system knows of a running task, for as long as nothing has ended."""
    quiet = run.all_deferred
    assert len(quiet) >= JOB_SECONDS / 6, f"all {WAITS} were seen deferred only {len(quiet)} times: {run.samples}"
    assert {(sample.busy, sample.taken) for sample in quiet} == {(0, 0)}
    assert max(sample.busy for sample in run.samples) == SLOTS, "busy_slots() sees nothing, so it proves nothing"


def test_the_whole_takes_the_longest_job_and_not_the_sum(run: RoughRun) -> None:
    """Beside the job there are only the legs, two for each wait; what a leg costs here is measured in the same run."""
    one_leg_each = next(sample.at for sample in run.samples if sample.deferred == WAITS)
    print(
        f"\n{WAITS} waits of {JOB_SECONDS:.0f} s on {SLOTS} slots: {run.makespan:.0f} s in all, "
        f"{one_leg_each * SLOTS / WAITS:.2f} s a leg, deferred together for {len(run.all_deferred)} looks"
    )
    assert run.makespan <= JOB_SECONDS + POLL_SECONDS + 2 * one_leg_each + MARGIN_SECONDS
    assert run.makespan < JOB_SECONDS * WAITS / SLOTS / 4


def test_the_status_of_each_wait_is_in_xcom(real_airflow: RealAirflow, run: RoughRun) -> None:
    """The small status dict says the same of every service."""
    for map_index in range(3):
        wait = run.planned[map_index].arguments
        status = real_airflow.xcom(DAG, run.run_id, "wait", map_index=map_index)
        assert status["service"] == wait["conn_id"].removesuffix("_default")
        assert status["id"] == wait.get("request_id", wait.get("job_id"))
        assert status["state"] == "succeeded"


def test_the_vendors_page_is_an_extra_link(real_airflow: RealAirflow, run: RoughRun) -> None:
    """The link the vendor gave is on the task's page."""
    assert page_of(0) in real_airflow.links(DAG, run.run_id, "wait", map_index=0).values()


def test_no_key_is_in_any_log(real_airflow: RealAirflow, run: RoughRun, vendors: StandInVendors) -> None:
    """Neither a task's log nor that of a process holds a key."""
    assert run.samples
    logs = [file for folder in ("logs", "out") for file in (real_airflow.home / folder).rglob("*") if file.is_file()]
    assert logs
    for file in logs:
        text = file.read_text(errors="replace")
        assert not [service for service, key in vendors.keys.items() if key in text], file
