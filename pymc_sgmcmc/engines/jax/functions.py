"""PyTensor graphs as JAX functions."""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from pymc.pytensorf import compile as compile_graph
from pytensor.graph.basic import Variable

from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines.programs import (
    fresh_program,
    position_program,
    transition_program,
)
from pymc_sgmcmc.estimators.estimators import Estimator


def compile_for(function, *args):
    """Compile a function for arguments of such shapes and types."""
    with warnings.catch_warnings():
        # PyTensor names 64-bit types in places where JAX has 32 bits: as meant.
        warnings.filterwarnings("ignore", message=".*requested dtype.*")
        return jax.jit(function).lower(*args).compile()


def compile_position(estimator: Estimator):
    """JAX function (coordinates, *parameters) → (position,)."""
    return jax_function(*position_program(estimator))


def compile_transition(dynamics: Dynamics, size: int, dtype: str):
    """JAX function (position, *auxiliaries, gradient, noise, h, h₀) → (new ones, *statistics)."""
    return jax_function(*transition_program(dynamics, size, dtype))


def compile_fresh(dynamics: Dynamics, size: int, dtype: str):
    """JAX function (position, noise) → auxiliaries of a chain that starts."""
    program = fresh_program(dynamics, size, dtype)
    return jax_function(*program) if program.outputs else lambda position, noise: ()


def jax_function(inputs: Sequence[Variable], outputs: Sequence[Variable]):
    """PyTensor graph as a JAX function.

    Raises
    ------
    NotImplementedError
        If an Op of the graph has no JAX counterpart; the message names it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipping .* Op", category=UserWarning)
        try:
            function = compile_graph(
                list(inputs), list(outputs), mode="JAX", on_unused_input="ignore", trust_input=True
            )
        except NotImplementedError as error:
            # PyTensor's message goes on with the whole inside of an Op.
            op = str(error).partition("{")[0].strip()
            raise NotImplementedError(f"PyTensor can't translate it to JAX ({op}).") from error
    single = [getattr(v.type, "dtype", None) == "float32" for v in outputs]

    def typed(*args):
        # With 64-bit integers about, JAX makes float64 of some numbers that are float32 here.
        results = function.vm.jit_fn(*args)
        return tuple(
            x.astype(jnp.float32) if narrow else x
            for x, narrow in zip(results, single, strict=True)
        )

    return typed
