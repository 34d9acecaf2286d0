"""Activation functions by name, and the gain of weights that suits each."""

import math
from collections.abc import Callable

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import one_of

Function = Callable[[TensorVariable], TensorVariable]
Activation = str | Function | None

# Klambauer et al. (2017), Self-normalizing neural networks, equation 14.
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def selu(x: TensorVariable) -> TensorVariable:
    """λ x for positive x, λ α (eˣ − 1) for negative x."""
    return _SELU_SCALE * pt.where(x > 0, x, _SELU_ALPHA * pt.expm1(pt.minimum(x, 0)))


def relu(x: TensorVariable) -> TensorVariable:
    """The positive part of x."""
    return pt.maximum(x, 0)


def gelu(x: TensorVariable) -> TensorVariable:
    """Product x Φ(x) with the normal distribution function Φ."""
    return x * (1 + pt.erf(x / math.sqrt(2))) / 2


def silu(x: TensorVariable) -> TensorVariable:
    """Product x σ(x) with the logistic function σ."""
    return x * pt.sigmoid(x)


def identity(x: TensorVariable) -> TensorVariable:
    """Give x as it is."""
    return x


# With weights of standard deviation gain/√fan_in, signals neither vanish nor explode over a few
# layers.
_NAMED: dict[str, tuple[Function, float]] = {
    "tanh": (pt.tanh, 5 / 3),
    "relu": (relu, math.sqrt(2)),
    "selu": (selu, 1.0),
    "gelu": (gelu, math.sqrt(2)),
    "silu": (silu, math.sqrt(2)),
    "softplus": (pt.softplus, 1.0),
    "sigmoid": (pt.sigmoid, 1.0),
    "identity": (identity, 1.0),
}


def resolve(activation: Activation) -> tuple[Function, float]:
    """Function and gain of an activation; the gain of a function of one's own is 1.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if activation is None:
        return identity, 1.0
    if callable(activation):
        return _of_tensors(activation), 1.0
    own = ", or a function of a tensor or None"
    return _NAMED[one_of("activation", activation, list(_NAMED), otherwise=own)]


def _of_tensors(function: Function) -> Function:
    """The same function; a TypeError where what it gives is no tensor."""

    def checked(x: TensorVariable) -> TensorVariable:
        result = function(x)
        if not isinstance(result, Variable):
            raise TypeError(
                f"activation must be a function of a tensor that gives one; {function!r} gave "
                f"{result!r}."
            )
        return result

    return checked
