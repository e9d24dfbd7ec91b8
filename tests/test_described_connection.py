"""A service that a connection describes is waited for as any other, and an edit of its description is followed."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_docstatus import own_poller
from airflow_provider_docstatus._compat import AirflowNotFoundException
from airflow_provider_docstatus.exceptions import DocumentFailed, Expired, RequestRejected
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.protocol.rules import as_data
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.transport import lookup, own_description
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.waiting.report import ending_from
from tests.task_runs import MODES, FakeTaskInstance, deferral_of, event_of, run, sensor_of, started, travelled, trigger_for, wait

NAME = "AIRFLOW_CONN_ARCHIVE"
QUICK = {"poll_interval": 0.005, "least_poll_interval": 0.0025, "calls_per_minute": None, "calls_per_day": None}


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0.015) as vendors:
        yield vendors


def archive(service: Any = AITRONOS, **changes: Any) -> dict[str, Any]:
    """Return the description of a vendor with a name of its own, whose API is that of one that we know."""
    return {**json.loads(json.dumps(as_data(service))), "name": "archive", "title": "Archive", **changes}


@dataclass
class Deployment:
    """The connection ``archive`` to a stand-in vendor, how often the triggerer has read it, and what keeps it from that."""

    monkeypatch: pytest.MonkeyPatch
    vendors: StandInVendors
    reads: list[str] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        build, look = own_description.description_of, lookup.get_connection_in_trigger

        def quick(*args: Any, **options: Any) -> Any:
            return replace(build(*args, **options), **QUICK)

        async def counted(conn_id: str) -> Any:
            self.reads.append(conn_id)
            if self.error is not None:
                raise self.error
            return await look(conn_id)

        self.monkeypatch.setattr(own_description, "description_of", quick)
        self.monkeypatch.setattr(lookup, "get_connection_in_trigger", counted)
        self.monkeypatch.setattr(lookup, "FAILURE_HOLDS", 0.02)
        self.monkeypatch.setattr(lookup, "STALE", 0.05)

    def describe(self, description: Any = None, **fields: Any) -> None:
        extra = {"description": archive() if description is None else description}
        connection = {
            "conn_type": "docstatus",
            "host": self.vendors.url,
            "password": self.vendors.keys["aitronos"],
            "extra": extra,
        }
        self.monkeypatch.setenv(NAME, json.dumps({**connection, **fields}))

    def take_away(self) -> None:
        self.monkeypatch.delenv(NAME, raising=False)


@pytest.fixture
def deployment(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    made = Deployment(monkeypatch, vendors)
    made.describe()
    return made


def deferred(one: str, **arguments: Any) -> DocStatusTrigger:
    """Return the trigger of a sensor that waits for a job, as the triggerer gets it."""
    return travelled(deferral_of(sensor_of("deferrable", conn_id="archive", **{"job_id": one, **arguments})).trigger)


def own_trigger(one: str, **changes: Any) -> DocStatusTrigger:
    """Return a trigger whose connection no worker has read."""
    changes = {"conn_id": "archive", "distribution": None, **changes}
    return trigger_for("archive", changes.pop("route", "job"), one, **changes)


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(5000):
        if is_true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came true")


# -- as any other service ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_job_is_waited_for_in_every_mode(mode: str, deployment: Deployment) -> None:
    job_id, ti = deployment.vendors.add_job("aitronos"), FakeTaskInstance()
    xcom = wait(mode, ti, conn_id="archive", job_id=job_id)
    assert (xcom["service"], xcom["state"], xcom["id"]) == ("archive", "succeeded", job_id)
    assert ti.xcoms[XCOM_KEY] == xcom
    assert xcom == DocStatusHook("archive").get_status(job_id=job_id).to_dict()


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_job_is_the_same_error_in_every_mode(mode: str, deployment: Deployment) -> None:
    job_id = deployment.vendors.add_job("aitronos", ends="failed")
    with pytest.raises(DocumentFailed, match="ended failed") as raised:
        wait(mode, conn_id="archive", job_id=job_id)
    assert raised.value.service == "archive"


@pytest.mark.parametrize("mode", MODES)
def test_a_list_is_waited_for_in_every_mode(mode: str, deployment: Deployment) -> None:
    ids = [deployment.vendors.add_job("aitronos") for _ in range(3)]
    manifest = wait(mode, conn_id="archive", job_id=ids)
    assert manifest["service"] == "archive"
    assert manifest["ids"]["succeeded"] == ids


@pytest.mark.parametrize("how", ["YAML", "file"])
def test_a_description_as_text_or_in_a_file_is_as_good(
    how: str, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive.json").write_text(json.dumps(archive()))
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__DESCRIPTIONS_FOLDER", str(tmp_path))
    extra = {"description": json.dumps(archive())} if how == "YAML" else {"file": "archive.json"}
    deployment.describe(extra=extra)
    assert wait("deferrable", conn_id="archive", job_id=deployment.vendors.add_job("aitronos"))["state"] == "succeeded"


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_data_is_fetched(deferrable: bool, deployment: Deployment) -> None:
    job_id = deployment.vendors.add_job("aitronos")
    how = {"wait_for_completion": True, "deferrable": deferrable}
    operator = ExtractedDataOperator(task_id="data", conn_id="archive", job_id=job_id, **how)
    assert run(operator) == DocStatusHook("archive").get_result(job_id=job_id)


def test_the_connection_can_be_tested(deployment: Deployment) -> None:
    is_good, said = DocStatusHook("archive").test_connection()
    assert is_good
    assert said.startswith("Archive answered that a made-up id does not exist")


def test_children_and_parents_can_be_described(deployment: Deployment) -> None:
    described = archive(NEUROLINKER)
    described["routes"] = {name: {**route, "result": {"path": route["path"]}} for name, route in described["routes"].items()}
    del described["contents"]
    deployment.describe(described, password=deployment.vendors.keys["neurolinker"])
    ids = [deployment.vendors.add_job("neurolinker", "document") for _ in range(2)]
    manifest = wait("deferrable", conn_id="archive", document_id=ids)
    assert manifest["ids"]["succeeded"] == ids


def test_nothing_of_the_description_travels_with_the_wait(deployment: Deployment) -> None:
    job_id = deployment.vendors.add_job("aitronos", seconds=math.inf)
    trigger = deferred(job_id)
    text = json.dumps(trigger.serialize()[1])
    assert trigger.spec.distribution is None
    assert not [one for one in ("Archive", "documents/jobs", "127.0.0.1", deployment.vendors.keys["aitronos"]) if one in text]


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_job_has_expired_when_the_described_retention_says_so(mode: str, deployment: Deployment) -> None:
    deployment.describe(archive(retention_seconds=3600))
    run_of_last_year = {"dag_run": type("Run", (), {"run_after": None, "data_interval_end": None, "logical_date": LONG_AGO})()}
    with pytest.raises(Expired, match="counts as expired"):
        run_in(mode, "unknown_job", **run_of_last_year)
    deployment.describe(archive())
    with pytest.raises(RequestRejected, match="unknown_job"):
        run_in(mode, "unknown_job", **run_of_last_year)


def test_an_unknown_job_of_a_list_has_expired_too(deployment: Deployment) -> None:
    deployment.describe(archive(retention_seconds=3600))
    run_of_last_year = {"dag_run": type("Run", (), {"run_after": None, "data_interval_end": None, "logical_date": LONG_AGO})()}
    ti = FakeTaskInstance()
    with pytest.raises(Expired):
        run_in("deferrable", ["one", "two"], ti, **run_of_last_year)
    assert ti.xcoms[XCOM_KEY]["ids"] == {"expired": ["one", "two"]}


def test_the_retention_is_left_out_when_the_connection_is_gone(deployment: Deployment) -> None:
    event = asyncio.run(event_of(own_trigger("unknown_job", grace=0.0)))
    deployment.take_away()
    sensor = sensor_of("deferrable", conn_id="archive", job_id="unknown_job")
    context = {"ti": FakeTaskInstance(), "dag_run": type("Run", (), {"run_after": LONG_AGO})()}
    with pytest.raises(RequestRejected, match="unknown_job"):
        sensor.resume_execution("execute_complete", {"event": event}, context)


# -- the first look-up -------------------------------------------------------------------------------------------


async def test_all_waits_share_the_first_look_up(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "STALE", 600)
    ids = [deployment.vendors.add_job("aitronos") for _ in range(20)]
    events = await asyncio.gather(*(event_of(own_trigger(one)) for one in ids))
    assert {ending_from(event).outcome for event in events} == {"succeeded"}
    assert deployment.reads == ["archive"]


MISSING, BROKEN = AirflowNotFoundException("archive"), ConnectionError("vault: token=hvs.1")


@pytest.mark.parametrize("error", [MISSING, BROKEN], ids=["missing", "broken"])
async def test_a_connection_that_cannot_be_read_at_first_is_waited_for(error: Exception, deployment: Deployment) -> None:
    deployment.error = error
    waiting = asyncio.ensure_future(event_of(own_trigger(deployment.vendors.add_job("aitronos"))))
    await until(lambda: len(deployment.reads) > 2)
    deployment.error = None
    assert ending_from(await waiting).outcome == "succeeded"


async def test_a_connection_that_stays_missing_ends_the_wait_as_refused(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.1)
    deployment.error = MISSING
    ending = ending_from(await event_of(own_trigger("job_1")))
    assert (ending.outcome, ending.service, ending.id) == ("rejected", "archive", "job_1")
    assert "'archive' is not defined for the triggerer" in str(ending.text)
    assert len(deployment.reads) > 2


async def test_a_secrets_backend_that_stays_away_ends_the_wait_with_its_error(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the task is retried."""
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.1)
    deployment.error = BROKEN
    with pytest.raises(ConnectionError):
        await event_of(own_trigger("job_1"))


BAD = {
    "a bad description": ({"description": {**archive(), "poll_interval": "fast"}}, "poll_interval: must be a number"),
    "no description": ({}, "one of description and file"),
    "another service": ({"description": archive(name="other")}, "this wait began when it was archive"),
    "no route": ({"description": archive(routes={"task": archive()["routes"]["job"]})}, "has no route 'job' any more"),
}


@pytest.mark.parametrize(("extra", "said"), BAD.values(), ids=BAD)
async def test_a_connection_that_is_wrong_from_the_beginning_is_refused(
    extra: dict[str, Any], said: str, deployment: Deployment
) -> None:
    deployment.describe(extra=extra)
    ending = ending_from(await event_of(own_trigger("job_1")))
    assert ending.outcome == "rejected"
    assert said in str(ending.text)


def test_a_list_is_refused_with_a_manifest(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [deployment.vendors.add_job("aitronos", seconds=math.inf) for _ in range(2)]
    sensor, ti = sensor_of("deferrable", conn_id="archive", job_id=ids), FakeTaskInstance()
    trigger = travelled(deferral_of(sensor, ti).trigger)
    deployment.describe({**archive(), "title": 7})
    event = asyncio.run(event_of(trigger))
    with pytest.raises(RequestRejected, match="title: must be text"):
        sensor.resume_execution("execute_complete", {"event": event}, {"ti": ti})
    assert ti.xcoms[XCOM_KEY]["ids"] == {"rejected": ids}


async def test_a_service_of_another_type_of_connection_is_not_taken_for_it(deployment: Deployment) -> None:
    deployment.describe(conn_type="aitronos", extra={})
    ending = ending_from(await event_of(own_trigger("job_1")))
    assert ending.outcome == "rejected"
    assert "is now of type aitronos; this wait began when it was archive" in str(ending.text)


async def test_a_wait_that_is_cancelled_breaks_no_look_up_off(deployment: Deployment) -> None:
    deployment.error = MISSING
    one, other = (deployment.vendors.add_job("aitronos") for _ in range(2))
    gone, staying = (asyncio.ensure_future(event_of(own_trigger(job_id))) for job_id in (one, other))
    await until(lambda: bool(deployment.reads))
    gone.cancel()
    deployment.error = None
    assert ending_from(await staying).outcome == "succeeded"


async def test_a_look_up_that_nobody_waits_for_any_more_leaves_nothing_behind(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.1)
    deployment.error = BROKEN
    gone = asyncio.ensure_future(event_of(own_trigger("job_1")))
    await until(lambda: bool(deployment.reads))
    gone.cancel()
    mine = own_poller._loops[asyncio.get_running_loop()]
    await until(lambda: not mine.opening)


# -- edited in mid-wait ------------------------------------------------------------------------------------------


def without_word(word: str, **changes: Any) -> dict[str, Any]:
    described = archive(**changes)
    words = {state: [one for one in words if one != word] for state, words in described["words"].items()}
    return {**described, "words": {**words, "succeeded": [*words["succeeded"], "done"]}}


async def test_a_description_that_is_edited_in_mid_wait_is_used(deployment: Deployment) -> None:
    deployment.describe(without_word("completed"))
    waiting = asyncio.ensure_future(event_of(own_trigger(deployment.vendors.add_job("aitronos", seconds=0))))
    await until(lambda: len(deployment.reads) > 2)
    assert not waiting.done(), "the vendor's word is not known"
    deployment.describe(archive(title="The Archive"))
    assert ending_from(await waiting).outcome == "succeeded"


async def test_what_has_not_changed_is_read_anew_by_another_description(deployment: Deployment) -> None:
    """The vendor's reply is the same as before; the meaning of its word is not."""
    deployment.describe(archive())
    job_id = deployment.vendors.add_job("aitronos", seconds=math.inf)
    waiting = asyncio.ensure_future(event_of(own_trigger(job_id)))
    await until(lambda: len(deployment.reads) > 2)
    described = without_word("processing")
    deployment.describe({**described, "words": {**described["words"], "review": ["processing"]}})
    assert ending_from(await waiting).outcome == "review"


def test_every_poke_in_reschedule_mode_reads_the_description(deployment: Deployment) -> None:
    deployment.describe(without_word("completed"))
    job_id = deployment.vendors.add_job("aitronos", seconds=0)
    asked = len(deployment.vendors.requests)
    made: list[Any] = []

    def make() -> Any:
        if len(deployment.vendors.requests) > asked + 2:
            deployment.describe()
        made.append(sensor_of("reschedule", conn_id="archive", job_id=job_id))
        return made[-1]

    from tests.task_runs import run_rescheduled

    assert run_rescheduled(make, FakeTaskInstance())["state"] == "succeeded"
    assert len(made) > 2


def test_in_poke_mode_a_refusal_makes_the_description_be_read_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = deepcopy(archive())
    wrong["routes"]["job"]["path"] = "/documents/tasks/{id}"
    deployment.describe(wrong)
    job_id, reload = deployment.vendors.add_job("aitronos", seconds=0), DocStatusHook.reload

    def edited(hook: DocStatusHook) -> None:
        deployment.describe()
        reload(hook)

    monkeypatch.setattr(DocStatusHook, "reload", edited)
    assert wait("poke", conn_id="archive", job_id=job_id, grace=0)["state"] == "succeeded"


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_a_wait_whose_route_is_gone_is_refused(mode: str, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = archive(routes={"task": archive()["routes"]["job"]})
    job_id = deployment.vendors.add_job("aitronos", seconds=math.inf)
    asked, answer = len(deployment.vendors.requests), DocStatusHook.reload
    monkeypatch.setattr(DocStatusHook, "reload", lambda hook: (deployment.describe(gone), answer(hook)))

    async def edit_and_wait() -> Any:
        waiting = asyncio.ensure_future(event_of(own_trigger(job_id)))
        await until(lambda: len(deployment.vendors.requests) > asked + 1)
        deployment.describe(gone)
        return await waiting

    def end() -> None:
        if mode == "poke":
            deployment.vendors.answer_next(401, times=1)
            wait("poke", conn_id="archive", job_id=job_id)
        sensor = sensor_of("deferrable", conn_id="archive", job_id=job_id)
        sensor.resume_execution("execute_complete", {"event": asyncio.run(edit_and_wait())}, {"ti": FakeTaskInstance()})

    with pytest.raises(RequestRejected, match=r"Archive has no route 'job' any more.*Put the route back, or clear the task"):
        end()


async def test_a_bad_edit_is_not_used(deployment: Deployment) -> None:
    job_id = deployment.vendors.add_job("aitronos", seconds=math.inf)
    asked = len(deployment.vendors.requests)
    waiting = asyncio.ensure_future(event_of(own_trigger(job_id)))
    await until(lambda: len(deployment.vendors.requests) > asked)
    deployment.describe({**archive(), "words": {}})
    begun = len(deployment.reads)
    await until(lambda: len(deployment.reads) > begun + 1)
    deployment.vendors.finish(job_id)
    assert ending_from(await waiting).outcome == "succeeded"


async def test_a_description_of_another_service_counts_after_a_while(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "MISSING_HOLDS", 0.1)
    job_id, asked = deployment.vendors.add_job("aitronos", seconds=math.inf), len(deployment.vendors.requests)
    waiting = asyncio.ensure_future(event_of(own_trigger(job_id)))
    await until(lambda: len(deployment.vendors.requests) > asked)
    deployment.describe(archive(name="other"))
    ending = ending_from(await waiting)
    assert (ending.outcome, ending.service) == ("rejected", "archive")
    assert "is now of type other; this wait began when it was archive" in str(ending.text)


async def test_a_wait_that_begins_after_an_edit_goes_by_it(deployment: Deployment) -> None:
    first = ending_from(await event_of(own_trigger(deployment.vendors.add_job("aitronos"))))
    deployment.describe(archive(routes={"task": archive()["routes"]["job"]}))
    await asyncio.sleep(0.06)  # what was read is old now
    second = ending_from(await event_of(own_trigger(deployment.vendors.add_job("aitronos"), route="task")))
    assert (first.outcome, second.outcome) == ("succeeded", "succeeded")


LONG_AGO = started(400 * 86_400).start_date


def run_in(mode: str, one: Any, ti: FakeTaskInstance | None = None, **context: Any) -> Any:
    from tests.task_runs import run_rescheduled

    ti = ti or FakeTaskInstance()
    arguments = {"conn_id": "archive", "job_id": one, "grace": 0}
    if mode == "reschedule":
        return run_rescheduled(lambda: sensor_of(mode, **arguments), ti, {"ti": ti, **context})
    return run(sensor_of(mode, **arguments), ti, **context)
