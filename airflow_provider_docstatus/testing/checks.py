"""
What a service's description and its file of recorded replies must hold: functions that yield what is wrong, one line each.

They send nothing and know no pytest. How a recorded reply is read stands in ``reading.py``, the tests in ``contract.py``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_provider_docstatus.exceptions import (
    KeyRejected,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.protocol.description import BatchRoute, ListRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.hosts import HostPatterns
from airflow_provider_docstatus.protocol.targets import ID_PARAMETERS
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing.recordings import Recording, Reply
from airflow_provider_docstatus.testing.rewriting import texts

#: What is wrong, one line each.
Lines = Iterator[str]

KINDS = ("request", "document", "job", "batch")
TIMES = {field.name for field in fields(DocumentStatus) if field.name.endswith("_at")}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_PLACE = re.compile(r"[\w@$-]+(\.[\w@$-]+)*")
_BRACES = re.compile(r"\{([^{}]*)\}")
_SOURCE = re.compile(r"\[(page|docs|spec|sdk|vtest|3p|live|inf)\] \S", re.DOTALL)
#: A host that is nobody's (RFC 2606), for replies whose source names no host.
_NOBODYS = (".example", ".test", ".invalid")


# -- the description -------------------------------------------------------------------------------------------


def names_and_hosts(service: ServiceDescription) -> Lines:
    """Yield what is wrong with the service's name, its pages and the hosts that requests go to."""
    if not _NAME.fullmatch(service.name):
        yield f"name: {service.name!r} is not made of lower-case words and digits with single '_' between them"
    if not service.title or service.title != service.title.strip():
        yield "title: it is empty, or has blanks around it"
    for field in ("evidence", "retention"):
        if not getattr(service, field):
            yield f"{field}: it is empty"
    pages = {"docs": service.docs, **{f"routes.{name}.docs": one.docs for name, one in service.routes.items() if one.docs}}
    yield from (f"{place}: it is no https:// URL" for place, url in pages.items() if not url.startswith("https://"))
    hosts = {"host": service.host, **{f"regions.{region}": host for region, host in service.regions.items()}}
    for name, route in service.routes.items():
        hosts[f"routes.{name}.host"] = route.host
        hosts |= {f"routes.{name}.regions.{region}": host for region, host in route.regions.items()}
    for place, url in hosts.items():
        host = urlsplit(url)
        if url and not (host.scheme == "https" and host.hostname and url == f"https://{host.hostname}"):
            yield f"{place}: it is no https:// URL of a host alone"


def key_and_headers(service: ServiceDescription) -> Lines:
    """Yield what is wrong with the ways to send the key, and with other headers."""
    if not service.auth:
        yield "auth: it names no way to send the key"
    for name, (header, template) in service.auth.items():
        if not _HEADER.fullmatch(header):
            yield f"auth.{name}: {header!r} is no header"
        if _BRACES.findall(template) != ["key"]:
            yield f"auth.{name}: the value must have {{key}} in it, once, and no other braces"
    keys = {header.lower() for header, _ in service.auth.values()}
    for name in (*service.headers, *service.connection_headers):
        if not _HEADER.fullmatch(name):
            yield f"headers: {name!r} is no header"
        if name.lower() in keys:
            yield f"headers: {name} is the header of the key"
    for name in (*service.retry_headers, *(service.remaining_headers or ())):
        if name != name.lower():
            yield f"retry_headers, remaining_headers: {name} is not in lower case"


def words_and_timing(service: ServiceDescription) -> Lines:
    """Yield what is wrong with the status words, and with how often the service is asked."""
    for word in service.states:
        if not word or word != word.strip().lower():
            yield f"words: {word!r} is not in lower case"
    if State.SUCCEEDED not in service.states.values():
        yield f"words: no word means {State.SUCCEEDED}"
    if not service.poll_interval >= service.least_poll_interval > 0:
        yield "poll_interval: it must be at least least_poll_interval, and that above 0"
    if service.grace < 0:
        yield "grace: it is negative"
    for name in ("calls_per_second", "calls_per_minute", "calls_per_day", "lost_after", "retention_seconds"):
        value = getattr(service, name)
        if value is not None and value <= 0:
            yield f"{name}: it must be above 0"


def all_routes(service: ServiceDescription) -> dict[str, Route]:
    """Return the status routes and the routes that describe items inside their replies, by where they stand."""
    found: dict[str, Route] = {}
    for name, route in service.routes.items():
        found[name] = route
        if route.child is not None:
            found[f"{name}.child"] = route.child
        for place, one in (("listing", route.listing), ("batch", route.batch), ("members", route.members)):
            if one is not None and one.item is not None and one.item not in service.routes.values():
                found[f"{name}.{place}.item"] = one.item
    return found


def routes_and_data(service: ServiceDescription) -> Lines:
    """Yield what is wrong with the routes: their paths, parameters, children and data."""
    yield from (f"prefixes: {one!r} is no path prefix" for one in service.prefixes if not _PREFIX.fullmatch(one))
    if len(set(service.prefixes)) < len(service.prefixes):
        yield "prefixes: one stands there twice"
    for name, content in service.contents.items():
        if not _PATH.fullmatch(content.path):
            yield f"contents.{name}: {content.path!r} is no path"
    for name, route in all_routes(service).items():
        yield from (f"routes.{name}.{line}" for line in _route(route))
    for name, route in service.routes.items():
        yield from (f"routes.{name}.{line}" for line in _whole_route(service, route))
    if bool(service.contents) != (service.read_item is not None):
        yield "contents, read_item: each needs the other"
    yield from _operations(service)


def _operations(service: ServiceDescription) -> Lines:
    if service.operations and not service.has_operations:
        yield "operations: the service has none"
    for other, name in service.operations.items():
        if other != other.lower() or name not in service.routes or other in service.routes:
            yield f"operations.{other}: it must be another name, in lower case, of a route"
    if service.has_operations and len({route.parameter for route in service.routes.values()}) > 1:
        yield "routes: an operation can only choose among routes of one parameter"


def _route(route: Route) -> Lines:
    in_braces = _BRACES.findall(route.path)
    if not route.path.startswith("/") or not in_braces or in_braces != list(dict.fromkeys(route.placeholders)):
        yield "path: it must begin with / and have {id} in it, or a name for each part of the id"
    elif len(in_braces) > 1 and "id" in in_braces:
        yield "path: an id of several parts needs a name for each part, and none is 'id'"
    if route.parameter not in ID_PARAMETERS:
        yield f"parameter: it must be one of {', '.join(ID_PARAMETERS)}"
    if route.kind not in KINDS:
        yield f"kind: it must be one of {', '.join(KINDS)}"
    codes = [*route.codes.values(), *(route.result.codes.values() if route.result is not None else ())]
    if not set(codes) <= set(State):
        yield "codes: a code means no State"


def _whole_route(service: ServiceDescription, route: Route) -> Lines:
    for one in (route.batch, route.listing):
        if one is not None and not _PATH.fullmatch(one.path):
            yield f"{'batch' if isinstance(one, BatchRoute) else 'listing'}.path: {one.path!r} is no path"
    if bool(service.contents) == (route.result is not None):
        yield "result: a route has one, unless the service has contents"
    if route.result is not None and not set(_BRACES.findall(route.result.path)) <= set(route.placeholders):
        yield "result.path: its braces must be those of the route's path"
    if bool(route.children) != (route.child is not None):
        yield "children, child: each needs the other"
    if route.kind in ("request", "batch") and not (route.counters and (route.children or route.members)):
        yield f"counters, children: a {route.kind} has both, or members in place of children"
    if route.listing is not None:
        yield from _listing(route.listing)


def _listing(listing: ListRoute) -> Lines:
    if listing.page_size is not None and listing.page_size <= 0:
        yield "listing.page_size: it must be above 0"
    if not {listing.size, listing.at}.isdisjoint(listing.filters):
        yield "listing.filters: the parameters of the pages are no filters"


def places(service: ServiceDescription) -> Lines:
    """Yield what is wrong with the places in replies that are read."""
    for name, route in all_routes(service).items():
        if not set(route.times) <= TIMES:
            yield f"routes.{name}.times: the times of a status are {', '.join(sorted(TIMES))}"
        if not route.details.keys().isdisjoint({"user_uid", "user_id"}):
            yield f"routes.{name}.details: never a user id"
        several = (route.ids, route.status, route.errors, route.links, route.counters, route.partial)
        groups = [*several, (route.flag, route.good, route.inside, route.children)]
        groups += [*route.times.values(), *route.details.values()]
        for path in (path for group in groups for place in group for path in place.split()):
            if not _PLACE.fullmatch(path):
                yield f"routes.{name}: {path!r} is no dotted path"
            elif "user" in path.lower():
                yield f"routes.{name}: {path!r} may lead to a user's id or name"


# -- the recorded replies --------------------------------------------------------------------------------------


def recording(service: ServiceDescription, replies: Recording) -> Lines:
    """Yield what is wrong with a file of recorded replies as such: whose it is, the key, names, sources and paths."""
    if replies.service != service.name:
        yield f"the recorded replies are of {replies.service!r}, not of {service.name!r}"
    yield from _key_of(service, replies)
    names = Counter(reply.name for reply in replies.replies)
    yield from (f'{number} recorded replies have the name "{name}"' for name, number in names.items() if number > 1)
    for reply in replies.replies:
        if not _SOURCE.match(reply.source):
            tags = "[page], [docs], [spec], [sdk], [vtest], [3p], [live] or [inf]"
            yield f"{called(reply)} names no source: {tags}, and where exactly"
        if reply.method not in ("GET", "POST"):
            yield f"{called(reply)} has the method {reply.method!r}; it can be GET or POST"
        if reply.ask in ("status", "result") and reply.route not in service.routes:
            yield f'{called(reply)} has the route "{reply.route}", which the description does not have'
        if reply.ask == "link" and reply.route in service.routes and (line := _link_host(service, reply)):
            yield line


def called(reply: Reply) -> str:
    """Return how lines call a recorded reply."""
    return f'the recorded reply "{reply.name}"'


def _key_of(service: ServiceDescription, replies: Recording) -> Lines:
    header, value = replies.key.get("header"), replies.key.get("value")
    may_do_without = service.key_optional or any(route.key_optional for route in service.routes.values())
    if (header is None or replies.key.get("optional")) and not may_do_without:
        yield "the recorded key is optional, and the description does not say key_optional"
    if header is not None and (header, value) not in service.auth.values():
        yield f"the key is recorded as {header}: {value}, and the description sends it in no such way"
    if not replies.key.get("source"):
        yield 'no source for how the key is sent ("key": {"source": ...})'


def _link_host(service: ServiceDescription, reply: Reply) -> str | None:
    result = service.routes[reply.route].result
    host = urlsplit(reply.url).hostname or ""
    if result is None or not result.link or host.endswith(_NOBODYS) or HostPatterns.of(service.link_hosts).match(host):
        return None
    return f"{called(reply)} is a link to {host}, which link_hosts does not name"


def missing(service: ServiceDescription, replies: Recording | Mapping[str, Any] | str | Path) -> list[str]:
    """
    Return what has no recorded reply, one line each; an empty list if nothing is missing.

    :param service: the description.
    :param replies: the recorded replies, what their file holds, or the path of the file.
    :raises OSError: there is no such file.
    :raises ValueError: the file cannot be read as recorded replies.
    """
    recorded = replies if isinstance(replies, Recording) else Recording.read(replies)
    needed = (_missing_words, _missing_errors, _missing_routes)
    return [f"no recorded reply {line}" for lines in needed for line in lines(service, recorded)]


def _missing_words(service: ServiceDescription, recorded: Recording) -> Lines:
    seen = {str(reply.expect["word"]).lower() for reply in recorded.replies if "word" in reply.expect}
    yield from (f'for the word "{word}"' for word in service.states if word not in seen)


def _missing_errors(service: ServiceDescription, recorded: Recording) -> Lines:
    replies = [reply for reply in recorded.replies if reply.ask == "status"]

    def is_there(error: type[Exception], *codes: int) -> bool:
        return any(reply.error == error.__name__ and reply.code in codes for reply in replies)

    has_key = recorded.key.get("header") is not None
    needed: list[tuple[type[Exception], tuple[int, ...], str]] = [
        (UnexpectedReply, (200,), "for a reply that is invalid (200, UnexpectedReply)"),
        (UnknownWord, (200,), "for a status word that nobody knows (200, UnknownWord)"),
        (NotFound, (404,), "for an unknown id (404, NotFound)"),
        (RequestRejected, (400, 422), "for a request that is refused (422 or 400, RequestRejected)"),
        (RateLimited, (429,), "for too many requests (429, RateLimited)"),
        (ServiceUnavailable, tuple(range(500, 600)), "for a fault of the service (5xx, ServiceUnavailable)"),
    ]
    if has_key:
        needed.append((KeyRejected, (401,), "for a wrong key (401, KeyRejected)"))
    if has_key and 403 not in service.quota_codes:
        needed.append((KeyRejected, (403,), "for a key that may not read an id (403, KeyRejected)"))
    needed += [(QuotaExhausted, (code,), f"for a used-up account ({code}, QuotaExhausted)") for code in service.quota_codes]
    if service.quota:
        needed.append((QuotaExhausted, (429, 403), "for a used-up account that the body tells (429 or 403, QuotaExhausted)"))
    yield from (line for error, codes, line in needed if not is_there(error, *codes))
    hints = ("retry-after", *service.retry_headers)
    said = {name.lower() for reply in replies if reply.code == 429 for name in reply.headers}
    if service.retry_headers and said.isdisjoint(hints):
        yield f"for a 429 that says how long to wait ({', '.join(hints)})"


def _missing_routes(service: ServiceDescription, recorded: Recording) -> Lines:
    asked = {
        ask: [reply for reply in recorded.replies if reply.ask == ask]
        for ask in ("submit", "status", "result", "list", "statuses")
    }

    def has(ask: str, path: str) -> bool:
        return any(same_path(reply.path, prefix + path) for reply in asked[ask] for prefix in service.prefixes)

    for name, route in service.routes.items():
        if not any(reply.route == name for reply in asked["status"]):
            yield f'for a status of the route "{name}"'
        if (
            route.result is not None
            and route.kind in ("job", "document")
            and not any(reply.route == name for reply in asked["result"])
        ):
            yield f'for the result of the route "{name}"'
        if route.listing is not None and not has("list", route.listing.path):
            yield f'for the list of the route "{name}" (GET {route.listing.path})'
        if route.batch is not None and not has("statuses", route.batch.path):
            yield f'for several ids of the route "{name}" (GET {route.batch.path})'
        if route.submit is not None and not has("submit", route.submit.path):
            yield f'for a submission to the route "{name}" (POST {route.submit.path})'
    codes = dict.fromkeys(code for route in service.routes.values() for code in route.codes)
    yield from (f"for a status with the code {code}" for code in codes if all(reply.code != code for reply in asked["status"]))
    yield from (f"for a {ask}" for ask in ("submit", "result") if not asked[ask])


def same_path(recorded: str, described: str) -> bool:
    """Whether two paths are the same but for the names in braces."""
    return _BRACES.sub("{}", recorded) == _BRACES.sub("{}", described)


def repeated_ids(service: ServiceDescription, replies: Recording) -> Lines:
    """Yield the routes whose description says that replies do not repeat the id, where a recorded one does."""
    for name, route in service.routes.items():
        if route.ids:
            continue
        told = [reply for reply in replies.replies if reply.route == name and reply.state and reply.id in texts(reply.body)]
        if told:
            yield f"routes.{name}.ids: it is empty, and {called(told[0])} repeats the id"


class Provenance(NamedTuple):
    """
    Where the recorded statuses of a service come from.

    :param statuses: how many there are (int).
    :param assembled: how many of them are put together from words and fields of a source (int).
    :param inferred: how many of them no source shows (int).
    """

    statuses: int
    assembled: int
    inferred: int


def provenance(replies: Recording) -> Provenance:
    """Return how many of the recorded statuses no source shows as they are."""
    statuses = [reply for reply in replies.replies if reply.state]
    assembled = sum("assembled" in reply.source and not reply.is_guess for reply in statuses)
    return Provenance(len(statuses), assembled, sum(reply.is_guess for reply in statuses))
