"""
The dicts that tasks push to XCom and write beside files, as TypedDicts, so that a type checker knows what a DAG reads.

::

    from airflow_provider_docstatus.types import Manifest, Status

    @task
    def report(status: Status) -> str:
        return status["state"]
"""

from __future__ import annotations

from typing import Any, TypedDict


class ConfidenceReport(TypedDict):
    """
    What the vendor says of how sure it is of one document: what a task with ``min_confidence`` adds to its XCom.

    :param lowest: the lowest confidence of a field, from 0 to 1 (float); None if there is none.
    :param fields: the names of at most 20 fields below ``min_confidence``, the least sure first (str each).
    :param below: how many fields are below it, or have none (int).
    :param total: how many fields there are (int).
    """

    lowest: float | None
    fields: list[str]
    below: int
    total: int


class ConfidenceReports(TypedDict):
    """
    The same of the ids of a list.

    :param lowest: the lowest confidence of all (float); None if there is none.
    :param below: how many ids do not reach ``min_confidence`` (int).
    :param ids: the reports of the first 20 of these, by id (:class:`ConfidenceReport`).
    """

    lowest: float | None
    below: int
    ids: dict[str, ConfidenceReport]


class Review(TypedDict):
    """
    What a person has decided about documents in review, with ``on_review="ask"``.

    :param decision: ``open`` while nobody has decided, then ``approved``, ``rejected`` or ``timed_out`` (str).
    :param decided_by: the user's name and id (str), None if nobody.
    :param decided_at: ISO 8601 in UTC (str), None if nobody.
    :param reason: the person's own text in one line (str), None if there is none.
    """

    decision: str
    decided_by: str | None
    decided_at: str | None
    reason: str | None


class _OfOne(TypedDict, total=False):
    """What stands there only if the task asks for it."""

    confidence: ConfidenceReport
    review: Review


class _OfSeveral(TypedDict, total=False):
    """The same of a list."""

    confidence: ConfidenceReports
    review: Review


class Status(_OfOne):
    """
    The status of one id: what ``DocStatusSensor`` pushes, and ``DocumentStatus.to_dict()`` returns.

    :param service: the service's name (str).
    :param kind: what the id names (str): ``request``, ``document``, ``job`` or ``batch``.
    :param id: the id that was waited for (str).
    :param state: ``running``, ``succeeded``, ``partial``, ``review``, ``failed``, ``cancelled`` or ``expired`` (str).
    :param word: the vendor's own status word (str).
    :param message: the vendor's text in one line (str), or None.
    :param counters: documents by the vendor's counter names (int each).
    :param children: the state by id of the documents of a request or the jobs of a batch (str each).
    :param errors: the vendor's text by id of the first 20 children that ended badly (str each).
    :param file_names: the names of the children's files by id, where the vendor tells them (str each).
    :param created_at: ISO 8601 in UTC (str), like the other times; None where the vendor does not say.
    :param link: the vendor's page of the document (https URL, str), or None.
    :param details: small facts by name; ``file_name`` is the name of the document's own file (str).
    :param confidence: only if the task has ``min_confidence``: the report (:class:`ConfidenceReport`).
    :param review: what a person has decided (:class:`Review`); only if somebody was asked.
    """

    service: str
    kind: str
    id: str
    state: str
    word: str
    message: str | None
    counters: dict[str, int]
    children: dict[str, str]
    errors: dict[str, str]
    file_names: dict[str, str]
    created_at: str | None
    started_at: str | None
    updated_at: str | None
    completed_at: str | None
    link: str | None
    details: dict[str, Any]


class Manifest(_OfSeveral):
    """
    How each id of a list ended: what ``DocStatusSensor`` pushes for a list.

    :param service: the service's name (str).
    :param parameter: ``request_id``, ``document_id`` or ``job_id`` (str).
    :param operation: the service's operation (str), or None.
    :param total: how many ids there are (int).
    :param counts: how many ids are in which state (int each).
    :param ids: the ids by state (lists of str).
    :param errors: the first 20 error texts by id (str each).
    :param file_names: the names of the documents' files by id (str each), where the vendor tells them and there is room.
    :param started_at: when the wait began, ISO 8601 in UTC (str).
    :param ended_at: when it ended, likewise.
    :param calls: how many polls told it something (int).
    :param confidence: only if the task has ``min_confidence``: the report (:class:`ConfidenceReports`).
    :param review: what a person has decided (:class:`Review`); only if somebody was asked.
    """

    service: str
    parameter: str
    operation: str | None
    total: int
    counts: dict[str, int]
    ids: dict[str, list[str]]
    errors: dict[str, str]
    file_names: dict[str, str]
    started_at: str | None
    ended_at: str | None
    calls: int


class Items(_OfSeveral):
    """
    The data of several ids: what ``ExtractedDataOperator`` pushes for a list, a request or a batch.

    :param items: the data by id, of any JSON type.
    :param errors: the error text by id of each id without data (str each).
    :param file_names: the names of the documents' files by id (str each), where they are known.
    :param confidence: only if the task has ``min_confidence``: the report (:class:`ConfidenceReports`).
    """

    items: dict[str, Any]
    errors: dict[str, str]
    file_names: dict[str, str]


class DataManifest(_OfSeveral):
    """
    What ``ExtractedDataOperator`` with ``output_path`` pushes in place of the data.

    :param path: the file's URL (str).
    :param format: its media type (str): ``application/json``, ``application/x-ndjson``, ``text/markdown``, ...
    :param bytes: its size (int).
    :param sha256: its SHA-256, 64 hexadecimal digits (str).
    :param total: how many ids were asked for (int).
    :param counts: how many ids are in which state (int each).
    :param rows: how many rows it has (int); 1 for a single document.
    :param errors: the first 20 error texts by id (str each).
    :param errors_total: how many ids have one (int).
    :param manifest: the URL of the :class:`FileManifest` (str).
    :param confidence: of several ids, only if the task has ``min_confidence``: the report (:class:`ConfidenceReports`).
    :param review: what a person has decided (:class:`Review`); only if somebody was asked.
    """

    path: str
    format: str
    bytes: int
    sha256: str
    total: int
    counts: dict[str, int]
    rows: int
    errors: dict[str, str]
    errors_total: int
    manifest: str


class FileManifest(TypedDict, total=False):
    """
    What ``<path>.manifest.json`` holds, beside a file that ``ExtractedDataOperator`` has written.

    :param version: 1 (int).
    :param service: the service's name (str).
    :param parameter: ``request_id``, ``document_id`` or ``job_id`` (str).
    :param operation: the service's operation (str), or None.
    :param content: Neurolinker's content (str), or None.
    :param content_options: more keys of its request (dict).
    :param accept: final states besides success whose data was fetched (list of str).
    :param gates: a hash of what the data was held to (str): ``require``, ``min_confidence``; None if nothing was asked of it.
    :param on_item_error: ``raise``, or ``skip``: then ids may be left out (str).
    :param ids_sha256: SHA-256 of the ids in the order asked (str).
    :param path: the file's URL (str).
    :param format: its media type (str).
    :param bytes: its size (int).
    :param sha256: its SHA-256, 64 hexadecimal digits (str).
    :param written_at: when it was written, ISO 8601 in UTC (str).
    :param total: how many ids were asked for (int).
    :param counts: how many ids are in which state (int each).
    :param ids: the ids by state (lists of str).
    :param errors: the error text by id, of each id without data (str each).
    :param rows: for JSON lines the place of each id's row: offset and length in bytes (two int each).
    :param file_names: the names of the documents' files by id (str each), where the vendor tells them.
    :param findings: what the file holds that Airflow could not carry in an XCom, by id (lists of str).
    :param status: for a single id its status.
    :param confidence: of several ids, only if the task has ``min_confidence``: the report (:class:`ConfidenceReports`).
    :param review: what a person has decided (:class:`Review`); only if somebody was asked.
    """

    version: int
    service: str
    parameter: str
    operation: str | None
    content: str | None
    content_options: dict[str, Any]
    accept: list[str]
    gates: str | None
    on_item_error: str
    ids_sha256: str
    path: str
    format: str
    bytes: int
    sha256: str
    written_at: str
    total: int
    counts: dict[str, int]
    ids: dict[str, list[str]]
    errors: dict[str, str]
    rows: dict[str, list[int]]
    file_names: dict[str, str]
    findings: dict[str, list[str]]
    status: Status
    confidence: ConfidenceReports
    review: Review
