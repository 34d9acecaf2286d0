"""A step method that advances its chains in one of the two ways."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.pymc_step.attributes import Reported
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.run.phases import Run


class Kind:
    """What `Lone` and `InPopulation` find in the `StochasticGradientStep` that they are part of."""

    owns_all: bool
    compiled: Compiled
    rng: np.random.Generator
    run_report: Callable[[Run | None], Report]
    _reported: Reported
    _result: Callable[..., Any]


@functools.cache
def variant(step: Any, kind: Any) -> Any:
    """Step method of a kind: `Lone` or `InPopulation`, and an instance of the step all the same."""
    return type(
        step.__name__, (step, kind), {"__module__": step.__module__, "__doc__": step.__doc__}
    )
