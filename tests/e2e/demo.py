"""The demo (`make demo`): three services, a real Airflow, and what the waits cost. KEEP=1 leaves the UI up.

The services are the stand-in vendors of ``airflow_provider_docstatus.testing``; everything else is real.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import FINAL_RUN_STATES, AirflowError, RealAirflow

if TYPE_CHECKING:
    from airflow_provider_docstatus.hooks import DocStatusHook
    from airflow_provider_docstatus.status import DocumentStatus

DAG = "three_services"
DAG_FILE = Path(__file__).parents[2] / "example_dags" / f"{DAG}.py"
SERVICES = ("neurolinker", "aitronos", "unsiloed")
ID_PARAMETER = {"neurolinker": "request_id", "aitronos": "job_id", "unsiloed": "job_id"}
OPERATION = {"unsiloed": "extract"}
JOB_SECONDS = 25.0
SLOTS = 2
LIMIT_SECONDS = 180.0
MOST_LINES = 6  # of one service's data


def main() -> int:
    """Run the demo and return the exit code."""
    keep = os.environ.get("KEEP", "") not in ("", "0")
    say = Teller()
    say("starting Airflow 3.3: API server, scheduler, DAG processor, triggerer (about 20 s)")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="docstatus-demo-") as home,
            StandInVendors(job_seconds=JOB_SECONDS) as vendors,
            RealAirflow(Path(home), slots=SLOTS, environment=vendors.environment(), dags=[DAG_FILE]) as airflow,
        ):
            say(f"it runs; jobs at the three stand-in services take {JOB_SECONDS:.0f} s")
            succeeded = show_a_run(airflow, say)
            if keep:
                keep_up(airflow)
            say("stopping")
    except AirflowError as error:
        say(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything is stopped")
        return 130
    say("done, everything is stopped" if succeeded else "failed, everything is stopped")
    return 0 if succeeded else 1


class Teller:
    """Print lines with the seconds since the start, each only when it says something new."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._last: dict[str, str] = {}

    def __call__(self, text: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self._started:5.0f} s  {text}", flush=True)

    def change(self, about: str, text: str) -> None:
        """Print a line about something if it differs from the last one about it."""
        if self._last.get(about) != text:
            self._last[about] = text
            self(f"{about:<28} {text}")


@dataclass
class Watch:
    """What the demo looks at once a second."""

    airflow: RealAirflow
    run_id: str
    say: Teller
    hooks: dict[str, DocStatusHook]
    ids: dict[str, str] = field(default_factory=dict)
    final: set[str] = field(default_factory=set)
    free_seconds: int = 0

    def look(self) -> None:
        """Tell what has changed: documents, waits, slots."""
        for service in SERVICES:
            if service in self.ids or self._was_sent(service):
                self._look_at(service)
        waits, busy = self.airflow.pool()["deferred_slots"], self.airflow.busy_slots()
        self.say.change("Airflow", f"waits open: {waits}, worker slots in use: {busy} of {SLOTS}")
        self.free_seconds += waits == len(SERVICES) and not busy

    def _was_sent(self, service: str) -> bool:
        task = next(one for one in self.instances() if one["task_id"] == f"send_to_{service}")
        if task["state"] == "success":
            self.ids[service] = self.airflow.xcom(DAG, self.run_id, task["task_id"])
        return service in self.ids

    def _look_at(self, service: str) -> None:
        if service in self.final:
            return
        which = {ID_PARAMETER[service]: self.ids[service], "operation": OPERATION.get(service)}
        status = self.hooks[service].get_status(**which)
        for name, word in words(status):
            self.say.change(f"{service}: {name}", word)
        if status.state.is_final:
            self.final.add(service)

    def instances(self) -> list[dict[str, Any]]:
        """Return the run's task instances."""
        return self.airflow.task_instances(DAG, self.run_id)


def words(status: DocumentStatus) -> Iterator[tuple[str, str]]:
    """Yield each document inside a request, or the job itself, and the vendor's word for where it is."""
    for document in status.children:
        yield str(document.details["file_name"]), document.word
    if not status.children:
        yield f"{status.kind} {status.id.removeprefix('job_')[:8]}", status.word


def show_a_run(airflow: RealAirflow, say: Teller) -> bool:
    """Run the DAG, tell what happens until it ends, and return whether it ended well."""
    run_id = airflow.trigger(DAG)
    say(f"started the DAG {DAG} of example_dags/{DAG_FILE.name}")
    watch = Watch(airflow, run_id, say, hooks(airflow.environment))
    deadline = time.monotonic() + LIMIT_SECONDS
    while (state := airflow.run_state(DAG, run_id)) not in FINAL_RUN_STATES:
        watch.look()
        if time.monotonic() > deadline:
            say(f"the run did not end within {LIMIT_SECONDS:.0f} s")
            return False
        time.sleep(1)
    if state != "success":
        say(f"the run failed\n{airflow.failures(DAG, run_id)}")
        return False
    say(f"for {watch.free_seconds} s all {len(SERVICES)} waits were open and no worker slot was in use")
    say("what was extracted, from XCom:")
    for service in SERVICES:
        text = json.dumps(airflow.xcom(DAG, run_id, f"data_of_{service}"))
        shown = textwrap.indent(textwrap.fill(text, 110, max_lines=MOST_LINES), "    ")
        print(f"\n{service}\n{shown}", flush=True)
    print()
    loaded: list[str] = airflow.xcom(DAG, run_id, "load")
    return sorted(loaded) == sorted(SERVICES)


def hooks(environment: dict[str, str]) -> dict[str, DocStatusHook]:
    """Return a hook for each service, in this process as a task would have it."""
    os.environ.update({name: value for name, value in environment.items() if name.startswith("AIRFLOW")})
    from airflow_provider_docstatus.hooks import DocStatusHook  # only now: Airflow reads its settings at its import

    return {service: DocStatusHook(conn_id=f"{service}_default") for service in SERVICES}


def keep_up(airflow: RealAirflow) -> None:
    """Leave everything running until Ctrl-C."""
    print(f"The UI is at {airflow.url}/dags/{DAG} ; Ctrl-C ends it.", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
