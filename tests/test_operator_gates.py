"""The operator's gates: data goes on, into an XCom or a file, only if it matches the schema and the vendor is sure of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus._compat import AirflowFailException
from airflow_provider_docstatus.exceptions import Declined, DocumentFailed, RequestRejected, SchemaMismatch, Uncertain
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.testing import StandInVendors
from tests.task_runs import FakeTaskInstance, RequiredActions, answer, parked_with, resumed_with, run
from tests.test_judging import MARK, UNSILOED, job
from tests.test_operators import WAYS, neurolinker, operator_of
from tests.test_review import asks_people

if TYPE_CHECKING:
    from collections.abc import Iterator

TOTAL = {"required": ["total"]}
each_way = pytest.mark.parametrize("way", WAYS)
each_place = pytest.mark.parametrize("place", ["xcom", "file"])


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> RequiredActions:
    return RequiredActions.opened(monkeypatch)


def extract(tmp_path: Path, place: str, ti: FakeTaskInstance | None = None, **arguments: Any) -> Any:
    where = {"output_path": f"file://{tmp_path}/x"} if place == "file" else {}
    return run(operator_of(**{**UNSILOED, **where, **arguments}), ti)


def ids_in(result: Any) -> list[str]:
    if "items" in result:
        return list(result["items"])
    return [json.loads(line)["id"] for line in Path(result["path"].removeprefix("file://")).read_bytes().splitlines()]


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@each_place
@each_way
def test_data_that_passes_goes_on_with_the_report(vendors: StandInVendors, tmp_path: Path, way: str, place: str) -> None:
    ti, one = FakeTaskInstance(), job(vendors, total=0.97, date=0.91)
    extract(tmp_path, place, ti, job_id=one, require=TOTAL, min_confidence=0.9, **WAYS[way])
    assert ti.xcoms[XCOM_KEY]["confidence"] == {"lowest": 0.91, "fields": [], "below": 0, "total": 2}


@each_place
@each_way
@pytest.mark.parametrize(
    ("asks", "error", "says"),
    [
        ({"require": {"required": ["tax"]}}, SchemaMismatch, "breaks the schema in require: tax: required"),
        ({"min_confidence": 0.9}, Uncertain, "the lowest is 0.41: total"),
        ({"min_confidence": 0.9, "on_uncertain": "review"}, DocumentFailed, "ended review .*0.41: total"),
        ({"require": TOTAL, "gate_max_bytes": 10}, SchemaMismatch, "larger than gate_max_bytes"),
    ],
    ids=["schema", "confidence", "review", "too large"],
)
def test_data_that_does_not_pass_goes_nowhere(vendors, tmp_path, *, way, place, asks, error, says):
    ti = FakeTaskInstance()
    with pytest.raises(error, match=says) as raised:
        extract(tmp_path, place, ti, job_id=job(vendors, total=0.41), **asks, **WAYS[way])
    assert isinstance(raised.value, AirflowFailException)
    assert MARK not in f"{raised.value!r}{json.dumps(ti.xcoms)}"
    assert left_in(tmp_path) == []


@each_place
def test_what_the_vendor_is_not_sure_of_may_pass(vendors: StandInVendors, tmp_path: Path, place: str) -> None:
    for more in ({"on_uncertain": "accept"}, {"on_uncertain": "review", "on_review": "accept"}):
        ti = FakeTaskInstance()
        extract(tmp_path, place, ti, job_id=job(vendors, total=0.41), min_confidence=0.9, **more)
        assert ti.xcoms[XCOM_KEY]["confidence"]["fields"] == ["total"]


@each_place
@each_way
@pytest.mark.parametrize(
    ("asks", "error", "state"),
    [({"require": {"required": ["tax"]}}, SchemaMismatch, "invalid"), ({"min_confidence": 0.9}, Uncertain, "uncertain")],
    ids=["schema", "confidence"],
)
@pytest.mark.parametrize("kind", ["ids", "request", "requests"])
def test_what_none_of_several_passes_is_the_ending(vendors, tmp_path, *, way, place, asks, error, state, kind):
    about: dict[str, Any] = {"job_id": [job(vendors, total=0.41) for _ in range(2)]}
    if kind != "ids":
        ids = [vendors.add_job("neurolinker", documents=2) for _ in range(2)]
        about = {**neurolinker(request_id=ids if kind == "requests" else ids[0]), "operation": None}
    ti = FakeTaskInstance()
    with pytest.raises(error):
        extract(tmp_path, place, ti, **about, **asks, **WAYS[way])
    told = ti.xcoms.get(XCOM_KEY)
    if told is None:  # nobody has waited for a list, so that there is no manifest
        assert (place, way) == ("file", "finished")
    else:
        assert ("confidence" in told) is ("min_confidence" in asks)
        assert kind == "request" or (kind, place) == ("requests", "file") or told["counts"] == {state: 2}


def test_a_request_of_which_no_document_passes_has_that_state_in_a_file(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("neurolinker", documents=2) for _ in range(2)]
    for document in vendors.jobs[ids[1]].documents:
        document.content = {"something": "else"}
    about = {**neurolinker(request_id=ids), "operation": None, "wait_for": "any"}
    result = extract(tmp_path, "file", require={"required": ["invoice_number"]}, **about)
    assert (result["counts"], result["rows"]) == ({"succeeded": 1, "invalid": 1}, 2)


def test_the_report_on_a_request_is_that_of_one_id(vendors: StandInVendors, tmp_path: Path) -> None:
    ti, request = FakeTaskInstance(), vendors.add_job("neurolinker", documents=2)
    asks = {"min_confidence": 0.9, "on_uncertain": "accept", **neurolinker(request_id=request), "operation": None}
    extract(tmp_path, "xcom", ti, **asks)
    documents = [one.job_id for one in vendors.jobs[request].documents]
    assert ti.xcoms[XCOM_KEY]["confidence"] == {"lowest": None, "fields": documents, "below": 2, "total": 2}


@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_what_is_left_to_a_human_counts_as_review_in_a_file_too(vendors, tmp_path, is_list):
    one = job(vendors, total=0.41)
    asks = {"min_confidence": 0.9, "on_uncertain": "review", "on_review": "accept", "job_id": [one] if is_list else one}
    for _ in range(2):  # the second time the file is there
        assert extract(tmp_path, "file", **asks)["counts"] == {"review": 1}


@each_place
@each_way
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_what_the_reply_says_beside_the_data_counts(vendors, tmp_path, *, way, place, is_list):
    ti, one = FakeTaskInstance(), vendors.add_job("aitronos")
    asks = {"conn_id": "aitronos_default", "operation": None, "job_id": [one] if is_list else one, "min_confidence": 0.9}
    extract(tmp_path, place, ti, **asks, **WAYS[way])
    assert ti.xcoms[XCOM_KEY]["confidence"]["lowest"] == 0.95


@each_place
@each_way
def test_of_several_those_that_pass_go_on(vendors: StandInVendors, tmp_path: Path, way: str, place: str) -> None:
    ids = [job(vendors, total=0.97), job(vendors, total=0.41), job(vendors, date=0.99), job(vendors, total=0.95)]
    asks: dict[str, Any] = {"job_id": ids, "require": TOTAL, "min_confidence": 0.9, **WAYS[way]}
    with pytest.raises(DocumentFailed, match=r"2 of 4 ids"):
        extract(tmp_path, place, **asks)
    result = extract(tmp_path, place, wait_for=0.5, **asks)
    assert ids_in(result) == [ids[0], ids[3]]
    assert "0.41: total" in result["errors"][ids[1]]
    assert "total: required" in result["errors"][ids[2]]
    assert (result["confidence"]["lowest"], list(result["confidence"]["ids"])) == (0.41, [ids[1]])
    if place == "file":
        assert result["counts"] == {"succeeded": 2, "uncertain": 1, "invalid": 1}


@each_place
def test_of_a_request_the_documents_that_pass_go_on(vendors: StandInVendors, tmp_path: Path, place: str) -> None:
    request_id = vendors.add_job("neurolinker", documents=3)
    documents = vendors.jobs[request_id].documents
    documents[1].content = {"something": "else"}
    asks: dict[str, Any] = {**neurolinker(request_id=request_id), "operation": None, "require": {"required": ["invoice_number"]}}
    result = extract(tmp_path, place, **asks)
    assert ids_in(result) == [documents[0].job_id, documents[2].job_id]
    assert "invoice_number: required" in result["errors"][documents[1].job_id]


def test_a_file_of_data_that_was_asked_less_is_fetched_anew(vendors: StandInVendors, tmp_path: Path) -> None:
    one = job(vendors, total=0.41)
    extract(tmp_path, "file", job_id=one)
    with pytest.raises(Uncertain):
        extract(tmp_path, "file", job_id=one, min_confidence=0.9)


# -- a person --------------------------------------------------------------------------------------------------------


@asks_people
@each_place
@each_way
@pytest.mark.parametrize("doubt", [False, True], ids=["the vendor's", "ours"])
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_person_decides_before_the_data_goes_on(vendors, tmp_path, page, *, way, place, doubt, is_list):
    one = job(vendors, total=0.41) if doubt else vendors.add_job("unsiloed", "extract", ends="review")
    asks: dict[str, Any] = {"job_id": [one] if is_list else one, "on_review": "ask", **WAYS[way]}
    if doubt:
        asks |= {"min_confidence": 0.9, "on_uncertain": "review"}
    where = {"output_path": f"file://{tmp_path}/x"} if place == "file" else {}
    operator = operator_of(**{**UNSILOED, **where, **asks})
    ti = FakeTaskInstance()
    parked = parked_with(lambda: run(operator, ti))
    assert one in page.question["body"]
    assert MARK not in str(page.question)
    assert left_in(tmp_path) == []
    with pytest.raises(Declined, match="was rejected by ada"):
        resumed_with(operator, parked, answer("Reject"), {"ti": ti})
    result = resumed_with(operator, parked, answer("Approve"), {"ti": ti})
    assert MARK in (Path(result["path"].removeprefix("file://")).read_text() if place == "file" else str(result)) or not doubt
    assert ti.xcoms[XCOM_KEY]["review"]["decision"] == "approved"
    if place == "file":  # a task that is cleared takes the file, and still says who has approved it
        assert run(operator_of(**{**UNSILOED, **where, **asks}), again := FakeTaskInstance()) == result
        assert again.xcoms[XCOM_KEY]["review"] == ti.xcoms[XCOM_KEY]["review"]


@asks_people
def test_a_result_that_can_be_read_once_is_not_read_for_a_question(vendors):
    operator = operator_of(conn_id="docling_default", job_id="j", min_confidence=0.9, on_uncertain="review", on_review="ask")
    with pytest.raises(RequestRejected, match="deletes a result once it was read"):
        operator._refuse_to_read_twice()


def test_a_schema_that_cannot_be_read_is_told_before_the_wait(vendors: StandInVendors, tmp_path: Path) -> None:
    asked = len(vendors.requests)
    with pytest.raises(RequestRejected, match="cannot be read"):
        extract(tmp_path, "xcom", job_id="j", require=str(tmp_path / "none.json"))
    assert len(vendors.requests) == asked
