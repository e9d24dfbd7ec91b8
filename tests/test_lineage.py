"""What Airflow's assets and OpenLineage are told of a file that was written."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_docstatus._compat import asset_classes
from airflow_provider_docstatus.lineage import facets_of, place_of, report_output

if TYPE_CHECKING:
    from airflow_provider_docstatus.types import DataManifest

WRITTEN: DataManifest = {
    "path": "s3://aws_default@invoices/2026/data.jsonl",
    "format": "application/x-ndjson",
    "bytes": 12,
    "sha256": "0" * 64,
    "total": 3,
    "counts": {"succeeded": 2, "failed": 1},
    "rows": 2,
    "errors": {"c": "torn"},
    "errors_total": 1,
    "manifest": "s3://aws_default@invoices/2026/data.jsonl.manifest.json",
}


@pytest.fixture
def events() -> Any:
    """Return what Airflow puts into a task's context as ``outlet_events``."""
    try:
        from airflow.sdk.execution_time.context import OutletEventAccessors
    except ImportError:  # 2.11
        from airflow.utils.context import OutletEventAccessors
    return OutletEventAccessors()


def test_the_event_of_an_asset_carries_the_manifest_beside_what_is_there(events: Any) -> None:
    asset, _, _ = asset_classes()
    outlet, other = asset("s3://invoices/2026"), asset("s3://other")
    events[outlet].extra = {"mine": 1}
    report_output({"outlet_events": events}, [outlet], WRITTEN)
    assert events[outlet].extra == {"mine": 1, "docstatus": WRITTEN}
    assert events[other].extra == {}


def test_the_event_of_an_alias_is_of_the_file_without_the_connection(events: Any) -> None:
    _, alias, _ = asset_classes()
    outlet = alias("invoices")
    report_output({"outlet_events": events}, [outlet], WRITTEN)
    report_output({"outlet_events": events}, [outlet], {**WRITTEN, "path": "file:///data/a.json"})
    if hasattr(events[outlet], "asset_alias_events"):
        told = [(one.dest_asset_key.uri, one.extra) for one in events[outlet].asset_alias_events]
    else:  # 2.11
        told = [(one["dest_dataset_uri"], one["extra"]) for one in events[outlet].dataset_alias_events]
    assert [uri for uri, _ in told] == ["s3://invoices/2026/data.jsonl", "file:///data/a.json"]
    assert told[0][1] == {"docstatus": WRITTEN}


def test_other_outlets_and_a_task_without_airflow_are_left_alone(events: Any) -> None:
    report_output({"outlet_events": events}, [object(), "s3://invoices"], WRITTEN)
    assert len(events) == 0
    report_output({}, [object()], WRITTEN)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://aws_default@invoices/2026/a b?c#d.json", ("s3://invoices", "2026/a b?c#d.json")),
        ("gs://invoices/a.json", ("gs://invoices", "a.json")),
        ("file:///data/a.json", ("file", "/data/a.json")),
        ("file://host/data/a.json", ("file://host", "/data/a.json")),
    ],
)
def test_a_file_has_the_name_that_openlineage_gives_it(url: str, place: tuple[str, str]) -> None:
    assert place_of(url) == place


@dataclass
class OperatorLineage:
    """As OpenLineage's provider has it."""

    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)


@pytest.fixture
def openlineage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the classes of OpenLineage's provider and client, as far as they are used, in place of the real ones."""
    classes = {
        "airflow.providers.openlineage.extractors": {"OperatorLineage": OperatorLineage},
        "openlineage.client.generated.base": {"OutputDataset": dict},
        "openlineage.client.generated.output_statistics_output_dataset": {"OutputStatisticsOutputDatasetFacet": dict},
    }
    parents = ["airflow.providers.openlineage", "openlineage", "openlineage.client", "openlineage.client.generated"]
    for name in [*parents, *classes]:
        module = ModuleType(name)
        vars(module).update(classes.get(name, {}))
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("openlineage")
def test_openlineage_is_told_the_final_file_once_and_what_is_in_it() -> None:
    told = facets_of(WRITTEN)
    statistics = {"rowCount": 2, "size": 12, "fileCount": 1}
    output = {
        "namespace": "s3://invoices",
        "name": "2026/data.jsonl",
        "outputFacets": {"outputStatistics": statistics},
    }
    assert told == OperatorLineage(outputs=[output])


@pytest.mark.usefixtures("openlineage")
def test_openlineage_is_told_nothing_of_a_task_that_wrote_no_file() -> None:
    assert facets_of(None) is None


def test_nothing_is_told_where_openlineage_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors", None)
    assert facets_of(WRITTEN) is None
