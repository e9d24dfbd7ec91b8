"""Where requests go: to the connection's host, the region's, or a route's own. The key goes nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_docstatus.exceptions import RequestRejected, ServiceUnavailable
from airflow_provider_docstatus.protocol.flows import run, status_request
from airflow_provider_docstatus.protocol.messages import Request
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.provider_info import field_behaviour, form_settings, setting_choices
from airflow_provider_docstatus.services import AITRONOS
from airflow_provider_docstatus.transport.sync import HostSession
from tests.conversations import response
from tests.transport.loopback import BOTH, endpoint_of, serving, vendor_with

US, EU, OLD_US, OLD_EU = (f"https://{name}.example.com" for name in ("api", "api.eu", "old", "old.eu"))
JOB = AITRONOS.routes["job"]
REGIONS = {"us": US, "eu": EU}
OLD_ROUTE = replace(JOB, host=OLD_US, regions={"us": OLD_US, "eu": OLD_EU})
REGIONAL = vendor_with(host=US, regions=REGIONS, routes={"job": JOB, "old": OLD_ROUTE})
SELF_HOSTED = vendor_with(host="")


def url_on(endpoint, route):
    return endpoint.url(status_request(endpoint.service, Target(route=route, id="j")))


# -- no default host -----------------------------------------------------------------------------------------------


def test_a_service_without_a_default_host_wants_one_and_shows_what_it_looks_like(monkeypatch):
    said = r"it names no host, and each deployment has its own; put it into the host, such as https://extract\.example\.com\."
    with pytest.raises(RequestRejected, match=said):
        endpoint_of(monkeypatch, SELF_HOSTED)
    assert endpoint_of(monkeypatch, SELF_HOSTED, host="docs.example.com").base_url == "https://docs.example.com"
    with pytest.raises(RequestRejected, match=r"host must look like https://extract\.example\.com"):
        endpoint_of(monkeypatch, SELF_HOSTED, host="https://a?b=c")


def test_a_service_that_has_only_regions_names_them_too(monkeypatch):
    service = vendor_with(host="", regions=REGIONS)
    with pytest.raises(RequestRejected, match="or set region in the extra to one of us, eu"):
        endpoint_of(monkeypatch, service)
    assert endpoint_of(monkeypatch, service, {"region": "eu"}).base_url == EU


# -- regions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "host", "base_url", "old"),
    [
        ({}, None, US, OLD_US),
        ({"region": "eu"}, None, EU, OLD_EU),
        ({"region": "us"}, None, US, OLD_US),
        ({"region": "eu"}, "https://gateway.example.com/x", "https://gateway.example.com/x", "https://gateway.example.com/x"),
        ({}, "https://gateway.example.com/x", "https://gateway.example.com/x", "https://gateway.example.com/x"),
    ],
    ids=["default", "region", "the default's region", "a host wins over a region", "a host"],
)
def test_a_request_goes_to_the_connections_host_else_to_the_regions(extra, host, base_url, old, monkeypatch):
    endpoint = endpoint_of(monkeypatch, REGIONAL, extra, host=host)
    assert endpoint.base_url == base_url
    assert url_on(endpoint, "job") == f"{base_url}/documents/jobs/j"
    assert url_on(endpoint, "old") == f"{old}/documents/jobs/j"
    assert set(endpoint.hosts) == {base_url, old}


def test_a_port_is_a_host_too(monkeypatch):
    endpoint = endpoint_of(monkeypatch, REGIONAL, port=8443)
    assert url_on(endpoint, "old") == f"{US}:8443/documents/jobs/j"


@pytest.mark.parametrize("host", [None, "https://gateway.example.com"])
def test_an_unknown_region_is_refused_with_those_there_are(host, monkeypatch):
    with pytest.raises(RequestRejected, match="region='ap' is not one of us, eu"):
        endpoint_of(monkeypatch, REGIONAL, {"region": "ap"}, host=host)
    with pytest.raises(RequestRejected, match="region='eu' must be left out: the service has none"):
        endpoint_of(monkeypatch, vendor_with(), {"region": "eu"}, host=host)


def test_only_the_form_of_a_service_with_regions_has_the_setting():
    assert "region" in form_settings(REGIONAL)
    assert setting_choices("region", REGIONAL) == ["us", "eu"]
    assert "region" not in form_settings(AITRONOS)
    assert field_behaviour(SELF_HOSTED)["placeholders"]["host"] == "https://extract.example.com"


@pytest.mark.parametrize(
    "route", [replace(JOB, host=OLD_US), replace(OLD_ROUTE, regions={"us": OLD_US}), replace(JOB, regions={"eu": OLD_EU})]
)
def test_a_route_with_a_host_of_its_own_has_one_in_each_region(route):
    with pytest.raises(ValueError, match=r"routes\.old\.regions: a route with a host of its own has the service's regions"):
        replace(REGIONAL, routes={"job": JOB, "old": route})


def test_the_descriptions_own_hosts_stay_as_they_are(monkeypatch):
    endpoint = endpoint_of(monkeypatch, REGIONAL, {"region": "eu", "status_words": {"archived": "failed"}})
    assert endpoint.service.routes["old"].host == OLD_EU
    assert REGIONAL.routes["old"].host == OLD_US


# -- the key -------------------------------------------------------------------------------------------------------


@BOTH
def test_the_key_goes_to_a_routes_own_host(send, monkeypatch):
    with serving() as usual, serving() as other:
        route = replace(JOB, host=f"http://{other.place}")
        service = vendor_with(host=f"http://{usual.place}", routes={"job": JOB, "other": route})
        endpoint = endpoint_of(monkeypatch, service)
        assert send(endpoint, status_request(endpoint.service, Target(route="other", id="j-1"))).code == 200
        assert other.headers()["x-api-key"] == endpoint.key
        assert other.target() == "/documents/jobs/j-1"
        assert usual.received == 0


@BOTH
def test_nothing_is_sent_to_a_host_that_is_not_the_connections(send, monkeypatch):
    with serving() as usual, serving() as other:
        endpoint = endpoint_of(monkeypatch, vendor_with(), host=f"http://{usual.place}")
        with pytest.raises(RequestRejected, match="GET /x is for a host that is none of connection 'docs'"):
            send(endpoint, Request(path="/x", route="/x", host=f"http://{other.place}"))
        assert usual.received == other.received == 0


def test_a_users_own_call_has_the_key_at_a_routes_own_host(monkeypatch):
    with serving() as usual, serving() as other, serving() as foreign:
        route = replace(JOB, host=f"http://{other.place}")
        endpoint = endpoint_of(monkeypatch, vendor_with(host=f"http://{usual.place}", routes={"job": JOB, "other": route}))
        with HostSession(endpoint) as session:
            for server in (usual, other, foreign):
                session.post(f"http://{server.place}/submit")
        assert [server.headers().get("x-api-key") for server in (usual, other, foreign)] == [endpoint.key, endpoint.key, None]


@BOTH
def test_an_outage_names_the_host_that_did_not_answer(send, monkeypatch):
    with serving() as gone:
        place = gone.place
    service = vendor_with(routes={"job": JOB, "other": replace(JOB, host=f"http://{place}")})
    endpoint = endpoint_of(monkeypatch, service)
    with pytest.raises(ServiceUnavailable, match=rf"did not answer GET /documents/jobs/{{job_id}} at {place} \(conn"):
        send(endpoint, status_request(endpoint.service, Target(route="other", id="j-1")))


def test_a_redirect_below_another_prefix_is_compared_with_the_host_that_was_asked():
    service = vendor_with(prefixes=("/v1", "/v2"))
    asked = []

    def send(request):
        asked.append(request.prefix)
        headers = {"location": f"{OLD_US}/v2/x"}
        return response({}, 200 if request.prefix == "/v2" else 301, headers=headers, request=request)

    def flow():
        return (yield Request(path="/x", route="/x", host=OLD_US))

    assert run(with_prefix(flow(), PathPrefix(service, US, "/v1")), send).code == 200
    assert asked == ["/v1", "/v2"]
