"""What a position holds: the value variables that are sampled, and where each has its place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pymc.model import Model
from pytensor.graph.basic import Variable

from pymc_sgmcmc.model.variables import Named


@dataclass(frozen=True)
class Block:
    """Place of one value variable in the flat position vector."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int
    stop: int


def lay_out(value_vars: Sequence[Named], point: Mapping[str, np.ndarray]) -> tuple[Block, ...]:
    """Place of each value variable, one after another.

    Raises
    ------
    ValueError
        If all of them are empty.
    """
    blocks, start = [], 0
    for v in value_vars:
        shape = np.shape(point[v.name])
        stop = start + math.prod(shape)
        blocks.append(Block(v.name, shape, v.type.dtype, start, stop))
        start = stop
    if start == 0:
        empty = ", ".join(f"{b.name!r} has the shape {b.shape}" for b in blocks)
        raise ValueError(f"There is nothing to sample: {empty}.")
    return tuple(blocks)


def sampled_value_vars(
    model: Model, vars: str | Variable | Sequence[str | Variable] | None = None
) -> tuple[Named, ...]:
    """Value variables to sample: those of `vars`, or all continuous ones.

    Raises
    ------
    ValueError
        If a named variable is discrete or not free, or the model has no continuous variable.
    """
    if vars is None:
        if not model.continuous_value_vars:
            raise ValueError(
                "The model has no continuous free variable to sample with gradients. Discrete "
                "variables need pm.Metropolis or pm.BinaryGibbsMetropolis."
            )
        return tuple(model.continuous_value_vars)
    if not isinstance(vars, str | Variable | Sequence):
        raise TypeError(
            f"vars must be variables of the model or their names, got {vars!r}. Write other "
            "arguments by name: ATMC(batch_size=..., step_size=...)."
        )
    named = [vars] if isinstance(vars, str | Variable) else list(vars)
    if not named:
        raise ValueError("vars is empty: name at least one variable, or leave vars out.")
    chosen = []
    for v in named:
        if not isinstance(v, str | Variable):
            raise TypeError(f"vars must be variables of the model or their names, got {vars!r}.")
        rv = model.named_vars.get(v) if isinstance(v, str) else model.values_to_rvs.get(v, v)
        if rv not in model.free_RVs:
            free = ", ".join(repr(x.name) for x in model.free_RVs)
            raise ValueError(
                f"vars names {getattr(v, 'name', v)!r}, which is not a free random variable of "
                f"the model. Its free variables: {free}."
            )
        chosen.append(model.rvs_to_values[rv])
    for v in chosen:
        if v in model.discrete_value_vars:
            raise ValueError(
                f"{v.name!r} is discrete ({v.type.dtype}) and has no gradient. Leave it out of "
                "vars and give it a step of its own: "
                f"step=[ATMC(vars=[...], ...), pm.Metropolis([{v.name}])]."
            )
    return tuple(v for v in model.value_vars if v in chosen)
