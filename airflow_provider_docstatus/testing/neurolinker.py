"""Neurolinker as its pages and its SDK describe it: requests of many documents, results by POST.

Pages: ``https://neurolinker.ainexxo.com/docs/api/`` + ``extract.html``, ``request-status.html``,
``document-status.html``, ``documents-results.html``, ``tasks.html``. SDK: ``neurolinker-sdk`` 0.2.2,
``extraction``.
"""

from __future__ import annotations

import time
import uuid
from itertools import product
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_docstatus.testing.jobs import Desk, Job, Service, last_segment, timestamp
from airflow_provider_docstatus.testing.vendor import DESK, detail, link, missing_part, no_route, parsed_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_docstatus.testing.trouble import Refusal

NAME: Service = "neurolinker"
WORDS = {
    "request": {
        "waiting": "processing",
        "running": "processing",
        "completed": "completed",
        "failed": "failed",
        "partial": "partial",
    },
    "document": {"waiting": "pending", "running": "processing", "completed": "completed", "failed": "failed"},
}
KEY_HEADERS = ("Authorization",)
OF_THE_REQUEST = {"job_id", "word", "reply", "hidden_seconds"}
WEB_PAGE = "https://neurolinker.ainexxo.com/job"
USER = "stand-in-user"
SCHEMA_KEYWORDS = {"type", "description", "enum", "properties", "required", "items"}


def key_is_right(request: web.Request, desk: Desk) -> bool:
    """Tell whether the bearer token is the key."""
    return request.headers.get("Authorization") == f"Bearer {desk.keys[NAME]}"


def refuse(request: web.Request, desk: Desk) -> web.Response | None:
    """Refuse the prefix that does not exist, then a wrong key."""
    is_twin = request.path.startswith("/api/v1")
    if desk.neurolinker_prefix == "redirect" and not is_twin:
        return web.Response(status=307, headers={"Location": f"/api{request.path_qs}"})
    if desk.neurolinker_prefix in {"/v1", "/api/v1"} and is_twin != (desk.neurolinker_prefix == "/api/v1"):
        return no_route()
    if key_is_right(request, desk):
        return None
    return detail(desk.neurolinker_wrong_key, "Invalid API key")


def over_limit(request: web.Request, refusal: Refusal) -> web.Response:  # noqa: ARG001 (the same on every route)
    """Answer 402 for missing credits; a 429 is not documented, so it is FastAPI's."""
    if refusal.reason != "rate":
        return detail(402, "Not enough credits")
    return detail(429, "Too Many Requests", {"Retry-After": refusal.retry_after} if refusal.retry_after else None)


def headers(refusal: Refusal | None) -> Mapping[str, str]:  # noqa: ARG001 (none are documented)
    """Add nothing: no rate-limit header is documented."""
    return {}


async def extract(request: web.Request) -> web.Response:
    """Accept files or links for full extraction."""
    return await _accept(request, "extract")


async def extract_fields(request: web.Request) -> web.Response:
    """Accept files or links, and the schema of the fields to extract."""
    return await _accept(request, "fields")


async def _accept(request: web.Request, submitted_as: str) -> web.Response:
    parts = await request.post()
    if "form" not in parts:
        return missing_part("form")
    form = parsed_json(parts["form"])
    if not isinstance(form, dict):
        return detail(400, "form must be a JSON object")
    schema = form.get("json_schema")
    if submitted_as == "fields" and (not isinstance(schema, dict) or _unknown_keywords(schema)):
        return detail(400, f"Unsupported schema keyword: {_unknown_keywords(schema) or 'json_schema is required'}")
    names = [part.filename for part in parts.getall("documents", []) if isinstance(part, web.FileField)]
    names += [last_segment(str(url)) for url in form.get("documents_url") or []]
    if not names:
        return detail(400, "Either documents or documents_url must be provided")
    accepted = request.app[DESK].keep(request_for(request.app[DESK], names, submitted_as))
    return web.json_response({"request_uid": accepted.job_id, "status": "submitted", "performance": None, "msg": None})


def request_for(desk: Desk, file_names: list[str], submitted_as: str) -> Job:
    """Return a request for these files; one named ``partial`` makes two documents, the second fails."""
    request = desk.submitted(NAME, "request", file_names[0], ())
    for name in file_names:
        document = desk.submitted(NAME, "document", name, WORDS["document"])
        document.submitted_as = submitted_as
        request.documents.append(document)
        if "partial" in name.lower():
            twin = desk.submitted(NAME, "document", name, WORDS["document"])
            twin.submitted_as, twin.ends = submitted_as, "failed"
            request.documents.append(twin)
    return request


def made(kind: str, ends: str, documents: int | Sequence[str | Job], details: Mapping[str, object]) -> tuple[Job, str]:
    """
    Return a request that nobody submitted, and the id to ask for: its own, or that of its only document.

    :param kind: ``request`` or ``document``.
    :param documents: how many documents, or each one as its ending or as a ``Job``.
    :param details: fields of ``Job``; those that do not describe a request describe its documents.
    """
    own = {name: value for name, value in details.items() if kind == "request" and name in OF_THE_REQUEST}
    rest = {name: value for name, value in details.items() if name not in own}
    endings = [ends] if kind == "document" else _endings(ends, documents)
    jobs = [one if isinstance(one, Job) else Job(NAME, "document", ends=one, **rest) for one in endings]  # type: ignore[arg-type]  # any field
    oldest = min((document.created_at for document in jobs), default=time.time())
    request = Job(NAME, "request", documents=jobs, created_at=oldest, **own)  # type: ignore[arg-type]  # any field of Job
    return request, jobs[0].job_id if kind == "document" else request.job_id


def _endings(ends: str, documents: int | Sequence[str | Job]) -> Sequence[str | Job]:
    """Return how each document of a request ends; of a partial one the last fails."""
    if not isinstance(documents, int):
        return documents
    if ends != "partial":
        return [ends] * documents
    return ["completed"] * max(1, documents - 1) + ["failed"]


def _unknown_keywords(schema: object) -> str:
    """Return the schema keywords outside the documented subset."""
    if not isinstance(schema, dict):
        return ""
    unknown = set(schema) - SCHEMA_KEYWORDS
    properties = schema.get("properties")
    inner = [*(properties.values() if isinstance(properties, dict) else ()), schema.get("items")]
    return ", ".join(sorted(unknown)) or next(filter(None, map(_unknown_keywords, inner)), "")


async def extract_fields_from_markdown(request: web.Request) -> web.Response:
    """Start scalar extraction on finished documents; every accepted one gets a new id."""
    desk, body, now = request.app[DESK], await request.json(), time.time()
    job, pairs, skipped = desk.submitted(NAME, "request", "markdown", ()), [], []
    for source_id in body.get("document_ids", []):
        source = desk.find(NAME, source_id, "document")
        if source is None or source.state(now) != "completed" or source.submitted_as != "extract":
            skipped.append({"document_uid": source_id, "reason": "Not a completed full extraction"})
            continue
        document = desk.submitted(NAME, "document", source.file_name, WORDS["document"])
        document.submitted_as, document.content = "scalars", source.content
        job.documents.append(document)
        pairs.append({"source_document_uid": source_id, "document_uid": document.job_id})
    if not pairs:
        return detail(400, "None of the documents is a completed full extraction")
    desk.keep(job)
    return web.json_response(
        {"request_uid": job.job_id, "status": "submitted", "document_map": pairs, "skipped": skipped},
    )


async def generate_schema(request: web.Request) -> web.Response:
    """Return a schema for a description, at once; its envelope is not documented."""
    body = await request.json()
    description = body.get("description")
    if not description:
        return missing_part("description")
    properties = {"invoice_number": {"type": "string", "description": description}}
    return web.json_response({"success": True, "json_schema": {"type": "object", "properties": properties}})


async def request_status(request: web.Request) -> web.Response:
    """Answer for a request and all its documents."""
    desk, job_id = request.app[DESK], request.match_info["job_id"]
    if desk.neurolinker_strict_ids and not _is_uuid(job_id):
        return _not_a_uuid("request_id", job_id)
    job = desk.find(NAME, job_id, "request")
    return web.json_response(request_body(job, desk, time.time())) if job else detail(404, "Request not found")


async def document_status(request: web.Request) -> web.Response:
    """Answer for one document."""
    desk, job_id = request.app[DESK], request.match_info["job_id"]
    if desk.neurolinker_strict_ids and not _is_uuid(job_id):
        return _not_a_uuid("document_id", job_id)
    job = desk.find(NAME, job_id, "document")
    return web.json_response(document_body(job, desk, time.time())) if job else detail(404, "Document not found")


def request_body(job: Job, desk: Desk, now: float) -> dict[str, object]:
    """Return a request's status; it has no counter for pending documents, and its times end in ``+00:00``."""
    states = [document.state(now) for document in job.documents]
    unfinished = {"waiting", "running"} if desk.neurolinker_counts_pending else {"running"}
    return {
        "success": True,
        "request_id": job.job_id,
        "status": word_of(job, now),
        "documents": [request_item(document, desk, now) for document in job.documents],
        "total": len(states),
        "completed": states.count("completed"),
        "failed": states.count("failed"),
        "processing": sum(state in unfinished for state in states),
        "job_page_url": f"{WEB_PAGE}/{job.job_id}/extractions",
        "total_size_bytes": sum(document.size_bytes for document in job.documents),
        "started_at": timestamp(job.created_at, zone="+00:00"),
        "completed_at": timestamp(job.ended_at, zone="+00:00") if job.is_over(now) else None,
        **job.reply,
    }


def request_item(document: Job, desk: Desk, now: float) -> dict[str, object]:
    """Return a document as its request shows it: ``filename`` outside, ``file_name`` within ``result``."""
    status, over = document_body(document, desk, now), document.is_over(now)
    of_result = (
        "file_name",
        "file_type",
        "started_at",
        "file_size_bytes",
        "user_uid",
        "total_pages",
        "completed_at",
        "results",
    )
    result = {name: status[name] for name in (*of_result, "status")}
    result["billing"] = {"type": "capture", "amount": 5 * document.pages, "at": timestamp(document.ended_at)} if over else None
    item = {
        "document_id": document.job_id,
        "filename": document.file_name,
        "status": status["status"],
        "result": result,
        "document_page_url": status["document_page_url"],
    }
    return item | _error_field(document, desk, now)


def document_body(document: Job, desk: Desk, now: float) -> dict[str, object]:
    """Return a document's status; its times end in ``Z``, only a completed one has been seen with a link."""
    state = document.state(now)
    completed = state == "completed"
    images = [f"{document.job_id}-{page}.png" for page in range(1, document.pages + 1)]
    return {
        "success": True,
        "document_id": document.job_id,
        "request_id": document.parent,
        "status": word_of(document, now),
        "file_name": document.file_name,
        "file_type": "application/pdf",
        "file_size_bytes": document.size_bytes,
        "total_pages": None if state == "waiting" else document.pages,
        "user_uid": USER,
        "started_at": None if state == "waiting" else timestamp(document.started_at),
        "completed_at": timestamp(document.ended_at) if document.is_over(now) else None,
        "results": {"storage_path": storage_path(document), "cropped_images": images} if completed else None,
        "document_page_url": f"{WEB_PAGE}/{document.parent}/extractions/{document.job_id}" if completed else None,
        **_error_field(document, desk, now),
        **document.reply,
    }


def word_of(job: Job, now: float) -> str:
    """Return the vendor's word for where the job is."""
    return job.word or WORDS[job.kind][job.state(now)]


def storage_path(document: Job) -> str:
    """Return the folder the vendor keeps a document's results in."""
    return f"uploads/{USER}/{document.parent}/{document.job_id}/"


def _error_field(document: Job, desk: Desk, now: float) -> dict[str, object]:
    failed = document.state(now) == "failed"
    return {desk.neurolinker_error_field: document.error} if failed and desk.neurolinker_error_field else {}


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _not_a_uuid(name: str, value: str) -> web.Response:
    return detail(422, [{"type": "uuid_parsing", "loc": ["path", name], "msg": "Input should be a valid UUID", "input": value}])


async def documents(request: web.Request) -> web.Response:
    """Hand out results; what cannot be handed out is an error item inside a 200."""
    desk, body, what = request.app[DESK], await request.json(), request.match_info["what"]
    ids = body.get("document_ids")
    if not isinstance(ids, list):
        return missing_part("document_ids")
    if what == "document-summary" and body.get("summary_type") not in {"page", "section"}:
        return missing_part("summary_type")
    if what not in CONTENT:
        return no_route()
    items = [_result_item(request, desk.find(NAME, job_id, "document"), job_id, what) for job_id in ids]
    failed = sum(1 for item in items if "error" in item)
    reply: dict[str, object] = {
        "success": failed < len(items) or not items,
        "results": items,
        "total": len(items),
        "successful": len(items) - failed,
        "failed": failed,
        "message": f"Retrieved {len(items) - failed} of {len(items)} documents",
    }
    if what == "images":
        reply["total_images"] = sum(len(images) for item in items if isinstance(images := item.get("content"), list))
    return web.json_response(reply)


def _result_item(request: web.Request, document: Job | None, job_id: str, what: str) -> dict[str, object]:
    if document is None:
        return {"document_id": job_id, "error": "Document not found"}
    item: dict[str, object] = {"document_id": job_id, "filename": document.file_name}
    finished = document.state(time.time()) == "completed"
    if what == "scalars" and document.submitted_as == "scalars":
        return item | {"content": dict(document.content) if finished else None}
    if what in {"fields", "scalars"} and document.submitted_as != what:
        return item | {"error": f"Document was not processed through {what} extraction"}
    if not finished:
        return item | {"error": "Document extraction is not completed"}
    if what == "fields":
        return item | {"format": "json", "content": dict(document.content), "schema_used": {"type": "object"}}
    content = CONTENT[what](document)
    return item | {
        "storage_path": storage_path(document),
        "download_url": link(request, f"{job_id}/{what}"),
        "file_size": len(str(content)),
        "content": content,
    }


def markdown(document: Job) -> str:
    """Return the document's text as markdown."""
    return f"# {document.file_name}\n\n" + "\n".join(f"- **{name}**: {value}" for name, value in document.content.items())


CONTENT: dict[str, Callable[[Job], object]] = {
    "markdown": markdown,
    "json": lambda document: dict(document.content),
    "images": lambda document: [f"{document.job_id}-{page}.png" for page in range(1, document.pages + 1)],
    "page-summaries": lambda document: [{"page": page, "summary": "An invoice"} for page in range(1, document.pages + 1)],
    "section-summaries": lambda _: [{"section": "Invoice", "summary": "An invoice"}],
    "document-summary": lambda _: "An invoice",
    "fields": lambda document: dict(document.content),
    "scalars": lambda document: dict(document.content),
}


async def make_zip(request: web.Request) -> web.Response:
    """Return a short-lived link to a request's results."""
    body = await request.json()
    job = request.app[DESK].find(NAME, str(body.get("request_id")), "request")
    if job is None:
        return detail(404, "Request not found")
    return web.json_response({"success": True, "url": link(request, f"{job.job_id}/zip"), "message": "ZIP created"})


async def tasks(request: web.Request) -> web.Response:
    """List every request; no filters and no paging."""
    now = time.time()
    requests = [
        {
            "request_id": job.job_id,
            "status": word_of(job, now),
            "total_documents": len(job.documents),
            "start_time": timestamp(job.created_at),
        }
        for job in request.app[DESK].jobs_of(NAME, "request")
    ]
    return web.json_response({"success": True, "tasks": {"requests": requests}, "message": f"Found {len(requests)} requests"})


ROUTES = [
    web.route(method, prefix + path, handler)
    for prefix, (method, path, handler) in product(
        ("/v1", "/api/v1"),
        (
            ("POST", "/extract", extract),
            ("POST", "/extract-fields", extract_fields),
            ("POST", "/extract-fields-from-markdown", extract_fields_from_markdown),
            ("POST", "/generate-schema", generate_schema),
            ("GET", "/request-status/{job_id}", request_status),
            ("GET", "/document-status/{job_id}", document_status),
            ("POST", "/documents/{what:markdown|json|images|[a-z]+-summar[a-z]+|fields|scalars}", documents),
            ("POST", "/make-zip", make_zip),
            ("GET", "/tasks", tasks),
        ),
    )
]
