"""The poller: all waits of one connection on one event loop share one session, one look-up and one schedule."""

from __future__ import annotations

import asyncio
import gc
import json
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
from tests.task_runs import event_of, hurry, trigger_for

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
    """Wait until something is true, five seconds at most."""
    for _ in range(500):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


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
    vendors.latency = 0.01
    jobs = [vendors.add_job("aitronos", seconds=0.2) for _ in range(200)]
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


async def test_an_id_that_several_wait_for_is_asked_once_a_round(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, poll_interval=0.1)
    job_id = vendors.add_job("aitronos", seconds=0.25)
    ended = await endings(*(trigger_for("aitronos", "job", job_id) for _ in range(20)))
    assert {ending.outcome for ending in ended} == {"succeeded"}
    assert len(vendors.requests) <= 4, "one in each tenth of a second"


async def test_the_shortest_deadline_of_an_id_does_not_end_the_others(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("aitronos", seconds=0.3)
    impatient, patient = await endings(
        trigger_for("aitronos", "job", job_id, seconds=0.1), trigger_for("aitronos", "job", job_id, seconds=10)
    )
    assert (impatient.outcome, patient.outcome) == ("timed_out", "succeeded")


async def test_a_wait_that_fails_ends_alone_with_its_traceback(vendors: StandInVendors) -> None:
    class Clumsy(DocStatusTrigger):
        """Its log fails whenever it is asked for."""

        @property
        def log(self) -> Any:
            raise ZeroDivisionError("clumsy")

    job_id = vendors.add_job("aitronos", seconds=0.1)
    sound = trigger_for("aitronos", "job", job_id)
    clumsy = Clumsy(**sound.serialize()[1])
    ended, failed = await asyncio.gather(event_of(sound), event_of(clumsy), return_exceptions=True)
    assert ending_from(ended).outcome == "succeeded"
    assert isinstance(failed, ZeroDivisionError)
    assert failed.__traceback__ is not None


async def test_cancelling_one_of_many_leaves_the_others(vendors: StandInVendors) -> None:
    jobs = [vendors.add_job("aitronos", seconds=0.2) for _ in range(10)]
    waits = [waiting(trigger_for("aitronos", "job", one)) for one in [*jobs, jobs[0]]]
    await asyncio.sleep(0.1)
    waits[0].cancel()
    ended = await asyncio.gather(*waits, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert {ending_from(event).outcome for event in ended[1:]} == {"succeeded"}


async def test_cancelling_the_first_wait_during_the_look_up_leaves_the_others(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up that is broken off would desynchronise the supervisor's channel on 3.0 to 3.2.1."""
    look = lookup.get_connection_in_trigger
    finished = []

    async def slowly(conn_id: str) -> Any:
        await asyncio.sleep(0.1)
        found = await look(conn_id)
        finished.append(conn_id)
        return found

    monkeypatch.setattr(lookup, "get_connection_in_trigger", slowly)
    first, second = (waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"))) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert ending_from(await second).outcome == "succeeded"
    assert finished == ["aitronos_default"]


async def test_a_connection_that_is_not_defined_ends_all_waits_with_one_look_up(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, look_ups: Counter[str]
) -> None:
    """Each look-up costs the triggerer's supervisor; a failed one is repeated, but not by each wait."""
    monkeypatch.setattr(lookup, "FAILURE_HOLDS", 0.1)
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.25)
    began = time.monotonic()
    ended = await endings(*(trigger_for("aitronos", "job", f"job_{number}", conn_id="nowhere") for number in range(20)))
    assert {ending.outcome for ending in ended} == {"rejected"}
    assert "'nowhere' is not defined for the triggerer" in ended[0].text
    assert time.monotonic() - began < 5
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
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.1)

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
    jobs = [vendors.add_job("aitronos", seconds=0.3) for _ in range(5)]
    waits = [waiting(trigger_for("aitronos", "job", one)) for one in jobs]
    await asyncio.sleep(0.1)
    vendors.keys["aitronos"] = "rotated"
    for name, value in vendors.environment().items():
        monkeypatch.setenv(name, value)
    ended = [ending_from(event) for event in await asyncio.gather(*waits)]
    assert {ending.outcome for ending in ended} == {"succeeded"}
    assert look_ups["aitronos_default"] == 2
    assert len(sessions) == 2, "a refusal is confirmed on a connection of its own"
    assert 401 in {record.status for record in vendors.requests}


async def test_one_401_does_not_end_the_waits(vendors: StandInVendors) -> None:
    """It is confirmed once before it is believed."""
    job_id = vendors.add_job("aitronos", seconds=0.1)
    vendors.answer_next(401)
    (ending,) = await endings(trigger_for("aitronos", "job", job_id))
    assert ending.outcome == "succeeded"


async def test_a_403_about_one_id_ends_that_id_only(vendors: StandInVendors) -> None:
    mine, theirs = (vendors.add_job("aitronos", seconds=0.1) for _ in range(2))
    vendors.answer_next(403, path=theirs, times=math.inf)
    good, bad = await endings(trigger_for("aitronos", "job", mine), trigger_for("aitronos", "job", theirs))
    assert (good.outcome, bad.outcome) == ("succeeded", "key_rejected")


@pytest.mark.parametrize("fault", [{"reset": True}, {"cut_off": True}, {"status": 502}], ids=str)
async def test_an_outage_is_waited_out(vendors: StandInVendors, fault: dict[str, Any]) -> None:
    jobs = [vendors.add_job("aitronos", seconds=0.1) for _ in range(3)]
    vendors.answer_next(**fault, times=6)
    ended = await endings(*(trigger_for("aitronos", "job", one) for one in jobs))
    assert {ending.outcome for ending in ended} == {"succeeded"}


async def test_an_idle_poller_closes_its_session_and_a_later_wait_opens_another(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, sessions: list[aiohttp.ClientSession]
) -> None:
    monkeypatch.setattr(poller, "LINGER", 0.05)
    for number in (1, 2):
        (ending,) = await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
        assert ending.outcome == "succeeded"
        assert len(sessions) == number
        await asyncio.sleep(0.2)
        assert sessions[-1].closed
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing runs for nobody"


async def test_a_wait_that_joins_while_an_idle_poller_goes_is_not_lost(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few turns of the loop pass between the end of the pause and its being noticed."""
    monkeypatch.setattr(poller, "LINGER", 0.02)
    pause, waits = poller.Poller._has_news, list[Any]()

    async def join_at_the_end(self: poller.Poller, seconds: float) -> bool:
        has_news = await pause(self, seconds)
        if not has_news and not waits and not self._schedule and not self._tasks:
            waits.append(waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=2)))
            await asyncio.sleep(0.005)
        return has_news

    monkeypatch.setattr(poller.Poller, "_has_news", join_at_the_end)
    await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
    await asyncio.sleep(0.1)
    (late,) = waits
    assert ending_from(await asyncio.wait_for(late, 5)).outcome == "succeeded"


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
        await asyncio.wait_for(event_of(trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=math.inf))), 2)


async def test_a_service_that_hangs_does_not_hold_a_wait_beyond_its_time(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.1)
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.05)
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(None, delay=1.0)
    began = time.monotonic()
    (ending,) = await endings(trigger_for("aitronos", "job", job_id, seconds=0.2))
    assert ending.outcome == "timed_out"
    assert time.monotonic() - began < 0.9


async def test_where_the_limit_binds_the_last_poll_of_a_wait_goes_first(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for their turn for a quarter of a minute; its time is up."""
    hurry(monkeypatch, calls_per_minute=1200)
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.05)
    others = [waiting(trigger_for("unsiloed", "extract", vendors.add_job("unsiloed", "extract", seconds=9))) for _ in range(99)]
    job_id, began = vendors.add_job("unsiloed", "extract", seconds=0.3), time.monotonic()
    (ending,) = await endings(trigger_for("unsiloed", "extract", job_id, seconds=0.5))
    assert ending.outcome == "succeeded"
    assert time.monotonic() - began < 1.7
    for one in others:
        one.cancel()


async def test_two_connections_of_one_key_share_its_limiter_and_the_count_of_open_waits(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, list[int]] = {}
    monkeypatch.setattr(poller.Stats, "gauge", lambda name, number: told.setdefault(name, []).append(number))
    other = vendors.connections()["aitronos_default"] | {"extra": {"calls_per_minute": 30_000, "share": 0.5}}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(other))
    jobs = [vendors.add_job("aitronos", seconds=0.1) for _ in range(2)]
    await endings(
        *(trigger_for("aitronos", "job", one, conn_id=f) for one, f in zip(jobs, ("aitronos_default", "other"), strict=True))
    )
    mine, others = (poller.poller_for(conn_id, SERVICES["aitronos"])._lookup.client for conn_id in ("aitronos_default", "other"))
    assert mine.limiter is others.limiter
    assert (max(told["docstatus.aitronos.open_waits"]), told["docstatus.aitronos.open_waits"][-1]) == (2, 0)


async def test_a_limit_that_stretches_the_interval_is_said_once(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hurry(monkeypatch, calls_per_minute=6000)
    jobs = [vendors.add_job("unsiloed", "extract", seconds=0.3) for _ in range(40)]
    ended = await endings(*(trigger_for("unsiloed", "extract", one) for one in jobs))
    assert {ending.outcome for ending in ended} == {"succeeded"}
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
    vendors.latency = 0.2
    request = vendors.jobs[vendors.add_job("neurolinker", documents=3)]
    parent = ["request", request.job_id]
    first, second, third = (trigger_for("neurolinker", "document", one.job_id, parent=parent) for one in request.documents)
    waits = [waiting(first), waiting(second)]
    await asyncio.sleep(0.1)
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
    monkeypatch.setattr(waits, "PATIENCE", 0.04)
    request = vendors.jobs[vendors.add_job("neurolinker", seconds=0.1, documents=3)]
    vendors.answer_next(**fault, times=math.inf, path="request-status")
    parent = ["request", request.job_id] if is_known else None
    ended = await endings(*(trigger_for("neurolinker", "document", one.job_id, parent=parent) for one in request.documents))
    assert {ending.outcome for ending in ended} == {"succeeded"}


@pytest.mark.parametrize("fault", BROKEN, ids=str)
async def test_jobs_end_though_the_question_about_several_fails(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(waits, "PATIENCE", 0.04)
    jobs = [vendors.add_job("unsiloed", "job", seconds=0.1) for _ in range(3)]
    vendors.answer_next(**fault, times=math.inf, path="jobs/status")
    ended = await endings(*(trigger_for("unsiloed", "job", one) for one in jobs))
    assert {ending.outcome for ending in ended} == {"succeeded"}


async def test_one_refused_id_does_not_end_those_that_it_is_asked_with(vendors: StandInVendors) -> None:
    jobs = [vendors.add_job("unsiloed", "job", seconds=0.1) for _ in range(3)]
    vendors.answer_next(500, times=math.inf, path="jobs/status")
    vendors.answer_next(422, times=math.inf, path=jobs[0])
    ended = await endings(*(trigger_for("unsiloed", "job", one) for one in jobs))
    assert [ending.outcome for ending in ended] == ["rejected", "succeeded", "succeeded"]


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
    hurry(monkeypatch, calls_per_minute=600)
    waits = [waiting(trigger_for("unsiloed", "extract", vendors.add_job("unsiloed", "extract", seconds=9))) for _ in range(400)]
    await until(lambda: len(vendors.requests) > 40)
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    await asyncio.sleep(0.1)  # for what was under way
    asked = len(vendors.requests)
    await asyncio.sleep(0.3)
    assert len(vendors.requests) == asked, "the next of the queue was due after a tenth of a second"


async def test_a_wait_that_begins_anew_during_the_look_up_is_not_hurt_by_the_one_that_was_killed(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = lookup.get_connection_in_trigger

    async def slowly(conn_id: str) -> Any:
        await asyncio.sleep(0.1)
        return await look(conn_id)

    monkeypatch.setattr(lookup, "get_connection_in_trigger", slowly)
    document = vendors.jobs[vendors.add_job("neurolinker", documents=2)].documents[0].job_id
    killed = waiting(trigger_for("neurolinker", "document", document))
    await asyncio.sleep(0.02)
    killed.cancel()
    (ending,) = await endings(trigger_for("neurolinker", "document", document))
    assert ending.outcome == "succeeded"
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
    (ending,) = await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=2))
    assert ending.outcome == "succeeded"


@pytest.mark.parametrize("damaged", [{"id": 5}, {"id": None}, {"ids": [1, None, "a"]}], ids=str)
async def test_an_id_that_is_no_text_hurts_no_other_wait(vendors: StandInVendors, damaged: dict[str, Any]) -> None:
    sound = waiting(trigger_for("unsiloed", "job", vendors.add_job("unsiloed", "job", seconds=0.3)))
    await asyncio.sleep(0.05)
    other = waiting(DocStatusTrigger(**{**trigger_for("unsiloed", "job", "x", seconds=0.3).serialize()[1], **damaged}))
    await asyncio.gather(other, return_exceptions=True)
    assert ending_from(await sound).outcome == "succeeded"


async def test_a_wait_on_a_route_that_the_triggerer_does_not_know_hurts_no_other_wait(vendors: StandInVendors) -> None:
    """A newer worker wrote it."""
    await endings(trigger_for("neurolinker", "document", vendors.jobs[vendors.add_job("neurolinker")].documents[0].job_id))
    vendors.latency = 0.1
    documents = [vendors.jobs[vendors.add_job("neurolinker")].documents[0].job_id for _ in range(5)]
    waits = [waiting(trigger_for("neurolinker", "document", one)) for one in documents]
    await asyncio.sleep(0.05)  # one of them is asked about, to learn what it belongs to
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
    vendors.answer_next(200, body=reply, path=good, delay=0.2)
    ended = await endings(*(trigger_for("neurolinker", "request", one) for one in (odd, good)))
    assert {ending.outcome for ending in ended} == {"succeeded"}
    paths = [record.path for record in vendors.requests]
    assert [path for path in paths if good in path] == [f"/v1/request-status/{good}"]
    assert f"/api/v1/request-status/{odd}" in paths


async def test_a_prefix_that_is_put_into_the_connection_holds_for_waits_that_have_found_another(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "STALE", 0.05)
    monkeypatch.setattr(vendors, "neurolinker_prefix", "/api/v1")
    request_id = vendors.add_job("neurolinker", "request", seconds=math.inf)
    one = waiting(trigger_for("neurolinker", "request", request_id, prefix="/api/v1"))
    await asyncio.sleep(0.1)
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
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.05)
    job_id = vendors.add_job("aitronos", seconds=0.3)
    one = waiting(trigger_for("aitronos", "job", job_id, seconds=7200, poke_interval=0.05))
    await asyncio.sleep(0.15)
    clock.ahead = 0.0
    assert ending_from(await one).outcome == "succeeded"


@pytest.mark.parametrize("deadline", [0.4, 100.0])
async def test_a_triggerer_that_stood_still_beyond_a_deadline_asks_before_it_ends_a_wait(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, deadline: float
) -> None:
    """A machine that slept, or SIGSTOP: the job has finished in time."""
    clock = SimpleNamespace(ahead=0.0)
    clock.time = lambda: time.time() + clock.ahead
    monkeypatch.setattr(poller, "Poller", partial(poller.Poller, clock=clock.time))
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.05)
    vendors.latency = 0.1
    one = waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=deadline, poke_interval=50.0))
    await asyncio.sleep(0.1)
    clock.ahead = 4000.0
    assert ending_from(await one).outcome == "succeeded"


async def test_a_triggerer_that_stood_still_ends_a_wait_soon_though_nobody_answers(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(ahead=0.0)
    clock.time = lambda: time.time() + clock.ahead
    monkeypatch.setattr(poller, "Poller", partial(poller.Poller, clock=clock.time))
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.05)
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.3)
    vendors.answer_next(None, delay=5.0, times=math.inf)
    one = waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=50.0))
    await asyncio.sleep(0.1)
    clock.ahead, began = 4000.0, time.monotonic()
    assert ending_from(await one).outcome == "timed_out"
    assert 0.2 < time.monotonic() - began < 2.0


@pytest.mark.parametrize("late", [0.0, 61.0, 4000.0])
async def test_a_wait_that_starts_after_its_deadline_asks_once(vendors: StandInVendors, late: float) -> None:
    """Its triggerer died; the job has finished in time."""
    (ending,) = await endings(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=-late))
    assert ending.outcome == "succeeded"


async def test_documents_are_asked_through_their_request_again_when_that_answers_again(vendors: StandInVendors) -> None:
    request = vendors.jobs[vendors.add_job("neurolinker", seconds=0.6, documents=10)]
    vendors.answer_next(500, times=6, path="request-status")
    parent = ["request", request.job_id]
    waits = [waiting(trigger_for("neurolinker", "document", one.job_id, parent=parent)) for one in request.documents]
    await asyncio.sleep(0.4)
    alone = [record for record in vendors.requests if "request-status" not in record.path]
    await asyncio.sleep(0.15)
    later = [record for record in vendors.requests if "request-status" not in record.path]
    assert len(alone) > 10, "while it was broken"
    assert len(later) == len(alone)
    ended = [ending_from(event) for event in await asyncio.gather(*waits)]
    assert {ending.outcome for ending in ended} == {"succeeded"}


async def test_documents_are_not_held_up_behind_answers_that_hang(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows yet what they belong to, so the first ones are asked one at a time."""
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.6)
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.05)
    hanging, sound = (
        [document.job_id for document in vendors.jobs[vendors.add_job("neurolinker", documents=number)].documents]
        for number in (20, 5)
    )
    for one in hanging:
        vendors.answer_next(503, delay=0.5, path=one, times=math.inf)
    ended = await endings(*(trigger_for("neurolinker", "document", one, seconds=0.3) for one in (*hanging, *sound)))
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
        vendors.answer_next(503, delay=0.5, path=one, times=math.inf)
    others = [waiting(trigger_for("neurolinker", "document", one)) for one in hanging]
    began = time.monotonic()
    ended = await endings(*(trigger_for("neurolinker", "document", one) for one in sound))
    assert {ending.outcome for ending in ended} == {"succeeded"}
    assert time.monotonic() - began < 1.5, "not after one another: that takes five seconds"
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
    await asyncio.sleep(0.05)
    vendors.answer_next(401)
    await until(lambda: 401 in {record.status for record in vendors.requests})
    asked = len(vendors.requests)
    await asyncio.sleep(0.3)
    assert len(vendors.requests) - asked <= 6, "one in a tenth of a second, one more for the 401"
    one.cancel()


async def test_a_clock_that_is_set_back_does_not_stop_the_look_up_of_the_connection(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, look, failures = SimpleNamespace(ahead=3600.0), lookup.get_connection_in_trigger, iter([True])
    clock.time = lambda: time.time() + clock.ahead

    async def stumbling(conn_id: str) -> Any:
        if next(failures, False):
            raise _compat.AirflowNotFoundException("vault")
        return await look(conn_id)

    monkeypatch.setattr(lookup, "get_connection_in_trigger", stumbling)
    monkeypatch.setattr(poller, "Poller", partial(poller.Poller, clock=clock.time))
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.05)
    one = waiting(trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=7200, poke_interval=0.05))
    await asyncio.sleep(0.15)
    clock.ahead = 0.0
    assert ending_from(await asyncio.wait_for(one, 4)).outcome == "succeeded"


async def test_a_wait_keeps_no_reply(vendors: StandInVendors) -> None:
    """A reply may have megabytes, and an error's traceback holds the frames that read it."""
    vendors.answer_next(200, body="<html>", content_type="text/html", times=math.inf)
    trigger = trigger_for("aitronos", "job", vendors.add_job("aitronos"), seconds=0.2)
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


async def test_a_cancelled_wait_leaves_no_reading_behind(vendors: StandInVendors) -> None:
    vendors.latency = 0.1
    jobs = [vendors.add_job("aitronos", seconds=9) for _ in range(4)]
    waits = [waiting(trigger_for("aitronos", "job", one)) for one in jobs]
    await asyncio.sleep(0.15)
    for one in waits[1:]:
        one.cancel()
    await asyncio.sleep(0.3)
    one = poller.poller_for("aitronos_default", SERVICES["aitronos"])
    assert {target.id for target in one._schedule.cache} == {jobs[0]}
    waits[0].cancel()
