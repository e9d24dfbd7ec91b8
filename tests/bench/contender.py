"""
One contender of the benchmark, alone in its process: hold the waits, measure, print one line of JSON.

Start: ``python -m tests.bench.contender NAME`` with a run (JSON, see :class:`Run`) on standard input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from tests.bench.raise_limits import raise_open_files
from tests.bench.vendors import fails, neurolinker_id

KEY = "bench-key-0123456789"
CONN_ID = "bench"
#: Seconds between two readings of the resident memory.
_BETWEEN_RSS = 0.1
#: Seconds in which the watchdog alone is measured, to take its cost off.
IDLE = 2.0


@dataclass(kw_only=True)
class Run:
    """
    What is run.

    :param port: the vendors' TLS port.
    :param control: the port where a run is begun and its counters are read.
    :param seconds: how long each job takes.
    :param interval: the poll interval in seconds.
    :param per_request: documents of one request; waits say their request only if ``knows_request``.
    :param knows_request: whether a wait of ours says which request its document belongs to, as the sensor does.
    :param tick: seconds between two looks of the watchdog. Where only CPU time is of interest they are rare, since many
        looks cost more than a few hundred questions.
    :param per_minute: the key's limit, which the server enforces; None for none.
    :param profile: a file for the profile of the run, None for no profile. Profiled figures are no figures.
    """

    port: int
    control: int
    seconds: list[float]
    interval: float = 5.0
    per_request: int = 25
    knows_request: bool = False
    tick: float = 0.005
    per_minute: int | None = None
    profile: str | None = None


#: A wait: takes the number of a job, returns how it ended: "succeeded", "failed" or whatever else it says.
Wait = Callable[[int], Awaitable[str]]


def the_floor(run: Run) -> Wait:
    """A bare aiohttp loop: one session, and in each wait sleep, GET, read."""
    import aiohttp

    session: aiohttp.ClientSession | None = None
    words = {"completed": "succeeded", "failed": "failed"}

    async def wait(number: int) -> str:
        nonlocal session
        session = session or aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"})
        url = f"https://127.0.0.1:{run.port}/v1/document-status/{neurolinker_id(number)}"
        while True:
            await asyncio.sleep(run.interval)
            async with session.get(url) as response:
                word = (await response.json())["status"]
            if word in words:
                return words[word]

    return wait  # the session goes with the process


def ours(run: Run) -> Wait:
    """Build DocStatusTrigger as the sensor defers it, after its first look."""
    _connection(
        "neurolinker",
        host=f"https://127.0.0.1:{run.port}",
        extra={"calls_per_minute": run.per_minute} if run.per_minute else {},
    )
    from airflow_provider_docstatus.triggers import DocStatusTrigger

    async def wait(number: int) -> str:
        now, job = time.time(), neurolinker_id(number)
        parent = ["request", neurolinker_id(number // run.per_request)] if run.knows_request else None
        trigger = DocStatusTrigger(
            conn_id=CONN_ID,
            service="neurolinker",
            route="document",
            id=job,
            poke_interval=run.interval,
            asked_at=now,
            started_at=now,
            deadline=now + 3600,
            grace=60.0,
            parent=parent,
        )
        event = await _event(trigger)
        return str(event["outcome"])

    return wait


def dbt_cloud(run: Run) -> Wait:
    """Build the trigger of DbtCloudRunJobOperator and DbtCloudJobRunSensor."""
    _connection("dbt_cloud", host=f"127.0.0.1:{run.port}", login="1")
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    words = {"success": "succeeded", "error": "failed"}

    async def wait(number: int) -> str:
        trigger = DbtCloudRunJobTrigger(
            conn_id=CONN_ID, run_id=number, end_time=time.time() + 3600, poll_interval=run.interval, account_id=1
        )
        event = await _event(trigger)
        if "has failed" not in event["message"] and event["status"] == "error":
            return "error"  # its event for a job that failed and for a poll that failed has the same status
        return words.get(event["status"], event["status"])

    return wait


def databricks(run: Run) -> Wait:
    """Build the trigger of the Databricks run operators."""
    _connection("databricks", host="127.0.0.1", port=run.port)
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    words = {"SUCCESS": "succeeded", "FAILED": "failed"}

    async def wait(number: int) -> str:
        trigger = DatabricksExecutionTrigger(run_id=number, databricks_conn_id=CONN_ID, polling_period_seconds=run.interval)
        event = await _event(trigger)
        state = json.loads(event["run_state"])["result_state"]
        return words.get(state, state)

    return wait


CONTENDERS: dict[str, Callable[[Run], Wait]] = {
    "us": ours,
    "floor": the_floor,
    "databricks": databricks,
    "dbt-cloud": dbt_cloud,
}


def _connection(conn_type: str, *, extra: dict[str, Any] | None = None, **fields: Any) -> None:
    fields = {"conn_type": conn_type, "password": KEY, **fields, "extra": extra or {}}
    os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps(fields)


async def _event(trigger: Any) -> dict[str, Any]:
    """Return the trigger's event, as the triggerer would take it."""
    async for event in trigger.run():
        return dict(event.payload)
    return {"outcome": "no event", "status": "no event", "message": "", "run_state": '{"result_state": "no event"}'}


class Watchdog:
    """
    Looks in every few milliseconds: how long the loop stood still at worst, and how large the process became.

    Where other processes take the cores, a loop stands still without being at fault; so the most CPU time between two looks
    is noted as well.
    """

    def __init__(self, tick: float) -> None:
        self.tick = tick
        self.loop = asyncio.get_running_loop()
        self.process = psutil.Process()
        self.ticks = 0
        self.worst_stall = 0.0
        self.most_work = 0.0
        self.most_memory = 0
        self._due = 0.0
        self._cpu = 0.0
        self._call: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look in; forget what was seen before."""
        self.stop()
        self.ticks, self.worst_stall, self.most_work, self.most_memory = 0, 0.0, 0.0, self.memory()
        self._cpu = time.process_time()
        self._plan()

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def memory(self) -> int:
        return int(self.process.memory_info().rss)

    def _plan(self) -> None:
        self._due = self.loop.time() + self.tick
        self._call = self.loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self.worst_stall = max(self.worst_stall, self.loop.time() - self._due)
        cpu = time.process_time()
        self.most_work, self._cpu = max(self.most_work, cpu - self._cpu), cpu
        self.ticks += 1
        if self.ticks % max(1, round(_BETWEEN_RSS / self.tick)) == 0:
            self.most_memory = max(self.most_memory, self.memory())
        self._plan()


async def hold(run: Run, wait: Wait) -> dict[str, Any]:
    """Hold all waits of a run at once; return what was measured."""
    watchdog = Watchdog(run.tick)
    watchdog.start()
    before = time.process_time()
    await asyncio.sleep(IDLE)  # what the watchdog costs is not the contender's
    per_tick = (time.process_time() - before) / watchdog.ticks
    began_at = begin(run, run.seconds)
    delays, endings = [], []

    async def one(number: int) -> None:
        try:
            ending = await wait(number)
        except Exception as error:  # noqa: BLE001 -- the triggerer would fail the task
            ending = type(error).__name__
        endings.append("right" if ending == ("failed" if fails(number) else "succeeded") else ending)
        delays.append(time.time() - began_at - run.seconds[number])

    watchdog.start()
    rss, cpu, clock = watchdog.memory(), time.process_time(), time.perf_counter()
    tasks = []
    for number in range(len(run.seconds)):  # one in a turn, as the triggerer starts them
        tasks.append(asyncio.create_task(one(number)))
        await asyncio.sleep(0)
    for task in tasks:  # gather() would hold another context for each
        await task
    seconds = time.perf_counter() - clock
    cpu = time.process_time() - cpu - per_tick * watchdog.ticks
    most_memory = max(watchdog.most_memory, watchdog.memory())
    watchdog.stop()
    counted = json.load(_open(run, None))
    rights = [delay for delay, ending in zip(delays, endings, strict=True) if ending == "right"]
    return {
        **counted,
        "cpu_ms_per_request": 1000 * cpu / max(1, counted["requests"]),
        "cpu_seconds": cpu,
        "watchdog_seconds": per_tick * watchdog.ticks,
        "memory_mb": (most_memory - rss) / 2**20,
        "stall_ms": 1000 * watchdog.worst_stall,
        "stall_cpu_ms": 1000 * watchdog.most_work,
        "delay_p50": percentile(rights, 0.50),
        "delay_p95": percentile(rights, 0.95),
        "wrong": len(endings) - len(rights),
        "wrong_words": sorted(set(endings) - {"right"}),
        "seconds": seconds,
    }


def percentile(numbers: list[float], part: float) -> float:
    """Return the number that the given part of them does not exceed; 0 for none."""
    return sorted(numbers)[min(len(numbers) - 1, int(part * len(numbers)))] if numbers else 0.0


def begin(run: Run, seconds: list[float]) -> float:
    """Let the jobs begin now; return the server's time of that."""
    body = {"seconds": seconds, "per_request": run.per_request, "per_minute": run.per_minute}
    return float(json.load(_open(run, body))["began_at"])


def _open(run: Run, body: object) -> Any:
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(f"http://127.0.0.1:{run.control}/", data=data, timeout=10)


async def warm_up(run: Run, wait: Wait) -> None:
    """Hold one wait for a job that is over: imports and provider discovery happen once in a triggerer's life."""
    begin(run, [0.0])
    await wait(0)


def main(name: str) -> None:
    """Run the contender."""
    raise_open_files()
    run = Run(**json.load(sys.stdin))
    warm = Run(**{**asdict(run), "interval": 0.1, "per_minute": None})
    asyncio.run(warm_up(warm, CONTENDERS[name](warm)))
    wait = CONTENDERS[name](run)
    gc.collect()
    gc.freeze()  # Airflow's 200,000 objects cost a full collection 0.1 s, whoever waits; what the waits make is still collected
    if run.profile:
        import cProfile

        profile = cProfile.Profile(time.process_time)
        profile.enable()
        result = asyncio.run(hold(run, wait))
        profile.disable()
        profile.dump_stats(f"{run.profile}.{name}")
    else:
        result = asyncio.run(hold(run, wait))
    sys.stdout.write(json.dumps({"bench": result}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
