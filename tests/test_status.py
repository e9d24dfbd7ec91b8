"""Our words for where a document stands, and their small JSON form."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from airflow_provider_docstatus.status import MOST_CHILDREN, MOST_ERRORS, DocumentStatus, State

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
    assert set(BARE.to_dict()) == {field.name for field in fields(DocumentStatus)} - {"left_out", "confidences"} | {
        "errors",
        "file_names",
    }


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


def test_a_thousand_children_are_named_with_their_states():
    told = replace(BARE, children=tuple(child(str(n)) for n in range(MOST_CHILDREN))).to_dict()
    assert (len(told["children"]), told["details"]) == (MOST_CHILDREN, {})


def test_of_more_children_only_the_bad_ones_are_named_and_the_rest_is_counted():
    bad = {7: State.FAILED, MOST_CHILDREN: State.CANCELLED}
    some = tuple(child(str(n), bad.get(n, State.SUCCEEDED)) for n in range(MOST_CHILDREN + 1))
    told = replace(BARE, children=some, details={"pages": 3}).to_dict()
    assert told["children"] == {"7": "failed", str(MOST_CHILDREN): "cancelled"}
    assert set(told["errors"]) == set(told["children"])
    assert told["details"] == {"pages": 3, "children_left_out": MOST_CHILDREN - 1}
    assert DocumentStatus.from_dict(told).to_dict() == told


def test_an_event_about_any_number_of_documents_is_small():
    ids = [f"{n:08d}-aaaa-4bbb-8ccc-dddddddddddd" for n in range(20_000)]
    for state in (State.SUCCEEDED, State.FAILED):
        told = replace(BARE, children=tuple(child(one, state) for one in ids)).to_dict()
        assert len(json.dumps(told)) < 64 * 1024
        assert told["details"]["children_left_out"] + len(told["children"]) == len(ids)


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
