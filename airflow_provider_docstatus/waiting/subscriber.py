"""The subscriber: one task's wait, which observes polls, logs what changes, and says when to poll again."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from airflow_provider_docstatus.exceptions import DocStatusError, RateLimited
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.protocol.values import named
from airflow_provider_docstatus.status import MOST_ERRORS, DocumentStatus, State
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.intervals import PollInterval
from airflow_provider_docstatus.waiting.outcomes import OUTCOMES
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.wait import Ending, PollAgain, Wait

#: Seconds without a log line after which a wait logs that it goes on.
HEARTBEAT = 300.0


def interval_of(spec: WaitSpec, service: ServiceDescription) -> PollInterval:
    """Return the poll interval of a wait. Waits with equal settings share one object, since there may be thousands."""
    return _interval(service.poll_interval, spec.poke_interval, spec.exponential_backoff, spec.max_wait)


@lru_cache
def _interval(base: float, interval: float | None, backoff: bool, longest: float | None) -> PollInterval:
    return PollInterval(base=base, interval=interval, backoff=backoff, longest=longest)


class Subscriber:
    """
    One task's wait.

    :param group: the waits of its ids.
    :param log: the logger for what changes.
    :param now: epoch seconds (float).
    :param deadline_grace: seconds after the deadline until the wait ends although its last poll has no response.
    :param jitter: gives random numbers from 0 to 1.
    """

    __slots__ = (
        "_jitter",
        "_said",
        "_spoke_at",
        "calls",
        "deadline",
        "deadline_grace",
        "group",
        "held_until",
        "interval",
        "judges",
        "log",
    )

    def __init__(
        self,
        group: Group,
        log: Any,
        *,
        now: float,
        deadline_grace: float,
        jitter: Callable[[], float],
    ) -> None:
        self.group = group
        self.log = log
        self.interval = interval_of(group.spec, group.service)
        #: When the last poll falls due (epoch seconds).
        self.deadline = group.spec.deadline
        self.deadline_grace = deadline_grace
        #: Whether the result is to be read where only that says if the job has ended well.
        self.judges = group.spec.judges
        #: How many polls had an observation for this wait.
        self.calls = 0
        #: Until when no other id is polled, since a refusal that concerns the account is being confirmed (epoch seconds).
        self.held_until = 0.0
        self._spoke_at = now
        self._said = ""
        self._jitter = jitter

    def observe(self, target: Target, observation: DocumentStatus | DocStatusError, now: float) -> PollAgain | bool:
        """
        Process a poll's observation of an id.

        :return: whether the id has ended; or when to poll it again, if not at the poll interval.
        """
        wait = self.group.waits[target.id]
        has_spoken = self._log_before(wait, observation)
        verdict = self.group.observe(target.id, observation, now)
        if isinstance(verdict, PollAgain) and wait.refusal is not None and OUTCOMES[wait.refusal].concerns == "account":
            self.held_until = verdict.at
        elif isinstance(observation, DocumentStatus):
            self.held_until = 0.0
        self._log_after(target.id, verdict, now, has_spoken=has_spoken)
        return verdict if isinstance(verdict, PollAgain) else verdict is not None

    def next_poll(self, now: float, polls: int) -> float:
        """Return when to poll again (epoch seconds), after so many polls."""
        spec = self.group.spec
        return self.interval.next_at(
            now=now, started_at=spec.started_at, deadline=spec.deadline, polls=polls, jitter=self._jitter()
        )

    def follow(self, service: ServiceDescription) -> None:
        """Go by another description of the service from now on."""
        self.group.follow(service)
        self.interval = interval_of(self.group.spec, service)

    def describe(self, now: float) -> str:  # noqa: ARG002 -- for the triggerer's
        """Return how the polling goes, in a few words for the log."""
        return ""

    @property
    def is_over(self) -> bool:
        """Whether the whole wait has ended."""
        return self.group.is_over

    def _log_before(self, wait: Wait, observation: DocumentStatus | DocStatusError) -> bool:
        """Log what an observation changes; return whether anything was logged."""
        if isinstance(observation, DocumentStatus):
            before = wait.status
            is_new = len(self.group.waits) == 1 and (
                before is None or before.word != observation.word or wait.trouble is not None
            )
            if is_new:
                who = named(f"{wait.service.title} {wait.id}", observation.file_name)
                self.log.info("%s is %s", who, observation.word)
            return is_new
        said = _said_by(observation)
        if said == self._said or (wait.trouble is not None and said == _said_by(wait.trouble)):  # one may be about many ids
            return False
        self.log.warning("%s", observation)
        self._said = said
        return True

    def _log_after(self, one: str, verdict: Ending | PollAgain | None, now: float, *, has_spoken: bool) -> None:
        """Log that an id has ended, or now and then that the wait goes on."""
        group = self.group
        who = named(one, verdict.status.file_name) if isinstance(verdict, Ending) and verdict.status else one
        if isinstance(verdict, Ending) and len(group.waits) == 1:
            self.log.info("%s ended: %s", who, verdict.outcome)
        elif isinstance(verdict, Ending) and verdict.outcome != State.SUCCEEDED.value and len(group.endings) <= MOST_ERRORS:
            self.log.warning("%s ended: %s", who, verdict.outcome)
        elif now > self._spoke_at + HEARTBEAT:
            self.log.info("%s; %s", group.summary(), self.describe(now))
        elif not has_spoken:
            return
        self._spoke_at = now


def _said_by(error: DocStatusError) -> str:
    """Return what must differ for an error to be logged anew: of a 429 not what stands in brackets, such as a trace id."""
    text = str(error)
    return text.partition(" (")[0] if isinstance(error, RateLimited) else text
