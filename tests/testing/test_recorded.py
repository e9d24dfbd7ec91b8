"""Vendors played from their recorded replies: two that are made up."""

from __future__ import annotations

import json
import math
import re
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import requests

from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.testing import StandInVendors, recordings

HERE = Path(__file__).parent
KEY = {"Authorization": "Bearer papermill_stand_in"}


@pytest.fixture
def vendors():
    with StandInVendors(
        job_seconds=0, replies=[HERE / "papermill.json", json.loads((HERE / "longarm.json").read_text())]
    ) as vendors:
        yield vendors


def get(vendors, path, headers=KEY, **params):
    return requests.get(vendors.url + path, headers=headers, params=params, timeout=5, allow_redirects=False)


def post(vendors, path, headers=KEY, **how):
    return requests.post(vendors.url + path, headers=headers, timeout=5, **how)


def parse_of_age(vendors, share, **fields):
    return vendors.add_job("papermill", "parse", seconds=1000, created_at=time.time() - share * 1000, **fields)


class TestSubmit:
    def test_what_is_submitted_gets_a_new_id_of_the_recorded_form(self, vendors):
        first, second = (post(vendors, "/v1/parse/jobs", json={"url": "https://x.example/a.pdf"}) for _ in range(2))
        job_id = first.json()["job_id"]
        assert first.status_code == 202
        assert job_id.startswith("parse-")
        assert job_id not in {"parse-0a1b2c", second.json()["job_id"]}
        assert first.headers["x-job"] == job_id
        assert get(vendors, f"/v1/parse/jobs/{job_id}").json()["status"] == "Done"
        uuid = post(vendors, "/v1/extract", files={"file": ("a.pdf", b"%PDF")}).json()["id"]
        assert [len(part) for part in uuid.split("-")] == [8, 4, 4, 4, 12]

    def test_a_link_to_the_vendor_leads_to_the_stand_in(self, vendors):
        poll = post(vendors, "/v1/parse/jobs", json={}).json()["poll"]
        assert poll.startswith(vendors.url)
        assert requests.get(poll, headers=KEY, timeout=5).json()["status"] == "Done"

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            ({"json": {"input": "https://x.example/will-fail.pdf?a=b"}}, "failed"),
            ({"json": {"files": [{"name": "fail.pdf"}]}}, "failed"),
            ({"files": {"file": ("corrupt.pdf", b"")}}, "failed"),
            ({"files": {"file": (None, b"https://x.example/partial.pdf")}}, "partial"),
            ({"data": {"file_url": "https://x.example/fail.pdf"}}, "failed"),
            ({"files": {"file": ("review.pdf", b"")}}, "completed"),
            ({"data": b"%PDF", "headers": {**KEY, "Content-Type": "application/pdf"}}, "completed"),
        ],
    )
    def test_the_name_steers_the_ending(self, vendors, sent, status):
        job_id = post(vendors, "/v1/parse/jobs", **sent).json()["job_id"]
        assert vendors.jobs[job_id].ends == status

    def test_two_ids_in_a_path_make_one(self, vendors):
        answer = post(vendors, "/di/models/my-invoice:analyze?api-version=1", {}, data=b"%PDF")
        location = answer.headers["Operation-Location"]
        assert (answer.status_code, answer.content) == (202, b"")
        assert location.startswith(f"{vendors.url}/di/models/my-invoice/results/")
        assert "3f2e" not in location
        assert list(vendors.jobs) == [location.removeprefix(f"{vendors.url}/di/models/").split("?")[0].replace("/results/", "/")]
        body = requests.get(location, timeout=5).json()
        assert body["analyzeResult"] == {"modelId": "my-invoice", "content": "Invoice 7"}


class TestStatus:
    @pytest.mark.parametrize(
        ("share", "word"), [(0, "Pending"), (0.19, "Pending"), (0.3, "Working"), (0.7, "Writing"), (0.99, "Writing"), (1, "Done")]
    )
    def test_a_job_goes_through_the_recorded_words(self, vendors, share, word):
        body = get(vendors, f"/v1/parse/jobs/{parse_of_age(vendors, share)}").json()
        assert body["status"] == word

    def test_an_endless_job_stays_at_work(self, vendors):
        job_id = vendors.add_job("papermill", "parse", seconds=math.inf, job_id="parse-mine")
        assert get(vendors, f"/v1/parse/jobs/{job_id}").json() == {"job_id": "parse-mine", "status": "Working", "progress": 0.4}

    @pytest.mark.parametrize(("ends", "code"), [("completed", 200), ("partial", 206), ("failed", 200)])
    def test_it_ends_as_told(self, vendors, ends, code):
        job_id = vendors.add_job("papermill", "parse", ends=ends, seconds=math.inf)
        vendors.finish(job_id)
        answer = get(vendors, f"/v1/parse/jobs/{job_id}")
        assert (answer.status_code, answer.json()["status"]) == (code, "Failed" if ends == "failed" else "Done")
        assert answer.json()["job_id"] == job_id

    def test_an_ending_that_is_not_recorded_is_refused(self, vendors):
        with pytest.raises(ValueError, match="does not end 'cancelled'; it ends completed, failed, partial"):
            vendors.add_job("papermill", "parse", ends="cancelled")
        with pytest.raises(ValueError, match="papermill has no 'split'; it has parse, batch, extract"):
            vendors.add_job("papermill", "split")
        with pytest.raises(ValueError, match="no stand-in for 'nobody'"):
            vendors.add_job("nobody")

    def test_ids_change_as_words_only(self, vendors):
        body = get(vendors, f"/v1/parse/jobs/{vendors.add_job('papermill', job_id='parse-9')}").json()
        assert body["page"] == "https://www.papermill.example/parse-9"
        assert body["note"] == "parse-0a1b2cd"

    def test_word_fields_and_error_of_a_job_are_answered(self, vendors):
        job_id = vendors.add_job("papermill", "extract", word="DONE", reply={"more": 1}, seconds=0)
        assert get(vendors, f"/v1/extract/{job_id}").json() == {
            "job": {"id": job_id, "status": "done"}, "text": "the word is done", "state": "DONE", "more": 1,
        }  # fmt: skip
        failed = vendors.add_job("papermill", "parse", ends="failed", seconds=0, error="Too dark")
        assert get(vendors, f"/v1/parse/jobs/{failed}").json()["error"] == {"message": "Too dark"}

    def test_a_recorded_reply_can_be_asked_for_by_its_name(self, vendors):
        job_id = vendors.add_job("papermill", "parse", recorded="402", seconds=0)
        assert get(vendors, f"/v1/parse/jobs/{job_id}").status_code == 402

    def test_a_recorded_answer_of_another_path_leaves_the_status_alone(self, vendors):
        job_id = vendors.add_job("papermill", "extract", recorded="no data", seconds=0)
        assert get(vendors, f"/v1/extract/{job_id}/text").status_code == 422
        assert get(vendors, f"/v1/extract/{job_id}").status_code == 200

    def test_a_reply_can_be_preferred_to_others_of_its_meaning(self, vendors):
        job_id = vendors.add_job("papermill", "parse", seconds=0)
        vendors.prefer = {"a parse in another shape"}
        assert "output_url" not in get(vendors, f"/v1/parse/jobs/{job_id}").json()
        vendors.prefer = ()
        assert "output_url" in get(vendors, f"/v1/parse/jobs/{job_id}").json()

    def test_times_move_so_that_the_first_is_the_jobs(self, vendors):
        fields = {"recorded": "a parse in another shape", "seconds": 0, "created_at": 1_700_000_000.0}
        body = get(vendors, f"/v1/parse/jobs/{vendors.add_job('papermill', 'parse', **fields)}").json()
        assert body["received_at"] == 1_700_000_000
        assert body["created_at"] == "2023-11-15T00:13:30.250+02:00"
        assert body["completed_at"] == "2023-11-14T22:14:30Z"
        assert (body["at"], body["day"]) == (True, "2020-01-01")


class TestResult:
    def test_a_link_leads_to_the_recorded_data_without_a_key(self, vendors):
        job_id = vendors.add_job("papermill", "parse", seconds=0)
        link = get(vendors, f"/v1/parse/jobs/{job_id}").json()["output_url"]
        assert link.startswith(f"{vendors.url}/storage/{job_id}/")
        assert requests.get(link, timeout=5).json() == {"text": "Invoice"}
        vendors.jobs[job_id].content = {"text": "mine"}
        assert requests.get(link, timeout=5).json() == {"text": "mine"}
        assert requests.get(f"{vendors.url}/storage/{job_id}/other", timeout=5).status_code == 404
        vendors.forget(job_id)
        assert requests.get(link, timeout=5).status_code == 404

    def test_a_parameter_asks_for_the_data(self, vendors):
        job_id = vendors.add_job("papermill", "extract", seconds=0, content={"total": 8})
        assert "data" not in get(vendors, f"/v1/extract/{job_id}").json()
        assert get(vendors, f"/v1/extract/{job_id}", expand="data").json()["data"] == {"total": 8}
        running = vendors.add_job("papermill", "extract", seconds=math.inf)
        assert get(vendors, f"/v1/extract/{running}", expand="data").json() == {"job": {"id": running, "status": "working"}}

    def test_text_is_sent_as_it_stands_but_for_the_id(self, vendors):
        answer = get(vendors, f"/v1/extract/{vendors.add_job('papermill', 'extract', seconds=0, job_id='mine')}/text")
        assert (answer.text, answer.headers["Content-Type"], answer.headers["Content-Length"]) == ("# mine", "text/markdown", "6")

    @pytest.mark.parametrize(
        ("job", "code", "error"),
        [({"seconds": math.inf}, 409, "x9 is not finished"), ({"seconds": 0, "ends": "cancelled"}, 422, "x9 failed")],
    )
    def test_without_data_the_recorded_refusal_is_given(self, vendors, job, code, error):
        vendors.add_job("papermill", "extract", job_id="x9", **job)
        answer = get(vendors, "/v1/extract/x9/text")
        assert (answer.status_code, answer.json()) == (code, {"error": error})


class TestMany:
    def test_the_list_holds_the_jobs_there_are(self, vendors):
        done, failed, running = (
            vendors.add_job("papermill", "parse", **how)
            for how in ({"seconds": 0}, {"seconds": 0, "ends": "failed"}, {"seconds": math.inf})
        )
        vendors.add_job("papermill", "extract")
        body = get(vendors, "/v1/parse/jobs").json()
        assert {item["job_id"]: item["status"] for item in body["jobs"]} == {done: "Done", failed: "Failed", running: "Working"}
        assert (body["next_page"], body["has_more"]) == (None, False)
        assert [item["job_id"] for item in get(vendors, "/v1/parse/jobs", status="failed").json()["jobs"]] == [failed]

    def test_the_jobs_of_a_batch_can_be_listed(self, vendors):
        one, two, other = (
            vendors.add_job("papermill", "parse", ends=ends, seconds=0) for ends in ("completed", "failed", "failed")
        )
        batch_id = vendors.add_batch([one, two])
        listed = get(vendors, "/v1/parse/jobs", batch=batch_id).json()["jobs"]
        assert {item["job_id"] for item in listed} == {one, two} != {other}
        assert get(vendors, f"/v1/batches/{batch_id}").json() == {"batch_id": batch_id, "status": "Done"}

    def test_a_submit_of_many_files_gives_many_ids(self, vendors):
        files = [("files", (name, b"%PDF")) for name in ("a.pdf", "fail.pdf", "c.pdf")]
        body = post(vendors, "/v1/parse/batch", files=files).json()
        assert body["total_jobs"] == 3
        assert [vendors.jobs[job["job_id"]].ends for job in body["jobs"]] == ["completed", "failed", "completed"]

    @pytest.mark.parametrize("join", [False, True], ids=["repeated", "with commas"])
    def test_several_ids_are_answered_by_one_request(self, vendors, join):
        one, two = (vendors.add_job("papermill", "parse", seconds=seconds) for seconds in (0, math.inf))
        vendors.add_job("papermill", "parse")
        asked = [one, two, "parse-unknown"]
        body = get(vendors, "/v1/parse/jobs", ids=",".join(asked) if join else asked).json()
        assert body == {"jobs": [{"job_id": one, "status": "Done"}, {"job_id": two, "status": "Working"}]}


class TestRefusals:
    def test_an_unknown_id_is_refused_as_recorded(self, vendors):
        answer = get(vendors, "/v1/parse/jobs/parse-7")
        assert (answer.status_code, answer.json()) == (404, {"message": "no job parse-7"})
        assert get(vendors, "/di/models/m/results/r", {}, **{"api-version": "1"}).json()["error"]["message"] == "r"

    def test_a_hidden_or_forgotten_job_is_unknown(self, vendors):
        job_id = vendors.add_job("papermill", "parse", hidden_seconds=60)
        assert get(vendors, f"/v1/parse/jobs/{job_id}").status_code == 404

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "papermill_stand_in"}, {"Authorization": "Bearer wrong"}])
    def test_a_wrong_or_missing_key_is_refused_as_recorded(self, vendors, headers):
        answer = get(vendors, "/v1/parse/jobs/parse-7", headers)
        assert (answer.status_code, answer.json()) == (401, {"message": "who are you"})
        assert post(vendors, "/v1/extract", headers).status_code == 401

    def test_an_optional_key_may_be_missing_but_not_wrong(self, vendors):
        path = f"/di/models/{vendors.add_job('longarm').replace('/', '/results/')}"
        codes = [
            get(vendors, path, headers, **{"api-version": "1"}).status_code
            for headers in ({}, {"X-Key": "longarm_stand_in"}, {"X-Key": "no"})
        ]
        assert codes == [200, 200, 401]

    def test_a_missing_parameter_is_refused_as_recorded(self, vendors):
        assert get(vendors, "/di/models/m/results/r", {}).json() == {"error": {"code": "MissingApiVersion"}}

    def test_limits_are_refused_as_recorded(self, vendors):
        limit = vendors.limit("papermill", 0)
        answer = get(vendors, "/v1/parse/jobs/parse-7")
        assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (429, {"message": "slower"}, "60")
        assert limit.refused == 1
        vendors.limit("papermill", 0, reason="payment")
        answer = get(vendors, "/v1/extract/1")
        assert (answer.status_code, answer.json(), "Retry-After" in answer.headers) == (402, {"message": "no credits"}, False)
        vendors.limit("longarm", 0)
        assert get(vendors, "/di/models/m/results/r", {}).json() == {"detail": "Too Many Requests"}

    def test_an_unknown_path_is_answered_by_the_vendor_whose_key_is_sent(self, vendors):
        assert get(vendors, "/v1/nothing").json() == {"message": "no route"}
        assert get(vendors, "/v1/nothing", {}).json() == {"detail": "Not Found"}
        assert get(vendors, "/v1/nothing", {"X-Key": "longarm_stand_in"}).json() == {"detail": "Not Found"}

    def test_faults_concern_it_too(self, vendors):
        vendors.answer_next(503, path="/parse/jobs")
        assert [get(vendors, "/v1/parse/jobs/1").status_code for _ in range(2)] == [503, 404]


def test_it_has_a_connection_and_is_recorded(vendors):
    assert vendors.connections()["papermill_default"] == {
        "conn_type": "papermill", "host": vendors.url, "password": "papermill_stand_in",
    }  # fmt: skip
    assert "AIRFLOW_CONN_LONGARM_DEFAULT" in vendors.environment()
    get(vendors, "/v1/parse/jobs/1")
    assert (vendors.requests[0].service, vendors.requests[0].key_ok) == ("papermill", True)


def test_of_vendors_that_share_a_path_the_one_whose_key_is_sent_answers():
    first = {"service": "first", "key": {"header": "X-One", "value": "{key}"}, "replies": [shared("first")]}
    second = {"service": "second", "key": {"header": "X-Two", "value": "{key}"}, "replies": [shared("second")]}
    keyless = {"service": "keyless", "key": {"header": None}, "replies": [shared("keyless")]}
    with StandInVendors(replies=[first, second, keyless]) as vendors:
        for name in ("first", "second", "keyless"):
            vendors.add_job(name, seconds=0, job_id=f"of-{name}")
        assert "password" not in vendors.connections()["keyless_default"]
        sent = {"first": {"X-One": "first_stand_in"}, "second": {"X-Two": "second_stand_in"}, "keyless": {}}
        for name, headers in sent.items():
            assert get(vendors, f"/job/of-{name}", headers).json() == {"is": name, "status": "done"}
        assert get(vendors, "/job/of-first", {"X-One": "wrong"}).status_code == 401


def shared(name):
    return {
        "ask": "status", "route": "job", "path": "/job/{id}", "id": "1", "body": {"is": name, "status": "done"},
        "expect": {"state": "succeeded", "word": "done"},
    }  # fmt: skip


@pytest.mark.parametrize("held", [{"replies": []}, {"service": "x"}])
def test_a_file_that_is_none_is_refused(held):
    with pytest.raises(ValueError, match="need 'service' and 'replies'"):
        StandInVendors(replies=[held])


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"name": "one"}, "'one' has ask=''; it can be submit, status"),
        ({"name": "one", "ask": "state"}, "'one' has ask='state'"),
        ({"name": "one", "ask": "link"}, "'one' is a link and has no 'url'"),
        ({"name": "one", "ask": "status"}, "'one' needs a path such as /jobs/{job_id}, not ''"),
        ({"name": "one", "ask": "status", "path": "/jobs/{job-id}"}, "not '/jobs/{job-id}'"),
        (
            {"name": "one", "ask": "status", "exepct": {}},
            "reply 'one' has an unknown key 'exepct'; the keys are ask, name, source",
        ),
        (
            {"name": "one", "ask": "submit", "path": "/jobs", "expect": {"ids": []}},
            "expect of the recorded reply 'one' (ask submit) has an unknown key 'ids'; the keys are id, error, says, never_says",
        ),
    ],
)
def test_a_reply_that_cannot_be_played_is_refused(reply, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        StandInVendors(replies=[{"service": "x", "replies": [reply]}])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("service: x", "recorded replies must be JSON (Expecting value"),
        ("\xff", "must be JSON ('utf-8'"),
        ("[]", "need 'service'"),
        ('{"service": "x", "replies": [1]}', ""),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=re.escape(f"{path}: ") + ".*" + re.escape(said)):
        StandInVendors(replies=[path])


def test_a_name_that_no_reply_has_is_refused():
    vendors = StandInVendors(replies=[HERE / "papermill.json"], prefer={"402"})
    with pytest.raises(ValueError, match="no recorded reply is called 'nope'; there are '401', '402', '404',"):
        vendors.add_job("papermill", "parse", recorded="nope")
    with pytest.raises(ValueError, match="no recorded reply is called 'no date'; did you mean 'no data'"):
        vendors.add_job("papermill", "extract", recorded="no date")
    with pytest.raises(ValueError, match="no recorded reply is called '402'; there are none"):
        vendors.add_job("neurolinker", recorded="402")
    with pytest.raises(
        ValueError, match="no recorded reply is called 'confidence as object'; did you mean 'confidence as an obj"
    ):
        StandInVendors(prefer={"confidence as object"})


def test_the_replies_of_a_service_that_a_package_brings_are_played(tmp_path, monkeypatch):
    (tmp_path / "acme_docstatus.py").write_text("raise RuntimeError('the stand-in need not import it')")
    (tmp_path / "replies").mkdir()
    held = json.loads((recordings.FOLDER / "reducto.json").read_text())
    (tmp_path / "replies" / "acme.json").write_text(json.dumps({**held, "service": "acme"}))
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint(name, f"{module}:ACME", recordings.SERVICES_GROUP)
        for name, module in {"acme": "acme_docstatus", "gone": "gone_docstatus", "odd": "odd..docstatus"}.items()
    ]
    monkeypatch.setattr(recordings, "entry_points", lambda group: points if group == recordings.SERVICES_GROUP else [])
    vendors = StandInVendors()
    assert vendors.vendors["acme"].NAME == "acme"
    assert vendors.keys["acme"] == "acme_stand_in"


def test_a_service_that_a_connection_describes_is_played_as_the_page_says(monkeypatch):
    page = (recordings.FOLDER.parents[2] / "docs/testing-your-dags.md").read_text()
    (block,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if one.startswith("MY_VENDOR = ")]
    namespace = {}
    exec(block.partition("\nwith ")[0], namespace)
    description = {
        "name": "my_vendor", "title": "My Vendor", "host": "https://vendor.example", "docs": "https://vendor.example",
        "auth": {"bearer": ["Authorization", "Bearer {key}"]}, "prefixes": ["/v1"],
        "routes": {"job": {"path": "/jobs/{id}", "ids": ["id"], "status": ["state"], "result": {"take": "data"}}},
        "words": {"running": ["working"], "succeeded": ["done"], "failed": ["failed"]},
    }  # fmt: skip
    with StandInVendors(replies=[namespace["MY_VENDOR"]]) as vendors:
        connection = {
            "conn_type": "docstatus", "host": vendors.url, "password": "my_vendor_stand_in",
            "extra": {"description": json.dumps(description)},
        }  # fmt: skip
        monkeypatch.setenv("AIRFLOW_CONN_MY_VENDOR_DEFAULT", json.dumps(connection))
        job_id = vendors.add_job("my_vendor", seconds=0)
        assert DocStatusHook("my_vendor_default").get_status(job_id=job_id).word == "done"
