"""PyTensor graphs as JAX functions."""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from pymc.pytensorf import compile as compile_graph
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Variable
from pytensor.graph.op import Op
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.link.jax.linker import JAXLinker
from pytensor.link.jax.ops import JAXOp

from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines.jax.kept import compile_or_load
from pymc_sgmcmc.engines.programs import (
    Program,
    fresh_program,
    gradient_program,
    position_program,
    transition_program,
)
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.making import making

# For graphs without derivatives, which are as stable as they were written: XLA does the rest.
_AS_WRITTEN = Mode(JAXLinker(), RewriteDatabaseQuery(include=["minimum_compile", "jax"]))


def compile_for(function, *args):
    """Compile a function for arguments of such shapes and types, or load it from an earlier run."""
    with making(), warnings.catch_warnings():
        # PyTensor names 64-bit types in places where JAX has 32 bits: as meant.
        warnings.filterwarnings("ignore", message=".*requested dtype.*")
        # With the arguments that it does not need, or its text would not tell which it takes.
        return compile_or_load(jax.jit(function, keep_unused=True).lower(*args))


def compile_position(estimator: Estimator):
    """JAX function (coordinates, *parameters) → (position,)."""
    return jax_function(*position_program(estimator), mode=_AS_WRITTEN)


def compile_transition(dynamics: Dynamics, shape: int | tuple[int, ...], dtype: str):
    """JAX function (position, *auxiliaries, gradient, noise, h, h₀) → (new ones, *statistics)."""
    return jax_function(*transition_program(dynamics, shape, dtype), mode=_AS_WRITTEN)


def compile_fresh(dynamics: Dynamics, shape: int | tuple[int, ...], dtype: str):
    """JAX function (position, noise) → auxiliaries of a chain that starts."""
    program = fresh_program(dynamics, shape, dtype)
    if not program.outputs:
        return lambda position, noise: ()
    return jax_function(*program, mode=_AS_WRITTEN)


def compile_gradient(estimator: Estimator, length: int | None, translated: Op):
    """JAX function (position, *others, *parameters, *rows) → (value, gradient)."""
    return jax_function(*gradient_program(estimator, length, translated), mode=_AS_WRITTEN)


class _Translated(JAXOp):
    """A graph that JAX knows, of one name: PyTensor keeps a file for each text of a program."""

    def __str__(self) -> str:
        return "translated"


def translate(program: Program) -> Op:
    """PyTensor graph as a single operation, which JAX knows and nobody need rewrite again."""
    inputs, outputs = ([v.type for v in variables] for variables in program)
    return _Translated(inputs, outputs, jax_function(*program))


def jax_function(inputs: Sequence[Variable], outputs: Sequence[Variable], mode: str | Mode = "JAX"):
    """PyTensor graph as a JAX function, rewritten as a mode says.

    Raises
    ------
    NotImplementedError
        If an Op of the graph has no JAX counterpart; the message names it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipping .* Op", category=UserWarning)
        try:
            function = compile_graph(
                list(inputs), list(outputs), mode=mode, on_unused_input="ignore", trust_input=True
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
