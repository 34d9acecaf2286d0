"""Warm-up: it finds the posterior's mass, its scale and the step size, and is frozen afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pymc_sgmcmc.plan.tuning import Tuning
from pymc_sgmcmc.warmup.base import WarmUp
from pymc_sgmcmc.warmup.large import LargeWarmUp
from pymc_sgmcmc.warmup.small import SmallWarmUp

if TYPE_CHECKING:
    from pymc_sgmcmc.run.chains import Sampler

__all__ = ["LargeWarmUp", "SmallWarmUp", "WarmUp", "warm_up"]

# Dimensions up to which whole Hessians are affordable.
_SMALL = 1000
# Dimensions up to which eight searches for a mode are quick, however long each takes.
_QUICK = 100
# Share of directions in which U curves down, from which on Newton's method has a long way to go;
# and Hessians to look at: they lead a regression to where hardly a direction does, while of a
# network every third still does.
_ROUGH, _LOOKS = 0.1, 8
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
    if sampler.backend != "auto":
        return _warm_up(sampler, others, rng, starts, sampler.backend)
    try:
        return _warm_up(sampler, others, rng, starts, "jax")
    except NotImplementedError:  # JAX lacks some Ops
        return _warm_up(sampler, others, rng, starts, "numba")


def _warm_up(
    sampler: Sampler,
    others: dict[str, np.ndarray],
    rng: np.random.Generator,
    starts: Callable[..., np.ndarray],
    backend: str,
) -> tuple[WarmUp, Tuning, np.ndarray]:
    chosen = sampler.preconditioner
    dense = isinstance(chosen, str) and chosen == "dense"

    def large(after: WarmUp | None = None) -> tuple[WarmUp, Tuning, np.ndarray]:
        warming = LargeWarmUp(sampler, others, rng, backend)
        if after is not None:
            warming.follow(after)
        return warming, *warming.search(starts(warming.landscape.gradient, network=True))

    if not dense and sampler.potential.size > _SMALL:
        return large()
    small = SmallWarmUp(sampler, others, rng, backend)
    begin = starts(small.coarse.gradient)
    if not dense and len(begin[0]) > _QUICK and _downward(small, begin[0]) > _ROUGH:
        return large()
    tuning, positions = small.search(begin)
    if sampler.whitens and not dense and small.report["misfit"] > _MISLEADING:
        # A small network, say: what is known of its modes stands, their scale does not.
        return large(after=small)
    return small, tuning, positions


def _downward(small: SmallWarmUp, start: np.ndarray) -> float:
    """Share of the directions in which U still curves down a few steps from a start."""
    found = small.search_from(start, _LOOKS)
    return float((np.linalg.eigvalsh(found.hessian) < 0).mean())
