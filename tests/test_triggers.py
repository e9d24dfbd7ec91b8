"""The trigger: small and plain on its way in, one small event on its way out, nothing left behind."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import DocumentFailed
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.waiting.report import ending_from
from tests.task_runs import LONGEST, FakeTaskInstance, deferral_of, event_of, hurry, travelled, trigger_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = st.sampled_from(["", "None", "ä", "2026-11-22"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
#: What the first form of this package wrote: the arguments of its triggers, and their events.
EARLIER = json.loads((Path(__file__).parent / "earlier" / "first.json").read_text())
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


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*inspect.signature(DocStatusTrigger).parameters, "self", "task", "log"]), JSON))
def test_no_arguments_of_any_type_or_name_make_the_constructor_raise(kwargs: dict[str, Any]) -> None:
    DocStatusTrigger(**kwargs)


@pytest.mark.parametrize(
    "newer",
    [
        {"version": 999},
        {"version": "2"},
        {"version": True},
        {"version": None},
        {"cunning": True},
        {"service": "tomorrows"},
        {"service": ["aitronos"]},
        {"route": "tomorrows"},
        {"route": ["job"]},
        {"self": 1},
    ],
    ids=str,
)
async def test_arguments_of_a_newer_package_end_with_the_advice_to_upgrade(
    vendors: StandInVendors, newer: dict[str, Any]
) -> None:
    _, kwargs = deferred(vendors).serialize()
    asked = len(vendors.requests)
    ending = ending_from(await event_of(DocStatusTrigger(**{**kwargs, **newer})))
    assert ending.outcome == "unexpected"
    assert "upgrade the triggerer" in ending.text
    assert len(vendors.requests) == asked


@pytest.mark.parametrize("name", EARLIER)
async def test_what_an_earlier_form_wrote_is_waited_for(vendors: StandInVendors, name: str) -> None:
    kwargs = EARLIER[name]["kwargs"]
    for one in kwargs["ids"] or [kwargs["id"]]:
        kind = {"extract": "extract", "document": "document"}.get(kwargs["route"], "")
        vendors.add_job(kwargs["service"], kind, job_id=one, ends="failed" if "failed" in name else "completed")
    now = time.time()
    event = await event_of(DocStatusTrigger(**kwargs | {"asked_at": 0.0, "started_at": now, "deadline": now + 60}))
    written = EARLIER[name]["event"]
    assert event.keys() - {"mark", "file_names"} == written.keys()  # a list's, which came later and may be left out
    assert event.get("outcome") == written.get("outcome")


@pytest.mark.parametrize("name", EARLIER)
def test_what_an_earlier_form_reported_is_judged(name: str) -> None:
    kwargs, event, ti = EARLIER[name]["kwargs"], EARLIER[name]["event"], FakeTaskInstance()
    parameter = "document_id" if kwargs["route"] == "document" else "job_id"
    ids = {parameter: kwargs["ids"] or kwargs["id"]}
    sensor = DocStatusSensor(task_id="gate", conn_id=kwargs["conn_id"], **ids, wait_for=1, deferrable=True)
    with pytest.raises(DocumentFailed) if "failed" in name else nullcontext():
        sensor.resume_execution("execute_complete", {"event": event}, {"ti": ti})
    assert ti.xcoms[XCOM_KEY]["service"] == kwargs["service"]


@pytest.mark.parametrize(("stalled_after", "is_refused"), [(None, False), (60, True)])
def test_a_triggerer_of_the_first_form_takes_only_what_it_fully_understands(
    vendors: StandInVendors, stalled_after: float | None, is_refused: bool
) -> None:
    """It knows the arguments of its own time, and refuses a wait that has any other."""
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    sensor = DocStatusSensor(
        task_id="gate", conn_id="aitronos_default", job_id=job_id, deferrable=True, watch_on_worker=0, stalled_after=stalled_after
    )
    known = EARLIER["one job"]["kwargs"].keys()
    assert bool(deferral_of(sensor).trigger.serialize()[1].keys() - known) is is_refused


async def test_an_older_row_without_later_arguments_still_works(vendors: StandInVendors) -> None:
    """What the first release wrote: the names that were there then."""
    job_id, now = vendors.add_job("aitronos"), time.time()
    kwargs = {"version": 1, "conn_id": "aitronos_default", "service": "aitronos", "route": "job", "id": job_id}
    times = {"asked_at": now, "started_at": now, "deadline": now + 60, "grace": 15.0, "shortest": 0.0}
    assert ending_from(await event_of(DocStatusTrigger(**kwargs, **times))).outcome == "succeeded"


# -- stalling --------------------------------------------------------------------------------------------------


def stalling(vendors: StandInVendors, is_list: bool) -> DocStatusTrigger:
    """Return the trigger of a wait that has seen its job on the worker, and gives it a minute."""
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    ids = [job_id] if is_list else job_id
    sensor = DocStatusSensor(
        task_id="gate", conn_id="aitronos_default", job_id=ids, deferrable=True, watch_on_worker=0, stalled_after=60
    )
    return deferral_of(sensor).trigger


def aged(trigger: DocStatusTrigger, seconds: float) -> DocStatusTrigger:
    """Return a trigger as it starts anew so many seconds later."""
    kwargs = json.loads(json.dumps(trigger.serialize()[1]))
    for name in ("asked_at", "started_at", "deadline"):
        kwargs[name] -= seconds
    for seen in kwargs["stall"]["seen"].values():
        seen[1] -= seconds
    return DocStatusTrigger(**kwargs)


@pytest.mark.parametrize("is_list", [False, True])
async def test_a_trigger_that_starts_anew_and_sees_the_same_goes_on_with_the_clock(
    vendors: StandInVendors, is_list: bool
) -> None:
    event = await event_of(aged(stalling(vendors, is_list), 61))
    assert event["states"] == "l" if is_list else event["outcome"] == "stalled"
    assert "unchanged for 61 s" in json.dumps(event)


@pytest.mark.parametrize("is_list", [False, True])
@pytest.mark.parametrize("change", ["another word", "too early"])
async def test_a_trigger_that_starts_anew_is_never_too_early(vendors: StandInVendors, is_list: bool, change: str) -> None:
    trigger = stalling(vendors, is_list)
    if change == "another word":
        vendors.jobs[trigger.spec.all_ids[0]].word = "pending"
    waiting = asyncio.ensure_future(event_of(aged(trigger, 600 if change == "another word" else 59)))
    until, asked = time.monotonic() + LONGEST, len(vendors.requests)
    while not any(record.status for record in vendors.requests[asked:]) and time.monotonic() < until:  # noqa: ASYNC110 -- no event says it
        await asyncio.sleep(0.002)
    done, _ = await asyncio.wait([waiting], timeout=0.03)
    waiting.cancel()
    assert not done
    assert len(vendors.requests) > asked, "it was asked meanwhile"


# -- waiting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "outcome"), [(0, "succeeded"), (math.inf, "timed_out")], ids=["finished", "running"])
async def test_a_trigger_that_starts_after_its_deadline_still_asks_once(
    vendors: StandInVendors, seconds: float, outcome: str
) -> None:
    """The triggerer was down meanwhile; the document may be finished."""
    late = trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=seconds), seconds=-1)
    asked = len(vendors.requests)
    assert ending_from(await event_of(travelled(late))).outcome == outcome
    assert len(vendors.requests) == asked + 1


async def test_a_restart_keeps_the_deadline(vendors: StandInVendors) -> None:
    trigger = trigger_for("aitronos", "job", vendors.add_job("aitronos", seconds=math.inf), seconds=0.2)
    began = time.time()
    first = asyncio.ensure_future(event_of(travelled(trigger)))
    await asyncio.sleep(0.1)
    first.cancel()
    ending = ending_from(await event_of(travelled(trigger)))
    assert ending.outcome == "timed_out"
    assert 0.15 < time.time() - began < 3
    assert "was not finished" in ending.text


@pytest.mark.parametrize("shortest", [0.0, 0.1])
async def test_no_event_earlier_than_the_shortest_deferral(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, shortest: float
) -> None:
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__SHORTEST_DEFERRAL", str(shortest))
    trigger = deferred(vendors)
    vendors.finish(trigger.spec.id)
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
    hurry(monkeypatch, poll_interval=0.1)
    trigger = deferred(vendors)
    vendors.finish(trigger.spec.id)
    last = vendors.requests[-1].time
    await event_of(travelled(trigger))
    assert vendors.requests[-1].time - last > 0.08


async def test_cancelling_leaves_nothing_behind(vendors: StandInVendors) -> None:
    trigger = deferred(vendors)
    waiting = asyncio.ensure_future(event_of(travelled(trigger)))
    await asyncio.sleep(0.04)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.03)
    asked = len(vendors.requests)
    await asyncio.sleep(0.08)  # eight questions
    assert len(vendors.requests) == asked, "nobody waits, nobody asks"
    assert vendors.jobs[trigger.spec.id].ends == "completed", "the remote job is not touched"
    assert {record.method for record in vendors.requests} == {"GET"}


async def test_the_triggerer_only_reads(vendors: StandInVendors) -> None:
    trigger = deferred(vendors)
    vendors.finish(trigger.spec.id)
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
    ending = ending_from(event)
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
