"""Which id, on which route: what a task asks for, checked before anything is sent."""

from __future__ import annotations

import pytest
from jinja2.nativetypes import NativeEnvironment

from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.targets import Target, checked_id, operation_name, parent_of, target_of
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import converse, error_of, refusal, response

REQUEST = Target(route="request", id="r-1")
DOCUMENT = Target(route="document", id="d-1")
AITRONOS_JOB = Target(route="job", id="j-1")
EXTRACT = Target(route="extract", id="j-1")


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
    assert target_of(service, ids, operation) == target


@pytest.mark.parametrize(("alias", "route"), UNSILOED.operations.items())
def test_the_vendors_other_names_of_operations_lead_to_their_routes(alias, route):
    assert target_of(UNSILOED, {"job_id": "j-1"}, alias.upper()).route == route


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
        ("https://example.com/jobs/1", "= is a URL on 'example.com', but the status URLs of this connection are not known"),
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
        (("a",), "is a tuple; it must be the id as text. Pass several as a list"),
        (True, "is a bool; it must be the id as text. If it is from a template under render_template_as_native_obj=True"),
        (1685e6, "is a float; it must be the id as text. If it is from a template under render_template_as_native_obj=True"),
        (float("inf"), "made it of text such as 1685E6 or True: pass the upstream task's .output"),
        (float("nan"), "put quotes around the template: \"'{{ ... }}'\""),
        (1 + 2j, "is a complex; it must be the id as text. If it is from a template"),
        (..., "is a ellipsis; it must be the id as text. If it is from a template"),
        (b"a", "is a bytes; it must be the id as text. If it is from a template"),
        ("x" * 513, "is longer than 512 characters"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_cannot_be_an_id_is_refused_with_the_remedy(value, said):
    message = refusal(lambda: target_of(NEUROLINKER, {"request_id": value}))
    assert said in message
    assert message.startswith("Neurolinker: request_id=")
    assert len(message) < 300
    message.encode()


@pytest.mark.parametrize("text", ["1685E6", "1e999", "1.50", "True", "1+2j", "b'x'", "...", "None"])
def test_what_native_rendering_makes_of_an_id_is_named_and_both_remedies_help(text):
    """Airflow's native environment is Jinja's but for the sandbox."""
    environment = NativeEnvironment()
    rendered = environment.from_string("{{ job }}").render(job=text)
    message = refusal(lambda: target_of(UNSILOED, {"job_id": rendered}, "job"))
    assert "render_template_as_native_obj=True" in message
    if text.isalnum() and text != "None":
        in_quotes = environment.from_string("'{{ job }}'").render(job=text)
        assert target_of(UNSILOED, {"job_id": in_quotes}, "job").id == text


@pytest.mark.parametrize("text", ["17", "job_17", "00012", "12345678-1234-4234-8234-123456789012", "1E", "e5"])
def test_what_native_rendering_leaves_an_id_is_one(text):
    rendered = NativeEnvironment().from_string("{{ job }}").render(job=text)
    assert target_of(UNSILOED, {"job_id": rendered}, "job").id == text


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
    assert said in refusal(lambda: target_of(service, ids, operation))


@pytest.mark.parametrize(
    ("operation", "name"), [("Extract", "extract"), (" PARSE ", "parse"), ("translate", "translate"), (7, "7")]
)
def test_an_operation_is_read_as_it_is_typed_and_not_judged(operation, name):
    assert operation_name(UNSILOED, operation) == name


def test_an_id_may_be_checked_alone():
    assert checked_id(UNSILOED, "job_id", 17) == "17"
    error = error_of(lambda: checked_id(UNSILOED, "job_id", "a/b"))
    assert (str(error).split(" has ")[0], error.service, error.code) == ("Unsiloed: job_id='a/b'", "unsiloed", None)


# -- what an id belongs to ---------------------------------------------------------------------------------------


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
    assert parent_of(service, status, route) is None


@pytest.mark.parametrize("parent", ["..", ".", "a/b", "a?b", "%2e%2e", "a b", "", " ", None, 7, ["r-1"], {"a": "r-1"}])
def test_what_can_be_no_id_is_nobodys_parent(parent):
    """It would be put into a path; that the reply names one is no reason to poll it."""
    document = Target(route="document", id="d-1")
    body = {"document_id": "d-1", "status": "processing", "request_id": parent}
    status, _ = converse(poll_one(NEUROLINKER, document), response(body))
    assert parent_of(NEUROLINKER, status, "document") is None
