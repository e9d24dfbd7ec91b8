"""The pytest plugin works in a user's own test suite."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

USERS_TESTS = """
import json, os
import pytest

def test_by_default_jobs_take_a_tenth_of_a_second(stand_in_vendors):
    assert stand_in_vendors.job_seconds == 0.1
    connection = json.loads(os.environ["AIRFLOW_CONN_UNSILOED_DEFAULT"])
    assert connection == {"conn_type": "unsiloed", "host": stand_in_vendors.url, "password": "us_stand_in"}

@pytest.mark.stand_in_vendors(job_seconds=9, unsiloed_many=404)
def test_the_marker_sets_options(stand_in_vendors):
    assert (stand_in_vendors.job_seconds, stand_in_vendors.unsiloed_many) == (9, 404)
"""


def test_a_users_suite_gets_the_fixture_and_the_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a suite of its own; the plugin is named, so that it works installed and not."""
    (tmp_path / "test_users.py").write_text(USERS_TESTS)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugin = "airflow_provider_docstatus.testing.fixtures"
    options = ["-q", "-p", plugin, "-p", "no:cacheprovider", "--strict-markers", "-c", os.devnull]
    assert pytest.main([*options, "--rootdir", str(tmp_path), str(tmp_path)]) == pytest.ExitCode.OK
    assert "AIRFLOW_CONN_UNSILOED_DEFAULT" not in os.environ
