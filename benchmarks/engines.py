"""Programs of others as deterministic jobs under each engine: each has one result, and its receipts say so.

``engines.py FOLDER``, with the packages in it that ``programs.py`` tells of; what is not there is left out. A
server and an agent for each engine run every program, all files go along by value, and the receipts of the three
jobs are compared: what was run, and output, files, memory and fuel. The interpreters that agents have are run as
well, and modules of Capsule and FunLess. A result is named by the beginning of its digest. Times are the guests'
own, of one run; "no" stands for an engine that cannot compile the program.
"""

import argparse
import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs
from program_jobs import COMPILING, LIMITS, collect_files
from programs import PROGRAMS, SAMPLES, Program, find_files, find_work, lay_out

from piecework import Client
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Usage, given
from piecework.protocol.states import JobState
from piecework.receipts.payload import RunResult, read_payload, result_digest, subject_digest
from piecework.worker_agent.runtimes import ENGINES

WORDS = "some words of some input\n"
NUMBERS = "[1, 2.5, 1e-7]"
SCRIPTS = {
    "javascript": Program("QuickJS", str(SAMPLES / "scripts" / "json_sum.js"), (), stdin=NUMBERS),
    "lua5.4": Program("Lua 5.4", str(SAMPLES / "scripts" / "word_count.lua"), (), stdin=WORDS),
    "micropython": Program("MicroPython, script", str(SAMPLES / "scripts" / "json_sum.py"), (), stdin=NUMBERS),
    "python3.12": Program("CPython 3.12, script", str(SAMPLES / "scripts" / "json_sum.py"), (), stdin=NUMBERS),
}
"""Scripts, by the runtime that has their interpreter."""
FUNCTIONS = (
    Program("Capsule 1", str(SAMPLES / "capsule_g1.wasm"), (), stdin="ping there"),
    Program("Capsule 2", str(SAMPLES / "capsule_g2.wasm"), (), stdin="ping there"),
    Program("Capsule 3", str(SAMPLES / "capsule_g3.wasm"), (), stdin="memory-set a b"),
    Program("Capsule 4", str(SAMPLES / "capsule_g4.wasm"), (), stdin="cache-set a b"),
    Program("FunLess", str(SAMPLES / "funless_before.wasm"), (), stdin="[1, 2]"),
)
PATIENT = structs.replace(LIMITS, timeout_s=7200.0)
"""The interpreter among the engines takes its time."""
SHOWN = 12
"""Characters of a digest that are shown."""


@dataclass(frozen=True)
class EngineRun:
    """What a receipt says that one engine made of a program."""

    subject: str
    result: RunResult
    took_s: float


def main() -> int:
    """Run all that there is, and print a line of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", metavar="NAME", help="a program, or all that share a folder of this name")
    options = parser.parse_args()
    print(f"| program | module | result | fuel | {' | '.join(ENGINES)} |")
    print(f"| --- | --: | --- | --: |{' --: |' * len(ENGINES)}")
    differs = 0
    with tempfile.TemporaryDirectory(prefix="engines-") as name, ExitStack() as stack:
        client = start_programs(stack, Path(name))
        runtimes = {runtime for worker in client.workers() for runtime in given(worker.runtime) or ()}
        scripts = [(program, runtime) for runtime, program in SCRIPTS.items() if runtime in runtimes]
        for program, runtime in [*((each, None) for each in (*PROGRAMS, *FUNCTIONS)), *scripts]:
            is_there = (options.folder / program.wasm).exists()
            if is_there and options.only in {None, program.name, program.folder or program.name}:
                differs += not compare(client, program, options.folder, Path(name), runtime)
    return int(differs > 0)


def start_programs(stack: ExitStack, folder: Path) -> Client:
    """Start a server, and an agent for each engine."""
    server = stack.enter_context(LocalServer(folder))
    agents = [
        LocalAgent(server.url, folder, engine, "--engine", engine, "--tag", f"on-{engine}", *COMPILING)
        for engine in ENGINES
    ]
    stack.callback(stop_together, agents)
    for agent in agents:
        agent.wait_for_line(re.compile("agent started"))
    return stack.enter_context(Client(server.url, ""))


def compare(client: Client, program: Program, packages: Path, folder: Path, runtime: str | None) -> bool:
    """Run a program under each engine, print what its receipts say, and return whether all say the same."""
    runs = []
    for engine in ENGINES:
        work = find_work(program, folder / engine)
        lay_out(program, work)
        runs.append(run(client, program, packages, work, runtime=runtime, engine=engine))
    done = [each for each in runs if each]
    if not done:
        print(f"{program.name}: no engine can compile it", file=sys.stderr)
        return True
    first = done[0]
    same = all((each.subject, each.result) == (first.subject, first.result) for each in done)
    size = (packages / program.wasm).stat().st_size / 1e6
    name = result_digest(first.result)[:SHOWN] if same else "**differs**"
    well = "" if first.result.state == "Finished" else f", {first.result.error_kind}"
    times = " | ".join(f"{each.took_s:.2f} s" if each else "no" for each in runs)
    fuel = int(first.result.fuel or 0)
    print(f"| {program.name} | {size:.1f} MB | `{name}`{well} | {fuel:,} | {times} |", flush=True)
    if not same:
        print(*runs, sep="\n", file=sys.stderr)
    return same


def run(
    client: Client, program: Program, packages: Path, work: Path, *, runtime: str | None, engine: str
) -> EngineRun | None:
    """Run a program as a job of one engine's agent; its folder then has what it gave back.

    Returns None when the engine cannot compile it.
    """
    code = client.create_lambda(packages / program.wasm, runtime, deterministic=True, reuse=True)
    is_command = runtime is None and program not in FUNCTIONS
    terms: dict[str, Any] = (
        {"files": collect_files(program, packages, work), "outputs": ["*"]} if is_command else {}
    )
    job = client.submit(
        code,
        program.stdin,
        args=list(program.args),
        tags=[f"+on-{engine}"],
        limits=PATIENT,
        max_attempts=1,
        **terms,
    )
    [info] = client.wait([job])
    if info.state is not JobState.FINISHED:
        error = given(info.error)
        print(program.name, engine, error and error.message, client.log(job).text[-1000:], file=sys.stderr)
        if error and error.kind is ErrorKind.LOAD:
            return None
    claim = read_payload(client.receipt(job).payload).claim
    if is_command:
        for path in find_files(work):
            path.unlink()
        client.download_files(job, work)
    return EngineRun(subject_digest(claim.subject), claim.result, (given(info.usage) or Usage()).wall_s or 0.0)


if __name__ == "__main__":
    sys.exit(main())
