"""Moments of a logistic regression with normal priors, by importance sampling around its mode.

Draws of a t, as wide as the curvature at the mode says, come in antithetic pairs. The moments of
the normal approximation, which are known, are taken with the same draws as a control variate.
"""

import numpy as np

from benchmarks.effects.moments import Moments

_ROUND, _ROUNDS = 4000, 20  # draws of a round, and the most rounds
_ENOUGH = 3000  # effective draws: standard errors of 0.02 sd, less what is antithetic
_DEGREES, _BLOCK = 30, 20


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
        If the draws are worth too few: the posterior isn't like the approximation.
    """
    X = np.column_stack([np.ones(len(X)), X])
    mode, precision = laplace(X, y, prior_sd)
    half = np.linalg.cholesky(np.linalg.inv(precision))
    rng, d = np.random.default_rng(seed), len(mode)
    z, log_density = np.empty((0, d)), np.empty(0)
    for _ in range(_ROUNDS):
        more = rng.normal(size=(_ROUND // 2, d))
        more *= np.sqrt(_DEGREES / rng.chisquare(_DEGREES, size=(len(more), 1)))
        more = np.concatenate([more, -more])
        z = np.concatenate([z, more])
        of_more = _log_density(X, y, prior_sd, mode + more @ half.T)
        log_density = np.concatenate([log_density, of_more])
        log_proposal = -0.5 * (_DEGREES + d) * np.log1p((z**2).sum(1) / _DEGREES)
        weights = np.exp(log_density - log_density.max() - log_proposal)
        effective = weights.sum() ** 2 / (weights**2).sum()
        if effective >= _ENOUGH:
            break
    else:
        raise RuntimeError(f"{len(z):,} draws are worth {effective:.0f}.")

    offset, variance = _of_draws(z @ half.T, weights)
    normal = np.exp(-0.5 * (z**2).sum(1) - log_proposal)
    _, control = _of_draws(z @ half.T, normal)
    sd = np.sqrt(variance / control) * np.linalg.norm(half, axis=1)
    mean = mode + offset
    return Moments(
        {"intercept": mean[0], "slopes": mean[1:]}, {"intercept": sd[0], "slopes": sd[1:]}
    )


def laplace(X: np.ndarray, y: np.ndarray, prior_sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Give mode and negative Hessian there, by Newton's method."""
    mode, prior = np.zeros(X.shape[1]), prior_sd**-2
    while True:
        p = 1 / (1 + np.exp(-X @ mode))
        precision = X.T @ (X * (p * (1 - p))[:, None]) + np.eye(len(mode)) * prior
        move = np.linalg.solve(precision, X.T @ (y - p) - mode * prior)
        mode += move
        if np.abs(move).max() < 1e-10:
            return mode, precision


def _log_density(X: np.ndarray, y: np.ndarray, prior_sd: float, theta: np.ndarray) -> np.ndarray:
    """Log posterior density of points ``(points, d)``, but for a constant."""
    found = theta @ (X.T @ y) - 0.5 * (theta**2).sum(1) / prior_sd**2
    for i in range(0, len(theta), _BLOCK):
        eta = X @ theta[i : i + _BLOCK].T
        found[i : i + _BLOCK] -= np.logaddexp(0, eta).sum(0)
    return found


def _of_draws(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means and variances."""
    mean = weights @ x / weights.sum()
    return mean, weights @ (x - mean) ** 2 / weights.sum()
