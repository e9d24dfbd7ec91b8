"""What Airflow cannot carry in an XCom, held against Airflow's own way of carrying it."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace
from typing import Any

import airflow
import pytest

from airflow_provider_docstatus.protocol.storable import MOST_LEVELS, RESERVED_KEYS, fault_of

IS_2 = airflow.__version__.startswith("2.")


def nested(levels: int, kind: type = list) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


def in_a_list_of_requests(data: Any) -> Any:
    """Return the XCom that puts the most levels around the data."""
    return {"items": {"r-1": {"items": {"d-1": data}, "errors": {}}}, "errors": {}}


def carried(value: Any) -> Any:
    """Return what the next task gets of an XCom: from the worker to the database and back."""
    return carried_by_2(value) if IS_2 else carried_by_3(value)


def carried_by_2(value: Any) -> Any:
    from airflow.models.xcom import BaseXCom

    stored = BaseXCom.serialize_value(value)
    return BaseXCom.deserialize_value(SimpleNamespace(value=stored))  # it reads the value only


def carried_by_3(value: Any) -> Any:
    """Go the way of Airflow 3: serializer, channel to the supervisor, its HTTP request, API server; and the same way back."""
    import httpx
    from airflow.sdk.execution_time import comms
    from airflow.sdk.execution_time.xcom import BaseXCom
    from pydantic import JsonValue, TypeAdapter

    def channel(message: Any) -> Any:
        kind = TypeAdapter(type(message))
        if not hasattr(comms, "_RequestFrame"):  # 3.0 sends JSON
            return kind.validate_json(message.model_dump_json())
        import msgspec

        return kind.validate_python(msgspec.msgpack.decode(msgspec.msgpack.encode(message.model_dump())))

    whose = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    sent = channel(comms.SetXCom(key="k", value=BaseXCom.serialize_value(value), **whose))
    body = httpx.Request("POST", "http://localhost", json=sent.value).content
    stored = json.dumps(TypeAdapter(JsonValue).validate_python(json.loads(body)))
    answer = comms.XComResult(key="k", value=json.loads(stored)).model_dump_json()
    return BaseXCom.deserialize_value(channel(comms.XComResult.model_validate_json(answer)))


GOOD = {
    "null": {"a": None},
    "bool": True,
    "0": 0,
    "the least": -(2**63),
    "the most": 2**64 - 1,
    "float": 1.5,
    "a large float": 1.8e19,
    "small floats": [5e-324, -0.1],
    "no text": "",
    "text": "Grüße 😀 \x07\x7f\ufffe\uffff",
    "no list": [],
    "no dict": {},
    "no key": {"": 1},
    "keys that Airflow uses but does not mind": {"__version__": 1, "__data__": 2, "__cache__": 3, "__source": 4, "id": 5},
    "half of an old form": {"a": {"__type": "dict"}, "b": {"__var": {"c": 1}}},
    "lists": nested(MOST_LEVELS),
    "dicts": nested(MOST_LEVELS, dict),
    "much": {"a": [{"b": [1, "x", None]}] * 100},
}
BAD = {
    "nan": (float("nan"), "a number that is not finite (NaN or Infinity) at the top"),
    "infinity": ({"a": [1, math.inf]}, "a number that is not finite (NaN or Infinity) at a[1]"),
    "-infinity": ({"a": -math.inf}, "a number that is not finite (NaN or Infinity) at a"),
    "too large a float": (json.loads('{"a": 1e999}'), "a number that is not finite (NaN or Infinity) at a"),
    "23 digits": ({"total": 10**22 + 1}, "a number of more than 64 bits at total"),
    "2**64": ({"total": 2**64}, "a number of more than 64 bits at total"),
    "1e20": ({"total": [1e20]}, "a number of more than 64 bits at total[0]"),
    "-1e19": ({"total": -1e19}, "a number of more than 64 bits at total"),
    "less than the least": ({"total": -(2**63) - 1}, "a number of more than 64 bits at total"),
    "high surrogate": (["\ud83d"], "half of a surrogate pair, which is no character, at [0]"),
    "low surrogate": ("Grüße \ude00", "half of a surrogate pair, which is no character, at the top"),
    "surrogate in a key": ({"a": {"\ud83d": 1}}, "half of a surrogate pair, which is no character, at a.*"),
    "NUL": ({"a": "x\0y"}, "a NUL character, which PostgreSQL refuses, at a"),
    "NUL in a key": ({"a\0b": 1}, "a NUL character, which PostgreSQL refuses, at *"),
    "id": ({"rows": [{"__id__": 1}]}, "a key that Airflow reserves for itself at rows[0].__id__"),
    "class name": ({"__classname__": "a"}, "a key that Airflow reserves for itself at __classname__"),
    "an object": ({"a": {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1]}}, "a key that Airflow reserves"),
    "an old form": (
        {"a": {"__type": "dict", "__var": {"b": 1}}},
        "keys that Airflow reserves for itself (__type and __var) at a",
    ),
    "200 levels": (nested(200), f"more than {MOST_LEVELS} levels of lists and objects at [0][0]"),
    "300 levels": ({"x": nested(300)}, f"more than {MOST_LEVELS} levels of lists and objects at x[0]"),
    "900 levels": (nested(900, dict), f"more than {MOST_LEVELS} levels of lists and objects at a.a"),
    "100,000 levels": (nested(100_000), f"more than {MOST_LEVELS} levels of lists and objects at [0]"),
}
#: What is refused on all versions, since others do not carry it: only PostgreSQL refuses NUL and makes a whole number of a large
#: float, 3.0 sends numbers as JSON, and 2.11 stores nearly all as text.
CARRIED_HERE = {"NUL", "NUL in a key", "1e20", "-1e19"}
if airflow.__version__.startswith("3.0"):
    CARRIED_HERE |= {"23 digits", "2**64", "less than the least"}
if IS_2:
    CARRIED_HERE |= BAD.keys() - {"an object", "an old form", "900 levels", "100,000 levels", "nan"}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_what_passes_comes_to_the_next_task_unchanged(data):
    assert fault_of(data) is None
    assert carried(data) == data
    assert carried(in_a_list_of_requests(data)) == in_a_list_of_requests(data)


@pytest.mark.parametrize(("data", "fault"), BAD.values(), ids=BAD)
def test_what_airflow_cannot_carry_is_named_with_its_place(data, fault):
    assert str(fault_of(data)).startswith(fault)
    assert len(str(fault_of(data))) < 300


@pytest.mark.parametrize("name", sorted(BAD.keys() - CARRIED_HERE))
def test_what_is_refused_does_not_come_to_the_next_task(name):
    data = in_a_list_of_requests(BAD[name][0])
    try:
        got = carried(data)
    except Exception:  # noqa: BLE001 -- each fault has a traceback of its own
        return
    assert got != data


def test_one_level_more_than_what_passes_is_refused():
    for kind in (list, dict):
        assert fault_of(nested(MOST_LEVELS, kind)) is None
        assert fault_of(nested(MOST_LEVELS + 1, kind)) is not None
    assert MOST_LEVELS + 4 <= 100, "MySQL stores 100 levels, and a list of requests has four around the data"


def test_levels_are_counted_without_recursion():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        assert fault_of(nested(5_000)) is not None
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("key", sorted(RESERVED_KEYS))
def test_a_reserved_key_is_refused(key):
    assert fault_of({"a": {key: 1}}) == f"a key that Airflow reserves for itself at a.{key}"


def test_a_value_and_a_key_that_may_be_text_are_not_repeated():
    fault = str(fault_of({"k" * 100: {"v": "secret\0"}}))
    assert "secret" not in fault
    assert "k" * 40 in fault
    assert "k" * 41 not in fault
    bad = {"line-items": [{"Jane Doe": {"123-45-6789": {"Größe": math.nan}}}]}
    assert str(fault_of(bad)).endswith(" at line-items[0].*.*.Größe")
