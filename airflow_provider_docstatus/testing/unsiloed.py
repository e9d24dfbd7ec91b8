"""Unsiloed as its pages and its SDK describe it: a route and a vocabulary for each operation.

Pages: ``https://docs.unsiloed.ai/api-reference/`` (their source: ``Unsiloed-AI/docs_v2``).
SDK: ``unsiloed-sdk`` 0.1.7.

The generic ``/jobs`` family sees every job, whichever operation made it. Its routes for many jobs, and the
shapes of their answers, follow the first version of the vendor's page (``Unsiloed-AI/docs_v2``,
``api-reference/jobs/status.mdx``, July 2025), since withdrawn.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_docstatus.testing.jobs import Desk, Job, Service, last_segment, timestamp
from airflow_provider_docstatus.testing.vendor import DESK, detail, link, missing_part, parsed_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_docstatus.testing.trouble import Refusal

NAME: Service = "unsiloed"
WORDS = {
    "extract": {
        "waiting": "queued",
        "running": "processing",
        "completed": "completed",
        "review": "review",
        "failed": "failed",
    },
    "parse": {
        "waiting": "Starting",
        "running": "Processing",
        "completed": "Succeeded",
        "failed": "Failed",
        "cancelled": "Cancelled",
    },
    "classify": {
        "waiting": "processing",
        "running": "processing",
        "completed": "completed",
        "failed": "failed",
    },
    "split": {"waiting": "processing", "running": "processing", "completed": "completed", "failed": "failed"},
    # The page of the generic route mixes the cases; it has no word for cancelled, but its list filter does.
    "job": {
        "waiting": "queued",
        "running": "PROCESSING",
        "completed": "COMPLETED",
        "review": "COMPLETED",
        "failed": "FAILED",
        "cancelled": "CANCELLED",
    },
    "batch": {
        "waiting": "queued",
        "running": "processing",
        "completed": "completed",
        "failed": "failed",
        "cancelled": "cancelled",
        "partial": "completed_with_failures",
    },
}
KEY_HEADERS = ("api-key", "X-API-Key")
MANY_WORDS = WORDS["batch"] | {"review": "completed"}
OPERATIONS = ("extract", "parse", "classify", "split", "job")
TYPE = {
    "extract": "extraction",
    "parse": "chunking",
    "classify": "classification",
    "split": "splitting",
    "job": "extraction",
}
QUOTA_REMAINING = 450
MOST_LISTED = 100


def key_is_right(request: web.Request, desk: Desk) -> bool:
    """Tell whether the key is right; only the generic family looks into ``X-API-Key`` too."""
    sent = {request.headers.get("api-key")}
    if _is_generic(request):
        sent.add(request.headers.get("X-API-Key"))
    return desk.keys[NAME] in sent


def refuse(request: web.Request, desk: Desk) -> web.Response | None:
    """Refuse a wrong key, and the routes for many jobs where they do not exist."""
    if not key_is_right(request, desk) and not (desk.unsiloed_keyless_jobs and _is_generic(request)):
        return _problem(request, 401, "Invalid API key")
    if desk.unsiloed_many is True or not _is_for_many(request):
        return None
    status = HTTPStatus(desk.unsiloed_many)
    if status is HTTPStatus.NOT_FOUND and request.path == "/jobs/status":  # "status" is taken for a job's id
        return detail(status, "Job status not found")
    return detail(status, status.phrase)


def _is_generic(request: web.Request) -> bool:
    return request.path.startswith("/jobs")


def _is_for_many(request: web.Request) -> bool:
    return request.path in {"/jobs", "/jobs/status"} or request.path.startswith("/jobs/batch/")


def over_limit(request: web.Request, refusal: Refusal) -> web.Response:
    """Answer 429 for the rate and for the billing cap, which differ in their text only, or 402."""
    if refusal.reason == "payment":
        quota = {"current": 1000, "limit": 1000, "remaining": 0}
        if request.path.startswith("/parse"):
            return _problem(request, 402, "Insufficient quota — not enough page credits remaining.")
        return detail(402, {"message": "Insufficient quota", "status": "QUOTA_EXCEEDED", "quota_data": quota})
    if refusal.reason == "quota":
        return _problem(request, 429, "Usage limit exceeded")
    answer = _problem(request, 429, "Rate limit exceeded")
    if refusal.retry_after:
        answer.headers["Retry-After"] = refusal.retry_after
    return answer


def headers(refusal: Refusal | None) -> Mapping[str, str]:  # noqa: ARG001 (none are documented)
    """Add nothing: no rate-limit header is documented."""
    return {}


def _problem(request: web.Request, status: int, text: str) -> web.Response:
    """Return an error: bare text on the parse routes, FastAPI's envelope elsewhere."""
    if not request.path.startswith("/parse"):
        return detail(status, text)
    if request.app[DESK].unsiloed_parse_errors == "json":
        return web.json_response(text, status=status)
    return web.Response(text=text, status=status)


async def submit_extract(request: web.Request) -> web.Response:
    """Accept ``pdf_file`` or ``file_url`` with a schema."""
    parts = await request.post()
    if not isinstance(parsed_json(parts.get("schema_data")), dict):
        return detail(400, "Invalid schema data: Not a valid JSON")
    job = _accept(request, "extract", parts.get("pdf_file"), parts.get("file_url"))
    if job is None:
        return detail(
            422,
            [{"type": "value_error", "loc": ["body", "pdf_file"], "msg": "File is required", "input": None}],
        )
    return web.json_response(_accepted(job, "PDF citation processing started"))


async def submit_parse(request: web.Request) -> web.Response:
    """Accept ``file`` or ``url``."""
    parts = await request.post()
    job = _accept(request, "parse", parts.get("file"), parts.get("url"))
    if job is None:
        return missing_part("file")
    text = "Task created successfully. Use GET /parse/{job_id} to check status and retrieve results."
    return web.json_response(
        _accepted(job, text)
        | {
            "file_name": job.file_name,
            "created_at": timestamp(job.created_at),
            "credit_used": job.pages,
            "merge_tables": str(parts.get("merge_tables", "")).lower() == "true",
        },
    )


async def submit_classify(request: web.Request) -> web.Response:
    """Accept ``pdf_file`` or ``file_url`` with categories."""
    parts = await request.post()
    if not parsed_json(parts.get("categories")):
        return missing_part("categories")
    job = _accept(request, "classify", parts.get("pdf_file"), parts.get("file_url"))
    if job is None:
        return detail(400, "Either pdf_file or file_url must be provided")
    return web.json_response(_accepted(job, "Classification started"), status=202)


async def submit_split(request: web.Request) -> web.Response:
    """Accept ``file`` or ``file_url`` with categories."""
    parts = await request.post()
    if not parsed_json(parts.get("categories")):
        return detail(400, "Classes parameter is required")
    job = _accept(request, "split", parts.get("file"), parts.get("file_url"))
    if job is None:
        return detail(400, "Either file or file_url must be provided")
    return web.json_response(_accepted(job, "Splitting started"), status=202)


def _accept(request: web.Request, kind: str, file: object, url: object) -> Job | None:
    """Store the job for a submitted file or link; None if there is neither."""
    if isinstance(file, web.FileField):
        name = file.filename
    elif isinstance(url, str) and url:
        name = last_segment(url)
    else:
        return None
    desk = request.app[DESK]
    return desk.keep(desk.submitted(NAME, kind, name, WORDS[kind]))


def _accepted(job: Job, message: str) -> dict[str, object]:
    return {
        "job_id": job.job_id,
        "status": WORDS[job.kind]["waiting"],
        "message": message,
        "quota_remaining": QUOTA_REMAINING,
    }


async def extract_status(request: web.Request) -> web.Response:
    """Answer for an extraction, with its result once it is there."""
    job = request.app[DESK].find(NAME, request.match_info["job_id"], "extract")
    return web.json_response(extract_body(job, time.time())) if job else detail(404, "Job not found")


def extract_body(job: Job, now: float) -> dict[str, object]:
    """Return an extraction's status; a queued one has four fields only."""
    state, word = job.state(now), word_of(job, now)
    if state == "waiting":
        return _accepted(job, "PDF citation processing started") | {"status": word} | dict(job.reply)
    body: dict[str, object] = {
        "job_id": job.job_id,
        "status": word,
        "file_name": job.file_name,
        "file_url": None,
        "created_at": timestamp(job.created_at, zone="+00:00"),
        "updated_at": timestamp(updated_at(job, now), zone="+00:00"),
        "metadata": {"order": list(job.content), "schema": {"type": "object"}, "page_count": job.pages},
    }
    if state in {"completed", "review"}:
        body["result"] = extracted(job)
    if state == "failed":
        body["error"] = job.error
    return body | dict(job.reply)


def extracted(job: Job) -> dict[str, object]:
    """Return what the document says, each value with its score and its place on the page."""
    place = {
        "bbox": [72, 100, 400, 140],
        "type": "segment",
        "confidence": 0.98,
        "page_width": 672.0,
        "page_height": 1028.88,
    }
    return {
        name: {"score": 0.98, "value": value, "bboxes": [place | {"text": str(value)}], "page_no": 1}
        for name, value in job.content.items()
    }


async def parse_status(request: web.Request) -> web.Response:
    """Answer for a parse job; every finished answer carries all chunks unless they are declined."""
    job_id = request.match_info["job_id"]
    job = request.app[DESK].find(NAME, job_id, "parse")
    if job is None:
        return _problem(request, 404, f"Job {job_id} not found")
    body = parse_body(job, time.time())
    # The page has these as query parameters, the SDK sends the second as a header.
    as_file = request.query.get("output_file", request.headers.get("output-file", "false")) == "true"
    if as_file and "chunks" in body:
        body["output_file_url"] = link(request, f"{job_id}/output.json")
    if as_file or request.query.get("include_chunks", "true") == "false":
        body.pop("chunks", None)
    return web.json_response(body)


def parse_body(job: Job, now: float) -> dict[str, object]:
    """Return a parse job's status with its chunks."""
    state = job.state(now)
    body: dict[str, object] = {
        "job_id": job.job_id,
        "status": word_of(job, now),
        "created_at": timestamp(job.created_at),
        "metadata": {},
    }
    if state != "waiting":
        body["started_at"] = timestamp(job.started_at)
    if job.is_over(now):
        body["finished_at"] = timestamp(job.ended_at)
    if state == "failed":
        body["message"] = job.error
    if state == "completed":
        body |= {
            "message": "Task succeeded",
            "total_chunks": job.pages,
            "page_count": job.pages,
            "chunks": chunks(job),
            "pdf_url": None,
            "file_url": None,
            "file_name": job.file_name,
            "file_type": "application/pdf",
            "credit_used": job.pages,
            "configuration": {"ocr_strategy": "Auto", "segmentation_strategy": "LayoutAnalysis"},
            "merge_tables": False,
            "id": uuid.uuid5(uuid.NAMESPACE_URL, job.job_id).hex,
        }
    return body | dict(job.reply)


def chunks(job: Job) -> list[dict[str, object]]:
    """Return a chunk for each page, with what the document says as its text."""
    text = "\n".join(f"{name}: {value}" for name, value in job.content.items())
    return [
        {
            "chunk_id": f"{job.job_id}-{page}",
            "chunk_length": len(text),
            "embed": text,
            "segments": [
                {
                    "segment_type": "Text",
                    "content": text,
                    "page_number": page,
                    "confidence": 0.98,
                    "markdown": text,
                }
            ],
        }
        for page in range(1, job.pages + 1)
    ]


async def classify_status(request: web.Request) -> web.Response:
    """Answer for a classification."""
    job = request.app[DESK].find(NAME, request.match_info["job_id"], "classify")
    return web.json_response(classify_body(job, time.time())) if job else detail(404, "Job not found")


def classify_body(job: Job, now: float) -> dict[str, object]:
    """Return a classification's status; ``progress`` is free text."""
    state = job.state(now)
    texts = {"completed": "Classification completed", "failed": "Classification failed"}
    return {
        "job_id": job.job_id,
        "status": word_of(job, now),
        "progress": texts.get(state, f"Processing page 1 of {job.pages}"),
        "error": job.error if state == "failed" else None,
        "result": classification(job) if state == "completed" else None,
        **job.reply,
    }


def classification(job: Job) -> dict[str, object]:
    """Return the class of the document and of each page."""
    verdict = {"success": True, "classification": "invoice", "confidence": 0.94}
    pages = [{"page": page, "raw_result": "invoice", **verdict} for page in range(1, job.pages + 1)]
    return verdict | {"page_results": pages, "total_pages": job.pages, "processed_pages": job.pages}


async def split_status(request: web.Request) -> web.Response:
    """Answer for a split."""
    job = request.app[DESK].find(NAME, request.match_info["job_id"], "split")
    return web.json_response(split_body(job, request, time.time())) if job else detail(404, "Job not found")


def split_body(job: Job, request: web.Request, now: float) -> dict[str, object]:
    """Return a split's status; its ``progress`` still says it starts when completed, as in the sample."""
    state = job.state(now)
    body: dict[str, object] = {
        "job_id": job.job_id,
        "status": word_of(job, now),
        "progress": "Classification failed with error" if state == "failed" else "Starting document processing...",
        "file_url": link(request, f"{job.job_id}/{job.file_name}"),
        "file_name": job.file_name,
        "parameters": {"classes": ["Invoice", "Contract"]},
        "error": job.error if state == "failed" else None,
        "quota_remaining": QUOTA_REMAINING,
    }
    if state == "completed":
        body["result"] = split_files(job, request)
    return body | dict(job.reply)


def split_files(job: Job, request: web.Request) -> dict[str, object]:
    """Return the files a document was split into."""
    files = [
        {
            "name": f"{name}.pdf",
            "path": f"{name}.pdf",
            "type": "file",
            "fileId": str(uuid.uuid5(uuid.NAMESPACE_URL, job.job_id + name)),
            "full_path": link(request, f"{job.job_id}/{name}.pdf"),
            "confidence_score": 0.99,
        }
        for name in ("Invoice", "Contract")
    ]
    return {"success": True, "message": f"Successfully split PDF into {len(files)} files", "files": files}


async def generic_status(request: web.Request) -> web.Response:
    """Answer for a job of any operation, in the words of the generic route."""
    job_id = request.match_info["job_id"]
    job = request.app[DESK].find(NAME, job_id, *OPERATIONS)
    return web.json_response(generic_body(job, time.time())) if job else detail(404, f"Job {job_id} not found")


def generic_body(job: Job, now: float) -> dict[str, object]:
    """Return the nine fields of the generic route."""
    state = job.state(now)
    body: dict[str, object] = {
        "id": job.job_id,
        "status": job.word or WORDS["job"][state],
        "type": TYPE[job.kind],
        "created_at": timestamp(job.created_at),
        "updated_at": timestamp(updated_at(job, now)),
        "pdf_name": job.file_name,
        "pdf_hash": "sha256:" + hashlib.sha256(job.file_name.encode()).hexdigest(),
        "user_id": "stand-in-user",
    }
    if state == "failed":
        body["error"] = job.error
    return body | dict(job.reply)


async def generic_result(request: web.Request) -> web.Response:
    """Hand out a result by codes: 400 not finished, 500 failed, 404 unknown."""
    job_id, now = request.match_info["job_id"], time.time()
    job = request.app[DESK].find(NAME, job_id, *OPERATIONS)
    if job is None:
        return detail(404, f"Job {job_id} not found")
    if not job.is_over(now):
        return detail(400, f"Job {job_id} is still processing")
    if job.state(now) not in {"completed", "review"}:
        return detail(500, f"Job {job_id} failed: {job.error}")
    return web.json_response(result_of(job, request) | {"processing_time": round(job.ended_at - job.started_at, 3)})


def result_of(job: Job, request: web.Request) -> dict[str, object]:
    """Return an operation's result as the generic route hands it out."""
    if job.kind == "parse":
        return {"file_type": "pdf", "strategy": "semantic", "total_chunks": job.pages, "chunks": chunks(job)}
    if job.kind == "classify":
        return classification(job)
    if job.kind == "split":
        return split_files(job, request)
    return {"data": extracted(job), "detections": [], "citations": []}


async def many_status(request: web.Request) -> web.Response:
    """Answer for a comma-separated list of ids; an unknown one gets an entry with an error."""
    asked = request.query.get("job_ids", "")
    if not asked:
        return detail(422, [{"type": "missing", "loc": ["query", "job_ids"], "msg": "Field required", "input": None}])
    with_progress = request.query.get("include_progress", "").lower() == "true"
    now, desk = time.time(), request.app[DESK]
    entries = []
    for job_id in asked.split(","):
        job = desk.find(NAME, job_id, *OPERATIONS)
        entries.append(_many_entry(job, now, with_progress=with_progress) if job else _unknown_entry(job_id))
    return web.json_response({"jobs": entries})


def _many_entry(job: Job, now: float, *, with_progress: bool) -> dict[str, object]:
    generic = generic_body(job, now)
    names = ("type", "created_at", "updated_at", "error")
    entry = {"job_id": job.job_id, "status": many_word(job, now)} | {name: generic[name] for name in names if name in generic}
    if with_progress:
        entry["progress"] = {"percentage": percentage(job, now)}
    return entry


def _unknown_entry(job_id: str) -> dict[str, object]:
    return {"job_id": job_id, "status": None, "error": f"Job {job_id} not found"}


async def batch_status(request: web.Request) -> web.Response:
    """Answer for a batch and all its jobs."""
    batch_id, now = request.match_info["batch_id"], time.time()
    batch = request.app[DESK].find(NAME, batch_id, "batch")
    if batch is None:
        return detail(404, f"Batch {batch_id} not found")
    words = [many_word(job, now) for job in batch.documents]
    entries = [
        {"job_id": job.job_id, "status": word, "operation": job.kind, "progress": percentage(job, now)}
        for job, word in zip(batch.documents, words, strict=True)
    ]
    body = {
        "batch_id": batch_id,
        "status": many_word(batch, now),
        "created_at": timestamp(batch.created_at),
        "total_jobs": len(words),
        "completed_jobs": words.count("completed"),
        "failed_jobs": words.count("failed"),
        "cancelled_jobs": words.count("cancelled"),
        "overall_progress": sum(percentage(job, now) for job in batch.documents) // max(len(words), 1),
        "jobs": entries,
    }
    return web.json_response(body | dict(batch.reply))


async def list_jobs(request: web.Request) -> web.Response:
    """List jobs, the newest first, by status, operation, time and tags."""
    query, now = request.query, time.time()
    try:
        limit, offset = int(query.get("limit", 50)), int(query.get("offset", 0))
        after, before = (_epoch(query.get(name)) for name in ("created_after", "created_before"))
    except ValueError as error:
        return detail(422, [{"type": "value_error", "loc": ["query"], "msg": str(error), "input": None}])
    if not 1 <= limit <= MOST_LISTED or offset < 0:
        return detail(422, [{"type": "value_error", "loc": ["query", "limit"], "msg": "1 to 100", "input": limit}])
    tags = set(filter(None, query.get("tags", "").split(",")))
    found = [
        job
        for job in request.app[DESK].jobs_of(NAME, *OPERATIONS)
        if query.get("status", many_word(job, now)) == many_word(job, now)
        and query.get("operation", job.kind) == job.kind
        and (after is None or job.created_at > after)
        and (before is None or job.created_at < before)
        and tags <= set(job.tags)
    ]
    page = [_list_entry(job, now) for job in found[offset : offset + limit]]
    pagination = {
        "total": len(found),
        "limit": limit,
        "offset": offset,
        "has_more": offset + limit < len(found),
    }
    return web.json_response({"jobs": page, "pagination": pagination})


def _list_entry(job: Job, now: float) -> dict[str, object]:
    state = job.state(now)
    entry: dict[str, object] = {
        "job_id": job.job_id,
        "status": many_word(job, now),
        "operation": job.kind,
        "created_at": timestamp(job.created_at),
        "file_count": 1,
        "tags": list(job.tags),
    }
    if state in {"completed", "review"}:
        entry["completed_at"] = timestamp(job.ended_at)
    if state == "failed":
        entry["error_details"] = {"error_type": "file_corrupted", "message": job.error}
    return entry


def _epoch(text: str | None) -> float | None:
    """Return a query's ISO time as epoch seconds; raise ValueError if it is none."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None


def word_of(job: Job, now: float) -> str:
    """Return the operation's own word for where the job is."""
    return job.word or WORDS[job.kind][job.state(now)]


def many_word(job: Job, now: float) -> str:
    """Return the lower-case word of the routes for many jobs."""
    return job.word or MANY_WORDS[job.state(now)]


def updated_at(job: Job, now: float) -> float:
    """Return when the job last moved: it moves as long as it runs."""
    return min(now, job.ended_at)


def percentage(job: Job, now: float) -> int:
    """Return how much of the job is done."""
    return 100 if job.is_over(now) else int(100 * (now - job.created_at) / job.seconds)


ROUTES = [
    web.post("/v2/extract", submit_extract),
    web.post("/parse", submit_parse),
    web.post("/classify", submit_classify),
    web.post("/splitter", submit_split),
    web.get("/extract/{job_id}", extract_status),
    web.get("/parse/{job_id}", parse_status),
    web.get("/classify/{job_id}", classify_status),
    web.get("/splitter/{job_id}", split_status),
    web.get("/jobs", list_jobs),
    web.get("/jobs/status", many_status),
    web.get("/jobs/batch/{batch_id}", batch_status),
    web.get("/jobs/{job_id}", generic_status),
    web.get("/jobs/{job_id}/result", generic_result),
]
