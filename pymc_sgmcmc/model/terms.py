"""The terms of a model's log posterior, and the row data that some of them belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytensor.tensor as pt
from pymc.model import Model
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.model.graphs import is_shared_value, leaves
from pymc_sgmcmc.model.rows import RowData
from pymc_sgmcmc.model.variables import Named


@dataclass(frozen=True, eq=False)
class Terms:
    """Log densities of a model's variables, as graphs of its value variables and data.

    Attributes
    ----------
    model : pm.Model
    value_vars : tuple of Variable
        Value variables that are sampled.
    initial_point : dict of str to ndarray
        The model's initial point.
    priors, likelihoods, potentials : sequence of Variable
        Terms of the free variables, of the observed ones and of each ``pm.Potential``, in the
        model's order.
    rows : RowData or None
        None where nothing is an input of the likelihoods but the values of variables.
    batch_size : int or None
        Rows B in a batch, or None where every update takes all rows.
    """

    model: Model
    value_vars: tuple[Named, ...]
    initial_point: dict[str, np.ndarray]
    priors: Sequence[TensorVariable]
    likelihoods: Sequence[TensorVariable]
    potentials: Sequence[TensorVariable]
    rows: RowData | None = None
    batch_size: int | None = None

    @classmethod
    def of(cls, model: Model, value_vars: tuple[Named, ...]) -> Terms:
        """Terms of a model, whose rows are not known yet.

        Raises
        ------
        ValueError
            If observed values have another shape than their law.
        """
        try:
            with model:
                terms = model.logp(sum=False)
        except ValueError as error:
            raise ValueError(_of_other_shape(model) or str(error)) from error
        free, basic = len(model.free_RVs), len(model.basic_RVs)
        split = terms[:free], terms[free:basic], terms[basic:]
        return cls(model, value_vars, model.initial_point(0), *split)

    @property
    def others(self) -> tuple[Named, ...]:
        """Value variables that the model has besides the sampled ones."""
        return tuple(v for v in self.model.value_vars if v not in self.value_vars)

    @property
    def n_rows(self) -> int | None:
        """Rows N, or None where they need not be known."""
        return self.rows.n_rows if self.rows else None

    def all(self) -> list[tuple[Named, TensorVariable]]:
        """Each variable that has a term, and the term."""
        priors = zip(self.model.free_RVs, self.priors, strict=True)
        potentials = zip(self.model.potentials, self.potentials, strict=True)
        return [*priors, *self.observed(), *potentials]

    def observed(self) -> list[tuple[Named, TensorVariable]]:
        """Each observed variable, and its term; none in those of the prior alone."""
        variables = self.model.observed_RVs if self.likelihoods else []
        return list(zip(variables, self.likelihoods, strict=True))

    def prior(self) -> Terms:
        """Those of the prior alone, ``pm.Potential`` included."""
        return replace(self, likelihoods=[], rows=None, batch_size=None)

    def frozen(self) -> list[SharedVariable]:
        """Shared variables whose values become constants of the graph."""
        rows = self.rows.variables if self.rows else ()
        found = leaves([*self.priors, *self.potentials]) + leaves(self.likelihoods, blockers=rows)
        return [v for v in dict.fromkeys(found) if is_shared_value(v)]

    def row_replacements(self, rows: Sequence[Variable]) -> dict[Variable, Variable]:
        """Map the row data, and their length, to what takes their place in the likelihood."""
        if self.rows is None:
            return {}
        length = rows[0].type.shape[0]
        return {
            **{v: pt.constant(length, dtype=v.type.dtype) for v in self.rows.lengths},
            **{v: rows[g] for v, g in zip(self.rows.variables, self.rows.groups, strict=True)},
        }

    def scale(self, rv: Variable, length: int) -> float:
        """N/B for a term that belongs to the rows, 1 for one that doesn't."""
        if self.rows is None or self.rows.n_rows is None or rv not in self.rows.observed:
            return 1.0
        return self.rows.n_rows / length


def _of_other_shape(model: Model) -> str | None:
    """Say which observed values have other lengths than their law, as far as these are fixed."""
    for rv in model.observed_RVs:
        op = rv.owner.op
        if not isinstance(op, RandomVariable):
            continue
        observed = model.rvs_to_values[rv].type.shape
        rows = observed[: len(observed) - op.ndim_supp]
        for parameter, own in zip(op.dist_params(rv.owner), op.ndims_params, strict=True):
            shape = parameter.type.shape[: parameter.type.ndim - own]
            pairs = zip(reversed(shape), reversed(rows), strict=False)
            if any(None not in pair and 1 not in pair and len(set(pair)) > 1 for pair in pairs):
                return (
                    f"{rv.name!r} has observed values of shape {observed}, and a parameter of its "
                    f"law has {parameter.type.shape}: give both for the same rows."
                )
    return None
