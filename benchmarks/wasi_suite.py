"""The official tests of WASI preview 1 as programs of ``worker-agent exec``, and under plain wasmtime.

``wasi_suite.py FOLDER``, the ``tests`` folder of the branch prod/testsuite-base of WebAssembly/wasi-testsuite.
Each test has its directory fresh: as ``--allow-dir DIR=/:rw``, as ``--allow-files DIR``, and under wasmtime.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

LONG_S = 120.0
PLAIN = Path(__file__).parent / "harness" / "plain_wasmtime.py"
WAYS = ("--allow-dir", "--allow-files", "wasmtime")


class Expectation(NamedTuple):
    """What a test is given, and what it answers."""

    args: list[str]
    env: dict[str, str]
    root: str | None
    exit_code: int
    stdout: str | None

    @classmethod
    def read(cls, test: Path) -> "Expectation":
        """Return what the file beside a test says."""
        file = test.with_suffix(".json")
        said = json.loads(file.read_text()) if file.exists() else {}
        return cls(
            said.get("args", []), said.get("env", {}), said.get("root"),
            said.get("exit_code", 0), said.get("stdout"),
        )  # fmt: skip


def main() -> int:
    """Run all tests, print those that fail and how many passed; return 1 when one failed under exec."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the suite's tests")
    options = parser.parse_args()
    tests = sorted(options.folder.glob("*/testsuite/wasm32-wasip1/*.wasm"))
    if not tests:
        parser.error(f"no tests of preview 1 under {options.folder}")
    passed = dict.fromkeys(WAYS, 0)
    for test in tests:
        for way in WAYS:
            fault = run_test(test, way)
            passed[way] += fault is None
            if fault is not None:
                print(f"{way}: {test.parent.parent.parent.name}/{test.stem}: {fault}", flush=True)
    for way, count in passed.items():
        print(f"{way}: {count} of {len(tests)}")
    return int(min(passed["--allow-dir"], passed["--allow-files"]) < len(tests))


def run_test(test: Path, way: str) -> str | None:
    """Return what is wrong with how a test ended, None for nothing."""
    wanted = Expectation.read(test)
    with tempfile.TemporaryDirectory(prefix="wasi-suite-") as name:
        root = None if wanted.root is None else Path(name) / wanted.root
        if root is not None:
            shutil.copytree(test.parent / wanted.root, root, symlinks=True)
        command = write_command(test, way, wanted, root)
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=LONG_S, check=False)
    if done.returncode != wanted.exit_code:
        return f"exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()[-600:]}"
    if wanted.stdout is not None and done.stdout.decode() != wanted.stdout:
        return f"stdout {done.stdout!r}"
    return None


def write_command(test: Path, way: str, wanted: Expectation, root: Path | None) -> list[str]:
    """Return the command line that runs a test."""
    env = [word for name, value in wanted.env.items() for word in ("--env", f"{name}={value}")]
    here = Path(sys.executable).parent
    if way == "wasmtime":
        dirs = [] if root is None else ["--dir", f"{root}::/"]
        return [sys.executable, str(PLAIN), *dirs, *env, str(test), *wanted.args]
    place = {"--allow-dir": f"{root}=/:rw", "--allow-files": str(root)}[way]
    dirs = [] if root is None else [way, place]
    return [str(here / "worker-agent"), "exec", *dirs, *env, str(test), *wanted.args]


if __name__ == "__main__":
    sys.exit(main())
