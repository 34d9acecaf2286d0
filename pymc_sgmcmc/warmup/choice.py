"""Which warm-up suits a posterior, by its size and its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.model.graphs import is_network
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.tuning import Tuning
from pymc_sgmcmc.warmup.base import MISLEADING, BaseWarmUp
from pymc_sgmcmc.warmup.effects import EffectsWarmUp
from pymc_sgmcmc.warmup.large import LargeWarmUp
from pymc_sgmcmc.warmup.mode import Rough
from pymc_sgmcmc.warmup.small import SmallWarmUp

# Dimensions up to which whole Hessians are affordable.
_SMALL = 1000
# Dimensions up to which eight searches for a mode are quick, however long each takes.
_QUICK = 100


def warm_up(
    compiled: Compiled,
    others: dict[str, np.ndarray],
    rng: np.random.Generator,
    starts: Callable[..., np.ndarray],
) -> tuple[BaseWarmUp, Tuning, np.ndarray]:
    """Warm up as suits the size and the shape of the posterior.

    Parameters
    ----------
    compiled : Compiled
        The engines of the plan.
    others : dict of str to ndarray
        Values of the model's other value variables.
    rng : numpy.random.Generator
    starts : callable
        Where the chains start, ``(chains, d)``, given a function that evaluates the potential and
        its gradient there, and whether the model is a network (``network=True``).

    Returns
    -------
    BaseWarmUp
        For the measurements half-way through the tuning.
    Tuning
        To begin with.
    positions : ndarray
        Where the chains then begin, ``(chains, d)``.
    """
    *first, last = compiled.plan.settings.engine.candidates
    for engine in first:
        with suppress(NotImplementedError):  # it lacks some Ops
            return _warm_up(compiled, others, rng, starts, engine)
    return _warm_up(compiled, others, rng, starts, last)


def resumed(
    compiled: Compiled, others: dict[str, np.ndarray], state: Mapping[str, Any]
) -> BaseWarmUp:
    """Warm-up that goes on from what `BaseWarmUp.state` gave, in another process perhaps."""
    kinds = {kind.__name__: kind for kind in (SmallWarmUp, LargeWarmUp, EffectsWarmUp)}
    candidates = compiled.plan.settings.engine.candidates
    engine = next(engine for engine in candidates if engine.name == state["engine"])
    return kinds[state["kind"]].resumed(compiled, others, engine, state)


def _warm_up(
    compiled: Compiled,
    others: dict[str, np.ndarray],
    rng: np.random.Generator,
    starts: Callable[..., np.ndarray],
    engine: OneEngine,
) -> tuple[BaseWarmUp, Tuning, np.ndarray]:
    wanted = compiled.plan.settings.warmup
    dense = isinstance(wanted.preconditioner, str) and wanted.preconditioner == "dense"

    def large(after: BaseWarmUp | None = None) -> tuple[BaseWarmUp, Tuning, np.ndarray]:
        warming = LargeWarmUp(compiled, others, rng, engine)
        if after is not None:
            warming.follow(after)
        return warming, *warming.search(starts(warming.landscape.gradient, network=True))

    def regression() -> tuple[BaseWarmUp, Tuning, np.ndarray]:
        warming = EffectsWarmUp(compiled, others, rng, engine)
        try:
            return warming, *warming.search(starts(warming.landscape.gradient, network=True))
        except Rough:  # a network that `nn` did not write
            return large(after=warming)

    size, network = compiled.plan.potential.size, is_network(compiled.plan.potential.model)
    if not dense and size > _SMALL:
        given = not isinstance(wanted.preconditioner, str)  # coordinates of one's own
        return large() if given or network else regression()
    if not dense and network and size > _QUICK:
        return large()  # Newton's method would look in vain for its mode
    small = SmallWarmUp(compiled, others, rng, engine)
    small.refuses_rough = not dense and size > _QUICK
    try:
        tuning, positions = small.search(starts(small.coarse.gradient))
    except Rough:
        return large()
    if wanted.whitens and not dense and small.misfit > MISLEADING:
        # A small network, say: what is known of its modes stands, their scale does not.
        return large(after=small)
    return small, tuning, positions
