"""What a connection says, and what it may not say."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import certifi
import pytest
from requests.structures import CaseInsensitiveDict

from airflow_provider_docstatus.exceptions import KeyRejected, RequestRejected, ServiceUnavailable
from airflow_provider_docstatus.protocol.flows import poll_one, run, status_request
from airflow_provider_docstatus.protocol.messages import Flow, Request, Response
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, SERVICES, UNSILOED
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.transport import aio
from airflow_provider_docstatus.transport.connection import Endpoint
from airflow_provider_docstatus.transport.redaction import forms_of
from airflow_provider_docstatus.transport.settings import SETTINGS
from tests.conversations import NOW

KEY = "nl_0123456789abcdef"
NEEDS_KEY = Request(path="/x", route="/x", prefix="/v1")
OPTIONAL_KEY = Request(path="/x", route="/x", prefix="/v1", key_optional=True)


@dataclass
class Connection:
    """The fields of an Airflow connection."""

    conn_id: str = "docs"
    conn_type: str | None = "neurolinker"
    host: str | None = None
    schema: str | None = None
    port: int | None = None
    password: str | None = KEY


def endpoint(extra: Any = None, **fields: Any) -> Endpoint:
    return Endpoint.from_connection(Connection(**fields), {} if extra is None else extra)


def refusal(extra: Any = None, **fields: Any) -> str:
    with pytest.raises(RequestRejected) as caught:
        endpoint(extra, **fields)
    message = str(caught.value)
    assert "'docs'" in message, "it names the connection"
    assert KEY not in message
    return message


# -- which service -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_connection_with_a_key_and_nothing_else_is_enough(service):
    own = {} if service.host else {"host": "https://own.example.com"}  # where each deployment has its own
    plain = endpoint(conn_type=service.name, **own)
    host = service.host or own["host"]
    assert plain.service == replace(service, status_hosts=(*service.status_hosts, urlsplit(host).hostname))
    assert plain.base_url == host
    assert plain.prefix == service.prefixes[0]
    assert plain.auth == next(iter(service.auth.values()))
    assert (plain.operation, plain.proxy, plain.ca_bundle) == (None, None, None)
    for name in ("calls_per_second", "calls_per_minute", "calls_per_day"):
        assert getattr(plain, name) == getattr(service, name)
    for name in ("request_timeout", "long_poll", "max_reply_bytes", "share"):
        assert getattr(plain, name) == SETTINGS[name].default


@pytest.mark.parametrize("conn_type", ["http", "docstatus_", "", None, "Neurolinker"], ids=str)
def test_a_connection_of_another_type_is_refused_with_the_command_that_makes_one(conn_type):
    message = refusal(conn_type=conn_type)
    shown, more = ", ".join([*SERVICES][:3]), len(SERVICES) + 1 - 3
    assert f"has type {conn_type!r}; this package reads {shown} and {more} more types (airflow providers hooks " in message
    near = {"docstatus_": "docstatus", "Neurolinker": "neurolinker"}.get(conn_type)
    other = "For another service install its package, or use type docstatus with a description. Make one with"
    assert (f"lists them); did you mean {near}? Make one with" if near else f"lists them). {other}") in message
    assert len(message) < 330
    assert "airflow connections add docs_docstatus --conn-type neurolinker --conn-password <API key>" in message


# -- the settings ------------------------------------------------------------------------------------------------

READ = {
    "operation": ("parse", lambda found: found.operation == "parse"),
    "region": ("eu", lambda found: found.base_url == "https://eu.example.com"),
    "auth": ("x_api_key", lambda found: found.key_header() == {"X-API-Key": KEY}),
    "prefix": ("v9/", lambda found: found.prefix == "/v9"),
    "headers": ('{"X-Tenant-Id": "t-1"}', lambda found: found.own_headers == {"X-Tenant-Id": "t-1"}),
    "status_words": ({"Archived ": "succeeded"}, lambda found: found.service.states["archived"] is State.SUCCEEDED),
    "calls_per_second": ("1.5", lambda found: found.calls_per_second == 1.5),
    "calls_per_minute": ("120", lambda found: found.calls_per_minute == 120.0),
    "calls_per_day": ("1e9", lambda found: found.calls_per_day == 1e9),
    "zero_retention": ("true", lambda found: found.zero_retention is True),
    "share": (0.5, lambda found: found.share == 0.5),
    "request_timeout": (5, lambda found: found.request_timeout == 5.0),
    "long_poll": ("20", lambda found: found.long_poll == 20.0),
    "max_reply_bytes": (1000.0, lambda found: found.max_reply_bytes == 1000),
    "proxy": ("http://proxy:3128", lambda found: found.proxy == "http://proxy:3128"),
    "ca_bundle": (__file__, lambda found: found.trusted_ca == __file__),
    "link_hosts": ("a.example.com, 10.0.0.0/8", lambda found: found.link_hosts.match("a.example.com")),
    "allow_http": (True, lambda found: found.base_url == "http://example.com"),
}


def test_every_setting_is_read_by_a_test():
    assert set(READ) == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_read(name, monkeypatch):
    more = {"regions": {"eu": "https://eu.example.com"}, "connection_headers": ("X-Tenant-Id",)}
    monkeypatch.setitem(SERVICES, "unsiloed", replace(UNSILOED, **more))
    value, is_read = READ[name]
    host = "http://example.com" if name == "allow_http" else None
    assert is_read(endpoint({name: value}, conn_type="unsiloed", host=host))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_left_empty_is_its_default(name):
    """The forms of Airflow 2.11 to 3.1 save what was not filled in as an empty text."""
    assert endpoint({name: ""}) == endpoint({name: None}) == endpoint()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"hots": "x", "pol": 1}, "extra has unknown keys: hots, pol; the keys are operation, region, auth"),
        ({"auth": "basic"}, "auth is not one of bearer"),
        ({"operation": "extract"}, "extra's operation does not fit: Neurolinker has no operations"),
        ({"request_timeout": 0}, "request_timeout=0 must be a number above 0"),
        ({"request_timeout": "soon"}, "request_timeout='soon' must be a number above 0"),
        ({"request_timeout": True}, "must be a number above 0"),
        ({"request_timeout": [5]}, "must be a number above 0"),
        ({"request_timeout": "nan"}, "must be a number above 0"),
        ({"request_timeout": "inf"}, "must be a number above 0"),
        ({"long_poll": -1}, "long_poll=-1 must be a number above 0, or 0"),
        ({"long_poll": True}, "long_poll=True must be a number above 0, or 0"),
        ({"long_poll": "nan"}, "long_poll='nan' must be a number above 0, or 0"),
        ({"max_reply_bytes": -1}, "max_reply_bytes=-1 must be a number above 0"),
        ({"calls_per_second": 0}, "calls_per_second=0 must be a number above 0"),
        ({"calls_per_minute": 0}, "calls_per_minute=0 must be a number above 0"),
        ({"calls_per_day": -1}, "calls_per_day=-1 must be a number above 0"),
        ({"calls_per_day": "unlimited"}, "calls_per_day='unlimited' must be a number above 0"),
        ({"calls_per_day": 10**400}, "must be a number above 0"),
        ({"status_words": "[" * 100_000}, "status_words must map"),
        ({"share": 0}, "share=0 must be a number above 0"),
        ({"allow_http": "yes"}, "allow_http='yes' must be true or false"),
        ({"allow_http": 1}, "allow_http=1 must be true or false"),
        ({"status_words": "{"}, "status_words must map vendor words to one of running, succeeded, partial"),
        ({"status_words": "[]"}, "status_words must map"),
        ({"status_words": ["archived"]}, "status_words must map"),
        ({"status_words": 7}, "status_words must map"),
        ({"status_words": {"archived": "done"}}, "status_words must map"),
        ({"status_words": {"archived": ["failed"]}}, "status_words must map"),
        ({"status_words": {" ": "succeeded"}}, "status_words has an empty word"),
        (
            {"status_words": {"failed": "running"}},
            "too much away: neurolinker: words: no vendor word means failed",
        ),
        ([], "extra must be a JSON object, it is a list"),
        ("text", "extra must be a JSON object, it is a str"),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_with_what_it_may_be(extra, said):
    assert said in refusal(extra)


def test_an_operation_the_service_does_not_have_is_refused_when_the_connection_is_read():
    assert "no operation 'translate'; use one of extract" in refusal({"operation": "translate"}, conn_type="unsiloed")


@pytest.mark.parametrize("words", [{"Archived": "failed"}, '{"Archived": "failed"}'], ids=["dict", "text"])
def test_taught_words_are_the_connections_own(words):
    taught = endpoint({"status_words": words}).service
    assert taught.states == {**NEUROLINKER.states, "archived": State.FAILED}
    assert "archived" not in NEUROLINKER.states


def test_a_word_can_be_taught_anew():
    assert endpoint({"status_words": {"queued": "failed"}}).service.states["queued"] is State.FAILED


def test_more_than_the_whole_limit_is_the_whole():
    assert endpoint({"share": 7}).share == 1.0


@pytest.mark.parametrize(("prefix", "read"), [("/api/v1", "/api/v1"), ("api/v1/", "/api/v1"), ("/", "")])
def test_a_prefix_is_joined_however_it_is_typed(prefix, read):
    assert endpoint({"prefix": prefix}).prefix == read


# -- the host ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": " "}, NEUROLINKER.host),
        ({"host": "api.example.com"}, "https://api.example.com"),
        ({"host": "API.Example.com/"}, "https://api.example.com"),
        ({"host": "https://api.example.com/"}, "https://api.example.com"),
        ({"host": "HTTPS://api.example.com"}, "https://api.example.com"),
        ({"host": "https://api.example.com:8443"}, "https://api.example.com:8443"),
        ({"host": "api.example.com:8443"}, "https://api.example.com:8443"),
        ({"host": "api.example.com", "port": 8443}, "https://api.example.com:8443"),
        ({"port": 8443}, f"{NEUROLINKER.host}:8443"),
        ({"host": "https://api.example.com/neuro/linker/"}, "https://api.example.com/neuro/linker"),
        ({"host": "api.example.com/neurolinker"}, "https://api.example.com/neurolinker"),
        ({"host": "api.example.com", "schema": "https"}, "https://api.example.com"),
        ({"host": "api.example.com", "schema": "neurolinker"}, "https://api.example.com"),
        ({"host": "127.0.0.1", "schema": "http", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"host": "http://127.8.8.8"}, "http://127.8.8.8"),
        ({"host": "http://localhost:8080"}, "http://localhost:8080"),
        ({"host": "http://LocalHost:8080"}, "http://localhost:8080"),
        ({"host": "http://[::1]:8080"}, "http://[::1]:8080"),
        ({"host": "::1", "schema": "http", "port": 8080}, "http://[::1]:8080"),
        ({"host": "[2001:db8::1]"}, "https://[2001:db8::1]"),
        ({"host": "2001:db8::1"}, "https://[2001:db8::1]"),
    ],
    ids=str,
)
def test_a_host_is_read_however_it_is_typed(fields, base_url):
    assert endpoint(**fields).base_url == base_url


@pytest.mark.parametrize(
    "host",
    [
        "ftp://api.example.com",
        "https://",
        "https://user@api.example.com",
        "https://user:word@api.example.com",
        "https://:word@api.example.com",
        "https://api.example.com?x=1",
        "https://api.example.com#x",
        "https://api example.com",
        "https://api..example.com",
        "https://ap\u0456.example.com",
        "my host",
        "javascript://x@y",
    ],
)
def test_a_host_that_is_more_or_less_than_a_host_is_refused(host):
    message = refusal(host=host)
    assert f"host must look like {NEUROLINKER.host} (no user, query or fragment); the key belongs in the password" in message
    assert "word" not in message.replace("password", "")


@pytest.mark.parametrize("path", ["a b", "\u00fc", "a\\b", 'a"b', "a<b"])
def test_a_path_that_needs_escapes_is_refused(path):
    assert "host has a path with characters that no URL has" in refusal(host=f"https://api.example.com/{path}/v1")


@pytest.mark.parametrize("port", [65536, 99999, -1])
def test_a_port_that_is_none_is_refused(port):
    assert f"port {port} is none: it must be from 1 to 65535" in refusal(port=port)


def test_many_words_are_read_in_one_pass():
    words = {f"word {number}": "running" for number in range(50_000)}
    assert len(endpoint({"status_words": words}).service.states) > len(words)


@pytest.mark.parametrize("host", ["https://api.example.com:99999", "https://api.example.com:x", "https://[::1"])
def test_a_host_that_is_no_url_is_refused(host):
    assert "host is not a URL" in refusal(host=host)


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "http://api.example.com"},
        {"host": "api.example.com", "schema": "http"},
        {"host": "http://10.0.0.1"},
        {"host": "http://localhost.example.com"},
        {"host": "http://127.0.0.1.example.com"},
        {"host": "http://[2001:db8::1]"},
        {"host": "http://0.0.0.0"},
    ],
    ids=str,
)
def test_the_key_does_not_travel_unencrypted_unless_asked_to(fields):
    assert "would send the key unencrypted; use https, or set allow_http" in refusal(**fields)
    assert "unencrypted" in refusal({"allow_http": "False"}, **fields)
    assert endpoint({"allow_http": True}, **fields).base_url.startswith("http://")
    assert endpoint({"allow_http": "true"}, **fields) == endpoint({"allow_http": True}, **fields)


@pytest.mark.parametrize(
    ("service", "host", "extra", "doubled"),
    [
        ("neurolinker", "https://h.example/v1", {}, "/v1"),
        ("neurolinker", "https://h.example/v1/", {}, "/v1"),
        ("neurolinker", "h.example/v1", {}, "/v1"),
        ("neurolinker", "https://h.example/api/v1", {}, "/v1"),
        ("neurolinker", "https://h.example/gateway/v1", {}, "/v1"),
        ("neurolinker", "https://h.example/api/v1", {"prefix": "/api/v1"}, "/api/v1"),
        ("neurolinker", "https://h.example/v1", {"prefix": "/api/v1"}, "/v1"),
        ("neurolinker", "https://h.example/api", {"prefix": "/api/v1"}, "/api"),
        ("aitronos", "https://h.example/v1", {}, "/v1"),
        ("aitronos", "https://h.example/v1", {"prefix": "v1/"}, "/v1"),
        ("aitronos", "https://h.example/eu/v2", {"prefix": "/v2"}, "/v2"),
        ("unsiloed", "https://h.example/v2", {"prefix": "/v2"}, "/v2"),
        ("unsiloed", "https://h.example/a/b", {"prefix": "/a/b/c"}, "/a/b"),
    ],
    ids=str,
)
def test_a_host_that_ends_in_the_path_prefix_is_refused_with_the_remedy(service, host, extra, doubled):
    said = f"host ends in {doubled}, which is the path prefix and is added to it; leave it out of the host"
    assert said in refusal(extra, conn_type=service, host=host)


@pytest.mark.parametrize(
    ("service", "host", "extra", "url"),
    [
        ("neurolinker", "https://gateway.example/neurolinker", {}, "https://gateway.example/neurolinker/v1/x"),
        ("neurolinker", "https://h.example/api", {}, "https://h.example/api/v1/x"),
        ("aitronos", "https://h.example/v1", {"prefix": "/"}, "https://h.example/v1/x"),
        ("aitronos", "https://h.example", {"prefix": "/v1/v1"}, "https://h.example/v1/v1/x"),
        ("aitronos", "https://h.example/v1/eu", {}, "https://h.example/v1/eu/v1/x"),
        ("aitronos", "https://h.example/dev1", {}, "https://h.example/dev1/v1/x"),
        ("unsiloed", "https://h.example/v1", {}, "https://h.example/v1/x"),
    ],
    ids=str,
)
def test_a_host_may_have_another_path(service, host, extra, url):
    found = endpoint(extra, conn_type=service, host=host)
    assert found.url(Request(path="/x", route="/x", prefix=found.prefix)) == url


# -- the key -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["nl_ abc", "nl_\nabc", "nl_\x00abc", "nl_é", "“nl_abc”", "nl_abc\r\nX-Evil: 1"], ids=ascii)
def test_a_key_that_no_vendor_gives_is_refused_without_showing_it(password):
    message = refusal(password=password)
    assert "characters that no API key has" in message
    assert "abc" not in message


def test_blanks_around_a_key_are_not_part_of_it():
    assert endpoint(password=f" {KEY}\n").key == KEY


@pytest.mark.parametrize("password", [None, "", "  \n"], ids=ascii)
def test_without_a_key_only_requests_that_need_none_are_sent(password):
    keyless = endpoint(password=password, conn_type="unsiloed")
    assert keyless.key is None
    assert keyless.headers(OPTIONAL_KEY) == {"Accept": "application/json"}
    with pytest.raises(RequestRejected, match=r"Connection 'docs' has no password; put the Unsiloed API key there\."):
        keyless.headers(NEEDS_KEY)


@pytest.mark.parametrize(
    ("service", "auth", "header"),
    [
        (NEUROLINKER, None, {"Authorization": f"Bearer {KEY}"}),
        (AITRONOS, None, {"X-API-Key": KEY}),
        (AITRONOS, "bearer", {"Authorization": f"Bearer {KEY}"}),
        (UNSILOED, None, {"api-key": KEY}),
        (UNSILOED, "x_api_key", {"X-API-Key": KEY}),
        (UNSILOED, "bearer", {"Authorization": f"Bearer {KEY}"}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("request_", [NEEDS_KEY, OPTIONAL_KEY], ids=["key needed", "key optional"])
def test_the_key_goes_where_the_vendor_wants_it(service, auth, header, request_):
    found = endpoint({"auth": auth}, conn_type=service.name)
    assert found.headers(request_) == {"Accept": "application/json", **header}


def test_a_key_with_braces_is_a_key():
    assert endpoint(password="{0}{key}%s").key_header() == {"Authorization": "Bearer {0}{key}%s"}


def test_the_key_and_the_proxys_password_are_not_shown():
    shown = repr(endpoint({"proxy": "http://me:secret@proxy:3128"}))
    assert KEY not in shown
    assert "secret" not in shown
    assert "docs" in shown


@pytest.mark.parametrize("body", [f'{{"detail": "key {KEY} is unknown"}}', KEY, f"{KEY}{KEY}"])
def test_a_key_that_the_vendor_repeats_is_blotted_out(body):
    found = endpoint().response(NEEDS_KEY, 401, {}, body.encode(), NOW)
    assert KEY.encode() not in found.body
    assert b"***" in found.body


def test_a_repeated_key_does_not_reach_an_error():
    one = endpoint()
    body = json.dumps({"detail": f"unknown: {KEY}"}).encode()
    with pytest.raises(KeyRejected, match=r"unknown: \*\*\*"):
        run(
            poll_one(one.service, Target(route="request", id="r-1")),
            lambda request: one.response(request, 401, {"Content-Type": "application/json"}, body, NOW),
        )


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        "".join(f"%{ord(c):02x}" if c in "_0" else c for c in KEY),
        "".join(f"%{ord(c):02X}" if c in "_0" else c for c in KEY),
        "".join(f"%25{ord(c):02x}" if c in "_0" else c for c in KEY),
        "".join(f"\\u00{ord(c):02x}" if c in "_l" else c for c in KEY),
        "".join(f"\\\\u00{ord(c):02X}" if c in "_l" else c for c in KEY),
    ],
    ids=["as it is", "percent", "upper case", "twice percent", "json", "json in json"],
)
def test_a_key_is_blotted_out_in_any_form_and_in_headers_too(shown):
    headers = {"Location": f"https://login.example/?key={shown}&x=1"}
    found = endpoint().response(NEEDS_KEY, 302, headers, f'{{"detail": "{shown}!"}}'.encode(), NOW)
    assert found.body == b'{"detail": "***!"}'
    assert found.headers["location"] == "https://login.example/?key=***&x=1"


LONG_BODIES = {
    "here and there": (b"x" * 70_000).join([b"", KEY.encode(), b"%6b" + KEY.encode()[1:], KEY.encode() * 2, b""]),
    **{f"at a seam, {gap}": KEY.encode() + b"x" * gap + KEY.encode() + b"x" * 70_000 for gap in range(65_496, 65_540, 4)},
    "nothing else": KEY.encode() * 9000,
    "a part of it only": KEY[3:].encode() * 9000,
    "escaped": (b"y" * 40_000).join(["".join(f"\\\\u00{ord(c):02X}" if c in "_l" else c for c in KEY).encode()] * 20),
    "nowhere": b"x" * 300_000,
}


@pytest.mark.parametrize("body", LONG_BODIES.values(), ids=LONG_BODIES)
def test_a_key_is_blotted_out_of_long_bodies_slice_by_slice(body):
    pauses = 0

    def in_slices() -> Flow[Response]:
        nonlocal pauses
        flow = endpoint().response_in_slices(NEEDS_KEY, 200, {}, body, NOW)
        try:
            while True:
                yield next(flow)
                pauses += 1
        except StopIteration as end:
            return end.value

    found = run(in_slices(), pytest.fail)
    _, any_form = forms_of(KEY)
    assert found.body == any_form.sub(b"***", body)
    slices = 0 if found.body == body and KEY[3:].encode() not in body else len(body) // 140_000
    assert pauses >= 1 + slices


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_a_key_is_blotted_out_in_every_encoding_that_json_is_read_in(encoding):
    found = endpoint().response(
        NEEDS_KEY, 200, {}, json.dumps({"detail": KEY, "a": "é"}, ensure_ascii=False).encode(encoding), NOW
    )
    assert found.json() == {"detail": "***", "a": "é"}


def test_a_made_up_key_does_not_tear_holes_into_replies():
    assert endpoint(password="a").response(NEEDS_KEY, 200, {}, b'{"a": 1}', NOW).body == b'{"a": 1}'


def test_a_response_has_its_request_its_headers_by_lower_case_name_and_the_connections_limit():
    found = endpoint({"max_reply_bytes": 4}).response(NEEDS_KEY, 200, CaseInsensitiveDict({"Retry-After": "5"}), b"12345", NOW)
    assert found.headers["retry-after"] == "5"
    assert found.is_too_large
    assert (found.request, found.code, found.received_at) == (NEEDS_KEY, 200, NOW)


def test_a_rate_limit_belongs_to_a_host_and_a_key_but_does_not_tell_it():
    accounts = [endpoint(), endpoint(password="another-key"), endpoint(password=None), endpoint(host="other.example")]
    assert len({one.account for one in accounts}) == len(accounts)
    assert endpoint({"share": 0.1}).account == endpoint().account
    assert KEY not in "".join(endpoint().account)


SPELLINGS = [
    {"host": "https://api.example.com"},
    {"host": "api.example.com"},
    {"host": "https://API.Example.COM/"},
    {"host": "https://api.example.com:443"},
    {"host": "https://api.example.com."},
    {"host": "HTTPS://Api.Example.Com.:443/"},
    {"host": "api.example.com", "schema": "https", "port": 443},
    {"host": "http://api.example.com"},
    {"host": "http://api.example.com:80"},
    {"host": "http://api.example.com.:80/"},
]


@pytest.mark.parametrize("fields", SPELLINGS, ids=str)
def test_a_rate_limit_belongs_to_a_host_however_it_is_spelled(fields):
    assert endpoint({"allow_http": True}, **fields).account == endpoint(host="api.example.com").account


@pytest.mark.parametrize(
    "host",
    ["api.example.com:8443", "http://api.example.com:443", "https://api.example.com:80", "api.example.com/eu", "example.com"],
)
def test_another_host_or_port_is_another_account(host):
    assert endpoint({"allow_http": True}, host=host).account != endpoint(host="api.example.com").account


def test_all_spellings_of_a_host_share_one_rate_limiter(monkeypatch):
    monkeypatch.setattr(aio, "_limiters", {})
    limiters = {id(aio._limiter_of(endpoint({"allow_http": True}, **fields), NOW)) for fields in SPELLINGS}
    assert len(limiters) == len(aio._limiters) == 1


def test_the_limiter_keeps_the_limits_that_were_read_last(monkeypatch):
    monkeypatch.setattr(aio, "_limiters", {})

    def limits(extra: Any) -> tuple[Any, ...]:
        limiter = aio._limiter_of(endpoint(extra, conn_type="aitronos"), NOW)
        return limiter.per_second, limiter.per_minute, limiter.per_day, limiter.share

    assert limits({}) == (None, 100, 10_000, 0.8)
    assert limits({"calls_per_day": 50_000}) == (None, 100, 50_000.0, 0.8)
    assert limits({"calls_per_day": 50, "share": 0.5}) == (None, 100, 50.0, 0.5)
    assert limits({"calls_per_second": 3}) == (3.0, 100, 10_000, 0.8)
    assert limits({"calls_per_minute": 500}) == (None, 500.0, 10_000, 0.8)
    assert len(aio._limiters) == 1


# -- what is sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ({}, ""),
        ({"job_ids": "a,b", "include_progress": "true"}, "?job_ids=a,b&include_progress=true"),
        ({"created_after": "2024-01-15T10:30:00+02:00"}, "?created_after=2024-01-15T10:30:00%2B02:00"),
        ({"tags": "a b&c=é#"}, "?tags=a%20b%26c%3D%C3%A9%23"),
        ({"job_ids": ("a", "b,c"), "expand": ("markdown",)}, "?job_ids=a&job_ids=b,c&expand=markdown"),
        ({"job_ids": (), "page": "2"}, "?page=2"),
    ],
    ids=["none", "ids", "time", "odd characters", "repeated keys", "a key without values"],
)
def test_a_query_is_encoded(query, sent):
    url = endpoint(host="https://h.example/base").url(Request(path="/x", route="", query=query, prefix="/v1"))
    assert url == f"https://h.example/base/v1/x{sent}"


@pytest.mark.parametrize(
    ("extra", "longest", "sent"),
    [
        ({}, 60.0, "?a=b"),
        ({"long_poll": 0}, 60.0, "?a=b"),
        ({"long_poll": 20}, 60.0, "?a=b&wait=20"),
        ({"long_poll": "2.9"}, 60.0, "?a=b&wait=2"),
        ({"long_poll": 20}, 10.5, "?a=b&wait=10"),
        ({"long_poll": 60}, 60.0, "?a=b&wait=25"),
        ({"long_poll": 60, "request_timeout": 90}, 60.0, "?a=b&wait=60"),
        ({"long_poll": 60, "request_timeout": 5.5}, 60.0, "?a=b"),
        ({"long_poll": 60, "request_timeout": 2}, 60.0, "?a=b"),
        ({"long_poll": 0.9}, 60.0, "?a=b"),
    ],
    ids=str,
)
def test_a_service_may_hold_its_answer_for_as_long_as_the_connection_and_the_vendor_allow(extra, longest, sent):
    request = Request(path="/x", route="", query={"a": "b"}, long_poll=("wait", longest))
    assert endpoint(extra, host="https://h.example").url(request.below("/v1")) == f"https://h.example/v1/x{sent}"
    other = Request(path="/x", route="", query={"a": "b"})
    assert endpoint(extra, host="https://h.example").url(other) == "https://h.example/x?a=b"


@pytest.mark.parametrize("prefix", ["", "/v1", "/api/v1"])
def test_a_request_is_sent_below_the_hosts_path_and_its_own_prefix(prefix):
    request = status_request(NEUROLINKER, Target(route="request", id="a:b")).below(prefix)
    assert endpoint(host="https://h.example/base").url(request) == f"https://h.example/base{prefix}/request-status/a%3Ab"


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environments_ca_file_is_trusted_unless_the_connection_names_one(name, monkeypatch, tmp_path):
    assert endpoint().trusted_ca is None
    file = tmp_path / "ca.pem"
    file.touch()
    monkeypatch.setenv(name, str(file))
    assert endpoint().trusted_ca == str(file)
    assert endpoint({"ca_bundle": __file__}).trusted_ca == __file__


def test_a_ca_file_that_is_not_there_is_named_with_its_source(monkeypatch):
    with pytest.raises(RequestRejected, match=r"'/nowhere\.pem' are not on this machine; see ca_bundle in the connection"):
        _ = endpoint({"ca_bundle": "/nowhere.pem"}).trusted_ca
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(RequestRejected, match="see REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE"):
        _ = endpoint().trusted_ca


@pytest.fixture(scope="module")
def usual_ca() -> str:
    """Return the certificates that both HTTP libraries trust by default."""
    return certifi.where()


def test_the_usual_certificates_are_trusted_where_nothing_else_is_named(usual_ca):
    context = endpoint().tls_context(usual_ca)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] > 1


def test_a_folder_of_certificates_is_trusted_as_one(usual_ca, tmp_path):
    assert endpoint({"ca_bundle": str(tmp_path)}).tls_context(usual_ca).cert_store_stats()["x509_ca"] == 0


def test_a_file_without_certificates_is_refused(usual_ca):
    with pytest.raises(RequestRejected, match="cannot be read as such; see ca_bundle in the connection's extra"):
        endpoint({"ca_bundle": __file__}).tls_context(usual_ca)


@pytest.mark.parametrize(
    ("proxy", "environment", "through"),
    [
        ("http://proxy:3128", "http://other:3128", "http://proxy:3128"),
        ("https://proxy:3128", None, "https://proxy:3128"),
        ("proxy:3128", None, "http://proxy:3128"),
        (None, "proxy:3128", "http://proxy:3128"),
        (None, "http://proxy:3128", "http://proxy:3128"),
        (None, None, None),
    ],
    ids=str,
)
def test_a_proxy_is_the_connections_or_the_environments(proxy, environment, through):
    assert endpoint({"proxy": proxy}).proxy_through(environment) == through


@pytest.mark.parametrize(
    "proxy", ["socks5://me:secret@proxy", "http://", "http://me:secret@[::1", "http://me:secret@proxy:99999"]
)
def test_what_is_no_proxy_is_refused_without_showing_its_password(proxy):
    messages = [refusal({"proxy": proxy})]
    with pytest.raises(RequestRejected) as caught:
        endpoint().proxy_through(proxy)
    for message in (*messages, str(caught.value)):
        assert "the proxy must be an http or https URL, such as" in message
        assert "secret" not in message


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


class ProxyError(Exception):
    """Named like those of requests, urllib3 and aiohttp."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ssl.SSLCertVerificationError("https://h/?key=secret"), "its certificate is not trusted; for a private CA set ca_bundle"),
        (ssl.SSLError("secret"), "no TLS connection"),
        (socket.gaierror("secret"), "no such host"),
        (ConnectionRefusedError("secret"), "connection refused"),
        (TimeoutError("secret"), "timed out"),
        (OSError("secret"), "it broke off"),
        (caused(OSError("secret"), socket.gaierror("secret")), "no such host"),
        (caused(ProxyError("secret"), ConnectionRefusedError()), "the proxy did not let it through: connection refused"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_keeps_a_response_away_is_said_in_our_words(error, said):
    unavailable = endpoint(host="h.example:8443").no_response(NEEDS_KEY, error)
    assert type(unavailable) is ServiceUnavailable
    assert (unavailable.service, unavailable.id, unavailable.retry_after, unavailable.was_polled) == (
        "neurolinker",
        None,
        None,
        True,
    )
    message = str(unavailable)
    assert message.startswith("Neurolinker did not answer GET /v1/x at h.example:8443 (")
    assert said in message
    assert "secret" not in message
