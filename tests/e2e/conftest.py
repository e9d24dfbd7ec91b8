"""One real Airflow, with the stand-in vendors behind its connections, for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import RealAirflow


@pytest.fixture(scope="session")
def vendors() -> Iterator[StandInVendors]:
    """Serve the three vendors to every end-to-end test."""
    with StandInVendors() as vendors:
        yield vendors


@pytest.fixture(scope="session")
def real_airflow(tmp_path_factory: pytest.TempPathFactory, vendors: StandInVendors) -> Iterator[RealAirflow]:
    """Run Airflow with two worker slots and every DAG of ``tests/e2e/dags``."""
    dags = sorted((Path(__file__).parent / "dags").glob("*.py"))
    home = tmp_path_factory.mktemp("airflow")
    with RealAirflow(home, slots=2, environment=vendors.environment(), dags=dags) as airflow:
        yield airflow
