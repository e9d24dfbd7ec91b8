"""
What becomes of documents that a vendor flags for a person, by ``on_review``.

``fail`` and ``accept`` need nothing but the report of the wait, and ``wait`` is the wait's. For ``ask``, the task puts a question
on Airflow's page "Required actions" once the wait is over, and ends for the time being. The answer resumes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_docstatus._compat import await_answer, cannot_ask, put_question
from airflow_provider_docstatus.arguments import WaitingTask, bare_ids, checked_seconds
from airflow_provider_docstatus.blocking import BlockingPoller, Once
from airflow_provider_docstatus.exceptions import DocStatusError, RequestRejected, UnexpectedReply
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.protocol.values import named
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.task import described, in_review, push, report_of
from airflow_provider_docstatus.types import Manifest, Status
from airflow_provider_docstatus.waiting.group import needed_of
from airflow_provider_docstatus.waiting.question import (
    MOST_SHOWN,
    OPTIONS,
    REASON,
    UNDECIDED,
    Decision,
    Question,
    decision_of,
    question_about,
)
from airflow_provider_docstatus.waiting.report import Report
from airflow_provider_docstatus.waiting.wait import Ending

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context

WAYS = ("fail", "accept", "wait", "ask")
#: The method that Airflow calls with the answer.
RESUMES_WITH = "execute_reviewed"
#: Seconds that the polls for what a person is shown may take in all.
LONGEST_LOOK = 30.0


def set_review(
    task: Any,
    *,
    on_review: str,
    review_timeout: timedelta | float | None,
    assigned_users: Mapping[str, str] | Sequence[Mapping[str, str]] | None,
    notifiers: Callable[[Context], None] | Sequence[Callable[[Context], None]] | None,
) -> None:
    """
    Check the parameters of a sensor or operator about documents in review, and set them; ``task.accept`` is set already.

    :raises ValueError: they are wrong or do not go together, or this Airflow cannot ask a person (the DAG's author).
    """
    if on_review not in WAYS:
        raise ValueError(f"on_review={on_review!r} is none of {', '.join(WAYS)}")
    given = {"review_timeout": review_timeout, "assigned_users": assigned_users, "notifiers": notifiers}
    unused = [name for name, value in given.items() if value is not None]
    if unused and on_review != "ask":
        raise ValueError(f"{' and '.join(unused)}: nobody is asked with on_review={on_review!r}; it takes on_review='ask'")
    if on_review in ("wait", "ask") and State.REVIEW.value in task.accept:
        raise ValueError(f"on_review={on_review!r} has nothing to do: accept has 'review', which opens the gate at once")
    if on_review == "ask" and (why := cannot_ask()):
        raise ValueError(f"on_review='ask' {why}")
    if on_review == "accept" and State.REVIEW.value not in task.accept:
        task.accept = (*task.accept, State.REVIEW.value)
    task.on_review = on_review
    task.review_timeout = checked_seconds("review_timeout", review_timeout)
    task.assigned_users = _checked_users(assigned_users)
    task.notifiers = tuple(notifiers) if isinstance(notifiers, Sequence) else () if notifiers is None else (notifiers,)
    if not all(callable(notifier) for notifier in task.notifiers):
        raise ValueError("notifiers are Airflow notifiers, or functions that take the context")


def _checked_users(
    users: Mapping[str, str] | Sequence[Mapping[str, str]] | None,
) -> list[dict[str, str]] | None:
    """Return who may answer, as Airflow's ``HITLUser``; None for everybody. Raises ValueError for anything else."""
    if users is None:
        return None
    several: Any = [users] if isinstance(users, Mapping) else users
    wrong = "assigned_users is a dict such as {'id': '1', 'name': 'admin'}, or a list of them; leave it out to let all answer"
    if isinstance(several, str) or not isinstance(several, Sequence) or not several:  # nobody is not everybody
        several = [None]
    if not all(isinstance(user, Mapping) and isinstance(user.get(key), str) for user in several for key in ("id", "name")):
        raise ValueError(wrong)
    return [{"id": user["id"], "name": user["name"]} for user in several]


def settle(task: Any, context: Context, event: Any, answer: Any = None) -> Status | Manifest:
    """
    Turn the event of a wait into the task's result, as :func:`.task.conclude` does; if the task says so, ask a person first.

    :param event: what the wait has ended with; None with an answer if Airflow has lost it. The XCom has what it said.
    :param answer: with what Airflow resumed the task after the question; None if nobody has been asked.
    :return: the XCom value. If somebody was asked, ``review`` says who has decided what.
    :raises Declined: the answer is *Reject*.
    :raises ReviewTimedOut: nobody has answered within ``review_timeout``.
    :raises DocStatusError: see :func:`.report.result_of`.
    :raises BaseException: Airflow's own, which parks the task until the answer comes.
    """
    report = report_of(task, context, event) if event is not None or answer is None else _asked_about(task, context)
    if answer is not None:
        decision = decision_of(answer)
        task.log.info("Review: %s by %s", decision.word, decision.by or "nobody that Airflow names")
        report = report.decided(decision.outcome, _text_of(decision, report, task.review_timeout), decision.in_xcom)
    elif task.on_review == "ask" and (ids := report.undecided(task.accept)):
        push(context, report)
        _ask(task, context, replace(report, review=UNDECIDED), ids, event)
    push(context, report)
    return report.result(accepted(task.accept, report.review))


def accepted(accept: Sequence[str], review: Mapping[str, Any] | None) -> tuple[str, ...]:
    """
    Return the states besides ``succeeded`` that open the gate, after a person's decision.

    :param accept: those that open it anyway.
    :param review: ``review`` of a status dict or manifest; None if nobody was asked.
    """
    is_approved = isinstance(review, Mapping) and review.get("decision") == "approved"
    return (*accept, State.REVIEW.value) if is_approved and State.REVIEW.value not in accept else tuple(accept)


def _asked_about(task: Any, context: Context) -> Report:
    """Return the report of a wait about which a person was asked, as the XCom has it."""
    told = in_review(context)
    try:
        if told is None:
            raise KeyError(XCOM_KEY)
        if "ids" in told:
            manifest = cast("Manifest", {name: value for name, value in told.items() if name != "review"})
            return Report(manifest=manifest, needed=needed_of(task.wait_for, manifest["total"]))
        status = DocumentStatus.from_dict({name: value for name, value in told.items() if name != "confidence"})
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedReply(f"The XCom does not tell what a person was asked about ({type(error).__name__}).") from error
    ending = Ending(outcome=State.REVIEW.value, service=status.service, id=status.id, status=status)
    return Report(ending=ending, confidence=told.get("confidence"))


def _text_of(decision: Decision, report: Report, seconds: float | None) -> str:
    """Return what happened, in one line."""
    status = report.ending.status if report.ending else None
    about = f"{named(f'{status.service} {status.kind} {status.id}', status.file_name)} " if status else ""
    if decision.word == "timed_out":
        within = f" within {seconds:.0f} s (review_timeout)" if seconds else " in time"
        return f"{about}is in review, and nobody decided{within}. Clear the task to ask again, or raise review_timeout."
    why = f": {decision.reason}" if decision.reason else ""
    return f"{about}is in review, and was {decision.word} by {decision.by or 'somebody'} at {decision.at}{why}"


def _ask(task: Any, context: Context, report: Report, ids: Sequence[str], event: Any) -> None:
    """Put the question where people see it, and park the task until the answer comes."""
    status = report.ending.status if report.ending else None
    known = {status.id: status} if status is not None else _statuses(task, ids[:MOST_SHOWN])
    service = report.ending.service if report.ending else report.manifest["service"] if report.manifest else ""
    found = described(task, service)
    names = report.manifest["file_names"] if report.manifest else {}
    if report.manifest is not None:
        reports = report.manifest["confidence"]["ids"] if "confidence" in report.manifest else {}
    else:
        reports = {ids[0]: report.confidence} if report.confidence is not None else {}
    question = question_about(found.title if found else service, ids, known, names, reports)
    ti_id = context["ti"].id
    shown = put_question(
        ti_id,
        subject=question.subject,
        body=question.body,
        options=OPTIONS,
        reason=REASON,
        assigned_users=task.assigned_users,
    )
    _check_shown(shown, question, task.assigned_users, service)
    push(context, report)
    task.log.info("A person is asked about %d in review; the answer is given under Required actions.", len(ids))
    for notifier in task.notifiers:
        notifier(context)
    timeout = None if task.review_timeout is None else timedelta(seconds=task.review_timeout)
    await_answer(task, ti_id, options=OPTIONS, reason=REASON, method_name=RESUMES_WITH, kwargs={"waited": event}, timeout=timeout)


def _check_shown(shown: Any, question: Question, users: Sequence[Mapping[str, str]] | None, service: str) -> None:
    """
    Refuse to wait for an answer to another question than ours.

    Airflow keeps the question of a task's first try through retries and clears (apache/airflow 73235).
    """
    asked = {one["id"] for one in users or ()}
    may_answer = {one["id"] for one in shown["assigned_users"] or ()}
    if (shown["subject"], shown["body"], may_answer) == (question.subject, question.body, asked):
        return
    raise RequestRejected(
        "Required actions still shows what an earlier try of this task has asked, since this version of Airflow never replaces "
        "the text of a question (apache/airflow pull request 73235). The facts have changed since, and nobody shall decide by "
        "the old ones. Start a new run of the DAG, which asks anew.",
        service=service,
    )


def _statuses(task: WaitingTask, ids: Sequence[str]) -> dict[str, DocumentStatus]:
    """Poll some ids of a list once more for what a person is shown. A fault costs facts, not the question."""
    once = Once()
    once.judges = False  # some vendors delete a result that was read
    try:
        hook = DocStatusHook(task.conn_id, retries=0)
        asked, operation = bare_ids(task)
        name = next(name for name, value in asked.items() if isinstance(value, list))
        targets = [hook.target(**{name: one}, operation=operation) for one in ids]
        if hook.endpoint.zero_retention and hook.service.routes[targets[0].route].gives_data_with_status:
            return {}  # reading would delete the data
        poller, until = BlockingPoller(hook, hook.limiter), hook.clock() + LONGEST_LOOK
        for target in targets:
            poller.schedule.subscribe(once, target, 0.0)
        poller.poll(is_over=lambda: once.error is not None or hook.clock() >= until, waits_until=lambda _now: until)
    except DocStatusError as error:
        once.error = error
    if once.error is not None:
        task.log.warning("The question says less than it could: %s", once.error)
    return {target.id: status for target, status in once.found.items()}
