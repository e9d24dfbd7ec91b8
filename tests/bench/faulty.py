"""
The vendors of the benchmark on a bad day: a part of their answers are faults, and their limiter closes now and then.

What a fault says about a job is always wrong: who believes it ends its wait wrongly. Redirects lead to another host, which
notes all that it is sent. Start: ``python -m tests.bench.faulty CERTIFICATE KEY``, as vendors.py.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.bench.vendors import Desk, answer, fails, neurolinker_id, number_of, open_ports, serve_on

#: Seconds after which a server that gives no answer hangs up; no client waits that long.
SILENCE = 60.0
#: Seconds that a slow answer takes.
SLOW = 0.3
#: Where the items of an answer about several ids are, and where each item's id is.
_ITEMS = {"documents": "document_id", "jobs": "job_id"}
_IDS = ("document_id", "request_id", "job_id", "id", "run_id")

Reply = dict[str, Any]


@dataclass
class Elsewhere:
    """What another host, to which redirects lead, was sent: nobody may come there."""

    visits: int = 0
    heard: bytearray = field(default_factory=bytearray)


class Visit(asyncio.Protocol):
    """One connection to the other host, which notes what it is sent and hangs up."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        self.elsewhere = elsewhere

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.elsewhere.visits += 1

    def data_received(self, data: bytes) -> None:
        self.elsewhere.heard += data
        self.transport.close()


@dataclass
class BadDay(Desk):
    """
    The jobs of a run, and what goes wrong.

    :param part: the part of the answers that are faults (0 to 1).
    :param only: the faults to choose from; empty for all.
    :param closes_every: seconds from one closing of the limiter to the next, 0 for none; 429 and 503 take turns.
    :param closes_for: seconds it stays closed, which ``Retry-After`` tells in whole seconds.
    """

    part: float = 0.0
    only: list[str] = field(default_factory=list)
    closes_every: float = 0.0
    closes_for: float = 1.0
    faults: Counter[str] = field(default_factory=Counter)
    closings: Counter[int] = field(default_factory=Counter)
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    port_elsewhere: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(20261122))

    def counted(self) -> dict[str, Any]:
        """Return what was counted since the run began."""
        return {
            **super().counted(),
            "faults": sum(self.faults.values()),
            "kinds": dict(self.faults),
            "refused": sum(self.closings.values()),
            "closings": len(self.closings),
            "worst_closing": max(self.closings.values(), default=0),
            "visits_elsewhere": self.elsewhere.visits,
            "keys_elsewhere": self.elsewhere.heard.lower().count(b"authorization") + self.elsewhere.heard.count(b"key"),
        }

    def refusal(self, now: float) -> web.Response | None:
        """Return the limiter's answer while it is closed."""
        if not self.closes_every:
            return None
        number, since = divmod(now - self.began_at, self.closes_every)
        if number < 1 or since >= self.closes_for:
            return None
        self.closings[int(number)] += 1
        headers = {"Retry-After": str(max(1, round(self.closes_for - since)))}
        return web.json_response({"detail": "Too many requests"}, status=429 if number % 2 else 503, headers=headers)


def unsiloed_job(number: int, *, word: str) -> Reply:
    """Return a job of Unsiloed's generic route (api-reference/jobs/status)."""
    return {
        "job_id": neurolinker_id(number),
        "status": word,
        "type": "extraction",
        "created_at": "2026-11-22T08:00:00.000Z",
        "updated_at": "2026-11-22T08:03:00.000Z",
        "pdf_name": f"invoice-{number}.pdf",
    }


def unsiloed(request: web.BaseRequest, desk: Desk, now: float) -> Reply:
    """Answer ``/jobs/status?job_ids=a,b``, ``/jobs/{id}`` and ``/extract/{id}``."""

    def job(one: str) -> Reply:
        number = number_of(one)
        word = "PROCESSING" if not desk.is_over(number, now) else "FAILED" if fails(number) else "COMPLETED"
        return unsiloed_job(number, word=word)

    if request.path == "/jobs/status":
        return {"jobs": [job(one) for one in request.query["job_ids"].split(",")]}
    return job(request.path.rpartition("/")[2])


async def truth(request: web.BaseRequest, desk: BadDay) -> bytes:
    """Return the true answer, and count the call."""
    if request.path.startswith(("/jobs/", "/extract/")):
        now = time.time()
        desk.wait_for_turn(now)
        return json.dumps(unsiloed(request, desk, now)).encode()
    return bytes((await answer(request, desk)).body)  # type: ignore[arg-type]  # bytes, as it was given them


# -- faults ----------------------------------------------------------------------------------------------------------


def _lie(reply: Reply) -> Reply:
    """Return the reply with another end than the true one; also of each item."""
    word = reply.get("status")
    lie = {**reply, "status": "failed" if word in ("completed", "COMPLETED") else "completed"} if isinstance(word, str) else reply
    return {**lie, **{name: [_lie(item) for item in lie[name]] for name in _ITEMS if name in lie}}


def _json(reply: object, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(reply).encode(), status=status, content_type="application/json")


def _page(status: int) -> web.Response:
    text = '<html><head><title>Sign in</title></head><body>{"status": "completed"}</body></html>'
    return web.Response(text=text, status=status, content_type="text/html")


def _another_id(reply: Reply) -> Reply:
    """Return the reply as one about other ids; each item of it as well."""
    other = {name: neurolinker_id(2**31) if name in _IDS else fact for name, fact in reply.items()}
    return {**other, **{name: [_another_id(item) for item in other[name]] for name in _ITEMS if name in other}}


async def _reset(request: web.BaseRequest, _reply: Reply) -> web.StreamResponse:
    assert request.transport is not None
    opened = request.transport.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


async def _hang_up(request: web.BaseRequest, _reply: Reply) -> web.StreamResponse:
    """End the TLS connection within the head of the answer."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
    request.transport.close()
    return web.Response()


async def _silence(request: web.BaseRequest, _reply: Reply) -> web.StreamResponse:
    for _ in range(int(SILENCE / 0.1)):
        if request.transport is None or request.transport.is_closing():
            break
        await asyncio.sleep(0.1)
    return web.Response()


async def _half(request: web.BaseRequest, reply: Reply, *, then: Callable[..., Awaitable[object]]) -> web.StreamResponse:
    body = json.dumps(_lie(reply)).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    await then(request, reply)
    if request.transport is not None:
        request.transport.close()
    return response


async def _slow(_request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    await asyncio.sleep(SLOW)
    return _json(reply)


async def _at_once(_request: web.BaseRequest, _reply: Reply) -> None:
    return None


def _items(reply: Reply) -> tuple[str, list[Reply]]:
    name = next(name for name in _ITEMS if name in reply)
    return name, reply[name]


def _with_items(reply: Reply, change: Callable[[list[Reply], str], list[Any]]) -> web.Response:
    """Return the true answer about several ids with some items changed."""
    name, items = _items(reply)
    return _json({**reply, name: change(items, _ITEMS[name])})


Fault = Callable[[web.BaseRequest, Reply], Awaitable[web.StreamResponse]]


def _of(make: Callable[[Reply], web.Response]) -> Fault:
    async def fault(_request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        return make(reply)

    return fault


#: How often each is chosen beside the others. What holds a connection until the client gives up is rare: as often as the rest
#: it would leave too few connections for the same number of questions as on a good day.
FAULTS: dict[str, tuple[float, Fault]] = {
    "500 with a status": (4, _of(lambda reply: _json(_lie(reply), 500))),
    "502": (4, _of(lambda _: _page(502))),
    "503 without a time": (4, _of(lambda _: _page(503))),
    "reset": (4, _reset),
    "TLS ends in the head": (4, _hang_up),
    "no answer": (1, _silence),
    "half a body, then nothing": (1, lambda request, reply: _half(request, reply, then=_silence)),
    "half a body, then the end": (4, lambda request, reply: _half(request, reply, then=_at_once)),
    "slow": (1, _slow),
    "HTML with 200": (4, _of(lambda _: _page(200))),
    "cut-off JSON": (4, _of(lambda reply: web.Response(text=json.dumps(_lie(reply))[:-9], content_type="application/json"))),
    "a list": (4, _of(lambda reply: _json([_lie(reply)]))),
    "status is a number": (4, _of(lambda reply: _json({**_lie(reply), "status": 200, "jobs": 5, "data": 7, "state": 7}))),
    "no status": (
        4,
        _of(lambda reply: _json({name: fact for name, fact in reply.items() if name not in ("status", "jobs", "data", "state")})),
    ),
    "another id": (4, _of(lambda reply: _json(_another_id(_lie(reply))))),
}
#: What only an answer about several ids can have.
FAULTS_IN_ITEMS: dict[str, tuple[float, Fault]] = {
    "an item's status is a number": (
        6,
        _of(lambda reply: _with_items(reply, lambda items, _: [{**items[0], "status": 200}, *items[1:]])),
    ),
    "items are missing": (6, _of(lambda reply: _with_items(reply, lambda items, _: items[len(items) // 2 :]))),
    "an item has another id": (
        6,
        _of(lambda reply: _with_items(reply, lambda items, key: [{**items[0], key: neurolinker_id(2**31)}, *items[1:]])),
    ),
    "items are no objects": (
        6,
        _of(lambda reply: _with_items(reply, lambda items, key: [None, [], *(one[key] for one in items)])),
    ),
}
_REDIRECTS = (301, 302, 303, 307, 308)


def _redirect(request: web.BaseRequest, desk: BadDay) -> web.Response:
    place = f"http://localhost:{desk.port_elsewhere}{request.path_qs}"
    return web.Response(status=desk.dice.choice(_REDIRECTS), headers={"Location": place})


async def trouble(request: web.BaseRequest, desk: BadDay) -> web.StreamResponse:
    """Answer truly or not."""
    body = await truth(request, desk)
    if (refusal := desk.refusal(time.time())) is not None:
        return refusal
    if desk.dice.random() >= desk.part:
        return web.Response(body=body, content_type="application/json")
    reply = json.loads(body)
    choice = {**FAULTS, **(FAULTS_IN_ITEMS if any(name in reply for name in _ITEMS) else {})}
    weights = {"a redirect": 4.0, **{name: weight for name, (weight, _) in choice.items()}}
    weights = {name: weight for name, weight in weights.items() if name in desk.only} if desk.only else weights
    (name,) = desk.dice.choices(list(weights), list(weights.values()))
    desk.faults[name] += 1
    return _redirect(request, desk) if name == "a redirect" else await choice[name][1](request, reply)


async def serve(certificate: str, key: str) -> None:
    """Serve until standard input ends."""
    loop, desk = asyncio.get_running_loop(), BadDay()
    settings: dict[str, Any] = {}

    async def vendor(request: web.BaseRequest) -> web.StreamResponse:
        return await trouble(request, desk)

    async def control(request: web.BaseRequest) -> web.Response:
        nonlocal settings
        if request.method == "POST" and request.path == "/faults":  # what goes wrong from now on
            settings = await request.json()
            return web.json_response({})
        if request.method == "POST":  # begin a run
            now, elsewhere = time.time(), (desk.elsewhere, desk.port_elsewhere)
            vars(desk).update(vars(BadDay(**await request.json(), **settings, began_at=now)))
            desk.elsewhere, desk.port_elsewhere = elsewhere
            desk.elsewhere.visits = 0
            desk.elsewhere.heard.clear()
            return web.json_response({"began_at": now})
        return web.json_response(desk.counted())

    elsewhere = await loop.create_server(lambda: Visit(desk.elsewhere), "127.0.0.1", 0)
    desk.port_elsewhere = elsewhere.sockets[0].getsockname()[1]
    await serve_on(await open_ports(vendor, control, desk, certificate, key))


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
