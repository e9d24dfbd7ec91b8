"""One judge: when a wait ends, and what its end means for a task."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    Expired,
    KeyRejected,
    NoData,
    NoSuchRoute,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ResultTooLarge,
    ServiceUnavailable,
    Stalled,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.verdict import (
    EVENT_VERSION,
    PATIENCE,
    TIMED_OUT,
    Ending,
    ExecutionTimedOut,
    Wait,
    WaitTimedOut,
    epoch,
    error_of,
    errors_for_airflow,
    for_airflow,
    settle,
)

START = 1_000_000.0
TIMEOUT = 3600.0
GRACE = 60.0
RUNNING = DocumentStatus(service="unsiloed", kind="job", id="j-1", state=State.RUNNING, word="PROCESSING")
LINK = "https://example.com/j-1"


def status(state: State, **facts: Any) -> DocumentStatus:
    return replace(RUNNING, state=state, word=state.value.upper(), **facts)


def wait(**settings: Any) -> Wait:
    return Wait(
        service="unsiloed",
        title="Unsiloed",
        id="j-1",
        **{"started_at": START, "deadline": START + TIMEOUT, "grace": GRACE, **settings},
    )


def hear(one: Wait, *heard: tuple[float, DocumentStatus | DocStatusError]) -> list[str | None]:
    """Return the outcome after each observation, given with its seconds after the start."""
    endings = [one.hear(observation, START + after) for after, observation in heard]
    return [ending and ending.outcome for ending in endings]


UNKNOWN_ID = NotFound("Unsiloed answered 404.")
GARBAGE = UnexpectedReply("Unsiloed answered HTML.")
NEW_WORD = UnknownWord("Unsiloed calls j-1 'archived'.", word="archived")
DOWN = ServiceUnavailable("Unsiloed answered with 503")


# -- when it is enough -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in State if state.is_final])
@pytest.mark.parametrize("after", [0, TIMEOUT + 1], ids=["at once", "after the deadline"])
def test_a_final_state_ends_a_wait_whenever_it_is_heard(state, after):
    one = wait()
    ending = one.hear(status(state), START + after)
    assert ending == Ending(outcome=state.value, service="unsiloed", id="j-1", status=status(state))


@pytest.mark.parametrize(
    ("heard", "outcomes"),
    [
        ([(1, RUNNING), (TIMEOUT - 1, RUNNING), (TIMEOUT, RUNNING)], [None, None, TIMED_OUT]),
        (
            [(1, DOWN), (TIMEOUT - 1, RateLimited("429", retry_after=9e9)), (TIMEOUT, DOWN), (TIMEOUT + 2, DOWN)],
            [None] * 3 + [TIMED_OUT],
        ),
        ([(0, UNKNOWN_ID), (GRACE - 1, UNKNOWN_ID), (GRACE, UNKNOWN_ID)], [None, None, "not_found"]),
        ([(5, RUNNING), (10, UNKNOWN_ID), (15, UNKNOWN_ID)], [None, None, "not_found"]),
        ([(5, RUNNING), (10, UNKNOWN_ID), (15, RUNNING), (20, UNKNOWN_ID)], [None, None, None, None]),
        ([(5, RUNNING), (6, GARBAGE), (10, UNKNOWN_ID), (PATIENCE + 6, GARBAGE)], [None, None, None, "unexpected"]),
        ([(5, RUNNING), (10, UNKNOWN_ID), (PATIENCE + 5, GARBAGE)], [None, None, None]),
        ([(0, UNKNOWN_ID), (5, RUNNING), (10, status(State.SUCCEEDED))], [None, None, "succeeded"]),
        ([(1, KeyRejected("401"))], ["key_rejected"]),
        ([(1, QuotaExhausted("402"))], ["quota"]),
        ([(1, RequestRejected("422"))], ["rejected"]),
        ([(1, NoSuchRoute("404"))], ["rejected"]),
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
        ([(0, RUNNING), (10, UNKNOWN_ID), (20, DOWN), (3000, DOWN), (3010, UNKNOWN_ID)], [None] * 5),
        (
            [(0, RUNNING), (10, UNKNOWN_ID), (20, DOWN), (30, UNKNOWN_ID), (40, UNKNOWN_ID)],
            [None] * 4 + ["not_found"],
        ),
        ([(1, NEW_WORD), (599, status(State.SUCCEEDED))], [None, "succeeded"]),
        ([(1, GARBAGE), (PATIENCE, RUNNING), (PATIENCE + 2, GARBAGE)], [None] * 3),
        ([(1, DocStatusError("a bug of ours"))], ["unexpected"]),
    ],
    ids=[
        "only running",
        "only down",
        "never known",
        "known and gone",
        "known, gone twice but not in a row",
        "garbage, gone, garbage",
        "gone, garbage",
        "known late",
        "key",
        "quota",
        "refused",
        "no route",
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
    assert hear(wait(), *heard) == outcomes


def test_what_may_have_been_known_elsewhere_is_gone_when_that_is_said_twice():
    assert hear(wait(grace=0, is_resumed=True), (0, UNKNOWN_ID), (5, UNKNOWN_ID)) == [None, "not_found"]


def test_without_a_grace_an_unknown_id_ends_at_once():
    assert hear(wait(grace=0), (0, UNKNOWN_ID)) == ["not_found"]


@pytest.mark.parametrize(
    ("heard", "observation", "after", "is_doubted"),
    [
        ([], UNKNOWN_ID, GRACE, True),
        ([(0, DOWN)], UNKNOWN_ID, TIMEOUT, True),
        ([], UNKNOWN_ID, GRACE - 1, False),
        ([(0, UNKNOWN_ID)], UNKNOWN_ID, GRACE, False),
        ([(0, RUNNING)], UNKNOWN_ID, GRACE, False),
        ([], NotFound("410", is_gone=True), GRACE, False),
        ([], RUNNING, GRACE, False),
        ([], DOWN, GRACE, False),
    ],
    ids=["at first", "after trouble", "in the grace", "said before", "it was known", "gone", "a status", "trouble"],
)
def test_an_unknown_id_is_doubted_where_it_would_end_a_wait_the_first_time_it_is_heard(heard, observation, after, is_doubted):
    one = wait()
    hear(one, *heard)
    assert one.doubts(observation, START + after) is is_doubted


def test_the_deadline_ends_a_wait_within_its_grace_too():
    assert hear(wait(grace=9999), (TIMEOUT, UNKNOWN_ID), (TIMEOUT + 2, UNKNOWN_ID)) == [None, TIMED_OUT]


def test_who_does_not_remember_cannot_count_bad_replies_and_waits_for_the_deadline():
    one = wait(remembers=False)
    heard = [(PATIENCE * 2, GARBAGE), (TIMEOUT - 1, NEW_WORD), (TIMEOUT, GARBAGE), (TIMEOUT + 2, GARBAGE)]
    assert hear(one, *heard) == [None, None, None, TIMED_OUT]


def test_a_fault_in_answer_to_the_last_question_is_no_answer():
    assert hear(wait(), (5, RUNNING), (TIMEOUT, DOWN), (TIMEOUT + 2, status(State.SUCCEEDED))) == [None, None, "succeeded"]


def test_garbage_for_too_long_says_for_how_long():
    one = wait()
    assert one.hear(NEW_WORD, START) is None
    ending = one.hear(NEW_WORD, START + 700)
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
    assert hear(wait(stalled_after=300), *heard) == outcomes


def test_nothing_stalls_unless_asked_for():
    assert hear(wait(), (0, RUNNING), (TIMEOUT - 1, RUNNING)) == [None, None]


@pytest.mark.parametrize(
    ("now", "outcomes"),
    [(RUNNING, [None, "stalled"]), (replace(RUNNING, word="QUEUED"), [None, None])],
    ids=["the same", "another"],
)
def test_the_clock_of_a_stall_goes_on_in_another_process_if_nothing_changed_meanwhile(now, outcomes):
    worker = wait(stalled_after=300)
    assert hear(worker, (0, DOWN), (50, RUNNING), (60, RUNNING)) == [None] * 3
    triggerer = wait(stalled_after=300, seen=json.loads(json.dumps(worker.last_seen)))
    assert hear(triggerer, (349, now), (350, now)) == outcomes


def test_an_outage_that_another_process_sat_out_does_not_count():
    worker = wait(stalled_after=300)
    hear(worker, (0, RUNNING), (10, DOWN), (110, RUNNING))
    triggerer = wait(stalled_after=300, seen=worker.last_seen)
    assert hear(triggerer, (399, RUNNING), (400, RUNNING)) == [None, "stalled"]


def test_who_has_heard_nothing_has_nothing_to_hand_over():
    one = wait(stalled_after=300)
    hear(one, (0, DOWN))
    assert one.last_seen is None


def test_a_stall_says_what_stands_still_and_that_nothing_was_touched():
    one = wait(stalled_after=300)
    ending = [one.hear(replace(RUNNING, counters={"done": 1, "total": 3}), START + after) for after in (0, 400)][-1]
    assert ending is not None
    assert ending.text == (
        "Unsiloed j-1 has stalled: still running ('PROCESSING') [done 1, total 3], unchanged for 400 s. "
        "The job at Unsiloed was left alone."
    )


# -- gone --------------------------------------------------------------------------------------------------------


def test_what_the_vendor_says_is_gone_has_expired_at_once():
    assert hear(wait(), (0, NotFound("Unsiloed answered 410.", is_gone=True))) == ["expired"]


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
    hear(one, *heard)
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
    hear(one, (10, RUNNING), (600, replace(RUNNING, **change)), (700, replace(RUNNING, **change)))
    assert "unchanged for 3000 s" in (one.time_out(START + TIMEOUT).text or "")


# -- the event ---------------------------------------------------------------------------------------------------

ENDINGS = [
    Ending(outcome="succeeded", service="unsiloed", id="j-1", status=status(State.SUCCEEDED)),
    Ending(outcome="partial", service="unsiloed", id="j-1", status=status(State.PARTIAL, children=(status(State.FAILED),))),
    Ending(outcome="not_found", service="unsiloed", id="j-1", text="gone"),
    Ending(outcome="expired", service="unsiloed", id="j-1", text="gone"),
    Ending(outcome="expired", service="unsiloed", id="j-1", status=RUNNING, text="gone"),
    Ending(outcome="expired", service="unsiloed", id="j-1", status=status(State.EXPIRED)),
    Ending(outcome="stalled", service="unsiloed", id="j-1", status=RUNNING, text="stuck"),
    Ending(outcome=TIMED_OUT, service="unsiloed", id="j-1", status=RUNNING, text="late"),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.outcome)
def test_an_event_is_small_json_and_read_back_as_the_same_ending(ending):
    event = json.loads(json.dumps(ending.to_event()))
    assert set(event) == {"version", "outcome", "service", "id", "status", "text"}
    again = Ending.from_event(event)
    assert again.to_event() == event
    assert (again.outcome, again.id, again.text) == (ending.outcome, ending.id, ending.text)


GOOD = ENDINGS[0].to_event()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (None, "no event of this package but a NoneType"),
        ("succeeded", "but a str"),
        ([], "but a list"),
        ({}, "has version None"),
        ({"status": "success", "message": "of another provider"}, "has version None"),
        ({**GOOD, "version": EVENT_VERSION + 1}, f"has version {EVENT_VERSION + 1}, this worker reads {EVENT_VERSION}"),
        ({**GOOD, "version": True}, "has version True"),
        ({**GOOD, "version": "1"}, "install the same airflow-provider-docstatus on workers and triggerers"),
        ({**GOOD, "outcome": "archived"}, "unknown outcome, 'archived'"),
        ({**GOOD, "outcome": "running"}, "unknown outcome, 'running'"),
        ({**GOOD, "outcome": None}, "unknown outcome"),
        ({**GOOD, "status": None}, "says succeeded but holds no such status"),
        ({**GOOD, "status": ENDINGS[1].to_event()["status"]}, "says succeeded but holds no such status"),
        ({**GOOD, "outcome": "expired"}, "says expired but holds no such status"),
        ({**GOOD, "status": {}}, "cannot be read (KeyError)"),
        ({**GOOD, "status": 7}, "cannot be read (TypeError)"),
        ({**GOOD, "status": {**GOOD["status"], "state": "archived"}}, "cannot be read (ValueError)"),
        ({**GOOD, "status": {**GOOD["status"], "children": []}}, "cannot be read (TypeError)"),
        *[({**GOOD, name: wrong}, "cannot be read (TypeError)") for name in ("service", "id", "text") for wrong in (5, [])],
        *[
            ({**GOOD, "status": {**GOOD["status"], name: wrong}}, "cannot be read (TypeError)")
            for name in sorted(GOOD["status"].keys() - {"state"})
            for wrong in (5, ["a"])
        ],
        *[({**GOOD, "status": {**GOOD["status"], name: "x"}}, "cannot be read (TypeError)") for name in ("counters", "details")],
        ({**GOOD, "status": {**GOOD["status"], "children": {"d": "failed"}, "errors": {"d": 5}}}, "cannot be read (TypeError)"),
        ({**GOOD, "outcome": TIMED_OUT, "status": None, "text": 5}, "cannot be read (TypeError)"),
        ({**GOOD, "service": "aitronos"}, "is about j-1 but holds the status of another id"),
        ({**GOOD, "id": "j-2"}, "is about j-2 but holds the status of another id"),
        ({name: value for name, value in GOOD.items() if name != "text"}, "cannot be read (KeyError)"),
        ({name: value for name, value in GOOD.items() if name != "id"}, "cannot be read (KeyError)"),
    ],
    ids=lambda value: str(value)[-50:],
)
def test_an_event_that_is_not_ours_never_opens_a_gate(event, said):
    with pytest.raises(UnexpectedReply) as caught:
        Ending.from_event(event)
    assert said in str(caught.value)


# -- what it means -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "accept", "opens"),
    [
        (State.SUCCEEDED, (), True),
        (State.PARTIAL, (), False),
        (State.REVIEW, (), False),
        (State.PARTIAL, ("review",), False),
        (State.PARTIAL, ("partial", "review"), True),
        (State.REVIEW, ("review",), True),
        (State.FAILED, ("partial", "review"), False),
        (State.CANCELLED, ("partial", "review"), False),
        (State.EXPIRED, ("partial", "review"), False),
    ],
    ids=str,
)
def test_a_gate_is_strict_unless_told_otherwise(state, accept, opens):
    told = status(state, link=LINK)
    ending = Ending(outcome=state.value, service="unsiloed", id="j-1", status=told)
    if opens:
        assert settle(ending, accept) == told.to_dict()
        return
    with pytest.raises(DocumentFailed) as caught:
        settle(ending, accept)
    error = caught.value
    assert isinstance(error, AirflowFailException)
    assert (error.service, error.id, error.state, error.link) == ("unsiloed", "j-1", state, LINK)
    assert str(error).startswith(f"unsiloed job j-1 ended {state} ('{state.value.upper()}')")
    assert str(error).endswith(LINK)
    hint = f"To let it pass, give the task accept=('{state}',)."
    assert (hint in str(error)) == (state in (State.PARTIAL, State.REVIEW))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"message": "torn page"}, "('FAILED'): torn page"),
        ({}, "('FAILED'): the vendor gave no reason"),
        ({"counters": {"total": 2, "failed": 1}}, "('FAILED') [total 2, failed 1]: the vendor gave no reason"),
        ({"children": (replace(status(State.FAILED), id="d-1", message="torn page"),)}, ": d-1: torn page"),
    ],
    ids=["text", "no text", "counters", "children"],
)
def test_a_failure_says_what_the_vendor_said(facts, said):
    with pytest.raises(DocumentFailed) as caught:
        settle(Ending(outcome="failed", service="unsiloed", id="j-1", status=status(State.FAILED, **facts)))
    assert said in str(caught.value)


def test_a_failure_with_many_reasons_is_cut():
    children = tuple(replace(status(State.FAILED), id=f"d-{n}", message="x" * 400) for n in range(50))
    with pytest.raises(DocumentFailed) as caught:
        settle(Ending(outcome="partial", service="unsiloed", id="j-1", status=status(State.PARTIAL, children=children)))
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    ("outcome", "kind", "for_good"),
    [
        ("not_found", NotFound, True),
        ("expired", Expired, True),
        ("stalled", Stalled, True),
        ("key_rejected", KeyRejected, True),
        ("quota", QuotaExhausted, True),
        ("rejected", RequestRejected, True),
        ("unexpected", UnexpectedReply, False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.parametrize("last", [None, replace(RUNNING, link=LINK)], ids=["no status", "a status"])
def test_every_other_ending_is_the_error_for_who_must_act(outcome, kind, for_good, last):
    with pytest.raises(kind) as caught:
        settle(Ending(outcome=outcome, service="unsiloed", id="j-1", status=last, text="what happened"), accept=("partial",))
    error = caught.value
    assert str(error) == "what happened"
    assert error_of(outcome) is kind
    assert isinstance(error, AirflowFailException) is for_good
    assert (error.service, error.id) == ("unsiloed", "j-1")
    assert (error.state, error.link) == ((State.RUNNING, LINK) if last else (None, None))


@pytest.mark.parametrize("last", [None, replace(RUNNING, link=LINK)], ids=["no status", "a status"])
@pytest.mark.parametrize(("overdue", "limit"), [(WaitTimedOut, "timeout"), (ExecutionTimedOut, "execution_timeout")])
def test_a_time_out_names_its_limit_and_what_to_do(overdue, limit, last):
    ending = Ending(outcome=TIMED_OUT, service="unsiloed", id="j-1", status=last, text="Not finished.")
    with pytest.raises(overdue) as caught:
        settle(ending, accept=("partial",), overdue=overdue)
    error = caught.value
    assert str(error) == (
        f"Not finished. The job was left alone when {limit} passed; clear the task to wait on, or raise {limit}."
    )
    assert error_of(TIMED_OUT) is WaitTimedOut
    assert not isinstance(error, AirflowFailException)
    assert (error.service, error.id) == ("unsiloed", "j-1")
    assert (error.state, error.link) == ((State.RUNNING, LINK) if last else (None, None))


def test_an_ending_without_a_text_is_named():
    with pytest.raises(NotFound, match="not_found"):
        settle(Ending(outcome="not_found", service="unsiloed", id="j-1"))


def test_success_without_a_status_is_a_bug_of_ours():
    with pytest.raises(ValueError, match="succeeded without a status"):
        settle(Ending(outcome="succeeded", service="unsiloed", id="j-1"))


@pytest.mark.parametrize(("ours", "airflows"), [(WaitTimedOut, AirflowSensorTimeout), (ExecutionTimedOut, AirflowTaskTimeout)])
def test_a_time_out_is_airflows_own(ours, airflows):
    assert issubclass(ours, airflows)
    assert issubclass(ours, DocStatusError)
    assert not issubclass(ours, AirflowFailException)


def test_which_time_out_it_was_is_said_by_who_set_it():
    with pytest.raises(ExecutionTimedOut, match="late"):
        settle(Ending(outcome=TIMED_OUT, service="unsiloed", id="j-1", text="late"), overdue=ExecutionTimedOut)


def test_what_the_vendor_calls_expired_is_the_same_error():
    with pytest.raises(Expired, match=r"ended expired \('EXPIRED'\)") as caught:
        settle(Ending(outcome="expired", service="unsiloed", id="j-1", status=status(State.EXPIRED)))
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("time", [None, "", "yesterday", 7, []], ids=str)
def test_what_is_no_time_is_none(time):
    assert epoch(time) is None


# -- joined with Airflow -----------------------------------------------------------------------------------------

FOR_GOOD = [
    DocumentFailed,
    Expired,
    KeyRejected,
    NoData,
    NoSuchRoute,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    ResultTooLarge,
    Stalled,
]


@pytest.mark.parametrize("kind", FOR_GOOD, ids=lambda kind: kind.__name__)
def test_what_a_retry_cannot_help_is_not_retried(kind):
    joined = for_airflow(kind("what happened", service="unsiloed", id="j-1", state=State.FAILED, link=LINK))
    assert isinstance(joined, kind)
    assert isinstance(joined, AirflowFailException)
    assert type(joined).__name__ == kind.__name__
    assert str(joined) == "what happened"
    assert (joined.service, joined.id, joined.state, joined.link) == ("unsiloed", "j-1", State.FAILED, LINK)
    assert for_airflow(joined) is joined


@pytest.mark.parametrize("error", [DOWN, RateLimited("429", retry_after=3), GARBAGE, NEW_WORD, WaitTimedOut("late")], ids=repr)
def test_what_a_retry_may_help_is_left_to_the_task(error):
    assert for_airflow(error) is error
    assert not isinstance(error, AirflowFailException)


def test_errors_on_their_way_to_airflow_keep_their_cause():
    with pytest.raises(KeyRejected) as caught, errors_for_airflow():
        raise KeyRejected("401", id="j-1")
    assert isinstance(caught.value, AirflowFailException)
    assert type(caught.value.__cause__) is KeyRejected
    assert caught.value.id == "j-1"


@pytest.mark.parametrize("error", [DOWN, ZeroDivisionError("a bug"), AirflowFailException("of Airflow")], ids=repr)
def test_other_errors_pass_unchanged(error):
    with pytest.raises(type(error)) as caught, errors_for_airflow():
        raise error
    assert caught.value is error


def test_nothing_happens_where_nothing_goes_wrong():
    with errors_for_airflow():
        pass
