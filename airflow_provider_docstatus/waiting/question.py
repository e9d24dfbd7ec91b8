"""What a person is asked about documents in review, and how the answer is read: texts and values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, NamedTuple

from airflow_provider_docstatus.exceptions import UnexpectedReply
from airflow_provider_docstatus.protocol.values import LONGEST_TEXT, https_link, one_line, printable, utc_time
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.types import ConfidenceReport, Review
from airflow_provider_docstatus.waiting.outcomes import DECLINED, REVIEW_TIMED_OUT

#: The answers that a person chooses from, and the name of the text field beside them.
APPROVE, REJECT, REASON = "Approve", "Reject", "reason"
OPTIONS = [APPROVE, REJECT]
#: The words of ``review["decision"]`` in XCom: nobody has decided yet; approved, rejected; nobody has decided in time.
OPEN, APPROVED, REJECTED, TIMED_OUT = "open", "approved", "rejected", "timed_out"
#: The most documents that a question shows, and the most confidence values of each.
MOST_SHOWN = 20
MOST_VALUES = 20
_LONGEST_NAME = 120
_NONE: Mapping[str, Any] = MappingProxyType({})


class Question(NamedTuple):
    """
    A question to a person.

    :param subject: one line of plain text.
    :param body: Markdown. It holds ids, names, links and confidence values, and never a word of the document.
    """

    subject: str
    body: str


class Decision(NamedTuple):
    """
    What a person has decided.

    :param word: ``approved``, ``rejected`` or ``timed_out``.
    :param by: who (str); None if nobody, or if Airflow does not say.
    :param at: when, ISO 8601 in UTC (str); None if nobody.
    :param reason: the person's own text, one line of at most 500 characters; None if there is none.
    """

    word: str
    by: str | None = None
    at: str | None = None
    reason: str | None = None

    @property
    def outcome(self) -> str:
        """The outcome of what was in review."""
        return {APPROVED: State.REVIEW.value, REJECTED: DECLINED}.get(self.word, REVIEW_TIMED_OUT)

    @property
    def in_xcom(self) -> Review:
        """What stands under ``review`` in the status dict or the manifest."""
        return {"decision": self.word, "decided_by": self.by, "decided_at": self.at, "reason": self.reason}


#: What stands under ``review`` while the question is open.
UNDECIDED = Decision(OPEN).in_xcom


def question_about(
    title: str,
    ids: Sequence[str],
    known: Mapping[str, DocumentStatus],
    names: Mapping[str, str] = _NONE,
    reports: Mapping[str, ConfidenceReport] = _NONE,
) -> Question:
    """
    Return the question about documents in review. The same facts give the same text.

    :param title: the service's title.
    :param ids: all ids in review; at least one.
    :param known: the statuses that are known of some of them.
    :param names: the names of the files of some of them.
    :param reports: what a gate has found out about the vendor's confidence in some of them.
    """
    title, shown = _plain(title), ids[:MOST_SHOWN]
    if len(ids) == 1:
        status = known.get(ids[0])
        named = _file_name(status, names.get(ids[0])) or f"{status.kind if status else 'id'} {_plain(ids[0])}"
        subject = f"{title}: {named} needs a decision"
        first = f"{title} has finished this document. Shall the task go on with it?"
    else:
        subject = f"{title}: {len(ids)} documents need a decision"
        first = f"{title} has finished these documents. Shall the task go on with them? The answer holds for all of them."
    lines = [line for one in shown for line in _lines_about(one, known.get(one), names.get(one), reports.get(one))]
    if len(ids) > len(shown):
        lines.append(f"- and {len(ids) - len(shown)} more")
    last = f"**{APPROVE}** lets the task go on. **{REJECT}** fails it."
    return Question(subject, "\n".join([first, "", *lines, "", last]))


def decision_of(answer: Any) -> Decision:
    """
    Return what a person has decided, from the event with which Airflow resumes the task.

    :raises UnexpectedReply: the event is none of those. An unknown answer is never an approval.
    """
    if not isinstance(answer, Mapping):
        raise UnexpectedReply(f"Airflow resumed the task without a person's answer, but with a {type(answer).__name__}.")
    if "error" in answer:
        if answer.get("error_type") == "timeout":
            return Decision(TIMED_OUT)
        raise UnexpectedReply(f"Airflow could not take the person's answer: {one_line(str(answer['error']))}.")
    chosen = answer.get("chosen_options")
    word = {APPROVE: APPROVED, REJECT: REJECTED}.get(str(chosen[0])) if isinstance(chosen, list) and len(chosen) == 1 else None
    if word is None:
        raise UnexpectedReply(f"The person's answer is neither {APPROVE} nor {REJECT}.")
    if answer.get("timedout"):  # Airflow has put in an answer that nobody gave
        return Decision(TIMED_OUT)
    given = answer.get("params_input")
    reason = given.get(REASON) if isinstance(given, Mapping) else None
    if isinstance(reason, Mapping):
        reason = reason.get("value")
    return Decision(word, _who(answer.get("responded_by_user")), _when(answer.get("responded_at")), _text(reason))


def _who(user: Any) -> str | None:
    """Return a user's name, with the id if it is another text."""
    if not isinstance(user, Mapping):
        return None
    name, id = _text(user.get("name")), _text(user.get("id"))  # noqa: A001 -- Airflow's word
    return f"{name} ({id})"[:LONGEST_TEXT] if name and id and name != id else name or id


def _when(time: Any) -> str | None:
    if isinstance(time, datetime):
        return time.astimezone(timezone.utc).isoformat()
    return utc_time(time)


def _text(value: Any) -> str | None:
    return one_line(value) if isinstance(value, str) else None


def _lines_about(one: str, status: DocumentStatus | None, known_name: str | None, report: ConfidenceReport | None) -> list[str]:
    name = _file_name(status, known_name)
    about = [_code(name)] if name else []
    about.append(_code(one) if status is None else f"{status.kind} {_code(one)} ({_code(status.word)})")
    link = https_link(status.link) if status is not None else None
    lines = [f"- {', '.join(about)}" + (f": <{link}>" if link else "")]
    if report is not None:
        lowest, fields = report["lowest"], ", ".join(_code(field) for field in report["fields"][:MOST_VALUES])
        few = f"{report['below']} of {report['total']} fields have too little confidence" + (f": {fields}" if fields else "")
        return [*lines, f"    - lowest confidence: {'none is told' if lowest is None else f'{lowest:g}'}", f"    - {few}"]
    confidence = status.details.get("confidence") if status is not None else None
    values = confidence.items() if isinstance(confidence, Mapping) else [("", confidence)]
    for field, value in list(values)[:MOST_VALUES]:
        if (shown := _value(value)) is not None:
            lines.append(f"    - confidence{f' of {_code(str(field))}' if field else ''}: {shown}")
    return lines


def _value(value: Any) -> str | None:
    """Return a confidence as it is shown: a number, or a grade."""
    if isinstance(value, str):
        return _code(value)
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _file_name(status: DocumentStatus | None, known: str | None) -> str | None:
    name = (status.file_name if status is not None else None) or known
    return _plain(name) or None if name else None


def _plain(text: str) -> str:
    """Return an untrusted name as one short line."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _code(text: str) -> str:
    """Return an untrusted text as a Markdown code span, in which nothing is a link, an image or HTML."""
    return "`" + (_plain(text).replace("`", "'") or " ") + "`"
