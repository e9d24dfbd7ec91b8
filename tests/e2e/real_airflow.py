"""Run a real Airflow 3 on loopback, for the end-to-end tests and the demo.

API server, scheduler with LocalExecutor, DAG processor and triggerer are started as the processes they are in production, on
SQLite, on free ports, with one shared signing secret and with everybody an administrator. Nothing of the caller's own Airflow
(``AIRFLOW_*`` variables, ``~/airflow``) is read. Everything that was started is stopped, whatever happens in between.

The REST API and the API of the tasks are two processes. In one process they lock each other out on SQLite until its time-out
passes: Airflow 3.3.2 logs each REST request that changes something by a commit on the event loop
(``api_fastapi/logging/decorators.py``), which waits for the lock of a task's request that needs the event loop to commit.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn
from urllib.parse import quote

import psutil
import requests
import sqlalchemy
from typing_extensions import Self

HEALTHY_WITHIN = 180.0
"""Seconds the five processes get to become healthy; 16 s on two idle cores."""
PARSED_WITHIN = 120.0
"""Seconds the DAG processor gets to parse a file."""
SECOND_SIGTERM_AFTER = 2.0
"""Seconds after the first SIGTERM; an idle triggerer takes 11 s over one SIGTERM and 2 s over a second."""
SIGKILL_AFTER = 6.0
"""Seconds after the first SIGTERM; a LocalExecutor scheduler sometimes hangs in its shutdown."""
FINAL_RUN_STATES = frozenset({"success", "failed"})
DATABASE_TIMEOUT = 30
"""Seconds a process waits for SQLite's lock."""
ANSWER_WITHIN = 3.0 * DATABASE_TIMEOUT
"""Seconds a request to the REST API may take; more than waiting for the lock, so that the API's own error is seen."""
TRIGGERER_DEAD_AFTER = 8
"""Seconds without a heartbeat after which the other triggerers take over; 30 by default."""
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server", "--apps", "core"),
    "execution-api": ("api-server", "--apps", "execution"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
"""What is started, with its arguments, by a name of our own."""


class AirflowError(Exception):
    """Airflow did not start, refused a request, or did not get there in time; the message says which and shows its words."""


class RealAirflow:
    """Start Airflow on entering, stop it on leaving, and talk to its REST API in between.

    :param home: an empty folder that becomes ``AIRFLOW_HOME``; database, logs and the DAG copies live there.
    :param venv: the virtual environment holding Airflow 3.0 or later; by default the running one.
    :param slots: worker slots, that is LocalExecutor's parallelism.
    :param environment: variables for every process, for example ``AIRFLOW_CONN_NEUROLINKER_DEFAULT``.
    :param dags: DAG files to copy into the DAG folder.
    :param components: the processes to start; by default one of each.
    """

    def __init__(
        self,
        home: Path,
        *,
        venv: Path = Path(sys.prefix),
        slots: int = 2,
        environment: Mapping[str, str] | None = None,
        dags: Iterable[Path] = (),
        components: Mapping[str, tuple[str, ...]] = COMPONENTS,
    ) -> None:
        self.home = home.resolve()
        self.venv = venv
        self.slots = slots
        self.dags = tuple(dags)
        self.components = components
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        api_port, execution_port, worker_log_port, trigger_log_port = free_ports(4)
        self.url = f"http://127.0.0.1:{api_port}"
        self.execution_url = f"http://127.0.0.1:{execution_port}/execution"
        self._arguments = {"execution-api": ("--port", str(execution_port))}
        self.environment = {
            **inherited_environment(),
            **self._settings(api_port, worker_log_port, trigger_log_port),
            **(environment or {}),
        }
        self._session = requests.Session()
        self._session.trust_env = False  # a developer's HTTP proxy has no business on loopback
        self._old_handlers: dict[int, Any] = {}

    def _settings(self, api_port: int, worker_log_port: int, trigger_log_port: int) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(self.slots),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.execution_url}/",
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            # SQLite has one writer at a time: the others must wait for it rather than fail
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db?timeout={DATABASE_TIMEOUT}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api_port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            # Every component signs and checks with this one; by default each process makes up its own
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            # Fixed ports (8793, 8794) by default: a second Airflow on the machine would fail
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_DEAD_AFTER),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            # The process that supervises a task waits this long (5 s by default) when it saw the task's sockets close before the
            # task's process was gone, and holds the slot meanwhile: 3.3.2, supervisor.py, _monitor_subprocess()
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    # ------------------------------------------------------------------ start

    def __enter__(self) -> Self:
        """Migrate the database, start the processes and wait until all are healthy.

        :raises AirflowError: one of them ended or was not healthy in time; the end of its log is in the message.
        """
        for folder in ("dags", "out"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        for file in self.dags:
            shutil.copy(file, self.home / "dags")
        self._leave_through_exit_when_terminated()
        try:
            self._migrate()
            for name, arguments in self.components.items():
                self.start(name, *arguments, *self._arguments.get(name, ()))
            self._wait_until("healthy", self._is_healthy, HEALTHY_WITHIN)
        except BaseException:
            self.stop()
            raise
        return self

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``airflow <arguments>`` in a session of its own, logging to ``out/<name>.log``.

        :param name: a name of your choice, the key in :attr:`processes`; a second triggerer needs a second name.
        """
        with (self.home / "out" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [self.venv / "bin" / "python", "-m", "airflow", *arguments],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.processes[name]

    def start_triggerer(self, name: str) -> int:
        """Start one more triggerer and return the id of its job.

        :raises AirflowError: it did not register itself in time.
        """
        known = self.triggerer_jobs()
        self.start(name, *COMPONENTS["triggerer"])
        self._wait_until(f"registered: {name}", lambda: self.triggerer_jobs() != known, HEALTHY_WITHIN)
        return self.triggerer_jobs()[-1]

    def _migrate(self) -> None:
        process = self.start("migrate", "db", "migrate")
        if process.wait(HEALTHY_WITHIN) != 0:
            raise AirflowError(f"`airflow db migrate` failed:\n{self._end_of_log('migrate')}")
        del self.processes["migrate"]

    def _is_healthy(self) -> bool:
        try:
            self._session.get(f"{self.execution_url}/health", timeout=5).raise_for_status()
            health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
        components = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all((health.get(component) or {}).get("status") == "healthy" for component in components)

    def _wait_until(self, claim: str, is_true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            self._all_alive()
            if time.monotonic() > deadline:
                ends = "\n".join(f"--- {name}\n{self._end_of_log(name)}" for name in self.processes)
                raise AirflowError(f"not {claim} within {seconds:.0f} s\n{ends}")
            time.sleep(0.3)

    def _all_alive(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise AirflowError(f"{name} ended with code {process.returncode}:\n{self._end_of_log(name)}")

    def _end_of_log(self, name: str, lines: int = 30) -> str:
        text = (self.home / "out" / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    # ------------------------------------------------------------------- stop

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop everything that was started."""
        self.stop()

    def stop(self) -> None:
        """Stop every process that :meth:`start` started, and what those left behind in their sessions."""
        try:
            started = time.monotonic()
            self._signal_running(signal.SIGTERM)
            self._wait_for_ends(started + SECOND_SIGTERM_AFTER)
            self._signal_running(signal.SIGTERM)
            self._wait_for_ends(started + SIGKILL_AFTER)
        finally:
            for process in self.processes.values():
                signal_session(process.pid, signal.SIGKILL)
                process.wait()
            self.processes.clear()
            self._session.close()
            self._restore_handlers()

    def _signal_running(self, number: signal.Signals) -> None:
        for process in self.processes.values():
            process.send_signal(number)  # does nothing once the process was seen to have ended

    def kill(self, name: str) -> None:
        """Send SIGKILL to a process and all that belongs to it, as when its machine is lost."""
        process = self.processes.pop(name)
        signal_session(process.pid, signal.SIGKILL)
        process.wait()

    def _wait_for_ends(self, deadline: float) -> None:
        while time.monotonic() < deadline and any(process.poll() is None for process in self.processes.values()):
            time.sleep(0.1)

    def _leave_through_exit_when_terminated(self) -> None:
        """Turn SIGTERM and SIGHUP into an exception: their default action would leave Airflow running."""
        with contextlib.suppress(ValueError):  # not the main thread: the signals are somebody else's
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._old_handlers[number] = signal.signal(number, _exit)

    def _restore_handlers(self) -> None:
        while self._old_handlers:
            signal.signal(*self._old_handlers.popitem())

    def busy_slots(self, name: str = "scheduler") -> int:
        """Return how many worker slots run a task now, as the operating system sees it.

        LocalExecutor's workers are the scheduler's children, those of Celery their worker's, and a task is a child of the one
        that runs it.

        :param name: the scheduler's process, or a Celery worker's.
        """
        busy = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for worker in psutil.Process(self.processes[name].pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    busy += len(worker.children())
        return busy

    # --------------------------------------------------------------- database

    @functools.cached_property
    def database(self) -> sqlalchemy.Engine:
        """Airflow's own database, for what its REST API does not tell; read it, and let go of it at once."""
        return sqlalchemy.create_engine(self.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], poolclass=sqlalchemy.NullPool)

    def read(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of an SQL query as dicts."""
        with self.database.connect() as connection:
            return [dict(row) for row in connection.execute(sqlalchemy.text(query)).mappings()]

    def triggerer_jobs(self) -> list[int]:
        """Return the job ids of all triggerers that were ever started, the oldest first."""
        return [row["id"] for row in self.read("SELECT id FROM job WHERE job_type = 'TriggererJob' ORDER BY id")]

    # --------------------------------------------------------------- REST API

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Send a request below ``/api/v2`` and return the decoded JSON.

        :raises AirflowError: there was no answer, or it was an error; its text is in the message.
        """
        try:
            if "Authorization" not in self._session.headers:
                token = self._session.get(f"{self.url}/auth/token", timeout=ANSWER_WITHIN).json()["access_token"]
                self._session.headers["Authorization"] = f"Bearer {token}"
            reply = self._session.request(method, f"{self.url}/api/v2{path}", timeout=ANSWER_WITHIN, **options)
        except requests.RequestException as error:
            self._all_alive()
            raise AirflowError(f"{method} {path} got no answer: {error}\n{self._end_of_log('api-server')}") from error
        if not reply.ok:
            end = f"\n{self._end_of_log('api-server')}" if reply.status_code >= 500 else ""
            raise AirflowError(f"{method} {path} answered {reply.status_code}: {reply.text[:1000]}{end}")
        return reply.json()

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Wait until the DAG is parsed, start a run of it and return the run's id.

        :raises AirflowError: as :meth:`wait_for_dag`.
        """
        self.wait_for_dag(dag_id)
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until the DAG is parsed.

        :raises AirflowError: a file cannot be imported (its traceback is in the message), or the DAG was not parsed in time.
        """
        self._wait_until(f"parsed: DAG {dag_id!r}", lambda: self._is_parsed(dag_id), PARSED_WITHIN)

    def _is_parsed(self, dag_id: str) -> bool:
        for error in self.api("GET", "/importErrors")["import_errors"]:
            raise AirflowError(f"{error['filename']} cannot be imported:\n{error['stack_trace']}")
        return any(dag["dag_id"] == dag_id for dag in self.api("GET", "/dags", params={"limit": 1000})["dags"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the run's state in Airflow's words: queued, running, success, failed."""
        return str(self.api("GET", _run_path(dag_id, run_id))["state"])

    def wait(self, dag_id: str, run_id: str, timeout: float) -> str:
        """Wait until the run ends and return its state, ``"success"`` or ``"failed"``.

        :param timeout: in seconds.
        :raises AirflowError: the run did not end in time, or one of Airflow's processes ended.
        """
        claim = f"finished: run {run_id} of {dag_id}"
        self._wait_until(claim, lambda: self.run_state(dag_id, run_id) in FINAL_RUN_STATES, timeout)
        return self.run_state(dag_id, run_id)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a run as the API gives them, mapped ones one by one."""
        reply = self.api("GET", f"{_run_path(dag_id, run_id)}/taskInstances", params={"limit": 1000})
        return list(reply["task_instances"])

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, states: Collection[str], timeout: float) -> dict[str, Any]:
        """Wait until a task that is not mapped has one of these states, and return its instance.

        :param timeout: in seconds.
        :raises AirflowError: it did not get there in time, or one of Airflow's processes ended.
        """

        def instance() -> dict[str, Any]:
            return next(one for one in self.task_instances(dag_id, run_id) if one["task_id"] == task_id)

        claim = f"{' or '.join(states)}: {task_id} of run {run_id} of {dag_id}"
        self._wait_until(claim, lambda: instance()["state"] in states, timeout)
        return instance()

    def pool(self, name: str = "default_pool") -> dict[str, Any]:
        """Return a pool's numbers: ``running_slots``, ``queued_slots``, ``deferred_slots``, ``occupied_slots``."""
        return dict(self.api("GET", f"/pools/{quote(name, safe='')}"))

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """Return an XCom's value, decoded."""
        path = f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{quote(key, safe='')}"
        return self.api("GET", path, params={"map_index": map_index})["value"]

    def links(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> dict[str, str | None]:
        """Return a task instance's extra links, by name."""
        path = f"{_task_path(dag_id, run_id, task_id)}/links"
        return dict(self.api("GET", path, params={"map_index": map_index})["extra_links"])

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Return a try's log, worker and triggerer lines together, one message a line."""
        lines = self.task_log_entries(dag_id, run_id, task_id, try_number=try_number, map_index=map_index)
        return "\n".join(str(line["event"]) for line in lines)

    def task_log_entries(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1
    ) -> list[dict[str, Any]]:
        """Return a try's log as the API gives it: messages (``event``), and what belongs to them, as ``error_detail``."""
        path = f"{_task_path(dag_id, run_id, task_id)}/logs/{try_number}"
        content = self.api("GET", path, params={"map_index": map_index, "full_content": True})["content"]
        return [line if isinstance(line, dict) else {"event": line} for line in content]

    def failures(self, dag_id: str, run_id: str) -> str:
        """Return the ends of the failed tasks' logs, to be read by whoever sees the test fail."""
        texts = []
        for instance in self.task_instances(dag_id, run_id):
            if instance["state"] not in ("failed", "up_for_retry"):
                continue
            log = self.task_log(
                dag_id,
                run_id,
                instance["task_id"],
                try_number=instance["try_number"],
                map_index=instance["map_index"],
            )
            end = "\n".join(log.splitlines()[-20:])
            texts.append(f"--- {instance['task_id']} [{instance['map_index']}] {instance['state']}\n{end}")
        return "\n".join(texts) or "no task failed"


def free_ports(count: int) -> list[int]:
    """Return distinct loopback ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def inherited_environment() -> dict[str, str]:
    """Return this process's environment without its Airflow settings, and with loopback kept away from any proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, (kept.get(name), "127.0.0.1", "localhost")))
    return kept


def signal_session(session: int, number: signal.Signals) -> None:
    """Send a signal to every process of a session that :meth:`RealAirflow.start` opened."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                os.kill(pid, number)


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
