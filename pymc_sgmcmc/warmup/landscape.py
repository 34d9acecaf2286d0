"""The potential on fixed rows, for the warm-up: values, slopes, curvature."""

from collections.abc import Callable, Mapping

import numpy as np

from pymc_sgmcmc.engines.base import Derivatives
from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.engines.unknown import naming_variables
from pymc_sgmcmc.model.potential import StochasticPotential

# Rows of large data that are evaluated at once.
_PIECE = 2**17


class Landscape:
    """U, ∇U and its curvature, with a subset of the rows that stands for all of them.

    Parameters
    ----------
    potential : StochasticPotential
    n_rows : int or None
        Rows n of the random subset; all rows when None.
    others : mapping of str to ndarray
        Values of the model's other value variables; read anew at every evaluation.
    rng : numpy.random.Generator
    engine : OneEngine
        Whose derivatives they are.

    Attributes
    ----------
    n_rows : int
        n; 1 where the model has no row data.
    row_gradients : int
        Gradients of single rows that were evaluated; a product with the Hessian counts as two.
    """

    def __init__(
        self,
        potential: StochasticPotential,
        n_rows: int | None,
        others: Mapping[str, np.ndarray],
        rng: np.random.Generator,
        engine: OneEngine,
    ) -> None:
        self.row_gradients = 0
        self._others, self._potential, every = others, potential, potential.n_rows
        if n_rows is not None and every is not None and n_rows < every:
            rows = potential.rows_at(np.sort(rng.choice(every, n_rows, replace=False)))
            self.n_rows, size = n_rows, n_rows
        elif every is None:
            rows = potential.rows_at(slice(None))
            self.n_rows = size = max((len(x) for x in rows), default=1)
        else:
            # All rows of large data are never in memory in another type, nor on a device, together.
            self.n_rows, size = every, min(every, _PIECE if n_rows is None else every)
            rows = potential.rows_at(slice(0, size))
        self._pieces = [slice(i, i + size) for i in range(0, self.n_rows, size)]
        with naming_variables(potential, engine):
            self._derivatives = self._rest = engine.derivatives(potential, rows)
            if self.n_rows % size:
                self._rest = engine.derivatives(potential, potential.rows_at(self._pieces[-1]))

    def gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U ``(k,)`` and ∇U ``(k, d)`` at positions ``(k, d)``."""
        self.row_gradients += len(positions) * self.n_rows
        value, gradient = self._mean(lambda some: some.gradient(positions, self._others))
        return value, gradient

    def hessian(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U ``(k,)``, ∇U ``(k, d)`` and the Hessian ``(k, d, d)`` at positions ``(k, d)``."""
        self.row_gradients += 2 * positions.size * self.n_rows
        value, gradient, hessian = self._mean(lambda some: some.hessian(positions, self._others))
        return value, gradient, hessian

    def products(self, positions: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Hessian at each position ``(k, d)`` times the direction of the same number."""
        self.row_gradients += 2 * len(positions) * self.n_rows
        (found,) = self._mean(lambda some: (some.products(positions, directions, self._others),))
        return found

    def product(self, position: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Hessian at a position times a direction, shape ``(d,)``."""
        return self.products(position[None], direction[None])[0]

    def _mean(self, evaluate: Callable[[Derivatives], tuple[np.ndarray, ...]]) -> list[np.ndarray]:
        """Mean over all rows of what is evaluated on a piece of them, which stands for all."""
        if len(self._pieces) == 1:
            return list(evaluate(self._derivatives))
        total: list[np.ndarray] = []
        for piece in self._pieces:
            rows = self._potential.rows_at(piece)
            share = len(rows[0]) / self.n_rows
            some = self._rest if piece is self._pieces[-1] else self._derivatives
            parts = [share * x for x in evaluate(some.of(rows))]
            total = [x + part for x, part in zip(total, parts, strict=True)] if total else parts
        return total
