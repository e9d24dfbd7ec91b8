"""The server the tests in this folder talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_docstatus.testing import StandInVendors

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def vendors() -> Iterator[StandInVendors]:
    """Run the vendors for one test; what is submitted is over at once."""
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors
