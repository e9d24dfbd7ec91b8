"""Targets: the id to poll and its route at the service, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.description import Route, ServiceDescription
from airflow_provider_docstatus.protocol.values import one_line
from airflow_provider_docstatus.status import DocumentStatus

ID_PARAMETERS = ("request_id", "document_id", "job_id")
LONGEST_ID = 512
_NOT_IN_AN_ID = re.compile(r"[/\\?#%,\s]")
_SHOWN_OF_A_BAD_ID = 80
#: Native rendering reads rendered text as a Python literal. An int stays an id: nothing tells 1_000 from a task's own number.
_NATIVE = (
    "If it is from a template under render_template_as_native_obj=True, that made it of text such as 1685E6 or True: pass the "
    "upstream task's .output, or put quotes around the template: \"'{{ ... }}'\""
)


class Target(NamedTuple):
    """What a wait is about: a route of the service, and the id to poll on it."""

    route: str
    id: str


def target_of(service: ServiceDescription, ids: Mapping[str, object], operation: str | None = None) -> Target:
    """
    Return the target that the arguments of a task name.

    :param ids: the value of each of ``request_id``, ``document_id`` and ``job_id`` (None if not given).
    :param operation: the route, where the service has several for one kind of id.
    :raises RequestRejected: no id, several ids, a wrong kind of id, an invalid id, or an unknown operation; the DAG's author
        must change it.
    """
    given = {name: value for name, value in ids.items() if value is not None}
    known = service.parameters
    if len(given) != 1:
        none = (
            "got none (or an upstream task returned None); render_template_as_native_obj=True also makes None of the text 'None'"
        )
        problem = f"got {' and '.join(given)}" if given else none
        raise RequestRejected(f"{service.title}: give exactly one of {', '.join(known)}; {problem}.", service=service.name)
    ((parameter, value),) = given.items()
    if parameter not in known:
        raise RequestRejected(
            f"{service.title} has no {parameter}; use {' or '.join(known)} with this connection.", service=service.name
        )
    if isinstance(value, str) and "://" in value:
        return _target_of_url(service, parameter, value, operation)
    name = route_name(service, parameter, operation, value)
    parts = len(service.routes[name].placeholders)
    if parts < 2:
        return Target(route=name, id=checked_id(service, parameter, value))
    values = value.split("/") if isinstance(value, str) else [checked_id(service, parameter, value)]
    if len(values) != parts:
        shape = "/".join(service.routes[name].placeholders)
        raise RequestRejected(
            f"{service.title}: {parameter} must be {shape} here, or the status URL that the submission returned; it has "
            f"{len(values)} of {parts} parts.",
            service=service.name,
        )
    return Target(route=name, id="/".join(checked_id(service, parameter, one) for one in values))


def operation_name(service: ServiceDescription, operation: object) -> str:
    """Return our name of an operation; the vendor's pages may use another one."""
    name = str(operation).strip().lower()
    return service.operations.get(name, name)


def checked_id(service: ServiceDescription, parameter: str, value: object) -> str:
    """Return an id as text. Raises RequestRejected if it is invalid; the DAG's author must change it."""
    shown = ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        kind = type(value).__name__
        shown = f"<{kind}>"  # not its text, which may be a document's
        several = f"Pass several as a list, or map: .expand({parameter}=[...])"
        is_several = isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray))
        remedy = f"is a {kind}; it must be the id as text. {several if is_several else _NATIVE}"
    else:
        text = str(value)
        if not text.strip():
            remedy = "is empty; did the submitting task return the id?"
        elif text.strip() in ("None", "null", "nan", "undefined"):
            remedy = "was rendered from an empty value; pass the upstream task's .output, and let it return the id"
        elif text.lstrip()[:1] in "[{(":
            remedy = f"is a list printed as text; pass the upstream task's .output, or map: .expand({parameter}=...)"
        elif text in (".", "..") or _NOT_IN_AN_ID.search(text) or not text.isprintable():
            remedy = "has characters that no id has; give the bare id, not a path or URL"
        elif len(text) > LONGEST_ID:
            remedy = f"is longer than {LONGEST_ID} characters; give the bare id"
        else:
            return text
    shown = shown or (one_line(repr(value)) or "")[:_SHOWN_OF_A_BAD_ID]  # one_line cuts, say, a download link's signature
    raise RequestRejected(f"{service.title}: {parameter}={shown} {remedy}.", service=service.name)


def _target_of_url(service: ServiceDescription, parameter: str, url: str, operation: str | None) -> Target:
    """
    Return the target that a vendor's status URL names. Only its ids are used: the request goes to the connection's host.

    :raises RequestRejected: the URL is on a host that the description does not list, or is none of the service's status URLs.
    """
    try:
        place = urlsplit(url)
        host = (place.hostname or "").rstrip(".")
    except ValueError:
        place, host = urlsplit(""), ""
    about = f"{service.title}: {parameter}= is a URL"
    if not any(fnmatchcase(host, pattern) for pattern in service.status_hosts):
        known = f"are on {', '.join(service.status_hosts)}" if service.status_hosts else "are not known; give the bare id"
        raise RequestRejected(
            f"{about} on {one_line(host)!r}, but the status URLs of this connection {known}.", service=service.name
        )
    names = [route_name(service, parameter, operation)] if operation else list(service.routes)
    routes = {name: service.routes[name] for name in names if service.routes[name].parameter == parameter}
    found = {name: match for name, route in routes.items() if (match := _match(route, place.path)) is not None}
    if found:
        name = min(found, key=lambda one: found[one].start())  # the longest, since one path may end like another
        return Target(route=name, id="/".join(checked_id(service, parameter, unquote(part)) for part in found[name].groups()))
    paths = ", ".join(route.path for route in routes.values())
    raise RequestRejected(f"{about} that is no status URL of {service.title}; those end in {paths}.", service=service.name)


def _match(route: Route, path: str) -> re.Match[str] | None:
    """Find a route's path at the end of a URL's path; the groups are what stands in the placeholders."""
    pattern = re.escape(route.path)
    for one in route.placeholders:
        pattern = pattern.replace(re.escape("{" + one + "}"), "([^/]+)", 1)
    return re.search(pattern + "/?$", path)


def parent_of(service: ServiceDescription, status: DocumentStatus, route_name: str) -> Target | None:
    """Return the parent of a status, such as a document's request, or None. Its children can be polled through it."""
    parent = service.routes[route_name].parent
    parent_id = status.details.get(parent[1]) if parent else None
    if parent is None or not isinstance(parent_id, str):
        return None
    try:
        return Target(route=parent[0], id=checked_id(service, parent[1], parent_id))
    except RequestRejected:  # the vendor's text is no more to be trusted than the user's
        return None


def route_name(service: ServiceDescription, parameter: str, operation: str | None, value: object = None) -> str:
    """
    Return the name of the route for an id.

    :param value: the id, whose beginning may name the route.
    :raises RequestRejected: the operation is unknown, or is needed and missing (the DAG's author).
    """
    if not service.has_operations:
        if operation:
            raise RequestRejected(f"{service.title} has no operations; leave operation={operation!r} out.", service=service.name)
        return next(name for name, route in service.routes.items() if route.parameter == parameter)
    choices = ", ".join(service.routes)
    if not operation and isinstance(value, str):
        known = [name for name, route in service.routes.items() if value.startswith(route.id_prefixes)]
        operation = known[0] if len(known) == 1 else None
    if not operation:
        raise RequestRejected(
            f"{service.title} keeps jobs on several routes: say operation= (one of {choices}), or set 'operation' in "
            "the connection's extra. A wrong route answers 404 like an unknown id.",
            service=service.name,
        )
    name = operation_name(service, operation)
    if name not in service.routes:
        raise RequestRejected(f"{service.title} has no operation {operation!r}; use one of {choices}.", service=service.name)
    return name
