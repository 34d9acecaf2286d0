"""Derivatives of a potential on fixed rows, by JAX."""

import copy
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pymc_sgmcmc.engines.jax.functions import compile_for, jax_function
from pymc_sgmcmc.engines.jax.integers import needs_64_bits
from pymc_sgmcmc.engines.programs import gradient_program
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.potential import StochasticPotential

# Rows times positions that are evaluated at once.
_CHUNK = 2**22
# Times as many points as are wanted that cost less than another compilation.
_WASTE = 8


class JaxDerivatives:
    """U, ∇U and second derivatives on fixed rows, by JAX; see `Derivatives`.

    Parameters
    ----------
    potential : StochasticPotential
    rows : sequence of ndarray
        Rows that stand for all.
    """

    def __init__(self, potential: StochasticPotential, rows: Sequence[np.ndarray]) -> None:
        self.dtype = potential.dtype
        self._chunk = max(1, _CHUNK // max((len(x) for x in rows), default=1))
        self._other_names = [v.name for v in potential.others]
        length = len(rows[0]) if rows and potential.n_rows is not None else None
        with potential.model:
            program = gradient_program(Estimator(potential), length)
            self._estimate = jax_function(*program)
        # Of all rows: these may be a part of them, and others take their place in `of`.
        all_rows = potential.row_arrays()
        self._64_bits = self.dtype == "float64" or needs_64_bits(program, all_rows)
        self._compiled: dict = {}
        self._place(rows)

    def _place(self, rows: Sequence[np.ndarray]) -> None:
        with self._precision():
            self._rows = [jax.device_put(x) for x in rows]

    def of(self, rows: Sequence[np.ndarray]) -> "JaxDerivatives":
        """Those of as many other rows; see `Derivatives.of`."""
        other = copy.copy(self)
        other._place(rows)
        return other

    def gradient(
        self, positions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """U and ∇U; see `Derivatives.gradient`."""

        def one(position, others, rows):
            return self._estimate(position, *others, *rows)

        return self._map("gradient", one, positions, others)

    def hessian(
        self, positions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U, ∇U and the Hessian; see `Derivatives.hessian`."""

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

        return self._map("hessian", one, positions, others, chunk=1)

    def products(
        self, positions: np.ndarray, directions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Hessians times directions; see `Derivatives.products`."""

        def one(pair, others, rows):
            def gradient(q):
                return self._estimate(q, *others, *rows)[1]

            return (jax.jvp(gradient, (pair[0],), (pair[1],))[1],)

        return self._map("products", one, np.stack([positions, directions], 1), others)[0]

    def _map(self, name, one, points, others, chunk=None):
        """Value of `one` at every point, some of them at a time."""
        size = min(len(points), chunk or self._chunk)
        # What is compiled for more points serves somewhat fewer as well.
        made = (s for key, s in self._compiled if key == name and size <= s <= _WASTE * size)
        size = min(made, default=size)
        with self._precision():
            known = [jnp.asarray(others[k]) for k in self._other_names]
            parts = []
            for first in range(0, len(points), size):
                part = points[first : first + size]
                whole = np.resize(part, (size, *part.shape[1:]))
                args = (jnp.asarray(whole, self.dtype), known, self._rows)
                if (name, size) not in self._compiled:
                    function = jax.vmap(one, in_axes=(0, None, None))
                    self._compiled[name, size] = compile_for(function, *args)
                results = self._compiled[name, size](*args)
                parts.append([np.asarray(x)[: len(part)] for x in results])
        return tuple(np.concatenate(x) for x in zip(*parts, strict=True))

    def _precision(self):
        return jax.enable_x64(self._64_bits)
