"""A step that owns all variables: PyMC keeps its chains together, chain 0 advances all."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.random import Generator
from pymc.step_methods.arraystep import PopulationArrayStepShared
from pymc.step_methods.compound import StepMethodState

from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.output import warn_of_large_output
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.pymc_step.messages import (
    log_phase,
    log_start,
    pointing_to_sample,
    silence_population_messages,
    warn_of_callback,
)
from pymc_sgmcmc.pymc_step.variant import Kind
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.report.signs import Finding, log_problems, signs_of_step
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.run.starts import Point


class Population:
    """The chains of one `pm.sample` call, advanced by chain 0 and read by all."""

    def __init__(self, points: list[Point]) -> None:
        self.points = points
        self.rngs: list[Generator] = []
        self.tune, self.total = 0, 0
        self.run: Run | None = None
        self._block: Draws | None = None
        self._statistics: list[dict[str, np.ndarray]] = []

    def start(self, compiled: Compiled) -> None:
        """Start the chains, which a warm-up may take long for: the log says what is done."""
        kept = self.total - self.tune
        run = Run(compiled, self.points, self.rngs, self.tune, kept, phase=log_phase)
        self.run = run.start()
        log_start(run)

    def draw(self, number: int, report: Callable[[Run], Report]) -> tuple[Draws, int]:
        """Block that holds draw `number`, and its place there; made when first asked for."""
        run = self.run
        assert run is not None
        while number >= run.made:
            with pointing_to_sample():
                self._block = run.advance(self.total - run.made)
            self._statistics.append(self._block.statistics)
            if run.made == self.total:
                log_problems(partial(self._problems, report))
        assert self._block is not None
        return self._block, number - run.made + self._block.positions.shape[1]

    def _problems(self, report: Callable[[Run], Report]) -> list[Finding]:
        """Signs of trouble in the draws after tuning."""
        assert self.run is not None
        names = self._statistics[0]
        whole = {k: np.concatenate([s[k] for s in self._statistics], axis=1) for k in names}
        return signs_of_step({k: x[:, self.tune :] for k, x in whole.items()}, report(self.run))


class InPopulation(Kind, PopulationArrayStepShared):
    """What a `StochasticGradientStep` that owns all variables is besides."""

    _state_class = StepMethodState
    owns_all = True

    def astep(self, q0: Any) -> NoReturn:
        """Never called: `step` moves points, not ravelled vectors."""
        raise NotImplementedError

    def __copy__(self) -> InPopulation:
        """One chain's step: the settings and what was compiled are shared."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._template = self
        return other

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse to be sent to another process; PyMC then keeps all chains in this one."""
        raise pickle.PicklingError("All chains of this step advance in one compiled call.")

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        """Take this chain's generator and the number of draws to come."""
        super().setup_chain(rng, tune, draws)
        self.compiled.plan.settings.engine.require()
        self._tune, self._total = tune, tune + draws

    def link_population(self, population: list[Point], chain_index: int) -> None:
        """Join the population of this `pm.sample` call."""
        template = self._template
        if chain_index == 0:
            potential = self.compiled.plan.potential
            n_draws = self._total * len(population)
            warn_of_large_output(potential.model, n_draws, point=potential.initial_point)
            template._population = Population(population)
            warn_of_callback()
        self._population = template._population
        self._population.rngs.append(self.rng)
        self._population.tune, self._population.total = self._tune, self._total
        self._chain, self._number, self._last = chain_index, 0, population[chain_index]
        if chain_index == len(population) - 1:
            del template._population  # its draws go when the chains do
            self._population.start(self.compiled)
            silence_population_messages(True)

    def step(self, point: Point) -> tuple[Any, Any]:
        """Give this chain's next draw; with it, chain 0 makes those of all chains."""
        if self._number == 0:
            silence_population_messages(False)
        if point is not self._last:
            raise ValueError(
                f"Another step moves variables that {type(self).__name__} samples, which is made "
                f"to sample all of them alone. Give each step its own: step=["
                f"{type(self).__name__}(vars=[...], ...), ...]."
            )
        block, place = self._population.draw(self._number, self.run_report)
        self._number += 1
        if self._number in (1, self._tune + 1):  # the last: with what the warm-up found
            self._reported.found = self.run_report(self._population.run)
        self._last, stats = self._result(point, block, self._chain, place)
        return self._last, stats
