"""Draws around a mode as a DataTree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pymc.model import Model
from xarray import Dataset, DataTree

from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.output import Recorder, data_groups, dataset_of
from pymc_sgmcmc.prediction.linearised import GROUP


def to_tree(
    potential: StochasticPotential,
    mode: np.ndarray,
    groups: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    variables: Dataset,
) -> DataTree:
    """Tree of some groups of draws, of the mode, and of what is known of each variable.

    Parameters
    ----------
    potential : StochasticPotential
    mode : ndarray
        All variables, ``(D,)``.
    groups : mapping of str to ndarray
        Draws ``(K, D)``, which become those of one chain.
    attributes : mapping
        Of the groups of draws.
    variables : Dataset
    """
    model: Model = potential.model
    recorder = Recorder(model)

    def recorded(positions: np.ndarray) -> dict[str, np.ndarray]:
        return recorder(potential.unravel(positions[None]))

    found = {k: dataset_of(model, recorded(x), attributes) for k, x in groups.items()}
    at_mode = dataset_of(model, recorded(mode[None]), {}).isel(chain=0, draw=0, drop=True)
    free = [rv.name for rv in model.free_RVs]
    found |= {GROUP: at_mode[free], "variables": variables, **data_groups(model)}
    return DataTree.from_dict({f"/{name}": group for name, group in found.items()})
