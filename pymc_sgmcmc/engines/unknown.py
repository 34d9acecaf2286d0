"""Which variables of a model an engine can't compile."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytensor

from pymc_sgmcmc.engines.programs import Program
from pymc_sgmcmc.engines.settings import Auto, OneEngine
from pymc_sgmcmc.model.potential import StochasticPotential


@contextmanager
def naming_variables(potential: StochasticPotential, engine: OneEngine) -> Iterator[None]:
    """Have the error of an engine that can't compile the model say which variables, and the way.

    Parameters
    ----------
    potential : StochasticPotential
    engine : OneEngine

    Raises
    ------
    NotImplementedError
        In place of the one that is raised in this context.
    """
    try:
        yield
    except NotImplementedError as error:
        names = ", ".join(map(repr, _unknown(potential, engine)))
        whose = f"The gradient of {names}" if names else "The model's gradient"
        way = "Write that part of the model with other operations: no engine knows it."
        for other in Auto().candidates:
            if other.name != engine.name and not _unknown(potential, other):
                way = f'Use engine="{other.name}".'
        raise NotImplementedError(
            f'{whose} can\'t be compiled by engine="{engine.name}": {error} {way}'
        ) from error


def _unknown(potential: StochasticPotential, engine: OneEngine) -> list[str]:
    """Names of the variables whose own term of log p, with its gradient, can't be compiled."""
    model = potential.model
    found = []
    with model, warnings.catch_warnings():
        # A JAX function in the model is traced in 32 bits: only whether it can be is of interest.
        warnings.filterwarnings("ignore", message=".*requested dtype.*")
        for rv, term in potential.terms.all():
            value: Any = term.sum()
            gradients: Any = pytensor.grad(
                value, list(potential.value_vars), disconnected_inputs="ignore"
            )
            try:
                engine.translate(Program(list(model.value_vars), [value, *gradients]))
            except NotImplementedError:
                found.append(rv.name)
    return found
