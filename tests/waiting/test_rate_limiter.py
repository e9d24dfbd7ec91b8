"""No rolling minute holds more than the limit, whatever is sent when; a 429 pauses everybody."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.protocol.responses import RateLimitSignal
from airflow_provider_docstatus.waiting.rate_limiter import DAY, FIRST_PAUSE, LEAST_RATE, MINUTE, RateLimiter


def _send_all(limiter: RateLimiter, arrivals: list[float]) -> list[float]:
    """Send at each arrival, or as soon as the limiter lets it through, in turn; return when each was sent."""
    sent, clock = [], 0.0
    for arrival in arrivals:
        clock = max(clock, arrival)
        while (opens := limiter.opens_at(clock)) > clock:
            clock = opens
        limiter.spend(clock)
        sent.append(clock)
    return sent


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
    sent = _send_all(RateLimiter(per_minute=per_minute, share=share), arrivals)
    assert _most_in(60.0, sent) <= max(1, per_minute * share)


#: A time that is later by a rounding error of the sums counts as the same.
ALMOST_A_SECOND = 1 - 1e-6


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    per_second=st.one_of(st.integers(1, 50), st.floats(0.2, 50)),
    per_minute=st.one_of(st.none(), st.integers(1, 300)),
    share=st.floats(0.1, 1.0),
    gaps=st.lists(st.floats(0, 0.5), min_size=1, max_size=150),
)
def test_no_rolling_second_holds_more_than_the_share_of_the_limit(per_second, per_minute, share, gaps):
    arrivals = [sum(gaps[:n]) for n in range(len(gaps))]
    sent = _send_all(RateLimiter(per_second=per_second, per_minute=per_minute, share=share), arrivals)
    assert _most_in(ALMOST_A_SECOND, sent) <= max(1, per_second * share)
    if per_minute is not None:
        assert _most_in(60.0, sent) <= max(1, per_minute * share)


def test_fifteen_a_second_are_nearly_used_up_and_never_passed():
    sent = _send_all(RateLimiter(per_second=15, per_minute=None), [0.0] * 300)
    assert _most_in(ALMOST_A_SECOND, sent) <= 15
    assert sent[-1] < 300 / 15 * 1.15


def test_one_a_second_is_one_each_second():
    sent = _send_all(RateLimiter(per_second=1, per_minute=None), [0.0] * 10)
    assert [later - time for time, later in pairwise(sent)] == pytest.approx([1.0] * 9)


def test_the_minute_holds_beside_the_second():
    sent = _send_all(RateLimiter(per_second=5, per_minute=60), [0.0] * 200)
    assert _most_in(ALMOST_A_SECOND, sent) <= 5
    assert _most_in(60.0, sent) <= 60
    assert sent[-1] < 200 / 60 * 60 * 1.15


def test_a_429_slows_the_second_down_as_well():
    limiter = RateLimiter(per_second=10, per_minute=None)
    limiter.throttled(0.0, 10.0)
    assert limiter.opens_at(0.0) == 10.0
    assert len([time for time in _send_all(limiter, [10.0] * 20) if time < 11.0]) <= 6


def test_the_seconds_limit_can_be_changed_without_forgetting_what_was_sent():
    limiter = RateLimiter(per_second=10, per_minute=60, now=0.0)
    _send_all(limiter, [0.0] * 6)
    before = limiter.opens_at(0.5)
    limiter.change(per_second=1, per_minute=60, per_day=None, share=1.0, now=0.5)
    assert limiter.opens_at(0.5) >= before
    limiter.change(per_second=None, per_minute=None, per_day=None, share=1.0, now=0.5)
    assert limiter.opens_at(0.5) == 0.5


def test_four_hundred_waits_on_sixty_a_minute_are_sixty_requests_in_any_minute():
    sent = _send_all(RateLimiter(per_minute=60), [0.0] * 400)
    assert _most_in(60.0, sent) <= 60
    assert sent[-1] < 400 / 60 * 60 * 1.15  # and nearly all of the limit is used


def test_a_day_holds_no_more_than_the_limit_of_a_day():
    sent = _send_all(RateLimiter(per_minute=100, per_day=1000), [0.0] * 1500)
    assert _most_in(86_400.0, sent) <= 1000


def test_without_a_limit_nothing_waits():
    limiter = RateLimiter(per_minute=None)
    assert _send_all(limiter, [0.0] * 1000)[-1] == 0
    assert limiter.per_minute_now(0.0) is None


@pytest.mark.parametrize(("named", "pause"), [(5.0, 5.0), (None, FIRST_PAUSE), (0.0, FIRST_PAUSE)])
def test_a_429_pauses_for_as_long_as_the_service_says(named, pause):
    limiter = RateLimiter(per_minute=60)
    assert limiter.throttled(100.0, named)
    assert limiter.opens_at(100.0) == pytest.approx(100.0 + pause)


def test_throttled_requests_that_were_under_way_count_once():
    limiter = RateLimiter(per_minute=60)
    before = limiter.pace(100.0)
    assert limiter.throttled(100.0, 5.0)
    assert not limiter.throttled(100.1, 5.0)
    assert limiter.throttles == 1
    assert limiter.pace(100.1) == pytest.approx(before / 2)


def test_after_a_429_the_rate_is_halved_and_grows_back():
    limiter = RateLimiter(per_minute=60)
    limiter.throttled(0.0, 10.0)
    assert limiter.pace(10.0) == pytest.approx(0.5)
    assert 0.5 < limiter.pace(70.0) < 1
    assert limiter.pace(400.0) == 1


def test_a_429_does_not_take_the_days_requests():
    """Aitronos' limits: after one 429 a day's bucket that was cut down too would send every half minute for a day."""
    limiter = RateLimiter(per_minute=100, per_day=10_000, share=0.8)
    limiter.throttled(0.0, 2.0)
    sent = _send_all(limiter, [2.0] * 60)
    assert sent[-1] - sent[0] < 120
    assert limiter.per_minute_now(1000.0) == pytest.approx(72.0)


def test_what_a_day_has_left_is_what_a_minute_can_have():
    limiter = RateLimiter(per_minute=100, per_day=1000)
    _send_all(limiter, [0.0] * 510)
    assert 0 < limiter.per_minute_now(600.0) < 5


def test_pauses_in_a_row_get_longer_and_never_stop_the_rate():
    limiter, clock, pauses = RateLimiter(per_minute=60), 0.0, []
    for _ in range(12):
        limiter.throttled(clock, None)
        pauses.append(limiter.paused_until - clock)
        clock = limiter.paused_until
    assert pauses == sorted(pauses)
    assert limiter.pace(clock) >= LEAST_RATE
    limiter.ok(clock)
    limiter.throttled(clock, None)
    assert limiter.paused_until - clock == FIRST_PAUSE


def test_another_limit_does_not_forget_what_was_sent_nor_end_a_pause():
    limiter = RateLimiter(per_minute=60, per_day=1000)
    sent = _send_all(limiter, [0.0] * 20)
    limiter.throttled(sent[-1], 30.0)
    limiter.change(per_minute=120, per_day=1000, share=0.5, now=sent[-1])
    assert limiter.opens_at(sent[-1]) >= sent[-1] + 30
    assert not limiter.change(per_minute=None, per_day=1000, share=0.01, now=sent[-1])
    assert limiter.opens_at(sent[-1] + 3600) > sent[-1] + 7200, "of the day's 10, 20 are gone"


def test_the_days_limit_can_be_raised_and_lowered():
    limiter = RateLimiter(per_minute=None, per_day=10_000)
    _send_all(limiter, [0.0] * 5_000)
    assert limiter.opens_at(0.0) > 10, "half of the day's limit is used, the rest comes evenly"
    limiter.change(per_minute=None, per_day=100_000, share=1.0, now=0.0)
    assert limiter.per_minute_now(0.0) > 40_000, "of 50,000 at once, 5,000 are gone"
    limiter.change(per_minute=None, per_day=None, share=1.0, now=0.0)
    assert limiter.opens_at(0.0) == 0.0
    assert not limiter.is_limited


@pytest.mark.parametrize(("window", "name"), [(MINUTE, "per_minute"), (DAY, "per_day")])
def test_what_was_sent_counts_no_longer_than_its_window(window, name):
    limits = {"per_minute": None, "per_day": None}
    limiter = RateLimiter(**limits | {name: 10_000})
    sent = _send_all(limiter, [0.0] * 1_000)[-1]
    limiter.change(**limits | {name: 100}, share=1.0, now=sent)
    assert sent + window / 2 < limiter.opens_at(sent) <= sent + window * 1.1


def test_a_clock_that_is_set_back_neither_stops_the_requests_nor_makes_the_pause_longer():
    limiter = RateLimiter(per_minute=60)
    _send_all(limiter, [5000.0] * 10)
    limiter.throttled(5001.0, 5.0)
    assert limiter.opens_at(1401.0) == pytest.approx(1406.0, abs=1.5)
    sent = _send_all(limiter, [1406.0] * 30)
    assert sent[-1] < 1406.0 + 90


def test_headers_that_say_nothing_is_left_pause_without_slowing():
    limiter = RateLimiter(per_minute=60)
    limiter.exhausted(30.0, 0.0)
    assert limiter.opens_at(0.0) == 30.0
    assert limiter.pace(30.0) == 1


def test_a_response_that_throttles_pauses_and_says_so_once():
    limiter, signal = RateLimiter(per_minute=60), RateLimitSignal(is_throttled=True, retry_after=7.0)
    assert limiter.update(signal, 100.0)
    assert limiter.paused_until == 107.0
    assert not limiter.update(signal, 100.1), "it was under way when the pause began"
    assert limiter.throttles == 1


def test_a_response_that_throttles_and_names_no_time_pauses_all_the_same():
    limiter = RateLimiter(per_minute=60)
    assert limiter.update(RateLimitSignal(is_throttled=True), 100.0)
    assert limiter.paused_until == 100.0 + FIRST_PAUSE


def test_a_response_that_says_nothing_is_left_pauses_but_is_no_429():
    limiter = RateLimiter(per_minute=60)
    assert not limiter.update(RateLimitSignal(is_throttled=False, resumes_at=130.0), 100.0)
    assert limiter.paused_until == 130.0
    assert limiter.throttles == 0
    assert limiter.pace(130.0) == 1


def test_a_good_response_after_the_pause_lets_the_next_429_begin_with_the_first_pause():
    limiter = RateLimiter(per_minute=60)
    for _ in range(3):
        limiter.update(RateLimitSignal(is_throttled=True), limiter.paused_until)
    assert not limiter.update(RateLimitSignal(is_throttled=False), limiter.paused_until - 1)
    assert limiter.throttles == 3, "it was sent before the pause"
    assert not limiter.update(RateLimitSignal(is_throttled=False), limiter.paused_until)
    assert limiter.throttles == 0


def test_two_processes_on_one_key_converge_without_talking():
    """Each believes it has the whole limit; the service refuses above 60 in a minute. The 429s get rare."""
    dice = random.Random(1)
    limiters = [RateLimiter(per_minute=60), RateLimiter(per_minute=60)]
    accepted: list[float] = []
    refused: list[float] = []
    clock = 0.0
    while clock < 3600:
        clock += 0.1
        for limiter in dice.sample(limiters, 2):
            if limiter.opens_at(clock) <= clock:
                limiter.spend(clock)
                accepted = [time for time in accepted if time > clock - 60]
                if len(accepted) >= 60:
                    refused.append(clock)
                    limiter.throttled(clock, 5.0)
                else:
                    accepted.append(clock)
                    limiter.ok(clock)
    last_half_hour = [time for time in refused if time > 1800]
    assert len(last_half_hour) < 0.02 * 60 * 30


def test_a_pause_of_more_than_ten_minutes_is_probed_with_single_requests():
    limiter = RateLimiter(per_minute=600, now=0.0)
    day = RateLimitSignal(is_throttled=True, retry_after=86_400.0)
    assert limiter.update(day, 0.0)
    assert limiter.opens_at(0.0) == 600.0
    limiter.spend(600.0)
    assert limiter.opens_at(600.0) == 660.0, "the others wait for the response to the first"
    assert limiter.update(day, 601.0), "still paused: the next probe is ten minutes later"
    assert limiter.opens_at(601.0) == 1201.0
    limiter.spend(1201.0)
    limiter.update(RateLimitSignal(is_throttled=False), 1202.0)
    assert limiter.opens_at(1202.0) == 1202.0


def test_a_probe_without_a_response_is_followed_by_another():
    limiter = RateLimiter(per_minute=60, now=0.0)
    limiter.throttled(0.0, 3000.0)
    limiter.spend(600.0)
    assert limiter.opens_at(601.0) == 660.0


def test_a_response_to_a_request_from_before_the_pause_does_not_end_it():
    limiter = RateLimiter(per_minute=60, now=0.0)
    limiter.throttled(0.0, 3000.0)
    limiter.ok(1.0)
    assert limiter.opens_at(1.0) == 600.0


def test_headers_that_say_nothing_is_left_for_an_hour_are_probed_as_well():
    limiter = RateLimiter(per_minute=60, now=0.0)
    limiter.exhausted(3000.0, 0.0)
    assert limiter.opens_at(0.0) == 600.0
    limiter.spend(600.0)
    limiter.ok(601.0)
    assert limiter.opens_at(601.0) < 603.0


def test_the_limiter_says_what_holds_requests_up():
    limiter = RateLimiter(per_minute=60, per_day=100, now=0.0)
    assert limiter.describe(0.0).endswith("calls a minute")
    limiter.throttled(0.0, 90.0)
    assert limiter.describe(0.0).endswith(", paused until 00:01:30 UTC")
    limiter = RateLimiter(per_minute=None, per_day=2, now=0.0)
    limiter.spend(0.0)
    assert limiter.describe(0.0).endswith(", since this process has used its share of 2 calls a day")


def test_the_limiter_says_what_a_second_may_have():
    assert RateLimiter(per_minute=60, per_second=15, share=0.8).describe(0.0).endswith(" calls a minute, at most 12 in a second")
    assert RateLimiter(per_minute=None, per_second=1, share=0.8).describe(0.0) == "48 calls a minute, at most 0.8 in a second"
    limiter = RateLimiter(per_minute=None, per_second=2)
    limiter.throttled(0.0, 90.0)
    assert limiter.describe(0.0).endswith("at most 2 in a second, paused until 00:01:30 UTC")
