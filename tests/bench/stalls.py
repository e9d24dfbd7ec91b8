"""
How long one reply holds the triggerer's event loop: ``make stalls``.

A server in a process of its own sends the reply, on loopback. A heartbeat that is due every 2 ms runs beside the waits; its
longest gap is what is measured, from the poll to the wait's end (or for some seconds where the reply ends no wait). Medians of
five. Logs are switched off: what a log line costs is Airflow's business.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MIB = 2**20
BEAT = 0.002
MOST_MS = 50.0
#: Seconds for which a wait is watched that its reply does not end.
WATCHED = 3.0
#: Seconds until the first poll of many waits, so that all of them have subscribed before.
SUBSCRIBE_IN = 4.0
KEY = "bench-key-0123456789"


# -- the replies -----------------------------------------------------------------------------------------------


def request(**more: Any) -> dict[str, Any]:
    """Return a finished request of Neurolinker's."""
    counted = {"total": 2, "completed": 2, "failed": 0, "processing": 0}
    return {"success": True, "request_id": "r", "status": "completed", **counted, **more}


def documents(number: int) -> list[dict[str, Any]]:
    """Return the finished documents of a request, as large as the vendor's."""
    return [
        {
            "document_id": f"d-{one}",
            "filename": f"invoice-{one}.pdf",
            "status": "completed",
            "result": {
                "file_name": f"invoice-{one}.pdf",
                "file_type": "application/pdf",
                "file_size_bytes": 183_211,
                "total_pages": 4,
                "started_at": "2026-11-22T08:00:00.123456Z",
                "completed_at": "2026-11-22T08:03:00.123456Z",
            },
        }
        for one in range(number)
    ]


def extracted(size: int) -> bytes:
    """Return a request that holds tables of extracted cells beside its documents."""
    cell = {"text": "4,711.00", "bbox": [0.25, 12.5, 100.0, 3e2], "page": 3, "is_header": False, "note": None}
    row = json.dumps({"cells": [cell] * 10})
    return _filled(request(documents=documents(2), results={"tables": ["@"]}), row, size)


def tiny_children(size: int) -> bytes:
    """Return a request of as many documents as fit: about a million in 16 MiB."""
    return _filled(request(documents=["@"]), '{"id":"7Aa"}', size)


def giant_string(size: int) -> bytes:
    """Return a request with one long text."""
    sentence = json.dumps('Lorem ipsum, \u00e8 "dolor". ')[1:-1]
    return (
        json.dumps(request(documents=documents(2), results={"text": "@"}))
        .replace("@", sentence * (size // len(sentence) - 50))
        .encode()
    )


def html(size: int) -> bytes:
    """Return a web page."""
    return b"<!doctype html><html><body>" + b"<p>Please log in.</p>\n" * (size // 22)


def broken(size: int) -> bytes:
    """Return JSON that is cut at its end."""
    return extracted(size)[:-2]


def many_documents(size: int) -> bytes:
    """Return a request of 10,000 documents; they make up its size."""
    return json.dumps(request(documents=documents(10_000))).encode()


def _filled(body: dict[str, Any], item: str, size: int) -> bytes:
    text = json.dumps(body)
    return text.replace('"@"', ", ".join([item] * ((size - len(text)) // (len(item) + 2)))).encode()


REPLIES: dict[str, Callable[[int], bytes]] = {
    "extracted data beside the children": extracted,
    "a million tiny children": tiny_children,
    "one long text": giant_string,
    "a web page": html,
    "cut JSON": broken,
    "10,000 documents": many_documents,
}
#: How many waits there are, and for what.
SIZED = ("extracted data beside the children", "a million tiny children", "one long text", "a web page", "cut JSON")
MANY = {
    "one wait for a request of 10,000 documents": ("request", 1),
    "10,000 waits for the documents of a request": ("document", 10_000),
    "10,000 waits for one request of 10,000 documents": ("request", 10_000),
}


async def serve() -> None:
    """Answer with the reply that the host's path names: ``/<number of the reply>/<size>``."""
    made: dict[str, bytes] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                which = "/".join(head.split(" ")[1].split("/")[1:3])
                if which not in made:
                    name, size = which.split("/")
                    made.clear()
                    made[which] = list(REPLIES.values())[int(name)](int(size))
                body = made[which]
                kind = "text/html" if body.startswith(b"<") else "application/json"
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the one who started it ends


# -- the waits -------------------------------------------------------------------------------------------------


class Heartbeat:
    """What is due every 2 ms, and its longest gap (seconds)."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.longest = 0.0
        self._last = 0.0

    def start(self) -> None:
        self.longest, self._last = 0.0, self.loop.time()
        self._beat()

    def _beat(self) -> None:
        now = self.loop.time()
        self.longest, self._last = max(self.longest, now - self._last), now
        self.call = self.loop.call_later(BEAT, self._beat)

    def stop(self) -> float:
        self.call.cancel()
        return self.longest


async def gap(port: int, reply: str, size: int, *, route: str = "request", waits: int = 1) -> tuple[float, float, str]:
    """Hold waits until their reply has ended them; return the longest gap, the seconds from the poll on, and how they ended."""
    from airflow_provider_docstatus.triggers import DocStatusTrigger

    conn_id = f"stalls_{list(REPLIES).index(reply)}_{size}_{waits}"
    host = f"http://127.0.0.1:{port}/{list(REPLIES).index(reply)}/{size}"
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps({"conn_type": "neurolinker", "password": KEY, "host": host})
    begins_in = SUBSCRIBE_IN if waits > 1 else 0.2
    now = time.time()

    async def one(number: int) -> str:
        trigger = DocStatusTrigger(
            conn_id=conn_id,
            service="neurolinker",
            route=route,
            id="r" if route == "request" else f"d-{number}",
            parent=["request", "r"] if route == "document" else None,
            poke_interval=begins_in,
            asked_at=now,
            started_at=now,
            deadline=now + 3600,
            shortest=0.0,
        )
        async for event in trigger.run():
            return str(event.payload["outcome"])
        return "no event"

    tasks = []
    for number in range(waits):
        tasks.append(asyncio.create_task(one(number)))
        await asyncio.sleep(0)
    timeout = None if reply in ("a million tiny children", "10,000 documents") else WATCHED
    over = asyncio.ensure_future(asyncio.wait(tasks, timeout=timeout))
    if waits > 1:  # what is measured is the reply: a full collection of the waits' own objects takes as long as the longest gap
        await asyncio.sleep(max(0.0, now + 0.8 * begins_in - time.time()))
        gc.collect()
    heartbeat = Heartbeat()
    began = time.monotonic()
    heartbeat.start()
    done, open_ones = await over
    longest = heartbeat.stop()
    for task in open_ones:
        task.cancel()
    endings = {task.result() for task in done} | ({"open"} if open_ones else set())
    return longest, time.monotonic() - began, ", ".join(sorted(endings))


def main() -> None:
    """Measure all rows and print the table; the exit code is 1 if one is above 50 ms."""
    words = argparse.ArgumentParser(description="How long one reply holds the triggerer's event loop.")
    words.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    words.add_argument("--runs", type=int, default=5, help="print medians of so many runs (default 5)")
    words.add_argument("--sizes", default="1,5,16", help="MiB of the large bodies, with commas")
    words.add_argument("--only", default="", help="rows whose title holds this")
    wanted = words.parse_args()
    if wanted.serve:
        asyncio.run(serve())
        return
    rows: list[tuple[str, dict[str, Any]]] = [
        (f"{reply}, {size} MiB", {"reply": reply, "size": int(float(size) * MIB) - 1000})
        for reply in SIZED
        for size in wanted.sizes.split(",")
    ]
    rows += [
        (title, {"reply": "10,000 documents", "size": 0, "route": route, "waits": waits})
        for title, (route, waits) in MANY.items()
    ]
    with tempfile.TemporaryDirectory(prefix="docstatus-stalls-") as home:
        os.environ.update(
            AIRFLOW_HOME=home,
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__LOGGING__LOGGING_LEVEL="CRITICAL",
            AIRFLOW__LOGGING__FAB_LOGGING_LEVEL="CRITICAL",
            AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
        )
        command = [sys.executable, "-m", "tests.bench.stalls", "--serve"]
        server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            port = int(server.stdout.readline() if server.stdout else 0)
            worst = measure(port, [row for row in rows if wanted.only in row[0]], wanted.runs)
        finally:
            server.terminate()
            server.wait(10)
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}, medians of {wanted.runs}.")
    sys.exit(1 if worst > MOST_MS else 0)


def measure(port: int, rows: list[tuple[str, dict[str, Any]]], runs: int) -> float:
    """Print a row for each case; return the longest median gap (ms)."""
    asyncio.run(gap(port, "10,000 documents", 0))  # imports, and the server's own first answers
    worst = 0.0
    print("| one reply | longest gap, ms | of the runs | seconds | ends |\n|---|---|---|---|---|", flush=True)
    for title, case in rows:
        asyncio.run(gap(port, **{**case, "waits": 1}))  # the server makes the body once
        found = []
        for _ in range(runs):
            gc.collect()
            found.append(asyncio.run(gap(port, **case)))
        gaps = [1000 * longest for longest, _, _ in found]
        worst = max(worst, statistics.median(gaps))
        seconds, endings = statistics.median(one for _, one, _ in found), " / ".join(sorted({ends for _, _, ends in found}))
        print(
            f"| {title} | {statistics.median(gaps):,.0f} | {min(gaps):,.0f} to {max(gaps):,.0f} | {seconds:.1f} | {endings} |",
            flush=True,
        )
    return worst


if __name__ == "__main__":
    main()
