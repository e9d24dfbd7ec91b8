"""Changes to a recorded JSON value: other ids, other links, another word. Pure functions; what they are given is left alone."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PREFIX = re.compile(r"(?:[A-Za-z]+\d?[_-])+")
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


def end_paging(value: Any) -> None:
    """Take out of the value, in place, what leads to a next page."""
    for holder, key, one in list(levels(value)):
        if isinstance(key, str) and _NEXT_PAGE.match(key) and not isinstance(one, (dict, list)):
            holder[key] = False if isinstance(one, bool) else None
