"""Proxies and private certificate authorities: the worker's and the triggerer's way go through the same door."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_docstatus.exceptions import DocStatusError, RequestRejected, ServiceUnavailable
from airflow_provider_docstatus.protocol.messages import Request
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing import StandInVendors
from tests.certificates import Authority
from tests.transport.loopback import ask, endpoint_of, serving, vendor_with
from tests.two_paths import Observation, ask_in_the_triggerer, ask_on_the_worker, connect

if TYPE_CHECKING:
    from collections.abc import Iterator


# -- a forward proxy -------------------------------------------------------------------------------------------------


class Proxy(socketserver.ThreadingTCPServer):
    """A forward proxy on loopback that speaks CONNECT and plain requests, and notes what it was asked for."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Passage)
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.password: str | None = None
        self.header = b""

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Passage(socketserver.BaseRequestHandler):
    server: Proxy
    request: socket.socket

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.request.recv(65536)
            if not piece:
                return
            head += piece
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        self.server.asked.append(f"{method} {target}")
        self.server.heads.append(head.decode())
        wanted = base64.b64encode((self.server.password or "").encode()).decode()
        if self.server.password and f"proxy-authorization: basic {wanted}".lower() not in head.decode().lower():
            self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        place = urlsplit(f"//{target}" if method == "CONNECT" else target)
        with socket.create_connection((place.hostname or "", place.port or 80)) as onward, suppress(OSError):
            if method == "CONNECT":
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n" + self.server.header + b"\r\n")
            else:
                onward.sendall(head.replace(target.encode(), place.path.encode(), 1))
            self._relay(onward)

    def _relay(self, onward: socket.socket) -> None:
        other = {self.request: onward, onward: self.request}
        while True:
            for ready in select.select(list(other), [], [], 5)[0]:
                piece = ready.recv(65536)
                if not piece:
                    return
                other[ready].sendall(piece)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


# -- a private certificate authority ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "private")


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other-ca"), "other")


@pytest.fixture
def secure_vendors(authority: Authority) -> Iterator[StandInVendors]:
    with StandInVendors(ssl_context=authority.server_context("127.0.0.1")) as vendors:
        yield vendors


@pytest.fixture
def vendors() -> Iterator[StandInVendors]:
    with StandInVendors() as vendors:
        yield vendors


# -- asking on both paths --------------------------------------------------------------------------------------------


def ask_on_both(
    monkeypatch: pytest.MonkeyPatch,
    vendors: StandInVendors,
    *,
    environment: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
) -> list[Observation]:
    """Return what worker and triggerer see of a finished job, under environment variables and connection settings."""
    for name, value in (environment or {}).items():
        monkeypatch.setenv(name, str(value))
    connect(monkeypatch, vendors, "aitronos", {"extra": {"request_timeout": 5, **(extra or {})}})
    target = Target(route="job", id=vendors.add_job("aitronos", seconds=0))
    return [ask_on_the_worker(target), ask_in_the_triggerer("aitronos", target)]


def all_succeeded(observations: list[Observation]) -> bool:
    for observation in observations:
        assert isinstance(observation, DocumentStatus), observation
        assert observation.state is State.SUCCEEDED
    return True


def the_one_error(observations: list[Observation]) -> DocStatusError:
    one, other = observations
    assert isinstance(one, DocStatusError), one
    assert isinstance(other, DocStatusError), other
    assert (type(one), str(one)) == (type(other), str(other))
    return one


# -- an answer that does not come to an end ---------------------------------------------------------------------------


class Dripping(socketserver.ThreadingTCPServer):
    """A server on loopback whose answers do not come to an end."""

    daemon_threads = True

    def __init__(self, head: bytes, piece: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Drip)
        self.head, self.piece = head, piece


class _Drip(socketserver.BaseRequestHandler):
    """Send the body of an answer byte by byte until it is hung up, each of them well before a socket's time-out."""

    server: Dripping
    request: socket.socket

    def handle(self) -> None:
        self.request.recv(65536)
        with suppress(OSError):
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + self.server.head + b"\r\n")
            until = time.monotonic() + 20
            while time.monotonic() < until:
                self.request.sendall(self.server.piece)
                time.sleep(0.005)


@pytest.mark.parametrize(
    ("head", "piece"),
    [(b"Content-Length: 9999\r\n", b" "), (b"Transfer-Encoding: chunked\r\n", b"1\r\n \r\n"), (b"", b" ")],
    ids=["of known length", "in chunks", "until it hangs up"],
)
def test_an_answer_that_drips_takes_no_longer_than_the_time_out(
    vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, head: bytes, piece: bytes
) -> None:
    with Dripping(head, piece) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        fields = {"host": f"http://127.0.0.1:{server.server_address[1]}", "extra": {"request_timeout": 0.1}}
        connect(monkeypatch, vendors, "aitronos", fields)
        began, target = time.monotonic(), Target(route="job", id="job")
        told = ask_on_the_worker(target)
        assert time.monotonic() - began < 5
        error = the_one_error([told, ask_in_the_triggerer("aitronos", target)])
        server.shutdown()
        thread.join()
    assert isinstance(error, ServiceUnavailable)
    assert "(timed out)" in str(error)


# -- proxies ---------------------------------------------------------------------------------------------------------

PROXIES: dict[str, Any] = {
    "http by HTTP_PROXY": ("http", {"HTTP_PROXY": "http://PROXY"}, {}, True),
    "http by http_proxy": ("http", {"http_proxy": "http://PROXY"}, {}, True),
    "http by ALL_PROXY": ("http", {"ALL_PROXY": "http://PROXY"}, {}, True),
    "http by the connection": ("http", {}, {"proxy": "http://PROXY"}, True),
    "http not by HTTPS_PROXY": ("http", {"HTTPS_PROXY": "http://PROXY"}, {}, False),
    "http not against NO_PROXY": ("http", {"HTTP_PROXY": "http://PROXY", "NO_PROXY": "example.com,127.0.0.1"}, {}, False),
    "https by HTTPS_PROXY": ("https", {"HTTPS_PROXY": "http://PROXY"}, {}, True),
    "https by https_proxy": ("https", {"https_proxy": "http://PROXY"}, {}, True),
    "https by the connection": ("https", {}, {"proxy": "http://PROXY"}, True),
    "https not by HTTP_PROXY": ("https", {"HTTP_PROXY": "http://PROXY"}, {}, False),
    "https not against NO_PROXY": ("https", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "127.0.0.0/8"}, {}, False),
    "NO_PROXY is for other hosts": ("https", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "example.com"}, {}, True),
    "the connection before the environment": ("https", {"HTTPS_PROXY": "http://127.0.0.1:1"}, {"proxy": "http://PROXY"}, True),
    "the connection before NO_PROXY": ("https", {"NO_PROXY": "*"}, {"proxy": "http://PROXY"}, True),
    "without a scheme, in the environment": ("https", {"HTTPS_PROXY": "PROXY"}, {}, True),
    "without a scheme, in the connection": ("https", {}, {"proxy": "PROXY"}, True),
}


@pytest.mark.parametrize(("scheme", "environment", "extra", "is_used"), PROXIES.values(), ids=PROXIES)
def test_both_paths_ask_for(
    *,
    scheme: str,
    environment: dict[str, str],
    extra: dict[str, str],
    is_used: bool,
    proxy: Proxy,
    vendors: StandInVendors,
    secure_vendors: StandInVendors,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = vendors if scheme == "http" else secure_vendors
    observations = ask_on_both(
        monkeypatch,
        asked,
        environment={name: value.replace("PROXY", proxy.place) for name, value in environment.items()},
        extra={"ca_bundle": str(authority.file), **{key: value.replace("PROXY", proxy.place) for key, value in extra.items()}},
    )
    assert all_succeeded(observations)
    path = asked.requests[0].path
    through = f"GET {asked.url}{path}" if scheme == "http" else f"CONNECT 127.0.0.1:{asked.port}"
    assert proxy.asked == ([through] * 2 if is_used else [])
    assert len(asked.requests) == 2
    if scheme == "https":
        assert "ak_stand_in" not in "".join(proxy.heads)


def test_a_link_goes_through_the_proxy_which_looks_its_name_up(
    proxy: Proxy, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address at the other end is the proxy's. A host that is not known is refused all the same, and so is an address."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.place}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    with serving(authority.server_context("localhost")) as storage:
        endpoint = endpoint_of(monkeypatch, vendor_with(link_hosts=("localhost",)), host="https://api.example.com")
        url = f"https://localhost:{storage.port}/x?sig=1"
        assert ask(endpoint, Request(path="", route="", link=url)).code == 200
        assert proxy.asked == [f"CONNECT localhost:{storage.port}"]
        assert storage.target() == "/x?sig=1"
        for place in (f"127.0.0.1:{storage.port}", "other.example.com"):
            with pytest.raises(RequestRejected, match="which is no host of its data that is known here"):
                ask(endpoint, Request(path="", route="", link=f"https://{place}/x?sig=1"))
        assert len(proxy.asked) == 1
    assert "ak_" not in "".join(proxy.heads)
    assert endpoint.key not in "".join((*proxy.heads, *storage.heads))


def test_a_proxys_user_and_password_go_to_the_proxy_only(
    proxy: Proxy, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.password = "somebody:s3cr3t"
    assert all_succeeded(ask_on_both(monkeypatch, vendors, extra={"proxy": f"http://somebody:s3cr3t@{proxy.place}"}))
    assert len(proxy.asked) == 2


def test_a_proxy_may_send_a_long_header_when_it_has_connected(
    proxy: Proxy, secure_vendors: StandInVendors, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.header = b"X-Padding: ".ljust(60_000, b"x") + b"\r\n"
    extra = {"proxy": f"http://{proxy.place}", "ca_bundle": str(authority.file)}
    assert all_succeeded(ask_on_both(monkeypatch, secure_vendors, extra=extra))
    assert len(proxy.asked) == 2


def test_a_proxy_that_sends_too_long_a_header_is_an_outage(
    proxy: Proxy, secure_vendors: StandInVendors, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the service that answered."""
    proxy.header = b"X-Padding: ".ljust(70_000, b"x") + b"\r\n"
    extra = {"proxy": f"http://{proxy.place}", "ca_bundle": str(authority.file)}
    assert type(the_one_error(ask_on_both(monkeypatch, secure_vendors, extra=extra))) is ServiceUnavailable


REFUSALS = {
    "nobody listens": ("http://127.0.0.1:1", "the proxy did not let it through: connection refused"),
    "it wants a password": ("http://PROXY", "the proxy did not let it through"),
    "it does not take this one": ("http://somebody:wrong@PROXY", "the proxy did not let it through"),
}


@pytest.mark.parametrize(("place", "text"), REFUSALS.values(), ids=REFUSALS)
def test_a_proxy_that_does_not_let_us_through_is_named_without_its_password(
    *,
    place: str,
    text: str,
    proxy: Proxy,
    secure_vendors: StandInVendors,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy.password = "somebody:s3cr3t"
    observations = ask_on_both(
        monkeypatch,
        secure_vendors,
        extra={"proxy": place.replace("PROXY", proxy.place), "ca_bundle": str(authority.file)},
    )
    error = the_one_error(observations)
    assert isinstance(error, ServiceUnavailable)
    assert text in str(error)
    assert "wrong" not in str(error)
    assert "somebody" not in str(error)
    assert secure_vendors.requests == []


@pytest.mark.parametrize("place", ["socks5://127.0.0.1:1080", "ftp://127.0.0.1", "http://", "http://[::1", "http://a:x"])
def test_what_is_no_http_proxy_is_refused_with_the_remedy(
    place: str, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = the_one_error(ask_on_both(monkeypatch, vendors, extra={"proxy": place}))
    assert isinstance(error, RequestRejected)
    assert "the proxy must be an http or https URL, such as http://proxy.example.com:3128" in str(error)
    assert vendors.requests == []


@pytest.mark.parametrize("place", ["socks5://127.0.0.1:1080", "ftp://127.0.0.1"])
def test_the_triggerer_refuses_an_environments_proxy_that_it_cannot_speak_to(
    place: str, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, error = ask_on_both(monkeypatch, vendors, environment={"HTTP_PROXY": place})
    assert isinstance(error, RequestRejected)
    assert "the proxy must be an http or https URL" in str(error)


# -- certificates ----------------------------------------------------------------------------------------------------

SOURCES: dict[str, Any] = {
    "REQUESTS_CA_BUNDLE": ({"REQUESTS_CA_BUNDLE": "CA"}, {}),
    "CURL_CA_BUNDLE": ({"CURL_CA_BUNDLE": "CA"}, {}),
    "SSL_CERT_FILE": ({"SSL_CERT_FILE": "CA"}, {}),
    "the connection": ({}, {"ca_bundle": "CA"}),
    "the connection before the environment": ({"REQUESTS_CA_BUNDLE": "OTHER"}, {"ca_bundle": "CA"}),
    "REQUESTS_CA_BUNDLE before SSL_CERT_FILE": ({"REQUESTS_CA_BUNDLE": "CA", "SSL_CERT_FILE": "OTHER"}, {}),
    "a folder": ({"REQUESTS_CA_BUNDLE": "FOLDER"}, {}),
}


@pytest.mark.parametrize(("environment", "extra"), SOURCES.values(), ids=SOURCES)
def test_a_private_authority_is_trusted_by(
    *,
    environment: dict[str, str],
    extra: dict[str, str],
    secure_vendors: StandInVendors,
    authority: Authority,
    other_authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"CA": str(authority.file), "OTHER": str(other_authority.file), "FOLDER": str(tmp_path)}
    if "FOLDER" in environment.values():  # files in it are found by the hash of the name, as c_rehash writes it
        (tmp_path / f"{_name_hash(authority.file)}.0").write_bytes(authority.file.read_bytes())
    observations = ask_on_both(
        monkeypatch,
        secure_vendors,
        environment={name: files[value] for name, value in environment.items()},
        extra={name: files[value] for name, value in extra.items()},
    )
    assert all_succeeded(observations)


def _name_hash(file: Path) -> str:
    found = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", file], capture_output=True, text=True, check=False)
    return found.stdout.strip() or pytest.skip("needs the openssl command")


def test_a_certificate_of_a_private_authority_is_refused_without_it(
    secure_vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = the_one_error(ask_on_both(monkeypatch, secure_vendors))
    assert isinstance(error, ServiceUnavailable)
    assert "(its certificate is not trusted; for a private CA set ca_bundle in the connection's extra, or" in str(error)
    assert secure_vendors.requests == []


def test_a_certificate_of_another_host_is_refused(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with StandInVendors(ssl_context=authority.server_context("vendor.example.com")) as vendors:
        error = the_one_error(ask_on_both(monkeypatch, vendors, extra={"ca_bundle": str(authority.file)}))
    assert isinstance(error, ServiceUnavailable)
    assert "its certificate is not trusted" in str(error)
    assert vendors.requests == []


def test_a_private_authority_works_through_a_proxy_and_is_needed_there(
    proxy: Proxy, secure_vendors: StandInVendors, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"HTTPS_PROXY": f"http://{proxy.place}"}
    error = the_one_error(ask_on_both(monkeypatch, secure_vendors, environment=environment))
    assert "its certificate is not trusted" in str(error)
    assert all_succeeded(ask_on_both(monkeypatch, secure_vendors, environment={**environment, "SSL_CERT_FILE": authority.file}))
    assert len(proxy.asked) == 4


@pytest.mark.parametrize("source", ["environment", "connection"])
@pytest.mark.parametrize(
    "content",
    [None, "", "no certificate"],
    ids=["not there", "empty", "no certificate"],
)
def test_a_file_that_holds_no_certificates_is_named(
    content: str | None, source: str, tmp_path: Path, secure_vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    if source == "environment":
        observations = ask_on_both(monkeypatch, secure_vendors, environment={"SSL_CERT_FILE": file})
    else:
        observations = ask_on_both(monkeypatch, secure_vendors, extra={"ca_bundle": str(file)})
    error = the_one_error(observations)
    assert isinstance(error, RequestRejected)
    assert str(file) in str(error)
