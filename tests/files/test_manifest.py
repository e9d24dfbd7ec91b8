"""The manifest: written last, believed only if all of it is true, and small where it is pushed to XCom."""

from __future__ import annotations

import json

import pytest

from airflow_provider_docstatus.exceptions import OutputFailed, RequestRejected
from airflow_provider_docstatus.files import manifest as module
from airflow_provider_docstatus.files.manifest import built, matching, read, summary, written
from airflow_provider_docstatus.files.rows import Rows
from airflow_provider_docstatus.files.spool import Spool

STORE = "s3://store@bucket/out/data.json"
ASKED = {
    "ids": ["a", "b", "c"],
    "service": "neurolinker",
    "parameter": "document_id",
    "operation": None,
    "content": "json",
    "content_options": {"content_types": ("tables",)},
    "accept": ["review", "partial"],
    "gates": None,
    "on_item_error": "raise",
}


@pytest.fixture(params=["file", "store"])
def place(request, url, store):
    return url if request.param == "file" else STORE


@pytest.fixture
def held(tmp_path, store):
    """A function that returns the file and the manifest, or replaces them."""

    def read_or_replace(url, *new):
        if url == STORE:
            store.objects.update(zip(sorted(store.objects), new, strict=False))
            return [store.objects[name] for name in sorted(store.objects)]
        paths = [tmp_path / "out" / name for name in ("data.json", "data.json.manifest.json")]
        for path, data in zip(paths, new, strict=False):
            path.write_bytes(data)
        return [path.read_bytes() for path in paths]

    return read_or_replace


def make(url, asked=ASKED, **more):
    with Spool(url) as spool:
        rows = Rows(spool)
        for one in "ca":
            rows.add(one, {"data": one})
        places = rows.in_order(asked["ids"])
        spool.publish()
        made = built(
            asked,
            path=url,
            format="application/x-ndjson",
            ids={"succeeded": ["a", "c"], "failed": ["b"], "expired": []},
            errors={"b": "Document is corrupted"},
            rows=places,
            **more,
        )
        return written(made, spool)


def test_a_manifest_says_what_is_in_the_file(place):
    made = make(place, file_names={"a": "a.pdf"}, findings={"a": ["NaN at $.x"]}, status={"id": "a"})
    assert read(place) == json.loads(json.dumps(made))
    assert made["written_at"].endswith("+00:00")
    assert {name: value for name, value in read(place).items() if name not in ("written_at", "sha256", "ids_sha256")} == {
        "version": 1,
        "service": "neurolinker",
        "parameter": "document_id",
        "operation": None,
        "content": "json",
        "content_options": {"content_types": ["tables"]},
        "accept": ["partial", "review"],
        "gates": None,
        "on_item_error": "raise",
        "path": place,
        "format": "application/x-ndjson",
        "bytes": 44,
        "total": 3,
        "counts": {"succeeded": 2, "failed": 1},
        "ids": {"succeeded": ["a", "c"], "failed": ["b"]},
        "errors": {"b": "Document is corrupted"},
        "rows": {"a": [0, 21], "c": [22, 21]},
        "file_names": {"a": "a.pdf"},
        "findings": {"a": ["NaN at $.x"]},
        "status": {"id": "a"},
    }


def test_a_later_try_that_asks_for_the_same_finds_it(place):
    made = make(place)
    assert matching(place, {**ASKED, "accept": ("partial", "review")}) == json.loads(json.dumps(made))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ids", ["a", "c", "b"], "ids_sha256"),
        ("ids", ["a", "b"], "ids_sha256"),
        ("ids", ["a", "b", "c", "d"], "ids_sha256"),
        ("ids", ["a", 'b"\n"c'], "ids_sha256"),
        ("service", "extend", "service"),
        ("parameter", "job_id", "parameter"),
        ("operation", "parse", "operation"),
        ("content", None, "content"),
        ("content_options", {}, "content_options"),
        ("accept", [], "accept"),
        ("gates", "5e1f", "gates"),
        ("on_item_error", "skip", "on_item_error"),
    ],
)
def test_a_later_try_that_asks_for_something_else_does_not(place, name, value, told, caplog):
    make(place)
    assert matching(place, {**ASKED, name: value}) is None
    assert f"differs in {told}" in caplog.text


CHANGES = {
    "size": lambda file, manifest: (file + b"x", manifest),
    "sha256": lambda file, manifest: (file[:-1] + b"x", manifest),
    "path": lambda file, manifest: (file, manifest.replace(b'"path":"', b'"path":"moved from ')),
}


@pytest.mark.parametrize("told", CHANGES)
def test_a_file_that_is_not_the_manifests_is_not_believed(place, told, held, caplog):
    make(place)
    held(place, *CHANGES[told](*held(place)))
    assert matching(place, ASKED) is None
    assert f"differs in {told}" in caplog.text


def test_a_manifest_whose_file_is_gone_is_not_believed(url, tmp_path, caplog):
    make(url)
    (tmp_path / "out" / "data.json").unlink()
    assert matching(url, ASKED) is None
    assert "differs in size" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "{}", '{"version": 2}', '{"version": 1, "path": 3}', "\x00", '{"version":1}']
)
def test_what_is_no_manifest_is_not_believed(url, text, tmp_path, caplog):
    make(url)
    (tmp_path / "out" / "data.json.manifest.json").write_text(text)
    assert matching(url, ASKED) is None
    assert len(caplog.records) == 1


def test_a_manifest_that_is_too_large_is_not_read(url, monkeypatch, caplog):
    make(url)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    assert matching(url, ASKED) is None
    assert "is not read" in caplog.text


def test_no_manifest_is_no_news(place, caplog):
    assert matching(place, ASKED) is None
    assert [record for record in caplog.records if record.name.startswith("airflow_provider_docstatus")] == []


def test_a_file_that_cannot_be_read_is_fetched_anew(store, caplog):
    make(STORE)
    opened = []

    def before(what):
        opened.append(what)
        if opened.count("open rb") == 2:
            raise ConnectionResetError

    store.before = before
    assert matching(STORE, ASKED) is None
    assert "ConnectionResetError" in caplog.text


def test_a_store_that_airflow_does_not_know_is_told(store):
    with pytest.raises(RequestRejected, match="gs://"):
        matching("gs://bucket/a.json", ASKED)


def test_a_manifest_that_cannot_be_written_leaves_none(place, store, tmp_path, monkeypatch):
    from airflow_provider_docstatus.files import disk

    def fails(*_args):
        raise PermissionError(13, "x")

    def before(what):
        if what == "commit" and store.uploads[-1].path.endswith(".manifest.json"):
            fails()

    store.before = before
    if place != STORE:
        monkeypatch.setattr(disk, "mode_for", lambda path: fails() if path.name.endswith(".manifest.json") else 0o600)
    with pytest.raises(OutputFailed, match=r"manifest\.json could not be written"):
        make(place)
    assert read(place) is None
    assert store.open_uploads == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "data.json"]


def test_the_summary_is_small_and_says_where_the_rest_is(url):
    ids = [f"id-{number}" for number in range(5000)]
    asked = {**ASKED, "ids": ids}
    with Spool(url) as spool:
        rows = Rows(spool)
        rows.add(ids[0], {"data": 1})
        spool.publish()
        made = built(
            asked,
            path=url,
            format="application/x-ndjson",
            ids={"succeeded": ids[:1], "failed": ids[1:]},
            errors=dict.fromkeys(ids[1:], "broken"),
            rows=rows.in_order(ids),
        )
        made = written(made, spool)
    said = summary(made)
    assert said == {
        "path": url,
        "format": "application/x-ndjson",
        "bytes": 22 + len('"id-0"') - 3 - 2,
        "sha256": made["sha256"],
        "total": 5000,
        "counts": {"succeeded": 1, "failed": 4999},
        "rows": 1,
        "errors": dict.fromkeys(ids[1:21], "broken"),
        "errors_total": 4999,
        "manifest": f"{url}.manifest.json",
    }
    assert summary(read(url)) == said
    assert len(json.dumps(said)) < 4096


def test_a_single_document_is_one_row(url):
    with Spool(url) as spool:
        spool.publish()
        made = built({**ASKED, "ids": ["a"]}, path=url, format="text/markdown", ids={"succeeded": ["a"]}, errors={})
        assert summary(written(made, spool))["rows"] == 1
