"""When a wait polls again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.waiting.intervals import JITTER, SLOWDOWN, PollInterval


@pytest.mark.parametrize(
    ("interval", "age", "polls", "pause"),
    [
        pytest.param(PollInterval(base=10), 0, 1, 10, id="young-job-service-interval"),
        pytest.param(PollInterval(base=10), 600, 9, 60, id="old-job-a-tenth-of-its-age"),
        pytest.param(PollInterval(base=10, longest=30), 600, 9, 30, id="max-wait-bounds-it"),
        pytest.param(PollInterval(base=10, interval=7, longest=2), 600, 9, 7, id="max-wait-leaves-a-constant-interval"),
        pytest.param(PollInterval(base=10, interval=7), 600, 9, 7, id="the-users-interval-is-constant"),
        pytest.param(PollInterval(base=10, interval=7, backoff=True), 0, 1, 7, id="backoff-first"),
        pytest.param(PollInterval(base=10, interval=7, backoff=True), 0, 4, 56, id="backoff-doubles"),
        pytest.param(PollInterval(base=10, interval=7, backoff=True, longest=20), 0, 4, 20, id="backoff-bounded"),
    ],
)
def test_a_pause_is_what_the_user_or_the_service_says(interval, age, polls, pause):
    assert interval.pause(age=age, polls=polls, jitter=0) == pause
    assert pause * (1 - JITTER) <= interval.pause(age=age, polls=polls, jitter=1) < pause


@settings(max_examples=100, deadline=None, derandomize=True)
@given(took=st.floats(1, 100_000), base=st.floats(2, 60), jitter=st.floats(0, 1))
def test_detection_is_never_later_than_a_tenth_of_what_the_job_took(took, base, jitter):
    assert SLOWDOWN == 0.1
    interval, clock, polls = PollInterval(base=base), 0.0, 0
    while clock < took:
        polls += 1
        clock = interval.next_at(now=clock, started_at=0, deadline=1e9, polls=polls, jitter=jitter)
    assert clock - took <= max(base, 0.1 * took) * 1.000001


def test_the_last_poll_falls_on_the_deadline():
    interval = PollInterval(base=10)
    assert interval.next_at(now=95, started_at=90, deadline=100, polls=1, jitter=0) == 100


def test_a_poll_after_the_deadline_comes_at_the_interval():
    """If the last poll met a fault it is repeated sooner, which the wait itself says: see test_schedule.py."""
    assert PollInterval(base=10).next_at(now=100, started_at=90, deadline=100, polls=2, jitter=0) == 110
    assert PollInterval(base=0.5).next_at(now=100, started_at=100, deadline=100, polls=2, jitter=0) == 100.5
