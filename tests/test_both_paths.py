"""One table of what a service may answer: the worker's hook and the triggerer's poller must make the same of it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import certifi
import pytest

from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    KeyRejected,
    NotFound,
    QuotaExhausted,
    RateLimited,
    ReplyTooLarge,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing import StandInVendors
from tests.two_paths import (
    CONN_ID,
    Observation,
    ask_in_the_triggerer,
    ask_on_the_worker,
    connect,
    hear_in_the_triggerer,
)

ALWAYS = math.inf
SOON = 0.1
FIRST_ROUTE = {"neurolinker": "request", "aitronos": "job", "unsiloed": "extract"}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """
    What is set up at the stand-in, and what both paths must make of it.

    :param set_up: does it, and returns the id to ask for.
    :param expected: the state, or the class of the error.
    :param text: a part of the error's or the status's text.
    :param retry_after: the seconds the error must name.
    :param connection: fields of the connection that differ; PORT in the host is the stand-in's.
    """

    service: str
    set_up: Callable[[StandInVendors], str]
    expected: State | type[DocStatusError]
    text: str = ""
    route: str = ""
    retry_after: float | None = None
    connection: Mapping[str, Any] = field(default_factory=dict)


def a_job(service: str, kind: str = "", **options: Any) -> Callable[[StandInVendors], str]:
    return lambda vendors: vendors.add_job(service, kind, **{"seconds": 0, **options})


def a_fault(service: str, status: int | None = 200, **fault: Any) -> Callable[[StandInVendors], str]:
    def set_up(vendors: StandInVendors) -> str:
        vendors.answer_next(status, times=ALWAYS, **fault)
        return vendors.add_job(service, seconds=0)

    return set_up


def a_limit(service: str, **limit: Any) -> Callable[[StandInVendors], str]:
    def set_up(vendors: StandInVendors) -> str:
        vendors.limit(service, 0, **limit)
        return vendors.add_job(service, seconds=0)

    return set_up


def a_switch(service: str, kind: str = "", **switches: Any) -> Callable[[StandInVendors], str]:
    def set_up(vendors: StandInVendors) -> str:
        for name, value in switches.items():
            setattr(vendors, name, value)
        return vendors.add_job(service, kind, seconds=0)

    return set_up


def a_batch(*endings: str, **options: Any) -> Callable[[StandInVendors], str]:
    def set_up(vendors: StandInVendors) -> str:
        jobs = [vendors.add_job("unsiloed", "job", **{"seconds": 0, "ends": ends, **options}) for ends in endings]
        return vendors.add_batch(jobs)

    return set_up


def failed_and_unsuccessful(vendors: StandInVendors) -> str:
    vendors.prefer = {"a failed job that says success=false"}
    return vendors.add_job("aitronos", seconds=0, ends="failed")


def a_date_in_90_seconds(vendors: StandInVendors) -> str:
    headers = {"Retry-After": formatdate(time.time() + 90, usegmt=True)}
    return a_fault("unsiloed", 503, headers=headers)(vendors)


def unknown(_vendors: StandInVendors) -> str:
    return "0b7c2f3e-5a53-4a53-8f10-6c4f9d6f0c11"


#: Longer than what is read at once.
ROWS = [{"text": "x" * 30, "box": [0.25, 1e400, 10**25]}] * 5000
THOUSANDS = [{"document_id": f"d-{one}", "status": "completed" if one else "failed"} for one in range(4000)]

STATES = {
    "neurolinker-request-completed": Situation(
        service="neurolinker", set_up=a_job("neurolinker", documents=3), expected=State.SUCCEEDED
    ),
    "neurolinker-request-processing": Situation(
        service="neurolinker", set_up=a_job("neurolinker", seconds=ALWAYS), expected=State.RUNNING
    ),
    "neurolinker-request-failed": Situation(
        service="neurolinker", set_up=a_job("neurolinker", ends="failed"), expected=State.FAILED
    ),
    "neurolinker-request-partial": Situation(
        service="neurolinker", set_up=a_job("neurolinker", ends="partial", documents=3), expected=State.PARTIAL
    ),
    "neurolinker-request-says-completed-but-counts-a-failure": Situation(
        service="neurolinker",
        set_up=a_job("neurolinker", documents=2, reply={"completed": 1, "failed": 1}),
        expected=State.PARTIAL,
    ),
    "neurolinker-request-says-completed-but-still-processes": Situation(
        service="neurolinker",
        set_up=a_job("neurolinker", documents=2, reply={"completed": 1, "processing": 1}),
        expected=State.RUNNING,
    ),
    "neurolinker-document-completed": Situation(
        service="neurolinker", route="document", set_up=a_job("neurolinker", "document"), expected=State.SUCCEEDED
    ),
    "neurolinker-document-pending": Situation(
        service="neurolinker",
        route="document",
        set_up=a_job("neurolinker", "document", seconds=1000),
        expected=State.RUNNING,
    ),
    "neurolinker-document-failed": Situation(
        service="neurolinker",
        route="document",
        set_up=a_job("neurolinker", "document", ends="failed", error="page 3 is blank"),
        expected=State.FAILED,
        text="page 3 is blank",
    ),
    "neurolinker-below-the-other-prefix": Situation(
        service="neurolinker", set_up=a_switch("neurolinker", neurolinker_prefix="/api/v1"), expected=State.SUCCEEDED
    ),
    "neurolinker-redirects-to-the-other-prefix": Situation(
        service="neurolinker", set_up=a_switch("neurolinker", neurolinker_prefix="redirect"), expected=State.SUCCEEDED
    ),
    "neurolinker-prefix-in-the-connection": Situation(
        service="neurolinker",
        set_up=a_switch("neurolinker", neurolinker_prefix="/api/v1"),
        expected=State.SUCCEEDED,
        connection={"extra": {"prefix": "/api/v1"}},
    ),
    "aitronos-completed": Situation(service="aitronos", set_up=a_job("aitronos"), expected=State.SUCCEEDED),
    "aitronos-pending": Situation(service="aitronos", set_up=a_job("aitronos", seconds=1000), expected=State.RUNNING),
    "aitronos-processing": Situation(service="aitronos", set_up=a_job("aitronos", seconds=ALWAYS), expected=State.RUNNING),
    "aitronos-completed-with-megabytes-of-data": Situation(
        service="aitronos", set_up=a_job("aitronos", reply={"extracted_data": ROWS}), expected=State.SUCCEEDED
    ),
    "neurolinker-request-of-thousands": Situation(
        service="neurolinker",
        set_up=a_job("neurolinker", reply={"total": 4000, "completed": 3999, "failed": 1, "documents": THOUSANDS}),
        expected=State.PARTIAL,
    ),
    "aitronos-failed": Situation(
        service="aitronos", set_up=a_job("aitronos", ends="failed", error="no text layer"), expected=State.FAILED, text="no text"
    ),
    "aitronos-failed-with-success-false": Situation(service="aitronos", set_up=failed_and_unsuccessful, expected=State.FAILED),
    "aitronos-cancelled": Situation(service="aitronos", set_up=a_job("aitronos", ends="cancelled"), expected=State.CANCELLED),
    "aitronos-login-token": Situation(
        service="aitronos",
        set_up=a_job("aitronos"),
        expected=State.SUCCEEDED,
        connection={"password": "jwt_stand_in", "extra": {"auth": "bearer"}},
    ),
    "unsiloed-extract-completed": Situation(service="unsiloed", set_up=a_job("unsiloed"), expected=State.SUCCEEDED),
    "unsiloed-extract-queued": Situation(service="unsiloed", set_up=a_job("unsiloed", seconds=1000), expected=State.RUNNING),
    "unsiloed-extract-review": Situation(service="unsiloed", set_up=a_job("unsiloed", ends="review"), expected=State.REVIEW),
    "unsiloed-extract-failed": Situation(service="unsiloed", set_up=a_job("unsiloed", ends="failed"), expected=State.FAILED),
    "unsiloed-parse-succeeded": Situation(
        service="unsiloed", route="parse", set_up=a_job("unsiloed", "parse"), expected=State.SUCCEEDED
    ),
    "unsiloed-parse-cancelled": Situation(
        service="unsiloed", route="parse", set_up=a_job("unsiloed", "parse", ends="cancelled"), expected=State.CANCELLED
    ),
    "unsiloed-classify-completed": Situation(
        service="unsiloed", route="classify", set_up=a_job("unsiloed", "classify"), expected=State.SUCCEEDED
    ),
    "unsiloed-classify-completed-without-success": Situation(
        service="unsiloed",
        route="classify",
        set_up=a_job("unsiloed", "classify", reply={"result": {"success": False, "error": "unreadable"}}),
        expected=State.FAILED,
    ),
    "unsiloed-split-completed": Situation(
        service="unsiloed", route="split", set_up=a_job("unsiloed", "split"), expected=State.SUCCEEDED
    ),
    "unsiloed-generic-job-in-capitals": Situation(
        service="unsiloed", route="job", set_up=a_job("unsiloed", "job"), expected=State.SUCCEEDED
    ),
    "unsiloed-generic-job-without-a-key": Situation(
        service="unsiloed",
        route="job",
        set_up=a_switch("unsiloed", "job", unsiloed_keyless_jobs=True),
        expected=State.SUCCEEDED,
        connection={"password": ""},
    ),
    "unsiloed-batch-completed": Situation(
        service="unsiloed", route="batch", set_up=a_batch("completed", "completed"), expected=State.SUCCEEDED
    ),
    "unsiloed-batch-with-a-failure": Situation(
        service="unsiloed", route="batch", set_up=a_batch("completed", "failed"), expected=State.PARTIAL
    ),
    "unsiloed-batch-still-running": Situation(
        service="unsiloed", route="batch", set_up=a_batch("completed", "completed", seconds=ALWAYS), expected=State.RUNNING
    ),
    "a-word-taught-by-the-connection": Situation(
        service="aitronos",
        set_up=a_job("aitronos", word="Archived"),
        expected=State.SUCCEEDED,
        connection={"extra": {"status_words": {"archived": "succeeded"}}},
    ),
    "a-slow-but-true-answer": Situation(
        service="aitronos", set_up=a_fault("aitronos", None, delay=0.05), expected=State.SUCCEEDED
    ),
    "null-bytes-and-other-scripts-in-the-answer": Situation(
        service="aitronos", set_up=a_job("aitronos", reply={"model_used": "модель\x00"}), expected=State.SUCCEEDED
    ),
}

REJECTIONS = {
    "neurolinker-unknown-in-a-long-text": Situation(
        service="neurolinker",
        set_up=a_fault("neurolinker", 404, body={"detail": "Request not found", "trace": ROWS}),
        expected=NotFound,
        text="404: Request not found. Check the id",
    ),
    "neurolinker-wrong-key": Situation(
        service="neurolinker",
        set_up=a_job("neurolinker"),
        expected=KeyRejected,
        text="401: Invalid API key",
        connection={"password": "nl_wrong"},
    ),
    "neurolinker-wrong-key-403": Situation(
        service="neurolinker",
        set_up=a_switch("neurolinker", neurolinker_wrong_key=403),
        expected=KeyRejected,
        text="403: Invalid API key",
        connection={"password": "nl_wrong"},
    ),
    "aitronos-wrong-key": Situation(
        service="aitronos",
        set_up=a_job("aitronos"),
        expected=KeyRejected,
        text="UNAUTHORIZED: Authentication required",
        connection={"password": "ak_wrong"},
    ),
    "aitronos-key-sent-as-login-token": Situation(
        service="aitronos",
        set_up=a_job("aitronos"),
        expected=KeyRejected,
        text="401",
        connection={"extra": {"auth": "bearer"}},
    ),
    "unsiloed-wrong-key": Situation(
        service="unsiloed",
        set_up=a_job("unsiloed"),
        expected=KeyRejected,
        text="401: Invalid API key",
        connection={"password": "us_wrong"},
    ),
    "unsiloed-wrong-key-as-plain-text": Situation(
        service="unsiloed",
        route="parse",
        set_up=a_job("unsiloed", "parse"),
        expected=KeyRejected,
        text="401: Invalid API key",
        connection={"password": "us_wrong"},
    ),
    "unsiloed-wrong-key-as-a-json-string": Situation(
        service="unsiloed",
        route="parse",
        set_up=a_switch("unsiloed", "parse", prefer={"401 as a bare JSON string"}),
        expected=KeyRejected,
        text="401: Invalid API key",
        connection={"password": "us_wrong"},
    ),
    **{
        f"{service}-without-a-key": Situation(
            service=service,
            set_up=a_job(service),
            expected=RequestRejected,
            text="has no password; put the",
            connection={"password": ""},
        )
        for service in FIRST_ROUTE
    },
    "neurolinker-unknown-request": Situation(
        service="neurolinker", set_up=unknown, expected=NotFound, text="404: Request not found. Check the id"
    ),
    "neurolinker-unknown-document": Situation(
        service="neurolinker", route="document", set_up=unknown, expected=NotFound, text="404: Document not found. Check the id"
    ),
    "neurolinker-wrong-key-below-the-other-prefix": Situation(
        service="neurolinker",
        set_up=a_switch("neurolinker", neurolinker_prefix="/api/v1"),
        expected=KeyRejected,
        text="401: Invalid API key",
        connection={"password": "nl_wrong"},
    ),
    "neurolinker-unknown-below-the-other-prefix": Situation(
        service="neurolinker",
        set_up=lambda v: (setattr(v, "neurolinker_prefix", "redirect"), unknown(v))[1],
        expected=NotFound,
        text="404: Request not found. Check the id",
    ),
    "neurolinker-neither-prefix-exists": Situation(
        service="neurolinker",
        set_up=a_fault("neurolinker", 404, body={"detail": "Not Found"}),
        expected=NotFound,
        text="GET /v1/request-status/{request_id}",
    ),
    "aitronos-unknown-job": Situation(service="aitronos", set_up=unknown, expected=NotFound, text="404: JOB_NOT_FOUND: The"),
    "unsiloed-unknown-extraction": Situation(service="unsiloed", set_up=unknown, expected=NotFound, text="GET /extract/{job_id}"),
    "unsiloed-wrong-route": Situation(
        service="unsiloed", route="parse", set_up=a_job("unsiloed", "extract"), expected=NotFound, text="the operation"
    ),
    "unsiloed-expired-job": Situation(
        service="unsiloed", set_up=a_fault("unsiloed", 410, body={"detail": "Gone"}), expected=NotFound, text="kept for 7 days"
    ),
    "neurolinker-422": Situation(
        service="neurolinker",
        set_up=lambda v: (setattr(v, "neurolinker_strict_ids", True), "not-a-uuid")[1],
        expected=RequestRejected,
        text="422: path.request_id: Input should be a valid UUID",
    ),
    "neurolinker-no-credit": Situation(
        service="neurolinker", set_up=a_limit("neurolinker", reason="payment"), expected=QuotaExhausted, text="Not enough credits"
    ),
    "aitronos-spend-limit": Situation(
        service="aitronos",
        set_up=a_limit("aitronos", reason="quota"),
        expected=RateLimited,
        text="USAGE_LIMIT_EXCEEDED",
        retry_after=60,
    ),
    "unsiloed-usage-limit": Situation(
        service="unsiloed", set_up=a_limit("unsiloed", reason="quota"), expected=QuotaExhausted, text="Quota exhausted"
    ),
    "unsiloed-no-credit": Situation(
        service="unsiloed", set_up=a_limit("unsiloed", reason="payment"), expected=QuotaExhausted, text="Insufficient quota"
    ),
    "400": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", 400, body={"error": {"message": "bad", "code": "BAD"}}),
        expected=RequestRejected,
        text="BAD: bad. Check the id and the connection",
    ),
    "418": Situation(
        service="aitronos", set_up=a_fault("aitronos", 418, body={}), expected=RequestRejected, text="with 418. Check"
    ),
}

UNAVAILABLE = {
    **{
        f"{service}-{code}": Situation(
            service=service,
            set_up=a_fault(service, code, body={"detail": "try later"}),
            expected=ServiceUnavailable,
            text=f"with {code}: try later",
        )
        for service in FIRST_ROUTE
        for code in (408, 425, 500, 501, 502, 503, 504)
        if code in (500, 503) or service == "aitronos"
    },
    "503-retry-after-seconds": Situation(
        service="unsiloed",
        set_up=a_fault("unsiloed", 503, headers={"Retry-After": "7"}),
        expected=ServiceUnavailable,
        retry_after=7,
    ),
    "503-retry-after-date": Situation(
        service="unsiloed",
        set_up=a_date_in_90_seconds,
        expected=ServiceUnavailable,
        retry_after=90,
    ),
    "503-retry-after-nonsense": Situation(
        service="unsiloed",
        set_up=a_fault("unsiloed", 503, headers={"Retry-After": "soon"}),
        expected=ServiceUnavailable,
    ),
    "502-html-page-of-a-proxy": Situation(
        service="neurolinker",
        set_up=a_fault("neurolinker", 502, body="<html><h1>Bad Gateway</h1></html>", content_type="text/html"),
        expected=ServiceUnavailable,
        text="with 502",
    ),
    "neurolinker-429": Situation(
        service="neurolinker", set_up=a_limit("neurolinker"), expected=RateLimited, text="429: Too Many", retry_after=60
    ),
    "aitronos-429": Situation(
        service="aitronos", set_up=a_limit("aitronos", retry_after="12"), expected=RateLimited, text="429", retry_after=12
    ),
    "aitronos-429-by-its-own-header": Situation(
        service="aitronos",
        set_up=a_fault(
            "aitronos", 429, body={"error": {"code": "RATE_LIMIT_EXCEEDED"}}, headers={"X-RateLimit-Retry-After": "30"}
        ),
        expected=RateLimited,
        retry_after=30,
    ),
    "unsiloed-429": Situation(
        service="unsiloed",
        set_up=a_limit("unsiloed", retry_after="3"),
        expected=RateLimited,
        text="429: Status check rate limit",
        retry_after=3,
    ),
    "reset": Situation(
        service="aitronos", set_up=a_fault("aitronos", reset=True), expected=ServiceUnavailable, text="did not answer GET"
    ),
    "hung-up-in-the-middle": Situation(
        service="aitronos", set_up=a_fault("aitronos", cut_off=True), expected=ServiceUnavailable, text="did not answer GET"
    ),
    "slower-than-the-request-timeout": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", None, delay=3),
        expected=ServiceUnavailable,
        text="(timed out)",
        connection={"extra": {"request_timeout": SOON}},
    ),
    "nobody-listens": Situation(
        service="aitronos",
        set_up=unknown,
        expected=ServiceUnavailable,
        text="at 127.0.0.1:1 (connection refused)",
        connection={"host": "http://127.0.0.1:1"},
    ),
    "no-such-host": Situation(
        service="aitronos",
        set_up=unknown,
        expected=ServiceUnavailable,
        text="at docstatus.invalid (no such host)",
        connection={"host": "https://docstatus.invalid"},
    ),
    "http-where-https-is-expected": Situation(
        service="aitronos",
        set_up=unknown,
        expected=ServiceUnavailable,
        text="(no TLS connection)",
        connection={"host": "https://127.0.0.1:PORT"},
    ),
}

UNEXPECTED = {
    "not-gzip-though-it-says-so": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", body="plain", headers={"Content-Encoding": "gzip"}),
        expected=UnexpectedReply,
        text="its body is not what its Content-Encoding says",
    ),
    **{
        f"{service}-html": Situation(
            service=service,
            set_up=a_fault(service, body="<html>Please log in</html>", content_type="text/html; charset=utf-8"),
            expected=UnexpectedReply,
            text="not JSON (text/html; charset=utf-8); is there a proxy or login page",
        )
        for service in FIRST_ROUTE
    },
    **{
        f"{service}-{code}-html": Situation(
            service=service,
            set_up=a_fault(service, code, body="<html><center>nginx</center></html>", content_type="text/html"),
            expected=UnexpectedReply,
            text=f"with {code} and a web page; is there a proxy or login page in between, or is the host wrong?",
        )
        for service in FIRST_ROUTE
        for code in (400, 401, 402, 403, 404, 405, 410, 413, 418)
        if code in (401, 404) or service == "aitronos"
    },
    "cut-json": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", body='{"status": "comp', content_type="application/json"),
        expected=UnexpectedReply,
        text="16 bytes that are not JSON (application/json)",
    ),
    "long-cut-json": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", body='{"status": "completed", "a": [' + "[1, 2], " * 50_000, content_type="application/json"),
        expected=UnexpectedReply,
        text="400030 bytes that are not JSON (application/json)",
    ),
    "plain-text": Situation(
        service="aitronos", set_up=a_fault("aitronos", body="completed"), expected=UnexpectedReply, text="not JSON (text/plain)"
    ),
    "nothing": Situation(
        service="aitronos", set_up=a_fault("aitronos", body=b""), expected=UnexpectedReply, text="0 bytes that are not JSON"
    ),
    "no-content": Situation(
        service="aitronos", set_up=a_fault("aitronos", 204, body=b""), expected=UnexpectedReply, text="not JSON"
    ),
    "not-modified": Situation(
        service="aitronos", set_up=a_fault("aitronos", 304, body=b""), expected=UnexpectedReply, text="redirect (304)"
    ),
    "not-utf-8": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", body=b'{"status": "\xff\xfe"}', content_type="application/json"),
        expected=UnexpectedReply,
        text="not JSON",
    ),
    "nested-beyond-reason": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", body="[" * 200_000, content_type="application/json"),
        expected=ReplyTooLarge,
        text="with more levels of lists and objects than can be read",
    ),
    "a-json-list": Situation(
        service="aitronos", set_up=a_fault("aitronos", body=["completed"]), expected=UnexpectedReply, text="not an object (list)"
    ),
    "json-null": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", body="null", content_type="application/json"),
        expected=UnexpectedReply,
        text="not an object (NoneType)",
    ),
    "redirect-elsewhere": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", redirect_to="https://login.example.com/?next=secret"),
        expected=UnexpectedReply,
        text="a redirect (302) to login.example.com; redirects are not followed",
    ),
    "redirect-elsewhere-below-the-other-prefix": Situation(
        service="neurolinker",
        set_up=a_fault("neurolinker", redirect_to="https://elsewhere.example.com/api/v1/request-status/x"),
        expected=UnexpectedReply,
        text="to elsewhere.example.com",
    ),
    "oversized": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", megabytes=1),
        expected=ReplyTooLarge,
        text="more than 1000 bytes; raise 'max_reply_bytes'",
        connection={"extra": {"max_reply_bytes": 1000}},
    ),
    "about-another-id": Situation(
        service="aitronos",
        set_up=a_job("aitronos", reply={"job_id": "job_of_somebody_else"}),
        expected=UnexpectedReply,
        text="with another id, 'job_of_somebody_else'",
    ),
    "neurolinker-about-another-request": Situation(
        service="neurolinker",
        set_up=a_job("neurolinker", reply={"request_id": "another"}),
        expected=UnexpectedReply,
        text="with another id, 'another'",
    ),
    "no-status-word": Situation(
        service="unsiloed",
        set_up=a_job("unsiloed", reply={"status": None}),
        expected=UnexpectedReply,
        text="without a status word",
    ),
    "success-false-and-no-word": Situation(
        service="aitronos",
        set_up=a_fault("aitronos", body={"success": False, "error": {"message": "internal", "code": "X"}}),
        expected=UnexpectedReply,
        text="success=false: X: internal",
    ),
    "unknown-word": Situation(
        service="unsiloed",
        set_up=a_job("unsiloed", word="Archiving"),
        expected=UnknownWord,
        text='"status_words": {"archiving": "running"}',
    ),
}

SITUATIONS = {**STATES, **REJECTIONS, **UNAVAILABLE, **UNEXPECTED}


@pytest.fixture(scope="module")
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file with one CA certificate: loading the usual 120 for each wait is half of these tests' time."""
    file = tmp_path_factory.mktemp("ca") / "one.pem"
    end = "-----END CERTIFICATE-----"
    file.write_text(Path(certifi.where()).read_text().partition(end)[0] + end + "\n")
    return str(file)


@pytest.fixture(autouse=True)
def _few_certificates(one_certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", one_certificate)


@pytest.fixture
def vendors() -> Iterator[StandInVendors]:
    with StandInVendors() as vendors:
        yield vendors


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_worker_and_triggerer_make_the_same_of(
    situation: Situation, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_id = situation.set_up(vendors)
    given = situation.connection.items()
    fields = {name: value.replace("PORT", str(vendors.port)) if name == "host" else value for name, value in given}
    connect(monkeypatch, vendors, situation.service, fields)
    target = Target(route=situation.route or FIRST_ROUTE[situation.service], id=one_id)

    on_the_worker, in_the_triggerer = ask_on_the_worker(target), ask_in_the_triggerer(situation.service, target)

    for observation in (on_the_worker, in_the_triggerer):
        if isinstance(situation.expected, State):
            assert isinstance(observation, DocumentStatus), observation
            assert observation.state is situation.expected
            assert situation.text in (observation.message or "")
        else:
            assert type(observation) is situation.expected, observation
            assert situation.text in str(observation)
            assert vendors.keys[situation.service] not in str(observation)
            if isinstance(observation, ServiceUnavailable):
                assert observation.retry_after == pytest.approx(situation.retry_after, abs=5)
    assert_equal(on_the_worker, in_the_triggerer)


HARD_KEY = "ak_live_Ab/Cd+Ef==9876543210"
IN_JSON = f'{{"detail": "bad key {HARD_KEY}"}}'
KEY_FORMS: dict[str, dict[str, Any]] = {
    "plain": {"status": 422, "body": IN_JSON.encode()},
    "plain text": {"status": 422, "body": f"bad key {HARD_KEY}", "content_type": "text/plain"},
    "escaped slashes": {"status": 422, "body": IN_JSON.replace("/", "\\/").encode()},
    "escaped letters": {"status": 422, "body": IN_JSON.replace("+", "\\u002B").replace("=", "\\u003d").encode()},
    "json in json": {"status": 422, "body": {"detail": IN_JSON.replace("/", "\\/")}},
    "percent-encoded": {"status": 422, "body": {"detail": f"bad ?key={quote(HARD_KEY, safe='')}"}},
    "percent-encoded twice": {"status": 422, "body": {"detail": f"bad k={quote(quote(HARD_KEY, safe=''), safe='')}"}},
    "utf-16": {"status": 422, "body": IN_JSON.encode("utf-16")},
    "utf-32": {"status": 422, "body": IN_JSON.encode("utf-32-be")},
    "content type": {"status": 200, "body": "x", "content_type": f"text/plain; k={HARD_KEY}"},
    "nothing but the key as content type": {"status": 200, "body": "x", "content_type": HARD_KEY},
    "host of a redirect": {"status": 302, "redirect_to": "https://ak_live_Ab.example/", "key": "ak_live_Ab"},
    "message": {"body": f'{{"status": "failed", "error_message": "{HARD_KEY}"}}'.replace("/", "\\/").encode()},
    "word": {"body": f'{{"status": "{HARD_KEY}"}}'.replace("+", "\\u002b").encode()},
    "detail": {"body": {"status": "completed", "model_used": HARD_KEY, "confidence": {HARD_KEY: 1}}},
}


@pytest.mark.parametrize("fault", KEY_FORMS.values(), ids=KEY_FORMS)
def test_neither_path_repeats_the_key_that_an_answer_holds_as(
    fault: dict[str, Any], vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = dict(fault)
    key = vendors.keys["aitronos"] = fault.pop("key", HARD_KEY)
    connect(monkeypatch, vendors, "aitronos", {})
    vendors.answer_next(**{"status": 200, "content_type": "application/json", **fault, "times": ALWAYS})
    target = Target(route="job", id="job_1")
    for observation in (ask_on_the_worker(target), ask_in_the_triggerer("aitronos", target)):
        told = str(observation.to_dict() if isinstance(observation, DocumentStatus) else observation)
        for _ in range(3):
            told = unquote(told.replace("\ufffd", "").replace("\\", ""))
            assert key.lower() not in told.lower()
        assert "ak_live" not in told


def without_trace(error: DocStatusError) -> str:
    """Return the text without what a service makes up for each answer."""
    return re.sub(r"trace_[0-9a-f]+", "trace_x", str(error))


def assert_equal(one: Observation, other: Observation) -> None:
    if isinstance(one, DocumentStatus) and isinstance(other, DocumentStatus):
        moving = {"updated_at", "details", "completed_at", "children"} if one.state is State.RUNNING else {"children"}
        assert {k: v for k, v in one.to_dict().items() if k not in moving} == {
            k: v for k, v in other.to_dict().items() if k not in moving
        }
        assert [(child.id, child.state) for child in one.children] == [(child.id, child.state) for child in other.children]
    else:
        assert isinstance(one, DocStatusError)
        assert isinstance(other, DocStatusError)
        assert without_trace(one) == without_trace(other)
        assert (one.service, one.id, one.state, one.link) == (other.service, other.id, other.state, other.link)


@pytest.mark.parametrize("service", FIRST_ROUTE)
def test_both_paths_send_the_same_request(service: str, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(route=FIRST_ROUTE[service], id=vendors.add_job(service, seconds=0))
    connect(monkeypatch, vendors, service, {})
    ask_on_the_worker(target)
    ask_in_the_triggerer(service, target)
    sent = [(record.method, record.path, record.query, record.key_ok, record.headers["Accept"]) for record in vendors.requests]
    assert len(sent) == 2
    assert sent[0] == sent[1]


def test_certificates_do_not_matter_without_tls(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    connect(monkeypatch, vendors, "aitronos", {})
    target = Target(route="job", id=vendors.add_job("aitronos", seconds=0))
    for observation in (ask_on_the_worker(target), ask_in_the_triggerer("aitronos", target)):
        assert isinstance(observation, DocumentStatus), observation


@pytest.mark.parametrize("prefix", ["/api/v1", "redirect"])
def test_an_ordinary_404_below_the_learned_prefix_does_not_turn_it_back(
    prefix: str, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendors.neurolinker_prefix = prefix
    connect(monkeypatch, vendors, "neurolinker", {})
    hook = DocStatusHook(CONN_ID, retries=0)
    hook.get_status(request_id=vendors.add_job("neurolinker", seconds=0))
    with pytest.raises(NotFound, match="/api/v1/request-status"):
        hook.get_status(request_id=unknown(vendors))
    assert hook.prefix.current == "/api/v1"
    assert [record.path.split("/request-status")[0] for record in vendors.requests] == ["/v1", "/api/v1", "/api/v1"]


NO_PREFIX = {
    "503": ({"status": 503}, ServiceUnavailable),
    "html 503": ({"status": 503, "body": "<html>", "content_type": "text/html"}, ServiceUnavailable),
    "401": ({"status": 401, "body": {"detail": "no"}}, None),
    "403": ({"status": 403, "body": {"detail": "no"}}, None),
    "another 404": ({"status": 404, "body": {"error": "no route"}}, None),
    "html 404": ({"status": 404, "body": "<html>", "content_type": "text/html"}, NotFound),
    "a page": ({"status": 200, "body": "<html>", "content_type": "text/html"}, NotFound),
    "json that is no object": ({"status": 200, "body": ["ok"]}, NotFound),
    "a redirect": ({"status": 302, "redirect_to": "https://login.example.com/"}, NotFound),
}


@pytest.mark.parametrize(("there", "first"), NO_PREFIX.values(), ids=NO_PREFIX)
def test_one_odd_404_does_not_turn_to_the_other_prefix_that_answers(
    there: dict[str, Any], first: type[DocStatusError] | None, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a good answer below the other prefix shows that the service is there; a refusal is believed when both say it twice."""
    connect(monkeypatch, vendors, "neurolinker", {})
    target = Target(route="request", id=vendors.add_job("neurolinker", seconds=0))
    vendors.answer_next(**there, path="^/api/v1", times=ALWAYS)

    def blip() -> None:
        vendors.requests.clear()
        vendors.answer_next(404, body={"detail": "Not Found"}, path="^/v1", times=1)

    def on_the_worker() -> list[Observation]:
        hook = DocStatusHook(CONN_ID, retries=0)
        heard: list[Observation] = []
        for _ in range(2):
            try:
                heard.append(hook.get_target_status(target))
            except DocStatusError as error:
                heard.append(error)
        hook.get_conn().close()
        return heard

    for ask in (on_the_worker, lambda: hear_in_the_triggerer("neurolinker", target, times=2)):
        blip()
        heard = ask()
        assert type(heard[0]) is (first or DocumentStatus), heard[0]
        assert isinstance(heard[1], DocumentStatus), heard[1]
        asked = [record.path.split("/request-status")[0] for record in vendors.requests]
        assert asked == ["/v1", "/api/v1", "/v1"] + ["/v1"] * (first is None)


BAD_CONNECTIONS = {
    "another type": (
        {"conn_type": "http"},
        f"type 'http'; this package reads {', '.join([*SERVICES][:3])} and {len(SERVICES) - 2} more types",
    ),
    "http to a host that is not loopback": ({"host": "http://api.example.com"}, "use https, or set allow_http"),
    "a user in the host": ({"host": "https://user:secret@api.example.com"}, "the key belongs in the password"),
    "a query in the host": ({"host": "https://api.example.com/?x=1"}, "no user, query or fragment"),
    "a host that is no URL": ({"host": "https://[::1"}, "host is not a URL"),
    "a host with a blank": ({"host": "https://api example.com"}, "host must look like"),
    "a host with an empty label": ({"host": "https://api..example.com"}, "host must look like"),
    "ftp": ({"host": "ftp://127.0.0.1"}, "host must look like"),
    "a host that ends in the path prefix": ({"host": "https://api.example.com/v1"}, "host ends in /v1, which is the path prefix"),
    "an unknown extra key": ({"extra": {"timeout": 3}}, "unknown keys: timeout; the keys are operation, region, auth"),
    "an unknown way to authenticate": ({"extra": {"auth": "basic"}}, "auth is not one of api_key, bearer"),
    "an operation it does not have": ({"extra": {"operation": "parse"}}, "has no operations; leave operation='parse' out"),
    "a time-out of zero": ({"extra": {"request_timeout": 0}}, "request_timeout=0 must be a number above 0"),
    "a limit in words": ({"extra": {"max_reply_bytes": "many"}}, "max_reply_bytes='many' must be a number above 0"),
    "allow_http in words": ({"extra": {"allow_http": "maybe"}}, "allow_http='maybe' must be true or false"),
    "status words of no state": (
        {"extra": {"status_words": {"x": "ready"}}},
        "must map vendor words to one of running, succeeded",
    ),
    "status words that are a list": ({"extra": {"status_words": ["x"]}}, "must map vendor words"),
    "a key with a line break": ({"password": "ak_stand\nin"}, "holds characters that no API key has"),
    "a CA bundle that is not there": (
        {"host": "https://127.0.0.1:1", "extra": {"ca_bundle": "/no/such/file.pem"}},
        "CA certificates '/no/such/file.pem' are not on this machine; see ca_bundle in the connection's extra",
    ),
}


@pytest.mark.parametrize(("fields", "text"), BAD_CONNECTIONS.values(), ids=BAD_CONNECTIONS)
def test_both_paths_refuse_a_connection_with(
    fields: dict[str, Any], text: str, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, vendors, "aitronos", fields)
    target = Target(route="job", id="job_1")
    one, other = ask_on_the_worker(target), ask_in_the_triggerer("aitronos", target)
    assert type(one) is type(other) is RequestRejected, (one, other)
    assert str(one) == str(other)
    assert text in str(one)
    assert "secret" not in str(one)
    assert "ak_stand" not in str(one)
    assert vendors.requests == []
