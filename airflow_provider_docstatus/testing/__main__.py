"""The command ``docstatus-stand-in``: the three vendors on this machine, to try out a DAG without a key."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_docstatus.testing.server import StandInVendors

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted, and print what to paste into a shell to use the server."""
    options = _parser().parse_args(arguments)
    vendors = StandInVendors(
        port=options.port,
        job_seconds=options.job_seconds,
        latency=options.latency,
        neurolinker_prefix=options.neurolinker_prefix,
    )
    for service in vendors.keys if options.per_minute else ():
        vendors.limit(service, options.per_minute)
    try:
        vendors.start()
    except OSError as error:
        sys.exit(f"docstatus-stand-in cannot listen on port {options.port}: {error.strerror}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    print(f"The stand-in vendors listen on {vendors.url}; Ctrl-C stops them.")
    for name, value in vendors.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    sys.stdout.flush()
    stopped.wait()
    vendors.stop()
    counts = Counter(record.service or "other" for record in vendors.requests)
    print(
        "Requests answered:",
        ", ".join(f"{service} {count}" for service, count in sorted(counts.items())) or "none",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="docstatus-stand-in", description=__doc__)
    parser.add_argument("--port", type=int, default=8099, help="port on 127.0.0.1, 0 for any free one (default: %(default)s)")
    parser.add_argument("--job-seconds", type=float, default=5.0, help="how long a job takes (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds every answer takes (default: %(default)s)")
    parser.add_argument("--per-minute", type=float, default=0, help="requests a minute and vendor, 0 for no limit")
    parser.add_argument("--neurolinker-prefix", choices=["/v1", "/api/v1", "both", "redirect"], default="/v1")
    return parser


if __name__ == "__main__":
    main()
