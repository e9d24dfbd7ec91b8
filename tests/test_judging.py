"""A sensor's gates, from the wait to the XCom: what is fetched, what is judged, and what becomes of the task."""

from __future__ import annotations

import json
import logging
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus._compat import AirflowFailException, AirflowSkipException
from airflow_provider_docstatus.exceptions import (
    DataRefused,
    DocumentFailed,
    KeyRejected,
    NoData,
    QuotaExhausted,
    RequestRejected,
    SchemaMismatch,
    ServiceUnavailable,
    Uncertain,
    UnexpectedReply,
)
from airflow_provider_docstatus.gate import route_of_items
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.testing import StandInVendors
from tests.task_runs import MODES, FakeTaskInstance, RequiredActions, TaskAwaitingInput, TaskDeferred, run, wait
from tests.test_review import asks_people

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "Zq7-Jane-Doe"
each_mode = pytest.mark.parametrize("mode", MODES)
UNSILOED = {"conn_id": "unsiloed_default", "operation": "extract"}


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> RequiredActions:
    return RequiredActions.opened(monkeypatch)


def fields(**scores: Any) -> dict[str, Any]:
    return {name: {"value": MARK, "score": score} for name, score in scores.items()}


def job(vendors: StandInVendors, **scores: Any) -> str:
    return vendors.add_job("unsiloed", "extract", reply={"result": fields(**scores)})


def asked(vendors: StandInVendors, path: str) -> int:
    return sum(path in record.path for record in vendors.requests)


def ended(error: type[Exception], mode: str = "poke", ti: FakeTaskInstance | None = None, **arguments: Any) -> Exception:
    with pytest.raises(error) as raised:
        wait(mode, ti, **arguments)
    return raised.value


# -- one id --------------------------------------------------------------------------------------------------------


@each_mode
def test_the_report_is_beside_the_status(vendors, mode):
    ti, one = FakeTaskInstance(), job(vendors, total=0.97, date=0.91)
    returned = wait(mode, ti, job_id=one, min_confidence=0.9, require={"required": ["total"]}, **UNSILOED)
    assert returned["confidence"] == {"lowest": 0.91, "fields": [], "below": 0, "total": 2}
    assert returned == ti.xcoms[XCOM_KEY]
    assert MARK not in json.dumps(ti.xcoms)


@each_mode
def test_a_low_confidence_fails_the_task_with_the_names(vendors, mode):
    ti, one = FakeTaskInstance(), job(vendors, total=0.41, date=0.91)
    error = ended(Uncertain, mode, ti, job_id=one, min_confidence=0.9, **UNSILOED)
    assert isinstance(error, AirflowFailException)
    assert f"{one}: the confidence of 1 of 2 is below min_confidence=0.9; the lowest is 0.41: total." in str(error)
    assert ti.xcoms[XCOM_KEY]["confidence"] == {"lowest": 0.41, "fields": ["total"], "below": 1, "total": 2}


@each_mode
def test_nobody_is_told_a_value(vendors, mode, caplog):
    caplog.set_level(logging.DEBUG)
    ti, one = FakeTaskInstance(), job(vendors, total=0.41)
    error = ended(SchemaMismatch, mode, ti, job_id=one, require={"additionalProperties": {"type": "null"}}, **UNSILOED)
    assert "breaks the schema in require: total: type." in str(error)
    assert MARK not in f"{error!r}{error.__dict__}{json.dumps(ti.xcoms)}{caplog.text}"
    assert error.__cause__ is None
    assert error.__context__ is None or MARK not in str(error.__context__)


@each_mode
def test_a_document_in_doubt_is_left_to_a_human(vendors, mode):
    ti, one = FakeTaskInstance(), job(vendors, total=0.41)
    error = ended(DocumentFailed, mode, ti, job_id=one, min_confidence=0.9, on_uncertain="review", **UNSILOED)
    assert not isinstance(error, Uncertain)
    assert "ended review ('completed'): Unsiloed job" in str(error)
    assert "0.41: total. To let it pass, give the task accept=('review',), or on_review='ask'" in str(error)
    told = ti.xcoms[XCOM_KEY]
    assert (told["state"], told["word"], told["confidence"]["fields"]) == ("review", "completed", ["total"])
    assert "the lowest is 0.41: total" in told["message"]


@each_mode
def test_data_may_be_as_large_as_the_gate_reads_whatever_the_connection_allows(vendors, mode, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SMALL", with_extra("AIRFLOW_CONN_UNSILOED_DEFAULT", max_reply_bytes=20_000))
    one, where = job(vendors, **{f"f{n}": 0.9 for n in range(1000)}), {**UNSILOED, "conn_id": "small"}
    assert wait(mode, job_id=one, min_confidence=0.9, **where)["confidence"]["total"] == 1000
    error = ended(SchemaMismatch, mode, job_id=one, require={}, gate_max_bytes=30_000, **where)
    assert isinstance(error, AirflowFailException)
    assert f"{one} cannot be checked: it is larger than gate_max_bytes (30,000 bytes)" in str(error)


def with_extra(name: str, **extra: Any) -> str:
    """Return a connection of the stand-in with more in its extra."""
    import os

    known = json.loads(os.environ[name])
    before = known.get("extra") or {}
    return json.dumps({**known, "extra": {**(json.loads(before) if isinstance(before, str) else before), **extra}})


def test_what_airflow_cannot_carry_is_judged_all_the_same(vendors):
    one = vendors.add_job("aitronos")
    data = '{"a": NaN, "__id__": "\\ud83d"}'
    reply = f'{{"job_id": "{one}", "status": "completed", "extracted_data": {data}}}'
    vendors.answer_next(200, body=reply, content_type="application/json", path=one, times=2)
    assert wait("poke", conn_id="aitronos_default", job_id=one, require={"required": ["a"]})["state"] == "succeeded"


def test_the_file_is_named_first(vendors):
    request = vendors.add_job("neurolinker", documents=1, file_name="invoice.pdf")
    error = ended(SchemaMismatch, conn_id="neurolinker_default", request_id=request, require={"type": "array"})
    assert re.search(r"breaks the schema in require: invoice\.pdf \(\S+\) \(the top\): type", str(error))


@pytest.mark.parametrize("flag", [None, "soft_fail", "never_fail"])
@pytest.mark.parametrize(
    ("fault", "kind", "is_retried"),
    [
        ({"status": 503}, ServiceUnavailable, True),
        ({"status": 200, "body": {"job_id": "{id}", "status": "completed"}}, NoData, True),
        ({"status": 200, "body": "<html>", "content_type": "text/html"}, UnexpectedReply, True),
        ({"status": 402, "body": {"detail": {"status": "QUOTA_EXCEEDED"}}}, QuotaExhausted, False),
        ({"status": 401, "body": {"detail": "Invalid API key"}}, KeyRejected, False),
    ],
    ids=["outage", "no data", "garbage", "quota", "key"],
)
def test_data_that_does_not_come_ends_as_it_does_elsewhere(vendors, flag, fault, kind, is_retried):
    ti, one = FakeTaskInstance(), job(vendors, total=0.9)
    vendors.answer_next(200, body={"job_id": one, "status": "completed", "result": fields(total=0.9)}, path=one)
    body = json.loads(json.dumps(fault.get("body", "")).replace("{id}", one))
    vendors.answer_next(**{**fault, "body": body}, path=one, times=math.inf)
    flags = {flag: True} if flag else {}
    error = ended(kind, "poke", ti, job_id=one, require={}, **UNSILOED, **flags)
    assert isinstance(error, AirflowFailException) is not is_retried
    assert not isinstance(error, AirflowSkipException)
    assert ti.xcoms[XCOM_KEY]["state"] == "succeeded"


def test_a_document_that_failed_is_not_fetched(vendors):
    one = vendors.add_job("unsiloed", "extract", ends="failed")
    before = asked(vendors, one)
    ended(DocumentFailed, job_id=one, require={}, **UNSILOED)
    assert asked(vendors, one) == before + 1


def test_a_state_that_is_accepted_is_judged_too(vendors):
    one = vendors.add_job("unsiloed", "extract", ends="review", reply={"result": fields(total=0.4)})
    ended(Uncertain, job_id=one, min_confidence=0.9, accept=("review",), **UNSILOED)


def test_on_review_holds_for_a_document_in_doubt_too(vendors):
    told = wait(
        "poke", job_id=job(vendors, total=0.41), min_confidence=0.9, on_uncertain="review", on_review="accept", **UNSILOED
    )
    assert (told["state"], told["confidence"]["fields"]) == ("review", ["total"])


# -- several ids ---------------------------------------------------------------------------------------------------


@each_mode
def test_each_id_of_a_list_has_an_ending_of_its_own(vendors, mode):
    ti, low, good, bad = FakeTaskInstance(), job(vendors, total=0.4), job(vendors, total=0.95), job(vendors, other=0.99)
    failed = vendors.add_job("unsiloed", "extract", ends="failed")
    how = {"require": {"required": ["total"]}, "min_confidence": 0.9, **UNSILOED}
    error = ended(DocumentFailed, mode, ti, job_id=[low, good, bad, failed], **how)
    told = ti.xcoms[XCOM_KEY]
    assert told["ids"] == {"uncertain": [low], "succeeded": [good], "invalid": [bad], "failed": [failed]}
    assert told["errors"].keys() == {low, bad, failed}
    assert told["confidence"]["lowest"] == 0.4
    assert (told["confidence"]["below"], told["confidence"]["ids"]) == (
        1,
        {low: {"lowest": 0.4, "fields": ["total"], "below": 1, "total": 1}},
    )
    assert "1 of 4 ids ended well, 4 were needed" in str(error)
    assert MARK not in json.dumps(ti.xcoms) + str(error)


@each_mode
def test_enough_that_pass_are_enough(vendors, mode):
    low, good = job(vendors, total=0.4), job(vendors, total=0.95)
    manifest = wait(mode, job_id=[low, good], min_confidence=0.9, wait_for="any", **UNSILOED)
    assert manifest["counts"] == {"uncertain": 1, "succeeded": 1}


@each_mode
def test_the_first_to_finish_is_not_taken_for_the_one_that_passes(vendors, mode):
    low, later = job(vendors, total=0.4), vendors.add_job("unsiloed", "extract", seconds=0.05, reply={"result": fields(total=1)})
    manifest = wait(mode, job_id=[low, later], min_confidence=0.9, wait_for="any", poke_interval=0.01, **UNSILOED)
    assert manifest["ids"] == {"uncertain": [low], "succeeded": [later]}


def test_one_kind_of_verdict_is_what_the_list_ends_with(vendors):
    ids = [job(vendors, total=0.4), job(vendors, total=0.95)]
    ended(Uncertain, job_id=ids, min_confidence=0.9, **UNSILOED)
    ended(SchemaMismatch, job_id=ids, require={"type": "array"}, **UNSILOED)


def test_doubt_that_is_accepted_is_reported(vendors):
    low, good = job(vendors, total=0.4), job(vendors, total=0.95)
    manifest = wait("poke", job_id=[low, good], min_confidence=0.9, on_uncertain="accept", **UNSILOED)
    assert (manifest["counts"], manifest["errors"], list(manifest["confidence"]["ids"])) == ({"succeeded": 2}, {}, [low])


def test_doubt_that_a_human_settles_is_a_review(vendors):
    low, good = job(vendors, total=0.4), job(vendors, total=0.95)
    how = {"job_id": [low, good], "min_confidence": 0.9, "on_uncertain": "review", **UNSILOED}
    assert "accept=('review',)" in str(ended(DocumentFailed, **how))
    manifest = wait("poke", accept=("review",), **how)
    assert (manifest["counts"], manifest["errors"]) == ({"review": 1, "succeeded": 1}, {})


def test_the_first_that_does_not_pass_ends_a_list_that_fails_fast(vendors):
    ti, ids = FakeTaskInstance(), [job(vendors, total=0.4), job(vendors, total=0.4)]
    ended(Uncertain, "poke", ti, job_id=ids, min_confidence=0.9, fail_fast=True, **UNSILOED)
    assert ti.xcoms[XCOM_KEY]["counts"] == {"uncertain": 1, "succeeded": 1}
    failed = vendors.add_job("unsiloed", "extract", ends="failed")
    before = asked(vendors, ids[0])
    ended(DocumentFailed, job_id=[failed, ids[0]], min_confidence=0.9, fail_fast=True, **UNSILOED)
    assert asked(vendors, ids[0]) <= before + 1


def test_a_large_document_of_a_list_costs_only_itself(vendors):
    ti, large, good = FakeTaskInstance(), job(vendors, **{f"f{n}": 0.9 for n in range(1000)}), job(vendors, total=0.95)
    ended(SchemaMismatch, "poke", ti, job_id=[large, good], require={}, gate_max_bytes=30_000, **UNSILOED)
    assert ti.xcoms[XCOM_KEY]["ids"] == {"invalid": [large], "succeeded": [good]}


@pytest.mark.parametrize(
    ("fault", "kind", "is_retried"),
    [({"status": 503}, ServiceUnavailable, True), ({"status": 402, "body": {"detail": "x"}}, QuotaExhausted, False)],
    ids=["outage", "quota"],
)
def test_data_of_a_list_that_does_not_come_leaves_the_manifest(vendors, fault, kind, is_retried):
    ti, ids = FakeTaskInstance(), [job(vendors, total=0.4), job(vendors, total=0.95)]
    vendors.answer_next(200, body={"job_id": ids[1], "status": "completed"}, path=ids[1])
    vendors.answer_next(**fault, path=ids[1], times=math.inf)
    error = ended(kind, "poke", ti, job_id=ids, min_confidence=0.9, **UNSILOED)
    assert isinstance(error, AirflowFailException) is not is_retried
    assert ti.xcoms[XCOM_KEY]["counts"] == {"succeeded": 2}


def test_a_key_that_one_id_is_refused_to_costs_only_that_id(vendors):
    ti, ids = FakeTaskInstance(), [job(vendors, total=0.95) for _ in range(3)]
    for one in ids[:2]:
        vendors.answer_next(200, body={"job_id": one, "status": "completed"}, path=one)
    vendors.answer_next(403, body={"detail": "not yours"}, path=ids[0], times=math.inf)
    error = ended(KeyRejected, "poke", ti, job_id=ids, require={}, **UNSILOED)
    assert ti.xcoms[XCOM_KEY]["ids"] == {"key_rejected": [ids[0]], "succeeded": ids[1:]}
    assert "2 of 3 ids ended well" in str(error)
    vendors.answer_next(200, body={"job_id": ids[0], "status": "completed"}, path=ids[0])


def test_a_key_that_two_ids_are_refused_to_is_wrong(vendors):
    ids = [job(vendors, total=0.95) for _ in range(2)]
    for one in ids:
        vendors.answer_next(200, body={"job_id": one, "status": "completed"}, path=one)
        vendors.answer_next(403, body={"detail": "not yours"}, path=one, times=math.inf)
    assert "not yours" in str(ended(KeyRejected, job_id=ids, require={}, **UNSILOED))


# -- requests, batches, and what only some services need -----------------------------------------------------------


@each_mode
def test_the_documents_of_a_request_are_judged_one_by_one(vendors, mode):
    request, before = vendors.add_job("neurolinker", documents=3), asked(vendors, "documents/json")
    where = {"conn_id": "neurolinker_default", "request_id": request}
    assert wait(mode, require={"type": "object"}, **where)["state"] == "succeeded"
    assert asked(vendors, "documents/json") == before + 3
    error = ended(SchemaMismatch, mode, require={"type": "array"}, **where)
    assert len(re.findall(r"\S+ \(the top\): type", str(error))) == 3


def test_documents_that_failed_are_not_judged(vendors):
    request = vendors.add_job("neurolinker", documents=["completed", "failed"])
    where = {"conn_id": "neurolinker_default", "request_id": request, "accept": ("partial",)}
    assert wait("poke", require={"type": "object"}, **where)["state"] == "partial"
    manifest = wait("poke", require={"type": "object"}, **{**where, "request_id": [request]})
    assert manifest["counts"] == {"partial": 1}


def test_a_request_without_any_data_is_refused_as_elsewhere(vendors):
    request = vendors.add_job("neurolinker", documents=2)
    body = {"success": True, "results": []}
    vendors.answer_next(200, body=body, path="documents/json", times=math.inf)
    error = ended(NoData, conn_id="neurolinker_default", request_id=request, require={})
    assert not isinstance(error, (AirflowFailException, DataRefused))


def test_a_service_without_confidence_is_never_sure(vendors):
    request = vendors.add_job("neurolinker", documents=2)
    error = ended(Uncertain, conn_id="neurolinker_default", request_id=request, min_confidence=0.1)
    assert "the confidence of 2 of 2 is below min_confidence=0.1, 2 of them unknown" in str(error)


def test_the_jobs_of_a_batch_are_judged_one_by_one(vendors):
    ids = [vendors.add_job("unsiloed", "extract", reply={"result": fields(total=0.9)}) for _ in range(2)]
    batch = vendors.add_batch(ids)
    where = {"conn_id": "unsiloed_default", "operation": "batch", "job_id": batch}
    assert wait("poke", require={"type": "object"}, **where)["state"] == "succeeded"
    assert "(the top): type" in str(ended(SchemaMismatch, require={"type": "array"}, **where))


@pytest.mark.parametrize(
    ("service", "route", "items"),
    [("neurolinker", "request", "document"), ("unsiloed", "batch", "job"), ("extend", "batch", "extract")],
)
def test_what_has_the_data_of_the_parts(service, route, items):
    assert route_of_items(SERVICES[service], route) == items


@each_mode
def test_every_service_can_be_gated(vendors, mode):
    for service, described in SERVICES.items():
        name, route = next(iter(described.routes.items()))
        which = {route.parameter: vendors.add_job(service, name), **({"operation": name} if described.has_operations else {})}
        assert wait(mode, conn_id=f"{service}_default", require={}, **which)["state"] == "succeeded"


def test_a_confidence_that_only_another_question_brings_is_asked_for(vendors):
    one = vendors.add_job("llamaparse", "extract")
    where = {"conn_id": "llamaparse_default", "operation": "extract", "job_id": one, "min_confidence": 0.5}
    ended(Uncertain, **where)
    assert any(one in record.path and record.query.get("expand") == "extract_metadata" for record in vendors.requests)
    before = len(vendors.requests)
    wait("poke", **{**where, "min_confidence": None, "require": {}})
    assert not any("expand" in record.query for record in vendors.requests[before:])


def test_a_result_that_says_it_beside_the_data_is_heard(vendors):
    one = vendors.add_job("docling")
    error = ended(Uncertain, conn_id="docling_default", job_id=one, min_confidence=0.5)
    assert "1 of them unknown: confidence" in str(error)


def test_data_that_goes_when_it_is_read_is_left_to_the_operator(vendors, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ZERO", with_extra("AIRFLOW_CONN_LANDINGAI_DEFAULT", zero_retention=True))
    before = len(vendors.requests)
    for operation in ("parse", "extract_v1"):
        error = ended(RequestRejected, conn_id="zero", operation=operation, job_id="x", require={})
        assert "Give require and min_confidence to the ExtractedDataOperator" in str(error)
    assert len(vendors.requests) == before


# -- a person is asked about what passes ---------------------------------------------------------------------------


@asks_people
@each_mode
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize(
    ("asks", "error"),
    [({"require": {"required": ["tax"]}}, SchemaMismatch), ({"min_confidence": 0.9}, Uncertain)],
    ids=["schema", "confidence"],
)
def test_nobody_is_asked_about_data_that_does_not_pass(vendors, page, *, mode, is_list, asks, error):
    ti, one = FakeTaskInstance(), vendors.add_job("unsiloed", "extract", ends="review", reply={"result": fields(total=0.41)})
    ended(error, mode, ti, job_id=[one] if is_list else one, on_review="ask", **asks, **UNSILOED)
    assert page.question is None
    assert not is_list or "ended review" not in ti.xcoms[XCOM_KEY]["errors"][one]


@asks_people
@each_mode
def test_a_person_sees_how_sure_the_vendor_is_of_what_it_has_flagged(vendors, page, mode):
    one = vendors.add_job("unsiloed", "extract", ends="review", reply={"result": fields(total=0.41)})
    how = {"min_confidence": 0.9, "on_uncertain": "review", "on_review": "ask", **UNSILOED}
    with pytest.raises((TaskAwaitingInput, TaskDeferred)):
        wait(mode, job_id=one, **how)
    assert "lowest confidence: 0.41" in page.question["body"]


@asks_people
@each_mode
def test_a_list_that_fails_fast_is_judged_although_some_are_in_review(vendors, page, mode):
    flagged, bad = (
        vendors.add_job("unsiloed", "extract", ends="review", reply={"result": fields(total=1)}),
        job(vendors, other=0.99),
    )
    ti = FakeTaskInstance()
    how = {"require": {"required": ["total"]}, "fail_fast": True, "on_review": "ask", **UNSILOED}
    ended(DocumentFailed, mode, ti, job_id=[flagged, bad], **how)
    assert (page.question, ti.xcoms[XCOM_KEY]["ids"]) == (None, {"review": [flagged], "invalid": [bad]})


# -- the parameters ------------------------------------------------------------------------------------------------


def test_bad_parameters_are_refused_when_the_dag_is_read():
    for bad, kind in (({"min_confidence": 80}, ValueError), ({"require": {"type": 7}}, RequestRejected)):
        with pytest.raises(kind):
            DocStatusSensor(task_id="gate", job_id="x", **UNSILOED, **bad)


@each_mode
def test_a_file_that_cannot_be_read_is_told_before_the_wait(vendors, mode):
    before = len(vendors.requests)
    error = ended(RequestRejected, mode, job_id="x", require="/nowhere/schema.json", **UNSILOED)
    assert "cannot be read" in str(error)
    assert isinstance(error, AirflowFailException)
    assert len(vendors.requests) == before


def test_a_file_is_read_by_the_task(vendors, tmp_path):
    file = tmp_path / "schema.json"
    sensor = DocStatusSensor(task_id="gate", job_id=job(vendors, total=0.9), require=file, deferrable=False, **UNSILOED)
    file.write_text('{"required": ["date"]}')
    with pytest.raises(SchemaMismatch, match="date: required"):
        run(sensor)


def test_a_report_does_not_hinder_the_operator(vendors):
    ti, one = FakeTaskInstance(), job(vendors, total=0.9)
    status = wait("poke", ti, job_id=one, min_confidence=0.5, **UNSILOED)
    assert "confidence" in status
    manifest = wait("poke", job_id=[one], min_confidence=0.5, **UNSILOED)
    assert list(run(ExtractedDataOperator(task_id="extract", job_id=manifest, **UNSILOED))["items"]) == [one]


def test_a_hook_may_read_more_than_its_connection_says(vendors):
    assert DocStatusHook("unsiloed_default", max_reply_bytes=7).endpoint.max_reply_bytes == 7
    assert DocStatusHook("unsiloed_default").endpoint.max_reply_bytes == 16 * 1024 * 1024


def test_an_event_that_is_none_is_refused_as_before(vendors):
    for event in (None, {}, {"version": 9}, {"version": 1, "outcome": "odd"}):
        sensor = DocStatusSensor(task_id="gate", job_id="x", require={}, **UNSILOED)
        with pytest.raises(UnexpectedReply):
            sensor.execute_complete({"ti": FakeTaskInstance()}, event)
