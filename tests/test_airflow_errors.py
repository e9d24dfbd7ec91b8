"""Our errors joined with Airflow's: what a retry cannot help is not retried, and all of it can be pickled."""

from __future__ import annotations

import pickle

import pytest

from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout
from airflow_provider_docstatus.airflow_errors import SKIPPABLE, errors_for_airflow, for_airflow
from airflow_provider_docstatus.exceptions import (
    DataRefused,
    Declined,
    DocStatusError,
    DocumentFailed,
    ExecutionTimedOut,
    Expired,
    KeyRejected,
    NoData,
    NoSuchRoute,
    NotFinished,
    NotFound,
    OutputFailed,
    QuotaExhausted,
    RateLimited,
    ReplyTooLarge,
    RequestRejected,
    ResultNotStorable,
    ResultTooLarge,
    ReviewTimedOut,
    ServiceUnavailable,
    Stalled,
    UnexpectedReply,
    UnknownWord,
    WaitTimedOut,
)
from airflow_provider_docstatus.status import State

LINK = "https://example.com/j-1"
GARBAGE = UnexpectedReply("Unsiloed answered HTML.")
NEW_WORD = UnknownWord("Unsiloed calls j-1 'archived'.", word="archived")
DOWN = ServiceUnavailable("Unsiloed answered with 503")

# -- joined with Airflow -----------------------------------------------------------------------------------------

FOR_GOOD = [
    DataRefused,
    Declined,
    DocumentFailed,
    Expired,
    KeyRejected,
    ResultNotStorable,
    NoSuchRoute,
    NotFinished,
    NotFound,
    QuotaExhausted,
    ReplyTooLarge,
    RequestRejected,
    ResultTooLarge,
    Stalled,
]


@pytest.mark.parametrize("kind", FOR_GOOD, ids=lambda kind: kind.__name__)
def test_what_a_retry_cannot_help_is_not_retried(kind):
    joined = for_airflow(kind("what happened", service="unsiloed", id="j-1", state=State.FAILED, link=LINK))
    assert isinstance(joined, kind)
    assert isinstance(joined, AirflowFailException)
    assert type(joined).__name__ == kind.__name__
    assert str(joined) == "what happened"
    assert (joined.service, joined.id, joined.state, joined.link) == ("unsiloed", "j-1", State.FAILED, LINK)
    assert for_airflow(joined) is joined


FULL = OutputFailed("The file could not be written.")


@pytest.mark.parametrize("error", [DOWN, RateLimited("429", retry_after=3), GARBAGE, NEW_WORD, NoData("not yet"), FULL], ids=repr)
def test_what_a_retry_may_help_is_left_to_the_task(error):
    assert for_airflow(error) is error
    assert not isinstance(error, AirflowFailException)


def test_errors_on_their_way_to_airflow_say_once_what_happened_and_where():
    with pytest.raises(KeyRejected) as caught, errors_for_airflow():
        raise KeyRejected("401", id="j-1")
    assert isinstance(caught.value, AirflowFailException)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert caught.traceback[-1].name == "test_errors_on_their_way_to_airflow_say_once_what_happened_and_where"
    assert caught.value.id == "j-1"


@pytest.mark.parametrize("error", [DOWN, ZeroDivisionError("a bug"), AirflowFailException("of Airflow")], ids=repr)
def test_other_errors_pass_unchanged(error):
    with pytest.raises(type(error)) as caught, errors_for_airflow():
        raise error
    assert caught.value is error


def test_nothing_happens_where_nothing_goes_wrong():
    with errors_for_airflow():
        pass


@pytest.mark.parametrize(
    ("ours", "airflows"),
    [(WaitTimedOut, AirflowSensorTimeout), (ReviewTimedOut, AirflowSensorTimeout), (ExecutionTimedOut, AirflowTaskTimeout)],
)
def test_a_time_out_is_airflows_own(ours, airflows):
    joined = for_airflow(ours("late"))
    assert isinstance(joined, airflows)
    assert isinstance(joined, ours)
    assert isinstance(joined, DocStatusError)
    assert not isinstance(joined, AirflowFailException)


@pytest.mark.parametrize("kind", [*FOR_GOOD, WaitTimedOut, ReviewTimedOut, ExecutionTimedOut], ids=lambda kind: kind.__name__)
def test_what_a_task_raises_can_be_pickled(kind):
    joined = for_airflow(kind("what happened", service="unsiloed", id="j-1", state=State.FAILED, link=LINK))
    again = pickle.loads(pickle.dumps(joined))
    assert type(again) is type(joined)
    assert (str(again), again.__dict__) == (str(joined), joined.__dict__)


def test_a_broken_key_never_looks_like_a_skip():
    assert not issubclass(KeyRejected, SKIPPABLE)
    assert not issubclass(NotFound, SKIPPABLE)
    assert not issubclass(UnexpectedReply, SKIPPABLE)
    assert all(
        issubclass(kind, SKIPPABLE)
        for kind in (DocumentFailed, Stalled, Expired, Declined, WaitTimedOut, ReviewTimedOut, ExecutionTimedOut)
    )
