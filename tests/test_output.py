"""The operator with ``output_path``: the vendor's bytes, or a row for each document; a file that is whole, or none."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
import requests

from airflow_provider_docstatus import output
from airflow_provider_docstatus._compat import AirflowFailException
from airflow_provider_docstatus.exceptions import (
    DocumentFailed,
    NoData,
    NotFinished,
    OutputFailed,
    RequestRejected,
    ResultTooLarge,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.testing.jobs import INVOICE
from airflow_provider_docstatus.types import DataManifest, FileManifest
from tests.task_runs import FakeTaskInstance, run
from tests.test_operators import WAYS, neurolinker, operator_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


def written(summary: Any) -> bytes:
    data = Path(summary["path"].removeprefix("file://")).read_bytes()
    assert (summary["bytes"], summary["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    return data


def manifest_of(summary: Any) -> dict[str, Any]:
    return json.loads(Path(summary["manifest"].removeprefix("file://")).read_text())


def rows_of(summary: Any) -> list[dict[str, Any]]:
    data, manifest = written(summary), manifest_of(summary)
    assert summary.keys() | {"confidence", "review"} == get_type_hints(DataManifest).keys()
    assert manifest.keys() | {"confidence", "review"} == get_type_hints(FileManifest).keys() - {"status"}
    rows = [json.loads(line) for line in data.splitlines()]
    assert {row["id"]: row for row in rows} == {
        one: json.loads(data[start : start + length]) for one, (start, length) in manifest["rows"].items()
    }
    return rows


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# -- one id ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_single_job_is_written_as_it_came(vendors: StandInVendors, tmp_path: Path, way: str) -> None:
    job_id, ti = vendors.add_job("aitronos"), FakeTaskInstance()
    came = requests.get(
        f"{vendors.url}/v1/documents/jobs/{job_id}", headers={"X-API-Key": vendors.keys["aitronos"]}, timeout=9
    ).content
    summary = run(operator_of(job_id=job_id, output_path=f"file://{tmp_path}/x.json", **WAYS[way]), ti)
    assert written(summary) == came
    assert (summary["format"], summary["counts"], summary["total"], summary["rows"]) == (
        "application/json",
        {"succeeded": 1},
        1,
        1,
    )
    assert ti.xcoms[XCOM_KEY]["state"] == "succeeded"
    assert left_in(tmp_path) == ["x.json", "x.json.manifest.json"]
    assert "invoice_number" not in str(summary)


def test_a_document_with_a_route_of_its_own_for_data(vendors: StandInVendors, tmp_path: Path) -> None:
    document_id = vendors.add_job("neurolinker", "document")
    path = f"file://{tmp_path}/"
    summary = run(operator_of(**neurolinker(document_id=document_id), content="markdown", output_path=path))
    ((item),) = json.loads(written(summary))["results"]
    assert (item["document_id"], item["content"].startswith("# invoice.pdf")) == (document_id, True)
    assert summary["path"] == f"{path}dag/run/task/data.json"


def test_what_the_vendor_refuses_is_no_file(vendors: StandInVendors, tmp_path: Path) -> None:
    document_id = vendors.add_job("neurolinker", "document")
    with pytest.raises(NoData, match="not processed through scalars"):
        run(operator_of(**neurolinker(document_id=document_id), content="scalars", output_path=f"file://{tmp_path}/x"))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_failed_is_no_file(vendors: StandInVendors, tmp_path: Path, way: str) -> None:
    job_id = vendors.add_job("aitronos", ends="failed")
    with pytest.raises(DocumentFailed):
        run(operator_of(job_id=job_id, output_path=f"file://{tmp_path}/x", **WAYS[way]))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 200, "cut_off": True},
        {"reset": True},
        {"status": 200, "body": "<html>", "content_type": "text/html"},
    ],
    ids=str,
)
def test_a_passing_fault_leaves_nothing_of_itself_in_the_file(
    vendors: StandInVendors, tmp_path: Path, fault: dict[str, Any]
) -> None:
    job_id = vendors.add_job("unsiloed", "parse")
    vendors.answer_next(None, path=job_id)  # the poll; then the fetch
    vendors.answer_next(path=job_id, **fault)
    arguments = {"conn_id": "unsiloed_default", "operation": "parse", "job_id": job_id}
    data = json.loads(written(run(operator_of(**arguments, output_path=f"file://{tmp_path}/x"))))
    assert data["job_id"] == job_id


def test_what_does_not_pass_is_retried_and_no_file(vendors: StandInVendors, tmp_path: Path) -> None:
    job_id = vendors.add_job("aitronos")
    vendors.answer_next(None, path=job_id)
    vendors.answer_next(200, cut_off=True, path=job_id, times=math.inf)
    with pytest.raises(ServiceUnavailable, match="did not come within a minute") as raised:
        run(operator_of(job_id=job_id, output_path=f"file://{tmp_path}/x"))
    assert not isinstance(raised.value, AirflowFailException)
    assert left_in(tmp_path) == []


def test_a_long_reply_is_judged_by_its_beginning_and_written_whole(
    vendors: StandInVendors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = vendors.add_job("aitronos", reply={"extracted_data": {"text": "x" * 300_000}})
    extra = json.loads(vendors.environment()["AIRFLOW_CONN_AITRONOS_DEFAULT"])
    extra["extra"] = {**(extra.get("extra") or {}), "max_reply_bytes": 10_000}
    monkeypatch.setenv("AIRFLOW_CONN_AITRONOS_DEFAULT", json.dumps(extra))
    summary = run(operator_of(job_id=job_id, output_path=f"file://{tmp_path}/x"))
    assert json.loads(written(summary))["extracted_data"]["text"] == "x" * 300_000


@pytest.mark.parametrize("ends", ["success", "failure", "broken"])
def test_a_long_reply_that_tells_the_state_behind_the_data_is_gone_through_on_the_disk(
    vendors: StandInVendors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    job_id = vendors.add_job("docling")
    body = json.dumps({"document": {"texts": ["x \u4e16\n" * 10_000] * 9}, "status": ends}, ensure_ascii=False).encode()
    body = body[:-1] if ends == "broken" else body
    vendors.answer_next(200, body=body, content_type="application/json", path=f"result/{job_id}", times=math.inf)
    connection = json.loads(vendors.environment()["AIRFLOW_CONN_DOCLING_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_DOCLING_DEFAULT", json.dumps({**connection, "extra": {"max_reply_bytes": 10_000}}))
    operator = operator_of(conn_id="docling_default", job_id=job_id, output_path=f"file://{tmp_path}/x")
    if ends == "success":
        assert written(run(operator)) == body
    else:
        with pytest.raises(DocumentFailed if ends == "failure" else UnexpectedReply, match=r"failed|not JSON"):
            run(operator)


def test_a_reply_that_repeats_the_key_is_no_file(vendors: StandInVendors, tmp_path: Path) -> None:
    job_id = vendors.add_job("aitronos", reply={"extracted_data": {"auth": vendors.keys["aitronos"]}})
    with pytest.raises(UnexpectedReply, match="repeats the connection's key") as raised:
        run(operator_of(job_id=job_id, output_path=f"file://{tmp_path}/x"))
    assert vendors.keys["aitronos"] not in str(raised.value)
    assert left_in(tmp_path) == []


# -- several ---------------------------------------------------------------------------------------------------


def test_several_jobs_are_rows_in_the_order_asked(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos") for _ in range(5)]
    vendors.answer_next(503, path=ids[1])  # it comes last
    summary = run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x.jsonl"))
    assert [(row["id"], row["data"]) for row in rows_of(summary)] == [(one, INVOICE) for one in ids]
    assert (summary["format"], summary["rows"], summary["counts"]) == ("application/x-ndjson", 5, {"succeeded": 5})
    assert manifest_of(summary)["ids"] == {"succeeded": ids}
    assert "ids" not in summary
    assert left_in(tmp_path) == ["x.jsonl", "x.jsonl.manifest.json"]


def test_a_row_is_json_and_what_is_none_takes_another_form(vendors: StandInVendors, tmp_path: Path) -> None:
    odd = {"a": math.inf, "b": "\0"}
    plain = {"a": 10**22, "b": "\0", "c": {"__id__": 1}, "d": "\ud83d"}
    ids = [vendors.add_job("aitronos", content=content) for content in (odd, plain)]
    first, second = rows_of(run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x.jsonl")))
    assert first["data"].keys() == {"docstatus:json"}
    assert json.loads(first["data"]["docstatus:json"])["a"] == math.inf
    assert {name: second["data"][name] for name in plain} == plain


def test_of_several_one_that_no_row_holds_is_an_error_and_alone_it_is_a_file(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos") for _ in range(2)]
    body = f'{{"job_id": "{ids[1]}", "status": "completed", "extracted_data": {{"a": 1, "a": {"9" * 5000}}}}}'
    vendors.answer_next(200, body=body, content_type="application/json", path=ids[1], times=math.inf)
    summary = run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x.jsonl"))
    assert [row["id"] for row in rows_of(summary)] == ids[:1]
    assert "has an object that holds a key twice at the top" in manifest_of(summary)["errors"][ids[1]]
    vendors.answer_truly()
    vendors.answer_next(200, body=body, content_type="application/json", path=ids[1], times=math.inf)
    summary = run(operator_of(job_id=ids[1], output_path=f"file://{tmp_path}/y.json"))
    assert written(summary) == body.encode()
    assert manifest_of(summary)["findings"][ids[1]] == [
        "an object that holds a key twice at extracted_data",
        "a number that Python cannot hold (1e400, or more than 4,300 digits) at extracted_data.a",
    ]


def test_nobody_need_poll_a_list_whose_replies_tell_the_state(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos") for _ in range(3)]
    asked = len(vendors.requests)
    run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x.jsonl"))
    assert len(vendors.requests) == asked + 3


@pytest.mark.parametrize("way", WAYS)
def test_a_request_is_a_row_for_each_document(vendors: StandInVendors, tmp_path: Path, way: str) -> None:
    request_id = vendors.add_job("neurolinker", ends="partial", documents=12)
    arguments = neurolinker(request_id=request_id, accept=("partial",), output_path=f"file://{tmp_path}/", **WAYS[way])
    summary = run(operator_of(**arguments))
    documents = [document.job_id for document in vendors.jobs[request_id].documents]
    rows = rows_of(summary)
    assert [row["id"] for row in rows] == documents[:-1]
    assert {row["request_id"] for row in rows} == {request_id}
    assert summary["counts"] == {"partial": 1}
    assert list(summary["errors"]) == documents[-1:]
    assert summary["path"].endswith("/data.jsonl")


def test_the_first_row_of_a_request_names_its_file_as_the_others_do(vendors: StandInVendors, tmp_path: Path) -> None:
    arguments = neurolinker(request_id=vendors.add_job("neurolinker", documents=3), output_path=f"file://{tmp_path}/")
    assert [row["file_name"] for row in rows_of(run(operator_of(**arguments)))] == ["invoice.pdf"] * 3


@pytest.mark.parametrize("way", WAYS)
def test_one_of_several_that_failed(vendors: StandInVendors, tmp_path: Path, way: str) -> None:
    ids = [vendors.add_job("aitronos", ends=ends) for ends in ("completed", "failed", "completed")]
    arguments = {"job_id": ids, "output_path": f"file://{tmp_path}/x", **WAYS[way]}
    with pytest.raises(DocumentFailed, match="2 of 3 ids ended well, 3 were needed"):
        run(operator_of(**arguments))
    summary = run(operator_of(**arguments, wait_for=0.5))
    assert [row["id"] for row in rows_of(summary)] == [ids[0], ids[2]]
    assert (summary["counts"], list(summary["errors"])) == ({"succeeded": 2, "failed": 1}, [ids[1]])


def test_what_too_few_gave_is_in_the_file_all_the_same(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos", ends=ends) for ends in ("completed", "failed")]
    ti = FakeTaskInstance()
    with pytest.raises(DocumentFailed):
        run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x"), ti)
    assert [row["id"] for row in rows_of(ti.xcoms[XCOM_KEY])] == ids[:1]
    asked = len(vendors.requests)
    run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x", wait_for="any"))
    assert len(vendors.requests) == asked, "the next try takes what is there"


def test_a_list_that_is_not_finished(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos"), vendors.add_job("aitronos", seconds=math.inf)]
    with pytest.raises(NotFinished, match="1 of 2 ids are not finished; wait for them first"):
        run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x"))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("way", ["watched", "deferred", "sensor"])
def test_what_still_runs_when_enough_have_ended_is_named_as_that(vendors: StandInVendors, tmp_path: Path, way: str) -> None:
    ids: Any = [vendors.add_job("aitronos"), vendors.add_job("aitronos", seconds=math.inf)]
    asked = ids
    if way == "sensor":
        asked = run(DocStatusSensor(task_id="wait", conn_id="aitronos_default", job_id=ids, wait_for="any", timeout=5))
    arguments = {"job_id": asked, "wait_for": "any", "output_path": f"file://{tmp_path}/x", **WAYS.get(way, {})}
    summary = run(operator_of(**arguments))
    assert [row["id"] for row in rows_of(summary)] == ids[:1]
    assert (summary["counts"], summary["errors"]) == ({"succeeded": 1, "running": 1}, {ids[1]: "running"})


def test_the_manifest_of_a_sensor(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos", ends=ends) for ends in ("completed", "failed", "completed")]
    manifest = run(DocStatusSensor(task_id="wait", conn_id="aitronos_default", job_id=ids, wait_for=2, timeout=5))
    summary = run(operator_of(job_id=manifest, output_path=f"file://{tmp_path}/x"))
    assert [row["id"] for row in rows_of(summary)] == [ids[0], ids[2]]
    assert "corrupted" in summary["errors"][ids[1]]
    with pytest.raises(RequestRejected, match="give this task the same connection type"):
        run(operator_of(conn_id="unsiloed_default", job_id=manifest, output_path=f"file://{tmp_path}/y"))


def test_more_ids_than_a_wait_has(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos", ends="failed" if number % 40 == 0 else "completed") for number in range(1200)]
    summary = run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x", wait_for=0.9))
    assert [row["id"] for row in rows_of(summary)] == [one for number, one in enumerate(ids) if number % 40]
    assert (summary["counts"], summary["errors_total"]) == ({"failed": 30, "succeeded": 1170}, 30)
    assert len(summary["errors"]) == 20
    assert len(json.dumps(summary)) < 5000, "the XCom stays small"
    assert len(manifest_of(summary)["errors"]) == 30


def test_more_ids_than_a_file_has_are_refused_before_anything_is_asked(vendors: StandInVendors, tmp_path: Path) -> None:
    asked, ids = len(vendors.requests), [f"job_{number}" for number in range(output.MOST_IDS + 1)]
    with pytest.raises(RequestRejected, match="one file holds the data of at most"):
        run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x"))
    assert len(vendors.requests) == asked


# -- a retry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_retry_takes_the_file_that_is_there(vendors: StandInVendors, tmp_path: Path, way: str, is_list: bool) -> None:
    job_id = vendors.add_job("aitronos")
    arguments = {"job_id": [job_id] if is_list else job_id, "output_path": f"file://{tmp_path}/x", **WAYS[way]}
    first = run(operator_of(**arguments))
    asked, ti = len(vendors.requests), FakeTaskInstance(try_number=2)
    assert run(operator_of(**arguments), ti) == first
    assert ti.xcoms[XCOM_KEY] == first if is_list else ti.xcoms[XCOM_KEY]["id"] == job_id
    assert len(vendors.requests) == asked
    run(operator_of(**arguments, overwrite=True))
    assert len(vendors.requests) > asked


@pytest.mark.parametrize("change", ["data", "manifest", "ids", "gone", "content"])
def test_a_retry_fetches_anew_what_is_not_as_the_manifest_says(vendors: StandInVendors, tmp_path: Path, change: str) -> None:
    job_id, file = vendors.add_job("aitronos"), tmp_path / "x"
    arguments: dict[str, Any] = {"job_id": job_id, "output_path": f"file://{file}"}
    first = run(operator_of(**arguments))
    if change == "data":
        file.write_bytes(file.read_bytes().replace(b"INV", b"VNI"))
    elif change == "manifest":
        (tmp_path / "x.manifest.json").write_text("{")
    elif change == "gone":
        file.unlink()
    elif change == "ids":
        arguments["job_id"] = vendors.add_job("aitronos")
    asked = len(vendors.requests)
    if change == "content":
        run(operator_of(**{**arguments, "accept": ("partial",)}))
    else:
        assert run(operator_of(**arguments))["format"] == first["format"]
    assert len(vendors.requests) > asked


def test_an_id_that_a_sensor_has_seen_end_well_since_is_fetched(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos"), vendors.add_job("aitronos", seconds=math.inf)]
    sensor = {"task_id": "wait", "conn_id": "aitronos_default", "job_id": ids, "wait_for": "any", "timeout": 5}
    manifest = run(DocStatusSensor(**sensor))
    manifest["ids"] = {"succeeded": ids[:1], "timed_out": ids[1:]}
    arguments: dict[str, Any] = {"output_path": f"file://{tmp_path}/x"}
    assert [row["id"] for row in rows_of(run(operator_of(job_id=manifest, **arguments)))] == ids[:1]
    asked = len(vendors.requests)
    run(operator_of(job_id=manifest, **arguments))
    assert len(vendors.requests) == asked
    vendors.jobs[ids[1]].seconds = 0
    manifest["ids"] = {"succeeded": ids}
    assert [row["id"] for row in rows_of(run(operator_of(job_id=manifest, **arguments)))] == ids


# -- bad places, and other errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [("", "output_path is empty"), ("/tmp/x", "no scheme"), ("ftp://x/y", "not among the stores"), ("file://x", "absolute path")],
)
def test_a_path_that_is_none(vendors: StandInVendors, path: str, says: str) -> None:
    asked = len(vendors.requests)
    with pytest.raises(RequestRejected, match=says) as raised:
        run(operator_of(job_id="job_1", output_path=path))
    assert isinstance(raised.value, AirflowFailException)
    assert len(vendors.requests) == asked


def test_a_mapped_task_must_not_write_one_file(vendors: StandInVendors, tmp_path: Path) -> None:
    job_id = vendors.add_job("aitronos")
    with pytest.raises(RequestRejected, match=r"ti\.map_index"):
        run(operator_of(job_id=job_id, output_path=f"file://{tmp_path}/all.json"), FakeTaskInstance(map_index=3))
    summary = run(operator_of(job_id=job_id, output_path=f"file://{tmp_path}/"), FakeTaskInstance(map_index=3))
    assert summary["path"] == f"file://{tmp_path}/dag/run/task/3/data.json"


def test_a_folder_that_cannot_be_made_is_retried(vendors: StandInVendors, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFailed, match="could not be written") as raised:
        run(operator_of(job_id=vendors.add_job("aitronos"), output_path=f"file://{tmp_path}/file/x"))
    assert not isinstance(raised.value, AirflowFailException)


def test_a_full_disk_ends_the_fetch_at_once(vendors: StandInVendors, tmp_path: Path) -> None:
    job_id = vendors.add_job("aitronos")
    asked = len(vendors.requests)

    class Full:
        def restart(self) -> None: ...

        def write(self, piece: bytes) -> None:
            raise OutputFailed("the disk is full")

    from airflow_provider_docstatus.fetching import Fetcher
    from airflow_provider_docstatus.hooks import DocStatusHook

    hook = DocStatusHook("aitronos_default", retries=3)
    with pytest.raises(OutputFailed):
        Fetcher(hook, content=None, options={}, into=Full()).fetch(hook.target(job_id=job_id))
    assert len(vendors.requests) == asked + 1


def test_too_large_for_an_xcom_names_the_file(vendors: StandInVendors) -> None:
    with pytest.raises(ResultTooLarge, match="output_path="):
        run(operator_of(job_id=vendors.add_job("aitronos"), max_bytes=10))


def test_max_bytes_is_checked_before_anything_is_asked_for() -> None:
    with pytest.raises(ValueError, match="max_bytes must be a whole number of bytes"):
        operator_of(max_bytes="1MB")


def test_on_item_error_is_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="on_item_error is 'raise' or 'skip'"):
        operator_of(job_id="x", on_item_error="ignore")


def test_an_id_whose_data_does_not_come_may_be_skipped(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos") for _ in range(3)]
    arguments: dict[str, Any] = {"job_id": ids, "output_path": f"file://{tmp_path}/x", "wait_for": "any"}
    vendors.answer_next(503, path=ids[1], times=math.inf)
    with pytest.raises(ServiceUnavailable, match="did not come within a minute"):
        run(operator_of(**arguments))
    summary = run(operator_of(**arguments, on_item_error="skip"))
    assert [row["id"] for row in rows_of(summary)] == [ids[0], ids[2]]
    assert "did not come within a minute" in summary["errors"][ids[1]]


@pytest.mark.parametrize("way", ["finished", "watched"])
def test_an_id_that_is_skipped_does_not_fail_the_task(vendors: StandInVendors, tmp_path: Path, way: str) -> None:
    ids = [vendors.add_job("docling") for _ in range(3)]
    vendors.answer_next(503, path=f"result/{ids[1]}", times=math.inf)
    where = {"conn_id": "docling_default", "output_path": f"file://{tmp_path}/x", **WAYS[way]}
    summary = run(operator_of(job_id=ids, on_item_error="skip", **where))
    assert [row["id"] for row in rows_of(summary)] == [ids[0], ids[2]]
    assert list(summary["errors"]) == [ids[1]]


@pytest.mark.parametrize("is_file", [False, True], ids=["xcom", "file"])
def test_a_list_of_which_all_are_skipped_is_retried(vendors: StandInVendors, tmp_path: Path, is_file: bool) -> None:
    ids = [vendors.add_job("docling") for _ in range(2)]
    vendors.answer_next(503, path="result/", times=math.inf)
    where = {"output_path": f"file://{tmp_path}/x"} if is_file else {}
    with pytest.raises(ServiceUnavailable, match="A retry asks again"):
        run(operator_of(conn_id="docling_default", job_id=ids, on_item_error="skip", **where))


def test_an_outage_is_not_skipped(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos") for _ in range(30)]
    vendors.answer_next(503, path="documents/jobs", times=math.inf)
    with pytest.raises(ServiceUnavailable):
        run(operator_of(job_id=ids, output_path=f"file://{tmp_path}/x", on_item_error="skip"))
    assert left_in(tmp_path) == []


def test_an_id_that_is_only_skipped_is_no_success(vendors: StandInVendors, tmp_path: Path) -> None:
    ids = [vendors.add_job("aitronos"), "job_that_nobody_knows"]
    arguments: dict[str, Any] = {"job_id": ids, "output_path": f"file://{tmp_path}/x"}
    summary = run(operator_of(**arguments, on_item_error="skip"))
    assert summary["counts"]["succeeded"] == 1
    assert "A retry asks again" not in summary["errors"][ids[1]]
    with pytest.raises(NoData, match="did not come within a minute"):
        run(operator_of(**arguments))
