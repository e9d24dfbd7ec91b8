"""Find what Airflow cannot carry in an XCom."""

from __future__ import annotations

import math
from typing import Any

from airflow_provider_docstatus.protocol.values import one_line

#: The most levels of lists and objects; Airflow's own serializers end with a RecursionError somewhere above.
MOST_LEVELS = 200
#: Keys by which Airflow's serializers know their own objects.
RESERVED_KEYS = frozenset({"__id__", "__classname__", "__type", "__var"})
_BITS = 64
_SHOWN_OF_A_KEY = 40
_SHOWN_OF_A_PATH = 200


def fault_of(data: Any) -> str | None:
    """
    Return what Airflow cannot carry in JSON data, with its place; None if it can carry all of it.

    The text names keys, which are those of the extraction's schema, but no values.
    """
    places: list[tuple[Any, _Place | None]] = [(data, None)]
    while places:
        value, place = places.pop()
        fault = _fault_of(value)
        if fault is None and isinstance(value, (dict, list)):
            if _levels(place) >= MOST_LEVELS:
                return f"more than {MOST_LEVELS} levels of lists and objects at {_shown(place)}"
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
    if isinstance(value, int) and not -(2 ** (_BITS - 1)) <= value < 2 ** (_BITS - 1):
        return f"a whole number that does not fit {_BITS} bits"
    return None


def _fault_of_text(text: str) -> str | None:
    if "\0" in text:
        return "a NUL character, which PostgreSQL refuses,"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "half of a surrogate pair, which is no character,"
    return None


def _fault_of_key(key: str) -> str | None:
    return "a key that Airflow reserves for itself" if key in RESERVED_KEYS else _fault_of_text(key)


def _shown(place: _Place | None) -> str:
    """Return a place as a path, such as ``tables[2].total``, cut to a length for messages."""
    parts: list[str] = []
    while place is not None:
        place, key, _ = place
        parts.append(f"[{key}]" if isinstance(key, int) else f".{(one_line(key) or '')[:_SHOWN_OF_A_KEY]}")
    path = "".join(reversed(parts)).removeprefix(".") or "the top"
    return path if len(path) <= _SHOWN_OF_A_PATH else path[:_SHOWN_OF_A_PATH] + "…"
