"""The worker's driver: it sends what the schedule says, one request after another."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Protocol, TypeVar

from airflow_provider_docstatus.exceptions import DocStatusError, NoSuchRoute, RequestRejected
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.flows import PollReply, run
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus
from airflow_provider_docstatus.transport.settings import FAILURE_HOLDS, MISSING_HOLDS
from airflow_provider_docstatus.waiting.polls import Batch, Subscriber
from airflow_provider_docstatus.waiting.rate_limiter import RateLimiter
from airflow_provider_docstatus.waiting.schedule import Schedule
from airflow_provider_docstatus.waiting.wait import PollAgain

T = TypeVar("T")

log = logging.getLogger(__name__)


class Sender(Protocol):
    """What the driver needs of the hook."""

    read_at: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    @property
    def service(self) -> ServiceDescription:
        """The service's description."""

    @property
    def prefix(self) -> PathPrefix:
        """The path prefix in use."""

    def forget_connection(self) -> None:
        """Read the connection again before it is used the next time."""

    def reload(self) -> None:
        """Read the connection again, and open a new TCP connection."""

    def send(self, request: Request) -> Response:
        """Send a request."""


def patiently(sender: Sender, read: Callable[[], T]) -> T:
    """
    Return what ``read`` returns; while the connection is wrong, read it again for up to a minute.

    It was right a moment ago: a secrets backend that is down, or an edit that is half done, must not end a wait.
    """
    until = sender.clock() + MISSING_HOLDS
    while True:
        try:
            return read()
        except RequestRejected as error:
            if error.code is not None or sender.clock() >= until:
                raise
            log.warning("%s It is read again for a while.", error)
        sender.sleep(FAILURE_HOLDS)
        sender.forget_connection()


class BlockingPoller:
    """
    Poll one service from a worker.

    An id that a request for several omits is polled alone at once, since a worker does not stay for a later one.

    :param sender: the hook.
    :param limiter: what pauses the polls after a 429.
    """

    def __init__(self, sender: Sender, limiter: RateLimiter) -> None:
        self._sender = sender
        self._limiter = limiter
        self.schedule = Schedule[Subscriber](sender.service, stays=False, max_lone_parents=math.inf)
        #: When the last poll ended (epoch seconds).
        self.polled_at = 0.0
        #: Whether the last poll returned a status.
        self.got_status = True

    def poll(
        self,
        *,
        is_over: Callable[[], bool],
        waits_until: Callable[[float], float],
        max_requests: int | None = None,
    ) -> None:
        """
        Poll the ids that are due, and those that fall due soon.

        :param is_over: tells whether to stop.
        :param waits_until: given the time, returns until when to sleep for an id that is not due yet (both in epoch seconds).
        :param max_requests: stop after so many polls; None for no limit.
        """
        sender, polls = self._sender, 0
        while not is_over() and (polls != max_requests or self.schedule.looks_up_next):
            now = sender.clock()
            due = self.schedule.next(now, opens_at=self._limiter.opens_at(now))
            if isinstance(due, Batch):
                reply = self._reply(due)
                self.polled_at = sender.clock()
                if due.polls:
                    self.got_status = any(isinstance(one, DocumentStatus) for one in reply.observations.values())
                    polls += 1
                self.schedule.answered(due, reply, self.polled_at)
            elif due > waits_until(now):
                return
            else:
                sender.sleep(due - now)

    def _reply(self, batch: Batch[Subscriber]) -> PollReply:
        sender = self._sender
        if batch.refused_at is not None and sender.read_at <= batch.refused_at:
            sender.reload()
            self.schedule.follow(sender.service)
        try:
            reply = run(with_prefix(self.schedule.flow(batch), sender.prefix), sender.send)
            if isinstance(reply.failed, NoSuchRoute):
                log.info("%s Polling each id alone.", reply.failed)
            return reply
        except DocStatusError as error:
            return PollReply(dict.fromkeys(batch.targets, error))


class Once:
    """A subscriber that keeps one status of each id, and the first error."""

    def __init__(self) -> None:
        self.calls = 0
        self.deadline = math.inf
        self.judges = True
        self.held_until = 0.0
        self.found: dict[Target, DocumentStatus] = {}
        self.error: DocStatusError | None = None

    def observe(self, target: Target, observation: DocumentStatus | DocStatusError, _now: float) -> PollAgain | bool:
        """Keep the observation; the id needs no more polls."""
        if isinstance(observation, DocumentStatus):
            self.found[target] = observation
        else:
            self.error = self.error or observation
        return True

    def next_poll(self, now: float, _polls: int) -> float:
        """Return now: an id without an observation is polled again at once."""
        return now

    def follow(self, service: ServiceDescription) -> None:
        """Keep what was found."""
