"""Where a connection's own description may come from, and that a refusal shows nothing of what was read."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.plain_data import LONGEST
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.transport.connection import Endpoint
from tests.protocol.test_described import ARCHIVE, SECRET, archive
from tests.transport.test_connection import KEY, Connection


def endpoint(extra: Any, **fields: Any) -> Endpoint:
    return Endpoint.from_connection(Connection(conn_id="docs", **{"conn_type": "docstatus", **fields}), extra)


def refusal(extra: Any) -> str:
    with pytest.raises(RequestRejected) as caught:
        endpoint(extra)
    assert caught.value.code is None
    assert caught.value.__cause__ is None
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that connections may name files of."""
    found = tmp_path / "services"
    found.mkdir()
    (found / "archive.yaml").write_text(ARCHIVE)
    (tmp_path / "outside.yaml").write_text(ARCHIVE)
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__DESCRIPTIONS_FOLDER", str(found))
    return found


@pytest.mark.parametrize("description", [archive(), ARCHIVE, json.dumps(archive())], ids=["object", "YAML", "JSON"])
def test_a_description_in_the_extra_is_the_service(description: Any) -> None:
    found = endpoint({"description": description, "share": 0.5, "file": ""})
    assert found.service.name == "archive"
    assert found.base_url == "https://archive.example.com"
    assert found.key_header() == {"Authorization": f"Bearer {KEY}"}
    assert found.share == 0.5


def test_the_connections_own_settings_hold_for_a_described_service() -> None:
    extra = {"description": archive(), "status_words": {"stuck": "failed"}, "calls_per_minute": 5}
    found = endpoint(extra, host="http://127.0.0.1:8080/api")
    assert found.base_url == "http://127.0.0.1:8080/api"
    assert found.service.states["stuck"] is State.FAILED
    assert found.calls_per_minute == 5


def test_nothing_in_braces_in_a_key_is_read_as_a_place() -> None:
    found = endpoint({"description": archive()}, password="{id}{key}%s{0.__class__}")
    assert found.key_header() == {"Authorization": "Bearer {id}{key}%s{0.__class__}"}


def test_a_file_below_the_folder_is_the_service(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "same.json").write_text(json.dumps(archive()))
    (folder / "link.yaml").symlink_to(folder / "archive.yaml")
    for name in ("archive.yaml", "more/same.json", "link.yaml", "more/../archive.yaml", str(folder / "archive.yaml")):
        assert endpoint({"file": name}).service.name == "archive"


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__DESCRIPTIONS_FOLDER", str(tmp_path / "link"))
    assert endpoint({"file": "archive.yaml"}).service.name == "archive"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({}, "one of description and file; it has none"),
        ({"description": None, "file": ""}, "it has none"),
        ({"description": archive(), "file": "archive.yaml"}, "it has description and file"),
        ({"description": 7}, "an object or text"),
        ({"description": [archive()]}, "an object or text"),
        ({"description": ""}, "it has none"),
        ({"description": f"a: [{SECRET}"}, "not valid YAML"),
        ({"description": {**archive(), "title": [SECRET]}}, "description: title: must be text"),
        ({"description": {**archive(), "wrods": 1}}, "description: has an unknown field (did you mean words?)"),
        ({"description": {**archive(), "name": "aitronos"}}, "name: must not be the name of another service"),
        ({"description": {**archive(), "title": ["x" * 1_000] * 300}}, "longer than 256 KiB"),
        ({"description": {**archive(), "name": "docstatus"}}, "of another service or type of connection"),
        ({"description": archive(), "mode": "x"}, "unknown keys: mode; the keys are description, file, operation"),
        ([archive()], "it has none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_in_the_extra_is_refused(extra: Any, said: str) -> None:
    text = refusal(extra)
    assert text.startswith("Connection 'docs' (")
    assert said in text


def test_another_type_of_connection_has_no_description() -> None:
    with pytest.raises(RequestRejected, match="unknown keys: description"):
        endpoint({"description": archive()}, conn_type="aitronos")


@pytest.mark.parametrize(
    "name",
    ["../outside.yaml", "more/../../outside.yaml", "/etc/passwd", "link.yaml", "linked/outside.yaml", ".", "", "../services"],
)
def test_no_file_outside_the_folder_is_read(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (folder / "linked").symlink_to(tmp_path)
    said = (
        "below the folder that option descriptions_folder of section docstatus names, also where links lead"
        if name
        else "it has none"
    )
    assert said in refusal({"file": name})


def test_a_folder_whose_name_only_begins_the_same_is_outside(folder: Path) -> None:
    other = folder.with_name("services-of-others")
    other.mkdir()
    (other / "archive.yaml").write_text(ARCHIVE)
    assert "also where links lead" in refusal({"file": "../services-of-others/archive.yaml"})


def test_a_file_needs_the_folder_to_be_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__DOCSTATUS__DESCRIPTIONS_FOLDER")
    assert "only where option descriptions_folder of section docstatus is set" in refusal({"file": str(folder / "archive.yaml")})
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__DESCRIPTIONS_FOLDER", "services")
    assert "must be an absolute path" in refusal({"file": "archive.yaml"})


@pytest.mark.parametrize("name", [7, ["archive.yaml"], "a\0b", "a\ud800b", "a\nb"], ids=ascii)
def test_a_file_is_named_by_text(name: Any, folder: Path) -> None:
    assert "must be a path as text" in refusal({"file": name})


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    text = refusal({"file": "archive.yml"})
    assert "no such file on this machine, below the folder that option descriptions_folder of section docstatus names." in text
    assert "cannot be read on this machine (NotADirectoryError)" in refusal({"file": "archive.yaml/x"})


def test_a_folder_that_is_not_there_is_told_apart(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    assert "file: the folder that option descriptions_folder of section docstatus names is not there" in refusal({"file": "a"})


def test_no_text_has_brackets_that_airflow_would_take_for_markup(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [refusal({"file": name}) for name in ("/outside.yaml", "archive.yml", "\0")]
    monkeypatch.setenv("AIRFLOW__DOCSTATUS__DESCRIPTIONS_FOLDER", "relative")
    assert all("[" not in text for text in [*texts, refusal({"file": "archive.yaml"})])


def test_a_folder_is_no_file(folder: Path) -> None:
    (folder / "more").mkdir()
    assert "it is no regular file" in refusal({"file": "more"})


def test_a_pipe_is_no_file_and_nobody_waits_for_it(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "it is no regular file" in refusal({"file": "pipe"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_refused(folder: Path) -> None:
    (folder / "archive.yaml").chmod(0)
    assert "cannot be read on this machine (PermissionError)" in refusal({"file": "archive.yaml"})


def test_a_link_that_comes_after_the_check_is_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "link.yaml").symlink_to(folder.parent / "outside.yaml")
    monkeypatch.setattr(os.path, "realpath", str)
    assert "cannot be read" in refusal({"file": "link.yaml"})


def test_a_folder_that_becomes_a_link_after_the_check_is_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "outside.yaml").write_text(ARCHIVE)
    check = os.path.commonpath

    def changed(paths: list[str]) -> str:
        (folder / "more" / "outside.yaml").unlink()
        (folder / "more").rmdir()
        (folder / "more").symlink_to(folder.parent)
        return check(paths)

    monkeypatch.setattr(os.path, "commonpath", changed)
    assert "cannot be read" in refusal({"file": "more/outside.yaml"})


def test_reading_leaves_nothing_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: set[int] = set()
    start, end = os.open, os.close

    def opening(*arguments: Any, **options: Any) -> int:
        opened.add(handle := start(*arguments, **options))
        return handle

    def closing(handle: int) -> None:
        opened.discard(handle)
        end(handle)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "close", closing)
    (folder / "more").mkdir()
    for name in ("archive.yaml", "more/no.yaml", "more"):
        with suppress(RequestRejected):
            endpoint({"file": name})
    assert not opened


def test_a_long_file_is_not_read_whole(folder: Path) -> None:
    (folder / "long.yaml").write_bytes(b"a: " + SECRET.encode() * LONGEST)
    assert "longer than 256 KiB" in refusal({"file": "long.yaml"})


def test_nothing_of_a_file_that_is_no_description_is_shown(folder: Path) -> None:
    (folder / "passwords").write_text(f"password: {SECRET}\n{SECRET}: x\n")
    text = refusal({"file": "passwords"})
    assert text.startswith("Connection 'docs' (docstatus), file: the description: ")
    assert "unknown field" in text


def test_every_thread_may_read(folder: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(endpoint({"file": "archive.yaml"}).service.name)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["archive"] * 4
