"""One real Airflow, with the stand-in vendors behind its connections, for all end-to-end tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.rough_run import SLOTS, RoughRun


@pytest.fixture(scope="session")
def vendors() -> Iterator[StandInVendors]:
    """Serve the three vendors to every end-to-end test, with keys that look different when they are encoded."""
    keys = {name: f"{name}/{secrets.token_hex(8)}+key=" for name in ("neurolinker", "aitronos", "unsiloed")}
    with StandInVendors(keys=keys) as vendors:
        yield vendors


@pytest.fixture(scope="session")
def real_airflow(tmp_path_factory: pytest.TempPathFactory, vendors: StandInVendors) -> Iterator[RealAirflow]:
    """Run Airflow with two worker slots, every DAG of ``tests/e2e/dags`` and the example that asks a person."""
    dags = sorted((Path(__file__).parent / "dags").glob("*.py"))
    dags.append(Path(__file__).parents[2] / "example_dags" / "ask_a_person.py")
    home = tmp_path_factory.mktemp("airflow")
    with RealAirflow(home, slots=SLOTS, environment=vendors.environment(), dags=dags) as airflow:
        yield airflow


@pytest.fixture(scope="session")
def rough_run(real_airflow: RealAirflow, vendors: StandInVendors) -> RoughRun:
    """Run forty waits and others on two triggerers, which are killed and stopped, to their end."""
    (first,) = real_airflow.triggerer_jobs()
    second = real_airflow.start_triggerer("second triggerer")
    run = RoughRun(real_airflow, vendors, triggerers={"triggerer": first, "second triggerer": second})
    run.go()
    return run
