"""
A day of waits on one key, without real time: ``make simulation`` prints a table and draws ``simulation.svg`` beside this file.

The package's own :class:`~airflow_provider_docstatus.waiting.schedule.Schedule`, :class:`~..rate_limiter.RateLimiter` and
:class:`~..intervals.PollInterval` decide, driven as ``poller.py`` drives them: at most so many requests are under way, and a poll
of a request answers for all its documents. Only the clock, the service and the workers are made up. Every call on the key is
counted: the polls of the workers and of the triggerers, and the calls that fetch the data. The service answers 429 with
``Retry-After`` to what is more than its limit in any rolling minute, whoever sends it. Beside it the same day with what other
providers do: each document polled by itself every 30 s, a refused call is lost and the next one comes 30 s later.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from airflow_provider_docstatus.exceptions import RateLimited
from airflow_provider_docstatus.protocol.description import Route, ServiceDescription
from airflow_provider_docstatus.protocol.flows import Observation, PollReply
from airflow_provider_docstatus.protocol.responses import TOO_MANY, RateLimitSignal
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.intervals import PollInterval
from airflow_provider_docstatus.waiting.rate_limiter import RateLimiter
from airflow_provider_docstatus.waiting.schedule import Batch, Schedule

MINUTE, HOUR = 60.0, 3600.0
#: Seconds between a call and its answer.
LATENCY = 0.3
#: Tasks that workers run at once, and the seconds that starting one takes.
WORKER_SLOTS, TASK_START = 8, 2.0
#: How a worker watches before it defers (task.py): the service's least interval, within 3 s.
WATCH_PAUSE = 2.0
#: ``DocStatusHook.retries`` + 1, and Airflow's default pause before a task is tried again.
FETCH_TRIES, RETRY_DELAY = 4, 300.0
#: Documents that one call fetches where a service hands out several (Neurolinker).
FETCHED_AT_ONCE = 10
#: Requests that a triggerer has under way at once, and the seconds between two searches for waits whose time is up (poller.py).
MOST_AT_ONCE, DEADLINES_EVERY = 16, 1.0
TIMEOUT = 3600.0

#: The service: documents, which may belong to a request.
SERVICE = ServiceDescription(
    name="simulated",
    title="Simulated",
    host="https://simulated.example.com",
    docs="https://simulated.example.com",
    auth={"bearer": ("Authorization", "Bearer {key}")},
    routes={
        "document": Route(kind="document", path="/documents/{id}", parent=("request", "request_id")),
        "request": Route(kind="request", path="/requests/{id}", children="documents"),
    },
    words={State.RUNNING: ("processing",), State.SUCCEEDED: ("completed",), State.FAILED: ("failed",)},
)
#: All that a wait here hears of a document: whether it is finished.
RUNNING = DocumentStatus(service=SERVICE.name, kind="document", id="any", state=State.RUNNING, word="processing")
FINISHED = replace(RUNNING, state=State.SUCCEEDED, word="completed")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """
    A day.

    :param title: what it is called in the table.
    :param per_day: documents in 24 h, at random times.
    :param limit: calls of the key in any rolling minute; the service refuses more.
    :param per_request: documents of one request. 1: each is polled by itself.
    :param triggerers: processes that hold waits; each may use ``share`` of the limit.
    :param burst: so many documents more at once, at ``burst_at`` (hours).
    :param looks: a worker's polls before it defers: the first, and one more within ``watch_on_worker``.
    :param constant: seconds between two polls of the providers that know no limit; None for ours.
    :param median: seconds a job takes (log-normal with ``sigma``).
    """

    title: str = ""
    per_day: int = 20_000
    hours: float = 24.0
    limit: int = 60
    per_request: int = 1
    triggerers: int = 1
    share: float = 0.8
    burst: int = 0
    burst_at: float = 9.0
    looks: int = 2
    constant: float | None = None
    median: float = 180.0
    sigma: float = 0.6
    base: float = 10.0
    seed: int = 20261122


@dataclass(eq=False)
class Document:
    """One document: when it was submitted, when it is finished, and when that was noticed."""

    submitted_at: float
    ends_at: float
    request: Request = field(repr=False)
    seen_at: float | None = None
    given_up: bool = False


@dataclass(eq=False)
class Request:
    """Documents that are submitted together, waited for by one task, and answered for by one poll."""

    documents: list[Document] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether each document was noticed or given up."""
        return all(one.seen_at is not None or one.given_up for one in self.documents)

    def show(self, now: float) -> None:
        """Note which documents an answer of this moment shows as finished."""
        for document in self.documents:
            if document.seen_at is None and document.ends_at <= now:
                document.seen_at = now


@dataclass(kw_only=True)
class Outcome:
    """What happened, call by call."""

    scenario: Scenario
    documents: list[Document]
    calls: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    polls: list[list[float]] = field(default_factory=list)
    fetched: int = 0

    @property
    def delays(self) -> list[float]:
        """Seconds from each document's end to the answer that said so; infinite if its wait timed out before."""
        return [math.inf if one.seen_at is None else one.seen_at - one.ends_at for one in self.documents]

    @property
    def never_seen(self) -> int:
        """Documents whose wait timed out."""
        return sum(document.given_up for document in self.documents)


class Service:
    """The vendor: accepts so many calls in any rolling minute and refuses the others."""

    def __init__(self, limit: int, outcome: Outcome) -> None:
        self._limit = limit
        self._accepted: deque[float] = deque()
        self._outcome = outcome

    def refuses(self, now: float) -> int | None:
        """Take a call in; return the ``Retry-After`` of a refused one."""
        self._outcome.calls.append(now)
        while self._accepted and self._accepted[0] <= now - MINUTE:
            self._accepted.popleft()
        if len(self._accepted) < self._limit:
            self._accepted.append(now)
            return None
        self._outcome.refused.append(now)
        return math.ceil(self._accepted[0] + MINUTE - now)


class Day:
    """The clock, and what is to happen when."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.dice = random.Random(scenario.seed)
        self.outcome = Outcome(scenario=scenario, documents=[])
        self.service = Service(scenario.limit, self.outcome)
        self.now = 0.0
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (when, next(self._number), what))

    def run(self) -> Outcome:
        """Let everything happen."""
        while self._later:
            self.now, _, what = heapq.heappop(self._later)
            what()
        return self.outcome

    def requests(self) -> Iterator[tuple[float, Request]]:
        """Make up what is submitted when."""
        scenario, dice = self.scenario, self.dice
        often = round(scenario.per_day * scenario.hours / 24 / scenario.per_request)
        times = [dice.uniform(0, scenario.hours * HOUR) for _ in range(often)]
        times += [scenario.burst_at * HOUR] * round(scenario.burst / scenario.per_request)
        for submitted_at in sorted(times):
            request = Request()
            for _ in range(scenario.per_request):
                seconds = scenario.median * math.exp(dice.gauss(0.0, scenario.sigma))
                request.documents.append(Document(submitted_at, submitted_at + seconds, request))
            self.outcome.documents += request.documents
            yield submitted_at, request


class Workers:
    """A few task slots. What waits for a slot waits in line."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self._free = WORKER_SLOTS
        self._line: deque[tuple[float, Callable[[], None]]] = deque()

    def start(self, seconds: float, work: Callable[[], None]) -> None:
        """Start a task that holds its slot for so long, and does its work once it runs."""
        self._line.append((seconds, work))
        self._next()

    def _next(self) -> None:
        while self._free and self._line:
            self._free -= 1
            seconds, work = self._line.popleft()
            self._day.at(self._day.now + TASK_START, work)
            self._day.at(self._day.now + TASK_START + seconds, self._done)

    def _done(self) -> None:
        self._free += 1
        self._next()

    def fetch(self, calls: int, tries_left: int = FETCH_TRIES) -> None:
        """Fetch data with so many calls, patiently, as the hook does."""
        day = self._day
        if (wait := day.service.refuses(day.now)) is None:
            day.outcome.fetched += 1
            if calls > 1:
                day.at(day.now + LATENCY, lambda: self.fetch(calls - 1))
        elif tries_left > 1:
            day.at(day.now + wait, lambda: self.fetch(calls, tries_left - 1))
        else:  # the task fails and is tried again
            day.at(day.now + RETRY_DELAY, lambda: self.start(LATENCY, lambda: self.fetch(calls)))


class Wait:
    """
    A task's wait in a triggerer: the schedule's subscriber.

    :param request: its documents.
    :param interval: how often it polls.
    :param jitter: gives random numbers from 0 to 1.
    """

    def __init__(self, request: Request, interval: PollInterval, jitter: Callable[[], float]) -> None:
        self.request = request
        self.started_at = request.documents[0].submitted_at
        self.deadline = self.started_at + TIMEOUT
        self.calls = 0
        self.held_until = 0.0
        self.documents = {
            Target("document", f"{id(document)}"): document for document in request.documents if document.seen_at is None
        }
        self._interval, self._jitter = interval, jitter

    def observe(self, target: Target, observation: Observation, now: float) -> bool:
        """Note what was told of a document; at the deadline whatever it is is enough."""
        document = self.documents[target]
        if observation is FINISHED:
            document.seen_at = now
        document.given_up = document.seen_at is None and now >= self.deadline
        return document.seen_at is not None or document.given_up

    def next_poll(self, now: float, polls: int) -> float:
        """Return when to poll again."""
        return self._interval.next_at(
            now=now, started_at=self.started_at, deadline=self.deadline, polls=polls, jitter=self._jitter()
        )


class Triggerer:
    """One process: the package's own schedule and rate limiter, driven as ``poller.py`` does."""

    def __init__(self, day: Day, finished: Callable[[Request], None]) -> None:
        scenario = day.scenario
        self._day, self._finished = day, finished
        self._limiter = RateLimiter(per_minute=scenario.limit, share=scenario.share)
        self._interval = PollInterval(base=scenario.base)
        self._schedule = Schedule(SERVICE)
        self._waits: dict[Target, Wait] = {}
        self._free = MOST_AT_ONCE
        self._wakes_at = math.inf
        self._checked_at = 0.0
        self.polls: list[float] = []
        day.outcome.polls.append(self.polls)

    def hold(self, request: Request, polled_at: float) -> None:
        """Hold a wait that a worker has deferred."""
        wait = Wait(request, self._interval, self._day.dice.random)
        first_at = polled_at + self._interval.pause(age=polled_at - wait.started_at, polls=1, jitter=0.0)
        parent = Target("request", f"{id(request)}") if len(request.documents) > 1 else None
        for target in wait.documents:
            self._waits[target] = wait
            self._schedule.subscribe(wait, target, first_at, parent)
        self._go_on()

    def _go_on(self) -> None:
        """Poll what is due while the rate limiter lets it through."""
        now = self._day.now
        if now >= self._checked_at + DEADLINES_EVERY:
            self._checked_at = now
            self._schedule.promote_overdue(now)
        while self._free:
            batch = self._schedule.next(now, opens_at=self._limiter.opens_at(now))
            if not isinstance(batch, Batch):
                self._wake(batch)
                return
            self._free -= 1
            self._limiter.spend(now)
            self.polls.append(now)
            refused_for = self._day.service.refuses(now)
            self._day.at(now + LATENCY, partial(self._answer, batch, now, refused_for))

    def _wake(self, when: float) -> None:
        if when < math.inf and (when < self._wakes_at or self._wakes_at <= self._day.now):
            self._wakes_at = when
            self._day.at(when, self._go_on)

    def _answer(self, batch: Batch, polled_at: float, refused_for: float | None) -> None:
        now = self._day.now
        self._free += 1
        code = 200 if refused_for is None else TOO_MANY
        self._limiter.update(RateLimitSignal(is_throttled=code == TOO_MANY, retry_after=refused_for), now)
        waits = {target: self._waits[target] for target in batch.targets}
        observations: dict[Target, Observation]
        if refused_for is None:
            is_over = {target: wait.documents[target].ends_at <= polled_at for target, wait in waits.items()}
            observations = {target: FINISHED if is_over[target] else RUNNING for target in waits}
        else:
            observations = dict.fromkeys(waits, RateLimited("429", retry_after=refused_for))
        self._schedule.answered(batch, PollReply(observations, batch.parent), now)
        for target in waits:
            if target not in self._schedule:
                del self._waits[target]
        (request,) = {wait.request for wait in waits.values()}
        if request.is_over:
            self._finished(request)
        self._go_on()


def ours(scenario: Scenario) -> Outcome:
    """Let a day happen with this package."""
    day = Day(scenario)
    workers = Workers(day)

    def finished(request: Request) -> None:
        seen = sum(one.seen_at is not None for one in request.documents)
        if seen:
            workers.start(LATENCY, lambda: workers.fetch(-(-seen // FETCHED_AT_ONCE)))

    triggerers = [Triggerer(day, finished) for _ in range(scenario.triggerers)]

    def look(request: Request, looks_left: int) -> None:
        if day.service.refuses(day.now) is None:
            request.show(day.now)
        if all(document.seen_at is not None for document in request.documents):
            finished(request)
        elif looks_left > 1:
            day.at(day.now + WATCH_PAUSE, lambda: look(request, looks_left - 1))
        else:
            day.dice.choice(triggerers).hold(request, day.now)

    watching = (scenario.looks - 1) * WATCH_PAUSE + LATENCY
    for submitted_at, request in day.requests():
        day.at(submitted_at, partial(workers.start, watching, partial(look, request, scenario.looks)))
    return day.run()


def constant(scenario: Scenario) -> Outcome:
    """Let a day happen with one wait per document, each with its own interval, that know nothing of each other."""
    day = Day(scenario)
    interval = scenario.constant or 30.0

    def ask(document: Document) -> None:
        if day.service.refuses(day.now) is None and document.ends_at <= day.now:
            document.seen_at = day.now + LATENCY
            day.at(day.now + interval, lambda: fetch(document))
        elif day.now >= document.submitted_at + TIMEOUT:
            document.given_up = True
        else:
            day.at(day.now + interval, lambda: ask(document))

    def fetch(document: Document) -> None:
        if day.service.refuses(day.now) is None:
            day.outcome.fetched += 1
        elif day.now < document.submitted_at + 2 * TIMEOUT:
            day.at(day.now + interval, lambda: fetch(document))

    for submitted_at, request in day.requests():
        for document in request.documents:
            day.at(submitted_at + TASK_START, partial(ask, document))
    return day.run()


def simulate(scenario: Scenario) -> Outcome:
    """Let a day happen."""
    return ours(scenario) if scenario.constant is None else constant(scenario)


# ---------------------------------------------------------------- what is shown


def most_in_a_minute(times: list[float]) -> int:
    """Return how many of the times the worst rolling minute holds."""
    first, most = 0, 0
    for last, moment in enumerate(times):
        while times[first] <= moment - MINUTE:
            first += 1
        most = max(most, last - first + 1)
    return most


def percentile(numbers: list[float], part: float) -> float:
    """Return the number that the given part of them does not exceed."""
    return sorted(numbers)[min(len(numbers) - 1, int(part * len(numbers)))] if numbers else math.nan


def open_waits(outcome: Outcome, step: float = MINUTE) -> list[int]:
    """Return how many documents are waited for, at each step."""
    steps = int(outcome.scenario.hours * HOUR / step)
    changes = [0] * (steps + 1)
    for document in outcome.documents:
        ended_at = document.seen_at if document.seen_at is not None else document.submitted_at + TIMEOUT
        changes[min(steps, int(document.submitted_at / step))] += 1
        changes[min(steps, int(ended_at / step))] -= 1
    return list(itertools.accumulate(changes))[:steps]


BUSY = Scenario(title="20,000 documents one by one")
BULK = Scenario(title="100,000 documents in requests of 25", per_day=100_000, per_request=25)
#: What is drawn: nothing is watched on the worker, and half of the key's limit is left to looks and fetches.
PLOTTED = replace(BUSY, limit=100, looks=1, share=0.5, burst=2000)


def _scenarios(limit: int) -> Iterator[Scenario]:
    one, many = replace(BUSY, limit=limit), replace(BULK, limit=limit)
    frugal = replace(one, looks=1, share=0.5)
    yield one
    yield replace(one, looks=1)
    yield frugal
    yield replace(one, looks=1, triggerers=2, share=0.25)
    yield replace(one, looks=1, triggerers=2)
    yield replace(one, burst=2000)
    yield replace(frugal, burst=2000)
    yield replace(one, burst=2000, constant=30.0)
    yield many
    yield replace(many, triggerers=2, share=0.4)
    yield replace(many, burst=2000, hours=12)
    yield replace(many, hours=4, constant=30.0)


def described(scenario: Scenario) -> str:
    """Return a scenario in words."""
    words = [scenario.title]
    words += [f"{scenario.burst:,} more at {scenario.burst_at:g}:00"] * bool(scenario.burst)
    words += [f"first {scenario.hours:g} h"] * (scenario.hours < 24)
    if scenario.constant is None:
        words += [f"{scenario.triggerers} triggerers"] * (scenario.triggerers > 1)
        words += [f"share {scenario.share:g}"]
        words += ["nothing watched on the worker"] * (scenario.looks == 1)
    return ", ".join(words)


def row(outcome: Outcome) -> str:
    """Return an outcome as a line of the table."""
    scenario, delays = outcome.scenario, outcome.delays
    polls = ", ".join(f"{most_in_a_minute(times)}" for times in outcome.polls) or "-"
    cells = (
        described(scenario),
        scenario.limit,
        "ours" if scenario.constant is None else f"every {scenario.constant:.0f} s",
        f"{most_in_a_minute(outcome.calls):,}",
        polls,
        f"{len(outcome.calls) / max(1, len(outcome.documents)):.1f}",
        f"{max(open_waits(outcome)):,}",
        *(
            f"{seconds:,.0f}" if seconds < math.inf else "never"
            for seconds in (percentile(delays, 0.5), percentile(delays, 0.95))
        ),
        f"{max((seconds for seconds in delays if seconds < math.inf), default=math.nan):,.0f}",
        f"{len(outcome.refused):,} ({len(outcome.refused) / len(outcome.calls):.0%})",
        f"{outcome.never_seen:,}",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


COLUMNS = (
    "a day of",
    "limit a minute",
    "polls",
    "calls in the worst minute",
    "polls of each triggerer in its worst",
    "calls per document",
    "most open waits",
    "delay p50, s",
    "p95",
    "worst",
    "refused calls",
    "timed out",
)


def main() -> None:
    """Print the table and draw the plot."""
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for scenario in itertools.chain(_scenarios(60), _scenarios(100)):
        print(row(simulate(scenario)), flush=True)
    picture = draw(simulate(PLOTTED), simulate(replace(PLOTTED, constant=30.0)))
    Path(__file__).with_suffix(".svg").write_text(picture)


# ---------------------------------------------------------------- the plot

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 860, 110, 56, 24, 58, 50
INK, GRID = "#24292f", "#d0d7de"
COLOURS = {"ours": "#0969da", "constant": "#cf6a1c"}


def draw(own: Outcome, other: Outcome) -> str:
    """Return an SVG: four panels over the day, this package and constant polling. The scales are logarithmic."""
    scenario = own.scenario
    panels: list[tuple[str, float | None, Callable[[Outcome], list[float]]]] = [
        (f"calls a minute (means of 5 minutes; dashed: the limit of {scenario.limit})", scenario.limit, _calls),
        ("open waits", None, lambda outcome: [float(number) for number in open_waits(outcome)]),
        ("detection delay, s (95th percentile of 10 minutes; a wait that timed out counts as 3,600)", None, _delay),
        ("refused calls a minute (means of 5 minutes)", None, _refused),
    ]
    height = TOP + len(panels) * (PANEL + GAP)
    burst = f", {scenario.burst:,} more at {scenario.burst_at:g}:00" if scenario.burst else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        (
            f'<text x="{LEFT}" y="20" font-size="14" fill="{INK}">{scenario.per_day:,} documents a day, each asked for by itself'
            f"{burst}; a key of {scenario.limit} calls a minute</text>"
        ),
    ]
    own_text = f"this package, share {scenario.share:g} ({own.never_seen:,} timed out)"
    other_text = f"each wait polls every {other.scenario.constant:.0f} s ({other.never_seen:,} timed out)"
    for x, name, text in ((LEFT, "ours", own_text), (LEFT + 290, "constant", other_text)):
        parts += [
            f'<rect x="{x}" y="31" width="16" height="4" fill="{COLOURS[name]}"/>',
            f'<text x="{x + 22}" y="37" fill="{INK}">{text}</text>',
        ]
    for number, (title, line, series) in enumerate(panels):
        lines = {"constant": series(other), "ours": series(own)}
        parts += _panel(TOP + number * (PANEL + GAP), title, lines, line, scenario.hours)
    return "\n".join([*parts, "</svg>", ""])


def _per_minute(times: list[float], hours: float) -> list[float]:
    """Return calls a minute, as means of five minutes: single minutes are too many for the plot."""
    counted = [0.0] * int(hours * 12)
    for moment in times:
        if moment < hours * HOUR:
            counted[int(moment / 300)] += 1 / 5
    return counted


def _calls(outcome: Outcome) -> list[float]:
    return _per_minute(outcome.calls, outcome.scenario.hours)


def _refused(outcome: Outcome) -> list[float]:
    return _per_minute(outcome.refused, outcome.scenario.hours)


def _delay(outcome: Outcome) -> list[float]:
    slots: list[list[float]] = [[] for _ in range(int(outcome.scenario.hours * 6))]
    for document, delay in zip(outcome.documents, outcome.delays, strict=True):
        if document.ends_at < outcome.scenario.hours * HOUR:
            slots[int(document.ends_at / 600)].append(min(delay, TIMEOUT))
    return [percentile(slot, 0.95) if slot else 0.0 for slot in slots]


def _panel(top: float, title: str, lines: dict[str, list[float]], limit: float | None, hours: float) -> list[str]:
    powers = max(1, math.ceil(math.log10(1 + max(max(numbers) for numbers in lines.values()))))
    wide, bottom = WIDTH - LEFT - RIGHT, top + 16 + PANEL

    def y(number: float) -> float:
        return bottom - PANEL * math.log10(1 + number) / math.log10(1 + 10**powers)

    parts = [f'<text x="{LEFT}" y="{top + 8}" fill="{INK}" font-weight="bold">{title}</text>']
    for number in (0, *(10 ** (power + 1) for power in range(powers))):
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + wide}" y1="{y(number):.1f}" y2="{y(number):.1f}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(number) + 4:.1f}" fill="{INK}" text-anchor="end">{number:,}</text>')
    for hour in range(0, int(hours) + 1, 3):
        x = LEFT + wide * hour / hours
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" fill="{INK}" text-anchor="middle">{hour}:00</text>')
    for name, numbers in lines.items():
        points = " ".join(
            f"{LEFT + wide * (place + 0.5) / len(numbers):.1f},{y(number):.1f}" for place, number in enumerate(numbers)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.3"/>')
    if limit is not None:
        at = f'y1="{y(limit):.1f}" y2="{y(limit):.1f}"'
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + wide}" {at} stroke="{INK}" stroke-dasharray="5 4"/>')
    return parts


if __name__ == "__main__":
    main()
