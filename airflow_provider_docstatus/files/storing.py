"""Read and write whole files: on the worker's disk, and in the object stores that Airflow knows."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from airflow_provider_docstatus._compat import AirflowNotFoundException, BaseHook, object_storage_path
from airflow_provider_docstatus.exceptions import OutputFailed, RequestRejected
from airflow_provider_docstatus.files.places import STORES, local_path, shown

#: What a store's file holds in memory, and the size of an upload's parts (bytes). The default of s3fs is 50 MiB.
BLOCK = 8 * 1024 * 1024
#: The most parts of an upload; S3 takes 10,000.
_MOST_PARTS = 9_000
#: What is copied at once (bytes).
PIECE = 1024 * 1024
#: The pauses before a broken upload is repeated (seconds).
PAUSES = (1.0, 5.0, 15.0)
#: The pause before an upload is given up once more (seconds).
DISCARD_AGAIN = 0.5
#: What repeating does not mend in a minute: no such bucket, no permission, a full disk.
_LASTING = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HINTS: dict[type[BaseException], str] = {
    FileNotFoundError: "Is there such a bucket or directory? ",
    IsADirectoryError: "For a file of the task's own in a directory, end output_path with '/'. ",
    PermissionError: "May the connection, or the worker's user, write there? ",
}

log = logging.getLogger(__name__)


class _Differs(Exception):
    """The store does not hold what was sent."""


def check(url: str) -> None:
    """Raise RequestRejected if Airflow has no file system for a URL, or no such connection."""
    if local_path(url) is None:
        store_of(url)


def size_of(url: str) -> int | None:
    """Return the size of a file or an object in bytes; None if there is none. Raises what the disk or the store raises."""
    path = local_path(url)
    with suppress(FileNotFoundError):
        if path is not None:
            return Path(path).stat().st_size
        fs, key = store_of(url)
        fs.invalidate_cache(key.rpartition("/")[0])
        return int(fs.info(key)["size"])
    return None


@contextmanager
def reading(url: str) -> Iterator[BinaryIO]:
    """Open a file or an object for reading from its start to its end, without holding much of it."""
    path = local_path(url)
    if path is not None:
        with Path(path).open("rb") as file:
            yield file
        return
    fs, key = store_of(url)
    with fs.open(key, "rb", block_size=BLOCK) as file:
        yield cast("BinaryIO", file)


def upload(source: Path, url: str, *, sleep: Callable[[float], None]) -> None:
    """
    Write a local file to a store by one upload under its final name. An upload that breaks is repeated three times.

    :param source: the path of the local file (Path).
    :param sleep: waits some seconds.
    :raises OutputFailed: it could not be written; nothing new is under the final name, unless it is the whole file.
    """
    for pause in (*PAUSES, None):
        try:
            _upload(source, url, sleep)
            sent, held = source.stat().st_size, size_of(url)
            if sent == held:
                return
            raise _Differs(f"the store holds {held} bytes, and {sent} were sent")
        except Exception as error:
            if pause is None or isinstance(error, (*_LASTING, RequestRejected)):
                raise output_failed(url, error) from error
            log.warning("The upload of %s broke (%s); it is repeated in %g s.", shown(url), reason_of(error), pause)
        sleep(pause)


def _upload(source: Path, url: str, sleep: Callable[[float], None]) -> None:
    """Write a local file to a store. Whatever is raised before the end, the upload is given up, and not committed."""
    fs, key = store_of(url)
    with source.open("rb") as local:
        remote = fs.open(key, "wb", block_size=block_for(source.stat().st_size))  # its own ``with`` would commit the half file
        try:
            while piece := local.read(PIECE):
                remote.write(piece)
            remote.close()
        except BaseException:
            _discard(remote, sleep)
            raise


def block_for(size: int) -> int:
    """Return the size of the parts that a file of so many bytes is uploaded in (bytes, whole MiB)."""
    return max(BLOCK, -(-size // (_MOST_PARTS * PIECE)) * PIECE)


def _discard(remote: Any, sleep: Callable[[float], None]) -> None:
    """Give an upload up. A store may refuse that while a part of it is still on the way, so it is told twice."""
    try:
        for pause in (DISCARD_AGAIN, None):
            try:
                remote.discard()
                return
            except Exception as error:  # noqa: BLE001 -- what made it be given up is raised
                if pause is None:
                    log.warning("An upload could not be given up (%s): a lifecycle rule must remove its parts.", reason_of(error))
                else:
                    sleep(pause)
    finally:
        with suppress(AttributeError):
            remote.closed = True  # else it commits what it holds when it is collected as garbage


def store_of(url: str) -> tuple[Any, str]:
    """
    Return the file system of a store's URL, and the path in it.

    :raises RequestRejected: Airflow has no file system for it, or no such connection.
    """
    scheme, _, rest = url.partition("://")
    conn_id, has_connection, _ = rest.partition("/")[0].rpartition("@")
    try:
        if has_connection:
            BaseHook.get_connection(conn_id)  # Amazon's hook goes on without one, and so to another account's bucket
        path = object_storage_path(url)
        return path.fs, str(path.path)
    except (ImportError, ValueError) as error:
        needed = STORES.get(scheme, "the provider")
        raise RequestRejected(
            f"Airflow has no file system for {scheme}:// ({type(error).__name__}), which {shown(url)} needs. Install "
            f"{needed} and universal-pathlib on the workers."
        ) from error
    except AirflowNotFoundException as error:
        raise RequestRejected(
            f"The connection that {shown(url)} names before @ is not defined. Define it, or leave out the name and the @: then "
            "the worker's own rights hold."
        ) from error


def output_failed(url: str, error: Exception, *, where: str = "") -> Exception:
    """
    Return the error for a file that could not be written. An error of this package is returned as it is.

    :param where: what else to say of the place, e.g. the directory of a temporary file (str).
    """
    if isinstance(error, (OutputFailed, RequestRejected)):
        return error
    hint = next((text for kind, text in _HINTS.items() if isinstance(error, kind)), "")
    if isinstance(error, OSError) and error.errno in _FULL:
        hint = "Make room. "
    return OutputFailed(f"The file {shown(url)} could not be written{where}: {reason_of(error)}. {hint}A retry writes it again.")


def reason_of(error: BaseException) -> str:
    """Return an error's class, and what the system or the store calls it. Its own text is left out: it may hold a signed URL."""
    if isinstance(error, _Differs):
        return str(error)
    said = [type(error).__name__]
    if isinstance(error, OSError) and error.errno:
        said.append(os.strerror(error.errno))
    response = getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    if isinstance(code, str) and re.fullmatch("[A-Za-z0-9.]{1,60}", code):
        said.append(code)
    return ", ".join(said)
