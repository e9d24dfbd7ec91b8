"""The triggerer's HTTP client: aiohttp, one session, one rate limiter for all connections with the same key."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from yarl import URL

from airflow_provider_docstatus._compat import Stats
from airflow_provider_docstatus.protocol.flows import arun
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.responses import rate_limit_signal
from airflow_provider_docstatus.transport.connection import Endpoint
from airflow_provider_docstatus.transport.framing import ACCEPT_ENCODING, BadFraming, Body, Framing, by_name
from airflow_provider_docstatus.waiting.rate_limiter import RateLimiter

log = logging.getLogger(__name__)

#: Requests of one connection that may be under way at once; also its number of TCP connections.
MOST_AT_ONCE = 16
_PIECE = 64 * 1024

#: The rate limiters of this process, by account. They outlive the last wait, since the requests that were sent still count.
_limiters: dict[tuple[str, str], RateLimiter] = {}


@dataclass(kw_only=True, eq=False)
class Client:
    """
    The HTTP client of one endpoint: sessions, TLS, proxy and rate limiter.

    :param endpoint: the connection.
    :param proxies: the proxy (URL) to each of its hosts, by base URL; None for a direct way.
    :param read_at: when the connection was read (epoch seconds).
    :param clock: gives epoch seconds.
    """

    endpoint: Endpoint
    session: aiohttp.ClientSession
    tls: ssl.SSLContext | bool
    proxies: Mapping[str, str | None]
    timeout: aiohttp.ClientTimeout
    limiter: RateLimiter
    read_at: float
    clock: Callable[[], float]
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _fresh_session: aiohttp.ClientSession | None = None

    @classmethod
    async def open(cls, endpoint: Endpoint, before: Client | None, clock: Callable[[], float]) -> Client:
        """Return the client of an endpoint; it takes over the open sessions of the client ``before``."""
        now = clock()
        if before is not None and before.endpoint == endpoint:
            before.read_at = now
            return before
        tls: ssl.SSLContext | bool = True
        if any(host.startswith("https:") for host in endpoint.hosts):  # reading the CA file takes up to a tenth of a second
            loop = asyncio.get_running_loop()
            tls = await loop.run_in_executor(None, endpoint.tls_context, DEFAULT_CA_BUNDLE_PATH)
        # requests' own reading of HTTPS_PROXY and NO_PROXY, so that both clients go the same way
        proxies = {host: endpoint.proxy_through(select_proxy(host, get_environ_proxies(host))) for host in endpoint.hosts}
        return cls(
            endpoint=endpoint,
            session=_session() if before is None else before.session,
            tls=tls,
            proxies=proxies,
            timeout=aiohttp.ClientTimeout(total=endpoint.request_timeout),
            limiter=_limiter_of(endpoint, now),
            read_at=now,
            clock=clock,
            _fresh_session=None if before is None else before._fresh_session,  # noqa: SLF001 -- the same class
        )

    async def close(self) -> None:
        """Close the sessions."""
        for session in (self.session, self._fresh_session):
            if session is not None:
                await session.close()

    def describe(self, now: float) -> str:
        """Return the state of the rate limiter in a few words, for a log line."""
        return self.limiter.describe(now)

    async def send(
        self, request: Request, *, fresh_connection: bool = False, on_turn: Callable[[], None] = lambda: None
    ) -> Response:
        """
        Send a request when the rate limiter lets it through.

        :param fresh_connection: whether to open a new TCP connection, since a kept one may lead to the same replica again.
        :param on_turn: called when the request is let through.
        :raises ServiceUnavailable: the service could not be reached or stopped answering.
        :raises UnexpectedReply: the bytes are no valid HTTP reply.
        :raises RequestRejected: the connection has no key and the route needs one.
        """
        endpoint, limit = self.endpoint, self.endpoint.max_reply_bytes
        headers = endpoint.headers(request)
        await self._turn()
        on_turn()
        Stats.incr(f"docstatus.{endpoint.service.name}.polls")
        try:
            async with self._session_for(fresh_connection=fresh_connection).request(
                request.method,
                URL(endpoint.url(request), encoded=True),
                headers=headers,
                json=request.json,
                allow_redirects=False,
                proxy=self.proxies[request.host or endpoint.base_url],
                ssl=self.tls,
                timeout=self.timeout,
            ) as reply:
                assert isinstance(reply, _Reply)  # the session makes no others  # noqa: S101
                replied = by_name(reply.framing.headers)
                body = await _body(reply, replied.get("content-encoding", ""), limit)
                in_slices = endpoint.response_in_slices(request, reply.status, replied, body, self.clock())
            response = await arun(in_slices, self.send, lambda: asyncio.sleep(0))
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, BadFraming) as error:
            raise endpoint.no_response(request, error) from None
        self._update_limits(response)
        return response

    def _session_for(self, *, fresh_connection: bool) -> aiohttp.ClientSession:
        if not fresh_connection:
            return self.session
        if self._fresh_session is None:
            self._fresh_session = _session(force_close=True)
        return self._fresh_session

    async def _turn(self) -> None:
        """Wait until the rate limiter lets this request through. Requests pass in the order in which they came."""
        now = self.clock()
        if not self._lock.locked() and self.limiter.opens_at(now) <= now:
            self.limiter.spend(now)
            return
        async with self._lock:
            now = self.clock()
            while (opens := self.limiter.opens_at(now)) > now:
                await asyncio.sleep(opens - now)
                now = self.clock()
            self.limiter.spend(now)

    def _update_limits(self, response: Response) -> None:
        service, now = self.endpoint.service, response.received_at
        if self.limiter.update(rate_limit_signal(service, response), now):
            Stats.incr(f"docstatus.{service.name}.throttles")
            pause = self.limiter.paused_until - now
            log.warning("%s answered %d: paused for %.0f s.", service.title, response.code, pause)


class _Protocol(ResponseHandler):
    """aiohttp's protocol; the bytes of a reply are checked before it parses them."""

    framing: Framing
    _is_tunnel = False

    def set_response_params(self, **options: Any) -> None:
        """Expect the reply to a request, or a proxy's reply to being told to connect."""
        self._is_tunnel = "max_line_size" not in options
        self.framing = Framing(has_body=not self._is_tunnel)
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        """Take bytes that have come. They are empty when aiohttp goes on with what it has."""
        if self._parser is None or not data:
            super().data_received(data)
            return
        try:
            plain = self.framing.feed(data)
        except BadFraming as error:
            self._refuse(aiohttp.ServerDisconnectedError() if self._is_tunnel else error)
            return
        if plain:
            super().data_received(plain)
        if self.framing.has_surplus and not self._is_tunnel and self.transport is not None:
            self.transport.close()

    def _refuse(self, error: Exception) -> None:
        """End the connection; who reads from it gets the error."""
        if self.transport is not None:
            self.transport.close()
        payload, self._parser, self._payload = self._payload, None, None
        self.set_exception(error)
        if payload is not None:
            payload.set_exception(error)


class _Connector(aiohttp.TCPConnector):
    """Opens connections whose replies are checked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory: Any = partial(_Protocol, loop=self._loop)  # aiohttp has no public way to choose the protocol


class _Reply(aiohttp.ClientResponse):
    """A reply that keeps its framing, and so its headers, when it leaves its connection."""

    framing: Framing

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Wait for the head."""
        self.framing = connection.protocol.framing
        return await super().start(connection)


async def _body(reply: aiohttp.ClientResponse, coding: str, limit: int) -> bytes:
    """Return a body, decoded; stop reading as soon as it is longer than the limit."""
    if not coding and (reply.content_length or limit + 1) <= limit:
        return await reply.read()
    body = Body(coding, limit)
    async for piece in reply.content.iter_chunked(_PIECE):
        for _ in body.add(piece):
            await asyncio.sleep(0)
        if body.is_too_large:
            reply.close()
            break
    return body.content(reply.status)


def _session(*, force_close: bool = False) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=_Connector(limit=MOST_AT_ONCE, force_close=force_close),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=ACCEPT_ENCODING,
        response_class=_Reply,
    )


def _limiter_of(endpoint: Endpoint, now: float) -> RateLimiter:
    """Return the limiter of an endpoint's account. If connections with one key differ, the limit that was read last holds."""
    limits: dict[str, Any] = {
        "per_second": endpoint.calls_per_second,
        "per_minute": endpoint.calls_per_minute,
        "per_day": endpoint.calls_per_day,
        "share": endpoint.share,
    }
    limiter = _limiters.get(endpoint.account)
    if limiter is None:
        limiter = _limiters[endpoint.account] = RateLimiter(**limits, now=now)
    elif any(getattr(limiter, name) != value for name, value in limits.items()):
        limiter.change(**limits, now=now)
    return limiter
