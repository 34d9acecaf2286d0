"""The graphs behind the functions of a model, compiled when they are first asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytensor.link.jax.dispatch  # noqa: F401  (gives JAX 64 bits where PyTensor's floatX has them)

from pymc_sgmcmc.engines.jax.functions import jax_function
from pymc_sgmcmc.engines.jax.integers import needs_64_bits
from pymc_sgmcmc.engines.programs import gradient_program
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.potential import StochasticPotential


class Graphs:
    """JAX functions of positions and rows, one of each kind for each number of rows.

    Parameters
    ----------
    potential : StochasticPotential
    """

    def __init__(self, potential: StochasticPotential) -> None:
        self.potential = potential
        self._compiled: dict[tuple[str, int | None], Callable[..., Any]] = {}

    def value(self, length: int | None) -> Callable[..., Any]:
        """(position, *rows) → U, estimated from so many rows, which stand for all."""
        value = self._of("value", length, lambda n: self._program(n, slice(1)))
        return lambda *inputs: value(*inputs)[0]

    def gradient(self, length: int | None) -> Callable[..., Any]:
        """(position, *rows) → ∇U, of so many rows, which stand for all.

        JAX differentiates the value, which costs less than PyTensor's graph of the derivative: by
        a quarter for a network. That one is compiled where an Op has no derivative in JAX.
        """
        by_jax = jax.grad(self.value(length))
        position, _, rows = self.potential.inputs(length)
        inputs = [jax.ShapeDtypeStruct(v.type.shape, v.type.dtype) for v in (position, *rows)]
        try:
            jax.eval_shape(by_jax, *inputs)
        except (NotImplementedError, TypeError, ValueError):
            gradient = self._of("gradient", length, lambda n: self._program(n, slice(1, 2)))
            return lambda *inputs: gradient(*inputs)[0]
        return by_jax

    def by_row(self, length: int | None) -> Callable[..., Any]:
        """(position, *rows) → (log-likelihoods,), one for each of so many rows."""
        return self._of("by row", length, self._rows_program)

    @property
    def apart(self) -> Callable[..., Any]:
        """(position, *rows) → (log density of what belongs to no row,); reads no rows."""
        return self._of("apart", None, self._apart_program)

    @functools.cached_property
    def needs_64_bits(self) -> bool:
        """Whether JAX has to have 64 bits: for the precision, or for integers of the data."""
        if self.potential.dtype == "float64":
            return True
        program = gradient_program(Estimator(self.potential), self.potential.n_rows)
        return needs_64_bits(program, self.potential.row_arrays())

    def _of(self, kind: str, length: int | None, program: Callable) -> Callable[..., Any]:
        if (kind, length) not in self._compiled:
            # Constants of a graph must be no part of a program that is being traced.
            with self.potential.model, jax.ensure_compile_time_eval():
                self._compiled[kind, length] = jax_function(*program(length))
        return self._compiled[kind, length]

    def _program(self, length: int | None, part: slice) -> Any:
        inputs, outputs = gradient_program(Estimator(self.potential), length)
        return inputs, outputs[part]

    def _rows_program(self, length: int | None) -> Any:
        position, _, rows = self.potential.inputs(length)
        return [position, *rows], [self.potential.log_likelihood_by_row(position, rows)]

    def _apart_program(self, length: int | None) -> Any:
        position, _, rows = self.potential.inputs(length)
        return [position, *rows], [self.potential.log_density_apart(position)]


def check_rows(numbers: Any, n_rows: int | None) -> None:
    """Raise an error for numbers of rows that are none, where they are known."""
    if n_rows is None:
        raise ValueError(
            "Rows of this model are not known to be independent. Give batch_size=... to functions, "
            "which finds them and checks that they separate; or leave rows out."
        )
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.ndim != 1:
        raise TypeError(
            f"rows must be numbers of rows, a vector of integers below {n_rows}, got an array of "
            f"{numbers.dtype} with the shape {numbers.shape}. Write f.batch(key), or "
            "jnp.arange(10)."
        )
