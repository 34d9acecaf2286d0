"""Draws in memory, until the run ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pymc.model import Model
from xarray import Dataset, DataTree

from pymc_sgmcmc.arguments import generator
from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.output import to_datatree


class InMemory:
    """Draws of a run in arrays ``(chains, draws, ...)`` that blocks of draws fill.

    Attributes
    ----------
    filled : int
        Draws of every chain that are kept.
    names : tuple of str
        Variables that all of them have.
    """

    # What a store has: draws of earlier calls, and the time they took; draws in the next block.
    made, seconds, room, there = 0, 0.0, None, None

    def __init__(self) -> None:
        self._posterior: dict[str, np.ndarray] = {}
        self._statistics: dict[str, np.ndarray] = {}
        self.filled = 0

    def begin(
        self, model: Model, chains: int, tune: int, draws: int, statistics: Mapping[str, Any]
    ) -> None:
        """Make room for draws of a model.

        Parameters
        ----------
        model : pm.Model
        chains : int
        tune, draws : int
            Draws of the tuning that are kept, and those after it.
        statistics : mapping of str to dtype
        """
        self._model, self._tune = model, tune
        self._shape = chains, tune + draws
        self._statistics = {k: np.empty(self._shape, dtype) for k, dtype in statistics.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Variables that all draws have."""
        return tuple(self._posterior)

    def generators(self, random_seed: Any, chains: int) -> list[np.random.Generator]:
        """Generators of the chains, as `pm.sample` makes them."""
        return generator("random_seed", random_seed).spawn(chains)

    def state(self) -> None:
        """State to go on from: there is none."""

    def of_mine(self, draws: Draws) -> Draws:
        """Draws with the positions of all chains; all processes must ask."""
        return draws.whole()

    def turn(self) -> None:
        """Nothing: processes need not wait for each other."""

    def add(self, variables: Mapping[str, np.ndarray], draws: Draws) -> None:
        """Keep a block of draws, with variables ``(chains, n, ...)`` of its positions."""
        n = draws.n
        place = slice(self.filled, self.filled + n)
        for name, x in variables.items():
            if name not in self._posterior:
                self._posterior[name] = np.empty((*self._shape, *x.shape[2:]), x.dtype)
            self._posterior[name][:, place] = x
        for name, x in self._statistics.items():
            x[:, place] = draws.statistics[name]
        for name in self._posterior.keys() - variables.keys():
            del self._posterior[name]
        self.filled += n

    def safe(self) -> int:
        """Draws that no exception can take away."""
        return self.filled

    def finish(self) -> None:
        """Nothing is left to be done."""

    def tree(self, attributes: Mapping[str, Any]) -> DataTree:
        """Draws as `pm.sample` gives them."""
        return to_datatree(
            self._model,
            self._filled(self._posterior),
            self._filled(self._statistics),
            self._n_tune,
            attributes,
            bool(self._tune),
        )

    def bare_tree(self, attributes: Mapping[str, Any]) -> DataTree:
        """Draws alone, where the model's dims, coords or data are at fault."""
        groups = {}
        for name, arrays in (("posterior", self._posterior), ("sample_stats", self._statistics)):
            variables = {
                k: (["chain", "draw", *(f"{k}_dim_{i}" for i in range(x.ndim - 2))], x)
                for k, x in self._filled(arrays).items()
            }
            whole, n_tune = Dataset(variables, attrs=dict(attributes)), self._n_tune
            if n_tune:
                groups[f"/warmup_{name}"] = whole.isel(draw=slice(n_tune))
            if self.filled > n_tune:
                groups[f"/{name}"] = whole.isel(draw=slice(n_tune, None))
        return DataTree.from_dict(groups)

    @property
    def _n_tune(self) -> int:
        """Leading draws that are tuning draws, of those that are kept."""
        return min(self.filled, self._tune)

    def _filled(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: x[:, : self.filled] for name, x in arrays.items()}
