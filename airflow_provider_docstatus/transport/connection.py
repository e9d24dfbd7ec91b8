"""Read an Airflow connection as an endpoint: service, host, key and settings. The key never appears in a text or log."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol
from urllib.parse import quote, urlencode, urlsplit

from airflow_provider_docstatus.exceptions import RequestRejected, ServiceUnavailable, UnexpectedReply
from airflow_provider_docstatus.protocol.flows import run
from airflow_provider_docstatus.protocol.messages import NO_RESPONSE, PAUSE, READ_AT_ONCE, Flow, Request, Response
from airflow_provider_docstatus.protocol.targets import route_name
from airflow_provider_docstatus.services import SERVICES, ServiceDescription
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.transport.framing import BadFraming
from airflow_provider_docstatus.transport.redaction import redacted
from airflow_provider_docstatus.transport.settings import SETTINGS

#: The variables that name CA certificates: those of requests, then OpenSSL's.
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_PORTS = {"http": 80, "https": 443}
#: Why no response came, by the class of the cause. The two HTTP libraries wrap the same causes in different classes.
_REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "its certificate is not trusted; for a private CA set ca_bundle in the connection's extra, or REQUESTS_CA_BUNDLE",
    ),
    (ssl.SSLError, "no TLS connection"),
    (socket.gaierror, "no such host"),
    (ConnectionRefusedError, "connection refused"),
    ((TimeoutError, asyncio.TimeoutError), "timed out"),
)


class ConnectionFields(Protocol):
    """The fields of an Airflow connection that are read here."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    port: int | None
    password: str | None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """
    One account at one service: where to send, with which key and settings.

    :param service: the service, with the connection's own status words added.
    :param base_url: scheme, host and path without a trailing slash.
    :param prefix: the path prefix that is used first.
    :param key: the API key; None if the connection has none.
    """

    conn_id: str
    service: ServiceDescription
    base_url: str
    prefix: str
    key: str | None = field(repr=False)
    auth: tuple[str, str] = field(repr=False)
    operation: str | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    calls_per_minute: float | None = None
    calls_per_day: float | None = None
    share: float = SETTINGS["share"].default
    request_timeout: float = SETTINGS["request_timeout"].default
    max_reply_bytes: int = SETTINGS["max_reply_bytes"].default

    @classmethod
    def from_connection(cls, conn: ConnectionFields, extra: object) -> Endpoint:
        """
        Read an Airflow connection.

        :param conn: the connection.
        :param extra: its extra, as a dict.
        :raises RequestRejected: another connection type, a bad host or a bad setting (whoever owns the connection).
        """
        service = SERVICES.get(conn.conn_type or "")
        if service is None:
            raise RequestRejected(
                f"Connection '{conn.conn_id}' has type {conn.conn_type!r}; this package reads {', '.join(SERVICES)}. Make one "
                f"with: airflow connections add {conn.conn_id}_docstatus --conn-type neurolinker --conn-password <API key>"
            )
        problem = _Problem(conn.conn_id, service)
        if not isinstance(extra, Mapping):
            problem.refuse(f"extra must be a JSON object, it is a {type(extra).__name__}")
        settings = {name: value for name, value in extra.items() if value is not None and value != ""}
        unknown = sorted(set(settings) - set(SETTINGS) - {"__extra__"})
        if unknown:
            problem.refuse(f"extra has unknown keys: {', '.join(unknown)}; the keys are {', '.join(SETTINGS)}")
        auth = str(settings.get("auth", next(iter(service.auth))))
        if auth not in service.auth:
            problem.refuse(f"auth is not one of {', '.join(service.auth)} (the key belongs in the password)")
        if operation := settings.get("operation"):
            try:
                route_name(service, service.parameters[0], str(operation))
            except RequestRejected as error:
                problem.refuse(f"extra's operation does not fit: {str(error).rstrip('.')}")
        key = (conn.password or "").strip() or None
        if key and not re.fullmatch(r"[\x21-\x7e]+", key):
            problem.refuse(
                "the password holds characters that no API key has (spaces, line breaks or non-ASCII); paste the key again"
            )
        prefix = "/" + str(settings.get("prefix", service.prefixes[0])).strip("/")
        if not re.fullmatch(r"/[\w./-]*", prefix):
            problem.refuse(f"prefix={prefix!r} must be a path such as {service.prefixes[0] or '/v1'}")
        prefix = "" if prefix == "/" else prefix
        base_url = _base_url(conn, service, allow_http=_flag("allow_http", settings, problem), problem=problem)
        if (doubled := _doubled(urlsplit(base_url).path, prefix, service)) is not None:
            problem.refuse(f"host ends in {doubled}, which is the path prefix and is added to it; leave it out of the host")
        return cls(
            conn_id=conn.conn_id,
            service=_with_words(service, settings.get("status_words", {}), problem),
            base_url=base_url,
            prefix=prefix,
            key=key,
            auth=service.auth[auth],
            operation=str(operation) if operation else None,
            proxy=_proxy(str(settings["proxy"]), problem) if "proxy" in settings else None,
            ca_bundle=str(settings["ca_bundle"]) if "ca_bundle" in settings else None,
            **{
                name: _number(name, settings, problem) if name in settings else getattr(service, name)
                for name in ("calls_per_minute", "calls_per_day")
            },
            share=min(1.0, _number("share", settings, problem)),
            request_timeout=_number("request_timeout", settings, problem),
            max_reply_bytes=max(1, int(_number("max_reply_bytes", settings, problem))),
        )

    def url(self, request: Request) -> str:
        """Return the full, percent-encoded URL of a request."""
        query = urlencode(request.query, safe=",:", quote_via=quote)
        return f"{self.base_url}{request.prefix}{request.path}" + (f"?{query}" if query else "")

    def headers(self, request: Request) -> dict[str, str]:
        """
        Return the headers of a request, the key among them.

        :raises RequestRejected: the connection has no key and the route needs one.
        """
        headers = {"Accept": "application/json"}
        if self.key is not None:
            headers.update(self.key_header())
        elif not request.key_optional:
            raise self._no_key()
        return headers

    def _no_key(self) -> RequestRejected:
        text = f"Connection '{self.conn_id}' has no password; put the {self.service.title} API key there."
        return RequestRejected(text, service=self.service.name)

    def check_unchanged(self, service: str, *, has_key: bool) -> None:
        """
        Check that open waits can go on with this endpoint.

        :param service: the service's name when they began (str).
        :param has_key: whether the connection had a key then (bool).
        :raises RequestRejected: they cannot (whoever owns the connection).
        """
        if self.service.name != service:
            text = f"is now of type {self.service.name}; this wait began when it was {service}. Clear the task."
            raise RequestRejected(f"Connection '{self.conn_id}' {text}", service=service)
        if has_key and self.key is None:
            raise self._no_key()

    def key_header(self) -> dict[str, str]:
        """Return the header that carries the key; empty without a key."""
        name, template = self.auth
        return {} if self.key is None else {name: template.format(key=self.key)}

    @property
    def trusted_ca(self) -> str | None:
        """
        The file of CA certificates to trust: the connection's, else the environment's; None for the usual ones.

        :raises RequestRejected: there is no such file on this machine (whoever owns the connection or the machine).
        """
        path = self.ca_bundle or next((os.environ[name] for name in _CA_VARIABLES if os.environ.get(name)), None)
        if path is not None and not os.path.exists(path):  # noqa: PTH110 -- a path as text, as requests and ssl take it
            self._refuse_ca(path, "are not on this machine")
        return path

    def tls_context(self, usual_ca: str) -> ssl.SSLContext:
        """
        Return a TLS context that trusts :attr:`trusted_ca`, else the usual certificates.

        :param usual_ca: the file of the usual CA certificates.
        :raises RequestRejected: the trusted file or folder is not there or holds no certificates.
        """
        path = self.trusted_ca or usual_ca
        is_folder = os.path.isdir(path)  # noqa: PTH112 -- as above
        try:
            return ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)
        except OSError:  # ssl.SSLError is one
            self._refuse_ca(path, "cannot be read as such")

    def _refuse_ca(self, path: str, why: str) -> NoReturn:
        source = (
            "ca_bundle in the connection's extra" if self.ca_bundle else "REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE"
        )
        _Problem(self.conn_id, self.service).refuse(f"the CA certificates {path!r} {why}; see {source}")

    def proxy_through(self, from_environment: str | None) -> str | None:
        """
        Return the URL of the proxy to use, or None: the connection's, else the environment's.

        :raises RequestRejected: the environment's is no http or https proxy (whoever owns the machine).
        """
        if self.proxy is not None or from_environment is None:
            return self.proxy
        return _proxy(from_environment, _Problem(self.conn_id, self.service))

    @property
    def account(self) -> tuple[str, str]:
        """What a rate limit belongs to: the host, however it is spelled, and the key's fingerprint."""
        scheme, name, port = origin_of(self.base_url)
        place = f"{name.rstrip('.')}{'' if port == _PORTS[scheme] else f':{port}'}{urlsplit(self.base_url).path}"
        return place, hashlib.sha256((self.key or "").encode()).hexdigest()

    def no_response(self, request: Request, error: BaseException) -> ServiceUnavailable | UnexpectedReply:
        """Return the error for a request without a response, without the text of ``error``: it may hold a proxy's password."""
        title, host = self.service.title, urlsplit(self.base_url).netloc
        for cause in _causes(error):
            if isinstance(cause, BadFraming):
                what = f"{title} answered {request.label} with what is no valid HTTP reply: {cause}"
                return UnexpectedReply(f"{what}; is there a proxy in between, or is the host wrong?", service=self.service.name)
        text = f"{title} did not answer {request.label} at {host} ({_reason(error)})."
        return ServiceUnavailable(text, service=self.service.name)

    def response(self, request: Request, code: int, headers: Mapping[str, str], body: bytes, received_at: float) -> Response:
        """Return the Response. If the vendor repeats the key in it, in whatever form, the key is redacted."""
        return run(self.response_in_slices(request, code, headers, body, received_at), lambda _: NO_RESPONSE)

    def response_in_slices(
        self, request: Request, code: int, headers: Mapping[str, str], body: bytes, received_at: float
    ) -> Flow[Response]:
        """Do what :meth:`response` does, with pauses in a long body."""
        if len(body) > READ_AT_ONCE:
            yield PAUSE
        if b"\0" in body[:4] and len(body) <= self.max_reply_bytes:  # UTF-16 or UTF-32, as json.loads reads them
            with suppress(UnicodeDecodeError):
                body = body.decode(json.detect_encoding(body), "surrogatepass").encode("utf-8", "surrogatepass")
        headers, body = yield from redacted(self.key, headers, body)
        return Response(
            request=request,
            code=code,
            headers=headers,
            body=body,
            limit=self.max_reply_bytes,
            received_at=received_at,
        )


def _reason(error: BaseException) -> str:
    causes = list(_causes(error))
    reason = next((text for kind, text in _REASONS if any(isinstance(cause, kind) for cause in causes)), "it broke off")
    by_proxy = any("Proxy" in type(cause).__name__ for cause in causes)
    return f"the proxy did not let it through: {reason}" if by_proxy else reason


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was raised from; urllib3 also keeps causes that were never raised in ``args``."""
    found = [error]
    for cause in found:
        yield cause
        causes = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
        found += [one for one in causes if isinstance(one, BaseException) and all(one is not other for other in found)]


@dataclass(frozen=True)
class _Problem:
    conn_id: str
    service: ServiceDescription

    def refuse(self, what: str) -> NoReturn:
        raise RequestRejected(f"Connection '{self.conn_id}' ({self.service.title}): {what}.", service=self.service.name)


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host name and port of a URL; the scheme's usual port if it names none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def _doubled(path: str, prefix: str, service: ServiceDescription) -> str | None:
    """Return the part of a host's path that the path prefix would repeat; None if there is none."""
    parts = prefix.split("/")
    beginnings = ["/".join(parts[:number]) for number in range(len(parts), 1, -1)]
    others = service.prefixes if prefix in service.prefixes else ()  # one of them may be found to be the right one
    return next((part for part in (*beginnings, *others) if part and path.endswith(part)), None)


def _base_url(conn: ConnectionFields, service: ServiceDescription, *, allow_http: bool, problem: _Problem) -> str:
    host = (conn.host or "").strip() or service.host
    if "://" not in host:
        scheme = conn.schema if conn.schema in ("http", "https") else "https"
        host = f"{scheme}://[{host}]" if host.count(":") > 1 and not host.startswith("[") else f"{scheme}://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or conn.port
    except ValueError:
        problem.refuse("host is not a URL")
    has_more = parts.username or parts.password or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not _is_host_name(parts.hostname or "") or has_more:
        problem.refuse(f"host must look like {service.host} (no user, query or fragment); the key belongs in the password")
    if parts.scheme == "http" and not (allow_http or _is_loopback(parts.hostname or "")):
        problem.refuse(
            f"http to {parts.hostname} would send the key unencrypted; use https, or set allow_http in the extra if you must"
        )
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "") + parts.path.rstrip("/")


def _is_host_name(hostname: str) -> bool:
    """Tell whether both HTTP libraries accept a host name. They differ over blanks, empty labels and other scripts."""
    return ":" in hostname or re.fullmatch(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", hostname) is not None


def _proxy(text: str, problem: _Problem) -> str:
    """Return a proxy's URL with a scheme. requests takes one without a scheme as well, aiohttp does not."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:  # the text may hold a password
        problem.refuse("the proxy must be an http or https URL, such as http://proxy.example.com:3128")
    return url


def _is_loopback(hostname: str) -> bool:
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"


def _flag(name: str, settings: Mapping[str, Any], problem: _Problem) -> bool:
    value = settings.get(name, SETTINGS[name].default)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        problem.refuse(f"{name}={value!r} must be true or false")
    return bool(value)


def _number(name: str, settings: Mapping[str, Any], problem: _Problem) -> float:
    value = settings.get(name, SETTINGS[name].default)
    try:
        number = float(value) if not isinstance(value, bool) else 0.0
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        problem.refuse(f"{name}={value!r} must be a number above 0")
    return number


def _with_words(service: ServiceDescription, words: Any, problem: _Problem) -> ServiceDescription:
    try:
        words = json.loads(words) if isinstance(words, str) else words
        more = {str(word).strip().lower(): State(state) for word, state in words.items()}
        meanings = {**service.states, **more}
    except (ValueError, AttributeError):
        problem.refuse(f"status_words must map vendor words to one of {', '.join(State)}, as JSON")
    if "" in more:
        problem.refuse("status_words has an empty word; a reply without a word is never an answer")
    try:
        return replace(service, words={one: tuple(w for w, s in meanings.items() if s is one) for one in set(meanings.values())})
    except ValueError as error:
        problem.refuse(f"status_words takes too much away: {error}")
