"""Names that servers and replicas are told to listen on, and who can reach an address."""

import ipaddress
import socket

import pytest

from piecework.http.addresses import is_loopback, is_public, read_networks, resolve_host

V4, V6 = (socket.AF_INET, ("192.0.2.7", 0)), (socket.AF_INET6, ("2001:db8::7", 0, 0, 0))


def test_an_address_stays_what_it_is():
    for host in ("127.0.0.1", "0.0.0.0", "::1", "192.0.2.7"):
        assert resolve_host(host) == host
    assert resolve_host("[::1]") == "::1"


def test_a_name_becomes_an_address():
    assert is_loopback(resolve_host("localhost"))


@pytest.mark.parametrize("found", [[V6, V4], [V4, V6]])
def test_of_several_addresses_everybody_can_reach_the_one(found: list, monkeypatch: pytest.MonkeyPatch):
    answers = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    assert resolve_host("node7.example") == "192.0.2.7"


def test_a_name_of_the_sixth_version_alone_is_listened_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(V6[0], socket.SOCK_STREAM, 6, "", V6[1])])
    assert resolve_host("node7.example") == "2001:db8::7"


@pytest.mark.parametrize(
    "host", ["", "nowhere.invalid", "localhost:80", "http://localhost", "a" * 70 + ".example"]
)
def test_what_leads_nowhere_is_told_in_one_line(host: str):
    with pytest.raises(OSError, match=r"^cannot listen on '.*', which leads to no address: .") as refused:
        resolve_host(host)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("LOCALHOST", True), ("0.0.0.0", False),
     ("::", False), ("192.0.2.7", False), ("node7.example", False)],
)  # fmt: skip
def test_only_this_machine_is_loopback(host: str, loopback: bool):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("::ffff:93.184.216.34", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_addresses_of_the_internet_are_told_from_all_others(address: str, public: bool):
    assert is_public(ipaddress.ip_address(address)) is public


def test_networks_are_read_with_and_without_a_port():
    read = read_networks(
        ["10.0.0.0/8", "192.0.2.7", "192.0.2.8:8080", "[::1]:80", "example.org", "*", "10.1.2.3/8"]
    )
    assert list(map(str, read)) == ["10.0.0.0/8", "192.0.2.7/32", "192.0.2.8/32", "::1/128", "10.0.0.0/8"]
