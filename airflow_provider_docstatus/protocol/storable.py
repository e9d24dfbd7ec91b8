"""Find what Airflow cannot carry in an XCom."""

from __future__ import annotations

import math
from typing import Any

from airflow_provider_docstatus.protocol.values import printable

#: The most levels of lists and objects. MySQL stores 100, Airflow 3 reads fewer than 200 back, and a list of requests puts four
#: around the data.
MOST_LEVELS = 96
#: Keys by which Airflow's serializers know their own objects, and two that they take for an old form of one if both are there.
RESERVED_KEYS = frozenset({"__id__", "__classname__"})
_OLD_FORM = frozenset({"__type", "__var"})
#: What the workers' channel of Airflow 3 takes for a whole number. PostgreSQL returns a large float, 1e20 say, as a whole number.
_LEAST, _MOST = -(2**63), 2**64 - 1
_SHOWN_OF_A_KEY = 40
_SHOWN_OF_A_PATH = 200


def fault_of(data: Any) -> str | None:
    """
    Return what Airflow cannot carry in JSON data, with its place; None if it can carry all of it.

    The text names keys that look like those of a schema, and no values: other keys may be text of the document.
    """
    places: list[tuple[Any, _Place | None]] = [(data, None)]
    while places:
        value, place = places.pop()
        fault = _fault_of(value)
        if fault is None and isinstance(value, (dict, list)):
            if _levels(place) >= MOST_LEVELS:
                return f"more than {MOST_LEVELS} levels of lists and objects at {_shown(place)}"
            if isinstance(value, dict) and value.keys() >= _OLD_FORM:
                return f"keys that Airflow reserves for itself ({' and '.join(sorted(_OLD_FORM))}) at {_shown(place)}"
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            for key, part in parts:
                inner = (place, key, _levels(place) + 1)
                if isinstance(key, str) and (fault := _fault_of_key(key)) is not None:
                    return f"{fault} at {_shown(inner)}"
                places.append((part, inner))
        if fault is not None:
            return f"{fault} at {_shown(place)}"
    return None


#: A place in the data: the place around it, its key or index, and its level.
_Place = tuple[Any, Any, int]


def _levels(place: _Place | None) -> int:
    return 0 if place is None else place[2]


def _fault_of(value: Any) -> str | None:
    if isinstance(value, str):
        return _fault_of_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite (NaN or Infinity)"
    if isinstance(value, (int, float)) and not _LEAST <= value <= _MOST:
        return "a number of more than 64 bits"
    return None


def _fault_of_text(text: str) -> str | None:
    if "\0" in text:
        return "a NUL character, which PostgreSQL refuses,"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half of a surrogate pair, which is no character,"
    return None


def _fault_of_key(key: str) -> str | None:
    return "a key that Airflow reserves for itself" if key in RESERVED_KEYS else _fault_of_text(key)


def _shown(place: _Place | None) -> str:
    """Return a place as a path, such as ``tables[2].total``, cut to a length for messages."""
    parts: list[str] = []
    while place is not None:
        place, key, _ = place
        parts.append(f"[{key}]" if isinstance(key, int) else f".{_shown_key(key)}")
    path = "".join(reversed(parts)).removeprefix(".") or "the top"
    return path if len(path) <= _SHOWN_OF_A_PATH else path[:_SHOWN_OF_A_PATH] + "…"


def _shown_key(key: str) -> str:
    is_name = key[:_SHOWN_OF_A_KEY].replace("-", "_").isidentifier()
    return printable(key[:_SHOWN_OF_A_KEY]) if is_name else "*"
