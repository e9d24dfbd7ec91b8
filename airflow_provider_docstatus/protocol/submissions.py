"""Read the id in the answer to a submission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.responses import error_text
from airflow_provider_docstatus.protocol.targets import operation_name, target_of
from airflow_provider_docstatus.protocol.values import get_path


def submitted_id(
    service: ServiceDescription, *, code: int, headers: Mapping[str, str], body: Any, operation: str | None = None
) -> str:
    """
    Return the id in the answer to a submission.

    :param code: the answer's HTTP code.
    :param headers: its headers, found by any spelling of their names.
    :param body: its JSON; None if it has none.
    :param operation: what was submitted, where the service has several operations.
    :raises RequestRejected: the answer is no success or holds no id, or the description does not say where it is (the DAG's
        author).
    """
    name = operation_name(service, operation) if operation else next(iter(service.routes))
    route = service.routes.get(name)
    if route is None or route.submit is None:
        known = ", ".join(one for one, route in service.routes.items() if route.submit is not None) or "none"
        raise RequestRejected(
            f"{service.title}: it is not described where a submission's answer holds the id; it is for {known}.",
            service=service.name,
        )
    submit, said = route.submit, error_text(service, body)
    if not 200 <= code < 300:
        text = f"{service.title} refused the submission with {code}" + (f": {said}" if said else "")
        raise RequestRejected(f"{text.rstrip('.')}.", service=service.name)
    found = headers.get(submit.id_header) if submit.id_header else get_path(body, submit.id)
    if found is None:
        place = f"header {submit.id_header}" if submit.id_header else submit.id
        text = f"{service.title} answered the submission without an id ({place})" + (f": {said}" if said else "")
        raise RequestRejected(f"{text.rstrip('.')}.", service=service.name)
    return target_of(service, {route.parameter: found}, name if service.has_operations else None).id
