"""
Thousands of waits while three answers in ten are faults, beside the same waits on a good day: ``make faults``.

The server (faulty.py) speaks TLS on loopback in a process of its own, each run of ours has another. The bad day: 500, 502, 503,
resets, TLS that ends in the head of an answer, no answer, half a body, HTML with 200, cut-off JSON, wrong types, no status,
another id, redirects to another host; where one answer is about several ids, also items that are missing, wrong or about
another id. What a fault says of a job is always wrong. The server's limiter closes now and then, with 429 or 503 and
``Retry-After``. What must hold: every wait ends as its job did; the other host is never visited; no more than 1.6 times the
calls of the good day; while the rate limiter is paused, no calls but those under way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from tests.bench import contender
from tests.bench.bench import Measure, Result, measure, vendors
from tests.bench.contender import CONN_ID, KEY, Run, Wait
from tests.bench.vendors import fails, neurolinker_id

SEED = 20261122
#: Seconds after which a request is given up; the usual 30 would only make the run longer.
REQUEST_TIMEOUT = 2.0
INTERVAL = 15.0
#: How long jobs take, in poll intervals.
SHORTEST_JOB, LONGEST_JOB = 1 / 3, 4.0
PER_REQUEST = 25
#: Every so many waits one is for a request instead of a document: it ends partial where the document would end failed.
A_REQUEST_EVERY = 4
BAD_DAY = {"part": 0.3, "closes_every": 12.0, "closes_for": 2.0}
MOST_CALLS = 1.6

_DICE = random.Random(SEED)


def connect(service: str, run: Run) -> str:
    """Set the connection to the vendors of a run; return its id."""
    conn_id = f"{CONN_ID}_{service}_{run.port}"
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(
        {
            "conn_type": service,
            "password": KEY,
            "host": f"https://127.0.0.1:{run.port}",
            "extra": {"request_timeout": REQUEST_TIMEOUT, "calls_per_minute": 10_000_000},
        }
    )
    return conn_id


async def ending_of(run: Run, conn_id: str, route: str, number: int, *, parent: int | None = None) -> str:
    """Hold a wait of ours, as the sensor defers it; return how it ended."""
    from airflow_provider_docstatus.triggers import DocStatusTrigger

    now = time.time()
    trigger = DocStatusTrigger(
        conn_id=conn_id,
        service="neurolinker" if route in ("document", "request") else "unsiloed",
        route=route,
        id=neurolinker_id(number),
        parent=None if parent is None else ["request", neurolinker_id(parent)],
        poke_interval=run.interval,
        asked_at=now - _DICE.uniform(0, run.interval),  # waits are at any point of their interval
        started_at=now,
        deadline=now + 3600,
        grace=60.0,
        shortest=0.0,
    )
    outcome = str((await contender._event(trigger))["outcome"])
    is_failed = route == "request" and outcome == "partial" and fails(number)  # of its only document
    return "failed" if is_failed else outcome


def alone(run: Run) -> Wait:
    """Wait for documents and requests, each polled alone."""
    conn_id = connect("neurolinker", run)

    def wait(number: int) -> Awaitable[str]:
        route = "request" if number % A_REQUEST_EVERY == A_REQUEST_EVERY - 1 else "document"
        return ending_of(run, conn_id, route, number)

    return wait


def requests(run: Run) -> Wait:
    """Wait for documents that are asked for through their request."""
    conn_id = connect("neurolinker", run)

    def wait(number: int) -> Awaitable[str]:
        return ending_of(run, conn_id, "document", number, parent=number // run.per_request)

    return wait


def jobs(run: Run) -> Wait:
    """Wait for jobs that one request polls together."""
    conn_id = connect("unsiloed", run)

    def wait(number: int) -> Awaitable[str]:
        return ending_of(run, conn_id, "job", number)

    return wait


OURS = {"alone": alone, "requests": requests, "jobs": jobs}
TITLES = {
    "alone": "{waits:,} waits, each polled alone",
    "requests": "{waits:,} documents of {requests:,} requests, each ends for itself",
    "jobs": "{waits:,} jobs, many in one request",
}
PEERS = ("dbt-cloud", "databricks")


def workload(name: str, waits: int, interval: float) -> dict[str, Any]:
    """Return the settings of a run."""
    dice = random.Random(SEED)
    return {
        "seconds": [interval * dice.uniform(SHORTEST_JOB, LONGEST_JOB) for _ in range(waits)],
        "per_request": PER_REQUEST if name == "requests" else 1,
        "interval": interval,
    }


def let_go_wrong(control: int, faults: dict[str, Any]) -> None:
    """Tell the server what goes wrong from the next run on."""
    body = json.dumps(faults).encode()
    urllib.request.urlopen(f"http://127.0.0.1:{control}/faults", data=body, timeout=10).close()


def target(line: Measure, clean: Result, faulty: Result) -> tuple[float, bool] | None:
    """Return the most that is allowed on the bad day and whether it was kept; None where nothing is demanded."""
    if line.target is None:
        return None
    most = line.target({"clean": clean, "faulty": faulty})
    return most, faulty[line.of] <= most


MEASURES = (
    Measure("wrong endings", "wrong", target=lambda _: 0),
    Measure("calls", "requests", target=lambda of: MOST_CALLS * of["clean"]["requests"]),
    Measure("faults among the answers", "faults"),
    Measure("closings of the limiter", "closings"),
    Measure("calls into the worst closing", "worst_closing", target=lambda _: 20),
    Measure("connections to the other host", "visits_elsewhere", target=lambda _: 0),
    Measure("keys sent there", "keys_elsewhere", target=lambda _: 0),
    Measure("worst stall of the event loop, ms", "stall_ms", target=lambda _: 100),
    Measure("most CPU time between two turns, ms", "stall_cpu_ms"),
    Measure("memory growth, MB", "memory_mb"),
    Measure("detection delay, median, s", "delay_p50", 1),
    Measure("detection delay, 95th percentile, s", "delay_p95", 1),
)


def table(found: dict[str, tuple[Result, Result]], waits: int) -> str:
    """Return the table as Markdown."""
    lines = ["| | good day | bad day | allowed |", "|---|---|---|---|"]
    for name, (clean, faulty) in found.items():
        lines.append(f"| **{TITLES[name].format(waits=waits, requests=-(-waits // PER_REQUEST))}** | | | |")
        for line in MEASURES:
            kept = target(line, clean, faulty)
            allowed = "" if kept is None else f"≤ {kept[0]:,.{line.digits}f} {'ok' if kept[1] else 'MISS'}"
            shown = [f"{result[line.of]:,.{line.digits}f}" for result in (clean, faulty)]
            if line.of == "requests":
                shown[1] += f" ({faulty['requests'] / clean['requests']:.2f} x)"
            lines.append(f"| {line.text} | {shown[0]} | {shown[1]} | {allowed} |")
    return "\n".join(lines)


def main() -> None:
    """Run all sections on a good and on a bad day and print the table; the exit code is 1 if anything was missed."""
    words = argparse.ArgumentParser(description="Thousands of waits against a faulty server.")
    words.add_argument("--only", default=",".join(OURS), help="sections, with commas")
    words.add_argument("--waits", type=int, default=10_000, help="waits of a section (default 10,000)")
    words.add_argument(
        "--interval", type=float, default=INTERVAL, help="seconds between two polls; the jobs take up to 4 times that"
    )
    words.add_argument(
        "--peers", type=int, default=0, metavar="WAITS", help="so many waits of dbt Cloud's and Databricks' triggers"
    )
    words.add_argument("--json", metavar="FILE", help="write all results there as well")
    wanted = words.parse_args()
    found: dict[str, tuple[Result, Result]] = {}
    with vendors("tests.bench.faulty") as (port, control, certificate), tempfile.TemporaryDirectory(prefix="docstatus-") as home:

        def one(name: str, waits: int, faults: dict[str, Any]) -> Result:
            let_go_wrong(control, faults)
            run = Run(port=port, control=control, **workload(name, waits, wanted.interval))
            result = measure(name, run, certificate, home, module="tests.bench.faults")
            day = "a bad day" if faults else "a good day"
            print(
                f"{name}, {day}: {result['seconds']:.0f} s, wrong: {result['wrong_words'] or 'none'}", file=sys.stderr, flush=True
            )
            return result

        for name in wanted.only.split(","):
            found[name] = one(name, wanted.waits, {}), one(name, wanted.waits, BAD_DAY)
        for name in PEERS if wanted.peers else ():
            peer = one(name, wanted.peers, BAD_DAY)
            print(
                f"{name}: {peer['wrong']} of {wanted.peers} waits ended wrongly, {peer['requests']} calls, "
                f"{peer['visits_elsewhere']} connections to the other host with {peer['keys_elsewhere']} keys"
            )
    if wanted.json:
        Path(wanted.json).write_text(json.dumps(found, indent=1))
    print(table(found, wanted.waits))
    print(
        f"\nPoll interval {wanted.interval:g} s, jobs of a third of that to {LONGEST_JOB:g} times that; on the bad day three "
        f"faults in ten answers, and the limiter closes every {BAD_DAY['closes_every']:.0f} s for "
        f"{BAD_DAY['closes_for']:.0f} s. One run, {os.cpu_count()} cores, Python {platform.python_version()}."
    )
    judged = [target(line, *pair) for pair in found.values() for line in MEASURES]
    sys.exit(any(kept is not None and not kept[1] for kept in judged))


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1] in {*OURS, *PEERS}:
        contender.CONTENDERS |= OURS
        contender.main(sys.argv[1])
    else:
        main()
