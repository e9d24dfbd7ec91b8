"""What is polled next, when, and which ids one request answers: a handed-in clock, and subscribers with a script."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import (
    ConnectionUnavailable,
    DocStatusError,
    KeyRejected,
    NoSuchRoute,
    NotFound,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import BatchRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.flows import Observation, PollReply, run
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting import schedule as schedules
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.schedule import (
    BATCH_ROUTE_RECHECK,
    GRID,
    HELD_A_SECOND,
    MAX_LONE_PARENTS,
    PARENT_LOOKUP_TIMEOUT,
    Batch,
    Poll,
    Schedule,
)
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.subscriber import Subscriber
from airflow_provider_docstatus.waiting.wait import CONFIRM_AFTER, REPEAT_AFTER, PollAgain
from tests.conversations import response

NOW = 1_000_000.0
HOUR = 3600.0
INTERVAL = 10.0
LONGEST_QUERY = 60

#: A service with all that a schedule cares about: documents that have a parent, jobs that have a batch route, and plain jobs.
SERVICE = ServiceDescription(
    name="acme",
    title="Acme",
    host="https://acme.example.com",
    docs="https://acme.example.com/docs",
    auth={"bearer": ("Authorization", "Bearer {key}")},
    routes={
        "document": Route(
            kind="document",
            path="/documents/{id}",
            parameter="document_id",
            ids=("document_id",),
            details={"request_id": ("request_id",)},
            parent=("request", "request_id"),
        ),
        "request": Route(
            kind="request",
            path="/requests/{id}",
            parameter="request_id",
            ids=("request_id",),
            children="documents",
            child=Route(kind="document", path="", ids=("document_id",)),
        ),
        "job": Route(
            path="/jobs/{id}", batch=BatchRoute(path="/jobs", parameter="ids", items="jobs", longest_query=LONGEST_QUERY)
        ),
        "plain": Route(kind="job", path="/plain/{id}"),
    },
    words={State.RUNNING: ("processing",), State.SUCCEEDED: ("completed",), State.FAILED: ("failed",)},
)


def document(number: int | str) -> Target:
    return Target("document", f"d-{number}")


def job(number: int | str) -> Target:
    return Target("job", f"j-{number}")


def plain(number: int | str) -> Target:
    return Target("plain", f"p-{number}")


PARENT = Target("request", "r-1")
RUNNING = DocumentStatus(service="acme", kind="job", id="x", state=State.RUNNING, word="processing")
DONE = replace(RUNNING, state=State.SUCCEEDED, word="completed")
AWAY = ServiceUnavailable("away")
MISSING = NoSuchRoute("Acme has no GET /jobs here (404).", code=404)


@dataclass(eq=False)
class Waiter:
    """A subscriber with a script: its answers to what it is told, in turn; then it wants to go on."""

    deadline: float = NOW + HOUR
    interval: float = INTERVAL
    script: list[PollAgain | bool] = field(default_factory=list)
    calls: int = 0
    held_until: float = 0.0
    told: list[tuple[Target, Observation, float]] = field(default_factory=list)
    polls: list[int] = field(default_factory=list)
    followed: list[ServiceDescription] = field(default_factory=list)

    def follow(self, service: ServiceDescription) -> None:
        self.followed.append(service)

    def observe(self, target: Target, observation: Observation, now: float) -> PollAgain | bool:
        self.told.append((target, observation, now))
        return self.script.pop(0) if self.script else False

    def next_poll(self, now: float, polls: int) -> float:
        self.polls.append(polls)
        return now + self.interval if now >= self.deadline else min(now + self.interval, self.deadline)


class Vendor:
    """
    Answers requests by what belongs to what.

    :param parents: the request of each document, by id; a document without one names none.
    :param faults: the error in the place of the answer, by path.
    """

    def __init__(self, parents: dict[str, str] | None = None, **faults: DocStatusError) -> None:
        self.parents = parents or {}
        self.faults = {f"/{path}": error for path, error in faults.items()}
        self.paths: list[str] = []
        self.lists = True

    def __call__(self, request: Request) -> Response:
        self.paths.append(request.path)
        if (error := self.faults.get(request.path)) is not None:
            raise error
        _, route, *ids = request.path.split("/")
        if route == "documents":
            parent = {"request_id": self.parents[ids[0]]} if ids[0] in self.parents else {}
            return response({"document_id": ids[0], "status": "processing", **parent}, request=request)
        if route == "requests":
            children = [one for one, parent in self.parents.items() if parent == ids[0]] if self.lists else []
            items = [{"document_id": one, "status": "processing"} for one in children]
            return response({"request_id": ids[0], "status": "processing", "documents": items}, request=request)
        if not ids:
            items = [{"job_id": one, "status": "processing"} for one in request.query["ids"].split(",")]
            return response({"jobs": items}, request=request)
        return response({"job_id": ids[0], "status": "processing"}, request=request)


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(SERVICE)


def subscribe(
    schedule: Schedule, *targets: Target, at: float = NOW, parent: Target | None = None, waiter: Waiter | None = None
) -> Waiter:
    """Subscribe somebody to some ids, first polled at ``at``."""
    waiter = waiter or Waiter()
    for target in targets:
        schedule.subscribe(waiter, target, at, parent)
    return waiter


def due(schedule: Schedule, now: float, **more: float) -> list[Batch]:
    """Return all that is to be polled now."""
    batches = []
    while isinstance(batch := schedule.next(now, **more), Batch):
        batches.append(batch)
    return batches


def ids(batches: Sequence[Batch]) -> list[list[str]]:
    return [[target.id for target in batch.targets] for batch in batches]


def tell(schedule: Schedule, batch: Batch, now: float, observation: Observation = RUNNING, **more: Any) -> None:
    """Answer a batch with the same observation for each of its ids."""
    schedule.answered(batch, PollReply(dict.fromkeys(batch.targets, observation), **more), now)


def ask(schedule: Schedule, batch: Batch, vendor: Vendor, now: float) -> list[str]:
    """Poll a batch at a vendor; return the paths of the requests."""
    before = len(vendor.paths)
    try:
        reply = run(schedule.flow(batch), vendor)
    except DocStatusError as error:
        reply = PollReply(dict.fromkeys(batch.targets, error))
    schedule.answered(batch, reply, now)
    return vendor.paths[before:]


def look_up_next(schedule: Schedule, vendor: Vendor, now: float) -> list[str]:
    """Look up the parent that the last reply named; return the paths of the requests."""
    batch = schedule.next(now)
    assert isinstance(batch, Batch)
    assert batch.targets == []
    return ask(schedule, batch, vendor, now)


def due_of(schedule: Schedule, target: Target) -> float:
    return schedule._polls[target].due


# -- what is due -----------------------------------------------------------------------------------------------


def test_nothing_is_planned_while_nobody_waits(schedule):
    assert schedule.next(NOW) == math.inf
    assert len(schedule) == 0
    assert schedule.requests_per_round(NOW) == 0


def test_who_is_due_first_is_polled_first(schedule):
    subscribe(schedule, plain("late"), at=NOW + 3)
    subscribe(schedule, plain("early"), at=NOW + 1)
    subscribe(schedule, plain("middle"), at=NOW + 2)
    assert ids(due(schedule, NOW + 5)) == [["p-early"], ["p-middle"], ["p-late"]]


def test_who_came_first_is_polled_first_of_those_due_together(schedule):
    subscribe(schedule, *(plain(number) for number in range(20)))
    assert ids(due(schedule, NOW)) == [[f"p-{number}"] for number in range(20)]


def test_what_is_not_due_yet_is_not_polled_but_says_when_to_look_again(schedule):
    subscribe(schedule, plain(1), at=NOW + 3)
    assert schedule.next(NOW) == NOW + 3
    assert schedule.next(NOW + 2.9) == NOW + 3
    assert ids(due(schedule, NOW + 3)) == [["p-1"]]


def test_what_is_under_way_is_not_planned(schedule):
    subscribe(schedule, plain(1))
    assert ids(due(schedule, NOW)) == [["p-1"]]
    assert schedule.next(NOW + HOUR) == math.inf


def test_nothing_is_polled_before_the_rate_limiter_lets_it_through(schedule):
    subscribe(schedule, plain(1))
    assert schedule.next(NOW, opens_at=NOW + 7) == NOW + 7
    assert ids(due(schedule, NOW + 7, opens_at=NOW + 7)) == [["p-1"]]


def test_the_rate_limiter_makes_nothing_due_sooner(schedule):
    subscribe(schedule, plain(1), at=NOW + 9)
    assert schedule.next(NOW, opens_at=NOW + 7) == NOW + 9
    assert Schedule(SERVICE).next(NOW, opens_at=NOW + 7) == math.inf


def test_a_batch_says_how_late_it_is(schedule):
    subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW + 4)
    assert batch.late_by == 4


def test_an_id_that_is_planned_earlier_wakes_whoever_sleeps_until_the_next(schedule):
    woken = []
    schedule.on_plan = lambda: woken.append(schedule.next(NOW))
    subscribe(schedule, plain(1), at=NOW + 5)
    subscribe(schedule, plain(1), at=NOW + 3)
    subscribe(schedule, plain(1), at=NOW + 4)
    assert woken == [NOW + 5, NOW + 3]


def test_an_id_can_be_polled_now(schedule):
    subscribe(schedule, plain(1), at=NOW + 5)
    schedule.poll_now(plain(1), NOW)
    schedule.poll_now(plain(1), NOW + 1)
    (batch,) = due(schedule, NOW + 2)
    assert batch.late_by == 2
    assert schedule.next(NOW + HOUR) == math.inf


def test_a_wait_without_a_next_poll_of_its_own_is_polled_when_it_says_so(schedule):
    """A worker's wait: the next poll is the next poke."""
    subscribe(schedule, plain(1), waiter=Waiter(deadline=math.inf, interval=math.inf))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW + 1)
    assert schedule.next(NOW + HOUR) == math.inf
    schedule.poll_now(plain(1), NOW + HOUR)
    assert ids(due(schedule, NOW + HOUR)) == [["p-1"]]


# -- deadlines -------------------------------------------------------------------------------------------------


def test_an_id_at_its_deadline_goes_before_those_that_have_waited_longer(schedule):
    subscribe(schedule, *(plain(number) for number in range(3)), at=NOW - 60)
    subscribe(schedule, plain("last"), at=NOW, waiter=Waiter(deadline=NOW))
    assert ids(due(schedule, NOW)) == [["p-last"], ["p-0"], ["p-1"], ["p-2"]]


def test_of_several_overdue_ids_the_first_due_goes_first(schedule):
    subscribe(schedule, plain("b"), at=NOW + 2, waiter=Waiter(deadline=NOW + 2))
    subscribe(schedule, plain("a"), at=NOW + 1, waiter=Waiter(deadline=NOW + 1))
    assert ids(due(schedule, NOW + 3)) == [["p-a"], ["p-b"]]


def test_a_deadline_to_come_keeps_nobody_waiting(schedule):
    subscribe(schedule, plain("last"), at=NOW + 5, waiter=Waiter(deadline=NOW + 5))
    subscribe(schedule, plain(1), at=NOW + 1)
    assert schedule.next(NOW) == NOW + 1
    assert ids(due(schedule, NOW + 1)) == [["p-1"]]
    assert schedule.next(NOW + 1) == NOW + 5


def test_what_is_still_queued_at_its_deadline_is_let_go_first(schedule):
    subscribe(schedule, *(plain(number) for number in range(3)))
    subscribe(schedule, plain("last"), at=NOW + 1, waiter=Waiter(deadline=NOW + 2))
    schedule.promote_overdue(NOW + 1.9)
    assert schedule.next(NOW + 1.9, opens_at=NOW + 3) == NOW + 3
    schedule.promote_overdue(NOW + 2.5)
    (first, *_) = due(schedule, NOW + 3, opens_at=NOW + 3)
    assert first.targets == [plain("last")]
    assert first.late_by == 1, "it counts from the deadline"


def test_letting_overdue_ids_go_first_polls_nothing_twice(schedule):
    subscribe(schedule, plain(1), at=NOW + 1, waiter=Waiter(deadline=NOW + 2))
    for _ in range(3):
        schedule.promote_overdue(NOW + 2.5)
    assert ids(due(schedule, NOW + 3)) == [["p-1"]]
    schedule.promote_overdue(NOW + 4)
    assert schedule.next(NOW + 4) == math.inf, "it is under way"


def test_an_id_is_overdue_for_one_of_its_subscribers(schedule):
    subscribe(schedule, plain("early"), at=NOW - 9)
    subscribe(schedule, plain("both"), at=NOW + HOUR, waiter=Waiter(deadline=NOW + HOUR + 1))
    subscribe(schedule, plain("both"), at=NOW, waiter=Waiter(deadline=NOW))
    assert ids(due(schedule, NOW)) == [["p-both"], ["p-early"]]


# -- the interval ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "interval", "due_at"),
    [
        pytest.param(NOW + 0.1, 10.0, NOW + 10.0, id="down-to-the-grid"),
        pytest.param(NOW + 0.2, 10.09, NOW + 10.25, id="down-to-the-grid-again"),
        pytest.param(NOW + 0.1, 4 * GRID, NOW + 1.1, id="a-short-interval-is-kept"),
        pytest.param(NOW + 0.1, HOUR, NOW + 100.1, id="a-deadline-is-kept"),
        pytest.param(NOW + 0.1, math.inf, NOW + 100.1, id="a-deadline-is-kept-by-who-has-no-interval"),
        pytest.param(NOW + 200.1, math.inf, math.inf, id="no-interval"),
    ],
)
def test_a_poll_falls_on_the_grid_but_not_a_short_interval_nor_the_deadline(schedule, now, interval, due_at):
    assert GRID == 0.25
    subscribe(schedule, plain(1), waiter=Waiter(deadline=NOW + 100.1, interval=interval))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, now)
    assert due_of(schedule, plain(1)) == pytest.approx(due_at, abs=1e-6)


def test_a_reply_plans_the_next_poll_and_counts_as_one(schedule):
    waiter = subscribe(schedule, plain(1))
    for number in range(1, 4):
        (batch,) = due(schedule, NOW + number * 20)
        tell(schedule, batch, NOW + number * 20)
        assert waiter.calls == number
    assert waiter.polls == [2, 3, 4], "whoever subscribes has polled once before"


def test_the_polls_that_another_wants_do_not_lengthen_a_waits_own_pauses(schedule):
    fast, slow = Waiter(interval=2.0), Waiter(interval=10.0)
    subscribe(schedule, plain(1), waiter=fast)
    subscribe(schedule, plain(1), at=NOW + 10, waiter=slow)
    now = NOW
    for _ in range(30):
        (batch,) = due(schedule, now)
        tell(schedule, batch, now)
        now += 2
    assert set(slow.polls) == {1}, "it never had to wait for its own"
    assert fast.polls == list(range(2, 32))
    schedule.unsubscribe(fast, plain(1))
    schedule.poll_now(plain(1), now + 8)
    (batch,) = due(schedule, now + 8)
    tell(schedule, batch, now + 8)
    assert slow.polls[-1] == 2


def test_who_has_heard_enough_is_polled_for_no_more(schedule):
    waiter = subscribe(schedule, plain(1), waiter=Waiter(script=[False, True]))
    for time in (NOW, NOW + 20):
        (batch,) = due(schedule, time)
        tell(schedule, batch, time)
    assert [now for _, _, now in waiter.told] == [NOW, NOW + 20]
    assert plain(1) not in schedule
    assert schedule.next(NOW + HOUR) == math.inf


# -- several subscribers ---------------------------------------------------------------------------------------


def test_one_poll_tells_all_who_wait_for_an_id(schedule):
    one, two = subscribe(schedule, plain(1)), subscribe(schedule, plain(1))
    assert len(schedule) == 1
    (batch,) = due(schedule, NOW)
    assert batch.targets == [plain(1)]
    tell(schedule, batch, NOW + 1)
    assert one.told == two.told == [(plain(1), RUNNING, NOW + 1)]


def test_the_most_impatient_subscriber_says_when(schedule):
    subscribe(schedule, plain(1), at=NOW + 5, waiter=Waiter(interval=30.0))
    subscribe(schedule, plain(1), at=NOW, waiter=Waiter(interval=2.0))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW)
    assert schedule.next(NOW) == NOW + 2


def test_an_id_is_polled_on_while_one_of_its_subscribers_has_not_heard_enough(schedule):
    subscribe(schedule, plain(1), waiter=Waiter(script=[True], interval=2.0))
    patient = subscribe(schedule, plain(1), waiter=Waiter(interval=30.0))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW)
    assert list(schedule.subscribers()) == [patient]
    assert schedule.next(NOW) == NOW + 30


def test_a_subscriber_of_many_ids_is_one_and_each_reply_counts_once_for_it(schedule):
    waiter = subscribe(schedule, job(1), job(2), job(3))
    other = subscribe(schedule, job(3))
    assert list(schedule.subscribers()) == [waiter, other]
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW)
    assert [target for target, _, _ in waiter.told] == [job(1), job(2), job(3)]
    assert waiter.calls == other.calls == 1


def test_who_subscribes_while_a_poll_is_under_way_is_told_by_its_reply(schedule):
    subscribe(schedule, plain(1), waiter=Waiter(interval=30.0))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW)
    (batch,) = due(schedule, NOW + 30)
    joined = subscribe(schedule, plain(1), at=NOW + 35, waiter=Waiter(interval=20.0))
    tell(schedule, batch, NOW + 31)
    assert joined.told == [(plain(1), RUNNING, NOW + 31)]
    assert joined.polls == [1], "it wanted none yet"
    assert schedule.next(NOW + 31) == NOW + 51, "what it had planned is done"


def test_who_subscribes_while_a_slow_poll_is_under_way_is_polled_for_when_it_says(schedule):
    subscribe(schedule, plain(1))
    (slow,) = due(schedule, NOW)
    joined = subscribe(schedule, plain(1), at=NOW + 5)
    (batch,) = due(schedule, NOW + 5)
    tell(schedule, batch, NOW + 6)
    assert len(joined.told) == 1
    tell(schedule, slow, NOW + 7)
    assert len(joined.told) == 2
    assert schedule.next(NOW + 7) == NOW + 17


# -- leaving ---------------------------------------------------------------------------------------------------


def test_what_nobody_waits_for_is_not_polled(schedule):
    waiter = subscribe(schedule, plain(1))
    assert schedule.unsubscribe(waiter, plain(1)) is None
    assert schedule.next(NOW + HOUR) == math.inf
    assert list(schedule.subscribers()) == []


def test_leaving_returns_the_request_under_way_that_nobody_waits_for_any_more(schedule):
    waiter = subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    assert schedule.unsubscribe(waiter, plain(1)) is batch
    assert not batch.is_wanted
    assert schedule.unsubscribe(waiter, plain(1)) is None


def test_leaving_keeps_a_request_that_somebody_else_waits_for(schedule):
    one, two = subscribe(schedule, job(1)), subscribe(schedule, job(2))
    (batch,) = due(schedule, NOW)
    assert schedule.unsubscribe(one, job(1)) is None
    assert batch.is_wanted
    assert schedule.unsubscribe(two, job(2)) is batch


def test_leaving_keeps_the_request_for_an_id_that_somebody_else_waits_for(schedule):
    one, two = subscribe(schedule, plain(1)), subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    assert schedule.unsubscribe(one, plain(1)) is None
    assert schedule.unsubscribe(two, plain(1)) is batch


def test_leaving_after_the_reply_returns_no_request(schedule):
    waiter = subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW)
    assert schedule.unsubscribe(waiter, plain(1)) is None


def test_leaving_after_the_request_was_given_up_returns_no_request(schedule):
    waiter = subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    schedule.finished(batch)
    assert schedule.unsubscribe(waiter, plain(1)) is None


def test_a_stranger_who_leaves_changes_nothing(schedule):
    subscribe(schedule, plain(1))
    assert schedule.unsubscribe(Waiter(), plain(1)) is None
    assert schedule.unsubscribe(Waiter(), plain(2)) is None
    assert ids(due(schedule, NOW)) == [["p-1"]]


def test_a_reply_about_somebody_who_has_left_plans_nothing(schedule):
    waiter = subscribe(schedule, job(1), job(2))
    (batch,) = due(schedule, NOW)
    schedule.unsubscribe(waiter, job(1))
    schedule.unsubscribe(waiter, job(2))
    schedule.answered(batch, PollReply({job(1): RUNNING}), NOW)
    assert waiter.told == []
    assert waiter.calls == 0
    assert schedule.next(NOW + HOUR) == math.inf


def test_who_comes_back_while_the_old_request_is_under_way_is_told_by_it_and_polled_on(schedule):
    waiter = subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    schedule.unsubscribe(waiter, plain(1))
    subscribe(schedule, plain(1), at=NOW + 2, waiter=waiter)
    tell(schedule, batch, NOW + 1)
    assert len(waiter.told) == 1
    assert schedule.next(NOW + 1) == NOW + 11


def test_who_comes_back_while_the_old_look_up_is_under_way_can_leave_again(schedule):
    waiter = subscribe(schedule, document(1), document(2))
    (batch,) = due(schedule, NOW)
    schedule.unsubscribe(waiter, document(1))
    subscribe(schedule, document(1), at=NOW + 5, waiter=waiter)
    ask(schedule, batch, Vendor({"d-1": "r-1", "d-2": "r-1"}), NOW + 1)
    for number in (1, 2):
        schedule.unsubscribe(waiter, document(number))
    assert schedule.requests_per_round(NOW + 1) == 0


def test_the_status_of_an_id_is_forgotten_with_its_last_subscriber(schedule):
    one, two = subscribe(schedule, document(1)), subscribe(schedule, document(1))
    (batch,) = due(schedule, NOW)
    ask(schedule, batch, Vendor(), NOW)
    schedule.unsubscribe(one, document(1))
    assert document(1) in schedule.cache
    schedule.unsubscribe(two, document(1))
    assert schedule.cache == {}


def test_leaving_by_another_requests_reply_leaves_nothing_behind(schedule):
    """The old poller gave the request up; a cache without the id would do as well."""
    subscribe(schedule, document(1), waiter=Waiter(script=[True], deadline=NOW))
    subscribe(schedule, document(2), document(3), parent=PARENT)
    alone, through_parent = due(schedule, NOW)
    assert ids([alone, through_parent]) == [["d-1"], ["d-2", "d-3"]]
    vendor = Vendor({"d-1": "r-1", "d-2": "r-1", "d-3": "r-1"})
    ask(schedule, through_parent, vendor, NOW)
    assert document(1) not in schedule
    if not alone.is_wanted:
        ask(schedule, alone, vendor, NOW)
    assert document(1) not in schedule.cache


# -- batches by the batch route --------------------------------------------------------------------------------


def test_ids_of_a_route_with_a_batch_route_go_into_one_request(schedule):
    subscribe(schedule, job(1), job(2), job(3))
    (batch,) = due(schedule, NOW)
    vendor, asked = Vendor(), []
    run(schedule.flow(batch), lambda request: asked.append(request) or vendor(request))
    assert [(request.path, request.query) for request in asked] == [("/jobs", {"ids": "j-1,j-2,j-3"})]


def test_ids_of_a_route_without_one_are_polled_alone(schedule):
    subscribe(schedule, plain(1), job(1), plain(2), document(1), job(2))
    assert ids(due(schedule, NOW)) == [["p-1"], ["j-1", "j-2"], ["p-2"], ["d-1"]]


def test_a_batch_takes_along_what_is_due_later_the_next_first(schedule):
    for number in range(9):
        subscribe(schedule, job(number), at=NOW + 9 - number)
    (batch,) = due(schedule, NOW + 1)
    assert [target.id for target in batch.targets] == [f"j-{number}" for number in (8, 7, 6, 5, 4, 3, 2, 1, 0)]
    assert schedule.next(NOW + HOUR) == math.inf


def test_a_batch_takes_nothing_that_is_under_way(schedule):
    subscribe(schedule, job(1), job(2))
    due(schedule, NOW)
    subscribe(schedule, job(3))
    assert ids(due(schedule, NOW)) == [["j-3"]]


def test_a_full_batch_leaves_what_is_due_last(schedule):
    per_request = LONGEST_QUERY // len("j-10%2C")
    assert per_request == 8
    for number in range(10, 30):
        subscribe(schedule, job(number), at=NOW + number)
    batches = due(schedule, NOW + 60)
    assert [len(batch.targets) for batch in batches] == [8, 8, 4]
    assert [target.id for batch in batches for target in batch.targets] == [f"j-{number}" for number in range(10, 30)]


@pytest.mark.parametrize(
    ("names", "batches"),
    [
        pytest.param("a" * 17, [1], id="one"),
        pytest.param(["a" * 17, "b" * 17, "c" * 17], [3], id="to-the-letter"),
        pytest.param(["a" * 17, "b" * 17, "c" * 18], [2, 1], id="a-letter-too-long"),
        pytest.param(["a" * 27, "b" * 28], [1, 1], id="a-letter-too-long-for-two"),
        pytest.param(["a" * 57, "b"], [1, 1], id="one-fills-it"),
        pytest.param(["a" * 17, *"bcdefghijklm"], [11, 2], id="a-long-one-and-short-ones"),
        pytest.param([*"bcdefghijklm", "a" * 17], [12, 1], id="short-ones-and-a-long-one"),
        pytest.param(["a" * 200, "b", "c"], [1, 2], id="one-is-too-long-for-any-batch"),
        pytest.param(["b", "c", "a" * 200], [2, 1], id="one-is-too-long-for-any-batch-and-last"),
        pytest.param(["ä" * 5, "ö" * 5], [1, 1], id="by-the-letters-of-the-URL"),
        pytest.param(["ä" * 4, "ö" * 4], [2], id="by-the-letters-of-the-URL-that-fit"),
    ],
)
def test_a_batch_is_no_longer_than_its_url_may_be(schedule, names, batches):
    subscribe(schedule, *(Target("job", name) for name in ([names] if isinstance(names, str) else names)))
    assert [len(batch.targets) for batch in due(schedule, NOW)] == batches


@settings(max_examples=50, deadline=None, derandomize=True)
@given(names=st.lists(st.text("abä-_", min_size=1, max_size=90), min_size=1, max_size=30, unique=True))
def test_whatever_the_ids_each_is_polled_once_and_no_url_is_too_long(names):
    schedule, polled = Schedule(SERVICE), []
    subscribe(schedule, *(Target("job", name) for name in names))
    for batch in due(schedule, NOW):
        polled += [target.id for target in batch.targets]
        requests: list[Request] = []
        if len(batch.targets) > 1:
            run(schedule.flow(batch), lambda request, sent=requests: sent.append(request) or Vendor()(request))
            (request,) = requests
            assert len(request.query["ids"].replace("ä", "%C3%A4")) <= LONGEST_QUERY
    assert sorted(polled) == sorted(names)


def test_an_overdue_id_takes_others_along(schedule):
    subscribe(schedule, job(1), at=NOW + 5)
    subscribe(schedule, job(2), waiter=Waiter(deadline=NOW))
    assert ids(due(schedule, NOW)) == [["j-2", "j-1"]]


# -- batches through a parent ----------------------------------------------------------------------------------


def test_ids_of_one_parent_go_into_one_request_however_many(schedule):
    subscribe(schedule, *(document(number) for number in range(1000)), parent=PARENT)
    (batch,) = due(schedule, NOW)
    assert len(batch.targets) == 1000
    vendor = Vendor({f"d-{number}": "r-1" for number in range(1000)})
    assert ask(schedule, batch, vendor, NOW) == ["/requests/r-1"]
    assert all(due_of(schedule, document(number)) == NOW + INTERVAL for number in range(1000))


def test_each_parent_is_a_request_of_its_own(schedule):
    for parent in ("r-1", "r-2"):
        subscribe(schedule, document(f"{parent}-1"), document(f"{parent}-2"), parent=Target("request", parent))
    assert ids(due(schedule, NOW)) == [["d-r-1-1", "d-r-1-2"], ["d-r-2-1", "d-r-2-2"]]


def test_the_only_child_that_is_waited_for_is_polled_itself(schedule):
    subscribe(schedule, document(1), parent=PARENT)
    (batch,) = due(schedule, NOW)
    assert batch.parent is None
    assert ask(schedule, batch, Vendor({"d-1": "r-1"}), NOW) == ["/documents/d-1"]


def test_a_child_that_joins_while_its_parent_is_polled_waits_for_the_reply(schedule):
    subscribe(schedule, document(1), document(2), parent=PARENT)
    (batch,) = due(schedule, NOW)
    joined = subscribe(schedule, document(3), at=NOW, parent=PARENT)
    again = schedule.next(NOW)
    assert again == NOW + GRID + 3 / HELD_A_SECOND
    assert schedule.next(again) == again + GRID + 3 / HELD_A_SECOND, "however long that takes"
    ask(schedule, batch, Vendor({"d-1": "r-1", "d-2": "r-1", "d-3": "r-1"}), NOW + 1)
    assert len(joined.told) == 1
    assert schedule.next(NOW + 1) == NOW + 11


def test_a_child_that_the_reply_does_not_name_is_polled_after_it(schedule):
    subscribe(schedule, document(1), document(2), parent=PARENT)
    (batch,) = due(schedule, NOW)
    subscribe(schedule, document(3), at=NOW, parent=PARENT)
    schedule.next(NOW)
    ask(schedule, batch, Vendor({"d-1": "r-1", "d-2": "r-1"}), NOW + 0.1)
    assert [target.id for batch in due(schedule, NOW + 1) for target in batch.targets][:1] == ["d-3"]


def test_a_child_at_its_deadline_waits_for_the_reply_as_well(schedule):
    subscribe(schedule, document(1), document(2), parent=PARENT)
    due(schedule, NOW)
    subscribe(schedule, document(3), at=NOW, parent=PARENT, waiter=Waiter(deadline=NOW))
    assert schedule.next(NOW) > NOW


def test_a_parents_reply_tells_of_children_whose_parent_nobody_knew(schedule):
    subscribe(schedule, document(1), document(2), parent=PARENT)
    unknown = subscribe(schedule, document(3), at=NOW + 9)
    (batch,) = due(schedule, NOW)
    ask(schedule, batch, Vendor({"d-1": "r-1", "d-2": "r-1", "d-3": "r-1"}), NOW)
    assert len(unknown.told) == 1
    assert ids(due(schedule, NOW + 10)) == [["d-1", "d-2", "d-3"]]


def test_when_a_parent_is_polled_no_more_its_children_are_held_no_more(schedule):
    waiter = subscribe(schedule, document(1), document(2), parent=PARENT)
    (batch,) = due(schedule, NOW)
    for number in (1, 2):
        schedule.unsubscribe(waiter, document(number))
    schedule.finished(batch)
    subscribe(schedule, document(3), parent=PARENT)
    assert ids(due(schedule, NOW)) == [["d-3"]]


def test_a_request_that_is_finished_twice_ends_no_other(schedule):
    """The poller calls finished() once more when the request's task is done; the parent may be under way again by then."""
    again = PollAgain(NOW)
    subscribe(schedule, document(1), document(2), parent=PARENT, waiter=Waiter(script=[again, again]))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW)
    (second,) = due(schedule, NOW)
    assert second.parent == PARENT
    schedule.finished(batch)
    subscribe(schedule, document(3), parent=PARENT)
    assert due(schedule, NOW) == []


# -- the look-up of a parent -----------------------------------------------------------------------------------


def test_ids_of_unknown_parent_wait_while_one_of_them_is_polled(schedule):
    subscribe(schedule, *(document(number) for number in range(5)))
    (batch,) = due(schedule, NOW)
    assert batch.targets == [document(0)]
    assert schedule.next(NOW) == NOW + GRID + 5 / HELD_A_SECOND


def test_the_parent_that_it_turns_out_to_have_is_polled_at_once_and_tells_of_all(schedule):
    waiter = subscribe(schedule, *(document(number) for number in range(5)))
    (batch,) = due(schedule, NOW)
    vendor = Vendor({f"d-{number}": "r-1" for number in range(5)})
    assert ask(schedule, batch, vendor, NOW + 1) == ["/documents/d-0"]
    assert [target for target, _, _ in waiter.told] == [document(0)], "what was heard is told before the parent is polled"
    assert look_up_next(schedule, vendor, NOW + 1) == ["/requests/r-1"]
    assert waiter.calls == 2
    assert {target.id for target, _, _ in waiter.told} == {f"d-{number}" for number in range(5)}
    (batch,) = due(schedule, NOW + 11)
    assert len(batch.targets) == 5
    assert ask(schedule, batch, vendor, NOW + 11) == ["/requests/r-1"]


def test_after_the_reply_the_next_of_them_is_polled(schedule):
    subscribe(schedule, document(1), document(2), document(3))
    (batch,) = due(schedule, NOW)
    schedule.next(NOW)
    ask(schedule, batch, Vendor(), NOW + 0.1)
    assert ids(due(schedule, NOW + 0.3)) == [["d-2"]], "and the third waits for it"


def test_after_a_fault_the_next_of_them_is_polled(schedule):
    subscribe(schedule, document(1), document(2))
    (batch,) = due(schedule, NOW)
    schedule.next(NOW)
    tell(schedule, batch, NOW + 0.1, AWAY)
    assert ids(due(schedule, NOW + 0.3)) == [["d-2"]]


def test_ids_of_unknown_parent_wait_no_longer_than_a_look_up_may_take(schedule):
    subscribe(schedule, document(1), document(2), document(3))
    (slow,) = due(schedule, NOW)
    now = NOW
    while not (batches := due(schedule, now)):
        now = schedule.next(now)
    assert now == NOW + PARENT_LOOKUP_TIMEOUT
    assert ids(batches) == [["d-2"]]
    schedule.finished(slow)
    assert due(schedule, now + 1) == [], "the second is a look-up of its own"


def test_an_id_that_waits_for_a_look_up_is_polled_at_its_deadline(schedule):
    many = 9000
    assert GRID + many / HELD_A_SECOND > 2
    subscribe(schedule, *(document(number) for number in range(many)))
    subscribe(schedule, document("last"), waiter=Waiter(deadline=NOW + 2))
    assert ids(due(schedule, NOW)) == [["d-0"]]
    assert schedule.next(NOW) == NOW + 2
    assert ids(due(schedule, NOW + 2)) == [["d-last"]]


def test_an_id_at_its_deadline_does_not_wait_for_a_look_up(schedule):
    subscribe(schedule, document(1), document(2))
    due(schedule, NOW)
    subscribe(schedule, document("last"), waiter=Waiter(deadline=NOW))
    assert ids(due(schedule, NOW)) == [["d-last"]]


def test_nobody_waits_for_the_reply_about_an_id_at_its_deadline(schedule):
    subscribe(schedule, document("last"), waiter=Waiter(deadline=NOW))
    subscribe(schedule, document(1))
    assert ids(due(schedule, NOW)) == [["d-last"], ["d-1"]]


def test_ids_that_can_have_no_parent_wait_for_nothing(schedule):
    subscribe(schedule, document(1), document(2))
    due(schedule, NOW)
    subscribe(schedule, plain(1), plain(2), Target("request", "r-9"))
    subscribe(schedule, document(3), document(4), parent=PARENT)
    assert ids(due(schedule, NOW)) == [["p-1"], ["p-2"], ["r-9"], ["d-3", "d-4"]]


def test_an_id_alone_on_its_route_is_no_look_up(schedule):
    subscribe(schedule, document(1))
    (batch,) = due(schedule, NOW)
    assert ask(schedule, batch, Vendor({"d-1": "r-1"}), NOW) == ["/documents/d-1"]
    assert not schedule.looks_up_next


def test_a_parent_that_is_known_already_is_not_polled_once_more(schedule):
    subscribe(schedule, document(1), document(2), at=NOW + 60, parent=PARENT)
    subscribe(schedule, document(3), document(4))
    (batch,) = due(schedule, NOW)
    assert ask(schedule, batch, Vendor({"d-3": "r-1"}), NOW) == ["/documents/d-3"]
    assert not schedule.looks_up_next
    assert schedule._polls[document(3)].parent == PARENT


def test_a_parent_that_cannot_be_polled_is_noted_all_the_same(schedule):
    waiter = subscribe(schedule, document(1), document(2))
    (batch,) = due(schedule, NOW)
    vendor = Vendor({"d-1": "r-1"}, **{"requests/r-1": AWAY})
    assert ask(schedule, batch, vendor, NOW) == ["/documents/d-1"]
    assert look_up_next(schedule, vendor, NOW) == ["/requests/r-1"]
    assert [target for target, _, _ in waiter.told] == [document(1)]
    assert schedule._polls[document(1)].parent == PARENT


def lone_parents(schedule: Schedule, number: int) -> Vendor:
    """Poll so many ids of unknown parent, each of which has a parent of its own."""
    vendor = Vendor({f"d-lone-{one}": f"r-lone-{one}" for one in range(number)})
    waiter = subscribe(schedule, *(document(f"lone-{one}") for one in range(number)), waiter=Waiter(interval=HOUR / 2))
    subscribe(schedule, document("peer"), at=NOW + HOUR / 2)
    for one in range(number):
        (batch,) = due(schedule, NOW + one)
        assert ask(schedule, batch, vendor, NOW + one) == [f"/documents/d-lone-{one}"]
        assert look_up_next(schedule, vendor, NOW + one) == [f"/requests/r-lone-{one}"]
    assert waiter.calls == 2 * number
    return vendor


def test_after_some_parents_of_one_child_in_a_row_no_parent_is_polled_at_once(schedule):
    vendor = lone_parents(schedule, MAX_LONE_PARENTS)
    vendor.parents |= {"d-1": "r-1", "d-2": "r-1"}
    subscribe(schedule, document(1), document(2), at=NOW + 5)
    first, second = due(schedule, NOW + 5)
    assert ask(schedule, first, vendor, NOW + 6) == ["/documents/d-1"]
    assert ask(schedule, second, vendor, NOW + 6) == ["/documents/d-2"]
    assert ids(due(schedule, NOW + 16)) == [["d-1", "d-2"]], "their parent is known now"


def test_a_parent_of_two_children_makes_up_for_lone_ones(schedule):
    vendor = lone_parents(schedule, MAX_LONE_PARENTS - 1)
    vendor.parents |= {"d-1": "r-1", "d-2": "r-1"}
    subscribe(schedule, document(1), document(2), at=NOW + 5)
    (batch,) = due(schedule, NOW + 5)
    assert ask(schedule, batch, vendor, NOW + 5) == ["/documents/d-1"]
    assert look_up_next(schedule, vendor, NOW + 5) == ["/requests/r-1"]
    assert schedule._lone_parents == 0


def test_a_parent_that_is_being_looked_up_is_not_looked_up_once_more(schedule):
    """The second id is let go after PARENT_LOOKUP_TIMEOUT, while the parent of both is polled."""
    subscribe(schedule, document(1), document(2))
    vendor = Vendor({"d-1": "r-1", "d-2": "r-1"})
    (batch,) = due(schedule, NOW)
    assert ask(schedule, batch, vendor, NOW) == ["/documents/d-1"]
    slow = schedule.next(NOW)
    assert isinstance(slow, Batch)
    assert slow.parent == PARENT
    (batch,) = due(schedule, NOW + 4)
    assert ask(schedule, batch, vendor, NOW + 4) == ["/documents/d-2"]
    assert not schedule.looks_up_next


# -- what a request for several leaves out ---------------------------------------------------------------------


def omit(schedule: Schedule, now: float, *left_out: Target) -> None:
    """Answer the batch that is due, but for some ids."""
    (batch,) = [one for one in due(schedule, now) if set(left_out) <= set(one.targets)]
    assert len(batch.targets) > 1
    schedule.answered(batch, PollReply({target: RUNNING for target in batch.targets if target not in left_out}), now)


BATCHES = {"batch-route": (job, None), "parent": (document, PARENT)}


@pytest.fixture(params=BATCHES.values(), ids=BATCHES)
def of_a_batch(request) -> Any:
    return request.param


def test_what_is_left_out_is_asked_for_together_at_once_and_then_alone(schedule, of_a_batch):
    target, parent = of_a_batch
    waiter = subscribe(schedule, target(1), target(2), target(3), parent=parent)
    omit(schedule, NOW, target(2), target(3))
    assert [one for one, _, _ in waiter.told] == [target(1)]
    omit(schedule, NOW, target(2), target(3))
    assert ids(due(schedule, NOW)) == [[target(2).id], [target(3).id]]


def test_what_is_polled_alone_is_taken_into_no_batch_and_waits_for_none(schedule, of_a_batch):
    target, parent = of_a_batch
    subscribe(schedule, target(1), target(2), target(3), parent=parent)
    for _ in range(2):
        omit(schedule, NOW, target(2))
    subscribe(schedule, target(4), at=NOW, parent=parent)
    assert sorted(ids(due(schedule, NOW))) == [[target(2).id], [target(4).id, target(1).id, target(3).id]]


def test_an_id_that_was_polled_alone_goes_into_the_batch_once_more(schedule, of_a_batch):
    target, parent = of_a_batch
    subscribe(schedule, target(1), target(2), parent=parent)
    for _ in range(2):
        omit(schedule, NOW, target(2))
    (alone,) = due(schedule, NOW)
    tell(schedule, alone, NOW)
    assert ids(due(schedule, NOW + 10)) == [[target(1).id, target(2).id]]


def test_an_id_at_its_deadline_that_is_left_out_is_polled_alone_at_once(schedule, of_a_batch):
    target, parent = of_a_batch
    subscribe(schedule, target(1), parent=parent)
    subscribe(schedule, target(2), parent=parent, waiter=Waiter(deadline=NOW + 1))
    (batch,) = due(schedule, NOW)
    schedule.answered(batch, PollReply({target(1): RUNNING}), NOW + 1)
    assert ids(due(schedule, NOW + 1)) == [[target(2).id]]


def test_a_worker_polls_alone_at_once_what_a_batch_leaves_out(of_a_batch):
    target, parent = of_a_batch
    schedule = Schedule(SERVICE, stays=False)
    subscribe(schedule, target(1), target(2), target(3), parent=parent)
    omit(schedule, NOW, target(2), target(3))
    assert ids(due(schedule, NOW)) == [[target(2).id], [target(3).id]]


def test_a_worker_tries_the_batch_again_the_next_time(of_a_batch):
    target, parent = of_a_batch
    schedule = Schedule(SERVICE, stays=False)
    subscribe(schedule, target(1), target(2), parent=parent)
    omit(schedule, NOW, target(2))
    (alone,) = due(schedule, NOW)
    tell(schedule, alone, NOW)
    assert ids(due(schedule, NOW + 10)) == [[target(1).id, target(2).id]]


PATHS = {"batch-route": (job, None, "jobs", "/jobs/j-1"), "parent": (document, PARENT, "requests/r-1", "/documents/d-1")}


@pytest.fixture(params=PATHS.values(), ids=PATHS)
def fails(request) -> Any:
    """Say how a batch is polled, and its first id alone."""
    return request.param


def test_a_batch_that_fails_once_leaves_all_of_it_out(schedule, fails):
    target, parent, path, _ = fails
    waiter = subscribe(schedule, target(1), target(2), parent=parent)
    (batch,) = due(schedule, NOW)
    assert ask(schedule, batch, Vendor(**{path: AWAY}), NOW) == [f"/{path}"]
    assert waiter.told == []
    assert ids(due(schedule, NOW + 10)) == [[target(1).id, target(2).id]]


def test_when_a_batch_fails_again_its_first_id_is_polled_alone(schedule, fails):
    target, parent, path, alone = fails
    waiter = subscribe(schedule, target(1), target(2), parent=parent)
    vendor = Vendor(**{path: UnexpectedReply("no JSON")})
    for now, paths in ((NOW, [f"/{path}"]), (NOW + 10, [f"/{path}", alone])):
        (batch,) = due(schedule, now)
        assert ask(schedule, batch, vendor, now) == paths
    assert [one for one, _, _ in waiter.told] == [target(1)]
    assert ids(due(schedule, NOW + 10)) == [[target(2).id]], "the request for several is at fault"


@pytest.mark.parametrize("fault", [NotFound("404", code=404), None], ids=["404", "an empty list"])
def test_a_parent_that_tells_nothing_costs_one_request_and_no_time(schedule, fault):
    """Twelve documents whose request is unknown, or lists none of them."""
    documents = [document(number) for number in range(12)]
    waiter = subscribe(schedule, *documents)
    vendor = Vendor({one.id: "r-1" for one in documents}, **({"requests/r-1": fault} if fault else {}))
    vendor.lists = False

    def ask_all(now: float) -> list[str]:
        paths, asked = [], 0
        while asked < 40 and isinstance(batch := schedule.next(now), Batch):
            asked += 1
            paths += ask(schedule, batch, vendor, now)
        return paths

    now = NOW
    for requests in (1, 2):
        before = len(waiter.told)
        paths = ask_all(now)
        assert {target for target, _, _ in waiter.told[before:]} == set(documents), "all in this round"
        assert paths.count("/requests/r-1") <= requests
        assert len(paths) <= 12 + requests
        now += 10


def test_when_a_workers_batch_fails_its_first_id_is_polled_alone_and_then_the_others(fails):
    target, parent, path, alone = fails
    schedule = Schedule(SERVICE, stays=False)
    subscribe(schedule, target(1), target(2), parent=parent)
    (batch,) = due(schedule, NOW)
    assert ask(schedule, batch, Vendor(**{path: AWAY}), NOW) == [f"/{path}", alone]
    assert ids(due(schedule, NOW)) == [[target(2).id]]


def test_a_service_that_is_away_for_the_batch_and_for_its_first_id_is_away_for_all(fails):
    target, parent, path, alone = fails
    schedule = Schedule(SERVICE, stays=False)
    waiter = subscribe(schedule, target(1), target(2), parent=parent)
    (batch,) = due(schedule, NOW)
    ask(schedule, batch, Vendor(**{path: AWAY, alone[1:]: AWAY}), NOW)
    assert waiter.told == [(target(1), AWAY, NOW), (target(2), AWAY, NOW)]
    assert schedule.next(NOW) == NOW + 10


def test_a_429_for_a_batch_is_one_for_all_of_it(schedule, fails):
    target, parent, path, _ = fails
    waiter, refused = subscribe(schedule, target(1), target(2), parent=parent), RateLimited("429", retry_after=7.0)
    (batch,) = due(schedule, NOW)
    assert ask(schedule, batch, Vendor(**{path: refused}), NOW) == [f"/{path}"]
    assert [observation for _, observation, _ in waiter.told] == [refused, refused]
    assert ids(due(schedule, NOW + 7)) == [[target(1).id, target(2).id]]


# -- a deployment without the batch route ----------------------------------------------------------------------


def test_without_the_batch_route_each_id_is_polled_alone_at_once(schedule):
    subscribe(schedule, job(1), job(2), job(3), at=NOW)
    subscribe(schedule, job(4), at=NOW + 9, waiter=Waiter(deadline=NOW))
    (batch,) = due(schedule, NOW)
    schedule.answered(batch, PollReply({}, failed=MISSING), NOW + 1)
    assert sorted(ids(due(schedule, NOW + 1))) == [["j-1"], ["j-2"], ["j-3"], ["j-4"]]


def test_a_missing_batch_route_is_looked_for_again_later(schedule):
    subscribe(schedule, job(1), job(2))
    (batch,) = due(schedule, NOW)
    schedule.answered(batch, PollReply({}, failed=MISSING), NOW)
    now = NOW
    while True:
        batches = due(schedule, now)
        if len(batches) == 1:
            break
        for one in batches:
            tell(schedule, one, now)
        now += 10
    assert now == NOW + BATCH_ROUTE_RECHECK
    assert ids(batches) == [["j-1", "j-2"]]
    schedule.answered(batches[0], PollReply({}, failed=MISSING), now)
    assert ids(due(schedule, now)) == [["j-1"], ["j-2"]]


def test_children_are_polled_through_their_parent_even_without_the_batch_route(schedule):
    subscribe(schedule, job(1), job(2))
    (batch,) = due(schedule, NOW)
    schedule.answered(batch, PollReply({}, failed=MISSING), NOW)
    due(schedule, NOW)
    subscribe(schedule, document(1), document(2), parent=PARENT)
    assert ids(due(schedule, NOW)) == [["d-1", "d-2"]]


# -- what must be polled again ---------------------------------------------------------------------------------


def test_a_subscriber_that_wants_to_poll_again_sooner_is_polled_for_then(schedule):
    subscribe(schedule, plain(1), plain(2), waiter=Waiter(script=[PollAgain(NOW + 5)]))
    first, second = due(schedule, NOW)
    tell(schedule, first, NOW)
    tell(schedule, second, NOW)
    assert due_of(schedule, plain(1)) == NOW + 5
    assert due_of(schedule, plain(2)) == NOW + 10
    (batch,) = due(schedule, NOW + 5)
    assert batch.refused_at is None, "nobody asked for a fresh connection"


def test_one_subscriber_that_wants_to_poll_again_is_enough(schedule):
    subscribe(schedule, plain(1))
    subscribe(schedule, plain(1), waiter=Waiter(script=[PollAgain(NOW + 5, fresh_connection=True)]))
    subscribe(schedule, plain(1), waiter=Waiter(script=[PollAgain(NOW + 3)]))
    subscribe(schedule, plain(1), waiter=Waiter(script=[PollAgain(NOW + 4)]))
    subscribe(schedule, plain(1), waiter=Waiter(script=[True]))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW + 1)
    (batch,) = due(schedule, NOW + 3)
    assert batch.refused_at == NOW + 1


def test_a_shorter_interval_is_kept(schedule):
    subscribe(schedule, plain(1), waiter=Waiter(interval=2.0, script=[PollAgain(NOW + 5, fresh_connection=True)]))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW)
    (batch,) = due(schedule, NOW + 2)
    assert batch.refused_at == NOW


def test_a_refusal_is_confirmed_on_a_fresh_connection_and_only_once(schedule):
    waiter = Waiter(script=[False, PollAgain(NOW + 15, fresh_connection=True)])
    subscribe(schedule, plain(1), waiter=waiter)
    refusals = []
    for now in (NOW, NOW + 10, NOW + 15, NOW + 25):
        (batch,) = due(schedule, now)
        refusals.append(batch.refused_at)
        tell(schedule, batch, now)
    assert refusals == [None, None, NOW + 10, None]


def test_a_batch_with_a_refused_id_goes_on_a_fresh_connection_as_of_the_last_refusal(schedule):
    first = Waiter(script=[PollAgain(NOW + 6, fresh_connection=True)])
    second = Waiter(script=[PollAgain(NOW + 7, fresh_connection=True)])
    subscribe(schedule, job(1), waiter=first)
    (one,) = due(schedule, NOW)
    subscribe(schedule, job(2), waiter=second)
    (two,) = due(schedule, NOW)
    tell(schedule, one, NOW + 1)
    tell(schedule, two, NOW + 2)
    subscribe(schedule, job(3), at=NOW + 9)
    (batch,) = due(schedule, NOW + 6)
    assert batch.targets == [job(1), job(2), job(3)]
    assert batch.refused_at == NOW + 2


def test_an_id_that_the_confirming_batch_leaves_out_is_still_to_be_confirmed(schedule):
    subscribe(schedule, job(1), waiter=Waiter(script=[PollAgain(NOW + 5, fresh_connection=True)]))
    (one,) = due(schedule, NOW)
    tell(schedule, one, NOW)
    subscribe(schedule, job(2), at=NOW + 9)
    omit(schedule, NOW + 5, job(1))
    (batch,) = due(schedule, NOW + 15)
    assert batch.refused_at == NOW


@pytest.mark.parametrize(
    ("error", "planned_at"),
    [
        pytest.param(RateLimited("429"), NOW, id="429"),
        pytest.param(RateLimited("429", retry_after=7.0), NOW + 7, id="429-with-a-time"),
        pytest.param(RateLimited("429", retry_after=600.0), NOW + 10, id="429-with-a-long-time"),
        pytest.param(ConnectionUnavailable("away", retry_after=5.0), NOW + 5, id="no-connection"),
        pytest.param(AWAY, NOW + 10, id="polled-but-away"),
        pytest.param(ServiceUnavailable("503", retry_after=2.0), NOW + 10, id="polled-but-away-with-a-time"),
        pytest.param(NotFound("404", code=404), NOW + 10, id="polled-and-refused"),
        pytest.param(UnexpectedReply("HTML"), NOW + 10, id="polled-and-invalid"),
    ],
)
def test_what_was_not_polled_at_all_is_polled_as_soon_as_possible(schedule, error, planned_at):
    waiter = subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW, error)
    assert waiter.told == [(plain(1), error, NOW)]
    assert due_of(schedule, plain(1)) == planned_at


def real_waiter(*, deadline: float, poke_interval: float | None = None) -> Subscriber:
    """Return the package's own subscriber for one plain job."""
    spec = WaitSpec(
        service="acme", route="plain", id="p-1", started_at=NOW - 60, deadline=deadline, poke_interval=poke_interval, needed=1
    )
    group = Group(spec=spec, service=SERVICE)
    return Subscriber(group, logging.getLogger(__name__), now=NOW, deadline_grace=60.0, jitter=lambda: 0.0)


@pytest.mark.parametrize(
    ("poke_interval", "again_at"),
    [
        pytest.param(None, NOW + REPEAT_AFTER, id="the-services-interval"),
        pytest.param(0.5, NOW + 0.5, id="a-shorter-one-of-the-users"),
    ],
)
def test_the_last_poll_is_repeated_soon_if_it_met_a_fault(schedule, poke_interval, again_at):
    waiter = real_waiter(deadline=NOW, poke_interval=poke_interval)
    schedule.subscribe(waiter, plain(1), NOW)
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW, AWAY)
    assert due_of(schedule, plain(1)) == again_at
    (batch,) = due(schedule, again_at)
    tell(schedule, batch, again_at, AWAY)
    assert waiter.is_over
    assert len(schedule) == 0


def test_a_404_is_confirmed_after_a_pause_on_a_fresh_connection(schedule):
    waiter = real_waiter(deadline=NOW + HOUR)
    schedule.subscribe(waiter, plain(1), NOW)
    gone = NotFound("404", code=404, service="acme", id="p-1")
    (batch,) = due(schedule, NOW)
    assert batch.refused_at is None
    tell(schedule, batch, NOW, gone)
    assert schedule.next(NOW) == NOW + CONFIRM_AFTER
    (batch,) = due(schedule, NOW + CONFIRM_AFTER)
    assert batch.refused_at == NOW
    tell(schedule, batch, NOW + CONFIRM_AFTER, gone)
    assert waiter.is_over
    assert schedule.next(NOW + HOUR) == math.inf


# -- the machine's clock ---------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_leaves_the_polls_as_far_ahead_as_they_were(schedule):
    subscribe(schedule, plain(1), at=NOW + 5)
    subscribe(schedule, plain(2), at=NOW + 8, waiter=Waiter(deadline=NOW + 8))
    woken = []
    schedule.on_plan = lambda: woken.append(True)
    schedule.clock_set_back(HOUR)
    assert woken
    assert schedule.next(NOW - HOUR) == NOW - HOUR + 5
    assert ids(due(schedule, NOW - HOUR + 5)) == [["p-1"]]
    assert schedule.next(NOW - HOUR + 5) == NOW - HOUR + 8


def test_a_clock_that_is_set_back_plans_nothing_that_is_under_way(schedule):
    subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    schedule.clock_set_back(HOUR)
    assert schedule.next(NOW) == math.inf
    tell(schedule, batch, NOW - HOUR)
    assert schedule.next(NOW - HOUR) == NOW - HOUR + 10


def test_a_clock_that_is_set_back_does_not_keep_a_batch_route_missing_for_longer(schedule):
    subscribe(schedule, job(1), job(2))
    (batch,) = due(schedule, NOW)
    schedule.answered(batch, PollReply({}, failed=MISSING), NOW)
    schedule.clock_set_back(HOUR)
    assert ids(due(schedule, NOW - HOUR)) == [["j-1", "j-2"]]


def test_a_clock_that_is_set_back_does_not_hold_an_id_for_longer(schedule):
    subscribe(schedule, document(1), document(2))
    due(schedule, NOW)
    schedule.clock_set_back(HOUR)
    assert ids(due(schedule, NOW - HOUR + 1)) == [["d-2"]]


# -- requests in a round ---------------------------------------------------------------------------------------


def test_a_round_is_a_request_for_each_lone_id_each_parent_and_each_full_batch(schedule):
    subscribe(schedule, plain(1), plain(2), plain(3))
    assert schedule.requests_per_round(NOW) == 3
    subscribe(schedule, *(document(number) for number in range(500)), parent=PARENT)
    assert schedule.requests_per_round(NOW) == 4
    subscribe(schedule, document("unknown"), document("unknown-too"))
    assert schedule.requests_per_round(NOW) == 6
    subscribe(schedule, *(job(number) for number in range(10, 27)))
    assert schedule.requests_per_round(NOW) == 9, "17 jobs, 8 in a request"


def test_a_round_without_the_batch_route_is_a_request_for_each_id(schedule):
    subscribe(schedule, *(job(number) for number in range(5)))
    (batch,) = due(schedule, NOW)
    assert schedule.requests_per_round(NOW) == 1
    schedule.answered(batch, PollReply({}, failed=MISSING), NOW)
    assert schedule.requests_per_round(NOW) == 5
    assert schedule.requests_per_round(NOW + BATCH_ROUTE_RECHECK) == 1


def test_a_service_without_batch_route_polls_each_id_alone():
    schedule = Schedule(replace(SERVICE, routes={**SERVICE.routes, "job": SERVICE.routes["plain"]}))
    subscribe(schedule, job(1), job(2))
    assert schedule.requests_per_round(NOW) == 2
    assert ids(due(schedule, NOW)) == [["j-1"], ["j-2"]]


# -- whatever happens ------------------------------------------------------------------------------------------

LONGEST_RESPONSE = 5.0


class Fate:
    """A vendor that answers by chance, well and badly; which document belongs to what stays the same."""

    def __init__(self, dice: random.Random, *, ends: bool) -> None:
        self._dice = dice
        self._words = ["processing", "processing", "processing", *(["completed"] if ends else [])]

    def __call__(self, request: Request) -> Response:
        fault = self._dice.choice([None] * 8 + [AWAY, RateLimited("429", retry_after=3.0), ConnectionUnavailable("no"), 404, 500])
        if isinstance(fault, DocStatusError):
            raise fault
        if fault is not None:
            return response({"error": "no"}, fault, request=request)
        _, route, *names = request.path.split("/")
        if route == "documents":
            return response({"document_id": names[0], "request_id": _parent_of(names[0]), **self._status()}, request=request)
        if route == "requests":
            children = [f"d-{number}" for number in range(IDS) if _parent_of(f"d-{number}") == names[0]]
            items = [{"document_id": one, **self._status()} for one in self._some(children)]
            return response({"request_id": names[0], "status": "processing", "documents": items}, request=request)
        if not names:
            items = [{"job_id": one, **self._status()} for one in self._some(request.query["ids"].split(","))]
            return response({"jobs": items}, request=request)
        return response({"job_id": names[0], **self._status()}, request=request)

    def _status(self) -> dict[str, str]:
        return {"status": self._dice.choice(self._words)}

    def _some(self, names: list[str]) -> list[str]:
        return [one for one in names if self._dice.random() < 0.7]


IDS = 9


def _parent_of(name: str) -> str:
    return f"r-{int(name.removeprefix('d-')) // 3}"


@dataclass(eq=False)
class Careful(Waiter):
    """A subscriber that judges as a wait does: an end is enough, a refusal is confirmed, a fault at the deadline is repeated."""

    has_doubted: bool = False

    def observe(self, target: Target, observation: Observation, now: float) -> PollAgain | bool:
        super().observe(target, observation, now)
        if isinstance(observation, DocumentStatus):
            return observation.state.is_final or now >= self.deadline
        if self.has_doubted:
            return now >= self.deadline or isinstance(observation, NotFound)
        self.has_doubted = True
        is_refused = isinstance(observation, NotFound)
        return (
            PollAgain(now + (5 if is_refused else 2), fresh_connection=is_refused)
            if is_refused or now >= self.deadline
            else False
        )


class Driver:
    """Drives a schedule as the poller does, with a clock of its own; requests take up to LONGEST_RESPONSE."""

    def __init__(self, dice: random.Random, *, stays: bool, ends: bool) -> None:
        self.dice = dice
        self.now = NOW
        self.schedule = Schedule(SERVICE, stays=stays)
        self.vendor = Fate(dice, ends=ends)
        self.under_way: list[tuple[float, Batch]] = []
        self.waiters: dict[Waiter, Target] = {}

    def join(self, deadline: float) -> None:
        route, prefix = self.dice.choice([("document", "d"), ("document", "d"), ("job", "j"), ("plain", "p")])
        target = Target(route, f"{prefix}-{self.dice.randrange(IDS)}")
        knows_parent = route == "document" and self.dice.random() < 0.3
        parent = Target("request", _parent_of(target.id)) if knows_parent else None
        waiter = Careful(deadline=deadline, interval=self.dice.choice([0.5, 2.0, 7.3, 30.0]))
        self.waiters[waiter] = target
        self.schedule.subscribe(waiter, target, min(self.now + self.dice.choice([0.0, 0.1, 3.0]), deadline), parent)

    def leave(self) -> None:
        waiter, target = self.dice.choice(list(self.waiters.items()))
        unwanted = self.schedule.unsubscribe(waiter, target)
        if unwanted is not None:
            assert [batch for _, batch in self.under_way if batch is unwanted]
            self.under_way = [(ends, batch) for ends, batch in self.under_way if batch is not unwanted]
            self.schedule.finished(unwanted)

    def set_back(self, seconds: float) -> None:
        self.now -= seconds
        self.under_way = [(ends - seconds, batch) for ends, batch in self.under_way]
        self.schedule.clock_set_back(seconds)

    def step(self, *, opens_at: float = 0.0) -> None:
        """Poll what is due, then go on to whatever happens next, and let it happen."""
        self.schedule.promote_overdue(self.now)
        while isinstance(batch := self.schedule.next(self.now, opens_at=opens_at), Batch):
            assert batch.is_wanted
            assert batch not in [other for _, other in self.under_way]
            self.under_way.append((self.now + self.dice.uniform(0.05, LONGEST_RESPONSE), batch))
        assert batch > self.now
        self.now = min([batch, self.now + 1, *(ends for ends, _ in self.under_way)])
        over = [batch for ends, batch in self.under_way if ends <= self.now]
        self.under_way = [(ends, batch) for ends, batch in self.under_way if ends > self.now]
        for batch in over:
            self._answer(batch)

    def _answer(self, batch: Batch) -> None:
        try:
            reply = run(self.schedule.flow(batch), self.vendor)
        except DocStatusError as error:
            reply = PollReply(dict.fromkeys(batch.targets, error))
        self.schedule.answered(batch, reply, self.now)
        self.schedule.finished(batch)  # as the poller does when the request's task is done
        for target, observation in reply.observations.items():
            for waiter in [one for one, its in self.waiters.items() if its == target]:
                assert not waiter.told or waiter.told[-1][0] == target
                is_over = target not in self.schedule or waiter not in self.schedule._polls[target].subscribers
                assert is_over or waiter.told[-1][1:] == (observation, self.now)

    def lost(self) -> Iterator[Target]:
        """Yield each id that is neither planned nor under way although somebody waits for it. What is held is planned."""
        planned = [(at, poll) for heap in (self.schedule._overdue, self.schedule._queue) for at, _, poll in heap]
        for target, poll in self.schedule._polls.items():
            assert poll.subscribers
            is_planned = any(one is poll and at == poll.due for at, one in planned)
            is_under_way = any(one is poll for _, batch in self.under_way for one in batch.polls)
            if not is_planned and not is_under_way:
                yield target


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 80), stays=st.booleans())
def test_whatever_happens_no_id_is_lost(seed, steps, stays):
    dice = random.Random(seed)
    driver = Driver(dice, stays=stays, ends=True)
    for _ in range(steps):
        what = dice.choice(["join", "join", "leave", "step", "step", "step", "step", "back", "paused"])
        if what == "join":
            driver.join(driver.now + dice.choice([0.0, 4.0, 60.0, HOUR]))
        elif what == "leave" and driver.waiters:
            driver.leave()
        elif what == "back":
            driver.set_back(dice.choice([0.5, 100.0]))
        else:
            driver.step(opens_at=driver.now + 2 if what == "paused" else 0.0)
        assert not list(driver.lost())
    began = driver.now
    while driver.schedule:  # and each is told until it has heard enough
        driver.step()
        assert driver.now < began + 3 * HOUR
    assert not list(driver.schedule.subscribers())
    assert driver.schedule._peers == {}
    assert driver.schedule.next(driver.now) == math.inf or driver.under_way


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), waits=st.integers(1, 12), stays=st.booleans())
def test_whatever_happens_each_id_is_polled_at_its_deadline(seed, waits, stays):
    """
    The poll that is under way at the deadline counts.

    At most it is held for a reply under way, then left out by the batch that it goes into, and then polled alone.
    """
    dice = random.Random(seed)
    driver = Driver(dice, stays=stays, ends=False)
    for _ in range(waits):
        driver.join(NOW + dice.choice([0.0, 1.0, 3.3, 20.0, 41.7]))
    while driver.schedule:
        driver.step()
        assert driver.now < NOW + HOUR
    for waiter in driver.waiters:
        last = [now for _, _, now in waiter.told if now >= waiter.deadline]
        has_given_up = waiter.has_doubted and isinstance(waiter.told[-1][1], NotFound)
        assert last or has_given_up
        assert not last or last[0] <= waiter.deadline + 3 * LONGEST_RESPONSE + 2 * GRID


def test_the_model_finds_an_id_that_is_lost():
    """The property above is worth something: an id that falls off the schedule is found."""
    driver = Driver(random.Random(1), stays=False, ends=True)
    driver.join(NOW + HOUR)
    assert not list(driver.lost())
    poll: Poll
    (poll,) = driver.schedule._polls.values()
    poll.due = math.inf
    assert list(driver.lost()) == [poll.target]


# -- a refusal that concerns the account -------------------------------------------------------------------------


def key_waits(number: int) -> tuple[Schedule, Subscriber]:
    """Return a schedule of so many ids that one task waits for."""
    ids = [f"j-{one}" for one in range(number)]
    spec = WaitSpec(route="extract", ids=ids, needed=number, started_at=NOW, deadline=NOW + HOUR)
    subscriber = Subscriber(
        Group(spec=spec, service=UNSILOED), logging.getLogger(__name__), now=NOW, deadline_grace=60.0, jitter=lambda: 0.0
    )
    schedule = Schedule(UNSILOED)
    for one in ids:
        schedule.subscribe(subscriber, Target("extract", one), NOW)
    return schedule, subscriber


def test_while_a_rejected_key_is_confirmed_no_other_id_of_the_task_is_polled():
    schedule, subscriber = key_waits(60)
    batch, rejected = schedule.next(NOW), KeyRejected("401", code=401)
    tell_all(schedule, batch, rejected, NOW)
    assert schedule.next(NOW) == NOW + CONFIRM_AFTER
    again = schedule.next(NOW + CONFIRM_AFTER)
    assert (again.targets, again.refused_at) == (batch.targets, NOW)
    tell_all(schedule, again, rejected, NOW + CONFIRM_AFTER)
    assert subscriber.is_over
    assert subscriber.calls == 2


def test_a_key_that_is_good_after_all_lets_the_others_go_on():
    schedule, _ = key_waits(3)
    tell_all(schedule, schedule.next(NOW), KeyRejected("401", code=401), NOW)
    tell_all(schedule, schedule.next(NOW + CONFIRM_AFTER), RUNNING, NOW + CONFIRM_AFTER)
    assert [schedule.next(NOW + CONFIRM_AFTER).targets[0].id for _ in range(2)] == ["j-1", "j-2"]


def tell_all(schedule: Schedule, batch: Batch, observation: Observation, now: float) -> None:
    schedule.answered(batch, PollReply(dict.fromkeys(batch.targets, observation)), now)


# -- a reply to very many ----------------------------------------------------------------------------------------


@pytest.fixture
def one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "NOTIFIED_AT_ONCE", 1)


def answering(schedule: Schedule, targets: Sequence[Target], now: float = NOW) -> Iterator[None]:
    """Answer the one batch that is due, in slices."""
    (batch,) = due(schedule, now)
    return schedule.answering(batch, PollReply(dict.fromkeys(targets, RUNNING), batch.parent), now)


@pytest.mark.parametrize(("number", "pauses"), [(1, 0), (31, 0), (32, 1), (100, 3), (1000, 31)])
@pytest.mark.parametrize("same", [True, False], ids=["one id", "an id each"])
def test_not_more_than_32_are_told_between_two_pauses(schedule, number, pauses, same):
    targets = [document(0 if same else one) for one in range(number)]
    waiters = [subscribe(schedule, target, parent=PARENT) for target in targets]
    told = [0, *(sum(bool(waiter.told) for waiter in waiters) for _ in answering(schedule, targets))]
    assert all(after - before == schedules.NOTIFIED_AT_ONCE for before, after in itertools.pairwise(told))
    assert len(told) == pauses + 1
    assert all(len(waiter.told) == waiter.calls == 1 for waiter in waiters)
    assert {due_of(schedule, target) for target in targets} == {NOW + INTERVAL}


def test_who_leaves_between_two_slices_is_not_told(schedule, one_at_once):
    waiters = [subscribe(schedule, document(1), parent=PARENT) for _ in range(3)]
    other = subscribe(schedule, document(2), parent=PARENT)
    slices = answering(schedule, [document(1), document(2)])
    next(slices)
    schedule.unsubscribe(waiters[1], document(1))
    schedule.unsubscribe(other, document(2))
    list(slices)
    assert [len(waiter.told) for waiter in (*waiters, other)] == [1, 0, 1, 0]
    assert document(2) not in schedule


def test_who_comes_between_two_slices_is_polled_when_it_wants(schedule, one_at_once):
    for _ in range(2):
        subscribe(schedule, document(1), parent=PARENT)
    slices = answering(schedule, [document(1)])
    next(slices)
    late = subscribe(schedule, document(1), at=NOW + 3, parent=PARENT)
    list(slices)
    assert (late.told, due_of(schedule, document(1))) == ([], NOW + 3)


def test_the_parent_is_not_polled_again_before_all_were_told(schedule, one_at_once):
    for number in range(3):
        subscribe(schedule, document(number), parent=PARENT)
    slices = answering(schedule, [document(number) for number in range(3)])
    next(slices)
    late = subscribe(schedule, document(1), parent=PARENT)
    assert due(schedule, NOW) == []
    list(slices)
    assert len(late.told) == 1
    assert [sorted(batch) for batch in ids(due(schedule, NOW + INTERVAL))] == [["d-0", "d-1", "d-2"]]


def test_an_older_observation_is_not_told_after_a_later_one(schedule, one_at_once):
    """Who comes between two slices may have an id polled at once, and that reply is told to all who wait for it."""
    first, second = subscribe(schedule, plain(1)), subscribe(schedule, plain(1))
    slices = answering(schedule, [plain(1)])
    next(slices)
    subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    tell(schedule, batch, NOW, DONE)
    list(slices)
    assert [observation for _, observation, _ in first.told] == [RUNNING, DONE]
    assert [observation for _, observation, _ in second.told] == [DONE]


def test_an_id_that_is_waited_for_anew_between_two_slices_is_polled_as_a_new_one(schedule, one_at_once):
    waiter, other = subscribe(schedule, document(1), parent=PARENT), subscribe(schedule, document(2), parent=PARENT)
    slices = answering(schedule, [document(1), document(2)])
    next(slices)
    schedule.unsubscribe(other, document(2))
    anew = subscribe(schedule, document(2), at=NOW + 5, parent=PARENT)
    list(slices)
    assert (len(waiter.told), anew.told, due_of(schedule, document(2))) == (1, [], NOW + 5)


# -- another description -----------------------------------------------------------------------------------------

GONE = {name: route for name, route in SERVICE.routes.items() if name != "request"}
ORPHANS = replace(SERVICE, routes={**GONE, "document": replace(SERVICE.routes["document"], parent=None)})
ALONE = replace(SERVICE, routes={**SERVICE.routes, "job": replace(SERVICE.routes["job"], batch=None)})
RENAMED = replace(SERVICE, title="Acme 2")


def test_another_description_is_followed_by_who_waits_too(schedule):
    waiter = subscribe(schedule, plain(1), plain(2))
    schedule.follow(SERVICE)
    assert waiter.followed == []
    schedule.follow(RENAMED)
    assert schedule.service is RENAMED
    assert waiter.followed == [RENAMED]


def test_what_was_read_by_the_old_description_is_read_anew(schedule):
    subscribe(schedule, plain(1))
    (batch,) = due(schedule, NOW)
    ask(schedule, batch, Vendor(), NOW)
    assert plain(1) in schedule.cache
    schedule.follow(RENAMED)
    assert schedule.cache == {}


def test_a_request_under_way_writes_nothing_into_what_was_read_by_the_new_description(schedule):
    subscribe(schedule, plain(1))
    flow = schedule.flow(due(schedule, NOW)[0])
    request = next(flow)
    schedule.follow(RENAMED)
    with pytest.raises(StopIteration):
        flow.send(Vendor()(request))
    assert schedule.cache == {}


def test_ids_without_a_common_parent_any_more_are_polled_alone(schedule):
    waiter = subscribe(schedule, *(document(number) for number in range(3)), parent=PARENT)
    (batch,) = due(schedule, NOW)
    assert batch.parent == PARENT
    schedule.follow(ORPHANS)
    vendor = Vendor({f"d-{number}": "r-1" for number in range(3)})
    assert ask(schedule, batch, vendor, NOW) == []
    for one in due(schedule, NOW):
        ask(schedule, one, vendor, NOW)
    assert vendor.paths == [f"/documents/d-{number}" for number in range(3)]
    assert len(waiter.told) == 3
    assert schedule.requests_per_round(NOW) == 3


def test_ids_without_a_batch_route_any_more_are_polled_alone(schedule):
    waiter = subscribe(schedule, *(job(number) for number in range(3)))
    (batch,) = due(schedule, NOW)
    schedule.follow(ALONE)
    vendor = Vendor()
    assert ask(schedule, batch, vendor, NOW) == []
    for one in due(schedule, NOW):
        ask(schedule, one, vendor, NOW)
    assert vendor.paths == [f"/jobs/j-{number}" for number in range(3)]
    assert len(waiter.told) == 3


def test_a_batch_that_the_new_description_allows_as_well_is_polled(schedule):
    subscribe(schedule, *(document(number) for number in range(3)), parent=PARENT)
    (batch,) = due(schedule, NOW)
    schedule.follow(RENAMED)
    vendor = Vendor({f"d-{number}": "r-1" for number in range(3)})
    assert ask(schedule, batch, vendor, NOW) == ["/requests/r-1"]


def test_a_parent_that_the_new_description_does_not_know_is_not_looked_up(schedule):
    subscribe(schedule, *(document(number) for number in range(3)))
    vendor = Vendor({f"d-{number}": "r-1" for number in range(3)})
    first, *_ = due(schedule, NOW)
    ask(schedule, first, vendor, NOW)
    assert schedule.looks_up_next
    schedule.follow(ORPHANS)
    assert not schedule.looks_up_next


def test_a_parent_in_a_reply_that_was_asked_for_by_the_old_description_is_forgotten(schedule):
    subscribe(schedule, *(document(number) for number in range(2)))
    batch, *_ = due(schedule, NOW)
    flow, vendor = schedule.flow(batch), Vendor({f"d-{number}": "r-1" for number in range(2)})
    reply = run(flow, vendor)
    schedule.follow(ORPHANS)
    schedule.answered(batch, reply, NOW)
    assert not schedule.looks_up_next
    assert all(one.parent is None for one in schedule._polls.values())


def test_a_parent_that_a_worker_knew_by_another_description_is_forgotten():
    schedule = Schedule(ORPHANS)
    subscribe(schedule, document(1), document(2), parent=PARENT)
    assert ids(due(schedule, NOW)) == [["d-1"], ["d-2"]]


@pytest.mark.parametrize("make", [plain, job, document], ids=["plain", "batch", "parent"])
def test_a_wait_whose_route_is_gone_is_refused(schedule, make):
    waiter = subscribe(schedule, make(1), make(2), parent=PARENT if make is document else None)
    batches = due(schedule, NOW)
    gone = {name: route for name, route in SERVICE.routes.items() if name != make(1).route}
    schedule.follow(replace(SERVICE, routes=gone))
    assert [ask(schedule, batch, Vendor(), NOW) for batch in batches] == [[]] * len(batches)
    assert {target for target, _, _ in waiter.told} == {make(1), make(2)}
    for _, error, _ in waiter.told:
        assert isinstance(error, RequestRejected)
        assert error.code is None, "it needs no confirmation"
        assert f"Acme has no route '{make(1).route}' any more" in str(error)
