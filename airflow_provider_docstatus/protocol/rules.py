"""
The rules that a description keeps, whoever wrote it.

They make a description safe to use that came as data: no text of it is a pattern, a function or a format, the key goes into one
header only, and requests go below one host. The schema (:mod:`.described`) takes its patterns and limits from here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_provider_docstatus.protocol.description import (
    PLACEHOLDER,
    BatchRoute,
    Content,
    ListRoute,
    Route,
    ServiceDescription,
)
from airflow_provider_docstatus.protocol.hosts import HostPatterns, Network, address_in, is_host_name

#: Where the key stands in a header's value.
KEY = "{key}"
ID = "{id}"
LONGEST_TEXT = 500
MOST_ENTRIES = 200
MOST_PLACEHOLDERS = 4
_NAME = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 -- HTTP's word for the characters of a header's name
_PLACE = r"(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?"
_CHARACTER = r"[A-Za-z0-9._~:@+,;=$-]"
_SEGMENT = rf"({_CHARACTER}+({{[a-z_]+}}{_CHARACTER}*)?|{{[a-z_]+}}{_CHARACTER}*)"
_LABEL = r"[a-z0-9]+(-+[a-z0-9]+)*"
#: Headers that HTTP, the client or a proxy set; a description must not.
REFUSED_HEADERS = {
    "accept-encoding",
    "content-encoding",
    "expect",
    "host",
    "cookie",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "trailer",
    "keep-alive",
}


#: Link-local networks, others with the metadata of machines at a cloud, and IPv6 addresses that stand for an IPv4 address.
_NEVER_LINKED = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        *("fe80::/10", "fd00:ec2::/32", "fd20:ce::/32", "::/8", "64:ff9b::/96", "2002::/16"),
    )
)


class BadDescription(ValueError):
    """A description breaks a rule. The text names the field and what is allowed, and repeats nothing of what stands there."""


class Text(NamedTuple):
    """What a text may be: a pattern for all of it, and the same in words."""

    pattern: str
    means: str


class Limits(NamedTuple):
    """The least and the most that a number may be."""

    least: float
    most: float


NAME = Text(_NAME, "a name such as my_service: lower-case letters, digits, single underscores between them")
_HEADER = Text(_TOKEN, "the name of an HTTP header")
_PATH = Text(
    rf"(?!.*(\.\.|/\./|/\.$))(/{_SEGMENT})+/?",
    "a path: it begins with /, has no .. // ? # or %, and braces only for a placeholder such as {id}, one between two slashes",
)
_URL = Text(
    rf"https://[A-Za-z0-9._-]+{_PLACE}|http://(localhost|127(\.[0-9]{{1,3}}){{3}}|\[::1\]){_PLACE}",
    "an https URL without user, query and fragment; http for a loopback address only",
)
_HOSTS = Text(
    rf"{_LABEL}(\.{_LABEL})*|\*\.{_LABEL}(\.{_LABEL})+", "a host such as api.example.com or *.example.com, in lower case"
)
_DOTTED = Text(r"[^$\[\]]*", "dotted names only, such as result.data, without $ and [")
#: The fields of places in a reply.
_PLACES = (
    "take status failure errors link ids flag partial good inside links times counters children details items next envelope "
    "retry_flag Submission.id Confidence.paths Confidence.names beside"
)
#: The texts of a field, by its name or by class and name.
TEXTS: Mapping[str, Text] = {
    **dict.fromkeys(_PLACES.split(), _DOTTED),
    "name": NAME,
    "class_name": Text(r"[A-Z][A-Za-z0-9]*", "a name such as MyService"),
    "kind": NAME,
    "path": _PATH,
    "cancel": _PATH,
    "prefixes": Text(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", "a path such as /v1, or empty"),
    "host": _URL,
    "regions": _URL,
    "status_hosts": _HOSTS,
    "link_hosts": Text(rf"{_HOSTS.pattern}|[0-9a-f:.]+(/[0-9]{{1,3}})?", f"{_HOSTS.means}, an IP address or a network"),
    "docs": Text(r"https://[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/?#&=%+,;:()-]*)?", "an https URL without a user"),
    "connection_headers": _HEADER,
    "retry_headers": _HEADER,
    "remaining_headers": _HEADER,
    "id_header": _HEADER,
}
_REGION = Text(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*", "a name such as us-east-1")
#: The keys of a field that maps; of other fields they are any text but an empty one.
KEYS: Mapping[str, Text] = {
    "auth": NAME,
    "routes": NAME,
    "operations": NAME,
    "details": NAME,
    "contents": Text(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", "a name such as page-summaries"),
    "regions": _REGION,
    "times": Text("created_at|started_at|updated_at|completed_at", "one of created_at, started_at, updated_at, completed_at"),
    "headers": _HEADER,
    "quota": _DOTTED,
    "rate": _DOTTED,
}
#: An HTTP code as a key.
CODE = Text("[1-5][0-9][0-9]", "an HTTP code")
#: The bounds of numbers; of others it is :data:`ANY_NUMBER`.
NUMBERS: Mapping[str, Limits] = {
    **dict.fromkeys(("poll_interval", "least_poll_interval", "lost_after"), Limits(1, 86_400)),
    "grace": Limits(0, 86_400),
    "calls_per_second": Limits(0.01, 1e4),
    "calls_per_minute": Limits(0.01, 1e6),
    "calls_per_day": Limits(1, 1e9),
    "retention_seconds": Limits(1, 1e10),
    "kept_after_read": Limits(0, 1e10),
    "quota_codes": Limits(400, 599),
    **dict.fromkeys(("page_size", "most_ids"), Limits(1, 10_000)),
    "longest_query": Limits(100, 8_000),
    "long_poll": Limits(1, 600),
    "scale": Limits(0.001, 1e6),
    "grades": Limits(0, 1),
}
ANY_NUMBER = Limits(0, 1e9)
_NOT_EMPTY = {"auth": True, "routes": True, "words": True, "prefixes": True, "Route.status": True, "paths": True, "scale": True}


def rule_of(rules: Mapping[str, Any], owner: type, field: str, default: Any = None) -> Any:
    """Return the rule of a class's field: by both names, else by the field's own."""
    return rules.get(f"{owner.__name__}.{field}", rules.get(field, default))


def must_hold_any(owner: type, field: str) -> bool:
    """Whether a list or object must not be empty."""
    return bool(rule_of(_NOT_EMPTY, owner, field))


def pattern_of(text: Text, field: Field[Any] | None = None) -> str:
    """Return a pattern that holds for the whole text; a text that is left out by default may be empty."""
    return f"^({text.pattern})?$" if field is not None and field.default == "" else f"^({text.pattern})$"


def as_data(description: Any) -> Any:
    """Return a description, or a part of one, as the plain data that it could be written as; functions are left out."""
    if is_dataclass(description):
        found = {one.name: getattr(description, one.name) for one in fields(description)}
        return {name: as_data(value) for name, value in found.items() if value is not None and not callable(value)}
    if isinstance(description, Enum):
        return description.value
    if isinstance(description, Mapping):
        return {str(as_data(name)): as_data(value) for name, value in description.items()}
    return [as_data(one) for one in description] if isinstance(description, (tuple, list)) else description


def dotted(data: Any, path: Collection[str | int]) -> str:
    """
    Return a path into data with dots. A key that looks like a name is shown; of another one its number, such as ``words.#3``.

    :param data: the data that the path leads through.
    :param path: keys and indices.
    """
    shown = []
    for step in path:
        is_name = isinstance(step, str) and len(step) <= 40 and re.fullmatch(_NAME, step)
        number = step if isinstance(step, int) else list(data).index(step) if step in data else 0
        shown.append(str(step) if is_name else f"#{number + 1}")
        data = data[step] if isinstance(step, int) or step in data else {}
    return ".".join(shown)


def check(service: ServiceDescription) -> None:
    """
    Check a description against all rules.

    :param service: the description; data becomes one, and is checked, by :func:`.described.description_of`.
    :raises BadDescription: it breaks a rule.
    :raises TypeError: it is no ServiceDescription.
    """
    if not isinstance(service, ServiceDescription):
        raise TypeError(
            f"check() takes a ServiceDescription, not a {type(service).__name__}; data is checked by "
            "airflow_provider_docstatus.protocol.described.description_of(data)."
        )
    for problem in problems(service):
        raise BadDescription(f"{problem}.")


def problems(service: ServiceDescription) -> Iterator[str]:
    """Yield the rules that a description breaks: which field, and what is allowed."""
    data = as_data(service)
    for path, owner, field, value in _places(service, ()):
        problem = _problem(owner, field, value) or _header_problem(service, owner, field, value)
        if problem:
            yield f"{dotted(data, path)}: {problem}"
    yield from (f"{dotted(data, path)}: {problem}" for path, problem in _contradictions(service))


_Path = tuple[str | int, ...]


def _places(part: Any, path: _Path) -> Iterator[tuple[_Path, type, Field[Any], Any]]:
    """Yield the fields of a description and of all descriptions inside, with their paths."""
    for one in fields(part):
        value = getattr(part, one.name)
        if not callable(value):
            yield (*path, one.name), type(part), one, value
        for inner, below in _parts(value):
            yield from _places(below, (*path, one.name, *inner))


def _parts(value: Any) -> Iterator[tuple[_Path, Any]]:
    """Yield the descriptions in a field's value."""
    if is_dataclass(value):
        yield (), value
    elif isinstance(value, Mapping):
        yield from (((name,), one) for name, one in value.items() if is_dataclass(one))
    elif isinstance(value, (tuple, list)):
        yield from (((number,), one) for number, one in enumerate(value) if is_dataclass(one))


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts of a value that is no description: itself, its items, its values."""
    if isinstance(value, Enum):
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, tuple, list)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(one)


def _numbers_in(value: Any) -> Iterator[float]:
    """Yield the numbers of a field: itself, its items, or its values."""
    several = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
    for one in several:
        if isinstance(one, (int, float)) and not isinstance(one, bool):
            yield one


def _problem(owner: type, field: Field[Any], value: Any) -> str | None:
    """Return what is wrong with the value of a field by itself."""
    keys = [str(key) for key in value] if isinstance(value, Mapping) else []
    texts = list(texts_in(value))
    if must_hold_any(owner, field.name) and not value:
        return "must not be empty"
    if any(not text.isprintable() or len(text) > LONGEST_TEXT for text in (*texts, *keys)):
        return f"must be one line of printable characters, at most {LONGEST_TEXT}"
    if (known := rule_of(TEXTS, owner, field.name)) and not all(re.fullmatch(pattern_of(known, field), one) for one in texts):
        return f"must be {known.means}"
    if known is _URL and not all(map(_may_be_asked, filter(None, texts))):
        return "must name a host that can exist, and a port from 1 to 65535"
    if (known := rule_of(KEYS, owner, field.name)) and not all(re.fullmatch(known.pattern, key) for key in keys):
        return f"each key must be {known.means}"
    least, most = rule_of(NUMBERS, owner, field.name, ANY_NUMBER)
    if not all(least <= number <= most for number in _numbers_in(value)):
        return f"must be a number from {least:g} to {most:g}"
    if field.name == "auth" or field.type == "Mapping[str, Any]":  # the key's place is checked with its header; a body is no text
        return None
    if known is _PATH or rule_of(TEXTS, owner, field.name) is _PATH:
        return _placeholder_problem(owner, field.name, str(value))
    if field.name == "link_hosts" and not all(map(_may_hold_data, HostPatterns.of(texts).networks)):
        return "an IP network must have at least 8 bits, such as 10.0.0.0/8, and must not hold the metadata of a cloud's machine"
    return None if all(_has_no_other_braces(text) for text in (*texts, *keys)) else f"braces may only stand in {ID}"


def _may_be_asked(url: str) -> bool:
    """Whether both HTTP libraries take a URL's host and port; of plain http only loopback's."""
    parts = urlsplit(url)
    name = (parts.hostname or "").lower()
    try:
        is_place = parts.port != 0 and is_host_name(name)
    except ValueError:
        return False
    return is_place and (parts.scheme == "https" or name == "localhost" or address_in(name) is not None)


def _placeholder_problem(owner: type, field: str, path: str) -> str | None:
    """Return what is wrong with the placeholders of a path."""
    names = PLACEHOLDER.findall(path)
    if len(names) > MOST_PLACEHOLDERS or len(set(names)) != len(names) or "key" in names:
        return f"must have at most {MOST_PLACEHOLDERS} placeholders, each once, and none for the key"
    if owner is Route and field == "path" and (not names or (len(names) == 1 and names != ["id"])):
        return f"must hold the id's place, {ID}"
    if names and owner in (ListRoute, BatchRoute, Content):
        return "must have no placeholder"
    return None


def _may_hold_data(network: Network) -> bool:
    """Whether links may lead into a network: a private one too, but never to the metadata of a cloud's machine."""
    return network.prefixlen >= 8 and not any(network.version == one.version and network.overlaps(one) for one in _NEVER_LINKED)


def _has_no_other_braces(text: str) -> bool:
    text = text.replace(ID, "")
    return "{" not in text and "}" not in text


def _header_problem(service: ServiceDescription, owner: type, field: Field[Any], value: Any) -> str | None:
    """Return what is wrong with headers: those that carry the key, and others that are sent."""
    if field.name == "auth" and owner is type(service):
        for header, template in value.values():
            if not re.fullmatch(_TOKEN, header) or _is_refused(header):
                return "each way begins with the name of an HTTP header, which is none that HTTP itself uses"
            rest = template.replace(KEY, "", 1)
            if rest == template or "{" in rest or "}" in rest or not _is_value(template):
                return f"each way ends with the header's value: printable ASCII with {KEY} once, no other braces, no outer blanks"
    elif field.name in ("headers", "connection_headers"):
        keys = {header.lower() for header, _ in service.auth.values()}
        if any(not re.fullmatch(_TOKEN, header) or _is_refused(header) or header.lower() in keys for header in value):
            return "each must be the name of an HTTP header, which is none that HTTP itself uses and not the key's"
        if isinstance(value, Mapping) and not all(isinstance(text, str) and _is_value(text) for text in value.values()):
            return "each value must be printable ASCII without blanks around it"
    return None


def _is_refused(header: str) -> bool:
    return header.lower() in REFUSED_HEADERS or header.lower().startswith("proxy-")


def _is_value(text: str) -> bool:
    return text.isascii() and text.isprintable() and text == text.strip()


def _contradictions(service: ServiceDescription) -> Iterator[tuple[_Path, str]]:
    """Yield what is wrong between fields."""
    if service.poll_interval < service.least_poll_interval:
        yield ("poll_interval",), "must not be less than least_poll_interval"
    if service.has_operations and len(service.parameters) > 1:
        yield ("routes",), "several routes for one parameter are chosen by operation; then all must have the same parameter"
    for name, operation in service.operations.items():
        if operation not in service.routes:
            yield ("operations", name), "must be the name of one of the routes"
    if service.contents and service.read_item is None:
        yield ("contents",), "needs read_item, a function; data cannot have it"
    for name, route in service.routes.items():
        yield from _route_contradictions(service, name, route)
        yield from _several_contradictions(name, route)


def _route_contradictions(service: ServiceDescription, name: str, route: Route) -> Iterator[tuple[_Path, str]]:
    where = ("routes", name)
    if route.result is None and not service.contents:
        yield (*where, "result"), "must say where the data is"
    for field, path in (("result", route.result.path if route.result else ""), ("cancel", route.cancel)):
        names = PLACEHOLDER.findall(path)
        if path and not (names and set(names) <= set(route.placeholders)):
            yield (*where, field), f"its path must hold the id's place as the route's path does, such as {ID}"
    listed = {one.listing.path for one in service.routes.values() if one.listing is not None}
    if route.kind == "batch" and "job" not in service.routes and (route.members is None or route.members.path not in listed):
        yield (*where, "kind"), "of batch needs a route that is called job, or that has the same list, for the data of its jobs"
    if bool(route.children) != (route.child is not None):
        yield (*where, "child"), "must describe the items of children; neither comes without the other"
    if route.parent is not None:
        parent = service.routes.get(route.parent[0])
        if parent is None or parent.child is None:
            yield (*where, "parent"), "must name another route that has children, and a detail"
        elif route.parent[1] not in route.details:
            yield (*where, "parent"), "must name a detail of this route that holds the parent's id"


def _several_contradictions(name: str, route: Route) -> Iterator[tuple[_Path, str]]:
    """Yield what is wrong with the replies about several ids."""
    where = ("routes", name)
    if route.is_decided_by_result and (route.batch is not None or route.parent is not None):
        yield (*where, "result"), "cannot decide where a reply about several ids tells the state: leave out batch and parent"
    for field, one in (("listing", route.listing), ("members", route.members)):
        if one is not None and one.paging in ("token", "link") and not one.next:
            yield (*where, field, "next"), "must say where the token or link to the next page stands"
