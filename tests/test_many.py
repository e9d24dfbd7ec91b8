"""A list ends as its ids do: the same exception as one id alone, and nobody's id is lost."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout
from airflow_provider_docstatus.exceptions import (
    DocumentFailed,
    Expired,
    KeyRejected,
    NotFound,
    QuotaExhausted,
    RequestRejected,
    Stalled,
    UnexpectedReply,
)
from airflow_provider_docstatus.many import Group, manifest, needed_of, settle_many
from airflow_provider_docstatus.verdict import ExecutionTimedOut, Wait

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
    return manifest(ids, event, parameter="job_id", operation=None)


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
        pytest.param("st", 2, (), AirflowSensorTimeout, id="time"),
        pytest.param("ft", 2, (), DocumentFailed, id="a failure beside time"),
    ],
)
def test_a_list_ends_as_its_ids_do(states, needed, accept, error):
    if error is None:
        assert settle_many(made(states), needed=needed, accept=accept, text=None)["total"] == len(states)
        return
    with pytest.raises(error) as caught:
        settle_many(made(states), needed=needed, accept=accept, text=None)
    assert isinstance(caught.value, AirflowFailException) is (error not in (UnexpectedReply, AirflowSensorTimeout))


def test_unknown_ids_have_expired_where_the_retention_explains_it():
    event = {"version": 1, "service": "unsiloed", "states": "snefN", "errors": {}}
    told = manifest(["a", "b", "c", "d", "e"], event, parameter="job_id", operation=None, is_late=True)
    assert told["ids"] == {"succeeded": ["a"], "expired": ["b", "c"], "failed": ["d"], "not_found": ["e"]}


def test_a_list_that_took_too_long_ends_with_the_error_of_its_limit():
    with pytest.raises(ExecutionTimedOut) as caught:
        settle_many(made("st", b="It was late."), needed=2, accept=(), text=None, overdue=ExecutionTimedOut)
    assert str(caught.value) == (
        "1 of 2 ids ended well, 2 were needed (1 succeeded, 1 timed_out): b: It was late. The jobs were left alone when "
        "execution_timeout passed; clear the task to wait on, or raise execution_timeout."
    )


def test_upgrade_the_triggerer_reaches_a_list_too():
    event = {"version": 1, "outcome": "unexpected", "text": "upgrade the triggerer"}
    with pytest.raises(UnexpectedReply, match="upgrade the triggerer"):
        manifest(["a"], event, parameter="job_id", operation=None)


@pytest.mark.parametrize(
    "event", [None, [], "x", {}, {"version": 2}, {"version": 1}, {"version": 1, "states": "ss"}, {"version": 1, "states": "?"}]
)
def test_a_foreign_event_is_refused(event):
    with pytest.raises(UnexpectedReply):
        manifest(["a"], event, parameter="job_id", operation=None)


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "c"], ["a\nb", "c"]], ids=["another order", "other ids", "other bounds"])
def test_an_event_is_only_read_for_the_ids_it_is_about(ids):
    waits = {
        one: Wait(service="aitronos", title="Aitronos", id=one, started_at=0.0, deadline=1.0, grace=0.0) for one in ("a", "b")
    }
    event = Group(waits=waits, needed=2).to_event(calls=1, now=2.0)
    assert manifest(["a", "b"], event, parameter="job_id", operation=None)["ids"] == {"running": ["a", "b"]}
    with pytest.raises(UnexpectedReply, match="not about these 2 ids"):
        manifest(ids, event, parameter="job_id", operation=None)


@pytest.mark.parametrize(
    ("wait_for", "total", "needed"),
    [("all", 7, 7), ("any", 7, 1), (3, 7, 3), (9, 7, 7), (0.5, 7, 4), (0.01, 7, 1), (0.55, 100, 55)],
)
def test_wait_for_is_a_number_of_ids(wait_for, total, needed):
    assert needed_of(wait_for, total) == needed
