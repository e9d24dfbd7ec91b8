"""
The contract: tests that hold a service's description to the replies that were recorded of the service.

::

    pytest --pyargs airflow_provider_docstatus.testing.contract --docstatus-service mypackage:MY_SERVICE

``--docstatus-service`` is ``module:NAME`` of a :class:`.ServiceDescription`, or the path of a description in JSON or YAML; it may
be given several times. Without it, every service that is installed is tested. ``--docstatus-replies`` is the file of recorded
replies, or a folder of such files (``<name>.json``). Without it, that is ``replies/<name>.json`` beside the module, or
``<file>.replies.json`` beside the file of the description.

In a test file of one's own, the same is one import, and a constant in place of the option::

    from airflow_provider_docstatus.testing.contract import *

    SERVICE = "mypackage:MY_SERVICE"  # a path, a ServiceDescription, or a list of them, is good as well

``REPLIES`` may name the file or the folder. The format of recorded replies stands in ``docs/recorded-replies.md``.
Nothing here needs Airflow's database, a network or a key.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

import pytest

from airflow_provider_docstatus.protocol.described import BadDescription, description_of, parse
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.registry import GROUP, all_services, load_one
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.testing import checks, reading
from airflow_provider_docstatus.testing.checks import Lines, missing
from airflow_provider_docstatus.testing.recordings import FOLDER, Recording, Reply, place_of

#: What a test file takes by ``import *``: the tests, how they are multiplied, and :func:`.missing`.
__all__ = [  # noqa: RUF022 -- in the order of the tests
    "missing",
    "pytest_generate_tests",
    "test_it_keeps_the_rules_of_descriptions",
    "test_its_routes_fit_together",
    "test_it_reads_no_place_that_it_must_not",
    "test_its_file_of_recorded_replies",
    "test_nothing_is_missing",
    "test_a_reply_about_another_id_is_noticed",
    "test_a_recorded_reply_is_read_as_what_it_means",
    "test_no_key_comes_out",
]
_DESCRIPTIONS = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Contract:
    """
    A description and its recorded replies.

    :param service: the description.
    :param recording: its recorded replies; None if there are none.
    :param problem: why there are none.
    """

    service: ServiceDescription
    recording: Recording | None
    problem: str = ""

    @property
    def replies(self) -> Recording:
        """The recorded replies; a test that asks for them is skipped where there are none."""
        if self.recording is None:
            pytest.skip("there are no recorded replies")
        return self.recording


# -- what is tested --------------------------------------------------------------------------------------------


def contract_of(service: ServiceDescription | str | Path, replies: str | Path | None = None) -> Contract:
    """
    Return a description with its recorded replies.

    :param service: the description, ``module:NAME`` of one, or the path of one in JSON or YAML.
    :param replies: the file of recorded replies, or a folder of such files; None for the usual place.
    :raises ValueError: there is no such description, or it cannot be used.
    """
    found, usual = _found(service)
    path = usual if replies is None else Path(replies)
    if path is None:
        return Contract(found, None, "it is not said where the recorded replies are: name the file (REPLIES)")
    path = path / f"{found.name}.json" if path.is_dir() else path
    try:
        return Contract(found, Recording.read(path))
    except FileNotFoundError:
        return Contract(found, None, f"there are no recorded replies: no file {path}")
    except (OSError, ValueError) as error:  # its text names the file
        return Contract(found, None, f"the recorded replies cannot be read: {error}")


def installed() -> Iterator[Contract]:
    """
    Yield the contract of every service that is installed.

    :raises ValueError: an entry point names no service that can be used.
    """
    known = all_services()
    yield from (contract_of(service) for service in SERVICES.values())
    for point in entry_points(group=GROUP):
        found, problem = load_one(point)
        if not any(one.service is found for one in known):
            why = problem or "another service or package has its name, or that of its hook class"
            raise ValueError(f"the entry point {point.name} = {point.value} is left out: {why}")
        yield contract_of(point.value)


def _found(service: ServiceDescription | str | Path) -> tuple[ServiceDescription, Path | None]:
    """Return a description, and the usual place of its recorded replies, None if it has none."""
    if isinstance(service, ServiceDescription):
        return service, FOLDER if SERVICES.get(service.name) is service else None
    if Path(service).suffix in _DESCRIPTIONS:
        path = Path(service)
        try:
            return description_of(parse(path.read_bytes())), path.with_name(f"{path.stem}.replies.json")
        except (OSError, BadDescription) as error:
            raise ValueError(f"{path} is no description that can be used: {error}") from None
    module_name, _, name = str(service).partition(":")
    if not name.strip():
        raise ValueError(f"{service} names no description: write {module_name}:NAME, or the path of a .json or .yaml file")
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, name.strip())
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(f"{service} is no module:NAME of a description, and no .json or .yaml file: {error}") from error
    if not isinstance(found, ServiceDescription):
        raise ValueError(f"{service} is no ServiceDescription but a {type(found).__name__}")  # noqa: TRY004 -- an option's value
    if SERVICES.get(found.name) is found or module.__file__ is None:
        return found, FOLDER
    return found, place_of(module.__file__, found.name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test for each service, and those of a recorded reply for each reply."""
    if "contract" not in metafunc.fixturenames:
        return
    try:
        contracts = _chosen(metafunc)
    except ValueError as error:
        raise pytest.Collector.CollectError(str(error)) from error
    if "recorded_reply" not in metafunc.fixturenames:
        metafunc.parametrize("contract", [pytest.param(one, id=one.service.name) for one in contracts])
        return
    cases = [
        pytest.param(one, reply, id=f"{one.service.name}-{reply.name or number}")
        for one in contracts
        if one.recording is not None
        for number, reply in enumerate(one.recording.replies)
        if reply.ask in reading.READ and not reading.is_for_others(one.service, one.recording, reply)
    ]
    metafunc.parametrize(("contract", "recorded_reply"), cases)


def _chosen(metafunc: pytest.Metafunc) -> list[Contract]:
    module = metafunc.module if metafunc.module.__name__ != __name__ else None
    option = metafunc.config.getoption
    services = getattr(module, "SERVICE", None) or option("docstatus_services", None)
    replies = getattr(module, "REPLIES", None) or option("docstatus_replies", None)
    if not services:
        return list(installed())
    several = list(services) if isinstance(services, (list, tuple)) else [services]
    if replies is not None and len(several) > 1 and not Path(replies).is_dir():
        raise ValueError(f"{replies} is no folder: the recorded replies of several services are files in a folder")
    return [contract_of(one, replies) for one in several]


# -- the tests -------------------------------------------------------------------------------------------------


def _no(lines: Lines) -> None:
    """Fail with what is wrong, one line each."""
    if found := list(lines):
        _fail(found)


def _fail(lines: list[str]) -> NoReturn:
    pytest.fail("\n".join(lines), pytrace=False)


def test_it_keeps_the_rules_of_descriptions(contract: Contract) -> None:
    """It keeps the rules that hold for all descriptions, and says what it rests on."""
    _no(checks.description(contract.service))


def test_its_routes_fit_together(contract: Contract) -> None:
    """Its routes, their lists, children and data, and its operations fit together."""
    _no(checks.routes(contract.service))


def test_it_reads_no_place_that_it_must_not(contract: Contract) -> None:
    """It reads dotted paths, and no user's id."""
    _no(checks.places(contract.service))


def test_its_file_of_recorded_replies(contract: Contract) -> None:
    """Its recorded replies are there, are its own, and name their sources."""
    if contract.recording is None:
        _fail([contract.problem])
    _no(checks.recording(contract.service, contract.recording))


def test_nothing_is_missing(contract: Contract) -> None:
    """Each word, error, route and content has a recorded reply."""
    _no(iter(missing(contract.service, contract.replies)))


def test_a_reply_about_another_id_is_noticed(contract: Contract) -> None:
    """It says where replies repeat the id, wherever recorded replies do."""
    _no(checks.repeated_ids(contract.service, contract.replies))
    _no(reading.unnoticed_ids(contract.service, contract.replies))


def test_a_recorded_reply_is_read_as_what_it_means(contract: Contract, recorded_reply: Reply) -> None:
    """A recorded reply is asked for as the vendor wants it, and read as what it means."""
    _no(reading.meaning(contract.service, contract.replies, recorded_reply))


def test_no_key_comes_out(contract: Contract, recorded_reply: Reply) -> None:
    """A key that the vendor repeats comes out of nothing that is read of a reply."""
    if recorded_reply.ask != "submit":  # this package reads the answers to submissions in tests only
        _no(reading.leaks(contract.service, contract.replies, recorded_reply))
