"""
What a service's description and its file of recorded replies must hold: functions that yield what is wrong, one line each.

They send nothing and know no pytest. How a recorded reply is read stands in ``reading.py``, the tests in ``contract.py``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
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
from airflow_provider_docstatus.protocol.description import Route, ServiceDescription
from airflow_provider_docstatus.protocol.hosts import HostPatterns
from airflow_provider_docstatus.protocol.rules import problems
from airflow_provider_docstatus.protocol.targets import ID_PARAMETERS
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.testing.recordings import Recording, Reply
from airflow_provider_docstatus.testing.rewriting import texts

#: What is wrong, one line each.
Lines = Iterator[str]

#: Asks whose errors this package does not read: it submits nothing, and a path that the vendor does not have is not asked for.
UNREAD = ("submit", "no_route")
_PLACE = re.compile(r"[\w@$-]+(\.[\w@$-]+)*")
_BRACES = re.compile(r"\{([^{}]*)\}")
_SOURCE = re.compile(r"\[(page|docs|spec|sdk|vtest|3p|live|inf)\] \S", re.DOTALL)
#: A host that is nobody's (RFC 2606), for replies whose source names no host.
_NOBODYS = (".example", ".test", ".invalid")


# -- the description -------------------------------------------------------------------------------------------


def description(service: ServiceDescription) -> Lines:
    """Yield the rules that a description breaks, and what it leaves out."""
    yield from problems(service)
    if not service.title or service.title != service.title.strip():
        yield "title: must not be empty, nor have blanks around it"
    for name in ("evidence", "retention"):
        if not getattr(service, name):
            yield f"{name}: must not be empty"
    for name in ("retry_headers", "remaining_headers"):
        if any(header != header.lower() for header in getattr(service, name) or ()):
            yield f"{name}: must be in lower case"
    if len(set(service.prefixes)) < len(service.prefixes):
        yield "prefixes: must not hold one twice"


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


def routes(service: ServiceDescription) -> Lines:
    """Yield what is wrong with routes, their lists, children and data, and with the names of operations."""
    for name, route in all_routes(service).items():
        yield from (f"routes.{name}.{line}" for line in _route(service, route))
    if service.operations and not service.has_operations:
        yield "operations: the service has none"
    for other in service.operations:
        if other != other.lower() or other in service.routes:
            yield f"operations.{other}: must be in lower case, and no route's own name"
    if service.read_item is not None and not service.contents:
        yield "read_item: needs contents"


def _route(service: ServiceDescription, route: Route) -> Lines:
    if "id" in route.placeholders and len(route.placeholders) > 1:
        yield "path: an id of several parts needs a name for each part, and none is 'id'"
    if route.parameter not in ID_PARAMETERS:
        yield f"parameter: must be one of {', '.join(ID_PARAMETERS)}"
    codes = [*route.codes.values(), *(route.result.codes.values() if route.result is not None else ())]
    if not set(codes) <= set(State):
        yield "codes: must mean states"
    if route.result is not None and service.contents:
        yield "result: must be left out where the service has contents"
    has_parts = route.kind in ("request", "batch") and route in service.routes.values()
    if has_parts and not (route.counters and (route.children or route.members)):
        yield f"counters, children: must both be there for a {route.kind}; members may stand for children"
    listing = route.listing
    if listing is not None and not {listing.size, listing.at}.isdisjoint(listing.filters):
        yield "listing.filters: must not hold the parameters of the pages"


def places(service: ServiceDescription) -> Lines:
    """Yield what is wrong with the places in replies that are read."""
    for name, route in all_routes(service).items():
        if not route.details.keys().isdisjoint({"user_uid", "user_id"}):
            yield f"routes.{name}.details: must hold no user's id"
        several = (route.ids, route.status, route.errors, route.links, route.counters, route.partial)
        groups = [*several, (route.flag, route.good, route.inside, route.children)]
        groups += [*route.times.values(), *route.details.values()]
        for path in (path for group in groups for place in group for path in place.split()):
            if not _PLACE.fullmatch(path):
                yield f"routes.{name}: a place must be a dotted path, not {path!r}"
            elif "user" in path.lower():
                yield f"routes.{name}: {path!r} must not be read: it may be a user's id or name"


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
        if reply.error is not None and reply.ask not in UNREAD and "says" not in reply.expect:
            yield f'{called(reply)} does not say what the message must name ("says")'
        if reply.ask in ("status", "result") and reply.route not in service.routes:
            yield f'{called(reply)} has the route "{reply.route}", which the description does not have'
        if reply.ask in ("list", "statuses") and not asks_there(service, reply):
            yield f"{called(reply)} is asked for at {reply.path} (ask: {reply.ask}), which no route of the description does"
        if reply.ask == "link" and reply.route in service.routes and (line := _link_host(service, reply)):
            yield line


def called(reply: Reply) -> str:
    """Return how lines call a recorded reply."""
    return f'the recorded reply "{reply.name}"'


def asks_there(service: ServiceDescription, reply: Reply) -> bool:
    """Whether the description asks for lists, or for several ids, at the path of a recorded reply."""
    found = (
        (one.path for route in service.routes.values() for one in (route.listing, route.members) if one is not None)
        if reply.ask == "list"
        else (route.batch.path for route in service.routes.values() if route.batch is not None)
    )
    return any(same_path(reply.path, prefix + path) for path in found for prefix in service.prefixes)


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
    own = urlsplit(service.host).hostname  # a link to the service's own host needs no entry
    if result is None or not result.link or host.endswith(_NOBODYS) or host == own:
        return None
    if HostPatterns.of(service.link_hosts).match(host):
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
