"""The worker's side of one wait: the first look, the short watch, the deferral, and what is left for Airflow to see."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import conf, first_start
from airflow_provider_docstatus.exceptions import DocStatusError
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.schedule import Rhythm
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.verdict import Ending, Wait, settle

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context
    from airflow_provider_docstatus.description import Target
    from airflow_provider_docstatus.status import DocumentStatus

#: The default time-out of a wait in seconds; Airflow's own is seven days.
DEFAULT_TIMEOUT = 3600.0
#: Seconds that a worker watches on before it defers: about what the start of a second worker costs.
DEFAULT_WATCH = 3.0
#: Airflow's own deferral time-out comes so many seconds after ours: it would throw the trigger's report away.
BACKSTOP = 300.0


@dataclass(kw_only=True)
class Gate:
    """
    One wait, seen from a worker.

    :param hook: the way to the service; it does not ask again on its own, the wait does.
    :param target: what is waited for.
    :param rhythm: how often to ask.
    :param wait: what is remembered of it.
    """

    hook: DocStatusHook
    target: Target
    rhythm: Rhythm
    wait: Wait
    log: Any
    asked_at: float = 0.0
    turn: int = 0

    @classmethod
    def open(
        cls,
        context: Context,
        log: Any,
        *,
        conn_id: str,
        ids: Mapping[str, object],
        operation: str | None,
        poke_interval: float | None,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        timeout: float,
        remembers: bool = True,
    ) -> Gate:
        """
        Check what a task asks for and return its gate; nothing is sent yet.

        :raises RequestRejected: an id, the operation or the connection is wrong (the DAG's author).
        """
        hook = DocStatusHook(conn_id, retries=0)
        service = hook.service
        target = hook.target(**ids, operation=operation)
        if poke_interval is not None and poke_interval < service.least_poll_interval:
            log.warning(
                "%s asks not to be polled more often than every %g s; poke_interval=%g is raised to that.",
                service.title,
                service.least_poll_interval,
                poke_interval,
            )
            poke_interval = service.least_poll_interval
        rhythm = Rhythm(base=service.poll_interval, interval=poke_interval, backoff=exponential_backoff, longest=max_wait)
        started_at = first_start(context)
        wait = Wait(
            service=service.name,
            title=service.title,
            id=target.id,
            started_at=started_at,
            deadline=started_at + timeout,
            grace=service.grace,
            remembers=remembers,
        )
        return cls(hook=hook, target=target, rhythm=rhythm, wait=wait, log=log)

    def look(self) -> Ending | None:
        """Ask once; return the ending if there is one."""
        observation: DocumentStatus | DocStatusError
        try:
            observation = self.hook.get_target_status(self.target)
            before = self.wait.status
            if before is None or before.word != observation.word:
                self.log.info("%s %s is %s", self.wait.title, self.target.id, observation.word)
        except DocStatusError as error:
            observation = error
            self.log.warning("%s", error)
        self.asked_at = time.time()
        self.turn += 1
        return self.wait.hear(observation, self.asked_at)

    def watch(self, seconds: float) -> Ending | None:
        """Go on asking on the worker for so long: short jobs end here, without a second worker start."""
        until = time.time() + seconds
        pause = self.hook.service.least_poll_interval
        while time.time() + pause <= until:
            time.sleep(pause)
            ending = self.look()
            if ending is not None:
                return ending
        return None

    def next_pause(self) -> float:
        """Return the seconds until the next question; the last one before the deadline falls on it."""
        now = time.time()
        dice = random.random()  # noqa: S311 -- no secret
        due = self.rhythm.next_at(
            now=now, started_at=self.wait.started_at, deadline=self.wait.deadline, turn=self.turn, dice=dice
        )
        return due - now

    def show(self, context: Context) -> None:
        """Push what is known, for the link to the vendor's page and for whoever looks while it waits."""
        if self.wait.status is not None:
            context["ti"].xcom_push(key=XCOM_KEY, value=self.wait.status.to_dict())

    def deferral(self) -> dict[str, Any]:
        """Return the arguments for ``defer``."""
        service = self.hook.service
        parent = service.parent_of(self.wait.status, self.target.route) if self.wait.status else None
        trigger = DocStatusTrigger(
            conn_id=self.hook.conn_id,
            service=self.wait.service,
            route=self.target.route,
            id=self.target.id,
            prefix=self.hook.prefix,
            parent=[parent.route, parent.id] if parent else None,
            poke_interval=self.rhythm.interval,
            exponential_backoff=self.rhythm.backoff,
            max_wait=self.rhythm.longest,
            asked_at=self.asked_at,
            started_at=self.wait.started_at,
            deadline=self.wait.deadline,
            grace=self.wait.grace,
            shortest=conf.getfloat("docstatus", "shortest_deferral", fallback=5.0),
        )
        left = max(self.wait.deadline - time.time(), 0.0) + BACKSTOP
        return {"trigger": trigger, "timeout": timedelta(seconds=left)}

    def watch_to_the_end(self) -> Ending:
        """Go on asking on the worker until the wait ends."""
        while True:
            time.sleep(self.next_pause())
            ending = self.look()
            if ending is not None:
                return ending

    def time_out(self) -> Ending:
        """Return the ending of a wait whose time is up."""
        return self.wait.time_out(time.time())


def checked_accept(accept: Collection[str]) -> tuple[str, ...]:
    """Return the states that open a gate besides success. Raises ValueError for others; the DAG's author must change it."""
    states = (accept,) if isinstance(accept, str) else tuple(accept)
    wrong = [state for state in states if state not in (State.PARTIAL.value, State.REVIEW.value)]
    if wrong:
        raise ValueError(f"accept={wrong} is not possible; a gate can accept 'partial' and 'review' besides success")
    return tuple(str(State(state)) for state in states)


def end(context: Context, ending: Ending, accept: Collection[str]) -> dict[str, Any]:
    """Push the last status under ``docstatus``, then return the XCom value or raise; see :func:`~.verdict.settle`."""
    if ending.status is not None:
        context["ti"].xcom_push(key=XCOM_KEY, value=ending.status.to_dict())
    return settle(ending, accept)
