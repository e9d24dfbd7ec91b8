"""Imports point downwards only, and Airflow, requests and aiohttp stay where the design puts them (read, not run)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_docstatus

PACKAGE = "airflow_provider_docstatus"
ROOT = Path(airflow_provider_docstatus.__file__).parent

#: From the bottom to the top; a module imports from lower layers only. Neighbours in a layer do not import each other.
LAYERS = [
    {"", "status", "_compat"},
    {"exceptions"},
    {"reply"},
    {"description"},
    {"services.*"},
    {"services"},
    {"endpoint", "budget", "schedule"},
    {"provider_info"},
    {"hooks", "poller", "verdict", "results", "links"},
    {"many"},
    {"triggers"},
    {"gate"},
    {"sensors", "operators", "watchers"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

#: Who may import what besides the standard library and this package.
ALLOWED = {
    "_compat": {"airflow", "asgiref"},
    # urllib3 is requests' own: what reading a body piece by piece raises; the last three are for the forms of 2.11 to 3.1
    "hooks": {"requests", "tenacity", "urllib3", "flask_appbuilder", "flask_babel", "wtforms"},
    "poller": {"aiohttp", "yarl", "requests"},  # requests.utils reads the environment's proxies: both paths alike
    "testing.fixtures": {"pytest"},
    "testing.server": {"aiohttp", "typing_extensions"},
    "testing.*": {"aiohttp"},
}
#: What each of them may take from requests.
FROM_REQUESTS = {"poller": "requests.utils"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
OURS = {name: tree for name, tree in MODULES.items() if not name.startswith("testing")}
TESTING = {name: tree for name, tree in MODULES.items() if name.startswith("testing")}


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield what is imported, in functions and for type checkers too, with the names taken out of this package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name for name in names if name.removeprefix(f"{PACKAGE}.") in MODULES]
            yield from known or [str(node.module)]


IMPORTS = {name: list(_imports(tree)) for name, tree in MODULES.items()}


def within(name: str) -> list[str]:
    return [full.removeprefix(PACKAGE).lstrip(".") for full in IMPORTS[name] if full.split(".")[0] == PACKAGE]


def rank(name: str) -> int:
    layer = "services.*" if name.startswith("services.") else name
    assert layer in RANK, f"{name} has no layer: give it one above, and in the design"
    return RANK[layer]


@pytest.mark.parametrize("name", OURS)
def test_every_module_has_a_layer(name):
    rank(name)


@pytest.mark.parametrize("name", OURS)
def test_a_module_imports_from_lower_layers_only(name):
    upwards = [other for other in within(name) if rank(other) >= rank(name)]
    assert not upwards


@pytest.mark.parametrize("name", OURS)
def test_a_module_imports_nothing_of_the_stand_in(name):
    assert not [other for other in within(name) if other.startswith("testing")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_the_libraries_it_may(name):
    mine = {top for top in (full.split(".")[0] for full in IMPORTS[name]) if top != PACKAGE}
    allowed = ALLOWED.get(name, ALLOWED["testing.*"] if name.startswith("testing.") else set())
    assert mine - set(sys.stdlib_module_names) <= allowed


@pytest.mark.parametrize(("name", "only"), FROM_REQUESTS.items())
def test_the_poller_takes_nothing_from_requests_that_sends(name, only):
    assert {full for full in IMPORTS[name] if full.split(".")[0] == "requests"} == {only}


@pytest.mark.parametrize(
    "pure", ["status", "exceptions", "reply", "description", "services", "endpoint", "budget", "schedule", "provider_info"]
)
def test_what_is_pure_reaches_no_airflow_and_no_http_library(pure):
    reached, todo = set(), {pure}
    while todo:
        name = todo.pop()
        reached.add(name)
        todo |= {other for other in within(name) if other in OURS} - reached
    impure = {full.split(".")[0] for name in reached for full in IMPORTS[name]} & {"airflow", "requests", "aiohttp"}
    assert not impure
    assert "_compat" not in reached


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("hooks", "poller"),
        ("poller", "hooks"),
        ("verdict", "hooks"),
        ("verdict", "poller"),
        ("results", "hooks"),
        ("results", "poller"),
        ("triggers", "hooks"),
        ("provider_info", "hooks"),
    ],
)
def test_the_two_senders_are_kept_apart(name, other):
    assert other not in within(name)


@pytest.mark.parametrize("name", TESTING)
def test_the_stand_in_knows_nothing_of_what_it_tests(name):
    assert all(other.startswith("testing") for other in within(name))


def test_no_module_is_a_drawer_for_leftovers():
    assert not {"utils", "base", "const", "common", "helpers"} & {name.split(".")[-1] for name in MODULES}
