"""The scale of the posterior: coordinates in which it is about a standard normal."""

import numpy as np

from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.mode import FLOOR, Mode, diagonal_scale

_REFINEMENTS = 8


def laplace(mode: Mode) -> Coordinates:
    """Coordinates from the curvature at a mode: H = V Λ Vᵀ, L = V |Λ|^(−1/2).

    The decomposition is that of the Hessian in units of its diagonal, so that columns of data
    on scales from 1e-6 to 1e6 lose no digits.
    """
    scale = np.sqrt(diagonal_scale(mode.hessian))
    values, vectors = np.linalg.eigh(mode.hessian / np.outer(scale, scale))
    values = np.maximum(np.abs(values), FLOOR)
    return Coordinates(mode.position, vectors / scale[:, None] / np.sqrt(values))


def refine(
    coordinates: Coordinates, landscape: Landscape, rng: np.random.Generator
) -> tuple[Coordinates, float]:
    r"""Move and reshape a normal approximation until it fits the posterior's mass, not one point.

    The normal q = N(μ, L Lᵀ) closest to the posterior has :math:`\mathbb E_q \nabla_z U = 0` and
    :math:`\mathbb E_q \nabla_z^2 U = I`. Both are averages over 2d points at the radius √d where
    the mass of q lies (an average curvature as :math:`\mathbb E_q \nabla_z U z^{\mathsf T}`, by
    Stein's lemma); exact where U is a polynomial of third degree. A skewed posterior thus gets
    coordinates that fit its mass, where its mode may lie aside.

    Parameters
    ----------
    coordinates : Coordinates
        A first approximation, with a dense L.
    landscape : Landscape
    rng : numpy.random.Generator
        For the orientation of the points.

    Returns
    -------
    Coordinates
    misfit : float
        Mean square of ∇_z U − z, less its mean, over the points and d: 0 for a normal posterior,
        1 where the approximation explains nothing.

    References
    ----------
    Opper & Archambeau (2009), The variational Gaussian approximation revisited, equations 7-8.
    """
    d = len(coordinates.centre)
    share, before = 1.0, np.inf
    for _ in range(_REFINEMENTS):
        z = cubature(d, rng)
        _, gradients = landscape.gradient(coordinates.position(z))
        slopes = coordinates.gradient(gradients)
        if not np.isfinite(slopes).all():
            return coordinates, np.inf
        mean, curvature = slopes.mean(0), slopes.T @ z / len(z)
        misfit = float(np.square(slopes - mean - z).mean())
        # Where the average curvature depends much on the scale, whole steps go to and fro.
        now = misfit + float(np.square(mean).mean())
        share, before = (share / 2 if now > before else share), now
        values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
        # Small changes: far from normal, the points see little of the posterior.
        values = np.clip(values, 0.25, 4)
        step = vectors @ (vectors.T @ mean / values)
        step *= min(1, np.sqrt(d) / max(misfit, 1e-2) / max(np.linalg.norm(step), 1e-300))
        coordinates = Coordinates(
            coordinates.position(-share * step),
            coordinates.factor @ (vectors / values ** (share / 2)),
        )
        if np.abs(np.log(values)).max() < 0.05 and np.abs(step).max() < 0.02:
            break
    return coordinates, misfit


def cubature(d: int, rng: np.random.Generator) -> np.ndarray:
    """Points ±√d along the axes of a random frame, shape ``(2d, d)``."""
    frame, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return np.sqrt(d) * np.concatenate([frame, -frame])
