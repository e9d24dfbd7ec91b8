"""The ids that a task is given: of any kind that can be read, once or more often, and from templates."""

from __future__ import annotations

import importlib.util
import itertools
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus._compat import AirflowSkipException
from airflow_provider_docstatus.arguments import ids_of
from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.testing import StandInVendors
from tests.task_runs import MODES, FakeTaskInstance, run, run_rescheduled, sensor_of, wait

try:
    from airflow.sdk import DAG
except ImportError:  # 2.11
    from airflow import DAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[[list[str]], Any]


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0.015) as vendors:
        yield vendors


READ_ONCE: dict[str, Make] = {
    "generator": lambda ids: (one for one in ids),
    "map": lambda ids: map(str, ids),
    "filter": lambda ids: filter(None, ids),
    "iter": iter,
    "chain": itertools.chain,
    "keys": lambda ids: dict.fromkeys(ids).keys(),
    "values": lambda ids: dict(enumerate(ids)).values(),
}
each_kind = pytest.mark.parametrize("make", READ_ONCE.values(), ids=READ_ONCE)


@pytest.mark.parametrize("mode", MODES)
@each_kind
def test_ids_that_can_be_read_only_once_are_waited_for(vendors: StandInVendors, mode: str, make: Make) -> None:
    ids = [vendors.add_job("aitronos") for _ in range(2)]
    if mode == "reschedule":  # each poke is a process of its own, which reads the DAG's file anew
        told = run_rescheduled(lambda: sensor_of(mode, job_id=make(ids)), FakeTaskInstance())
    else:
        told = run(sensor_of(mode, job_id=make(ids)))
    assert told["ids"] == {"succeeded": ids}


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@each_kind
def test_ids_that_a_template_renders_can_be_read_more_than_once(vendors: StandInVendors, mode: str, make: Make) -> None:
    """Native rendering makes a generator of ``{{ ids | map('trim') }}``; a task that is resumed renders it anew."""
    ids = [vendors.add_job("aitronos") for _ in range(2)]
    sensor = sensor_of(mode, job_id="{{ ids }}")
    sensor.job_id = make(ids)
    assert run(sensor)["ids"] == {"succeeded": ids}


@pytest.mark.parametrize("waits", [False, True])
@each_kind
def test_data_of_ids_that_can_be_read_only_once_is_fetched(vendors: StandInVendors, make: Make, *, waits: bool) -> None:
    ids = [vendors.add_job("aitronos", seconds=0) for _ in range(2)]
    operator = ExtractedDataOperator(
        task_id="fetch", conn_id="aitronos_default", job_id=make(ids), wait_for_completion=waits, deferrable=False
    )
    assert list(run(operator)["items"]) == ids


@each_kind
def test_a_task_keeps_ids_that_can_be_read_only_once_as_a_list(make: Make) -> None:
    """A serialized DAG would hold the memory address of a generator: another version of the DAG at each parse."""
    for task in (
        sensor_of("poke", job_id=make(["a", "b"])),
        ExtractedDataOperator(task_id="fetch", conn_id="x", job_id=make(["a", "b"])),
    ):
        assert task.job_id == ["a", "b"]


@pytest.fixture
def lazily(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], tuple[Any, list[Any]]]:
    """Return what Airflow puts in place of a mapped task's output, and a list that grows with each question about it."""

    def on_3(ids: list[str]) -> tuple[Any, list[Any]]:
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.comms import ErrorResponse, GetXComCount, XComCountResponse, XComSequenceIndexResult
        from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

        asked: list[Any] = []

        class Supervisor:
            def send(self, message: Any) -> Any:
                asked.append(message)
                if isinstance(message, GetXComCount):
                    return XComCountResponse(len=len(ids))
                at = message.offset
                return XComSequenceIndexResult(root=ids[at]) if at < len(ids) else ErrorResponse()

        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
        source = SimpleNamespace(key="return_value", operator=SimpleNamespace(dag_id="dag", task_id="submit"))
        return LazyXComSequence(xcom_arg=source, ti=SimpleNamespace(run_id="run")), asked

    def on_2(ids: list[str]) -> tuple[Any, list[Any]]:
        import sqlalchemy as sa
        from airflow.models.xcom import LazyXComSelectSequence, XCom
        from sqlalchemy.orm import Session

        engine, asked = sa.create_engine("sqlite://"), []
        table = sa.Table("xcoms", sa.MetaData(), sa.Column("map_index", sa.Integer), sa.Column("value", sa.LargeBinary))
        session = Session(bind=engine)
        table.create(session.connection())
        rows = [{"map_index": number, "value": XCom.serialize_value(one)} for number, one in enumerate(ids)]
        session.execute(table.insert(), rows)
        sa.event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
        select = sa.select(table.c.value)
        return LazyXComSelectSequence.from_select(select, order_by=[table.c.map_index], session=session), asked

    return on_3 if importlib.util.find_spec("airflow.sdk") else on_2


def test_ids_of_a_mapped_task_are_asked_for_once(lazily: Any) -> None:
    lazy, asked = lazily(["job-1", "job-2", "job-3"])
    assert not isinstance(lazy, list)
    sensor = sensor_of("poke", job_id="{{ ids }}")
    sensor.job_id = lazy  # as Airflow renders the output of a mapped task
    for _ in range(3):
        assert ids_of(sensor) == {"request_id": None, "document_id": None, "job_id": ["job-1", "job-2", "job-3"]}
    assert sensor.job_id == ["job-1", "job-2", "job-3"]
    assert 0 < len(asked) <= 5, "each of them, their number and the end"


def test_what_only_airflow_can_read_is_left_to_airflow() -> None:
    with DAG("ids", start_date=datetime(2024, 1, 1, tzinfo=timezone.utc), schedule=None):
        first = sensor_of("poke", task_id="first", job_id="a")
        second = sensor_of("poke", task_id="second", job_id=first.output["id"])
        third = sensor_of("poke", task_id="third", job_id="{{ ti.xcom_pull('first') }}")
        fourth = ExtractedDataOperator(task_id="fourth", conn_id="x", job_id=first.output.map(str))
    assert second.upstream_task_ids == fourth.upstream_task_ids == {"first"}
    assert third.job_id == "{{ ti.xcom_pull('first') }}"


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["a", 1685e6], "is a float; it must be the id as text. If it is from a template under render_template_as_native_obj"),
        (1685e6, "pass the upstream task's .output, or put quotes around the template"),
        (["a", None], "got none (or an upstream task returned None)"),
        (zip("ab", "cd", strict=True), "is a tuple"),
        ({"a": "b"}.items(), "is a tuple"),
        (bytearray(b"ab"), "is a bytearray"),
    ],
    ids=["native list", "native", "None in a list", "zip", "items", "bytes"],
)
def test_what_is_no_id_says_what_to_do(vendors: StandInVendors, ids: Any, says: str) -> None:
    asked = len(vendors.requests)
    with pytest.raises(RequestRejected) as raised:
        wait("deferrable", job_id=ids)
    assert says in str(raised.value)
    assert len(vendors.requests) == asked


@pytest.mark.parametrize("ids", [[], (), {}.keys(), {}.values()], ids=lambda ids: type(ids).__name__)
def test_no_ids_are_skipped_however_they_are_given(vendors: StandInVendors, ids: Any) -> None:
    with pytest.raises(AirflowSkipException, match="empty list"):
        wait("poke", job_id=ids)


@pytest.mark.parametrize("kind", ["generator", "map", "filter", "iter", "chain"])
def test_an_iterator_that_two_tasks_share_skips_neither_in_silence(vendors: StandInVendors, kind: str) -> None:
    ids = [vendors.add_job("aitronos", seconds=0)]
    shared = READ_ONCE[kind](ids)
    gate = sensor_of("poke", job_id=shared)
    fetch = ExtractedDataOperator(task_id="fetch", conn_id="aitronos_default", job_id=shared)
    assert run(gate)["ids"] == {"succeeded": ids}
    with pytest.raises(RequestRejected, match=r"job_id is an iterator that gives no ids; .* Give each task list\(ids\)"):
        run(fetch)
