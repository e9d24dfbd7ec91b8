"""Every end of a wait, in every mode, under every flag, for one id and for a list: what ``endings.py`` says of it."""

from __future__ import annotations

import asyncio
import math
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import MagicMock

import pytest
from airflow.exceptions import TaskDeferred
from airflow.models import taskinstance

from airflow_provider_docstatus import operators, poller, sensors, task
from airflow_provider_docstatus._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    cannot_ask,
)
from airflow_provider_docstatus.airflow_errors import for_airflow
from airflow_provider_docstatus.exceptions import (
    Declined,
    DocStatusError,
    DocumentFailed,
    ExecutionTimedOut,
    Expired,
    KeyRejected,
    NotAsked,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    ReviewTimedOut,
    SchemaMismatch,
    Stalled,
    Uncertain,
    UnexpectedReply,
    WaitTimedOut,
)
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.transport import aio
from tests.endings import ASKED, DEFERRABLE, ENDS, FAILED, MIXED, POKE, RESCHEDULE, RETRY, SKIPPED, SUCCESS, End, Mixed
from tests.task_runs import (
    LONGEST,
    NOBODY,
    FakeTaskInstance,
    RequiredActions,
    answer,
    event_of,
    hurry,
    no_reschedules_in_the_database,
    parked_with,
    resumed_with,
    run_rescheduled,
    started,
    task_deferral_error,
    travelled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLAGS = (None, "soft_fail", "never_fail", "silent_fail")
#: Seconds: when a wait is over, when it has stalled, and by how much each question makes time pass.
TIMEOUT, STALLED_AFTER, STEP = 1000.0, 600.0, 700.0
HTML = {"status": 200, "body": "<html>Please log in</html>", "content_type": "text/html"}
NOW = datetime.now(timezone.utc)
LONG_AGO = NOW - timedelta(days=8)

#: How a job ends that the vendor ended, as fields of the stand-in's job.
JOBS: dict[str, dict[str, Any]] = {
    "partial": {"word": "partial"},
    "review": {"ends": "review"},
    "declined": {"ends": "review"},
    "review timed out": {"ends": "review"},
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
    "not asked": {"status": 429, "headers": {"Retry-After": "86400"}},
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
    "review, accepted by on_review": {"on_review": "accept"},
    "review, approved": {"on_review": "ask"},
    "declined": {"on_review": "ask"},
    "review timed out": {"on_review": "ask", "review_timeout": 60},
    "failed, with all accepted": {"accept": ("partial", "review")},
    "cancelled, with all accepted": {"accept": ("partial", "review")},
    "invalid": {"require": {"type": "array"}},
    "uncertain": {"min_confidence": 0.99},
    "uncertain, accepted": {"min_confidence": 0.99, "on_uncertain": "accept"},
    "uncertain, for a human": {"min_confidence": 0.99, "on_uncertain": "review"},
    "uncertain, review accepted": {"min_confidence": 0.99, "on_uncertain": "review", "accept": ("review",)},
    "good by every gate": {"require": {"type": "object"}, "min_confidence": 0.98},
    "stalled": {"stalled_after": STALLED_AFTER},
    "only garbage": {"timeout": 10 * TIMEOUT},
    "unknown word": {"timeout": 10 * TIMEOUT},
    "execution_timeout": {"timeout": 10 * TIMEOUT, "execution_timeout": timedelta(seconds=TIMEOUT)},
}


#: The ends that a sensor's gates cause.
GATED = [name for name, asks in ASKS.items() if asks.keys() & {"require", "min_confidence"}]
#: What Airflow resumes a task with that has asked a person.
ANSWERS = {"review, approved": answer("Approve"), "declined": answer("Reject"), "review timed out": NOBODY}


class Clock:
    """Gives the time: each request after the first makes time pass."""

    patch: pytest.MonkeyPatch

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
        hurry(patch, least_poll_interval=0.001)
        no_reschedules_in_the_database(patch)
        yield vendors


@pytest.fixture
def clock(server: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock(server)
    monkeypatch.setattr(poller, "Poller", partial(poller.Poller, clock=clock.time))
    for module in (sensors, operators, task):
        monkeypatch.setattr(module, "TaskWait", partial(task.TaskWait, clock=clock.time))
    clock.patch = monkeypatch
    if not cannot_ask():
        RequiredActions.opened(monkeypatch)
    monkeypatch.setattr(aio, "_limiters", {})  # a pause of the test before
    yield clock
    server.answer_truly()


class Deferral(NamedTuple):
    """A deferred task: the job it is about, the ids it waits for, its instance, and how Airflow resumes it."""

    job_id: str
    ids: Any
    ti: FakeTaskInstance
    way: tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def deferred() -> Callable[[object, Callable[[], Deferral]], Deferral]:
    """Return a deferral by its name; what a trigger has reported is the same under every flag, and is waited for once."""
    known: dict[object, Deferral] = {}

    def recall(name: object, defer: Callable[[], Deferral]) -> Deferral:
        deferral = known.get(name) or defer()
        if deferral.way[0] != "__fail__":  # then the resumed task itself asks once more
            known[name] = deferral
        return deferral

    return recall


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
    how: dict[str, Any] = {"deferrable": mode == DEFERRABLE, "watch_on_worker": 0, "poke_interval": 0.001, "timeout": TIMEOUT}
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

    def wait() -> Any:
        return run_rescheduled(lambda: DocStatusSensor(**how), ti, context_of(name, ti))

    return end_of(wait if name not in ASKED else lambda: answered(name, wait, DocStatusSensor(**how), ti)), ti


def answered(name: str, ask: Callable[[], Any], resumed: Any, ti: FakeTaskInstance) -> Any:
    """Run a task that asks a person, and resume it with the answer."""
    return resumed_with(resumed, parked_with(ask), ANSWERS[name], context_of(name, ti))


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
    steps = {"finished, but found late": 5 * TIMEOUT, "not asked": 1.2 * TIMEOUT}
    return STEP if name in SLOW else steps.get(name, 0.0)


def begin(clock: Clock, name: str, *, is_list: bool) -> tuple[str, Any]:
    """Create a job that ends as told, and let time pass as it must; return its id, and what is waited for."""
    clock.start(pace(name))
    if name == "not asked":  # the triggerer notices at once that its time is up, and not that time has jumped
        clock.patch.setattr(poller, "DEADLINES_EVERY", 0.02)
        clock.patch.setattr(poller, "STANDSTILL", math.inf)
    job_id = arrange(clock.vendors, name)
    return job_id, [job_id, clock.vendors.add_job("unsiloed")] if is_list else job_id


#: The ends of the table that this Airflow has.
HERE = {name: end for name, end in ENDS.items() if name not in ASKED or not cannot_ask()}
ONE_OR_LIST = pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
EACH_FLAG = pytest.mark.parametrize("flag", FLAGS, ids=["plain", *FLAGS[1:]])


@EACH_FLAG
@ONE_OR_LIST
@pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for name, end in HERE.items() for mode in end.modes if mode != DEFERRABLE]
)
def test_a_wait_on_a_worker_ends_as_the_table_says(clock, name, mode, is_list, flag):
    job_id, ids = begin(clock, name, is_list=is_list)
    error, ti = undeferred(mode, name, ids, flag)
    check(error, ENDS[name], flag)
    check_what_is_told(error, ti, ENDS[name], job_id, is_list=is_list, is_known=mode == POKE or name not in FAULTS)


@EACH_FLAG
@ONE_OR_LIST
@pytest.mark.parametrize("name", [name for name, end in HERE.items() if DEFERRABLE in end.modes])
def test_a_deferred_wait_ends_as_the_table_says(clock, deferred, name, is_list, flag):
    def defer() -> Deferral:
        (job_id, ids), ti = begin(clock, name, is_list=is_list), FakeTaskInstance()
        return Deferral(
            job_id, ids, ti, left_by_airflow(name, lambda: DocStatusSensor(**asked(DEFERRABLE, name, job_id=ids)), ti)
        )

    job_id, ids, before, way = deferred((name, is_list), defer)
    ti = replace(before, xcoms=dict(before.xcoms))
    resumed = DocStatusSensor(**asked(DEFERRABLE, name, flag, job_id=ids))

    def resume() -> Any:
        return resumed.resume_execution(*way, context_of(name, ti))

    error = end_of(resume if name not in ASKED else lambda: answered(name, resume, resumed, ti))
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


@ONE_OR_LIST
@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name, end in HERE.items() for mode in end.modes if mode != RESCHEDULE],
)
def test_the_operator_ends_as_the_sensor_does(clock, name, mode, is_list):
    job_id, ids = begin(clock, name, is_list=is_list)
    error, ti = fetched(mode, name, ids)
    check(error, ENDS[name], None)
    check_what_is_told(error, ti, ENDS[name], job_id, is_list=is_list, is_known=True)


def fetched(mode: str, name: str, ids: Any, **asks: Any) -> tuple[BaseException | None, FakeTaskInstance]:
    """Run an operator that waits first to its end; return what it ended with, and its instance."""
    ti, how = FakeTaskInstance(), {**asked(mode, name, job_id=ids, **asks), "wait_for_completion": True}
    way = left_by_airflow(name, lambda: ExtractedDataOperator(**how), ti) if mode == DEFERRABLE else None

    def wait() -> Any:
        task = ExtractedDataOperator(**how)
        return task.resume_execution(*way, context_of(name, ti)) if way else task.execute(context_of(name, ti))

    return end_of(wait if name not in ASKED else lambda: answered(name, wait, ExtractedDataOperator(**how), ti)), ti


def asks_of(mixed: Mixed) -> dict[str, Any]:
    """Return the arguments that a list of mixed ends needs."""
    return {**mixed.asks, **({"stalled_after": STALLED_AFTER} if "stalled" in mixed.ends else {})}


def arrange_mixed(vendors: StandInVendors, clock: Clock, mixed: Mixed) -> list[str]:
    """Create a job for each of the ends; return their ids."""
    clock.start(STEP if set(mixed.ends) & set(SLOW) else 0.0)
    return [arrange(vendors, end, is_quick=True) for end in mixed.ends]


def check_mixed(error: BaseException | None, ti: FakeTaskInstance, mixed: Mixed, ids: list[str], flag: str | None) -> None:
    """Check what a list ended with, and its manifest, against the table."""
    check(error, mixed, flag)
    assert ti.xcoms[XCOM_KEY]["counts"] == mixed.counts
    accepted = {"succeeded", *mixed.asks.get("accept", ())}
    bad = {one for one, end in zip(ids, mixed.ends, strict=True) if end not in accepted}
    assert ti.xcoms[XCOM_KEY]["errors"].keys() == bad


@EACH_FLAG
@pytest.mark.parametrize("mode", [POKE, RESCHEDULE])
@pytest.mark.parametrize("name", MIXED)
def test_a_list_of_mixed_ends_on_a_worker_ends_as_the_table_says(server, clock, name, mode, flag):
    ids = arrange_mixed(server, clock, MIXED[name])
    error, ti = undeferred(mode, "", ids, flag, **asks_of(MIXED[name]))
    check_mixed(error, ti, MIXED[name], ids, flag)


@EACH_FLAG
@pytest.mark.parametrize("name", MIXED)
def test_a_deferred_list_of_mixed_ends_ends_as_the_table_says(server, clock, deferred, name, flag):
    asks = asks_of(MIXED[name])

    def defer() -> Deferral:
        ids, ti = arrange_mixed(server, clock, MIXED[name]), FakeTaskInstance()
        return Deferral(
            "", ids, ti, left_by_airflow("", lambda: DocStatusSensor(**asked(DEFERRABLE, "", job_id=ids, **asks)), ti)
        )

    _, ids, before, way = deferred(name, defer)
    ti = replace(before, xcoms=dict(before.xcoms))
    resumed = DocStatusSensor(**asked(DEFERRABLE, "", flag, job_id=ids, **asks))
    check_mixed(end_of(lambda: resumed.resume_execution(*way, context_of("", ti))), ti, MIXED[name], ids, flag)


@pytest.mark.parametrize("mode", [POKE, DEFERRABLE])
@pytest.mark.parametrize("name", MIXED)
def test_the_operator_ends_a_list_of_mixed_ends_as_the_sensor_does(server, clock, name, mode):
    ids = arrange_mixed(server, clock, MIXED[name])
    error, ti = fetched(mode, "", ids, **asks_of(MIXED[name]))
    check_mixed(error, ti, MIXED[name], ids, None)


# -- what the table does not say --------------------------------------------------------------------------------


def job_asked(mode: str, **asks: Any) -> dict[str, Any]:
    """Return the arguments of a sensor for an Aitronos job, which does not say when it last changed."""
    how = {"mode": mode} if mode != DEFERRABLE else {}
    return {**asked(mode, ""), "conn_id": "aitronos_default", "operation": None, **how, **asks}


@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_stall_is_refused_where_nobody_could_tell_it(server, is_list):
    before, job_id = len(server.requests), server.add_job("aitronos", seconds=math.inf)
    sensor = DocStatusSensor(**job_asked(RESCHEDULE, stalled_after=60, job_id=[job_id] if is_list else job_id))
    with pytest.raises(RequestRejected, match="needs deferrable=True or mode='poke' here") as raised:
        sensor.execute({"ti": FakeTaskInstance()})
    assert isinstance(raised.value, AirflowFailException)
    assert len(server.requests) == before


@pytest.mark.parametrize("mode", [POKE, DEFERRABLE])
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_job_without_times_stalls_where_the_wait_remembers(server, clock, mode, is_list):
    clock.start(STEP)
    job_id = server.add_job("aitronos", seconds=math.inf)
    asks, ti = (
        job_asked(mode, stalled_after=STALLED_AFTER, job_id=[job_id] if is_list else job_id, timeout=9e9),
        FakeTaskInstance(),
    )
    if mode == DEFERRABLE:
        way = left_by_airflow("", lambda: DocStatusSensor(**asks), ti)
        error = end_of(lambda: DocStatusSensor(**asks).resume_execution(*way, {"ti": ti}))
    else:
        error = end_of(lambda: DocStatusSensor(**asks).execute({"ti": ti}))
    assert isinstance(error, Stalled)
    assert "still running ('processing'), unchanged for" in str(error)


@pytest.mark.parametrize("mode", [POKE, RESCHEDULE, DEFERRABLE])
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, HTML, {"reset": True}], ids=str)
def test_a_job_that_finished_in_time_is_found_though_the_last_question_meets_a_fault(server, clock, mode, is_list, fault):
    clock.start(TIMEOUT + 10.0)
    job_id, ti = server.add_job("unsiloed"), FakeTaskInstance()
    running = {"job_id": job_id, "status": "processing", "updated_at": datetime.now(timezone.utc).isoformat()}
    server.answer_next(200, body=running, path=job_id)
    server.answer_next(**fault, path=job_id)
    asks = asked(mode, "", job_id=[job_id] if is_list else job_id)
    if mode == DEFERRABLE:
        way = left_by_airflow("", lambda: DocStatusSensor(**asks), ti)
        error = end_of(lambda: DocStatusSensor(**asks).resume_execution(*way, {"ti": ti}))
    else:
        error = end_of(lambda: run_rescheduled(lambda: DocStatusSensor(**asks), ti))
    assert error is None
    assert ti.xcoms[XCOM_KEY]["counts" if is_list else "state"] == ({"succeeded": 1} if is_list else "succeeded")


def test_an_outage_is_no_stall(server, clock):
    """A service that cannot be heard for longer than that, and the same word after it."""
    clock.start(STEP)
    job_id = server.add_job("aitronos")
    server.answer_next(200, body={"job_id": job_id, "status": "processing"}, path=job_id)
    server.answer_next(503, times=3, path=job_id)
    server.answer_next(200, body={"job_id": job_id, "status": "processing"}, path=job_id)
    asks = job_asked(POKE, stalled_after=STALLED_AFTER + STEP, job_id=job_id, timeout=9e9)
    assert DocStatusSensor(**asks).execute({"ti": FakeTaskInstance()})["state"] == "succeeded"


@pytest.mark.parametrize("kind", [DocStatusSensor, ExtractedDataOperator])
@pytest.mark.parametrize(
    "asks",
    [
        {"grace": -1},
        {"grace": "long"},
        {"grace": True},
        {"grace": math.inf},
        {"stalled_after": 0},
        {"stalled_after": math.nan},
        {"watch_on_worker": "3"},
    ],
)
def test_a_span_that_is_none_is_refused_when_the_dag_is_read(kind, asks):
    with pytest.raises(ValueError, match=f"{next(iter(asks))} must be a timedelta or a finite number of seconds"):
        kind(task_id="gate", conn_id="aitronos_default", job_id="x", **asks)


@pytest.mark.parametrize(
    ("grace", "is_found"),
    [(None, True), (timedelta(hours=1), True), (3600, True), (0, False)],
    ids=["the service's", "1 h", "3600 s", "none"],
)
@pytest.mark.parametrize("mode", [POKE, DEFERRABLE])
def test_the_grace_for_an_id_that_is_not_known_yet_is_the_tasks_to_say(server, clock, mode, grace, is_found):
    clock.start(10.0)
    job_id = server.add_job("aitronos")
    server.answer_next(404, body={}, times=2, path=job_id)
    asks, ti = job_asked(mode, job_id=job_id, grace=grace), FakeTaskInstance()
    if mode == DEFERRABLE and is_found:
        way = left_by_airflow("", lambda: DocStatusSensor(**asks), ti)
        error = end_of(lambda: DocStatusSensor(**asks).resume_execution(*way, {"ti": ti}))
    else:
        error = end_of(lambda: DocStatusSensor(**asks).execute({"ti": ti}))
    assert (error is None) is is_found
    assert is_found or isinstance(error, NotFound)


@pytest.mark.parametrize(
    ("service", "run", "created", "error"),
    [
        ("unsiloed", LONG_AGO, None, Expired),
        ("unsiloed", NOW, None, NotFound),
        ("unsiloed", None, None, NotFound),
        ("unsiloed", NOW, LONG_AGO, Expired),
        ("unsiloed", LONG_AGO, NOW, NotFound),
        ("aitronos", LONG_AGO, None, NotFound),
        ("neurolinker", LONG_AGO, None, NotFound),
    ],
    ids=[
        "an old run",
        "a run of today",
        "no run",
        "an old job",
        "a young job in an old run",
        "undocumented",
        "billed, not deleted",
    ],
)
def test_only_a_documented_retention_explains_an_unknown_id(server, service, run, created, error):
    parameter, ti = "document_id" if service == "neurolinker" else "job_id", FakeTaskInstance()
    operation = {"operation": "extract"} if service == "unsiloed" else {}
    sensor = DocStatusSensor(
        task_id="gate", conn_id=f"{service}_default", **{parameter: "gone"}, **operation, grace=0, poke_interval=0.005
    )
    if created:
        body = {"job_id": "gone", "status": "processing", "created_at": created.isoformat()}
        server.answer_next(200, body=body, path="gone")
    with pytest.raises(error) as raised:
        sensor.execute({"ti": ti, "dag_run": SimpleNamespace(run_after=run)})
    assert ("soft_fail=True skips it" in str(raised.value)) is (error is Expired)
    server.answer_truly()


@pytest.mark.parametrize(
    ("code", "run", "error"),
    [(410, NOW, Expired), (404, LONG_AGO, Expired), (404, NOW, NotFound)],
    ids=["410", "an old run", "404"],
)
def test_fetching_what_is_gone_ends_as_waiting_for_it_does(server, code, run, error):
    operator = ExtractedDataOperator(task_id="extract", conn_id="unsiloed_default", operation="extract", job_id="gone")
    server.answer_next(code, body={"detail": "Job not found"}, path="gone", times=2)
    with pytest.raises(error, match="Job not found") as raised:
        operator.execute({"ti": FakeTaskInstance(), "dag_run": SimpleNamespace(run_after=run)})
    assert isinstance(raised.value, AirflowFailException)
    server.answer_truly()


def ring() -> None:
    """Let the alarm go off with which Airflow enforces ``execution_timeout`` on a worker."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)


@contextmanager
def airflows_alarm(server: StandInVendors, at_question: float = math.inf) -> Iterator[None]:
    """Set Airflow's alarm, and let it go off while so many questions have been asked."""
    try:
        from airflow.sdk.execution_time.timeout import timeout
    except ImportError:  # 2.11
        from airflow.utils.timeout import timeout

    asked_before, is_over = len(server.requests), threading.Event()

    def watch() -> None:
        while not is_over.wait(0.002):
            if len(server.requests) >= asked_before + at_question:
                ring()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with timeout(LONGEST):
            yield
    finally:
        is_over.set()
        watcher.join()


@pytest.mark.parametrize(
    ("kind", "flag"), [(DocStatusSensor, None), (DocStatusSensor, "soft_fail"), (ExtractedDataOperator, None)]
)
@pytest.mark.parametrize("doing", ["asleep", "asking"])
def test_airflows_alarm_ends_a_wait_on_a_worker_as_our_own_deadline_does(server, monkeypatch, kind, flag, doing):
    job_id, ti = server.add_job("aitronos", seconds=math.inf), FakeTaskInstance()
    if doing == "asleep":
        monkeypatch.setattr(time, "sleep", lambda _: ring())
    else:
        server.answer_next(None, path=job_id)
        server.answer_next(None, delay=1.0, path=job_id, times=math.inf)
    asks = {"task_id": "gate", "conn_id": "aitronos_default", "job_id": job_id, "execution_timeout": timedelta(seconds=60)}
    asks |= {"poke_interval": 0.005, **({flag: True} if flag else {})}
    asks |= {"wait_for_completion": True} if kind is ExtractedDataOperator else {}
    with airflows_alarm(server, at_question=math.inf if doing == "asleep" else 2):
        error = end_of(lambda: kind(**asks).execute({"ti": ti}))
    assert fate(error) == (SKIPPED if flag else RETRY)
    assert isinstance(error.__cause__ if flag else error, ExecutionTimedOut)
    assert "last state running ('processing')" in str(error)
    assert ti.xcoms[XCOM_KEY]["state"] == "running"
    server.answer_truly()


@pytest.mark.parametrize(("mode", "error"), [(RESCHEDULE, AirflowTaskTimeout), (DEFERRABLE, ExecutionTimedOut)])
def test_airflows_alarm_in_a_look_ends_the_wait_but_in_reschedule_mode_that_look(server, mode, error):
    job_id = server.add_job("aitronos", seconds=math.inf)
    server.answer_next(None, delay=1.0, path=job_id)
    asks = job_asked(mode, job_id=job_id, execution_timeout=timedelta(seconds=60))
    with airflows_alarm(server, at_question=1):
        assert isinstance(end_of(lambda: DocStatusSensor(**asks).execute({"ti": FakeTaskInstance()})), error)
    server.answer_truly()


@pytest.mark.parametrize(
    ("name", "flag", "kind"),
    [
        ("no triggerer", None, NotAsked),
        ("no triggerer", "soft_fail", NotAsked),
        ("trigger crash", "soft_fail", task_deferral_error()),
    ],
)
def test_airflows_alarm_in_a_last_look_leaves_what_the_wait_ends_with(server, monkeypatch, name, flag, kind):
    """From 3.0 on a resumed task has its execution_timeout anew, and a last look may wait a refusal out."""
    job_id, limit = server.add_job("aitronos", seconds=math.inf), timedelta(seconds=60)
    server.answer_next(429, headers={"Retry-After": "50"}, path=job_id)
    flags = {flag: True} if flag else {}
    sensor = DocStatusSensor(**job_asked(DEFERRABLE, job_id=job_id, execution_timeout=limit, **flags))
    error = "Trigger/execution timeout" if name == "no triggerer" else "Trigger failure"
    monkeypatch.setattr(time, "sleep", lambda _: ring())
    with airflows_alarm(server):
        ended = end_of(lambda: sensor.resume_execution("__fail__", {"error": error}, {"ti": started(seconds_ago=400)}))
    assert isinstance(ended, kind), repr(ended)
    server.answer_truly()


@pytest.mark.parametrize(
    ("mode", "limits", "seconds"),
    [
        (DEFERRABLE, {"timeout": 600}, 600),
        (DEFERRABLE, {"timeout": 600, "execution_timeout": timedelta(seconds=60)}, 60),
        (DEFERRABLE, {"timeout": 60, "execution_timeout": timedelta(seconds=600)}, 60),
        (RESCHEDULE, {"timeout": 600, "execution_timeout": timedelta(seconds=60)}, 600),
    ],
)
def test_the_shorter_of_both_times_limits_a_wait(server, mode, limits, seconds):
    ti = FakeTaskInstance()
    sensor = DocStatusSensor(**job_asked(mode, job_id=server.add_job("aitronos"), **limits))
    assert task.TaskWait(sensor, {"ti": ti}).spec.deadline - ti.start_date.timestamp() == pytest.approx(seconds)


@pytest.mark.parametrize("flag", [None, "soft_fail", "never_fail"])
def test_a_time_out_that_airflow_sees_first_is_told_as_ours(server, flag):
    """Its clock of a poke starts with the process, ours with the try: here, later."""
    job_id, ti = (
        server.add_job("aitronos", seconds=math.inf),
        FakeTaskInstance(start_date=datetime.now(timezone.utc) + timedelta(hours=1)),
    )
    asks = job_asked(POKE, job_id=job_id, timeout=0.02, **({flag: True} if flag else {}))
    error = end_of(lambda: DocStatusSensor(**asks).execute({"ti": ti}))
    assert fate(error) == (SKIPPED if flag else FAILED)
    assert isinstance(error.__cause__ if flag else error, WaitTimedOut)
    assert ti.xcoms[XCOM_KEY]["state"] == "running"


def test_what_was_known_before_the_deferral_is_on_the_exception(server, clock):
    request_id, ti = server.add_job("neurolinker", seconds=math.inf), FakeTaskInstance()
    asks = job_asked(DEFERRABLE, conn_id="neurolinker_default", request_id=request_id)
    server.answer_next(None, path=request_id)
    server.answer_next(401, body={"detail": "Invalid key"}, path=request_id, times=math.inf)
    way = left_by_airflow("", lambda: DocStatusSensor(**asks), ti)
    error = end_of(lambda: DocStatusSensor(**asks).resume_execution(*way, {"ti": ti}))
    assert isinstance(error, KeyRejected)
    assert "Invalid key" in str(error)
    assert (error.service, error.id, error.state) == ("neurolinker", request_id, "running")
    assert error.link
    assert error.link == ti.xcoms[XCOM_KEY]["link"]


@pytest.mark.parametrize("shown", [None, "text", {}, {"state": "running"}], ids=str)
def test_an_xcom_that_is_no_status_is_nothing_known(shown):
    ti = FakeTaskInstance(xcoms={XCOM_KEY: shown})
    event = {"version": 1, "outcome": "not_found", "service": "aitronos", "id": "j", "status": None, "text": "gone"}
    sensor = DocStatusSensor(**job_asked(DEFERRABLE, job_id="j"))
    with pytest.raises(NotFound, match="gone") as raised:
        sensor.resume_execution("execute_complete", {"event": event}, {"ti": ti})
    assert raised.value.state is None


# -- where Airflow's lines differ -------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(taskinstance, "_execute_task"), reason="2.11 runs tasks here; the table holds on the other lines")
@pytest.mark.parametrize("flag", [None, "soft_fail"])
def test_2_11_fails_by_itself_what_it_resumes_after_execution_timeout(server, flag):
    job_id, ti = server.add_job("aitronos"), started(seconds_ago=61)
    asks = job_asked(DEFERRABLE, job_id=job_id, execution_timeout=timedelta(seconds=60), **({flag: True} if flag else {}))
    ti.task, ti.next_method, ti.next_kwargs = DocStatusSensor(**asks), "execute_complete", {"event": None}
    error = end_of(lambda: taskinstance._execute_task(ti, {"ti": ti}, ti.task))
    assert type(error) is AirflowTaskTimeout


ENDED_WITH = [
    for_airflow(ExecutionTimedOut("x")),
    for_airflow(WaitTimedOut("x")),
    for_airflow(ReviewTimedOut("x")),
    UnexpectedReply("x"),
    AirflowSkipException("x"),
    *(
        for_airflow(one("x"))
        for one in (
            DocumentFailed,
            SchemaMismatch,
            Uncertain,
            Expired,
            Stalled,
            Declined,
            NotFound,
            KeyRejected,
            QuotaExhausted,
            RequestRejected,
        )
    ),
]


@pytest.mark.parametrize("error", ENDED_WITH, ids=lambda error: type(error).__name__)
def test_airflows_own_runner_gives_the_state_that_is_stated_here(monkeypatch, error):
    runner = pytest.importorskip("airflow.sdk.execution_time.task_runner", reason="2.11 needs its database for that")

    def fail(*_args, **_kwargs):
        raise error

    ti = MagicMock(stats_tags={"dag_id": "dag", "task_id": "gate"}, rendered_map_index=None)
    ti._ti_context_from_server = SimpleNamespace(xcom_keys_to_clear=[], should_retry=True, next_method=None)
    monkeypatch.setattr(runner, "_execute_task", fail)
    for name in ("_prepare", "_render_map_index", "_evaluate_retry_policy"):  # the last two are of some lines only
        monkeypatch.setattr(runner, name, lambda *_args, **_kwargs: None, raising=False)
    monkeypatch.setattr(runner, "SUPERVISOR_COMMS", MagicMock(), raising=False)
    before = signal.getsignal(signal.SIGTERM)
    try:
        state, *_ = runner.run(ti, {"ti": ti}, MagicMock())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert state.value.replace("_", " ") == fate(error)
