"""The same bytes, the same verdict: replies as bytes, through the worker's and the triggerer's HTTP client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_docstatus.exceptions import DocStatusError, ServiceUnavailable, UnexpectedReply
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting import wait as waits
from tests import framings
from tests.framings import BODY, LENGTH, RawServer, reply, sized
from tests.task_runs import MODES, hurry, no_reschedules_in_the_database, wait
from tests.two_paths import CONN_ID, Observation, ask_in_the_triggerer, ask_on_the_worker, connect, hear_in_the_triggerer

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = Target(route="job", id="job")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    server = RawServer()
    server.start()
    connect(monkeypatch, server, "aitronos", {"extra": {"request_timeout": 5}})
    yield server
    server.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    no_reschedules_in_the_database(monkeypatch)


def heard(server: RawServer, data: bytes, then: str = "keep", piece: int = 0) -> list[Observation]:
    """Return what worker and triggerer make of the same bytes."""
    server.data, server.then, server.piece = data, then, piece
    return [ask_on_the_worker(JOB), ask_in_the_triggerer("aitronos", JOB)]


def the_one_error(observations: list[Observation]) -> DocStatusError:
    one, other = observations
    assert isinstance(one, DocStatusError), one
    assert isinstance(other, DocStatusError), other
    assert (type(one), str(one)) == (type(other), str(other))
    return one


def assert_succeeded(observations: list[Observation]) -> None:
    for one in observations:
        assert isinstance(one, DocumentStatus), one
        assert one.state is State.SUCCEEDED


@pytest.mark.parametrize("data", framings.SOUND.values(), ids=framings.SOUND)
def test_both_paths_read(data: bytes, server: RawServer) -> None:
    assert_succeeded(heard(server, data))


@pytest.mark.parametrize("data", framings.ENDED.values(), ids=framings.ENDED)
def test_both_paths_read_to_the_end_of_the_connection(data: bytes, server: RawServer) -> None:
    assert_succeeded(heard(server, data, "close"))


@pytest.mark.parametrize(("data", "said"), framings.BROKEN.values(), ids=framings.BROKEN)
def test_to_both_paths_it_is_garbage(data: bytes, said: str, server: RawServer) -> None:
    """Also if the service then hangs up."""
    error = the_one_error(heard(server, data, "close" if len(data) % 2 else "keep"))
    assert type(error) is UnexpectedReply
    what = "Aitronos answered GET /v1/documents/jobs/{job_id} with what is no valid HTTP reply: "
    assert str(error).startswith(what + said)
    assert str(error).endswith("; is there a proxy in between, or is the host wrong?")


@pytest.mark.parametrize("data", framings.BADLY_ENCODED.values(), ids=framings.BADLY_ENCODED)
def test_to_both_paths_a_bad_encoding_is_garbage(data: bytes, server: RawServer) -> None:
    error = the_one_error(heard(server, data))
    assert type(error) is UnexpectedReply
    assert framings.BAD_ENCODING in str(error)


def test_to_both_paths_a_service_that_is_away_is_away_in_any_encoding(server: RawServer) -> None:
    error = the_one_error(heard(server, sized(b"Content-Encoding: gzip", start=b"HTTP/1.1 502 Bad Gateway")))
    assert type(error) is ServiceUnavailable
    assert str(error).endswith("with 502")


@pytest.mark.parametrize("data", framings.CUT_OFF.values(), ids=framings.CUT_OFF)
def test_to_both_paths_it_broke_off(data: bytes, server: RawServer) -> None:
    error = the_one_error(heard(server, data, "reset" if len(data) % 2 else "close"))
    assert type(error) is ServiceUnavailable
    assert str(error).endswith("(it broke off).")


@pytest.mark.parametrize("data", framings.BODILESS.values(), ids=framings.BODILESS)
def test_both_paths_do_not_wait_for_a_body_that_does_not_come(data: bytes, server: RawServer) -> None:
    assert type(the_one_error(heard(server, data))) is UnexpectedReply


@pytest.mark.parametrize(
    "data", [b"", framings.OK, reply(), reply(LENGTH, body=BODY[:9])], ids=["nothing", "head", "no length", "body"]
)
def test_both_paths_time_out_on_a_reply_that_stops(data: bytes, server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, server, "aitronos", {"extra": {"request_timeout": 0.1}})
    error = the_one_error(heard(server, data))
    assert type(error) is ServiceUnavailable
    assert str(error).endswith("(timed out).")


def test_both_paths_time_out_on_a_head_that_drips(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte starts a socket's time-out anew."""
    connect(monkeypatch, server, "aitronos", {"extra": {"request_timeout": 0.1}})
    began, server.pause = time.monotonic(), 0.01
    error = the_one_error(heard(server, sized(framings.padded(9_000)), piece=1))
    assert time.monotonic() - began < 5
    assert type(error) is ServiceUnavailable
    assert str(error).endswith("(timed out).")


SLOW = {
    "a length": (framings.SOUND["a length"], None),
    "chunks": (framings.SOUND["an extension of a chunk"], None),
    "interim replies": (framings.SOUND["a 103"], None),
    "gzip": (framings.SOUND["gzip"], None),
    "two lengths": framings.BROKEN["two equal lengths"],
    "a bad size": framings.BROKEN["a size of b'zz'"],
    "no HTTP": framings.BROKEN["another protocol"],
}


@pytest.mark.parametrize(("data", "said"), SLOW.values(), ids=SLOW)
def test_both_paths_make_the_same_of_it_byte_by_byte(data: bytes, said: str | None, server: RawServer) -> None:
    observations = heard(server, data, piece=1)
    if said is None:
        assert_succeeded(observations)
    else:
        assert said in str(the_one_error(observations))


def test_both_paths_read_the_same_headers(server: RawServer) -> None:
    """The libraries decode them differently, and of two with one name one takes the first and the other both."""
    place = "Location: https://münchen.example/".encode()
    error = the_one_error(heard(server, sized(place, start=b"HTTP/1.1 302 Found")))
    assert "to münchen.example;" in str(error)
    away = b"HTTP/1.1 503 Service Unavailable"
    error = the_one_error(heard(server, sized(b"Retry-After: 5", b"Retry-After: 7", start=away)))
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after is None


@pytest.mark.usefixtures("quick")
def test_a_connection_is_used_again_after_a_sound_reply_only(server: RawServer) -> None:
    def connections(data: bytes) -> tuple[int, int]:
        server.data = data
        before, hook = len(server.connections), DocStatusHook(CONN_ID, retries=0)
        for _ in range(3):
            try:
                hook.get_target_status(JOB)
            except UnexpectedReply:
                continue
        hook.get_conn().close()
        between = len(server.connections)
        hear_in_the_triggerer("aitronos", JOB, times=3)
        return between - before, len(server.connections) - between

    running = BODY.replace(b"completed", b"processing")
    assert connections(sized(body=running)) == (1, 1)
    assert connections(framings.chunked(framings.chunk(running))) == (1, 1)
    assert connections(sized(body=running) + b"more") == (3, 3), "what comes next may be the rest"
    assert connections(sized(LENGTH)) == (3, 3)


@pytest.mark.usefixtures("quick")
def test_bytes_that_come_between_two_requests_are_no_reply_to_the_second(server: RawServer) -> None:
    running = sized(body=BODY.replace(b"completed", b"processing"))
    server.data, server.later = running, sized(body=b'{"job_id": "job", "status": "failed"}')
    words = [one.word for one in hear_in_the_triggerer("aitronos", JOB, times=3)]
    assert words == ["processing"] * 3


# -- what users send by themselves -----------------------------------------------------------------------------------


def test_users_get_the_whole_reply(server: RawServer) -> None:
    server.data = sized(*[b"X-%d: %d" % (number, number) for number in range(97)], b"Set-Cookie: a=1", body=BODY)
    with DocStatusHook(CONN_ID).get_conn() as session:
        found = session.get("/anything")
        assert found.content == BODY
        assert found.reason == "OK"
        assert found.headers["Content-Type"] == "application/json"
        assert found.headers["X-96"] == "96"
        assert found.cookies["a"] == "1"
        server.data = framings.SOUND["gzip in chunks"]
        assert session.get("/anything").content == BODY
        assert b"".join(session.get("/anything", stream=True).iter_content(5)) == BODY
        server.data = sized(body=b"")
        assert session.head("/anything").headers["Content-Length"] == "0"


def test_users_get_the_error_of_requests_for_a_broken_reply(server: RawServer) -> None:
    import requests

    server.data = sized(LENGTH)
    with pytest.raises(requests.exceptions.ConnectionError, match=framings.TWO_LENGTHS):
        DocStatusHook(CONN_ID).get_conn().post("/v1/extract")


# -- through a whole wait --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["a header of 9,000 bytes", "the most headers", "chunks"])
def test_a_wait_ends_well_with(name: str, mode: str, server: RawServer) -> None:
    server.data = framings.SOUND[name]
    assert wait(mode, job_id="job", conn_id=CONN_ID)["state"] == "succeeded"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize("name", ["two equal lengths", "a length before chunked", "too long a header", "a web page alone"])
def test_a_wait_ends_as_with_any_garbage_with(name: str, mode: str, server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends ten minutes after the first, not at the time-out, and Airflow may retry it."""
    monkeypatch.setattr(waits, "PATIENCE", 0.05)
    server.data, said = framings.BROKEN[name]
    with pytest.raises(UnexpectedReply) as caught:
        wait(mode, job_id="job", conn_id=CONN_ID, timeout=60, poke_interval=0.01)
    assert said in str(caught.value)
    assert "No sound reply for" in str(caught.value)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("mode", MODES)
def test_one_broken_reply_ends_no_wait(mode: str, server: RawServer) -> None:
    server.data, server.sound_after = sized(LENGTH), 2
    assert wait(mode, job_id="job", conn_id=CONN_ID, poke_interval=0.01)["state"] == "succeeded"
