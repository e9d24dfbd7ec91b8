"""The description of an extraction service, as data. Each service is one :class:`ServiceDescription`, see ``services/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_docstatus.status import DocumentStatus, State


@dataclass(frozen=True, kw_only=True)
class ResultRoute:
    """
    Where the data of a finished job is.

    :param path: the path with ``{id}``.
    :param query: query parameters.
    :param take: dotted path of the data in the reply; names separated by a space take several; empty takes all.
    :param has_status: whether the reply holds the status as well, so that one request gets both.
    :param codes: HTTP codes of 400 and more that on this route mean a state of the job, not an error.
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
    :param query: query parameters; a tuple repeats the key.
    :param host: the host of this route (URL) if it is not the service's; a connection that names a host overrides both.
    :param regions: this route's hosts by region, likewise.
    :param key_optional: whether the vendor says the route needs no key (default False).
    :param refuses_in_text: whether the vendor also refuses in plain text here (default False: with a JSON object only). A refusal
        in another form is taken for a proxy's, and waited out.
    :param ids: dotted paths of the id in the reply, to notice a reply about another id.
    :param errors: dotted paths of the vendor's text about a failed job. Like all paths here, never a place that may hold
        extracted data: its fields have any name, ``message`` and ``total_pages`` too.
    :param flag: dotted path of the vendor's own flag that, if false, makes a word of success a failure; empty if there is none.
    :param inside: the name of an object that may hold the whole reply, if there is no ``status`` beside it; empty if none may.
    :param links: dotted paths of the link to the vendor's page of the document.
    :param times: our time fields and the dotted paths they are read from.
    :param counters: the vendor's counters, by name.
    :param children: dotted path of the list of documents or jobs inside, empty if there is none.
    :param child: the route that describes an item of that list.
    :param details: small facts by our name and their dotted paths.
    :param parent: the route of these ids' parent, and the name of the detail that holds the parent's id. One poll of a parent
        reports on all its children.
    :param long_poll: the query parameter that lets the service hold the answer until something changes, and its longest seconds.
    :param result: where the data is; None if the service's ``contents`` says it.
    """

    kind: str
    path: str
    parameter: str = "job_id"
    docs: str = ""
    query: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    host: str = ""
    regions: Mapping[str, str] = field(default_factory=dict)
    key_optional: bool = False
    refuses_in_text: bool = False
    ids: tuple[str, ...] = ("job_id",)
    errors: tuple[str, ...] = ("error", "error_message", "message")
    flag: str = ""
    inside: str = ""
    links: tuple[str, ...] = ()
    times: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counters: tuple[str, ...] = ()
    children: str = ""
    child: Route | None = None
    details: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parent: tuple[str, str] | None = None
    long_poll: tuple[str, float] | None = None
    result: ResultRoute | None = None


@dataclass(frozen=True, kw_only=True)
class ListRoute:
    """
    A route that lists jobs.

    :param path: the path below the prefix.
    :param items: dotted path of the list.
    :param item: the route that describes an item of the list.
    :param filters: the query parameters the vendor documents.
    :param page_size: the largest page the vendor allows; None where it has no paging.
    :param key_optional: whether the vendor says the route needs no key.
    """

    path: str
    items: str
    item: Route
    filters: tuple[str, ...] = ()
    page_size: int | None = None
    key_optional: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchRoute:
    """
    A route that polls several ids by one request, ``path?parameter=a,b``.

    :param route: the name of the status route (str) whose ids it polls; its items are read like that route's replies.
    :param path: the path below the prefix.
    :param parameter: the query parameter that takes the ids, separated by commas.
    :param items: dotted path of the list in the reply.
    :param query: more query parameters.
    :param key_optional: whether the vendor says the route needs no key.
    :param longest_query: the most characters that the ids of one request may take (int).
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
    :param options: more keys of the request's body.
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ServiceDescription:
    """
    Everything that is special about one vendor, as data.

    :param name: the service's name and connection type (str).
    :param title: the name shown to people (str).
    :param host: the default host (URL); empty if each deployment has its own.
    :param regions: hosts (URLs) by the name of their region; the default host's among them, if it has a name.
    :param docs: the vendor's API pages (URL).
    :param auth: ways to send the key, by name: header and template. The first is the default.
    :param routes: the status routes, by operation where the service has several, else by kind.
    :param words: the vendor's status words in lower case, and what they mean.
    :param prefixes: the documented path prefixes; the first is used until a response shows that the deployment uses another.
    :param headers: fixed headers of every request.
    :param connection_headers: the names of the headers that a connection may set.
    :param key_optional: whether deployments without a key exist.
    :param operations: other names that the vendor's pages use for an operation, each with our name of it.
    :param adjust: corrects a state by what else is in the reply (counters, flags).
    :param error_text: returns the vendor's error text of a body, or None if the common shapes of such texts should be tried.
    :param is_quota: tells by the body of a 429 whether it is documented to mean a used-up account, which ends a wait at once.
    :param may_be_quota: tells by the body of another 429 whether it may mean one all the same; it is waited out, with a warning.
    :param retry_headers: vendor headers (lower case) of a 429 that say how long to wait, after ``Retry-After``: in seconds or as
        epoch time, in milliseconds if the name ends in ``-ms``.
    :param remaining_headers: the vendor's headers (lower case) for how many calls are left, and when there are more (epoch).
    :param calls_per_second: the documented limit of one key in any second; None if there is none.
    :param calls_per_minute: likewise in any 60 s.
    :param calls_per_day: likewise in 24 h.
    :param poll_interval: seconds between two polls of one id.
    :param least_poll_interval: seconds; the vendor asks not to poll more often.
    :param grace: seconds after the start of a wait in which a 404 may mean that the service does not know the id yet.
    :param retention: what is known about how long results are kept (text for messages).
    :param retention_seconds: seconds after which the vendor documents that it answers 404 for a job; None if it documents none.
    :param batch: the route that polls several ids by one request, None if there is none.
    :param listing: the route that lists jobs, None if there is none.
    :param contents: choices of ``content=``; empty if there is none. The first is the default.
    :param read_item: reads one item of a content reply: (its data, None), (None, error text), or (None, None) without either.
    :param evidence: the sources of the description (text for the README).
    """

    name: str
    title: str
    host: str
    docs: str
    auth: Mapping[str, tuple[str, str]]
    routes: Mapping[str, Route]
    words: Mapping[str, State]
    regions: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ("",)
    headers: Mapping[str, str] = field(default_factory=dict)
    connection_headers: tuple[str, ...] = ()
    key_optional: bool = False
    operations: Mapping[str, str] = field(default_factory=dict)
    adjust: Callable[[State, DocumentStatus, Mapping[str, Any]], State] = lambda state, _status, _body: state
    error_text: Callable[[Any], str | None] = lambda _body: None
    is_quota: Callable[[Any], bool] = lambda _body: False
    may_be_quota: Callable[[Any], bool] = lambda _body: False
    retry_headers: tuple[str, ...] = ()
    remaining_headers: tuple[str, str] | None = None
    calls_per_second: float | None = None
    calls_per_minute: float | None = None
    calls_per_day: float | None = None
    poll_interval: float = 10.0
    least_poll_interval: float = 2.0
    grace: float = 15.0
    retention: str = "not documented"
    retention_seconds: float | None = None
    batch: BatchRoute | None = None
    listing: ListRoute | None = None
    contents: Mapping[str, Content] = field(default_factory=dict)
    read_item: Callable[[Mapping[str, Any]], tuple[Any, str | None]] | None = None
    evidence: str = ""

    def __post_init__(self) -> None:
        """Check that some words mean running, succeeded and failed, that all words are in lower case, and the regions."""
        missing = {State.RUNNING, State.SUCCEEDED, State.FAILED} - set(self.words.values())
        if missing:
            raise ValueError(f"{self.name}: no vendor word means {', '.join(sorted(missing))}")
        if any(word != word.strip().lower() for word in self.words):
            raise ValueError(f"{self.name}: status words are written in lower case")

        for name, route in self.routes.items():
            if route.regions.keys() != (self.regions.keys() if route.host else set()):  # else data would leave its region
                raise ValueError(f"{self.name}: routes.{name}.regions: a route with a host of its own has the service's regions")

    @property
    def has_operations(self) -> bool:
        """Whether one id parameter is used on several routes, so that ``operation`` must choose."""
        return len(self.routes) > len({route.parameter for route in self.routes.values()})

    @property
    def parameters(self) -> list[str]:
        """The id parameters that the service knows: ``request_id``, ``document_id``, ``job_id``."""
        return list(dict.fromkeys(route.parameter for route in self.routes.values()))
