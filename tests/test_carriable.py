"""Every shape goes through Airflow's own XComs on SQLite: pushed, stored, pulled. PostgreSQL's turn is in ``make shapes``."""

from __future__ import annotations

import airflow
import pytest

from tests.round_trip import came_back
from tests.shapes import AS_BASE64, AS_IT_IS, AS_TEXT

#: What takes another form on every version and database, since others do not carry it: only PostgreSQL refuses NUL and makes a
#: whole number of a large float, MySQL has the fewest levels, and our own keys are for us to read.
CARRIED_HERE = {"NUL", "NUL in a key", "1e16", "-1.8e16", "1e20", "-1e19", "97 levels", "our own key", "our own form"}
if airflow.__version__.startswith("2."):  # it stores nearly all as text
    CARRIED_HERE |= AS_TEXT.keys() - {"__classname__", "an object", "__type and __var", "500 levels"}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What came back of every shape: as it is, that in a list of requests, in its carriable form, that in a list."""
    home = tmp_path_factory.mktemp("airflow")
    return came_back(f"sqlite:///{home}/airflow.db", home)


@pytest.mark.parametrize("name", AS_IT_IS)
def test_what_is_carried_as_it_is_comes_back_the_same(outcomes, name):
    assert outcomes[name] == ["same"] * 4


@pytest.mark.parametrize("name", [*AS_TEXT, *AS_BASE64])
def test_what_has_a_form_comes_back_the_same_in_it(outcomes, name):
    assert outcomes[name][2:] == ["same"] * 2


@pytest.mark.parametrize("name", sorted((AS_TEXT.keys() | AS_BASE64.keys()) - CARRIED_HERE))
def test_what_has_a_form_does_not_come_back_without_it(outcomes, name):
    assert outcomes[name][:2] != ["same"] * 2


def test_no_form_is_needed_here_where_another_version_or_database_needs_it(outcomes):
    assert {name for name in CARRIED_HERE if outcomes[name][:2] != ["same"] * 2} == set()
