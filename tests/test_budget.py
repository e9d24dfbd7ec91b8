"""No rolling minute holds more than the limit, whatever is asked when; a refusal closes the gate for everybody."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.budget import FIRST_PAUSE, LEAST_RATE, Budget


def _ask_all(budget: Budget, arrivals: list[float]) -> list[float]:
    """Ask at each arrival, or as soon as the budget opens, in turn; return when each was asked."""
    asked, clock = [], 0.0
    for arrival in arrivals:
        clock = max(clock, arrival)
        while (opens := budget.opens_at(clock)) > clock:
            clock = opens
        budget.spend(clock)
        asked.append(clock)
    return asked


def _most_in(window: float, times: list[float]) -> int:
    return max(sum(start <= time < start + window for time in times) for start in times)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    per_minute=st.integers(1, 200),
    share=st.floats(0.1, 1.0),
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=150),
)
def test_no_rolling_minute_holds_more_than_the_share_of_the_limit(per_minute, share, gaps):
    arrivals = [sum(gaps[:n]) for n in range(len(gaps))]
    asked = _ask_all(Budget(per_minute=per_minute, share=share), arrivals)
    assert _most_in(60.0, asked) <= max(1, per_minute * share)


def test_four_hundred_waits_on_sixty_a_minute_are_sixty_questions_in_any_minute():
    asked = _ask_all(Budget(per_minute=60), [0.0] * 400)
    assert _most_in(60.0, asked) <= 60
    assert asked[-1] < 400 / 60 * 60 * 1.15  # and nearly all of the limit is used


def test_a_day_holds_no_more_than_the_limit_of_a_day():
    asked = _ask_all(Budget(per_minute=100, per_day=1000), [0.0] * 1500)
    assert _most_in(86_400.0, asked) <= 1000


def test_without_a_limit_nothing_waits():
    budget = Budget(per_minute=None)
    assert _ask_all(budget, [0.0] * 1000)[-1] == 0
    assert budget.per_minute_now(0.0) is None


@pytest.mark.parametrize(("named", "pause"), [(5.0, 5.0), (None, FIRST_PAUSE), (0.0, FIRST_PAUSE)])
def test_a_refusal_closes_the_gate_for_as_long_as_the_service_says(named, pause):
    budget = Budget(per_minute=60)
    assert budget.refuse(100.0, named)
    assert budget.opens_at(100.0) == pytest.approx(100.0 + pause)


def test_refusals_of_questions_under_way_count_once():
    budget = Budget(per_minute=60)
    before = budget.pace(100.0)
    assert budget.refuse(100.0, 5.0)
    assert not budget.refuse(100.1, 5.0)
    assert budget.refusals == 1
    assert budget.pace(100.1) == pytest.approx(before / 2)


def test_after_a_refusal_the_rate_is_halved_and_grows_back():
    budget = Budget(per_minute=60)
    budget.refuse(0.0, 10.0)
    assert budget.pace(10.0) == pytest.approx(0.5)
    assert 0.5 < budget.pace(70.0) < 1
    assert budget.pace(400.0) == 1


def test_a_refusal_does_not_take_the_days_questions():
    """Aitronos' limits: after one 429 a day's bucket that was cut down too would ask every half minute for a day."""
    budget = Budget(per_minute=100, per_day=10_000, share=0.8)
    budget.refuse(0.0, 2.0)
    asked = _ask_all(budget, [2.0] * 60)
    assert asked[-1] - asked[0] < 120
    assert budget.per_minute_now(1000.0) == pytest.approx(72.0)


def test_what_a_day_has_left_is_what_a_minute_can_have():
    budget = Budget(per_minute=100, per_day=1000)
    _ask_all(budget, [0.0] * 510)
    assert 0 < budget.per_minute_now(600.0) < 5


def test_refusals_in_a_row_wait_longer_and_never_stop_the_rate():
    budget, clock, pauses = Budget(per_minute=60), 0.0, []
    for _ in range(12):
        budget.refuse(clock, None)
        pauses.append(budget.closed_until - clock)
        clock = budget.closed_until
    assert pauses == sorted(pauses)
    assert budget.pace(clock) >= LEAST_RATE
    budget.grant(clock)
    budget.refuse(clock, None)
    assert budget.closed_until - clock == FIRST_PAUSE


def test_another_limit_does_not_forget_what_was_asked_nor_open_a_closed_gate():
    budget = Budget(per_minute=60, per_day=1000)
    asked = _ask_all(budget, [0.0] * 20)
    budget.refuse(asked[-1], 30.0)
    budget.change(per_minute=120, share=0.5, now=asked[-1])
    assert budget.opens_at(asked[-1]) >= asked[-1] + 30
    assert not budget.change(per_minute=None, share=0.01, now=asked[-1])
    assert budget.opens_at(asked[-1] + 3600) > asked[-1] + 7200, "of the day's 10, 20 are gone"


def test_a_clock_that_is_set_back_neither_stops_the_questions_nor_closes_the_gate_for_longer():
    budget = Budget(per_minute=60)
    _ask_all(budget, [5000.0] * 10)
    budget.refuse(5001.0, 5.0)
    assert budget.opens_at(1401.0) == pytest.approx(1406.0, abs=1.5)
    asked = _ask_all(budget, [1406.0] * 30)
    assert asked[-1] < 1406.0 + 90


def test_headers_that_say_nothing_is_left_close_the_gate_without_slowing_it():
    budget = Budget(per_minute=60)
    budget.exhaust(30.0)
    assert budget.opens_at(0.0) == 30.0
    assert budget.pace(30.0) == 1


def test_two_processes_on_one_key_converge_without_talking():
    """Each believes it has the whole limit; the service refuses above 60 in a minute. The refusals get rare."""
    dice = random.Random(1)
    budgets = [Budget(per_minute=60), Budget(per_minute=60)]
    accepted: list[float] = []
    refused: list[float] = []
    clock = 0.0
    while clock < 3600:
        clock += 0.1
        for budget in dice.sample(budgets, 2):
            if budget.opens_at(clock) <= clock:
                budget.spend(clock)
                accepted = [time for time in accepted if time > clock - 60]
                if len(accepted) >= 60:
                    refused.append(clock)
                    budget.refuse(clock, 5.0)
                else:
                    accepted.append(clock)
                    budget.grant(clock)
    last_half_hour = [time for time in refused if time > 1800]
    assert len(last_half_hour) < 0.02 * 60 * 30
