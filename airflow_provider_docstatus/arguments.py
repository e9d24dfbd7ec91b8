"""Check the arguments of a sensor or operator, and turn them into the :class:`.WaitSpec` that worker and triggerer share."""

from __future__ import annotations

from collections.abc import Collection, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from datetime import timedelta
from typing import Any, Protocol, overload

from airflow_provider_docstatus._compat import AirflowSkipException, conf
from airflow_provider_docstatus.exceptions import ExecutionTimedOut, RequestRejected, WaitTimedOut
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.targets import ID_PARAMETERS, Target, operation_name
from airflow_provider_docstatus.quality.judge import Gates
from airflow_provider_docstatus.registry import find
from airflow_provider_docstatus.services import ServiceDescription
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.waiting.group import checked_ids, needed_of
from airflow_provider_docstatus.waiting.report import Overdue
from airflow_provider_docstatus.waiting.spec import LEAST_SECONDS, WaitSpec

#: The default time-out of a wait in seconds; Airflow's own is seven days.
DEFAULT_TIMEOUT = 3600.0
#: Seconds that a worker goes on polling before it defers; the start of a second worker takes about as long.
DEFAULT_WATCH = 3.0


class WaitingTask(Protocol):
    """The attributes of a waiting sensor or operator that are read here."""

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
    on_review: str
    execution_timeout: timedelta | None
    judges: bool
    gates: Gates | None
    deferrable: bool
    wait_for_completion: bool

    @property
    def keeps_state(self) -> bool:
        """Whether one process observes the whole wait; in reschedule mode each poke is a process of its own."""

    @property
    def log(self) -> Any:
        """The task's logger."""

    @property
    def interval_settings(self) -> tuple[float | None, bool, float | None, float]:
        """``poke_interval`` or None, ``exponential_backoff``, ``max_wait`` or None, ``timeout``; in seconds."""


@overload
def checked_seconds(name: str, span: timedelta | float) -> float: ...
@overload
def checked_seconds(name: str, span: timedelta | float | None) -> float | None: ...
def checked_seconds(name: str, span: timedelta | float | None) -> float | None:
    """Return a duration in seconds. Raises ValueError if it is invalid or too short; the DAG's author must change it."""
    if span is None:
        return None
    seconds, least = span.total_seconds() if isinstance(span, timedelta) else span, LEAST_SECONDS[name]
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


def read_once(ids: Any) -> Any:
    """
    Return the ids of a generator, ``map``, ``filter``, ``zip`` or dict view as a list, and anything else as it is.

    Most of these can be read only once, and a serialized DAG would hold their memory address. One that gives nothing stays as it
    is, and is refused later: another task of the DAG may have read it.
    """
    return list(ids) or ids if isinstance(ids, (Iterator, KeysView, ValuesView, ItemsView)) else ids


def ids_of(task: WaitingTask) -> dict[str, Any]:
    """
    Return the task's id parameters; a sequence of any kind (a mapped task's output) as a list.

    It is called more than once, so the task keeps the list: a generator that native rendering has put in is empty the second
    time, and the lazy sequence of a mapped task's output asks Airflow for each id anew.

    :raises RequestRejected: the ids are a set, whose order differs from process to process, or an iterator that gives nothing,
        since another task may have read it (the DAG's author).
    """
    given = {name: read_once(getattr(task, name)) for name in ID_PARAMETERS}
    for name, value in given.items():
        if isinstance(value, (set, frozenset)):
            raise RequestRejected(f"{name} is a set, which has no order to tell the ids by; give a list: sorted(ids).")
        if isinstance(value, Iterator):
            raise RequestRejected(f"{name} is an iterator that gives no ids; was it read before? Give each task list(ids).")
        if isinstance(value, Iterable) and not isinstance(value, (list, str, bytes, bytearray, Mapping)):
            given[name] = list(value)
        setattr(task, name, given[name])
    return {name: list(value) if isinstance(value, list) else value for name, value in given.items()}


def bare_ids(task: WaitingTask) -> tuple[dict[str, Any], str | None]:
    """Return the task's ids as the service is asked for them, and its operation: a status URL names both."""
    given, operation = ids_of(task), task.operation
    if not any("://" in str(one) for value in given.values() for one in (value if isinstance(value, list) else [value])):
        return given, operation
    hook = DocStatusHook(task.conn_id)

    def bare(name: str, one: Any) -> Any:
        nonlocal operation
        if "://" not in str(one):
            return one
        target = hook.target(**{name: one}, operation=task.operation)
        operation = operation or (target.route if hook.service.has_operations else None)
        return target.id

    bare_of = {
        name: [bare(name, one) for one in value] if isinstance(value, list) else bare(name, value)
        for name, value in given.items()
    }
    return bare_of, operation


def waited_for(
    hook: DocStatusHook, parameter: str, manifest: Mapping[str, Any], operation: str | None
) -> tuple[Mapping[str, Sequence[str]], Mapping[str, str], str | None]:
    """
    Return the ids by state, the errors by id and the operation of the manifest of a sensor that waited for a list.

    :param operation: the task's own operation (str), if it has one.
    :raises RequestRejected: the dict is no manifest, or of a wait for something else (the DAG's author).
    """
    by_state, errors = manifest.get("ids"), manifest.get("errors")
    if not isinstance(by_state, Mapping) or not isinstance(errors, Mapping):
        raise RequestRejected(
            f"{parameter} is a dict, but not the manifest of a DocStatusSensor that waited for a list; for one id give "
            "the id itself, e.g. {{ ti.xcom_pull('wait')['id'] }}."
        )
    operation = operation or hook.endpoint.operation or manifest.get("operation")
    waited_on = manifest.get("operation") or hook.endpoint.operation or operation
    made_for = (manifest.get("service"), manifest.get("parameter"), operation_name(hook.service, waited_on))
    if made_for != (hook.service.name, parameter, operation_name(hook.service, operation)):
        raise RequestRejected(
            f"{parameter} is the manifest of a wait for {made_for[1]} at {made_for[0]} (operation {waited_on}); give "
            f"this task the same connection type, parameter and operation, not {hook.service.name} and {operation}.",
            service=hook.service.name,
        )
    return by_state, errors, operation


def limit_of(task: WaitingTask) -> tuple[float, Overdue]:
    """
    Return the seconds that a wait may take, and the error of one that takes longer.

    Airflow intends ``execution_timeout`` for the whole task, including the time in which it is deferred, but only 2.11 enforces
    that. In reschedule mode it is the limit of one poke, not of the wait.
    """
    *_, timeout = task.interval_settings
    execution = task.execution_timeout
    if execution is None or not task.keeps_state or execution.total_seconds() >= timeout:
        return timeout, WaitTimedOut
    return execution.total_seconds(), ExecutionTimedOut


def _targets(hook: DocStatusHook, task: WaitingTask) -> tuple[list[Target], bool]:
    """Return what a task waits for, and whether it named a list."""
    ids = ids_of(task)
    lists = {name: value for name, value in ids.items() if isinstance(value, list)}
    if not lists:
        return [hook.target(**ids, operation=task.operation)], False
    ((name, values), *_) = lists.items()
    if not values:
        hook.target(**{**ids, name: "any"}, operation=task.operation)  # check the other arguments all the same
        raise AirflowSkipException(f"{name} is an empty list: there is nothing to wait for.")
    targets = [hook.target(**{**ids, name: one}, operation=task.operation) for one in checked_ids(name, values)]
    routes = list(dict.fromkeys(target.route for target in targets))
    if len(routes) > 1:  # one wait asks on one route, and on a wrong one an id is unknown
        raise RequestRejected(
            f"{hook.service.title}: the ids in {name} are of several operations ({', '.join(routes)}); give each operation a "
            f"task of its own, or map: .expand({name}=[...]).",
            service=hook.service.name,
        )
    return targets, True


def spec_of(task: WaitingTask, hook: DocStatusHook, started_at: float) -> WaitSpec:
    """Return the arguments of a task's wait, the same for the worker and the triggerer."""
    service = hook.service
    poke_interval, backoff, max_wait, _ = task.interval_settings
    targets, is_list = _targets(hook, task)
    _check_stall(task, service, targets[0])
    _check_retention(task, hook, targets)
    _check_reviewer(task, service, targets[0])
    least = service.least_poll_interval
    if poke_interval is not None and poke_interval < least:
        text = "%s is polled every %g s at most; poke_interval=%g is raised to that."
        task.log.warning(text, service.title, least, poke_interval)
        poke_interval = least
    ids = list(dict.fromkeys(target.id for target in targets))
    registered = find(service.name)
    return WaitSpec.of_task(
        task,
        version=WaitSpec().version,
        conn_id=hook.conn_id,
        service=service.name,
        route=targets[0].route,
        id="" if is_list else ids[0],
        ids=ids if is_list else None,
        # Which ids a gate lets pass is known only at the end, so that all must end.
        needed=needed_of("all" if task.gates else task.wait_for, len(ids)),
        accept=list(task.accept),
        prefix=None,
        parent=None,
        poke_interval=poke_interval,
        exponential_backoff=backoff,
        max_wait=None if max_wait is None else max(max_wait, least),
        asked_at=0.0,
        started_at=started_at,
        deadline=started_at + limit_of(task)[0],
        grace=service.grace if task.grace is None else task.grace,
        shortest=conf.getfloat("docstatus", "shortest_deferral", fallback=5.0),
        stall=None if task.stalled_after is None else {"after": task.stalled_after, "seen": {}},
        on_review=task.on_review if task.on_review in ("wait", "ask") else "fail",
        distribution=registered.distribution if registered else None,
    )


def _check_stall(task: WaitingTask, service: ServiceDescription, target: Target) -> None:
    if task.stalled_after is None or task.keeps_state or "updated_at" in service.routes[target.route].times:
        return
    raise no_time_of_change(service, target)


def _check_retention(task: WaitingTask, hook: DocStatusHook, targets: Sequence[Target]) -> None:
    """Refuse a wait that would read the data, and so delete it, without keeping it."""
    if hook.endpoint.zero_retention and task.gates and task.judges:
        raise RequestRejected(
            f"{hook.service.title} deletes the data of this account as soon as it is read (zero_retention in connection "
            f"'{hook.conn_id}'), so a sensor must not read it. Give require and min_confidence to the ExtractedDataOperator, "
            "which keeps what it has read.",
            service=hook.service.name,
        )
    if not hook.endpoint.zero_retention or not hook.service.routes[targets[0].route].gives_data_with_status:
        return
    about = (
        f"{hook.service.title} deletes the data of this account as soon as it is read (zero_retention in connection "
        f"'{hook.conn_id}'), and the status reply of a finished job holds it. "
    )
    if task.judges or task.on_review == "ask" or (task.deferrable and task.wait_for_completion):
        text = (
            "Use ExtractedDataOperator with wait_for_completion=True and deferrable=False, which takes the data from that reply, "
            "and without on_review='ask'."
        )
        raise RequestRejected(about + text, service=hook.service.name)
    if len(targets) > 1:  # the data of one would be lost with an error about another
        raise RequestRejected(f"{about}Give each task one id: .expand(job_id=...).", service=hook.service.name)


def _check_reviewer(task: WaitingTask, service: ServiceDescription, target: Target) -> None:
    """Refuse a wait for a decision that the service never tells."""
    if task.on_review == "wait" and not service.routes[target.route].awaits_reviewer:
        of = f" of {target.route!r}" if service.has_operations else ""
        raise RequestRejected(
            f"on_review='wait' waits for {service.title}'s own reviewer, but {service.title} does not say that a "
            f"{service.routes[target.route].kind}{of} in review ever gets another state. Give on_review='fail', 'accept' or "
            "'ask'.",
            service=service.name,
        )


def no_time_of_change(service: ServiceDescription, target: Target) -> RequestRejected:
    """Return the error for a stall that reschedule mode could never notice."""
    return RequestRejected(
        f"{service.title} does not say when a {service.routes[target.route].kind} last changed, and in reschedule mode nothing "
        "is remembered from one poke to the next: stalled_after needs deferrable=True or mode='poke' here.",
        service=service.name,
    )
