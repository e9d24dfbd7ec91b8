"""The keys of a connection's extra: each has what a form needs."""

from __future__ import annotations

import json

import pytest

from airflow_provider_docstatus.transport.settings import SETTINGS


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_a_name_and_a_sentence_for_the_form(name):
    setting = SETTINGS[name]
    assert setting.label
    assert setting.help.endswith(".")
    assert setting.type in ("string", "number", "integer", "boolean", "object")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_default_is_of_its_own_type(name):
    setting = SETTINGS[name]
    types = {"string": str, "number": float, "integer": int, "boolean": bool, "object": dict}
    assert setting.default is None or type(setting.default) is types[setting.type]
    json.dumps(setting.default)
