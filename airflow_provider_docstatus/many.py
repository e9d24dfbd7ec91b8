"""
Several ids waited for as one: when it is enough, and the manifest that tells how each of them ended.

The trigger's event names states by one letter an id, in the order the task named the ids; the worker, which knows the ids,
makes the manifest of it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_docstatus.exceptions import DocStatusError, RequestRejected, UnexpectedReply
from airflow_provider_docstatus.reply import one_line, utc_time
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.status import MOST_ERRORS, DocumentStatus, State
from airflow_provider_docstatus.verdict import (
    EVENT_VERSION,
    TIMED_OUT,
    Ending,
    Overdue,
    Wait,
    WaitTimedOut,
    epoch,
    error_of,
    for_airflow,
    readable,
    too_late,
    why_closed,
)

#: Ids that one task may wait for; more are a task each thousand.
MOST_IDS = 1000

_RUNNING = State.RUNNING.value
_LETTERS: Mapping[str, str] = {
    _RUNNING: "r",
    State.SUCCEEDED.value: "s",
    State.PARTIAL.value: "p",
    State.REVIEW.value: "v",
    State.FAILED.value: "f",
    State.CANCELLED.value: "c",
    State.EXPIRED.value: "e",
    "not_found": "n",
    "stalled": "l",
    "rejected": "x",
    "unexpected": "u",
    "key_rejected": "k",
    "quota": "q",
    TIMED_OUT: "t",
}
#: Unknown, and by its own age not expired: the run's age does not matter then.
_UNKNOWN_BUT_NEW = "N"
_WORDS = {_UNKNOWN_BUT_NEW: "not_found"} | {letter: word for word, letter in _LETTERS.items()}
#: Endings that are about the account, not about one id; a 403 may be about one, but no vendor's reply says which.
_FATAL = ("key_rejected", "quota")
_LONGEST_ERROR = 300


def checked_ids(parameter: str, ids: Sequence[object]) -> list[object]:
    """
    Return a list of ids without repetitions.

    :raises RequestRejected: more than a thousand; the DAG's author must cut them into chunks.
    """
    unique = list({str(one): one for one in ids}.values())
    if len(unique) > MOST_IDS:
        raise RequestRejected(
            f"{parameter} has {len(unique):,} ids; one task waits for at most {MOST_IDS:,}. Cut the list into chunks and map: "
            f".expand({parameter}=chunks), where an upstream task returns "
            f"[ids[i : i + {MOST_IDS}] for i in range(0, len(ids), {MOST_IDS})]."
        )
    return unique


def needed_of(wait_for: float | str, total: int) -> int:
    """
    Return how many ids must end well.

    :param wait_for: ``all``, ``any``, a whole number of ids, or a share between 0 and 1.
    :raises ValueError: none of these; the DAG's author must change it.
    """
    if wait_for == "all":
        return total
    if wait_for == "any":
        return min(1, total)
    if isinstance(wait_for, bool) or not isinstance(wait_for, (int, float)):
        wait_for = 0
    if isinstance(wait_for, int) and wait_for >= 1:
        return min(wait_for, total)
    if isinstance(wait_for, float) and 0 < wait_for < 1:
        return math.ceil(round(wait_for * total, 6))  # 0.55 of 100 is 55.00000000000001
    raise ValueError("wait_for must be 'all', 'any', a whole number of ids from 1, or a share between 0 and 1 (float)")


@dataclass(kw_only=True)
class Group:
    """
    The waits of one task for several ids.

    :param waits: a wait for each id, in the order of the ids.
    :param needed: how many must end well.
    :param accept: final states besides ``succeeded`` that count as well.
    :param fail_fast: whether the first id that ends otherwise ends the wait.
    """

    waits: Mapping[str, Wait]
    needed: int
    accept: Collection[str] = ()
    fail_fast: bool = False
    endings: dict[str, Ending] = field(default_factory=dict)
    good: int = 0

    def hear(self, id: str, observation: DocumentStatus | DocStatusError, now: float) -> Ending | None:  # noqa: A002
        """Take in what is said about one id; return its ending if it has one."""
        ending = self.waits[id].hear(observation, now)
        if ending is not None and id not in self.endings:
            self.endings[id] = ending
            self.good += self._is_good(ending)
        return ending

    @property
    def is_over(self) -> bool:
        """Whether nothing that is still open could change the outcome, or everything has ended."""
        total, ended = len(self.waits), len(self.endings)
        bad = ended - self.good
        if ended == total or self.fatal is not None or (bad and self.fail_fast):
            return True
        return self.needed < total and (self.good >= self.needed or total - bad < self.needed)

    @property
    def fatal(self) -> Ending | None:
        """The ending that is about the account and so ends all."""
        return next((ending for ending in self.endings.values() if ending.outcome in _FATAL), None)

    def open_ids(self) -> list[str]:
        """Return the ids that have not ended, in order."""
        return [one for one in self.waits if one not in self.endings]

    def time_out(self, now: float) -> None:
        """End every id that is still open."""
        for one in self.open_ids():
            self.endings[one] = self.waits[one].time_out(now)

    def summary(self) -> str:
        """Return how far the wait is, in one line."""
        counts = Counter(ending.outcome for ending in self.endings.values())
        shown = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
        return f"{len(self.endings)} of {len(self.waits)} ended" + (f" ({shown})" if shown else "")

    def to_event(self, *, calls: int, now: float) -> dict[str, Any]:
        """Return the trigger event: one letter an id, the first errors; no reply, no key."""
        letters = "".join(_letter(self.endings[one], now) if one in self.endings else "r" for one in self.waits)
        errors: dict[str, str | None] = {}
        for one, ending in self.endings.items():
            if not self._is_good(ending) and len(errors) < MOST_ERRORS:
                errors[one] = one_line((ending.text or why_closed(ending.status) if ending.status else ending.text) or "")
        first = next(iter(self.waits.values()))
        return {
            "version": EVENT_VERSION,
            "service": first.service,
            "started_at": first.started_at,
            "states": letters,
            "mark": _mark(self.waits),
            "errors": {one: (text or "")[:_LONGEST_ERROR] for one, text in errors.items()},
            "calls": calls,
            "ended_at": now,
            "text": self.fatal.text if self.fatal else None,
        }

    def _is_good(self, ending: Ending) -> bool:
        return ending.outcome == State.SUCCEEDED.value or ending.outcome in self.accept


def manifest(ids: Sequence[str], event: Any, *, parameter: str, operation: str | None, is_late: bool = False) -> dict[str, Any]:
    """
    Return what became of each id: counts and ids by state, the first errors, times, calls.

    :param event: :meth:`Group.to_event`.
    :param is_late: whether the vendor's retention explains that an id is unknown whose own age is not known.
    :raises UnexpectedReply: the event is none of ours, or not about these ids.
    """
    event = readable(event)
    if event.get("outcome") == "unexpected":
        raise UnexpectedReply(str(event.get("text")))
    letters = event.get("states")
    if not isinstance(letters, str) or len(letters) != len(ids) or set(letters) - set(_WORDS):
        raise UnexpectedReply(f"The trigger's event does not tell the states of these {len(ids)} ids.")
    if event.get("mark", _mark(ids)) != _mark(ids):  # the first form had none
        raise UnexpectedReply(f"The trigger's event is not about these {len(ids)} ids, or has them in another order.")
    if is_late:
        letters = letters.replace(_LETTERS["not_found"], _LETTERS[State.EXPIRED.value])
    errors = event.get("errors")
    by_state: dict[str, list[str]] = {}
    for one, letter in zip(ids, letters, strict=True):
        by_state.setdefault(_WORDS[letter], []).append(one)
    return {
        "service": event.get("service"),
        "parameter": parameter,
        "operation": operation,
        "total": len(ids),
        "counts": {state: len(members) for state, members in by_state.items()},
        "ids": by_state,
        "errors": dict(errors) if isinstance(errors, Mapping) else {},
        "started_at": utc_time(event.get("started_at")),
        "ended_at": utc_time(event.get("ended_at")),
        "calls": event.get("calls"),
    }


def is_past_retention(service: object, since: float | None, now: float) -> bool:
    """Whether a service documents that it no longer knows what it was given then (epoch seconds)."""
    keeps_for = SERVICES[str(service)].keeps_for if str(service) in SERVICES else None
    return keeps_for is not None and since is not None and now > since + keeps_for


def _letter(ending: Ending, now: float) -> str:
    """Return the letter of an ending; of an unknown id whose age is known, that decides between expired and not found."""
    created_at = epoch(ending.status.created_at) if ending.outcome == "not_found" and ending.status else None
    if created_at is None:
        return _LETTERS[ending.outcome]
    return _LETTERS[State.EXPIRED.value] if is_past_retention(ending.service, created_at, now) else _UNKNOWN_BUT_NEW


def _mark(ids: Iterable[str]) -> str:
    """Return a few letters in the place of ids in their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]


def settle_many(
    made: Mapping[str, Any],
    *,
    needed: int,
    accept: Collection[str],
    text: str | None,
    overdue: Overdue = WaitTimedOut,
) -> dict[str, Any]:
    """
    Return the manifest of a wait that ended well; raise what it means otherwise.

    :param made: :func:`manifest`.
    :param overdue: the error of a wait whose time is up.
    :raises DocumentFailed: too few ended well: the documents' owner must look. Not retried.
    :raises RequestRejected: key or quota: the DAG's author. Not retried.
    :raises WaitTimedOut: too few ended in time. Not retried.
    :raises ExecutionTimedOut: too few ended within ``execution_timeout``. Retried as the task says.
    """
    counts = Counter(made["counts"])
    good = counts[State.SUCCEEDED.value] + sum(counts[state] for state in accept)
    fatal = next((outcome for outcome in _FATAL if counts[outcome]), None)
    if good >= needed and fatal is None:
        return dict(made)
    shown = ", ".join(f"{number} {state}" for state, number in counts.most_common())
    errors = "; ".join(f"{one}: {str(error).rstrip('.')}" for one, error in list(made["errors"].items())[:3])
    said = f"{good} of {made['total']} ids ended well, {needed} were needed ({shown})" + (f": {errors}" if errors else "")
    about = {"service": made["service"]}
    if fatal is not None:
        raise for_airflow(error_of(fatal)(text or said, **about))
    if good + counts[TIMED_OUT] + counts[_RUNNING] >= needed and counts[TIMED_OUT]:
        raise too_late(f"{said}. The jobs were left alone", overdue, **about)
    for outcome in ("rejected", "not_found", "unexpected"):
        still_possible = counts[_RUNNING] + counts[TIMED_OUT] + counts[outcome]
        if counts[outcome] and good + still_possible >= needed:
            raise for_airflow(error_of(outcome)(said, **about))
    hint = [state for state in (State.PARTIAL.value, State.REVIEW.value) if counts[state] and state not in accept]
    said += f". To let them pass, give the task accept={tuple(hint)}." if hint else ""
    bad = [state for state in counts if state not in (State.SUCCEEDED.value, _RUNNING, TIMED_OUT, *accept)]
    raise for_airflow(error_of(bad[0] if len(bad) == 1 else State.FAILED.value)(said, **about))
