"""The status of a document, in one form for all vendors: :class:`State` and :class:`DocumentStatus`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_docstatus.types import Status

#: The most failed children that a status dict names with their error; the dict travels in trigger events and must stay small.
MOST_ERRORS = 20
#: The most children that a status dict names. Of more, it names only those that ended badly; ``LEFT_OUT`` counts the others.
MOST_CHILDREN = 1000
LEFT_OUT = "children_left_out"
#: The detail that holds the name of the document's file.
FILE_NAME = "file_name"
#: The bytes of JSON that the names of files may take in a status dict or an event; those of what failed come first.
MOST_NAME_BYTES = 20_000
#: The bytes of JSON up to which names are added to a status dict. An event must fit 64 KiB: MySQL stores it as TEXT.
_MOST_BYTES_WITH_NAMES = 60_000


class State(str, Enum):
    """The state of a document, request, job or batch. A service's description maps each vendor word to one of these."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    REVIEW = "review"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether the document has ended, so that the vendor will not change its state any more."""
        return self is not State.RUNNING

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class DocumentStatus:
    """
    What a vendor says about one id.

    :param service: the service's name (str), which is also its connection type.
    :param kind: what the id names (str): ``request``, ``document``, ``job`` or ``batch``.
    :param id: the id that was polled (str).
    :param state: what the reply means (:class:`State`).
    :param word: the vendor's own status word (str), as spelled in the reply.
    :param message: the vendor's text (str), one line of at most 500 characters; None if it gave none.
    :param counters: documents by the vendor's counter names (int each); empty if the vendor counts nothing.
    :param children: the documents of a request or the jobs of a batch, in the vendor's order.
    :param left_out: how many more there are in each state (int each), where a reply lists very many.
    :param created_at: ISO 8601 in UTC (str), like the other times; None where the vendor does not say.
    :param link: the vendor's page of the document (https URL, str) or None.
    :param details: small facts by name: file name and type, sizes (bytes), pages, operation, confidence (in
        the vendor's own shape), cost, model, processing time (seconds). Never a user id, never extracted data.
    :param confidences: how sure the vendor is of the data, as far as a reply says so beside the data (:class:`.Confidences`);
        None if nothing was read. It is no part of the small form.
    """

    service: str
    kind: str
    id: str
    state: State
    word: str
    message: str | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    children: tuple[DocumentStatus, ...] = ()
    left_out: Mapping[State, int] = field(default_factory=dict)
    created_at: str | None = None
    started_at: str | None = None
    updated_at: str | None = None
    completed_at: str | None = None
    link: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    confidences: Any = field(default=None, compare=False, repr=False)

    @property
    def file_name(self) -> str | None:
        """The name of the document's file, fit to be shown; None if the vendor does not tell it, or if it is not to be told."""
        name = self.details.get(FILE_NAME)
        return name if isinstance(name, str) else None

    @property
    def child_states(self) -> Mapping[State, int]:
        """How many children are in which state."""
        return Counter(child.state for child in self.children) + Counter(self.left_out)

    @cached_property
    def _named(self) -> tuple[dict[str, str], dict[str, str], dict[str, str], dict[str, Any]]:
        """What :meth:`to_dict` says of children, and the details: made once, however many waits end by this status."""
        children = {child.id: child for child in self.children}
        errors = {child.id: child.message or child.word for child in children.values() if _is_bad(child.state)}
        named, details = list(children), dict(self.details)
        if len(named) > MOST_CHILDREN or self.left_out:
            named = list(errors)[:MOST_CHILDREN]
            details[LEFT_OUT] = len(children) - len(named) + sum(self.left_out.values())
        states = {one: children[one].state.value for one in named}
        first_errors = dict(list(errors.items())[:MOST_ERRORS])
        left = _MOST_BYTES_WITH_NAMES - len(json.dumps([states, first_errors])) if named else 0
        known = ((one, children[one].file_name) for one in [*first_errors, *named])
        return states, first_errors, first_names(known, most=left), details

    def to_dict(self) -> Status:
        """Return the small JSON form that is pushed to XCom; of children the states, the first errors and file names by id."""
        states, errors, names, details = self._named
        return {
            "service": self.service,
            "kind": self.kind,
            "id": self.id,
            "state": self.state.value,
            "word": self.word,
            "message": self.message,
            "counters": dict(self.counters),
            "children": dict(states),
            "errors": dict(errors),
            "file_names": dict(names),
            "created_at": self.created_at,
            "started_at": self.started_at,
            "updated_at": self.updated_at,
            "completed_at": self.completed_at,
            "link": self.link,
            "details": dict(details),
        }

    @classmethod
    def from_dict(cls, status: Mapping[str, Any]) -> DocumentStatus:
        """
        Return the status that :meth:`to_dict` wrote, also if a gate has added its report.

        Raises KeyError, TypeError or ValueError for any other dict.
        """
        fields = dict(status)
        fields.pop("confidence", None)  # a gate's report
        fields.pop("review", None)  # what a person decided about it is no word of the vendor's
        errors, states, names = fields.pop("errors"), fields.pop("children"), fields.pop("file_names", {})  # older ones have none
        if not all(isinstance(one, dict) for one in (errors, states, names)):
            raise TypeError("children, errors and file_names are dicts")
        children = tuple(
            cls(
                service=fields["service"],
                kind="child",
                id=child_id,
                state=State(state),
                word=state,
                message=errors.get(child_id),
                details={FILE_NAME: names[child_id]} if child_id in names else {},
            )
            for child_id, state in states.items()
        )
        return cls(**{**fields, "state": State(fields["state"]), "children": children})


def first_names(names: Iterable[tuple[str, str | None]], *, most: int = MOST_NAME_BYTES, has_ids: bool = True) -> dict[str, str]:
    """
    Return the known names of files by id, as many of the first as there is room for.

    :param most: the bytes of JSON that they may take, at most :data:`MOST_NAME_BYTES`.
    :param has_ids: whether the ids are counted.
    """
    left, found = min(most, MOST_NAME_BYTES), dict[str, str]()
    for one, name in names:
        if name and one not in found:
            left -= len(json.dumps({one: name} if has_ids else [name]))
            if left < 0:
                break
            found[one] = name
    return found


def _is_bad(state: State) -> bool:
    return state.is_final and state not in (State.SUCCEEDED, State.REVIEW)
