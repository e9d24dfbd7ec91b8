"""
A service's description as data: read from JSON or YAML, checked, and built.

Everything here works on the dataclasses of :mod:`.description` and their docstrings, so data may set a field as soon as it is
added there. Functions can not be data. An error names the field and what is allowed, and repeats nothing of what was written.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.plain_data import parse, plain
from airflow_provider_docstatus.protocol.rules import (
    ANY_NUMBER,
    CODE,
    KEYS,
    LONGEST_TEXT,
    MOST_ENTRIES,
    NUMBERS,
    TEXTS,
    BadDescription,
    Text,
    as_data,
    check,
    dotted,
    must_hold_any,
    pattern_of,
    rule_of,
)
from airflow_provider_docstatus.status import State

__all__ = ["BadDescription", "description_of", "parse", "schema"]

_MOST_PROBLEMS = 3
#: What is wrong is looked for until so many errors are found.
_MOST_ERRORS = 50
#: Fields with names of headers in a reply, which are looked up in lower case.
_LOWER_CASE = {"retry_headers", "remaining_headers"}


# -- the schema ------------------------------------------------------------------------------------------------


@cache
def _hints(owner: type) -> Mapping[str, tuple[Field[Any], Any]]:
    """Return the fields of a dataclass that data may set, with their types."""
    types = get_type_hints(owner)
    return {one.name: (one, types[one.name]) for one in fields(owner) if not _is_function(types[one.name])}


def _is_function(hint: Any) -> bool:
    return hint is Callable or get_origin(hint) is Callable or any(_is_function(one) for one in _choices(hint) if one is not hint)


def _choices(hint: Any) -> tuple[Any, ...]:
    """Return the types that a field may have."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_optional(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _said(owner: type) -> dict[str, str]:
    """Return what a class's docstring says about each field."""
    found = re.findall(r"^:param (\w+):((?:.|\n(?!:))*)", inspect.cleandoc(owner.__doc__ or ""), re.MULTILINE)
    return {name: re.sub(r":\w+:`~?\.*(?:\w+\.)*(\w+)`", r"\1", " ".join(text.split())).replace("``", "") for name, text in found}


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a description, as ``docs/service.schema.json`` holds it."""
    definitions: dict[str, Any] = {}
    _define(ServiceDescription, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A document extraction service",
        **definitions.pop(ServiceDescription.__name__),
        "$defs": dict(sorted(definitions.items())),
    }


def _define(owner: type, definitions: dict[str, Any]) -> None:
    """Add the schema of a dataclass, and of those inside, to the definitions."""
    if owner.__name__ in definitions:
        return
    said, known = _said(owner), _hints(owner)
    properties: dict[str, Any] = {}
    definitions[owner.__name__] = {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, (field, _) in known.items() if not _is_optional(field)],
        "properties": properties,
    }
    for name, (field, hint) in known.items():
        about = {"description": said[name]} if name in said else {}
        properties[name] = {**about, **_schema_of(hint, owner, field, definitions), **_default_of(field)}


def _default_of(field: Field[Any]) -> dict[str, Any]:
    """Return what holds without a field, for its schema; nothing if it is needed."""
    made = field.default_factory() if field.default_factory is not MISSING else field.default
    return {} if made is MISSING else {"default": as_data(made)}


def _schema_of(
    hint: Any, owner: type, field: Field[Any], definitions: dict[str, Any], *, is_whole: bool = True
) -> dict[str, Any]:
    """
    Return the schema of a type.

    :param is_whole: whether it is the field's own type, not that of an entry.
    """

    def of(entry: Any) -> dict[str, Any]:
        return _schema_of(entry, owner, field, definitions, is_whole=False)

    origin, inside = get_origin(hint), get_args(hint)
    least = int(is_whole and must_hold_any(owner, field.name))
    if origin in (Union, UnionType):
        return {"anyOf": [of(one) if one is not type(None) else {"type": "null"} for one in inside]}
    if is_dataclass(hint):
        _define(hint, definitions)  # type: ignore[arg-type]  # a class, not an instance
        return {"$ref": f"#/$defs/{hint.__name__}"}  # type: ignore[union-attr]  # as above
    if origin is tuple and inside[-1:] == (...,):
        return {"type": "array", "items": of(inside[0]), "minItems": least, "maxItems": MOST_ENTRIES}
    if origin is tuple:
        number = len(inside)
        items = [of(one) for one in inside]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": number, "maxItems": number}
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return {
            "type": "object",
            "propertyNames": _keys_of(inside[0], rule_of(KEYS, owner, field.name) if is_whole else None),
            "additionalProperties": of(inside[1]),
            "minProperties": least,
            "maxProperties": MOST_ENTRIES,
        }
    return _schema_of_one(hint, owner, field)


def _keys_of(hint: Any, known: Text | None) -> dict[str, Any]:
    """Return the schema of an object's keys."""
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return {"enum": [one.value for one in hint]}
    known = CODE if hint is int else known
    return {"maxLength": LONGEST_TEXT} | ({"pattern": pattern_of(known)} if known else {"minLength": 1})


def _schema_of_one(hint: Any, owner: type, field: Field[Any]) -> dict[str, Any]:
    """Return the schema of a type that holds no others."""
    if hint is bool:
        return {"type": "boolean"}
    if hint in (int, float):
        least, most = rule_of(NUMBERS, owner, field.name, ANY_NUMBER)
        return {"type": "integer" if hint is int else "number", "minimum": least, "maximum": most}
    if hint is str:
        known = rule_of(TEXTS, owner, field.name)
        return {"type": "string", "maxLength": LONGEST_TEXT} | ({"pattern": pattern_of(known, field)} if known else {})
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    return {"enum": [one.value for one in hint]} if inspect.isclass(hint) and issubclass(hint, Enum) else {}


# -- building --------------------------------------------------------------------------------------------------


@cache
def _validator() -> Any:
    import jsonschema  # type: ignore[import-untyped]  # noqa: PLC0415 -- as yaml above

    return jsonschema.Draft202012Validator(schema())


def description_of(data: Mapping[str, Any], *, reserved: Collection[str] = ()) -> ServiceDescription:
    """
    Build a description from data, which nobody has to trust. Status words and names of headers are lower-cased.

    :param data: the fields of a :class:`.ServiceDescription` as JSON's types; see ``docs/service.schema.json``.
    :param reserved: the names that it may not have, those of other services and types of connections.
    :raises BadDescription: a field is missing, unknown or breaks a rule (the description's author).
    """
    data = plain(data)
    problems = dict.fromkeys(_told(data, error) for error in _errors(data))
    if problems:
        more = f" ({len(problems) - _MOST_PROBLEMS} more)" if len(problems) > _MOST_PROBLEMS else ""
        raise BadDescription("; ".join(list(problems)[:_MOST_PROBLEMS]) + more + ".")
    if data["name"] in reserved:
        raise BadDescription("name: must not be the name of another service or type of connection.")
    _check_words(data)
    service: ServiceDescription = _built(ServiceDescription, data, data, ())
    check(service)
    return service


def _check_words(data: Mapping[str, Any]) -> None:
    """Refuse words that leave open what they mean."""
    means: dict[str, str] = {}
    for state, words in data["words"].items():
        for number, word in enumerate(words):
            if not word.strip() or means.setdefault(word.strip().lower(), state) != state:
                why = "must not stand in another state too" if word.strip() else "must not be empty"
                raise BadDescription(f"{dotted(data, ('words', state, number))}: {why}.")
    if not data["words"].get(State.SUCCEEDED.value):
        raise BadDescription(f"words: no word means {State.SUCCEEDED}.")


def _built(hint: Any, value: Any, data: Any, path: tuple[str | int, ...]) -> Any:
    """Return valid data as a value of a type."""
    origin, inside = get_origin(hint), get_args(hint)
    if value is None:
        return None
    if origin in (Union, UnionType):
        (hint, *_) = [one for one in inside if one is not type(None) and _fits(one, value)]
        return _built(hint, value, data, path)
    if is_dataclass(hint):
        known = _hints(hint)  # type: ignore[arg-type]  # as above
        made = {name: _built(known[name][1], one, data, (*path, name)) for name, one in value.items()}
        try:
            return hint(**made)  # type: ignore[operator]  # as above
        except ValueError as error:
            text = _without_values(str(error), data)
            where = "" if re.match(r"[a-z_.]+: ", text) else f"{dotted(data, path) or 'the description'}: "
            raise BadDescription(f"{where}{text}.") from None
    if origin is tuple:
        types = inside if inside[-1:] != (...,) else (inside[0],) * len(value)
        items = [_built(one, item, data, (*path, number)) for number, (one, item) in enumerate(zip(types, value, strict=True))]
        return tuple(items) if path[-1] not in _LOWER_CASE else tuple(item.lower() for item in items)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return _built_mapping(inside, value, data, path)
    return hint(value) if hint in (int, float) or (inspect.isclass(hint) and issubclass(hint, Enum)) else value


def _built_mapping(inside: tuple[Any, ...], value: Mapping[str, Any], data: Any, path: tuple[str | int, ...]) -> dict[Any, Any]:
    found = {}
    for name, one in value.items():
        made = _built(inside[1], one, data, (*path, name))
        if inside[0] is State and isinstance(made, tuple):  # vendors' words
            made = tuple(dict.fromkeys(word.strip().lower() for word in made))
        found[int(name) if inside[0] is int else State(name) if inside[0] is State else name] = made
    return found


def _fits(hint: Any, value: Any) -> bool:
    """Whether data may be of a type, one of several that a field may have."""
    origin = get_origin(hint) or hint
    if is_dataclass(origin) or (inspect.isclass(origin) and issubclass(origin, Mapping)):
        return isinstance(value, Mapping)
    if origin is tuple:
        return isinstance(value, list)
    if origin in (int, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, bool) if origin is bool else isinstance(value, str)


def _without_values(text: str, data: Any) -> str:
    """Return the text of an error of our own classes, unless it repeats what :func:`.rules.dotted` would not show."""
    text, known = text.removeprefix(f"{data['name']}: ").rstrip("."), json.dumps(schema())
    secrets = [one for one in _texts(data) if one in text and one not in known]
    if not secrets:
        return text
    where = re.match(r"[a-z_.]+: ", text)
    is_plain = where is not None and not any(one in where[0] for one in secrets)
    return f"{where[0]}what is there does not fit the rest" if where and is_plain else "its fields contradict each other"


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for key, one in data.items():
            yield from _texts(one)
            if dotted(data, (key,)) != key:
                yield key
    elif isinstance(data, list):
        for one in data:
            yield from _texts(one)


# -- what is wrong, in our words -------------------------------------------------------------------------------

_TYPES = {
    "string": "text",
    "object": "an object",
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "null",
}
#: YAML reads {key} without quotes as an object of one key without a value.
_IN_QUOTES = " (quote a text that begins with {)"
_MEANS = {text.pattern: text.means for text in (*TEXTS.values(), *KEYS.values(), CODE)}


def _errors(data: Any) -> list[Any]:
    found = itertools.islice(_validator().iter_errors(data), _MOST_ERRORS)
    return sorted(found, key=_order)


def _order(error: Any) -> tuple[list[str], str]:
    """Return what errors are sorted by: the field, and the items of a list by their number."""
    return [f"{step:09}" if isinstance(step, int) else step for step in error.absolute_path], error.validator


def _told(data: Any, error: Any) -> str:
    """Return an error of the validator in words that repeat no value: which field, and what it may be."""
    while error.validator == "anyOf":
        other_types = [one for one in error.context if one.validator == "type" and not one.relative_path]
        if len(other_types) == len(error.context):  # else what is wrong with it as that one of the types which it is of
            allowed = " or ".join(map(_allowed, other_types))
            return f"{dotted(data, error.absolute_path)}: must be {allowed}"
        error = next(one for one in error.context if one not in other_types)
    where = dotted(data, error.absolute_path) or "the description"
    if "propertyNames" in error.absolute_schema_path:
        return f"{where}: each key must be {_allowed(error)}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{where}: needs {', '.join(missing)}"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = [name for name in error.instance if name not in known]
        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{where}: has an unknown field{hint}; allowed are {', '.join(known)}"
    return f"{where}: must be {_allowed(error)}"


def _allowed(error: Any) -> str:
    value = error.validator_value
    if error.validator == "type":
        is_auth = list(error.absolute_path)[:-1] == ["auth"]
        is_braces = value == "string" and isinstance(error.instance, Mapping) and list(error.instance.values()) == [None]
        return _TYPES[value] + (" of header and value" if is_auth else _IN_QUOTES if is_braces else "")
    if error.validator == "enum":
        return f"one of {', '.join(map(str, value))}"
    if error.validator == "pattern":
        return next((means for pattern, means in _MEANS.items() if f"({pattern})" in value), "another text")
    words = {
        "minLength": "text of at least {} character",
        "maxLength": "text of at most {} characters",
        "minItems": "a list of at least {}",
        "maxItems": "a list of at most {}",
        "minProperties": "an object of at least {} entry",
        "maxProperties": "an object of at most {} entries",
        "minimum": "a number from {:,g}",
        "maximum": "a number up to {:,g}",
    }
    return words[error.validator].format(value) if error.validator in words else "something else"
