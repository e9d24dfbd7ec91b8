"""The headers that a service wants beside the key: they go where the key goes, and nowhere else."""

from __future__ import annotations

import json

import pytest

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.messages import Request
from airflow_provider_docstatus.provider_info import form_settings
from airflow_provider_docstatus.services import AITRONOS
from airflow_provider_docstatus.transport.sync import HostSession
from tests.transport.loopback import BOTH, KEY, answer, endpoint_of, serving, vendor_with

VERSIONED = vendor_with(
    headers={"X-Api-Version": "2026-02-09", "X-Async": "false"}, connection_headers=("X-Workspace-Id", "X-Api-Version")
)
FIXED = {"X-Api-Version": "2026-02-09", "X-Async": "false"}
REQUEST = Request(path="/x", route="/x")


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        (None, FIXED),
        ({}, FIXED),
        ({"X-Workspace-Id": "ws_1"}, {**FIXED, "X-Workspace-Id": "ws_1"}),
        ({"x-workspace-ID": "two words"}, {**FIXED, "X-Workspace-Id": "two words"}),
        ('{"X-Workspace-Id": "ws_1"}', {**FIXED, "X-Workspace-Id": "ws_1"}),
        ({"x-api-version": "2027-01-01"}, {"X-Async": "false", "X-Api-Version": "2027-01-01"}),
    ],
    ids=str,
)
def test_a_connection_adds_the_headers_that_the_service_allows(headers, sent, monkeypatch):
    assert endpoint_of(monkeypatch, VERSIONED, {"headers": headers}).own_headers == sent


ALLOWED = "which is none that a connection may set; those are X-Workspace-Id, X-Api-Version"
AS_TEXT = "the value of X-Workspace-Id must be text in printable ASCII, without spaces around it"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Authorization": "x"}, f"headers has 'Authorization', {ALLOWED}"),
        ({"X-Async": "true"}, f"headers has 'X-Async', {ALLOWED}"),
        ({"": "x"}, f"headers has '', {ALLOWED}"),
        ({"X-Workspace-Id\r\nHost": "x"}, f"headers has 'X-Workspace-Id\\r\\nHost', {ALLOWED}"),
        ({"X-Workspace-Id": "a\r\nHost: b"}, AS_TEXT),
        ({"X-Workspace-Id": "b\n"}, AS_TEXT),
        ({"X-Workspace-Id": "\u00e9"}, AS_TEXT),
        ({"X-Workspace-Id": " a"}, AS_TEXT),
        ({"X-Workspace-Id": ""}, AS_TEXT),
        ({"X-Workspace-Id": 7}, AS_TEXT),
        ({"X-Workspace-Id": None}, AS_TEXT),
        ("X-Workspace-Id: a", "headers must map names to texts, as JSON"),
        ([["X-Workspace-Id", "a"]], "headers must map names to texts, as JSON"),
        ("[]", "headers must map names to texts, as JSON"),
        (7, "headers must map names to texts, as JSON"),
    ],
    ids=ascii,
)
def test_another_header_or_an_odd_value_is_refused_with_what_may_be_set(headers, said, monkeypatch):
    with pytest.raises(RequestRejected) as caught:
        endpoint_of(monkeypatch, VERSIONED, {"headers": headers})
    assert said in str(caught.value)


def test_a_service_that_lets_a_connection_set_none_says_so(monkeypatch):
    with pytest.raises(RequestRejected, match="none that a connection may set; Made-up has none"):
        endpoint_of(monkeypatch, vendor_with(), {"headers": {"X-Tenant": "t"}})


def test_a_headers_value_is_not_shown(monkeypatch):
    assert "ws_1" not in repr(endpoint_of(monkeypatch, VERSIONED, {"headers": {"X-Workspace-Id": "ws_1"}}))
    assert "headers" not in form_settings(AITRONOS), "a JSON object is no field of a form"


@BOTH
def test_both_clients_send_them(send, monkeypatch):
    with serving() as server:
        extra = {"headers": {"X-Workspace-Id": "ws_1"}}
        send(endpoint_of(monkeypatch, VERSIONED, extra, host=f"http://{server.place}"), REQUEST)
    sent = server.headers()
    assert (sent["x-api-version"], sent["x-async"], sent["x-workspace-id"]) == ("2026-02-09", "false", "ws_1")
    assert sent["accept"] == "application/json"


def test_a_users_own_call_has_them_at_our_host_and_nowhere_else(monkeypatch):
    with serving() as server, serving() as foreign:
        extra = {"headers": {"X-Workspace-Id": "ws_1"}}
        endpoint_of(monkeypatch, VERSIONED, extra)
        connection = {"conn_type": "made_up", "host": f"http://{server.place}", "password": KEY, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps(connection))
        with DocStatusHook("vendor").get_conn() as session:
            session.post("/submit", headers={"x-api-version": "mine"})
            session.get(f"http://{foreign.place}/x")
    assert (server.headers()["x-api-version"], server.headers()["x-workspace-id"]) == ("mine", "ws_1")
    assert not {"x-api-version", "x-async", "x-workspace-id", "x-api-key"} & foreign.headers().keys()


def redirect(url: str) -> bytes:
    return answer(307, b"", f"Location: {url}\r\n")


def test_a_redirect_takes_them_to_no_other_host(monkeypatch):
    with serving() as server, serving() as foreign:
        server.reply = redirect(f"http://{foreign.place}/y")
        endpoint = endpoint_of(monkeypatch, VERSIONED, host=f"http://{server.place}")
        with HostSession(endpoint) as session:
            assert session.get("/x", allow_redirects=True).status_code == 200
    assert {"x-api-version", "x-async", "x-api-key"} <= server.headers().keys()
    assert not {"x-api-version", "x-async", "x-api-key"} & foreign.headers().keys()


def test_a_redirect_at_our_host_keeps_them(monkeypatch):
    with serving() as server:
        server.reply = lambda head: redirect("/y") if head.startswith("GET /x") else answer(200)
        endpoint = endpoint_of(monkeypatch, VERSIONED, host=f"http://{server.place}")
        with HostSession(endpoint) as session:
            session.get("/x", allow_redirects=True, headers={"x-api-version": "mine"})
    assert [server.headers(number)["x-api-version"] for number in (-2, -1)] == ["mine", "mine"]
    assert [server.headers(number)["x-api-key"] for number in (-2, -1)] == [KEY, KEY]
