"""A function for HTTP while it is being written: `worker-agent serve` on this machine, with the newest build."""

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from piecework.http.ports import find_port

HOST = "127.0.0.1"
END_S = 10.0
"""Calls that run when it ends get so long."""
_PROGRAM = (sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()", "serve")


class DevServer:
    """Serves each build of a function under the same URL. ``with`` this: it stops when the block ends.

    A build that cannot be served is told on standard error, and the one before goes on.
    """

    def __init__(self, port: int, options: list[str], args: tuple[str, ...]) -> None:
        """Take a port, 0 for any free one, options of ``worker-agent serve``, and arguments. Raises OSError."""
        self._port = find_port(HOST, port)
        self.url = f"http://{HOST}:{self._port}"
        self._options, self._args = options, args
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def show(self, built: Path) -> None:
        """Serve a file from now on; always the same file."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGHUP)
            return
        command = [*_PROGRAM, "--die-with-parent", "--port", str(self._port), *self._options]
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            [*command, "--", str(built), *self._args],
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C reaches us, and we stop it
        )
