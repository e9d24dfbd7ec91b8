"""A person is asked on a real Airflow: the task waits without any slot, and ends as the answer says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import RealAirflow

DAG, IN_TIME = "ask_a_person", "ask_in_time"
#: Seconds that a task may take to ask or to end; two slots, which other tasks may hold.
SOON = 90.0
FREE_WITHIN = 15.0


@dataclass
class Asked:
    """A run of the example whose gate has asked.

    :param job_id: the job at the vendor.
    :param run_id: the run.
    """

    airflow: RealAirflow
    vendors: StandInVendors
    job_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/dags/{DAG}/dagRuns/{self.run_id}/taskInstances/gate/-1/hitlDetails"

    def shown(self) -> dict[str, Any]:
        """Return what the page shows."""
        return dict(self.airflow.api("GET", self.path))

    def until(self, *states: str) -> dict[str, Any]:
        """Wait until the gate has one of these states; return its instance."""
        return self.airflow.wait_for_task(DAG, self.run_id, "gate", states, SOON)

    def answer(self, chosen: str, reason: str) -> None:
        """Answer as a person does through the page."""
        self.airflow.api("PATCH", self.path, json={"chosen_options": [chosen], "params_input": {"reason": reason}})

    def clear(self) -> None:
        """Clear the gate, and wait until it runs anew."""
        before = self.until("awaiting_input")["id"]
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": ["gate"], "only_failed": False}
        self.airflow.api("POST", f"/dags/{DAG}/clearTaskInstances", json=body)
        assert self.until("scheduled", "queued", "running", "awaiting_input", "failed")["id"] != before

    def ask_anew(self) -> None:
        """Delete the gate's instance, and with it the question; have Airflow create it again, as docs/review.md says."""
        assert self.airflow.wait(DAG, self.run_id, SOON) == "failed"
        self.airflow.api("DELETE", self.path.removesuffix("/-1/hitlDetails"))
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": ["go_on"], "only_failed": False}
        self.airflow.api("POST", f"/dags/{DAG}/clearTaskInstances", json={**body, "run_on_latest_version": True})


@pytest.fixture(scope="module")
def asked(real_airflow: RealAirflow, vendors: StandInVendors) -> dict[str, Asked]:
    """Start a run for each answer, and wait until all of them have asked."""
    runs = {}
    for name in ("approve", "reject", "clear"):
        job_id = vendors.add_job("unsiloed", "extract", ends="review", seconds=0, reply={"file_name": f"{name}.pdf"})
        runs[name] = Asked(real_airflow, vendors, job_id, real_airflow.trigger(DAG, {"job_id": job_id}))
    for one in runs.values():
        one.until("awaiting_input")
    return runs


def test_while_it_waits_it_holds_neither_a_worker_nor_a_triggerer(real_airflow: RealAirflow, asked: dict[str, Asked]) -> None:
    until = time.monotonic() + FREE_WITHIN
    while real_airflow.busy_slots() and time.monotonic() < until:
        time.sleep(0.2)
    assert real_airflow.busy_slots() == 0
    rows = real_airflow.read(f"SELECT state, trigger_id FROM task_instance WHERE dag_id = '{DAG}' AND task_id = 'gate'")
    assert [tuple(row.values()) for row in rows] == [("awaiting_input", None)] * len(asked)
    assert real_airflow.read("SELECT * FROM trigger") == []
    pool = real_airflow.pool()
    assert (pool["occupied_slots"], pool["deferred_slots"]) == (0, 0)


def test_the_page_shows_what_is_asked(asked: dict[str, Asked]) -> None:
    shown = asked["approve"].shown()
    assert shown["subject"] == "Unsiloed: approve.pdf needs a decision"
    assert asked["approve"].job_id in shown["body"]
    assert (shown["options"], shown["defaults"]) == (["Approve", "Reject"], None)


def test_approve_opens_the_gate(real_airflow: RealAirflow, asked: dict[str, Asked]) -> None:
    one = asked["approve"]
    one.answer("Approve", "looked at it")
    assert real_airflow.wait(DAG, one.run_id, SOON) == "success", real_airflow.failures(DAG, one.run_id)
    status = real_airflow.xcom(DAG, one.run_id, "gate")
    at = status["review"].pop("decided_at")
    assert status["review"] == {
        "decision": "approved",
        "decided_by": one.shown()["responded_by_user"]["name"],
        "reason": "looked at it",
    }
    assert at.startswith("20")
    assert at.endswith("+00:00")
    assert real_airflow.xcom(DAG, one.run_id, "go_on") == f"{one.job_id}: approved by {status['review']['decided_by']}"


def test_reject_fails_the_gate(real_airflow: RealAirflow, asked: dict[str, Asked]) -> None:
    one = asked["reject"]
    one.answer("Reject", "the scan is blurred")
    assert real_airflow.wait(DAG, one.run_id, SOON) == "failed"
    review = real_airflow.xcom(DAG, one.run_id, "gate", key="docstatus")["review"]
    assert (review["decision"], review["reason"]) == ("rejected", "the scan is blurred")
    errors = [
        each for entry in real_airflow.task_log_entries(DAG, one.run_id, "gate") for each in entry.get("error_detail") or ()
    ]
    assert [each["exc_type"] for each in errors] == ["Declined"]
    assert "the scan is blurred" in errors[0]["exc_value"]


def test_nobody_in_time_is_a_time_out(real_airflow: RealAirflow, vendors: StandInVendors) -> None:
    ids = [vendors.add_job("unsiloed", "extract", ends=ends, seconds=0) for ends in ("review", "completed")]
    run_id = real_airflow.trigger(IN_TIME, {"job_ids": ids})
    assert real_airflow.wait(IN_TIME, run_id, SOON) == "failed"
    manifest = real_airflow.xcom(IN_TIME, run_id, "gate", key="docstatus")
    assert manifest["ids"] == {"succeeded": [ids[1]], "review_timed_out": [ids[0]]}
    assert manifest["review"]["decision"] == "timed_out"
    assert "nobody decided within 3 s (review_timeout)" in manifest["errors"][ids[0]]


def test_after_a_clear_nobody_sees_the_facts_of_before(asked: dict[str, Asked]) -> None:
    """
    Airflow keeps the first text of a question (seen on 3.3.2). The same facts give the same text, and other facts are refused.

    An Airflow that shows the new text is as good.
    """
    one = asked["clear"]
    before = one.shown()
    one.clear()
    one.until("awaiting_input")
    assert {name: one.shown()[name] for name in ("subject", "body")} == {name: before[name] for name in ("subject", "body")}
    one.vendors.jobs[one.job_id].reply = {"file_name": "another.pdf"}
    one.clear()
    gate = one.until("awaiting_input", "failed")
    if gate["state"] == "awaiting_input":
        assert one.shown()["subject"] == "Unsiloed: another.pdf needs a decision"
        return
    log = one.airflow.task_log_entries(DAG, one.run_id, "gate", try_number=gate["try_number"])
    errors = [each for entry in log for each in entry.get("error_detail") or ()]
    assert [each["exc_type"] for each in errors] == ["RequestRejected"]
    assert "still shows what an earlier try of this task has asked" in errors[0]["exc_value"]
    one.ask_anew()
    one.until("awaiting_input")
    assert one.shown()["subject"] == "Unsiloed: another.pdf needs a decision"
