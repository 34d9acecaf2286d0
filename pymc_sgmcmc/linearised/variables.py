"""Which variables are linearised, which have a precision that is fitted, and where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pymc.model import Model
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors, toposort
from pytensor.scalar.basic import Mul, TrueDiv
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.random.basic import NormalRV

from pymc_sgmcmc.model.layout import Block
from pymc_sgmcmc.model.links import Law
from pymc_sgmcmc.model.potential import StochasticPotential


class Linearised:
    """The variables that are linearised, one after another.

    Parameters
    ----------
    potential : StochasticPotential
    names : sequence of str
        Of free variables.

    Attributes
    ----------
    names : list of str
    shapes : list of tuple of int
        In PyMC's unconstrained space.
    places : ndarray of int
        Of their d entries in a position ``(D,)``.
    slices : list of slice
        Of each variable, among the d.
    """

    def __init__(self, potential: StochasticPotential, names: Sequence[str]) -> None:
        chosen = [
            (rv, block)
            for v, block in zip(potential.value_vars, potential.layout, strict=True)
            if (rv := potential.model.values_to_rvs[v]).name in names
        ]
        self._potential = potential
        self._rvs: list[Any] = [rv for rv, _ in chosen]
        blocks: list[Block] = [block for _, block in chosen]
        self.names = [rv.name for rv in self._rvs]
        self.shapes = [block.shape for block in blocks]
        self.places = np.concatenate([np.arange(block.start, block.stop) for block in blocks])
        ends = np.cumsum([block.stop - block.start for block in blocks])
        self.slices = [slice(b - (x.stop - x.start), b) for x, b in zip(blocks, ends, strict=True)]

    def groups(self, em: str | None) -> list[np.ndarray]:
        """Places, among the d, of variables that share a factor of their prior's precision."""
        if em is None:
            return []
        numbers = np.arange(len(self.places))
        fitted = [
            numbers[where]
            for rv, where in zip(self._rvs, self.slices, strict=True)
            if _around_zero(rv)
        ]
        self._refuse_learned_scales(em)
        if not fitted:
            raise ValueError(
                f"em={em!r} fits the precision of priors pm.Normal(..., 0, sd), and none of "
                f"{', '.join(map(repr, self.names))} has one. Leave em out."
            )
        return fitted if em == "layer" else [np.concatenate(fitted)]

    def _refuse_learned_scales(self, em: str) -> None:
        """Raise a ValueError where a variable whose precision is to be fitted has a learned scale.

        Of s z the linear model sees J_z z + J_s log s, and J_s is what J_z makes of z at the mode:
        one α → ∞ takes z away and s puts it back, without bounds.
        """
        known = {rv for rv in self._rvs if _around_zero(rv)}
        for z, scales in _factors(self._potential, known):
            learned = [s.name for s in scales if s in self._rvs and s is not z]
            if learned:
                kept = [name for name in self.names if name not in learned]
                raise ValueError(
                    f"em={em!r} fits the precision of {z.name!r}, which the model multiplies by "
                    f"{learned[0]!r}, a variable as well: a scale that is learned twice has no "
                    "value. Write a scale that is known (nn.FixedScale() for nn.LearnedScale()), "
                    "leave em out, or leave the scales at the mode: name the others in "
                    f"vars=[{', '.join(map(repr, kept[:2]))}, ...]."
                )


def _factors(potential: StochasticPotential, known: set[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Some variables, each with the free variables that it is multiplied by, element by element.

    Factors that depend on data do not count: of z x no other variable takes the place.
    """
    model = potential.model
    rows = set(potential.rows.variables) if potential.rows else set()
    for node in toposort([*model.observed_RVs, *model.deterministics]):
        op = getattr(node.op, "scalar_op", None)
        if not isinstance(op, Mul | TrueDiv):
            continue
        for z in known & {_same(v) for v in node.inputs}:
            above = set(ancestors([v for v in node.inputs if _same(v) is not z]))
            if not above & rows:
                yield z, [rv for rv in model.free_RVs if rv in above]


def _same(variable: Variable) -> Variable:
    """What a variable is, but for axes of length 1."""
    while variable.owner is not None and isinstance(variable.owner.op, DimShuffle):
        (variable,) = variable.owner.inputs
    return variable


def _around_zero(rv: Any) -> bool:
    """Whether a variable's prior is normal with the mean 0."""
    if not isinstance(rv.owner.op, NormalRV):
        return False
    mean, _ = rv.owner.op.dist_params(rv.owner)
    data = getattr(mean, "unique_value", None)
    if data is None and not _depends(mean):
        data = mean.eval()
    return data is not None and not np.any(data)


def _depends(variable: Variable) -> bool:
    """Whether a graph has random variables in it."""
    return any(isinstance(getattr(v.owner, "op", None), NormalRV) for v in ancestors([variable]))


def named(model: Model, vars: Sequence[Any] | None) -> list[str]:
    """Names of the free variables that are asked for; all when None."""
    free = [rv.name for rv in model.free_RVs]
    if vars is None:
        return free
    if isinstance(vars, str):
        raise TypeError(f"vars must be a list of names: vars=[{vars!r}].")
    names = [getattr(v, "name", v) for v in vars]
    for name in names:
        if name not in free:
            raise ValueError(
                f"vars has {name!r}, which is no free variable of the model. They are: "
                f"{', '.join(map(repr, free))}."
            )
    if not names:
        raise ValueError("vars is empty: name at least one variable, or leave vars out.")
    return names


def of_last_layer(model: Model, laws: Sequence[Law]) -> list[str]:
    """Names of the free variables behind the last layer that `nn` wrote.

    Raises
    ------
    ValueError
        If it wrote none.
    """
    ends: list[Variable] = [link.variable for law in laws for link in law.links]
    layers = [v for v in ancestors(ends) if hasattr(v.tag, "units") and v not in ends]
    above = set(ancestors(ends, blockers=layers)) - set(layers)
    names = [rv.name for rv in model.free_RVs if rv in above]
    if not layers or not names:
        raise ValueError(
            'structure="last" needs a network whose layers nn wrote. Name the variables of the '
            'last layer: structure="full", vars=["w_out", "b_out"], say.'
        )
    return names
