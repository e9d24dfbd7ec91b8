"""
What 50,000 waits leave behind in one process: ``make bench-airflow ONLY=leaks``, or ``python -m tests.bench.leaks``.

Rounds of 1,000 triggers on one event loop against the benchmark's own server (TLS, another process). In every other batch of
5,000 the documents belong to requests of 25. Of each hundred waits twenty are one list, two never end and are cancelled, the
others end at the first poll. Printed after each batch: resident memory, open files, asyncio tasks, and the sizes of the
poller's tables.
At last, when the poller has been idle for longer than it keeps its session, what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil

from tests.bench.bench import vendors
from tests.bench.contender import CONN_ID, KEY
from tests.bench.vendors import neurolinker_id

ROUND, BATCH = 1000, 5000
NEVER = 1e9
LONGEST_ROUND = 120.0
INTERVAL = 10.0  # Neurolinker's
#: Memory that may come after the first batch, as a part of it.
GROWTH = 0.05


def leaks(waits: int = 50_000) -> list[str]:
    """Hold so many waits, a thousand at a time; return the table."""
    with (
        vendors() as (port, control, certificate),
        tempfile.TemporaryDirectory(prefix="docstatus-bench-") as home,
        _environment(port, certificate, home),
    ):
        return asyncio.run(_hold(waits, control))


@contextlib.contextmanager
def _environment(port: int, certificate: str, home: str) -> Iterator[None]:
    """Set what Airflow and the connection are to be, before either is imported."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("AIRFLOW") or "proxy" in name.lower() or name.endswith("_CA_BUNDLE"):
            del os.environ[name]
    connection = {"conn_type": "neurolinker", "host": f"https://127.0.0.1:{port}", "password": KEY}
    os.environ |= {
        "SSL_CERT_FILE": certificate,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(connection),
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


async def _hold(waits: int, control: int) -> list[str]:
    from airflow_provider_docstatus import poller

    process, rows, memory = psutil.Process(), [], []

    def row(title: str) -> str:
        gc.collect()
        (one,) = poller._pollers[asyncio.get_running_loop()].values()
        memory.append(process.memory_info().rss / 2**20)
        schedule, client = one._schedule, one._lookup.client
        sizes = (len(schedule), len(schedule._peers), len(schedule._queue) + len(schedule._overdue), len(one._tasks))
        session = "open" if client is not None and not client.session.closed else "closed"
        counts = f"{process.num_fds()} | {len(asyncio.all_tasks())} | {'/'.join(map(str, sizes))} | {session}"
        return f"| {title} | {memory[-1]:.1f} | {counts} |"

    for begun in range(0, waits, BATCH):
        per_request = 25 if (begun // BATCH) % 2 else 1
        _begin(control, seconds=[NEVER if number % 50 == 7 else 0.0 for number in range(waits)], per_request=per_request)
        for first in range(begun, min(begun + BATCH, waits), ROUND):
            await asyncio.wait_for(_round(range(first, first + ROUND), per_request), LONGEST_ROUND)
        rows.append(row(f"{min(begun + BATCH, waits):,}"))
        print(rows[-1], file=sys.stderr, flush=True)
    grown = memory[-1] - memory[0]
    idle = INTERVAL + poller.LINGER + 2  # what was planned for waits that have gone is forgotten when it is due
    await asyncio.sleep(idle)
    rows.append(row(f"and {idle:.0f} s later"))
    verdict = "ok" if grown <= GROWTH * memory[0] else "MISS"
    return [
        f"**{waits:,} waits in one process**: {grown:+.1f} MB after the first batch, at most {GROWTH * memory[0]:.1f}: {verdict}",
        "",
        "| waits ended | memory, MB | open files | tasks | ids/peers/planned/under way | session |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def _begin(control: int, **run: Any) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{control}/", json.dumps(run).encode(), method="POST")
    urllib.request.urlopen(request, timeout=30).close()


async def _round(numbers: range, per_request: int) -> None:
    """Start a round's waits, gather those that end, cancel the others."""
    endless, ending = [], []
    for first in range(numbers.start, numbers.stop, 100):
        hundred = [number for number in range(first, first + 100) if number % 50 != 7]
        endless += [_wait([number], per_request) for number in range(first, first + 100) if number % 50 == 7]
        ending += [_wait([number], per_request) for number in hundred[20:]]
        ending.append(_wait(hundred[:20], per_request))
    tasks = [asyncio.ensure_future(one) for one in endless]
    outcomes = await asyncio.gather(*ending)
    if not all(outcomes):
        sys.exit("a wait ended without an event")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _wait(numbers: list[int], per_request: int) -> Any:
    from airflow_provider_docstatus.triggers import DocStatusTrigger

    now, ids = time.time(), [neurolinker_id(number) for number in numbers]
    knows_parent = per_request > 1 and len(ids) == 1 and numbers[0] % 2
    trigger = DocStatusTrigger(
        conn_id=CONN_ID,
        service="neurolinker",
        route="document",
        id=ids[0] if len(ids) == 1 else "",
        ids=ids if len(ids) > 1 else None,
        needed=len(ids),
        parent=["request", neurolinker_id(numbers[0] // per_request)] if knows_parent else None,
        started_at=now,
        deadline=now + 3600,
        grace=60.0,
        shortest=0.0,
    )
    async for event in trigger.run():
        return event.payload
    return None


if __name__ == "__main__":
    print("\n".join(leaks(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)))
