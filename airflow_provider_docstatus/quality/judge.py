"""Judge the data of a finished document: whether it matches a schema, and whether the vendor is sure enough of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from airflow_provider_docstatus.exceptions import DocStatusError, SchemaMismatch, Uncertain
from airflow_provider_docstatus.protocol.confidence import Confidences, confidences_of, joined
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.protocol.values import named
from airflow_provider_docstatus.quality.schema import MOST_TOLD, Schema
from airflow_provider_docstatus.status import DocumentStatus

#: The largest data of one document that a gate reads, in bytes, by default.
GATE_MAX_BYTES = 50 * 1024 * 1024
#: What may become of a document that the vendor is not sure of: it fails, it passes, or it ends as flagged for a human.
FAIL, ACCEPT, REVIEW = "fail", "accept", "review"
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Gates:
    """
    What a task asks of the data, as its parameters say it.

    :param require: a JSON Schema (dict), or the path of one (str or path); None to ask for none.
    :param min_confidence: the least confidence that each field must have, above 0 and up to 1 (float); None to ask for none.
    :param on_uncertain: what becomes of a document with less: ``fail`` (default), ``accept`` or ``review``.
    :param gate_max_bytes: the largest data that is read (int, bytes), default 50 MiB.
    :raises ValueError: a parameter is invalid (the DAG's author).
    :raises RequestRejected: ``require`` is a dict that is no valid schema (the DAG's author). A file is read when the task runs.
    """

    require: Mapping[str, Any] | str | os.PathLike[str] | None = None
    min_confidence: float | None = None
    on_uncertain: str = FAIL
    gate_max_bytes: int = GATE_MAX_BYTES

    def __post_init__(self) -> None:
        """Check the parameters."""
        least = self.min_confidence
        if least is not None and (isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 < least <= 1):
            raise ValueError(
                f"min_confidence must be a number above 0 and up to 1, whatever the vendor's scale is; not {least!r}"
            )
        if self.on_uncertain not in (FAIL, ACCEPT, REVIEW):
            raise ValueError(f"on_uncertain must be 'fail', 'accept' or 'review'; not {self.on_uncertain!r}")
        if self.on_uncertain != FAIL and least is None:
            raise ValueError(f"on_uncertain={self.on_uncertain!r} has nothing to do without min_confidence; give both")
        checked_bytes("gate_max_bytes", self.gate_max_bytes)
        if self.require is not None and not isinstance(self.require, (str, os.PathLike)):
            Schema.of(self.require)

    @property
    def fingerprint(self) -> str:
        """
        A hash of what is asked: data that passed may not pass what is asked by then.

        :raises RequestRejected: the schema cannot be read (the DAG's author).
        """
        schema = None if self.require is None else Schema.of(self.require).contents
        asked = [schema, self.min_confidence, self.on_uncertain if self.min_confidence is not None else None]
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def are_set(self) -> bool:
        """Whether anything is asked of the data."""
        return self.require is not None or self.min_confidence is not None


def checked_bytes(name: str, most: int) -> int:
    """Return a limit in bytes. Raises ValueError if it is none; the DAG's author must change it."""
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"{name} must be a whole number of bytes from 1; not {most!r}")
    return most


class Examined(NamedTuple):
    """
    What was found in the data of one document.

    :param name: the document's id, where several are judged together; else empty.
    :param errors: the rules of the schema that it breaks.
    :param confidences: how sure the vendor is of it.
    """

    name: str
    errors: Sequence[str]
    confidences: Confidences


class Verdict(NamedTuple):
    """
    What a gate says.

    :param error: why it stays closed; None if it opens.
    :param report: ``lowest`` (float from 0 to 1, None if there is none), ``fields`` (the names of at most 20 fields below
        ``min_confidence``), ``below`` (how many there are) and ``total`` (of how many); None if no confidence is asked for.
    """

    error: DocStatusError | None
    report: dict[str, Any] | None


class Judge:
    """
    Judges documents. Nothing that it returns holds a value of the data.

    :param gates: what is asked of the data.
    :raises RequestRejected: the schema cannot be read, or is invalid (the DAG's author).
    """

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._schema = None if gates.require is None else Schema.of(gates.require)

    def judge(self, service: ServiceDescription, target: Target, status: DocumentStatus, data: Any) -> Verdict:
        """
        Judge the data of one document.

        :param target: what the data is of.
        :param status: the status that came with the data.
        """
        return self.verdict(service, status, [self.examine(service, target, status, data)])

    def examine(
        self, service: ServiceDescription, target: Target, status: DocumentStatus, data: Any, *, name: str = ""
    ) -> Examined:
        """Return what there is to be said of one document, so that its data need not be kept."""
        errors = self._schema.errors(data) if self._schema is not None else []
        found = Confidences()
        if self._gates.min_confidence is not None:
            places = service.routes[target.route].confidence
            found = joined([confidences_of(places, "data", data), status.confidences or Confidences()])
        return Examined(name, errors, found)

    def verdict(self, service: ServiceDescription, status: DocumentStatus, examined: Sequence[Examined]) -> Verdict:
        """
        Return the verdict on an id.

        :param status: that of the id.
        :param examined: its document, or the documents of a request or the jobs of a batch.
        """
        about: dict[str, Any] = {"service": service.name, "id": status.id, "state": status.state, "link": status.link}
        what = named(f"{service.title} {status.kind} {status.id}", status.file_name)
        least, report, error = self._gates.min_confidence, None, None
        if least is not None:
            found = joined([_named(one) for one in examined])
            below = found.below(least)
            report = {"lowest": found.lowest, "fields": found.names_below(least), "below": below, "total": found.number}
            if below or not found.number:
                error = Uncertain(_why_uncertain(what, found, least), **about)
        broken = [f"{one.name} {rule}".strip() for one in examined for rule in one.errors]
        if broken:
            shown = "; ".join(broken[:MOST_TOLD]) + ("; …" if len(broken) >= MOST_TOLD else "")
            return Verdict(SchemaMismatch(f"The data of {what} breaks the schema in require: {shown}.", **about), report)
        return Verdict(error, report)


def too_large_to_judge(service: ServiceDescription, status: DocumentStatus, most: int) -> SchemaMismatch:
    """Return the error for a document whose data is larger than ``gate_max_bytes``."""
    what = named(f"{service.title} {status.kind} {status.id}", status.file_name)
    return SchemaMismatch(
        f"The data of {what} cannot be checked: it is larger than gate_max_bytes ({most:,} bytes), or has more levels than can "
        "be read. Raise gate_max_bytes if the workers have the memory.",
        service=service.name,
        id=status.id,
        state=status.state,
        link=status.link,
    )


def _named(one: Examined) -> Confidences:
    """Return the confidences of one of several documents with its id in the names. A document without any is a missing one."""
    found = one.confidences
    if not one.name:
        return found
    if not found.number:
        return Confidences(missing=1, first=((one.name, None),))
    return replace(found, first=[(f"{one.name} {name}", value) for name, value in found.first])


def _why_uncertain(what: str, found: Confidences, least: float) -> str:
    if not found.number:
        return f"{what}: the vendor does not say how sure it is of the data, which counts as less than min_confidence={least:g}."
    below, names = found.below(least), found.names_below(least)
    lowest = "" if found.lowest is None else f"; the lowest is {found.lowest:g}"
    missing = f", {found.missing} of them unknown" if found.missing else ""
    more = f" and {below - _SHOWN} more" if below > _SHOWN else ""
    shown = ", ".join(names[:_SHOWN]) + more
    return f"{what}: the confidence of {below} of {found.number} is below min_confidence={least:g}{missing}{lowest}: {shown}."
