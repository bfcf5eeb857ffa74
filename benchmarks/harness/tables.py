"""Tables: the same one for the terminal and for documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Table:
    """A table; its first column is text, the others are figures unless ``words`` names them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[str] = frozenset()
    """Columns with text beside the first."""

    def show(self) -> None:
        """Print it. Lines are as wide as figures need, whatever the terminal: a cut figure is none."""
        shown = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, column in enumerate(self.columns):
            text = number == 0 or column in self.words
            shown.add_column(column, justify="left" if text else "right", no_wrap=not text)
        for row in self.rows:
            shown.add_row(*row)
        Console(width=250, highlight=False).print(shown)

    def markdown(self) -> str:
        """Return it for a document, without its title."""
        rule = ["---" if not n or column in self.words else "--:" for n, column in enumerate(self.columns)]
        lines = [self.columns, rule, *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def number(value: float | None) -> str:
    """Show a figure with three digits or more; nothing for None."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(share: float | None) -> str:
    """Show a share, 0 to 1; nothing for None."""
    return "" if share is None else f"{share:.0%}"


def describe_machine(about: dict[str, Any]) -> str:
    """Return one line about what figures were measured on."""
    return (
        f"{about['cores']} cores of {about['cpu']}, {about['memory_gb']} GB, {about['system']}, "
        f"Python {about['python']}, {about['flushes_per_s']:,} disk flushes/s, "
        f"load {about['load']} before the start, {about['at']}, commit {about['commit']}"
    )
