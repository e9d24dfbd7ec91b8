"""No key and no document text is where it does not belong, in all that the end-to-end run has left behind."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy

from airflow_provider_docstatus.testing import StandInVendors
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.rough_run import OTHERS, RoughRun
from tests.e2e.waits import MARKER, ids_of


def forms(secret: str) -> set[bytes]:
    """Return a text as it may appear: as it is, percent-encoded, and in base64 wherever in a longer text it stands."""
    inside_base64 = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode())
        # What comes before and after shares the characters at both ends
        whole = encoded[(offset * 8 + 5) // 6 : (offset + len(secret)) * 8 // 6]
        inside_base64 |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return {secret.encode(), quote(secret, safe="").encode(), quote(secret).encode(), *inside_base64}


def left_behind(airflow: RealAirflow, run: RoughRun) -> Iterator[tuple[str, bytes]]:
    """Yield all that Airflow stored and wrote: where, and the bytes."""
    for file in sorted(airflow.home.rglob("*")):
        if file.is_file():
            yield str(file.relative_to(airflow.home)), file.read_bytes()
    for text in run.watch.stored:
        yield "trigger arguments and events during the run", text.encode()
    tables = sqlalchemy.MetaData()
    tables.reflect(airflow.database)
    for table in tables.sorted_tables:
        for row in airflow.read(f'SELECT * FROM "{table.name}"'):
            where = [table.name, *(str(row[name]) for name in ("dag_id", "task_id", "key") if name in row)]
            yield " ".join(where), repr(row).encode()


def places_of(secret: str, things: list[tuple[str, bytes]]) -> set[str]:
    """Return where a text stands in any of its forms."""
    return {where for where, content in things if any(form in content for form in forms(secret))}


@pytest.fixture(scope="module")
def everything(real_airflow: RealAirflow, rough_run: RoughRun) -> list[tuple[str, bytes]]:
    """What was left behind, after the run."""
    return list(left_behind(real_airflow, rough_run))


def test_no_key_is_anywhere(everything: list[tuple[str, bytes]], vendors: StandInVendors) -> None:
    """Not in the database, a log, a process's output, a trigger's arguments, an event, an XCom, a rendered field."""
    for key in vendors.keys.values():
        assert not places_of(key, everything)


def test_document_text_is_in_the_xcom_of_who_fetched_it_and_nowhere_else(everything: list[tuple[str, bytes]]) -> None:
    """The database's own files hold that XCom, too."""
    assert places_of(MARKER, everything) - {"airflow.db", "airflow.db-wal"} == {f"xcom {OTHERS} extract return_value"}


def test_the_search_sees_every_kind_of_place(everything: list[tuple[str, bytes]], rough_run: RoughRun) -> None:
    """An id, which is no secret, is found in each of them."""
    (job_id,) = ids_of(rough_run.planned[1])
    places = places_of(job_id, everything)
    tables = {"xcom forty_waits wait docstatus", "rendered_task_instance_fields forty_waits wait", "dag_run forty_waits"}
    assert tables | {"airflow.db", "trigger arguments and events during the run"} <= places
    logs = [Path(place).name for place in places if place.startswith("logs/")]
    assert any(".trigger." in name for name in logs)
    assert any(".trigger." not in name for name in logs)


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("encode", [bytes, base64.b64encode, base64.urlsafe_b64encode, lambda text: quote(text).encode()])
def test_the_search_finds_a_key_in_every_form(vendors: StandInVendors, encode: object, before: int) -> None:
    """Planted after other text and before more, as in an Authorization header."""
    for key in vendors.keys.values():
        planted = encode(b"Basic"[:before] + key.encode() + b":rest")
        assert places_of(key, [("planted", b"... " + planted + b" ...")]) == {"planted"}
