"""The poller: all waits of one connection on one event loop share one session, one look-up and one schedule."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import time
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from airflow_provider_docstatus import _compat, poller
from airflow_provider_docstatus._compat import BaseHook
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.transport import aio, lookup
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.waiting import schedule
from airflow_provider_docstatus.waiting import wait as waits
from airflow_provider_docstatus.waiting.report import ending_from
from airflow_provider_docstatus.waiting.wait import Ending
from tests.task_runs import LONGEST, event_of, hurry, trigger_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


@pytest.fixture
def vendors(server: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInVendors]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    hurry(monkeypatch)
    monkeypatch.setattr(aio, "_limiters", {})  # what the test before has spent does not count
    server.requests.clear()
    keys = dict(server.keys)
    yield server
    server.answer_truly()
    server.latency = 0.0
    server.keys.update(keys)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[aiohttp.ClientSession]:
    """Collect the HTTP sessions that are opened."""
    opened: list[aiohttp.ClientSession] = []

    begin = aiohttp.ClientSession.__init__

    def begin_and_tell(session: aiohttp.ClientSession, *arguments: Any, **options: Any) -> None:
        begin(session, *arguments, **options)
        opened.append(session)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", begin_and_tell)
    return opened


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the connection look-ups."""
    counted: Counter[str] = Counter()
    if hasattr(BaseHook, "aget_connection"):
        ask = BaseHook.aget_connection

        async def aget_connection(conn_id: str) -> Any:
            counted[conn_id] += 1
            return await ask(conn_id)

        monkeypatch.setattr(BaseHook, "aget_connection", aget_connection)
    else:
        look = BaseHook.get_connection

        def get_connection(conn_id: str) -> Any:
            counted[conn_id] += 1
            return look(conn_id)

        monkeypatch.setattr(BaseHook, "get_connection", get_connection)
    return counted


async def endings(*triggers: DocStatusTrigger) -> list[Ending]:
    return [ending_from(event) for event in await asyncio.gather(*map(event_of, triggers))]


def waiting(trigger: DocStatusTrigger) -> asyncio.Future[Any]:
    return asyncio.ensure_future(event_of(trigger))


async def until(is_true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    for _ in range(int(LONGEST / 0.002)):
        if is_true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came true")


def asked(vendors: StandInVendors, path: str) -> int:
    """Return how many requests had this in their path."""
    return sum(path in record.path for record in list(vendors.requests))


class Gate:
    """Holds the look-ups of connections up until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.finished, self.is_open = list[str](), list[str](), asyncio.Event()
        self._look = lookup.get_connection_in_trigger
        monkeypatch.setattr(lookup, "get_connection_in_trigger", self._look_when_open)

    async def _look_when_open(self, conn_id: str) -> Any:
        self.begun.append(conn_id)
        await self.is_open.wait()
        found = await self._look(conn_id)
        self.finished.append(conn_id)
        return found


def stumble(
    monkeypatch: pytest.MonkeyPatch, failures: list[bool], error: type[Exception] = _compat.AirflowNotFoundException
) -> None:
    """Let some of the first look-ups of connections fail."""
    look, is_next_one_bad = lookup.get_connection_in_trigger, iter(failures)

    async def stumbling(conn_id: str) -> Any:
        if next(is_next_one_bad, False):
            raise error("vault")
        return await look(conn_id)

    monkeypatch.setattr(lookup, "get_connection_in_trigger", stumbling)


async def test_two_hundred_waits_share_a_session_a_look_up_and_sixteen_connections(
    vendors: StandInVendors, sessions: list[aiohttp.ClientSession], look_ups: Counter[str]
) -> None:
    vendors.latency = 0.005
    jobs = [vendors.add_job("aitronos", seconds=0.05) for _ in range(200)]
    ended = await endings(*(trigger_for("aitronos", "job", one) for one in jobs))
    assert [ending.id for ending in ended] == jobs
    assert {ending.outcome for ending in ended} == {"succeeded"}
    assert len(sessions) == 1
    assert look_ups == {"aitronos_default": 1}
    assert vendors.connections_opened <= aio.MOST_AT_ONCE


async def test_connections_are_apart(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, look_ups: Counter[str]) -> None:
    """Another connection has another key and perhaps another host, also when it is of the same service."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(vendors.connections()["aitronos_default"] | {"password": "wrong"}))
    mine, others = (vendors.add_job("aitronos") for _ in range(2))
    good, bad = await endings(trigger_for("aitronos", "job", mine), trigger_for("aitronos", "job", others, conn_id="other"))
    assert (good.outcome, bad.outcome) == ("succeeded", "key_rejected")
    assert look_ups == {"aitronos_default": 1, "other": 2}, "it is read again before a rejected key is believed"


async def test_an_id_that_several_wait_for_is_asked_once_a_round(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    as_lists = [waiting(trigger_for("aitronos", "job", "", ids=[job_id], needed=1)) for _ in range(20)]  # a list counts
    await until(lambda: len(vendors.requests) >= 3)
    vendors.finish(job_id)
    events = await asyncio.gather(*as_lists)
    assert {event["states"] for event in events} == {"s"}
    assert {event["calls"] for event in events} == {len(vendors.requests)}, "each question was for all of them"


async def test_the_shortest_deadline_of_an_id_does_not_end_the_others(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    impatient, patient = (waiting(trigger_for("aitronos", "job", job_id, seconds=seconds)) for seconds in (0.05, 60))
    assert ending_from(await impatient).outcome == "timed_out"
    vendors.finish(job_id)
    assert ending_from(await patient).outcome == "succeeded"


async def test_a_wait_that_fails_ends_alone_with_its_traceback(vendors: StandInVendors) -> None:
    class Clumsy(DocStatusTrigger):
        """Its log fails whenever it is asked for."""

        @property
        def log(self) -> Any:
            raise ZeroDivisionError("clumsy")

    job_id = vendors.add_job("aitronos", seconds=math.inf)
    trigger = trigger_for("aitronos", "job", job_id)
    sound, clumsy = waiting(trigger), waiting(Clumsy(**trigger.serialize()[1]))
    (failed,) = await asyncio.gather(clumsy, return_exceptions=True)
    assert isinstance(failed, ZeroDivisionError)
    assert failed.__traceback__ is not None
    vendors.finish(job_id)
    assert ending_from(await sound).outcome == "succeeded"


async def test_cancelling_one_of_many_leaves_the_others(vendors: StandInVendors) -> None:
    jobs = [vendors.add_job("aitronos", seconds=math.inf) for _ in range(10)]
    waits = [waiting(trigger_for("aitronos", "job", one)) for one in [*jobs, jobs[0]]]
    await until(lambda: len(vendors.requests) > 10)
    waits[0].cancel()
    for one in jobs:
        vendors.finish(one)
    ended = await asyncio.gather(*waits, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert {ending_from(event).outcome for event in ended[1:]} == {"succeeded"}


async def test_cancelling_the_first_wait_during_the_look_up_leaves_the_others(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up that is broken off would desynchronise the supervisor's channel on 3.0 to 3.2.1."""
    gate = Gate(monkeypatch)
    first, second = (waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"))) for _ in range(2))
    await until(lambda: bool(gate.begun))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.is_open.set()
    assert ending_from(await second).outcome == "succeeded"
    assert gate.begun == gate.finished == ["aitronos_default"]


async def test_a_connection_that_is_not_defined_ends_all_waits_with_one_look_up(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, look_ups: Counter[str]
) -> None:
    """Each look-up costs the triggerer's supervisor; a failed one is repeated, but not by each wait."""
    monkeypatch.setattr(lookup, "FAILURE_HOLDS", 0.05)
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.12)
    ended = await endings(*(trigger_for("aitronos", "job", f"job_{number}", conn_id="nowhere") for number in range(20)))
    assert {ending.outcome for ending in ended} == {"rejected"}
    assert "'nowhere' is not defined for the triggerer" in ended[0].text
    assert look_ups["nowhere"] <= 6


@pytest.mark.parametrize("error", [_compat.AirflowNotFoundException, ConnectionError], ids=lambda error: error.__name__)
async def test_a_look_up_that_fails_at_first_is_repeated(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """On 3.x any failure of the supervisor's channel, or of most secrets backends, looks like an undefined connection."""
    monkeypatch.setattr(lookup, "FAILURE_HOLDS", 0.02)
    stumble(monkeypatch, [True, True], error)
    (ending,) = await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
    assert ending.outcome == "succeeded"


async def test_a_look_up_that_breaks_for_good_ends_the_waits_as_it_broke(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's database may be away: unlike a connection that is not defined, a retry may mend that."""
    monkeypatch.setattr(lookup, "FAILURE_HOLDS", 0.02)
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.03)

    async def broken(conn_id: str) -> Any:
        raise ConnectionError(conn_id)

    monkeypatch.setattr(lookup, "get_connection_in_trigger", broken)
    waits = [waiting(trigger_for("aitronos", "job", f"job_{number}")) for number in range(5)]
    ended = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(end) for end in ended] == [ConnectionError] * 5


async def test_a_look_up_that_breaks_does_not_hurt_waits_that_know_the_connection(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lookup, "STALE", 0.05)
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    one = waiting(trigger_for("aitronos", "job", job_id))
    await until(lambda: bool(vendors.requests))

    async def broken(conn_id: str) -> Any:
        raise ConnectionError(f"{conn_id}: password=secret")

    monkeypatch.setattr(lookup, "get_connection_in_trigger", broken)
    await until(lambda: "used on" in caplog.text)
    vendors.finish(job_id)
    assert ending_from(await one).outcome == "succeeded"
    assert "cannot be read in the triggerer (ConnectionError). What was read before is used on." in caplog.text
    assert "secret" not in caplog.text


async def test_a_key_that_is_rotated_while_waiting_is_read_anew(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, look_ups: Counter[str], sessions: list[aiohttp.ClientSession]
) -> None:
    monkeypatch.setattr(waits, "CONFIRM_AFTER", 0.05)  # by then all that are under way with the old key have been answered
    jobs = [vendors.add_job("aitronos", seconds=math.inf) for _ in range(5)]
    rotated_meanwhile = [waiting(trigger_for("aitronos", "job", one)) for one in jobs]
    await until(lambda: len(vendors.requests) > 5)
    vendors.keys["aitronos"] = "rotated"
    for name, value in vendors.environment().items():
        monkeypatch.setenv(name, value)
    await until(lambda: look_ups["aitronos_default"] == 2)
    for one in jobs:
        vendors.finish(one)
    ended = [ending_from(event) for event in await asyncio.gather(*rotated_meanwhile)]
    assert {ending.outcome for ending in ended} == {"succeeded"}
    assert look_ups["aitronos_default"] == 2
    assert len(sessions) == 2, "a refusal is confirmed on a connection of its own"
    assert 401 in {record.status for record in vendors.requests}


async def test_one_401_does_not_end_the_waits(vendors: StandInVendors) -> None:
    """It is confirmed once before it is believed."""
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(401)
    (ending,) = await endings(trigger_for("aitronos", "job", job_id))
    assert ending.outcome == "succeeded"


async def test_a_403_about_one_id_ends_that_id_only(vendors: StandInVendors) -> None:
    mine, theirs = (vendors.add_job("aitronos", seconds=math.inf) for _ in range(2))
    vendors.answer_next(403, body={"detail": "no"}, path=theirs, times=math.inf)
    good, bad = (waiting(trigger_for("aitronos", "job", one)) for one in (mine, theirs))
    assert ending_from(await bad).outcome == "key_rejected"
    vendors.finish(mine)
    assert ending_from(await good).outcome == "succeeded"


@pytest.mark.parametrize("fault", [{"reset": True}, {"cut_off": True}, {"status": 502}], ids=str)
async def test_an_outage_is_waited_out(vendors: StandInVendors, fault: dict[str, Any]) -> None:
    jobs = [vendors.add_job("aitronos") for _ in range(3)]
    outage = vendors.answer_next(**fault, times=6)
    ended = await endings(*(trigger_for("aitronos", "job", one) for one in jobs))
    assert {ending.outcome for ending in ended} == {"succeeded"}
    assert outage.times == 0


async def test_an_idle_poller_closes_its_session_and_a_later_wait_opens_another(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, sessions: list[aiohttp.ClientSession]
) -> None:
    monkeypatch.setattr(poller, "LINGER", 0.02)
    for number in (1, 2):
        (ending,) = await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
        assert ending.outcome == "succeeded"
        assert len(sessions) == number
        await until(lambda: sessions[-1].closed)
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})  # nothing runs for nobody


async def test_a_wait_that_joins_while_an_idle_poller_goes_is_not_lost(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few turns of the loop pass between the end of the pause and its being noticed."""
    monkeypatch.setattr(poller, "LINGER", 0.02)
    pause, waits = poller.Poller._has_news, list[Any]()

    async def join_at_the_end(self: poller.Poller, seconds: float) -> bool:
        has_news = await pause(self, seconds)
        if not has_news and not waits and not self._schedule and not self._tasks:
            waits.append(waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=60)))
            await asyncio.sleep(0.005)
        return has_news

    monkeypatch.setattr(poller.Poller, "_has_news", join_at_the_end)
    await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
    await until(lambda: bool(waits))
    (late,) = waits
    assert ending_from(await late).outcome == "succeeded"


async def test_a_poller_that_was_idle_for_less_keeps_its_session(
    vendors: StandInVendors, sessions: list[aiohttp.ClientSession], look_ups: Counter[str]
) -> None:
    for _ in range(3):
        await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
    assert len(sessions) == look_ups["aitronos_default"] == 1


def test_every_event_loop_has_pollers_of_its_own(vendors: StandInVendors, sessions: list[aiohttp.ClientSession]) -> None:
    """``dag.test()`` has a loop for each trigger."""
    for _ in range(2):
        (ending,) = asyncio.run(endings(trigger_for("aitronos", "job", vendors.add_job("aitronos"))))
        assert ending.outcome == "succeeded"
    assert len(sessions) == 2


@pytest.mark.parametrize(
    "where",
    ["sending", "scheduling"],
)
async def test_a_bug_ends_the_waits_with_its_traceback(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Not a wait that hangs until its deadline."""

    def bug(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError(where)

    if where == "sending":
        monkeypatch.setattr(aiohttp.ClientSession, "request", bug)
    else:
        monkeypatch.setattr(poller, "Poller", partial(poller.Poller, jitter=bug))
    with pytest.raises(ZeroDivisionError, match=where):
        await event_of(trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=math.inf), seconds=60))


async def test_a_service_that_hangs_does_not_hold_a_wait_beyond_its_time(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.05)
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(None, delay=10.0)
    (ending,) = await endings(trigger_for("aitronos", "job", job_id, seconds=0.05))
    assert ending.outcome == "timed_out"
    assert [record.status for record in vendors.requests] == [0], "there was no answer yet"


async def test_where_the_limit_binds_the_last_poll_of_a_wait_goes_first(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for their turn for a quarter of a minute; its time is up."""
    hurry(monkeypatch, calls_per_minute=1200)
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    others = [
        waiting(trigger_for("unsiloed", "extract", vendors.add_job("unsiloed", "extract", seconds=math.inf))) for _ in range(95)
    ]
    job_id = vendors.add_job("unsiloed", "extract", seconds=math.inf)
    trigger = trigger_for("unsiloed", "extract", job_id, seconds=1.0)
    one = waiting(trigger)
    await until(lambda: asked(vendors, job_id) == 1)  # the last of the burst: from now on the limit binds
    vendors.finish(job_id)
    assert ending_from(await one).outcome == "succeeded"
    late = [record for record in vendors.requests if record.time > trigger.spec.deadline and job_id not in record.path]
    assert len(late) < 20, "of 95"
    for each in others:
        each.cancel()


async def test_two_connections_of_one_key_share_its_limiter_and_the_count_of_open_waits(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, list[int]] = {}
    monkeypatch.setattr(poller.Stats, "gauge", lambda name, number: told.setdefault(name, []).append(number))
    other = vendors.connections()["aitronos_default"] | {"extra": {"calls_per_minute": 30_000, "share": 0.5}}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(other))
    jobs = [vendors.add_job("aitronos") for _ in range(2)]
    await endings(
        *(trigger_for("aitronos", "job", one, conn_id=f) for one, f in zip(jobs, ("aitronos_default", "other"), strict=True))
    )
    mine, others = (poller.poller_for(conn_id, SERVICES["aitronos"])._lookup.client for conn_id in ("aitronos_default", "other"))
    assert mine.limiter is others.limiter
    assert (max(told["docstatus.aitronos.open_waits"]), told["docstatus.aitronos.open_waits"][-1]) == (2, 0)


async def test_a_limit_that_stretches_the_interval_is_said_once(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hurry(monkeypatch, calls_per_minute=3000)
    jobs = [vendors.add_job("unsiloed", "extract", seconds=math.inf) for _ in range(40)]
    waits = [waiting(trigger_for("unsiloed", "extract", one)) for one in jobs]
    await until(lambda: "each is polled every" in caplog.text)
    for one in jobs:
        vendors.finish(one)
    await until(lambda: sum(one.done() for one in waits) >= 3)  # each of their polls was late, too
    assert {ending_from(one.result()).outcome for one in waits if one.done()} == {"succeeded"}
    for one in waits:
        one.cancel()
    (said,) = [record.getMessage() for record in caplog.records if "each is polled every" in record.getMessage()]
    assert "unsiloed_default: 40 ids share" in said
    assert "calls a minute" in said


async def test_an_interval_that_the_limit_allows_is_not_remarked_on(
    vendors: StandInVendors, caplog: pytest.LogCaptureFixture
) -> None:
    await endings(*(trigger_for("unsiloed", "extract", vendors.add_job("unsiloed", "extract")) for _ in range(40)))
    assert "each is polled every" not in caplog.text


async def test_a_document_that_joins_while_its_request_is_asked_about_needs_no_question_of_its_own(
    vendors: StandInVendors,
) -> None:
    vendors.latency = 0.1
    request = vendors.jobs[vendors.add_job("neurolinker", documents=3)]
    parent = ["request", request.job_id]
    first, second, third = (trigger_for("neurolinker", "document", one.job_id, parent=parent) for one in request.documents)
    waits = [waiting(first), waiting(second)]
    await until(lambda: bool(vendors.requests))
    ended = [ending_from(event) for event in await asyncio.gather(*waits, waiting(third))]
    assert {ending.outcome for ending in ended} == {"succeeded"}
    assert len(vendors.requests) == 1


HTML = {"status": 200, "body": "<html>Please log in</html>", "content_type": "text/html"}
BROKEN = [
    *({"status": status} for status in (400, 401, 402, 403, 404, 409, 413, 500, 503)),
    {"reset": True},
    HTML,
    {"status": 200, "body": {"status": "archived"}},
]


@pytest.mark.parametrize("fault", BROKEN, ids=str)
@pytest.mark.parametrize("is_known", [False, True], ids=["learned", "known from the worker"])
async def test_documents_end_though_their_request_cannot_be_asked(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], is_known: bool
) -> None:
    monkeypatch.setattr(waits, "PATIENCE", 0.0)
    request = vendors.jobs[vendors.add_job("neurolinker", seconds=math.inf, documents=3)]
    vendors.answer_next(**fault, times=math.inf, path="request-status")
    parent = ["request", request.job_id] if is_known else None
    documents = [one.job_id for one in request.documents]
    running = [waiting(trigger_for("neurolinker", "document", one, parent=parent)) for one in documents]
    await until(lambda: asked(vendors, "request-status") >= 3 and all(asked(vendors, one) for one in documents))
    vendors.finish(request.job_id)
    ended = [ending_from(event) for event in await asyncio.gather(*running)]
    assert {ending.outcome for ending in ended} == {"succeeded"}


@pytest.mark.parametrize("fault", BROKEN, ids=str)
async def test_jobs_end_though_the_question_about_several_fails(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(waits, "PATIENCE", 0.0)
    jobs = [vendors.add_job("unsiloed", "job", seconds=math.inf) for _ in range(3)]
    vendors.answer_next(**fault, times=math.inf, path="jobs/status")
    running = [waiting(trigger_for("unsiloed", "job", one)) for one in jobs]
    await until(lambda: asked(vendors, "jobs/status") and all(asked(vendors, f"jobs/{one}") for one in jobs))
    for one in jobs:
        vendors.finish(one)
    ended = [ending_from(event) for event in await asyncio.gather(*running)]
    assert {ending.outcome for ending in ended} == {"succeeded"}


async def test_one_refused_id_does_not_end_those_that_it_is_asked_with(vendors: StandInVendors) -> None:
    jobs = [vendors.add_job("unsiloed", "job", seconds=math.inf) for _ in range(3)]
    vendors.answer_next(500, times=math.inf, path="jobs/status")
    vendors.answer_next(422, body={"detail": "no"}, times=math.inf, path=jobs[0])
    refused, *others = (waiting(trigger_for("unsiloed", "job", one)) for one in jobs)
    assert ending_from(await refused).outcome == "rejected"
    for one in jobs[1:]:
        vendors.finish(one)
    assert [ending_from(event).outcome for event in await asyncio.gather(*others)] == ["succeeded", "succeeded"]


async def test_garbage_is_not_looked_for_in_what_was_there_before_the_first_wait(vendors: StandInVendors) -> None:
    gc.unfreeze()
    poller._freeze_what_is_loaded.cache_clear()
    poller._pollers.clear()
    before = [[]]
    first = await waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
    after = [[]]
    second = await waiting(trigger_for("unsiloed", "extract", vendors.add_job("unsiloed", "extract")))
    assert [first["outcome"], second["outcome"]] == ["succeeded", "succeeded"]
    looked_through = {id(one) for one in gc.get_objects()}
    assert id(before) not in looked_through, "an Airflow's worth of objects is looked through with each full collection"
    assert id(after) in looked_through, "what comes later must be collected"


async def test_nobody_is_asked_about_once_all_waits_were_killed(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, calls_per_minute=1200)
    waits = [waiting(trigger_for("unsiloed", "extract", vendors.add_job("unsiloed", "extract", seconds=9))) for _ in range(200)]
    await until(lambda: len(vendors.requests) > 96)  # the burst, and one more
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    await asyncio.sleep(0.05)  # for what was under way
    before = len(vendors.requests)
    await asyncio.sleep(0.15)
    assert len(vendors.requests) == before, "the next of the queue was due in less than a tenth of a second"


async def test_a_wait_that_begins_anew_during_the_look_up_is_not_hurt_by_the_one_that_was_killed(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    document = vendors.jobs[vendors.add_job("neurolinker", documents=2)].documents[0].job_id
    killed = waiting(trigger_for("neurolinker", "document", document))
    await until(lambda: bool(gate.begun))
    killed.cancel()
    anew = waiting(trigger_for("neurolinker", "document", document))
    await asyncio.gather(killed, return_exceptions=True)
    gate.is_open.set()
    assert ending_from(await anew).outcome == "succeeded"
    one = poller.poller_for("neurolinker_default", SERVICES["neurolinker"])
    assert (one._schedule._polls, one._schedule._peers) == ({}, {})


async def test_bugs_do_not_use_the_poller_up(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    bugs = iter(range(aio.MOST_AT_ONCE + 1))

    def bug(*_: Any) -> None:
        if next(bugs, None) is not None:
            raise ZeroDivisionError

    monkeypatch.setattr(poller.Poller, "_warn_when_late", bug)
    for _ in range(aio.MOST_AT_ONCE + 1):
        with pytest.raises(ZeroDivisionError):
            await event_of(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
    (ending,) = await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=60))
    assert ending.outcome == "succeeded"


@pytest.mark.parametrize("damaged", [{"id": 5}, {"id": None}, {"ids": [1, None, "a"]}], ids=str)
async def test_an_id_that_is_no_text_hurts_no_other_wait(vendors: StandInVendors, damaged: dict[str, Any]) -> None:
    job_id = vendors.add_job("unsiloed", "job", seconds=math.inf)
    sound = waiting(trigger_for("unsiloed", "job", job_id))
    await until(lambda: bool(vendors.requests))
    other = waiting(DocStatusTrigger(**{**trigger_for("unsiloed", "job", "x", seconds=0.05).serialize()[1], **damaged}))
    await asyncio.gather(other, return_exceptions=True)
    vendors.finish(job_id)
    assert ending_from(await sound).outcome == "succeeded"


async def test_a_wait_on_a_route_that_the_triggerer_does_not_know_hurts_no_other_wait(vendors: StandInVendors) -> None:
    """A newer worker wrote it."""
    await endings(trigger_for("neurolinker", "document", vendors.jobs[vendors.add_job("neurolinker")].documents[0].job_id))
    vendors.latency, before = 0.04, len(vendors.requests)
    documents = [vendors.jobs[vendors.add_job("neurolinker")].documents[0].job_id for _ in range(5)]
    waits = [waiting(trigger_for("neurolinker", "document", one)) for one in documents]
    await until(lambda: len(vendors.requests) > before)  # one of them is asked about, to learn what it belongs to
    await asyncio.gather(waiting(trigger_for("neurolinker", "tomorrows", "x")), return_exceptions=True)
    assert {ending_from(event).outcome for event in await asyncio.gather(*waits)} == {"succeeded"}


async def test_a_good_answer_is_taken_though_the_prefix_has_changed_meanwhile(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both prefixes answer, each slip of a gateway would double all that is under way."""
    monkeypatch.setattr(vendors, "neurolinker_prefix", "both")
    odd, good = (vendors.add_job("neurolinker", "request") for _ in range(2))
    vendors.answer_next(405, path=odd)
    reply = {"request_id": good, "status": "completed", "total": 1, "completed": 1, "failed": 0, "processing": 0}
    vendors.answer_next(200, body=reply, path=good, delay=0.1)
    ended = await endings(*(trigger_for("neurolinker", "request", one) for one in (odd, good)))
    assert {ending.outcome for ending in ended} == {"succeeded"}
    paths = [record.path for record in vendors.requests]
    assert [path for path in paths if good in path] == [f"/v1/request-status/{good}"]
    assert f"/api/v1/request-status/{odd}" in paths


async def test_a_prefix_that_is_put_into_the_connection_holds_for_waits_that_have_found_another(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "STALE", 0.02)
    monkeypatch.setattr(vendors, "neurolinker_prefix", "/api/v1")
    request_id = vendors.add_job("neurolinker", "request", seconds=math.inf)
    one = waiting(trigger_for("neurolinker", "request", request_id, prefix="/api/v1"))
    await until(lambda: bool(vendors.requests))
    vendors.answer_next(200, body={"request_id": request_id, "status": "failed"}, path="/gateway/v1/request-status")
    edited = vendors.connections()["neurolinker_default"] | {"extra": {"prefix": "/gateway/v1"}}
    monkeypatch.setenv("AIRFLOW_CONN_NEUROLINKER_DEFAULT", json.dumps(edited))
    assert ending_from(await one).outcome == "failed"


@pytest.mark.parametrize("edit", [{"extra": {"share": "abc"}}, {"host": "https://x", "extra": {"ca_bundle": "/no.pem"}}], ids=str)
async def test_a_connection_that_is_edited_wrongly_for_a_while_ends_no_wait(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, edit: dict[str, Any]
) -> None:
    monkeypatch.setattr(lookup, "STALE", 0.05)
    right = vendors.connections()["aitronos_default"]
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    one = waiting(trigger_for("aitronos", "job", job_id))
    await until(lambda: bool(vendors.requests))
    monkeypatch.setenv("AIRFLOW_CONN_AITRONOS_DEFAULT", json.dumps(right | edit))
    await until(lambda: "used on" in caplog.text)
    vendors.finish(job_id)
    assert ending_from(await one).outcome == "succeeded"
    assert "What was read before is used on." in caplog.text


async def test_a_clock_that_is_set_back_does_not_stop_the_questions(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(ahead=3600.0)
    clock.time = lambda: time.time() + clock.ahead
    monkeypatch.setattr(poller, "Poller", partial(poller.Poller, clock=clock.time))
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    one = waiting(trigger_for("aitronos", "job", job_id, seconds=7200, poke_interval=0.02))
    await until(lambda: len(vendors.requests) >= 2)
    clock.ahead, before = 0.0, len(vendors.requests)
    await until(lambda: len(vendors.requests) >= before + 2)  # one may have been under way
    vendors.finish(job_id)
    assert ending_from(await one).outcome == "succeeded"


@pytest.mark.parametrize("deadline", [0.15, 100.0])
async def test_a_triggerer_that_stood_still_beyond_a_deadline_asks_before_it_ends_a_wait(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, deadline: float
) -> None:
    """A machine that slept, or SIGSTOP: the job has finished in time."""
    clock = SimpleNamespace(ahead=0.0)
    clock.time = lambda: time.time() + clock.ahead
    monkeypatch.setattr(poller, "Poller", partial(poller.Poller, clock=clock.time))
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    vendors.latency = 0.05
    one = waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=deadline, poke_interval=50.0))
    await asyncio.sleep(0.05)
    clock.ahead = 4000.0
    assert ending_from(await one).outcome == "succeeded"


async def test_a_triggerer_that_stood_still_ends_a_wait_soon_though_nobody_answers(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(ahead=0.0)
    clock.time = lambda: time.time() + clock.ahead
    monkeypatch.setattr(poller, "Poller", partial(poller.Poller, clock=clock.time))
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.1)
    vendors.answer_next(None, delay=10.0, times=math.inf)
    one = waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=50.0))
    await until(lambda: bool(vendors.requests))
    clock.ahead, began = 4000.0, time.monotonic()
    assert ending_from(await one).outcome == "timed_out"
    assert time.monotonic() - began > 0.09, "it has the time again in which nobody could answer"
    assert {record.status for record in vendors.requests} == {0}, "there was no answer yet"


@pytest.mark.parametrize("late", [0.0, 61.0, 4000.0])
async def test_a_wait_that_starts_after_its_deadline_asks_once(vendors: StandInVendors, late: float) -> None:
    """Its triggerer died; the job has finished in time."""
    (ending,) = await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=-late))
    assert ending.outcome == "succeeded"


async def test_documents_are_asked_through_their_request_again_when_that_answers_again(vendors: StandInVendors) -> None:
    request = vendors.jobs[vendors.add_job("neurolinker", seconds=math.inf, documents=10)]
    vendors.answer_next(500, times=6, path="request-status")
    parent = ["request", request.job_id]
    waits = [waiting(trigger_for("neurolinker", "document", one.job_id, parent=parent)) for one in request.documents]

    def answers() -> int:
        return sum("request-status" in record.path and record.status == 200 for record in list(vendors.requests))

    await until(lambda: answers() >= 5)
    alone = asked(vendors, "document-status")
    await until(lambda: answers() >= 10)
    assert alone > 10, "while it was broken"
    assert asked(vendors, "document-status") == alone
    vendors.finish(request.job_id)
    ended = [ending_from(event) for event in await asyncio.gather(*waits)]
    assert {ending.outcome for ending in ended} == {"succeeded"}


async def test_documents_are_not_held_up_behind_answers_that_hang(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows yet what they belong to, so the first ones are asked one at a time."""
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.3)
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    hanging, sound = (
        [document.job_id for document in vendors.jobs[vendors.add_job("neurolinker", documents=number)].documents]
        for number in (20, 5)
    )
    for one in hanging:
        vendors.answer_next(503, delay=0.12, path=one, times=math.inf)
    ended = await endings(*(trigger_for("neurolinker", "document", one, seconds=0.06) for one in (*hanging, *sound)))
    assert {ending.outcome for ending in ended[20:]} == {"succeeded"}


async def test_answers_that_hang_hold_up_those_who_want_to_learn_the_same_for_a_moment_only(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have hours to go, but their documents are finished."""
    monkeypatch.setattr(schedule, "PARENT_LOOKUP_TIMEOUT", 0.02)
    first, *hanging = (vendors.jobs[vendors.add_job("neurolinker")].documents[0].job_id for _ in range(11))
    sound = [document.job_id for document in vendors.jobs[vendors.add_job("neurolinker", documents=5)].documents]
    await endings(trigger_for("neurolinker", "document", first))  # the session is open
    for one in hanging:
        vendors.answer_next(503, delay=10.0, path=one, times=math.inf)
    others = [waiting(trigger_for("neurolinker", "document", one)) for one in hanging]
    ended = await endings(*(trigger_for("neurolinker", "document", one) for one in sound))
    assert {ending.outcome for ending in ended} == {"succeeded"}
    assert 503 not in {record.status for record in vendors.requests}, "before any of them has come"
    for one in others:
        one.cancel()


async def test_a_connection_that_cannot_be_found_is_looked_for_all_the_time_that_it_may_still_appear(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two look-ups that happen to fail with a long pause between them prove little."""
    monkeypatch.setattr(lookup, "FAILURE_HOLDS", 0.05)
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.4)
    stumble(monkeypatch, [True, True])
    (ending,) = await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos"), poke_interval=0.5, asked_at=0.0))
    assert ending.outcome == "succeeded"


async def test_a_look_up_that_fails_beside_a_401_does_not_hurry_the_questions_that_follow(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "FAILURE_HOLDS", 0.02)
    stumble(monkeypatch, [False, True])
    one = waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=math.inf), poke_interval=0.1, asked_at=0.0))
    await until(lambda: bool(vendors.requests))
    vendors.answer_next(401)
    await until(lambda: 401 in {record.status for record in vendors.requests})
    before, began = len(vendors.requests), time.monotonic()
    await asyncio.sleep(0.25)
    tenths = (time.monotonic() - began) / 0.09  # with jitter
    assert len(vendors.requests) - before <= tenths + 3, "one in a tenth of a second, one more for the 401"
    one.cancel()


async def test_a_clock_that_is_set_back_does_not_stop_the_look_up_of_the_connection(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, look, failures = SimpleNamespace(ahead=3600.0), lookup.get_connection_in_trigger, [True]
    clock.time = lambda: time.time() + clock.ahead

    async def stumbling(conn_id: str) -> Any:
        if failures:
            failures.pop()
            raise _compat.AirflowNotFoundException("vault")
        return await look(conn_id)

    monkeypatch.setattr(lookup, "get_connection_in_trigger", stumbling)
    monkeypatch.setattr(poller, "Poller", partial(poller.Poller, clock=clock.time))
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    one = waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=7200, poke_interval=0.02))
    await until(lambda: not failures)
    await asyncio.sleep(0.03)  # its failure holds for some seconds
    clock.ahead, began = 0.0, time.monotonic()
    assert ending_from(await one).outcome == "succeeded"
    assert time.monotonic() - began < lookup.FAILURE_HOLDS - 1


async def test_a_wait_keeps_no_reply(vendors: StandInVendors) -> None:
    """A reply may have megabytes, and an error's traceback holds the frames that read it."""
    vendors.answer_next(200, body="<html>", content_type="text/html", times=math.inf)
    trigger = trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=0.05)
    heard: list[BaseException] = []
    listen = poller.Subscription.observe

    def tell(self: poller.Subscription, target: Any, observation: Any, now: float) -> bool:
        heard.append(observation)
        return listen(self, target, observation, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poller.Subscription, "observe", tell)
        await event_of(trigger)
    assert heard
    assert {(error.__traceback__, error.__context__, error.__cause__) for error in heard} == {(None, None, None)}


async def test_others_have_the_loop_between_the_slices_of_a_long_reply(vendors: StandInVendors) -> None:
    rows = [{"text": "x" * 30, "box": [1, 2]}] * 20_000
    job = vendors.add_job("aitronos", reply={"extracted_data": rows})
    turns, seen = 0, list[int]()
    pause = poller.Poller._pause

    async def beat() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def look(self: poller.Poller) -> None:
        seen.append(turns)
        await pause(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poller.Poller, "_pause", look)
        beating = asyncio.create_task(beat())
        (ending,) = await endings(trigger_for("aitronos", "job", job))
        beating.cancel()
    assert ending.outcome == "succeeded"
    assert len(seen) > 20
    assert len(set(seen)) == len(seen)


async def test_of_many_long_replies_one_has_a_slice_in_each_turn() -> None:
    one, turn = poller.Poller("aitronos_default", SERVICES["aitronos"]), 0
    slices = Counter[int]()

    async def read() -> None:
        for _ in range(5):
            await one._pause()
            slices[turn] += 1

    reading = [asyncio.create_task(read()) for _ in range(8)]
    while not all(task.done() for task in reading):
        turn += 1
        await asyncio.sleep(0)
    assert sum(slices.values()) == 40
    assert max(slices.values()) == 1


async def test_very_many_waits_for_one_id_end_in_slices(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their triggers go on in the turn in which they were told."""
    monkeypatch.setattr(schedule, "NOTIFIED_AT_ONCE", 4)
    job, turn = vendors.add_job("aitronos"), 0
    ended = Counter[int]()

    async def wait() -> str:
        outcome = ending_from(await event_of(trigger_for("aitronos", "job", job))).outcome
        ended[turn] += 1
        return outcome

    waits = [asyncio.create_task(wait()) for _ in range(40)]
    while not all(task.done() for task in waits):
        turn += 1
        await asyncio.sleep(0)
    assert {task.result() for task in waits} == {"succeeded"}
    assert max(ended.values()) <= 4
    assert asked(vendors, job) == 1


async def test_a_cancelled_wait_leaves_no_reading_behind(vendors: StandInVendors) -> None:
    vendors.latency = 0.02
    jobs = [vendors.add_job("aitronos", seconds=math.inf) for _ in range(4)]
    waits = [waiting(trigger_for("aitronos", "job", one)) for one in jobs]
    one = poller.poller_for("aitronos_default", SERVICES["aitronos"])
    await until(lambda: len(one._schedule.cache) == 4 and len(vendors.requests) > 4)  # they are asked about once more
    for each in waits[1:]:
        each.cancel()
    before = len(vendors.requests)
    await until(lambda: len(vendors.requests) > before + 2)  # what was under way is over
    assert {target.id for target in one._schedule.cache} == {jobs[0]}
    waits[0].cancel()


# -- a fact is told at once, and that nobody could ask is said ---------------------------------------------------------

FOR_A_DAY = {"status": 429, "headers": {"Retry-After": "86400"}}


@pytest.fixture
def hasty(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> StandInVendors:
    """The stand-in vendors for a triggerer that soon notices that the time of a wait is up."""
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.05)
    return vendors


async def test_waits_that_a_429_keeps_from_being_asked_for_are_not_called_unfinished(hasty: StandInVendors) -> None:
    """One wait gets a 429 for a day. Two others, whose jobs are finished, reach their deadline."""
    jobs = [hasty.add_job("aitronos") for _ in range(3)]
    await endings(trigger_for("aitronos", "job", hasty.add_job("aitronos")))  # the session is open from now on
    hasty.answer_next(**FOR_A_DAY, path=jobs[0])
    first = asyncio.ensure_future(event_of(trigger_for("aitronos", "job", jobs[0], seconds=0.5)))
    await until(lambda: any(limiter.paused_until > 0 for limiter in aio._limiters.values()))
    told = [ending_from(await first), *await endings(*(trigger_for("aitronos", "job", one, seconds=0.1) for one in jobs[1:]))]
    assert [ending.outcome for ending in told] == ["not_asked"] * 3
    for ending in told:
        assert f"could not be asked about {ending.id} since " in str(ending.text)
        assert "paused until " in str(ending.text)
        assert "a retry asks again" in str(ending.text)


async def test_the_days_calls_that_are_used_up_are_named(hasty: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.dumps({"conn_type": "aitronos", "host": hasty.url, "password": hasty.keys["aitronos"]})
    monkeypatch.setenv("AIRFLOW_CONN_AITRONOS_DEFAULT", json.dumps({**json.loads(connection), "extra": {"calls_per_day": 2}}))
    jobs = [hasty.add_job("aitronos", seconds=math.inf) for _ in range(2)]
    told = await endings(*(trigger_for("aitronos", "job", one, seconds=0.5) for one in jobs))
    assert [ending.outcome for ending in told] == ["not_asked"] * 2
    assert all("since this process has used its share of 2 calls a day" in str(ending.text) for ending in told)


async def test_a_wait_learns_early_that_its_turn_comes_after_its_deadline(
    hasty: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(DocStatusTrigger, "log", logging.getLogger("trigger"))
    hasty.answer_next(**FOR_A_DAY)
    with caplog.at_level(logging.WARNING):
        waiting = asyncio.ensure_future(event_of(trigger_for("aitronos", "job", hasty.add_job("aitronos"), seconds=9.0)))
        await until(lambda: "turn comes" in caplog.text)
        waiting.cancel()
    assert caplog.text.count("The next poll's turn comes 59") == 1, "10 minutes of pause, 9 s until the deadline"
    assert "Raise the limit or the timeout" in caplog.text


async def test_who_was_asked_at_the_deadline_has_timed_out(hasty: StandInVendors) -> None:
    (ending,) = await endings(trigger_for("aitronos", "job", hasty.add_job("aitronos", seconds=math.inf), seconds=0.1))
    assert ending.outcome == "timed_out"


async def test_a_request_that_hangs_over_the_deadline_was_asked(hasty: StandInVendors) -> None:
    hasty.answer_next(200, delay=9.0)
    (ending,) = await endings(trigger_for("aitronos", "job", hasty.add_job("aitronos"), seconds=0.1))
    assert ending.outcome == "timed_out"


@pytest.mark.parametrize(
    "trouble",
    [{"status": 200, "delay": 9.0}, {"status": 429, "headers": {"Retry-After": "600"}}],
    ids=["its request hangs", "a pause of ten minutes"],
)
async def test_a_document_that_is_finished_is_told_before_its_request_is_polled(
    hasty: StandInVendors, trouble: dict[str, Any]
) -> None:
    request = hasty.jobs[hasty.add_job("neurolinker", documents=3)]
    hasty.answer_next(**trouble, path="request-status", times=math.inf)
    first, *others = (trigger_for("neurolinker", "document", one.job_id, seconds=1.0) for one in request.documents)
    waits = [asyncio.ensure_future(event_of(one)) for one in (first, *others)]
    assert ending_from(await waits[0]).outcome == "succeeded"
    for wait in waits[1:]:
        wait.cancel()


@pytest.mark.parametrize("wait_for", [1, 3], ids=["any", "all"])
async def test_a_403_about_one_id_of_a_list_ends_that_id_only(hasty: StandInVendors, wait_for: int) -> None:
    jobs = [hasty.add_job("unsiloed", "job", seconds=0.2 if wait_for == 3 else 0) for _ in range(3)]
    for path in ("jobs/status", jobs[0]):
        hasty.answer_next(403, body={"detail": "no"}, path=path, times=math.inf)
    trigger = trigger_for("unsiloed", "job", "", ids=jobs, needed=wait_for, seconds=5.0)
    event = await event_of(trigger)
    assert event["text"] is None, "it does not concern the account"
    letters = event["states"]
    assert letters == "kss" if wait_for == 3 else "s" in letters


async def test_two_403s_end_all_of_a_list(hasty: StandInVendors) -> None:
    jobs = [hasty.add_job("unsiloed", "job", seconds=math.inf) for _ in range(4)]
    hasty.answer_next(403, body={"detail": "no"}, times=math.inf)
    event = await event_of(trigger_for("unsiloed", "job", "", ids=jobs, needed=4, seconds=9.0))
    assert event["states"].count("k") >= 2
    assert "Check the key of the connection" in event["text"]
    assert len(hasty.requests) <= 12
