"""The mode that a descent came near to, where whole Hessians cost too much."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.warmup.lanczos import krylov
from pymc_sgmcmc.warmup.landscape import Landscape

# Passes over the rows, corrections that are remembered, and nats that no longer matter.
_PASSES, _REMEMBERED, _NATS = 300, 20, 1e-2
# Mean square of the slope, in units in which it is about 1 in the posterior's mass, at a mode.
_FLAT = 0.1
# Curvatures below and above which a direction is apart from the rest, and the part of it by which
# it may be coupled to them.
_SOFT, _STIFF, _COUPLED = 0.25, 4.0, 0.1


class Polished(NamedTuple):
    """Where a polished descent ended.

    Attributes
    ----------
    position : ndarray
        Shape ``(d,)``.
    potential : float
        U there, in nats.
    found : bool
        Whether it is a mode that the posterior can lie around.
    """

    position: np.ndarray
    potential: float
    found: bool


def polish(landscape: Landscape, start: np.ndarray, scale: np.ndarray) -> Polished:
    """Follow U down to its mode by L-BFGS.

    In a funnel U falls on and on, as where the scale of effects shrinks with them: no mode is found
    before the passes over the rows are spent.

    Parameters
    ----------
    landscape : Landscape
        Of all rows.
    start : ndarray
        In the posterior's mass, ``(d,)``.
    scale : ndarray
        About the inverse root of the curvature of each parameter, ``(d,)``.

    Returns
    -------
    Polished
    """
    first, wall = float(landscape.gradient(start[None])[0][0]), 3.0 * len(start) + 20

    def potential(z: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = landscape.gradient((start + scale * z)[None])
        if not (np.isfinite(values[0]) and np.isfinite(gradients[0]).all()):
            # Higher than all, and no higher than a line search interpolates: it turns back.
            return wall, np.zeros_like(z)
        return float(values[0]) - first, scale * gradients[0]

    result = minimize(
        potential,
        np.zeros_like(start),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": _PASSES,
            "maxcor": _REMEMBERED,
            "ftol": _NATS / max(abs(first), len(start)),
            "gtol": 0.0,
        },
    )
    flat = np.square(result.jac).mean() < _FLAT
    found = bool(result.success and flat and np.isfinite(result.x).all() and result.fun <= 0)
    return Polished(start + scale * result.x, first + float(result.fun), found)


class Apart(NamedTuple):
    """Directions in which U curves up less or more than elsewhere, orthogonal and of unit length.

    Attributes
    ----------
    directions : ndarray
        Shape ``(k, d)``.
    curvatures : ndarray
        ω² along each, ``(k,)``, ascending.
    """

    directions: np.ndarray
    curvatures: np.ndarray


class Spectrum(NamedTuple):
    """What is seen of the spectrum of Lᵀ H L; nan where H is not finite.

    Attributes
    ----------
    least, largest : float
        Ends: the least is never below the smallest eigenvalue, the largest never above the largest.
    downward : float
        Share of the directions in which U curves down, about.
    apart : Apart
        Directions that are softer or stiffer than the rest.
    left : float
        Least of the rest.
    """

    least: float
    largest: float
    downward: float
    apart: Apart
    left: float


def curvatures(
    landscape: Landscape,
    coordinates: Coordinates,
    positions: np.ndarray,
    rng: np.random.Generator,
    vectors: int,
) -> Spectrum:
    """Spectrum of the mean of Lᵀ H L over some positions, by Lanczos' method.

    Ritz values are its ends; their weights in the random vector that the method begins with make a
    quadrature, which shows what share of the spectrum lies where.

    Parameters
    ----------
    landscape : Landscape
    coordinates : Coordinates
    positions : ndarray
        Shape ``(k, d)``.
    rng : numpy.random.Generator
    vectors : int
        Products with the Hessian that show it, at most.
    """
    d = positions.shape[1]

    def times(z: np.ndarray) -> np.ndarray:
        direction = coordinates.position(z) - coordinates.centre
        turned = landscape.products(positions, np.broadcast_to(direction, positions.shape))
        return coordinates.gradient(turned).mean(0, keepdims=True)

    basis, images = (x[:, 0] for x in krylov(times, rng.normal(size=(1, d)), vectors))
    if not np.isfinite(images).all():
        nothing = Apart(np.zeros((0, d)), np.zeros(0))
        return Spectrum(np.nan, np.nan, np.nan, nothing, np.nan)
    values, axes = np.linalg.eigh(basis @ images.T)
    downward = np.square(axes[0])[values < 0].sum()
    directions = axes.T @ basis
    missed = np.square(axes.T @ images - values[:, None] * directions).sum(1)
    # In units in which they are no longer apart, they must hardly be coupled to the rest.
    apart = ((values > 0) & (values < _SOFT)) | (values > _STIFF)
    apart &= missed < _COUPLED * values
    found = Apart(directions[apart], values[apart])
    left = float(min(values[~apart], default=1.0))
    return Spectrum(float(values[0]), float(values[-1]), float(downward), found, left)
