"""Neurolinker's stand-in answers as the vendor's pages say."""

from __future__ import annotations

import json
import math
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from airflow_provider_docstatus.testing import StandInVendors

HEADERS = {"Authorization": "Bearer nl_stand_in"}


def get(vendors: StandInVendors, path: str, headers: dict[str, str] = HEADERS) -> requests.Response:
    """Send a GET without following redirects."""
    return requests.get(vendors.url + path, headers=headers, timeout=5, allow_redirects=False)


def post(vendors: StandInVendors, path: str, body: object) -> requests.Response:
    """Send JSON."""
    return requests.post(f"{vendors.url}/v1{path}", json=body, headers=HEADERS, timeout=5)


def submit(vendors: StandInVendors, *names: str, path: str = "/v1/extract", **form: object) -> requests.Response:
    """Submit files by name, or links within ``form``."""
    # A part without a file name is a plain field; requests sends multipart only where there are "files".
    parts: list[tuple[str, tuple[str | None, bytes]]] = [("form", (None, json.dumps(form).encode()))]
    parts += [("documents", (name, b"%PDF")) for name in names]
    return requests.post(vendors.url + path, headers=HEADERS, files=parts, timeout=5)


def status_of(vendors: StandInVendors, answer: requests.Response) -> dict[str, Any]:
    """Return the request's status for a submit's answer."""
    body: dict[str, Any] = get(vendors, f"/v1/request-status/{answer.json()['request_uid']}").json()
    return body


def test_a_request_reports_its_documents_and_counts_them(vendors: StandInVendors) -> None:
    """Every documented field is there, with the two spellings of the file name."""
    body = status_of(vendors, submit(vendors, "a.pdf", "fail.pdf"))
    assert body["status"] == "partial"
    assert (body["total"], body["completed"], body["failed"], body["processing"]) == (2, 1, 1, 0)
    assert set(body) == {
        "success", "request_id", "status", "documents", "total", "completed", "failed", "processing",
        "job_page_url", "total_size_bytes", "started_at", "completed_at",
    }  # fmt: skip
    good, bad = body["documents"]
    assert (good["filename"], good["result"]["file_name"], good["status"]) == ("a.pdf", "a.pdf", "completed")
    assert good["result"]["completed_at"].endswith("Z")
    assert body["completed_at"].endswith("+00:00")
    assert (bad["status"], bad["error"], bad["document_page_url"]) == (
        "failed",
        "Document is corrupted or unreadable",
        None,
    )


def test_an_unfinished_request_has_no_end(vendors: StandInVendors) -> None:
    """Pending documents are counted as processing, or nowhere."""
    vendors.job_seconds = 1000
    submitted = submit(vendors, "a.pdf")
    assert submitted.json() == {
        "request_uid": submitted.json()["request_uid"],
        "status": "submitted",
        "performance": None,
        "msg": None,
    }
    body = status_of(vendors, submitted)
    assert (body["status"], body["processing"], body["completed_at"]) == ("processing", 1, None)
    document = body["documents"][0]
    assert (document["status"], document["result"]["billing"]) == ("pending", None)
    vendors.neurolinker_counts_pending = False
    assert status_of(vendors, submitted)["processing"] == 0


def test_a_document_is_answered_alone(vendors: StandInVendors) -> None:
    """Its fields are those of its page."""
    document_id = vendors.add_job("neurolinker", "document", seconds=0)
    body = get(vendors, f"/v1/document-status/{document_id}").json()
    assert set(body) == {
        "success", "document_id", "request_id", "status", "file_name", "file_type", "file_size_bytes",
        "total_pages", "user_uid", "started_at", "completed_at", "results", "document_page_url",
    }  # fmt: skip
    assert body["results"]["storage_path"].endswith(f"/{document_id}/")
    vendors.jobs[document_id].seconds = math.inf
    assert get(vendors, f"/v1/document-status/{document_id}").json()["status"] == "processing"


def test_links_are_submitted_as_files_are(vendors: StandInVendors) -> None:
    """A file named ``partial`` makes two documents."""
    body = status_of(vendors, submit(vendors, documents_url=["https://example.com/partial.pdf"]))
    assert [document["status"] for document in body["documents"]] == ["completed", "failed"]


def test_an_undocumented_error_field_can_be_renamed_or_left_out(vendors: StandInVendors) -> None:
    """No page says where a failed document's text is."""
    document_id = vendors.add_job("neurolinker", "document", ends="failed", seconds=0, error="torn")
    for field, expected in (("msg", "torn"), ("", None)):
        vendors.neurolinker_error_field = field
        assert get(vendors, f"/v1/document-status/{document_id}").json().get("msg") == expected


@pytest.mark.parametrize(
    ("prefix", "path", "status", "body"),
    [
        ("/v1", "/v1/tasks", 200, None),
        ("/v1", "/api/v1/tasks", 404, {"detail": "Not Found"}),
        ("/api/v1", "/v1/tasks", 404, {"detail": "Not Found"}),
        ("/api/v1", "/api/v1/tasks", 200, None),
        ("both", "/v1/tasks", 200, None),
        ("both", "/api/v1/tasks", 200, None),
        ("redirect", "/api/v1/tasks", 200, None),
    ],
)
def test_one_prefix_exists_or_both(vendors: StandInVendors, prefix: str, path: str, status: int, body: object) -> None:
    """The other prefix has no route."""
    vendors.neurolinker_prefix = prefix  # type: ignore[assignment]  # one of the four
    answer = get(vendors, path)
    assert answer.status_code == status
    assert body is None or answer.json() == body


def test_a_prefix_can_redirect_on_the_same_host(vendors: StandInVendors) -> None:
    """307 keeps the method and the query."""
    vendors.neurolinker_prefix = "redirect"
    answer = get(vendors, "/v1/tasks?a=b")
    assert (answer.status_code, answer.headers["Location"]) == (307, "/api/v1/tasks?a=b")


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_refused(vendors: StandInVendors, status: int) -> None:
    """The vendor's own test accepts either code."""
    vendors.neurolinker_wrong_key = status  # type: ignore[assignment]  # one of the two
    answer = get(vendors, "/v1/tasks", {"X-API-Key": "nl_stand_in"})
    assert (answer.status_code, answer.json()) == (status, {"detail": "Invalid API key"})


@pytest.mark.parametrize("kind", ["request", "document"])
def test_an_unknown_id_is_404_and_a_misshaped_one_422_if_asked(vendors: StandInVendors, kind: str) -> None:
    """The 422 lists the problem as FastAPI does."""
    answer = get(vendors, f"/v1/{kind}-status/{uuid.uuid4()}")
    assert (answer.status_code, answer.json()) == (404, {"detail": f"{kind.title()} not found"})
    vendors.neurolinker_strict_ids = True
    assert get(vendors, f"/v1/{kind}-status/{uuid.uuid4()}").status_code == 404
    answer = get(vendors, f"/v1/{kind}-status/nonsense")
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["path", f"{kind}_id"])


@pytest.mark.parametrize(
    ("form", "path", "status"),
    [
        ({}, "/v1/extract", 400),
        ({"documents_url": ["https://example.com/a.pdf"]}, "/v1/extract-fields", 400),
        (
            {
                "documents_url": ["https://example.com/a.pdf"],
                "json_schema": {"type": "object", "properties": {"a": {"pattern": ".*"}}},
            },
            "/v1/extract-fields",
            400,
        ),
        (
            {"documents_url": ["https://example.com/a.pdf"], "json_schema": {"items": {"type": "string"}}},
            "/v1/extract-fields",
            200,
        ),
    ],
    ids=["no document", "no schema", "unknown keyword", "accepted"],
)
def test_a_submit_is_checked(vendors: StandInVendors, form: dict[str, Any], path: str, status: int) -> None:
    """A schema keyword outside the documented subset is a 400."""
    assert submit(vendors, path=path, **form).status_code == status


def test_a_submit_needs_its_form(vendors: StandInVendors) -> None:
    """A missing form is FastAPI's 422; a broken one a 400."""
    url = f"{vendors.url}/v1/extract"
    assert requests.post(url, headers=HEADERS, files={"x": b""}, timeout=5).status_code == 422
    assert requests.post(url, headers=HEADERS, files={"form": (None, "[")}, timeout=5).status_code == 400


@pytest.mark.parametrize(
    "what",
    ["markdown", "json", "images", "page-summaries", "section-summaries", "document-summary"],
)
def test_results_of_a_full_extraction_are_handed_out(vendors: StandInVendors, what: str) -> None:
    """Each item has its content and a link that wants no key."""
    document_id = vendors.add_job("neurolinker", "document", seconds=0)
    body = post(vendors, f"/documents/{what}", {"document_ids": [document_id], "summary_type": "page"}).json()
    assert (body["success"], body["total"], body["successful"], body["failed"]) == (True, 1, 1, 0)
    item = body["results"][0]
    assert item["content"]
    assert requests.get(item["download_url"], timeout=5).json()["invoice_number"] == "INV-2024-001"
    assert ("total_images" in body) == (what == "images")


def test_what_cannot_be_handed_out_is_an_error_item_in_a_200(vendors: StandInVendors) -> None:
    """Unknown, unfinished, or of another extraction."""
    full = vendors.add_job("neurolinker", "document", seconds=0)
    running = vendors.add_job("neurolinker", "document", seconds=math.inf)
    for what, document_id in (("fields", full), ("scalars", full), ("json", running), ("json", "unknown")):
        answer = post(vendors, f"/documents/{what}", {"document_ids": [document_id]})
        assert answer.status_code == 200
        assert answer.json()["success"] is False
        assert answer.json()["results"][0]["error"]


def test_fields_are_those_of_the_document(vendors: StandInVendors) -> None:
    """Field extraction has its own way in and its own result."""
    schema = {"type": "object", "properties": {"invoice_number": {"type": "string"}}}
    body = status_of(vendors, submit(vendors, "a.pdf", path="/v1/extract-fields", json_schema=schema))
    ids = [document["document_id"] for document in body["documents"]]
    item = post(vendors, "/documents/fields", {"document_ids": ids}).json()["results"][0]
    assert (item["format"], item["content"]["invoice_number"]) == ("json", "INV-2024-001")


def test_scalars_come_from_finished_documents_under_new_ids(vendors: StandInVendors) -> None:
    """What is not a finished full extraction is skipped; unfinished scalars are null."""
    done = vendors.add_job("neurolinker", "document", seconds=0)
    answer = post(vendors, "/extract-fields-from-markdown", {"document_ids": [done, "unknown"]}).json()
    assert [skipped["document_uid"] for skipped in answer["skipped"]] == ["unknown"]
    new_id = answer["document_map"][0]["document_uid"]
    ask = {"document_ids": [new_id]}
    assert post(vendors, "/documents/scalars", ask).json()["results"][0]["content"]["currency"] == "CHF"
    vendors.jobs[new_id].seconds = math.inf
    assert post(vendors, "/documents/scalars", ask).json()["results"][0]["content"] is None
    assert post(vendors, "/extract-fields-from-markdown", {"document_ids": ["unknown"]}).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/documents/json", {}, 422),
        ("/documents/document-summary", {"document_ids": [], "summary_type": "line"}, 422),
        ("/documents/no-summaries", {"document_ids": []}, 404),
        ("/make-zip", {"request_id": "unknown"}, 404),
        ("/generate-schema", {}, 422),
        ("/generate-schema", {"description": "the number of the invoice"}, 200),
    ],
)
def test_posts_are_checked(vendors: StandInVendors, path: str, body: object, status: int) -> None:
    """Missing fields are FastAPI's 422."""
    assert post(vendors, path, body).status_code == status


def test_requests_are_listed_and_zipped(vendors: StandInVendors) -> None:
    """The list has four fields a request, without filters or paging."""
    request_id = vendors.add_job("neurolinker", documents=2, seconds=0)
    listed = get(vendors, "/v1/tasks").json()["tasks"]["requests"]
    assert [(entry["request_id"], entry["total_documents"]) for entry in listed] == [(request_id, 2)]
    assert post(vendors, "/make-zip", {"request_id": request_id}).json()["url"].startswith(vendors.url)
    assert get(vendors, "/storage/unknown/zip").status_code == 404
