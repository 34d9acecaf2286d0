"""Draws as dots in two coordinates, coloured by what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from xarray import DataArray, Dataset, DataTree

from pymc_sgmcmc.diagnostics.reading import quoted
from pymc_sgmcmc.plots.arrays import SAMPLE
from pymc_sgmcmc.plots.canvas import COLORS, Canvas

VISUALS = {
    "draws": "scatter",
    "colorbar": "colorbar",
    "legend": "legend",
    "xlabel": "set_xlabel",
    "ylabel": "set_ylabel",
}
SIZE = (5.2, 4.2)

Color = str | ArrayLike
"""What dots are coloured by: ``"chain"``, a variable's name, or an array ``(chain, draw)``."""


def draw_coordinates(
    canvas: Canvas, found: Dataset, axes: Mapping[int, str], color: DataArray | None
) -> None:
    """Draw two components of ``coordinate`` against each other.

    Parameters
    ----------
    canvas : Canvas
    found : Dataset
        With ``coordinate`` ``(chain, draw, component)``.
    axes : mapping of int to str
        The two components, and how their axes are labelled.
    color : DataArray or None
        A quantity of each draw, in `found`'s order; by chain when None.
    """
    x, y = (found["coordinate"].sel(component=k).values for k in axes)
    dot: dict[str, Any] = {"s": 7, "alpha": 0.6, "linewidths": 0}
    if color is None:
        names = found["chain"].values
        for i, name in enumerate(names):
            label = f"chain {name}" if len(names) <= len(COLORS) else None
            look = {"color": COLORS[i % len(COLORS)], "label": label, **dot}
            canvas.draw("draws", x[i], y[i], over={"chain": name.item()}, **look)
        if len(names) <= len(COLORS):
            canvas.draw(
                "legend", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2
            )
    else:
        order = np.argsort(color.values.ravel())  # the highest on top: they are the rare ones
        dots = (v.ravel()[order] for v in (x, y))
        shown = canvas.draw("draws", *dots, c=color.values.ravel()[order], cmap="viridis", **dot)
        if shown is not None:
            canvas.draw("colorbar", shown, label=str(color.name or ""))
    for visual, label in zip(("xlabel", "ylabel"), axes.values(), strict=True):
        canvas.draw(visual, label)


def colors(idata: DataTree, group: str, found: Dataset, color: Color) -> DataArray | None:
    """Find what dots are coloured by; None where it is the chain.

    Raises
    ------
    ValueError
        If it is not one number for each draw.
    """
    if isinstance(color, str) and color == "chain":
        return None
    shape = tuple(found.sizes[dim] for dim in SAMPLE)
    if isinstance(color, str):
        groups = [g for g in dict.fromkeys((group, "posterior", "sample_stats")) if g in idata]
        single = {
            str(name): x.transpose(*SAMPLE)
            for g in reversed(groups)
            for name, x in idata[g].to_dataset().data_vars.items()
            if set(x.dims) == set(SAMPLE)
        }
        if color not in single:
            raise ValueError(
                f'color={color!r} is not one number for each draw. Write "chain", one of '
                f"{quoted(single)}, or an array (chain, draw)."
            )
        chosen = single[color]
    elif isinstance(color, DataArray):
        chosen = color.transpose(*SAMPLE, ...)
    else:
        given = np.asarray(color)
        chosen = DataArray(given, dims=(*SAMPLE, "entry")[: given.ndim])
    if chosen.shape != shape:
        raise ValueError(
            f"color has the shape {chosen.shape}, but there are {shape[0]} chains of {shape[1]} "
            "draws: give an array (chain, draw)."
        )
    return chosen


def pair(components: tuple[int, int]) -> tuple[int, int]:
    """Two components, counted from 1; a ValueError where they are not."""
    try:
        first, second = components
        if first != second and min(first, second) >= 1 and first == int(first):
            return int(first), int(second)
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"components must be two numbers from 1 on, such as (1, 2); got {components!r}."
    )
