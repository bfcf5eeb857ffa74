"""Connections that notice when their peer is no more."""

import socket

import pytest

from piecework.http.tcp import PROBES, probe_connections


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def connect(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    calling = socket.create_connection(listener.getsockname())
    return calling, listener.accept()[0]


def test_connections_are_probed_that_a_port_takes(listener: socket.socket):
    probe_connections(listener.getsockname()[1])
    calling, taken = connect(listener)
    with calling, taken:
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == PROBES["TCP_KEEPIDLE"]
