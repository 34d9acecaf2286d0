"""One run, phase by phase: search, tune, settle, freeze.

The search finds the posterior's mass, its scale and a step size to begin with. The chains tune with
these, in rounds: at the end of each the warm-up looks at where they have come to, and what it
settles on in the last stays frozen. A plan that leaves nothing to be found begins frozen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pymc_sgmcmc import processes
from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.making import making
from pymc_sgmcmc.model.graphs import convolves
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.tuning import Tuning
from pymc_sgmcmc.run.chains import Chains
from pymc_sgmcmc.run.heat import Heat, cooler
from pymc_sgmcmc.run.starts import Evaluate, Point, starting_positions
from pymc_sgmcmc.run.walkers import check_walkers

if TYPE_CHECKING:
    from pymc_sgmcmc.warmup.base import BaseWarmUp

# Positions that show the warm-up where the chains have come to: of all, and of each at least.
_REMEMBERED, _OF_CHAIN = 512, 8


class Run:
    """One run of some chains; `start` begins it, `advance` goes on.

    Between two blocks, `state` gives all that a run of the same plan, in another process perhaps,
    needs to go on by `restore`: as if it had not stopped, bit for bit.

    Where `jax.distributed` has joined several processes, all make the same run: with the generators
    and starts, the settings found, and the lengths of blocks of the first one.

    Parameters
    ----------
    compiled : Compiled
        The engines of the plan.
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
    tuning_updates : int
        Updates that every chain has made in the tuning draws.
    tuning : Tuning
        What the chains move with; that after the warm-up stays.
    engine : OneEngine
        Which engine advances them.
    """

    tuning: Tuning
    engine: OneEngine

    def __init__(
        self,
        compiled: Compiled,
        points: Sequence[Point],
        rngs: Sequence[np.random.Generator],
        tune: int = 0,
        draws: int = 0,
        block: int | None = None,
        phase: Callable[[str], object] = lambda word: None,
    ) -> None:
        self.compiled, self.tune, self._draws = compiled, tune, draws
        points, rngs = processes.agreed((list(points), list(rngs)))
        check_walkers(len(points), compiled.plan.settings.ensemble)
        self._points, self._rngs, self._tell = points, rngs, phase
        self._seeds = np.stack([rng.integers(2**32, size=2, dtype=np.uint32) for rng in rngs])
        self.chains = Chains(compiled, self._seeds, self._others(points), block)
        self.made = self.steps = self.tuning_updates = 0
        self._warm_up: BaseWarmUp | None = None
        self._visited: list[np.ndarray] = []
        self._heat = Heat(compiled.plan.dynamics.temperature, compiled.plan.potential.size)

    def start(self) -> Run:
        """Find where the chains begin, and what with; nothing is drawn yet.

        Raises
        ------
        ValueError
            If there is something to be found, and no tuning draw to find it in.
        SamplingError
            If the potential or its gradient is not finite at a start.
        """
        with making():
            self.compiled.refresh()
            if self.compiled.plan.warms_up:
                positions = self._search()
            else:
                positions = self._begin_frozen()
            self.tuning, positions = processes.agreed((self.tuning, positions))
            self.chains.begin(self.engine, self.tuning, positions)
        self._tell("Compiling")
        return self

    def state(self) -> dict[str, Any]:
        """What a run of the same plan needs to go on from here.

        Arrays, numbers and words, and the tuning; nothing of it is changed by what comes after.
        """
        return {
            "made": self.made,
            "steps": self.steps,
            "tuning_updates": self.tuning_updates,
            "engine": self.engine.name,
            "tuning": self.tuning,
            "chains": self.chains.saved(),
            "heat": self._heat.state(),
            "visited": list(self._visited),
            "warm_up": None if self._warm_up is None else self._warm_up.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> Run:
        """Go on from what `state` gave, instead of a `start`."""
        self.compiled.refresh()
        candidates = self.compiled.plan.settings.engine.candidates
        self.engine = next(engine for engine in candidates if engine.name == state["engine"])
        self.made, self.steps = state["made"], state["steps"]
        self.tuning_updates, self.tuning = state["tuning_updates"], state["tuning"]
        self._heat.restore(state["heat"])
        self._visited = list(state["visited"])
        if state["warm_up"] is not None:
            from pymc_sgmcmc.warmup.choice import resumed  # SciPy takes a while

            self._warm_up = resumed(self.compiled, self._first_others(), state["warm_up"])
        self.chains.resume(self.engine, self.tuning, state["chains"])
        self._tell("Compiling")
        return self

    def advance(self, n_draws: int) -> Draws:
        """Next block of at most `n_draws` draws of every chain; it ends where a phase does.

        Raises
        ------
        ChainStuckError
            If a chain can't move on.
        ValueError
            If the schedule gives no step size for the next draw.
        """
        if self.made < self.tune:
            return self._tune(n_draws)
        return self._advance(n_draws, self.tuning.steps_per_draw)

    # -- the phases ------------------------------------------------------------------------------

    def _begin_frozen(self) -> np.ndarray:
        """Take what the plan gives, where it leaves nothing to be found."""
        self.tuning = self.compiled.plan.given()
        self.engine = self._choose_engine()
        engine = self.compiled.engine(self.engine)

        def evaluate(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return engine.evaluate(positions, self.chains.others, self._seeds[0])

        return self._starts(evaluate)

    def _search(self) -> np.ndarray:
        """Find mass, scale and step size, from where the chains start to where they begin."""
        if self.tune == 0:
            raise ValueError(
                "tune=0 leaves no draws to find the step size in. Use tune=1000, or give "
                "step_size=... to the step, and no warmup=...."
            )
        self._tell("Searching")
        from pymc_sgmcmc.warmup.choice import warm_up  # SciPy takes a while

        rng = np.random.default_rng(self._seeds.ravel())
        first = self._first_others()
        self._warm_up, self.tuning, positions = warm_up(self.compiled, first, rng, self._starts)
        self.engine = self._choose_engine()
        return positions

    def _tune(self, n_draws: int) -> Draws:
        """Move in the settings of the last round, and settle at the end of each."""
        begin, end = self._round()
        draws = self._advance(min(n_draws, end - self.made), self.tuning.tuning_steps_per_draw)
        if self._warm_up is not None:
            self._remember(draws, begin, end)
            if self.made == end < self.tune:
                self._settle(processes.whole(draws.positions[:, -1], draws.chains))
        return draws

    def _round(self) -> tuple[int, int]:
        """First draw of this round of the tuning, and the first after it."""
        rounds = () if self._warm_up is None else self._warm_up.rounds
        ends = [int(share * self.tune) for share in rounds]
        begin = max((end for end in ends if end <= self.made), default=0)
        return begin, min((end for end in ends if end > self.made), default=self.tune)

    def _settle(self, positions: np.ndarray) -> None:
        """Measure where the chains have come to; what is found in the last round stays frozen."""
        assert self._warm_up is not None
        visited = np.ascontiguousarray(np.concatenate(self._visited, axis=1))
        with making():
            self.tuning = processes.agreed(self._warm_up.settle(self.tuning, visited))
            self.chains.begin(self.engine, self.tuning, positions)
        self._visited = []
        self._watch(self.steps)
        if self._round()[1] == self.tune:
            self._warm_up = None

    def _remember(self, draws: Draws, begin: int, end: int) -> None:
        """Keep some positions of the second half of a round, however it is cut in blocks.

        Before, the chains may still have been on their way.
        """
        chains, n = len(self._points), draws.n
        first, last = (begin + end) // 2, end - 1
        spacing = -(-(last + 1 - first) // max(_OF_CHAIN, _REMEMBERED // chains))
        numbers = np.arange(self.made - n, self.made)
        wanted = (numbers >= first) & ((last - numbers) % spacing == 0)
        if wanted.any():
            self._visited.append(processes.whole(draws.positions[:, wanted], draws.chains))

    # -- a chain beside other steps --------------------------------------------------------------

    def move(self, point: Point) -> None:
        """Put a single chain at a point, keeping its momentum: other steps may have moved it."""
        here = self.compiled.plan.potential.ravel(point)[None]
        self.chains.move(here, self._others([point]))
        if self._warm_up is None:
            return
        self._warm_up.others |= self._first_others()
        # What is right for the other variables' start need not be where they have come to.
        if 0 < self.made < self.tune // 2 and self.made.bit_count() == 1:
            self.tuning, _ = self._warm_up.search(here)
            self.chains.begin(self.engine, self.tuning, here)

    # -- what the phases share -------------------------------------------------------------------

    @property
    def updates(self) -> int:
        """Updates that every chain has made."""
        return self.chains.updates

    def _advance(self, n_draws: int, steps: int) -> Draws:
        if steps != self.steps:
            self._watch(steps)
        draws = self.chains.advance(min(n_draws, self._heat.left), steps)
        self.made, self.steps = self.made + draws.n, steps
        self._cool(draws)
        if self.made <= self.tune:
            self.tuning_updates = self.chains.updates
        self.chains.refuse_stuck(draws, steps)
        return draws

    def _watch(self, steps: int) -> None:
        """Begin to look for heat anew, by the friction that chains move with."""
        friction = self.chains.dynamics.friction(self.tuning.step_size, np.zeros(1))
        self._heat.begin(float(friction[0]), steps)

    def _cool(self, draws: Draws) -> None:
        """Halve a step that was found, where it heats chains.

        While they are still on their way, the potential energy that they lose heats them, too.
        """
        hot = self._heat.hot(draws)
        if self._heat.left > 0:
            return
        if hot.size and self._warm_up is None and self.compiled.plan.settings.step_size is None:
            self.tuning = cooler(self.tuning, hot)
            self.chains.cool(self.tuning)
        self._watch(self.steps)

    def _choose_engine(self) -> OneEngine:
        """Engine of this run; the first in the order of preference that can compile the model."""
        plan, tuning = self.compiled.plan, self.tuning
        updates = self.tune * tuning.tuning_steps_per_draw + self._draws * tuning.steps_per_draw
        numbers = sum(math.prod(x.type.shape) for x in plan.potential.inputs()[2])
        chosen = plan.settings.engine.choose(
            plan.potential.size,
            numbers,
            len(self._points),
            updates,
            convolves(plan.potential.model),
        )
        *first, last = chosen
        for engine in first:
            try:
                self.compiled.engine(engine, tuning)
            except NotImplementedError:
                continue
            return engine
        return last

    def _first_others(self) -> dict[str, np.ndarray]:
        """Values of the other variables in the first chain, for the warm-up."""
        return {k: x[0] for k, x in self.chains.others.items()}

    def _others(self, points: Sequence[Point]) -> dict[str, np.ndarray]:
        names = [v.name for v in self.compiled.plan.potential.others]
        return {name: np.stack([point[name] for point in points]) for name in names}

    def _starts(self, evaluate: Evaluate, network: bool = False) -> np.ndarray:
        """Where the chains start, as the plan asks for it, ``(chains, d)``."""
        start = self.compiled.plan.settings.warmup.start
        from_prior: Any = start == "prior"
        if start == "auto" and network:
            from_prior = "where possible"
        return starting_positions(
            self.compiled.plan.potential, self._points, self._rngs, evaluate, from_prior
        )
