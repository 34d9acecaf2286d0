"""Every sampler there is: those of the package, and those of the scripts in examples/.

A new one is tested with the others as soon as its file is there.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

import pymc_sgmcmc  # noqa: F401  (its step methods are subclasses once it is imported)
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep

EXAMPLES = Path(__file__).parent.parent / "examples"


def _subclasses(cls: type) -> list[type]:
    return [s for child in cls.__subclasses__() for s in (child, *_subclasses(child))]


def every_sampler() -> list[type[StochasticGradientStep]]:
    """Step methods that name dynamics of their own, by name."""
    sys.path.append(str(EXAMPLES))
    for path in EXAMPLES.glob("*.py"):
        if "(StochasticGradientStep)" in path.read_text():
            importlib.import_module(path.stem)
    with_dynamics = {
        step.__name__: step
        for step in _subclasses(StochasticGradientStep)
        if "dynamics_class" in vars(step) and step.__module__.split(".")[0] != "tests"
    }
    return [with_dynamics[name] for name in sorted(with_dynamics)]


SAMPLERS = every_sampler()
OF_THE_PACKAGE = [s for s in SAMPLERS if s.__module__.startswith("pymc_sgmcmc.")]


def mostly_slow(*quick: type[StochasticGradientStep]) -> list[Any]:
    """All of them, to parametrise a test that only a few need in the quick suite."""
    return [s if s in quick else pytest.param(s, marks=pytest.mark.slow) for s in SAMPLERS]
