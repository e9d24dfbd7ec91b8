"""Host names, patterns of them, and which addresses belong to the public internet."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
#: The only IPv6 addresses that are given to hosts of the public internet.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
#: IPv6 networks whose addresses end in the IPv4 address that they stand for: IPv4-compatible, mapped, translated (SIIT), NAT64.
_END_IN_IPV4 = tuple(ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
#: Networks that only later versions of Python know not to be public (documentation; protocol assignments, with the metadata of
#: machines at Oracle), and a public address that Azure gives to its own service on each machine.
_NOT_PUBLIC = tuple(ipaddress.ip_network(text) for text in ("3fff::/20", "192.0.0.0/24", "168.63.129.16/32"))


def is_host_name(hostname: str) -> bool:
    """Tell whether both HTTP libraries accept a host name. They differ over blanks, empty labels and other scripts."""
    return ":" in hostname or _NAME.fullmatch(hostname) is not None


@dataclass(frozen=True, kw_only=True)
class HostPatterns:
    """
    Patterns of hosts: a name, ``*.example.com`` for all names below it, an IP address or a network.

    :param names: names that match exactly, in lower case.
    :param parents: ends of names that match, such as ``.example.com``.
    :param networks: addresses that match.
    """

    names: frozenset[str] = frozenset()
    parents: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, patterns: Iterable[str]) -> HostPatterns:
        """Read patterns. Raises ValueError, naming the first that is none."""
        names, parents, networks = set(), [], []
        for pattern in patterns:
            text = pattern.strip().lower().rstrip(".")
            name = text.removeprefix("*.")
            try:
                networks.append(ipaddress.ip_network(text))
            except ValueError:
                if not _NAME.fullmatch(name) or name.replace(".", "").isdigit() or (name != text and "." not in name):
                    raise ValueError(
                        f"{pattern!r} is no host, no *.example.com, no IP address and no network such as 10.0.0.0/8"
                    ) from None
                if name == text:
                    names.add(name)
                else:
                    parents.append(f".{name}")
        return cls(names=frozenset(names), parents=tuple(parents), networks=tuple(networks))

    def match(self, host: str) -> bool:
        """Whether a host matches: a name by name, an IP address by the networks."""
        address = address_in(host)
        if address is not None:
            return self.hold(address)
        name = host.lower().rstrip(".")
        return name in self.names or name.endswith(self.parents)

    def hold(self, address: Address) -> bool:
        """Whether a network holds an address, or the IPv4 address that it stands for."""
        return any(one in network for one in _forms_of(address) for network in self.networks)


def address_in(host: str) -> Address | None:
    """Return the IP address that a host is, in brackets or with a zone too; None if it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """
    Whether an address belongs to the public internet.

    Loopback, private, link-local, multicast, reserved and unspecified addresses do not, nor do IPv6 addresses that stand for such
    an IPv4 address (IPv4-mapped, 6to4, NAT64).
    """
    *_, last = _forms_of(address)
    if any(last in one for one in _NOT_PUBLIC) or (isinstance(last, ipaddress.IPv6Address) and last not in _GLOBAL_UNICAST):
        return False
    return last.is_global and not last.is_multicast and not last.is_reserved


def _forms_of(address: Address) -> Iterator[Address]:
    """Yield an address, and the IPv4 address that it stands for."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _END_IN_IPV4):
            yield ipaddress.IPv4Address(address.packed[-4:])
        elif address.sixtofour is not None:
            yield address.sixtofour
