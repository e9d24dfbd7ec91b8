"""What a service can ask of a wait: to poll later, to read the result too, and to believe no 404 for a while."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import DocStatusError, NotFound, ServiceUnavailable
from airflow_provider_docstatus.protocol.description import BatchRoute, ResultRoute, ServiceDescription
from airflow_provider_docstatus.protocol.flows import PollReply, run
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.polls import Batch
from airflow_provider_docstatus.waiting.schedule import LONGEST_ASKED_PAUSE, Schedule
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.subscriber import Subscriber
from airflow_provider_docstatus.waiting.wait import LEAST_404S, LOST_AFTER
from tests.conversations import ACME, JOB, acme, response

many = settings(max_examples=200, deadline=None, derandomize=True, database=None)

NOW = 1_000_000.0
HOUR = 3600.0
#: The pause that a wait makes by itself (seconds).
INTERVAL = 10.0
OTHER = Target("job", "j-2")
JUDGED = acme(result=ResultRoute(path="/results/{id}", has_status=False, failure="failure", decides=True))


def waiter(
    service: ServiceDescription = ACME, *ids: str, seconds: float = HOUR, judges: bool = True, interval: float = INTERVAL
) -> Subscriber:
    """Return the package's own subscriber, without jitter."""
    ids = ids or (JOB.id,)
    spec = WaitSpec(
        service="acme",
        route="job",
        id=ids[0] if len(ids) == 1 else "",
        ids=list(ids) if len(ids) > 1 else None,
        needed=len(ids),
        started_at=NOW,
        deadline=NOW + seconds,
        poke_interval=interval,
        judges=judges,
    )
    group = Group(spec=spec, service=service)
    return Subscriber(group, logging.getLogger(__name__), now=NOW, deadline_grace=60.0, jitter=lambda: 0.0)


def subscribed(one: Subscriber, schedule: Schedule | None = None) -> Schedule:
    schedule = schedule or Schedule(one.group.service)
    for target in (Target("job", each) for each in one.group.waits):
        schedule.subscribe(one, target, NOW)
    return schedule


def next_batch(schedule: Schedule, now: float) -> Batch:
    batch = schedule.next(now)
    assert isinstance(batch, Batch)
    return batch


def running(headers: Mapping[str, str] | None = None) -> Response:
    return response({"status": "running"}, headers=headers)


def poll(schedule: Schedule, now: float, *replies: Response) -> list[str]:
    """Poll what is due; return the paths of the requests."""
    batch, paths, left = next_batch(schedule, now), [], list(replies)

    def send(request: Request) -> Response:
        paths.append(request.path)
        return replace(left.pop(0), request=request)

    try:
        reply = run(schedule.flow(batch), send)
    except DocStatusError as error:
        reply = PollReply(dict.fromkeys(batch.targets, error))
    schedule.answered(batch, reply, now)
    assert not left
    return paths


# -- to poll later -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        (None, INTERVAL),
        ("0", INTERVAL),
        ("3", INTERVAL),
        ("30", 30),
        ("599", 599),
        ("601", LONGEST_ASKED_PAUSE),
        ("86400", 600),
        ("x", 10),
    ],
)
def test_the_next_poll_comes_when_a_good_reply_asks_for_it(asked, pause):
    schedule = subscribed(waiter())
    poll(schedule, NOW, running({"retry-after": asked} if asked else None))
    assert schedule.next(NOW) == NOW + pause
    poll(schedule, NOW + pause, running())  # it asked once
    assert schedule.next(NOW + pause) == NOW + pause + INTERVAL


def test_no_good_reply_moves_the_last_poll_beyond_the_deadline():
    schedule = subscribed(waiter(seconds=25))
    poll(schedule, NOW, running({"retry-after": "30"}))
    assert schedule.next(NOW) == NOW + 25
    poll(schedule, NOW + 25, response({"status": "done"}))
    assert len(schedule) == 0


def test_the_first_deadline_of_those_who_wait_counts():
    schedule = subscribed(waiter(seconds=25))
    subscribed(waiter(seconds=HOUR), schedule)
    poll(schedule, NOW, running({"retry-after": "40"}))
    assert schedule.next(NOW) == NOW + 25
    poll(schedule, NOW + 25, running({"retry-after": "40"}))
    assert schedule.next(NOW + 25) == NOW + 65


def test_a_pause_is_about_the_id_that_was_polled():
    schedule = subscribed(waiter(ACME, "j-1", "j-2"))
    poll(schedule, NOW, running({"retry-after": "40"}))
    poll(schedule, NOW, running())
    assert schedule.asked_until == NOW + 40
    assert schedule.next(NOW) == NOW + INTERVAL
    assert next_batch(schedule, NOW + INTERVAL).targets == [OTHER]
    assert schedule.next(NOW + INTERVAL) == NOW + 40


@pytest.mark.parametrize("code", [404, 500])
def test_what_an_error_asks_for_is_no_good_replys(code):
    schedule = subscribed(waiter())
    poll(schedule, NOW, response({"detail": "x"}, code, headers={"retry-after": "400"}))
    assert schedule.asked_until == NOW
    assert schedule.next(NOW) <= NOW + INTERVAL


def test_a_later_reply_asks_for_no_earlier_end_of_a_workers_pause():
    schedule = subscribed(waiter(ACME, "j-1", "j-2"))
    poll(schedule, NOW, running({"retry-after": "40"}))
    poll(schedule, NOW, running({"retry-after": "20"}))
    assert schedule.asked_until == NOW + 40


@many
@given(asked=st.floats(0, 600_000), interval=st.floats(2, 900), seconds=st.floats(1, 5000))
def test_whatever_is_asked_for_the_next_poll_is_in_time_and_not_too_soon(asked, interval, seconds):
    schedule = subscribed(waiter(seconds=seconds, interval=interval))
    poll(schedule, NOW, running({"retry-after": str(asked)}))
    due = schedule.next(NOW)
    assert min(NOW + interval - 0.25, NOW + seconds) <= due <= NOW + seconds
    assert due >= min(NOW + min(asked, LONGEST_ASKED_PAUSE), NOW + seconds)


# -- to read the result too --------------------------------------------------------------------------------------

DONE = response({"status": "done"})
FAILURE = response({"failure": {"message": "torn"}})


def state_of(one: Subscriber) -> tuple[State | None, str | None]:
    status = one.group.first.status
    return (status.state, status.message) if isinstance(status, DocumentStatus) else (None, None)


def test_a_wait_reads_the_result_where_only_that_decides():
    one = waiter(JUDGED)
    assert poll(subscribed(one), NOW, DONE, FAILURE) == ["/jobs/j-1", "/results/j-1"]
    assert state_of(one) == (State.FAILED, "torn")


def test_a_wait_before_a_fetch_does_not_read_it():
    one = waiter(JUDGED, judges=False)
    assert poll(subscribed(one), NOW, DONE) == ["/jobs/j-1"]
    assert state_of(one) == (State.SUCCEEDED, None)


def test_one_that_needs_the_result_is_enough():
    one, other = waiter(JUDGED, judges=False), waiter(JUDGED)
    assert poll(subscribed(other, subscribed(one)), NOW, DONE, FAILURE) == ["/jobs/j-1", "/results/j-1"]
    assert state_of(one) == state_of(other) == (State.FAILED, "torn")


def test_who_needs_the_result_and_comes_during_a_poll_without_it_is_not_told_that_status():
    one, other = waiter(JUDGED, judges=False), waiter(JUDGED)
    schedule = subscribed(one)
    batch = next_batch(schedule, NOW)

    def send(request: Request) -> Response:
        subscribed(other, schedule)
        return replace(DONE, request=request)

    schedule.answered(batch, run(schedule.flow(batch), send), NOW)
    assert state_of(one) == state_of(other) == (None, None)
    assert poll(schedule, NOW, DONE, FAILURE) == ["/jobs/j-1", "/results/j-1"]
    assert state_of(one) == state_of(other) == (State.FAILED, "torn")
    assert len(schedule) == 0


def test_a_result_that_is_away_is_polled_for_again():
    one = waiter(JUDGED)
    schedule = subscribed(one)
    poll(schedule, NOW, DONE, response({"detail": "x"}, 503))
    assert (state_of(one), isinstance(one.group.first.trouble, ServiceUnavailable)) == ((None, None), True)
    poll(schedule, NOW + INTERVAL, DONE, response({"data": 1}))
    assert state_of(one) == (State.SUCCEEDED, None)


# -- to believe no 404 for a while -------------------------------------------------------------------------------

MISSING = NotFound("Acme answered 404.", code=404)


def lost_at(service: ServiceDescription, *, first: DocumentStatus | None = None, every: float = 5.0) -> float:
    """Return after how many seconds of nothing but 404s an id counts as unknown."""
    one = waiter(service)
    schedule = subscribed(one)
    if first is not None:
        one.observe(JOB, first, NOW)
    for number in range(1000):
        now = NOW + number * every
        if one.observe(JOB, MISSING, now) is True:
            assert len(schedule) == 1
            return now - NOW
    raise AssertionError("never")


RUNNING = DocumentStatus(service="acme", kind="job", id="j-1", state=State.RUNNING, word="running")


@pytest.mark.parametrize("first", [None, RUNNING], ids=["never seen", "seen"])
def test_where_replicas_do_not_know_each_others_ids_a_404_counts_after_the_services_own_time(first):
    assert lost_at(replace(ACME, lost_after=300.0), first=first) == 300.0
    assert lost_at(replace(ACME, lost_after=300.0), first=first, every=200.0) == 200.0 * (LEAST_404S - 1)


def test_the_usual_time_counts_for_other_services():
    assert lost_at(ACME, first=RUNNING) == LOST_AFTER
    assert lost_at(ACME) == 5.0


def test_a_status_between_two_404s_begins_the_time_anew():
    one = waiter(replace(ACME, lost_after=60.0))
    subscribed(one)
    times = (0, 20, 40, 50, 60, 80, 100, 109, 110, 120)
    ended = [one.observe(JOB, RUNNING if after == 50 else MISSING, NOW + after) is True for after in times]
    assert ended == [False] * 9 + [True]


# -- several ids by one request ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({"most_ids": 4}, [4, 4, 2]),
        ({"most_ids": 1}, [1] * 10),
        ({"most_ids": 50}, [10]),
        ({"longest_query": 21}, [3, 3, 3, 1]),  # an id takes four characters, and three for a comma
        ({"longest_query": 21, "repeats": True}, [2, 2, 2, 2, 2]),  # four, and five for ids= and &
        ({"longest_query": 21, "most_ids": 2}, [2, 2, 2, 2, 2]),
    ],
    ids=str,
)
def test_one_request_takes_as_many_ids_as_the_vendor_allows(fields, sizes):
    service = acme(batch=BatchRoute(path="/many", parameter="ids", items="jobs", **fields))
    schedule = subscribed(waiter(service, *(f"j-{number:02}" for number in range(10))))
    assert schedule.requests_per_round(NOW) == len(sizes)
    batches = [next_batch(schedule, NOW) for _ in sizes]
    assert [len(batch.polls) for batch in batches] == sizes
    assert len({target for batch in batches for target in batch.targets}) == 10
