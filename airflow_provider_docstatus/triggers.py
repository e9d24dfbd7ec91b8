"""The wait in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import BaseTrigger, TriggerEvent
from airflow_provider_docstatus.description import Target
from airflow_provider_docstatus.poller import poller_for
from airflow_provider_docstatus.schedule import Rhythm
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.status import DocumentStatus
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
    Wait until one request, document or job is finished, without holding a worker slot.

    Only ids, names and times: the arguments stand in Airflow's database as clear text. Nothing is checked here, since
    an exception from a trigger's constructor ends the whole triggerer.

    :param version: the version of these arguments (int).
    :param conn_id: the connection (str).
    :param service: the service's name (str), which the connection had when the wait began.
    :param route: the service's route (str): ``request``, ``document``, ``job``, or the operation.
    :param id: what is waited for (str).
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
    """

    def __init__(
        self,
        *,
        version: int = KWARGS_VERSION,
        conn_id: str = "",
        service: str = "",
        route: str = "",
        id: str = "",  # noqa: A002 -- the field's word
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
        **newer: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is untyped
        self.version = version
        self.conn_id = conn_id
        self.service = service
        self.route = route
        self.id = id
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
        self.newer = newer

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
                **self.newer,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then send one small event (:meth:`~.verdict.Ending.to_event`)."""
        began = time.monotonic()
        ending = await self._wait()
        await asyncio.sleep(max(0.0, self.shortest - (time.monotonic() - began)))
        self.log.info("%s %s: %s after %.0f s", self.service, self.id, ending.outcome, time.time() - self.started_at)
        yield TriggerEvent(ending.to_event())

    async def _wait(self) -> Ending:
        if not isinstance(self.version, int) or self.version > KWARGS_VERSION or self.newer or self.service not in SERVICES:
            return self._unreadable()
        service = SERVICES[self.service]
        rhythm = Rhythm(
            base=service.poll_interval,
            interval=self.poke_interval,
            backoff=self.exponential_backoff,
            longest=self.max_wait,
        )
        wait = Wait(
            service=self.service,
            title=service.title,
            id=self.id,
            started_at=self.started_at,
            deadline=self.deadline,
            grace=self.grace,
        )
        endings: list[Ending] = []

        poller = poller_for(self.conn_id, self.service)
        spoke_at = time.time()

        def hear(observation: DocumentStatus | DocStatusError, now: float) -> bool:
            nonlocal spoke_at
            if self._tell(wait, observation):
                spoke_at = now
            elif now > spoke_at + HEARTBEAT:
                spoke_at = now
                self.log.info("%s still waits after %.0f s; %s", self.id, now - self.started_at, poller.describe(now))
            ending = wait.hear(observation, now)
            if ending is not None:
                endings.append(ending)
            return ending is not None

        listening = poller.listen(
            Target(route=self.route, id=self.id),
            hear,
            rhythm=rhythm,
            first_at=self.asked_at + rhythm.pause(age=self.asked_at - self.started_at, turn=1, dice=0.0),
            started_at=self.started_at,
            deadline=self.deadline,
            parent=Target(route=self.parent[0], id=self.parent[1]) if self.parent else None,
            prefix=self.prefix,
        )
        try:
            await asyncio.wait_for(listening, max(self.deadline - time.time(), 0.0) + OVERTIME)
        except asyncio.TimeoutError:
            return wait.time_out(time.time())
        return endings[0]

    def _unreadable(self) -> Ending:
        return Ending(
            outcome="unexpected",
            service=str(self.service),
            id=str(self.id),
            text="This wait was written by a newer airflow-provider-docstatus than the triggerer has: upgrade the triggerer.",
        )

    def _tell(self, wait: Wait, observation: DocumentStatus | DocStatusError) -> bool:
        """Say what changed, not that nothing did; return whether anything was said."""
        if isinstance(observation, DocumentStatus):
            is_new = wait.status is None or wait.status.word != observation.word or wait.trouble is not None
            if is_new:
                self.log.info("%s %s is %s", self.service, self.id, observation.word)
        else:
            is_new = str(wait.trouble) != str(observation)
            if is_new:
                self.log.warning("%s", observation)
        return is_new
