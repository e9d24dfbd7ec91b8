"""The operator that fetches extracted data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow_provider_docstatus._compat import AirflowTaskTimeout, BaseOperator, conf
from airflow_provider_docstatus.airflow_errors import errors_for_airflow
from airflow_provider_docstatus.arguments import (
    DEFAULT_TIMEOUT,
    DEFAULT_WATCH,
    checked_accept,
    checked_seconds,
    ids_of,
    read_once,
)
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    NotFinished,
    RateLimited,
    ReplyTooLarge,
    RequestRejected,
)
from airflow_provider_docstatus.fetching import Fetcher
from airflow_provider_docstatus.files import manifest as manifests
from airflow_provider_docstatus.gate import Gate
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.inline import MOST_BYTES, checked_size, data_of_several
from airflow_provider_docstatus.judging import judged
from airflow_provider_docstatus.lineage import facets_of, report_output
from airflow_provider_docstatus.links import XCOM_KEY, DocumentPageLink
from airflow_provider_docstatus.output import Output, is_read_once
from airflow_provider_docstatus.protocol.flows import Kept
from airflow_provider_docstatus.protocol.results import checked_content
from airflow_provider_docstatus.protocol.statuses import raise_unless_usable
from airflow_provider_docstatus.quality.judge import FAIL, GATE_MAX_BYTES, REVIEW, Gates, Judge, checked_bytes
from airflow_provider_docstatus.review import accepted, set_review, settle
from airflow_provider_docstatus.rounds import missing, repeats
from airflow_provider_docstatus.status import DocumentStatus
from airflow_provider_docstatus.task import ResumesWaits, TaskWait
from airflow_provider_docstatus.types import DataManifest, FileManifest
from airflow_provider_docstatus.waiting.group import needed_of

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context, XComArg


class ExtractedDataOperator(ResumesWaits, BaseOperator):
    """
    Fetch the extracted data of a finished request, document or job and return it to XCom.

    The data depends on the service:

    * Neurolinker ``document_id``: what ``content`` names: ``json`` (default), ``markdown`` (text), ``images``,
      ``page-summaries``, ``section-summaries``, ``document-summary``, ``fields`` (after ``/extract-fields``) or ``scalars``.
    * Neurolinker ``request_id``: ``{"items": {document id: data}, "errors": {document id: text}}``.
    * A job of another service: what its description takes of the reply, see the table in docs/what-comes-back.md.
    * A batch: ``{"items": {job id: data}, "errors": {job id: text}}``.

    With ``multiple_outputs=True`` each field of a dict becomes an XCom of its own. The status is under the key ``docstatus``.

    :param conn_id: the connection (str).
    :param request_id: a Neurolinker request (str), a list of them, or the manifest of a sensor that waited for a list. Give
        exactly one of the three ids. For a list the data is ``{"items": {id: data}, "errors": {id: text}}``.
    :param document_id: a Neurolinker document (str), a list, or a manifest.
    :param job_id: a job, run or batch of any other service (str), a list, or a manifest.
    :param operation: see the sensor.
    :param content: Neurolinker only (str): which data to fetch, see above; default ``json``.
    :param content_options: more keys for Neurolinker's request (dict), e.g. ``{"content_types": ["tables"]}``,
        ``{"summary_type": "section"}``.
    :param max_bytes: the largest data that goes into an XCom, in bytes of JSON (int), default 1 MiB.
    :param output_path: write the data to a file and push only facts about it (str): a URL of Airflow's ObjectStoragePath, such
        as ``s3://conn_id@bucket/results/`` or ``file:///data/{{ run_id }}.json``. A path that ends in ``/`` is a directory. A
        list may then have 100,000 ids, unless the task waits for them. See docs/files.md. Default None: the data goes into an
        XCom.
    :param overwrite: fetch the data anew even if an earlier try, or the task before it was cleared, has written the file (bool,
        default False).
    :param on_item_error: what an id of several does to the others if its data does not come for a minute, though a later request
        may get it (str): ``raise`` (default) fails the task, which may be retried; ``skip`` names the id with its error.
    :param accept: final states besides ``succeeded`` whose data is fetched: ``partial``, ``review`` (collection of str). Default
        none.
    :param wait_for: see the sensor.
    :param fail_fast: see the sensor.
    :param wait_for_completion: wait first, like :class:`~.sensors.DocStatusSensor` (bool, default False).
    :param deferrable: wait in the triggerer (bool); default ``[operators] default_deferrable``.
    :param watch_on_worker: see the sensor.
    :param poke_interval: see the sensor.
    :param timeout: see the sensor.
    :param grace: see the sensor.
    :param stalled_after: see the sensor.
    :param require: see the sensor; the data of each document is checked before it goes on.
    :param min_confidence: see the sensor.
    :param on_uncertain: see the sensor.
    :param gate_max_bytes: see the sensor.
    :param on_review: see the sensor.
    :param review_timeout: see the sensor.
    :param assigned_users: see the sensor.
    :param notifiers: see the sensor.
    :raises DocStatusError: every error that the sensor raises, and the following.
    :raises NotFinished: it is still running and ``wait_for_completion`` is off (the DAG's author). Not retried.
    :raises NoData: the vendor says that it is finished, but had no data of it for a minute (the document's owner). Retried.
    :raises DataRefused: the vendor says why there is no data, for each of several (the document's owner). Not retried.
    :raises ReplyTooLarge: the data is larger than ``max_reply_bytes`` of the connection (the DAG's author). Not retried.
    :raises ResultTooLarge: the data is larger than ``max_bytes`` (the DAG's author: ``output_path``). Not retried.
    :raises OutputFailed: the file could not be written: a full disk, a missing bucket (the storage's owner). Retried.
    :raises ResultNotStorable: Airflow cannot carry the data: NaN, huge numbers, too many levels (the DAG's author). Not retried.
    :raises ServiceUnavailable: some of the data could not be fetched for a minute (nobody). Retried.
    """

    #: Its wait reads no result: it fetches the data afterwards, and some vendors delete what was read once.
    judges = False
    template_fields: Sequence[str] = (
        "conn_id",
        "request_id",
        "document_id",
        "job_id",
        "operation",
        "content",
        "content_options",
        "output_path",
    )
    operator_extra_links = (DocumentPageLink(),)
    ui_color = "#d8e6f0"

    def __init__(
        self,
        *,
        conn_id: str,
        request_id: str | Iterable[str] | Mapping[str, Any] | XComArg | None = None,
        document_id: str | Iterable[str] | Mapping[str, Any] | XComArg | None = None,
        job_id: str | Iterable[str] | Mapping[str, Any] | XComArg | None = None,
        operation: str | None = None,
        content: str | None = None,
        content_options: Mapping[str, Any] | None = None,
        max_bytes: int = MOST_BYTES,
        output_path: str | None = None,
        overwrite: bool = False,
        on_item_error: Literal["raise", "skip"] = "raise",
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
        require: Mapping[str, Any] | str | PathLike[str] | None = None,
        min_confidence: float | None = None,
        on_uncertain: str = FAIL,
        gate_max_bytes: int = GATE_MAX_BYTES,
        on_review: str = "fail",
        review_timeout: timedelta | float | None = None,
        assigned_users: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        notifiers: Callable[[Context], None] | Sequence[Callable[[Context], None]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.request_id = read_once(request_id)
        self.document_id = read_once(document_id)
        self.job_id = read_once(job_id)
        self.operation = operation
        self.content = content
        self.content_options = content_options
        self.max_bytes = checked_bytes("max_bytes", max_bytes)
        self.output_path = output_path
        self.overwrite = overwrite
        if on_item_error not in ("raise", "skip"):
            raise ValueError(f"on_item_error is 'raise' or 'skip', not {on_item_error!r}")
        self.on_item_error: str = on_item_error
        self.accept = checked_accept(accept)
        set_review(self, on_review=on_review, review_timeout=review_timeout, assigned_users=assigned_users, notifiers=notifiers)
        gates = Gates(require=require, min_confidence=min_confidence, on_uncertain=on_uncertain, gate_max_bytes=gate_max_bytes)
        self.gates = gates if gates.are_set else None
        needed_of(wait_for, 1)
        self.wait_for = wait_for
        self.fail_fast = fail_fast
        self.wait_for_completion = wait_for_completion
        if on_review == "wait" and not wait_for_completion:
            raise ValueError("on_review='wait' needs wait_for_completion=True: without it nobody waits for the vendor's reviewer")
        self.deferrable = deferrable
        self.watch_on_worker = checked_seconds("watch_on_worker", watch_on_worker)
        self.poke_interval = checked_seconds("poke_interval", poke_interval)
        self.timeout = checked_seconds("timeout", timeout)
        self.grace = checked_seconds("grace", grace)
        self.stalled_after = checked_seconds("stalled_after", stalled_after)
        self._kept: Kept = {}
        self._accepted = self.accept  # and what a person has approved
        self._summary: DataManifest | None = None

    def execute(self, context: Context) -> Any:
        """Wait if ``wait_for_completion`` is set; then fetch and return the data."""
        with errors_for_airflow():
            if self.gates is not None:
                Judge(self.gates)  # a schema that cannot be read is told before the wait, not after it
            if self.output_path is not None and (earlier := (output := Output(self, context)).earlier()) is not None:
                return self._written(context, output, earlier)
            if not self.wait_for_completion or any(isinstance(value, Mapping) for value in ids_of(self).values()):
                return self._fetch(context, None)  # a sensor has waited for a manifest's ids
            wait = TaskWait(self, context)
            checked_content(wait.hook.service, self.content)  # before the wait, not after it
            try:
                is_over = wait.poke(requests=1 if wait.group.is_list else None)
                if not is_over and self.deferrable and not wait.watch(self.watch_on_worker):
                    wait.push_status(context)
                    self.defer(method_name="execute_complete", **wait.deferral())
                wait.push_status(context)
                wait.poke_to_the_end()
            except AirflowTaskTimeout:
                wait.time_out()
            self._kept = wait.kept
            return self._fetch(context, self._concluded(context, wait.event()))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Raise the error that the trigger's event reports, or fetch and return the data."""
        with errors_for_airflow():
            return self._fetch(context, self._concluded(context, event))

    def execute_reviewed(self, context: Context, event: Any = None, waited: Any = None) -> Any:
        """Go on after a person was asked: raise what the answer means, or fetch and return the data; see the sensor."""
        with errors_for_airflow():
            return self._fetch(context, self._concluded(context, waited, answer={} if event is None else event))

    @property
    def keeps_state(self) -> bool:
        """Whether one process observes the whole wait: always, since an operator is not rescheduled."""
        return True

    @property
    def interval_settings(self) -> tuple[float | None, bool, float | None, float]:
        """``poke_interval`` or None, no backoff, no longest pause, ``timeout``; in seconds."""
        return self.poke_interval, False, None, self.timeout

    def _concluded(self, context: Context, event: Any, answer: Any = None) -> Mapping[str, Any]:
        """Return the status or the manifest of a wait that ended well, for which a person may have been asked; else raise."""
        if answer is None and self.gates is not None and self.gates.on_uncertain == REVIEW and self.on_review == "ask":
            self._refuse_to_read_twice()
            event = judged(self, context, event)  # a person is asked before the data is fetched for good
        known = settle(self, context, event, answer)
        self._accepted = accepted(self.accept, known.get("review"))
        return cast("Mapping[str, Any]", known)

    def _refuse_to_read_twice(self) -> None:
        """Raise RequestRejected if the data would be deleted while a person is asked about it."""
        hook = DocStatusHook(self.conn_id)
        if any(is_read_once(hook, route) for route in hook.service.routes.values()):
            raise RequestRejected(
                f"{hook.service.title} deletes a result once it was read, and on_uncertain='review' with on_review='ask' reads "
                "it before a person is asked, and again afterwards. Use on_uncertain='fail' or 'accept'.",
                service=hook.service.name,
            )

    def _fetch(self, context: Context, known: Mapping[str, Any] | None) -> Any:
        """Fetch the data; ``known`` is the status or the manifest that the wait ended with."""
        for value in ids_of(self).values():
            if isinstance(value, Mapping):  # what a person has approved for the sensor counts here too
                self._accepted = accepted(self._accepted, value.get("review"))
        if self.output_path is not None:
            return self._fetch_into_file(context, known)
        ids = ids_of(self)
        several = next(((name, value) for name, value in ids.items() if isinstance(value, (list, Mapping))), None)
        if several is not None:
            name, value = several
            manifest = value if isinstance(value, Mapping) else known or self._manifest_of_ended(context)
            return self._fetch_several(context, name, manifest)
        hook, status, known = self._status(context, known)
        target = hook.target(**ids, operation=self.operation)
        status, extracted = self._fetcher(hook).fetch(target, status)
        gate = self._gate()
        told = {**status.to_dict(), **{name: known[name] for name in ("review",) if name in known}}
        try:
            if gate is not None:
                extracted = gate.sifted(target, status, extracted)
        finally:
            context["ti"].xcom_push(key=XCOM_KEY, value=gate.told_of_one(target, told) if gate is not None else told)
        return checked_size(extracted, self.max_bytes, service=status.service, id=status.id)

    def _fetch_several(self, context: Context, parameter: str, manifest: Mapping[str, Any]) -> Any:
        """Return the data of the ids of a manifest that ended well, and the errors of the others."""
        hook = DocStatusHook(self.conn_id, retries=0)
        gate = self._gate()
        about: dict[str, Any] = {"parameter": parameter, "manifest": manifest, "accept": self._accepted}
        try:
            extracted = data_of_several(self, hook, self._fetcher(hook), gate, **about)
        finally:
            if gate is not None:
                context["ti"].xcom_push(key=XCOM_KEY, value=gate.told(manifest))
        if gate is not None and (report := gate.report()) is not None:
            extracted["confidence"] = report
        return checked_size(extracted, self.max_bytes, service=hook.service.name, id=f"{len(extracted['items'])} ids")

    def _gate(self) -> Gate | None:
        """Return what judges the data, None if nothing is asked of it."""
        return None if self.gates is None else Gate(self, self.gates, self._accepted)

    def _fetch_into_file(self, context: Context, known: Mapping[str, Any] | None) -> DataManifest:
        """Fetch the data into the file; of a list that nobody has waited for each id tells with its data whether it has ended."""
        output, status = Output(self, context), None
        if not output.is_list:
            _, status, known = self._status(context, known)
        elif not output.waited and known is None and self.on_review == "ask":
            known = self._manifest_of_ended(context)  # a person is asked before the data is fetched
        gate = self._gate()
        try:
            manifest = output.write(
                output.waited or (known or {}).get("ids", {}) if output.is_list else {},
                status,
                gate=gate,
                accept=self._accepted,
                review=(known or {}).get("review"),
                kept=self._kept,
                skips=self.on_item_error == "skip",
            )
        except DocStatusError:  # what the gate has found is told all the same, as where the data goes into an XCom
            waited = next((value for value in ids_of(self).values() if isinstance(value, Mapping)), known)
            if gate is not None and status is not None:
                told = gate.told_of_one(output.targets[0], known or status.to_dict())
                context["ti"].xcom_push(key=XCOM_KEY, value=told)
            elif gate is not None and waited is not None:
                context["ti"].xcom_push(key=XCOM_KEY, value=gate.told(waited))
            raise
        return self._written(context, output, manifest)

    def _written(self, context: Context, output: Output, manifest: FileManifest) -> DataManifest:
        """Push what is known of a file that is complete, and return what is pushed in place of its data."""
        summary = manifests.summary(manifest)
        told = {**manifest.get("status", summary), **({"review": manifest["review"]} if "review" in manifest else {})}
        context["ti"].xcom_push(key=XCOM_KEY, value=told)
        output.check_enough(manifest)
        self._summary = summary
        report_output(context, self.outlets, summary)
        return summary

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 -- OpenLineage calls it so
        """Return the file that was written as an output for OpenLineage; None if there is none, or no OpenLineage."""
        return facets_of(self._summary)

    def _fetcher(self, hook: DocStatusHook) -> Fetcher:
        options = self.content_options or {}
        skips = self.on_item_error == "skip"
        return Fetcher(hook, content=self.content, options=options, accept=self._accepted, kept=self._kept, skips=skips)

    def _status(
        self, context: Context, known: Mapping[str, Any] | None
    ) -> tuple[DocStatusHook, DocumentStatus, Mapping[str, Any]]:
        """Return a wait's status, or poll an id that no wait was for. If it did not end well, raise the same error as a wait."""
        if known is not None:
            return DocStatusHook(self.conn_id, retries=0), DocumentStatus.from_dict(known), known
        wait = TaskWait(self, context, retries=DocStatusHook.default_retries, has_deadline=False)
        known = self._concluded(context, wait.event()) if self._have_ended(wait) else {}
        self._kept = wait.kept
        status = wait.group.first.status
        assert status is not None  # an id that was polled without trouble has one  # noqa: S101
        raise_unless_usable(wait.group.service, status)
        wait.hook.retries = 0  # what fetches the data repeats it
        return wait.hook, status, known

    def _manifest_of_ended(self, context: Context) -> Mapping[str, Any]:
        """Return the manifest of a list that no wait was for. Raises NotFinished if some of its ids have not ended."""
        wait = TaskWait(self, context, has_deadline=False)
        if self._have_ended(wait):
            self._kept = wait.kept
            return self._concluded(context, wait.event())
        raise NotFinished(
            f"{len(wait.group.open_ids())} of {len(wait.group.waits)} ids are not finished; wait for them first "
            "(DocStatusSensor, or wait_for_completion=True).",
            service=wait.group.service.name,
        )

    def _have_ended(self, wait: TaskWait) -> bool:
        """
        Poll what should have ended; return whether it has. What may pass is polled again for up to a minute.

        :raises DocStatusError: no status came of some ids.
        """
        checked_content(wait.hook.service, self.content)
        for _ in repeats(wait.hook):
            if wait.poke(is_last=wait.group.is_list):
                return True
            trouble = {one: error for one in wait.group.open_ids() if (error := wait.group.waits[one].trouble)}
            too_large = next((error for error in trouble.values() if isinstance(error, ReplyTooLarge)), None)
            if too_large is not None:
                raise too_large
            if len(trouble) < len(wait.group.open_ids()):
                return False
            if any(isinstance(error, RateLimited) for error in trouble.values()):
                break  # the poll, or for a single id the hook, has waited for the service's time
        known = {one: wait.group.waits[one].status for one in trouble}
        names = {one: status.file_name for one, status in known.items() if status is not None and status.file_name}
        raise missing(trouble, len(wait.group.waits), "status", names)
