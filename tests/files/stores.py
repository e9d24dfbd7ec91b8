"""An object store in memory, where the real file systems of stores are not installed: uploads in parts, committed or given up."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, ClassVar

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem


class Store(AbstractFileSystem):
    """
    A store.

    :param before: called before each thing that is done in the store, with its name; it may raise.
    """

    protocol = "s3"
    cachable = False
    objects: ClassVar[dict[str, bytes]]

    def __init__(self) -> None:
        super().__init__()
        self.objects = {}
        self.uploads: list[_Upload] = []
        self.blocks: list[int] = []
        self.before: Callable[[str], None] = lambda _what: None

    @property
    def open_uploads(self) -> int:
        """How many uploads have begun, and were neither completed nor given up."""
        return sum(upload.is_open for upload in self.uploads)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        self.before("info")
        if path not in self.objects:
            raise FileNotFoundError(path)
        return {"name": path, "size": len(self.objects[path]), "type": "file"}

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any) -> Any:
        self.before(f"open {mode}")
        self.blocks.append(block_size or 0)
        if mode == "rb":
            self.info(path)
            return io.BytesIO(self.objects[path])
        upload = _Upload(self, path, mode, block_size=block_size)
        self.uploads.append(upload)
        return upload


class _Upload(AbstractBufferedFile):
    """A file that is written; the store has it when it is committed, all at once."""

    def _initiate_upload(self) -> None:
        self.parts: list[bytes] = []
        self.is_open = True

    is_open = False

    def _upload_chunk(self, final: bool = False) -> bool:
        self.fs.before("part")
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.before("commit")
            self.fs.objects[self.path] = b"".join(self.parts)
            self.is_open = False
        return True

    def discard(self) -> None:
        self.fs.before("discard")
        self.is_open = False
