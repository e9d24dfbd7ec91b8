"""The manifest beside an output file: what is in the file, and whether a later try may take it as it is."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, TypedDict, cast

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.files import storing
from airflow_provider_docstatus.files.places import manifest_url, shown
from airflow_provider_docstatus.files.spool import Spool
from airflow_provider_docstatus.types import DataManifest, FileManifest, Status

VERSION = 1
#: The largest manifest that is read (bytes). One of 100,000 ids has some 20 MB.
MOST_BYTES = 256 * 1024 * 1024
#: The most errors that the summary names.
MOST_ERRORS = 20

#: What a manifest needs to have to be of any use, and of which type.
_NEEDED = {"path": str, "format": str, "bytes": int, "sha256": str, "total": int, "counts": dict, "errors": dict, "ids": dict}

log = logging.getLogger(__name__)


class Asked(TypedDict):
    """
    What a task asks for. A manifest is a later try's only if it was made for the same.

    :param ids: the ids in the order asked (list of str).
    :param service: the service's name (str).
    :param parameter: ``request_id``, ``document_id`` or ``job_id`` (str).
    :param operation: the service's operation (str), or None.
    :param content: Neurolinker's content (str), or None.
    :param content_options: more keys for its request (dict).
    :param accept: final states besides success whose data is fetched (list of str, sorted).
    :param gates: a hash of what the data is held to (str), None if nothing is asked of it.
    :param on_item_error: ``raise``, or ``skip``: then ids may be left out (str).
    """

    ids: Sequence[str]
    service: str
    parameter: str
    operation: str | None
    content: str | None
    content_options: Mapping[str, Any]
    accept: Sequence[str]
    gates: str | None
    on_item_error: str


def built(
    asked: Asked,
    *,
    path: str,
    format: str,  # noqa: A002 -- the field's word
    ids: Mapping[str, Sequence[str]],
    errors: Mapping[str, str],
    rows: dict[str, list[int]] | None = None,
    file_names: Mapping[str, str] | None = None,
    findings: Mapping[str, Sequence[str]] | None = None,
    status: Status | None = None,
) -> FileManifest:
    """
    Return the manifest of a file that is complete, without its size, hash and date, which :func:`written` adds.

    :param asked: what was asked for. For the others see :class:`FileManifest`.
    """
    manifest: FileManifest = {
        "version": VERSION,
        **_about(asked),  # type: ignore[typeddict-item]  # the fields of Asked but one
        "path": path,
        "format": format,
        "total": len(asked["ids"]),
        "counts": {state: len(some) for state, some in ids.items() if some},
        "ids": {state: list(some) for state, some in ids.items() if some},
        "errors": dict(errors),
        "file_names": dict(file_names or {}),
        "findings": dict(findings or {}),
    }
    if rows is not None:
        manifest["rows"] = rows
    if status is not None:
        manifest["status"] = status
    return manifest


def written(manifest: FileManifest, spool: Spool, *, sleep: Callable[[float], None] = time.sleep) -> FileManifest:
    """
    Write the manifest of a spool that was published, and return it as it was written.

    :param manifest: what :func:`built` returned.
    :raises OutputFailed: it could not be written.
    """
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    full: FileManifest = {**manifest, "bytes": spool.size, "sha256": spool.sha256, "written_at": date}
    with Spool(manifest_url(spool.url), sleep=sleep) as beside:
        for piece in _pieces(full):
            beside.write(piece)
        beside.publish()
    return full


def read(url: str) -> FileManifest | None:
    """
    Return the manifest beside a file; None if there is none, or none that can be read. It is checked for its form only.

    :param url: the file's URL, not the manifest's (str).
    :raises RequestRejected: Airflow has no file system for the URL, or no such connection.
    """
    storing.check(url)  # an error names the file, not the manifest
    try:
        size = storing.size_of(manifest_url(url))
        if size is None:
            return None
        if size > MOST_BYTES:
            log.info("The manifest of %s has %d bytes; it is not read.", shown(url), size)
            return None
        with storing.reading(manifest_url(url)) as file:
            found = json.loads(file.read(MOST_BYTES))
    except RequestRejected:
        raise
    except Exception as error:  # noqa: BLE001 -- a manifest saves work; without one the data is fetched
        log.info("The manifest of %s cannot be read (%s).", shown(url), storing.reason_of(error))
        return None
    if not _is_manifest(found):
        log.info("The manifest of %s is none of this version.", shown(url))
        return None
    return cast("FileManifest", found)


def matching(url: str, asked: Asked) -> FileManifest | None:
    """
    Return the manifest beside a file if it is for what is asked and the file is as it says, so that nothing need be fetched.

    Compared are ids (in order), service, parameter, operation, content, options and accepted states; then the file's size, then
    its SHA-256, for which the file is read. Else None; one line in the log says why.

    :raises RequestRejected: as :func:`read`.
    """
    manifest = read(url)
    if manifest is None:
        return None
    differs = [name for name, value in {**_about(asked), "path": url}.items() if manifest.get(name) != value]
    if not differs:
        differs = _difference(url, manifest)
    if differs:
        log.info("%s is fetched anew: its manifest differs in %s.", shown(url), ", ".join(differs))
        return None
    return manifest


def summary(manifest: FileManifest) -> DataManifest:
    """Return what is pushed to XCom in place of the data; it is small, however many ids there are."""
    errors = manifest["errors"]
    told: DataManifest = {
        "path": manifest["path"],
        "format": manifest["format"],
        "bytes": manifest["bytes"],
        "sha256": manifest["sha256"],
        "total": manifest["total"],
        "counts": dict(manifest["counts"]),
        "rows": len(manifest["rows"]) if "rows" in manifest else 1,
        "errors": dict(list(errors.items())[:MOST_ERRORS]),
        "errors_total": len(errors),
        "manifest": manifest_url(manifest["path"]),
    }
    if "confidence" in manifest:
        told["confidence"] = manifest["confidence"]
    if "review" in manifest:
        told["review"] = manifest["review"]
    return told


def _about(asked: Asked) -> dict[str, Any]:
    """Return what a manifest says of what was asked."""
    ids = hashlib.sha256()
    for one in asked["ids"]:
        ids.update(json.dumps(one).encode() + b"\n")
    fields: dict[str, Any] = {name: value for name, value in asked.items() if name != "ids"}
    fields["accept"] = sorted(fields["accept"])
    fields["content_options"] = json.loads(json.dumps(dict(fields["content_options"]), default=str))  # as it is read back
    return {**fields, "ids_sha256": ids.hexdigest()}


def _is_manifest(found: Any) -> bool:
    if not isinstance(found, dict) or found.get("version") != VERSION:
        return False
    return all(isinstance(found.get(name), kind) for name, kind in _NEEDED.items()) and isinstance(found.get("rows", {}), dict)


def _difference(url: str, manifest: FileManifest) -> list[str]:
    """Return in what a file differs from its manifest."""
    try:
        if storing.size_of(url) != manifest["bytes"]:
            return ["size"]
        sha = hashlib.sha256()
        with storing.reading(url) as file:
            while piece := file.read(storing.PIECE):
                sha.update(piece)
    except Exception as error:  # noqa: BLE001 -- as in read()
        return [f"what cannot be read ({storing.reason_of(error)})"]
    return [] if sha.hexdigest() == manifest["sha256"] else ["sha256"]


def _pieces(manifest: FileManifest) -> Iterator[bytes]:
    """Yield a manifest as JSON, a piece at a time: the text of 100,000 ids is not held as a whole."""
    kept: list[str] = []
    for count, token in enumerate(json.JSONEncoder(separators=(",", ":")).iterencode(manifest), 1):
        kept.append(token)
        if not count % 4096:
            yield "".join(kept).encode()
            kept.clear()
    yield "".join(kept).encode() + b"\n"
