"""
Flows: conversations with a service as generators, without I/O and without a clock.

A flow yields a :class:`~.messages.Request`. Its driver sends the request, and hands the :class:`~.messages.Response` back to the
flow, or throws the DocStatusError that came instead of one. Between slices of long work a flow yields a pause. The flow returns
its result at the end. :func:`run` drives a flow with a blocking sender, :func:`arun` with an asynchronous one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    KeyRejected,
    NoSuchRoute,
    QuotaExhausted,
    RateLimited,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.messages import NO_RESPONSE, Flow, Pause, Request, Response, T
from airflow_provider_docstatus.protocol.reading import in_slices, is_object, read_outline
from airflow_provider_docstatus.protocol.refusals import is_foreign
from airflow_provider_docstatus.protocol.responses import (
    NO_BATCH_ROUTE_CODES,
    is_unavailable,
    read_object,
    redirect_target,
)
from airflow_provider_docstatus.protocol.statuses import (
    checked_object,
    items_by_id,
    read_child,
    read_status,
    status_from,
)
from airflow_provider_docstatus.protocol.targets import Target, parent_of
from airflow_provider_docstatus.protocol.values import first_of, get_path
from airflow_provider_docstatus.status import DocumentStatus

#: What a poll says about an id: its status, or the error in its place.
Observation = DocumentStatus | DocStatusError
#: The last status of each id, after what it was read from: the item of a parent's reply, or the hash of the id's own reply, which
#: may be large. What has not changed is not read again.
StatusCache = dict[Target, tuple[object, DocumentStatus]]


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


# -- the path prefix -------------------------------------------------------------------------------------------


@dataclass
class PathPrefix:
    """
    The path prefix that a deployment uses. Flows that run at the same time share this object.

    :param service: the service, whose other documented prefixes are tried.
    :param base_url: scheme, host and path of the connection; a redirect's target is compared with it.
    :param current: the prefix in use (str).
    :param log: logs that another prefix was found (``logger.info``).
    """

    service: ServiceDescription
    base_url: str
    current: str
    log: Callable[..., None] = lambda *_: None


def with_prefix(flow: Flow[T], prefix: PathPrefix) -> Flow[T]:
    """Send each request of a flow below the path prefix in use; switch to another one where this deployment needs it."""
    try:
        request = next(flow)
        while True:
            try:
                response = (yield from _send_below(request, prefix)) if isinstance(request, Request) else (yield request)
            except DocStatusError as error:
                request = flow.throw(error)
            else:
                request = flow.send(response)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration is untyped


def _send_below(request: Request, prefix: PathPrefix) -> Flow[Response]:
    """
    Send a request below the prefix in use; send it below the other one if the response says that this prefix does not exist.

    One such response may be an error of a gateway, so it proves nothing. The other prefix becomes the one in use only when a JSON
    object comes from there. A refusal from there is returned only if the prefix in use is denied a second time; that one stays
    in use.
    """
    used = prefix.current
    response = yield from _sent(request.below(used), prefix)
    if 200 <= response.code < 300 or (other := _other_prefix(response, used, prefix)) is None:
        return response
    if prefix.current != used:  # another flow has found the right one meanwhile
        return (yield from _sent(request.below(prefix.current), prefix))
    second = yield from _sent(request.below(other), prefix)
    if is_unavailable(second.code):
        return second
    if 200 <= second.code < 300 and (yield from is_object(second)):
        prefix.current = other
        prefix.log("%s answers below %s here.", prefix.service.title, other)
        return second
    if second.code < 400 or is_foreign(second) or _other_prefix(second, other, prefix) is not None:
        return response
    again = yield from _sent(request.below(used), prefix)
    return second if _other_prefix(again, used, prefix) is not None else again


def _sent(request: Request, prefix: PathPrefix) -> Flow[Response]:
    """Send a request; of an error response read the outline, which is all that is read of it."""
    response = yield request
    if not 200 <= response.code < 300:
        yield from read_outline(prefix.service, response)
    return response


def _other_prefix(response: Response, used: str, prefix: PathPrefix) -> str | None:
    """
    Return the other documented prefix when the response says that this one does not exist here.

    Three responses say so: a redirect to the same host below the other prefix, a 405, and a 404 with the web framework's own
    body. A 404 alone says nothing, since an unknown id gets one as well.
    """
    others = [other for other in prefix.service.prefixes if other != used]
    if not others:
        return None
    if 300 <= response.code < 400:
        place, base = redirect_target(response), urlsplit(response.request.host or prefix.base_url)
        if place.netloc not in ("", base.netloc) or place.scheme not in ("", base.scheme):
            return None
        path = place.path.removeprefix(base.path)
        return next((other for other in others if path == other + response.request.path), None)
    return others[0] if response.code == 405 or response.is_no_route else None


# -- polling ---------------------------------------------------------------------------------------------------


@dataclass
class PollReply:
    """
    The result of one poll.

    :param observations: the status of each target, or the error in its place; an omitted target is not in it.
    :param parent: the parent of the polled ids, if it is known by now.
    :param failed: the error of the request for several, if there was one.
    """

    observations: dict[Target, Observation]
    parent: Target | None = None
    failed: DocStatusError | None = None


def poll(
    service: ServiceDescription,
    targets: Sequence[Target],
    *,
    parent: Target | None = None,
    wanted: Container[Target] = (),
    may_omit: bool = False,
    cache: StatusCache | None = None,
) -> Flow[PollReply]:
    """
    Poll one id, or several by one request: through their parent, or by the batch route.

    If the request for several fails, the first id is polled alone. That shows whether the request or the service is at fault.

    :param parent: the parent of several ids; None for the batch route.
    :param wanted: the ids to read from a parent's reply.
    :param may_omit: whether a passing fault of the request for several omits all of them, so that they are polled again later.
    :raises DocStatusError: a fault of the service, the key or the account, which concerns all of the ids.
    """
    first = targets[0]
    if len(targets) == 1:
        status = yield from poll_one(service, first, cache)
        return PollReply({first: status}, parent_of(service, status, first.route))
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


def poll_one(service: ServiceDescription, target: Target, cache: StatusCache | None = None) -> Flow[DocumentStatus]:
    """Poll one id."""
    response = yield status_request(service, target)
    before = cache.get(target) if cache else None
    if before is not None and response.code == 200 and hash(response.body) == before[0]:
        return before[1]
    yield from read_outline(service, response)
    status = yield from read_status(service, target, response)
    if cache is not None:
        cache[target] = (hash(response.body), status)
    return status


def status_request(service: ServiceDescription, target: Target) -> Request:
    """Return the request that asks for one id's status."""
    route = service.routes[target.route]
    return Request(
        path=route.path.replace("{id}", quote(target.id, safe="")),
        route=route.path.replace("{id}", "{" + route.parameter + "}"),
        query=route.query,
        key_optional=route.key_optional,
        refuses_in_text=route.refuses_in_text,
        host=route.host,
        long_poll=route.long_poll,
    )


def poll_batch(service: ServiceDescription, targets: Sequence[Target]) -> Flow[dict[Target, DocumentStatus]]:
    """
    Poll several ids by the batch route; return the statuses in its reply, which may omit some of the ids.

    :raises NoSuchRoute: the deployment has no such route.
    """
    batch, route_name = service.batch, targets[0].route
    assert batch is not None  # the schedule batches only such routes  # noqa: S101
    request = Request(
        path=batch.path,
        route=batch.path,
        query={batch.parameter: ",".join(target.id for target in targets), **batch.query},
        key_optional=batch.key_optional,
        host=service.routes[route_name].host,
        missing_route_codes=NO_BATCH_ROUTE_CODES,
    )
    response = yield request
    yield from read_outline(service, response)
    wanted, found = {target.id: target for target in targets}, {}
    for item in in_slices(read_list(service, response, batch.items)):
        if isinstance(item, Pause):
            yield item
            continue
        target = wanted.get(str(first_of(item, service.routes[route_name].ids)))
        word = get_path(item, "status")
        if target is not None and isinstance(word, str) and word.strip().lower() in service.words:
            with suppress(UnexpectedReply):  # an invalid item counts as omitted
                found[target] = yield from status_from(service, target, item, response.request.label)
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
        if child.word.lower() in service.words:
            found[target] = child
            if cache is not None:
                cache[target] = (item, child)
    return found


def read_list(service: ServiceDescription, response: Response, path: str) -> list[Any]:
    """Return the list at a dotted path of a good response. Raises UnexpectedReply if there is none."""
    return list_in(service, response, read_object(service, response), path)


def list_in(service: ServiceDescription, response: Response, body: Mapping[str, Any], path: str) -> list[Any]:
    """Return the list at a dotted path of a body. Raises UnexpectedReply if there is none."""
    items = get_path(body, path)
    if not isinstance(items, list):
        label = response.request.label
        raise UnexpectedReply(f"{service.title}: {label} answered without a list '{path}'.", service=service.name)
    return items
