"""A schema is checked early, fetches nothing, and tells places and rules but never a value."""

from __future__ import annotations

import json
import socket
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.quality.schema import Schema

MARK = "Zq7-Jane-Doe"
INVOICE: dict[str, Any] = {
    "type": "object",
    "required": ["invoice_no", "items"],
    "properties": {
        "invoice_no": {"type": "string", "pattern": "^INV-"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
    },
    "$defs": {"item": {"type": "object", "required": ["total"], "properties": {"total": {"type": "number", "minimum": 0}}}},
}


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        ({"invoice_no": "INV-1", "items": [{"total": 1}]}, []),
        ({}, ["invoice_no: required", "items: required"]),
        ({"invoice_no": MARK, "items": []}, ["invoice_no: pattern"]),
        ({"invoice_no": "INV-1", "items": [{"total": 1}, {"total": MARK}]}, ["items[1].total: type"]),
        ({"invoice_no": "INV-1", "items": [{}, {"total": -1}]}, ["items[0].total: required", "items[1].total: minimum"]),
        ([MARK], ["(the top): type"]),
        (MARK, ["(the top): type"]),
        (None, ["(the top): type"]),
        (b"PK\x03\x04", ["(the top): a file that is not JSON"]),
        ({"invoice_no": "INV-1", "items": [{"total": float("nan")}, {"total": 10**400}]}, []),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_places_and_rules_are_told(data, errors):
    assert sorted(Schema.of(INVOICE).errors(data)) == sorted(errors)


def test_at_most_twenty_are_told():
    told = Schema.of(INVOICE).errors({"invoice_no": "INV-1", "items": [{"total": MARK}] * 1000})
    assert len(told) == 20
    assert MARK not in str(told)


def test_keys_are_cut_and_cleaned():
    schema = {"additionalProperties": {"type": "number"}}
    (told,) = Schema.of(schema).errors({"k" * 500 + "\n\x1b[31m": MARK})
    assert told == "k" * 100 + ": type"
    (told,) = Schema.of(schema).errors({"a\nb\x00\ud800": MARK})
    assert told == "ab: type"


values = st.recursive(
    st.sampled_from([MARK, 70314159, -70314159, 7.0314159, True, None]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from("abc"), inside, max_size=3),
    max_leaves=8,
)
RULES: list[dict[str, Any]] = [
    {"type": "boolean"},
    {"const": 1},
    {"enum": [1, 2]},
    {"not": {}},
    {"anyOf": [{"type": "array"}, {"const": 3}]},
    {"oneOf": [{}, {}]},
    {"maxLength": 1, "minimum": 9e9, "maxItems": 0, "maxProperties": 0, "uniqueItems": True, "multipleOf": 0.3},
    {"propertyNames": {"pattern": "^z"}, "contains": {"const": 1}, "minContains": 1},
    {"additionalProperties": False, "unevaluatedItems": False, "dependentRequired": {"a": ["z"]}},
    {"if": {"type": "object"}, "then": False, "else": {"type": "boolean"}},
    {"items": {"items": {"type": "boolean"}}, "prefixItems": [False], "patternProperties": {"a": {"format": "date"}}},
]


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(values, st.sampled_from(RULES))
def test_no_value_is_told_whatever_rule_it_breaks(data, rule):
    told = " ".join(Schema.of(rule).errors(data))
    assert not any(mark in told for mark in (MARK, "0314159", "True", "None"))


def test_deep_data_ends_the_check_and_not_the_task():
    deep: Any = {}
    for _ in range(20_000):
        deep = {"a": deep}
    assert Schema.of({"additionalProperties": {"$ref": "#"}}).errors(deep) == ["more levels than can be checked"]
    assert Schema.of({"$ref": "#"}).errors({}) == ["more levels than can be checked"]


def test_a_number_that_no_float_holds_is_told():
    told = Schema.of({"multipleOf": 0.5}).errors(10**400)
    assert told in (["a number that cannot be checked"], ["(the top): multipleOf"])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**5000], ids=["nan", "infinity", "5000 digits"])
@pytest.mark.parametrize("rule", [{"multipleOf": 0.5}, {"multipleOf": 3}, {"maximum": 3}, {"type": "null"}], ids=str)
def test_a_number_that_python_cannot_judge_is_an_error_and_no_crash(rule, number):
    assert all(isinstance(told, str) for told in Schema.of(rule).errors(number))


def test_it_may_be_a_file(tmp_path):
    file = tmp_path / "invoice.json"
    file.write_text(json.dumps(INVOICE))
    for path in (file, str(file)):
        assert Schema.of(path).errors({"items": []}) == ["invoice_no: required"]


@pytest.mark.parametrize("draft", ["http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-04/schema#"])
def test_older_drafts_are_known(draft):
    schema = {"$schema": draft, "definitions": {"no": {"type": "number"}}, "properties": {"a": {"$ref": "#/definitions/no"}}}
    assert Schema.of(schema).errors({"a": "x"}) == ["a: type"]


def test_references_inside_are_followed():
    schema = {
        "$id": "https://example.com/invoice",
        "$defs": {"total": {"$id": "total", "$anchor": "t", "type": "number"}, "tree": {"items": {"$ref": "#/$defs/tree"}}},
        "properties": {
            "a": {"$ref": "total"},
            "b": {"$ref": "https://example.com/total#t"},
            "c": {"$ref": "#/$defs/tree"},
            "$ref": {"type": "number"},
        },
        "components": {"x": {"type": "number"}},
        "additionalProperties": {"$ref": "#/components/x"},
        "default": {"$ref": "https://example.com/only-a-value"},
    }
    told = Schema.of(schema).errors({"a": "x", "b": "x", "c": [[]], "$ref": "x", "d": "x"})
    assert sorted(told) == ["['$ref']: type", "a: type", "b: type", "d: type"]


REMOTE = "http://127.0.0.1:9/schema.json"
BAD: dict[str, tuple[Any, str]] = {
    "a remote reference": ({"$ref": REMOTE}, r"\$ref 'http://127.*cannot be followed.*nothing is fetched"),
    "one deep inside": (
        {"$defs": {"a": {"prefixItems": [True, {"not": {"$ref": REMOTE}}]}}},
        "cannot be followed",
    ),
    "one behind a local one": ({"x": {"items": {"$ref": REMOTE}}, "$ref": "#/x"}, "cannot be followed"),
    "a dynamic one": ({"$dynamicRef": REMOTE}, r"\$dynamicRef"),
    "a file": ({"$ref": "file:///etc/passwd"}, "cannot be followed"),
    "a relative file": ({"$ref": "other.json"}, "cannot be followed"),
    "a local one that is not there": ({"$ref": "#/$defs/nowhere"}, "cannot be followed"),
    "a place that is no schema": (
        {"title": "t", "$ref": "#/title"},
        r"valid JSON Schema: mend \(the top\) in it \(broken rule: type",
    ),
    "a place that is none of this draft": (
        {"x": {"items": {"type": 7}}, "$ref": "#/x"},
        r"valid JSON Schema: mend items\.type in it",
    ),
    "a pointer into a text": ({"title": "t", "$ref": "#/title/x"}, "an .id or .ref cannot be read"),
    "an id that is no URI": ({"$id": "http://[bad", "$ref": "x"}, "an .id or .ref cannot be read"),
    "a draft without a list of required": (
        {"$schema": "http://json-schema.org/draft-03/schema#", "properties": {"a": {"required": True}}},
        "no known draft of JSON Schema from 4 on",
    ),
    "a wrong type": (
        {"properties": {"a": {"type": "nonsense"}}},
        r"valid JSON Schema: mend properties\.a\.type in it \(broken rule: anyOf\)",
    ),
    "a pattern that is none": ({"pattern": "("}, "no regular expression|valid JSON Schema"),
    "keys' patterns": ({"patternProperties": {"(": {}}}, "no regular expression|valid JSON Schema"),
    "an unknown draft": ({"$schema": "https://example.com/mine"}, r"\$schema names no known draft"),
    "a draft that is no text": ({"$schema": 7}, r"\$schema names no known draft"),
    "a number": (7, "require is of type int; give require= a JSON Schema"),
    "a list": ([], "require is of type list"),
    "JSON as text": ('{"type": "object"}', "is a text that is no path"),
    "nothing": (" ", "is a text that is no path"),
    "bytes": (b"x", "require is of type bytes"),
    "no file": ("/nowhere/schema.json", r"'/nowhere/schema.json' cannot be read \(No such file or directory\)"),
    "a directory": ("/", "cannot be read"),
}


@pytest.mark.parametrize(("require", "why"), BAD.values(), ids=list(BAD))
def test_a_bad_schema_is_refused_with_what_to_do(require, why, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("something was fetched"))
    with pytest.raises(RequestRejected, match=why):
        Schema.of(require)


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "is no JSON"), ("[" * 100_000, "is no JSON"), ("[]", "holds a list, not an object"), ("", "no JSON")],
)
def test_a_bad_file_is_refused_with_what_to_do(tmp_path, text, why):
    file = Path(tmp_path / "schema.json")
    file.write_text(text)
    with pytest.raises(RequestRejected, match=why):
        Schema.of(file)


@pytest.mark.parametrize("missing", ["jsonschema", "referencing"], ids=["none", "older than 4.18"])
def test_without_jsonschema_the_error_names_it(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(RequestRejected, match=r"needs jsonschema from version 4\.18 on.*pip install 'jsonschema>=4\.18'"):
        Schema.of({})


def test_the_author_s_own_schema_is_not_changed():
    schema = {"$defs": {"a": {"type": "number"}}, "$ref": "#/$defs/a"}
    before = json.dumps(schema)
    Schema.of(schema).errors("x")
    assert json.dumps(schema) == before


def test_a_large_document_is_checked_in_little_more_memory():
    schema, data = Schema.of(INVOICE), {"invoice_no": "INV-1", "items": [{"total": n} for n in range(20_000)]}
    tracemalloc.start()
    try:
        assert schema.errors(data) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000
