"""The potential on fixed rows and on random batches, for the warm-up: values, slopes, curvature."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pymc_sgmcmc.engines.jax import compile_for, compile_gradient
from pymc_sgmcmc.estimators import Estimator
from pymc_sgmcmc.potential import StochasticPotential

# Rows times positions that are evaluated at once.
_CHUNK = 2**22


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
    ) -> None:
        self.dtype = potential.dtype
        self.row_gradients = 0
        rows = potential.row_values()
        if n_rows is not None and potential.n_rows is not None and n_rows < potential.n_rows:
            subset = np.sort(rng.choice(potential.n_rows, n_rows, replace=False))
            rows = [x[subset] for x in rows]
        length = None if potential.n_rows is None else len(rows[0])
        self.n_rows = max((len(x) for x in rows), default=1)
        self._others, self._other_names = others, [v.name for v in potential.others]
        with potential.model:
            self._estimate = compile_gradient(Estimator(potential), length)
        with _precision(self.dtype):
            self._rows = [jax.device_put(x) for x in rows]
        self._compiled: dict = {}

    def gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U ``(k,)`` and ∇U ``(k, d)`` at positions ``(k, d)``."""

        def one(position, others, rows):
            return self._estimate(position, *others, *rows)

        self.row_gradients += len(positions) * self.n_rows
        return self._map("gradient", one, positions)

    def hessian(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U ``(k,)``, ∇U ``(k, d)`` and the Hessian ``(k, d, d)`` at positions ``(k, d)``."""

        def one(position, others, rows):
            def gradient(q):
                value, gradient = self._estimate(q, *others, *rows)
                return gradient, value

            def column(direction):
                slope, column, value = jax.jvp(gradient, (position,), (direction,), has_aux=True)
                return column, slope, value

            columns, slopes, values = lax.map(
                column, jnp.eye(len(position), dtype=position.dtype), batch_size=self._chunk
            )
            return values[0], slopes[0], (columns + columns.T) / 2

        self.row_gradients += 2 * positions.size * self.n_rows
        return self._map("hessian", one, positions, chunk=1)

    def product(self, position: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Hessian at a position times a direction, shape ``(d,)``."""

        def one(pair, others, rows):
            def gradient(q):
                return self._estimate(q, *others, *rows)[1]

            return (jax.jvp(gradient, (pair[0],), (pair[1],))[1],)

        self.row_gradients += 2 * self.n_rows
        return self._map("product", one, np.stack([position, direction])[None])[0][0]

    @property
    def _chunk(self) -> int:
        return max(1, _CHUNK // self.n_rows)

    def _map(self, name, one, points, chunk=None):
        """Value of `one` at every point, some of them at a time."""
        size = min(len(points), chunk or self._chunk)
        # What is compiled for more points serves fewer as well.
        size = min((s for key, s in self._compiled if key == name and s >= size), default=size)
        with _precision(self.dtype):
            others = [jnp.asarray(self._others[k]) for k in self._other_names]
            parts = []
            for first in range(0, len(points), size):
                part = points[first : first + size]
                whole = np.resize(part, (size, *part.shape[1:]))
                args = (jnp.asarray(whole, self.dtype), others, self._rows)
                if (name, size) not in self._compiled:
                    function = jax.vmap(one, in_axes=(0, None, None))
                    self._compiled[name, size] = compile_for(function, *args)
                results = self._compiled[name, size](*args)
                parts.append([np.asarray(x)[: len(part)] for x in results])
        return tuple(np.concatenate(x) for x in zip(*parts, strict=True))


def _precision(dtype: str):
    return jax.enable_x64(dtype == "float64")
