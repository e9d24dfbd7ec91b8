"""JSON lines: one row of compact JSON for each document, in the order asked."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from airflow_provider_docstatus.files.spool import Spool
from airflow_provider_docstatus.files.storing import PIECE

#: How a row begins; its id stands there, so that a row left by an earlier try need not be read as a whole.
_START = b'{"id":'
_MOST_OF_AN_ID = 8192


class Rows:
    """
    The rows of a spool.

    :param spool: the spool. Complete rows that an earlier try left in it are taken up; a torn last one is cut off.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._number: dict[str, int] = {}  # the row of each id; two arrays hold its place, since there may be 100,000
        self._offsets = array("q")
        self._lengths = array("q")
        if spool.found:
            self._take_up()

    def __len__(self) -> int:
        return len(self._number)

    def __contains__(self, one: object) -> bool:
        return one in self._number

    def add(self, one: str, row: Mapping[str, Any]) -> None:
        """
        Append a row, which begins with the id. Where the spool is kept, the disk has it afterwards.

        :param one: the id (str); a row that it has already is replaced.
        :param row: the rest of the row as JSON data (dict): file name, data.
        :raises OutputFailed: it could not be written.
        """
        line = compact({"id": one, **row})
        self._note(one, self._spool.size, len(line))
        self._spool.write(line + b"\n")
        if self._spool.keeps:
            self._spool.sync()

    def recovered(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each id that has a row with that row as JSON data, one at a time: those of an earlier try, say."""
        with self._spool.open_for_reading() as file:
            for one, number in list(self._number.items()):
                file.seek(self._offsets[number])
                yield one, json.loads(file.read(self._lengths[number]))

    def in_order(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """
        Bring the rows into the order of some ids, and leave out the rows of others.

        :param ids: the ids in the order asked; an id may have no row.
        :return: for each id with a row its offset and its length in bytes, without the line's end.
        """
        wanted = [(one, self._number[one]) for one in dict.fromkeys(ids) if one in self._number]
        if [number for _, number in wanted] != list(range(len(self._offsets))):
            with self._spool.open_for_reading() as file:
                self._spool.rewrite(piece for _, number in wanted for piece in self._line(file, number))
            lengths = array("q", (self._lengths[number] for _, number in wanted))
            self._number, self._offsets, self._lengths = {}, array("q"), array("q")
            offset = 0
            for (one, _), length in zip(wanted, lengths, strict=True):
                self._note(one, offset, length)
                offset += length + 1
        return {one: [self._offsets[number], self._lengths[number]] for one, number in self._number.items()}

    def _note(self, one: str, offset: int, length: int) -> None:
        self._number[one] = len(self._offsets)
        self._offsets.append(offset)
        self._lengths.append(length)

    def _line(self, file: BinaryIO, number: int) -> Iterator[bytes]:
        file.seek(self._offsets[number])
        left = self._lengths[number] + 1
        while left:
            piece = file.read(min(left, PIECE))
            if not piece:
                raise OSError("the file is shorter than it was")
            left -= len(piece)
            yield piece

    def _take_up(self) -> None:
        """Find the rows that an earlier try left; stop at the first that is none."""
        end = 0
        with self._spool.open_for_reading() as file:
            for start, length, head in _lines(file):
                one = _id_of(head)
                if one is None:
                    break
                self._note(one, start, length)
                end = start + length + 1
        self._spool.take_up(end)


def compact(data: Any) -> bytes:
    """Return JSON data as one line of compact JSON in UTF-8; as ASCII where it has half of a surrogate pair."""
    try:
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(data, separators=(",", ":")).encode()


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, length and beginning of each complete line, a piece at a time; a line may be large."""
    start = position = 0
    head = b""
    while piece := file.read(PIECE):
        begin = 0
        while (end := piece.find(b"\n", begin)) >= 0:
            head += piece[begin : min(end, begin + _MOST_OF_AN_ID - len(head))] if len(head) < _MOST_OF_AN_ID else b""
            yield start, position + end - start, head
            start, begin, head = position + end + 1, end + 1, b""
        head += piece[begin : begin + max(0, _MOST_OF_AN_ID - len(head))]
        position += len(piece)


def _id_of(head: bytes) -> str | None:
    """Return the id that a row begins with, None if it is no row."""
    if not head.startswith(_START):
        return None
    try:
        one, _ = json.JSONDecoder().raw_decode(head[len(_START) :].decode(errors="ignore"))
    except ValueError:
        return None
    return one if isinstance(one, str) else None
