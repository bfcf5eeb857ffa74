"""Running one guest on this machine, without a server."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

END_S = 30.0
"""An interpreter starts, and a program ends, in this much more than the guest's own time."""


@dataclass(frozen=True)
class GuestRun:
    """What came of a guest."""

    exit_code: int
    """The guest's own, or 1 when something else ended it; ``log`` then tells what."""
    output: bytes
    """What it wrote to its standard output."""
    log: str
    """What it wrote to its standard error."""

    def check(self) -> bytes:
        """Return the output. Raises AssertionError, with the log, unless the guest ended well."""
        assert not self.exit_code, f"the guest ended with exit code {self.exit_code}:\n{self.log}"
        return self.output


def run_guest(
    path: Path | str,
    input: bytes | str = b"",  # noqa: A002  # its name for jobs
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    runtime: str | None = None,
    timeout_s: float = 10.0,
    memory_mb: int = 256,
    options: Sequence[str] = (),
) -> GuestRun:
    """Run a wasm file or a script once, in a sandbox as an agent has it, and return what came of it.

    ``args`` are its command line, ``env`` its variables; None for ``runtime``: what the code is for. ``options``
    are further ones of ``worker-agent exec``, such as ``--allow-dir``. It needs what agents need: the extra
    ``worker``. Raises FileNotFoundError for a file that is not there.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}")
    command = [sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()", "exec"]
    command += ["--timeout", f"{timeout_s:g}", "--memory", str(memory_mb), *options]
    command += [] if runtime is None else ["--runtime", runtime]
    for name, value in (env or {}).items():
        command += ["--env", f"{name}={value}"]
    given = input.encode() if isinstance(input, str) else input
    ran = subprocess.run(  # noqa: S603  # our own command
        [*command, str(path), "--", *args],
        input=given,
        capture_output=True,
        timeout=timeout_s + END_S,
        check=False,
    )
    return GuestRun(ran.returncode, ran.stdout, ran.stderr.decode(errors="replace"))
