"""A service comes in by an entry point of another package; whatever that package does, the others stay."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow
import pytest

import airflow_provider_docstatus
from airflow_provider_docstatus import DISTRIBUTION, hooks, registry
from airflow_provider_docstatus._compat import AirflowTaskTimeout
from airflow_provider_docstatus.exceptions import RequestRejected, UnexpectedReply
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.provider_info import get_provider_info
from airflow_provider_docstatus.sensors import DocStatusSensor
from airflow_provider_docstatus.services import AITRONOS, SERVICES
from airflow_provider_docstatus.testing import StandInVendors
from airflow_provider_docstatus.triggers import DocStatusTrigger
from airflow_provider_docstatus.waiting.report import ending_from
from tests.task_runs import FakeTaskInstance, deferral_of, event_of, travelled

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = tuple(int(number) for number in airflow.__version__.split(".")[:2])
ROOT = Path(airflow_provider_docstatus.__file__).parents[1]
GROUP = "airflow_provider_docstatus.services"
#: A module with a service that answers as Aitronos does.
LIKE_AITRONOS = """
from dataclasses import replace
from airflow_provider_docstatus.services import AITRONOS
SERVICE = replace(AITRONOS, name={name!r}, title={title!r}{more})
"""


def module(name: str = "my_service", title: str = "My Service", more: str = "") -> str:
    """Return the text of a module whose ``SERVICE`` has a name."""
    return LIKE_AITRONOS.format(name=name, title=title, more=more and f", {more}")


class Packages:
    """A folder of installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def install(self, distribution: str, text: str = "", *, group: str = GROUP, points: str = "") -> str:
        """Install a package of one module, ``SERVICE`` of which is its service. Return the module's name."""
        name = f"{distribution.replace('-', '_')}_module"
        (self.folder / f"{name}.py").write_text(text or module())
        info = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{points or f'point = {name}:SERVICE'}\n")
        self.modules.append(name)
        importlib.invalidate_caches()
        return name


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """Return an empty folder for packages, and let this process load the entry points anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_installed", registry._Installed())
    before = set(vars(hooks))
    packages = Packages(tmp_path)
    yield packages
    for name in packages.modules:
        sys.modules.pop(name, None)
    for name in set(vars(hooks)) - before:
        delattr(hooks, name)
    importlib.invalidate_caches()


#: The connection types without another package's.
TYPES = [*SERVICES, "docstatus"]


def types_shown() -> list[str]:
    """Return the connection types in the metadata, in their order."""
    return [one["connection-type"] for one in get_provider_info()["connection-types"]]


def names() -> list[str]:
    return [one.service.name for one in registry.all_services() if one.distribution != DISTRIBUTION]


# -- what is there ---------------------------------------------------------------------------------------------


def test_a_built_in_service_is_found_without_a_look_at_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_installed", None)
    for name, service in SERVICES.items():
        assert registry.find(name) == registry.Registered(service, DISTRIBUTION)
        assert registry.find_hook(service.hook_class_name) == registry.Registered(service, DISTRIBUTION)


def test_a_service_of_another_package_is_found(packages: Packages) -> None:
    packages.install("vendor-package")
    found = registry.find("my_service")
    assert found is not None
    assert (found.service.title, found.distribution) == ("My Service", "vendor-package")
    assert registry.find("another_one") is None
    assert [one.service.name for one in registry.all_services()] == [*SERVICES, "my_service"]


def test_the_module_in_the_documentation_is_a_package(packages: Packages) -> None:
    page = (ROOT / "docs/adding-a-service.md").read_text()
    text, points = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)[0] for kind in ("python", "toml"))
    group, point = points.splitlines()
    assert group == f'[project.entry-points."{GROUP}"]'
    packages.install("archive-docstatus", points=point.replace('"', ""))
    (packages.folder / "archive_docstatus.py").write_text(text)
    packages.modules.append("archive_docstatus")
    found = registry.find("archive")
    assert found is not None
    assert found.service.states["queued"] == "running"


def test_without_another_package_there_are_the_built_in_ones_only(packages: Packages) -> None:
    assert registry.all_services() == [registry.Registered(service, DISTRIBUTION) for service in SERVICES.values()]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that grows with each load."""
    loads: list[None] = []
    load = registry.load_entry_points
    monkeypatch.setattr(registry, "load_entry_points", lambda: (loads.append(None), load())[1])
    return loads


def test_entry_points_are_loaded_once(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.install("vendor-package", "raise ValueError")
    loads = counted(monkeypatch)
    for _ in range(2):
        registry.all_services()
        registry.find("my_service")
        get_provider_info()
    assert len(loads) == 1


def test_threads_that_ask_at_the_same_time_load_once(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.install("vendor-package")
    loads, together, found = counted(monkeypatch), threading.Barrier(4, timeout=10), []

    def ask() -> None:
        together.wait()
        found.append(registry.find("my_service"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 4
    assert None not in found
    assert len(loads) == 1


def test_a_thread_that_the_loader_waits_for_is_not_held_for_ever(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.install("vendor-package")
    monkeypatch.setattr(registry, "_LONGEST_LOAD", 0.01)
    with registry._installed._lock:  # as a process has it that was forked while another thread was loading
        assert registry.find("my_service") is not None


def test_a_module_may_ask_for_services_while_it_is_loaded(packages: Packages) -> None:
    text = "from airflow_provider_docstatus.registry import all_services, find\nall_services(), find('x')\n"
    packages.install("vendor-package", text + module())
    assert names() == ["my_service"]


# -- what a package does wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('no licence')", "ValueError: no licence"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Odd(BaseException): pass\nraise Odd", "Odd"),
        ("class Odd(Exception):\n def __str__(self): raise self\nraise Odd", "Odd"),
        ("def (", "SyntaxError: invalid syntax"),
        ("import not_there_at_all", "No module named 'not_there_at_all'"),
        ("OTHER = 1", "no attribute 'SERVICE'"),
        ("SERVICE = {'name': 'my_service'}", "it is no ServiceDescription but a dict"),
        (
            "from airflow_provider_docstatus.services import ServiceDescription as SERVICE",
            "it is no ServiceDescription but a type",
        ),
        (module(more="host=None"), "host of its description must be text"),
        (module(more="class_name=5"), "class_name of its description must be text"),
        (module(more="class_name='my.Service'"), "class_name 'my.Service' is not in CamelCase"),
        (module(more="host='https://me:secret@archive.example.com'"), "breaks a rule: host: must be an https URL without user"),
        (module(more="poll_interval=0.005"), "breaks a rule: poll_interval: must be a number from 1 to 86400"),
        (module(more="auth={'key': None}"), "its description cannot be checked (TypeError"),
    ],
)
def test_a_package_that_cannot_be_used_costs_only_its_own_service(
    packages: Packages, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    packages.install("bad-package", text)
    packages.install("good-package")
    assert names() == ["my_service"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == registry.__name__]
    assert line.startswith("Entry point point = bad_package_module:SERVICE of bad-package is left out: ")
    assert said in line
    assert line.endswith("The service is missing until the maintainers of bad-package have mended that.")
    assert "Airflow" not in line
    assert types_shown() == [*SERVICES, "my_service", "docstatus"]


@pytest.mark.parametrize(
    "text",
    [
        "from airflow import not_there_at_all",
        "import airflow.not_there_at_all",
        "import airflow\nairflow.not_there_at_all",
        "import airflow.example_dags.not_there_at_all",
    ],
)
def test_a_module_that_cannot_import_airflow_is_told_why(packages: Packages, caplog: pytest.LogCaptureFixture, text: str) -> None:
    packages.install("bad-package", text)
    assert names() == []
    assert "Its module can import neither Airflow, which loads it while it starts itself, nor what imports Airflow" in caplog.text


def test_an_entry_point_without_an_object_is_left_out(packages: Packages) -> None:
    packages.install("bad-package", points="point = bad_package_module")
    packages.install("worse-package", points="point = ")
    assert names() == []


def test_metadata_that_cannot_be_read_leave_the_built_in_services(
    monkeypatch: pytest.MonkeyPatch, packages: Packages, caplog: pytest.LogCaptureFixture
) -> None:
    def entry_points(**_: Any) -> None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert names() == []
    assert "cannot be read (UnicodeDecodeError" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, AirflowTaskTimeout])
def test_what_is_meant_for_the_process_is_raised_on(packages: Packages, error: type[BaseException]) -> None:
    name = packages.install("vendor-package", f"from {error.__module__} import {error.__name__}\nraise {error.__name__}")
    with pytest.raises(error):
        registry.find("my_service")
    (packages.folder / f"{name}.py").write_text(f"# {error.__name__}\n{module()}")
    importlib.invalidate_caches()
    assert names() == ["my_service"], "the next one loads again"


@pytest.mark.parametrize(("seconds", "is_logged"), [(0.049, False), (0.051, True)])
def test_a_slow_load_is_logged(packages: Packages, caplog: pytest.LogCaptureFixture, seconds: float, is_logged: bool) -> None:
    packages.install("vendor-package")
    clock = iter([100.0, 100.0 + seconds])
    assert list(registry.load_entry_points(lambda: next(clock))) == ["my_service"]
    assert ("Entry point point of vendor-package took 51 ms to load" in caplog.text) is is_logged


# -- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my_service", "a", "a1", "a_1b_c", "service2"])
def test_a_good_name(packages: Packages, name: str) -> None:
    packages.install("vendor-package", module(name))
    assert names() == [name]


@pytest.mark.parametrize("name", ["", "my-service", "my__service", "_my", "my_", "My", "1st", "my service", "my_service\n", "mÿ"])
def test_a_bad_name_is_refused(packages: Packages, caplog: pytest.LogCaptureFixture, name: str) -> None:
    packages.install("vendor-package", module(name))
    assert names() == []
    assert f"its service's name {name!r} is not made of" in caplog.text


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("aitronos", "", f"{DISTRIBUTION} already has the name aitronos."),
        ("mine", "class_name='Aitronos'", f"{DISTRIBUTION} already has the name AitronosHook."),
        ("docstatus", "", f"{DISTRIBUTION} already has the name docstatus."),
        ("base", "", f"{DISTRIBUTION} already has the name BaseHook."),
        ("doc_status", "class_name='DocStatus'", f"{DISTRIBUTION} already has the name DocStatusHook."),
        ("email", "", "apache-airflow already has the name email."),
        ("earlier", "", "a-package already has the name earlier."),
        ("mine", "class_name='Earlier'", "a-package already has the name EarlierHook."),
    ],
)
def test_a_name_that_is_taken_is_refused(
    packages: Packages, caplog: pytest.LogCaptureFixture, name: str, more: str, said: str
) -> None:
    packages.install("vendor-package", module(name, more=more))
    packages.install("a-package", module("earlier", "Earlier"))
    assert names() == ["earlier"]
    assert f"Entry point point of vendor-package is left out: {said}" in caplog.text
    assert registry.find("aitronos").service is SERVICES["aitronos"]


def provider(*types: str) -> str:
    return f"def SERVICE():\n return {{'connection-types': [{{'connection-type': one}} for one in {types}]}}\n"


def test_the_connection_type_of_another_provider_is_refused(packages: Packages, caplog: pytest.LogCaptureFixture) -> None:
    packages.install("z-provider", provider("theirs", "more"), group="apache_airflow_provider")
    packages.install("vendor-package", module("theirs"))
    packages.install("w-package")
    assert names() == ["my_service"]
    assert "Entry point point of vendor-package is left out: z-provider already has the name theirs." in caplog.text


@pytest.mark.parametrize(
    "text", ["raise SystemExit", "def SERVICE(): raise ValueError", "def SERVICE(): return {'connection-types': 5}", provider()]
)
def test_a_provider_that_cannot_be_read_changes_nothing(packages: Packages, text: str) -> None:
    packages.install("a-provider", text, group="apache_airflow_provider")
    packages.install("vendor-package")
    assert names() == ["my_service"]


def test_other_providers_are_asked_only_if_there_is_a_service(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = []
    entry_points = registry.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda group: (groups.append(group), entry_points(group=group))[1])
    assert names() == []
    assert groups == [GROUP]


def test_our_own_metadata_are_not_asked_for_in_turn(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_provider_info() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("airflow_provider_docstatus.provider_info.get_provider_info", get_provider_info)
    packages.install("vendor-package")
    assert names() == ["my_service"]


# -- the hook class --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "class_name", "hook"),
    [("my_service", "", "MyServiceHook"), ("a_1b", "", "A1bHook"), ("my_service", "MyOCR", "MyOCRHook")],
)
def test_a_service_names_its_hook_class(name: str, class_name: str, hook: str) -> None:
    assert replace(AITRONOS, name=name, class_name=class_name).hook_class_name == hook


def test_the_hook_class_of_a_service_is_made_once(packages: Packages) -> None:
    packages.install("vendor-package")
    made = hooks.MyServiceHook
    assert made is hooks.MyServiceHook
    assert issubclass(made, DocStatusHook)
    assert (made.__module__, made.__qualname__) == (hooks.__name__, "MyServiceHook")
    assert (made.conn_type, made.hook_name, made.default_conn_name) == ("my_service", "My Service", "my_service_default")
    assert made.get_ui_field_behaviour()["placeholders"]["host"] == AITRONOS.host
    assert {"get_connection_form_widgets", "get_ui_field_behaviour"} <= set(vars(made))


@pytest.mark.parametrize("name", ["UnknownHook", "Unknown", "_hook", "__path__"])
def test_an_unknown_name_of_the_hooks_module_is_an_attribute_error(
    packages: Packages, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    loads = counted(monkeypatch)
    with pytest.raises(AttributeError, match=f"module 'airflow_provider_docstatus.hooks' has no attribute '{name}'"):
        getattr(hooks, name)
    assert len(loads) == (name == "UnknownHook")


# -- the metadata ----------------------------------------------------------------------------------------------


def test_the_metadata_list_the_service(packages: Packages) -> None:
    packages.install("vendor-package")
    info = get_provider_info()
    by_type = {one["connection-type"]: one for one in info["connection-types"]}
    assert list(by_type) == [*SERVICES, "my_service", "docstatus"]
    built_in, mine = by_type["aitronos"], by_type["my_service"]
    assert mine == {
        **built_in,
        "connection-type": "my_service",
        "hook-name": "My Service",
        "hook-class-name": "airflow_provider_docstatus.hooks.MyServiceHook",
        "ui-field-behaviour": mine["ui-field-behaviour"],
    }
    assert mine["ui-field-behaviour"]["placeholders"] == {"host": AITRONOS.host, "password": "My Service API key"}
    assert info["integrations"][-1]["integration-name"] == "My Service"
    assert f"and {len(SERVICES) - 2} more)" in info["description"], "ten names are too long for a sentence"


@pytest.mark.parametrize("more", ["auth=5", "auth={b'bytes': 1, b'other': 2}", "prefixes=None"])
def test_a_description_that_cannot_be_shown_is_left_out_of_the_metadata(
    packages: Packages, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setattr(registry, "check", lambda _: None)
    packages.install("vendor-package", module(more=more))
    assert types_shown() == TYPES
    assert "Service my_service of vendor-package has no connection form" in caplog.text


# -- a wait ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[StandInVendors]:
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


def sensor(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, seconds: float = math.inf) -> DocStatusSensor:
    """Return a sensor of a connection with the type of the other package's service, for a job that takes so many seconds."""
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({**vendors.connections()["aitronos_default"], "conn_type": "my_service"}))
    job_id = vendors.add_job("aitronos", seconds=seconds)
    return DocStatusSensor(task_id="gate", conn_id="mine", job_id=job_id, deferrable=True, watch_on_worker=0)


def deferred(vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> DocStatusTrigger:
    """Return the trigger of a wait for a job that never ends by itself."""
    return deferral_of(sensor(vendors, monkeypatch)).trigger


def test_the_worker_asks_the_service(packages: Packages, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.install("vendor-package")
    ti = FakeTaskInstance()
    sensor(vendors, monkeypatch, seconds=0).execute({"ti": ti})
    assert (ti.xcoms["docstatus"]["service"], ti.xcoms["docstatus"]["state"]) == ("my_service", "succeeded")


async def test_the_trigger_waits_for_the_service(
    packages: Packages, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.install("vendor-package")
    found = registry.find("my_service")
    quick = replace(found, service=replace(found.service, poll_interval=0.005, least_poll_interval=0.0025))
    monkeypatch.setattr(registry._installed, "_services", {"my_service": quick})
    trigger = deferred(vendors, monkeypatch)
    assert trigger.serialize()[1]["distribution"] == "vendor-package"
    vendors.finish(trigger.spec.id)
    ending = ending_from(await event_of(travelled(trigger)))
    assert (ending.outcome, ending.service) == ("succeeded", "my_service")


def without_the_package(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the folder holds, as in a process where it is not installed."""
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(packages.folder)])
    monkeypatch.setattr(registry, "_installed", registry._Installed())


async def test_a_triggerer_without_the_package_says_what_to_install(
    packages: Packages, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.install("vendor-package")
    trigger = deferred(vendors, monkeypatch)
    without_the_package(packages, monkeypatch)
    asked = len(vendors.requests)
    event = await event_of(travelled(trigger))
    assert event["outcome"] == "unexpected"
    assert "install vendor-package on the triggerer" in event["text"]
    assert len(vendors.requests) == asked
    task = DocStatusSensor(task_id="gate", conn_id="mine", job_id=trigger.spec.id)
    with pytest.raises(UnexpectedReply, match="install vendor-package on the triggerer"):
        task.execute_complete({"ti": FakeTaskInstance()}, event)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"route": "tomorrows"}, "upgrade the triggerer and vendor-package on it"),
        ({"version": 999}, "upgrade the triggerer and vendor-package on it"),
        ({"distribution": DISTRIBUTION, "service": "tomorrows"}, "upgrade the triggerer"),
        ({"distribution": ["odd"], "service": "tomorrows"}, "install ['odd'] on the triggerer"),
    ],
    ids=str,
)
async def test_a_wait_that_the_triggerer_cannot_read_says_what_to_do(
    packages: Packages, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    packages.install("vendor-package")
    kwargs = deferred(vendors, monkeypatch).serialize()[1]
    event = await event_of(DocStatusTrigger(**{**kwargs, **changes}))
    assert event["outcome"] == "unexpected"
    assert said in event["text"]


async def test_a_wait_for_a_described_service_ends_where_the_connection_is_of_another_type(
    packages: Packages, vendors: StandInVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.install("vendor-package")
    kwargs = deferred(vendors, monkeypatch).serialize()[1]
    event = await event_of(DocStatusTrigger(**{**kwargs, "distribution": None, "service": "tomorrows"}))
    assert event["outcome"] == "rejected"
    assert "'mine' is now of type my_service; this wait began when it was tomorrows. Clear the task." in event["text"]


def test_a_wait_for_a_built_in_service_names_no_distribution(vendors: StandInVendors) -> None:
    """A triggerer of the first form takes it so."""
    job_id = vendors.add_job("aitronos", seconds=60)
    task = DocStatusSensor(task_id="gate", conn_id="aitronos_default", job_id=job_id, deferrable=True, watch_on_worker=0)
    trigger = deferral_of(task).trigger
    assert "distribution" not in trigger.serialize()[1]
    assert travelled(trigger).spec.distribution == DISTRIBUTION


def test_a_described_service_keeps_that_it_has_no_distribution() -> None:
    assert travelled(DocStatusTrigger(distribution=None)).spec.distribution is None


def test_the_texts_name_the_service(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.install("vendor-package")
    number = len(SERVICES) + 1
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps({"conn_type": "My-Service"}))
    with pytest.raises(RequestRejected, match=rf"and {number + 1 - 3} more types .*; did you mean my_service\? Make one with"):
        DocStatusHook("wrong").endpoint  # noqa: B018 -- it reads the connection
    with pytest.raises(RequestRejected, match=rf"type is one of .* and {number - 3} more services;"):
        DocStatusHook("missing").endpoint  # noqa: B018


@pytest.mark.parametrize(
    ("names", "text"), [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (["a", "b", "c", "d", "e"], "a, b, c and 2 more")]
)
def test_a_long_list_is_told_in_few_words(names: list[str], text: str) -> None:
    assert registry.few_of(names) == text


# -- in a process of its own -----------------------------------------------------------------------------------

# Airflow 3.3 reads all metadata when it is imported, so that its own reading is replaced here.
IMPORTS = """
import sys
from airflow_provider_docstatus import provider_info
few = {"package-name": "airflow-provider-docstatus", "name": "x", "description": "x", "versions": ["1"]}
provider_info.get_provider_info = lambda: few
import airflow_provider_docstatus.sensors, airflow_provider_docstatus.operators, airflow_provider_docstatus.triggers
import airflow_provider_docstatus.hooks, airflow_provider_docstatus.links
from airflow_provider_docstatus.hooks import AitronosHook
assert "vendor_package_module" not in sys.modules
from airflow_provider_docstatus.hooks import MyServiceHook
assert "vendor_package_module" in sys.modules
"""
METADATA = """
import sys
from airflow_provider_docstatus.provider_info import get_provider_info
print(*[one["connection-type"] for one in get_provider_info()["connection-types"]])
assert "airflow" not in sys.modules
"""
# The form's fields are in the manager up to 3.1, and in the API server's answer from 3.0 on.
MANAGER = """
import contextlib, json
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
hook = manager.hooks["my_service"]
fields = {}
with contextlib.suppress(ImportError):
    fields = {name.split("__")[2] for name in manager.connection_form_widgets if name.startswith("extra__my_service__")}
with contextlib.suppress(ImportError):
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
    (form,) = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "my_service"]
    fields = set(form.model_dump(mode="json")["extra_fields"] or ())
print(json.dumps({"hook": hook.hook_class_name, "title": hook.hook_name, "fields": sorted(fields)}))
"""


def fresh(packages: Packages, script: str) -> str:
    """Run a script in a process that has the packages; return what it prints."""
    path = os.pathsep.join([str(packages.folder), str(ROOT)])
    command = [sys.executable, "-c", script]
    process = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


def test_importing_us_loads_no_entry_point(packages: Packages) -> None:
    packages.install("vendor-package")
    fresh(packages, IMPORTS)


def test_the_metadata_import_no_airflow_whatever_an_entry_point_does(packages: Packages) -> None:
    packages.install("bad-package", "import os, sys\nsys.exit('no')")
    packages.install("worse-package", points="point = worse_package_module:None.nothing")
    assert fresh(packages, METADATA).split() == TYPES


def test_airflow_shows_the_type_with_its_form(packages: Packages) -> None:
    packages.install("bad-package", "raise SystemExit")
    packages.install("vendor-package")
    shown = json.loads(fresh(packages, MANAGER).splitlines()[-1])
    assert shown["hook"] == "airflow_provider_docstatus.hooks.MyServiceHook"
    assert shown["title"] == "My Service"
    if (
        not (3, 0) <= LINE < (3, 2)
    ):  # these lines have no provider's form without Flask-AppBuilder, or their API server's stand-in
        assert {"auth", "request_timeout", "proxy"} <= set(shown["fields"])
