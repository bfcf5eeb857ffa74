"""The programs of ``programs.py`` as jobs of a server and an agent on this machine, beside plain wasmtime.

``program_jobs.py FOLDER``, with the packages in it. All files go along by value, and come back. What a job writes,
prints and ends with must be the same as under wasmtime. Times are from the submission until all that it made is
here, the shortest of three with compiled code at hand; cold is without. Its own time and memory are what the agent
told.
"""

import argparse
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import monotonic

from programs import PROGRAMS, SAMPLES, Program, Run, find_files, hash_files, run, run_repeatedly

from piecework import Client
from piecework.local import open_house
from piecework.protocol.messages import Limits, Usage, given
from piecework.protocol.states import JobState

COMPILING = ("--compile-timeout", "20m", "--compile-memory", "16000")
LIMITS = Limits(timeout_s=600, memory_bytes=2 << 30, files_bytes=256 << 20)


def main() -> int:
    """Run all that there is, and print a line of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", metavar="NAME", help="a program, or all that share a folder of this name")
    options = parser.parse_args()
    packages = options.folder
    shutil.copy(SAMPLES / "echo.wasm", packages)
    print("| program | module | same | cold | job | its own | wasmtime | memory |")
    print("| --- | --: | --- | --: | --: | --: | --: | --: |")
    differs = 0
    with (
        tempfile.TemporaryDirectory(prefix="programs-") as name,
        open_house(Path(name) / "house", *COMPILING, agents=1) as house,
        Client(house.server.url, "") as client,
    ):
        house.agents[0].wait_for_line(re.compile("agent started"))
        for program in PROGRAMS:
            if (packages / program.wasm).exists() and options.only in {None, program.name, program.folder}:
                differs += not compare(client, program, packages, Path(name))
    return int(differs > 0)


def compare(client: Client, program: Program, packages: Path, folder: Path) -> bool:
    """Run a program both ways, print how that went, and return whether it was the same."""
    ours, cold_s = run_repeatedly(program, folder / "jobs", partial(run_as_job, client, packages))
    theirs, _ = run_repeatedly(program, folder / "wasmtime", partial(run, packages, "wasmtime"))
    same = ours.result == theirs.result
    size = (packages / program.wasm).stat().st_size / 1e6
    print(
        f"| {program.name} | {size:.1f} MB | {'yes' if same else '**no**'} | {cold_s:.1f} s "
        f"| {ours.total_s:.2f} s | {ours.first_s:.2f} s | {theirs.total_s:.2f} s | {ours.memory_mb:.1f} MB |",
        flush=True,
    )
    if not same or ours.code:
        print(f"job: {ours.code} {ours.stderr[-1000:]!r} {ours.files}", file=sys.stderr)
        print(f"wasmtime: {theirs.code} {theirs.stderr[-1000:]!r} {theirs.files}", file=sys.stderr)
    return same


def collect_files(program: Program, packages: Path, work: Path) -> dict[str, Path]:
    """Return what a job takes along: the files in the program's folders, by the path that it has for them."""
    files = {str(path.relative_to(work)): path for path in find_files(work)}
    for guest, folder in program.mounts.items():
        for file in (packages / folder).glob(program.takes):
            if file.is_file():
                files[f"{guest[1:]}/{file.relative_to(packages / folder)}"] = file
    return files


def run_as_job(client: Client, packages: Path, program: Program, work: Path) -> Run:
    """Run a program once, as a job with what is in its folders; the first then has what it gave back."""
    code = client.create_lambda(packages / program.wasm, reuse=True)
    files = collect_files(program, packages, work)
    began = monotonic()
    job = client.submit(
        code,
        program.stdin,
        args=list(program.args),
        files=files,
        outputs=["*"],
        limits=LIMITS,
        max_attempts=1,
    )
    [info] = client.wait([job])
    for path in find_files(work):
        path.unlink()
    client.download_files(job, work)
    is_well = info.state is JobState.FINISHED
    stdout = client.output(info) if is_well else client.failed_output(info)
    total_s = monotonic() - began
    usage = given(info.usage) or Usage()
    return Run(
        0 if is_well else given(info.exit_code) or 1,
        stdout,
        f"{given(info.error)} {client.log(job).text}".encode(),
        hash_files(work),
        usage.wall_s or 0,
        total_s,
        (usage.memory_bytes or 0) / 1e6,
    )


if __name__ == "__main__":
    sys.exit(main())
