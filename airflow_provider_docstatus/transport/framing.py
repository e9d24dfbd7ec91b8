"""
The bytes of one HTTP reply, checked before an HTTP library parses them.

The two libraries differ over what they refuse, ignore and repair. So both parse the same plain form of a sound reply, and never
see a broken one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from http.client import HTTPException
from typing import Any

from airflow_provider_docstatus.protocol.responses import is_unavailable

#: The most bytes of a line outside the body, without its end.
LONGEST_LINE = 64 * 1024
#: The most headers. There is no other limit for all of them together.
MOST_HEADERS = 100
#: The most interim replies (1xx) before the reply itself.
MOST_INTERIM = 16

_START = b"HTTP/1."
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9]{2})( [^\x00-\x08\x0a-\x1f\x7f]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
#: The head of nearly every reply. With one length and none of the names below, both libraries read it alike.
_USUAL_HEAD = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) [ -~]{0,80}\r\n((?:[0-9A-Za-z-]+: [ -~]{0,2000}\r\n){1,60})\r\n")
_USUAL_HEADER = re.compile(r"([^:\n]+): ([^\n]*)\n")
_USUAL_LENGTH = re.compile(rb"content-length: ([0-9]{1,15})\r\n")
_UNUSUAL = (b"transfer-encoding", b"content-encoding", b"upgrade")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(r"0*[0-9]{1,18}", re.ASCII)
_CHUNK_SIZE = re.compile(rb"(0*[0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
#: The line of the size of nearly every chunk.
_USUAL_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]{0,8}(?:;[^\x00-\x08\x0a-\x1f\x7f]{0,64})?\r\n")
#: The headers that tell an HTTP library whether the connection stays open, and those that tell it where the body ends.
_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection"})
_BODY_END = frozenset({"content-length", "transfer-encoding"})
_CODES_WITHOUT_BODY = frozenset({b"204", b"304"})
#: More bytes of the reason than this reach no library: they accept less than a line.
_LONGEST_REASON = 1000

#: The header that asks for the encodings that can be decoded.
ACCEPT_ENCODING = {"Accept-Encoding": "gzip, deflate"}
_GZIP = 16 + zlib.MAX_WBITS
_WINDOW_BITS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}
#: The most bytes that are decoded in one go.
_SLICE = 1024 * 1024

#: Name and value, decoded as latin-1.
_Header = tuple[str, str]


class BadFraming(HTTPException):
    """The bytes are no valid HTTP reply. The text says what is wrong with it in our own words, and repeats none of them."""


class Framing:
    """
    The bytes of one reply, as they come.

    :param has_body: whether a body may follow the head (bool); not after a HEAD request.
    """

    def __init__(self, *, has_body: bool = True) -> None:
        #: The headers in their order, decoded as latin-1.
        self.headers: list[_Header] = []
        self.has_head = False
        self.is_complete = False
        self._has_body = has_body
        self._ends_with_connection = False
        self._left: int | None = None  # how many bytes of a reply with a usual head are to come
        self._received = bytearray()
        self._plain = bytearray()
        self._reading: Iterator[None] | None = None  # it stands where bytes are missing

    @property
    def has_surplus(self) -> bool:
        """Whether more bytes came than belong to the reply; the connection cannot be used again."""
        return self.is_complete and bool(self._received)

    def feed(self, data: bytes) -> bytes:
        """
        Take some bytes of the reply; return what an HTTP library may parse by now.

        :raises BadFraming: they are no valid HTTP reply.
        """
        if self._reading is None and self._left is None and not self._begins_as_usual(data):
            self._reading = self._read()
        if self._left is not None:
            plain, surplus = data[: self._left], data[self._left :]
            self._left -= len(plain)
            self.is_complete = self._left == 0
            self._received += surplus
            return plain
        self._received += data
        next(self._reading or iter(()), None)
        plain, self._plain = bytes(self._plain), bytearray()
        return plain

    def end(self) -> None:
        """Note that the connection has ended. Raises ConnectionResetError if the reply has not."""
        if not (self.is_complete or self._ends_with_connection):
            raise ConnectionResetError
        self.is_complete = True

    def _begins_as_usual(self, data: bytes) -> bool:
        """Whether the bytes begin with a whole usual head, so that they may pass as they are."""
        found = _USUAL_HEAD.match(data) if self._has_body else None
        if found is None or found[1] in _CODES_WITHOUT_BODY:
            return False
        head = found[2].lower()
        lengths = _USUAL_LENGTH.findall(head)
        if len(lengths) != 1 or head.count(b"content-length") != 1 or any(name in head for name in _UNUSUAL):
            return False
        self.headers = _USUAL_HEADER.findall(found[2].decode("ascii").replace("\r", ""))
        self._left = found.end() + int(lengths[0])
        self.has_head = True
        return True

    # The generators read one part of the reply each, and yield whenever bytes are missing.

    def _read(self) -> Iterator[None]:
        version, code, reason, headers = yield from self._head()
        length, is_chunked = _body_end(headers)
        has_body = self._has_body and code not in _CODES_WITHOUT_BODY
        told = _CONNECTION | _BODY_END if has_body else _CONNECTION
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers if name.lower() in told)
        self._plain += b"%b %b%b\r\n%b\r\n" % (version, code, reason[:_LONGEST_REASON], lines.encode("latin-1"))
        self.headers = headers
        self.has_head = True
        if has_body and is_chunked:
            yield from self._chunks()
        elif has_body:
            self._ends_with_connection = length is None
            while length != 0:
                piece = self._taken(length)
                self._plain += piece
                length = None if length is None else length - len(piece)
                if length != 0:
                    yield
        self.is_complete = True

    def _head(self) -> Generator[None, None, tuple[bytes, bytes, bytes, list[_Header]]]:
        """Read status line and headers, past those of interim replies."""
        for _ in range(MOST_INTERIM + 1):
            while len(self._received) < len(_START) and _START.startswith(self._received):
                yield
            if not self._received.startswith(_START):
                raise BadFraming("it does not begin with the status line of HTTP/1.0 or HTTP/1.1")
            found = _STATUS_LINE.fullmatch((yield from self._line("its status line")))
            if found is None:
                raise BadFraming("its status line is not valid")
            headers = yield from self._header_lines()
            if found[2] == b"101":
                raise BadFraming("it changes to another protocol (101), which nobody asked for")
            if found[2] >= b"200":
                return found[1], found[2], found[3] or b"", headers
        raise BadFraming(f"more than {MOST_INTERIM} interim replies (1xx) came before it")

    def _header_lines(self) -> Generator[None, None, list[_Header]]:
        headers: list[_Header] = []
        while line := (yield from self._line("a header")):
            found = _HEADER.fullmatch(line)
            if found is None:
                raise BadFraming(_fault_of(line))
            headers.append((found[1].decode("latin-1"), found[2].strip(b" \t").decode("latin-1")))
            if len(headers) > MOST_HEADERS:
                raise BadFraming(f"it has more than {MOST_HEADERS} headers")
        return headers

    def _chunks(self) -> Iterator[None]:
        """Read a chunked body. A library gets all that has come as one chunk, since a million tiny ones would take it long."""
        while True:
            self._pass_on(self._whole_chunks())
            found = _CHUNK_SIZE.fullmatch((yield from self._line("the size of a chunk", keeps_end=True)))
            if found is None:
                raise BadFraming("a chunk of its body has no valid size")
            left = int(found[1], 16)
            if left == 0:
                break
            while left:
                piece = self._taken(left)
                self._pass_on(piece)
                left -= len(piece)
                if left:
                    yield
            while len(self._received) < 2 and b"\r\n".startswith(self._received):
                yield
            if self._taken(2) != b"\r\n":
                raise BadFraming("a chunk of its body is longer than its size")
        yield from self._header_lines()  # the trailer, which says nothing that counts
        self._plain += b"0\r\n\r\n"

    def _whole_chunks(self) -> bytes:
        """Take the chunks that have come as a whole; return what they hold."""
        pieces, at = [], 0
        while (found := _USUAL_CHUNK_SIZE.match(self._received, at)) and (size := int(found[1], 16)):
            end = found.end() + size
            if self._received[end : end + 2] != b"\r\n":
                break
            pieces.append(self._received[found.end() : end])
            at = end + 2
        del self._received[:at]
        return b"".join(pieces)

    def _pass_on(self, data: bytes) -> None:
        """Let a library have bytes of a chunked body."""
        if data:
            self._plain += b"%x\r\n%b\r\n" % (len(data), data)

    def _line(self, what: str, *, keeps_end: bool = False) -> Generator[None, None, bytes]:
        """Read a line; return it without its end, unless that matters."""
        longest = LONGEST_LINE + len(b"\r\n")
        while (at := self._received.find(b"\n", 0, longest)) < 0 and len(self._received) < longest:
            yield
        line = self._taken(at + 1 if at >= 0 else longest)
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(text) > LONGEST_LINE:
            raise BadFraming(f"{what} is longer than {LONGEST_LINE} bytes")
        return line if keeps_end else text

    def _taken(self, number: int | None) -> bytes:
        """Take so many of the bytes that have come; all of them if the number is None."""
        piece = bytes(self._received[:number])
        del self._received[: len(piece)]
        return piece


def _fault_of(line: bytes) -> str:
    """Return what is wrong with a line that is no header."""
    if line[:1] in (b" ", b"\t"):
        return "a header is folded over two lines"
    if _CONTROL.search(line):
        return "a header holds a control character"
    return "a header has no valid name"


def _body_end(headers: Iterable[_Header]) -> tuple[int | None, bool]:
    """Return the length of the body, None if the headers name none, and whether the body is chunked."""
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    codings = [value.lower() for name, value in headers if name.lower() == "transfer-encoding"]
    if len(lengths) > 1 or any("," in value for value in lengths):
        raise BadFraming("it has more than one Content-Length")
    if lengths and codings:
        raise BadFraming("it has a Content-Length beside a Transfer-Encoding")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise BadFraming("its Content-Length is no number")
    if codings not in ([], ["chunked"]):
        raise BadFraming("its Transfer-Encoding is not 'chunked' alone")
    return int(lengths[0]) if lengths else None, bool(codings)


def by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name, those of one name joined. What libraries decode as latin-1 is decoded as UTF-8."""
    found: dict[str, str] = {}
    for name, value in headers:
        text = value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")
        key = name.lower()
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


class Body:
    """
    The body of one reply, decoded as it comes.

    :param coding: the Content-Encoding; a body in one that nobody asked for is left as it is.
    :param limit: nothing is kept beyond ``limit + 1`` bytes (int).
    :param into: gets all of the body, in pieces; then nothing is too large.
    """

    def __init__(self, coding: str, limit: int, into: Callable[[bytes], Any] | None = None) -> None:
        self._content = bytearray()
        self._limit = limit
        self._into = into
        self._window_bits = _WINDOW_BITS.get(coding.strip().lower())
        self._decoder: zlib._Decompress | None = None
        self._is_invalid = False

    @property
    def is_too_large(self) -> bool:
        """Whether it has passed the limit and the rest need not be read."""
        return len(self._content) > self._limit and self._into is None

    def add(self, data: bytes) -> Iterator[None]:
        """Add some bytes; yield after each part of the work that may take long."""
        if self._window_bits is None:
            self._keep(data)
            return
        while data and not self._is_invalid and not self.is_too_large:
            if self._decoder is None or self._decoder.eof:  # several gzip members may follow each other
                is_raw = self._window_bits == zlib.MAX_WBITS and data[0] & 0x0F != zlib.DEFLATED  # some servers send no header
                self._decoder = zlib.decompressobj(-zlib.MAX_WBITS if is_raw else self._window_bits)
            try:
                self._keep(self._decoder.decompress(data, _SLICE))
            except zlib.error:
                self._is_invalid = True
            data = self._decoder.unused_data or self._decoder.unconsumed_tail
            yield

    def _keep(self, data: bytes) -> None:
        if self._into is not None:
            self._into(data)
            data = data[: max(self._limit + 1 - len(self._content), 0)]
        self._content += data

    def content(self, code: int) -> bytes:
        """
        Return what came, at most ``limit + 1`` bytes.

        :param code: the reply's HTTP code. If the service is unavailable, nobody needs the body, so an invalid one is empty.
        :raises BadFraming: it is not what its Content-Encoding says.
        """
        if self._decoder is not None and not self.is_too_large and not self._is_invalid:
            self._keep(self._decoder.flush())
            self._is_invalid = not self._decoder.eof
        if not self._is_invalid:
            return bytes(self._content[: self._limit + 1])
        if is_unavailable(code):
            return b""
        raise BadFraming("its body is not what its Content-Encoding says")
