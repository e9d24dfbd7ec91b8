"""
Which links to data a worker may follow. A vendor gives them, so they are untrusted.

A link must not lead a worker into its own network: else a vendor's reply, or whoever can write one, chooses what is read there.
So its host must be one that is known to hold the vendor's data, and the address that this host turns out to have must be public.
The address is checked on the connected socket, before TLS and before any byte is sent. So a name that leads elsewhere when it is
looked up a second time gains nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.hosts import HostPatterns, address_in, is_host_name, is_public
from airflow_provider_docstatus.transport.fields import origin_of

#: A link: scheme, host, port, and the rest. There is no user, no fragment, and nothing that two libraries may read differently.
_LINK = re.compile(r"(https?)://([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]{1,44}\])(?::([0-9]{1,5}))?(?:[/?][!-~]*)?")
_REMEDY = "to link_hosts in the connection's extra"


@dataclass(frozen=True, kw_only=True)
class LinkRules:
    """
    The rules for the links of one connection.

    :param conn_id: the connection (str), for messages.
    :param title: the service's title (str), likewise.
    :param service: the service's name (str).
    :param ours: the base URLs of the service itself. A link to the same origin may use http, and lead to any address.
    :param hosts: the other hosts that a link may name. An address of theirs that is not public must be among them, too.
    """

    conn_id: str
    title: str
    service: str
    ours: tuple[str, ...]
    hosts: HostPatterns

    def check(self, link: str) -> str | None:
        """
        Check a link before it is followed.

        :return: its host, whose address must then be checked by :meth:`check_address`; None if it is the service's own.
        :raises RequestRejected: it must not be followed (whoever owns the connection, if the host is right).
        """
        parts = _LINK.fullmatch(link)
        if parts is None or not 1 <= int(parts[3] or 443) <= 65535:
            raise self._refusal("that is no plain https URL")
        scheme, host = parts[1], parts[2].lower()
        if not (is_host_name(host) if host[0] != "[" else address_in(host)):
            raise self._refusal("that is no plain https URL")
        if origin_of(link) in map(origin_of, self.ours):
            return None
        if not self.hosts.match(host):
            remedy = f"If that is where its data is, add the host {_REMEDY}"
            raise self._refusal(f"to {host}, which is no host of its data that is known here", remedy)
        if scheme != "https":
            raise self._refusal(f"to {host} by plain http, which only the connection's own host may use")
        return host

    def check_address(self, host: str, address: str) -> None:
        """
        Check the address that a host of a link turned out to have, as the connected socket tells it.

        :raises RequestRejected: it is not public, and not among :attr:`hosts` (whoever owns the connection, if it is right).
        """
        found = address_in(address)
        if found is None or not (is_public(found) or self.hosts.hold(found)):
            remedy = f"If that is right, add the address or its network {_REMEDY}"
            raise self._refusal(f"to {host}, which leads to {address}: not an address of the public internet", remedy)

    def _refusal(self, what: str, remedy: str = "") -> RequestRejected:
        text = f"{self.title} gave a link {what}, so it is not followed." + (f" {remedy} ('{self.conn_id}')." if remedy else "")
        return RequestRejected(text, service=self.service)
