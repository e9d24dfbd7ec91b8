"""Every reply gets the same verdict, however its bytes come."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from airflow_provider_docstatus.transport.framing import BadFraming, Body, Framing, by_name
from tests import framings
from tests.framings import BODY, HALF, JSON, LENGTH, OK, chunk, chunked, reply, sized

LIMIT = 1_000_000


def read(data: bytes, pieces: int = 1, *, has_body: bool = True) -> tuple[Framing, bytes]:
    """Return the framing that was fed with some bytes in so many pieces, and what an HTTP library gets to parse."""
    framing, plain = Framing(has_body=has_body), b""
    size = max(1, len(data) // pieces)
    for at in range(0, len(data), size):
        plain += framing.feed(data[at : at + size])
    return framing, plain


def decoded(framing: Framing, body: bytes, limit: int = LIMIT, code: int = 200, size: int = 7) -> bytes:
    found = Body(by_name(framing.headers).get("content-encoding", ""), limit)
    for at in range(0, len(body), size):
        for _ in found.add(body[at : at + size]):
            pass
    return found.content(code)


def body_of(plain: bytes) -> bytes:
    """Return the body of a plain reply; its chunks are as plain as this."""
    head, _, rest = plain.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return rest
    body = b""
    while (size := int(rest.partition(b"\r\n")[0], 16)) > 0:
        _, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[:size], rest[size + 2 :]
    assert rest == b"0\r\n\r\n"
    return body


PIECES = [1, 2, 3, 17, 10**9]


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("data", framings.SOUND.values(), ids=framings.SOUND)
def test_a_sound_reply_is_read(data, pieces):
    if len(data) > 100_000 and pieces > 17:
        pieces = 1000
    framing, plain = read(data, pieces)
    assert framing.is_complete
    assert decoded(framing, body_of(plain)) == BODY
    assert framing.has_surplus is (data in (framings.SOUND["more than its length"], framings.SOUND["two replies"]))
    head = plain.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert len(head) <= 3 or plain == data, "no library is asked to parse more headers than it needs, but for usual ones"
    assert head[0].startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize(("data", "said"), framings.BROKEN.values(), ids=framings.BROKEN)
def test_a_broken_reply_is_refused_in_our_words(data, said, pieces):
    if len(data) > 100_000 and pieces > 17:
        pieces = 1000
    with pytest.raises(BadFraming) as caught:
        read(data, pieces)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("data", framings.BADLY_ENCODED.values(), ids=framings.BADLY_ENCODED)
def test_a_body_that_is_not_what_its_encoding_says_is_refused(data):
    framing, plain = read(data)
    with pytest.raises(BadFraming, match=framings.BAD_ENCODING):
        decoded(framing, body_of(plain))
    assert decoded(framing, body_of(plain), code=503) == b"", "a service that is away has said all that counts"


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("data", framings.CUT_OFF.values(), ids=framings.CUT_OFF)
def test_a_reply_that_is_cut_off_is_not_complete(data, pieces):
    framing, _ = read(data, pieces)
    assert not framing.is_complete
    with pytest.raises(ConnectionResetError):
        framing.end()


@pytest.mark.parametrize("data", framings.ENDED.values(), ids=framings.ENDED)
def test_a_reply_may_end_with_the_connection(data):
    framing, plain = read(data, pieces=9)
    framing.end()
    assert framing.is_complete
    assert body_of(plain) == BODY


@pytest.mark.parametrize("data", framings.BODILESS.values(), ids=framings.BODILESS)
def test_a_reply_without_a_body_ends_with_its_head(data):
    framing, plain = read(data)
    assert framing.is_complete
    assert body_of(plain) == b""


def test_a_reply_to_head_has_no_body_though_it_has_a_length():
    framing, plain = read(reply(LENGTH, body=b""), has_body=False)
    assert framing.is_complete
    assert framing.headers[-1] == ("Content-Length", str(len(BODY)))
    assert b"Content-Length" not in plain


def test_no_cut_of_a_reply_changes_it():
    """Each of these cuts a line, a size, a chunk or its end in two."""
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + chunked(chunk(BODY[:HALF]), b"%x ;a\r\n%b\r\n" % (HALF, BODY[HALF:]))
    for at in range(len(data)):
        framing = Framing()
        plain = framing.feed(data[:at]) + framing.feed(data[at:])
        assert framing.is_complete
        assert body_of(plain) == BODY


def test_broken_bytes_are_refused_as_soon_as_they_show():
    """The service may keep the connection, and a wait for more would time out."""
    for data in (b"X", b"HTTP/2", OK + b"\r\nheader\r\n", chunked(b"2\r\n{}X", end=b"")):
        with pytest.raises(BadFraming):
            Framing().feed(data)


def test_nothing_of_the_bytes_is_repeated():
    secret = b"patient-4711"
    for data in (
        secret,
        b"HTTP/1.1 " + secret + b"\r\n",
        sized(secret),
        sized(b"X-A: \0" + secret),
        sized(secret + b" : a"),
        reply(b"Content-Length: " + secret),
        reply(b"Transfer-Encoding: " + secret),
        chunked(secret + b"\r\n"),
        chunked(b"1\r\n" + secret),
        chunked(end=b"0\r\n" + secret + b"\r\n\r\n"),
    ):
        with pytest.raises(BadFraming) as caught:
            read(data)
        assert secret.decode() not in repr(caught.value)
        assert caught.value.__cause__ is None


def test_headers_are_found_by_name_and_those_of_one_name_are_joined():
    framing, _ = read(sized(b"Retry-After: 5", b"retry-after:\t 7 ", "X-Place: münchen".encode(), b"X-Byte: \xff"))
    assert by_name(framing.headers) == {
        "content-type": "application/json",
        "retry-after": "5, 7",
        "x-place": "münchen",
        "x-byte": "\N{REPLACEMENT CHARACTER}",
        "content-length": str(len(BODY)),
    }


def test_the_library_learns_whether_the_connection_stays():
    _, plain = read(reply(b"Connection: close", b"Keep-Alive:timeout=5", b"Proxy-Connection: x", LENGTH))
    lines = [b"HTTP/1.1 200 OK", b"Connection: close", b"Keep-Alive: timeout=5", b"Proxy-Connection: x", LENGTH]
    assert plain == b"\r\n".join([*lines, b"", BODY])
    assert JSON not in plain


def test_a_usual_reply_passes_as_it_is_and_nothing_after_it():
    for data in (sized(), sized(b"Server: a", b"Server: b")):
        framing, plain = read(data)
        head = data.decode().partition("\r\n\r\n")[0]
        assert plain == data
        assert framing.headers == [tuple(line.split(": ")) for line in head.split("\r\n")[1:]]
        assert Framing().feed(data + b"HTTP/1.1 200") == data


def test_tiny_chunks_reach_a_library_as_one():
    _, plain = read(framings.SOUND["tiny chunks"])
    assert body_of(plain) == BODY
    assert plain.count(b"\r\n") < 10


def test_a_body_is_kept_up_to_the_limit_and_no_further():
    zipped = gzip.compress(b" " * 50_000_000)
    assert len(zipped) < 100_000
    for coding, data in (("", b" " * 2000), ("gzip", zipped), ("deflate", zlib.compress(b" " * 2000))):
        body = Body(coding, 1000)
        for _ in body.add(data):
            pass
        assert body.is_too_large
        assert len(body._content) <= 1024 * 1024
        assert len(body.content(200)) == 1001


def test_a_large_body_is_decoded_in_parts():
    content = random.Random(1).randbytes(3_000) * 2_000
    body = Body("gzip", 10_000_000)
    assert sum(1 for _ in body.add(gzip.compress(content))) > 5, "the loop gets its turn in between"
    assert body.content(200) == content


def test_every_size_of_a_decoded_body_comes_out_whole():
    """zlib may hold bytes back when its output is as long as it may be."""
    for size in (1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 1024 * 1024 + 300):
        framing = Framing()
        data = gzip.compress(b" " * size)
        plain = framing.feed(sized(b"Content-Encoding: gzip", body=data))
        assert len(decoded(framing, body_of(plain), limit=9_000_000, size=10**6)) == size
