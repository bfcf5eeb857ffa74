"""Guests in the text format: what all guests of a folder have is in its ``common.wat``."""

import functools
from pathlib import Path

import wasmtime

GUESTS = Path(__file__).parents[1] / "worker_agent" / "guests"


def read_guest(name: str) -> str:
    """Return the text of ``{name}.wat``, with what it has in common with the others of its folder."""
    path = GUESTS / f"{name}.wat"
    text, common = path.read_text(), path.with_name("common.wat")
    if not common.exists() or "stands alone" in text.partition("\n")[0]:
        return text
    # At the end of the module: imports come first. What a component has can be used only after it.
    return f"{text.rstrip().removesuffix(')')}\n{common.read_text()})"


@functools.cache
def build(source: str) -> bytes:
    """Return the wasm of a text."""
    return bytes(wasmtime.wat2wasm(source))
