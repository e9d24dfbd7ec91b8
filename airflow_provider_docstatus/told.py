"""What is known of the ids of a list whose data was fetched, besides the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    NoData,
    NotFinished,
    ReplyTooLarge,
    ResultNotStorable,
    SchemaMismatch,
    ServiceUnavailable,
    Uncertain,
)
from airflow_provider_docstatus.fetching import Found
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.waiting.outcomes import outcome_of

#: How an id ended whose data did not come, and of which nobody has told whether it has ended.
SKIPPED = outcome_of(ServiceUnavailable(""))


@dataclass(kw_only=True)
class Told:
    """
    What is known of some ids.

    :param state_of: the state of each id.
    :param names: the name of the file of each id, or of a document or job inside it, where it is known.
    :param errors: why there is no data, likewise.
    :param inside: the documents or jobs inside each id, in the vendor's order.
    :param refused: the errors of ids.
    """

    state_of: dict[str, str]
    names: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    inside: dict[str, list[str]] = field(default_factory=dict)
    refused: list[DocStatusError] = field(default_factory=list)

    def name(self, found: Found) -> None:
        """Take in what the status of an id tells of it and of what is inside it."""
        status = found.status
        if status is not None and found.of not in self.inside:
            self.state_of[found.of] = status.state.value
            self.inside[found.of] = [child.id for child in status.children]
            self.names |= status.to_dict()["file_names"]
            if status.file_name:
                self.names[found.of] = status.file_name

    def hear(self, found: Found, *, were_waited_for: bool) -> None:
        """Take in what was found of an id. If nobody has waited for it, its error tells its state."""
        error = found.error
        if error is None:
            return
        self.errors[found.id] = str(error)
        if isinstance(error, DocStatusError) and (found.id == found.of or isinstance(error, (SchemaMismatch, Uncertain))):
            self.refused.append(error)
            if not were_waited_for or type(error) is DocumentFailed:
                self.state_of[found.id] = _word_of(error)

    def settle(self, targets: Sequence[Target], outcomes: Mapping[str, str]) -> None:
        """Take in what a gate says of each id, and of one of whose documents none passes what it says of them."""
        for target in targets:
            inside = self.inside.get(target.id) or [target.id]
            words = [outcomes[one] for one in inside if one in outcomes]
            if words and (inside == [target.id] or all(one in self.errors for one in inside)):
                self.state_of[target.id] = words[0]


def _word_of(error: DocStatusError) -> str:
    """Return the state of an id that an error tells of. One that is finished without data that counts stays succeeded."""
    if isinstance(error, NotFinished):
        return State.RUNNING.value
    if type(error) is NoData and error.state is None:  # nobody has told a status of it: it may be an unknown id
        return SKIPPED
    if isinstance(error, (NoData, ReplyTooLarge, ResultNotStorable)):
        return State.SUCCEEDED.value
    return error.state.value if isinstance(error, DocumentFailed) and error.state is not None else outcome_of(error)
