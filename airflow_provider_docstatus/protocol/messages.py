"""What a flow yields, a request or a pause, and the response that it gets."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from airflow_provider_docstatus.protocol.exact import read_plainly

T = TypeVar("T")
#: The most of a body that is read at once (bytes), which takes a few milliseconds. What is longer is read in pieces.
READ_AT_ONCE = 128 * 1024
#: The most of a reply that is kept in memory beside the sink that all of it goes to (bytes).
READ_OF_SAVED = 4 * 1024 * 1024
_LINK_HOST = re.compile(r"https?://([A-Za-z0-9._:\[\]-]{1,260})(?:[/?]|$)")


class Pause:
    """What a flow yields between two slices of long work: the driver lets others have the event loop, and goes on."""


PAUSE = Pause()


class Sink(Protocol):
    """Where the whole body of a good reply is written to, however long it is."""

    def restart(self) -> None:
        """Drop what was written: a reply begins anew."""

    def write(self, piece: bytes, /) -> Any:
        """Write the next bytes of the body, decoded."""

    def whole(self) -> Any:
        """Return what was written, to be read a slice at a time like bytes."""


@dataclass(kw_only=True, slots=True)
class Request:
    """
    One HTTP request.

    :param path: the path below the service's path prefix, ids percent-encoded (str).
    :param route: the path as messages show it (str), with ``{request_id}`` in place of the id.
    :param query: query parameters; a tuple repeats the key.
    :param json: a JSON body; the request is then a POST that only reads, so it may be repeated.
    :param key_optional: whether the vendor says the route needs no key.
    :param expected_codes: codes of 400 and more that are a valid response on this route, not an error.
    :param missing_route_codes: codes which say that this deployment does not have the route, which is optional.
    :param refuses_in_text: whether the vendor also refuses in plain text on this route, not only with a JSON object.
    :param prefix: the path prefix (str), put in front when the request is sent.
    :param host: another host of the service (URL) that the request goes to; empty for the connection's.
    :param link: a signed link (URL), which is got without the key in place of the path; empty if it is none.
    :param long_poll: the query parameter that lets the service hold the answer, and its longest seconds.
    :param into: gets the body of a good reply; the response then holds the beginning of a long one.
    """

    path: str
    route: str
    query: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    key_optional: bool = False
    expected_codes: Collection[int] = ()
    missing_route_codes: Collection[int] = ()
    refuses_in_text: bool = False
    prefix: str = ""
    host: str = ""
    link: str = ""
    long_poll: tuple[str, float] | None = None
    into: Sink | None = None

    @property
    def method(self) -> str:
        """``GET``, or ``POST`` when there is a body; a link is always got."""
        return "GET" if self.json is None or self.link else "POST"

    @property
    def label(self) -> str:
        """
        Method and path for messages, without the id: ``GET /v1/request-status/{request_id}``.

        Of a link it names the host alone: the rest may be the signature.
        """
        if self.link:
            host = _LINK_HOST.match(self.link)
            return f"the link to {host[1] if host else 'an odd place'}"
        return f"{self.method} {self.prefix}{self.route}"

    def below(self, prefix: str) -> Request:
        """Return the same request below a path prefix."""
        if prefix == self.prefix:
            return self
        return Request(  # takes a third of the time of dataclasses.replace, and this runs for each request
            path=self.path,
            route=self.route,
            query=self.query,
            json=self.json,
            key_optional=self.key_optional,
            expected_codes=self.expected_codes,
            missing_route_codes=self.missing_route_codes,
            refuses_in_text=self.refuses_in_text,
            prefix=prefix,
            host=self.host,
            link=self.link,
            long_poll=self.long_poll,
            into=self.into,
        )


@dataclass(kw_only=True, slots=True)
class Response:
    """
    The response to one request.

    :param request: the request as it was sent.
    :param code: the HTTP status code (int).
    :param headers: the headers, found by lower-case name.
    :param body: the decoded body, at most ``limit + 1`` bytes; the sender stops reading there.
    :param limit: the size limit in bytes (int).
    :param received_at: when it came (epoch seconds, float).
    :param has_key: whether the request went with a key (bool).
    """

    request: Request
    code: int
    headers: Mapping[str, str]
    body: bytes
    limit: int
    received_at: float
    has_key: bool = True
    #: What a flow needs of a long body, or the error of one that is no JSON, once it has read the body in pieces; see reading.py.
    outline: Any = field(default=None, init=False, repr=False, compare=False)
    #: The whole body as JSON, once data was read out of it; see responses.read_object().
    whole: Any = field(default=None, init=False, repr=False, compare=False)

    @property
    def is_too_large(self) -> bool:
        """Whether the body was cut because it passed the limit."""
        return len(self.body) > self.limit

    @property
    def is_html(self) -> bool:
        """Whether its content type says that it is a web page."""
        return "html" in self.headers.get("content-type", "").lower()

    @property
    def media_type(self) -> str:
        """Its content type in lower case, without parameters; empty if it has none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_no_route(self) -> bool:
        """Whether it is the web framework's own 404: the route does not exist. A 404 for an unknown id has another body."""
        return self.code == HTTPStatus.NOT_FOUND and self.json_or_text() == {"detail": "Not Found"}

    def json(self) -> Any:
        """Return the body as JSON. Raises ValueError when it is none, :class:`~.exact.BeyondReason` if it is too deep."""
        if isinstance(self.outline, ValueError):
            raise type(self.outline)(str(self.outline))
        if self.whole is not None or self.outline is not None:
            return self.outline if self.whole is None else self.whole
        return read_plainly(self.body)

    def json_or_text(self) -> Any:
        """Return the body as JSON, or as text when it is none; of a long text the beginning."""
        try:
            return self.json()
        except ValueError:
            return self.body[:READ_AT_ONCE].decode("utf-8", "replace")


#: What a flow gets after a pause.
NO_RESPONSE: Any = None
#: A conversation with a service; what it yields, its driver sends, see flows.py.
Flow = Generator[Request | Pause, Response, T]
