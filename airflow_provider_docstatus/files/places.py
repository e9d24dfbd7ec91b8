"""Where an output file goes: its URL, made of what the DAG's author wrote and of the task that writes it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus.exceptions import RequestRejected

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context

LOCAL = "file"
#: The stores whose file systems write an object as a whole, or not at all, and what has to be installed for each.
STORES = {
    **dict.fromkeys(("s3", "s3a"), "apache-airflow-providers-amazon[s3fs]"),
    **dict.fromkeys(("gs", "gcs"), "apache-airflow-providers-google"),
    **dict.fromkeys(("abfs", "abfss"), "apache-airflow-providers-microsoft-azure"),
}
MANIFEST_SUFFIX = ".manifest.json"
#: The longest name of a file (bytes); a disk takes 255, and the manifest has a longer one.
_LONGEST_NAME = 255 - len(MANIFEST_SUFFIX)
_EXAMPLE = "s3://conn_id@bucket/results/ or file:///data/results/"
_MOST_OF_A_PART = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)


def final_url(output_path: str | os.PathLike[str], context: Context, *, suffix: str) -> str:
    """
    Return the URL of the file that a task writes.

    A path that ends in ``/`` is a directory: ``dag_id/run_id/task_id/data<suffix>`` is added, and for a mapped task
    ``dag_id/run_id/task_id/map_index/data<suffix>``. In each part a character other than ASCII letters, digits and ``._-``
    becomes ``_``: the run ``manual__2024-01-01T00:00:00+00:00`` writes to ``manual__2024-01-01T00_00_00_00_00``. Any other path
    is the file's own.

    :param output_path: a URL (str or ObjectStoragePath), rendered.
    :param suffix: the end of the file's name in a directory, e.g. ``.json`` (str).
    :raises RequestRejected: the URL is no file of a store that is known, or a mapped task's file lacks the map index.
    """
    url = checked_url(output_path)
    ti = context["ti"]
    index = getattr(ti, "map_index", -1)
    if url.endswith("/"):
        parts = [safe_part(str(part)) for part in (ti.dag_id, ti.run_id, ti.task_id)]
        if index >= 0:
            parts.append(str(index))
        return f"{url}{'/'.join(parts)}/data{suffix}"
    if index >= 0 and not _names_index(url, index):
        raise RequestRejected(
            f"output_path {shown(url)} is one file for all of a mapped task's instances, and each would replace the others'. Put "
            "{{ ti.map_index }} into its name, or give a directory: a path that ends in '/'."
        )
    return url


def checked_url(output_path: str | os.PathLike[str]) -> str:
    """
    Return the URL as text, if it is one of a file or a directory that this package writes to.

    :raises RequestRejected: it is not; the text says what to write.
    """
    url = str(output_path)
    found = _URL.fullmatch(url)
    if not url.strip():
        raise RequestRejected(f"output_path is empty; give a URL, e.g. {_EXAMPLE}.")
    if found is None:
        raise RequestRejected(
            f"output_path {url!r} has no scheme; write file:// and an absolute path, or s3://, e.g. {_EXAMPLE}."
        )
    scheme, rest = found["scheme"], found["rest"]
    if scheme != LOCAL and scheme not in STORES:
        known = ", ".join((LOCAL, *STORES))
        raise RequestRejected(
            f"output_path {shown(url)}: {scheme}:// is not among the stores that take a file whole or not at all ({known}). "
            "Write to one of them, and copy the file in a task of its own."
        )
    place, _, path = rest.partition("/")
    _, _, bucket = place.rpartition("@")
    if scheme == LOCAL and place:
        raise RequestRejected(f"output_path {shown(url)} needs an absolute path after file://, as in file:///data/results/.")
    if scheme != LOCAL and (not bucket or "/" not in rest):
        raise RequestRejected(f"output_path {shown(url)} needs a bucket and a path, e.g. {_EXAMPLE}.")
    if ":" in place.rpartition("@")[0]:
        raise RequestRejected(f"output_path {shown(url)}: what stands before @ is the id of an Airflow connection, never a key.")
    if any(ord(char) < ord(" ") or char in "?#\x7f" or "\ud800" <= char <= "\udfff" for char in url):
        raise RequestRejected(f"output_path {shown(url)!r} may hold neither '?' nor '#' nor control characters nor surrogates.")
    if scheme == LOCAL and len(path.rpartition("/")[2].encode()) > _LONGEST_NAME:
        raise RequestRejected(f"output_path {shown(url)}: the file's name may have at most {_LONGEST_NAME} bytes.")
    if {".", ".."} & set(path.split("/")):
        raise RequestRejected(f"output_path {shown(url)} may not hold '.' or '..' as a part.")
    return url


def local_path(url: str) -> str | None:
    """Return the path of a ``file://`` URL, as Airflow's ObjectStoragePath reads it (nothing is decoded); None for a store."""
    return url.removeprefix(f"{LOCAL}://") if url.startswith(f"{LOCAL}://") else None


def manifest_url(url: str) -> str:
    """Return the URL of the manifest of an output file."""
    return url + MANIFEST_SUFFIX


def shown(url: str) -> str:
    """Return a URL as errors and logs show it: without a key before ``@``, and without a query. A connection's id stays."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    place, slash, path = rest.partition("/")
    who, at, bucket = place.rpartition("@")
    kept = who.partition(":")[0]
    return f"{scheme}://{kept}{at}{bucket}{slash}{re.split('[?#]', path, maxsplit=1)[0]}"


def owner_of(context: Context, asked: Mapping[str, Any]) -> str:
    """
    Return a text that is the same in each try of a task that asks for the same, and in no other task.

    :param asked: what is asked for, as JSON data (dict): ids, service, content, ...
    """
    ti = context["ti"]
    what = [ti.dag_id, ti.run_id, ti.task_id, getattr(ti, "map_index", -1), asked]
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


def safe_part(part: str) -> str:
    """
    Return a name as one part of a path.

    What had other characters than a run's usual ``:`` and ``+`` replaced, or is cut, ends in a hash, so that two names stay two.
    """
    safe = _UNSAFE.sub("_", part)[:_MOST_OF_A_PART]
    if set(safe) <= {"."}:  # no name at all, or the directory itself, or the one above
        safe = "_"
    is_usual = safe == re.sub("[:+]", "_", part)
    return safe if is_usual else f"{safe}-{hashlib.sha256(part.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _names_index(url: str, index: int) -> bool:
    """Whether a URL's path holds the map index as a number of its own; ``007`` is one, ``07`` may be a date's."""
    path = url.partition("://")[2].partition("/")[2]
    return re.search(rf"(?<![0-9])(?:00+)?{index}(?![0-9])", path) is not None
