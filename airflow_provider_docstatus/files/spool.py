"""The local file that bytes go to first, until all of them are there and it is published as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from airflow_provider_docstatus.exceptions import OutputFailed
from airflow_provider_docstatus.files import disk, storing
from airflow_provider_docstatus.files.places import local_path

_MOST_OF_A_NAME = 100  # bytes
#: What is stored at once by a thread, so that a long reply is read, hashed and written at the same time (bytes).
_BUFFER = 1024 * 1024
#: How much is written before the disk is told to begin with it (bytes).
_AHEAD = 32 * 1024 * 1024


class Spool:
    """
    A file in the making. Use it in a ``with`` block, which ends after the manifest is written.

    For ``file://`` it is a hidden file in the destination's directory, which is created; for a store it is in the temporary
    directory. Only its owner can read it. When the block ends, nothing of it is left, except for ``keeps`` when the block ends by
    an exception (or the process by a signal): the next try on this machine finds what was written.

    :param url: the final URL (str).
    :param keeps: whether what was written outlives a failure: for results that a vendor hands out once (bool).
    :param key: what tells this task and what it asks for from others (str), see :func:`~.places.owner_of`; for ``keeps``.
    :param sleep: waits some seconds between two attempts to upload.
    :raises OutputFailed: the file cannot be created, or another process writes it.
    :raises RequestRejected: Airflow has no file system for the URL, or no such connection.
    """

    def __init__(self, url: str, *, keeps: bool = False, key: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = url
        self.keeps = keeps
        self.size = 0
        self._sleep = sleep
        path = local_path(url)
        self._final = Path(path) if path is not None else None
        self._folder = self._final.parent if self._final is not None else Path(tempfile.gettempdir())
        mark = hashlib.sha256(f"{url}\n{key}".encode()).hexdigest()[:24] if keeps else os.urandom(12).hex()
        name = f".{_beginning(self._final.name)}." if self._final is not None else "docstatus-"
        self._path = self._folder / f"{name}{mark}.{'kept' if keeps else 'part'}"
        self._note = self._path.with_name(self._path.name + ".json")
        self._sha = hashlib.sha256()
        self._buffer = bytearray()
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None
        self._stored = self._begun = 0
        self._is_published = self._is_moved = False
        with self._errors():
            storing.check(url)  # before anything is fetched
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = disk.kept(self._path) if keeps else disk.created(self._path)
            #: Bytes that an earlier try left here (int). They go away when something is written, unless they are taken up.
            self.found = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Spool:  # noqa: PYI034 -- Self needs Python 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and self.keeps:
            self.close()
        else:
            self.discard()

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, as 64 hexadecimal digits."""
        self._flush()
        return self._sha.hexdigest()

    def write(self, piece: bytes) -> None:
        """Append some bytes. Raises OutputFailed: the disk is full, say."""
        if self.found:
            self.restart()
        self.size += len(piece)
        self._buffer += piece
        if len(self._buffer) >= _BUFFER:
            with self._errors():
                self._hand_over()

    def restart(self) -> None:
        """Begin anew with an empty file."""
        self.take_up(0)
        self._note.unlink(missing_ok=True)

    def take_up(self, size: int) -> None:
        """Go on after the first ``size`` bytes of what is here (int), an earlier try's too. What is behind them goes away."""
        self._flush()
        with self._errors():
            self._file.truncate(size)
            self._file.seek(size)
            self._count(self._path)

    def sync(self) -> None:
        """Have the disk hold all that was written, so that not even a crash of the machine loses it."""
        self._flush()
        with self._errors():
            disk.synced(self._file)

    def open_for_reading(self) -> BinaryIO:
        """Return what was written so far, open for reading; close it."""
        self._flush()
        with self._errors():
            return (self._final if self._is_moved and self._final else self._path).open("rb")

    def whole(self) -> disk.Slices:
        """Return what was written so far, to be read a slice at a time."""
        return disk.Slices(self.open_for_reading())

    def rewrite(self, pieces: Iterable[bytes]) -> None:
        """Replace what is here by other bytes, which may be read from it."""
        self._flush()
        sha, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in pieces:
                sha.update(piece)
                size += len(piece)
                yield piece

        with self._errors(), disk.replacing(self._path, counted()) as file:
            if self.keeps:
                disk.lock(file)
        self.close()
        self._file, self._sha, self.size = file, sha, size

    def complete(self, note: Mapping[str, Any]) -> None:
        """
        Say that all bytes are written, so that a later try need not ask for any. It does nothing without ``keeps``.

        :param note: what the later try needs besides the bytes, as JSON data: the manifest so far.
        """
        if not self.keeps:
            return
        self.sync()
        text = json.dumps({"bytes": self.size, "sha256": self.sha256, "note": note})
        with self._errors():
            with disk.replacing(self._note, [text.encode()]) as file:
                file.close()
            disk.sync_folder(self._folder)

    def resumed(self, holds_good: Callable[[Mapping[str, Any]], bool] = lambda _note: True) -> dict[str, Any] | None:
        """
        Return the note of an earlier try that had written all bytes; None if there is none.

        Then the bytes are here, or are published already; only :meth:`publish` and the manifest are missing.

        :param holds_good: whether the note is of use to this try; if not, the bytes are as those of a try that was broken off.
        """
        if not self.keeps:
            return None
        found = self.found
        with suppress(OSError, ValueError, KeyError, TypeError):
            with disk.mine(self._note) as file:
                said = json.load(file)
            size, sha256, note = said["bytes"], said["sha256"], said["note"]
            for path in (self._path, self._final) if holds_good(note) else ():
                if path is None or not path.exists() or path.stat().st_size != size:
                    continue
                self._count(path)
                if self.sha256 == sha256:
                    self._is_published = self._is_moved = path != self._path
                    self._file.seek(0, os.SEEK_END)
                    return dict(note)
        self._sha, self.size, self.found = hashlib.sha256(), 0, found
        return None

    def publish(self) -> None:
        """
        Give the file its final name, as a whole. On ``file://`` the disk has it then, with the permissions of any new file.

        :raises OutputFailed: it could not be; nothing of it is under the final name.
        """
        if self._is_published:
            return
        if self.found:
            self.restart()
        self.sync()
        if self._final is None:
            storing.upload(self._path, self.url, sleep=self._sleep)
        else:
            with self._errors():
                os.fchmod(self._file.fileno(), disk.mode_for(self._final))
                try:
                    self._path.replace(self._final)
                except BaseException:
                    os.fchmod(self._file.fileno(), disk.MODE)  # else the next try would not take it for ours
                    raise
                self._is_moved = True
                disk.sync_folder(self._folder)
        self._is_published = True

    def close(self) -> None:
        """Close the local file, and leave it where it is."""
        with suppress(OSError, OutputFailed):
            self._flush()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        with suppress(OSError):
            self._file.close()

    def discard(self) -> None:
        """Remove what is left of the local file. What was published stays."""
        self._path.unlink(missing_ok=True)
        if self.keeps:
            self._note.unlink(missing_ok=True)
        self.close()

    def _flush(self) -> None:
        """Wait until all that was written is in the file. Raises OutputFailed: the disk is full, say."""
        with self._errors():
            pending, self._pending = self._pending, None
            if pending is not None:
                pending.result()
            rest, self._buffer = self._buffer, bytearray()
            if rest:
                self._store(rest)
            if not self._file.closed:
                self._file.flush()

    def _hand_over(self) -> None:
        """Let a thread store what has come, while the next bytes come; it has one buffer at a time."""
        full, self._buffer = self._buffer, bytearray()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="docstatus-spool")
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        self._pending = self._thread.submit(self._store, full)

    def _store(self, data: bytearray) -> None:
        self._file.write(data)
        self._sha.update(data)
        self._stored += len(data)
        if self._final is not None and self._stored - self._begun >= _AHEAD:  # what a store gets is read again first
            disk.begin_to_sync(self._file, self._begun, self._stored - self._begun)
            self._begun = self._stored

    def _count(self, path: Path) -> None:
        """Count the bytes of a file as written."""
        self._sha, self.size, self.found, self._stored, self._begun = hashlib.sha256(), 0, 0, 0, 0
        with path.open("rb") as file:
            while piece := file.read(storing.PIECE):
                self._sha.update(piece)
                self.size += len(piece)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = "" if self._final is not None else f" to the worker's temporary directory {self._folder}"
            raise storing.output_failed(self.url, error, where=where) from error


def _beginning(name: str) -> str:
    """Return the beginning of a file's name: a disk counts its bytes, and takes 255."""
    return name.encode()[:_MOST_OF_A_NAME].decode(errors="ignore")
