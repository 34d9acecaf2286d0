r"""A curvature of blocks, one for each variable, that are products of two factors.

A variable w of shape ``(..., units)`` is a matrix of ``inputs × units``. Of each row and parameter
of the law, Jᵀ R has such a matrix M as well, and

.. math::

    G_w = \sum \operatorname{vec} M \operatorname{vec} M^\top \approx
    \frac{\left(\sum M M^\top\right) \otimes \left(\sum M^\top M\right)}{\sum \lVert M\rVert^2},

which has G's trace. In a dense layer M = a gᵀ with the inputs a and the slopes g of the units:
where they are independent this is KFAC, (Σ a aᵀ) ⊗ (Σ g gᵀ)/n. Nothing need be known of layers.

Martens & Grosse (2015), Optimizing neural networks with Kronecker-factored approximate curvature;
Ritter, Botev & Barber (2018), A scalable Laplace approximation for neural networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from pymc_sgmcmc.linearised.exact import summed
from pymc_sgmcmc.linearised.gaussian import Gaussian
from pymc_sgmcmc.linearised.linear import LinearModel


class Block(NamedTuple):
    """A variable: its place among the d, and the shape of its matrix."""

    place: slice
    inputs: int
    units: int


class Kronecker:
    """Blocks of two factors each.

    Parameters
    ----------
    model : LinearModel
    noise : ndarray
        Standard normal, for the draws, ``(K, d)``.
    shapes : sequence of tuple of int
        Of the variables, in their order.
    """

    def __init__(
        self, model: LinearModel, noise: np.ndarray, shapes: Sequence[tuple[int, ...]]
    ) -> None:
        self._noise, self._blocks = noise, list(_blocks(shapes))

        def moments(x: Array) -> list[tuple[Array, Array]]:
            return [_moments(x, block) for block in self._blocks]

        self._spectra = [
            tuple(np.linalg.eigh(np.asarray(x, float)) for x in pair)
            for pair in summed(model, moments)
        ]

    def posterior(self, precision: np.ndarray, slope: np.ndarray) -> Gaussian:
        """See `Curvature`; the precision must be the same within a variable."""
        mean, deviations = np.zeros_like(slope), np.zeros_like(self._noise)
        determined = np.zeros_like(slope)
        for block, ((s, left), (t, right)) in zip(self._blocks, self._spectra, strict=True):
            here = block.place
            trace = max(s.sum(), np.finfo(float).tiny)
            data = np.maximum(np.outer(s, t), 0) / trace
            total = data + precision[here][0]

            along = left.T @ slope[here].reshape(block.inputs, block.units) @ right
            mean[here] = -(left @ (along / total) @ right.T).ravel()
            noise = self._noise[:, here].reshape(-1, block.inputs, block.units)
            deviations[:, here] = _flat(left @ (noise / np.sqrt(total)) @ right.T)
            share = data / total
            determined[here] = (np.square(left) @ share @ np.square(right).T).ravel()
        return Gaussian(mean, deviations, determined)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _blocks(shapes: Sequence[tuple[int, ...]]) -> Sequence[Block]:
    found, start = [], 0
    for shape in shapes:
        size, units = math.prod(shape), shape[-1] if shape else 1
        found.append(Block(slice(start, start + size), size // units, units))
        start += size
    return found


def _moments(x: Array, block: Block) -> tuple[Array, Array]:
    """Σ M Mᵀ and Σ Mᵀ M, of ``(n, k, d)``."""
    m = x[..., block.place].reshape(-1, block.inputs, block.units)
    return jnp.einsum("nab,ncb->ac", m, m), jnp.einsum("nab,nac->bc", m, m)
