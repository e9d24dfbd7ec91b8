"""Who is speaking: the service, or a proxy or gateway in between."""

from __future__ import annotations

import pytest

from airflow_provider_docstatus.exceptions import (
    KeyRejected,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.messages import Request
from airflow_provider_docstatus.protocol.refusals import is_foreign
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from tests.conversations import HTML, error_of, response

IN_TEXT = Request(path="/parse/j", route="/parse/{job_id}", refuses_in_text=True)
ROUTES = [(NEUROLINKER, "request"), (NEUROLINKER, "document"), (AITRONOS, "job")]
ROUTES += [(UNSILOED, route) for route in UNSILOED.routes]
CODES = (400, 402, 403, 404, 405, 409, 410, 413, 414, 418, 421, 422, 451)

MIDDLE_BOX_TEXTS = [
    "404 page not found",
    "404 page not found\n",
    "no healthy upstream",
    "RBAC: access denied",
    "error code: 1010",
    "error code: 522",
    "default backend - 404",
    "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
    "upstream request timeout",
    "stream timeout",
    "fault filter abort",
    "Jwt is missing",
    "Not Found",
    "404 Not Found",
    "403 Forbidden",
    "Bad Request",
    "400: Bad Request.",
    "Misdirected Request",
    "Access denied",
    "no Route matched with those values",
    "Invalid host header",
    "<html><body>nginx</body></html>",
    "404",
    "",
    "404: Page Not Found",
    "404 Not Found: Requested route ('x') does not exist.",
    "response 404 (backend NotFound), service rules for the path non-existent",
    "Cannot GET /parse/abc",
    "The specified key does not exist.",
    "Bad Request: missing required Host header",
    "Host not in allowlist",
    "Access denied: host not in allowlist",
    "Blocked by security policy",
]
GATEWAY_OBJECTS = [
    {"message": "no Route matched with those values"},
    {"message": "no Route matched with those values", "request_id": "1f5a"},
    {"message": "Forbidden"},
    {"message": "Not Found"},
    {"message": "Missing Authentication Token"},
    {"Message": "User is not authorized to access this resource with an explicit deny"},
    {"message": "You cannot consume this service"},
    {"statusCode": 404, "message": "Resource not found"},
    {"error_msg": "404 Route Not Found"},
    {"fault": {"faultstring": "Unable to identify proxy for host"}},
    {"timestamp": "2026-01-01T00:00:00Z", "path": "/x", "status": 404, "error": "Not Found", "requestId": "a-1"},
    {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404},
    {"success": False, "errors": [{"code": 7003}], "messages": [], "result": None},
    {"status": "error", "code": 404, "message": "Application not found", "request_id": "q"},
]
VENDOR_OBJECTS = [
    {},
    {"detail": "Job not found"},
    {"detail": "Not Found"},
    {"error": "no such id"},
    {"message": "Job j-1 not found"},
    {"error": {"code": "JOB_NOT_FOUND", "message": "m"}},
    {"success": False, "error": {"code": "JOB_NOT_FOUND", "message": "Not Found"}},
]


@pytest.mark.parametrize("text", MIDDLE_BOX_TEXTS)
def test_what_a_middle_box_says_is_foreign_on_every_route(text):
    assert is_foreign(response(text=text, code=404))
    assert is_foreign(response(text=text, code=404, request=IN_TEXT))
    assert is_foreign(response(text, 404, request=IN_TEXT)), "a bare JSON string"


@pytest.mark.parametrize("body", GATEWAY_OBJECTS, ids=str)
def test_a_known_gateways_object_is_foreign(body):
    assert is_foreign(response(body, 403))
    assert is_foreign(response(body, 404, request=IN_TEXT))


@pytest.mark.parametrize("body", VENDOR_OBJECTS, ids=str)
def test_any_other_object_is_the_services(body):
    assert not is_foreign(response(body, 404))
    assert not is_foreign(response(body, 404, headers={"content-type": "text/plain"}))
    assert is_foreign(response(body, 404, headers=HTML))


@pytest.mark.parametrize("text", ["Job not found", "Task j-1 does not exist", "Insufficient quota — no page credits remaining."])
def test_a_text_is_the_services_only_where_its_route_refuses_in_text(text):
    assert is_foreign(response(text=text, code=404))
    assert is_foreign(response(text, 404))
    assert not is_foreign(response(text=text, code=404, request=IN_TEXT))
    assert not is_foreign(response(text, 404, request=IN_TEXT))


@pytest.mark.parametrize("body", [[], ["no"], None, 404, True], ids=str)
def test_json_that_is_neither_object_nor_text_is_foreign(body):
    assert is_foreign(response(body, 404, request=IN_TEXT))


@pytest.mark.parametrize("text", [*MIDDLE_BOX_TEXTS, "Unauthorized", '{"message": "Unauthorized"}', "Invalid API key"])
def test_a_401_that_is_no_web_page_is_the_services_in_any_form(text):
    assert not is_foreign(response(text=text, code=401))
    assert is_foreign(response(text=text, code=401, headers=HTML))


def test_a_407_is_the_proxys_own():
    assert is_foreign(response({"detail": "m"}, 407))


@pytest.mark.parametrize(("service", "route"), ROUTES, ids=lambda one: getattr(one, "name", one))
@pytest.mark.parametrize("code", CODES)
def test_a_foreign_refusal_is_no_verdict_on_any_status_route(service, route, code):
    flow = poll_one(service, Target(route, "j-1"))
    error = error_of(flow, response(text="404 page not found", code=code), kind=UnexpectedReply)
    said = f"for j-1 with {code} and '404 page not found'; is there a proxy or login page in between, or is the host wrong?"
    assert said in str(error)
    assert "check the key" in str(error)


@pytest.mark.parametrize("code", CODES)
def test_parse_of_unsiloed_refuses_in_plain_text_and_no_other_route_does(code):
    kind = {402: QuotaExhausted, 403: KeyRejected, 404: NotFound, 410: NotFound}.get(code, RequestRejected)
    assert error_of(poll_one(UNSILOED, Target("parse", "j")), response(text="No such task", code=code), kind=kind).code == code
    for service, route in ROUTES:
        if route != "parse":
            error_of(poll_one(service, Target(route, "j")), response(text="No such task", code=code), kind=UnexpectedReply)


def test_a_foreign_text_where_a_code_is_a_state_is_no_state():
    result = Request(path="/jobs/j/result", route="/jobs/{id}/result", expected_codes={400, 500})
    assert is_foreign(response(text="Internal Server Error", code=500, request=result))


def test_a_foreign_5xx_stays_an_outage():
    for text in MIDDLE_BOX_TEXTS:
        error_of(poll_one(AITRONOS, Target("job", "j")), response(text=text, code=503), kind=ServiceUnavailable)
