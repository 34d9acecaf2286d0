"""Draws as positions in PyMC's unconstrained space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pytensor
from pymc.model import Model
from pymc.pytensorf import replace_vars_in_graphs
from xarray import DataTree

from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.model.rows import uses_minibatch


@dataclass(frozen=True)
class Layout:
    """Where each value variable of a model lies in a flat position, in the model's order.

    Attributes
    ----------
    names : tuple of str
        Of the free variables.
    initial : mapping of str to ndarray
        Value variables, for their names, shapes and dtypes.
    """

    names: tuple[str, ...]
    initial: dict[str, np.ndarray]

    @classmethod
    def of(cls, model: Model) -> Self:
        """Layout of a model's value variables."""
        initial = model.initial_point(0)
        names = tuple(model.values_to_rvs[v].name for v in model.value_vars)
        return cls(names, {v.name: np.asarray(initial[v.name]) for v in model.value_vars})

    def parts(self, position: np.ndarray) -> Iterator[np.ndarray]:
        """Value of each variable in a position ``(d,)``."""
        start = 0
        for x in self.initial.values():
            yield position[start : start + x.size].reshape(x.shape)
            start += x.size

    def point(self, position: np.ndarray) -> dict[str, np.ndarray]:
        """Position as the functions that PyMC compiles take it."""
        parts = zip(self.initial.items(), self.parts(position), strict=True)
        return {name: value.astype(x.dtype) for (name, x), value in parts}


def check_all_rows(model: Model) -> None:
    """Refuse models whose log-density is random, or not differentiable.

    Raises
    ------
    ValueError
        If there are minibatches or discrete variables.
    """
    if uses_minibatch([*model.basic_RVs, *model.rvs_to_values.values()]):
        raise ValueError(
            "The model has pm.Minibatch, whose log-density is random. Give a model with the same "
            "variables and all rows."
        )
    if model.discrete_value_vars:
        names = ", ".join(repr(v.name) for v in model.discrete_value_vars)
        raise ValueError(f"All variables must be continuous, and {names} is discrete.")


def unconstrained(idata: DataTree, model: Model, draws: Sequence[tuple[int, int]]) -> np.ndarray:
    """Positions of draws in PyMC's unconstrained space, ``(draw, d)``, in the model's order.

    PyMC's own ``unconstrain_values`` fails under Numba in PyMC 6.4.

    Raises
    ------
    ValueError
        If the posterior lacks a free variable.
    """
    posterior = idata["posterior"].to_dataset()
    missing = [v.name for v in model.free_RVs if v.name not in posterior]
    if missing:
        raise ValueError(
            f"The posterior has no {', '.join(map(repr, missing))}: sample with all free "
            "variables in var_names."
        )
    # A transform may depend on other variables, such as the bounds of a uniform one.
    natural = [v.type() for v in model.free_RVs]
    values = []
    for variable, x in zip(model.free_RVs, natural, strict=True):
        transform = model.rvs_to_transforms[variable]
        values.append(x if transform is None else transform.forward(x, *variable.owner.inputs))
    values = replace_vars_in_graphs(values, dict(zip(model.free_RVs, natural, strict=True)))
    function = pytensor.function(
        natural, values, mode=INTERPRETED, on_unused_input="ignore", allow_input_downcast=True
    )
    order = [model.rvs_to_values[v] for v in model.free_RVs]
    place = [order.index(v) for v in model.value_vars]
    positions = []
    for chain, draw in draws:
        at = posterior.isel(chain=chain, draw=draw)
        found = function(*(at[v.name].values.astype(v.type.dtype) for v in model.free_RVs))
        positions.append(np.concatenate([np.ravel(found[i]) for i in place]).astype(float))
    return np.array(positions)
