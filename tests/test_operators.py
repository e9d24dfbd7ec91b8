"""The operator: the extracted data of every service and choice, or an error that says why there is none."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout
from airflow_provider_docstatus.carriable import read_back
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    NotFinished,
    NotFound,
    ReplyTooLarge,
    RequestRejected,
    ResultNotStorable,
    ResultTooLarge,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.testing.jobs import INVOICE
from tests.task_runs import FakeTaskInstance, deferral_of, run, started, task_deferral_error

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON = 0.015
WAYS = {
    "finished": {},
    "watched": {"wait_for_completion": True, "deferrable": False},
    "deferred": {"wait_for_completion": True, "deferrable": True, "watch_on_worker": 0},
}


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


def operator_of(**arguments: Any) -> ExtractedDataOperator:
    return ExtractedDataOperator(**{"task_id": "extract", "conn_id": "aitronos_default", "timeout": 5, **arguments})


def neurolinker(**which: Any) -> dict[str, Any]:
    return {"conn_id": "neurolinker_default", **which}


# -- what the data is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_data_of_a_job(vendors: StandInVendors, way: str) -> None:
    job_id, ti = vendors.add_job("aitronos", seconds=0 if way == "finished" else SOON), FakeTaskInstance()
    assert run(operator_of(job_id=job_id, **WAYS[way]), ti)["invoice_number"] == INVOICE["invoice_number"]
    assert (ti.xcoms[XCOM_KEY]["state"], ti.xcoms[XCOM_KEY]["id"]) == ("succeeded", job_id)


@pytest.mark.parametrize("way", WAYS)
def test_the_data_of_a_request_is_that_of_its_documents_and_the_errors_of_the_rest(vendors: StandInVendors, way: str) -> None:
    request_id = vendors.add_job("neurolinker", seconds=0 if way == "finished" else SOON, ends="partial", documents=12)
    data = run(operator_of(**neurolinker(request_id=request_id), accept=("partial",), **WAYS[way]))
    documents = [document.job_id for document in vendors.jobs[request_id].documents]
    assert list(data["items"]) == documents[:-1], "more than one chunk of ten, in the vendor's order"
    assert data["items"][documents[0]] == INVOICE
    assert list(data["errors"]) == documents[-1:]
    assert "corrupted" in data["errors"][documents[-1]]


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (None, None, INVOICE),
        ("json", {"content_types": ["text", "tables"]}, INVOICE),
        ("markdown", None, "# invoice.pdf"),
        ("images", None, ["{id}-1.png"]),
        ("page-summaries", None, [{"page": 1, "summary": "An invoice"}]),
        ("section-summaries", None, [{"section": "Invoice", "summary": "An invoice"}]),
        ("document-summary", None, "An invoice"),
        ("document-summary", {"summary_type": "section"}, "An invoice"),
    ],
)
def test_the_contents_of_a_document(vendors: StandInVendors, content: str | None, options: Any, expected: Any) -> None:
    document_id = vendors.add_job("neurolinker", "document")
    data = run(operator_of(**neurolinker(document_id=document_id), content=content, content_options=options))
    if content == "markdown":
        assert data.startswith(expected)
    elif content == "images":
        assert data == [expected[0].format(id=document_id)]
    else:
        assert data == expected


@pytest.mark.parametrize("content", ["fields", "scalars"])
def test_fields_and_scalars_are_of_documents_that_came_that_way(vendors: StandInVendors, content: str) -> None:
    document_id = vendors.add_job("neurolinker", "document", submitted_as=content)
    assert run(operator_of(**neurolinker(document_id=document_id), content=content)) == INVOICE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("operation", "has"),
    [
        ("extract", "invoice_number"),
        ("parse", "chunks"),
        ("classify", "classification"),
        ("split", "files"),
        ("job", None),
        ("parsing", "total_chunks"),
    ],
)
def test_the_data_of_each_unsiloed_operation(vendors: StandInVendors, way: str, operation: str, has: str | None) -> None:
    kind = {"job": "extract", "parsing": "parse"}.get(operation, operation)
    job_id = vendors.add_job("unsiloed", kind, seconds=0 if way == "finished" else SOON)
    data = run(operator_of(conn_id="unsiloed_default", job_id=job_id, operation=operation, **WAYS[way]))
    assert data
    assert has is None or has in data


def test_the_data_of_a_batch_is_that_of_its_jobs(vendors: StandInVendors) -> None:
    jobs = [vendors.add_job("unsiloed", ends=ends) for ends in ("completed", "failed")]
    batch = operator_of(
        conn_id="unsiloed_default", job_id=vendors.add_batch(jobs), operation="batch", accept=("partial",), **WAYS["deferred"]
    )
    data = run(batch)
    assert list(data["items"]) == jobs[:1]
    assert list(data["errors"]) == jobs[1:]


def test_a_job_under_review_is_fetched_when_that_is_accepted(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("unsiloed", ends="review")
    assert run(operator_of(conn_id="unsiloed_default", job_id=job_id, operation="extract", accept=("review",)))


def test_multiple_outputs_is_airflows(vendors: StandInVendors) -> None:
    operator = operator_of(job_id=vendors.add_job("aitronos"), multiple_outputs=True)
    assert operator.multiple_outputs
    data = run(operator)
    assert isinstance(data, dict)
    assert all(isinstance(name, str) for name in data)


# -- why there is none -----------------------------------------------------------------------------------------


def test_an_unfinished_job_says_to_wait_first(vendors: StandInVendors) -> None:
    with pytest.raises(NotFinished, match="wait for it first") as raised:
        run(operator_of(job_id=vendors.add_job("aitronos", seconds=math.inf)))
    assert isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"service": "aitronos", "ends": "failed"}, "corrupted or unreadable"),
        ({"service": "aitronos", "ends": "cancelled"}, "cancelled"),
        ({"service": "neurolinker", "ends": "partial", "documents": 2}, "accept=('partial',)"),
        ({"service": "unsiloed", "ends": "review"}, "accept=('review',)"),
        ({"service": "unsiloed", "kind": "parse", "ends": "failed"}, "corrupted or unreadable"),
    ],
    ids=lambda value: f"{value['service']} {value['ends']}" if isinstance(value, dict) else None,
)
def test_a_bad_end_is_the_documents_owners(vendors: StandInVendors, way: str, job: dict[str, Any], says: str) -> None:
    parameter = "request_id" if job["service"] == "neurolinker" else "job_id"
    which: dict[str, Any] = {
        "conn_id": f"{job['service']}_default",
        parameter: vendors.add_job(**{"seconds": 0 if way == "finished" else SOON, **job}),
    }
    if job["service"] == "unsiloed":
        which["operation"] = job.get("kind", "extract")
    ti = FakeTaskInstance()
    with pytest.raises(DocumentFailed) as raised:
        run(operator_of(**which, **WAYS[way]), ti)
    assert says in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)
    assert ti.xcoms[XCOM_KEY]["state"] == job["ends"], "a failure branch can read what is known"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_the_data_of_an_accepted_document_is_fetched(vendors: StandInVendors, way: str, is_list: bool) -> None:
    document_id = vendors.add_job("neurolinker", "document")
    vendors.answer_next(200, body={"document_id": document_id, "status": "partial"}, path="document-status", times=math.inf)
    ids = neurolinker(document_id=[document_id] if is_list else document_id)
    data = run(operator_of(**ids, accept=("partial",), **WAYS[way]))
    assert data == ({"items": {document_id: INVOICE}, "errors": {}, "file_names": {}} if is_list else INVOICE)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_one_404_of_a_known_job_fails_nothing(vendors: StandInVendors, way: str, is_list: bool) -> None:
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(404, body={"detail": "no healthy upstream"}, path=job_id)
    data = run(operator_of(job_id=[job_id] if is_list else job_id, grace=0, **WAYS[way]))
    assert (data["items"][job_id] if is_list else data) == INVOICE


@pytest.mark.parametrize("way", WAYS)
def test_a_content_that_is_none_is_refused_before_the_wait(vendors: StandInVendors, way: str) -> None:
    asked, document_id = len(vendors.requests), vendors.add_job("neurolinker", "document", seconds=math.inf)
    with pytest.raises(RequestRejected, match="no content='jsn'; use one of json, markdown") as raised:
        run(operator_of(**neurolinker(document_id=document_id), content="jsn", **WAYS[way]))
    assert isinstance(raised.value, AirflowFailException)
    assert len(vendors.requests) <= asked + (way == "finished")


@pytest.mark.parametrize("way", WAYS)
def test_completed_without_data_is_an_error_of_its_own(vendors: StandInVendors, way: str) -> None:
    job_id = vendors.add_job("aitronos", reply={"extracted_data": None})
    with pytest.raises(NoData, match="but gives no data") as raised:
        run(operator_of(job_id=job_id, **WAYS[way]))
    assert not isinstance(raised.value, AirflowFailException), "a retry may find it"


@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_document_error_inside_a_200_is_noticed(vendors: StandInVendors, is_list: bool) -> None:
    document_id = vendors.add_job("neurolinker", "document")
    ids = neurolinker(document_id=[document_id] if is_list else document_id)
    with pytest.raises(NoData, match=f"{document_id}.*not processed through scalars extraction") as raised:
        run(operator_of(**ids, content="scalars"))
    assert isinstance(raised.value, AirflowFailException), "a retry would hear the same"


# -- one of several --------------------------------------------------------------------------------------------


def three(vendors: StandInVendors, what: str, **of_the_second: Any) -> tuple[list[str], dict[str, Any], str]:
    """Return three ids, the operator's arguments for all of them, and a path of the second one's data."""
    if what == "jobs":
        ids = [vendors.add_job("aitronos", **fields) for fields in ({}, of_the_second, {})]
        return ids, {"job_id": ids}, ids[1]
    if what == "batch":
        ids = [vendors.add_job("unsiloed", **fields) for fields in ({}, of_the_second, {})]
        batch = {"conn_id": "unsiloed_default", "job_id": vendors.add_batch(ids), "operation": "batch"}
        return ids, batch, f"{ids[1]}/result"
    ids = [vendors.add_job("neurolinker", "document", **fields) for fields in ({}, of_the_second, {})]
    if what == "request":
        documents = [vendors.jobs[one] for one in ids]
        return ids, neurolinker(request_id=vendors.add_job("neurolinker", documents=documents)), "documents/json"
    return ids, neurolinker(document_id=ids), "documents/json"


each_of_several = pytest.mark.parametrize("what", ["jobs", "batch", "documents", "request"])
PASSING: dict[str, dict[str, Any]] = {
    "html": {"status": 200, "body": "<html>", "content_type": "text/html"},
    "cut json": {"status": 200, "body": '{"results": [', "content_type": "application/json"},
    "404": {"status": 404, "body": {"detail": "no such job"}},
    "503": {"status": 503},
    "429": {"status": 429},
    "reset": {"reset": True},
    "cut off": {"status": 200, "cut_off": True},
}


@pytest.mark.parametrize("way", WAYS)
@each_of_several
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_passing_fault_of_one_costs_none(vendors: StandInVendors, what: str, fault: dict[str, Any], way: str) -> None:
    ids, arguments, path = three(vendors, what)
    vendors.answer_next(path=path, **fault)
    data = run(operator_of(**arguments, **WAYS[way]))
    assert (list(data["items"]), data["errors"]) == (ids, {})


@each_of_several
def test_what_does_not_pass_is_named_and_retried_and_no_success_without_it(vendors: StandInVendors, what: str) -> None:
    _, arguments, path = three(vendors, what)
    if what == "jobs":  # the same route has the status: it is asked for the data once the wait has ended
        vendors.answer_next(None, path=path)
    vendors.answer_next(404, body={"detail": "no such job"}, path=path, times=math.inf)
    with pytest.raises(NoData, match=r"of 3 ids did not come within a minute: .*no such job") as raised:
        run(operator_of(**arguments))
    assert path.split("/")[0] in str(raised.value) or "documents" in path
    assert not isinstance(raised.value, AirflowFailException)


@each_of_several
def test_what_is_refused_of_one_is_named_and_the_others_succeed(vendors: StandInVendors, what: str) -> None:
    ids, arguments, path = three(vendors, what)
    if what in ("documents", "request"):
        vendors.jobs[ids[1]].submitted_as = "fields"
        arguments["content"] = "scalars"
        for one in (ids[0], ids[2]):
            vendors.jobs[one].submitted_as = "scalars"
        said = "not processed through scalars"
    else:
        said = "malformed"
        vendors.answer_next(None, path=path, times=what == "jobs")
        vendors.answer_next(422, body={"detail": said}, path=path, times=math.inf)
    data = run(operator_of(**arguments))
    assert list(data["items"]) == [ids[0], ids[2]]
    assert list(data["errors"]) == [ids[1]]
    assert said in data["errors"][ids[1]]


@each_of_several
def test_what_airflow_cannot_carry_of_one_takes_another_form(vendors: StandInVendors, what: str) -> None:
    ids, arguments, _ = three(vendors, what, content={"lines": [{"total": math.inf}]})
    data = run(operator_of(**arguments))
    assert (list(data["items"]), data["errors"]) == (ids, {})
    assert data["items"][ids[1]].keys() == {"docstatus:json"}
    assert "docstatus:json" not in data["items"][ids[0]]
    assert json.dumps(data, allow_nan=False)
    assert "Infinity" in json.dumps(read_back(data)["items"][ids[1]])


@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize("way", WAYS)
def test_what_nothing_carries_of_a_single_id_fails_with_id_and_place(vendors: StandInVendors, way: str, is_list: bool) -> None:
    job_id = vendors.add_job("aitronos")
    body = f'{{"job_id": "{job_id}", "status": "completed", "extracted_data": {{"lines": [{{"total": 1e400}}]}}}}'
    vendors.answer_next(200, body=body, content_type="application/json", path=job_id, times=math.inf)
    place = rf"data of {job_id} has a number that Python cannot hold \(.*\) at lines\[0\].total"
    with pytest.raises(ResultNotStorable, match=place) as raised:
        run(operator_of(job_id=[job_id] if is_list else job_id, **WAYS[way]))
    assert isinstance(raised.value, AirflowFailException)
    assert raised.value.id == job_id


@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_reply_that_is_too_large_alone_fails_and_is_not_retried(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, is_list: bool
) -> None:
    small = {**vendors.connections()["neurolinker_default"], "extra": {"max_reply_bytes": 65_536}}
    monkeypatch.setenv("AIRFLOW_CONN_NEUROLINKER_DEFAULT", json.dumps(small))
    document_id = vendors.add_job("neurolinker", "document", content={"text": "x" * 70_000})
    with pytest.raises(ReplyTooLarge, match=f"for {document_id} with more than 65536 bytes; raise 'max_reply_bytes'") as raised:
        run(operator_of(**neurolinker(document_id=[document_id] if is_list else document_id)))
    assert isinstance(raised.value, AirflowFailException)


def test_documents_that_are_too_large_together_are_fetched_in_parts(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {**vendors.connections()["neurolinker_default"], "extra": {"max_reply_bytes": 65_536}}
    monkeypatch.setenv("AIRFLOW_CONN_NEUROLINKER_DEFAULT", json.dumps(small))
    request_id = vendors.add_job("neurolinker", documents=10, content={"text": "x" * 20_000})
    data = run(operator_of(**neurolinker(request_id=request_id)))
    assert (len(data["items"]), data["errors"]) == (10, {})


@each_of_several
def test_if_all_are_refused_the_task_fails_and_is_not_retried(vendors: StandInVendors, what: str) -> None:
    ids, arguments, path = three(vendors, what)
    if what == "jobs":
        for one in ids:
            vendors.answer_next(None, path=one)
            vendors.answer_next(422, body={"detail": "malformed"}, path=one, times=math.inf)
    else:
        data_path = "result" if what == "batch" else path
        vendors.answer_next(422, body={"detail": "malformed"}, path=data_path, times=math.inf)
    with pytest.raises(NoData, match="malformed") as raised:
        run(operator_of(**arguments))
    assert isinstance(raised.value, AirflowFailException)


def test_a_key_that_is_refused_at_the_data_fails_all(vendors: StandInVendors) -> None:
    _, arguments, path = three(vendors, "batch")
    vendors.answer_next(401, body={"detail": "Invalid API key"}, path=path, times=2)
    with pytest.raises(KeyRejected) as raised:
        run(operator_of(**arguments))
    assert isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("way", WAYS)
def test_too_much_for_an_xcom_says_what_to_do_instead(vendors: StandInVendors, way: str) -> None:
    job_id = vendors.add_job("aitronos", content={"text": "ä" * 1000})
    with pytest.raises(ResultTooLarge, match=r"output_path=.*raise max_bytes if your XCom backend can hold it") as raised:
        run(operator_of(job_id=job_id, max_bytes=1500, **WAYS[way]))
    assert isinstance(raised.value, AirflowFailException)
    assert run(operator_of(job_id=job_id, max_bytes=3000, **WAYS[way]))


def test_a_reply_that_is_too_large_is_not_asked_for_again(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(vendors.environment()["AIRFLOW_CONN_AITRONOS_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_AITRONOS_DEFAULT", json.dumps({**connection, "extra": {"max_reply_bytes": 3000}}))
    ids = [vendors.add_job("aitronos"), vendors.add_job("aitronos", content={"text": "x" * 5000})]
    asked = len(vendors.requests)
    with pytest.raises(ReplyTooLarge, match=f"for {ids[1]} with more than 3000 bytes") as raised:
        run(operator_of(job_id=ids[1]))
    assert "retry" not in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)
    assert len(vendors.requests) == asked + 2, "the status, of which the beginning is enough, and the data"
    found = run(operator_of(job_id=ids))
    assert list(found["items"]) == ids[:1]
    assert "more than 3000 bytes" in found["errors"][ids[1]]
    assert len(vendors.requests) == asked + 2 + 2 * len(ids)


def test_by_default_a_mebibyte_fits(vendors: StandInVendors) -> None:
    with pytest.raises(ResultTooLarge, match="1,048,576"):
        run(operator_of(job_id=vendors.add_job("aitronos", content={"text": "x" * 1024 * 1024})))


@pytest.mark.parametrize("way", ["watched", "deferred"])
def test_the_time_out_ends_the_wait(vendors: StandInVendors, way: str) -> None:
    with pytest.raises(AirflowSensorTimeout, match="was left alone"):
        run(operator_of(job_id=vendors.add_job("aitronos", seconds=math.inf), timeout=0.05, **WAYS[way]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"job_id": ""}, RequestRejected, "is empty"),
        ({"job_id": "None"}, RequestRejected, "pass the upstream task's .output"),
        ({}, RequestRejected, "give exactly one of job_id"),
        ({"conn_id": "nowhere", "job_id": "x"}, RequestRejected, "airflow connections add nowhere"),
    ],
    ids=["empty", "None", "no id", "no connection"],
)
def test_bad_input_fails_at_once(
    vendors: StandInVendors, way: str, arguments: dict[str, Any], error: type[DocStatusError], says: str
) -> None:
    with pytest.raises(error) as raised:
        run(operator_of(**arguments, **WAYS[way]))
    assert says in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"content": "markdown"}, "Aitronos has no content='markdown'; leave it out"),
        ({"content_options": {"a": 1}}, "has no content options"),
        ({"conn_id": "neurolinker_default", "content": "poems"}, "use one of json, markdown"),
    ],
    ids=["no contents", "no options", "no such content"],
)
def test_a_content_the_service_does_not_have_is_refused(vendors: StandInVendors, arguments: dict[str, Any], says: str) -> None:
    which = {"document_id": vendors.add_job("neurolinker", "document")} if "conn_id" in arguments else {}
    with pytest.raises(RequestRejected) as raised:
        run(operator_of(**(which or {"job_id": vendors.add_job("aitronos")}), **arguments))
    assert says in str(raised.value)


def test_an_unknown_id_is_not_found(vendors: StandInVendors) -> None:
    with pytest.raises(NotFound) as raised:
        run(operator_of(job_id="nobody"))
    assert isinstance(raised.value, AirflowFailException)


def test_a_rejected_key_is_not_retried(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(401, times=2)
    with pytest.raises(KeyRejected) as raised:
        run(operator_of(job_id=job_id))
    assert isinstance(raised.value, AirflowFailException)


def test_a_service_that_is_down_is_retried_as_the_task_says(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(503, headers={"Retry-After": "0"}, times=math.inf)
    with pytest.raises(ServiceUnavailable) as raised:
        run(operator_of(job_id=job_id))
    assert not isinstance(raised.value, AirflowFailException)


# -- deferring -------------------------------------------------------------------------------------------------


def test_data_never_passes_the_triggerer(vendors: StandInVendors) -> None:
    ids = neurolinker(document_id=vendors.add_job("neurolinker", "document", seconds=SOON))
    before = len(vendors.requests)
    run(operator_of(**ids, **WAYS["deferred"]))
    fetched = [record for record in vendors.requests[before:] if record.method == "POST"]
    assert [record.path for record in fetched] == ["/v1/documents/json"]
    assert "python-requests" in fetched[0].headers["User-Agent"]


def test_what_is_known_is_pushed_before_deferring(vendors: StandInVendors) -> None:
    ti = FakeTaskInstance()
    deferral_of(operator_of(job_id=vendors.add_job("aitronos", seconds=math.inf), **WAYS["deferred"]), ti)
    assert ti.xcoms[XCOM_KEY]["state"] == "running"


def test_a_short_job_ends_in_the_watch_on_the_worker(vendors: StandInVendors) -> None:
    job_id = vendors.add_job("aitronos", seconds=SOON)
    operator = operator_of(job_id=job_id, wait_for_completion=True, deferrable=True)
    assert operator.execute({"ti": FakeTaskInstance()})


@pytest.mark.parametrize("event", [None, {}, {"version": 999}])
def test_an_unknown_event_fetches_nothing(vendors: StandInVendors, event: Any) -> None:
    before = len(vendors.requests)
    with pytest.raises(UnexpectedReply):
        operator_of(job_id="x").resume_execution("execute_complete", {"event": event}, {"ti": FakeTaskInstance()})
    assert len(vendors.requests) == before


@pytest.mark.parametrize("why", ["Trigger failure", "Trigger/execution timeout"])
def test_a_broken_off_wait_gets_a_last_look(vendors: StandInVendors, why: str) -> None:
    operator = operator_of(job_id=vendors.add_job("aitronos"), **WAYS["deferred"])
    assert operator.resume_execution("__fail__", {"error": why}, {"ti": started(900)})


def test_a_broken_off_wait_whose_time_is_up_times_out(vendors: StandInVendors) -> None:
    operator = operator_of(job_id=vendors.add_job("aitronos", seconds=math.inf), timeout=600, **WAYS["deferred"])
    with pytest.raises(AirflowSensorTimeout, match="was not finished"):
        operator.resume_execution("__fail__", {"error": "Trigger/execution timeout"}, {"ti": started(900)})


def test_a_crashed_trigger_is_retried_while_the_document_is_running(vendors: StandInVendors) -> None:
    operator = operator_of(job_id=vendors.add_job("aitronos", seconds=math.inf), **WAYS["deferred"])
    with pytest.raises(task_deferral_error()):
        operator.resume_execution("__fail__", {"error": "Trigger failure"}, {"ti": FakeTaskInstance()})


def test_the_operator_can_be_mapped_over_ids() -> None:
    mapped = ExtractedDataOperator.partial(task_id="extract", conn_id="aitronos_default").expand(job_id=["a", "b"])
    assert mapped.operator_class is ExtractedDataOperator


def test_the_templates_are_rendered(vendors: StandInVendors) -> None:
    operator = operator_of(conn_id="{{ which }}_default", document_id="{{ id }}", content="{{ how }}")
    document_id = vendors.add_job("neurolinker", "document")
    operator.render_template_fields({"which": "neurolinker", "id": document_id, "how": "markdown"})
    assert run(operator).startswith("# invoice.pdf")


@pytest.mark.parametrize(
    ("ends", "error"),
    [("failed", "DocumentFailed"), ("review", "DocumentFailed"), (None, "NotFinished"), ("unknown", "NotFound")],
)
def test_a_list_that_nobody_waited_for_is_judged_like_one_id(vendors: StandInVendors, ends: str | None, error: str) -> None:
    done = vendors.add_job("unsiloed", "extract", seconds=0)
    if ends == "unknown":
        other = "nobody-knows"
    else:
        other = vendors.add_job("unsiloed", "extract", seconds=0 if ends else 60, ends=ends or "completed")
    with pytest.raises(Exception, match=r".") as caught:
        run(operator_of(job_id=[done, other], operation="extract", conn_id="unsiloed_default"))
    assert error in {one.__name__ for one in type(caught.value).__mro__}
