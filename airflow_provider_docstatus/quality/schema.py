"""
Hold data to a JSON Schema, and say which rules it breaks without showing any of it.

``jsonschema`` is loaded when it is needed, since not every place where tasks run has it. Nothing is ever fetched: a ``$ref`` must
lead to a place in the same schema.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.confidence import shown_path

#: The most broken rules that are told of one document.
MOST_TOLD = 20
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_PURPOSE = "give require= a JSON Schema: a dict, or the path of a JSON file that each worker can read"


class Schema:
    """
    A JSON Schema that was checked.

    Its work is bounded by the data, but for what its author writes: a ``pattern`` may take very long on a long text, and
    ``uniqueItems`` on a long list. ``format`` is not checked.

    :param contents: the schema.
    :raises RequestRejected: it is no valid schema, or refers to another one (the DAG's author).
    """

    def __init__(self, contents: Mapping[str, Any]) -> None:
        self.contents = dict(contents)
        self._validator = _validator(self.contents)

    @classmethod
    def of(cls, require: Any) -> Schema:
        """
        Return the schema that a task names.

        :param require: the schema (dict), or the path of its file (str or path).
        :raises RequestRejected: it cannot be read, or is no valid schema (the DAG's author).
        """
        return cls(require if isinstance(require, Mapping) else _read(require))

    def errors(self, data: Any) -> list[str]:
        """
        Return the rules that data breaks, with their places, such as ``items[2].total: type``; empty if it breaks none.

        Only paths and rules are told, at most 20, and never a value. A key is cut to 100 characters.
        """
        if isinstance(data, bytes):
            return [f"{shown_path(())}: a file that is not JSON"]
        told: dict[str, None] = {}
        try:
            for error in self._validator.iter_errors(data):
                told |= dict.fromkeys(_told(error))
                if len(told) >= MOST_TOLD:
                    break
        except RecursionError:
            told["more levels than can be checked"] = None
        except (OverflowError, ValueError):  # no number, or none that has a float or a text
            told["a number that cannot be checked"] = None
        return list(told)[:MOST_TOLD]


def _told(error: Any) -> Iterator[str]:
    """Yield an error's places and rule. Its message is not used, since it repeats values."""
    place, rule = list(error.absolute_path), error.validator or "false"
    if rule == "required" and isinstance(error.instance, Mapping):
        for name in error.validator_value:
            if name not in error.instance:
                yield f"{shown_path([*place, name])}: required"
    else:
        yield f"{shown_path(place)}: {rule}"


# -- reading and checking the schema itself --------------------------------------------------------------------


def _read(require: Any) -> Mapping[str, Any]:
    if not isinstance(require, (str, os.PathLike)):
        raise RequestRejected(f"require is of type {type(require).__name__}; {_PURPOSE}.")
    path = os.fspath(require)
    if not isinstance(path, str) or not path.strip() or path.lstrip().startswith(("{", "[")):
        raise RequestRejected(f"require is a text that is no path; {_PURPOSE}.")
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123 -- a path in any form
            contents = json.load(file)
    except OSError as error:
        raise RequestRejected(
            f"require={path!r} cannot be read ({error.strerror or type(error).__name__}); {_PURPOSE}."
        ) from None
    except (ValueError, RecursionError):
        raise RequestRejected(f"require={path!r} is no JSON; {_PURPOSE}.") from None
    if not isinstance(contents, Mapping):
        raise RequestRejected(f"require={path!r} holds a {type(contents).__name__}, not an object; {_PURPOSE}.")
    return contents


def _validator(schema: dict[str, Any]) -> Any:
    """Return what checks data. Raises RequestRejected if the schema is invalid, or ``jsonschema`` is missing or too old."""
    try:
        import jsonschema  # type: ignore[import-untyped]  # noqa: PLC0415 -- loaded when it is needed
        import referencing  # noqa: F401, PLC0415 -- as above
    except ImportError as error:
        missing = f"require= needs jsonschema from version 4.18 on, where the task runs ({type(error).__name__})"
        raise RequestRejected(f"{missing}: pip install 'jsonschema>=4.18'.") from None
    named = schema.get("$schema", jsonschema.Draft202012Validator.META_SCHEMA["$schema"])
    draft = jsonschema.validators.validator_for({"$schema": named}, default=None) if isinstance(named, str) else None
    if draft is None or draft is jsonschema.Draft3Validator:  # its required is no list
        raise RequestRejected("require: $schema names no known draft of JSON Schema from 4 on; leave it out for draft 2020-12.")
    try:
        draft.check_schema(schema)
        return _checked(schema, draft)
    except jsonschema.SchemaError as error:
        raise RequestRejected(
            f"require is no valid JSON Schema: mend {shown_path(error.absolute_path)} in it (broken rule: {error.validator})."
        ) from None
    except RecursionError:
        raise RequestRejected("require is no valid JSON Schema: it has too many levels.") from None
    except ValueError:  # no URI, or a pointer into a text or a list
        raise RequestRejected("require is no valid JSON Schema: an $id or $ref cannot be read.") from None


def _checked(schema: dict[str, Any], draft: Any) -> Any:
    """Return what checks data by a valid schema. Raises SchemaError for a place that only a reference makes a schema."""
    import referencing  # noqa: PLC0415 -- as above
    from referencing.jsonschema import specification_with  # noqa: PLC0415 -- as above

    specification = specification_with(draft.META_SCHEMA["$schema"])
    registry: Any = referencing.Registry()  # it retrieves nothing
    root = specification.create_resource(schema)
    _check_inside(root, registry.resolver_with_root(root), specification, draft, referencing.exceptions.Unresolvable)
    return draft(schema, registry=registry)


def _check_inside(root: Any, resolver: Any, specification: Any, draft: Any, unresolvable: type[Exception]) -> None:
    """Refuse a reference that does not lead to a schema inside the schema, and a pattern that is none."""
    todo, seen = [(root, resolver, False)], set()
    while todo:
        resource, around, is_referred_to = todo.pop()
        contents = resource.contents
        if id(contents) in seen:
            continue
        if is_referred_to:  # it may stand where the draft expects none
            draft.check_schema(contents)
        if not isinstance(contents, Mapping):
            continue
        seen.add(id(contents))
        for name in _REFERENCES:
            if isinstance(reference := contents.get(name), str):
                try:
                    found = around.lookup(reference)
                except unresolvable:
                    text = "a reference must lead to a place in the schema itself, such as #/$defs/total; nothing is fetched"
                    raise RequestRejected(f"require: {name} {reference[:100]!r} cannot be followed: {text}.") from None
                todo.append((specification.create_resource(found.contents), found.resolver, True))
        _check_patterns(contents)
        todo += [(inner, around.in_subresource(inner), False) for inner in resource.subresources()]


def _check_patterns(contents: Mapping[str, Any]) -> None:
    several = contents.get("patternProperties")
    for pattern in (contents.get("pattern"), *(several if isinstance(several, Mapping) else ())):
        if isinstance(pattern, str):
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError):
                raise RequestRejected(f"require: the pattern {pattern[:100]!r} is no regular expression.") from None
