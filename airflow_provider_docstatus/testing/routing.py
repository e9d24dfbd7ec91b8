"""Which vendor a request is for: several may have the same path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple
from urllib.parse import unquote

from aiohttp import web

from airflow_provider_docstatus.testing.jobs import Desk
from airflow_provider_docstatus.testing.recordings import pattern
from airflow_provider_docstatus.testing.vendor import Vendor

#: How certain it is that a request with a vendor's key is for the vendor.
SURE = 2


class Asked(NamedTuple):
    """Whom a request is for, and the ids in its path."""

    vendor: Vendor
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ids: dict[str, str]


def whom(vendors: Iterable[Vendor], request: web.Request, desk: Desk) -> Asked | None:
    """Return whom the request is for: of vendors that share a path the one whose key it carries. None if nobody has the path."""
    found = []
    for vendor in vendors:
        for route in vendor.ROUTES:
            match = pattern(route.path).fullmatch(request.rel_url.raw_path)
            if match and route.method == request.method:
                found.append(Asked(vendor, route.handler, {name: unquote(text) for name, text in match.groupdict().items()}))
                break
    return max(found, key=lambda asked: certainty(asked.vendor, request, desk), default=None)


def certainty(vendor: Vendor, request: web.Request, desk: Desk) -> int:
    """Return how certain it is that the request is for this vendor: 2 with its key, 1 with its key's header, 0 with neither."""
    return vendor.key_is_right(request, desk) + any(header in request.headers for header in vendor.KEY_HEADERS)


def is_a_path(vendors: Iterable[Vendor], request: web.Request) -> bool:
    """Tell whether any vendor has the path, with whatever method."""
    return any(pattern(route.path).fullmatch(request.rel_url.raw_path) for vendor in vendors for route in vendor.ROUTES)
