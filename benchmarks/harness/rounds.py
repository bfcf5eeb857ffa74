"""Rounds: every contestant once in each of them, so that what the machine does besides hits all alike."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.backends import MissingError, open_backend
from harness.field import FIELD
from harness.usage import end_tree

HERE = Path(__file__).parent.parent
RUN_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0
"""The driver ends its workers first, which takes a while."""

Run = dict[str, Any]
"""What a contestant gave in one run: the driver's figures, or ``error``; with ``name``, ``round`` and ``load``."""


@dataclass(frozen=True)
class Sizes:
    """How much every contestant has to do in one round."""

    jobs: int = 2000
    """No-ops."""
    singles: int = 200
    """No-ops one after the other."""
    cpu_jobs: int = 200
    """Jobs of 10 ms of computing; 0 leaves them out."""
    rounds: int = 3


def run_rounds(names: Sequence[str], sizes: Sizes, cpu_rounds: int, folder: Path) -> Iterator[Run]:
    """Go through the runs, round by round; every other round in reverse order. Logs stay in ``folder``."""
    for number in range(sizes.rounds):
        for name in names if number % 2 == 0 else reversed(names):
            began, load = time.monotonic(), os.getloadavg()[0]
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=folder) as place:
                figures = run_once(name, sizes, f"{number}", cpu_rounds, Path(place))
            yield {"name": name, "round": number, "load": load, "took_s": time.monotonic() - began} | figures


def run_once(name: str, sizes: Sizes, seed: str, cpu_rounds: int, folder: Path) -> Run:
    """Run one contestant on a fresh backend, in a process of its own; a failure is a result, too."""
    entry = FIELD[name]
    try:
        with open_backend(entry.backend, folder) as backend, (folder.parent / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "harness.driver", name, "--seed", seed]
            command += [f"--{option}={getattr(sizes, option.replace('-', '_'))}" for option in DRIVER_OPTIONS]
            command += [f"--backend-pid={pid}" for pid in backend.pids]
            environ = {
                "BENCH_BACKEND": backend.url,
                "BENCH_FOLDER": str(folder),
                "BENCH_ROUNDS": str(cpu_rounds),
                "PYTHONPATH": str(HERE),
            }
            figures = run_driver(command, environ, folder, log.fileno())
            return figures | {"backend": backend.versions}
    except (MissingError, RuntimeError, OSError, subprocess.CalledProcessError) as error:
        return {"error": str(error)}


DRIVER_OPTIONS = ("jobs", "singles", "cpu-jobs")


def run_driver(command: list[str], environ: dict[str, str], folder: Path, log: int) -> Run:
    """Run the driver and return the figures that it prints. Raises RuntimeError with its last words."""
    errors = folder / "driver.log"
    with errors.open("wb") as words:
        driver = subprocess.Popen(
            command, cwd=folder, env=os.environ | environ, stdout=subprocess.PIPE, stderr=words, text=True
        )
        try:
            output, _ = driver.communicate(timeout=RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done after {RUN_TIMEOUT_S:g} s") from None
        finally:
            end_tree([driver], STOP_TIMEOUT_S)
            os.write(log, errors.read_bytes())
    if driver.returncode != 0:
        raise RuntimeError(last_line(errors.read_text(errors="replace")))
    figures: Run = json.loads(output.splitlines()[-1])
    return figures


def last_line(text: str) -> str:
    """Return the last line of a log: the error that ended the driver."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no output"


def save(path: Path, about: dict[str, Any], sizes: Sizes, runs: Sequence[Run]) -> None:
    """Write what was measured, and on what, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"about": about, "sizes": asdict(sizes), "runs": list(runs)}, indent=1) + "\n")
