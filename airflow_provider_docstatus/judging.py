"""
Judge what a wait has found finished, on a worker: fetch its data, look at it, and drop it.

A wait's event goes in, and an event comes out in which each id that did not pass has an ending of its own. So what becomes of the
task is decided in one place, for these endings as for all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_docstatus.arguments import WaitingTask, bare_ids
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    UnexpectedReply,
)
from airflow_provider_docstatus.gate import Gate, summary
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.protocol.values import one_line
from airflow_provider_docstatus.quality.judge import Verdict
from airflow_provider_docstatus.status import MOST_ERRORS, State
from airflow_provider_docstatus.waiting.group import checked_ids
from airflow_provider_docstatus.waiting.report import LETTERS, LONGEST_ERROR, ending_from, manifest_from
from airflow_provider_docstatus.waiting.wait import Ending

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context

T = TypeVar("T")


def judged(task: WaitingTask, context: Context, event: Any) -> Any:
    """
    Return a wait's event with the verdicts on the data of the ids that ended well; as it is if the task asks nothing of the data.

    An event that cannot be read stays as it is, and is refused where all are.

    :raises DocStatusError: the data could not be fetched, for a reason that a retry may mend, or that concerns all ids. What is
        known of the ids is in the XCom then.
    """
    if task.gates is None or not isinstance(event, Mapping):
        return event
    asked, operation = bare_ids(task)
    ((name, value),) = [(name, value) for name, value in asked.items() if value is not None]
    gate = Gate(task, task.gates)

    def target_of(one: object) -> Target:
        return gate.hook.target(**{name: one}, operation=operation)

    known: Mapping[str, Any]
    try:
        if isinstance(value, list):
            ids = [str(one) for one in checked_ids(name, value)]
            known = manifest_from(event, ids, parameter=name, operation=operation)
        else:
            ending = ending_from(event)
            known = ending.status.to_dict() if ending.status else {}
    except UnexpectedReply:
        return event
    try:
        if isinstance(value, list):
            return _judged_list(gate, event, ids, target_of)
        return _judged_one(gate, event, ending, target_of(value))
    except DocStatusError:
        context["ti"].xcom_push(key=XCOM_KEY, value=dict(known))
        raise


def _judged_one(gate: Gate, event: Mapping[str, Any], ending: Ending, target: Target) -> Mapping[str, Any]:
    if ending.status is None or target.id != ending.id:
        return event
    if not gate.is_good(ending.outcome) and ending.outcome not in gate.asked_about:
        return event
    verdict = gate.verdict(target, ending.status)
    told = dict(event) if verdict.report is None else {**event, "confidence": verdict.report}
    if verdict.error is None or gate.lets_pass(verdict):
        return told
    outcome, text = gate.outcome_of(verdict.error), str(verdict.error)
    if outcome == State.REVIEW.value:
        return {
            **told,
            "outcome": outcome,
            "status": {**event["status"], "state": outcome, "message": one_line(text.rstrip("."))},
        }
    return {**told, "outcome": outcome, "text": text}


def _judged_list(
    gate: Gate, event: Mapping[str, Any], ids: Sequence[str], target_of: Callable[[object], Target]
) -> Mapping[str, Any]:
    letters, errors, reports = list(event["states"]), dict(event.get("errors") or {}), dict[str, dict[str, Any]]()
    good = {LETTERS[word] for word in (State.SUCCEEDED.value, *gate.accept)}
    judged_too = good | {LETTERS[word] for word in gate.asked_about}
    if event.get("text") or (gate.fail_fast and set(letters) - judged_too - {LETTERS[State.RUNNING.value]}):
        return event  # the task fails whatever the data is
    for number, one in enumerate(ids):
        if letters[number] not in judged_too:
            continue
        try:
            verdict = gate.verdict(target_of(one), None)
        except DocStatusError as error:
            verdict = Verdict(error, None)
        if verdict.report is not None:
            reports[one] = verdict.report
        if verdict.error is None or gate.lets_pass(verdict):
            continue
        letters[number] = LETTERS[gate.outcome_of(verdict.error)]
        if letters[number] not in good:
            if one in errors or len(errors) < MOST_ERRORS:
                errors[one] = (one_line(str(verdict.error)) or "")[:LONGEST_ERROR]
            if gate.fail_fast and letters[number] not in judged_too:
                break
    told = {**event, "states": "".join(letters), "errors": errors}
    return {**told, "confidence": summary(reports)} if gate.reports_confidence else told
