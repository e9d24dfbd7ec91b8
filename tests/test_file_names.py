"""The names of documents' files: where they are told, how much room they have, and that a deployment can keep them to itself."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus.exceptions import DocStatusError, NotFound, QuotaExhausted
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.flows import run as run_flow
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.protocol.values import HIDDEN_NAME
from airflow_provider_docstatus.services import DOCLING, EXTEND, NEUROLINKER, SERVICES, UNSILOED, ServiceDescription
from airflow_provider_docstatus.status import MOST_NAME_BYTES, DocumentStatus, State, first_names
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.testing.recordings import FOLDER
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.report import (
    ending_from,
    event_of,
    manifest_from,
    manifest_result,
    result_of,
    why_closed,
    with_known_status,
)
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.subscriber import Subscriber
from airflow_provider_docstatus.waiting.wait import Ending
from tests.conversations import NOW, converse, response
from tests.task_runs import MODES, FakeTaskInstance, deferral_of, run, run_rescheduled, sensor_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0.03) as vendors:
        yield vendors


SECRET = "Dr-Jane-Doe-HIV-test.pdf"


def status(one: str, state: State = State.FAILED, name: str | None = None, **facts: Any) -> DocumentStatus:
    details = {"file_name": name} if name else {}
    return DocumentStatus(service="unsiloed", kind="job", id=one, state=state, word=state.value, details=details, **facts)


# -- a status ----------------------------------------------------------------------------------------------------


def test_a_status_tells_the_names_of_its_children_by_id() -> None:
    children = (status("a", name="a.pdf"), status("b", State.SUCCEEDED, "b.pdf"), status("c"))
    told = status("r", children=children).to_dict()
    assert told["file_names"] == {"a": "a.pdf", "b": "b.pdf"}
    again = DocumentStatus.from_dict(json.loads(json.dumps(told)))
    assert [child.file_name for child in again.children] == ["a.pdf", "b.pdf", None]
    assert again.to_dict() == told


def test_a_status_of_an_older_package_has_no_names() -> None:
    told = dict(status("r", children=(status("a", name="a.pdf"),)).to_dict())
    del told["file_names"]
    assert DocumentStatus.from_dict(told).to_dict()["file_names"] == {}


def test_the_own_name_stands_among_the_details() -> None:
    told = status("r", name="r.pdf")
    assert (told.file_name, told.to_dict()["details"], told.to_dict()["file_names"]) == ("r.pdf", {"file_name": "r.pdf"}, {})
    assert replace(told, details={"file_name": 7}).file_name is None


@pytest.mark.parametrize("name", ["x.pdf", "x" * 116 + ".pdf", "é" * 120, "😀" * 120])
@pytest.mark.parametrize("errors", ["", "torn", "torn " * 100])
def test_the_names_of_many_children_leave_an_event_small_and_those_of_the_failed_come_first(name: str, errors: str) -> None:
    good = [status(f"{number:036}", State.SUCCEEDED, name) for number in range(990)]
    bad = [status(f"{number:036}", name=f"bad-{number}.pdf", message=errors) for number in range(990, 1000)]
    told = status("r", children=(*good, *bad)).to_dict()
    assert len(json.dumps(told)) < 64 * 1024
    assert len(json.dumps(told["file_names"])) <= MOST_NAME_BYTES
    assert list(told["file_names"])[:10] == [child.id for child in bad]
    assert len(told["file_names"]) > 10 or len(errors) > 400


def test_names_end_where_there_is_no_more_room() -> None:
    names = first_names((str(number), "x" * 100) for number in range(1000))
    assert len(json.dumps(names)) <= MOST_NAME_BYTES
    assert list(names) == [str(number) for number in range(len(names))]
    assert first_names([("a", "a.pdf")], most=10) == {}
    assert first_names([("a", None), ("a", "a.pdf"), ("a", "b.pdf")]) == {"a": "a.pdf"}


# -- a list's event and manifest ---------------------------------------------------------------------------------


def group_of(ids: list[str]) -> Group:
    return Group(spec=WaitSpec(service="unsiloed", route="extract", ids=ids, needed=len(ids), started_at=NOW), service=UNSILOED)


def manifest_of(event: Any, ids: list[str]) -> Any:
    return manifest_from(json.loads(json.dumps(event)), ids, parameter="job_id", operation="extract")


def test_a_manifest_tells_the_names_that_are_known_by_id() -> None:
    ids = ["a", "b", "c", "d"]
    group = group_of(ids)
    group.observe("a", status("a", State.SUCCEEDED, "a.pdf"), NOW)
    group.observe("b", status("b", name="b.pdf", message="torn"), NOW)
    group.observe("c", status("c", State.RUNNING, "c.pdf"), NOW)
    manifest = manifest_of(event_of(group, calls=1, now=NOW), ids)
    assert manifest["file_names"] == {"a": "a.pdf", "b": "b.pdf", "c": "c.pdf"}
    assert manifest["errors"]["b"].startswith("b.pdf (unsiloed job b) ended failed")


def test_a_lists_event_stays_small_and_tells_first_the_names_of_what_went_wrong() -> None:
    ids = [f"{number:036}" for number in range(1000)]
    group = group_of(ids)
    for one in ids:
        group.observe(one, status(one, State.FAILED if one in ids[-5:] else State.SUCCEEDED, "x" * 116 + ".pdf"), NOW)
    event = event_of(group, calls=1, now=NOW)
    assert len(json.dumps(event)) < 32 * 1024
    names = manifest_of(event, ids)["file_names"]
    assert set(ids[-5:]) < set(names)
    assert len(names) > 100


@pytest.mark.parametrize("names", [None, 7, "abc", {"a": "a.pdf"}, [], [None], [7, ["x"]], ["a.pdf", None, "c.pdf", "d.pdf"]])
def test_names_of_an_event_that_are_none_are_left_out(names: Any) -> None:
    group = group_of(["a", "b"])
    event = {**event_of(group, calls=1, now=NOW), "file_names": names}
    assert manifest_of(event, ["a", "b"])["file_names"] in ({}, {"a": "a.pdf"})


def test_an_event_without_names_is_as_it_was() -> None:
    assert "file_names" not in event_of(group_of(["a"]), calls=1, now=NOW)


# -- messages ----------------------------------------------------------------------------------------------------


def test_why_a_document_failed_begins_with_its_file() -> None:
    closed = why_closed(status("a92bdf7d", name="invoice-7.pdf", message="Document is corrupted"))
    assert closed == "invoice-7.pdf (unsiloed job a92bdf7d) ended failed ('failed'): Document is corrupted"


def test_why_a_request_failed_names_the_files_of_its_documents() -> None:
    children = (status("a92bdf7d", name="invoice-7.pdf", message="Document is corrupted"), status("b0", message="torn"))
    assert "invoice-7.pdf (a92bdf7d): Document is corrupted; b0: torn" in why_closed(status("r", children=children))


def test_the_error_of_a_list_names_each_file_once_and_first() -> None:
    group = group_of(["a", "b"])
    group.observe("a", status("a", name="a.pdf", message="torn"), NOW)
    group.observe("b", status("b", message="torn"), NOW)
    event = event_of(group, calls=1, now=NOW)
    with pytest.raises(DocStatusError) as raised:
        manifest_result(manifest_of(event, ["a", "b"]), needed=2, accept=(), text=None)
    said = str(raised.value)
    assert ": a.pdf (unsiloed job a) ended failed ('failed'): torn; b: unsiloed job b ended failed" in said
    assert said.count("a.pdf") == 1


@pytest.mark.parametrize("how", ["timed out", "stalled", "not found", "not asked"])
def test_every_ending_of_a_document_begins_with_its_file_once_that_is_known(how: str) -> None:
    stall = {"after": 5.0, "seen": {}} if how == "stalled" else None
    spec = WaitSpec(service="unsiloed", route="extract", id="a", deadline=NOW + 600, started_at=NOW, stall=stall)
    group = Group(spec=spec, service=UNSILOED)
    group.observe("a", status("a", State.RUNNING, "a.pdf"), NOW)
    for later in (100, 150, 200, 250):
        if how == "stalled":
            group.observe("a", status("a", State.RUNNING, "a.pdf"), NOW + later)
        elif how == "not found":
            group.observe("a", NotFound("Unsiloed does not know job a.", code=404, id="a"), NOW + later)
    if not group.is_over:
        group.time_out(NOW + 600, lambda _: "it is paused" if how == "not asked" else None)
    with pytest.raises(DocStatusError) as raised:
        result_of(ending_from(event_of(group, calls=1, now=NOW)))
    assert str(raised.value).startswith("a.pdf: Unsiloed ")


def test_a_file_that_was_named_before_the_deferral_is_named_at_its_end() -> None:
    ending = Ending(outcome="timed_out", service="unsiloed", id="a", text="Unsiloed a was not finished: no status was heard.")
    text = with_known_status(ending, status("a", State.RUNNING, "a.pdf")).text
    assert text == "a.pdf: Unsiloed a was not finished: last state running ('running'), before it was deferred."


def test_an_ending_that_concerns_the_account_names_no_file() -> None:
    group = Group(spec=WaitSpec(service="unsiloed", route="extract", id="a", deadline=NOW + 600), service=UNSILOED)
    group.observe("a", status("a", State.RUNNING, "a.pdf"), NOW)
    ending = group.observe("a", QuotaExhausted("The account is used up.", code=402), NOW)
    assert ending.text == "The account is used up."


def test_the_log_names_the_file(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    spec = WaitSpec(service="unsiloed", route="extract", id="a", deadline=NOW + 60, started_at=NOW)
    group = Group(spec=spec, service=UNSILOED)
    subscriber = Subscriber(group, logging.getLogger("tests"), now=NOW, deadline_grace=0.0, jitter=lambda: 0.5)
    for state in (State.RUNNING, State.FAILED):
        subscriber.observe(Target(route="extract", id="a"), status("a", state, "a.pdf"), NOW)
    assert [record.getMessage() for record in caplog.records] == [
        "a.pdf (Unsiloed a) is running",
        "a.pdf (Unsiloed a) is failed",
        "a.pdf (a) ended: failed",
    ]


# -- the services ------------------------------------------------------------------------------------------------

#: The routes of each service whose recorded status replies name the file; the others' replies name none.
TELL = {
    "neurolinker": {"document"},
    "aitronos": set(),
    "unsiloed": {"parse", "split", "job"},  # of an extraction it is null
    "reducto": set(),
    "llamaparse": {"parse"},
    "landingai": {"parse_v1", "extract_v1"},
    "datalab": set(),
    "extend": {"extract", "classify", "split", "parse", "edit", "workflow"},
    "azure_di": set(),
    "docling": set(),  # the result names it
}


def polled(service: ServiceDescription, recorded: dict[str, Any]) -> DocumentStatus:
    """Return the status that a recorded reply tells; the list of a batch's jobs, if it is asked for, is empty."""
    replies = iter([response(recorded["body"]), response({"data": []})])
    flow = poll_one(service, Target(route=recorded["route"], id=recorded["id"]), judges=False)
    return run_flow(flow, lambda request: replace(next(replies), request=request))


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_tells_the_names_that_its_recorded_replies_hold(name: str) -> None:
    service, told = SERVICES[name], {}
    hidden = replace(service, file_names=False)
    for one in json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["replies"]:
        if one["ask"] != "status" or one["code"] >= 300 or "state" not in one["expect"]:
            continue
        found, hides = (polled(which, one) for which in (service, hidden))
        if found.file_name:
            told.setdefault(one["route"], set()).add(found.file_name)
            assert found.file_name not in json.dumps(hides.to_dict())
        assert (hides.file_name, hides.state) == (None, found.state)
    assert told.keys() == TELL[name]
    assert all("." in file for files in told.values() for file in files)


def test_a_request_and_a_batch_tell_the_names_of_what_is_in_them() -> None:
    documents = [{"document_id": "d", "status": "completed", "filename": "outer.pdf", "result": {"file_name": "inner.pdf"}}]
    request = {"request_id": "r", "status": "completed", "total": 1, "completed": 1, "failed": 0, "documents": documents}
    told, _ = converse(poll_one(NEUROLINKER, Target(route="request", id="r")), response(request))
    assert told.to_dict()["file_names"] == {"d": "inner.pdf"}
    jobs = [{"job_id": "j", "status": "failed", "pdf_name": "j.pdf", "error_message": "torn"}]
    batch = {"batch_id": "b", "status": "completed", "total_jobs": 1, "completed_jobs": 0, "failed_jobs": 1, "jobs": jobs}
    told, _ = converse(poll_one(UNSILOED, Target(route="batch", id="b")), response(batch))
    assert told.to_dict()["file_names"] == {"j": "j.pdf"}
    runs = [{"object": "extract_run", "id": "exr_1", "status": "PROCESSED", "file": {"name": "x.pdf"}}]
    ended = response({"object": "batch_run", "id": "bpr_1", "status": "PROCESSED", "runCount": 1})
    told, _ = converse(poll_one(EXTEND, Target(route="batch", id="bpr_1")), ended, response({"data": runs}))
    assert told.to_dict()["file_names"] == {"exr_1": "x.pdf"}


def test_a_workflow_run_has_the_name_of_its_only_file() -> None:
    def named(*names: str) -> str | None:
        run = {"object": "workflow_run", "id": "workflow_run_1", "status": "PROCESSED", "files": [{"name": one} for one in names]}
        return converse(poll_one(EXTEND, Target(route="workflow", id="workflow_run_1")), response(run))[0].file_name

    assert named("a.pdf") == "a.pdf"
    assert named("a.pdf", "b.pdf") is None
    assert named() is None


@pytest.mark.parametrize(("word", "state"), [("success", State.SUCCEEDED), ("failure", State.FAILED)])
def test_the_result_of_docling_tells_the_name_that_its_status_lacks(word: str, state: State) -> None:
    ended = response({"task_id": "t", "task_status": "success", "task_type": "convert"})
    content = "# Invoice " * 5_000  # longer than what is read at once
    result = response({"document": {"md_content": content, "filename": "invoice.pdf"}, "status": word, "errors": []})
    target = Target(route="convert", id="t")
    told, _ = converse(poll_one(DOCLING, target), ended, result)
    assert (told.state, told.file_name, told.details["task_type"]) == (state, "invoice.pdf", "convert")
    hidden, _ = converse(poll_one(replace(DOCLING, file_names=False), target), ended, result)
    assert (hidden.state, hidden.file_name) == (state, None)
    if state is State.SUCCEEDED:
        flow = fetch_result(DOCLING, target, status=replace(told, details={}), content=None, options={})
        assert converse(flow, result)[0][0].file_name == "invoice.pdf"


# -- a whole task ------------------------------------------------------------------------------------------------


def ended(mode: str, ti: FakeTaskInstance, **arguments: Any) -> Any:
    """Return what a sensor returns, or the text of its error."""
    try:
        if mode == "reschedule":
            return run_rescheduled(lambda: sensor_of(mode, **arguments), ti)
        return run(sensor_of(mode, **arguments), ti)
    except DocStatusError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("mode", MODES)
def test_a_gate_names_the_file_of_the_document_that_failed(vendors: StandInVendors, mode: str) -> None:
    request = vendors.add_job("neurolinker", documents=["completed", "failed"], file_name="invoice-7.pdf")
    good, bad = (document.job_id for document in vendors.jobs[request].documents)
    ti = FakeTaskInstance()
    said = ended(mode, ti, conn_id="neurolinker_default", request_id=request)
    assert ti.xcoms[XCOM_KEY]["file_names"] == {good: "invoice-7.pdf", bad: "invoice-7.pdf"}
    assert f": invoice-7.pdf ({bad}): Document is corrupted" in said


@pytest.mark.parametrize("mode", MODES)
def test_a_list_names_the_files_in_its_manifest_and_in_its_error(vendors: StandInVendors, mode: str) -> None:
    good, bad = (
        vendors.add_job("neurolinker", "document", file_name=f"{ends}.pdf", ends=ends) for ends in ("completed", "failed")
    )
    ti = FakeTaskInstance()
    said = ended(mode, ti, conn_id="neurolinker_default", document_id=[good, bad])
    assert ti.xcoms[XCOM_KEY]["file_names"] == {good: "completed.pdf", bad: "failed.pdf"}
    assert f"failed.pdf (neurolinker document {bad}) ended failed" in said


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_deployment_can_keep_names_out_of_log_event_and_xcom(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str, *, is_list: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__FILE_NAMES", "False")
    caplog.set_level(logging.DEBUG)
    torn = f"{SECRET} is torn"
    request = vendors.add_job("neurolinker", documents=["completed", "failed"], file_name=SECRET, error=torn)
    ids = [vendors.add_job("neurolinker", "document", file_name=SECRET, ends=end, error=torn) for end in ("completed", "failed")]
    asked = {"request_id": [request], "document_id": ids} if is_list else {"request_id": request, "document_id": ids[1]}
    for name, value in asked.items():
        arguments = {"conn_id": "neurolinker_default", name: value}
        ti = FakeTaskInstance()
        said = ended(mode, ti, **arguments)
        assert f"{HIDDEN_NAME} is torn" in said
        assert ti.xcoms[XCOM_KEY]["file_names"] == {}
        assert not any("Jane" in one for one in (json.dumps(ti.xcoms), said, caplog.text))


def test_a_trigger_is_given_no_name_even_where_names_are_told(vendors: StandInVendors) -> None:
    job = vendors.add_job("neurolinker", "document", file_name=SECRET, seconds=1000)
    arguments = {"conn_id": "neurolinker_default", "document_id": job, "watch_on_worker": 0}
    ti = FakeTaskInstance()
    trigger = deferral_of(sensor_of("deferrable", **arguments), ti).trigger
    assert ti.xcoms[XCOM_KEY]["details"]["file_name"] == SECRET
    assert "Jane" not in json.dumps(trigger.serialize()[1])


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        *[(yes, "a.pdf") for yes in ("True", "true", "t", "1", " TRUE ")],
        *[(no, None) for no in ("False", "false", "f", "0", "", "nope")],  # in doubt a name is kept back
    ],
)
def test_the_setting_holds_for_the_hook_too(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, setting: str, name: str | None
) -> None:
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__FILE_NAMES", setting)
    job = vendors.add_job("neurolinker", "document", file_name="a.pdf")
    assert DocStatusHook("neurolinker_default").get_status(document_id=job).file_name == name


def test_a_hostile_name_is_cleaned_before_it_is_told(vendors: StandInVendors) -> None:
    job = vendors.add_job("neurolinker", "document", file_name="a\u202e\x1b[31m\n.pdf" + "x" * 500, ends="failed")
    said = ended("poke", FakeTaskInstance(), conn_id="neurolinker_default", document_id=job)
    assert "a[31m .pdfxxx" in said
    assert "x" * 120 not in said
