"""The data of finished documents: what may still come is asked for again, what is refused about one id is its own error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus._compat import AirflowFailException
from airflow_provider_docstatus.airflow_errors import for_airflow
from airflow_provider_docstatus.carriable import read_back
from airflow_provider_docstatus.exceptions import (
    DataRefused,
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    NotFound,
    QuotaExhausted,
    RateLimited,
    ReplyTooLarge,
    RequestRejected,
    ResultNotStorable,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.fetching import Fetcher
from airflow_provider_docstatus.protocol.flows import Flow, run
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED, ServiceDescription
from airflow_provider_docstatus.services.docling import DOCLING
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import HTML, LIMIT, response
from tests.shapes import is_same

START = 1000.0
PAGE = response(text="<html>", headers=HTML)
CUT = response(text='{"results": [')
UNKNOWN = response({"detail": "no such job"}, 404)
REFUSED = response({"detail": "malformed"}, 422)
FORBIDDEN = response({"detail": "not yours"}, 403)
NULL = None


class Hook:
    """
    A hook without a network and with a clock of its own.

    :param said: what is answered about an id, in turn; the last of them for ever. Nothing said is data: ``{"of": id}``.
    """

    def __init__(self, service: ServiceDescription, **said: Any) -> None:
        self.service = service
        self.said = {one: list(replies) if isinstance(replies, list) else [replies] for one, replies in said.items()}
        self.now = START
        self.asked: list[list[str]] = []
        self.reloads = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def reload(self) -> None:
        self.reloads += 1

    def run(self, flow: Flow[Any]) -> Any:
        return run(flow, self.send)

    def send(self, request: Request) -> Response:
        ids = (
            request.json["document_ids"]
            if request.json
            else [request.path.split("/")[3 if "documents/jobs" in request.path else 2]]
        )
        self.asked.append(list(ids))
        told = {one: self._next(one) for one in ids}
        whole = next((one for one in told.values() if isinstance(one, (Response, DocStatusError))), None)
        if isinstance(whole, DocStatusError):
            raise whole
        if isinstance(whole, Response):
            return replace(whole, request=request)
        if request.json:
            results = [{"document_id": one, "content": data} for one, data in told.items() if data != "left out"]
            return response({"results": results}, request=request)
        ((one, data),) = told.items()
        if self.service is AITRONOS:
            return response({"job_id": one, "status": "completed", "extracted_data": data}, request=request)
        return response(data if isinstance(data, dict) else {}, request=request)

    def _next(self, one: str) -> Any:
        replies = self.said.get(one, [{"of": one}])
        return replies.pop(0) if len(replies) > 1 else replies[0]


def known(kind: str, one: str, *children: str, service: ServiceDescription = NEUROLINKER) -> DocumentStatus:
    status = DocumentStatus(service=service.name, kind=kind, id=one, state=State.SUCCEEDED, word="completed")
    return replace(status, children=tuple(replace(status, kind="document", id=child) for child in children))


def fetcher(hook: Hook) -> Fetcher:
    return Fetcher(hook, content=None, options={})  # type: ignore[arg-type]  # a stand-in for the hook


def listed(hook: Hook, route: str, ids: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    items, errors = fetcher(hook).fetch_list([Target(route, one) for one in ids])
    return items, {one: str(error) for one, error in errors.items()}


def jobs(hook: Hook) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    return listed(hook, "job", "abc")


def documents(hook: Hook) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    return listed(hook, "document", "abc")


def request(hook: Hook) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    data = fetcher(hook).fetch(Target("request", "r"), known("request", "r", *"abc"))[1]
    return data["items"], data["errors"]


def batch(hook: Hook) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    data = fetcher(hook).fetch(Target("batch", "r"), known("batch", "r", *"abc", service=UNSILOED))[1]
    return data["items"], data["errors"]


#: How three ids are fetched: one by one, together, as the documents of a request, as the jobs of a batch.
Fetches = Callable[[Hook], tuple[Mapping[str, Any], Mapping[str, str]]]
WAYS: dict[str, tuple[ServiceDescription, Fetches]] = {
    "list of jobs": (AITRONOS, jobs),
    "list of documents": (NEUROLINKER, documents),
    "request": (NEUROLINKER, request),
    "batch": (UNSILOED, batch),
}
each_way = pytest.mark.parametrize("way", WAYS)
PASSING = {
    "html": PAGE,
    "cut json": CUT,
    "404": UNKNOWN,
    "a proxy's 404": response(text="404 page not found", code=404),
    "503": response({}, 503),
    "429": response({}, 429),
    "no connection": ServiceUnavailable("away"),
    "no data": NULL,
}


@each_way
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_passing_fault_of_one_id_is_asked_for_again_and_nothing_is_left_out(way, fault):
    service, fetch = WAYS[way]
    hook = Hook(service, b=[fault, fault, fault, {"of": "b"}])
    items, errors = fetch(hook)
    assert set(items) == {"a", "b", "c"}
    assert errors == {}
    assert hook.now - START <= 60
    assert sum(ids == ["a"] for ids in hook.asked) <= 4, "what was fetched is not fetched anew"


@each_way
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_does_not_pass_is_retried_and_never_a_success_without_the_id(way, fault):
    service, fetch = WAYS[way]
    hook = Hook(service, b=fault)
    with pytest.raises((ServiceUnavailable, UnexpectedReply, NoData), match="b: ") as raised:
        fetch(hook)
    assert not isinstance(raised.value, (RequestRejected, NotFound))
    assert 55 <= hook.now - START <= 61
    assert len(hook.asked) < 30


def test_a_document_that_a_bulk_reply_left_out_is_asked_for_again():
    hook = Hook(NEUROLINKER, b=["left out", {"of": "b"}])
    assert set(documents(hook)[0]) == {"a", "b", "c"}
    assert hook.asked == [["a", "b", "c"], ["b"]]
    with pytest.raises(NoData, match=r"1 of 3 ids did not come within a minute: b: not in the reply\. A retry asks again\."):
        documents(Hook(NEUROLINKER, b="left out"))


@each_way
def test_what_is_refused_twice_about_one_id_is_its_own_error(way):
    service, fetch = WAYS[way]
    for refusal, said in ((REFUSED, "malformed"), (FORBIDDEN, "not yours")):
        hook = Hook(service, b=refusal)
        items, errors = fetch(hook)
        assert set(items) == {"a", "c"}
        assert said in errors["b"]
        assert hook.now - START >= 5, "a second opinion comes five seconds later"
        assert hook.reloads == 1


@each_way
def test_a_refusal_that_is_said_once_is_none(way):
    service, fetch = WAYS[way]
    assert fetch(Hook(service, b=[REFUSED, {"of": "b"}]))[1] == {}


@each_way
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"a": response({}, 401), "b": response({}, 401), "c": response({}, 401)}, KeyRejected),
        ({"a": FORBIDDEN, "c": FORBIDDEN}, KeyRejected),
        ({"b": response({}, 402)}, QuotaExhausted),
    ],
    ids=["401", "403 for two", "402"],
)
def test_what_concerns_the_account_ends_all(way, said, kind):
    service, fetch = WAYS[way]
    hook = Hook(service, **said)
    with pytest.raises(kind):
        fetch(hook)
    assert hook.now - START <= 15


def test_a_bulk_call_is_split_until_one_bad_id_stands_alone():
    ids = [f"d-{number}" for number in range(10)]
    hook = Hook(NEUROLINKER, **{"d-7": REFUSED})
    items, errors = listed(hook, "document", ids)
    assert list(items) == [one for one in ids if one != "d-7"], "in the order of the ids"
    assert set(errors) == {"d-7"}
    assert len(hook.asked) <= 10


class Heavy(Hook):
    """Documents of 20 kB each, where a reply may have 100 kB."""

    def send(self, request: Request) -> Response:
        reply = super().send(request)
        ids = self.asked[-1]
        return replace(reply, body=b"x" * (LIMIT + 1)) if 30_000 * len(ids) > LIMIT or "huge" in ids else reply


def test_a_bulk_call_is_split_by_size():
    ids = [f"d-{number}" for number in range(10)]
    hook = Heavy(NEUROLINKER)
    assert set(fetcher(hook).fetch_list([Target("document", one) for one in ids])[0]) == set(ids)
    assert hook.now == START, "nothing to wait for"


def test_one_that_is_too_large_alone_is_its_own_error():
    items, errors = listed(Heavy(NEUROLINKER), "document", ["a", "huge", "c"])
    assert set(items) == {"a", "c"}
    assert "raise 'max_reply_bytes'" in errors["huge"]
    for service, route in ((NEUROLINKER, "document"), (AITRONOS, "job")):
        hook = Heavy(service)
        with pytest.raises(ReplyTooLarge, match="raise 'max_reply_bytes'") as raised:
            fetcher(hook).fetch(Target(route, "huge"), known(route, "huge"))
        assert isinstance(for_airflow(raised.value), AirflowFailException)
        assert hook.now == START, "asking again does not help"


def test_data_that_is_late_for_a_single_id_is_waited_for_a_minute():
    for fault in (UNKNOWN, NULL, PAGE):
        hook = Hook(AITRONOS, a=[fault, fault, {"x": 1}])
        assert fetcher(hook).fetch(Target("job", "a"))[1] == {"x": 1}
        hook = Hook(AITRONOS, a=fault)
        with pytest.raises((NoData, UnexpectedReply)):
            fetcher(hook).fetch(Target("job", "a"))
        assert 55 <= hook.now - START <= 61


TORN = response({"detail": "torn page"}, 500)  # so the generic route says that a job has failed, and so a crash looks
EARLY = response({"detail": "still processing"}, 400)


def test_a_data_route_that_contradicts_the_status_may_be_late_or_have_crashed():
    for late in (TORN, EARLY):
        assert batch(Hook(UNSILOED, b=[late, late, late, {"of": "b"}]))[1] == {}
    said = {"job_id": "a", "status": "processing"}
    hook = Hook(AITRONOS, a=[response(said), response(said), {"x": 1}])
    assert fetcher(hook).fetch(Target("job", "a"), known("job", "a", service=AITRONOS))[1] == {"x": 1}


def test_a_job_that_is_said_to_have_failed_for_a_minute_is_its_own_error():
    hook = Hook(UNSILOED, b=TORN)
    items, errors = batch(hook)
    assert (set(items), hook.now - START) == ({"a", "c"}, 60)
    assert "torn page" in errors["b"]


def test_a_result_that_decides_is_believed_at_once():
    failed = {"document": {"md_content": None}, "status": "failure", "errors": [{"error_message": "no model"}]}
    hook = Hook(DOCLING, a=[response(failed), UNKNOWN])  # read once, it is deleted
    with pytest.raises(DocumentFailed, match="no model"):
        fetcher(hook).fetch(Target("convert", "a"), known("job", "a", service=DOCLING))
    assert (hook.asked, hook.now) == ([["a"]], START)


def test_data_that_is_not_finished_for_a_minute_may_be_retried():
    with pytest.raises(NoData, match="1 of 3 ids did not come within a minute: b: Unsiloed job b is not finished"):
        batch(Hook(UNSILOED, b=EARLY))


class Items(Hook):
    """
    Documents about which the vendor says something inside a 200.

    :param times: how often it says that of the document ``b``.
    """

    def __init__(self, times: float) -> None:
        super().__init__(NEUROLINKER)
        self.times = times

    def send(self, request: Request) -> Response:
        reply = super().send(request)
        if "b" not in self.asked[-1] or self.times <= 0:
            return reply
        self.times -= 1
        results = [{"document_id": one, "content": {"of": one}} for one in self.asked[-1] if one != "b"]
        return response({"results": [*results, {"document_id": "b", "error": "no such format"}]}, request=request)


@pytest.mark.parametrize("fetch", [documents, request], ids=["list", "request"])
def test_an_error_inside_a_200_counts_when_it_is_said_twice(fetch):
    hook = Items(times=1)
    assert fetch(hook) == ({one: {"of": one} for one in "abc"}, {})
    hook = Items(times=2)
    assert fetch(hook) == ({one: {"of": one} for one in "ac"}, {"b": "no such format"})
    assert hook.asked == [["a", "b", "c"], ["b"]]


def test_what_is_refused_of_a_single_document_is_not_retried():
    with pytest.raises(DataRefused, match="Neurolinker says document b is 'completed', but gives no data: no such") as raised:
        fetcher(Items(times=9)).fetch(Target("document", "b"), known("document", "b"))
    assert isinstance(for_airflow(raised.value), AirflowFailException)


@pytest.mark.parametrize("fetch", [request, batch], ids=["request", "batch"])
def test_a_whole_of_which_all_is_refused_is_not_retried(fetch):
    service = NEUROLINKER if fetch is request else UNSILOED
    with pytest.raises(DataRefused, match="none of its 3 parts has any") as raised:
        fetch(Hook(service, a=REFUSED, b=REFUSED, c=REFUSED))
    assert isinstance(for_airflow(raised.value), AirflowFailException)


class Requests(Hook):
    def send(self, request: Request) -> Response:
        if "request-status" in request.path:
            one = request.path.rsplit("/", 1)[1]
            told = self._next(one)
            if isinstance(told, Response):
                return replace(told, request=request)
            documents = [{"document_id": f"{one}-d", "status": "completed"}]
            body = {"request_id": one, "status": "completed", "documents": documents}
            return response(body, request=request)
        return super().send(request)


# -- all at the same time ------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_all_ids_have_their_minute_at_the_same_time(way, fault):
    service, fetch = WAYS[way]
    hook = Hook(service, a=[fault, fault, {"of": "a"}], b=[fault, fault, {"of": "b"}], c=[fault, fault, {"of": "c"}])
    assert (set(fetch(hook)[0]), fetch(hook)[1]) == ({"a", "b", "c"}, {})
    assert hook.now - START <= 60


def test_a_finished_request_that_lists_no_documents_yet_is_polled_again():
    hook = Requests(NEUROLINKER, r=[response({"request_id": "r", "status": "completed", "documents": []}), "documents"])
    assert fetcher(hook).fetch(Target("request", "r"), known("request", "r"))[1]["items"] == {"r-d": {"of": "r-d"}}
    hook = Requests(NEUROLINKER, r=response({"request_id": "r", "status": "completed", "documents": []}))
    with pytest.raises(NoData, match="it lists no documents"):
        fetcher(hook).fetch(Target("request", "r"), known("request", "r"))
    assert 55 <= hook.now - START <= 61


def test_a_request_that_turns_out_to_have_failed_is_believed_at_once():
    failed = response({"request_id": "a", "status": "failed", "documents": []})
    hook = Requests(NEUROLINKER, a=failed)
    items, errors = listed(hook, "request", "ab")
    assert (list(items), list(errors), hook.now) == (["b"], ["a"], START)


def test_jobs_of_a_batch_that_are_known_to_have_failed_are_not_asked_for():
    status = known("batch", "r", *"abc", service=UNSILOED)
    torn = replace(status.children[1], state=State.FAILED, message="torn page")
    hook = Hook(UNSILOED)
    data = fetcher(hook).fetch(Target("batch", "r"), replace(status, children=(status.children[0], torn)))[1]
    assert (list(data["items"]), hook.asked, hook.now) == (["a"], [["a"]], START)
    assert "torn page" in data["errors"]["b"]


def test_requests_have_their_minute_at_the_same_time_too():
    def late(hook: Hook, one: str) -> Any:
        return {"of": one} if hook.now - START > 50 else None

    class Late(Requests):
        def _next(self, one: str) -> Any:
            return super()._next(one) if "-" not in one else late(self, one)

    hook = Late(NEUROLINKER)
    assert set(listed(hook, "request", "ab")[0]) == {"a", "b"}
    assert hook.now - START <= 60


def test_a_429_pauses_all_and_costs_no_id_its_minute():
    limited = response({}, 429, headers={"retry-after": "20"})
    ids = [f"j-{number}" for number in range(20)]
    hook = Hook(AITRONOS, **{one: [limited, {"of": one}] for one in ids[::4]})
    assert set(listed(hook, "job", ids)[0]) == set(ids)
    assert (hook.now - START, len(hook.asked)) == (100, 25), "five pauses, and nobody else is asked for meanwhile"


@pytest.mark.parametrize("code", [429, 503])
def test_a_time_that_is_beyond_the_minute_is_not_waited_for(code):
    hook = Hook(AITRONOS, b=response({}, code, headers={"retry-after": "61"}))
    with pytest.raises(ServiceUnavailable, match="b: "):
        jobs(hook)
    assert hook.now == START


@pytest.mark.parametrize("fault", [response({}, 503), PAGE], ids=["503", "html"])
@pytest.mark.parametrize(("service", "route"), [(AITRONOS, "job"), (NEUROLINKER, "document")], ids=["one by one", "together"])
def test_an_outage_is_not_asked_about_every_id(service, route, fault):
    ids = [f"j-{number}" for number in range(100)]
    hook = Hook(service, **dict.fromkeys(ids, fault))
    with pytest.raises(
        (ServiceUnavailable, UnexpectedReply), match="The data of 10 of 100 ids did not come within a minute: j-0: "
    ):
        listed(hook, route, ids)
    assert {one for some in hook.asked for one in some} == set(ids[:10])
    assert len(hook.asked) <= 70
    assert 55 <= hook.now - START <= 61


@pytest.mark.parametrize("fault", [response({}, 500), PAGE], ids=["500", "html"])
def test_one_document_that_breaks_a_bulk_call_for_ever_is_the_only_one_that_is_missing(fault):
    ids = [f"d-{number}" for number in range(10)]
    with pytest.raises((ServiceUnavailable, UnexpectedReply), match="The data of 1 of 10 ids did not come within a minute: d-3"):
        listed(Hook(NEUROLINKER, **{"d-3": fault}), "document", ids)


@each_way
@pytest.mark.parametrize("refusal", [REFUSED, FORBIDDEN, response({}, 401)], ids=["422", "403", "401"])
def test_a_refusal_that_is_said_once_in_the_last_round_is_none(way, refusal):
    service, fetch = WAYS[way]
    for rounds in range(4, 9):
        with pytest.raises((ServiceUnavailable, UnexpectedReply), match="b: "):
            fetch(Hook(service, b=[PAGE] * rounds + [refusal, PAGE]))
    for other in (PAGE, response({"detail": "conflict"}, 409)):
        hook = Hook(service, b=[refusal, other] * 20)
        with pytest.raises((ServiceUnavailable, UnexpectedReply, KeyRejected)):
            fetch(hook)
        assert hook.now - START <= 70


@each_way
def test_a_refusal_at_the_end_is_confirmed(way):
    service, fetch = WAYS[way]
    hook = Hook(service, b=[PAGE] * 6 + [REFUSED])
    items, errors = fetch(hook)
    assert (set(items), list(errors)) == ({"a", "c"}, ["b"])


def test_a_web_page_in_the_place_of_a_bulk_reply_is_not_answered_with_many_calls():
    hook = Hook(NEUROLINKER, b=[PAGE, {"of": "b"}])
    assert set(documents(hook)[0]) == {"a", "b", "c"}
    assert hook.asked == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert hook.now > START


SAID = {**PASSING, "refused": REFUSED, "forbidden": FORBIDDEN, "left out": "left out"}


@each_way
@settings(max_examples=60, deadline=None, derandomize=True)
@given(said=st.fixed_dictionaries({one: st.lists(st.sampled_from([*SAID, "data"]), min_size=1, max_size=5) for one in "abc"}))
def test_whatever_is_said_nothing_is_left_out_in_silence(way, said):
    service, fetch = WAYS[way]
    hook = Hook(service, **{one: [SAID.get(name, {"of": one}) for name in names] for one, names in said.items()})
    try:
        items, errors = fetch(hook)
    except (ServiceUnavailable, UnexpectedReply, NoData, KeyRejected):
        items, errors = None, {}
    assert items is None or sorted([*items, *errors]) == ["a", "b", "c"]
    for one in errors:
        assert {"refused", "forbidden"} & set(said[one]), "only what was refused is named in the place of data"
    assert hook.now - START <= 130, "a minute for what is fetched, after at most a minute of confirming"
    assert len(hook.asked) <= 60


def test_all_that_is_missing_is_named():
    ids = [f"d-{number}" for number in range(5)]
    with pytest.raises(NoData) as raised:
        listed(Hook(NEUROLINKER, **dict.fromkeys(ids, "left out")), "document", ids)
    assert all(one in str(raised.value) for one in ids)


@pytest.mark.parametrize(
    ("service", "route", "said", "kind"),
    [
        (AITRONOS, "job", response({}, 503), ServiceUnavailable),
        (AITRONOS, "job", response({}, 429), RateLimited),
        (AITRONOS, "job", PAGE, UnexpectedReply),
        (AITRONOS, "job", NULL, NoData),
        (AITRONOS, "job", UNKNOWN, NoData),
        (NEUROLINKER, "document", "left out", NoData),
        (NEUROLINKER, "document", NULL, NoData),
    ],
    ids=["503", "429", "html", "null", "404", "document left out", "document null"],
)
def test_a_single_id_that_does_not_come_is_named_and_may_be_retried(service, route, said, kind):
    with pytest.raises(kind, match=r"The data of a did not come within a minute: .* A retry asks again") as raised:
        fetcher(Hook(service, a=said)).fetch(Target(route, "a"), known(route, "a"))
    assert type(raised.value) is kind
    assert raised.value.id == "a"
    assert for_airflow(raised.value) is raised.value


# -- what Airflow cannot carry -------------------------------------------------------------------------------------


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@each_way
@pytest.mark.parametrize("fault", [float("nan"), 10**23, "\ud83d", nested(300)], ids=["nan", "23 digits", "surrogate", "levels"])
def test_data_that_airflow_cannot_carry_takes_another_form(way, fault):
    service, fetch = WAYS[way]
    hook = Hook(service, b={"table": [{"total": fault}]})
    items, errors = fetch(hook)
    assert errors == {}
    assert items["b"].keys() == {"docstatus:json"}
    assert is_same(read_back(items), {"a": {"of": "a"}, "b": {"table": [{"total": fault}]}, "c": {"of": "c"}})
    assert hook.now == START, "asking again does not help"


class Twice(dict[str, Any]):
    """An object whose JSON has a key twice."""

    def items(self) -> Any:
        return [("total", 1), ("total", 2)]


@each_way
def test_data_that_nothing_carries_is_an_error_of_its_id(way):
    service, fetch = WAYS[way]
    hook = Hook(service, b={"table": [Twice(total=1)]})
    items, errors = fetch(hook)
    assert set(items) == {"a", "c"}
    assert "The extracted data of b has an object that holds a key twice at table[0]." in errors["b"]
    assert hook.now == START, "asking again does not help"


@pytest.mark.parametrize("content", [None, {"of": "b"}])
def test_a_document_whose_place_in_the_reply_is_said_twice_is_an_error_of_its_id(content):
    reply = {"results": [{"document_id": "a", "content": {"of": "a"}}, {"document_id": "b", "content": content}]}
    text = json.dumps(reply).replace('"b", ', '"b", "content": {"of": "x"}, ')
    items, errors = listed(Hook(NEUROLINKER, a=response(text=text)), "document", "ab")
    assert items == {"a": {"of": "a"}}
    assert "The extracted data of b has a key that stands twice beside it in the reply." in errors["b"]


@each_way
def test_data_that_python_cannot_read_is_an_error_of_its_id(way):
    service, fetch = WAYS[way]
    hook = Hook(service, b=response(text="[" * 2000 + "]" * 2000))
    items, errors = fetch(hook)
    assert set(items) == {"a", "c"}
    assert "The extracted data of b has more levels of lists and objects than can be read at [0][0]" in errors["b"]
    assert hook.now == START, "asking again does not help"


def test_data_of_a_single_id_that_nothing_carries_is_refused():
    with pytest.raises(ResultNotStorable, match=r"data of a has an object that holds a key twice at x\.") as raised:
        fetcher(Hook(AITRONOS, a={"x": Twice(total=1)})).fetch(Target("job", "a"))
    assert (raised.value.id, raised.value.service) == ("a", "aitronos")
    _, data = fetcher(Hook(AITRONOS, a={"x": {"__id__": 1}})).fetch(Target("job", "a"))
    assert data == {"docstatus:json": '{"x":{"__id__":1}}'}


def test_ids_of_requests_are_fetched_request_by_request():
    def ask(**said: Any) -> Any:
        return listed(Requests(NEUROLINKER, **said), "request", "ab")

    assert ask()[0]["b"] == {"items": {"b-d": {"of": "b-d"}}, "errors": {}, "file_names": {}}
    items, errors = ask(a=REFUSED)
    assert (set(items), set(errors)) == ({"b"}, {"a"})
    with pytest.raises(UnexpectedReply):
        ask(a=PAGE)


def test_documents_are_asked_for_together():
    hook = Hook(NEUROLINKER)
    documents(hook)
    assert hook.asked == [["a", "b", "c"]]


def test_an_id_whose_data_does_not_come_may_be_skipped_for_the_rest():
    hook = Hook(AITRONOS, b=ServiceUnavailable("down"))
    items, errors = Fetcher(hook, content=None, options={}, skips=True).fetch_list([Target("job", one) for one in "abc"])
    assert list(items) == ["a", "c"]
    assert "did not come within a minute: down" in str(errors["b"])


def test_an_outage_is_no_fault_of_an_id():
    hook = Hook(AITRONOS, **dict.fromkeys(map(chr, range(97, 120)), ServiceUnavailable("down")))
    with pytest.raises(ServiceUnavailable):
        Fetcher(hook, content=None, options={}, skips=True).fetch_list([Target("job", one) for one in hook.said])
