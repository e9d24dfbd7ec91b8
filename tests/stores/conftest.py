"""A store that speaks S3 on the loopback, reached as a DAG reaches it: by Airflow's connection and its file system."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.stores.cutting import CuttingProxy

BUCKET = "bucket"


class S3:
    """
    A server, a bucket in it, and a proxy before it that can cut connections.

    :param environment: how Airflow reaches the bucket, by the connection ``s3``.
    """

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        address = self._server.get_host_and_port()
        self.proxy = CuttingProxy(address)
        about = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=f"http://{address[0]}:{address[1]}", **about)
        self.client.create_bucket(Bucket=BUCKET)
        extra = {
            "endpoint_url": f"http://127.0.0.1:{self.proxy.port}",
            "region_name": "us-east-1",
            "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 5, "read_timeout": 5},
        }
        conn = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
        self.environment = {"AIRFLOW_CONN_S3": json.dumps(conn)}

    def objects(self) -> dict[str, int]:
        """Return the sizes of the bucket's objects by key."""
        return {one["Key"]: one["Size"] for one in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])}

    def body(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def open_uploads(self) -> list[str]:
        """Return the keys of the multipart uploads that were neither completed nor aborted."""
        return [one["Key"] for one in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def clear(self) -> None:
        self.proxy.cut_at(None)
        for key in self.objects():
            self.client.delete_object(Bucket=BUCKET, Key=key)
        for one in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
            self.client.abort_multipart_upload(Bucket=BUCKET, Key=one["Key"], UploadId=one["UploadId"])

    def stop(self) -> None:
        self.proxy.stop()
        self._server.stop()


@pytest.fixture(scope="session")
def _server() -> Iterator[S3]:
    server = S3()
    yield server
    server.stop()


@pytest.fixture
def s3(_server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[S3]:
    """The server, with an empty bucket and nothing in the temporary directory."""
    from s3fs import S3FileSystem

    for name, value in _server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(S3FileSystem, "retries", 1)  # its own repeats would make each cut last half a minute
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    yield _server
    _server.clear()
