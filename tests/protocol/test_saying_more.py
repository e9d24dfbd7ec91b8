"""What a description can say about a status: words, flags, codes, counters and errors in the vendors' many forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import NotFound, RequestRejected, ServiceUnavailable, UnexpectedReply, UnknownWord
from airflow_provider_docstatus.protocol.description import BatchRoute, ListRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.flows import poll_batch, poll_one, status_request
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import ACME, JOB, acme, converse, error_of, refusal, response

many = settings(max_examples=200, deadline=None, derandomize=True, database=None)

RUNNING, SUCCEEDED, PARTIAL, FAILED, REVIEW = State.RUNNING, State.SUCCEEDED, State.PARTIAL, State.FAILED, State.REVIEW


def status_of(service: ServiceDescription, body: Any, code: int = 200, target: Target = JOB) -> DocumentStatus:
    return converse(poll_one(service, target), response(body, code))[0]


def state_of(service: ServiceDescription, body: Any, code: int = 200) -> State:
    return status_of(service, body, code).state


# -- words -------------------------------------------------------------------------------------------------------


def test_a_word_is_read_at_the_first_of_its_places_that_has_one():
    service = acme(status=("job.status", "state"))
    assert state_of(service, {"job": {"status": "done"}, "state": "failed", "status": "running"}) is SUCCEEDED
    assert state_of(service, {"job": {"status": None}, "state": "failed"}) is FAILED
    assert state_of(service, {"job": "done", "state": "running"}) is RUNNING
    assert status_of(service, {"state": " DONE "}).word == "DONE"


@pytest.mark.parametrize("body", [{"status": "done"}, {"job": {"state": "done"}}, {"state": {"status": "done"}}], ids=str)
def test_a_word_at_another_place_is_none(body):
    service = acme(status=("job.status", "state"))
    assert "without a status word" in refusal(poll_one(service, JOB), response(body), kind=UnexpectedReply)


def test_words_of_children_lists_and_batches_have_places_of_their_own():
    item = Route(path="", ids=("meta.key",), status=("meta.state",), errors=("meta.why",))
    items = [{"meta": {"key": "j-1", "state": "failed", "why": "torn"}}, {"meta": {"key": "j-2", "state": "done"}}]
    service = acme(
        status=("job.status",),
        children="parts",
        child=item,
        batch=BatchRoute(path="/many", parameter="ids", items="found.jobs", item=item),
        listing=ListRoute(path="/jobs", items="found.jobs", item=item),
    )
    told = {"j-1": (FAILED, "torn"), "j-2": (SUCCEEDED, None)}
    whole = status_of(service, {"job": {"status": "running"}, "parts": items})
    assert {child.id: (child.state, child.message) for child in whole.children} == told
    many, _ = converse(poll_batch(service, [JOB, Target("job", "j-2")]), response({"found": {"jobs": items}}))
    assert {target.id: (status.state, status.message) for target, status in many.items()} == told
    listed, _ = converse(list_jobs(service, filters={}, limit=None, offset=0), response({"found": {"jobs": items}}))
    assert {status.id: (status.state, status.message) for status in listed} == told


def test_a_wrapped_reply_is_found_by_the_words_own_place():
    service = acme(status=("job.state",), inside="data")
    assert state_of(service, {"data": {"job": {"state": "done"}}}) is SUCCEEDED
    assert state_of(service, {"job": {"state": "done"}, "data": {"job": {"state": "failed"}}}) is SUCCEEDED
    assert state_of(service, {"status": "failed", "data": {"job": {"state": "done"}}}) is SUCCEEDED
    assert "without a status word" in refusal(poll_one(service, JOB), response({"data": {"state": "done"}}), kind=UnexpectedReply)


# -- flags and codes ---------------------------------------------------------------------------------------------

NO_FAILURE_WORD = {"words": {RUNNING: ("processing",), SUCCEEDED: ("complete",)}}


@pytest.mark.parametrize(
    ("body", "state", "message"),
    [
        ({"status": "processing", "success": None}, RUNNING, None),
        ({"status": "processing"}, RUNNING, None),
        ({"status": "processing", "success": False, "error": {"message": "m"}}, RUNNING, None),
        ({"status": "complete", "success": True, "error": "m"}, SUCCEEDED, None),
        ({"status": "complete", "success": None}, SUCCEEDED, None),
        ({"status": "complete"}, SUCCEEDED, None),
        ({"status": "complete", "success": False, "error": "Too many pages in flight"}, FAILED, "Too many pages in flight"),
        ({"status": "complete", "success": False, "error": {"message": "m"}}, FAILED, "m"),
        ({"status": "complete", "success": False}, FAILED, None),
        ({"status": "complete", "success": "false"}, SUCCEEDED, None),
    ],
    ids=str,
)
def test_a_flag_named_success_decides_where_no_word_says_failed(body, state, message):
    status = status_of(acme(flag="success", more=NO_FAILURE_WORD), body)
    assert (status.state, status.message) == (state, message)


def test_a_flag_that_decides_is_no_word():
    service = acme(flag="success", more=NO_FAILURE_WORD)
    assert "success=false: m" in refusal(poll_one(service, JOB), response({"success": False, "error": "m"}), kind=UnexpectedReply)
    body = {"success": False, "status": "odd", "error": {"message": "m"}}
    assert "status_words" in refusal(poll_one(service, JOB), response(body), kind=UnknownWord)


@pytest.mark.parametrize("flag", ["success", "result.success"])
def test_a_flag_changes_only_a_word_of_success(flag):
    service = acme(flag=flag)
    no = {"success": False, "result": {"success": False}, "error": "m"}
    states = {word: state_of(service, {**no, "status": word}) for word in ("partly", "review", "cancelled", "failed", "running")}
    assert states == {word: service.states[word] for word in states}
    if flag == "success":
        assert state_of(service, {**no, "status": "done"}) is FAILED
    else:
        assert state_of(service, {"result": {"success": False}, "status": "done"}) is FAILED
        assert "success=false" in refusal(poll_one(service, JOB), response({**no, "status": "done"}), kind=UnexpectedReply)


CODES = acme(codes={206: PARTIAL, 409: RUNNING}, partial=("bad",), good="good", flag="ok")


@pytest.mark.parametrize(
    ("body", "code", "state"),
    [
        ({"status": "done"}, 200, SUCCEEDED),
        ({"status": "done"}, 201, SUCCEEDED),
        ({"status": "done"}, 206, PARTIAL),
        ({"status": "done", "bad": [], "good": 0}, 206, PARTIAL),
        ({"status": "done", "bad": [1], "good": 1}, 206, PARTIAL),
        ({"status": "done", "bad": [1], "good": 0}, 206, FAILED),
        ({"status": "done", "ok": False}, 206, FAILED),
        ({"status": "running"}, 206, RUNNING),
        ({"status": "failed"}, 206, FAILED),
        ({"status": "review"}, 206, REVIEW),
        ({"error": "in use"}, 409, RUNNING),
    ],
    ids=str,
)
def test_a_code_below_400_replaces_success_and_another_is_the_state_itself(body, code, state):
    assert state_of(CODES, body, code) is state


def test_a_code_that_is_a_state_tells_the_vendors_text():
    service = acme(codes={409: State.EXPIRED})
    status = status_of(service, {"detail": "is being deleted"}, 409)
    assert (status.state, status.word, status.message, status.id) == (State.EXPIRED, "409", "is being deleted", "j-1")
    assert status_of(service, {}, 409).message == "HTTP 409"
    assert status_request(service, JOB).expected_codes == [409]


@pytest.mark.parametrize(
    "reply",
    [
        response(text="<html>conflict", code=409, headers={"content-type": "text/html"}),
        response(text="Conflict", code=409),
        response({"message": "Conflict"}, 409),
        response([], 409),
    ],
    ids=["page", "text", "gateway", "list"],
)
def test_a_code_of_a_proxy_is_no_state(reply):
    error_of(poll_one(acme(codes={409: State.EXPIRED}), JOB), reply, kind=UnexpectedReply)


def test_a_503_of_a_proxy_is_waited_out_also_where_the_vendors_is_a_state():
    service = acme(codes={503: RUNNING})
    assert state_of(service, {"detail": "starting"}, 503) is RUNNING
    foreign = response(text="<html>", code=503, headers={"content-type": "text/html"})
    error_of(poll_one(service, JOB), foreign, kind=ServiceUnavailable)


def test_a_code_that_is_not_named_stays_an_error():
    error_of(poll_one(acme(codes={409: FAILED}), JOB), response({"detail": "x"}, 404), kind=NotFound)
    error_of(poll_one(ACME, JOB), response({"detail": "x"}, 409), kind=RequestRejected)


# -- bad parts and counters --------------------------------------------------------------------------------------

PARTS = acme(partial=("meta.failed_pages", "counts.failed", "warning"), good="counts.good")


@pytest.mark.parametrize(
    ("beside", "state"),
    [
        ({}, SUCCEEDED),
        ({"meta": {"failed_pages": []}, "counts": {"failed": 0, "good": 0}, "warning": ""}, SUCCEEDED),
        ({"meta": None, "counts": {"failed": None}, "warning": None}, SUCCEEDED),
        ({"meta": {"failed_pages": {}}, "counts": {"failed": "0"}}, SUCCEEDED),
        ({"meta": {"failed_pages": [3]}}, PARTIAL),
        ({"meta": {"failed_pages": {"3": "torn"}}}, PARTIAL),
        ({"counts": {"failed": 1}}, PARTIAL),
        ({"counts": {"failed": "2", "good": "1"}}, PARTIAL),
        ({"counts": {"failed": 1.0, "good": None}}, PARTIAL),
        ({"counts": {"failed": -1, "good": 0}}, SUCCEEDED),
        ({"counts": {"failed": True, "good": 1}}, PARTIAL),
        ({"warning": "page 3 is torn"}, PARTIAL),
        ({"counts": {"failed": 1, "good": 0}}, FAILED),
        ({"meta": {"failed_pages": [1]}, "counts": {"good": "0"}}, FAILED),
    ],
    ids=str,
)
def test_bad_parts_make_a_success_partial_and_without_good_ones_a_failure(beside, state):
    assert state_of(PARTS, {"status": "done", **beside}) is state


@pytest.mark.parametrize(
    ("counts", "state"),
    [({"good": 0, "fair": 1}, PARTIAL), ({"good": 0, "fair": 0}, FAILED), ({"good": 0}, FAILED), ({}, PARTIAL)],
    ids=str,
)
def test_good_parts_may_have_several_counters(counts, state):
    service = acme(partial=("counts.failed",), good="counts.good counts.fair")
    assert state_of(service, {"status": "done", "counts": {"failed": 1, **counts}}) is state


@pytest.mark.parametrize("word", ["running", "failed", "review", "cancelled"])
def test_bad_parts_change_no_other_word(word):
    body = {"status": word, "counts": {"failed": 3, "good": 0}}
    assert state_of(PARTS, body) is PARTS.states[word]


def test_what_makes_a_success_partial_can_be_its_message():
    service = acme(partial=("bad",), errors=("error.code error.text", "bad"))
    status = status_of(service, {"status": "done", "bad": [{"message": "page 1"}, {"message": "page 2"}]})
    assert (status.state, status.message) == (PARTIAL, "page 1; page 2")
    assert status_of(service, {"status": "done", "bad": []}).message is None


def test_counters_are_read_at_dotted_paths_and_named_by_the_last_part():
    service = acme(counters=("meta.num_docs", "meta.num_failed", "left"))
    counters = {"meta": {"num_docs": 3, "num_failed": "1"}, "left": 2.0}
    assert status_of(service, {"status": "running", **counters}).counters == {"num_docs": 3, "num_failed": 1, "left": 2}
    odd = {"meta": {"num_docs": -1, "num_failed": [1]}, "left": True}
    assert status_of(service, {"status": "running", **odd}).counters == {}
    assert status_of(service, {"status": "running", "meta": None}).counters == {}


def test_a_child_is_judged_by_its_own_flag_and_lists():
    service = acme(children="parts", child=Route(path="", ids=("id",), flag="ok", partial=("bad",), good="good"))
    parts = [
        {"id": "a", "status": "done", "ok": False},
        {"id": "b", "status": "done", "bad": [1]},
        {"id": "c", "status": "done", "bad": [1], "good": 0},
        {"id": "d", "status": "running", "bad": [1], "ok": False},
        {"id": "e", "status": "done", "ok": True, "bad": []},
    ]
    children = status_of(service, {"status": "running", "parts": parts}).children
    assert [child.state for child in children] == [FAILED, PARTIAL, FAILED, RUNNING, SUCCEEDED]


# -- error texts -------------------------------------------------------------------------------------------------

INNER = {"code": "InvalidContent", "message": "The file is corrupted."}


@pytest.mark.parametrize(
    ("errors", "body", "text"),
    [
        (("error.code error.message",), {"error": {"code": "E1", "message": "torn"}}, "E1: torn"),
        (("error.code error.message",), {"error": {"code": "E1"}}, "E1"),
        (("error.code error.message",), {"error": {"code": "torn", "message": "torn"}}, "torn"),
        (("reason text", "note"), {"note": "see page 3"}, "see page 3"),
        (("reason text", "note"), {"reason": "R", "text": "t", "note": "n"}, "R: t"),
        (("reason text", "note"), {"reason": "", "text": None, "error": {"message": "m"}}, "m"),
        (("error",), {"error": {"message": "Invalid request.", "innererror": INNER}}, "Invalid request. The file is corrupted."),
        (
            ("error",),
            {"error": {"message": "Invalid.", "innererror": {"message": "Outer.", "innererror": {"innererror": INNER}}}},
            "Invalid. The file is corrupted.",
        ),
        (("error",), {"error": {"message": "Same.", "innererror": {"message": "Same."}}}, "Same."),
        (
            ("error",),
            {"error": {"message": "Some failed.", "details": [{"target": "2", "message": "torn"}, {"message": "dark"}, 7, None]}},
            "Some failed. 2: torn dark",
        ),
        (("errors",), {"errors": ["torn", "dark"]}, "torn; dark"),
        (("errors",), {"errors": [{"message": "torn"}, {"message": "dark"}]}, "torn; dark"),
        (("errors",), {"errors": [{"msg": "too long", "loc": ["body", 3]}]}, "body.3: too long"),
        (("errors",), {"errors": []}, None),
        (("errors",), {"errors": {"message": "torn"}}, "torn"),
    ],
    ids=str,
)
def test_an_error_text_is_read_from_all_its_parts(errors, body, text):
    assert status_of(acme(errors=errors), {"status": "failed", **body}).message == text


def test_an_error_text_stays_one_short_line():
    long = {"message": "a\nb" * 400, "innererror": {"message": "c" * 4000}, "details": [{"message": "d" * 4000}] * 50}
    message = status_of(acme(errors=("error", "error.message")), {"status": "failed", "error": long}).message
    assert len(message) <= 500
    assert message.isprintable()


deep = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "error", "innererror", "details", "target", "msg", "loc", "code"]), inside)
    ),
    max_leaves=12,
)


@many
@given(error=deep, errors=st.sampled_from([("error",), ("error.code error.message", "error.details"), ("error.innererror",)]))
def test_whatever_stands_in_an_error_the_message_is_a_short_line_or_none(error, errors):
    message = status_of(acme(errors=errors), {"status": "failed", "error": error}).message
    assert message is None or (message and message.isprintable() and len(message) <= 500)


@pytest.mark.parametrize(
    ("envelope", "body", "text"),
    [
        (("error.name error.message", "error.type"), {"error": {"name": "N", "message": "m", "type": "t"}}, "N: m (type t)"),
        (("error.name error.message", "error.type"), {"error": {"type": "t", "detail": "d"}}, "d"),
        (("problem.text",), {"detail": "d", "problem": {"text": "f"}}, "f"),
        (("problem.text", "problem.tries"), {"problem": {"text": "f", "tries": 0}}, "f"),
        (("problem.text", "problem.at"), {"problem": {"text": "f", "at": {"page": 3}}}, 'f (at {"page": 3})'),
        ((), {"error": {"message": "Denied.", "innererror": INNER}}, "Denied. The file is corrupted."),
    ],
    ids=str,
)
def test_an_error_reply_tells_what_its_envelope_holds(envelope, body, text):
    assert f"with 422: {text}".rstrip(".") in refusal(poll_one(acme(more={"envelope": envelope}), JOB), response(body, 422))
