"""The extracted data of finished documents and jobs: which requests fetch it, and what is no data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import (
    DocumentFailed,
    KeyRejected,
    NoData,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import ResultRoute, ServiceDescription
from airflow_provider_docstatus.protocol.faults import reasons_of
from airflow_provider_docstatus.protocol.messages import Response
from airflow_provider_docstatus.protocol.results import (
    checked_content,
    fetch_contents,
    fetch_result,
    fetch_some,
    no_data,
)
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import HTML, LIMIT, converse, error_of, refusal, response

REQUEST = Target(route="request", id="r-1")
DOCUMENT = Target(route="document", id="d-1")
AITRONOS_JOB = Target(route="job", id="j-1")
EXTRACT = Target(route="extract", id="j-1")
JOB = Target(route="job", id="j-1")
BATCH = Target(route="batch", id="b-1")


def fetch(service: ServiceDescription, target: Target, status: DocumentStatus | None = None, **more: Any) -> Any:
    return fetch_result(service, target, **{"status": status, "content": None, "options": {}, **more})


def known(state: State = State.SUCCEEDED, kind: str = "job", children: tuple[str, ...] = (), **facts: Any) -> DocumentStatus:
    of = tuple(DocumentStatus(service="x", kind="job", id=one, state=State.SUCCEEDED, word="completed") for one in children)
    return DocumentStatus(service="x", kind=kind, id="j-1", state=state, word="the word", children=of, **facts)


def test_data_beside_the_status_is_one_request_and_its_own_judge():
    (status, items, errors), (request,) = converse(
        fetch(AITRONOS, AITRONOS_JOB), response({"job_id": "j-1", "status": "completed", "extracted_data": {"a": 1}})
    )
    assert (status.state, items, errors) == (State.SUCCEEDED, {"j-1": {"a": 1}}, {})
    assert request.path == "/documents/jobs/j-1"


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (known(State.RUNNING), NotFinished, "Aitronos job j-1 is not finished (the word); wait for it first (DocStatusSensor"),
        (known(State.FAILED, message="torn page"), DocumentFailed, "Aitronos job j-1 failed: torn page"),
        (known(State.CANCELLED), DocumentFailed, "cancelled: the vendor gave no reason"),
        (known(State.EXPIRED), DocumentFailed, "expired"),
    ],
    ids=lambda value: str(getattr(value, "state", "")) or None,
)
def test_data_of_what_did_not_succeed_is_not_fetched(status, kind, said):
    assert said in refusal(fetch(AITRONOS, AITRONOS_JOB, status), kind=kind)


def test_a_job_that_changed_its_mind_is_believed():
    late = response({"job_id": "j-1", "status": "failed", "error_message": "torn page"})
    assert "torn page" in refusal(fetch(AITRONOS, AITRONOS_JOB, known()), late, kind=DocumentFailed)


@pytest.mark.parametrize("state", [State.PARTIAL, State.REVIEW])
def test_data_of_a_job_for_a_human_is_fetched(state):
    reply = response({"job_id": "j-1", "status": "review", "result": {"a": 1}})
    assert converse(fetch(UNSILOED, EXTRACT, known(state)), reply)[0][1] == {"j-1": {"a": 1}}


@pytest.mark.parametrize("data", [None, {}, [], ""], ids=str)
def test_finished_without_data_is_an_error_of_its_own(data):
    reply = response({"job_id": "j-1", "status": "completed", "extracted_data": data})
    message = refusal(fetch(AITRONOS, AITRONOS_JOB), reply, kind=NoData)
    assert "says job j-1 is 'completed', but gives no data" in message
    assert "Look at the document in the vendor's own tools" in message


@pytest.mark.parametrize("data", [0, False, [0], {"a": None}], ids=str)
def test_data_that_looks_like_nothing_is_data(data):
    reply = response({"job_id": "j-1", "status": "completed", "extracted_data": data})
    assert converse(fetch(AITRONOS, AITRONOS_JOB), reply)[0][1] == {"j-1": data}


def test_data_on_a_route_of_its_own_is_fetched_after_the_status():
    (status, items, _), requests = converse(
        fetch(UNSILOED, JOB), response({"id": "j-1", "status": "COMPLETED"}), response({"data": {"a": 1}})
    )
    assert [request.path for request in requests] == ["/jobs/j-1", "/jobs/j-1/result"]
    assert status.state is State.SUCCEEDED
    assert items == {"j-1": {"data": {"a": 1}}}


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (response({"detail": "still processing"}, 400), NotFinished, "not finished (400)"),
        (response({"detail": "PDF corrupted"}, 500), DocumentFailed, "PDF corrupted"),
        (response({}, 500), DocumentFailed, "HTTP 500"),
        (response(text="", code=500), ServiceUnavailable, "500"),
        (response(text="Bad Request", code=400), UnexpectedReply, "with 400 and 'Bad Request'"),
        (response({"detail": "cleaned up"}, 404), NotFound, "cleaned up"),
        (response({}, 503), ServiceUnavailable, "503"),
        (response({}), NoData, "holds no data"),
    ],
    ids=["400", "500", "500 without a text", "a proxy's 500", "a proxy's 400", "404", "503", "nothing"],
)
def test_the_expected_codes_of_the_generic_result_mean_what_the_vendor_says(reply, kind, said):
    assert said in refusal(fetch(UNSILOED, JOB, known()), reply, kind=kind)


def test_the_data_of_a_batch_is_its_jobs_data_and_errors():
    flow = fetch(UNSILOED, BATCH, known(State.PARTIAL, "batch", ("a", "b", "c", "d", "..", "e/f")))
    (_, items, errors), requests = converse(
        flow,
        response({"x": 1}),
        response({"detail": "broken"}, 500),
        response({"detail": "late"}, 400),
        response({"detail": "gone"}, 410),
    )
    assert items == {"a": {"x": 1}}
    assert set(errors) == {"b", "c", "d", "..", "e/f"}
    assert "broken" in errors["b"]
    assert "not finished" in errors["c"]
    assert "gone" in errors["d"]
    assert "has characters that no id has" in errors["e/f"]
    assert [request.path for request in requests] == [f"/jobs/{one}/result" for one in "abcd"]


def test_a_key_that_is_refused_for_one_job_ends_the_batch():
    flow = fetch(UNSILOED, BATCH, known(State.SUCCEEDED, "batch", ("a", "b")))
    refusal(flow, response({"detail": "Invalid API key"}, 401), kind=KeyRejected)


@pytest.mark.parametrize(
    ("service", "target", "kind"), [(UNSILOED, BATCH, "batch"), (NEUROLINKER, REQUEST, "request")], ids=["batch", "request"]
)
def test_a_finished_whole_without_parts_has_no_data(service, target, kind):
    assert "gives no data: it lists no" in refusal(fetch(service, target, known(kind=kind)), kind=NoData)


def test_contents_are_fetched_for_ten_documents_at_once():
    ids = tuple(f"d-{n}" for n in range(12))

    def items(chunk: tuple[str, ...]) -> Any:
        return response({"results": [{"document_id": one, "content": one.upper()} for one in reversed(chunk)]})

    flow = fetch(NEUROLINKER, REQUEST, known(kind="request", children=ids), content="document-summary", options={"lang": "en"})
    (_, found, errors), requests = converse(flow, items(ids[:10]), items(ids[10:]))
    assert found == {one: one.upper() for one in ids}
    assert not errors
    assert [request.json for request in requests] == [
        {"document_ids": list(chunk), "summary_type": "page", "lang": "en"} for chunk in (ids[:10], ids[10:])
    ]
    assert {(request.method, request.path) for request in requests} == {("POST", "/documents/document-summary")}


def test_contents_of_a_partial_request_name_what_failed_and_what_was_left_out():
    children = (
        DocumentStatus(service="x", kind="document", id="a", state=State.SUCCEEDED, word="completed"),
        DocumentStatus(service="x", kind="document", id="b", state=State.FAILED, word="failed", message="torn page"),
        DocumentStatus(service="x", kind="document", id="c", state=State.CANCELLED, word="cancelled"),
        DocumentStatus(service="x", kind="document", id="d", state=State.SUCCEEDED, word="completed"),
    )
    flow = fetch(NEUROLINKER, REQUEST, replace(known(State.PARTIAL, "request"), children=children))
    results = [None, {"document_id": "a", "content": {"x": 1}}, {"document_id": "d", "error": "no such format"}]
    (_, items, errors), (request,) = converse(flow, response({"results": results}))
    assert request.json == {"document_ids": ["a", "d"]}
    assert items == {"a": {"x": 1}}
    assert errors == {"b": "torn page", "c": "cancelled", "d": "no such format"}


@pytest.mark.parametrize(
    ("target", "reply", "error", "said"),
    [
        (REQUEST, response({"results": [{"document_id": "a", "content": 1}]}), NoData, "not in the reply"),
        (REQUEST, response({"results": [{"document_id": "a", "content": None}]}), NoData, "holds no content for it"),
        (REQUEST, response(text="<html>", headers=HTML), UnexpectedReply, "not JSON"),
        (REQUEST, response({}, 429), RateLimited, "429"),
        (BATCH, response({"detail": "gone"}, 404), NotFound, "for a with 404: gone"),
        (BATCH, response({}), NoData, "job a is 'completed', but gives no data"),
        (BATCH, response({"detail": "not yours"}, 403), KeyRejected, "not yours"),
    ],
    ids=["left out", "null", "html", "429", "404", "empty", "403"],
)
def test_what_may_pass_is_raised_at_the_first_and_not_left_out(target, reply, error, said):
    service = UNSILOED if target is BATCH else NEUROLINKER
    assert said in refusal(fetch(service, target, known(kind=target.route, children=("a", "b"))), reply, kind=error)


def results(*ids: str) -> Response:
    return response({"results": [{"document_id": one, "content": one} for one in ids]})


def test_a_request_for_several_that_is_refused_is_split_until_one_bad_id_stands_alone():
    refused = response({"detail": "malformed"}, 422)
    flow = fetch(NEUROLINKER, REQUEST, known(kind="request", children=("a", "b", "c", "d")))
    (_, items, errors), requests = converse(flow, refused, results("a", "b"), refused, refused, results("d"))
    assert [request.json["document_ids"] for request in requests] == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"], ["c"], ["d"]]
    assert (items, list(errors)) == ({one: one for one in "abd"}, ["c"])
    assert "malformed" in errors["c"]


def test_a_reply_for_several_that_is_too_large_is_split_and_one_alone_is_an_error_of_its_id():
    large = response(text="x" * (LIMIT + 1))
    flow = fetch(NEUROLINKER, REQUEST, known(kind="request", children=("a", "b", "c")))
    (_, items, errors), _ = converse(flow, large, large, results("b", "c"))
    assert (items, list(errors)) == ({"b": "b", "c": "c"}, ["a"])
    assert "raise 'max_reply_bytes'" in errors["a"]


def test_data_that_is_too_deep_for_python_to_read_is_an_error_of_its_id():
    deep = response(text='{"x": ' + "[" * 20_000 + "]" * 20_000 + "}")
    flow = fetch(UNSILOED, BATCH, known(kind="batch", children=("a", "b")))
    (_, items, errors), _ = converse(flow, deep, response({"x": 1}))
    assert (items, list(errors)) == ({"b": {"x": 1}}, ["a"])
    assert "The extracted data of a has more levels of lists and objects than can be read at x[0]" in errors["a"]
    flow = fetch(NEUROLINKER, REQUEST, known(kind="request", children=("a", "b")))
    assert list(converse(flow, deep, deep, results("b"))[0][2]) == ["a"]


@pytest.mark.parametrize("code", [401, 402])
def test_what_concerns_the_account_is_not_split(code):
    flow = fetch(NEUROLINKER, REQUEST, known(kind="request", children=("a", "b")))
    refusal(flow, response({"detail": "no"}, code), kind=KeyRejected if code == 401 else QuotaExhausted)


def test_an_outage_while_splitting_is_not_asked_about_the_rest():
    def ask(ids: Any) -> Any:
        asked.append(list(ids))
        if len(ids) > 1:
            raise RequestRejected("422", code=422)
        raise ServiceUnavailable("away")
        yield

    asked: list[list[str]] = []
    found, _ = converse(fetch_some(ask, ["a", "b", "c", "d"]))
    assert {str(error) for error in found.values()} == {"away"}
    assert (list(found), asked) == (["a", "b", "c", "d"], [["a", "b", "c", "d"], ["a", "b"], ["a"]])


def test_an_error_names_some_reasons_and_more_ids():
    few = reasons_of({"a": "torn.", "b": "late"}, {})
    assert few == "a: torn; b: late"
    many = reasons_of({f"d-{number}": "late" for number in range(30)}, {})
    assert many.startswith("d-0: late; d-1: late; d-2: late; likewise d-3, d-4, ")
    assert many.endswith(", d-19 and 10 more")


def test_the_content_of_one_document_needs_its_status_first():
    flow = fetch(NEUROLINKER, DOCUMENT, content="markdown")
    (status, items, _), requests = converse(
        flow,
        response({"document_id": "d-1", "status": "completed"}),
        response({"results": [{"document_id": "d-1", "content": "# A"}]}),
    )
    assert (status.kind, items) == ("document", {"d-1": "# A"})
    assert [request.method for request in requests] == ["GET", "POST"]


def test_contents_without_a_list_are_unexpected():
    flow = fetch(NEUROLINKER, DOCUMENT, known(kind="document"))
    assert "without a list 'results'" in refusal(flow, response({"success": True}), kind=UnexpectedReply)


@pytest.mark.parametrize(
    ("service", "target", "more", "said"),
    [
        (NEUROLINKER, REQUEST, {"content": "html"}, "no content='html'; use one of json, markdown"),
        (AITRONOS, AITRONOS_JOB, {"content": "json"}, "Aitronos has no content='json'; leave it out"),
        (AITRONOS, AITRONOS_JOB, {"options": {"a": 1}}, "Aitronos has no content options; leave them out"),
    ],
    ids=["unknown content", "no contents", "no options"],
)
def test_content_that_a_service_does_not_have_is_refused_before_anything_is_sent(service, target, more, said):
    assert said in refusal(fetch(service, target, **more))


def test_a_service_may_take_several_names_but_the_first_must_be_there():
    service = replace(
        AITRONOS, routes={"job": replace(AITRONOS.routes["job"], result=ResultRoute(path="/x/{id}", take="chunks pages"))}
    )
    reply = {"job_id": "j-1", "status": "completed", "chunks": [1], "pages": 2, "more": 3}
    assert converse(fetch(service, AITRONOS_JOB), response(reply))[0][1] == {"j-1": {"chunks": [1], "pages": 2}}
    refusal(fetch(service, AITRONOS_JOB), response({**reply, "chunks": None}), kind=NoData)


# -- what else a caller relies on --------------------------------------------------------------------------------


def test_documents_of_several_requests_are_fetched_together():
    flow = fetch_contents(NEUROLINKER, ["a", "b"], content=None, options={"content_types": ["text"]})
    reply = response({"results": [{"document_id": "b", "content": 2}, {"document_id": 7, "content": 3}]})
    found, (request,) = converse(flow, reply)
    assert (found["b"], str(found["a"])) == (2, "not in the reply")
    assert isinstance(found["a"], NoData)
    assert request.json == {"document_ids": ["a", "b"], "content_types": ["text"]}


@pytest.mark.parametrize("content", [None, *NEUROLINKER.contents], ids=str)
def test_a_content_that_the_service_has_passes_unchanged(content):
    assert checked_content(NEUROLINKER, content) == content


def test_an_error_of_the_sender_ends_the_fetching_of_a_batch():
    flow = fetch(UNSILOED, BATCH, known(State.SUCCEEDED, "batch", ("a", "b")))
    error = ServiceUnavailable("away")
    assert error_of(flow, response({"x": 1}), error, kind=ServiceUnavailable) is error


def test_the_error_of_finished_without_data_tells_what_it_is_about():
    status = known(State.PARTIAL, link="https://x.example/1")
    error = no_data(UNSILOED, status, "the reason")
    assert (error.service, error.id, error.state, error.link) == ("unsiloed", "j-1", State.PARTIAL, "https://x.example/1")
    assert "Unsiloed says job j-1 is 'the word', but gives no data: the reason. Look at" in str(error)
