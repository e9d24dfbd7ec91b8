"""What a description can say about the data of a job: where it is, in which form, by which link, and what it says of the job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import (
    DataRefused,
    DocumentFailed,
    NoData,
    NotFinished,
    NotFound,
    ReplyTooLarge,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.protocol.description import BatchRoute, ListRoute, ResultRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.flows import StatusCache, poll_one, result_request
from airflow_provider_docstatus.protocol.messages import READ_AT_ONCE, Request
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.rules import BadDescription, check
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import ACME, JOB, LIMIT, acme, converse, cut_off, error_of, refusal, response

SUCCEEDED, PARTIAL, FAILED, RUNNING = State.SUCCEEDED, State.PARTIAL, State.FAILED, State.RUNNING
DONE = response({"job_id": "j-1", "status": "done", "link_page": "https://acme.example.com/j-1"})
PDF = {"content-type": "application/pdf"}
ZIP = {"content-type": "application/zip"}
MARKDOWN = {"content-type": "text/markdown; charset=utf-8"}
LINK = "https://storage.example/r?sig=SECRET"


def fetch(service: ServiceDescription, status: DocumentStatus | None = None) -> Any:
    return fetch_result(service, JOB, status=status, content=None, options={})


def fetched(service: ServiceDescription, *replies: Any) -> tuple[DocumentStatus, Any, list[Request]]:
    (status, items, errors), requests = converse(fetch(service), *replies)
    assert errors == {}
    return status, items["j-1"], requests


def linked(**fields: Any) -> ServiceDescription:
    return acme(result=ResultRoute(link=("output.url", "url"), take="output", **fields))


def pointing(link: Any, **beside: Any) -> Any:
    return response({"status": "done", "output": {"url": link}, **beside})


# -- in the status reply, or on a route of its own ---------------------------------------------------------------


def test_data_in_the_status_reply_takes_one_request():
    status, data, requests = fetched(acme(result=ResultRoute(take="a.b")), response({"status": "done", "a": {"b": [1]}}))
    assert (status.state, data, [request.path for request in requests]) == (SUCCEEDED, [1], ["/jobs/j-1"])


def test_data_that_only_another_query_shows_is_asked_for_by_it():
    service = acme(query={"full": "0"}, result=ResultRoute(query={"expand": ("text", "pages")}, take="text pages"))
    _, data, (request,) = fetched(service, response({"status": "done", "text": "t", "pages": 3, "more": 1}))
    assert (data, request.query) == ({"text": "t", "pages": 3}, {"full": "0", "expand": ("text", "pages")})
    assert "no text pages" in refusal(fetch(service), response({"status": "done", "pages": 3}), kind=NoData)


def test_data_on_a_route_of_its_own_may_repeat_the_status_or_not():
    service = acme(result=ResultRoute(path="/results/{id}", take="data"))
    _, data, (request,) = fetched(service, response({"status": "done", "data": 1}))
    assert (data, request.path, request.label) == (1, "/results/j-1", "GET /results/{job_id}")
    own = acme(result=ResultRoute(path="/results/{id}", take="data", has_status=False))
    _, data, requests = fetched(own, DONE, response({"data": 0}))
    assert (data, [request.path for request in requests]) == (0, ["/jobs/j-1", "/results/j-1"])
    assert "says success=false: torn" in refusal(
        fetch(own), DONE, response({"success": False, "error": "torn"}), kind=DataRefused
    )


def test_a_status_that_is_known_saves_a_request_where_the_result_has_none():
    known = DocumentStatus(service="acme", kind="job", id="j-1", state=SUCCEEDED, word="done")
    own = acme(result=ResultRoute(path="/results/{id}", has_status=False))
    assert converse(fetch(own, known), response({"a": 1}))[0][1] == {"j-1": {"a": 1}}


@pytest.mark.parametrize(("word", "kind"), [("running", NotFinished), ("failed", DocumentFailed), ("cancelled", DocumentFailed)])
def test_a_result_without_success_is_no_data(word, kind):
    error_of(fetch(acme(result=ResultRoute(take="a"))), response({"status": word, "a": 1}), kind=kind)


# -- a word of its own -------------------------------------------------------------------------------------------

OWN = acme(
    inside="data",
    flag="ok",
    partial=("bad",),
    counters=("pages",),
    result=ResultRoute(path="/results/{id}", take="document", status=("outcome",), errors=("problems",), decides=True),
)


def judged(service: ServiceDescription, *replies: Any, judges: bool = True) -> tuple[DocumentStatus, list[str]]:
    status, requests = converse(poll_one(service, JOB, judges=judges), *replies)
    return status, [request.path for request in requests]


def test_only_the_result_tells_how_a_job_ended():
    done = response({"job_id": "j-1", "status": "done", "pages": 3})
    status, paths = judged(OWN, done, response({"outcome": "failed", "problems": [{"message": "torn"}]}))
    assert (status.state, status.word, status.message) == (FAILED, "failed", "torn")
    assert (status.counters, paths) == ({"pages": 3}, ["/jobs/j-1", "/results/j-1"])
    status, _ = judged(OWN, done, response({"outcome": "partly", "problems": "page 2"}))
    assert (status.state, status.message) == (PARTIAL, "page 2")
    assert judged(OWN, done, response({"outcome": "running"}))[0].state is RUNNING


def test_of_a_result_with_a_word_of_its_own_nothing_else_is_read():
    other = {"job_id": "x", "ok": False, "bad": [1], "pages": 9, "status": "failed", "data": {"outcome": "failed"}}
    status, _ = judged(OWN, DONE, response({"outcome": "done", **other}))
    assert (status.state, status.counters) == (SUCCEEDED, {})
    assert judged(OWN, DONE, response({"data": {"outcome": "failed"}}))[0].state is SUCCEEDED  # a form without a word of its own
    error_of(poll_one(OWN, JOB), DONE, response({"outcome": "odd"}), kind=UnknownWord)


@pytest.mark.parametrize(
    ("body", "state", "message"),
    [
        ({"bad": 0, "good": 2}, SUCCEEDED, None),
        ({"bad": 1, "good": 1}, PARTIAL, "good 1, bad 1"),
        ({"bad": 2, "good": 0}, FAILED, "good 0, bad 2"),
        ({"bad": 2, "good": 0, "fair": 1}, PARTIAL, "good 0, fair 1, bad 2"),
        ({"bad": 2, "good": 0, "problems": "torn"}, FAILED, "torn"),
    ],
    ids=str,
)
def test_a_result_without_a_word_is_judged_by_its_counters(body, state, message):
    counting = acme(result=replace(OWN.routes["job"].result, partial=("bad",), good="good fair"))
    status, _ = judged(counting, DONE, response(body))
    assert (status.state, status.word, status.message) == (state, "done", message)


@pytest.mark.parametrize("word", ["running", "failed", "cancelled", "review"])
def test_a_result_is_not_read_before_the_status_says_success(word):
    status, paths = judged(OWN, response({"status": word}))
    assert (status.state, paths) == (OWN.states[word], ["/jobs/j-1"])


def test_a_wait_that_fetches_the_data_afterwards_does_not_read_the_result():
    assert judged(OWN, DONE, judges=False) == (judged(OWN, DONE, response({"outcome": "done"}))[0], ["/jobs/j-1"])
    whole = response({"outcome": "failed", "problems": "torn"})
    assert "torn" in refusal(fetch(OWN), whole, kind=DocumentFailed)


def test_a_result_does_not_make_a_partial_success_a_whole_one():
    bad = response({"status": "done", "bad": [1]})
    assert judged(OWN, bad, response({"outcome": "done"}))[0].state is PARTIAL
    assert judged(OWN, bad, response({"outcome": "failed"}))[0].state is FAILED


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response({"detail": "x"}, 404), NotFound),
        (response({"detail": "x"}, 503), ServiceUnavailable),
        (response(text="<html>", headers={"content-type": "text/html"}), UnexpectedReply),
        (response([1]), UnexpectedReply),
        (response(text="busy", code=503, headers=MARKDOWN), ServiceUnavailable),
        (response(text="no", code=403, headers=ZIP), UnexpectedReply),
    ],
    ids=["404", "503", "page", "list", "text of a 503", "zip of a 403"],
)
def test_a_result_that_cannot_be_read_decides_nothing(reply, kind):
    route = OWN.routes["job"]
    media = replace(route.result, media=("application/zip", "text/markdown"))
    error_of(poll_one(replace(OWN, routes={"job": replace(route, result=media)}), JOB), DONE, reply, kind=kind)


def test_a_result_that_is_too_long_stays_unjudged():
    late = cut_off(response({"document": "x" * LIMIT, "outcome": "failed"}))
    assert judged(OWN, DONE, late)[0].state is SUCCEEDED
    early = cut_off(response({"outcome": "failed", "document": "x" * LIMIT}))
    assert judged(OWN, DONE, early)[0].state is FAILED
    deep = response(text='{"a":' * 100_000)
    assert judged(OWN, DONE, deep)[0].state is SUCCEEDED


def test_a_result_in_another_form_says_nothing_of_the_status():
    service = acme(result=ResultRoute(path="/results/{id}", media=("application/zip",), status=("outcome",), decides=True))
    assert judged(service, DONE, response(text=b"PK\3\4", headers=ZIP))[0].state is SUCCEEDED
    assert judged(service, DONE, response({"outcome": "failed"}))[0].state is FAILED


def test_a_status_without_its_result_is_not_remembered():
    cache: StatusCache = {}
    done = poll_one(OWN, JOB, cache, judges=False)
    assert (converse(done, DONE)[0].state, cache) == (SUCCEEDED, {})
    failed = poll_one(OWN, JOB, cache)
    assert converse(failed, DONE, response({"outcome": "failed"}))[0].state is FAILED
    assert converse(poll_one(OWN, JOB, cache), DONE)[0].state is FAILED


def test_only_a_plain_reply_is_remembered():
    cache: StatusCache = {}
    service = acme(codes={206: PARTIAL, 409: RUNNING})
    states = [converse(poll_one(service, JOB, cache), replace(DONE, code=code))[0].state for code in (206, 409, 200, 200)]
    assert states == [PARTIAL, RUNNING, SUCCEEDED, SUCCEEDED]


def test_what_is_decided_by_the_result_is_not_told_by_a_reply_about_several():
    batch = BatchRoute(path="/many", parameter="ids", items="jobs")
    with pytest.raises(BadDescription, match=r"routes\.job\.result: cannot decide where a reply about several ids"):
        check(acme(batch=batch, result=ResultRoute(path="/results/{id}", decides=True)))
    check(acme(batch=batch, result=ResultRoute(path="/results/{id}")))
    check(acme(result=ResultRoute(path="/results/{id}", decides=True)))


# -- a failure, and codes ----------------------------------------------------------------------------------------

FAILING = acme(
    links=("link_page",),
    result=ResultRoute(
        path="/results/{id}", has_status=False, failure="failure", decides=True, codes={400: RUNNING, 500: FAILED}
    ),
)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ({"category": "timeout", "message": "took too long"}, "took too long"),
        ("took too long", "took too long"),
        ([{"message": "a"}, {"message": "b"}], "a; b"),
        ({"category": "timeout"}, '{"category": "timeout"}'),
        (True, "the error's text"),
    ],
    ids=str,
)
def test_a_failure_in_the_result_is_the_jobs_whatever_its_word(failure, message):
    status, _ = judged(FAILING, DONE, response({"failure": failure, "error": "the error's text"}))
    assert status.state is FAILED
    assert status.message == (message if failure is not True else "true")
    assert status.link == "https://acme.example.com/j-1"
    text = refusal(fetch(FAILING), DONE, response({"failure": failure}), kind=DocumentFailed)
    assert "j-1 failed: " in text


@pytest.mark.parametrize("failure", [None, "", [], {}, False, 0], ids=str)
def test_no_failure_in_the_result_is_none(failure):
    assert judged(FAILING, DONE, response({"failure": failure}))[0].state is SUCCEEDED


def test_a_failure_is_known_without_a_status():
    service = acme(result=ResultRoute(take="data", failure="failure", errors=("failure.text",)))
    text = refusal(fetch(service), response({"failure": {"text": "torn"}, "data": 1}), kind=DocumentFailed)
    assert "Acme job j-1 failed: torn" in text


def test_a_code_of_the_result_is_the_jobs_state():
    status, _ = judged(FAILING, DONE, response({"detail": "torn"}, 500))
    assert (status.state, status.word, status.message, status.link) == (FAILED, "500", "torn", "https://acme.example.com/j-1")
    assert "not finished (400)" in refusal(fetch(FAILING), DONE, response({"detail": "wait"}, 400), kind=NotFinished)
    error_of(fetch(FAILING), DONE, response(text="<html>", code=500), kind=ServiceUnavailable)
    error_of(fetch(FAILING), DONE, response(text="Bad Request", code=400), kind=UnexpectedReply)
    assert result_request(FAILING, JOB).expected_codes == [400, 500]


# -- other forms than JSON ---------------------------------------------------------------------------------------

MEDIA = acme(result=ResultRoute(path="/results/{id}", media=("application/zip", "text/markdown"), take="document"))


def test_a_zip_is_bytes_a_text_is_text_and_json_is_read_as_ever():
    assert fetched(MEDIA, DONE, response(text=b"PK\3\4\xff", headers=ZIP))[1] == b"PK\3\4\xff"
    assert fetched(MEDIA, DONE, response(text="# Ä\n", headers=MARKDOWN))[1] == "# Ä\n"
    assert fetched(MEDIA, DONE, response(text='{"document": 1}', headers=MARKDOWN))[1] == '{"document": 1}'
    assert fetched(MEDIA, DONE, response({"status": "done", "document": {"a": 1}}))[1] == {"a": 1}
    long = "é" * READ_AT_ONCE
    assert fetched(MEDIA, DONE, replace(response(text=long, headers=MARKDOWN), limit=10**6))[1] == long


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response(text=b"", headers=ZIP), NoData),
        (response(text="", headers=MARKDOWN), NoData),
        (response(text=b"PK" * LIMIT, headers=ZIP), ReplyTooLarge),
        (response(text=b"%PDF", headers=PDF), UnexpectedReply),
        (response(text="gone", code=410, headers=MARKDOWN), UnexpectedReply),
        (response(text=b"PK", code=503, headers=ZIP), ServiceUnavailable),
        (response(code=302, text=b"PK", headers=ZIP), UnexpectedReply),
    ],
    ids=["empty zip", "empty text", "too large", "another form", "refused", "away", "redirect"],
)
def test_a_form_that_is_no_data_is_an_error(reply, kind):
    error_of(fetch(MEDIA), DONE, reply, kind=kind)


# -- by a signed link --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "data"),
    [
        (response({"a": 1}), {"a": 1}),
        (response(text='[{"a": 1}]', headers={"content-type": "binary/octet-stream"}), [{"a": 1}]),
        (response(text='{"a": 1}'), {"a": 1}),
        (response(text="7", headers={"content-type": "application/json"}), 7),
        (response(text="7"), "7"),
        (response(text="# Title", headers=MARKDOWN), "# Title"),
        (response(text="null", headers=MARKDOWN), "null"),
        (response(text=b"PK\3\4", headers=ZIP), b"PK\3\4"),
        (response(text=b"\xff", headers={"content-type": ""}), b"\xff"),
        (replace(response(text="é" * READ_AT_ONCE, headers=MARKDOWN), limit=10**6), "é" * READ_AT_ONCE),
    ],
    ids=["JSON", "unnamed JSON", "JSON as text", "number", "text", "markdown", "null as text", "bytes", "no type", "long text"],
)
def test_a_link_in_place_of_the_data_is_followed(reply, data):
    status, found, requests = fetched(linked(), pointing(LINK), reply)
    assert (status.state, found) == (SUCCEEDED, data)
    assert [(request.path, request.link) for request in requests] == [("/jobs/j-1", ""), ("", LINK)]
    assert not requests[1].key_optional
    assert requests[1].label == "the link to storage.example"


@pytest.mark.parametrize("link", [None, "", 7, ["x"]], ids=str)
def test_without_a_link_the_data_is_in_the_reply(link):
    assert fetched(linked(), response({"status": "done", "output": {"url": link, "a": 1}}))[1] == {"url": link, "a": 1}


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 410, 302])
def test_a_link_that_has_expired_is_asked_for_anew_once(code):
    refused = response(text="<Error>Expired</Error>", code=code)
    _, data, requests = fetched(linked(), pointing(LINK), refused, pointing(LINK + "2"), response({"a": 1}))
    assert data == {"a": 1}
    assert [request.link for request in requests] == ["", LINK, "", LINK + "2"]
    text = refusal(fetch(linked()), pointing(LINK), refused, pointing(LINK), refused, kind=UnexpectedReply)
    assert f"refused with {code}, and a new one as well" in text
    assert "SECRET" not in text


def test_a_job_that_has_no_data_any_more_gives_no_new_link():
    refused = response(text="x", code=403)
    error_of(fetch(linked()), pointing(LINK), refused, response({"status": "failed"}), kind=DocumentFailed)
    error_of(fetch(linked()), pointing(LINK), refused, response({"detail": "x"}, 404), kind=NotFound)
    assert fetched(linked(), pointing(LINK), refused, response({"status": "done", "output": "here"}))[1] == "here"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response(text="", headers=MARKDOWN), NoData),
        (response(text=b"", headers=ZIP), NoData),
        (response({}), NoData),
        (response(None), NoData),
        (response(text=b"x" * (LIMIT + 1)), ReplyTooLarge),
        (response(text="x", code=503), ServiceUnavailable),
        (RequestRejected("not sent"), RequestRejected),
        (ServiceUnavailable("no such host"), ServiceUnavailable),
    ],
    ids=["empty text", "empty file", "empty object", "null", "too large", "away", "not sent", "no host"],
)
def test_a_link_to_no_data_is_an_error_at_once(reply, kind):
    assert "SECRET" not in refusal(fetch(linked()), pointing(LINK), reply, kind=kind)


def test_a_link_is_another_hosts_and_says_nothing_of_the_prefix():
    service = replace(linked(), prefixes=("/v1", "/v2"))
    prefix = PathPrefix(service, "https://acme.example.com", "/v1")
    expired = response({"detail": "Not Found"}, 404)
    flow = with_prefix(fetch(service), prefix)
    _, requests = converse(flow, pointing(LINK), expired, pointing(LINK), response({"a": 1}))
    assert [(request.prefix, request.link) for request in requests] == [("/v1", ""), ("", LINK), ("/v1", ""), ("", LINK)]
    assert prefix.current == "/v1"


def test_a_link_beside_a_failure_is_not_followed():
    service = linked(failure="failure")
    error_of(fetch(service), pointing(LINK, failure={"message": "torn"}), kind=DocumentFailed)
    error_of(fetch(linked()), pointing(LINK, status="running"), kind=NotFinished)


# -- jobs inside that a route of their own lists -----------------------------------------------------------------

MEMBER = Route(path="", ids=("key",), status=("state",), errors=("why",))
GROUP = acme(
    kind="batch",
    members=ListRoute(
        path="/jobs", items="jobs", item=MEMBER, query={"group": "{id}", "full": "1"}, paging="token", at="after", next="next"
    ),
)


def members(*states: str, **beside: Any) -> Any:
    return response({"jobs": [{"key": f"{state}{n}", "state": state, "why": "torn"} for n, state in enumerate(states)], **beside})


def test_the_jobs_inside_are_asked_for_once_the_job_has_ended():
    status, requests = converse(poll_one(GROUP, JOB), DONE, members("done", next="t"), members("failed"))
    assert {child.id: (child.state, child.message) for child in status.children} == {
        "done0": (SUCCEEDED, None),
        "failed0": (FAILED, "torn"),
    }
    assert status.state is PARTIAL
    assert [dict(request.query) for request in requests[1:]] == [
        {"group": "j-1", "full": "1"},
        {"group": "j-1", "full": "1", "after": "t"},
    ]
    status, _ = converse(poll_one(GROUP, JOB), response({"status": "running"}))
    assert (status.state, status.children) == (RUNNING, ())


@pytest.mark.parametrize(
    ("word", "states", "state"),
    [
        ("done", (), SUCCEEDED),
        ("done", ("done", "review"), SUCCEEDED),
        ("done", ("done", "cancelled"), PARTIAL),
        ("done", ("failed", "cancelled"), FAILED),
        ("partly", ("failed",), PARTIAL),
        ("failed", ("done",), FAILED),
        ("cancelled", ("done",), State.CANCELLED),
    ],
)
def test_bad_jobs_inside_make_a_success_partial_or_a_failure(word, states, state):
    assert converse(poll_one(GROUP, JOB), response({"status": word}), members(*states))[0].state is state


def test_what_lists_the_jobs_inside_may_be_away():
    error_of(poll_one(GROUP, JOB), DONE, response({"detail": "x"}, 503), kind=ServiceUnavailable)
    assert "cannot list jobs here" in refusal(poll_one(GROUP, JOB), DONE, response({"detail": "x"}, 404))
    error_of(poll_one(GROUP, JOB), DONE, response({"found": []}), kind=UnexpectedReply)


def test_the_jobs_inside_are_known_whatever_the_result_says():
    route = replace(GROUP.routes["job"], result=ResultRoute(path="/results/{id}", status=("outcome",), decides=True))
    flow = poll_one(replace(GROUP, routes={"job": route}), JOB)
    status, requests = converse(flow, DONE, response({"outcome": "done"}), members("done", "failed"))
    assert (status.state, len(status.children)) == (PARTIAL, 2)
    assert [request.path for request in requests] == ["/jobs/j-1", "/results/j-1", "/jobs"]


def test_a_service_without_results_of_its_own_reads_none():
    assert converse(poll_one(ACME, JOB), DONE)[0].state is SUCCEEDED
