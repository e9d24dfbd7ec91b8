"""
The server that the SDKs of Datalab and docling talk to.

These tests run in an environment of their own (``constraints/sdks-heavy.txt``), as the SDKs bring pandas and numpy with them.
"""

from __future__ import annotations

from tests.conformance.conftest import vendors  # noqa: F401  # a fixture
