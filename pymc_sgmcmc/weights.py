"""Weights of chains: what they may be, averages by them, and draws in their proportion."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from xarray import DataArray, Dataset

from pymc_sgmcmc.arguments import numbers


class Pooled(Protocol):
    """What can be asked of all chains and draws together, weighted or not."""

    def mean(self, dim: tuple[str, ...]) -> DataArray:
        """Mean over dims."""

    def quantile(self, q: ArrayLike, *, dim: tuple[str, ...], skipna: bool) -> DataArray:
        """Quantiles over dims, of a new first dim."""


def of_chains(weights: ArrayLike, chains: DataArray) -> DataArray:
    """Weights of labelled chains, made to sum to 1.

    Parameters
    ----------
    weights : array_like
        One for each chain, none negative. Those with labels must have the labels of the chains.
    chains : DataArray
        Labels.

    Returns
    -------
    DataArray
        Dims ``(chain,)``.

    Raises
    ------
    ValueError
        If they are not one for each of these chains, negative, not finite, or all 0.
    """
    w = numbers("weights", weights)
    if w.shape != chains.shape:
        raise ValueError(
            f"weights must be one number for each of the {chains.size} chains, got the shape "
            f"{w.shape}: weights=stack_chains(...). (What predict(..., weights=...) gave is "
            "weighted already.)"
        )
    if isinstance(weights, DataArray) and "chain" in weights.coords:
        given, known = weights["chain"].values.tolist(), chains.values.tolist()
        if given != known:
            raise ValueError(
                f"weights are of the chains {given}, but the draws of {known}: "
                f"weights.sel(chain={known}), or stack the chains that are here."
            )
    if not (np.isfinite(w) & (w >= 0)).all() or not w.any():
        raise ValueError(f"weights must be finite, not negative, and not all 0, got {w.tolist()}.")
    return DataArray(w / w.sum(), dims="chain", coords={"chain": chains.values})


def pooled(x: DataArray, weights: ArrayLike | None) -> Pooled:
    """All chains and draws of ``(chain, draw, ...)`` together, each chain with its weight."""
    return x if weights is None else x.weighted(of_chains(weights, x["chain"]))


def in_proportion(draws: Dataset, weights: ArrayLike) -> Dataset:
    """Draws that all count the same, of each chain as many as its weight asks for.

    The heaviest chain gives all its draws, each of the others some, evenly spaced: none is taken
    twice, and nothing is left to chance. They come as one chain, for a mixture has no chains that
    could agree or not.

    Parameters
    ----------
    draws : Dataset
        Dims ``(chain, draw, ...)``.
    weights : array_like
        As in `of_chains`.

    Returns
    -------
    Dataset
        Dims ``(chain, draw, ...)`` with one chain.
    """
    w = of_chains(weights, draws["chain"]).values
    n = draws.sizes["draw"]
    # Systematic sampling: the points are no closer than the shares of any two draws.
    share_so_far = np.cumsum(np.repeat(w / n, n))
    points = int(n / w.max() + 1e-9)
    taken = np.searchsorted(share_so_far, (np.arange(points) + 0.5) / points)
    chain, draw = (DataArray(i, dims="draw") for i in np.divmod(taken, n))
    found = draws.isel(chain=chain, draw=draw).drop_vars(["chain", "draw"], errors="ignore")
    return found.expand_dims("chain").assign_coords(chain=[0], draw=np.arange(points))
