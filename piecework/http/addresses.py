"""Addresses: what a name to listen on stands for, who can reach an address, and which networks are meant."""

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def resolve_host(host: str) -> str:
    """Return the address to listen on for a name or an address of this machine.

    Of several it is the first of the fourth version of IP, which every client reaches, or else the first. A name
    is looked up once: what was checked of an address must hold for the one that is listened on. Raises OSError.
    """
    try:
        if not host:
            raise OSError("it is empty")
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: no name can be so long, or have such characters
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot listen on {host!r}, which leads to no address: {reason}") from error
    best = min(found, key=lambda each: each[0] != socket.AF_INET)
    return socket.getnameinfo(best[4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine only; of names, only localhost is known to be."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the internet's, not of this machine or a private network."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _find_inner(address)
        if inner is not None:
            return is_public(inner)
        return address in _GLOBAL_UNICAST and address.is_global
    return address.is_global and not address.is_multicast


def _find_inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


def read_networks(entries: Iterable[str]) -> list[Network]:
    """Return the addresses and networks of a list, like ``10.0.0.5`` or ``10.0.0.0/8``, also with a port behind.

    What is none, such as a name, is passed over.
    """
    found: list[Network] = []
    for entry in entries:
        for text in dict.fromkeys((entry, entry.rpartition(":")[0].strip("[]"))):
            with suppress(ValueError):
                found.append(ipaddress.ip_network(text, strict=False))
    return found
