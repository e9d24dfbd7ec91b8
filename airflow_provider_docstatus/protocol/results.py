"""Flows that fetch the extracted data of finished documents and jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_docstatus.exceptions import (
    DataRefused,
    DocStatusError,
    DocumentFailed,
    KeyRejected,
    NoData,
    ReplyTooLarge,
    RequestRejected,
    ServiceUnavailable,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.exact import DoubleKeys
from airflow_provider_docstatus.protocol.extracted import Saved, data_in, link_in, no_data, whole_body
from airflow_provider_docstatus.protocol.faults import concerns_all, may_pass, reasons_of
from airflow_provider_docstatus.protocol.flows import poll_one, result_request
from airflow_provider_docstatus.protocol.messages import Flow, Request, Response, Sink
from airflow_provider_docstatus.protocol.paging import list_in
from airflow_provider_docstatus.protocol.reading import read_outline
from airflow_provider_docstatus.protocol.responses import error_text, raise_if_unavailable, read_object, too_large
from airflow_provider_docstatus.protocol.statuses import (
    ENDED_BADLY,
    is_media,
    raise_unless_usable,
    read_result_status,
    read_saved_outline,
)
from airflow_provider_docstatus.protocol.storable import not_storable
from airflow_provider_docstatus.protocol.targets import Target, checked_id
from airflow_provider_docstatus.protocol.values import is_empty, one_line
from airflow_provider_docstatus.status import LEFT_OUT, DocumentStatus, State

#: A flow that asks for some ids by one request, and returns the data, or the error in its place, by id.
Ask = Callable[[Sequence[str]], Flow[dict[str, Any]]]
#: Documents whose data one request asks for.
DOCUMENTS_AT_ONCE = 10


@dataclass(kw_only=True)
class Fetch:
    """
    What is to be fetched of a finished id, and how.

    :param ids: what has data: the id itself, the documents of a request, or the jobs of a batch.
    :param ask: asks for some of them.
    :param status: the status of the id; None until ``ask`` gets it with the data.
    :param at_once: how many ids one request may ask for (int).
    :param is_single: whether the id itself has the data.
    :param errors: the vendor's error text by id for what ended without data.
    """

    ids: Sequence[str]
    ask: Ask
    status: DocumentStatus | None = None
    at_once: int = 1
    is_single: bool = True
    errors: Mapping[str, str] = field(default_factory=dict)


def plan_fetch(
    service: ServiceDescription,
    target: Target,
    *,
    status: DocumentStatus | None,
    content: str | None,
    options: Mapping[str, Any],
    into: Sink | None = None,
) -> Flow[Fetch]:
    """
    Find out what is to be fetched of a finished id.

    :param status: the final status, if it is known already; it saves a request where data and status have separate routes.
    :param content: which of the service's contents, None for the default.
    :param options: more keys for the request's body, where the vendor has some (``content_types``, ...).
    :param into: gets the reply that holds the data as it comes, if it is one reply; the data is then :class:`Saved`.
    """
    route = service.routes[target.route]
    checked_content(service, content)
    if status is not None and LEFT_OUT in status.details:
        status = None  # it came through an event, which does not name all of its documents
    if status is None and not (route.result and route.result.has_status and not route.result.media):
        status = yield from poll_one(service, target, judges=False)
    if status is not None and status.left_out:
        most = len(status.children)
        raise RequestRejected(
            f"{service.title} {status.kind} {target.id} lists {most + sum(status.left_out.values()):,} documents or jobs; the "
            f"data of at most {most:,} is fetched at once. Fetch them by their own ids.",
            service=service.name,
            id=target.id,
        )
    if service.contents:
        assert status is not None  # a service with contents has no has_status  # noqa: S101
        return _plan_contents(service, status, content, options, into)
    if options:
        raise RequestRejected(f"{service.title} has no content options; leave them out.", service=service.name, id=target.id)
    if status is not None and status.kind == "batch":
        return _plan_children(service, target, status)
    if status is not None:
        raise_unless_usable(service, status)
    fetch = Fetch(ids=[target.id], ask=lambda _ids: ask(), status=status)

    def ask() -> Flow[dict[str, Any]]:
        fetch.status, data = yield from _fetch_one(service, target, fetch.status, into)
        return {target.id: data}

    return fetch


def fetch_result(
    service: ServiceDescription, target: Target, **which: Any
) -> Flow[tuple[DocumentStatus, dict[str, Any], dict[str, str]]]:
    """
    Fetch the data of a finished id, without asking again; for the arguments see :func:`plan_fetch`.

    :return: the status, the data by id, and the vendor's error text by id for what it refused.
    :raises DocStatusError: something that may pass, also if it is about one id only.
    """
    fetch = yield from plan_fetch(service, target, **which)
    items: dict[str, Any] = {}
    errors = dict(fetch.errors)
    for start in range(0, len(fetch.ids), fetch.at_once):
        for one, data in (yield from fetch_some(fetch.ask, fetch.ids[start : start + fetch.at_once])).items():
            if not isinstance(data, DocStatusError):
                items[one] = data
            elif fetch.is_single or may_pass(data) or isinstance(data, KeyRejected):
                raise data
            else:
                errors[one] = str(data)
    assert fetch.status is not None  # known before, or set with the data  # noqa: S101
    return fetch.status, items, errors


def fetch_some(ask: Ask, ids: Sequence[str]) -> Flow[dict[str, Any]]:
    """
    Ask for some ids by one request; return the data, or the error in its place, by id.

    A request for several that is refused, or whose reply is too large, is split, so that each id has an answer of its own. Where
    the service is unavailable, the rest of the ids is not asked for.

    :raises RequestRejected: an error that concerns all ids.
    """
    groups, found = [list(ids)], dict[str, Any]()
    while groups:
        group = groups.pop(0)
        try:
            found |= yield from ask(group)
        except DocStatusError as error:
            if concerns_all(error):
                raise
            if len(group) > 1 and isinstance(error, (RequestRejected, ReplyTooLarge)):
                half = len(group) // 2
                groups[:0] = [group[:half], group[half:]]
                continue
            found |= dict.fromkeys(group, error)
            if isinstance(error, ServiceUnavailable):
                return found | {one: error for rest in groups for one in rest}
    return found


def fetch_contents(
    service: ServiceDescription,
    ids: Sequence[str],
    *,
    content: str | None,
    options: Mapping[str, Any],
    into: Sink | None = None,
) -> Flow[dict[str, Any]]:
    """
    Fetch the data of a few finished documents by one request, where data has a route of its own.

    :param content: which of the service's contents, None for the default.
    :param options: more keys for the request's body.
    :return: the data by id, or the error in its place.
    """
    choice = service.contents[checked_content(service, content) or next(iter(service.contents))]
    assert service.read_item is not None  # the contract test checks it  # noqa: S101
    asked = {"document_ids": list(ids), **choice.options, **options}
    response = yield Request(path=choice.path, route=choice.path, json=asked, into=into)
    if into is not None:
        yield from read_outline(service, response, may_be_cut=True)
    label = response.request.label
    named = one_line(ids[0]) if len(ids) == 1 else None
    replies = list_in(service, response, read_object(service, response, id=named, has_data=into is None), "results")
    by_id = {str(item.get("document_id")): item for item in replies if isinstance(item, Mapping)}
    found: dict[str, Any] = {}
    for one in ids:
        about: dict[str, Any] = {"service": service.name, "id": one}
        data, error = service.read_item(by_id[one]) if one in by_id else (None, None)
        if isinstance(by_id.get(one), DoubleKeys):
            found[one] = not_storable("a key that stands twice beside it in the reply", **about)
        elif error is not None:
            found[one] = DataRefused(error, **about)
        elif one not in by_id:
            found[one] = NoData("not in the reply", **about)
        elif into is not None and (response.outline is not None or data is not None):  # an outline holds no data
            found[one] = Saved(response.media_type)
        else:
            found[one] = NoData(f"{label} holds no content for it", **about) if data is None else data
    return found


def extracted_of(service: ServiceDescription, status: DocumentStatus, items: Mapping[str, Any], errors: Mapping[str, str]) -> Any:
    """Return the data of an id in the form of an XCom. Raises DataRefused if nothing of it has any."""
    if status.kind not in ("request", "batch"):
        return items[status.id]
    names = status.to_dict()["file_names"]
    if errors and not items:
        raise no_data(service, status, f"none of its {len(errors)} parts has any ({reasons_of(errors, names)})", DataRefused)
    return {"items": dict(items), "errors": dict(errors), "file_names": names}


def checked_content(service: ServiceDescription, content: str | None) -> str | None:
    """Return ``content`` if the service has it. Raises RequestRejected if not; the DAG's author must change it."""
    if content is not None and content not in service.contents:
        known = f"use one of {', '.join(service.contents)}" if service.contents else "leave it out"
        raise RequestRejected(f"{service.title} has no content={content!r}; {known}.", service=service.name)
    return content


def _fetch_one(
    service: ServiceDescription, target: Target, status: DocumentStatus | None, into: Sink | None = None
) -> Flow[tuple[DocumentStatus, Any]]:
    """Fetch the data of one id; a link in its place is followed, and asked for anew if it has expired."""
    result = service.routes[target.route].result
    assert result is not None  # the contract test: every route has contents or a result  # noqa: S101
    for is_last in (False, True):
        response = yield result_request(service, target, into)
        if is_media(service, target, response):
            assert status is not None  # such a reply has no status, so it was asked for before  # noqa: S101
            return status, _in_full(service, target, status, response)
        if into is not None:
            yield from read_saved_outline(service, target, response)
        is_outline = response.outline is not None  # it holds no data, which is there if it is that long
        is_read = response.code not in result.codes
        body = read_object(service, response, id=target.id, has_data=into is None) if is_read else {}
        status = yield from read_result_status(service, target, response, status)
        raise_unless_usable(service, status)
        label = response.request.label
        if not result.has_status and body.get("success") is False:  # further inside it may be a field of the extracted data
            said = error_text(service, body) or "the vendor gave no reason"
            raise no_data(service, status, f"{label} says success=false: {said}", DataRefused)
        route = service.routes[target.route]
        if (link := link_in(route, body)) is None:
            data = None if is_outline else data_in(service, route, status, body, label)
            return status, data if into is None else Saved(response.media_type)
        try:
            return status, (yield from _behind_link(service, target, status, link, into))
        except UnexpectedReply as error:
            if is_last or isinstance(error, ReplyTooLarge):
                raise
    raise AssertionError("the second turn returns or raises")


def plan_link(service: ServiceDescription, target: Target, status: DocumentStatus, link: str, into: Sink | None = None) -> Fetch:
    """Plan the fetch of what a link leads to that cannot be asked for anew, since the reply that held it is deleted."""

    def ask(_ids: Sequence[str]) -> Flow[dict[str, Any]]:
        return {target.id: (yield from _behind_link(service, target, status, link, into))}

    return Fetch(ids=[target.id], ask=ask, status=status)


def _behind_link(
    service: ServiceDescription, target: Target, status: DocumentStatus, link: str, into: Sink | None = None
) -> Flow[Any]:
    """Fetch what a signed link leads to. Raises UnexpectedReply if the link is refused, as one that has expired is."""
    response = yield Request(path="", route="(a signed link)", link=link, into=into)
    raise_if_unavailable(service, response)
    if not 200 <= response.code < 300:  # the storage refuses in a form of its own; a redirect is not followed
        raise UnexpectedReply(
            f"The link to the data of {status.kind} {target.id} at {service.title} was refused with {response.code}, and a new "
            "one as well; is there a proxy in between?",
            service=service.name,
            id=target.id,
        )
    return _in_full(service, target, status, response, may_be_json=True)


def _in_full(
    service: ServiceDescription, target: Target, status: DocumentStatus, response: Response, *, may_be_json: bool = False
) -> Any:
    """
    Return the whole body of a response as data: text in UTF-8 as text, anything else (a zip, a PDF) as bytes.

    :param may_be_json: whether a body that is a JSON object or list is returned as that; storages often name another type.
    """
    if response.request.into is not None:
        if not response.body:
            raise no_data(service, status, f"{response.request.label} answered with nothing")
        return Saved(response.media_type, is_whole=True)
    if response.is_too_large:
        raise too_large(service, response, id=target.id)
    data = whole_body(service, target, response.body, response.media_type, may_be_json=may_be_json)
    if is_empty(data):
        raise no_data(service, status, f"{response.request.label} answered with nothing")
    return data


def _plan_contents(
    service: ServiceDescription, status: DocumentStatus, content: str | None, options: Mapping[str, Any], into: Sink | None
) -> Fetch:
    """Plan the fetch of a document, or of a request's documents, where data has a route of its own."""
    raise_unless_usable(service, status)
    is_single = status.kind != "request"
    documents = (status,) if is_single else status.children
    if not documents:
        raise no_data(service, status, "it lists no documents")
    failed = {one.id: one.message or one.word for one in documents if one.state in (State.RUNNING, *ENDED_BADLY)}
    by_id = {one.id: replace(one, kind="document", id=one_line(one.id) or "") for one in documents}

    def ask(ids: Sequence[str]) -> Flow[dict[str, Any]]:
        found = yield from fetch_contents(service, ids, content=content, options=options, into=into if is_single else None)
        for one, error in found.items():  # beside the data of others, the vendor's bare text about one is enough
            if isinstance(error, NoData) and (is_single or may_pass(error)):
                found[one] = no_data(service, by_id[one], str(error), type(error))
        return found

    return Fetch(
        ids=[one.id for one in documents if one.id not in failed],
        ask=ask,
        status=status,
        at_once=DOCUMENTS_AT_ONCE,
        is_single=is_single,
        errors=failed,
    )


def _plan_children(service: ServiceDescription, target: Target, status: DocumentStatus) -> Fetch:
    """Plan the fetch of a batch's jobs, each from the route that has the same list as the batch, or else from ``job``."""
    members = service.routes[target.route].members
    lists = {one.listing.path: name for name, one in service.routes.items() if one.listing is not None}
    route = lists.get(members.path, "job") if members is not None else "job"
    children, errors = {child.id: replace(child, kind="job") for child in status.children}, {}
    for one, child in children.items():
        try:
            checked_id(service, "job_id", one)  # the vendor's list is untrusted text
            raise_unless_usable(service, child)
        except (DocumentFailed, RequestRejected) as error:
            errors[one] = str(error)
    if not children:
        raise no_data(service, status, "it lists no jobs")

    def ask(ids: Sequence[str]) -> Flow[dict[str, Any]]:
        _, data = yield from _fetch_one(service, Target(route=route, id=ids[0]), children[ids[0]])
        return {ids[0]: data}

    return Fetch(ids=[one for one in children if one not in errors], ask=ask, status=status, is_single=False, errors=errors)
