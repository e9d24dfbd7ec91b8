"""What :class:`~.operators.ExtractedDataOperator` does where the data goes into an XCom."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from airflow_provider_docstatus.arguments import WaitingTask, waited_for
from airflow_provider_docstatus.exceptions import (
    DocStatusError,
    DocumentFailed,
    ResultTooLarge,
)
from airflow_provider_docstatus.fetching import Fetcher
from airflow_provider_docstatus.gate import Gate
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.faults import raise_without_data, reasons_of
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.group import needed_of

#: The largest data that goes into one XCom by default, in bytes of JSON.
MOST_BYTES = 1024 * 1024


def data_of_several(
    task: WaitingTask,
    hook: DocStatusHook,
    fetcher: Fetcher,
    gate: Gate | None,
    *,
    parameter: str,
    manifest: Mapping[str, Any],
    accept: Collection[str],
) -> dict[str, Any]:
    """
    Fetch the data of the ids of a manifest that ended well; name the others with their errors.

    :param gate: judges the data; None if nothing is asked of it.
    :param accept: the states besides ``succeeded`` that count.
    :return: ``items``, ``errors`` and ``file_names``, each by id.
    :raises DocStatusError: none of them has data, or too few of them do by what their data tells.
    """
    by_state, known_errors, operation = waited_for(hook, parameter, manifest, task.operation)
    good = {State.SUCCEEDED.value, *accept}
    wanted = [one for state, ids in by_state.items() if state in good for one in ids]
    errors = {one: known_errors.get(one, state) for state, ids in by_state.items() if state not in good for one in ids}
    names = dict(manifest.get("file_names") or {}) if hook.service.file_names else {}
    items: dict[str, Any] = {}
    refused: dict[str, DocStatusError] = {}
    if wanted:
        targets = {one: hook.target(**{parameter: one}, operation=operation) for one in wanted}
        statuses: dict[str, DocumentStatus] = {}  # some say beside the data how sure the vendor is of it
        items, refused = fetcher.fetch_list(list(targets.values()), statuses)
        for one in list(items) if gate is not None else ():
            try:
                items[one] = gate.sifted(targets[one], statuses.get(one), items[one]) if gate is not None else items[one]
            except DocumentFailed as error:
                refused[one] = error
                del items[one]
        errors.update({one: str(error) for one, error in refused.items()})
        judged = gate.outcomes if gate is not None else ()
        _check_needed(task, refused, names, judged=judged, total=len(items) + len(errors), fetched=len(wanted))
    if not items:
        raise_without_data(errors, refused.values(), names, service=hook.service.name)
    told = {one: names[one] for one in (*items, *errors) if one in names}
    return {"items": items, "errors": errors, "file_names": told}


def _check_needed(
    task: WaitingTask,
    refused: Mapping[str, DocStatusError],
    names: Mapping[str, str],
    *,
    judged: Collection[str],
    total: int,
    fetched: int,
) -> None:
    """
    Raise the error of ids whose results say that they failed, or whose data does not pass, if they are too many.

    :param judged: the ids whose data does not pass.
    """
    failed = {
        one: error
        for one, error in refused.items()
        if one in judged or (task.wait_for_completion and type(error) is DocumentFailed)
    }
    if failed and fetched - len(failed) < needed_of(task.wait_for, total):
        first = next(iter(failed.values()))
        kinds = {type(error) for error in failed.values()}
        text = f"{len(failed)} of {total} ids did not end well by their results ({reasons_of(failed, names)})."
        raise (kinds.pop() if len(kinds) == 1 else DocumentFailed)(text, service=first.service, state=first.state)


def checked_size(data: Any, most_bytes: int, *, service: str, id: str) -> Any:  # noqa: A002 -- the field's word
    """
    Return the data if it fits an XCom.

    :param most_bytes: bytes of JSON.
    :raises ResultTooLarge: it does not; the DAG's author must ask for less, raise the limit, or fetch it in a task.
    """
    size = len(json.dumps(data, ensure_ascii=False).encode(errors="surrogatepass"))
    if size > most_bytes:
        raise ResultTooLarge(
            f"The extracted data of {id} is {size:,} bytes, the limit for XCom is {most_bytes:,}. Give the task "
            "output_path=, and it goes to a file; ask for less (content=, one document at a time); or raise max_bytes if your "
            "XCom backend can hold it.",
            service=service,
            id=id,
        )
    return data
