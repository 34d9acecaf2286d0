"""The picture of `scaling.py`: updates per second of the processor's time against each number.

Not by the clock, whose seconds tell of what else the machine did.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

ENGINES = {"numba": ("Numba", "#1f5fa8", "o"), "jax": ("JAX", "#c8571b", "s")}
FLAT = ("N", "draws")  # should be: seen from zero
STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8,
    "svg.hashsalt": "scaling",  # the same figures give the same file
}


def draw_picture(rows: list[dict[str, Any]], labels: dict[str, str], path: Path) -> None:
    """Draw one panel for each number that was varied."""
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            lines, columns, figsize=(2.6 * columns, 2.2 * lines), squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for letter, name, ax in zip("abcdef", panels, axes.flat, strict=False):
            draw_panel(ax, name, [row for row in rows if row["panel"] == name])
            ax.set_title(f"({letter})", loc="left", fontweight="bold")
            ax.set_xlabel(labels[name])
        for ax in axes[:, 0]:
            ax.set_ylabel("updates per CPU second")
        empty = axes.flat[len(panels) :]
        handles, names = axes.flat[0].get_legend_handles_labels()
        for ax in empty:
            ax.axis("off")
        where = {"loc": "center left"} if len(empty) else {}
        (empty[0] if len(empty) else axes.flat[0]).legend(
            handles, names, frameon=False, title="engine", **where
        )
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=160, metadata=metadata)
        plt.close(figure)


def draw_panel(ax: Axes, name: str, rows: list[dict[str, Any]]) -> None:
    """Draw medians, with the range of rounds."""
    top = 0.0
    for engine in dict.fromkeys(row["engine"] for row in rows):
        of_engine = [row for row in rows if row["engine"] == engine]
        speeds = [1e6 / np.array(row["cpu_rounds"]) for row in of_engine]
        middle = np.array([np.median(x) for x in speeds])
        spread = [middle - [x.min() for x in speeds], [x.max() for x in speeds] - middle]
        text, colour, marker = ENGINES[engine]
        ax.errorbar(
            [row["value"] for row in of_engine], middle, yerr=spread, color=colour, label=text,
            marker=marker, markersize=3.5, linewidth=1.2, capsize=2, elinewidth=0.8,
        )  # fmt: skip
        top = max(top, *(x.max() for x in speeds))
    ax.set_xscale("log")
    if name in FLAT:
        ax.set_ylim(0, 1.15 * top)
        ax.yaxis.set_major_formatter("{x:,.0f}")
    else:
        ax.set_yscale("log")
    ax.grid(alpha=0.25, linewidth=0.5)
