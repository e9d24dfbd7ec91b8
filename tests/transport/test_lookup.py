"""The triggerer's look-up of a connection: what is wrong for a moment ends no wait, and what is wrong for good does in time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from airflow_provider_docstatus._compat import AirflowNotFoundException
from airflow_provider_docstatus.exceptions import ConnectionUnavailable, RequestRejected
from airflow_provider_docstatus.protocol.messages import Request
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.transport import lookup
from airflow_provider_docstatus.transport.aio import Client
from airflow_provider_docstatus.transport.lookup import FAILURE_HOLDS, MISSING_HOLDS, STALE, ClientLookup
from airflow_provider_docstatus.waiting.report import ending_from
from tests.task_runs import event_of, hurry, trigger_for
from tests.transport.test_connection import KEY, Connection

NEEDS_KEY = Request(path="/x", route="/x", prefix="/v1")


@dataclass
class Secrets:
    """What a secrets backend says about a connection, and how often it was asked."""

    extra: Any = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    reads: int = 0

    async def read(self, conn_id: str) -> Any:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return Connection(**{"conn_id": conn_id, "conn_type": "aitronos", "host": "http://127.0.0.1", **self.fields}), self.extra


@dataclass
class Bench:
    """A look-up with a clock of its own."""

    secrets: Secrets
    now: float = 1_000_000.0

    def __post_init__(self) -> None:
        self.lookup = ClientLookup("docs", "aitronos", lambda: self.now)

    async def get(self, read_before: float | None = None) -> Client:
        return await self.lookup.get(read_before)

    async def get_as_told(self) -> Client:
        """Return the client that confirms a refusal which has just come."""
        return await self.lookup.get(self.now)

    def breaks(self, hole: Mapping[str, Any]) -> None:
        for name, value in {"extra": {}, "fields": {}, "error": None, **hole}.items():
            setattr(self.secrets, name, value)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    secrets = Secrets()
    monkeypatch.setattr(lookup, "get_connection_in_trigger", secrets.read)
    return Bench(secrets)


#: What may stand in a connection for the half of a second that an edit or a secrets backend takes.
CHANGED: dict[str, dict[str, Any]] = {
    "an empty password": {"fields": {"password": ""}},
    "no password": {"fields": {"password": None}},
    "a blank password": {"fields": {"password": " \n"}},
    "the type of another service": {"fields": {"conn_type": "unsiloed"}},
    "another service without a password": {"fields": {"conn_type": "unsiloed", "password": ""}},
}
UNUSABLE: dict[str, dict[str, Any]] = {
    "no type": {"fields": {"conn_type": None}},
    "the type of another package": {"fields": {"conn_type": "http"}},
    "a password with a line break": {"fields": {"password": "one\ntwo"}},
    "a host that is none": {"fields": {"host": "https://"}},
    "an unknown setting": {"extra": {"timeout": 3}},
    "a bad setting": {"extra": {"share": "much"}},
    "an extra that is a list": {"extra": []},
    "CA certificates that are not there": {"fields": {"host": "https://127.0.0.1"}, "extra": {"ca_bundle": "/no/such/file.pem"}},
    "no connection": {"error": AirflowNotFoundException("vault")},
    "a secrets backend that is down": {"error": ConnectionError("vault: token=hvs.1")},
}
HOLES = {**CHANGED, **UNUSABLE}


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
async def test_what_was_read_before_is_used_on_through(
    hole: dict[str, Any], bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    before = await bench.get()
    bench.now += STALE + 1
    bench.breaks(hole)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await bench.get() is before
            bench.now += FAILURE_HOLDS + 1
    (warning,) = caplog.messages
    assert "'docs'" in warning
    assert warning.endswith("What was read before is used on.")
    assert "hvs.1" not in warning
    bench.breaks({"fields": {"password": "the_next_key"}})
    after = await bench.get()
    assert after.endpoint.key == "the_next_key", "it is read again soon, not only ten minutes later"
    reads = bench.secrets.reads
    bench.now += STALE - 1
    assert await bench.get() is after
    assert bench.secrets.reads == reads
    await bench.lookup.close()


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
async def test_a_refusal_is_not_confirmed_through(hole: dict[str, Any], bench: Bench) -> None:
    """Neither by the old key, nor by a key that is not there: the wait is told to come again."""
    before = await bench.get()
    bench.now += 10
    bench.breaks(hole)
    with pytest.raises(ConnectionUnavailable, match="It is looked up again for a while") as caught:
        await bench.get_as_told()
    assert caught.value.retry_after == FAILURE_HOLDS
    assert await bench.get() is before, "other waits go on"
    bench.now += FAILURE_HOLDS + 1
    bench.breaks({"fields": {"password": "the_next_key"}})
    assert (await bench.get_as_told()).endpoint.key == "the_next_key"
    await bench.lookup.close()


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
async def test_a_refusal_beside_it_counts_after_a_minute_of(hole: dict[str, Any], bench: Bench) -> None:
    await bench.get()
    bench.now += 10
    bench.breaks(hole)
    until = bench.now + MISSING_HOLDS
    while bench.now < until:
        with pytest.raises(ConnectionUnavailable):
            await bench.get_as_told()
        bench.now += FAILURE_HOLDS
    with pytest.raises((RequestRejected, ConnectionError)):
        (await bench.get_as_told()).endpoint.headers(NEEDS_KEY)
    await bench.lookup.close()


@pytest.mark.parametrize("hole", CHANGED.values(), ids=CHANGED)
async def test_a_connection_that_has_become_another_one_counts_after_a_minute(hole: dict[str, Any], bench: Bench) -> None:
    """Whoever deletes the key of a connection, or gives it to another service, wants to see an effect."""
    before = await bench.get()
    bench.now += STALE + 1
    bench.breaks(hole)
    until = bench.now + MISSING_HOLDS
    while bench.now < until:
        assert await bench.get() is before
        bench.lookup.works()  # its key still does
        bench.now += FAILURE_HOLDS + 0.1
    for _ in range(3):  # for all waits, not only for the first that asks
        with pytest.raises(RequestRejected, match=r"has no password; put the Aitronos API key there|is now of type unsiloed"):
            (await bench.get()).endpoint.headers(NEEDS_KEY)
    bench.breaks({})
    bench.now += MISSING_HOLDS + 1
    assert (await bench.get()).endpoint.key == KEY, "and whoever puts it back as well"
    await bench.lookup.close()


@pytest.mark.parametrize("hole", UNUSABLE.values(), ids=UNUSABLE)
async def test_what_was_read_before_is_used_on_for_hours_beside(hole: dict[str, Any], bench: Bench) -> None:
    before = await bench.get()
    bench.now += STALE + 1
    bench.breaks(hole)
    for _ in range(2000):
        assert await bench.get() is before
        bench.now += 10
    looked = bench.secrets.reads
    assert looked < 2000 * 10 / MISSING_HOLDS + 20, "but it is not read again for every poll"
    await bench.lookup.close()


async def test_only_a_minute_of_the_same_counts(bench: Bench) -> None:
    """A secrets backend that comes back with half of its data is not yet an operator who deletes a key."""
    before = await bench.get()
    bench.now += STALE + 1
    for hole in ("a secrets backend that is down", "an empty password", "no connection", "an empty password", "a bad setting"):
        bench.breaks(HOLES[hole])
        for _ in range(5):
            assert await bench.get() is before
            bench.now += FAILURE_HOLDS * 2
    await bench.lookup.close()


async def test_a_connection_that_never_had_a_key_needs_none(bench: Bench) -> None:
    bench.breaks(CHANGED["no password"])
    before = await bench.get()
    bench.now += STALE + 1
    assert await bench.get() is before
    assert bench.secrets.reads == 2


@pytest.mark.parametrize("name", ["no type", "a bad setting", "the type of another service"])
async def test_a_connection_that_is_wrong_from_the_beginning_is_refused_at_once(name: str, bench: Bench) -> None:
    bench.breaks(HOLES[name])
    with pytest.raises(RequestRejected):
        await bench.get()


async def test_a_clock_that_is_set_back_ends_nothing(bench: Bench) -> None:
    before = await bench.get()
    bench.now += STALE + 1
    bench.breaks(CHANGED["an empty password"])
    assert await bench.get() is before
    bench.now -= 3600
    bench.lookup.clock_set_back(3600)
    bench.now += FAILURE_HOLDS + 1
    assert await bench.get() is before
    bench.breaks({"fields": {"password": "the_next_key"}})
    bench.now += FAILURE_HOLDS + 1
    assert (await bench.get()).endpoint.key == "the_next_key"


# -- through a whole wait --------------------------------------------------------------------------------------------


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(5000):
        if is_true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came true")


@pytest.mark.parametrize("refused", [False, True], ids=["at the re-read", "beside a refusal"])
@pytest.mark.parametrize(
    "hole", [{"password": ""}, {"conn_type": "unsiloed"}, {"extra": {"no": "setting"}}, None], ids=["key", "type", "extra", "all"]
)
async def test_a_wait_outlives_a_connection_that_is_wrong_for_a_moment(
    hole: dict[str, Any] | None, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(lookup, "FAILURE_HOLDS", 0.02)
    with StandInVendors() as vendors:
        connection, name = vendors.connections()["aitronos_default"], "AIRFLOW_CONN_AITRONOS_DEFAULT"
        monkeypatch.setenv(name, json.dumps(connection))
        reads, look = [], lookup.get_connection_in_trigger

        async def counted(conn_id: str) -> Any:
            reads.append(conn_id)
            return await look(conn_id)

        monkeypatch.setattr(lookup, "get_connection_in_trigger", counted)
        monkeypatch.setattr(lookup, "STALE", 600 if refused else 0.05)
        job_id = vendors.add_job("aitronos", seconds=float("inf"))
        wait = asyncio.ensure_future(event_of(trigger_for("aitronos", "job", job_id)))
        await until(lambda: bool(vendors.requests))
        if hole is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, json.dumps(connection | hole))
        if refused:
            vendors.answer_next(401, times=1)
        begun = len(reads)
        await until(lambda: len(reads) > begun + 1)
        monkeypatch.setenv(name, json.dumps(connection))
        asked = len(vendors.requests)
        await until(lambda: len(vendors.requests) > asked + 1)
        vendors.finish(job_id)
        assert ending_from(await wait).outcome == "succeeded"


@pytest.mark.parametrize(("is_optional", "is_read_again"), [(True, False), (False, True)], ids=["key optional", "key needed"])
def test_a_missing_key_is_looked_for_each_minute_unless_none_is_needed(is_optional, is_read_again, monkeypatch):
    service = replace(SERVICES["aitronos"], key_optional=is_optional)
    monkeypatch.setitem(SERVICES, "aitronos", service)

    async def two_reads(bench: Bench) -> int:
        await bench.get()
        bench.now += MISSING_HOLDS + 1
        await bench.get()
        await bench.lookup.close()
        return bench.secrets.reads

    secrets = Secrets(fields={"password": None})
    monkeypatch.setattr(lookup, "get_connection_in_trigger", secrets.read)
    assert asyncio.run(two_reads(Bench(secrets))) == 1 + is_read_again
