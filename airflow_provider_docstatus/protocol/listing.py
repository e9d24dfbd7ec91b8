"""The flow that lists the jobs of an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.description import ListRoute, ServiceDescription
from airflow_provider_docstatus.protocol.flows import list_in
from airflow_provider_docstatus.protocol.messages import Flow, Request
from airflow_provider_docstatus.protocol.responses import NO_ROUTE_CODES, read_object
from airflow_provider_docstatus.protocol.statuses import read_children
from airflow_provider_docstatus.protocol.values import count, get_path, one_line
from airflow_provider_docstatus.status import DocumentStatus


def list_jobs(
    service: ServiceDescription, *, filters: Mapping[str, str], limit: int | None, offset: int
) -> Flow[list[DocumentStatus]]:
    """
    List the jobs of the account, page by page, until the reply says that there are no more, or a page is not full.

    :raises RequestRejected: the service or this deployment cannot list, or not by that filter, or ``limit`` or ``offset`` is no
        number of jobs (the DAG's author).
    """
    listing = _checked_listing(service, filters, limit, offset)
    found: dict[str, DocumentStatus] = {}
    most = listing.page_size or 0
    while limit is None or len(found) < limit:
        before, paging = len(found), {}
        size = most if limit is None else min(most, limit - before)
        if listing.page_size is not None:
            paging = {"limit": str(size), "offset": str(offset)}
        response = yield Request(
            path=listing.path,
            route=listing.path,
            query={**filters, **paging},
            key_optional=listing.key_optional,
            missing_route_codes=NO_ROUTE_CODES,
        )
        if response.code in NO_ROUTE_CODES:
            raise RequestRejected(
                f"{service.title} cannot list jobs here: {response.request.label} answered {response.code}, this deployment has "
                "no such route. Ask by id.",
                service=service.name,
                code=response.code,
            )
        body = read_object(service, response)
        page = list_in(service, response, body, listing.items)
        read, _ = yield from read_children(service, page, listing.item)
        for status in read:
            found.setdefault(status.id, status)
        offset += len(page)
        # A deployment that ignores the offset would send pages for ever, so a page without a new id is the last one.
        if listing.page_size is None or len(found) == before or not _has_more(body, offset, is_full=len(page) >= size):
            break
    return list(found.values())[:limit]


def _checked_listing(service: ServiceDescription, filters: Mapping[str, str], limit: int | None, offset: int) -> ListRoute:
    """Return the service's list route. Raises RequestRejected if it cannot list so; the DAG's author must change it."""
    for name, value in {"offset": offset, "limit": 0 if limit is None else limit}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            remedy = "must be a whole number (int) from 0 on" + (", or None for all jobs" if name == "limit" else "")
            raise RequestRejected(f"{name} {remedy}; not {one_line(repr(value))}.", service=service.name)
    listing = service.listing
    if listing is None:
        raise RequestRejected(f"{service.title} documents no route that lists jobs; ask by id.", service=service.name)
    unknown = sorted(set(filters) - set(listing.filters))
    if unknown:
        known = f"it knows {', '.join(listing.filters)}" if listing.filters else "it has no filters"
        raise RequestRejected(f"{service.title} cannot list by {', '.join(unknown)}; {known}.", service=service.name)
    no_text = sorted(name for name, value in filters.items() if not isinstance(value, str))
    if no_text:  # the query would leave a None out, and list everything
        raise RequestRejected(f"{', '.join(no_text)} must be text (str), as {service.title} documents it.", service=service.name)
    if listing.page_size is None and offset:
        raise RequestRejected(f"{service.title}'s list has no pages; leave offset out.", service=service.name)
    return listing


def _has_more(body: Mapping[str, Any], offset: int, *, is_full: bool) -> bool:
    """Whether a list may go on at ``offset``. The documented flag decides; without it, a full page or another sign of more."""
    flag = get_path(body, "pagination.has_more")
    if isinstance(flag, bool):
        return flag
    places = [body, *(part for name in ("pagination", "meta") if isinstance(part := body.get(name), Mapping))]
    more = any(
        place.get("has_more") is True or place.get("next") or (count(place.get("total")) or 0) > offset for place in places
    )
    return is_full or more
