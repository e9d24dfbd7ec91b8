"""The worker's way to a service: requests, tenacity for what is worth asking again, one pooled session."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3

from airflow_provider_docstatus._compat import AirflowNotFoundException, BaseHook
from airflow_provider_docstatus.description import ID_PARAMETERS, Question, ServiceDescription, Talk, Target
from airflow_provider_docstatus.endpoint import Endpoint
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoSuchRoute,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.provider_info import field_behaviour, form_settings
from airflow_provider_docstatus.reply import Answer
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED

if TYPE_CHECKING:
    from airflow_provider_docstatus.status import DocumentStatus

T = TypeVar("T")

_LONGEST_PAUSE = 60.0
_PIECE = 64 * 1024
_MADE_UP_ID = "00000000-0000-4000-8000-000000000000"


class DocStatusHook(BaseHook):
    """
    Ask an extraction service how far a document is, and for its data.

    The connection's type says which service. Every question is asked again on its own where that is worth it (network,
    time-outs, 408, 425, 429, 5xx), heeding ``Retry-After``; what is sent through :meth:`get_conn` never is. When the key is
    rejected, the connection is read again, and the second answer believed.

    :param conn_id: the connection (str); its type is ``neurolinker``, ``aitronos`` or ``unsiloed``.
    :param retries: how often an unavailable service is asked again (int, default 3).
    """

    conn_name_attr = "conn_id"
    default_conn_name = "docstatus_default"
    conn_type = "docstatus"
    hook_name = "Document extraction status"

    def __init__(self, conn_id: str | None = None, *, retries: int = 3) -> None:
        super().__init__()
        self.conn_id = conn_id or self.default_conn_name
        self.retries = retries
        self._endpoint: Endpoint | None = None
        self._session: HostSession | None = None
        #: The path prefix that the deployment has shown (str); None while it answers below the connection's.
        self.learned_prefix: str | None = None
        self._asks_together = True
        self._sleep: Callable[[float], None] = time.sleep

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
        try:
            conn = self.get_connection(self.conn_id)
        except AirflowNotFoundException as error:
            raise RequestRejected(missing_connection(self.conn_id)) from error
        return Endpoint.from_connection(conn, conn.extra_dejson)

    def _read_connection_again(self) -> None:
        """Take over what has been edited; a session that was handed out keeps the old key."""
        before, now = self.endpoint, self._read_connection()
        if now != before and now.service.name == before.service.name:
            self.get_conn().close()
            self._endpoint, self._session, self.learned_prefix = now, None, None

    @property
    def service(self) -> ServiceDescription:
        """The description of the connection's service."""
        return self.endpoint.service

    @property
    def prefix(self) -> str:
        """The path prefix in use: the connection's, or the one that the deployment has shown."""
        return self.endpoint.prefix if self.learned_prefix is None else self.learned_prefix

    def get_conn(self) -> HostSession:
        """
        Return the authenticated session, for submitting: ``hook.get_conn().post("/v1/extract", files=...)``.

        A path is taken below the connection's host; the key goes to that host only, redirects are not followed, and
        nothing is repeated, since a submit that is sent twice may be billed twice.
        """
        if self._session is None:
            self._session = HostSession(self.endpoint)
        return self._session

    # -- what can be asked -------------------------------------------------------------------------------------

    def target(
        self,
        *,
        request_id: object = None,
        document_id: object = None,
        job_id: object = None,
        operation: str | None = None,
    ) -> Target:
        """Return what an id stands for at this service. Raises RequestRejected for what cannot be one (the DAG's author)."""
        ids = dict(zip(ID_PARAMETERS, (request_id, document_id, job_id), strict=True))
        return self.service.target(ids, operation or self.endpoint.operation)

    def get_status(self, **which: Any) -> DocumentStatus:
        """
        Return the status of one request, document or job.

        :param which: ``request_id``, ``document_id`` or ``job_id`` (str), and ``operation`` (str) where the service has several.
        :raises ServiceUnavailable: it did not answer, also not after the retries (nobody must act; ask later).
        :raises RequestRejected: key, quota, id or operation (the DAG's author).
        :raises UnexpectedReply: an answer that is not the vendor's (this package, or a proxy).
        """
        return self.get_target_status(self.target(**which))

    def get_target_status(self, target: Target) -> DocumentStatus:
        """Return the status of a target; see :meth:`get_status`."""
        return self.talk(lambda: self.service.ask_status(target, self.prefix))

    def get_statuses(
        self, ids: Sequence[object], *, parameter: str = "job_id", operation: str | None = None
    ) -> list[DocumentStatus]:
        """
        Return the status of several ids, in their order.

        Unsiloed's route for several jobs is used where the deployment has it; else each id is asked alone.

        :param ids: the ids (str).
        :param parameter: what they are: ``request_id``, ``document_id`` or ``job_id``.
        :param operation: see :meth:`get_status`.
        """
        targets = [self.target(**{parameter: one}, operation=operation) for one in ids]
        found: dict[Target, DocumentStatus] = {}
        for observations in self.observe(targets):
            for target, observation in observations.items():
                if isinstance(observation, DocStatusError):
                    raise observation
                found[target] = observation
        return [found[target] for target in targets]

    def observe(self, targets: Sequence[Target]) -> Iterator[dict[Target, DocumentStatus | DocStatusError]]:
        """
        Ask about targets of one route; yield what each question told, an error in the place of a status.

        Several are asked in one question where the service has a route for that, or where they belong to one request. If
        that question fails, each is asked alone, which tells whether it was the question or the service.
        """
        still_open = dict.fromkeys(targets)
        has_failed = False
        if len(targets) > 1 and self._asks_together and self.service.answers_together(targets[0].route):
            for chunk in self.service.chunks([target.id for target in targets]):
                found = self._observe_together(targets[0].route, chunk)
                if found is None:
                    has_failed = True
                    break
                for target in found:
                    still_open.pop(target, None)
                yield found
        yield from self._observe_each(still_open, is_in_doubt=has_failed)

    def _observe_each(
        self, still_open: dict[Target, None], *, is_in_doubt: bool
    ) -> Iterator[dict[Target, DocumentStatus | DocStatusError]]:
        """
        Ask about targets one by one, or through what they belong to.

        :param is_in_doubt: whether the service may be down: then the first that it does not answer speaks for all.
        """
        parents: set[Target] = set()
        while still_open:
            target = next(iter(still_open))
            del still_open[target]
            try:
                status = self.get_target_status(target)
            except DocStatusError as error:
                if is_in_doubt and isinstance(error, ServiceUnavailable):
                    yield {**dict.fromkeys(still_open, error), target: error}
                    return
                yield {target: error}
                continue
            yield {target: status}
            parent = self.service.parent_of(status, target.route)
            if parent is not None and parent not in parents and still_open:
                parents.add(parent)
                relatives = self._observe_through(parent, target.route, still_open)
                for relative in relatives:
                    del still_open[relative]
                if relatives:
                    yield relatives

    def _observe_together(self, route: str, ids: list[str]) -> dict[Target, DocumentStatus | DocStatusError] | None:
        try:
            found = self.talk(lambda: self.service.ask_together(route, ids, self.prefix))
        except RateLimited as error:
            return {Target(route=route, id=one): error for one in ids}  # alone they would be refused as well
        except DocStatusError as error:
            self.log.info("%s Asking for each id alone.", error)
            self._asks_together = not isinstance(error, NoSuchRoute)
            return None
        return {Target(route=route, id=one): status for one, status in found.items()}

    def _observe_through(
        self, parent: Target, route: str, wanted: Collection[Target]
    ) -> dict[Target, DocumentStatus | DocStatusError]:
        try:
            return dict(self._hold(self.service.ask_through(parent, route, self.prefix, wanted)))
        except RateLimited as error:
            return dict.fromkeys(wanted, error)  # they would be refused as well
        except DocStatusError:
            return {}  # each is asked alone then

    def get_result(self, *, content: str | None = None, content_options: Mapping[str, Any] | None = None, **which: Any) -> Any:
        """
        Return the extracted data of a finished id.

        :param content: Neurolinker's choice of ``json`` (default), ``markdown``, ``images``, ``page-summaries``,
            ``section-summaries``, ``document-summary``, ``fields`` or ``scalars``.
        :param content_options: more keys for Neurolinker's request, e.g. ``{"content_types": ["text", "tables"]}``.
        :param which: see :meth:`get_status`.
        :return: the data of one document or job; for a request or a batch ``{"items": {id: data}, "errors": {id: text}}``.
        :raises NotFinished: it is still running; wait first.
        :raises DocumentFailed: the vendor ended it without data; :class:`NoData` if it says it is finished all the same.
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
        status, items, errors = self.talk(
            lambda: self.service.ask_result(target, self.prefix, status=status, content=content, options=content_options or {})
        )
        if status.kind in ("request", "batch"):
            if errors and not items:
                reasons = "; ".join(f"{one}: {text}" for one, text in list(errors.items())[:3])
                raise self.service.no_data(status, f"none of its {len(errors)} parts has any ({reasons})")
            return status, {"items": items, "errors": errors}
        if target.id not in items:
            raise self.service.no_data(status, errors.get(target.id, "no reason"))
        return status, items[target.id]

    def get_target_results(
        self, targets: Sequence[Target], *, content: str | None = None, content_options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """
        Return the data of finished targets of one route by id, and the reason by id for what cannot be had.

        :raises KeyRejected, QuotaExhausted, ServiceUnavailable: what concerns all of them.
        """
        service = self.service
        if service.contents and service.routes[targets[0].route].kind == "document":
            ids = [target.id for target in targets]
            return self.talk(lambda: service.ask_contents(ids, self.prefix, content=content, options=content_options or {}))
        items: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for target in targets:
            try:
                items[target.id] = self.get_target_result(target, content=content, content_options=content_options)[1]
            except (KeyRejected, QuotaExhausted):  # noqa: PERF203 -- a request each turn
                raise
            except (DocumentFailed, RequestRejected, UnexpectedReply) as error:
                errors[target.id] = str(error)
        return items, errors

    def list_jobs(self, *, limit: int | None = None, offset: int = 0, **filters: str) -> list[DocumentStatus]:
        """
        Return the account's requests or jobs, newest as the vendor sorts them.

        :param limit: at most so many (int, default all); pages are followed.
        :param offset: skip so many (int), where the vendor has paging.
        :param filters: Unsiloed: ``status``, ``operation``, ``created_after``, ``created_before`` (ISO times), ``tags``
            (comma-separated). Neurolinker has none.
        :raises RequestRejected: the service or this deployment cannot list, or not by that filter.
        """
        return self.talk(lambda: self.service.ask_list(self.prefix, filters=filters, limit=limit, offset=offset))

    def test_connection(self) -> tuple[bool, str]:
        """
        Ask one cheap, read-only question and say honestly what the answer proves.

        :return: whether the key works as far as can be seen, and a sentence for the person who pressed the button.
        """
        try:
            if self.service.name == NEUROLINKER.name:
                # not by list_jobs: a key that is rejected now and then is not a good one
                self._hold(self.service.ask_list(self.prefix, filters={}, limit=1, offset=0))
                return True, f"{self.service.title} accepted the key and listed the account's requests."
            parameter = next(iter(self.service.routes.values())).parameter
            operation = (self.endpoint.operation or next(iter(self.service.routes))) if self.service.has_operations else None
            target = self.target(**{parameter: _MADE_UP_ID}, operation=operation)
            question = self.service.status_question(target, self.prefix)
            answer = self._ask(question)
            if answer.is_no_route or (answer.code == HTTPStatus.NOT_FOUND and answer.is_html):
                return False, f"{self.endpoint.base_url} has no {question.label} (404); is that {self.service.title}'s host?"
            self.service.read_status(target, question, answer)
        except NotFound:
            return True, (
                f"{self.service.title} answered that a made-up id does not exist, and did not refuse the key. It has no route "
                "that would prove the key."
            )
        except DocStatusError as error:
            return False, str(error)
        return True, f"{self.service.title} answered."

    # -- the line that sends -----------------------------------------------------------------------------------

    def talk(self, begin: Callable[[], Talk[T]]) -> T:
        """Hold a talk; once more if the key is rejected."""
        try:
            return self._hold(begin())
        except KeyRejected as error:
            # The key may have been changed meanwhile, or the service may have erred: it is believed the second time.
            self.log.info("%s The connection is read again, and the question asked once more.", error)
        with suppress(Exception):  # a secrets backend that is away, in whatever words, is no verdict on the key
            self._read_connection_again()
        return self._hold(begin())

    def _hold(self, talk: Talk[T]) -> T:
        """Drive a talk: send each of its questions, hand back the answers, return what it learned."""
        try:
            question = next(talk)
            while True:
                question = talk.send(self._ask(question))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is untyped

    def _ask(self, question: Question) -> Answer:
        """Send one question, again while the service is unavailable, and below the other prefix if it shows that."""
        if not question.path.startswith(f"{self.prefix}/"):  # of a talk that began before
            question = question.below(self.prefix, instead_of=self.endpoint.prefix)
        answer = self._ask_patiently(question)
        talk = self.service.ask_other_prefix(question, answer, self.prefix, self.endpoint.base_url)
        try:
            question = next(talk)
            while True:
                question = talk.send(self._ask_patiently(question))
        except StopIteration as end:
            told: tuple[Answer, str] = end.value
        answer, prefix = told
        if prefix != self.prefix:
            self.log.info("%s answers below %s here.", self.service.title, prefix)
            self.learned_prefix = prefix
        return answer

    def _ask_patiently(self, question: Question) -> Answer:
        def once() -> Answer:
            answer = self.get_conn().ask(question)
            self.service.refuse_unavailable(question, answer)
            return answer

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_worth_a_wait),
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )(once)

    # -- the form on Airflow 2.11 to 3.1; later lines read provider_info ---------------------------------------

    _described: ClassVar[ServiceDescription | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Give each class form methods of its own: Airflow takes no inherited ones (ProvidersManager._import_hook)."""
        super().__init_subclass__(**options)
        for name in ("get_ui_field_behaviour", "get_connection_form_widgets"):
            if name not in cls.__dict__:
                setattr(cls, name, DocStatusHook.__dict__[name])

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's labels, placeholders and hidden fields."""
        behaviour = field_behaviour(cls._described) if cls._described else {}
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # noqa: PLC0415 -- only the web server has it
        from flask_babel import lazy_gettext  # noqa: PLC0415
        from wtforms import StringField  # noqa: PLC0415

        from airflow_provider_docstatus.endpoint import SETTINGS  # noqa: PLC0415

        names = form_settings(cls._described) if cls._described else []
        return {
            name: StringField(lazy_gettext(SETTINGS[name].label), description=SETTINGS[name].help, widget=BS3TextFieldWidget())
            for name in names
        }


class NeurolinkerHook(DocStatusHook):
    """:class:`DocStatusHook` with the form of Neurolinker connections (https://neurolinker.ainexxo.com/docs/api/)."""

    conn_type = NEUROLINKER.name
    hook_name = NEUROLINKER.title
    default_conn_name = "neurolinker_default"
    _described = NEUROLINKER


class AitronosHook(DocStatusHook):
    """:class:`DocStatusHook` with the form of Aitronos connections (https://docs.aitronos.com/docs/api-reference/)."""

    conn_type = AITRONOS.name
    hook_name = AITRONOS.title
    default_conn_name = "aitronos_default"
    _described = AITRONOS


class UnsiloedHook(DocStatusHook):
    """:class:`DocStatusHook` with the form of Unsiloed connections (https://docs.unsiloed.ai/api-reference/)."""

    conn_type = UNSILOED.name
    hook_name = UNSILOED.title
    default_conn_name = "unsiloed_default"
    _described = UNSILOED


class HostSession(requests.Session):
    """
    A session bound to one host: paths are taken below it, and the key goes nowhere else.

    :param endpoint: the connection.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint
        self.auth = self._add_key  # also keeps a .netrc from replacing the key
        self._trusted_ca = endpoint.trusted_ca if endpoint.base_url.startswith("https:") else None
        if self._trusted_ca:
            endpoint.tls_context(self._trusted_ca)  # a bad file is named here; requests would only fail to connect

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # the stub names each option
        """
        Send a request; the arguments are those of requests.

        A ``url`` without a host is a path below the connection's host. Redirects are not followed unless asked for.
        """
        if not urlsplit(url).netloc:
            url = f"{self._endpoint.base_url}/{url.lstrip('/')}"
        options.setdefault("allow_redirects", False)
        options["timeout"] = options.get("timeout") or self._endpoint.request_timeout
        if options.get("verify") is None and self._trusted_ca:
            options["verify"] = self._trusted_ca
        if self._endpoint.proxy and not options.get("proxies"):
            options["proxies"] = {"http": self._endpoint.proxy, "https": self._endpoint.proxy}
        return super().request(method, url, **options)

    def get(self, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # the stub names each option
        """Send a GET; requests' own would follow redirects."""
        return self.request("GET", url, **options)

    def options(self, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # the stub names each option
        """Send an OPTIONS, likewise."""
        return self.request("OPTIONS", url, **options)

    def ask(self, question: Question) -> Answer:
        """
        Send a question and return its answer; reading stops at the connection's size limit.

        :raises ServiceUnavailable: the service could not be reached or stopped answering.
        :raises RequestRejected: the connection has no key and the route needs one.
        """
        endpoint, limit = self._endpoint, self._endpoint.max_reply_bytes
        headers = endpoint.headers(question)
        until = time.monotonic() + endpoint.request_timeout
        try:
            with self.request(
                question.method, endpoint.url(question), headers=headers, json=question.json, stream=True
            ) as response:
                body = bytearray()
                while len(body) <= limit and (piece := _read_some(response.raw)):
                    body += piece
                    if time.monotonic() > until:
                        raise TimeoutError
                return endpoint.answer(response.status_code, response.headers, bytes(body[: limit + 1]), time.time())
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise ServiceUnavailable(endpoint.no_answer(question, error), service=endpoint.service.name) from None

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a redirect leads; None if that is no URL. requests looks even where it is not to follow."""
        try:
            place = super().get_redirect_target(resp)
            _ = urlsplit(place or "").port
        except ValueError:
            return None
        return place

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Take the key off a request that a redirect sends to another host; on ours, keep .netrc from replacing it."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # has no stub
        for name in self._endpoint.key_header():
            prepared_request.headers.pop(name, None)
        self._add_key(prepared_request)

    def _add_key(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._is_ours(prepared.url or ""):
            prepared.headers.update(self._endpoint.key_header())
        return prepared

    def _is_ours(self, url: str) -> bool:
        theirs, ours = urlsplit(url), urlsplit(self._endpoint.base_url)
        return (theirs.scheme, theirs.hostname, theirs.port) == (ours.scheme, ours.hostname, ours.port)


def missing_connection(conn_id: str) -> str:
    """Return the text for a connection that is not defined."""
    return (
        f"Connection '{conn_id}' is not defined. Make it in the UI (Admin, Connections; type Neurolinker, Aitronos or Unsiloed; "
        f"the API key is the password), or: airflow connections add {conn_id} --conn-type neurolinker --conn-password <API key>"
    )


def _read_some(raw: Any) -> bytes:
    """Return what has come of a body; ``iter_content`` fills its piece, and a socket's time-out counts anew for each byte."""
    read = getattr(raw, "read1", raw.read)  # urllib3 1.26 has none: there a body that drips takes as long as it likes
    return bytes(read(_PIECE, decode_content=True))


def _is_worth_a_wait(error: BaseException) -> bool:
    return isinstance(error, ServiceUnavailable) and (error.retry_after or 0) <= _LONGEST_PAUSE


def _pause(attempt: tenacity.RetryCallState) -> float:
    error = attempt.outcome.exception() if attempt.outcome else None
    if isinstance(error, ServiceUnavailable) and error.retry_after is not None:
        return error.retry_after
    return tenacity.wait_random_exponential(multiplier=1, max=_LONGEST_PAUSE)(attempt)
