"""The live run (`make live`): a real docling-serve, a real Airflow 3.3, and what each makes of the other.

First files of four formats are submitted, gated on and fetched; then comes what goes wrong: an unknown id, a wrong key, a
document that fails inside a task that says success, a task that breaks, a result that was fetched before, a server that is
started again in mid-wait. All of it twice: on a server with a key that forgets a result some seconds after it was fetched, as
is the default, and on one without a key that keeps them.

Each step prints what was expected and what came; the exit code says whether all was as expected.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import textwrap
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.demo import Teller
from tests.e2e.real_airflow import AirflowError, RealAirflow
from tests.live.samples import SAMPLES, SAYS
from tests.live.server import VENV, DoclingServe, ServerError, model_at, slow_model

DAG_FILE = Path(__file__).parent / "dags" / "live.py"
FILES = [name for name in SAMPLES if not name.endswith(".pdf")]
KEY = "live-run-key-5d1c0a"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
REMOVED_AFTER = 5
"""Seconds from the first reading of a result until the server forgets it; 300 by default, as for the first files."""
NOBODY = 9
"""A port that nobody listens on: a PDF whose model is there fails inside its task."""
SLOTS = 4
RUN_WITHIN = 180.0
DEFERRED_WITHIN = 60.0
ASKED_AFTER = 3.0
"""Seconds in which the triggerer has asked for a new wait once or twice."""
DOWN_FOR = 3.0


@dataclass(frozen=True)
class Step:
    """
    A gate or a fetch, and what must become of it.

    :param name: what is tried, for people.
    :param task: ``gate`` or ``fetch``.
    :param state: the task's final state in Airflow's words.
    :param says: texts that the XCom of a success, or the error of a failure, holds.
    """

    name: str
    task: str
    conn_id: str
    job_id: str | Sequence[str]
    state: str
    says: Collection[str] = ()


@dataclass
class Live:
    """What the steps share."""

    airflow: RealAirflow
    server: DoclingServe
    conn_id: str
    forgets: bool
    """Whether the server forgets a result once it was fetched."""
    say: Teller
    differs: list[str] = field(default_factory=list)

    def compare(self, name: str, expected: str, came: str, *, is_right: bool) -> None:
        """Print what was expected and what came, and remember whether it was right."""
        self.say(f"{'as expected' if is_right else 'DIFFERS':<11}  {name}")
        for title, text in (("expected", expected), ("came", came)):
            print(textwrap.fill(text, 120, initial_indent=f"{title:>17}: ", subsequent_indent=" " * 19, max_lines=6), flush=True)
        if not is_right:
            self.differs.append(name)

    # ------------------------------------------------------------------ steps

    def start(self, *steps: Step) -> str:
        """Start a run of gates and fetches, and return its id."""
        conf: dict[str, list[dict[str, Any]]] = {"gate": [], "fetch": []}
        for step in steps:
            conf[step.task].append({"conn_id": step.conn_id, "job_id": step.job_id})
        return self.airflow.trigger("live_steps", conf)

    def finish(self, run_id: str, *steps: Step) -> None:
        """Wait for the run's end, and compare each step."""
        self.airflow.wait("live_steps", run_id, RUN_WITHIN)
        states = {(one["task_id"], one["map_index"]): one for one in self.airflow.task_instances("live_steps", run_id)}
        counts = {"gate": 0, "fetch": 0}
        for step in steps:
            index = counts[step.task]
            counts[step.task] += 1
            state = states[step.task, index]["state"]
            text = self._outcome(run_id, step.task, index, state)
            self._never_says_the_key(run_id, step, index)
            self.compare(
                f"{step.task}: {step.name}",
                f"{step.state}, saying {', '.join(map(repr, step.says))}" if step.says else step.state,
                f"{state}: {text}",
                is_right=state == step.state and all(word in text for word in step.says),
            )

    def go(self, *steps: Step) -> None:
        """Run gates and fetches beside each other, and compare each."""
        self.finish(self.start(*steps), *steps)

    def _outcome(self, run_id: str, task_id: str, index: int, state: str) -> str:
        """Return the XCom of a success, else the error as Airflow logged it."""
        if state == "success":
            return json.dumps(self.airflow.xcom("live_steps", run_id, task_id, map_index=index), ensure_ascii=False)
        entries = self.airflow.task_log_entries("live_steps", run_id, task_id, map_index=index)
        errors = [one for entry in entries for one in entry.get("error_detail") or ()]
        return "; ".join(f"{one['exc_type']}: {one['exc_value']}" for one in errors) or "no error in the log"

    def _never_says_the_key(self, run_id: str, step: Step, index: int) -> None:
        entries = self.airflow.task_log_entries("live_steps", run_id, step.task, map_index=index)
        if KEY in json.dumps(entries):
            self.compare(f"{step.task}: {step.name}", "the key in no log", "the key in a log", is_right=False)

    def step(self, name: str, task: str, job_id: str | Sequence[str], state: str, *says: str) -> Step:
        """Return a step by the server's own connection."""
        return Step(name, task, self.conn_id, job_id, state, says)

    def submit(self, name: str, **more: Any) -> str:
        """Submit one of the samples past Airflow, and return the task's id."""
        return self.server.submit(name, SAMPLES[name](), **more)

    def finished(self, name: str, **more: Any) -> str:
        """Submit one of the samples, wait until the server has finished it, and return the task's id."""
        task_id = self.submit(name, **more)
        self.server.wait(task_id)
        return task_id


def show_files(live: Live) -> None:
    """Submit files of four formats, gate on one, gate on several, fetch; and show what was read in them."""
    run_id = live.airflow.trigger("live_files", {"conn_id": live.conn_id, "files": FILES})
    state = live.airflow.wait("live_files", run_id, RUN_WITHIN)
    if state != "success":
        live.compare("files of four formats", "success", live.airflow.failures("live_files", run_id), is_right=False)
        return
    read = {task_id: live.airflow.xcom("live_files", run_id, f"fetch_{task_id}") for task_id in ("one", "alone", "several")}
    gates = {task_id: live.airflow.xcom("live_files", run_id, f"gate_{task_id}") for task_id in ("one", "several")}
    for task_id, gate in gates.items():
        live.compare(f"gate on {task_id}", "'succeeded'", json.dumps(gate), is_right='"succeeded"' in json.dumps(gate))
    for task_id, data in read.items():
        print(f"\n  XCom of fetch_{task_id}:\n{textwrap.indent(readable(data), '    ')}\n", flush=True)
        text = json.dumps(data)
        counts = [text.count(word) for word in SAYS]
        least = len(FILES) if task_id == "several" else 1
        came = ", ".join(f"{word} {count} times" for word, count in zip(SAYS, counts, strict=True))
        live.compare(f"fetch of {task_id}", f"{', '.join(SAYS)}: each {least} times or more", came, is_right=min(counts) >= least)


def readable(data: Any) -> str:
    """Return extracted data as people read it: each text as it stands, below its name."""
    if isinstance(data, dict):
        filled = {name: value for name, value in data.items() if value not in (None, {}, [])}
        return "\n".join(f"{name}:\n{textwrap.indent(readable(value), '  ')}" for name, value in filled.items())
    return data if isinstance(data, str) else json.dumps(data)


def refusals(live: Live) -> list[Step]:
    """Return the steps of an unknown id, wrong keys, a document that fails inside a successful task, and a task that breaks."""
    gated, fetched = (live.finished("invoice.pdf", options=model_at(NOBODY)) for _ in range(2))
    broken = live.finished("invoice.html", options={"pipeline": "standard"})
    word = live.server.word(gated)
    live.compare("the task of a PDF that failed, asked directly", "success", word, is_right=word == "success")
    wrong_keys = (("docling_wrong_key", "a wrong key"), ("docling_no_key", "no key")) if live.server.key else ()
    return [
        live.step("an unknown id", "gate", UNKNOWN, "failed", "Task not found"),
        live.step("an unknown id", "fetch", UNKNOWN, "failed", "Task not found"),
        *(Step(name, task, conn_id, UNKNOWN, "failed", ["401"]) for conn_id, name in wrong_keys for task in ("gate", "fetch")),
        live.step("a task that broke", "gate", broken, "failed", "Internal processing error"),
        live.step("a PDF that failed inside a task that says success", "gate", gated, "failed", "VLM inference failed"),
        live.step("a PDF that failed inside a task that says success", "fetch", fetched, "failed", "VLM inference failed"),
    ]


def show_fetched_twice(live: Live) -> None:
    """Show what is left of a task some seconds after its result was read: by a fetch, and by a gate, which reads it to judge."""
    path = f"/v1/result/{live.finished('invoice.xlsx')}"
    codes = [live.server.ask("GET", path).status_code for _ in range(2)]
    live.compare("a result asked for twice at once, directly", "200, 200", str(codes)[1:-1], is_right=codes == [200, 200])
    fetched, gated = live.finished("invoice.md"), live.finished("invoice.md")
    live.go(
        live.step("a finished task", "fetch", fetched, "success", *SAYS),
        live.step("a finished task", "gate", gated, "success", '"succeeded"'),
    )
    time.sleep(REMOVED_AFTER + 2)
    fetch = ("failed", "Task not found") if live.forgets else ("success", *SAYS)
    gate = ("failed", "Task not found") if live.forgets else ("success", '"succeeded"')
    live.go(
        live.step(f"the same, {REMOVED_AFTER + 2} s after it was fetched", "fetch", fetched, *fetch),
        live.step(f"the same, {REMOVED_AFTER + 2} s after it was fetched", "gate", fetched, *gate),
        live.step(f"the same, {REMOVED_AFTER + 2} s after a gate on it", "fetch", gated, *fetch),
    )


def show_slow_and_restarted(live: Live) -> None:
    """Show a wait that outlasts a slow document, and one whose server is killed and started again meanwhile."""
    with slow_model() as (options, answers):
        slow = live.submit("invoice.pdf", options=options)
        step = live.step("a PDF whose model is slow", "fetch", slow, "success", *SAYS)
        with deferred(live, step):
            answers.set()
    with slow_model() as (options, _):
        finished, slow = live.finished("invoice.md"), live.submit("invoice.pdf", options=options)
        gate = live.step("a PDF whose server is killed and started again", "gate", slow, "failed", "Task not found")
        fetch = live.step("what was finished before that", "fetch", finished, "failed", "Task not found")
        with deferred(live, gate):
            live.server.kill()
            time.sleep(DOWN_FOR)
            live.server.start()
            fetching = live.start(fetch)
        live.finish(fetching, fetch)


@contextlib.contextmanager
def deferred(live: Live, step: Step) -> Iterator[None]:
    """Start a step; once it is deferred let something happen to it, then wait for its end."""
    run_id = live.start(step)
    deadline = time.monotonic() + DEFERRED_WITHIN
    while not any(one["state"] == "deferred" for one in live.airflow.task_instances("live_steps", run_id)):
        if time.monotonic() > deadline:
            raise AirflowError(f"{step.name}: not deferred within {DEFERRED_WITHIN:.0f} s")
        time.sleep(0.5)
    time.sleep(ASKED_AFTER)
    yield
    live.finish(run_id, step)


def connections(forgets: DoclingServe, keeps: DoclingServe) -> dict[str, str]:
    """Return the connections as the environment variables that Airflow reads them from."""
    made = {
        "docling_live": (forgets, KEY),
        "docling_wrong_key": (forgets, "wrong-key"),
        "docling_no_key": (forgets, None),
        "docling_kept": (keeps, None),
    }
    return {
        f"AIRFLOW_CONN_{name.upper()}": json.dumps(
            {"conn_type": "docling", "host": server.url, **({"password": key} if key else {})}
        )
        for name, (server, key) in made.items()
    }


def main() -> int:
    """Run it all and return the exit code."""
    say = Teller()
    if not (VENV / "bin" / "docling-serve").exists():
        say(f"there is no {VENV / 'bin' / 'docling-serve'}: make env-live")
        return 2
    say("starting docling-serve twice, and Airflow 3.3 (about 40 s)")
    try:
        with tempfile.TemporaryDirectory(prefix="docstatus-live-") as name, contextlib.ExitStack() as stack:
            folder = Path(name)
            forgets = DoclingServe(folder / "forgets", {"DOCLING_SERVE_SINGLE_USE_RESULTS": "true", "DOCLING_SERVE_API_KEY": KEY})
            keeps = DoclingServe(folder / "keeps", {"DOCLING_SERVE_SINGLE_USE_RESULTS": "false"})
            stack.enter_context(forgets)
            stack.enter_context(keeps)
            (folder / "airflow").mkdir()
            environment = {**connections(forgets, keeps), "PYTHONPATH": str(Path(__file__).parents[2])}
            airflow = stack.enter_context(RealAirflow(folder / "airflow", slots=SLOTS, environment=environment, dags=[DAG_FILE]))
            differs = [
                *show(Live(airflow, forgets, "docling_live", True, say), "with a key; a result is forgotten once fetched"),
                *show(Live(airflow, keeps, "docling_kept", False, say), "without a key; results are kept"),
            ]
            say("stopping")
    except (AirflowError, ServerError) as error:
        say(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything is stopped")
        return 130
    for name in differs:
        say(f"differs: {name}")
    say(f"done, everything is stopped; {'all was as expected' if not differs else f'{len(differs)} steps differ'}")
    return 1 if differs else 0


def show(live: Live, how: str) -> list[str]:
    """Go through all steps on one server, and return the names of those that came out otherwise."""
    live.say(f"docling-serve {live.server.ask('GET', '/version').json()['docling-serve']}, {how}")
    show_files(live)
    live.say(f"the server is started again with DOCLING_SERVE_RESULT_REMOVAL_DELAY={REMOVED_AFTER}")
    live.server.stop()
    live.server.environment["DOCLING_SERVE_RESULT_REMOVAL_DELAY"] = str(REMOVED_AFTER)
    live.server.start()
    steps = refusals(live)
    run_id = live.start(*steps)  # an unknown id takes a minute: it might be another replica's
    show_fetched_twice(live)
    live.finish(run_id, *steps)
    show_slow_and_restarted(live)
    return [f"{how}: {name}" for name in live.differs]


if __name__ == "__main__":
    sys.exit(main())
