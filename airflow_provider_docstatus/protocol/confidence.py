"""Read how sure a vendor is of its data: numbers and grades of any shape, brought to 0 to 1."""

from __future__ import annotations

import heapq
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan, nan
from typing import Any, Literal

#: The most names of fields that are kept.
MOST_NAMES = 20
LONGEST_KEY, LONGEST_PATH = 100, 300


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """
    Where a vendor says how sure it is of the data of a finished job, and what its numbers or grades mean.

    :param paths: dotted paths of a number or a grade, or of the objects that hold some (see ``names``). ``*`` is each item of a
        list or each field of an object. ``**`` is the object or list itself and each inside, however deep. A JSON text is opened.
    :param where: what holds it: ``data``, the extracted data as the operator returns it, or ``reply``, the status reply or the
        reply with the data, beside that.
    :param query: for ``reply``: query parameters of the status route without which the reply does not hold it. Only a gate sends
        them. Empty if none are needed.
    :param names: the names of the numbers or grades in the objects that ``paths`` lead to. An object is one field: the lowest
        counts. Empty if ``paths`` lead to the numbers themselves.
    :param beside: the name of what must stand beside them and not be null, so that no extracted value is taken for a confidence;
        empty if nothing need.
    :param scale: what full confidence is: 1, 5 or 100. Several, in rising order, if a vendor uses several and does not say which:
        a number is of the first that it is below, and a number that is of none or of two counts as missing.
    :param grades: for grades in place of numbers, what each means from 0 to 1; case does not matter. Another grade counts as
        missing.
    :param otherwise: whether this is read only if the places before it, of the same ``where``, had none (default False).
    """

    paths: tuple[str, ...]
    where: Literal["data", "reply"] = "data"
    query: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    beside: str = ""
    scale: tuple[float, ...] = (1.0,)
    grades: Mapping[str, float] = field(default_factory=dict)
    otherwise: bool = False

    def __post_init__(self) -> None:
        """Check that the paths and the scales can be read. Raises ValueError if not; the description's author must change it."""
        for steps in (path.split(".") for path in self.paths if path or not self.names):
            if not all(steps) or (steps[-1] == "**" and not self.names):
                raise ValueError("each of its paths has a name between two dots, and ends with ** only beside names")
        if sorted(set(self.scale)) != list(self.scale):
            raise ValueError("its scale is in rising order")

    @cached_property
    def levels(self) -> Mapping[str, float]:
        """What each grade means, by the grade in lower case."""
        return {grade.strip().lower(): level for grade, level in self.grades.items()}


@dataclass(frozen=True)
class Confidences:
    """
    What a vendor says of the fields of one document.

    :param values: the confidence of each field that has one, from 0 to 1, in no order.
    :param missing: how many fields have none, where the vendor should give one (int).
    :param first: the names of the fields of least confidence, with the confidence; None, for missing, comes first.
    """

    values: Sequence[float] = ()
    missing: int = 0
    first: Sequence[tuple[str, float | None]] = ()

    @property
    def number(self) -> int:
        """The number of fields."""
        return len(self.values) + self.missing

    @property
    def lowest(self) -> float | None:
        """The lowest confidence, from 0 to 1; None if no field has one."""
        return min(self.values) if self.values else None

    def below(self, threshold: float) -> int:
        """Return how many fields have a confidence below the threshold, or none."""
        return self.missing + sum(value < threshold for value in self.values)

    def names_below(self, threshold: float) -> list[str]:
        """Return the names of fields with a confidence below the threshold, or none; at most 20, the least sure first."""
        return list(dict.fromkeys(name for name, value in self.first if value is None or value < threshold))


def confidences_of(places: Sequence[Confidence], where: str, body: Any) -> Confidences:
    """
    Return the confidence of each field of a document.

    A place that holds nothing but null counts for nothing if another has more: that measure was not taken.

    :param places: the places of a route.
    :param where: which of them are read, ``data`` or ``reply``.
    :param body: the data, or the reply.
    """
    found: list[tuple[Confidences, bool]] = []
    for place in places:
        if place.where == where and not (place.otherwise and any(one.values for one, _ in found)):
            found.append(_collected(_fields(place, body)))
    taken = [one for one, was_taken in found if was_taken]
    return joined(taken or sorted((one for one, _ in found), key=lambda one: -one.missing)[:1])


def joined(parts: Sequence[Confidences]) -> Confidences:
    """Return the confidences of several documents, or places, as one."""
    values = array("d")
    for part in parts:
        values.extend(part.values)
    first = sorted((one for part in parts for one in part.first), key=lambda one: -1.0 if one[1] is None else one[1])
    return Confidences(values, sum(part.missing for part in parts), tuple(first[:MOST_NAMES]))


def shown_path(keys: Iterable[str | int]) -> str:
    """
    Return a JSON path, such as ``items[2].total``, for messages; ``(the top)`` if it is empty.

    A key is cut to 100 characters and the path to 300. Characters that are not printable are removed.
    """
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
            continue
        name = shown_key(key)
        text += (f".{name}" if text else name) if name.replace("-", "_").isidentifier() else f"['{name}']"
        if len(text) > LONGEST_PATH:
            return text[: LONGEST_PATH - 1] + "…"
    return text or "(the top)"


def shown_key(key: str) -> str:
    """Return a key for messages: cut to 100 characters, without characters that are not printable."""
    return "".join(character for character in key[:LONGEST_KEY] if character.isprintable())


# -- the fields, and what each says ----------------------------------------------------------------------------

#: A place in the body: the place around it, and its key or index.
_Place = tuple[Any, "str | int"]


def _fields(place: Confidence, body: Any) -> Iterator[tuple[_Place | None, float | None]]:
    """Yield the fields of a place, each with its confidence: None if it is null, NaN if it cannot be told what it means."""
    for path in place.paths:
        for where, value in _reached(body, path.split(".") if path else []):
            if place.names:
                if isinstance(value, dict) and (not place.beside or value.get(place.beside) is not None):
                    said = [value[name] for name in place.names if name in value]
                    yield from _of_field(place, where or (None, place.names[0]), said)
            else:
                yield from _of_field(place, where, [value])


def _of_field(place: Confidence, where: _Place | None, said: Sequence[Any]) -> Iterator[tuple[_Place | None, float | None]]:
    """Yield what a field's values say together: the lowest counts. An object or a list is no confidence but may hold some."""
    said = [one for one in said if not isinstance(one, (dict, list))]
    if not said:
        return
    levels = [_level(place, one) for one in said if one is not None]
    yield where, (nan if any(map(isnan, levels)) else min(levels)) if levels else None


def _level(place: Confidence, value: Any) -> float:
    """Return a number or a grade as 0 to 1; NaN if it cannot be told what it means."""
    if place.grades:
        return place.levels.get(value.strip().lower(), nan) if isinstance(value, str) else nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:  # NaN too
        return nan
    for number, most in enumerate(place.scale, start=1):
        if value < most or (value == most and number == len(place.scale)):
            return round(float(value / most), 9)  # 4.6 / 5 is 0.9199999999999999
        if value == most:  # all of one scale, and next to nothing of the other
            return nan
    return nan


def _reached(body: Any, steps: Sequence[str]) -> Iterator[tuple[_Place | None, Any]]:
    """Yield what a path leads to. ``*`` is each item or field, ``**`` is the object itself and each inside, however deep."""
    todo: list[Iterator[tuple[_Place | None, Any, int]]] = [iter([(None, body, 0)])]
    while todo:
        entry = next(todo[-1], None)
        if entry is None:
            todo.pop()
            continue
        where, value, at = entry
        if at == len(steps):
            yield where, value
            continue
        if at and steps[at - 1] not in ("*", "**"):
            value = _opened(value)
        step = steps[at]
        if step == "**":
            todo += [_each(where, value, at), iter([(where, value, at + 1)])]
        elif step == "*":
            todo.append(_each(where, value, at + 1))
        elif isinstance(value, dict) and step in value:
            todo.append(iter([((where, step), value[step], at + 1)]))


def _each(where: _Place | None, value: Any, at: int) -> Iterator[tuple[_Place | None, Any, int]]:
    return (((where, key), part, at) for key, part in _parts(value))


def _parts(value: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _opened(value: Any) -> Any:
    """Return the object or list in a JSON text, as some vendors send their data; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _collected(fields: Iterable[tuple[_Place | None, float | None]]) -> tuple[Confidences, bool]:
    """
    Return fields as :class:`Confidences`, and whether any of them is more than null.

    Of very many, such as all words of a book, only the numbers are kept.
    """
    values, missing, is_taken = array("d"), 0, False
    least: list[tuple[float, int, _Place | None, float | None]] = []
    for number, (where, said) in enumerate(fields):
        is_taken = is_taken or said is not None
        level = None if said is None or isnan(said) else said
        if level is None:
            missing += 1
        else:
            values.append(level)
        entry = (1.0 if level is None else -level, -number, where, level)
        if len(least) < MOST_NAMES:
            heapq.heappush(least, entry)
        elif entry[:2] > least[0][:2]:
            heapq.heapreplace(least, entry)
    least.sort(key=lambda entry: entry[:2], reverse=True)
    return Confidences(values, missing, tuple((_name(where), level) for _, _, where, level in least)), is_taken


def _name(where: _Place | None) -> str:
    keys: list[str | int] = []
    while where is not None:
        where, key = where
        keys.append(key)
    return shown_path(reversed(keys))
