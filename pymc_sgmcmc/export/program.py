"""A prediction as a list of steps, each an operator of ONNX: what both kinds of files spell."""

from __future__ import annotations

import keyword
import re
from typing import Any, NamedTuple

import numpy as np

from pymc_sgmcmc.export import numerics

# What a Python file calls otherwise.
_RESERVED = {"Path", "draws", "math", "np", "of_draw", "predict"} | set(vars(numerics))

MOST = 2**63 - 1
"""End of a slice that goes to the end of its axis."""


class Step(NamedTuple):
    """One array made of others.

    Attributes
    ----------
    operator : str
        Of ONNX, opset 18: "Add", "MatMul", ...
    inputs : tuple of str
        Names of arrays.
    output : str
    attributes : dict
        What is known when the program is written: axes, bounds, a dtype (``to``, of NumPy).
    """

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class Program:
    """Steps from the arrays that are given, and the draws, to predictions.

    Parameters
    ----------
    inputs : dict of str to (str, tuple)
        Name, dtype and shape of what is given; None in a shape is a length left open.
    draws : dict of str to ndarray
        Draws ``(draws, ...)`` of each variable, by name.

    Attributes
    ----------
    constants : dict of str to ndarray
    before, by_draw, after : list of Step
        What is the same for all draws, what each draw takes, and what is made of all draws.
    results : dict of str to (str, str, tuple)
        Public name of each prediction: the array's, its dtype and shape.
    stacked : dict of str to str
        What each draw gives, and the name of the array ``(draws, ...)`` of all.
    """

    def __init__(self, inputs: dict[str, tuple[str, tuple]], draws: dict[str, np.ndarray]) -> None:
        self.inputs, self.draws = inputs, draws
        self.constants: dict[str, np.ndarray] = {}
        self.before: list[Step] = []
        self.by_draw: list[Step] = []
        self.after: list[Step] = []
        self.results: dict[str, tuple[str, str, tuple]] = {}
        self.stacked: dict[str, str] = {}
        self._taken = {*inputs, *draws}
        self._varies = set(draws)

    def name(self, wanted: str) -> str:
        """A name that is not taken, and that Python can have."""
        wanted = identifier(wanted)
        found, n = wanted, 1
        while found in self._taken:
            found, n = f"{wanted}_{n}", n + 1
        self._taken.add(found)
        return found

    def constant(self, value: Any, name: str = "c") -> str:
        """Name of an array that is always the same."""
        value = np.asarray(value)
        for known, x in self.constants.items():
            same = x.dtype == value.dtype and x.shape == value.shape
            if same and x.tobytes() == value.tobytes():
                return known
        found = self.name(name)
        self.constants[found] = value
        return found

    def write(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a step, for all draws at once if it depends on none, and name what it gives."""
        varies = any(x in self._varies for x in inputs)
        found = self.name("v")
        (self.by_draw if varies else self.before).append(Step(operator, inputs, found, attributes))
        if varies:
            self._varies.add(found)
        return found

    def give(
        self, name: str, array: str, dtype: str, shape: tuple, weights: np.ndarray | None
    ) -> None:
        """Make an array that steps gave a result: of every draw, or averaged with weights.

        Parameters
        ----------
        name : str
            Public.
        array, dtype : str
        shape : tuple
            Of one draw.
        weights : ndarray or None
            ``(draws,)``, of sum 1; None for the draws themselves.
        """
        if array not in self._varies or array in self.draws or array in self.stacked:
            # What each draw gives must be an array of its own.
            copy = self.name("v")
            self.by_draw.append(Step("Identity", (array,), copy, {}))
            array = copy
        draws = len(next(iter(self.draws.values())))
        name = identifier(name)
        result = self.name(name)
        if weights is None:
            self.stacked[array] = result
            self.results[name] = (result, dtype, (draws, *shape))
            return
        self.stacked[array] = all_draws = self.name(f"{name}_of_draws")
        floating, weighted = self.name("v"), self.name("v")
        by_draw = weights.astype("float32").reshape(-1, *[1] * len(shape))
        self.after += [
            Step("Cast", (all_draws,), floating, {"to": "float32"}),
            Step("Mul", (floating, self.constant(by_draw, "weights")), weighted, {}),
            Step("ReduceSum", (weighted,), result, {"axes": (0,), "keepdims": 0}),
        ]
        self.results[name] = (result, "float32", shape)

    def drop_unused(self) -> None:
        """Forget constants that no step takes."""
        taken = {x for step in [*self.before, *self.by_draw, *self.after] for x in step.inputs}
        self.constants = {k: x for k, x in self.constants.items() if k in taken}


def identifier(name: str) -> str:
    """A name as a Python file can have it: net_0_weight of "net.0.weight", class_ of "class"."""
    found = re.sub(r"\W", "_", name)
    if not found or found[0].isdigit():
        return f"_{found}"
    return f"{found}_" if keyword.iskeyword(found) or found in _RESERVED else found
