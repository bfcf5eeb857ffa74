"""Connections that notice when their peer is no more."""

import socket

import pytest

from piecework.http import tcp
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


def test_sockets_that_other_threads_close_are_passed_over(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
):
    port = listener.getsockname()[1]
    short_lived = socket.socket()

    class Watched(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            if self.fileno() == short_lived.fileno():
                short_lived.close()
            return super().getsockname()

    monkeypatch.setattr(tcp.socket, "socket", Watched)
    monkeypatch.setattr(tcp.os, "listdir", lambda _: [str(short_lived.fileno()), str(listener.fileno())])
    probe_connections(port)
    assert short_lived.fileno() == -1
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
