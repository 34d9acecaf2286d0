"""New values as arrays of numbers, of the type that the model holds."""

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pytensor.compile.sharedvalue import SharedVariable
from xarray import DataArray


def in_order(name: str, x: Any, dims: Sequence[str | None], coords: Mapping[str, Any]) -> Any:
    """A frame with its columns in the order of the model's, where these have names."""
    columns = getattr(x, "columns", None)
    labels = coords.get(dims[1]) if len(dims) == 2 and dims[1] is not None else None
    if columns is None or labels is None:
        return x
    here, known = list(columns), list(labels)
    if here == known or not all(isinstance(label, str) for label in (*here, *known)):
        return x
    if set(here) != set(known):
        missing = [label for label in known if label not in here]
        strange = [label for label in here if label not in known]
        raise ValueError(
            f"{name!r} has the columns {known} in the model, and was given a frame "
            f"{f'without {missing}' if missing else f'with {strange} as well'}. Give the model's, "
            "in any order, or numbers without names: frame.to_numpy()."
        )
    return x[known]


def as_array(name: str, x: ArrayLike, dims: Sequence[str | None] | None = None) -> np.ndarray:
    """An array of new values, nan where they are masked; the axes of a labelled one like `dims`."""
    if isinstance(x, DataArray) and dims is not None and set(x.dims) == set(dims):
        x = x.transpose(*map(str, dims)).values
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        return np.ma.filled(x.astype(float), np.nan)
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name!r} is no array: its rows differ in length.") from error


def as_numbers(name: str, x: np.ndarray, held: str) -> np.ndarray:
    """New values as numbers; an array of objects, as a frame of bool and float columns is, too."""
    numbers, strange = x, x
    if x.dtype == object:
        known = DataArray(x).fillna(np.nan).values
        strange = np.array([v for v in known.ravel() if not isinstance(v, Number | np.bool_)])
        if not strange.size:
            numbers = np.array(known.tolist())
            numbers = numbers.astype(float) if numbers.dtype == object else numbers
    if numbers.dtype.kind not in "biufc":
        raise ValueError(
            f"{name!r} holds {held} in the model, and was given {x.dtype}: "
            f"{strange.ravel()[:1].tolist()}... Give numbers; labels as the codes that the model "
            "was built with (series.cat.codes)."
        )
    missing = np.argwhere(np.isnan(numbers))
    if len(missing):
        raise ValueError(
            f"{name!r} is nan in {len(missing)} places, the first at {missing[0].tolist()} (row "
            "first): leave such rows out, or fill in what is missing."
        )
    return numbers


def like(name: str, variable: SharedVariable, x: np.ndarray) -> np.ndarray:
    """New values of a ``pm.Data``, in its dtype."""
    refuse_axes(name, x, variable.type.ndim)
    dtype = np.dtype(variable.type.dtype)
    x = as_numbers(name, x, str(dtype))
    if not np.can_cast(x.dtype, dtype, "same_kind"):
        raise ValueError(
            f"{name!r} holds {dtype} in the model, and was given {x.dtype}, which would "
            f"be cut off. Use pm.Data({name!r}, values.astype(float))."
        )
    with np.errstate(over="ignore"):
        taken = x.astype(dtype)
    fits = taken == x if dtype.kind in "iu" else np.isfinite(taken) | ~np.isfinite(x)
    if not fits.all():
        highest = (np.iinfo if dtype.kind in "iu" else np.finfo)(dtype).max
        raise ValueError(
            f"{name!r} holds {dtype} in the model, up to {highest}, and was given "
            f"numbers from {x.min()} to {x.max()}. Use pm.Data({name!r}, "
            "values.astype(float))."
        )
    return taken


def refuse_axes(name: str, x: np.ndarray, ndim: int) -> None:
    """Raise an error for more or fewer axes than the model has."""
    if x.ndim != ndim:
        raise ValueError(
            f"{name!r} has {ndim} axes in the model, and was given an array of shape {x.shape}."
        )


def refuse_fractions(name: str, y: np.ndarray) -> None:
    """Raise an error for outcomes between whole numbers, where the law is of those."""
    between = np.argwhere(y != np.round(y))
    if len(between):
        where = between[0].tolist()
        raise ValueError(
            f"{name!r} is {y[tuple(where)]} at {where}, and whole numbers in the model: give "
            "outcomes as they were observed, not probabilities."
        )
