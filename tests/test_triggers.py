"""The trigger: small and plain on its way in, one small event on its way out, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.verdict import Ending
from tests.task_runs import FakeTaskInstance, deferral_of, event_of, hurry, travelled, trigger_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = st.sampled_from(["", "None", "ä", "2026-11-22"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(TEXT, PLAIN, max_size=2)


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


@pytest.fixture
def vendors(server: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInVendors]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    hurry(monkeypatch)
    yield server
    server.answer_truly()


def deferred(vendors: StandInVendors, ti: FakeTaskInstance | None = None, **job: Any) -> DocStatusTrigger:
    """Return the trigger of a sensor that waits for a job which never ends by itself."""
    timeout = job.pop("timeout", 60)
    job_id = vendors.add_job("aitronos", **{"seconds": math.inf, **job})
    sensor = DocStatusSensor(
        task_id="gate", conn_id="aitronos_default", job_id=job_id, deferrable=True, watch_on_worker=0, timeout=timeout
    )
    return deferral_of(sensor, ti).trigger


# -- on its way in ---------------------------------------------------------------------------------------------


def by_json(kwargs: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(kwargs, allow_nan=False))


def by_the_database(kwargs: dict[str, Any]) -> dict[str, Any]:
    """As the metadata database keeps them, encrypted, where a DAG says start_from_trigger, and always on 2.11."""
    from airflow.models.trigger import Trigger

    return Trigger(classpath="any", kwargs=kwargs).kwargs


def by_airflows_serialiser(kwargs: dict[str, Any]) -> dict[str, Any]:
    """As a worker of 3.2 and later sends them to the API server; before, by ``BaseSerialization``."""
    try:
        from airflow.sdk.serde import deserialize, serialize
    except ImportError:
        from airflow.serialization.serialized_objects import BaseSerialization

        return BaseSerialization.deserialize(json.loads(json.dumps(BaseSerialization.serialize(kwargs))))
    return deserialize(json.loads(json.dumps(serialize(kwargs))))


@pytest.mark.parametrize("way", [by_json, by_the_database, by_airflows_serialiser], ids=lambda way: way.__name__)
def test_the_arguments_survive_the_way_to_the_triggerer(
    vendors: StandInVendors, way: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    classpath, kwargs = deferred(vendors).serialize()
    assert classpath == "airflow_provider_docstatus.triggers.DocStatusTrigger"
    assert DocStatusTrigger(**way(kwargs)).serialize() == (classpath, kwargs)


def test_the_arguments_hold_no_key_and_no_address(vendors: StandInVendors) -> None:
    text = json.dumps(deferred(vendors).serialize()[1], allow_nan=False)
    assert vendors.keys["aitronos"] not in text
    assert "127.0.0.1" not in text


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from([*DocStatusTrigger().serialize()[1], "newer"]), JSON, max_size=5))
def test_no_arguments_make_the_constructor_raise(kwargs: dict[str, Any]) -> None:
    """It would end the whole triggerer, and again after every restart."""
    assert DocStatusTrigger(**kwargs).serialize()[1].keys() >= kwargs.keys()


@pytest.mark.parametrize(
    "newer",
    [{"version": 999}, {"version": "2"}, {"version": None}, {"cunning": True}, {"service": "tomorrows"}],
    ids=str,
)
async def test_arguments_of_a_newer_package_end_with_the_advice_to_upgrade(
    vendors: StandInVendors, newer: dict[str, Any]
) -> None:
    _, kwargs = deferred(vendors).serialize()
    asked = len(vendors.requests)
    ending = Ending.from_event(await event_of(DocStatusTrigger(**{**kwargs, **newer})))
    assert ending.outcome == "unexpected"
    assert "upgrade the triggerer" in ending.text
    assert len(vendors.requests) == asked


async def test_an_older_row_without_later_arguments_still_works(vendors: StandInVendors) -> None:
    """What the first release wrote: the names that were there then."""
    job_id, now = vendors.add_job("aitronos"), time.time()
    kwargs = {"version": 1, "conn_id": "aitronos_default", "service": "aitronos", "route": "job", "id": job_id}
    times = {"asked_at": now, "started_at": now, "deadline": now + 60, "grace": 15.0, "shortest": 0.0}
    assert Ending.from_event(await event_of(DocStatusTrigger(**kwargs, **times))).outcome == "succeeded"


# -- waiting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "outcome"), [(0, "succeeded"), (math.inf, "timed_out")], ids=["finished", "running"])
async def test_a_trigger_that_starts_after_its_deadline_still_asks_once(
    vendors: StandInVendors, seconds: float, outcome: str
) -> None:
    """The triggerer was down meanwhile; the document may be finished."""
    late = trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=seconds), seconds=-1)
    asked = len(vendors.requests)
    assert Ending.from_event(await event_of(travelled(late))).outcome == outcome
    assert len(vendors.requests) == asked + 1


async def test_a_restart_keeps_the_deadline(vendors: StandInVendors) -> None:
    trigger = trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=math.inf), seconds=0.4)
    began = time.time()
    first = asyncio.ensure_future(event_of(travelled(trigger)))
    await asyncio.sleep(0.2)
    first.cancel()
    ending = Ending.from_event(await event_of(travelled(trigger)))
    assert ending.outcome == "timed_out"
    assert 0.35 < time.time() - began < 3
    assert "was left alone" in ending.text


@pytest.mark.parametrize("shortest", [0.0, 0.2])
async def test_no_event_earlier_than_the_shortest_deferral(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, shortest: float
) -> None:
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__SHORTEST_DEFERRAL", str(shortest))
    trigger = deferred(vendors)
    vendors.finish(trigger.id)
    began = time.monotonic()
    await event_of(travelled(trigger))
    waited = time.monotonic() - began
    assert waited >= shortest


async def test_the_shortest_deferral_is_five_seconds_unless_said_otherwise(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__DOCSTATUS__SHORTEST_DEFERRAL")
    assert deferred(vendors).serialize()[1]["shortest"] == 5.0


async def test_the_first_question_comes_an_interval_after_the_workers(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, poll_interval=0.2)
    trigger = deferred(vendors)
    vendors.finish(trigger.id)
    last = vendors.requests[-1].time
    await event_of(travelled(trigger))
    assert vendors.requests[-1].time - last > 0.17


async def test_cancelling_leaves_nothing_behind(vendors: StandInVendors) -> None:
    trigger = deferred(vendors)
    waiting = asyncio.ensure_future(event_of(travelled(trigger)))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.05)
    asked = len(vendors.requests)
    await asyncio.sleep(0.15)
    assert len(vendors.requests) == asked, "nobody waits, nobody asks"
    assert vendors.jobs[trigger.id].ends == "completed", "the remote job is not touched"
    assert {record.method for record in vendors.requests} == {"GET"}


async def test_the_triggerer_only_reads(vendors: StandInVendors) -> None:
    trigger = deferred(vendors, seconds=0.1)
    before = len(vendors.requests)
    await event_of(travelled(trigger))
    assert {record.method for record in vendors.requests[before:]} == {"GET"}


# -- on its way out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("documents", [1, 1000])
async def test_the_event_is_small(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, documents: int) -> None:
    """Every event stands in a database row; 1,000 documents with their states and twenty long errors need 62 kB."""
    request_id = vendors.add_job("neurolinker", documents=["failed"] * documents, error="x" * 5000)
    event = await event_of(trigger_for("neurolinker", "request", request_id))
    size = len(json.dumps(event))
    assert size < 64 * 1024
    ending = Ending.from_event(event)
    assert ending.outcome == "failed"
    assert len(ending.status.children) == documents


async def test_the_event_holds_no_key_and_no_data(vendors: StandInVendors) -> None:
    event = await event_of(trigger_for("aitronos", "job", vendors.add_job("aitronos")))
    text = json.dumps(event)
    assert vendors.keys["aitronos"] not in text
    assert "INV-2024-001" not in text


async def test_a_key_that_the_vendor_repeats_does_not_reach_the_event(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("aitronos", ends="failed", error=f"bad key {vendors.keys['aitronos']}")
    event = await event_of(trigger_for("aitronos", "job", job_id))
    assert vendors.keys["aitronos"] not in json.dumps(event)
    assert "bad key ***" in event["status"]["message"]
