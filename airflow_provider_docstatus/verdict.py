"""
One judge for poke, reschedule and deferrable mode: when a wait ends, and what its end means for the task.

:class:`Wait` hears every observation and says when it is enough; :func:`settle` turns the ending into an XCom value or
into the exception that makes Airflow do the right thing. Both are the same wherever the wait was held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    NoSuchRoute,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    ResultTooLarge,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.reply import one_line
from airflow_provider_docstatus.status import DocumentStatus, State

EVENT_VERSION = 1
#: Seconds without one sound reply after which a wait ends: HTML, broken JSON, unknown words.
PATIENCE = 600.0

TIMED_OUT = "timed_out"


class WaitTimedOut(DocStatusError, AirflowSensorTimeout):
    """The time-out passed before the document was finished; Airflow does not retry it. The remote job was left alone."""


def _for_good(error: type[DocStatusError]) -> type[DocStatusError]:
    """Join an error with AirflowFailException, so that Airflow does not retry what a retry cannot help."""
    return type(error.__name__, (error, AirflowFailException), {"__doc__": error.__doc__, "__module__": __name__})


_FOR_GOOD: dict[type[DocStatusError], type[DocStatusError]] = {
    error: _for_good(error)
    for error in (
        DocumentFailed,
        KeyRejected,
        NoData,
        NoSuchRoute,
        NotFinished,
        NotFound,
        QuotaExhausted,
        RequestRejected,
        ResultTooLarge,
    )
}

# How an ending that is not a final state is called in events, and the error it becomes.
_ERRORS: Mapping[str, type[DocStatusError]] = {
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

    :param outcome: a final :class:`State`, or one of ``not_found``, ``key_rejected``, ``quota``, ``rejected``,
        ``unexpected``, ``timed_out``.
    :param service: the service's name.
    :param id: the id that was waited for.
    :param status: the last status that is known, None if there never was one.
    :param text: what happened, in one line; None for a final state.
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
        if not isinstance(event, Mapping):
            raise UnexpectedReply(f"The trigger sent no event of this package but a {type(event).__name__}.")
        if event.get("version") != EVENT_VERSION:
            raise UnexpectedReply(
                f"The trigger's event has version {event.get('version')!r}, this worker reads {EVENT_VERSION}: install the same "
                "airflow-provider-docstatus on workers and triggerers."
            )
        outcome = event.get("outcome")
        if not isinstance(outcome, str) or (outcome not in _FINAL_STATES and outcome not in _ERRORS):
            raise UnexpectedReply(f"The trigger's event has an unknown outcome, {one_line(str(outcome))!r}.")
        try:
            status = DocumentStatus.from_dict(event["status"]) if event["status"] is not None else None
            ending = cls(
                outcome=str(outcome), service=str(event["service"]), id=str(event["id"]), status=status, text=event["text"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnexpectedReply(f"The trigger's event cannot be read ({type(error).__name__}).") from error
        if outcome in _FINAL_STATES and (status is None or status.state != outcome):
            raise UnexpectedReply(f"The trigger's event says {outcome} but holds no such status.")
        return ending


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
    status: DocumentStatus | None = None
    trouble: DocStatusError | None = None
    sound_at: float | None = None
    changed_at: float | None = None

    def hear(self, observation: DocumentStatus | DocStatusError, now: float) -> Ending | None:
        """
        Take in a status, or the error in its place; return the ending, or None to go on.

        :param now: epoch seconds.
        """
        if isinstance(observation, DocumentStatus):
            self._note(observation, now)
            if observation.state.is_final:
                return self._end(observation.state.value)
        else:
            self.trouble = observation
            ending = self._end_by(observation, now)
            if ending is not None:
                return ending
        return self.time_out(now) if now >= self.deadline else None

    def time_out(self, now: float) -> Ending:
        """Return the ending of a wait whose time is up."""
        waited = f"{self.title} {self.id} was not finished {now - self.started_at:.0f} s after the start"
        if self.status is None:
            state = "it never gave a status"
        else:
            state = f"last state {self.status.state} ({self.status.word!r}), unchanged for {now - (self.changed_at or now):.0f} s"
        trouble = f"; last trouble: {str(self.trouble).rstrip('.')}" if self.trouble else ""
        return self._end(TIMED_OUT, f"{waited}: {state}{trouble}. The job at {self.title} was left alone.")

    def _note(self, status: DocumentStatus, now: float) -> None:
        known = self.status
        if known is None or (known.word, known.counters, known.updated_at) != (status.word, status.counters, status.updated_at):
            self.changed_at = now
        self.status, self.trouble, self.sound_at = status, None, now

    def _end_by(self, error: DocStatusError, now: float) -> Ending | None:
        """Return the ending for an error that waiting does not mend."""
        if isinstance(error, NotFound):
            is_new = now < self.started_at + self.grace and self.status is None
            return None if is_new else self._end("not_found", str(error))
        if isinstance(error, ServiceUnavailable):
            return None
        if isinstance(error, UnexpectedReply):
            # The clock starts with the first reply this process hears: what came before may have been sound.
            self.sound_at = now if self.sound_at is None else self.sound_at
            is_long = self.remembers and now >= self.sound_at + PATIENCE
            return self._end("unexpected", f"{error} No sound reply for {now - self.sound_at:.0f} s.") if is_long else None
        for outcome in ("key_rejected", "quota", "rejected"):
            if isinstance(error, _ERRORS[outcome]):
                return self._end(outcome, str(error))
        return self._end("unexpected", str(error))

    def _end(self, outcome: str, text: str | None = None) -> Ending:
        return Ending(outcome=outcome, service=self.service, id=self.id, status=self.status, text=text)


def settle(ending: Ending, accept: Collection[str] = ()) -> dict[str, Any]:
    """
    Return the XCom value of a wait that ended well; raise what it means otherwise.

    :param ending: how the wait ended.
    :param accept: the final states besides ``succeeded`` that open the gate: ``partial``, ``review``.
    :raises DocumentFailed: the vendor ended it without (all of) the data: its owner must look. Not retried.
    :raises RequestRejected: key, quota, id: the DAG's author. Not retried.
    :raises UnexpectedReply: only garbage for ten minutes: this package or a proxy. Retried as the task says.
    :raises WaitTimedOut: the time-out passed. Not retried.
    """
    status = ending.status
    about: dict[str, Any] = {
        "service": ending.service,
        "id": ending.id,
        "state": status.state if status else None,
        "link": status.link if status else None,
    }
    if ending.outcome in _ERRORS:
        raise for_airflow(_ERRORS[ending.outcome](ending.text or ending.outcome, **about))
    if status is None:  # Ending.from_event refuses it; a programming error here
        raise ValueError(f"{ending.outcome} without a status")
    if status.state is State.SUCCEEDED or status.state.value in accept:
        return status.to_dict()
    raise for_airflow(DocumentFailed(why_closed(status), **about))


def error_of(outcome: str) -> type[DocStatusError]:
    """Return the error that an ending which is no final state becomes."""
    return _ERRORS[outcome]


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
