"""
The server that every contender is measured against: Neurolinker's, dbt Cloud's and Databricks' status replies over TLS.

A process of its own, on loopback, as fast as aiohttp can be: no routes, no middleware, replies made once per job and state.
Each job has a number, which is in its id. The replies have the fields that the vendors' pages show.
Start: ``python -m tests.bench.vendors CERTIFICATE KEY``; it prints its two ports (TLS; control) and serves until its standard
input ends.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import ssl
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from aiohttp import web

from tests.bench.raise_limits import raise_open_files

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

FAILS_EVERY = 10
LONGEST_RUN = 1800.0
_TAIL = "-0000-4000-8000-00000000000d"


def neurolinker_id(number: int) -> str:
    """Return the id of a job at Neurolinker."""
    return f"{number:08x}{_TAIL}"


def number_of(neurolinker: str) -> int:
    """Return the number in a Neurolinker id."""
    return int(neurolinker[:8], 16)


def fails(number: int) -> bool:
    """Tell whether a job is one of those that end failed."""
    return number % FAILS_EVERY == FAILS_EVERY - 1


@dataclass
class Desk:
    """
    The jobs of one measured run, and what was counted.

    :param seconds: how long each job takes, by number.
    :param per_request: documents of one Neurolinker request.
    :param per_minute: accepted calls in any 60 s; above that 429 with ``Retry-After``. None for no limit.
    :param began_at: epoch seconds at which all jobs began.
    """

    seconds: list[float] = field(default_factory=list)
    per_request: int = 25
    per_minute: int | None = None
    began_at: float = 0.0
    connections: int = 0
    refused: int = 0
    calls: list[float] = field(default_factory=list)
    accepted: deque[float] = field(default_factory=deque)

    def counted(self) -> dict[str, int]:
        """Return what was counted since the run began."""
        return {
            "requests": len(self.calls),
            "connections": self.connections,
            "refused": self.refused,
            "worst_minute": worst_minute(self.calls),
        }

    def is_over(self, number: int, now: float) -> bool:
        return now >= self.began_at + self.seconds[number]

    def wait_for_turn(self, now: float) -> int | None:
        """Take a call in; return the seconds to wait if it is one too many."""
        self.calls.append(now)
        if self.per_minute is None:
            return None
        while self.accepted and self.accepted[0] <= now - 60:
            self.accepted.popleft()
        if len(self.accepted) < self.per_minute:
            self.accepted.append(now)
            return None
        self.refused += 1
        return max(1, math.ceil(self.accepted[0] + 60 - now))

    def documents_of(self, request: int) -> range:
        """Return the numbers of a request's documents."""
        return range(request * self.per_request, min((request + 1) * self.per_request, len(self.seconds)))


def worst_minute(calls: list[float]) -> int:
    """Return how many calls the worst rolling minute held."""
    first, worst = 0, 0
    for last, moment in enumerate(calls):
        while calls[first] <= moment - 60:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


def _word(number: int, *, is_over: bool) -> str:
    return "processing" if not is_over else "failed" if fails(number) else "completed"


def _document(number: int, per_request: int, *, is_over: bool) -> dict[str, object]:
    """Return a document's status (docs/api/document-status.html)."""
    job, request, word = neurolinker_id(number), neurolinker_id(number // per_request), _word(number, is_over=is_over)
    is_good = word == "completed"
    reply = {
        "success": True,
        "document_id": job,
        "request_id": request,
        "status": word,
        "file_name": f"invoice-{number}.pdf",
        "file_type": "application/pdf",
        "file_size_bytes": 183_211,
        "total_pages": 4,
        "user_uid": "bench",
        "started_at": "2026-11-22T08:00:00.123456Z",
        "completed_at": "2026-11-22T08:03:00.123456Z" if is_over else None,
        "results": {"storage_path": f"uploads/bench/{request}/{job}/", "cropped_images": []} if is_good else None,
        "document_page_url": f"https://neurolinker.ainexxo.com/job/{request}/extractions/{job}" if is_good else None,
    }
    return reply if word != "failed" else {**reply, "error": "The file is damaged"}


@functools.cache
def document_reply(number: int, per_request: int, is_over: bool) -> bytes:
    return json.dumps(_document(number, per_request, is_over=is_over)).encode()


@functools.cache
def item_of_a_request(number: int, per_request: int, is_over: bool) -> str:
    """Return a document as its request shows it (docs/api/request-status.html)."""
    document = _document(number, per_request, is_over=is_over)
    error = {"error": document["error"]} if "error" in document else {}
    inside = {name: fact for name, fact in document.items() if name not in ("success", "document_id", "request_id", "error")}
    return json.dumps(
        {
            "document_id": document["document_id"],
            "filename": document["file_name"],
            "status": document["status"],
            "result": {**inside, "billing": {"type": "capture", "amount": 20} if is_over else None},
            "document_page_url": document["document_page_url"],
            **error,
        }
    )


def request_reply(number: int, desk: Desk, now: float) -> bytes:
    """Return a request's status and that of all its documents."""
    over = {document: desk.is_over(document, now) for document in desk.documents_of(number)}
    failed = sum(fails(document) for document, is_over in over.items() if is_over)
    ended = sum(over.values())
    head = {
        "success": True,
        "request_id": neurolinker_id(number),
        "status": "processing" if ended < len(over) else "partial" if failed else "completed",
        "total": len(over),
        "completed": ended - failed,
        "failed": failed,
        "processing": len(over) - ended,
        "job_page_url": f"https://neurolinker.ainexxo.com/job/{neurolinker_id(number)}/extractions",
        "started_at": "2026-11-22T08:00:00.123456+00:00",
    }
    items = ", ".join(item_of_a_request(document, desk.per_request, is_over) for document, is_over in over.items())
    return f'{json.dumps(head)[:-1]}, "documents": [{items}]}}'.encode()


@functools.cache
def dbt_reply(number: int, is_over: bool) -> bytes:
    """Return a run of dbt Cloud (API v2, retrieve run)."""
    status = 3 if not is_over else 20 if fails(number) else 10
    run = {
        "id": number,
        "account_id": 1,
        "project_id": 2,
        "job_definition_id": 3,
        "environment_id": 4,
        "status": status,
        "status_humanized": {3: "Running", 10: "Success", 20: "Error"}[status],
        "status_message": None,
        "dbt_version": "1.9.0-latest",
        "git_branch": "main",
        "git_sha": "5f2d9c0c9d5a4fae9b4a3c3f0f1f0d9b8f6a7c11",
        "href": f"https://cloud.getdbt.com/deploy/1/projects/2/runs/{number}/",
        "created_at": "2026-11-22 08:00:00.123456+00:00",
        "started_at": "2026-11-22 08:00:01.123456+00:00",
        "finished_at": "2026-11-22 08:03:00.123456+00:00" if is_over else None,
        "duration_humanized": "3 minutes",
        "is_complete": is_over,
        "is_success": status == 10,
        "is_error": status == 20,
        "is_cancelled": False,
        "in_progress": not is_over,
    }
    head = {"code": 200, "is_success": True, "user_message": "Success!", "developer_message": ""}
    return json.dumps({"status": head, "data": run}).encode()


@functools.cache
def databricks_reply(number: int, is_over: bool) -> bytes:
    """Return a run of Databricks (Jobs API 2.2, get a single job run)."""
    result = {"result_state": "FAILED" if fails(number) else "SUCCESS"} if is_over else {}
    run = {
        "job_id": 3,
        "run_id": number,
        "number_in_job": number,
        "creator_user_name": "bench@example.com",
        "run_name": "bench",
        "run_type": "SUBMIT_RUN",
        "run_page_url": f"https://dbc-1.cloud.databricks.com/?o=1#job/3/run/{number}",
        "state": {"life_cycle_state": "TERMINATED" if is_over else "RUNNING", "state_message": "", **result},
        "start_time": 1_795_000_000_000,
        "setup_duration": 1000,
        "execution_duration": 180_000 if is_over else 0,
        "end_time": 1_795_000_180_000 if is_over else 0,
        "format": "MULTI_TASK",
        "tasks": [],
    }
    return json.dumps(run).encode()


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def answer(request: web.BaseRequest, desk: Desk) -> web.Response:
    """Answer as the vendor that the path belongs to."""
    now = time.time()
    path = request.path
    if (seconds := desk.wait_for_turn(now)) is not None:
        return _json(b'{"detail": "Too Many Requests"}', 429, {"Retry-After": str(seconds)})
    what, _, last = path.rstrip("/").rpartition("/")
    if what == "/v1/document-status":
        number = number_of(last)
        return _json(document_reply(number, desk.per_request, desk.is_over(number, now)))
    if what == "/v1/request-status":
        return _json(request_reply(number_of(last), desk, now))
    if what == "/api/v2/accounts/1/runs":
        return _json(dbt_reply(int(last), desk.is_over(int(last), now)))
    if path == "/api/2.2/jobs/runs/get":
        number = (await request.json())["run_id"]
        return _json(databricks_reply(number, desk.is_over(number, now)))
    return _json(b'{"detail": "Not Found"}', 404)


async def open_ports(vendor: Handler, control: Handler, desk: Desk, certificate: str, key: str) -> list[int]:
    """Open the port of the vendors, with TLS, and the one where runs begin and are counted; return both."""
    raise_open_files()
    loop = asyncio.get_running_loop()
    vendors, controls = web.Server(vendor, access_log=None), web.Server(control, access_log=None)

    def opened() -> asyncio.Protocol:
        desk.connections += 1
        return vendors()

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    listeners = [
        await loop.create_server(opened, "127.0.0.1", 0, ssl=tls, backlog=4096),
        await loop.create_server(controls, "127.0.0.1", 0),
    ]
    return [listener.sockets[0].getsockname()[1] for listener in listeners]


async def serve_on(ports: Iterable[int]) -> None:
    """Tell the ports, and serve until standard input ends."""
    print(*ports, flush=True)
    await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, sys.stdin.read), LONGEST_RUN)


async def serve(certificate: str, key: str) -> None:
    """Serve until standard input ends."""
    desk = Desk()

    async def vendor(request: web.BaseRequest) -> web.Response:
        return await answer(request, desk)

    async def control(request: web.BaseRequest) -> web.Response:
        if request.method == "POST":  # begin a run
            now = time.time()
            vars(desk).update(vars(Desk(**await request.json(), began_at=now)))
            return web.json_response({"began_at": now})
        return web.json_response(desk.counted())

    await serve_on(await open_ports(vendor, control, desk, certificate, key))


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
