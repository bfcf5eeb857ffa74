"""Build every guest of this folder: ``NAME.c`` becomes ``NAME.wasm``, or a file of another folder.

Needs the extra ``samples`` (a C compiler from PyPI): ``make samples``, or
``python samples/build.py [--into FOLDER] [NAME…]``.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent
FLAGS = ("-target", "wasm32-wasi", "-Os", "-s", "-Wall", "-Wextra", "-Werror")
CALLED = ("-mexec-model=reactor",)
"""For functions that are called, not run: those of Capsule, and of FunLess since 0.8."""


def find_samples() -> list[str]:
    """Return the names of all samples."""
    return sorted(path.stem for path in FOLDER.glob("*.c"))


def build_sample(name: str, into: Path) -> Path:
    """Compile one sample and return the wasm file. The same compiler gives the same bytes.

    Raises CalledProcessError when it does not compile; the compiler's words went to stderr.
    """
    target = into / f"{name}.wasm"
    flags = (*FLAGS, *CALLED) if name.startswith(("capsule_", "funless_fetch")) else FLAGS
    command = [sys.executable, "-m", "ziglang", "cc", *flags, f"{name}.c", "-o", str(target.absolute())]
    subprocess.run(command, cwd=FOLDER, check=True)
    target.chmod(0o644)
    return target


def build_samples(names: Iterable[str], into: Path) -> None:
    """Compile several samples, telling the size of each."""
    for name in names:
        target = build_sample(name, into)
        print(f"{target.stat().st_size:7,d}  {target.name}")


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build the sample guests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all when left out")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder for the wasm files")
    options = parser.parse_args()
    build_samples(options.names or find_samples(), options.into)


if __name__ == "__main__":
    main()
