"""One wait: when it is over, and when a poll must be repeated."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import (
    ConnectionUnavailable,
    DocStatusError,
    KeyRejected,
    NoSuchRoute,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.services import UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.outcomes import TIMED_OUT
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.wait import PATIENCE, Ending, PollAgain, Wait, epoch

START = 1_000_000.0
TIMEOUT = 3600.0
GRACE = 60.0
RUNNING = DocumentStatus(service="unsiloed", kind="job", id="j-1", state=State.RUNNING, word="PROCESSING")
LINK = "https://example.com/j-1"


def status(state: State, **facts: Any) -> DocumentStatus:
    return replace(RUNNING, state=state, word=state.value.upper(), **facts)


def wait(
    *, stalled_after: float | None = None, seen: Any = None, keeps_state: bool = True, is_known: bool = False, **settings: Any
) -> Wait:
    stall = None if stalled_after is None else {"after": stalled_after, "seen": {"j-1": seen} if seen else {}}
    times = {"started_at": START, "deadline": START + TIMEOUT, "grace": GRACE, **settings}
    spec = WaitSpec(id="j-1", stall=stall, **times)
    return Wait(spec=spec, service=UNSILOED, id="j-1", keeps_state=keeps_state, is_known=is_known)


def observe(one: Wait, *heard: tuple[float, DocumentStatus | DocStatusError]) -> list[str | float | None]:
    """Return the outcome after each observation (seconds after the start), or the seconds at which to poll again."""
    told: list[str | float | None] = []
    for after, observation in heard:
        verdict = one.observe(observation, START + after)
        again = verdict.at - START if isinstance(verdict, PollAgain) else None
        told.append(verdict.outcome if isinstance(verdict, Ending) else again)
    return told


UNKNOWN_ID = NotFound("Unsiloed answered 404.", code=404)
GONE = NotFound("Unsiloed answered 410.", is_gone=True, code=410)
REJECTED = KeyRejected("Unsiloed answered 401.", code=401)
REFUSED = RequestRejected("Unsiloed answered 422.", code=422)
GARBAGE = UnexpectedReply("Unsiloed answered HTML.")
NEW_WORD = UnknownWord("Unsiloed calls j-1 'archived'.", word="archived")
DOWN = ServiceUnavailable("Unsiloed answered with 503")


# -- when it is enough -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in State if state.is_final])
@pytest.mark.parametrize("after", [0, TIMEOUT + 1], ids=["at once", "after the deadline"])
def test_a_final_state_ends_a_wait_whenever_it_is_heard(state, after):
    one = wait()
    ending = one.observe(status(state), START + after)
    assert ending == Ending(outcome=state.value, service="unsiloed", id="j-1", status=status(state))


@pytest.mark.parametrize(
    ("heard", "outcomes"),
    [
        ([(1, RUNNING), (TIMEOUT - 1, RUNNING), (TIMEOUT, RUNNING)], [None, None, TIMED_OUT]),
        (
            [(1, DOWN), (TIMEOUT - 1, RateLimited("429", retry_after=9e9)), (TIMEOUT, DOWN), (TIMEOUT + 2, DOWN)],
            [None, None, TIMEOUT + 2, TIMED_OUT],
        ),
        (
            [(0, UNKNOWN_ID), (GRACE - 1, UNKNOWN_ID), (GRACE, UNKNOWN_ID), (GRACE + 5, UNKNOWN_ID)],
            [None, None, GRACE + 5, "not_found"],
        ),
        (
            [(5, RUNNING), (10, UNKNOWN_ID), (25, UNKNOWN_ID), (69, UNKNOWN_ID), (70, UNKNOWN_ID)],
            [None, 25, 40, 84, "not_found"],
        ),
        ([(5, RUNNING), (10, UNKNOWN_ID), (300, UNKNOWN_ID), (310, UNKNOWN_ID)], [None, 25, 315, "not_found"]),
        ([(5, RUNNING), (10, GONE), (15, GONE)], [None, 15, "expired"]),
        (
            [(5, RUNNING), (10, UNKNOWN_ID), (69, RUNNING), (70, UNKNOWN_ID), (100, UNKNOWN_ID), (130, UNKNOWN_ID)],
            [None, 25, None, 85, 115, "not_found"],
        ),
        (
            [(5, RUNNING), (10, UNKNOWN_ID), (40, RateLimited("429")), (41, UNKNOWN_ID), (70, UNKNOWN_ID)],
            [None, 25, None, 56, "not_found"],
        ),
        ([(5, RUNNING), (10, UNKNOWN_ID), (15, RUNNING), (20, UNKNOWN_ID)], [None, 25, None, 35]),
        ([(5, RUNNING), (6, GARBAGE), (10, UNKNOWN_ID), (PATIENCE + 6, GARBAGE)], [None, None, 25, "unexpected"]),
        ([(5, RUNNING), (10, UNKNOWN_ID), (PATIENCE + 5, GARBAGE)], [None, 25, None]),
        ([(0, UNKNOWN_ID), (5, RUNNING), (10, status(State.SUCCEEDED))], [None, None, "succeeded"]),
        ([(1, REJECTED), (6, REJECTED)], [6, "key_rejected"]),
        ([(1, QuotaExhausted("402", code=402))], ["quota"]),
        ([(1, REFUSED), (6, REFUSED)], [6, "rejected"]),
        ([(1, NoSuchRoute("404", code=404)), (6, REFUSED)], [6, "rejected"]),
        ([(1, RequestRejected("no password"))], ["rejected"]),
        ([(1, REJECTED), (6, RUNNING), (11, REJECTED)], [6, None, 16]),
        ([(1, REJECTED), (6, REFUSED), (11, REJECTED)], [6, 11, 16]),
        ([(1, REJECTED), (3, REJECTED), (6, REJECTED)], [6, 6, "key_rejected"]),
        ([(9, GARBAGE), (9 + PATIENCE - 1, GARBAGE), (9 + PATIENCE, GARBAGE)], [None, None, "unexpected"]),
        ([(9, NEW_WORD), (9 + PATIENCE - 1, GARBAGE), (9 + PATIENCE, NEW_WORD)], [None, None, "unexpected"]),
        (
            [(500, RUNNING), (501, NEW_WORD), (501 + PATIENCE - 1, NEW_WORD), (501 + PATIENCE, NEW_WORD)],
            [None] * 3 + ["unexpected"],
        ),
        ([(0, RUNNING), (1200, GARBAGE), (1210, GARBAGE)], [None] * 3),
        ([(0, RUNNING), (10, DOWN), (1190, DOWN), (1200, GARBAGE), (1210, GARBAGE)], [None] * 5),
        ([(0, RUNNING), (10, GARBAGE), (20, DOWN), (1200, DOWN), (1210, GARBAGE)], [None] * 5),
        (
            [(0, GARBAGE), (400, GARBAGE), (401, DOWN), (1000, GARBAGE), (1199, GARBAGE), (1200, GARBAGE)],
            [None] * 5 + ["unexpected"],
        ),
        ([(0, GARBAGE), (400, GARBAGE), (401, RUNNING), (1000, GARBAGE), (1200, GARBAGE)], [None] * 5),
        ([(0, RUNNING), (10, UNKNOWN_ID), (20, DOWN), (3000, DOWN), (3010, UNKNOWN_ID)], [None, 25, None, None, 3025]),
        (
            [(0, RUNNING), (10, UNKNOWN_ID), (20, DOWN), (30, UNKNOWN_ID), (60, UNKNOWN_ID), (90, UNKNOWN_ID)],
            [None, 25, None, 45, 75, "not_found"],
        ),
        ([(1, NEW_WORD), (599, status(State.SUCCEEDED))], [None, "succeeded"]),
        ([(1, GARBAGE), (PATIENCE, RUNNING), (PATIENCE + 2, GARBAGE)], [None] * 3),
        ([(1, DocStatusError("a bug of ours"))], ["unexpected"]),
    ],
    ids=[
        "only running",
        "only down",
        "never known",
        "known and lost for a minute",
        "known and lost, polled seldom",
        "known and gone, the vendor says",
        "known, and lost for less than a minute",
        "known and lost, and a 429 between",
        "known, gone twice but not in a row",
        "garbage, gone, garbage",
        "gone, garbage",
        "known late",
        "key",
        "quota",
        "refused",
        "no route",
        "nothing was sent",
        "refused twice but not in a row",
        "refused twice, in two ways",
        "refused again before it could be confirmed",
        "only garbage",
        "garbage and new words",
        "new word after sound ones",
        "garbage long after a sound reply",
        "garbage after an outage",
        "garbage before and after an outage",
        "garbage for ten minutes, but for an outage",
        "garbage for ten minutes, but for a sound reply",
        "gone, an outage, gone",
        "gone, an outage, gone twice",
        "new word, then an end",
        "one sound reply",
        "bug",
    ],
)
def test_what_waiting_does_not_mend_ends_a_wait_and_the_rest_goes_on(heard, outcomes):
    assert observe(wait(), *heard) == outcomes


@pytest.mark.parametrize("refusal", [UNKNOWN_ID, GONE, REJECTED, REFUSED], ids=lambda error: type(error).__name__)
def test_a_refusal_is_confirmed_on_a_fresh_connection(refusal):
    assert wait(grace=0).observe(refusal, START) == PollAgain(START + 5, fresh_connection=True)


def test_an_id_that_a_process_before_had_a_status_of_is_not_lost_at_once():
    heard = [(0, UNKNOWN_ID), (15, UNKNOWN_ID), (60, UNKNOWN_ID)]
    assert observe(wait(grace=0, is_known=True), *heard) == [15, 30, "not_found"]


def test_an_id_that_is_lost_when_the_time_is_up_has_timed_out():
    heard = [(5, RUNNING), (TIMEOUT - 10, UNKNOWN_ID), (TIMEOUT, UNKNOWN_ID), (TIMEOUT + 2, UNKNOWN_ID)]
    assert observe(wait(), *heard) == [None, TIMEOUT + 5, TIMEOUT + 2, TIMED_OUT]


def test_only_what_is_not_about_one_id_ends_the_waits_for_all():
    about = {401: True, 403: False}
    for code, concerns_account in about.items():
        one = wait(grace=0)
        one.observe(KeyRejected("no", code=code), START)
        ending = one.observe(KeyRejected("no", code=code), START + 5)
        assert isinstance(ending, Ending)
        assert (ending.outcome, ending.concerns_account) == ("key_rejected", concerns_account)
    ending = wait().observe(QuotaExhausted("402", code=402), START)
    assert isinstance(ending, Ending)
    assert ending.concerns_account


# -- who could not be asked ----------------------------------------------------------------------------------------


def test_a_wait_whose_last_poll_could_not_be_made_says_since_when_and_why():
    one = wait()
    ending = one.time_out(START + TIMEOUT + 60, "60 calls a minute")
    assert ending.outcome == "not_asked"
    assert ending.text == (
        f"Unsiloed could not be asked about j-1 since 13:46:40 UTC, {TIMEOUT + 60:.0f} s ago: 60 calls a minute. "
        "The job may be finished; a retry asks again."
    )


def test_a_429_and_a_lost_connection_are_no_answers():
    one = wait()
    observe(one, (5, RUNNING), (TIMEOUT, RateLimited("429")), (TIMEOUT + 9, ConnectionUnavailable("no")))
    ending = one.time_out(START + TIMEOUT + 60, "paused")
    assert ending.outcome == "not_asked"
    assert f"{TIMEOUT + 55:.0f} s ago: paused; its last state was running ('PROCESSING')" in str(ending.text)


@pytest.mark.parametrize("heard", [RUNNING, DOWN, GARBAGE, REFUSED], ids=str)
def test_who_was_asked_at_the_deadline_has_timed_out(heard):
    one = wait()
    observe(one, (TIMEOUT, heard))
    assert one.time_out(START + TIMEOUT + 60, "paused").outcome == TIMED_OUT
    assert wait().time_out(START + TIMEOUT + 60, None).outcome == TIMED_OUT, "its request is under way"


def test_a_web_page_between_two_refusals_makes_them_no_confirmation():
    heard = [(0, UNKNOWN_ID), (5, GARBAGE), (12, UNKNOWN_ID), (17, UNKNOWN_ID)]
    assert observe(wait(grace=0), *heard) == [5, None, 17, "not_found"]


def test_a_fault_at_the_deadline_needs_no_fresh_connection():
    assert wait().observe(DOWN, START + TIMEOUT) == PollAgain(START + TIMEOUT + 2)


def test_an_id_that_could_not_be_polled_at_the_deadline_is_polled_when_it_can_be():
    refused = RateLimited("429", retry_after=7)
    heard = [(TIMEOUT, refused), (TIMEOUT + 7, refused), (TIMEOUT + 14, status(State.SUCCEEDED))]
    assert observe(wait(), *heard) == [None, None, "succeeded"]


def test_the_deadline_ends_a_wait_within_its_grace_too():
    assert observe(wait(grace=9999), (TIMEOUT, UNKNOWN_ID), (TIMEOUT + 2, UNKNOWN_ID)) == [TIMEOUT + 2, TIMED_OUT]


def test_who_does_not_remember_cannot_count_bad_replies_and_waits_for_the_deadline():
    one = wait(keeps_state=False)
    heard = [(PATIENCE * 2, GARBAGE), (TIMEOUT - 1, NEW_WORD), (TIMEOUT, GARBAGE), (TIMEOUT + 2, GARBAGE)]
    assert observe(one, *heard) == [None, None, TIMEOUT + 2, TIMED_OUT]


def test_a_fault_in_answer_to_the_last_question_is_no_answer():
    assert observe(wait(), (5, RUNNING), (TIMEOUT, DOWN), (TIMEOUT + 2, status(State.SUCCEEDED))) == [
        None,
        TIMEOUT + 2,
        "succeeded",
    ]


def test_garbage_for_too_long_says_for_how_long():
    one = wait()
    assert one.observe(NEW_WORD, START) is None
    ending = one.observe(NEW_WORD, START + 700)
    assert ending is not None
    assert ending.text == "Unsiloed calls j-1 'archived'. No sound reply for 700 s."


# -- a stall -----------------------------------------------------------------------------------------------------

LATER = "1970-01-12T13:55:00+00:00"  # START + 500 s
EARLIER = "1970-01-12T12:00:00+00:00"


@pytest.mark.parametrize(
    ("heard", "outcomes"),
    [
        ([(0, RUNNING), (299, RUNNING), (300, RUNNING)], [None, None, "stalled"]),
        ([(0, RUNNING), (299, replace(RUNNING, word="QUEUED")), (598, replace(RUNNING, word="QUEUED"))], [None] * 3),
        (
            [(0, RUNNING), (299, replace(RUNNING, counters={"done": 1})), (598, replace(RUNNING, counters={"done": 1}))],
            [None] * 3,
        ),
        ([(0, RUNNING), (299, replace(RUNNING, updated_at=LATER)), (598, replace(RUNNING, updated_at=LATER))], [None] * 3),
        ([(0, RUNNING), (9, replace(RUNNING, details={"progress": 1})), (301, RUNNING)], [None, None, "stalled"]),
        ([(400, RUNNING), (699, RUNNING), (700, RUNNING)], [None, None, "stalled"]),
        ([(299, replace(RUNNING, updated_at=EARLIER)), (300, replace(RUNNING, updated_at=EARLIER))], [None, "stalled"]),
        ([(700, replace(RUNNING, updated_at=LATER)), (800, replace(RUNNING, updated_at=LATER))], [None, "stalled"]),
        ([(100, replace(RUNNING, updated_at=LATER)), (400, replace(RUNNING, updated_at=LATER))], [None, "stalled"]),
        ([(0, RUNNING), (10, DOWN), (900, DOWN), (901, RUNNING), (1190, RUNNING), (1191, RUNNING)], [None] * 5 + ["stalled"]),
        ([(0, RUNNING), (10, GARBAGE), (500, RUNNING), (789, RUNNING), (790, RUNNING)], [None] * 4 + ["stalled"]),
        ([(60 * turn, DOWN if turn % 2 else RUNNING) for turn in range(11)], [None] * 10 + ["stalled"]),
        (
            [(0, RUNNING), (10, DOWN), (900, RUNNING), (901, status(State.RUNNING)), (1201, status(State.RUNNING))],
            [None] * 4 + ["stalled"],
        ),
        ([(0, DOWN), (500, RUNNING), (799, RUNNING), (800, RUNNING)], [None] * 3 + ["stalled"]),
        ([(0, RUNNING), (300, status(State.FAILED))], [None, "failed"]),
    ],
    ids=[
        "no change",
        "word",
        "counters",
        "updated_at",
        "a detail is no change",
        "first heard late",
        "by the vendor's time: since the start of the try",
        "by the vendor's time: since then",
        "the vendor's clock is ahead",
        "an outage does not count",
        "nor does garbage",
        "every second answer is a fault",
        "nor is an outage before a change made up for",
        "nor does an outage at the start",
        "an end is an end",
    ],
)
def test_a_wait_without_a_change_stalls(heard, outcomes):
    assert observe(wait(stalled_after=300), *heard) == outcomes


def test_nothing_stalls_unless_asked_for():
    assert observe(wait(), (0, RUNNING), (TIMEOUT - 1, RUNNING)) == [None, None]


@pytest.mark.parametrize(
    ("now", "outcomes"),
    [(RUNNING, [None, "stalled"]), (replace(RUNNING, word="QUEUED"), [None, None])],
    ids=["the same", "another"],
)
def test_the_clock_of_a_stall_goes_on_in_another_process_if_nothing_changed_meanwhile(now, outcomes):
    worker = wait(stalled_after=300)
    assert observe(worker, (0, DOWN), (50, RUNNING), (60, RUNNING)) == [None] * 3
    triggerer = wait(stalled_after=300, seen=json.loads(json.dumps(worker.last_seen)))
    assert observe(triggerer, (349, now), (350, now)) == outcomes


def test_an_outage_that_another_process_sat_out_does_not_count():
    worker = wait(stalled_after=300)
    observe(worker, (0, RUNNING), (10, DOWN), (110, RUNNING))
    triggerer = wait(stalled_after=300, seen=worker.last_seen)
    assert observe(triggerer, (399, RUNNING), (400, RUNNING)) == [None, "stalled"]


def test_who_has_heard_nothing_has_nothing_to_hand_over():
    one = wait(stalled_after=300)
    observe(one, (0, DOWN))
    assert one.last_seen is None


def test_a_stall_says_what_stands_still_and_that_nothing_was_touched():
    one = wait(stalled_after=300)
    ending = [one.observe(replace(RUNNING, counters={"done": 1, "total": 3}), START + after) for after in (0, 400)][-1]
    assert ending is not None
    assert ending.text == (
        "Unsiloed j-1 has stalled: still running ('PROCESSING') [done 1, total 3], unchanged for 400 s. "
        "The job at Unsiloed was left alone."
    )


# -- gone --------------------------------------------------------------------------------------------------------


def test_what_the_vendor_says_is_gone_twice_has_expired():
    assert observe(wait(), (0, GONE), (5, GONE)) == [5, "expired"]


# -- the text of a time-out --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "known"),
    [
        ([], "no status was heard"),
        ([(10, RUNNING), (600, RUNNING)], "last state running ('PROCESSING'), unchanged for 3590 s"),
        (
            [(10, RUNNING), (600, DOWN)],
            "last state running ('PROCESSING'), unchanged for 3590 s; last trouble: Unsiloed answered with 503",
        ),
        ([(10, DOWN), (600, RUNNING)], "last state running ('PROCESSING'), unchanged for 3000 s"),
        ([(3600, RUNNING)], "last state running ('PROCESSING')"),
        (
            [(3600, replace(RUNNING, updated_at="1970-01-12T13:56:40+00:00"))],
            "last state running ('PROCESSING'), unchanged for 3000 s",
        ),
    ],
    ids=["silence", "no change", "trouble at the end", "trouble that passed", "one look", "one look, and the vendor's time"],
)
def test_a_time_out_tells_what_was_last_known(heard, known):
    one = wait()
    observe(one, *heard)
    ending = one.time_out(START + TIMEOUT)
    assert ending.outcome == TIMED_OUT
    assert ending.text == f"Unsiloed j-1 was not finished 3600 s after the start: {known}."


@pytest.mark.parametrize(
    "change",
    [{"word": "QUEUED"}, {"counters": {"completed": 1}}, {"updated_at": "2025-10-15T09:52:15+00:00"}],
    ids=["word", "counters", "updated_at"],
)
def test_a_change_of_word_counters_or_time_counts_as_one(change):
    one = wait()
    observe(one, (10, RUNNING), (600, replace(RUNNING, **change)), (700, replace(RUNNING, **change)))
    assert "unchanged for 3000 s" in (one.time_out(START + TIMEOUT).text or "")


@pytest.mark.parametrize("time", [None, "", "yesterday", 7, []], ids=str)
def test_what_is_no_time_is_none(time):
    assert epoch(time) is None
