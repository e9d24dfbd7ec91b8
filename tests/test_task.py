"""Several ids in one task: one manifest, whichever way the task waits."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus import poller, sensors, task
from airflow_provider_docstatus._compat import (
    DEFERRAL_TIMED_OUT,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_docstatus.exceptions import (
    DocumentFailed,
    Expired,
    KeyRejected,
    NotAsked,
    NotFinished,
    NotFound,
    RateLimited,
    RequestRejected,
    UnexpectedReply,
)
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.task import TaskWait
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.testing.jobs import INVOICE
from airflow_provider_docstatus.waiting import rate_limiter
from airflow_provider_docstatus.waiting.subscriber import interval_of
from tests.task_runs import MODES, FakeTaskInstance, deferral_of, hurry, run, sensor_of, started, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON = 0.015


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=SOON) as vendors:
        yield vendors


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("arguments", "job"),
    [
        ({"parameter": "job_id"}, {"service": "aitronos"}),
        ({"parameter": "job_id", "operation": "extract"}, {"service": "unsiloed"}),
        ({"parameter": "job_id", "operation": "job"}, {"service": "unsiloed"}),
        ({"parameter": "document_id"}, {"service": "neurolinker", "kind": "document"}),
        ({"parameter": "request_id"}, {"service": "neurolinker", "documents": 2}),
    ],
    ids=["jobs", "extractions", "generic jobs", "documents", "requests"],
)
def test_a_list_gives_a_manifest_in_every_mode(
    vendors: StandInVendors, mode: str, arguments: dict[str, str], job: dict[str, Any]
) -> None:
    parameter = arguments["parameter"]
    ids = [vendors.add_job(**job) for _ in range(5)]
    operation = {"operation": arguments["operation"]} if "operation" in arguments else {}
    ti = FakeTaskInstance()
    manifest = wait(mode, ti, conn_id=f"{job['service']}_default", **{parameter: ids}, **operation)
    assert (manifest["total"], manifest["counts"], manifest["ids"]) == (5, {"succeeded": 5}, {"succeeded": ids})
    assert manifest["errors"] == {}
    assert ti.xcoms[XCOM_KEY] == manifest == json.loads(json.dumps(manifest))


@pytest.mark.parametrize("mode", MODES)
def test_a_list_of_one_gives_a_manifest_too(vendors: StandInVendors, mode: str) -> None:
    assert wait(mode, job_id=[vendors.add_job("aitronos")])["total"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_list_skips(vendors: StandInVendors, mode: str) -> None:
    with pytest.raises(AirflowSkipException, match="empty list"):
        wait(mode, job_id=[])


@pytest.mark.parametrize("mode", MODES)
def test_one_that_failed_closes_the_gate_and_the_manifest_tells_which(vendors: StandInVendors, mode: str) -> None:
    good, bad, ti = vendors.add_job("aitronos"), vendors.add_job("aitronos", ends="failed"), FakeTaskInstance()
    with pytest.raises(DocumentFailed, match="1 of 2 ids ended well, 2 were needed") as raised:
        wait(mode, ti, job_id=[good, bad])
    assert isinstance(raised.value, AirflowFailException)
    assert ti.xcoms[XCOM_KEY]["ids"] == {"succeeded": [good], "failed": [bad]}
    assert "corrupted" in ti.xcoms[XCOM_KEY]["errors"][bad]


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_id_is_one_of_the_endings(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    hurry(monkeypatch, grace=0.0)
    ids = [vendors.add_job("aitronos"), "nobody"]
    manifest = wait(mode, job_id=ids, wait_for=0.5)
    assert manifest["counts"]["succeeded"] == 1
    assert manifest["ids"]["succeeded"] == ids[:1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize("at", [1, 2], ids=["at once", "later"])
def test_an_id_that_is_unknown_once_ends_nothing(vendors: StandInVendors, mode: str, is_list: bool, at: int) -> None:
    """A deploy, or a proxy: in reschedule mode too, where no look knows what the one before heard."""
    job_id, asked = vendors.add_job("aitronos", seconds=0), len(vendors.requests)
    vendors.answer_next(200, body={"job_id": job_id, "status": "processing"}, times=at - 1, path=job_id)
    vendors.answer_next(404, body={"detail": "Not here"}, path=job_id)
    ids, ti = [vendors.add_job("aitronos", seconds=0), job_id] if is_list else job_id, FakeTaskInstance()
    wait(mode, ti, job_id=ids, grace=0)
    assert ti.xcoms[XCOM_KEY].get("counts", {"succeeded": 2}) == {"succeeded": 2}
    assert [record.status for record in vendors.requests[asked:]].count(404) == 1


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_unknown_ids_cost_a_question_more(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    now = [time.time() + 1.0]  # only a pause makes time pass

    def pause(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(sensors, "TaskWait", partial(TaskWait, clock=lambda: now[0], sleep=pause))
    ids, asked = [f"nobody-{number}" for number in range(3)], len(vendors.requests)
    with pytest.raises(NotFound):
        wait(mode, job_id=ids, grace=0)
    assert [record.path.rpartition("/")[2] for record in vendors.requests[asked:]] == ids * 2


def test_nobody_is_asked_again_before_the_service_wants_to_be(vendors: StandInVendors) -> None:
    ids, asked = ["nobody", vendors.add_job("aitronos")], len(vendors.requests)
    vendors.answer_next(429, path=ids[1], headers={"Retry-After": "60"})
    task_wait = TaskWait(sensor_of("poke", job_id=ids, grace=0), {"ti": FakeTaskInstance()})
    assert task_wait.poke() is False
    assert [record.status for record in vendors.requests[asked:]] == [404, 429]
    assert task_wait.group.open_ids() == ids


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_the_manifest_counts_the_questions(vendors: StandInVendors, mode: str) -> None:
    """Those of the last look in reschedule mode, where nothing is remembered."""
    ids, asked = [vendors.add_job("aitronos", seconds=seconds) for seconds in (0, 0, SOON)], len(vendors.requests)
    calls = wait(mode, job_id=ids)["calls"]
    assert calls == (len(vendors.requests) - asked if mode == "poke" else 3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wait_for", ["any", 1, 0.3])
def test_enough_is_enough(vendors: StandInVendors, mode: str, wait_for: Any) -> None:
    ids = [vendors.add_job("aitronos", seconds=seconds) for seconds in (SOON, math.inf, math.inf)]
    manifest = wait(mode, job_id=ids, wait_for=wait_for)
    assert manifest["ids"] == {"succeeded": ids[:1], "running": ids[1:]}


@pytest.mark.parametrize("mode", MODES)
def test_fail_fast_does_not_wait_for_the_rest(vendors: StandInVendors, mode: str) -> None:
    ids = [vendors.add_job("aitronos", ends="failed"), vendors.add_job("aitronos", seconds=math.inf)]
    with pytest.raises(DocumentFailed):  # else it would end by its time-out
        wait(mode, job_id=ids, fail_fast=True)


@pytest.mark.parametrize("mode", MODES)
def test_the_time_out_names_what_was_open(vendors: StandInVendors, mode: str) -> None:
    ids, ti = [vendors.add_job("aitronos"), vendors.add_job("aitronos", seconds=math.inf)], FakeTaskInstance()
    with pytest.raises(AirflowSensorTimeout, match="The jobs were left alone"):
        wait(mode, ti, job_id=ids, timeout=0.1)
    assert ti.xcoms[XCOM_KEY]["ids"] == {"succeeded": ids[:1], "timed_out": ids[1:]}


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_list_does_not_hold_its_slot_for_as_long_as_a_service_hangs_with_each_id(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(task, "DEADLINE_GRACE", 0.1)
    ids, asked = [vendors.add_job("aitronos") for _ in range(20)], len(vendors.requests)
    vendors.answer_next(503, delay=0.05, times=math.inf)
    with pytest.raises(AirflowSensorTimeout):
        wait(mode, job_id=ids, timeout=0.02)
    assert len(vendors.requests) - asked < 20


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", [{}, {"soft_fail": True}], ids=str)
def test_a_rejected_key_ends_all_and_never_looks_like_a_skip(vendors: StandInVendors, mode: str, flag: dict[str, bool]) -> None:
    ids = [vendors.add_job("aitronos") for _ in range(3)]
    vendors.answer_next(401, times=math.inf)
    with pytest.raises(KeyRejected, match="Check the key"):
        wait(mode, job_id=ids, **flag)


@pytest.mark.parametrize("mode", MODES)
def test_states_that_are_accepted_count_as_well(vendors: StandInVendors, mode: str) -> None:
    ids = [vendors.add_job("unsiloed", ends=ends) for ends in ("completed", "review")]
    where = {"conn_id": "unsiloed_default", "operation": "extract", "job_id": ids}
    assert wait(mode, **where, accept=("review",))["counts"] == {"succeeded": 1, "review": 1}
    with pytest.raises(DocumentFailed, match="accept="):
        wait(mode, **where)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["a", ""], "is empty"),
        (["a", "None"], "pass the upstream task's .output"),
        (["a", "b/c"], "give the bare id"),
        ([["a"]], "a list"),
        ({"a", "b"}, "job_id is a set"),
        (frozenset("a"), "give a list: sorted(ids)"),
        ([f"job_{number}" for number in range(1001)], "at most 1,000. Cut the list into chunks"),
    ],
    ids=["empty", "None", "path", "list in a list", "set", "frozenset", "too many"],
)
def test_a_bad_id_in_a_list_says_what_to_do(vendors: StandInVendors, ids: Any, says: str) -> None:
    asked = len(vendors.requests)
    with pytest.raises(RequestRejected) as raised:
        wait("deferrable", job_id=ids)
    assert says in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)
    assert len(vendors.requests) == asked


@pytest.mark.parametrize("wait_for", ["most", 0, 1.5, -1, True, None])
def test_a_wait_for_that_means_nothing_is_refused_when_the_dag_is_read(wait_for: Any) -> None:
    with pytest.raises(ValueError, match="wait_for"):
        DocStatusSensor(task_id="gate", conn_id="aitronos_default", job_id=["a"], wait_for=wait_for)


@pytest.mark.parametrize("event", [None, {}, {"version": 1, "states": "s"}, {"version": 1, "states": "zz"}], ids=str)
def test_an_unknown_event_never_opens_the_gate(event: Any) -> None:
    sensor = sensor_of("deferrable", job_id=["a", "b"])
    with pytest.raises(UnexpectedReply):
        sensor.resume_execution("execute_complete", {"event": event}, {"ti": FakeTaskInstance()})


def test_a_thousand_ids_travel_small(vendors: StandInVendors) -> None:
    ids = [vendors.add_job("aitronos", seconds=math.inf) for _ in range(1000)]
    sensor = sensor_of("deferrable", job_id=ids, timeout=3600)
    asked = len(vendors.requests)
    _, kwargs = deferral_of(sensor).trigger.serialize()
    assert len(vendors.requests) == asked + 1, "the worker looks once and leaves the rest to the triggerer"
    assert len(json.dumps(kwargs)) < 64 * 1024


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize(
    ("days", "error"), [((8, 0), NotFound), ((8, 8), Expired), ((0, 8), Expired), ((0, 0), NotFound)], ids=str
)
def test_a_list_and_one_id_agree_on_what_has_expired(
    vendors: StandInVendors, mode: str, is_list: bool, days: tuple[int, int], error: type[Exception]
) -> None:
    """The job's age decides where it is known, the run's elsewhere."""
    now, ti, (run_days, job_days) = datetime.now(timezone.utc), FakeTaskInstance(), days
    job_id = vendors.add_job("unsiloed", seconds=math.inf)
    created = (now - timedelta(days=job_days)).isoformat()
    vendors.answer_next(200, path=job_id, body={"job_id": job_id, "status": "processing", "created_at": created}, times=2)
    vendors.answer_next(404, body={"detail": "Job not found"}, path=job_id, times=math.inf)
    where = {"conn_id": "unsiloed_default", "operation": "extract", "job_id": [job_id] if is_list else job_id}
    with pytest.raises(error):
        run(sensor_of(mode, **where), ti, dag_run=SimpleNamespace(run_after=now - timedelta(days=run_days)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize("flag", [{}, {"soft_fail": True}, {"silent_fail": True}], ids=str)
def test_a_stall_that_could_never_be_noticed_is_refused(
    vendors: StandInVendors, mode: str, is_list: bool, flag: dict[str, bool]
) -> None:
    """The vendor's pages promise the time of the last change; a reply without it tells a new process nothing."""
    job_id = vendors.add_job("unsiloed", seconds=0)
    asked = len(vendors.requests)
    vendors.answer_next(200, path=job_id, body={"job_id": job_id, "status": "processing"}, times=3)
    where = {"conn_id": "unsiloed_default", "operation": "extract", "job_id": [job_id] if is_list else job_id}
    with pytest.raises(RequestRejected, match="does not say when") if mode == "reschedule" else nullcontext():
        wait(mode, stalled_after=60, **where, **flag)
    assert len(vendors.requests) - asked == (1 if mode == "reschedule" else 4)


# -- a limit that is smaller than the list -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_no_id_is_starved_by_those_before_it(vendors: StandInVendors, mode: str) -> None:
    ids = [vendors.add_job("aitronos", seconds=seconds) for seconds in [math.inf] * 6 + [0.0] * 6]
    vendors.limit("aitronos", 4, window=0.08, retry_after="0")
    assert wait(mode, started(61), job_id=ids, wait_for=3, timeout=66, poke_interval=0.01)["counts"]["succeeded"] >= 3


@pytest.mark.parametrize("mode", MODES)
def test_a_look_that_needs_more_calls_than_the_limit_has_at_once_is_made_up_for(vendors: StandInVendors, mode: str) -> None:
    ids = [vendors.add_job("aitronos", seconds=0) for _ in range(12)]
    vendors.limit("aitronos", 4, window=0.05, retry_after="0.05")
    assert wait(mode, job_id=ids)["counts"] == {"succeeded": 12}


@pytest.mark.parametrize("mode", MODES)
def test_an_id_that_is_refused_for_ever_keeps_no_other_from_its_end(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(rate_limiter, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(task, "DEADLINE_GRACE", 0.2)
    monkeypatch.setattr(poller, "DEADLINE_GRACE", 0.2)
    monkeypatch.setattr(poller, "DEADLINES_EVERY", 0.02)
    ids, ti = [vendors.add_job("aitronos", seconds=0) for _ in range(6)], started(61)
    vendors.answer_next(429, path=ids[0], headers={"Retry-After": "0"}, times=math.inf)
    with pytest.raises(NotAsked):
        wait(mode, ti, job_id=ids, timeout=61.1, poke_interval=0.01)
    assert ti.xcoms[XCOM_KEY]["ids"] == {"not_asked": ids[:1], "succeeded": ids[1:]}


def refuse_once(vendors: StandInVendors, ids: list[str], seconds: str) -> None:
    for one in ids:
        vendors.answer_next(429, path=one, headers={"Retry-After": seconds})


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_at_the_deadline_a_refusal_is_waited_out(vendors: StandInVendors, mode: str) -> None:
    ids = [vendors.add_job("aitronos", seconds=0) for _ in range(6)]
    refuse_once(vendors, [ids[1], ids[4]], "0")
    assert wait(mode, started(60), job_id=ids, timeout=30)["counts"] == {"succeeded": 6}


def test_a_last_look_waits_a_refusal_out(vendors: StandInVendors) -> None:
    ids, ti = [vendors.add_job("aitronos", seconds=0) for _ in range(6)], started(60)
    refuse_once(vendors, [ids[1], ids[4], ids[4]], "0")
    sensor = sensor_of("deferrable", job_id=ids)
    sensor.resume_execution("__fail__", {"error": DEFERRAL_TIMED_OUT[0]}, {"ti": ti})
    assert ti.xcoms[XCOM_KEY]["counts"] == {"succeeded": 6}


def test_a_last_look_waits_for_no_long_refusal(vendors: StandInVendors) -> None:
    ids, ti = [vendors.add_job("aitronos", seconds=0) for _ in range(6)], started(60)
    refuse_once(vendors, [ids[4]], "120")
    began = time.monotonic()
    with pytest.raises(NotAsked):
        sensor_of("deferrable", job_id=ids).resume_execution("__fail__", {"error": DEFERRAL_TIMED_OUT[0]}, {"ti": ti})
    assert time.monotonic() - began < 5
    assert ti.xcoms[XCOM_KEY]["ids"] == {"succeeded": ids[:4], "not_asked": ids[4:]}


# -- the operator ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_data_of_a_list_is_by_id(vendors: StandInVendors, deferrable: bool) -> None:
    ids = [vendors.add_job("neurolinker", "document") for _ in range(3)]
    operator = ExtractedDataOperator(
        task_id="extract",
        conn_id="neurolinker_default",
        document_id=ids,
        wait_for_completion=True,
        deferrable=deferrable,
        watch_on_worker=0,
        timeout=5,
    )
    assert run(operator) == {"items": dict.fromkeys(ids, INVOICE), "errors": {}, "file_names": dict.fromkeys(ids, "invoice.pdf")}


def test_the_data_of_a_manifest_is_that_of_its_good_ids(vendors: StandInVendors) -> None:
    ids = [vendors.add_job("aitronos", ends=ends) for ends in ("completed", "failed", "completed")]
    manifest = wait("deferrable", job_id=ids, wait_for=2)
    data = run(ExtractedDataOperator(task_id="extract", conn_id="aitronos_default", job_id=manifest))
    assert list(data["items"]) == [ids[0], ids[2]]
    assert list(data["errors"]) == [ids[1]]


@pytest.mark.parametrize(
    ("waited", "fetched", "is_same"),
    [("extraction", "extract", True), (" Extract", "extraction", True), ("extract", "classify", False), (None, "extract", False)],
)
def test_a_manifest_is_for_the_operation_it_was_made_for(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, waited: str | None, fetched: str, is_same: bool
) -> None:
    """By whichever of its names."""
    connection = json.loads(os.environ["AIRFLOW_CONN_UNSILOED_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({**connection, "extra": {"operation": "parse"}}))
    job_id = vendors.add_job("unsiloed", kind="extract" if waited else "parse", seconds=0)
    manifest = run(sensor_of("poke", conn_id="mine", operation=waited, job_id=[job_id]))
    operator = ExtractedDataOperator(task_id="extract", conn_id="mine", operation=fetched, job_id=manifest)
    if is_same:
        assert list(run(operator)["items"]) == [job_id]
    else:
        with pytest.raises(RequestRejected, match="is the manifest of a wait for job_id at unsiloed"):
            run(operator)


def test_a_dict_that_is_no_manifest_is_refused(vendors: StandInVendors) -> None:
    with pytest.raises(RequestRejected, match="not the manifest"):
        run(ExtractedDataOperator(task_id="extract", conn_id="aitronos_default", job_id={"id": "x"}))


def test_an_empty_list_of_data_skips(vendors: StandInVendors) -> None:
    with pytest.raises(AirflowSkipException, match="empty list"):
        run(ExtractedDataOperator(task_id="extract", conn_id="aitronos_default", job_id=[]))


def test_the_triggerer_waits_for_as_long_as_the_worker_was_told(vendors: StandInVendors) -> None:
    vendors.answer_next(429, headers={"Retry-After": "120"})
    sensor = sensor_of("deferrable", job_id=vendors.add_job("aitronos"), watch_on_worker=3, timeout=3600)
    began = time.time()
    assert deferral_of(sensor).trigger.spec.asked_at >= began + 120


def asks_for_a_pause(vendors: StandInVendors, seconds: int) -> str:
    """Return a job whose next poll is answered well, with the wish not to be polled again so soon."""
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    headers = {"Retry-After": str(seconds)}
    vendors.answer_next(200, body={"job_id": job_id, "status": "processing"}, headers=headers, path=job_id)
    return job_id


def test_the_triggerer_waits_for_as_long_as_a_good_reply_asks(vendors: StandInVendors) -> None:
    job_id, began = asks_for_a_pause(vendors, 120), time.time()
    sensor = sensor_of("deferrable", job_id=job_id, watch_on_worker=3, timeout=3600)
    spec = deferral_of(sensor).trigger.spec
    pause = interval_of(spec, SERVICES["aitronos"]).pause(age=spec.asked_at - spec.started_at, polls=1, jitter=0.0)
    assert began + 120 <= spec.asked_at + pause <= time.time() + 1.2 * 120
    assert sum(job_id in record.path for record in vendors.requests) == 1, "nor is it polled while the worker watches"


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize(("seconds", "timeout", "pause"), [(120, 3600, 120), (86_400, 3600, 600), (120, 30, 30)])
def test_the_next_poke_comes_when_a_good_reply_asks_for_it(
    vendors: StandInVendors, mode: str, seconds: int, timeout: float, pause: float
) -> None:
    sensor = sensor_of(mode, job_id=asks_for_a_pause(vendors, seconds), timeout=timeout)
    one = TaskWait(sensor, {"ti": FakeTaskInstance()})
    assert not one.poke()
    assert pause - 2 < one.next_pause() <= pause


@pytest.mark.parametrize(
    ("served", "set_to", "handed_on"),
    [("/v1", None, None), ("/api/v1", None, "/api/v1"), ("/api/v1", "/api/v1", None), ("/v1", "/api/v1", "/v1")],
    ids=["the usual", "found out", "as the connection says", "not as the connection says"],
)
def test_the_triggerer_reads_the_prefix_from_the_connection_where_the_worker_found_no_other(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, served: str, set_to: str | None, handed_on: str | None
) -> None:
    """So that it is the connection's prefix that counts should that be edited meanwhile."""
    monkeypatch.setattr(vendors, "neurolinker_prefix", served)
    connection = json.loads(os.environ["AIRFLOW_CONN_NEUROLINKER_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_NEUROLINKER_DEFAULT", json.dumps({**connection, "extra": {"prefix": set_to}}))
    request_id = vendors.add_job("neurolinker", seconds=math.inf)
    sensor = sensor_of("deferrable", conn_id="neurolinker_default", request_id=request_id)
    assert deferral_of(sensor).trigger.spec.prefix == handed_on


# -- what is polled, and what is not -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_list_whose_time_is_up_from_the_start_is_polled_once(vendors: StandInVendors, mode: str) -> None:
    ids = [vendors.add_job("aitronos", seconds=0) for _ in range(3)]
    assert wait(mode, job_id=ids, timeout=0)["counts"] == {"succeeded": 3}


@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_fetch_without_waiting_knows_no_deadline(vendors: StandInVendors, is_list: bool) -> None:
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    ids = [job_id] if is_list else job_id
    for limit in ({"timeout": 0}, {"execution_timeout": timedelta(0)}):
        with pytest.raises(NotFinished):
            run(ExtractedDataOperator(task_id="extract", conn_id="aitronos_default", job_id=ids, **limit))


def test_a_fetch_without_waiting_leaves_a_429_to_the_hooks_retries(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DocStatusHook, "default_retries", 0)
    vendors.answer_next(429, times=math.inf)
    asked = len(vendors.requests)
    operator = ExtractedDataOperator(task_id="extract", conn_id="aitronos_default", job_id=vendors.add_job("aitronos"))
    with pytest.raises(RateLimited):
        run(operator)
    assert len(vendors.requests) == asked + 1


def test_refusals_about_several_ids_confirm_each_other_in_nothing(vendors: StandInVendors) -> None:
    ids = [vendors.add_job("aitronos", seconds=0) for _ in range(6)]
    manifest = wait("poke", job_id=ids)
    for one in (ids[1], ids[4]):
        vendors.answer_next(401, path=one)
    asked = len(vendors.requests)
    data = run(ExtractedDataOperator(task_id="extract", conn_id="aitronos_default", job_id=manifest))
    assert list(data["items"]) == ids
    assert len(vendors.requests) - asked == len(ids) + 2, "what was fetched is not fetched anew"


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_unknown_ids_are_confirmed_with_one_look_at_the_connection(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    now = [time.time() + 1.0]  # only a pause makes time pass

    def pause(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(sensors, "TaskWait", partial(TaskWait, clock=lambda: now[0], sleep=pause))
    read, opened = [], vendors.connections_opened
    look = DocStatusHook._read_connection
    monkeypatch.setattr(DocStatusHook, "_read_connection", lambda hook: read.append(hook) or look(hook))
    with pytest.raises(NotFound):
        wait(mode, job_id=[f"nobody-{number}" for number in range(9)], grace=0)
    assert len(read) == 2
    assert vendors.connections_opened - opened == 2


def test_a_rejected_key_of_a_list_is_told_by_the_worker(vendors: StandInVendors) -> None:
    ids, asked = [vendors.add_job("aitronos") for _ in range(9)], len(vendors.requests)
    vendors.answer_next(401, times=math.inf)
    with pytest.raises(KeyRejected):
        sensor_of("deferrable", job_id=ids).execute({"ti": FakeTaskInstance()})
    assert len(vendors.requests) - asked == 2


def test_the_vendors_text_of_each_failed_document_comes_with_the_data(vendors: StandInVendors) -> None:
    request = vendors.add_job("neurolinker", seconds=0, documents=["completed", *["failed"] * 30], error="page 3 is blank")
    operator = ExtractedDataOperator(task_id="extract", conn_id="neurolinker_default", request_id=request, accept=("partial",))
    assert set(run(operator)["errors"].values()) == {"page 3 is blank"}


def test_a_worker_logs_what_it_finds_out_of_the_deployment(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vendors, "neurolinker_prefix", "/api/v1")
    monkeypatch.setattr(vendors, "unsiloed_many", 404)
    caplog.set_level("INFO")
    wait("poke", conn_id="neurolinker_default", request_id=vendors.add_job("neurolinker", seconds=0))
    jobs = [vendors.add_job("unsiloed", "job", seconds=0) for _ in range(2)]
    wait("poke", conn_id="unsiloed_default", operation="job", job_id=jobs)
    assert "Unsiloed has no GET /jobs/status here (404). Polling each id alone." in caplog.text


@pytest.mark.parametrize("service", ["aitronos", "neurolinker", "unsiloed"])
@pytest.mark.parametrize("wrong", ["no password", "another type", "a bad setting", "missing"])
def test_a_connection_that_is_wrong_for_a_moment_ends_no_later_poke(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, service: str, wrong: str
) -> None:
    """In reschedule mode each poke reads the connection for the first time."""
    name = f"AIRFLOW_CONN_{service.upper()}_DEFAULT"
    right = json.loads(os.environ[name])
    other = {"conn_type": "aitronos" if service != "aitronos" else "neurolinker", "password": "x"}
    changed = {
        "no password": json.dumps({**right, "password": ""}),
        "another type": json.dumps(other),
        "a bad setting": json.dumps({**right, "extra": {"share": "many"}}),
        "missing": None,
    }[wrong]
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        monkeypatch.setenv(name, json.dumps(right))

    kind = {"aitronos": "job", "neurolinker": "document", "unsiloed": "extract"}[service]
    where = {"document_id" if service == "neurolinker" else "job_id": vendors.add_job(service, kind, seconds=0)}
    operation = "extract" if service == "unsiloed" else None
    sensor = sensor_of("reschedule", conn_id=f"{service}_default", operation=operation, timeout=99, **where)
    monkeypatch.setattr(sensors, "TaskWait", partial(task.TaskWait, sleep=nap))
    if changed is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, changed)
    assert sensor.execute({"ti": started(60)}) is not None
    assert naps == [5.0]


def test_a_connection_that_stays_wrong_ends_a_later_poke_after_a_minute(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AITRONOS_DEFAULT", json.dumps({"conn_type": "aitronos", "host": vendors.url}))
    clock = [time.time()]
    sensor = sensor_of("reschedule", job_id=vendors.add_job("aitronos"), timeout=999)
    wait_of = partial(task.TaskWait, clock=lambda: clock[0], sleep=lambda seconds: clock.append(clock.pop() + seconds))
    monkeypatch.setattr(sensors, "TaskWait", wait_of)
    began = clock[0]
    with pytest.raises(RequestRejected, match="has no password"):
        sensor.execute({"ti": started(60)})
    assert 60 <= clock[0] - began <= 65
