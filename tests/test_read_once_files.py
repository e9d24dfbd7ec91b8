"""Files of results that the vendor hands out once: the next try has them, or says what became of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus._compat import AirflowTaskTimeout
from airflow_provider_docstatus.exceptions import DocumentFailed, NoData, OutputFailed, SchemaMismatch
from airflow_provider_docstatus.files.spool import Spool
from airflow_provider_docstatus.testing import StandInVendors
from tests.task_runs import FakeTaskInstance, run
from tests.test_operators import operator_of
from tests.test_output import left_in, manifest_of, rows_of, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EACH = pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


def job_of(vendors: StandInVendors) -> str:
    """Return a job whose second reading is answered with 404."""
    job_id = vendors.add_job("docling")
    vendors.answer_next(None, path=f"result/{job_id}")
    vendors.answer_next(404, body={"detail": "Task result not found."}, path=f"result/{job_id}", times=math.inf)
    return job_id


def ask(job_id: Any, folder: Path, *, retry: bool = False, **arguments: Any) -> Any:
    where = {"conn_id": "docling_default", "output_path": f"file://{folder}/x"}
    return run(operator_of(job_id=job_id, **where, **arguments), FakeTaskInstance(try_number=2 if retry else 1))


@EACH
def test_a_directory_in_the_files_place(vendors: StandInVendors, tmp_path: Path, is_list: bool) -> None:
    job_id: Any = [job_of(vendors)] if is_list else job_of(vendors)
    (tmp_path / "x").mkdir()
    with pytest.raises(OutputFailed):
        ask(job_id, tmp_path)
    (tmp_path / "x").rmdir()
    assert b"md_content" in written(ask(job_id, tmp_path, retry=True))
    assert left_in(tmp_path) == ["x", "x.manifest.json"]


@EACH
@pytest.mark.parametrize("step", ["complete", "publish", "discard"])
def test_a_task_that_is_stopped_after_the_reading(
    vendors: StandInVendors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_list: bool, step: str
) -> None:
    job_id: Any = [job_of(vendors)] if is_list else job_of(vendors)

    def stopped(*_: Any) -> None:
        raise AirflowTaskTimeout("execution_timeout passed")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, step, stopped)
        with pytest.raises(AirflowTaskTimeout):
            ask(job_id, tmp_path)
    if step == "complete" and not is_list:  # nobody has said that the bytes are all
        with pytest.raises(NoData, match="hands a result out only once: an earlier try may have got this one"):
            ask(job_id, tmp_path, retry=True)
        return
    assert b"md_content" in written(ask(job_id, tmp_path, retry=True))


@EACH
def test_data_that_does_not_pass_is_there_for_other_gates(vendors: StandInVendors, tmp_path: Path, is_list: bool) -> None:
    pytest.importorskip("jsonschema")
    job_id: Any = [job_of(vendors)] if is_list else job_of(vendors)
    with pytest.raises(SchemaMismatch):
        ask(job_id, tmp_path, require={"required": ["nothing"]})
    summary = ask(job_id, tmp_path, retry=True, require={"required": ["md_content"]})
    assert b"md_content" in written(summary)
    assert left_in(tmp_path) == ["x", "x.manifest.json"]
    assert ask(job_id, tmp_path, retry=True, require={"required": ["md_content"]}) == summary


def test_of_several_those_that_do_not_pass_are_there_for_other_gates(vendors: StandInVendors, tmp_path: Path) -> None:
    pytest.importorskip("jsonschema")
    ids = [job_of(vendors), vendors.add_job("docling", recorded="the only document failed in part")]
    vendors.answer_next(None, path=f"result/{ids[1]}")
    vendors.answer_next(404, path=f"result/{ids[1]}", times=math.inf)
    strict = {"properties": {"md_content": {"const": "# Page"}}}
    with pytest.raises(SchemaMismatch, match="1 of 2 ids ended well, 2 were needed"):
        ask(ids, tmp_path, require=strict, accept=("partial",))
    summary = ask(ids, tmp_path, retry=True, require={"required": ["md_content"]}, accept=("partial",))
    assert [row["id"] for row in rows_of(summary)] == ids
    assert manifest_of(summary)["errors"] == {}


def test_one_that_was_handed_out_already_is_told_honestly_beside_the_others(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [job_of(vendors), vendors.add_job("docling")]
    vendors.answer_next(404, body={"detail": "Task result not found."}, path=f"result/{ids[1]}", times=math.inf)
    summary = ask(ids, tmp_path, retry=True, on_item_error="skip")
    assert [row["id"] for row in rows_of(summary)] == ids[:1]
    assert summary["errors"][ids[1]].count("hands a result out only once") == 1
    with pytest.raises(NoData) as raised:
        ask(ids[1:], tmp_path, retry=True, on_item_error="skip")
    assert str(raised.value).count("hands a result out only once") == 1


@EACH
def test_what_is_only_partial_is_there_once_that_is_accepted(vendors: StandInVendors, tmp_path: Path, is_list: bool) -> None:
    one = vendors.add_job("docling")
    partial = {"document": {"md_content": "# half"}, "status": "partial_success", "errors": [], "processing_time": 1.0}
    vendors.answer_next(200, body=partial, path=f"result/{one}")
    vendors.answer_next(404, body={"detail": "Task result not found."}, path=f"result/{one}", times=math.inf)
    job_id: Any = [one] if is_list else one
    with pytest.raises(DocumentFailed, match="partial"):
        ask(job_id, tmp_path)
    summary = ask(job_id, tmp_path, retry=True, accept=("partial",))
    assert (b"# half" in written(summary), summary["counts"]) == (True, {"partial": 1})
    if is_list:
        assert rows_of(summary)[0]["state"] == "partial"
