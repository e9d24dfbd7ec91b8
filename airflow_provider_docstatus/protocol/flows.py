"""
Flows: conversations with a service as generators, without I/O and without a clock.

A flow yields a :class:`~.messages.Request`. Its driver sends the request, and hands the :class:`~.messages.Response` back to the
flow, or throws the DocStatusError that came instead of one. Between slices of long work a flow yields a pause. The flow returns
its result at the end. :func:`run` drives a flow with a blocking sender, :func:`arun` with an asynchronous one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    KeyRejected,
    NoData,
    NoSuchRoute,
    QuotaExhausted,
    RateLimited,
    ReplyTooLarge,
    ResultNotStorable,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.extracted import data_in, link_in
from airflow_provider_docstatus.protocol.messages import NO_RESPONSE, Flow, Pause, Request, Response, Sink, T
from airflow_provider_docstatus.protocol.paging import list_in, list_statuses
from airflow_provider_docstatus.protocol.reading import in_slices, read_outline
from airflow_provider_docstatus.protocol.responses import (
    NO_BATCH_ROUTE_CODES,
    read_object,
    retry_after,
)
from airflow_provider_docstatus.protocol.statuses import (
    checked_object,
    is_media,
    items_by_id,
    read_child,
    read_result_status,
    read_status,
    status_from,
    with_children,
)
from airflow_provider_docstatus.protocol.storable import read_data
from airflow_provider_docstatus.protocol.targets import Target, parent_of
from airflow_provider_docstatus.protocol.values import first_of, get_path
from airflow_provider_docstatus.status import DocumentStatus, State

#: What a poll says about an id: its status, or the error in its place.
Observation = DocumentStatus | DocStatusError
#: The last status of each id, after what it was read from: the item of a parent's reply, or the hash of the id's own reply, which
#: may be large. What has not changed is not read again.
StatusCache = dict[Target, tuple[object, DocumentStatus]]


@dataclass(frozen=True, kw_only=True)
class KeptReply:
    """
    The status reply of a finished job, where a second reply may not hold the data again.

    :param status: what it says.
    :param body: the reply as it came (bytes).
    :param data: the data in it, or the error of data that nothing can carry; None if there is a link in its place.
    :param link: the signed link, which may be the only way to the data; empty if there is none.
    """

    status: DocumentStatus
    body: bytes
    data: Any = None
    link: str = ""


Kept = dict[Target, KeptReply]


def run(flow: Flow[T], send: Callable[[Request], Response]) -> T:
    """Drive a flow with a function that sends a request and returns its response. Nobody waits for a pause."""
    try:
        request = next(flow)
        while True:
            try:
                response = send(request) if isinstance(request, Request) else NO_RESPONSE
            except DocStatusError as error:
                request = flow.throw(error)
            else:
                request = flow.send(response)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration is untyped


async def no_pause() -> Any:
    """Let nobody have the event loop."""


async def arun(
    flow: Flow[T], send: Callable[[Request], Awaitable[Response]], pause: Callable[[], Awaitable[Any]] = no_pause
) -> T:
    """Drive a flow with an asynchronous sender; the same as :func:`run` but for the lines that pause and send."""
    try:
        request = next(flow)
        while True:
            try:
                response = await send(request) if isinstance(request, Request) else await pause()
            except DocStatusError as error:
                request = flow.throw(error)
            else:
                request = flow.send(response)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration is untyped


# -- polling ---------------------------------------------------------------------------------------------------


@dataclass
class PollReply:
    """
    The result of one poll.

    :param observations: the status of each target, or the error in its place; an omitted target is not in it.
    :param parent: the parent of the polled ids, if it is known by now.
    :param failed: the error of the request for several, if there was one.
    :param retry_after: seconds until the next poll, as a good reply asks for; None if it does not.
    """

    observations: dict[Target, Observation]
    parent: Target | None = None
    failed: DocStatusError | None = None
    retry_after: float | None = None


def poll(
    service: ServiceDescription,
    targets: Sequence[Target],
    *,
    parent: Target | None = None,
    wanted: Container[Target] = (),
    may_omit: bool = False,
    judges: bool = True,
    cache: StatusCache | None = None,
    kept: Kept | None = None,
) -> Flow[PollReply]:
    """
    Poll one id, or several by one request: through their parent, or by the batch route.

    If the request for several fails, the first id is polled alone. That shows whether the request or the service is at fault.

    :param parent: the parent of several ids; None for the batch route.
    :param wanted: the ids to read from a parent's reply.
    :param may_omit: whether a passing fault of the request for several omits all of them, so that they are polled again later.
    :param judges: see :func:`poll_one`.
    :param kept: see :func:`poll_one`.
    :raises DocStatusError: a fault of the service, the key or the account, which concerns all of the ids.
    """
    first = targets[0]
    if len(targets) == 1:
        reply = PollReply({})
        status = yield from poll_one(service, first, cache, judges=judges, reply=reply, kept=kept)
        reply.observations[first], reply.parent = status, parent_of(service, status, first.route)
        return reply
    try:
        if parent is None:
            return PollReply(dict((yield from poll_batch(service, targets))))
        return PollReply(dict((yield from poll_parent(service, parent, first.route, wanted, cache))), parent)
    except RateLimited:
        raise  # a single id would be throttled as well
    except DocStatusError as error:
        failed = error
    if isinstance(failed, NoSuchRoute) or (may_omit and isinstance(failed, (ServiceUnavailable, UnexpectedReply))):
        return PollReply({}, failed=failed)
    return PollReply(dict((yield from _poll_alone(service, targets[:2], cache))), failed=failed)


def _poll_alone(
    service: ServiceDescription, targets: Sequence[Target], cache: StatusCache | None
) -> Flow[dict[Target, Observation]]:
    """
    Poll the first of two ids alone, and after a 403 the second.

    A 403 may be about one id, so it concerns all of them only if two ids get it.
    """
    observations: dict[Target, Observation] = {}
    for target in targets:
        try:
            observations[target] = yield from poll_one(service, target, cache)
        except (QuotaExhausted, ServiceUnavailable):
            raise
        except KeyRejected as error:
            if not error.may_be_about_id:
                raise
            if observations:  # the error that all ids get must not name this one
                raise KeyRejected(
                    f"{service.title} answered for two ids with {error.code}. Check the key of the connection, and that its "
                    "account may read them.",
                    code=error.code,
                    service=service.name,
                ) from None
            observations[target] = error
            continue
        except DocStatusError as error:
            observations[target] = error
        break
    return observations


def look_up(
    service: ServiceDescription, parent: Target, route_name: str, wanted: Container[Target], cache: StatusCache | None = None
) -> Flow[PollReply]:
    """Poll a parent that a reply has named, since other wanted ids may belong to it. A failure costs only this request."""
    try:
        return PollReply(dict((yield from poll_parent(service, parent, route_name, wanted, cache))), parent)
    except DocStatusError as error:
        return PollReply({}, parent, failed=error)


def poll_one(
    service: ServiceDescription,
    target: Target,
    cache: StatusCache | None = None,
    *,
    judges: bool = True,
    reply: PollReply | None = None,
    kept: Kept | None = None,
) -> Flow[DocumentStatus]:
    """
    Poll one id.

    :param judges: whether the result is read too where only that says if the job has ended well (:attr:`.ResultRoute.decides`).
    :param reply: gets what the reply says beside the status.
    :param kept: gets the data, or the link to it, if the reply of a finished job holds it, for accounts whose data is deleted
        when it is read.
    """
    response = yield status_request(service, target)
    if reply is not None:
        reply.retry_after = retry_after(service, response)
    before = cache.get(target) if cache else None
    if before is not None and response.code == 200 and hash(response.body) == before[0]:
        return before[1]
    yield from read_outline(service, response, may_be_cut=True)
    status = yield from read_status(service, target, response)
    route = service.routes[target.route]
    is_decided = not route.is_decided_by_result or status.state not in (State.SUCCEEDED, State.PARTIAL)
    if judges and not is_decided:
        status, is_decided = (yield from judged_by_result(service, target, status)), True
    if route.members is not None and status.state.is_final:
        status = yield from _with_members(service, target, status)
    if kept is not None and route.gives_data_with_status and status.state.is_final:
        with suppress(NoData, ValueError):  # a failed job has none, and a reply that is too long was cut
            kept[target] = _kept(service, route, status, response)
    if cache is not None and is_decided and response.code == 200:
        cache[target] = (hash(response.body), status)
    return status


def _kept(service: ServiceDescription, route: Route, status: DocumentStatus, response: Response) -> KeptReply:
    """Return a status reply with the link or the data in it."""
    reply = KeptReply(status=status, body=response.body)
    try:
        body = read_data(response.body, id=status.id, service=service.name)
        if link := link_in(route, body):
            return replace(reply, link=link)
        return replace(reply, data=data_in(service, route, status, body, response.request.label))
    except ResultNotStorable as error:
        return replace(reply, data=error)


def judged_by_result(service: ServiceDescription, target: Target, status: DocumentStatus) -> Flow[DocumentStatus]:
    """Return the status as the result has it. A result that is too long to be read here stays unjudged; its data will tell."""
    response = yield result_request(service, target)
    if is_media(service, target, response):
        return status
    yield from read_outline(service, response, may_be_cut=True)
    try:
        return (yield from read_result_status(service, target, response, status))
    except ReplyTooLarge:
        return status


def _with_members(service: ServiceDescription, target: Target, status: DocumentStatus) -> Flow[DocumentStatus]:
    """Return a finished status with the jobs inside it, which a route of their own lists."""
    route = service.routes[target.route]
    assert route.members is not None  # the caller has looked  # noqa: S101
    query = {name: target.id if value == "{id}" else value for name, value in route.members.query.items()}
    children = yield from list_statuses(service, route.members, route, query)
    return with_children(status, tuple(children.values()))


def status_request(service: ServiceDescription, target: Target) -> Request:
    """Return the request that asks for one id's status."""
    return _request(service, target, service.routes[target.route])


def result_request(service: ServiceDescription, target: Target, into: Sink | None = None) -> Request:
    """Return the request for one id's data; ``into`` gets the reply as it comes."""
    result = service.routes[target.route].result
    assert result is not None  # the contract test: every route has contents or a result  # noqa: S101
    return replace(_request(service, target, result), into=into)


def _request(service: ServiceDescription, target: Target, asked: Route | ResultRoute) -> Request:
    route = service.routes[target.route]
    path = asked.path or route.path
    names = route.placeholders
    shown = path.replace("{id}", "{" + route.parameter + "}") if len(names) == 1 else path
    for name, part in zip(names, target.id.split("/") if len(names) > 1 else [target.id], strict=False):
        path = path.replace("{" + name + "}", quote(part, safe=""))
    return Request(
        path=path,
        route=shown,
        query=asked.query if asked.path else {**route.query, **asked.query},
        key_optional=route.key_optional or service.key_optional,
        expected_codes=[code for code in asked.codes if code >= 400],
        refuses_in_text=route.refuses_in_text,
        host=route.host,
        long_poll=route.long_poll if asked is route else None,
    )


def poll_batch(service: ServiceDescription, targets: Sequence[Target]) -> Flow[dict[Target, DocumentStatus]]:
    """
    Poll several ids by the batch route; return the statuses in its reply, which may omit some of the ids.

    :raises NoSuchRoute: the deployment has no such route.
    """
    route_name = targets[0].route
    route = service.routes[route_name]
    batch = route.batch
    assert batch is not None  # the schedule batches only such routes  # noqa: S101
    ids = tuple(target.id for target in targets)
    request = Request(
        path=batch.path,
        route=batch.path,
        query={batch.parameter: ids if batch.repeats else ",".join(ids), **batch.query},
        key_optional=batch.key_optional or service.key_optional,
        missing_route_codes=NO_BATCH_ROUTE_CODES,
        host=route.host,
    )
    response = yield request
    yield from read_outline(service, response)
    wanted, found = {target.id: target for target in targets}, {}
    about = batch.item or route
    read_as = service if batch.item is None else replace(service, routes={**service.routes, route_name: about})
    for item in in_slices(read_list(service, response, batch.items)):
        if isinstance(item, Pause):
            yield item
            continue
        target = wanted.get(str(first_of(item, about.ids)))
        word = first_of(item, about.status)
        if target is not None and isinstance(word, str) and word.strip().lower() in service.states:
            with suppress(UnexpectedReply):  # an invalid item counts as omitted
                found[target] = yield from status_from(read_as, target, item, response.request.label)
    return found


def poll_parent(
    service: ServiceDescription, parent: Target, route_name: str, wanted: Container[Target], cache: StatusCache | None = None
) -> Flow[dict[Target, DocumentStatus]]:
    """Poll a parent; return the statuses of its wanted children, except those with an unknown status word."""
    about, route = service.routes[route_name].parent, service.routes[parent.route]
    assert about is not None  # parent_of reads this field  # noqa: S101
    assert route.child is not None  # noqa: S101 -- a parent has children
    response = yield status_request(service, parent)
    yield from read_outline(service, response)
    body, _, _ = checked_object(service, parent, read_object(service, response, id=parent.id), response.request.label)
    found = {}
    for one in items_by_id(get_path(body, route.children), route.child):
        if isinstance(one, Pause):
            yield one
            continue
        child_id, item = one
        target = Target(route=route_name, id=child_id)
        if target not in wanted:
            continue
        before = cache.get(target) if cache else None
        if before is not None and item == before[0]:
            found[target] = before[1]
            continue
        child = read_child(service, item, route.child, id=child_id, details={about[1]: parent.id})
        if child.word.lower() in service.states:
            found[target] = child
            if cache is not None:
                cache[target] = (item, child)
    return found


def read_list(service: ServiceDescription, response: Response, path: str) -> list[Any]:
    """Return the list at a dotted path of a good response. Raises UnexpectedReply if there is none."""
    return list_in(service, response, read_object(service, response), path)
