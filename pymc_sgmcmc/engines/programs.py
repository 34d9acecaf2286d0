"""The graphs that every engine compiles: gradient, position, transition and fresh auxiliaries."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant
from pytensor.graph.op import Op
from pytensor.graph.traversal import applys_between
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.graphs import rebuild
from pymc_sgmcmc.model.potential import StochasticPotential


class Program(NamedTuple):
    """A function that is not compiled yet."""

    inputs: list[Any]
    outputs: list[Any]


def gradient_program(
    estimator: Estimator, length: int | None = None, translated: Op | None = None
) -> Program:
    """(position, *others, *parameters, *rows) → (value, gradient).

    Parameters
    ----------
    estimator : Estimator
    length : int, optional
        Number of rows that stand for all; a batch when None.
    translated : Op, optional
        (position, *others, *rows) → (value, gradient), as an engine knows it, in place of the
        potential's own graph.
    """
    position, others, rows = estimator.potential.inputs(length)
    parameters = _symbols(estimator)

    def estimate(at: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
        if translated is None:
            return estimator.potential.value_and_gradient(at, others, rows)
        value, gradient = cast(list[TensorVariable], translated(at, *others, *rows))
        return value, gradient

    outputs = estimator.value_and_gradient(position, estimate, parameters)
    return Program([position, *others, *parameters.values(), *rows], list(outputs))


def weighted_program(potential: StochasticPotential, length: int) -> Program:
    """(position, *others, weights, *rows) → (value, gradient), of rows that count by weights.

    Parameters
    ----------
    potential : StochasticPotential
        One that `separates`.
    length : int
        Number of rows that stand for all, which is the sum of the weights.
    """
    position, others, rows = potential.inputs(length)
    weights = pt.tensor("weights", dtype=potential.dtype, shape=(length,))
    outputs = potential.value_and_gradient(position, others, rows, weights)
    return Program([position, *others, weights, *rows], list(outputs))


def rows_that_count(
    rows: Sequence[np.ndarray], length: int, dtype: str
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Weights, and rows in the number that a `weighted_program` takes.

    Where there are fewer, some stand there a second time, and count for nothing.

    Returns
    -------
    weights : ndarray
        Shape ``(length,)``.
    rows : list of ndarray
        ``(length, ...)`` each.
    """
    n = len(rows[0])
    weights = np.zeros(length, dtype)
    weights[:n] = length / n
    if n < length:
        rows = [np.resize(x, (length, *x.shape[1:])) for x in rows]
    return weights, list(rows)


def position_program(estimator: Estimator) -> Program:
    """(coordinates, *parameters) → (position,)."""
    coordinates, _, _ = estimator.potential.inputs()
    parameters = _symbols(estimator)
    position = estimator.position(coordinates, parameters)
    return Program([coordinates, *parameters.values()], [position])


def transition_program(dynamics: Dynamics, shape: int | tuple[int, ...], dtype: str) -> Program:
    """(position, *auxiliaries, gradient, noise, h, h₀) → (position, *auxiliaries, *statistics).

    All of the results have the shape of the position: a vector's, where it is a number, or another
    one for what `is_elementwise`.
    """
    names = ("position", *dynamics.auxiliaries, "gradient", "noise")
    position, *auxiliaries, gradient, noise = _vectors(names, shape, dtype)
    h, h0 = pt.scalar("step_size", dtype=dtype), pt.scalar("base_step_size", dtype=dtype)
    state = dict(zip(dynamics.auxiliaries, auxiliaries, strict=True))
    new = dynamics.transition(position, state, gradient, noise, h, h0)
    for what in ("auxiliaries", "statistics"):
        named, given = list(getattr(dynamics, what)), list(getattr(new, what))
        if set(named) != set(given):
            raise ValueError(
                f"{type(dynamics).__name__}.{what} names {named}, and its transition gives "
                f"{given}: both must be the same."
            )
    outputs = [
        new.position,
        *(new.auxiliaries[k] for k in dynamics.auxiliaries),
        *(new.statistics[k] for k in dynamics.statistics),
    ]
    inputs = [position, *auxiliaries, gradient, noise, h, h0]
    return Program(inputs, rebuild(outputs, {}, dtype))


def fresh_program(dynamics: Dynamics, shape: int | tuple[int, ...], dtype: str) -> Program:
    """(position, noise) → auxiliaries of a chain that starts, in the position's shape."""
    position, noise = _vectors(("position", "noise"), shape, dtype)
    fresh = dynamics.init(position, noise)
    outputs = [fresh[k] for k in dynamics.auxiliaries]
    return Program([position, noise], rebuild(outputs, {}, dtype))


def is_elementwise(program: Program) -> bool:
    """Whether a program does the same to all numbers of its vectors, each by itself."""
    nodes = list(applys_between(program.inputs, program.outputs))
    constants = (v for node in nodes for v in node.inputs if isinstance(v, Constant))
    return all(isinstance(node.op, Elemwise | DimShuffle) for node in nodes) and not any(
        math.prod(v.data.shape) > 1 for v in constants
    )


def _vectors(
    names: Sequence[str], shape: int | tuple[int, ...], dtype: str
) -> list[TensorVariable]:
    shape = (shape,) if isinstance(shape, int) else shape
    return [pt.tensor(name, dtype=dtype, shape=shape) for name in names]


def _symbols(estimator: Estimator) -> dict[str, Any]:
    dtype = estimator.potential.dtype
    return {k: pt.tensor(k, dtype=dtype, shape=v) for k, v in estimator.parameters.items()}
