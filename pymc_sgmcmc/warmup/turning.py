"""Coordinates that are turned to what is apart: in curvature, and in noise."""

import dataclasses

import numpy as np

from pymc_sgmcmc.estimators.axes import axes_along, identity
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.warmup.polish import Apart

# Ranks of axes are multiples of this, so that one program serves all rounds.
_RANKS = 8
# Correlation of noise from which on it is more than an accident of a few hundred samples.
_CORRELATED = 0.3


def along(scaled: Coordinates, apart: Apart) -> tuple[Coordinates, np.ndarray]:
    """Coordinates with axes along some directions, of a length that makes their curvature 1.

    If there are none, the coordinates stay as they are.

    Parameters
    ----------
    scaled : Coordinates
        Without axes.
    apart : Apart
        Directions and curvatures, in those coordinates.

    Returns
    -------
    Coordinates
    numbers : ndarray
        Of the axes that lie along the directions, ``(k,)``.
    """
    if not len(apart.curvatures):
        return scaled, np.zeros(0, int)
    axes, numbers = axes_along(apart.directions)
    lengths = np.ones(len(scaled.centre))
    lengths[numbers] = 1 / np.sqrt(apart.curvatures)
    return dataclasses.replace(scaled, axes=axes.scaled(lengths)), numbers


def have_in_common(noise: np.ndarray) -> bool:
    """Whether noise of some axes, ``(n, k)``, is correlated so far that turning them pays."""
    covariance = noise.T @ noise
    size = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation = covariance / np.outer(size, size)
    return bool((np.abs(correlation - np.diag(np.diag(correlation))) > _CORRELATED).any())


def uncorrelated(
    coordinates: Coordinates, numbers: np.ndarray, noise: np.ndarray
) -> tuple[Coordinates, np.ndarray]:
    """Turn some axes of curvature 1 to where they have no noise in common.

    A thermostat absorbs the noise of its own axis, and no other.

    Parameters
    ----------
    coordinates : Coordinates
    numbers : ndarray
        Of the axes to turn.
    noise : ndarray
        A sample of the gradient's noise in these coordinates, ``(n, d)``.

    Returns
    -------
    Coordinates
    noise : ndarray
        In the new ones.
    """
    common = noise[:, numbers]
    _, rotation = np.linalg.eigh(common.T @ common)
    axes = (coordinates.axes or identity(noise.shape[1])).turned(numbers, rotation).padded(_RANKS)
    noise = noise.copy()
    noise[:, numbers] = common @ rotation
    return dataclasses.replace(coordinates, axes=axes), noise
