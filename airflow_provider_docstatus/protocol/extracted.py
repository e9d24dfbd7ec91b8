"""Take the extracted data, or the signed link in its place, out of the body of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_docstatus.exceptions import NoData
from airflow_provider_docstatus.protocol.description import Route, ServiceDescription
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
    """Return the data in the body of a route's result. Raises NoData if there is none."""
    take = route.result.take if route.result is not None else ""
    data = next((found for choice in take.split("|") if (found := _taken(body, choice)) is not None), None)
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
        return dict(body)
    names = take.split()
    if len(names) == 1:
        return get_path(body, take)
    found = {name: body[name] for name in names if body.get(name) is not None}
    return found if names[0] in found else None
