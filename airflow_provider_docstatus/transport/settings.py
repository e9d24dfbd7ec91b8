"""Every key of a connection's extra. The forms, the table in the documentation and the reader of connections use this list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What a host looks like, where the service has no default host to show.
EXAMPLE_HOST = "https://extract.example.com"
#: Seconds for which a failed look-up is not repeated; every caller gets its error, or what was read before.
FAILURE_HOLDS = 5.0
#: Seconds for which a connection that cannot be read or used may still become right, since a secrets backend that is down and an
#: edit that is half done look the same as one that is wrong for good.
MISSING_HOLDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """
    One key of a connection's extra.

    :param label: its name in the form.
    :param help: what it does, in one sentence.
    :param default: the value if the key is missing.
    :param type: the JSON type.
    :param is_long: whether its text may have many lines.
    """

    label: str
    help: str
    default: Any = None
    type: str = "string"
    is_long: bool = False


#: The type of a connection that describes its service itself.
OWN_TYPE = "docstatus"
#: The keys that only such a connection has.
OWN_SETTINGS: Mapping[str, Setting] = {
    "description": Setting(label="Description", help="The description of the service, as JSON or YAML.", is_long=True),
    "file": Setting(
        label="File", help="Instead: a file with the description, as a path below the folder [docstatus] descriptions_folder."
    ),
}
SETTINGS: Mapping[str, Setting] = {
    "operation": Setting(
        label="Operation",
        help="The route used when a task names none, where the service has several, e.g. extract or parse.",
    ),
    "region": Setting(label="Region", help="The service's region that the account is in, where the connection names no host."),
    "auth": Setting(label="Authentication", help="How the key is sent, where the vendor has several ways."),
    "prefix": Setting(
        label="Path prefix", help="Path prefix of the API if it is not the service's usual one, e.g. /api/v1 for Neurolinker."
    ),
    "headers": Setting(
        label="Headers", help="More headers of every request, of those that the service lets a connection set.", type="object"
    ),
    "status_words": Setting(
        label="Status words", help='More status words and what they mean, e.g. {"archived": "succeeded"}.', type="object"
    ),
    "calls_per_second": Setting(
        label="Calls a second",
        help="The key's limit in any second, if it is not the documented one.",
        type="number",
    ),
    "calls_per_minute": Setting(
        label="Calls a minute",
        help="The key's limit in any 60 s, if it is not the documented one.",
        type="number",
    ),
    "calls_per_day": Setting(
        label="Calls a day",
        help="The key's limit in any 24 h, if it is not the documented one; a very large number such as 1e9 for none.",
        type="number",
    ),
    "share": Setting(
        label="Share of the limit",
        help="The part of the limit that one triggerer may use (above 0, at most 1); the rest is for workers and other clients.",
        default=0.8,
        type="number",
    ),
    "request_timeout": Setting(label="Request time-out", help="Seconds one HTTP request may take.", default=30.0, type="number"),
    "long_poll": Setting(
        label="Long poll",
        help="Seconds for which the service may hold its answer until something changes, where it can; 0 for none. At most what "
        "the vendor allows, and 5 s less than request_timeout.",
        default=0.0,
        type="number",
    ),
    "max_reply_bytes": Setting(
        label="Largest reply", help="Replies with more bytes are refused.", default=16 * 1024 * 1024, type="integer"
    ),
    "zero_retention": Setting(
        label="Zero retention",
        help="Whether the account deletes data as soon as it is read; then only ExtractedDataOperator may wait, on its worker.",
        default=False,
        type="boolean",
    ),
    "proxy": Setting(label="Proxy", help="Proxy URL for this connection; without it HTTPS_PROXY and NO_PROXY hold."),
    "ca_bundle": Setting(
        label="CA bundle",
        help="File or folder with the CA certificates to trust; without it REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE.",
    ),
    "link_hosts": Setting(
        label="Hosts of links",
        help="More hosts that links to data may lead to, separated by commas: names, *.example.com, IP addresses or networks.",
    ),
    "allow_http": Setting(
        label="Allow http",
        help="Permit plain http to a host that is not loopback; the key then travels unencrypted.",
        default=False,
        type="boolean",
    ),
}
ALL_SETTINGS: Mapping[str, Setting] = {**OWN_SETTINGS, **SETTINGS}
