"""
The schedule: which ids to poll next, when, and which of them go into one request.

Overdue ids go first. Ids of one parent go into one request, and so do ids of a route that has a batch route. An id that such
requests do not report on is polled alone at once: a short-cut that fails costs a request, but no time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Generic

from airflow_provider_docstatus.exceptions import NoSuchRoute, ServiceUnavailable, UnexpectedReply
from airflow_provider_docstatus.protocol.description import BatchRoute, ServiceDescription
from airflow_provider_docstatus.protocol.flows import Kept, Observation, PollReply, StatusCache
from airflow_provider_docstatus.protocol.messages import Flow
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.polls import (
    GRID,
    MAX_OMISSIONS,
    Batch,
    Poll,
    S,
    fitting,
    flow_of,
    is_parent,
    must_judge,
    shape_of,
)
from airflow_provider_docstatus.waiting.wait import PollAgain

#: How many parents in a row may turn out to be lone (only one child is waited for) before the look-up of parents stops.
MAX_LONE_PARENTS = 3
#: How long other ids wait while one of them is polled to find their parent. Most responses come sooner, and one may hang.
PARENT_LOOKUP_TIMEOUT = 3.0
#: An id is held while a request under way may report on it too. All held ids together are checked this often per second.
HELD_A_SECOND = 4000
#: The longest pause that a good reply can ask for (seconds).
LONGEST_ASKED_PAUSE = 600.0
#: Seconds after which a missing batch route is tried again.
BATCH_ROUTE_RECHECK = 600.0
#: Subscribers that are notified of a reply between two pauses; each may write two lines of log.
NOTIFIED_AT_ONCE = 32


class Schedule(Generic[S]):
    """
    The ids that are waited for at one service.

    :param service: the service's description.
    :param stays: whether ids may be polled together again after a fault of a request for several. A worker does not stay for it.
    :param max_lone_parents: parents in a row with one child waited for, after which no parent is looked up at once.
    """

    def __init__(
        self,
        service: ServiceDescription,
        *,
        stays: bool = True,
        max_lone_parents: float = MAX_LONE_PARENTS,
    ) -> None:
        #: The service's description; see :meth:`follow`.
        self.service = service
        self._stays = stays
        self._max_lone_parents = max_lone_parents
        self._polls: dict[Target, Poll[S]] = {}
        self._peers: dict[Target | str, dict[Target, Poll[S]]] = {}
        self._overdue: list[tuple[float, int, Poll[S]]] = []
        self._queue: list[tuple[float, int, Poll[S]]] = []
        self._number = itertools.count()
        self._parents_in_flight: dict[Target, Batch[S]] = {}
        self._lookup: Batch[S] | None = None
        self._parent_to_look_up: tuple[Target, str] | None = None
        self._held_until = 0.0
        self._lone_parents = 0
        self._batching_from = 0.0
        #: No deadline is earlier (epoch seconds).
        self.earliest_deadline = math.inf
        #: Called whenever something is planned earlier than before.
        self.on_plan: Callable[[], None] = lambda: None
        #: Until when the last good reply asked not to be polled again (epoch seconds).
        self.asked_until = 0.0
        #: The statuses that were read last, so that an unchanged reply is not read again.
        self.cache: StatusCache = {}
        #: The data in status replies, where reading deletes it.
        self.kept: Kept | None = None

    def __len__(self) -> int:
        return len(self._polls)

    def __contains__(self, target: object) -> bool:
        return target in self._polls

    def follow(self, service: ServiceDescription) -> None:
        """Go by another description from now on; a connection that was read again may have more words, or other routes."""
        before = self.service
        if before == service:
            return
        self.service, self.cache = service, {}
        for subscriber in self.subscribers():
            subscriber.follow(service)
        if shape_of(before) != shape_of(service):
            self._parent_to_look_up = None
            self._peers.clear()
            for target, one in self._polls.items():
                one.parent = None
                self._peers.setdefault(one.batch_key, {})[target] = one

    # -- who waits ---------------------------------------------------------------------------------------------

    def subscribe(self, subscriber: S, target: Target, first_at: float, parent: Target | None = None) -> None:
        """
        Poll an id for a subscriber, first at ``first_at`` (epoch seconds).

        :param parent: the id's parent, if it is known.
        """
        one = self._polls.get(target)
        if one is None:
            one = self._polls[target] = Poll(target, parent if is_parent(self.service, parent, target.route) else None)
            self._peers.setdefault(one.batch_key, {})[target] = one
        one.subscribers[subscriber] = (1, first_at)
        self.earliest_deadline = min(self.earliest_deadline, subscriber.deadline)
        self._plan(one, first_at)

    def unsubscribe(self, subscriber: S, target: Target) -> Batch[S] | None:
        """Stop polling an id for a subscriber. Return the request under way that nobody waits for any more, if there is one."""
        one = self._polls.get(target)
        if one is None or one.subscribers.pop(subscriber, None) is None or one.subscribers:
            return None
        del self._polls[target]
        self.cache.pop(target, None)
        self._leave_peers(one)
        return one.batch if one.batch is not None and not one.batch.is_wanted else None

    def subscribers(self) -> Iterable[S]:
        """Return who waits, each once."""
        return dict.fromkeys(subscriber for one in self._polls.values() for subscriber in one.subscribers)

    # -- what is next ------------------------------------------------------------------------------------------

    def next(self, now: float, *, opens_at: float = 0.0) -> Batch[S] | float:
        """
        Return the batch to poll now, or when to call this again (epoch seconds; infinite if nothing is planned).

        :param opens_at: when the rate limiter lets the next request through (epoch seconds).
        """
        while True:
            heap = self._overdue if self._head(self._overdue) <= now else self._queue
            if self.looks_up_next and heap is self._queue:
                return self._look_up(now) if opens_at <= now else opens_at
            head = min(self._head(heap), self._head(self._overdue))
            at = max(head, opens_at)
            if at > now:
                return at
            one = heapq.heappop(heap)[2]
            if not self._is_held(one, now):
                batch = self._batch(one, now)
                batch.late_by = now - head
                return batch
            one.due = math.inf
            if one.is_waiting(now):
                self._plan(one, min(each.held_until for each in one.subscribers))
                continue
            bounds = [each.deadline for each in one.subscribers if each.deadline > now]
            bounds += [self._held_until] if one.parent is None else []
            self._plan(one, min([now + GRID + len(self._polls) / HELD_A_SECOND, *bounds]))

    @property
    def looks_up_next(self) -> bool:
        """Whether the next request but for overdue ids looks up a parent that a reply has named."""
        return self._parent_to_look_up is not None and bool(self._polls)

    def flow(self, batch: Batch[S]) -> Flow[PollReply]:
        """Return the flow that polls a batch."""
        return flow_of(batch, self.service, self._polls, stays=self._stays, cache=self.cache, kept=self.kept)

    def answered(self, batch: Batch[S], reply: PollReply, now: float) -> None:
        """Notify the subscribers of a poll's observations, and plan the batch's ids again, also the omitted ones."""
        for _ in self.answering(batch, reply, now):
            pass

    def answering(self, batch: Batch[S], reply: PollReply, now: float) -> Iterator[None]:
        """
        Do what :meth:`answered` does in slices; yield between them.

        Subscribers may come and go meanwhile. No other poll of the batch's parent begins before the end.
        """
        self._detach(batch)
        if must_judge(batch, self.service) and not batch.judges:  # who needs that has come meanwhile
            reply = PollReply({})
        if isinstance(reply.failed, NoSuchRoute):
            self._batching_from = now + BATCH_ROUTE_RECHECK
        told = [one for target in reply.observations if (one := self._polls.get(target)) is not None]
        if reply.parent is not None and is_parent(self.service, reply.parent, batch.route):
            self._note_parent(batch, reply.parent, told)
        for subscriber in {subscriber for one in told for subscriber in one.subscribers}:
            subscriber.calls += 1
        states = [one.state for one in reply.observations.values() if isinstance(one, DocumentStatus)]
        is_open = any(not state.is_final or state is State.REVIEW for state in states)  # in review, some waits go on
        asked = now + min(reply.retry_after or 0.0, LONGEST_ASKED_PAUSE) if is_open else now
        self.asked_until = max(self.asked_until, asked)
        notified = (one for each in told for one in self._notify(each, reply.observations[each.target], now, asked))
        while len(list(itertools.islice(notified, NOTIFIED_AT_ONCE))) == NOTIFIED_AT_ONCE:
            yield
        for one in batch.polls:
            if one.target not in self._polls:
                self.cache.pop(one.target, None)
            elif one.target not in reply.observations and one.subscribers:
                self._note_omission(one, batch, reply, now)
        self.finished(batch)

    def batch_of(self, target: Target) -> Batch[S] | None:
        """Return the request under way that polls an id, if there is one."""
        one = self._polls.get(target)
        return one.batch if one is not None else None

    def finished(self, batch: Batch[S]) -> None:
        """Forget a request that is no longer under way."""
        self._detach(batch)
        if batch.parent is not None and self._parents_in_flight.get(batch.parent) is batch:
            del self._parents_in_flight[batch.parent]
        if self._lookup is batch:
            self._lookup = None

    def _detach(self, batch: Batch[S]) -> None:
        for one in batch.polls:
            if one.batch is batch:
                one.batch = None

    def poll_now(self, target: Target, now: float) -> None:
        """Plan a poll of an id for now, unless it is planned for then or earlier."""
        self._plan(self._polls[target], now)

    def promote_overdue(self, now: float) -> None:
        """Let ids that are still queued at their deadline go first."""
        self.earliest_deadline = math.inf
        for one in self._polls.values():
            for subscriber in one.subscribers:
                if one.due < subscriber.deadline <= now:
                    one.due = math.inf
                    self._plan(one, subscriber.deadline)
                self.earliest_deadline = min(self.earliest_deadline, subscriber.deadline)

    def clock_set_back(self, seconds: float) -> None:
        """Keep the polls as far ahead as they were when the machine's clock is set back."""
        for one in self._polls.values():
            one.due -= seconds
        for heap in (self._overdue, self._queue):
            heap[:] = [(due - seconds, number, one) for due, number, one in heap]
        self._batching_from = self._held_until = 0.0
        self.on_plan()

    def requests_per_round(self, now: float) -> int:
        """Return how many requests it takes to poll every id once."""
        number = 0
        for key, members in self._peers.items():
            size = len(members) if isinstance(key, Target) else self._batch_size(next(iter(members.values())), now)
            number += math.ceil(len(members) / size)
        return number

    # ----------------------------------------------------------------------------------------------------------

    def _plan(self, one: Poll[S], due: float) -> None:
        if due < one.due:
            one.due = due
            is_first = one.refused_at is not None or one.is_overdue(due)
            heapq.heappush(self._overdue if is_first else self._queue, (due, next(self._number), one))
            self.on_plan()

    def _head(self, heap: list[tuple[float, int, Poll[S]]]) -> float:
        """Drop the outdated entries at the head of a heap; return when its first valid one is due."""
        while heap and (heap[0][0] != heap[0][2].due or not heap[0][2].subscribers):
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def _notify(self, one: Poll[S], observation: Observation, now: float, asked_until: float) -> Iterator[None]:
        """Notify the subscribers of an id, one at each step, and plan its next poll, not before the service asks for it."""
        one.number += 1
        number = one.number
        one.omissions, one.has_failed = 0, False
        one.refused_at, again = None, math.inf
        one.due = due = math.inf
        if isinstance(observation, ServiceUnavailable) and not observation.was_polled:
            due = now + (observation.retry_after or 0.0)
        for subscriber in list(one.subscribers):
            if subscriber not in one.subscribers:  # it has left since the last step
                continue
            verdict = subscriber.observe(one.target, observation, now)
            if verdict is True:
                self.unsubscribe(subscriber, one.target)
            elif isinstance(verdict, PollAgain):
                again = min(again, verdict.at)
                one.refused_at = now if verdict.fresh_connection else one.refused_at
            yield
            if one.number != number:  # a later poll has notified all of them meanwhile
                return
        if one.subscribers:
            first_deadline = min(subscriber.deadline for subscriber in one.subscribers)
            self._plan(one, min(due, again, max(one.next_due(now), min(asked_until, max(now, first_deadline)))))

    def _is_held(self, one: Poll[S], now: float) -> bool:
        """Whether a request under way may report on this id as well."""
        if one.is_waiting(now):
            return True
        if one.parent is not None:
            return one.parent in self._parents_in_flight and not one.is_single
        is_looking = self._lookup is not None and now < self._held_until
        return is_looking and not one.is_overdue(now) and self._may_have_peers(one)

    def _batch(self, one: Poll[S], now: float) -> Batch[S]:
        """Return the batch of the id that is due now and the others that fit its request; take them off the schedule."""
        polls = [one]
        if not one.is_single and self._can_batch(one, now):
            peers = self._peers[one.batch_key].values()
            others = [other for other in peers if other is not one and other.due < math.inf and not other.is_single]
            polls += others if one.parent is not None else fitting(one, others, self._batch_route(one))
        parent = one.parent if len(polls) > 1 else None
        refused_at = max((each.refused_at for each in polls if each.refused_at), default=None)
        batch = Batch(polls, one.target.route, parent, refused_at, shape=shape_of(self.service))
        for each in polls:
            each.due, each.batch = math.inf, batch
        if batch.parent is not None:
            self._parents_in_flight[batch.parent] = batch
        elif len(polls) == 1 and not one.is_overdue(now) and self._may_have_peers(one):
            self._lookup, self._held_until = batch, now + PARENT_LOOKUP_TIMEOUT
        return batch

    def _note_parent(self, batch: Batch[S], parent: Target, told: list[Poll[S]]) -> None:
        """Set the parent that a reply names, and look it up next if other ids may belong to it."""
        first = batch.polls[0] if len(batch.polls) == 1 else None
        if first is not None and self._parent_to_look_up is None and parent not in self._peers and self._may_have_peers(first):
            self._parent_to_look_up = parent, batch.route
        for one in told:
            self._set_parent(one, parent)
        if not batch.polls:
            self._lone_parents = self._lone_parents + 1 if len(self._peers.get(parent, ())) < 2 else 0

    def _note_omission(self, one: Poll[S], batch: Batch[S], reply: PollReply, now: float) -> None:
        """
        Plan an id again that a request for several did not report on.

        After a passing fault it is polled together with the others again, at the interval. If only some are missing in a good
        reply, they are asked for together once more. All else is polled alone, at once.
        """
        failed = reply.failed
        is_passing = isinstance(failed, (ServiceUnavailable, UnexpectedReply)) and not reply.observations
        one.has_failed = is_passing and not one.is_overdue(now)
        if one.has_failed:
            self._plan(one, one.next_due(now))
            return
        is_missing = failed is None and (batch.parent is None or bool(reply.observations))
        may_retry = self._stays and not one.is_overdue(now) and (is_missing or isinstance(failed, NoSuchRoute))
        one.omissions = one.omissions + 1 if may_retry else MAX_OMISSIONS
        self._plan(one, now)

    def _look_up(self, now: float) -> Batch[S]:
        """Return the batch that looks up the parent that a reply has named; other ids are held until its reply comes."""
        assert self._parent_to_look_up is not None  # next() has just asked  # noqa: S101
        (parent, route), self._parent_to_look_up = self._parent_to_look_up, None
        self._lookup, self._held_until = Batch([], route, parent, shape=shape_of(self.service)), now + PARENT_LOOKUP_TIMEOUT
        return self._lookup

    def _can_batch(self, one: Poll[S], now: float) -> bool:
        return one.parent is not None or (self._batch_route(one) is not None and now >= self._batching_from)

    def _batch_route(self, one: Poll[S]) -> BatchRoute | None:
        route = self.service.routes.get(one.target.route)
        return route.batch if route is not None else None

    def _batch_size(self, one: Poll[S], now: float) -> int:
        """Return how many ids of this length fit one request."""
        batch = self._batch_route(one)
        if batch is None or not self._can_batch(one, now):
            return 1
        return max(1, min(batch.longest_query // one.length_in(batch), batch.most_ids))

    def _may_have_peers(self, one: Poll[S]) -> bool:
        """Whether this id may have a parent that it shares with others and that is not known yet."""
        if one.parent is not None or one.is_single or self._lone_parents >= self._max_lone_parents:
            return False
        route = self.service.routes.get(one.target.route)
        return route is not None and route.parent is not None and len(self._peers.get(one.batch_key, ())) > 1

    def _set_parent(self, one: Poll[S], parent: Target) -> None:
        """Set an id's parent as soon as a reply names it."""
        if one.parent is None and not one.is_single:
            self._leave_peers(one)
            one.parent = parent
            self._peers.setdefault(parent, {})[one.target] = one

    def _leave_peers(self, one: Poll[S]) -> None:
        peers = self._peers[one.batch_key]
        del peers[one.target]
        if not peers:
            del self._peers[one.batch_key]
