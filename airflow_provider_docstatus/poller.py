"""
The triggerer's way to a service: all waits of one connection on one event loop share one poller.

A trigger does not poll. It asks the poller of its loop to be told what the service says about its id, and is woken when
it has heard enough. The poller owns the HTTP session, the connection look-up, the request budget and the schedule. An id
that several waits ask for is asked once; documents of one request are asked through it; so are jobs where the service
answers for several at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import itertools
import logging
import math
import random
import ssl
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from typing import Any, TypeVar

import aiohttp
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from yarl import URL

from airflow_provider_docstatus._compat import AirflowNotFoundException, Stats, get_connection_in_trigger
from airflow_provider_docstatus.budget import Budget
from airflow_provider_docstatus.description import Known, Question, Talk, Target
from airflow_provider_docstatus.endpoint import Endpoint
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    KeyRejected,
    NoSuchRoute,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.reply import Answer, count, wait_hint
from airflow_provider_docstatus.schedule import Rhythm
from airflow_provider_docstatus.status import DocumentStatus

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Requests of one connection that may be under way at once; also its number of TCP connections.
MOST_AT_ONCE = 16
#: Questions are due on a grid of so many seconds: those that fall together share the loop's turns.
GRID = 0.25
#: Seconds an idle poller keeps its session and its connection look-up.
LINGER = 30.0
#: Seconds after which a connection is read again, for what was edited in the UI, and a missing route is looked for again.
STALE = 600.0
#: Seconds between two searches for waits whose time is up.
DEADLINES_EVERY = 1.0
#: So many times longer between them, and this process has stood still: no time in which a question could be answered.
STANDSTILL = 10
#: Seconds for which a failed look-up of the connection answers all who ask.
FAILURE_HOLDS = 5.0
#: Seconds in which a connection that cannot be found may still appear: a secrets backend that is away looks the same.
MISSING_HOLDS = 60.0
#: Ids that wait for what is about to be told are looked at no more often than that, all together.
HELD_A_SECOND = 4000
#: Seconds for which ids wait for what one of them belongs to: by far the most answers come sooner, and one may hang.
LONGEST_LESSON = 3.0
#: Parents in a row that told of no other id, after which an id's parent is no longer asked at once.
MOST_BARREN = 3
#: Questions for several in a row that leave an id out, after which it is asked alone.
MOST_MISSED = 4
_PIECE = 64 * 1024

Observation = DocumentStatus | DocStatusError

_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Poller]] = weakref.WeakKeyDictionary()
#: The request budgets of this process by account; they outlive the last waiter.
_budgets: dict[tuple[str, str], Budget] = {}


def poller_for(conn_id: str, service: str) -> Poller:
    """Return the running loop's poller of a connection; the first wait makes it."""
    for loop in [loop for loop in _pollers if loop.is_closed()]:  # a poller knows its loop, which keeps both
        del _pollers[loop]
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    key = (conn_id, service)
    if key not in pollers:
        _spare_what_is_loaded()
        pollers[key] = Poller(conn_id, service)
    return pollers[key]


@cache
def _spare_what_is_loaded() -> None:
    """
    Take what is loaded by now out of garbage collection, once.

    That is 200,000 objects of Airflow, which stay: each full collection of them alone holds the loop for 0.1 s, and Airflow
    blames the triggers for that.
    """
    gc.freeze()


@dataclass(eq=False, kw_only=True)
class Listener(ABC):
    """
    Somebody who waits to hear about one or several targets, in its own task's log context.

    :param rhythm: how often to ask.
    :param first_at: when to ask first (epoch seconds).
    :param started_at: when the wait began (epoch seconds).
    :param deadline: one question about each target is asked at this time (epoch seconds), whatever the rhythm.
    :param overtime: seconds after the deadline at which the wait ends although that question is not answered.
    :param calls: how many questions have told this wait something.
    """

    rhythm: Rhythm
    first_at: float
    started_at: float
    deadline: float
    overtime: float = math.inf
    calls: int = 0
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @abstractmethod
    def hear(self, target: Target, observation: Observation, now: float) -> bool:
        """
        Take in what is said about a target; return whether that is enough about it. It must not block.

        :param now: epoch seconds.
        """

    @property
    @abstractmethod
    def is_enough(self) -> bool:
        """Whether it has heard enough of all, which can change when it has heard enough about one target."""

    def stop(self) -> None:
        """End without having heard enough."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """End with a bug's traceback."""
        if not self.done.done():
            self.done.set_exception(error)

    def tell(self, target: Target, observation: Observation, now: float) -> bool:
        """Pass an observation on; return whether this target is done with."""
        if self.done.done():
            return True
        try:
            is_over = self.context.run(self.hear, target, observation, now)
            if is_over and self.is_enough:
                self.done.set_result(None)
        except Exception as error:  # noqa: BLE001 -- the listener's fault ends the listener, with its traceback
            self.fail(error)
        return self.done.done() or is_over

    def next_due(self, now: float, turn: int) -> float:
        """Return when to ask again."""
        dice = random.random()  # noqa: S311 -- no secret
        due = self.rhythm.next_at(now=now, started_at=self.started_at, deadline=self.deadline, turn=turn, dice=dice)
        return due - due % GRID if due != self.deadline and due - now > 4 * GRID else due


@dataclass(eq=False)
class _Asked:
    """One id that somebody waits for, and the request that it can be asked through."""

    target: Target
    parent: Target | None = None
    missed: int = 0
    due: float = math.inf
    turn: int = 1
    listeners: dict[Listener, int] = field(default_factory=dict)
    group: Sequence[_Asked] = ()
    request: asyncio.Task[Any] | None = None

    @property
    def is_alone(self) -> bool:
        """Whether it must be asked by itself the next time."""
        return self.missed >= MOST_MISSED

    def is_late(self, now: float) -> bool:
        """Whether the time of one of its listeners is up."""
        return any(now >= listener.deadline for listener in self.listeners)

    def next_due(self, now: float) -> float:
        """Return when the first of the listeners wants to hear again."""
        return min([listener.next_due(now, self.turn - joined) for listener, joined in self.listeners.items()])

    @property
    def family(self) -> Target | str:
        """What the ids have in common that one question can answer for."""
        return self.parent or self.target.route


@contextmanager
def _cancellable(group: list[_Asked]) -> Iterator[None]:
    """Let the question be given up when nobody waits for any of these; a connection look-up must not be broken off."""
    for member in group:
        member.group, member.request = group, asyncio.current_task()
    try:
        yield
    finally:
        for member in group:
            member.group, member.request = (), None


class Poller:
    """
    Ask one service about all ids that somebody on this event loop waits for.

    :param conn_id: the connection.
    :param service: the service it must be of.
    """

    def __init__(self, conn_id: str, service: str) -> None:
        self.conn_id = conn_id
        self.service = service
        self._asked: dict[Target, _Asked] = {}
        self._families: dict[Target | str, dict[Target, _Asked]] = {}
        self._heap: list[tuple[float, int, _Asked]] = []
        self._last: list[tuple[float, int, _Asked]] = []
        self._number = itertools.count()
        self._news = asyncio.Event()
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._requests: set[asyncio.Task[None]] = set()
        self._parents_asked: set[Target] = set()
        self._task: asyncio.Task[None] | None = None
        self._minding: asyncio.TimerHandle | None = None
        self._minded_at = 0.0
        self._line: _Line | None = None
        self._opening = asyncio.Lock()
        self._apart_until = 0.0
        self._prefix: str | None = None
        self._no_line: tuple[float, Exception] | None = None
        self._missing_since: float | None = None
        self._learning = asyncio.Lock()
        self._barren = 0
        self._has_warned = False

    async def listen(
        self, listener: Listener, route: str, ids: Collection[str], *, parent: Target | None = None, prefix: str | None = None
    ) -> None:
        """
        Ask about ids of one route until the wait has heard enough.

        :param parent: what they belong to if that is known: one question about it answers for all that belong to it.
        :param prefix: the path prefix that a worker found, None if it found the usual one.
        """
        self._prefix = prefix if prefix is not None else self._prefix
        first_at = min(listener.first_at, max(listener.deadline, time.time()))
        for one in ids:
            asked = self._join(Target(route, one), parent)
            asked.listeners[listener] = asked.turn - 1
            self._plan(asked, first_at)
        if self._task is None:
            # An empty context: the poller is nobody's, its lines must not land in one task's log.
            self._task = contextvars.Context().run(asyncio.get_running_loop().create_task, self._run())
        self._count()
        began = time.time()
        try:
            await listener.done
        finally:
            Stats.timing(f"docstatus.{self.service}.wait", timedelta(seconds=time.time() - began))
            for one in ids:
                if (joined := self._asked.get(Target(route, one))) is not None:
                    self._leave(joined, listener)
            self._count()

    def _count(self) -> None:
        """Tell Airflow's metrics how many ids of this service are waited for on this loop."""
        pollers = _pollers.get(asyncio.get_running_loop(), {}).values()
        number = sum(poller.open_ids for poller in pollers if poller.service == self.service)
        Stats.gauge(f"docstatus.{self.service}.open_waits", number)

    @property
    def open_ids(self) -> int:
        """How many ids are waited for."""
        return len(self._asked)

    def describe(self, now: float) -> str:
        """Return the state of the schedule and the budget in a few words, for a log line."""
        seconds = self._slow_round(now)
        about = f", each is asked about every {seconds:.0f} s at best" if seconds else ""
        return f"{len(self._asked)} ids share {self._line.describe(now) if self._line else 'no session yet'}{about}"

    def _slow_round(self, now: float) -> float | None:
        """Return the seconds in which the budget allows to ask about every id once, if they exceed the service's interval."""
        pace = self._line.budget.per_minute_now(now) if self._line else None
        if self._line is None or pace is None:
            return None
        questions = 0
        for family, members in self._families.items():
            some = next(iter(members.values()))
            at_once = 1 + self._most_together(some) if self._can_ask_together(some) else 1
            questions += 1 if isinstance(family, Target) else math.ceil(len(members) / at_once)
        seconds = questions / pace * 60
        return seconds if seconds > self._line.endpoint.service.poll_interval else None

    def _warn_when_late(self, seconds: float) -> None:
        """Say once what the budget makes of the interval, if it is the budget that makes questions late."""
        line, now = self._line, time.time()
        if self._has_warned or line is None or seconds < line.endpoint.service.poll_interval:
            return
        if self._slow_round(now) is not None:
            self._has_warned = True
            log.warning(
                "Connection %s: %s. A longer poke_interval or a larger limit would help.", self.conn_id, self.describe(now)
            )

    # -- the schedule ------------------------------------------------------------------------------------------

    def _join(self, target: Target, parent: Target | None) -> _Asked:
        asked = self._asked.get(target)
        if asked is None:
            asked = self._asked[target] = _Asked(target=target, parent=parent)
            self._families.setdefault(asked.family, {})[target] = asked
        return asked

    def _leave(self, asked: _Asked, listener: Listener) -> None:
        asked.listeners.pop(listener, None)
        if not asked.listeners and self._asked.pop(asked.target, None) is not None:
            if self._line is not None:
                self._line.known.pop(asked.target, None)
            self._leave_family(asked)
            request = asked.request
            if request is not None and not any(member.listeners for member in asked.group):
                request.cancel()  # nobody waits for its answer any more

    def _leave_family(self, asked: _Asked) -> None:
        family = self._families[asked.family]
        del family[asked.target]
        if not family:
            del self._families[asked.family]

    def _adopt(self, asked: _Asked, parent: Target) -> None:
        """Note what a target belongs to, as soon as a reply tells it."""
        if asked.parent is None and not asked.is_alone and self._asked.get(asked.target) is asked:
            self._leave_family(asked)
            asked.parent = parent
            self._families.setdefault(asked.family, {})[asked.target] = asked

    def _plan(self, asked: _Asked, due: float) -> None:
        """Ask at ``due`` unless it is planned earlier already."""
        if due < asked.due:
            asked.due = due
            heapq.heappush(self._last if asked.is_late(due) else self._heap, (due, next(self._number), asked))
            self._news.set()

    def _mind_deadlines(self) -> None:
        """Let what is still queued at a wait's deadline go first, end the waits that are long over it, and look again soon."""
        now, before = time.time(), self._minded_at
        if now < before:
            self._set_back(before - now)
        self._minded_at = now
        if before and now > before + STANDSTILL * DEADLINES_EVERY:
            for listener in {listener for asked in self._asked.values() for listener in asked.listeners}:
                listener.overtime += max(0.0, now - max(listener.deadline, before))
        for asked in self._asked.values():
            for listener in asked.listeners:
                if asked.due < listener.deadline <= now:
                    asked.due = math.inf
                    self._plan(asked, listener.deadline)
                if now >= listener.deadline + listener.overtime:
                    listener.stop()
        self._minding = asyncio.get_running_loop().call_later(DEADLINES_EVERY, self._mind_deadlines)

    def _set_back(self, seconds: float) -> None:
        """Keep the questions as far ahead as they were when the machine's clock is set back."""
        for asked in self._asked.values():
            asked.due -= seconds
        for heap in (self._last, self._heap):
            heap[:] = [(due - seconds, number, asked) for due, number, asked in heap]
        self._no_line, self._apart_until = None, 0.0
        if self._line is not None:
            self._line.read_at -= seconds
        self._news.set()

    async def _run(self) -> None:
        self._mind_deadlines()
        try:
            while True:
                await self._free.acquire()
                request = None
                try:
                    asked = await self._next_due()
                    if asked is None:
                        return
                    group = self._with_relatives(asked)
                    request = asyncio.get_running_loop().create_task(self._ask(group))
                finally:
                    if request is None:
                        self._free.release()
                self._requests.add(request)
                request.add_done_callback(self._finished)
                if asked.parent is not None and len(group) > 1:
                    self._parents_asked.add(asked.parent)
                    request.add_done_callback(partial(self._forget, asked.parent))
                if self._line is not None and self._line.budget.is_limited:
                    await asyncio.sleep(0)  # it takes its turn now, so that the next is chosen when there is one
        except Exception as error:  # a bug: it must end the waits with its traceback, not hang them
            self._fail(list(self._asked.values()), error)
            raise
        finally:
            self._task = self._missing_since = None  # before the first await: whoever listens from now on starts anew
            if self._minding is not None:
                self._minding.cancel()
            self._minded_at = 0.0
            line, self._line = self._line, None
            for request in self._requests:
                request.cancel()
            if line is not None:
                await line.session.close()

    async def _next_due(self) -> _Asked | None:
        """
        Wait for the next question that is due and that the budget allows; None when nobody has asked for anything for a while.

        The last question of a wait goes before the others: its time is up, and the others have more.
        """
        while True:
            now = time.time()
            planned = [heap for heap in (self._last, self._heap) if self._first_of(heap) < math.inf]
            ready = next((heap for heap in planned if heap[0][0] <= now), None)
            at = (
                self._line.budget.opens_at(now)
                if ready and self._line
                else min([heap[0][0] for heap in planned], default=now + LINGER)
            )
            if ready and at <= now:
                self._warn_when_late(now - ready[0][0])
                asked = heapq.heappop(ready)[2]
                if not self._is_about_to_be_told(asked, now):
                    return asked
                asked.due = math.inf
                self._plan(asked, now + GRID + len(self._asked) / HELD_A_SECOND)
                await asyncio.sleep(0)
                continue
            is_idle = not await self._has_news(at - now) and not planned and not self._requests
            if is_idle and not self._asked:  # somebody may have joined while the pause ended
                return None

    def _is_about_to_be_told(self, asked: _Asked, now: float) -> bool:
        """Whether a question that is under way may tell of this id as well, which joined after it was sent."""
        if asked.parent is None:
            return self._learning.locked() and not asked.is_late(now) and self._may_have_relatives(asked)
        return asked.parent in self._parents_asked and not asked.is_alone

    def _first_of(self, heap: list[tuple[float, int, _Asked]]) -> float:
        """Return when the first question of a heap is due that is still planned so."""
        while heap and (heap[0][0] != heap[0][2].due or not heap[0][2].listeners):
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    async def _has_news(self, seconds: float) -> bool:
        """Wait until something is planned anew, at most so long; say whether it was."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    def _forget(self, parent: Target, _request: asyncio.Task[None]) -> None:
        self._parents_asked.discard(parent)

    def _finished(self, request: asyncio.Task[None]) -> None:
        self._requests.discard(request)
        self._free.release()

    def _with_relatives(self, asked: _Asked) -> list[_Asked]:
        """Return what the question that is due now can answer as well, and take all of it off the schedule."""
        group = [asked]
        if not asked.is_alone and self._can_ask_together(asked):
            relatives = self._families[asked.family].values()
            others = [other for other in relatives if other is not asked and not other.is_alone and other.due < math.inf]
            if asked.parent is None:
                most = self._most_together(asked)
                others = heapq.nsmallest(most, others, key=lambda other: other.due)
            group += others
        for member in group:
            member.due = math.inf
        return group

    def _can_ask_together(self, asked: _Asked) -> bool:
        if asked.parent is not None:
            return True
        if self._line is None or time.time() < self._apart_until:
            return False
        return self._line.endpoint.service.answers_together(asked.target.route)

    def _most_together(self, asked: _Asked) -> int:
        """Return how many more ids of this length fit one question."""
        many = self._line.endpoint.service.many if self._line else None
        return max(0, (many.longest_query if many else 0) // (len(asked.target.id) + 3) - 1)

    async def _ask(self, group: list[_Asked]) -> None:
        asked = group[0]
        try:
            if len(group) > 1 or asked.is_late(time.time()) or not self._may_have_relatives(asked):
                await self._ask_now(group)
                return
            # One at a time: its parent's reply, if there is one, answers for the others that wait here.
            async with self._lesson():
                if asked.due == math.inf and asked.listeners:
                    await self._ask_now(group)
        except Exception as error:  # noqa: BLE001 -- a bug, as in _run
            self._fail(group, error)

    @asynccontextmanager
    async def _lesson(self) -> AsyncIterator[None]:
        """Hold up those who wait for the same until the end of the block, but not for long."""
        await self._learning.acquire()
        with ExitStack() as lesson:
            lesson.callback(self._learning.release)
            lesson.callback(asyncio.get_running_loop().call_later(LONGEST_LESSON, lesson.close).cancel)
            yield

    def _may_have_relatives(self, asked: _Asked) -> bool:
        """Whether this id may belong to something that can be asked about others as well, and nobody knows yet."""
        if asked.parent is not None or asked.is_alone or self._barren >= MOST_BARREN or self._line is None:
            return False
        route = self._line.endpoint.service.routes[asked.target.route]
        return route.parent is not None and len(self._families.get(asked.family, ())) > 1

    async def _ask_now(self, group: list[_Asked]) -> None:
        try:
            observations = await self._observe(group)
        except DocStatusError as error:
            # It may be kept for hours, and its traceback holds the reply that it is about.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            observations = {asked.target: error for asked in group}
        now = time.time()
        told = [asked for target in observations if (asked := self._asked.get(target)) is not None]
        for listener in {listener for asked in told for listener in asked.listeners}:
            listener.calls += 1
        for asked in told:
            self._tell(asked, observations[asked.target], now)
        for asked in group:
            if asked.target not in observations:
                self._miss(asked, now)

    def _miss(self, asked: _Asked, now: float) -> None:
        """Plan an id that a question for several left out: one answer may be broken, after some in a row it is asked alone."""
        asked.missed = MOST_MISSED if asked.is_late(now) else asked.missed + 1
        is_now = asked.is_alone or not self._can_ask_together(asked)
        if asked.listeners:
            self._plan(asked, now if is_now else asked.next_due(now))

    def _tell(self, asked: _Asked, observation: Observation, now: float) -> None:
        asked.turn += 1
        if isinstance(observation, DocumentStatus):
            self._missing_since = None  # what was read of the connection before is sound after all
        asked.missed = MOST_MISSED - 1 if asked.is_alone else 0  # the question for several may be sound again
        for listener in list(asked.listeners):
            if listener.tell(asked.target, observation, now):
                self._leave(asked, listener)
        if asked.listeners:
            due = asked.next_due(now)
            if isinstance(observation, RateLimited):  # unanswered: it is asked again when the gate opens
                due = min(due, now + (observation.retry_after or 0.0))
            if self._missing_since is not None:
                due = min(due, now + FAILURE_HOLDS)
            asked.due = math.inf
            self._plan(asked, due)

    def _fail(self, group: Iterable[_Asked], error: Exception) -> None:
        for asked in group:
            for listener in asked.listeners:
                listener.fail(error)

    # -- the service -------------------------------------------------------------------------------------------

    async def _observe(self, group: list[_Asked]) -> Mapping[Target, Observation]:
        line, asked_at = await self._dial(), time.time()
        try:
            return await self._ask_line(line, group)
        except KeyRejected:
            # The key may have been changed meanwhile, or the service may have erred: it is believed the second time.
            return await self._ask_line(await self._dial(doubted_at=asked_at), group)

    async def _ask_line(self, line: _Line, group: list[_Asked]) -> Mapping[Target, Observation]:
        if not any(member.listeners for member in group):
            return {}  # they left while the connection was looked up
        with _cancellable(group):
            if len(group) == 1:
                return await self._ask_alone(line, group[0])
            try:
                return await self._ask_at_once(line, group)
            except RateLimited:
                raise
            except DocStatusError as error:  # the service, the key or the proxy may answer for one id all the same
                may_pass = isinstance(error, (ServiceUnavailable, UnexpectedReply)) and not group[0].missed
                return {} if may_pass else await self._ask_instead(line, group[0])

    async def _ask_at_once(self, line: _Line, group: list[_Asked]) -> Mapping[Target, Observation]:
        parent, route = group[0].parent, group[0].target.route
        if parent is not None:
            return await self._ask_parent(line, parent, route)
        try:
            ids = [member.target.id for member in group]
            found = await line.talk(line.endpoint.service.ask_together(route, ids, line.prefix))
        except NoSuchRoute as missing:
            if self._apart_until == 0.0:
                log.info("%s Asking for each id alone.", missing)
            self._apart_until = time.time() + STALE
            return {}
        return {Target(route=route, id=one): status for one, status in found.items()}

    async def _ask_instead(self, line: _Line, asked: _Asked) -> Mapping[Target, Observation]:
        """Ask about one id of several; what is wrong with the key or the service is wrong for all of them."""
        try:
            return await self._ask_alone(line, asked)
        except (KeyRejected, QuotaExhausted, ServiceUnavailable):
            raise
        except DocStatusError as error:
            return {asked.target: error}

    async def _ask_alone(self, line: _Line, asked: _Asked) -> dict[Target, Observation]:
        service, target = line.endpoint.service, asked.target
        status = await line.talk(service.ask_status(target, line.prefix, line.known))
        observations: dict[Target, Observation] = {target: status}
        parent = service.parent_of(status, target.route)
        if parent is not None and not asked.is_alone:
            is_asked = parent not in self._families and self._may_have_relatives(asked)
            self._adopt(asked, parent)
            if is_asked:  # others may belong to it as well: one question tells
                with suppress(DocStatusError):
                    observations = {**await self._ask_parent(line, parent, target.route), target: status}
                self._barren = self._barren + 1 if len(self._families.get(parent, ())) < 2 else 0
        return observations

    async def _ask_parent(self, line: _Line, parent: Target, route: str) -> Mapping[Target, Observation]:
        found = await line.talk(line.endpoint.service.ask_through(parent, route, line.prefix, self._asked, line.known))
        for target in found:
            if (member := self._asked.get(target)) is not None:
                self._adopt(member, parent)
        return found

    async def _dial(self, doubted_at: float | None = None) -> _Line:
        """Return the line to the service; read the connection anew if it is old, or was read before it was doubted."""
        if (line := self._usable_line(doubted_at)) is not None:
            return line
        async with self._opening:
            if (line := self._usable_line(doubted_at)) is not None:
                return line
            line, now = self._line, time.time()
            if self._no_line is not None and now < self._no_line[0] + FAILURE_HOLDS:
                raise self._no_line[1]  # the answer to all who queued for this look-up
            try:
                endpoint = await _read_endpoint(self.conn_id)
                opened = await _Line.open(endpoint, line) if endpoint.service.name == self.service else None
            except RequestRejected as error:
                if line is not None and doubted_at is None:
                    log.warning("%s What was read before is used on.", error)
                    line.read_at = now
                    return line
                self._no_line = time.time(), self._or_wait(error, now)
                raise self._no_line[1] from None
            self._missing_since = None
            if opened is None:
                self._no_line = time.time(), self._of_another_type(endpoint.service.name)
                raise self._no_line[1]
            self._line = opened
            prefixes = endpoint.service.prefixes  # a prefix of the user's own holds, whatever was found before
            if line is not self._line and self._prefix in prefixes and endpoint.prefix in prefixes:
                self._line.prefix = self._prefix
            return self._line

    def _usable_line(self, doubted_at: float | None) -> _Line | None:
        line = self._line
        if line is None or time.time() > line.read_at + STALE or (doubted_at is not None and line.read_at < doubted_at):
            return None
        return line

    def _or_wait(self, error: RequestRejected, now: float) -> Exception:
        """Return what a look-up's error is to the waits: nothing that ends them if the connection may still appear."""
        cause = error.__cause__
        if not isinstance(cause, Exception):  # what was read is wrong
            return error
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now >= self._missing_since + MISSING_HOLDS:
            return error if isinstance(cause, AirflowNotFoundException) else cause  # a retry may mend that
        return ServiceUnavailable(f"{error} It is looked up again for a while.", service=self.service)

    def _of_another_type(self, service: str) -> RequestRejected:
        return RequestRejected(
            f"Connection '{self.conn_id}' is now of type {service}; this wait began when it was {self.service}. Clear the task.",
            service=self.service,
        )


async def _read_endpoint(conn_id: str) -> Endpoint:
    try:
        conn, extra = await get_connection_in_trigger(conn_id)
    except AirflowNotFoundException as error:
        raise RequestRejected(
            f"Connection '{conn_id}' is not defined for the triggerer: environment variables and secrets backends must be set "
            "there as on the workers."
        ) from error
    except Exception as error:  # a secrets backend's own, or of Airflow's database
        raise RequestRejected(f"Connection '{conn_id}' cannot be read in the triggerer ({type(error).__name__}).") from error
    return Endpoint.from_connection(conn, extra)


@dataclass(kw_only=True)
class _Line:
    """The way to one endpoint: session, TLS, proxy, budget, and the path prefix it turned out to answer below."""

    endpoint: Endpoint
    session: aiohttp.ClientSession
    tls: ssl.SSLContext | bool
    proxy: str | None
    timeout: aiohttp.ClientTimeout
    budget: Budget
    prefix: str
    read_at: float
    turnstile: asyncio.Lock = field(default_factory=asyncio.Lock)
    known: Known = field(default_factory=dict)

    @classmethod
    async def open(cls, endpoint: Endpoint, before: _Line | None) -> _Line:
        """Return the line to an endpoint, on the session that is open already if there is one."""
        now = time.time()
        if before is not None and before.endpoint == endpoint:
            before.read_at = now
            return before
        tls: ssl.SSLContext | bool = True
        if endpoint.base_url.startswith("https:"):  # reading the CA file takes up to a tenth of a second
            loop = asyncio.get_running_loop()
            tls = await loop.run_in_executor(None, endpoint.tls_context, DEFAULT_CA_BUNDLE_PATH)
        # requests' own reading of HTTPS_PROXY and NO_PROXY, so that both paths go the same way
        proxy = endpoint.proxy_through(select_proxy(endpoint.base_url, get_environ_proxies(endpoint.base_url)))
        if before is None:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MOST_AT_ONCE), cookie_jar=aiohttp.DummyCookieJar()
            )
        else:
            session = before.session
        return cls(
            endpoint=endpoint,
            session=session,
            tls=tls,
            proxy=proxy,
            timeout=aiohttp.ClientTimeout(total=endpoint.request_timeout),
            budget=_budget_of(endpoint, now),
            prefix=endpoint.prefix,
            read_at=now,
        )

    def describe(self, now: float) -> str:
        pace = self.budget.per_minute_now(now)
        gate = self.budget.closed_until - now
        limit = "no limit" if pace is None else f"{pace:.0f} calls a minute"
        return limit + (f", closed for {gate:.0f} s" if gate > 0 else "")

    async def talk(self, talk: Talk[T]) -> T:
        """Drive a talk: send each of its questions, hand back the answers, return what it learned."""
        try:
            question = next(talk)
            while True:
                question = talk.send(await self._ask(question))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is untyped

    async def _ask(self, question: Question) -> Answer:
        """Send one question, and below the other prefix if the deployment shows that."""
        service, prefix, base_url = self.endpoint.service, self.prefix, self.endpoint.base_url
        answer = await self._send(question)
        if self.prefix != prefix and service.other_prefix(question, answer, prefix, base_url) is not None:
            # another question has found the right one meanwhile
            return await self._send(question.below(self.prefix, instead_of=prefix))
        talk = service.ask_other_prefix(question, answer, prefix, base_url)
        try:
            question = next(talk)
            while True:
                question = talk.send(await self._send(question))
        except StopIteration as end:
            told: tuple[Answer, str] = end.value
        answer, found = told
        if found != prefix:
            log.info("%s answers below %s here.", service.title, found)
            self.prefix = found
        return answer

    async def _send(self, question: Question) -> Answer:
        endpoint, limit = self.endpoint, self.endpoint.max_reply_bytes
        headers = endpoint.headers(question)
        await self._turn()
        Stats.incr(f"docstatus.{endpoint.service.name}.polls")
        try:
            async with self.session.request(
                question.method,
                URL(endpoint.url(question), encoded=True),
                headers=headers,
                json=question.json,
                allow_redirects=False,
                proxy=self.proxy,
                ssl=self.tls,
                timeout=self.timeout,
            ) as response:
                if response.headers.get("Content-Encoding") is None and (response.content_length or math.inf) <= limit:
                    body = await response.read()
                else:
                    body = await _read(response, limit)
                answer = endpoint.answer(response.status, response.headers, body, time.time())
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise ServiceUnavailable(endpoint.no_answer(question, error), service=endpoint.service.name) from None
        self._heed(answer)
        return answer

    async def _turn(self) -> None:
        """Wait for this question's turn in the budget; who comes first is served first."""
        now = time.time()
        if not self.turnstile.locked() and self.budget.opens_at(now) <= now:
            self.budget.spend(now)
            return
        async with self.turnstile:
            now = time.time()
            while (opens := self.budget.opens_at(now)) > now:
                await asyncio.sleep(opens - now)
                now = time.time()
            self.budget.spend(now)

    def _heed(self, answer: Answer) -> None:
        """Close the gate for all waits when the service says so, and note when it does not."""
        service, budget, now = self.endpoint.service, self.budget, answer.received_at
        wait = wait_hint(answer, service.wait_headers)
        if answer.code == 429 or (answer.code == 503 and wait is not None):
            if budget.refuse(now, wait):
                Stats.incr(f"docstatus.{service.name}.throttles")
                log.warning("%s answered %d: no question for %.0f s.", service.title, answer.code, budget.closed_until - now)
            return
        budget.grant(now)
        if service.left_headers and count(answer.headers.get(service.left_headers[0])) == 0:
            more_at = count(answer.headers.get(service.left_headers[1], "").split(".")[0])
            if more_at is not None and now < more_at <= now + 3600:
                budget.exhaust(float(more_at))


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body of unknown length, and no more of it than shows that it is too long."""
    body = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > limit:
            response.close()
            break
    return bytes(body[: limit + 1])


def _budget_of(endpoint: Endpoint, now: float) -> Budget:
    """Return the budget of an endpoint's account; where connections of one key differ, the limit that was read last holds."""
    budget = _budgets.get(endpoint.account)
    if budget is None:
        budget = _budgets[endpoint.account] = Budget(
            per_minute=endpoint.calls_per_minute, per_day=endpoint.service.calls_per_day, share=endpoint.share, now=now
        )
    elif (budget.per_minute, budget.share) != (endpoint.calls_per_minute, endpoint.share):
        budget.change(per_minute=endpoint.calls_per_minute, share=endpoint.share, now=now)
    return budget
