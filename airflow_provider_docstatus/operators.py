"""The extracted data as a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import BaseOperator, conf
from airflow_provider_docstatus.gate import DEFAULT_TIMEOUT, DEFAULT_WATCH, Gate, checked_accept, end
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY, DocumentPageLink
from airflow_provider_docstatus.results import MOST_BYTES, checked_size
from airflow_provider_docstatus.status import DocumentStatus
from airflow_provider_docstatus.verdict import Ending, errors_for_airflow

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context


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
    :param request_id: a Neurolinker request (str). Give exactly one of the three ids.
    :param document_id: a Neurolinker document (str).
    :param job_id: an Aitronos or Unsiloed job, or an Unsiloed batch (str).
    :param operation: Unsiloed's route (str); default: the connection's.
    :param content: Neurolinker's choice (str), see above.
    :param content_options: more keys for Neurolinker's request (dict), e.g. ``{"content_types": ["tables"]}``,
        ``{"summary_type": "section"}``.
    :param max_bytes: the largest data, in bytes of JSON (int), default 1 MiB.
    :param accept: final states besides ``succeeded`` whose data is fetched: ``partial``, ``review``. Default none.
    :param wait_for_completion: wait first, like :class:`~.sensors.DocStatusSensor` (bool, default False).
    :param deferrable: wait in the triggerer (bool); default ``[operators] default_deferrable``.
    :param watch_on_worker: see the sensor.
    :param poke_interval: see the sensor.
    :param timeout: see the sensor.
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
        request_id: str | None = None,
        document_id: str | None = None,
        job_id: str | None = None,
        operation: str | None = None,
        content: str | None = None,
        content_options: Mapping[str, Any] | None = None,
        max_bytes: int = MOST_BYTES,
        accept: Collection[str] = (),
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        watch_on_worker: float = DEFAULT_WATCH,
        poke_interval: timedelta | float | None = None,
        timeout: timedelta | float = DEFAULT_TIMEOUT,
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
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.watch_on_worker = watch_on_worker
        self.poke_interval = seconds(poke_interval) if poke_interval is not None else None
        self.timeout = seconds(timeout)

    def execute(self, context: Context) -> Any:
        """Wait if asked to, then fetch; return the data."""
        with errors_for_airflow():
            if not self.wait_for_completion:
                return self._fetch(context, None)
            gate = self._open(context)
            ending = gate.look()
            if ending is None and self.deferrable:
                ending = gate.watch(self.watch_on_worker)
                if ending is None:
                    gate.show(context)
                    self.defer(method_name="execute_complete", **gate.deferral())
            elif ending is None:
                gate.show(context)
                ending = gate.watch_to_the_end()
            return self._fetch_after(context, ending)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Judge the trigger's event on the worker, then fetch."""
        with errors_for_airflow():
            return self._fetch_after(context, Ending.from_event(event))

    def _fetch_after(self, context: Context, ending: Ending) -> Any:
        end(context, ending, self.accept)
        return self._fetch(context, ending.status)

    def _fetch(self, context: Context, status: DocumentStatus | None) -> Any:
        hook = DocStatusHook(self.conn_id)
        ids = {"request_id": self.request_id, "document_id": self.document_id, "job_id": self.job_id}
        target = hook.target(**ids, operation=self.operation)
        if status is None:
            status = hook.get_target_status(target)
            if status.state.is_final:
                end(context, Ending(outcome=status.state.value, service=status.service, id=status.id, status=status), self.accept)
        status, extracted = hook.get_target_result(
            target, status=status, content=self.content, content_options=self.content_options
        )
        context["ti"].xcom_push(key=XCOM_KEY, value=status.to_dict())
        return checked_size(extracted, self.max_bytes, service=status.service, id=status.id)

    def _open(self, context: Context) -> Gate:
        return Gate.open(
            context,
            self.log,
            conn_id=self.conn_id,
            ids={"request_id": self.request_id, "document_id": self.document_id, "job_id": self.job_id},
            operation=self.operation,
            poke_interval=self.poke_interval,
            timeout=self.timeout,
        )


def seconds(span: timedelta | float) -> float:
    """Return a span of time as seconds."""
    return span.total_seconds() if isinstance(span, timedelta) else float(span)
