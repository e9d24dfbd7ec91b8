"""
Find what Airflow cannot carry in an XCom, and carry it in another form.

An XCom goes through a serializer, a channel, an API and a database, and each of them changes or refuses some JSON. What all of
them carry is handed on as it is. The rest becomes JSON text in a small object, ``{"docstatus:json": "..."}``, and bytes become
``{"docstatus:base64": "..."}``. The rules are the same on every version of Airflow and every database.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from airflow_provider_docstatus.exceptions import ResultNotStorable
from airflow_provider_docstatus.protocol.exact import MOST_LEVELS_OF_JSON, DoubleKeys, HugeNumber, TooDeep, read_exactly
from airflow_provider_docstatus.protocol.values import printable

#: The key of an object that carries data as JSON text; ``json.loads`` of the text reads it back.
JSON_KEY = "docstatus:json"
#: The key of an object that carries bytes; ``base64.b64decode`` of the text reads them back.
BYTES_KEY = "docstatus:base64"
#: The most levels of lists and objects. MySQL stores 100, Airflow 3 reads fewer than 200 back, and a list of requests puts four
#: around the data.
MOST_LEVELS = 96
#: The most findings that are named.
MOST_FINDINGS = 20
#: Keys by which Airflow's serializers know their own objects, and two that they take for an old form of one if both are there.
RESERVED_KEYS = frozenset({"__id__", "__classname__"})
_OLD_FORM = frozenset({"__type", "__var"})
_CARRIERS = frozenset({JSON_KEY, BYTES_KEY})
#: What the workers' channel of Airflow 3 takes for a whole number.
_LEAST, _MOST = -(2**63), 2**64 - 1
_LARGEST_OF_SQLITE = 2**63 - 1
#: From here on Python writes floats with an exponent only, and PostgreSQL returns those as whole numbers.
_LARGE_FROM = 1e16
#: Python neither reads nor writes whole numbers of more digits.
_TOO_MANY_DIGITS = 10**4300
_SIDE_BY_SIDE = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SHOWN_OF_A_KEY = 40
_SHOWN_OF_A_PATH = 200

_A_FILE = "Neither an XCom nor JSON text can carry that exactly. A file keeps the vendor's bytes of a single id: set output_path."

#: A place in the data: the place around it, its key or index, and its level.
_Place = tuple[Any, Any, int]


@dataclass(frozen=True, slots=True)
class _Fault:
    """
    Something that Airflow cannot carry.

    :param what: what it is, for messages (str).
    :param has_text: whether JSON text in Python's form says it exactly (bool).
    :param in_rows: whether it is a fault in a file of JSON lines too, since it is no JSON or not what came (bool).
    """

    what: str
    has_text: bool = True
    in_rows: bool = False


_NOT_FINITE = _Fault("a number that is not finite (NaN or Infinity)", in_rows=True)
_HUGE = _Fault("a number that Python cannot hold (1e400, or more than 4,300 digits)", has_text=False, in_rows=True)
_LARGE = _Fault("a number of more than 64 bits")
_LARGE_FLOAT = _Fault("a float of 1e16 or more, which PostgreSQL makes a whole number,")
_NUL = _Fault("a NUL character, which PostgreSQL refuses,")
_SURROGATE = _Fault("half of a surrogate pair, which is no character,")
_JOINED = _Fault("halves of a surrogate pair side by side, which JSON joins,", has_text=False, in_rows=True)
_BARE = _Fault("nothing but a number that SQLite changes,")
_RESERVED = _Fault("a key that Airflow reserves for itself")
_RESERVED_TOGETHER = _Fault(f"keys that Airflow reserves for itself ({' and '.join(sorted(_OLD_FORM))})")
_OUR_KEY = _Fault("a key that the provider reserves for itself", in_rows=True)
_BYTES = _Fault("bytes, which are no JSON,", in_rows=True)
_DOUBLE = _Fault("an object that holds a key twice", has_text=False, in_rows=True)
_DEEP = _Fault(f"more than {MOST_LEVELS} levels of lists and objects")
_TOO_DEEP = _Fault(f"more than {MOST_LEVELS_OF_JSON} levels of lists and objects", has_text=False, in_rows=True)


def carriable(data: Any, *, id: str | None = None, service: str | None = None) -> Any:  # noqa: A002 -- the field's word
    """
    Return data in a form that comes to the next task unchanged, on every version of Airflow and every database.

    What Airflow carries exactly is returned as it is, the same object. Other JSON is returned as JSON text in an object with one
    key, ``{"docstatus:json": text}``, and bytes as ``{"docstatus:base64": text}``. :func:`read_back` returns the original.

    :param data: JSON data, text or bytes, as ``DocStatusHook.get_result()`` returns them.
    :param id: the id that the data is of (str), for the error. Without it, data of the form
        ``{"items": {id: data}, "errors": {id: text}}`` is taken for the data of several ids: each item gets its own form, and
        one without any moves to the errors.
    :param service: the service's name (str), for the error.
    :raises ResultNotStorable: nothing carries it exactly: a key that stands twice in an object, a number that Python cannot hold,
        more than 500 levels. Of several ids only if that is so for all.
    :raises TypeError: it is no JSON: a tuple, a date, a key that is no text, bytes within a list, ...
    """
    if id is None and _is_by_id(data):
        return _carriable_by_id(data, service)
    return _carried(data, id=id, service=service, in_rows=False)


def row_ready(data: Any, *, id: str | None = None, service: str | None = None) -> Any:  # noqa: A002
    """
    Return the data of one id in a form that is JSON, for a row of a file; see :func:`carriable`.

    Only NaN, infinities and bytes need another form there. Keys that Airflow reserves, large numbers and NUL are plain JSON.
    Write it with ``ensure_ascii=True``, since half of a surrogate pair has no UTF-8.

    :param id: the id that the data is of (str), for the error.
    :raises ResultNotStorable: no JSON says it exactly.
    :raises TypeError: it is no JSON, nor bytes.
    """
    return _carried(data, id=id, service=service, in_rows=True)


def read_back(data: Any) -> Any:
    """
    Return the original of what :func:`carriable` or :func:`row_ready` returned, also of each item of a list of ids.

    :param data: an XCom or a row, or any part of it that holds whole carriers. Anything else is returned equal.
    """
    around = [data]
    copies: list[Any] = [around]  # no recursion: a row may have as many levels as Python reads
    while copies:
        copy = copies.pop()
        for key, value in copy.items() if isinstance(copy, dict) else enumerate(copy):
            if isinstance(value, dict) and len(value) == 1 and isinstance(text := next(iter(value.values())), str):
                copy[key] = _read_form(value, text)
            elif isinstance(value, (dict, list)):
                copy[key] = value.copy()
                copies.append(copy[key])
    return around[0]


def _read_form(value: dict[str, Any], text: str) -> Any:
    """Return what an object with one text stands for; itself if it is no carrier."""
    if JSON_KEY in value:
        return json.loads(text)
    return base64.b64decode(text, validate=True) if BYTES_KEY in value else value


def fault_of(data: Any) -> str | None:
    """
    Return what Airflow cannot carry in JSON data, with its place; None if it can carry all of it.

    The text names keys that look like those of a schema, and no values: other keys may be text of the document.
    """
    return next((f"{fault.what} at {_shown(place)}" for fault, place in _faults(data)), None)


def findings(data: Any) -> list[tuple[str, str]]:
    """
    Return what an XCom could not carry of JSON data: at most 20 pairs of its JSON path and what it is, in the data's order.

    :param data: JSON data, best as :func:`~.exact.read_exactly` returns it: it then has marks for what Python's reading loses.
    """
    return [(_shown(place), fault.what.rstrip(",")) for fault, place in islice(_faults(data), MOST_FINDINGS)]


def shown_path(parts: Iterable[str | int]) -> str:
    """
    Return keys and indexes as a path, such as ``tables[2].total``, cut to 200 characters for messages.

    A key that does not look like that of a schema is shown as ``*``, since it may be text of the document; a long one is cut.
    """
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{_shown_key(part)}" for part in parts)
    path = path.removeprefix(".") or "the top"
    return path if len(path) <= _SHOWN_OF_A_PATH else path[:_SHOWN_OF_A_PATH] + "…"


def read_data(body: bytes, *, id: str | None, service: str | None) -> Any:  # noqa: A002
    """
    Return a reply's body as JSON, with what Python's reading loses marked; see :func:`~.exact.read_exactly`.

    :param id: the id that the reply is about (str), for the error.
    :raises ResultNotStorable: it has more levels than Python can read.
    :raises ValueError: it is not JSON.
    """
    try:
        return read_exactly(body)
    except TooDeep as error:
        what = f"{error} at {shown_path(error.path)}"
        raise not_storable(what, id=id, service=service, remedy="Nothing written in Python carries that.") from None


def not_storable(what: str, *, id: str | None, service: str | None, remedy: str = _A_FILE) -> ResultNotStorable:  # noqa: A002
    """
    Return the error for data that nothing carries exactly.

    :param what: what it holds and where (str), without content.
    :param remedy: what to do (str); by default to save the vendor's bytes.
    """
    return ResultNotStorable(f"The extracted data{f' of {id}' if id else ''} has {what}. {remedy}", id=id, service=service)


def _is_by_id(data: Any) -> bool:
    keys = data.keys() - {"file_names"} if isinstance(data, dict) else ()
    return keys == {"items", "errors"} and all(isinstance(part, dict) for part in data.values())


def _carriable_by_id(data: dict[str, dict[str, Any]], service: str | None) -> Any:
    """Return the data of several ids with a form for each; see :func:`carriable`."""
    items: dict[str, Any] = {}
    errors = dict(data["errors"])
    refused: ResultNotStorable | None = None
    for one, part in data["items"].items():
        try:
            items[one] = _carried(part, id=one, service=service, in_rows=False)
        except ResultNotStorable as error:
            refused, errors[one] = error, str(error)
    if refused is not None and not items:
        raise refused
    names = {name: part for name, part in data.items() if name == "file_names"}
    if _may_have_fault([dict.fromkeys(items), errors, names]):  # these are no ids; then the whole is carried as one
        return _carried(data, id=None, service=service, in_rows=False)
    is_same = refused is None and all(items[one] is part for one, part in data["items"].items())
    return data if is_same else {"items": items, "errors": errors, **names}


def _carried(data: Any, *, id: str | None, service: str | None, in_rows: bool) -> Any:  # noqa: A002
    if isinstance(data, bytes):
        return {BYTES_KEY: base64.b64encode(data).decode()}
    if not _may_have_fault(data):
        return data
    is_faulty = False
    for fault, place in _faults(data):
        if not fault.has_text:
            raise not_storable(f"{fault.what} at {_shown(place)}", id=id, service=service)
        is_faulty = is_faulty or fault.in_rows or not in_rows
    return {JSON_KEY: json.dumps(data, separators=(",", ":"))} if is_faulty else data


def _may_have_fault(data: Any) -> bool:
    """Whether the data must be looked at place by place. To find out level by level takes a fifth of the time."""
    if isinstance(data, (int, float)):
        return _fault_of_scalar(data, None) is not None
    level = [data]
    good_keys: set[str] = set()
    for _ in range(MOST_LEVELS):
        inner: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                if value.keys() - good_keys:
                    if value.keys() & _OLD_FORM or any(type(key) is not str or _fault_of_key(key) for key in value):
                        return True
                    good_keys.update(value)
                inner += value.values()
            elif kind is list:
                inner += value
            elif not _is_plain(value):
                return True
        level = inner
    return bool(level)


def _is_plain(value: Any) -> bool:
    """Whether a value that is no list and no object is certainly no fault."""
    kind = type(value)
    if kind is str:
        return "\0" not in value and (value.isascii() or _has_utf8(value))
    if kind is float:
        return bool(-_LARGE_FROM < value < _LARGE_FROM)  # false for NaN as well
    return _LEAST <= value <= _MOST if kind is int else value is None or kind is bool


def _faults(data: Any) -> Iterator[tuple[_Fault, _Place | None]]:
    """Yield what Airflow cannot carry, with its place, in the data's order. What is too deep is not looked into."""
    if isinstance(data, bytes):
        yield _BYTES, None
        return
    places: list[tuple[Any, _Place | None]] = [(data, None)]
    while places:
        value, place = places.pop()
        if not isinstance(value, (dict, list)):
            found = [_fault_of_scalar(value, place)]
        elif _levels(place) < MOST_LEVELS_OF_JSON:
            found = [_DEEP if _levels(place) == MOST_LEVELS else None]
            parts: Iterable[tuple[Any, Any]] = enumerate(value)
            if isinstance(value, dict):
                found += _faults_of_object(value)
                yield from _faults_of_keys(value, place)
                parts = value.items()
            inner = [(part, (place, key, _levels(place) + 1)) for key, part in parts]
            places += reversed(inner)
        else:
            found = [_TOO_DEEP]
        yield from ((fault, place) for fault in found if fault is not None)


def _faults_of_object(value: dict[Any, Any]) -> Iterator[_Fault]:
    if isinstance(value, DoubleKeys):
        yield _DOUBLE
    if value.keys() >= _OLD_FORM:
        yield _RESERVED_TOGETHER


def _faults_of_keys(value: dict[Any, Any], place: _Place | None) -> Iterator[tuple[_Fault, _Place]]:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"A key of type {type(key).__name__} at {_shown(place)} is not JSON.")
        if (fault := _fault_of_key(key)) is not None:
            yield fault, (place, key, _levels(place) + 1)


def _levels(place: _Place | None) -> int:
    return 0 if place is None else place[2]


def _fault_of_scalar(value: Any, place: _Place | None) -> _Fault | None:
    if isinstance(value, str):
        return _fault_of_text(value)
    if isinstance(value, (int, float)):
        return _fault_of_number(value) or (_fault_of_bare_number(value) if place is None else None)
    if value is not None:
        raise TypeError(f"A value of type {type(value).__name__} at {_shown(place)} is not JSON.")
    return None


def _fault_of_number(value: float) -> _Fault | None:
    if isinstance(value, HugeNumber) or (isinstance(value, int) and not -_TOO_MANY_DIGITS < value < _TOO_MANY_DIGITS):
        return _HUGE
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_FINITE
    if not _LEAST <= value <= _MOST:
        return _LARGE
    return _LARGE_FLOAT if isinstance(value, float) and not -_LARGE_FROM < value < _LARGE_FROM else None


def _fault_of_bare_number(value: float) -> _Fault | None:
    """SQLite takes the JSON text of a number for a number of its own: 64 bits with a sign, and no 1.0 beside 1."""
    is_changed = value.is_integer() if isinstance(value, float) else value > _LARGEST_OF_SQLITE
    return _BARE if is_changed else None


def _fault_of_text(text: str) -> _Fault | None:
    if "\0" in text:
        return _NUL
    if text.isascii() or _has_utf8(text):
        return None
    return _JOINED if _SIDE_BY_SIDE.search(text) else _SURROGATE


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault_of_key(key: str) -> _Fault | None:
    if key in RESERVED_KEYS:
        return _RESERVED
    return _OUR_KEY if key in _CARRIERS else _fault_of_text(key)


def _shown(place: _Place | None) -> str:
    """Return a place as a path; see :func:`shown_path`."""
    parts: list[str | int] = []
    while place is not None:
        place, key, _ = place
        parts.append(key)
    return shown_path(reversed(parts))


def _shown_key(key: str) -> str:
    is_name = key[:_SHOWN_OF_A_KEY].replace("-", "_").isidentifier()
    return printable(key[:_SHOWN_OF_A_KEY]) if is_name else "*"
