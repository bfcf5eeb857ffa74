"""What the operating system tells of the connections to a port."""

import socket

import pytest

from piecework.http.tcp import PROBES, count_connections, probe_connections


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def connect(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    calling = socket.create_connection(listener.getsockname())
    return calling, listener.accept()[0]


def test_connections_to_a_port_are_counted_by_address(listener: socket.socket):
    port = listener.getsockname()[1]
    assert count_connections(port) == {}
    pairs = [connect(listener) for _ in range(3)]
    assert count_connections(port) == {"127.0.0.1": 3}
    pairs[0][1].close()
    assert count_connections(port) == {"127.0.0.1": 2}
    for pair in pairs:
        for each in pair:
            each.close()
    assert listener.fileno() > 0, "looking closes nothing"


def test_connections_are_probed_that_a_port_takes(listener: socket.socket):
    probe_connections(listener.getsockname()[1])
    calling, taken = connect(listener)
    with calling, taken:
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == PROBES["TCP_KEEPIDLE"]
