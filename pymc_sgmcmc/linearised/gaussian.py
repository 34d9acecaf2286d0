"""What every structure of the curvature gives: a normal posterior, and how much data say of it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class Gaussian(NamedTuple):
    """The posterior of the linear model, in units of the prior.

    Attributes
    ----------
    mean : ndarray
        Shape ``(d,)``.
    deviations : ndarray
        Draws minus the mean, independent, ``(K, d)``.
    determined : ndarray
        Diagonal of (G + A)⁻¹ G, ``(d,)``: what share of each variable's prior precision the data
        have overruled, the sum of which is the effective dimension γ.
    """

    mean: np.ndarray
    deviations: np.ndarray
    determined: np.ndarray


class Curvature(Protocol):
    """G, or what is made of it."""

    def posterior(self, precision: np.ndarray, slope: np.ndarray) -> Gaussian:
        """Posterior with the precision G + A, at whose centre the slope of U vanishes.

        Parameters
        ----------
        precision : ndarray
            Diagonal of A, ``(d,)``.
        slope : ndarray
            Of U at the mode that was found, ``(d,)``; 0 where that is exact and A is its own.
        """
