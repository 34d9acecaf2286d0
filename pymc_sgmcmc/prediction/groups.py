"""Groups of predictions, with the dims and coordinates of the model and of the new rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pymc as pm
from pymc.model import Model
from pytensor.tensor.random.basic import CategoricalRV
from xarray import Dataset, DataTree

from pymc_sgmcmc.prediction.laws import parameters_of
from pymc_sgmcmc.prediction.new_rows import NewRows


def to_groups(
    model: Model,
    posterior: DataTree,
    new: NewRows,
    predictions: Mapping[str, np.ndarray],
    likelihood: Mapping[str, np.ndarray],
) -> DataTree:
    """Predictions and log-likelihoods, and the new rows that they are of, as a DataTree."""
    from arviz_base import dict_to_dataset

    dims = dims_of(model, [*predictions, *likelihood])
    changed = new.changed_dims
    known = {k: v for k, v in model.coords.items() if v is not None and k not in changed}
    coords: dict[str, np.ndarray] = {k: np.asarray(v) for k, v in {**known, **new.coords}.items()}
    coords |= {d: posterior.dataset[d].values for d in ("chain", "draw")}
    groups: dict[str, Dataset] = {}
    for group, arrays, sample_dims in (
        ("predictions", predictions, ["chain", "draw"]),
        ("log_likelihood", likelihood, ["chain", "draw"]),
        ("observed_data", new.outcomes, []),
        (
            "predictions_constant_data",
            {str(v.name): x for v, x in new.values.items() if v.name in new.shared},
            [],
        ),
    ):
        if arrays:
            array_dims: dict[Hashable, Sequence[Hashable]] = {
                k: dims.get(k, _own_dims(model, k)) for k in arrays
            }
            lead = len(sample_dims)
            lengths = {
                (d, n)
                for k, x in arrays.items()
                for d, n in zip(array_dims[k], np.shape(x)[lead:], strict=False)
            }
            # Labels of rows that went with the old data.
            old = {d for d, n in lengths if d in coords and len(coords[d]) != n}
            groups[f"/{group}"] = dict_to_dataset(
                arrays,
                inference_library=pm,
                coords={d: x for d, x in coords.items() if d not in old},
                dims=array_dims,
                sample_dims=sample_dims,
                check_conventions=False,
            )
    return DataTree.from_dict(groups)


def _own_dims(model: Model, name: str) -> list[str]:
    return list(model.named_vars_to_dims.get(name, ()))


def dims_of(model: Model, names: Sequence[str]) -> dict[str, list[str]]:
    """Dims of the parameters of observed variables: theirs, and one for the classes."""
    dims: dict[str, list[str]] = {}
    for rv in model.observed_RVs:
        rows = [d or f"{rv.name}_dim_{i}" for i, d in enumerate(_own_dims(model, rv.name))]
        rows = rows or [f"{rv.name}_dim_{i}" for i in range(rv.type.ndim)]
        dims[rv.name] = rows
        for name, parameter in parameters_of(rv).items():
            classes = isinstance(rv.owner.op, CategoricalRV)
            named = [*rows, f"{rv.name}_class"] if classes else rows
            if len(named) == parameter.type.ndim:
                dims[name] = named
    return {name: dims[name] for name in names if name in dims}
