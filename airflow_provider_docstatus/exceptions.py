"""
The exceptions of this package, each named for who must act.

::

    DocStatusError
    ├── ServiceUnavailable      nobody: the request is repeated later (network, time-out, 408, 425, 5xx)
    │   ├── RateLimited         nobody: the request is repeated after ``retry_after`` (429)
    │   ├── ConnectionUnavailable   nobody: the Airflow connection cannot be read just now
    │   └── NotAsked            nobody: the rate limit left no call to ask at the deadline; a retry asks again
    ├── RequestRejected         the DAG's author: an id, an operation or the connection is wrong
    │   ├── KeyRejected         the key is wrong, or may not read this id (401, 403)
    │   ├── QuotaExhausted      the account is used up; waiting does not help (402, some 429)
    │   ├── NotFound            the vendor does not know the id, or no longer (404, 410)
    │   ├── NoSuchRoute         an optional route does not exist on this deployment (404, 405, 501)
    │   ├── NotFinished         the data was requested before the document was finished
    │   ├── ResultTooLarge      the data does not fit an XCom
    │   └── ResultNotStorable   the data holds something that neither an XCom nor JSON can carry
    ├── UnexpectedReply         this package, or a proxy on the way: the reply is invalid
    │   ├── ReplyTooLarge       the reply has more bytes than the connection allows, or is nested too deeply to be read
    │   └── UnknownWord         the vendor sent a status word that this package does not know
    ├── DocumentFailed          the document's owner: the vendor could not extract it
    │   ├── NoData              the vendor says it is finished, but there is no data; a retry may find it
    │   │   └── DataRefused     the vendor says why there is none; a retry does not find it
    │   ├── SchemaMismatch      the data does not match the schema of ``require``, or is too large to be checked
    │   ├── Uncertain           the vendor is not sure enough of the data, see ``min_confidence``
    │   ├── Expired             the vendor no longer has it (its word, a 410, a run older than the documented retention)
    │   ├── Stalled             nothing about it has changed for ``stalled_after``
    │   └── Declined            a person was asked about it, and rejected it
    ├── OutputFailed            who runs the worker or the store: the output file could not be written; a retry may mend it
    ├── WaitTimedOut            ``timeout`` passed before the document was finished
    │   └── ReviewTimedOut      a person was asked about it, and nobody decided within ``review_timeout``
    └── ExecutionTimedOut       ``execution_timeout`` passed before the document was finished

Catch these classes. A task raises subclasses of them (``airflow_errors``), which also derive from the Airflow exception that
decides about a retry: ``WaitTimedOut`` and ``ReviewTimedOut`` from ``AirflowSensorTimeout``, ``ExecutionTimedOut`` from
``AirflowTaskTimeout``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_docstatus.status import State


class DocStatusError(Exception):
    """
    Base of everything this package raises on purpose.

    :param message: who, what, which id, where to fix it (str). Never a key, never document text.
    :param service: the service's name (str) or None when it is not known yet.
    :param id: the id that the error is about (str) or None.
    :param state: the last state that is known (:class:`State`) or None.
    :param link: the vendor's page of the document (https URL, str) or None.
    """

    def __init__(
        self,
        message: str,
        *,
        service: str | None = None,
        id: str | None = None,  # noqa: A002 -- the field's word, the same as in DocumentStatus
        state: State | None = None,
        link: str | None = None,
    ) -> None:
        super().__init__(message)
        self.service = service
        self.id = id
        self.state = state
        self.link = link


class ServiceUnavailable(DocStatusError):
    """
    The service cannot be reached or is overloaded; the request may succeed later.

    :param retry_after: seconds (float) that the service tells its clients to wait, or None if it names none.
    """

    #: Whether the service processed the request. If not, the id does not count as polled, and is polled again very soon.
    was_polled = True

    def __init__(self, message: str, *, retry_after: float | None = None, **about: object) -> None:
        super().__init__(message, **about)  # type: ignore[arg-type]  # the keywords of DocStatusError
        self.retry_after = retry_after


class RateLimited(ServiceUnavailable):
    """Too many requests (429); the next one may be sent after ``retry_after``."""

    was_polled = False


class ConnectionUnavailable(ServiceUnavailable):
    """The Airflow connection cannot be read at the moment (a secrets backend, the database); it is read again."""

    was_polled = False


class NotAsked(ServiceUnavailable):
    """
    The wait's time is up, but the service could not be asked whether the document is finished.

    The rate limiter was paused, the day's calls were used up, or the connection could not be read. A retry asks first.
    """

    was_polled = False


class RequestRejected(DocStatusError):
    """
    The request is wrong; the DAG's author must change an id, an operation or the connection.

    :param code: the HTTP code (int) of the service's refusal; None if nothing was sent.
    """

    def __init__(self, message: str, *, code: int | None = None, **about: object) -> None:
        super().__init__(message, **about)  # type: ignore[arg-type]  # the keywords of DocStatusError
        self.code = code


class KeyRejected(RequestRejected):
    """The key is missing, wrong, or may not read this id (401, 403)."""

    @property
    def may_be_about_id(self) -> bool:
        """Whether the key may be good for other ids (403)."""
        return self.code == HTTPStatus.FORBIDDEN


class QuotaExhausted(RequestRejected):
    """The account's quota or credit is used up (402, some 429); waiting does not help."""


class NotFound(RequestRejected):
    """
    The vendor does not know the id, or no longer (404, 410).

    :param is_gone: whether the vendor says that it once knew the id (bool, 410).
    """

    def __init__(self, message: str, *, is_gone: bool = False, **about: object) -> None:
        super().__init__(message, **about)  # type: ignore[arg-type]  # the keywords of DocStatusError
        self.is_gone = is_gone


class NoSuchRoute(RequestRejected):
    """An optional route does not exist on this deployment (404, 405, 501); its ids must be polled one by one."""


class NotFinished(RequestRejected):
    """The data was requested before the document was finished; wait first."""


class ResultTooLarge(RequestRejected):
    """The extracted data is larger than the limit for an XCom."""


class ResultNotStorable(RequestRejected):
    """
    The extracted data holds something that nothing carries exactly: a key twice, a number that Python cannot hold, 500 levels.

    What only Airflow cannot carry (NaN, NUL, bytes, ...) is no error: see :func:`.carriable.carriable`.
    """


class UnexpectedReply(DocStatusError):
    """The reply is not what the vendor documents: HTML, broken JSON, another id, a redirect, too large, no valid HTTP."""


class ReplyTooLarge(UnexpectedReply):
    """The reply has more bytes than ``max_reply_bytes`` of the connection allows, or is nested too deeply to be read."""


class UnknownWord(UnexpectedReply):
    """
    The vendor's status word is not in the service's description, nor in the connection's ``status_words``.

    :param word: the word (str).
    """

    def __init__(self, message: str, *, word: str = "", **about: object) -> None:  # pickle calls it without, then sets it
        super().__init__(message, **about)  # type: ignore[arg-type]  # the keywords of DocStatusError
        self.word = word


class DocumentFailed(DocStatusError):
    """The vendor ended the document without (all of) its data; its owner must look at it."""


class NoData(DocumentFailed):
    """The vendor says the document is finished, but gives no data for it. A retry may find the data."""


class DataRefused(NoData):
    """The vendor says the document is finished, but also why it gives no data for it, or for any of several."""


class SchemaMismatch(DocumentFailed):
    """The data of a finished document does not match the schema of ``require``, or is too large to be checked."""


class Uncertain(DocumentFailed):
    """The vendor says of a finished document's data that it is less sure of it than ``min_confidence``, or does not say."""


class Expired(DocumentFailed):
    """The vendor no longer has the document or its data; whoever still needs it must submit it again."""


class Stalled(DocumentFailed):
    """Nothing the vendor says about the document has changed for too long; its owner must ask the vendor."""


class Declined(DocumentFailed):
    """The vendor flagged the document for a person, and the person who was asked rejected it; its owner must look at it."""


class OutputFailed(DocStatusError):
    """The output file could not be written: a full disk, a missing bucket, no permission, a broken connection. Retried."""


class WaitTimedOut(DocStatusError):
    """``timeout`` passed before the document was finished; Airflow does not retry it. The remote job was left alone."""

    limit = "timeout"


class ReviewTimedOut(WaitTimedOut):
    """The vendor flagged the document for a person, and nobody decided about it within ``review_timeout``; not retried."""

    limit = "review_timeout"


class ExecutionTimedOut(DocStatusError):
    """``execution_timeout`` passed before the document was finished; retried as the task says. The remote job was left alone."""

    limit = "execution_timeout"
