"""Flows: which requests they make, what they learn, and what they do with an error in the place of a response."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    KeyRejected,
    NoSuchRoute,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.protocol.flows import (
    Flow,
    PollReply,
    StatusCache,
    arun,
    look_up,
    poll,
    poll_batch,
    poll_one,
    poll_parent,
    result_request,
    run,
    status_request,
)
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target, parent_of
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from tests import conversations
from tests.conversations import HTML, response, run_on_a_loop

REQUEST = Target(route="request", id="r-1")
DOCUMENT = Target(route="document", id="d-1")
AITRONOS_JOB = Target(route="job", id="j-1")
EXTRACT = Target(route="extract", id="j-1")
JOB = Target(route="job", id="j-1")
BATCH = Target(route="batch", id="b-1")
DRIVERS = {"run": run, "arun": run_on_a_loop}
AWAY = ServiceUnavailable("away")


@pytest.fixture(params=DRIVERS.values(), ids=DRIVERS)
def drive(request: pytest.FixtureRequest) -> Any:
    """Drive flows as the hook does, and as the triggerer does."""
    return request.param


@pytest.fixture
def converse(drive: Any) -> Any:
    """Return :func:`conversations.converse` with each of the drivers."""
    return partial(conversations.converse, drive=drive)


@pytest.fixture
def refusal(drive: Any) -> Any:
    """Return :func:`conversations.refusal` with each of the drivers."""
    return partial(conversations.refusal, drive=drive)


@pytest.fixture
def error_of(drive: Any) -> Any:
    """Return :func:`conversations.error_of` with each of the drivers."""
    return partial(conversations.error_of, drive=drive)


def jobs_of(*ids: str) -> list[Target]:
    return [Target(route="job", id=one) for one in ids]


def documents_of(*ids: str) -> list[Target]:
    return [Target(route="document", id=one) for one in ids]


def code(number: int, *, html: bool = False) -> Response:
    return response(text="<html>", code=number, headers=HTML) if html else response({}, number)


# -- driving a flow ----------------------------------------------------------------------------------------------

FIRST, SECOND = (Request(path=path, route=path) for path in ("/first", "/second"))


def single(request: Request) -> Flow[Response]:
    return (yield request)


def patient() -> Flow[str]:
    """Ask somewhere else after an error."""
    try:
        yield FIRST
    except DocStatusError as error:
        second = yield SECOND
        return f"{error}, then {second.code}"
    return "at once"


def silent() -> Flow[str]:
    """Return without a request."""
    return "known"
    yield FIRST


def test_a_flow_without_a_request_returns_at_once(converse):
    assert converse(silent()) == ("known", [])


def test_an_error_of_the_sender_is_thrown_into_the_flow(converse):
    assert converse(patient(), response()) == ("at once", [FIRST])
    assert converse(patient(), AWAY, response(code=204)) == ("away, then 204", [FIRST, SECOND])


def test_an_error_that_a_flow_does_not_handle_ends_it_as_it_is(error_of):
    assert error_of(single(FIRST), AWAY, kind=ServiceUnavailable) is AWAY
    rejected = KeyRejected("no", code=401)
    assert error_of(patient(), AWAY, rejected, kind=KeyRejected) is rejected


def test_a_bug_of_the_sender_is_no_business_of_the_flow(drive):
    def broken(request: Request) -> Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(patient(), broken)


def test_a_response_arrives_as_it_was_sent(drive):
    got = response({"a": 1})
    assert drive(single(FIRST), lambda _request: got) is got


async def test_the_asynchronous_driver_runs_flows_side_by_side():
    order = []

    async def send(request: Request) -> Response:
        order.append(request.path)
        await asyncio.sleep(0)
        order.append(request.path)
        return response()

    await asyncio.gather(arun(single(FIRST), send), arun(single(SECOND), send))
    assert order == ["/first", "/second", "/first", "/second"]


# -- the status request ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "target", "prefix", "path", "label"),
    [
        (NEUROLINKER, REQUEST, "/v1", "/request-status/r-1", "GET /v1/request-status/{request_id}"),
        (NEUROLINKER, DOCUMENT, "/api/v1", "/document-status/d-1", "GET /api/v1/document-status/{document_id}"),
        (AITRONOS, AITRONOS_JOB, "/v1", "/documents/jobs/j-1", "GET /v1/documents/jobs/{job_id}"),
        (UNSILOED, EXTRACT, "", "/extract/j-1", "GET /extract/{job_id}"),
        (UNSILOED, JOB._replace(id="a:b,c@é+&="), "", "/jobs/a%3Ab%2Cc%40%C3%A9%2B%26%3D", "GET /jobs/{job_id}"),
        (UNSILOED, BATCH, "", "/jobs/batch/b-1", "GET /jobs/batch/{job_id}"),
    ],
    ids=["request", "document", "aitronos", "extract", "odd id", "batch"],
)
def test_a_status_is_polled_on_its_route_with_the_id_encoded(service, target, prefix, path, label):
    request = status_request(service, target).below(prefix)
    assert (request.method, request.prefix, request.path, request.label) == ("GET", prefix, path, label)


def test_a_parse_is_polled_without_its_chunks_and_fetched_with_them(converse):
    parse = Target(route="parse", id="j-1")
    assert status_request(UNSILOED, parse).query == {"include_chunks": "false"}
    reply = {"job_id": "j-1", "status": "Succeeded", "chunks": [1]}
    flow = fetch_result(UNSILOED, parse, status=None, content=None, options={})
    _, (request,) = converse(flow, response(reply))
    assert request.query == {"include_chunks": "true"}


def test_data_in_the_status_reply_is_asked_for_with_the_statuss_query():
    route = replace(AITRONOS.routes["job"], query={"api-version": "1"})
    for more, query in (({}, {"api-version": "1"}), ({"output": "full"}, {"api-version": "1", "output": "full"})):
        asked = replace(route, result=replace(route.result, query=more))
        assert result_request(replace(AITRONOS, routes={"job": asked}), Target(route="job", id="j-1")).query == query


@pytest.mark.parametrize("route", UNSILOED.routes)
def test_only_the_generic_routes_work_without_a_key(route):
    assert status_request(UNSILOED, Target(route=route, id="j-1")).key_optional == (route in ("job", "batch"))


# -- the path prefix ---------------------------------------------------------------------------------------------

BASE = "https://neurolinker.api.ainexxo.com"
OTHER = "/api/v1/request-status/r-1"
HERE, THERE = f"GET /v1{NEUROLINKER.routes['request'].path}", f"GET /api/v1{NEUROLINKER.routes['request'].path}"
HERE, THERE = (text.replace("{id}", "{request_id}") for text in (HERE, THERE))
GOOD = response({"request_id": "r-1", "status": "completed"})
DENIED = response({"detail": "Not Found"}, 404)
UNKNOWN = response({"detail": "Request not found"}, 404)


def prefix_of(current: str = "/v1", base_url: str = BASE) -> PathPrefix:
    return PathPrefix(NEUROLINKER, base_url, current)


def below(prefix: PathPrefix, target: Target = REQUEST) -> Flow[Response]:
    return with_prefix(single(status_request(prefix.service, target)), prefix)


@pytest.mark.parametrize(
    ("code", "body", "location", "found"),
    [
        (301, None, OTHER, "/api/v1"),
        (307, None, BASE + OTHER, "/api/v1"),
        (308, None, BASE + OTHER + "?x=1", "/api/v1"),
        (302, None, "https://login.example" + OTHER, None),
        (302, None, "http://neurolinker.api.ainexxo.com" + OTHER, None),
        (302, None, "/login", None),
        (301, None, "/api/v1/request-status/another", None),
        (301, None, "/v1/request-status/r-1/", None),
        (301, None, "", None),
        (405, {"detail": "Method Not Allowed"}, None, "/api/v1"),
        (404, {"detail": "Not Found"}, None, "/api/v1"),
        (404, {"detail": "Request not found"}, None, None),
        (404, "Not Found", None, None),
        (500, {"detail": "Not Found"}, None, None),
        (200, {"detail": "Not Found"}, None, None),
    ],
    ids=[
        "relative redirect",
        "absolute redirect",
        "redirect with a query",
        "other host",
        "other scheme",
        "login page",
        "other id",
        "trailing slash",
        "no location",
        "405",
        "framework's 404",
        "vendor's 404",
        "404 text",
        "500",
        "200",
    ],
)
def test_the_other_prefix_is_found_only_where_the_response_says_so(code, body, location, found, converse):
    prefix = prefix_of()
    first = response(body, code, headers={} if location is None else {"location": location})
    got, requests = converse(below(prefix), *([first, GOOD] if found else [first]))
    assert (got.code, got.body) == ((GOOD.code, GOOD.body) if found else (first.code, first.body))
    assert [request.label for request in requests] == ([HERE, THERE] if found else [HERE])
    assert prefix.current == (found or "/v1")


def test_the_other_prefix_is_found_below_a_path_of_the_host_and_back_again(converse):
    prefix = prefix_of("/api/v1", "https://gateway.example/neurolinker")
    redirect = response(code=301, headers={"location": "/neurolinker/v1/request-status/r-1"})
    _, requests = converse(below(prefix), redirect, GOOD)
    assert ([request.label for request in requests], prefix.current) == ([THERE, HERE], "/v1")


def test_a_redirect_outside_the_hosts_path_shows_no_prefix(converse):
    prefix = prefix_of("/api/v1", "https://gateway.example/neurolinker")
    converse(below(prefix), response(code=301, headers={"location": "/linker/v1/request-status/r-1"}))
    assert prefix.current == "/api/v1"


def test_a_service_with_one_prefix_finds_none(converse):
    prefix = PathPrefix(AITRONOS, AITRONOS.host, "/v1")
    got, _ = converse(below(prefix, AITRONOS_JOB), response(code=405))
    assert (got.code, prefix.current) == (405, "/v1")


def test_a_prefix_of_the_users_own_gives_way_to_a_documented_one(converse):
    prefix = prefix_of("/elsewhere")
    _, requests = converse(below(prefix), DENIED, GOOD)
    assert [request.prefix for request in requests] == ["/elsewhere", "/v1"]
    assert prefix.current == "/v1"


def test_the_prefix_that_was_found_holds_for_the_rest_of_the_flow(converse):
    prefix = prefix_of()
    flow = with_prefix(fetch_result(NEUROLINKER, DOCUMENT, status=None, content=None, options={}), prefix)
    replies = [
        DENIED,
        response({"document_id": "d-1", "status": "completed"}),
        response({"results": [{"document_id": "d-1", "content": 1}]}),
    ]
    (_, items, _), requests = converse(flow, *replies)
    assert items == {"d-1": 1}
    assert [request.prefix for request in requests] == ["/v1", "/api/v1", "/api/v1"]


@pytest.mark.parametrize(
    ("second", "more", "counts"),
    [
        (response({}, 503), [], "second"),
        (response({}, 429), [], "second"),
        (response(code=408), [], "second"),
        (response(text="<html>", headers=HTML), [], "first"),
        (response([1]), [], "first"),
        (response(code=302, headers={"location": "/login"}), [], "first"),
        (response(code=301, headers={"location": "/v1/request-status/r-1"}), [], "first"),
        (response(text="<html>", code=404, headers=HTML), [], "first"),
        (DENIED, [], "first"),
        (response(code=405), [], "first"),
        (UNKNOWN, [DENIED], "second"),
        (response({}, 401), [DENIED], "second"),
        (response({}, 401), [response(code=405)], "second"),
        (UNKNOWN, [GOOD], "third"),
        (UNKNOWN, [response({}, 503)], "third"),
        (UNKNOWN, [UNKNOWN], "third"),
    ],
    ids=[
        "503",
        "429",
        "408",
        "web page",
        "a list",
        "login page",
        "back again",
        "web page with 404",
        "denied as well",
        "405 as well",
        "unknown id, denied once more",
        "rejected key, denied once more",
        "rejected key, 405 once more",
        "unknown id, then good",
        "unknown id, then away",
        "unknown id on both",
    ],
)
def test_only_an_object_below_the_other_prefix_shows_that_the_service_is_there(second, more, counts, converse):
    prefix, replies = prefix_of(), [DENIED, second, *more]
    got, requests = converse(below(prefix), *replies)
    expected = replies[["first", "second", "third"].index(counts)]
    assert (got.code, got.body) == (expected.code, expected.body)
    assert [request.label for request in requests] == [HERE, THERE, HERE][: len(replies)]
    assert prefix.current == "/v1"


@pytest.mark.parametrize("replies", [[], [DENIED], [DENIED, UNKNOWN]], ids=["first", "second", "third"])
def test_an_error_in_the_search_for_a_prefix_reaches_the_flow(replies, converse, error_of):
    prefix = prefix_of()
    assert error_of(below(prefix), *replies, AWAY, kind=ServiceUnavailable) is AWAY
    assert prefix.current == "/v1"
    learned, requests = converse(with_prefix(patient(), prefix), *replies, AWAY, response())
    assert learned == "away, then 200"
    assert (requests[-1].prefix, requests[-1].path) == ("/v1", "/second")


def test_an_error_of_a_flow_below_a_prefix_is_its_own(error_of):
    assert error_of(with_prefix(poll_one(NEUROLINKER, REQUEST), prefix_of()), UNKNOWN, kind=NotFound).code == 404


def test_a_flow_below_a_prefix_without_a_request_returns_at_once(converse):
    assert converse(with_prefix(silent(), prefix_of())) == ("known", [])


def test_a_flow_follows_another_that_has_found_the_prefix_meanwhile():
    prefix = prefix_of()
    one, other = below(prefix), below(prefix)
    assert next(one).prefix == next(other).prefix == "/v1"
    assert one.send(DENIED).prefix == "/api/v1"
    with pytest.raises(StopIteration):
        one.send(GOOD)
    assert other.send(DENIED).prefix == "/api/v1"
    with pytest.raises(StopIteration) as end:
        other.send(UNKNOWN)  # a refusal there needs no proof: the service has been seen there
    assert end.value.value is UNKNOWN
    assert prefix.current == "/api/v1"


def test_a_good_response_counts_though_another_flow_has_found_another_prefix_meanwhile():
    prefix = prefix_of()
    flow = below(prefix)
    next(flow)
    prefix.current = "/api/v1"
    with pytest.raises(StopIteration) as end:
        flow.send(GOOD)
    assert end.value.value is GOOD


# -- one id ------------------------------------------------------------------------------------------------------


def told(status: str = "processing", **more: Any) -> Response:
    return response({"document_id": "d-1", "status": status, **more})


def test_one_id_is_one_request(converse):
    status, (request,) = converse(poll_one(NEUROLINKER, DOCUMENT), told("completed"))
    assert (status.id, status.state, request.path) == ("d-1", State.SUCCEEDED, "/document-status/d-1")


def test_a_reply_that_says_the_same_again_is_not_read_again(converse):
    cache: StatusCache = {}
    first, _ = converse(poll_one(NEUROLINKER, DOCUMENT, cache), told())
    same, _ = converse(poll_one(NEUROLINKER, DOCUMENT, cache), told())
    assert same is first
    changed, _ = converse(poll_one(NEUROLINKER, DOCUMENT, cache), told("completed"))
    assert (changed.state, cache[DOCUMENT][1]) == (State.SUCCEEDED, changed)


def test_an_error_with_the_body_of_a_status_is_an_error(converse, refusal):
    cache: StatusCache = {}
    converse(poll_one(NEUROLINKER, DOCUMENT, cache), told())
    refused = replace(told(), code=404)
    refusal(poll_one(NEUROLINKER, DOCUMENT, cache), refused, kind=NotFound)
    assert set(cache) == {DOCUMENT}


def test_a_body_is_remembered_for_its_own_id_only(converse, refusal):
    cache: StatusCache = {}
    converse(poll_one(NEUROLINKER, DOCUMENT, cache), told())
    refusal(poll_one(NEUROLINKER, DOCUMENT._replace(id="d-2"), cache), told(), kind=UnexpectedReply)


# -- several ids -------------------------------------------------------------------------------------------------


def jobs(**words: str) -> Response:
    return response({"jobs": [{"job_id": one, "status": word} for one, word in words.items()]})


def test_several_ids_are_polled_by_one_request(converse):
    found, (request,) = converse(poll_batch(UNSILOED, jobs_of("a", "b", "c")), jobs(b="COMPLETED", a="queued", stranger="FAILED"))
    a, b, _ = jobs_of("a", "b", "c")
    assert {one: status.state for one, status in found.items()} == {a: State.RUNNING, b: State.SUCCEEDED}
    assert (request.path, request.key_optional) == ("/jobs/status", True)
    assert request.query == {"job_ids": "a,b,c", "include_progress": "true"}


def test_a_response_for_several_may_leave_ids_out_or_hold_what_is_none(converse):
    several = response(
        {"jobs": [{"job_id": "a", "status": "queued"}, {"job_id": "c"}, {"job_id": "b", "status": None}, "b", None]}
    )
    assert set(converse(poll_batch(UNSILOED, jobs_of("a", "b", "c")), several)[0]) == set(jobs_of("a"))


def test_what_makes_no_sense_in_a_response_for_several_is_left_out(converse):
    items = [
        {"job_id": "a", "status": "archived"},
        {"job_id": "b", "status": "completed", "success": False},
        {"job_id": "c", "status": " Queued\n"},
    ]
    found, _ = converse(poll_batch(UNSILOED, jobs_of("a", "b", "c")), response({"jobs": items}))
    assert {target.id: status.state for target, status in found.items()} == {"c": State.RUNNING}


@pytest.mark.parametrize("number", [400, 404, 405, 410, 422, 501])
def test_a_deployment_without_the_batch_route_is_told_apart(number, error_of):
    flow = poll_batch(UNSILOED, jobs_of("a", "b"))
    error = error_of(flow, response({"detail": "x"}, number), kind=NoSuchRoute)
    assert f"no GET /jobs/status here ({number})" in str(error)
    assert error.code == number


@pytest.mark.parametrize("number", [400, 404, 405, 410, 422, 501])
def test_a_web_page_in_place_of_the_batch_route_is_a_proxys_and_says_nothing_of_the_route(number, refusal):
    kind = ServiceUnavailable if number == 501 else UnexpectedReply
    refusal(poll_batch(UNSILOED, jobs_of("a", "b")), code(number, html=True), kind=kind)


@pytest.mark.parametrize(
    ("service", "route"), [(UNSILOED, "job"), (AITRONOS, None), (NEUROLINKER, None)], ids=["jobs", "Aitronos", "Neurolinker"]
)
def test_only_jobs_of_a_service_with_a_batch_route_are_polled_together(service, route):
    assert [name for name, one in service.routes.items() if one.batch] == ([route] if route else [])


@pytest.mark.parametrize("body", [{}, {"jobs": None}, {"jobs": {"a": 1}}], ids=str)
def test_a_response_for_several_without_a_list_is_unexpected(body, refusal):
    flow = poll_batch(UNSILOED, jobs_of("a", "b"))
    assert "without a list 'jobs'" in refusal(flow, response(body), kind=UnexpectedReply)


# -- a parent tells of its children ------------------------------------------------------------------------------


def request_with(*documents: tuple[str, str], status: str = "processing") -> Response:
    items = [{"document_id": one, "status": word} for one, word in documents]
    return response({"request_id": "r-1", "status": status, "documents": items})


def test_a_documents_request_tells_of_its_documents(converse):
    status, _ = converse(poll_one(NEUROLINKER, DOCUMENT), told(request_id="r-1"))
    parent = parent_of(NEUROLINKER, status, "document")
    assert parent == REQUEST
    reply = request_with(("d-1", "Completed"), ("d-2", "archived"))
    wanted = documents_of("d-1", "d-2")
    children, _ = converse(poll_parent(NEUROLINKER, parent, "document", wanted), reply)
    assert {child.id: child.state for child in children.values()} == {"d-1": State.SUCCEEDED}
    assert children[wanted[0]].details["request_id"] == "r-1"
    assert not converse(poll_parent(NEUROLINKER, parent, "document", wanted[1:]), reply)[0]


def test_a_document_that_a_request_says_the_same_of_is_not_read_again(converse):
    cache: StatusCache = {}
    wanted = documents_of("d-1", "d-2")

    def polled(*documents: tuple[str, str]) -> dict[Target, DocumentStatus]:
        return converse(poll_parent(NEUROLINKER, REQUEST, "document", wanted, cache), request_with(*documents))[0]

    before = polled(("d-1", "processing"), ("d-2", "processing"))
    after = polled(("d-1", "processing"), ("d-2", "completed"))
    assert after[wanted[0]] is before[wanted[0]]
    assert after[wanted[1]].state is State.SUCCEEDED
    assert polled(("d-2", "completed"))[wanted[1]] is after[wanted[1]]


def test_a_reply_about_another_request_tells_of_no_document(refusal):
    reply = response({"request_id": "r-2", "status": "processing", "documents": [{"document_id": "d-1", "status": "failed"}]})
    assert "another id" in refusal(poll_parent(NEUROLINKER, REQUEST, "document", [DOCUMENT]), reply, kind=UnexpectedReply)


# -- a poll of one id --------------------------------------------------------------------------------------------

OF_A_REQUEST = told(request_id="r-1")
EVERYTHING = documents_of("d-1", "d-2", "d-3")


def states(reply: PollReply) -> dict[str, State]:
    assert all(isinstance(one, DocumentStatus) for one in reply.observations.values())
    return {target.id: status.state for target, status in reply.observations.items()}


def test_a_poll_of_one_id_is_one_request(converse):
    reply, (request,) = converse(poll(AITRONOS, [AITRONOS_JOB]), response({"job_id": "j-1", "status": "completed"}))
    assert (states(reply), reply.parent, reply.failed) == ({"j-1": State.SUCCEEDED}, None, None)
    assert request.path == "/documents/jobs/j-1"


def test_a_parent_that_shows_is_told_and_not_polled_before_that(converse):
    reply, requests = converse(poll(NEUROLINKER, [DOCUMENT], wanted=EVERYTHING), OF_A_REQUEST)
    assert (states(reply), reply.parent, len(requests)) == ({"d-1": State.RUNNING}, REQUEST, 1)


def test_a_parent_that_is_looked_up_tells_of_those_that_are_wanted(converse):
    documents = [("d-1", "completed"), ("d-2", "failed"), ("d-3", "failed")]
    flow = look_up(NEUROLINKER, REQUEST, "document", documents_of("d-1", "d-2"))
    reply, (request,) = converse(flow, request_with(*documents))
    assert states(reply) == {"d-1": State.SUCCEEDED, "d-2": State.FAILED}
    assert (reply.parent, reply.failed, request.path) == (REQUEST, None, "/request-status/r-1")


FAULTS = {
    "a 503": response({}, 503),
    "a 429": response({}, 429),
    "a 401": response({}, 401),
    "a 402": response({}, 402),
    "a 404": response({}, 404),
    "a web page": response(text="<html>", headers=HTML),
    "an unknown word": request_with(("d-2", "failed"), status="archived"),
    "no connection": AWAY,
    "a sender's rate limit": RateLimited("slow down"),
    "a rejected key": KeyRejected("no"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_look_up_that_fails_costs_one_request_and_ends_nothing(fault, converse):
    reply, requests = converse(look_up(NEUROLINKER, REQUEST, "document", EVERYTHING), fault)
    assert (reply.observations, reply.parent, len(requests)) == ({}, REQUEST, 1)
    assert isinstance(reply.failed, DocStatusError)


@pytest.mark.parametrize("may_omit", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (response({}, 503), ServiceUnavailable),
        (response({}, 429), RateLimited),
        (response({}, 401), KeyRejected),
        (response({}, 404), NotFound),
        (response({"status": "archived"}), UnknownWord),
        (response({}, 402), QuotaExhausted),
        (ServiceUnavailable("away"), ServiceUnavailable),
        (NotFound("no"), NotFound),
        (RequestRejected("no key"), RequestRejected),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_is_wrong_with_a_poll_of_one_id_is_raised(fault, kind, may_omit, error_of):
    error_of(poll(AITRONOS, [AITRONOS_JOB], may_omit=may_omit), fault, kind=kind)


def test_one_id_whose_parent_is_known_is_polled_itself(converse):
    reply, (request,) = converse(poll(NEUROLINKER, [DOCUMENT], parent=REQUEST, wanted=EVERYTHING), told())
    assert (states(reply), request.path) == ({"d-1": State.RUNNING}, "/document-status/d-1")


def test_a_poll_remembers_what_it_has_read(converse):
    cache: StatusCache = {}
    again = []
    for _ in range(2):
        found = converse(poll(NEUROLINKER, [DOCUMENT], cache=cache), OF_A_REQUEST)[0].observations
        flow = look_up(NEUROLINKER, REQUEST, "document", documents_of("d-2"), cache)
        again.append({**found, **converse(flow, request_with(("d-2", "processing")))[0].observations})
    assert set(cache) == set(again[0]) == set(documents_of("d-1", "d-2"))
    assert all(again[1][target] is status for target, status in again[0].items())


# -- a poll of several ids ---------------------------------------------------------------------------------------

#: A poll of several by one request, the reply to that, and the reply to the first of them alone.
SEVERAL: dict[str, tuple[Any, Response, str, Response, str]] = {
    "batch": (
        lambda **more: poll(UNSILOED, jobs_of("a", "b", "c"), **more),
        jobs(a="queued", b="COMPLETED"),
        "/jobs/status",
        response({"job_id": "a", "status": "FAILED"}),
        "/jobs/a",
    ),
    "parent": (
        lambda **more: poll(NEUROLINKER, documents_of("a", "b", "c"), parent=REQUEST, wanted=documents_of("a", "b", "c"), **more),
        request_with(("a", "queued"), ("b", "completed"), ("d", "failed")),
        "/request-status/r-1",
        response({"document_id": "a", "status": "failed"}),
        "/document-status/a",
    ),
}
each_way = pytest.mark.parametrize("way", SEVERAL)


#: Faults of a request for several, and whether they may leave all of them out.
FAULTS_OF_SEVERAL: dict[str, tuple[Response | DocStatusError, bool]] = {
    "a 503": (code(503), True),
    "a 408": (code(408), True),
    "no connection": (ServiceUnavailable("away"), True),
    "a web page": (code(200, html=True), True),
    "no list, no word": (response({}), True),
    "broken json": (response(text="{"), True),
    "an unexpected reply": (UnexpectedReply("odd"), True),
    "a 401": (code(401), False),
    "a 403": (code(403), False),
    "a 402": (code(402), False),
    "a 409": (code(409), False),
    "a rejected key": (KeyRejected("no"), False),
    "an id that is unknown": (NotFound("no"), False),
    "no key": (RequestRejected("no password"), False),
}


@each_way
@pytest.mark.parametrize("may_omit", [False, True])
def test_several_ids_are_told_by_one_request_but_what_it_leaves_out(way, may_omit, converse):
    start, several, path, _, _ = SEVERAL[way]
    reply, (request,) = converse(start(may_omit=may_omit), several)
    assert states(reply) == {"a": State.RUNNING, "b": State.SUCCEEDED}
    assert (request.path, reply.failed) == (path, None)
    assert reply.parent == (REQUEST if way == "parent" else None)


def test_a_parent_tells_of_all_that_are_wanted_and_not_only_of_those_that_are_due(converse):
    flow = poll(NEUROLINKER, documents_of("a", "b"), parent=REQUEST, wanted=documents_of("a", "b", "c"))
    reply, _ = converse(flow, request_with(("a", "queued"), ("c", "failed"), ("d", "failed")))
    assert states(reply) == {"a": State.RUNNING, "c": State.FAILED}


@each_way
@pytest.mark.parametrize("may_omit", [False, True])
@pytest.mark.parametrize("fault", [code(429), code(429, html=True), RateLimited("slow down", retry_after=3.0)], ids=str)
def test_a_rate_limit_is_a_limit_for_all_of_them(way, may_omit, fault, error_of):
    error_of(SEVERAL[way][0](may_omit=may_omit), fault, kind=RateLimited)


@pytest.mark.parametrize("may_omit", [False, True])
@pytest.mark.parametrize(
    "fault", [*(code(number) for number in (400, 404, 405, 410, 422, 501)), NoSuchRoute("no such route")], ids=str
)
def test_a_missing_batch_route_is_told_and_no_id_is_polled(may_omit, fault, converse):
    reply, requests = converse(SEVERAL["batch"][0](may_omit=may_omit), fault)
    assert (reply.observations, reply.parent, len(requests)) == ({}, None, 1)
    assert isinstance(reply.failed, NoSuchRoute)


@each_way
@pytest.mark.parametrize(
    "fault", [fault for fault, is_left_out in FAULTS_OF_SEVERAL.values() if is_left_out], ids=lambda fault: str(fault)[:40]
)
def test_a_fault_of_the_request_may_leave_all_of_them_out(way, fault, converse):
    reply, requests = converse(SEVERAL[way][0](may_omit=True), fault)
    assert (reply.observations, reply.parent, len(requests)) == ({}, None, 1)
    assert isinstance(reply.failed, (ServiceUnavailable, UnexpectedReply))


ALONE = [
    *((False, name) for name in FAULTS_OF_SEVERAL),
    *((True, name) for name, (_, is_left_out) in FAULTS_OF_SEVERAL.items() if not is_left_out),
]


@each_way
@pytest.mark.parametrize(("may_omit", "fault"), ALONE, ids=str)
def test_if_the_request_fails_the_first_id_is_polled_alone(way, may_omit, fault, converse):
    start, _, path, alone, alone_path = SEVERAL[way]
    reply, requests = converse(start(may_omit=may_omit), FAULTS_OF_SEVERAL[fault][0], alone)
    assert states(reply) == {"a": State.FAILED}
    assert [request.path for request in requests] == [path, alone_path]
    assert isinstance(reply.failed, DocStatusError)


@each_way
@pytest.mark.parametrize("fault", [code(403), code(409), code(503)], ids=["403", "409", "503"])
def test_a_403_about_the_first_id_is_its_own_if_the_second_has_none(way, fault, converse):
    start, _, path, _, alone_path = SEVERAL[way]
    second = {
        "batch": response({"job_id": "b", "status": "queued"}),
        "parent": response({"document_id": "b", "status": "queued"}),
    }
    reply, requests = converse(start(), fault, code(403), second[way])
    assert [request.path for request in requests] == [path, alone_path, alone_path[:-1] + "b"]
    first, other = reply.observations.values()
    assert isinstance(first, KeyRejected)
    assert isinstance(other, DocumentStatus)
    assert isinstance(reply.failed, DocStatusError)


@each_way
@pytest.mark.parametrize(
    "replies", [(code(401),), (code(403), code(403)), (code(403), code(401))], ids=["401", "403", "403, 401"]
)
def test_a_key_that_is_rejected_for_two_ids_is_rejected_for_all(way, replies, error_of):
    error_of(SEVERAL[way][0](), code(403), *replies, kind=KeyRejected)


@each_way
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (code(404), NotFound),
        (code(410), NotFound),
        (code(422), RequestRejected),
        (code(200, html=True), UnexpectedReply),
        (response({"status": "archived"}), UnknownWord),
        (NotFound("no"), NotFound),
        (UnexpectedReply("odd"), UnexpectedReply),
        (RequestRejected("no"), RequestRejected),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:40]),
)
def test_what_is_wrong_with_the_first_id_alone_is_its_own(way, fault, kind, converse):
    reply, _ = converse(SEVERAL[way][0](), code(503), fault)
    ((target, error),) = reply.observations.items()
    assert (target.id, type(error)) == ("a", kind)


@each_way
@pytest.mark.parametrize("may_omit", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (code(401), KeyRejected),
        (code(402), QuotaExhausted),
        (code(503), ServiceUnavailable),
        (code(429), RateLimited),
        (KeyRejected("no"), KeyRejected),
        (QuotaExhausted("used up"), QuotaExhausted),
        (ServiceUnavailable("away"), ServiceUnavailable),
        (RateLimited("slow down"), RateLimited),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:40]),
)
def test_what_is_wrong_with_the_service_or_the_key_is_raised_for_all_of_them(way, may_omit, fault, kind, error_of):
    error_of(SEVERAL[way][0](may_omit=may_omit), code(401), fault, kind=kind)


@each_way
def test_an_id_that_is_polled_alone_instead_is_remembered(way, converse):
    start, _, _, alone, _ = SEVERAL[way]
    cache: StatusCache = {}
    first, again = (converse(start(cache=cache), code(503), alone)[0].observations for _ in range(2))
    assert [target.id for target in cache] == ["a"]
    assert all(again[target] is status for target, status in first.items())


def test_a_batch_works_below_a_prefix_that_has_to_be_found(converse):
    """The route of the ids is missing below the one prefix, and there below the other."""
    service = replace(UNSILOED, prefixes=("", "/api"))
    prefix = PathPrefix(service, service.host, "")
    flow = with_prefix(poll(service, jobs_of("a", "b")), prefix)
    reply, requests = converse(flow, code(405), jobs(a="queued"))
    assert (states(reply), prefix.current) == ({"a": State.RUNNING}, "/api")
    assert [request.label for request in requests] == ["GET /jobs/status", "GET /api/jobs/status"]


# -- the list ----------------------------------------------------------------------------------------------------


def page(*ids: str, more: object = False) -> Any:
    return response({"jobs": [{"job_id": one, "status": "queued"} for one in ids], "pagination": {"has_more": more}})


def listed(limit: int | None = None, offset: int = 0, **filters: str) -> Any:
    return list_jobs(UNSILOED, filters=filters, limit=limit, offset=offset)


def test_a_list_follows_its_pages_with_its_filters(converse):
    found, requests = converse(listed(status="failed", tags="a,b"), page("a", "b", more=True), page("c"))
    assert [status.id for status in found] == ["a", "b", "c"]
    assert [request.query for request in requests] == [
        {"status": "failed", "tags": "a,b", "limit": "100", "offset": "0"},
        {"status": "failed", "tags": "a,b", "limit": "100", "offset": "2"},
    ]


@pytest.mark.parametrize(
    ("limit", "offset", "pages", "paging", "ids"),
    [
        (3, 0, [page("a", "b", more=True), page("c", more=True)], [("3", "0"), ("1", "2")], ["a", "b", "c"]),
        (1, 5, [page("a", "b", more=True)], [("1", "5")], ["a"]),
        (500, 0, [page("a")], [("100", "0")], ["a"]),
        (0, 0, [], [], []),
        (None, 0, [page(more=True)], [("100", "0")], []),
        (None, 0, [page("a", more="yes")], [("100", "0")], ["a"]),
        (None, 0, [page("a", "b", "a", more=False)], [("100", "0")], ["a", "b"]),
        (None, 0, [response({"jobs": [{"job_id": "a", "status": "queued"}]})], [("100", "0")], ["a"]),
        (None, 0, [page("a", "b", more=True)] * 2, [("100", "0"), ("100", "2")], ["a", "b"]),
        (None, 0, [page("a", "b", more=True), page("b", "c")], [("100", "0"), ("100", "2")], ["a", "b", "c"]),
        (
            None,
            0,
            [page("a", "b", more=True), page("b", "c", more=True), page("d")],
            [("100", "0"), ("100", "2"), ("100", "4")],
            ["a", "b", "c", "d"],
        ),
    ],
    ids=[
        "limit",
        "offset",
        "large limit",
        "nothing wanted",
        "empty page",
        "odd flag",
        "a job twice",
        "no paging in the reply",
        "offset ignored",
        "a job moved to the next page",
        "a job moved to a page in the middle",
    ],
)
def test_a_list_ends(limit, offset, pages, paging, ids, *, converse):
    found, requests = converse(listed(limit, offset), *pages)
    assert [status.id for status in found] == ids
    assert [(request.query["limit"], request.query["offset"]) for request in requests] == paging


HUNDRED = [f"j-{n}" for n in range(100)]
ELSEWHERE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "at the top": {"has_more": True},
    "in meta": {"meta": {"has_more": True}},
    "an odd flag": {"pagination": {"has_more": "true"}},
    "a link": {"next": "/jobs?offset=100"},
    "a total": {"total": 101},
}


@pytest.mark.parametrize("more", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_full_page_is_not_the_last_unless_the_documented_flag_says_so(more, converse):
    first = response({"jobs": [{"job_id": one, "status": "queued"} for one in HUNDRED], **more})
    last = response({"jobs": [{"job_id": "last", "status": "queued"}]})
    found, requests = converse(listed(), first, last)
    assert [status.id for status in found] == [*HUNDRED, "last"]
    assert [request.query["offset"] for request in requests] == ["0", "100"]
    found, _ = converse(listed(), page(*HUNDRED, more=False))
    assert [status.id for status in found] == HUNDRED


@pytest.mark.parametrize("more", [ELSEWHERE["at the top"], ELSEWHERE["in meta"], {"total": 3}, {"pagination": {"total": "3"}}])
def test_a_deployment_with_smaller_pages_is_followed_if_it_says_that_there_are_more(more, converse):
    first = response({"jobs": [{"job_id": one, "status": "queued"} for one in "ab"], **more})
    found, _ = converse(listed(), first, response({"jobs": [{"job_id": "c", "status": "queued"}]}))
    assert [status.id for status in found] == ["a", "b", "c"]


def test_a_full_page_may_be_the_last(converse):
    found, _ = converse(listed(), response({"jobs": [{"job_id": one, "status": "queued"} for one in HUNDRED]}), page())
    assert [status.id for status in found] == HUNDRED
    found, _ = converse(listed(limit=100), response({"jobs": [{"job_id": one, "status": "queued"} for one in HUNDRED]}))
    assert [status.id for status in found] == HUNDRED


@pytest.mark.parametrize("service", [UNSILOED, NEUROLINKER], ids=lambda service: service.name)
@pytest.mark.parametrize("value", ["5", -1, 2.0, True, float("nan"), [5], b"5"], ids=repr)
@pytest.mark.parametrize("name", ["limit", "offset"])
def test_a_limit_or_offset_that_is_no_number_of_jobs_is_refused(service, name, value, refusal):
    said = refusal(list_jobs(service, **{"filters": {}, "limit": None, "offset": 0, name: value}))
    assert said.startswith(f"{name} must be a whole number (int) from 0 on")
    assert ("None for all jobs" in said) == (name == "limit")
    assert repr(value) in said


def test_an_offset_must_be_told(refusal):
    assert "offset must be a whole number" in refusal(list_jobs(UNSILOED, filters={}, limit=None, offset=None))


def test_a_list_without_paging_is_one_request(converse):
    tasks = response(
        {"success": True, "tasks": {"requests": [{"request_id": "r-1", "status": "partial", "total_documents": 27}]}}
    )
    (found,), (request,) = converse(list_jobs(NEUROLINKER, filters={}, limit=None, offset=0), tasks)
    assert (found.id, found.kind, found.state, found.details) == ("r-1", "request", State.PARTIAL, {"total_documents": 27})
    assert (request.path, request.query) == ("/tasks", {})


@pytest.mark.parametrize(
    ("service", "wanted", "said"),
    [
        (AITRONOS, {}, "Aitronos documents no route that lists jobs; ask by id"),
        (UNSILOED, {"filters": {"colour": "red", "status": "failed"}}, "cannot list by colour; it knows status, operation"),
        (NEUROLINKER, {"filters": {"status": "failed"}}, "cannot list by status; it has no filters"),
        (NEUROLINKER, {"offset": 5}, "cannot begin at an item; leave offset out"),
    ],
    ids=["no list", "unknown filter", "no filters", "no paging"],
)
def test_what_a_list_cannot_do_is_refused_before_anything_is_sent(service, wanted, said, refusal):
    assert said in refusal(list_jobs(service, **{"filters": {}, "limit": None, "offset": 0, **wanted}))


@pytest.mark.parametrize("code", [404, 405, 501])
def test_a_deployment_that_cannot_list_says_so(code, error_of):
    error = error_of(listed(), response({}, code))
    assert f"answered {code}, this deployment has no such route. Ask by id" in str(error)
    assert error.code == code


@pytest.mark.parametrize("body", [{}, {"jobs": None}, {"jobs": "a"}], ids=str)
def test_a_list_that_is_none_is_unexpected(body, refusal):
    assert "without a list 'jobs'" in refusal(listed(), response(body), kind=UnexpectedReply)


def test_an_error_between_two_pages_ends_the_list(error_of):
    assert error_of(listed(), page("a", more=True), AWAY, kind=ServiceUnavailable) is AWAY
