"""The path prefix: find the one that a deployment uses, around any flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow_provider_docstatus.exceptions import DocStatusError
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.messages import Flow, Request, Response, T
from airflow_provider_docstatus.protocol.reading import is_object, read_outline
from airflow_provider_docstatus.protocol.refusals import is_foreign
from airflow_provider_docstatus.protocol.responses import is_unavailable, redirect_target


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
