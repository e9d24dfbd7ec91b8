"""The command prints what to paste, serves, and stops cleanly."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading

import pytest
import requests

from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.testing.__main__ import main


def test_it_serves_until_interrupted() -> None:
    """It is a process of its own here: the signal and the output are what is tested."""
    command = [
        sys.executable,
        "-m",
        "airflow_provider_docstatus.testing",
        "--port",
        "0",
        "--job-seconds",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        greeting, *exports = [process.stdout.readline() for _ in range(1 + len(StandInVendors().vendors))]
        name, value = shlex.split(exports[0])[1].split("=", 1)
        connection = json.loads(value)
        headers = {"Authorization": f"Bearer {connection['password']}"}
        listed = requests.get(f"{connection['host']}/v1/tasks", headers=headers, timeout=5)
        process.send_signal(signal.SIGINT)
        *_, goodbye = process.stdout.read().splitlines()
    assert connection["host"] in greeting
    assert (name, listed.status_code) == ("AIRFLOW_CONN_NEUROLINKER_DEFAULT", 200)
    assert goodbye == "Requests answered: neurolinker 1"
    assert process.returncode == 0


def test_it_serves_until_terminated(capsys: pytest.CaptureFixture[str]) -> None:
    """The other signal, within this process; a limit can be set for all vendors."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        main(["--port", "0", "--per-minute", "1"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert "Requests answered: none" in capsys.readouterr().out


def test_a_taken_port_is_said_in_one_line() -> None:
    """Not with a traceback."""
    with (
        StandInVendors() as vendors,
        pytest.raises(SystemExit, match=f"cannot listen on port {vendors.port}"),
    ):
        main(["--port", str(vendors.port)])
