"""Data is read as the json module reads it, and what Python's reading loses is marked."""

from __future__ import annotations

import json
import math
import pickle
import sys

import pytest

from airflow_provider_docstatus.protocol.exact import (
    MOST_LEVELS_OF_JSON,
    DoubleKeys,
    HugeNumber,
    TooDeep,
    read_exactly,
    read_plainly,
)

PLAIN = [
    b'{"a": [1, -2.5, 1e3, true, false, null, "\\u00e9\\ud83d"], "b": {}}',
    b"\xef\xbb\xbf[1]",
    "[1]".encode("utf-16"),
    b'"text"',
    b"18446744073709551616",
    b"1e308",
    b"1e-400",
    b'{"a": 1, "b": {"a": 2}}',
]


@pytest.mark.parametrize("body", PLAIN, ids=range(len(PLAIN)))
def test_what_python_can_hold_is_read_as_the_json_module_reads_it(body):
    assert read_exactly(body) == read_plainly(body) == json.loads(body)
    assert json.dumps(read_exactly(body)) == json.dumps(json.loads(body))


def test_nan_and_infinity_that_the_vendor_names_are_those_of_python():
    nan, *infinite = read_exactly(b"[NaN, Infinity, -Infinity]")
    assert math.isnan(nan)
    assert infinite == [math.inf, -math.inf]
    assert {type(one) for one in (nan, *infinite)} == {float}


HUGE = {"exponent": "1e400", "negative": "-1E+999", "400 digits": "9" * 400 + ".5", "5000 digits": "-" + "8" * 5000}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_a_number_that_python_cannot_hold_keeps_its_text(text):
    number = read_exactly(f'{{"a": [1, {text}]}}'.encode())["a"][1]
    assert read_plainly(f'{{"a": [1, {text}]}}'.encode())["a"][1] == number
    assert isinstance(number, HugeNumber)
    assert number.text == text
    assert number == (-math.inf if text.startswith("-") else math.inf)
    assert pickle.loads(pickle.dumps(number)).text == text


def test_beside_a_number_of_too_many_digits_all_else_is_marked_as_well():
    found = read_exactly(b'{"a": ' + b"9" * 5000 + b', "b": 1e400, "c": 1, "c": 2, "d": 12}')
    assert isinstance(found, DoubleKeys)
    assert (found["c"], found["d"]) == (2, 12)
    assert isinstance(found["b"], HugeNumber)


def test_a_key_that_stands_twice_is_marked_and_the_last_value_is_read():
    found = read_exactly(b'[{"a": 1, "b": 2, "a": 3, "c": 4, "c": 5}, {"a": 1}]')
    assert found == [{"a": 3, "b": 2, "c": 5}, {"a": 1}]
    assert found[0].doubled == {"a", "c"}
    assert type(found[1]) is dict
    assert pickle.loads(pickle.dumps(found[0])).doubled == {"a", "c"}


NOT_JSON = {
    "none": b"",
    "cut": b"{",
    "more": b"[1] x",
    "quotes": b"{'a': 1}",
    "bytes": b'"\xff"',
    "digits": b'{"a": ' + b"9" * 5000,
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_is_refused_as_by_the_json_module(body):
    for read in (read_exactly, read_plainly):
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            read(body)


def test_the_place_of_too_many_levels_is_found():
    deep = '{"x, [": ' * (MOST_LEVELS_OF_JSON - 2) + '{"\\u0061": ["s\\"]", [' + "[" * 100_000
    body = f'{{"first": [[], {{"b": 1}}, 2], "lines": [0, {deep}'.encode()
    with pytest.raises(TooDeep, match="more levels of lists and objects than can be read") as raised:
        read_exactly(body)
    path = raised.value.path
    assert len(path) == MOST_LEVELS_OF_JSON
    assert path[:4] == ("lines", 1, "x, [", "x, [")
    assert path[4:] == ("x, [",) * (MOST_LEVELS_OF_JSON - 4)


def test_the_place_names_keys_as_they_are_read():
    deep = '{"\\u0061": ["]", [0, {"b": "\\"", "c": ' + "[" * 100_000
    with pytest.raises(TooDeep) as raised:
        read_exactly(deep.encode())
    assert raised.value.path[:6] == ("a", 1, 1, "c", 0, 0)


def test_the_place_is_unknown_where_the_program_around_took_the_frames():
    limit = sys.getrecursionlimit()
    body = b"[" * (MOST_LEVELS_OF_JSON - 1)
    sys.setrecursionlimit(300)
    try:
        with pytest.raises(TooDeep) as raised:
            read_exactly(body)
    except ValueError as error:  # Python 3.12 counts levels apart from frames
        assert isinstance(error, json.JSONDecodeError)  # noqa: PT017 -- either way is right
        return
    finally:
        sys.setrecursionlimit(limit)
    assert raised.value.path == ()
