"""
A vendor that is played from its file of recorded replies (``recordings.py`` has the format).

It serves the methods and paths that stand in the file. What is submitted becomes a job; its status goes through the recorded
replies by its age; ids and links in them become those of the stand-in.
"""

from __future__ import annotations

import copy
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from aiohttp import web

from airflow_provider_docstatus.testing import rewriting
from airflow_provider_docstatus.testing.jobs import INVOICE, Desk, Job, last_segment
from airflow_provider_docstatus.testing.recordings import Recording, Reply, fitting, pattern
from airflow_provider_docstatus.testing.trouble import Refusal
from airflow_provider_docstatus.testing.vendor import DESK, detail

LEFT_OUT = {"content-length", "content-encoding", "transfer-encoding", "connection", "date", "server"}
FINISHED = {"completed", "partial", "review"}
_URL = re.compile(r"(https?://[^/\s\"'<>?#]+)(/[^\s\"'<>?#]*)")
_FILE_NAME = re.compile(r"[^\s/]+\.[A-Za-z0-9]{2,5}")


class Recorded:
    """One vendor, played from its recording; the attributes are those that a vendor's module has."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.NAME = recording.service
        self.WORDS = recording.words()
        self.KEY_HEADERS: Sequence[str] = [recording.key["header"]] if recording.key.get("header") else []
        self.ROUTES = [
            web.route(method, path, partial(self._answer, replies)) for (method, path), replies in recording.places.items()
        ]

    def key_is_right(self, request: web.Request, desk: Desk) -> bool:
        """Tell whether the request carries the key as the file says; an empty key of the desk's means that none is wanted."""
        header, key = self.recording.key.get("header"), desk.keys.get(self.NAME)
        if not header or not key:
            return True
        sent = request.headers.get(header)
        if sent is None:
            return bool(self.recording.key.get("optional"))
        return sent == str(self.recording.key.get("value", "{key}")).replace("{key}", key)

    def refuse(self, request: web.Request, desk: Desk) -> web.Response | None:
        """Refuse a wrong or missing key as recorded."""
        if self.key_is_right(request, desk):
            return None
        reply = self.recording.error("KeyRejected", kind=self._kind(request), code=401)
        return self._refusal(request, reply or self.recording.error("KeyRejected"), 401, "Unauthorized")

    def over_limit(self, request: web.Request, refusal: Refusal) -> web.Response:
        """Answer one request too many as recorded; ``Retry-After`` is the limit's own."""
        error = "RateLimited" if refusal.reason == "rate" else "QuotaExhausted"
        code = {"rate": 429, "quota": 429, "payment": 402}[refusal.reason]
        kind = self._kind(request)
        reply = self.recording.error(error, kind=kind, code=code) or self.recording.error(error, kind=kind)
        answer = self._refusal(request, reply, code, "Too Many Requests")
        for name in [name for name in answer.headers if name.lower().startswith("retry-after")]:
            del answer.headers[name]
        if refusal.retry_after:
            answer.headers["Retry-After"] = refusal.retry_after
        return answer

    def headers(self, refusal: Refusal | None) -> Mapping[str, str]:  # noqa: ARG002 (the recorded ones are all)
        """Add nothing to what is recorded."""
        return {}

    def no_route(self, request: web.Request) -> web.Response:
        """Answer for a path that the vendor does not have."""
        reply = next((reply for reply in self.recording.replies if reply.ask == "no_route"), None)
        return self._refusal(request, reply, 404, "Not Found")

    def stored(self, request: web.Request, job: Job, name: str) -> web.Response:
        """Hand out what a link of a job leads to; the recorded data, or the job's own."""
        for link in self.recording.links:
            if name == _link_name(self.recording, link):
                return self._play(request, link, job, dict(job.content) or None)
        return self.no_route(request)

    def prepare(self, job: Job) -> Job:
        """Take what is not recorded out of a new job: data and error text are the recorded ones until they are set."""
        if job.content == INVOICE:
            job.content = {}
        if job.error == Job.error:
            job.error = ""
        return job

    def new_id(self, kind: str) -> str:
        """Return a new id of the recorded form, with the recorded first part where it has two."""
        recorded = next(
            (reply.ids[0] for reply in self.recording.replies if reply.route == kind and reply.state and reply.ids), ""
        )
        *first, last = recorded.split("/")
        return "/".join([*first, rewriting.new_id(last)])

    # -- what is asked ---------------------------------------------------------------------------------------------

    async def _answer(self, replies: list[Reply], request: web.Request) -> web.Response:
        """Answer at one place by what is recorded for it."""
        here = fitting(replies, {name: request.query.getall(name) for name in request.query})
        asks = {reply.ask for reply in here if not reply.error} or {reply.ask for reply in here}
        if "submit" in asks:
            return await self._submit(request, [reply for reply in here if reply.ask == "submit"])
        if asks & {"list", "statuses"}:
            return await self._many(request, [reply for reply in here if reply.ask in {"list", "statuses"}])
        if not here:  # a mandatory parameter is missing
            reply = self.recording.error("RequestRejected", kind=replies[0].route)
            return self._refusal(request, reply, 400, "Bad Request")
        return self._one(request, here, replies)

    async def _submit(self, request: web.Request, here: list[Reply]) -> web.Response:
        """Make a job of what is submitted; the path's ids are the first parts of its own."""
        reply = next((reply for reply in here if not reply.error), here[0])
        if reply.error or not reply.ids:
            return self._play(request, reply)
        desk, kind = request.app[DESK], reply.route
        job = self.prepare(desk.submitted(self.NAME, kind, await _file_name(request), self.WORDS.get(kind, {})))
        given = list(request.match_info.values())[: self.recording.depth(kind) - 1]
        job.job_id = "/".join([*given, rewriting.new_id(reply.ids[0].rpartition("/")[2])])
        desk.keep(job)
        return self._play(request, reply, job)

    def _one(self, request: web.Request, here: list[Reply], replies: list[Reply]) -> web.Response:
        """Answer for one job: its status, or its data where these have a place of their own."""
        desk, job_id = request.app[DESK], "/".join(request.match_info.values())
        asks = tuple(dict.fromkeys(reply.ask for reply in sorted(here, key=lambda reply: reply.error is not None)))
        job = desk.find(self.NAME, job_id, *{reply.route for reply in replies})
        if job is None:
            reply = self.recording.error("NotFound", "Expired", kind=here[0].route, asks=asks[:1])
            return self._refusal(request, reply, 404, "Not Found")
        now = time.time()
        if asks[0] == "result" and not any(reply.ask == "status" and not reply.error for reply in here):
            return self._result(request, job, here, replies)
        found = self._status(job, now, here)
        if found is None:
            return self._refusal(request, None, 404, "Not Found")
        return self._play(request, found, job)

    def _result(self, request: web.Request, job: Job, here: list[Reply], replies: list[Reply]) -> web.Response:
        """Answer for a job's data; without them what is recorded for that, or the status where that has the same path."""
        now = time.time()
        state = job.state(now)
        if job.is_over(now):
            named = [reply for reply in here if reply.name == job.recorded]
            with_data = [reply for reply in here if reply.code < 400 and reply.data is not None and reply.route == job.kind]
            if named or (state in FINISHED and with_data):
                return self._play(request, (named or with_data)[0], job)
        errors = {"failed": ("DocumentFailed",), "expired": ("Expired", "NotFound")}
        wanted = errors.get(state, ("DocumentFailed", "Expired")) if job.is_over(now) else ("NotFinished",)
        for reply in here:
            if reply.error in wanted and reply.route == job.kind:
                return self._play(request, reply, job)
        at_status = self._status(job, now, [reply for reply in replies if reply.ask == "status"])
        if at_status and any(reply.ask == "status" for reply in replies):
            return self._play(request, at_status, job)
        refusal = self.recording.error("NotFinished", "NotFound", kind=job.kind, asks=("result",))
        return self._refusal(request, refusal, 404, "Not Found")

    def _status(self, job: Job, now: float, here: list[Reply]) -> Reply | None:
        """Return the status reply that fits the job's age; of a finished job the one with its data, if it has the same place."""
        state, statuses = job.state(now), [reply for reply in here if reply.ask == "status"]
        if not job.is_over(now):
            running = self.recording.running(job.kind, statuses)
            return running[_step(job, now, len(running))] if running else None
        named = next((reply for reply in self.recording.replies if reply.name == job.recorded), None)
        if named and (named.ask == "status" or named.path in {reply.path for reply in statuses}):
            return named  # else it is what the data's own place answers
        if state == "completed":
            with_data = (reply for reply in here if reply.ask == "result" and reply.route == job.kind and reply.code < 300)
            found = next((reply for reply in with_data if reply.data is not None), None)
            if found:
                return found
        return self.recording.ended(job.kind, state, statuses)

    async def _many(self, request: web.Request, here: list[Reply]) -> web.Response:
        """Answer for the jobs asked for, or list all; items of the recorded list are the patterns."""
        reply = next((reply for reply in here if not reply.error and reply.expect.get("states")), here[0])
        body = copy.deepcopy(reply.body)
        items = rewriting.list_with(body, reply.ids)
        if items is None:
            return self._play(request, reply)
        desk, kinds = request.app[DESK], {reply.route} & set(self.recording.kinds)
        if reply.ask == "statuses":
            found = [desk.find(self.NAME, one, *kinds) for one in await _asked_ids(request, reply)]
            jobs = [job for job in found if job]
        else:
            known = desk.jobs_of(self.NAME, *kinds)
            above = "".join(f"{one}/" for one in request.match_info.values())
            parents = {value for value in request.query.values() if value in desk.jobs}
            jobs = [job for job in known if job.job_id.startswith(above) and (not parents or job.parent in parents)]
        made = [self._item(reply, items, job) for job in jobs]
        filters = {name: value.lower() for name, value in request.query.items()}
        items[:] = [one for one in made if reply.ask == "statuses" or _passes(one, filters)]
        rewriting.end_paging(body)
        return self._play(request, reply, body=body)

    def _item(self, reply: Reply, items: list[Any], job: Job) -> Any:
        """Return a job as the list shows it: the recorded item of its state, or the first one with the word of its status."""
        states, now = reply.expect.get("states", {}), time.time()
        status = self._status(job, now, [])
        state = {"completed": "succeeded", "waiting": "running"}.get(job.state(now), job.state(now))
        recorded = next((one for one in reply.ids if states.get(one) == state), reply.ids[0])
        item = next((one for one in items if recorded.rpartition("/")[2] in rewriting.texts(one)), items[0])
        item = rewriting.edited(item, lambda text: rewriting.with_ids(text, rewriting.parts(recorded, job.job_id)))
        word = job.word or (None if states.get(recorded) == state or not status else status.expect.get("word"))
        place = rewriting.place_of(status.body, str(status.expect.get("word"))) if status else None
        if word and place and isinstance(item, dict) and place[1] in item:
            item[place[1]] = word
        return item

    # -- what is answered ------------------------------------------------------------------------------------------

    def _kind(self, request: web.Request) -> str:
        """Return the kind of job that the request's path is about."""
        found = (
            replies[0].route
            for (method, path), replies in self.recording.places.items()
            if method == request.method and pattern(path).fullmatch(request.path)
        )
        return next(found, "")

    def _refusal(self, request: web.Request, reply: Reply | None, code: int, text: str) -> web.Response:
        """Answer as recorded, with the asked id for the recorded one; without a recorded reply as FastAPI does."""
        return self._play(request, reply) if reply else detail(code, text)

    def _play(self, request: web.Request, reply: Reply, job: Job | None = None, body: Any = None) -> web.Response:
        """Answer with a recorded reply, changed to be about the job, or about the id that was asked for."""
        job_id = job.job_id if job else "/".join(request.match_info.values())
        edit = self._edit(request, reply, job_id)
        changed = reply.body if body is None else body
        if job and reply.ask in {"status", "result"}:
            changed = _with_own(changed, reply, job, reply.expect.get("word") or self.WORDS.get(job.kind, {}).get(job.ends))
        headers = {name: edit(value) for name, value in reply.headers.items() if name.lower() not in LEFT_OUT}
        given = {name.lower() for name in headers}
        if reply.text is not None and body is None:
            content = edit(reply.text).encode()
            headers |= {} if "content-type" in given else {"Content-Type": "text/plain; charset=utf-8"}
        elif changed is None:
            content = b""
        else:
            content = json.dumps(rewriting.edited(changed, edit)).encode()
            headers |= {} if "content-type" in given else {"Content-Type": "application/json"}
        return web.Response(status=reply.code, body=content, headers=headers)

    def _edit(self, request: web.Request, reply: Reply, job_id: str) -> Callable[[str], str]:
        """Return the change of every text of a reply: links, then hosts, then ids."""
        base = f"{request.scheme}://{request.host}"
        recorded = reply.ids[0] if len(reply.ids) == 1 else None
        ids = rewriting.parts(recorded, job_id) if recorded and job_id else {}
        paths = [pattern(path) for _, path in self.recording.places]

        def to_host(found: re.Match[str]) -> str:
            return f"{base}{found[2]}" if any(path.fullmatch(found[2]) for path in paths) else found[0]

        def edit(text: str) -> str:
            for link in self.recording.links:
                if link.url and link.url in text:
                    stored = f"{base}/storage/{quote(job_id, safe='')}/{_link_name(self.recording, link)}?signature=stand-in"
                    return text.replace(link.url, stored)
            return rewriting.with_ids(_URL.sub(to_host, text), ids)

        return edit


def _link_name(recording: Recording, link: Reply) -> str:
    return f"{recording.links.index(link)}-{last_segment(link.url)}"


def _step(job: Job, now: float, steps: int) -> int:
    """Return how far a job at work is: the first fifth is the first step, the others share the rest; an endless job stays."""
    if job.state(now) == "waiting" or steps == 1:
        return 0
    if math.isinf(job.seconds):
        return 1
    share = (now - job.started_at) / max(job.ended_at - job.started_at, 1e-9)
    return min(1 + int(share * (steps - 1)), steps - 1)


def _with_own(body: Any, reply: Reply, job: Job, word: str | None) -> Any:
    """Return the body with what was set for the job: its data, its error text, its word for ``word``, and its fields."""
    changed = copy.deepcopy(body)
    if job.content and reply.data is not None:
        changed = rewriting.swapped(changed, reply.data, dict(job.content))
    if job.error and reply.expect.get("message"):
        changed = rewriting.swapped(changed, reply.expect["message"], job.error)
    place = rewriting.place_of(changed, word) if job.word and word else None
    if place:
        place[0][place[1]] = job.word
    return {**changed, **job.reply} if isinstance(changed, dict) else changed


def _passes(item: Any, filters: Mapping[str, str]) -> bool:
    """Tell whether an item has the asked values in the fields that a filter names."""
    if not isinstance(item, dict):
        return True
    return all(str(item[name]).lower() == value for name, value in filters.items() if name in item)


async def _file_name(request: web.Request) -> str:
    """Return what the submitted file is called: the name of a part, or the end of a link or name anywhere in the body."""
    if request.content_type.startswith("multipart/") or request.content_type == "application/x-www-form-urlencoded":
        values = list((await request.post()).values())
        names = [value.filename for value in values if isinstance(value, web.FileField)]
        return next(iter(names), "") or _name_in([value for value in values if isinstance(value, str)])
    return _name_in(await _json(request))


def _name_in(body: Any) -> str:
    held = rewriting.texts(body)
    names = [text for text in held if "://" in text] + [text for text in held if _FILE_NAME.fullmatch(text)]
    return last_segment(names[0]) if names else "document.pdf"


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:  # a file as it stands
        return None


async def _asked_ids(request: web.Request, reply: Reply) -> list[str]:
    """Return the ids that one request asks for: in the parameter in which the recorded ones stand, or in a JSON body."""
    named = [name for name, value in reply.query.items() if "{" in str(value) or any(one in str(value) for one in reply.ids)]
    for name in named or [name for name in request.query if "id" in name.lower()]:
        return [one for value in request.query.getall(name, []) for one in value.split(",") if one]
    return rewriting.texts(await _json(request))
