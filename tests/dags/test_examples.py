"""Every example DAG runs, from its file to its last task, inside one process and against the stand-in vendors."""

from __future__ import annotations

import importlib.util
import json
import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus.arguments import DEFAULT_WATCH
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.testing.jobs import INVOICE
from tests.task_runs import hurry

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"

GOOD: dict[str, Any] = {
    "invoice_number": {"value": "INV-1", "score": 0.98},
    "total_amount": {"value": 12.5, "score": 0.95},
}

pytestmark = pytest.mark.usefixtures("airflow_database")


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInVendors]:
    hurry(monkeypatch, poll_interval=0.5, least_poll_interval=0.5)
    with StandInVendors(job_seconds=1.0) as vendors:
        for name, value in vendors.environment().items():
            monkeypatch.setenv(name, value)
        yield vendors


def run(name: str, **params: Any) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Run an example; return the run's state, the state of each task, and what each task returned."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    finished = getattr(module, name)().test(run_conf=params)
    tasks = finished.get_task_instances()
    returned = {task.task_id: task.xcom_pull(task_ids=task.task_id) for task in tasks}
    return str(finished.state), {task.task_id: str(task.state) for task in tasks}, returned


def finish_later(vendors: StandInVendors, job_id: str) -> None:
    """Finish a job a second after the worker has stopped watching it; Airflow may need long to begin."""

    def wait_and_finish() -> None:
        while not vendors.requests:
            time.sleep(0.01)
        time.sleep(DEFAULT_WATCH + 1)
        vendors.finish(job_id)

    threading.Thread(target=wait_and_finish, daemon=True).start()


def test_gate_one_document(vendors: StandInVendors) -> None:
    document_id = vendors.add_job("neurolinker", "document", seconds=math.inf)
    finish_later(vendors, document_id)
    state, tasks, returned = run("gate_one_document", document_id=document_id)
    assert state == "success"
    assert tasks == {"gate": "success", "go_on": "success"}
    assert (returned["gate"]["state"], returned["gate"]["id"]) == ("succeeded", document_id)
    assert returned["go_on"] == f"{document_id} has 1 pages"
    assert any("aiohttp" in record.headers["User-Agent"] for record in vendors.requests), "it was deferred"


def test_gate_one_document_that_failed(vendors: StandInVendors) -> None:
    state, tasks, _ = run("gate_one_document", document_id=vendors.add_job("neurolinker", "document", ends="failed"))
    assert state == "failed"
    assert tasks == {"gate": "failed", "go_on": "upstream_failed"}


@pytest.mark.parametrize(
    ("ends", "branch", "other"), [("completed", "use_all", "name_the_failed"), ("partial", "name_the_failed", "use_all")]
)
def test_branch_on_partial(vendors: StandInVendors, ends: str, branch: str, other: str) -> None:
    request_id = vendors.add_job("neurolinker", ends=ends, documents=3, file_name="invoice-7.pdf")
    state, tasks, returned = run("branch_on_partial", request_id=request_id)
    assert state == "success"
    assert tasks == {"gate": "success", "all_or_some": "success", branch: "success", other: "skipped"}
    documents = [document.job_id for document in vendors.jobs[request_id].documents]
    if branch == "use_all":
        assert returned[branch] == documents
    else:
        assert returned[branch] == {"invoice-7.pdf": "Document is corrupted or unreadable"}


def test_submit_wait_extract_load(vendors: StandInVendors, tmp_path: Path) -> None:
    (tmp_path / "invoice.pdf").write_bytes(b"%PDF-1.4")
    state, tasks, returned = run("submit_wait_extract_load", file=str(tmp_path / "invoice.pdf"))
    assert state == "success"
    assert set(tasks.values()) == {"success"}
    (job_id,) = vendors.jobs
    assert returned["submit"] == job_id
    assert returned["extract"]["invoice_number"] == INVOICE["invoice_number"]
    assert json.loads(Path(returned["load"]).read_text()) == returned["extract"]


def test_extract_to_storage(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos") for _ in range(12)]
    ids[3] = vendors.add_job("aitronos", ends="failed", seconds=0)  # the wait is over once eleven are good
    state, tasks, returned = run("extract_to_storage", job_ids=ids, folder=f"file://{tmp_path}/")
    assert state == "success"
    assert set(tasks.values()) == {"success"}
    good = [one for one in ids if one != ids[3]]
    assert list(returned["load"]["totals"]) == good
    assert set(returned["load"]["totals"].values()) == {INVOICE["total_amount"]}
    assert list(returned["load"]["without data"]) == [ids[3]]
    assert (returned["extract"]["rows"], returned["extract"]["counts"]) == (11, {"succeeded": 11, "failed": 1})


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (GOOD, None),
        ({"invoice_number": GOOD["invoice_number"]}, "none"),
        ({name: {**field, "score": 0.4} for name, field in GOOD.items()}, "invoice_number, total_amount"),
    ],
    ids=["good", "incomplete", "unsure"],
)
def test_gate_on_a_schema(vendors: StandInVendors, result: dict[str, Any], why: str | None) -> None:
    job_id = vendors.add_job("unsiloed", "extract", seconds=0, reply={"result": result})
    _, tasks, returned = run("gate_on_a_schema", job_id=job_id)
    if why is None:
        assert tasks == {"gate": "success", "extract": "success", "say_why": "skipped"}
        assert returned["extract"] == result
    else:
        assert tasks == {"gate": "failed", "extract": "upstream_failed", "say_why": "success"}
        assert returned["say_why"] == f"{job_id} needs a look; its least sure fields: {why}"


def test_three_services(vendors: StandInVendors) -> None:
    state, tasks, returned = run("three_services")
    assert state == "success"
    assert set(tasks.values()) == {"success"}
    assert {one.service for one in vendors.jobs.values()} == {"neurolinker", "aitronos", "unsiloed"}
    assert any(value == ["neurolinker", "aitronos", "unsiloed"] for value in returned.values())


def test_many_invoices(vendors: StandInVendors, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"invoice-{number}.pdf").write_bytes(b"%PDF-1.4")
    state, tasks, returned = run("many_invoices", folder=str(tmp_path))
    assert state == "success"
    assert set(tasks.values()) == {"success"}
    assert returned["count"] == "3 of 3 invoices are ready"
    assert sorted(returned["gate"]["ids"]["succeeded"]) == sorted(vendors.jobs)
    assert set(returned["extract"]["items"]) == set(vendors.jobs)
    assert returned["add_up"] == 3 * INVOICE["total_amount"]


def test_ask_a_person(vendors: StandInVendors) -> None:
    """The vendor is sure, so nobody is asked; the question itself is asked in tests/e2e, since here nobody would answer it."""
    state, tasks, returned = run("ask_a_person", job_id=(job_id := vendors.add_job("unsiloed", "extract")))
    assert state == "success"
    assert tasks == {"gate": "success", "go_on": "success"}
    assert returned["go_on"] == f"{job_id}: the vendor is sure"


def test_every_example_is_run_here() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
