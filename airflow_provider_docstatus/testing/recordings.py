"""
A service's file of recorded replies: reading it, and choosing the reply that fits.

The file is JSON: ``service`` (the name), ``key`` (``header``, ``value`` with ``{key}`` in it, ``optional``) and ``replies``. Each
reply says what was asked (``ask``), by which ``method``, ``path`` and ``query``, what came back (``code``, ``headers``, ``body``
or ``text``) and what it means (``expect``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "replies"
#: The entry points by which packages bring services.
SERVICES_GROUP = "airflow_provider_docstatus.services"
#: What can be asked; of the first five, each has a method and a path.
ASKS = ("submit", "status", "result", "list", "statuses", "link", "no_route")
_TIMES = ("created_at", "started_at", "updated_at", "completed_at")
_FACTS = ("message", "details", "counters", "children", "errors", "file_names", "link", *_TIMES)
_LISTED = ("states", "messages")
#: What ``expect`` can hold besides :data:`_OF_ERRORS`, by what was asked.
EXPECTED: Mapping[str, Sequence[str]] = {
    "submit": ("id",),
    "status": ("state", "word", *_FACTS),
    "result": ("data", "errors", "content", "state", "word", *_FACTS),
    "list": _LISTED,
    "statuses": _LISTED,
    "link": ("data",),
    "no_route": (),
}
_OF_ERRORS = ("error", "says", "never_says", "retry_after")
#: Method and path.
Place = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """
    One recorded reply; the fields are those of the file.

    :param ask: ``submit``, ``status``, ``result``, ``list``, ``statuses`` (several ids by one request), ``link`` (what a signed
        link leads to) or ``no_route`` (the answer to a path that the vendor does not have).
    :param route: the kind of job.
    :param path: the vendor's path, ids in braces.
    :param query: parameters that the request must have.
    :param id: the id or ids asked for; of several ids in the path joined by a slash.
    :param url: of a link: the link as it stands in another reply.
    :param expect: what the reply means: ``state``, ``word``, ``message``, ``data``, ``states``, ``error``, or ``id`` of a submit.
    """

    ask: str
    name: str = ""
    source: str = ""
    route: str = ""
    method: str = "GET"
    path: str = ""
    query: Mapping[str, Any] = field(default_factory=dict)
    id: Any = None
    url: str = ""
    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    text: str | None = None
    expect: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> Reply:
        """Read a reply of a file. Raises ValueError if it has another field than these, or cannot be played."""
        called = f"the recorded reply {recorded.get('name', '')!r}"
        _only(recorded, [one.name for one in fields(cls)], called)
        reply = cls(**{"ask": "", **recorded})
        if reply.ask not in ASKS:
            raise ValueError(f"{called} has ask={reply.ask!r}; it can be {', '.join(ASKS)}")
        _only(reply.expect, [*EXPECTED[reply.ask], *_OF_ERRORS], f"expect of {called} (ask {reply.ask})")
        if reply.ask == "link" and not reply.url:
            raise ValueError(f"{called} is a link and has no 'url'")
        if reply.ask in ASKS[:5] and not re.fullmatch(r"/([^{}]|\{\w+\})*", reply.path):
            raise ValueError(f"{called} needs a path such as /jobs/{{job_id}}, not {reply.path!r}")
        return reply

    @property
    def state(self) -> str | None:
        """What a status reply says about the job; None for an error and for another ask."""
        return self.expect.get("state") if self.ask == "status" else None

    @property
    def error(self) -> str | None:
        """The class of error that the reply means, by its name."""
        return self.expect.get("error")

    @property
    def ids(self) -> tuple[str, ...]:
        """The recorded ids."""
        known = self.expect.get("id", self.id)
        listed = known if isinstance(known, list) else [known, *self.expect.get("states", {})]
        return tuple(dict.fromkeys(str(one) for one in listed if one is not None))

    @property
    def data(self) -> Any:
        """The data that the reply holds, None without; they may stand below the id that they belong to."""
        held = self.expect.get("data")
        return next(iter(held.values())) if isinstance(held, Mapping) and held and held.keys() <= set(self.ids) else held

    @property
    def is_guess(self) -> bool:
        """Tell whether no source shows the reply."""
        return self.source.startswith("[inf]")


@dataclass(frozen=True)
class Recording:
    """
    A service's file of recorded replies.

    :param service: the service's name.
    :param key: how the key is sent: ``header`` (None: no key), ``value``, ``optional``.
    :param preferred: names of replies that are played before others of the same meaning.
    """

    service: str
    key: Mapping[str, Any]
    replies: tuple[Reply, ...]
    preferred: Collection[str] = ()

    @classmethod
    def read(cls, recorded: Mapping[str, Any] | str | Path) -> Recording:
        """
        Read a file, or what such a file holds.

        :raises OSError: when there is no such file.
        :raises ValueError: when it is no JSON, lacks ``service`` or ``replies``, or holds a reply that cannot be played. The text
            names the file.
        """
        if isinstance(recorded, Mapping):
            return cls._of(recorded)
        raw = Path(recorded).read_bytes()
        try:
            held = json.loads(raw)
        except ValueError as error:
            raise ValueError(f"{recorded}: recorded replies must be JSON ({error})") from None
        try:
            return cls._of(held)
        except (ValueError, TypeError, AttributeError) as error:  # the last two of what is no object or list
            raise ValueError(f"{recorded}: {error}") from None

    @classmethod
    def _of(cls, held: Any) -> Recording:
        if not isinstance(held, Mapping) or not {"service", "replies"} <= held.keys():
            raise ValueError(f"recorded replies need 'service' and 'replies': {str(held)[:200]}")
        return cls(str(held["service"]), dict(held.get("key") or {}), tuple(map(Reply.read, held["replies"])))

    def preferring(self, names: Collection[str]) -> Recording:
        """Return the same recording with the replies of these names first."""
        return replace(self, replies=tuple(sorted(self.replies, key=lambda reply: reply.name not in names)), preferred=names)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of job: the routes that have a status."""
        return tuple(dict.fromkeys(reply.route for reply in self.replies if reply.state))

    @cached_property
    def places(self) -> dict[Place, list[Reply]]:
        """The replies by method and path; paths without ids come first."""
        found: dict[Place, list[Reply]] = {}
        for reply in sorted(self.replies, key=lambda reply: reply.path.count("{")):
            if reply.path and reply.ask not in {"link", "no_route"}:
                found.setdefault((reply.method, reply.path), []).append(reply)
        return found

    def kind_at(self, method: str, path: str) -> str:
        """Return the kind of job that a request is about; an empty text if it is about none."""
        found = (held[0].route for place, held in self.places.items() if place[0] == method and pattern(place[1]).fullmatch(path))
        return next(found, "")

    def data(self, kind: str) -> list[Any]:
        """Return all data that is recorded for a kind."""
        return [reply.data for reply in self.replies if reply.route == kind and reply.data is not None]

    def named(self, name: str) -> Reply | None:
        """Return the reply of that name, None if there is none or the name is empty."""
        return next((reply for reply in self.replies if name and reply.name == name), None)

    @cached_property
    def links(self) -> list[Reply]:
        """What the signed links lead to, errors last; the longest link first, as one may begin with another."""
        found = [reply for reply in self.replies if reply.ask == "link" and reply.url]
        return sorted(found, key=lambda reply: (-len(reply.url), reply.error is not None))

    def depth(self, kind: str) -> int:
        """Return how many ids the status path of a kind has; they make a job's id, joined by slashes."""
        return next((reply.path.count("{") for reply in self.replies if reply.route == kind and reply.state), 1)

    def words(self) -> dict[str, dict[str, str]]:
        """Return the status words by kind and by what a job is: ``waiting``, ``running`` or its ending."""
        found: dict[str, dict[str, str]] = {}
        for kind in self.kinds:
            running = [str(reply.expect.get("word")) for reply in self.running(kind)] or [""]
            found[kind] = {"waiting": running[0], "running": running[-1]}
            for reply in self.replies:
                if reply.route == kind and reply.state and reply.state != "running":
                    found[kind].setdefault(ending_of(reply.state), str(reply.expect.get("word")))
        return found

    def running(self, kind: str, among: Iterable[Reply] = (), recorded_id: str = "") -> list[Reply]:
        """
        Return the replies of a job at work in their order: one for each word, guesses only without others.

        :param among: the replies to choose from, where they have some; else it is all.
        :param recorded_id: the id of what is preferably answered: what was recorded of one job.
        """
        found = self._some(kind, among, lambda reply: reply.state == "running")
        by_word: dict[Any, Reply] = {}
        for reply in [reply for reply in found if not reply.is_guess] or found:
            word = reply.expect.get("word")
            if word not in by_word or (reply.id == recorded_id != by_word[word].id):
                by_word[word] = reply
        return list(by_word.values())

    def ended(self, kind: str, ends: str, among: Iterable[Reply] = (), recorded_id: str = "") -> Reply | None:
        """Return the reply of a job that has ended so; a preferred one, one of the same recorded job, or one that is no guess."""
        found = self._some(kind, among, lambda reply: bool(reply.state) and ending_of(str(reply.state)) == ends)
        rank = [(reply.name in self.preferred, reply.id == recorded_id, not reply.is_guess) for reply in found]
        return found[rank.index(max(rank))] if found else None

    def error(self, error: str, kind: str = "", *, ask: str = "status", code: int | None = None) -> Reply | None:
        """Return a refusal of this class: if possible with this code, of this kind, to this ask; else the first."""
        found = [reply for reply in self.replies if reply.error == error and reply.code >= 400]
        return max(found, key=lambda reply: (reply.code == code, reply.route == kind, reply.ask == ask), default=None)

    def _some(self, kind: str, among: Iterable[Reply], fits: Callable[[Reply], bool]) -> list[Reply]:
        """Return the replies of a kind that fit: of those given, else of all."""
        for replies in (among, self.replies):
            found = [reply for reply in replies if reply.route == kind and fits(reply)]
            if found:
                return found
        return []


def _only(held: Mapping[str, Any], allowed: Sequence[str], called: str) -> None:
    """Raise ValueError for a key that is not allowed: it would be left out."""
    for name in held:
        if name not in allowed:
            raise ValueError(f"{called} has an unknown key {name!r}; the keys are {', '.join(allowed)}")


def ending_of(state: str) -> str:
    """Return how ``Job.ends`` calls a state."""
    return "completed" if state == "succeeded" else state


def fitting(replies: Iterable[Reply], query: Mapping[str, Sequence[str]]) -> list[Reply]:
    """
    Return the replies whose parameters the request has: those with the most, then with the most equal values.

    Errors come along, but are not enough: without a parameter that every good reply needs, nothing fits.
    """
    replies = list(replies)
    errors = [reply for reply in replies if reply.error and reply.query.keys() <= query.keys()]
    ranked: dict[tuple[int, int], list[Reply]] = {}
    for reply in replies:
        if not reply.error and reply.query.keys() <= query.keys():
            equal = sum(not set(_values(value)).isdisjoint(query[name]) for name, value in reply.query.items())
            ranked.setdefault((len(reply.query), equal), []).append(reply)
    if ranked:
        return ranked[max(ranked)] + errors
    return errors if all(reply.error for reply in replies) else []


def _values(value: Any) -> list[str]:
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@lru_cache(maxsize=1000)
def pattern(path: str) -> re.Pattern[str]:
    """Return the regular expression of a path: ``{name}`` is one segment, ``{name:expression}`` what the expression says."""
    parts = re.split(r"\{(\w+)(?::((?:[^{}]|\{\d+\})+))?\}", path)
    text = "".join(
        re.escape(static) + (f"(?P<{name}>{expression or '[^/]+?'})" if name else "")
        for static, name, expression in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True)
    )
    return re.compile(text)


def installed() -> list[Recording]:
    """Return the recordings of this package, then those of packages that bring a service: ``replies/`` beside its module."""
    paths = sorted(FOLDER.glob("*.json"))
    for point in sorted(entry_points(group=SERVICES_GROUP), key=lambda one: one.value):
        with suppress(Exception):  # whatever another package raises; the log of Airflow's processes says it
            spec = find_spec(point.module)
            paths += sorted(place_of(str(spec.origin if spec else ""), "*").parent.glob("*.json"))
    return [_read_once(path) for path in dict.fromkeys(paths)]


def place_of(module_file: str, service: str) -> Path:
    """Return where a package has the recorded replies of a service: ``replies/<name>.json`` beside the service's module."""
    return Path(module_file).parent / "replies" / f"{service}.json"


@lru_cache(maxsize=100)
def _read_once(path: Path) -> Recording:
    return Recording.read(path)
