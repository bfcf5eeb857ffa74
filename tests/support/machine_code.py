"""Machine code that stays from test to test, and from run to run: interpreters take long to compile."""

from pathlib import Path

BUILD = Path(__file__).parents[2] / "build" / "tests"
COMPILED, INTERPRETERS = BUILD / "compiled", BUILD / "interpreters"


def share_compiled(state: Path) -> None:
    """Have an agent that keeps its state there, and never started, find what was compiled before."""
    COMPILED.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.mkdir(parents=True)
    (state / "compiled").symlink_to(COMPILED)
