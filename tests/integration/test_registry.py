"""The registry as a process of its own: who gets in, what a kill leaves, what a whole round gives."""

import hashlib
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from piecework.client import Client, NotFound, ServerUnreachable
from piecework.local import LocalServer

pytestmark = pytest.mark.integration

HOLA = Path(__file__).parents[2] / "samples" / "capsule_g4.wasm"
ECHO = HOLA.with_name("echo.wasm")
SIZE = 64 << 20
PATIENCE_S = 20.0


def section(size: int) -> bytes:
    """Return the start of a module that is one large section which nobody reads."""
    number = b"".join(bytes([size >> shift & 127 | (128 if shift < 28 else 0)]) for shift in range(0, 35, 7))
    return b"\0asm\x01\0\0\0\0" + number + b"\x01"


def large_module() -> bytes:
    return section(SIZE) + bytes(SIZE - 1)


def test_a_registry_alone_serves_until_it_is_told_to_stop(tmp_path: Path):
    with LocalServer(tmp_path, part="registry") as server, Client(server.url) as client:
        assert client.push_module("k33g/hola/0.0.0", HOLA, "hola").abi == "capsule 4"
        assert client.ping() == "pong"
        with pytest.raises(NotFound):
            list(client.jobs())
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    with LocalServer(tmp_path, "--mutable-tags", part="registry") as again, Client(again.url) as client:
        assert client.read_module("k33g/hola/0.0.0") == HOLA.read_bytes()
        assert client.push_module("k33g/hola/0.0.0", ECHO).info == ""
        assert client.read_module("k33g/hola/0.0.0") == ECHO.read_bytes()


def test_a_registry_that_is_killed_during_an_upload_has_nothing_of_it(tmp_path: Path):
    server = LocalServer(tmp_path, part="registry")
    with Client(server.url, attempts=1) as client:
        client.push_module("k33g/hola/0.0.0", HOLA)
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + section(SIZE)
        request = (
            "POST /upload/k33g/hola/0.0.1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request.encode() + head + bytes(32 << 20))
            server.kill()
            with suppress(ConnectionResetError):  # the process that served ends a moment later
                assert connection.recv(1) == b""
        with pytest.raises(ServerUnreachable):
            client.module("k33g/hola/0.0.1")
    with LocalServer(tmp_path, port=server.port, part="registry") as again, Client(again.url) as client:
        assert [(each.tag, each.size) for each in client.modules()] == [("0.0.0", HOLA.stat().st_size)]
        assert client.push_module("k33g/hola/0.0.1", ECHO).abi == "wasi"
        assert client.read_module("k33g/hola/0.0.0") == HOLA.read_bytes()


def test_a_large_module_costs_no_memory(tmp_path: Path):
    content = large_module()
    with LocalServer(tmp_path, part="registry") as server, Client(server.url) as client:
        client.push_module("k33g/hola/0.0.0", HOLA)
        before = _peak_bytes(server.pid)
        assert client.push_module("k33g/large/0.0.0", content).digest == hashlib.sha256(content).hexdigest()
        grown = _peak_bytes(server.pid) - before
        assert client.pull_module("k33g/large/0.0.0", tmp_path / "large.wasm") == len(content)
        assert (tmp_path / "large.wasm").read_bytes() == content
    assert grown < SIZE / 2


def _peak_bytes(pid: int) -> int:
    """Return the most memory that a process had."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_registry_for_others_needs_a_token(tmp_path: Path):
    command = [sys.executable, "-m", "piecework", "server", "registry", "--host", "0.0.0.0", "--port", "0"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert (
        "make a token first, with piecework server migrate --data piecework-registry and"
        " piecework server token create NAME --scope admin --data piecework-registry" in (ran.stderr)
    )
