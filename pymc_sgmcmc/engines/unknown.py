"""Which variables of a model a backend can't compile."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytensor

from pymc_sgmcmc.engines.programs import Program
from pymc_sgmcmc.model.potential import StochasticPotential


@contextmanager
def naming_variables(potential: StochasticPotential, backend: str) -> Iterator[None]:
    """Have the error of a backend that can't compile the model say which variables, and the way.

    Parameters
    ----------
    potential : StochasticPotential
    backend : {"jax", "numba"}

    Raises
    ------
    NotImplementedError
        In place of the one that is raised in this context.
    """
    try:
        yield
    except NotImplementedError as error:
        names = ", ".join(map(repr, _unknown(potential, backend)))
        whose = f"The gradient of {names}" if names else "The model's gradient"
        other = "numba" if backend == "jax" else "jax"
        way = "Write that part of the model with other operations: neither backend knows it."
        if not _unknown(potential, other):
            way = f'Use backend="{other}".'
        raise NotImplementedError(
            f'{whose} can\'t be compiled by backend="{backend}": {error} {way}'
        ) from error


def _unknown(potential: StochasticPotential, backend: str) -> list[str]:
    """Names of the variables whose own term of log p, with its gradient, can't be compiled."""
    model = potential.model
    terms = [*potential.priors, *potential.likelihoods, *potential.potentials]
    variables = [*model.free_RVs, *model.observed_RVs, *model.potentials]
    found = []
    with model, warnings.catch_warnings():
        # A JAX function in the model is traced in 32 bits: only whether it can be is of interest.
        warnings.filterwarnings("ignore", message=".*requested dtype.*")
        for rv, term in zip(variables, terms, strict=True):
            value: Any = term.sum()
            gradients: Any = pytensor.grad(
                value, list(potential.value_vars), disconnected_inputs="ignore"
            )
            try:
                _compile(Program(list(model.value_vars), [value, *gradients]), backend)
            except NotImplementedError:
                found.append(rv.name)
    return found


def _compile(program: Program, backend: str) -> None:
    if backend == "numba":
        from pymc_sgmcmc.engines.numba.functions import numba_function

        numba_function(program)
    else:
        import jax

        from pymc_sgmcmc.engines.jax.functions import jax_function

        with jax.enable_x64(True):
            jax_function(*program)
