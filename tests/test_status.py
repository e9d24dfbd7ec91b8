"""Our words for where a document stands, and their small JSON form."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from airflow_provider_docstatus.status import MOST_ERRORS, DocumentStatus, State

BARE = DocumentStatus(service="neurolinker", kind="request", id="r", state=State.RUNNING, word="processing")


def child(id: str, state: State = State.SUCCEEDED, **facts) -> DocumentStatus:  # noqa: A002 -- the field's word
    return DocumentStatus(service="neurolinker", kind="document", id=id, state=state, word=f"says {state}", **facts)


def test_only_running_is_not_final():
    assert [state for state in State if not state.is_final] == [State.RUNNING]


@pytest.mark.parametrize("state", State)
def test_a_state_is_its_word_in_text_and_json(state):
    assert str(state) == f"{state}" == json.loads(json.dumps(state)) == state.value == state


def test_a_status_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        BARE.state = State.SUCCEEDED  # type: ignore[misc]  # that is the point


def test_the_dict_names_every_field_and_the_errors_of_children():
    assert set(BARE.to_dict()) == {field.name for field in fields(DocumentStatus)} | {"errors"}


def test_the_dict_is_plain_json_with_children_as_states():
    status = replace(
        BARE,
        state=State.PARTIAL,
        message="two of four",
        counters={"total": 4},
        children=(
            child("a"),
            child("b", State.FAILED, message="no text in it"),
            child("c", State.EXPIRED),
            child("d", State.REVIEW),
        ),
        link="https://example.com/r",
        details={"pages": 3},
        completed_at="2025-10-15T09:52:15+00:00",
    )
    told = status.to_dict()
    assert told == json.loads(json.dumps(told))
    assert told["children"] == {"a": "succeeded", "b": "failed", "c": "expired", "d": "review"}
    assert told["errors"] == {"b": "no text in it", "c": "says expired"}
    assert told["state"] == "partial"


@pytest.mark.parametrize(
    "status",
    [
        BARE,
        replace(BARE, children=(child("a"), child("b", State.FAILED, message="broken"), child("c", State.CANCELLED))),
        replace(BARE, children=(child("a", State.FAILED), child("a")), counters={"total": 2}),
        replace(BARE, children=tuple(child(str(n), State.FAILED) for n in range(MOST_ERRORS + 5))),
    ],
    ids=["bare", "children", "one child twice", "more errors than fit"],
)
def test_what_was_told_is_read_back(status):
    told = status.to_dict()
    assert DocumentStatus.from_dict(json.loads(json.dumps(told))).to_dict() == told


def test_at_most_so_many_errors_travel_but_every_childs_state_does():
    told = replace(BARE, children=tuple(child(str(n), State.FAILED) for n in range(MOST_ERRORS * 2))).to_dict()
    assert list(told["errors"]) == [str(n) for n in range(MOST_ERRORS)]
    assert len(told["children"]) == MOST_ERRORS * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        "text",
        7,
        None,
        [],
        {**BARE.to_dict(), "state": "archived"},
        {**BARE.to_dict(), "children": []},
        {**BARE.to_dict(), "children": None},
        {**BARE.to_dict(), "children": {"a": "archived"}},
        {**BARE.to_dict(), "errors": []},
        {**BARE.to_dict(), "newer": 1},
        {name: value for name, value in BARE.to_dict().items() if name != "service"},
    ],
    ids=lambda wrong: str(wrong)[-40:],
)
def test_what_is_no_status_is_refused_with_one_of_three_errors(wrong):
    with pytest.raises((KeyError, TypeError, ValueError)):
        DocumentStatus.from_dict(wrong)
