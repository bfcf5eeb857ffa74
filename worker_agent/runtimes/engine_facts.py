"""What runs guests here, for receipts. The agent's own process asks, which has not loaded wasmtime."""

from functools import cache
from importlib.metadata import version

from piecework.receipts.payload import EngineFacts
from piecework.worker_agent.runtimes import Engine

REPEATABLE_FLAGS = ("consume_fuel", "cranelift_nan_canonicalization", "wasm_relaxed_simd_deterministic")
"""What ``compiling/toolchain.py`` switches on in builds whose runs can be repeated, and what guests can notice."""


@cache
def describe_engine(engine: Engine) -> EngineFacts:
    """Return what runs guests whose runs can be repeated, with one of the engines of ``Build``."""
    return EngineFacts(
        name="wasmtime",
        version=version("wasmtime"),
        strategy="pulley" if engine == "pulley" else "cranelift",
        opt_level="none" if engine == "cranelift-none" else "speed",
        flags=list(REPEATABLE_FLAGS),
    )
