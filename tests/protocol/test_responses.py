"""Which error an HTTP response is, and what it says about the rate limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import (
    KeyRejected,
    NoSuchRoute,
    NotFound,
    QuotaExhausted,
    RateLimited,
    ReplyTooLarge,
    RequestRejected,
    ResultNotStorable,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.exact import DoubleKeys, HugeNumber
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.responses import (
    LONGEST_HINT,
    RateLimitSignal,
    is_unavailable,
    raise_if_unavailable,
    rate_limit_signal,
    read_object,
    redirect_target,
    retry_after,
    vendor_text,
)
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from tests.conversations import HTML, LIMIT, NOW, error_of, refusal, response

WITH_RESET = replace(AITRONOS, retry_headers=("x-reset",))
REQUEST = Request(path="/documents/jobs/j-1", route="/documents/jobs/{job_id}", prefix="/v1")
BATCH = Request(path="/jobs/status", route="/jobs/status", missing_route_codes={400, 404, 405, 410, 422, 501})
RESULT = Request(path="/jobs/j-1/result", route="/jobs/{id}/result", expected_codes={400, 500})


def got(*args: Any, request: Request = REQUEST, **more: Any) -> Response:
    return response(*args, request=request, **more)


# -- how long to wait --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": str(LONGEST_HINT)}, LONGEST_HINT),
        ({"retry-after": str(LONGEST_HINT + 1)}, None),
        ({"retry-after": str(int(NOW * 1000))}, None),
        ({"retry-after": "Mon, 16 Dec 2054 10:30:20 GMT"}, None),
        ({"retry-after": "999999999", "x-reset": "30"}, 30.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Mon, 16 Dec 2024 10:30:20 GMT"}, 20.0),
        ({"retry-after": "Mon, 16 Dec 2024 10:30:20"}, 20.0),
        ({"retry-after": "Mon, 16 Dec 2024 12:30:20 +0200"}, 20.0),
        ({"retry-after": "Mon, 16 Dec 2024 10:29:00 GMT"}, 0.0),
        ({"x-reset": str(NOW + 30)}, 30.0),
        ({"x-reset": "30"}, 30.0),
        ({"retry-after": "5", "x-reset": "30"}, 5.0),
        ({"retry-after": "soon", "x-reset": "30"}, 30.0),
        ({"retry-after": "nan", "x-reset": "30"}, 30.0),
        ({"retry-after": "Mon, 99 Dec 2024 10:30:20 GMT"}, None),
        ({"retry-after": ""}, None),
        ({"other": "5"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_wait_is_read_from_seconds_dates_and_epochs(headers, seconds):
    assert retry_after(WITH_RESET, response({}, 429, headers=headers)) == seconds


WITH_MILLISECONDS = replace(AITRONOS, retry_headers=("retry-after-ms", "x-reset"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "0"}, 0.0),
        ({"retry-after-ms": "-5"}, 0.0),
        ({"retry-after": "3", "retry-after-ms": "1500"}, 3.0),
        ({"retry-after-ms": "1500", "x-reset": "30"}, 1.5),
        ({"retry-after-ms": "soon", "x-reset": "30"}, 30.0),
        ({"retry-after-ms": "nan", "x-reset": "30"}, 30.0),
        ({"retry-after-ms": str(LONGEST_HINT * 1000 + 1000)}, None),
        ({"retry-after-ms": str(int(NOW * 1000) + 2500)}, 2.5),  # an epoch time, as in the other headers
    ],
    ids=str,
)
def test_a_header_that_ends_in_ms_is_read_as_milliseconds_on_a_429(headers, seconds):
    assert retry_after(WITH_MILLISECONDS, response({}, 429, headers=headers)) == seconds
    on_503 = None if "retry-after" not in headers else float(headers["retry-after"])
    assert retry_after(WITH_MILLISECONDS, response({}, 503, headers=headers)) == on_503


def test_a_number_of_too_many_digits_does_not_keep_a_status_from_being_read():
    body = read_object(AITRONOS, got(text='{"status": "completed", "data": {"a": ' + "9" * 5000 + "}}"), id="j-1")
    assert body["status"] == "completed"
    assert isinstance(body["data"]["a"], HugeNumber)


def test_json_that_python_cannot_read_is_the_documents_fault_and_no_proxys():
    said = refusal(lambda: read_object(AITRONOS, got(text="[" * 2000 + "]" * 2000), id="j-1"), kind=ReplyTooLarge)
    assert "for j-1 with " in said
    assert "than can be read. Nothing written in Python, such as Airflow, can carry that." in said


def test_a_reply_that_has_data_is_read_once_and_marks_what_python_loses():
    reply = got(text='{"a": {"b": 1, "b": 2}, "c": 1e400, "d": ' + "9" * 5000 + "}")
    body = read_object(AITRONOS, reply, id="j-1", has_data=True)
    assert isinstance(body["a"], DoubleKeys)
    assert isinstance(body["c"], HugeNumber)
    assert isinstance(body["d"], HugeNumber)
    assert read_object(AITRONOS, reply, id="j-1") is body
    refusal(lambda: read_object(AITRONOS, got(text="<html>"), id="j-1", has_data=True), kind=UnexpectedReply)


def test_data_of_more_levels_than_python_reads_is_named_with_its_place():
    deep = got(text='{"a": {"b": ' + "[" * 2000 + "]" * 2000 + "}}")
    said = refusal(lambda: read_object(AITRONOS, deep, id="j-1", has_data=True), kind=ResultNotStorable)
    assert "data of j-1 has more levels of lists and objects than can be read at a.b[0][0]" in said
    assert "Nothing written in Python carries that." in said
    assert "output_path" not in said, "no file helps where the status cannot be read"


@pytest.mark.parametrize("code", [200, 202, 304, 400, 403, 404, 408, 425, 500, 502, 503, 504])
def test_a_vendors_header_counts_on_a_429_only_and_retry_after_on_a_503_and_a_good_reply_as_well(code):
    assert retry_after(WITH_RESET, response({}, code, headers={"x-reset": "30"})) is None
    assert retry_after(WITH_RESET, response({}, code, headers={"retry-after": "30"})) == (
        30.0 if code in (200, 202, 503) else None
    )


# -- the rate limit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "headers", "signal"),
    [
        (429, {"retry-after": "7"}, RateLimitSignal(is_throttled=True, retry_after=7.0)),
        (429, {}, RateLimitSignal(is_throttled=True)),
        (503, {"retry-after": "7"}, RateLimitSignal(is_throttled=True, retry_after=7.0)),
        (503, {}, RateLimitSignal(is_throttled=False)),
        (500, {"retry-after": "7"}, RateLimitSignal(is_throttled=False)),
        (200, {"retry-after": "7"}, RateLimitSignal(is_throttled=False)),
        (200, {}, RateLimitSignal(is_throttled=False)),
        (401, {}, RateLimitSignal(is_throttled=False)),
    ],
    ids=["429", "429 without a time", "503", "503 without a time", "500", "200 with a time", "200", "401"],
)
def test_the_service_is_throttled_by_a_429_or_a_503_with_a_time(code, headers, signal):
    assert rate_limit_signal(AITRONOS, response({}, code, headers=headers)) == signal


@pytest.mark.parametrize(
    ("remaining", "reset", "resumes_at"),
    [
        ("0", str(int(NOW) + 9), NOW + 9),
        ("0", f"{NOW + 9.7}", NOW + 9),
        ("0", str(int(NOW) + 3600), NOW + 3600),
        ("0", str(int(NOW) + 3601), None),
        ("0", str(int(NOW)), None),
        ("0", "9", None),
        ("0", "soon", None),
        ("0", None, None),
        ("1", str(int(NOW) + 9), None),
        ("none", str(int(NOW) + 9), None),
        (None, str(int(NOW) + 9), None),
    ],
    ids=str,
)
def test_the_last_call_of_a_window_tells_when_the_next_begins(remaining, reset, resumes_at):
    told = {"x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}
    headers = {name: value for name, value in told.items() if value is not None}
    signal = rate_limit_signal(AITRONOS, response({}, headers=headers))
    assert (signal.is_throttled, signal.resumes_at) == (False, resumes_at)
    assert rate_limit_signal(NEUROLINKER, response({}, headers=headers)).resumes_at is None


def test_a_throttled_response_has_its_wait_and_no_window():
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 9), "retry-after": "2"}
    signal = RateLimitSignal(is_throttled=True, retry_after=2.0)
    assert rate_limit_signal(AITRONOS, response({}, 429, headers=headers)) == signal


# -- ask again later ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_a_code_that_says_later_is_service_unavailable(code):
    assert is_unavailable(code)
    kind = RateLimited if code == 429 else ServiceUnavailable
    reply = got({"detail": "m"}, code, headers={"retry-after": "3"})
    error = error_of(lambda: raise_if_unavailable(AITRONOS, reply), kind=kind)
    assert str(error) == f"Aitronos answered GET /v1/documents/jobs/{{job_id}} with {code}: m"
    assert error.retry_after == (3.0 if code in (429, 503) else None)
    assert (error.service, error.id) == ("aitronos", None)


@pytest.mark.parametrize("code", [200, 204, 301, 400, 401, 402, 403, 404, 405, 409, 410, 418, 422, 499])
def test_any_other_code_is_no_reason_to_ask_again(code):
    assert not is_unavailable(code)
    raise_if_unavailable(AITRONOS, got({}, code))


def test_a_used_up_account_is_no_reason_to_ask_again():
    reply = got(text="Usage limit exceeded", code=429)
    raise_if_unavailable(UNSILOED, reply)
    assert "quota" in refusal(lambda: read_object(UNSILOED, reply), kind=QuotaExhausted)


def test_a_code_that_is_a_state_on_this_route_is_none_of_the_service_unless_a_proxy_sent_it():
    raise_if_unavailable(UNSILOED, got({"detail": "PDF corrupted"}, 500, request=RESULT))
    page = got(text="<html>", code=500, headers=HTML, request=RESULT)
    refusal(lambda: raise_if_unavailable(UNSILOED, page), kind=ServiceUnavailable)
    refusal(lambda: raise_if_unavailable(UNSILOED, got({}, 502, request=RESULT)), kind=ServiceUnavailable)


# -- the object, or the error ------------------------------------------------------------------------------------


def test_a_good_response_is_its_object():
    assert read_object(AITRONOS, got({"a": 1})) == {"a": 1}
    assert read_object(AITRONOS, got({}, 201)) == {}


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (got({}, 400), RequestRejected, 400),
        (got({}, 401), KeyRejected, 401),
        (got({}, 402), QuotaExhausted, 402),
        (got({}, 403), KeyRejected, 403),
        (got({}, 404), NotFound, 404),
        (got({}, 405), RequestRejected, 405),
        (got({}, 410), NotFound, 410),
        (got({}, 422), RequestRejected, 422),
        (got({}, 405, request=BATCH), NoSuchRoute, 405),
        (got({}, 422, request=BATCH), NoSuchRoute, 422),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_refusal_carries_the_code_and_the_id(reply, kind, code):
    error = error_of(lambda: read_object(AITRONOS, reply, id="j-1"), kind=kind)
    assert (error.code, error.service, error.id) == (code, "aitronos", "j-1")


def test_only_a_410_says_that_the_id_was_known_once():
    for code in (404, 410):
        error = error_of(lambda code=code: read_object(AITRONOS, got({}, code)), kind=NotFound)
        assert error.is_gone is (code == 410)


def test_an_error_about_several_ids_names_none():
    error = error_of(lambda: read_object(AITRONOS, got({"detail": "m"}, 418)))
    assert str(error) == "Aitronos answered GET /v1/documents/jobs/{job_id} with 418: m. Check the id and the connection."
    assert error.id is None


@pytest.mark.parametrize("code", [400, 401, 404, 418, 429])
def test_a_web_page_is_a_proxys_whatever_its_code(code):
    page = got(text="<html>Usage limit exceeded", code=code, headers=HTML)
    kind = RateLimited if code == 429 else UnexpectedReply
    error = error_of(lambda: read_object(AITRONOS, page), kind=kind)
    assert ("or is the host wrong? If not, check the key" in str(error)) is (code != 429)


# -- what a response says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (response({"detail": "m"}, 404), "m"),
        (response({"error": {"code": "C", "message": "m"}}, 404), "C: m"),
        (response(text="plain\ntext", code=404), "plain text"),
        (response({}, 404), None),
        (response(text="<html>m", code=404, headers=HTML), None),
        (response(text="x" * (LIMIT + 1), code=404), None),
    ],
    ids=["json", "the vendor's own envelope", "text", "nothing", "a web page", "too large"],
)
def test_the_vendors_text_is_read_but_not_a_proxys(reply, text):
    assert vendor_text(AITRONOS, reply) == text


@pytest.mark.parametrize(
    ("location", "host"),
    [("https://login.example/?to=x", "login.example"), ("/v1/x", None), ("", None), ("https://[::1", None), (None, None)],
    ids=str,
)
def test_a_redirect_that_is_no_url_leads_nowhere(location, host):
    assert redirect_target(response(code=302, headers={} if location is None else {"location": location})).hostname == host


def test_a_web_page_in_the_place_of_a_state_is_a_proxys():
    """400 carries a job's state on that route; a page of HTML does not, and the route is not missing either."""
    reply = response(code=400, text="<html>Bad Request</html>", headers={"content-type": "text/html"}, request=RESULT)
    with pytest.raises(UnexpectedReply, match="is there a proxy"):
        read_object(UNSILOED, reply, id="j-1")
