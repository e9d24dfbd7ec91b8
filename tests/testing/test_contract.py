"""The contract finds out each way in which a description and its recorded replies can be wrong, and says it in a line."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import airflow_provider_docstatus
from airflow_provider_docstatus import registry
from airflow_provider_docstatus.services import SERVICES, UNSILOED
from airflow_provider_docstatus.testing import checks, contract, reading
from airflow_provider_docstatus.testing.checks import provenance
from airflow_provider_docstatus.testing.contract import contract_of, missing
from airflow_provider_docstatus.testing.recordings import ASKS, FOLDER, Recording

ROOT = Path(airflow_provider_docstatus.__file__).parents[1]
MODULE = "airflow_provider_docstatus.testing.contract"

#: A vendor that does not exist.
VELLUM = """
from dataclasses import replace
from airflow_provider_docstatus.services import *
from airflow_provider_docstatus.status import State

JOB = Route(
    path="/jobs/{id}",
    ids=("id",),
    status=("state",),
    errors=("reason",),
    times={"created_at": ("created",)},
    details={"total_pages": ("pages",)},
    batch=BatchRoute(path="/jobs", parameter="ids", items="jobs"),
    listing=ListRoute(path="/jobs", items="jobs", page_size=50),
    result=ResultRoute(path="/jobs/{id}/result", has_status=False, take="text", link=("url",)),
    submit=Submission(path="/jobs", id="id"),
)
VELLUM = ServiceDescription(
    name="vellum",
    title="Vellum",
    host="https://api.vellum.example",
    docs="https://docs.vellum.example",
    auth={"bearer": ("Authorization", "Bearer {key}")},
    prefixes=("/v1",),
    routes={"job": JOB},
    words={State.RUNNING: ("queued", "working"), State.SUCCEEDED: ("done",), State.FAILED: ("failed",)},
    quota={"code": ("no_credits",)},
    retry_headers=("x-wait",),
    link_hosts=("*.vellum.example",),
    retention="results are kept for 3 days",
    evidence="made up",
)


def job(**changes):
    return {"routes": {"job": replace(JOB, **changes)}}


def fails(*_):
    raise ZeroDivisionError("by zero")
"""
LINK = "https://files.vellum.example/v-1?sig=abc"


def reply(name: str, body: Any = None, code: int = 200, **more: Any) -> dict[str, Any]:
    about = {
        "source": "[page] made up",
        "ask": "status",
        "route": "job",
        "method": "GET",
        "path": "/v1/jobs/{job_id}",
        "id": "v-1",
    }
    return {"name": name, **about, "code": code, "body": body, **more}


def status(name: str, **body: Any) -> dict[str, Any]:
    means = {"queued": "running", "working": "running", "done": "succeeded", "failed": "failed"}
    expect = {"state": means[body["state"]], "word": body["state"], "message": body.get("reason")}
    return reply(name, {"id": "v-1", "created": "2026-01-02T03:04:05Z", **body}, expect=expect)


def refusal(code: int, error: str, body: Any = None, **more: Any) -> dict[str, Any]:
    body = body or {"message": f"Refused with {code}"}
    return {**reply(str(code), body, code, expect={"error": error, "says": [body["message"]]}), **more}


RESULT = {"ask": "result", "path": "/v1/jobs/{job_id}/result"}
JOBS = {"jobs": [{"id": "v-1", "state": "done"}, {"id": "v-2", "state": "failed", "reason": "unreadable"}]}
JOBS_MEAN = {"states": {"v-1": "succeeded", "v-2": "failed"}, "messages": {"v-2": "unreadable"}}
RECORDED: dict[str, Any] = {
    "service": "vellum",
    "key": {"header": "Authorization", "value": "Bearer {key}", "source": "[page] made up"},
    "replies": [
        reply("accepted", {"id": "v-1"}, 202, ask="submit", method="POST", path="/v1/jobs", expect={"id": "v-1"}),
        status("waits", state="queued"),
        status("works", state="working"),
        status("is done", state="done", pages=3),
        status("failed", state="failed", reason="unreadable"),
        reply("its data", {"text": "Invoice"}, **RESULT, expect={"data": "Invoice"}),
        reply("its data elsewhere", {"url": LINK}, **RESULT, expect={"data": {"text": "Invoice"}}),
        reply("what the link leads to", {"text": "Invoice"}, ask="link", url=LINK, expect={"data": {"text": "Invoice"}}),
        reply("the list", JOBS, ask="list", path="/v1/jobs", id=None, expect=JOBS_MEAN),
        reply("several", JOBS, ask="statuses", path="/v1/jobs", id=["v-1", "v-2"], query={"ids": "v-1,v-2"}, expect=JOBS_MEAN),
        refusal(401, "KeyRejected"),
        refusal(402, "QuotaExhausted"),
        refusal(403, "KeyRejected"),
        refusal(404, "NotFound"),
        refusal(422, "RequestRejected"),
        refusal(
            429, "RateLimited", headers={"X-Wait": "7"}, expect={"error": "RateLimited", "says": ["Refused"], "retry_after": 7}
        ),
        refusal(429, "QuotaExhausted", {"code": "NO_CREDITS", "message": "Buy more."}, name="429 for good"),
        refusal(503, "ServiceUnavailable"),
        reply("a page", text="<html>Sign in</html>", expect={"error": "UnexpectedReply", "says": ["not JSON"]}),
        reply("a new word", {"id": "v-1", "state": "frozen"}, expect={"error": "UnknownWord", "says": ["frozen"]}),
    ],
}
Replies = list[dict[str, Any]]


def named(replies: Replies, name: str) -> dict[str, Any]:
    return next(one for one in replies if one["name"] == name)


def without(*names: str) -> Callable[[Replies], None]:
    def leave_out(replies: Replies) -> None:
        replies[:] = [one for one in replies if one["name"] not in names]

    return leave_out


def changed(name: str, /, **changes: Any) -> Callable[[Replies], None]:
    return lambda replies: named(replies, name).update(changes)


class Damage(NamedTuple):
    """One thing that is wrong: with the description (arguments of ``replace``) or the replies; the test that says so, and how."""

    test: str
    line: str
    description: str = ""
    replies: Callable[[Replies], Any] = lambda _: None


MISSING, READ, FILE = "nothing_is_missing", "a_recorded_reply_is_read_as_what_it_means", "its_file_of_recorded_replies"
RULES, FIT, PLACES = "it_keeps_the_rules_of_descriptions", "its_routes_fit_together", "it_reads_no_place_that_it_must_not"
NOTICED = "a_reply_about_another_id_is_noticed"
DAMAGES = {
    "no_word": Damage(MISSING, 'no recorded reply for the word "queued"', replies=without("waits")),
    "no_401": Damage(MISSING, "no recorded reply for a wrong key (401, KeyRejected)", replies=without("401")),
    "no_403": Damage(MISSING, "no recorded reply for a key that may not read an id (403, KeyRejected)", replies=without("403")),
    "no_402": Damage(MISSING, "no recorded reply for a used-up account (402, QuotaExhausted)", replies=without("402")),
    "no_quota": Damage(MISSING, "no recorded reply for a used-up account that the body tells", replies=without("429 for good")),
    "no_404": Damage(MISSING, "no recorded reply for an unknown id (404, NotFound)", replies=without("404")),
    "no_422": Damage(MISSING, "no recorded reply for a request that is refused (422 or 400", replies=without("422")),
    "no_429": Damage(MISSING, "no recorded reply for too many requests (429, RateLimited)", replies=without("429")),
    "no_hint": Damage(
        MISSING, "no recorded reply for a 429 that says how long to wait (retry-after, x-wait)", replies=without("429")
    ),
    "no_5xx": Damage(MISSING, "no recorded reply for a fault of the service (5xx, ServiceUnavailable)", replies=without("503")),
    "no_html": Damage(MISSING, "no recorded reply for a reply that is invalid (200, UnexpectedReply)", replies=without("a page")),
    "no_new_word": Damage(MISSING, "no recorded reply for a status word that nobody knows (200", replies=without("a new word")),
    "no_list": Damage(MISSING, 'no recorded reply for the list of the route "job" (GET /jobs)', replies=without("the list")),
    "no_several": Damage(MISSING, 'no recorded reply for several ids of the route "job"', replies=without("several")),
    "no_submit": Damage(MISSING, 'no recorded reply for a submission to the route "job"', replies=without("accepted")),
    "no_result": Damage(
        MISSING, 'no recorded reply for the result of the route "job"', replies=without("its data", "its data elsewhere")
    ),
    "no_206": Damage(MISSING, "no recorded reply for a status with the code 206", "**job(codes={206: State.PARTIAL})"),
    "no_route": Damage(
        MISSING,
        'no recorded reply for a status of the route "scan"',
        'routes={"job": JOB, "scan": replace(JOB, path="/scans/{id}")}',
    ),
    "other_path": Damage(
        READ,
        'the recorded reply "is done": the vendor is asked at /v1/job/v-1, not at /v1/jobs/{job_id}',
        '**job(path="/job/{id}")',
    ),
    "other_id": Damage(
        READ,
        'the recorded reply "is done": the vendor is asked at /v1/jobs/xv-1, which is not about v-1',
        '**job(path="/jobs/x{id}")',
    ),
    "other_query": Damage(
        READ,
        "the recorded reply \"is done\": the vendor is asked with version=None, not '2'",
        replies=changed("is done", query={"version": "2"}),
    ),
    "other_errors": Damage(
        READ, "the recorded reply \"failed\": message is read as None, not 'unreadable'", '**job(errors=("why",))'
    ),
    "other_state": Damage(
        READ,
        "the recorded reply \"is done\": state is read as 'failed', not 'succeeded'",
        'words={State.RUNNING: ("queued", "working"), State.SUCCEEDED: ("good",), State.FAILED: ("failed", "done")}',
    ),
    "other_time": Damage(
        READ,
        "the recorded reply \"is done\": created_at is read as '2026-01-02T03:04:05+00:00', not '2026-01-02'",
        replies=lambda replies: named(replies, "is done")["expect"].update(created_at="2026-01-02"),
    ),
    "other_error": Damage(
        READ,
        'the recorded reply "402": it is read as QuotaExhausted, not as NotFound',
        replies=changed("402", expect={"error": "NotFound"}),
    ),
    "no_error": Damage(
        READ,
        'the recorded reply "is done": it is read as good, not as NotFound',
        replies=changed("is done", expect={"error": "NotFound"}),
    ),
    "other_message": Damage(
        READ,
        "the recorded reply \"402\": the message lacks 'Pay now'",
        replies=changed("402", expect={"error": "QuotaExhausted", "says": ["Pay now"]}),
    ),
    "other_wait": Damage(
        READ, 'the recorded reply "429": retry_after is None, not 7', replies=changed("429", headers={"x-wait-a-bit": "7"})
    ),
    "other_submit": Damage(
        READ,
        'the recorded reply "accepted": the id is not where submit says',
        '**job(submit=Submission(path="/jobs", id="job_id"))',
    ),
    "other_data": Damage(
        READ, 'the recorded reply "its data": it is read as NoData', '**job(result=replace(JOB.result, take="words"))'
    ),
    "other_list": Damage(
        READ,
        'the recorded reply "the list": it is read as UnexpectedReply',
        '**job(listing=ListRoute(path="/jobs", items="items"))',
    ),
    "other_batch": Damage(
        READ,
        'the recorded reply "several": the vendor is asked with ids=None',
        '**job(batch=BatchRoute(path="/jobs", parameter="id", items="jobs"))',
    ),
    "no_link": Damage(
        READ,
        'the recorded reply "its data elsewhere": no recorded reply for what a link leads to',
        replies=without("what the link leads to"),
    ),
    "its_function": Damage(READ, 'the recorded reply "is done": reading it raised ZeroDivisionError: by zero', "adjust=fails"),
    "other_host": Damage(
        FILE, "link_hosts does not name", replies=changed("what the link leads to", url="https://files.other.com/v-1")
    ),
    "other_key": Damage(
        FILE,
        "the key is recorded as Authorization: Bearer {key}, and the description sends it in no such way",
        'auth={"api_key": ("X-Key", "{key}")}',
    ),
    "no_source": Damage(FILE, 'the recorded reply "401" names no source', replies=changed("401", source="somewhere")),
    "two_names": Damage(FILE, '2 recorded replies have the name "is done"', replies=changed("works", name="is done")),
    "no_says": Damage(
        FILE,
        'the recorded reply "503" does not say what the message must name',
        replies=changed("503", expect={"error": "ServiceUnavailable"}),
    ),
    "unknown_route": Damage(
        FILE,
        'the recorded reply "is old" has the route "scan", which the description does not have',
        replies=lambda replies: replies.append({**status("is old", state="done"), "route": "scan"}),
    ),
    "unknown_list": Damage(
        FILE,
        'the recorded reply "the list" is asked for at /v1/jobs (ask: list), which no route of the description does',
        "**job(listing=None)",
    ),
    "unknown_several": Damage(
        FILE,
        'the recorded reply "several" is asked for at /v1/jobs (ask: statuses), which no route of the description does',
        "**job(batch=None)",
    ),
    "not_a_reply": Damage(FILE, "json: the recorded reply 'works' has ask='poll'", replies=changed("works", ask="poll")),
    "unnoticed": Damage(NOTICED, "routes.job.ids: no recorded reply has an id there, so", '**job(ids=("job_id",))'),
    "no_ids": Damage(NOTICED, 'routes.job.ids: it is empty, and the recorded reply "waits" repeats the id', "**job(ids=())"),
    "plain_http": Damage(RULES, "host: must be an https URL", 'host="http://api.vellum.example"'),
    "no_evidence": Damage(RULES, "evidence: must not be empty", 'evidence=""'),
    "too_often": Damage(RULES, "poll_interval: must not be less than least_poll_interval", "poll_interval=1.0"),
    "operations": Damage(FIT, "operations: the service has none", 'operations={"work": "job"}'),
    "blank_title": Damage(RULES, "title: must not be empty, nor have blanks around it", 'title=" Vellum"'),
    "upper_case": Damage(RULES, "retry_headers: must be in lower case", 'retry_headers=("X-Wait",)'),
    "twice": Damage(RULES, "prefixes: must not hold one twice", 'prefixes=("/v1", "/v1")'),
    "two_parts": Damage(FIT, "routes.job.path: an id of several parts needs a name for each", '**job(path="/jobs/{id}/{part}")'),
    "parameter": Damage(FIT, "routes.job.parameter: must be one of request_id", '**job(parameter="paper_id")'),
    "codes": Damage(FIT, "routes.job.codes: must mean states", '**job(codes={206: "half"})'),
    "contents": Damage(
        FIT, "routes.job.result: must be left out where", 'contents={"text": Content(path="/text")}, read_item=fails'
    ),
    "read_item": Damage(FIT, "read_item: needs contents", "read_item=fails"),
    "no_counters": Damage(FIT, "routes.job.counters, children: must both be there for a request", '**job(kind="request")'),
    "filters": Damage(
        FIT,
        "routes.job.listing.filters: must not hold the parameters of the pages",
        '**job(listing=replace(JOB.listing, filters=("offset",)))',
    ),
    "other_names": Damage(
        FIT,
        "operations.job: must be in lower case, and no route's own name",
        'routes={"job": JOB, "scan": replace(JOB, path="/scans/{id}")}, operations={"job": "scan"}',
    ),
    "no_place": Damage(PLACES, "routes.job: a place must be a dotted path, not 'a..b'", '**job(links=("a..b",))'),
    "user_id": Damage(PLACES, "routes.job.details: must hold no user's id", '**job(details={"user_id": ("owner",)})'),
    "put": Damage(FILE, "the recorded reply \"works\" has the method 'PUT'", replies=changed("works", method="PUT")),
    "post": Damage(
        READ, 'the recorded reply "works": the vendor is asked by GET, not by POST', replies=changed("works", method="POST")
    ),
    "says_too_much": Damage(
        READ,
        "the recorded reply \"402\": the message has 'Refused'",
        replies=changed("402", expect={"error": "QuotaExhausted", "says": [], "never_says": ["Refused"]}),
    ),
    "other_item": Damage(READ, 'the recorded reply "several": messages is read as {}', '**job(errors=("why",))'),
    "other_answer": Damage(
        READ,
        'the recorded reply "accepted": the answer does not hold the id v-9',
        replies=changed("accepted", expect={"id": "v-9"}),
    ),
    "other_place": Damage(
        READ,
        "the recorded reply \"accepted\": submit leads to the id 'x-1', not to 'v-1'",
        '**job(submit=Submission(path="/jobs", id="trace"))',
        changed("accepted", body={"id": "v-1", "trace": "x-1"}),
    ),
    "no_holder": Damage(
        READ,
        'no recorded result holds the link of the recorded reply "what the link leads to"',
        replies=without("its data elsewhere"),
    ),
    "long_facts": Damage(
        READ,
        'the recorded reply "is done": the status is longer than 8000 characters',
        '**job(details={"total_pages": ("pages",), **{f"fact_{n}": ("long",) for n in range(60)}})',
        lambda replies: named(replies, "is done")["body"].update(long="x" * 190),
    ),
    "a_user": Damage(
        PLACES, "routes.job: 'user.name' must not be read", '**job(details={"total_pages": ("pages",), "by": ("user.name",)})'
    ),
}


def recorded(name: str = "vellum", damage: Callable[[Replies], Any] = lambda _: None) -> dict[str, Any]:
    replies = copy.deepcopy(RECORDED["replies"])
    damage(replies)
    return {**RECORDED, "service": name, "replies": replies}


def make(folder: Path) -> list[str]:
    """Write a package with the vendor and all damaged ones; return its descriptions as ``module:NAME``."""
    (folder / "replies").mkdir()
    text = VELLUM
    for name, damage in DAMAGES.items():
        changes = f", {damage.description}" if damage.description else ""
        text += f"{name.upper()} = replace(VELLUM, name={name!r}{changes})\n"
        (folder / f"replies/{name}.json").write_text(json.dumps(recorded(name, damage.replies)))
    (folder / "replies/vellum.json").write_text(json.dumps(recorded()))
    (folder / "vellum_docstatus.py").write_text(text + "UNRECORDED = replace(VELLUM, name='unrecorded')\n")
    return [f"vellum_docstatus:{name.upper()}" for name in ("vellum", "unrecorded", *DAMAGES)]


def run(folder: Path, *arguments: str) -> pytest.ExitCode:
    """Run pytest as in a project of its own; the plugin is named, so that it works installed and not."""
    plugin = "airflow_provider_docstatus.testing.fixtures"
    options = ["-q", "-p", plugin, "-p", "no:cacheprovider", "--strict-markers", "-c", os.devnull, "--rootdir", str(folder)]
    return pytest.main([*options, *arguments])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the contract for all of them; return what each test that failed told, by its name."""
    folder = tmp_path_factory.mktemp("vellum")
    options = [part for name in make(folder) for part in ("--docstatus-service", name)]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.delitem(sys.modules, "vellum_docstatus", raising=False)
        assert run(folder, "--junitxml", str(folder / "told.xml"), "--pyargs", MODULE, *options) == pytest.ExitCode.TESTS_FAILED
    cases = list(ET.parse(folder / "told.xml").iter("testcase"))
    assert {case.get("name").partition("[")[0] for case in cases} == {one for one in contract.__all__ if one.startswith("test_")}
    return {case.get("name"): failure.text for case in cases if (failure := case.find("failure")) is not None}


def failed(told: dict[str, str], name: str) -> dict[str, str]:
    return {test: text for test, text in told.items() if f"[{name}]" in test or f"[{name}-" in test}


def test_a_good_one_passes(told):
    assert failed(told, "vellum") == {}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_one_fails_with_a_line_that_says_what_is_wrong(told, name):
    damage = DAMAGES[name]
    lines = [
        line for test, text in failed(told, name).items() if test.startswith(f"test_{damage.test}[") for line in text.splitlines()
    ]
    assert [line for line in lines if damage.line in line]
    assert not [line for line in lines if "Error: " in line and "ZeroDivision" not in line], "lines, no tracebacks"


def test_one_without_recorded_replies_is_told_where_they_are_looked_for(told):
    ((test, text),) = failed(told, "unrecorded").items()
    assert test == f"test_{FILE}[unrecorded]"
    assert text.startswith("there are no recorded replies: no file ")
    assert text.strip().endswith("replies/unrecorded.json")


def test_the_command_prints_the_lines_alone(folder):
    """As a user runs it, in a process of its own."""
    services = ["--docstatus-service", "vellum_docstatus:VELLUM", "--docstatus-service", "vellum_docstatus:NO_WORD"]
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command += ["-p", "airflow_provider_docstatus.testing.fixtures", "--pyargs", MODULE, *services]
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-2000:] + done.stderr
    section = done.stdout.partition("FAILURES")[2].partition("short test summary")[0].splitlines()
    assert [line for line in section[1:] if not line.startswith(("_", "="))] == ['no recorded reply for the word "queued"']


# -- a test file of one's own ----------------------------------------------------------------------------------

DESCRIBED = """
name: vellum
title: Vellum
host: https://api.vellum.example
docs: https://docs.vellum.example
auth: {bearer: [Authorization, "Bearer {key}"]}
prefixes: [/v1]
routes:
  job:
    path: /jobs/{id}
    ids: [id]
    status: [state]
    errors: [reason]
    result: {path: "/jobs/{id}/result", has_status: false, take: text, link: [url]}
words: {running: [queued, working], succeeded: [done], failed: [failed]}
quota: {code: [no_credits]}
retry_headers: [x-wait]
link_hosts: ["*.vellum.example"]
evidence: made up
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for module in ("vellum_docstatus", "test_mine"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "vellum.yaml").write_text(DESCRIBED)
    (tmp_path / "vellum.replies.json").write_text(json.dumps(recorded(damage=without("the list", "several"))))
    return tmp_path


@pytest.mark.parametrize(
    "constants",
    [
        'SERVICE = "vellum_docstatus:VELLUM"',
        'from vellum_docstatus import VELLUM as SERVICE\nREPLIES = __file__.replace("test_mine.py", "replies/vellum.json")',
        'SERVICE, REPLIES = ["vellum_docstatus:VELLUM"], __file__.replace("test_mine.py", "replies")',
        'SERVICE = __file__.replace("test_mine.py", "vellum.yaml")',
    ],
)
def test_a_test_file_of_ones_own_needs_one_import_and_a_constant(folder, constants, capsys):
    own = "def test_ones_own():\n    pass\n"
    (folder / "test_mine.py").write_text(f"from {MODULE} import *\n{constants}\n{own}")
    assert run(folder, str(folder / "test_mine.py")) == pytest.ExitCode.OK
    out = capsys.readouterr().out
    assert " passed" in out
    assert "skipped" not in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--docstatus-service", "nothing_of_this_name:VELLUM"], "is no module:NAME of a description"),
        (["--docstatus-service", "vellum_docstatus:NOTHING"], "is no module:NAME of a description"),
        (["--docstatus-service", "vellum_docstatus"], "vellum_docstatus names no description: write vellum_docstatus:NAME, or"),
        (["--docstatus-service", "vellum_docstatus:JOB"], "is no ServiceDescription but a Route"),
        (["--docstatus-service", "nothing.yaml"], "nothing.yaml is no description that can be used"),
        (
            [*("--docstatus-service", "vellum_docstatus:VELLUM") * 2, "--docstatus-replies", "vellum.replies.json"],
            "vellum.replies.json is no folder",
        ),
    ],
)
def test_an_option_that_names_nothing_is_told_so(folder, options, said, capsys):
    assert run(folder, "--pyargs", MODULE, *options) == pytest.ExitCode.INTERRUPTED
    out = capsys.readouterr().out
    assert said in out
    assert "Traceback" not in out


def test_the_replies_can_be_elsewhere(folder, capsys):
    (folder / "elsewhere").mkdir()
    (folder / "vellum.replies.json").rename(folder / "elsewhere/vellum.json")
    options = ["--docstatus-service", str(folder / "vellum.yaml"), "--docstatus-replies", str(folder / "elsewhere")]
    assert run(folder, "--pyargs", MODULE, *options) == pytest.ExitCode.OK


# -- the functions ---------------------------------------------------------------------------------------------


def test_what_is_missing_is_a_list_of_lines(folder):
    from vellum_docstatus import VELLUM

    assert missing(VELLUM, recorded()) == []
    assert missing(VELLUM, Recording.read(recorded(damage=without("waits")))) == ['no recorded reply for the word "queued"']
    assert missing(VELLUM, folder / "replies/no_404.json") == ["no recorded reply for an unknown id (404, NotFound)"]


def test_every_service_that_is_installed_is_tested_without_an_option(folder, monkeypatch):
    info = folder / "vellum_docstatus-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vellum-docstatus\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nvellum = vellum_docstatus:VELLUM\n")
    monkeypatch.setattr(registry, "_installed", registry._Installed())
    found = list(contract.installed())
    assert [one.service.name for one in found] == [*SERVICES, "vellum"]
    assert all(one.recording is not None for one in found)
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nvellum = vellum_docstatus:JOB\n")
    monkeypatch.setattr(registry, "_installed", registry._Installed())
    with pytest.raises(ValueError, match="vellum = vellum_docstatus:JOB is left out: it is no ServiceDescription but a Route"):
        list(contract.installed())
    (folder / "broken.py").write_text("raise RuntimeError('no licence')")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nvellum = broken:VELLUM\n")
    monkeypatch.setattr(registry, "_installed", registry._Installed())
    with pytest.raises(ValueError, match=r"is left out: it cannot be loaded \(RuntimeError: no licence\)"):
        list(contract.installed())
    points = "one = vellum_docstatus:VELLUM\ntwo = other_docstatus:VELLUM"
    (folder / "other_docstatus.py").write_text(
        "import vellum_docstatus\nfrom dataclasses import replace\nVELLUM = replace(vellum_docstatus.VELLUM)"
    )
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{points}\n")
    monkeypatch.setattr(registry, "_installed", registry._Installed())
    with pytest.raises(ValueError, match="two = other_docstatus:VELLUM is left out: another service or package has its name"):
        list(contract.installed())


def test_a_key_that_comes_out_is_found(monkeypatch):
    recording = Recording.read(FOLDER / "unsiloed.json")
    failures = [reply for reply in recording.replies if reply.error or reply.expect.get("message")]
    assert not [line for reply in failures for line in reading.leaks(UNSILOED, recording, reply)]
    monkeypatch.setattr(reading, "redacted", lambda _key, headers, body: untouched(headers, body))
    assert [line for reply in failures for line in reading.leaks(UNSILOED, recording, reply)]


def untouched(headers: Any, body: bytes) -> Any:
    return headers, body
    yield


def test_a_file_of_another_service_and_a_key_without_a_source_are_told(folder):
    from vellum_docstatus import VELLUM

    other = Recording.read({**recorded("papyrus"), "key": {"header": None}})
    assert list(checks.recording(VELLUM, other)) == [
        "the recorded replies are of 'papyrus', not of 'vellum'",
        "the recorded key is optional, and the description does not say key_optional",
        'no source for how the key is sent ("key": {"source": ...})',
    ]
    assert missing(VELLUM, Recording.read({**recorded(damage=without("401", "403")), "key": {"header": None}})) == []


def test_a_description_without_a_place_for_its_replies_says_so(folder):
    from vellum_docstatus import VELLUM

    assert "name the file" in contract_of(VELLUM).problem


def test_the_page_shows_replies_that_can_be_read():
    page = (ROOT / "docs/recorded-replies.md").read_text()
    recording = Recording.read(json.loads(page.partition("```json\n")[2].partition("```")[0]))
    assert [reply.expect.get("word", reply.error) for reply in recording.replies] == ["failed", "NotFound"]
    assert all(f"| `{ask}` |" in page for ask in ASKS)


def test_the_recorded_statuses_are_counted_by_where_they_come_from():
    replies = [
        {**status("a", state="done"), "source": "[sdk] 1.0; assembled"},
        {**status("b", state="done"), "source": "[inf] assembled"},
        status("c", state="done"),
        refusal(404, "NotFound"),
    ]
    assert provenance(Recording.read({"service": "vellum", "replies": replies})) == (3, 1, 1)
