"""What the stand-in plays from recorded replies is read as what was recorded: each service, kind of job and ending."""

from __future__ import annotations

import math

import pytest

from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.testing.jobs import INVOICE
from airflow_provider_docstatus.testing.recorded import Recorded

PLAYED = {name: vendor for name, vendor in StandInVendors().vendors.items() if isinstance(vendor, Recorded) and name in SERVICES}
ENDINGS = [
    pytest.param(name, kind, ends, id=f"{name}-{kind}-{ends}")
    for name, vendor in PLAYED.items()
    for kind, words in vendor.WORDS.items()
    for ends in words
    if ends != "waiting"
]


@pytest.fixture
def vendors(monkeypatch):
    with StandInVendors(job_seconds=0) as vendors:
        for name, value in vendors.environment().items():
            monkeypatch.setenv(name, value)
        yield vendors


@pytest.mark.parametrize(("name", "kind", "ends"), ENDINGS)
def test_every_ending_is_read_as_it_was_recorded(vendors, name, kind, ends):
    how = {"seconds": math.inf} if ends == "running" else {"ends": ends}
    job_id = vendors.add_job(name, kind, **how)
    status = DocStatusHook(f"{name}_default").get_target_status(Target(route=kind, id=job_id))
    assert status.id == job_id
    assert status.state.value == {"completed": "succeeded"}.get(ends, ends)


@pytest.mark.parametrize(("name", "kind"), [param.values[:2] for param in ENDINGS if param.values[2] == "completed"])
def test_the_data_of_a_finished_job_are_the_recorded_ones(vendors, name, kind):
    job_id = vendors.add_job(name, kind)
    data = DocStatusHook(f"{name}_default").get_target_result(Target(route=kind, id=job_id))[1]
    assert data in [INVOICE, *PLAYED[name].recording.data(kind)]
