"""An S3 server that counts bytes and keeps none, since moto holds twice an object's size in memory when its parts are joined."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

_XML = '<?xml version="1.0" encoding="UTF-8"?><{0} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{1}</{0}>'
_ETAG = '"00000000000000000000000000000000"'


class Sink(BaseHTTPRequestHandler):
    """One connection; what is there is known by its size."""

    protocol_version = "HTTP/1.1"
    sizes: ClassVar[dict[str, int]] = {}
    parts: ClassVar[dict[str, int]] = {}

    def do_PUT(self) -> None:
        key, query = self._asked()
        size = self._swallow()
        if "uploadId" in query:
            self.parts[key] = self.parts.get(key, 0) + size
        else:
            self.sizes[key] = size
        self._answer(200, ETag=_ETAG)

    def do_POST(self) -> None:
        key, query = self._asked()
        self._swallow()
        bucket, _, name = key.partition("/")
        if "uploads" in query:
            self.parts[key] = 0
            body = f"<Bucket>{bucket}</Bucket><Key>{name}</Key><UploadId>one</UploadId>"
            self._answer(200, _XML.format("InitiateMultipartUploadResult", body))
        else:
            self.sizes[key] = self.parts.pop(key)
            body = f"<Bucket>{bucket}</Bucket><Key>{name}</Key><ETag>{_ETAG}</ETag>"
            self._answer(200, _XML.format("CompleteMultipartUploadResult", body))

    def do_DELETE(self) -> None:
        self.parts.pop(self._asked()[0], None)
        self._answer(204)

    def do_HEAD(self) -> None:
        key, _ = self._asked()
        if key not in self.sizes:
            self._answer(404)
            return
        self.send_response(200)
        for name, value in (
            ("Content-Length", str(self.sizes[key])),
            ("ETag", _ETAG),
            ("Last-Modified", self.date_time_string()),
        ):
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        self._answer(200, _XML.format("ListBucketResult", "<KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>"))

    def log_message(self, *_args: object) -> None:
        """Say nothing."""

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        return parts.path.strip("/"), parse_qs(parts.query, keep_blank_values=True)

    def _swallow(self) -> int:
        """Read the body, and return its size without the framing of its chunks."""
        length = left = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, 1024 * 1024)))
        return int(self.headers.get("X-Amz-Decoded-Content-Length", length))

    def _answer(self, code: int, body: str = "", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
