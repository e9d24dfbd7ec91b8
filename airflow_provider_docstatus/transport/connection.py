"""Read an Airflow connection as an endpoint: service, host, key and settings. The key never appears in a text or log."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn
from urllib.parse import quote, urlencode, urlsplit

from airflow_provider_docstatus._compat import conf
from airflow_provider_docstatus.exceptions import RequestRejected, ServiceUnavailable, UnexpectedReply
from airflow_provider_docstatus.protocol.flows import run
from airflow_provider_docstatus.protocol.hosts import HostPatterns
from airflow_provider_docstatus.protocol.messages import NO_RESPONSE, PAUSE, READ_AT_ONCE, Flow, Request, Response
from airflow_provider_docstatus.protocol.rules import KEY
from airflow_provider_docstatus.protocol.targets import route_name
from airflow_provider_docstatus.registry import find, which_types
from airflow_provider_docstatus.services import ServiceDescription
from airflow_provider_docstatus.transport.fields import (
    PORTS,
    ConnectionFields,
    Problem,
    base_url_of,
    doubled_prefix,
    flag,
    headers_of,
    link_hosts_of,
    names_host,
    number,
    origin_of,
    proxy_url,
    region_of,
    with_hosts,
    with_words,
)
from airflow_provider_docstatus.transport.framing import BadFraming
from airflow_provider_docstatus.transport.own_description import own_service
from airflow_provider_docstatus.transport.redaction import redacted
from airflow_provider_docstatus.transport.settings import ALL_SETTINGS, OWN_TYPE, SETTINGS
from airflow_provider_docstatus.transport.signed_links import LinkRules

#: The variables that name CA certificates: those of requests, then OpenSSL's.
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
#: Seconds of ``request_timeout`` that a service has left to answer when it has held its answer for as long as it may.
_TIME_TO_ANSWER = 5.0
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


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """
    One account at one service: where to send, with which key and settings.

    :param service: the service, with the connection's own status words added.
    :param base_url: scheme, host and path without a trailing slash.
    :param prefix: the path prefix that is used first.
    :param key: the API key; None if the connection has none.
    :param own_headers: the headers that the service's description or the connection adds to each request.
    :param link_hosts: the hosts that signed links may lead to.
    """

    conn_id: str
    service: ServiceDescription
    base_url: str
    prefix: str
    key: str | None = field(repr=False)
    auth: tuple[str, str] = field(repr=False)
    operation: str | None = None
    own_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    link_hosts: HostPatterns = field(default_factory=HostPatterns)
    proxy: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    calls_per_second: float | None = None
    calls_per_minute: float | None = None
    calls_per_day: float | None = None
    zero_retention: bool = SETTINGS["zero_retention"].default
    share: float = SETTINGS["share"].default
    request_timeout: float = SETTINGS["request_timeout"].default
    long_poll: float = SETTINGS["long_poll"].default
    max_reply_bytes: int = SETTINGS["max_reply_bytes"].default

    @classmethod
    def from_connection(cls, conn: ConnectionFields, extra: object) -> Endpoint:
        """
        Read an Airflow connection.

        :param conn: the connection.
        :param extra: its extra, as a dict.
        :raises RequestRejected: another connection type, a bad host or a bad setting (whoever owns the connection).
        """
        is_own = conn.conn_type == OWN_TYPE
        found = None if is_own else find(conn.conn_type or "")
        if not is_own and found is None:
            raise RequestRejected(
                f"Connection '{conn.conn_id}' has type {conn.conn_type!r}; {which_types(conn.conn_type, OWN_TYPE)} Make one "
                f"with: airflow connections add {conn.conn_id}_docstatus --conn-type neurolinker --conn-password <API key>"
            )
        service = found.service if found else own_service(conn.conn_id, extra)
        problem = Problem(conn.conn_id, service)
        if not isinstance(extra, Mapping):
            problem.refuse(f"extra must be a JSON object, it is a {type(extra).__name__}")
        settings = {name: value for name, value in extra.items() if value is not None and value != ""}
        known = ALL_SETTINGS if is_own else SETTINGS
        unknown = sorted(set(settings) - {*known, "__extra__"})
        if unknown:
            problem.refuse(f"extra has unknown keys: {', '.join(unknown)}; the keys are {', '.join(known)}")
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
        region, allow_http = region_of(service, settings, problem), flag("allow_http", settings, problem)
        base_url = base_url_of(conn, service, region, allow_http=allow_http, problem=problem)
        if (doubled := doubled_prefix(urlsplit(base_url).path, prefix, service)) is not None:
            problem.refuse(f"host ends in {doubled}, which is the path prefix and is added to it; leave it out of the host")
        service = with_hosts(service, region, is_explicit=names_host(conn))
        status_hosts = (*service.status_hosts, (urlsplit(base_url).hostname or "").rstrip("."))
        service = replace(service, status_hosts=status_hosts, file_names=service.file_names and _tells_file_names())
        return cls(
            conn_id=conn.conn_id,
            service=with_words(service, settings.get("status_words", {}), problem),
            base_url=base_url,
            prefix=prefix,
            key=key,
            auth=service.auth[auth],
            operation=str(operation) if operation else None,
            own_headers=headers_of(service, settings.get("headers", {}), problem),
            link_hosts=link_hosts_of(service, settings.get("link_hosts", ""), problem),
            proxy=proxy_url(str(settings["proxy"]), problem) if "proxy" in settings else None,
            ca_bundle=str(settings["ca_bundle"]) if "ca_bundle" in settings else None,
            **{
                name: number(name, settings, problem) if name in settings else getattr(service, name)
                for name in ("calls_per_second", "calls_per_minute", "calls_per_day")
            },
            zero_retention=flag("zero_retention", settings, problem),
            share=min(1.0, number("share", settings, problem)),
            request_timeout=number("request_timeout", settings, problem),
            long_poll=number("long_poll", settings, problem, may_be_zero=True),
            max_reply_bytes=max(1, int(number("max_reply_bytes", settings, problem))),
        )

    def url(self, request: Request) -> str:
        """
        Return the full, percent-encoded URL of a request; a link as it is.

        :raises RequestRejected: it is for a host that is not the connection's (this package).
        """
        if request.link:
            return request.link
        if request.host and request.host not in self.hosts:
            text = f"{request.label} is for a host that is none of connection '{self.conn_id}', so it is not sent."
            raise RequestRejected(text, service=self.service.name)
        query = urlencode({**request.query, **self._long_poll_of(request)}, doseq=True, safe=",:", quote_via=quote)
        return f"{request.host or self.base_url}{request.prefix}{request.path}" + (f"?{query}" if query else "")

    @property
    def hosts(self) -> list[str]:
        """The base URLs that the key is sent to: the connection's, and those of routes with a host of their own."""
        return list(dict.fromkeys([self.base_url, *(route.host for route in self.service.routes.values() if route.host)]))

    @property
    def link_rules(self) -> LinkRules:
        """The rules for the links that the service gives."""
        about = {"conn_id": self.conn_id, "title": self.service.title, "service": self.service.name}
        return LinkRules(**about, ours=tuple(self.hosts), hosts=self.link_hosts)

    def is_ours(self, url: str) -> bool:
        """Whether a URL is at one of the hosts that the key is sent to."""
        return origin_of(url) in map(origin_of, self.hosts)

    def _long_poll_of(self, request: Request) -> dict[str, str]:
        """Return the query parameter that lets the service hold its answer: in whole seconds, which every service reads."""
        if request.long_poll is None:
            return {}
        name, longest = request.long_poll
        seconds = int(min(self.long_poll, longest, self.request_timeout - _TIME_TO_ANSWER))
        return {name: str(seconds)} if seconds >= 1 else {}

    def headers(self, request: Request) -> dict[str, str]:
        """
        Return the headers of a request, the connection's own and the key among them; a link gets neither.

        :raises RequestRejected: the connection has no key and the route needs one.
        """
        if request.link:
            return {"Accept": "*/*"}
        headers = {"Accept": "application/json", **self.own_headers}
        if self.key is not None:
            headers.update(self.key_header())
        elif not (request.key_optional or self.service.key_optional):
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
        if has_key and self.key is None and not self.service.key_optional:
            raise self._no_key()

    def key_header(self) -> dict[str, str]:
        """Return the header that carries the key; empty without a key."""
        name, template = self.auth
        return {} if self.key is None else {name: template.replace(KEY, self.key)}

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
        Problem(self.conn_id, self.service).refuse(f"the CA certificates {path!r} {why}; see {source}")

    def proxy_through(self, from_environment: str | None) -> str | None:
        """
        Return the URL of the proxy to use, or None: the connection's, else the environment's.

        :raises RequestRejected: the environment's is no http or https proxy (whoever owns the machine).
        """
        if self.proxy is not None or from_environment is None:
            return self.proxy
        return proxy_url(from_environment, Problem(self.conn_id, self.service))

    @property
    def account(self) -> tuple[str, str]:
        """What a rate limit belongs to: the host, however it is spelled, and the key's fingerprint."""
        scheme, name, port = origin_of(self.base_url)
        place = f"{name.rstrip('.')}{'' if port == PORTS[scheme] else f':{port}'}{urlsplit(self.base_url).path}"
        return place, hashlib.sha256((self.key or "").encode()).hexdigest()

    def no_response(self, request: Request, error: BaseException) -> ServiceUnavailable | UnexpectedReply:
        """Return the error for a request without a response, without the text of ``error``: it may hold a proxy's password."""
        title, host = self.service.title, urlsplit(request.host or self.base_url).netloc
        for cause in _causes(error):
            if isinstance(cause, BadFraming):
                what = f"{title} answered {request.label} with what is no valid HTTP reply: {cause}"
                return UnexpectedReply(f"{what}; is there a proxy in between, or is the host wrong?", service=self.service.name)
        place = "" if request.link else f" at {host}"
        text = f"{title} did not answer {request.label}{place} ({_reason(error)})."
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
            has_key=self.key is not None,
        )


def _tells_file_names() -> bool:
    """Whether the deployment lets the names of files be told; not if what it says cannot be understood."""
    return str(conf.get("docstatus", "file_names", fallback="True")).strip().lower() in ("t", "true", "1")


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
