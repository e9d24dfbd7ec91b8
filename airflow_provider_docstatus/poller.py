"""
The triggerer's driver: all waits of one connection on one event loop share one poller.

A trigger does not poll. It subscribes to the poller of its loop, and is notified when its wait is over. The poller sends the
requests that the schedule plans, through one HTTP client and one rate limiter.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import math
import random
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from typing import Any

from airflow_provider_docstatus._compat import Stats
from airflow_provider_docstatus.exceptions import DocStatusError, NoSuchRoute
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.flows import Observation, PollReply, arun
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.transport.aio import MOST_AT_ONCE, Client
from airflow_provider_docstatus.transport.lookup import ClientLookup
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.polls import Batch
from airflow_provider_docstatus.waiting.schedule import Schedule
from airflow_provider_docstatus.waiting.subscriber import Subscriber
from airflow_provider_docstatus.waiting.wait import PollAgain

log = logging.getLogger(__name__)

#: Seconds an idle poller keeps its session and its connection look-up.
LINGER = 30.0
#: Seconds between two checks for waits whose time is up.
DEADLINES_EVERY = 1.0
#: If two checks are this many times ``DEADLINES_EVERY`` apart, the process stood still. No response could come in that time, so
#: the waits get it back.
STANDSTILL = 10
#: Seconds after the deadline until a wait ends although its last poll is still under way.
DEADLINE_GRACE = 60.0

_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Poller]] = weakref.WeakKeyDictionary()


def poller_for(conn_id: str, service: ServiceDescription, lookup: ClientLookup | None = None) -> Poller:
    """Return the running loop's poller of a connection; the first wait makes it, with what has looked the connection up."""
    for loop in [loop for loop in _pollers if loop.is_closed()]:  # a poller refers to its loop, so both stay alive
        del _pollers[loop]
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    key = (conn_id, service.name)
    if key not in pollers:
        _freeze_what_is_loaded()
        pollers[key] = Poller(conn_id, service, lookup=lookup)
    return pollers[key]


@cache
def _freeze_what_is_loaded() -> None:
    """
    Exclude the objects that are loaded by now from garbage collection, once.

    These are 200,000 objects of Airflow, which stay. Each full collection of them blocks the event loop for 0.1 s, and Airflow
    logs that as a fault of the triggers.
    """
    gc.freeze()


class Subscription(Subscriber):
    """
    The subscriber of a trigger's wait. It logs where its trigger logs, and a bug in it ends no other wait.

    :param group: the waits of the trigger's ids.
    :param log: the trigger's logger.
    :param poller: the poller that it subscribes to.
    """

    __slots__ = ("_context", "_is_warned", "done", "poller")

    def __init__(self, group: Group, log: Any, poller: Poller) -> None:
        now = poller.clock()
        grace = DEADLINE_GRACE + max(0.0, now - group.spec.deadline)  # it polls once, however late it starts
        super().__init__(group, log, now=now, deadline_grace=grace, jitter=poller.jitter)
        self.poller = poller
        self._context = contextvars.copy_context()
        self._is_warned = False
        #: Done when the wait is over.
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def observe(self, target: Target, observation: Observation, now: float) -> PollAgain | bool:
        """Process an observation in the trigger's own context; see :class:`.Subscriber`."""
        if self.done.done():
            return True
        try:
            verdict = self._context.run(super().observe, target, observation, now)
            if verdict is True and self.is_over:
                self.done.set_result(None)
        except Exception as error:  # noqa: BLE001 -- the subscriber's fault ends the subscriber, with its traceback
            self.fail(error)
            return True
        return verdict

    def describe(self, now: float) -> str:
        """Return how the polling goes, in a few words."""
        return self.poller.describe(now)

    def stop(self) -> None:
        """End the wait although some ids may not have ended."""
        if not self.done.done():
            self.done.set_result(None)

    def warn_of_late_turn(self, turn_at: float, described: str) -> None:
        """Log once, where the trigger logs, that the rate limit leaves no poll before the deadline."""
        if not self._is_warned:
            self._is_warned = True
            text = "The next poll's turn comes %.0f s after this wait's deadline: %s. Raise the limit or the timeout."
            self._context.run(self.log.warning, text, turn_at - self.deadline, described)

    def fail(self, error: Exception) -> None:
        """End the wait with the exception of a bug."""
        if not self.done.done():
            self.done.set_exception(error)


class Poller:
    """
    Poll one service for all ids that somebody on this event loop waits for.

    :param conn_id: the connection (str).
    :param service: the service that the connection must be for.
    :param lookup: what has looked the connection up already, if anything has.
    :param clock: gives epoch seconds.
    :param jitter: gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        conn_id: str,
        service: ServiceDescription,
        *,
        lookup: ClientLookup | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.conn_id = conn_id
        self.clock = clock
        self.jitter = jitter
        self.service_name = service.name
        self._schedule = Schedule[Subscription](service)
        self._schedule.on_plan = self._notice
        self._lookup = lookup or ClientLookup(conn_id, service.name, clock)
        self._found_prefix: str | None = None
        self._prefix: PathPrefix | None = None
        self._client: Client | None = None
        self._news = asyncio.Event()
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._tasks: dict[asyncio.Task[None], Batch[Subscription]] = {}
        self._sending: set[Batch[Subscription] | None] = set()
        self._sent: set[Batch[Subscription] | None] = set()
        self._run_task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._checked_at = 0.0
        self._has_warned = False
        self._slices = asyncio.Lock()

    async def wait(self, subscription: Subscription) -> None:
        """Poll for a subscription until it is over."""
        spec, now = subscription.group.spec, self.clock()
        self._found_prefix = spec.prefix if spec.prefix is not None else self._found_prefix
        pause = subscription.interval.pause(age=spec.asked_at - spec.started_at, polls=1, jitter=0.0)
        first_at = min(spec.asked_at + pause, max(spec.deadline, now))
        for one in subscription.group.waits:
            self._schedule.subscribe(subscription, Target(spec.route, one), first_at, spec.parent_target)
        self.start()
        self._count()
        try:
            await subscription.done
        finally:
            Stats.timing(f"docstatus.{self.service_name}.wait", timedelta(seconds=self.clock() - now))
            for one in subscription.group.waits:
                unwanted = self._schedule.unsubscribe(subscription, Target(spec.route, one))
                if unwanted in self._sending:  # not in a look-up, which must not be cancelled on 3.0 to 3.2.1
                    next(task for task, batch in self._tasks.items() if batch is unwanted).cancel()
            self._count()

    @property
    def service(self) -> ServiceDescription:
        """The service's description, as the connection was read last."""
        return self._schedule.service

    def start(self) -> None:
        """Begin to poll, unless it is polling; without a wait it ends by itself."""
        if self._run_task is None:
            # An empty context: all waits share the poller, so its lines must not go to the log of one task.
            self._run_task = contextvars.Context().run(asyncio.get_running_loop().create_task, self._run())

    def describe(self, now: float) -> str:
        """Return the state of the schedule and the rate limiter in a few words, for a log line."""
        client, seconds = self._lookup.client, self._round_seconds(now)
        about = f", each is polled every {seconds:.0f} s at best" if seconds else ""
        about += f", all {MOST_AT_ONCE} connections are in use" if self._free.locked() else ""
        limit = client.describe(now) if client else "no session, since none could be opened yet"
        return f"{len(self._schedule)} ids share {limit}{about}"

    @property
    def open_ids(self) -> int:
        """How many ids are waited for."""
        return len(self._schedule)

    def _count(self) -> None:
        """Tell Airflow's metrics how many ids of this service are waited for on this loop."""
        pollers = _pollers.get(asyncio.get_running_loop(), {}).values()
        number = sum(poller.open_ids for poller in pollers if poller.service_name == self.service_name)
        Stats.gauge(f"docstatus.{self.service_name}.open_waits", number)

    def _round_seconds(self, now: float) -> float | None:
        """Return the seconds that the rate limit needs to poll every id once; None if the service's interval is longer."""
        client = self._lookup.client
        pace = client.limiter.per_minute_now(now) if client else None
        if client is None or pace is None:
            return None
        seconds = self._schedule.requests_per_round(now) / pace * 60
        return seconds if seconds > client.endpoint.service.poll_interval else None

    def _warn_when_late(self, batch: Batch[Subscription], now: float) -> None:
        """Log once how long the poll interval really is, if the rate limit makes polls late."""
        client = self._lookup.client
        if self._has_warned or client is None or batch.late_by < client.endpoint.service.poll_interval:
            return
        if self._round_seconds(now) is not None:
            self._has_warned = True
            described = self.describe(now)
            log.warning("Connection %s: %s. A longer poke_interval or a larger limit would help.", self.conn_id, described)

    # -- the loop ----------------------------------------------------------------------------------------------

    def _notice(self) -> None:
        self._news.set()

    async def _run(self) -> None:
        self._check_deadlines()
        try:
            while True:
                await self._free.acquire()
                task = None
                try:
                    batch = await self._next_batch()
                    if batch is None:
                        return
                    task = asyncio.get_running_loop().create_task(self._poll(batch))
                finally:
                    if task is None:
                        self._free.release()
                self._tasks[task] = batch
                task.add_done_callback(self._finished)
                if (client := self._lookup.client) is not None and client.limiter.is_limited:
                    await asyncio.sleep(0)  # it takes its turn first; the next batch is chosen only when it may be sent
        except Exception as error:  # a bug: it must end the waits with its traceback, not hang them
            for subscriber in self._schedule.subscribers():
                subscriber.fail(error)
            raise
        finally:
            self._run_task = None  # before the first await, so that a new subscriber starts a new run
            if self._timer is not None:
                self._timer.cancel()
            self._checked_at = 0.0
            for task in self._tasks:
                task.cancel()
            await self._lookup.close()

    async def _next_batch(self) -> Batch[Subscription] | None:
        """Return the next batch when it is due and the rate limiter allows it; None if there was no wait for a while."""
        while True:
            now = self.clock()
            client = self._lookup.client
            due = self._schedule.next(now, opens_at=client.limiter.opens_at(now) if client else 0.0)
            if isinstance(due, Batch):
                self._warn_when_late(due, now)
                return due
            is_planned = due < math.inf
            is_idle = not await self._has_news(due - now if is_planned else LINGER) and not is_planned and not self._tasks
            if is_idle and not self._schedule:  # somebody may have subscribed while the pause ended
                return None

    async def _has_news(self, seconds: float) -> bool:
        """Wait until the schedule plans an earlier poll, but at most so long; return whether it did."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._schedule.finished(self._tasks.pop(task))
        self._free.release()

    def _check_deadlines(self) -> None:
        """Let ids still queued at their deadline go first, end waits past the deadline grace, and plan the next check."""
        now, before = self.clock(), self._checked_at
        if now < before:
            self._schedule.clock_set_back(before - now)
            self._lookup.clock_set_back(before - now)
        self._checked_at = now
        has_stood_still = bool(before) and now > before + STANDSTILL * DEADLINES_EVERY
        if has_stood_still or now >= self._schedule.earliest_deadline:
            self._schedule.promote_overdue(now)
            for subscriber in self._schedule.subscribers():
                if has_stood_still:
                    subscriber.deadline_grace += max(0.0, now - max(subscriber.deadline, before))
                if now >= subscriber.deadline + subscriber.deadline_grace:
                    subscriber.group.time_out(now, partial(self._why_not_asked, subscriber.group.spec.route, now))
                    subscriber.stop()
        self._warn_of_late_turns(now)
        self._timer = asyncio.get_running_loop().call_later(DEADLINES_EVERY, self._check_deadlines)

    def _why_not_asked(self, route: str, now: float, id: str) -> str | None:  # noqa: A002 -- the field's word
        """Return why an id could not be polled by now; None if its request is under way."""
        return None if self._schedule.batch_of(Target(route, id)) in self._sent else self.describe(now)

    def _warn_of_late_turns(self, now: float) -> None:
        """Tell the waits for which the rate limit leaves no poll before their deadline."""
        client = self._lookup.client
        opens_at = client.limiter.opens_at(now) if client else now
        last_first_turn = opens_at + (self._round_seconds(now) or 0.0)
        if last_first_turn <= max(self._schedule.earliest_deadline, now + DEADLINES_EVERY):
            return
        for subscriber in self._schedule.subscribers():
            turn_at = opens_at if subscriber.calls else last_first_turn
            if now < subscriber.deadline < turn_at:
                subscriber.warn_of_late_turn(turn_at, self.describe(now))

    # -- one poll ----------------------------------------------------------------------------------------------

    async def _poll(self, batch: Batch[Subscription]) -> None:
        try:
            try:
                reply = await self._reply(batch)
            except DocStatusError as error:
                # A wait may keep the error for hours, and the traceback would keep the whole reply in memory.
                error.__traceback__ = error.__context__ = error.__cause__ = None
                reply = PollReply(dict.fromkeys(batch.targets, error))
            if isinstance(reply.failed, NoSuchRoute):
                log.info("%s Polling each id alone.", reply.failed)
            if any(not isinstance(one, DocStatusError) for one in reply.observations.values()):
                self._lookup.works()
            for _ in self._schedule.answering(batch, reply, self.clock()):
                await self._pause()
        except Exception as error:  # noqa: BLE001 -- a bug, as in _run
            for one in batch.polls:
                for subscriber in one.subscribers:
                    subscriber.fail(error)

    async def _reply(self, batch: Batch[Subscription]) -> PollReply:
        client = await self._lookup.get(batch.refused_at)
        prefix = self.use(client)
        if not batch.is_wanted:
            return PollReply({})  # its waits ended during the look-up

        note_turn = partial(self._sent.add, batch)

        async def send(request: Request) -> Response:
            return await client.send(request, fresh_connection=batch.refused_at is not None, on_turn=note_turn)

        self._sending.add(batch)
        try:
            return await arun(with_prefix(self._schedule.flow(batch), prefix), send, self._pause)
        finally:
            self._sending.discard(batch)
            self._sent.discard(batch)

    async def _pause(self) -> None:
        """Let others have the loop between two slices of long work. Of many long replies, one has a slice in each turn."""
        async with self._slices:
            await asyncio.sleep(0)

    def use(self, client: Client) -> PathPrefix:
        """
        Go by what was read of the connection; return the path prefix in use.

        An undocumented prefix in the connection is the user's choice, and always holds.
        """
        if self._prefix is None or client is not self._client:
            endpoint = client.endpoint
            self._client = client
            self._schedule.follow(endpoint.service)
            documented, found = endpoint.service.prefixes, self._found_prefix
            is_known = found is not None and found in documented and endpoint.prefix in documented
            current = found if is_known and found else endpoint.prefix
            self._prefix = PathPrefix(endpoint.service, endpoint.base_url, current, log.info)
        return self._prefix
