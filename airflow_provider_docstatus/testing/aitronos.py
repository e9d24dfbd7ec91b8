"""Aitronos document extraction as its pages and its SDK describe it: status and data in one answer.

Pages: ``https://docs.aitronos.com/docs/api-reference/documents/`` with ``extract``, ``extract-batch`` and
``get-job-status``. SDK: ``aitronos-sdk`` 0.8.178, ``document_extraction``.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_docstatus.testing.jobs import Desk, Job, Service, timestamp
from airflow_provider_docstatus.testing.vendor import DESK, parsed_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_docstatus.testing.trouble import Refusal

NAME: Service = "aitronos"
WORDS = {
    "job": {
        "waiting": "pending",
        "running": "processing",
        "completed": "completed",
        "failed": "failed",
        "cancelled": "cancelled",
    },
}
CONFIDENCE: dict[str, object] = {
    "float": 0.95,
    "percent": 95.5,
    "object": {"image_analysis": 97, "data_extraction": 95, "validation": 94, "overall": 95},
}
PROBLEMS = {
    "UNAUTHORIZED": (401, "authentication_error"),
    "JOB_NOT_FOUND": (404, "not_found_error"),
    "VALIDATION_ERROR": (422, "validation_error"),
    "RATE_LIMIT_EXCEEDED": (429, "rate_limit_error"),
    # The page of the spend limit names no code, only that it is a 429; this one is ours.
    "USAGE_LIMIT_EXCEEDED": (429, "usage_limit_error"),
}
KEY_HEADERS = ("X-API-Key", "Authorization")
MODEL = "gpt-4o"
STANDARD_PER_MINUTE = 100
FILES_IN_PARALLEL = 5
MOST_FILES = 50


def key_is_right(request: web.Request, desk: Desk) -> bool:
    """Tell whether the key or the login token is right; a key sent as a login token is not."""
    has_key = request.headers.get("X-API-Key") == desk.keys[NAME]
    return has_key or request.headers.get("Authorization") == f"Bearer {desk.jwt}"


def refuse(request: web.Request, desk: Desk) -> web.Response | None:
    """Refuse a wrong key."""
    if key_is_right(request, desk):
        return None
    return problem(
        "UNAUTHORIZED",
        "Authentication required. Please provide a valid API key.",
        "Missing or invalid authorization header",
    )


def over_limit(request: web.Request, refusal: Refusal) -> web.Response:  # noqa: ARG001 (the same on every route)
    """Answer 429 for the rate and for the monthly spend limit; code and ``Retry-After`` tell them apart."""
    if refusal.reason != "rate":
        text = "The monthly usage limit has been reached."
        return problem("USAGE_LIMIT_EXCEEDED", text, "Spend limit of the organization reached")
    answer = problem(
        "RATE_LIMIT_EXCEEDED",
        "Rate limit exceeded. Please try again later.",
        f"More than {refusal.per_minute:g} requests per minute",
        {"retry_after": refusal.retry_after},
    )
    if refusal.retry_after:
        answer.headers["Retry-After"] = answer.headers["X-RateLimit-Retry-After"] = refusal.retry_after
    return answer


def headers(refusal: Refusal | None) -> Mapping[str, str]:
    """Add the request's id and the three rate-limit headers; without a limit the allowance never runs out."""
    per_minute = refusal.per_minute if refusal else STANDARD_PER_MINUTE
    return {
        "x-request-id": f"req_{uuid.uuid4().hex[:12]}",
        "X-RateLimit-Limit": f"{per_minute:g}",
        "X-RateLimit-Remaining": "0" if refusal else f"{per_minute - 1:g}",
        "X-RateLimit-Reset": str(math.ceil(time.time() + 60)),
    }


def problem(code: str, message: str, system_message: str, details: Mapping[str, object] | None = None) -> web.Response:
    """Return an error in the vendor's envelope."""
    status, kind = PROBLEMS[code]
    error: dict[str, object] = {
        "code": code,
        "message": message,
        "system_message": system_message,
        "type": kind,
        "status": status,
        "trace_id": f"trace_{uuid.uuid4().hex[:12]}",
        "timestamp": timestamp(time.time()),
    }
    if details:
        error["details"] = dict(details)
    return web.json_response({"success": False, "error": error}, status=status)


async def extract(request: web.Request) -> web.Response:
    """Accept one file; ``sync=true`` answers when it is done."""
    desk, parts = request.app[DESK], await request.post()
    refused = _refuse_parts(parts.get("file"), parts.get("schema"), "file")
    if refused is not None:  # in aiohttp 3.9 an answer is false
        return refused
    file = parts["file"]
    name = file.filename if isinstance(file, web.FileField) else ""
    job = desk.keep(new_job(desk, name))
    if str(parts.get("sync", "")).lower() == "true":
        job.hidden_seconds = 0
        await asyncio.sleep(job.seconds)
    body = job_body(job, desk, time.time())
    if str(parts.get("include_raw_text", "")).lower() == "true" and body["extracted_data"]:
        body["raw_text"] = str(body["extracted_data"])
    extra = {"X-Processing-Method": "direct_text", "X-Model-Used": MODEL, "X-Cost-CHF": "0.015"}
    return web.json_response(body, headers=extra)


async def extract_batch(request: web.Request) -> web.Response:
    """Accept up to 50 files; five are worked on at a time. Nothing can be asked by the batch's id."""
    desk, parts = request.app[DESK], await request.post()
    files = [part for part in parts.getall("files", []) if isinstance(part, web.FileField)]
    refused = _refuse_parts(files[0] if files else None, parts.get("schema"), "files")
    if refused is not None:
        return refused
    if len(files) > MOST_FILES:
        return _invalid("files", f"At most {MOST_FILES} files per batch")
    jobs = [new_job(desk, file.filename) for file in files]
    for index, job in enumerate(jobs):
        job.seconds *= 1 + index // FILES_IN_PARALLEL
        desk.keep(job)
    body = {"success": True, "batch_id": f"batch_{uuid.uuid4()}", "total_documents": len(jobs)}
    now = time.time()
    if desk.aitronos_batch == "jobs":
        return web.json_response(body | {"jobs": [job_body(job, desk, now) for job in jobs]})
    return web.json_response(body | {"job_ids": [job.job_id for job in jobs], "created_at": timestamp(now)})


def new_job(desk: Desk, file_name: str) -> Job:
    """Return the job for a submitted file."""
    job = desk.submitted(NAME, "job", file_name, WORDS["job"])
    job.job_id = new_id()
    return job


def new_id() -> str:
    """Return an id of the vendor's form."""
    return f"job_{uuid.uuid4()}"


def _refuse_parts(file: object, schema: object, file_part: str) -> web.Response | None:
    if not isinstance(file, web.FileField):
        return _invalid(file_part, "Field required")
    if not isinstance(parsed_json(schema), dict):
        return _invalid("schema", "The schema must be a JSON object, as a string")
    return None


def _invalid(field: str, text: str) -> web.Response:
    return problem("VALIDATION_ERROR", text, f"Invalid {field}", {"field": field})


async def job_status(request: web.Request) -> web.Response:
    """Answer for one job, with its data once there are any."""
    desk, job_id = request.app[DESK], request.match_info["job_id"]
    job = desk.find(NAME, job_id, "job")
    if job:
        return web.json_response(job_body(job, desk, time.time()))
    return problem(
        "JOB_NOT_FOUND",
        "The requested job was not found.",
        f"Job ID does not exist: {job_id}",
        {"job_id": job_id},
    )


def job_body(job: Job, desk: Desk, now: float) -> dict[str, object]:
    """Return the job object; only a failed job has an ``error_message``."""
    state, over = job.state(now), job.is_over(now)
    completed, failed = state == "completed", state == "failed"
    body: dict[str, object] = {
        "success": desk.aitronos_failed_success or not failed,
        "job_id": job.job_id,
        "status": job.word or WORDS["job"][state],
        "extracted_data": dict(job.content) if completed else None,
        "confidence": CONFIDENCE[desk.aitronos_confidence] if completed else None,
        "processing_time": round(job.ended_at - job.started_at, 3) if over else None,
        "cost_chf": {"completed": 0.015, "failed": 0.0}.get(state),
        "model_used": MODEL if state in {"running", "completed"} else None,
        "created_at": timestamp(job.created_at),
        "completed_at": timestamp(job.ended_at) if over else None,
    }
    if failed:
        body["error_message"] = job.error
    return body | dict(job.reply)


ROUTES = [
    web.post("/v1/documents/extract", extract),
    web.post("/v1/documents/extract/batch", extract_batch),
    web.get("/v1/documents/jobs/{job_id}", job_status),
]
