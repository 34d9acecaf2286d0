"""The chains of one run: where they start, how they advance, when they must stop.

Both doors, the step methods of `pm.sample` and `pymc_sgmcmc.sample`, use this and nothing below it.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pymc.exceptions import SamplingError
from pymc.model import Model

from pymc_sgmcmc.dynamics import schedules
from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines import engine_class
from pymc_sgmcmc.engines.base import STUCK, Draws
from pymc_sgmcmc.engines.choice import faster_backend
from pymc_sgmcmc.engines.unknown import naming_variables
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.estimators.estimators import Clipped, ControlVariate, Estimator, Preconditioned
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.plan.tuning import Tuning
from pymc_sgmcmc.run.starts import Evaluate, Point, starting_positions

if TYPE_CHECKING:
    from pymc_sgmcmc.engines.base import Engine
    from pymc_sgmcmc.warmup import WarmUp

# A block of draws should take about this long: short enough to interrupt, long enough to be cheap.
_BLOCK_SECONDS = 0.5
# Positions that show the warm-up where the chains have come to: of all, and of each at least.
_REMEMBERED, _OF_CHAIN = 512, 8


@dataclass
class Sampler:
    """What is to be sampled, and how: the settings of a step and what was compiled from them.

    Parameters
    ----------
    model : pm.Model
    dynamics : Dynamics
    schedule : callable
        Factor of the step size at an update.
    potential_arguments : dict
        ``vars``, ``batch_size``, ``data`` and ``dtype`` of the potential.
    step_size : float or None
        h₀; found by the warm-up when None.
    steps_per_draw : int or None
        Updates between two draws; found by the warm-up when None.
    preconditioner : {"auto", "dense", "diagonal"}, ndarray or None
        Covariance of what the coordinates of the sampler make standard.
    control_variate : bool or "auto"
        Whether gradients are taken relative to those at the mode.
    target_bias : float
        Relative error of variances that the step size may leave.
    backend : {"auto", "jax", "numba"}
        Engine of the chains.
    shard : {"chains", "rows"}
        What is spread over several devices of JAX.
    matmul_precision : str or None
        In which JAX multiplies matrices.
    start : {"auto", "jitter", "prior"}
        Where chains start that are given no points.
    clip_gradient : float or None
        Largest norm of a gradient.
    """

    model: Model
    dynamics: Dynamics
    schedule: schedules.Schedule
    potential_arguments: dict[str, Any]
    step_size: float | None = None
    steps_per_draw: int | None = None
    preconditioner: Any = "auto"
    control_variate: bool | str = "auto"
    target_bias: float = 0.02
    backend: str = "auto"
    shard: str = "chains"
    matmul_precision: str | None = None
    start: str = "auto"
    clip_gradient: float | None = None
    potential: StochasticPotential = field(init=False)
    _engines: dict[Any, Engine] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.backend == "auto" and not _has_jax():
            self.backend = "numba"
        if self.needs_jax:
            _require_jax()
        self.potential = StochasticPotential(self.model, **self.potential_arguments)

    @property
    def needs_jax(self) -> bool:
        """Whether JAX runs."""
        return self.backend != "numba"

    @property
    def warms_up(self) -> bool:
        """Whether anything is left for the warm-up to find."""
        given = self.step_size is not None and self.preconditioner is None
        return not given or self.control_variate is True

    def given(self) -> Tuning:
        """Settings of a run without a warm-up."""
        assert self.step_size is not None
        assert self.steps_per_draw is not None
        return Tuning(self.step_size, self.steps_per_draw, self.steps_per_draw)

    @property
    def whitens(self) -> bool:
        """Whether the coordinates of the sampler are those in which the posterior is standard."""
        return isinstance(self.preconditioner, str) and self.preconditioner != "diagonal"

    def coordinates(self, fitted: Coordinates) -> Coordinates:
        """Coordinates as they were asked for, around those that fit the posterior."""
        chosen = self.preconditioner
        if chosen is None:
            return Coordinates(fitted.centre, np.ones_like(fitted.centre))
        if not isinstance(chosen, str):
            factor = np.sqrt(chosen) if chosen.ndim == 1 else np.linalg.cholesky(chosen)
            return Coordinates(fitted.centre, factor)
        if chosen == "diagonal" and fitted.dense:
            precision = np.square(np.linalg.inv(fitted.factor)).sum(0)
            return Coordinates(fitted.centre, 1 / np.sqrt(precision))
        return fitted

    def refresh(self) -> None:
        """Take the data as they are now; compile anew only if more than those changed.

        Raises
        ------
        ValueError
            If variables were added to the model or taken from it.
        SamplingError
            If the log posterior of new row data is not finite at the model's initial point.
        """
        if self.needs_jax:
            refuse_forked_jax()
        before = self.potential.rows_digest
        if not self.potential.is_current():
            self.potential = StochasticPotential(self.model, **self.potential_arguments)
            self._engines = {}
        if self.potential.rows_digest == before:
            return
        loaded: dict[type, Engine] = {}
        for engine in self._engines.values():
            if type(engine) in loaded:
                engine.share_rows(loaded[type(engine)])
            else:
                engine.load(self.potential.row_arrays())
                loaded[type(engine)] = engine

    def release(self) -> None:
        """Give back memory that engines need for row data, until the next run."""
        for engine in self._engines.values():
            engine.release()

    def engine(
        self,
        tuning: Tuning | None = None,
        backend: str | None = None,
        dynamics: Dynamics | None = None,
    ) -> Engine:
        """Engine for the coordinates of some settings; the model's own when None.

        Of a backend other than the sampler's, if that is named; JAX where it is left open. Of
        dynamics other than the sampler's, likewise.

        Raises
        ------
        NotImplementedError
            If the backend can't compile the model; the message names variables and what to do.
        """
        backend, dynamics = backend or self.backend, dynamics or self.dynamics
        backend = "jax" if backend == "auto" else backend
        kind: Any = None
        estimator = Estimator(self.potential)
        if tuning is not None and tuning.places:
            dense, controlled = tuning.places[0].coordinates.dense, tuning.control_variate
            kind = dense, controlled
            estimator = ControlVariate(estimator) if controlled else estimator
            estimator = Preconditioned(estimator, dense)
        if self.clip_gradient is not None and (kind or not self.warms_up):
            estimator = Clipped(estimator, self.clip_gradient)
        engine = engine_class(backend)
        if (engine, kind, dynamics) not in self._engines:
            same_rows = next((e for e in self._engines.values() if isinstance(e, engine)), None)
            options = {"shard": self.shard, "matmul_precision": self.matmul_precision}
            if backend == "numba":
                options = {}
            with naming_variables(self.potential, backend):
                made = engine(estimator, dynamics, same_rows, **options)
            self._engines[engine, kind, dynamics] = made
        return self._engines[engine, kind, dynamics]

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions and device arrays stay behind; another process makes its own.
        return {**self.__dict__, "_engines": {}}


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
    """Chains of one run, advanced together.

    Parameters
    ----------
    sampler : Sampler
    points : sequence of mapping of str to ndarray
        Start of each chain, with values of all of the model's value variables; see
        `pymc_sgmcmc.run.starts` for what is done where all are the model's initial point.
    rngs : sequence of numpy.random.Generator
        One for each chain.
    tune : int
        Draws in which the chains warm up: those before the first that is kept.
    draws : int
        Draws after those.
    block : int, optional
        Draws that are asked for at once, at most.
    phase : callable, optional
        Told by a word what is being done where it takes long: ``"Searching"``, ``"Compiling"``.

    Attributes
    ----------
    made, steps : int
        Draws that every chain has made, and the updates before each of the latest block.
    updates, tuning_updates : int
        Updates that every chain has made, and those among them of the tuning draws.
    tuning : Tuning
        Settings of the run; those after the warm-up stay.

    Raises
    ------
    ValueError
        If there is something to be found, and no tuning draw to find it in.
    SamplingError
        If the potential or its gradient is not finite at a start.
    """

    def __init__(
        self,
        sampler: Sampler,
        points: Sequence[Point],
        rngs: Sequence[np.random.Generator],
        tune: int = 0,
        draws: int = 0,
        block: int | None = None,
        phase: Callable[[str], object] = lambda word: None,
    ) -> None:
        self.sampler, self.tune, self._draws = sampler, tune, draws
        sampler.refresh()
        self.others = self._others(points)
        self._seeds = np.stack([rng.integers(2**32, size=2, dtype=np.uint32) for rng in rngs])
        self._block = block
        self._next_block = 1
        self.updates = self.tuning_updates = self.made = self.steps = 0
        self._warm_up: WarmUp | None = None
        self._visited: list[np.ndarray] = []
        if not sampler.warms_up:
            self.tuning = sampler.given()
            self.backend = self._backend(len(points))
            self.engine = sampler.engine(backend=self.backend)
            self._begin(self._starts(points, rngs, self._evaluate))
            phase("Compiling")
            return
        if tune == 0:
            raise ValueError(
                "tune=0 leaves no draws to find the step size in. Use tune=1000, or give "
                "step_size=... and preconditioner=None to the step."
            )
        phase("Searching")
        from pymc_sgmcmc.warmup import warm_up  # starts JAX

        first = {k: x[0] for k, x in self.others.items()}
        rng = np.random.default_rng(self._seeds.ravel())
        self._warm_up, self.tuning, starts = warm_up(
            sampler, first, rng, functools.partial(self._starts, points, rngs)
        )
        self.backend = self._backend(len(points))
        self._begin(starts)
        phase("Compiling")

    def _backend(self, chains: int) -> str:
        """Backend of this run; the first that can compile the model, where it is left open."""
        sampler, tuning = self.sampler, self.tuning
        if sampler.backend != "auto" or sampler.shard == "rows":
            return "numba" if sampler.backend == "numba" else "jax"
        updates = self.tune * tuning.tuning_steps_per_draw + self._draws * tuning.steps_per_draw
        potential = sampler.potential
        numbers = sum(math.prod(x.type.shape) for x in potential.inputs()[2])
        chosen = faster_backend(potential.size, numbers, chains, updates)
        try:
            sampler.engine(tuning, chosen)
        except NotImplementedError:
            return "jax" if chosen == "numba" else "numba"
        return chosen

    def _begin(self, positions: np.ndarray) -> None:
        """Start at positions ``(chains, d)``, with the settings as they are."""
        tuning = self.tuning
        self.engine = self.sampler.engine(tuning, self.backend)
        z = tuning.coordinates(positions)
        # Fitted coordinates have the posterior around zero.
        fitted = bool(tuning.places) and tuning.places[0].coordinates.dense
        origin = np.zeros_like(z) if fitted else z
        self.state = self.engine.init(z, self._seeds, origin)
        self.state["update"] = np.full(len(z), self.updates, np.uint32)
        if tuning.places:
            noise = np.stack([place.noise for place in tuning.of_chains()])
            settled = self.sampler.dynamics.settled(tuning.step_size, noise)
            self.state |= {k: x.astype(self.sampler.potential.dtype) for k, x in settled.items()}
        self._capacity = self._block or self.engine.capacity(len(z))

    @property
    def warmup_updates(self) -> int:
        """Updates that the warm-up cost each chain: tuning draws, and as many as its search."""
        return self.tuning_updates + self.tuning.report.get("search_updates", 0)

    def move(self, point: Point) -> None:
        """Put a single chain at a point, keeping its momentum: other steps may have moved it."""
        position = self.tuning.coordinates(self.sampler.potential.ravel(point)[None])
        self.state |= {"position": position, "finite_position": position}
        self.others = self._others([point])
        if self._warm_up is not None:
            self._warm_up.others |= {k: x[0] for k, x in self.others.items()}
            # What is right for the other variables' start need not be where they have come to.
            if 0 < self.made < self.tune // 2 and self.made.bit_count() == 1:
                here = self.sampler.potential.ravel(point)[None]
                self.tuning, _ = self._warm_up.search(here)
                self._begin(here)

    def advance(self, n_draws: int) -> Draws:
        """Next block of at most `n_draws` draws of every chain.

        Raises
        ------
        ChainStuckError
            If a chain can't move on.
        ValueError
            If the schedule gives no step size for the next draw. The draws before it are made: a
            block ends where the schedule does.
        """
        sampler, tuning, started = self.sampler, self.tuning, time.perf_counter()
        steps = tuning.steps_per_draw
        if self.made < self.tune:
            # The settings change half-way through the tuning, and the updates of a draw after it.
            steps = tuning.tuning_steps_per_draw
            half = self.tune // 2
            n_draws = min(n_draws, (half if self.made < half else self.tune) - self.made)
        n = max(1, min(n_draws, self._capacity, self._next_block))
        factors = schedules.factors(sampler.schedule, self.updates, n * steps, least=steps)
        n = len(factors) // steps
        step_sizes = tuning.step_size * factors[: n * steps].reshape(n, steps)
        draws, self.state = self.engine.run(
            self.state,
            step_sizes,
            tuning.step_size,
            self.others,
            self._capacity,
            tuning.parameters(),
        )
        self.updates += step_sizes.size
        self.made, self.steps = self.made + n, steps
        if self.made <= self.tune:
            self.tuning_updates = self.updates
        self._refuse_stuck(draws, steps)
        pace = _BLOCK_SECONDS / max(time.perf_counter() - started, 1e-9)
        self._next_block = max(1, int(n * min(max(pace, 0.25), 4.0)))
        if self._warm_up is not None and self.made <= self.tune // 2:
            self._remember(draws.positions)
            if self.made == self.tune // 2:
                visited = np.concatenate(self._visited, axis=1)
                self.tuning = self._warm_up.settle(tuning, visited)
                self._begin(draws.positions[:, -1])
                self._warm_up, self._visited = None, []
        return draws

    def _remember(self, positions: np.ndarray) -> None:
        """Keep some positions of the second quarter of the tuning, however it is cut in blocks.

        Before, the chains may still have been on their way.
        """
        chains, n, _ = positions.shape
        first, last = self.tune // 4, self.tune // 2 - 1
        spacing = -(-(last + 1 - first) // max(_OF_CHAIN, _REMEMBERED // chains))
        numbers = np.arange(self.made - n, self.made)
        wanted = (numbers >= first) & ((last - numbers) % spacing == 0)
        self._visited.append(positions[:, wanted])

    def _evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.engine.evaluate(positions, self.others, self._seeds[0])

    def _refuse_stuck(self, draws: Draws, steps_per_draw: int) -> None:
        rejected = np.asarray(self.state["rejected_in_a_row"])
        if rejected.max() < STUCK:
            return
        chain, h = int(rejected.argmax()), self.tuning.step_size
        dtype = self.sampler.potential.dtype
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
        stuck_draws = -(-2 * int(rejected[chain]) // steps_per_draw)
        good = max(0, draws.positions.shape[1] - stuck_draws)
        error.draws = Draws(
            draws.positions[:, :good], {k: x[:, :good] for k, x in draws.statistics.items()}
        )
        raise error

    def _others(self, points: Sequence[Point]) -> dict[str, np.ndarray]:
        names = [v.name for v in self.sampler.potential.others]
        return {name: np.stack([point[name] for point in points]) for name in names}

    def _starts(
        self,
        points: Sequence[Point],
        rngs: Sequence[np.random.Generator],
        evaluate: Evaluate,
        network: bool = False,
    ) -> np.ndarray:
        sampler = self.sampler
        from_prior: Any = sampler.start == "prior"
        if sampler.start == "auto" and network:
            from_prior = "where possible"
        return starting_positions(sampler.potential, points, rngs, evaluate, from_prior)


def _has_jax() -> bool:
    # Not imported to see: that takes a while. None is what a module is that may not be imported.
    if "jax" in sys.modules:
        return sys.modules["jax"] is not None
    return importlib.util.find_spec("jax") is not None


def _require_jax() -> None:
    if not _has_jax():
        raise ImportError(
            'backend="jax" compiles updates with JAX, which is not installed: pip install jax. '
            'Or use backend="numba".'
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
