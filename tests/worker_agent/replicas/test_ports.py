import socket

import pytest

from piecework.worker_agent.replicas.ports import NoPortError, Ports

HOST = "127.0.0.1"


@pytest.fixture
def busy():
    """A port where somebody listens, with none in use behind it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_ports_count_up_and_skip_those_in_use(busy):
    ports = Ports(busy)
    first, second = ports.take(HOST), ports.take(HOST)
    assert busy < first < second


def test_wish_is_fulfilled_when_the_port_is_free(busy):
    ports = Ports(busy)
    port = ports.take(HOST)
    assert ports.take(HOST, port) != port
    ports.give_back(port)
    assert ports.take(HOST, port) == port
    assert ports.take(HOST, busy) != busy


def test_port_is_not_given_out_again_before_the_others():
    ports = Ports(20_000)
    first = ports.take(HOST)
    ports.give_back(first)
    assert ports.take(HOST) > first


def test_no_port_left_is_told(busy, monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.replicas.ports.PORT_MAX", busy)
    with pytest.raises(NoPortError, match=f"no port from {busy} to {busy}"):
        Ports(busy).take(HOST)


def test_behind_the_last_port_comes_the_first(monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.replicas.ports.PORT_MAX", 20_011)
    ports = Ports(20_008)
    taken = [ports.take(HOST) for _ in range(2)]
    for port in taken:
        ports.give_back(port)
    assert {ports.take(HOST) for _ in range(3)} >= {taken[0]}


def test_two_agents_of_a_machine_never_get_the_same_port(busy):
    one, other = Ports(busy), Ports(busy)
    port = one.take(HOST)
    assert other.take(HOST, port) != port
    one.give_back(port)
    assert other.take(HOST, port) == port
    del other
    assert one.take(HOST, port) == port
