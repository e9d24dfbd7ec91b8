"""The request that a flow yields, and the response it is sent back."""

from __future__ import annotations

import json
from dataclasses import fields
from io import BytesIO

import pytest

from airflow_provider_docstatus.protocol.messages import Request, Response
from tests.conversations import NOW, response

REQUEST = Request(path="/jobs/a%2Bb", route="/jobs/{job_id}", query={"a": "b"}, key_optional=True, expected_codes={400})
#: A value for each field that a request may have besides path, route and prefix.
EVERYTHING = {
    "query": {"a": ("b", "c")},
    "json": {"a": 1},
    "key_optional": True,
    "expected_codes": {400},
    "missing_route_codes": {404},
    "refuses_in_text": True,
    "host": "https://other.example.com",
    "link": "https://storage.example.com/x?sig=1",
    "long_poll": ("wait", 30.0),
    "into": BytesIO(),
}


# -- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "method"), [(None, "GET"), ({}, "POST"), ({"a": 1}, "POST")], ids=str)
def test_a_request_with_a_body_is_a_post(body, method):
    request = Request(path="/x", route="/x", json=body)
    assert (request.method, request.label) == (method, f"{method} /x")


def test_a_label_names_the_route_below_its_prefix_and_never_the_id():
    assert REQUEST.label == "GET /jobs/{job_id}"
    assert REQUEST.below("/v1").label == "GET /v1/jobs/{job_id}"


def test_the_same_request_can_be_sent_below_another_prefix():
    moved = REQUEST.below("/v1").below("/api/v1")
    assert (moved.prefix, moved.path, moved.label) == ("/api/v1", "/jobs/a%2Bb", "GET /api/v1/jobs/{job_id}")
    assert moved.below("") == REQUEST


def test_nothing_of_a_request_is_lost_below_another_prefix():
    assert {field.name for field in fields(Request)} == {*EVERYTHING, "path", "route", "prefix"}
    moved = Request(path="/x", route="/x", **EVERYTHING).below("/v1")
    assert moved == Request(path="/x", route="/x", prefix="/v1", **EVERYTHING)


# -- responses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "too_large"), [(10, False), (11, True)])
def test_a_body_is_too_large_from_one_byte_over_the_limit(length, too_large):
    got = Response(request=REQUEST, code=200, headers={}, body=b"x" * length, limit=10, received_at=NOW)
    assert got.is_too_large is too_large


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{", b"\xff\xfe\x00", b"[" * 60_000, b'{"a": ' * 60_000],
    ids=["empty", "html", "cut", "bytes", "deep list", "deep dict"],
)
def test_what_is_no_json_is_a_value_error(body):
    with pytest.raises(ValueError):  # noqa: PT011 -- JSON and text errors alike
        response(text=body).json()


def test_a_body_that_is_no_json_is_text():
    assert response(text="Rate limit exceeded").json_or_text() == "Rate limit exceeded"
    assert response(text=b"caf\xe9").json_or_text() == "caf\ufffd"
    assert response(text='"quoted"').json_or_text() == "quoted"


@pytest.mark.parametrize(
    ("kind", "is_html"),
    [
        ("text/html", True),
        ("Text/HTML; charset=utf-8", True),
        ("application/xhtml+xml", True),
        ("application/json", False),
        ("", False),
    ],
)
def test_a_web_page_is_what_calls_itself_one(kind, is_html):
    assert response(text="<html>", headers={"content-type": kind}).is_html is is_html
    assert not Response(request=REQUEST, code=200, headers={}, body=b"<html>", limit=10, received_at=NOW).is_html


@pytest.mark.parametrize(
    ("code", "body", "is_no_route"),
    [
        (404, {"detail": "Not Found"}, True),
        (404, {"detail": "Request not found"}, False),
        (404, {"detail": "Not Found", "id": "r-1"}, False),
        (404, "Not Found", False),
        (410, {"detail": "Not Found"}, False),
        (200, {"detail": "Not Found"}, False),
    ],
    ids=str,
)
def test_only_the_frameworks_own_404_says_that_there_is_no_such_route(code, body, is_no_route):
    assert response(text=json.dumps(body), code=code).is_no_route is is_no_route
