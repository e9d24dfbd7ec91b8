"""A real docling-serve on loopback, without model weights.

It converts HTML, Word, Excel and Markdown. What needs a model, a PDF say, fails: nothing is fetched from the model hub.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from typing_extensions import Self

from tests.e2e.real_airflow import free_ports, inherited_environment
from tests.live.samples import markdown

VENV = Path(__file__).parents[2] / ".venvs" / "live"
STARTED_WITHIN = 180.0
"""Seconds until it answers; 15 to 40 s on two cores, most of it imports."""
STOPPED_WITHIN = 15.0
ANSWERS_WITHIN = 30.0
MODEL_ANSWERS_WITHIN = 120.0
FINISHED_WITHIN = 60.0
"""Seconds a task may take; a first conversion takes a few, those after it less than one."""

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "DOCLING_SERVE_LOAD_MODELS_AT_BOOT": "false",
    "DOCLING_SERVE_ENABLE_REMOTE_SERVICES": "true",
    "DOCLING_SERVE_LOG_LEVEL": "INFO",
}
OPTIONS = {"pipeline": "vlm", "vlm_pipeline_model": "granite_vision_ollama"}
"""The default pipeline sets up the PDF models first, whatever the document; this one asks a server for them, if it must."""


class ServerError(Exception):
    """docling-serve does not start, does not answer, or a task of it does not end; the message shows the end of its log."""


class DoclingServe:
    """Start docling-serve on entering, stop it on leaving.

    :param folder: an empty folder for its log and its scratch files.
    :param environment: variables besides :data:`ENVIRONMENT`, for example ``DOCLING_SERVE_API_KEY``.
    :param venv: the virtual environment that holds it.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, *, venv: Path = VENV) -> None:
        self.folder = folder.resolve()
        self.venv = venv
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: value for name, value in inherited_environment().items() if not name.startswith(("DOCLING", "UVICORN"))}
        self.environment = {
            **kept,
            **ENVIRONMENT,
            "DOCLING_SERVE_SCRATCH_PATH": str(self.folder / "scratch"),
            **(environment or {}),
        }
        self.key = self.environment.get("DOCLING_SERVE_API_KEY")
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        :raises ServerError: it ended, or did not answer in time.
        """
        (self.folder / "scratch").mkdir(parents=True, exist_ok=True)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop it."""
        self.stop()
        self._session.close()

    def start(self) -> None:
        """Start it and wait until it answers, on the same port each time.

        :raises ServerError: it ended, or did not answer in time.
        """
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.venv / "bin" / "docling-serve", "run", "--host", "127.0.0.1", "--port", str(self.port)],
                env=self.environment,
                cwd=self.folder,  # it would read a file .env
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTED_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"docling-serve does not start:\n{self.end_of_log()}")
            time.sleep(0.3)

    def _answers(self) -> bool:
        try:
            return self._session.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """Stop it, and what it started: by SIGTERM, after a while by SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOPPED_WITHIN)

    def kill(self) -> None:
        """End it at once, as when its container is lost."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOPPED_WITHIN)
            self._process = None

    def end_of_log(self, lines: int = 40) -> str:
        """Return the last lines of its log."""
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-lines:])

    # ------------------------------------------------------------ its own API

    def ask(self, method: str, path: str, *, key: str | None = "", **more: Any) -> requests.Response:
        """Send one request; ``key`` is the server's own, or another one, or None for none."""
        key = self.key if key == "" else key
        headers = {**({} if key is None else {"X-Api-Key": key}), **more.pop("headers", {})}
        try:
            return self._session.request(method, self.url + path, headers=headers, timeout=ANSWERS_WITHIN, **more)
        except requests.RequestException as error:
            raise ServerError(f"{method} {path} got no answer: {error}\n{self.end_of_log()}") from error

    def submit(self, name: str, content: bytes, options: Mapping[str, str] = OPTIONS) -> str:
        """Submit a file and return the task's id.

        :raises ServerError: it was refused.
        """
        reply = self.ask("POST", "/v1/convert/file/async", files={"files": (name, content)}, data=options)
        if not reply.ok:
            raise ServerError(f"the submission of {name} was refused: {reply.status_code} {reply.text}")
        return str(reply.json()["task_id"])

    def word(self, task_id: str) -> str:
        """Return the task's status word, or the HTTP code and text of a refusal."""
        reply = self.ask("GET", f"/v1/status/poll/{task_id}")
        return str(reply.json()["task_status"]) if reply.ok else f"{reply.status_code} {reply.text}"

    def wait(self, task_id: str, *words: str) -> str:
        """Wait until the task's word is one of these, by default ``success`` or ``failure``, and return it.

        :raises ServerError: it was not, within :data:`FINISHED_WITHIN`, or the server refused to tell.
        """
        deadline = time.monotonic() + FINISHED_WITHIN
        while (word := self.word(task_id)) not in (words or ("success", "failure")):
            if word not in ("pending", "started") or time.monotonic() > deadline:
                raise ServerError(f"task {task_id}: {word}\n{self.end_of_log()}")
            time.sleep(0.2)
        return word


def model_at(port: int, timeout: float = 10.0) -> dict[str, str]:
    """Return the options that send a PDF's pages to a model behind a loopback port; ``timeout`` is in seconds."""
    model = {
        "url": f"http://127.0.0.1:{port}/v1/chat/completions",
        "params": {"model": "stand-in"},
        "timeout": timeout,
        "prompt": "Convert this page to Markdown.",
        "response_format": "markdown",
    }
    return {"pipeline": "vlm", "vlm_pipeline_model_api": json.dumps(model)}


@contextlib.contextmanager
def slow_model(most_seconds: float = MODEL_ANSWERS_WITHIN) -> Iterator[tuple[dict[str, str], threading.Event]]:
    """Run a stand-in for a vision model that does not answer until the event is set: a PDF's task stays ``started`` so long.

    :return: the options that send a PDF's pages to it, and the event. It reads the same text in every page.
    """
    answers = threading.Event()

    class Model(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answers.wait(most_seconds)
            message = {"role": "assistant", "content": markdown().decode()}
            body = json.dumps(
                {
                    "id": "1",
                    "created": 1,
                    "model": "stand-in",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                }
            ).encode()
            with contextlib.suppress(ConnectionError):  # its server was stopped meanwhile
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model_at(server.server_address[1], most_seconds + 10), answers
    finally:
        answers.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
