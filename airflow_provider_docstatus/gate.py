"""Fetch and judge the data of one document after another, or judge what the task has fetched itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from airflow_provider_docstatus.arguments import WaitingTask
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    ReplyTooLarge,
    SchemaMismatch,
    Uncertain,
    UnexpectedReply,
)
from airflow_provider_docstatus.fetching import Fetcher
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.confidence import MOST_NAMES, Confidences, confidences_of
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.faults import concerns_all, may_pass
from airflow_provider_docstatus.protocol.flows import poll_one, status_request
from airflow_provider_docstatus.protocol.messages import Flow
from airflow_provider_docstatus.protocol.responses import read_object
from airflow_provider_docstatus.protocol.statuses import ENDED_BADLY
from airflow_provider_docstatus.protocol.storable import read_back
from airflow_provider_docstatus.protocol.targets import Target, checked_id
from airflow_provider_docstatus.protocol.values import named, one_line
from airflow_provider_docstatus.quality.judge import ACCEPT, REVIEW, Examined, Gates, Judge, Verdict, too_large_to_judge
from airflow_provider_docstatus.status import LEFT_OUT, MOST_ERRORS, DocumentStatus, State
from airflow_provider_docstatus.waiting.outcomes import OUTCOMES, outcome_of
from airflow_provider_docstatus.waiting.report import LONGEST_ERROR, why_closed

T = TypeVar("T")


class Gate:
    """
    Fetches and judges the data of one id after another.

    :param task: the task, whose connection, ``accept`` and ``content`` are used.
    :param gates: what is asked of the data.
    :param accept: other final states that count, if a person has accepted more of them (collection of str).
    """

    def __init__(self, task: WaitingTask, gates: Gates, accept: Collection[str] | None = None) -> None:
        self.hook = DocStatusHook(task.conn_id, retries=0, max_reply_bytes=gates.gate_max_bytes)
        self.accept = tuple(task.accept if accept is None else accept)
        #: What was reported of the documents that :meth:`sifted` has judged, by id.
        self.reports: dict[str, dict[str, Any]] = {}
        #: The outcomes of those among them that are not simply good, by id.
        self.outcomes: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self.fail_fast = task.fail_fast
        #: Other states that are judged: a person is asked only about what passes, since an approval opens the gate.
        self.asked_about = (State.REVIEW.value,) if task.on_review == "ask" else ()
        self._gates = gates
        self._judge = Judge(gates)
        # What Airflow cannot carry can be judged all the same, since nothing of it is kept.
        self._fetcher = Fetcher(
            self.hook,
            content=getattr(task, "content", None),
            options=getattr(task, "content_options", None) or {},
            accept=(*self.accept, *self.asked_about),
            ready=lambda data, **_: data,
        )
        self._keys_rejected = 0

    @property
    def most_bytes(self) -> int:
        """The largest data of one document that is read (bytes)."""
        return self._gates.gate_max_bytes

    @cached_property
    def _may_be_too_large(self) -> bool:
        """Whether the connection allows larger replies than the gate reads."""
        return DocStatusHook(self.hook.conn_id).endpoint.max_reply_bytes > self.most_bytes

    def too_large(self, status: DocumentStatus) -> SchemaMismatch:
        """Return the error of a document whose data is too large to be read."""
        return too_large_to_judge(self.hook.service, status, self.most_bytes)

    @property
    def reports_confidence(self) -> bool:
        """Whether the vendor's confidence is asked for."""
        return self._gates.min_confidence is not None

    def is_good(self, outcome: str) -> bool:
        """Whether an outcome means that there is data that counts."""
        return outcome == State.SUCCEEDED.value or outcome in self.accept

    def verdict(self, target: Target, status: DocumentStatus | None) -> Verdict:
        """
        Return the verdict on an id.

        :param status: the status that the wait ended with, None if it is not known.
        """
        service = self.hook.service
        known = status or DocumentStatus(
            service=service.name, kind=service.routes[target.route].kind, id=target.id, state=State.SUCCEEDED, word=""
        )
        try:
            return self._judge.verdict(service, known, self._examined(target, status))
        except ReplyTooLarge:
            return Verdict(too_large_to_judge(service, known, self._gates.gate_max_bytes), None)

    def lets_pass(self, verdict: Verdict) -> bool:
        """Whether a document passes although the vendor is not sure of it."""
        return isinstance(verdict.error, Uncertain) and self._gates.on_uncertain == ACCEPT

    def sifted(self, target: Target, status: DocumentStatus | None, data: Any) -> Any:
        """
        Judge data that was fetched for the task itself; return it, of a request or a batch that of the documents that pass.

        :raises DocStatusError: it does not pass.
        """
        service = self.hook.service
        if service.routes[target.route].kind not in ("request", "batch"):
            self.check(target, status, data, status.file_name if status else None)
            return data
        name = route_of_items(service, target.route)
        items, errors = dict(data["items"]), dict(data["errors"])
        refused: DocStatusError | None = None
        for one, part in data["items"].items():
            try:
                self.check(Target(route=name, id=one), None, part, data["file_names"].get(one))
            except DocumentFailed as error:
                refused, errors[one] = error, str(error)
                del items[one]
        if refused is not None and not items:
            self.outcomes[target.id] = next(self.outcomes[one] for one in data["items"] if one in self.outcomes)
            raise refused
        return {**data, "items": items, "errors": errors}

    def check(self, target: Target, status: DocumentStatus | None, data: Any, file_name: str | None) -> None:
        """Raise the error of a document that does not pass, and keep the report about it."""
        service = self.hook.service
        if status is None:
            kind, details = service.routes[target.route].kind, {"file_name": file_name} if file_name else {}
            status = DocumentStatus(
                service=service.name, kind=kind, id=target.id, state=State.SUCCEEDED, word="", details=details
            )
        verdict = self._verdict_on(target, status, data)
        if verdict.report is not None:
            self.reports[target.id] = verdict.report
        error = verdict.error
        if error is None or self.lets_pass(verdict):
            return
        self.outcomes[target.id] = outcome = self.outcome_of(error)
        if outcome not in self.accept:
            self._texts[target.id] = (one_line(str(error)) or "")[:LONGEST_ERROR]
        if outcome != State.REVIEW.value:
            raise error
        if outcome not in self.accept:
            flagged = replace(status, state=State.REVIEW, message=one_line(str(error)))
            about: dict[str, Any] = {"service": service.name, "id": status.id, "state": State.REVIEW, "link": status.link}
            raise DocumentFailed(why_closed(flagged), **about)

    def _verdict_on(self, target: Target, status: DocumentStatus, data: Any) -> Verdict:
        """Return the verdict on data that is here."""
        size = len(json.dumps(data, ensure_ascii=False).encode(errors="surrogatepass")) if self._may_be_too_large else 0
        if size > self.most_bytes:
            return Verdict(self.too_large(status), None)
        beside = self._said_beside(target)
        told = status if beside is None else replace(status, confidences=beside)
        return self._judge.judge(self.hook.service, target, told, read_back(data))

    def told_of_one(self, target: Target, status: Mapping[str, Any]) -> dict[str, Any]:
        """Return a status dict with the report about its data, and with ``review`` as its state if nobody is sure of that."""
        report = self.reports.get(target.id) or (_of_documents(self.reports) if self.reports else None)
        is_flagged = self.outcomes.get(target.id) == State.REVIEW.value
        return {
            **status,
            **({"state": State.REVIEW.value} if is_flagged else {}),
            **({} if report is None else {"confidence": report}),
        }

    def told(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Return the manifest of a wait with the outcomes of the ids whose data was judged, and the report about them."""
        by_state: dict[str, list[str]] = {}
        for state, ids in manifest["ids"].items():
            for one in ids:
                by_state.setdefault(self.outcomes.get(one, state), []).append(one)
        report, known = self.report(), manifest["errors"]
        new = [(one, text) for one, text in self._texts.items() if one not in known]
        return {
            **manifest,
            "ids": by_state,
            "errors": {**known, **dict(new[: max(MOST_ERRORS - len(known), 0)])},
            "counts": {state: len(ids) for state, ids in by_state.items()},
            **({} if report is None else {"confidence": report}),
        }

    def report(self) -> dict[str, Any] | None:
        """Return the reports on several documents in one; None if the vendor's confidence is not asked for."""
        return summary(self.reports) if self.reports_confidence else None

    def outcome_of(self, error: DocStatusError) -> str:
        """
        Return the outcome of an id whose data did not pass, or does not come.

        :raises DocStatusError: the error itself, if a retry may mend it or if it concerns all ids.
        """
        if isinstance(error, Uncertain) and self._gates.on_uncertain == REVIEW:
            return State.REVIEW.value
        self._keys_rejected += isinstance(error, KeyRejected)
        if may_pass(error) or concerns_all(error) or self._keys_rejected > 1:
            raise error
        outcome = outcome_of(error)
        if OUTCOMES[outcome].error is not UnexpectedReply:
            return outcome
        state = error.state if isinstance(error, DocumentFailed) else None
        return state.value if state is not None and state.is_final and not self.is_good(state.value) else State.FAILED.value

    def _examined(self, target: Target, status: DocumentStatus | None) -> list[Examined]:
        """Examine the document that an id names, or one by one those of a request and the jobs of a batch."""
        documents = self._documents(target, status)
        if documents is None:
            return [self._examine(target, status)]
        examined, refused = list[Examined](), None
        for one, known in documents:
            try:
                examined.append(self._examine(one, known, name=named(one.id, known.file_name)))
            except DocStatusError as error:
                if may_pass(error) or concerns_all(error) or isinstance(error, ReplyTooLarge):
                    raise
                refused = error  # the operator returns the data of the others
        if refused is not None and not examined:
            raise refused
        return examined

    def _examine(self, target: Target, status: DocumentStatus | None, *, name: str = "") -> Examined:
        service = self.hook.service
        beside = self._said_beside(target)
        told, data = self._fetcher.fetch(target, status)
        told = told if beside is None else replace(told, confidences=beside)
        return self._judge.examine(service, target, told, data, name=name)

    def _documents(self, target: Target, status: DocumentStatus | None) -> list[tuple[Target, DocumentStatus]] | None:
        """Return the documents of a request or the jobs of a batch that ended well; None if it is one document, or lists none."""
        service = self.hook.service
        route = service.routes[target.route]
        if route.kind not in ("request", "batch"):
            return None
        if status is None or LEFT_OUT in status.details:
            status = self._patiently(poll_one(service, target, judges=False))
        good = [child for child in status.children if child.state not in ENDED_BADLY]
        if status.left_out or not good:
            return None  # what fetches it says why not
        name = route_of_items(service, target.route)
        item = service.routes[name]
        return [
            (Target(route=name, id=checked_id(service, item.parameter, child.id)), replace(child, kind=item.kind))
            for child in good
        ]

    def _said_beside(self, target: Target) -> Confidences | None:
        """Ask how sure the vendor is, where neither the data nor the reply that holds it says so; None if none need be asked."""
        service = self.hook.service
        route = service.routes[target.route]
        places = [place for place in route.confidence if place.where == "reply"]
        query = {name: value for place in places for name, value in place.query.items()}
        is_in_the_result = route.result is not None and route.result.has_status and not query
        if not places or is_in_the_result or self._gates.min_confidence is None:
            return None

        def ask() -> Flow[Confidences]:
            asking = replace(route, query={**route.query, **query})
            response = yield status_request(replace(service, routes={**service.routes, target.route: asking}), target)
            return confidences_of(places, "reply", read_object(service, response, id=target.id))

        return self._patiently(ask())

    def _patiently(self, flow: Flow[T]) -> T:
        """Drive a flow, and repeat its requests while the service is unavailable."""
        self.hook.retries, before = DocStatusHook.default_retries, self.hook.retries
        try:
            return self.hook.run(flow)
        finally:
            self.hook.retries = before


def route_of_items(service: ServiceDescription, name: str) -> str:
    """Return the name of the route that has the data of a request's documents or of a batch's jobs."""
    route = service.routes[name]
    if route.kind == "batch":
        lists = {one.listing.path: other for other, one in service.routes.items() if one.listing is not None}
        return lists.get(route.members.path, "job") if route.members is not None else "job"
    return next(other for other, one in service.routes.items() if one.parent is not None and one.parent[0] == name)


def summary(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the report of a list: the lowest confidence, how many ids have too little of it, and the reports of the first."""
    below = {one: report for one, report in reports.items() if report["below"] or not report["total"]}
    lowest = min((report["lowest"] for report in reports.values() if report["lowest"] is not None), default=None)
    return {"lowest": lowest, "below": len(below), "ids": dict(list(below.items())[:MOST_ERRORS])}


def _of_documents(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the reports on the documents of a request, or the jobs of a batch, as one; one without any confidence is missing."""
    named_in = {one: report["fields"] if report["total"] else [""] for one, report in reports.items()}
    fields = [f"{one} {field}".strip() for one, some in named_in.items() for field in some]
    lowest = min((report["lowest"] for report in reports.values() if report["lowest"] is not None), default=None)
    below = sum(report["below"] if report["total"] else 1 for report in reports.values())
    total = sum(report["total"] or 1 for report in reports.values())
    return {"lowest": lowest, "fields": fields[:MOST_NAMES], "below": below, "total": total}
