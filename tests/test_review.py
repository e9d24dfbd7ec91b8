"""What becomes of documents in review: they fail, pass, are waited for, or a person is asked about them."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_docstatus import _compat
from airflow_provider_docstatus._compat import (
    DEFERRAL_TIMED_OUT,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_docstatus.exceptions import (
    Declined,
    DocumentFailed,
    KeyRejected,
    RequestRejected,
    ReviewTimedOut,
    UnexpectedReply,
    WaitTimedOut,
)
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.review import accepted
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.status import DocumentStatus
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.triggers import DocStatusTrigger
from tests.task_runs import (
    MODES,
    NOBODY,
    FakeTaskInstance,
    RequiredActions,
    answer,
    deferral_of,
    parked_with,
    resumed_with,
    run,
    run_rescheduled,
    task_deferral_error,
    wait,
)

CANNOT_ASK = _compat.cannot_ask()
asks_people = pytest.mark.skipif(bool(CANNOT_ASK), reason=f"on_review='ask' {CANNOT_ASK}")
each_mode = pytest.mark.parametrize("mode", MODES)
AT = "2026-08-01T10:00:00+00:00"


@pytest.fixture(scope="module")
def server():
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> RequiredActions:
    return RequiredActions.opened(monkeypatch)


def asking(mode: str = "poke", **more: Any) -> DocStatusSensor:
    how = {"deferrable": True, "watch_on_worker": 0} if mode == "deferrable" else {"deferrable": False, "mode": mode}
    about = {"task_id": "gate", "conn_id": "unsiloed_default", "operation": "extract", "timeout": 5, "on_review": "ask"}
    return DocStatusSensor(**{**about, **how, **more})


def question_of(mode: str, ti: FakeTaskInstance, **more: Any) -> BaseException:
    """Run a sensor to its question; return what it is parked with."""
    if mode == "reschedule":
        return parked_with(lambda: run_rescheduled(lambda: asking(mode, **more), ti))
    return parked_with(lambda: run(asking(mode, **more), ti))


def flagged(vendors: StandInVendors, **more: Any) -> str:
    return vendors.add_job("unsiloed", "extract", ends="review", **more)


# -- the parameters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"on_review": "maybe"}, "on_review='maybe' is none of fail, accept, wait, ask"),
        ({"on_review": None}, "on_review=None is none of"),
        ({"review_timeout": 60}, "review_timeout: nobody is asked with on_review='fail'"),
        (
            {"on_review": "wait", "assigned_users": {"id": "1", "name": "a"}},
            "assigned_users: nobody is asked with on_review='wait'",
        ),
        ({"on_review": "accept", "notifiers": [print], "review_timeout": 1}, "review_timeout and notifiers: nobody is asked"),
        ({"on_review": "wait", "accept": ("review",)}, "on_review='wait' has nothing to do: accept has 'review'"),
        ({"on_review": "ask", "accept": "review"}, "on_review='ask' has nothing to do: accept has 'review'"),
    ],
)
def test_what_does_not_go_together_is_refused_when_the_dag_is_read(given, text):
    with pytest.raises(ValueError, match=text):
        DocStatusSensor(task_id="gate", conn_id="unsiloed_default", job_id="j", **given)


@asks_people
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"review_timeout": 0}, "review_timeout must be a timedelta or a finite number of seconds, at least 1"),
        ({"review_timeout": "1 h"}, "review_timeout must be"),
        ({"assigned_users": "ada"}, "assigned_users is a dict such as"),
        ({"assigned_users": ["ada"]}, "assigned_users is a dict such as"),
        ({"assigned_users": {"id": 7, "name": "ada"}}, "assigned_users is a dict such as"),
        ({"assigned_users": [{"id": "7"}]}, "assigned_users is a dict such as"),
        ({"assigned_users": []}, "leave it out to let all answer"),
        ({"notifiers": "mail"}, "notifiers are Airflow notifiers, or functions"),
    ],
)
def test_a_wrong_argument_of_a_question_is_refused_when_the_dag_is_read(given, text):
    with pytest.raises(ValueError, match=text):
        asking(**given)


@pytest.mark.skipif(not CANNOT_ASK, reason="this Airflow can ask")
def test_an_airflow_that_cannot_ask_says_so_when_the_dag_is_read():
    with pytest.raises(ValueError, match=r"on_review='ask' needs Airflow 3\.1 or newer, where tasks can ask people"):
        asking(job_id="j")


def test_a_missing_package_is_named_when_the_dag_is_read(monkeypatch):
    known = {"CreateHITLDetailPayload": object}
    monkeypatch.setattr(_compat, "_attribute", lambda _module, name: known.get(name))
    with pytest.raises(ValueError, match="needs the package apache-airflow-providers-standard"):
        asking(job_id="j")


# -- accept ------------------------------------------------------------------------------------------------------


@each_mode
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_accept_opens_the_gate_as_the_parameter_accept_does(vendors, mode, is_list):
    job_id = flagged(vendors)
    given = {"conn_id": "unsiloed_default", "operation": "extract", "job_id": [job_id] if is_list else job_id}
    told = wait(mode, on_review="accept", **given)
    assert (told["counts"] if is_list else told["state"]) == ({"review": 1} if is_list else "review")
    assert "review" not in told
    assert DocStatusSensor(task_id="gate", on_review="accept", accept="partial", **given).accept == ("partial", "review")


# -- wait --------------------------------------------------------------------------------------------------------


def reviewed_at_vendor(vendors: StandInVendors, ends: str, looks: float) -> str:
    """Create a workflow run that waits for Extend's reviewer for so many polls."""
    job_id = vendors.add_job("extend", "workflow", ends=ends)
    body = {"object": "workflow_run", "id": job_id, "status": "NEEDS_REVIEW"}
    vendors.answer_next(200, body=body, path=job_id, times=looks)
    return job_id


@each_mode
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize(("ends", "state"), [("completed", "succeeded"), ("failed", "failed")])
def test_a_wait_goes_on_until_the_vendors_own_reviewer_has_decided(vendors, mode, is_list, ends, state):
    job_id, ti = reviewed_at_vendor(vendors, ends, 3), FakeTaskInstance()
    given = {"conn_id": "extend_default", "operation": "workflow", "job_id": [job_id] if is_list else job_id}
    try:
        told = wait(mode, ti, on_review="wait", poke_interval=0.001, **given)
    except DocumentFailed:
        told = ti.xcoms[XCOM_KEY]
        assert ends == "failed"
    assert (told["counts"] if is_list else told["state"]) == ({state: 1} if is_list else state)


@each_mode
def test_without_it_the_same_run_fails_at_the_first_poll(vendors, mode):
    job_id = reviewed_at_vendor(vendors, "completed", 3)
    with pytest.raises(DocumentFailed, match="ended review"):
        wait(mode, conn_id="extend_default", operation="workflow", job_id=job_id)


@each_mode
def test_a_reviewer_who_does_not_decide_is_a_time_out_and_never_a_stall(vendors, mode):
    job_id, ti = reviewed_at_vendor(vendors, "completed", math.inf), FakeTaskInstance()
    given = {"conn_id": "extend_default", "operation": "workflow", "job_id": job_id, "timeout": 1.5}
    with pytest.raises(WaitTimedOut, match=r"last state review \('NEEDS_REVIEW'\)"):
        wait(mode, ti, on_review="wait", stalled_after=1, poke_interval=0.05, **given)
    assert ti.xcoms[XCOM_KEY]["state"] == "review"
    vendors.answer_truly()


@pytest.mark.parametrize(
    ("conn_id", "operation"), [("unsiloed_default", "extract"), ("extend_default", "extract"), ("aitronos_default", None)]
)
def test_a_vendor_without_a_reviewer_is_refused(vendors, conn_id, operation):
    before = len(vendors.requests)
    with pytest.raises(RequestRejected, match=r"does not say that a job.* in review ever gets another state"):
        wait("poke", conn_id=conn_id, operation=operation, job_id="j", on_review="wait")
    assert len(vendors.requests) == before


def test_an_older_triggerer_refuses_the_wait_since_the_arguments_have_a_field_it_does_not_know(vendors):
    for on_review, is_there in (("fail", False), ("accept", False), ("wait", True)):
        kwargs = DocStatusTrigger(on_review=on_review).serialize()[1]
        assert ("on_review" in kwargs) is (is_there or on_review == "accept")  # the task itself says "fail" for "accept"
    job_id = flagged(vendors, seconds=60)
    sensor = asking("deferrable", job_id=job_id, on_review="accept")
    assert "on_review" not in deferral_of(sensor).trigger.serialize()[1]


# -- ask ---------------------------------------------------------------------------------------------------------


@asks_people
@each_mode
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_approve_opens_the_gate_and_the_xcom_says_who_when_and_why(vendors, page, mode, is_list):
    job_id, ti = flagged(vendors, reply={"file_name": "invoice.pdf"}), FakeTaskInstance()
    ids = [job_id, vendors.add_job("unsiloed", "extract")] if is_list else job_id
    parked = question_of(mode, ti, job_id=ids)
    assert ti.xcoms[XCOM_KEY]["review"] == {"decision": "open", "decided_by": None, "decided_at": None, "reason": None}
    assert page.question["subject"] == "Unsiloed: invoice.pdf needs a decision"
    assert (page.question["options"], page.question["defaults"]) == (["Approve", "Reject"], None)
    assert job_id in page.question["body"]
    told = resumed_with(asking(mode, job_id=ids), parked, answer("Approve", params_input={"reason": "looked at it"}), {"ti": ti})
    review = {"decision": "approved", "decided_by": "ada (7)", "decided_at": AT, "reason": "looked at it"}
    assert told["review"] == review
    assert ti.xcoms[XCOM_KEY] == told
    assert (told["counts"] if is_list else told["state"]) == ({"review": 1, "succeeded": 1} if is_list else "review")
    if not is_list:
        assert DocumentStatus.from_dict(told).state == "review"


@asks_people
@each_mode
@pytest.mark.parametrize("flag", [None, "soft_fail", "never_fail"])
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_reject_fails_the_task_for_good(vendors, page, mode, flag, is_list):
    job_id, ti, flags = flagged(vendors), FakeTaskInstance(), {flag: True} if flag else {}
    ids = [job_id] if is_list else job_id
    parked = question_of(mode, ti, job_id=ids, **flags)
    event = answer("Reject", params_input={"reason": "blurred"})
    with pytest.raises(AirflowSkipException if flag else AirflowFailException, match="blurred") as raised:
        resumed_with(asking(mode, job_id=ids, **flags), parked, event, {"ti": ti})
    error = raised.value.__cause__ if flag else raised.value
    assert isinstance(error, Declined)
    assert f"was rejected by ada (7) at {AT}" in str(error)
    told = ti.xcoms[XCOM_KEY]
    assert (told["review"]["decision"], told["review"]["reason"]) == ("rejected", "blurred")
    assert (told["ids"] if is_list else told["state"]) == ({"declined": [job_id]} if is_list else "review")


@asks_people
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_nobody_in_time_is_a_time_out_that_says_so(vendors, page, is_list):
    job_id, ti = flagged(vendors), FakeTaskInstance()
    ids = [job_id] if is_list else job_id
    parked = question_of("poke", ti, job_id=ids, review_timeout=timedelta(minutes=2))
    with pytest.raises(ReviewTimedOut, match=r"nobody decided within 120 s \(review_timeout\)") as raised:
        resumed_with(asking(job_id=ids, review_timeout=120), parked, NOBODY, {"ti": ti})
    assert isinstance(raised.value, AirflowSensorTimeout)
    assert ti.xcoms[XCOM_KEY]["review"]["decision"] == "timed_out"
    assert not is_list or ti.xcoms[XCOM_KEY]["ids"] == {"review_timed_out": [job_id]}


@asks_people
@pytest.mark.parametrize(("given", "seconds"), [(None, None), (90, 90.0), (timedelta(days=3), 3 * 86_400.0)])
def test_the_time_to_decide_is_the_tasks_and_starts_with_the_question(vendors, page, given, seconds):
    parked = question_of("poke", FakeTaskInstance(), job_id=flagged(vendors), review_timeout=given)
    timeout = parked.timeout
    if seconds is not None and hasattr(parked, "trigger"):
        timeout -= _compat.ANSWER_BACKSTOP
    assert timeout == (None if seconds is None else timedelta(seconds=seconds))


@asks_people
def test_airflow_3_3_holds_no_slot_and_older_ones_have_airflows_own_trigger(vendors, page):
    parked = question_of("poke", FakeTaskInstance(), job_id=flagged(vendors), review_timeout=60)
    if not hasattr(parked, "trigger"):
        assert type(parked).__name__ == "TaskAwaitingInput"
        return
    name, kwargs = parked.trigger.serialize()
    assert name == "airflow.providers.standard.triggers.hitl.HITLTrigger"
    assert kwargs["options"] == ["Approve", "Reject"]
    assert kwargs["defaults"] is None
    assert kwargs["timeout_datetime"] is not None


@asks_people
def test_the_reason_is_an_optional_text_field(vendors, page):
    question_of("poke", FakeTaskInstance(), job_id=flagged(vendors))
    (field,) = page.question["params"].values()
    assert list(page.question["params"]) == ["reason"]
    assert field["schema"]["type"] == ["null", "string"]


@asks_people
def test_before_3_1_3_a_form_is_its_values_alone(monkeypatch):
    for version, is_plain in (("3.1.2", True), ("3.1.3", False), ("3.1.10rc1", False), ("3.10.0", False)):
        monkeypatch.setattr(_compat, "airflow_version", version)
        assert (_compat._reason_field("reason") == {"reason": ""}) is is_plain


@asks_people
def test_who_may_answer_and_who_is_told(vendors, page):
    called: list[Any] = []
    ti, ada = FakeTaskInstance(), {"id": "7", "name": "ada"}
    question_of("poke", ti, job_id=flagged(vendors), assigned_users=ada, notifiers=called.append)
    assert page.question["assigned_users"] == [ada]
    assert [context["ti"] for context in called] == [ti]
    several = asking(job_id="j", assigned_users=[ada, {"id": "8", "name": "bo"}], notifiers=[called.append, called.append])
    assert (len(several.assigned_users), len(several.notifiers)) == (2, 2)


@asks_people
def test_the_question_holds_nothing_of_the_document_and_nothing_of_the_vendors_text(vendors, page):
    content = {"secret_total": "1,250.00 CHF"}
    question_of("poke", FakeTaskInstance(), job_id=flagged(vendors, content=content, reply={"message": "could not read secret"}))
    shown = str(page.question)
    assert "secret" not in shown
    assert "1,250" not in shown


@asks_people
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_deployment_that_keeps_file_names_to_itself_shows_none(vendors, page, monkeypatch, is_list):
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__FILE_NAMES", "False")
    ids = [flagged(vendors, reply={"file_name": f"{number}.pdf"}) for number in range(2)]
    question_of("poke", FakeTaskInstance(), job_id=ids if is_list else ids[0])
    assert ids[0] in str(page.question)
    assert ".pdf" not in str(page.question)


@asks_people
@pytest.mark.parametrize("event", [None, {}, answer(), answer("Maybe"), {"error": "x", "error_type": "validation"}], ids=str)
def test_an_answer_that_is_none_opens_no_gate(vendors, page, event):
    ti = FakeTaskInstance()
    parked = question_of("poke", ti, job_id=(job_id := flagged(vendors)))
    with pytest.raises(UnexpectedReply):
        resumed_with(asking(job_id=job_id), parked, event, {"ti": ti})


@asks_people
@pytest.mark.parametrize("more", [{"accept": ("partial",)}, {"on_review": "fail"}], ids=["another state", "fail"])
def test_nobody_is_asked_where_there_is_nothing_to_decide(vendors, page, more):
    ids = {"job_id": vendors.add_job("unsiloed", "extract")} if "accept" in more else {"job_id": flagged(vendors)}
    sensor = asking(**ids, **more)
    if "accept" in more:
        assert sensor.execute({"ti": FakeTaskInstance()})["state"] == "succeeded"
    else:
        with pytest.raises(DocumentFailed, match="ended review"):
            sensor.execute({"ti": FakeTaskInstance()})
    assert page.question is None


# -- lists -------------------------------------------------------------------------------------------------------


def jobs_of(vendors: StandInVendors, ends: str) -> list[str]:
    """Create a job for each letter: in review, completed, failed."""
    words = {"r": "review", "c": "completed", "f": "failed"}
    return [vendors.add_job("unsiloed", "extract", ends=words[end]) for end in ends]


@asks_people
@each_mode
@pytest.mark.parametrize(
    ("ends", "more"),
    [
        ("rcc", {}),
        ("rrc", {}),
        ("rfc", {"wait_for": 2}),
        ("rff", {"wait_for": "any"}),
        ("rrr", {"wait_for": 0.5}),
        ("rcr", {"fail_fast": True}),
    ],
)
def test_a_person_is_asked_if_that_can_open_the_gate_of_a_list(vendors, page, mode, ends, more):
    ids, ti = jobs_of(vendors, ends), FakeTaskInstance()
    in_review = [one for one, end in zip(ids, ends, strict=True) if end == "r"]
    parked = question_of(mode, ti, job_id=ids, **more)
    assert [one for one in ids if one in page.question["body"]] == in_review
    told = resumed_with(asking(mode, job_id=ids, **more), parked, answer("Approve"), {"ti": ti})
    assert told["ids"]["review"] == in_review


@asks_people
@each_mode
@pytest.mark.parametrize(
    ("ends", "more", "is_good"),
    [
        ("rfc", {}, False),
        ("rfc", {"wait_for": "any"}, True),
        ("rfr", {"fail_fast": True}, False),
        ("rcc", {"wait_for": 2, "fail_fast": True}, True),
    ],
)
def test_nobody_is_asked_about_a_list_whose_end_is_certain(vendors, page, mode, ends, more, is_good):  # noqa: PLR0917 -- one for each column
    ti, about = FakeTaskInstance(), {"conn_id": "unsiloed_default", "operation": "extract", "on_review": "ask"}
    with nullcontext() if is_good else pytest.raises(DocumentFailed):
        wait(mode, ti, job_id=jobs_of(vendors, ends), **about, **more)
    assert page.question is None
    assert "review" not in ti.xcoms[XCOM_KEY]


@asks_people
def test_a_list_in_which_one_is_declined_and_one_failed_is_a_failed_document(vendors, page):
    ids, ti = (
        [flagged(vendors), vendors.add_job("unsiloed", "extract", ends="failed"), vendors.add_job("unsiloed", "extract")],
        FakeTaskInstance(),
    )
    parked = question_of("poke", ti, job_id=ids, wait_for=2)
    with pytest.raises(DocumentFailed) as raised:
        resumed_with(asking(job_id=ids, wait_for=2), parked, answer("Reject"), {"ti": ti})
    assert not isinstance(raised.value, Declined)
    assert ti.xcoms[XCOM_KEY]["counts"] == {"failed": 1, "succeeded": 1, "declined": 1}
    assert "was rejected by ada (7)" in ti.xcoms[XCOM_KEY]["errors"][ids[0]]


@asks_people
def test_of_a_long_list_twenty_are_looked_up_once_and_the_others_counted(vendors, page):
    ids = [flagged(vendors, reply={"file_name": f"{number}.pdf"}) for number in range(23)]
    before = len(vendors.requests)
    question_of("poke", FakeTaskInstance(), job_id=ids)
    assert len(vendors.requests) - before == 23 + 20
    assert "`19.pdf`" in page.question["body"]
    assert "`20.pdf`" not in page.question["body"]
    assert "- and 3 more" in page.question["body"]


@asks_people
@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 401}, {"status": 404, "body": {"detail": "gone"}}, {"reset": True}], ids=str
)
def test_a_fault_of_that_look_costs_facts_and_not_the_question(vendors, page, fault):
    ids = [flagged(vendors, reply={"file_name": f"{number}.pdf"}) for number in range(2)]
    sensor = asking(job_id=ids)

    def poke_and_break(context: Any) -> Any:
        is_over = DocStatusSensor.poke(sensor, context)
        vendors.answer_next(**fault, path=ids[1])
        return is_over

    sensor.poke = poke_and_break
    parked_with(lambda: sensor.execute({"ti": FakeTaskInstance()}))
    assert all(one in page.question["body"] for one in ids)
    assert all(f"`{number}.pdf`" in page.question["body"] for number in range(2)), "the wait has told them"
    assert [f"`{one}` (`review`)" in page.question["body"] for one in ids] == [True, False]
    vendors.answer_truly()


@asks_people
def test_a_used_up_account_is_told_and_nobody_asked(vendors, page):
    ids = [flagged(vendors), vendors.add_job("unsiloed", "extract", seconds=60)]
    vendors.answer_next(401, body={"detail": "Invalid API key"}, path=ids[1], times=math.inf)
    with pytest.raises(KeyRejected):
        asking(job_id=ids, poke_interval=0.01).execute({"ti": FakeTaskInstance()})
    assert page.question is None
    vendors.answer_truly()


# -- later tries, and what Airflow breaks off ----------------------------------------------------------------------


@asks_people
def test_a_later_try_with_the_same_facts_asks_the_same_question_again(vendors, page):
    job_id = flagged(vendors)
    question_of("poke", FakeTaskInstance(), job_id=job_id)
    first = page.question
    question_of("poke", FakeTaskInstance(try_number=2), job_id=job_id)
    assert page.question == first


@asks_people
@pytest.mark.parametrize("change", ["facts", "users"])
def test_nobody_decides_by_the_question_of_an_earlier_try_when_the_facts_have_changed(vendors, page, change):
    job_id = flagged(vendors, reply={"file_name": "invoice.pdf"})
    question_of("poke", FakeTaskInstance(), job_id=job_id)
    if change == "facts":
        vendors.jobs[job_id].reply = {"file_name": "another.pdf"}
    users = {"assigned_users": {"id": "7", "name": "ada"}} if change == "users" else {}
    ti = FakeTaskInstance(try_number=2)
    with pytest.raises(RequestRejected, match="still shows what an earlier try of this task has asked") as raised:
        asking(job_id=job_id, soft_fail=True, **users).execute({"ti": ti})
    assert isinstance(raised.value, AirflowFailException)
    assert ti.xcoms[XCOM_KEY]["state"] == "review"
    assert "review" not in ti.xcoms[XCOM_KEY]


@asks_people
@pytest.mark.parametrize("error", DEFERRAL_TIMED_OUT)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_trigger_that_nobody_runs_is_nobody_in_time(vendors, page, error, is_list):
    ti, job_id = FakeTaskInstance(), flagged(vendors)
    ids = [job_id] if is_list else job_id
    question_of("poke", ti, job_id=ids, review_timeout=60)
    before = len(vendors.requests)
    with pytest.raises(ReviewTimedOut, match="within 60 s"):
        asking(job_id=ids, review_timeout=60).resume_execution("__fail__", {"error": error}, {"ti": ti})
    assert ti.xcoms[XCOM_KEY]["review"]["decision"] == "timed_out"
    assert len(vendors.requests) == before


@asks_people
@pytest.mark.parametrize(("event", "error"), [(answer("Reject"), Declined), (NOBODY, ReviewTimedOut)], ids=["reject", "nobody"])
def test_an_event_that_airflow_has_lost_makes_no_list_good_of_which_only_some_are(vendors, page, event, error):
    ids, ti = jobs_of(vendors, "rc"), FakeTaskInstance()
    question_of("poke", ti, job_id=ids)
    with pytest.raises(error, match="1 of 2 ids ended well, 2 were needed"):
        asking(job_id=ids).execute_reviewed({"ti": ti}, event=event)


@asks_people
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_an_answer_finds_what_it_is_about_in_the_xcom_if_airflow_has_lost_it(vendors, page, is_list):
    ti, job_id = FakeTaskInstance(), flagged(vendors)
    ids = [job_id] if is_list else job_id
    question_of("poke", ti, job_id=ids)
    told = asking(job_id=ids).execute_reviewed({"ti": ti}, event=answer("Approve"))
    assert told["review"]["decision"] == "approved"
    assert told["counts" if is_list else "state"] == ({"review": 1} if is_list else "review")


@asks_people
@pytest.mark.parametrize(
    "pushed", [None, "text", {"review": {"decision": "open"}}, {"review": {"decision": "approved"}}], ids=str
)
def test_an_answer_about_nothing_opens_no_gate(pushed):
    ti = FakeTaskInstance(xcoms={XCOM_KEY: pushed})
    with pytest.raises(UnexpectedReply, match="does not tell what a person was asked about"):
        asking(job_id="j").execute_reviewed({"ti": ti}, event=answer("Approve"))


# -- with a gate on the vendor's confidence ------------------------------------------------------------------------


def unsure(vendors: StandInVendors) -> str:
    """Create a finished job whose vendor is not sure of one of two fields."""
    data = {"total": {"value": "secret", "score": 0.41}, "date": {"value": "secret", "score": 0.97}}
    return vendors.add_job("unsiloed", "extract", reply={"result": data})


@asks_people
@each_mode
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize("chosen", ["Approve", "Reject", None])
def test_a_person_decides_about_what_the_vendor_is_not_sure_of(vendors, page, mode, is_list, chosen):
    ti, job_id = FakeTaskInstance(), unsure(vendors)
    about = {"job_id": [job_id] if is_list else job_id, "min_confidence": 0.9, "on_uncertain": "review"}
    parked = question_of(mode, ti, **about)
    lines = [line.strip(" -") for line in page.question["body"].splitlines() if "confidence" in line]
    assert lines == ["lowest confidence: 0.41", "1 of 2 fields have too little confidence: `total`"]
    assert "secret" not in str(page.question)
    event = answer(chosen) if chosen else NOBODY
    with nullcontext() if chosen == "Approve" else pytest.raises(Declined if chosen else ReviewTimedOut):
        resumed_with(asking(mode, **about), parked, event, {"ti": ti})
    told = ti.xcoms[XCOM_KEY]
    assert told["confidence"]["lowest"] == 0.41
    assert told["review"]["decision"] == {"Approve": "approved", "Reject": "rejected"}.get(chosen, "timed_out")


@asks_people
@pytest.mark.parametrize("error", DEFERRAL_TIMED_OUT)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_nor_is_it_good_if_no_trigger_runs(vendors, page, error, is_list):
    ti, job_id = FakeTaskInstance(), unsure(vendors)
    about = {"job_id": [job_id] if is_list else job_id, "min_confidence": 0.9, "on_uncertain": "review"}
    question_of("poke", ti, **about)
    with pytest.raises(ReviewTimedOut):
        asking(**about).resume_execution("__fail__", {"error": error}, {"ti": ti})


@asks_people
def test_an_answer_that_airflow_cannot_deliver_is_airflows_own_error_and_retried(vendors, page):
    ti, job_id = FakeTaskInstance(), flagged(vendors)
    question_of("poke", ti, job_id=job_id)
    with pytest.raises(task_deferral_error()):
        asking(job_id=job_id, soft_fail=True).resume_execution("__fail__", {"error": "Trigger failure"}, {"ti": ti})


def test_a_wait_that_airflow_breaks_off_before_any_question_is_looked_at_once_more(vendors):
    ti, job_id = FakeTaskInstance(), vendors.add_job("unsiloed", "extract")
    sensor = asking(job_id=job_id, on_review="accept")
    told = sensor.resume_execution(
        "__fail__", {"error": "Trigger failure"}, {"ti": ti, "dag_run": SimpleNamespace(run_after=None)}
    )
    assert told["state"] == "succeeded"


@asks_people
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
@pytest.mark.parametrize("waits", [False, True])
def test_the_operator_fetches_what_a_person_has_approved(vendors, page, is_list, waits):
    job_id, ti = flagged(vendors), FakeTaskInstance()
    about = {"conn_id": "unsiloed_default", "operation": "extract", "job_id": [job_id] if is_list else job_id}

    def operator() -> ExtractedDataOperator:
        return ExtractedDataOperator(task_id="extract", on_review="ask", wait_for_completion=waits, deferrable=False, **about)

    parked = parked_with(lambda: operator().execute({"ti": ti}))
    data = resumed_with(operator(), parked, answer("Approve"), {"ti": ti})
    assert "invoice_number" in str(data["items"][job_id] if is_list else data)
    assert ti.xcoms[XCOM_KEY]["review"]["decision"] == "approved"


@asks_people
def test_the_operator_fetches_what_was_approved_in_a_sensors_manifest(vendors, page):
    ids, ti = [flagged(vendors), vendors.add_job("unsiloed", "extract")], FakeTaskInstance()
    manifest = resumed_with(asking(job_id=ids), question_of("poke", ti, job_id=ids), answer("Approve"), {"ti": ti})
    about = {"task_id": "extract", "conn_id": "unsiloed_default", "operation": "extract", "job_id": manifest}
    assert set(ExtractedDataOperator(**about).execute({"ti": FakeTaskInstance()})["items"]) == set(ids)


@asks_people
def test_data_that_reading_deletes_is_not_left_behind_for_a_question(vendors, monkeypatch):
    connection = json.loads(vendors.environment()["AIRFLOW_CONN_LANDINGAI_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_LANDINGAI_DEFAULT", json.dumps({**connection, "extra": {"zero_retention": True}}))
    about = {"conn_id": "landingai_default", "job_id": vendors.add_job("landingai", "parse"), "operation": "parse"}
    operator = ExtractedDataOperator(task_id="extract", wait_for_completion=True, deferrable=False, **about)
    operator.on_review, before = "ask", len(vendors.requests)
    with pytest.raises(RequestRejected, match=r"deletes the data of this account .* and without on_review='ask'"):
        operator.execute({"ti": FakeTaskInstance()})
    assert len(vendors.requests) == before


@pytest.mark.parametrize(
    ("accept", "review", "states"),
    [
        ((), None, ()),
        (("partial",), {"decision": "approved"}, ("partial", "review")),
        (("review",), {"decision": "approved"}, ("review",)),
        ((), {"decision": "rejected"}, ()),
        ((), "approved", ()),
    ],
)
def test_an_approval_is_one_more_accepted_state(accept, review, states):
    assert accepted(accept, review) == states
