"""Take the key out of what a vendor repeats, in whatever form it stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from airflow_provider_docstatus.protocol.messages import PAUSE, Flow

#: A shorter key is a made-up one, and is not redacted: it may be part of ordinary words in a reply.
_SHORTEST_SECRET = 8
#: The most bytes that one character of a key takes in any form.
_LONGEST_FORM = 16
#: Bytes of a body that are looked through between two pauses.
_AT_ONCE = 64 * 1024


def redacted(key: str | None, headers: Mapping[str, str], body: bytes) -> Flow[tuple[Mapping[str, str], bytes]]:
    """Return the headers and the body of a response without the key, looked through slice by slice."""
    if key is None or len(key) < _SHORTEST_SECRET:
        return headers, body
    part, any_form = forms_of(key)
    kept: list[bytes] = []
    done, found = 0, body.find(part)
    while found >= 0:
        start = max(done, found - _LONGEST_FORM * len(key))
        end = start + _AT_ONCE
        for match in any_form.finditer(body, start, end + _LONGEST_FORM * len(key)):
            kept += (body[done : match.start()], b"***")
            done = match.end()
        found = body.find(part, max(done, end))
        yield PAUSE
    if any(part.decode() in value for value in headers.values()):
        headers = {name.lower(): _redacted_header(value, any_form) for name, value in headers.items()}
    return headers, b"".join((*kept, body[done:])) if kept else body


class Guard:
    """
    Looks for the key in a body that is written to a file as it comes, where nothing can be taken out.

    :param key: the key (str), None if there is none.
    """

    def __init__(self, key: str | None) -> None:
        is_secret = key is not None and len(key) >= _SHORTEST_SECRET
        part, self._any_form = forms_of(key) if is_secret and key is not None else (b"", re.compile(b""))
        self._part = re.compile(re.escape(part)) if is_secret else None  # ``in`` takes ten times as long on some data
        self._overlap = 0 if key is None else 2 * _LONGEST_FORM * len(key)
        self._before = b""

    def holds_key(self, piece: bytes) -> bool:
        """Whether the key stands in the body up to the end of this piece."""
        if self._part is None:
            return False
        border = self._before + piece[: self._overlap]
        self._before = (self._before + piece)[-self._overlap :] if len(piece) < self._overlap else piece[-self._overlap :]
        return any(self._part.search(one) and self._any_form.search(one) for one in (border, piece))


@lru_cache(maxsize=32)
def forms_of(key: str) -> tuple[bytes, re.Pattern[bytes]]:
    """Return a part of a key that no encoding changes, and a pattern for the key: plain, escaped in JSON or percent-encoded."""
    part = max(re.findall("[A-Za-z0-9]*", key), key=len)
    forms = [rf"(?:\\{{0,9}}(?:{re.escape(c)}|u00(?i:{ord(c):02x}))|%(?:25)*(?i:{ord(c):02x}))" for c in key]
    return part.encode(), re.compile("".join(forms).encode())


def _redacted_header(value: str, any_form: re.Pattern[bytes]) -> str:
    return any_form.sub(b"***", value.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
