"""The flow that lists the jobs of an account."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.description import ListRoute, ServiceDescription
from airflow_provider_docstatus.protocol.messages import Flow
from airflow_provider_docstatus.protocol.paging import list_statuses
from airflow_provider_docstatus.protocol.targets import operation_name
from airflow_provider_docstatus.protocol.values import one_line
from airflow_provider_docstatus.status import DocumentStatus


def list_jobs(
    service: ServiceDescription,
    *,
    filters: Mapping[str, str],
    limit: int | None,
    offset: int,
    operation: str | None = None,
) -> Flow[list[DocumentStatus]]:
    """
    List the jobs of the account, page by page, until the reply says that there are no more, or a page is not full.

    :param operation: the route whose jobs are listed; None for the first that has a list.
    :raises RequestRejected: the service or this deployment cannot list, or not by that filter, or ``limit`` or ``offset`` is no
        number of jobs (the DAG's author).
    """
    name, listing = _listing_of(service, operation)
    _check(service, listing, filters, limit, offset)
    found = yield from list_statuses(service, listing, service.routes[name], filters, limit=limit, offset=offset)
    return list(found.values())


def _listing_of(service: ServiceDescription, operation: str | None) -> tuple[str, ListRoute]:
    """Return a route's name and its list. Raises RequestRejected if there is none; the DAG's author must change it."""
    lists = {name: route.listing for name, route in service.routes.items() if route.listing is not None}
    if not lists:
        raise RequestRejected(f"{service.title} documents no route that lists jobs; ask by id.", service=service.name)
    name = next(iter(lists)) if operation is None else operation_name(service, operation)
    if name not in lists:
        raise RequestRejected(
            f"{service.title} cannot list {one_line(name)!r}; it lists {', '.join(lists)}.", service=service.name
        )
    return name, lists[name]


def _check(service: ServiceDescription, listing: ListRoute, filters: Mapping[str, str], limit: int | None, offset: int) -> None:
    """Raise RequestRejected if a list cannot be asked for so; the DAG's author must change it."""
    for name, value in {"offset": offset, "limit": 0 if limit is None else limit}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            remedy = "must be a whole number (int) from 0 on" + (", or None for all jobs" if name == "limit" else "")
            raise RequestRejected(f"{name} {remedy}; not {one_line(repr(value))}.", service=service.name)
    unknown = sorted(set(filters) - set(listing.filters))
    if unknown:
        known = f"it knows {', '.join(listing.filters)}" if listing.filters else "it has no filters"
        raise RequestRejected(f"{service.title} cannot list by {', '.join(unknown)}; {known}.", service=service.name)
    no_text = sorted(name for name, value in filters.items() if not isinstance(value, str))
    if no_text:  # the query would leave a None out, and list everything
        raise RequestRejected(f"{', '.join(no_text)} must be text (str), as {service.title} documents it.", service=service.name)
    if offset and (listing.page_size is None or listing.paging != "offset"):
        raise RequestRejected(f"{service.title}'s list cannot begin at an item; leave offset out.", service=service.name)
