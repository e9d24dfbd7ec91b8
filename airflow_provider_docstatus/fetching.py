"""
Fetch the data of finished documents on a worker.

What may still come is asked for again, for up to a minute. What the service refuses for good about one id is that id's error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RateLimited,
    ReplyTooLarge,
    ResultNotStorable,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.messages import Flow
from airflow_provider_docstatus.protocol.results import (
    DOCUMENTS_AT_ONCE,
    Fetch,
    checked_content,
    extracted_of,
    fetch_contents,
    plan_fetch,
)
from airflow_provider_docstatus.protocol.statuses import raise_unless_usable
from airflow_provider_docstatus.protocol.storable import fault_of
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus
from airflow_provider_docstatus.waiting import wait
from airflow_provider_docstatus.waiting.wait import needs_confirmation

Ask = Callable[[Sequence[str]], Flow[dict[str, Any]]]
Errors = dict[str, DocStatusError]

#: The pauses before what is missing is asked for again, in multiples of ``CONFIRM_AFTER``: 5, 10, 15 and 30 s.
PAUSES = (1, 2, 3, 6)
_SHOWN = 3


class Fetcher:
    """
    The fetches of one task; the minute for what is missing is one for all of them.

    :param hook: the hook; its clock and its ``sleep`` are used.
    :param content: which of the service's contents, None for the default.
    :param options: more keys for the request's body.
    """

    def __init__(self, hook: DocStatusHook, *, content: str | None, options: Mapping[str, Any]) -> None:
        self._hook = hook
        self._which: dict[str, Any] = {"content": content, "options": options}
        self._pauses = list(PAUSES)
        self._until: float | None = None

    def fetch(self, target: Target, status: DocumentStatus | None = None) -> tuple[DocumentStatus, Any]:
        """
        Return the status and the data of a finished id; of a request or a batch the data and the errors by id.

        :param status: the final status, if it is known.
        :raises DocStatusError: there is no data: :class:`NoData`, :class:`UnexpectedReply` and :class:`ServiceUnavailable` may be
            retried, since a minute was not enough.
        """
        service = self._hook.service
        checked_content(service, self._which["content"])
        if status is not None:
            raise_unless_usable(service, status)

        def plan(_ids: Sequence[str]) -> Flow[dict[str, Any]]:
            return {target.id: (yield from plan_fetch(service, target, status=status, **self._which))}

        planned, errors = self._each([target.id], plan)
        if errors:
            raise errors[target.id]
        fetch: Fetch = planned[target.id]
        items, errors = self._each(fetch.ids, fetch.ask, fetch.at_once)
        is_items_error = bool(service.contents) and type(errors.get(target.id)) is DocumentFailed
        if fetch.is_single and errors and not is_items_error:
            raise errors[target.id]
        assert fetch.status is not None  # known before, or set with the data  # noqa: S101
        texts = {**fetch.errors, **{one: str(error) for one, error in errors.items()}}
        return fetch.status, extracted_of(service, fetch.status, items, texts)

    def fetch_list(self, targets: Sequence[Target]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the data of finished ids of one route by id, and by id the reason for each without data."""
        service, ids = self._hook.service, [target.id for target in targets]
        by_id, kind = {target.id: target for target in targets}, service.routes[targets[0].route].kind
        if service.contents and kind == "document":
            items, errors = self._each(ids, lambda some: fetch_contents(service, some, **self._which), DOCUMENTS_AT_ONCE)
        elif kind not in ("request", "batch"):
            items, errors = self._each(ids, lambda some: self._whole(by_id[some[0]]))
        else:
            items, errors = {}, {}
            for target in targets:
                try:
                    items[target.id] = self.fetch(target)[1]
                except DocStatusError as error:
                    if _is_retryable(error) or _concerns_all(error):
                        raise
                    errors[target.id] = error
            _raise_if_two_are_forbidden(errors)
        return items, {one: str(error) for one, error in errors.items()}

    def _whole(self, target: Target) -> Flow[dict[str, Any]]:
        fetch = yield from plan_fetch(self._hook.service, target, status=None, **self._which)
        return (yield from fetch.ask(fetch.ids))

    def _each(self, ids: Sequence[str], ask: Ask, at_once: int = 1) -> tuple[dict[str, Any], Errors]:
        """
        Return the data by id, and the final error by id.

        :raises DocStatusError: the key, the account, or something that may still come and did not in a minute.
        """
        one_round = _Round(self._hook, ask, at_once)
        left = list(ids)
        while left:
            one_round.run(left)
            _raise_if_two_are_forbidden(one_round.errors)
            if not one_round.later or not self._pause(one_round.later.values()):
                break
            left = list(one_round.later)
        ended = {one: error for one, error in one_round.later.items() if _is_ended(error)}
        missing = {one: error for one, error in one_round.later.items() if one not in ended}
        if missing:
            raise _still_missing(missing, len(ids))
        return one_round.items, {**one_round.errors, **ended}

    def _pause(self, errors: Iterable[DocStatusError]) -> bool:
        """Pause until what is missing is asked for again; return False if the time is up."""
        hook, now = self._hook, self._hook.clock()
        if self._until is None:
            self._until = now + sum(PAUSES) * wait.CONFIRM_AFTER
        left = self._until - now
        wish = max((error.retry_after or 0.0 for error in errors if isinstance(error, ServiceUnavailable)), default=0.0)
        if not self._pauses or left <= 0 or wish > left:
            return False
        hook.sleep(max(min(self._pauses.pop(0) * wait.CONFIRM_AFTER, left), wish))
        if any(needs_confirmation(error) for error in errors):
            hook.reload()
        return True


class _Round:
    """
    A round of questions about ids, and what the rounds so far brought.

    :param ask: a flow that asks for some ids by one request.
    :param at_once: how many ids one request may ask for (int).
    """

    def __init__(self, hook: DocStatusHook, ask: Ask, at_once: int) -> None:
        self._hook = hook
        self._ask = ask
        self._at_once = at_once
        self.items: dict[str, Any] = {}
        #: The final errors.
        self.errors: Errors = {}
        #: The errors of the last round that are not final, in the order in which to ask again.
        self.later: Errors = {}
        self._heard: Errors = {}  # those of them that were about the id itself

    def run(self, ids: Sequence[str]) -> None:
        """
        Ask for each id once.

        A request for several that fails is split. The round ends when the service is unavailable, or when an invalid reply to
        several is followed by one to a single id.

        :raises KeyRejected, QuotaExhausted: the key was rejected twice for the same id, or the account is used up.
        """
        before, self._heard, self.later = self._heard, {}, {}
        tests_service = False
        groups = [list(ids[start : start + self._at_once]) for start in range(0, len(ids), self._at_once)]
        while groups:
            group = groups.pop(0)
            try:
                found = self._hook.run(self._ask(group))
            except DocStatusError as error:
                if _concerns_all(error):
                    if not needs_confirmation(error) or _is_same(error, before.get(group[0])):
                        raise
                    self._heard |= _all_of([group], error)
                    self.later = {**self._heard, **self.later, **_all_of(groups, error)}
                    return
                may_split = len(group) > 1 and (not isinstance(error, ServiceUnavailable) or group[0] in before)
                is_garbage = isinstance(error, UnexpectedReply) and not isinstance(error, ReplyTooLarge)
                if may_split and not isinstance(error, RateLimited):
                    at = 1 if is_garbage else len(group) // 2
                    groups[:0] = [group[:at], group[at:]]
                    tests_service = is_garbage
                    continue
                if isinstance(error, ServiceUnavailable) or (is_garbage and tests_service):
                    self._heard |= _all_of([group], error)
                    self.later |= _all_of([*groups, group], error)
                    return
                found = {group[0]: error}
            tests_service = False
            for one, data in found.items():
                self._note(one, data, before.get(one))

    def _note(self, one: str, data: Any, before: DocStatusError | None) -> None:
        error = _error_of(one, data)
        if error is None:
            self.items[one] = data
        elif _is_final(error, before):
            self.errors[one] = error
        else:
            self.later[one] = self._heard[one] = error


def _all_of(groups: Iterable[Sequence[str]], error: DocStatusError) -> Errors:
    return {one: error for group in groups for one in group}


def _error_of(one: str, data: Any) -> DocStatusError | None:
    """Return the error in the place of the data, or why Airflow cannot carry the data; None if it is good."""
    if isinstance(data, DocStatusError):
        return data
    fault = None if isinstance(data, Fetch) else fault_of(data)
    if fault is None:
        return None
    text = f"The extracted data of {one} has {fault}. Airflow cannot carry that in an XCom. Fetch it in your own task with "
    return ResultNotStorable(f"{text}DocStatusHook.get_result() and store it where you like.", id=one)


def _is_same(error: DocStatusError, before: DocStatusError | None) -> bool:
    """Whether an error says what the one before said."""
    return type(before) is type(error) and getattr(before, "code", None) == getattr(error, "code", None)


def _concerns_all(error: DocStatusError) -> bool:
    """Whether an error is about the account: a 403 may be about one id only."""
    return isinstance(error, QuotaExhausted) or (isinstance(error, KeyRejected) and not error.may_be_about_id)


def _raise_if_two_are_forbidden(errors: Errors) -> None:
    forbidden = [error for error in errors.values() if isinstance(error, KeyRejected)]
    if len(forbidden) > 1:
        raise forbidden[-1]


def _is_final(error: DocStatusError, before: DocStatusError | None) -> bool:
    """Whether an error about one id is final: a refusal when it is said twice, and what the vendor says of the document."""
    if _is_retryable(error) or _is_ended(error):
        return False
    return not needs_confirmation(error) or _is_same(error, before)


def _is_ended(error: DocStatusError) -> bool:
    """Whether the data route says that the document ended without data, though its status says otherwise. That may pass."""
    return isinstance(error, DocumentFailed) and not isinstance(error, NoData) and error.state is not None


def _is_retryable(error: DocStatusError) -> bool:
    """Whether the data of a finished id may still come. "Not finished" and a 404 may pass, a 410 does not."""
    if isinstance(error, NotFound):
        return not error.is_gone
    if isinstance(error, NotFinished):
        return True
    return isinstance(error, (ServiceUnavailable, UnexpectedReply, NoData)) and not isinstance(error, ReplyTooLarge)


def _still_missing(missing: Errors, total: int) -> DocStatusError:
    """Return the error for data that may still come; a task that raises it may be retried."""
    (first_id, first), *_ = missing.items()
    if total == 1 and isinstance(first, (ServiceUnavailable, UnexpectedReply, NoData)):
        return first
    shown = "; ".join(f"{one}: {error}" for one, error in list(missing.items())[:_SHOWN])
    text = f"The data of {len(missing)} of {total} ids did not come (a retry asks again): {shown}"
    has_none = all(isinstance(error, (NoData, NotFound, NotFinished)) for error in missing.values())
    kind = NoData if has_none else ServiceUnavailable
    return kind(text, service=first.service, id=first_id if total == 1 else None)
