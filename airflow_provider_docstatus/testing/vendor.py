"""What a vendor's file must offer, and the words of HTTP that two or more of the vendors share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from airflow_provider_docstatus.testing.jobs import Desk, Service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_docstatus.testing.trouble import Refusal

DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)


class Vendor(Protocol):
    """One vendor's file: these names at module level."""

    @property
    def NAME(self) -> Service:  # noqa: N802 (a module constant)
        """The vendor's name."""

    @property
    def WORDS(self) -> Mapping[str, Mapping[str, str]]:  # noqa: N802 (a module constant)
        """The vendor's status words, by kind of job and state."""

    @property
    def KEY_HEADERS(self) -> Sequence[str]:  # noqa: N802 (a module constant)
        """The headers in which the vendor looks for a key."""

    @property
    def ROUTES(self) -> Sequence[web.RouteDef]:  # noqa: N802 (a module constant)
        """The vendor's routes."""

    def key_is_right(self, request: web.Request, desk: Desk) -> bool:
        """Tell whether the request carries the vendor's key where the vendor looks for it."""

    def refuse(self, request: web.Request, desk: Desk) -> web.Response | None:
        """Return the answer to a request that gets no further: no such route, or a wrong key."""

    def over_limit(self, request: web.Request, refusal: Refusal) -> web.Response:
        """Return the vendor's answer to one request too many."""

    def headers(self, refusal: Refusal | None) -> Mapping[str, str]:
        """Return the headers the vendor adds to every answer."""


def detail(status: int, text: object, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error in FastAPI's envelope, which Neurolinker and most of Unsiloed use."""
    return web.json_response({"detail": text}, status=status, headers=headers)


def no_route() -> web.Response:
    """Return what FastAPI says when no route has this path."""
    return detail(404, "Not Found")


def missing_part(name: str) -> web.Response:
    """Return FastAPI's complaint about a form part that is not there."""
    return detail(*missing(name))


def missing(name: str) -> tuple[int, object]:
    """Return code and ``detail`` of FastAPI's complaint about a form part that is not there."""
    return 422, [{"type": "missing", "loc": ["body", name], "msg": "Field required", "input": None}]


def parsed_json(text: object) -> object:
    """Return the value a JSON text stands for, or None when it is no JSON."""
    try:
        return json.loads(str(text))
    except ValueError:
        return None


def link(request: web.Request, path: str) -> str:
    """Return a signed-looking link into the stand-in's own storage, which wants no key."""
    return f"{request.scheme}://{request.host}/storage/{path}?signature=stand-in"
