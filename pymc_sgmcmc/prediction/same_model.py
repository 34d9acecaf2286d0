"""Whether draws are those of a model: the one that they are read with may have been built anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymc.model import Model
from xarray import DataArray, DataTree

from pymc_sgmcmc.warn import warn_user

# Kinds of labels that are compared, as they are after a file as well: text, and numbers.
_TEXT, _NUMBERS = "UO", "biuf"


def check_draws(model: Model, draws: DataTree) -> None:
    """Refuse draws of variables whose shapes or labels are others in the model.

    A category that went missing, or came, moves the codes of all that follow: predictions would be
    of other groups than those that were asked for.

    Parameters
    ----------
    model : pm.Model
    draws : DataTree
        A group of draws.

    Raises
    ------
    ValueError
        If a variable has another shape in the model, or other labels along a dim.

    Warns
    -----
    UserWarning
        If variables were sampled that the model does not have.
    """
    dataset = draws.to_dataset()
    for rv in model.free_RVs:
        if (name := rv.name) not in dataset:
            continue
        found = dataset[name]
        dims = model.named_vars_to_dims.get(name) or ()
        for axis, dim in enumerate(dims):
            labels = model.coords.get(dim) if dim is not None else None
            if labels is not None and axis + 2 < found.ndim:
                _check_labels(name, dim, labels, found, axis)
        _check_shape(name, rv.type.shape, found)
    sampled = draws.attrs.get("free_variables", ())
    names = sampled.split(", ") if isinstance(sampled, str) else sampled
    missing = [name for name in names if name not in model.named_vars]
    if missing:
        warn_user(
            f"The draws have {', '.join(map(repr, missing))}, which the model does not: "
            "predictions are those of another model than was sampled. Build it as it was then."
        )


def _check_shape(name: str, shape: Sequence[int | None], found: DataArray) -> None:
    here = found.shape[2:]
    same = len(shape) == len(here) and all(
        n is None or n == m for n, m in zip(shape, here, strict=True)
    )
    if not same:
        raise ValueError(
            f"The draws of {name!r} have the shape {here}, and the model's {name!r} has "
            f"{tuple(shape)}: they are of another model. Build it as it was when it was sampled."
        )


def _check_labels(name: str, dim: str, labels: Any, found: DataArray, axis: int) -> None:
    n = found.shape[axis + 2]
    if len(labels) != n:
        raise ValueError(
            f"The draws of {name!r} have {n} entries along {dim!r}, and the model has "
            f"{len(labels)}{_which(labels, found, axis)}. Build the model with the coords that it "
            "was sampled with."
        )
    drawn_dim = found.dims[axis + 2]
    if drawn_dim not in found.coords:
        return
    model_labels, drawn = np.asarray(labels), found.coords[drawn_dim].values
    both = model_labels.dtype.kind + drawn.dtype.kind
    if not (set(both) <= set(_TEXT) or set(both) <= set(_NUMBERS)):
        return  # dates and the like come back from files as other types
    differ = np.flatnonzero([a != b for a, b in zip(model_labels, drawn, strict=True)])
    if differ.size:
        i = differ[0]
        raise ValueError(
            f"The draws of {name!r} have {drawn.tolist()[i]!r} at [{i}] along {dim!r}, where the "
            f"model has {model_labels.tolist()[i]!r}. Build the model with the coords that it was "
            f"sampled with: pd.Categorical(..., categories=idata.posterior[{dim!r}].values), say."
        )


def _which(labels: Any, found: DataArray, axis: int) -> str:
    """What is in one and not in the other, where that can be told."""
    dim = found.dims[axis + 2]
    if dim not in found.coords:
        return ""
    drawn = set(found.coords[dim].values.tolist())
    here = set(np.asarray(labels).tolist())
    some = [f"{x!r} is not in the model" for x in sorted(drawn - here, key=str)[:1]]
    some += [f"{x!r} is not in the draws" for x in sorted(here - drawn, key=str)[:1]]
    return f": {' and '.join(some)}" if some else ""
