"""Looking at the data that a network is written for, before it is sampled for minutes."""

from __future__ import annotations

import math

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorLike
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.model.rows import is_array, value_of
from pymc_sgmcmc.warn import warn_user

# What counts as far from mean 0 and standard deviation 1, for which the priors of layers are made.
_FAR, _LARGE, _SMALL = 3, 10, 0.1
# Standard deviations to an entry that stands out.
_RARE = 8
# Rows that are looked at, about.
_ROWS = 10_000


def as_tensor(x: TensorLike, name: str = "x") -> TensorVariable:
    """Input of a layer as a tensor.

    Raises
    ------
    TypeError
        If it is none, and no array either.
    """
    try:
        return pt.as_tensor_variable(x)
    except (NotImplementedError, TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a tensor, a pm.Data or an array, got {x!r}.") from error


def data_of(x: TensorLike) -> np.ndarray | None:
    """Numbers of an array or a ``pm.Data``; None of what the model computes."""
    if not isinstance(x, Variable):
        return np.asarray(x)
    return np.asarray(value_of(x)) if is_array(x) else None


def n_rows(x: TensorLike) -> int | None:
    """Rows of features, as far as they are known."""
    known = getattr(getattr(x, "tag", None), "rows", None)
    data = data_of(x)
    return known if data is None or not data.ndim else len(data)


def warn_of_scale(x: TensorLike, what: str, remedy: str) -> None:
    """Tell of columns ``(rows, columns)`` far from mean 0 and standard deviation 1.

    Columns of one value or two (constants, codes, one-hot columns) are left alone, and those of
    small variance in which some entries stand out, as pixels near the border of an image do.
    """
    data = data_of(x)
    if data is None or data.dtype.kind not in "fiu" or not data.size:
        return
    columns = data[:: 1 + len(data) // _ROWS].reshape(-1, math.prod(data.shape[1:]))
    mean, sd, low, high = (f(columns, 0) for f in (np.mean, np.std, np.min, np.max))
    small = (sd < _SMALL) & (np.maximum(high - mean, mean - low) < _RARE * sd)
    suspects = np.flatnonzero((np.abs(mean) > _FAR) | (sd > _LARGE) | small)
    between = (low < columns) & (columns < high)
    far = suspects[between[:, suspects].any(0)]
    if not len(far):
        return
    names = _labels(x, columns.shape[1]) if data.ndim > 1 else [""]
    seen = [f"{names[j]}mean {mean[j]:.3g} and standard deviation {sd[j]:.3g}" for j in far[:3]]
    if len(far) > 3:
        seen.append(f"and {len(far) - 3} more")
    warn_user(
        f"{what} is far from mean 0 and standard deviation 1, for which the priors of a network "
        f"are made: {', '.join(seen)}. Standardise: {remedy}",
    )


def _labels(x: TensorLike, columns: int) -> list[str]:
    """Labels that the model's coords give to the columns, or else their numbers."""
    model = pm.modelcontext(None)
    dim = model.named_vars_to_dims.get(getattr(x, "name", None) or "", (None,))[-1]
    labels = model.coords.get(dim) if dim is not None else None
    return [f"column {label!r} has " for label in (range(columns) if labels is None else labels)]
