"""Hide the differences between Airflow's versions: where names live, and how a trigger looks up a connection."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.triggers.base import BaseTrigger, TriggerEvent

try:  # 3.1 and later
    from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, PokeReturnValue
except ImportError:  # pragma: no cover -- each Airflow version takes one branch; the unit tests run on all
    try:
        from airflow.sdk import BaseOperator, BaseOperatorLink, BaseSensorOperator, PokeReturnValue
    except ImportError:  # 2.11
        from airflow.models import BaseOperator, BaseOperatorLink
        from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
    from airflow.hooks.base import BaseHook

try:
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )
except ImportError:  # pragma: no cover -- 3.1 and earlier
    from airflow.exceptions import (
        AirflowFailException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )

try:
    from airflow.sdk.execution_time.xcom import XCom
except ImportError:  # pragma: no cover -- 2.11
    from airflow.models import XCom

try:
    from airflow.sdk.observability import stats as _stats
except ImportError:  # pragma: no cover -- 3.1 and earlier
    from airflow.stats import Stats
else:
    Stats: Any = _stats if hasattr(_stats, "incr") else _stats.Stats  # functions on 3.3, a class on 3.2

# These two imports raise no deprecation warning on any version; other names of airflow.exceptions do.
# Every read of conf passes a fallback, since the provider's configuration may not be loaded.
from airflow import __version__ as airflow_version
from airflow.configuration import conf
from airflow.exceptions import AirflowNotFoundException

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context, XComArg
else:
    Context = XComArg = Any  # for annotations only

__all__ = [
    "DEFERRAL_TIMED_OUT",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "Context",
    "PokeReturnValue",
    "Stats",
    "TriggerEvent",
    "XCom",
    "XComArg",
    "asset_classes",
    "await_answer",
    "cannot_ask",
    "conf",
    "first_start",
    "get_connection_in_trigger",
    "object_storage_path",
    "openlineage_classes",
    "put_question",
    "run_date",
]

#: The error text that the scheduler gives a task whose deferral has timed out: on 3.x (TriggerFailureReason, a str), on 2.11.
DEFERRAL_TIMED_OUT = ("Trigger timeout", "Trigger/execution timeout")


def first_start(context: Context) -> float:
    """Return when this try first started (epoch seconds), reschedules included."""
    ti = context["ti"]
    if hasattr(ti, "get_first_reschedule_date"):
        rescheduled = ti.get_first_reschedule_date(context)
    else:  # on 2.11 start_date is that of the current poke; only a resumed task keeps its first one
        from airflow.sensors.base import _orig_start_date  # noqa: PLC0415 -- it exists on 2.11 only

        which = {name: getattr(ti, name) for name in ("dag_id", "task_id", "run_id", "map_index", "try_number")}
        rescheduled = _orig_start_date(**which)
    started = rescheduled or ti.start_date
    return started.timestamp() if started else time.time()


def object_storage_path(url: str) -> Any:
    """
    Return Airflow's ``ObjectStoragePath`` of a URL. It is imported on use, since not every task SDK brings what it needs.

    :raises ImportError: universal-pathlib is not installed.
    """
    try:
        from airflow.sdk import ObjectStoragePath  # noqa: PLC0415 -- it needs universal-pathlib
    except ImportError:  # pragma: no cover -- 2.11, or no universal-pathlib
        from airflow.io.path import ObjectStoragePath  # noqa: PLC0415 -- 2.11 and 3.0
    return ObjectStoragePath(url)


def run_date(context: Context) -> float | None:
    """
    Return the date that a run is for (epoch seconds), or None if it has none; clearing the run does not move it.

    It is the latest of the run's dates. For a run that was started by hand this is its start; its data interval may be old.
    """
    run = context.get("dag_run")
    dates = [getattr(run, name, None) for name in ("run_after", "data_interval_end", "logical_date")]
    return max((date.timestamp() for date in dates if date is not None), default=None)


async def get_connection_in_trigger(conn_id: str) -> tuple[Connection, dict[str, Any]]:
    """
    Look a connection up from a triggerer's event loop; return it with its extra.

    :raises AirflowNotFoundException: the connection is not defined, or the supervisor's channel or a secrets backend failed.
    """
    if hasattr(BaseHook, "aget_connection"):  # 3.1 and later
        conn = await BaseHook.aget_connection(conn_id)
    else:
        from asgiref.sync import sync_to_async  # noqa: PLC0415 -- a dependency of every Airflow, needed on 2.11 and 3.0 only

        conn = await sync_to_async(BaseHook.get_connection)(conn_id)
        return conn, await sync_to_async(lambda: conn.extra_dejson)()  # on 3.0 this sends a synchronous request
    if hasattr(conn, "aextra_dejson"):  # 3.3
        return conn, await conn.aextra_dejson()
    return conn, conn.extra_dejson


def asset_classes() -> tuple[Any, Any, tuple[Any, ...]]:
    """Return Airflow's classes of an asset (2.11: dataset) and an asset alias, and those of what names an asset."""
    try:
        from airflow.sdk import Asset, AssetAlias  # noqa: PLC0415 -- few tasks have outlets
        from airflow.sdk.definitions.asset import AssetRef  # noqa: PLC0415 -- as above
    except ImportError:  # 2.11
        from airflow.datasets import Dataset, DatasetAlias  # noqa: PLC0415 -- as above

        return Dataset, DatasetAlias, ()
    return Asset, AssetAlias, (AssetRef,)


def openlineage_classes() -> tuple[Any, Any, Any] | None:
    """Return OpenLineage's ``OperatorLineage``, ``OutputDataset`` and statistics facet; None if its provider is not installed."""
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage  # noqa: PLC0415 -- its provider may be missing
        from openlineage.client.generated.base import OutputDataset  # noqa: PLC0415 -- as above
        from openlineage.client.generated.output_statistics_output_dataset import (  # noqa: PLC0415 -- as above
            OutputStatisticsOutputDatasetFacet,
        )
    except ImportError:
        return None
    return OperatorLineage, OutputDataset, OutputStatisticsOutputDatasetFacet


# -- human in the loop: 3.1 and later ---------------------------------------------------------------------------

#: Airflow's own time-out of a deferral is this many seconds after that of the trigger that waits for the answer.
ANSWER_BACKSTOP = timedelta(seconds=300)
#: What parks a task without a trigger (3.3 and later), and the trigger that waits for an answer.
_PARKING = ("airflow.sdk.exceptions", "TaskAwaitingInput")
_TRIGGER = ("airflow.providers.standard.triggers.hitl", "HITLTrigger")


def cannot_ask() -> str | None:
    """Return why this Airflow cannot ask a person, as the end of a sentence; None if it can."""
    if _attribute("airflow.sdk.execution_time.comms", "CreateHITLDetailPayload") is None:
        return f"needs Airflow 3.1 or newer, where tasks can ask people (human in the loop); this is Airflow {airflow_version}"
    if _attribute(*_PARKING) is None and _attribute(*_TRIGGER) is None:
        return "needs the package apache-airflow-providers-standard, whose trigger waits for the answer"
    return None


def put_question(
    ti_id: Any,
    *,
    subject: str,
    body: str,
    options: Sequence[str],
    reason: str,
    assigned_users: Sequence[Mapping[str, str]] | None,
) -> dict[str, Any]:
    """
    Put a question on the page "Required actions" of a task instance.

    :param ti_id: the id of the task instance.
    :param subject: one line of text.
    :param body: Markdown.
    :param options: the answers to choose from; there is no default, which would answer a question that nobody has.
    :param reason: the name of an optional text field.
    :param assigned_users: who may answer (each with ``id`` and ``name``); None for everybody who may run the task.
    :return: what the page shows, with the same names. That is not this question if an earlier try has asked one.
    """
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 -- the channel exists in a task's process only

    users = [{"id": user["id"], "name": user["name"]} for user in assigned_users or ()]
    question = {"subject": subject, "body": body, "options": list(options), "params": _reason_field(reason)}
    message: Any = _attribute("airflow.sdk.execution_time.comms", "CreateHITLDetailPayload")
    about = {"ti_id": ti_id, **question, "defaults": None, "multiple": False, "assigned_users": users}
    shown: Any = task_runner.SUPERVISOR_COMMS.send(msg=message.model_validate(about))
    return {"assigned_users": [], **shown.model_dump()}


def await_answer(
    task: Any,
    ti_id: Any,
    *,
    options: Sequence[str],
    reason: str,
    method_name: str,
    kwargs: dict[str, Any],
    timeout: timedelta | None,
) -> NoReturn:
    """
    End the task for now. Airflow resumes it with the person's answer, or a time-out, as the argument ``event``.

    From 3.3 on it holds neither a worker slot nor a triggerer slot meanwhile, before that a triggerer slot.

    :param method_name: the method that Airflow calls then.
    :param kwargs: its other arguments, as JSON.
    :param timeout: how long to wait; None for ever.
    """
    if (parking := _attribute(*_PARKING)) is not None:
        raise parking(method_name=method_name, kwargs=kwargs, timeout=timeout)
    until = None if timeout is None else datetime.now(timezone.utc) + timeout
    trigger: Any = _attribute(*_TRIGGER)
    trigger = trigger(ti_id=ti_id, options=list(options), params=_reason_field(reason), multiple=False, timeout_datetime=until)
    task.defer(
        trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=None if timeout is None else timeout + ANSWER_BACKSTOP
    )
    raise AssertionError("defer() raises")


def _attribute(module: str, name: str) -> Any:
    """Return what a module of some versions holds; None if there is no such module, or if it does not hold that."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _reason_field(name: str) -> dict[str, Any]:
    """Return the form with one optional text field; before 3.1.3 a form is told by its values alone."""
    if tuple(int(part) for part in re.findall(r"\d+", airflow_version)[:3]) < (3, 1, 3):
        return {name: ""}
    from airflow.sdk import Param  # noqa: PLC0415 -- 3.x only

    field = Param("", type=["null", "string"], title="Reason", description="Optional. It is kept in clear text.")
    return {name: field.serialize()}
