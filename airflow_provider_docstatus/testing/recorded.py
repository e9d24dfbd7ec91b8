"""
A vendor that is played from its file of recorded replies (``recordings.py`` has the format).

It serves the methods and paths that stand in the file. What is submitted becomes a job; its status goes through the recorded
replies by its age; ids, links and times in them become those of the job.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from aiohttp import web

from airflow_provider_docstatus.testing import rewriting
from airflow_provider_docstatus.testing.jobs import INVOICE, Desk, Job
from airflow_provider_docstatus.testing.playing import file_names, list_reply, one_reply, play, stored_link
from airflow_provider_docstatus.testing.recordings import Place, Recording, Reply, fitting
from airflow_provider_docstatus.testing.trouble import Refusal
from airflow_provider_docstatus.testing.vendor import DESK, Vendor, detail


class Recorded:
    """One vendor, played from its recording; the attributes are those that a vendor's module has."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.NAME = recording.service
        self.WORDS = recording.words()
        self.KEY_HEADERS: Sequence[str] = [recording.key["header"]] if recording.key.get("header") else []
        self.ROUTES = [web.route(*place, partial(self.answer, place)) for place in recording.places]
        self._by_preference = {frozenset[str](): recording}

    # -- what the server asks of a vendor --------------------------------------------------------------------------

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
        return None if self.key_is_right(request, desk) else self.refusal(request, "KeyRejected", 401, "Unauthorized")

    def over_limit(self, request: web.Request, refusal: Refusal) -> web.Response:
        """Answer one request too many as recorded; ``Retry-After`` is the limit's own."""
        if refusal.reason == "rate":
            answer = self.refusal(request, "RateLimited", 429, "Too Many Requests")
        else:
            answer = self.refusal(request, "QuotaExhausted", 402 if refusal.reason == "payment" else 429, "Quota exhausted")
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
        return play(request, self.recording, reply) if reply else detail(404, "Not Found")

    def stored(self, request: web.Request, job: Job, name: str) -> web.Response:
        """Hand out what a link of a job leads to: the recorded data, or the job's own."""
        link = stored_link(self.recording, name)
        return play(request, self.recording, link, job, dict(job.content) or None) if link else self.no_route(request)

    # -- jobs ------------------------------------------------------------------------------------------------------

    def prepare(self, job: Job) -> Job:
        """Take what is not recorded out of a new job: data and error text are the recorded ones until they are set."""
        if job.content == INVOICE:
            job.content = {}
        if job.error == Job.error:
            job.error = ""
        return job

    def new_id(self, kind: str) -> str:
        """Return a new id of the recorded form, with the recorded first part where it has two."""
        found = (reply.ids[0] for reply in self.recording.replies if reply.route == kind and reply.state and reply.ids)
        *first, last = next(found, "").split("/")
        return "/".join([*first, rewriting.new_id(last)])

    async def accepted(self, request: web.Request, jobs: Sequence[Job], answer: web.Response) -> web.Response:  # noqa: ARG002
        """Return the answer to a submission, whose jobs are made."""
        return answer

    def found(self, request: web.Request, kinds: Collection[str]) -> Job | None:
        """Return the job of these kinds that the path names, as it is to be shown; None if there is none."""
        return request.app[DESK].find(self.NAME, "/".join(request.match_info.values()), *kinds)

    # -- what is asked ---------------------------------------------------------------------------------------------

    def played(self, desk: Desk) -> Recording:
        """Return the recording with the replies first that the desk prefers."""
        names = frozenset(desk.prefer)
        if names not in self._by_preference:
            self._by_preference[names] = self.recording.preferring(names)
        return self._by_preference[names]

    def refusal(
        self, request: web.Request, error: str, code: int, text: str, *, kind: str = "", ask: str = "status"
    ) -> web.Response:
        """Refuse as recorded, with the asked id for the recorded one; what is not recorded, as FastAPI does."""
        recording = self.played(request.app[DESK])
        kind = kind or recording.kind_at(request.method, request.path)
        reply = recording.error(error, kind, ask=ask, code=code)
        return play(request, recording, reply) if reply else detail(code, text)

    async def answer(self, place: Place, request: web.Request) -> web.Response:
        """Answer at one place by what is recorded for it."""
        recording = self.played(request.app[DESK])
        replies = recording.places[place]
        here = fitting(replies, {name: request.query.getall(name) for name in request.query})
        asks = {reply.ask for reply in here if not reply.error} or {reply.ask for reply in here}
        if not here:  # a mandatory parameter is missing
            return self.refusal(request, "RequestRejected", 400, "Bad Request", kind=replies[0].route)
        if "submit" in asks:
            return await self._submit(request, next((reply for reply in here if not reply.error), here[0]))
        if asks & {"list", "statuses"}:
            return await list_reply(request, recording, [reply for reply in here if reply.ask in {"list", "statuses"}])
        job = self.found(request, {reply.route for reply in replies if reply.route})
        reply = one_reply(recording, job, time.time(), here, replies) if job else None
        if reply is None:
            ask = "result" if job else "status"  # of an unknown id, data routes say what the status route says
            return self.refusal(request, "NotFound", 404, "Not Found", kind=here[0].route, ask=ask)
        return play(request, recording, reply, job)

    async def _submit(self, request: web.Request, reply: Reply) -> web.Response:
        """Make a job of what is submitted, or of each file where many ids are recorded; the path's ids begin its own."""
        desk, recording = request.app[DESK], self.played(request.app[DESK])
        if reply.error or not reply.ids:
            return play(request, recording, reply)
        names = await file_names(request)
        is_many = isinstance(reply.expect.get("id"), list)
        given = list(request.match_info.values())[: recording.depth(reply.route) - 1]
        jobs = []
        for name in names if is_many else names[:1]:
            job = self.prepare(desk.submitted(self.NAME, reply.route, name, self.WORDS.get(reply.route, {})))
            job.recorded_id = reply.ids[0]
            job.job_id = "/".join([*given, rewriting.new_id(reply.ids[0].rpartition("/")[2])])
            jobs.append(desk.keep(job))
        answer = await list_reply(request, recording, [reply], jobs) if is_many else play(request, recording, reply, jobs[0])
        return await self.accepted(request, jobs, answer)


def check_names(names: Iterable[str], vendors: Iterable[Vendor], kind: str = "") -> None:
    """
    Check that vendors have recorded replies of these names.

    :param kind: the kind of job that the replies must be about; empty for any.
    :raises ValueError: there is none. The text has the names that are like it; without such, all.
    """
    replies = [reply for one in vendors if isinstance(one, Recorded) for reply in one.recording.replies]
    known = sorted({reply.name for reply in replies if reply.name and kind in ("", reply.route)})
    for name in names:
        if name not in known:
            near, every = difflib.get_close_matches(name, known, 3), ", ".join(map(repr, known)) or "none"
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {every}"
            raise ValueError(f"no recorded reply is called {name!r}; {hint}")
