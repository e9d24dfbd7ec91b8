"""What Airflow cannot carry is found where it stands, takes a form that it can carry, and is read back exactly."""

from __future__ import annotations

import base64
import json
import math
import sys
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.carriable import carriable, read_back
from airflow_provider_docstatus.exceptions import ResultNotStorable
from airflow_provider_docstatus.protocol.exact import MOST_LEVELS_OF_JSON
from airflow_provider_docstatus.protocol.storable import (
    BYTES_KEY,
    JSON_KEY,
    MOST_FINDINGS,
    MOST_LEVELS,
    RESERVED_KEYS,
    fault_of,
    findings,
    read_data,
    row_ready,
    shown_path,
)
from tests.shapes import AS_BASE64, AS_IT_IS, AS_TEXT, NOT_AT_ALL, is_same, nested

TEXTS = {name: data for name, (data, _) in AS_TEXT.items()}
IN_ROWS_TOO = {"NaN", "Infinity", "-Infinity", "our own key", "our own form"}

#: The same examples on every run and every machine.
some = settings(max_examples=200, derandomize=True, deadline=None, database=None)
KEYS = st.one_of(
    st.text(max_size=3), st.sampled_from([*RESERVED_KEYS, "__type", "__var", JSON_KEY, BYTES_KEY, "items", "errors", "\ud800"])
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**64, 2**64 - 1, -(2**63) - 1, 10**30]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["\0", "\udfff", "\ud83d"]),
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


def stored(data: Any) -> Any:
    """Return what a strict reader and writer of JSON makes of data, as it is in UTF-8."""
    return json.loads(json.dumps(data, allow_nan=False, ensure_ascii=False).encode())


# -- what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", AS_IT_IS.values(), ids=AS_IT_IS)
def test_what_airflow_carries_stays_the_same_object(data):
    assert fault_of(data) is None
    assert findings(data) == []
    assert carriable(data) is data
    assert carriable(data, id="a") is data
    assert row_ready(data) is data


@pytest.mark.parametrize(("data", "fault"), AS_TEXT.values(), ids=AS_TEXT)
def test_what_airflow_cannot_carry_is_named_with_its_place(data, fault):
    assert str(fault_of(data)).startswith(fault)
    assert len(str(fault_of(data))) < 300


@pytest.mark.parametrize(("body", "fault"), NOT_AT_ALL.values(), ids=NOT_AT_ALL)
@pytest.mark.parametrize("form", [carriable, row_ready])
def test_what_nothing_carries_is_a_final_error_with_id_and_place_and_no_content(body, fault, form):
    with pytest.raises(ResultNotStorable) as raised:
        form(read_data(body, id="doc-1", service="unsiloed"), id="doc-1", service="unsiloed")
    assert f"The extracted data of doc-1 has {fault}" in str(raised.value)
    assert "999" not in str(raised.value)
    assert (raised.value.id, raised.value.service) == ("doc-1", "unsiloed")
    assert len(str(raised.value)) < 500


def test_an_integer_that_the_program_itself_made_too_long_is_named_too():
    with pytest.raises(ResultNotStorable, match=r"a number that Python cannot hold .* at a"):
        carriable({"a": -(10**4300)})


def test_what_has_a_form_does_not_hide_what_has_none():
    with pytest.raises(ResultNotStorable, match="an object that holds a key twice at c"):
        carriable(read_data(b'{"a": NaN, "b": "\\u0000", "c": {"x": 1, "x": 1}, "d": NaN}', id=None, service=None))


def test_one_level_more_than_what_passes_is_carried_as_text():
    for kind in (list, dict):
        assert fault_of(nested(MOST_LEVELS, kind)) is None
        assert fault_of(nested(MOST_LEVELS + 1, kind)) is not None
        assert carriable(nested(MOST_LEVELS, kind)) == nested(MOST_LEVELS, kind)
        assert carriable(nested(MOST_LEVELS + 1, kind)).keys() == {JSON_KEY}
    assert MOST_LEVELS + 4 <= 100, "MySQL stores 100 levels, and a list of requests has four around the data"
    innermost: Any = []
    for _ in range(MOST_LEVELS):
        innermost = [innermost]
    assert fault_of(innermost) is not None, "an empty list is a level too"


def test_levels_are_counted_without_recursion():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        assert fault_of(nested(5_000)) is not None
        assert [what for _, what in findings(nested(5_000))] == [
            f"more than {most} levels of lists and objects" for most in (MOST_LEVELS, MOST_LEVELS_OF_JSON)
        ]
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("key", sorted(RESERVED_KEYS))
def test_a_reserved_key_is_found(key):
    assert fault_of({"a": {key: 1}}) == f"a key that Airflow reserves for itself at a.{key}"


def test_reserved_keys_are_found_together_after_each_was_seen_alone():
    data = [{"__type": 1}, {"__var": 2}, {"__type": 1, "__var": 2}]
    assert str(fault_of(data)).endswith("at [2]")
    assert carriable(data).keys() == {JSON_KEY}


def test_a_value_and_a_key_that_may_be_text_are_not_repeated():
    fault = str(fault_of({"k" * 100: {"v": "secret\0"}}))
    assert "secret" not in fault
    assert "k" * 40 in fault
    assert "k" * 41 not in fault
    bad = {"line-items": [{"Jane Doe": {"123-45-6789": {"Größe": math.nan}}}]}
    assert str(fault_of(bad)).endswith(" at line-items[0].*.*.Größe")
    assert shown_path([]) == "the top"
    assert len(shown_path(["a"] * 500)) == 201


def test_findings_are_named_in_the_order_of_the_data_and_are_not_too_many():
    found = findings({"a": [math.nan, 1, {"__id__": "\0"}], "b": 2**64})
    assert found == [
        ("a[0]", "a number that is not finite (NaN or Infinity)"),
        ("a[2].__id__", "a key that Airflow reserves for itself"),
        ("a[2].__id__", "a NUL character, which PostgreSQL refuses"),
        ("b", "a number of more than 64 bits"),
    ]
    assert len(findings([math.nan] * 1000)) == MOST_FINDINGS
    assert findings(b"PK") == [("the top", "bytes, which are no JSON")]
    assert findings(read_data(b'{"a": 1, "a": 2, "b": 1e400}', id=None, service=None)) == [
        ("the top", "an object that holds a key twice"),
        ("b", "a number that Python cannot hold (1e400, or more than 4,300 digits)"),
    ]


# -- the forms, and the way back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS)
def test_other_json_takes_text_that_the_json_module_reads_back(data):
    form = carriable(data, id="a")
    ((key, text),) = form.items()
    assert key == JSON_KEY
    assert text.isascii()
    assert "\0" not in text
    assert is_same(json.loads(text), data)
    assert fault_of({"x": text}) is None
    assert is_same(read_back(stored(form)), data)


@pytest.mark.parametrize("data", AS_BASE64.values(), ids=AS_BASE64)
@pytest.mark.parametrize("form", [carriable, row_ready])
def test_bytes_take_base64(data, form):
    assert form(data) == {BYTES_KEY: base64.b64encode(data).decode()}
    assert read_back(stored(form(data))) == data


@pytest.mark.parametrize("name", TEXTS)
def test_in_a_row_of_a_file_only_what_is_no_json_takes_another_form(name):
    data = TEXTS[name]
    row = row_ready(data, id="a")
    if name in IN_ROWS_TOO:
        assert row.keys() == {JSON_KEY}
    else:
        assert row is data
    line = json.dumps({"id": "a", "data": row}, allow_nan=False).encode()
    assert is_same(read_back(json.loads(line)), {"id": "a", "data": data})


@some
@given(JSON)
def test_whatever_json_comes_it_is_read_back_exactly(data):
    assert is_same(read_back(stored(carriable(data, id="a"))), data)
    assert is_same(read_back(stored({"items": {"a": carriable(data, id="a")}})), {"items": {"a": data}})
    assert is_same(read_back(stored(carriable(data))), data)
    assert is_same(read_back(json.loads(json.dumps(row_ready(data), allow_nan=False))), data)


@some
@given(JSON)
def test_what_is_found_quickly_is_what_is_found_place_by_place(data):
    assert (carriable(data, id="a") is data) == (fault_of(data) is None) == (findings(data) == [])
    form = carriable(data, id="a")
    assert fault_of(form) is None or form.keys() == {JSON_KEY}


def test_a_form_within_text_stays_text():
    inner = carriable({"a": math.nan}, id="a")
    assert read_back(carriable(inner, id="a")) == inner


def test_an_object_that_only_looks_like_a_form_is_left_alone():
    for data in ({JSON_KEY: 1}, {BYTES_KEY: None}, {JSON_KEY: "1", "a": 2}):
        assert read_back(data) == data
        assert read_back(carriable(data, id="a")) == data


# -- several ids, and what is no JSON ----------------------------------------------------------------------------------


def test_of_several_ids_each_takes_its_own_form_and_one_without_any_moves_to_the_errors():
    double = read_data(b'{"x": [{"b": "secret", "b": 2}]}', id=None, service=None)
    fine = {"t": 1}
    data = {"items": {"a": fine, "b": {"t": math.inf}, "c": b"PK", "d": double}, "errors": {"e": "no such page"}}
    form = carriable(data)
    assert form["items"] == {"a": fine, "b": {JSON_KEY: '{"t":Infinity}'}, "c": {BYTES_KEY: "UEs="}}
    assert form["items"]["a"] is fine
    assert form["errors"].keys() == {"d", "e"}
    assert "data of d has an object that holds a key twice at x[0]." in form["errors"]["d"]
    assert "secret" not in form["errors"]["d"]
    assert data["errors"] == {"e": "no such page"}, "what came in stays as it was"
    assert read_back(stored(form))["items"] == {"a": fine, "b": {"t": math.inf}, "c": b"PK"}


def test_of_several_ids_the_error_of_the_last_is_raised_if_none_has_a_form():
    double = read_data(b'{"b": 1, "b": 2}', id=None, service=None)
    with pytest.raises(ResultNotStorable, match="data of a has"):
        carriable({"items": {"a": double}, "errors": {"e": "no such page"}})


def test_several_ids_that_need_no_form_stay_the_same_object():
    data = {"items": {"a": {"t": 1}}, "errors": {"e": "no such page"}}
    assert carriable(data) is data


NOT_JSON = {
    "a tuple": ({"a": (1, 2)}, "A value of type tuple at a is not JSON"),
    "a date": ([date(2026, 1, 1)], r"A value of type date at \[0\] is not JSON"),
    "bytes within": ({"a": [b"x"]}, r"A value of type bytes at a\[0\] is not JSON"),
    "a key that is no text": ({"a": {1: 2}}, "A key of type int at a is not JSON"),
}


@pytest.mark.parametrize(("data", "text"), NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("form", [carriable, row_ready, findings])
def test_what_is_no_json_is_a_mistake_of_the_program(data, text, form):
    with pytest.raises(TypeError, match=text):
        form(data)
