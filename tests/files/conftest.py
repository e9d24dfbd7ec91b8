from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from tests.files.stores import Store


@pytest.fixture
def store(monkeypatch, tmp_path):
    """The store that ``s3://store@bucket/...`` leads to, and a temporary directory of one's own."""
    try:
        from airflow.sdk.io.store import _STORE_CACHE, attach
    except ImportError:  # 2.11
        from airflow.io.store import _STORE_CACHE, attach
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("AIRFLOW_CONN_STORE", "aws://")
    made = Store()
    attach("s3", "store", fs=made)  # noqa: AIR311 -- it is imported from there where it is
    yield made
    del _STORE_CACHE["s3-store"]


@pytest.fixture
def left(tmp_path):
    """A function that lists the files left in the test's directory, by their paths in it."""
    return lambda: sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/out/data.json"


@pytest.fixture
def context():
    """A function that returns the context of a task."""

    def made(map_index=-1, **about):
        ti = {"dag_id": "load", "run_id": "manual__2024-01-01T00:00:00+00:00", "task_id": "group.extract", **about}
        return {"ti": SimpleNamespace(**ti, map_index=map_index)}

    return made


@pytest.fixture(autouse=True)
def _lines(caplog):
    caplog.set_level(logging.INFO, "airflow_provider_docstatus.files")
