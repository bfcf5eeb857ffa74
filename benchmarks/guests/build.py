"""Build the guest of the benchmarks: ``python benchmarks/guests/build.py``. Needs the extra ``samples``."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
FLAGS = ("-target", "wasm32-wasi", "-Os", "-s", "-Wall", "-Wextra", "-Werror")


def build(into: Path = FOLDER) -> Path:
    """Compile ``work.c`` and return the wasm file. The same compiler gives the same bytes."""
    target = into / "work.wasm"
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "work.c", "-o", str(target.absolute())]
    subprocess.run(command, cwd=FOLDER, check=True)
    target.chmod(0o644)
    return target


if __name__ == "__main__":
    print(build())
