"""Moments of a logistic regression with normal priors, by HMC where its curvature is one.

For posteriors too skewed for `importance`. In coordinates in which the curvature at the mode is the
identity, a trajectory of a quarter of a turn makes the next draw nearly independent.
"""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.effects.moments import Moments
from benchmarks.regressions.importance import laplace

_CHAINS, _TUNE, _DRAWS = 4, 100, 2500
_STEP_SIZE, _STEPS = 0.4, 4
_LEAST_ACCEPTED = 0.6


def moments(X: np.ndarray, y: np.ndarray, prior_sd: float, seed: int = 0) -> Moments:
    """Give means and standard deviations of ``intercept`` and ``slopes``.

    Parameters
    ----------
    X, y : ndarray
        Features ``(N, d)`` and labels 0 or 1, ``(N,)``.
    prior_sd : float
        Of every parameter.
    seed : int

    Raises
    ------
    RuntimeError
        If too few proposals are accepted.
    """
    X = np.column_stack([np.ones(len(X)), X])
    mode, precision = laplace(X, y, prior_sd)
    half = np.linalg.cholesky(np.linalg.inv(precision))
    with jax.enable_x64(True):
        draws, accepted = _hmc(X, y, prior_sd, mode, half, seed)
    if accepted < _LEAST_ACCEPTED:
        raise RuntimeError(f"{accepted:.0%} of the proposals were accepted.")
    theta = mode + draws @ half.T
    mean, sd = theta.mean(0), theta.std(0)
    return Moments(
        {"intercept": mean[0], "slopes": mean[1:]}, {"intercept": sd[0], "slopes": sd[1:]}
    )


def _hmc(
    X: np.ndarray, y: np.ndarray, prior_sd: float, mode: np.ndarray, half: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """Draws ``(draws, d)`` of the standardised parameters, and the mean acceptance."""

    def log_density(z: jax.Array) -> jax.Array:
        theta = mode + half @ z
        eta = X @ theta
        return y @ eta - jnp.logaddexp(0, eta).sum() - 0.5 * theta @ theta / prior_sd**2

    d = len(mode)
    hmc = blackjax.hmc(log_density, _STEP_SIZE, jnp.ones(d), _STEPS)

    def draw(state: blackjax.mcmc.hmc.HMCState, key: jax.Array) -> tuple:
        state, info = jax.vmap(hmc.step)(jax.random.split(key, _CHAINS), state)
        return state, (state.position, info.acceptance_rate)

    key, of_start = jax.random.split(jax.random.key(seed))
    state = jax.vmap(hmc.init)(jax.random.normal(of_start, (_CHAINS, d)))
    keys = jax.random.split(key, _TUNE + _DRAWS)
    _, (positions, acceptance) = jax.jit(lambda s, k: jax.lax.scan(draw, s, k))(state, keys)
    return np.asarray(positions[_TUNE:]).reshape(-1, d), float(acceptance[_TUNE:].mean())
