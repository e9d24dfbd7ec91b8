"""A stand-in for the vendors, so that DAGs and this package can be tested offline.

It imports neither Airflow nor the rest of this package: it is a second, independent reading of the vendors'
pages, and the vendors' own SDKs are run against it (``tests/conformance``). Start it with ``with
StandInVendors() as vendors:``, with the pytest fixture ``stand_in_vendors``, or with the command
``docstatus-stand-in``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_docstatus.testing.jobs import Job
    from airflow_provider_docstatus.testing.server import StandInVendors

__all__ = ["Job", "StandInVendors"]


def __getattr__(name: str) -> object:
    """Import a public name at its first use: pytest loads this package in every run where it is installed."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from airflow_provider_docstatus.testing import server  # noqa: PLC0415 (at its first use)

    return getattr(server, name)
