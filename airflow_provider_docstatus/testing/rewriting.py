"""Changes to a recorded JSON value: other ids, other links, another word. Pure functions; what they are given is left alone."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PREFIX = re.compile(r"(?:[A-Za-z]+\d?[_-])+")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?")
_TIME_FIELD = re.compile(r".*at", re.IGNORECASE)
_EPOCH = (1e9, 4e9)
_NUMBER_OF_ITEMS = re.compile(r".*(total|count).*", re.IGNORECASE)
_NEXT_PAGE = re.compile(r"next|has_?more", re.IGNORECASE)


def new_id(recorded: str) -> str:
    """Return a new id of the recorded one's form: its prefix (``job_``, ``v2-parse-``) and a UUID, with dashes if it has them."""
    prefix = "" if _UUID.fullmatch(recorded) else (_PREFIX.match(recorded) or [""])[0]
    fresh = uuid.uuid4()
    return prefix + (str(fresh) if _UUID.fullmatch(recorded[len(prefix) :]) else fresh.hex)


def with_ids(text: str, ids: Mapping[str, str]) -> str:
    """Return the text with other ids; an id within a longer word is none."""
    if not ids:
        return text
    known = "|".join(re.escape(one) for one in sorted(ids, key=len, reverse=True))
    return re.sub(rf"(?<![A-Za-z0-9])(?:{known})(?![A-Za-z0-9])", lambda found: ids[found[0]], text)


def parts(recorded: str, actual: str) -> dict[str, str]:
    """Return the parts of an id by the recorded parts; parts are joined by a slash, and the last parts match."""
    return dict(zip(reversed(recorded.split("/")), reversed(actual.split("/")), strict=False))


def edited(value: Any, edit: Callable[[str], str]) -> Any:
    """Return a copy of the value in which each text, also a key, is edited."""
    if isinstance(value, str):
        return edit(value)
    if isinstance(value, Mapping):
        return {edit(str(name)): edited(held, edit) for name, held in value.items()}
    return [edited(held, edit) for held in value] if isinstance(value, list) else value


def swapped(value: Any, old: Any, new: Any) -> Any:
    """Return a copy of the value in which everything that equals ``old`` is ``new``."""
    if value == old and type(value) is type(old):
        return new
    if isinstance(value, Mapping):
        return {name: swapped(held, old, new) for name, held in value.items()}
    return [swapped(held, old, new) for held in value] if isinstance(value, list) else value


def levels(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield every value held in the value as (holder, its key or index there, it), the outermost first."""
    holders = [value]
    while holders:
        inner = []
        for holder in holders:
            held = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
            for key, one in held:
                yield holder, key, one
                inner.append(one)
        holders = inner


def texts(value: Any) -> list[str]:
    """Return all texts in the value."""
    return [one for _, _, one in levels([value]) if isinstance(one, str)]


def place_of(value: Any, text: str) -> tuple[Any, Any] | None:
    """Return where the text stands first, outermost first: the holder and the key there."""
    return next(((holder, key) for holder, key, one in levels(value) if one == text and isinstance(key, str)), None)


def list_with(value: Any, ids: tuple[str, ...]) -> list[Any] | None:
    """Return the outermost list that holds an item with one of the ids in it."""
    known = {one.rpartition("/")[2] for one in ids}
    for _, _, one in levels([value]):
        if isinstance(one, list) and any(known & set(texts(item)) for item in one):
            return one
    return None


def refill(value: Any, items: list[Any], new: list[Any]) -> None:
    """Put other items into a list held in the value, in place; let it count them, and lead to no next page."""
    recorded = len(items)
    items[:] = new
    for holder, key, one in list(levels(value)):
        if not isinstance(key, str) or isinstance(one, (dict, list)):
            continue
        if _NEXT_PAGE.match(key):
            holder[key] = False if isinstance(one, bool) else None
        elif one == recorded and _NUMBER_OF_ITEMS.fullmatch(key):
            holder[key] = len(new)


def moved(value: Any, start: float, fixed: Any = None) -> Any:
    """
    Return a copy of the value with all its times moved alike, so that the earliest is ``start`` (epoch seconds).

    Times are ISO texts, and numbers of seconds in fields that end in ``at``. ``fixed`` is a part that is left as it is.
    """
    known = [time for time in (_epoch(key, one) for _, key, one in levels([value])) if time is not None]
    return _moved(value, start - min(known), fixed) if known else value


def _epoch(key: Any, one: Any) -> float | None:
    """Return the time that a field holds as epoch seconds, None if it holds none."""
    if isinstance(one, str) and (found := _TIME.fullmatch(one)):
        return datetime.fromisoformat(_without_zone(found) + (found[3] or "Z").replace("Z", "+00:00")).timestamp()
    is_time = isinstance(key, str) and _TIME_FIELD.fullmatch(key) and isinstance(one, (int, float))
    return float(one) if is_time and _EPOCH[0] < one < _EPOCH[1] else None


def _without_zone(time: re.Match[str]) -> str:
    return f"{time[1]}.{(time[2] or '')[:6]:0<6}"


def _moved(value: Any, by: float, fixed: Any, key: Any = None) -> Any:
    if fixed is not None and value == fixed:
        return value
    if isinstance(value, Mapping):
        return {name: _moved(held, by, fixed, name) for name, held in value.items()}
    if isinstance(value, list):
        return [_moved(held, by, fixed) for held in value]
    if _epoch(key, value) is None:
        return value
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return type(value)(value + by)
    text = (datetime.fromisoformat(_without_zone(found)) + timedelta(seconds=by)).isoformat(timespec="microseconds")
    digits = 20 + len(found[2]) if found[2] else 19
    return text[:digits].ljust(digits, "0") + (found[3] or "")
