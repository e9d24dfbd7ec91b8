"""Who must act: the tree is the docstring's, and every class carries what it is about."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from airflow_provider_docstatus import exceptions
from airflow_provider_docstatus.exceptions import (
    ConnectionUnavailable,
    DataRefused,
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
    ServiceUnavailable,
    Stalled,
    UnexpectedReply,
    UnknownWord,
    WaitTimedOut,
)
from airflow_provider_docstatus.status import State

CLASSES = [one for _, one in inspect.getmembers(exceptions, inspect.isclass) if one.__module__ == exceptions.__name__]
NEEDS = {UnknownWord: {"word": "archived"}}


def test_the_drawn_tree_is_the_real_one():
    drawn, path = {}, {}
    for line in (exceptions.__doc__ or "").splitlines():
        match = re.match(r"    ([│├└─ ]*)([A-Z]\w+)", line)
        if match:
            depth = len(match[1]) // 4
            path[depth] = match[2]
            drawn[match[2]] = path.get(depth - 1, "Exception")
    assert drawn == {one.__name__: one.__bases__[0].__name__ for one in CLASSES}


@pytest.mark.parametrize("error_class", CLASSES, ids=lambda one: one.__name__)
def test_every_error_says_what_it_is_about(error_class):
    about = {"service": "unsiloed", "id": "j", "state": State.FAILED, "link": "https://example.com/j"}
    error = error_class("what happened", **about, **NEEDS.get(error_class, {}))
    assert str(error) == "what happened"
    assert {name: getattr(error, name) for name in about} == about
    assert error_class.__doc__
    bare = error_class("what happened", **NEEDS.get(error_class, {}))
    assert (bare.service, bare.id, bare.state, bare.link) == (None, None, None, None)


@pytest.mark.parametrize("error_class", CLASSES, ids=lambda one: one.__name__)
def test_every_error_comes_through_a_pool_of_processes(error_class):
    """One that cannot be unpickled breaks a ProcessPoolExecutor, and leaves a multiprocessing.Pool waiting for ever."""
    error = error_class("what happened", service="unsiloed", id="j", **NEEDS.get(error_class, {}))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (error_class, str(error), vars(error))


def test_who_is_told_to_wait_is_told_how_long():
    assert ServiceUnavailable("x", retry_after=3.5).retry_after == 3.5
    assert RateLimited("x").retry_after is None


@pytest.mark.parametrize(
    ("error_class", "was_polled"),
    [(ServiceUnavailable, True), (RateLimited, False), (ConnectionUnavailable, False)],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_an_unavailable_service_has_dealt_with_the_request_or_not(error_class, was_polled):
    assert error_class("x").was_polled is was_polled


REJECTED = [one for one in CLASSES if issubclass(one, RequestRejected)]


@pytest.mark.parametrize("error_class", REJECTED, ids=lambda one: one.__name__)
def test_a_rejected_request_keeps_the_code_it_was_refused_with(error_class):
    assert error_class("x").code is None
    refused = error_class("x", code=418, id="j")
    assert (refused.code, refused.id) == (418, "j")
    assert pickle.loads(pickle.dumps(refused)).code == 418


def test_an_id_that_is_gone_is_told_from_one_that_is_unknown():
    assert not NotFound("x", code=404).is_gone
    gone = NotFound("x", is_gone=True, code=410)
    assert (gone.is_gone, gone.code) == (True, 410)


def test_a_wait_that_is_too_long_names_the_parameter_that_ended_it():
    assert (WaitTimedOut.limit, ExecutionTimedOut.limit) == ("timeout", "execution_timeout")


def test_an_unknown_word_is_kept():
    assert UnknownWord("x", word="archived").word == "archived"


def test_a_misspelt_keyword_is_a_bug_and_crashes():
    with pytest.raises(TypeError):
        ServiceUnavailable("x", retryafter=3)


@pytest.mark.parametrize(
    ("error_class", "who"),
    [
        (RateLimited, ServiceUnavailable),
        (ConnectionUnavailable, ServiceUnavailable),
        (KeyRejected, RequestRejected),
        (QuotaExhausted, RequestRejected),
        (NotFound, RequestRejected),
        (NoSuchRoute, RequestRejected),
        (NotFinished, RequestRejected),
        (ResultNotStorable, RequestRejected),
        (ResultTooLarge, RequestRejected),
        (ReplyTooLarge, UnexpectedReply),
        (UnknownWord, UnexpectedReply),
        (NoData, DocumentFailed),
        (DataRefused, DocumentFailed),
        (Expired, DocumentFailed),
        (Stalled, DocumentFailed),
        (OutputFailed, DocStatusError),
        (WaitTimedOut, DocStatusError),
        (ExecutionTimedOut, DocStatusError),
    ],
    ids=lambda one: one.__name__,
)
def test_catching_by_who_must_act_catches_it(error_class, who):
    assert issubclass(error_class, who)
    others = {ServiceUnavailable, RequestRejected, UnexpectedReply, DocumentFailed} - {who}
    assert not any(issubclass(error_class, other) for other in others)


def test_the_pure_classes_know_nothing_of_airflow():
    assert DocStatusError.__mro__[1:] == (Exception, BaseException, object)
