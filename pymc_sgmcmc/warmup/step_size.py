"""The step size that keeps every variance within a target, and the updates between draws."""

import numpy as np
from scipy.optimize import brentq

from pymc_sgmcmc.dynamics import Dynamics
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.warmup.lanczos import largest_eigenvalues
from pymc_sgmcmc.warmup.landscape import Landscape

# Below this dimension a whole Hessian costs less than compiling its products with vectors.
_SMALL = 50
# Numbers in the vectors of Lanczos' method that are multiplied at once.
_NUMBERS = 2**21
# Draws are as good as independent where the Monte-Carlo variance of a posterior variance is at most
# this part larger than with independent ones, that of a mean twice this. Updates to spend on it.
_DEPENDENCE = 0.15
_AFFORDABLE = 250
_LAGS = 20


def step_size(
    dynamics: Dynamics,
    target_bias: float,
    curvature: float,
    noise: np.ndarray,
    correlated: float = 0.0,
    spread: float = 10.0,
) -> float:
    """Largest step size at which no variance is off by more than the target.

    Parameters
    ----------
    dynamics : Dynamics
    target_bias : float
        Relative error of a variance.
    curvature : float
        Largest ω², in the coordinates of the sampler.
    noise : ndarray
        Variance V of the gradient noise of each coordinate, ``(..., d)``.
    correlated : float
        Variance of the noise in any direction, beyond what `noise` explains.
    spread : float
        Variance of V over positions, over V².

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If what was measured is not finite.
    """
    if not (np.isfinite(noise).all() and np.isfinite([curvature, correlated]).all()):
        raise ValueError(
            f"No step size suits a curvature of {curvature:g} and a noise of {np.max(noise):g}."
        )

    def excess(log_h: float) -> float:
        return dynamics.bias(np.exp(log_h), curvature, noise, correlated, spread) - target_bias

    largest = np.log(2 / np.sqrt(curvature))  # the limit of stability: the bias is at least 1 there
    smallest = largest - 35
    while excess(smallest) > 0:  # where the noise dwarfs the curvature
        smallest -= 35
    return float(np.exp(brentq(excess, smallest, largest)))


def steps_per_draw(
    dynamics: Dynamics, step_size: float, noise: np.ndarray, softest: float = 1.0
) -> int:
    """Updates after which positions are about independent, where the posterior is about normal.

    Parameters
    ----------
    dynamics : Dynamics
    step_size : float
        h.
    noise : ndarray
        Variance V of the gradient noise of each coordinate, ``(..., d)``.
    softest : float
        ω² of the softest direction.

    Returns
    -------
    int
        At most 250.
    """
    updates = np.arange(1, _AFFORDABLE)
    lags = np.outer(updates, np.arange(1, _LAGS + 1))
    correlation = dynamics.correlation(step_size, noise, lags, softest)
    # Squares, whose mean is a variance, have the squared correlations.
    of_mean, of_variance = 2 * correlation.sum(1), 2 * np.square(correlation).sum(1)
    enough = (of_mean <= 2 * _DEPENDENCE) & (of_variance <= _DEPENDENCE)
    return int(updates[enough.argmax()]) if enough.any() else _AFFORDABLE


def updates_to_forget(
    dynamics: Dynamics, step_size: float, noise: np.ndarray, softest: float
) -> float:
    r"""Updates that the autocorrelation of the softest direction lasts.

    :math:`2 \int_0^\infty |\rho|\,dt`, about: friction β makes it 2β/ω² where it is greater than ω,
    and what is less swings for 2/β.

    Parameters
    ----------
    dynamics, step_size, noise, softest
        As in `steps_per_draw`.

    Returns
    -------
    float
    """
    beta = float(np.mean(dynamics.friction(step_size, noise))) / step_size
    return 2 * max(beta / softest, 1 / beta) / step_size


def largest_curvatures(
    landscape: Landscape, coordinates: Coordinates, positions: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Largest eigenvalue of Lᵀ H L at each position to about a percent, nan where H is not finite.

    Parameters
    ----------
    landscape : Landscape
    coordinates : Coordinates
    positions : ndarray
        Shape ``(k, d)``.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        Shape ``(k,)``.
    """
    k, d = positions.shape
    if d < _SMALL:
        _, _, hessians = landscape.hessian(positions)
        found, finite = np.full(k, np.nan), np.isfinite(hessians).all((1, 2))
        found[finite] = np.linalg.eigvalsh(coordinates.curvature(hessians[finite]))[:, -1]
        return found
    at_once = max(1, _NUMBERS // d)
    products = landscape.differences if landscape.is_double else landscape.products
    parts = np.split(positions, range(at_once, k, at_once))

    def of(part: np.ndarray) -> np.ndarray:
        def times(z: np.ndarray) -> np.ndarray:
            directions = coordinates.position(z) - coordinates.centre
            return coordinates.gradient(products(part, directions))

        return largest_eigenvalues(times, rng.normal(size=part.shape))

    return np.concatenate([of(part) for part in parts])
