"""Links to data: they are followed without the key, to known hosts, and never into the worker's own network."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import replace

import pytest

from airflow_provider_docstatus.exceptions import RequestRejected, ServiceUnavailable, UnexpectedReply
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.flows import run
from airflow_provider_docstatus.protocol.messages import Request
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.responses import raise_if_unavailable
from airflow_provider_docstatus.provider_info import form_settings
from airflow_provider_docstatus.services import AITRONOS, SERVICES, ResultRoute
from airflow_provider_docstatus.transport.sync import HostSession
from tests.certificates import Authority
from tests.conversations import response
from tests.transport.loopback import KEY, answer, ask, ask_by_aio, endpoint_of, serving, vendor_with

STORAGE = "files.example.com"
SIGNED = "/bucket/a%7Eb%2fc.json?X-Amz-Credential=AK%2F1&X-Amz-Signature=s1gnature%3D"
VENDOR = vendor_with(
    host="https://api.example.com",
    headers={"X-Api-Version": "1"},
    link_hosts=(STORAGE, "localhost", "*.storage.example.com"),
)
LOOPBACK = {"link_hosts": "127.0.0.0/8, ::1"}


def link(url: str) -> Request:
    return Request(path="", route="", link=url)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "storage")


@pytest.fixture(scope="module")
def context(authority):
    return authority.server_context(STORAGE)


@pytest.fixture
def storage(context, authority, monkeypatch):
    """Return a storage on loopback that has a public name."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    resolve_to("127.0.0.1", monkeypatch)
    with serving(context) as server:
        yield server


def resolve_to(address, monkeypatch):
    """Let every name lead to one address."""
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *arguments, **options: look_up(address, *arguments, **options))


def refusal_of(endpoint, url):
    with pytest.raises(RequestRejected) as caught:
        ask(endpoint, link(url))
    message = str(caught.value)
    assert "s1gnature" not in message
    assert KEY not in message
    assert caught.value.service == "made_up"
    return message


# -- what is sent --------------------------------------------------------------------------------------------------


def test_a_link_is_followed_as_it_is_and_without_the_key(storage, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {STORAGE} login somebody password s3cr3t\n")
    monkeypatch.setenv("NETRC", str(netrc))
    endpoint = endpoint_of(monkeypatch, VENDOR, LOOPBACK)
    storage.reply = answer(200, b'{"a": "b"}', "Set-Cookie: a=b; Path=/\r\nContent-Type: application/json\r\n")
    with HostSession(endpoint) as session:
        session.cookies.set("session", "mine", domain=STORAGE)
        for _ in range(2):
            got = session.ask(link(f"https://{STORAGE}:{storage.port}{SIGNED}"))
    assert (got.code, got.json(), got.headers["content-type"]) == (200, {"a": "b"}, "application/json")
    for head in storage.heads:
        first, *lines = head.split("\r\n")
        assert first == f"GET {SIGNED.replace('%2fc', '%2Fc')} HTTP/1.1"
        names = {line.partition(":")[0].lower() for line in lines}
        assert names <= {"host", "accept", "accept-encoding", "user-agent", "connection"}
    assert KEY not in "".join(storage.heads)
    assert len(storage.heads) == storage.connections == 2, "each link has a connection of its own, whose address is checked"


def test_a_redirect_of_a_link_is_not_followed(storage, monkeypatch):
    with serving() as elsewhere:
        storage.reply = answer(302, b"", f"Location: http://{elsewhere.place}/x?sig=s1gnature\r\n")
        endpoint = endpoint_of(monkeypatch, VENDOR, LOOPBACK)
        got = ask(endpoint, link(f"https://{STORAGE}:{storage.port}/x"))
    assert (got.code, elsewhere.connections) == (302, 0)


def test_a_links_reply_has_the_limits_of_every_reply(storage, monkeypatch):
    endpoint = endpoint_of(monkeypatch, VENDOR, {**LOOPBACK, "max_reply_bytes": 100})
    storage.reply = answer(200, b"x" * 200)
    got = ask(endpoint, link(f"https://{STORAGE}:{storage.port}/x"))
    assert (got.is_too_large, len(got.body)) == (True, 101)


def test_the_triggerer_follows_no_link(storage, monkeypatch):
    endpoint = endpoint_of(monkeypatch, VENDOR, LOOPBACK)
    with pytest.raises(RequestRejected, match=r"gave the link to files\.example\.com:\d+, which is followed on workers only"):
        ask_by_aio(endpoint, link(f"https://{STORAGE}:{storage.port}{SIGNED}"))
    assert storage.connections == 0


# -- where it leads ------------------------------------------------------------------------------------------------


def test_a_name_that_leads_to_loopback_is_refused_before_a_byte_is_sent(context, authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    resolve_to("127.0.0.1", monkeypatch)
    endpoint = endpoint_of(monkeypatch, VENDOR)
    with serving(context) as server:
        said = refusal_of(endpoint, f"https://{STORAGE}:{server.port}{SIGNED}")
        server.wait_for_a_connection()
    assert said == (
        f"Made-up gave a link to {STORAGE}, which leads to 127.0.0.1: not an address of the public internet, so it is not "
        "followed. If that is right, add the address or its network to link_hosts in the connection's extra ('docs')."
    )
    assert (server.connections, server.received) == (1, 0)


def test_localhost_is_refused_even_where_its_name_is_known(monkeypatch):
    endpoint = endpoint_of(monkeypatch, VENDOR)
    with serving() as server:
        assert "which leads to 127.0.0.1" in refusal_of(endpoint, f"https://localhost:{server.port}{SIGNED}")
        server.wait_for_a_connection()
    assert server.received == 0


def test_a_mapped_address_is_refused_as_well(monkeypatch):
    rules = endpoint_of(monkeypatch, VENDOR).link_rules
    for address in ("::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "fe80::1%eth0", "nonsense"):
        with pytest.raises(RequestRejected, match="not an address of the public internet"):
            rules.check_address(STORAGE, address)
    for address in ("52.216.1.1", "2600:1f00::1", "::ffff:52.216.1.1"):
        rules.check_address(STORAGE, address)


def test_an_address_that_the_connection_lists_may_be_followed(monkeypatch):
    rules = endpoint_of(monkeypatch, VENDOR, {"link_hosts": ["10.1.0.0/16"]}).link_rules
    rules.check_address(STORAGE, "10.1.2.3")
    rules.check_address(STORAGE, "::ffff:10.1.2.3")
    with pytest.raises(RequestRejected, match=r"leads to 10\.2\.0\.1"):
        rules.check_address(STORAGE, "10.2.0.1")
    assert rules.check("https://10.1.2.3/x") == "10.1.2.3"


@pytest.mark.parametrize(
    "url",
    [
        f"https://evil.example{SIGNED}",
        f"https://{STORAGE}.evil.example{SIGNED}",
        f"https://x.{STORAGE}{SIGNED}",
        f"https://storage.example.com{SIGNED}",
        f"https://52.216.1.1{SIGNED}",
        f"https://169.254.169.254{SIGNED}",
        f"https://[::1]{SIGNED}",
        f"https://2130706433{SIGNED}",
        f"https://0x7f.1{SIGNED}",
        "https://evil.example",
    ],
)
def test_a_host_that_is_not_known_is_refused_with_the_remedy(url, monkeypatch):
    said = refusal_of(endpoint_of(monkeypatch, VENDOR), url)
    host = url.removeprefix("https://").partition("/")[0]
    assert said == (
        f"Made-up gave a link to {host}, which is no host of its data that is known here, so it is not followed. If that is "
        "where its data is, add the host to link_hosts in the connection's extra ('docs')."
    )


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://{STORAGE}{SIGNED}",
        f"file:///etc/passwd?{SIGNED}",
        f"//{STORAGE}{SIGNED}",
        SIGNED,
        f"https:/{STORAGE}{SIGNED}",
        f"https://user:word@{STORAGE}{SIGNED}",
        f"https://{STORAGE}@evil.example{SIGNED}",
        f"https://{STORAGE}\\@evil.example{SIGNED}",
        f"https://{STORAGE}#@evil.example{SIGNED}",
        f"https://{STORAGE}:{SIGNED}",
        f"https://{STORAGE}:0{SIGNED}",
        f"https://{STORAGE}:65536{SIGNED}",
        f"https://{STORAGE}:80:81{SIGNED}",
        f"https://a..b{SIGNED}",
        f"https://[::1%25lo]{SIGNED}",
        f"https://[1::2::3]{SIGNED}",
        f"https://[127.0.0.1]{SIGNED}",
        f"https://{STORAGE}{SIGNED} HTTP/1.1\r\nHost: evil.example",
        f"https://{STORAGE}/\u00e9{SIGNED}",
        f" https://{STORAGE}{SIGNED}",
        f"https://{STORAGE}{SIGNED}\n",
    ],
)
def test_what_is_no_plain_url_is_refused(url, monkeypatch):
    said = refusal_of(endpoint_of(monkeypatch, VENDOR, {"link_hosts": "127.0.0.1, ::1"}), url)
    assert said == "Made-up gave a link that is no plain https URL, so it is not followed."


def test_a_known_host_is_not_followed_by_plain_http(monkeypatch):
    said = refusal_of(endpoint_of(monkeypatch, VENDOR), f"http://{STORAGE}{SIGNED}")
    assert said == (
        f"Made-up gave a link to {STORAGE} by plain http, which only the connection's own host may use, so it is not followed."
    )


@pytest.mark.parametrize("allowed", [True, False])
def test_a_link_at_the_connections_own_host_may_use_http_and_lead_anywhere(allowed, monkeypatch):
    with serving() as server, serving() as other:
        endpoint = endpoint_of(monkeypatch, VENDOR, {"link_hosts": "127.0.0.1"} if allowed else {}, host=f"http://{server.place}")
        assert ask(endpoint, link(f"http://{server.place}/files/1?sig=2")).json() == {}
        assert "not followed" in refusal_of(endpoint, f"http://{other.place}{SIGNED}")
    assert server.target() == "/files/1?sig=2"
    assert not {"x-api-key", "x-api-version"} & server.headers().keys()
    assert other.connections == 0


# -- the settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["a.example.com,b.example.com", " a.example.com  b.example.com, ", ["a.example.com", "b.example.com"]], ids=str
)
def test_a_connection_adds_hosts_of_links(given, monkeypatch):
    hosts = endpoint_of(monkeypatch, VENDOR, {"link_hosts": given}).link_hosts
    assert all(hosts.match(host) for host in ("a.example.com", "b.example.com", STORAGE))
    assert not hosts.match("c.example.com")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("https://a.example.com", "link_hosts: 'https://a.example.com' is no host"),
        ("*", "link_hosts: '*' is no host"),
        (["a.example.com", 7], "link_hosts must be host names separated by commas, or a list of them"),
        ({"a.example.com": 1}, "link_hosts must be host names"),
        (7, "link_hosts must be host names"),
    ],
    ids=str,
)
def test_what_is_no_list_of_hosts_is_refused(given, said, monkeypatch):
    with pytest.raises(RequestRejected) as caught:
        endpoint_of(monkeypatch, VENDOR, {"link_hosts": given})
    assert said in str(caught.value)


def test_only_the_form_of_a_service_with_links_has_the_setting():
    assert "link_hosts" in form_settings(SERVICES["datalab"]), "whose pages do not say where its links lead to"
    assert "link_hosts" not in form_settings(AITRONOS)


# -- what may come of it -------------------------------------------------------------------------------------------

S3 = b"<Error><Code>SignatureDoesNotMatch</Code><SignatureProvided>s1gnature</SignatureProvided></Error>"
XML = "Content-Type: application/xml\r\n"


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_storage_that_is_unavailable_is_named_without_its_words(code, storage, monkeypatch):
    storage.reply = answer(code, S3, XML)
    got = ask(endpoint_of(monkeypatch, VENDOR, LOOPBACK), link(f"https://{STORAGE}:{storage.port}{SIGNED}"))
    with pytest.raises(ServiceUnavailable) as caught:
        raise_if_unavailable(VENDOR, got)
    assert str(caught.value) == f"Made-up answered the link to {STORAGE}:{storage.port} with {code}"


def test_a_storage_that_does_not_answer_is_named_without_the_signature(storage, monkeypatch):
    endpoint = endpoint_of(monkeypatch, VENDOR, LOOPBACK)
    storage.reply = b""  # it hangs up
    with pytest.raises(ServiceUnavailable) as caught:
        ask(endpoint, link(f"https://{STORAGE}:{storage.port}{SIGNED}"))
    assert str(caught.value) == f"Made-up did not answer the link to {STORAGE}:{storage.port} (it broke off)."


@pytest.mark.parametrize("hangs_up", [False, True])
def test_no_librarys_debug_line_shows_the_signature(hangs_up, storage, monkeypatch, caplog):
    endpoint = endpoint_of(monkeypatch, VENDOR, LOOPBACK)
    storage.reply = b"" if hangs_up else answer(200, b"{}")
    caplog.set_level("DEBUG")
    with suppress(ServiceUnavailable):
        ask(endpoint, link(f"https://{STORAGE}:{storage.port}{SIGNED}"))
    assert STORAGE in caplog.text
    assert "s1gnature" not in caplog.text
    assert "AK%2F1" not in caplog.text


def test_a_certificate_of_another_host_is_not_trusted(storage, monkeypatch):
    endpoint = endpoint_of(monkeypatch, VENDOR, LOOPBACK)
    with pytest.raises(ServiceUnavailable, match="its certificate is not trusted"):
        ask(endpoint, link(f"https://x.storage.example.com:{storage.port}{SIGNED}"))
    assert storage.heads == []


def test_a_storage_that_is_too_busy_does_not_pause_the_service(storage, monkeypatch):
    endpoint_of(monkeypatch, VENDOR)
    storage.reply = answer(503, S3, f"{XML}Retry-After: 30\r\n")
    connection = {"conn_type": "made_up", "password": KEY, "extra": LOOPBACK}
    monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps(connection))
    hook = DocStatusHook("vendor", retries=1, sleep=lambda _: None)
    with pytest.raises(ServiceUnavailable) as caught:
        hook.send(link(f"https://{STORAGE}:{storage.port}{SIGNED}"))
    assert caught.value.retry_after == 30.0
    assert hook.limiter.paused_until == 0.0
    assert len(storage.heads) == 2, "it is asked again like the service itself"


LINKING = vendor_with(
    link_hosts=(STORAGE,),
    routes={"job": replace(AITRONOS.routes["job"], result=ResultRoute(path="/documents/jobs/{id}", link=("result_url",)))},
)


@pytest.fixture
def data_of(storage, monkeypatch):
    """Return a function that fetches a job's data: each reply about the job has a new link; the storage answers in turn."""

    def fetch(*replies):
        told, served = iter(range(1, 10)), iter(replies)
        with serving() as api:
            links = (f"https://{STORAGE}:{storage.port}/{number}?sig=s1gnature" for number in told)
            about = ({"job_id": "j-1", "status": "completed", "result_url": one} for one in links)
            api.reply = lambda _head: answer(200, json.dumps(next(about)).encode())
            storage.reply = lambda _head: next(served)
            endpoint_of(monkeypatch, LINKING)
            connection = {"conn_type": "made_up", "host": f"http://{api.place}", "password": KEY, "extra": LOOPBACK}
            monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps(connection))
            hook = DocStatusHook("vendor", retries=0)
            try:
                return hook.get_result(job_id="j-1")
            finally:
                hook.get_conn().close()

    return fetch


MARKDOWN = "# Title\n\n" + "é" * 300_000


@pytest.mark.parametrize(
    ("body", "kind", "data"),
    [
        (b'{"pages": [1]}', "application/json", {"pages": [1]}),
        (b'{"pages": [1]}', "binary/octet-stream", {"pages": [1]}),
        (MARKDOWN.encode(), "text/markdown", MARKDOWN),
        (b"PK\x03\x04", "application/zip", b"PK\x03\x04"),
    ],
    ids=["json", "json by another name", "long text", "bytes"],
)
def test_the_data_behind_a_link_is_returned_whole(body, kind, data, data_of, storage):
    assert data_of(answer(200, body, f"Content-Type: {kind}\r\n")) == data
    assert KEY not in "".join(storage.heads)


def test_an_expired_link_is_asked_for_anew(data_of, storage):
    assert data_of(answer(403, S3, XML), answer(200, b'{"a": 1}')) == {"a": 1}
    assert [head.split(" ")[1] for head in storage.heads] == ["/1?sig=s1gnature", "/2?sig=s1gnature"]


@pytest.mark.parametrize("reply", [answer(403, S3, XML), answer(302, S3, f"{XML}Location: https://evil.example/\r\n")])
def test_a_link_that_is_refused_again_is_an_error_without_the_storages_words(reply, data_of):
    with pytest.raises(UnexpectedReply, match=r"was refused with (403|302)") as caught:
        data_of(reply, reply)
    assert "s1gnature" not in str(caught.value)


def test_a_link_has_no_path_prefix_and_no_other_one_is_tried():
    sent = []

    def send(request):
        sent.append(request)
        return response({"detail": "Not Found"}, 404, request=request)

    def flow():
        return (yield link(f"https://{STORAGE}{SIGNED}"))

    run(with_prefix(flow(), PathPrefix(vendor_with(prefixes=("/v1", "/v2")), "https://api.example.com", "/v1")), send)
    assert sent == [link(f"https://{STORAGE}{SIGNED}")]


@pytest.mark.parametrize(
    ("url", "label"),
    [
        (f"https://{STORAGE}{SIGNED}", f"the link to {STORAGE}"),
        (f"https://{STORAGE}?sig=s1gnature", f"the link to {STORAGE}"),
        (f"https://{STORAGE}:8443", f"the link to {STORAGE}:8443"),
        (f"http://[::1]{SIGNED}", "the link to [::1]"),
        ("https://user:s1gnature@files.example.com/", "the link to an odd place"),
        ("s1gnature", "the link to an odd place"),
    ],
)
def test_a_label_names_the_host_of_a_link_and_nothing_that_may_be_secret(url, label):
    assert link(url).label == label
    assert Request(path="/x", route="/x", json={"a": 1}, link=url).method == "GET"
    raise_if_unavailable(VENDOR, response({}, request=link(url)))
