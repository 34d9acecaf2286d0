"""Laws of observed variables: their parameters, and as many rows as these have."""

from typing import Any

import pytensor.tensor as pt
from pymc.distributions.moments import mean as mean_of
from pymc.exceptions import UndefinedMomentException
from pytensor.graph.basic import Variable
from pytensor.tensor.random.basic import BernoulliRV, CategoricalRV, NormalRV
from pytensor.tensor.random.op import RandomVariable


def parameters_of(rv: Any) -> dict[str, Variable]:
    """Parameters of an observed variable's law, by the names that predictions have."""
    op, name = rv.owner.op, rv.name
    if isinstance(op, NormalRV):
        parameters: Any = op.dist_params(rv.owner)
        mean, sd = pt.broadcast_arrays(*parameters)
        return {f"{name}_mean": mean, f"{name}_sd": sd}
    if isinstance(op, BernoulliRV):
        return {f"{name}_probability": op.dist_params(rv.owner)[0]}
    if isinstance(op, CategoricalRV):
        return {f"{name}_probability": op.dist_params(rv.owner)[0]}
    try:
        return {f"{name}_mean": mean_of(resized(rv))}
    except (NotImplementedError, UndefinedMomentException):
        return {}


def resized(rv: Any) -> Any:
    """The same variable with as many rows as its parameters have, whatever was observed."""
    op = rv.owner.op
    if not isinstance(op, RandomVariable):
        return rv
    parameters = op.dist_params(rv.owner)
    by_row = any(
        p.type.ndim - of_one >= rv.type.ndim - op.ndim_supp > 0
        for p, of_one in zip(parameters, op.ndims_params, strict=True)
    )
    if not by_row:
        return rv
    return op(*parameters, size=None, rng=op.rng_param(rv.owner), return_next_rng=True)[1]
