"""The server: one web application for all vendors, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from aiohttp import web

from airflow_provider_docstatus.testing import neurolinker
from airflow_provider_docstatus.testing.aitronos import Aitronos
from airflow_provider_docstatus.testing.jobs import Desk, Job, Service
from airflow_provider_docstatus.testing.recorded import Recorded, check_names
from airflow_provider_docstatus.testing.recordings import Recording, installed
from airflow_provider_docstatus.testing.routing import SURE, Asked, certainty, is_a_path, whom
from airflow_provider_docstatus.testing.trouble import Fault, Limit, Refusal
from airflow_provider_docstatus.testing.unsiloed import Unsiloed
from airflow_provider_docstatus.testing.vendor import DESK, Vendor, no_route

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Self

__all__ = ["Fault", "Job", "Limit", "RequestRecord", "StandInVendors"]

STORED = re.compile("/storage/([^/]+)/([^/]+)")

SPECIAL: tuple[Vendor, ...] = (neurolinker, Aitronos(), Unsiloed())
LARGEST_UPLOAD = 100 * 1024 * 1024
START_SECONDS = 10.0


@dataclass
class RequestRecord:
    """One request as it arrived.

    :param time: epoch seconds of the arrival.
    :param connection: the client's address and port; equal for requests on one TCP connection.
    :param service: the vendor, None for the storage and for unknown paths.
    :param key_ok: whether the vendor's key was sent; None where no vendor is asked.
    :param status: the code answered; 0 until then and after hanging up.
    """

    time: float
    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    connection: str
    service: str | None
    key_ok: bool | None
    status: int = 0


@dataclass(kw_only=True, eq=False)
class StandInVendors(Desk):
    """All vendors on one loopback port, until the ``with`` block ends.

    The connections it hands out let unchanged DAGs talk to it. What a submitted file is called says how its
    job ends: a name with ``fail`` or ``corrupt`` fails, ``partial`` makes a Neurolinker request with one
    failed document, ``review`` and ``cancel`` end so where the vendor has such a word, ``slow`` takes four
    times as long; anything else completes.

    The vendors' own switches are those of ``Desk``.

    :param replies: files of recorded replies, or what such a file holds, of further services (``recordings.py`` has the
        format). Each is played under its ``service`` name with the key ``<name>_stand_in``.
    :param latency: seconds every answer takes.
    :param port: the port to listen on; 0 for any free one, which is kept over ``stop()`` and ``start()``.
    :param ssl_context: serve HTTPS with this server-side context.
    :raises OSError: from ``start()`` or the ``with`` line, when the port is taken; at once, when a file of replies is missing.
    :raises ValueError: when a file of replies is none, or when no reply has a name in ``prefer``.
    """

    replies: Sequence[Mapping[str, Any] | str | Path] = ()
    latency: float = 0.0
    port: int = 0
    ssl_context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """Begin with no jobs, no faults and no limits."""
        super().__post_init__()
        self.vendors: dict[str, Vendor] = {vendor.NAME: vendor for vendor in SPECIAL}
        for recording in installed():
            self.vendors.setdefault(recording.service, Recorded(recording))
        for given in self.replies:
            recording = Recording.read(given)
            self.vendors[recording.service] = Recorded(recording)
        check_names(self.prefer, self.vendors.values())
        for name, vendor in self.vendors.items():
            self.keys.setdefault(name, f"{name}_stand_in" if vendor.KEY_HEADERS else "")
        self.requests: list[RequestRecord] = []
        self._faults: list[Fault] = []
        self._limits: dict[str, Limit] = {}
        self._thread: threading.Thread | None = None
        self._stop = _nothing

    def __enter__(self) -> Self:
        """Start the server and return it."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def url(self) -> str:
        """Where the server listens, without a trailing slash."""
        return f"{'https' if self.ssl_context else 'http'}://127.0.0.1:{self.port}"

    @property
    def connections_opened(self) -> int:
        """How many TCP connections have carried at least one request."""
        return len({record.connection for record in list(self.requests)})

    def connections(self) -> dict[str, dict[str, str]]:
        """Return an Airflow connection for each vendor, by its connection id; one that wants no key has no password."""
        return {
            f"{name}_default": {"conn_type": name, "host": self.url} | ({"password": key} if key else {})
            for name, key in self.keys.items()
        }

    def environment(self) -> dict[str, str]:
        """Return the connections as the environment variables Airflow reads them from."""
        return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in self.connections().items()}

    def start(self) -> None:
        """Start serving; return once requests are answered."""
        listening: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)), name="stand-in-vendors", daemon=True)
        self._thread.start()
        self.port = listening.result(START_SECONDS)

    def stop(self) -> None:
        """Stop serving and free the port; jobs, faults and records are kept."""
        self._stop()
        self._stop = _nothing
        if self._thread:
            self._thread.join()
            self._thread = None

    def add_job(
        self,
        service: Service,
        kind: str = "",
        *,
        job_id: str | None = None,
        seconds: float | None = None,
        ends: str = "completed",
        documents: int | Sequence[str | Job] = 1,
        **fields: object,
    ) -> str:
        """Create a job without submitting anything, and return its id.

        :param kind: as in ``Job``; by default the vendor's first.
        :param job_id: the id; by default a new one.
        :param seconds: how long it takes; by default ``job_seconds``. 0 is over at once, ``math.inf`` never.
        :param ends: how it ends: a word of ``Job.ends``.
        :param documents: Neurolinker request: how many documents, or each one as its ending or as a ``Job``.
        :param fields: any further field of ``Job`` (``word``, ``reply``, ``content``, ``error``,
            ``file_name``, ``created_at``...); a request hands those that describe a document on to its
            documents.
        :raises ValueError: when the vendor has no such kind, its kind no such ending, or its file no reply called ``recorded``.
        """
        vendor = self._vendor(service)
        kind = kind or next(iter(vendor.WORDS))
        self._check(service, kind, ends)
        for one in documents if isinstance(documents, Sequence) else ():
            if isinstance(one, str):
                self._check(service, "document", one)
        check_names([str(fields[name]) for name in fields if name == "recorded"], [vendor], kind)
        details = {"seconds": self.job_seconds if seconds is None else seconds, **fields}
        if job_id is not None:
            details["job_id"] = job_id
        if isinstance(vendor, Recorded):
            details.setdefault("job_id", vendor.new_id(kind))
            return self.keep(vendor.prepare(Job(service, kind, ends=ends, **details))).job_id  # type: ignore[arg-type]  # any field
        if service != "neurolinker":
            return self.keep(Job(service, kind, ends=ends, **details)).job_id  # type: ignore[arg-type]  # any field of Job
        request, made_id = neurolinker.made(kind, ends, documents, details)
        self.keep(request)
        return made_id

    def add_batch(self, job_ids: Sequence[str], batch_id: str | None = None) -> str:
        """Group jobs of one vendor for its batch route (of Unsiloed's the withdrawn one), and return the batch's id."""
        members = [self.jobs[job_id] for job_id in job_ids]
        vendor = self._vendor(members[0].service)
        batch = Job(vendor.NAME, "batch", documents=members)
        new_id = vendor.new_id("batch") if isinstance(vendor, Recorded) else f"batch_{batch.job_id}"
        batch.job_id = batch_id or new_id
        return self.keep(batch).job_id

    def finish(self, job_id: str, ends: str | None = None) -> None:
        """End a job, or all documents of a request, now.

        :param ends: how; by default as planned.
        """
        job = self.jobs[job_id]
        for one in job.documents or [job]:
            self._check(one.service, one.kind, ends or one.ends)
            one.ends, one.seconds = ends or one.ends, max(0.0, time.time() - one.created_at)

    def forget(self, job_id: str) -> None:
        """Lose a job, as a vendor does when its results expire: its id is unknown from now on."""
        del self.jobs[job_id]

    def answer_next(
        self,
        status: int | None = 503,
        *,
        body: object = "",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        times: float = 1,
        path: str | None = None,
        delay: float = 0.0,
        cut_off: bool = False,
        reset: bool = False,
        megabytes: int = 0,
        redirect_to: str | None = None,
    ) -> Fault:
        """Answer the next matching requests with a fault instead of the truth.

        The parameters are the fields of ``Fault``; several faults are used up in the order they were asked
        for. Limits, keys and latency do not apply to a request that is not left to the vendor.

        :returns: the fault; its ``times`` tells how often it is still to be used.
        """
        fault = Fault(
            status=status,
            body=body,
            headers=headers or {},
            content_type=content_type,
            times=times,
            path=path,
            delay=delay,
            cut_off=cut_off,
            reset=reset,
            megabytes=megabytes,
            redirect_to=redirect_to,
        )
        self._faults.append(fault)
        return fault

    def answer_truly(self) -> None:
        """Forget all faults and limits."""
        self._faults.clear()
        self._limits.clear()

    def limit(
        self,
        service: Service,
        per_minute: float,
        *,
        retry_after: str | None = "auto",
        reason: Literal["rate", "quota", "payment"] = "rate",
        path: str | None = None,
        window: float = 60.0,
    ) -> Limit:
        """Limit a vendor's requests; one too many gets the vendor's own answer.

        The parameters are the fields of ``Limit``.

        :returns: the limit; its ``refused`` counts the refusals.
        """
        self._limits[service] = Limit(per_minute, retry_after, reason, path, window)
        return self._limits[service]

    async def _serve(self, listening: Future[int]) -> None:
        """Serve until ``_stop`` is called; report the port, or why there is none."""
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self.ssl_context).start()
        except OSError as error:
            listening.set_exception(error)
        else:
            self._stop = lambda: _set(loop, stopping)
            listening.set_result(runner.addresses[0][1])
            await stopping.wait()
        await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=LARGEST_UPLOAD)
        application[DESK] = self
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request and keep a record of it, whatever becomes of it."""
        asked = whom(self.vendors.values(), request, self)
        vendor = asked.vendor if asked else None
        peer = request.transport.get_extra_info("peername") if request.transport else None
        record = RequestRecord(
            time=time.time(),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers=request.headers.copy(),
            connection=f"{peer[0]}:{peer[1]}" if peer else "gone",
            service=vendor.NAME if vendor else None,
            key_ok=vendor.key_is_right(request, self) if vendor else None,
        )
        self.requests.append(record)
        response: web.StreamResponse | None
        try:
            response = await self._disturbed(request)
            if response is None:  # in aiohttp 3.9 an answer is false
                response = await self._undisturbed(request, asked)
        except web.HTTPException as error:
            response = _in_envelope(error)
        hung_up = request.transport is None or request.transport.is_closing()
        record.status = 0 if hung_up else response.status
        return response

    async def _disturbed(self, request: web.Request) -> web.StreamResponse | None:
        """Answer with the first fault that concerns the request; otherwise take the latency."""
        fault = next((fault for fault in list(self._faults) if fault.concerns(request)), None)
        answer = await fault.answer(request) if fault else None
        if answer is None:
            await asyncio.sleep(self.latency)
        return answer

    async def _undisturbed(self, request: web.Request, asked: Asked | None) -> web.StreamResponse:
        """Let the vendor check path and key, then its limit, then answer."""
        request.match_info.clear()
        if asked is None:
            return self._nowhere(request)
        request.match_info.update(asked.ids)
        vendor, limit, refusal = asked.vendor, self._limits.get(asked.vendor.NAME), None
        response: web.StreamResponse | None = vendor.refuse(request, self)
        if response is None and limit and not limit.allows(request):
            refusal = Refusal.of(limit)
            response = vendor.over_limit(request, refusal)
        if response is None:
            response = await asked.handler(request)
        response.headers.update(vendor.headers(refusal))
        return response

    def _nowhere(self, request: web.Request) -> web.Response:
        """Answer for a path of no vendor: a stored file, another method, or in the words of the vendor whose key is sent."""
        stored = STORED.fullmatch(request.rel_url.raw_path)
        if stored and request.method == "GET":
            return self._stored(request, *map(unquote, stored.groups()))
        if is_a_path(self.vendors.values(), request):
            return _in_envelope(web.HTTPMethodNotAllowed(request.method, ()))
        played = (vendor for vendor in self.vendors.values() if isinstance(vendor, Recorded))
        asked = next((vendor for vendor in played if certainty(vendor, request, self) == SURE), None)
        return asked.no_route(request) if asked else no_route()

    def _stored(self, request: web.Request, job_id: str, name: str) -> web.Response:
        """Hand out a result's file to whoever has the link."""
        job = self.jobs.get(job_id)
        vendor = self.vendors[job.service] if job else None
        if job and isinstance(vendor, Recorded):
            return vendor.stored(request, job, name)
        return web.json_response(dict(job.content)) if job else no_route()

    def _vendor(self, service: str) -> Vendor:
        """Return a vendor by its name; raise ValueError if there is none."""
        if service not in self.vendors:
            message = f"there is no stand-in for {service!r}; there is one for {', '.join(self.vendors)}"
            raise ValueError(message)
        return self.vendors[service]

    def _check(self, service: str, kind: str, ends: str) -> None:
        """Refuse a kind or an ending the vendor has no word for."""
        words = self._vendor(service).WORDS
        endings = set(words.get(kind, ())) - {"waiting", "running"}
        if not endings:
            message = f"{service} has no {kind!r}; it has {', '.join(words)}"
            raise ValueError(message)
        if ends not in endings:
            message = f"a {service} {kind} does not end {ends!r}; it ends {', '.join(sorted(endings))}"
            raise ValueError(message)


def _in_envelope(error: web.HTTPException) -> web.Response:
    """Return aiohttp's own refusals (no such route or method, too large) as FastAPI words them."""
    return web.json_response({"detail": error.reason}, status=error.status)


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set the event from another thread, unless the loop has ended by itself."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)


def _nothing() -> None:
    """Stop a server that does not run."""
