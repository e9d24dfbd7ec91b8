"""The data in a reply: a key that leads to it counts if it stands once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import ResultNotStorable
from airflow_provider_docstatus.protocol.description import ResultRoute
from airflow_provider_docstatus.protocol.exact import DoubleKeys, read_exactly
from airflow_provider_docstatus.protocol.extracted import data_in
from airflow_provider_docstatus.protocol.flows import Kept, poll_one
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import AITRONOS
from airflow_provider_docstatus.status import DocumentStatus, State
from tests.conversations import converse, response

STATUS = DocumentStatus(service="aitronos", kind="job", id="j-1", state=State.SUCCEEDED, word="completed")
JOB = Target(route="job", id="j-1")


def taken(take: str, body: str) -> Any:
    route = replace(AITRONOS.routes["job"], result=ResultRoute(path="/x/{id}", take=take))
    return data_in(AITRONOS, route, STATUS, read_exactly(body.encode()), "GET /x/{id}")


ON_THE_WAY = {
    "result": ("result", '{"result": {"a": 1}, "result": {"a": 2}}', "result"),
    "around": ("a.b.c", '{"a": {"b": {"c": 1}, "b": {"c": 2}}}', "a.b"),
    "innermost": ("a.b", '{"a": {"b": 1, "b": 2}}', "a.b"),
    "one of several": ("chunks pages", '{"chunks": [1], "pages": 1, "pages": 2}', "pages"),
    "another choice": ("nothing|result", '{"result": 1, "result": 2}', "result"),
}


@pytest.mark.parametrize(("take", "body", "place"), ON_THE_WAY.values(), ids=ON_THE_WAY)
def test_which_of_two_is_the_data_is_not_guessed(take, body, place):
    with pytest.raises(ResultNotStorable, match=f"data of j-1 has a key that stands twice at {place} of the reply") as raised:
        taken(take, body)
    assert raised.value.id == "j-1"


def test_a_key_that_stands_twice_beside_the_data_does_not_matter():
    assert taken("result", '{"x": 1, "x": 2, "result": {"a": 1}}') == {"a": 1}
    assert taken("a.b", '{"a": {"x": 1, "x": 2, "b": 3}, "y": 1, "y": 2}') == 3


def test_a_whole_reply_that_holds_a_key_twice_keeps_the_mark():
    assert isinstance(taken("", '{"a": 1, "a": 2}'), DoubleKeys)
    assert type(taken("", '{"a": 1}')) is dict


def test_data_of_a_status_reply_that_nothing_carries_is_kept_as_its_error():
    kept: Kept = {}
    data = '{"a": 1}, "extracted_data": {"a": 2}'
    reply = response(text=f'{{"job_id": "j-1", "status": "completed", "extracted_data": {data}}}')
    status, _ = converse(poll_one(AITRONOS, JOB, kept=kept), reply)
    assert kept[JOB].status == status
    assert isinstance(kept[JOB].data, ResultNotStorable)
    assert "a key that stands twice at extracted_data of the reply" in str(kept[JOB].data)


def test_data_of_a_status_reply_is_kept_with_the_marks_of_what_python_loses():
    kept: Kept = {}
    reply = response(text='{"job_id": "j-1", "status": "completed", "extracted_data": {"a": 1, "a": 2}}')
    converse(poll_one(AITRONOS, JOB, kept=kept), reply)
    assert isinstance(kept[JOB].data, DoubleKeys)
