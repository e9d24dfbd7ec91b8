"""A verdict says why a gate stays closed: with names and numbers of confidence, and no value of the document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import RequestRejected, SchemaMismatch, Uncertain
from airflow_provider_docstatus.protocol.confidence import Confidences
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.quality.judge import Gates, Judge, Verdict
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State

MARK = "Zq7-Jane-Doe"
JOB = Target(route="extract", id="job-1")
DONE = DocumentStatus(
    service="unsiloed", kind="job", id="job-1", state=State.SUCCEEDED, word="completed", link="https://example.com/job-1"
)


def field(score: Any, value: Any = MARK) -> dict[str, Any]:
    return {"value": value, "score": score}


def judge(data: Any, status: DocumentStatus = DONE, **gates: Any) -> Verdict:
    return Judge(Gates(**gates)).judge(UNSILOED, JOB, status, data)


def test_what_passes_is_reported_too():
    assert judge({"a": field(0.9)}, min_confidence=0.9) == (None, {"lowest": 0.9, "fields": [], "below": 0, "total": 1})
    assert judge({"a": MARK}, require={"type": "object"}) == (None, None)


def test_what_is_too_low_is_named_and_counted():
    error, report = judge({f"f{n}": field(n / 10) for n in range(8)}, min_confidence=0.7)
    assert isinstance(error, Uncertain)
    assert report == {"lowest": 0.0, "fields": [f"f{n}" for n in range(7)], "below": 7, "total": 8}
    why = "the confidence of 7 of 8 is below min_confidence=0.7; the lowest is 0: f0, f1, f2, f3, f4 and 2 more."
    assert str(error) == f"Unsiloed job job-1: {why}"
    assert (error.service, error.id, error.state, error.link) == ("unsiloed", "job-1", State.SUCCEEDED, DONE.link)


def test_what_is_missing_counts_as_too_low():
    error, report = judge({"a": field(None), "b": field(0.99)}, min_confidence=0.5)
    assert report == {"lowest": 0.99, "fields": ["a"], "below": 1, "total": 2}
    assert "the confidence of 1 of 2 is below min_confidence=0.5, 1 of them unknown; the lowest is 0.99: a." in str(error)


@pytest.mark.parametrize("data", [{}, {"a": MARK}, MARK, b"PK", None], ids=repr)
def test_none_at_all_counts_as_too_low(data):
    error, report = judge(data, min_confidence=0.01)
    assert isinstance(error, Uncertain)
    assert "does not say how sure it is of the data" in str(error)
    assert report == {"lowest": None, "fields": [], "below": 0, "total": 0}


def test_a_service_that_says_nothing_is_never_sure():
    error, _ = Judge(Gates(min_confidence=0.1)).judge(NEUROLINKER, Target(route="document", id="d"), DONE, {"confidence": 1})
    assert isinstance(error, Uncertain)


def test_what_the_reply_said_beside_the_data_counts():
    told = Confidences(values=[0.4], first=[("confidence", 0.4)])
    status = DocumentStatus(service="aitronos", kind="job", id="j", state=State.SUCCEEDED, word="completed", confidences=told)
    error, report = Judge(Gates(min_confidence=0.5)).judge(AITRONOS, Target(route="job", id="j"), status, {"a": MARK})
    assert isinstance(error, Uncertain)
    assert report == {"lowest": 0.4, "fields": ["confidence"], "below": 1, "total": 1}


def test_a_broken_schema_comes_before_a_low_confidence():
    error, report = judge({"a": field(0.1)}, min_confidence=0.5, require={"required": ["b"], "maxProperties": 0})
    assert isinstance(error, SchemaMismatch)
    assert str(error) == "The data of Unsiloed job job-1 breaks the schema in require: b: required; (the top): maxProperties."
    assert report["below"] == 1


def test_the_documents_of_a_request_are_named():
    gate = Judge(Gates(min_confidence=0.5, require={"required": ["a"]}))
    parts = [gate.examine(UNSILOED, JOB, DONE, data, name=name) for name, data in (("d1", {"a": field(0.4)}), ("d2", {}))]
    error, report = gate.verdict(UNSILOED, DONE, parts)
    assert "breaks the schema in require: d2 a: required." in str(error)
    assert report == {"lowest": 0.4, "fields": ["d2", "d1 a"], "below": 2, "total": 2}


def test_no_value_of_the_document_is_told():
    data = {"a": field(0.1), MARK[:3]: {"deep": [field(0.2, {"b": MARK}), MARK]}}
    for gates in ({"require": {"not": {}}}, {"min_confidence": 1}, {"require": {"additionalProperties": {"type": "number"}}}):
        error, report = judge(data, **gates)
        assert MARK not in f"{error!r}{error}{json.dumps(report)}{error.__dict__}"


@pytest.mark.parametrize(
    ("gates", "why"),
    [
        ({"min_confidence": 0}, "min_confidence must be a number above 0 and up to 1"),
        ({"min_confidence": 80}, "whatever the vendor's scale is"),
        ({"min_confidence": True}, "min_confidence"),
        ({"min_confidence": "0.8"}, "min_confidence"),
        ({"min_confidence": float("nan")}, "min_confidence"),
        ({"on_uncertain": "skip"}, "on_uncertain must be 'fail', 'accept' or 'review'; not 'skip'"),
        ({"on_uncertain": "review", "require": {}}, "on_uncertain='review' has nothing to do without min_confidence"),
        ({"gate_max_bytes": 0}, "gate_max_bytes must be a whole number of bytes"),
        ({"gate_max_bytes": 5e7}, "gate_max_bytes"),
        ({"gate_max_bytes": True}, "gate_max_bytes"),
    ],
    ids=str,
)
def test_a_bad_parameter_is_refused(gates, why):
    with pytest.raises(ValueError, match=why):
        Gates(**gates)


def test_a_dict_is_checked_at_once_and_a_file_when_it_is_needed():
    with pytest.raises(RequestRejected, match=r"no valid JSON Schema: mend type in it \(broken rule: anyOf\)"):
        Gates(require={"type": 7})
    gates = Gates(require="/nowhere/schema.json")
    with pytest.raises(RequestRejected, match="cannot be read"):
        Judge(gates)


@pytest.mark.parametrize(("gates", "are_set"), [({}, False), ({"require": {}}, True), ({"min_confidence": 1}, True)], ids=str)
def test_gates_are_set_by_what_is_asked(gates, are_set):
    assert Gates(**gates).are_set is are_set
