"""
Us beside a bare aiohttp loop and two released triggers, in one table from one run: ``make bench``.

All poll the same TLS server on loopback (vendors.py), each in a fresh process (contender.py). Figures are worth something
beside the others of the same run only: other machines and other days give others. What is measured:

CPU per request     the client process's CPU time without imports and without the watchdog, by the requests the server counted
memory growth       most resident memory while the waits are held, less that before them
connections         TCP connections that the server accepted
worst stall         the longest that a call which is due every 5 ms came late; where other processes take the cores, nobody's
                    fault. So below it: the most CPU time that the process itself used between two such calls
detection delay     from a job's end to the event that says so
wrong endings       waits that did not end as their job did; one job in ten fails

Logs are switched off for all, and what was imported before the waits is kept from the garbage collector (``gc.freeze``).
``--runs 3`` prints medians of three runs; ``--only`` and ``--waits`` are for a quick look.
"""

from __future__ import annotations

import argparse
import datetime as dt
import ipaddress
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.bench.contender import CONTENDERS, Run

SEED = 20261122
SHORTEST_JOB, LONGEST_JOB = 5.0, 35.0
PER_REQUEST = 25
#: Seconds until a contender that hangs is given up.
LONGEST = 420.0
ROOT = Path(__file__).parents[2]

Result = dict[str, Any]
#: What a target is judged by: the results of a section by contender.
Results = dict[str, Result]


@dataclass(frozen=True)
class Measure:
    """
    One line of the table.

    :param text: what is measured.
    :param of: its key in a result.
    :param digits: digits after the point.
    :param target: computes the most that is allowed for us from the results of the section; None for no target.
    """

    text: str
    of: str
    digits: int = 0
    target: Callable[[Results], float] | None = None


@dataclass(frozen=True)
class Section:
    """Some lines of the table: one workload, several contenders."""

    name: str
    title: str
    contenders: tuple[str, ...]
    run: Callable[[int], dict[str, Any]]
    waits: int
    measures: tuple[Measure, ...]


def _each_alone(waits: int) -> dict[str, Any]:
    dice = random.Random(SEED)
    return {"seconds": [dice.uniform(SHORTEST_JOB, LONGEST_JOB) for _ in range(waits)], "per_request": 1}


def _together(waits: int) -> dict[str, Any]:
    """Documents of one request end together, as a request that is worked on in one piece."""
    dice = random.Random(SEED)
    requests = [dice.uniform(SHORTEST_JOB, LONGEST_JOB) for _ in range(-(-waits // PER_REQUEST))]
    return {
        "seconds": [requests[number // PER_REQUEST] for number in range(waits)],
        "per_request": PER_REQUEST,
        "knows_request": True,
        "tick": 0.25,
    }


def _apart(waits: int) -> dict[str, Any]:
    return {**_each_alone(waits), "per_request": PER_REQUEST, "knows_request": True, "tick": 0.25}


def _on_a_small_key(waits: int) -> dict[str, Any]:
    return {**_each_alone(waits), "per_minute": 60}


_REQUESTS = Measure("requests", "requests")
_WRONG = Measure("wrong endings", "wrong", target=lambda _: 0)
_P50 = Measure("detection delay, median, s", "delay_p50", 2)
_P95 = Measure("detection delay, 95th percentile, s", "delay_p95", 2)

SECTIONS = (
    Section(
        "waits",
        "{waits:,} waits, each polled alone",
        ("us", "floor", "databricks", "dbt-cloud"),
        _each_alone,
        1000,
        (
            Measure("CPU per request, ms", "cpu_ms_per_request", 2, lambda of: 1.5 * of["floor"]["cpu_ms_per_request"]),
            Measure("memory growth, MB", "memory_mb", target=lambda _: 40),
            Measure("connections", "connections", target=lambda _: 20),
            Measure("worst stall of the event loop, ms", "stall_ms", target=lambda _: 50),
            Measure("most CPU time between two turns, ms", "stall_cpu_ms"),
            _P50,
            Measure(_P95.text, "delay_p95", 2, lambda of: 1.05 * of["floor"]["delay_p95"]),
            _REQUESTS,
            _WRONG,
        ),
    ),
    Section(
        "many",
        "{waits:,} waits in one process",
        ("us", "floor"),
        _each_alone,
        10_000,
        (
            Measure("CPU per request, ms", "cpu_ms_per_request", 2, lambda of: 1.5 * of["floor"]["cpu_ms_per_request"]),
            Measure("memory growth, MB", "memory_mb", target=lambda _: 150),
            Measure("connections", "connections", target=lambda _: 20),
            Measure("worst stall of the event loop, ms", "stall_ms", target=lambda _: 100),
            Measure("most CPU time between two turns, ms", "stall_cpu_ms"),
            _P50,
            _P95,
            _REQUESTS,
            _WRONG,
        ),
    ),
    Section(
        "requests",
        "{waits:,} documents of {requests} requests, those of a request end together",
        ("us", "floor"),
        _together,
        1000,
        (
            Measure("requests", "requests", target=lambda of: of["floor"]["requests"] / 20),
            Measure("CPU, s", "cpu_seconds", 2),
            _P95,
            _WRONG,
        ),
    ),
    Section(
        "apart",
        "{waits:,} documents of {requests} requests, each ends for itself",
        ("us", "floor"),
        _apart,
        1000,
        (_REQUESTS, Measure("CPU, s", "cpu_seconds", 2), _P95, _WRONG),
    ),
    Section(
        "key",
        "{waits:,} waits on a key of 60 calls a minute",
        ("us", "dbt-cloud"),
        _on_a_small_key,
        100,
        (
            Measure("calls in the worst rolling minute", "worst_minute", target=lambda _: 60),
            Measure("refused calls (429)", "refused", target=lambda _: 0),
            _P95,
            _REQUESTS,
            _WRONG,
        ),
    ),
)


@contextmanager
def vendors(module: str = "tests.bench.vendors") -> Iterator[tuple[int, int, str]]:
    """Serve the vendors from a process of its own; yield its two ports and the file of the certificate to trust."""
    with tempfile.TemporaryDirectory(prefix="docstatus-bench-") as folder:
        certificate, key = _certificate(Path(folder))
        server = subprocess.Popen(
            [sys.executable, "-m", module, certificate, key],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            port, control = (server.stdout.readline().split() if server.stdout else []) or sys.exit("the server did not start")
            yield int(port), int(control), certificate
        finally:
            server.terminate()
            server.wait(10)


def _certificate(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")]), dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(files[0]), str(files[1])


def measure(contender: str, run: Run, certificate: str, home: str, module: str = "tests.bench.contender") -> Result:
    """Run a contender in a fresh process; return what it measured."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("AIRFLOW") and "proxy" not in name.lower()}
    environment = {
        **{name: text for name, text in kept.items() if name not in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")},
        "SSL_CERT_FILE": certificate,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # what a log line costs is Airflow's business, and the peers write one for each poll
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "AIRFLOW__LOGGING__FAB_LOGGING_LEVEL": "CRITICAL",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    done = subprocess.run(
        [sys.executable, "-m", module, contender],
        cwd=ROOT,
        env=environment,
        input=json.dumps(asdict(run)),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith('{"bench":'):
            return dict(json.loads(line)["bench"])
    sys.exit(f"{contender} ended with {done.returncode} and no result:\n{done.stderr[-4000:]}")


def median(results: list[Result]) -> Result:
    """Return the medians of several runs of one contender."""
    numbers = [name for name, value in results[0].items() if isinstance(value, (int, float))]
    return {**results[0], **{name: statistics.median(result[name] for result in results) for name in numbers}}


def table(sections: list[tuple[Section, int, Results]]) -> str:
    """Return the table as Markdown."""
    lines = ["| | " + " | ".join(["us", "target", *list(CONTENDERS)[1:]]) + " |", "|---" * (len(CONTENDERS) + 2) + "|"]
    for section, waits, results in sections:
        title = section.title.format(waits=waits, requests=-(-waits // PER_REQUEST))
        lines.append(f"| **{title}** |" + " |" * (len(CONTENDERS) + 1))
        for line in section.measures:
            cells = [_shown(results.get(name, {}).get(line.of), line.digits) for name in CONTENDERS]
            cells.insert(1, _judged(line, results))
            lines.append(f"| {line.text} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:,.{digits}f}"


def _judged(line: Measure, results: Results) -> str:
    try:
        most = line.target(results) if line.target is not None and "us" in results else None
    except KeyError:  # the contender it is judged by was left out
        most = None
    if most is None:
        return ""
    return f"≤ {_shown(most, line.digits)} {'ok' if results['us'][line.of] <= most else 'MISS'}"


def main() -> None:
    """Run all sections and print the table."""
    words = argparse.ArgumentParser(description="Measure our trigger beside others.")
    words.add_argument("--runs", type=int, default=1, help="print medians of so many runs (default 1)")
    words.add_argument("--only", default=",".join(section.name for section in SECTIONS), help="sections, with commas")
    words.add_argument("--contenders", default=",".join(CONTENDERS), help="contenders, with commas; us must be among them")
    words.add_argument("--waits", type=int, help="so many waits in every section instead of its own number")
    words.add_argument(
        "--profile",
        metavar="FILE",
        help="profile each process into FILE.<contender> (cProfile, CPU time); the figures are then worthless",
    )
    words.add_argument("--json", metavar="FILE", help="write all results of all runs there as well")
    wanted = words.parse_args()
    found: dict[tuple[str, str], list[Result]] = {}
    chosen = [section for section in SECTIONS if section.name in wanted.only.split(",")]
    with vendors() as (port, control, certificate), tempfile.TemporaryDirectory(prefix="docstatus-bench-home-") as home:
        for _ in range(wanted.runs):
            for section in chosen:
                for name in [name for name in section.contenders if name in wanted.contenders.split(",")]:
                    workload = section.run(wanted.waits or section.waits)
                    run = Run(port=port, control=control, profile=wanted.profile, **workload)
                    result = measure(name, run, certificate, home)
                    _say(f"{section.name}: {name} took {result['seconds']:.0f} s; not right: {result['wrong_words'] or 'none'}")
                    found.setdefault((section.name, name), []).append(result)
    if wanted.json:
        Path(wanted.json).write_text(json.dumps({"/".join(key): results for key, results in found.items()}, indent=1))
    rows = []
    for section in chosen:
        results = {name: median(found[section.name, name]) for name in section.contenders if (section.name, name) in found}
        rows.append((section, wanted.waits or section.waits, results))
    packages = ("apache-airflow", "apache-airflow-providers-databricks", "apache-airflow-providers-dbt-cloud", "aiohttp")
    print(table(rows))
    print(
        f"\nJobs of {SHORTEST_JOB:.0f} to {LONGEST_JOB:.0f} s, poll interval 5 s, "
        + (f"medians of {wanted.runs} runs, " if wanted.runs > 1 else "one run, ")
        + f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + "."
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
