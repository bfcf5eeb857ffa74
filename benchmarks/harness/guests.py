"""The guests in WebAssembly, and how much work 10 ms of computing are for them."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.work import CPU, CPU_S

HERE = Path(__file__).parent.parent
UPPERCASE = HERE.parent / "samples" / "uppercase.wasm"
"""Answers no-ops."""
CALL = HERE / "guests" / "call.wasm"
"""Answers no-ops that are JSON strings, through the interface of FunLess."""
WORK = HERE / "guests" / "work.wasm"
"""Computes, or sleeps, then answers; its arguments say how many rounds and how many milliseconds."""

TRIAL_ROUNDS = 5_000
TRIALS = 40


def measure_rounds(cores: int) -> int:
    """Return how many rounds take CPU_S of CPU time while as many guests compute as there are cores.

    The guests of a benchmark do a fixed amount of work, because a clock would also count the time that they
    wait for a core.
    """
    command = [sys.executable, "-m", "harness.guests"]
    trials = [subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) for _ in range(cores)]
    round_s = statistics.mean(float(trial.communicate()[0]) for trial in trials)
    return round(CPU_S / round_s)


def time_round() -> float:
    """Return the CPU time of one round of the guest on this machine, seconds."""
    from wasmtime import Engine, Linker, Module, Store, WasiConfig  # noqa: PLC0415  # only the trials need it

    engine = Engine()
    module, linker = Module.from_file(engine, str(WORK)), Linker(engine)
    linker.define_wasi()
    times_s = []
    with tempfile.NamedTemporaryFile() as stdin:
        stdin.write(CPU.encode())
        stdin.flush()
        for _ in range(TRIALS):
            store, wasi = Store(engine), WasiConfig()
            wasi.argv = ["work", str(TRIAL_ROUNDS)]
            wasi.stdin_file = stdin.name
            store.set_wasi(wasi)
            start = linker.instantiate(store, module).exports(store)["_start"]
            began = time.thread_time()
            start(store)
            times_s.append(time.thread_time() - began)
    return statistics.median(times_s) / TRIAL_ROUNDS


if __name__ == "__main__":
    print(time_round())
