"""The hook: get statuses and data from an extraction service, on a worker or in a user's own task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import requests
import tenacity

from airflow_provider_docstatus._compat import AirflowNotFoundException, BaseHook
from airflow_provider_docstatus.blocking import BlockingPoller, Once
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
)
from airflow_provider_docstatus.forms import form_widgets
from airflow_provider_docstatus.probe import probe
from airflow_provider_docstatus.protocol.flows import poll_one, run
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.messages import Flow, Request, Response
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.responses import raise_if_unavailable
from airflow_provider_docstatus.protocol.results import extracted_of, fetch_result
from airflow_provider_docstatus.protocol.submissions import submitted_id
from airflow_provider_docstatus.protocol.targets import ID_PARAMETERS, Target, target_of
from airflow_provider_docstatus.provider_info import field_behaviour
from airflow_provider_docstatus.registry import find_hook, how_to_connect
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED, ServiceDescription
from airflow_provider_docstatus.status import DocumentStatus
from airflow_provider_docstatus.transport.connection import Endpoint
from airflow_provider_docstatus.transport.sync import HostSession
from airflow_provider_docstatus.waiting.rate_limiter import RateLimiter

T = TypeVar("T")

_LONGEST_PAUSE = 60.0


class DocStatusHook(BaseHook):
    """
    Get the status and the extracted data of documents from an extraction service.

    The connection's type says which service. A request is repeated while the service is unavailable (network, time-outs, 408,
    425, 429, 5xx), after ``Retry-After`` if the service sends one. A refusal is raised at once. What is sent through
    :meth:`get_conn` is never repeated.

    :param conn_id: the connection (str); its type is the service's name, such as ``neurolinker``, or ``docstatus``.
    :param retries: how often a request to an unavailable service is repeated (int, default 3).
    :param max_reply_bytes: the largest reply that is read (int, bytes); default None: what the connection says.
    :param clock: gives epoch seconds.
    :param sleep: waits for so many seconds.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "docstatus_default"
    conn_type = "docstatus"
    hook_name = "Document extraction status"
    #: How often a request to an unavailable service is repeated.
    default_retries = 3

    def __init__(
        self,
        conn_id: str | None = None,
        *,
        retries: int = default_retries,
        max_reply_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id or self.default_conn_name
        self.retries = retries
        self._max_reply_bytes = max_reply_bytes
        self._endpoint: Endpoint | None = None
        self._session: HostSession | None = None
        self._prefix: PathPrefix | None = None
        #: When the connection was read (epoch seconds).
        self.read_at = 0.0
        self.clock = clock
        self.sleep = sleep
        #: Keeps the pause after a 429 for the waits that poll through this hook; it has no limit of its own.
        self.limiter = RateLimiter(per_minute=None)

    # -- the connection ----------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> Endpoint:
        """
        The connection, read once.

        :raises RequestRejected: the connection is missing, of another type, or has a bad setting.
        """
        if self._endpoint is None:
            self._endpoint = self._read_connection()
        return self._endpoint

    def _read_connection(self) -> Endpoint:
        self.read_at = self.clock()
        try:
            conn = self.get_connection(self.conn_id)
        except AirflowNotFoundException as error:
            raise RequestRejected(f"Connection '{self.conn_id}' is not defined. {how_to_connect(self.conn_id)}") from error
        endpoint = Endpoint.from_connection(conn, conn.extra_dejson)
        return endpoint if self._max_reply_bytes is None else replace(endpoint, max_reply_bytes=self._max_reply_bytes)

    def reload(self) -> None:
        """
        Read the connection again, and open a new TCP connection; a session that was handed out keeps the old key.

        If it cannot be read or used, what was read before is used on.
        """
        if self._session is not None:
            self._session.close()  # closes its pool; the session can still be used
        before = self._endpoint
        if before is None:
            return
        try:
            now = self._read_connection()
            now.check_unchanged(before.service.name, has_key=before.key is not None)
        except Exception as error:  # noqa: BLE001 -- a secrets backend that is down may raise whatever it likes
            why = (
                error
                if isinstance(error, RequestRejected)
                else f"Connection '{self.conn_id}' cannot be read ({type(error).__name__})."
            )
            self.log.warning("%s What was read before is used on.", why)
            return
        if now != before:
            self._endpoint, self._session, self._prefix = now, None, None

    def forget_connection(self) -> None:
        """Read the connection again before it is used the next time."""
        self._endpoint = self._session = self._prefix = None

    @property
    def service(self) -> ServiceDescription:
        """The description of the connection's service."""
        return self.endpoint.service

    @property
    def prefix(self) -> PathPrefix:
        """The path prefix in use: the connection's, or another one that this deployment turned out to use."""
        if self._prefix is None:
            self._prefix = PathPrefix(self.service, self.endpoint.base_url, self.endpoint.prefix, self.log.info)
        return self._prefix

    @cached_property
    def _poller(self) -> BlockingPoller:
        return BlockingPoller(self, RateLimiter(per_minute=None))  # no pause holds a direct call up

    @property
    def found_prefix(self) -> str | None:
        """The path prefix that this deployment turned out to use (str); None if it is the connection's."""
        return None if self.prefix.current == self.endpoint.prefix else self.prefix.current

    def get_conn(self) -> HostSession:
        """
        Return the authenticated session, for submitting: ``hook.get_conn().post("/v1/extract", files=...)``.

        A URL without a host is a path at the connection's host. The key goes to that host only. Redirects are not followed.
        Nothing is repeated, since a document that is submitted twice may be billed twice.
        """
        if self._session is None:
            self._session = HostSession(self.endpoint, self.clock)
        return self._session

    # -- statuses, data and lists ------------------------------------------------------------------------------

    def target(
        self,
        *,
        request_id: object = None,
        document_id: object = None,
        job_id: object = None,
        operation: str | None = None,
    ) -> Target:
        """Return the target of an id at this service. Raises RequestRejected if the id is invalid (the DAG's author)."""
        ids = dict(zip(ID_PARAMETERS, (request_id, document_id, job_id), strict=True))
        return target_of(self.service, ids, operation or self.endpoint.operation)

    def get_status(self, **which: Any) -> DocumentStatus:
        """
        Return the status of one request, document or job.

        :param which: ``request_id``, ``document_id`` or ``job_id`` (str), and ``operation`` (str) where the service has several.
        :raises ServiceUnavailable: the service is unavailable, even after the retries (nobody must act; try later).
        :raises RequestRejected: key, quota, id or operation (the DAG's author).
        :raises UnexpectedReply: the reply is not the vendor's (this package, or a proxy).
        """
        return self.get_target_status(self.target(**which))

    def get_target_status(self, target: Target) -> DocumentStatus:
        """Return the status of a target; see :meth:`get_status`."""
        return self.run(poll_one(self.service, target))

    def get_statuses(
        self, ids: Iterable[object], *, parameter: str = "job_id", operation: str | None = None
    ) -> list[DocumentStatus]:
        """
        Return the status of several ids, in their order.

        One request polls several ids where the service has a batch route or where the ids have the same parent. Else they are
        polled one after another.

        The first error about any id is raised, an unknown id's :class:`NotFound` too, and no status is returned. To learn about
        each id, call :meth:`get_status` for each, or let a ``DocStatusSensor`` wait for the list: its manifest names each.

        :param ids: the ids (str), any number of them; an id that comes twice is polled once and returned twice.
        :param parameter: what they are: ``request_id``, ``document_id`` or ``job_id``.
        :param operation: see :meth:`get_status`.
        :raises RequestRejected: ``ids`` is no list, or one of them is invalid; nothing was sent.
        :raises DocStatusError: the first error about any of them; see :meth:`get_status`.
        """
        if isinstance(ids, (str, bytes, Mapping, set, frozenset)) or not isinstance(ids, Iterable):
            raise RequestRejected(f"ids is a {type(ids).__name__}; give a list of ids, and for one id call get_status().")
        asked = operation or self.endpoint.operation
        targets = [target_of(self.service, {parameter: one}, asked) for one in ids]
        once, schedule = Once(), self._poller.schedule
        for target in targets:
            schedule.subscribe(once, target, 0.0)
        try:
            self._poller.poll(is_over=lambda: once.error is not None, waits_until=lambda now: now + _LONGEST_PAUSE)
        finally:
            for target in targets:
                schedule.unsubscribe(once, target)
        if once.error is not None:
            raise once.error
        return [once.found[target] for target in targets]

    def get_result(self, *, content: str | None = None, content_options: Mapping[str, Any] | None = None, **which: Any) -> Any:
        """
        Return the extracted data of a finished id. It is asked for once, but in parts if the reply is refused or too large.

        :param content: Neurolinker's choice of ``json`` (default), ``markdown``, ``images``, ``page-summaries``,
            ``section-summaries``, ``document-summary``, ``fields`` or ``scalars``.
        :param content_options: more keys for Neurolinker's request, e.g. ``{"content_types": ["text", "tables"]}``.
        :param which: see :meth:`get_status`.
        :return: the data of one document or job; for a request or a batch ``{"items": {id: data}, "errors": {id: text}}``.
        :raises NotFinished: it is still running; wait first.
        :raises DocumentFailed: the vendor ended it without data; :class:`NoData` if it says it is finished all the same.
        :raises DocStatusError: the first error that a later call may not meet, also if it is about one document or job of several
            (:class:`ServiceUnavailable`, :class:`UnexpectedReply`, :class:`NotFound`, :class:`NoData`).
        """
        return self.get_target_result(self.target(**which), content=content, content_options=content_options)[1]

    def get_target_result(
        self,
        target: Target,
        *,
        status: DocumentStatus | None = None,
        content: str | None = None,
        content_options: Mapping[str, Any] | None = None,
    ) -> tuple[DocumentStatus, Any]:
        """Return the status and the data of a target; a status that is known already saves a call."""
        which = {"status": status, "content": content, "options": content_options or {}}
        status, items, errors = self.run(fetch_result(self.service, target, **which))
        return status, extracted_of(self.service, status, items, errors)

    def list_jobs(
        self, *, limit: int | None = None, offset: int = 0, operation: str | None = None, **filters: str
    ) -> list[DocumentStatus]:
        """
        Return the account's requests or jobs, in the vendor's order.

        :param limit: at most so many (int from 0, default None: all). Pages are followed until the vendor says that there are no
            more; where it does not say, until a page is not full.
        :param offset: skip so many (int from 0), where the vendor has paging.
        :param operation: which jobs, where the service lists each operation on a route of its own (str); else a filter like those
            that follow.
        :param filters: what the vendor documents, e.g. Unsiloed: ``status``, ``operation``, ``created_after``, ``created_before``
            (ISO times), ``tags`` (comma-separated).
        :raises RequestRejected: the service or this deployment cannot list, or not by that filter; ``limit`` or ``offset`` is no
            number of jobs.
        """
        lists = [route.listing for route in self.service.routes.values() if route.listing is not None]
        if operation is not None and any("operation" in listing.filters for listing in lists):
            filters, operation = {"operation": operation, **filters}, None
        return self.run(list_jobs(self.service, filters=filters, limit=limit, offset=offset, operation=operation))

    def test_connection(self) -> tuple[bool, str]:
        """
        Send one cheap, read-only request and say honestly what the response proves.

        :return: whether the key works as far as can be seen, and a sentence for the person who pressed the button.
        """
        try:
            return probe(self.endpoint, self.run)
        except DocStatusError as error:
            return False, str(error)

    def submitted_id(self, response: requests.Response, *, operation: str | None = None) -> str:
        """
        Return the id in the answer to a submission: what a sensor waits for.

        :param response: what ``hook.get_conn().post(...)`` returned.
        :param operation: what was submitted (str), where the service has several operations.
        :raises RequestRejected: the answer is no success or holds no id, or the description does not say where it is.
        """
        try:
            body = response.json()
        except ValueError:
            body = None
        which = operation or self.endpoint.operation
        return submitted_id(self.service, code=response.status_code, headers=response.headers, body=body, operation=which)

    # -- sending -----------------------------------------------------------------------------------------------

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow and return its result."""
        return run(with_prefix(flow, self.prefix), self.send)

    def send(self, request: Request) -> Response:
        """Send a request, and repeat it while the service is unavailable."""

        def once() -> Response:
            response = self.get_conn().ask(request)
            try:
                raise_if_unavailable(self.service, response)
            except ServiceUnavailable as error:
                if not request.link and (isinstance(error, RateLimited) or error.retry_after):
                    self.limiter.throttled(response.received_at, error.retry_after)
                raise
            self.limiter.ok(response.received_at)
            return response

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_worth_a_wait),
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=_pause,
            sleep=self.sleep,
            reraise=True,
        )(once)

    # -- the form on Airflow 2.11 to 3.1; later versions read provider_info ------------------------------------

    _described: ClassVar[ServiceDescription | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Give each class its own form methods, since Airflow ignores inherited ones (ProvidersManager._import_hook)."""
        super().__init_subclass__(**options)
        for name in ("get_ui_field_behaviour", "get_connection_form_widgets"):
            if name not in cls.__dict__:
                setattr(cls, name, DocStatusHook.__dict__[name])

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's labels, placeholders and hidden fields."""
        behaviour = field_behaviour(cls._described)
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields that the form has besides Airflow's own."""
        return form_widgets(cls._described)


def _hook_class(service: ServiceDescription) -> type[DocStatusHook]:
    """Return :class:`DocStatusHook` with the form of a service's connections."""
    own = {
        "__module__": __name__,
        "__doc__": f":class:`DocStatusHook` with the form of {service.title} connections ({service.docs}).",
        "conn_type": service.name,
        "hook_name": service.title,
        "default_conn_name": f"{service.name}_default",
        "_described": service,
    }
    return type(service.hook_class_name, (DocStatusHook,), own)


NeurolinkerHook, AitronosHook, UnsiloedHook = (_hook_class(one) for one in (NEUROLINKER, AITRONOS, UNSILOED))


def __getattr__(name: str) -> type[DocStatusHook]:
    """Return the hook class of any other service, which is made when it is first asked for; Airflow 2.11 to 3.1 import it."""
    found = find_hook(name) if name.endswith("Hook") else None
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    made: type[DocStatusHook] = globals().setdefault(name, _hook_class(found.service))
    return made


def _is_worth_a_wait(error: BaseException) -> bool:
    return isinstance(error, ServiceUnavailable) and (error.retry_after or 0) <= _LONGEST_PAUSE


def _pause(attempt: tenacity.RetryCallState) -> float:
    error = attempt.outcome.exception() if attempt.outcome else None
    if isinstance(error, ServiceUnavailable) and error.retry_after is not None:
        return error.retry_after
    return tenacity.wait_random_exponential(multiplier=1, max=_LONGEST_PAUSE)(attempt)
