"""Run a flow without a network: the requests it makes, and responses laid out beforehand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import DocStatusError, RequestRejected
from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.flows import Flow, arun, run
from airflow_provider_docstatus.protocol.messages import Request, Response
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import State

#: When every response came: 2024-12-16T10:30:00Z.
NOW = 1734345000.0
LIMIT = 100_000
HTML = {"content-type": "text/html"}

Driver = Callable[[Flow[Any], Callable[[Request], Response]], Any]


def response(
    body: Any = None,
    code: int = 200,
    *,
    text: str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    request: Request | None = None,
) -> Response:
    """Return a response with a JSON body, or with the text if one is given."""
    if text is None:
        raw, kind = json.dumps(body).encode(), "application/json"
    else:
        raw, kind = text if isinstance(text, bytes) else text.encode(), "text/plain"
    return Response(
        request=request or Request(path="/x", route="/x"),
        code=code,
        headers={"content-type": kind, **(headers or {})},
        body=raw,
        limit=LIMIT,
        received_at=NOW,
    )


def cut_off(reply: Response, limit: int = LIMIT) -> Response:
    """Return a response as its sender hands it on: of a body beyond the limit only the beginning."""
    return replace(reply, limit=limit, body=reply.body[: limit + 1])


def run_on_a_loop(flow: Flow[Any], send: Callable[[Request], Response]) -> Any:
    """Drive a flow as the triggerer does, with a sender that lets others have the loop meanwhile."""

    async def send_later(request: Request) -> Response:
        await asyncio.sleep(0)
        return send(request)

    return asyncio.run(arun(flow, send_later))


def converse(
    flow: Flow[Any], *replies: Response | DocStatusError, prefix: str = "", drive: Driver = run
) -> tuple[Any, list[Request]]:
    """
    Return what a flow returns and the requests it made; it must make exactly as many as there are replies.

    :param replies: what comes back for each request: a response, or the error that the sender raises.
    :param prefix: put below this path prefix before it is sent.
    """
    sent: list[Request] = []
    remaining = iter(replies)

    def send(request: Request) -> Response:
        request = request.below(prefix) if prefix else request
        sent.append(request)
        reply = next(remaining, None)
        assert reply is not None, f"one request too many: {request.label} {request.query}"
        if isinstance(reply, DocStatusError):
            raise reply
        return replace(reply, request=request)

    try:
        learned = drive(flow, send)
    except DocStatusError:
        assert next(remaining, None) is None, "one request too few before the error"
        raise
    assert next(remaining, None) is None, "one request too few"
    return learned, sent


def error_of(
    flow_or_call: Any,
    *replies: Response | DocStatusError,
    kind: type[DocStatusError] = RequestRejected,
    prefix: str = "",
    drive: Driver = run,
) -> Any:
    """Return the error that a flow or a call ends with; it must be of this very class."""
    with pytest.raises(kind) as caught:
        flow_or_call() if callable(flow_or_call) else converse(flow_or_call, *replies, prefix=prefix, drive=drive)
    assert type(caught.value) is kind
    return caught.value


def refusal(*args: Any, **more: Any) -> str:
    """Return the text of the error that a flow or a call ends with; see :func:`error_of`."""
    return str(error_of(*args, **more))


#: A made-up service with one plain route; what a test is about is added to it.
ACME = ServiceDescription(
    name="acme",
    title="Acme",
    host="https://acme.example.com",
    docs="https://acme.example.com/docs",
    auth={"bearer": ("Authorization", "Bearer {key}")},
    routes={"job": Route(path="/jobs/{id}")},
    words={
        State.RUNNING: ("running",),
        State.SUCCEEDED: ("done",),
        State.PARTIAL: ("partly",),
        State.REVIEW: ("review",),
        State.FAILED: ("failed",),
        State.CANCELLED: ("cancelled",),
    },
)
JOB = Target(route="job", id="j-1")


def acme(*, more: Mapping[str, Any] | None = None, **fields: Any) -> ServiceDescription:
    """Return Acme with these fields of its route, and ``more`` of the service."""
    route = replace(ACME.routes["job"], **{"result": ResultRoute(), **fields})
    return replace(ACME, **{"routes": {"job": route}, **(more or {})})
