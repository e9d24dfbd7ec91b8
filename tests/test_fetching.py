"""The data of finished documents: what may still come is asked for again, what is refused about one id is its own error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus._compat import AirflowFailException
from airflow_provider_docstatus.airflow_errors import for_airflow
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    NoneUsable,
    NotFinished,
    NotFound,
    QuotaExhausted,
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
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import HTML, LIMIT, response

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


def jobs(hook: Hook) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    return fetcher(hook).fetch_list([Target("job", one) for one in "abc"])


def documents(hook: Hook) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    return fetcher(hook).fetch_list([Target("document", one) for one in "abc"])


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
    with pytest.raises(NoData, match=r"1 of 3 ids did not come \(a retry asks again\): b: not in the reply"):
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
    items, errors = fetcher(hook).fetch_list([Target("document", one) for one in ids])
    assert set(items) == set(ids) - {"d-7"}
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
    items, errors = fetcher(Heavy(NEUROLINKER)).fetch_list([Target("document", one) for one in ("a", "huge", "c")])
    assert set(items) == {"a", "c"}
    assert "raise 'max_reply_bytes'" in errors["huge"]


def test_data_that_is_late_for_a_single_id_is_waited_for_a_minute():
    for fault in (UNKNOWN, NULL, PAGE):
        hook = Hook(AITRONOS, a=[fault, fault, {"x": 1}])
        assert fetcher(hook).fetch(Target("job", "a"))[1] == {"x": 1}
        hook = Hook(AITRONOS, a=fault)
        with pytest.raises((NoData, UnexpectedReply)):
            fetcher(hook).fetch(Target("job", "a"))
        assert 55 <= hook.now - START <= 61


FAILED = response({"detail": "torn page"}, 500)
EARLY = response({"detail": "not finished"}, 400)


def test_a_data_route_that_contradicts_the_status_may_be_late():
    for late in (FAILED, EARLY):
        items, errors = batch(Hook(UNSILOED, b=[late, late, {"of": "b"}]))
        assert (set(items), errors) == ({"a", "b", "c"}, {})


def test_a_job_that_failed_for_a_minute_is_its_own_error():
    items, errors = batch(Hook(UNSILOED, b=FAILED))
    assert set(items) == {"a", "c"}
    assert "torn page" in errors["b"]


def test_data_that_is_not_finished_for_a_minute_is_retried():
    with pytest.raises(NoData, match=r"1 of 3 ids did not come \(a retry asks again\): b: Unsiloed job b is not finished"):
        batch(Hook(UNSILOED, b=EARLY))


def test_what_a_status_says_is_believed_at_once():
    for state, kind in ((State.RUNNING, NotFinished), (State.FAILED, DocumentFailed)):
        hook = Hook(AITRONOS)
        with pytest.raises(kind):
            fetcher(hook).fetch(Target("job", "a"), replace(known("job", "a", service=AITRONOS), state=state))
        assert (hook.asked, hook.now) == ([], START)


@each_way
@pytest.mark.parametrize("refusal", [REFUSED, response({}, 401), FORBIDDEN], ids=["422", "401", "403"])
def test_a_refusal_that_is_said_once_in_the_last_round_is_none(way, refusal):
    service, fetch = WAYS[way]
    with pytest.raises(ServiceUnavailable, match="b: "):
        fetch(Hook(service, b=[PAGE] * 8 + [refusal, PAGE]))


def test_nothing_usable_for_final_reasons_is_not_retried():
    hook = Hook(NEUROLINKER, a=REFUSED, b=REFUSED, c=REFUSED)
    with pytest.raises(NoneUsable, match="none of its 3 parts has any"):
        request(hook)
    assert isinstance(for_airflow(NoneUsable("x")), AirflowFailException)


def test_a_service_that_sends_only_pages_is_not_asked_for_each_id():
    ids = [f"d-{number}" for number in range(100)]
    hook = Hook(NEUROLINKER, **dict.fromkeys(ids, PAGE))
    with pytest.raises(ServiceUnavailable):
        fetcher(hook).fetch_list([Target("document", one) for one in ids])
    assert len(hook.asked) == 10, "two in each of the five rounds"


def test_one_document_that_breaks_a_bulk_call_keeps_no_other_from_its_data():
    for fault in (response({}, 500), PAGE):
        ids = [f"d-{number}" for number in range(10)]
        hook = Hook(NEUROLINKER, **{"d-3": fault})
        with pytest.raises((ServiceUnavailable, UnexpectedReply), match="The data of 1 of 10 ids did not come"):
            fetcher(hook).fetch_list([Target("document", one) for one in ids])
        assert len(hook.asked) < 40


# -- what Airflow cannot carry -------------------------------------------------------------------------------------


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@each_way
@pytest.mark.parametrize("fault", [float("nan"), 10**23, "\ud83d", nested(300)], ids=["nan", "23 digits", "surrogate", "levels"])
def test_data_that_airflow_cannot_carry_is_an_error_of_its_id(way, fault):
    service, fetch = WAYS[way]
    hook = Hook(service, b={"table": [{"total": fault}]})
    items, errors = fetch(hook)
    assert set(items) == {"a", "c"}
    assert "Airflow cannot carry that in an XCom. Fetch it in your own task with DocStatusHook.get_result()" in errors["b"]
    assert "table[0].total" in errors["b"]
    assert hook.now == START, "asking again does not help"


@each_way
def test_data_that_python_cannot_read_is_an_error_of_its_id(way):
    service, fetch = WAYS[way]
    hook = Hook(service, b=response(text="[" * 2000 + "]" * 2000))
    items, errors = fetch(hook)
    assert set(items) == {"a", "c"}
    assert "more levels of lists and objects than can be read" in errors["b"]


def test_data_of_a_single_id_that_airflow_cannot_carry_is_refused():
    with pytest.raises(ResultNotStorable, match=r"data of a has a key that Airflow reserves for itself at x\.__id__") as raised:
        fetcher(Hook(AITRONOS, a={"x": {"__id__": 1}})).fetch(Target("job", "a"))
    assert raised.value.id == "a"
    assert json.dumps(str(raised.value)).isascii()


def test_ids_of_requests_are_fetched_request_by_request():
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

    def ask(**said: Any) -> Any:
        return fetcher(Requests(NEUROLINKER, **said)).fetch_list([Target("request", one) for one in "ab"])

    assert ask()[0]["b"] == {"items": {"b-d": {"of": "b-d"}}, "errors": {}}
    items, errors = ask(a=REFUSED)
    assert (set(items), set(errors)) == ({"b"}, {"a"})
    with pytest.raises(UnexpectedReply):
        ask(a=PAGE)


def test_documents_are_asked_for_together():
    hook = Hook(NEUROLINKER)
    documents(hook)
    assert hook.asked == [["a", "b", "c"]]
