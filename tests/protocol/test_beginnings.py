"""Replies that are too large: what their beginning may tell, cut at any byte, and what it must not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import DocStatusError, ReplyTooLarge, UnexpectedReply, UnknownWord
from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.messages import Response
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import JOB, acme, converse, cut_off, error_of, refusal, response

many = settings(max_examples=200, deadline=None, derandomize=True, database=None)

LONG = "x" * 300
LIMIT = 200
SERVICE = acme(
    status=("job.status", "status"),
    flag="ok",
    partial=("meta.bad", "counts.bad"),
    good="counts.good",
    counters=("counts.pages", "counts.bad"),
    errors=("error.code error.message",),
    details={"pages": ("pages",)},
)


def cut(body: Any, limit: int = LIMIT, *, text: str | bytes | None = None, code: int = 200) -> Response:
    return cut_off(response(body, code, text=text), limit)


def polled(service: ServiceDescription, reply: Response) -> DocumentStatus:
    return converse(poll_one(service, JOB), reply)[0]


# -- what decides, before or after the cut -----------------------------------------------------------------------

#: All that decides about a success of :data:`SERVICE`, in good order.
GOOD: dict[str, Any] = {"job": {"status": "done"}, "ok": True, "meta": {"bad": []}, "counts": {"bad": 0, "good": 3}}


def test_what_decides_may_stand_before_the_data():
    assert polled(SERVICE, cut({**GOOD, "data": LONG})).state is State.SUCCEEDED
    assert polled(SERVICE, cut({**GOOD, "meta": {"bad": [1]}, "data": LONG})).state is State.PARTIAL
    assert polled(SERVICE, cut({**GOOD, "ok": False, "data": LONG})).state is State.FAILED
    assert polled(SERVICE, cut({**GOOD, "counts": {"bad": 1, "good": 0}, "data": LONG})).state is State.FAILED


@pytest.mark.parametrize("late", list(GOOD))
def test_a_success_is_none_while_something_that_decides_may_come(late):
    body = {name: value for name, value in GOOD.items() if name != late}
    error_of(poll_one(SERVICE, JOB), cut({**body, "data": LONG, late: GOOD[late]}), kind=ReplyTooLarge)


def test_null_says_that_nothing_stands_there():
    for name in ("ok", "meta", "counts"):
        assert polled(SERVICE, cut({**GOOD, name: None, "data": LONG})).state is State.SUCCEEDED
    assert polled(SERVICE, cut({**GOOD, "meta": {"bad": None}, "counts": [], "data": LONG})).state is State.SUCCEEDED
    assert polled(SERVICE, cut({**GOOD, "job": None, "status": "done", "data": LONG})).state is State.SUCCEEDED
    error_of(poll_one(SERVICE, JOB), cut({**GOOD, "job": {"id": 1}, "status": "done", "data": LONG}), kind=ReplyTooLarge)
    error_of(poll_one(SERVICE, JOB), cut({**GOOD, "job": None, "data": LONG}), kind=ReplyTooLarge)


@pytest.mark.parametrize("word", ["running", "failed", "cancelled", "review", "partly"])
def test_any_other_word_decides_alone(word):
    assert polled(SERVICE, cut({"job": {"status": word}, "data": LONG})).state is SERVICE.states[word]


def test_a_word_at_its_second_place_may_not_be_the_one_that_counts():
    late = cut({"status": "running", "data": LONG, "job": {"status": "failed"}})
    error_of(poll_one(SERVICE, JOB), late, kind=ReplyTooLarge)
    assert polled(acme(), cut({"status": "done", "data": LONG})).state is State.SUCCEEDED


def test_a_wrapped_reply_may_have_a_word_beside_it():
    late = cut({"data": {"status": "done", "text": LONG}, "status": "failed"})
    error_of(poll_one(acme(inside="data"), JOB), late, kind=ReplyTooLarge)


@pytest.mark.parametrize(
    ("beginning", "state"),
    [
        ("[", None),
        ('["', None),
        (f'["{LONG}', None),
        ("{", None),
        ('{"page', None),
        ('{"page": ', None),
        ('"', None),
        (f'"{LONG}', None),
        ("1", None),
        ("[]", State.SUCCEEDED),
        ("0", State.SUCCEEDED),
        ('["x", ', State.PARTIAL),
        ('[{"message": "x", ', State.PARTIAL),
        ('{"details": 1, ', State.PARTIAL),
        ('{"no name that is read": 1, ', None),
        ('"x"', State.PARTIAL),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_list_that_has_only_begun_is_not_an_empty_one(beginning, state):
    service = acme(partial=("bad",))
    whole = '{"status": "done", "bad": ' + beginning + (", " if state and beginning[-1:] in '0]"' else "")
    reply = cut_off(response(text=whole + "0"), len(whole))  # one byte more than the limit is read
    if state is None:
        error_of(poll_one(service, JOB), reply, kind=ReplyTooLarge)
    else:
        assert polled(service, reply).state is state


def test_jobs_inside_are_not_read_from_a_beginning():
    service = acme(children="parts", child=Route(path="", ids=("id",)))
    error_of(poll_one(service, JOB), cut({"status": "done", "parts": [], "data": LONG}), kind=ReplyTooLarge)


def test_a_word_nobody_knows_is_named_all_the_same():
    error_of(poll_one(acme(), JOB), cut({"status": "odd", "data": LONG}), kind=UnknownWord)


def test_another_id_in_the_beginning_is_another_job():
    text = refusal(poll_one(acme(), JOB), cut({"job_id": "j-2", "status": "done", "data": LONG}), kind=UnexpectedReply)
    assert "another id" in text


@pytest.mark.parametrize("code", [206, 409])
def test_a_code_counts_for_a_beginning_too(code):
    service = acme(codes={206: State.PARTIAL, 409: State.EXPIRED})
    assert polled(service, cut({"status": "done", "data": LONG}, code=code)).state is service.routes["job"].codes[code]


def test_the_data_of_a_reply_that_is_too_large_is_not_taken_from_its_beginning():
    service = acme(result=ResultRoute(take="data"))
    flow = fetch_result(service, JOB, status=None, content=None, options={})
    assert "more than 200 bytes; raise 'max_reply_bytes'" in refusal(
        flow, cut({"status": "done", "data": LONG}), kind=ReplyTooLarge
    )


# -- cut anywhere ------------------------------------------------------------------------------------------------

BODIES = {
    "plain": {"job_id": "j-1", **GOOD, "pages": 1234, "data": "text"},
    "data first": {"data": ["t", {"a": [1.5e10, -2]}], **GOOD},
    "escapes": {'\u00e9\n"\\': '\u20ac\U0001f600\\"\t', **GOOD, "data": "\u20ac" * 9},
    "partial": {**GOOD, "meta": {"bad": [{"page": 12, "why": "torn"}, "x"]}, "data": "text"},
    "counted": {**GOOD, "counts": {"pages": 345, "bad": 12, "good": 10}, "data": "text"},
    "none good": {**GOOD, "counts": {"pages": 345, "bad": 12, "good": 0}, "data": "text"},
    "flag": {**GOOD, "ok": False, "error": {"code": "E\u00e9", "message": "torn"}, "data": "text"},
    "failed": {"job": {"status": "failed"}, "error": {"code": "E1", "message": "a \u20ac"}, "data": [[], {}, [[1]]]},
    "running": {"pages": 12, "job": {"status": "running"}, "data": None},
    "second place": {"status": "done", **{name: value for name, value in GOOD.items() if name != "job"}, "data": "text"},
    "literals": {"a": True, "b": None, "c": [False, -0.5e-3], **GOOD, "data": {}},
}


def check_cut(service: ServiceDescription, raw: bytes, limit: int) -> DocumentStatus | None:
    """Poll a reply with a limit; whatever comes out of a beginning must be what the whole reply says."""
    whole = polled(service, replace(response(text=raw), limit=len(raw)))
    try:
        status = polled(service, cut_off(response(text=raw), limit))
    except ReplyTooLarge:
        return None
    assert (status.state, status.word) == (whole.state, whole.word)
    assert status.counters.items() <= whole.counters.items()
    assert status.details.items() <= whole.details.items()
    return status


@pytest.mark.parametrize("plainly", [True, False], ids=["ascii", "utf-8"])
@pytest.mark.parametrize("name", BODIES)
def test_at_whatever_byte_a_reply_is_cut_its_beginning_says_nothing_false(name, plainly):
    raw = json.dumps(BODIES[name], ensure_ascii=plainly).encode()
    found = [check_cut(SERVICE, raw, limit) for limit in range(len(raw))]
    whole = polled(SERVICE, response(text=raw))
    assert all((whole.message or "").startswith(status.message or "") for status in found if status is not None)
    told = [status is not None for status in found]
    assert told == sorted(told), "what a beginning tells, a longer one tells as well"
    assert not told[0]
    if name not in ("second place", "data first"):
        assert any(told)


@pytest.mark.parametrize("blank", [b" ", b"\n\t "])
def test_blanks_and_a_byte_order_mark_change_nothing(blank):
    raw = b"\xef\xbb\xbf" + json.dumps(BODIES["partial"], indent=1).encode().replace(b"\n", blank)
    found = [check_cut(SERVICE, raw, limit) for limit in range(len(raw))]
    assert any(found)


@pytest.mark.parametrize("name", ["partial", "flag", "running"])
def test_a_result_that_is_cut_anywhere_decides_nothing_falsely(name):
    route = replace(SERVICE.routes["job"], partial=(), flag="", status=("word",))
    result = ResultRoute(path="/results/{id}", status=("job.status",), errors=("error.message",), failure="error", decides=True)
    service = replace(SERVICE, routes={"job": replace(route, result=result)})
    raw = json.dumps(BODIES[name]).encode()
    done = response({"word": "done"})
    whole = converse(poll_one(service, JOB), done, response(BODIES[name]))[0]
    for limit in range(len(raw)):
        status = converse(poll_one(service, JOB), done, cut_off(response(BODIES[name]), limit))[0]
        assert status.state in (whole.state, State.SUCCEEDED)  # the latter is what the status said


numbers = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False)
plain = st.none() | st.booleans() | numbers | st.text(max_size=6)
values = st.recursive(
    plain, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3)
)
bodies = st.fixed_dictionaries(
    {"job": st.fixed_dictionaries({"status": st.sampled_from(["done", "running", "failed", "partly"])}, optional={"x": values})},
    optional={
        "ok": st.booleans() | st.none(),
        "meta": st.fixed_dictionaries({}, optional={"bad": st.lists(values, max_size=2) | plain, "x": values}),
        "counts": st.fixed_dictionaries({}, optional={name: numbers | st.none() for name in ("bad", "good", "pages")}),
        "error": values,
        "pages": plain,
        "data": values,
        "more": values,
    },
)


@many
@given(body=bodies, order=st.randoms(use_true_random=False), part=st.floats(0, 1), plainly=st.booleans())
def test_whatever_a_reply_holds_its_beginning_says_nothing_false(body, order, part, plainly):
    names = list(body)
    order.shuffle(names)
    raw = json.dumps({name: body[name] for name in names}, ensure_ascii=plainly).encode("utf-8", "surrogatepass")
    try:
        polled(SERVICE, replace(response(text=raw), limit=len(raw)))
    except DocStatusError:
        return
    check_cut(SERVICE, raw, int(part * (len(raw) - 1)))


@many
@given(raw=st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789.eE+-\\u \n"status""done"', max_size=60).map(str.encode))
def test_whatever_bytes_come_only_our_errors_do(raw):
    for limit in {0, len(raw) // 2, max(len(raw) - 1, 0)}:
        try:
            polled(SERVICE, cut_off(response(text=raw), limit))
        except DocStatusError:
            continue
