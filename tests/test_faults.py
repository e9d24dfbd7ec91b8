"""Three answers in ten are faults, and every wait ends as its job did: the load run of ``make faults``, in small."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from airflow_provider_docstatus.exceptions import UnexpectedReply
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import UNSILOED
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.transport.aio import MOST_AT_ONCE
from airflow_provider_docstatus.waiting import wait as waits
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.wait import Wait
from tests.bench import contender, faults
from tests.bench.bench import vendors
from tests.bench.contender import Run
from tests.bench.vendors import fails, neurolinker_id
from tests.task_runs import event_of, hurry, trigger_for
from tests.two_paths import ask_in_the_triggerer, ask_on_the_worker, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITS = 80
REQUESTS = 10


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, int, str]]:
    with vendors("tests.bench.faulty") as server:
        yield server


@pytest.fixture
def run(server: tuple[int, int, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    port, control, certificate = server
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    monkeypatch.setattr(contender, "IDLE", 0.02)
    monkeypatch.setattr(waits, "CONFIRM_AFTER", 0.1)
    monkeypatch.setattr(faults, "REQUEST_TIMEOUT", 0.5)
    work = {**faults.workload("requests", WAITS, 0.1), "per_request": WAITS // REQUESTS}
    return Run(port=port, control=control, **work)


def mixed(run: Run) -> contender.Wait:
    """Wait for requests, documents whose request is known or not, jobs that are asked for together, and such that are not."""
    neurolinker, unsiloed = faults.connect("neurolinker", run), faults.connect("unsiloed", run)

    async def wait(number: int) -> str:
        if number < REQUESTS:  # some of its documents fail
            ending = await faults.ending_of(run, neurolinker, "request", number)
            return ("failed" if fails(number) else "succeeded") if ending == "partial" else ending
        if number % 3:
            return await faults.ending_of(run, unsiloed, ("job", "extract")[number % 3 - 1], number)
        parent = number // run.per_request if number % 2 else None
        return await faults.ending_of(run, neurolinker, "document", number, parent=parent)

    return wait


async def test_on_a_bad_day_every_wait_ends_right_without_a_storm_of_calls(run: Run) -> None:
    faults.let_go_wrong(run.control, {"part": 0.3, "closes_every": 0.4, "closes_for": 0.1})
    bad = await contender.hold(run, mixed(run))
    assert bad["faults"] > WAITS / 10
    assert bad["closings"] > 0
    assert bad["wrong_words"] == []
    assert bad["visits_elsewhere"] == bad["keys_elsewhere"] == 0
    assert bad["worst_closing"] <= 2 * MOST_AT_ONCE, "of two services what is under way"
    each_by_itself = sum(seconds / run.interval + 1 for seconds in run.seconds)  # on a good day and a fast machine
    assert bad["requests"] <= faults.MOST_CALLS * each_by_itself


async def test_a_loop_that_believes_what_it_reads_would_fail_that(run: Run) -> None:
    faults.let_go_wrong(run.control, {"part": 0.3, "only": ["a redirect", "500 with a status", "another id"]})
    run = replace(run, seconds=[0.0] * 50)
    trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {contender.KEY}"}) as session:

        async def wait(number: int) -> str:
            url = f"https://127.0.0.1:{run.port}/v1/document-status/{neurolinker_id(number)}"
            async with session.get(url, ssl=trust) as response:
                return "succeeded" if (await response.json())["status"] == "completed" else "failed"

        result = await contender.hold(run, wait)
    assert result["wrong"] > 5
    assert "failed" in result["wrong_words"]
    assert result["visits_elsewhere"] > 0


# -- what that run has shown, each alone -----------------------------------------------------------------------------


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInVendors]:
    with StandInVendors() as vendors:
        for name, value in vendors.environment().items():
            monkeypatch.setenv(name, value)
        yield vendors


@pytest.mark.parametrize(
    "place", ["https://[::1/x", "//[]@:::/x", "https://a:99999999/x", "http:///x", "mailto:x"], ids=lambda place: place
)
def test_a_redirect_to_no_url_is_garbage_like_any_other_redirect(stand_in, monkeypatch, place):
    connect(monkeypatch, stand_in, "neurolinker", {})
    target = Target(route="document", id="d-1")
    stand_in.answer_next(302, redirect_to=place, times=2)
    for observation in (ask_on_the_worker(target), ask_in_the_triggerer("neurolinker", target)):
        assert isinstance(observation, UnexpectedReply), observation
        assert "redirect (302)" in str(observation)


def test_one_bad_reply_after_a_long_pause_ends_no_wait():
    wait = Wait(spec=WaitSpec(id="j-1", deadline=9e9, grace=15.0), service=UNSILOED, id="j-1")
    running = DocumentStatus(service="unsiloed", kind="job", id="j-1", state=State.RUNNING, word="PROCESSING")
    garbage = UnexpectedReply("HTML")
    assert [wait.observe(one, now) for one, now in ((running, 0.0), (garbage, 700.0), (running, 1400.0), (garbage, 2100.0))] == [
        None
    ] * 4
    ending = wait.observe(garbage, 2800.0)
    assert ending is not None
    assert ending.outcome == "unexpected"


async def test_jobs_that_one_answer_leaves_out_are_asked_for_together_again(stand_in, monkeypatch):
    hurry(monkeypatch, poll_interval=0.1)
    jobs = [stand_in.add_job("unsiloed", "job", seconds=0.25) for _ in range(30)]
    stand_in.answer_next(200, body={"jobs": []}, path="/jobs/status")
    events = await asyncio.gather(*(event_of(trigger_for("unsiloed", "job", one)) for one in jobs))
    assert {event["outcome"] for event in events} == {"succeeded"}
    alone = [request for request in stand_in.requests if request.path != "/jobs/status"]
    assert len(alone) <= MOST_AT_ONCE, "those that are asked before the session is open"
