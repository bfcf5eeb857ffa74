"""Run tests in several processes, each with files of its own: ``python side_by_side.py [options of pytest]``.

With pytest-xdist every process collects every test, and tells another one about each: of tests that take some
milliseconds, that is a third of the time. Here files are shared out beforehand, by how long each took last time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
BYTES_PER_S = 10_000
"""What is assumed of a file that nobody has timed."""
MEMORY = Path("/dev/shm")  # a folder of its own is made there
ROOM_BYTES = 4 << 30
NOTHING_TO_DO = 5
"""pytest's exit code when it had no test to run."""


def share_out(files: Iterable[Path], times: dict[str, float], count: int) -> list[list[Path]]:
    """Return at most so many lists of files, which take about equally long."""
    weights = {file: times.get(str(file), file.stat().st_size / BYTES_PER_S) for file in files}
    shares: list[list[Path]] = [[] for _ in range(count)]
    for file in sorted(weights, key=lambda file: weights[file], reverse=True):
        min(shares, key=lambda share: sum(weights[each] for each in share)).append(file)
    return [sorted(share) for share in shares if share]


def find_room() -> Path | None:
    """Return a folder in memory, where small files are quicker, if it has room; None: take the usual one."""
    try:
        room = os.statvfs(MEMORY)
    except OSError:
        return None
    return MEMORY if room.f_bavail * room.f_frsize >= ROOM_BYTES else None


class Run:
    """One pytest and its share of the files."""

    def __init__(self, root: Path, files: list[Path], options: list[str], folder: Path) -> None:
        folder.mkdir()
        self._log, self._times = folder / "log", folder / "times.json"
        command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", *options]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, f"--note-times={self._times}", *map(str, files)],
                cwd=root,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTEST_DEBUG_TEMPROOT": str(folder)},
            )

    def wait(self) -> bool:
        """Wait for its end, print what it has to say, and return whether all is well."""
        is_well = self._process.wait() in {0, NOTHING_TO_DO}
        lines = self._log.read_text(errors="replace").splitlines()
        print(*(lines[-1:] if is_well else lines), sep="\n", flush=True)
        return is_well

    def read_times(self) -> dict[str, float]:
        """Return how many seconds each file took."""
        times: dict[str, float] = json.loads(self._times.read_text()) if self._times.exists() else {}
        return times


def main(root: Path, options: list[str], count: int) -> int:
    """Run all tests of a project that the options leave, and return 1 when something is wrong."""
    began, times_file = time.monotonic(), root / "build" / "tests" / "times.json"
    times = json.loads(times_file.read_text()) if times_file.exists() else {}
    files = list((root / "tests").rglob("test_*.py"))
    with tempfile.TemporaryDirectory(dir=find_room(), prefix="tests-") as folder:
        shares = share_out(files, times, count)
        runs = [Run(root, share, options, Path(folder, str(number))) for number, share in enumerate(shares)]
        are_well = [run.wait() for run in runs]
        for run in runs:
            times |= run.read_times()
    times_file.parent.mkdir(parents=True, exist_ok=True)
    times_file.write_text(json.dumps({name: times[name] for name in map(str, files) if name in times}))
    print(f"{time.monotonic() - began:.1f} s, in {len(runs)} processes")
    return 0 if all(are_well) else 1


if __name__ == "__main__":
    sys.exit(main(PROJECT, sys.argv[1:], max(2, (os.cpu_count() or 1) * 3 // 2)))
