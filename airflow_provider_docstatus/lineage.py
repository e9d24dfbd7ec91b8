"""What Airflow and OpenLineage are told of a file that a task has written: the final object, once, and what is in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import asset_classes, openlineage_classes
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.types import DataManifest

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import Context


def report_output(context: Context, outlets: Iterable[object], summary: DataManifest) -> None:
    """
    Add what was written to the events of a task's outlets, in their ``extra`` under ``docstatus``.

    An asset's event is Airflow's own, whatever the asset names. An asset alias gets an event of the file itself. Outlets of other
    kinds are left alone.

    :param context: Airflow's.
    :param outlets: the task's outlets.
    :param summary: what the task pushes to XCom (:class:`.DataManifest`). Call this once the file stands under its final name.
    """
    events: Any = context.get("outlet_events")
    if events is None:  # a task that is run without Airflow
        return
    asset, alias, named = asset_classes()
    extra: dict[str, Any] = {XCOM_KEY: dict(summary)}
    for outlet in outlets:
        if isinstance(outlet, alias):
            namespace, name = place_of(summary["path"])
            uri = f"{namespace}/{name}" if "://" in namespace else f"{namespace}://{name}"
            events[outlet].add(asset(uri), extra=extra)
        elif isinstance(outlet, (asset, *named)):
            events[outlet].extra = {**events[outlet].extra, **extra}


def facets_of(summary: DataManifest | None) -> Any:
    """
    Return what a task tells OpenLineage when it has ended: the file as an output, with its size and number of rows.

    :param summary: what the task pushed (:class:`.DataManifest`); None if it wrote no file.
    :return: an ``OperatorLineage``; None if there is nothing to tell, or no OpenLineage provider.
    """
    found = openlineage_classes() if summary is not None else None
    if summary is None or found is None:
        return None
    lineage, dataset, statistics = found
    namespace, name = place_of(summary["path"])
    facets = {"outputStatistics": statistics(rowCount=summary["rows"], size=summary["bytes"], fileCount=1)}
    return lineage(outputs=[dataset(namespace=namespace, name=name, outputFacets=facets)])


def place_of(url: str) -> tuple[str, str]:
    """Return the namespace and the name of a file as OpenLineage has them; neither holds the connection that the URL names."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    bucket = host.rpartition("@")[2]
    if scheme == "file":
        return (f"file://{bucket}" if bucket else "file"), f"/{path}"
    return f"{scheme}://{bucket}", path
