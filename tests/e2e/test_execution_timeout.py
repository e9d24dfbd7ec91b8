"""``execution_timeout`` passes while a task is deferred: it ends soon, as Airflow's own time-out, and is retried as it says."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from airflow_provider_docstatus._compat import AirflowTaskTimeout
from airflow_provider_docstatus.airflow_errors import for_airflow
from airflow_provider_docstatus.exceptions import ExecutionTimedOut
from airflow_provider_docstatus.waiting.wait import epoch
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.rough_run import OUT_OF_TIME, RoughRun
from tests.e2e.waits import ids_of, not_as_planned

LIMIT = 15.0  # of dags/rough_waits.py
FIRES_WITHIN = 3.0  # seconds
ENDS_WITHIN = 25.0  # seconds; then the scheduler's loop and a worker's start, on two cores that start fifty other waits
PLAIN, SOFT, LIST = range(3)

TRIES = {
    PLAIN: {1: "running deferred running up_for_retry", 2: "running deferred running failed"},
    SOFT: {1: "running deferred running skipped"},
    LIST: {1: "running deferred running up_for_retry", 2: "running deferred running failed"},
}
"""What Airflow logs of each wait's tries."""


def end_in_log(airflow: RealAirflow, run: RoughRun, number: int, try_number: int) -> list[tuple[str | None, str]]:
    """Return what a try's log says of its end: the exception's class (none for a skip), and the text."""
    entries = airflow.task_log_entries(OUT_OF_TIME, run.late_run_id, "wait", try_number=try_number, map_index=number)
    errors: list[dict[str, Any]] = [one for entry in entries for one in entry.get("error_detail") or ()]
    skips = [(None, entry["reason"]) for entry in entries if entry["event"] == "Skipping task."]
    return [*((one["exc_type"], one["exc_value"]) for one in errors), *skips]


@pytest.mark.parametrize("number", TRIES)
def test_the_task_is_retried_as_it_says(real_airflow: RealAirflow, rough_run: RoughRun, number: int) -> None:
    """Up for retry while it has retries left, then failed; skipped at once under soft_fail."""
    rows = real_airflow.read("SELECT dag_id, map_index, try_number, event FROM log WHERE task_id = 'wait' ORDER BY id")
    events = [row for row in rows if (row["dag_id"], row["map_index"]) == (OUT_OF_TIME, number)]
    grouped = itertools.groupby(events, key=lambda row: int(row["try_number"]))
    assert {one: " ".join(row["event"] for row in of_one) for one, of_one in grouped} == TRIES[number]
    assert rough_run.watch.states[OUT_OF_TIME, "wait", number] == rough_run.late[number].task


def test_the_last_state_is_in_xcom(real_airflow: RealAirflow, rough_run: RoughRun) -> None:
    """As it is for every other end."""
    may_retry = [number for number, tries in TRIES.items() if len(tries) > 1]
    assert not not_as_planned(real_airflow, OUT_OF_TIME, rough_run.late_run_id, rough_run.late, may_retry)


@pytest.mark.parametrize(("number", "try_number"), [(number, one) for number, tries in TRIES.items() for one in tries])
def test_the_log_says_what_was_last_known(real_airflow: RealAirflow, rough_run: RoughRun, number: int, try_number: int) -> None:
    """The exception is Airflow's time-out, and tells the last state and that the job goes on."""
    assert isinstance(for_airflow(ExecutionTimedOut("late")), AirflowTaskTimeout)
    ((kind, text),) = end_in_log(real_airflow, rough_run, number, try_number)
    assert kind == (None if number == SOFT else ExecutionTimedOut.__name__)
    one = re.escape(ids_of(rough_run.late[number])[0])
    assert re.search(rf"{one} was not finished 1[5-8] s after the start: last state running \('processing'\)", text), text
    assert "left alone" in text


@pytest.mark.parametrize("number", TRIES)
def test_each_try_ends_soon_after_its_own_limit(real_airflow: RealAirflow, rough_run: RoughRun, number: int) -> None:
    """Counted from that try's start, the time it was deferred included."""
    path = f"/dags/{OUT_OF_TIME}/dagRuns/{rough_run.late_run_id}/taskInstances/wait/{number}/tries"
    tries = {one["try_number"]: one for one in real_airflow.api("GET", path)["task_instances"]}
    assert tries.keys() == TRIES[number].keys()
    for try_number, one in tries.items():
        entries = real_airflow.task_log_entries(
            OUT_OF_TIME, rough_run.late_run_id, "wait", try_number=try_number, map_index=number
        )
        (fired_at,) = (entry["timestamp"] for entry in entries if entry["event"] == "Trigger fired event")
        start, fired, end = map(epoch, (one["start_date"], fired_at, one["end_date"]))
        print(f"\nwait {number}, try {try_number}: event {fired - start:.1f} s after its start, end {end - start:.1f} s")
        assert LIMIT <= fired - start < LIMIT + FIRES_WITHIN
        assert fired < end < start + LIMIT + ENDS_WITHIN


@pytest.mark.parametrize("number", TRIES)
def test_the_job_is_only_ever_asked_for(rough_run: RoughRun, number: int) -> None:
    """No other request about it reaches the vendor."""
    for job_id in ids_of(rough_run.late[number]):
        assert {record.method for record in rough_run.vendors.requests if job_id in record.path} == {"GET"}
