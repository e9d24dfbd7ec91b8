"""Files on the worker's disk that nobody else can read, lay here, or see half."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from airflow_provider_docstatus.exceptions import OutputFailed

#: The permissions of a file in the making: only its owner's.
MODE = 0o600
_BUFFER = 64 * 1024
_MINE = os.O_NOFOLLOW | os.O_CLOEXEC


class Slices:
    """
    The bytes of a file, of which no more than a slice is in memory.

    :param file: the file, which is closed with this.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice | int) -> bytes | int:
        start, end, _ = place.indices(self._size) if isinstance(place, slice) else (place, place + 1, 1)
        self._file.seek(start)
        found = self._file.read(max(end - start, 0))
        return found if isinstance(place, slice) else found[0]


def created(path: Path) -> BinaryIO:
    """Create a file that only its owner can read, and return it for writing. Raises OSError: it is there already, say."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _MINE, MODE), "wb", buffering=_BUFFER)


def kept(path: Path) -> BinaryIO:
    """
    Open a file that an earlier process may have left, or create it, for this process alone; return it for writing.

    :raises PermissionError: it belongs to somebody else, or others may read it.
    :raises OutputFailed: another process writes it.
    """
    for _ in range(3):
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | _MINE, MODE), "wb", buffering=_BUFFER)
        try:
            _refuse_others(file.fileno())
            lock(file)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:  # else it was renamed meanwhile
                return file
        except BaseException:
            file.close()
            raise
        file.close()
    raise OutputFailed("Another process writes the same file at the same time. A retry goes on with it.")


def mine(path: Path) -> BinaryIO:
    """Open a file of this user for reading. Raises OSError: it belongs to somebody else, or there is none."""
    file = os.fdopen(os.open(path, os.O_RDONLY | _MINE), "rb")
    try:
        _refuse_others(file.fileno())
    except BaseException:
        file.close()
        raise
    return file


def lock(file: BinaryIO) -> None:
    """Keep other tries away from a file until it is closed. Raises OutputFailed: another one has it."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = "Another try of this task still writes its file. A retry goes on with it, once the other one has ended."
        raise OutputFailed(text) from None
    except OSError:  # a file system without locks
        return


@contextmanager
def replacing(path: Path, pieces: Iterable[bytes]) -> Iterator[BinaryIO]:
    """Write a file beside another, yield it on the disk, and let it take the other's place unless something is raised."""
    new = path.with_name(path.name + "-new")
    new.unlink(missing_ok=True)
    file = created(new)
    try:
        for piece in pieces:
            file.write(piece)
        synced(file)
        yield file
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        with suppress(OSError):
            file.close()
        raise


def synced(file: BinaryIO) -> None:
    """Have the disk hold what was written to a file."""
    file.flush()
    os.fsync(file.fileno())


def begin_to_sync(file: BinaryIO, start: int, length: int) -> None:
    """Have the disk begin to write a part of a file, so that :func:`synced` takes less at the end."""
    with suppress(OSError, AttributeError):  # macOS has no such call
        os.posix_fadvise(file.fileno(), start, length, os.POSIX_FADV_DONTNEED)


def sync_folder(path: Path) -> None:
    """Have the disk hold a directory's names."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems cannot
            os.fsync(fd)
    finally:
        os.close(fd)


def mode_for(path: Path) -> int:
    """Return the permissions of the file that is replaced, or those that a new file gets."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def _refuse_others(fd: int) -> None:
    """Raise PermissionError if another user laid the file here, or can read or change what is in it."""
    found = os.fstat(fd)
    is_mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
    if not is_mine or found.st_mode & 0o077:
        raise PermissionError(1, "not a file of this user alone")
