"""Whatever a vendor, a proxy or a mistake sends: never a traceback of ours, and no success that something contradicts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import DocStatusError
from airflow_provider_docstatus.protocol.flows import poll_batch, poll_one, status_request
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.responses import retry_after
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target, target_of
from airflow_provider_docstatus.protocol.values import count, get_path, https_link, one_line, small_fact, text_in, utc_time
from airflow_provider_docstatus.services import AITRONOS, SERVICES, ServiceDescription
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.report import ending_event, event_of
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.wait import Ending
from tests.conversations import NOW

ASKED = Request(path="/x", route="/x")

#: The same examples on every run and every machine; how long one takes is the machine's business.
some = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

ID = "id-1"
LONGEST_MESSAGE = 1000
SIGNED = "https://storage.example/a.pdf?X-Amz-Signature=SECRET&expires=1"

# -- what may come -----------------------------------------------------------------------------------------------

WORDS = sorted({word for service in SERVICES.values() for word in service.states})
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from([ID, SIGNED, SIGNED.upper(), "2025-10-15T09:49:50.574754Z", "a/../b", "", "SECRET?", "\ud800", "\x00\n"]),
    st.sampled_from(["https://x.example/\ud800", "https://x.example/\x00\x1b[31m", "https://\u202egnp.exe", "d\ud800", "d\x00"]),
)
LARGE = st.sampled_from([2**63 - 1, 2**64, -(2**63) - 1, 2**70, 10**30])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-2, 5), st.integers(), LARGE, st.floats(), TEXTS)
JSON = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)), max_leaves=5
)
CASES = st.sampled_from([str.lower, str.upper, str.title, lambda word: f" {word}\n"])
STATUS_WORDS = st.one_of(st.builds(lambda word, case: case(word), st.sampled_from(WORDS), CASES), TEXTS)
COUNTERS = st.one_of(st.integers(0, 3), st.none(), SCALARS)
IDS = st.one_of(st.just(ID), TEXTS, SCALARS)

#: Every name that a description looks at, at any depth.
NAMES = sorted(
    {
        name
        for service in SERVICES.values()
        for route in service.routes.values()
        for one in (route, *([route.child] if route.child else []))
        for path in (
            *one.errors,
            *one.links,
            *(path for group in (*one.times.values(), *one.details.values()) for path in group),
        )
        for name in re.split("[. ]", path)
    }
    | {"detail", "error", "message", "data", "details", "code", "user_uid", "user_id", "success", "chunks", "extracted_data"}
)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Return values by dotted path as the object that has them there; a path below a value that is no object is left out."""
    body: dict[str, Any] = {}
    for path, value in flat.items():
        *above, name = path.split(".")
        inner: Any = body
        for one in above:
            inner = inner.setdefault(one, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[name] = value
    return body


@cache
def bodies(service_name: str, route_name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Build replies that look like the route's: its names, its words, its counters, and anything in between."""
    route = SERVICES[service_name].routes[route_name]
    fixed = {**dict.fromkeys(route.status, STATUS_WORDS), **dict.fromkeys(route.ids, st.one_of(st.just(ID), IDS))}
    maybe = dict.fromkeys(route.counters, COUNTERS)
    maybe |= {"success": st.one_of(st.booleans(), JSON), "user_uid": st.just("USER"), "error": JSON, "data": JSON}
    maybe["result"] = st.one_of(st.fixed_dictionaries({}, optional={"success": st.booleans(), "message": JSON}), JSON)
    if route.children:
        ids = dict.fromkeys(("document_id", "job_id", "id"), IDS)
        words = dict.fromkeys(route.child.status, STATUS_WORDS)
        child = st.fixed_dictionaries({**words, "user_uid": st.just("USER")}, optional=ids)
        maybe[route.children] = st.one_of(st.lists(st.one_of(child, JSON), max_size=3), JSON)
    shaped = st.fixed_dictionaries({}, optional={**fixed, **maybe})
    said = {**dict.fromkeys(route.status[:1], STATUS_WORDS), **dict.fromkeys(route.ids[:1], st.just(ID))}
    likely = st.fixed_dictionaries(said, optional=maybe).map(nested)
    return st.one_of(likely, likely, shaped.map(nested), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5))


def raw(body: Any) -> bytes:
    return json.dumps(body).encode()


CODES = st.sampled_from([200, 200, 200, 201, 204, 301, 304, 400, 401, 402, 403, 404, 405, 408, 409, 410, 422, 429, 500, 501, 503])
HEADER_VALUES = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
    st.sampled_from(
        ["17", "-1", "nan", "inf", "1e400", str(NOW + 5), "Mon, 16 Dec 2024 10:30:20 GMT", "Mon, 99 Foo", "text/html"]
    ),
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "content-type", "location", "x-ratelimit-reset", "x-ratelimit-retry-after"]),
    HEADER_VALUES,
    max_size=3,
)


def answers(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[Response]:
    return st.builds(
        Response,
        request=st.just(ASKED),
        code=CODES,
        headers=HEADERS,
        body=content,
        limit=st.sampled_from([10, 10**6]),
        received_at=st.just(NOW),
    )


each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def drive(service: ServiceDescription, flow: Any, replies: Callable[[], Response], most: int = 60) -> Any:
    """Run a flow with whatever comes; return what it learned, or the error it ended with, which must be one of ours."""
    flow = with_prefix(flow, PathPrefix(service, service.host, service.prefixes[0]))
    try:
        request = next(flow)
        for _ in range(most):
            request = flow.send(replace(replies(), request=request))
    except StopIteration as end:
        return end.value
    except DocStatusError as error:
        check_message(str(error))
        return error
    raise AssertionError("the flow does not end")


def check_message(message: str) -> None:
    assert len(message) <= LONGEST_MESSAGE
    assert "\n" not in message
    assert "SECRET&" not in message.upper().replace("SECRET?", "")
    assert "X-AMZ-SIGNATURE=SECRET" not in message.upper()
    message.encode()


def check_carried(event: Any) -> None:
    """Airflow's triggerer packs events with msgpack; PostgreSQL takes no NUL in JSON or text."""
    msgspec.msgpack.encode(event)
    text = json.dumps(event, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert not re.search(r"(?<!\\)(\\\\)*\\u0000", text)


def check_told(status: DocumentStatus) -> None:
    told = status.to_dict()
    check_carried(told)
    text = json.dumps(told, allow_nan=False)
    assert DocumentStatus.from_dict(json.loads(text)).to_dict() == json.loads(text) == told
    assert '"USER"' not in text
    assert not {"user_uid", "user_id"} & told["details"].keys()
    assert (
        "X-AMZ-SIGNATURE" not in json.dumps({**told, "id": "", "children": {}, "errors": list(told["errors"].values())}).upper()
    )


def check_success(service: ServiceDescription, route: str, status: DocumentStatus, body: Any) -> None:
    """The oracle: written against the vendors' pages, not against the code that settles."""
    assert service.states[status.word.lower()] is State.SUCCEEDED, "success only by a success word"
    read = service.routes[route]
    body = body[read.inside] if all(get_path(body, path) is None for path in read.status) else body
    numbers = {name: count(value) for name, value in body.items()}
    counted = {path: count(get_path(body, path)) for path in read.counters}
    assert not [path for path, number in counted.items() if number and re.search("fail|skip|partial|cancel", path.lower())]
    assert not (numbers.get("failed") and status.kind == "request")
    assert not (numbers.get("processing") and status.kind == "request")
    for total, completed in (("total", "completed"), ("total_jobs", "completed_jobs")):
        if status.kind in ("request", "batch") and numbers.get(total) is not None and numbers.get(completed) is not None:
            assert numbers[completed] >= numbers[total]
    if status.kind == "batch":
        assert not numbers.get("failed_jobs")
        assert not numbers.get("cancelled_jobs")
    if read.flag:
        assert get_path(body, read.flag) is not False


# -- the readers -------------------------------------------------------------------------------------------------


@cache
def successes(service_name: str, route_name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Build replies that say success, and counters and flags that agree or do not."""
    service = SERVICES[service_name]
    route = service.routes[route_name]
    words = [word for word, state in service.states.items() if state is State.SUCCEEDED]
    said = st.builds(lambda word, case: case(word), st.sampled_from(words), CASES)
    maybe: dict[str, Any] = dict.fromkeys(route.counters, st.sampled_from([0, 1, 2, 3, "1", None]))
    maybe |= {"success": st.booleans(), "result": st.fixed_dictionaries({}, optional={"success": st.booleans()})}
    fixed = {**dict.fromkeys(route.status[:1], said), **dict.fromkeys(route.ids[:1], st.just(ID))}
    return st.fixed_dictionaries(fixed, optional=maybe).map(nested)


@each_service
@settings(some, max_examples=60)
@given(data=st.data())
def test_success_is_never_contradicted_by_a_counter_or_a_flag(service, data):
    counting = [name for name, one in service.routes.items() if one.counters]
    route = data.draw(st.sampled_from([*service.routes, *counting * 4]))
    body = data.draw(successes(service.name, route))
    reply = Response(request=ASKED, code=200, headers={}, body=raw(body), limit=10**6, received_at=NOW)
    replies, result = [reply], service.routes[route].result
    if members := service.routes[route].members:
        replies.append(replace(reply, body=raw({members.items: []})))
    judgement = body
    if result and result.decides:
        ended = st.sampled_from([word for word, state in service.states.items() if state.is_final])
        judgement = nested({result.status[0]: data.draw(ended), "document": {"md_content": "text"}})
        replies.append(replace(reply, body=raw(judgement)))
    left = iter(replies)
    got = drive(service, poll_one(service, Target(route=route, id=ID)), lambda: next(left, None))
    if body.get("success") is False:
        decides = service.routes[route].flag == "success"
        assert got.state is State.FAILED if decides else isinstance(got, DocStatusError)
        return
    assert isinstance(got, DocumentStatus)
    if got.state is State.SUCCEEDED:
        check_success(service, route, got, body)
        assert judgement is body or service.states[get_path(judgement, result.status[0])] is State.SUCCEEDED


@each_service
@some
@given(data=st.data())
def test_a_status_is_read_or_refused_and_told_as_it_is(service, data):
    route = data.draw(st.sampled_from(list(service.routes)))
    body = data.draw(bodies(service.name, route))
    reply = Response(request=ASKED, code=200, headers={}, body=raw(body), limit=10**6, received_at=NOW)
    got = drive(service, poll_one(service, Target(route=route, id=ID)), lambda: reply)
    if isinstance(got, DocumentStatus):
        check_told(got)
        assert got.id == ID
        if got.state is State.SUCCEEDED:
            check_success(service, route, got, body)


@each_service
@some
@given(data=st.data())
def test_any_answer_at_all_is_a_status_or_an_error_of_ours(service, data):
    route = data.draw(st.sampled_from(list(service.routes)))
    content = st.one_of(st.binary(max_size=60), st.builds(raw, JSON), st.builds(raw, bodies(service.name, route)))
    reply = data.draw(answers(content))
    got = drive(service, poll_one(service, Target(route=route, id=ID)), lambda: reply)
    assert isinstance(got, (DocumentStatus, DocStatusError))


@each_service
@some
@given(data=st.data())
def test_data_is_fetched_or_refused(service, data):
    route = data.draw(st.sampled_from(list(service.routes)))
    content = st.one_of(st.builds(raw, JSON), st.builds(raw, bodies(service.name, route)), st.builds(raw, results()))
    final = st.sampled_from([None, State.SUCCEEDED, State.PARTIAL, State.REVIEW])
    state = data.draw(final)
    child = DocumentStatus(service=service.name, kind="job", id=data.draw(TEXTS), state=State.SUCCEEDED, word="x")
    known = state and DocumentStatus(
        service=service.name, kind=service.routes[route].kind, id=ID, state=state, word="x", children=(child,)
    )
    flow = fetch_result(service, Target(route=route, id=ID), status=known, content=None, options={})
    got = drive(service, flow, lambda: data.draw(answers(content)))
    if not isinstance(got, DocStatusError):
        status, items, errors = got
        assert status.state.is_final
        assert not items.keys() & errors.keys()
        for text in errors.values():
            check_message(text)


def results() -> st.SearchStrategy[dict[str, Any]]:
    item = st.fixed_dictionaries({"document_id": IDS}, optional={"content": JSON, "error": JSON, "success": JSON, "images": JSON})
    return st.fixed_dictionaries({"results": st.lists(st.one_of(item, JSON), max_size=3)})


@pytest.mark.parametrize(
    "service", [one for one in SERVICES.values() if any(route.listing for route in one.routes.values())], ids=lambda one: one.name
)
@some
@given(data=st.data())
def test_a_list_is_read_or_refused_and_ends(service, data):
    items = st.lists(
        st.one_of(st.fixed_dictionaries({"job_id": IDS, "request_id": IDS, "status": STATUS_WORDS}), JSON), max_size=3
    )
    body = st.builds(
        lambda page, more: {"jobs": page, "tasks": {"requests": page}, "pagination": {"has_more": more}}, items, st.booleans()
    )
    reply = data.draw(answers(st.one_of(st.builds(raw, body), st.builds(raw, JSON), st.binary(max_size=20))))
    got = drive(service, list_jobs(service, filters={}, limit=None, offset=0), lambda: reply)
    if isinstance(got, list):
        for status in got:
            check_told(status)
            assert status.state is not State.SUCCEEDED or service.states[status.word.lower()] is State.SUCCEEDED


@pytest.mark.parametrize(
    ("service", "route"),
    [pytest.param(one, name, id=one.name) for one in SERVICES.values() for name, route in one.routes.items() if route.batch],
)
@some
@given(data=st.data())
def test_several_at_once_are_read_or_refused(service, route, data):
    items = data.draw(st.lists(st.one_of(bodies(service.name, route), JSON), max_size=3))
    body = data.draw(st.one_of(st.just({"jobs": items}), JSON))
    reply = data.draw(answers(st.just(raw(body))))
    targets = [Target(route, ID), Target(route, "id-2")]
    got = drive(service, poll_batch(service, targets), lambda: reply)
    if isinstance(got, Mapping):
        assert set(got) <= set(targets)
        for status in got.values():
            check_told(status)
            assert status.state is not State.SUCCEEDED or service.states[status.word.lower()] is State.SUCCEEDED


@each_service
@settings(some, max_examples=40)
@given(data=st.data())
def test_airflow_can_carry_the_event_that_any_answer_makes(service, data):
    route = data.draw(st.sampled_from(list(service.routes)))
    told = st.dictionaries(st.sampled_from([name.rpartition(".")[2] for name in NAMES]), SCALARS, max_size=4)
    body = {**data.draw(told), **data.draw(bodies(service.name, route))}
    headers = data.draw(st.one_of(st.just({}), st.builds(lambda place: {"location": place, "content-type": place}, TEXTS)))
    code = data.draw(st.sampled_from([200, 200, 200, 200, 302, 400, 401, 402, 404, 410]))
    reply = Response(request=ASKED, code=code, headers=headers, body=raw(body), limit=10**6, received_at=NOW)
    got = drive(service, poll_one(service, Target(route=route, id=ID)), lambda: reply)
    group = Group(spec=WaitSpec(ids=[ID], started_at=NOW, deadline=NOW), service=service)
    for now in (NOW, NOW + 9):
        if not isinstance(group.observe(ID, got, now), Ending):
            group.time_out(now)
    check_carried(ending_event(group.endings[ID]))
    check_carried(event_of(group, calls=1, now=NOW))


# -- the smaller readers -----------------------------------------------------------------------------------------


@some
@given(value=st.one_of(JSON, st.binary(max_size=20), st.integers(min_value=10**30)))
def test_small_readers_read_or_give_nothing(value):
    line = one_line(value)
    assert line is None or re.fullmatch(r"[^\r\n\t]{1,500}", line)
    text = text_in(value)
    assert text is None or len(text) <= 500
    number = count(value)
    assert number is None or number >= 0
    assert utc_time(value) is None or utc_time(utc_time(value)) == utc_time(value)
    check_carried(small_fact(value))
    link = https_link(value)
    assert link is None or value.startswith(link)


@some
@given(text=st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?", fullmatch=True))
def test_anything_shaped_like_a_time_is_a_time_in_utc_or_none(text):
    time = utc_time(text)
    assert time is None or time.endswith("+00:00")


@some
@given(headers=HEADERS, text=HEADER_VALUES)
def test_a_wait_is_none_or_bounded(headers, text):
    for value in ({"retry-after": text}, headers):
        reply = Response(request=ASKED, code=429, headers=value, body=b"", limit=1, received_at=NOW)
        seconds = retry_after(AITRONOS, reply)
        assert seconds is None or 0 <= seconds <= 3600


@each_service
@some
@given(value=st.one_of(JSON, st.binary(max_size=20)))
def test_anything_is_an_id_or_refused(service, value):
    parameter = service.parameters[0]
    try:
        target = target_of(service, {parameter: value}, "job" if service.has_operations else None)
    except DocStatusError as error:
        check_message(str(error))
    else:
        path = status_request(service, target).path
        assert re.fullmatch(r"[A-Za-z0-9/._~%-]+", path)
        assert path.count("/") == service.routes[target.route].path.count("/")
        assert not {".", ".."} & set(path.split("/"))
