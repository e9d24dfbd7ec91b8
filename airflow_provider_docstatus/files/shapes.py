"""The dicts that describe an output file: what was asked for, the manifest beside the file, and what is pushed to XCom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


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
    """

    ids: Sequence[str]
    service: str
    parameter: str
    operation: str | None
    content: str | None
    content_options: Mapping[str, Any]
    accept: Sequence[str]


class Manifest(TypedDict, total=False):
    """
    What ``<path>.manifest.json`` holds.

    :param version: 1 (int).
    :param service: the service's name (str), as the next five of :class:`Asked`.
    :param ids_sha256: SHA-256 of the ids in the order asked (str).
    :param path: the file's URL (str).
    :param format: its media type (str): ``application/json``, ``application/x-ndjson``, ``text/markdown``, ...
    :param bytes: its size (int).
    :param sha256: its SHA-256, 64 hexadecimal digits (str).
    :param written_at: when it was written, ISO 8601 in UTC (str).
    :param total: how many ids were asked for (int).
    :param counts: how many ids are in which state (int each).
    :param ids: the ids by state (lists of str).
    :param errors: the error text by id (str each), of each id without data.
    :param rows: for JSON lines the place of each id's row: offset and length in bytes, without the line's end (two int each).
    :param file_names: the file's name by id (str each), where the vendor tells it.
    :param findings: what the file holds that Airflow could not carry in an XCom, by id (lists of str).
    :param status: for a single id its status dict.
    """

    version: int
    service: str
    parameter: str
    operation: str | None
    content: str | None
    content_options: Mapping[str, Any]
    accept: Sequence[str]
    ids_sha256: str
    path: str
    format: str
    bytes: int
    sha256: str
    written_at: str
    total: int
    counts: Mapping[str, int]
    ids: Mapping[str, Sequence[str]]
    errors: Mapping[str, str]
    rows: Mapping[str, Sequence[int]]
    file_names: Mapping[str, str]
    findings: Mapping[str, Sequence[str]]
    status: Mapping[str, Any]


class Summary(TypedDict):
    """
    What is pushed to XCom in place of the data.

    :param path: the file's URL (str).
    :param format: its media type (str).
    :param bytes: its size (int).
    :param sha256: its SHA-256, 64 hexadecimal digits (str).
    :param total: how many ids were asked for (int).
    :param counts: how many ids are in which state (int each).
    :param rows: how many rows it has (int); 1 for a single document.
    :param errors: the first 20 error texts by id (str each).
    :param errors_total: how many ids have one (int).
    :param manifest: the manifest's URL (str).
    """

    path: str
    format: str
    bytes: int
    sha256: str
    total: int
    counts: Mapping[str, int]
    rows: int
    errors: Mapping[str, str]
    errors_total: int
    manifest: str
