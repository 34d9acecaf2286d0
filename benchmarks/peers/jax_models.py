"""The workloads' models as log densities in JAX, in the form that its samplers ask for."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from workloads import Workload

Parameters = Sequence[jax.Array]


def log_prior(workload: Workload) -> Callable[[Parameters], jax.Array]:
    """Log density of the prior, up to a constant."""

    def density(parameters: Parameters) -> jax.Array:
        terms = zip(parameters, workload.prior_sds, strict=True)
        return sum(-0.5 * jnp.sum(jnp.square(p)) / sd**2 for p, sd in terms)

    return density


def log_likelihood(workload: Workload) -> Callable[[Parameters, Any], jax.Array]:
    """Log likelihood of one row ``(x, y)``."""

    def logistic(parameters: Parameters, row: Any) -> jax.Array:
        (intercept, slopes), (x, y) = parameters, row
        logit = intercept + x @ slopes
        return y * logit - jax.nn.softplus(logit)

    def network(parameters: Parameters, row: Any) -> jax.Array:
        signal, y = row
        for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            signal = jnp.tanh(signal @ w + b)
        logits = signal @ parameters[-2] + parameters[-1]
        return logits[y] - jax.nn.logsumexp(logits)

    return network if workload.layers else logistic
