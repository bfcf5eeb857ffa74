"""Run tests in several processes: ``python side_by_side.py [--processes N] [options of pytest]``.

With pytest-xdist every process collects every test, and tells another one about each: of tests that take some
milliseconds, that is a third of the time. Here each takes the next file whenever it is done with one, those first
that took longest last time, and collects only that. See ``turns.choose``.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from turns import FILES, TAKEN, TIMES

PROJECT = Path(__file__).parents[2]
TURNS = Path(__file__).with_name("turns.py")
USUAL_TIMES = Path(__file__).with_name("usual_times.json")
"""How long the longest files took, seconds, for a checkout where nobody has timed them."""
BYTES_PER_S = 10_000
"""What is assumed of any other."""
MEMORY = Path("/dev/shm")  # a folder of its own is made there
ROOM_BYTES = 4 << 30
LONGEST = 3
"""So many files are named that took longest."""
NOTHING_TO_DO = 5
"""pytest's exit code when it had no test to run."""


def put_in_order(root: Path, files: Iterable[str], times: dict[str, float]) -> dict[str, float]:
    """Return the seconds that each file takes, where known, else a guess; the longest first."""
    seconds = {file: times.get(file, (root / file).stat().st_size / BYTES_PER_S) for file in files}
    return dict(sorted(seconds.items(), key=lambda item: item[1], reverse=True))


def find_room() -> Path | None:
    """Return a folder in memory, where small files are quicker, if it has room; None: take the usual one."""
    try:
        room = os.statvfs(MEMORY)
    except OSError:
        return None
    return MEMORY if room.f_bavail * room.f_frsize >= ROOM_BYTES else None


class Run:
    """One process that takes turns."""

    def __init__(self, root: Path, folder: Path, number: int, options: list[str]) -> None:
        own = folder / str(number)
        own.mkdir()
        self._log = own / "log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, TURNS, folder, str(number), *options],
                cwd=root,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTEST_DEBUG_TEMPROOT": str(own)},
                process_group=0,  # Ctrl-C would reach it, too, and a second stop break off the first
            )

    def stop(self) -> None:
        """End it, unless it has ended; servers and agents of its tests are stopped first."""
        self._process.terminate()
        self._process.wait()

    def wait(self) -> bool:
        """Wait for its end, print what it has to say, and return whether all is well."""
        is_well = self._process.wait() in {0, NOTHING_TO_DO}
        lines = self._log.read_text(errors="replace").splitlines()
        print(*(lines[-1:] if is_well else lines), sep="\n", flush=True)
        return is_well


def main(root: Path, options: list[str], count: int) -> int:
    """Run all tests of a project that the options leave, and return 1 when something is wrong."""
    began, times_file = time.monotonic(), root / "build" / "tests" / "times-by-options.json"
    memory = json.loads(times_file.read_text()) if times_file.exists() else {}
    known = json.loads(USUAL_TIMES.read_text()) | memory.get(" ".join(options), {})
    files = [str(path.relative_to(root)) for path in (root / "tests").rglob("test_*.py")]
    times: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=find_room(), prefix="tests-") as name:
        folder = Path(name)
        (folder / TAKEN).mkdir()
        (folder / FILES).write_text(json.dumps(put_in_order(root, files, known)))
        runs = [Run(root, folder, number, options) for number in range(count)]
        try:
            are_well = [run.wait() for run in runs]
        finally:
            for run in runs:
                run.stop()
        for path in folder.glob(TIMES.format("*")):
            times.update(json.loads(path.read_text()))
    times_file.parent.mkdir(parents=True, exist_ok=True)
    times_file.write_text(json.dumps(memory | {" ".join(options): dict.fromkeys(files, 0.0) | times}))
    print("the longest:", ", ".join(f"{file} {seconds:.0f} s" for file, seconds in times.most_common(LONGEST)))
    print(f"{time.monotonic() - began:.1f} s, in {count} processes")
    return 0 if all(are_well) else 1


def stop_in_order() -> None:
    """Have SIGTERM stop all as Ctrl-C does: else their folder stays in memory, and what tests started runs on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--processes", type=int, default=max(2, (os.cpu_count() or 1) * 3 // 2), metavar="N")
    chosen, others = parser.parse_known_args()
    stop_in_order()
    sys.exit(main(PROJECT, others, chosen.processes))
