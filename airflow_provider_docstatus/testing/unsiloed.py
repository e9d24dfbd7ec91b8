"""
Unsiloed, played from its recorded replies, and what these cannot hold: generic routes for every job, and many jobs at once.

Pages: ``https://docs.unsiloed.ai/api-reference/`` (their source: ``Unsiloed-AI/docs_v2``). SDK: ``unsiloed-sdk`` 0.1.7.

The routes for many jobs follow the first version of the vendor's page (``api-reference/jobs/status.mdx``, July 2025), since
withdrawn.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web

from airflow_provider_docstatus.testing import rewriting
from airflow_provider_docstatus.testing.jobs import INVOICE, Desk, Job, timestamp
from airflow_provider_docstatus.testing.playing import list_reply, listed, play
from airflow_provider_docstatus.testing.recorded import Recorded
from airflow_provider_docstatus.testing.recordings import FOLDER, Place, Recording, Reply
from airflow_provider_docstatus.testing.vendor import DESK, detail, link, missing, parsed_json

#: What the generic family calls each operation; it sees the jobs of all.
TYPE = {"extract": "extraction", "parse": "chunking", "classify": "classification", "split": "splitting", "job": "extraction"}
BATCH_WORDS = {"waiting": "queued", "running": "processing", "review": "completed", "partial": "completed_with_failures"}
#: Recorded for other cases than the usual course of a job.
NOT_ON_THE_WAY = {"a parse whose file was not sent", "a queued parse", "a generic job as the specification has it"}
MOST_LISTED = 100


class Parts(NamedTuple):
    """The parts that a submit needs: JSON in one, and a file or a link; and the code and ``detail`` it is refused with."""

    file: str
    link: str
    without_file: tuple[int, object]
    json: str = ""
    without_json: tuple[int, object] = (0, "")


PARTS = {
    "/v2/extract": Parts(
        "pdf_file", "file_url", missing("pdf_file"), "schema_data", (400, "Invalid schema data: Not a valid JSON")
    ),
    "/parse": Parts("file", "url", missing("file")),
    "/classify": Parts(
        "pdf_file", "file_url", (400, "Either pdf_file or file_url must be provided"), "categories", missing("categories")
    ),
    "/splitter": Parts(
        "file",
        "file_url",
        (400, "Either file or file_url must be provided"),
        "categories",
        (400, "Classes parameter is required"),
    ),
}


class Course(Recording):
    """The recording; a job at work takes the usual course."""

    def running(self, kind: str, among: Iterable[Reply] = (), recorded_id: str = "") -> list[Reply]:
        """Return the replies of a job at work in their order."""
        return [reply for reply in super().running(kind, among, recorded_id) if reply.name not in NOT_ON_THE_WAY]


class Unsiloed(Recorded):
    """Unsiloed: a route and a vocabulary for each operation, and the generic ``/jobs`` family."""

    def __init__(self) -> None:
        super().__init__(Course.read(FOLDER / "unsiloed.json"))
        self.KEY_HEADERS = [*self.KEY_HEADERS, "X-API-Key"]
        self.WORDS = {kind: self.WORDS[kind] for kind in (*TYPE, "batch")}

    def key_is_right(self, request: web.Request, desk: Desk) -> bool:
        """Tell whether the key is right; only the generic family looks into ``X-API-Key`` too."""
        is_in_other = is_generic(request) and request.headers.get("X-API-Key") == desk.keys[self.NAME]
        return is_in_other or super().key_is_right(request, desk)

    def refuse(self, request: web.Request, desk: Desk) -> web.Response | None:
        """Refuse a wrong key, and the routes for many jobs where they do not exist."""
        refused = None if desk.unsiloed_keyless_jobs and is_generic(request) else super().refuse(request, desk)
        is_for_many = request.path in {"/jobs", "/jobs/status"} or request.path.startswith("/jobs/batch/")
        if refused is not None or desk.unsiloed_many is True or not is_for_many:
            return refused
        status = HTTPStatus(desk.unsiloed_many)
        is_taken_for_an_id = status is HTTPStatus.NOT_FOUND and request.path == "/jobs/status"
        return detail(status, "Job status not found" if is_taken_for_an_id else status.phrase)

    def prepare(self, job: Job) -> Job:
        """Keep the invoice in extractions only, and the error text."""
        if job.kind != "extract" and job.content == INVOICE:
            job.content = {}
        return job

    def found(self, request: web.Request, kinds: Collection[str]) -> Job | None:
        """Return the job asked for: on the generic routes that of any operation, in their words."""
        job = super().found(request, TYPE if "job" in kinds else kinds)
        if job and "job" in kinds:
            return self._with_result(job) if request.path.endswith("/result") else generic(job)
        if job and job.kind == "extract":
            return replace(job, content=extracted(job.content))
        if job and job.kind == "parse" and job.state(time.time()) == "completed":
            return replace(job, reply={**job.content, **job.reply})
        return job

    def stored(self, request: web.Request, job: Job, name: str) -> web.Response:  # noqa: ARG002 (a parse has one file)
        """Hand out the chunks of a parse."""
        return web.json_response(dict(job.content) or self.recording.data(job.kind)[0])

    async def answer(self, place: Place, request: web.Request) -> web.Response:
        """Check a submit; answer for many jobs; leave out declined chunks."""
        parts = await request.post()
        complaint = complaint_about(PARTS[place[1]], parts) if request.method == "POST" else None
        if complaint:
            return detail(*complaint)
        if place[1] == "/jobs":
            return self._list(request)
        if place[1] == "/jobs/status" and "job_ids" in request.query:
            return await self._several(place, request)
        batch = self.found(request, ["batch"]) if "batch_id" in request.match_info else None
        if batch and batch.documents:
            return self._batch(batch)
        answer = await super().answer(place, request)
        return without_chunks(request, answer) if place[1] == "/parse/{job_id}" and answer.status == HTTPStatus.OK else answer

    async def accepted(self, request: web.Request, jobs: Sequence[Job], answer: web.Response) -> web.Response:  # noqa: ARG002
        """Say whether tables are merged, as asked."""
        asked = (await request.post()).get("merge_tables", "")
        return changed(answer, {"merge_tables": str(asked).lower() == "true"}) if request.path == "/parse" else answer

    def _with_result(self, job: Job) -> Job:
        """Return a job whose content is what the generic route hands out as its result."""
        sample = self.recording.data("job")[0]
        if job.kind in {"extract", "job"}:
            own = {**sample, "data": extracted(job.content)} if job.content else sample
        else:
            own = {"processing_time": sample["processing_time"], **(job.content or self.recording.data(job.kind)[0])}
        return replace(generic(job), content=own, reply={})

    async def _several(self, place: Place, request: web.Request) -> web.Response:
        """Answer for a comma-separated list of ids, of which the unknown ones are left out."""
        recording, desk = self.played(request.app[DESK]), request.app[DESK]
        jobs = [desk.find(self.NAME, one, *TYPE) for one in request.query["job_ids"].split(",")]
        return await list_reply(request, recording, recording.places[place], [generic(job) for job in jobs if job])

    def _list(self, request: web.Request) -> web.Response:
        """List jobs, the newest first, by status, operation, time and tags."""
        query, desk = request.query, request.app[DESK]
        try:
            limit, offset = int(query.get("limit", 50)), int(query.get("offset", 0))
            after, before = epoch(query.get("created_after"), 0.0), epoch(query.get("created_before"), float("inf"))
        except ValueError as error:
            return detail(422, [{"type": "value_error", "loc": ["query"], "msg": str(error), "input": None}])
        if not 1 <= limit <= MOST_LISTED or offset < 0:
            return detail(422, [{"type": "value_error", "loc": ["query", "limit"], "msg": "1 to 100", "input": limit}])
        tags, operation = set(filter(None, query.get("tags", "").split(","))), query.get("operation")
        fitting = [
            job
            for job in desk.jobs_of(self.NAME, *TYPE)
            if after < job.created_at < before and tags <= set(job.tags) and operation in (None, job.kind)
        ]
        recording = self.played(desk)
        reply = next(reply for reply in recording.replies if reply.ask == "list" and not reply.error)
        items = rewriting.list_with(reply.body, reply.ids) or []
        made = [
            {**listed(recording, reply, items, generic(job)), "operation": job.kind, "tags": list(job.tags)} for job in fitting
        ]
        for item, job in zip(made, fitting, strict=True):
            if not job.is_over(time.time()):
                item.pop("completed_at", None)
        found = [item for item in made if query.get("status", item["status"]).lower() == item["status"].lower()]
        pagination = {"total": len(found), "limit": limit, "offset": offset, "has_more": offset + limit < len(found)}
        body = {"jobs": found[offset : offset + limit], "pagination": pagination}
        return play(request, recording, reply, body=body)

    def _batch(self, batch: Job) -> web.Response:
        """Answer for a batch and all its jobs."""
        now = time.time()
        entries = [
            {"job_id": job.job_id, "status": batch_word(job, now), "operation": job.kind, "progress": percentage(job, now)}
            for job in batch.documents
        ]
        words = [entry["status"] for entry in entries]
        body = {
            "batch_id": batch.job_id,
            "status": batch_word(batch, now),
            "created_at": timestamp(batch.created_at),
            "total_jobs": len(words),
            "completed_jobs": words.count("completed"),
            "failed_jobs": words.count("failed"),
            "cancelled_jobs": words.count("cancelled"),
            "overall_progress": sum(percentage(job, now) for job in batch.documents) // len(words),
            "jobs": entries,
        }
        return web.json_response({**body, **batch.reply})


def is_generic(request: web.Request) -> bool:
    """Tell whether a request is for the family of routes that sees every job."""
    return request.path.startswith("/jobs")


def generic(job: Job) -> Job:
    """Return a job as the generic family shows it; it has no word for a review."""
    ends = "completed" if job.ends == "review" else job.ends
    recorded = job.recorded if job.kind == "job" else ""
    return replace(job, kind="job", ends=ends, recorded=recorded, content={}, reply={"type": TYPE[job.kind], **job.reply})


def extracted(content: Mapping[str, object]) -> dict[str, object]:
    """Return what the document says, each value with its score and its place on the page."""
    place = {"bbox": [72, 100, 400, 140], "type": "segment", "confidence": 0.98, "page_width": 672.0, "page_height": 1028.88}
    return {
        name: {"score": 0.98, "value": value, "bboxes": [place | {"text": str(value)}], "page_no": 1}
        for name, value in content.items()
    }


def complaint_about(needed: Parts, parts: Mapping[str, Any]) -> tuple[int, object] | None:
    """Return code and ``detail`` for a submit without what it needs, None for a good one."""
    if needed.json and parsed_json(parts.get(needed.json)) in (None, []):
        return needed.without_json
    has_file = isinstance(parts.get(needed.file), web.FileField) or parts.get(needed.link)
    return None if has_file else needed.without_file


def changed(answer: web.Response, fields: Mapping[str, object], without: str = "") -> web.Response:
    """Put fields into a JSON answer, and leave one out."""
    body = {**json.loads(answer.text or "{}"), **fields}
    body.pop(without, None)
    return web.json_response(body, status=answer.status)


def without_chunks(request: web.Request, answer: web.Response) -> web.Response:
    """Leave the chunks out of an answer if they are declined, or put a link to them in their place."""
    # The page has these as query parameters, the SDK sends the second as a header.
    as_file = request.query.get("output_file", request.headers.get("output-file", "false")) == "true"
    if '"chunks"' not in (answer.text or "") or not (as_file or request.query.get("include_chunks") == "false"):
        return answer
    linked = {"output_file_url": link(request, f"{request.match_info['job_id']}/output.json")}
    return changed(answer, linked if as_file else {}, without="chunks")


def epoch(text: str | None, default: float) -> float:
    """Return an ISO time as epoch seconds, the default for none; raise ValueError for another text."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else default


def batch_word(job: Job, now: float) -> str:
    """Return the word of a batch, or of a job in it."""
    return job.word or BATCH_WORDS.get(job.state(now), job.state(now))


def percentage(job: Job, now: float) -> int:
    """Return how much of the job is done."""
    return 100 if job.is_over(now) else int(100 * (now - job.created_at) / job.seconds)
