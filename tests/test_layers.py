"""Imports point downwards only; Airflow, HTTP and the clock stay where the design puts them (read, not run)."""

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
    {"", "protocol", "waiting", "transport", "files", "quality"},  # the folders' own modules hold a docstring and nothing else
    {"types", "_compat"},
    {"status"},
    {"exceptions", "links", "protocol.exact"},
    {"lineage"},
    {"protocol.messages", "protocol.values", "protocol.hosts", "protocol.confidence"},
    {"protocol.storable"},
    {"protocol.description"},
    {"protocol.targets", "protocol.refusals", "protocol.faults"},
    {"protocol.rules"},
    {"protocol.plain_data"},
    {"protocol.described"},
    {"protocol.responses", "protocol.reading"},
    {"protocol.statuses", "protocol.extracted"},
    {"protocol.paging", "protocol.prefixes"},
    {"protocol.flows"},
    {"protocol.results", "protocol.listing", "protocol.submissions"},
    {"quality.schema"},
    {"quality.judge"},
    {"services.*"},
    {"services"},
    {"registry"},
    {"waiting.spec", "waiting.outcomes", "waiting.intervals", "waiting.rate_limiter"},
    {"waiting.wait"},
    {"waiting.group", "waiting.polls", "waiting.question"},
    {"waiting.report", "waiting.subscriber", "waiting.schedule"},
    {"airflow_errors"},
    {"files.places", "files.disk"},
    {"files.storing"},
    {"files.spool"},
    {"files.rows", "files.manifest"},
    {"transport.settings", "transport.framing", "transport.redaction"},
    {"transport.fields", "transport.own_description"},
    {"transport.signed_links"},
    {"transport.connection"},
    {"transport.sync", "transport.aio"},
    {"transport.lookup"},
    {"provider_info", "blocking", "poller"},
    {"forms", "probe"},
    {"hooks"},
    {"own_poller", "carriable"},
    {"rounds"},
    {"arguments", "triggers", "fetching"},
    {"task", "told", "gate"},
    {"judging", "review"},
    {"output", "inline"},
    {"sensors", "operators", "watchers"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

#: Who may import what besides the standard library and this package.
ALLOWED = {
    "_compat": {"airflow", "asgiref", "openlineage"},
    "hooks": {"tenacity", "requests"},
    "protocol.plain_data": {"yaml"},  # Airflow itself depends on both
    "protocol.described": {"jsonschema"},
    "quality.schema": {"jsonschema", "referencing"},  # referencing is jsonschema's own
    "forms": {"flask_appbuilder", "flask_babel", "wtforms"},  # the web server of 2.11 to 3.1 has them
    "transport.sync": {"requests", "urllib3"},  # urllib3 is requests' own: what reading a body piece by piece raises
    "transport.aio": {"aiohttp", "yarl", "requests"},  # requests.utils reads the environment's proxies: both clients alike
    "testing.fixtures": {"pytest"},
    "testing.contract": {"pytest"},
    "testing.server": {"aiohttp", "typing_extensions"},
    "testing.*": {"aiohttp"},
}
#: What each of them may take from requests.
FROM_REQUESTS = {"transport.aio": "requests.utils"}

#: What decides from values and a handed-in clock. It neither sends nor waits, and does not know Airflow.
PURE = ("types", "status", "exceptions", "protocol", "quality", "services", "waiting")
SENDS_OR_WAITS = {"airflow", "requests", "urllib3", "aiohttp", "asyncio", "socket", "ssl", "threading", "http.client"}
#: What nothing pure may import: time.time(), time.sleep(), random.random() and the like are then not there to be called.
CLOCKS_AND_DICE = {"time", "random", "secrets", "uuid", "sched"}
#: What it may not use of datetime, which it may import.
CLOCK_READS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
#: What Airflow loads into every process at its start must be quick to load.
HEAVY = {"airflow", "requests", "urllib3", "aiohttp", "ssl", "asyncio"}

#: Lines of a module, so that one sitting is enough to read it. The stand-in is as long as its vendors' APIs.
LONGEST_MODULE = 400


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = {name: ast.parse(path.read_text()) for name, path in PATHS.items()}
OURS = {name: tree for name, tree in MODULES.items() if name.split(".")[0] != "testing"}
#: What reads recorded replies, and changes them. It knows no server.
RECORDED = {"testing.recordings", "testing.rewriting"}
#: What holds descriptions to recorded replies. It knows the package; the stand-in beside it does not.
CONTRACT = {"testing.contract", "testing.checks", "testing.reading"}
TESTING = {name: tree for name, tree in MODULES.items() if name.split(".")[0] == "testing" and name not in CONTRACT}
FOLDERS = sorted({path.parent for path in PATHS.values()})


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


def reached_from(name: str) -> set[str]:
    """Return a module and all of this package that it imports, and what that imports; the folders' own modules too."""
    reached: set[str] = set()
    todo = {name}
    while todo:
        one = todo.pop()
        reached.add(one)
        folders = {one.rpartition(".")[0]} - {""}
        todo |= ({other for other in within(one) if other in OURS} | folders) - reached
    return reached


def libraries_of(names: set[str]) -> set[str]:
    """Return what some modules import from outside this package, by its full name and by that of each package it is in."""
    full = {one for name in names for one in IMPORTS[name] if one.split(".")[0] != PACKAGE}
    return {".".join(one.split(".")[:length]) for one in full for length in range(1, one.count(".") + 2)}


def rank(name: str) -> int:
    layer = "services.*" if name.startswith("services.") else name
    assert layer in RANK, f"{name} has no layer: give it one above, and in the design"
    return RANK[layer]


def is_pure(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in PURE


@pytest.mark.parametrize("name", OURS)
def test_every_module_has_a_layer(name):
    rank(name)


@pytest.mark.parametrize("name", sorted(RANK.keys() - {"services.*", "watchers"}))
def test_every_layer_names_modules_that_exist(name):
    assert name in OURS


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
def test_the_asynchronous_client_takes_nothing_from_requests_that_sends(name, only):
    assert {full for full in IMPORTS[name] if full.split(".")[0] == "requests"} == {only}


# -- what is pure ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in OURS if is_pure(name)])
def test_what_is_pure_reaches_nothing_that_sends_or_waits(name):
    reached = reached_from(name)
    assert not libraries_of(reached) & SENDS_OR_WAITS
    assert "_compat" not in reached


@pytest.mark.parametrize("name", [name for name in OURS if is_pure(name)])
def test_what_is_pure_has_its_clock_and_its_dice_handed_in(name):
    assert not libraries_of(reached_from(name)) & CLOCKS_AND_DICE
    reads = [ast.unparse(node) for node in ast.walk(MODULES[name]) if isinstance(node, ast.Attribute)]
    assert not [read for read in reads if ".".join(read.split(".")[-2:]) in CLOCK_READS]


@pytest.mark.parametrize("name", [name for name in OURS if name.split(".")[0] == "waiting"])
def test_a_wait_knows_neither_the_vendors_nor_the_transport(name):
    assert not {other for other in reached_from(name) if other.split(".")[0] in ("services", "transport")}


@pytest.mark.parametrize("name", [name for name in OURS if name.split(".")[0] == "protocol"])
def test_the_protocol_knows_neither_the_vendors_nor_the_waits(name):
    assert not {other for other in reached_from(name) if other.split(".")[0] in ("services", "waiting", "transport")}


def test_what_airflow_loads_at_its_start_is_quick_to_load():
    reached = reached_from("provider_info")
    assert not libraries_of(reached) & HEAVY
    assert "_compat" not in reached
    assert {other.split(".")[0] for other in within("provider_info")} - {""} == {"registry", "services", "transport"}
    assert {other for other in reached if other.split(".")[0] == "transport"} == {"transport", "transport.settings"}


@pytest.mark.parametrize("name", [name for name in OURS if name.split(".")[0] == "files"])
def test_the_files_know_neither_the_vendors_nor_the_transport_nor_the_waits(name):
    assert not {other.split(".")[0] for other in reached_from(name)} & {"protocol", "services", "transport", "waiting"}


# -- the two senders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("hooks", "poller"),
        ("hooks", "transport.aio"),
        ("hooks", "transport.lookup"),
        ("blocking", "poller"),
        ("blocking", "transport.sync"),
        ("blocking", "transport.aio"),
        ("poller", "hooks"),
        ("poller", "blocking"),
        ("poller", "transport.sync"),
        ("triggers", "hooks"),
        ("triggers", "blocking"),
        ("triggers", "transport.sync"),
        ("transport.sync", "transport.aio"),
        ("transport.aio", "transport.sync"),
        ("provider_info", "hooks"),
    ],
)
def test_the_two_senders_are_kept_apart(name, other):
    assert other not in reached_from(name)


@pytest.mark.parametrize(("name", "library"), [("hooks", "aiohttp"), ("blocking", "requests"), ("blocking", "aiohttp")])
def test_a_sender_does_not_load_the_library_of_the_other(name, library):
    assert library not in libraries_of(reached_from(name))


# -- the shape of the package ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TESTING)
def test_the_stand_in_knows_nothing_of_what_it_tests(name):
    assert all(other.startswith("testing") and other not in CONTRACT for other in within(name))


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_the_contract_needs_neither_airflow_nor_the_stand_in(name):
    assert "_compat" not in reached_from(name)
    assert {other for other in within(name) if other.startswith("testing")} <= {*CONTRACT, *RECORDED}


def test_no_module_is_a_drawer_for_leftovers():
    assert not {"utils", "base", "const", "common", "helpers"} & {name.split(".")[-1] for name in MODULES}


@pytest.mark.parametrize("name", [*OURS, *sorted(CONTRACT)])
def test_a_module_can_be_read_in_one_sitting(name):
    assert len(PATHS[name].read_text().splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT.parent).as_posix())
def test_every_folder_says_in_one_line_what_it_holds(folder):
    said = ast.get_docstring(MODULES[name_of(folder / "__init__.py")], clean=False)
    assert said
    assert "\n" not in said.split("\n\n")[0]


@pytest.mark.parametrize("name", ["protocol", "quality", "waiting", "transport", "files"])
def test_an_inner_folder_loads_nothing_of_its_own(name):
    (docstring,) = MODULES[name].body
    assert isinstance(docstring, ast.Expr)
