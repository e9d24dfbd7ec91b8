"""The description of an extraction service, as data. Each service is one :class:`ServiceDescription`, see ``services/``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.hosts import HostPatterns
from airflow_provider_docstatus.status import DocumentStatus, State

#: Placeholders in paths and header values, such as ``{id}``. They are replaced exactly; nothing else is read into them.
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, kw_only=True)
class ResultRoute:
    """
    Where the data of a finished job is.

    :param path: the path with ``{id}``; empty if the data is in the status reply.
    :param query: query parameters; without a path besides those of the status.
    :param take: dotted path of the data in the reply; names separated by a space take several; empty takes all. After
        ``|`` stands what is taken if that is not there.
    :param has_status: whether the reply holds the status as well, so that one request gets both.
    :param status: dotted paths of the status word in this reply; empty if they are the route's.
    :param failure: dotted path of what is there only if the job has failed, whatever the word says; empty if there is none.
    :param partial: dotted paths of lists, counters or texts that make a success partial, like the route's, in this reply.
    :param good: dotted paths, separated by a space, of the counters of good parts, like the route's, in this reply.
    :param errors: dotted paths of the vendor's text about a failed job in this reply; empty if they are the route's.
    :param codes: HTTP codes of 400 and more that on this route mean a state of the job, not an error.
    :param link: dotted paths of a signed link that may stand in place of the data. It is fetched without the key. Empty if
        there is none.
    :param link_if: for the path of a link that may be a field of the data: another path, and the text there if it is a link;
        ``true`` is also the value.
    :param media: content types besides JSON that are data: text stays text, anything else is bytes. Empty for JSON only.
    :param details: small facts by our name and their dotted paths, like the route's, that this reply adds.
    :param decides: whether only this reply says if the job has ended well. A wait then reads it once the status says success.
    :param kept_after_read: seconds that the vendor keeps the data after it was read once; None if reading changes nothing.
    """

    path: str = ""
    query: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    take: str = ""
    has_status: bool = True
    status: tuple[str, ...] = ()
    failure: str = ""
    partial: tuple[str, ...] = ()
    good: str = ""
    errors: tuple[str, ...] = ()
    codes: Mapping[int, State] = field(default_factory=dict)
    link: tuple[str, ...] = ()
    link_if: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    media: tuple[str, ...] = ()
    details: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    decides: bool = False
    kept_after_read: float | None = None


@dataclass(frozen=True, kw_only=True)
class Submission:
    """
    How a document is submitted, for tests and tools; this package submits nothing itself.

    :param path: the path below the prefix.
    :param id: dotted path of the id, or of the status URL, in the answer's body.
    :param id_header: the header of the answer that holds the id or the status URL, where the body holds none.
    """

    path: str
    id: str = ""
    id_header: str = ""


@dataclass(frozen=True, kw_only=True)
class Route:
    """
    One status route.

    :param path: the path with ``{id}``, below the prefix. If it has more placeholders, the id is their values, joined by ``/``.
    :param kind: what the id names (str).
    :param parameter: the sensor's parameter for the id (one of ``request_id``, ``document_id``, ``job_id``).
    :param docs: the vendor's page (URL); empty if it is the service's.
    :param query: query parameters; a tuple repeats the key.
    :param host: the host of this route (URL) if it is not the service's; a connection that names a host overrides both.
    :param regions: this route's hosts by region, likewise.
    :param key_optional: whether the vendor says the route needs no key (default False).
    :param refuses_in_text: whether the vendor also refuses in plain text here (default False: with a JSON object only). A refusal
        in another form is taken for a proxy's, and waited out.
    :param id_prefixes: what ids of this route begin with, so that no ``operation`` need be given; empty if that
        does not tell.
    :param ids: dotted paths of the id in the reply, to notice a reply about another id; empty if the reply does not repeat it.
    :param status: dotted paths of the status word; the first that is there counts.
    :param codes: HTTP codes with a meaning. Below 400 (206) the state replaces success. From 400 on (409) it is the job's state.
    :param flag: dotted path of the vendor's own flag that, if false, makes a word of success a failure; empty if there is none.
    :param partial: dotted paths of lists that name bad parts, of counters that count them, or of texts about them. If one is not
        empty, a success is only partial.
    :param good: dotted paths, separated by a space, of the counters of good parts; if none is above 0, a partial success is a
        failure. Empty if there is none.
    :param errors: dotted paths of the vendor's text about a failed job; the first that has one counts. Names separated by a space
        are joined. Like all paths here, never a place that may hold extracted data: its fields have any name, ``message`` and
        ``total_pages`` too.
    :param inside: the name of an object that may hold the whole reply, if there is no ``status`` beside it; empty if none may.
    :param links: dotted paths of the link to the vendor's page of the document; empty if replies have none.
    :param times: our time fields and the dotted paths they are read from.
    :param counters: dotted paths of the vendor's counters; the last part is the counter's name.
    :param children: dotted path of the list of documents or jobs inside, empty if there is none.
    :param child: the route that describes an item of that list.
    :param members: the route that lists the jobs inside, where the status reply does not; ``{id}`` in its query is the id.
    :param details: small facts by our name and their dotted paths.
    :param parent: the route of these ids' parent, and the name of the detail that holds the parent's id. One poll of a parent
        reports on all its children.
    :param batch: the route that polls several ids by one request, None if there is none.
    :param listing: the route that lists such jobs, None if there is none.
    :param long_poll: the query parameter that lets the service hold the answer until something changes, and its longest seconds.
    :param result: where the data is; None if the service's ``contents`` says it.
    :param confidence: where the vendor says how sure it is of the data; empty if it does not say.
    :param awaits_reviewer: whether a job in a word of ``review`` waits for a person at the vendor, whose decision gives it
        another word (default False: ``review`` is the end). Only then can a task wait for that decision.
    :param submit: how a document is submitted.
    :param cancel: the path that cancels a job by POST; empty if there is none.
    """

    path: str
    kind: str = "job"
    parameter: Literal["request_id", "document_id", "job_id"] = "job_id"
    docs: str = ""
    query: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    host: str = ""
    regions: Mapping[str, str] = field(default_factory=dict)
    key_optional: bool = False
    refuses_in_text: bool = False
    id_prefixes: tuple[str, ...] = ()
    ids: tuple[str, ...] = ("job_id",)
    status: tuple[str, ...] = ("status",)
    codes: Mapping[int, State] = field(default_factory=dict)
    flag: str = ""
    partial: tuple[str, ...] = ()
    good: str = ""
    errors: tuple[str, ...] = ("error", "error_message", "message")
    inside: str = ""
    links: tuple[str, ...] = ()
    times: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counters: tuple[str, ...] = ()
    children: str = ""
    child: Route | None = None
    members: ListRoute | None = None
    details: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parent: tuple[str, str] | None = None
    batch: BatchRoute | None = None
    listing: ListRoute | None = None
    long_poll: tuple[str, float] | None = None
    result: ResultRoute | None = None
    confidence: tuple[Confidence, ...] = ()
    awaits_reviewer: bool = False
    submit: Submission | None = None
    cancel: str = ""

    @property
    def gives_data_with_status(self) -> bool:
        """Whether the status reply of a finished job holds the data, or a link to it."""
        return self.result is not None and self.result.has_status and self.result.path in ("", self.path)

    @cached_property
    def placeholders(self) -> tuple[str, ...]:
        """The names in braces in the path; more than one where the id has several parts."""
        return tuple(PLACEHOLDER.findall(self.path))

    @property
    def is_decided_by_result(self) -> bool:
        """Whether only the result says if a job has ended well."""
        return self.result is not None and self.result.decides


@dataclass(frozen=True, kw_only=True)
class ListRoute:
    """
    A route that lists jobs.

    :param path: the path below the prefix.
    :param items: dotted path of the list.
    :param item: the route that describes an item of the list; None if it is described like the status reply of its route.
    :param query: query parameters.
    :param filters: the query parameters the vendor documents.
    :param paging: how the next page is asked for: ``offset`` (number of items before it), ``page`` (its number), ``token`` (a
        text of the reply before), ``link`` (a URL in the reply before, of which the query is used), or empty without pages.
    :param at: the query parameter of the offset, page or token.
    :param first: the number of the first page.
    :param size: the query parameter of the page's size; empty if there is none.
    :param page_size: the largest page the vendor allows; None where it has no paging.
    :param next: dotted path of the next token or link, or of the flag that says if there is more; empty for the flag's usual
        places.
    :param key_optional: whether the vendor says the route needs no key.
    """

    path: str
    items: str
    item: Route | None = None
    query: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    paging: Literal["offset", "page", "token", "link", ""] = "offset"
    at: str = "offset"
    first: int = 0
    size: str = "limit"
    page_size: int | None = None
    next: str = ""
    key_optional: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchRoute:
    """
    A route that polls several ids by one request: ``path?parameter=a,b``.

    :param path: the path below the prefix.
    :param parameter: the query parameter that takes the ids.
    :param items: dotted path of the list in the reply.
    :param item: the route that describes an item; None if it is described like the status reply.
    :param repeats: whether the parameter is repeated for each id; else the ids are separated by commas.
    :param query: more query parameters.
    :param key_optional: whether the vendor says the route needs no key.
    :param longest_query: the most characters that the ids of one request may take (int).
    :param most_ids: the most ids of one request (int).
    """

    path: str
    parameter: str
    items: str
    item: Route | None = None
    repeats: bool = False
    query: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    key_optional: bool = False
    longest_query: int = 1500
    most_ids: int = 1000


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

    :param name: the service's name and connection type (str): ``[a-z][a-z0-9]*(_[a-z0-9]+)*``.
    :param title: the name shown to people (str).
    :param docs: the vendor's API pages (URL).
    :param auth: ways to send the key, by name: header and value with ``{key}``. The first is the default.
    :param routes: the status routes, by operation where the service has several, else by kind.
    :param words: the vendor's status words in lower case, by what they mean.
    :param class_name: the name of the hook class without ``Hook``; empty for the name in CamelCase.
    :param host: the default host (URL); empty if each deployment has its own.
    :param regions: hosts (URLs) by the name of their region; the default host's among them, if it has a
        name. Empty if there is one host for all.
    :param prefixes: the documented path prefixes; the first is used until a response shows that the deployment uses another.
    :param headers: fixed headers of every request.
    :param connection_headers: the names of the headers that a connection may set; empty if it may set none.
    :param key_optional: whether deployments without a key exist.
    :param status_hosts: host patterns of status URLs, besides the connection's host. Such a URL may be given as the id; its id is
        taken out of it, and asked for at the connection's host. Empty: of the connection's host only.
    :param link_hosts: host patterns of signed links: exact, ``*.example.com``, or an IP address or network. A link is followed to
        an address that is not public only if an address or network here holds it. Empty: to the connection's host only.
    :param operations: other names that the vendor's pages use for an operation, each with our name of it; empty for ours only.
    :param has_no_failure_word: whether the vendor documents no word for a failed job.
    :param envelope: dotted paths of the parts of an error reply's text; empty for the usual places.
    :param quota_codes: HTTP codes that mean a used-up account or an unpaid subscription, which ends a wait at once.
    :param quota: dotted paths in the body of a 429 or 403, and the texts there that mean the same; case does not matter. An empty
        path is the whole body.
    :param rate: dotted paths in the body of a 429, and the texts there that mean the rate. Another text there may be a limit of
        the account: it is waited out, with a warning.
    :param file_names: whether the names of files are told. If not, they stand in no status, and are replaced in the vendor's text
        about the same document. The option ``file_names`` of ``[docstatus]`` turns them off for all services.
    :param retry_flag: dotted path of an error reply's flag that, if true, says that the same request may succeed later.
    :param retry_headers: vendor headers (lower case) of a 429 that say how long to wait, after ``Retry-After``; one that ends in
        ``-ms`` in milliseconds. Empty for ``Retry-After`` only.
    :param remaining_headers: the vendor's headers (lower case) for how many calls are left, and when there are more (epoch).
    :param calls_per_second: the documented limit of one key in any second; None if there is none.
    :param calls_per_minute: likewise in any 60 s.
    :param calls_per_day: likewise in 24 h.
    :param poll_interval: seconds between two polls of one id.
    :param least_poll_interval: seconds; the vendor asks not to poll more often.
    :param grace: seconds after the start of a wait in which a 404 may mean that the service does not know the id yet.
    :param lost_after: seconds of nothing but 404s after which any id counts as unknown, where several replicas may not know each
        other's ids. None for the usual rule.
    :param retention: what is known about how long results are kept (text for messages).
    :param retention_seconds: seconds after which the vendor documents that it answers 404 for a job; None if it documents none.
    :param zero_retention: whether accounts exist whose data is deleted once it was read, from the status reply too.
    :param webhooks: the vendor's page about webhooks (URL), for people; this package polls. Empty if there is none.
    :param contents: choices of ``content=``; empty if there is none. The first is the default.
    :param tier: how well the description is known: ``live`` (seen on a real server), ``sdk`` (the vendor's own SDK agrees with
        the recorded replies), ``pages`` (documentation only).
    :param evidence: the sources of the description (text for the README).
    :param adjust: a hook point: corrects a state by what else is in the reply, where the fields above cannot say it. Of a reply
        that is too large it gets the beginning.
    :param read_item: a hook point: reads one item of a content reply: (its data, None), (None, error text), or (None, None).
    """

    name: str
    title: str
    docs: str
    auth: Mapping[str, tuple[str, str]]
    routes: Mapping[str, Route]
    words: Mapping[State, tuple[str, ...]]
    class_name: str = ""
    host: str = ""
    regions: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ("",)
    headers: Mapping[str, str] = field(default_factory=dict)
    connection_headers: tuple[str, ...] = ()
    key_optional: bool = False
    status_hosts: tuple[str, ...] = ()
    link_hosts: tuple[str, ...] = ()
    operations: Mapping[str, str] = field(default_factory=dict)
    has_no_failure_word: bool = False
    envelope: tuple[str, ...] = ()
    quota_codes: tuple[int, ...] = (402,)
    quota: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rate: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file_names: bool = True
    retry_flag: str = ""
    retry_headers: tuple[str, ...] = ()
    remaining_headers: tuple[str, str] | None = None
    calls_per_second: float | None = None
    calls_per_minute: float | None = None
    calls_per_day: float | None = None
    poll_interval: float = 10.0
    least_poll_interval: float = 2.0
    grace: float = 15.0
    lost_after: float | None = None
    retention: str = "not documented"
    retention_seconds: float | None = None
    zero_retention: bool = False
    webhooks: str = ""
    contents: Mapping[str, Content] = field(default_factory=dict)
    tier: Literal["live", "sdk", "pages"] = "pages"
    evidence: str = ""
    adjust: Callable[[State, DocumentStatus, Mapping[str, Any]], State] | None = None
    read_item: Callable[[Mapping[str, Any]], tuple[Any, str | None]] | None = None

    def __post_init__(self) -> None:
        """Check that the words tell how a job ends, the regions and the host patterns."""
        words = [word for several in self.words.values() for word in several]
        twice = sorted(word for word, number in Counter(words).items() if number > 1)
        if twice:
            raise ValueError(f"{self.name}: words: {', '.join(twice)} stand in two states")
        if any(word != word.strip().lower() or not word for word in words):
            raise ValueError(f"{self.name}: words: status words are written in lower case")
        if not self.words.get(State.SUCCEEDED):
            raise ValueError(f"{self.name}: words: no vendor word means {State.SUCCEEDED}")
        decides = self.has_no_failure_word or all(route.flag for route in self.routes.values())
        if not self.words.get(State.FAILED) and not decides:
            raise ValueError(
                f"{self.name}: words: no vendor word means {State.FAILED}; name one, name each route's flag, or set "
                "has_no_failure_word"
            )
        for name, route in self.routes.items():
            if route.regions.keys() != (self.regions.keys() if route.host else set()):  # else data would leave its region
                raise ValueError(f"{self.name}: routes.{name}.regions: a route with a host of its own has the service's regions")

        try:
            HostPatterns.of(self.link_hosts)
        except ValueError as error:
            raise ValueError(f"{self.name}: link_hosts: {error}") from None

    @cached_property
    def states(self) -> Mapping[str, State]:
        """What each status word means."""
        return {word: State(state) for state, words in self.words.items() for word in words}

    @property
    def hook_class_name(self) -> str:
        """The name of its hook class: that of ``class_name``, else of ``name`` (``my_service``: ``MyServiceHook``)."""
        return f"{self.class_name or ''.join(part.capitalize() for part in self.name.split('_'))}Hook"

    @property
    def has_operations(self) -> bool:
        """Whether one id parameter is used on several routes, so that ``operation`` must choose."""
        return len(self.routes) > len({route.parameter for route in self.routes.values()})

    @property
    def parameters(self) -> list[str]:
        """The id parameters that the service knows: ``request_id``, ``document_id``, ``job_id``."""
        return list(dict.fromkeys(route.parameter for route in self.routes.values()))
