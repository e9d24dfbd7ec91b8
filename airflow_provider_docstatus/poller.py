"""
The triggerer's way to a service: all waits of one connection on one event loop share one poller.

A trigger does not poll. It asks the poller of its loop to be told what the service says about its id, and is woken when
it has heard enough. The poller owns the HTTP session, the connection look-up and the schedule; an id that several waits
ask for is asked once.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
import math
import random
import ssl
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from yarl import URL

from airflow_provider_docstatus._compat import AirflowNotFoundException, get_connection_in_trigger
from airflow_provider_docstatus.description import Question, Talk, Target
from airflow_provider_docstatus.endpoint import Endpoint
from airflow_provider_docstatus.exceptions import DocStatusError, KeyRejected, RequestRejected, ServiceUnavailable
from airflow_provider_docstatus.reply import Answer
from airflow_provider_docstatus.status import DocumentStatus

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Requests of one connection that may be under way at once; also its number of TCP connections.
MOST_AT_ONCE = 16
#: Seconds an idle poller keeps its session and its connection look-up.
LINGER = 30.0
#: Seconds after reading a connection in which a rejected key is not a reason to read it again.
FRESH = 30.0
#: Each pause is up to so much shorter or longer, so that waits that start together drift apart.
JITTER = 0.1
_PIECE = 64 * 1024

Observation = DocumentStatus | DocStatusError

_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = weakref.WeakKeyDictionary()


def poller_for(conn_id: str) -> Poller:
    """Return the running loop's poller of a connection; the first wait makes it."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    if conn_id not in pollers:
        pollers[conn_id] = Poller(conn_id)
    return pollers[conn_id]


@dataclass(eq=False)
class _Listener:
    """One wait: what it does with an observation, in its own task's log context."""

    hear: Callable[[Observation, float], bool]
    interval: float
    deadline: float
    done: asyncio.Future[None]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def tell(self, observation: Observation, now: float) -> None:
        if self.done.done():
            return
        try:
            if self.context.run(self.hear, observation, now):
                self.done.set_result(None)
        except Exception as error:  # noqa: BLE001 -- the listener's fault ends the listener, with its traceback
            self.done.set_exception(error)


@dataclass(eq=False)
class _Asked:
    """One id that somebody waits for."""

    target: Target
    due: float = math.inf
    listeners: list[_Listener] = field(default_factory=list)

    def fail(self, error: Exception) -> None:
        for listener in self.listeners:
            if not listener.done.done():
                listener.done.set_exception(error)

    def next_due(self, now: float) -> float:
        """Return when to ask again: after the shortest interval, and once more at each deadline."""
        interval = min(listener.interval for listener in self.listeners)
        regular = now + interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 -- no secret
        coming = [listener.deadline for listener in self.listeners if listener.deadline > now]
        return min([regular, *coming])


class Poller:
    """
    Ask one service about all ids that somebody on this event loop waits for.

    :param conn_id: the connection.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self._asked: dict[Target, _Asked] = {}
        self._heap: list[tuple[float, int, _Asked]] = []
        self._number = itertools.count()
        self._news = asyncio.Event()
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._requests: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._line: _Line | None = None
        self._opening = asyncio.Lock()

    async def listen(
        self,
        target: Target,
        hear: Callable[[Observation, float], bool],
        *,
        first_at: float,
        interval: float,
        deadline: float,
    ) -> None:
        """
        Hand every observation about a target to ``hear`` until that returns True.

        :param hear: called with a status or an error and the time (epoch seconds); must not block.
        :param first_at: when to ask first (epoch seconds).
        :param interval: seconds between two questions.
        :param deadline: one question is asked at this time (epoch seconds), whatever the interval.
        """
        loop = asyncio.get_running_loop()
        listener = _Listener(hear=hear, interval=interval, deadline=deadline, done=loop.create_future())
        asked = self._asked.setdefault(target, _Asked(target=target))
        asked.listeners.append(listener)
        self._plan(asked, min(first_at, max(deadline, time.time())))
        if self._task is None:
            # An empty context: the poller is nobody's, its lines must not land in one task's log.
            self._task = contextvars.Context().run(loop.create_task, self._run())
        try:
            await listener.done
        finally:
            asked.listeners.remove(listener)
            if not asked.listeners and self._asked.get(target) is asked:
                del self._asked[target]

    # -- the schedule ------------------------------------------------------------------------------------------

    def _plan(self, asked: _Asked, due: float) -> None:
        """Ask at ``due`` unless it is planned earlier already."""
        if due < asked.due:
            asked.due = due
            heapq.heappush(self._heap, (due, next(self._number), asked))
            self._news.set()

    async def _run(self) -> None:
        try:
            while True:
                while self._heap and not self._is_planned(self._heap[0]):
                    heapq.heappop(self._heap)
                pause = self._heap[0][0] - time.time() if self._heap else LINGER
                if pause <= 0:
                    self._begin(heapq.heappop(self._heap)[2])
                elif not await self._has_news(pause) and not self._heap and not self._requests:
                    return
        except Exception as error:  # a bug: it must end the waits with its traceback, not hang them
            for asked in list(self._asked.values()):
                asked.fail(error)
            raise
        finally:
            self._task = None  # before the first await: whoever listens from now on starts anew
            line, self._line = self._line, None
            for request in self._requests:
                request.cancel()
            if line is not None:
                await line.session.close()

    def _begin(self, asked: _Asked) -> None:
        asked.due = math.inf
        request = asyncio.get_running_loop().create_task(self._ask(asked))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    def _is_planned(self, entry: tuple[float, int, _Asked]) -> bool:
        due, _, asked = entry
        return due == asked.due and bool(asked.listeners)

    async def _has_news(self, seconds: float) -> bool:
        """Wait until something is planned anew, at most so long; say whether it was."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    async def _ask(self, asked: _Asked) -> None:
        observation: Observation
        try:
            async with self._free:
                observation = await self._observe(asked.target)
        except DocStatusError as error:
            observation = error
        except Exception as error:  # noqa: BLE001 -- a bug, as in _run
            asked.fail(error)
            return
        now = time.time()
        for listener in list(asked.listeners):
            listener.tell(observation, now)
        if any(not listener.done.done() for listener in asked.listeners):
            self._plan(asked, asked.next_due(now))

    # -- the service -------------------------------------------------------------------------------------------

    async def _observe(self, target: Target) -> DocumentStatus:
        line = await self._dial()
        try:
            return await line.ask_status(target)
        except KeyRejected:
            # The key may have been changed meanwhile, or the service may have erred: it is believed the second time.
            line = await self._dial(instead_of=line)
            return await line.ask_status(target)

    async def _dial(self, instead_of: _Line | None = None) -> _Line:
        """Return the line to the service; read the connection anew if the line given has been in use for a while."""
        async with self._opening:
            line = self._line
            if line is None or (line is instead_of and time.time() > line.read_at + FRESH):
                endpoint = await _read_endpoint(self.conn_id)
                self._line = await _Line.open(endpoint, line.session if line else None)
            assert self._line is not None  # opened above, or open before  # noqa: S101
            return self._line

async def _read_endpoint(conn_id: str) -> Endpoint:
    try:
        conn, extra = await get_connection_in_trigger(conn_id)
    except AirflowNotFoundException as error:
        raise RequestRejected(
            f"Connection '{conn_id}' is not defined for the triggerer: environment variables and secrets backends must be set "
            "there as on the workers."
        ) from error
    return Endpoint.from_connection(conn, extra)


@dataclass(kw_only=True)
class _Line:
    """The way to one endpoint: session, TLS, proxy, and the path prefix it turned out to answer below."""

    endpoint: Endpoint
    session: aiohttp.ClientSession
    tls: ssl.SSLContext
    proxy: str | None
    prefix: str
    read_at: float

    @classmethod
    async def open(cls, endpoint: Endpoint, session: aiohttp.ClientSession | None) -> _Line:
        """Return the line to an endpoint, on the session that is open already if there is one."""
        tls = await asyncio.get_running_loop().run_in_executor(None, _tls_context, endpoint)
        return cls(
            endpoint=endpoint,
            session=session
            or aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MOST_AT_ONCE), cookie_jar=aiohttp.DummyCookieJar()
            ),
            tls=tls,
            # requests' own reading of HTTPS_PROXY and NO_PROXY, so that both paths go the same way
            proxy=endpoint.proxy or select_proxy(endpoint.base_url, get_environ_proxies(endpoint.base_url)),
            prefix=endpoint.prefix,
            read_at=time.time(),
        )

    async def ask_status(self, target: Target) -> DocumentStatus:
        return await self.talk(self.endpoint.service.ask_status(target, self.prefix))

    async def talk(self, talk: Talk[T]) -> T:
        """Drive a talk: send each of its questions, hand back the answers, return what it learned."""
        try:
            question = next(talk)
            while True:
                question = talk.send(await self._ask(question))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _ask(self, question: Question) -> Answer:
        """Send one question, and below the other prefix if the deployment shows that."""
        service = self.endpoint.service
        answer = await self._send(question)
        other = service.other_prefix(question, answer, self.prefix, self.endpoint.base_url)
        if other is None:
            return answer
        moved = question.below(other, instead_of=self.prefix)
        second = await self._send(moved)
        if service.other_prefix(moved, second, other, self.endpoint.base_url) is not None:
            return answer
        log.info("%s answers below %s here.", service.title, other)
        self.prefix = other
        return second

    async def _send(self, question: Question) -> Answer:
        endpoint, limit = self.endpoint, self.endpoint.max_reply_bytes
        try:
            async with self.session.request(
                question.method,
                URL(endpoint.url(question), encoded=True),
                headers=endpoint.headers(question),
                json=question.json,
                allow_redirects=False,
                proxy=self.proxy,
                ssl=self.tls,
                timeout=aiohttp.ClientTimeout(total=endpoint.request_timeout),
            ) as response:
                body = bytearray()
                async for piece in response.content.iter_chunked(_PIECE):
                    body += piece
                    if len(body) > limit:
                        response.close()
                        break
                return endpoint.answer(response.status, response.headers, bytes(body[: limit + 1]), time.time())
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise ServiceUnavailable(endpoint.no_answer(question, error), service=endpoint.service.name) from None


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=endpoint.trusted_ca or DEFAULT_CA_BUNDLE_PATH)
