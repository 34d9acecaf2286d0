"""Draws as points of a space: one number for each entry of each variable."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xarray import DataArray, DataTree

from pymc_sgmcmc.diagnostics.reading import find_group, quoted, sampled

Names = Sequence[str] | str | None
"""Of variables; None for all that have draws."""


@dataclass(frozen=True)
class Points:
    """Draws as vectors.

    Attributes
    ----------
    values : ndarray
        Shape ``(chains * draws, d)``, one chain after the other.
    entries : list of str
        What the d numbers are: ``"b[0]"``, ``"b[1]"`` ....
    chain, draw : ndarray
        Labels of chains and draws.
    """

    values: np.ndarray
    entries: list[str]
    chain: np.ndarray
    draw: np.ndarray

    def by_draw(self, x: np.ndarray) -> DataArray:
        """Components ``(chains * draws, components)`` of the draws, in their place."""
        return DataArray(
            x.reshape(len(self.chain), len(self.draw), -1),
            dims=("chain", "draw", "component"),
            coords={
                "chain": self.chain,
                "draw": self.draw,
                "component": np.arange(1, x.shape[1] + 1),
            },
        )


def points(idata: DataTree, var_names: Names, group: str, standardize: bool) -> Points:
    """Read draws as vectors, each entry in its own standard deviations where `standardize`.

    Entries that never change are left as they are: they move no draw away from another.

    Raises
    ------
    ValueError
        If a variable is not there, or has values that are not finite.
    """
    names = choose(idata, var_names, group)
    dataset = find_group(idata, group)[1]
    parts, entries = [], []
    for name in names:
        x = dataset[name].transpose("chain", "draw", ...)
        parts.append(x.values.reshape(x.sizes["chain"] * x.sizes["draw"], -1))
        entries += labels(x)
    values = np.concatenate(parts, axis=1, dtype=float)
    broken = ~np.isfinite(values).all(0)
    if broken.any():
        raise ValueError(
            f"{entries[int(broken.argmax())]!r} has values that are not finite: leave those draws "
            "out, idata.sel(draw=slice(100, None)), or that variable, var_names=[...]."
        )
    if standardize:
        spread = values.std(0)
        values /= np.where(spread > 0, spread, 1)
    return Points(values, entries, dataset["chain"].values, dataset["draw"].values)


def choose(idata: DataTree, var_names: Names, group: str) -> list[str]:
    """Names of variables of a group that have draws; a ValueError where one is missing."""
    known = sampled(find_group(idata, group)[1])
    names = known if var_names is None else [var_names] if isinstance(var_names, str) else var_names
    missing = [name for name in names if name not in known]
    if missing or not names:
        raise ValueError(
            f"Group {group!r} has no draws of {quoted(missing)}; it has {quoted(known)}."
        )
    return list(names)


def labels(x: DataArray) -> list[str]:
    """What the entries of a variable ``(chain, draw, ...)`` are called, in order: ``"b[0]"``."""
    over = [dim for dim in x.dims if dim not in ("chain", "draw")]
    along = [x.indexes[d] if d in x.indexes else range(x.sizes[d]) for d in over]
    places = (", ".join(map(str, place)) for place in itertools.product(*along))
    return [f"{x.name}[{place}]" for place in places] if over else [str(x.name)]
