"""
Aitronos, played from its recorded replies, and what these cannot hold: a second key, headers that count, checks of a submit.

Pages: ``https://docs.aitronos.com/docs/api-reference/documents/`` with ``extract`` and ``extract-batch``;
``https://docs.aitronos.com/docs/documentation/rate-limiting``. SDK: ``aitronos-sdk`` 0.8.178, ``document_extraction``.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Mapping, Sequence

from aiohttp import web

from airflow_provider_docstatus.testing.jobs import Desk, Job
from airflow_provider_docstatus.testing.playing import play, status_reply
from airflow_provider_docstatus.testing.recorded import Recorded
from airflow_provider_docstatus.testing.recordings import FOLDER, Place, Recording
from airflow_provider_docstatus.testing.trouble import Refusal
from airflow_provider_docstatus.testing.vendor import DESK, parsed_json

STANDARD_PER_MINUTE = 100
FILES_IN_PARALLEL = 5
MOST_FILES = 50


class Aitronos(Recorded):
    """Aitronos document extraction: status and data in one answer."""

    def __init__(self) -> None:
        super().__init__(Recording.read(FOLDER / "aitronos.json"))
        self.KEY_HEADERS = [*self.KEY_HEADERS, "Authorization"]

    def key_is_right(self, request: web.Request, desk: Desk) -> bool:
        """Tell whether the key or the login token is right; a key sent as a login token is not."""
        return super().key_is_right(request, desk) or request.headers.get("Authorization") == f"Bearer {desk.jwt}"

    def over_limit(self, request: web.Request, refusal: Refusal) -> web.Response:
        """Answer 429 for the rate and for the monthly spend limit; code and ``Retry-After`` tell them apart."""
        spent = self.recording.named("429 for the monthly spend limit")
        if spent and refusal.reason == "quota":
            return play(request, self.recording, spent)
        answer = super().over_limit(request, refusal)
        if refusal.retry_after:
            answer.headers["X-RateLimit-Retry-After"] = refusal.retry_after
        return answer

    def headers(self, refusal: Refusal | None) -> Mapping[str, str]:
        """Add the request's id and the three rate-limit headers; without a limit the allowance never runs out."""
        per_minute = refusal.per_minute if refusal else STANDARD_PER_MINUTE
        return {
            "x-request-id": f"req_{uuid.uuid4().hex[:12]}",
            "X-RateLimit-Limit": f"{per_minute:g}",
            "X-RateLimit-Remaining": "0" if refusal else f"{per_minute - 1:g}",
            "X-RateLimit-Reset": str(math.ceil(time.time() + 60)),
        }

    def prepare(self, job: Job) -> Job:
        """Keep the job's own data: what is extracted follows the caller's schema."""
        return job

    async def answer(self, place: Place, request: web.Request) -> web.Response:
        """Check a submit first."""
        parts = await request.post()
        file_part = "files" if request.path.endswith("/batch") else "file"
        files = [part for part in parts.getall(file_part, []) if isinstance(part, web.FileField)]
        is_right = isinstance(parsed_json(parts.get("schema")), dict) and 1 <= len(files) <= MOST_FILES
        if request.method == "POST" and not is_right:
            return self.refusal(request, "RequestRejected", 422, "A file and a schema are required")
        return await super().answer(place, request)

    async def accepted(self, request: web.Request, jobs: Sequence[Job], answer: web.Response) -> web.Response:
        """Work on five files of a batch at a time; with ``sync=true`` answer when the job is done."""
        for index, job in enumerate(jobs):
            job.seconds *= 1 + index // FILES_IN_PARALLEL
        parts, desk = await request.post(), request.app[DESK]
        if str(parts.get("include_raw_text", "")).lower() == "true":
            jobs[0].reply = {"raw_text": str(jobs[0].content)}
        if str(parts.get("sync", "")).lower() != "true":
            return answer
        jobs[0].hidden_seconds = 0
        await asyncio.sleep(jobs[0].seconds)
        recording = self.played(desk)
        ended = status_reply(recording, jobs[0], time.time(), recording.replies)
        done = play(request, recording, ended, jobs[0]) if ended else answer
        done.headers.update({name: value for name, value in answer.headers.items() if name.startswith("X-")})
        return done
