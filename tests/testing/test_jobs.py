"""A job's state follows from its age."""

from __future__ import annotations

import math

import pytest

from airflow_provider_docstatus.testing.jobs import Desk, Job, last_segment, timestamp


@pytest.mark.parametrize(
    ("age", "state"),
    [(0, "waiting"), (19, "waiting"), (20, "running"), (99, "running"), (100, "completed")],
)
def test_a_job_waits_a_fifth_of_its_time_then_runs_then_ends(age: float, state: str) -> None:
    """The share is that of ``WAITING_SHARE``."""
    assert Job("aitronos", "job", seconds=100, created_at=0).state(age) == state


def test_an_endless_job_runs_at_once_and_for_ever() -> None:
    """A fifth of for ever would be for ever."""
    job = Job("aitronos", "job", seconds=math.inf, created_at=0)
    assert job.state(0) == "running"
    assert job.state(1e12) == "running"


@pytest.mark.parametrize(
    ("documents", "state"),
    [
        ({"completed": 0, "failed": 0}, "partial"),
        ({"completed": 0}, "completed"),
        ({"failed": 0}, "failed"),
        ({"completed": 0, "failed": 99}, "running"),
    ],
    ids=["one failed", "all completed", "all failed", "one unfinished"],
)
def test_a_request_is_what_its_documents_are(documents: dict[str, float], state: str) -> None:
    """A request has no ending of its own."""
    made = [Job("neurolinker", "document", ends=ends, seconds=s, created_at=0) for ends, s in documents.items()]
    assert Job("neurolinker", "request", documents=made, created_at=0).state(1) == state


@pytest.mark.parametrize(
    ("file_name", "possible", "ends", "seconds"),
    [
        ("invoice.pdf", {"completed", "failed"}, "completed", 1),
        ("Will-FAIL.pdf", {"completed", "failed"}, "failed", 1),
        ("corrupt.pdf", {"completed", "failed"}, "failed", 1),
        ("review.pdf", {"completed", "review"}, "review", 1),
        ("review.pdf", {"completed", "failed"}, "completed", 1),
        ("cancel-slow.pdf", {"completed", "cancelled"}, "cancelled", 4),
    ],
)
def test_the_file_name_steers_the_ending(file_name: str, possible: set[str], ends: str, seconds: float) -> None:
    """A name asks only for endings the vendor has."""
    job = Desk(job_seconds=1).submitted("unsiloed", "extract", file_name, possible)
    assert (job.ends, job.seconds) == (ends, seconds)


def test_times_and_file_names_are_written_as_the_vendors_write_them() -> None:
    """Both endings of a time occur in one Neurolinker answer."""
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert timestamp(0, zone="+00:00") == "1970-01-01T00:00:00.000000+00:00"
    assert last_segment("https://example.com/a/b.pdf?x=/y") == "b.pdf"
    assert last_segment("https://example.com/") == "example.com"
