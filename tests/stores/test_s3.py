"""On S3: one upload under the final name or nothing, wherever it is cut, and no part of it left."""

from __future__ import annotations

import hashlib
import os
import signal
import threading

import pytest

from airflow_provider_docstatus._compat import AirflowTaskTimeout
from airflow_provider_docstatus.exceptions import OutputFailed, RequestRejected
from airflow_provider_docstatus.files import storing
from airflow_provider_docstatus.files.manifest import built, matching, written
from airflow_provider_docstatus.files.rows import Rows
from airflow_provider_docstatus.files.spool import Spool

KEY = "out/data.json"
URL = f"s3://s3@bucket/{KEY}"
MIB = 1024 * 1024
WHOLE = os.urandom(20 * MIB)
ASKED = {
    "ids": ["a", "b"],
    "service": "extend",
    "parameter": "job_id",
    "operation": None,
    "content": None,
    "content_options": {},
    "accept": [],
}


def put(data, url=URL, slept=None):
    with Spool(url, sleep=(slept if slept is not None else []).append) as spool:
        spool.write(data)
        spool.publish()
        return spool


@pytest.fixture
def left(s3, tmp_path):
    """A function that returns all that is left: objects, open uploads, local files."""
    return lambda: [*s3.objects(), *s3.open_uploads(), *(path for path in tmp_path.rglob("*") if path.is_file())]


@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB, 20 * MIB])
def test_a_file_of_any_size_is_whole_under_its_name(s3, size, left):
    spool = put(WHOLE[:size])
    assert s3.objects() == {KEY: size}
    assert s3.body(KEY) == WHOLE[:size]
    assert storing.size_of(URL) == spool.size == size
    with storing.reading(URL) as file:
        assert hashlib.sha256(file.read()).hexdigest() == spool.sha256
    assert left() == [KEY]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, AirflowTaskTimeout])
@pytest.mark.parametrize("size", [1, 8 * MIB, 20 * MIB])
def test_a_reply_that_breaks_off_sends_nothing_to_the_store(s3, size, error, left):
    spool = Spool(URL)
    spool.write(WHOLE[:size])
    with pytest.raises(error), spool:
        raise error
    assert left() == []


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError, OutputFailed), (KeyboardInterrupt, KeyboardInterrupt), (AirflowTaskTimeout, AirflowTaskTimeout)],
)
@pytest.mark.parametrize("after", [1, 8 * MIB, 9 * MIB, 17 * MIB, 20 * MIB])
def test_an_upload_that_is_interrupted_is_given_up(left, after, error, told, monkeypatch):
    from s3fs.core import S3File

    write, sent = S3File.write, []

    def interrupted(self, piece):
        sent.append(len(piece))
        written = write(self, piece)
        if sum(sent) >= after:
            sent.clear()
            raise error
        return written

    monkeypatch.setattr(S3File, "write", interrupted)
    with pytest.raises(told):
        put(WHOLE)
    assert left() == []


@pytest.mark.parametrize("marker", [b"partNumber=1", b"partNumber=3", b"<CompleteMultipartUpload"])
def test_a_task_that_is_stopped_in_the_middle_of_a_request_leaves_no_half_file(s3, marker, left):
    def stop(*_args):
        raise AirflowTaskTimeout

    before = signal.signal(signal.SIGUSR1, stop)
    s3.proxy.cut_at(marker, instead=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1))
    try:
        with pytest.raises(AirflowTaskTimeout):
            put(WHOLE)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert s3.proxy.cuts == 1
    assert s3.open_uploads() == []
    assert left() in ([], [KEY])  # the request that joins the parts may still be heard: then the file is whole
    assert s3.objects().get(KEY, len(WHOLE)) == len(WHOLE)


@pytest.mark.parametrize(
    ("marker", "after", "size"),
    [
        (b"PUT /bucket/out/data.json", 1, 1),
        (b"PUT /bucket/out/data.json", 1000, 5 * MIB),
        (b"partNumber=1", 1, 20 * MIB),
        (b"partNumber=1", 4 * MIB, 20 * MIB),
        (b"partNumber=3", 1, 20 * MIB),
        (b"partNumber=3", 2 * MIB, 20 * MIB),
        (b"<CompleteMultipartUpload", 1, 20 * MIB),
    ],
)
def test_a_connection_that_is_cut_at_every_attempt_leaves_nothing(s3, marker, after, size, left):
    s3.proxy.cut_at(marker, after)
    slept = []
    with pytest.raises(OutputFailed, match=rf"{URL} could not be written: \w+.*A retry writes it again"):
        put(WHOLE[:size], slept=slept)
    assert slept == [1.0, 5.0, 15.0]
    assert s3.proxy.cuts >= 4
    assert left() == []


def test_a_connection_that_is_cut_once_is_no_matter(s3):
    s3.proxy.cut_at(b"partNumber=2", MIB)
    slept = []

    class Mended(list):
        def append(self, seconds):
            slept.append(seconds)
            s3.proxy.cut_at(None)

    put(WHOLE, slept=Mended())
    assert slept == [1.0]
    assert s3.body(KEY) == WHOLE
    assert s3.open_uploads() == []


def test_what_was_there_stays_until_the_new_file_is_whole(s3):
    put(b"old")
    s3.proxy.cut_at(b"partNumber=2", MIB)
    with pytest.raises(OutputFailed):
        put(WHOLE)
    assert s3.body(KEY) == b"old"
    s3.proxy.cut_at(None)
    put(WHOLE)
    assert s3.body(KEY) == WHOLE


def test_a_missing_bucket_is_told_at_once(s3, left):
    slept = []
    with pytest.raises(OutputFailed, match=r"FileNotFoundError, NoSuchBucket\. Is there such a bucket"):
        put(WHOLE, "s3://s3@nowhere/data.json", slept)
    assert slept == []
    assert left() == []


def test_a_store_that_is_gone_is_told(s3, monkeypatch, left):
    monkeypatch.setenv("AIRFLOW_CONN_GONE", s3.environment["AIRFLOW_CONN_S3"].replace(str(s3.proxy.port), "1"))
    with pytest.raises(OutputFailed, match="EndpointConnectionError"):
        put(WHOLE, "s3://gone@bucket/data.json")
    assert left() == []


def test_a_store_without_its_provider_names_what_to_install():
    with pytest.raises(RequestRejected, match="Install apache-airflow-providers-google and universal-pathlib"):
        Spool("gs://bucket/data.json")


def test_parts_grow_where_there_would_be_more_than_a_store_takes():
    assert storing.block_for(20 * MIB) == 8 * MIB
    assert storing.block_for(10_000 * 8 * MIB) * 10_000 > 10_000 * 8 * MIB
    assert storing.block_for(5 * 1024 * 1024 * MIB) * 10_000 > 5 * 1024 * 1024 * MIB


def test_rows_that_can_be_read_once_outlive_a_store_that_is_down(s3, left):
    s3.proxy.cut_at(b"PUT /bucket/out/", 1)

    def attempt():
        with Spool(URL, keeps=True, key="task", sleep=lambda _seconds: None) as spool:
            note = is_resumed = spool.resumed()
            if note is None:
                rows = Rows(spool)
                for one in ("b", "a"):
                    rows.add(one, {"data": one})
                about = {"path": URL, "format": "application/x-ndjson", "ids": {"succeeded": ["a", "b"]}, "errors": {}}
                note = built(ASKED, **about, rows=rows.in_order("ab"))
                spool.complete(note)
            spool.publish()
            written(note, spool)
        return is_resumed is not None

    with pytest.raises(OutputFailed):
        attempt()
    assert s3.objects() == {}
    s3.proxy.cut_at(None)
    assert attempt() is True
    assert s3.body(KEY) == b'{"id":"a","data":"a"}\n{"id":"b","data":"b"}\n'
    assert matching(URL, ASKED)["rows"] == {"a": [0, 21], "b": [22, 21]}
    assert left() == [KEY, f"{KEY}.manifest.json"]
