"""Parameters of the laws of observed variables, on the scales on which they are linearised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytensor.tensor as pt
from pymc.model import Model
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor import scalar
from pytensor.graph.basic import Variable
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.basic import (
    BernoulliRV,
    BinomialRV,
    CategoricalRV,
    NormalRV,
    PoissonRV,
)
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.special import Softmax
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.model.rows import ROUTE_A

Function = Callable[[Any], Any]


class Link(NamedTuple):
    """A parameter, and the scale on which it may be any number.

    Attributes
    ----------
    variable : TensorVariable
        In the model's graph: the parameter, or what it was computed from, such as logits.
    forward, backward : callable
        From the variable to that scale, and back.
    """

    variable: TensorVariable
    forward: Function
    backward: Function


class Law(NamedTuple):
    """The law of an observed variable, by what it is linearised in.

    Attributes
    ----------
    rv : TensorVariable
    name : str
        "normal", "bernoulli", "binomial", "categorical" or "poisson".
    links : tuple of Link
        Mean and log of the standard deviation; logit; logit; logits of the classes; log of the
        mean.
    fixed : tuple of TensorVariable
        What else its Fisher information depends on: the n of a binomial law.
    """

    rv: Any
    name: str
    links: tuple[Link, ...]
    fixed: tuple[Any, ...] = ()


def laws_of(model: Model) -> tuple[Law, ...]:
    """Laws of a model's observed variables.

    Raises
    ------
    ValueError
        If the model has none, or one of a law that is not known here.
    """
    if not model.observed_RVs:
        raise ValueError(
            "The model has no observed variable: there is no likelihood to be linearised. Give "
            "data with observed=..., instead of a pm.Potential."
        )
    return tuple(map(_law, model.observed_RVs))


def _law(rv: Any) -> Law:
    node, op = rv.owner, rv.owner.op
    if isinstance(op, MinibatchRandomVariable):
        raise ValueError(f"{rv.name!r} has total_size, which laplace can't do with. {ROUTE_A}")
    parameters = op.dist_params(node) if isinstance(op, RandomVariable) else ()
    if isinstance(op, NormalRV):
        mean, sd = parameters
        return Law(rv, "normal", (_itself(mean), _logarithm(sd)))
    if isinstance(op, BernoulliRV):
        return Law(rv, "bernoulli", (_logit(parameters[0]),))
    if isinstance(op, BinomialRV):
        n, p = parameters
        return Law(rv, "binomial", (_logit(p),), (n,))
    if isinstance(op, CategoricalRV):
        return Law(rv, "categorical", (_logits(parameters[0]),))
    if isinstance(op, PoissonRV):
        return Law(rv, "poisson", (_logarithm(parameters[0]),))
    name = getattr(op, "name", None) or type(op).__name__
    raise ValueError(
        f"The likelihood of {rv.name!r} ({name}) can't be linearised: laplace knows pm.Normal, "
        "pm.Bernoulli, pm.Binomial, pm.Categorical and pm.Poisson. Use one of these, or sample: "
        "pm.sample(step=ATMC(...))."
    )


def _itself(x: Any) -> Link:
    return Link(x, lambda x: x, lambda x: x)


def _logarithm(x: Any) -> Link:
    inner = _argument(x, scalar.Exp)
    return _itself(inner) if inner is not None else Link(x, pt.log, pt.exp)


def _logit(p: Any) -> Link:
    inner = _argument(p, scalar.Sigmoid)
    return _itself(inner) if inner is not None else Link(p, _log_odds, pt.sigmoid)


def _log_odds(p: TensorVariable) -> TensorVariable:
    return pt.log(p) - pt.log1p(-p)


def _logits(p: Any) -> Link:
    node, last = p.owner, p.type.ndim - 1
    if node is not None and isinstance(node.op, Softmax) and node.op.axis in (-1, last, (last,)):
        return _itself(node.inputs[0])
    return Link(p, pt.log, lambda x: pt.special.softmax(x, axis=-1))


def _argument(x: Any, function: type) -> Any:
    """What a function was applied to; None if the variable is no result of it."""
    node = x.owner
    if node is None or not isinstance(node.op, Elemwise):
        return None
    return node.inputs[0] if isinstance(node.op.scalar_op, function) else None


def as_value_variable(model: Model, rv: Any) -> TensorVariable:
    """Value variable of a free variable, as a graph of that."""
    transform = model.rvs_to_transforms[rv]
    return rv if transform is None else transform.forward(rv, *rv.owner.inputs)


def of_value_variables(model: Model, graphs: Sequence[Variable]) -> list[TensorVariable]:
    """Graphs of random variables as graphs of the value variables."""
    return model.replace_rvs_by_values(list(graphs))
