"""Take the extracted data, or the signed link in its place, out of the body of a result, also of one that was saved."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_docstatus.exceptions import NoData
from airflow_provider_docstatus.protocol.confidence import confidences_of
from airflow_provider_docstatus.protocol.description import Route, ServiceDescription
from airflow_provider_docstatus.protocol.exact import DoubleKeys
from airflow_provider_docstatus.protocol.storable import not_storable, read_data, shown_path
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.protocol.values import get_path, is_empty, named
from airflow_provider_docstatus.status import DocumentStatus


@dataclass(frozen=True)
class Saved:
    """
    Stands for data that was written to a sink as it came.

    :param media_type: its type, as the vendor names it; empty if it names none.
    :param is_whole: whether the whole reply is the data; else the data stands in it.
    """

    media_type: str
    is_whole: bool = False


def link_in(route: Route, body: Mapping[str, Any]) -> str | None:
    """Return the signed link that stands in place of the data in the body of a route's result, None if there is none."""
    result = route.result
    for path in result.link if result is not None else ():
        flag, text = result.link_if.get(path, ("", "")) if result is not None else ("", "")
        is_link = not flag or (said := get_path(body, flag)) == text or (said is True and text == "true")
        if is_link and isinstance(link := get_path(body, path), str) and link:
            return link
    return None


def data_in(service: ServiceDescription, route: Route, status: DocumentStatus, body: Mapping[str, Any], label: str) -> Any:
    """
    Return the data in the body of a route's result.

    :raises NoData: there is none.
    :raises ResultNotStorable: a key that leads to it stands twice in the body, so it is not known which of two is the data.
    """
    take = route.result.take if route.result is not None else ""
    choice, data = next(((one, found) for one in take.split("|") if (found := _taken(body, one)) is not None), ("", None))
    if (path := _doubled_on_the_way(body, choice)) is not None:
        raise not_storable(f"a key that stands twice at {shown_path(path)} of the reply", id=status.id, service=service.name)
    if is_empty(data):
        raise no_data(service, status, f"{label} holds no {take or 'data'}")
    return data


def no_data(service: ServiceDescription, status: DocumentStatus, reason: str, kind: type[NoData] = NoData) -> NoData:
    """Return the error for a finished document without data."""
    who = named(f"{status.kind} {status.id}", status.file_name)
    return kind(
        f"{service.title} says {who} is {status.word!r}, but gives no data: {reason}. Look at the "
        "document in the vendor's own tools.",
        service=service.name,
        id=status.id,
        state=status.state,
        link=status.link,
    )


def _taken(body: Mapping[str, Any], take: str) -> Any:
    if not take:
        return body if isinstance(body, DoubleKeys) else dict(body)
    names = take.split()
    if len(names) == 1:
        return get_path(body, take)
    found = {name: body[name] for name in names if body.get(name) is not None}
    return found if names[0] in found else None


def _doubled_on_the_way(body: Any, take: str) -> list[str] | None:
    """Return the path of a key that stands twice in its object and leads to the data; None if there is none."""
    for path in take.split():
        names, part = path.split("."), body
        for length, name in enumerate(names, 1):
            if isinstance(part, DoubleKeys) and name in part.doubled:
                return names[:length]
            part = part.get(name) if isinstance(part, dict) else None
    return None


def whole_body(service: ServiceDescription, target: Target, body: bytes, media_type: str, *, may_be_json: bool) -> Any:
    """Return a whole body as data: text in UTF-8 as text, JSON as JSON if ``may_be_json``, anything else as bytes."""
    data: Any = body
    if media_type.startswith("text/"):
        with suppress(UnicodeDecodeError):
            data = body.decode()
    if may_be_json:
        with suppress(ValueError):
            value = read_data(body, id=target.id, service=service.name)
            data = value if isinstance(value, (dict, list)) or "json" in media_type else data
    return data


def read_saved(
    service: ServiceDescription, target: Target, status: DocumentStatus, saved: Saved, body: bytes
) -> tuple[DocumentStatus, Any]:
    """
    Return status and data of a single id whose reply (``body``) was written to a sink, as they are returned without one.

    :raises DocStatusError: there is no data in it, or nothing can hold it, see :func:`.storable.read_data`.
    """
    if saved.is_whole:
        return status, whole_body(service, target, body, saved.media_type, may_be_json=True)
    reply, route = read_data(body, id=target.id, service=service.name), service.routes[target.route]
    if service.read_item is None:
        told = replace(status, confidences=confidences_of(route.confidence, "reply", reply))
        return told, data_in(service, route, status, reply, "the reply")
    data, error = next((service.read_item(item) for item in reply["results"]), (None, None))
    if data is None:
        raise no_data(service, status, error or "the reply holds no content for it")
    return status, data
