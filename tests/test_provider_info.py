"""What Airflow sees of the package: entry point, metadata, connection forms, and no deprecation warning."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow
import jsonschema
import pytest

import airflow_provider_docstatus
from airflow_provider_docstatus import hooks
from airflow_provider_docstatus._compat import BaseOperatorLink
from airflow_provider_docstatus.provider_info import form_settings, get_provider_info
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.transport.connection import Endpoint
from airflow_provider_docstatus.transport.settings import ALL_SETTINGS, EXAMPLE_HOST, OWN_SETTINGS, SETTINGS

LINE = tuple(int(number) for number in airflow.__version__.split(".")[:2])
#: What DAGs import, so that a name here must not change.
HOOKS = {
    "neurolinker": "NeurolinkerHook",
    "aitronos": "AitronosHook",
    "unsiloed": "UnsiloedHook",
    "reducto": "ReductoHook",
    "llamaparse": "LlamaParseHook",
    "landingai": "LandingAIHook",
    "datalab": "DatalabHook",
    "extend": "ExtendHook",
    "azure_di": "AzureDIHook",
    "docling": "DoclingHook",
    "docstatus": "DocStatusHook",
}
OURS = "airflow_provider_docstatus"

# One process for all that must be seen from a fresh interpreter: Airflow takes seconds to start.
LOOK = r"""
import contextlib, gc, io, json, pkgutil, sys
gc.disable()  # a sixth of the time it takes
from airflow.providers_manager import ProvidersManager

types, seen, manager = TYPES, {}, ProvidersManager()
try:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
except ImportError:  # 2.11
    fields = {name: info.field.kwargs for name, info in manager.connection_form_widgets.items()}
    seen["forms"] = {
        name: {
            "fields": {key.split("__")[2]: kwargs["description"] for key, kwargs in fields.items() if key.split("__")[1] == name},
            "behaviour": manager.field_behaviours[name],
        }
        for name in types
    }
else:
    metadata = [form.model_dump(mode="json") for form in HookMetaService.hook_meta_data()]
    seen["forms"] = {form["connection_type"]: form for form in metadata if form["connection_type"] in types}
seen["hooks imported for the forms"] = "airflow_provider_docstatus.hooks" in sys.modules
seen["version"] = manager.providers["airflow-provider-docstatus"].version
seen["links"] = list(manager.extra_links_class_names)
seen["triggers"] = [str(trigger) for trigger in manager.trigger]
seen["hooks"] = {name: manager.hooks[name]._asdict() for name in types}

import airflow_provider_docstatus
for module in pkgutil.walk_packages(airflow_provider_docstatus.__path__, "airflow_provider_docstatus."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.links import DocumentPageLink
from airflow_provider_docstatus.hooks import DocStatusHook
DocStatusSensor(task_id="sensor", conn_id="aitronos_default", job_id="j")
ExtractedDataOperator(task_id="operator", conn_id="aitronos_default", job_id="j")
DocStatusTrigger(conn_id="aitronos_default", service="aitronos").serialize()
DocumentPageLink().get_link(None, ti_key=None)
DocStatusHook("aitronos_default").endpoint

said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    from airflow.__main__ import main
    sys.argv = ["airflow", "providers", "get", "airflow-provider-docstatus", "--full", "--output", "json"]
    main()
text = said.getvalue()
seen["providers get"] = json.loads(text[text.index("[{"):])
with open(OUT, "w") as file:
    json.dump(seen, file, default=str)
"""


def title_of(name: str) -> str:
    return SERVICES[name].title if name in SERVICES else "Document extraction status"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """Return what a fresh Airflow sees, and what it prints to standard error with all warnings on."""
    out = tmp_path_factory.mktemp("fresh") / "seen.json"
    environment = {**os.environ, "AIRFLOW_CONN_AITRONOS_DEFAULT": "aitronos://:key_of_the_account@"}
    process = subprocess.run(
        [sys.executable, "-W", "default", "-c", LOOK.replace("OUT", repr(str(out))).replace("TYPES", repr([*HOOKS]))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(out.read_text()), process.stdout + process.stderr


def test_the_entry_point_gives_the_metadata() -> None:
    found = [point for point in entry_points(group="apache_airflow_provider") if point.value.startswith(OURS)]
    assert [point.name for point in found] == ["provider_info"]
    assert found[0].load()() == get_provider_info()
    assert found[0].dist is not None
    assert found[0].dist.name == get_provider_info()["package-name"]


def test_the_metadata_fit_this_lines_schema() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_metadata_are_plain_json_and_need_nothing_that_is_slow_to_import() -> None:
    """Every process of Airflow's asks for them when it starts."""
    script = f"import sys, json; from {OURS}.provider_info import get_provider_info as g; json.dumps(g()); print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in process.stdout.split()}
    assert "json" in imported
    assert not imported & {"airflow", "aiohttp", "requests", "tenacity", "asyncio", "ssl", "_ssl"}


def test_every_module_that_the_metadata_name_exists() -> None:
    info = get_provider_info()
    for group in ("hooks", "sensors", "operators", "triggers"):
        for entry in info[group]:
            for module in entry["python-modules"]:
                assert import_module(module)
    for name in info["extra-links"]:
        module, _, class_name = name.rpartition(".")
        assert issubclass(getattr(import_module(module), class_name), BaseOperatorLink)


@pytest.mark.parametrize("name", HOOKS)
def test_hook_class_and_metadata_agree(name: str) -> None:
    (entry,) = [entry for entry in get_provider_info()["connection-types"] if entry["connection-type"] == name]
    module, _, class_name = entry["hook-class-name"].rpartition(".")
    hook = getattr(import_module(module), class_name)
    assert hook is getattr(hooks, HOOKS[name])
    assert (hook.conn_type, hook.hook_name, hook.conn_name_attr) == (name, entry["hook-name"], "conn_id")
    assert hook.default_conn_name == f"{name}_default"
    assert hook.get_ui_field_behaviour() == {key.replace("-", "_"): value for key, value in entry["ui-field-behaviour"].items()}
    assert "__" not in name


def test_every_service_has_a_connection_type() -> None:
    types = [entry["connection-type"] for entry in get_provider_info()["connection-types"]]
    assert types == [*SERVICES, "docstatus"] == list(HOOKS)


def test_airflow_finds_hooks_links_and_triggers(fresh: tuple[dict[str, Any], str]) -> None:
    seen, _ = fresh
    assert seen["version"] == airflow_provider_docstatus.__version__
    assert f"{OURS}.links.DocumentPageLink" in seen["links"]
    assert any(f"{OURS}.triggers" in trigger for trigger in seen["triggers"])
    for name, hook in seen["hooks"].items():
        assert hook["hook_class_name"] == f"{OURS}.hooks.{HOOKS[name]}"
        assert hook["hook_name"] == title_of(name)
        assert hook["connection_id_attribute_name"] == "conn_id"
        assert hook["connection_testable"] is True


@pytest.mark.skipif(LINE < (3, 3), reason="earlier lines import the hooks for their forms")
def test_the_forms_need_no_import_of_the_hooks(fresh: tuple[dict[str, Any], str]) -> None:
    assert fresh[0]["hooks imported for the forms"] is False


def _has_form_library() -> bool:
    return LINE != (3, 0) or any(module.name == "flask_appbuilder" for module in pkgutil.iter_modules())


@pytest.mark.skipif(not _has_form_library(), reason="Airflow 3.0 has no provider's form without Flask-AppBuilder")
@pytest.mark.parametrize("name", HOOKS)
def test_the_form_has_the_settings_that_matter_and_hides_what_does_not(name: str, fresh: tuple[dict[str, Any], str]) -> None:
    form, service = fresh[0]["forms"][name], SERVICES.get(name)
    host = (service.host or EXAMPLE_HOST) if service else "the host of the description"
    if LINE < (3, 0):
        behaviour = form["behaviour"]
        assert list(form["fields"]) == form_settings(service)
        assert form["fields"] == {setting: ALL_SETTINGS[setting].help for setting in form["fields"]}
        assert set(behaviour["hidden_fields"]) == {"schema", "login", "port"}
        assert behaviour["relabeling"]["password"] == "API key"
        assert behaviour["placeholders"]["host"] == host
        return
    standard = form["standard_fields"]
    assert form["hook_name"] == title_of(name)
    assert [standard[field]["hidden"] for field in ("url_schema", "port", "login")] == [True] * 3
    assert [standard[field]["hidden"] for field in ("host", "password")] == [False] * 2
    assert standard["host"]["placeholder"] == host
    assert standard["password"]["title"] == "API key"
    assert list(form["extra_fields"]) == form_settings(service)
    for setting, field in form["extra_fields"].items():
        assert field["schema"]["title"] == ALL_SETTINGS[setting].label
        assert field["description"] == ALL_SETTINGS[setting].help


@pytest.mark.parametrize("name", HOOKS)
def test_the_hooks_own_form_has_a_text_field_for_each_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def field(label: str, *, description: str, widget: object) -> tuple[str, str]:
        assert widget == ("a widget of many lines" if label == "Description" else "a text widget")
        return label, description

    # What 2.11 to 3.1 read; 3.1 puts such stand-ins there itself where Flask-AppBuilder is not installed.
    stand_ins = {
        "flask_appbuilder.fieldwidgets": SimpleNamespace(
            BS3TextFieldWidget=lambda: "a text widget", BS3TextAreaFieldWidget=lambda: "a widget of many lines"
        ),
        "flask_babel": SimpleNamespace(lazy_gettext=str),
        "wtforms": SimpleNamespace(StringField=field),
    }
    for module, stand_in in stand_ins.items():
        monkeypatch.setitem(sys.modules, module, stand_in)
    hook = getattr(hooks, HOOKS[name])
    known = {key: ALL_SETTINGS[key] for key in form_settings(SERVICES.get(name))}
    assert hook.get_connection_form_widgets() == {key: (setting.label, setting.help) for key, setting in known.items()}
    # Airflow takes a form from the class itself only, not from the class it inherits from.
    assert {"get_connection_form_widgets", "get_ui_field_behaviour"} <= set(vars(hook))


@pytest.mark.skipif(LINE < (3, 2), reason="earlier forms have text fields only")
def test_the_forms_fields_have_types_choices_and_defaults(fresh: tuple[dict[str, Any], str]) -> None:
    fields = fresh[0]["forms"]["unsiloed"]["extra_fields"]
    assert fields["operation"]["schema"]["enum"] == list(SERVICES["unsiloed"].routes)
    assert fields["auth"]["schema"]["enum"] == ["api_key", "x_api_key", "bearer"]
    for setting, field in fields.items():
        assert field["schema"]["type"] == [SETTINGS[setting].type, "null"]
        assert field["value"] == SETTINGS[setting].default


@pytest.mark.skipif(LINE < (3, 2), reason="earlier forms have text fields of one line only")
def test_the_form_of_a_described_service_takes_a_description_of_many_lines(fresh: tuple[dict[str, Any], str]) -> None:
    fields = fresh[0]["forms"]["docstatus"]["extra_fields"]
    assert list(fields)[:2] == list(OWN_SETTINGS)
    assert fields["description"]["schema"]["format"] == "multiline"
    assert "format" not in fields["file"]["schema"]


def test_a_form_leaves_out_what_its_service_gives_no_choice_of() -> None:
    shown = {name: set(form_settings(service)) for name, service in SERVICES.items()}
    always = set(SETTINGS) - {"operation", "region", "auth", "prefix", "long_poll", "zero_retention", "link_hosts"}
    always -= {"headers", "status_words"}  # objects, which no field of a form takes
    assert {name: settings - always for name, settings in shown.items()} == {
        "neurolinker": {"prefix"},
        "aitronos": {"auth"},
        "unsiloed": {"operation", "auth"},
        "reducto": {"region", "long_poll", "link_hosts"},
        "llamaparse": {"operation", "region"},
        "landingai": {"operation", "region", "zero_retention", "link_hosts"},
        "datalab": {"operation", "link_hosts"},
        "extend": {"operation", "region"},
        "azure_di": {"operation", "auth"},
        "docling": {"prefix", "long_poll"},
    }
    assert all(settings >= always for settings in shown.values())
    assert always >= {"request_timeout", "proxy", "ca_bundle"}


def _as_printed(value: Any) -> Any:
    """Return a value as the command prints it: numbers and flags as text, texts without a full stop."""
    if isinstance(value, dict):
        return {key: _as_printed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_as_printed(part) for part in value]
    return value if value is None else str(value).rstrip(".")


def test_the_command_line_shows_everything(fresh: tuple[dict[str, Any], str]) -> None:
    (shown,) = fresh[0]["providers get"]
    assert {key: _as_printed(shown[key]) for key in get_provider_info()} == _as_printed(get_provider_info())


def test_importing_and_using_us_raises_no_deprecation_warning(fresh: tuple[dict[str, Any], str]) -> None:
    _, printed = fresh
    of_us = [line for line in printed.splitlines() if re.search(rf"(Deprecat|RemovedIn)\w*Warning.*{OURS}", line)]
    of_us += [line for line in printed.splitlines() if re.search(rf"{OURS}/\w+\.py.*(Deprecat|RemovedIn)", line)]
    assert of_us == []


EXTRA = {"request_timeout": 5.0, "allow_http": True, "status_words": {"archived": "succeeded"}}


def _extra(service: str) -> dict[str, Any]:
    return {**EXTRA, "auth": list(SERVICES[service].auth)[-1]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_connection_reads_the_same_as_json_uri_and_object(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models import Connection

    fields = {"conn_type": service, "host": "http://vendor.example:8080/base", "password": "k/e+y?o&f=t%h:e@account"}
    conn = Connection(conn_id="vendor", **fields, extra=json.dumps(_extra(service)))  # noqa: AIR311 -- its only home on 2.11
    from_object = Endpoint.from_connection(conn, conn.extra_dejson)
    read = {}
    as_json = json.dumps({**fields, "extra": _extra(service)})
    for form, text in {"json": as_json, "uri": conn.get_uri(), "airflow's own json": conn.as_json()}.items():
        monkeypatch.setenv("AIRFLOW_CONN_VENDOR", text)
        read[form] = hooks.DocStatusHook("vendor").endpoint
    for form, endpoint in read.items():
        assert endpoint == from_object, form
        assert endpoint.key == fields["password"]
        assert endpoint.request_timeout == 5.0
        assert "archived" in endpoint.service.states


@pytest.mark.parametrize("service", SERVICES)
def test_what_an_untouched_form_saves_means_the_defaults(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    empty: dict[str, Any] = dict.fromkeys(form_settings(SERVICES[service]))
    entry = next(entry for entry in get_provider_info()["connection-types"] if entry["connection-type"] == service)
    defaults = {name: field["schema"].get("default") for name, field in entry["conn-fields"].items()}
    texts = {name: "" if value is None else str(value) for name, value in defaults.items()}
    fields = {"conn_type": service, "host": SERVICES[service].host or EXAMPLE_HOST, "password": "key_key_key"}
    read = []
    for extra in ({}, empty, dict.fromkeys(empty, ""), defaults, texts):
        monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps({**fields, "extra": extra}))
        read.append(hooks.DocStatusHook("vendor").endpoint)
    assert all(endpoint == read[0] for endpoint in read)
