"""How many chains visit all modes: the coupon collector's problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pymc_sgmcmc.arguments import integer, number, numbers

_MOST_MODES, _RAREST = 20, 1e-9


class ChainsNeeded(NamedTuple):
    """Numbers of chains from `chains_needed`.

    Attributes
    ----------
    exact : int
        The smallest number that visits all modes with the confidence asked for.
    markov : int
        An upper bound, from the mean number of chains and Markov's inequality.

    Examples
    --------
    >>> from pymc_sgmcmc.diagnostics import chains_needed
    >>> needed = chains_needed(2, confidence=0.95, probabilities=[0.5, 0.5])
    >>> needed.exact, needed.markov
    (6, 60)
    """

    exact: int
    markov: int


def chains_needed(
    n_modes: int, confidence: float, probabilities: Sequence[float] | None = None
) -> ChainsNeeded:
    """How many chains visit all of a posterior's modes, if each ends in one at random.

    With P_J the probability of a set J of n(J) modes, G chains miss none with probability
    Σ_J (-1)^n(J) (1 - P_J)^G; `exact` is the smallest G for which it reaches the confidence. The
    number of chains until all are visited has the mean E = Σ_{J≠∅} (-1)^(n(J)+1) / P_J, and
    `markov` = ⌈E / (1 - confidence)⌉, a bound that is often twenty times too large.

    Parameters
    ----------
    n_modes : int
        Modes that differ in function, after symmetries; 1 to 20. It is assumed, never known.
    confidence : float
        Probability that none is missed, in (0, 1).
    probabilities : sequence of float, optional
        Of a chain to end in each mode, up to a factor. When None, those of the paper:
        proportional to the density of a half-normal at `linspace(0, 1.96, n_modes)`.

    Returns
    -------
    ChainsNeeded
        Numbers of chains.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    See Also
    --------
    symmetry_count : Copies of a mode, which need no chains of their own.

    References
    ----------
    Wiese, Wimmer, Papamarkou, Bischl, Günnemann and Rügamer, "Towards Efficient MCMC Sampling in
    Bayesian Neural Networks by Exploiting Symmetry", ECML PKDD 2023 (the bound; 1274 chains for 3
    modes and 99 %).

    Examples
    --------
    >>> from pymc_sgmcmc.diagnostics import chains_needed
    >>> chains_needed(3, confidence=0.99)
    ChainsNeeded(exact=54, markov=1274)
    >>> chains_needed(3, confidence=0.99, probabilities=[1, 1, 1]).exact
    15
    """
    if integer("n_modes", n_modes) > _MOST_MODES:
        raise ValueError(f"n_modes must be from 1 to {_MOST_MODES}, got {n_modes}.")
    confidence = number("confidence", confidence, 0, 1)
    if probabilities is None:
        p = np.exp(-(np.linspace(0, 1.96, n_modes) ** 2) / 2)
    else:
        p = numbers("probabilities", probabilities)
        if p.shape != (n_modes,) or not np.all(p >= _RAREST * p.sum()) or not p.sum() > 0:
            raise ValueError(
                f"probabilities must be {n_modes} positive numbers, one for each mode, none below "
                f"{_RAREST:g} of their sum; got {probabilities!r}."
            )
    mass, sign = _sets_of_modes(p / p.sum())

    def all_visited(chains: int) -> float:
        return math.fsum(sign * (1 - mass) ** chains)

    enough = n_modes
    while all_visited(enough) < confidence:
        enough *= 2
    few = n_modes - 1
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if all_visited(middle) >= confidence else (middle, enough)
    mean = math.fsum(-sign[1:] / mass[1:])
    # The quotient of two rounded numbers must not be rounded up past a whole one.
    return ChainsNeeded(enough, math.ceil(mean / (1 - confidence) * (1 - 1e-12)))


def _sets_of_modes(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability P_J and sign (-1)^n(J) of every set of modes, the empty one first."""
    mass, sign = np.zeros(1), np.ones(1)
    for probability in p:
        mass = np.concatenate([mass, mass + probability])
        sign = np.concatenate([sign, -sign])
    return np.minimum(mass, 1), sign
