"""A proxy that lets everything through until bytes go by that it was told of; it cuts the connection some bytes later."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

_IDLE = 2.0  # seconds after which a connection that is silent is cut, as S3 does; moto waits for ever
_LINGER = struct.pack("ii", 1, 0)  # to close is to reset


class CuttingProxy:
    """
    A TCP proxy on the loopback.

    :param address: host and port of the server behind it.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._marker: bytes | None = None
        self._instead: Callable[[], None] | None = None
        self._after = 0
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, marker: bytes | None, after: int = 0, *, instead: Callable[[], None] | None = None) -> None:
        """Cut every connection that sends ``marker``, ``after`` bytes behind it; None cuts none. Or call a function, once."""
        self._marker, self._after, self.cuts, self._instead = marker, after, 0, instead

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(_IDLE)
            server = socket.create_connection(self._address)
            threading.Thread(target=self._upstream, args=(client, server), daemon=True).start()
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        tail, left = b"", None
        try:
            while data := client.recv(65536):
                if left is None and self._marker and (at := (tail + data).find(self._marker)) >= 0:
                    left = self._after + at + len(self._marker) - len(tail)
                if left is not None and left <= len(data):
                    self.cuts += 1
                    if self._instead is None:
                        server.sendall(data[: max(left, 0)])
                        break
                    self._marker, left = None, None
                    self._instead()
                left = None if left is None else left - len(data)
                server.sendall(data)
                tail = (tail + data)[-100:]
            else:
                server.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        _cut(client, server)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        _cut(source, target)


def _cut(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            one.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        one.close()
