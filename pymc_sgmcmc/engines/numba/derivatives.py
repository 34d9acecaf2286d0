"""Derivatives of a potential on fixed rows, by Numba: second ones are differences of gradients."""

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pymc_sgmcmc.engines.blas import one_blas_thread
from pymc_sgmcmc.engines.numba import loop
from pymc_sgmcmc.engines.numba.functions import numba_function
from pymc_sgmcmc.engines.programs import (
    gradient_program,
    rows_that_count,
    weighted_program,
)
from pymc_sgmcmc.engines.threads import cores
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.potential import StochasticPotential

# Step of a central difference, relative to the position: where the third derivative and rounding
# leave about the same error; and the part of a standard deviation that it is at most.
_STEP, _OF_DEVIATION = np.finfo(float).eps ** (1 / 3), 0.01


class NumbaDerivatives:
    """U, ∇U and second derivatives on fixed rows, by Numba; see `Derivatives`.

    In float64 whatever the precision of the potential: differences need its digits.

    Parameters
    ----------
    potential : StochasticPotential
    rows : sequence of ndarray
        Rows that stand for all.
    """

    def __init__(self, potential: StochasticPotential, rows: Sequence[np.ndarray]) -> None:
        potential = potential.in_dtype("float64")
        length = len(rows[0]) if rows and potential.n_rows is not None else None
        self._length = length if potential.separates else None
        self._others = {
            v.name: symbol.type.dtype
            for v, symbol in zip(potential.others, potential.inputs()[1], strict=True)
        }
        with potential.model:
            if self._length is not None:
                program = weighted_program(potential, self._length)
            else:
                program = gradient_program(Estimator(potential), length)
            gradient = numba_function(program)
        self._gradients = loop.bind(loop.gradients_at, {"gradient_of": gradient})
        self._place(rows)

    def _place(self, rows: Sequence[np.ndarray]) -> None:
        weights: list[np.ndarray] = []
        if self._length is not None:
            counted, rows = rows_that_count(rows, self._length, "float64")
            weights = [counted]
        self._rows = weights + [
            np.ascontiguousarray(x, float if x.dtype.kind == "f" else x.dtype) for x in rows
        ]

    def of(self, rows: Sequence[np.ndarray]) -> "NumbaDerivatives":
        """Those of as many other rows; see `Derivatives.of`."""
        other = copy.copy(self)
        other._place(rows)
        return other

    def gradient(
        self, positions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """U and ∇U; see `Derivatives.gradient`."""
        positions = np.ascontiguousarray(positions, float)
        values, gradients = np.empty(len(positions)), np.empty_like(positions)
        known = tuple(np.array(others[k], dtype) for k, dtype in self._others.items())
        arguments = (*known, *self._rows)

        def fill(part: slice) -> None:
            self._gradients(positions[part], arguments, values[part], gradients[part])

        parts = max(1, min(cores(), len(positions)))
        ends = np.linspace(0, len(positions), parts + 1, dtype=int)
        with one_blas_thread(), np.errstate(all="ignore"):
            if not self._gradients.signatures:
                fill(slice(0, 0))
            with ThreadPoolExecutor(parts) as threads:
                list(threads.map(fill, map(slice, ends[:-1], ends[1:])))
        return values, gradients

    def hessian(
        self, positions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U, ∇U and the Hessian; see `Derivatives.hessian`."""
        values, gradients = self.gradient(positions, others)
        return values, gradients, np.stack([self._hessian(q, others) for q in positions])

    def _hessian(self, position: np.ndarray, others: Mapping[str, np.ndarray]) -> np.ndarray:
        steps = _STEP * np.maximum(1, np.abs(position))
        columns = self._differences(position, np.diag(steps), others) / steps
        # A parameter in other units: its step is to be small beside its standard deviation.
        curvature = np.abs(np.diag(columns))
        with np.errstate(divide="ignore"):
            finer = np.minimum(steps, _OF_DEVIATION / np.sqrt(curvature))
        if np.isfinite(columns).all() and (finer < steps / 2).any():
            columns = self._differences(position, np.diag(finer), others) / finer
        return (columns + columns.T) / 2

    def products(
        self, positions: np.ndarray, directions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Hessians times directions; see `Derivatives.products`."""
        length = np.maximum(np.abs(directions).max(1, keepdims=True), 1e-300)
        away = np.maximum(1, np.abs(positions).max(1, keepdims=True))
        steps = np.minimum(_OF_DEVIATION, _STEP * away / length)
        return self._differences(positions, steps * directions, others).T / steps

    def _differences(
        self, positions: np.ndarray, steps: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Half the difference of ∇U at both sides of positions, a column for each step."""
        _, above = self.gradient(positions + steps, others)
        _, below = self.gradient(positions - steps, others)
        return (above - below).T / 2
