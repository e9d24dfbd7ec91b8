"""Waits in the triggerer's own runner, with Airflow's loop, cancelling and log context, and what they leave behind."""

from __future__ import annotations

import asyncio
import math
import re
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from airflow_provider_docstatus import poller
from airflow_provider_docstatus._compat import BaseHook
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.waiting.report import ending_from
from tests.task_runs import event_of, hurry, trigger_for

if TYPE_CHECKING:
    from collections.abc import Callable

WAITS = 50
CANCELLED = 7
FAILING = 11


class Log:
    """Keeps each line with the trigger in whose context it was written."""

    def __init__(self, trigger_of_context: Callable[[], Any]) -> None:
        self.trigger_of_context = trigger_of_context
        self.lines: list[tuple[Any, str]] = []

    def info(self, text: str, *arguments: Any) -> None:
        self.lines.append((self.trigger_of_context(), text % arguments))

    debug = warning = error = exception = info


class Stalls:
    """Notes for how long the event loop was held: by the clock, and by the processor time that its own thread used."""

    def __init__(self) -> None:
        self.longest = self.busiest = 0.0

    async def watch(self) -> None:
        while True:
            clock, thread = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.05)
            self.longest = max(self.longest, time.perf_counter() - clock - 0.05)
            self.busiest = max(self.busiest, time.thread_time() - thread)


async def on_airflow_3(triggers: dict[int, DocStatusTrigger], *, cancelled: int | None) -> tuple[Any, Stalls]:
    """Run the loop of the triggerer's child process."""
    from airflow.executors import workloads
    from airflow.jobs.triggerer_job_runner import TriggerRunner
    from airflow.models.trigger import Trigger

    class Supervisor:
        async def asend(self, _message: Any) -> None: ...

    runner, stalls = TriggerRunner(), Stalls()
    runner.comms_decoder = Supervisor()
    for number, trigger in triggers.items():
        classpath, kwargs = trigger.serialize()
        encrypted = Trigger.encrypt_kwargs(kwargs)
        runner.to_create.append(
            workloads.RunTrigger(id=number, ti=None, classpath=classpath, encrypted_kwargs=encrypted, timeout_after=None)
        )
    await runner.create_triggers()
    watching = asyncio.ensure_future(stalls.watch())
    until = time.time() + 20
    while runner.triggers and time.time() < until:
        await runner.cleanup_finished_triggers()
        if cancelled is not None and len(runner.events) == len(triggers) - 1:
            runner.to_cancel.append(cancelled)
            await runner.cancel_triggers()
        await asyncio.sleep(0.02)
    watching.cancel()
    return runner, stalls


def on_airflow_2(triggers: dict[int, DocStatusTrigger], *, cancelled: int | None) -> tuple[Any, Stalls]:
    """Run the triggerer's thread; it watches its loop itself."""
    from airflow.jobs.triggerer_job_runner import TriggerRunner

    runner, stalls, log = TriggerRunner(), Stalls(), Log(lambda: None)
    runner._log = log
    runner.start()
    try:
        for number, trigger in triggers.items():
            trigger.trigger_id = number
            names = {"dag_id": "dag", "run_id": "run", "task_id": f"task_{number}", "map_index": -1, "try_number": 1}
            trigger.task_instance = SimpleNamespace(**names, trigger_timeout=None)
            runner.to_create.append((number, trigger))
        until = time.time() + 20
        while time.time() < until and (runner.to_create or runner.triggers or not runner.events):
            if cancelled is not None and len(runner.events) == len(triggers) - 1 and not runner.to_cancel:
                runner.to_cancel.append(cancelled)
            time.sleep(0.02)
    finally:
        runner.stop = True
        runner.join(5)
    blocked = (re.search(r"blocked for ([0-9.]+) seconds", line) for _, line in log.lines)
    stalls.longest = max((float(seconds[1]) for seconds in blocked if seconds), default=0.0)
    return runner, stalls


def run_triggers(triggers: dict[int, DocStatusTrigger], *, cancelled: int | None = None) -> tuple[Any, Stalls]:
    """Run triggers to their end; the one to be cancelled is, as soon as it is the last."""
    try:
        import airflow.sdk  # noqa: F401 -- the question is whether it is there
    except ImportError:
        return on_airflow_2(triggers, cancelled=cancelled)
    return asyncio.run(on_airflow_3(triggers, cancelled=cancelled))


def trigger_of_context() -> Any:
    """Return the number of the trigger to whose log a line written now would go."""
    try:
        from airflow.utils.log.trigger_handler import ctx_trigger_id  # 2.11
    except ImportError:
        from structlog.contextvars import get_contextvars

        return get_contextvars().get("trigger_id")
    return ctx_trigger_id.get(None)


def test_fifty_waits_in_the_triggerers_own_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, poll_interval=0.1)
    log = Log(trigger_of_context)
    monkeypatch.setattr(DocStatusTrigger, "log", log, raising=False)
    with StandInVendors() as vendors:
        for name, value in vendors.environment().items():
            monkeypatch.setenv(name, value)
        ends = {CANCELLED: {"seconds": math.inf}, FAILING: {"ends": "failed"}}
        jobs = {
            number: vendors.add_job("aitronos", job_id=f"job_no_{number:03}", **{"seconds": 0.4, **ends.get(number, {})})
            for number in range(WAITS)
        }
        triggers = {number: trigger_for("aitronos", "job", job_id, seconds=30) for number, job_id in jobs.items()}
        runner, stalls = run_triggers(triggers, cancelled=CANCELLED)

    ended = {number: ending_from(event.payload) for number, event, *_ in runner.events}
    assert ended.keys() == jobs.keys() - {CANCELLED}, "every event but that of the wait that was cancelled"
    assert {number: ending.id for number, ending in ended.items()} == {number: jobs[number] for number in ended}
    assert ended.pop(FAILING).outcome == "failed"
    assert {ending.outcome for ending in ended.values()} == {"succeeded"}
    assert not runner.triggers
    assert not runner.failed_triggers
    assert vendors.connections_opened <= 16

    lines = [(number, line) for number, line in log.lines if "job_no_" in line]
    assert {number for number, _ in lines} == set(jobs), "every wait has a log"
    assert [line for number, line in lines if jobs[number] not in line] == [], "and only lines of its own"

    assert stalls.busiest < 0.2, "seconds of work in one step of the event loop"
    assert stalls.longest < 1.0, "seconds that the event loop was held, on a machine that others use too"


def count_look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each look-up of a connection."""
    name = "aget_connection" if hasattr(BaseHook, "aget_connection") else "get_connection"
    look_up, noted = getattr(BaseHook, name), []

    def note_and_look_up(conn_id: str) -> Any:
        noted.append(conn_id)
        return look_up(conn_id)

    monkeypatch.setattr(BaseHook, name, note_and_look_up)
    return noted


def test_a_thousand_waits_are_all_told_and_look_the_connection_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, poll_interval=0.1)
    monkeypatch.setattr(DocStatusTrigger, "log", Log(lambda: None), raising=False)
    look_ups = count_look_ups(monkeypatch)
    with StandInVendors() as vendors:
        for name, value in vendors.environment().items():
            monkeypatch.setenv(name, value)
        requests = [vendors.jobs[vendors.add_job("neurolinker", seconds=0.25, documents=25)] for _ in range(40)]
        jobs, now = dict(enumerate(one for request in requests for one in request.documents)), time.time()
        first = {"asked_at": now + 0.6}
        triggers = {
            number: trigger_for("neurolinker", "document", one.job_id, seconds=30, parent=["request", one.parent], **first)
            for number, one in jobs.items()
        }
        runner, _ = run_triggers(triggers)
    ended = {number: ending_from(event.payload) for number, event, *_ in runner.events}
    assert {number: (ending.id, ending.outcome) for number, ending in ended.items()} == {
        number: (one.job_id, "succeeded") for number, one in jobs.items()
    }
    assert len(runner.events) == 1000, "one event each"
    assert not runner.failed_triggers
    assert look_ups == ["neurolinker_default"]
    assert vendors.connections_opened <= poller.MOST_AT_ONCE
    assert len(vendors.requests) < len(jobs) / 2, "the documents of a request are asked through it"


async def test_five_hundred_waits_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that ends, nor one of a request or a list, nor one that is cancelled."""
    hurry(monkeypatch)
    monkeypatch.setattr(poller, "LINGER", 0.05)
    with StandInVendors(job_seconds=0) as vendors:
        for name, value in vendors.environment().items():
            monkeypatch.setenv(name, value)
        request = vendors.jobs[vendors.add_job("neurolinker", documents=100)]
        ids = [vendors.add_job("aitronos") for _ in range(300)]
        files = psutil.Process().num_fds()
        ending = [
            *(trigger_for("neurolinker", "document", one.job_id) for one in request.documents),
            *(trigger_for("aitronos", "job", one) for one in ids[:250]),
            trigger_for("aitronos", "job", "", ids=ids[250:], needed=50),
        ]
        endless = [trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=math.inf)) for _ in range(100)]
        waiting = [asyncio.ensure_future(event_of(trigger)) for trigger in endless]
        events = await asyncio.gather(*map(event_of, ending))
        assert len(events) == len(ending)
        for wait in waiting:
            wait.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        pollers = list(poller._pollers[asyncio.get_running_loop()].values())
        sessions = [one._lookup.client.session for one in pollers if one._lookup.client is not None]
        assert [(one._schedule._polls, one._schedule._peers) for one in pollers] == [({}, {})] * 2
        until = time.time() + 15
        while time.time() < until and (len(asyncio.all_tasks()) > 1 or psutil.Process().num_fds() > files):  # noqa: ASYNC110 -- no event says it
            await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert psutil.Process().num_fds() <= files, "open files"
        assert {session.closed for session in sessions} == {True}
        assert [(one._schedule._queue, one._tasks, one._lookup.client) for one in pollers] == [([], {}, None)] * 2
