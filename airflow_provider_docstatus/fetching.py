"""Fetch the data of finished documents on a worker: as data, or into a file as it comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    NoData,
    NotFinished,
    ResultNotStorable,
)
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.extracted import Saved
from airflow_provider_docstatus.protocol.flows import Kept, KeptReply
from airflow_provider_docstatus.protocol.messages import Flow, Sink
from airflow_provider_docstatus.protocol.results import (
    DOCUMENTS_AT_ONCE,
    Fetch,
    extracted_of,
    fetch_contents,
    plan_fetch,
    plan_link,
)
from airflow_provider_docstatus.protocol.storable import carriable
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.rounds import Round
from airflow_provider_docstatus.services import ServiceDescription
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.report import why_closed

_NONE_KEPT: Kept = {}


@dataclass(frozen=True, kw_only=True)
class Found:
    """
    What a fetch found of one id.

    :param of: the id that was asked for (str).
    :param id: the same, or a document or job inside it (str).
    :param status: the status of ``of``; None if it was not asked for.
    :param data: the data; :class:`~.extracted.Saved` if it was written to a sink.
    :param error: why there is none; of a document or job inside also the vendor's bare text.
    """

    of: str
    id: str
    status: DocumentStatus | None = None
    data: Any = None
    error: DocStatusError | str | None = None


class Fetcher:
    """
    The fetches of one task.

    :param hook: the hook, which must not repeat requests itself; its clock and its ``sleep`` are used.
    :param content: which of the service's contents, None for the default.
    :param options: more keys for the request's body.
    :param accept: final states besides success whose data is wanted, since some results tell the state anew.
    :param kept: the status replies that a wait has read already, where reading deletes the data.
    :param have_ended: whether a wait or a poll has shown that the ids have ended; what says otherwise is then asked for again.
    :param skips: whether an id whose data did not come within its minute is that id's error. Else all end with it.
    :param into: gets the reply of a single id as it comes; the data is then :class:`~.extracted.Saved`.
    :param ready: gives the data of an id the form that its place needs: an XCom (default) or a row of a file.
    """

    def __init__(
        self,
        hook: DocStatusHook,
        *,
        content: str | None,
        options: Mapping[str, Any],
        accept: Collection[str] = (),
        kept: Kept = _NONE_KEPT,
        have_ended: bool = True,
        skips: bool = False,
        into: Sink | None = None,
        ready: Callable[..., Any] = carriable,
    ) -> None:
        self._hook = hook
        self._accept = accept
        self._kept = kept
        self._into = into
        self._which: dict[str, Any] = {"content": content, "options": options}
        self._ready = ready
        self._round = partial(Round, hook, ready=self._or_error, skips=skips)
        self._ends: tuple[type[DocStatusError], ...] = () if have_ended else (DocumentFailed, NotFinished)

    def fetch(self, target: Target, status: DocumentStatus | None = None) -> tuple[DocumentStatus, Any]:
        """
        Return the status and the data of a finished id; of a request or a batch the data and the errors by id.

        :param status: the final status, if it is known.
        :raises DocStatusError: there is no data. :class:`NoData`, :class:`UnexpectedReply` and :class:`ServiceUnavailable` may be
            retried, since a minute was not enough.
        """
        found = gathered(self._hook.service, self._each([target], status))[target.id]
        if isinstance(found, DocStatusError):
            raise found
        known, data = found
        return known, data

    def fetch_list(
        self, targets: Sequence[Target], statuses: dict[str, DocumentStatus] | None = None
    ) -> tuple[dict[str, Any], dict[str, DocStatusError]]:
        """
        Return the data of finished ids of one route by id, and by id the error of each without data.

        :param statuses: takes in the status of each id that came with its data, by id.
        :raises DocStatusError: an error that concerns all ids, or something that may still come and did not in a minute.
        """
        each = gathered(self._hook.service, self.each(targets))
        asked = {target.id: each[target.id] for target in targets if target.id in each}
        errors = {one: found for one, found in asked.items() if isinstance(found, DocStatusError)}
        items = {one: found for one, found in asked.items() if one not in errors}
        if statuses is not None:
            statuses |= {one: status for one, (status, _) in items.items() if status is not None}
        return {one: data for one, (_, data) in items.items()}, errors

    def each(self, targets: Sequence[Target], status: DocumentStatus | None = None) -> Iterator[Found]:
        """
        Yield what is found of finished ids of one route as it comes, of requests and batches what is found of all inside.

        :param status: the status of a single id, if it is known.
        :raises DocStatusError: see :meth:`fetch_list`.
        """
        service, ids = self._hook.service, [target.id for target in targets]
        if not (service.contents and service.routes[targets[0].route].kind == "document"):
            yield from self._each(targets, status)
            return
        together = Fetch(ids=ids, ask=lambda some: fetch_contents(service, some, **self._which), at_once=DOCUMENTS_AT_ONCE)
        for (_, one), data in self._round({"": together}, believes=self._ends).run():
            yield _found(one, one, None, data)

    def _each(self, targets: Sequence[Target], status: DocumentStatus | None = None) -> Iterator[Found]:
        """Yield what is found of ids whose status is asked for before, where it does not come with the data."""
        service, plans = self._hook.service, dict[str, Fetch]()
        known = [] if status is None else [status]

        def plan(target: Target) -> Fetch:
            def ask(_ids: Sequence[str]) -> Flow[dict[str, Any]]:
                told = known.pop() if known else None  # to ask again is to poll it
                return {target.id: (yield from plan_fetch(service, target, status=told, into=self._into, **self._which))}

            return Fetch(ids=[target.id], ask=ask)

        for target, kept in ((one, self._kept[one]) for one in targets if one in self._kept):
            if kept.link:
                plans[target.id] = plan_link(service, target, kept.status, kept.link, self._into)
            else:
                yield self._if_accepted(_found(target.id, target.id, kept.status, self._of_kept(kept)))
        plans_of = {target.id: plan(target) for target in targets if target not in self._kept}
        for (one, _), planned in self._round(plans_of, believes=(DocumentFailed, NotFinished)).run():
            if isinstance(planned, DocStatusError):
                yield _found(one, one, None, planned)
            else:
                plans[one] = planned
        for one, fetch in [(one, fetch) for one, fetch in plans.items() if not fetch.is_single]:
            about = self._if_accepted(_found(one, one, fetch.status, None))
            if about.error is not None:
                yield about
                del plans[one]
            else:
                yield from (replace(about, id=part, error=text) for part, text in fetch.errors.items())
        result = service.routes[targets[0].route].result if targets else None
        decides = result is not None and result.decides  # it cannot contradict the status, and to ask again may find it deleted
        ends: tuple[type[DocStatusError], ...] = (DocumentFailed, *self._ends) if decides else self._ends
        for (one, part), data in self._round(plans, believes=ends).run():
            found = _found(one, part, plans[one].status, data)
            yield self._if_accepted(found) if plans[one].is_single else found

    def _of_kept(self, kept: KeptReply) -> Any:
        """Return the data of a status reply that was read by a wait; where it goes to a sink, the reply as it came."""
        if self._into is None:
            return self._or_error(kept.status.id, kept.data)
        self._into.restart()
        self._into.write(kept.body)
        return Saved("application/json")

    def _or_error(self, one: str, data: Any) -> Any:
        """Return what was fetched as it is ready for its place, or the error that it cannot be."""
        if isinstance(data, (DocStatusError, Fetch, Saved)):
            return data
        try:
            return self._ready(data, id=one, service=self._hook.service.name)
        except ResultNotStorable as error:
            return error

    def _if_accepted(self, found: Found) -> Found:
        """Return what was found, or the error of a result that says that its job has not ended well enough."""
        status = found.status
        if found.error is not None or status is None or status.state is State.SUCCEEDED or status.state.value in self._accept:
            return found
        about: dict[str, Any] = {"service": status.service, "id": status.id, "state": status.state, "link": status.link}
        return replace(found, data=None, error=DocumentFailed(why_closed(status), **about))


def gathered(service: ServiceDescription, each: Iterable[Found]) -> dict[str, Any]:
    """Return status and data of each id that was asked for, or its error; of requests and batches data and errors by id."""
    parts: dict[str, list[Found]] = {}
    for found in each:
        parts.setdefault(found.of, []).append(found)
    return {of: _gathered(service, of, some) for of, some in parts.items()}


def _gathered(service: ServiceDescription, of: str, parts: Sequence[Found]) -> Any:
    first = parts[0]
    if first.id == of:
        return first.error if first.error is not None else (first.status, first.data)
    assert first.status is not None  # known before the first of its parts was asked for  # noqa: S101
    place = {child.id: number for number, child in enumerate(first.status.children)}
    parts = sorted(parts, key=lambda part: place.get(part.id, 0))  # in the vendor's order, not as they came
    items = {part.id: part.data for part in parts if part.error is None}
    errors = {part.id: str(part.error) for part in parts if part.error is not None}
    try:
        return first.status, extracted_of(service, first.status, items, errors)
    except NoData as error:
        return error


def _found(of: str, id: str, status: DocumentStatus | None, data: Any) -> Found:  # noqa: A002 -- the field's word
    is_error = isinstance(data, DocStatusError)
    return Found(of=of, id=id, status=status, data=None if is_error else data, error=data if is_error else None)
