"""
The public contract, run for the built-in services, and what they must hold beyond it.

A new service: copy the nearest file, save replies as ``airflow_provider_docstatus/testing/replies/<name>.json``, run this; it
names what is missing. ``docs/recorded-replies.md`` has the format of the replies.
"""

from __future__ import annotations

import importlib
import re
from urllib.parse import urlsplit

import pytest

from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.testing.checks import all_routes
from airflow_provider_docstatus.testing.contract import *  # noqa: F403 -- as in anyone's test file
from airflow_provider_docstatus.testing.recordings import FOLDER, Recording

SERVICE = list(SERVICES.values())
each_service = pytest.mark.parametrize("service", SERVICE, ids=SERVICES)


def test_every_service_has_recorded_replies_and_no_one_else():
    assert {path.stem for path in FOLDER.iterdir()} == set(SERVICES)


@each_service
def test_its_name_is_its_files_and_its_connection_type(service):
    module = importlib.import_module(f"airflow_provider_docstatus.services.{service.name}")
    assert getattr(module, service.name.upper()) is service
    assert SERVICES[service.name] is service


@each_service
def test_its_hosts_are_https_urls_without_a_path(service):
    hosts = [service.host, *service.regions.values()]
    hosts += [one for route in service.routes.values() for one in (route.host, *route.regions.values())]
    for host in map(urlsplit, filter(None, hosts)):  # where each deployment has its own, there is none
        assert host.scheme == "https"
        assert host.hostname
        assert [host.path, host.query, host.fragment, host.username] == ["", "", "", None]


@each_service
def test_its_routes_are_of_the_usual_kinds_and_forms(service):
    assert service.has_operations >= bool(service.operations)
    for route in all_routes(service).values():
        assert route.kind in ("request", "document", "job", "batch")
    paths = [content.path for content in service.contents.values()]
    paths += [one.path for route in service.routes.values() for one in (route.batch, route.listing) if one]
    assert all(re.fullmatch(r"(/[a-zA-Z0-9_-]+)+", path) for path in paths)
    assert all(re.fullmatch(r"(/[a-z0-9]+)*", prefix) for prefix in service.prefixes)


@each_service
def test_an_invalid_request_is_recorded_with_422(service):
    replies = Recording.read(FOLDER / f"{service.name}.json").replies
    assert any(reply.ask == "status" and (reply.code, reply.error) == (422, "RequestRejected") for reply in replies)
