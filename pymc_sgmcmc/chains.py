"""The chains of one run: where they start, how they advance, when they must stop.

Both doors, the step methods of `pm.sample` and `pymc_sgmcmc.sample`, use this and nothing below it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pymc.exceptions import SamplingError
from pymc.model import Model

from pymc_sgmcmc.dynamics import schedules
from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines.base import STUCK, Draws
from pymc_sgmcmc.potential import StochasticPotential

if TYPE_CHECKING:
    from pymc_sgmcmc.engines.base import Engine

Point = Mapping[str, np.ndarray]

# A block of draws should take about this long: short enough to interrupt, long enough to be cheap.
_BLOCK_SECONDS = 0.5
_JITTER_RETRIES = 20


@dataclass
class Sampler:
    """What is to be sampled, and how: the settings of a step and what was compiled from them.

    Parameters
    ----------
    model : pm.Model
    dynamics : Dynamics
    step_size : float
        h₀.
    steps_per_draw : int
        Updates between two draws.
    schedule : callable
        Factor of the step size at an update.
    potential_arguments : dict
        ``vars``, ``batch_size``, ``data`` and ``dtype`` of the potential.
    """

    model: Model
    dynamics: Dynamics
    step_size: float
    steps_per_draw: int
    schedule: schedules.Schedule
    potential_arguments: dict[str, Any]
    potential: StochasticPotential = field(init=False)
    _engine: Engine | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        _require_jax()
        self.potential = StochasticPotential(self.model, **self.potential_arguments)

    def engine(self) -> Engine:
        """Engine with the data as they are now, compiled anew only if more than those changed.

        Raises
        ------
        ValueError
            If variables were added to the model or taken from it.
        """
        refuse_forked_jax()
        from pymc_sgmcmc.engines.jax import JaxEngine  # starts JAX

        if not self.potential.is_current():
            self.potential = StochasticPotential(self.model, **self.potential_arguments)
            self._engine = None
        if self._engine is None:
            self._engine = JaxEngine(self.potential, self.dynamics)
        else:
            self._engine.load(self.potential.row_values())
        return self._engine

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions and device arrays stay behind; another process makes its own.
        return {**self.__dict__, "_engine": None}


class ChainStuckError(SamplingError):
    """A chain whose every update gives numbers that are not finite.

    Attributes
    ----------
    idata : xarray.DataTree or None
        The draws made until then, if `pymc_sgmcmc.sample` made them.
    draws : Draws or None
        Those of the last block, until the chain stopped moving.
    """

    idata: Any = None
    draws: Draws | None = None


class Chains:
    """Chains of one run, advanced together.

    Parameters
    ----------
    sampler : Sampler
    points : sequence of mapping of str to ndarray
        Start of each chain, with values of all of the model's value variables. Where all are the
        model's initial point, each chain starts at U(−1, 1) jitter around it instead, in the
        unconstrained space, as PyMC's NUTS does.
    rngs : sequence of numpy.random.Generator
        One for each chain.
    block : int, optional
        Draws that are asked for at once, at most.

    Attributes
    ----------
    updates : int
        Updates that every chain has made.

    Raises
    ------
    SamplingError
        If the potential or its gradient is not finite at a start.
    """

    def __init__(
        self,
        sampler: Sampler,
        points: Sequence[Point],
        rngs: Sequence[np.random.Generator],
        block: int | None = None,
    ) -> None:
        self.sampler = sampler
        self.engine = sampler.engine()
        self.others = self._others(points)
        seeds = np.stack([rng.integers(2**32, size=2, dtype=np.uint32) for rng in rngs])
        self.state = self.engine.init(self._starts(points, rngs, seeds[0]), seeds)
        self.updates = 0
        self._capacity = block or self.engine.capacity(len(points))
        self._next_block = 1

    def move(self, point: Point) -> None:
        """Put a single chain at a point, keeping its momentum: other steps may have moved it."""
        position = self.sampler.potential.ravel(point)[None]
        self.state |= {"position": position, "finite_position": position}
        self.others = self._others([point])

    def advance(self, n_draws: int) -> Draws:
        """Next block of at most `n_draws` draws of every chain.

        Raises
        ------
        ChainStuckError
            If a chain can't move on.
        """
        sampler, started = self.sampler, time.perf_counter()
        n = max(1, min(n_draws, self._capacity, self._next_block))
        factors = schedules.factors(sampler.schedule, self.updates, n * sampler.steps_per_draw)
        step_sizes = sampler.step_size * factors.reshape(n, sampler.steps_per_draw)
        draws, self.state = self.engine.run(
            self.state, step_sizes, sampler.step_size, self.others, self._capacity
        )
        self.updates += step_sizes.size
        self._refuse_stuck(draws)
        pace = _BLOCK_SECONDS / max(time.perf_counter() - started, 1e-9)
        self._next_block = max(1, int(n * min(max(pace, 0.25), 4.0)))
        return draws

    def _refuse_stuck(self, draws: Draws) -> None:
        rejected = np.asarray(self.state["rejected_in_a_row"])
        if rejected.max() < STUCK:
            return
        chain = int(rejected.argmax())
        error = ChainStuckError(
            f"Chain {chain} can't move: at update {self.updates}, its last {rejected[chain]} "
            "attempts gave numbers that are not finite, with "
            f"step_size={self.sampler.step_size:g}. Use a smaller step size, or check that the "
            "model's gradient is finite around the chain's start."
        )
        # Up to two updates are an attempt: one that moves, one that finds it was no good.
        stuck_draws = -(-2 * int(rejected[chain]) // self.sampler.steps_per_draw)
        good = max(0, draws.positions.shape[1] - stuck_draws)
        error.draws = Draws(
            draws.positions[:, :good], {k: x[:, :good] for k, x in draws.statistics.items()}
        )
        raise error

    def _others(self, points: Sequence[Point]) -> dict[str, np.ndarray]:
        names = [v.name for v in self.sampler.potential.others]
        return {name: np.stack([point[name] for point in points]) for name in names}

    def _starts(
        self, points: Sequence[Point], rngs: Sequence[np.random.Generator], seed: np.ndarray
    ) -> np.ndarray:
        potential = self.sampler.potential
        given = np.stack([potential.ravel(point) for point in points])
        initial = potential.ravel(self.sampler.model.initial_point(0))
        jitter = bool((given == initial).all())
        starts = given.copy()
        todo = np.arange(len(points))
        for _ in range(_JITTER_RETRIES):
            if jitter:
                for chain in todo:
                    starts[chain] = given[chain] + rngs[int(chain)].uniform(-1, 1, potential.size)
            value, gradient = self.engine.evaluate(starts, self.others, seed)
            todo = np.flatnonzero(~(np.isfinite(value) & np.isfinite(gradient).all(1)))
            if not jitter or not todo.size:
                break
        if todo.size:
            where = (
                f"{_JITTER_RETRIES} random points around the model's initial point"
                if jitter
                else "its start"
            )
            raise SamplingError(
                f"The log posterior or its gradient is not finite for chain {todo[0]} at {where}. "
                "Give other starting points with initvals=..., or check the model there."
            )
        return starts


def _require_jax() -> None:
    # A module blocked in sys.modules counts as missing; one that exists isn't imported yet.
    if importlib.util.find_spec("jax") is None:
        raise ImportError(
            "This package compiles its updates with JAX, which is not installed: pip install jax."
        )


def refuse_forked_jax() -> None:
    """Raise an error in a process that was forked from one in which JAX ran.

    JAX does not survive a fork: its threads stay behind, and the child hangs or aborts.
    """
    if _forked_with_jax:
        raise RuntimeError(
            "This process was forked from one in which JAX already ran, and JAX can't run in it. "
            'Use pm.sample(cores=1, ...), or mp_ctx="forkserver".'
        )


_forked_with_jax = False


def _note_fork() -> None:
    global _forked_with_jax
    bridge = sys.modules.get("jax._src.xla_bridge")
    # Not backends_are_initialized(), whose lock another thread may have held at the fork.
    _forked_with_jax = bridge is not None and bool(bridge._backends)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
