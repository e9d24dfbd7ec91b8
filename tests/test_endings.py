"""Every end of a wait, in every mode, under every flag, for one id and for a list: what ``endings.py`` says of it."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import TaskDeferred

from airflow_provider_docstatus import gate, poller, triggers
from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_provider_docstatus.exceptions import DocStatusError
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.testing import StandInVendors
from tests.endings import DEFERRABLE, ENDS, FAILED, MIXED, POKE, RESCHEDULE, RETRY, SKIPPED, SUCCESS, End
from tests.task_runs import (
    FakeTaskInstance,
    event_of,
    hurry,
    no_reschedules_in_the_database,
    run_rescheduled,
    travelled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLAGS = (None, "soft_fail", "never_fail", "silent_fail")
#: Seconds: when a wait is over, when it has stalled, and by how much each question makes time pass.
TIMEOUT, STALLED_AFTER, STEP = 1000.0, 600.0, 700.0
HTML = {"status": 200, "body": "<html>Please log in</html>", "content_type": "text/html"}
LONG_AGO = datetime.now(timezone.utc) - timedelta(days=8)

#: How a job ends that the vendor ended, as fields of the stand-in's job.
JOBS: dict[str, dict[str, Any]] = {
    "partial": {"word": "partial"},
    "review": {"ends": "review"},
    "failed": {"ends": "failed"},
    "cancelled": {"word": "cancelled"},
    "expired": {"word": "expired"},
    "unknown word": {"word": "archived"},
}
#: What is answered for a job from the second question on, where it is not the truth.
FAULTS: dict[str, dict[str, Any]] = {
    "expired, by a 410": {"status": 410, "body": {"detail": "Gone"}},
    "expired, by the run's age": {"status": 404, "body": {"detail": "Job not found"}},
    "not found": {"status": 404, "body": {"detail": "Job not found"}},
    "rejected key": {"status": 401, "body": {"detail": "Invalid API key"}},
    "quota": {"status": 402, "body": {"detail": {"message": "Insufficient quota", "status": "QUOTA_EXCEEDED"}}},
    "refused": {"status": 422, "body": {"detail": "malformed id"}},
    "service down until the deadline": {"status": 503},
    "only garbage": HTML,
    "only garbage, nothing remembered": HTML,
}
#: What does not end by itself.
ENDLESS = ("stalled", "timed out", "execution_timeout", "no triggerer", "trigger crash", "unknown event")
#: Where time passes between two questions.
SLOW = (*ENDLESS[:4], "service down until the deadline", "only garbage", "only garbage, nothing remembered", "unknown word")
#: More arguments of the task.
ASKS: dict[str, dict[str, Any]] = {
    "partial, accepted": {"accept": ("partial",)},
    "review, accepted": {"accept": ("review",)},
    "failed, with all accepted": {"accept": ("partial", "review")},
    "cancelled, with all accepted": {"accept": ("partial", "review")},
    "stalled": {"stalled_after": STALLED_AFTER},
    "only garbage": {"timeout": 10 * TIMEOUT},
    "unknown word": {"timeout": 10 * TIMEOUT},
    "execution_timeout": {"timeout": 10 * TIMEOUT, "execution_timeout": timedelta(seconds=TIMEOUT)},
}


class Clock:
    """Stands in for the module ``time``: each question after the first makes time pass."""

    sleep, monotonic = staticmethod(time.sleep), staticmethod(time.monotonic)

    def __init__(self, vendors: StandInVendors) -> None:
        self.vendors = vendors
        self.start(0.0)

    def start(self, step: float) -> None:
        """Begin anew, with so many seconds for a question."""
        self.before, self.step = len(self.vendors.requests), step

    def time(self) -> float:
        return time.time() + self.step * max(0, len(self.vendors.requests) - self.before - 1)


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors, pytest.MonkeyPatch.context() as patch:
        for name, value in vendors.environment().items():
            patch.setenv(name, value)
        hurry(patch)
        no_reschedules_in_the_database(patch)
        yield vendors


@pytest.fixture
def clock(server: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock(server)
    for module in (gate, triggers, poller):
        monkeypatch.setattr(module, "time", clock)
    yield clock
    server.answer_truly()


def arrange(vendors: StandInVendors, end: str, *, is_quick: bool = False) -> str:
    """
    Create a job that is running when it is first asked for, and ends as told from then on; return its id.

    :param is_quick: let it have ended already when it is first asked for, unless that takes time.
    """
    job_id = vendors.add_job("unsiloed", **JOBS.get(end.partition(",")[0], {}))
    running = {"job_id": job_id, "status": "processing", "updated_at": datetime.now(timezone.utc).isoformat()}
    vendors.answer_next(200, body=running, path=job_id, times=math.inf if end in ENDLESS else 0 if is_quick else 1)
    if end in FAULTS:
        vendors.answer_next(**FAULTS[end], path=job_id, times=math.inf)
    return job_id


def asked(mode: str, name: str, flag: str | None = None, /, **asks: Any) -> dict[str, Any]:
    """Return the arguments of a task that waits in a mode, under a flag."""
    how: dict[str, Any] = {"deferrable": mode == DEFERRABLE, "watch_on_worker": 0, "poke_interval": 0.005, "timeout": TIMEOUT}
    named = {"task_id": "gate", "conn_id": "unsiloed_default", "operation": "extract", "grace": 0}
    return {**named, **how, **ASKS.get(name, {}), **({flag: True} if flag else {}), **asks}


def context_of(name: str, ti: FakeTaskInstance) -> dict[str, Any]:
    """Return a task's context: its instance and its run."""
    return {"ti": ti, "dag_run": SimpleNamespace(run_after=LONG_AGO if name == "expired, by the run's age" else None)}


def end_of(run: Callable[[], Any]) -> BaseException | None:
    """Return the exception that a task ends with, None for success."""
    try:
        run()
    except BaseException as error:  # noqa: BLE001 -- AirflowTaskTimeout is one
        return error
    return None


def undeferred(mode: str, name: str, ids: Any, flag: str | None, **asks: Any) -> tuple[BaseException | None, FakeTaskInstance]:
    """Run a sensor to its end in poke or reschedule mode; return what it ended with, and its instance."""
    ti = FakeTaskInstance()
    how = asked(mode, name, flag, mode=mode, job_id=ids, **asks)
    return end_of(lambda: run_rescheduled(lambda: DocStatusSensor(**how), ti, context_of(name, ti))), ti


def left_by_airflow(name: str, make: Callable[[], Any], ti: FakeTaskInstance) -> tuple[str, dict[str, Any]]:
    """Defer a task, wait for it in a triggerer where there is one; return the method and the arguments it is resumed with."""
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(context_of(name, ti))
    if name.startswith("trigger crash"):
        return "__fail__", {"error": "Trigger failure"}
    if name.startswith("no triggerer"):
        return "__fail__", {"error": "Trigger/execution timeout"}
    event = {"version": 2} if name == "unknown event" else asyncio.run(event_of(travelled(deferred.value.trigger)))
    return deferred.value.method_name, {"event": event}


def fate(error: BaseException | None) -> str:
    """Return the state that Airflow gives a task with retries left; all lines agree (_run_raw_task, task_runner.run)."""
    if error is None:
        return SUCCESS
    if isinstance(error, AirflowSkipException):
        return SKIPPED
    return FAILED if isinstance(error, (AirflowFailException, AirflowSensorTimeout)) else RETRY


def check(error: BaseException | None, end: Any, flag: str | None) -> None:
    """Check what a task ended with against the table."""
    assert fate(error) == (end.soft if flag in ("soft_fail", "never_fail") else end.state), repr(error)
    if error is None:
        return
    told = error.__cause__ if isinstance(error, AirflowSkipException) else error
    assert {one.__name__ for one in type(told).__mro__} >= set(end.raises)
    assert str(error) == str(told), "a skip says why"


def pace(name: str) -> float:
    """Return by how many seconds a question makes time pass."""
    return STEP if name in SLOW else 5 * TIMEOUT if name == "finished, but found late" else 0.0


def flags_of(name: str, *, is_list: bool) -> tuple[str | None, ...]:
    """Return under which flags an end is looked at: all four, but two for lists and for variants, whose way is the same."""
    return FLAGS[:2] if is_list or not ENDS[name].means else FLAGS


@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for name, end in ENDS.items() for mode in end.modes if mode != DEFERRABLE]
)
def test_a_wait_on_a_worker_ends_as_the_table_says(server, clock, name, mode, is_list):
    for flag in flags_of(name, is_list=is_list):
        clock.start(pace(name))
        job_id = arrange(server, name)
        error, ti = undeferred(mode, name, [job_id, server.add_job("unsiloed")] if is_list else job_id, flag)
        check(error, ENDS[name], flag)
        check_what_is_told(error, ti, ENDS[name], job_id, is_list=is_list, is_known=mode == POKE or name not in FAULTS)


@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize("name", [name for name, end in ENDS.items() if DEFERRABLE in end.modes])
def test_a_deferred_wait_ends_as_the_table_says(server, clock, name, is_list):
    clock.start(pace(name))
    job_id = arrange(server, name)
    ids = [job_id, server.add_job("unsiloed")] if is_list else job_id
    before = FakeTaskInstance()
    way = left_by_airflow(name, lambda: DocStatusSensor(**asked(DEFERRABLE, name, job_id=ids)), before)
    for flag in FLAGS:
        ti, resumed = replace(before, xcoms=dict(before.xcoms)), DocStatusSensor(**asked(DEFERRABLE, name, flag, job_id=ids))
        error = end_of(lambda: resumed.resume_execution(*way, context_of(name, ti)))  # noqa: B023 -- called at once
        check(error, ENDS[name], flag)
        check_what_is_told(error, ti, ENDS[name], job_id, is_list=is_list, is_known=True)


def check_what_is_told(
    error: BaseException | None, ti: FakeTaskInstance, end: End, job_id: str, *, is_list: bool, is_known: bool
) -> None:
    """Check the XCom, and that ``on_failure_callback`` finds on the exception what the message says."""
    if is_list:
        assert (XCOM_KEY in ti.xcoms) is bool(end.told)
        assert not end.told or job_id in ti.xcoms[XCOM_KEY]["ids"][end.told]
        assert not end.told or (job_id in ti.xcoms[XCOM_KEY]["errors"]) is bool(end.raises)
        return
    state = end.xcom if is_known else None
    assert ti.xcoms.get(XCOM_KEY, {}).get("state") == state
    told = error.__cause__ if isinstance(error, AirflowSkipException) else error
    if isinstance(told, DocStatusError) and end.told:
        assert (told.service, told.id, told.state) == ("unsiloed", job_id, state)
    if end.told == "timed_out":
        assert "was left alone" in str(told)
        assert ("last state running ('processing')" if is_known else "no status was heard") in str(told)


@pytest.mark.parametrize("mode", [POKE, DEFERRABLE])
@pytest.mark.parametrize("name", [name for name, end in ENDS.items() if end.means])
def test_the_operator_ends_as_the_sensor_does(server, clock, name, mode):
    end, ti = ENDS[name], FakeTaskInstance()
    clock.start(pace(name))
    job_id = arrange(server, name)
    asks = {**asked(mode, name, job_id=job_id), "wait_for_completion": True}
    if mode == DEFERRABLE:
        way = left_by_airflow(name, lambda: ExtractedDataOperator(**asks), ti)
        error = end_of(lambda: ExtractedDataOperator(**asks).resume_execution(*way, context_of(name, ti)))
    elif mode in end.modes:
        error = end_of(lambda: ExtractedDataOperator(**asks).execute(context_of(name, ti)))
    else:
        return  # ends so in the triggerer alone
    check(error, end, None)
    assert ti.xcoms[XCOM_KEY]["state"] == end.xcom


@pytest.mark.parametrize("mode", [POKE, RESCHEDULE, DEFERRABLE])
@pytest.mark.parametrize("name", MIXED)
def test_a_list_of_mixed_ends_ends_as_the_table_says(server, clock, name, mode):
    mixed = MIXED[name]
    asks = {**mixed.asks, **({"stalled_after": STALLED_AFTER} if "stalled" in mixed.ends else {})}
    for flag in FLAGS[:2]:
        clock.start(STEP if set(mixed.ends) & set(SLOW) else 0.0)
        ids = [arrange(server, end, is_quick=True) for end in mixed.ends]
        if mode == DEFERRABLE:
            sensor, ti = DocStatusSensor(**asked(mode, "", flag, job_id=ids, **asks)), FakeTaskInstance()
            way = left_by_airflow("", lambda: sensor, ti)  # noqa: B023 -- called at once
            error = end_of(lambda: sensor.resume_execution(*way, context_of("", ti)))  # noqa: B023 -- called at once
        else:
            error, ti = undeferred(mode, "", ids, flag, **asks)
        check(error, mixed, flag)
        assert ti.xcoms[XCOM_KEY]["counts"] == mixed.counts
        accepted = {"succeeded", *mixed.asks.get("accept", ())}
        bad = {one for one, end in zip(ids, mixed.ends, strict=True) if end not in accepted}
        assert ti.xcoms[XCOM_KEY]["errors"].keys() == bad
