"""Data of every odd shape: what Airflow carries as it is, what takes another form, and what nothing carries."""

from __future__ import annotations

import json
import math
from typing import Any

from airflow_provider_docstatus.protocol.exact import MOST_LEVELS_OF_JSON
from airflow_provider_docstatus.protocol.storable import MOST_LEVELS


def nested(levels: int, kind: type = list) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


AS_IT_IS: dict[str, Any] = {
    "null": {"a": None},
    "bool": True,
    "0": 0,
    "the least": -(2**63),
    "the most alone": 2**63 - 1,
    "the most": [2**64 - 1],
    "float": 1.5,
    "whole floats": [1.0, -3.0, 0.0],
    "large floats": [9.9e15, -9.9e15, 9999999999999998.0],
    "small floats": [5e-324, -0.1],
    "no text": "",
    "text": "Grüße 😀 \x07\x7f\ufffe\uffff",
    "JSON in a text": '{"a": NaN, "b": "\\u0000\\ud83d"}',
    "no list": [],
    "no dict": {},
    "no key": {"": 1},
    "keys that Airflow uses but does not mind": {"__version__": 1, "__data__": 2, "__cache__": 3, "__source": 4, "id": 5},
    "half of an old form": {"a": {"__type": "dict"}, "b": {"__var": {"c": 1}}},
    "lists": nested(MOST_LEVELS),
    "dicts": nested(MOST_LEVELS, dict),
    "much": {"a": [{"b": [1, "x", None]}] * 100},
}
#: What takes JSON text, and what the finding about it begins with.
AS_TEXT: dict[str, tuple[Any, str]] = {
    "NaN": (float("nan"), "a number that is not finite (NaN or Infinity) at the top"),
    "Infinity": ({"a": [1, math.inf]}, "a number that is not finite (NaN or Infinity) at a[1]"),
    "-Infinity": ({"a": -math.inf}, "a number that is not finite (NaN or Infinity) at a"),
    "23 digits": ({"total": 10**22 + 1}, "a number of more than 64 bits at total"),
    "2**64": ({"total": 2**64}, "a number of more than 64 bits at total"),
    "1e20": ({"total": [1e20]}, "a number of more than 64 bits at total[0]"),
    "-1e19": ({"total": -1e19}, "a number of more than 64 bits at total"),
    "1e16": ({"total": 1e16}, "a float of 1e16 or more, which PostgreSQL makes a whole number, at total"),
    "-1.8e16": ({"total": -1.8e16}, "a float of 1e16 or more, which PostgreSQL makes a whole number, at total"),
    "less than the least": ({"total": -(2**63) - 1}, "a number of more than 64 bits at total"),
    "4,300 digits": ({"total": -(10**4299)}, "a number of more than 64 bits at total"),
    "2**63 alone": (2**63, "nothing but a number that SQLite changes, at the top"),
    "3.0 alone": (3.0, "nothing but a number that SQLite changes, at the top"),
    "high surrogate": (["\ud83d"], "half of a surrogate pair, which is no character, at [0]"),
    "low surrogate": ("Grüße \ude00", "half of a surrogate pair, which is no character, at the top"),
    "surrogate in a key": ({"a": {"\ud83d": 1}}, "half of a surrogate pair, which is no character, at a.*"),
    "NUL": ({"a": "x\0y"}, "a NUL character, which PostgreSQL refuses, at a"),
    "NUL in a key": ({"a\0b": 1}, "a NUL character, which PostgreSQL refuses, at *"),
    "__id__": ({"rows": [{"__id__": 1}]}, "a key that Airflow reserves for itself at rows[0].__id__"),
    "__classname__": ({"__classname__": "a"}, "a key that Airflow reserves for itself at __classname__"),
    "an object": ({"a": {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1]}}, "a key that Airflow reserves"),
    "__type and __var": (
        {"a": {"__type": "dict", "__var": {"b": 1}}},
        "keys that Airflow reserves for itself (__type and __var) at a",
    ),
    "97 levels": (nested(MOST_LEVELS + 1, dict), f"more than {MOST_LEVELS} levels of lists and objects at a.a"),
    "200 levels": (nested(200), f"more than {MOST_LEVELS} levels of lists and objects at [0][0]"),
    "300 levels": ({"x": nested(300)}, f"more than {MOST_LEVELS} levels of lists and objects at x[0]"),
    "500 levels": (nested(MOST_LEVELS_OF_JSON), f"more than {MOST_LEVELS} levels of lists and objects at [0][0]"),
    "our own key": ({"a": {"docstatus:json": "[1]"}}, "a key that the provider reserves for itself at a.*"),
    "our own form": ({"docstatus:base64": "YQ=="}, "a key that the provider reserves for itself at *"),
}
AS_BASE64: dict[str, bytes] = {
    "a zip": b"PK\x05\x06" + bytes(18),
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "all bytes": bytes(range(256)),
}
#: The bodies of what nothing carries, and what the error says of it.
NOT_AT_ALL: dict[str, tuple[bytes, str]] = {
    "double keys": (b'{"a": [{"b": 1, "b": 2}]}', "an object that holds a key twice at a[0]"),
    "1e400": (b'{"a": 1e400}', "a number that Python cannot hold (1e400, or more than 4,300 digits) at a"),
    "5,000 digits": (
        b"[[1, -" + b"9" * 5000 + b"]]",
        "a number that Python cannot hold (1e400, or more than 4,300 digits) at [0][1]",
    ),
    "halves side by side": (
        b'{"a": "\\ud83d\xed\xb8\x80"}',
        "halves of a surrogate pair side by side, which JSON joins, at a",
    ),
    "501 levels": (
        json.dumps(nested(MOST_LEVELS_OF_JSON + 1)).encode(),
        f"more than {MOST_LEVELS_OF_JSON} levels of lists and objects at [0][0]",
    ),
    "100,000 levels": (b'{"a": ' + b"[" * 100_000, "more levels of lists and objects than can be read at a[0][0]"),
}


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same, NaN and the types of numbers too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (dict, list, str, bytes)):
        return one == other if isinstance(one, (str, bytes)) else _are_same(one, other)
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def _are_same(one: Any, other: Any) -> bool:
    """Compare lists and objects without recursion; the order of keys does not matter, since PostgreSQL does not keep it."""
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, dict):
            if left.keys() != right.keys():
                return False
            pairs += [(left[key], right[key]) for key in left]
        elif isinstance(left, list):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif not is_same(left, right):
            return False
    return True
