"""A function that `worker-agent serve` serves, as a process of a test."""

import http.client
import re
import sys
from contextlib import closing
from pathlib import Path

from patience import LONG_S

from piecework.http.exchange import Response
from piecework.local import ChildProgram, ProgramError

SERVING = re.compile(r"serving on https?://127\.0\.0\.1:(\d+)")
GUEST = "piecework.worker_agent.guests.child"


class ServedFunction(ChildProgram):
    """Ready when the constructor returns. Its log has what guests log, too."""

    def __init__(self, folder: Path, file: Path, *options: str, environ: dict[str, str] | None = None) -> None:
        command = [
            sys.executable,
            "-P",
            "-c",
            "from piecework.worker_agent.cli import main; main()",
            "serve",
            str(file),
        ]
        state = folder / "state"
        super().__init__(
            "the function", [*command, "--port", "0", "--state", str(state), *options], folder / "log", environ
        )
        try:
            self.port = int(self.wait_for_line(SERVING)[1])
        except ProgramError:
            self.kill()
            raise

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Send a request over a connection of its own, and return the response."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG_S)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Response(answer.status, tuple(answer.getheaders()), answer.read())

    def find_guests(self) -> list[int]:
        """Return the ids of its guest processes."""
        mine, grown = {self.pid}, True
        parents = {pid: parent for pid, parent in map(_read_parent, _list_pids()) if parent}
        while grown:
            new = {pid for pid, parent in parents.items() if parent in mine} - mine
            grown, mine = bool(new), mine | new
        return sorted(pid for pid in mine if GUEST in _read(pid, "cmdline"))


def _list_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read_parent(pid: int) -> tuple[int, int]:
    status = _read(pid, "stat").rpartition(")")[2].split()
    return pid, int(status[1]) if status else 0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
