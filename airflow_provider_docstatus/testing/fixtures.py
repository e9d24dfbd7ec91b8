"""The pytest plugin: fixture ``stand_in_vendors``, the marker that configures it, and the options of the contract.

Pytest imports this module in every run where the package is installed, so it imports the server only when the
fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_docstatus.testing.server import StandInVendors


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the contract, see ``contract.py``."""
    group = parser.getgroup("docstatus", "descriptions of document extraction services")
    group.addoption(
        "--docstatus-service",
        dest="docstatus_services",
        metavar="MODULE:NAME",
        action="append",
        help="a description for airflow_provider_docstatus.testing.contract, or the path of one in JSON or YAML; may be repeated",
    )
    group.addoption(
        "--docstatus-replies",
        dest="docstatus_replies",
        metavar="PATH",
        help="its file of recorded replies, or a folder of such files (<name>.json)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, so that ``--strict-markers`` accepts it."""
    config.addinivalue_line("markers", "stand_in_vendors(**options): how the fixture stand_in_vendors starts its server")


@pytest.fixture
def stand_in_vendors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInVendors]:
    """Run all vendors on a free port for one test, as ``neurolinker_default`` and its siblings.

    The connections are set as ``AIRFLOW_CONN_...`` variables for the length of the test. Options go in a
    marker: ``@pytest.mark.stand_in_vendors(job_seconds=0.1)``; by default jobs take a tenth of a second.
    """
    from airflow_provider_docstatus.testing.server import StandInVendors  # noqa: PLC0415 (when used)

    marker = request.node.get_closest_marker("stand_in_vendors")
    options = {"job_seconds": 0.1, **(marker.kwargs if marker else {})}
    with StandInVendors(**options) as vendors:
        for name, value in vendors.environment().items():
            monkeypatch.setenv(name, value)
        yield vendors
