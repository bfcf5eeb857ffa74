"""CPU time of one warm request with a body that comes back: an HTTP component and a WASI command, both samples.

Inside a guest process, from the request to the whole response. ``python benchmarks/micro/request_cost.py``
"""

import hashlib
import statistics
import tempfile
import time
from io import BytesIO
from pathlib import Path

import wasmtime

from piecework.http.exchange import Request
from piecework.worker_agent.runtimes.answering import ask
from piecework.worker_agent.runtimes.base import Bounds, Build, Call, CodeFile, Program
from piecework.worker_agent.runtimes.compiling.library import Library
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.runtimes.streams import LogTail, OutputSpool

SAMPLES = Path(__file__).parents[2] / "samples"
SIZES = (0, 1_000, 10_000, 100_000, 1_000_000)
RUNS, BYTES = 200, 2_000_000
"""A size is measured so often, or until so many bytes have passed."""
BOUNDS = Bounds()


def main() -> None:
    """Print a line of a table for each size."""
    codes = {
        "component": bytes(wasmtime.wat2wasm((SAMPLES / "http" / "echo.wat").read_text())),
        "wasi": (SAMPLES / "echo.wasm").read_bytes(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = Library(Toolchain(folder / "compiled"), None)
        programs = {runtime: load(library, folder, runtime, code) for runtime, code in codes.items()}
        for size in SIZES:
            costs = [f"{1000 * measure(each, folder, size):.2f} ms" for each in programs.values()]
            print(f"| {size:,} | {' | '.join(costs)} |")


def load(library: Library, folder: Path, runtime: str, code: bytes) -> Program:
    """Return a program, ready to be called."""
    checksum = hashlib.sha256(code).hexdigest()
    (folder / checksum).write_bytes(code)
    return library.load(runtime, CodeFile(folder / checksum, checksum), Build.fitting(BOUNDS, deterministic=False))


def measure(program: Program, folder: Path, size: int) -> float:
    """Return the CPU time of a request, seconds: the median."""
    request, costs = Request("POST", "/", (), b"x" * size), []
    for _ in range(max(3, min(RUNS, BYTES // (size + 1)))):
        output, log = OutputSpool(BOUNDS.output_bytes, str(folder / "spool")), LogTail(BOUNDS.log_bytes)
        call = Call(BytesIO(), output, log, StopSignal(), BOUNDS, (), {}, None, "http")
        began = time.process_time()
        _, response = ask(program, call, request)
        costs.append(time.process_time() - began)
        assert response is not None
        assert response.body == request.body
    return statistics.median(costs)


if __name__ == "__main__":
    main()
