"""Some hours of waits on one key, call by call: what the simulated day promises, in a shorter one."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.bench.simulation import Outcome, Scenario, constant, draw, most_in_a_minute, percentile, row, simulate

CALM = Scenario(title="calm", per_day=12_000, hours=1.0, limit=100, looks=1)
SCENARIOS = {
    "one by one, 60 a minute": replace(CALM, limit=60, per_day=10_000),
    "one by one, 100 a minute": CALM,
    "two triggerers": replace(CALM, triggerers=2, share=0.4),
    "two triggerers that each believe they are alone": replace(CALM, triggerers=2),
    "in requests of 25": replace(CALM, per_day=100_000, per_request=25),
    "a burst": replace(CALM, per_day=2_000, hours=2.0, burst=300, burst_at=0.5),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return {name: simulate(scenario) for name, scenario in SCENARIOS.items()}


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_rolling_minute_holds_more_polls_than_a_triggerers_share(outcomes, name):
    scenario = SCENARIOS[name]
    assert len(outcomes[name].polls) == scenario.triggerers
    for polls in outcomes[name].polls:
        assert 0 < most_in_a_minute(polls) <= scenario.limit * scenario.share


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_document_is_noticed_and_its_data_fetched(outcomes, name):
    outcome = outcomes[name]
    assert all(document.seen_at is not None for document in outcome.documents)
    assert outcome.never_seen == 0
    assert outcome.fetched >= len(outcome.documents) / 10


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "a burst"])
def test_nobody_starves_while_the_load_is_below_the_limit(outcomes, name):
    delays = outcomes[name].delays
    assert min(delays) > 0
    assert max(delays) < 600
    assert percentile(delays, 0.95) < 240


def test_a_burst_is_served_in_turn_and_then_forgotten(outcomes):
    scenario, outcome = SCENARIOS["a burst"], outcomes["a burst"]
    began_at = scenario.burst_at * 3600
    burst = [one.seen_at - one.submitted_at for one in outcome.documents if one.submitted_at == began_at]
    assert len(burst) == scenario.burst
    assert max(burst) < 3600
    others = [one for one in outcome.documents if one.ends_at < began_at or one.submitted_at > began_at + 3600]
    assert percentile([one.seen_at - one.ends_at for one in others], 0.95) < 30


def test_documents_of_a_request_share_its_polls(outcomes):
    outcome = outcomes["in requests of 25"]
    assert len(outcome.calls) < 1.5 * len(outcome.documents)
    assert len(outcomes["one by one, 100 a minute"].calls) > 3 * len(outcomes["one by one, 100 a minute"].documents)


def test_the_same_seed_gives_the_same_day(outcomes):
    again = simulate(CALM)
    assert row(again) == row(outcomes["one by one, 100 a minute"])
    assert again.delays == outcomes["one by one, 100 a minute"].delays


def test_constant_polling_that_knows_no_limit_is_mostly_refused(outcomes):
    other = constant(replace(CALM, per_day=40_000, hours=0.5, constant=30.0))
    assert len(other.refused) > len(other.calls) / 2
    assert "every 30 s" in row(other)
    own = outcomes["one by one, 100 a minute"]
    assert len(own.refused) < len(own.calls) / 4
    picture = ET.fromstring(draw(own, other))
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 8
