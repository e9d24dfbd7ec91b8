"""When a wait asks again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.schedule import AGAIN, JITTER, Rhythm


@pytest.mark.parametrize(
    ("rhythm", "age", "turn", "pause"),
    [
        pytest.param(Rhythm(base=10), 0, 1, 10, id="young-job-service-interval"),
        pytest.param(Rhythm(base=10), 600, 9, 60, id="old-job-a-tenth-of-its-age"),
        pytest.param(Rhythm(base=10, longest=30), 600, 9, 30, id="max-wait-bounds-it"),
        pytest.param(Rhythm(base=10, interval=7, longest=2), 600, 9, 7, id="max-wait-leaves-a-constant-interval"),
        pytest.param(Rhythm(base=10, interval=7), 600, 9, 7, id="the-users-interval-is-constant"),
        pytest.param(Rhythm(base=10, interval=7, backoff=True), 0, 1, 7, id="backoff-first"),
        pytest.param(Rhythm(base=10, interval=7, backoff=True), 0, 4, 56, id="backoff-doubles"),
        pytest.param(Rhythm(base=10, interval=7, backoff=True, longest=20), 0, 4, 20, id="backoff-bounded"),
    ],
)
def test_a_pause_is_what_the_user_or_the_service_says(rhythm, age, turn, pause):
    assert rhythm.pause(age=age, turn=turn, dice=0) == pause
    assert pause * (1 - JITTER) <= rhythm.pause(age=age, turn=turn, dice=1) < pause


@settings(max_examples=100, deadline=None, derandomize=True)
@given(took=st.floats(1, 100_000), base=st.floats(2, 60), dice=st.floats(0, 1))
def test_detection_is_never_later_than_a_tenth_of_what_the_job_took(took, base, dice):
    rhythm, clock, turn = Rhythm(base=base), 0.0, 0
    while clock < took:
        turn += 1
        clock = rhythm.next_at(now=clock, started_at=0, deadline=1e9, turn=turn, dice=dice)
    assert clock - took <= max(base, 0.1 * took) * 1.000001


def test_the_last_question_falls_on_the_deadline():
    rhythm = Rhythm(base=10)
    assert rhythm.next_at(now=95, started_at=90, deadline=100, turn=1, dice=0) == 100
    assert rhythm.next_at(now=100, started_at=90, deadline=100, turn=2, dice=0) == 100 + AGAIN
    assert Rhythm(base=0.5).next_at(now=100, started_at=100, deadline=100, turn=2, dice=0) == 100.5
