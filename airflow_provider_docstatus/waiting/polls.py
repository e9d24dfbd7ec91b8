"""The ids that are polled, the requests that poll them, and what the schedule needs of a subscriber."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.description import BatchRoute, ServiceDescription
from airflow_provider_docstatus.protocol.flows import Kept, Observation, PollReply, StatusCache, look_up, poll
from airflow_provider_docstatus.protocol.messages import Flow
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.waiting.wait import PollAgain

#: Due times are rounded down to a multiple of this many seconds, so that polls that are due together wake the loop once.
GRID = 0.25
#: How many requests for several may omit an id in a row before it is polled alone.
MAX_OMISSIONS = 2
#: The fewest characters that an id takes in a query.
SHORTEST_LENGTH = 4


class Subscriber(Protocol):
    """A wait, as far as the schedule knows it."""

    calls: int
    #: Until when its ids are not polled, except to confirm a refusal (epoch seconds).
    held_until: float
    #: When the last poll falls due (epoch seconds).
    deadline: float
    #: Whether the result is to be read where only that says if the job has ended well.
    judges: bool

    def observe(self, target: Target, observation: Observation, now: float) -> PollAgain | bool:
        """Process a poll's observation of an id; return whether the id needs no more polls, or when to poll it again."""

    def next_poll(self, now: float, polls: int) -> float:
        """Return when to poll again (epoch seconds), after so many polls."""

    def follow(self, service: ServiceDescription) -> None:
        """Go by another description of the service from now on."""


S = TypeVar("S", bound=Subscriber)


@dataclass(eq=False, slots=True)
class Poll(Generic[S]):
    """
    An id that is waited for: when to poll it next, and who subscribes to it.

    :param omissions: how many requests for several in a row did not report on it.
    :param has_failed: whether the last request for several that should report on it had a passing fault.
    :param refused_at: when the refusal came that the next poll confirms (epoch seconds); else None.
    :param subscribers: for each how many polls it wanted so far (one on the worker), and when it wants the next (epoch seconds).
    """

    target: Target
    parent: Target | None = None
    due: float = math.inf
    omissions: int = 0
    has_failed: bool = False
    refused_at: float | None = None
    subscribers: dict[S, tuple[int, float]] = field(default_factory=dict)
    batch: Batch[S] | None = None
    #: How many observations it has had.
    number: int = 0

    @property
    def batch_key(self) -> Target | str:
        """What ids must have in common to go into one request: the parent, else the route."""
        return self.parent or self.target.route

    def length_in(self, batch: BatchRoute) -> int:
        """Return the characters that the id takes in a query, with its comma or the repeated parameter."""
        return len(quote(self.target.id, safe="")) + (len(batch.parameter) + 2 if batch.repeats else 3)

    @property
    def is_single(self) -> bool:
        """Whether it must be polled alone next."""
        return self.omissions >= MAX_OMISSIONS

    def is_waiting(self, now: float) -> bool:
        """Whether all of its subscribers wait for the confirmation of a refusal of another id."""
        return self.refused_at is None and all(each.held_until > now for each in self.subscribers)

    def is_overdue(self, now: float) -> bool:
        """Whether the deadline of one of its subscribers has passed."""
        return any(now >= one.deadline for one in self.subscribers)

    def next_due(self, now: float) -> float:
        """
        Return when the first of its subscribers wants to poll again, after a poll just now.

        The poll serves all of them. It counts, for the backoff of its pauses, only for those that wanted it by now.
        """
        dues = []
        for subscriber, (polls, wanted_at) in self.subscribers.items():
            polls += now >= wanted_at - GRID  # noqa: PLW2901 -- one more
            due = subscriber.next_poll(now, polls)
            self.subscribers[subscriber] = (polls, due)
            on_grid = due != subscriber.deadline and now + 4 * GRID < due < math.inf
            dues.append(due - due % GRID if on_grid else due)
        return min(dues)


def shape_of(service: ServiceDescription) -> object:
    """Return what decides which ids can go into one request, to be compared."""
    return [(name, route.parent, route.children, route.batch) for name, route in service.routes.items()]


@dataclass(eq=False, slots=True)
class Batch(Generic[S]):
    """
    The ids that one request polls.

    :param polls: the ids; the first one is due. None if a parent is looked up, to learn which ids belong to it.
    :param route: the route of the ids.
    :param parent: the parent through which several ids are polled; None for a single id and for the batch route.
    :param refused_at: when the refusal came that this poll confirms on a fresh connection (epoch seconds); else None.
    :param late_by: seconds that its first poll is late.
    :param shape: by which routes of the service they were put together.
    :param judges: whether its request reads the result too.
    """

    polls: Sequence[Poll[S]]
    route: str
    parent: Target | None = None
    refused_at: float | None = None
    late_by: float = 0.0
    shape: object = None
    judges: bool = False

    @property
    def targets(self) -> list[Target]:
        """The targets of its ids."""
        return [one.target for one in self.polls]

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for one of its ids."""
        return not self.polls or any(one.subscribers for one in self.polls)


def fitting(one: Poll[S], others: list[Poll[S]], batch: BatchRoute | None) -> list[Poll[S]]:
    """Return the others that fit into the same request by the length of its URL, those that are due first."""
    if batch is None:
        return []
    left = batch.longest_query - one.length_in(batch)
    found = []
    most = min(left // SHORTEST_LENGTH, batch.most_ids - 1)
    for other in heapq.nsmallest(most, others, key=lambda other: other.due):
        left -= other.length_in(batch)
        if left < 0:
            break
        found.append(other)
    return found


def is_parent(service: ServiceDescription, parent: Target | None, route: str) -> bool:
    """Whether a target can be the parent of the ids of a route."""
    child = service.routes.get(route)
    return parent is not None and child is not None and child.parent is not None and child.parent[0] == parent.route


def must_judge(batch: Batch[S], service: ServiceDescription) -> bool:
    """Whether one of the waits for a batch needs the result read, since only that says if the job has ended well."""
    route = service.routes.get(batch.route)
    if route is None or not route.is_decided_by_result:
        return False
    return any(subscriber.judges for one in batch.polls for subscriber in one.subscribers)


def flow_of(
    batch: Batch[S],
    service: ServiceDescription,
    wanted: Mapping[Target, Poll[S]],
    *,
    stays: bool,
    cache: StatusCache,
    kept: Kept | None,
) -> Flow[PollReply]:
    """
    Poll a batch. If the description has changed since it was put together, several ids are put together anew.

    :param wanted: all ids that are waited for.
    :param stays: see :class:`.Schedule`.
    :param cache: the statuses that were read last.
    :param kept: gets the data in status replies, see :func:`.poll_one`.
    :raises RequestRejected: the description in the connection no longer has the route (whoever owns the connection).
    """
    route = service.routes.get(batch.route)
    if route is None:
        text = f"{service.title} has no route {batch.route!r} any more, since the description in the connection has changed"
        raise RequestRejected(f"{text}. Put the route back, or clear the task.", service=service.name)
    if batch.shape != shape_of(service) and len(batch.polls) != 1:
        return PollReply({})
    if batch.parent is not None and not batch.polls:
        return (yield from look_up(service, batch.parent, batch.route, wanted, cache))
    batch.judges = must_judge(batch, service)
    return (
        yield from poll(
            service,
            batch.targets,
            parent=batch.parent,
            wanted=wanted,
            may_omit=stays and not batch.polls[0].has_failed,
            judges=batch.judges,
            cache=cache,
            kept=kept,
        )
    )
