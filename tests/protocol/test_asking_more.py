"""What a description can say about requests and refusals: quotas, ids, status URLs, batches, and lists page by page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import (
    KeyRejected,
    NoSuchRoute,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import BatchRoute, ListRoute, ResultRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.flows import PollReply, poll, poll_batch, poll_one, run, status_request
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.paging import MOST_EMPTY
from airflow_provider_docstatus.protocol.rules import BadDescription, check
from airflow_provider_docstatus.protocol.targets import Target, target_of
from airflow_provider_docstatus.status import State
from tests.conversations import ACME, JOB, NOW, acme, converse, error_of, refusal, response

many = settings(max_examples=200, deadline=None, derandomize=True, database=None)

SUCCEEDED, FAILED = State.SUCCEEDED, State.FAILED


# -- quota, rate and what may be repeated ------------------------------------------------------------------------

PAID = acme(
    more={
        "quota_codes": (402, 456),
        "quota": {"detail": ("No Active Subscription.",), "error.type": ("spent",)},
        "rate": {"error.code": ("Too_Fast",), "error.type": ("rate",)},
        "retry_flag": "error.retryable",
    }
)


@pytest.mark.parametrize(
    ("body", "code", "kind"),
    [
        ({}, 402, QuotaExhausted),
        ({"detail": "x"}, 456, QuotaExhausted),
        ({"detail": "no active subscription"}, 403, QuotaExhausted),
        ({"detail": " NO ACTIVE SUBSCRIPTION. "}, 403, QuotaExhausted),
        ({"error": {"type": "Spent"}}, 429, QuotaExhausted),
        ({"error": {"type": "Spent"}}, 403, QuotaExhausted),
        ({"error": {"type": "spent"}}, 400, RequestRejected),
        ({"detail": "not yours"}, 403, KeyRejected),
        ({"detail": "no active subscription"}, 401, KeyRejected),
        ({"detail": "slow down"}, 429, RateLimited),
        ({"error": {"retryable": True}}, 409, ServiceUnavailable),
        ({"error": {"retryable": True}}, 404, ServiceUnavailable),
        ({"error": {"retryable": "true"}}, 422, RequestRejected),
        ({"error": {"retryable": False}}, 422, RequestRejected),
        ({"error": {"retryable": True, "type": "spent"}}, 429, QuotaExhausted),
    ],
    ids=str,
)
def test_what_a_refusal_means_is_told_by_codes_texts_and_a_flag(body, code, kind):
    error_of(poll_one(PAID, JOB), response(body, code), kind=kind)


def test_a_page_of_a_proxy_says_nothing_of_quota_or_repeats():
    page = response(text="no active subscription", code=403)
    error_of(poll_one(PAID, JOB), page, kind=UnexpectedReply)
    gateway = response({"message": "Forbidden", "error": "x"}, 403)
    error_of(poll_one(replace(PAID, retry_flag="error"), JOB), gateway, kind=UnexpectedReply)


@pytest.mark.parametrize(
    ("error", "warns"),
    [
        ({"code": "too_fast"}, False),
        ({"type": "RATE."}, False),
        ({"code": "other", "type": "rate"}, False),
        ({"code": "too_fast", "type": "other"}, False),
        ({"code": "other"}, True),
        ({"code": 7}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_429_with_another_text_than_the_rates_warns_of_a_limit_of_the_account(error, warns):
    text = refusal(poll_one(PAID, JOB), response({"error": error}, 429), kind=RateLimited)
    assert ("may be a limit of the account" in text) is warns


def test_a_good_reply_says_when_to_poll_again():
    def asked(code: int = 200, service: ServiceDescription = ACME, **headers: str) -> float | None:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        reply: PollReply = converse(poll(service, [JOB]), response({"status": "running"}, code, headers=more))[0]
        return reply.retry_after

    assert asked(retry_after="7") == 7.0
    assert asked(202, retry_after="7") == 7.0
    assert asked(retry_after="Mon, 16 Dec 2024 10:30:20 GMT") == 20.0
    assert asked(retry_after="soon") is None
    assert asked() is None
    own = replace(ACME, retry_headers=("x-reset", "retry-after-ms"))
    assert asked(service=own, x_reset=str(NOW + 9), retry_after_ms="90") is None  # a vendor's own headers are about its limit


# -- ids and requests --------------------------------------------------------------------------------------------

MODEL = Route(path="/models/{model}/results/{id}", ids=("resultId",), query={"version": "3"})
SHAPED = replace(ACME, routes={"job": replace(MODEL, result=ResultRoute(path="/models/{model}/results/{id}/pdf"))})


def targeted(service: ServiceDescription, value: object, operation: str | None = None) -> Target:
    return target_of(service, {"job_id": value}, operation)


def test_an_id_of_two_parts_fills_both_places():
    target = targeted(SHAPED, "m 1/r-1".replace(" ", "_"))
    assert target == Target("job", "m_1/r-1")
    request = status_request(SHAPED, target)
    assert (request.path, request.label) == ("/models/m_1/results/r-1", "GET /models/{model}/results/{id}")
    assert request.query == {"version": "3"}
    assert status_request(SHAPED, Target("job", "a:b/é")).path == "/models/a%3Ab/results/%C3%A9"


def test_a_place_that_an_id_names_is_no_place():
    assert status_request(SHAPED, Target("job", "{id}/r-1")).path == "/models/%7Bid%7D/results/r-1"


@pytest.mark.parametrize("value", ["r-1", "m/r/1", "m/", "/r", "m/..", "../r", "m/r?x", "m/a b", "m//r", 7, "", "m%2Fr"], ids=str)
def test_an_id_with_other_than_two_good_parts_is_refused(value):
    text = refusal(lambda: targeted(SHAPED, value))
    assert "model/id here" in text or "job_id=" in text


@pytest.mark.parametrize(("answered", "is_it"), [("r-1", True), ("R-1", True), ("m/r-1", True), ("m", False), ("1", False)])
def test_a_reply_may_repeat_an_id_of_two_parts_or_its_last_part(answered, is_it):
    flow, reply = poll_one(SHAPED, Target("job", "m/r-1")), response({"resultId": answered, "status": "done"})
    if is_it:
        assert converse(flow, reply)[0].id == "m/r-1"
    else:
        assert "another id" in refusal(flow, reply, kind=UnexpectedReply)


LINKED = replace(
    ACME,
    status_hosts=("*.acme.example.com", "acme.example.com"),
    routes={
        "convert": replace(ACME.routes["job"], path="/{id}", id_prefixes=("c-", "cv-")),
        "job": replace(ACME.routes["job"], id_prefixes=("j-",)),
        "model": replace(MODEL, id_prefixes=("m-",)),
        "old": replace(ACME.routes["job"], path="/old/jobs/{id}"),
    },
)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://acme.example.com/v1/jobs/j-1", Target("job", "j-1")),
        ("https://acme.example.com/jobs/j-1/", Target("job", "j-1")),
        ("https://eu.acme.example.com/api/models/m-1/results/r-1?version=9#top", Target("model", "m-1/r-1")),
        ("HTTPS://ACME.Example.COM:8443/jobs/J-1", Target("job", "J-1")),
        ("https://acme.example.com./jobs/j-1", Target("job", "j-1")),
        ("https://acme.example.com/jobs/a%3Ab", Target("job", "a:b")),
        ("https://acme.example.com/x/../jobs/j-1", Target("job", "j-1")),
        ("https://me:pw@acme.example.com/jobs/j-1", Target("job", "j-1")),
        ("https://acme.example.com/old/jobs/j-1", Target("old", "j-1")),
        ("https://acme.example.com/v1/old/jobs/j-1", Target("old", "j-1")),
    ],
)
def test_of_a_status_url_only_the_ids_are_used(url, target):
    assert targeted(LINKED, url) == target
    request = status_request(LINKED, target)
    assert request.path in ("/jobs/j-1", "/jobs/J-1", "/jobs/a%3Ab", "/models/m-1/results/r-1", "/old/jobs/j-1")
    assert (request.host, request.link) == ("", "")
    assert request.query == LINKED.routes[target.route].query


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/jobs/j-1",
        "https://acme.example.com@evil.example/jobs/j-1",
        "https://evil.example/?https://acme.example.com/jobs/j-1",
        "https://evil.example#@acme.example.com/jobs/j-1",
        "https://acme.example.com.evil.example/jobs/j-1",
        "https://evilacme.example.com.evil/jobs/j-1",
        "https://[::1/jobs/j-1",
        "https:///jobs/j-1",
        "://acme.example.com/jobs/j-1",
    ],
)
def test_a_status_url_at_another_host_is_refused(url):
    text = refusal(lambda: targeted(LINKED, url))
    assert "but the status URLs of this connection are on *.acme.example.com, acme.example.com" in text


WITHOUT_ROOT = replace(LINKED, routes={name: route for name, route in LINKED.routes.items() if name != "convert"})


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.example.com/",
        "https://acme.example.com",
        "https://acme.example.com/jobs/",
        "https://acme.example.com/JOBS/j-1",
        "https://acme.example.com/xjobs/j-1",
        "https://acme.example.com/jobs/j-1/result",
        "https://acme.example.com/models/m-1/j-1",
        "https://acme.example.com/?id=/jobs/j-1",
    ],
)
def test_a_url_that_is_no_status_url_is_refused(url):
    text = refusal(lambda: targeted(WITHOUT_ROOT, url))
    assert "is no status URL of Acme; those end in /jobs/{id}, /models/{model}/results/{id}, /old/jobs/{id}" in text


@pytest.mark.parametrize("part", ["a%2Fb", "..", "%2e%2e", "a%252Fb", "a%20b", "a%3Fb", "%00", "a,b", "%5C"])
def test_an_id_in_a_status_url_is_checked_like_any_other(part):
    assert "job_id=" in refusal(lambda: targeted(WITHOUT_ROOT, f"https://acme.example.com/jobs/{part}"))


@many
@given(st.text(alphabet="aJ1-./%2e:@\\?#&é ", max_size=12))
def test_whatever_stands_in_a_status_url_the_request_stays_on_its_route(text):
    try:
        target = targeted(WITHOUT_ROOT, f"https://acme.example.com/jobs/{text}")
    except RequestRejected:
        return
    head, _, last = status_request(WITHOUT_ROOT, target).path.rpartition("/")
    assert head in ("/jobs", "/old/jobs") or head.startswith("/models/")
    assert last not in ("", ".", "..")
    assert last.isascii()


def test_a_status_url_and_an_operation_must_fit():
    url = "https://acme.example.com/old/jobs/j-1"
    assert targeted(LINKED, url, "job") == Target("job", "j-1")  # its path ends like one, too
    assert targeted(LINKED, url, "OLD") == Target("old", "j-1")
    assert "those end in /models/{model}/results/{id}." in refusal(lambda: targeted(LINKED, url, "model"))
    assert "no operation 'other'; use one of convert" in refusal(lambda: targeted(LINKED, url, "other"))
    assert "no operations; leave" in refusal(lambda: targeted(replace(ACME, status_hosts=LINKED.status_hosts), url, "job"))


def test_a_url_is_no_id_where_no_status_urls_are_known():
    text = refusal(lambda: targeted(ACME, "https://acme.example.com/jobs/j-1"))
    assert "'acme.example.com', but the status URLs of this connection are not known; give the bare id" in text


@pytest.mark.parametrize(
    ("value", "operation", "route"),
    [
        ("j-1", None, "job"),
        ("c-1", None, "convert"),
        ("cv-1", None, "convert"),
        ("m-1/r-1", None, "model"),
        ("j-1", "old", "old"),
        ("j-1", "convert", "convert"),
    ],
)
def test_the_beginning_of_an_id_names_its_route_unless_the_operation_does(value, operation, route):
    assert targeted(LINKED, value, operation) == Target(route, value)


@pytest.mark.parametrize("value", ["x-1", "J-1", 7, "j", "-j-1"], ids=str)
def test_an_id_that_begins_like_none_needs_an_operation(value):
    assert "say operation=" in refusal(lambda: targeted(LINKED, value))


def test_a_beginning_that_two_routes_have_names_neither():
    twice = {**LINKED.routes, "old": replace(LINKED.routes["old"], id_prefixes=("j-", "o-"))}
    service = replace(LINKED, routes=twice)
    assert "say operation=" in refusal(lambda: targeted(service, "j-1"))
    assert targeted(service, "o-1").route == "old"


# -- several ids by one request ----------------------------------------------------------------------------------

TWO = [Target("job", "j-1"), Target("job", "j-2")]


def batch(**fields: Any) -> ServiceDescription:
    return acme(batch=BatchRoute(path="/many", parameter="ids", items="jobs", **fields))


def test_a_key_of_a_query_may_stand_several_times():
    assert status_request(acme(query={"expand": ("text", "pages"), "v": "2"}), JOB).query == {
        "expand": ("text", "pages"),
        "v": "2",
    }


@pytest.mark.parametrize(("repeats", "query"), [(True, ("j-1", "j-2")), (False, "j-1,j-2")])
def test_a_batch_repeats_the_key_or_joins_the_ids(repeats, query):
    reply = response({"jobs": [{"job_id": "j-2", "status": "done"}]})
    found, (request,) = converse(poll_batch(batch(repeats=repeats, query={"full": "1"}), TWO), reply)
    assert {target.id: status.state for target, status in found.items()} == {"j-2": SUCCEEDED}
    assert request.query == {"ids": query, "full": "1"}


def test_an_item_of_a_batch_that_is_no_status_counts_as_omitted():
    service = batch(item=Route(path="", ids=("key",), flag="ok", codes={200: FAILED}, inside="data"))
    jobs = [{"key": "j-1", "status": "odd"}, {"key": "j-3", "status": "done"}, None, {"key": ["j-2"], "status": "done"}, {}]
    assert converse(poll_batch(service, TWO), response({"jobs": jobs}))[0] == {}
    contradicted = {"key": "j-1", "status": "done", "success": False}
    flagged = {"key": "j-2", "status": "done", "ok": False}
    found, _ = converse(
        poll_batch(batch(item=Route(path="", ids=("key",), flag="ok")), TWO), response({"jobs": [contradicted, flagged]})
    )
    assert {target.id: status.state for target, status in found.items()} == {"j-2": FAILED}


def test_a_missing_batch_route_is_told_from_a_missing_list():
    error_of(poll_batch(batch(), TWO), response({"detail": "x"}, 404), kind=NoSuchRoute)
    assert "without a list 'jobs'" in refusal(poll_batch(batch(), TWO), response({"jobs": {}}), kind=UnexpectedReply)


def test_a_long_reply_about_several_ids_is_read_at_any_depth():
    service = acme(batch=BatchRoute(path="/many", parameter="ids", items="found.all.jobs"))
    jobs = [{"job_id": f"j-{number}", "status": "done", "filling": "x" * 400} for number in range(500)]
    long = replace(response({"found": {"all": {"jobs": jobs}}}), limit=10**6)
    found, _ = converse(poll_batch(service, [Target("job", "j-1"), Target("job", "j-499")]), long)
    assert len(found) == 2


# -- lists -------------------------------------------------------------------------------------------------------


def page_of(*ids: str, **beside: Any) -> Any:
    return response({"jobs": [{"job_id": one, "status": "done"} for one in ids], **beside})


def listed(listing: ListRoute, *pages: Any, limit: int | None = None, offset: int = 0) -> tuple[str, list[dict[str, Any]]]:
    """Return the ids in a list, joined, and the queries that asked for its pages."""
    flow = list_jobs(acme(listing=listing), filters={}, limit=limit, offset=offset)
    found, requests = converse(flow, *pages)
    assert {request.path for request in requests} == {"/jobs"}
    assert not any(request.host or request.link for request in requests)
    return "".join(status.id for status in found), [dict(request.query) for request in requests]


def paged(paging: Any, **fields: Any) -> ListRoute:
    return ListRoute(path="/jobs", items="jobs", paging=paging, **fields)


OFFSET = paged("offset", page_size=2, query={"sort": "up"})
FROM_ZERO = paged("page", page_size=2, at="page", size="pageSize", next="has_more")
FROM_ONE = replace(FROM_ZERO, first=1, size="", at="p", next="")
TOKEN = paged("token", at="cursor", next="meta.next", size="n", page_size=5)
LINK = paged("link", next="nextLink", size="", query={"version": "3"})


def test_pages_are_counted_by_items():
    assert listed(OFFSET, page_of("a", "b"), page_of("c")) == (
        "abc",
        [{"sort": "up", "limit": "2", "offset": "0"}, {"sort": "up", "limit": "2", "offset": "2"}],
    )
    ids, queries = listed(OFFSET, page_of("a", "b"), page_of("c"), limit=3, offset=7)
    assert (ids, [(query["limit"], query["offset"]) for query in queries]) == ("abc", [("2", "7"), ("1", "9")])


def test_pages_are_counted_from_zero_or_from_one():
    ids, queries = listed(FROM_ZERO, page_of("a", "b", has_more=True), page_of("c", has_more=True), page_of("d", has_more=False))
    assert (ids, queries) == ("abcd", [{"pageSize": "2", "page": number} for number in "012"])
    ids, queries = listed(FROM_ONE, page_of("a", "b"), page_of("c", "d"), page_of("d"))
    assert (ids, queries) == ("abcd", [{"p": number} for number in "123"])
    ids, queries = listed(FROM_ONE, page_of("a", "b"), page_of("c", "d"), limit=3)
    assert (ids, len(queries)) == ("abc", 2)


@pytest.mark.parametrize("last", [None, "", {}, [], True, 1.5], ids=str)
def test_a_token_leads_to_the_next_page_until_there_is_none(last):
    pages = [page_of("a", "b", meta={"next": "t 1"}), page_of("c", meta={"next": 7}), page_of("d", meta={"next": last})]
    assert listed(TOKEN, *pages) == ("abcd", [{"n": "5"}, {"n": "5", "cursor": "t 1"}, {"n": "5", "cursor": "7"}])


def test_a_reply_without_the_place_of_the_token_is_the_last():
    assert listed(TOKEN, page_of("a")) == ("a", [{"n": "5"}])
    assert listed(TOKEN, page_of("a", meta=None)) == ("a", [{"n": "5"}])
    assert listed(TOKEN, page_of("a", meta={"next": "t"}), page_of("b", meta={"next": "u"}), limit=2)[0] == "ab"


def test_a_token_that_never_ends_is_followed_no_longer():
    same = [page_of("a", meta={"next": "t"}), page_of("b", meta={"next": "t"})]
    assert listed(TOKEN, *same)[0] == "ab"
    again = [page_of("a", meta={"next": "t"}), page_of("a", meta={"next": "u"})]
    assert listed(TOKEN, *again)[0] == "a"


def test_an_empty_page_with_a_token_is_not_the_last():
    empty = [page_of(meta={"next": f"t{number}"}) for number in range(MOST_EMPTY)]
    assert listed(TOKEN, *empty, page_of("a"))[0] == "a"
    assert listed(TOKEN, page_of("a", meta={"next": "t"}), *empty, page_of(meta={"next": "u"}))[0] == "a"


@pytest.mark.parametrize(
    ("link", "more"),
    [
        ("https://acme.example.com/jobs?cursor=a%20b&version=3", {"cursor": "a b"}),
        ("https://evil.example/steal?cursor=c", {"cursor": "c"}),
        ("/jobs?cursor=c&kind=x&kind=y", {"cursor": "c", "kind": ("x", "y")}),
        ("?cursor=c&flag=&version=4", {"cursor": "c", "flag": "", "version": "4"}),
    ],
)
def test_of_a_link_to_the_next_page_only_the_query_is_used(link, more):
    assert listed(LINK, page_of("a", nextLink=link), page_of("b", nextLink="")) == (
        "ab",
        [{"version": "3"}, {"version": "3", **more}],
    )


@pytest.mark.parametrize("link", [None, "", "https://[", "https://acme.example.com/jobs/2", {"href": "?cursor=c"}], ids=str)
def test_what_is_no_link_leads_to_no_page(link):
    assert listed(LINK, page_of("a", nextLink=link))[0] == "a"


def test_a_list_without_pages_is_asked_for_once():
    assert listed(paged(""), page_of("a", "b", has_more=True)) == ("ab", [{}])
    assert listed(paged("", page_size=2), page_of("a", "b")) == ("ab", [{"limit": "2"}])


@pytest.mark.parametrize("paging", ["token", "link"])
def test_a_list_whose_pages_are_led_to_must_say_where_that_stands(paging):
    with pytest.raises(BadDescription, match=r"routes\.job\.listing\.next: must say where the token or link"):
        check(acme(listing=paged(paging)))
    with pytest.raises(BadDescription, match=r"routes\.job\.members\.next"):
        check(acme(members=paged(paging)))
    check(acme(listing=paged(paging, next="next"), members=paged("offset")))


pages = st.lists(st.tuples(st.lists(st.sampled_from("abc"), max_size=3), st.sampled_from(["", "t", "?u=1", None])), min_size=1)


@many
@given(pages=pages, listing=st.sampled_from([OFFSET, FROM_ZERO, FROM_ONE, TOKEN, LINK]), endless=st.booleans())
def test_whatever_the_pages_are_a_list_comes_to_an_end(pages, listing, endless):
    asked = 0

    def send(request: Request) -> Response:
        nonlocal asked
        asked += 1
        assert asked < 100
        ids, turn = pages[min(asked, len(pages)) - 1]
        turn = f"?n={asked}" if endless else turn
        return page_of(*ids, meta={"next": turn}, nextLink=turn, has_more=endless or bool(turn))

    found = run(list_jobs(acme(listing=listing), filters={}, limit=None, offset=0), send)
    assert len({status.id for status in found}) == len(found)


def test_each_route_may_have_a_list_of_its_own():
    routes = {
        "parse": Route(path="/parse/{id}"),
        "extract": Route(path="/extract/{id}", listing=ListRoute(path="/extract", items="jobs", filters=("tag",))),
        "split": Route(path="/split/{id}", listing=ListRoute(path="/split", items="jobs"), host="https://split.example"),
    }
    service = replace(ACME, routes=routes, operations={"cutting": "split"})

    def listing(operation: str | None, **filters: str) -> Any:
        return list_jobs(service, filters=filters, limit=None, offset=0, operation=operation)

    def asked(operation: str | None, **filters: str) -> Request:
        return converse(listing(operation, **filters), page_of("a"))[1][0]

    assert asked(None).path == "/extract"
    assert asked("extract", tag="x").query == {"tag": "x"}
    assert (asked("Cutting").path, asked("split").host) == ("/split", "https://split.example")
    assert "cannot list 'parse'; it lists extract, split" in refusal(listing("parse"))
    assert "cannot list by tag; it has no filters" in refusal(listing("split", tag="x"))
    assert "documents no route that lists jobs" in refusal(list_jobs(ACME, filters={}, limit=None, offset=0))
    assert "cannot begin at an item" in refusal(list_jobs(acme(listing=TOKEN), filters={}, limit=None, offset=1))
