"""One judge: when a wait ends, and what its end means for a task."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
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
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.verdict import (
    EVENT_VERSION,
    PATIENCE,
    TIMED_OUT,
    Ending,
    Wait,
    WaitTimedOut,
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
        ([(1, DOWN), (TIMEOUT - 1, RateLimited("429", retry_after=9e9)), (TIMEOUT, DOWN)], [None, None, TIMED_OUT]),
        ([(0, UNKNOWN_ID), (GRACE - 1, UNKNOWN_ID), (GRACE, UNKNOWN_ID)], [None, None, "not_found"]),
        ([(0, UNKNOWN_ID), (5, RUNNING), (10, UNKNOWN_ID)], [None, None, "not_found"]),
        ([(0, UNKNOWN_ID), (5, RUNNING), (10, status(State.SUCCEEDED))], [None, None, "succeeded"]),
        ([(1, KeyRejected("401"))], ["key_rejected"]),
        ([(1, QuotaExhausted("402"))], ["quota"]),
        ([(1, RequestRejected("422"))], ["rejected"]),
        ([(1, NoSuchRoute("404"))], ["rejected"]),
        ([(9, GARBAGE), (9 + PATIENCE - 1, GARBAGE), (9 + PATIENCE, GARBAGE)], [None, None, "unexpected"]),
        ([(9, NEW_WORD), (9 + PATIENCE - 1, GARBAGE), (9 + PATIENCE, NEW_WORD)], [None, None, "unexpected"]),
        (
            [(500, RUNNING), (501, NEW_WORD), (500 + PATIENCE - 1, NEW_WORD), (500 + PATIENCE, NEW_WORD)],
            [None] * 3 + ["unexpected"],
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
        "known late",
        "key",
        "quota",
        "refused",
        "no route",
        "only garbage",
        "garbage and new words",
        "new word after sound ones",
        "new word, then an end",
        "one sound reply",
        "bug",
    ],
)
def test_what_waiting_does_not_mend_ends_a_wait_and_the_rest_goes_on(heard, outcomes):
    assert hear(wait(), *heard) == outcomes


def test_without_a_grace_an_unknown_id_ends_at_once():
    assert hear(wait(grace=0), (0, UNKNOWN_ID)) == ["not_found"]


def test_the_deadline_ends_a_wait_within_its_grace_too():
    assert hear(wait(grace=9999), (TIMEOUT, UNKNOWN_ID)) == [TIMED_OUT]


def test_who_does_not_remember_cannot_count_bad_replies_and_waits_for_the_deadline():
    one = wait(remembers=False)
    assert hear(one, (PATIENCE * 2, GARBAGE), (TIMEOUT - 1, NEW_WORD), (TIMEOUT, GARBAGE)) == [None, None, TIMED_OUT]


def test_garbage_for_too_long_says_for_how_long():
    one = wait()
    assert one.hear(NEW_WORD, START) is None
    ending = one.hear(NEW_WORD, START + 700)
    assert ending is not None
    assert ending.text == "Unsiloed calls j-1 'archived'. No sound reply for 700 s."


# -- the text of a time-out --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "known"),
    [
        ([], "it never gave a status"),
        ([(10, RUNNING), (600, RUNNING)], "last state running ('PROCESSING'), unchanged for 3590 s"),
        (
            [(10, RUNNING), (600, DOWN)],
            "last state running ('PROCESSING'), unchanged for 3590 s; last trouble: Unsiloed answered with 503",
        ),
        ([(10, DOWN), (600, RUNNING)], "last state running ('PROCESSING'), unchanged for 3000 s"),
    ],
    ids=["silence", "no change", "trouble at the end", "trouble that passed"],
)
def test_a_time_out_tells_what_was_last_known(heard, known):
    one = wait()
    hear(one, *heard)
    ending = one.time_out(START + TIMEOUT)
    assert ending.outcome == TIMED_OUT
    assert ending.text == f"Unsiloed j-1 was not finished 3600 s after the start: {known}. The job at Unsiloed was left alone."


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
        ({**GOOD, "version": "1"}, "install the same airflow-provider-docstatus on workers and triggerers"),
        ({**GOOD, "outcome": "archived"}, "unknown outcome, 'archived'"),
        ({**GOOD, "outcome": "running"}, "unknown outcome, 'running'"),
        ({**GOOD, "outcome": None}, "unknown outcome"),
        ({**GOOD, "status": None}, "says succeeded but holds no such status"),
        ({**GOOD, "status": ENDINGS[1].to_event()["status"]}, "says succeeded but holds no such status"),
        ({**GOOD, "status": {}}, "cannot be read (KeyError)"),
        ({**GOOD, "status": 7}, "cannot be read (TypeError)"),
        ({**GOOD, "status": {**GOOD["status"], "state": "archived"}}, "cannot be read (ValueError)"),
        ({**GOOD, "status": {**GOOD["status"], "children": []}}, "cannot be read (TypeError)"),
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
        ("key_rejected", KeyRejected, True),
        ("quota", QuotaExhausted, True),
        ("rejected", RequestRejected, True),
        ("unexpected", UnexpectedReply, False),
        (TIMED_OUT, WaitTimedOut, False),
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


def test_an_ending_without_a_text_is_named():
    with pytest.raises(NotFound, match="not_found"):
        settle(Ending(outcome="not_found", service="unsiloed", id="j-1"))


def test_success_without_a_status_is_a_bug_of_ours():
    with pytest.raises(ValueError, match="succeeded without a status"):
        settle(Ending(outcome="succeeded", service="unsiloed", id="j-1"))


def test_a_time_out_is_airflows_own():
    assert issubclass(WaitTimedOut, AirflowSensorTimeout)
    assert issubclass(WaitTimedOut, DocStatusError)
    assert not issubclass(WaitTimedOut, AirflowFailException)


# -- joined with Airflow -----------------------------------------------------------------------------------------

FOR_GOOD = [
    DocumentFailed,
    KeyRejected,
    NoData,
    NoSuchRoute,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    ResultTooLarge,
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
