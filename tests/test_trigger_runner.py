"""Fifty waits in the triggerer's own runner: Airflow's loop, cancelling and log context, without its database."""

from __future__ import annotations

import asyncio
import math
import re
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.verdict import Ending
from tests.task_runs import hurry, trigger_for

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


async def on_airflow_3(triggers: dict[int, DocStatusTrigger]) -> tuple[Any, Stalls]:
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
        if len(runner.events) == WAITS - 1:
            runner.to_cancel.append(CANCELLED)
            await runner.cancel_triggers()
        await asyncio.sleep(0.02)
    watching.cancel()
    return runner, stalls


def on_airflow_2(triggers: dict[int, DocStatusTrigger]) -> tuple[Any, Stalls]:
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
            if len(runner.events) == WAITS - 1 and not runner.to_cancel:
                runner.to_cancel.append(CANCELLED)
            time.sleep(0.02)
    finally:
        runner.stop = True
        runner.join(5)
    blocked = (re.search(r"blocked for ([0-9.]+) seconds", line) for _, line in log.lines)
    stalls.longest = max((float(seconds[1]) for seconds in blocked if seconds), default=0.0)
    return runner, stalls


def run_triggers(triggers: dict[int, DocStatusTrigger]) -> tuple[Any, Stalls]:
    try:
        import airflow.sdk  # noqa: F401 -- the question is whether it is there
    except ImportError:
        return on_airflow_2(triggers)
    return asyncio.run(on_airflow_3(triggers))


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
            number: vendors.add_job("aitronos", job_id=f"job_no_{number:03}", **{"seconds": 1.0, **ends.get(number, {})})
            for number in range(WAITS)
        }
        triggers = {number: trigger_for("aitronos", "job", job_id, seconds=30) for number, job_id in jobs.items()}
        runner, stalls = run_triggers(triggers)

    ended = {number: Ending.from_event(event.payload) for number, event, *_ in runner.events}
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
