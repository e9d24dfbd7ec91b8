"""Take the extracted data, or the signed link in its place, out of the body of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_docstatus.exceptions import NoData
from airflow_provider_docstatus.protocol.description import Route, ServiceDescription
from airflow_provider_docstatus.protocol.exact import DoubleKeys
from airflow_provider_docstatus.protocol.storable import not_storable, shown_path
from airflow_provider_docstatus.protocol.values import get_path, is_empty, named
from airflow_provider_docstatus.status import DocumentStatus


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
