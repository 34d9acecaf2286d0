"""Curvatures that are formed: whole, or its diagonal."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from pymc_sgmcmc.linearised.gaussian import Gaussian
from pymc_sgmcmc.linearised.linear import LinearModel

# Numbers that the Jacobian of the rows evaluated at once may have.
_AT_ONCE = 2**24


class Full:
    """All of G, ``(d, d)``: for a few thousand variables.

    Parameters
    ----------
    model : LinearModel
    noise : ndarray
        Standard normal, for the draws, ``(K, d)``.
    """

    def __init__(self, model: LinearModel, noise: np.ndarray) -> None:
        self._noise = noise
        self.curvature = np.asarray(summed(model, _outer), float)

    def posterior(self, precision: np.ndarray, slope: np.ndarray) -> Gaussian:
        """See `Curvature`."""
        factor = cho_factor(self.curvature + np.diag(precision), lower=True)
        variances = np.square(solve_triangular(factor[0], np.eye(len(slope)), lower=True)).sum(0)
        deviations = solve_triangular(factor[0], self._noise.T, lower=True, trans="T").T
        return Gaussian(-cho_solve(factor, slope), deviations, 1 - precision * variances)


class Diagonal:
    """The diagonal of G: variables are independent of each other.

    Parameters
    ----------
    model : LinearModel
    noise : ndarray
        Standard normal, for the draws, ``(K, d)``.
    """

    def __init__(self, model: LinearModel, noise: np.ndarray) -> None:
        self._noise = noise
        self._diagonal = diagonal(model)

    def posterior(self, precision: np.ndarray, slope: np.ndarray) -> Gaussian:
        """See `Curvature`."""
        total = self._diagonal + precision
        return Gaussian(-slope / total, self._noise / np.sqrt(total), self._diagonal / total)


def diagonal(model: LinearModel) -> np.ndarray:
    """Diagonal of G, ``(d,)``."""
    return np.asarray(summed(model, lambda x: jnp.square(x).sum((0, 1))), float)


def _outer(x: Array) -> Array:
    flat = x.reshape(-1, x.shape[-1])
    return flat.T @ flat


def summed(model: LinearModel, function: Any) -> Any:
    """Sum over all rows of a function of some of them, given their `LinearModel.factors`."""
    shape = jax.eval_shape(model.factors, jnp.zeros(1, int)).shape
    pieces = model.pieces(max(1, _AT_ONCE // (shape[1] * shape[2])))
    return _summed(model, function, pieces)


def _summed(model: LinearModel, function: Any, pieces: Any) -> Any:
    def add(model: LinearModel, total: Any, batch: Any) -> Any:
        factors = model.factors(batch.rows) * jnp.sqrt(batch.weights)[:, None, None]
        return jax.tree.map(jnp.add, total, function(factors))

    first = jax.tree.map(lambda x: x[0], pieces)
    like = jax.eval_shape(lambda m, b: function(m.factors(b.rows)), model, first)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)

    @jax.jit
    def all_rows(model: LinearModel, total: Any, pieces: Any) -> Any:
        return jax.lax.scan(lambda t, b: (add(model, t, b), None), total, pieces)[0]

    return all_rows(model, zero, pieces)
