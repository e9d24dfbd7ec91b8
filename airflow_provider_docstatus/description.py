"""
What must be known of a vendor, and the pure half of talking to one.

A *talk* is a generator that yields a :class:`Question`, is sent the :class:`~.reply.Answer`, and returns what was
learned. The hook and the poller each drive the same talks; they differ in the line that sends and in nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, quote, urlsplit

from airflow_provider_docstatus.exceptions import (
    DocumentFailed,
    KeyRejected,
    NoData,
    NoSuchRoute,
    NotFinished,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.reply import (
    Answer,
    count,
    dig,
    first,
    https_link,
    one_line,
    printable,
    small_fact,
    text_in,
    utc_time,
    wait_hint,
)
from airflow_provider_docstatus.status import LEFT_OUT, DocumentStatus, State

T = TypeVar("T")

ID_PARAMETERS = ("request_id", "document_id", "job_id")
_LONGEST_ID = 512
_SHOWN_OF_A_BAD_ID = 80


@dataclass(frozen=True, kw_only=True)
class Question:
    """
    One request to send.

    :param path: the path below the connection's host, prefix included, ids percent-encoded.
    :param label: the same for messages (``GET /v1/request-status/{request_id}``), without the id.
    :param query: query parameters.
    :param json: a JSON body; the request is then a POST that only reads, so it may be repeated.
    :param key_optional: whether the vendor says the route needs no key.
    :param odd_codes: codes of 400 and more that are an answer on this route, not an error.
    """

    path: str
    label: str
    query: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    key_optional: bool = False
    odd_codes: Collection[int] = ()

    @property
    def method(self) -> str:
        """``GET``, or ``POST`` when there is a body."""
        return "GET" if self.json is None else "POST"

    def below(self, prefix: str, *, instead_of: str) -> Question:
        """Return the same question below another path prefix."""
        path = prefix + self.path.removeprefix(instead_of)
        return replace(self, path=path, label=self.label.replace(f" {instead_of}/", f" {prefix}/", 1))


Talk = Generator[Question, Answer, T]
#: The status last read about each id, beside what it was read from (a list's item) or the hash of that (a reply, which may be
#: large): what says the same again need not be read again.
Known = dict["Target", tuple[object, DocumentStatus]]
_NO_DETAILS: Mapping[str, Any] = {}


class Target(NamedTuple):
    """What a wait is about: a route of the service, and the id to ask for on it."""

    route: str
    id: str


@dataclass(frozen=True, kw_only=True)
class ResultRoute:
    """
    Where the data of a finished job is.

    :param path: the path with ``{id}``.
    :param query: query parameters.
    :param take: dotted path of the data in the reply; names separated by a space take several; empty takes all.
    :param has_status: whether the reply is the status reply as well, so that one call answers both.
    :param codes: odd codes of this route and the state they stand for.
    """

    path: str
    take: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    has_status: bool = True
    codes: Mapping[int, State] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Route:
    """
    One status route.

    :param kind: what the id names (str).
    :param parameter: the sensor's parameter for the id (one of ``request_id``, ``document_id``, ``job_id``).
    :param path: the path with ``{id}``, below the prefix.
    :param docs: the vendor's page (URL).
    :param query: query parameters.
    :param key_optional: whether the vendor says the route needs no key (default False).
    :param ids: dotted paths of the id in the reply, to notice an answer about something else.
    :param errors: dotted paths of the vendor's text about a failed job.
    :param links: dotted paths of the vendor's page of it.
    :param times: our time fields and the dotted paths they are read from.
    :param counters: the vendor's counters, by name.
    :param children: dotted path of the list of documents or jobs inside, empty if there is none.
    :param child: how an item of that list is read.
    :param details: small facts by our name and their dotted paths.
    :param parent: the route on which one question answers for many of these, and the detail that holds its id.
    :param result: where the data is; None if the service's ``contents`` says it.
    """

    kind: str
    path: str
    parameter: str = "job_id"
    docs: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    key_optional: bool = False
    ids: tuple[str, ...] = ("job_id",)
    errors: tuple[str, ...] = ("error", "error_message", "message")
    links: tuple[str, ...] = ()
    times: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counters: tuple[str, ...] = ()
    children: str = ""
    child: Route | None = None
    details: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parent: tuple[str, str] | None = None
    result: ResultRoute | None = None


@dataclass(frozen=True, kw_only=True)
class ListRoute:
    """
    A route that lists jobs.

    :param path: the path below the prefix.
    :param items: dotted path of the list.
    :param item: how one is read.
    :param filters: the query parameters the vendor documents.
    :param page_size: the largest page the vendor allows; None where it has no paging.
    """

    path: str
    items: str
    item: Route
    filters: tuple[str, ...] = ()
    page_size: int | None = None
    key_optional: bool = False


@dataclass(frozen=True, kw_only=True)
class ManyRoute:
    """
    A route that answers for several ids at once, ``path?parameter=a,b``, in the words of one of the single routes.

    :param route: the single route.
    :param path: the path below the prefix.
    :param parameter: the query parameter that takes the ids, separated by commas.
    :param items: dotted path of the list in the reply.
    :param query: more query parameters.
    :param key_optional: whether the vendor says the route needs no key.
    :param longest_query: characters of ids in one question (int).
    """

    route: str
    path: str
    parameter: str
    items: str
    query: Mapping[str, str] = field(default_factory=dict)
    key_optional: bool = False
    longest_query: int = 1500


@dataclass(frozen=True, kw_only=True)
class Content:
    """
    One choice of ``content=`` where a vendor has several: a POST with document ids.

    :param path: the path below the prefix.
    :param options: more keys of its body.
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ServiceDescription:
    """
    Everything that is special about one vendor, as data.

    :param name: the service's name and connection type (str).
    :param title: its name for people (str).
    :param host: the default host (URL).
    :param docs: the vendor's API pages (URL).
    :param auth: ways to send the key, by name: header and template. The first is the default.
    :param routes: the status routes, by operation where the service has several, else by kind.
    :param words: the vendor's status words in lower case, and what they mean.
    :param prefixes: path prefixes that are documented; the first is used until the service shows another.
    :param operations: other names of routes, as the vendor's pages use them.
    :param settle: corrects a state by what else is in the reply (counters, flags).
    :param error_text: reads the vendor's error envelope; None gives None to fall back to the common shapes.
    :param is_quota: whether a 429 is a used-up account instead of too many calls.
    :param wait_headers: vendor headers (lower case) that say how long to wait, after ``Retry-After``.
    :param left_headers: the vendor's headers (lower case) for how many calls are left, and when there are more (epoch).
    :param calls_per_minute: the documented limit of one key in any 60 s; None if there is none.
    :param calls_per_day: likewise in 24 h.
    :param poll_interval: seconds between two questions about one id.
    :param least_poll_interval: seconds; the vendor asks not to poll more often.
    :param grace: seconds after the start in which an unknown id may still appear.
    :param retention: what is known about how long results are kept (text for messages).
    :param keeps_for: seconds after which the vendor documents that it answers 404 for a job; None if it documents none.
    :param many: the route that answers for several ids at once, None if there is none.
    :param listing: the route that lists jobs, None if there is none.
    :param contents: choices of ``content=``; empty if there is none. The first is the default.
    :param read_item: reads one item of a content reply: (its data, None) or (None, error text).
    :param evidence: what the description rests on (text for the README).
    """

    name: str
    title: str
    host: str
    docs: str
    auth: Mapping[str, tuple[str, str]]
    routes: Mapping[str, Route]
    words: Mapping[str, State]
    prefixes: tuple[str, ...] = ("",)
    operations: Mapping[str, str] = field(default_factory=dict)
    settle: Callable[[State, DocumentStatus, Mapping[str, Any]], State] = lambda state, _status, _body: state
    error_text: Callable[[Any], str | None] = lambda _body: None
    is_quota: Callable[[Any, Answer], bool] = lambda _body, _answer: False
    wait_headers: tuple[str, ...] = ()
    left_headers: tuple[str, str] | None = None
    calls_per_minute: float | None = None
    calls_per_day: float | None = None
    poll_interval: float = 10.0
    least_poll_interval: float = 2.0
    grace: float = 15.0
    retention: str = "not documented"
    keeps_for: float | None = None
    many: ManyRoute | None = None
    listing: ListRoute | None = None
    contents: Mapping[str, Content] = field(default_factory=dict)
    read_item: Callable[[Mapping[str, Any], str], tuple[Any, str | None]] | None = None
    evidence: str = ""

    def __post_init__(self) -> None:
        """Refuse a description that could not tell how a job ends."""
        missing = {State.RUNNING, State.SUCCEEDED, State.FAILED} - set(self.words.values())
        if missing:
            raise ValueError(f"{self.name}: no vendor word means {', '.join(sorted(missing))}")
        if any(word != word.strip().lower() for word in self.words):
            raise ValueError(f"{self.name}: status words are written in lower case")

    # -- which id, on which route ------------------------------------------------------------------------------

    @property
    def has_operations(self) -> bool:
        """Whether one id parameter is used on several routes, so that ``operation`` must choose."""
        return len(self.routes) > len({route.parameter for route in self.routes.values()})

    def target(self, ids: Mapping[str, object], operation: str | None = None) -> Target:
        """
        Return what is asked for.

        :param ids: the value of each of ``request_id``, ``document_id`` and ``job_id`` (None if not given).
        :param operation: the route, where the service has several for one kind of id.
        :raises RequestRejected: no id or several, one of the wrong kind, an id that cannot be one, an unknown
            operation: the DAG's author must change it.
        """
        given = {name: value for name, value in ids.items() if value is not None}
        mine = list(dict.fromkeys(route.parameter for route in self.routes.values()))
        if len(given) != 1:
            problem = f"got {' and '.join(given)}" if given else "got none (or an upstream task returned None)"
            raise RequestRejected(f"{self.title}: give exactly one of {', '.join(mine)}; {problem}.", service=self.name)
        ((parameter, value),) = given.items()
        if parameter not in mine:
            raise RequestRejected(
                f"{self.title} has no {parameter}; use {' or '.join(mine)} with this connection.", service=self.name
            )
        return Target(route=self._route_name(parameter, operation), id=self.checked_id(parameter, value))

    def _route_name(self, parameter: str, operation: str | None) -> str:
        if not self.has_operations:
            if operation:
                raise RequestRejected(f"{self.title} has no operations; leave operation={operation!r} out.", service=self.name)
            return next(name for name, route in self.routes.items() if route.parameter == parameter)
        choices = ", ".join(self.routes)
        if not operation:
            raise RequestRejected(
                f"{self.title} keeps jobs on several routes: say operation= (one of {choices}), or set 'operation' in "
                "the connection's extra. A wrong route answers 404 like an unknown id.",
                service=self.name,
            )
        name = self.operation_name(operation)
        if name not in self.routes:
            raise RequestRejected(f"{self.title} has no operation {operation!r}; use one of {choices}.", service=self.name)
        return name

    def operation_name(self, operation: object) -> str:
        """Return our name of an operation, which may be given by another that the vendor's pages use."""
        name = str(operation).strip().lower()
        return self.operations.get(name, name)

    def checked_id(self, parameter: str, value: object) -> str:
        """Return an id as text. Raises RequestRejected when it cannot be one; the DAG's author must change it."""
        shown = (one_line(repr(value)) or "")[:_SHOWN_OF_A_BAD_ID]  # a download link, say, without its signature
        remedy = None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            kind = type(value).__name__
            shown = f"<{kind}>"  # its text may be a document's
            remedy = f"is a {kind}; it must be the id as text. Pass several as a list, or map: .expand({parameter}=[...])"
        else:
            text = str(value)
            if not text.strip():
                remedy = "is empty; did the submitting task return the id?"
            elif text.strip() in ("None", "null", "nan", "undefined"):
                remedy = "was rendered from an empty value; pass the upstream task's .output, and let it return the id"
            elif text.lstrip()[:1] in "[{(":
                remedy = f"is a list printed as text; pass the upstream task's .output, or map: .expand({parameter}=...)"
            elif text in (".", "..") or any(c in "/\\?#%," or c.isspace() or not c.isprintable() for c in text):
                remedy = "has characters that no id has; give the bare id, not a path or URL"
            elif len(text) > _LONGEST_ID:
                remedy = f"is longer than {_LONGEST_ID} characters; give the bare id"
            else:
                return text
        raise RequestRejected(f"{self.title}: {parameter}={shown} {remedy}.", service=self.name)

    # -- talks -------------------------------------------------------------------------------------------------

    def ask_status(self, target: Target, prefix: str, known: Known | None = None) -> Talk[DocumentStatus]:
        """Ask for the status of one id."""
        question = self.status_question(target, prefix)
        answer = yield question
        before = known.get(target) if known else None
        if before is not None and answer.code == 200 and hash(answer.body) == before[0]:
            return before[1]
        status = self.read_status(target, question, answer)
        if known is not None:
            known[target] = (hash(answer.body), status)
        return status

    def answers_together(self, route_name: str) -> bool:
        """Whether the service describes one question for several ids of a route."""
        return self.many is not None and self.many.route == route_name

    def chunks(self, ids: list[str]) -> Iterator[list[str]]:
        """Cut ids into lists that one question for several ids can hold, by the length of its URL."""
        return _chunks(ids, self.many.longest_query if self.many else 0)

    def ask_together(self, route_name: str, ids: list[str], prefix: str) -> Talk[dict[str, DocumentStatus]]:
        """
        Ask for several ids in one question; return what was answered, which may be less.

        :raises NoSuchRoute: the deployment has no such route.
        """
        many, route = self.many, self.routes[route_name]
        assert many is not None  # the caller asked answers_together  # noqa: S101
        question = Question(
            path=f"{prefix}{many.path}",
            label=f"GET {prefix}{many.path}",
            query={many.parameter: ",".join(ids), **many.query},
            key_optional=many.key_optional,
            odd_codes=_NOT_THIS_ROUTE_CODES,
        )
        body = self._read_body(question, (yield question), about={})
        items = dig(body, many.items)
        if not isinstance(items, list):
            raise UnexpectedReply(f"{self.title}: {question.label} answered without a list '{many.items}'.", service=self.name)
        found = {}
        for item in items:
            asked = str(first(item, route.ids))
            word = dig(item, "status")
            if asked in ids and isinstance(word, str) and word.strip().lower() in self.words:
                with suppress(UnexpectedReply):  # what makes no sense is asked alone, as is what was left out
                    found[asked] = self.read_body(Target(route=route_name, id=asked), item, question.label)
        return found

    def parent_of(self, status: DocumentStatus, route_name: str) -> Target | None:
        """Return what a status belongs to and can be asked through: a document's request."""
        parent = self.routes[route_name].parent
        parent_id = status.details.get(parent[1]) if parent else None
        if parent is None or not isinstance(parent_id, str):
            return None
        try:
            return Target(route=parent[0], id=self.checked_id(parent[1], parent_id))
        except RequestRejected:  # the vendor's text is no more to be trusted than the user's
            return None

    def ask_through(
        self, parent: Target, route_name: str, prefix: str, wanted: Container[Target], known: Known | None = None
    ) -> Talk[dict[Target, DocumentStatus]]:
        """Ask for a parent; return its wanted children as if each had been asked for, but those whose word nobody knows."""
        about, route = self.routes[route_name].parent, self.routes[parent.route]
        assert about is not None  # parent_of gave it  # noqa: S101
        assert route.child is not None  # noqa: S101 -- a parent has children
        question = self.status_question(parent, prefix)
        answer = yield question
        body, _, _ = self._checked(parent, self._read_body(question, answer, about={"id": parent.id}), question.label)
        found = {}
        for child_id, item in _by_id(dig(body, route.children), route.child):
            target = Target(route=route_name, id=child_id)
            if target not in wanted:
                continue
            before = known.get(target) if known else None
            if before is not None and item == before[0]:
                found[target] = before[1]
                continue
            child = self._read_child(item, route.child, id=child_id, details={about[1]: parent.id})
            if child.word.lower() in self.words:
                found[target] = child
                if known is not None:
                    known[target] = (item, child)
        return found

    def ask_result(
        self, target: Target, prefix: str, *, status: DocumentStatus | None, content: str | None, options: Mapping[str, Any]
    ) -> Talk[tuple[DocumentStatus, dict[str, Any], dict[str, str]]]:
        """
        Ask for the data of a finished id.

        :param status: the final status, if it is known already: saves a call where data and status are apart.
        :param content: which of the service's contents, None for the default.
        :param options: more keys for the request's body, where the vendor has some (``content_types``, ...).
        :return: the status, the data by id, and the vendor's error text by id for what could not be fetched.
        """
        route = self.routes[target.route]
        self.checked_content(content)
        if status is not None and LEFT_OUT in status.details:
            status = None  # it came through an event that does not name all of its documents
        if status is None and not (route.result and route.result.has_status):
            status = yield from self.ask_status(target, prefix)
        if self.contents:
            assert status is not None  # no such service has has_status  # noqa: S101
            self._refuse_unfinished(status)
            documents = status.children if status.kind == "request" else (status,)
            failed = {one.id: one.message or one.word for one in documents if one.state in (State.RUNNING, *_ENDED_BADLY)}
            wanted = [one.id for one in documents if one.id not in failed]
            items, errors = yield from self.ask_contents(wanted, prefix, content=content, options=options)
            if not documents:
                raise self.no_data(status, "it lists no documents")
            return status, items, {**failed, **errors}
        if options:
            raise RequestRejected(f"{self.title} has no content options; leave them out.", service=self.name, id=target.id)
        if status is not None and status.kind == "batch":
            items, errors = yield from self._ask_children(status, prefix)
            if not items and not errors:
                raise self.no_data(status, "it lists no jobs")
            return status, items, errors
        status, data = yield from self._ask_result(target, status, prefix)
        return status, {target.id: data}, {}

    def _ask_result(self, target: Target, status: DocumentStatus | None, prefix: str) -> Talk[tuple[DocumentStatus, Any]]:
        result = self.routes[target.route].result
        assert result is not None  # the contract test: every route has contents or a result  # noqa: S101
        if status is not None:
            self._refuse_unfinished(status)
        question = Question(
            path=prefix + result.path.format(id=quote(target.id, safe="")),
            label=f"GET {prefix}{result.path}",
            query=result.query,
            key_optional=self.routes[target.route].key_optional,
            odd_codes=result.codes,
        )
        answer = yield question
        state = None if answer.is_html else result.codes.get(answer.code)  # a proxy's page says nothing of the job
        if state is not None:
            text = self._text(answer) or f"HTTP {answer.code}"
            odd = DocumentStatus(
                service=self.name,
                kind=self.routes[target.route].kind,
                id=target.id,
                state=state,
                word=str(answer.code),
                message=text,
            )
            self._refuse_unfinished(odd)
        about: dict[str, Any] = {"service": self.name, "id": target.id}
        body = self._read_body(question, answer, about=about)
        if result.has_status:
            status = self.read_body(target, body, question.label)
            self._refuse_unfinished(status)
        assert status is not None  # either known before or read just now  # noqa: S101
        if not result.has_status and (body.get("success") is False or dig(body, "result.success") is False):
            inside = body.get("result")
            said = (text_in(inside) if isinstance(inside, Mapping) else None) or self.error_text(body) or text_in(body)
            raise self.no_data(status, f"{question.label} says success=false: {said or 'the vendor gave no reason'}")
        data = _taken(body, result.take)
        if data is None or data in ({}, [], ""):
            raise self.no_data(status, f"{question.label} holds no {result.take or 'data'}")
        return status, data

    def no_data(self, status: DocumentStatus, reason: str) -> NoData:
        """Return the error for a document that is finished, but of which there is nothing to fetch."""
        return NoData(
            f"{self.title} says {status.kind} {status.id} is {status.word!r}, but gives no data: {reason}. Look at the "
            "document in the vendor's own tools.",
            service=self.name,
            id=status.id,
            state=status.state,
            link=status.link,
        )

    def _ask_children(self, status: DocumentStatus, prefix: str) -> Talk[tuple[dict[str, Any], dict[str, str]]]:
        items: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for child in status.children:
            try:
                target = Target(route="job", id=self.checked_id("job_id", child.id))  # the vendor's list is untrusted text
            except RequestRejected as error:
                errors[child.id] = str(error)
                continue
            try:
                _, items[child.id] = yield from self._ask_result(target, replace(child, kind="job"), prefix)
            except (DocumentFailed, NotFinished, NotFound) as error:
                errors[child.id] = str(error)
        return items, errors

    def ask_contents(
        self, ids: Sequence[str], prefix: str, *, content: str | None, options: Mapping[str, Any]
    ) -> Talk[tuple[dict[str, Any], dict[str, str]]]:
        """
        Ask for the data of finished documents, a few at a time, where data has a route of its own.

        :param content: which of the service's contents, None for the default.
        :param options: more keys for the request's body.
        :return: the data by id, and the vendor's error text by id.
        """
        choice = self.contents[self.checked_content(content) or next(iter(self.contents))]
        assert self.read_item is not None  # the contract test: contents need it  # noqa: S101
        items: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for start in range(0, len(ids), _DOCUMENTS_AT_ONCE):
            chunk = list(ids[start : start + _DOCUMENTS_AT_ONCE])
            question = Question(
                path=prefix + choice.path,
                label=f"POST {prefix}{choice.path}",
                json={"document_ids": chunk, **choice.options, **options},
            )
            body = self._read_body(question, (yield question), about={})
            replies = dig(body, "results")
            if not isinstance(replies, list):
                raise UnexpectedReply(f"{self.title}: {question.label} answered without a list 'results'.", service=self.name)
            by_id = {str(item.get("document_id")): item for item in replies if isinstance(item, Mapping)}
            for document_id in chunk:
                item = by_id.get(document_id)
                data, error = self.read_item(item, question.label) if item is not None else (None, "not in the reply")
                if error is None:
                    items[document_id] = data
                else:
                    errors[document_id] = error
        return items, errors

    def checked_content(self, content: str | None) -> str | None:
        """Return a choice of ``content=``. Raises RequestRejected for what is none; the DAG's author must change it."""
        if content is not None and content not in self.contents:
            known = f"use one of {', '.join(self.contents)}" if self.contents else "leave it out"
            raise RequestRejected(f"{self.title} has no content={content!r}; {known}.", service=self.name)
        return content

    def ask_list(self, prefix: str, *, filters: Mapping[str, str], limit: int | None, offset: int) -> Talk[list[DocumentStatus]]:
        """Ask for the jobs of the account, page by page."""
        listing = self.listing
        if listing is None:
            raise RequestRejected(f"{self.title} documents no route that lists jobs; ask by id.", service=self.name)
        unknown = sorted(set(filters) - set(listing.filters))
        if unknown:
            known = f"it knows {', '.join(listing.filters)}" if listing.filters else "it has no filters"
            raise RequestRejected(f"{self.title} cannot list by {', '.join(unknown)}; {known}.", service=self.name)
        if listing.page_size is None and offset:
            raise RequestRejected(f"{self.title}'s list has no pages; leave offset out.", service=self.name)
        found: list[DocumentStatus] = []
        while limit is None or len(found) < limit:
            paging = {}
            if listing.page_size is not None:
                size = listing.page_size if limit is None else min(listing.page_size, limit - len(found))
                paging = {"limit": str(size), "offset": str(offset)}
            question = Question(
                path=prefix + listing.path,
                label=f"GET {prefix}{listing.path}",
                query={**filters, **paging},
                key_optional=listing.key_optional,
                odd_codes=_NO_ROUTE_CODES,
            )
            answer = yield question
            if answer.code in _NO_ROUTE_CODES:
                raise RequestRejected(
                    f"{self.title} cannot list jobs here: {question.label} answered {answer.code}, this deployment has no "
                    "such route. Ask by id.",
                    service=self.name,
                )
            body = self._read_body(question, answer, about={"service": self.name})
            page = dig(body, listing.items)
            if not isinstance(page, list):
                raise UnexpectedReply(
                    f"{self.title}: {question.label} answered without a list '{listing.items}'.", service=self.name
                )
            seen = {status.id for status in found}
            fresh = [status for status in self._read_children(page, listing.item) if status.id not in seen]
            found.extend(fresh)
            offset += len(page)
            # no end to a list whose deployment ignores the offset but for a page that brings nothing new
            if listing.page_size is None or not fresh or dig(body, "pagination.has_more") is not True:
                break
        return found if limit is None else found[:limit]

    # -- reading -----------------------------------------------------------------------------------------------

    def status_question(self, target: Target, prefix: str) -> Question:
        """Return the request that asks for one id's status."""
        route = self.routes[target.route]
        return Question(
            path=prefix + route.path.format(id=quote(target.id, safe="")),
            label=f"GET {prefix}{route.path.replace('{id}', '{' + route.parameter + '}')}",
            query=route.query,
            key_optional=route.key_optional,
        )

    def read_status(self, target: Target, question: Question, answer: Answer) -> DocumentStatus:
        """
        Read the answer to a status question.

        :raises ServiceUnavailable: ask again later (nobody must act).
        :raises RequestRejected: key, quota, unknown id, refused request (the DAG's author).
        :raises UnexpectedReply: HTML (below 500), broken JSON, another id, an unknown word (this package, or a proxy).
        """
        body = self._read_body(question, answer, about={"service": self.name, "id": target.id})
        return self.read_body(target, body, question.label)

    def read_body(self, target: Target, body: Mapping[str, Any], label: str) -> DocumentStatus:
        """Read the JSON object of a status reply."""
        route = self.routes[target.route]
        body, word, state = self._checked(target, body, label)
        details = {"operation": target.route} if self.has_operations else {}
        return self._settled(route, body, id=target.id, state=state, word=word, details=details)

    def _settled(self, route: Route, body: Mapping[str, Any], *, state: State, **more: Any) -> DocumentStatus:
        """Read a reply whose word means ``state``, and correct that by what else it says."""
        status = self._facts(route, body, state=state, **more)
        settled = self.settle(state, status, body)
        # once more, for the vendor's text about a failure
        return status if settled is state else self._facts(route, body, state=settled, **more)

    def _checked(self, target: Target, body: Mapping[str, Any], label: str) -> tuple[Mapping[str, Any], str, State]:
        """Return a status reply with its word and what that means, if it is about the target and makes sense."""
        route = self.routes[target.route]
        about: dict[str, Any] = {"service": self.name, "id": target.id}
        if isinstance(body.get("data"), Mapping) and "status" not in body:
            body = body["data"]  # the Neurolinker SDK accepts it nested (helpers.py); harmless for the others
        word = body.get("status")
        state = self.words.get(word.strip().lower()) if isinstance(word, str) else None
        # Vendors send false beside "failed" too, so it decides nothing there; beside a word of success it contradicts.
        is_told = isinstance(word, str) and state is not State.SUCCEEDED
        is_refused = not is_told or (state not in _ENDED_BADLY and isinstance(body.get("error"), Mapping))
        if body.get("success") is False and is_refused:
            text = self.error_text(body) or text_in(body) or "no text"
            raise UnexpectedReply(f"{self.title} answered {label} for {target.id} with success=false: {text}", **about)
        answered_id = first(body, route.ids)
        if answered_id is not None and str(answered_id).lower() != target.id.lower():
            raise UnexpectedReply(
                f"{self.title} answered {label} for {target.id} with another id, {one_line(str(answered_id))!r}.", **about
            )
        if not isinstance(word, str) or not word.strip():
            raise UnexpectedReply(f"{self.title} answered {label} for {target.id} without a status word.", **about)
        if state is None:
            shown = (one_line(word) or "")[:60]
            raise UnknownWord(
                f"{self.title} calls {target.id} {shown!r}, a status word nobody has taught this package. If you know what "
                f'it means, add it to the connection\'s extra: "status_words": {{"{shown.lower()}": "running"}} '
                f"(or {', '.join(state.value for state in State if state.is_final)}).",
                word=shown,
                **about,
            )
        return body, word, state

    def _facts(
        self,
        route: Route,
        body: Mapping[str, Any],
        *,
        id: str,  # noqa: A002 -- the field's word
        state: State,
        word: str,
        details: Mapping[str, Any],
    ) -> DocumentStatus:
        counted = {name: count(body.get(name)) for name in route.counters}
        facts = {name: small_fact(first(body, paths)) for name, paths in route.details.items()}
        text = first(body, (*route.errors, "error")) if state.is_final and state is not State.SUCCEEDED else None
        if text is None and state in _ENDED_BADLY and dig(body, "result.success") is False:
            text = text_in(body["result"])
        children = dig(body, route.children) if route.children else None
        return DocumentStatus(
            service=self.name,
            kind=route.kind,
            id=id,
            state=state,
            word=printable(word.strip()[:60]),
            message=(text_in({"error": text}) if text else None),
            counters={name: number for name, number in counted.items() if number is not None},
            children=tuple(self._read_children(children, route.child)) if route.child else (),
            link=https_link(first(body, route.links)),
            details={**details, **{name: fact for name, fact in facts.items() if fact is not None}},
            **{name: utc_time(first(body, paths)) for name, paths in route.times.items()},
        )

    def _read_children(self, items: Any, route: Route) -> Iterator[DocumentStatus]:
        """Read the documents of a request or a list."""
        for child_id, item in _by_id(items, route):
            yield self._read_child(item, route, id=child_id)

    def _read_child(
        self,
        item: Mapping[str, Any],
        route: Route,
        *,
        id: str,  # noqa: A002 -- the field's word
        details: Mapping[str, Any] = _NO_DETAILS,
    ) -> DocumentStatus:
        """Read one of them; one whose word nobody knows counts as running, never as done."""
        word = item.get("status")
        word = word if isinstance(word, str) else ""
        state = self.words.get(word.strip().lower(), State.RUNNING)
        read = self._settled if state is State.SUCCEEDED else self._facts  # a list has no counters to judge "partial" by
        return read(route, item, id=id, state=state, word=word, details=details)

    def _refuse_unfinished(self, status: DocumentStatus) -> None:
        about: dict[str, Any] = {"service": self.name, "id": status.id, "state": status.state, "link": status.link}
        if not status.state.is_final:
            raise NotFinished(
                f"{self.title} {status.kind} {status.id} is not finished ({status.word}); wait for it first "
                "(DocStatusSensor, or wait_for_completion=True).",
                **about,
            )
        if status.state in _ENDED_BADLY:
            text = status.message or "the vendor gave no reason"
            raise DocumentFailed(f"{self.title} {status.kind} {status.id} {status.state}: {text}", **about)

    def _read_body(self, question: Question, answer: Answer, *, about: dict[str, Any]) -> Mapping[str, Any]:
        """Return the JSON object of a good answer; every other answer is raised as the error it is."""
        about = {"service": self.name, **about}
        self.refuse_unavailable(question, answer)
        if answer.code in question.odd_codes and answer.code in _NOT_THIS_ROUTE_CODES:
            raise NoSuchRoute(f"{self.title} has no {question.label} here ({answer.code}).", **about)
        what = f"{self.title} answered {question.label}" + (f" for {about['id']}" if about.get("id") else "")
        if 300 <= answer.code < 400:
            place = one_line(_place(answer).hostname or "elsewhere")
            raise UnexpectedReply(
                f"{what} with a redirect ({answer.code}) to {place}; redirects are not followed, the key goes to one host. "
                "Put the final host into the connection.",
                **about,
            )
        if answer.code >= 400:
            self._raise_rejection(what, answer, about)
        if answer.is_too_large:
            raise UnexpectedReply(
                f"{what} with more than {answer.limit} bytes; raise 'max_reply_bytes' in the connection's extra if that is "
                "right.",
                **about,
            )
        try:
            body = answer.json()
        except ValueError:
            kind = answer.headers.get("content-type", "no content type")
            kind = kind if _CONTENT_TYPE.fullmatch(kind) else "an odd content type"
            raise UnexpectedReply(
                f"{what} with {len(answer.body)} bytes that are not JSON ({kind}); is there a proxy or login page "
                "in between, or is the host wrong?",
                **about,
            ) from None
        if not isinstance(body, Mapping):
            raise UnexpectedReply(f"{what} with JSON that is not an object ({type(body).__name__}).", **about)
        return body

    def refuse_unavailable(self, question: Question, answer: Answer) -> None:
        """Raise ServiceUnavailable when the answer only says to ask again later; both senders retry on it."""
        is_odd = answer.code in question.odd_codes and not answer.is_html
        if is_odd or (answer.code not in _ASK_AGAIN_CODES and answer.code < 500):
            return
        if answer.code == _TOO_MANY and self.is_quota(answer.json_or_text(), answer):
            return
        error = RateLimited if answer.code == _TOO_MANY else ServiceUnavailable
        text = self._text(answer)
        raise error(
            f"{self.title} answered {question.label} with {answer.code}" + (f": {text}" if text else ""),
            retry_after=wait_hint(answer, self.wait_headers),
            service=self.name,
        )

    def _raise_rejection(self, what: str, answer: Answer, about: dict[str, Any]) -> None:
        if answer.is_html:  # no vendor's refusal is a web page, that of a key included: they are JSON or plain text
            raise UnexpectedReply(
                f"{what} with {answer.code} and a web page; is there a proxy or login page in between, or is the host wrong?"
                + (" If not, check the key (password) of the connection." if answer.code in (401, 403) else ""),
                **about,
            )
        text = self._text(answer)
        said = f"{what} with {answer.code}" + (f": {text}" if text else "")
        said = said.rstrip(".")
        if answer.code == 401:
            raise KeyRejected(f"{said}. Check the key (password) of the connection.", **about)
        if answer.code == 403:
            raise KeyRejected(f"{said}. Check the key of the connection, and that its account may read this id.", **about)
        if answer.code in (402, _TOO_MANY):
            raise QuotaExhausted(f"{said}. The account's quota or credit is used up; waiting does not help.", **about)
        if answer.code in (404, 410):
            raise NotFound(
                f"{said}. Check the id, the kind of id"
                + (", the operation" if self.has_operations else "")
                + f" and the account; results may also have expired (retention: {self.retention}).",
                is_gone=answer.code == 410,
                **about,
            )
        raise RequestRejected(f"{said}. Check the id and the connection.", **about)

    def _text(self, answer: Answer) -> str | None:
        if answer.is_too_large or answer.is_html:
            return None
        body = answer.json_or_text()
        return self.error_text(body) or text_in(body)

    def ask_other_prefix(self, question: Question, answer: Answer, prefix: str, base_url: str) -> Talk[tuple[Answer, str]]:
        """
        Ask below the other prefix where an answer says that this one does not exist here.

        One such answer may be a slip of a gateway. Only a JSON object below the other prefix shows that the service is there;
        a refusal there is believed when this prefix is denied once more, and teaches nothing.

        :return: the answer that counts, and the prefix to use from now on.
        """
        other = self.other_prefix(question, answer, prefix, base_url)
        if other is None:
            return answer, prefix
        moved = question.below(other, instead_of=prefix)
        second = yield moved
        if second.code in _ASK_AGAIN_CODES or second.code >= 500:
            return second, prefix
        if 200 <= second.code < 300 and isinstance(second.json_or_text(), Mapping):
            return second, other
        if second.code < 400 or second.is_html or self.other_prefix(moved, second, other, base_url) is not None:
            return answer, prefix
        again = yield question
        is_denied = self.other_prefix(question, again, prefix, base_url) is not None
        return (second if is_denied else again), prefix

    def other_prefix(self, question: Question, answer: Answer, prefix: str, base_url: str) -> str | None:
        """
        Return the other documented prefix when the answer says that this one does not exist here.

        That is a redirect to the same host below the other prefix, a 405, or the web framework's own 404 body: an
        unknown id answers 404 as well, so a 404 alone says nothing.
        """
        others = [other for other in self.prefixes if other != prefix]
        if not others or not question.path.startswith(prefix):
            return None
        if 300 <= answer.code < 400:
            place, base = _place(answer), urlsplit(base_url)
            if place.netloc not in ("", base.netloc) or place.scheme not in ("", base.scheme):
                return None
            path = place.path.removeprefix(base.path)
            return next((other for other in others if path == other + question.path.removeprefix(prefix)), None)
        return others[0] if answer.code == 405 or answer.is_no_route else None


_ENDED_BADLY = (State.FAILED, State.CANCELLED, State.EXPIRED)
_TOO_MANY = 429
_ASK_AGAIN_CODES = frozenset({408, 425, _TOO_MANY})
_NO_ROUTE_CODES = frozenset({404, 405, 410, 501})
#: Where only /jobs/{id} exists, "status" is taken for an id, which may be refused as one.
_NOT_THIS_ROUTE_CODES = _NO_ROUTE_CODES | {400, 422}
_DOCUMENTS_AT_ONCE = 10
_CONTENT_TYPE = re.compile(r"no content type|[\w.+-]{1,60}/[\w.+-]{1,60}(; ?charset=[\w-]{1,20})?", re.ASCII | re.IGNORECASE)


def _by_id(items: Any, route: Route) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what a list names, by its id."""
    for item in items if isinstance(items, list) else ():
        child_id = first(item, route.ids)
        if child_id is not None and not isinstance(child_id, (Mapping, list)):
            yield printable(str(child_id)[:_LONGEST_ID]), item


def _chunks(ids: list[str], longest: int) -> Iterator[list[str]]:
    """Cut ids into lists whose comma-separated, percent-encoded form is no longer than ``longest`` characters."""
    chunk: list[str] = []
    length = 0
    for one in ids:
        size = len(quote(one, safe="")) + 3
        if chunk and length + size > longest:
            yield chunk
            chunk, length = [], 0
        chunk.append(one)
        length += size
    if chunk:
        yield chunk


def _place(answer: Answer) -> SplitResult:
    """Return where a redirect leads: nowhere if that is no URL."""
    try:
        return urlsplit(answer.headers.get("location", ""))
    except ValueError:
        return urlsplit("")


def _taken(body: Mapping[str, Any], take: str) -> Any:
    if not take:
        return dict(body)
    names = take.split()
    if len(names) == 1:
        return dig(body, take)
    found = {name: body[name] for name in names if body.get(name) is not None}
    return found if names[0] in found else None
