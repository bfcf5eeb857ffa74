"""The tests of Zig's standard library as a program of ``worker-agent exec``, and under plain wasmtime.

``zig_suite.py FOLDER``, with ``pip install ziglang``; the compiler takes ten minutes and 5 GB of memory, and its
module stays in the folder, for the next time. The tests stand in the library's own sources. The package lacks the
files that are for tests alone: those that read them fail both ways, and what checks digests is written here anew.
All that differs is printed.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ziglang

ZIG = Path(ziglang.__file__).parent
LONG_S = 3600.0
PLAIN = Path(__file__).parent / "harness" / "plain_wasmtime.py"
CHECKS = """const std = @import("../std.zig");

pub fn assertEqualHash(comptime Hasher: anytype, comptime hex: anytype, in: []const u8) !void {
    var digest: [Hasher.digest_length]u8 = undefined;
    Hasher.hash(in, &digest, .{});
    try assertEqual(hex, &digest);
}

pub fn assertEqual(comptime hex: [:0]const u8, found: []const u8) !void {
    var expected: [hex.len / 2]u8 = undefined;
    for (&expected, 0..) |*byte, i| byte.* = std.fmt.parseInt(u8, hex[2 * i .. 2 * i + 2], 16) catch unreachable;
    try std.testing.expectEqualSlices(u8, &expected, found);
}
"""
_EMBEDDED = re.compile(r'@embedFile\("([^"]+)"\)')
_TEST = re.compile(r"^(\d+/\d+ \S.*?)\.\.\.", re.MULTILINE)
_END = re.compile(r"(OK|SKIP|FAIL) ?(?:\(\w+\))?$", re.MULTILINE)


def main() -> int:
    """Run the tests twice, and print how many passed and the tests that differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the library is copied to and compiled")
    folder: Path = parser.parse_args().folder.absolute()
    module = folder / "std.wasm"
    if not module.exists():
        compile_tests(folder, module)
    ours, wasmtimes = (run_tests(module, way) for way in ("exec", "wasmtime"))
    print(f"std: exec {write_counts(ours)}; wasmtime {write_counts(wasmtimes)}")
    differing = [name for name in sorted(ours | wasmtimes) if ours.get(name) != wasmtimes.get(name)]
    for name in differing:
        print(f"  {name}: exec {ours.get(name, 'no end')}, wasmtime {wasmtimes.get(name, 'no end')}")
    return int(bool(differing))


def compile_tests(folder: Path, module: Path) -> None:
    """Compile the tests in a copy of the library, with what the package lacks."""
    library = folder / "lib"
    shutil.copytree(ZIG / "lib", library, dirs_exist_ok=True)
    (library / "std" / "crypto" / "test.zig").write_text(CHECKS)
    for source in (library / "std").rglob("*.zig"):
        for name in _EMBEDDED.findall(source.read_text()):
            lacking = source.parent / name
            if not lacking.exists():
                lacking.parent.mkdir(parents=True, exist_ok=True)
                lacking.touch()
    subprocess.run(
        [
            ZIG / "zig", "test", library / "std" / "std.zig", "-target", "wasm32-wasi", "--test-no-exec",
            f"-femit-bin={module}", "--zig-lib-dir", library,
        ],
        cwd=folder, check=True,
    )  # fmt: skip


def run_tests(module: Path, way: str) -> dict[str, str]:
    """Return how each test ended: OK, SKIP or FAIL."""
    with tempfile.TemporaryDirectory(prefix="zig-suite-") as folder:
        command = {
            "exec": [
                str(Path(sys.executable).parent / "worker-agent"), "exec", "--memory", "4096",
                "--allow-dir", f"{folder}=/:rw",
            ],
            "wasmtime": [sys.executable, str(PLAIN), "--dir", f"{folder}::/"],
        }[way]  # fmt: skip
        done = subprocess.run(
            [*command, str(module)], capture_output=True, stdin=subprocess.DEVNULL, timeout=LONG_S, check=False
        )
    said = done.stderr.decode(errors="replace")
    if done.returncode not in {0, 1}:
        print(f"  {way}: exit code {done.returncode}: {said.strip()[-600:]}")
    return read_ends(said)


def read_ends(said: str) -> dict[str, str]:
    """Return how each test ended, by its number and name; what it printed stands between these and its end."""
    ends = {}
    _, *parts = _TEST.split(said)
    for name, rest in zip(parts[::2], parts[1::2], strict=True):
        end = _END.search(rest)
        ends[name] = end[1] if end else "no end"
    return ends


def write_counts(found: dict[str, str]) -> str:
    """Return how many passed, of those that were not skipped."""
    ends = list(found.values())
    return f"{ends.count('OK')} of {len(ends) - ends.count('SKIP')}"


if __name__ == "__main__":
    sys.exit(main())
