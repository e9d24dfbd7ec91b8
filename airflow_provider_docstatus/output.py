"""What :class:`~.operators.ExtractedDataOperator` does where the data goes to a file, see docs/files.md."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, cast

from airflow_provider_docstatus._compat import AirflowSkipException
from airflow_provider_docstatus.arguments import WaitingTask, ids_of, waited_for
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    NoData,
    NotFinished,
    NotFound,
    RequestRejected,
    ResultNotStorable,
    SchemaMismatch,
    Uncertain,
)
from airflow_provider_docstatus.fetching import Fetcher, Found
from airflow_provider_docstatus.files import manifest as manifests
from airflow_provider_docstatus.files.places import final_url, owner_of
from airflow_provider_docstatus.files.rows import Rows
from airflow_provider_docstatus.files.spool import Spool
from airflow_provider_docstatus.gate import Gate, route_of_items
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.description import Route
from airflow_provider_docstatus.protocol.extracted import Saved, read_saved
from airflow_provider_docstatus.protocol.faults import raise_without_data
from airflow_provider_docstatus.protocol.messages import READ_OF_SAVED
from airflow_provider_docstatus.protocol.storable import findings, read_data, row_ready
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.review import accepted
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.told import SKIPPED, Told
from airflow_provider_docstatus.types import ConfidenceReports, FileManifest, Review, Status
from airflow_provider_docstatus.waiting.group import needed_of
from airflow_provider_docstatus.waiting.outcomes import outcome_of
from airflow_provider_docstatus.waiting.report import manifest_result, why_closed

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context

#: The most ids whose data one file may hold.
MOST_IDS = 100_000
#: Ids that are planned at once: what is known of them is in memory.
_AT_ONCE = 1000
#: How ids ended whose data did not pass a gate.
_JUDGED = (outcome_of(SchemaMismatch("")), outcome_of(Uncertain("")))
_ROWS = "application/x-ndjson"
_UNKNOWN = "application/octet-stream"


class WritingTask(WaitingTask, Protocol):
    """The attributes of an operator that are read here."""

    output_path: str | None
    overwrite: bool
    on_item_error: str
    content: str | None
    content_options: Mapping[str, Any] | None


class Output:
    """
    The file that a task writes.

    :param task: the operator.
    :param context: Airflow's.
    :raises RequestRejected: an id or ``output_path`` is wrong (the DAG's author).
    :raises AirflowSkipException: the list of ids is empty.
    """

    def __init__(self, task: WritingTask, context: Context) -> None:
        self._task = task
        self._ti = context["ti"]
        self.hook = DocStatusHook(task.conn_id, retries=0)
        ids = ids_of(task)
        self.parameter, value = next(((name, value) for name, value in ids.items() if value is not None), ("job_id", None))
        self.is_list = isinstance(value, (list, Mapping))
        #: The ids by state, and the errors by id, of a list that a sensor has waited for.
        self.waited: Mapping[str, Sequence[str]] = {}
        self._errors: Mapping[str, str] = {}
        self._names: Mapping[str, str] = {}
        operation, given = task.operation, value if isinstance(value, list) else [value]
        if isinstance(value, Mapping):
            self.waited, self._errors, operation = waited_for(self.hook, self.parameter, value, operation)
            self._names = (value.get("file_names") or {}) if self.hook.service.file_names else {}
            given = [one for some in self.waited.values() for one in some]
        if not given:
            raise AirflowSkipException(f"{self.parameter} is an empty list: there is no data to fetch.")
        targets = [self.hook.target(**{**ids, self.parameter: one}, operation=operation) for one in given]
        self.targets = list(dict.fromkeys(targets))
        if len(self.targets) > MOST_IDS:
            raise RequestRejected(
                f"{self.parameter} has {len(self.targets):,} ids; one file holds the data of at most {MOST_IDS:,}. Cut the list "
                f"into chunks and map: .expand({self.parameter}=chunks)."
            )
        self._gate: Gate | None = None
        self._accept: Collection[str] = task.accept
        self._route = self.hook.service.routes[self.targets[0].route]
        #: Whether the file has a row for each document; else it is a vendor's reply as it came.
        self.has_rows = self.is_list or self._route.kind in ("request", "batch")
        self.url = final_url(task.output_path or "", context, suffix=self._suffix)
        #: What an earlier try has kept serves this one, whatever it asks of the data and of the state.
        self._owner = owner_of(context, {**self.asked, "gates": None, "accept": None, "on_item_error": None})

    @property
    def _suffix(self) -> str:
        """The end of the file's name in a directory; none where the vendor may send a zip or a PDF in place of JSON."""
        result = self._route.result
        if self.has_rows:
            return ".jsonl"
        return "" if result is not None and (result.media or result.link) else ".json"

    @cached_property
    def asked(self) -> manifests.Asked:
        """What is asked for: a file that an earlier try wrote for the same is taken as it is."""
        return {
            "ids": [target.id for target in self.targets],
            "service": self.hook.service.name,
            "parameter": self.parameter,
            "operation": self.targets[0].route if self.hook.service.has_operations else None,
            "content": self._task.content,
            "content_options": dict(self._task.content_options or {}),
            "accept": sorted(self._task.accept),
            "gates": self._task.gates.fingerprint if self._task.gates is not None else None,
            "on_item_error": self._task.on_item_error,
        }

    def earlier(self) -> FileManifest | None:
        """Return the manifest of a file that an earlier try wrote for the same; None if there is none, or with ``overwrite``."""
        found = None if self._task.overwrite else manifests.matching(self.url, self.asked)
        if found is not None and self._is_behind(found):
            self._task.log.info("The data is fetched anew: of its ids some have ended well since.")
            return None
        return found

    def _is_behind(self, manifest: FileManifest) -> bool:
        """Whether the sensor's manifest says that an id has ended well whose data the file lacks since it had not."""
        good = {State.SUCCEEDED.value, *self._accept}
        judged = (*_JUDGED, State.REVIEW.value) if self._task.gates is not None else ()
        lacking = {one for state, ids in manifest["ids"].items() if state not in (*good, *judged) for one in ids}
        return any(one in lacking for state, ids in self.waited.items() if state in good for one in ids)

    def write(
        self,
        states: Mapping[str, Sequence[str]],
        status: DocumentStatus | None,
        *,
        gate: Gate | None,
        accept: Collection[str],
        review: Review | None,
        **options: Any,
    ) -> FileManifest:
        """
        Fetch the data, write the file and then its manifest, and return that.

        :param states: the ids of a list by the state that a wait has told of them; empty if nobody has waited. Only those that
            ended well are asked for.
        :param status: the status of a single id, if it is known.
        :param gate: judges the data; None if nothing is asked of it.
        :param accept: the states besides ``succeeded`` that count.
        :param review: what a person has decided; None if nobody was asked.
        :param options: of the :class:`~.fetching.Fetcher`.
        :raises DocStatusError: no file was written.
        """
        self._gate, self._accept = gate, accept
        with Spool(self.url, keeps=is_read_once(self.hook, self._route), key=self._owner, sleep=self.hook.sleep) as spool:
            note: Any = spool.resumed(self._still_holds)  # an earlier try had all of the data
            if note is None:
                try:
                    note = self._rows(spool, states, status, options) if self.has_rows else self._reply(spool, status, options)
                except DocStatusError as error:
                    self._tell_honestly(error)
                    raise
                spool.complete(note)
            built: FileManifest = note["manifest"]
            built["gates"], built["accept"] = self.asked["gates"], list(self.asked["accept"])
            built["on_item_error"] = self.asked["on_item_error"]
            if not self.has_rows:
                self._check_state(DocumentStatus.from_dict(built["status"]))
            if gate is not None and not self.has_rows:
                self._judge_reply(spool, built, gate, is_whole=note["is_whole"])
            if review is not None:
                built["review"] = review
            spool.publish()
            return manifests.written(built, spool, sleep=self.hook.sleep)

    def _still_holds(self, note: Mapping[str, Any]) -> bool:
        """Whether an earlier try's note holds good: rows were judged before, a single document is judged afterwards."""
        return not self.has_rows or all(note["manifest"][name] == self.asked[name] for name in ("gates", "accept"))

    def _check_state(self, status: DocumentStatus) -> None:
        """Raise DocumentFailed if a document has not ended well enough. What can be read once is kept all the same."""
        if status.state is not State.SUCCEEDED and status.state.value not in self._accept:
            about: dict[str, Any] = {"service": status.service, "id": status.id, "state": status.state, "link": status.link}
            raise DocumentFailed(why_closed(status), **about)

    def _judge_reply(self, spool: Spool, built: FileManifest, gate: Gate, *, is_whole: bool) -> None:
        """Raise the error of a single document whose data does not pass, and put the report into the manifest."""
        (target,) = self.targets
        status = DocumentStatus.from_dict(built["status"])
        if spool.size > gate.most_bytes:
            raise gate.too_large(status)
        with spool.open_for_reading() as file:
            body = file.read()
        gate.sifted(target, *read_saved(self.hook.service, target, status, Saved(built["format"], is_whole=is_whole), body))
        built["status"] = cast("Status", gate.told_of_one(target, built["status"]))
        built["ids"], built["counts"] = {(state := built["status"]["state"]): [target.id]}, {state: 1}

    def _reply(self, spool: Spool, status: DocumentStatus | None, options: Mapping[str, Any]) -> dict[str, Any]:
        """Write the reply that holds the data of a single id."""
        (target,) = self.targets
        status, data = self._fetcher(into=spool, **options).fetch(target, status)
        format_ = (data.media_type if isinstance(data, Saved) else "") or _UNKNOWN
        manifest = manifests.built(
            self.asked,
            path=self.url,
            format=format_,
            ids={status.state.value: [target.id]},
            errors={},
            file_names={target.id: status.file_name} if status.file_name else {},
            findings={target.id: found} if "json" in format_ and (found := self._findings(spool)) else {},
            status=status.to_dict(),
        )
        return {"manifest": manifest, "is_whole": isinstance(data, Saved) and data.is_whole}

    def _findings(self, spool: Spool) -> list[str]:
        """Return what Airflow could not carry of a reply that stays as it came; nothing of one that is too long to look at."""
        if spool.size > READ_OF_SAVED:
            return []
        with spool.open_for_reading() as file, suppress(ValueError, ResultNotStorable):
            data = read_data(file.read(), id=None, service=None)
            return [f"{what} at {place}" for place, what in findings(data)]
        return []

    def _rows(
        self, spool: Spool, states: Mapping[str, Sequence[str]], status: DocumentStatus | None, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write a row for each document."""
        good = {State.SUCCEEDED.value, *self._accept}
        told = Told(state_of={one: state for state, ids in states.items() for one in ids}, names=dict(self._names))
        told.errors = {one: self._errors.get(one, state) for one, state in told.state_of.items() if state not in good}
        rows = Rows(spool)
        wanted = [target for target in self.targets if target.id not in told.errors and target.id not in rows]
        for found in chain(
            self._kept(rows),
            self._found(wanted, status, {"have_ended": bool(states) or status is not None, **options}),
        ):
            told.name(found)
            judged = self._judged(found, told)
            if found.error is None and found.id not in rows and (judged.error is None or is_read_once(self.hook, self._route)):
                name = told.names.get(found.id)
                of = {} if found.id == found.of else {self.parameter: found.of}
                facts = {"file_name": name, "state": _state_beside(found)}
                rows.add(found.id, {**of, **{key: fact for key, fact in facts.items() if fact}, "data": found.data})
            self._tell_honestly(judged.error)
            told.hear(judged, were_waited_for=bool(states))
        if not states:  # else the wait was over though some still run
            self._check_finished(told.state_of)
        order = [one for target in self.targets for one in (target.id, *told.inside.get(target.id, ()))]
        order = [one for one in order if one in rows and one not in told.errors]
        if not order:
            raise_without_data(told.errors, told.refused, told.names, service=self.hook.service.name)
        told.settle(self.targets, self._gate.outcomes if self._gate is not None else {})
        by_state: dict[str, list[str]] = {}
        for target in self.targets:
            by_state.setdefault(told.state_of.get(target.id, State.SUCCEEDED.value), []).append(target.id)
        manifest = manifests.built(
            self.asked, path=self.url, format=_ROWS, ids=by_state, errors=told.errors, rows={}, file_names=told.names
        )
        if self._gate is not None and (report := self._gate.report()) is not None:
            manifest["confidence"] = cast("ConfidenceReports", report)
        if spool.keeps:
            self.check_enough(manifest)  # while the rows that do not pass are here, for a task that is cleared and asks for less
        manifest["rows"] = rows.in_order(order)
        return {"manifest": manifest, "is_whole": False}

    def _kept(self, rows: Rows) -> Iterator[Found]:
        """Yield what an earlier try has written of results that can be read once."""
        for one, row in rows.recovered():
            state, status = row.get("state"), None
            if state is not None:
                service = self.hook.service.name
                status = DocumentStatus(service=service, kind=self._route.kind, id=one, state=State(state), word=state)
            yield Found(of=str(row.get(self.parameter, one)), id=one, status=status, data=row["data"])

    def _judged(self, found: Found, told: Told) -> Found:
        """Return what was found of an id, or the error of data that does not pass."""
        if found.error is not None:
            return found
        try:
            if found.status is not None and found.id == found.of:
                self._check_state(found.status)
            self._judge(found, told)
        except DocumentFailed as error:
            return replace(found, data=None, error=error)
        return found

    def _judge(self, found: Found, told: Told) -> None:
        """Raise the error of data that does not pass."""
        if self._gate is None:
            return
        target = Target(route=self.targets[0].route, id=found.of)
        status = found.status
        if found.id != found.of:
            target, status = Target(route=route_of_items(self.hook.service, target.route), id=found.id), None
        self._gate.check(target, status, found.data, told.names.get(found.id))

    def _check_finished(self, state_of: Mapping[str, str]) -> None:
        """Raise NotFinished if nobody has waited for some of the ids."""
        running = sum(state == State.RUNNING.value for state in state_of.values())
        if running:
            raise NotFinished(
                f"{running} of {len(self.targets)} ids are not finished; wait for them first (DocStatusSensor, or "
                "wait_for_completion=True).",
                service=self.hook.service.name,
            )

    def check_enough(self, manifest: FileManifest) -> None:
        """Raise the error of a list that nobody has waited for if too few of its ids ended well; their data stays in the file."""
        refused = self._gate.outcomes if self._gate is not None else {}
        is_judged = refused or any(manifest["counts"].get(outcome) for outcome in _JUDGED)
        if self.is_list and (not self.waited or is_judged):
            needed = needed_of(self._task.wait_for, manifest["total"])
            if self._task.on_item_error == "skip":
                needed = min(needed, manifest["total"] - manifest["counts"].get(SKIPPED, 0))
            accept = accepted(tuple(self._accept), manifest.get("review"))
            manifest_result(cast("Any", manifest), needed=needed, accept=accept, text=None)

    def _found(self, targets: Sequence[Target], status: DocumentStatus | None, options: Mapping[str, Any]) -> Iterator[Found]:
        fetcher = self._fetcher(**options)
        for start in range(0, len(targets), _AT_ONCE):
            yield from fetcher.each(targets[start : start + _AT_ONCE], status)
            if start + _AT_ONCE < len(targets):
                self._task.log.info("The data of %d of %d ids was asked for.", start + _AT_ONCE, len(targets))

    def _fetcher(self, **options: Any) -> Fetcher:
        task = self._task
        return Fetcher(
            self.hook,
            content=task.content,
            options=task.content_options or {},
            accept=(*self._accept, State.PARTIAL.value, State.REVIEW.value)
            if is_read_once(self.hook, self._route)
            else self._accept,
            ready=row_ready,
            **options,
        )

    def _tell_honestly(self, error: object) -> None:
        """Say in the error of a retry that gets no data what may have become of it."""
        title = self.hook.service.title
        text = f"{title} hands a result out only once: an earlier try may have got this one, and ended before it was written."
        is_gone = isinstance(error, (NoData, NotFound)) and is_read_once(self.hook, self._route) and self._ti.try_number > 1
        if isinstance(error, DocStatusError) and is_gone and text not in str(error):
            error.args = (f"{str(error).rstrip('.')}. {text}",)


def _state_beside(found: Found) -> str | None:
    """Return the state that a row tells: none for a document that succeeded, or that is one of several inside an id."""
    status = found.status
    return status.state.value if status is not None and found.id == found.of and status.state is not State.SUCCEEDED else None


def is_read_once(hook: DocStatusHook, route: Route) -> bool:
    """Whether the vendor may delete a result once it was read."""
    return hook.endpoint.zero_retention or (route.result is not None and route.result.kept_after_read is not None)
