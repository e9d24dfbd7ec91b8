"""Aitronos: one job a document, a talkative error envelope, and two kinds of 429."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import RateLimited, RequestRejected
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import AITRONOS
from airflow_provider_docstatus.status import State
from tests.conversations import NOW, converse, response

JOB = Target(route="job", id="job_1")


def poll(*responses: Any) -> Any:
    return converse(poll_one(AITRONOS, JOB), *responses)[0]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            {"code": "C", "message": "m", "system_message": "s", "type": "t", "details": {"a": 1}, "trace_id": "x"},
            'C: m (system_message s; type t; details {"a": 1}; trace_id x)',
        ),
        ({"message": "m"}, "m"),
        ({"code": "C", "message": "m"}, "C: m"),
        ({"message": "m", "type": "t"}, "m (type t)"),
        ({"code": 7, "message": ["m"]}, "7: m"),
        ({"message": "see https://x.example/a?sig=1"}, "see https://x.example/a"),
        ({"code": "C"}, "C"),
        ("plain", "plain"),
    ],
    ids=["all", "message", "code", "type", "odd shapes", "link", "no message", "text"],
)
def test_all_that_the_error_envelope_says_reaches_the_user(error, text):
    with pytest.raises(RequestRejected) as caught:
        poll(response({"success": False, "error": error}, 418))
    assert f"with 418: {text}. Check the id" in str(caught.value)


def test_a_long_envelope_is_cut():
    error = {"code": "C" * 400, "message": "m" * 400, "system_message": "s" * 400, "details": {"a": "d" * 400}}
    with pytest.raises(RequestRejected) as caught:
        poll(response({"error": error}, 422))
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("body", "headers", "may_be_spend_limit"),
    [
        ({"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "m"}}, {}, False),
        ({"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "m"}}, {"retry-after": "5"}, False),
        ({"error": {"code": "rate_limit_exceeded", "message": "m"}}, {}, False),
        ({"error": {"code": "SPEND_LIMIT", "message": "m"}}, {}, True),
        ({"error": {"code": "TOO_MANY_REQUESTS", "message": "m"}}, {"x-ratelimit-reset": str(int(NOW) + 3)}, True),
        ({"error": {"message": "m"}}, {}, False),
        ({"detail": "Too Many Requests"}, {}, False),
        ("Too Many Requests", {}, False),
    ],
    ids=["rate", "rate with a time", "lower case", "other code", "other code with a time", "no code", "older envelope", "text"],
)
def test_a_429_with_an_unknown_code_is_waited_out_and_may_be_the_spend_limit(body, headers, may_be_spend_limit):
    """No page names the code of the spend limit."""
    with pytest.raises(RateLimited) as caught:
        poll(response(body, 429, headers=headers))
    assert ("This may be a limit of the account that waiting does not lift" in str(caught.value)) is may_be_spend_limit


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-retry-after": "4"}, 4.0),
        ({"x-ratelimit-reset": str(int(NOW) + 9)}, 9.0),
        ({"x-ratelimit-reset-requests": "3"}, 3.0),
        ({"retry-after": "1", "x-ratelimit-retry-after": "4", "x-ratelimit-reset": "9"}, 1.0),
        ({"x-ratelimit-retry-after": "4", "x-ratelimit-reset": "9"}, 4.0),
    ],
    ids=["retry-after", "reset", "reset of requests", "standard header first", "the vendor's before its reset"],
)
def test_the_vendors_own_headers_say_how_long_to_wait(headers, seconds):
    with pytest.raises(RateLimited) as caught:
        poll(response({"detail": "slow down"}, 429, headers=headers))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("confidence", [0.95, 95.5, 94, {"overall": 94, "validation": 100}], ids=str)
def test_confidence_is_kept_in_the_vendors_own_shape(confidence):
    status = poll(response({"job_id": "job_1", "status": "completed", "confidence": confidence}))
    assert status.details["confidence"] == confidence


def test_extracted_data_never_stands_in_a_status():
    status = poll(
        response({"job_id": "job_1", "status": "completed", "extracted_data": {"name": "PERSON"}, "explanation": "PERSON"})
    )
    assert status.state is State.SUCCEEDED
    assert "PERSON" not in repr(status)


def test_a_failed_job_is_not_explained_in_the_models_words():
    """They may repeat what the document says."""
    status = poll(response({"job_id": "job_1", "status": "failed", "error_message": None, "explanation": "PERSON is dead"}))
    assert status.message is None
