"""Tries to get out of its sandbox in every way that a component knows, and tells what it got."""

import os
import socket
import sys
from pathlib import Path

from wit_world import exports


def connect(host, port):
    with socket.socket() as connection:
        connection.settimeout(2)
        connection.connect((host, port))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(100)


def listen(_port):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        return server.getsockname()


def send(_port):
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"hello", ("127.0.0.1", 9))


WAYS = {
    "connect": lambda port: connect("127.0.0.1", port),
    "connect by name": lambda port: connect("localhost", port),
    "resolve": lambda _port: socket.getaddrinfo("localhost", 80),
    "listen": listen,
    "send": send,
    "read": lambda _port: Path("/etc/passwd").read_bytes(),
    "read above": lambda _port: Path("../../etc/passwd").read_bytes(),
    "list": lambda _port: list(Path("/etc").iterdir()),
    "write": lambda _port: Path("/tmp/out").write_bytes(b"x"),
}


def attempt(name, port):
    try:
        return f"{name} got {WAYS[name](port)!r}"
    except (OSError, LookupError) as error:
        return f"{name} failed {type(error).__name__}"


class Run(exports.Run):
    """The command. Its input is the port of a server on this machine."""

    def run(self) -> None:
        port = int(sys.stdin.read())
        lines = [f"REGION={os.environ.get('REGION')}", f"variables {' '.join(sorted(os.environ))}"]
        lines += [attempt(name, port) for name in WAYS]
        sys.stdout.write("\n".join(lines))
