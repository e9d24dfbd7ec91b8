"""A made-up vendor, and a server on loopback that notes every byte it gets."""

from __future__ import annotations

import asyncio
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus.services import AITRONOS, SERVICES, ServiceDescription
from airflow_provider_docstatus.transport import aio
from airflow_provider_docstatus.transport.connection import Endpoint
from airflow_provider_docstatus.transport.sync import HostSession
from tests.transport.test_connection import KEY, Connection

if TYPE_CHECKING:
    import ssl

    from airflow_provider_docstatus.protocol.messages import Request, Response

NO_LIMITS = {"calls_per_minute": None, "calls_per_day": None}


def vendor_with(**fields: Any) -> ServiceDescription:
    """Return a vendor that is like Aitronos but for some fields of its description."""
    return replace(AITRONOS, **{"name": "made_up", "title": "Made-up", "prefixes": ("",), **NO_LIMITS, **fields})


def endpoint_of(
    monkeypatch: pytest.MonkeyPatch, service: ServiceDescription, extra: Mapping[str, Any] | None = None, **fields: Any
) -> Endpoint:
    """Return the endpoint of a connection to a made-up vendor."""
    monkeypatch.setitem(SERVICES, service.name, service)
    monkeypatch.setattr(aio, "_limiters", {})
    return Endpoint.from_connection(Connection(**{"conn_type": service.name, "password": KEY, **fields}), dict(extra or {}))


def ask(endpoint: Endpoint, request: Request) -> Response:
    """Send a request as a worker does."""
    with HostSession(endpoint) as session:
        return session.ask(request)


def ask_by_aio(endpoint: Endpoint, request: Request) -> Response:
    """Send a request as the triggerer does."""

    async def once() -> Response:
        client = await aio.Client.open(endpoint, None, time.time)
        try:
            return await client.send(request)
        finally:
            await client.close()

    return asyncio.run(once())


BOTH = pytest.mark.parametrize("send", [ask, ask_by_aio], ids=["worker", "triggerer"])


def answer(code: int, body: bytes = b"{}", headers: str = "Content-Type: application/json\r\n") -> bytes:
    """Return the bytes of a reply."""
    return f"HTTP/1.1 {code} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


OK = answer(200)


@dataclass
class Server:
    """
    A server that answers each request with the same reply.

    :param reply: the bytes of the reply, or a function that makes them of a request's head.
    :param heads: the head of each request that came, as text.
    :param connections: how many TCP connections came.
    :param received: how many bytes came.
    """

    port: int = 0
    reply: bytes | Callable[[str], bytes] = OK
    heads: list[str] = field(default_factory=list)
    connections: int = 0
    received: int = 0

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def headers(self, number: int = 0) -> dict[str, str]:
        """Return the headers of the only request that came, or of another one, by lower-case name."""
        head = self.heads[number]
        assert number or len(self.heads) == 1
        lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
        return {name.lower(): value for name, _, value in lines}

    def target(self) -> str:
        """Return path and query of the one request that came."""
        (head,) = self.heads
        return head.split(" ", 2)[1]


@contextmanager
def serving(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Server]:
    """Serve on loopback until the block ends."""
    server = Server()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            server.connections += 1
            sock = self.request
            try:
                if context is not None:
                    first = sock.recv(1, 2)  # MSG_PEEK: a TLS client speaks first
                    server.received += len(first)
                    sock = context.wrap_socket(sock, server_side=True)
                while head := self._head(sock):
                    server.heads.append(head)
                    sock.sendall(server.reply(head) if callable(server.reply) else server.reply)
            except OSError:
                pass
            finally:
                sock.close()

        def _head(self, sock: Any) -> str:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = sock.recv(65536)
                if not piece:
                    return ""
                server.received += len(piece)
                head += piece
            return head.partition(b"\r\n\r\n")[0].decode("latin-1")

    class Threads(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Threads((host, 0), Handler) as threads:
        server.port = threads.server_address[1]
        thread = threading.Thread(target=threads.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            threads.shutdown()
            thread.join()
