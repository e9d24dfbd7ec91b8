"""Read a recorded reply by a service's description, without a network, and compare it with what it means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_provider_docstatus import exceptions
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    NotFinished,
    NotFound,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.flows import poll_batch, poll_one, run
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.messages import NO_RESPONSE, Flow, Request, Response
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.submissions import submitted_id
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing.checks import Lines, asks_there, called, same_path
from airflow_provider_docstatus.testing.recordings import Recording, Reply, fitting, pattern
from airflow_provider_docstatus.transport.redaction import redacted

#: When every recorded reply comes (epoch seconds): 2024-12-16T10:30:00Z. Headers that name a time are read by it.
RECEIVED_AT = 1734345000.0
#: The key of the connection that the replies are read with.
KEY = "made-up-key-7f3a91c2d4"
LONGEST_MESSAGE = 700
#: The longest status as JSON: it travels in trigger events.
LONGEST_STATUS = 8000
_MOST_BYTES = 16 * 1024 * 1024
#: Asks whose replies are read.
READ = ("status", "result", "list", "statuses", "link", "submit")


class NotRecorded(Exception):
    """The description asks for something that no recorded reply answers."""


@dataclass
class Reading:
    """
    What came of reading one recorded reply.

    :param got: what the flow returned; None if it raised an error.
    :param error: the error that it raised.
    :param sent: the requests that it made.
    """

    got: Any = None
    error: DocStatusError | None = None
    sent: list[Request] = field(default_factory=list)


class Reader:
    """
    Reads recorded replies as a connection of the service would.

    :param service: the description.
    :param recording: all recorded replies; what a description asks for besides is answered from them.
    :param edit: changes each reply before it is read.
    """

    def __init__(
        self, service: ServiceDescription, recording: Recording, edit: Callable[[Reply], Reply] = lambda reply: reply
    ) -> None:
        self._recording = recording
        self._edit = edit
        self._service = service

    def read(self, reply: Reply, *, as_id: str | None = None) -> Reading:
        """
        Read a reply.

        :param reply: a reply to a status, a result, a list, several ids or a link.
        :param as_id: another id that is asked for in place of the recorded one.
        :raises NotRecorded: the description asks for more than is recorded.
        """
        reading = Reading()
        first = self._leading_to(reply) if reply.ask == "link" else reply
        flow = self._flow(first, as_id or first.id)
        try:
            reading.got = run(flow, lambda request: self._answer(request, first, reply, reading.sent))
        except DocStatusError as error:
            reading.error = error
        return reading

    def _flow(self, reply: Reply, one: Any) -> Flow[Any]:
        service, route = self._service, reply.route
        if reply.ask == "list":
            listing = service.routes[route].listing if route in service.routes else None
            filters = {name: str(value) for name, value in reply.query.items() if listing and name in listing.filters}
            operation = route if route in service.routes else None
            most = len(reply.expect.get("states", "x"))
            return list_jobs(service, filters=filters, limit=most, offset=0, operation=operation)
        if reply.ask == "statuses":
            return poll_batch(service, [Target(route=route, id=each) for each in one])
        target = Target(route=route, id=one)
        if reply.ask == "status":
            return poll_one(service, target, judges=False)
        kind = service.routes[route].kind
        known = DocumentStatus(service=service.name, kind=kind, id=one, state=State.SUCCEEDED, word="completed")
        return fetch_result(service, target, status=known, content=reply.expect.get("content"), options={})

    def _leading_to(self, link: Reply) -> Reply:
        """Return the recorded reply that holds a link."""
        found = [one for one in self._recording.replies if one.ask == "result" and link.url in json.dumps(one.body)]
        if not found:
            raise NotRecorded(f"no recorded result holds the link of {called(link)}")
        return found[0]

    def _answer(self, request: Request, first: Reply, reply: Reply, sent: list[Request]) -> Response:
        request = request if request.link else request.below(self._service.prefixes[0])
        is_first = not sent or (request.path, request.method) == (sent[0].path, sent[0].method)
        sent.append(request)
        if request.link:
            found = reply if reply.ask == "link" else self._behind(request.link)
        else:
            found = first if is_first else self._recorded_at(request, first)
        return self.response(request, found)

    def _behind(self, link: str) -> Reply:
        found = [one for one in self._recording.replies if one.ask == "link" and one.url == link]
        if not found:
            raise NotRecorded("no recorded reply for what a link leads to (ask: link)")
        return min(found, key=lambda one: one.error is not None)

    def _recorded_at(self, request: Request, first: Reply) -> Reply:
        """Return what answers a further request: the reply at its path, if possible about the same id."""
        asked = request.prefix + request.path
        query = {name: [value] if isinstance(value, str) else list(value) for name, value in request.query.items()}
        for (method, path), replies in self._recording.places.items():
            if method == request.method and pattern(path).fullmatch(asked):
                good = [one for one in fitting(replies, query) if one.error is None and one.ask != "submit"]
                if good:
                    return max(good, key=lambda one: one.id == first.id)
        raise NotRecorded(f"no recorded reply for {request.method} {asked}, which the description asks for besides")

    def response(self, request: Request, reply: Reply) -> Response:
        """Return a recorded reply as the connection's response to a request."""
        reply = self._edit(reply)
        kind = "application/json" if reply.text is None else "text/plain"
        headers = {"content-type": kind, **{name.lower(): value for name, value in reply.headers.items()}}
        text = json.dumps(reply.body) if reply.text is None else reply.text
        told, body = run(redacted(KEY, headers, text.encode()), lambda _: NO_RESPONSE)  # as each connection does
        return Response(
            request=request, code=reply.code, headers=told, body=body, limit=_MOST_BYTES, received_at=RECEIVED_AT, has_key=True
        )


# -- what a reply means ----------------------------------------------------------------------------------------


def is_for_others(service: ServiceDescription, recording: Recording, reply: Reply) -> bool:
    """Whether a recorded reply answers what only other clients ask: a list or a link not asked for, or another form of data."""
    route = service.routes.get(reply.route)
    if reply.ask == "link":
        return route is None or route.result is None or not route.result.link
    if reply.ask in ("list", "statuses"):
        return not asks_there(service, reply)
    if reply.ask != "result" or _asks_so(service, reply):
        return False
    return any(one.ask == "result" and one.route == reply.route and _asks_so(service, one) for one in recording.replies)


def _asks_so(service: ServiceDescription, reply: Reply) -> bool:
    route = service.routes.get(reply.route)
    if route is None or route.result is None:
        return not reply.query
    asked = route.result.query if route.result.path else {**route.query, **route.result.query}
    return _differing(asked, reply.query) is None


def _differing(sent: Mapping[str, Any], recorded: Mapping[str, Any]) -> str | None:
    """Return the first recorded parameter that was not sent so."""
    return next((name for name, value in recorded.items() if _several(sent.get(name)) != _several(value)), None)


def _several(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]


def meaning(service: ServiceDescription, recording: Recording, reply: Reply) -> Lines:
    """Yield where reading a recorded reply does not give what it means."""
    for line in _meaning(service, recording, reply):
        yield f"{called(reply)}: {line}"


def _meaning(service: ServiceDescription, recording: Recording, reply: Reply) -> Lines:
    if reply.ask == "submit":
        yield from _submission(service, reply)
        return
    reading = _read(Reader(service, recording), reply)
    if isinstance(reading, str):
        yield reading
        return
    if reply.ask != "link":
        yield from _request(reply, reading.sent[0]) if reading.sent else ["nothing was asked"]
    if reply.error is not None or reading.error is not None:
        yield from _error(service, reply, reading)
    elif reply.ask == "status":
        yield from _status(reading.got, reply.expect)
    elif reply.ask in ("result", "link"):
        yield from _data(reading.got, reply)
    else:
        yield from _list(reading.got, reply.expect)


def _read(reader: Reader, reply: Reply, **options: Any) -> Reading | str:
    """Read a reply; return what failed, as a line, if it was neither read nor refused."""
    try:
        return reader.read(reply, **options)
    except NotRecorded as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 -- a description's own function may raise anything
        return f"reading it raised {type(error).__name__}: {error}"


def _request(reply: Reply, sent: Request) -> Lines:
    asked = sent.prefix + sent.path
    found = pattern(reply.path).fullmatch(asked)
    if sent.method != reply.method:
        yield f"the vendor is asked by {sent.method}, not by {reply.method}"
    if found is None:
        yield f"the vendor is asked at {asked}, not at {reply.path}"
    elif found.groups() and isinstance(reply.id, str) and "/".join(map(unquote, found.groups())) != reply.id:
        yield f"the vendor is asked at {asked}, which is not about {reply.id}"
    if reply.error is None and reply.ask != "list" and (name := _differing(sent.query, reply.query)):
        yield f"the vendor is asked with {name}={sent.query.get(name)!r}, not {reply.query[name]!r}"


def _status(status: DocumentStatus, expect: Mapping[str, Any]) -> Lines:
    told = status.to_dict()
    yield from _differences({name: told.get(name) for name in expect}, expect)
    if DocumentStatus.from_dict(json.loads(json.dumps(told))).to_dict() != told:
        yield "the status does not come back from JSON as it was"
    if len(json.dumps(told)) >= LONGEST_STATUS:
        yield f"the status is longer than {LONGEST_STATUS} characters, and travels in trigger events"


def _differences(told: Mapping[str, Any], expect: Mapping[str, Any]) -> Lines:
    yield from (f"{name} is read as {told[name]!r}, not {value!r}" for name, value in expect.items() if told[name] != value)


def _data(got: tuple[DocumentStatus, Mapping[str, Any], Mapping[str, str]], reply: Reply) -> Lines:
    _, items, errors = got
    items = {one: data.decode("utf-8", "replace") if isinstance(data, bytes) else data for one, data in items.items()}
    wanted = reply.expect.get("data")
    if items != wanted and list(items.values()) != [wanted]:
        yield f"the data is read as {items!r}, not {wanted!r}"
    if dict(errors) != reply.expect.get("errors", {}):
        yield f"the errors beside the data are read as {dict(errors)!r}, not {reply.expect.get('errors', {})!r}"


def _list(got: Any, expect: Mapping[str, Any]) -> Lines:
    statuses = list(got.values()) if isinstance(got, Mapping) else list(got)
    told = {
        "states": {status.id: status.state.value for status in statuses},
        "messages": {status.id: status.message for status in statuses if status.message},
    }
    yield from _differences(told, {"messages": {}, "states": {}, **{n: v for n, v in expect.items() if n in told}})


def _error(service: ServiceDescription, reply: Reply, reading: Reading) -> Lines:
    error, wanted = reading.error, reply.error
    if error is None:
        yield f"it is read as good, not as {wanted}"
        return
    message = str(error)
    if wanted is None or type(error) is not getattr(exceptions, wanted, None):
        yield f"it is read as {type(error).__name__}, not as {wanted or 'good'} ({message})"
        return
    yield from (f"the message lacks {text!r}: {message}" for text in reply.expect.get("says", ()) if text not in message)
    yield from (f"the message has {text!r}: {message}" for text in reply.expect.get("never_says", ()) if text in message)
    if service.title not in message or error.service != service.name:
        yield f"the error does not name the service: {message}"
    is_refusal = isinstance(error, RequestRejected) and not isinstance(error, NotFinished)  # that is a state of the job
    if is_refusal and error.code != reply.code:  # type: ignore[attr-defined]  # a RequestRejected
        yield f"the error has the code {error.code}, not {reply.code}"  # type: ignore[attr-defined]  # as above
    if (
        isinstance(reply.id, str)
        and not isinstance(error, ServiceUnavailable)
        and not (error.id == reply.id and reply.id in message)
    ):
        yield f"the error does not name the id: {message}"
    if isinstance(error, NotFound) and reply.ask != "link" and service.retention not in message:
        yield f"the error does not say how long results are kept: {message}"
    if len(message) > LONGEST_MESSAGE or "\n" in message:
        yield f"the message is not one line of at most {LONGEST_MESSAGE} characters"
    if "retry_after" in reply.expect and getattr(error, "retry_after", None) != reply.expect["retry_after"]:
        yield f"retry_after is {getattr(error, 'retry_after', None)!r}, not {reply.expect['retry_after']!r}"


def _submission(service: ServiceDescription, reply: Reply) -> Lines:
    """Yield where the id in a submission's answer is not found, or not where ``submit`` says."""
    if reply.error is not None:
        return
    wanted = reply.expect.get("id")
    told = json.dumps([reply.body, dict(reply.headers)])
    ids = wanted if isinstance(wanted, list) else [wanted]
    yield from (f"the answer does not hold the id {one}" for one in ids if not one or str(one).rpartition("/")[2] not in told)
    route = service.routes.get(reply.route)
    at = [prefix + route.submit.path for prefix in service.prefixes] if route is not None and route.submit is not None else []
    if not isinstance(wanted, str) or not any(same_path(reply.path, path) for path in at):
        return
    headers = {name.lower(): value for name, value in reply.headers.items()}
    operation = reply.route if service.has_operations else None
    about = replace(service, status_hosts=(*service.status_hosts, urlsplit(service.host).hostname or ""))  # as a connection has
    try:
        found = submitted_id(about, code=reply.code, headers=headers, body=reply.body, operation=operation)
    except DocStatusError as error:
        yield f"the id is not where submit says: {error}"
    else:
        if found != wanted:
            yield f"submit leads to the id {found!r}, not to {wanted!r}"


# -- what must not be told, or go unnoticed --------------------------------------------------------------------


def leaks(service: ServiceDescription, recording: Recording, reply: Reply) -> Lines:
    """Yield where a key that the vendor repeats in a reply comes out: in a status, a message, the data or a URL."""
    kept = {word for status in recording.replies for word in (str(status.expect.get("word")), *status.ids)}
    for spared in (kept, set[str]()):
        reader = Reader(service, recording, partial(_with_key, spared=spared))
        reading = _read(reader, reply)
        if isinstance(reading, str):
            if KEY in reading:
                yield f"{called(reply)}: the key comes out of an error of the description's own function"
            continue
        told = [repr(reading.got), *(json.dumps(status.to_dict()) for status in _statuses_in(reading.got))]
        if reading.error is not None:
            told += [str(reading.error), repr(vars(reading.error))]
        told += [repr(request) for request in reading.sent]
        if any(KEY in text for text in told):
            yield f"{called(reply)}: the key comes out when the vendor repeats it in the reply"
            return


def _with_key(reply: Reply, *, spared: set[str]) -> Reply:
    """Return a reply with the key in each of its texts but the spared ones, which must stay for the others to be read."""

    def with_key(value: Any) -> Any:
        if isinstance(value, str):
            return value if value in spared else f"{value} {KEY}"
        if isinstance(value, Mapping):
            return {name: with_key(one) for name, one in value.items()}
        return [with_key(one) for one in value] if isinstance(value, list) else value

    headers = {name: value if name.lower() == "content-type" else f"{value} {KEY}" for name, value in reply.headers.items()}
    return replace(reply, body=with_key(reply.body), text=None if reply.text is None else f"{reply.text} {KEY}", headers=headers)


def _statuses_in(got: Any) -> Iterator[DocumentStatus]:
    if isinstance(got, DocumentStatus):
        yield got
    elif isinstance(got, (list, tuple)):
        yield from (one for one in got if isinstance(one, DocumentStatus))
    elif isinstance(got, Mapping):
        yield from (one for one in got.values() if isinstance(one, DocumentStatus))


def unnoticed_ids(service: ServiceDescription, recording: Recording) -> Lines:
    """Yield the routes on which a reply about another id goes unnoticed although ``ids`` says where replies repeat the id."""
    reader = Reader(service, recording)
    for name, route in service.routes.items():
        good = [reply for reply in recording.replies if reply.route == name and reply.state and reply.code < 400]
        if not route.ids or not good:
            continue
        other = "/".join(["another-id"] * len(route.placeholders))
        read = [_read(reader, reply, as_id=other) for reply in good]
        if not any(isinstance(one, Reading) and isinstance(one.error, UnexpectedReply) for one in read):
            yield f"routes.{name}.ids: no recorded reply has an id there, so a reply about another id goes unnoticed"
