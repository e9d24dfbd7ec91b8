"""Our words for what a vendor says about a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: At most so many failed children are named with their error in a status dict: it travels in trigger events.
MOST_ERRORS = 20
#: Of more children only those that ended badly are named there, at most so many; this detail counts the others.
MOST_CHILDREN = 1000
LEFT_OUT = "children_left_out"


class State(str, Enum):
    """Where a document, request or job stands; every vendor word is mapped to one of these once."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    REVIEW = "review"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether the vendor will not change this any more."""
        return self is not State.RUNNING

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class DocumentStatus:
    """
    One vendor's answer about one id.

    :param service: the service's name (str), which is also its connection type.
    :param kind: what the id names (str): ``request``, ``document``, ``job`` or ``batch``.
    :param id: the id that was asked for (str).
    :param state: what the answer means (:class:`State`).
    :param word: the vendor's own word for it (str), as spelled in the reply.
    :param message: the vendor's text (str), one line of at most 500 characters; None if it gave none.
    :param counters: documents by the vendor's counter names (int each); empty if the vendor counts nothing.
    :param children: the documents of a request or the jobs of a batch, in the vendor's order.
    :param created_at: ISO 8601 in UTC (str), like the other times; None where the vendor does not say.
    :param link: the vendor's page of it (https URL, str) or None.
    :param details: small facts by name: file name and type, sizes (bytes), pages, operation, confidence (in
        the vendor's own shape), cost, model, processing time (seconds). Never a user id, never extracted data.
    """

    service: str
    kind: str
    id: str
    state: State
    word: str
    message: str | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    children: tuple[DocumentStatus, ...] = ()
    created_at: str | None = None
    started_at: str | None = None
    updated_at: str | None = None
    completed_at: str | None = None
    link: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the small JSON form that is pushed to XCom: children as id to state, the first errors by id."""
        children = {child.id: child for child in self.children}
        errors = {child.id: child.message or child.word for child in children.values() if _is_bad(child.state)}
        named, details = list(children), dict(self.details)
        if len(named) > MOST_CHILDREN:
            named = list(errors)[:MOST_CHILDREN]
            details[LEFT_OUT] = len(children) - len(named)
        return {
            "service": self.service,
            "kind": self.kind,
            "id": self.id,
            "state": self.state.value,
            "word": self.word,
            "message": self.message,
            "counters": dict(self.counters),
            "children": {name: children[name].state.value for name in named},
            "errors": dict(list(errors.items())[:MOST_ERRORS]),
            "created_at": self.created_at,
            "started_at": self.started_at,
            "updated_at": self.updated_at,
            "completed_at": self.completed_at,
            "link": self.link,
            "details": details,
        }

    @classmethod
    def from_dict(cls, status: Mapping[str, Any]) -> DocumentStatus:
        """Read :meth:`to_dict` back. Raises KeyError, TypeError or ValueError if it is not one."""
        fields = dict(status)
        errors, states = fields.pop("errors"), fields.pop("children")
        if not isinstance(errors, dict) or not isinstance(states, dict):
            raise TypeError("children and errors are dicts")
        children = tuple(
            cls(
                service=fields["service"],
                kind="child",
                id=child_id,
                state=State(state),
                word=state,
                message=errors.get(child_id),
            )
            for child_id, state in states.items()
        )
        return cls(**{**fields, "state": State(fields["state"]), "children": children})


def _is_bad(state: State) -> bool:
    return state.is_final and state not in (State.SUCCEEDED, State.REVIEW)
