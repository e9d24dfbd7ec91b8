"""The hook over requests: what it sends, what it makes of the answers, what it asks again, and where the key goes."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import requests_mock as requests_mock_module
from airflow.exceptions import AirflowException

from airflow_provider_docstatus._compat import AirflowNotFoundException
from airflow_provider_docstatus.carriable import carriable, read_back
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ResultNotStorable,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.hooks import AitronosHook, DocStatusHook, NeurolinkerHook, UnsiloedHook
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.transport.connection import Endpoint

KEY = "key_of_the_account"
#: A service that its users run themselves has no host of its own.
HOSTS = {name: service.host or f"https://{name}.example.com" for name, service in SERVICES.items()}
OWN_HOSTS = [name for name, service in SERVICES.items() if not service.host]
NEUROLINKER, AITRONOS, UNSILOED = (HOSTS[name] for name in ("neurolinker", "aitronos", "unsiloed"))
HEADER = {
    "neurolinker": ("Authorization", f"Bearer {KEY}"),
    "aitronos": ("X-API-Key", KEY),
    "unsiloed": ("api-key", KEY),
    "reducto": ("Authorization", f"Bearer {KEY}"),
    "llamaparse": ("Authorization", f"Bearer {KEY}"),
    "landingai": ("Authorization", f"Bearer {KEY}"),
    "datalab": ("X-API-Key", KEY),
    "extend": ("Authorization", f"Bearer {KEY}"),
    "azure_di": ("Ocp-Apim-Subscription-Key", KEY),
    "docling": ("X-Api-Key", KEY),
}
R = "0b7c2f3e-5a53-4a53-8f10-6c4f9d6f0c11"

Requests = requests_mock_module.Mocker
MakeHook = Callable[..., DocStatusHook]


@pytest.fixture
def make_hook(monkeypatch: pytest.MonkeyPatch) -> MakeHook:
    """Return a function that sets a connection and makes its hook, whose pauses end up in ``hook.naps``."""

    def make(service: str = "neurolinker", *, retries: int = 3, extra: Mapping[str, Any] | None = None, **fields: Any) -> Any:
        own = {"host": HOSTS[service]} if service in OWN_HOSTS else {}
        connection = {"conn_type": service, "password": KEY, "extra": extra or {}, **own, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps(connection))
        hook = DocStatusHook("vendor", retries=retries)
        hook.naps = []
        hook.sleep = hook.naps.append
        hook.clock = lambda: time.time() + sum(hook.naps)
        return hook

    return make


@pytest.fixture
def vendors() -> Iterator[StandInVendors]:
    with StandInVendors() as vendors:
        yield vendors


def at(vendors: StandInVendors, service: str) -> dict[str, Any]:
    """Return the connection fields for the stand-in."""
    return {"host": vendors.url, "password": vendors.keys[service]}


# -- the connection --------------------------------------------------------------------------------------------------

CONNECTIONS = {
    "json": json.dumps({"conn_type": "aitronos", "password": KEY, "host": "https://eu.aitronos.example:8443/base/"}),
    "uri": f"aitronos://:{KEY}@https%3A%2F%2Feu.aitronos.example%3A8443%2Fbase",
    "uri with scheme and port": f"aitronos://:{KEY}@eu.aitronos.example:8443/https",
    "json with the parts apart": json.dumps(
        {"conn_type": "aitronos", "password": KEY, "host": "eu.aitronos.example", "schema": "https", "port": 8443}
    ),
}


@pytest.mark.parametrize("text", CONNECTIONS.values(), ids=CONNECTIONS)
def test_a_connection_can_be_an_environment_variable(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VENDOR", text)
    endpoint = DocStatusHook("vendor").endpoint
    assert endpoint.base_url.removesuffix("/base") == "https://eu.aitronos.example:8443"
    assert endpoint.key_header() == {"X-API-Key": KEY}


def test_settings_in_a_uri_are_text_and_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query = "request_timeout=5&allow_http=true&status_words=%7B%22archived%22%3A+%22succeeded%22%7D&operation=parse"
    monkeypatch.setenv("AIRFLOW_CONN_VENDOR", f"unsiloed://:{KEY}@http%3A%2F%2Funsiloed.example?{query}")
    endpoint = DocStatusHook("vendor").endpoint
    assert (endpoint.base_url, endpoint.request_timeout, endpoint.operation) == ("http://unsiloed.example", 5.0, "parse")
    assert endpoint.service.states["archived"] is State.SUCCEEDED


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in OWN_HOSTS])
def test_without_a_host_the_services_own_is_used(service: str, make_hook: MakeHook) -> None:
    assert make_hook(service).endpoint.base_url == HOSTS[service]


@pytest.mark.parametrize("service", OWN_HOSTS)
def test_without_a_host_a_service_of_many_deployments_is_not_asked(
    service: str, make_hook: MakeHook, requests_mock: Requests
) -> None:
    hook = make_hook(service, host="")
    with pytest.raises(RequestRejected, match="it names no host, and each deployment has its own; put it into the host"):
        hook.get_status(job_id="j")
    assert hook.test_connection()[0] is False
    assert requests_mock.call_count == 0


def test_each_type_has_a_hook_class_but_the_plain_one_serves_all(make_hook: MakeHook) -> None:
    make_hook("aitronos")
    for hook_class in (NeurolinkerHook, AitronosHook, UnsiloedHook, DocStatusHook):
        assert hook_class("vendor").service.name == "aitronos"
    assert NeurolinkerHook().conn_id == "neurolinker_default"
    assert DocStatusHook().conn_id == "docstatus_default"


def test_a_missing_connection_says_how_to_make_one() -> None:
    with pytest.raises(RequestRejected, match=r"'nowhere' is not defined.*airflow connections add nowhere --conn-type"):
        DocStatusHook("nowhere").get_status(request_id=R)


def test_a_connection_of_another_type_says_how_to_make_one(make_hook: MakeHook) -> None:
    with pytest.raises(RequestRejected, match="type 'http'; this package reads neurolinker, aitronos, unsiloed"):
        make_hook("http", host="https://example.com").get_status(request_id=R)


def test_an_extra_that_is_no_object_is_refused() -> None:  # 3.0 and 3.1 do not even hand such a connection out
    conn = SimpleNamespace(conn_id="vendor", conn_type="aitronos", host="", schema="", port=None, password=KEY)
    with pytest.raises(RequestRejected, match="extra must be a JSON object, it is a list"):
        Endpoint.from_connection(conn, [1, 2])


@pytest.mark.parametrize("password", ["", "  ", None], ids=repr)
def test_a_needed_key_that_is_missing_is_not_sent_for(password: str | None, make_hook: MakeHook, requests_mock: Requests) -> None:
    with pytest.raises(RequestRejected, match="'vendor' has no password; put the Unsiloed API key there"):
        make_hook("unsiloed", password=password).get_status(job_id="j", operation="extract")
    assert requests_mock.call_count == 0


def test_a_key_that_is_optional_may_be_missing(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(f"{UNSILOED}/jobs/j", json={"id": "j", "status": "COMPLETED"})
    status = make_hook("unsiloed", password="").get_status(job_id="j", operation="job")
    assert status.state is State.SUCCEEDED
    assert not {"api-key", "X-API-Key", "Authorization"} & set(requests_mock.last_request.headers)


def test_blanks_around_a_pasted_key_are_cut(make_hook: MakeHook) -> None:
    assert make_hook("aitronos", password=f" {KEY}\n").endpoint.key_header() == {"X-API-Key": KEY}


def test_http_is_for_loopback_and_for_those_who_say_so(make_hook: MakeHook) -> None:
    with pytest.raises(RequestRejected, match="would send the key unencrypted; use https, or set allow_http"):
        make_hook("aitronos", host="http://aitronos.example").get_status(job_id="j")
    for host in ("http://127.0.0.1:8099", "http://localhost:8099", "http://[::1]:8099"):
        assert make_hook("aitronos", host=host).endpoint.base_url == host
    assert make_hook("aitronos", host="http://aitronos.example", extra={"allow_http": True}).endpoint.base_url


AUTH: dict[str, tuple[str, dict[str, Any], tuple[str, str]]] = {
    **{name: (name, {}, HEADER[name]) for name in SERVICES},
    "aitronos-bearer": ("aitronos", {"auth": "bearer"}, ("Authorization", f"Bearer {KEY}")),
    "unsiloed-x-api-key": ("unsiloed", {"auth": "x_api_key"}, ("X-API-Key", KEY)),
    "unsiloed-bearer": ("unsiloed", {"auth": "bearer"}, ("Authorization", f"Bearer {KEY}")),
    "azure_di-bearer": ("azure_di", {"auth": "bearer"}, ("Authorization", f"Bearer {KEY}")),
}


@pytest.mark.parametrize(("service", "extra", "header"), AUTH.values(), ids=AUTH)
def test_the_key_is_sent_as_the_connection_says(
    service: str, extra: dict[str, Any], header: tuple[str, str], make_hook: MakeHook, requests_mock: Requests
) -> None:
    requests_mock.get(requests_mock_module.ANY, json={})
    make_hook(service, extra=extra).get_conn().get("/anything")
    name, value = header
    assert requests_mock.last_request.headers[name] == value


# -- ids -------------------------------------------------------------------------------------------------------------

BAD_IDS = {
    "none given": ("neurolinker", {}, "give exactly one of request_id, document_id; got none"),
    "an upstream task returned None": ("neurolinker", {"request_id": None}, "an upstream task returned None"),
    "two given": ("neurolinker", {"request_id": R, "document_id": R}, "got request_id and document_id"),
    "empty": ("aitronos", {"job_id": "  "}, "is empty; did the submitting task return the id"),
    "a path": ("aitronos", {"job_id": "../x"}, "give the bare id, not a path or URL"),
    "with a slash": ("aitronos", {"job_id": "a/b"}, "give the bare id"),
    "a rendered None": ("aitronos", {"job_id": "None"}, r"was rendered from an empty value; pass the upstream task's \.output"),
    "a printed list": ("aitronos", {"job_id": "['a', 'b']"}, r"is a list printed as text; .* map: \.expand\(job_id"),
    "a list": ("aitronos", {"job_id": ["a"]}, r"is a list; .*\.expand\(job_id=\[\.\.\.\]\)"),
    "of the wrong kind": ("aitronos", {"request_id": R}, "Aitronos has no request_id; use job_id with this connection"),
    "without an operation": (
        "unsiloed",
        {"job_id": "j"},
        r"say operation= \(one of extract, parse, classify, split, job, batch\)",
    ),
    "with an unknown operation": ("unsiloed", {"job_id": "j", "operation": "ocr"}, "no operation 'ocr'; use one of extract"),
    "with an operation too many": ("aitronos", {"job_id": "j", "operation": "parse"}, "leave operation='parse' out"),
}


@pytest.mark.parametrize(("service", "which", "text"), BAD_IDS.values(), ids=BAD_IDS)
def test_an_id_is_refused_before_anything_is_sent_when_it_is(
    service: str, which: dict[str, Any], text: str, make_hook: MakeHook, requests_mock: Requests
) -> None:
    with pytest.raises(RequestRejected, match=text):
        make_hook(service).get_status(**which)
    assert requests_mock.call_count == 0


def test_the_connection_may_name_the_operation_and_the_task_may_name_another(
    make_hook: MakeHook, requests_mock: Requests
) -> None:
    requests_mock.get(f"{UNSILOED}/parse/j", json={"job_id": "j", "status": "Succeeded"})
    requests_mock.get(f"{UNSILOED}/splitter/j", json={"job_id": "j", "status": "completed"})
    hook = make_hook("unsiloed", extra={"operation": "parsing"})
    assert hook.get_status(job_id="j").details["operation"] == "parse"
    assert hook.get_status(job_id="j", operation="splitting").details["operation"] == "split"


# -- status ----------------------------------------------------------------------------------------------------------

STATUSES = {
    "neurolinker-request": (
        "neurolinker",
        {"request_id": R},
        f"{NEUROLINKER}/v1/request-status/{R}",
        {"request_id": R, "status": "completed", "total": 1, "completed": 1, "failed": 0, "processing": 0},
        State.SUCCEEDED,
    ),
    "neurolinker-document": (
        "neurolinker",
        {"document_id": R},
        f"{NEUROLINKER}/v1/document-status/{R}",
        {"document_id": R, "status": "pending"},
        State.RUNNING,
    ),
    "aitronos": (
        "aitronos",
        {"job_id": "job_1"},
        f"{AITRONOS}/v1/documents/jobs/job_1",
        {"job_id": "job_1", "status": "failed", "error_message": "no text"},
        State.FAILED,
    ),
    "unsiloed-extract": (
        "unsiloed",
        {"job_id": "j", "operation": "extract"},
        f"{UNSILOED}/extract/j",
        {"job_id": "j", "status": "review"},
        State.REVIEW,
    ),
    "unsiloed-parse": (
        "unsiloed",
        {"job_id": "j", "operation": "parse"},
        f"{UNSILOED}/parse/j?include_chunks=false",
        {"job_id": "j", "status": "Cancelled"},
        State.CANCELLED,
    ),
    "unsiloed-classify": (
        "unsiloed",
        {"job_id": "j", "operation": "classify"},
        f"{UNSILOED}/classify/j",
        {"job_id": "j", "status": "completed", "result": {"success": True}},
        State.SUCCEEDED,
    ),
    "unsiloed-split": (
        "unsiloed",
        {"job_id": "j", "operation": "split"},
        f"{UNSILOED}/splitter/j",
        {"job_id": "j", "status": "processing"},
        State.RUNNING,
    ),
    "unsiloed-job": (
        "unsiloed",
        {"job_id": "j", "operation": "job"},
        f"{UNSILOED}/jobs/j",
        {"id": "j", "status": "PROCESSING"},
        State.RUNNING,
    ),
    "unsiloed-batch": (
        "unsiloed",
        {"job_id": "b", "operation": "batch"},
        f"{UNSILOED}/jobs/batch/b",
        {"batch_id": "b", "status": "completed_with_failures", "total_jobs": 2, "completed_jobs": 1, "failed_jobs": 1},
        State.PARTIAL,
    ),
}


@pytest.mark.parametrize(("service", "which", "url", "reply", "state"), STATUSES.values(), ids=STATUSES)
def test_one_get_with_the_key_answers_for(
    *,
    service: str,
    which: dict[str, str],
    url: str,
    reply: dict[str, Any],
    state: State,
    make_hook: MakeHook,
    requests_mock: Requests,
) -> None:
    requests_mock.get(url, json=reply)
    status = make_hook(service).get_status(**which)
    assert status.state is state
    assert status.word == reply["status"]
    sent = requests_mock.last_request
    assert requests_mock.call_count == 1
    assert (sent.method, sent.url, sent.body) == ("GET", url, None)
    assert sent.headers[HEADER[service][0]] == HEADER[service][1]
    assert sent.timeout == 30.0


def test_an_id_is_percent_encoded(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, json={"job_id": "a:b@c+ü", "status": "completed"})
    make_hook("aitronos").get_status(job_id="a:b@c+ü")
    assert requests_mock.last_request.url.endswith("/jobs/a%3Ab%40c%2B%C3%BC")


# -- several ---------------------------------------------------------------------------------------------------------


def test_several_jobs_are_asked_together_on_the_generic_route(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("unsiloed", "parse", seconds=0) for _ in range(4)]
    failed = vendors.add_job("unsiloed", "parse", seconds=0, ends="failed")
    statuses = make_hook("unsiloed", **at(vendors, "unsiloed")).get_statuses([*ids, failed], operation="job")
    assert [status.id for status in statuses] == [*ids, failed]
    assert [status.state for status in statuses] == [State.SUCCEEDED] * 4 + [State.FAILED]
    assert [record.path for record in vendors.requests] == ["/jobs/status"]
    assert vendors.requests[0].query == {"job_ids": ",".join([*ids, failed]), "include_progress": "true"}


def test_many_jobs_are_asked_in_urls_of_bounded_length(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("unsiloed", seconds=0) for _ in range(100)]
    statuses = make_hook("unsiloed", **at(vendors, "unsiloed")).get_statuses(ids, operation="job")
    assert [status.id for status in statuses] == ids
    assert 3 <= len(vendors.requests) <= 5
    assert all(len(record.query["job_ids"]) <= 1500 for record in vendors.requests)


def test_a_job_that_the_common_answer_does_not_know_is_asked_alone(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("unsiloed", seconds=0), "unheard-of"]
    with pytest.raises(NotFound, match="for unheard-of with 404"):
        make_hook("unsiloed", **at(vendors, "unsiloed")).get_statuses(ids, operation="job")
    assert [record.path for record in vendors.requests] == ["/jobs/status", "/jobs/unheard-of"]


@pytest.mark.parametrize("code", [404, 405, 501])
def test_a_deployment_without_the_route_for_several_is_remembered(
    code: Any, vendors: StandInVendors, make_hook: MakeHook
) -> None:
    vendors.unsiloed_many = code
    ids = [vendors.add_job("unsiloed", seconds=0) for _ in range(2)]
    hook = make_hook("unsiloed", **at(vendors, "unsiloed"))
    for _ in range(2):
        assert [status.state for status in hook.get_statuses(ids, operation="job")] == [State.SUCCEEDED] * 2
    alone = [f"/jobs/{one}" for one in ids]
    assert [record.path for record in vendors.requests] == ["/jobs/status", *alone, *alone]
    assert hook.naps == []


@pytest.mark.parametrize(("service", "operation"), [("aitronos", None), ("unsiloed", "extract")], ids=["aitronos", "extract"])
def test_jobs_of_a_route_without_a_common_question_are_asked_one_by_one(
    service: Any, operation: str | None, vendors: StandInVendors, make_hook: MakeHook
) -> None:
    ids = [vendors.add_job(service, seconds=0) for _ in range(3)]
    statuses = make_hook(service, **at(vendors, service)).get_statuses(ids, operation=operation)
    assert [status.id for status in statuses] == ids
    assert [record.path.rpartition("/")[2] for record in vendors.requests] == ids


def test_documents_of_one_request_are_asked_through_it(vendors: StandInVendors, make_hook: MakeHook) -> None:
    request = vendors.add_job("neurolinker", seconds=0, ends="partial", documents=8)
    ids = [document.job_id for document in vendors.jobs[request].documents]
    hook = make_hook("neurolinker", **at(vendors, "neurolinker"))
    statuses = hook.get_statuses(ids, parameter="document_id")
    assert [status.id for status in statuses] == ids
    assert [status.state for status in statuses] == [State.SUCCEEDED] * 7 + [State.FAILED]
    assert [record.path for record in vendors.requests] == [f"/v1/document-status/{ids[0]}", f"/v1/request-status/{request}"]


def test_a_key_that_the_question_for_several_and_each_alone_reject_is_told(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("unsiloed", seconds=0) for _ in range(2)]
    with pytest.raises(KeyRejected, match="with 401"):
        make_hook("unsiloed", host=vendors.url, password="us_wrong_key").get_statuses(ids, operation="job")
    assert [record.path for record in vendors.requests] == ["/jobs/status", f"/jobs/{ids[0]}"]


MERGED_FAULTS: dict[str, dict[str, Any]] = {
    **{str(code): {"status": code, "body": {"detail": "no"}} for code in (401, 402, 403, 409, 413, 414, 500, 503)},
    "another shape": {"status": 200, "body": {"data": []}},
    "HTML": {"status": 200, "body": "<html>", "content_type": "text/html"},
}


@pytest.mark.parametrize("fault", MERGED_FAULTS)
def test_what_the_question_for_several_fails_with_ends_nobody_who_is_answered_alone(
    fault: str, vendors: StandInVendors, make_hook: MakeHook
) -> None:
    ids = [vendors.add_job("unsiloed", seconds=0) for _ in range(3)]
    vendors.answer_next(**MERGED_FAULTS[fault], path="/jobs/status", times=2)
    hook = make_hook("unsiloed", retries=0, **at(vendors, "unsiloed"))
    statuses = [hook.get_statuses(ids, operation="job") for _ in range(3)]
    assert [[status.state for status in told] for told in statuses] == [[State.SUCCEEDED] * 3] * 3
    assert vendors.requests[-1].path == "/jobs/status", "the question for several is tried anew each time"


def test_a_service_that_is_down_is_asked_once_for_several_and_once_for_one(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("unsiloed", seconds=0) for _ in range(9)]
    vendors.answer_next(503, times=math.inf)
    hook = make_hook("unsiloed", retries=0, **at(vendors, "unsiloed"))
    with pytest.raises(ServiceUnavailable):
        hook.get_statuses(ids, operation="job")
    assert [record.path for record in vendors.requests] == ["/jobs/status", f"/jobs/{ids[0]}"]


def test_documents_whose_request_cannot_be_asked_are_asked_alone(vendors: StandInVendors, make_hook: MakeHook) -> None:
    request = vendors.add_job("neurolinker", seconds=0, documents=3)
    ids = [document.job_id for document in vendors.jobs[request].documents]
    vendors.forget(request)
    statuses = make_hook("neurolinker", **at(vendors, "neurolinker")).get_statuses(ids, parameter="document_id")
    assert [status.state for status in statuses] == [State.SUCCEEDED] * 3


@pytest.mark.parametrize("code", [403, 503, 429])
def test_a_request_that_is_refused_is_asked_once_and_its_documents_alone(
    code: int, vendors: StandInVendors, make_hook: MakeHook
) -> None:
    request = vendors.add_job("neurolinker", seconds=0, documents=3)
    ids = [document.job_id for document in vendors.jobs[request].documents]
    vendors.answer_next(code, path=request, times=math.inf)
    hook = make_hook("neurolinker", retries=0, **at(vendors, "neurolinker"))
    assert [status.id for status in hook.get_statuses(ids, parameter="document_id")] == ids
    asked = [record.path.rpartition("/")[2] for record in vendors.requests]
    assert [asked.count(one) for one in ids] == [1, 1, 1]


def test_a_pause_after_a_429_holds_no_direct_call_up(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("aitronos", seconds=0) for _ in range(3)]
    hook = make_hook("aitronos", retries=0, **at(vendors, "aitronos"))
    vendors.answer_next(429, headers={"Retry-After": "300"})
    with pytest.raises(RateLimited):
        hook.get_status(job_id=ids[0])
    assert [status.id for status in hook.get_statuses(ids)] == ids
    assert hook.naps == []


def test_documents_of_many_requests_are_polled_through_each_request(vendors: StandInVendors, make_hook: MakeHook) -> None:
    """Three requests of one document each teach nothing about the fourth."""
    requests = [vendors.add_job("neurolinker", seconds=0, documents=number) for number in (1, 1, 1, 20)]
    ids = [document.job_id for one in requests for document in vendors.jobs[one].documents]
    statuses = make_hook("neurolinker", **at(vendors, "neurolinker")).get_statuses(ids, parameter="document_id")
    assert [status.id for status in statuses] == ids
    assert len(vendors.requests) <= 8


def test_no_ids_need_no_question_and_one_bad_id_refuses_all(make_hook: MakeHook, requests_mock: Requests) -> None:
    hook = make_hook("neurolinker")
    assert hook.get_statuses([], parameter="document_id") == []
    with pytest.raises(RequestRejected, match="is empty"):
        hook.get_statuses([R, ""], parameter="document_id")
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("ids", ["j-1", b"j-1", None, 17, {"j-1": "succeeded"}, {"j-1"}], ids=repr)
def test_what_is_no_list_of_ids_is_refused_before_anything_is_sent(
    ids: Any, make_hook: MakeHook, requests_mock: Requests
) -> None:
    with pytest.raises(RequestRejected, match=f"ids is a {type(ids).__name__}; give a list of ids"):
        make_hook("aitronos").get_statuses(ids)
    assert requests_mock.call_count == 0


def test_another_parameter_is_refused_with_the_right_ones(make_hook: MakeHook, requests_mock: Requests) -> None:
    with pytest.raises(RequestRejected, match="Aitronos has no id; use job_id"):
        make_hook("aitronos").get_statuses(["j-1"], parameter="id")
    with pytest.raises(RequestRejected, match="got none"):
        make_hook("aitronos").get_statuses(["j-1", None])
    assert requests_mock.call_count == 0


def test_ids_may_come_from_a_generator_and_twice(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("aitronos", seconds=0) for _ in range(2)]
    hook = make_hook("aitronos", **at(vendors, "aitronos"))
    statuses = hook.get_statuses(one for one in [*ids, ids[0]])
    assert [status.id for status in statuses] == [*ids, ids[0]]
    assert len(vendors.requests) == 2
    assert [status.id for status in hook.get_statuses(dict.fromkeys(ids).keys())] == ids


def test_more_ids_than_a_task_may_wait_for_can_be_asked_for(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("unsiloed", seconds=0) for _ in range(1100)]
    statuses = make_hook("unsiloed", **at(vendors, "unsiloed")).get_statuses(ids, operation="job")
    assert [status.id for status in statuses] == ids


def test_an_unknown_id_among_several_is_raised_as_documented(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("aitronos", seconds=0), "unheard-of"]
    hook = make_hook("aitronos", **at(vendors, "aitronos"))
    with pytest.raises(NotFound, match="for unheard-of with 404"):
        hook.get_statuses(ids)


# -- data ------------------------------------------------------------------------------------------------------------

CONTENTS = {
    None: "json",
    "json": "json",
    "markdown": "markdown",
    "images": "images",
    "page-summaries": "page-summaries",
    "section-summaries": "section-summaries",
    "document-summary": "document-summary",
}


@pytest.mark.parametrize(("content", "path"), CONTENTS.items(), ids=str)
def test_neurolinker_hands_out_each_content(content: str | None, path: str, vendors: StandInVendors, make_hook: MakeHook) -> None:
    document = vendors.add_job("neurolinker", "document", seconds=0, pages=2)
    data = make_hook("neurolinker", **at(vendors, "neurolinker")).get_result(document_id=document, content=content)
    assert data
    assert [(record.method, record.path) for record in vendors.requests] == [
        ("GET", f"/v1/document-status/{document}"),
        ("POST", f"/v1/documents/{path}"),
    ]


@pytest.mark.parametrize("content", ["fields", "scalars"])
def test_neurolinker_hands_out_what_was_submitted_for(content: str, vendors: StandInVendors, make_hook: MakeHook) -> None:
    document = vendors.add_job("neurolinker", "document", seconds=0, submitted_as=content)
    hook = make_hook("neurolinker", **at(vendors, "neurolinker"))
    assert hook.get_result(document_id=document, content=content)["invoice_number"] == "INV-2024-001"


def test_neurolinkers_own_reason_is_told_when_a_content_is_not_there(vendors: StandInVendors, make_hook: MakeHook) -> None:
    document = vendors.add_job("neurolinker", "document", seconds=0)
    with pytest.raises(NoData, match="gives no data: Document was not processed through fields extraction") as caught:
        make_hook("neurolinker", **at(vendors, "neurolinker")).get_result(document_id=document, content="fields")
    assert caught.value.id == document
    assert caught.value.state is State.SUCCEEDED
    assert caught.value.link
    assert caught.value.link.startswith("https://neurolinker.ainexxo.com/job/")


def test_an_unknown_content_is_refused_before_anything_is_sent(make_hook: MakeHook, requests_mock: Requests) -> None:
    with pytest.raises(RequestRejected, match="no content='pdf'; use one of json, markdown, images"):
        make_hook("neurolinker").get_result(document_id=R, content="pdf")
    with pytest.raises(RequestRejected, match="no content='json'; leave it out"):
        make_hook("aitronos").get_result(job_id="j", content="json")
    assert requests_mock.call_count == 0


def test_content_options_go_into_the_requests_body(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(f"{NEUROLINKER}/v1/document-status/{R}", json={"document_id": R, "status": "completed"})
    requests_mock.post(
        f"{NEUROLINKER}/v1/documents/document-summary", json={"results": [{"document_id": R, "summary": "An invoice"}]}
    )
    hook = make_hook()
    options = {"summary_type": "section", "content_types": ["text"]}
    assert hook.get_result(document_id=R, content="document-summary", content_options=options) == "An invoice"
    assert requests_mock.last_request.json() == {"document_ids": [R], **options}
    with pytest.raises(RequestRejected, match="no content options"):
        make_hook("aitronos").get_result(job_id="j", content_options=options)


def test_the_data_of_a_request_are_fetched_in_chunks_with_errors_beside_them(
    vendors: StandInVendors, make_hook: MakeHook
) -> None:
    request = vendors.add_job("neurolinker", seconds=0, ends="partial", documents=24, error="page 2 is blank")
    result = make_hook("neurolinker", **at(vendors, "neurolinker")).get_result(request_id=request)
    failed = vendors.jobs[request].documents[-1].job_id
    assert len(result["items"]) == 23
    assert set(result) == {"items", "errors", "file_names"}
    assert result["errors"] == {failed: "page 2 is blank"}
    assert [record.path for record in vendors.requests] == [f"/v1/request-status/{request}"] + ["/v1/documents/json"] * 3


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ([], "not in the reply"),
        ([{"content": None}], "POST /v1/documents/json holds no content for it"),
        ([{"content": ""}], "POST /v1/documents/json holds no content for it"),
    ],
    ids=["left out", "null", "empty"],
)
def test_a_document_that_may_still_come_is_raised_at_the_first(
    missing: list[dict[str, Any]], says: str, make_hook: MakeHook, requests_mock: Requests
) -> None:
    ids = [f"{R[:-1]}{number}" for number in range(2)]
    documents = [{"document_id": one, "status": "completed"} for one in ids]
    counters = {"total": 2, "completed": 2, "failed": 0}
    requests_mock.get(
        f"{NEUROLINKER}/v1/request-status/{R}",
        json={"request_id": R, "status": "completed", **counters, "documents": documents},
    )
    replies = [{"document_id": ids[0], "content": 1}, *({"document_id": ids[1], **item} for item in missing)]
    requests_mock.post(f"{NEUROLINKER}/v1/documents/json", json={"success": True, "results": replies})
    hook = make_hook()
    with pytest.raises(NoData, match=f"document {ids[1]} is 'completed', but gives no data: {says}"):
        hook.get_result(request_id=R)
    assert hook.naps == []


def test_item_errors_inside_a_200_are_noticed(make_hook: MakeHook, requests_mock: Requests) -> None:
    ids = [f"{R[:-1]}{number}" for number in range(3)]
    documents = [{"document_id": one, "status": "completed"} for one in ids]
    requests_mock.get(
        f"{NEUROLINKER}/v1/request-status/{R}",
        json={"request_id": R, "status": "completed", "total": 3, "completed": 3, "failed": 0, "documents": documents},
    )
    replies = [
        {"document_id": ids[0], "content": {"total": 1}},
        {"document_id": ids[1], "error": "Document not found"},
        {"document_id": ids[2], "success": False, "message": "storage is down"},
    ]
    requests_mock.post(f"{NEUROLINKER}/v1/documents/json", json={"success": True, "results": replies})
    assert make_hook().get_result(request_id=R) == {
        "items": {ids[0]: {"total": 1}},
        "errors": {
            ids[1]: "Document not found",
            ids[2]: "storage is down",
        },
        "file_names": {},
    }


@pytest.mark.parametrize(
    ("value", "fault"),
    [("1", None), ("1e400", "a number that Python cannot hold"), ('{"c": 1, "c": 2}', "an object that holds a key twice")],
)
def test_what_a_users_own_task_returns_is_carriable(
    value: str, fault: str | None, make_hook: MakeHook, requests_mock: Requests
) -> None:
    reply = f'{{"job_id": "j-1", "status": "completed", "extracted_data": {{"a": NaN, "b": {value}}}}}'
    requests_mock.get(requests_mock_module.ANY, text=reply, headers={"content-type": "application/json"})
    data = make_hook("aitronos").get_result(job_id="j-1")
    assert math.isnan(data["a"])
    if fault is None:
        assert carriable(data) == {"docstatus:json": '{"a":NaN,"b":1}'}
        assert read_back(carriable(data))["b"] == 1
    else:
        with pytest.raises(ResultNotStorable, match=fault):
            carriable(data)


def test_the_prefix_that_shows_at_the_first_question_holds_for_the_next(vendors: StandInVendors, make_hook: MakeHook) -> None:
    vendors.neurolinker_prefix = "/api/v1"
    request = vendors.add_job("neurolinker", seconds=0, documents=12)
    hook = make_hook("neurolinker", **at(vendors, "neurolinker"))
    assert len(hook.get_result(request_id=request)["items"]) == 12
    assert [record.path for record in vendors.requests] == [
        f"/v1/request-status/{request}",
        f"/api/v1/request-status/{request}",
        "/api/v1/documents/json",
        "/api/v1/documents/json",
    ]


RESULTS: dict[str, tuple[str, str, str | None, Callable[[Any], bool]]] = {
    "aitronos": ("aitronos", "job", None, lambda data: data["invoice_number"] == "INV-2024-001"),
    "extract": ("unsiloed", "extract", "extract", lambda data: data["invoice_number"]["value"] == "INV-2024-001"),
    "review": ("unsiloed", "extract", "extract", lambda data: data["invoice_number"]["score"] == 0.98),
    "parse": ("unsiloed", "parse", "parse", lambda data: len(data["chunks"]) == 1 and data["total_chunks"] == 25),
    "classify": ("unsiloed", "classify", "classify", lambda data: data["classification"] == "invoice"),
    "split": ("unsiloed", "split", "split", lambda data: len(data["files"]) == 1),
    "job": ("unsiloed", "extract", "job", lambda data: data["data"]["invoice_number"]["value"] == "INV-2024-001"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_finished_job_hands_out_its_data(name: str, vendors: StandInVendors, make_hook: MakeHook) -> None:
    service, kind, operation, is_right = RESULTS[name]
    ends = "review" if name == "review" else "completed"
    job = vendors.add_job(service, kind, seconds=0, ends=ends)
    hook = make_hook(service, **at(vendors, service))
    data = hook.get_result(job_id=job, operation=operation)
    assert is_right(data), data
    assert len(vendors.requests) == (2 if operation == "job" else 1)


def test_the_data_of_a_batch_are_those_of_its_jobs(vendors: StandInVendors, make_hook: MakeHook) -> None:
    good, bad = (vendors.add_job("unsiloed", "job", seconds=0, ends=ends, error="torn") for ends in ("completed", "failed"))
    batch = vendors.add_batch([good, bad])
    result = make_hook("unsiloed", **at(vendors, "unsiloed")).get_result(job_id=batch, operation="batch")
    assert list(result["items"]) == [good]
    assert list(result["errors"]) == [bad]
    assert "failed" in result["errors"][bad]


UNFINISHED = {
    "neurolinker": ("neurolinker", "request", {}),
    "aitronos": ("aitronos", "job", {}),
    "extract": ("unsiloed", "extract", {"operation": "extract"}),
    "parse": ("unsiloed", "parse", {"operation": "parse"}),
    "generic": ("unsiloed", "job", {"operation": "job"}),
}


@pytest.mark.parametrize(("service", "kind", "options"), UNFINISHED.values(), ids=UNFINISHED)
def test_data_of_an_unfinished_document_are_refused_with_the_remedy(
    service: Any, kind: str, options: dict[str, str], vendors: StandInVendors, make_hook: MakeHook
) -> None:
    job = vendors.add_job(service, kind, seconds=1000)
    parameter = "request_id" if kind == "request" else "job_id"
    with pytest.raises(NotFinished, match=r"is not finished .*; wait for it first"):
        make_hook(service, **at(vendors, service)).get_result(**{parameter: job}, **options)


@pytest.mark.parametrize(("service", "kind", "options"), UNFINISHED.values(), ids=UNFINISHED)
def test_a_failed_document_has_no_data_but_a_reason(
    service: Any, kind: str, options: dict[str, str], vendors: StandInVendors, make_hook: MakeHook
) -> None:
    job = vendors.add_job(service, kind, seconds=0, ends="failed", error="torn in two")
    parameter = "request_id" if kind == "request" else "job_id"
    with pytest.raises(DocumentFailed) as caught:
        make_hook(service, **at(vendors, service)).get_result(**{parameter: job}, **options)
    assert type(caught.value) is DocumentFailed
    assert kind == "request" or "torn in two" in str(caught.value)
    assert caught.value.state is State.FAILED


@pytest.mark.parametrize(
    ("code", "error"), [(400, NotFinished), (500, DocumentFailed), (404, NotFound)], ids=["not-yet", "failed", "unknown"]
)
def test_the_generic_result_routes_odd_codes_are_answers(
    code: int, error: type[DocStatusError], make_hook: MakeHook, requests_mock: Requests
) -> None:
    requests_mock.get(f"{UNSILOED}/jobs/j", json={"id": "j", "status": "COMPLETED"})
    requests_mock.get(f"{UNSILOED}/jobs/j/result", status_code=code, json={"error": "the vendor's words"})
    hook = make_hook("unsiloed")
    with pytest.raises(error, match="the vendor's words" if code != 400 else "not finished"):
        hook.get_result(job_id="j", operation="job")
    assert hook.naps == []


EMPTY = {
    "aitronos-null": ("aitronos", {}, {"job_id": "j", "status": "completed", "extracted_data": None}),
    "aitronos-empty": ("aitronos", {}, {"job_id": "j", "status": "completed", "extracted_data": {}}),
    "extract": ("unsiloed", {"operation": "extract"}, {"job_id": "j", "status": "completed"}),
    "parse": ("unsiloed", {"operation": "parse"}, {"job_id": "j", "status": "Succeeded", "total_chunks": 3}),
}


@pytest.mark.parametrize(("service", "options", "reply"), EMPTY.values(), ids=EMPTY)
def test_completed_without_data_is_an_error_of_its_own(
    service: str, options: dict[str, str], reply: dict[str, Any], make_hook: MakeHook, requests_mock: Requests
) -> None:
    requests_mock.get(requests_mock_module.ANY, json=reply)
    with pytest.raises(NoData, match="but gives no data: GET "):
        make_hook(service).get_result(job_id="j", **options)


# -- lists -----------------------------------------------------------------------------------------------------------


def test_neurolinker_lists_its_requests(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = {vendors.add_job("neurolinker", seconds=0, documents=2) for _ in range(3)}
    hook = make_hook("neurolinker", **at(vendors, "neurolinker"))
    listed = hook.list_jobs()
    assert {status.id for status in listed} == ids
    assert {status.details["total_documents"] for status in listed} == {2}
    assert len(hook.list_jobs(limit=2)) == 2


def test_unsiloeds_list_is_followed_page_by_page(vendors: StandInVendors, make_hook: MakeHook) -> None:
    ids = [vendors.add_job("unsiloed", seconds=0, created_at=1e9 + number) for number in range(230)]
    newest_first = ids[::-1]
    hook = make_hook("unsiloed", **at(vendors, "unsiloed"))
    assert [status.id for status in hook.list_jobs()] == newest_first
    assert [record.query for record in vendors.requests] == [
        {"limit": "100", "offset": "0"},
        {"limit": "100", "offset": "100"},
        {"limit": "100", "offset": "200"},
    ]
    assert [status.id for status in hook.list_jobs(limit=3, offset=5)] == newest_first[5:8]
    assert vendors.requests[-1].query == {"limit": "3", "offset": "5"}
    assert hook.list_jobs(limit=0) == []


def test_unsiloeds_list_takes_every_documented_filter(vendors: StandInVendors, make_hook: MakeHook) -> None:
    wanted = vendors.add_job("unsiloed", "parse", seconds=0, created_at=1e9, tags=("a", "b"))
    vendors.add_job("unsiloed", "parse", seconds=0, created_at=1e9, tags=("a",))
    vendors.add_job("unsiloed", "extract", seconds=0, created_at=1e9, tags=("a", "b"))
    filters = {
        "status": "completed",
        "operation": "parse",
        "created_after": "2001-01-01T00:00:00Z",
        "created_before": "2002-01-01T00:00:00Z",
        "tags": "a,b",
    }
    listed = make_hook("unsiloed", **at(vendors, "unsiloed")).list_jobs(**filters)
    assert [status.id for status in listed] == [wanted]
    assert vendors.requests[0].query == {**filters, "limit": "100", "offset": "0"}


CANNOT_LIST = {
    "aitronos": ("aitronos", {}, "documents no route that lists jobs; ask by id"),
    "neurolinker by a filter": ("neurolinker", {"status": "failed"}, "cannot list by status; it has no filters"),
    "neurolinker from an offset": ("neurolinker", {"offset": 10}, "cannot begin at an item; leave offset out"),
    "a limit as text": (
        "unsiloed",
        {"limit": "5"},
        "limit must be a whole number .int. from 0 on, or None for all jobs; not '5'",
    ),
    "a limit below 0": ("unsiloed", {"limit": -1}, "limit must be a whole number .int. from 0 on, or None for all jobs; not -1"),
    "an offset below 0": ("unsiloed", {"offset": -1}, "offset must be a whole number .int. from 0 on; not -1"),
    "unsiloed by no text": ("unsiloed", {"status": None, "tags": ["a"]}, "status, tags must be text .str., as Unsiloed"),
    "unsiloed by another filter": ("unsiloed", {"user": "me"}, "cannot list by user; it knows status, operation, created_after"),
}


@pytest.mark.parametrize(("service", "options", "text"), CANNOT_LIST.values(), ids=CANNOT_LIST)
def test_what_cannot_be_listed_is_said_before_anything_is_sent(
    service: str, options: dict[str, Any], text: str, make_hook: MakeHook, requests_mock: Requests
) -> None:
    with pytest.raises(RequestRejected, match=text):
        make_hook(service).list_jobs(**options)
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("code", [404, 405, 501])
def test_a_deployment_that_cannot_list_says_so(code: Any, vendors: StandInVendors, make_hook: MakeHook) -> None:
    vendors.unsiloed_many = code
    with pytest.raises(RequestRejected, match=f"cannot list jobs here: GET /jobs answered {code}"):
        make_hook("unsiloed", **at(vendors, "unsiloed")).list_jobs()


# -- the button ------------------------------------------------------------------------------------------------------

BUTTON: dict[str, tuple[str, dict[str, Any], bool, str]] = {
    "neurolinker": ("neurolinker", {}, True, "accepted the key and listed the account's jobs"),
    "aitronos": ("aitronos", {}, True, "did not refuse the key. It has no route that would prove the key"),
    "unsiloed": ("unsiloed", {}, True, "did not refuse the key"),
    "unsiloed with an operation": ("unsiloed", {"extra": {"operation": "parse"}}, True, "did not refuse the key"),
    "neurolinker with a wrong key": ("neurolinker", {"password": "wrong_key"}, False, "401: Invalid API key. Check the key"),
    "aitronos with a wrong key": ("aitronos", {"password": "wrong_key"}, False, "UNAUTHORIZED"),
    "unsiloed with a wrong key": ("unsiloed", {"password": "wrong_key"}, False, "401: Invalid API key"),
    "no key": ("aitronos", {"password": ""}, False, "has no password; put the Aitronos API key there"),
    "a bad setting": ("aitronos", {"extra": {"auth": "basic"}}, False, "auth is not one of"),
    "nobody listens": ("aitronos", {"host": "http://127.0.0.1:1"}, False, "at 127.0.0.1:1 (connection refused)"),
}


@pytest.mark.parametrize(("service", "fields", "works", "text"), BUTTON.values(), ids=BUTTON)
def test_the_test_button_says_what_it_proved(
    *, service: str, fields: dict[str, Any], works: bool, text: str, vendors: StandInVendors, make_hook: MakeHook
) -> None:
    hook = make_hook(service, **{**at(vendors, service), **fields})
    outcome, said = hook.test_connection()
    assert outcome is works
    assert text in said
    assert all(record.method == "GET" for record in vendors.requests)


@pytest.mark.parametrize(
    "answer",
    [{"text": "<h1>nginx</h1>", "headers": {"Content-Type": "text/html"}}, {"json": {"detail": "Not Found"}}],
    ids=["html", "another API"],
)
@pytest.mark.parametrize("service", ["aitronos", "unsiloed"])
def test_the_test_button_is_not_taken_in_by_a_server_without_such_a_page(
    service: str, answer: dict[str, Any], make_hook: MakeHook, requests_mock: Requests
) -> None:
    requests_mock.get(requests_mock_module.ANY, status_code=404, **answer)
    works, said = make_hook(service, host="https://www.example.com").test_connection()
    assert works is False
    assert said.startswith("https://www.example.com has no GET /")
    assert said.endswith("s host?")


def test_the_test_button_takes_a_status_of_the_made_up_id_for_an_answer(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, json={"status": "pending"})
    assert make_hook("aitronos").test_connection() == (True, "Aitronos answered.")


#: The service, and an operation where it has several.
ROUTES = [(name, route if service.has_operations else None) for name, service in SERVICES.items() for route in service.routes]


@pytest.mark.parametrize(("service", "operation"), dict.fromkeys(ROUTES), ids=str)
@pytest.mark.parametrize("code", [401, 403])
def test_the_test_button_hides_no_rejected_key(
    code: int, service: str, operation: str | None, make_hook: MakeHook, requests_mock: Requests
) -> None:
    refusals = [{"status_code": code, "json": {"detail": "Unknown key"}}, {"json": {"tasks": {"requests": []}}}]
    requests_mock.get(requests_mock_module.ANY, refusals)
    works, said = make_hook(service, extra={"operation": operation}).test_connection()
    assert works is False
    assert f"with {code}: Unknown key" in said
    is_quota = code in SERVICES[service].quota_codes
    assert ("quota" if is_quota else "Check the key") in said
    assert requests_mock.call_count == 1


def test_the_test_button_of_a_missing_connection_says_so() -> None:
    works, said = DocStatusHook("nowhere").test_connection()
    assert works is False
    assert "'nowhere' is not defined" in said


# -- asking again ----------------------------------------------------------------------------------------------------

DONE = {"json": {"job_id": "j", "status": "completed"}}
PAUSES = {
    "seconds": ({"Retry-After": "7"}, 7.0),
    "zero": ({"Retry-After": "0"}, 0.0),
    "a date": (lambda: {"Retry-After": formatdate(time.time() + 20, usegmt=True)}, 20.0),
    "a date in the past": ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    "the vendor's own header": ({"X-RateLimit-Retry-After": "12"}, 12.0),
}


@pytest.mark.parametrize(("headers", "pause"), PAUSES.values(), ids=PAUSES)
@pytest.mark.parametrize("code", [429, 503])
def test_the_services_wish_to_wait_is_heeded(
    code: int, headers: Any, pause: float, make_hook: MakeHook, requests_mock: Requests
) -> None:
    given = headers() if callable(headers) else headers
    requests_mock.get(requests_mock_module.ANY, [{"status_code": code, "headers": given, "json": {}}, DONE])
    hook = make_hook("aitronos")
    assert hook.get_status(job_id="j").state is State.SUCCEEDED
    is_ignored = code == 503 and "X-RateLimit-Retry-After" in given
    assert hook.naps == [pytest.approx(0.5 if is_ignored else pause, abs=2 if not is_ignored else 0.5)]


def test_a_wish_to_wait_too_long_is_handed_on_at_once(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, status_code=429, headers={"Retry-After": "600"})
    hook = make_hook("unsiloed")
    with pytest.raises(RateLimited) as caught:
        hook.get_status(job_id="j", operation="extract")
    assert caught.value.retry_after == 600
    assert requests_mock.call_count == 1
    assert hook.naps == []


TRANSIENT: dict[str, dict[str, Any]] = {
    **{str(code): {"status_code": code} for code in (408, 425, 429, 500, 502, 503, 504)},
    "connection": {"exc": requests.exceptions.ConnectionError},
    "connect time-out": {"exc": requests.exceptions.ConnectTimeout},
    "read time-out": {"exc": requests.exceptions.ReadTimeout},
    "broken off": {"exc": requests.exceptions.ChunkedEncodingError},
}


@pytest.mark.parametrize("trouble", TRANSIENT.values(), ids=TRANSIENT)
def test_it_is_asked_again_after(trouble: dict[str, Any], make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, [trouble, trouble, DONE])
    hook = make_hook("aitronos")
    assert hook.get_status(job_id="j").state is State.SUCCEEDED
    assert requests_mock.call_count == 3
    assert len(hook.naps) == 2
    assert all(0 <= nap <= 60 for nap in hook.naps)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_an_unavailable_service_is_asked_again_so_often(retries: int, make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, status_code=503, json={"detail": "maintenance"})
    hook = make_hook("aitronos", retries=retries)
    with pytest.raises(ServiceUnavailable, match="503: maintenance"):
        hook.get_status(job_id="j")
    assert requests_mock.call_count == retries + 1
    assert len(hook.naps) == retries


FINAL: dict[str, tuple[dict[str, Any], type[DocStatusError]]] = {
    "400": ({"status_code": 400, "text": "no such job"}, RequestRejected),
    "401": ({"status_code": 401}, KeyRejected),
    "402": ({"status_code": 402, "text": "no such job"}, QuotaExhausted),
    "403": ({"status_code": 403, "text": "no such job"}, KeyRejected),
    "404": ({"status_code": 404, "text": "no such job"}, NotFound),
    "410": ({"status_code": 410, "text": "no such job"}, NotFound),
    "422": ({"status_code": 422, "text": "no such job"}, RequestRejected),
    "429 for the quota": ({"status_code": 429, "text": "Usage limit exceeded"}, QuotaExhausted),
    "a redirect": ({"status_code": 302, "headers": {"Location": "https://login.example.com/"}}, UnexpectedReply),
    "html": ({"text": "<html>", "headers": {"Content-Type": "text/html"}}, UnexpectedReply),
}


@pytest.mark.parametrize(("answer", "error"), FINAL.values(), ids=FINAL)
def test_it_is_not_asked_again_after(
    answer: dict[str, Any], error: type[DocStatusError], make_hook: MakeHook, requests_mock: Requests
) -> None:
    requests_mock.get(requests_mock_module.ANY, **answer)
    hook = make_hook("unsiloed")
    with pytest.raises(error) as caught:
        hook.get_status(job_id="j", operation="parse")
    assert type(caught.value) is error
    assert requests_mock.call_count == 1
    assert hook.naps == []


def test_a_key_that_was_changed_is_used_when_the_connection_is_read_again(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, status_code=401)
    requests_mock.get(requests_mock_module.ANY, request_headers={"X-API-Key": KEY}, **DONE)
    hook = make_hook("aitronos", retries=0)
    hook.get_status(job_id="j")
    requests_mock.get(requests_mock_module.ANY, request_headers={"X-API-Key": KEY}, status_code=401)
    requests_mock.get(requests_mock_module.ANY, request_headers={"X-API-Key": "the_next_key"}, **DONE)
    make_hook("aitronos", password="the_next_key")
    with pytest.raises(KeyRejected):
        hook.get_status(job_id="j")
    hook.reload()
    assert hook.get_status(job_id="j").state is State.SUCCEEDED
    assert hook.get_conn().get("/v1/anything").json() == DONE["json"], "the session for submitting has the new key"


def test_nothing_is_taken_over_where_nothing_has_changed(make_hook: MakeHook, requests_mock: Requests) -> None:
    hook = make_hook("aitronos", retries=0)
    session = hook.get_conn()
    hook.reload()
    assert hook.get_conn() is session


def test_a_connection_that_is_read_again_is_a_new_tcp_connection(vendors: StandInVendors, make_hook: MakeHook) -> None:
    """A kept one leads to the same replica behind a balancer."""
    hook, opened = make_hook("aitronos", retries=0, **at(vendors, "aitronos")), vendors.connections_opened
    for number in (1, 1, 2):
        if number == 2:
            hook.reload()
        hook.get_status(job_id=vendors.add_job("aitronos", seconds=0))
        assert vendors.connections_opened - opened == number


@pytest.mark.parametrize("error", [AirflowNotFoundException, AirflowException], ids=["no connection", "another error"])
def test_a_secrets_backend_that_is_away_is_no_verdict_on_the_key(
    make_hook: MakeHook, requests_mock: Requests, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Airflow 3.3 lets a backend's AirflowSecretsBackendAccessDenied through (sdk, execution_time/context.py)."""
    hook = make_hook("aitronos", retries=0)
    requests_mock.get(requests_mock_module.ANY, **DONE)
    assert hook.endpoint

    def away(_conn_id: str) -> Any:
        raise error

    monkeypatch.setattr(hook, "get_connection", away)
    hook.reload()
    assert hook.get_status(job_id="j").state is State.SUCCEEDED


def test_a_changed_connection_is_read_with_all_that_it_says(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(f"{NEUROLINKER}/v1/request-status/{R}", status_code=405)
    requests_mock.get(f"{NEUROLINKER}/api/v1/request-status/{R}", status_code=401)
    requests_mock.get(f"https://new.example/v1/request-status/{R}", json={"request_id": R, "status": "processing"})
    hook = make_hook()
    with pytest.raises(KeyRejected):
        hook.get_status(request_id=R)
    make_hook(host="https://new.example", password="the_next_key")
    hook.reload()
    assert hook.get_status(request_id=R).state is State.RUNNING
    assert hook.prefix.current == "/v1", "what the old host has shown says nothing of the new one"


def test_a_connection_that_is_now_anothers_is_not_taken_over(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, status_code=401)
    hook = make_hook("unsiloed")
    assert hook.service.name == "unsiloed"
    make_hook("aitronos")
    hook.reload()
    with pytest.raises(KeyRejected, match="Unsiloed answered GET /parse/"):
        hook.get_status(job_id="j", operation="parse")


HOLES: dict[str, dict[str, Any]] = {
    "an empty password": {"password": ""},
    "no password": {"password": None},
    "a password with a blank": {"password": "one two"},
    "the type of another service": {"conn_type": "unsiloed"},
    "the type of another package": {"conn_type": "http"},
    "an unknown setting": {"extra": {"timeout": 3}},
    "a host that is none": {"host": "https://"},
}


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
def test_a_connection_that_is_wrong_when_it_is_read_again_is_used_as_it_was(
    hole: dict[str, Any], make_hook: MakeHook, requests_mock: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests_mock.get(requests_mock_module.ANY, status_code=401)
    requests_mock.get(requests_mock_module.ANY, request_headers={"X-API-Key": KEY}, **DONE)
    warnings: list[str] = []
    log = SimpleNamespace(warning=lambda text, *values: warnings.append(text % values), info=lambda *_: None)
    monkeypatch.setattr(DocStatusHook, "log", log)
    hook = make_hook("aitronos")
    assert hook.endpoint
    make_hook("aitronos", **hole)
    hook.reload()
    assert hook.get_status(job_id="j").state is State.SUCCEEDED
    (warning,) = warnings
    assert "'vendor'" in warning
    assert warning.endswith("What was read before is used on.")
    make_hook("aitronos", password="the_next_key")
    hook.reload()
    assert hook.endpoint.key == "the_next_key"


def test_reading_by_post_is_asked_again_as_well(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, json={"document_id": R, "status": "completed"})
    requests_mock.post(
        requests_mock_module.ANY, [{"status_code": 503}, {"json": {"results": [{"document_id": R, "content": "text"}]}}]
    )
    assert make_hook().get_result(document_id=R, content="markdown") == "text"


# -- the session for submitting --------------------------------------------------------------------------------------


def test_a_path_is_taken_below_the_connections_host(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.post(f"{AITRONOS}/v1/documents/extract", json={"job_id": "j"})
    session = make_hook("aitronos").get_conn()
    for path in ("/v1/documents/extract", "v1/documents/extract", f"{AITRONOS}/v1/documents/extract"):
        assert session.post(path, data={"schema": "{}"}).json() == {"job_id": "j"}
        assert requests_mock.last_request.headers["X-API-Key"] == KEY


def test_a_host_with_a_path_keeps_it(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get("https://gateway.example.com/neurolinker/v1/tasks", json={"tasks": {"requests": []}})
    hook = make_hook(host="https://gateway.example.com/neurolinker/")
    assert hook.get_conn().get("/v1/tasks").ok
    assert hook.list_jobs() == []


ELSEWHERE = {
    "another host": "https://storage.example.com/signed?x=1",
    "another scheme": AITRONOS.replace("https", "http") + "/v1/x",
    "another port": f"{AITRONOS}:8443/v1/x",
    "a longer host": f"{AITRONOS}.example.com/v1/x",
    "our host as the user": f"https://{AITRONOS.removeprefix('https://')}@example.com/v1/x",
    "our host behind a backslash": f"https://example.com\\@{AITRONOS.removeprefix('https://')}/v1/x",
}


@pytest.mark.parametrize("url", ELSEWHERE.values(), ids=ELSEWHERE)
def test_the_key_is_not_sent_to(url: str, make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, text="file")
    make_hook("aitronos").get_conn().get(url)
    assert KEY not in str(dict(requests_mock.last_request.headers))


def test_the_key_goes_to_our_host_with_its_usual_port_as_well(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, text="file")
    hook = make_hook("aitronos", host=f"{AITRONOS}:443")
    for url in (f"{AITRONOS}/v1/x", f"{AITRONOS}:443/v1/x", "/v1/x"):
        hook.get_conn().get(url)
        assert requests_mock.last_request.headers["X-API-Key"] == KEY


def test_redirects_are_not_followed_unless_asked_for(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.register_uri(
        requests_mock_module.ANY, f"{NEUROLINKER}/a", status_code=302, headers={"Location": "https://elsewhere.example.com/b"}
    )
    elsewhere = requests_mock.register_uri(requests_mock_module.ANY, "https://elsewhere.example.com/b", text="b")
    session = make_hook().get_conn()
    for send in (session.get, session.options, session.head, session.post, session.put, session.patch, session.delete):
        assert send("/a").status_code == 302
    assert not elsewhere.called


@pytest.mark.parametrize("service", SERVICES)
def test_a_followed_redirect_takes_the_key_to_our_host_only(service: str, make_hook: MakeHook, requests_mock: Requests) -> None:
    ours = HOSTS[service]
    requests_mock.get(f"{ours}/a", status_code=302, headers={"Location": f"{ours}/b"})
    same = requests_mock.get(f"{ours}/b", status_code=302, headers={"Location": "https://elsewhere.example.com/c"})
    other = requests_mock.get("https://elsewhere.example.com/c", text="c")
    assert make_hook(service).get_conn().get("/a", allow_redirects=True).text == "c"
    name, value = HEADER[service]
    assert same.last_request.headers[name] == value
    assert KEY not in str(dict(other.last_request.headers))


def test_netrc_does_not_replace_the_key(
    make_hook: MakeHook, requests_mock: Requests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine neurolinker.api.ainexxo.com login somebody password else\ndefault login any password body\n")
    monkeypatch.setenv("NETRC", str(netrc))
    requests_mock.get(f"{NEUROLINKER}/a", status_code=302, headers={"Location": "/b"})
    requests_mock.get(f"{NEUROLINKER}/b", text="b")
    session = make_hook().get_conn()
    assert session.get("/a", allow_redirects=True).text == "b"
    assert [sent.headers["Authorization"] for sent in requests_mock.request_history] == [f"Bearer {KEY}"] * 2


def test_every_request_has_a_time_out(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, text="")
    session = make_hook(extra={"request_timeout": 4}).get_conn()
    for given, used in ((None, 4.0), (9, 9), ((1, 2), (1, 2))):
        session.get("/a", timeout=given)
        assert requests_mock.last_request.timeout == used


def test_a_submit_is_never_sent_twice(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.post(requests_mock_module.ANY, [{"status_code": 503}, {"exc": requests.exceptions.ConnectionError}])
    session = make_hook().get_conn()
    assert session.post("/v1/extract").status_code == 503
    assert requests_mock.call_count == 1
    with pytest.raises(requests.exceptions.ConnectionError):
        session.post("/v1/extract")
    assert requests_mock.call_count == 2


def test_one_pooled_session_serves_a_hook(vendors: StandInVendors, make_hook: MakeHook) -> None:
    hook = make_hook("aitronos", **at(vendors, "aitronos"))
    for _ in range(5):
        hook.get_status(job_id=vendors.add_job("aitronos", seconds=0))
    assert hook.get_conn() is hook.get_conn()
    assert vendors.connections_opened == 1


# -- the other prefix ------------------------------------------------------------------------------------------------

SHOWS_THE_OTHER = {
    "a redirect": {"status_code": 307, "headers": {"Location": f"{NEUROLINKER}/api/v1/request-status/{R}"}},
    "a redirect without a host": {"status_code": 308, "headers": {"Location": f"/api/v1/request-status/{R}"}},
    "a 405": {"status_code": 405, "json": {"detail": "Method Not Allowed"}},
    "the framework's 404": {"status_code": 404, "json": {"detail": "Not Found"}},
}


@pytest.mark.parametrize("answer", SHOWS_THE_OTHER.values(), ids=SHOWS_THE_OTHER)
def test_the_other_prefix_is_taken_over_and_kept_after(
    answer: dict[str, Any], make_hook: MakeHook, requests_mock: Requests
) -> None:
    first = requests_mock.get(f"{NEUROLINKER}/v1/request-status/{R}", **answer)
    second = requests_mock.get(
        f"{NEUROLINKER}/api/v1/request-status/{R}", json={"request_id": R, "status": "processing", "processing": 1}
    )
    hook = make_hook()
    for _ in range(3):
        assert hook.get_status(request_id=R).state is State.RUNNING
    assert (first.call_count, second.call_count) == (1, 3)
    assert hook.prefix.current == "/api/v1"


SHOWS_NOTHING: dict[str, dict[str, Any]] = {
    "an ordinary 404": {"status_code": 404, "json": {"detail": "Request not found"}},
    "an html 404": {"status_code": 404, "text": "<html>", "headers": {"Content-Type": "text/html"}},
    "a redirect to another host": {"status_code": 307, "headers": {"Location": "https://example.com/api/v1/request-status/x"}},
    "a redirect to http": {
        "status_code": 307,
        "headers": {"Location": f"http://neurolinker.api.ainexxo.com/api/v1/request-status/{R}"},
    },
    "a redirect to a login page": {"status_code": 302, "headers": {"Location": "/login"}},
}


@pytest.mark.parametrize("answer", SHOWS_NOTHING.values(), ids=SHOWS_NOTHING)
def test_the_prefix_is_kept_after(answer: dict[str, Any], make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(f"{NEUROLINKER}/v1/request-status/{R}", **answer)
    hook = make_hook()
    with pytest.raises(DocStatusError):
        hook.get_status(request_id=R)
    assert hook.prefix.current == "/v1"
    assert requests_mock.call_count == 1


def test_the_prefix_is_kept_when_the_other_does_not_exist_either(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, status_code=404, json={"detail": "Not Found"})
    hook = make_hook()
    with pytest.raises(NotFound, match="GET /v1/request-status"):
        hook.get_status(request_id=R)
    assert hook.prefix.current == "/v1"
    assert requests_mock.call_count == 2


def test_a_prefix_set_in_the_connection_is_used_first(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(f"{NEUROLINKER}/api/v1/request-status/{R}", json={"request_id": R, "status": "processing"})
    make_hook(extra={"prefix": "api/v1/"}).get_status(request_id=R)
    assert requests_mock.call_count == 1


# -- replies that are not the vendor's -------------------------------------------------------------------------------


def test_a_reply_over_the_limit_names_the_setting(make_hook: MakeHook, requests_mock: Requests) -> None:
    reply = {"job_id": "j", "extracted_data": "x" * 2000, "status": "completed"}
    requests_mock.get(requests_mock_module.ANY, json=reply)
    with pytest.raises(UnexpectedReply, match="more than 1000 bytes; raise 'max_reply_bytes' in the connection's extra"):
        make_hook("aitronos", extra={"max_reply_bytes": 1000}).get_status(job_id="j")
    requests_mock.get(requests_mock_module.ANY, json=dict(sorted(reply.items(), reverse=True)))  # the word is in the beginning
    assert make_hook("aitronos", extra={"max_reply_bytes": 1000}).get_status(job_id="j").state is State.SUCCEEDED
    assert make_hook("aitronos", extra={"max_reply_bytes": 3000}).get_status(job_id="j").state is State.SUCCEEDED


def test_a_reply_of_100_mb_is_read_only_up_to_the_limit(vendors: StandInVendors, make_hook: MakeHook) -> None:
    vendors.answer_next(200, megabytes=100)
    hook = make_hook("aitronos", **at(vendors, "aitronos"), extra={"max_reply_bytes": 1_000_000})
    tracemalloc.start()
    began = time.monotonic()
    try:
        with pytest.raises(UnexpectedReply, match="more than 1000000 bytes"):
            hook.get_status(job_id="j")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
    assert time.monotonic() - began < 2
    assert hook.get_status(job_id=vendors.add_job("aitronos", seconds=0)).state is State.SUCCEEDED


def test_html_names_the_proxy_and_the_host_as_suspects(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(requests_mock_module.ANY, text="<html>", headers={"Content-Type": "text/html"})
    with pytest.raises(UnexpectedReply, match="is there a proxy or login page in between, or is the host wrong"):
        make_hook("aitronos").get_status(job_id="j")


def repeating(service: str, route: str, **more: Any) -> dict[str, Any]:
    """Return a reply with the key in every place that the description of a route reads, but for the places of the id."""
    read, known = SERVICES[service].routes[route], SERVICES[service]
    places = [*read.status, *read.errors, *read.links, *read.counters, *read.partial, *known.envelope, *known.quota, *known.rate]
    places += [place for group in (*read.times.values(), *read.details.values()) for place in group]
    said: dict[str, Any] = {"error": {"message": f"bad key {KEY}", "details": {"key": KEY}}, "detail": KEY}
    for place in sorted({name for several in places for name in several.split()}):
        put(said, place, f"the key is {KEY}")
    for place, value in more.items():
        put(said, place, value)
    return said


def put(body: dict[str, Any], place: str, value: Any) -> None:
    """Put a value at a dotted path."""
    *above, name = place.split(".")
    for one in above:
        inner = body.get(one)
        body[one] = inner if isinstance(inner, dict) else {}
        body = body[one]
    body[name] = value


def which_id(service: str, route: str) -> dict[str, str]:
    """Return the arguments that name an id of a route."""
    read = SERVICES[service].routes[route]
    operation = {"operation": route} if SERVICES[service].has_operations else {}
    return {read.parameter: (read.id_prefixes or ("",))[0] + "/".join(["j"] * len(read.placeholders)), **operation}


def said_by(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


EVERY_ROUTE = [(name, route) for name, service in SERVICES.items() for route in service.routes]


@pytest.mark.parametrize("code", [200, 400, 401, 402, 403, 404, 410, 429, 500])
@pytest.mark.parametrize("shape", ["json", "text"])
def test_a_key_that_the_vendor_repeats_is_in_no_text(
    *, code: int, shape: str, make_hook: MakeHook, requests_mock: Requests, caplog: pytest.LogCaptureFixture
) -> None:
    for service, route in EVERY_ROUTE:
        reply = {"json": repeating(service, route)} if shape == "json" else {"text": f"wrong: {KEY}"}
        requests_mock.get(requests_mock_module.ANY, status_code=code, headers={"Retry-After": "600"}, **reply)
        hook = make_hook(service)
        asked = requests_mock.call_count
        with pytest.raises(DocStatusError) as caught:
            hook.get_status(**which_id(service, route))
        assert requests_mock.call_count > asked, (service, route)
        assert not [text for text in said_by(caught.value) if KEY in text], (service, route)
        assert KEY not in repr(hook.endpoint)
        assert KEY not in hook.test_connection()[1]
    assert KEY not in caplog.text


@pytest.mark.parametrize(("service", "route"), EVERY_ROUTE)
def test_a_key_that_the_vendor_repeats_is_in_no_status(
    service: str, route: str, make_hook: MakeHook, requests_mock: Requests, caplog: pytest.LogCaptureFixture
) -> None:
    read, told = SERVICES[service].routes[route], []
    for words in SERVICES[service].words.values():
        reply = repeating(service, route, **{read.status[0]: words[0]}, **({read.members.items: []} if read.members else {}))
        requests_mock.register_uri(requests_mock_module.ANY, requests_mock_module.ANY, json=reply)
        hook = make_hook(service)
        for ask in (hook.get_status, hook.get_result):
            try:
                found = ask(**which_id(service, route))
                told.append(str(found.to_dict() if isinstance(found, DocumentStatus) else found))
            except DocStatusError as error:
                told.extend(said_by(error))
    assert not [text for text in told if KEY in text]
    assert [text for text in told if "***" in text], "the places are read"
    assert KEY not in caplog.text


def test_a_made_up_short_key_tears_no_holes_into_the_data(make_hook: MakeHook, requests_mock: Requests) -> None:
    requests_mock.get(
        requests_mock_module.ANY, json={"job_id": "j", "status": "completed", "extracted_data": {"text": "a test of text"}}
    )
    assert make_hook("aitronos", password="test").get_result(job_id="j") == {"text": "a test of text"}


def test_no_error_text_holds_the_url_or_a_proxys_password(make_hook: MakeHook) -> None:
    hook = make_hook("aitronos", retries=0, extra={"proxy": "http://somebody:secret@127.0.0.1:1"})
    with pytest.raises(ServiceUnavailable, match="proxy did not let it through: connection refused") as caught:
        hook.get_status(job_id="j")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "secret" not in repr(hook.endpoint)
