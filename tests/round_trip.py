"""
Push and pull XComs the way a real Airflow does: serializer, workers' channel, API, database, and the same way back.

It is a process of its own in the environment of any line, ``python -m tests.round_trip URL``: it makes the database, and prints
as JSON what came of every shape, as it is and in its carriable form.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow_provider_docstatus.carriable import carriable, read_back
from tests.shapes import AS_BASE64, AS_IT_IS, AS_TEXT, is_same

ROOT = Path(__file__).parents[1]
WHOSE: dict[str, str] = {"dag_id": "d", "run_id": "r", "task_id": "t"}
RoundTrip = Callable[[Any], Any]


def in_a_list_of_requests(data: Any) -> Any:
    """Return the XCom that puts the most levels around the data."""
    return {"items": {"r-1": {"items": {"d-1": data}, "errors": {}}}, "errors": {}}


def make_database() -> None:
    """Make Airflow's tables, and a task instance that XComs belong to."""
    from airflow.settings import Session, engine
    from airflow.utils.db import initdb
    from sqlalchemy import MetaData, insert, text

    initdb()
    tables = MetaData()
    tables.reflect(engine, only=["dag_run", "task_instance"])
    unchecked = "PRAGMA foreign_keys = OFF" if engine.dialect.name == "sqlite" else "SET session_replication_role = replica"
    with engine.connect() as connection:  # the DAG, its version and so on are not needed
        connection.execute(text(unchecked))
        for name in ("dag_run", "task_instance"):
            table = tables.tables[name]
            row = {column.name: _some(column) for column in table.columns if _needs_value(column)}
            connection.execute(insert(table).values(row))
        getattr(connection, "commit", lambda: connection.execute(text("COMMIT")))()
    Session.remove()


def _needs_value(column: Any) -> bool:
    return column.name in WHOSE or not (column.nullable or column.server_default is not None)


def _some(column: Any) -> Any:
    if column.name in WHOSE:
        return WHOSE[column.name]
    kind = column.type.python_type
    if kind is datetime:
        return datetime.now(timezone.utc)
    return {int: 1, bool: False, bytes: b"x"}.get(kind, "00000000-0000-0000-0000-000000000001")


def round_trip_2(value: Any) -> Any:
    """Go the way of Airflow 2."""
    from airflow.models.xcom import XCom

    XCom.set(key="k", value=value, **WHOSE)
    return XCom.get_value(key="k", ti_key=_ti_key())


def _ti_key() -> Any:
    from airflow.models.taskinstancekey import TaskInstanceKey

    return TaskInstanceKey(**WHOSE, map_index=-1)


def way_of_3() -> RoundTrip:
    """Return the way of Airflow 3: serializer, channel to the supervisor, its client, the API server; and the same way back."""
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI
    from airflow.sdk.api.client import Client
    from airflow.sdk.execution_time import comms
    from airflow.sdk.execution_time.xcom import XCom
    from pydantic import TypeAdapter

    client = Client(base_url=None, token="", dry_run=True)
    client.base_url = "http://in-process.invalid./"
    client._transport = InProcessExecutionAPI().transport

    def channel(message: Any) -> Any:
        kind = TypeAdapter(type(message))
        if not hasattr(comms, "_RequestFrame"):  # 3.0 sends JSON
            return kind.validate_json(message.model_dump_json())
        import msgspec

        return kind.validate_python(msgspec.msgpack.decode(msgspec.msgpack.encode(message.model_dump())))

    def go(value: Any) -> Any:
        sent = channel(comms.SetXCom(key="k", value=XCom.serialize_value(value), map_index=-1, **WHOSE))
        client.xcoms.set(**WHOSE, key="k", value=sent.value)
        answer = client.xcoms.get(**WHOSE, key="k")
        return XCom.deserialize_value(channel(comms.XComResult.from_xcom_response(answer)))

    return go


def outcome(go: RoundTrip, pushed: Any, wanted: Any, read: RoundTrip = lambda got: got) -> str:
    """Return ``same``, ``changed``, or the name of the error that the round trip ends with."""
    try:
        return "same" if is_same(read(go(pushed)), wanted) else "changed"
    except Exception as error:  # noqa: BLE001 -- each fault has one of its own
        return type(error).__name__


def outcomes(go: RoundTrip, data: Any) -> list[str]:
    """Return what comes of data and of its carriable form, each alone and deep in a list of requests."""
    form, around = carriable(data, id="x"), in_a_list_of_requests
    return [
        outcome(go, data, data),
        outcome(go, around(data), around(data)),
        outcome(go, form, data, read_back),
        outcome(go, around(form), around(data), read_back),
    ]


def came_back(database: str, home: Path) -> dict[str, list[str]]:
    """
    Run this module in a process of its own; return the four outcomes of every shape.

    :param database: the URL of an empty database.
    :param home: an empty folder.
    """
    command = [sys.executable, "-m", "tests.round_trip", database]
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
    environment |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print what comes back of each shape."""
    make_database()
    import airflow

    go = round_trip_2 if airflow.__version__.startswith("2.") else way_of_3()
    shapes = {**AS_IT_IS, **{name: data for name, (data, _) in AS_TEXT.items()}, **AS_BASE64}
    sys.stdout.write(json.dumps({name: outcomes(go, data) for name, data in shapes.items()}) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    main()
