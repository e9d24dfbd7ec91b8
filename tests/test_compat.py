"""Airflow's versions: when a try first started, and how a trigger looks up a connection on each line."""

from __future__ import annotations

import inspect
import json
import sys
import time
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from airflow_provider_docstatus import _compat
from airflow_provider_docstatus._compat import AirflowNotFoundException, first_start, get_connection_in_trigger, run_date

FIRST = datetime(2026, 11, 1, 12, 0, tzinfo=timezone.utc)
LATER = datetime(2026, 11, 1, 12, 30, tzinfo=timezone.utc)

TRIES: dict[str, tuple[Any, datetime]] = {
    "3.x, poke or deferred": (SimpleNamespace(start_date=FIRST, get_first_reschedule_date=lambda _context: None), FIRST),
    "3.x, rescheduled": (SimpleNamespace(start_date=LATER, get_first_reschedule_date=lambda _context: FIRST), FIRST),
}


@pytest.mark.parametrize(("ti", "start"), TRIES.values(), ids=TRIES)
def test_a_try_first_started(ti: Any, start: datetime) -> None:
    assert first_start({"ti": ti}) == start.timestamp()


@pytest.mark.parametrize(
    ("rescheduled", "start"), [(None, LATER), (FIRST, FIRST)], ids=["poke, deferred or the first look", "rescheduled"]
)
def test_a_try_first_started_on_2_11(monkeypatch: pytest.MonkeyPatch, rescheduled: datetime | None, start: datetime) -> None:
    """There each look has a start of its own (TaskInstance._check_and_change_state_before_execution)."""
    which = {"dag_id": "dag", "task_id": "gate", "run_id": "run", "map_index": 3, "try_number": 2}
    asked: list[Any] = []

    def first_reschedule(**about: Any) -> datetime | None:
        asked.append(about)
        return rescheduled

    base = SimpleNamespace(_orig_start_date=first_reschedule)
    monkeypatch.setitem(sys.modules, "airflow.sensors.base", base)  # it is 2.11's alone
    assert first_start({"ti": SimpleNamespace(start_date=LATER, **which)}) == start.timestamp()
    assert asked == [which]


def test_a_try_without_a_start_starts_now() -> None:
    before = time.time()
    ti = SimpleNamespace(start_date=None, get_first_reschedule_date=lambda _context: None)
    assert before <= first_start({"ti": ti}) <= time.time()


def test_the_reschedule_date_is_asked_for_with_the_context() -> None:
    asked: list[Any] = []
    context: Any = {"ti": SimpleNamespace(start_date=FIRST, get_first_reschedule_date=asked.append)}
    first_start(context)
    assert asked == [context]


RUNS: dict[str, tuple[dict[str, Any], datetime | None]] = {
    "no run": ({}, None),
    "a run without dates": ({"dag_run": SimpleNamespace(run_after=None, logical_date=None)}, None),
    "3.x": ({"dag_run": SimpleNamespace(run_after=LATER, data_interval_end=None, logical_date=None)}, LATER),
    "2.11, on schedule": ({"dag_run": SimpleNamespace(data_interval_end=LATER, logical_date=FIRST)}, LATER),
    "2.11, by hand": ({"dag_run": SimpleNamespace(data_interval_end=FIRST, logical_date=LATER)}, LATER),
}


@pytest.mark.parametrize(("context", "date"), RUNS.values(), ids=RUNS)
def test_the_date_of_a_run_is_the_latest_of_its_dates(context: Any, date: datetime | None) -> None:
    assert run_date(context) == (date and date.timestamp())


def test_a_deferral_that_timed_out_is_what_this_line_calls_so() -> None:
    try:
        from airflow.models.trigger import TriggerFailureReason
    except ImportError:  # 2.11
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

        source = inspect.getsource(SchedulerJobRunner.check_trigger_timeouts)
        assert any(f'next_kwargs={{"error": "{error}"}}' in source for error in _compat.DEFERRAL_TIMED_OUT)
    else:
        assert TriggerFailureReason.TRIGGER_TIMEOUT in _compat.DEFERRAL_TIMED_OUT
        assert TriggerFailureReason.TRIGGER_FAILURE not in _compat.DEFERRAL_TIMED_OUT


async def test_a_defined_connection_comes_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"conn_type": "aitronos", "password": "key_of_the_account", "extra": {"request_timeout": 5}}
    monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps(fields))
    conn, extra = await get_connection_in_trigger("vendor")
    assert (conn.conn_id, conn.conn_type, conn.password) == ("vendor", "aitronos", "key_of_the_account")
    assert extra == {"request_timeout": 5}


async def test_an_undefined_connection_stays_undefined() -> None:
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        await get_connection_in_trigger("nowhere")


class _Conn:
    conn_id = "vendor"
    extra_dejson: ClassVar[dict[str, str]] = {"from": "extra_dejson"}


class _ConnOf33(_Conn):
    async def aextra_dejson(self) -> dict[str, str]:
        return {"from": "aextra_dejson"}


class _HookOf30:
    """Airflow's BaseHook before 3.1."""

    conn: ClassVar[_Conn] = _Conn()

    @classmethod
    def get_connection(cls, _conn_id: str) -> _Conn:
        return cls.conn


class _HookOf31(_HookOf30):
    @classmethod
    async def aget_connection(cls, conn_id: str) -> _Conn:
        return cls.get_connection(conn_id)


class _HookOf33(_HookOf31):
    conn = _ConnOf33()


LINES = {
    "2.11 and 3.0": (_HookOf30, "extra_dejson"),
    "3.1 and 3.2": (_HookOf31, "extra_dejson"),
    "3.3": (_HookOf33, "aextra_dejson"),
}


@pytest.mark.parametrize(("base_hook", "source"), LINES.values(), ids=LINES)
async def test_each_line_is_asked_in_its_own_way(
    base_hook: type[_HookOf30], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compat, "BaseHook", base_hook)
    conn, extra = await get_connection_in_trigger("vendor")
    assert conn is base_hook.conn
    assert extra == {"from": source}
