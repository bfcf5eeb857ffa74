"""Curves as an SVG picture: panels side by side, each with an axis of its own."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 560, 230
LEFT, TOP, RIGHT, BOTTOM = 56, 60, 30, 34
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#0a7ea4", "#bc4c00")
NAMES_IN_A_ROW = 4
TICKS = 4
FONT = 'font-family="sans-serif" font-size="12"'

Points = Sequence[tuple[float, float]]


class Panel(NamedTuple):
    """Curves that share an axis."""

    title: str
    curves: dict[str, Points]
    marks: Sequence[tuple[float, str]] = ()
    """Moments that are marked, each with what it was."""


def draw(panels: Sequence[Panel], x_name: str, columns: int = 2) -> str:
    """Return a picture of panels, so many in a row."""
    rows = -(-len(panels) // columns)
    width, height = columns * WIDTH, rows * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        parts.append(f'<g transform="translate({column * WIDTH} {row * HEIGHT})">')
        parts += _draw_panel(panel, x_name)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _shorten(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _draw_panel(panel: Panel, x_name: str) -> list[str]:
    points = [point for curve in panel.curves.values() for point in curve] or [(0.0, 0.0)]
    first, last = min(0.0, *(x for x, _ in points)), max(x for x, _ in points)
    top = max(max(y for _, y in points) * 1.1, 1e-9)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + wide * (x - first) / max(last - first, 1e-9), TOP + high * (1 - y / top)

    parts = [f'<text x="{LEFT}" y="16" font-weight="bold">{escape(panel.title)}</text>']
    for x, what in panel.marks:
        if first <= x <= last:
            at, _ = place(x, 0)
            parts.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{TOP + high}" stroke="#d0d7de">')
            parts.append(f"<title>{escape(what)}</title></line>")
    for step in range(TICKS + 1):
        (_, y), (x, _) = place(first, top * step / TICKS), place(first + (last - first) * step / TICKS, 0)
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_shorten(top * step / TICKS)}</text>'
        )
        name = f"{first + (last - first) * step / TICKS:.3g}" + (f" {x_name}" if step == TICKS else "")
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 16}" text-anchor="middle">{escape(name)}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{TOP + high}H{LEFT + wide}" fill="none" stroke="black"/>')
    for number, (name, curve) in enumerate(panel.curves.items()):
        colour, (row, column) = COLOURS[number % len(COLOURS)], divmod(number, NAMES_IN_A_ROW)
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        at = LEFT + column * wide / NAMES_IN_A_ROW
        parts.append(f'<text x="{at:.0f}" y="{32 + 15 * row}" fill="{colour}">{escape(name)}</text>')
    return parts
