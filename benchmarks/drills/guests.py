"""The sample guests, as the drills send them."""

from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "samples"


def guest(name: str) -> bytes:
    """Return the wasm of a sample by its name, such as ``uppercase``."""
    return (SAMPLES / f"{name}.wasm").read_bytes()
