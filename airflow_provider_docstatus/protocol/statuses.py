"""Read a reply as a DocumentStatus: the vendor's word, counters, children, times and small facts."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_docstatus.exceptions import (
    DocumentFailed,
    NotFinished,
    UnexpectedReply,
    UnknownWord,
)
from airflow_provider_docstatus.protocol.confidence import confidences_of
from airflow_provider_docstatus.protocol.description import ResultRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.messages import Flow, Pause, Response
from airflow_provider_docstatus.protocol.reading import in_slices, read_outline
from airflow_provider_docstatus.protocol.refusals import is_foreign
from airflow_provider_docstatus.protocol.responses import error_text, read_object, too_large, vendor_text
from airflow_provider_docstatus.protocol.targets import LONGEST_ID, Target
from airflow_provider_docstatus.protocol.values import (
    count,
    file_name,
    first_of,
    first_text,
    get_path,
    https_link,
    is_something,
    is_there,
    named,
    one_line,
    printable,
    small_fact,
    utc_time,
    without_name,
)
from airflow_provider_docstatus.status import FILE_NAME, DocumentStatus, State

ENDED_BADLY = (State.FAILED, State.CANCELLED, State.EXPIRED)
#: Children of one reply that a status holds. Of the others it holds only how many are in which state.
MOST_READ = 20_000
_NO_DETAILS: Mapping[str, Any] = {}


def read_status(service: ServiceDescription, target: Target, response: Response) -> Flow[DocumentStatus]:
    """
    Read the response to a status request.

    :raises ServiceUnavailable: the request may succeed later (nobody must act).
    :raises RequestRejected: key, quota, unknown id, refused request (the DAG's author).
    :raises UnexpectedReply: HTML (below 500), broken JSON, another id, an unknown word (this package, or a proxy).
    """
    route = service.routes[target.route]
    if (told := told_by_code(service, target, response, route.codes)) is not None:
        return told
    body = read_object(service, response, id=target.id)
    if response.is_too_large and not _is_decided(service, route, body):
        raise too_large(service, response, id=target.id)
    return (yield from status_from(service, target, body, response.request.label, code=response.code))


def _is_decided(service: ServiceDescription, route: Route, beginning: Mapping[str, Any]) -> bool:
    """Whether the beginning of a reply holds all that its state is read from, so that the rest cannot change it."""
    word = first_of(beginning, route.status)
    before = itertools.takewhile(lambda path: get_path(beginning, path) is None, route.status)
    if not isinstance(word, str) or route.child is not None or not all(is_there(beginning, path) for path in before):
        return False
    beside = [path for path in (route.flag, *route.partial, *route.good.split()) if path]
    is_success = service.states.get(word.strip().lower()) is State.SUCCEEDED
    return not is_success or all(is_there(beginning, path) for path in beside)


def read_result_status(
    service: ServiceDescription, target: Target, response: Response, known: DocumentStatus | None
) -> Flow[DocumentStatus]:
    """
    Read the status out of the reply that holds the data.

    :param known: the status that the status route gave, whose facts are kept; None if it was not asked.
    :raises DocStatusError: see :func:`read_status`; :class:`UnexpectedReply` also if there is no status anywhere.
    """
    route = service.routes[target.route]
    result = route.result
    assert result is not None  # the caller has asked for it  # noqa: S101
    if (told := told_by_code(service, target, response, result.codes)) is not None:
        return _merged(known, told)
    body = read_object(service, response, id=target.id)
    if result.failure and is_something(get_path(body, result.failure)):
        return _failed_result(service, target, body, known)
    if not result.has_status:
        if known is None:
            raise UnexpectedReply(f"{service.title}: {response.request.label} gives no status.", service=service.name)
        return known
    about = _as_result(route, result)
    if response.is_too_large and not _is_decided(service, about, body):
        raise too_large(service, response, id=target.id)
    if result.status and known is not None and first_of(body, result.status) is None:  # a form without a word of its own
        return _judged_by_counters(about, body, known)
    read_as = replace(service, routes={**service.routes, target.route: about})
    told = yield from status_from(read_as, target, body, response.request.label, code=response.code)
    return _merged(known, told) if result.status else told


def read_saved_outline(service: ServiceDescription, target: Target, response: Response) -> Flow[None]:
    """Read the outline of a reply that went to a sink: of all of it, if it is long and its beginning does not tell the state."""
    yield from read_outline(service, response, may_be_cut=True)
    route, into = service.routes[target.route], response.request.into
    if into is None or route.result is None or not (response.is_too_large and route.result.has_status and response.code < 300):
        return
    beginning = response.outline
    if not isinstance(beginning, Mapping) or not _is_decided(service, _as_result(route, route.result), beginning):
        yield from read_outline(service, response, whole=into.whole())
        response.limit = len(response.body)  # nothing of it is unread


def _as_result(route: Route, result: ResultRoute) -> Route:
    """Return a route as the reply that holds its data is read."""
    errors = result.errors or route.errors
    if not result.status:
        return replace(route, errors=errors, partial=result.partial or route.partial, good=result.good or route.good)
    return Route(  # another form of reply: none of the status reply's other fields
        path=route.path,
        kind=route.kind,
        status=result.status,
        ids=(),
        errors=errors,
        partial=result.partial,
        good=result.good,
        details=result.details,
        confidence=route.confidence,
    )


def _judged_by_counters(about: Route, body: Mapping[str, Any], known: DocumentStatus) -> DocumentStatus:
    """Return a known status as a result without a word has it: by its counters and lists of bad parts."""
    state = _by_content(about, body, State.SUCCEEDED)
    if state is State.SUCCEEDED:
        return known
    counted = {path.rpartition(".")[2]: count(get_path(body, path)) for path in (*about.good.split(), *about.partial)}
    counters = ", ".join(f"{name} {number}" for name, number in counted.items() if number is not None)
    return replace(known, state=state, message=first_text(body, about.errors) or counters or None)


def _merged(known: DocumentStatus | None, told: DocumentStatus) -> DocumentStatus:
    """Return what a result says of a job beside the facts that are known of it. No result makes a partial success a whole one."""
    if known is None:
        return told
    if known.state is State.PARTIAL and told.state is State.SUCCEEDED:
        return replace(known, confidences=told.confidences)
    details, found = {**known.details, **told.details}, told.confidences
    return replace(known, state=told.state, word=told.word, message=told.message, details=details, confidences=found)


def _failed_result(
    service: ServiceDescription, target: Target, body: Mapping[str, Any], known: DocumentStatus | None
) -> DocumentStatus:
    result = service.routes[target.route].result
    assert result is not None  # the caller has read it  # noqa: S101
    text = first_text(body, (*result.errors, result.failure, *service.routes[target.route].errors))
    about = known or DocumentStatus(
        service=service.name, kind=service.routes[target.route].kind, id=target.id, state=State.FAILED, word="failed"
    )
    return replace(about, state=State.FAILED, message=text)


def is_media(service: ServiceDescription, target: Target, response: Response) -> bool:
    """Whether a good response to a result request is data in another form than JSON, which says nothing of a status."""
    result = service.routes[target.route].result
    return result is not None and response.media_type in result.media and 200 <= response.code < 300


def with_children(status: DocumentStatus, children: tuple[DocumentStatus, ...]) -> DocumentStatus:
    """Return the status of a request or batch with the jobs inside it: if some of them are not good, it is partial or failed."""
    states = [child.state for child in children]
    bad = sum(state in ENDED_BADLY for state in states)
    state = status.state
    if state is State.SUCCEEDED and bad:
        state = State.FAILED if bad == len(states) else State.PARTIAL
    return replace(status, children=children, state=state)


def told_by_code(
    service: ServiceDescription, target: Target, response: Response, codes: Mapping[int, State]
) -> DocumentStatus | None:
    """Return the status that an HTTP code of 400 or more means on this route, None if the code is none of these."""
    state = codes.get(response.code) if response.code >= 400 else None
    if state is None or is_foreign(response):
        return None
    text = vendor_text(service, response) or f"HTTP {response.code}"
    word, kind = str(response.code), service.routes[target.route].kind
    return DocumentStatus(service=service.name, kind=kind, id=target.id, state=state, word=word, message=text)


def status_from(
    service: ServiceDescription, target: Target, body: Mapping[str, Any], label: str, *, code: int = 200
) -> Flow[DocumentStatus]:
    """Read the JSON object of a status reply; ``code`` is its HTTP code."""
    route = service.routes[target.route]
    body, word, state = checked_object(service, target, body, label)
    details = {"operation": target.route} if service.has_operations else {}
    more: dict[str, Any] = {"id": target.id, "word": word, "details": details}
    if route.child is not None:
        more["children"], more["left_out"] = yield from read_children(
            service, get_path(body, route.children), route.child, most=MOST_READ
        )
    return _adjusted(service, route, body, state=state, code=code, **more)


def checked_object(
    service: ServiceDescription, target: Target, body: Mapping[str, Any], label: str
) -> tuple[Mapping[str, Any], str, State]:
    """Check that a status reply is about the target and has a known word; return the reply, the word and the state."""
    route = service.routes[target.route]
    about: dict[str, Any] = {"service": service.name, "id": target.id}
    if route.inside and first_of(body, route.status) is None and isinstance(inside := body.get(route.inside), Mapping):
        body = inside
    word = first_of(body, route.status)
    state = service.states.get(word.strip().lower()) if isinstance(word, str) else None
    # Vendors send success=false beside "failed" too: there the word decides. Beside a word of success the two contradict, unless
    # the vendor documents that this flag decides.
    is_told = isinstance(word, str) and (state is not State.SUCCEEDED or route.flag == "success")
    is_refused = not is_told or (state not in ENDED_BADLY and route.flag != "success" and isinstance(body.get("error"), Mapping))
    if body.get("success") is False and is_refused:
        text = error_text(service, body) or "no text"
        raise UnexpectedReply(f"{service.title} answered {label} for {target.id} with success=false: {text}", **about)
    answered_id = first_of(body, route.ids)
    asked_ids = (target.id.lower(), target.id.rpartition("/")[2].lower())  # of an id of two parts the reply may repeat the last
    if answered_id is not None and str(answered_id).lower() not in asked_ids:
        raise UnexpectedReply(
            f"{service.title} answered {label} for {target.id} with another id, {one_line(str(answered_id))!r}.", **about
        )
    if not isinstance(word, str) or not word.strip():
        raise UnexpectedReply(
            f"{service.title} answered {label} for {target.id} without a status word (at {' or '.join(route.status)}).", **about
        )
    if state is None:
        shown = (one_line(word) or "")[:60]
        raise UnknownWord(
            f"{service.title} calls {target.id} {shown!r}, a status word nobody has taught this package. If you know what "
            f'it means, add it to the connection\'s extra: "status_words": {{"{shown.lower()}": "running"}} '
            f"(or {', '.join(state.value for state in State if state.is_final)}).",
            word=shown,
            **about,
        )
    return body, word, state


def items_by_id(items: Any, route: Route) -> Iterator[tuple[str, Mapping[str, Any]] | Pause]:
    """Yield the items of a list by their ids, with pauses between them."""
    for item in in_slices(items if isinstance(items, list) else ()):
        if isinstance(item, Pause):
            yield item
            continue
        child_id = first_of(item, route.ids)
        if child_id is not None and not isinstance(child_id, (Mapping, list)):
            yield printable(str(child_id)[:LONGEST_ID]), item


def read_children(
    service: ServiceDescription, items: Any, route: Route, *, most: float = math.inf
) -> Flow[tuple[tuple[DocumentStatus, ...], Mapping[State, int]]]:
    """
    Read the documents of a request or a list, in slices.

    :param most: how many are read.
    :return: these, and how many more there are in each state.
    """
    read: list[DocumentStatus] = []
    left_out: Counter[State] = Counter()
    for found in items_by_id(items, route):
        if isinstance(found, Pause):
            yield found
        elif len(read) < most:
            read.append(read_child(service, found[1], route, id=found[0]))
        else:
            left_out[_state_of_child(service, found[1], route)] += 1
    return tuple(read), left_out


def read_child(
    service: ServiceDescription,
    item: Mapping[str, Any],
    route: Route,
    *,
    id: str,  # noqa: A002 -- the field's word
    details: Mapping[str, Any] = _NO_DETAILS,
) -> DocumentStatus:
    """Read one document of a request or of a list. An unknown word counts as running, never as finished."""
    word, state = _word_and_state(service, item, route)
    read = _adjusted if state is State.SUCCEEDED else _facts  # an item has no counters to judge "partial" by
    return read(service, route, item, id=id, state=state, word=word, details=details)


def _word_and_state(service: ServiceDescription, item: Mapping[str, Any], route: Route) -> tuple[str, State]:
    word = first_of(item, route.status)
    word = word if isinstance(word, str) else ""
    return word, service.states.get(word.strip().lower(), State.RUNNING)


def _state_of_child(service: ServiceDescription, item: Mapping[str, Any], route: Route) -> State:
    """Return the state that :func:`read_child` reads, without its facts."""
    _, state = _word_and_state(service, item, route)
    if state is not State.SUCCEEDED:
        return state
    state = _by_content(route, item, state)
    if service.adjust is None:
        return state
    return service.adjust(state, DocumentStatus(service=service.name, kind=route.kind, id="", state=state, word=""), item)


def raise_unless_usable(service: ServiceDescription, status: DocumentStatus) -> None:
    """
    Raise an error if the status says that there is no data to fetch.

    :raises NotFinished: it is still running (the DAG's author must wait first).
    :raises DocumentFailed: it ended without data (the document's owner).
    """
    about: dict[str, Any] = {"service": service.name, "id": status.id, "state": status.state, "link": status.link}
    who = named(f"{service.title} {status.kind} {status.id}", status.file_name)
    if not status.state.is_final:
        raise NotFinished(
            f"{who} is not finished ({status.word}); wait for it first (DocStatusSensor, or wait_for_completion=True).",
            **about,
        )
    if status.state in ENDED_BADLY:
        text = status.message or "the vendor gave no reason"
        raise DocumentFailed(f"{who} {status.state}: {text}", **about)


def _adjusted(
    service: ServiceDescription, route: Route, body: Mapping[str, Any], *, state: State, code: int = 200, **more: Any
) -> DocumentStatus:
    """Read a reply whose word means ``state``, and correct that state by the reply's flags, counters and HTTP code."""
    state = _by_content(route, body, state)
    if state is State.SUCCEEDED:
        state = State(route.codes.get(code, state))
    status = _facts(service, route, body, state=state, **more)
    if service.adjust is None:
        return status
    adjusted = service.adjust(state, status, body)
    # Read again, since the vendor's error text is read only for a state that needs one.
    return status if adjusted is state else _facts(service, route, body, state=adjusted, **more)


def _by_content(route: Route, body: Mapping[str, Any], state: State) -> State:
    """Return the state as the flag and the lists or counters of bad parts beside a word of success have it."""
    if state is not State.SUCCEEDED:
        return state
    if route.flag and get_path(body, route.flag) is False:
        return State.FAILED
    if not any(is_something(get_path(body, path)) for path in route.partial):
        return state
    good = [number for path in route.good.split() if (number := count(get_path(body, path))) is not None]
    return State.FAILED if good and not any(good) else State.PARTIAL


def _facts(
    service: ServiceDescription,
    route: Route,
    body: Mapping[str, Any],
    *,
    id: str,  # noqa: A002 -- the field's word
    state: State,
    word: str,
    details: Mapping[str, Any],
    children: tuple[DocumentStatus, ...] = (),
    left_out: Mapping[State, int] | None = None,
) -> DocumentStatus:
    counted = {path.rpartition(".")[2]: count(get_path(body, path)) for path in route.counters}
    found = {name: first_of(body, paths) for name, paths in route.details.items()}
    facts = {name: file_name(fact) if name == FILE_NAME else small_fact(fact) for name, fact in found.items()}
    text = first_text(body, (*route.errors, "error")) if state.is_final and state is not State.SUCCEEDED else None
    if not service.file_names:
        text = without_name(text, facts.pop(FILE_NAME, None))
    return DocumentStatus(
        service=service.name,
        kind=route.kind,
        id=id,
        state=state,
        word=printable(word.strip()[:60]),
        message=text,
        counters={name: number for name, number in counted.items() if number is not None},
        children=children,
        left_out=left_out or {},
        link=https_link(first_of(body, route.links)),
        details={**details, **{name: fact for name, fact in facts.items() if fact is not None}},
        confidences=confidences_of(route.confidence, "reply", body) if state.is_final and route.confidence else None,
        **{name: utc_time(first_of(body, paths)) for name, paths in route.times.items()},
    )
