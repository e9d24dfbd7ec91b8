"""The sensor: the same document has the same end in poke, reschedule and deferrable mode."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import os
import sys
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import TaskDeferred

from airflow_provider_docstatus import sensors as sensors_module
from airflow_provider_docstatus._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
)
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    Expired,
    KeyRejected,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    UnexpectedReply,
)
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY, DocumentPageLink
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.waiting import wait as waits
from airflow_provider_docstatus.waiting.report import ending_event
from airflow_provider_docstatus.waiting.wait import Ending
from tests.task_runs import (
    MODES,
    FakeTaskInstance,
    deferral_of,
    event_of,
    hurry,
    run,
    sensor_of,
    started,
    task_deferral_error,
    travelled,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON = 0.015
BUSY = {"status": 429, "headers": {"Retry-After": "0"}}
HTML = {"status": 200, "body": "<html>Please log in</html>", "content_type": "text/html"}


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=SOON) as vendors:
        yield vendors


# -- the ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("conn_id", "parameter", "job"),
    [
        ("neurolinker_default", "request_id", {"service": "neurolinker", "documents": 2}),
        ("neurolinker_default", "document_id", {"service": "neurolinker", "kind": "document"}),
        ("aitronos_default", "job_id", {"service": "aitronos"}),
        ("unsiloed_default", "job_id", {"service": "unsiloed", "kind": "parse"}),
    ],
    ids=["request", "document", "job", "parse"],
)
def test_the_xcom_of_a_finished_document_is_its_status_in_every_mode(
    vendors: StandInVendors, mode: str, conn_id: str, parameter: str, job: dict[str, Any]
) -> None:
    ids = {parameter: vendors.add_job(**job)}
    operation = {"operation": job["kind"]} if job["service"] == "unsiloed" else {}
    ti = FakeTaskInstance()
    xcom = wait(mode, ti, conn_id=conn_id, **ids, **operation)
    assert xcom == DocStatusHook(conn_id).get_status(**ids, **operation).to_dict()
    assert (xcom["state"], xcom["id"], ti.xcoms[XCOM_KEY]) == ("succeeded", ids[parameter], xcom)
    assert json.loads(json.dumps(xcom)) == xcom


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("job", "error", "says"),
    [
        ({"service": "neurolinker", "ends": "partial", "documents": 2}, DocumentFailed, "accept=('partial',)"),
        ({"service": "unsiloed", "ends": "review"}, DocumentFailed, "accept=('review',)"),
        ({"service": "neurolinker", "ends": "failed"}, DocumentFailed, "corrupted or unreadable"),
        ({"service": "unsiloed", "ends": "failed"}, DocumentFailed, "corrupted or unreadable"),
        ({"service": "aitronos", "ends": "failed"}, DocumentFailed, "corrupted or unreadable"),
        ({"service": "aitronos", "ends": "cancelled"}, DocumentFailed, "cancelled"),
    ],
    ids=lambda value: " ".join(str(part) for part in value.values()) if isinstance(value, dict) else None,
)
def test_a_bad_end_is_the_same_error_in_every_mode(
    vendors: StandInVendors, mode: str, job: dict[str, Any], error: type[DocStatusError], says: str
) -> None:
    ids, ti = _ids_of(vendors, **job), FakeTaskInstance()
    with pytest.raises(error) as raised:
        wait(mode, ti, **ids)
    assert says in str(raised.value)
    assert isinstance(raised.value, AirflowFailException), "a retry would not help"
    assert raised.value.service == job["service"]
    assert raised.value.state == ti.xcoms[XCOM_KEY]["state"], "a failure branch can read what is known"


def _ids_of(vendors: StandInVendors, **job: Any) -> dict[str, str]:
    """Create a job, and return the sensor's arguments for it."""
    service = job["service"]
    parameter = "request_id" if service == "neurolinker" else "job_id"
    operation = {"operation": "extract"} if service == "unsiloed" else {}
    return {"conn_id": f"{service}_default", parameter: vendors.add_job(**job), **operation}


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_id_ends_after_the_grace(vendors: StandInVendors, mode: str) -> None:
    with pytest.raises(NotFound, match="Check the id, the kind of id") as raised:
        wait(mode, started(seconds_ago=20), job_id="nobody")
    assert isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("mode", MODES)
def test_an_id_the_vendor_does_not_know_yet_is_waited_for(vendors: StandInVendors, mode: str) -> None:
    job_id = vendors.add_job("aitronos", hidden_seconds=SOON)
    assert wait(mode, job_id=job_id)["state"] == "succeeded"


@pytest.mark.parametrize("mode", MODES)
def test_an_id_that_stays_unknown_ends_when_the_grace_is_over(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    hurry(monkeypatch, grace=0.05)
    with pytest.raises(NotFound):
        wait(mode, job_id="nobody")


@pytest.mark.parametrize("mode", MODES)
def test_a_rejected_key_fails_without_a_retry(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    _connect(monkeypatch, password="wrong")
    with pytest.raises(KeyRejected, match="Check the key") as raised:
        wait(mode, conn_id="mine", job_id=vendors.add_job("aitronos"))
    assert isinstance(raised.value, AirflowFailException)
    assert "wrong" not in str(raised.value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", [1, 2], ids=["at once", "later"])
def test_a_key_that_is_rejected_once_ends_nothing(vendors: StandInVendors, mode: str, at: int) -> None:
    """A service that errs, or a key that is changed while it is asked for."""
    job_id, asked = vendors.add_job("aitronos", seconds=0), len(vendors.requests)
    vendors.answer_next(200, body={"job_id": job_id, "status": "processing"}, times=at - 1)
    vendors.answer_next(401, body={"detail": "Invalid key"})
    assert wait(mode, job_id=job_id)["state"] == "succeeded"
    assert [record.status for record in vendors.requests[asked:]].count(401) == 1


def _connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Define the connection ``mine``."""
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({"conn_type": "aitronos", "password": "ak_stand_in", **_host(), **fields}))


def _host() -> dict[str, str]:
    return {"host": json.loads(os.environ["AIRFLOW_CONN_AITRONOS_DEFAULT"])["host"]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reason", ["quota", "payment"])
def test_a_used_up_account_fails_without_a_retry(vendors: StandInVendors, mode: str, reason: Any) -> None:
    vendors.limit("unsiloed", 0, reason=reason)
    where = {"conn_id": "unsiloed_default", "operation": "extract", "job_id": vendors.add_job("unsiloed", "extract")}
    with pytest.raises(QuotaExhausted, match="waiting does not help") as raised:
        wait(mode, **where)
    assert isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "fault",
    [HTML, {"status": 503}, BUSY, {"status": 200, "body": "{"}, {"status": 408}, {"reset": True}, {"cut_off": True}],
    ids=["html", "503", "429", "broken json", "408", "reset", "cut off"],
)
def test_trouble_that_passes_is_waited_out(vendors: StandInVendors, mode: str, fault: dict[str, Any]) -> None:
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(**fault, times=2)
    assert wait(mode, job_id=job_id)["state"] == "succeeded"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"seconds": math.inf}, "last state running ('processing')"),
        ({"word": "archived"}, "'archived', a status word nobody has taught this package"),
    ],
    ids=["never ends", "unknown word"],
)
def test_the_time_out_ends_the_wait(vendors: StandInVendors, mode: str, job: dict[str, Any], says: str) -> None:
    began = time.time()
    with pytest.raises(AirflowSensorTimeout, match="was left alone when timeout passed; clear the task to wait on") as raised:
        wait(mode, job_id=vendors.add_job("aitronos", **job), timeout=0.05)
    assert says in str(raised.value)
    assert isinstance(raised.value, DocStatusError)
    assert 0.05 <= time.time() - began < 3


@pytest.mark.parametrize("mode", MODES)
def test_the_time_out_counts_from_the_first_start(vendors: StandInVendors, mode: str) -> None:
    with pytest.raises(AirflowSensorTimeout):
        wait(mode, started(seconds_ago=60), job_id=vendors.add_job("aitronos", seconds=math.inf), timeout=timedelta(seconds=60))


class _SecondTry(FakeTaskInstance):
    """A task instance that began an hour ago for whoever asks second: on 3.x that is Airflow's sensor, and we ask first."""

    asked = 0

    def get_first_reschedule_date(self, context: Any) -> datetime:
        self.asked += 1
        return super().get_first_reschedule_date(context) - timedelta(hours=0 if self.asked % 2 else 1)


@pytest.mark.parametrize("flag", [{}, {"soft_fail": True}, {"never_fail": True}], ids="".join)
def test_a_second_try_has_all_of_its_time(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, flag: dict[str, bool]
) -> None:
    """Airflow 2.11 counts a rescheduled sensor's time from the first try on (BaseSensorOperator.execute)."""
    base, instance = sys.modules[BaseSensorOperator.__module__], _SecondTry
    if hasattr(base, "_orig_start_date"):
        monkeypatch.setattr(base, "_orig_start_date", lambda **_: datetime.now(timezone.utc) - timedelta(hours=1))
        instance = FakeTaskInstance
    job_id = vendors.add_job("aitronos", seconds=0)
    vendors.answer_next(200, body={"job_id": job_id, "status": "processing"}, times=2, path=job_id)
    assert wait("reschedule", instance(), job_id=job_id, timeout=60, **flag)["state"] == "succeeded"
    endless, began = vendors.add_job("aitronos", seconds=math.inf), time.time()
    with pytest.raises(AirflowSkipException if flag else AirflowSensorTimeout, match="was not finished 0 s"):
        wait("reschedule", instance(), job_id=endless, timeout=0.1, **flag)
    assert time.time() - began >= 0.1


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (HTML, "is there a proxy or login page"),
        ({"status": 302, "redirect_to": "https://login.example/"}, "redirects are not followed"),
        ({"status": 200, "megabytes": 1}, "raise 'max_reply_bytes'"),
    ],
    ids=["html", "redirect", "oversized"],
)
def test_garbage_without_end_says_what_may_be_in_between(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str, fault: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr(waits, "PATIENCE", 0.05)
    _connect(monkeypatch, extra={"max_reply_bytes": 100_000})
    vendors.answer_next(**fault, times=math.inf)
    with pytest.raises(UnexpectedReply) as raised:
        wait(mode, conn_id="mine", job_id=vendors.add_job("aitronos"))
    assert says in str(raised.value)
    assert not isinstance(raised.value, AirflowFailException), "a retry may find the proxy mended"


def test_one_page_of_html_after_a_long_wait_does_not_end_it(vendors: StandInVendors) -> None:
    """What was sound until a moment ago has not been garbage for ten minutes."""
    job_id = vendors.add_job("aitronos", seconds=0.03)
    sensor, ti = sensor_of("deferrable", job_id=job_id, poke_interval=0.02, timeout=3600), started(seconds_ago=700)
    deferred = deferral_of(sensor, ti)
    vendors.answer_next(**HTML)
    assert _resume(sensor, deferred, ti)["state"] == "succeeded"


def _resume(sensor: DocStatusSensor, deferred: TaskDeferred, ti: FakeTaskInstance) -> Any:
    event = asyncio.run(event_of(travelled(deferred.trigger)))
    return sensor.resume_execution(deferred.method_name, {**(deferred.kwargs or {}), "event": event}, {"ti": ti})


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize(
    ("times", "says"),
    [
        (0, "It counts as expired, since this run is for 2001-09-09; a wrong id or operation looks the same. A"),
        (1, "It has expired: this run is for 2001-09-09. A sensor with soft_fail=True skips it."),
    ],
    ids=["never known", "known before"],
)
def test_a_wrong_operation_in_an_old_run_is_not_told_for_certain(
    vendors: StandInVendors, mode: str, times: int, says: str
) -> None:
    """Unsiloed answers it as it answers an id that it has deleted."""
    job_id, ti = vendors.add_job("unsiloed", "parse"), FakeTaskInstance()
    vendors.answer_next(200, body={"job_id": job_id, "status": "processing"}, path=job_id, times=times)
    sensor = sensor_of(mode, conn_id="unsiloed_default", operation="extract", job_id=job_id, grace=0)
    old = SimpleNamespace(run_after=datetime.fromtimestamp(1e9, timezone.utc))
    with pytest.raises(Expired) as raised:
        run(sensor, ti, dag_run=old)
    assert "GET /extract/{job_id}" in str(raised.value)
    assert says in str(raised.value)


# -- opening and skipping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("service", "state"), [("neurolinker", "partial"), ("unsiloed", "review")])
def test_accept_opens_the_gate(vendors: StandInVendors, mode: str, service: str, state: str) -> None:
    ids = _ids_of(vendors, service=service, ends=state, **({"documents": 3} if state == "partial" else {}))
    xcom = wait(mode, **ids, accept=(state,))
    assert xcom["state"] == state
    if state == "partial":
        failed = [child for child, its in xcom["children"].items() if its == "failed"]
        assert list(xcom["errors"]) == failed
        assert "corrupted" in xcom["errors"][failed[0]]


def test_one_state_to_accept_may_stand_alone(vendors: StandInVendors) -> None:
    assert wait("poke", **_ids_of(vendors, service="unsiloed", ends="review"), accept="review")["state"] == "review"


def test_accepting_failure_is_refused_when_the_dag_is_read() -> None:
    with pytest.raises(ValueError, match="a gate can accept 'partial' and 'review'"):
        sensor_of("poke", job_id="x", accept=("failed",))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", ["soft_fail", "never_fail"])
@pytest.mark.parametrize(
    ("job", "says"),
    [({"ends": "failed"}, "corrupted or unreadable"), ({"seconds": math.inf}, "was not finished")],
    ids=["failed", "time-out"],
)
def test_the_documents_end_and_the_time_out_can_be_a_skip(
    vendors: StandInVendors, mode: str, flag: str, job: dict[str, Any], says: str
) -> None:
    with pytest.raises(AirflowSkipException, match=says):
        wait(mode, job_id=vendors.add_job("aitronos", **job), timeout=0.05, **{flag: True})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", ["soft_fail", "never_fail"])
def test_a_rejected_key_never_looks_like_a_skip(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str, flag: str
) -> None:
    _connect(monkeypatch, password="wrong")
    with pytest.raises(KeyRejected):
        wait(mode, conn_id="mine", job_id=vendors.add_job("aitronos"), **{flag: True})


@pytest.mark.parametrize("flag", ["soft_fail", "never_fail"])
def test_a_key_rejected_in_the_triggerer_never_looks_like_a_skip(vendors: StandInVendors, flag: str) -> None:
    sensor = sensor_of("deferrable", job_id=vendors.add_job("aitronos", seconds=math.inf), **{flag: True})
    deferred = deferral_of(sensor)
    vendors.answer_next(401, times=math.inf)
    with pytest.raises(KeyRejected):
        _resume(sensor, deferred, FakeTaskInstance())


# -- deferring -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("default", "argument", "defers"), [("True", None, True), ("False", None, False), ("True", False, False)]
)
def test_the_default_for_deferrable_is_airflows(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, default: str, argument: bool | None, defers: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", default)
    spec = importlib.util.spec_from_file_location("sensors_read_anew", sensors_module.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    given = {} if argument is None else {"deferrable": argument}
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    sensor = module.DocStatusSensor(
        task_id="gate", conn_id="aitronos_default", job_id=job_id, watch_on_worker=0, timeout=0.03, **given
    )
    with pytest.raises(TaskDeferred if defers else AirflowSensorTimeout):
        sensor.execute({"ti": FakeTaskInstance()})


def test_a_finished_document_does_not_defer(vendors: StandInVendors) -> None:
    asked = len(vendors.requests)
    sensor = sensor_of("deferrable", job_id=vendors.add_job("aitronos", seconds=0))
    assert sensor.execute({"ti": FakeTaskInstance()})["state"] == "succeeded"
    assert len(vendors.requests) == asked + 1


def test_a_short_job_ends_in_the_watch_on_the_worker(vendors: StandInVendors) -> None:
    sensor = sensor_of("deferrable", job_id=vendors.add_job("aitronos"), watch_on_worker=3)
    assert sensor.execute({"ti": FakeTaskInstance()})["state"] == "succeeded"


def test_without_a_watch_the_worker_looks_once(vendors: StandInVendors) -> None:
    asked = len(vendors.requests)
    deferral_of(sensor_of("deferrable", job_id=vendors.add_job("aitronos", seconds=math.inf)))
    assert len(vendors.requests) == asked + 1


def test_the_watch_ends_in_time(vendors: StandInVendors) -> None:
    began = time.monotonic()
    deferral_of(sensor_of("deferrable", job_id=vendors.add_job("aitronos", seconds=math.inf), watch_on_worker=0.05))
    assert time.monotonic() - began < 1


def test_the_watch_ends_at_the_deadline(vendors: StandInVendors) -> None:
    """A wait of a minute that the vendor asks for would hold the slot; a deferred one is over in time."""
    job_id, began = vendors.add_job("aitronos"), time.monotonic()
    vendors.answer_next(429, headers={"Retry-After": "3"}, path=job_id)
    deferred = deferral_of(sensor_of("deferrable", job_id=job_id, watch_on_worker=timedelta(minutes=1), timeout=0.2))
    assert deferred.trigger.spec.deadline < time.time() + 0.2
    assert time.monotonic() - began < 1


def test_what_is_known_is_pushed_before_deferring(vendors: StandInVendors) -> None:
    ids, ti = _ids_of(vendors, service="neurolinker", seconds=math.inf), FakeTaskInstance()
    deferral_of(sensor_of("deferrable", **ids), ti)
    assert ti.xcoms[XCOM_KEY]["state"] == "running"
    assert ti.xcoms[XCOM_KEY]["link"].startswith("https://")


def test_airflows_own_time_out_comes_later_than_ours(vendors: StandInVendors) -> None:
    deferred = deferral_of(sensor_of("deferrable", job_id=vendors.add_job("aitronos", seconds=math.inf), timeout=100))
    assert timedelta(seconds=110) < deferred.timeout < timedelta(seconds=1000)


def test_an_outage_at_the_first_look_defers(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(503)
    deferral_of(sensor_of("deferrable", job_id=job_id), ti := FakeTaskInstance())
    assert ti.xcoms == {}, "nothing is known yet"


@pytest.mark.parametrize(("seconds", "says"), [(2, "poke_interval=1 is raised"), (0.1, None)], ids=["too often", "as asked"])
def test_no_service_is_asked_more_often_than_it_wants(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, says: str | None
) -> None:
    hurry(monkeypatch, least_poll_interval=seconds)
    sensor = sensor_of("deferrable", job_id=vendors.add_job("aitronos", seconds=math.inf), poke_interval=1)
    warnings: list[str] = []
    monkeypatch.setattr(type(sensor), "log", _Recorder(warnings))
    trigger = deferral_of(sensor).trigger
    assert trigger.serialize()[1]["poke_interval"] == max(seconds, 1)
    assert [says in line for line in warnings if "raised" in line] == ([True] if says else [])


class _Recorder:
    """A log that keeps its warnings, whichever library Airflow's line logs with."""

    def __init__(self, warnings: list[str]) -> None:
        self.warnings = warnings

    def info(self, *_: Any) -> None: ...

    def warning(self, text: str, *arguments: Any) -> None:
        self.warnings.append(text % arguments)


# -- resuming --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["Trigger failure", "Trigger/execution timeout"])
def test_a_broken_off_wait_gets_a_last_look(vendors: StandInVendors, why: str) -> None:
    job_id = vendors.add_job("aitronos", seconds=0)
    resumed = sensor_of("deferrable", job_id=job_id)
    assert resumed.resume_execution("__fail__", {"error": why}, {"ti": started(900)})["state"] == "succeeded"


@pytest.mark.parametrize("flag", [None, "soft_fail", "never_fail"])
def test_a_broken_off_wait_whose_time_is_up_times_out(vendors: StandInVendors, flag: str | None) -> None:
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    resumed = sensor_of("deferrable", job_id=job_id, timeout=600, **({flag: True} if flag else {}))
    with pytest.raises(AirflowSkipException if flag else AirflowSensorTimeout, match="was not finished"):
        resumed.resume_execution("__fail__", {"error": "Trigger/execution timeout"}, {"ti": started(900)})


@pytest.mark.parametrize("flag", [None, "soft_fail"])
def test_a_deferral_that_timed_out_is_a_time_out_when_the_start_is_forgotten(vendors: StandInVendors, flag: str | None) -> None:
    """Airflow 3.0 to 3.2.1 give a resumed task the time of the resume as its start."""
    job_id = vendors.add_job("aitronos", seconds=math.inf)
    resumed = sensor_of("deferrable", job_id=job_id, timeout=600, **({flag: True} if flag else {}))
    with pytest.raises(AirflowSkipException if flag else AirflowSensorTimeout):
        resumed.resume_execution("__fail__", {"error": _deferral_time_out()}, {"ti": started(0)})


def _deferral_time_out() -> str:
    """Return what Airflow hands to a task whose deferral has timed out."""
    try:
        from airflow.sdk.bases.operator import TriggerFailureReason
    except ImportError:  # 2.11
        return "Trigger/execution timeout"
    return TriggerFailureReason.TRIGGER_TIMEOUT


@pytest.mark.parametrize("left", [{"error": "Trigger failure"}, {"error": "no timeout but a crash"}, {}, None], ids=str)
def test_a_crashed_trigger_is_retried_while_the_document_is_running(vendors: StandInVendors, left: Any) -> None:
    resumed = sensor_of("deferrable", job_id=vendors.add_job("aitronos", seconds=math.inf), soft_fail=True)
    with pytest.raises(task_deferral_error()):
        resumed.resume_execution("__fail__", left, {"ti": FakeTaskInstance()})


@pytest.mark.parametrize(
    "event",
    [
        None,
        "done",
        {},
        {"version": 999, "outcome": "succeeded"},
        {"version": 1, "outcome": "splendid"},
        {"version": 1, "outcome": "succeeded", "service": "aitronos", "id": "x", "status": None, "text": None},
        {"status": "success"},
        ending_event(
            Ending(
                outcome="succeeded",
                service="aitronos",
                id="y",
                status=DocumentStatus(service="aitronos", kind="job", id="y", state=State.SUCCEEDED, word="completed"),
            )
        ),
    ],
    ids=["none", "text", "empty", "newer", "unknown outcome", "without a status", "another's", "of another id"],
)
def test_an_unknown_event_never_opens_the_gate(event: Any) -> None:
    with pytest.raises(UnexpectedReply):
        sensor_of("deferrable", job_id="x", soft_fail=True).resume_execution(
            "execute_complete", {"event": event}, {"ti": FakeTaskInstance()}
        )


# -- bad input -------------------------------------------------------------------------------------------------

AITRONOS, NEUROLINKER, UNSILOED = "aitronos_default", "neurolinker_default", "unsiloed_default"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"job_id": ""}, "is empty; did the submitting task return the id?"),
        ({"job_id": "  "}, "is empty"),
        ({"job_id": "a/b"}, "give the bare id, not a path or URL"),
        ({"job_id": ".."}, "give the bare id"),
        ({"job_id": "None"}, "pass the upstream task's .output"),
        ({"job_id": None}, "an upstream task returned None"),
        ({"job_id": "['a', 'b']"}, "a list printed as text"),
        ({"document_id": "x"}, "Aitronos has no document_id; use job_id"),
        ({"conn_id": NEUROLINKER, "job_id": "x"}, "Neurolinker has no job_id; use request_id or document_id"),
        ({"conn_id": NEUROLINKER, "request_id": "x", "document_id": "y"}, "exactly one of request_id, document_id"),
        ({"conn_id": NEUROLINKER, "request_id": [], "document_id": "y"}, "exactly one of request_id, document_id"),
        ({"document_id": []}, "Aitronos has no document_id; use job_id"),
        ({"conn_id": UNSILOED, "job_id": []}, "say operation= (one of extract, parse"),
        ({}, "give exactly one of job_id"),
        ({"conn_id": UNSILOED, "job_id": "x"}, "say operation= (one of extract, parse"),
        ({"conn_id": UNSILOED, "job_id": "x", "operation": "shred"}, "no operation 'shred'; use one of extract, parse"),
        ({"job_id": "x", "operation": "extract"}, "leave operation='extract' out"),
        ({"conn_id": "nowhere", "job_id": "x"}, "airflow connections add nowhere"),
    ],
    ids=lambda value: ", ".join(f"{name}={text!r}" for name, text in value.items()) if isinstance(value, dict) else None,
)
def test_bad_input_fails_at_once_and_says_what_to_do(
    vendors: StandInVendors, mode: str, arguments: dict[str, Any], says: str
) -> None:
    asked = len(vendors.requests)
    with pytest.raises(RequestRejected) as raised:
        wait(mode, **arguments)
    assert says in str(raised.value)
    assert isinstance(raised.value, AirflowFailException), "a retry would not help"
    assert len(vendors.requests) == asked, "nothing is sent"


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"conn_type": "http"}, "has type 'http'; this package reads neurolinker, aitronos, unsiloed"),
        ({"password": ""}, "has no password; put the Aitronos API key there"),
        ({"password": "two\nlines"}, "paste the key again"),
        ({"host": "http://10.1.2.3"}, "would send the key unencrypted; use https"),
        ({"host": "https://user:key@api.example"}, "the key belongs in the password"),
        ({"extra": {"timeout": 3}}, "unknown keys: timeout"),
    ],
    ids=["http type", "no password", "password of two lines", "plain http", "key in the host", "unknown key"],
)
def test_a_bad_connection_fails_at_once_and_says_what_to_do(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, mode: str, fields: dict[str, Any], says: str
) -> None:
    _connect(monkeypatch, **fields)
    with pytest.raises(RequestRejected) as raised:
        wait(mode, conn_id="mine", job_id="x")
    assert says in str(raised.value)
    assert "'mine'" in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)


# -- what Airflow sees -----------------------------------------------------------------------------------------


def test_ids_operation_and_connection_are_templates() -> None:
    assert set(DocStatusSensor.template_fields) == {"conn_id", "request_id", "document_id", "job_id", "operation"}


def test_templates_are_rendered(vendors: StandInVendors) -> None:
    sensor = sensor_of("poke", conn_id="{{ which }}_default", job_id="{{ id }}")
    sensor.render_template_fields({"which": "aitronos", "id": (job_id := vendors.add_job("aitronos", seconds=0))})
    assert sensor.execute({"ti": FakeTaskInstance()})["id"] == job_id


def test_the_sensor_can_be_mapped_over_ids() -> None:
    mapped = DocStatusSensor.partial(task_id="gates", conn_id=AITRONOS, deferrable=True).expand(job_id=["a", "b"])
    assert mapped.operator_class is DocStatusSensor


@pytest.mark.parametrize(
    ("status", "link"),
    [
        ({"link": "https://neurolinker.example/1"}, "https://neurolinker.example/1"),
        ({"link": "javascript:alert(1)"}, ""),
        ({"link": None}, ""),
        (None, ""),
        ("text", ""),
    ],
    ids=["https", "script", "none", "no xcom", "foreign xcom"],
)
def test_the_extra_link_is_the_vendors_page(monkeypatch: pytest.MonkeyPatch, status: Any, link: str) -> None:
    from airflow_provider_docstatus._compat import XCom

    monkeypatch.setattr(XCom, "get_value", lambda *, key, ti_key: status if key == XCOM_KEY else None)
    (extra_link,) = DocStatusSensor.operator_extra_links
    assert isinstance(extra_link, DocumentPageLink)
    assert extra_link.get_link(sensor_of("poke", job_id="x"), ti_key=None) == link


def test_a_link_that_cannot_be_read_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_docstatus._compat import XCom

    def fail(**_: Any) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(XCom, "get_value", fail)
    assert DocumentPageLink().get_link(sensor_of("poke", job_id="x"), ti_key=None) == ""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("timing", [{"poke_interval": 60}, {"poke_interval": 1, "exponential_backoff": True}], ids=str)
def test_the_last_question_falls_on_the_deadline(vendors: StandInVendors, mode: str, timing: dict[str, Any]) -> None:
    job_id, asked = vendors.add_job("aitronos", seconds=0), len(vendors.requests)
    vendors.answer_next(200, body={"job_id": job_id, "status": "processing"}, path=job_id)
    ti = FakeTaskInstance()
    assert wait(mode, ti, job_id=job_id, timeout=0.15, **timing)["state"] == "succeeded"
    assert ti.start_date.timestamp() + 0.14 < vendors.requests[-1].time < ti.start_date.timestamp() + 0.95
    assert len(vendors.requests) == asked + 2
