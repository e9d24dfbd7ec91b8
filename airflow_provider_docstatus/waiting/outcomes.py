"""
The ways a wait can end: one row each.

Events and XCom hold the ``word``. The event of a list holds a ``letter`` for each id. ``error`` is what the task raises, None
for success. If the vendor ended the document, the outcome has the name of its final state.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_provider_docstatus.exceptions import (
    Declined,
    DocStatusError,
    DocumentFailed,
    Expired,
    KeyRejected,
    NotAsked,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    ReviewTimedOut,
    SchemaMismatch,
    Stalled,
    Uncertain,
    UnexpectedReply,
    WaitTimedOut,
)
from airflow_provider_docstatus.status import State


class Outcome(NamedTuple):
    """
    One way to end.

    :param word: its name (str).
    :param letter: one letter (str).
    :param error: the error that the task raises; None for success.
    :param retried: whether Airflow may retry the task.
    :param skippable: whether ``soft_fail`` makes it a skip.
    :param concerns: what it is about: ``document``, ``request`` (an id, say), ``account`` (and so all ids) or ``service``.
    :param is_state: whether it is a final state of the document at the vendor.
    """

    word: str
    letter: str
    error: type[DocStatusError] | None
    retried: bool
    skippable: bool
    concerns: str
    is_state: bool = False


_ROWS = (
    Outcome(State.SUCCEEDED.value, "s", None, False, False, "document", is_state=True),
    Outcome(State.PARTIAL.value, "p", DocumentFailed, False, True, "document", is_state=True),
    Outcome(State.REVIEW.value, "v", DocumentFailed, False, True, "document", is_state=True),
    Outcome(State.FAILED.value, "f", DocumentFailed, False, True, "document", is_state=True),
    Outcome(State.CANCELLED.value, "c", DocumentFailed, False, True, "document", is_state=True),
    Outcome(State.EXPIRED.value, "e", Expired, False, True, "document", is_state=True),
    Outcome("invalid", "i", SchemaMismatch, False, True, "document"),
    Outcome("uncertain", "d", Uncertain, False, True, "document"),
    Outcome("stalled", "l", Stalled, False, True, "document"),
    Outcome("declined", "j", Declined, False, True, "document"),
    Outcome("review_timed_out", "o", ReviewTimedOut, False, True, "document"),
    Outcome("timed_out", "t", WaitTimedOut, False, True, "service"),
    Outcome("not_asked", "a", NotAsked, True, False, "service"),
    Outcome("rejected", "x", RequestRejected, False, False, "request"),
    Outcome("not_found", "n", NotFound, False, False, "request"),
    Outcome("key_rejected", "k", KeyRejected, False, False, "account"),
    Outcome("quota", "q", QuotaExhausted, False, False, "account"),
    Outcome("unexpected", "u", UnexpectedReply, True, False, "service"),
)
OUTCOMES = {row.word: row for row in _ROWS}
DECLINED = OUTCOMES["declined"].word
REVIEW_TIMED_OUT = OUTCOMES["review_timed_out"].word
TIMED_OUT = OUTCOMES["timed_out"].word
KEY_REJECTED = OUTCOMES["key_rejected"].word
NOT_ASKED = OUTCOMES["not_asked"].word


def outcome_of(error: DocStatusError) -> str:
    """Return the word of the ending that an error causes: that of its nearest class with a row."""
    for kind in type(error).__mro__:
        for row in _ROWS:
            if row.error is kind and not row.is_state:
                return row.word
    return OUTCOMES["unexpected"].word
