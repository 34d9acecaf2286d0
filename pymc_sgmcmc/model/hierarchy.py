"""Noticing a hierarchy that is written non-centred, which many rows a group make hard to sample."""

from typing import NamedTuple

import numpy as np
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.scalar.basic import Mul
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.random.basic import NormalRV
from pytensor.tensor.subtensor import AdvancedSubtensor

from pymc_sgmcmc.model.graphs import leaves
from pymc_sgmcmc.model.rows import is_array, value_of
from pymc_sgmcmc.model.terms import Terms
from pymc_sgmcmc.model.variables import Named


class NonCentred(NamedTuple):
    """Effects of groups that are written as standard normals times a scale.

    Attributes
    ----------
    name : str
        Of the standard normals.
    groups : int
        How many they are.
    rows : float
        Rows of a group, on average.
    """

    name: str
    groups: int
    rows: float


def non_centred(terms: Terms) -> list[NonCentred]:
    """Effects ``(scale * z)[group]`` of a model, with z ~ N(0, 1) and a scale that is sampled."""
    model, found = terms.model, []
    below = list(ancestors(terms.likelihoods))
    for value in terms.value_vars:
        rv = model.values_to_rvs[value]
        if value.type.ndim != 1 or not _is_standard_normal(rv):
            continue
        scaled = [v for v in below if _scales(v, value, terms)]
        rows = [_rows(v, terms) for v in below if _picks(v, scaled)]
        if rows:
            groups = int(np.prod(np.shape(terms.initial_point[value.name])))
            found.append(NonCentred(rv.name, groups, max(rows) / max(groups, 1)))
    return found


def _is_standard_normal(rv: Named) -> bool:
    if not isinstance(rv.owner.op, NormalRV):
        return False
    return all(
        isinstance(x := _bare(parameter), Constant) and np.all(x.data == wanted)
        for parameter, wanted in zip(rv.owner.op.dist_params(rv.owner), (0, 1), strict=True)
    )


def _scales(v: Variable, value: Variable, terms: Terms) -> bool:
    """Whether a variable is the product of a value variable and of others that are sampled."""
    if v.owner is None or not isinstance(getattr(v.owner.op, "scalar_op", None), Mul):
        return False
    factors = [_bare(x) for x in v.owner.inputs]
    rest = [x for x in factors if x is not value]
    if len(rest) == len(factors):
        return False
    sampled = set(terms.value_vars) & set(ancestors(rest))
    return bool(sampled) and value not in sampled


def _picks(v: Variable, tables: list[Variable]) -> bool:
    """Whether a variable is entries of one of the tables, picked by an array."""
    if v.owner is None or not isinstance(v.owner.op, AdvancedSubtensor):
        return False
    return bool(set(tables) & set(ancestors([v.owner.inputs[0]])))


def _rows(v: Variable, terms: Terms) -> int:
    """Entries that are picked; where the model is a template, by all rows."""
    picked = [x for x in leaves(v.owner.inputs[1:]) if is_array(x)]
    rows = terms.rows
    if rows is not None and rows.stored is not None and set(picked) & set(rows.variables):
        return rows.stored.n_rows
    return max((len(value_of(x)) for x in picked), default=0)


def _bare(v: Variable) -> Variable:
    """Variable without the changes of its axes."""
    while v.owner is not None and isinstance(v.owner.op, DimShuffle):
        v = v.owner.inputs[0]
    return v
