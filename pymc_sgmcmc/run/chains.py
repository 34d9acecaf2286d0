"""Chains that advance together, in blocks of draws, and stop where one can't move."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from pymc.exceptions import SamplingError

from pymc_sgmcmc import processes, schedules
from pymc_sgmcmc.dynamics import Dynamics, MomentumDynamics
from pymc_sgmcmc.engines.base import STUCK, Draws
from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.tuning import Tuning
from pymc_sgmcmc.run.walkers import Walkers

# A block of draws should take about this long: short enough to interrupt, long enough to be cheap.
_BLOCK_SECONDS = 0.5


class ChainStuckError(SamplingError):
    """A chain whose every update gives numbers that are not finite.

    Attributes
    ----------
    idata : xarray.DataTree or None
        The draws made until then, if `pymc_sgmcmc.sample` made them (any exception there has it).
    draws : Draws or None
        Those of the last block, until the chain stopped moving.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import SGLD, ChainStuckError, sample
    >>> with pm.Model():
    ...     x = pm.Normal("x")
    ...     wrong = pm.Potential("wrong", x**4)  # grows without bound
    ...     try:
    ...         idata = sample(tune=0, step=SGLD(step_size=0.2), random_seed=1, progressbar=False)
    ...     except ChainStuckError as error:
    ...         print(error)
    ...         idata = error.idata
    Chain ... can't move: at update ..., its last ... attempts gave numbers that are not finite,
    with step_size=0.2. Use a smaller step size, or check that the model's gradient is finite around
    the chain's start.

    It has the draws made until then:

    >>> 0 < idata.posterior.sizes["draw"] < 1000
    True
    """

    idata: Any = None
    draws: Draws | None = None


class Chains:
    """Chains of one plan, advanced together.

    Parameters
    ----------
    compiled : Compiled
        The engines of the plan.
    seeds : ndarray
        One of each chain, ``(chains, 2)``, uint32.
    others : mapping of str to ndarray
        Values of the model's other value variables, ``(chains, ...)`` each.
    block : int, optional
        Draws that are asked for at once, at most.

    Attributes
    ----------
    state : State
        Of the engine, as the last block left it.
    updates : int
        Updates that every chain has made.
    """

    def __init__(
        self,
        compiled: Compiled,
        seeds: np.ndarray,
        others: Mapping[str, np.ndarray],
        block: int | None = None,
    ) -> None:
        self.compiled, self.others = compiled, dict(others)
        self._seeds, self._block, self._next_block = seeds, block, 1
        self.updates = 0

    def begin(self, settings: OneEngine, tuning: Tuning, positions: np.ndarray) -> None:
        """Start, or start again, at positions ``(chains, d)``; updates are counted on."""
        self._move_by(settings, tuning)
        z = tuning.coordinates(positions)
        # Fitted coordinates have the posterior around zero.
        fitted = bool(tuning.places) and tuning.places[0].coordinates.dense
        self.state = self.engine.init(z, self._seeds, np.zeros_like(z) if fitted else z)
        self.state["update"] = np.full(len(z), self.updates, np.uint32)
        if tuning.places:
            noise = np.stack([place.noise for place in tuning.of_chains()])
            settled = self.dynamics.settled(tuning.step_size, noise)
            dtype = self.compiled.plan.potential.dtype
            self.state |= {name: x.astype(dtype) for name, x in settled.items()}
        self._capacity = self._block or self.engine.capacity(len(z))

    def _move_by(self, settings: OneEngine, tuning: Tuning) -> None:
        """Take an engine, for the coordinates of a tuning or for those that walkers lend."""
        self.tuning, share = tuning, self.compiled.plan.settings.ensemble
        walkers = share is not None
        moved = (
            Walkers.coordinates(tuning, self.compiled.plan.potential.size) if walkers else tuning
        )
        self.engine = self.compiled.engine(settings, moved)
        self._walkers = Walkers(self.engine, moved, share) if share is not None else None

    def saved(self) -> dict[str, Any]:
        """What chains need to go on from here: arrays, and numbers."""
        return {"state": dict(self.state), "updates": self.updates}

    def resume(self, settings: OneEngine, tuning: Tuning, saved: Mapping[str, Any]) -> None:
        """Go on from what `saved` gave, with the engine and the tuning that chains had then."""
        self._move_by(settings, tuning)
        self.state, self.updates = dict(saved["state"]), saved["updates"]
        self._capacity = self._block or self.engine.capacity(len(self.state["position"]))

    def cool(self, tuning: Tuning) -> None:
        """Go on where the chains are, with another step size and friction."""
        self.tuning = tuning
        settled = self.dynamics.settled(tuning.step_size, np.zeros(self.state["position"].shape))
        if "friction" in settled:
            dtype = self.compiled.plan.potential.dtype
            self.state["friction"] = settled["friction"].astype(dtype)

    @property
    def dynamics(self) -> Dynamics:
        """Those of the plan, with the friction that was found."""
        dynamics, decay = self.compiled.plan.dynamics, self.tuning.momentum_decay
        if decay is None or not isinstance(dynamics, MomentumDynamics):
            return dynamics
        return dynamics.with_decay(decay)

    def move(self, position: np.ndarray, others: Mapping[str, np.ndarray]) -> None:
        """Put chains at positions ``(chains, d)``, keeping their momenta."""
        z = self.tuning.coordinates(position)
        self.state |= {"position": z, "finite_position": z}
        self.others = dict(others)

    def advance(self, n_draws: int, steps: int) -> Draws:
        """Next block of at most `n_draws` draws of every chain, `steps` updates apart.

        Raises
        ------
        ChainStuckError
            If a chain can't move on.
        ValueError
            If the schedule gives no step size for the next draw. The draws before it are made: a
            block ends where the schedule does.
        """
        tuning, started = self.tuning, time.perf_counter()
        n = processes.agreed(max(1, min(n_draws, self._capacity, self._next_block)))
        schedule = self.compiled.plan.schedule
        factors = schedules.factors(schedule, self.updates, n * steps, least=steps)
        n = len(factors) // steps
        step_sizes = tuning.step_size * factors[: n * steps].reshape(n, steps)
        if self._walkers is not None:
            draws, self.state = self._walkers.run(self.state, step_sizes, tuning.step_size)
        else:
            draws, self.state = self.engine.run(
                self.state,
                step_sizes,
                tuning.step_size,
                self.others,
                self._capacity,
                tuning.parameters(),
            )
        self.updates += step_sizes.size
        pace = _BLOCK_SECONDS / max(time.perf_counter() - started, 1e-9)
        self._next_block = max(1, int(n * min(max(pace, 0.25), 4.0)))
        return draws

    def refuse_stuck(self, draws: Draws, steps: int) -> None:
        """Raise a ChainStuckError if a chain made no move in its last 200 attempts."""
        rejected = np.asarray(self.state["rejected_in_a_row"])
        if rejected.max() < STUCK:
            return
        chain, h = int(rejected.argmax()), self.tuning.step_size
        dtype = self.compiled.plan.potential.dtype
        advice = (
            "Use a smaller step size, or check that the model's gradient is finite around the "
            "chain's start."
        )
        if h**2 < np.finfo(dtype).tiny:
            advice = f"h² is 0 in {dtype}: use a larger step size."
        error = ChainStuckError(
            f"Chain {chain} can't move: at update {self.updates}, its last {rejected[chain]} "
            f"attempts gave numbers that are not finite, with step_size={h:g}. {advice}"
        )
        # Up to two updates are an attempt: one that moves, one that finds it was no good.
        stuck_draws = -(-2 * int(rejected[chain]) // steps)
        good = max(0, draws.n - stuck_draws)
        statistics = {k: x[:, :good] for k, x in draws.statistics.items()}
        error.draws = Draws(draws.positions[:, :good], statistics, draws.chains)
        raise error
