"""Build the guests of the benchmarks: ``python benchmarks/guests/build.py``. Needs the extra ``samples``."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
FLAGS = ("-target", "wasm32-wasi", "-Os", "-s", "-Wall", "-Wextra", "-Werror")
GUESTS = {"work": (), "call": ("-mexec-model=reactor",)}
"""Each with the flags that it needs beside those."""


def build(into: Path = FOLDER) -> list[Path]:
    """Compile every ``NAME.c`` and return the wasm files. The same compiler gives the same bytes."""
    return [_build_one(name, into / f"{name}.wasm") for name in GUESTS]


def _build_one(name: str, target: Path) -> Path:
    flags = (*FLAGS, *GUESTS[name])
    command = [sys.executable, "-m", "ziglang", "cc", *flags, f"{name}.c", "-o", str(target.absolute())]
    subprocess.run(command, cwd=FOLDER, check=True)
    target.chmod(0o644)
    return target


if __name__ == "__main__":
    print(*build(), sep="\n")
