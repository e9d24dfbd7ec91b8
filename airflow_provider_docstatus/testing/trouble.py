"""What goes wrong on demand: answers no vendor should give, and limits that run out."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

CHUNK = b"x" * 65_536
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass
class Fault:
    """What to answer instead of the truth; ``times`` counts down.

    :param status: the HTTP code; None leaves the answer to the vendor (with ``delay``: a slow but true
        answer).
    :param body: text or bytes as they stand, anything else as JSON.
    :param headers: headers of the answer.
    :param content_type: the type to claim; by default JSON, or plain text for a text body.
    :param times: how many requests; ``math.inf`` until ``answer_truly``.
    :param path: a regular expression searched in the path; None for every path.
    :param delay: seconds to wait first.
    :param cut_off: promise the whole body, send half of it and hang up.
    :param reset: reset the connection without an answer.
    :param megabytes: stream a JSON body of this size without holding it in memory.
    :param redirect_to: answer 302 (or the redirect given as ``status``) to this place.
    """

    status: int | None = 503
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None
    times: float = 1
    path: str | None = None
    delay: float = 0.0
    cut_off: bool = False
    reset: bool = False
    megabytes: int = 0
    redirect_to: str | None = None

    def concerns(self, request: web.Request) -> bool:
        """Tell whether this request is to be answered by the fault."""
        return self.times > 0 and (self.path is None or re.search(self.path, request.path) is not None)

    async def answer(self, request: web.Request) -> web.StreamResponse | None:
        """Answer the request, or return None to let the vendor do so."""
        self.times -= 1
        await asyncio.sleep(self.delay)
        if self.reset:
            return _reset(request)
        if self.redirect_to:
            status = self.status if self.status in REDIRECTS else 302
            return web.Response(status=status, headers={**self.headers, "Location": self.redirect_to})
        if self.megabytes:
            return await self._stream(request)
        if self.cut_off:
            return await self._cut_off(request)
        if self.status is None:
            return None
        return web.Response(status=self.status, body=self._bytes(), headers=self._headers())

    def _bytes(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()

    def _headers(self) -> dict[str, str]:
        guessed = "text/plain" if isinstance(self.body, (str, bytes)) else "application/json"
        return {"Content-Type": self.content_type or guessed, **self.headers}

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status or 200, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"padding": "')
        for _ in range(self.megabytes * 16):
            await response.write(CHUNK)
        await response.write(b'"}')
        return response

    async def _cut_off(self, request: web.Request) -> web.StreamResponse:
        body = self._bytes() or b'{"status": "completed", "job_id": "'
        response = web.StreamResponse(status=self.status or 200, headers=self._headers())
        response.content_length = 2 * len(body)
        await response.prepare(request)
        await response.write(body)
        if request.transport:
            request.transport.close()
        return response


def _reset(request: web.Request) -> web.Response:
    """Close the connection with a TCP reset: linger for no time."""
    if request.transport:
        opened = request.transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


@dataclass
class Limit:
    """A vendor's request limit over a sliding window.

    :param per_minute: how many requests a window allows; 0 refuses all.
    :param retry_after: the ``Retry-After`` header as it stands; ``auto`` the seconds until there is room;
        None none.
    :param reason: ``rate``; ``quota`` (used up, waiting does not help) or ``payment`` (402), both without
        ``Retry-After``.
    :param path: a regular expression searched in the path; None for every path of the vendor.
    :param window: the window's length in seconds; a shorter one makes a test faster.
    """

    per_minute: float
    retry_after: str | None = "auto"
    reason: Literal["rate", "quota", "payment"] = "rate"
    path: str | None = None
    window: float = 60.0
    used: deque[float] = field(default_factory=deque)
    refused: int = 0

    def allows(self, request: web.Request) -> bool:
        """Count the request and tell whether there was room for it; what is refused is not counted."""
        if self.path is not None and not re.search(self.path, request.path):
            return True
        now = time.monotonic()
        while self.used and self.used[0] <= now - self.window:
            self.used.popleft()
        if len(self.used) >= self.per_minute:
            self.refused += 1
            return False
        self.used.append(now)
        return True

    @property
    def seconds_until_room(self) -> int:
        """Whole seconds until the oldest counted request leaves the window."""
        left = self.used[0] + self.window - time.monotonic() if self.used else self.window
        return max(1, math.ceil(left))


@dataclass(frozen=True)
class Refusal:
    """Why the limiter refuses a request, as the vendor's file needs it to word the answer."""

    reason: str
    retry_after: str | None
    per_minute: float

    @classmethod
    def of(cls, limit: Limit) -> Refusal:
        """Return the refusal a limit makes now."""
        wait = str(limit.seconds_until_room) if limit.retry_after == "auto" else limit.retry_after
        return cls(limit.reason, wait if limit.reason == "rate" else None, limit.per_minute)
