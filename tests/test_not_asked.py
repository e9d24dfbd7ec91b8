"""A fact that was heard is told at once, and that nobody could ask is said."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus import poller
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.transport import aio
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.waiting.report import ending_from
from tests.task_runs import event_of, hurry, trigger_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSY = {"status": 429, "headers": {"Retry-After": "86400"}}


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


@pytest.fixture
def vendors(server: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInVendors]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    hurry(monkeypatch)
    monkeypatch.setattr(aio, "_limiters", {})
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.05)
    server.requests.clear()
    yield server
    server.answer_truly()


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def ended(*triggers: Any) -> list[Any]:
    return [ending_from(event) for event in await asyncio.gather(*map(event_of, triggers))]


async def test_waits_that_a_429_keeps_from_being_asked_for_are_not_called_unfinished(vendors: StandInVendors) -> None:
    """One wait gets a 429 for a day. Two others, whose jobs are finished, reach their deadline."""
    jobs = [vendors.add_job("aitronos") for _ in range(3)]
    await ended(trigger_for("aitronos", "job", vendors.add_job("aitronos")))  # the session is open from now on
    vendors.answer_next(**BUSY, path=jobs[0])
    first = asyncio.ensure_future(event_of(trigger_for("aitronos", "job", jobs[0], seconds=0.5)))
    await until(lambda: any(limiter.paused_until > 0 for limiter in aio._limiters.values()))
    endings = [ending_from(await first), *await ended(*(trigger_for("aitronos", "job", one, seconds=0.1) for one in jobs[1:]))]
    assert [ending.outcome for ending in endings] == ["not_asked"] * 3
    for ending in endings:
        assert f"could not be asked about {ending.id} since " in str(ending.text)
        assert "paused until " in str(ending.text)
        assert "a retry asks again" in str(ending.text)


async def test_the_days_calls_that_are_used_up_are_named(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.dumps({"conn_type": "aitronos", "host": vendors.url, "password": vendors.keys["aitronos"]})
    monkeypatch.setenv("AIRFLOW_CONN_AITRONOS_DEFAULT", json.dumps({**json.loads(connection), "extra": {"calls_per_day": 2}}))
    jobs = [vendors.add_job("aitronos", seconds=math.inf) for _ in range(2)]
    endings = await ended(*(trigger_for("aitronos", "job", one, seconds=0.5) for one in jobs))
    assert [ending.outcome for ending in endings] == ["not_asked"] * 2
    assert all("since this process has used its share of 2 calls a day" in str(ending.text) for ending in endings)


async def test_a_wait_learns_early_that_its_turn_comes_after_its_deadline(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(DocStatusTrigger, "log", logging.getLogger("trigger"))
    vendors.answer_next(**BUSY)
    with caplog.at_level(logging.WARNING):
        waiting = asyncio.ensure_future(event_of(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=9.0)))
        await until(lambda: "turn comes" in caplog.text)
        waiting.cancel()
    assert caplog.text.count("The next poll's turn comes 59") == 1, "10 minutes of pause, 9 s until the deadline"
    assert "Raise the limit or the timeout" in caplog.text


async def test_who_was_asked_at_the_deadline_has_timed_out(vendors: StandInVendors) -> None:
    (ending,) = await ended(trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=math.inf), seconds=0.1))
    assert ending.outcome == "timed_out"


async def test_a_request_that_hangs_over_the_deadline_was_asked(vendors: StandInVendors) -> None:
    vendors.answer_next(200, delay=9.0)
    (ending,) = await ended(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=0.1))
    assert ending.outcome == "timed_out"


@pytest.mark.parametrize(
    "trouble",
    [{"status": 200, "delay": 9.0}, {"status": 429, "headers": {"Retry-After": "600"}}],
    ids=["its request hangs", "a pause of ten minutes"],
)
async def test_a_document_that_is_finished_is_told_before_its_request_is_polled(
    vendors: StandInVendors, trouble: dict[str, Any]
) -> None:
    request = vendors.jobs[vendors.add_job("neurolinker", documents=3)]
    vendors.answer_next(**trouble, path="request-status", times=math.inf)
    first, *others = (trigger_for("neurolinker", "document", one.job_id, seconds=1.0) for one in request.documents)
    waits = [asyncio.ensure_future(event_of(one)) for one in (first, *others)]
    assert ending_from(await waits[0]).outcome == "succeeded"
    for wait in waits[1:]:
        wait.cancel()


@pytest.mark.parametrize("wait_for", [1, 3], ids=["any", "all"])
async def test_a_403_about_one_id_of_a_list_ends_that_id_only(vendors: StandInVendors, wait_for: int) -> None:
    jobs = [vendors.add_job("unsiloed", "job", seconds=0.2 if wait_for == 3 else 0) for _ in range(3)]
    for path in ("jobs/status", jobs[0]):
        vendors.answer_next(403, body={"detail": "no"}, path=path, times=math.inf)
    trigger = trigger_for("unsiloed", "job", "", ids=jobs, needed=wait_for, seconds=5.0)
    event = await event_of(trigger)
    assert event["text"] is None, "it does not concern the account"
    letters = event["states"]
    assert letters == "kss" if wait_for == 3 else "s" in letters


async def test_two_403s_end_all_of_a_list(vendors: StandInVendors) -> None:
    jobs = [vendors.add_job("unsiloed", "job", seconds=math.inf) for _ in range(4)]
    vendors.answer_next(403, body={"detail": "no"}, times=math.inf)
    event = await event_of(trigger_for("unsiloed", "job", "", ids=jobs, needed=4, seconds=9.0))
    assert event["states"].count("k") >= 2
    assert "Check the key of the connection" in event["text"]
    assert len(vendors.requests) <= 12
