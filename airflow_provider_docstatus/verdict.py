"""
One judge for poke, reschedule and deferrable mode: when a wait ends, and what its end means for the task.

:class:`Wait` hears every observation and says when it is enough; :func:`settle` turns the ending into an XCom value or
into the exception that makes Airflow do the right thing. Both are the same wherever the wait was held.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    Expired,
    KeyRejected,
    NoData,
    NoSuchRoute,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    ResultTooLarge,
    ServiceUnavailable,
    Stalled,
    UnexpectedReply,
)
from airflow_provider_docstatus.reply import one_line
from airflow_provider_docstatus.status import DocumentStatus, State

EVENT_VERSION = 1
#: Seconds of nothing but garbage after which a wait ends: HTML, broken JSON, unknown words; one reply alone never does.
PATIENCE = 600.0

TIMED_OUT = "timed_out"
NO_STATUS = "no status was heard"


class WaitTimedOut(DocStatusError, AirflowSensorTimeout):
    """``timeout`` passed before the document was finished; Airflow does not retry it. The remote job was left alone."""

    limit = "timeout"


class ExecutionTimedOut(DocStatusError, AirflowTaskTimeout):
    """``execution_timeout`` passed before the document was finished; retried as the task says. The remote job was left alone."""

    limit = "execution_timeout"


Overdue: TypeAlias = type[WaitTimedOut] | type[ExecutionTimedOut]


def _for_good(error: type[DocStatusError]) -> type[DocStatusError]:
    """Join an error with AirflowFailException, so that Airflow does not retry what a retry cannot help."""
    return type(error.__name__, (error, AirflowFailException), {"__doc__": error.__doc__, "__module__": __name__})


_FOR_GOOD: dict[type[DocStatusError], type[DocStatusError]] = {
    error: _for_good(error)
    for error in (
        DocumentFailed,
        Expired,
        KeyRejected,
        NoData,
        NoSuchRoute,
        NotFinished,
        NotFound,
        QuotaExhausted,
        RequestRejected,
        ResultTooLarge,
        Stalled,
    )
}

# How an ending that is not a final state is called in events, and the error it becomes. ``expired`` is both: the vendor's
# word, or what explains a 404.
_ERRORS: Mapping[str, type[DocStatusError]] = {
    State.EXPIRED.value: Expired,
    "stalled": Stalled,
    "not_found": NotFound,
    "key_rejected": KeyRejected,
    "quota": QuotaExhausted,
    "rejected": RequestRejected,
    "unexpected": UnexpectedReply,
    TIMED_OUT: WaitTimedOut,
}
_FINAL_STATES = frozenset(state.value for state in State if state.is_final)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """
    How a wait ended.

    :param outcome: a final :class:`State`, or one of ``not_found``, ``stalled``, ``key_rejected``, ``quota``, ``rejected``,
        ``unexpected``, ``timed_out``.
    :param service: the service's name.
    :param id: the id that was waited for.
    :param status: the last status that is known, None if there never was one.
    :param text: what happened, in one line; None for a final state that the vendor told.
    """

    outcome: str
    service: str
    id: str
    status: DocumentStatus | None = None
    text: str | None = None

    def to_event(self) -> dict[str, Any]:
        """Return the trigger event: JSON, small, no document text and no key."""
        return {
            "version": EVENT_VERSION,
            "outcome": self.outcome,
            "service": self.service,
            "id": self.id,
            "status": self.status.to_dict() if self.status else None,
            "text": self.text,
        }

    @classmethod
    def from_event(cls, event: Any) -> Ending:
        """
        Read a trigger event.

        :raises UnexpectedReply: it is none of ours, or of a version this worker does not know; an unknown event never
            opens a gate.
        """
        event = readable(event)
        outcome = event.get("outcome")
        if not isinstance(outcome, str) or (outcome not in _FINAL_STATES and outcome not in _ERRORS):
            raise UnexpectedReply(f"The trigger's event has an unknown outcome, {one_line(str(outcome))!r}.")
        try:
            status = _checked(DocumentStatus.from_dict(event["status"])) if event["status"] is not None else None
            ending = cls(outcome=outcome, service=event["service"], id=event["id"], status=status, text=event["text"])
            _require_texts(ending.service, ending.id, *([] if ending.text is None else [ending.text]))
        except (KeyError, TypeError, ValueError) as error:
            raise UnexpectedReply(f"The trigger's event cannot be read ({type(error).__name__}).") from error
        if status is not None and (status.service, status.id) != (ending.service, ending.id):
            raise UnexpectedReply(f"The trigger's event is about {one_line(ending.id)} but holds the status of another id.")
        is_told = status is not None and status.state == outcome
        if outcome in _FINAL_STATES and not is_told and not (outcome in _ERRORS and ending.text):
            raise UnexpectedReply(f"The trigger's event says {outcome} but holds no such status.")
        return ending


def readable(event: Any) -> Mapping[str, Any]:
    """
    Return a trigger's event if this worker reads its version.

    :raises UnexpectedReply: it does not, or it is none of ours.
    """
    if not isinstance(event, Mapping):
        raise UnexpectedReply(f"The trigger sent no event of this package but a {type(event).__name__}.")
    version = event.get("version")
    if type(version) is not int or version != EVENT_VERSION:
        raise UnexpectedReply(
            f"The trigger's event has version {version!r}, this worker reads {EVENT_VERSION}: install the same "
            "airflow-provider-docstatus on workers and triggerers."
        )
    return event


def _checked(status: DocumentStatus) -> DocumentStatus:
    """Return a status that an event holds. Raises TypeError if something in it is not what it should be."""
    times = (status.created_at, status.started_at, status.updated_at, status.completed_at)
    errors = [text for child in status.children for text in (child.id, child.message or "")]
    _require_texts(status.service, status.kind, status.id, status.word, *errors)
    _require_texts(*[text for text in (status.message, status.link, *times) if text is not None])
    if not isinstance(status.counters, Mapping) or not isinstance(status.details, Mapping):
        raise TypeError("counters and details are dicts")
    return status


def _require_texts(*texts: object) -> None:
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is something else")


@dataclass(kw_only=True)
class Wait:
    """
    What one wait remembers, and when it is enough.

    :param service: the service's name.
    :param title: its name for people.
    :param id: the id that is waited for.
    :param started_at: this try's first start (epoch seconds); the grace for unknown ids counts from it.
    :param deadline: epoch seconds.
    :param grace: seconds after the start in which the vendor may not know the id yet.
    :param stalled_after: seconds without a change after which the wait ends, None for never.
    :param seen: what :attr:`last_seen` was when the wait came from another process; the clock goes on if nothing changed.
    :param is_resumed: whether the wait began in another process, which may have heard more.
    :param remembers: whether this object hears all observations of the wait; in reschedule mode it does not, and then
        a run of bad replies cannot be told from a single one.
    """

    service: str
    title: str
    id: str
    started_at: float
    deadline: float
    grace: float
    remembers: bool = True
    is_resumed: bool = False
    stalled_after: float | None = None
    seen: tuple[str, float] | None = None
    status: DocumentStatus | None = None
    trouble: DocStatusError | None = None
    silent_since: float | None = None
    garbled_at: float | None = None
    garbled_for: float = 0.0
    lost: int = 0
    changed_at: float | None = None
    unheard: float = 0.0
    is_asked_again: bool = False

    def hear(self, observation: DocumentStatus | DocStatusError, now: float) -> Ending | None:
        """
        Take in a status, or the error in its place; return the ending, or None to go on.

        An error in answer to the last question, which falls on the deadline, is no answer: it is asked once more.

        :param now: epoch seconds.
        """
        if isinstance(observation, DocumentStatus):
            self._note(observation, now)
            if observation.state.is_final:
                return self._end(observation.state.value)
            if self.stalled_after is not None and self._unchanged(now) - self.unheard >= self.stalled_after:
                return self._stall(now)
        else:
            self.trouble = observation
            if self.silent_since is None:
                self.silent_since = now
            ending = self._end_by(observation, now)
            if ending is not None:
                return ending
            if now >= self.deadline and not self.is_asked_again:
                self.is_asked_again = True
                return None
        return self.time_out(now) if now >= self.deadline else None

    def doubts(self, observation: DocumentStatus | DocStatusError, now: float) -> bool:
        """Whether this wait, which has heard nothing yet, would end by an unknown id: a deploy or a proxy answers 404 as well."""
        is_unknown = isinstance(observation, NotFound) and not observation.is_gone
        return is_unknown and self.status is None and self.lost == 0 and now >= self.started_at + self.grace

    def time_out(self, now: float) -> Ending:
        """Return the ending of a wait whose time is up."""
        waited = f"{self.title} {self.id} was not finished {now - self.started_at:.0f} s after the start"
        if self.status is None:
            state = NO_STATUS
        else:
            unchanged = self._unchanged(now)  # nothing is known of the time before where this was all that was heard
            state = f"last state {self.status.state} ({self.status.word!r})"
            state += f", unchanged for {unchanged:.0f} s" if unchanged >= 1 else ""
        trouble = f"; last trouble: {str(self.trouble).rstrip('.')}" if self.trouble else ""
        return self._end(TIMED_OUT, f"{waited}: {state}{trouble}.")

    @property
    def last_seen(self) -> tuple[str, float] | None:
        """What the vendor said last, as a mark of a few letters, and since when (epoch seconds); None if it never did."""
        return (_mark(self.status), (self.changed_at or 0.0) + self.unheard) if self.status else None

    def _unchanged(self, now: float) -> float:
        return now - (now if self.changed_at is None else self.changed_at)

    def _note(self, status: DocumentStatus, now: float) -> None:
        if self.silent_since is not None:  # while the service could not be heard, the job may have had no chance to move
            self.unheard += now - self.silent_since
            self.silent_since = None
        if self.status is None:
            self.changed_at = self._since(status, now)
        elif _said(self.status) != _said(status):
            self.changed_at, self.unheard = now, 0.0
        self.status, self.trouble = status, None
        self.garbled_at, self.garbled_for, self.lost = None, 0.0, 0

    def _since(self, status: DocumentStatus, now: float) -> float:
        """Return since when a status stands that is the first this process hears."""
        if self.seen is not None and self.seen[0] == _mark(status):
            return self.seen[1]
        self.unheard = 0.0
        updated_at = epoch(status.updated_at)
        return now if updated_at is None else min(now, max(updated_at, self.started_at))

    def _stall(self, now: float) -> Ending:
        status = self.status
        assert status is not None  # it has just been heard  # noqa: S101
        counts = ", ".join(f"{name} {number}" for name, number in status.counters.items())
        return self._end(
            "stalled",
            f"{self.title} {self.id} has stalled: still {status.state} ({status.word!r})"
            + (f" [{counts}]" if counts else "")
            + f", unchanged for {self._unchanged(now):.0f} s. The job at {self.title} was left alone.",
        )

    def _end_by(self, error: DocStatusError, now: float) -> Ending | None:
        """Return the ending for an error that waiting does not mend."""
        if isinstance(error, NotFound):
            self.lost += 1
            is_new = now < self.started_at + self.grace and self.status is None and not error.is_gone
            # An id that was known, here or on the worker, is gone when that is said twice in a row.
            is_doubtful = (self.status is not None or self.is_resumed) and self.lost == 1
            return None if is_new or is_doubtful else self._end(State.EXPIRED.value if error.is_gone else "not_found", str(error))
        if isinstance(error, ServiceUnavailable):  # an outage is no garbage, and whoever speaks after it may be another
            self.garbled_at, self.lost = None, 0
            return None
        if isinstance(error, UnexpectedReply):
            self.garbled_for += now - (now if self.garbled_at is None else self.garbled_at)
            self.garbled_at = now
            is_long = self.remembers and self.garbled_for >= PATIENCE
            return self._end("unexpected", f"{error} No sound reply for {self.garbled_for:.0f} s.") if is_long else None
        for outcome in ("key_rejected", "quota", "rejected"):
            if isinstance(error, _ERRORS[outcome]):
                return self._end(outcome, str(error))
        return self._end("unexpected", str(error))

    def _end(self, outcome: str, text: str | None = None) -> Ending:
        return Ending(outcome=outcome, service=self.service, id=self.id, status=self.status, text=text)


def settle(ending: Ending, accept: Collection[str] = (), *, overdue: Overdue = WaitTimedOut) -> dict[str, Any]:
    """
    Return the XCom value of a wait that ended well; raise what it means otherwise.

    :param ending: how the wait ended.
    :param accept: the final states besides ``succeeded`` that open the gate: ``partial``, ``review``.
    :param overdue: the error of a wait whose time is up.
    :raises DocumentFailed: the vendor ended it without (all of) the data, no longer has it, or it has stalled: its owner must
        look. Not retried.
    :raises RequestRejected: key, quota, id: the DAG's author. Not retried.
    :raises UnexpectedReply: only garbage for ten minutes: this package or a proxy. Retried as the task says.
    :raises WaitTimedOut: ``timeout`` passed. Not retried.
    :raises ExecutionTimedOut: ``execution_timeout`` passed. Retried as the task says.
    """
    status = ending.status
    about: dict[str, Any] = {
        "service": ending.service,
        "id": ending.id,
        "state": status.state if status else None,
        "link": status.link if status else None,
    }
    if ending.outcome in _ERRORS:
        text = ending.text or (why_closed(status) if status and status.state.is_final else ending.outcome)
        if ending.outcome == TIMED_OUT:
            raise too_late(f"{text} The job was left alone", overdue, **about)
        raise for_airflow(_ERRORS[ending.outcome](text, **about))
    if status is None:  # Ending.from_event refuses it; a programming error here
        raise ValueError(f"{ending.outcome} without a status")
    if status.state is State.SUCCEEDED or status.state.value in accept:
        return status.to_dict()
    raise for_airflow(DocumentFailed(why_closed(status), **about))


def too_late(text: str, overdue: Overdue, **about: Any) -> DocStatusError:
    """Return the error of a wait whose time is up; its text goes on with the limit that passed and what to do."""
    limit = overdue.limit
    return overdue(f"{text} when {limit} passed; clear the task to wait on, or raise {limit}.", **about)


def remembered(ending: Ending, status: DocumentStatus) -> Ending:
    """Return the ending of a wait that heard no status with the one that was known before it was deferred."""
    known = f"last state {status.state} ({status.word!r}), before it was deferred"
    return replace(ending, status=status, text=ending.text and ending.text.replace(NO_STATUS, known))


def error_of(outcome: str) -> type[DocStatusError]:
    """Return the error that an ending becomes which is not a good one."""
    return _ERRORS.get(outcome, DocumentFailed)


def epoch(time: str | None) -> float | None:
    """Return a time of a status (ISO 8601) as epoch seconds, None if there is none."""
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except (TypeError, ValueError):  # in an event of somebody else's making
        return None


def _said(status: DocumentStatus) -> tuple[str, dict[str, int], str | None]:
    """Return what counts as a change when it is another."""
    return status.word, dict(status.counters), status.updated_at


def _mark(status: DocumentStatus) -> str:
    """Return a few letters in the place of all that."""
    return hashlib.sha256(json.dumps(_said(status), sort_keys=True).encode()).hexdigest()[:12]


def why_closed(status: DocumentStatus) -> str:
    """Return why a final status does not open a gate, with the vendor's text, the link, and the way to let it pass."""
    errors = status.to_dict()["errors"]
    reasons = status.message or "; ".join(f"{child}: {text}" for child, text in errors.items()) or "the vendor gave no reason"
    counts = ", ".join(f"{name} {number}" for name, number in status.counters.items())
    text = f"{status.service} {status.kind} {status.id} ended {status.state} ({status.word!r})"
    text += (f" [{counts}]" if counts else "") + f": {one_line(reasons)}"
    if status.state in (State.PARTIAL, State.REVIEW):
        text += f". To let it pass, give the task accept=('{status.state}',)."
    return text + (f" {one_line(status.link)}" if status.link else "")


def for_airflow(error: DocStatusError) -> DocStatusError:
    """Return the error joined with Airflow's: what a retry cannot help is not retried."""
    joined = _FOR_GOOD.get(type(error))
    if joined is None:
        return error
    return joined(str(error), service=error.service, id=error.id, state=error.state, link=error.link)


@contextmanager
def errors_for_airflow() -> Iterator[None]:
    """Raise this package's errors as Airflow should see them."""
    try:
        yield
    except DocStatusError as error:
        joined = for_airflow(error)
        if joined is error:
            raise
        raise joined from error
