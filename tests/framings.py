"""Replies as bytes, sound and broken, and what both HTTP clients must make of each."""

from __future__ import annotations

import gzip
import math
import socket
import struct
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field

from airflow_provider_docstatus.transport.framing import LONGEST_LINE, MOST_HEADERS, MOST_INTERIM

#: What Aitronos answers about a finished job.
BODY = b'{"job_id": "job", "status": "completed"}'
HALF = len(BODY) // 2
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
OK = b"HTTP/1.1 200 OK"
JSON = b"Content-Type: application/json"
ZIPPED = gzip.compress(BODY)

#: What is wrong with a reply, as errors say it.
NO_HTTP = "it does not begin with the status line of HTTP/1.0 or HTTP/1.1"
BAD_STATUS = "its status line is not valid"
TOO_LONG = "a header is longer than 65536 bytes"
TOO_MANY = "it has more than 100 headers"
BAD_NAME = "a header has no valid name"
CONTROL = "a header holds a control character"
FOLDED = "a header is folded over two lines"
TWO_LENGTHS = "it has more than one Content-Length"
LENGTH_BESIDE = "it has a Content-Length beside a Transfer-Encoding"
BAD_LENGTH = "its Content-Length is no number"
BAD_CODING = "its Transfer-Encoding is not 'chunked' alone"
BAD_SIZE = "a chunk of its body has no valid size"
BAD_CHUNK = "a chunk of its body is longer than its size"
SWITCH = "it changes to another protocol (101), which nobody asked for"
STORM = "more than 16 interim replies (1xx) came before it"
BAD_ENCODING = "its body is not what its Content-Encoding says"


def reply(*headers: bytes, body: bytes = BODY, start: bytes = OK, end: bytes = b"\r\n") -> bytes:
    """Return a reply: status line, headers and body."""
    return end.join([start, JSON, *headers, b"", b""]) + body


def sized(*headers: bytes, body: bytes = BODY, start: bytes = OK) -> bytes:
    """Return a reply with the length of its body."""
    return reply(*headers, b"Content-Length: %d" % len(body), body=body, start=start)


def chunk(data: bytes) -> bytes:
    """Return a chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", coding: bytes = CHUNKED, start: bytes = OK) -> bytes:
    """Return a reply in chunks."""
    return reply(coding, body=b"".join(chunks) + end, start=start)


def padded(size: int) -> bytes:
    """Return a header of so many bytes."""
    return b"X-Padding: ".ljust(size, b"x")


#: Replies that are read, with a length of their own.
SOUND = {
    "a length": sized(),
    "a length with zeros": reply(b"Content-Length: 000%d" % len(BODY)),
    "a length between blanks": reply(b"Content-Length:\t %d \t" % len(BODY)),
    "a header of 9,000 bytes": sized(padded(9_000)),
    "the longest header": sized(padded(LONGEST_LINE)),
    "the longest name": sized(b"X".ljust(LONGEST_LINE - 1, b"x") + b":"),
    "the most headers": sized(*[b"X-%d: x" % number for number in range(MOST_HEADERS - 2)]),
    "the most headers of the longest": sized(*[padded(LONGEST_LINE)] * (MOST_HEADERS - 2)),
    "a header without a value": sized(b"X-A:"),
    "a header in UTF-8": sized("X-A: é".encode()),
    "a header in latin-1": sized(b"X-A: \xe9"),
    "two content types": sized(b"Content-Type: text/plain"),
    "two servers": sized(b"Server: a", b"Server: b"),
    "a cookie that is none": sized(b"Set-Cookie: a b;;\x80=,"),
    "an offer to upgrade": sized(b"Upgrade: h2,h2c", b"Connection: Upgrade, keep-alive"),
    "line feeds alone": reply(LENGTH, end=b"\n"),
    "no reason": sized(start=b"HTTP/1.1 200"),
    "an empty reason": sized(start=b"HTTP/1.1 200 "),
    "a long reason": sized(start=b"HTTP/1.1 200 ".ljust(LONGEST_LINE, b"x")),
    "a reason in UTF-8": sized(start="HTTP/1.1 200 é".encode()),
    "HTTP/1.0": sized(start=b"HTTP/1.0 200 OK"),
    "HTTP/1.0 that stays": sized(b"Connection: keep-alive", start=b"HTTP/1.0 200 OK"),
    "chunks": chunked(chunk(BODY[:HALF]), chunk(BODY[HALF:])),
    "tiny chunks": chunked(*[chunk(BODY[at : at + 1]) for at in range(len(BODY))]),
    "chunks in capitals": chunked(chunk(BODY), coding=b"TRANSFER-ENCODING: Chunked"),
    "chunks of HTTP/1.0": chunked(chunk(BODY), start=b"HTTP/1.0 200 OK"),
    "a size with zeros": chunked(b"0000%b" % chunk(BODY)),
    "a size before a blank": chunked(b"%x \r\n%b\r\n" % (len(BODY), BODY)),
    "an extension of a chunk": chunked(b'%x;a="b;c"\r\n%b\r\n' % (len(BODY), BODY)),
    "a long extension of a chunk": chunked(b"%x;%b\r\n%b\r\n" % (len(BODY), b"x" * 9000, BODY)),
    "a trailer": chunked(chunk(BODY), end=b"0\r\nX-A: a\r\n\r\n"),
    "a length in the trailer": chunked(chunk(BODY), end=b"0\r\nContent-Length: 5\r\n\r\n"),
    "a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + sized(),
    "a 102": b"HTTP/1.1 102 Processing\r\n\r\n" + sized(),
    "a 103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + sized(),
    "a 100 with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + sized(),
    "the most interim replies": b"HTTP/1.1 103 Early Hints\r\n\r\n" * MOST_INTERIM + sized(),
    "more than its length": sized() + b"more",
    "two replies": sized() + sized(body=b"{}"),
    "gzip": sized(b"Content-Encoding: gzip", body=ZIPPED),
    "gzip in capitals": sized(b"Content-Encoding: GZIP", body=ZIPPED),
    "x-gzip": sized(b"Content-Encoding: x-gzip", body=ZIPPED),
    "gzip of two members": sized(b"Content-Encoding: gzip", body=gzip.compress(BODY[:HALF]) + gzip.compress(BODY[HALF:])),
    "gzip in chunks": chunked(*[chunk(ZIPPED[at : at + 7]) for at in range(0, len(ZIPPED), 7)]).replace(
        CHUNKED, b"Content-Encoding: gzip\r\n" + CHUNKED
    ),
    "deflate": sized(b"Content-Encoding: deflate", body=zlib.compress(BODY)),
    "deflate without its head": sized(b"Content-Encoding: deflate", body=zlib.compress(BODY)[2:-4]),
    "no encoding": sized(b"Content-Encoding: identity"),
    "an empty encoding": sized(b"Content-Encoding:"),
    "a character set as encoding": sized(b"Content-Encoding: utf-8"),
    "an encoding that it does not have": sized(b"Content-Encoding: br"),
}

#: Replies that are no valid HTTP, and what is wrong with each.
BROKEN = {
    "too long a header": (sized(padded(LONGEST_LINE + 1)), TOO_LONG),
    "a much too long header": (sized(padded(10 * LONGEST_LINE)), TOO_LONG),
    "too long a name": (sized(b"X".ljust(LONGEST_LINE + 1, b"x") + b":"), TOO_LONG),
    "too long a status line": (
        sized(start=b"HTTP/1.1 200 ".ljust(LONGEST_LINE + 1, b"x")),
        "its status line is longer",
    ),
    "too many headers": (sized(*[b"X-%d: x" % number for number in range(MOST_HEADERS - 1)]), TOO_MANY),
    "far too many headers": (sized(*[b"X: x"] * 10_000), TOO_MANY),
    "two equal lengths": (sized(LENGTH), TWO_LENGTHS),
    "two lengths": (sized(b"Content-Length: 5"), TWO_LENGTHS),
    "two lengths in other letters": (sized(b"content-length: 5"), TWO_LENGTHS),
    "two lengths in one header": (reply(b"Content-Length: %d, %d" % (len(BODY), len(BODY))), TWO_LENGTHS),
    "two lengths of an error": (sized(LENGTH, start=b"HTTP/1.1 503 Service Unavailable"), TWO_LENGTHS),
    "two lengths of no body": (reply(LENGTH, LENGTH, start=b"HTTP/1.1 204 No Content", body=b""), TWO_LENGTHS),
    "a length before chunked": (reply(LENGTH, CHUNKED, body=chunk(BODY) + b"0\r\n\r\n"), LENGTH_BESIDE),
    "a length after chunked": (reply(CHUNKED, LENGTH, body=chunk(BODY) + b"0\r\n\r\n"), LENGTH_BESIDE),
    "a length beside identity": (sized(b"Transfer-Encoding: identity"), LENGTH_BESIDE),
    "chunked twice": (chunked(chunk(BODY), coding=CHUNKED + b"\r\n" + CHUNKED), BAD_CODING),
    "chunked, chunked": (chunked(chunk(BODY), coding=b"Transfer-Encoding: chunked, chunked"), BAD_CODING),
    "gzip, chunked": (chunked(chunk(ZIPPED), coding=b"Transfer-Encoding: gzip, chunked"), BAD_CODING),
    "chunked in quotes": (chunked(chunk(BODY), coding=b'Transfer-Encoding: "chunked"'), BAD_CODING),
    **{
        f"a length of {text!r}": (reply(b"Content-Length: " + text), BAD_LENGTH)
        for text in (b"+40", b"-5", b"0x28", b"", b"4_0", b"4 0", b"40;", b"40.0", b"abc", b"9" * 30, "٤٠".encode())
    },
    **{
        f"a size of {text!r}": (chunked(b"%b\r\n%b\r\n" % (text, BODY)), BAD_SIZE)
        for text in (b"0x28", b"+28", b"-28", b" 28", b"2_8", b"zz", b"", b"28 28", b"28\0", b"28;a\x01", b"F" * 20)
    },
    "a size before a line feed": (chunked(b"%x\n%b\r\n" % (len(BODY), BODY)), BAD_SIZE),
    "too long a size": (chunked(b"1;".ljust(LONGEST_LINE + 1, b"x") + b"\r\n"), "the size of a chunk is longer than 65536 bytes"),
    "a chunk longer than its size": (chunked(b"%x\r\n%b\r\n" % (len(BODY) - 3, BODY)), BAD_CHUNK),
    "a chunk without its end": (chunked(b"%x\r\n%b" % (len(BODY), BODY)), BAD_CHUNK),
    "a trailer that is no header": (chunked(chunk(BODY), end=b"0\r\ntrailer\r\n\r\n"), BAD_NAME),
    "too many trailers": (chunked(chunk(BODY), end=b"0\r\n" + b"X: x\r\n" * 101 + b"\r\n"), TOO_MANY),
    "a header without a colon": (sized(b"header"), BAD_NAME),
    "a last header without a colon": (reply(LENGTH, b"header"), BAD_NAME),
    "a blank before the colon": (sized(b"X-A : a"), BAD_NAME),
    "a blank in a name": (sized(b"X A: a"), BAD_NAME),
    "a header without a name": (sized(b": a"), BAD_NAME),
    "a name with a parenthesis": (sized(b"X(A): a"), BAD_NAME),
    "a name in UTF-8": (sized("É: a".encode()), BAD_NAME),
    "a folded header": (sized(b"X-A: a\r\n b"), FOLDED),
    "a header folded by a tab": (sized(b"X-A: a\r\n\tb"), FOLDED),
    "a blank before the first header": (sized(start=OK + b"\r\n X-A: a"), FOLDED),
    "NUL in a header": (sized(b"X-A: a\0b"), CONTROL),
    "NUL in a name": (sized(b"X\0A: a"), CONTROL),
    "a carriage return in a header": (sized(b"X-A: a\rContent-Length: 3"), CONTROL),
    "a control character in a header": (sized(b"X-A: a\x01b"), CONTROL),
    "DEL in a header": (sized(b"X-A: a\x7fb"), CONTROL),
    **{
        f"a status line {text!r}": (sized(start=text), BAD_STATUS)
        for text in (
            b"HTTP/1.1",
            b"HTTP/1.1 OK",
            b"HTTP/1.1 99 OK",
            b"HTTP/1.1 099 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1 200OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1\t200 OK",
            b"HTTP/1.2 200 OK",
            b"HTTP/1.1 200 O\0K",
            b"HTTP/1.10 200 OK",
        )
    },
    **{
        f"a status line {text!r}": (sized(start=text), NO_HTTP)
        for text in (b"", b"no HTTP", b"HTTP/2.0 200 OK", b"HTTP/2 200", b"HTTP/0.9 200 OK", b"http/1.1 200 OK", b"ICY 200 OK")
    },
    "blanks before the status line": (b" " + sized(), NO_HTTP),
    "empty lines before the status line": (b"\r\n\r\n" + sized(), NO_HTTP),
    "a body alone": (BODY, NO_HTTP),
    "a web page alone": (b"<html>hello</html>\r\n", NO_HTTP),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", NO_HTTP),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02\x28", NO_HTTP),
    "a 101": (reply(b"Upgrade: websocket", b"Connection: Upgrade", start=b"HTTP/1.1 101 Switching Protocols"), SWITCH),
    "too many interim replies": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MOST_INTERIM + 1) + sized(), STORM),
    "interim replies without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000, STORM),
    "a broken interim reply": (b"HTTP/1.1 100 Continue\r\nheader\r\n\r\n" + sized(), BAD_NAME),
}

#: Replies whose body is not what its Content-Encoding says.
BADLY_ENCODED = {
    "no gzip": sized(b"Content-Encoding: gzip"),
    "gzip that is cut off": sized(b"Content-Encoding: gzip", body=ZIPPED[:-12]),
    "gzip without its check": sized(b"Content-Encoding: gzip", body=ZIPPED[:-8]),
    "gzip with a wrong check": sized(b"Content-Encoding: gzip", body=ZIPPED[:-8] + b"12345678"),
    "more after gzip": sized(b"Content-Encoding: gzip", body=ZIPPED + b"more"),
    "no deflate": sized(b"Content-Encoding: deflate"),
    "deflate that is cut off": sized(b"Content-Encoding: deflate", body=zlib.compress(BODY)[:-6]),
    "no gzip of a redirect": sized(b"Content-Encoding: gzip", b"Location: https://a.example/", start=b"HTTP/1.1 302 Found"),
}

#: Replies that the connection's end completes.
ENDED = {
    "no length": reply(),
    "no length, which it says": reply(b"Connection: close"),
    "no length, HTTP/1.0": reply(start=b"HTTP/1.0 200 OK"),
    "a length, and the end": sized(b"Connection: close"),
}

#: Replies that the connection's end cuts off.
CUT_OFF = {
    "nothing": b"",
    "a part of the version": b"HT",
    "a part of the status line": b"HTTP/1.1 20",
    "a part of a header": reply()[:30],
    "a part of the head": OK + b"\r\n" + JSON + b"\r\n",
    "the head": reply(LENGTH, body=b""),
    "a part of the body": reply(LENGTH, body=BODY[:HALF]),
    "all but one byte": sized()[:-1],
    "no chunk": chunked(end=b""),
    "a part of a chunk": chunked(chunk(BODY)[:HALF], end=b""),
    "a chunk but not its end": chunked(chunk(BODY)[:-1], end=b""),
    "no last chunk": chunked(chunk(BODY), end=b""),
    "no end of the last chunk": chunked(chunk(BODY), end=b"0\r\n"),
    "an interim reply": b"HTTP/1.1 100 Continue\r\n\r\n",
}

#: Replies without a body.
BODILESS = {
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204 with a length": sized(start=b"HTTP/1.1 204 No Content"),
    "204 in chunks": chunked(chunk(BODY), start=b"HTTP/1.1 204 No Content"),
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n",
    "a length of 0": sized(body=b""),
    "only the last chunk": chunked(),
}


@dataclass
class RawServer:
    """
    A server on loopback that answers every request with the same bytes.

    :param data: the bytes.
    :param then: ``keep`` the connection, ``close`` or ``reset`` it.
    :param piece: send them in pieces of so many bytes; 0 for all at once.
    :param pause: seconds after each piece.
    :param later: bytes that nobody asked for, a moment after the first reply of each connection.
    :param sound_after: answer soundly after so many requests.
    """

    data: bytes = b""
    then: str = "keep"
    piece: int = 0
    pause: float = 0.0
    later: bytes = b""
    sound_after: float = math.inf
    requests: int = 0
    connections: list[socket.socket] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=lambda: {"aitronos": "ak_raw_0123456789"})

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self.connections:
            connection.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections.append(connection)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        later = self.later
        with suppress(OSError):
            while b"\r\n\r\n" in connection.recv(65536):  # a request of ours comes in one piece
                self.requests += 1
                data = self.data if self.requests <= self.sound_after else sized()
                size = self.piece or len(data) or 1
                for at in range(0, len(data), size):
                    connection.sendall(data[at : at + size])
                    time.sleep(self.pause)
                if later:
                    time.sleep(0.001)
                    connection.sendall(later)
                    later = b""
                if self.then == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if self.then != "keep":
                    connection.close()
                    return
