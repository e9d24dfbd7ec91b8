"""The waits of one task: when enough of them have ended."""

from __future__ import annotations

import pytest

from airflow_provider_docstatus.waiting.group import needed_of


@pytest.mark.parametrize(
    ("wait_for", "total", "needed"),
    [("all", 7, 7), ("any", 7, 1), (3, 7, 3), (9, 7, 7), (0.5, 7, 4), (0.01, 7, 1), (0.55, 100, 55)],
)
def test_wait_for_is_a_number_of_ids(wait_for, total, needed):
    assert needed_of(wait_for, total) == needed
