"""An Airflow of its own for the tests: a home that goes with them, no examples, no waiting in short deferrals."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_docstatus.testing import StandInVendors

# Airflow is some 300,000 objects that stay: looking through them again and again takes seconds. See pytest_collection_finish().
gc.disable()

# Before anything imports Airflow, which reads its settings at import.
_HOME = tempfile.mkdtemp(prefix="docstatus-tests-")
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parent.parent / "example_dags")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_HOME}/airflow.db"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"
os.environ["AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY"] = "True"  # 2.11 warns without it
os.environ["AIRFLOW__DOCSTATUS__SHORTEST_DEFERRAL"] = "0"
# The machine's own proxies, CA files and connections must not decide what a test sees.
_NETWORK = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "requests_ca_bundle", "curl_ca_bundle", "ssl_cert_file")
for _name in list(os.environ):
    if _name.lower() in _NETWORK or _name.startswith("AIRFLOW_CONN_"):
        del os.environ[_name]


def pytest_collection_finish() -> None:
    """Collect garbage again, but of what the tests themselves leave: pytest does so several times at its end."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _airflow_home() -> Iterator[None]:
    """Take the home away at the end."""
    yield
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Make the database that ``dag.test()`` needs."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


@pytest.fixture
def vendors(server: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInVendors]:
    """Lead the three connections to the file's own server, and let nobody wait; answer truly again at the end."""
    from tests.task_runs import hurry, no_reschedules_in_the_database

    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    hurry(monkeypatch)
    no_reschedules_in_the_database(monkeypatch)
    yield server
    server.answer_truly()
