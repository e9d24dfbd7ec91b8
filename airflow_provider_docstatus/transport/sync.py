"""The worker's HTTP client: a requests session bound to one host."""

from __future__ import annotations

import http.client
import io
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from airflow_provider_docstatus.exceptions import UnexpectedReply
from airflow_provider_docstatus.protocol.messages import READ_OF_SAVED, Request, Response
from airflow_provider_docstatus.transport.connection import Endpoint
from airflow_provider_docstatus.transport.framing import ACCEPT_ENCODING, BadFraming, Body, Framing, by_name
from airflow_provider_docstatus.transport.redaction import Guard

_PIECE = 64 * 1024
#: The least bytes of a body without a limit that must come within the time-out.
_AT_LEAST = 1024 * 1024
#: Whether the request under way is for a link, of which nothing but the host may be shown.
_follows_link: ContextVar[bool] = ContextVar("follows_link", default=False)


def _hide_link(record: logging.LogRecord) -> bool:
    """Take the path out of urllib3's debug lines about a link: the signature is a key to the data."""
    if _follows_link.get() and isinstance(record.args, tuple):
        record.args = tuple("(a signed link)" if isinstance(one, str) and _is_place(one) else one for one in record.args)
    return True


def _is_place(text: str) -> bool:
    return text.startswith("/") or "://" in text  # a proxy is asked for the whole URL


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_hide_link)


class HostSession(requests.Session):
    """
    A session bound to one host. A URL without a host is a path at that host.

    The key is sent to that host, and to the vendor's own other hosts where a route has one; to no other.

    :param endpoint: the connection.
    :param clock: gives epoch seconds.
    """

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._clock = clock
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())
        self.auth = self._add_key  # also keeps a .netrc from replacing the key
        self._trusted_ca = endpoint.trusted_ca if any(host.startswith("https:") for host in endpoint.hosts) else None
        if self._trusted_ca:
            endpoint.tls_context(self._trusted_ca)  # a bad file is named here; requests would only fail to connect

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # the stub names each option
        """
        Send a request; the arguments are those of requests.

        A ``url`` without a host is a path at the connection's host. Redirects are followed only with ``allow_redirects=True``.
        """
        if not urlsplit(url).netloc:
            url = f"{self._endpoint.base_url}/{url.lstrip('/')}"
        options.setdefault("allow_redirects", False)
        options["timeout"] = options.get("timeout") or self._endpoint.request_timeout
        if options.get("verify") is None and self._trusted_ca:
            options["verify"] = self._trusted_ca
        if self._endpoint.proxy and not options.get("proxies"):
            options["proxies"] = {"http": self._endpoint.proxy, "https": self._endpoint.proxy}
        return super().request(method, url, **options)

    def get(self, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # the stub names each option
        """Send a GET without following redirects, which requests' own method would do."""
        return self.request("GET", url, **options)

    def options(self, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # the stub names each option
        """Send an OPTIONS request without following redirects, which requests' own method would do."""
        return self.request("OPTIONS", url, **options)

    def ask(self, request: Request) -> Response:
        """
        Send a flow's request and return its response; reading stops at the connection's size limit.

        A link goes without the key, without cookies and without the connection's headers, and its redirects are not followed. Its
        host and the address of that are checked, see :mod:`.signed_links`. Behind a proxy it is the proxy that looks the name up
        and connects. Then only the host that stands in the link is checked, so it is for the proxy to refuse what lies inside.

        :raises ServiceUnavailable: the service could not be reached or stopped answering.
        :raises UnexpectedReply: the bytes are no valid HTTP reply.
        :raises RequestRejected: the connection has no key and the route needs one, or a link must not be followed.
        """
        endpoint, limit = self._endpoint, self._endpoint.max_reply_bytes if request.into is None else READ_OF_SAVED
        headers = {**endpoint.headers(request), **ACCEPT_ENCODING}
        until = time.monotonic() + endpoint.request_timeout  # monotonic, as for sockets
        try:
            with self._sent(request, headers) as reply:
                replied = by_name(reply.headers.items())
                into = self._writer(request) if 200 <= reply.status_code < 300 else None
                body, received = Body(replied.get("content-encoding", ""), limit, into), 0
                while not body.is_too_large and (piece := _read_some(reply.raw)):
                    for _ in body.add(piece):
                        pass
                    received += len(piece)
                    now = time.monotonic()
                    if now > until:
                        raise TimeoutError
                    if into is not None and received >= _AT_LEAST:  # a long body may take long, but must not trickle
                        until, received = now + endpoint.request_timeout, 0
                content = body.content(reply.status_code)
                response = endpoint.response(request, reply.status_code, replied, content, self._clock())
                response.limit = limit
                return response
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, BadFraming) as error:
            raise endpoint.no_response(request, error) from None

    def _writer(self, request: Request) -> Callable[[bytes], None] | None:
        """Return what writes a reply's body to the request's sink, None if it has none."""
        sink = request.into
        if sink is None:
            return None
        sink.restart()
        guard, service = Guard(self._endpoint.key), self._endpoint.service

        def write(piece: bytes) -> None:
            if guard.holds_key(piece):
                text = (
                    f"{service.title} repeats the connection's key in its answer to {request.label}; it is not written to a file."
                )
                raise UnexpectedReply(text, service=service.name)
            sink.write(piece)

        return write

    @contextmanager
    def _sent(self, request: Request, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Send a request; the reply is open until the block ends."""
        url = self._endpoint.url(request)
        if request.link:
            before = _follows_link.set(True)
            try:
                with self._followed(url, headers) as reply:
                    yield reply
            finally:
                _follows_link.reset(before)
        else:
            with self.request(request.method, url, headers=headers, json=request.json, stream=True) as reply:
                yield reply

    @contextmanager
    def _followed(self, link: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Follow a link by an adapter of its own. It has no session, and so no key, cookies, redirects or .netrc."""
        endpoint, rules = self._endpoint, self._endpoint.link_rules
        host = rules.check(link)
        proxy = endpoint.proxy_through(select_proxy(link, get_environ_proxies(link)))
        trusted_ca = endpoint.trusted_ca if link.startswith("https:") else None
        if trusted_ca:
            endpoint.tls_context(trusted_ca)
        prepared = requests.Request("GET", link, headers=headers).prepare()
        prepared.url = link  # requests may write it in another way, which its signature does not allow
        with (
            closing(_Adapter(_POOLS if host is None else _guarded_pools(partial(rules.check_address, host)))) as adapter,
            adapter.send(
                prepared,
                stream=True,
                timeout=endpoint.request_timeout,
                verify=trusted_ca or True,
                proxies={"http": proxy, "https": proxy} if proxy else {},
            ) as reply,
        ):
            yield reply

    def resolve_redirects(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Yield the replies of a redirect's targets; none if redirects are not followed, since requests reads the body first."""
        if not options.get("yield_requests"):
            yield from super().resolve_redirects(*arguments, **options)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """
        Remove the key and the connection's headers from a request that is redirected to another host.

        On our host, keep .netrc from replacing the key.
        """
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # has no stub
        if not self._endpoint.is_ours(prepared_request.url or ""):
            for name in (*self._endpoint.key_header(), *self._endpoint.own_headers):
                prepared_request.headers.pop(name, None)
        self._add_key(prepared_request)

    def _add_key(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key and the connection's headers to a request to our host; a header that the caller has set stays."""
        if self._endpoint.is_ours(prepared.url or ""):
            for name, value in self._endpoint.own_headers.items():
                prepared.headers.setdefault(name, value)
            prepared.headers.update(self._endpoint.key_header())
        return prepared


class _Checked(io.RawIOBase):
    """
    The bytes of a reply, checked and in their plain form.

    :param sock: the socket; its time-out is that of the whole head.
    :param source: the socket's file.
    """

    def __init__(self, sock: socket.socket, source: io.BufferedReader, framing: Framing) -> None:
        self._sock = sock
        self._source = source
        self._framing = framing
        self._plain = memoryview(b"")
        timeout = sock.gettimeout()
        until = None if timeout is None else time.monotonic() + timeout
        while not framing.has_head:
            if until is not None and time.monotonic() > until:  # the socket's time-out starts anew with each byte
                raise TimeoutError
            self._read_on()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer; return their number, 0 at the end of the reply."""
        while not self._plain and not self._framing.is_complete:
            self._read_on()
        size = min(len(buffer), len(self._plain))
        buffer[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size

    def _read_on(self) -> None:
        piece = self._source.read1(_PIECE)
        if not piece:
            self._framing.end()
        self._plain = memoryview(self._framing.feed(piece))
        if self._framing.has_surplus:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # the pool finds it closed

    def close(self) -> None:
        """Close the socket's file as well."""
        self._source.close()
        super().close()


class _Reply(http.client.HTTPResponse):
    """A reply whose bytes are checked before they are parsed."""

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._sock = sock

    def begin(self) -> None:
        """Read the head."""
        framing = Framing(has_body=self._method != "HEAD")  # type: ignore[attr-defined]  # the stub lacks it
        self.fp = io.BufferedReader(_Checked(self._sock, self.fp, framing))
        super().begin()
        self.headers = self.msg = http.client.HTTPMessage()  # http.client itself would take 99 headers at most
        for name, value in framing.headers:
            self.msg[name] = value


class _Connection(HTTPConnection):
    response_class = _Reply


class _SecureConnection(HTTPSConnection):
    response_class = _Reply


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS: dict[str, Any] = {"http": _Pool, "https": _SecurePool}


def _guarded_pools(check: Callable[[str], None]) -> dict[str, Any]:
    """Return pools whose connections are closed before anything is sent if ``check`` refuses the address at the other end."""

    class Connection(_SecureConnection):
        def _new_conn(self) -> socket.socket:
            sock: socket.socket = super()._new_conn()
            try:
                check(sock.getpeername()[0])
            except BaseException:
                sock.close()
                raise
            return sock

    class Pool(_SecurePool):
        ConnectionCls = Connection

    return {"https": Pool}


class _Adapter(requests.adapters.HTTPAdapter):
    """
    Opens connections whose replies are checked.

    :param pools: the classes of the pools of direct connections, by scheme.
    """

    def __init__(self, pools: Mapping[str, Any] | None = None) -> None:
        self._pools = _POOLS if pools is None else pools
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """Return the pools of connections through a proxy."""
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def _read_some(raw: Any) -> bytes:
    """
    Return the part of a body that has arrived, as it is encoded.

    ``iter_content`` would wait for a whole piece, and the socket's time-out starts anew with each byte.
    """
    read = getattr(raw, "read1", raw.read)  # urllib3 1.26 has no read1: a slow body may exceed the time-out
    return bytes(read(_PIECE, decode_content=False))
