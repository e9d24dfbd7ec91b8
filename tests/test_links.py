"""The button to the vendor's page: it shows plain https links and never raises, which would hide all other buttons."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_docstatus import links
from airflow_provider_docstatus.links import XCOM_KEY, DocumentPageLink

PAGE = "https://neurolinker.ainexxo.com/job/1/extractions"


class XComWith:
    """Airflow's XCom, as far as the link uses it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def get_value(self, *, ti_key: Any, key: str) -> Any:
        assert (ti_key, key) == ("the task", XCOM_KEY)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


VALUES: dict[str, tuple[Any, str]] = {
    "a link": ({"link": PAGE}, PAGE),
    "no link": ({"link": None}, ""),
    "a status of an older version": ({}, ""),
    "nothing": (None, ""),
    "a list of statuses": ([{"link": PAGE}], ""),
    "plain http": ({"link": "http://neurolinker.ainexxo.com/job/1"}, ""),
    "a script": ({"link": "javascript:alert(1)"}, ""),
    "a number": ({"link": 7}, ""),
    "a text": ("link", ""),
    "no database": (RuntimeError("no such table: xcom"), ""),
    "no such key": (KeyError("docstatus"), ""),
}


@pytest.mark.parametrize(("value", "link"), VALUES.values(), ids=VALUES)
def test_the_button_of_a_task_that_has(value: Any, link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "XCom", XComWith(value))
    assert DocumentPageLink().get_link(None, ti_key="the task") == link


@pytest.mark.parametrize("ti_key", [None, "the task", object()], ids=["none", "text", "object"])
def test_airflows_own_xcom_may_fail_as_it_likes(ti_key: Any) -> None:
    assert DocumentPageLink().get_link(None, ti_key=ti_key) == ""


def test_sensor_and_operator_have_the_button() -> None:
    from airflow_provider_docstatus.operators import ExtractedDataOperator
    from airflow_provider_docstatus.sensors import DocStatusSensor

    for task in (DocStatusSensor, ExtractedDataOperator):
        (link,) = task.operator_extra_links
        assert isinstance(link, DocumentPageLink)
        assert link.name == "Document page"
