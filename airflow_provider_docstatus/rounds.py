"""
Ask for the data of several finished ids on a worker, all of which have their minute at the same time.

What may still come is asked for again, for up to a minute. What the service refuses for good about one id is that id's error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from airflow_provider_docstatus.protocol.faults import concerns_all, may_pass, reasons_of
from airflow_provider_docstatus.protocol.results import Ask, Fetch, fetch_some
from airflow_provider_docstatus.protocol.values import named
from airflow_provider_docstatus.waiting import wait
from airflow_provider_docstatus.waiting.wait import needs_confirmation

#: The pauses before an id is asked for again, in multiples of ``CONFIRM_AFTER``: 2, 5, 10, then always 20 s.
PAUSES = (0.4, 1, 2, 4)
#: How long an id is asked for again after its first fault, in multiples of ``CONFIRM_AFTER``: 60 s.
PATIENCE = 12
#: While so many ids meet an outage or a bad reply, the service is asked for no others.
MOST_IN_TROUBLE = 10
#: So many ids in a row that are skipped, none of them with data in between, are an outage and not faults of theirs.
MOST_SKIPPED = 10

_NO_NAMES: Mapping[str, str] = {}
#: The id that was asked for, and the id itself: the same, or a document or job inside it.
Key = tuple[str, str]


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


class Round:
    """
    A fetch of several ids, all of which have their minute at the same time.

    :param fetches: what to fetch, by any name.
    :param ready: makes what was fetched of an id ready for its place, or the error that it cannot be.
    :param skips: whether an id's data that did not come within its minute is its error.
    :param believes: the errors that are final when they are said once: those that come of a status word.
    """

    def __init__(
        self,
        hook: DocStatusHook,
        fetches: Mapping[str, Fetch],
        *,
        ready: Callable[[str, Any], Any],
        skips: bool,
        believes: Sequence[type[DocStatusError]] = (),
    ) -> None:
        self._hook = hook
        self._ready = ready
        self._skips = skips
        self._skipped = 0
        self._believes = (*believes, ReplyTooLarge, ResultNotStorable)
        self._parts = {
            (name, one): _Part(key=(name, one), ask=fetch.ask, at_once=fetch.at_once)
            for name, fetch in fetches.items()
            for one in fetch.ids
        }
        self._total = len(self._parts)
        self._held_until = 0.0
        self._fresh_since = 0.0
        self._done: list[tuple[Key, Any]] = []
        self._rejected_keys = 0

    def run(self) -> Iterator[tuple[Key, Any]]:
        """
        Yield the data, or the final error in its place, of each id as it comes.

        :raises DocStatusError: an error that concerns all ids, or something that may still come and did not in a minute.
        """
        while self._parts:
            self._ask(self._next())
            done, self._done = self._done, []
            yield from done

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
            data = self._ready(part.key[1], found[part.key[1]])
            if not isinstance(data, DocStatusError):
                self._end(part, data)
                self._skipped = 0
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
        self._end(part, error)
        self._rejected_keys += isinstance(error, KeyRejected)
        if self._rejected_keys > 1:
            raise error  # a 403 may be about one id, two are about the key

    def _end(self, part: _Part, data: Any) -> None:
        self._done.append((part.key, data))
        del self._parts[part.key]

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
        elif self._skips and self._skipped < MOST_SKIPPED:
            self._skipped += 1
            self._end(part, missing({part.key[1]: error}, 1, remedy=""))
        else:
            raise missing({one.key[1]: one.error for one in self._parts.values() if one.error}, self._total)


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


def missing(
    errors: Mapping[str, DocStatusError],
    total: int,
    what: str = "data",
    names: Mapping[str, str] = _NO_NAMES,
    *,
    remedy: str = "A retry asks again.",
) -> DocStatusError:
    """
    Return the error for what may still come, by id; a task that raises it may be retried.

    :param names: the names of the documents' files by id, where they are known.
    :param remedy: what the text ends with.
    """
    kinds = {
        NoData if isinstance(one, (NotFound, NotFinished)) else type(one) if may_pass(one) else ServiceUnavailable
        for one in errors.values()
    }
    (kind,) = kinds if len(kinds) == 1 else {ServiceUnavailable if kinds - {NoData} else NoData}
    first_id, first = next(iter(errors.items()))
    about: dict[str, Any] = {"service": first.service}
    if total == 1:
        about |= {"id": first_id, "state": first.state, "link": first.link}
    which = named(first_id, names.get(first_id)) if total == 1 else f"{len(errors)} of {total} ids"
    reasons = str(first).rstrip(".") if total == 1 else reasons_of(errors, names)
    return kind(f"The {what} of {which} did not come within a minute: {reasons}. {remedy}".rstrip(), **about)
