"""Read JSON or YAML that nobody vouches for as plain data: objects, lists, texts, numbers, true, false and null."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from airflow_provider_docstatus.protocol.rules import BadDescription

#: The most bytes of a description.
LONGEST = 256 * 1024
#: The most levels of objects and lists; a description needs half of them.
DEEPEST = 20
#: The most characters of one text, so that every pattern is matched quickly.
LONGEST_STRING = 4_000
_LONGEST_NUMBER = 30
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_CONSTANTS = {"null": None, "true": True, "false": False, "": None}


def parse(text: bytes | str) -> Mapping[str, Any]:
    """
    Read a description's text. Text that begins with ``{`` is JSON, all else YAML with the scalars of JSON.

    In YAML, ``null``, ``true``, ``false`` and numbers are what they are in JSON. All other words are text, ``no`` and ``on`` and
    dates too, and so is every key.

    :param text: the text, in UTF-8, at most 256 KiB.
    :raises BadDescription: it is too long, not valid, not one object, or holds a key twice, an alias, an anchor or a tag.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > LONGEST:
            _too_long()
        text = raw.decode("utf-8-sig")
    except UnicodeError:
        raise BadDescription("it is not UTF-8 text.") from None
    found = _from_json(text) if text.lstrip().startswith("{") else _from_yaml(text)
    if not isinstance(found, Mapping):
        raise BadDescription("it must be an object: fields with their values.")
    return found


def parsed(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a description that somebody else has parsed. Raises BadDescription if its JSON is longer than a text may be."""
    found: Mapping[str, Any] = plain(value)
    if len(json.dumps(found, ensure_ascii=False).encode()) > LONGEST:
        _too_long()
    return found


def _too_long() -> NoReturn:
    raise BadDescription(f"it is longer than {LONGEST // 1024} KiB.")


def _from_json(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_int=_number, parse_float=_number, parse_constant=lambda _: _not_json()
        )
    except json.JSONDecodeError as error:
        raise BadDescription(f"line {error.lineno}, column {error.colno}: this is not valid JSON.") from None
    except RecursionError:
        _too_deep()


def _not_json() -> NoReturn:
    raise BadDescription("NaN and Infinity are not JSON.")


def _too_deep() -> NoReturn:
    raise BadDescription(f"it has more than {DEEPEST} levels of objects and lists.")


def _number(text: str) -> int | float:
    if len(text) > _LONGEST_NUMBER:
        raise BadDescription(f"it holds a number of more than {_LONGEST_NUMBER} characters.")
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        first: dict[str, int] = {}
        number = next(first[key] for at, (key, _) in enumerate(pairs, 1) if first.setdefault(key, at) != at)
        raise BadDescription(f"a key stands twice in one object: the first time as its key {number}.")
    return found


def _from_yaml(text: str) -> Any:
    """Build JSON's values from YAML's events: no tag, no alias and none of YAML's own scalars ever becomes a value."""
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 -- few processes read a description; Airflow depends on it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list[_Level] = [_Level()]
    try:
        for event in yaml.parse(text, loader):
            where = f"line {event.start_mark.line + 1}"
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise BadDescription(
                    f"{where}: aliases, anchors and tags are not allowed (quote a text that begins with * & or !)."
                )
            if isinstance(event, yaml.DocumentStartEvent) and (event.tags or stack[0].items):
                raise BadDescription(f"{where}: it must be one document without directives.")
            if isinstance(event, yaml.ScalarEvent):
                stack[-1].add(event.value, where) if stack[-1].wants_key else stack[-1].add(
                    _scalar(event.value, event.style), where
                )
            elif isinstance(event, yaml.CollectionStartEvent):
                if stack[-1].wants_key:
                    raise BadDescription(f"{where}: a key must be text.")
                stack.append(_Level(is_object=isinstance(event, yaml.MappingStartEvent)))
                if len(stack) > DEEPEST + 1:
                    _too_deep()
            elif isinstance(event, yaml.CollectionEndEvent):
                ended = stack.pop()
                stack[-1].add(ended.value(), where)
    except yaml.YAMLError as error:  # its own text shows a part of the file
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadDescription(f"{where}this is not valid YAML (quote a text with a brace or a colon in it).") from None
    return stack[0].items[0] if stack[0].items else None


class _Level:
    """An object or a list that is being read; the lowest one holds the whole document."""

    def __init__(self, *, is_object: bool = False) -> None:
        self.is_object = is_object
        self.items: list[Any] = []
        self._keys: set[str] = set()

    @property
    def wants_key(self) -> bool:
        return self.is_object and len(self.items) % 2 == 0

    def add(self, item: Any, where: str) -> None:
        if self.wants_key:
            if item in self._keys:
                raise BadDescription(f"{where}: this key stands twice in one object.")
            self._keys.add(item)
        self.items.append(item)

    def value(self) -> Any:
        return dict(zip(self.items[::2], self.items[1::2], strict=True)) if self.is_object else self.items


def _scalar(text: str, style: str | None) -> Any:
    if style:  # it is quoted, or a block
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return _number(text) if _NUMBER.fullmatch(text) else text


def plain(value: Any, levels: int = DEEPEST) -> Any:
    """Return a copy made of JSON's types. Raises BadDescription for anything that JSON or a one-line text cannot be."""
    if not levels:
        _too_deep()
    if isinstance(value, Mapping):
        return {plain(str(key) if type(key) is int else key, 1): plain(one, levels - 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one, levels - 1) for one in value]
    if isinstance(value, str):
        if not value.isprintable() or len(value) > LONGEST_STRING:
            raise BadDescription(f"every text must be one line of printable characters, at most {LONGEST_STRING:,}.")
        return str(value)
    if value is None or (isinstance(value, (bool, int, float)) and value == value):  # noqa: PLR0124 -- not NaN
        return value
    raise BadDescription("it must consist of objects, lists, texts, numbers, true, false and null.")
