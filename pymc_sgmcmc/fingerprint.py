"""Noticing that a model changed after something was built from it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymc.model import Model
from pytensor.graph.basic import Variable

from pymc_sgmcmc.graphs import is_shared_value, leaves


class Fingerprint:
    """What a model is made of: its variables, and the values it holds.

    Parameters
    ----------
    model : pm.Model
    """

    def __init__(self, model: Model) -> None:
        self._variables = _variables(model)
        self._shared = _shared(model)

    def matches(self, model: Model, ignore: Sequence[Variable] = ()) -> bool:
        """Whether the values are the same, but for the contents of those to ignore.

        Raises
        ------
        ValueError
            If variables were added to the model or taken from it.
        """
        if _variables(model) != self._variables:
            raise ValueError(
                "The model's variables changed after this step was made. Make a new step."
            )
        for v, before in self._shared.items():
            now = v.get_value(borrow=True)
            if now is before:
                continue
            if np.shape(now) != np.shape(before):
                return False
            if v not in ignore and not np.array_equal(now, before, equal_nan=True):
                return False
        return True


def _variables(model: Model) -> list[Any]:
    return [*model.basic_RVs, *(model.rvs_to_values[v] for v in model.basic_RVs), *model.potentials]


def _shared(model: Model) -> dict[Any, Any]:
    # set_value puts another array in place, so keeping the array itself tells a change.
    return {v: v.get_value(borrow=True) for v in leaves(_variables(model)) if is_shared_value(v)}
