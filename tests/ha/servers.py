"""PostgreSQL and Redis from the distribution's packages, on loopback, for the length of a test."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.real_airflow import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGES = "postgresql redis-server"
STARTED_WITHIN = 60.0
STOPPED_WITHIN = 20.0
UNPRIVILEGED = ("postgres", "nobody")


class ServerError(Exception):
    """A server is not installed or does not start; the message says which, and what to do."""


def find(program: str) -> str:
    """Return the path of a server's program; Debian keeps those of PostgreSQL out of the PATH, one folder a version."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: float(path.parts[-3]))
    path = shutil.which(program) or (str(versions[-1]) if versions else None)
    if path is None:
        raise ServerError(f"{program} is not installed. This test needs two servers: apt-get install {PACKAGES}")
    return path


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Run a new PostgreSQL and yield its URL for SQLAlchemy.

    It refuses to run as root, so root starts it as somebody else; its folder stands outside pytest's, which only their
    owner may enter.
    """
    initdb, postgres = find("initdb"), find("postgres")
    (port,) = free_ports(1)
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="docstatus-ha-", dir="/tmp") as name:
        folder, user = Path(name), _user()
        (folder / "password").write_text(password)
        for path in (folder, folder / "password"):
            os.chown(path, user.pw_uid, user.pw_gid)
        run: dict[str, Any] = {"cwd": folder}
        if os.getuid() == 0:
            run |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
        how = ["--username=airflow", "--auth=scram-sha-256", "--pwfile=password", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run([initdb, "--pgdata=db", *how], check=False, capture_output=True, text=True, **run)
        if made.returncode:
            raise ServerError(f"initdb, run as {user.pw_name}, failed:\n{made.stdout}{made.stderr}")
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(folder),
            "max_connections": "300",
            "fsync": "off",  # nothing here outlives the test
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        arguments = [postgres, "-D", "db", "-p", str(port), *options]
        with _running(arguments, port=port, stop=signal.SIGINT, log=folder / "log", **run):
            yield f"postgresql+psycopg2://airflow:{password}@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a new Redis that keeps nothing on disk, and yield its URL."""
    (port,) = free_ports(1)
    arguments = [find("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with _running(arguments, port=port, stop=signal.SIGTERM, log=folder / "log", cwd=folder):
        yield f"redis://127.0.0.1:{port}/0"


def _user() -> pwd.struct_passwd:
    """Return who runs PostgreSQL: whoever runs the test, unless that is root."""
    if os.getuid():
        return pwd.getpwuid(os.getuid())
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError(f"PostgreSQL refuses to run as root, and there is none of the users {', '.join(UNPRIVILEGED)}: create one")


@contextlib.contextmanager
def _running(arguments: Sequence[str], *, port: int, stop: signal.Signals, log: Path, **options: Any) -> Iterator[None]:
    """Start a server, wait until it listens, and stop it in the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **options
        )
    try:
        deadline = time.monotonic() + STARTED_WITHIN
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{arguments[0]} does not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with contextlib.closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
