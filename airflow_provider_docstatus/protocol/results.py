"""Flows that fetch the extracted data of finished documents and jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from airflow_provider_docstatus.exceptions import (
    DocumentFailed,
    NoData,
    NotFinished,
    NotFound,
    RequestRejected,
)
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.flows import Flow, poll_one, read_list
from airflow_provider_docstatus.protocol.messages import Request
from airflow_provider_docstatus.protocol.responses import read_object, vendor_text
from airflow_provider_docstatus.protocol.statuses import ENDED_BADLY, raise_unless_usable, status_from
from airflow_provider_docstatus.protocol.targets import Target, checked_id
from airflow_provider_docstatus.protocol.values import get_path, text_in
from airflow_provider_docstatus.status import LEFT_OUT, DocumentStatus, State

#: Documents whose data one request asks for.
DOCUMENTS_AT_ONCE = 10


def fetch_result(
    service: ServiceDescription,
    target: Target,
    *,
    status: DocumentStatus | None,
    content: str | None,
    options: Mapping[str, Any],
) -> Flow[tuple[DocumentStatus, dict[str, Any], dict[str, str]]]:
    """
    Fetch the data of a finished id.

    :param status: the final status, if it is known already; it saves a request where data and status have separate routes.
    :param content: which of the service's contents, None for the default.
    :param options: more keys for the request's body, where the vendor has some (``content_types``, ...).
    :return: the status, the data by id, and the vendor's error text by id for what could not be fetched.
    """
    route = service.routes[target.route]
    checked_content(service, content)
    if status is not None and LEFT_OUT in status.details:
        status = None  # it came through an event, which does not name all of its documents
    if status is None and not (route.result and route.result.has_status):
        status = yield from poll_one(service, target)
    if service.contents:
        assert status is not None  # a service with contents has no has_status  # noqa: S101
        raise_unless_usable(service, status)
        documents = status.children if status.kind == "request" else (status,)
        failed = {one.id: one.message or one.word for one in documents if one.state in (State.RUNNING, *ENDED_BADLY)}
        wanted = [one.id for one in documents if one.id not in failed]
        items, errors = yield from fetch_contents(service, wanted, content=content, options=options)
        if not documents:
            raise no_data(service, status, "it lists no documents")
        return status, items, {**failed, **errors}
    if options:
        raise RequestRejected(f"{service.title} has no content options; leave them out.", service=service.name, id=target.id)
    if status is not None and status.kind == "batch":
        items, errors = yield from _fetch_children(service, status)
        if not items and not errors:
            raise no_data(service, status, "it lists no jobs")
        return status, items, errors
    status, data = yield from _fetch_one(service, target, status)
    return status, {target.id: data}, {}


def fetch_contents(
    service: ServiceDescription, ids: Sequence[str], *, content: str | None, options: Mapping[str, Any]
) -> Flow[tuple[dict[str, Any], dict[str, str]]]:
    """
    Fetch the data of finished documents, a few at a time, where data has a route of its own.

    :param content: which of the service's contents, None for the default.
    :param options: more keys for the request's body.
    :return: the data by id, and the vendor's error text by id.
    """
    choice = service.contents[checked_content(service, content) or next(iter(service.contents))]
    assert service.read_item is not None  # the contract test checks it  # noqa: S101
    items: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for start in range(0, len(ids), DOCUMENTS_AT_ONCE):
        chunk = list(ids[start : start + DOCUMENTS_AT_ONCE])
        body = {"document_ids": chunk, **choice.options, **options}
        response = yield Request(path=choice.path, route=choice.path, json=body)
        replies = read_list(service, response, "results")
        by_id = {str(item.get("document_id")): item for item in replies if isinstance(item, Mapping)}
        for document_id in chunk:
            item = by_id.get(document_id)
            label = response.request.label
            data, error = service.read_item(item, label) if item is not None else (None, "not in the reply")
            if error is None:
                items[document_id] = data
            else:
                errors[document_id] = error
    return items, errors


def checked_content(service: ServiceDescription, content: str | None) -> str | None:
    """Return ``content`` if the service has it. Raises RequestRejected if not; the DAG's author must change it."""
    if content is not None and content not in service.contents:
        known = f"use one of {', '.join(service.contents)}" if service.contents else "leave it out"
        raise RequestRejected(f"{service.title} has no content={content!r}; {known}.", service=service.name)
    return content


def no_data(service: ServiceDescription, status: DocumentStatus, reason: str) -> NoData:
    """Return the error for a finished document without data."""
    return NoData(
        f"{service.title} says {status.kind} {status.id} is {status.word!r}, but gives no data: {reason}. Look at the "
        "document in the vendor's own tools.",
        service=service.name,
        id=status.id,
        state=status.state,
        link=status.link,
    )


def _fetch_one(service: ServiceDescription, target: Target, status: DocumentStatus | None) -> Flow[tuple[DocumentStatus, Any]]:
    route = service.routes[target.route]
    result = route.result
    assert result is not None  # the contract test: every route has contents or a result  # noqa: S101
    if status is not None:
        raise_unless_usable(service, status)
    response = yield Request(
        path=result.path.replace("{id}", quote(target.id, safe="")),
        route=result.path,
        query=result.query,
        key_optional=route.key_optional,
        expected_codes=result.codes,
    )
    state = None if response.is_html else result.codes.get(response.code)  # a proxy's page says nothing of the job
    if state is not None:
        text, word = vendor_text(service, response) or f"HTTP {response.code}", str(response.code)
        told = DocumentStatus(service=service.name, kind=route.kind, id=target.id, state=state, word=word, message=text)
        raise_unless_usable(service, told)
    body, label = read_object(service, response, id=target.id), response.request.label
    if result.has_status:
        status = status_from(service, target, body, label)
        raise_unless_usable(service, status)
    assert status is not None  # either known before or read just now  # noqa: S101
    if not result.has_status and body.get("success") is False:  # a flag further inside may be a field of the extracted data
        said = service.error_text(body) or text_in(body) or "the vendor gave no reason"
        raise no_data(service, status, f"{label} says success=false: {said}")
    data = _taken(body, result.take)
    if data is None or data in ({}, [], ""):
        raise no_data(service, status, f"{label} holds no {result.take or 'data'}")
    return status, data


def _fetch_children(service: ServiceDescription, status: DocumentStatus) -> Flow[tuple[dict[str, Any], dict[str, str]]]:
    items: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for child in status.children:
        try:
            target = Target(route="job", id=checked_id(service, "job_id", child.id))  # the vendor's list is untrusted text
        except RequestRejected as error:
            errors[child.id] = str(error)
            continue
        try:
            _, items[child.id] = yield from _fetch_one(service, target, replace(child, kind="job"))
        except (DocumentFailed, NotFinished, NotFound) as error:
            errors[child.id] = str(error)
    return items, errors


def _taken(body: Mapping[str, Any], take: str) -> Any:
    if not take:
        return dict(body)
    names = take.split()
    if len(names) == 1:
        return get_path(body, take)
    found = {name: body[name] for name in names if body.get(name) is not None}
    return found if names[0] in found else None
