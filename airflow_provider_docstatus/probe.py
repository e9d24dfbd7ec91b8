"""The test of a connection: one cheap, read-only request, and what it proves."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from airflow_provider_docstatus.exceptions import DocStatusError, NotFound
from airflow_provider_docstatus.protocol.flows import status_request
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.messages import Flow, Request, Response
from airflow_provider_docstatus.protocol.statuses import read_status
from airflow_provider_docstatus.protocol.targets import Target, route_name
from airflow_provider_docstatus.transport.connection import Endpoint

_MADE_UP_ID = "00000000-0000-4000-8000-000000000000"


def probe(endpoint: Endpoint, run: Callable[[Flow[Any]], Any]) -> tuple[bool, str]:
    """
    Return whether the key of a connection works as far as can be seen, and a sentence for the person who asks.

    :param run: drives a flow.
    """
    service = endpoint.service
    try:
        listing = next((route.listing for route in service.routes.values() if route.listing is not None), None)
        if listing is not None and not (listing.key_optional or service.key_optional):
            run(list_jobs(service, filters={}, limit=1, offset=0))
            return True, f"{service.title} accepted the key and listed the account's jobs."
        operation = (endpoint.operation or next(iter(service.routes))) if service.has_operations else None
        route = route_name(service, service.parameters[0], operation)
        target = Target(route, "/".join([_MADE_UP_ID] * len(service.routes[route].placeholders)))
        response = run(_single(status_request(service, target)))
        label = response.request.label
        if response.is_no_route or (response.code == HTTPStatus.NOT_FOUND and response.is_html):
            return False, f"{endpoint.base_url} has no {label} (404); is that {service.title}'s host?"
        run(read_status(service, target, response))
    except NotFound:
        text = f"{service.title} answered that a made-up id does not exist, and "
        if endpoint.key is None:
            return True, f"{text}asked for no key."
        return True, f"{text}did not refuse the key. It has no route that would prove the key."
    except DocStatusError as error:
        return False, str(error)
    return True, f"{service.title} answered."


def _single(request: Request) -> Flow[Response]:
    """Return a flow of one request."""
    return (yield request)
