"""Check the fields and settings of an Airflow connection. What is refused is named together with the remedy, and no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.hosts import HostPatterns, address_in, is_host_name
from airflow_provider_docstatus.services import ServiceDescription
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.transport.settings import EXAMPLE_HOST, SETTINGS

#: The usual port of a scheme.
PORTS = {"http": 80, "https": 443}
#: The path of a URL as it is sent; the two HTTP libraries would escape anything else in different ways.
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")


class ConnectionFields(Protocol):
    """The fields of an Airflow connection that are read here."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    port: int | None
    password: str | None


@dataclass(frozen=True)
class Problem:
    """Refuses what is wrong with a connection (str: its id) to a service."""

    conn_id: str
    service: ServiceDescription

    def refuse(self, what: str) -> NoReturn:
        """Raise RequestRejected with a text that says what is wrong and what to do."""
        raise RequestRejected(f"Connection '{self.conn_id}' ({self.service.title}): {what}.", service=self.service.name)


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host name and port of a URL; the scheme's usual port if it names none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme)


def doubled_prefix(path: str, prefix: str, service: ServiceDescription) -> str | None:
    """Return the part of a host's path that the path prefix would repeat; None if there is none."""
    parts = prefix.split("/")
    beginnings = ["/".join(parts[:number]) for number in range(len(parts), 1, -1)]
    others = service.prefixes if prefix in service.prefixes else ()  # one of them may be found to be the right one
    return next((part for part in (*beginnings, *others) if part and path.endswith(part)), None)


def region_of(service: ServiceDescription, settings: Mapping[str, Any], problem: Problem) -> str:
    """Return the name of the region that a connection chooses; empty if it chooses none."""
    region = str(settings.get("region", "")).strip()
    if region and region not in service.regions:
        names = f"is not one of {', '.join(service.regions)}" if service.regions else "must be left out: the service has none"
        problem.refuse(f"region={region!r} {names}")
    return region


def names_host(conn: ConnectionFields) -> bool:
    """Whether a connection itself says where requests go. Then its region says nothing, and every request goes there."""
    return bool((conn.host or "").strip() or conn.port)


def with_hosts(service: ServiceDescription, region: str, *, is_explicit: bool) -> ServiceDescription:
    """Return the service with the host of each route as it is for one connection; empty if it is the connection's host."""
    hosts = {name: "" if is_explicit else route.regions.get(region, route.host) for name, route in service.routes.items()}
    if all(host == service.routes[name].host for name, host in hosts.items()):
        return service
    return replace(
        service,
        routes={
            name: replace(route, host=hosts[name], regions=service.regions if hosts[name] else {})
            for name, route in service.routes.items()
        },
    )


def base_url_of(conn: ConnectionFields, service: ServiceDescription, region: str, *, allow_http: bool, problem: Problem) -> str:
    """
    Return scheme, host and path of a connection's host, else of the region's, else of the service's default.

    :param allow_http: whether plain http is allowed to a host that is not loopback.
    """
    host = (conn.host or "").strip() or service.regions.get(region, service.host)
    if not host:
        remedy = f"put it into the host, such as {EXAMPLE_HOST}"
        remedy += f", or set region in the extra to one of {', '.join(service.regions)}" if service.regions else ""
        problem.refuse(f"it names no host, and each deployment has its own; {remedy}")
    if "://" not in host:
        scheme = conn.schema if conn.schema in ("http", "https") else "https"
        host = f"{scheme}://[{host}]" if host.count(":") > 1 and not host.startswith("[") else f"{scheme}://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or conn.port
    except ValueError:
        problem.refuse("host is not a URL")
    if port and not 0 < port < 65536:
        problem.refuse(f"port {port} is none: it must be from 1 to 65535")
    if not _PATH.fullmatch(parts.path):
        problem.refuse("host has a path with characters that no URL has, such as spaces or a backslash")
    has_more = parts.username or parts.password or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not is_host_name(parts.hostname or "") or has_more:
        example = service.host or EXAMPLE_HOST
        problem.refuse(f"host must look like {example} (no user, query or fragment); the key belongs in the password")
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname or "")):
        problem.refuse(
            f"http to {parts.hostname} would send the key unencrypted; use https, or set allow_http in the extra if you must"
        )
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "") + parts.path.rstrip("/")


def proxy_url(text: str, problem: Problem) -> str:
    """Return a proxy's URL with a scheme. requests takes one without a scheme as well, aiohttp does not."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:  # the text may hold a password
        problem.refuse("the proxy must be an http or https URL, such as http://proxy.example.com:3128")
    return url


def is_loopback(hostname: str) -> bool:
    """Whether a host name is this machine's own, as far as can be told without looking it up."""
    address = address_in(hostname)
    return hostname == "localhost" if address is None else address.is_loopback


def flag(name: str, settings: Mapping[str, Any], problem: Problem) -> bool:
    """Return a setting that is true or false, or its default."""
    value = settings.get(name, SETTINGS[name].default)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        problem.refuse(f"{name}={value!r} must be true or false")
    return bool(value)


def number(name: str, settings: Mapping[str, Any], problem: Problem, *, may_be_zero: bool = False) -> float:
    """Return a setting that is a number above 0, or its default."""
    value = settings.get(name, SETTINGS[name].default)
    try:
        found = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError, OverflowError):
        found = -1.0
    if not (0 < found < float("inf") or (may_be_zero and found == 0)):
        problem.refuse(f"{name}={value!r} must be a number above 0" + (", or 0" if may_be_zero else ""))
    return found


def headers_of(service: ServiceDescription, given: Any, problem: Problem) -> dict[str, str]:
    """Return the service's fixed headers, and those that a connection sets (an object, or its JSON)."""
    try:
        items = list((json.loads(given) if isinstance(given, str) else given).items())
    except (ValueError, AttributeError, RecursionError):
        problem.refuse("headers must map names to texts, as JSON")
    allowed = {name.lower(): name for name in service.connection_headers}
    found = {name: value for name, value in service.headers.items() if name.lower() not in {name.lower() for name, _ in items}}
    for name, value in items:
        if name.lower() not in allowed:
            names = f"those are {', '.join(allowed.values())}" if allowed else f"{service.title} has none"
            problem.refuse(f"headers has {name!r}, which is none that a connection may set; {names}")
        if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", value):
            problem.refuse(f"headers: the value of {name} must be text in printable ASCII, without spaces around it")
        found[allowed[name.lower()]] = value
    return found


def link_hosts_of(service: ServiceDescription, given: Any, problem: Problem) -> HostPatterns:
    """Return the hosts of links: the service's, and those that a connection adds (a text separated by commas, or a list)."""
    more = re.split(r"[,\s]+", given.strip(", \n\t")) if isinstance(given, str) else given
    if not isinstance(more, list) or not all(isinstance(one, str) for one in more):
        problem.refuse("link_hosts must be host names separated by commas, or a list of them")
    try:
        return HostPatterns.of((*service.link_hosts, *(one for one in more if one)))
    except ValueError as error:
        problem.refuse(f"link_hosts: {error}")


def with_words(service: ServiceDescription, words: Any, problem: Problem) -> ServiceDescription:
    """Return the service with a connection's own status words (an object, or its JSON) added."""
    try:
        words = json.loads(words) if isinstance(words, str) else words
        more = {str(word).strip().lower(): State(state) for word, state in words.items()}
        meanings = {**service.states, **more}
    except (ValueError, AttributeError, RecursionError):
        problem.refuse(f"status_words must map vendor words to one of {', '.join(State)}, as JSON")
    if "" in more:
        problem.refuse("status_words has an empty word; a reply without a word is never an answer")
    try:
        return replace(service, words={one: tuple(w for w, s in meanings.items() if s is one) for one in set(meanings.values())})
    except ValueError as error:
        problem.refuse(f"status_words takes too much away: {error}")
