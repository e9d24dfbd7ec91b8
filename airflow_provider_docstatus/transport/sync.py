"""The worker's HTTP client: a requests session bound to one host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.transport.connection import Endpoint

_PIECE = 64 * 1024


class HostSession(requests.Session):
    """
    A session bound to one host. A URL without a host is a path at that host, and the key is sent to no other host.

    :param endpoint: the connection.
    :param clock: gives epoch seconds.
    """

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._clock = clock
        self.auth = self._add_key  # also keeps a .netrc from replacing the key
        self._trusted_ca = endpoint.trusted_ca if endpoint.base_url.startswith("https:") else None
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

        :raises ServiceUnavailable: the service could not be reached or stopped answering.
        :raises RequestRejected: the connection has no key and the route needs one.
        """
        endpoint, limit = self._endpoint, self._endpoint.max_reply_bytes
        headers = endpoint.headers(request)
        until = time.monotonic() + endpoint.request_timeout  # monotonic, as for sockets
        try:
            with self.request(request.method, endpoint.url(request), headers=headers, json=request.json, stream=True) as reply:
                body = bytearray()
                while len(body) <= limit and (piece := _read_some(reply.raw)):
                    body += piece
                    if time.monotonic() > until:
                        raise TimeoutError
                return endpoint.response(request, reply.status_code, reply.headers, bytes(body[: limit + 1]), self._clock())
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise endpoint.no_response(request, error) from None

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the target of a redirect; None if it is invalid. requests calls this even if it must not follow redirects."""
        try:
            place = super().get_redirect_target(resp)
            _ = urlsplit(place or "").port
        except ValueError:
            return None
        return place

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Remove the key from a request that is redirected to another host. On our host, keep .netrc from replacing the key."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # has no stub
        for name in self._endpoint.key_header():
            prepared_request.headers.pop(name, None)
        self._add_key(prepared_request)

    def _add_key(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._is_ours(prepared.url or ""):
            prepared.headers.update(self._endpoint.key_header())
        return prepared

    def _is_ours(self, url: str) -> bool:
        theirs, ours = urlsplit(url), urlsplit(self._endpoint.base_url)
        return (theirs.scheme, theirs.hostname, theirs.port) == (ours.scheme, ours.hostname, ours.port)


def _read_some(raw: Any) -> bytes:
    """
    Return the part of a body that has arrived.

    ``iter_content`` would wait for a whole piece, and the socket's time-out starts anew with each byte.
    """
    read = getattr(raw, "read1", raw.read)  # urllib3 1.26 has no read1: a slow body may exceed the time-out
    return bytes(read(_PIECE, decode_content=True))
