"""Precisions of the prior that make the data most likely, by MacKay's fixed point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pymc_sgmcmc.linearised.gaussian import Curvature, Gaussian

# Factors by which a round and all of them change a precision at most: γ from a few draws may be
# below 0, and a variable that explains nothing wants a precision without bounds.
_CHANGE, _MOST = 10.0, 1e6


class Fitted(NamedTuple):
    """Posterior of the linear model, and the prior that it belongs to.

    Attributes
    ----------
    posterior : Gaussian
    precision : ndarray
        Diagonal of A, in units of the prior's precision that there was, ``(d,)``.
    rounds : int
        Posteriors that were found on the way.
    """

    posterior: Gaussian
    precision: np.ndarray
    rounds: int


def fit(
    curvature: Curvature,
    slope: np.ndarray,
    offset: np.ndarray,
    precision: np.ndarray,
    groups: Sequence[np.ndarray],
    rounds: int,
    tolerance: float,
) -> Fitted:
    r"""Posterior of the linear model with the precisions of the prior that maximise its evidence.

    For variables u ~ N(0, (α A)⁻¹) of a group, of which the data determine γ,

    .. math::

        \gamma = \operatorname{tr}\left[(G + \alpha A)^{-1} G\right], \qquad
        \alpha \leftarrow \frac{\gamma}{\lVert \bar u \rVert_A^2},

    until α stays: the derivative of the evidence is then 0. A posterior is the E-step, which gives
    γ and the mean ū; the M-step needs no more of it.

    Parameters
    ----------
    curvature : Curvature
    slope : ndarray
        Of the negative log-likelihood at the mode, in units of the prior, ``(d,)``.
    offset : ndarray
        The mode, from the prior's mean, in these units, ``(d,)``.
    precision : ndarray
        To begin with, ``(d,)``.
    groups : sequence of ndarray of int
        Variables that share a factor; none where the prior stays as it is.
    rounds : int
        At most.
    tolerance : float
        Relative change of a precision that no longer matters.

    References
    ----------
    MacKay (1992), Bayesian interpolation, Neural Computation 4.
    Antorán et al. (2023), section 4: with samples.
    """
    posterior = curvature.posterior(precision, slope + precision * offset)
    made, first = 1, precision
    while groups and made <= rounds:
        before, precision = precision, precision.copy()
        for group in groups:
            squares = np.square(offset + posterior.mean)[group].sum()
            with np.errstate(
                divide="ignore", invalid="ignore"
            ):  # nothing is explained by the group
                wanted = posterior.determined[group].sum() / squares
            if np.isnan(wanted):  # nor anything known of it: 0/0
                continue
            wanted = np.clip(wanted, before[group] / _CHANGE, before[group] * _CHANGE)
            precision[group] = np.clip(wanted, first[group] / _MOST, first[group] * _MOST)
        posterior = curvature.posterior(precision, slope + precision * offset)
        made += 1
        if np.abs(np.log(precision / before)).max() < tolerance:
            break
    return Fitted(posterior, precision, made)
