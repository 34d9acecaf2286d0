"""A step that owns some of the variables: its chain advances from the point it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymc.step_methods.compound import BlockedStep, StepMethodState
from pymc.step_methods.state import dataclass_state

from pymc_sgmcmc.pymc_step.variant import Kind, variant
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.run.starts import Point


@dataclass_state
class LoneState(StepMethodState):
    """State of a step that advances its own chain."""

    chain_state: dict[str, np.ndarray] | None = None


class Lone(Kind, BlockedStep):
    """What a `StochasticGradientStep` that owns some of the variables is besides."""

    _state_class = LoneState
    owns_all = False
    _run: Run | None = None

    @property
    def chain_state(self) -> dict[str, np.ndarray] | None:
        """Momentum, thermostat, key and counters of the chain."""
        if self._run is None:
            return None
        return {name: np.asarray(x) for name, x in self._run.chains.state.items()}

    @chain_state.setter
    def chain_state(self, state: dict[str, np.ndarray] | None) -> None:
        if state is None:
            self._run = None
        elif self._run is not None:
            self._run.chains.state = dict(state)
            self._run.chains.updates = int(state["update"][0])

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        """Forget the chain before, and refuse a process in which the engine can't run."""
        super().setup_chain(rng, tune, draws)
        self.compiled.plan.settings.engine.require()
        self._run, self._tune, self._total = None, tune, tune + draws

    def step(self, point: Point) -> tuple[Any, Any]:
        """Advance this chain by one draw."""
        if self._run is None:
            kept = self._total - self._tune
            self._run = Run(self.compiled, [point], [self.rng], self._tune, kept, block=1).start()
        else:
            self._run.move(point)
        draws = self._run.advance(1)
        if self._run.made in (1, self._tune, self._total):
            self._reported.found = self.run_report(self._run)
        return self._result(point, draws, 0, 0)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _restore, (type(self).__mro__[1], {**self.__dict__, "_run": None})


def _restore(step: type, state: dict[str, Any]) -> Any:
    """Unpickle a lone step."""
    lone: Any = object.__new__(variant(step, Lone))
    lone.__dict__.update(state)
    return lone
