"""
Fetch the data of finished documents on a worker.

What may still come is asked for again, for up to a minute. What the service refuses for good about one id is that id's error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    NotFinished,
    NotFound,
    RateLimited,
    ReplyTooLarge,
    RequestRejected,
    ResultNotStorable,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.flows import Kept, KeptLink
from airflow_provider_docstatus.protocol.messages import Flow
from airflow_provider_docstatus.protocol.results import (
    DOCUMENTS_AT_ONCE,
    Ask,
    Fetch,
    concerns_all,
    extracted_of,
    fetch_contents,
    fetch_some,
    may_pass,
    plan_fetch,
    plan_link,
    reasons_of,
)
from airflow_provider_docstatus.protocol.storable import fault_of
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting import wait
from airflow_provider_docstatus.waiting.report import why_closed
from airflow_provider_docstatus.waiting.wait import needs_confirmation

#: The pauses before an id is asked for again, in multiples of ``CONFIRM_AFTER``: 2, 5, 10, then always 20 s.
PAUSES = (0.4, 1, 2, 4)
#: How long an id is asked for again after its first fault, in multiples of ``CONFIRM_AFTER``: 60 s.
PATIENCE = 12
#: While so many ids meet an outage or a bad reply, the service is asked for no others.
MOST_IN_TROUBLE = 10

Key = tuple[str, str]
_NONE_KEPT: Kept = {}


class Fetcher:
    """
    The fetches of one task.

    :param hook: the hook, which must not repeat requests itself; its clock and its ``sleep`` are used.
    :param content: which of the service's contents, None for the default.
    :param options: more keys for the request's body.
    :param accept: final states besides success whose data is wanted, since some results tell the state anew.
    :param kept: status and data that a wait has read already, where reading deletes them.
    """

    def __init__(
        self,
        hook: DocStatusHook,
        *,
        content: str | None,
        options: Mapping[str, Any],
        accept: Collection[str] = (),
        kept: Kept = _NONE_KEPT,
    ) -> None:
        self._hook = hook
        self._accept = accept
        self._kept = kept
        self._which: dict[str, Any] = {"content": content, "options": options}

    def fetch(self, target: Target, status: DocumentStatus | None = None) -> tuple[DocumentStatus, Any]:
        """
        Return the status and the data of a finished id; of a request or a batch the data and the errors by id.

        :param status: the final status, if it is known.
        :raises DocStatusError: there is no data. :class:`NoData`, :class:`UnexpectedReply` and :class:`ServiceUnavailable` may be
            retried, since a minute was not enough.
        """
        found = self._fetch([target], status)[target.id]
        if isinstance(found, DocStatusError):
            raise found
        known, data = found
        return known, data

    def fetch_list(self, targets: Sequence[Target]) -> tuple[dict[str, Any], dict[str, DocStatusError]]:
        """
        Return the data of finished ids of one route by id, and by id the error of each without data.

        :raises DocStatusError: an error that concerns all ids, or something that may still come and did not in a minute.
        """
        service, ids = self._hook.service, [target.id for target in targets]
        if service.contents and service.routes[targets[0].route].kind == "document":
            together = Fetch(ids=ids, ask=lambda some: fetch_contents(service, some, **self._which), at_once=DOCUMENTS_AT_ONCE)
            found, refused = _Round(self._hook, {"": together}).run()
            items = {one: found["", one] for one in ids if ("", one) in found}
            return items, {one: refused["", one] for one in ids if ("", one) in refused}
        each = self._fetch(targets)
        errors = {one: error for one, error in each.items() if isinstance(error, DocStatusError)}
        return {one: data[1] for one, data in each.items() if one not in errors}, errors

    def _fetch(self, targets: Sequence[Target], status: DocumentStatus | None = None) -> dict[str, Any]:
        """Return status and data of each id, or its final error."""
        service = self._hook.service
        known = [] if status is None else [status]

        def plan(target: Target) -> Fetch:
            def ask(_ids: Sequence[str]) -> Flow[dict[str, Any]]:
                told = known.pop() if known else None  # to ask again is to poll it
                return {target.id: (yield from plan_fetch(service, target, status=told, **self._which))}

            return Fetch(ids=[target.id], ask=ask)

        found: dict[str, Any] = {}
        plans: dict[str, Fetch] = {}
        for target in targets:
            if target in self._kept:
                known_status, data = self._kept[target]
                if isinstance(data, KeptLink):
                    plans[target.id] = plan_link(service, target, known_status, data.url)
                    continue
                checked = _or_error(target.id, data)
                found[target.id] = checked if isinstance(checked, DocStatusError) else (known_status, data)
        plans_of = {target.id: plan(target) for target in targets if target.id not in found and target.id not in plans}
        planned, errors = _Round(self._hook, plans_of, believes=(DocumentFailed, NotFinished)).run()
        found |= {one: error for (one, _), error in errors.items()}
        plans |= {one: fetch for (one, _), fetch in planned.items()}
        result = service.routes[targets[0].route].result if targets else None
        decides = result is not None and result.decides  # it cannot contradict the status, and to ask again may find it deleted
        items, errors = _Round(self._hook, plans, believes=(DocumentFailed,) if decides else ()).run()
        for one, fetch in plans.items():
            parts = {part: items[one, part] for part in fetch.ids if (one, part) in items}
            refused = {part: errors[one, part] for part in fetch.ids if (one, part) in errors}
            if fetch.is_single and refused:
                (found[one],) = refused.values()
                continue
            assert fetch.status is not None  # known before, or set with the data  # noqa: S101
            texts = {**fetch.errors, **{part: str(error) for part, error in refused.items()}}
            try:
                found[one] = fetch.status, extracted_of(service, fetch.status, parts, texts)
            except NoData as error:
                found[one] = error
        return {target.id: self._if_accepted(found[target.id]) for target in targets}

    def _if_accepted(self, found: Any) -> Any:
        """Return status and data, or the error of a result that says that its job has not ended well enough."""
        if isinstance(found, DocStatusError):
            return found
        status = found[0]
        if status.state is State.SUCCEEDED or status.state.value in self._accept:
            return found
        about: dict[str, Any] = {"service": status.service, "id": status.id, "state": status.state, "link": status.link}
        return DocumentFailed(why_closed(status), **about)


@dataclass(kw_only=True, eq=False)
class _Part:
    """
    An id whose data has not come yet.

    :param key: the id that it belongs to, and the id itself.
    :param at_once: with how many others one request may ask for it, itself included (int).
    :param due: when to ask for it again (epoch seconds).
    :param since: when its first fault was heard.
    """

    key: Key
    ask: Ask
    at_once: int
    due: float = 0.0
    since: float = 0.0
    heard_at: float = 0.0
    faults: int = 0
    error: DocStatusError | None = None


class _Round:
    """
    A fetch of several ids, all of which have their minute at the same time.

    :param fetches: what to fetch, by any name.
    :param believes: the errors that are final when they are said once: those that come of a status word.
    """

    def __init__(
        self, hook: DocStatusHook, fetches: Mapping[str, Fetch], *, believes: Sequence[type[DocStatusError]] = ()
    ) -> None:
        self._hook = hook
        self._believes = (*believes, ReplyTooLarge, ResultNotStorable)
        self._parts = {
            (name, one): _Part(key=(name, one), ask=fetch.ask, at_once=fetch.at_once)
            for name, fetch in fetches.items()
            for one in fetch.ids
        }
        self._total = len(self._parts)
        self._held_until = 0.0
        self._fresh_since = 0.0
        self._items: dict[Key, Any] = {}
        self._errors: dict[Key, DocStatusError] = {}

    def run(self) -> tuple[dict[Key, Any], dict[Key, DocStatusError]]:
        """
        Return the data and the final errors.

        :raises DocStatusError: an error that concerns all ids, or something that may still come and did not in a minute.
        """
        while self._parts:
            self._ask(self._next())
        return self._items, self._errors

    def _next(self) -> Sequence[_Part]:
        """Return the ids to ask for by one request, once they are due. Those that had a fault come first."""
        while True:
            now = self._hook.clock()
            tried = [part for part in self._parts.values() if part.error is not None]
            due = sorted((part for part in tried if part.due <= now), key=lambda part: part.due)
            if not due and sum(isinstance(part.error, (ServiceUnavailable, UnexpectedReply)) for part in tried) < MOST_IN_TROUBLE:
                due = [part for part in self._parts.values() if part.error is None]
            if due and now >= self._held_until:
                first = due[0]
                return [part for part in due if (part.ask, part.at_once) == (first.ask, first.at_once)][: first.at_once]
            wake = self._held_until if now < self._held_until else min(part.due for part in tried)
            self._hook.sleep(wake - now)

    def _ask(self, parts: Sequence[_Part]) -> None:
        if any(part.error and _is_refusal(part.error) and part.heard_at >= self._fresh_since for part in parts):
            self._hook.reload()
            self._fresh_since = self._hook.clock()
        ids = [part.key[1] for part in parts]
        try:
            found = self._hook.run(fetch_some(parts[0].ask, ids))
        except RequestRejected as error:  # it concerns all
            if not needs_confirmation(error) or any(_is_same(error, part.error) for part in parts):
                raise
            found = dict.fromkeys(ids, error)
        now = self._hook.clock()
        for part in parts:
            data = _or_error(part.key[1], found[part.key[1]])
            if not isinstance(data, DocStatusError):
                self._items[part.key] = data
                del self._parts[part.key]
            elif self._is_final(data, part.error):
                self._refuse(part, data)
            else:
                self._put_off(part, data, now)
                # One of them may be why the whole reply cannot be read, or why the service fails again and again.
                fails_again = isinstance(data, ServiceUnavailable) and not isinstance(data, RateLimited) and part.faults > 1
                if isinstance(data, UnexpectedReply) or fails_again:
                    part.at_once = max(1, len(parts) // 2)

    def _is_final(self, error: DocStatusError, before: DocStatusError | None) -> bool:
        """Whether an error about one id is final; what the vendor says of it counts when it is said twice."""
        if isinstance(error, self._believes) and not may_pass(error):
            return True
        return not _may_pass(error) and not concerns_all(error) and _is_same(error, before)

    def _refuse(self, part: _Part, error: DocStatusError) -> None:
        self._errors[part.key] = error
        del self._parts[part.key]
        if isinstance(error, KeyRejected) and sum(isinstance(one, KeyRejected) for one in self._errors.values()) > 1:
            raise error  # a 403 may be about one id, two are about the key

    def _put_off(self, part: _Part, error: DocStatusError, now: float) -> None:
        """Ask for the id again after a pause; give up if its time is over by then."""
        part.since = part.since if part.faults else now
        until = part.since + PATIENCE * wait.CONFIRM_AFTER
        if _may_pass(error):
            part.due = min(now + PAUSES[min(part.faults, len(PAUSES) - 1)] * wait.CONFIRM_AFTER, until)
        else:  # a refusal at the end is confirmed too
            part.due, until = now + wait.CONFIRM_AFTER, until + wait.CONFIRM_AFTER
        asked_for = error.retry_after or 0.0 if isinstance(error, ServiceUnavailable) else 0.0
        part.due = max(part.due, now + asked_for)
        part.error, part.heard_at, part.faults = error, now, part.faults + 1
        if asked_for or isinstance(error, RateLimited) or concerns_all(error):
            self._held_until = max(self._held_until, part.due)
        if now < until and part.due <= until:
            return
        if _contradicts_its_status(error) and not isinstance(error, NotFinished):
            self._refuse(part, error)  # for a minute it was said that the job has failed
        else:
            raise missing({one.key[1]: one.error for one in self._parts.values() if one.error}, self._total)


def _or_error(one: str, data: Any) -> Any:
    """Return what was fetched, or why Airflow cannot carry it."""
    fault = None if isinstance(data, (DocStatusError, Fetch)) else fault_of(data)
    if fault is None:
        return data
    text = f"The extracted data of {one} has {fault}. Airflow cannot carry that in an XCom. Fetch it in your own task with "
    return ResultNotStorable(f"{text}DocStatusHook.get_result() and store it where you like.", id=one)


def _contradicts_its_status(error: DocStatusError) -> bool:
    """Whether the data's route says of a finished id that it is not finished or has failed: a late replica, or a crash."""
    return isinstance(error, NotFinished) or (type(error) is DocumentFailed and error.state is not None)


def _may_pass(error: DocStatusError) -> bool:
    return may_pass(error) or _contradicts_its_status(error)


def _is_refusal(error: DocStatusError) -> bool:
    """Whether the second opinion about an error comes on a fresh connection: another replica may not say it."""
    return needs_confirmation(error) or not may_pass(error)


def _is_same(error: DocStatusError, before: DocStatusError | None) -> bool:
    """Whether an error says what the one before said."""
    return type(before) is type(error) and getattr(before, "code", None) == getattr(error, "code", None)


def repeats(hook: DocStatusHook) -> Iterator[None]:
    """Yield at once, and again after each pause, until the minute is over."""
    until = hook.clock() + PATIENCE * wait.CONFIRM_AFTER
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        yield
        left = until - hook.clock()
        if left <= 0:
            return
        hook.sleep(min(pause * wait.CONFIRM_AFTER, left))


def missing(errors: Mapping[str, DocStatusError], total: int, what: str = "data") -> DocStatusError:
    """Return the error for what may still come, by id; a task that raises it may be retried."""
    kinds = {
        NoData if isinstance(one, (NotFound, NotFinished)) else type(one) if may_pass(one) else ServiceUnavailable
        for one in errors.values()
    }
    (kind,) = kinds if len(kinds) == 1 else {ServiceUnavailable if kinds - {NoData} else NoData}
    first_id, first = next(iter(errors.items()))
    about: dict[str, Any] = {"service": first.service}
    if total == 1:
        about |= {"id": first_id, "state": first.state, "link": first.link}
    which = f"{first_id}" if total == 1 else f"{len(errors)} of {total} ids"
    reasons = str(first).rstrip(".") if total == 1 else reasons_of(errors)
    return kind(f"The {what} of {which} did not come within a minute: {reasons}. A retry asks again.", **about)
