"""Two triggerers, one killed and one stopped for too long in the middle of the waits: none lost, none twice, all ends right."""

from __future__ import annotations

import pytest

from tests.e2e.real_airflow import TRIGGERER_DEAD_AFTER, RealAirflow
from tests.e2e.rough_run import ACTS, DAG, OTHERS, OTHERS_TIMEOUT, RoughRun
from tests.e2e.waits import START_TAKES, ends_of, not_as_planned, starts_of

TAKEN_OVER_WITHIN = TRIGGERER_DEAD_AFTER + 12.0  # a third triggerer starts meanwhile
TIMED_OUT_WITHIN = 15.0


def test_a_triggerer_with_waits_was_killed_and_another_was_stopped_for_too_long(
    real_airflow: RealAirflow, rough_run: RoughRun
) -> None:
    """Without this the other claims say nothing: Airflow 3.3 even took the loss of the waits for a user's act."""
    assert rough_run.of_the_killed
    assert rough_run.of_the_stopped
    assert rough_run.woken_at - rough_run.stopped_at > TRIGGERER_DEAD_AFTER
    texts = [file.read_text(errors="replace") for place in ("out", "logs") for file in (real_airflow.home / place).rglob("*.log")]
    assert sum(text.count("Trigger cancelled by user action, invoking on_kill") for text in texts) > len(ACTS)


def test_every_wait_ends_as_it_must(real_airflow: RealAirflow, rough_run: RoughRun) -> None:
    """Succeeded, partial, review, failed, cancelled, timed out, skipped, a list: in the first try, its status in XCom."""
    wrong = not_as_planned(real_airflow, DAG, rough_run.run_id, rough_run.planned)
    wrong += not_as_planned(real_airflow, OTHERS, rough_run.others_run_id, rough_run.others)
    assert not wrong, "\n".join(wrong) + "\n" + real_airflow.failures(OTHERS, rough_run.others_run_id)
    instances = real_airflow.task_instances(OTHERS, rough_run.others_run_id)
    assert [one["state"] for one in instances if one["task_id"] == "extract"] == ["success"] * len(rough_run.extractions)
    killed, stopped = len(rough_run.of_the_killed), len(rough_run.of_the_stopped)
    first, second = rough_run.take_overs
    print(
        f"\n{len(rough_run.planned)} + {len(rough_run.others)} waits: {killed} taken over {first:.0f} s after a SIGKILL, "
        f"{stopped} {second:.0f} s after a SIGSTOP of {rough_run.woken_at - rough_run.stopped_at:.0f} s; all ends right"
    )


@pytest.mark.parametrize("dag_id", [DAG, OTHERS])
def test_no_wait_ends_or_resumes_twice(real_airflow: RealAirflow, rough_run: RoughRun, dag_id: str) -> None:
    """Airflow logged for each wait one deferral, two legs, and one end."""
    planned = {DAG: rough_run.planned, OTHERS: rough_run.others}[dag_id]
    legs = {"running": 2, "deferred": 1}
    assert ends_of(real_airflow, dag_id) == {number: legs | {plan.task: 1} for number, plan in enumerate(planned)}


def test_the_waits_change_hands_as_soon_as_airflow_knows(rough_run: RoughRun) -> None:
    """What is added to Airflow's own threshold is short."""
    assert max(rough_run.take_overs) < TAKEN_OVER_WITHIN, rough_run.take_overs


def test_no_deadline_moves(real_airflow: RealAirflow, rough_run: RoughRun) -> None:
    """The arguments of each wait's trigger never changed, and its deadline is its own start and time-out."""
    runs = ((DAG, rough_run.run_id, rough_run.planned, 600.0), (OTHERS, rough_run.others_run_id, rough_run.others, 3600.0))
    for dag_id, run_id, planned, default in runs:
        started = starts_of(real_airflow, dag_id, run_id)
        for number, plan in enumerate(planned):
            (kwargs,) = rough_run.watch.kwargs[dag_id, "wait", number]
            timeout = plan.arguments.get("timeout", default)
            assert 0 <= kwargs["deadline"] - (started[number] + timeout) < START_TAKES, (dag_id, number)


def test_a_wait_times_out_at_its_deadline_and_not_later_for_a_restart(rough_run: RoughRun) -> None:
    """A clock that began anew at the take-over would end these waits a minute later."""
    endless = [(OTHERS, "wait", number) for number, plan in enumerate(rough_run.others) if "timeout" in plan.arguments]
    assert endless
    for key in endless:
        deadline = rough_run.watch.kwargs[key][0]["deadline"]
        assert deadline - OTHERS_TIMEOUT < rough_run.killed_at - TIMED_OUT_WITHIN - 5, "the kill came too early to tell"
        assert 0 <= rough_run.watch.left_at[key] - deadline < TIMED_OUT_WITHIN, key
