"""Every shape goes through Airflow's own XComs on a real PostgreSQL, whose JSON refuses NUL and knows no floats."""

from __future__ import annotations

from pathlib import Path

import airflow
import pytest

from tests.ha.servers import postgresql
from tests.round_trip import came_back
from tests.shapes import AS_BASE64, AS_IT_IS, AS_TEXT

#: SQLite changes numbers that are alone, MySQL has the fewest levels, and our own keys are for us to read.
CARRIED_HERE = {"2**63 alone", "3.0 alone", "97 levels", "our own key", "our own form"}
if airflow.__version__.startswith("2."):  # it stores text, and not in a JSON column
    CARRIED_HERE = AS_TEXT.keys() - {"__classname__", "an object", "__type and __var", "500 levels"}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What came back of every shape: as it is, that in a list of requests, in its carriable form, that in a list."""
    home: Path = tmp_path_factory.mktemp("airflow")
    with postgresql() as database:
        return came_back(database, home)


def test_what_is_carried_as_it_is_comes_back_the_same(outcomes):
    assert {name for name in AS_IT_IS if outcomes[name] != ["same"] * 4} == set()


def test_what_has_a_form_comes_back_the_same_in_it(outcomes):
    assert {name for name in (*AS_TEXT, *AS_BASE64) if outcomes[name][2:] != ["same"] * 2} == set()


def test_what_has_a_form_does_not_come_back_without_it(outcomes):
    assert {name for name in (*AS_TEXT, *AS_BASE64) if outcomes[name][:2] == ["same"] * 2} == CARRIED_HERE
