"""The jobs the stand-in vendors work on, and what can be chosen about the vendors: no HTTP, no thread.

A job's state follows from its age alone: it waits for the first fifth of its time, runs, and ends as it was
told to. Each vendor's file turns that state into the vendor's own word.
"""

from __future__ import annotations

import math
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Service = str

WAITING_SHARE = 0.2
SLOW_FACTOR = 4
ENDING_BY_FILE_NAME = {"fail": "failed", "corrupt": "failed", "partial": "partial", "review": "review", "cancel": "cancelled"}

INVOICE: dict[str, object] = {
    "invoice_number": "INV-2024-001",
    "date": "2024-12-16",
    "vendor_name": "Acme Corporation",
    "currency": "CHF",
    "total_amount": 1250.0,
    "line_items": [
        {"description": "Widget A", "quantity": 10, "price": 50.0},
        {"description": "Widget B", "quantity": 5, "price": 150.0},
    ],
}


@dataclass
class Job:
    """One piece of work a vendor was given; change a field while the server runs and the next answer follows.

    :param service: the vendor's name.
    :param kind: the name of the vendor's route: neurolinker ``request`` or ``document``; unsiloed ``extract``,
        ``parse``, ``classify``, ``split``, ``batch``, or ``job`` (known to the generic route only).
    :param job_id: the id the vendor hands out.
    :param seconds: how long the work takes; ``math.inf`` never ends.
    :param ends: ``completed``, ``failed``, and where the vendor has them ``partial``, ``review``,
        ``cancelled``.
    :param file_name: the submitted file's name.
    :param pages: Neurolinker: the document's number of pages.
    :param size_bytes: the document's size.
    :param content: what the document says; each vendor wraps it in its own shape.
    :param error: what the vendor says when the job fails.
    :param created_at: epoch seconds of the submission; in the past for a job that is already old.
    :param hidden_seconds: for how long after the submission the id is still answered with 404.
    :param word: a status word to answer as it stands, instead of the one the state calls for.
    :param reply: fields put over the status answer as they stand.
    :param tags: the tags Unsiloed's list can filter by.
    :param recorded: the name of the recorded reply that the job ends with, where the vendor is played from its file.
    :param recorded_id: the id in the recorded answer to its submission; what else was recorded of that id is played first.
    :param submitted_as: Neurolinker: the route the document came in by: ``extract``, ``fields`` or
        ``scalars``.
    :param parent: Neurolinker: the request a document belongs to.
    :param documents: the documents of a Neurolinker request, or the jobs of an Unsiloed batch; their states
        make its own.
    """

    service: str
    kind: str
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    seconds: float = 2.0
    ends: str = "completed"
    file_name: str = "invoice.pdf"
    pages: int = 1
    size_bytes: int = 421050
    content: Mapping[str, object] = field(default_factory=lambda: dict(INVOICE))
    error: str = "Document is corrupted or unreadable"
    created_at: float = field(default_factory=time.time)
    hidden_seconds: float = 0.0
    word: str | None = None
    reply: Mapping[str, object] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    recorded: str = ""
    recorded_id: str = ""
    submitted_as: str = "extract"
    parent: str = ""
    documents: list[Job] = field(default_factory=list)

    @property
    def started_at(self) -> float:
        """Epoch seconds at which the waiting is over."""
        waiting = 0.0 if math.isinf(self.seconds) else WAITING_SHARE * self.seconds
        return self.created_at + waiting

    @property
    def ended_at(self) -> float:
        """Epoch seconds of the end; a request ends with its last document."""
        return max((document.ended_at for document in self.documents), default=self.created_at + self.seconds)

    def state(self, now: float) -> str:
        """Return ``waiting``, ``running``, or how the job ended."""
        if self.documents:
            return _state_of_many({document.state(now) for document in self.documents})
        if now >= self.ended_at:
            return self.ends
        return "running" if now >= self.started_at else "waiting"

    def is_over(self, now: float) -> bool:
        """Tell whether the work has ended, well or badly."""
        return now >= self.ended_at


def _state_of_many(states: set[str]) -> str:
    """Return the state of a request from the states of its documents."""
    if len(states) == 1:
        return next(iter(states))
    return "running" if states & {"waiting", "running"} else "partial"


@dataclass(kw_only=True, eq=False)
class Desk:
    """What the vendors share: how they behave, the keys they accept and the jobs they know.

    Every field can be given to ``StandInVendors`` and changed while it runs. Where a vendor's page, SDK and
    practice disagree, the default is what the vendor's current SDK does and the field is the other reading.

    :param job_seconds: how long submitted work takes.
    :param prefer: names of recorded replies that are played before others which mean the same, by vendors that are played
        from their file: another shape of the data, say, or a link to them.
    :param hidden_seconds: for how long a submitted id is answered with 404 first (seen by Neurolinker's SDK).
    :param keys: the accepted key of each vendor.
    :param jwt: the login token Aitronos accepts as ``Authorization: Bearer``.
    :param neurolinker_prefix: the prefix that exists; the other has no route. ``redirect``: ``/v1`` answers
        307 to ``/api/v1``.
    :param neurolinker_wrong_key: 401 or 403; the vendor's own smoke test accepts either.
    :param neurolinker_strict_ids: answer 422 to an id that is no UUID.
    :param neurolinker_counts_pending: count pending documents as ``processing``; no page says where they are
        counted.
    :param neurolinker_error_field: the field a failed document's error text is in; no page names one. Empty:
        no such field.
    :param unsiloed_many: whether the withdrawn routes for many jobs exist; a number is the code they answer
        instead.
    :param unsiloed_keyless_jobs: let the generic ``/jobs`` family answer without a key.
    """

    job_seconds: float = 2.0
    prefer: Collection[str] = ()
    hidden_seconds: float = 0.0
    keys: dict[str, str] = field(
        default_factory=lambda: {
            "neurolinker": "nl_stand_in",
            "aitronos": "ak_stand_in",
            "unsiloed": "us_stand_in",
        },
    )
    jwt: str = "jwt_stand_in"
    neurolinker_prefix: Literal["/v1", "/api/v1", "both", "redirect"] = "/v1"
    neurolinker_wrong_key: Literal[401, 403] = 401
    neurolinker_strict_ids: bool = False
    neurolinker_counts_pending: bool = True
    neurolinker_error_field: str = "error"
    unsiloed_many: Literal[True, 404, 405, 501] = True
    unsiloed_keyless_jobs: bool = False

    def __post_init__(self) -> None:
        """Start with no jobs."""
        self.jobs: dict[str, Job] = {}

    def keep(self, job: Job) -> Job:
        """Store a job, and a request's documents with it."""
        for document in job.documents:
            document.parent = job.job_id
            self.jobs[document.job_id] = document
        self.jobs[job.job_id] = job
        return job

    def find(self, service: Service, job_id: str, *kinds: str) -> Job | None:
        """Return a vendor's job by its id, or None if it is of another kind, still hidden or unknown."""
        job = self.jobs.get(job_id)
        if job is None or job.service != service or (kinds and job.kind not in kinds):
            return None
        return None if time.time() < job.created_at + job.hidden_seconds else job

    def jobs_of(self, service: Service, *kinds: str) -> list[Job]:
        """Return a vendor's jobs, the newest first."""
        known = (self.find(service, job_id, *kinds) for job_id in list(self.jobs))
        return sorted((job for job in known if job), key=lambda job: job.created_at, reverse=True)

    def submitted(self, service: Service, kind: str, file_name: str, possible_endings: Iterable[str]) -> Job:
        """Return a job for a submitted file, whose name says how it ends and whether it is slow."""
        name = file_name.lower()
        steered = [ending for part, ending in ENDING_BY_FILE_NAME.items() if part in name and ending in possible_endings]
        return Job(
            service=service,
            kind=kind,
            ends=(steered or ["completed"])[0],
            file_name=file_name,
            seconds=self.job_seconds * (SLOW_FACTOR if "slow" in name else 1),
            hidden_seconds=self.hidden_seconds,
        )


def timestamp(epoch_seconds: float, *, zone: str = "Z") -> str:
    """Return an ISO 8601 time in UTC, with the ending the vendor uses for it."""
    return datetime.fromtimestamp(epoch_seconds, tz=timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + zone


def last_segment(url: str) -> str:
    """Return the file name a submitted link ends in."""
    return url.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1] or "document.pdf"
