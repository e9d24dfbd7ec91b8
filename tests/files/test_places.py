"""Where an output file goes, and what the DAG's author is told who wrote something else."""

from __future__ import annotations

import pytest

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.files.places import final_url, local_path, manifest_url, owner_of, safe_part, shown

DIRECTORY = "s3://conn@bucket/results/"
RUN = "manual__2024-01-01T00_00_00_00_00"


def test_a_directory_gets_the_task_and_a_name_added(context):
    assert final_url(DIRECTORY, context(), suffix=".json") == f"{DIRECTORY}load/{RUN}/group.extract/data.json"


def test_a_mapped_task_gets_its_index_added(context):
    assert final_url(DIRECTORY, context(3), suffix=".jsonl") == f"{DIRECTORY}load/{RUN}/group.extract/3/data.jsonl"


@pytest.mark.parametrize("url", ["s3://conn@bucket/a.json", "gs://bucket/b/a.json", "abfs://c@box/a", "file:///data/a.json"])
def test_a_file_is_used_as_it_is(url, context):
    assert final_url(url, context(), suffix=".zip") == url


def test_a_path_object_is_taken_by_its_text(context):
    from pathlib import PurePosixPath

    with pytest.raises(RequestRejected, match="has no scheme"):
        final_url(PurePosixPath("/data/a.json"), context(), suffix="")


@pytest.mark.parametrize(("path", "index"), [("3/a.json", 3), ("a-3.json", 3), ("a-003.json", 3), ("a_0.json", 0), ("12", 12)])
def test_a_mapped_tasks_file_that_names_its_index_is_its_own(path, index, context):
    assert final_url(f"s3://bucket/{path}", context(index), suffix="").endswith(path)


@pytest.mark.parametrize(
    ("path", "index"),
    [("a.json", 0), ("13.json", 3), ("2024-01-03/a.json", 3), ("2024-01-01T00:00:00/a.json", 0), ("x30", 3)],
)
def test_a_mapped_tasks_file_without_its_index_is_refused_with_the_remedy(path, index, context):
    with pytest.raises(RequestRejected, match=r"\{\{ ti.map_index \}\}.*directory"):
        final_url(f"s3://c{index}@bucket{index}/{path}", context(index), suffix="")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("/data/a.json", "has no scheme; write file://"),
        ("bucket/a.json", "has no scheme"),
        ("sftp://host/a.json", "not among the stores"),
        ("local:///data/a.json", "not among the stores"),
        ("file://data/a.json", "absolute path"),
        ("s3://bucket", "needs a bucket and a path"),
        ("s3:///a.json", "needs a bucket and a path"),
        ("s3://conn@/a.json", "needs a bucket and a path"),
        ("s3://me:hush@bucket/a.json", "never a key"),
        ("s3://bucket/a.json?hush=1", "neither"),
        ("s3://bucket/a#1.json", "neither"),
        ("s3://bucket/a\n.json", "neither"),
        ("s3://bucket/a\udc80.json", "neither"),
        ("s3://bucket/../a.json", "as a part"),
        ("file:///data/./a.json", "as a part"),
        ("file:///data/" + "\u4e16" * 81, "at most 241 bytes"),
    ],
)
def test_what_is_no_place_for_a_file_is_refused(path, told, context):
    with pytest.raises(RequestRejected, match=told) as caught:
        final_url(path, context(), suffix=".json")
    assert "hush" not in str(caught.value)


def test_parts_of_a_path_stay_apart_and_inside():
    parts = ["a/b", "a_b", "a?b", "..", ".", "", "ä", "x" * 250, "x" * 251]
    safe = [safe_part(part) for part in parts]
    assert len(set(safe)) == len(parts)
    assert not {".", "..", ""} & set(safe)
    assert all(part.isascii() and "/" not in part and len(part) < 255 for part in safe)
    assert safe[1] == "a_b"


def test_local_paths_are_read_as_airflow_reads_them(tmp_path):
    from airflow_provider_docstatus._compat import object_storage_path

    url = f"file://{tmp_path}/a b%20ä+:.json"
    assert local_path(url) == str(object_storage_path(url).path)
    assert local_path("s3://bucket/a") is None


def test_a_key_before_the_bucket_is_not_shown():
    assert shown("s3://conn@bucket/a") == "s3://conn@bucket/a"
    assert shown("s3://me:hush@bucket/a?hush#hush") == "s3://me@bucket/a"
    assert shown("a") == "a"
    assert manifest_url("s3://bucket/a.json") == "s3://bucket/a.json.manifest.json"


def test_an_owner_is_the_same_in_each_try_and_in_no_other_task(context):
    asked = {"ids": ["a"]}
    others = [context(1), context(dag_id="x"), context(run_id="x"), context(task_id="x")]
    owners = [owner_of(context(), asked), *(owner_of(other, asked) for other in others), owner_of(context(), {"ids": ["b"]})]
    assert len(set(owners)) == len(owners)
    assert owner_of(context(), {"ids": ["a"]}) == owners[0]
