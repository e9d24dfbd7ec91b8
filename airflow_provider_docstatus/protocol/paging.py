"""The flow that reads a list of jobs page by page, in the vendors' styles of paging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_docstatus.exceptions import RequestRejected, UnexpectedReply
from airflow_provider_docstatus.protocol.description import ListRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.messages import Flow, Request, Response
from airflow_provider_docstatus.protocol.responses import NO_ROUTE_CODES, read_object
from airflow_provider_docstatus.protocol.statuses import read_children
from airflow_provider_docstatus.protocol.values import count, get_path
from airflow_provider_docstatus.status import DocumentStatus

Query = Mapping[str, str | tuple[str, ...]]
#: Empty pages in a row that are followed.
MOST_EMPTY = 10


def list_statuses(
    service: ServiceDescription,
    listing: ListRoute,
    route: Route,
    query: Query,
    *,
    limit: int | None = None,
    offset: int = 0,
) -> Flow[dict[str, DocumentStatus]]:
    """
    Return the statuses in a list by id, in the vendor's order: page by page, until the reply says that there are no more.

    :param route: the status route whose ids are listed.
    :param query: query parameters besides the list's own and those of its pages.
    :param limit: stop at so many; None for all.
    :param offset: skip so many, where the pages are counted by items.
    :raises RequestRejected: this deployment has no such route.
    """
    found: dict[str, DocumentStatus] = {}
    is_led = listing.paging in ("token", "link")  # the reply before leads to the next page
    has_pages = is_led or (bool(listing.paging) and listing.page_size is not None)
    most, number, idle = listing.page_size or 0, listing.first, 0
    turn: Query = {}
    while limit is None or len(found) < limit:
        before = len(found)
        size = most if limit is None or listing.paging != "offset" else min(most, limit - before)
        paging = {listing.size: str(size)} if listing.size and size else {}
        if listing.paging in ("offset", "page") and has_pages:
            paging[listing.at] = str(offset if listing.paging == "offset" else number)
        response = yield Request(
            path=listing.path,
            route=listing.path,
            query={**listing.query, **query, **paging, **turn},
            key_optional=listing.key_optional or service.key_optional,
            missing_route_codes=NO_ROUTE_CODES,
            host=route.host,
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
        read, _ = yield from read_children(service, page, listing.item or route)
        for status in read:
            found.setdefault(status.id, status)
        offset, number = offset + len(page), number + 1
        # A deployment that ignores the offset would send pages for ever, so a page without a new id is the last one. Where the
        # reply leads to the next page, it may be empty since a filter took all of its jobs.
        idle = idle + 1 if len(found) == before else 0
        if not has_pages or idle > (MOST_EMPTY if is_led and not page else 0):
            break
        last, turn = turn, _next_turn(listing, body)
        if (not turn or turn == last) if is_led else not _has_more(listing, body, offset, is_full=len(page) >= size):
            break
    return dict(list(found.items())[:limit])


def list_in(service: ServiceDescription, response: Response, body: Mapping[str, Any], path: str) -> list[Any]:
    """Return the list at a dotted path of a body. Raises UnexpectedReply if there is none."""
    items = get_path(body, path)
    if not isinstance(items, list):
        label = response.request.label
        raise UnexpectedReply(f"{service.title}: {label} answered without a list '{path}'.", service=service.name)
    return items


def _next_turn(listing: ListRoute, body: Mapping[str, Any]) -> Query:
    """Return the query parameters of the next page that a reply names; of a link only its query, since the key stays here."""
    value = get_path(body, listing.next) if listing.next else None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        return {}
    if listing.paging == "token":
        return {listing.at: value}
    try:
        found = parse_qs(urlsplit(value).query, keep_blank_values=True)
    except ValueError:
        return {}
    return {name: values[0] if len(values) == 1 else tuple(values) for name, values in found.items()}


def _has_more(listing: ListRoute, body: Mapping[str, Any], offset: int, *, is_full: bool) -> bool:
    """Whether a list may go on at ``offset``. The documented flag decides; without it, a full page or another sign of more."""
    flag = get_path(body, listing.next or "pagination.has_more")
    if isinstance(flag, bool):
        return flag
    places = [body, *(part for name in ("pagination", "meta") if isinstance(part := body.get(name), Mapping))]
    more = any(
        place.get("has_more") is True or place.get("next") or (count(place.get("total")) or 0) > offset for place in places
    )
    return is_full or more
