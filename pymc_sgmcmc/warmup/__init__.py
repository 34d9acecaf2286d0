"""Warm-up: it finds the posterior's mass, its scale and the step size, and is frozen afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pymc_sgmcmc.tuning import Tuning
from pymc_sgmcmc.warmup.base import WarmUp
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.large import LargeWarmUp
from pymc_sgmcmc.warmup.small import SmallWarmUp

if TYPE_CHECKING:
    from pymc_sgmcmc.chains import Sampler

__all__ = ["LargeWarmUp", "SmallWarmUp", "WarmUp", "warm_up"]

# Dimensions up to which whole Hessians are affordable.
_SMALL = 1000
# Dimensions up to which eight searches for a mode are quick, however long each takes.
_QUICK = 100
# Share of directions in which U curves down at a start, from which on Newton's method has a long
# way to go: a regression has one or two, a network every third.
_ROUGH = 0.1
# Mean square of ∇U − z over d from which on the curvature at a mode says little of the posterior.
_MISLEADING = 10.0


def warm_up(
    sampler: Sampler,
    others: dict[str, np.ndarray],
    rng: np.random.Generator,
    starts: Callable[..., np.ndarray],
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
        its gradient there, and whether the model is a network (``network=True``).

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
        return large, *large.search(starts(large.landscape.gradient, network=True))
    small = SmallWarmUp(sampler, others, rng)
    begin = starts(lambda positions: small.coarse.hessian(positions)[:2])
    if not dense and len(begin[0]) > _QUICK and _downward(small.coarse, begin[0]) > _ROUGH:
        large = LargeWarmUp(sampler, others, rng)
        return large, *large.search(starts(large.landscape.gradient, network=True))
    tuning, positions = small.search(begin)
    if sampler.whitens and not dense and small.report["misfit"] > _MISLEADING:
        # A small network, say: what is known of its modes stands, their scale does not.
        large = LargeWarmUp(sampler, others, rng)
        large.follow(small)
        return large, *large.search(starts(large.landscape.gradient, network=True))
    return small, tuning, positions


def _downward(landscape: Landscape, position: np.ndarray) -> float:
    """Share of the directions in which U curves down."""
    _, _, hessian = landscape.hessian(position[None])
    return float((np.linalg.eigvalsh(hessian[0]) < 0).mean())
