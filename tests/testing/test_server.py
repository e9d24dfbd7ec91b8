"""The server's own promises: connections, records, faults and limits."""

from __future__ import annotations

import json
import math
import ssl
import time
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
import requests

from airflow_provider_docstatus import testing
from airflow_provider_docstatus.testing import Job, StandInVendors

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_docstatus.testing.jobs import Service

AITRONOS = {"X-API-Key": "ak_stand_in"}
UNSILOED = {"api-key": "us_stand_in"}
NEUROLINKER = {"Authorization": "Bearer nl_stand_in"}


def ask(vendors: StandInVendors, headers: dict[str, str] = AITRONOS) -> requests.Response:
    """Ask for an Aitronos job."""
    return requests.get(f"{vendors.url}/v1/documents/jobs/job_1", headers=headers, timeout=5)


def test_only_public_names_can_be_imported() -> None:
    """The package imports its server at first use and knows no other name."""
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        testing.Server  # noqa: B018 (the look-up is the test)


def test_connections_are_ready_for_airflow(vendors: StandInVendors) -> None:
    """The environment holds the same connections as JSON."""
    fields = {"conn_type": "aitronos", "host": vendors.url, "password": "ak_stand_in"}
    assert vendors.connections()["aitronos_default"] == fields
    assert json.loads(vendors.environment()["AIRFLOW_CONN_AITRONOS_DEFAULT"]) == fields


def test_the_port_and_the_jobs_survive_a_restart(vendors: StandInVendors) -> None:
    """A vendor that was down comes back knowing its jobs."""
    vendors.add_job("aitronos", job_id="job_1")
    vendors.stop()
    with pytest.raises(requests.ConnectionError):
        ask(vendors)
    vendors.start()
    assert ask(vendors).json()["status"] == "completed"


def test_a_taken_port_is_an_error(vendors: StandInVendors) -> None:
    """Starting does not hang, and does not pretend."""
    with pytest.raises(OSError, match="in use"):
        StandInVendors(port=vendors.port).start()


def test_every_request_is_recorded(vendors: StandInVendors) -> None:
    """Requests on one connection share its address."""
    with requests.Session() as session:
        session.get(f"{vendors.url}/extract/1?x=y", headers=UNSILOED, timeout=5)
        session.get(f"{vendors.url}/extract/1", timeout=5)
    requests.get(f"{vendors.url}/nowhere", timeout=5)
    first, second, third = vendors.requests
    assert (first.method, first.path, first.query, first.status) == ("GET", "/extract/1", {"x": "y"}, 404)
    assert (first.service, first.key_ok, second.status, second.key_ok) == ("unsiloed", True, 401, False)
    assert (third.service, third.key_ok, third.status) == (None, None, 404)
    assert first.headers["api-key"] == "us_stand_in"
    assert first.connection == second.connection != third.connection
    assert vendors.connections_opened == 2


def test_an_unknown_path_and_a_wrong_method_are_answered_as_fastapi_does(vendors: StandInVendors) -> None:
    """The design tells an unknown route from an unknown id by this body."""
    assert requests.get(f"{vendors.url}/nowhere", timeout=5).json() == {"detail": "Not Found"}
    answer = requests.delete(f"{vendors.url}/jobs", headers=UNSILOED, timeout=5)
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})


def test_latency_slows_every_answer(vendors: StandInVendors) -> None:
    """It can be changed while the server runs."""
    vendors.latency = 0.05
    begin = time.monotonic()
    ask(vendors)
    assert time.monotonic() - begin >= 0.05


def test_it_can_speak_tls(tmp_path: Path) -> None:
    """The URL becomes https; the certificate is the caller's."""
    certificate = _self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with StandInVendors(ssl_context=context) as vendors:
        answer = requests.get(f"{vendors.url}/jobs/1", headers=UNSILOED, timeout=5, verify=str(certificate))
    assert vendors.url.startswith("https://127.0.0.1:")
    assert answer.status_code == 404


def _self_signed(folder: Path) -> Path:
    """Write a key and its certificate for the loopback address into one file."""
    x509 = pytest.importorskip("cryptography.x509")  # Airflow brings it
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(tz=timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "loopback.pem"
    path.write_bytes(private + builder.add_extension(address, critical=False).sign(key, hashes.SHA256()).public_bytes(pem))
    return path


class TestJobs:
    """Jobs made without submitting anything."""

    @pytest.mark.parametrize(
        ("service", "kind", "ends", "message"),
        [
            ("aitronos", "extract", "completed", "aitronos has no 'extract'; it has job"),
            ("aitronos", "job", "review", "a aitronos job does not end 'review'"),
            ("unsiloed", "parse", "waiting", "does not end 'waiting'"),
        ],
    )
    def test_what_the_vendor_has_no_word_for_is_refused(self, service: Service, kind: str, ends: str, message: str) -> None:
        """A mistyped test setup fails at once."""
        with pytest.raises(ValueError, match=message):
            StandInVendors().add_job(service, kind, ends=ends)

    def test_documents_of_a_request_are_told_by_their_ends_and_not_by_their_names(self) -> None:
        """A file's name in the place of an end would else break each later answer."""
        with pytest.raises(ValueError, match=r"a neurolinker document does not end 'a\.pdf'"):
            StandInVendors().add_job("neurolinker", "request", documents=["completed", "a.pdf"])

    def test_a_word_and_fields_can_be_answered_as_they_stand(self, vendors: StandInVendors) -> None:
        """For words no page documents, and answers that contradict themselves."""
        vendors.add_job("aitronos", job_id="job_1", word="archived", reply={"success": False, "more": 1})
        body = ask(vendors).json()
        assert (body["status"], body["success"], body["more"]) == ("archived", False, 1)

    def test_a_job_can_be_hidden_finished_and_forgotten(self, vendors: StandInVendors) -> None:
        """A vendor may not know a new id yet, and no longer knows an old one."""
        vendors.add_job("aitronos", job_id="job_1", seconds=math.inf, hidden_seconds=60)
        assert ask(vendors).status_code == 404
        vendors.jobs["job_1"].hidden_seconds = 0
        assert ask(vendors).json()["status"] == "processing"
        vendors.finish("job_1", "cancelled")
        assert ask(vendors).json()["status"] == "cancelled"
        vendors.forget("job_1")
        assert ask(vendors).status_code == 404

    def test_a_job_made_in_the_past_is_over(self, vendors: StandInVendors) -> None:
        """``created_at`` makes an old job without waiting."""
        vendors.add_job("aitronos", job_id="job_1", seconds=100, created_at=time.time() - 50)
        assert ask(vendors).json()["status"] == "processing"

    def test_a_request_is_made_of_documents(self) -> None:
        """Documents are given as a number, as endings, or as jobs."""
        vendors = StandInVendors()
        partial = vendors.jobs[vendors.add_job("neurolinker", ends="partial", documents=3, seconds=0)]
        assert [document.ends for document in partial.documents] == ["completed", "completed", "failed"]
        slow = Job("neurolinker", "document", seconds=9)
        mixed = vendors.jobs[vendors.add_job("neurolinker", documents=["failed", slow], job_id="r")]
        assert mixed.job_id == "r"
        assert [document.seconds for document in mixed.documents] == [2.0, 9]
        alone = vendors.jobs[vendors.add_job("neurolinker", "document", file_name="a.pdf")]
        assert vendors.jobs[alone.parent].documents == [alone]


class TestFaults:
    """Answers no vendor should give."""

    def test_a_fault_is_used_up_and_then_the_truth_returns(self, vendors: StandInVendors) -> None:
        """The returned fault counts down."""
        vendors.add_job("aitronos", job_id="job_1")
        fault = vendors.answer_next(503, body="busy", headers={"Retry-After": "7"}, times=2, path="/jobs/")
        requests.get(f"{vendors.url}/extract/1", headers=UNSILOED, timeout=5)
        answers = [ask(vendors) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [503, 503, 200]
        assert (answers[0].text, answers[0].headers["Retry-After"]) == ("busy", "7")
        assert fault.times == 0

    @pytest.mark.parametrize(
        ("body", "content_type", "answered"),
        [
            ("<html>", "text/html", "text/html"),
            ("text", None, "text/plain"),
            (b"\xff", None, "text/plain"),
            ({"a": 1}, None, "application/json"),
        ],
    )
    def test_a_body_is_sent_as_it_stands_or_as_json(
        self, vendors: StandInVendors, body: object, content_type: str | None, answered: str
    ) -> None:
        """The type can be claimed."""
        vendors.answer_next(200, body=body, content_type=content_type)
        answer = ask(vendors)
        assert answer.headers["Content-Type"] == answered
        assert answer.content == (body if isinstance(body, bytes) else answer.content)

    def test_a_redirect_names_its_place(self, vendors: StandInVendors) -> None:
        """A redirect code other than 302 can be asked for."""
        for status, answered in ((503, 302), (307, 307)):
            vendors.answer_next(status, redirect_to="https://elsewhere.example/")
            answer = requests.get(f"{vendors.url}/parse/1", timeout=5, allow_redirects=False)
            assert (answer.status_code, answer.headers["Location"]) == (
                answered,
                "https://elsewhere.example/",
            )

    def test_text_and_bytes_alike_can_be_cut_off_under_any_status(self, vendors: StandInVendors) -> None:
        """The given body is the half that arrives."""
        vendors.answer_next(500, body=b"half", cut_off=True)
        with requests.get(vendors.url, timeout=5, stream=True) as answer:
            assert (answer.status_code, answer.headers["Content-Length"]) == (500, "8")

    def test_a_connection_can_be_reset(self, vendors: StandInVendors) -> None:
        """The client sees a reset, not an empty answer; the record has no status."""
        vendors.answer_next(reset=True)
        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            ask(vendors)
        assert vendors.requests[0].status == 0

    def test_a_body_can_be_cut_off(self, vendors: StandInVendors) -> None:
        """Half of the promised body arrives."""
        vendors.answer_next(200, cut_off=True)
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            ask(vendors)

    def test_a_large_body_is_streamed(self, vendors: StandInVendors) -> None:
        """It is valid JSON of the asked size."""
        vendors.answer_next(200, megabytes=2)
        answer = ask(vendors)
        assert len(answer.json()["padding"]) == 2 * 1024 * 1024

    def test_a_slow_answer_can_be_a_true_one(self, vendors: StandInVendors) -> None:
        """Without a status the vendor answers after the delay."""
        vendors.add_job("aitronos", job_id="job_1")
        vendors.answer_next(None, delay=0.05)
        begin = time.monotonic()
        assert ask(vendors).json()["status"] == "completed"
        assert time.monotonic() - begin >= 0.05

    def test_faults_and_limits_can_be_called_off(self, vendors: StandInVendors) -> None:
        """Also one without end."""
        vendors.answer_next(times=math.inf)
        vendors.limit("aitronos", 0)
        assert ask(vendors).status_code == 503
        vendors.answer_truly()
        assert ask(vendors).status_code == 404


class TestLimits:
    """Each vendor refuses one request too many in its own words."""

    def test_a_limit_counts_a_sliding_window(self, vendors: StandInVendors) -> None:
        """``Retry-After`` is the time until the oldest request leaves the window."""
        limit = vendors.limit("aitronos", 2, window=0.1)
        assert [ask(vendors).status_code for _ in range(3)] == [404, 404, 429]
        assert limit.refused == 1
        time.sleep(0.1)
        assert ask(vendors).status_code == 404

    def test_a_limit_can_concern_some_paths_only(self, vendors: StandInVendors) -> None:
        """The vendor's other routes go on."""
        vendors.limit("unsiloed", 0, path="^/parse")
        assert requests.get(f"{vendors.url}/parse/1", headers=UNSILOED, timeout=5).status_code == 429
        assert requests.get(f"{vendors.url}/extract/1", headers=UNSILOED, timeout=5).status_code == 404

    def test_aitronos_tells_its_two_refusals_apart_by_code_and_header(self, vendors: StandInVendors) -> None:
        """Waiting helps against the first only."""
        vendors.limit("aitronos", 0, retry_after="7")
        rate = ask(vendors)
        assert (rate.status_code, rate.json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert (rate.headers["Retry-After"], rate.headers["X-RateLimit-Retry-After"]) == ("7", "7")
        assert (rate.headers["X-RateLimit-Limit"], rate.headers["X-RateLimit-Remaining"]) == ("0", "0")
        vendors.limit("aitronos", 0, reason="quota")
        spent = ask(vendors)
        assert (spent.status_code, spent.json()["error"]["code"]) == (429, "USAGE_LIMIT_EXCEEDED")
        assert "Retry-After" not in spent.headers

    @pytest.mark.parametrize(
        ("reason", "path", "status", "body"),
        [
            ("rate", "/parse/1", 429, "Rate limit exceeded"),
            ("quota", "/parse/1", 429, "Usage limit exceeded"),
            ("payment", "/parse/1", 402, "Insufficient quota — not enough page credits remaining."),
            ("rate", "/extract/1", 429, '{"detail": "Status check rate limit exceeded"}'),
        ],
    )
    def test_unsiloed_tells_its_refusals_apart_by_text(
        self, vendors: StandInVendors, reason: str, path: str, status: int, body: str
    ) -> None:
        """Bare text on the parse routes, FastAPI's envelope elsewhere."""
        vendors.limit("unsiloed", 0, reason=reason)  # type: ignore[arg-type]  # one of the three
        answer = requests.get(vendors.url + path, headers=UNSILOED, timeout=5)
        answer.encoding = "utf-8"
        assert (answer.status_code, answer.text) == (status, body)
        assert ("Retry-After" in answer.headers) == (reason == "rate")

    def test_unsiloed_names_the_used_up_quota(self, vendors: StandInVendors) -> None:
        """The detail is an object on all but the parse routes."""
        vendors.limit("unsiloed", 0, reason="payment")
        answer = requests.get(f"{vendors.url}/extract/1", headers=UNSILOED, timeout=5)
        assert (answer.status_code, answer.json()["detail"]["status"]) == (402, "QUOTA_EXCEEDED")

    def test_neurolinker_refuses_for_its_rate_or_for_missing_credits(self, vendors: StandInVendors) -> None:
        """Only the 402 is documented."""
        url = f"{vendors.url}/v1/tasks"
        vendors.limit("neurolinker", 0, retry_after=None)
        rate = requests.get(url, headers=NEUROLINKER, timeout=5)
        assert (rate.status_code, "Retry-After" in rate.headers) == (429, False)
        vendors.limit("neurolinker", 0, reason="payment")
        assert requests.get(url, headers=NEUROLINKER, timeout=5).json() == {"detail": "Not enough credits"}
