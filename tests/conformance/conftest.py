"""The server the vendors' own SDKs talk to.

These tests run in an environment of their own (``constraints/sdks.txt``), which has no Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_docstatus.testing import StandInVendors

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def vendors() -> Iterator[StandInVendors]:
    """Run the vendors for one test; jobs are short, but not over at once, so that the SDKs have to wait."""
    with StandInVendors(job_seconds=0.08) as vendors:
        yield vendors
