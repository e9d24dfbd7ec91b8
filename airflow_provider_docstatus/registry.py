"""The services: those of this package, and those that other packages bring by an entry point."""

from __future__ import annotations

import difflib
import logging
import re
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from airflow_provider_docstatus import DISTRIBUTION
from airflow_provider_docstatus.protocol.rules import BadDescription, check
from airflow_provider_docstatus.protocol.values import one_line
from airflow_provider_docstatus.services import SERVICES, ServiceDescription

log = logging.getLogger(__name__)

#: The group of the entry points that name a :class:`ServiceDescription`.
GROUP = "airflow_provider_docstatus.services"
_PROVIDERS = "apache_airflow_provider"
_OURS = "airflow_provider_docstatus."
#: Airflow reads "-" in a connection type as "_", and "__" separates the parts of a form field's name.
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_HOOK = re.compile(r"[A-Z][A-Za-z0-9]*Hook")
#: Names that no service may have: connection types and hook classes that this package and Airflow have besides the services'.
_TAKEN = {
    **dict.fromkeys(("docstatus", "DocStatusHook", "BaseHook"), DISTRIBUTION),
    **dict.fromkeys(("generic", "email", "fs", "package_index"), "apache-airflow"),
}
#: So many names of a long list are shown.
_SHOWN = 3
#: A slower load (seconds) is logged: every process of Airflow loads the services when it starts.
_SLOW = 0.05
#: Seconds that a thread waits while another one loads the services. That one may wait for an import of this one.
_LONGEST_LOAD = 30.0


@dataclass(frozen=True)
class Registered:
    """
    A service and the distribution that brings it.

    :param service: the service's description.
    :param distribution: the distribution's name (str), as one installs it.
    """

    service: ServiceDescription
    distribution: str


def find(name: str) -> Registered | None:
    """
    Return the service of a name, which is also its connection type; None if no service that is installed has it.

    The first name (str) that is not built-in makes this process load the entry points.
    """
    service = SERVICES.get(name)
    return Registered(service, DISTRIBUTION) if service else _installed.services().get(name)


def find_hook(class_name: str) -> Registered | None:
    """Return the service whose hook class has a name (str); None if there is none. See :func:`find`."""
    built_in = next((one for one in SERVICES.values() if one.hook_class_name == class_name), None)
    if built_in is not None:
        return Registered(built_in, DISTRIBUTION)
    return next((one for one in _installed.services().values() if one.service.hook_class_name == class_name), None)


def all_services() -> list[Registered]:
    """Return the built-in services, then those of entry points, in a fixed order. This loads the entry points."""
    built_in = [Registered(service, DISTRIBUTION) for service in SERVICES.values()]
    return [*built_in, *_installed.services().values()]


def how_to_connect(conn_id: str) -> str:
    """Return in a sentence how to make a connection (its id, str) that this package reads."""
    titles = few_of([one.service.title for one in all_services()])
    return (
        f"Make it in the UI (Admin, Connections; its type is one of {titles} services; the API key is the password), "
        f"or: airflow connections add {conn_id} --conn-type neurolinker --conn-password <API key>"
    )


def which_types(conn_type: object, own_type: str) -> str:
    """
    Return in a part of a sentence which types of connection this package reads, for a connection that has another one.

    :param conn_type: its type (str or None).
    :param own_type: the type that is no service's (str).
    """
    types = [*(one.service.name for one in all_services()), own_type]
    near = difflib.get_close_matches(str(conn_type).lower(), types, 1)
    other = f". For another service install its package, or use type {own_type} with a description."
    hint = f"; did you mean {near[0]}?" if near else other
    return f"this package reads {few_of(types)} types (airflow providers hooks lists them){hint}"


def few_of(names: Sequence[str]) -> str:
    """Return the first names (str) of a list, and how many more there are: ``a, b, c and 8 more``."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


class _Installed:
    """The services of entry points, loaded once in a process."""

    def __init__(self) -> None:
        self._services: Mapping[str, Registered] | None = None
        self._lock = threading.Lock()
        self._loader: int | None = None  # the thread that loads them; what it loads may ask for services, and gets none

    def services(self) -> Mapping[str, Registered]:
        """Return them by name."""
        me = threading.get_ident()
        if self._services is None and self._loader != me:
            has_lock = self._lock.acquire(timeout=_LONGEST_LOAD)
            try:
                if self._services is None:
                    self._loader = me
                    self._services = load_entry_points()
            finally:
                self._loader = None
                if has_lock:
                    self._lock.release()
        return self._services or {}


_installed = _Installed()


def load_entry_points(clock: Callable[[], float] = time.perf_counter) -> dict[str, Registered]:
    """
    Load the services of entry points, sorted by distribution, and return them by name.

    What cannot be used is logged and left out.

    :param clock: gives seconds; a slow load is logged.
    """
    loaded = [(point, service) for point in _points(GROUP) if (service := _load(point, clock)) is not None]
    taken = {**(_types_of_other_providers() if loaded else {}), **_TAKEN}
    for service in SERVICES.values():
        taken |= {service.name: DISTRIBUTION, service.hook_class_name: DISTRIBUTION}
    services: dict[str, Registered] = {}
    for point, service in loaded:
        distribution = _distribution(point)
        clash = next((name for name in (service.name, service.hook_class_name) if name in taken), None)
        if clash is not None:
            log.warning(
                "Entry point %s of %s is left out: %s already has the name %s. Ask one of the two to rename its service, or "
                "uninstall one of them.",
                *(point.name, distribution, taken[clash], clash),
            )
            continue
        taken |= {service.name: distribution, service.hook_class_name: distribution}
        services[service.name] = Registered(service, distribution)
    return services


def _points(group: str) -> list[EntryPoint]:
    try:
        return sorted(entry_points(group=group), key=lambda one: (_distribution(one), one.name, one.value))
    except BaseException as error:  # noqa: BLE001 -- see _reason
        log.warning("The entry points of group %s cannot be read (%s).", group, _reason(error))
        return []


def _distribution(point: EntryPoint) -> str:
    try:
        name = point.dist.name if point.dist else None
    except BaseException as error:  # noqa: BLE001 -- its metadata cannot be read
        _reason(error)
        name = None
    return name or "an unknown distribution"


def _load(point: EntryPoint, clock: Callable[[], float]) -> ServiceDescription | None:
    """Return the service of an entry point, or None if it has none that can be used."""
    distribution, began = _distribution(point), clock()
    found, problem = load_one(point)
    if (took := clock() - began) > _SLOW:
        log.warning(
            "Entry point %s of %s took %.0f ms to load, in every process of Airflow's. Its module should import less; tell the "
            "maintainers of %s.",
            *(point.name, distribution, took * 1000, distribution),
        )
    if isinstance(found, ServiceDescription) and not problem:
        return found
    text = "Entry point %s = %s of %s is left out: %s. The service is missing until the maintainers of %s have mended that."
    log.warning(text, point.name, point.value, distribution, problem, distribution)
    return None


def load_one(point: EntryPoint) -> tuple[object, str]:
    """Load an entry point; return what it names (None if nothing), and why that is no service that can be used, else empty."""
    try:
        found = point.load()
        return found, _problem_of(found)
    except BaseException as error:  # noqa: BLE001 -- see _reason
        problem = f"it cannot be loaded ({_reason(error)})"
        if _is_about_airflow(error):
            problem += ". Its module can import neither Airflow, which loads it while it starts itself, nor what imports Airflow"
        return None, problem


def _problem_of(found: object) -> str:
    """Return why what an entry point names is no service that can be used; empty if it is one."""
    if not isinstance(found, ServiceDescription):
        return f"it is no ServiceDescription but a {type(found).__name__}"
    texts = {name: getattr(found, name) for name in ("name", "class_name", "title", "host", "docs")}
    wrong = [name for name, text in texts.items() if not isinstance(text, str)]
    if wrong:
        return f"{', '.join(wrong)} of its description must be text (str)"
    if not _NAME.fullmatch(found.name):
        return f"its service's name {found.name!r} is not made of lower-case words and digits with single '_' between them"
    if not _HOOK.fullmatch(found.hook_class_name):
        return f"class_name {found.class_name!r} is not in CamelCase"
    try:
        check(found)
    except BadDescription as error:
        return f"its description breaks a rule: {str(error).rstrip('.')}"
    except Exception as error:  # noqa: BLE001 -- a field of another type than it should have
        return f"its description cannot be checked ({_reason(error)})"
    return ""


def _is_about_airflow(error: BaseException) -> bool:
    """Whether a module could not be loaded because of an import of Airflow."""
    frames = [frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [*frames, getattr(error, "name", None) if isinstance(error, ImportError) else None]
    return any(str(name).split(".")[0] == "airflow" for name in names) or "module 'airflow" in _reason(error)


def _types_of_other_providers() -> dict[str, str]:
    """Return the connection types of Airflow's other providers, each with its distribution."""
    types: dict[str, str] = {}
    for point in _points(_PROVIDERS):
        if point.value.startswith(_OURS):
            continue
        try:
            for one in point.load()().get("connection-types") or ():
                types.setdefault(str(one["connection-type"]), _distribution(point))
        except BaseException as error:  # noqa: BLE001 -- see _reason
            log.debug("Provider %s cannot be read (%s).", _distribution(point), _reason(error))
    return types


def _reason(error: BaseException) -> str:
    """
    Return in a line why something of another package failed, whatever it raised.

    Ctrl-C and Airflow's time-out of a task or a DAG file are meant for the whole process, and are raised on.
    """
    is_airflows = type(error).__module__.split(".")[0] == "airflow" and not isinstance(error, Exception)
    if is_airflows or isinstance(error, KeyboardInterrupt):
        raise error
    return one_line("".join(traceback.format_exception_only(error))) or type(error).__name__
