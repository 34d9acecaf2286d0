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
        rows = potential.row_values()
        if n_rows is not None and potential.n_rows is not None and n_rows < potential.n_rows:
            subset = np.sort(rng.choice(potential.n_rows, n_rows, replace=False))
            rows = [x[subset] for x in rows]
        self.n_rows = max((len(x) for x in rows), default=1)
        self._others = others
        # All rows of large data are never on a device together.
        cut = n_rows is None and potential.n_rows is not None
        size = _PIECE if cut else self.n_rows
        self._pieces = [[x[i : i + size] for x in rows] for i in range(0, self.n_rows, size)]
        lengths = {len(piece[0]): piece for piece in self._pieces if piece}
        with naming_variables(potential, engine):
            self._of_length = {k: engine.derivatives(potential, x) for k, x in lengths.items()}
            whole = next(iter(self._of_length.values()), None)
            self._derivatives = whole or engine.derivatives(potential, rows)

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
            share = len(piece[0]) / self.n_rows
            parts = [share * x for x in evaluate(self._of_length[len(piece[0])].of(piece))]
            total = [x + part for x, part in zip(total, parts, strict=True)] if total else parts
        return total
