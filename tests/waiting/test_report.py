"""What a trigger sends, and what a task makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import (
    DocumentFailed,
    ExecutionTimedOut,
    Expired,
    KeyRejected,
    NotAsked,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    Stalled,
    UnexpectedReply,
    WaitTimedOut,
)
from airflow_provider_docstatus.services import AITRONOS
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.outcomes import OUTCOMES, TIMED_OUT
from airflow_provider_docstatus.waiting.report import (
    EVENT_VERSION,
    ending_event,
    ending_from,
    event_of,
    manifest_from,
    manifest_result,
    result_of,
)
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.wait import Ending

RUNNING = DocumentStatus(service="unsiloed", kind="job", id="j-1", state=State.RUNNING, word="PROCESSING")
LINK = "https://example.com/j-1"


def status(state: State, **facts: Any) -> DocumentStatus:
    return replace(RUNNING, state=state, word=state.value.upper(), **facts)


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
    event = json.loads(json.dumps(ending_event(ending)))
    assert set(event) == {"version", "outcome", "service", "id", "status", "text"}
    again = ending_from(event)
    assert ending_event(again) == event
    assert (again.outcome, again.id, again.text) == (ending.outcome, ending.id, ending.text)


GOOD = ending_event(ENDINGS[0])


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
        ({**GOOD, "status": ending_event(ENDINGS[1])["status"]}, "says succeeded but holds no such status"),
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
        ending_from(event)
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
        assert result_of(ending, accept) == told.to_dict()
        return
    with pytest.raises(DocumentFailed) as caught:
        result_of(ending, accept)
    error = caught.value
    assert (error.service, error.id, error.state, error.link) == ("unsiloed", "j-1", state, LINK)
    assert str(error).startswith(f"unsiloed job j-1 ended {state} ('{state.value.upper()}')")
    assert str(error).endswith(LINK)
    hint = f"To let it pass, give the task accept=('{state}',)"
    assert (hint in str(error)) == (state in (State.PARTIAL, State.REVIEW))
    assert ("on_review='ask' to let a person decide." in str(error)) == (state is State.REVIEW)


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
        result_of(Ending(outcome="failed", service="unsiloed", id="j-1", status=status(State.FAILED, **facts)))
    assert said in str(caught.value)


def test_a_failure_with_many_reasons_is_cut():
    children = tuple(replace(status(State.FAILED), id=f"d-{n}", message="x" * 400) for n in range(50))
    with pytest.raises(DocumentFailed) as caught:
        result_of(Ending(outcome="partial", service="unsiloed", id="j-1", status=status(State.PARTIAL, children=children)))
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
        result_of(Ending(outcome=outcome, service="unsiloed", id="j-1", status=last, text="what happened"), accept=("partial",))
    error = caught.value
    assert str(error) == "what happened"
    assert OUTCOMES[outcome].error is kind
    assert OUTCOMES[outcome].retried is not for_good
    assert (error.service, error.id) == ("unsiloed", "j-1")
    assert (error.state, error.link) == ((State.RUNNING, LINK) if last else (None, None))


@pytest.mark.parametrize("last", [None, replace(RUNNING, link=LINK)], ids=["no status", "a status"])
@pytest.mark.parametrize(("overdue", "limit"), [(WaitTimedOut, "timeout"), (ExecutionTimedOut, "execution_timeout")])
def test_a_time_out_names_its_limit_and_what_to_do(overdue, limit, last):
    ending = Ending(outcome=TIMED_OUT, service="unsiloed", id="j-1", status=last, text="Not finished.")
    with pytest.raises(overdue) as caught:
        result_of(ending, accept=("partial",), overdue=overdue)
    error = caught.value
    assert str(error) == (
        f"Not finished. The job was left alone when {limit} passed; clear the task to wait on, or raise {limit}."
    )
    assert OUTCOMES[TIMED_OUT].error is WaitTimedOut
    assert (error.service, error.id) == ("unsiloed", "j-1")
    assert (error.state, error.link) == ((State.RUNNING, LINK) if last else (None, None))


def test_an_ending_without_a_text_is_named():
    with pytest.raises(NotFound, match="not_found"):
        result_of(Ending(outcome="not_found", service="unsiloed", id="j-1"))


def test_success_without_a_status_is_a_bug_of_ours():
    with pytest.raises(ValueError, match="succeeded without a status"):
        result_of(Ending(outcome="succeeded", service="unsiloed", id="j-1"))


def test_which_time_out_it_was_is_said_by_who_set_it():
    with pytest.raises(ExecutionTimedOut, match="late"):
        result_of(Ending(outcome=TIMED_OUT, service="unsiloed", id="j-1", text="late"), overdue=ExecutionTimedOut)


def test_what_the_vendor_calls_expired_is_the_same_error():
    with pytest.raises(Expired, match=r"ended expired \('EXPIRED'\)") as caught:
        result_of(Ending(outcome="expired", service="unsiloed", id="j-1", status=status(State.EXPIRED)))
    assert caught.value.state is State.EXPIRED


# -- a list ------------------------------------------------------------------------------------------------------

LETTERS = {
    "r": "running",
    "s": "succeeded",
    "p": "partial",
    "v": "review",
    "f": "failed",
    "c": "cancelled",
    "e": "expired",
    "n": "not_found",
    "N": "not_found",
    "l": "stalled",
    "x": "rejected",
    "u": "unexpected",
    "k": "key_rejected",
    "q": "quota",
    "t": "timed_out",
}


def made(states: str, **errors: str) -> dict[str, Any]:
    ids = [f"id-{number}" for number in range(len(states))]
    event = {
        "version": 1,
        "service": "aitronos",
        "states": states,
        "errors": errors,
        "calls": 3,
        "started_at": 1.0,
        "ended_at": 2.0,
    }
    return manifest_from(event, ids, parameter="job_id", operation=None)


@pytest.mark.parametrize("letter", LETTERS)
def test_every_letter_is_a_word_and_every_id_is_in_the_manifest(letter):
    told = made("s" + letter)
    assert sorted(one for ids in told["ids"].values() for one in ids) == ["id-0", "id-1"]
    assert "id-1" in told["ids"][LETTERS[letter]]
    assert told["total"] == 2


@pytest.mark.parametrize(
    ("states", "needed", "accept", "error"),
    [
        pytest.param("ss", 2, (), None, id="all"),
        pytest.param("sf", 1, (), None, id="enough"),
        pytest.param("sp", 2, ("partial",), None, id="accepted"),
        pytest.param("sp", 2, (), DocumentFailed, id="not accepted"),
        pytest.param("sf", 2, (), DocumentFailed, id="a failure"),
        pytest.param("sl", 2, (), Stalled, id="one stalled"),
        pytest.param("lt", 2, (), Stalled, id="one stalled beside time"),
        pytest.param("fl", 2, (), DocumentFailed, id="a failure beside a stalled one"),
        pytest.param("see", 2, (), Expired, id="expired"),
        pytest.param("fc", 1, (), DocumentFailed, id="no success left"),
        pytest.param("nn", 2, (), NotFound, id="all unknown"),
        pytest.param("sn", 2, (), NotFound, id="one unknown"),
        pytest.param("fn", 2, (), DocumentFailed, id="a failure beside an unknown one"),
        pytest.param("sx", 2, (), RequestRejected, id="one refused"),
        pytest.param("uu", 2, (), UnexpectedReply, id="garbage"),
        pytest.param("su", 2, (), UnexpectedReply, id="garbage for one"),
        pytest.param("kr", 2, (), KeyRejected, id="the key"),
        pytest.param("sq", 1, (), QuotaExhausted, id="the quota, whatever has ended"),
        pytest.param("sk", 1, (), None, id="a key that may not read one id, while one is enough"),
        pytest.param("st", 2, (), WaitTimedOut, id="time"),
        pytest.param("sa", 2, (), NotAsked, id="an id that could not be asked about"),
        pytest.param("sa", 1, (), None, id="one that could not be asked about, while one is enough"),
        pytest.param("at", 2, (), WaitTimedOut, id="time, and one that could not be asked about"),
        pytest.param("at", 1, (), NotAsked, id="one that could not be asked about may be enough"),
        pytest.param("af", 2, (), DocumentFailed, id="a failure beside one that could not be asked about"),
        pytest.param("ft", 2, (), DocumentFailed, id="a failure beside time"),
    ],
)
def test_a_list_ends_as_its_ids_do(states, needed, accept, error):
    if error is None:
        assert manifest_result(made(states), needed=needed, accept=accept, text=None)["total"] == len(states)
        return
    with pytest.raises(error) as caught:
        manifest_result(made(states), needed=needed, accept=accept, text=None)
    assert type(caught.value) is error


def test_unknown_ids_have_expired_where_the_retention_explains_it():
    event = {"version": 1, "service": "unsiloed", "states": "snefN", "errors": {}}
    told = manifest_from(event, ["a", "b", "c", "d", "e"], parameter="job_id", operation=None, is_late=True)
    assert told["ids"] == {"succeeded": ["a"], "expired": ["b", "c"], "failed": ["d"], "not_found": ["e"]}


def test_a_list_that_took_too_long_ends_with_the_error_of_its_limit():
    with pytest.raises(ExecutionTimedOut) as caught:
        manifest_result(made("st", b="It was late."), needed=2, accept=(), text=None, overdue=ExecutionTimedOut)
    assert str(caught.value) == (
        "1 of 2 ids ended well, 2 were needed (1 succeeded, 1 timed_out): b: It was late. The jobs were left alone when "
        "execution_timeout passed; clear the task to wait on, or raise execution_timeout."
    )


def test_upgrade_the_triggerer_reaches_a_list_too():
    event = {"version": 1, "outcome": "unexpected", "text": "upgrade the triggerer"}
    with pytest.raises(UnexpectedReply, match="upgrade the triggerer"):
        manifest_from(event, ["a"], parameter="job_id", operation=None)


@pytest.mark.parametrize(
    "event", [None, [], "x", {}, {"version": 2}, {"version": 1}, {"version": 1, "states": "ss"}, {"version": 1, "states": "?"}]
)
def test_a_foreign_event_is_refused(event):
    with pytest.raises(UnexpectedReply):
        manifest_from(event, ["a"], parameter="job_id", operation=None)


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "c"], ["a\nb", "c"]], ids=["another order", "other ids", "other bounds"])
def test_an_event_is_only_read_for_the_ids_it_is_about(ids):
    event = event_of(Group(spec=WaitSpec(ids=["a", "b"], needed=2), service=AITRONOS), calls=1, now=2.0)
    assert manifest_from(event, ["a", "b"], parameter="job_id", operation=None)["ids"] == {"running": ["a", "b"]}
    with pytest.raises(UnexpectedReply, match="not about these 2 ids"):
        manifest_from(event, ids, parameter="job_id", operation=None)
