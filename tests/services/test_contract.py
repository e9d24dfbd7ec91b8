"""
What every service's file must hold, and the recorded replies that show it.

A new service: copy the nearest file, save replies as ``airflow_provider_docstatus/testing/replies/<name>.json``, run this; it
names what is missing. The stand-in plays the same file (``testing/recordings.py`` has the format). Method and path are the
vendor's, from the vendor's source, so that a description that asks elsewhere is found out.
Each reply says where it comes from, with the tags of the vendors' fact sheet: ``[page]``, ``[docs]``, ``[spec]``, ``[sdk]``,
``[vtest]``, ``[3p]`` (third party), ``[live]`` (a real server), ``[inf]`` (our inference). "assembled" means that the vendor
shows no such reply: its words and fields are the source's, their combination is ours.
"""

from __future__ import annotations

import json
import re
import string
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_docstatus import exceptions
from airflow_provider_docstatus.exceptions import DocStatusError, NotFinished, RequestRejected, ServiceUnavailable
from airflow_provider_docstatus.protocol.description import ListRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.flows import poll_batch, poll_one
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import ID_PARAMETERS, Target
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing.recordings import FOLDER, pattern
from airflow_provider_docstatus.testing.rewriting import texts
from tests.conversations import converse, response

FILES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
RECORDED = {name: held["replies"] for name, held in FILES.items()}
READ = {"status", "result", "list", "statuses"}


def asks_so(name: str, reply: dict[str, Any]) -> bool:
    """Whether the description asks for data by the recorded query."""
    result = SERVICES[name].routes[reply["route"]].result if name in SERVICES else None
    asked = result.query if result else {}
    return all(asked.get(key) in (value, tuple(value), *value[:1]) for key, value in reply.get("query", {}).items())


def follows_links(name: str, reply: dict[str, Any]) -> bool:
    """Whether the description takes data that is behind a link."""
    result = SERVICES[name].routes[reply["route"]].result if name in SERVICES else None
    return result is not None and bool(result.link)


def is_for_others(name: str, reply: dict[str, Any]) -> bool:
    """Whether a recorded reply holds data in another form than the description asks for; then it is there for other clients."""
    alike = [one for one in RECORDED[name] if one["ask"] == reply["ask"] == "result" and one["route"] == reply["route"]]
    return bool(alike) and not asks_so(name, reply) and any(asks_so(name, one) for one in alike)


CASES = [
    pytest.param(name, reply, id=f"{name}-{reply['name']}")
    for name, replies in RECORDED.items()
    for reply in replies
    if reply["ask"] in READ and not is_for_others(name, reply)
]
REFUSED_LINKS = [
    pytest.param(name, reply, id=f"{name}-{reply['name']}")
    for name, replies in RECORDED.items()
    for reply in replies
    if reply["ask"] == "link" and "error" in reply["expect"] and follows_links(name, reply)
]
TIMES = {"created_at", "started_at", "updated_at", "completed_at"}
LONGEST_MESSAGE = 700

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def all_routes(service: ServiceDescription) -> dict[str, Route]:
    routes = dict(service.routes)
    routes |= {f"{name}.child": route.child for name, route in service.routes.items() if route.child}
    return routes | {
        f"{name}.list": route.listing.item for name, route in service.routes.items() if route.listing and route.listing.item
    }


def lists_of(service: ServiceDescription) -> list[ListRoute]:
    return [route.listing for route in service.routes.values() if route.listing]


def placeholders(path: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(path) if name is not None]


# -- the description ---------------------------------------------------------------------------------------------


@each_service
def test_its_name_is_its_files_and_its_connection_type(service):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", service.name)
    module = __import__(f"airflow_provider_docstatus.services.{service.name}", fromlist=["_"])
    assert getattr(module, service.name.upper()) is service
    assert SERVICES[service.name] is service
    assert service.title.strip() == service.title != ""


@each_service
def test_its_host_is_an_https_url_without_a_path(service):
    hosts = [service.host, *service.regions.values()]
    hosts += [one for route in service.routes.values() for one in (route.host, *route.regions.values())]
    for host in map(urlsplit, filter(None, hosts)):  # where each deployment has its own, there is none
        assert host.scheme == "https"
        assert host.hostname
        assert [host.path, host.query, host.fragment, host.username] == ["", "", "", None]


@each_service
def test_it_names_its_pages_and_its_evidence(service):
    assert service.docs.startswith("https://")
    assert service.evidence
    assert service.retention
    for route in service.routes.values():
        assert not route.docs or route.docs.startswith("https://")


@each_service
def test_every_way_to_send_the_key_has_a_header_and_a_place_for_it(service):
    assert service.auth
    for header, template in service.auth.values():
        assert re.fullmatch(r"[A-Za-z-]+", header)
        assert placeholders(template) == ["key"]


@each_service
def test_its_words_are_lower_case_and_tell_how_a_job_ends(service):
    assert State.SUCCEEDED in service.states.values()
    for word, state in service.states.items():
        assert word
        assert word == word.strip().lower()
        assert isinstance(state, State)


@each_service
def test_its_prefixes_and_paths_can_be_joined(service):
    assert all(re.fullmatch(r"(/[a-z0-9]+)*", prefix) for prefix in service.prefixes)
    assert len(set(service.prefixes)) == len(service.prefixes)
    paths = [content.path for content in service.contents.values()]
    paths += [one.path for route in service.routes.values() for one in (route.batch, route.listing) if one]
    for path in paths:
        assert re.fullmatch(r"(/[a-zA-Z0-9_-]+)+", path)


@each_service
def test_every_route_is_about_one_id(service):
    for name, route in all_routes(service).items():
        assert placeholders(route.path) == list(route.placeholders)
        assert route.placeholders == ("id",) or "id" not in route.placeholders
        assert route.placeholders
        assert route.path.startswith("/")
        assert route.parameter in ID_PARAMETERS
        if not route.ids:  # a reply about another id goes unnoticed: only where none of the recorded ones repeats it
            told = [one for one in RECORDED[service.name] if one["route"] == name and "state" in one["expect"]]
            assert not [one["name"] for one in told if one["id"] in texts(one.get("body"))]
        assert route.kind in ("request", "document", "job", "batch")


@each_service
def test_every_route_leads_to_data(service):
    for route in service.routes.values():
        if service.contents:
            assert route.result is None
        else:
            assert route.result is not None
            assert placeholders(route.result.path) in ([], ["id"])
            assert set(route.result.codes.values()) <= set(State)
    assert bool(service.contents) == (service.read_item is not None)


@each_service
def test_every_route_that_counts_or_has_children_reads_them(service):
    for route in service.routes.values():
        assert bool(route.children) == (route.child is not None)
        if route.kind in ("request", "batch"):
            assert route.counters
            assert route.children or route.members


@each_service
def test_times_are_fields_of_a_status_and_paths_are_paths(service):
    assert {field.name for field in fields(DocumentStatus)} >= TIMES
    for route in all_routes(service).values():
        assert set(route.times) <= TIMES
        groups = [
            route.ids,
            route.errors,
            (route.flag or "success",),
            (route.inside or "data",),
            route.links,
            *route.times.values(),
            *route.details.values(),
        ]
        paths = [path for group in groups for place in group for path in place.split(" ")]
        assert all(re.fullmatch(r"[a-zA-Z_]+(\.[a-zA-Z_]+)*", path) for path in paths)
        assert route.details.keys().isdisjoint({"user_uid", "user_id"})
        assert not any("user" in path for path in paths), "never a user id"


@each_service
def test_other_names_of_operations_lead_to_operations(service):
    assert bool(service.operations) <= service.has_operations
    for name, operation in service.operations.items():
        assert name == name.lower()
        assert operation in service.routes
        assert name not in service.routes


@each_service
def test_an_operation_chooses_among_routes_of_one_parameter_only(service):
    if service.has_operations:
        assert len({route.parameter for route in service.routes.values()}) == 1


@each_service
def test_its_timing_is_positive_and_never_below_what_the_vendor_asks_for(service):
    assert service.poll_interval >= service.least_poll_interval > 0
    assert service.grace >= 0
    assert all(header == header.lower() for header in service.retry_headers)


@each_service
def test_its_listing_pages_or_does_not(service):
    for listing in lists_of(service):
        assert listing.page_size is None or listing.page_size > 0
        assert {listing.size, listing.at}.isdisjoint(listing.filters)


# -- the recorded replies ----------------------------------------------------------------------------------------


def test_every_service_has_recorded_replies_and_no_one_else():
    assert set(RECORDED) == set(SERVICES)


@each_service
def test_its_file_names_it_and_the_header_of_its_key(service):
    held = FILES[service.name]
    assert held["service"] == service.name
    assert (held["key"]["header"], held["key"]["value"]) in service.auth.values()
    assert held["key"]["source"]


@each_service
def test_every_reply_has_the_vendors_method_and_path(service):
    for reply in RECORDED[service.name]:
        if reply["ask"] not in {"link", "no_route"}:
            assert reply["method"] in {"GET", "POST"}, reply["name"]
            assert reply["path"].startswith("/"), reply["name"]


@each_service
def test_a_recorded_submit_gives_the_id(service):
    submits = [reply for reply in RECORDED[service.name] if reply["ask"] == "submit" and "error" not in reply["expect"]]
    assert submits
    for reply in submits:
        told = json.dumps([reply.get("body"), reply.get("headers")])
        ids = reply["expect"]["id"]
        for one in ids if isinstance(ids, list) else [ids]:
            assert one.rpartition("/")[2] in told, reply["name"]


@each_service
def test_every_reply_names_its_source(service):
    names = [reply["name"] for reply in RECORDED[service.name]]
    assert len(set(names)) == len(names)
    for reply in RECORDED[service.name]:
        assert re.match(r"\[(page|docs|spec|sdk|vtest|3p|live|inf)\] \S", reply["source"]), reply["name"]


@each_service
def test_every_word_has_a_recorded_reply(service):
    seen = {reply["expect"]["word"].lower() for reply in RECORDED[service.name] if "word" in reply["expect"]}
    assert set(service.states) <= seen


@each_service
def test_every_route_has_a_recorded_reply(service):
    seen = {reply["route"] for reply in RECORDED[service.name] if reply["ask"] == "status"}
    assert seen == set(service.routes)
    asked = {reply["ask"] for reply in RECORDED[service.name]}
    has_batch = any(route.batch for route in service.routes.values())
    assert asked >= {"submit", "result"} | ({"list"} if lists_of(service) else set()) | ({"statuses"} if has_batch else set())


@each_service
def test_every_error_has_a_recorded_reply(service):
    seen = {
        (str(reply["code"])[0] + "xx" if reply["code"] >= 500 else reply["code"], reply["expect"].get("error"))
        for reply in RECORDED[service.name]
        if reply["ask"] == "status"
    }
    needed = {
        (200, "UnexpectedReply"),
        (200, "UnknownWord"),
        (401, "KeyRejected"),
        *((code, "QuotaExhausted") for code in service.quota_codes),
        *([(403, "KeyRejected")] if 403 not in service.quota_codes else []),
        (404, "NotFound"),
        (422, "RequestRejected"),
        (429, "RateLimited"),
        ("5xx", "ServiceUnavailable"),
    }
    if service.quota:
        needed.add((429, "QuotaExhausted"))
    assert needed <= seen


@pytest.mark.parametrize(("name", "reply"), CASES)
def test_every_reply_is_read_as_what_it_means(name: str, reply: dict[str, Any]):
    service, expect = SERVICES[name], dict(reply["expect"])
    if "error" in expect:
        with pytest.raises(DocStatusError) as caught:
            read(service, reply)
        check_error(service, reply, caught.value, expect)
        return
    got = read(service, reply)
    if reply["ask"] == "status":
        check_status(got, expect)
    elif reply["ask"] == "result":
        _, items, errors = got
        items = {one: data.decode() if isinstance(data, bytes) else data for one, data in items.items()}
        assert items in (expect["data"], {reply["id"]: expect["data"]})
        assert errors == expect.get("errors", {})
    else:
        assert {status.id: status.state.value for status in got} == expect["states"]
        assert {status.id: status.message for status in got if status.message} == expect.get("messages", {})


@pytest.mark.parametrize(("name", "refusal"), REFUSED_LINKS)
def test_a_refused_link_is_asked_for_anew_and_then_told(name: str, refusal: dict[str, Any]):
    service = SERVICES[name]
    results = [one for one in RECORDED[name] if one["ask"] == "result" and refusal["url"] in json.dumps(one.get("body"))]
    target = Target(route=refusal["route"], id=results[0]["id"])
    flow = fetch_result(service, target, status=None, content=None, options={})
    with pytest.raises(DocStatusError) as caught:
        converse(flow, *map(one_response, [results[0], refusal] * 2), prefix=service.prefixes[0])
    check_error(service, refusal, caught.value, refusal["expect"])


def read(service: ServiceDescription, reply: dict[str, Any]) -> Any:
    recorded = [one_response(reply)]
    route, is_batch = reply["route"], reply["ask"] == "statuses"
    if reply["ask"] == "list":
        operation = route if route in service.routes else None
        flow = list_jobs(
            service, filters={}, limit=len(reply.get("expect", {}).get("states", "x")), offset=0, operation=operation
        )
    elif is_batch:
        flow = poll_batch(service, [Target(route=route, id=one) for one in reply["id"]])
    elif reply["ask"] == "result":
        known = DocumentStatus(
            service=service.name, kind=service.routes[route].kind, id=reply["id"], state=State.SUCCEEDED, word="completed"
        )
        target = Target(route=route, id=reply["id"])
        flow = fetch_result(service, target, status=known, content=reply["expect"].get("content"), options={})
        links = [one for one in RECORDED[service.name] if one["ask"] == "link" and "error" not in one["expect"]]
        recorded += [one_response(one) for one in links if one["url"] in json.dumps(reply.get("body"))]
    else:
        flow = poll_one(service, Target(route=route, id=reply["id"]), judges=False)
        members = service.routes[route].members
        lists = [one for one in RECORDED[service.name] if members and (one["ask"], one.get("path")) == ("list", members.path)]
        is_final = members is not None and reply["expect"].get("state") not in (None, "running")
        recorded += [one_response(one) for one in lists if is_final and reply["id"] in one.get("query", {}).values()]
    got, sent = converse(flow, *recorded, prefix=service.prefixes[0])
    assert sent[0].method == reply["method"]
    if reply["ask"] in ("status", "result") and (result := service.routes[route].result) and not result.path:
        assert service.routes[route].query.items() <= dict(sent[0].query).items()
    asked = sent[0].prefix + sent[0].path
    assert pattern(reply["path"]).fullmatch(asked), f"the vendor is asked at {asked}, not at {reply['path']}"
    return list(got.values()) if is_batch else got


def one_response(reply: dict[str, Any]) -> Any:
    return response(reply.get("body"), reply["code"], text=reply.get("text"), headers=reply.get("headers"))


def check_status(status: DocumentStatus, expect: dict[str, Any]) -> None:
    told = status.to_dict()
    assert {name: told[name] for name in expect} == expect
    assert DocumentStatus.from_dict(json.loads(json.dumps(told))).to_dict() == told
    assert len(json.dumps(told)) < 8000, "it travels in trigger events"


def check_error(service: ServiceDescription, reply: dict[str, Any], error: DocStatusError, expect: dict[str, Any]) -> None:
    message = str(error)
    assert type(error) is getattr(exceptions, expect["error"])
    for said in expect["says"]:
        assert said in message
    for unsaid in expect.get("never_says", ()):
        assert unsaid not in message
    assert service.title in message
    assert error.service == service.name
    if isinstance(error, RequestRejected) and not isinstance(error, NotFinished):  # that is a state of the job, no refusal
        assert error.code == reply["code"]
    if isinstance(reply["id"], str) and not isinstance(error, ServiceUnavailable):
        assert reply["id"] in message
        assert error.id == reply["id"]
    assert len(message) <= LONGEST_MESSAGE
    assert "\n" not in message
    if "retry_after" in expect:
        assert error.retry_after == expect["retry_after"]
