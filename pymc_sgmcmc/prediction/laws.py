"""Laws of observed variables: their parameters, and as many rows as these have."""

from typing import Any

import pytensor.tensor as pt
from pymc.distributions.moments import mean as mean_of
from pymc.exceptions import UndefinedMomentException
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor.tensor.random.basic import BernoulliRV, CategoricalRV, NormalRV
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.model.variables import Named


def parameters_of(rv: Named) -> dict[str, TensorVariable]:
    """Parameters of an observed variable's law, by the names that predictions have."""
    name, rv = rv.name, _of_a_row(rv)
    node, op = rv.owner, rv.owner.op
    if isinstance(op, NormalRV):
        mean, sd = pt.broadcast_arrays(*node.op.dist_params(node))
        return {f"{name}_mean": mean, f"{name}_sd": sd}
    if isinstance(op, BernoulliRV):
        return {f"{name}_probability": node.op.dist_params(node)[0]}
    if isinstance(op, CategoricalRV):
        return {f"{name}_probability": node.op.dist_params(node)[0]}
    try:
        return {f"{name}_mean": mean_of(resized(rv))}
    except (NotImplementedError, UndefinedMomentException):
        return {}


def resized(rv: TensorVariable) -> TensorVariable:
    """The same variable with as many rows as its parameters have, whatever was observed."""
    rv = _of_a_row(rv)
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


def _of_a_row(rv: Any) -> Any:
    """The variable without its ``total_size``, which scales what is fitted: no part of its law."""
    return rv.owner.inputs[0] if isinstance(rv.owner.op, MinibatchRandomVariable) else rv
