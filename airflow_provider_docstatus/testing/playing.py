"""Which recorded reply a request gets, and how it is changed to be about the request's job."""

from __future__ import annotations

import copy
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from aiohttp import web

from airflow_provider_docstatus.testing import rewriting
from airflow_provider_docstatus.testing.jobs import Job, last_segment
from airflow_provider_docstatus.testing.recordings import Recording, Reply, pattern
from airflow_provider_docstatus.testing.vendor import DESK

LEFT_OUT = {"content-length", "content-encoding", "transfer-encoding", "connection", "date", "server"}
WITH_DATA = {"completed", "partial", "review"}
_URL = re.compile(r"(https?://[^/\s\"'<>?#]+)(/[^\s\"'<>?#]*)")
_FILE_NAME = re.compile(r"[^\s/]+\.[A-Za-z0-9]{2,5}")


# -- one job -------------------------------------------------------------------------------------------------------


def one_reply(recording: Recording, job: Job, now: float, here: Iterable[Reply], replies: Iterable[Reply]) -> Reply | None:
    """
    Return what is answered for a job: its status, or its data where these have a place of their own.

    :param here: the replies that fit the request.
    :param replies: all replies with the request's method and path.
    """
    here = [reply for reply in here if reply.route == job.kind]
    if any(reply.state for reply in here):
        return status_reply(recording, job, now, here)
    state, over = job.state(now), job.is_over(now)
    status = status_reply(recording, job, now)
    same = [reply for reply in here if status and reply.id == status.id]  # what was recorded of the same job
    named = [reply for reply in here if over and reply.name and reply.name in {job.recorded, *recording.preferred}]
    with_data = [reply for reply in same + here if state in WITH_DATA and reply.data is not None and not reply.error]
    errors = {"DocumentFailed", "Expired"} if over else {"NotFinished"}
    refused = [reply for reply in same + here if reply.error in errors]
    of_this_job = same if len({str(reply.id) for reply in here}) > 1 else []
    found = next(iter(named + with_data + [reply for reply in refused if reply in same] + of_this_job + refused), None)
    if found:
        return found
    statuses = [reply for reply in replies if reply.state and reply.route == job.kind]
    return status_reply(recording, job, now, statuses) if statuses else recording.error("NotFinished", job.kind, ask="result")


def status_reply(recording: Recording, job: Job, now: float, here: Sequence[Reply] = ()) -> Reply | None:
    """Return the status that fits the job's age; of a completed job the reply with its data, if it has the same place."""
    statuses = [reply for reply in here if reply.state]
    if not job.is_over(now):
        running = recording.running(job.kind, statuses, job.recorded_id)
        return running[_step(job, now, len(running))] if running else None
    named = recording.named(job.recorded)
    if named and (named.ask == "status" or named.path in {reply.path for reply in statuses}):
        return named  # else it is what the data's own path answers
    ended = recording.ended(job.kind, job.state(now), statuses, job.recorded_id)
    if ended is None and job.documents:  # a batch without a word for some that failed
        ended = recording.ended(job.kind, "completed", statuses)
    found = [reply for reply in here if reply.data is not None and not reply.error and job.state(now) == "completed"]
    found += [ended] if ended else []
    return max(found, key=lambda reply: reply.name in recording.preferred, default=None)


def _step(job: Job, now: float, steps: int) -> int:
    """Return how far a job at work is: the first fifth is the first step, the others share the rest; an endless job stays."""
    if job.state(now) == "waiting" or steps == 1:
        return 0
    if math.isinf(job.seconds):
        return 1
    share = (now - job.started_at) / max(job.ended_at - job.started_at, 1e-9)
    return min(1 + int(share * (steps - 1)), steps - 1)


# -- many jobs -----------------------------------------------------------------------------------------------------


async def list_reply(
    request: web.Request, recording: Recording, here: Sequence[Reply], jobs: Sequence[Job] | None = None
) -> web.Response:
    """
    Answer for the jobs asked for, or for all; items of the recorded list are the patterns.

    :param here: the replies that fit the request.
    :param jobs: the jobs, where they are known.
    """
    reply = next((reply for reply in here if not reply.error and len(reply.ids)), here[0])
    body = copy.deepcopy(reply.body)
    items = rewriting.list_with(body, reply.ids)
    if items is None:
        return play(request, recording, reply)
    filters = {
        name: value for name, value in request.query.items() if reply.ask == "list" and value not in request.app[DESK].jobs
    }
    known = await _asked_jobs(request, recording, reply) if jobs is None else jobs
    made = [listed(recording, reply, items, job) for job in known]
    rewriting.refill(body, items, [item for item in made if _passes(item, filters)])
    return play(request, recording, reply, body=body)


async def _asked_jobs(request: web.Request, recording: Recording, reply: Reply) -> list[Job]:
    """Return the jobs of the ids in the request, or all: of the ids in the path, and of the batch that a parameter names."""
    desk, kinds = request.app[DESK], {reply.route} & set(recording.kinds)
    if reply.ask == "statuses":
        found = [desk.find(recording.service, one, *kinds) for one in await _asked_ids(request, reply)]
        return [job for job in found if job]
    above = "".join(f"{one}/" for one in request.match_info.values())
    parents = {value for value in request.query.values() if value in desk.jobs}
    known = desk.jobs_of(recording.service, *kinds)
    return [job for job in known if job.job_id.startswith(above) and (not parents or job.parent in parents)]


async def _asked_ids(request: web.Request, reply: Reply) -> list[str]:
    """Return the ids that one request asks for: in the parameter in which the recorded ones stand, or in a JSON body."""
    named = [name for name, value in reply.query.items() if "{" in str(value) or any(one in str(value) for one in reply.ids)]
    for name in named or [name for name in request.query if "id" in name.lower()]:
        return [one for value in request.query.getall(name, []) for one in value.split(",") if one]
    return rewriting.texts(await _json(request))


def listed(recording: Recording, reply: Reply, items: Sequence[Any], job: Job) -> Any:
    """Return a job as the list shows it: the recorded item of its state, or the first one with the word of its status."""
    states, now = reply.expect.get("states", {}), time.time()
    state = {"completed": "succeeded", "waiting": "running"}.get(job.state(now), job.state(now))
    recorded = next((one for one in reply.ids if states.get(one) == state), reply.ids[0])
    item = next((one for one in items if recorded.rpartition("/")[2] in rewriting.texts(one)), items[0])
    ids = rewriting.parts(recorded, job.job_id)
    item = rewriting.moved(rewriting.edited(item, lambda text: rewriting.with_ids(text, ids)), job.created_at)
    status = status_reply(recording, job, now) if states else None
    place = rewriting.place_of(status.body, str(status.expect.get("word"))) if status else None
    word = job.word or (status.expect.get("word") if status and states.get(recorded) != state else None)
    if word and place and isinstance(item, dict) and place[1] in item:
        item[place[1]] = word
    message = reply.expect.get("messages", {}).get(recorded)
    return rewriting.swapped(item, message, job.error) if job.error and message else item


def _passes(item: Any, filters: Mapping[str, str]) -> bool:
    """Tell whether an item has the asked values in the fields that a filter names."""
    held = item if isinstance(item, dict) else {}
    return all(str(held[name]).lower() == value.lower() for name, value in filters.items() if name in held)


# -- the answer ----------------------------------------------------------------------------------------------------


def play(request: web.Request, recording: Recording, reply: Reply, job: Job | None = None, body: Any = None) -> web.Response:
    """
    Answer with a recorded reply, changed to be about the job, or about the id that was asked for.

    :param body: another body than the recorded one.
    """
    edit = _edit(request, recording, reply, job.job_id if job else "/".join(request.match_info.values()))
    changed = _with_own(recording, reply, job) if job and body is None else body if body is not None else reply.body
    headers = {name: edit(value) for name, value in reply.headers.items() if name.lower() not in LEFT_OUT}
    if reply.text is not None and body is None:
        content, kind = edit(reply.text).encode(), "text/plain; charset=utf-8"
    elif changed is None:
        content, kind = b"", ""
    else:
        content, kind = json.dumps(rewriting.edited(changed, edit)).encode(), "application/json"
    if kind and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = kind
    return web.Response(status=reply.code, body=content, headers=headers)


def _edit(request: web.Request, recording: Recording, reply: Reply, job_id: str) -> Callable[[str], str]:
    """Return the change of every text of a reply: links, then hosts, then ids."""
    base = f"{request.scheme}://{request.host}"
    ids = rewriting.parts(reply.ids[0], job_id) if len(reply.ids) == 1 and job_id else {}
    paths = [pattern(path) for _, path in recording.places]

    def to_host(found: re.Match[str]) -> str:
        return f"{base}{found[2]}" if any(path.fullmatch(found[2]) for path in paths) else found[0]

    def edit(text: str) -> str:
        for link in recording.links:
            if link.url in text:
                stored = f"{base}/storage/{quote(job_id, safe='')}/{_link_name(recording, link)}?signature=stand-in"
                return text.replace(link.url, stored)
        return rewriting.with_ids(_URL.sub(to_host, text), ids)

    return edit


def _with_own(recording: Recording, reply: Reply, job: Job) -> Any:
    """Return the body with what is the job's own: its times, data, error text and word, and fields as they stand."""
    changed = rewriting.moved(copy.deepcopy(reply.body), job.created_at, fixed=reply.data)
    if reply.ask == "submit":
        return changed
    for data in recording.data(job.kind) if job.content else ():
        changed = rewriting.swapped(changed, data, dict(job.content))
    if job.error and reply.expect.get("message"):
        changed = rewriting.swapped(changed, reply.expect["message"], job.error)
    if job.word:
        word = reply.expect.get("word") or recording.words().get(job.kind, {}).get(job.ends)
        place = rewriting.place_of(changed, str(word))
        if place:
            place[0][place[1]] = job.word
    return {**changed, **job.reply} if isinstance(changed, dict) else changed


def stored_link(recording: Recording, name: str) -> Reply | None:
    """Return what the link that is stored under a name leads to."""
    return next((link for link in recording.links if name == _link_name(recording, link)), None)


def _link_name(recording: Recording, link: Reply) -> str:
    return f"{recording.links.index(link)}-{last_segment(link.url)}"


# -- what was submitted --------------------------------------------------------------------------------------------


async def file_names(request: web.Request) -> list[str]:
    """Return what the submitted files are called: the names of parts, or the ends of links or names anywhere in the body."""
    held: list[str] = []
    if request.content_type in {"multipart/form-data", "application/x-www-form-urlencoded"}:
        parts = list((await request.post()).values())
        names = [part.filename for part in parts if isinstance(part, web.FileField)]
        if names:
            return names
        held = [part for part in parts if isinstance(part, str)]
    else:
        held = rewriting.texts(await _json(request))
    found = [text for text in held if "://" in text] + [text for text in held if _FILE_NAME.fullmatch(text)]
    return [last_segment(one) for one in found] or ["document.pdf"]


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:  # a file as it stands
        return None
