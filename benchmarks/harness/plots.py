"""Plots, drawn with matplotlib into PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.comparison import is_ours
from harness.summary import Spread, Summary, summarise
from harness.work import CPU_S

OURS_COLOUR, OTHER_COLOUR, MARK_COLOUR = "#2a6f97", "#b8b8b8", "#c1121f"
DOTS_PER_INCH = 110


def draw_comparison(results: dict[str, Any], path: Path) -> None:
    """Draw speed, latency and efficiency of all contestants side by side."""
    summaries = [each for each in reversed(summarise(results["runs"])) if each.noop]
    figure = Figure(figsize=(15, 0.45 * len(summaries) + 1.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    _draw_bars(
        axes[0], summaries, [each.noop for each in summaries], "no-ops per second, result read back", "{:,.0f}"
    )
    _draw_bars(axes[1], summaries, [each.p50_ms for each in summaries], "one job at a time, p50 ms", "{:.1f}")
    axes[1].set_xscale("log")
    _draw_bars(
        axes[2], summaries, [each.cpu for each in summaries], "jobs of 10 ms of computing per second", "{:.0f}"
    )
    axes[2].axvline(results["about"]["cores"] / CPU_S, color=MARK_COLOUR, linestyle="--", label="ideal")
    axes[2].legend(loc="upper left", frameon=False)
    _save(figure, path)


def _draw_bars(
    axes: Axes, summaries: Sequence[Summary], spreads: Sequence[Spread | None], title: str, form: str
) -> None:
    colours = [OURS_COLOUR if is_ours(each.name) else OTHER_COLOUR for each in summaries]
    shown = [spread or Spread(0, 0, 0) for spread in spreads]
    medians = [each.median for each in shown]
    errors = [[each.median - each.low for each in shown], [each.high - each.median for each in shown]]
    bars = axes.barh([each.name for each in summaries], medians, color=colours, xerr=errors, ecolor="#555555")
    axes.bar_label(bars, [form.format(value) for value in medians], padding=4, fontsize=9)
    axes.set_title(title, fontsize=11)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def draw_lines(path: Path, panels: Sequence[tuple[str, str, dict[str, list[tuple[float, float]]]]]) -> None:
    """Draw one panel for each (title, name of the x axis, lines), with logarithmic x axes."""
    figure = Figure(figsize=(5 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for panel, (title, x_name, lines) in zip(axes[0], panels, strict=True):
        for name, points in lines.items():
            panel.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
        panel.set(title=title, xlabel=x_name, xscale="log", ylim=(0, None))
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        panel.legend(frameon=False, fontsize=9)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS_PER_INCH)
