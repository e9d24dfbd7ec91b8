"""Unsiloed's stand-in answers as the vendor's pages say."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_docstatus.testing import StandInVendors

HEADERS = {"api-key": "us_stand_in"}
CATEGORIES = {"categories": '[{"name": "invoice"}]'}
SUBMITS = {
    "extract": ("/v2/extract", "pdf_file", "file_url", {"schema_data": "{}"}),
    "parse": ("/parse", "file", "url", {}),
    "classify": ("/classify", "pdf_file", "file_url", CATEGORIES),
    "split": ("/splitter", "file", "file_url", CATEGORIES),
}
STATUS_PATH = {
    "extract": "/extract",
    "parse": "/parse",
    "classify": "/classify",
    "split": "/splitter",
    "job": "/jobs",
}


def get(vendors: StandInVendors, path: str, headers: Mapping[str, str] = HEADERS, **query: str) -> requests.Response:
    """Send a GET."""
    return requests.get(vendors.url + path, params=query, headers=dict(headers), timeout=5)


def status(vendors: StandInVendors, kind: str, job_id: str, **query: str) -> dict[str, Any]:
    """Ask for a job on its operation's route."""
    body: dict[str, Any] = get(vendors, f"{STATUS_PATH[kind]}/{job_id}", **query).json()
    return body


@pytest.mark.parametrize(
    ("kind", "code", "first", "last"),
    [
        ("extract", 200, "queued", "completed"),
        ("parse", 200, "Starting", "Succeeded"),
        ("classify", 202, "processing", "completed"),
        ("split", 202, "processing", "completed"),
    ],
)
@pytest.mark.parametrize("by", ["file", "link"])
def test_each_operation_has_its_own_parts_code_and_words(
    vendors: StandInVendors, *, kind: str, code: int, first: str, last: str, by: str
) -> None:
    """Files and links go into differently named parts."""
    path, file_part, link_part, data = SUBMITS[kind]
    files = {file_part: ("a.pdf", b"%PDF")} if by == "file" else None
    data = data if by == "file" else {**data, link_part: "https://example.com/a.pdf"}
    answer = requests.post(vendors.url + path, headers=HEADERS, files=files, data=data, timeout=5)
    assert (answer.status_code, answer.json()["status"]) == (code, first)
    assert status(vendors, kind, answer.json()["job_id"])["status"] == last


@pytest.mark.parametrize(
    ("path", "data", "code", "detail"),
    [
        ("/v2/extract", {"schema_data": "{"}, 400, "Invalid schema data: Not a valid JSON"),
        ("/v2/extract", {"schema_data": "{}"}, 422, None),
        ("/parse", {}, 422, None),
        ("/classify", {}, 422, None),
        ("/classify", CATEGORIES, 400, "Either pdf_file or file_url must be provided"),
        ("/splitter", {}, 400, "Classes parameter is required"),
        ("/splitter", CATEGORIES, 400, "Either file or file_url must be provided"),
    ],
)
def test_a_submit_is_checked(vendors: StandInVendors, path: str, data: dict[str, str], code: int, detail: str | None) -> None:
    """The complaints are those of the pages' samples."""
    answer = requests.post(vendors.url + path, headers=HEADERS, data=data, timeout=5)
    assert answer.status_code == code
    assert detail is None or answer.json() == {"detail": detail}


WAITING, RUNNING, OVER = 0, 50, 200


@pytest.mark.parametrize(
    ("kind", "ends", "age", "expected"),
    [
        ("extract", "completed", WAITING, {"status": "queued", "quota_remaining": 91242}),
        ("extract", "completed", RUNNING, {"status": "processing"}),
        ("extract", "review", OVER, {"status": "review"}),
        ("extract", "failed", OVER, {"status": "failed", "error": "torn"}),
        ("parse", "completed", WAITING, {"status": "Starting", "metadata": {}}),
        ("parse", "completed", RUNNING, {"status": "Processing"}),
        ("parse", "completed", OVER, {"status": "Succeeded", "message": "Task succeeded", "total_chunks": 25}),
        ("parse", "failed", OVER, {"status": "Failed", "message": "torn"}),
        ("parse", "cancelled", OVER, {"status": "Cancelled"}),
        ("classify", "completed", RUNNING, {"status": "processing", "result": None, "error": None}),
        (
            "classify",
            "failed",
            OVER,
            {"status": "failed", "error": "torn", "progress": "Classification failed"},
        ),
        ("split", "completed", OVER, {"status": "completed", "progress": "Starting document processing..."}),
        ("split", "failed", OVER, {"status": "failed", "error": "torn"}),
        ("job", "completed", WAITING, {"status": "queued", "type": "extraction"}),
        ("job", "completed", RUNNING, {"status": "PROCESSING"}),
        ("job", "completed", OVER, {"status": "COMPLETED"}),
        ("job", "failed", OVER, {"status": "FAILED", "error": "torn"}),
    ],
)
def test_each_route_has_its_own_words_and_fields(
    vendors: StandInVendors, kind: str, ends: str, age: float, expected: dict[str, Any]
) -> None:
    """Four vocabularies, in upper, lower and mixed case."""
    made = time.time() - age
    job_id = vendors.add_job("unsiloed", kind, ends=ends, seconds=100, created_at=made, error="torn")
    body = status(vendors, kind, job_id)
    assert body.items() >= expected.items()
    assert ("updated_at" in body) == (kind == "job" or (kind == "extract" and age > WAITING))


def test_results_have_the_shape_of_their_operation(vendors: StandInVendors) -> None:
    """Status and result are one answer."""
    ids = {kind: vendors.add_job("unsiloed", kind, seconds=0) for kind in SUBMITS}
    extracted = status(vendors, "extract", ids["extract"])
    assert extracted["result"]["invoice_number"]["value"] == "INV-2024-001"
    assert extracted["metadata"]["page_count"] == 27
    assert len(status(vendors, "parse", ids["parse"])["chunks"]) == 1
    assert status(vendors, "classify", ids["classify"])["result"]["classification"] == "invoice"
    files = status(vendors, "split", ids["split"])["result"]["files"]
    assert [file["name"] for file in files] == ["Invoice.pdf"]


def test_a_parse_can_have_chunks_of_its_own(vendors: StandInVendors) -> None:
    """They stand where the recorded ones do, also on the generic route and behind a link."""
    chunks = [{"embed": "mine"}]
    job_id = vendors.add_job("unsiloed", "parse", seconds=0, content={"chunks": chunks})
    assert status(vendors, "parse", job_id)["chunks"] == chunks
    assert get(vendors, f"/jobs/{job_id}/result").json()["chunks"] == chunks
    link = status(vendors, "parse", job_id, output_file="true")["output_file_url"]
    assert requests.get(link, timeout=5).json() == {"chunks": chunks}


def test_the_generic_route_names_the_operation(vendors: StandInVendors) -> None:
    """It has no word for a review."""
    job_id = vendors.add_job("unsiloed", ends="review", seconds=0)
    other = vendors.add_job("unsiloed", "split", recorded="a failed split", seconds=0)
    assert [status(vendors, "job", one)["status"] for one in (job_id, other)] == ["COMPLETED", "COMPLETED"]
    assert [status(vendors, "job", one)["type"] for one in (job_id, other)] == ["extraction", "splitting"]


def test_chunks_can_be_declined_or_linked_to(vendors: StandInVendors) -> None:
    """The page has a query parameter where the SDK sends a header."""
    job_id = vendors.add_job("unsiloed", "parse", seconds=0)
    assert "chunks" not in status(vendors, "parse", job_id, include_chunks="false")
    by_query = status(vendors, "parse", job_id, output_file="true")
    by_header = get(vendors, f"/parse/{job_id}", {**HEADERS, "output-file": "true"}).json()
    assert by_query["output_file_url"] == by_header["output_file_url"]
    assert "chunks" not in by_query
    assert requests.get(by_query["output_file_url"], timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("extract", '{{"detail": "Job {} not found"}}'),
        ("classify", '{{"detail": "Job {} not found"}}'),
        ("split", '{{"detail": "Job {} not found"}}'),
        ("parse", "Job not found."),
        ("job", '{{"detail": "Job {} not found"}}'),
    ],
)
def test_an_id_of_another_operation_is_as_unknown_as_any(vendors: StandInVendors, kind: str, text: str) -> None:
    """The generic route alone sees every operation's jobs."""
    other = vendors.add_job("aitronos")
    answer = get(vendors, f"{STATUS_PATH[kind]}/{other}")
    assert (answer.status_code, answer.text) == (404, text.format(other))


def test_parse_errors_can_be_bare_json(vendors: StandInVendors) -> None:
    """The samples show a JSON string where the specification has plain text."""
    vendors.prefer = {"404 as a bare JSON string"}
    assert get(vendors, "/parse/1").json() == "Job 1 not found"


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/extract/1", {"api-key": "us_stand_in"}, 404),
        ("/extract/1", {"X-API-Key": "us_stand_in"}, 401),
        ("/parse/1", {"Authorization": "Bearer us_stand_in"}, 401),
        ("/jobs/1", {"api-key": "us_stand_in"}, 404),
        ("/jobs/1", {"X-API-Key": "us_stand_in"}, 404),
        ("/jobs/1", {}, 401),
    ],
)
def test_the_generic_family_takes_two_headers(vendors: StandInVendors, path: str, headers: dict[str, str], code: int) -> None:
    """The other routes take ``api-key`` only."""
    assert get(vendors, path, headers).status_code == code


def test_the_generic_family_can_do_without_a_key(vendors: StandInVendors) -> None:
    """Its page calls the key optional for some endpoints."""
    vendors.unsiloed_keyless_jobs = True
    assert get(vendors, "/jobs", {}).status_code == 200
    assert get(vendors, "/extract/1", {}).status_code == 401


class TestGenericResult:
    """``/jobs/{id}/result`` speaks in codes."""

    @pytest.mark.parametrize(
        ("seconds", "ends", "code", "detail"),
        [
            (math.inf, "completed", 400, "Job j is still processing"),
            (0, "failed", 500, "Job j failed: PDF file corrupted"),
        ],
    )
    def test_what_is_not_there_is_an_error(
        self, vendors: StandInVendors, seconds: float, ends: str, code: int, detail: str
    ) -> None:
        """400 is not finished, 500 failed."""
        vendors.add_job("unsiloed", "job", job_id="j", seconds=seconds, ends=ends)
        answer = get(vendors, "/jobs/j/result")
        assert (answer.status_code, answer.json()) == (code, {"detail": detail})

    @pytest.mark.parametrize(
        ("kind", "field"),
        [
            ("job", "data"),
            ("extract", "data"),
            ("parse", "chunks"),
            ("classify", "page_results"),
            ("split", "files"),
        ],
    )
    def test_every_operations_result_is_handed_out(self, vendors: StandInVendors, kind: str, field: str) -> None:
        """Its shape depends on the operation."""
        body = get(vendors, f"/jobs/{vendors.add_job('unsiloed', kind, seconds=0)}/result").json()
        assert body[field]
        assert body["processing_time"] == 15.7

    def test_an_unknown_id_is_404(self, vendors: StandInVendors) -> None:
        """As on the status route."""
        assert get(vendors, "/jobs/j/result").json() == {"detail": "Job j not found"}


class TestMany:
    """The withdrawn routes that answer for many jobs."""

    def test_one_question_answers_for_a_list_of_ids(self, vendors: StandInVendors) -> None:
        """An unknown id has no entry."""
        done = vendors.add_job("unsiloed", "parse", seconds=0)
        failed = vendors.add_job("unsiloed", "extract", seconds=0, ends="failed", error="torn")
        half = vendors.add_job("unsiloed", "split", seconds=1000, created_at=time.time() - 505)
        ids = f"{done},{failed},{half},unknown"
        jobs = get(vendors, "/jobs/status", job_ids=ids, include_progress="true").json()["jobs"]
        assert [job["job_id"] for job in jobs] == [done, failed, half]
        assert [job["status"] for job in jobs] == ["completed", "failed", "PROCESSING"]
        assert (jobs[1]["error_details"]["message"], jobs[2]["progress"]) == ("torn", {"percentage": 40})
        assert get(vendors, "/jobs/status").status_code == 400

    @pytest.mark.parametrize(
        ("endings", "word"),
        [(["completed", "completed"], "completed"), (["completed", "failed"], "completed_with_failures")],
    )
    def test_a_batch_counts_its_jobs(self, vendors: StandInVendors, endings: list[str], word: str) -> None:
        """Its status is made of theirs."""
        ids = [vendors.add_job("unsiloed", ends=ends, seconds=0) for ends in endings]
        body = get(vendors, f"/jobs/batch/{vendors.add_batch(ids)}").json()
        assert (body["status"], body["total_jobs"], body["overall_progress"]) == (word, 2, 100)
        assert body["failed_jobs"] == endings.count("failed")
        assert body["jobs"][0] == {
            "job_id": ids[0],
            "status": "completed",
            "operation": "extract",
            "progress": 100,
        }

    def test_an_unknown_batch_is_404(self, vendors: StandInVendors) -> None:
        """A job's id is no batch's id."""
        assert get(vendors, f"/jobs/batch/{vendors.add_job('unsiloed')}").status_code == 404

    def test_jobs_are_listed_by_filter_and_page(self, vendors: StandInVendors) -> None:
        """The newest come first."""
        old = vendors.add_job("unsiloed", "parse", ends="failed", seconds=0, created_at=1_700_000_000.0, tags=("a", "b"))
        new = vendors.add_job("unsiloed", "extract", ends="review", seconds=0)
        vendors.add_job("aitronos")

        def listed(**query: str) -> list[str]:
            return [job["job_id"] for job in get(vendors, "/jobs", **query).json()["jobs"]]

        assert listed() == [new, old]
        assert listed(status="failed") == listed(operation="parse") == listed(tags="b") == [old]
        assert listed(created_after="2024-01-01T00:00:00Z") == [new]
        assert listed(created_before="2024-01-01T00:00:00+00:00") == [old]
        assert listed(tags="a,c") == []
        assert get(vendors, "/jobs", limit="1", offset="1").json()["pagination"] == {
            "total": 2,
            "limit": 1,
            "offset": 1,
            "has_more": False,
        }

    def test_a_listed_job_shows_its_own_state_and_facts(self, vendors: StandInVendors) -> None:
        """The generic words, the operation, the tags and the error text."""
        vendors.add_job("unsiloed", "split", seconds=math.inf, tags=("a",))
        vendors.add_job("unsiloed", "parse", seconds=0, ends="failed", error="torn", created_at=1_700_000_000.0)
        working, failed = get(vendors, "/jobs").json()["jobs"]
        assert (working["status"], working["operation"], working["tags"]) == ("PROCESSING", "split", ["a"])
        assert "completed_at" not in working
        assert (failed["status"], failed["error_details"]["message"]) == ("failed", "torn")

    @pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"created_after": "x"}])
    def test_a_list_that_cannot_be_is_422(self, vendors: StandInVendors, query: dict[str, str]) -> None:
        """As FastAPI checks a query."""
        assert get(vendors, "/jobs", **query).status_code == 422

    @pytest.mark.parametrize(
        ("switch", "path", "body"),
        [
            (404, "/jobs", {"detail": "Not Found"}),
            (404, "/jobs/status", {"detail": "Job status not found"}),
            (404, "/jobs/batch/b", {"detail": "Not Found"}),
            (405, "/jobs", {"detail": "Method Not Allowed"}),
            (501, "/jobs/status", {"detail": "Not Implemented"}),
        ],
    )
    def test_they_may_not_exist(self, vendors: StandInVendors, switch: int, path: str, body: dict[str, str]) -> None:
        """Then ``status`` is taken for a job's id; a single job is answered all the same."""
        vendors.unsiloed_many = switch  # type: ignore[assignment]  # one of the three
        answer = get(vendors, path)
        assert (answer.status_code, answer.json()) == (switch, body)
        assert get(vendors, f"/jobs/{vendors.add_job('unsiloed')}").status_code == 200


def test_submitted_names_steer_the_ending(vendors: StandInVendors) -> None:
    """So a demo needs no key and no API."""
    for name, word in (("review.pdf", "review"), ("corrupt.pdf", "failed"), ("cancel.pdf", "completed")):
        answer = requests.post(
            f"{vendors.url}/v2/extract",
            headers=HEADERS,
            files={"pdf_file": (name, b"%PDF")},
            data={"schema_data": json.dumps({"type": "object"})},
            timeout=5,
        )
        assert status(vendors, "extract", answer.json()["job_id"])["status"] == word
