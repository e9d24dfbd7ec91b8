"""The TypedDicts say what is really pushed, and a type checker reads a user's DAG by them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from airflow_provider_docstatus.services import UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.types import Manifest, Review, Status
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.question import UNDECIDED, Decision
from airflow_provider_docstatus.waiting.report import Report, event_of, manifest_from
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.wait import Ending

ROOT = Path(__file__).parent.parent


def child(one: str, state: State, **facts: Any) -> DocumentStatus:
    return DocumentStatus(service="unsiloed", kind="job", id=one, state=state, word=state.value, **facts)


def check(told: Any, kind: type) -> None:
    """Check that a dict has the keys of a TypedDict in its order, and that each value has the type that it says."""
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name in kind.__required_keys__ or name in told}
    assert list(told) == list(hints)
    for name, hint in hints.items():
        value = told[name]
        if hint in (int, str):
            assert type(value) is hint, name
        elif str(hint).startswith("dict"):
            assert type(value) is dict, name
            (keys, values) = hint.__args__
            assert all(type(key) is keys for key in value), name
            assert values is Any or all(type(one) is (getattr(values, "__origin__", None) or values) for one in value.values())
        else:
            assert isinstance(value, hint), name


@pytest.mark.parametrize("is_full", [False, True])
def test_a_status_is_what_its_type_says(is_full: bool) -> None:
    full = {
        "message": "two of three",
        "counters": {"total": 3},
        "children": (child("a", State.FAILED, message="torn", details={"file_name": "a.pdf"}),),
        "created_at": "2025-10-15T09:52:15+00:00",
        "link": "https://example.com/r",
        "details": {"file_name": "r.zip", "total_pages": 3},
    }
    check(child("r", State.PARTIAL, **(full if is_full else {})).to_dict(), Status)


def test_a_manifest_is_what_its_type_says() -> None:
    group = Group(spec=WaitSpec(service="unsiloed", route="extract", ids=["a", "b"], started_at=1.0), service=UNSILOED)
    group.observe("a", child("a", State.FAILED, details={"file_name": "a.pdf"}), 2.0)
    told = manifest_from(event_of(group, calls=1, now=3.0), ["a", "b"], parameter="job_id", operation="extract")
    check(told, Manifest)
    assert told["file_names"] == {"a": "a.pdf"}


def test_a_review_is_what_its_type_says() -> None:
    for decision in (UNDECIDED, Decision("rejected", "ada (7)", "2026-08-01T10:00:00+00:00", "blurred").in_xcom):
        check(decision, Review)
    status = child("a", State.REVIEW)
    report = Report(ending=Ending(outcome="review", service="unsiloed", id="a", status=status), review=UNDECIDED)
    assert report.told == {**status.to_dict(), "review": UNDECIDED}


@pytest.mark.skipif(not importlib.util.find_spec("mypy"), reason="mypy is installed beside one version of Airflow")
def test_a_type_checker_reads_a_users_dag() -> None:
    """What it must complain of is ignored by its code, and an ignored complaint that is not made is one."""
    read = subprocess.run(
        [sys.executable, "-m", "mypy", "tests/typed/dag.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stdout + read.stderr
