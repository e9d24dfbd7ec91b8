"""A description as data: what may stand in it, what is refused, and that no refusal repeats what stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.protocol import described, plain_data
from airflow_provider_docstatus.protocol.described import description_of, parse, schema
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.rules import BadDescription, as_data, check
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, SERVICES, UNSILOED
from airflow_provider_docstatus.status import State
from tests.readme import SCHEMA, schema_text

ARCHIVE = """
name: archive
title: Archive
host: https://archive.example.com
docs: https://archive.example.com/docs
auth:
  bearer: [Authorization, "Bearer {key}"]
routes:
  job:
    kind: job
    path: /v1/jobs/{id}
    result: {path: "/v1/jobs/{id}/data", has_status: false}
words:
  running: [Queued]
  failed: [no]
  succeeded: [done]
"""
#: It stands in no text of ours.
SECRET = "Xq7vK-secret"


def archive() -> dict[str, Any]:
    return dict(parse(ARCHIVE))


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """Return the description with another value at a place."""
    data = archive()
    inner: Any = data
    for step in path[:-1]:
        inner = inner.setdefault(step, {})
    inner[path[-1]] = to
    return data


def refusal(data: Any, **options: Any) -> str:
    with pytest.raises(BadDescription) as caught:
        description_of(data, **options)
    assert caught.value.__cause__ is None
    return str(caught.value)


# -- what may stand in it ----------------------------------------------------------------------------------------


def test_a_description_is_built_from_data():
    service = description_of(archive())
    assert service.words == {State.RUNNING: ("queued",), State.FAILED: ("no",), State.SUCCEEDED: ("done",)}
    assert service.auth == {"bearer": ("Authorization", "Bearer {key}")}
    assert service.routes["job"].result is not None
    assert service.routes["job"].result.has_status is False
    assert service.poll_interval == ServiceDescription.poll_interval


def test_json_says_the_same_as_yaml():
    assert description_of(parse(json.dumps(archive()))) == description_of(parse(ARCHIVE.encode()))
    assert parse("\ufeff" + ARCHIVE) == archive()


def test_the_example_in_the_documentation_is_a_description():
    page = (SCHEMA.parent / "adding-a-service.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(example.splitlines()) <= 30
    assert description_of(parse(example)).states["done_with_errors"] is State.PARTIAL


def functions_of(service: ServiceDescription) -> dict[str, Any]:
    return {name: getattr(service, name) for name in ("adjust", "read_item")}


@pytest.mark.parametrize("service", [AITRONOS, UNSILOED, NEUROLINKER], ids=lambda service: service.name)
def test_all_that_a_built_in_service_says_but_for_functions_can_be_data(service):
    plain = replace(service, contents={}, routes=AITRONOS.routes) if service is NEUROLINKER else service
    data = json.loads(json.dumps(as_data(plain)))
    built = description_of(data)
    assert replace(built, **functions_of(plain)) == plain


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_the_built_in_services_keep_the_rules_of_data(service):
    check(service)


def test_words_and_names_of_headers_are_lower_cased_for_the_author():
    data = archive() | {"retry_headers": ["X-RateLimit-Reset"], "words": archive()["words"] | {"succeeded": ["Done", " done "]}}
    service = description_of(data)
    assert service.retry_headers == ("x-ratelimit-reset",)
    assert list(service.states) == ["queued", "no", "done"]


def test_links_may_lead_into_a_private_network():
    hosts = ["*.storage.example.com", "minio", "10.0.0.0/8", "127.0.0.1", "fd12:3456::/32", "2001:db8::1"]
    assert description_of(changed("link_hosts", to=hosts)).link_hosts == tuple(hosts)


# -- the schema --------------------------------------------------------------------------------------------------


def test_the_published_schema_is_the_one_of_the_dataclasses():
    assert SCHEMA.read_text() == schema_text(), "run: python tests/readme.py"
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_schema_describes_every_field_and_forbids_others():
    for definition in (schema(), *schema()["$defs"].values()):
        assert definition["additionalProperties"] is False
        assert all(one["description"] for one in definition["properties"].values())


def test_the_schema_says_what_holds_without_a_field():
    fields = schema()["properties"]
    assert (fields["poll_interval"]["default"], fields["quota_codes"]["default"], fields["lost_after"]["default"]) == (
        10,
        [402],
        None,
    )
    assert "default" not in fields["name"]
    assert schema()["$defs"]["Route"]["properties"]["ids"]["default"] == ["job_id"]
    for name in ("regions", "status_hosts", "link_hosts", "operations", "retry_headers", "envelope"):
        assert "mpty" in fields[name]["description"], "what holds without it"


def test_the_schema_has_no_functions():
    text = json.dumps(schema())
    assert not {name for name in functions_of(AITRONOS) if f'"{name}": ' in text}


def test_the_schema_lets_an_editor_check_a_file():
    jsonschema.Draft202012Validator(schema()).validate(archive())


class Colour(str, Enum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Inner:
    """
    Something inside.

    :param path: a path.
    """

    path: str = ""


@dataclass(frozen=True, kw_only=True)
class Newer:
    """
    What a later version may add.

    :param text: some text.
    """

    text: str | None = None
    flag: bool | None = None
    number: int | None = None
    share: float | None = None
    colour: Colour = Colour.RED
    choice: Literal["a", "b"] = "a"
    texts: tuple[str, ...] = ()
    pair: tuple[str, str] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[int, State] = field(default_factory=dict)
    words: Mapping[State, tuple[str, ...]] = field(default_factory=dict)
    either: str | tuple[str, ...] = ""
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    read: Callable[[Any], Any] | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


NEWER = {
    "text": "x",
    "flag": True,
    "number": 3,
    "share": 1,
    "colour": "red",
    "choice": "b",
    "texts": ["x"],
    "pair": ["x", "y"],
    "names": {"a": "b"},
    "codes": {"404": "failed"},
    "words": {"failed": ["Bad"]},
    "either": ["x"],
    "inner": {"path": "/x/{id}"},
    "inners": [{}],
    "by_name": {"x": {}},
    "body": {"deep": [{"x": None}]},
}


def newer_schema() -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    described._define(Newer, definitions)
    return definitions["Newer"] | {"$defs": definitions}


def test_fields_of_every_kind_can_be_added_without_a_line_here():
    jsonschema.Draft202012Validator(newer_schema()).validate(NEWER)
    assert "read" not in newer_schema()["properties"]
    assert described._built(Newer, NEWER, NEWER, ()) == Newer(
        text="x",
        flag=True,
        number=3,
        share=1.0,
        choice="b",
        texts=("x",),
        pair=("x", "y"),
        names={"a": "b"},
        codes={404: State.FAILED},
        words={State.FAILED: ("bad",)},
        either=("x",),
        inner=Inner(path="/x/{id}"),
        inners=(Inner(),),
        by_name={"x": Inner()},
        body={"deep": [{"x": None}]},
    )
    nothing = dict.fromkeys(("text", "flag", "number", "share", "pair", "inner"))
    jsonschema.Draft202012Validator(newer_schema()).validate(nothing)
    assert described._built(Newer, nothing, nothing, ()) == Newer()


@pytest.mark.parametrize("name", NEWER)
def test_another_type_is_refused_for_a_field_of_every_kind(name):
    wrong = {"text": 1, "flag": "true", "number": 1.5, "share": True, "body": []}.get(name, 12)
    validator = jsonschema.Draft202012Validator(newer_schema())
    (error,) = validator.iter_errors({name: wrong})
    assert re.fullmatch(rf"{name}: must be [a-z, ]+", described._told({name: wrong}, error))


# -- what is refused ---------------------------------------------------------------------------------------------

#: The change, the field that the refusal names, and what it says is allowed.
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown field": (changed("wrods", to={}), "the description", r"did you mean words\?\); allowed are name, title"),
    "an unknown field inside": (changed("routes", "job", SECRET, to=1), "routes.job", "unknown field; allowed are path, kind"),
    "a function": (changed("adjust", to="lambda s, d, b: s"), "the description", "unknown field"),
    "no title": ({k: v for k, v in archive().items() if k != "title"}, "the description", "needs title"),
    "a number for a text": (changed("title", to=7), "title", "must be text"),
    "a text for a number": (changed("poll_interval", to=SECRET), "poll_interval", "must be a number"),
    "true for a number": (changed("poll_interval", to=True), "poll_interval", "must be a number"),
    "a text for a flag": (changed("routes", "job", "key_optional", to="no"), "routes.job.key_optional", "true or false"),
    "a text for a list": (changed("prefixes", to="/v1"), "prefixes", "must be a list"),
    "null": (changed("title", to=None), "title", "must be text"),
    "a number that is none": (changed("grace", to=float("nan")), "", "objects, lists, texts, numbers"),
    "an infinite number": (changed("grace", to=float("inf")), "grace", "a number up to 86,400"),
    "a negative number": (changed("grace", to=-1), "grace", "a number from 0"),
    "a short interval": (changed("poll_interval", to=0.01), "poll_interval", "a number from 1"),
    "less than the least": (changed("least_poll_interval", to=60), "poll_interval", "not be less than least_poll_interval"),
    "a long text": (changed("title", to="x" * 501), "title", "at most 500 characters"),
    "a line break": (changed("title", to=f"{SECRET}\n"), "", "one line of printable characters"),
    "a control character": (changed("evidence", to="\x1b[31m"), "", "one line of printable characters"),
    "many words": (changed("words", "failed", to=[str(number) for number in range(300)]), "words.failed", "at most 200"),
    "a deep nesting": (changed("words", to=eval("[" * 40 + "]" * 40)), "", "more than 20 levels"),
    # words
    "no success word": (changed("words", "succeeded", to=[]), "words", "no word means succeeded"),
    "no failure word": (changed("words", "failed", to=[]), "words", "no vendor word means failed; name one"),
    "no words": (changed("words", to={}), "words", "at least 1 entry"),
    "another state": (changed("words", SECRET, to=["x"]), "words", "each key must be one of running, succeeded, partial"),
    "a word in two states": (changed("words", "partial", to=["x", "DONE"]), "words.partial.#2", "not stand in another state"),
    "an empty word": (changed("words", "failed", to=[" "]), "words.failed.#1", "must not be empty"),
    "a text for words": (changed("words", "failed", to=SECRET), "words.failed", "must be a list"),
    # names
    "a name in capitals": (changed("name", to="Archive"), "name", "a name such as my_service"),
    "a name with two underscores": (changed("name", to="my__archive"), "name", "a name such as my_service"),
    "a name that ends in one": (changed("name", to="archive_"), "name", "a name such as my_service"),
    "a route's name": (changed("routes", SECRET, to=archive()["routes"]["job"]), "routes", "each key must be a name such as"),
    "no route": (changed("routes", to={}), "routes", "at least 1 entry"),
    "another parameter": (changed("routes", "job", "parameter", to="task_id"), "routes.job.parameter", "one of request_id"),
    "another time": (changed("routes", "job", "times", to={"began": ["x"]}), "routes.job.times", "one of created_at, started_at"),
    # the host
    "http": (changed("host", to="http://archive.example.com"), "host", "an https URL without user"),
    "a user": (changed("host", to=f"https://{SECRET}@archive.example.com"), "host", "an https URL without user"),
    "a query": (changed("host", to=f"https://archive.example.com/?{SECRET}"), "host", "an https URL without user"),
    "a fragment": (changed("host", to=f"https://archive.example.com/#{SECRET}"), "host", "an https URL without user"),
    "a host that only begins as loopback": (changed("host", to="http://127.0.0.1.example.com"), "host", "an https URL"),
    "no scheme": (changed("host", to="archive.example.com"), "host", "an https URL without user"),
    "another scheme": (changed("host", to="file:///etc/passwd"), "host", "an https URL without user"),
    "pages with a script": (changed("docs", to="javascript:alert(1)"), "docs", "an https URL without a user"),
    # paths
    "a path without the id": (changed("routes", "job", "path", to="/jobs"), "routes.job.path", "must hold the id's place, {id}"),
    "a path with two": (changed("routes", "job", "path", to="/{id}/{id}"), "routes.job.path", "each once"),
    "a path without a slash": (changed("routes", "job", "path", to="jobs/{id}"), "routes.job.path", "a path: it begins with /"),
    "a path to a host": (changed("routes", "job", "path", to="//evil.example/{id}"), "routes.job.path", "a path: it begins"),
    "a path upwards": (changed("routes", "job", "path", to="/v1/../{id}"), "routes.job.path", "has no .."),
    "an escaped path": (changed("routes", "job", "path", to="/v1/%2e%2e/{id}"), "routes.job.path", "or %"),
    "a path with a query": (changed("routes", "job", "path", to="/v1?id={id}"), "routes.job.path", r"\?"),
    "a path with a fragment": (changed("routes", "job", "path", to="/v1#{id}"), "routes.job.path", "#"),
    "the key in a path": (changed("routes", "job", "path", to="/v1/{key}/{id}"), "routes.job.path", "none for the key"),
    "a result's path without the id": (
        changed("routes", "job", "result", to={"path": "/data"}),
        "routes.job.result",
        "must hold the id's place",
    ),
    "a prefix upwards": (changed("prefixes", to=["/../v1"]), r"prefixes.#1", "a path such as /v1"),
    "no prefix": (changed("prefixes", to=[]), "prefixes", "at least 1"),
    "no place of the word": (changed("routes", "job", "status", to=[]), "routes.job.status", "at least 1"),
    "a number in a query": (changed("routes", "job", "query", to={"x": 1}), "routes.job.query.x", "must be text or a list"),
    "a number in a list of a query": (
        changed("routes", "job", "query", to={"x": ["a", 1]}),
        "routes.job.query.x.#2",
        "must be text",
    ),
    "another name for the id": (changed("routes", "job", "path", to="/{job}"), "routes.job.path", "must hold the id's place"),
    "many placeholders": (changed("routes", "job", "path", to="/{a}/{b}/{c}/{d}/{e}"), "routes.job.path", "at most 4"),
    "two placeholders between slashes": (changed("routes", "job", "path", to="/{a}{id}"), "routes.job.path", "one between two"),
    "a result's path with another placeholder": (
        changed("routes", "job", "result", to={"path": "/x/{job}"}),
        "routes.job.result",
        "must hold the id's place",
    ),
    "a path to cancel without the id": (changed("routes", "job", "cancel", to="/x"), "routes.job.cancel", "hold the id's place"),
    "a list's path with the id": (
        changed("routes", "job", "listing", to={"path": "/jobs/{id}", "items": "jobs"}),
        "routes.job.listing.path",
        "must have no placeholder",
    ),
    "a batch without a route for its jobs": (
        changed("routes", to={"batch": {**archive()["routes"]["job"], "kind": "batch"}}),
        "routes.batch.kind",
        "a route that is called job, or that has the same list",
    ),
    # hosts
    "a host of all": (changed("link_hosts", to=["*"]), "link_hosts.#1", r"\*.example.com"),
    "a host of a top-level domain": (changed("link_hosts", to=["*.com"]), "link_hosts.#1", r"\*.example.com"),
    "a pattern": (changed("status_hosts", to=["api[0-9].example.com"]), "status_hosts.#1", "a host such as"),
    "a host with a port": (changed("status_hosts", to=["api.example.com:80"]), "status_hosts.#1", "a host such as"),
    **{
        f"a {field} that is no place, {host[:24]}": (
            changed(*path, to={"eu": host} if field == "region" else host),
            "",
            "a host that can exist, and a port from 1 to 65535",
        )
        for field, path in (("host", ("host",)), ("route's host", ("routes", "job", "host")), ("region", ("regions",)))
        for host in (
            "https://a.example.com:99999",
            "https://a.example.com:0",
            "https://a..example.com",
            "https://.",
            f"https://{'a' * 64}.example.com",
            "http://127.999.1.1",
        )
    },
    "every network": (changed("link_hosts", to=["0.0.0.0/0"]), "link_hosts", "at least 8 bits"),
    "no network": (changed("link_hosts", to=["10.0.0.1/8"]), "link_hosts", "does not fit"),
    **{
        f"the metadata of a cloud's machine by {one}": (changed("link_hosts", to=[one]), "link_hosts", "not hold the metadata")
        for one in ("169.254.169.254", "169.254.0.0/16", "fe80::/64", "fd00::/16", "::ffff:169.254.0.0/112", "64:ff9b::/96")
    },
    "a region on http": (changed("regions", to={"eu": "http://eu.example.com"}), "regions.eu", "an https URL"),
    "a route's host on http": (changed("routes", "job", "host", to="http://eu.example.com"), "routes.job.host", "an https URL"),
    "a route's own regions": (
        changed("routes", "job", "regions", to={"eu": "https://eu.example.com"}),
        "routes.job.regions",
        "a route with a host of its own",
    ),
    "another code of a quota": (changed("quota_codes", to=[200]), "quota_codes.#1", "a number from 400"),
    "seconds of a long poll": (changed("routes", "job", "long_poll", to=["wait", 0]), "routes.job.long_poll.#2", "from 1"),
    # places in a reply
    "JSONPath": (changed("routes", "job", "result", "take", to="$.data"), "routes.job.result.take", "must be dotted names only"),
    "an index": (
        changed("routes", "job", "errors", to=["a", "errors[0].x"]),
        "routes.job.errors.#2",
        "must be dotted names only",
    ),
    "an index of a time": (
        changed("routes", "job", "times", to={"created_at": ["a[0]"]}),
        "routes.job.times.created_at.#1",
        "dotted",
    ),
    "an index of a quota": (changed("quota", to={"errors[0].code": ["x"]}), "quota", "each key must be dotted names only"),
    # placeholders
    "a format": (changed("routes", "job", "query", to={"x": "{id.__class__}"}), "routes.job.query", "braces may only stand in"),
    "the key in a query": (changed("routes", "job", "query", to={"token": "{key}"}), "routes.job.query", "braces may only stand"),
    "braces in a title": (changed("title", to="{0}"), "title", "braces may only stand in"),
    # headers
    "no place for the key": (changed("auth", "bearer", to=["Authorization", SECRET]), "auth", "with {key} once"),
    "two places": (changed("auth", "bearer", to=["Authorization", "{key}{key}"]), "auth", "with {key} once"),
    "a format of the key": (changed("auth", "bearer", to=["Authorization", "{key!r}"]), "auth", "with {key} once"),
    "a value that is not ASCII": (changed("auth", "bearer", to=["Authorization", "ké {key}"]), "auth", "printable ASCII"),
    "a header with a blank": (changed("auth", "bearer", to=["X Key", "{key}"]), "auth", "the name of an HTTP header"),
    "a header with a colon": (changed("auth", "bearer", to=["X-Key: a", "{key}"]), "auth", "the name of an HTTP header"),
    "Host": (changed("auth", "bearer", to=["Host", "{key}"]), "auth", "none that HTTP itself uses"),
    "Cookie": (changed("auth", "bearer", to=["cookie", "{key}"]), "auth", "none that HTTP itself uses"),
    "a proxy's header": (changed("auth", "bearer", to=["Proxy-Authorization", "{key}"]), "auth", "none that HTTP itself uses"),
    "a header for all requests": (changed("headers", to={"Host": "x"}), "headers", "none that HTTP itself uses"),
    "the key's header": (changed("headers", to={"authorization": "x"}), "headers", "and not the key's"),
    "a header's value": (changed("headers", to={"X-Version": "é"}), "headers", "printable ASCII"),
    "a header of the connection": (changed("connection_headers", to=["Cookie"]), "connection_headers", "that HTTP itself uses"),
    "a text for header and value": (changed("auth", "bearer", to="x"), "auth.bearer", "a list of header and value"),
    "braces without quotes": (
        changed("auth", "bearer", to=["X-Key", {"key": None}]),
        "auth.bearer.#2",
        r"must be text \(quote a text that begins with {\)",
    ),
    "three parts": (changed("auth", "bearer", to=["X-Key", "{key}", "x"]), "auth.bearer", "at most 2"),
    "no way to send the key": (changed("auth", to={}), "auth", "at least 1 entry"),
    "a header to read with a blank": (
        changed("retry_headers", to=["retry after"]),
        r"retry_headers.#1",
        "name of an HTTP header",
    ),
    # what does not fit together
    "no data": (
        changed("routes", "job", to={"kind": "job", "path": "/{id}"}),
        "routes.job.result",
        "must say where the data is",
    ),
    "children without their route": (changed("routes", "job", "children", to="jobs"), "routes.job.child", "describe the items"),
    "a parent that is not there": (changed("routes", "job", "parent", to=["batch", "x"]), "routes.job.parent", "another route"),
    "an operation of no route": (
        changed("operations", to={"extraction": "extract"}),
        "operations.extraction",
        "one of the routes",
    ),
    "contents": (changed("contents", to={"json": {"path": "/json"}}), "contents", "needs read_item, a function"),
    "another code": (
        changed("routes", "job", "result", "codes", to={"all": "failed"}),
        "routes.job.result.codes",
        "an HTTP code",
    ),
}


@pytest.mark.parametrize(("data", "place", "allowed"), BAD.values(), ids=BAD)
def test_is_refused_with_the_place_and_what_is_allowed(data: dict[str, Any], place: str, allowed: str):
    text = refusal(data)
    assert re.match(rf"{place}: " if place else "", text), text
    assert re.search(allowed, text), text
    assert SECRET not in text


def test_data_is_checked_by_another_function_and_the_error_says_which():
    with pytest.raises(
        TypeError, match=r"not a dict; data is checked by airflow_\w+\.protocol\.described\.description_of\(data\)"
    ):
        check(archive())


def test_a_name_of_another_service_is_refused():
    text = refusal(changed("name", to="aitronos"), reserved=SERVICES)
    assert text == "name: must not be the name of another service or type of connection."


def test_several_problems_are_told_at_once_but_not_all():
    data = archive() | {"title": 1, "docs": 2, "host": 3, "evidence": 4}
    assert refusal(data) == "docs: must be text; evidence: must be text; host: must be text (1 more)."


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"cookie": "x"},
        {"Content-Length": "1"},
        {"transfer-encoding": "chunked"},
        {"Connection": "close"},
        {"Proxy-Connection": "close"},
        {"TE": "trailers"},
        {"Upgrade": "h2c"},
        {"authorization": "x"},
        {"X Y": "x"},
        {"X-Y": "é"},
        {"X-Y": "x\r\nHost: y"},
        {"X-Y": " x"},
        {"X-Y": "x "},
        {"Expect": "100-continue"},
        {"accept-encoding": "br"},
        {"Content-Encoding": "gzip"},
        {"": "x"},
    ],
    ids=str,
)
def test_other_headers_are_checked_as_well(headers: dict[str, str]):
    assert description_of(changed("headers", to={"X-Api-Version": "2024-01-01"})).headers == {"X-Api-Version": "2024-01-01"}
    assert re.match("headers: |every text", refusal(changed("headers", to=headers)))


# -- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("On", "On"),
        ("yes", "yes"),
        ("~", "~"),
        ("True", "True"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01 10:00:00", "2024-01-01 10:00:00"),
        ("12:30:45", "12:30:45"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("017", "017"),
        ("1_000", "1_000"),
        (".5", ".5"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("=", "="),
        ("<<", "<<"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-1.5e3", -1500.0),
        ("'12'", "12"),
        ('"true"', "true"),
        ("|\n  12", "12"),
        ("{b: no}", {"b": "no"}),
        ("[off, 1]", ["off", 1]),
    ],
)
def test_yaml_has_the_scalars_of_json_only(text, value):
    assert parse(f"a: {text}") == {"a": value}


@pytest.mark.parametrize("key", ["no", "404", "null", "2024-01-01", "true"])
def test_every_key_is_text(key):
    assert parse(f"{key}: 1") == {key: 1}


UNREADABLE = {
    "an alias": (f"a: &x {SECRET}\nb: *x", "line 1: aliases, anchors and tags"),
    "an anchor": (f"a: &{SECRET} 1", "aliases, anchors and tags"),
    "an anchor on a list": ("a: &x [1]", "aliases, anchors and tags"),
    "a tag": (f"a: !!python/object/apply:os.system [{SECRET}]", "aliases, anchors and tags"),
    "a tag of one's own": (f"a: !{SECRET} 1", "aliases, anchors and tags"),
    "a tag on a key": ("!!str a: 1", "aliases, anchors and tags"),
    "a directive": ("%TAG ! tag:x,2000:\n---\na: 1", "one document without directives"),
    "two documents": ("a: 1\n---\nb: 2", "one document"),
    "a key twice": (f"{SECRET}: 1\nb: 2\n{SECRET}: 3", "line 3: this key stands twice"),
    "a key twice, once quoted": ('404: 1\n"404": 3', "line 2: this key stands twice"),
    "a key twice in JSON": (f'{{"a": 1, "{SECRET}": 1, "{SECRET}": 2}}', "the first time as its key 2"),
    "a list as a key": ("[1]: 2", "a key must be text"),
    "a list": ("[1]", "must be an object"),
    "a text": (SECRET, "must be an object"),
    "nothing": ("", "must be an object"),
    "broken YAML": (f"a: [{SECRET}", r"line \d, column \d+: this is not valid YAML"),
    "braces without quotes": (f"auth: {{x: [X-Key, {SECRET} {{key}}]}}", r"not valid YAML \(quote a text with a brace"),
    "a tab": (f"a:\n\t{SECRET}: 1", "not valid YAML"),
    "broken JSON": (f'{{"a": "{SECRET}",', r"line 1, column \d+: this is not valid JSON"),
    "NaN": ('{"a": NaN}', "not JSON"),
    "Infinity": ('{"a": -Infinity}', "not JSON"),
    "a long number": ('{"a": ' + "9" * 31 + "}", "a number of more than 30 characters"),
    "a long number in YAML": ("a: " + "9" * 5000, "a number of more than 30 characters"),
    "deep JSON": ('{"a": ' + "[" * 100_000, "more than 20 levels|not valid JSON"),
    "deep YAML": ("a: " + "[" * 100_000, "more than 20 levels"),
    "deep flow mappings": ("a: " + "{a: " * 50_000, "more than 20 levels"),
    "256 KiB": ("a: " + "x" * 256 * 1024, "longer than 256 KiB"),
    "Latin-1": (b"a: \xe9", "not UTF-8 text"),
    "half a pair": ("a: \ud800", "not UTF-8 text"),
    "a zero": ("a: \0", "not valid YAML"),
}


@pytest.mark.parametrize(("text", "said"), UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("in_c", [True, False], ids=["libyaml", "Python"])
def test_a_text_is_refused_that_is(text: str | bytes, said: str, in_c: bool, monkeypatch: pytest.MonkeyPatch):
    if not in_c:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    with pytest.raises(BadDescription, match=said) as caught:
        parse(text)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_longest_text_is_read():
    assert len(parse("a: " + "x" * (plain_data.LONGEST - 3))["a"]) == plain_data.LONGEST - 3


# -- nothing is repeated -----------------------------------------------------------------------------------------

SECRETS = st.text(alphabet="qzjx7", min_size=3, max_size=8).map(lambda text: f"§{text}")
SCALARS = SECRETS | st.integers(10**7, 10**12) | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SECRETS, inner, max_size=3), max_leaves=6
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return found + [place for step, inner in steps for place in places(inner, (*path, step))]


RICH = json.loads(json.dumps(as_data(UNSILOED)))


def hidden(value: Any) -> set[str]:
    """Return the texts and large numbers of a value."""
    if isinstance(value, dict):
        return set().union(*(hidden(one) for pair in value.items() for one in pair))
    if isinstance(value, list):
        return set().union(*map(hidden, value))
    return {str(value)} if isinstance(value, str) or (type(value) is int and value > 10**6) else set()


def told(read: Callable[[], Any]) -> str:
    """Return the text of the refusal, if there is one."""
    try:
        read()
    except BadDescription as error:
        return str(error)
    return ""


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(places(RICH)), VALUES, SECRETS, st.booleans())
def test_no_refusal_repeats_anything_of_the_file(place: tuple[Any, ...], value: Any, key: str, adds: bool):
    data: Any = deepcopy(RICH)
    inner = data
    for step in place[:-1]:
        inner = inner[step]
    if adds and isinstance(inner, dict):
        inner[key] = value
    else:
        inner[place[-1]] = value
    text = told(lambda: description_of(data))
    assert not {one for one in hidden(value) | {key} if one in text}
    assert re.match(r"[\w.#]+: |the description: |every text |it |$", text), text


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}[]:,-&*!|>%'\"#? \n\tqz7", max_size=60), st.sampled_from([0, 40, 200, len(ARCHIVE)]))
def test_no_text_is_read_with_another_error_or_repeated(noise: str, at: int):
    secret = "§qzjx"
    assert secret not in told(lambda: description_of(parse(ARCHIVE[:at] + noise + secret + noise + ARCHIVE[at:])))


@pytest.mark.parametrize(
    "changes",
    [
        {"words": {"failed": [1] * 50_000}},
        {"routes": {f"route {number}": 1 for number in range(20_000)}},
        {f"field_{number}": 1 for number in range(20_000)},
        {"link_hosts": [f"*.{'a.' * 1_900}!"] * 50},
        {"prefixes": ["/a" * 1_900 + "!"] * 50},
    ],
    ids=["items", "entries", "fields", "hosts", "paths"],
)
def test_a_description_of_many_faults_tells_a_few_of_them(changes: dict[str, Any]):
    """Nothing here takes time that grows faster than the text."""
    assert len(refusal(archive() | changes)) < 2_000
