"""
What an output file costs: ``make bench-files``.

One reply of 500 MB, and 10,000 documents of 1 MB, from a server in a process of its own, to ``file://`` and to ``s3://``, by a
process that does nothing else. Measured are its most memory above what it had before the fetch (``VmHWM`` of ``/proc``, begun
anew), and its seconds beside those of ``curl``. The store is moto's server; of what moto cannot hold (it joins an object's parts
in memory, twice), a server that counts the bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
MB = 1000 * 1000
MOST_MB = 80
#: How much slower than curl it may be on ``file://``.
MOST_TIMES_CURL = 2.0
#: Bytes that moto can hold here.
MOST_IN_MOTO = 2000 * MB
PIECE = 1024 * 1024
#: The best of so many runs counts where seconds are compared, for curl and for us; of the memory, the most.
RUNS = 3


# -- the server ------------------------------------------------------------------------------------------------


def document(size: int, one: str, state: str) -> Iterator[bytes]:
    """Yield a result of some size: one of Aitronos, whose state stands first, or one of docling-serve, where it stands last."""
    row = json.dumps({"text": 'Total: 4,711.00 \u20ac "net"', "page": 3, "bbox": [0.25, 12.5, 100.0, 3e2]}).encode() + b", "
    start, end = b'{"document": {"texts": [', b'{}]}, "status": "success"}'
    if state == "first":
        start, end = b'{"job_id": "%b", "status": "completed", "extracted_data": {"texts": [' % one.encode(), b"{}]}}"
    many = row * (PIECE // len(row))
    left = size - len(start) - len(end)
    yield start
    for _ in range(left // len(many)):
        yield many
    left %= len(many)
    yield row * (left // len(row)) + b" " * (left % len(row))
    yield end


async def serve(size: int, media: str, state: str) -> None:
    """Say of every task that it is finished, with a result of that size."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1].split("?")[0]
                one = path.rpartition("/")[2]
                kind, length, body = media, size, document(size, one, state)
                if "/status/" in path:
                    said = json.dumps({"task_id": one, "task_status": "success", "task_type": "convert"}).encode()
                    kind, length, body = "application/json", len(said), [said]
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode())
                for piece in body:
                    writer.write(piece)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# -- the worker ------------------------------------------------------------------------------------------------


def memory(field: str) -> float:
    """Return one of the process's figures in MB: ``VmRSS`` now, ``VmHWM`` the most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / MB
    raise KeyError(field)


def by_spool(base: str, ids: list[str], url: str, _state: str) -> Callable[[], Any]:
    """Fetch without the operator: what the files alone cost."""
    import requests

    from airflow_provider_docstatus.files.manifest import built, summary, written
    from airflow_provider_docstatus.files.rows import Rows
    from airflow_provider_docstatus.files.spool import Spool

    session = requests.Session()
    about = {"operation": None, "content": None, "content_options": {}, "accept": [], "gates": None, "on_item_error": "raise"}
    asked = {"ids": ids, "service": "docling", "parameter": "job_id", **about}

    def run() -> Any:
        with Spool(url) as spool:
            rows = None if len(ids) == 1 else Rows(spool)
            for one in ids:
                with session.get(f"{base}/v1/result/{one}", stream=True, timeout=60) as reply:
                    if rows is not None:
                        rows.add(one, {"data": reply.json()["document"]})
                        continue
                    for piece in reply.iter_content(PIECE):
                        spool.write(piece)
            places = rows.in_order(ids) if rows is not None else None
            spool.publish()
            kind = "application/json" if rows is None else "application/x-ndjson"
            manifest = built(asked, path=url, format=kind, ids={"succeeded": ids}, errors={}, rows=places)
            return summary(written(manifest, spool))

    return run


def by_operator(base: str, ids: list[str], url: str, state: str) -> Callable[[], Any]:
    """Fetch as a DAG's task does."""
    from airflow_provider_docstatus.operators import ExtractedDataOperator
    from tests.task_runs import FakeTaskInstance

    host, _, port = base.removeprefix("http://").partition(":")
    service = "aitronos" if state == "first" else "docling"
    conn = {"conn_type": service, "schema": "http", "host": host, "port": int(port), "password": "a-key-of-16-chars"}
    os.environ["AIRFLOW_CONN_VENDOR"] = json.dumps(conn)
    task = ExtractedDataOperator(task_id="fetch", conn_id="vendor", job_id=ids[0] if len(ids) == 1 else ids, output_path=url)
    return lambda: task.execute({"ti": FakeTaskInstance(), "dag_run": SimpleNamespace()})


def work(drive: str, base: str, count: int, url: str, state: str) -> None:
    """Fetch, and print what it took."""
    import logging

    logging.disable(logging.CRITICAL)
    ids = [f"task-{number:06d}" for number in range(count)]
    run = {"spool": by_spool, "operator": by_operator}[drive](base, ids, url, state)
    bare = memory("VmRSS")
    if url.startswith("s3://"):  # that boto and s3fs are loaded is not the file's doing: it has a column of its own
        from airflow_provider_docstatus.files.storing import size_of

        size_of(url)
    Path("/proc/self/clear_refs").write_text("5")
    before, begun = memory("VmRSS"), time.monotonic()
    said = run()
    took = {"seconds": time.monotonic() - begun, "above": memory("VmHWM") - before, "loading": before - bare}
    print(json.dumps({**took, "said": said}))


# -- the run ---------------------------------------------------------------------------------------------------


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[str]:
    """Start a server of ours; yield its first line, and stop it."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as started:
        try:
            yield started.stdout.readline().strip()
        finally:
            started.kill()


@contextmanager
def store(is_held: bool) -> Iterator[str]:
    """Start a store with a bucket; yield its URL."""
    if not is_held:
        with process("tests.bench.sink") as port:
            yield f"http://127.0.0.1:{port}"
        return
    with process("tests.bench.files", "moto") as port:
        yield f"http://127.0.0.1:{port}"


def moto() -> None:
    """Serve a bucket with moto."""
    import logging

    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").disabled = True
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys).create_bucket(Bucket="bucket")
    print(port, flush=True)
    while True:
        time.sleep(3600)


def curl(base: str, count: int, folder: Path) -> float:
    """Return the seconds that curl takes to fetch the same into one file."""
    lines = [f'url = "{base}/v1/result/task-{number:06d}"' for number in range(count)]
    begun = time.monotonic()
    with (folder / "curl").open("wb") as file:
        subprocess.run(["curl", "--silent", "--config", "-"], input="\n".join(lines).encode(), stdout=file, check=True)
    took = time.monotonic() - begun
    (folder / "curl").unlink()
    return took


def measured(drive: str, base: str, count: int, url: str, *, endpoint: str, state: str) -> dict[str, Any]:
    """Return what the worker's process says of itself."""
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    conn = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    with tempfile.TemporaryDirectory(prefix="docstatus-bench-home-") as home:
        settings = {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW_CONN_S3": json.dumps(conn)}
        command = [sys.executable, "-m", "tests.bench.files", "work", drive, base, str(count), url, state]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **settings})
    if run.returncode:
        sys.exit(f"to {url}: {run.stderr[-3000:]}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def row(arguments: argparse.Namespace, count: int, size: int, where: str, state: str = "first") -> bool:
    """Measure one case, and print it; return whether it is within its bounds."""
    media = arguments.media if count == 1 else "application/json"
    is_held = count * size <= MOST_IN_MOTO
    name = f"a reply of {size // MB} MB" if count == 1 else f"{count:,} documents of 1 MB"
    name += "" if state == "first" else ", state behind the data"
    kind = "file://" if where == "file" else "s3://, moto" if is_held else "s3://, a server that counts"
    with (
        process("tests.bench.files", "serve", str(size), media, state) as port,
        tempfile.TemporaryDirectory(prefix="docstatus-bench-") as folder,
        store(is_held) if where == "s3" else nullcontext("") as endpoint,
    ):
        base = f"http://127.0.0.1:{port}"
        place = f"file://{folder}" if where == "file" else "s3://s3@bucket"
        runs = RUNS if count == 1 else 1
        curled = min(curl(base, count, Path(folder)) for _ in range(runs))
        runs = runs if where == "file" else 1
        taken = [
            measured(arguments.drive, base, count, f"{place}/{run}/data.json", endpoint=endpoint, state=state)
            for run in range(runs)
        ]
    found = min(taken, key=lambda one: one["seconds"]) | {"above": max(one["above"] for one in taken)}
    times = found["seconds"] / curled
    is_small = found["above"] <= MOST_MB
    is_fast = (
        times <= MOST_TIMES_CURL or where != "file" or count > 1 or state == "last"
    )  # rows are read and written as JSON, which curl does not
    cells = [f"{name}, {kind}", f"{found['above']:.0f}{'' if is_small else ' MISSED'}", f"{found['loading']:.0f}"]
    cells += [f"{found['seconds']:.1f}", f"{count * size / MB / found['seconds']:.0f}", f"{curled:.1f}"]
    print(f"| {' | '.join(cells)} | {times:.1f}{'' if is_fast else ' MISSED'} |", flush=True)
    return is_small and is_fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--drive", default="operator", choices=("spool", "operator"), help="by the files alone, or by the operator"
    )
    parser.add_argument("--size", type=int, default=500, help="MB of the one reply")
    parser.add_argument("--documents", type=int, default=10_000, help="how many documents of 1 MB; 0 for none")
    parser.add_argument("--media", default="application/json", help="the media type of the one reply")
    parser.add_argument("--only", default="file,s3", help="where to: file, s3")
    arguments = parser.parse_args()
    print(
        f"driven by: {arguments.drive}; at most {MOST_MB} MB above, at most {MOST_TIMES_CURL:g} times curl for one reply on file://\n"
    )
    print("| | MB above | and for loading s3fs | s | MB/s | curl, s | times curl |\n|---|---|---|---|---|---|---|")
    cases = [(count, size) for count, size in ((1, arguments.size * MB), (arguments.documents, MB)) if count * size]
    met = [row(arguments, count, size, where) for count, size in cases for where in arguments.only.split(",")]
    if arguments.drive == "operator":
        met.append(row(arguments, 1, arguments.size * MB, "file", "last"))
    sys.exit(not all(met))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2]), sys.argv[3], sys.argv[4]))
    elif sys.argv[1:2] == ["moto"]:
        moto()
    elif sys.argv[1:2] == ["work"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:7])
    else:
        main()
