"""A reply read as a status: the vendor's word, counters, children, and what contradicts them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_provider_docstatus.exceptions import (
    NotFound,
    ReplyTooLarge,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import AITRONOS, DOCLING, NEUROLINKER, UNSILOED
from airflow_provider_docstatus.status import State
from tests.conversations import LIMIT, converse, refusal, response

REQUEST = Target(route="request", id="r-1")
AITRONOS_JOB = Target(route="job", id="j-1")
EXTRACT = Target(route="extract", id="j-1")


# -- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (
            response(text="<html>", headers={"content-type": "text/html"}),
            UnexpectedReply,
            "6 bytes that are not JSON (text/html)",
        ),
        (response(text=""), UnexpectedReply, "0 bytes that are not JSON"),
        (response(text=b'{"a": "\xff"}'), UnexpectedReply, "not JSON"),
        (response([{"status": "completed"}]), UnexpectedReply, "JSON that is not an object (list)"),
        (response("completed"), UnexpectedReply, "not an object (str)"),
        (response({"job_id": "j-1"}), UnexpectedReply, "without a status word (at status)"),
        (response({"job_id": "j-1", "status": " "}), UnexpectedReply, "without a status word"),
        (response({"job_id": "j-1", "status": None}), UnexpectedReply, "without a status word"),
        (response({"job_id": "j-1", "status": ["completed"]}), UnexpectedReply, "without a status word"),
        (response({"job_id": "j-2", "status": "completed"}), UnexpectedReply, "for j-1 with another id, 'j-2'"),
        (response({"job_id": {}, "status": "completed"}), UnexpectedReply, "another id"),
        (response({"success": False}), UnexpectedReply, "success=false: no text"),
        (response({"success": False, "status": "completed", "error": {"message": "m"}}), UnexpectedReply, "success=false: m"),
        (response(text="x" * (LIMIT + 1)), ReplyTooLarge, f"more than {LIMIT} bytes; raise 'max_reply_bytes'"),
        (
            response(code=302, headers={"location": "https://login.example/?to=secret"}),
            UnexpectedReply,
            "(302) to login.example;",
        ),
        (response(code=304), UnexpectedReply, "to elsewhere"),
        (response({"detail": "Gone"}, 410), NotFound, "with 410: Gone. Check the id"),
        (
            response({"detail": "I am a teapot."}, 418),
            RequestRejected,
            "with 418: I am a teapot. Check the id and the connection",
        ),
        (response(text="x" * (LIMIT + 1), code=404), UnexpectedReply, "with 404 and no text of its own"),
        (
            response(text="<html>login</html>", code=401, headers={"content-type": "Text/HTML"}),
            UnexpectedReply,
            "with 401 and a web page; is there a proxy or login page in between, or is the host wrong? If not, check the key",
        ),
        (response(code=408), ServiceUnavailable, "with 408"),
        (response(code=425), ServiceUnavailable, "with 425"),
        (response({"detail": "x"}, 501), ServiceUnavailable, "with 501: x"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_response_that_is_no_status_is_the_error_it_is(reply, kind, said):
    message = refusal(poll_one(AITRONOS, AITRONOS_JOB), reply, kind=kind, prefix="/v1")
    assert said in message
    assert "secret" not in message
    assert message.startswith("Aitronos answered GET /v1/documents/jobs/{job_id}")


@pytest.mark.parametrize(
    "body",
    [
        {"job_id": "j-1", "status": " Completed\n"},
        {"status": "completed"},
        {"success": True, "job_id": "j-1", "status": "completed"},
        {"job_id": "j-1", "status": "completed", "data": {"status": "failed"}},
    ],
    ids=["spelling", "no id", "flag beside a word", "data beside a word"],
)
def test_a_known_word_decides_however_it_is_wrapped(body):
    status, _ = converse(poll_one(AITRONOS, AITRONOS_JOB), response(body))
    assert status.state is State.SUCCEEDED
    assert status.word.lower() == "completed"


@pytest.mark.parametrize("route", ["request", "document"])
def test_a_reply_is_read_inside_another_where_the_service_says_so(route):
    body = {"success": True, "data": {f"{route}_id": "r-1", "status": "completed"}}
    status, _ = converse(poll_one(NEUROLINKER, Target(route=route, id="r-1")), response(body))
    assert status.state is State.SUCCEEDED
    message = refusal(poll_one(AITRONOS, AITRONOS_JOB), response(body), kind=UnexpectedReply)
    assert "without a status word" in message


def test_an_id_that_is_a_number_in_the_reply_is_the_same_id():
    status, _ = converse(poll_one(UNSILOED, Target(route="job", id="17")), response({"id": 17, "status": "queued"}))
    assert status.id == "17"


def test_an_unknown_word_teaches_the_setting_that_knows_it():
    message = refusal(poll_one(AITRONOS, AITRONOS_JOB), response({"status": "Archived"}), kind=UnknownWord)
    setting = json.loads("{" + message.split("extra: ")[1].split(" (or ")[0] + "}")
    more = {State(state): (*AITRONOS.words[State(state)], word) for word, state in setting["status_words"].items()}
    taught = replace(AITRONOS, words={**AITRONOS.words, **more})
    status, _ = converse(poll_one(taught, AITRONOS_JOB), response({"status": "Archived"}))
    assert status.state is State.RUNNING
    assert "succeeded, partial, review, failed, cancelled, expired" in message


def test_an_unknown_word_is_kept_short():
    with pytest.raises(UnknownWord) as caught:
        converse(poll_one(AITRONOS, AITRONOS_JOB), response({"status": "x\n" * 5000}))
    assert len(caught.value.word) == 60
    assert "\n" not in str(caught.value)


def test_an_operation_stands_in_the_details_where_the_service_has_several():
    status, _ = converse(poll_one(UNSILOED, EXTRACT), response({"job_id": "j-1", "status": "queued"}))
    assert status.details["operation"] == "extract"
    status, _ = converse(poll_one(AITRONOS, AITRONOS_JOB), response({"job_id": "j-1", "status": "pending"}))
    assert "operation" not in status.details


def test_children_without_an_id_are_left_out_and_an_unknown_word_among_them_counts_as_running():
    items = [{"document_id": "a", "status": "archived"}, {"status": "completed"}, {"document_id": ["b"]}, None, "c", {"id": 4}]
    status, _ = converse(
        poll_one(NEUROLINKER, REQUEST), response({"request_id": "r-1", "status": "processing", "documents": items})
    )
    assert {child.id: (child.state, child.word) for child in status.children} == {
        "a": (State.RUNNING, "archived"),
        "4": (State.RUNNING, ""),
    }


@pytest.mark.parametrize("documents", [None, {}, "x", 7], ids=str)
def test_a_list_of_children_that_is_none_is_no_children(documents):
    body = {"request_id": "r-1", "status": "processing", "documents": documents}
    assert converse(poll_one(NEUROLINKER, REQUEST), response(body))[0].children == ()


@pytest.mark.parametrize("service", [NEUROLINKER, AITRONOS, UNSILOED], ids=lambda service: service.name)
def test_success_false_contradicts_a_word_of_success_and_nothing_else(service):
    name = next(iter(service.routes))
    target = Target(route=name, id="j-1")
    with pytest.raises(UnexpectedReply, match="success=false"):
        converse(poll_one(service, target), response({"success": False, "status": "completed"}))
    status, _ = converse(poll_one(service, target), response({"success": False, "status": "failed"}))
    assert status.state is State.FAILED


@pytest.mark.parametrize(("word", "state"), [("completed", State.FAILED), ("processing", State.RUNNING)])
def test_success_false_is_a_failure_where_the_description_says_that_it_decides(word, state):
    service = replace(AITRONOS, routes={"job": replace(AITRONOS.routes["job"], flag="success")})
    body = {"success": False, "status": word, "error_message": "too many pages"}
    status, _ = converse(poll_one(service, AITRONOS_JOB), response(body))
    assert (status.state, status.message) == (state, "too many pages" if state is State.FAILED else None)


@pytest.mark.parametrize(
    ("failed", "result", "state"),
    [
        (0, "success", State.SUCCEEDED),
        (0, "partial_success", State.PARTIAL),
        (0, "failure", State.FAILED),
        (1, "success", State.PARTIAL),
        (1, "partial_success", State.PARTIAL),
        (1, "failure", State.FAILED),
    ],
)
def test_a_result_that_decides_takes_no_failed_part_back(failed, result, state):
    counters = {"num_docs": 2, "num_succeeded": 2 - failed, "num_failed": failed}
    said = response({"task_id": "t-1", "task_status": "success", "task_meta": counters})
    status, _ = converse(poll_one(DOCLING, Target(route="convert", id="t-1")), said, response({"status": result, "document": {}}))
    assert status.state is state


@pytest.mark.parametrize("service", [NEUROLINKER, AITRONOS, UNSILOED], ids=lambda service: service.name)
@pytest.mark.parametrize("error", [{"code": "X", "message": "torn page"}, "torn page"], ids=["object", "text"])
def test_an_error_beside_a_word_of_failure_is_the_reason_of_the_failure(service, error):
    """The job was refused, not the request: it is final, whatever success says."""
    bad = [word for word, state in service.states.items() if state in (State.FAILED, State.CANCELLED, State.EXPIRED)]
    target = Target(route=next(iter(service.routes)), id="j-1")
    for word in bad:
        body = {"success": False, "status": word.upper(), "error": error}
        status, _ = converse(poll_one(service, target), response(body))
        assert status.state is service.states[word]
        assert "torn page" in (status.message or "")


@pytest.mark.parametrize("service", [NEUROLINKER, AITRONOS, UNSILOED], ids=lambda service: service.name)
@pytest.mark.parametrize("word", ["processing", "completed", None])
def test_an_error_beside_any_other_word_contradicts_it(service, word):
    target = Target(route=next(iter(service.routes)), id="j-1")
    body = {"success": False, "status": word, "error": {"code": "X", "message": "internal"}}
    with pytest.raises(UnexpectedReply, match=r"success=false: .*internal"):
        converse(poll_one(service, target), response(body))
