"""Markdown tables."""

from collections.abc import Iterable, Sequence


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table. Cells are Markdown; a bar inside of one is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_one_line(str(cell)) for cell in line) + " |" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def as_code(value: object) -> str:
    """Show a value as code; nothing when it is empty."""
    return f"`{value}`" if str(value) else ""
