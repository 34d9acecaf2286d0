"""Warm-up: it finds the posterior's mass, its scale and the step size, and is frozen afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pymc_sgmcmc.tuning import Tuning
from pymc_sgmcmc.warmup.base import WarmUp
from pymc_sgmcmc.warmup.large import LargeWarmUp
from pymc_sgmcmc.warmup.small import SmallWarmUp

if TYPE_CHECKING:
    from pymc_sgmcmc.chains import Sampler

__all__ = ["LargeWarmUp", "SmallWarmUp", "WarmUp", "warm_up"]

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

# Dimensions up to which whole Hessians are affordable.
_SMALL = 1000
# Mean square of ∇U − z over d from which on the curvature at a mode says little of the posterior.
_MISLEADING = 10.0


def warm_up(
    sampler: Sampler,
    others: dict[str, np.ndarray],
    rng: np.random.Generator,
    starts: Callable[[Evaluate], np.ndarray],
) -> tuple[WarmUp, Tuning, np.ndarray]:
    """Warm up as suits the size and the shape of the posterior.

    Parameters
    ----------
    sampler : Sampler
    others : dict of str to ndarray
        Values of the model's other value variables.
    rng : numpy.random.Generator
    starts : callable
        Where the chains start, ``(chains, d)``, given a function that evaluates the potential and
        its gradient there.

    Returns
    -------
    WarmUp
        For the measurements half-way through the tuning.
    Tuning
        Settings to begin with.
    positions : ndarray
        Where the chains then begin, ``(chains, d)``.
    """
    chosen = sampler.preconditioner
    dense = isinstance(chosen, str) and chosen == "dense"
    if not dense and sampler.potential.size > _SMALL:
        large = LargeWarmUp(sampler, others, rng)
        return large, *large.search(starts(large.landscape.gradient))
    small = SmallWarmUp(sampler, others, rng)
    begin = starts(lambda positions: small.coarse.hessian(positions)[:2])
    tuning, positions = small.search(begin)
    if sampler.whitens and not dense and small.report["misfit"] > _MISLEADING:
        # A small network, say: what is known of its modes stands, their scale does not.
        large = LargeWarmUp(sampler, others, rng)
        large.follow(small)
        return large, *large.search(begin)
    return small, tuning, positions
