"""The extracted data as a task."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import AirflowTaskTimeout, BaseOperator, conf
from airflow_provider_docstatus.exceptions import NoData, NotFinished, NotFound, RequestRejected
from airflow_provider_docstatus.gate import (
    DEFAULT_TIMEOUT,
    DEFAULT_WATCH,
    Gate,
    checked_accept,
    checked_seconds,
    conclude,
    ids_of,
    last_look,
)
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY, DocumentPageLink
from airflow_provider_docstatus.many import needed_of
from airflow_provider_docstatus.results import MOST_BYTES, checked_size
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.verdict import Ending, errors_for_airflow

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context
    from airflow_provider_docstatus.description import Target


class ExtractedDataOperator(BaseOperator):
    """
    Fetch the extracted data of a finished request, document or job and return it to XCom.

    What the data is:

    * Neurolinker ``document_id``: what ``content`` names: ``json`` (default), ``markdown`` (text), ``images``,
      ``page-summaries``, ``section-summaries``, ``document-summary``, ``fields`` (after ``/extract-fields``) or ``scalars``.
    * Neurolinker ``request_id``: ``{"items": {document id: data}, "errors": {document id: text}}``.
    * Aitronos ``job_id``: ``extracted_data``, a dict in the shape of the schema that was submitted.
    * Unsiloed ``extract``: ``result``, a dict by field (value, scores, places); ``parse``: ``chunks``, ``total_chunks``,
      ``page_count``; ``classify`` and ``split``: ``result``; ``job``: the reply of ``/jobs/{id}/result``; ``batch``:
      ``{"items": {job id: data}, "errors": {job id: text}}``.

    ``multiple_outputs=True`` gives one XCom a field where the data is a dict. The status stands under the key ``docstatus``.

    :param conn_id: the connection (str).
    :param request_id: a Neurolinker request (str), a list of them, or the manifest of a sensor that waited for a list. Give
        exactly one of the three ids. For a list the data is ``{"items": {id: data}, "errors": {id: text}}``.
    :param document_id: a Neurolinker document (str), a list, or a manifest.
    :param job_id: an Aitronos or Unsiloed job, or an Unsiloed batch (str), a list, or a manifest.
    :param operation: Unsiloed's route (str); default: the connection's.
    :param content: Neurolinker's choice (str), see above.
    :param content_options: more keys for Neurolinker's request (dict), e.g. ``{"content_types": ["tables"]}``,
        ``{"summary_type": "section"}``.
    :param max_bytes: the largest data, in bytes of JSON (int), default 1 MiB.
    :param accept: final states besides ``succeeded`` whose data is fetched: ``partial``, ``review``. Default none.
    :param wait_for: see the sensor.
    :param fail_fast: see the sensor.
    :param wait_for_completion: wait first, like :class:`~.sensors.DocStatusSensor` (bool, default False).
    :param deferrable: wait in the triggerer (bool); default ``[operators] default_deferrable``.
    :param watch_on_worker: see the sensor.
    :param poke_interval: see the sensor.
    :param timeout: see the sensor.
    :param grace: see the sensor.
    :param stalled_after: see the sensor.
    :raises DocStatusError: what the sensor raises, and the following.
    :raises NotFinished: it is still running and ``wait_for_completion`` is off (the DAG's author). Not retried.
    :raises NoData: the vendor says finished, but there is nothing (the document's owner). Not retried.
    :raises ResultTooLarge: the data is larger than ``max_bytes`` (the DAG's author). Not retried.
    :raises ServiceUnavailable: the data could not be fetched just now (nobody). Retried as the task says.
    """

    template_fields: Sequence[str] = (
        "conn_id",
        "request_id",
        "document_id",
        "job_id",
        "operation",
        "content",
        "content_options",
    )
    operator_extra_links = (DocumentPageLink(),)
    ui_color = "#d8e6f0"

    def __init__(
        self,
        *,
        conn_id: str,
        request_id: str | Sequence[str] | Mapping[str, Any] | None = None,
        document_id: str | Sequence[str] | Mapping[str, Any] | None = None,
        job_id: str | Sequence[str] | Mapping[str, Any] | None = None,
        operation: str | None = None,
        content: str | None = None,
        content_options: Mapping[str, Any] | None = None,
        max_bytes: int = MOST_BYTES,
        accept: Collection[str] = (),
        wait_for: float | str = "all",
        fail_fast: bool = False,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        watch_on_worker: timedelta | float = DEFAULT_WATCH,
        poke_interval: timedelta | float | None = None,
        timeout: timedelta | float = DEFAULT_TIMEOUT,
        grace: timedelta | float | None = None,
        stalled_after: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.request_id = request_id
        self.document_id = document_id
        self.job_id = job_id
        self.operation = operation
        self.content = content
        self.content_options = content_options
        self.max_bytes = max_bytes
        self.accept = checked_accept(accept)
        needed_of(wait_for, 1)
        self.wait_for = wait_for
        self.fail_fast = fail_fast
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.watch_on_worker = checked_seconds("watch_on_worker", watch_on_worker)
        self.poke_interval = None if poke_interval is None else checked_seconds("poke_interval", poke_interval)
        self.timeout = checked_seconds("timeout", timeout)
        self.grace = None if grace is None else checked_seconds("grace", grace)
        self.stalled_after = None if stalled_after is None else checked_seconds("stalled_after", stalled_after, least=1.0)

    def execute(self, context: Context) -> Any:
        """Wait if asked to, then fetch; return the data."""
        with errors_for_airflow():
            if not self.wait_for_completion or any(isinstance(value, Mapping) for value in ids_of(self).values()):
                return self._fetch(context, None)  # a manifest has been waited for
            gate = Gate.open(self, context)
            gate.hook.service.checked_content(self.content)  # before the wait, not after it
            try:
                is_over = gate.look()
                if not is_over and self.deferrable and not gate.watch(self.watch_on_worker):
                    gate.show(context)
                    self.defer(method_name="execute_complete", **gate.deferral())
                gate.show(context)
                gate.watch_to_the_end()
            except AirflowTaskTimeout:
                gate.time_out()
            return self.execute_complete(context, gate.event())

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Judge the trigger's event on the worker, then fetch."""
        with errors_for_airflow():
            return self._fetch(context, conclude(self, context, event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; a wait that Airflow broke off gets one last look, as the sensor's does."""
        if next_method == "__fail__":
            with errors_for_airflow():
                event = last_look(self, context, next_kwargs)
            if event is not None:
                return self.execute_complete(context, event)
        return super().resume_execution(next_method, next_kwargs, context)

    @property
    def remembers(self) -> bool:
        """An operator is not rescheduled: one process hears all of the wait."""
        return True

    @property
    def rhythm_settings(self) -> tuple[float | None, bool, float | None, float]:
        """What the user said about time, in seconds."""
        return self.poke_interval, False, None, self.timeout

    def _fetch(self, context: Context, known: Mapping[str, Any] | None) -> Any:
        """Fetch the data; ``known`` is the status or the manifest that the wait ended with."""
        ids = ids_of(self)
        several = next(((name, value) for name, value in ids.items() if isinstance(value, (list, Mapping))), None)
        if several is not None:
            name, value = several
            return self._fetch_many(name, value if isinstance(value, Mapping) else known or self._looked_at(context))
        hook = DocStatusHook(self.conn_id)
        target = hook.target(**ids, operation=self.operation)
        status = DocumentStatus.from_dict(known) if known is not None else self._status(context, hook, target)
        if known is None and status.state.is_final:
            ending = Ending(outcome=status.state.value, service=status.service, id=status.id, status=status)
            conclude(self, context, ending.to_event())
        status, extracted = hook.get_target_result(
            target, status=status, content=self.content, content_options=self.content_options
        )
        context["ti"].xcom_push(key=XCOM_KEY, value=status.to_dict())
        return checked_size(extracted, self.max_bytes, service=status.service, id=status.id)

    def _status(self, context: Context, hook: DocStatusHook, target: Target) -> DocumentStatus:
        """Ask for the status of an id that nobody waited for; what is unknown, said twice in a row, ends as in a wait."""
        try:
            try:
                return hook.get_target_status(target)
            except NotFound as error:
                if error.is_gone:
                    raise
            time.sleep(hook.service.least_poll_interval)  # a deploy or a proxy answers 404 as well
            return hook.get_target_status(target)
        except NotFound as error:
            outcome = State.EXPIRED.value if error.is_gone else "not_found"
            conclude(self, context, Ending(outcome=outcome, service=hook.service.name, id=target.id, text=str(error)).to_event())
            raise

    def _looked_at(self, context: Context) -> Mapping[str, Any]:
        """Return the manifest of a list that nobody waited for; all of it must have ended."""
        gate = Gate.open(self, context)
        if not gate.look(questions=None, is_last=True):
            trouble = next((wait.trouble for wait in gate.group.waits.values() if wait.trouble), None)
            raise trouble or NotFinished(
                f"{len(gate.group.open_ids())} of {len(gate.targets)} ids are not finished; wait for them first "
                "(DocStatusSensor, or wait_for_completion=True).",
                service=gate.hook.service.name,
            )
        return conclude(self, context, gate.event())

    def _fetch_many(self, parameter: str, manifest: Mapping[str, Any]) -> Any:
        """Fetch the data of the ids of a manifest that ended well; name the others with their errors."""
        by_state, known_errors = manifest.get("ids"), manifest.get("errors")
        if not isinstance(by_state, Mapping) or not isinstance(known_errors, Mapping):
            raise RequestRejected(
                f"{parameter} is a dict, but not the manifest of a DocStatusSensor that waited for a list; for one id give "
                "the id itself, e.g. {{ ti.xcom_pull('wait')['id'] }}."
            )
        hook = DocStatusHook(self.conn_id)
        operation = self.operation or hook.endpoint.operation
        waited_for = manifest.get("operation") or hook.endpoint.operation or operation
        made_for = (manifest.get("service"), manifest.get("parameter"), waited_for)
        known_as = hook.service.operation_name
        if (*made_for[:2], known_as(made_for[2])) != (hook.service.name, parameter, known_as(operation)):
            raise RequestRejected(
                f"{parameter} is the manifest of a wait for {made_for[1]} at {made_for[0]} (operation {made_for[2]}); give "
                f"this task the same connection type, parameter and operation, not {hook.service.name} and {operation}.",
                service=hook.service.name,
            )
        good = {State.SUCCEEDED.value, *self.accept}
        wanted = [one for state, ids in by_state.items() if state in good for one in ids]
        errors = {one: known_errors.get(one, state) for state, ids in by_state.items() if state not in good for one in ids}
        items: dict[str, Any] = {}
        if wanted:
            targets = [hook.target(**{parameter: one}, operation=self.operation) for one in wanted]
            items, more = hook.get_target_results(targets, content=self.content, content_options=self.content_options)
            errors.update(more)
        if not items:
            reasons = "; ".join(f"{one}: {text}" for one, text in list(errors.items())[:3])
            raise NoData(f"None of the {len(errors)} ids has any data ({reasons}).", service=hook.service.name)
        extracted = {"items": items, "errors": errors}
        return checked_size(extracted, self.max_bytes, service=hook.service.name, id=f"{len(items)} ids")
