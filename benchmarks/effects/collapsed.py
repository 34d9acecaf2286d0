"""Exact moments of y ~ N(a[g], σ), a ~ N(μ, τ), with μ ~ N(0, 5) and σ, τ ~ HalfNormal(2).

Without the effects, which integrate out, three parameters are left. Their density needs the counts,
means and squares of the groups alone, and a product grid around its mode gives every moment: the
trapezoidal rule is exact to many digits for what is nearly normal. Given the three, an effect is
normal, so that its moments follow from the laws of total expectation and variance.
"""

import numpy as np

from benchmarks.effects.moments import Moments

_PRIOR_MU, _PRIOR_SD = 5.0, 2.0
_REACH, _POINTS = 6.0, 21  # of the grid in standard deviations, and in each of three directions
_LARGEST_BLOCK = 2_000_000  # numbers in one array, points times groups


class Groups:
    """What the groups' rows say: counts, means and squares within.

    Parameters
    ----------
    g : ndarray of int
        Group of each row.
    y : ndarray
    groups : int
        Of which some may have no rows.
    """

    def __init__(self, g: np.ndarray, y: np.ndarray, groups: int) -> None:
        self.count = np.bincount(g, minlength=groups)
        self.mean = np.bincount(g, y, minlength=groups) / np.maximum(self.count, 1)
        self.squares = float(np.square(y - self.mean[g]).sum())
        self.rows = len(y)

    def log_density(self, position: np.ndarray) -> np.ndarray:
        """Log density of the three parameters, but for a constant.

        Parameters
        ----------
        position : ndarray
            μ, log τ and log σ, ``(points, 3)``.

        Returns
        -------
        ndarray
            ``(points,)``, with the Jacobian of the logarithms.
        """
        mu, log_tau, log_sigma = position.T
        tau2, sigma2 = np.exp(2 * log_tau), np.exp(2 * log_sigma)
        spread = sigma2[:, None] + self.count * tau2[:, None]
        between = np.log(spread) + self.count * (self.mean - mu[:, None]) ** 2 / spread
        # A group has count - 1 directions within it, of variance σ², and one of `spread`.
        within = (self.rows - len(self.count)) * 2 * log_sigma + self.squares / sigma2
        likelihood = -(between.sum(1) + within) / 2
        prior = -((mu / _PRIOR_MU) ** 2 + (tau2 + sigma2) / _PRIOR_SD**2) / 2
        return likelihood + prior + log_tau + log_sigma

    def effects(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and variances of the effects given the parameters, ``(points, groups)`` each."""
        mu, log_tau, log_sigma = position.T[:, :, None]
        data, prior = self.count * np.exp(-2 * log_sigma), np.exp(-2 * log_tau)
        variance = 1 / (data + prior)
        return variance * (data * self.mean + prior * mu), variance


def moments(g: np.ndarray, y: np.ndarray, groups: int) -> Moments:
    """Means and standard deviations of ``mu``, ``tau``, ``sigma`` and the effects ``a``.

    Parameters
    ----------
    g : ndarray of int
        Group of each row.
    y : ndarray
    groups : int

    Returns
    -------
    Moments
    """
    of_groups = Groups(g, y, groups)
    points = _grid(of_groups)
    blocks = np.array_split(points, -(-len(points) * groups // _LARGEST_BLOCK))
    log_density = np.concatenate([of_groups.log_density(block) for block in blocks])
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()
    mean, square = np.zeros(groups), np.zeros(groups)
    offset = of_groups.mean  # squares are of what is left, that little of them cancels
    starts = np.cumsum([0, *map(len, blocks)])
    for block, start in zip(blocks, starts, strict=False):
        w = weights[start : start + len(block)]
        m, v = of_groups.effects(block)
        mean += w @ (m - offset)
        square += w @ ((m - offset) ** 2 + v)
    natural = {"mu": points[:, 0], "tau": np.exp(points[:, 1]), "sigma": np.exp(points[:, 2])}
    means = {name: weights @ x for name, x in natural.items()}
    sds = {name: np.sqrt(weights @ (x - means[name]) ** 2) for name, x in natural.items()}
    return Moments(
        {**means, "a": offset + mean},
        {**sds, "a": np.sqrt(square - mean**2)},
    )


def _grid(groups: Groups) -> np.ndarray:
    """Points around the mode, as far apart as the curvature there says, ``(points, 3)``."""
    from scipy.optimize import minimize  # takes a while, which runs that are timed need not wait

    within = np.sqrt(groups.squares / max(groups.rows - len(groups.count), 1))
    start = np.array([groups.mean.mean(), np.log(groups.mean.std()), np.log(within)])

    def energy(position: np.ndarray) -> float:
        return -groups.log_density(position[None])[0]

    mode = minimize(energy, start, method="Nelder-Mead", options={"xatol": 1e-6}).x
    half = np.linalg.cholesky(np.linalg.inv(_hessian(energy, mode)))
    axis = np.linspace(-_REACH, _REACH, _POINTS)
    whitened = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    return mode + whitened @ half.T


def _hessian(energy, mode: np.ndarray) -> np.ndarray:
    """Second derivatives by central differences, with steps of about a standard deviation."""
    middle, d = energy(mode), len(mode)
    steps = np.full(d, 1e-3)
    for i in range(d):
        move = np.eye(d)[i] * steps[i]
        curvature = (energy(mode + move) - 2 * middle + energy(mode - move)) / steps[i] ** 2
        steps[i] = 1 / np.sqrt(curvature)
    moves = np.diag(steps)
    found = np.empty((d, d))
    for i in range(d):
        for j in range(d):
            signs = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
            corners = [s * energy(mode + a * moves[i] + b * moves[j]) for a, b, s in signs]
            found[i, j] = sum(corners) / (4 * steps[i] * steps[j])
    return found
