r"""Fisher information of a row in the parameters that laws are linearised in.

In a natural parameter f of an exponential family it is the curvature
:math:`-\partial^2 \log p(y \mid f)`, whatever was observed. In another one, such as the log of a
standard deviation, that may be negative; the Fisher information :math:`H = \mathrm E\,[s s^\top]`
of the score s is what it is on average, and never negative. :math:`J^\top H J` does not depend on
how the law was parametrised.

Martens (2020), New insights and perspectives on the natural gradient method, section 9.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

Parameters = Sequence[Array]
"""Of a law, ``(n, ...)`` each: those that are linearised, then those that are not."""


def times(law: str, f: Parameters, u: Sequence[Array]) -> tuple[Array, ...]:
    """H u, for directions u of the linearised parameters."""
    if law == "categorical":
        p = jax.nn.softmax(f[0], -1)
        return (p * (u[0] - (p * u[0]).sum(-1, keepdims=True)),)
    return tuple(h * x for h, x in zip(_diagonal(law, f), u, strict=True))


def root(law: str, f: Parameters, e: Sequence[Array]) -> tuple[Array, ...]:
    """R e, where R Rᵀ = H: of the covariance H, where e is standard normal noise."""
    if law == "categorical":
        p = jax.nn.softmax(f[0], -1)
        scaled = jnp.sqrt(p) * e[0]
        return (scaled - p * scaled.sum(-1, keepdims=True),)
    return tuple(jnp.sqrt(h) * x for h, x in zip(_diagonal(law, f), e, strict=True))


def _diagonal(law: str, f: Parameters) -> tuple[Array, ...]:
    """H of laws that have no correlations in it."""
    if law == "normal":
        precision = jnp.exp(-2 * f[1])
        return precision, jnp.full_like(precision, 2)
    if law == "poisson":
        return (jnp.exp(f[0]),)
    p = jax.nn.sigmoid(f[0])
    trials = f[1] if law == "binomial" else 1
    return (trials * p * (1 - p),)
