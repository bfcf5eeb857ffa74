"""Which wasmtime is installed."""

from functools import cache
from pathlib import Path

import wasmtime


@cache
def find_version() -> str:
    """Return the version of the package. Where it is its folder's neighbour, it is told without reading it."""
    found = list(Path(wasmtime.__file__).parent.parent.glob("wasmtime-*.dist-info"))
    if len(found) == 1:
        return found[0].name.removeprefix("wasmtime-").removesuffix(".dist-info")
    from importlib.metadata import version  # noqa: PLC0415  # takes longer than most guests run

    return version("wasmtime")
