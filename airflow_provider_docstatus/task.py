"""The worker's side of one wait: the first poll, a short watch, the deferral, and the result of the task."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import (
    DEFERRAL_TIMED_OUT,
    AirflowTaskTimeout,
    BaseOperator,
    first_start,
    run_date,
)
from airflow_provider_docstatus.airflow_errors import errors_for_airflow
from airflow_provider_docstatus.arguments import WaitingTask, bare_ids, limit_of, no_time_of_change, spec_of
from airflow_provider_docstatus.blocking import BlockingPoller, patiently
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    UnexpectedReply,
)
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.poller import DEADLINE_GRACE
from airflow_provider_docstatus.protocol.flows import Kept, status_request
from airflow_provider_docstatus.protocol.targets import Target, parent_of
from airflow_provider_docstatus.protocol.values import one_line
from airflow_provider_docstatus.quality.judge import Gates
from airflow_provider_docstatus.registry import find
from airflow_provider_docstatus.services import ServiceDescription
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.types import Manifest, Status
from airflow_provider_docstatus.waiting.group import Group, checked_ids, needed_of
from airflow_provider_docstatus.waiting.question import OPEN
from airflow_provider_docstatus.waiting.rate_limiter import MINUTE
from airflow_provider_docstatus.waiting.report import (
    Report,
    ending_from,
    event_of,
    manifest_from,
    with_known_status,
)
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.subscriber import Subscriber
from airflow_provider_docstatus.waiting.wait import CONFIRM_AFTER, LOST_AFTER, Ending, PollAgain, epoch, is_past_retention

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context

#: Airflow's own deferral time-out is this many seconds after the wait's deadline. If it came first, the event would be lost.
BACKSTOP = 300.0


#: Seconds after the start of a wait in reschedule mode from which on a poke is not the first. That an id is still waited for then
#: means that the service has told a status of it.
LATER_POKE = 30.0


class _WorkerSubscriber(Subscriber):
    """The subscriber of a wait on a worker, which is polled when the task is poked."""

    __slots__ = ()

    def observe(self, target: Target, observation: DocumentStatus | DocStatusError, now: float) -> PollAgain | bool:
        """Process an observation, see :class:`.Subscriber`; refuse ``stalled_after`` if reschedule mode could never notice it."""
        needs_time = self.group.spec.stalled_after is not None and not self.group.keeps_state
        if needs_time and isinstance(observation, DocumentStatus) and not (observation.state.is_final or observation.updated_at):
            observation = no_time_of_change(self.group.service, target)
        return super().observe(target, observation, now)

    def next_poll(self, now: float, polls: int) -> float:  # noqa: ARG002 -- the schedule's signature
        """Return infinity: the next poke plans the next poll."""
        return float("inf")


class TaskWait:
    """
    One wait of a task, for one id or for a list of them, on a worker.

    :param task: the sensor or operator.
    :param context: Airflow's.
    :param retries: how often the hook itself repeats a failed request (int); by default only the wait repeats it.
    :param has_deadline: whether it waits; else it polls once what should have ended by now, without grace (bool).
    :param clock: gives epoch seconds.
    :param sleep: waits for so many seconds.
    :raises RequestRejected: an id, the operation, the connection or ``stalled_after`` is wrong (the DAG's author).
    :raises AirflowSkipException: the list of ids is empty.
    """

    def __init__(
        self,
        task: WaitingTask,
        context: Context,
        *,
        retries: int = 0,
        has_deadline: bool = True,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        clock, sleep = clock or time.time, sleep or time.sleep
        self.hook = DocStatusHook(task.conn_id, retries=retries, clock=clock, sleep=sleep)
        started_at = first_start(context)
        if not task.keeps_state and clock() >= started_at + LATER_POKE:  # else an earlier poke would have ended the wait
            spec = patiently(self.hook, lambda: self._usable_spec(task, started_at))
            spec = replace(spec, known="1" * len(spec.all_ids))
        else:
            spec = spec_of(task, self.hook, started_at)
        if not has_deadline:
            spec = replace(spec, deadline=float("inf"), grace=0.0)
        self.group = Group(spec=spec, service=self.hook.service, keeps_state=task.keeps_state)
        self._clock, self._sleep = clock, sleep
        self._pokes = 0
        self._poller = BlockingPoller(self.hook, self.hook.limiter)
        if self.hook.endpoint.zero_retention:
            self._poller.schedule.kept = {}
        self._subscriber = _WorkerSubscriber(
            self.group, task.log, now=clock(), deadline_grace=DEADLINE_GRACE, jitter=random.random
        )
        now = clock()
        targets = [Target(spec.route, one) for one in spec.all_ids]
        # In reschedule mode each poke is a process of its own, and knows nothing of the poke before. If all began with the same
        # ids, a 429 would always cut off the same rest of a long list. So later pokes shuffle it.
        if not task.keeps_state and now >= spec.started_at + MINUTE:
            random.shuffle(targets)
        for target in targets:
            self._poller.schedule.subscribe(self._subscriber, target, now)

    def _usable_spec(self, task: WaitingTask, started_at: float) -> WaitSpec:
        """Return the arguments of the wait. Raises RequestRejected also if the connection has no key and its route needs one."""
        spec = spec_of(task, self.hook, started_at)
        self.hook.endpoint.headers(status_request(self.hook.service, Target(spec.route, spec.all_ids[0])))
        return spec

    @property
    def kept(self) -> Kept:
        """The status and the data of the ids whose status replies held the data that reading deletes."""
        return self._poller.schedule.kept or {}

    @property
    def spec(self) -> WaitSpec:
        """The arguments of the wait."""
        return self.group.spec

    def poke(self, requests: int | None = None, *, is_last: bool = False) -> bool:
        """
        Poll each open id once, and confirm refusals. Return whether the wait is over.

        :param requests: at most so many polls; None for all.
        :param is_last: whether no other poke follows. This poke then waits out a pause after a 429, as from the deadline on.
        """
        self._pokes += 1
        began = self._clock()
        ends_by = max(self.spec.deadline, began) + DEADLINE_GRACE
        for one in self.group.open_ids():
            self._poller.schedule.poll_now(Target(self.spec.route, one), began)

        def waits_until(now: float) -> float:
            # In reschedule mode the endings of this poke would be lost to the next one.
            is_needed = is_last or now >= self.spec.deadline or (not self.group.keeps_state and bool(self.group.endings))
            if is_needed:
                return min(ends_by, began + DEADLINE_GRACE) if now < self.spec.deadline else ends_by
            if self.hook.limiter.paused_until > now:
                return now
            return now + (CONFIRM_AFTER if self.group.keeps_state else LOST_AFTER)

        def is_hanging() -> bool:  # else a service that hangs holds the slot for one time-out per id
            return self._clock() >= ends_by and not self._poller.got_status

        def is_over() -> bool:
            return self.group.is_over or is_hanging()

        self._poller.poll(is_over=is_over, waits_until=waits_until, max_requests=requests)
        if requests is not None and self._subscriber.held_until > self._clock():  # a rejected key ends the wait here
            self._poller.poll(is_over=is_over, waits_until=waits_until, max_requests=1)
        if not self.group.is_over and requests is None and (began >= self.spec.deadline or is_hanging()):
            self.time_out()
        return self.group.is_over

    def watch(self, seconds: float) -> bool:
        """Go on polling for some seconds, so that a short job ends without a second worker start. Return whether it ended."""
        if self.group.is_list:
            return False
        until = min(self._clock() + seconds, self.spec.deadline)  # the triggerer polls at the deadline
        pause = self.hook.service.least_poll_interval
        while (due := max(self._clock() + pause, self._asked_until)) <= until:
            self._sleep(due - self._clock())
            if self.poke():
                return True
        return False

    def poke_to_the_end(self) -> None:
        """Go on polling until the wait is over."""
        while not self.group.is_over:
            self._sleep(self.next_pause())
            self.poke()

    def next_pause(self) -> float:
        """Return the seconds until the next poke; the last one falls on the deadline."""
        now = self._clock()
        due = Subscriber.next_poll(self._subscriber, now, self._pokes)
        return max(due, min(self._asked_until, self.spec.deadline)) - now

    @property
    def _asked_until(self) -> float:
        """Until when the service asks not to be polled (epoch seconds): by a 429, or by a good reply."""
        return max(self.hook.limiter.paused_until, self._poller.schedule.asked_until)

    def time_out(self) -> None:
        """End every open id as timed out; as not asked where a pause after a 429 kept the last poll from being made."""
        now, limiter = self._clock(), self.hook.limiter
        why = f"the rate limiter has {limiter.describe(now)}" if limiter.opens_at(now) > now else None
        self.group.time_out(now, lambda _id: why)

    def push_status(self, context: Context) -> None:
        """Push the last status of a single id to XCom, where the link to the vendor's page and other tasks find it."""
        if not self.group.is_list and self.group.first.status is not None:
            context["ti"].xcom_push(key=XCOM_KEY, value=self.group.first.status.to_dict())

    def deferral(self) -> dict[str, Any]:
        """Return the arguments for ``defer``."""
        spec, first, stall = self.spec, self.group.first, self.spec.stall
        parent = parent_of(self.hook.service, first.status, spec.route) if first.status and not self.group.is_list else None
        if stall is not None:
            seen = {one: self.group.waits[one].last_seen for one in self.group.open_ids()}
            stall = {**stall, "seen": {one: list(last) for one, last in seen.items() if last}}
        polled_at = self._poller.polled_at
        pause = self._subscriber.interval.pause(age=polled_at - spec.started_at, polls=1, jitter=0.0)  # the triggerer adds it
        spec = replace(
            spec,
            prefix=self.hook.found_prefix,
            parent=list(parent) if parent else None,
            known=self.group.known,
            asked_at=max(polled_at, self.hook.limiter.paused_until, self._poller.schedule.asked_until - pause),
            stall=stall,
        )
        left = max(spec.deadline - self._clock(), 0.0) + BACKSTOP
        return {"trigger": DocStatusTrigger(**spec.to_kwargs()), "timeout": timedelta(seconds=left)}

    def event(self) -> dict[str, Any]:
        """Return the event that a trigger would send about this wait, so that :func:`conclude` handles both the same."""
        return event_of(self.group, calls=self._subscriber.calls, now=self._clock())


# -- the end ---------------------------------------------------------------------------------------------------


def conclude(task: WaitingTask, context: Context, event: Any) -> Status | Manifest:
    """
    Turn an event into the task's result: push the status or manifest as ``docstatus``, then return the XCom value or raise.

    :raises DocStatusError: see :func:`.report.result_of`.
    """
    report = report_of(task, context, event)
    push(context, report)
    return report.result(task.accept)


def push(context: Context, report: Report) -> None:
    """Push the status or manifest of a wait that is over to XCom, as ``docstatus``."""
    if report.told is not None:
        context["ti"].xcom_push(key=XCOM_KEY, value=report.told)


def report_of(task: WaitingTask, context: Context, event: Any) -> Report:
    """
    Return what a wait has ended with.

    :param event: what a trigger sent, or :meth:`TaskWait.event`.
    :raises UnexpectedReply: the event is not this package's, or not about this task's ids.
    """
    date, overdue = run_date(context), limit_of(task)[1]
    asked, operation = bare_ids(task)
    for name, values in asked.items():
        if isinstance(values, list):
            ids = [str(one) for one in checked_ids(name, values)]
            is_late = (
                isinstance(event, Mapping)
                and "n" in str(event.get("states"))
                and _is_past_retention(task, event.get("service"), date)
            )
            manifest = manifest_from(event, ids, parameter=name, operation=operation, is_late=is_late)
            needed = needed_of(task.wait_for, len(ids))
            return Report(manifest=manifest, needed=needed, text=event.get("text"), overdue=overdue)
    ending = ending_from(event)
    awaited = next((str(one) for one in asked.values() if one is not None), None)
    if ending.id != awaited:
        raise UnexpectedReply(
            f"The trigger's event is about {one_line(ending.id)!r}, not about {awaited}.", service=ending.service
        )
    if ending.status is None and (pushed := _pushed_status(context)) is not None:
        ending = with_known_status(ending, pushed)
    ending = _expired_if_past_retention(task, ending, date)
    return Report(ending=ending, overdue=overdue, confidence=event.get("confidence"))


def in_review(context: Context) -> Mapping[str, Any] | None:
    """Return the status or manifest about which a person was asked in this try, who has not answered; None if nobody was."""
    ti = context["ti"]
    pushed = ti.xcom_pull(task_ids=ti.task_id, key=XCOM_KEY, map_indexes=ti.map_index)
    review = pushed.get("review") if isinstance(pushed, Mapping) else None
    return pushed if isinstance(review, Mapping) and review.get("decision") == OPEN else None


def _pushed_status(context: Context) -> DocumentStatus | None:
    """Return the status that was pushed before the deferral; None if this try was not deferred."""
    ti = context["ti"]
    try:
        return DocumentStatus.from_dict(ti.xcom_pull(task_ids=ti.task_id, key=XCOM_KEY, map_indexes=ti.map_index))
    except (KeyError, TypeError, ValueError):
        return None


def _is_past_retention(task: WaitingTask, service: object, since: float | None) -> bool:
    known = described(task, service)
    return known is not None and is_past_retention(known, since, time.time())


def described(task: WaitingTask, service: object) -> ServiceDescription | None:
    """Return the description of a service, by its name or in the task's connection; None also if that cannot be read now."""
    if (found := find(str(service))) is not None:
        return found.service
    try:
        known = DocStatusHook(task.conn_id).service
    except Exception as error:  # noqa: BLE001 -- a secrets backend may raise whatever it likes; the ending stands without it
        task.log.warning("The description of %s is not known: %s", service, type(error).__name__)
        return None
    return known if known.name == service else None


def _expired_if_past_retention(task: WaitingTask, ending: Ending, date: float | None) -> Ending:
    """Return the ending as expired if the retention explains an unknown id, by the job's age or else the run's."""
    if ending.outcome != "not_found":
        return ending
    created_at = epoch(ending.status.created_at) if ending.status else None
    since = date if created_at is None else created_at
    if since is None or not _is_past_retention(task, ending.service, since):
        return ending
    day = datetime.fromtimestamp(since, timezone.utc).date()
    about = f"this run is for {day}" if created_at is None else f"it was created on {day}"
    is_proven = ending.status is not None  # the same id and operation gave a status before
    why = f"has expired: {about}" if is_proven else f"counts as expired, since {about}; a wrong id or operation looks the same"
    text = f"{ending.text} It {why}. A sensor with soft_fail=True skips it."
    return replace(ending, outcome=State.EXPIRED.value, text=text)


class ResumesWaits:
    """What sensor and operator share: how a deferred wait is resumed, and what becomes of a document in review."""

    #: See :mod:`.judging`.
    gates: Gates | None = None
    #: See :mod:`.review`.
    on_review = "fail"
    review_timeout: float | None = None
    assigned_users: Sequence[Mapping[str, str]] | None = None
    notifiers: Sequence[Callable[[Context], None]] = ()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume after a deferral. If Airflow broke the wait off, poll one last time.

        Airflow's sensor is passed over: under ``soft_fail`` it would turn every failure into a skip, also a rejected key.
        """
        if next_method == "__fail__":
            task: Any = self
            is_asked = in_review(context) is not None
            if is_asked and (next_kwargs or {}).get("error") in DEFERRAL_TIMED_OUT:
                return task.execute_reviewed(context, event={"error": "", "error_type": "timeout"})
            with errors_for_airflow():
                event = None if is_asked else last_poke(task, context, next_kwargs)
            if event is not None:
                return task.execute_complete(context, event)
        return BaseOperator.resume_execution(self, next_method, next_kwargs, context)  # type: ignore[arg-type]  # a mix-in


def last_poke(task: WaitingTask, context: Context, next_kwargs: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """
    Poll once more for a wait that Airflow broke off (no triggerer, a trigger that crashed).

    :param next_kwargs: the arguments with which Airflow resumes the task; ``error`` says why it broke the wait off.
    :return: the event to judge, or None if the wait is not over: then Airflow's own error stands.
    """
    error = (next_kwargs or {}).get("error")
    task.log.warning("Airflow broke the wait off: %s", error)
    wait = TaskWait(task, context)
    with suppress(AirflowTaskTimeout):  # 3.x starts execution_timeout anew for a resumed task; the poke may exceed it
        wait.poke(is_last=True)
    if not wait.group.is_over:
        if error not in DEFERRAL_TIMED_OUT:
            return None
        wait.time_out()  # Airflow's time-out comes after the deadline
    return wait.event()
