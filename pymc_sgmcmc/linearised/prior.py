"""The prior of a linear model: normal, and independent for each variable."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pymc_sgmcmc.engines.settings import JAX
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.warmup.landscape import Landscape

# Products with random signs that show whether variables depend on each other, and how small a
# product off the diagonal is rounding.
_SIGNS, _ROUNDING = 4, 1e-3


class NormalPrior(NamedTuple):
    """Normal with this slope and curvature at the mode: exactly the prior, where that is normal.

    Attributes
    ----------
    slope : ndarray
        ∇(−log p) at the mode, ``(d,)``.
    precision : ndarray
        Diagonal of A, ``(d,)``.
    """

    slope: np.ndarray
    precision: np.ndarray


def normal_prior(
    potential: StochasticPotential,
    position: np.ndarray,
    places: np.ndarray,
    rng: np.random.Generator,
) -> NormalPrior:
    """Normal prior of some of the variables, from the curvature of the model's own at a position.

    In PyMC's unconstrained space, with the Jacobians of the transforms: a half-normal standard
    deviation s with the scale τ has the curvature 2 s²/τ² in log s, for example. What
    ``pm.Potential`` adds is part of it.

    Parameters
    ----------
    potential : StochasticPotential
    position : ndarray
        All variables, ``(D,)``.
    places : ndarray
        Which of them, ``(d,)``.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If variables depend on each other in the prior, or have none that curves up.
    """
    landscape = Landscape(potential.prior(), None, {}, rng, JAX())
    _, slope = landscape.gradient(position[None])
    some = np.zeros(potential.size)
    some[places] = 1

    def products(directions: np.ndarray) -> np.ndarray:
        return landscape.products(np.broadcast_to(position, directions.shape), directions)

    diagonal = products(some[None])[0]
    signs = rng.choice([-1.0, 1.0], (_SIGNS, potential.size)) * some
    beside = np.abs(products(signs) - signs * diagonal).max(0) * some
    coupled = beside > _ROUNDING * np.abs(diagonal).max()
    if coupled.any():
        raise ValueError(
            f"In the prior {_names(potential, coupled)} depend on each other: laplace needs "
            "variables that are independent there. Write them non-centred, as effect = mean + sd * "
            'z with z = pm.Normal("z", 0, 1), or name those to be linearised: vars=[...].'
        )
    flat = (some > 0) & ~(diagonal > 0)
    if flat.any():
        raise ValueError(
            f"The prior of {_names(potential, flat)} does not curve up at the mode, as one that is "
            "flat or has heavy tails: no normal prior is like it. Give pm.Normal, or leave it out: "
            "vars=[...]."
        )
    return NormalPrior(slope[0][places], diagonal[places])


def _names(potential: StochasticPotential, marked: np.ndarray) -> str:
    return ", ".join(map(repr, potential.names_at(marked)))
