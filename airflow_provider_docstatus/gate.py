"""The worker's side of one wait: the first look, the short watch, the deferral, and what is left for Airflow to see."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_docstatus._compat import (
    DEFERRAL_TIMED_OUT,
    AirflowSkipException,
    AirflowTaskTimeout,
    conf,
    first_start,
    run_date,
)
from airflow_provider_docstatus.budget import MINUTE
from airflow_provider_docstatus.description import ID_PARAMETERS
from airflow_provider_docstatus.exceptions import DocStatusError, RateLimited, RequestRejected, UnexpectedReply
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.many import Group, checked_ids, is_past_retention, manifest, needed_of, settle_many
from airflow_provider_docstatus.reply import one_line
from airflow_provider_docstatus.schedule import Rhythm
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.triggers import OVERTIME, DocStatusTrigger
from airflow_provider_docstatus.verdict import (
    Ending,
    ExecutionTimedOut,
    Overdue,
    Wait,
    WaitTimedOut,
    epoch,
    remembered,
    settle,
)

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context
    from airflow_provider_docstatus.description import ServiceDescription, Target

#: The default time-out of a wait in seconds; Airflow's own is seven days.
DEFAULT_TIMEOUT = 3600.0
#: Seconds that a worker watches on before it defers: about what the start of a second worker costs.
DEFAULT_WATCH = 3.0
#: Airflow's own deferral time-out comes so many seconds after ours: it would throw the trigger's report away.
BACKSTOP = 300.0


class WaitingTask(Protocol):
    """What a gate reads of its sensor or operator."""

    conn_id: str
    request_id: Any
    document_id: Any
    job_id: Any
    operation: str | None
    accept: tuple[str, ...]
    wait_for: float | str
    fail_fast: bool
    grace: float | None
    stalled_after: float | None
    execution_timeout: timedelta | None

    @property
    def remembers(self) -> bool:
        """Whether one process hears all of the wait; in reschedule mode each look is a process of its own."""

    @property
    def log(self) -> Any:
        """The task's logger."""

    @property
    def rhythm_settings(self) -> tuple[float | None, bool, float | None, float]:
        """``poke_interval`` or None, ``exponential_backoff``, ``max_wait`` or None, ``timeout``; in seconds."""


def limit_of(task: WaitingTask) -> tuple[float, Overdue]:
    """
    Return the seconds that a wait may take, and the error of one that takes longer.

    Airflow means ``execution_timeout`` for the whole of a task, while it is deferred too, but enforces that on 2.11 alone; in
    reschedule mode it means each look.
    """
    *_, timeout = task.rhythm_settings
    execution = task.execution_timeout
    if execution is None or not task.remembers or execution.total_seconds() >= timeout:
        return timeout, WaitTimedOut
    return execution.total_seconds(), ExecutionTimedOut


def ids_of(task: WaitingTask) -> dict[str, Any]:
    """
    Return the task's id parameters; a sequence of any kind (a mapped task's output) as a list.

    :raises RequestRejected: a set, whose order is another in each process (the DAG's author).
    """
    given = {name: getattr(task, name) for name in ID_PARAMETERS}
    for name, value in given.items():
        if isinstance(value, (set, frozenset)):
            raise RequestRejected(f"{name} is a set, which has no order to tell the ids by; give a list: sorted(ids).")
    return {
        name: list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) else value
        for name, value in given.items()
    }


@dataclass(kw_only=True)
class Gate:
    """
    One wait, for one id or for a list of them, seen from a worker.

    :param hook: the way to the service; it does not ask again on its own, the wait does.
    :param targets: what is waited for.
    :param is_list: whether the task named a list, even of one.
    :param rhythm: how often to ask.
    :param group: what is remembered of it.
    :param queue: the ids in the order in which they are asked for: who was heard of longest ago comes first.
    """

    task: WaitingTask
    hook: DocStatusHook
    targets: dict[str, Target]
    is_list: bool
    rhythm: Rhythm
    group: Group
    queue: dict[str, None]
    started_at: float
    deadline: float
    asked_at: float = 0.0
    turn: int = 0
    calls: int = 0
    not_before: float = 0.0
    ends_by: float = 0.0
    said: str = ""

    @classmethod
    def open(cls, task: WaitingTask, context: Context) -> Gate:
        """
        Check what a task asks for and return its gate; nothing is sent yet.

        :raises RequestRejected: an id, the operation, the connection or ``stalled_after`` is wrong (the DAG's author).
        :raises AirflowSkipException: the list of ids is empty.
        """
        poke_interval, backoff, max_wait, _ = task.rhythm_settings
        hook = DocStatusHook(task.conn_id, retries=0)
        service = hook.service
        targets, is_list = _targets(hook, task)
        _check_stall(task, service, next(iter(targets.values())))
        if poke_interval is not None and poke_interval < service.least_poll_interval:
            task.log.warning(
                "%s asks not to be polled more often than every %g s; poke_interval=%g is raised to that.",
                service.title,
                service.least_poll_interval,
                poke_interval,
            )
            poke_interval = service.least_poll_interval
        started_at = first_start(context)
        deadline = started_at + limit_of(task)[0]
        queue = list(targets)
        # In reschedule mode each look is a process of its own. None that comes when a minute's limit is new may begin as the
        # others did: then no id would ever be asked for that always comes behind a refusal.
        if not task.remembers and time.time() >= started_at + MINUTE:
            random.shuffle(queue)
        group = Group(
            waits={
                one: Wait(
                    service=service.name,
                    title=service.title,
                    id=one,
                    started_at=started_at,
                    deadline=deadline,
                    grace=service.grace if task.grace is None else task.grace,
                    remembers=task.remembers,
                    stalled_after=task.stalled_after,
                )
                for one in targets
            },
            needed=needed_of(task.wait_for, len(targets)),
            accept=task.accept,
            fail_fast=task.fail_fast,
        )
        return cls(
            task=task,
            hook=hook,
            targets=targets,
            is_list=is_list,
            rhythm=Rhythm(
                base=service.poll_interval,
                interval=poke_interval,
                backoff=backoff,
                longest=None if max_wait is None else max(max_wait, service.least_poll_interval),
            ),
            group=group,
            queue=dict.fromkeys(queue),
            started_at=started_at,
            deadline=deadline,
        )

    @property
    def first(self) -> Wait:
        """The wait for the first id, which for a single one is the only."""
        return next(iter(self.group.waits.values()))

    def look(self, questions: int | None = 1, *, is_last: bool = False) -> bool:
        """
        Ask about what is still open; return whether the wait is over.

        :param questions: at most so many questions; None for a whole round.
        :param is_last: whether there is no other look: then a refusal (429) is waited out, as it is from the deadline on.
        """
        self.turn += 1
        pause = self.hook.service.least_poll_interval
        until = self.ends_by = max(self.deadline, time.time()) + OVERTIME
        ids, doubted = [one for one in self.queue if one not in self.group.endings], set[str]()
        while True:
            again = self._ask(ids, questions, doubted, until=until, is_last=is_last)
            if not again or self.group.is_over or self.not_before > time.time() + pause:
                return self.group.is_over
            if len(again) == len(ids):  # no id was answered: the next refusal counts
                until = 0.0
            ids = again
            time.sleep(pause)  # here, since in reschedule mode the next look knows nothing of this one

    def _ask(self, ids: Iterable[str], questions: int | None, doubted: set[str], *, until: float, is_last: bool) -> list[str]:
        """Ask about some ids; return those to ask again: refused, or their answer would end them but must be given twice."""
        again: list[str] = []
        for number, observations in enumerate(self.hook.observe([self.targets[one] for one in ids]), start=1):
            self.asked_at = time.time()
            self.calls += 1
            refused = next((one for one in observations.values() if isinstance(one, RateLimited)), None)
            is_waited_out = refused is not None and self._waits_out(refused, until=until, is_last=is_last)
            for target, observation in observations.items():
                del self.queue[target.id]
                self.queue[target.id] = None
                if is_waited_out or self._hear(target, observation, doubted):
                    again.append(target.id)
            if refused is not None and not is_waited_out:
                if self.asked_at >= self.deadline:
                    self.time_out()  # there is no time to ask about the others
                break
            is_told = any(isinstance(one, DocumentStatus) for one in observations.values())
            if not is_told and time.time() >= self.ends_by:
                self.time_out()  # a service that hangs would hold the slot for as long with each id
            if self.group.is_over or number == questions:
                break
        return again

    def _waits_out(self, refused: RateLimited, *, until: float, is_last: bool) -> bool:
        """Wait as long as a refusal says if that is short and no other look can make up for it; return whether it did."""
        self.not_before = self.asked_at + (refused.retry_after or 0.0)
        is_needed = is_last or self.asked_at >= self.deadline or (not self.task.remembers and bool(self.group.endings))
        if not is_needed or self.not_before > min(until, self.asked_at + OVERTIME):
            return False
        self.task.log.warning("%s", refused)
        time.sleep(max(self.not_before - self.asked_at, self.hook.service.least_poll_interval))
        return True

    def watch(self, seconds: float) -> bool:
        """Go on asking for so long: short jobs end on the worker, without a second worker start."""
        if self.is_list:
            return False
        until = min(time.time() + seconds, self.deadline)  # the last question needs no worker
        pause = self.hook.service.least_poll_interval
        while max(time.time() + pause, self.not_before) <= until:
            time.sleep(max(pause, self.not_before - time.time()))
            if self.look():
                return True
        return False

    def watch_to_the_end(self) -> None:
        """Go on asking until the wait is over."""
        while not self.group.is_over:
            time.sleep(self.next_pause())
            if not self.look(questions=None) and time.time() >= self.deadline:
                self.time_out()

    def next_pause(self) -> float:
        """Return the seconds until the next question; the last one before the deadline falls on it."""
        now = time.time()
        dice = random.random()  # noqa: S311 -- no secret
        due = self.rhythm.next_at(now=now, started_at=self.started_at, deadline=self.deadline, turn=self.turn, dice=dice)
        return max(due, min(self.not_before, self.deadline)) - now

    def show(self, context: Context) -> None:
        """Push what is known, for the link to the vendor's page and for whoever looks while it waits."""
        if not self.is_list and self.first.status is not None:
            context["ti"].xcom_push(key=XCOM_KEY, value=self.first.status.to_dict())

    def deferral(self) -> dict[str, Any]:
        """Return the arguments for ``defer``."""
        service, first = self.hook.service, self.first
        target = self.targets[first.id]
        parent = service.parent_of(first.status, target.route) if first.status and not self.is_list else None
        trigger = DocStatusTrigger(
            conn_id=self.hook.conn_id,
            service=service.name,
            route=target.route,
            id="" if self.is_list else first.id,
            ids=list(self.targets) if self.is_list else None,
            needed=self.group.needed,
            fail_fast=self.group.fail_fast,
            accept=list(self.group.accept),
            prefix=self.hook.learned_prefix,
            parent=[parent.route, parent.id] if parent else None,
            poke_interval=self.rhythm.interval,
            exponential_backoff=self.rhythm.backoff,
            max_wait=self.rhythm.longest,
            asked_at=max(self.asked_at, self.not_before),
            started_at=self.started_at,
            deadline=self.deadline,
            grace=first.grace,
            shortest=conf.getfloat("docstatus", "shortest_deferral", fallback=5.0),
            stall=self._stall(),
        )
        left = max(self.deadline - time.time(), 0.0) + BACKSTOP
        return {"trigger": trigger, "timeout": timedelta(seconds=left)}

    def time_out(self) -> None:
        """End what is still open: its time is up."""
        self.group.time_out(time.time())

    def event(self) -> dict[str, Any]:
        """Return what a trigger would report of this wait, so that both are judged alike."""
        if self.is_list:
            return self.group.to_event(calls=self.calls, now=time.time())
        return self.group.endings[self.first.id].to_event()

    def _stall(self) -> dict[str, Any] | None:
        if self.task.stalled_after is None:
            return None
        seen = {one: self.group.waits[one].last_seen for one in self.group.open_ids()}
        return {"after": self.task.stalled_after, "seen": {one: list(last) for one, last in seen.items() if last}}

    def _hear(self, target: Target, observation: DocumentStatus | DocStatusError, doubted: set[str]) -> bool:
        """Take in what is said about an id; return whether to ask again: it must be said twice, or is a fault at the last."""
        wait = self.group.waits[target.id]
        has_no_clock = self.task.stalled_after is not None and not self.task.remembers
        if (
            has_no_clock
            and isinstance(observation, DocumentStatus)
            and not (observation.state.is_final or observation.updated_at)
        ):
            observation = _no_clock(self.hook.service, target)
        if isinstance(observation, DocStatusError):
            if str(observation) != self.said:  # one answer may be about many ids
                self.task.log.warning("%s", observation)
            self.said = str(observation)
        elif not self.is_list and (wait.status is None or wait.status.word != observation.word):
            self.task.log.info("%s %s is %s", wait.title, target.id, observation.word)
        if target.id not in doubted and wait.doubts(observation, self.asked_at):
            doubted.add(target.id)
            return True
        ending = self.group.hear(target.id, observation, self.asked_at)
        return ending is None and isinstance(observation, DocStatusError) and self.asked_at >= self.deadline


def _targets(hook: DocStatusHook, task: WaitingTask) -> tuple[dict[str, Target], bool]:
    ids = ids_of(task)
    lists = {name: value for name, value in ids.items() if isinstance(value, list)}
    if not lists:
        target = hook.target(**ids, operation=task.operation)
        return {target.id: target}, False
    ((name, values), *_) = lists.items()
    if not values:
        hook.target(**{**ids, name: "any"}, operation=task.operation)  # that nothing is waited for excuses no other mistake
        raise AirflowSkipException(f"{name} is an empty list: there is nothing to wait for.")
    targets = [hook.target(**{**ids, name: one}, operation=task.operation) for one in checked_ids(name, values)]
    return {target.id: target for target in targets}, True


def _check_stall(task: WaitingTask, service: ServiceDescription, target: Target) -> None:
    if task.stalled_after is None or task.remembers or "updated_at" in service.routes[target.route].times:
        return
    raise _no_clock(service, target)


def _no_clock(service: ServiceDescription, target: Target) -> RequestRejected:
    return RequestRejected(
        f"{service.title} does not say when a {service.routes[target.route].kind} last changed, and in reschedule mode nothing "
        "is remembered from one look to the next: stalled_after needs deferrable=True or mode='poke' here.",
        service=service.name,
    )


def conclude(task: WaitingTask, context: Context, event: Any) -> dict[str, Any]:
    """
    Judge an event on the worker: push what became of it under ``docstatus``, then return the XCom value or raise.

    :raises DocStatusError: see :func:`.verdict.settle` and :func:`.many.settle_many`.
    """
    date, overdue = run_date(context), limit_of(task)[1]
    for name, values in ids_of(task).items():
        if isinstance(values, list):
            ids = [str(one) for one in checked_ids(name, values)]
            is_late = isinstance(event, Mapping) and is_past_retention(event.get("service"), date, time.time())
            made = manifest(ids, event, parameter=name, operation=task.operation, is_late=is_late)
            context["ti"].xcom_push(key=XCOM_KEY, value=made)
            needed = needed_of(task.wait_for, len(ids))
            return settle_many(made, needed=needed, accept=task.accept, text=event.get("text"), overdue=overdue)
    ending = Ending.from_event(event)
    awaited = next((str(one) for one in ids_of(task).values() if one is not None), None)
    if ending.id != awaited:
        raise UnexpectedReply(
            f"The trigger's event is about {one_line(ending.id)!r}, not about {awaited}.", service=ending.service
        )
    if ending.status is None and (shown := _shown(context)) is not None:
        ending = remembered(ending, shown)
    ending = _explained(ending, date)
    if ending.status is not None:
        context["ti"].xcom_push(key=XCOM_KEY, value=ending.status.to_dict())
    return settle(ending, task.accept, overdue=overdue)


def _shown(context: Context) -> DocumentStatus | None:
    """Return what :meth:`Gate.show` pushed before the deferral; a try that was not deferred has pushed nothing."""
    ti = context["ti"]
    try:
        return DocumentStatus.from_dict(ti.xcom_pull(task_ids=ti.task_id, key=XCOM_KEY, map_indexes=ti.map_index))
    except (KeyError, TypeError, ValueError):
        return None


def _explained(ending: Ending, date: float | None) -> Ending:
    """Return an unknown id as expired where the retention explains it, by the job's age or else the run's."""
    if ending.outcome != "not_found":
        return ending
    created_at = epoch(ending.status.created_at) if ending.status else None
    since = date if created_at is None else created_at
    if since is None or not is_past_retention(ending.service, since, time.time()):
        return ending
    day = datetime.fromtimestamp(since, timezone.utc).date()
    about = f"this run is for {day}" if created_at is None else f"it was created on {day}"
    is_proven = ending.status is not None  # it was known by this id, below this operation
    why = f"has expired: {about}" if is_proven else f"counts as expired, since {about}; a wrong id or operation looks the same"
    text = f"{ending.text} It {why}. A sensor with soft_fail=True skips it."
    return replace(ending, outcome=State.EXPIRED.value, text=text)


def last_look(task: WaitingTask, context: Context, next_kwargs: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """
    Look once more at a wait that Airflow broke off (no triggerer, a trigger that crashed).

    :param next_kwargs: what Airflow left of the deferral.
    :return: the event to judge, or None if the wait is not over: then Airflow's own error stands.
    """
    error = (next_kwargs or {}).get("error")
    task.log.warning("Airflow broke the wait off: %s", error)
    gate = Gate.open(task, context)
    with suppress(AirflowTaskTimeout):  # 3.x gives a resumed task its execution_timeout anew: the look may take longer
        gate.look(questions=None, is_last=True)
    if not gate.group.is_over:
        if error not in DEFERRAL_TIMED_OUT:
            return None
        gate.time_out()  # Airflow's time-out comes after ours
    return gate.event()


def checked_seconds(name: str, span: timedelta | float, *, least: float = 0.0) -> float:
    """Return a span of time in seconds. Raises ValueError if it is none, or too short; the DAG's author must change it."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not least <= seconds < float("inf"):
        raise ValueError(f"{name} must be a timedelta or a finite number of seconds, at least {least:g}; not {span!r}")
    return float(seconds)


def checked_accept(accept: Collection[str]) -> tuple[str, ...]:
    """Return the states that open a gate besides success. Raises ValueError for others; the DAG's author must change it."""
    states = (accept,) if isinstance(accept, str) else tuple(accept)
    wrong = [state for state in states if state not in (State.PARTIAL.value, State.REVIEW.value)]
    if wrong:
        raise ValueError(f"accept={wrong} is not possible; a gate can accept 'partial' and 'review' besides success")
    return tuple(str(State(state)) for state in states)
