"""The engines of a plan, each compiled once, with the data as they are now."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines.base import Engine
from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.engines.unknown import naming_variables
from pymc_sgmcmc.estimators.estimators import Clipped, ControlVariate, Estimator, Preconditioned
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.plan.plan import Plan
from pymc_sgmcmc.plan.tuning import Place, Tuning


class _Kind(NamedTuple):
    """What of a place is compiled; all else are numbers."""

    dense: bool
    axes: int | None
    blocks: bool
    controlled: bool


def _kind(place: Place) -> _Kind:
    c = place.coordinates
    axes = None if c.axes is None else len(c.axes.left)
    return _Kind(c.dense, axes, c.blocks is not None, place.anchor is not None)


class Compiled:
    """What was compiled for a plan, and is used again by every run of it.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    plan : Plan
        That of the model as it was when it was looked at last.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._engines: dict[Any, Engine] = {}

    def engine(
        self,
        settings: OneEngine | None = None,
        tuning: Tuning | None = None,
        dynamics: Dynamics | None = None,
    ) -> Engine:
        """Engine for the coordinates of a tuning; the model's own when None.

        Parameters
        ----------
        settings : OneEngine, optional
            Of which engine; the plan's first candidate when None.
        tuning : Tuning, optional
        dynamics : Dynamics, optional
            Other dynamics than the plan's.

        Raises
        ------
        NotImplementedError
            If it can't compile the model; the message names variables and what to do.
        """
        plan = self.plan
        settings = settings or plan.settings.engine.candidates[0]
        dynamics = dynamics or plan.dynamics
        places = tuning.places if tuning is not None else ()
        kind = _kind(places[0]) if places else None
        key = settings, kind, dynamics
        with naming_variables(plan.potential, settings):
            if key not in self._engines:
                of_same = (e for (whose, *_), e in self._engines.items() if whose == settings)
                estimator = self._estimator(kind)
                batches = plan.settings.batches
                made = settings.engine(estimator, dynamics, next(of_same, None), batches)
                self._engines[key] = made
            if tuning is not None:  # chains are to move by it
                self._engines[key].prepare()
        return self._engines[key]

    def refresh(self) -> None:
        """Take the data as they are now; compile anew only if more than those changed.

        Raises
        ------
        ValueError
            If variables were added to the model or taken from it.
        SamplingError
            If the log posterior of new row data is not finite at the model's initial point.
        """
        self.plan.settings.engine.require()
        before = self.plan.potential.rows_digest
        if not self.plan.potential.is_current():
            self.plan = self.plan.of_changed_model()
            self._engines = {}
        if self.plan.potential.rows_digest == before:
            return
        loaded: dict[OneEngine, Engine] = {}
        for (settings, *_), engine in self._engines.items():
            if settings in loaded:
                engine.share_rows(loaded[settings])
            else:
                engine.load(self._potential.row_arrays())
                loaded[settings] = engine

    def release(self) -> None:
        """Give back memory that engines need for row data, until the next run."""
        for engine in self._engines.values():
            engine.release()

    @contextmanager
    def weighing_once(self, settings: OneEngine) -> Iterator[Engine]:
        """Engine in the model's own coordinates, the noise of whose gradient is that of rows.

        Balanced ones have the roots of their weights, so that the variance is (N/B) Σ (∇ log p)²
        as of independent batches; the mean is that of nothing.
        """
        engine = self.engine(settings)
        if not self._potential.balanced:
            yield engine
            return
        kept = copy.copy(engine)
        engine.load(self._potential.row_arrays(power=0.5))
        try:
            yield engine
        finally:
            engine.share_rows(kept)

    @property
    def _potential(self) -> StochasticPotential:
        """Potential that chains follow."""
        plan = self.plan
        balanced = plan.settings.batches == "balanced"
        return plan.potential.in_balance() if balanced else plan.potential

    def _estimator(self, kind: _Kind | None) -> Estimator:
        """Estimator in coordinates of a kind, or in the model's own."""
        estimator = Estimator(self._potential)
        if kind is not None and kind.controlled:
            estimator = ControlVariate(estimator)
        if kind is not None:
            estimator = Preconditioned(estimator, kind.dense, kind.axes, kind.blocks)
        length = self.plan.settings.clip_gradient
        # What a warm-up looks at is the gradient itself.
        if length is not None and (kind is not None or not self.plan.warms_up):
            estimator = Clipped(estimator, length)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions and device arrays stay behind; another process makes its own.
        return {**self.__dict__, "_engines": {}}
