"""
Read JSON, and that of extracted data with marks for what Python's own reading loses.

Python keeps the last of two equal keys, reads 1e400 as infinity, and refuses a whole number of more than 4,300 digits. In data
they are marked, so that storable.py can name their place. The values are otherwise those of the json module.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

#: The most levels of lists and objects that JSON text can carry. Python reads and writes fewer than 1,000, its limit of frames,
#: and the program around needs some of those.
MOST_LEVELS_OF_JSON = 500
_TOO_MANY_LEVELS = "more levels of lists and objects than can be read"
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]')


class DoubleKeys(dict[str, Any]):
    """
    An object that holds a key more than once. As a dict it has the last value of each, like every JSON object in Python.

    :param pairs: the keys and values as they came.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counted = Counter(key for key, _ in pairs)
        self.doubled = frozenset(key for key, times in counted.items() if times > 1)


class HugeNumber(float):
    """
    A number that Python cannot hold: it has too large an exponent, or too many digits. As a float it is infinite.

    :ivar text: the number as it came (str).
    """

    text: str = ""


class BeyondReason(ValueError):
    """The body is JSON, but no Python program can read it: it has too many levels."""


class TooDeep(BeyondReason):
    """
    The body has more levels of lists and objects than Python can read.

    :param path: the keys and indexes that lead to where they are too many; empty if it is not known.
    """

    def __init__(self, path: tuple[str | int, ...]) -> None:
        super().__init__(_TOO_MANY_LEVELS)
        self.path = path


class Decoder(json.JSONDecoder):
    """Reads JSON as the json module does; a whole number of too many digits is a :class:`HugeNumber`, and no error."""

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        """Return the value that begins at an index, and where it ends."""
        try:
            return super().raw_decode(s, idx)
        except json.JSONDecodeError:
            raise
        except ValueError:
            return _WITH_HUGE_NUMBERS.raw_decode(s, idx)


def read_plainly(body: bytes) -> Any:
    """
    Return a body as JSON, as Python reads it; a whole number of too many digits is a :class:`HugeNumber`.

    :raises BeyondReason: it has too many levels for Python.
    :raises ValueError: it is not JSON.
    """
    try:
        return _PLAIN.decode(_text_of(body))
    except RecursionError:
        raise BeyondReason(_TOO_MANY_LEVELS) from None


def read_exactly(body: bytes) -> Any:
    """
    Return a body as JSON, with what Python's reading loses marked: :class:`DoubleKeys` and :class:`HugeNumber`.

    :raises TooDeep: it has too many levels for Python.
    :raises ValueError: it is not JSON.
    """
    try:
        try:
            return json.loads(body, object_pairs_hook=_object, parse_float=_real)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise
        except ValueError:  # a number of too many digits; to look at each whole number takes time, and few bodies have one
            return json.loads(body, object_pairs_hook=_object, parse_float=_real, parse_int=_whole)
    except RecursionError:
        raise TooDeep(_path_to_depth(body)) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else DoubleKeys(pairs)


def _real(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _huge(text)


def _whole(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return _huge(text)


def _huge(text: str) -> HugeNumber:
    number = HugeNumber(text)
    number.text = text
    return number


def _text_of(body: bytes) -> str:
    return body.decode(json.detect_encoding(body), "surrogatepass")


_PLAIN = Decoder()
_WITH_HUGE_NUMBERS = json.JSONDecoder(parse_int=_whole)


def _path_to_depth(body: bytes) -> tuple[str | int, ...]:
    """Return the path to the first place with more than :data:`MOST_LEVELS_OF_JSON` levels around it."""
    path: list[str | int] = []
    last = ""
    for token in _TOKEN.finditer(body.decode(json.detect_encoding(body), "replace")):
        match token[0]:
            case "{" | "[" as opening:
                if len(path) == MOST_LEVELS_OF_JSON:
                    return tuple(path)
                path.append(0 if opening == "[" else "")
            case "}" | "]":
                del path[-1:]
            case ":" if path and isinstance(path[-1], str):
                path[-1] = _key(last)
            case "," if path and isinstance(path[-1], int):
                path[-1] += 1
            case text:
                last = text
    return ()


def _key(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return ""
