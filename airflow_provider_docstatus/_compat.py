"""Hide the differences between Airflow's versions: where names live, and how a trigger looks up a connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

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
    "conf",
    "first_start",
    "get_connection_in_trigger",
    "object_storage_path",
    "openlineage_classes",
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
        from airflow.sdk import ObjectStoragePath  # noqa: PLC0415
    except ImportError:  # pragma: no cover -- 2.11, or no universal-pathlib
        from airflow.io.path import ObjectStoragePath  # noqa: PLC0415
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
