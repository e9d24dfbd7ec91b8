"""
Extracted data changes nothing that is told of a document: no state, message, fact, event, manifest, log line or error.

Every reply is read twice, with marked values in each place that may hold extracted data and without them. Both must tell the
same. The marked values stand under the names that the readers look for, since a schema's fields may have any name.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus.exceptions import DocStatusError
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.protocol.flows import poll_batch, poll_one, poll_parent
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import NEUROLINKER, SERVICES, UNSILOED, ServiceDescription
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.report import ending_from, event_of, manifest_from, manifest_result, result_of
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.subscriber import Subscriber
from airflow_provider_docstatus.waiting.wait import CONFIRM_AFTER
from tests.conversations import NOW, converse, response
from tests.task_runs import FakeTaskInstance, hurry, wait

if TYPE_CHECKING:
    from airflow_provider_docstatus.protocol.messages import Response

ID = "id-1"
TEXT, NUMBER = "Zq7-Jane-Doe", 70314159
#: Names that a reader may look for; a schema may have a field of each.
NAMES = (
    *("success", "status", "error", "error_message", "error_details", "message", "msg", "detail", "details", "explanation"),
    *("total_pages", "page_count", "file_name", "job_id", "request_id", "document_id", "id", "progress", "percentage"),
    *("confidence", "overall", "metadata", "link", "document_page_url", "created_at", "total", "failed", "jobs", "documents"),
    *("result", "results", "data", "extracted_data", "chunks", "content", "value"),
)
TEXTS: dict[str, Any] = dict.fromkeys(NAMES, TEXT)
REFUSAL = {**TEXTS, "success": False}
#: What a document may say, as a vendor returns it.
EXTRACTED: dict[str, Any] = {
    "texts": TEXTS,
    "numbers": dict.fromkeys(NAMES, NUMBER),
    "a flag that says no": REFUSAL,
    "words of a failure": {**REFUSAL, "status": "failed", "error": {"message": TEXT, "detail": TEXT}},
    "fields with scores": {name: {"value": TEXT} for name in NAMES},
    "objects in objects": {name: {"success": False, "message": TEXT, name: TEXTS} for name in ("result", "error")},
    "a list": [REFUSAL, TEXT],
    "a text": TEXT,
}
#: The places that may hold extracted data, by service and route. "*" is every item of a list.
ANYWHERE = ("extracted_data", "chunks", "content", "fields", "raw_text", "explanation", "citations", "detections")
PLACES: dict[tuple[str, str], tuple[str, ...]] = {
    ("neurolinker", "document"): (*ANYWHERE, "results", "result"),
    ("neurolinker", "request"): (*ANYWHERE, "documents.*.result.results", "documents.*.content", "documents.*.fields"),
    ("aitronos", "job"): (*ANYWHERE, "result", "results", "data"),
    ("unsiloed", "extract"): (*ANYWHERE, "result", "data", "metadata.schema", "metadata.order"),
    ("unsiloed", "parse"): (*ANYWHERE, "result", "data", "metadata", "configuration", "exports"),
    ("unsiloed", "classify"): (*ANYWHERE, "data", "metadata", "result.classification", "result.page_results"),
    ("unsiloed", "split"): (*ANYWHERE, "data", "metadata", "parameters", "result.files", "result.pages"),
    ("unsiloed", "job"): (*ANYWHERE, "result", "data", "metadata"),
    ("unsiloed", "batch"): (*ANYWHERE, "result", "data", "metadata", "jobs.*.result", "jobs.*.data", "jobs.*.metadata"),
}
EACH = [pytest.param(SERVICES[service], route, id=f"{service}-{route}") for service, route in PLACES]
each_route = pytest.mark.parametrize(("service", "route"), EACH)


def put(body: Any, path: str, value: Any) -> None:
    """Put a value at a dotted path, into every item of a list for ``*``, unless the path ends before."""
    name, _, rest = path.partition(".")
    if name == "*":
        for item in body:
            put(item, rest, value)
    elif rest and body.get(name) is None and "*" not in rest:
        put(body.setdefault(name, {}), rest, value)
    elif rest and body.get(name) is not None:
        put(body[name], rest, value)
    elif not rest:
        body[name] = value


def with_data(body: dict[str, Any], paths: tuple[str, ...], value: Any) -> dict[str, Any]:
    body = copy.deepcopy(body)
    for path in paths:
        put(body, path, value)
    return body


def bodies(service: ServiceDescription, route_name: str) -> Iterator[tuple[State, dict[str, Any]]]:
    """Build a short and a long reply for each of the vendor's words."""
    route = service.routes[route_name]
    for word, state in service.states.items():
        short: dict[str, Any] = {"status": word.upper(), route.ids[0]: ID}
        if route.children and route.child:
            short[route.children] = [{"status": word, route.child.ids[0]: f"c-{n}"} for n in range(2)]
        yield state, short
        facts = {path: "a.pdf" for paths in route.details.values() for path in paths if "." not in path and path not in ANYWHERE}
        yield state, {**short, **facts, "success": True, "error": None, "message": "the vendor's own words"}


def told(*statuses: DocumentStatus) -> str:
    """Return all that statuses tell, as text."""
    return json.dumps([(status.to_dict(), repr(status)) for status in statuses])


def answered(flow: Any, *replies: Response) -> str:
    """Return all that a flow returns or raises, as text."""
    try:
        found = converse(flow, *replies)[0]
    except DocStatusError as error:
        return f"{type(error).__name__}: {error}"
    return told(*([found] if isinstance(found, DocumentStatus) else found.values() if isinstance(found, dict) else found))


def check_clean(text: str) -> None:
    assert TEXT not in text
    assert str(NUMBER) not in text


@each_route
def test_a_status_tells_the_same_with_and_without_extracted_data(service, route):
    target = Target(route=route, id=ID)
    for state, clean in bodies(service, route):
        expected = converse(poll_one(service, target), response(clean))[0]
        check_clean(told(expected))
        if not service.routes[route].counters:
            assert expected.state is state, "the vendor's word"
        for value in EXTRACTED.values():
            marked = with_data(clean, PLACES[service.name, route], value)
            assert converse(poll_one(service, target), response(marked))[0] == expected


def test_several_and_lists_tell_the_same_with_and_without_extracted_data():
    targets = [Target(route="job", id=ID), Target(route="job", id="id-2")]
    for _, clean in bodies(UNSILOED, "job"):
        page = response({"jobs": [clean], "pagination": {"has_more": False}})
        batch = answered(poll_batch(UNSILOED, targets), page)
        listed = answered(list_jobs(UNSILOED, filters={}, limit=None, offset=0), page)
        assert ID in batch
        assert ID in listed
        for value in EXTRACTED.values():
            marked = with_data(clean, PLACES["unsiloed", "job"], value)
            page = response({"jobs": [marked], "pagination": {"has_more": False}})
            assert answered(poll_batch(UNSILOED, targets), page) == batch
            assert answered(list_jobs(UNSILOED, filters={}, limit=None, offset=0), page) == listed


def test_a_request_tells_the_same_of_its_documents_with_and_without_extracted_data():
    parent, wanted = Target(route="request", id=ID), [Target(route="document", id="c-0")]
    for _, clean in bodies(NEUROLINKER, "request"):
        said = answered(poll_parent(NEUROLINKER, parent, "document", wanted), response(clean))
        assert "c-0" in said
        for value in EXTRACTED.values():
            marked = response(with_data(clean, PLACES["neurolinker", "request"], value))
            assert answered(poll_parent(NEUROLINKER, parent, "document", wanted), marked) == said


@pytest.mark.parametrize("service", [UNSILOED, SERVICES["aitronos"]], ids=lambda service: service.name)
def test_a_reply_without_a_word_takes_none_from_extracted_data(service):
    """The result of a generic job stands below "data"; a field of it may be called status."""
    for route in service.routes:
        body = {"data": {"status": "completed", "job_id": TEXT, "batch_id": TEXT}}
        said = answered(poll_one(service, Target(route=route, id=ID)), response(body))
        assert said.startswith("UnexpectedReply")
        assert "without a status word" in said
        check_clean(said)


ERRORS: dict[str, dict[str, Any]] = {
    "text": {"detail": "torn page"},
    "object": {"error": {"code": "C", "message": "torn page"}, "success": False},
    "generic": {"error": "torn", "details": {"message": "torn page"}},
    "nothing": {},
}


@each_route
def test_an_error_tells_the_same_with_and_without_extracted_data(service, route):
    target, places = Target(route=route, id=ID), (*ANYWHERE, "result", "results", "data", "metadata")
    invalid = {"detail": [{"loc": ["body", "schema"], "msg": "bad", "input": EXTRACTED["texts"]}]}
    for code in (400, 401, 402, 403, 404, 409, 410, 422, 429, 500, 503):
        check_clean(answered(poll_one(service, target), response(invalid, code)))
        for clean in ERRORS.values():
            said = answered(poll_one(service, target), response(clean, code))
            for value in EXTRACTED.values():
                marked = response(with_data(clean, places, value), code)
                assert answered(poll_one(service, target), marked) == said


@each_route
@pytest.mark.parametrize("value", [EXTRACTED["words of a failure"], EXTRACTED["a list"]], ids=["object", "list"])
def test_why_there_is_no_data_is_never_said_in_extracted_data(service, route, value):
    """The data itself is what was asked for; the status beside it and the reason in its place are not."""
    kind, about = service.routes[route].kind, {"service": service.name, "state": State.SUCCEEDED, "word": "completed"}
    child = DocumentStatus(kind="child", id="c-0", **about)
    children = (child,) if kind in ("request", "batch") else ()
    known = DocumentStatus(kind=kind, id=ID, children=children, **about)
    item_id = "c-0" if children else ID
    refusals: list[dict[str, Any]] = [
        {"success": False, "message": "nothing read"},
        {"success": False, "error": "nothing read", "status": "failed"},
        {"status": "failed", "error": "nothing read"},
        {"status": "processing"},
        {"status": "completed"},
    ]
    places = tuple(place for place in PLACES[service.name, route] if "*" not in place)
    for refused in refusals:
        body: dict[str, Any] = with_data(refused, places, value)
        if service.contents:
            body = {"success": True, "results": [{"document_id": item_id, "error": "nothing read", "content": value}]}
        try:
            flow = fetch_result(service, Target(route=route, id=ID), status=known, content=None, options={})
            status, _, errors = converse(flow, response(body))[0]
        except DocStatusError as error:
            check_clean(f"{error!r} {error}")
        else:
            check_clean(repr(status) + json.dumps(errors))


# -- a whole wait --------------------------------------------------------------------------------------------------


def outcome(service: ServiceDescription, route: str, reply: Response, *, is_list: bool, log: logging.Logger) -> list[Any]:
    """Return what a wait for one id makes of a reply that comes again and again: its event, and its result or error."""
    spec = WaitSpec(service=service.name, route=route, id=ID, ids=[ID] if is_list else None, deadline=NOW + 30)
    group = Group(spec=spec, service=service)
    subscriber = Subscriber(group, log, now=NOW, deadline_grace=0.0, jitter=lambda: 0.5)
    target = Target(route=route, id=ID)
    for now in (NOW, NOW + CONFIRM_AFTER + 1, NOW + 40):
        try:
            observation: DocumentStatus | DocStatusError = converse(poll_one(service, target), reply)[0]
        except DocStatusError as error:
            observation = error
        if not group.is_over:
            subscriber.observe(target, observation, now)
    if not group.is_over:
        group.time_out(NOW + 40)
    event = event_of(group, calls=3, now=NOW + 40)
    try:
        if is_list:
            manifest = manifest_from(event, [ID], parameter="job_id", operation=None, is_late=False)
            return [event, manifest, manifest_result(manifest, needed=1, accept=(), text=event["text"])]
        return [event, result_of(ending_from(event), ())]
    except DocStatusError as error:
        return [event, f"{type(error).__name__}: {error}"]


@each_route
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_whole_wait_tells_the_same_with_and_without_extracted_data(service, route, is_list, caplog):
    log = logging.getLogger("tests.privacy")
    caplog.set_level(logging.DEBUG)
    one_of_each_state = dict(bodies(service, route))
    replies = [(clean, 200) for clean in one_of_each_state.values()] + [(error, 404) for error in ERRORS.values()]
    for clean, code in replies:
        expected = outcome(service, route, response(clean, code), is_list=is_list, log=log)
        lines = [record.getMessage() for record in caplog.records]
        for name in ("a flag that says no", "numbers", "objects in objects"):
            caplog.clear()
            marked = with_data(clean, PLACES[service.name, route] if code == 200 else ANYWHERE, EXTRACTED[name])
            assert outcome(service, route, response(marked, code), is_list=is_list, log=log) == expected
            assert [record.getMessage() for record in caplog.records] == lines
            check_clean(json.dumps(expected) + caplog.text)
        caplog.clear()


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize("value", [EXTRACTED["a flag that says no"], EXTRACTED["numbers"]], ids=["a flag", "numbers"])
def test_a_sensors_xcom_and_log_hold_no_extracted_data(mode, value, server, monkeypatch, caplog):
    for name, setting in server.environment().items():
        monkeypatch.setenv(name, setting)
    hurry(monkeypatch)
    caplog.set_level(logging.DEBUG)
    ti = FakeTaskInstance()
    reply = {"result": value, "page_count": None, "metadata": {"schema": value}}
    job = server.add_job("unsiloed", "extract", seconds=0, reply=reply)
    returned = wait(mode, ti, conn_id="unsiloed_default", operation="extract", job_id=job)
    assert returned["state"] == "succeeded"
    assert returned == ti.xcoms[XCOM_KEY]
    check_clean(json.dumps(ti.xcoms) + caplog.text)
