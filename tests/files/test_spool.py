"""Never half a file: neither under its final name nor, when all is over, under any other."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import resource
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_provider_docstatus.exceptions import OutputFailed, RequestRejected
from airflow_provider_docstatus.files import disk
from airflow_provider_docstatus.files import spool as module
from airflow_provider_docstatus.files.spool import Spool

STORE = "s3://store@bucket/out/data.json"
TEXT = b'{"page": 1}'
PIECES = [TEXT, b"", os.urandom(300_000), b"\n"]
WHOLE = b"".join(PIECES)


class Killed(BaseException):
    """Like AirflowTaskTimeout on some versions, and KeyboardInterrupt: no Exception."""


def fill(spool, pieces=PIECES):
    for piece in pieces:
        spool.write(piece)
    return spool


def put(url, pieces=PIECES, sleep=lambda _seconds: None):
    """Write and publish a file."""
    with Spool(url, sleep=sleep) as spool:
        fill(spool, pieces)
        spool.publish()


@pytest.fixture(params=["file", "store"])
def place(request, url, store):
    return url if request.param == "file" else STORE


@pytest.fixture
def held(tmp_path, store):
    """A function that returns what is under the final name."""

    def read(url):
        path = tmp_path / "out" / "data.json"
        return store.objects.get("bucket/out/data.json") if url == STORE else path.read_bytes() if path.exists() else None

    return read


def unslept(seconds):
    raise AssertionError("nobody waits here")


def test_what_is_published_is_whole_and_alone(place, held, left):
    with fill(Spool(place)) as spool:
        assert held(place) is None
        spool.publish()
        assert held(place) == WHOLE
        spool.publish()
        assert (spool.size, spool.sha256) == (len(WHOLE), hashlib.sha256(WHOLE).hexdigest())
        with spool.open_for_reading() as file:
            assert file.read() == WHOLE
    spool.discard()
    assert left() == ([] if place == STORE else ["out/data.json"])


def test_an_empty_file_is_a_file(place, held):
    with Spool(place) as spool:
        spool.publish()
    assert held(place) == b""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Killed])
@pytest.mark.parametrize("count", range(len(PIECES) + 1))
def test_what_breaks_off_leaves_nothing(place, error, count, held, left):
    with pytest.raises(error), fill(Spool(place), PIECES[:count]):
        raise error
    assert held(place) is None
    assert left() == []


def test_what_breaks_off_leaves_the_file_that_was_there(place, held):
    with fill(Spool(place), [b"old"]) as spool:
        spool.publish()
    with pytest.raises(Killed), fill(Spool(place)):
        raise Killed
    assert held(place) == b"old"
    with fill(Spool(place)) as spool:
        spool.publish()
    assert held(place) == WHOLE


def test_a_reply_that_begins_anew_replaces_what_was_written(place, held):
    with fill(Spool(place)) as spool:
        spool.restart()
        assert (spool.size, spool.sha256) == (0, hashlib.sha256().hexdigest())
        fill(spool, [TEXT])
        spool.publish()
    assert held(place) == TEXT


def test_what_is_rewritten_replaces_what_was_written(place, held, left):
    with fill(Spool(place)) as spool:
        with spool.open_for_reading() as file:
            spool.rewrite(iter([b"[", file.read(3), b"]"]))
        spool.write(b"!")
        assert spool.sha256 == hashlib.sha256(b'[{"p]!').hexdigest()
        with pytest.raises(ZeroDivisionError):
            spool.rewrite(bytes([1 // one]) for one in (1, 0))
        spool.publish()
    assert held(place) == b'[{"p]!'
    assert left() == ([] if place == STORE else ["out/data.json"])


# -- the worker's disk -----------------------------------------------------------------------------------------


def test_a_large_file_is_written_to_the_disk_on_the_way(place, held, monkeypatch):
    told = []
    monkeypatch.setattr(module, "_BUFFER", 1)
    monkeypatch.setattr(module, "_AHEAD", 250_000)
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, start, length, _how: told.append((start, length)))
    put(place, [bytes(100_000)] * 7)
    assert told == ([] if place == STORE else [(0, 300_000), (300_000, 300_000)])
    assert held(place) == bytes(700_000)


def test_the_file_in_the_making_is_hidden_and_its_owners_alone(url, left, tmp_path):
    with fill(Spool(url)) as spool:
        (name,) = left()
        assert name.startswith("out/.data.json.")
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        spool.publish()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "out" / "data.json").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("keeps", [False, True])
def test_a_name_of_characters_that_take_several_bytes_is_no_longer_in_the_making(tmp_path, left, keeps):
    name = "\U0001f600" * 60
    with Spool(f"file://{tmp_path}/{name}", keeps=keeps) as spool:
        fill(spool)
        spool.complete({})
        spool.publish()
    assert left() == [name]


def test_a_file_that_is_replaced_keeps_its_permissions(url, tmp_path):
    for _ in range(2):
        with Spool(url) as spool:
            spool.publish()
        (tmp_path / "out" / "data.json").chmod(0o640)
    assert stat.S_IMODE((tmp_path / "out" / "data.json").stat().st_mode) == 0o640


def test_a_file_in_the_making_for_a_store_names_no_document(store, left):
    with Spool("s3://store@bucket/Jane Doe.json"):
        (name,) = left()
    assert name.startswith("temporary/docstatus-")
    assert "Jane" not in name


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_is_an_error_that_says_so(place, code, monkeypatch, left):
    def fails(_fd):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OutputFailed, match=f"{place} could not be written.*OSError, {os.strerror(code)}"):
        put(place)
    assert left() == []


def test_a_disk_that_is_full_in_the_middle_is_an_error_that_says_so(place, left):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OutputFailed, match=r"could not be written.*: OSError, File too large. Make room. A retry"):
            put(place, [bytes(100_000)] * 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left() == []


def test_a_directory_in_the_files_place_is_an_error_that_says_so(url, tmp_path, left):
    (tmp_path / "out" / "data.json").mkdir(parents=True)
    with pytest.raises(OutputFailed, match=r"IsADirectoryError.* end output_path with '/'"):
        put(url)
    assert left() == []


def test_a_file_in_the_directorys_place_is_an_error_that_says_so(url, tmp_path, left):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(OutputFailed, match=r"FileExistsError|NotADirectoryError"):
        Spool(url)
    assert left() == ["out"]


# -- stores ----------------------------------------------------------------------------------------------------


def test_an_upload_goes_in_blocks_of_eight_mebibytes(store):
    with fill(Spool(STORE), [bytes(5 * 1024 * 1024)] * 5) as spool:
        spool.publish()
    assert store.blocks == [8 * 1024 * 1024]
    assert [len(part) for part in store.uploads[0].parts][:-1] == [8 * 1024 * 1024] * 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Killed])
@pytest.mark.parametrize("what", ["open wb", "part", "second part", "commit"])
def test_an_upload_that_breaks_off_is_given_up(store, what, error, left):
    seen = []

    def before(done):
        seen[:] = [] if done == "open wb" else [*seen, done]
        if done == what or (what == "second part" and done == "part" and seen.count("part") == 2):
            raise error

    store.before = before
    kind = OutputFailed if error is ValueError else error
    with pytest.raises(kind):
        put(STORE, [bytes(9 * 1024 * 1024)] * 2)
    assert store.objects == {}
    assert store.open_uploads == 0
    assert left() == []
    assert len(store.uploads) == (0 if what == "open wb" else 4 if error is ValueError else 1)


def test_an_upload_that_breaks_is_repeated_from_what_is_here(store, caplog):
    broken, slept = [ConnectionResetError(104, "x"), ValueError("https://store/?signature=hush")], []

    def before(what):
        if what == "commit" and broken:
            raise broken.pop(0)

    store.before = before
    with fill(Spool(STORE, sleep=slept.append)) as spool:
        spool.publish()
    assert store.objects == {"bucket/out/data.json": WHOLE}
    assert slept == [1.0, 5.0]
    assert store.open_uploads == 0
    assert "hush" not in caplog.text


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_a_missing_bucket_or_permission_is_not_waited_for(store, error, left):
    def before(what):
        if what == "part":
            raise error("hush")

    store.before = before
    with pytest.raises(OutputFailed, match=rf"{error.__name__}\. \w.*\? A retry") as caught:
        put(STORE, sleep=unslept)
    assert "hush" not in str(caught.value)
    assert left() == []


def test_a_store_that_holds_something_else_is_not_believed(store, monkeypatch):
    monkeypatch.setattr(store, "info", lambda path: {"size": 7})
    slept = []
    with pytest.raises(OutputFailed, match=rf"holds 7 bytes, and {len(WHOLE)} were sent"):
        put(STORE, sleep=slept.append)
    assert slept == [1.0, 5.0, 15.0]


def test_an_upload_that_cannot_be_given_up_is_told_and_not_committed(store, caplog):
    def before(what):
        if what in ("commit", "discard"):
            raise ConnectionResetError

    store.before = before
    with pytest.raises(OutputFailed):
        put(STORE)
    assert "lifecycle rule" in caplog.text
    store.before = lambda _what: None
    store.uploads.clear()
    assert store.objects == {}


def test_an_upload_that_cannot_be_given_up_yet_is_given_up_a_moment_later(store, caplog):
    told = []

    def before(what):
        told.append(what)
        if what == "commit" or told.count("discard") == 1:
            raise ConnectionResetError

    store.before = before
    slept = []
    with pytest.raises(OutputFailed):
        put(STORE, sleep=slept.append)
    assert slept[0] == 0.5
    assert store.open_uploads == 0
    assert "lifecycle rule" not in caplog.text


def test_a_connection_that_is_not_defined_is_told(store):
    with pytest.raises(RequestRejected, match=r"s3://nobody@bucket/a\.json names before @ is not defined"):
        Spool("s3://nobody@bucket/a.json")


def test_a_store_that_airflow_does_not_know_is_refused_before_anything_is_fetched(store, left):
    with pytest.raises(RequestRejected, match=r"no file system for gs://.*apache-airflow-providers-google"):
        Spool("gs://bucket/a.json")
    assert left() == []


# -- results that can be read once -----------------------------------------------------------------------------


def kept(url, key="k"):
    return Spool(url, keeps=True, key=key, sleep=unslept)


def disk_folder(url):
    return Path(tempfile.gettempdir()) if url == STORE else Path(url.removeprefix("file://")).parent


def broken_off(url, *, is_published=False, **note):
    """A try that writes all bytes and is killed then; with a note it has said so, and may have published them."""
    spool = fill(kept(url))
    if note:
        spool.complete(note)
    if is_published:
        spool.publish()
    with suppress(Killed), spool:
        raise Killed


def test_bytes_that_may_not_be_all_are_not_taken_up(place, held, left):
    broken_off(place)
    assert len(left()) == 1
    with kept(place) as spool:
        assert spool.found == len(WHOLE)
        assert spool.resumed() is None
        fill(spool, [TEXT])
        spool.publish()
    assert held(place) == TEXT
    assert left() == ([] if place == STORE else ["out/data.json"])


def test_bytes_that_are_all_are_published_by_the_next_try(place, held, left):
    broken_off(place, format="text/plain")
    with kept(place) as spool:
        assert spool.resumed() == {"format": "text/plain"}
        assert (spool.size, spool.sha256) == (len(WHOLE), hashlib.sha256(WHOLE).hexdigest())
        spool.publish()
    assert held(place) == WHOLE
    assert left() == ([] if place == STORE else ["out/data.json"])


def test_what_can_be_read_once_outlives_a_directory_in_the_files_place(url, tmp_path, held):
    (tmp_path / "out" / "data.json").mkdir(parents=True)
    with pytest.raises(OutputFailed):
        broken_off(url, is_published=True, n=1)
    (tmp_path / "out" / "data.json").rmdir()
    with kept(url) as spool:
        assert spool.resumed() == {"n": 1}
        spool.publish()
    assert held(url) == WHOLE


def test_a_try_that_was_killed_before_the_manifest_is_taken_up(place, held, left):
    broken_off(place, is_published=True, format="text/plain")
    with kept(place) as spool:
        assert spool.resumed() == {"format": "text/plain"}
        assert (spool.size, spool.sha256) == (len(WHOLE), hashlib.sha256(WHOLE).hexdigest())
        spool.publish()
    assert held(place) == WHOLE
    assert left() == ([] if place == STORE else ["out/data.json"])


@pytest.mark.parametrize("change", ["longer", "other", "no note", "somebody's note"])
def test_bytes_that_are_not_those_of_the_note_are_not_taken_up(place, change, tmp_path, left):
    broken_off(place, format="text/plain")
    bytes_, note = (tmp_path / name for name in left())
    if change == "no note":
        note.write_text("{")
    elif change == "somebody's note":
        note.chmod(0o644)
    else:
        bytes_.write_bytes(WHOLE + b"x" if change == "longer" else WHOLE[:-1] + b"x")
    with kept(place) as spool:
        assert spool.resumed() is None
        assert spool.size == 0


def test_another_tasks_bytes_are_not_taken_up(place, left):
    broken_off(place, format="text/plain")
    with kept(place, key="other") as spool:
        assert spool.found == 0
        assert spool.resumed() is None
    assert len(left()) == 2


def test_a_try_that_begins_anew_forgets_the_note(place, left):
    broken_off(place, format="text/plain")
    broken_off(place)
    with kept(place) as spool:
        assert spool.resumed() is None
    assert left() == []


def test_two_tries_do_not_write_the_same_file(place):
    with kept(place) as first:
        with pytest.raises(OutputFailed, match="Another try"):
            kept(place)
        first.rewrite([b"x"])
        with pytest.raises(OutputFailed, match="Another try"):
            kept(place)


def test_a_file_that_is_renamed_while_it_is_opened_is_not_written_to(place, monkeypatch, left):
    lock, renamed = disk.lock, []

    def rename_first(file):
        if not renamed:
            renamed.append(file)
            for path in disk_folder(place).iterdir():
                path.unlink()
        lock(file)

    monkeypatch.setattr(disk, "lock", rename_first)
    broken_off(place, format="text/plain")
    with kept(place) as spool:
        assert spool.resumed() == {"format": "text/plain"}


def test_a_file_that_is_renamed_each_time_is_an_error(place, monkeypatch):
    monkeypatch.setattr(disk, "lock", lambda _file: [path.unlink() for path in disk_folder(place).iterdir()])
    with pytest.raises(OutputFailed, match="at the same time"):
        kept(place)


def test_a_file_system_without_locks_does_without(place, monkeypatch):
    def fails(_fd, _how):
        raise OSError(errno.ENOLCK, "x")

    monkeypatch.setattr(fcntl, "flock", fails)
    broken_off(place, format="text/plain")
    with kept(place) as spool:
        assert spool.resumed() == {"format": "text/plain"}


@pytest.mark.parametrize("how", ["readable", "link", "hard link", "pipe"])
def test_a_file_that_somebody_else_may_have_laid_is_not_written_to(place, how, tmp_path, left):
    broken_off(place)
    (name,) = left()
    path = tmp_path / name
    if how == "readable":
        path.chmod(0o644)
    elif how == "hard link":
        (tmp_path / "second").hardlink_to(path)
    else:
        path.unlink()
        (tmp_path / "other").write_bytes(b"")
        path.symlink_to(tmp_path / "other") if how == "link" else os.mkfifo(path, 0o600)
    with pytest.raises(OutputFailed, match=r"PermissionError|OSError"):
        kept(place)


def test_without_keeps_there_is_no_note(place, left):
    with fill(Spool(place)) as spool:
        spool.complete({})
        assert spool.resumed() is None
        assert len(left()) == 1
