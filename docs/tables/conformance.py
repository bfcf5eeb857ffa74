"""What the tests ask of every runtime, and what they cannot ask of some."""

import runpy
from pathlib import Path

from tables.markdown import as_code, write_table

ABIS = Path(__file__).parents[2] / "tests" / "support" / "abis.py"


def write_conformance() -> str:
    """Every behaviour, and whether each runtime has a guest that shows it; the reasons why not are below."""
    known = runpy.run_path(str(ABIS))
    abis, behaviours = known["ABIS"], known["BEHAVIOURS"]
    reasons: list[str] = []

    def tell(reason: str | None) -> str:
        if reason is None:
            return "yes"
        if reason not in reasons:
            reasons.append(reason)
        return f"({reasons.index(reason) + 1})"

    rows = [(what, *(tell(abi.lacks.get(name)) for abi in abis.values())) for name, what in behaviours.items()]
    table = write_table(["a guest", *map(as_code, abis)], rows)
    return "\n".join([table, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))])
