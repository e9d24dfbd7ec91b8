"""A task's life without Airflow's processes: what a worker and a triggerer do with our operators, one step after another."""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import pytest

from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.waiting import rate_limiter, schedule
from airflow_provider_docstatus.waiting import wait as waits

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred
except ImportError:  # 3.1 and earlier
    from airflow.exceptions import AirflowRescheduleException, TaskDeferred

try:
    from airflow.sdk.exceptions import TaskAwaitingInput
except ImportError:  # 3.2 and earlier: a trigger waits for the answer
    TaskAwaitingInput = TaskDeferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_docstatus.sensors import DocStatusSensor
    from airflow_provider_docstatus.triggers import DocStatusTrigger

MODES = ("poke", "reschedule", "deferrable")
#: Nothing of ours takes longer in a test; what hangs must not hang the run.
LONGEST = 15.0


@dataclass
class FakeTaskInstance:
    """What a task instance offers our code, and the XComs that were pushed through it."""

    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    xcoms: dict[str, Any] = field(default_factory=dict)
    dag_id: str = "dag"
    task_id: str = "task"
    run_id: str = "run"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    id: str = "019ab1f2-3c4d-7e5f-8a6b-7c8d9e0f1a2b"

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> datetime:
        return self.start_date


def started(seconds_ago: float) -> FakeTaskInstance:
    """Return the instance of a task whose try began so long ago."""
    return FakeTaskInstance(start_date=datetime.fromtimestamp(time.time() - seconds_ago, tz=timezone.utc))


def hurry(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let every service be asked every few milliseconds and without limit, as the vendors would not like."""
    no_limit = {"calls_per_second": None, "calls_per_minute": None, "calls_per_day": None}
    quick = {"poll_interval": 0.005, "least_poll_interval": 0.0025, **no_limit, **changes}
    for name, service in list(SERVICES.items()):
        monkeypatch.setitem(SERVICES, name, replace(service, **quick))
    monkeypatch.setenv("SSL_CERT_FILE", one_authority())
    monkeypatch.setattr(rate_limiter, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(waits, "REPEAT_AFTER", 0.005)
    monkeypatch.setattr(waits, "CONFIRM_AFTER", 0.005)
    monkeypatch.setattr(waits, "LOST_AFTER", 0.02)
    monkeypatch.setattr(schedule, "GRID", 0.01)


@functools.cache
def one_authority() -> str:
    """Return a file with the first of the usual CA certificates: reading all of them takes longer than most tests."""
    certificates = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")
    file = Path(tempfile.mkdtemp(prefix="docstatus-tests-")) / "ca.pem"
    atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
    file.write_text(f"{certificates[0]}{certificates[1]}\n", encoding="utf-8")
    return str(file)


def no_reschedules_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare 2.11 the look for a rescheduled sensor's first start in a database that is not there."""
    from airflow.sensors import base

    if hasattr(base, "_orig_start_date"):
        monkeypatch.setattr(base, "_orig_start_date", lambda **_: None)


def travelled(trigger: Any) -> DocStatusTrigger:
    """Return a trigger as the triggerer gets it: from its class path and its arguments as JSON."""
    classpath, kwargs = trigger.serialize()
    module, name = classpath.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))


async def event_of(trigger: DocStatusTrigger) -> Any:
    """Return the payload of a trigger's event, as JSON brings it to the worker."""

    async def first() -> Any:
        return (await anext(trigger.run())).payload

    return json.loads(json.dumps(await asyncio.wait_for(first(), LONGEST)))


class RequiredActions:
    """Airflow's page of that name as a task's process knows it; the first question of a task instance stays there."""

    def __init__(self) -> None:
        self.question: Any = None

    def send(self, msg: Any) -> Any:
        """Take a question as Airflow's supervisor does, and return what the page shows; take no other message."""
        from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult

        if not isinstance(msg, CreateHITLDetailPayload):
            return None
        fields = msg.model_dump(exclude={"type"})
        shown = {**fields, **({} if self.question is None else self.question)}
        self.question = {name: shown[name] for name in fields if name != "ti_id"}
        return HITLDetailRequestResult.model_validate({**shown, "ti_id": fields["ti_id"]})

    @classmethod
    def opened(cls, monkeypatch: pytest.MonkeyPatch) -> RequiredActions:
        """Return a new page, on which tasks ask from now on."""
        from airflow.sdk.execution_time import task_runner

        page = cls()
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", page, raising=False)
        return page


def answer(*chosen: str, **more: Any) -> dict[str, Any]:
    """Return the event with which Airflow resumes a task that somebody has answered."""
    user = {"id": "7", "name": "ada"}
    at = datetime(2026, 8, 1, 10, 0, tzinfo=timezone.utc)
    event = {"chosen_options": list(chosen), "params_input": {}, "responded_at": at, "responded_by_user": user, "timedout": False}
    return {**event, **more}


#: The event with which Airflow resumes a task that nobody has answered in time.
NOBODY = {"error": "The Human-in-the-loop response timeout has passed without a response.", "error_type": "timeout"}


def parked_with(run: Callable[[], Any]) -> BaseException:
    """Return the exception with which a task that asks a person ends for now; fail if it ends otherwise."""
    with pytest.raises((TaskAwaitingInput, TaskDeferred)) as parked:
        run()
    assert parked.value.method_name == "execute_reviewed"
    return parked.value


def resumed_with(operator: Any, parked: BaseException, event: Any, context: Any) -> Any:
    """Resume a task with an answer, as Airflow does."""
    kwargs = json.loads(json.dumps(parked.kwargs))
    return operator.resume_execution(parked.method_name, {**kwargs, "event": event}, context)


def task_deferral_error() -> type[Exception]:
    """Return what Airflow raises for a wait that broke off; 3.2 and later warn about its old place."""
    try:
        from airflow.sdk.exceptions import TaskDeferralError
    except ImportError:  # 3.1 and earlier
        from airflow.exceptions import TaskDeferralError
    return TaskDeferralError


def deferral_of(operator: Any, ti: FakeTaskInstance | None = None) -> TaskDeferred:
    """Return what an operator defers with; fail if it ends instead."""
    try:
        result = operator.execute({"ti": ti or FakeTaskInstance()})
    except TaskDeferred as deferred:
        return deferred
    raise AssertionError(f"it did not defer but returned {result!r}")


def run(operator: Any, ti: FakeTaskInstance | None = None, **context: Any) -> Any:
    """Execute an operator; run its trigger and resume it should it defer, but not to ask a person."""
    context["ti"] = ti or FakeTaskInstance()
    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        if deferred.method_name == "execute_reviewed":
            raise
        event = asyncio.run(event_of(travelled(deferred.trigger)))
        return operator.resume_execution(deferred.method_name, {**(deferred.kwargs or {}), "event": event}, context)


def run_rescheduled(make: Callable[[], Any], ti: FakeTaskInstance, context: Any = None) -> Any:
    """Execute a sensor as a new one after every reschedule."""
    until = time.time() + LONGEST
    while time.time() < until:
        ti.xcoms.clear()  # as Airflow does whenever a task begins that was not deferred
        try:
            return make().execute(context or {"ti": ti})
        except AirflowRescheduleException as later:
            pause = later.reschedule_date.timestamp() - time.time()
            assert pause < LONGEST
            time.sleep(max(0.0, pause))
    raise AssertionError("it was rescheduled for ever")


def sensor_of(mode: str, **arguments: Any) -> DocStatusSensor:
    """Return a sensor that waits in one of the modes, for a job of Aitronos unless told otherwise."""
    from airflow_provider_docstatus.sensors import DocStatusSensor

    how = {"deferrable": True, "watch_on_worker": 0} if mode == "deferrable" else {"deferrable": False, "mode": mode}
    return DocStatusSensor(**{"task_id": "gate", "conn_id": "aitronos_default", "timeout": 5, **how, **arguments})


def wait(mode: str, ti: FakeTaskInstance | None = None, **arguments: Any) -> Any:
    """Run a sensor to its end in one of the modes."""
    ti = ti or FakeTaskInstance()
    if mode == "reschedule":
        return run_rescheduled(lambda: sensor_of(mode, **arguments), ti)
    return run(sensor_of(mode, **arguments), ti)


def trigger_for(service: str, route: str, one: str, *, seconds: float = 10.0, **changes: Any) -> DocStatusTrigger:
    """Return the trigger of a wait that has just begun on a worker."""
    from airflow_provider_docstatus.triggers import DocStatusTrigger

    now = time.time()
    times = {"asked_at": now, "started_at": now, "deadline": now + seconds, "grace": 15.0, "shortest": 0.0}
    return DocStatusTrigger(
        **{"conn_id": f"{service}_default", "service": service, "route": route, "id": one, **times, **changes}
    )
