"""Somebody marks or clears a deferred task: the vendor is not asked any more."""

from __future__ import annotations

import pytest

from tests.e2e.real_airflow import RealAirflow
from tests.e2e.rough_run import ACTED_UPON, ACTS, RoughRun

SILENT_WITHIN = 5.0  # seconds; one loop of a triggerer's two processes is up to two
WATCHED = 30.0  # seconds: six times the poke_interval


@pytest.mark.parametrize("act", ACTS)
def test_nobody_asks_for_a_wait_that_is_no_more(rough_run: RoughRun, act: str) -> None:
    """Soon after the act no request about its id comes, while the other waits' requests go on."""
    planned = rough_run.acted_upon[ACTS.index(act)]
    since = rough_run.acted_at + SILENT_WITHIN
    assert rough_run.requests_for(planned) > 1
    assert rough_run.requests_for(planned, since) == 0
    others = sum(rough_run.requests_for(one, since) > 1 for one in rough_run.planned)
    assert others == len(rough_run.planned), "nobody was asked for, so this proves nothing"
    assert rough_run.vendors.requests[-1].time - since > WATCHED


def test_the_tasks_stay_as_they_were_left(real_airflow: RealAirflow, rough_run: RoughRun) -> None:
    """Neither a take-over nor a triggerer that wakes up resurrects them."""
    instances = real_airflow.task_instances(ACTED_UPON, rough_run.acted_upon_run_id)
    states = {one["map_index"]: one["state"] for one in instances if one["task_id"] == "wait"}
    assert [states[number] for number, _ in enumerate(ACTS)] == ["failed", "success", "scheduled"]
