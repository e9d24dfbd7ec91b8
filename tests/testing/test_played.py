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
from airflow_provider_docstatus.testing.unsiloed import extracted

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
    if kind == "batch" and ends == "partial" and has_members(name):
        job_id = vendors.add_batch([vendors.add_job(name), vendors.add_job(name, ends="failed")])
    status = DocStatusHook(f"{name}_default").get_target_status(Target(route=kind, id=job_id))
    assert status.id == job_id
    assert status.state.value == {"completed": "succeeded"}.get(ends, ends)


@pytest.mark.parametrize(("name", "kind"), [param.values[:2] for param in ENDINGS if param.values[2] == "completed"])
def test_the_data_of_a_finished_job_are_the_recorded_ones(vendors, name, kind):
    is_of_members = kind == "batch" and has_members(name)
    member = "job" if name == "unsiloed" else next(iter(SERVICES[name].routes))
    job_id = vendors.add_batch([vendors.add_job(name, member)]) if is_of_members else vendors.add_job(name, kind)
    data = DocStatusHook(f"{name}_default").get_target_result(Target(route=kind, id=job_id))[1]
    if is_of_members:
        (data,) = data["items"].values()
        kind = member
    assert shape(data) in [shape(one) for one in [INVOICE, extracted(INVOICE), *PLAYED[name].recording.data(kind)]]


def has_members(name):
    batch = SERVICES[name].routes["batch"]
    return bool(batch.members or batch.child)


def shape(data):
    """Return the names and types of data: ids and times in it are those of the job, not the recorded ones."""
    if isinstance(data, dict):
        return {name: shape(value) for name, value in data.items()}
    return [shape(one) for one in data] if isinstance(data, list) else type(data)
