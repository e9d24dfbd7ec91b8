"""Build a request, read a reply: everything about a vendor that is decided without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus.description import Content, ListRoute, ResultRoute, Route, ServiceDescription, Target
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    NoSuchRoute,
    NotFinished,
    NotFound,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.talks import LIMIT, answer, hold

REQUEST = Target(route="request", id="r-1")
DOCUMENT = Target(route="document", id="d-1")
AITRONOS_JOB = Target(route="job", id="j-1")
EXTRACT = Target(route="extract", id="j-1")
JOB = Target(route="job", id="j-1")
BATCH = Target(route="batch", id="b-1")


def refusal(talk_or_call: Any, *answers: Any, kind: type[DocStatusError] = RequestRejected) -> str:
    with pytest.raises(kind) as caught:
        talk_or_call() if callable(talk_or_call) else hold(talk_or_call, *answers)
    assert type(caught.value) is kind
    return str(caught.value)


# -- a description -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"ok": State.SUCCEEDED, "working": State.RUNNING}, "failed"),
        ({"ok": State.SUCCEEDED, "bad": State.FAILED}, "running"),
        ({"working": State.RUNNING}, "failed, succeeded"),
        ({"OK": State.SUCCEEDED, "working": State.RUNNING, "bad": State.FAILED}, "lower case"),
        ({" ok": State.SUCCEEDED, "working": State.RUNNING, "bad": State.FAILED}, "lower case"),
    ],
    ids=["no failure word", "no running word", "hardly any", "upper case", "blank"],
)
def test_a_description_that_could_not_tell_how_a_job_ends_is_an_import_error(words, said):
    with pytest.raises(ValueError, match=said):
        replace(AITRONOS, words=words)


def test_a_vendor_with_nothing_special_needs_eight_fields():
    plain = ServiceDescription(
        name="plain",
        title="Plain",
        host="https://plain.example",
        docs="https://plain.example/docs",
        auth={"bearer": ("Authorization", "Bearer {key}")},
        routes={"job": Route(kind="job", path="/jobs/{id}", result=ResultRoute(path="/jobs/{id}", take="output.fields"))},
        words={"busy": State.RUNNING, "ok": State.SUCCEEDED, "bad": State.FAILED},
    )
    target = plain.target({"job_id": "a+b"})
    reply = {"job_id": "a+b", "status": "OK", "output": {"fields": [1]}}
    (status, items, errors), (question,) = hold(
        plain.ask_result(target, "", status=None, content=None, options={}), answer(reply)
    )
    assert (status.state, items, errors) == (State.SUCCEEDED, {"a+b": [1]}, {})
    assert (question.method, question.path, question.label) == ("GET", "/jobs/a%2Bb", "GET /jobs/{id}")
    assert "no such id" in refusal(plain.ask_status(target, ""), answer({"error": "no such id"}, 422))
    assert "Slow down" in refusal(plain.ask_status(target, ""), answer({"error": "Slow down"}, 429), kind=RateLimited)


# -- which id, on which route ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "ids", "operation", "target"),
    [
        (NEUROLINKER, {"request_id": "r-1"}, None, REQUEST),
        (NEUROLINKER, {"document_id": "d-1", "job_id": None}, None, DOCUMENT),
        (AITRONOS, {"job_id": "j-1"}, None, AITRONOS_JOB),
        (UNSILOED, {"job_id": "j-1"}, "extract", EXTRACT),
        (UNSILOED, {"job_id": "j-1"}, " Extract ", EXTRACT),
        (UNSILOED, {"job_id": 17}, "job", Target(route="job", id="17")),
        (UNSILOED, {"job_id": "j:1;2@x~é"}, "job", Target(route="job", id="j:1;2@x~é")),
        (UNSILOED, {"job_id": "x" * 512}, "job", Target(route="job", id="x" * 512)),
    ],
    ids=["request", "document", "job", "operation", "operation as typed", "number", "odd but possible", "longest"],
)
def test_an_id_and_an_operation_lead_to_a_route(service, ids, operation, target):
    assert service.target(ids, operation) == target


@pytest.mark.parametrize(("alias", "route"), UNSILOED.operations.items())
def test_the_vendors_other_names_of_operations_lead_to_their_routes(alias, route):
    assert UNSILOED.target({"job_id": "j-1"}, alias.upper()).route == route


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty; did the submitting task return the id?"),
        ("  \n", "is empty"),
        ("a/b", "has characters that no id has; give the bare id"),
        ("a\\b", "has characters"),
        ("..", "has characters"),
        (".", "has characters"),
        ("a?b", "has characters"),
        ("a#b", "has characters"),
        ("a%2Fb", "has characters"),
        ("a b", "has characters"),
        (" a", "has characters"),
        ("a\n", "has characters"),
        ("a\x00b", "has characters"),
        ("a\u200bb", "has characters"),
        ("a\ud800b", "has characters"),
        ("https://example.com/jobs/1", "has characters"),
        ("None", "was rendered from an empty value; pass the upstream task's .output"),
        (" None ", "was rendered from an empty value"),
        ("null", "was rendered from an empty value"),
        ("undefined", "was rendered from an empty value"),
        ("['a']", "is a list printed as text; pass the upstream task's .output"),
        ("['a', 'b']", "is a list printed as text"),
        ("('a',)", "is a list printed as text"),
        ("{'id': 'a'}", "is a list printed as text"),
        (["a"], "is a list; it must be the id as text. Pass several as a list, or map: .expand(request_id=[...])"),
        ({"id": "a"}, "is a dict; it must be the id as text"),
        (True, "is a bool"),
        (1.5, "is a float"),
        (b"a", "is a bytes"),
        ("x" * 513, "is longer than 512 characters"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_cannot_be_an_id_is_refused_with_the_remedy(value, said):
    message = refusal(lambda: NEUROLINKER.target({"request_id": value}))
    assert said in message
    assert message.startswith("Neurolinker: request_id=")
    assert len(message) < 300
    message.encode()


@pytest.mark.parametrize(
    ("service", "ids", "operation", "said"),
    [
        (NEUROLINKER, {}, None, "exactly one of request_id, document_id; got none (or an upstream task returned None)"),
        (NEUROLINKER, {"request_id": None, "document_id": None}, None, "got none"),
        (NEUROLINKER, {"request_id": "a", "document_id": "b"}, None, "got request_id and document_id"),
        (NEUROLINKER, {"job_id": "a"}, None, "Neurolinker has no job_id; use request_id or document_id"),
        (AITRONOS, {"request_id": "a"}, None, "Aitronos has no request_id; use job_id"),
        (UNSILOED, {"document_id": "a"}, "parse", "Unsiloed has no document_id; use job_id"),
        (AITRONOS, {"job_id": "a"}, "extract", "Aitronos has no operations; leave operation='extract' out"),
        (UNSILOED, {"job_id": "a"}, None, "say operation= (one of extract, parse, classify, split, job, batch)"),
        (UNSILOED, {"job_id": "a"}, "", "A wrong route answers 404 like an unknown id"),
        (UNSILOED, {"job_id": "a"}, "translate", "no operation 'translate'; use one of extract, parse"),
    ],
    ids=[
        "none",
        "all None",
        "two",
        "job at Neurolinker",
        "request at Aitronos",
        "document at Unsiloed",
        "operation without need",
        "no operation",
        "empty operation",
        "unknown operation",
    ],
)
def test_a_wrong_choice_is_refused_with_the_right_ones(service, ids, operation, said):
    assert said in refusal(lambda: service.target(ids, operation))


# -- the status question -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "target", "prefix", "path", "label"),
    [
        (NEUROLINKER, REQUEST, "/v1", "/v1/request-status/r-1", "GET /v1/request-status/{request_id}"),
        (NEUROLINKER, DOCUMENT, "/api/v1", "/api/v1/document-status/d-1", "GET /api/v1/document-status/{document_id}"),
        (AITRONOS, AITRONOS_JOB, "/v1", "/v1/documents/jobs/j-1", "GET /v1/documents/jobs/{job_id}"),
        (UNSILOED, EXTRACT, "", "/extract/j-1", "GET /extract/{job_id}"),
        (UNSILOED, JOB._replace(id="a:b,c@é+&="), "", "/jobs/a%3Ab%2Cc%40%C3%A9%2B%26%3D", "GET /jobs/{job_id}"),
        (UNSILOED, BATCH, "", "/jobs/batch/b-1", "GET /jobs/batch/{job_id}"),
    ],
    ids=["request", "document", "aitronos", "extract", "odd id", "batch"],
)
def test_a_status_is_asked_for_on_its_route_with_the_id_encoded(service, target, prefix, path, label):
    question = service.status_question(target, prefix)
    assert (question.method, question.path, question.label) == ("GET", path, label)


def test_a_parse_is_asked_for_without_its_chunks_and_fetched_with_them():
    parse = Target(route="parse", id="j-1")
    assert UNSILOED.status_question(parse, "").query == {"include_chunks": "false"}
    reply = {"job_id": "j-1", "status": "Succeeded", "chunks": [1]}
    _, (question,) = hold(UNSILOED.ask_result(parse, "", status=None, content=None, options={}), answer(reply))
    assert question.query == {"include_chunks": "true"}


@pytest.mark.parametrize("route", UNSILOED.routes)
def test_only_the_generic_routes_work_without_a_key(route):
    assert UNSILOED.status_question(Target(route=route, id="j-1"), "").key_optional == (route in ("job", "batch"))


def test_the_same_question_can_be_asked_below_another_prefix():
    question = NEUROLINKER.status_question(REQUEST, "/v1").below("/api/v1", instead_of="/v1")
    assert (question.path, question.label) == ("/api/v1/request-status/r-1", "GET /api/v1/request-status/{request_id}")


# -- the other prefix --------------------------------------------------------------------------------------------

BASE = "https://neurolinker.api.ainexxo.com"
OTHER = "/api/v1/request-status/r-1"


@pytest.mark.parametrize(
    ("code", "body", "location", "learned"),
    [
        (301, None, OTHER, "/api/v1"),
        (307, None, BASE + OTHER, "/api/v1"),
        (308, None, BASE + OTHER + "?x=1", "/api/v1"),
        (302, None, "https://login.example" + OTHER, None),
        (302, None, "http://neurolinker.api.ainexxo.com" + OTHER, None),
        (302, None, "/login", None),
        (301, None, "/api/v1/request-status/another", None),
        (301, None, "/v1/request-status/r-1/", None),
        (301, None, "", None),
        (405, {"detail": "Method Not Allowed"}, None, "/api/v1"),
        (404, {"detail": "Not Found"}, None, "/api/v1"),
        (404, {"detail": "Request not found"}, None, None),
        (404, "Not Found", None, None),
        (500, {"detail": "Not Found"}, None, None),
        (200, {"detail": "Not Found"}, None, None),
    ],
    ids=[
        "relative redirect",
        "absolute redirect",
        "redirect with a query",
        "other host",
        "other scheme",
        "login page",
        "other id",
        "trailing slash",
        "no location",
        "405",
        "framework's 404",
        "vendor's 404",
        "404 text",
        "500",
        "200",
    ],
)
def test_the_other_prefix_is_learned_only_where_the_answer_says_so(code, body, location, learned):
    question = NEUROLINKER.status_question(REQUEST, "/v1")
    headers = {} if location is None else {"location": location}
    assert NEUROLINKER.other_prefix(question, answer(body, code, headers=headers), "/v1", BASE) == learned


def test_the_other_prefix_is_found_below_a_path_of_the_host_and_back_again():
    base = "https://gateway.example/neurolinker"
    question = NEUROLINKER.status_question(REQUEST, "/api/v1")
    redirect = answer(code=301, headers={"location": "/neurolinker/v1/request-status/r-1"})
    assert NEUROLINKER.other_prefix(question, redirect, "/api/v1", base) == "/v1"


def test_a_service_with_one_prefix_learns_none():
    assert AITRONOS.other_prefix(AITRONOS.status_question(AITRONOS_JOB, "/v1"), answer(code=405), "/v1", AITRONOS.host) is None


def test_nothing_is_learned_from_a_question_below_another_prefix():
    question = NEUROLINKER.status_question(REQUEST, "/v1")
    assert NEUROLINKER.other_prefix(question, answer(code=405), "/elsewhere", BASE) is None


# -- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (answer(text="<html>", headers={"content-type": "text/html"}), UnexpectedReply, "6 bytes that are not JSON (text/html)"),
        (answer(text=""), UnexpectedReply, "0 bytes that are not JSON"),
        (answer(text=b'{"a": "\xff"}'), UnexpectedReply, "not JSON"),
        (answer([{"status": "completed"}]), UnexpectedReply, "JSON that is not an object (list)"),
        (answer("completed"), UnexpectedReply, "not an object (str)"),
        (answer({"job_id": "j-1"}), UnexpectedReply, "without a status word"),
        (answer({"job_id": "j-1", "status": " "}), UnexpectedReply, "without a status word"),
        (answer({"job_id": "j-1", "status": None}), UnexpectedReply, "without a status word"),
        (answer({"job_id": "j-1", "status": ["completed"]}), UnexpectedReply, "without a status word"),
        (answer({"job_id": "j-2", "status": "completed"}), UnexpectedReply, "for j-1 with another id, 'j-2'"),
        (answer({"job_id": {}, "status": "completed"}), UnexpectedReply, "another id"),
        (answer({"success": False}), UnexpectedReply, "success=false: no text"),
        (answer({"success": False, "status": "completed", "error": {"message": "m"}}), UnexpectedReply, "success=false: m"),
        (answer(text="x" * (LIMIT + 1)), UnexpectedReply, f"more than {LIMIT} bytes; raise 'max_reply_bytes'"),
        (answer(code=302, headers={"location": "https://login.example/?to=secret"}), UnexpectedReply, "(302) to login.example;"),
        (answer(code=304), UnexpectedReply, "to elsewhere"),
        (answer({"detail": "Gone"}, 410), NotFound, "with 410: Gone. Check the id"),
        (answer({"detail": "I am a teapot."}, 418), RequestRejected, "with 418: I am a teapot. Check the id and the connection"),
        (answer(text="x" * (LIMIT + 1), code=404), NotFound, "with 404. Check"),
        (
            answer(text="<html>login</html>", code=401, headers={"content-type": "Text/HTML"}),
            UnexpectedReply,
            "with 401 and a web page; is there a proxy or login page in between, or is the host wrong? If not, check the key",
        ),
        (answer(code=408), ServiceUnavailable, "with 408"),
        (answer(code=425), ServiceUnavailable, "with 425"),
        (answer({"detail": "x"}, 501), ServiceUnavailable, "with 501: x"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_answer_that_is_no_status_is_the_error_it_is(reply, kind, said):
    message = refusal(AITRONOS.ask_status(AITRONOS_JOB, "/v1"), reply, kind=kind)
    assert said in message
    assert "secret" not in message
    assert message.startswith("Aitronos answered GET /v1/documents/jobs/{job_id}")


@pytest.mark.parametrize(
    "body",
    [
        {"job_id": "j-1", "status": " Completed\n"},
        {"status": "completed"},
        {"data": {"job_id": "j-1", "status": "completed"}},
        {"success": True, "job_id": "j-1", "status": "completed"},
        {"job_id": "j-1", "status": "completed", "data": {"status": "failed"}},
    ],
    ids=["spelling", "no id", "nested", "flag beside a word", "data beside a word"],
)
def test_a_known_word_decides_however_it_is_wrapped(body):
    status, _ = hold(AITRONOS.ask_status(AITRONOS_JOB, "/v1"), answer(body))
    assert status.state is State.SUCCEEDED
    assert status.word.lower() == "completed"


def test_an_id_that_is_a_number_in_the_reply_is_the_same_id():
    status, _ = hold(UNSILOED.ask_status(Target(route="job", id="17"), ""), answer({"id": 17, "status": "queued"}))
    assert status.id == "17"


def test_an_unknown_word_teaches_the_setting_that_knows_it():
    message = refusal(AITRONOS.ask_status(AITRONOS_JOB, "/v1"), answer({"status": "Archived"}), kind=UnknownWord)
    setting = json.loads("{" + message.split("extra: ")[1].split(" (or ")[0] + "}")
    taught = replace(AITRONOS, words={**AITRONOS.words, **{w: State(s) for w, s in setting["status_words"].items()}})
    status, _ = hold(taught.ask_status(AITRONOS_JOB, "/v1"), answer({"status": "Archived"}))
    assert status.state is State.RUNNING
    assert "succeeded, partial, review, failed, cancelled, expired" in message


def test_an_unknown_word_is_kept_short():
    with pytest.raises(UnknownWord) as caught:
        hold(AITRONOS.ask_status(AITRONOS_JOB, "/v1"), answer({"status": "x\n" * 5000}))
    assert len(caught.value.word) == 60
    assert "\n" not in str(caught.value)


def test_an_operation_stands_in_the_details_where_the_service_has_several():
    status, _ = hold(UNSILOED.ask_status(EXTRACT, ""), answer({"job_id": "j-1", "status": "queued"}))
    assert status.details["operation"] == "extract"
    status, _ = hold(AITRONOS.ask_status(AITRONOS_JOB, "/v1"), answer({"job_id": "j-1", "status": "pending"}))
    assert "operation" not in status.details


def test_children_without_an_id_are_left_out_and_an_unknown_word_among_them_counts_as_running():
    items = [{"document_id": "a", "status": "archived"}, {"status": "completed"}, {"document_id": ["b"]}, None, "c", {"id": 4}]
    status, _ = hold(
        NEUROLINKER.ask_status(REQUEST, "/v1"), answer({"request_id": "r-1", "status": "processing", "documents": items})
    )
    assert {child.id: (child.state, child.word) for child in status.children} == {
        "a": (State.RUNNING, "archived"),
        "4": (State.RUNNING, ""),
    }


@pytest.mark.parametrize("documents", [None, {}, "x", 7], ids=str)
def test_a_list_of_children_that_is_none_is_no_children(documents):
    body = {"request_id": "r-1", "status": "processing", "documents": documents}
    assert hold(NEUROLINKER.ask_status(REQUEST, "/v1"), answer(body))[0].children == ()


# -- several ids -------------------------------------------------------------------------------------------------


def jobs(**words: str) -> Any:
    return answer({"jobs": [{"job_id": one, "status": word} for one, word in words.items()]})


def test_several_ids_are_asked_for_in_one_question():
    found, (question,) = hold(
        UNSILOED.ask_together("job", ["a", "b", "c"], ""), jobs(b="COMPLETED", a="queued", stranger="FAILED")
    )
    assert {one: status.state for one, status in found.items()} == {"a": State.RUNNING, "b": State.SUCCEEDED}
    assert (question.path, question.key_optional) == ("/jobs/status", True)
    assert question.query == {"job_ids": "a,b,c", "include_progress": "true"}


def test_an_answer_for_many_may_leave_ids_out_or_hold_what_is_none():
    many = answer({"jobs": [{"job_id": "a", "status": "queued"}, {"job_id": "c"}, {"job_id": "b", "status": None}, "b", None]})
    assert set(hold(UNSILOED.ask_together("job", ["a", "b", "c"], ""), many)[0]) == {"a"}


@pytest.mark.parametrize("code", [404, 405, 501])
def test_a_deployment_without_the_route_for_many_is_told_apart(code):
    talk = UNSILOED.ask_together("job", ["a", "b"], "")
    assert f"no GET /jobs/status here ({code})" in refusal(talk, answer({"detail": "x"}, code), kind=NoSuchRoute)


@pytest.mark.parametrize(
    ("service", "route", "together"),
    [(UNSILOED, "job", True), (UNSILOED, "batch", False), (AITRONOS, "job", False), (NEUROLINKER, "document", False)],
    ids=["jobs", "batches", "Aitronos", "Neurolinker"],
)
def test_only_jobs_of_a_service_with_a_route_for_many_are_asked_for_together(service, route, together):
    assert service.answers_together(route) is together


@pytest.mark.parametrize("length", [8, 36, 500])
def test_many_ids_are_cut_into_questions_that_fit_a_url(length):
    ids = [f"{n:0{length}}" for n in range(200)]
    longest = UNSILOED.many.longest_query if UNSILOED.many else 0
    chunks = list(UNSILOED.chunks(ids))
    assert [one for chunk in chunks for one in chunk] == ids
    assert all(len("%2C".join(chunk)) <= longest for chunk in chunks)
    assert len(chunks) <= 2 + 200 * (length + 3) / (longest - length - 3)


def test_an_id_longer_than_the_limit_has_a_question_of_its_own():
    assert list(UNSILOED.chunks(["a", "é" * 500, "b"])) == [["a"], ["é" * 500], ["b"]]
    assert list(UNSILOED.chunks([])) == []


@pytest.mark.parametrize("body", [{}, {"jobs": None}, {"jobs": {"a": 1}}], ids=str)
def test_an_answer_for_many_without_a_list_is_unexpected(body):
    talk = UNSILOED.ask_together("job", ["a", "b"], "")
    assert "without a list 'jobs'" in refusal(talk, answer(body), kind=UnexpectedReply)


# -- a parent answers for its children ---------------------------------------------------------------------------


def test_a_documents_request_answers_for_its_documents():
    status, _ = hold(
        NEUROLINKER.ask_status(DOCUMENT, "/v1"), answer({"document_id": "d-1", "request_id": "r-1", "status": "processing"})
    )
    parent = NEUROLINKER.parent_of(status, "document")
    assert parent == REQUEST
    documents = [{"document_id": "d-1", "status": "Completed"}, {"document_id": "d-2", "status": "archived"}]
    body = {"request_id": "r-1", "status": "processing", "documents": documents}
    wanted = [Target(route="document", id=one) for one in ("d-1", "d-2")]
    children, _ = hold(NEUROLINKER.ask_through(parent, "document", "/v1", wanted), answer(body))
    assert {child.id: child.state for child in children.values()} == {"d-1": State.SUCCEEDED}
    assert children[wanted[0]].details["request_id"] == "r-1"
    assert not hold(NEUROLINKER.ask_through(parent, "document", "/v1", wanted[1:]), answer(body))[0]


@pytest.mark.parametrize(
    ("service", "route", "details"),
    [
        (NEUROLINKER, "document", {}),
        (NEUROLINKER, "document", {"request_id": ""}),
        (NEUROLINKER, "document", {"request_id": 7}),
        (NEUROLINKER, "request", {"request_id": "r-1"}),
        (AITRONOS, "job", {"request_id": "r-1"}),
    ],
    ids=["not told", "empty", "a number", "a request", "another service"],
)
def test_what_tells_no_parent_has_none(service, route, details):
    status = DocumentStatus(service="x", kind="x", id="x", state=State.RUNNING, word="x", details=details)
    assert service.parent_of(status, route) is None


# -- the list ----------------------------------------------------------------------------------------------------


def page(*ids: str, more: object = False) -> Any:
    return answer({"jobs": [{"job_id": one, "status": "queued"} for one in ids], "pagination": {"has_more": more}})


def list_jobs(limit: int | None = None, offset: int = 0, **filters: str) -> Any:
    return UNSILOED.ask_list("", filters=filters, limit=limit, offset=offset)


def test_a_list_follows_its_pages_with_its_filters():
    found, questions = hold(list_jobs(status="failed", tags="a,b"), page("a", "b", more=True), page("c"))
    assert [status.id for status in found] == ["a", "b", "c"]
    assert [question.query for question in questions] == [
        {"status": "failed", "tags": "a,b", "limit": "100", "offset": "0"},
        {"status": "failed", "tags": "a,b", "limit": "100", "offset": "2"},
    ]


@pytest.mark.parametrize(
    ("limit", "offset", "pages", "asked", "ids"),
    [
        (3, 0, [page("a", "b", more=True), page("c", more=True)], [("3", "0"), ("1", "2")], ["a", "b", "c"]),
        (1, 5, [page("a", "b", more=True)], [("1", "5")], ["a"]),
        (500, 0, [page("a")], [("100", "0")], ["a"]),
        (0, 0, [], [], []),
        (None, 0, [page(more=True)], [("100", "0")], []),
        (None, 0, [page("a", more="yes")], [("100", "0")], ["a"]),
        (None, 0, [answer({"jobs": [{"job_id": "a", "status": "queued"}]})], [("100", "0")], ["a"]),
        (None, 0, [page("a", "b", more=True)] * 2, [("100", "0"), ("100", "2")], ["a", "b"]),
        (None, 0, [page("a", "b", more=True), page("b", "c")], [("100", "0"), ("100", "2")], ["a", "b", "c"]),
    ],
    ids=[
        "limit",
        "offset",
        "large limit",
        "nothing wanted",
        "empty page",
        "odd flag",
        "no paging in the reply",
        "offset ignored",
        "a job moved to the next page",
    ],
)
def test_a_list_ends(limit, offset, pages, asked, ids):
    found, questions = hold(list_jobs(limit, offset), *pages)
    assert [status.id for status in found] == ids
    assert [(question.query["limit"], question.query["offset"]) for question in questions] == asked


def test_a_list_without_paging_is_one_question():
    tasks = answer({"success": True, "tasks": {"requests": [{"request_id": "r-1", "status": "partial", "total_documents": 27}]}})
    (found,), (question,) = hold(NEUROLINKER.ask_list("/v1", filters={}, limit=None, offset=0), tasks)
    assert (found.id, found.kind, found.state, found.details) == ("r-1", "request", State.PARTIAL, {"total_documents": 27})
    assert (question.path, question.query) == ("/v1/tasks", {})


@pytest.mark.parametrize(
    ("service", "asked", "said"),
    [
        (AITRONOS, {}, "Aitronos documents no route that lists jobs; ask by id"),
        (UNSILOED, {"filters": {"colour": "red", "status": "failed"}}, "cannot list by colour; it knows status, operation"),
        (NEUROLINKER, {"filters": {"status": "failed"}}, "cannot list by status; it has no filters"),
        (NEUROLINKER, {"offset": 5}, "no pages; leave offset out"),
    ],
    ids=["no list", "unknown filter", "no filters", "no paging"],
)
def test_what_a_list_cannot_do_is_refused_before_it_is_asked(service, asked, said):
    assert said in refusal(service.ask_list("/v1", **{"filters": {}, "limit": None, "offset": 0, **asked}))


@pytest.mark.parametrize("code", [404, 405, 501])
def test_a_deployment_that_cannot_list_says_so(code):
    assert f"answered {code}, this deployment has no such route. Ask by id" in refusal(list_jobs(), answer({}, code))


@pytest.mark.parametrize("body", [{}, {"jobs": None}, {"jobs": "a"}], ids=str)
def test_a_list_that_is_none_is_unexpected(body):
    assert "without a list 'jobs'" in refusal(list_jobs(), answer(body), kind=UnexpectedReply)


# -- the data ----------------------------------------------------------------------------------------------------


def ask(service: ServiceDescription, target: Target, status: DocumentStatus | None = None, **more: Any) -> Any:
    return service.ask_result(target, service.prefixes[0], **{"status": status, "content": None, "options": {}, **more})


def known(state: State = State.SUCCEEDED, kind: str = "job", children: tuple[str, ...] = (), **facts: Any) -> DocumentStatus:
    of = tuple(DocumentStatus(service="x", kind="job", id=one, state=State.SUCCEEDED, word="completed") for one in children)
    return DocumentStatus(service="x", kind=kind, id="j-1", state=state, word="the word", children=of, **facts)


def test_data_beside_the_status_is_one_question_and_its_own_judge():
    (status, items, errors), (question,) = hold(
        ask(AITRONOS, AITRONOS_JOB), answer({"job_id": "j-1", "status": "completed", "extracted_data": {"a": 1}})
    )
    assert (status.state, items, errors) == (State.SUCCEEDED, {"j-1": {"a": 1}}, {})
    assert question.path == "/v1/documents/jobs/j-1"


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
def test_data_of_what_did_not_succeed_is_not_asked_for(status, kind, said):
    assert said in refusal(ask(AITRONOS, AITRONOS_JOB, status), kind=kind)


def test_a_job_that_changed_its_mind_is_believed():
    late = answer({"job_id": "j-1", "status": "failed", "error_message": "torn page"})
    assert "torn page" in refusal(ask(AITRONOS, AITRONOS_JOB, known()), late, kind=DocumentFailed)


@pytest.mark.parametrize("state", [State.PARTIAL, State.REVIEW])
def test_data_of_a_job_for_a_human_is_fetched(state):
    reply = answer({"job_id": "j-1", "status": "review", "result": {"a": 1}})
    assert hold(ask(UNSILOED, EXTRACT, known(state)), reply)[0][1] == {"j-1": {"a": 1}}


@pytest.mark.parametrize("data", [None, {}, [], ""], ids=str)
def test_finished_without_data_is_an_error_of_its_own(data):
    reply = answer({"job_id": "j-1", "status": "completed", "extracted_data": data})
    message = refusal(ask(AITRONOS, AITRONOS_JOB), reply, kind=NoData)
    assert "says job j-1 is 'completed', but gives no data" in message
    assert "Look at the document in the vendor's own tools" in message


@pytest.mark.parametrize("data", [0, False, [0], {"a": None}], ids=str)
def test_data_that_looks_like_nothing_is_data(data):
    reply = answer({"job_id": "j-1", "status": "completed", "extracted_data": data})
    assert hold(ask(AITRONOS, AITRONOS_JOB), reply)[0][1] == {"j-1": data}


def test_data_on_a_route_of_its_own_is_fetched_after_the_status():
    (status, items, _), questions = hold(
        ask(UNSILOED, JOB), answer({"id": "j-1", "status": "COMPLETED"}), answer({"data": {"a": 1}})
    )
    assert [question.path for question in questions] == ["/jobs/j-1", "/jobs/j-1/result"]
    assert status.state is State.SUCCEEDED
    assert items == {"j-1": {"data": {"a": 1}}}


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (answer({"detail": "still processing"}, 400), NotFinished, "not finished (400)"),
        (answer({"detail": "PDF corrupted"}, 500), DocumentFailed, "PDF corrupted"),
        (answer(text="", code=500), DocumentFailed, "HTTP 500"),
        (answer({"detail": "cleaned up"}, 404), NotFound, "cleaned up"),
        (answer({}, 503), ServiceUnavailable, "503"),
        (answer({}), NoData, "holds no data"),
    ],
    ids=["400", "500", "500 without a text", "404", "503", "nothing"],
)
def test_the_odd_codes_of_the_generic_result_mean_what_the_vendor_says(reply, kind, said):
    assert said in refusal(ask(UNSILOED, JOB, known()), reply, kind=kind)


def test_the_data_of_a_batch_is_its_jobs_data_and_errors():
    talk = ask(UNSILOED, BATCH, known(State.PARTIAL, "batch", ("a", "b", "c", "d", "..", "e/f")))
    (_, items, errors), questions = hold(
        talk,
        answer({"x": 1}),
        answer({"detail": "broken"}, 500),
        answer({"detail": "late"}, 400),
        answer({"detail": "gone"}, 404),
    )
    assert items == {"a": {"x": 1}}
    assert set(errors) == {"b", "c", "d", "..", "e/f"}
    assert "broken" in errors["b"]
    assert "not finished" in errors["c"]
    assert "gone" in errors["d"]
    assert "has characters that no id has" in errors["e/f"]
    assert [question.path for question in questions] == [f"/jobs/{one}/result" for one in "abcd"]


def test_a_key_that_is_refused_for_one_job_ends_the_batch():
    talk = ask(UNSILOED, BATCH, known(State.SUCCEEDED, "batch", ("a", "b")))
    refusal(talk, answer({"detail": "Invalid API key"}, 401), kind=KeyRejected)


@pytest.mark.parametrize(
    ("service", "target", "kind"), [(UNSILOED, BATCH, "batch"), (NEUROLINKER, REQUEST, "request")], ids=["batch", "request"]
)
def test_a_finished_whole_without_parts_has_no_data(service, target, kind):
    assert "gives no data: it lists no" in refusal(ask(service, target, known(kind=kind)), kind=NoData)


def test_contents_are_asked_for_ten_documents_at_once():
    ids = tuple(f"d-{n}" for n in range(12))

    def items(chunk: tuple[str, ...]) -> Any:
        return answer({"results": [{"document_id": one, "content": one.upper()} for one in reversed(chunk)]})

    talk = ask(NEUROLINKER, REQUEST, known(kind="request", children=ids), content="document-summary", options={"lang": "en"})
    (_, found, errors), questions = hold(talk, items(ids[:10]), items(ids[10:]))
    assert found == {one: one.upper() for one in ids}
    assert not errors
    assert [question.json for question in questions] == [
        {"document_ids": list(chunk), "summary_type": "page", "lang": "en"} for chunk in (ids[:10], ids[10:])
    ]
    assert {(question.method, question.path) for question in questions} == {("POST", "/v1/documents/document-summary")}


def test_contents_of_a_partial_request_name_what_failed_and_what_was_left_out():
    children = (
        DocumentStatus(service="x", kind="document", id="a", state=State.SUCCEEDED, word="completed"),
        DocumentStatus(service="x", kind="document", id="b", state=State.FAILED, word="failed", message="torn page"),
        DocumentStatus(service="x", kind="document", id="c", state=State.CANCELLED, word="cancelled"),
        DocumentStatus(service="x", kind="document", id="d", state=State.SUCCEEDED, word="completed"),
    )
    talk = ask(NEUROLINKER, REQUEST, replace(known(State.PARTIAL, "request"), children=children))
    (_, items, errors), (question,) = hold(talk, answer({"results": [None, {"document_id": "a", "content": {"x": 1}}]}))
    assert question.json == {"document_ids": ["a", "d"]}
    assert items == {"a": {"x": 1}}
    assert errors == {"b": "torn page", "c": "cancelled", "d": "not in the reply"}


def test_the_content_of_one_document_needs_its_status_first():
    talk = ask(NEUROLINKER, DOCUMENT, content="markdown")
    (status, items, _), questions = hold(
        talk,
        answer({"document_id": "d-1", "status": "completed"}),
        answer({"results": [{"document_id": "d-1", "content": "# A"}]}),
    )
    assert (status.kind, items) == ("document", {"d-1": "# A"})
    assert [question.method for question in questions] == ["GET", "POST"]


def test_contents_without_a_list_are_unexpected():
    talk = ask(NEUROLINKER, DOCUMENT, known(kind="document"))
    assert "without a list 'results'" in refusal(talk, answer({"success": True}), kind=UnexpectedReply)


@pytest.mark.parametrize(
    ("service", "target", "more", "said"),
    [
        (NEUROLINKER, REQUEST, {"content": "html"}, "no content='html'; use one of json, markdown"),
        (AITRONOS, AITRONOS_JOB, {"content": "json"}, "Aitronos has no content='json'; leave it out"),
        (AITRONOS, AITRONOS_JOB, {"options": {"a": 1}}, "Aitronos has no content options; leave them out"),
    ],
    ids=["unknown content", "no contents", "no options"],
)
def test_content_that_a_service_does_not_have_is_refused_before_it_is_asked(service, target, more, said):
    assert said in refusal(ask(service, target, **more))


def test_a_service_may_take_several_names_but_the_first_must_be_there():
    service = replace(
        AITRONOS, routes={"job": replace(AITRONOS.routes["job"], result=ResultRoute(path="/x/{id}", take="chunks pages"))}
    )
    reply = {"job_id": "j-1", "status": "completed", "chunks": [1], "pages": 2, "more": 3}
    assert hold(ask(service, AITRONOS_JOB), answer(reply))[0][1] == {"j-1": {"chunks": [1], "pages": 2}}
    refusal(ask(service, AITRONOS_JOB), answer({**reply, "chunks": None}), kind=NoData)


def test_descriptions_of_optional_routes_are_data_too():
    assert ListRoute(path="/x", items="x", item=AITRONOS.routes["job"]).page_size is None
    assert Content(path="/x").options == {}


@pytest.mark.parametrize("service", [NEUROLINKER, AITRONOS, UNSILOED], ids=lambda service: service.name)
def test_success_false_contradicts_a_word_of_success_and_nothing_else(service):
    name = next(iter(service.routes))
    target = Target(route=name, id="j-1")
    with pytest.raises(UnexpectedReply, match="success=false"):
        hold(service.ask_status(target, service.prefixes[0]), answer({"success": False, "status": "completed"}))
    status, _ = hold(service.ask_status(target, service.prefixes[0]), answer({"success": False, "status": "failed"}))
    assert status.state is State.FAILED


@pytest.mark.parametrize("service", [NEUROLINKER, AITRONOS, UNSILOED], ids=lambda service: service.name)
@pytest.mark.parametrize("error", [{"code": "X", "message": "torn page"}, "torn page"], ids=["object", "text"])
def test_an_error_beside_a_word_of_failure_is_the_reason_of_the_failure(service, error):
    """The job was refused, not the question: it is final, whatever success says."""
    bad = [word for word, state in service.words.items() if state in (State.FAILED, State.CANCELLED, State.EXPIRED)]
    target = Target(route=next(iter(service.routes)), id="j-1")
    for word in bad:
        body = {"success": False, "status": word.upper(), "error": error}
        status, _ = hold(service.ask_status(target, service.prefixes[0]), answer(body))
        assert status.state is service.words[word]
        assert "torn page" in (status.message or "")


@pytest.mark.parametrize("service", [NEUROLINKER, AITRONOS, UNSILOED], ids=lambda service: service.name)
@pytest.mark.parametrize("word", ["processing", "completed", None])
def test_an_error_beside_any_other_word_contradicts_it(service, word):
    target = Target(route=next(iter(service.routes)), id="j-1")
    body = {"success": False, "status": word, "error": {"code": "X", "message": "internal"}}
    with pytest.raises(UnexpectedReply, match=r"success=false: .*internal"):
        hold(service.ask_status(target, service.prefixes[0]), answer(body))


@pytest.mark.parametrize("parent", ["..", ".", "a/b", "a?b", "%2e%2e", "a b", "", " ", None, 7, ["r-1"], {"a": "r-1"}])
def test_what_can_be_no_id_is_nobodys_parent(parent):
    """It would be put into a path; that the reply names one is no reason to ask for it."""
    document = Target(route="document", id="d-1")
    body = {"document_id": "d-1", "status": "processing", "request_id": parent}
    status, _ = hold(NEUROLINKER.ask_status(document, "/v1"), answer(body))
    assert NEUROLINKER.parent_of(status, "document") is None
