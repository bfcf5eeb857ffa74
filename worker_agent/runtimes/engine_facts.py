"""What runs guests here, for receipts. The agent's own process asks, which has not loaded wasmtime."""

from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from piecework.protocol.matching import RuntimeName
from piecework.receipts.payload import EngineFacts
from piecework.worker_agent.errors import InterpreterError
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.scripting.interpreters import find_checksum

REPEATABLE_FLAGS = ("consume_fuel", "cranelift_nan_canonicalization", "wasm_relaxed_simd_deterministic")
"""What ``compiling/toolchain.py`` switches on in builds whose runs can be repeated, and what guests can notice."""


@cache
def describe_engine(engine: Engine, runtime: str, interpreters: Path | None) -> EngineFacts:
    """Return what runs guests whose runs can be repeated, with one of the engines of ``Build``.

    ``runtime``: as the lambda names it. ``interpreters``: the folder with those of this node.
    """
    interpreter = None
    with suppress(InterpreterError, OSError):  # what was described otherwise since the job ran
        interpreter = find_checksum(RuntimeName.parse(runtime).base, interpreters)
    return EngineFacts(
        name="wasmtime",
        version=version("wasmtime"),
        strategy="pulley" if engine == "pulley" else "cranelift",
        opt_level="none" if engine == "cranelift-none" else "speed",
        flags=list(REPEATABLE_FLAGS),
        interpreter=interpreter,
    )
