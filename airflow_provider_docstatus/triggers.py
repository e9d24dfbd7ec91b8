"""The wait in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import BaseTrigger, TriggerEvent
from airflow_provider_docstatus.description import Target
from airflow_provider_docstatus.many import Group
from airflow_provider_docstatus.poller import Listener, Poller, poller_for
from airflow_provider_docstatus.schedule import Rhythm
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.status import MOST_ERRORS, DocumentStatus, State
from airflow_provider_docstatus.verdict import Ending, Wait

if TYPE_CHECKING:
    from airflow_provider_docstatus.exceptions import DocStatusError

KWARGS_VERSION = 1
#: Seconds after the deadline until a wait ends although its last question is still under way.
OVERTIME = 60.0
#: Seconds of silence after which a wait says in its log that it still waits.
HEARTBEAT = 300.0


class DocStatusTrigger(BaseTrigger):
    """
    Wait until an id or a list of ids is finished, without holding a worker slot.

    Only ids, names and times: the arguments stand in Airflow's database as clear text. Nothing is checked here, since
    an exception from a trigger's constructor ends the whole triggerer.

    :param version: the version of these arguments (int).
    :param conn_id: the connection (str).
    :param service: the service's name (str), which the connection had when the wait began.
    :param route: the service's route (str): ``request``, ``document``, ``job``, or the operation.
    :param id: what is waited for (str); empty with ``ids``.
    :param ids: the ids that are waited for as one (list of str), None for a single one.
    :param needed: how many of them must end well (int).
    :param fail_fast: whether the first of them that ends otherwise ends the wait (bool).
    :param accept: final states besides ``succeeded`` that count as well (list of str).
    :param prefix: the path prefix that the worker found (str), None for the connection's.
    :param parent: what the id belongs to (route and id), as far as the worker has learned it; one question about that answers
        for all that belong to it.
    :param poke_interval: the user's seconds between two questions (float), None for the service's own timing.
    :param exponential_backoff: whether each pause is twice the one before (bool).
    :param max_wait: the longest pause in seconds (float) or None.
    :param asked_at: when the worker asked last (epoch seconds); the first question here is one interval later.
    :param started_at: this try's first start (epoch seconds); the grace for unknown ids counts from it.
    :param deadline: epoch seconds; it survives any number of restarts.
    :param grace: seconds in which an unknown id may still appear.
    :param shortest: seconds that pass at least before the event is sent: a scheduler may lose a task that comes back
        sooner (apache/airflow issues 66374, 71580, 72716).
    :param stall: after how many seconds without a change the wait ends (``after``), and what the worker saw of each id and
        since when (``seen``); None for never. Left out of the arguments then: a triggerer that does not know this one goes on
        taking waits without it, and refuses those with it instead of half understanding them.
    """

    def __init__(
        self,
        /,
        *,
        version: int = KWARGS_VERSION,
        conn_id: str = "",
        service: str = "",
        route: str = "",
        id: str = "",  # noqa: A002 -- the field's word
        ids: list[str] | None = None,
        needed: int = 1,
        fail_fast: bool = False,
        accept: list[str] | None = None,
        prefix: str | None = None,
        parent: list[str] | None = None,
        poke_interval: float | None = None,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        asked_at: float = 0.0,
        started_at: float = 0.0,
        deadline: float = 0.0,
        grace: float = 0.0,
        shortest: float = 5.0,
        stall: dict[str, Any] | None = None,
        **newer: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is untyped
        self.version = version
        self.conn_id = conn_id
        self.service = service
        self.route = route
        self.id = id
        self.ids = ids
        self.needed = needed
        self.fail_fast = fail_fast
        self.accept = accept
        self.prefix = prefix
        self.parent = parent
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.asked_at = asked_at
        self.started_at = started_at
        self.deadline = deadline
        self.grace = grace
        self.shortest = shortest
        self.stall = stall
        self.newer = newer

    @property
    def log(self) -> Any:
        """The logger of all waits. From 3.1 on one of its own would be a dozen objects more for each."""
        return self.logger()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            "airflow_provider_docstatus.triggers.DocStatusTrigger",
            {
                "version": self.version,
                "conn_id": self.conn_id,
                "service": self.service,
                "route": self.route,
                "id": self.id,
                "ids": self.ids,
                "needed": self.needed,
                "fail_fast": self.fail_fast,
                "accept": self.accept,
                "prefix": self.prefix,
                "parent": self.parent,
                "poke_interval": self.poke_interval,
                "exponential_backoff": self.exponential_backoff,
                "max_wait": self.max_wait,
                "asked_at": self.asked_at,
                "started_at": self.started_at,
                "deadline": self.deadline,
                "grace": self.grace,
                "shortest": self.shortest,
                **({} if self.stall is None else {"stall": self.stall}),
                **self.newer,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then send one small event (:meth:`.verdict.Ending.to_event`, for a list :meth:`.many.Group.to_event`)."""
        began = time.monotonic()
        if not self._is_readable():
            event = self._unreadable()
        else:
            waiting = self._begin()
            parent = Target(route=self.parent[0], id=self.parent[1]) if self.parent else None
            await waiting.poller.listen(waiting, self.route, waiting.group.waits, parent=parent, prefix=self.prefix)
            event = self._report(waiting)
        await asyncio.sleep(max(0.0, self.shortest - (time.monotonic() - began)))
        yield TriggerEvent(event)

    def _begin(self) -> _Waiting:
        service = SERVICES[self.service]
        rhythm = _rhythm(service.poll_interval, self.poke_interval, self.exponential_backoff, self.max_wait)
        return _Waiting(
            trigger=self,
            group=self._group(service.title),
            poller=poller_for(self.conn_id, self.service),
            rhythm=rhythm,
            first_at=self.asked_at + rhythm.pause(age=self.asked_at - self.started_at, turn=1, dice=0.0),
            started_at=self.started_at,
            deadline=self.deadline,
            overtime=OVERTIME + max(0.0, time.time() - self.deadline),  # it asks once, however late it starts
        )

    def _report(self, waiting: _Waiting) -> dict[str, Any]:
        group, now = waiting.group, time.time()
        if not group.is_over:
            group.time_out(now)
        if self.ids is None:
            return group.endings[str(self.id)].to_event()
        self.log.info("%s after %.0f s", group.summary(), now - self.started_at)
        return group.to_event(calls=waiting.calls, now=now)

    def _group(self, title: str) -> Group:
        stall = self.stall or {}
        seen = {one: (mark, since) for one, (mark, since) in stall.get("seen", {}).items()}
        waits = {
            one: Wait(
                service=self.service,
                title=title,
                id=one,
                started_at=self.started_at,
                deadline=self.deadline,
                grace=self.grace,
                is_resumed=True,
                stalled_after=stall.get("after"),
                seen=seen.get(one),
            )
            for one in map(str, [self.id] if self.ids is None else self.ids)
        }
        return Group(waits=waits, needed=self.needed, accept=self.accept or (), fail_fast=self.fail_fast)

    def _is_readable(self) -> bool:
        service = SERVICES.get(str(self.service))
        is_known = service is not None and str(self.route) in service.routes
        return type(self.version) is int and self.version <= KWARGS_VERSION and not self.newer and is_known

    def _unreadable(self) -> dict[str, Any]:
        return Ending(
            outcome="unexpected",
            service=str(self.service),
            id=str(self.id),
            text="This wait was written by a newer airflow-provider-docstatus than the triggerer has, or for a service "
            "or route it does not know: upgrade the triggerer.",
        ).to_event()


@lru_cache
def _rhythm(base: float, interval: float | None, backoff: bool, longest: float | None) -> Rhythm:
    """Return the one object for all waits that ask so often."""
    return Rhythm(base=base, interval=interval, backoff=backoff, longest=longest)


@dataclass(eq=False, kw_only=True)
class _Waiting(Listener):
    """What a trigger hears, and says in its task's log: what changed, not that nothing did, and now and then that it waits."""

    trigger: DocStatusTrigger
    group: Group
    poller: Poller
    spoke_at: float = field(default_factory=time.time)
    said: str = ""

    @property
    def is_enough(self) -> bool:
        return self.group.is_over

    def hear(self, target: Target, observation: DocumentStatus | DocStatusError, now: float) -> bool:
        has_spoken = self._say_before(self.group.waits[target.id], observation)
        ending = self.group.hear(target.id, observation, now)
        self._say_after(target.id, ending, now, has_spoken=has_spoken)
        return ending is not None

    @property
    def log(self) -> Any:
        return self.trigger.log

    @property
    def is_one(self) -> bool:
        return len(self.group.waits) == 1

    def _say_before(self, wait: Wait, observation: DocumentStatus | DocStatusError) -> bool:
        """Say what an observation changes; return whether anything was said."""
        if not isinstance(observation, DocumentStatus):
            text = str(observation)
            is_new = text not in (str(wait.trouble), self.said)
            if is_new:
                self.log.warning("%s", text)
                self.said = text
            return is_new
        is_new = self.is_one and (wait.status is None or wait.status.word != observation.word or wait.trouble is not None)
        if is_new:
            self.log.info("%s %s is %s", wait.title, wait.id, observation.word)
        return is_new

    def _say_after(self, one: str, ending: Ending | None, now: float, *, has_spoken: bool) -> None:
        """Say that an id of several has ended badly, or that the wait goes on."""
        if ending is not None and self.is_one:
            self.log.info("%s ended: %s", one, ending.outcome)
        elif ending is not None and ending.outcome != State.SUCCEEDED.value and len(self.group.endings) <= MOST_ERRORS:
            self.log.warning("%s ended: %s", one, ending.outcome)
        elif now > self.spoke_at + HEARTBEAT:
            self.log.info("%s; %s", self.group.summary(), self.poller.describe(now))
        elif not has_spoken:
            return
        self.spoke_at = now
