"""Addresses to listen on: what a name stands for, and whether others can reach it."""

import ipaddress
import socket


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
