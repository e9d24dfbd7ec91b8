"""The wait for one id: its state, when a poll must be repeated, and how it ends."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    KeyRejected,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.values import clock_time
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.outcomes import NOT_ASKED, OUTCOMES, TIMED_OUT, outcome_of
from airflow_provider_docstatus.waiting.spec import WaitSpec

#: Seconds of nothing but invalid replies (HTML, broken JSON, unknown words) after which a wait ends; a single one never ends it.
PATIENCE = 600.0
#: Seconds until the poll that must confirm a refusal, since a deploy, a proxy or one broken replica may have sent the first.
CONFIRM_AFTER = 5.0
#: Seconds of nothing but 404s, and how many of them at least, after which an id that once had a status counts as lost. One
#: replica of many may answer 404 for a while.
LOST_AFTER = 60.0
LEAST_404S = 3
#: Seconds until the last poll is repeated if it met a fault. The last poll falls on the deadline.
REPEAT_AFTER = 2.0
NO_STATUS = "no status was heard"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """
    How a wait ended.

    :param outcome: the word of one of the :data:`~.outcomes.OUTCOMES`.
    :param service: the service's name.
    :param id: the id that was waited for.
    :param status: the last status that is known, None if there never was one.
    :param text: what happened, in one line; None if the vendor's final status says it all.
    :param concerns_account: whether it ends the waits for all ids of the task. A 403 may be about one id only.
    """

    outcome: str
    service: str
    id: str
    status: DocumentStatus | None = None
    text: str | None = None
    concerns_account: bool = False


class PollAgain(NamedTuple):
    """
    When to poll an id again.

    :param at: epoch seconds.
    :param fresh_connection: whether to open a new TCP connection and to read the Airflow connection again.
    """

    at: float
    fresh_connection: bool = False


@dataclass(kw_only=True, eq=False, slots=True)
class Wait:
    """
    The wait for one id, as a state machine.

    :param spec: the wait's times and bounds; a list's waits share it.
    :param service: the service's description.
    :param id: the id that is waited for.
    :param keeps_state: whether this object observes the whole wait. In reschedule mode it observes one poke only, so it cannot
        count the seconds of invalid replies.
    :param is_known: whether the service has once told a status of the id, here or in a process before.
    """

    spec: WaitSpec
    service: ServiceDescription
    id: str
    keeps_state: bool = True
    is_known: bool = False
    status: DocumentStatus | None = None
    trouble: DocStatusError | None = None
    #: When the service was asked last (epoch seconds); a 429 is no answer.
    asked_at: float | None = None
    #: The outcome of a refusal that is not confirmed yet, how often it was said, and when first.
    refusal: str | None = None
    refusals: int = 0
    refused_at: float = 0.0
    outage_since: float | None = None
    outage_seconds: float = 0.0
    invalid_since: float | None = None
    invalid_seconds: float = 0.0
    changed_at: float | None = None
    has_repeated_last: bool = False

    def observe(self, observation: DocumentStatus | DocStatusError, now: float) -> Ending | PollAgain | None:
        """
        Process a status, or the error in its place.

        :param now: epoch seconds.
        :return: the ending; or when to poll again, to confirm a refusal or to repeat a failed last poll; or None to go on at the
            poll interval.
        """
        is_late = now >= self.spec.deadline
        is_answer = not isinstance(observation, ServiceUnavailable) or observation.was_polled
        if is_answer:
            self.asked_at = now
        if isinstance(observation, DocumentStatus):
            self._note(observation, now)
            is_with_reviewer = observation.state is State.REVIEW and self.spec.on_review == "wait"
            if observation.state.is_final and not is_with_reviewer:
                return self._end(observation.state.value)
            stalled_after = None if is_with_reviewer else self.spec.stalled_after  # a person takes the time that it takes
            if stalled_after is not None and self._unchanged(now) - self.outage_seconds >= stalled_after:
                return self._stall(now)
            return self.time_out(now) if is_late else None
        self.trouble = observation
        if self.outage_since is None:
            self.outage_since = now
        verdict = self._judge(observation, now)
        if verdict is not None or not is_late:
            return verdict
        if not is_answer:  # the last poll is still to come
            return None
        if self.has_repeated_last:
            return self.time_out(now)
        self.has_repeated_last = True
        return PollAgain(now + REPEAT_AFTER)

    def time_out(self, now: float, why_not_asked: str | None = None) -> Ending:
        """
        Return the ending of a wait whose time is up.

        :param why_not_asked: why the last poll, which falls on the deadline, could not be made; None if it could.
        """
        asked_at = self.asked_at
        if why_not_asked and (asked_at is None or asked_at < min(self.spec.deadline, now)):
            since = self.spec.started_at if asked_at is None else asked_at
            known = f"; its last state was {self.status.state} ({self.status.word!r})" if self.status else ""
            known += f"; last trouble: {str(self.trouble).rstrip('.')}" if self.trouble else ""
            return self._end(
                NOT_ASKED,
                f"{self.service.title} could not be asked about {self.id} since {clock_time(since)}, {now - since:.0f} s ago: "
                f"{why_not_asked}{known}. The job may be finished; a retry asks again.",
            )
        waited = f"{self.service.title} {self.id} was not finished {now - self.spec.started_at:.0f} s after the start"
        if self.status is None:
            state = NO_STATUS
        else:
            unchanged = self._unchanged(now)  # the time before the first status is not known
            state = f"last state {self.status.state} ({self.status.word!r})"
            state += f", unchanged for {unchanged:.0f} s" if unchanged >= 1 else ""
        trouble = f"; last trouble: {str(self.trouble).rstrip('.')}" if self.trouble else ""
        return self._end(TIMED_OUT, f"{waited}: {state}{trouble}.")

    @property
    def last_seen(self) -> tuple[str, float] | None:
        """The progress fingerprint of the last status, and since when it holds (epoch seconds), later by outages; else None."""
        return (_fingerprint(self.status), (self.changed_at or 0.0) + self.outage_seconds) if self.status else None

    def _unchanged(self, now: float) -> float:
        return now - (now if self.changed_at is None else self.changed_at)

    def _note(self, status: DocumentStatus, now: float) -> None:
        if self.outage_since is not None:  # an outage may hold up the job as well
            self.outage_seconds += now - self.outage_since
            self.outage_since = None
        if self.status is None:
            self.changed_at = self._since(status, now)
        elif _progress(self.status) != _progress(status):
            self.changed_at, self.outage_seconds = now, 0.0
        self.status, self.trouble, self.refusal, self.is_known = status, None, None, True
        self.invalid_since, self.invalid_seconds = None, 0.0

    def _since(self, status: DocumentStatus, now: float) -> float:
        """Return since when the first status that this process observes has not changed (epoch seconds)."""
        seen = self.spec.seen(self.id)
        if seen is not None and seen[0] == _fingerprint(status):
            return seen[1]
        self.outage_seconds = 0.0
        updated_at = epoch(status.updated_at)
        return now if updated_at is None else min(now, max(updated_at, self.spec.started_at))

    def _stall(self, now: float) -> Ending:
        status = self.status
        assert status is not None  # observe has just set it  # noqa: S101
        counts = ", ".join(f"{name} {number}" for name, number in status.counters.items())
        title = self.service.title
        return self._end(
            OUTCOMES["stalled"].word,
            f"{title} {self.id} has stalled: still {status.state} ({status.word!r})"
            + (f" [{counts}]" if counts else "")
            + f", unchanged for {self._unchanged(now):.0f} s. The job at {title} was left alone.",
        )

    def _judge(self, error: DocStatusError, now: float) -> Ending | PollAgain | None:
        """
        Return what an error means for the wait.

        A refusal ends the wait only if it comes twice in a row. The second poll comes after a pause, on a fresh connection.
        """
        if isinstance(error, ServiceUnavailable):
            self.invalid_since = None
            if error.was_polled:  # after an outage another replica may respond
                self.refusal = None
            return None
        if isinstance(error, UnexpectedReply):
            self.invalid_seconds += now - (now if self.invalid_since is None else self.invalid_since)
            self.invalid_since, self.refusal = now, None
            if not self.keeps_state or self.invalid_seconds < PATIENCE:
                return None
            return self._end(OUTCOMES["unexpected"].word, f"{error} No sound reply for {self.invalid_seconds:.0f} s.")
        if not needs_confirmation(error):
            return self._end(outcome_of(error), str(error), concerns_account=_concerns_account(error))
        is_gone = isinstance(error, NotFound) and error.is_gone
        in_grace = now < self.spec.started_at + self.spec.grace and self.status is None
        if isinstance(error, NotFound) and in_grace and not is_gone:
            self.refusal = None
            return None
        outcome = State.EXPIRED.value if is_gone else outcome_of(error)
        if self.refusal != outcome:
            self.refusal, self.refused_at, self.refusals = outcome, now, 0
        self.refusals += 1
        lost_after = self.service.lost_after
        may_return = isinstance(error, NotFound) and not is_gone and (self.is_known or lost_after is not None)
        least, after = (LEAST_404S, lost_after or LOST_AFTER) if may_return else (2, CONFIRM_AFTER)
        if self.refusals >= least and now >= self.refused_at + after:
            return self._end(outcome, str(error), concerns_account=_concerns_account(error))
        if may_return and now >= self.spec.deadline:
            return None
        return PollAgain(now + after / 4 if may_return else self.refused_at + after, fresh_connection=True)

    def _end(self, outcome: str, text: str | None = None, *, concerns_account: bool = False) -> Ending:
        return Ending(
            outcome=outcome,
            service=self.service.name,
            id=self.id,
            status=self.status,
            text=text and with_file_name(text, outcome, self.status),
            concerns_account=concerns_account,
        )


def with_file_name(text: str, outcome: str, status: DocumentStatus | None) -> str:
    """Return the text of an ending; it begins with the name of the document's file, unless it concerns the whole account."""
    name = status.file_name if status and OUTCOMES[outcome].concerns != "account" else None
    return f"{name}: {text}" if name and name not in text else text


def _concerns_account(error: DocStatusError) -> bool:
    """Whether an error concerns all ids of an account: a 403 may be about one id only."""
    is_about_id = isinstance(error, KeyRejected) and error.may_be_about_id
    return OUTCOMES[outcome_of(error)].concerns == "account" and not is_about_id


def needs_confirmation(error: DocStatusError) -> bool:
    """
    Whether an error ends a wait only if it comes twice in a row.

    Every refusal by the service must be confirmed, except a used-up account (402, documented quota codes). An error for which
    nothing was sent needs no confirmation.
    """
    return isinstance(error, RequestRejected) and error.code is not None and not isinstance(error, QuotaExhausted)


def epoch(time: str | None) -> float | None:
    """Return a time of a status (ISO 8601) as epoch seconds, None if there is none."""
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except (TypeError, ValueError):  # an event that this package did not write
        return None


def is_past_retention(service: ServiceDescription, since: float | None, now: float) -> bool:
    """Whether a job of that time (epoch seconds) is older than the retention that the service documents."""
    return service.retention_seconds is not None and since is not None and now > since + service.retention_seconds


def _progress(status: DocumentStatus) -> tuple[str, dict[str, int], str | None]:
    """Return the fields that count as progress."""
    return status.word, dict(status.counters), status.updated_at


def _fingerprint(status: DocumentStatus) -> str:
    """Return a short hash of the fields that count as progress."""
    return hashlib.sha256(json.dumps(_progress(status), sort_keys=True).encode()).hexdigest()[:12]
