"""The sensor that waits until extraction is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import (
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow_provider_docstatus.airflow_errors import SKIPPABLE, errors_for_airflow, for_airflow
from airflow_provider_docstatus.arguments import DEFAULT_TIMEOUT, DEFAULT_WATCH, checked_accept, checked_seconds, read_once
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.judging import judged
from airflow_provider_docstatus.links import DocumentPageLink
from airflow_provider_docstatus.quality.judge import FAIL, GATE_MAX_BYTES, Gates, Judge
from airflow_provider_docstatus.registry import find
from airflow_provider_docstatus.review import set_review, settle
from airflow_provider_docstatus.task import ResumesWaits, TaskWait
from airflow_provider_docstatus.types import Manifest, Status
from airflow_provider_docstatus.waiting.group import needed_of

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context, XComArg


class DocStatusSensor(ResumesWaits, BaseSensorOperator):
    """
    Wait until a request, document or job of an extraction service is finished.

    For one id the XCom is the last status as a small dict (:meth:`DocumentStatus.to_dict <.status.DocumentStatus.to_dict>`). For
    a list it is a manifest of how each id ended. Both are the same in poke, reschedule and deferrable mode, and are also pushed
    under the key ``docstatus``, even if the task fails. An empty list skips the task.

    :param conn_id: the connection (str); its type is the service's name, such as ``neurolinker``.
    :param request_id: a Neurolinker request (str), or a list of up to 1,000. Give exactly one of the three ids. A
        generator, ``map`` or dict view is read when the DAG file is.
    :param document_id: a Neurolinker document (str), or a list.
    :param job_id: a job, run or batch of any other service (str), or a list. Where an id has two parts (Azure: ``model/result``),
        the status URL that the submission returned may be given instead.
    :param operation: which of the service's routes, where it has several (str), e.g. ``extract``; default: what the id's prefix
        says, or the connection's.
    :param accept: final states besides ``succeeded`` that open the gate (collection of str), for each id of a list: ``partial``,
        ``review``. Default none.
    :param wait_for: for a list, how many must end well: ``all`` (default), ``any``, a whole number, or a share (float below 1).
    :param fail_fast: for a list, whether the first id that does not end well ends the wait (bool, default False).
    :param require: a JSON Schema that the extracted data must match: a dict, or the path of a file on the workers (str or path);
        default None. A worker fetches the data of each id that ended well, one document at a time, and keeps none of it. A list's
        wait goes on until every id has ended, whatever ``wait_for`` says.
    :param min_confidence: the least confidence that the vendor must have in each field, above 0 and up to 1 whatever its own
        scale is (float); default None. What the vendor does not say counts as less.
    :param on_uncertain: what becomes of a document with less: ``fail`` (default), ``accept`` (it passes, with a report in the
        XCom) or ``review`` (it ends as ``review``).
    :param gate_max_bytes: the largest data of one document that is read for this, in bytes (int), default 50 MiB.
    :param deferrable: wait in the triggerer (bool); default ``[operators] default_deferrable``.
    :param watch_on_worker: seconds (float or timedelta) that the worker goes on polling before it defers, default 3; 0 defers at
        once. A list is never polled on.
    :param poke_interval: seconds between two polls (float or timedelta); default: the service's own timing.
    :param timeout: seconds (float or timedelta) from this try's first start, default one hour.
    :param grace: seconds (float or timedelta) from this try's first start in which a 404 does not end the wait, since the vendor
        may not know the id yet; default: the service's.
    :param stalled_after: seconds (float or timedelta) after which the wait ends if the vendor's word, counters and time of last
        change have not changed; default None (never). The time from a fault to the next valid reply does not count.
    :param on_review: what becomes of a document that the vendor flags for a person (str), for each id of a list: ``fail``
        (default); ``accept``, as ``accept=("review",)``; ``wait``, until the vendor's own reviewer decides (Extend's workflow
        runs); ``ask`` a person on Airflow's page "Required actions" (Airflow 3.1 or newer).
    :param review_timeout: for ``ask``, seconds (float or timedelta) from the question in which somebody must decide; default None
        (no limit). ``timeout`` and ``execution_timeout`` do not count while a person is asked.
    :param assigned_users: for ``ask``, who may answer (dict with ``id`` and ``name``, or a list of them); default None: all who
        may answer for this DAG.
    :param notifiers: for ``ask``, what tells people that they are asked (a notifier or a list of them); default None.
    :raises DocumentFailed: the vendor ended it in another state (the document's owner). Not retried; skipped under ``soft_fail``.
    :raises Expired: the vendor no longer has it, by its word or a 410, or by a 404 when the job or the run is older than the
        vendor's documented retention (the document's owner). Not retried; skipped under ``soft_fail``.
    :raises SchemaMismatch: the data does not match ``require``, or is larger than ``gate_max_bytes`` (the document's owner). Not
        retried; skipped under ``soft_fail``.
    :raises Uncertain: the vendor is less sure of the data than ``min_confidence`` (the document's owner). Not retried; skipped
        under ``soft_fail``.
    :raises NoData: the data that is to be checked did not come for a minute (nobody). Retried.
    :raises Stalled: nothing has changed for ``stalled_after`` (the document's owner must ask the vendor). Not retried; skipped
        under ``soft_fail``.
    :raises Declined: a person was asked, and rejected it. Not retried; skipped under ``soft_fail``.
    :raises ReviewTimedOut: a person was asked, and nobody decided within ``review_timeout``. Not retried; skipped under
        ``soft_fail``.
    :raises RequestRejected: key, quota, id, operation or connection is wrong (the DAG's author). Not retried, never skipped.
    :raises UnexpectedReply: ten minutes of replies that are not the vendor's (this package, or a proxy). Retried.
    :raises AirflowSensorTimeout: ``timeout`` passed. Not retried; skipped under ``soft_fail``.
    :raises AirflowTaskTimeout: ``execution_timeout`` passed, while deferred too. Retried; skipped under ``soft_fail``.
    """

    #: Whether its wait reads the result where only that says if the job has ended well.
    judges = True
    wait_for_completion = True
    template_fields: Sequence[str] = ("conn_id", "request_id", "document_id", "job_id", "operation")
    operator_extra_links = (DocumentPageLink(),)
    ui_color = "#d8f0e3"

    def __init__(
        self,
        *,
        conn_id: str,
        request_id: str | Iterable[str] | XComArg | None = None,
        document_id: str | Iterable[str] | XComArg | None = None,
        job_id: str | Iterable[str] | XComArg | None = None,
        operation: str | None = None,
        accept: Collection[str] = (),
        wait_for: float | str = "all",
        fail_fast: bool = False,
        require: Mapping[str, Any] | str | PathLike[str] | None = None,
        min_confidence: float | None = None,
        on_uncertain: str = FAIL,
        gate_max_bytes: int = GATE_MAX_BYTES,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        watch_on_worker: timedelta | float = DEFAULT_WATCH,
        poke_interval: timedelta | float | None = None,
        timeout: timedelta | float = DEFAULT_TIMEOUT,
        grace: timedelta | float | None = None,
        stalled_after: timedelta | float | None = None,
        on_review: str = "fail",
        review_timeout: timedelta | float | None = None,
        assigned_users: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        notifiers: Callable[[Context], None] | Sequence[Callable[[Context], None]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=60 if poke_interval is None else poke_interval, timeout=timeout, **kwargs)
        self.conn_id = conn_id
        self.request_id = read_once(request_id)
        self.document_id = read_once(document_id)
        self.job_id = read_once(job_id)
        self.operation = operation
        self.accept = checked_accept(accept)
        set_review(self, on_review=on_review, review_timeout=review_timeout, assigned_users=assigned_users, notifiers=notifiers)
        needed_of(wait_for, 1)
        self.wait_for = wait_for
        self.fail_fast = fail_fast
        gates = Gates(require=require, min_confidence=min_confidence, on_uncertain=on_uncertain, gate_max_bytes=gate_max_bytes)
        self.gates = gates if gates.are_set else None
        self.deferrable = deferrable
        self.watch_on_worker = checked_seconds("watch_on_worker", watch_on_worker)
        self.has_poke_interval = poke_interval is not None
        self.grace = checked_seconds("grace", grace)
        self.stalled_after = checked_seconds("stalled_after", stalled_after)
        self._wait: TaskWait | None = None

    def execute(self, context: Context) -> Status | Manifest:
        """Poll, watch a little, then wait as the mode says; return the status dict, for a list the manifest."""
        with errors_for_airflow():
            if self.gates is not None:
                Judge(self.gates)  # a schema that cannot be read is told before the wait, not after it
            wait = self._wait = TaskWait(self, context)
            try:
                if not self.deferrable:
                    self._poke_until_it_ends(context, wait)
                elif not (wait.poke(requests=1 if wait.group.is_list else None) or wait.watch(self.watch_on_worker)):
                    wait.push_status(context)
                    self.defer(method_name="execute_complete", **wait.deferral())
            except AirflowTaskTimeout:
                if not self.keeps_state:  # execution_timeout limits one poke here, not the wait
                    raise
                wait.time_out()
            return self._end(context, wait.event())

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Status | Manifest:
        """Turn the trigger's event into the task's result: return the XCom value, or raise."""
        with errors_for_airflow():
            return self._end(context, event)

    def execute_reviewed(self, context: Context, event: Any = None, waited: Any = None) -> Status | Manifest:
        """
        Go on after a person was asked: return the XCom value, or raise.

        :param event: the answer, or that nobody has decided in time.
        :param waited: the event of the wait, from before the question.
        """
        with errors_for_airflow():
            return self._end(context, waited, answer={} if event is None else event)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Poll each open id once; return whether the wait is over. ``execute`` handles the ending as in deferrable mode."""
        wait = self._wait = self._wait or TaskWait(self, context)
        is_over = wait.poke()
        if not is_over:
            wait.push_status(context)
        return is_over

    @property
    def interval_settings(self) -> tuple[float | None, bool, float | None, float]:
        """``poke_interval`` or None, ``exponential_backoff``, ``max_wait`` or None, ``timeout``; in seconds."""
        longest = self.max_wait.total_seconds() if self.max_wait is not None else None
        return self.poke_interval if self.has_poke_interval else None, self.exponential_backoff, longest, self.timeout

    @property
    def keeps_state(self) -> bool:
        """Whether one process observes the whole wait; in reschedule mode each poke is a process of its own."""
        return self.deferrable or not self.reschedule

    def _poke_until_it_ends(self, context: Context, wait: TaskWait) -> None:
        try:
            super().execute(context)
        except AirflowSensorTimeout:
            self._time_out(wait)
        except AirflowSkipException as skip:  # what the base class makes of a time-out under soft_fail
            cause = skip.__cause__
            if cause is not None and not (isinstance(cause, AirflowTaskTimeout) and self.keeps_state):
                raise
            self._time_out(wait)

    def _time_out(self, wait: TaskWait) -> None:
        """
        End the wait as timed out, or reschedule the task if that is too early.

        Airflow 2.11 counts a rescheduled task's time from its first try on, the wait only from this try on.
        """
        if not self.keeps_state and time.time() < wait.spec.deadline:
            raise AirflowRescheduleException(datetime.now(timezone.utc) + timedelta(seconds=wait.next_pause()))
        wait.time_out()

    def _end(self, context: Context, event: Any, answer: Any = None) -> Status | Manifest:
        try:
            if answer is None:  # else it was judged before somebody was asked
                event = judged(self, context, event)
            concluded = settle(self, context, event, answer)
            self._warn_of_deletion(concluded)
            return concluded
        except SKIPPABLE as error:
            if for_airflow(error) is error:  # it may pass: a retry finds out
                raise
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from for_airflow(error)
            raise

    def _warn_of_deletion(self, event: Any) -> None:
        """Log how long the data stays, where a wait has read the result and the service deletes what was read."""
        known = find(str(event.get("service")))
        service = known.service if known is not None else DocStatusHook(self.conn_id).service
        results = [route.result for route in service.routes.values() if route.result is not None and route.result.decides]
        seconds = next((result.kept_after_read for result in results if result.kept_after_read is not None), None)
        if seconds is not None:
            text = "This wait has read the result. By default %s deletes the data %.0f s after that; fetch it before."
            self.log.warning(text, service.title, seconds)

    def _get_next_poke_interval(self, started_at: Any, run_duration: Callable[[], float], poke_count: int) -> float:
        """Return the seconds until the next poke, so that poke and reschedule mode have the timing of the deferrable one."""
        counts_pokes = self.exponential_backoff and self.reschedule and self.has_poke_interval
        if self._wait is None or counts_pokes:  # the base class counts the pokes of all processes
            return super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return self._wait.next_pause()
