"""
The report of a wait: the event that a trigger sends, the manifest of a list, and the result or the error of the task.

The event of a list is short: one letter for each id, in the order of the task's ids. The worker knows the ids, and makes the
manifest from ids and letters.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_docstatus.exceptions import DocStatusError, ExecutionTimedOut, UnexpectedReply, WaitTimedOut
from airflow_provider_docstatus.protocol.values import named, one_line, utc_time
from airflow_provider_docstatus.status import MOST_ERRORS, DocumentStatus, State, first_names
from airflow_provider_docstatus.types import ConfidenceReport, Manifest, Review, Status
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.outcomes import KEY_REJECTED, NOT_ASKED, OUTCOMES, TIMED_OUT
from airflow_provider_docstatus.waiting.wait import NO_STATUS, Ending, epoch, is_past_retention, with_file_name

EVENT_VERSION = 1
_RUNNING = State.RUNNING.value
#: The letter of each outcome in the event of a list.
LETTERS = {_RUNNING: "r"} | {row.word: row.letter for row in OUTCOMES.values()}
#: The letter of an unknown id whose own age shows that it has not expired; the age of the run does not matter then.
_UNKNOWN_BUT_NEW = "N"
_WORDS = {_UNKNOWN_BUT_NEW: "not_found"} | {letter: word for word, letter in LETTERS.items()}
LONGEST_ERROR = 300

Overdue = type[WaitTimedOut] | type[ExecutionTimedOut]


# -- the event -------------------------------------------------------------------------------------------------


def event_of(group: Group, *, calls: int, now: float) -> dict[str, Any]:
    """Return the event that a trigger sends: small JSON, without replies, document text or keys."""
    return _list_event(group, calls=calls, now=now) if group.is_list else ending_event(group.endings[group.first.id])


def ending_event(ending: Ending) -> dict[str, Any]:
    """Return the event of a single id."""
    return {
        "version": EVENT_VERSION,
        "outcome": ending.outcome,
        "service": ending.service,
        "id": ending.id,
        "status": ending.status.to_dict() if ending.status else None,
        "text": ending.text,
    }


def ending_from(event: Any) -> Ending:
    """
    Read the event of a single id.

    :raises UnexpectedReply: the event is not this package's, or its version is unknown here. An unknown event is never a success.
    """
    event = _readable(event)
    row = OUTCOMES.get(event["outcome"]) if isinstance(event.get("outcome"), str) else None
    if row is None:
        raise UnexpectedReply(f"The trigger's event has an unknown outcome, {one_line(str(event.get('outcome')))!r}.")
    try:
        status = _checked(DocumentStatus.from_dict(event["status"])) if event["status"] is not None else None
        ending = Ending(outcome=row.word, service=event["service"], id=event["id"], status=status, text=event["text"])
        _require_texts(ending.service, ending.id, *([] if ending.text is None else [ending.text]))
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedReply(f"The trigger's event cannot be read ({type(error).__name__}).") from error
    if status is not None and (status.service, status.id) != (ending.service, ending.id):
        raise UnexpectedReply(f"The trigger's event is about {one_line(ending.id)} but holds the status of another id.")
    is_told = status is not None and status.state == row.word
    # "expired" may have no such status: it may explain a 404 or 410
    if row.is_state and not is_told and not (row.word == State.EXPIRED.value and ending.text):
        raise UnexpectedReply(f"The trigger's event says {row.word} but holds no such status.")
    return ending


def _list_event(group: Group, *, calls: int, now: float) -> dict[str, Any]:
    letters = "".join(_letter(group, group.endings[one], now) if one in group.endings else "r" for one in group.waits)
    errors: dict[str, str] = {}
    for one, ending in group.endings.items():
        if not group.is_good(ending) and len(errors) < MOST_ERRORS:
            text = ending.text or (why_closed(ending.status) if ending.status else "")
            errors[one] = (one_line(text) or "")[:LONGEST_ERROR]
    known = {one: wait.status.file_name for one, wait in group.waits.items() if wait.status is not None}
    names = first_names(((one, known.get(one)) for one in [*errors, *known]), has_ids=False)
    return {
        "version": EVENT_VERSION,
        "service": group.service.name,
        "started_at": group.spec.started_at,
        "states": letters,
        "mark": _fingerprint(group.waits),
        "errors": errors,
        **({"file_names": [names.get(one) for one in group.waits]} if names else {}),  # by the ids' order, as the letters
        "calls": calls,
        "ended_at": now,
        "text": group.fatal.text if group.fatal else None,
    }


def _letter(group: Group, ending: Ending, now: float) -> str:
    """Return the letter of an ending. If the age of an unknown id is known, it decides between expired and not found."""
    created_at = epoch(ending.status.created_at) if ending.outcome == "not_found" and ending.status else None
    if created_at is None:
        return LETTERS[ending.outcome]
    return LETTERS[State.EXPIRED.value] if is_past_retention(group.service, created_at, now) else _UNKNOWN_BUT_NEW


def _fingerprint(ids: Iterable[str]) -> str:
    """Return a short hash of the ids and their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]


def _readable(event: Any) -> Mapping[str, Any]:
    """Return a trigger's event. Raises UnexpectedReply if it is not this package's, or if its version is unknown here."""
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
    """Return the status of an event. Raises TypeError if one of its fields has a wrong type."""
    times = (status.created_at, status.started_at, status.updated_at, status.completed_at)
    errors = [text for child in status.children for text in (child.id, child.message or "", *child.details.values())]
    _require_texts(status.service, status.kind, status.id, status.word, *errors)
    _require_texts(*[text for text in (status.message, status.link, *times) if text is not None])
    if not isinstance(status.counters, Mapping) or not isinstance(status.details, Mapping):
        raise TypeError("counters and details are dicts")
    return status


def _require_texts(*texts: object) -> None:
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is something else")


# -- the manifest ----------------------------------------------------------------------------------------------


def manifest_from(event: Any, ids: Sequence[str], *, parameter: str, operation: str | None, is_late: bool = False) -> Manifest:
    """
    Return the manifest of a list: counts and ids by outcome, the first errors, times, the number of polls, a gate's report.

    :param event: what the trigger sent.
    :param is_late: whether the run is older than the vendor's retention; then an unknown id without a known age is expired.
    :raises UnexpectedReply: the event is not this package's, or not about these ids.
    """
    event = _readable(event)
    if event.get("outcome") == "unexpected":
        raise UnexpectedReply(str(event.get("text")))
    letters = event.get("states")
    if not isinstance(letters, str) or len(letters) != len(ids) or set(letters) - set(_WORDS):
        raise UnexpectedReply(f"The trigger's event does not tell the states of these {len(ids)} ids.")
    if event.get("mark", _fingerprint(ids)) != _fingerprint(ids):  # older events have none
        raise UnexpectedReply(f"The trigger's event is not about these {len(ids)} ids, or has them in another order.")
    if is_late:
        letters = letters.replace(LETTERS["not_found"], LETTERS[State.EXPIRED.value])
    errors, names = event.get("errors"), event.get("file_names")
    known = zip(ids, names if isinstance(names, list) else (), strict=False)
    by_state: dict[str, list[str]] = {}
    for one, letter in zip(ids, letters, strict=True):
        by_state.setdefault(_WORDS[letter], []).append(one)
    manifest: Manifest = {
        "service": event.get("service"),
        "parameter": parameter,
        "operation": operation,
        "total": len(ids),
        "counts": {state: len(members) for state, members in by_state.items()},
        "ids": by_state,
        "errors": dict(errors) if isinstance(errors, Mapping) else {},
        "file_names": {one: name for one, name in known if isinstance(name, str)},
        "started_at": utc_time(event.get("started_at")),
        "ended_at": utc_time(event.get("ended_at")),
        "calls": event.get("calls"),
    }
    if (report := event.get("confidence")) is not None:
        manifest["confidence"] = report
    return manifest


# -- the result or the error of the task -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Report:
    """
    What a wait has ended with, as the worker knows it.

    :param ending: of a single id; None for a list.
    :param manifest: of a list; None for a single id.
    :param needed: how many ids of a list must end well.
    :param text: the text of an ending that concerns all ids of a list, if there was one.
    :param overdue: the error of a wait whose time is up.
    :param review: what a person has decided, or that nobody has decided yet; None if nobody was asked.
    :param confidence: what a gate has reported of a single id; a manifest has it.
    """

    ending: Ending | None = None
    manifest: Manifest | None = None
    needed: int = 1
    text: str | None = None
    overdue: Overdue = WaitTimedOut
    review: Review | None = None
    confidence: ConfidenceReport | None = None

    @property
    def told(self) -> Status | Manifest | None:
        """What is pushed to XCom, however the task ends: the manifest, or the last status; None if there never was one."""
        status = self.ending.status if self.ending is not None else None
        told: Any = (self.manifest and dict(self.manifest)) if status is None else status.to_dict()
        beside = {"review": self.review, "confidence": self.confidence}
        more: Any = {name: value for name, value in beside.items() if value is not None}
        if told is not None:
            told |= more
        return told  # type: ignore[no-any-return]  # a status or a manifest

    def undecided(self, accept: Collection[str]) -> list[str]:
        """Return the ids in review about which a person can decide the end of the task: not if it is certain without them."""
        if State.REVIEW.value in accept:
            return []
        if self.ending is not None:
            return [self.ending.id] if self.ending.outcome == State.REVIEW.value else []
        if self.manifest is None:
            return []
        counts = Counter(self.manifest["counts"])
        good, flagged = _good(counts, accept), counts[State.REVIEW.value]
        matters = good < self.needed <= good + flagged and _fatal(counts, self.text) is None
        return list(self.manifest["ids"].get(State.REVIEW.value, ())) if matters else []

    def decided(self, outcome: str, text: str, review: Review) -> Report:
        """
        Return the report with another outcome for what is in review.

        :param outcome: ``review`` leaves it, for a gate that accepts that.
        :param text: what happened, in one line.
        :param review: what stands in the XCom about it.
        """
        is_good = outcome == State.REVIEW.value
        if self.ending is not None:
            ending = self.ending if is_good else replace(self.ending, outcome=outcome, text=text)
            return replace(self, ending=ending, review=review)
        if self.manifest is None:
            return replace(self, review=review)
        manifest = self.manifest.copy()
        ids, counts, errors = dict(manifest["ids"]), dict(manifest["counts"]), manifest["errors"]
        flagged, number = ids.pop(State.REVIEW.value, []), counts.pop(State.REVIEW.value, 0)
        manifest["ids"], manifest["counts"] = {**ids, outcome: flagged}, {**counts, outcome: number}
        manifest["errors"] = {
            one: text if one in flagged else told for one, told in errors.items() if not (is_good and one in flagged)
        }
        return replace(self, manifest=manifest, review=review)

    def result(self, accept: Collection[str]) -> Status | Manifest:
        """Return the XCom value of a wait that ended well; raise the error of any other, see :func:`result_of`."""
        if self.ending is not None:
            result_of(self.ending, accept, overdue=self.overdue)
        elif self.manifest is not None:
            manifest_result(self.manifest, needed=self.needed, accept=accept, text=self.text, overdue=self.overdue)
        told = self.told
        assert told is not None  # an ending without a status raises  # noqa: S101
        return told


def result_of(ending: Ending, accept: Collection[str] = (), *, overdue: Overdue = WaitTimedOut) -> Status:
    """
    Return the XCom value of a single id's wait that ended well; raise the error of any other.

    :param accept: the final states besides ``succeeded`` that open the gate: ``partial``, ``review``.
    :param overdue: the error of a wait whose time is up.
    :raises DocumentFailed: the vendor ended it without (all of) the data, no longer has it, or it has stalled.
    :raises RequestRejected: key, quota, id: the DAG's author.
    :raises UnexpectedReply: only invalid replies for ten minutes: this package or a proxy.
    :raises WaitTimedOut: ``timeout`` passed; :class:`ExecutionTimedOut` if it was ``execution_timeout``.
    :raises NotAsked: as before, but the service could not be asked at the end; the task may be retried.
    """
    status, row = ending.status, OUTCOMES[ending.outcome]
    if status is None and row.is_state and not ending.text:  # ending_from refuses it; a programming error here
        raise ValueError(f"{ending.outcome} without a status")
    if status is not None and row.is_state and (row.error is None or status.state.value in accept):
        return status.to_dict()
    about: dict[str, Any] = {
        "service": ending.service,
        "id": ending.id,
        "state": status.state if status else None,
        "link": status.link if status else None,
    }
    text = ending.text or (why_closed(status) if status and status.state.is_final else ending.outcome)
    if row.word == TIMED_OUT:
        raise _too_late(f"{text} The job was left alone", overdue, **about)
    raise (row.error or DocStatusError)(text, **about)


def manifest_result(
    manifest: Manifest,
    *,
    needed: int,
    accept: Collection[str],
    text: str | None,
    overdue: Overdue = WaitTimedOut,
) -> Manifest:
    """
    Return the manifest of a list's wait that ended well; raise the error of any other, as :func:`result_of` does.

    :param manifest: :func:`manifest_from`.
    :param needed: how many ids must end well.
    :param text: the text of an ending that concerns all ids, if there was one.
    """
    counts = Counter(manifest["counts"])
    good = _good(counts, accept)
    present = [row for row in OUTCOMES.values() if counts[row.word]]
    fatal = _fatal(counts, text)
    if good >= needed and fatal is None:
        return manifest
    shown = ", ".join(f"{number} {state}" for state, number in counts.most_common())
    errors = "; ".join(_told(one, error, manifest.get("file_names") or {}) for one, error in list(manifest["errors"].items())[:3])
    said = f"{good} of {manifest['total']} ids ended well, {needed} were needed ({shown})" + (f": {errors}" if errors else "")
    about: dict[str, Any] = {"service": manifest["service"]}
    if fatal is not None:
        raise _error(fatal)(text or said, **about)
    unfinished = counts[TIMED_OUT] + counts[_RUNNING]
    if counts[NOT_ASKED] and good + counts[NOT_ASKED] >= needed:
        raise _error(NOT_ASKED)(said, **about)
    unfinished += counts[NOT_ASKED]
    if good + unfinished >= needed and counts[TIMED_OUT]:
        raise _too_late(f"{said}. The jobs were left alone", overdue, **about)
    for row in present:  # an error that somebody can mend, if without it enough ids could have ended well
        is_mendable = row.concerns != "document" and row.word not in (TIMED_OUT, NOT_ASKED)
        if is_mendable and good + unfinished + counts[row.word] >= needed:
            raise _error(row.word)(said, **about)
    hint = [state for state in (State.PARTIAL.value, State.REVIEW.value) if counts[state] and state not in accept]
    said += f". To let them pass, give the task accept={tuple(hint)}." if hint else ""
    bad = [row.word for row in present if row.error and row.word not in (TIMED_OUT, NOT_ASKED, *accept)]
    raise _error(bad[0] if len(bad) == 1 else State.FAILED.value)(said, **about)


def _told(one: str, error: object, names: Mapping[str, str]) -> str:
    """Return the error of an id in a text about several; it begins with the file's name, if that is known."""
    text, name = str(error).rstrip("."), names.get(one)
    return text if name and text.startswith(name) and one in text else f"{named(one, name)}: {text}"


def with_known_status(ending: Ending, status: DocumentStatus) -> Ending:
    """Return an ending without a status with the status that was known before the deferral."""
    known = f"last state {status.state} ({status.word!r}), before it was deferred"
    text = ending.text and with_file_name(ending.text.replace(NO_STATUS, known), ending.outcome, status)
    return replace(ending, status=status, text=text)


def why_closed(status: DocumentStatus) -> str:
    """Return why a final status does not open a gate, with the vendor's text, the link, and the way to let it pass."""
    told = status.to_dict()
    children = "; ".join(f"{named(one, told['file_names'].get(one))}: {text}" for one, text in told["errors"].items())
    reasons = status.message or children or "the vendor gave no reason"
    counts = ", ".join(f"{name} {number}" for name, number in status.counters.items())
    text = f"{named(f'{status.service} {status.kind} {status.id}', status.file_name)} ended {status.state} ({status.word!r})"
    text += (f" [{counts}]" if counts else "") + f": {one_line(reasons)}"
    if status.state in (State.PARTIAL, State.REVIEW):
        or_ask = ", or on_review='ask' to let a person decide" if status.state is State.REVIEW else ""
        text += f". To let it pass, give the task accept=('{status.state}',){or_ask}."
    return text + (f" {one_line(status.link)}" if status.link else "")


def _good(counts: Mapping[str, int], accept: Collection[str]) -> int:
    """Return how many ids of a list have ended well."""
    return counts[State.SUCCEEDED.value] + sum(counts[state] for state in accept)


def _fatal(counts: Mapping[str, int], text: str | None) -> str | None:
    """Return the outcome that concerns the account, and so all ids of a list; None if there is none."""
    words = (row.word for row in OUTCOMES.values() if row.concerns == "account" and counts[row.word])
    # A 403 may be about one id. If the wait found that it concerns all of them, it has a text.
    return next((word for word in words if text or word != KEY_REJECTED), None)


def _error(outcome: str) -> type[DocStatusError]:
    error = OUTCOMES[outcome].error
    assert error is not None  # success is never raised  # noqa: S101
    return error


def _too_late(text: str, overdue: Overdue, **about: Any) -> DocStatusError:
    """Return the error of a wait whose time is up; its text goes on with the limit that passed and what to do."""
    limit = overdue.limit
    return overdue(f"{text} when {limit} passed; clear the task to wait on, or raise {limit}.", **about)
