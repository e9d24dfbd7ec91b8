"""What Airflow cannot carry in an XCom, held against Airflow's own serializers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from airflow_provider_docstatus.protocol.storable import MOST_LEVELS, RESERVED_KEYS, fault_of

try:
    from airflow.sdk.serde import deserialize, serialize
except ImportError:  # 3.1 and earlier
    from airflow.serialization.serde import deserialize, serialize


def nested(levels: int, kind: type = list) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


GOOD = [
    None,
    True,
    0,
    -(2**63),
    2**63 - 1,
    1.5,
    1e300,
    "",
    "Grüße 😀",
    [],
    {},
    {"__version__": 1, "__data__": 2, "_id": 3, "id": 4},
    nested(MOST_LEVELS),
    nested(MOST_LEVELS, dict),
    {"a": [{"b": [1, "x", None]}] * 100},
]
BAD = [
    (float("nan"), "a number that is not finite (NaN or Infinity) at the top"),
    ({"a": [1, math.inf]}, "a number that is not finite (NaN or Infinity) at a[1]"),
    ({"a": -math.inf}, "a number that is not finite (NaN or Infinity) at a"),
    ({"total": 10**23}, "a whole number that does not fit 64 bits at total"),
    ({"total": -(2**63) - 1}, "a whole number that does not fit 64 bits at total"),
    (["\ud83d"], "half of a surrogate pair, which is no character, at [0]"),
    ({"a": "x\0y"}, "a NUL character, which PostgreSQL refuses, at a"),
    ({"a\0b": 1}, "a NUL character, which PostgreSQL refuses, at a\ufffdb"),
    ({"rows": [{"__id__": 1}]}, "a key that Airflow reserves for itself at rows[0].__id__"),
    ({"x": nested(300)}, "more than 200 levels of lists and objects at x[0]"),
    (nested(900, dict), "more than 200 levels of lists and objects at a.a"),
    (nested(100_000), "more than 200 levels of lists and objects at [0]"),
]


@pytest.mark.parametrize("data", GOOD, ids=lambda data: str(data)[:20])
def test_what_passes_goes_through_airflows_serializers_unchanged(data):
    assert fault_of(data) is None
    assert deserialize(json.loads(json.dumps(serialize(data), allow_nan=False))) == data


@pytest.mark.parametrize(("data", "fault"), BAD, ids=lambda one: str(one)[:20] if isinstance(one, str) else None)
def test_what_airflow_cannot_carry_is_named_with_its_place(data, fault):
    assert str(fault_of(data)).startswith(fault)
    assert len(str(fault_of(data))) < 300


@pytest.mark.parametrize("key", sorted(RESERVED_KEYS))
def test_a_reserved_key_is_refused(key):
    assert fault_of({"a": {key: 1}}) == f"a key that Airflow reserves for itself at a.{key}"


@pytest.mark.parametrize("data", [{"__id__": 1}, {"__classname__": "a"}, nested(900)], ids=["id", "class name", "levels"])
def test_airflows_serializers_refuse_it(data):
    with pytest.raises((AttributeError, RecursionError)):
        json.dumps(serialize(data))


def test_a_long_key_and_a_value_are_not_repeated():
    fault = str(fault_of({"k" * 100: {"v": "secret\0"}}))
    assert "secret" not in fault
    assert "k" * 40 in fault
    assert "k" * 41 not in fault
