"""Classify HTTP responses: the error that a code and body mean, and what they say about the rate limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from airflow_provider_docstatus.exceptions import (
    KeyRejected,
    NoSuchRoute,
    NotFound,
    QuotaExhausted,
    RateLimited,
    ReplyTooLarge,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.exact import BeyondReason
from airflow_provider_docstatus.protocol.messages import Response
from airflow_provider_docstatus.protocol.refusals import is_foreign
from airflow_provider_docstatus.protocol.storable import read_data
from airflow_provider_docstatus.protocol.values import count, first_text, get_path, one_line, text_in

#: A header that names a longer wait in seconds is absurd, and counts as none.
LONGEST_HINT = 7 * 86_400.0
TOO_MANY = 429
_UNAVAILABLE = 503
_SHOWN_OF_A_FOREIGN_TEXT = 80
NO_ROUTE_CODES = frozenset({404, 405, 410, 501})
#: Where the batch route /jobs/status is missing, /jobs/{id} takes "status" for an id, and may refuse it with 400 or 422.
NO_BATCH_ROUTE_CODES = NO_ROUTE_CODES | {400, 422}
_RETRY_CODES = frozenset({408, 425, TOO_MANY})
_CONTENT_TYPE = re.compile(r"no content type|[\w.+-]{1,60}/[\w.+-]{1,60}(; ?charset=[\w-]{1,20})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class RateLimitSignal:
    """
    What a response says about the rate limit.

    :param is_throttled: whether the service refused because of too many requests (429, or 503 with a time).
    :param retry_after: seconds to wait, as the service says; None if it names none.
    :param resumes_at: when requests are possible again (epoch seconds), if the headers say that none are left; else None.
    """

    is_throttled: bool
    retry_after: float | None = None
    resumes_at: float | None = None


def rate_limit_signal(service: ServiceDescription, response: Response) -> RateLimitSignal:
    """Read the rate limit out of a response."""
    wait = retry_after(service, response)
    if response.code == TOO_MANY or (wait and response.code == _UNAVAILABLE):
        return RateLimitSignal(is_throttled=True, retry_after=wait)
    resumes_at = None
    is_good = 200 <= response.code < 300  # what an error says of the window may be a proxy's
    if is_good and service.remaining_headers and count(response.headers.get(service.remaining_headers[0])) == 0:
        resumes_at = count(response.headers.get(service.remaining_headers[1], "").split(".")[0])
        if resumes_at is not None and not response.received_at < resumes_at <= response.received_at + 3600:
            resumes_at = None
    return RateLimitSignal(is_throttled=False, resumes_at=resumes_at)


def retry_after(service: ServiceDescription, response: Response) -> float | None:
    """
    Return how many seconds the service tells its clients to wait, or None.

    ``Retry-After`` counts on 429 and 503, and on a good reply about a job that is running; a vendor's own headers on 429 only.
    ``Retry-After`` may be seconds or an HTTP date; a vendor header whose number is a recent epoch time is read as one, and one
    whose name ends in ``-ms`` as milliseconds. An unreadable or absurdly large value says nothing.
    """
    is_asked = 200 <= response.code < 300 or response.code in (TOO_MANY, _UNAVAILABLE)
    names = ("retry-after", *(service.retry_headers if response.code == TOO_MANY else ())) if is_asked else ()
    for name in names:
        value = response.headers.get(name, "").strip()
        if not value:
            continue
        try:
            seconds = float(value) / (1000 if name.endswith("-ms") else 1)
        except ValueError:
            try:
                when = parsedate_to_datetime(value)
            except (TypeError, ValueError, OverflowError):
                continue
            seconds = (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() - response.received_at
        else:
            if seconds > 1e9:
                seconds -= response.received_at
        if seconds <= LONGEST_HINT:  # false for NaN as well
            return max(seconds, 0.0)
    return None


def raise_if_unavailable(service: ServiceDescription, response: Response) -> None:
    """Raise ServiceUnavailable if the code means that the same request may succeed later."""
    request, code = response.request, response.code
    if not is_unavailable(code) and not _may_be_repeated(service, response):
        return
    if (code in request.expected_codes or code in request.missing_route_codes) and not is_foreign(response):
        return
    about, error = "", ServiceUnavailable
    if code == TOO_MANY:
        body, error = response.json_or_text(), RateLimited
        if _says(body, service.quota):
            return
        has_text = any(isinstance(get_path(body, path), str) for path in service.rate)
        if has_text and not _says(body, service.rate):
            about = ". This may be a limit of the account that waiting does not lift: look at its usage"
    text = vendor_text(service, response)
    raise error(
        f"{service.title} answered {request.label} with {code}" + (f": {text}" if text else "") + about,
        retry_after=retry_after(service, response),
        service=service.name,
    )


def _may_be_repeated(service: ServiceDescription, response: Response) -> bool:
    """Whether a refusal says by the vendor's own flag that the same request may succeed later."""
    if not service.retry_flag or not 400 <= response.code < 500 or is_foreign(response):
        return False
    return get_path(response.json_or_text(), service.retry_flag) is True


def _says(body: Any, texts: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a refusal has one of some texts at its dotted path; an empty path is the whole body. Case does not matter."""
    for path, said in texts.items():
        text = get_path(body, path) if path else body
        if isinstance(text, str) and _plain(text) in map(_plain, said):
            return True
    return False


def _plain(text: str) -> str:
    return text.strip().rstrip(".").lower()


def is_unavailable(code: int) -> bool:
    """Whether an HTTP code means that the same request may succeed later."""
    return code in _RETRY_CODES or code >= 500


def read_object(
    service: ServiceDescription,
    response: Response,
    *,
    id: str | None = None,  # noqa: A002 -- the field's word
    has_data: bool = False,
) -> Mapping[str, Any]:
    """
    Return the JSON object of a good response.

    :param id: the id that was polled (str), None for several.
    :param has_data: whether extracted data is taken from it. What Python's reading loses is then marked, see
        :func:`~.exact.read_exactly`, and whoever reads the response again gets the same object.
    :raises ServiceUnavailable: the request may succeed later (nobody must act).
    :raises RequestRejected: key, quota, unknown id, refused request (the DAG's author).
    :raises ResultNotStorable: ``has_data``, and it has more levels than Python can read (the DAG's author).
    :raises UnexpectedReply: HTML (below 500), a redirect, broken JSON, too large (this package, or a proxy).
    """
    about: dict[str, Any] = {"service": service.name, "id": id}
    raise_if_unavailable(service, response)
    label = response.request.label
    if response.code in response.request.missing_route_codes and not is_foreign(response):
        raise NoSuchRoute(f"{service.title} has no {label} here ({response.code}).", code=response.code, **about)
    what = f"{service.title} answered {label}" + (f" for {id}" if id else "")
    if 300 <= response.code < 400:
        place = one_line(redirect_target(response).hostname or "elsewhere")
        raise UnexpectedReply(
            f"{what} with a redirect ({response.code}) to {place}; redirects are not followed, the key goes to one host. "
            "Put the final host into the connection.",
            **about,
        )
    if response.code >= 400:
        raise _rejection(service, what, response, about)
    if response.is_too_large and not isinstance(response.outline, Mapping):
        raise too_large(service, response, id=id)
    try:
        if has_data:
            response.whole = read_data(response.body, **about)
        body = response.json()
    except BeyondReason as error:
        text = f"{what} with {error}. Nothing written in Python, such as Airflow, can carry that."
        raise ReplyTooLarge(text, **about) from None
    except ValueError:
        kind = response.headers.get("content-type", "no content type")
        kind = kind if _CONTENT_TYPE.fullmatch(kind) else "an odd content type"
        raise UnexpectedReply(
            f"{what} with {len(response.body)} bytes that are not JSON ({kind}); is there a proxy or login page "
            "in between, or is the host wrong?",
            **about,
        ) from None
    if not isinstance(body, Mapping):
        raise UnexpectedReply(f"{what} with JSON that is not an object ({type(body).__name__}).", **about)
    return body


def too_large(service: ServiceDescription, response: Response, *, id: str | None) -> ReplyTooLarge:  # noqa: A002
    """Return the error for a reply that is longer than the connection allows."""
    what = f"{service.title} answered {response.request.label}" + (f" for {id}" if id else "")
    return ReplyTooLarge(
        f"{what} with more than {response.limit} bytes; raise 'max_reply_bytes' in the connection's extra if that is right.",
        service=service.name,
        id=id,
    )


def vendor_text(service: ServiceDescription, response: Response) -> str | None:
    """Return the vendor's error text in a response, as one line; of a link's there is none, since storages repeat signatures."""
    if response.is_too_large or response.is_html or response.request.link:
        return None
    return error_text(service, response.json_or_text())


def error_text(service: ServiceDescription, body: Any) -> str | None:
    """Return the vendor's error text in a body, as one line; what the envelope names beside the text follows in brackets."""
    text = first_text(body, service.envelope[:1])
    if text is None:
        return text_in(body)
    more = [(path.rpartition(".")[2], get_path(body, path)) for path in service.envelope[1:]]
    shown = "; ".join(f"{name} {one_line(value)}" for name, value in more if value)
    return one_line(f"{text} ({shown})" if shown else text)


def redirect_target(response: Response) -> SplitResult:
    """Return the target of a redirect; an empty URL if its location is invalid."""
    try:
        return urlsplit(response.headers.get("location", ""))
    except ValueError:
        return urlsplit("")


def _rejection(
    service: ServiceDescription, what: str, response: Response, about: dict[str, Any]
) -> RequestRejected | UnexpectedReply:
    """Return the error for a code of 400 to 499 that repeating the request does not mend."""
    code = response.code
    if code != TOO_MANY and is_foreign(response):  # a 429 comes here only with the vendor's own words
        text = vendor_text(service, response)
        form = "a web page" if response.is_html else f"{text[:_SHOWN_OF_A_FOREIGN_TEXT]!r}" if text else "no text of its own"
        return UnexpectedReply(
            f"{what} with {code} and {form}; is there a proxy or login page in between, or is the host wrong? If not, check the "
            "key (password) of the connection.",
            **about,
        )
    about["code"] = code
    text = vendor_text(service, response)
    said = (f"{what} with {code}" + (f": {text}" if text else "")).rstrip(".")
    if code == 401 and not response.has_key:
        return KeyRejected(f"{said}; this deployment wants a key: put it into the password of the connection.", **about)
    if code == 401:
        return KeyRejected(f"{said}. Check the key (password) of the connection.", **about)
    if code in service.quota_codes or code == TOO_MANY or (code == 403 and _says(response.json_or_text(), service.quota)):
        return QuotaExhausted(f"{said}. The account's quota or credit is used up; waiting does not help.", **about)
    if code == 403:
        return KeyRejected(f"{said}. Check the key of the connection, and that its account may read this id.", **about)
    if code in (404, 410):
        return NotFound(
            f"{said}. Check the id, the kind of id"
            + (", the operation" if service.has_operations else "")
            + f" and the account; results may also have expired (retention: {service.retention}).",
            is_gone=code == 410,
            **about,
        )
    return RequestRejected(f"{said}. Check the id and the connection.", **about)
