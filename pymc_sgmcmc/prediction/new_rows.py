"""New rows: values in place of the model's data, and outcomes, and what of them is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from pymc.model import Model
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.basic import BernoulliRV
from pytensor.tensor.subtensor import AdvancedSubtensor

from pymc_sgmcmc.model.graphs import is_shared_value, leaves
from pymc_sgmcmc.model.rows import is_array, value_of
from pymc_sgmcmc.prediction.values import (
    as_array,
    as_numbers,
    like,
    refuse_axes,
    refuse_fractions,
)


class NewRows:
    """Values for the new rows, as the model takes them.

    Parameters
    ----------
    model : pm.Model
    data : mapping of str to array
        New values by the names of ``pm.Data`` and of observed variables.
    coords : mapping of str to sequence

    Attributes
    ----------
    observed : dict of str to Variable
        Observed variables of the model.
    shared : dict of str to Variable
        Each ``pm.Data`` of the model.
    outcomes : dict of str to ndarray
        Of observed variables.
    values : dict of Variable to ndarray
        Of data, and of lengths of dims.
    coords : dict

    Raises
    ------
    ValueError
        If a name is unknown, or values are no numbers or of another shape.
    """

    def __init__(
        self,
        model: Model,
        data: Mapping[str, ArrayLike],
        coords: Mapping[str, Sequence | np.ndarray],
    ) -> None:
        self.model = model
        self.observed = {rv.name: rv for rv in model.observed_RVs}
        self.shared = {
            v.name: v for v in model.data_vars if is_shared_value(v) and v.name in model.named_vars
        }
        for name in data:
            if name not in self.observed and name not in self.shared:
                known = ", ".join(map(repr, [*self.shared, *self.observed]))
                raise ValueError(
                    f"data has {name!r}, which is no pm.Data and no observed variable of the "
                    f"model. They are: {known}. Write pm.Data({name!r}, ...) in the model for "
                    "what is to be exchanged."
                )
        # The data behind an observed variable are its outcomes.
        outcome_of = {_observed_data(model, rv).name: rv.name for rv in model.observed_RVs}
        dims = model.named_vars_to_dims
        new = {outcome_of.get(k, k): as_array(k, x, dims.get(k)) for k, x in data.items()}
        for name, x in new.items():
            if x.ndim and not len(x):
                raise ValueError(f"{name!r} has no rows: there is nothing to predict.")
        self.outcomes = {k: new.pop(k) for k in list(new) if k in self.observed}
        self.values = {self.shared[k]: like(k, self.shared[k], x) for k, x in new.items()}
        for name, x in self.outcomes.items():
            rv = self.observed[name]
            refuse_axes(name, x, rv.type.ndim)
            held = "0/1" if isinstance(rv.owner.op, BernoulliRV) else rv.type.dtype
            self.outcomes[name] = as_numbers(name, x, held)
            if np.dtype(rv.type.dtype).kind in "iu":
                refuse_fractions(name, self.outcomes[name])
        lengths = self._lengths(coords)
        self._refuse_other_rows()
        self.values |= lengths
        self.coords = dict(coords)

    @property
    def changed_dims(self) -> set[str]:
        """Dims that have another length than in the model."""
        return {d for d, n in self.model.dim_lengths.items() if n in self.values}

    def _refuse_other_rows(self) -> None:
        """Raise an error where outcomes and data that are as long as they were are now not."""
        for name, y in self.outcomes.items():
            before = _observed_data(self.model, self.observed[name])
            if not y.ndim or not is_array(before):
                continue
            rows = len(value_of(before))
            for v, x in self.values.items():
                old = v.get_value(borrow=True)
                if x.ndim and len(old) == rows and len(x) != len(y):
                    raise ValueError(
                        f"{v.name!r} has {len(x)} rows, and {name!r} has {len(y)}: give both for "
                        "the same rows."
                    )

    def other_shapes(self) -> str:
        """Data whose rows are not as they were in the model, in words."""
        found = [
            f"{v.name!r} has {_axes(old.shape)} in the model, and was given {_axes(x.shape)}"
            for v, x in self.values.items()
            if v.name in self.shared and x.shape[1:] != (old := v.get_value(borrow=True)).shape[1:]
        ]
        return "; ".join(found)

    def _lengths(
        self, coords: Mapping[str, Sequence | np.ndarray]
    ) -> dict[SharedVariable, np.ndarray]:
        """New lengths of the dims of the data that are exchanged."""
        lengths: dict[str, int] = {k: len(x) for k, x in coords.items()}
        named = {v.name: x for v, x in self.values.items()} | self.outcomes
        for name, x in named.items():
            dims = self.model.named_vars_to_dims.get(name, (None,) * x.ndim)
            for dim, n in zip(dims, x.shape, strict=True):
                if dim is not None and lengths.setdefault(dim, n) != n:
                    raise ValueError(
                        f"{name!r} has {n} entries along {dim!r}, where other data have "
                        f"{lengths[dim]}."
                    )
        known = self.model.dim_lengths
        return {
            known[dim]: np.asarray(n, known[dim].type.dtype)
            for dim, n in lengths.items()
            if dim in known and is_shared_value(known[dim]) and n != int(known[dim].get_value())
        }

    def refuse_unknown_codes(
        self, graphs: Sequence[Variable], data: Mapping[Variable, SharedVariable]
    ) -> None:
        """Raise an error for codes beyond the entries that they pick: JAX takes the nearest."""
        new = {symbol: v for symbol, v in data.items() if v in self.values}
        for node in {v.owner for v in ancestors(graphs) if v.owner is not None}:
            if not isinstance(node.op, AdvancedSubtensor):
                continue
            table, *indices = node.inputs
            for axis, place in enumerate(node.op.idx_list):
                v = new.get(indices[place]) if isinstance(place, int) else None
                if v is not None and axis < table.type.ndim and table.type.shape[axis] is not None:
                    _refuse_beyond(v, self.values[v], table.type.shape[axis], table.name)

    def refuse_old_rows(self, data: Sequence[SharedVariable]) -> None:
        """Raise an error where data that are as long as the old rows were given no new values."""
        dims = self.model.named_vars_to_dims
        lengths = {
            (v.get_value(borrow=True).shape[0], len(x))
            for v, x in self.values.items()
            if v.name in self.shared and np.ndim(x)
        }
        old = {before for before, now in lengths if before != now}
        for v in data:
            if v in self.values or v.name not in self.shared:
                continue
            shape = v.get_value(borrow=True).shape
            if self.changed_dims & set(dims.get(v.name, ())) or (shape and shape[0] in old):
                raise ValueError(
                    f"What is to be predicted depends on {v.name!r} as well, which has "
                    f"{shape[0]} rows. Give its values for the new rows: "
                    f"data={{..., {v.name!r}: ...}}, or predict something else: var_names=[...]."
                )


def _refuse_beyond(
    variable: SharedVariable, codes: np.ndarray, entries: int, of: str | None
) -> None:
    """Raise an error where a code is of no entry, or counts from the end as none did before."""
    lowest = 0 if (variable.get_value(borrow=True) >= 0).all() else -entries
    beyond = np.argwhere((codes < lowest) | (codes >= entries))
    if len(beyond):
        where = beyond[0].tolist()
        code = codes[tuple(where)]
        missing = " (pandas' code of what is in no category)" if code == -1 else ""
        raise ValueError(
            f"{variable.name!r} is {code}{missing} at {where}, and what it picks from"
            f"{f', {of!r},' if of else ''} has the entries 0 to {entries - 1}: the model has not "
            "seen such a group. Leave such rows out, or draw the group's effect from its prior."
        )


def _axes(shape: tuple[int, ...]) -> str:
    """Columns of a table, or the shape of another array."""
    return f"{shape[1]} columns" if len(shape) == 2 else f"the shape {shape}"


def _observed_data(model: Model, rv: Variable) -> Variable:
    """Data behind an observed variable, below the change of type that PyMC may put on top."""
    value = model.rvs_to_values[rv]
    data = leaves([value])
    return data[0] if len(data) == 1 else value
