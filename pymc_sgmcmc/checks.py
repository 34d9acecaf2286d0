"""Checks of a model against minibatches, each made once, before anything is compiled for speed.

They run through NumPy, which refuses an index out of range (JAX would clamp it and Numba read past
the end) and starts no JAX backend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytensor.tensor as pt
from pymc.exceptions import SamplingError
from pymc.model import Model
from pymc.pytensorf import compile as compile_graph
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.type import TensorType

from pymc_sgmcmc.graphs import leaves, rebuild, values_read
from pymc_sgmcmc.minibatch import RowData, is_array, same_array, value_of

if TYPE_CHECKING:
    from pymc_sgmcmc.potential import StochasticPotential

# Rows that a check draws at random, so that it stays cheap.
_ROWS = 2_000
# Arrays with more columns are searched for extreme values as a whole.
_COLUMNS = 100


def variables_are_tensors(model: Model) -> None:
    """Refuse the labelled arrays of ``pymc.dims``."""
    names = [repr(v.name) for v in model.basic_RVs if not isinstance(v.type, TensorType)]
    if names:
        raise TypeError(
            f"{', '.join(names)} of the model is written with pymc.dims, whose variables can't be "
            "sampled in minibatches yet. Write it with pymc: pm.Normal(..., dims=...)."
        )


def some_rows(data: RowData) -> np.ndarray:
    """Draw rows to check at random, and add those that hold the extreme values of the data.

    So an index out of range, a value outside of a support and a nan are found in any row.
    """
    n = data.n_rows
    assert n is not None
    found = [np.random.default_rng(0).choice(n, min(n, _ROWS), replace=False)]
    for x in data.values() if n > _ROWS else []:
        columns = x.reshape(n, -1)
        width = columns.shape[1]
        if width > _COLUMNS:
            found.append(np.array([columns.argmin(), columns.argmax()]) // width)
        elif width:
            found += [columns.argmin(0), columns.argmax(0)]
    return np.unique(np.concatenate(found))


def potentials_touch_no_rows(potential: StochasticPotential) -> None:
    """Refuse a ``pm.Potential`` of row data: what part of it belongs to a row can't be known."""
    assert potential.rows is not None
    rows = potential.rows.variables
    for rv, term in zip(potential.model.potentials, potential.potentials, strict=True):
        if any(same_array(v, x) for v in values_read(term) for x in rows):
            raise ValueError(
                f"The pm.Potential {rv.name!r} depends on row data: which part of it belongs to "
                "which row can't be known, so it can't be scaled to a batch. Write it as an "
                "observed variable, for example pm.CustomDist(..., logp=..., observed=...), or "
                "use batch_size=None."
            )


def rows_separate(potential: StochasticPotential, rows: np.ndarray) -> None:
    """Check that the terms of a few rows are those entries of the terms of all `rows`.

    They are compared at two random points.
    """
    data = potential.rows
    assert data is not None
    rng = np.random.default_rng(0)
    n = len(rows)
    chosen = np.sort(rng.choice(n, min(64, (n + 1) // 2), replace=False))
    # Close to the initial point as well, where the terms are surely not all infinite.
    points = [_random_point(potential, scale, rng) for scale in (1, 0.1)]
    for rv, term in zip(potential.model.observed_RVs, potential.likelihoods, strict=True):
        if rv not in data.observed:
            continue
        try:
            full = _row_terms(potential, rv, term, rows, points)
            batch = _row_terms(potential, rv, term, rows[chosen], points)
            separate = all(
                len(f) == n and len(b) == len(chosen) and _close(f[chosen], b)
                for f, b in zip(full, batch, strict=True)
            )
        except IndexError as error:
            raise ValueError(_out_of_range(data, rv, error)) from error
        except (ValueError, TypeError, AssertionError) as error:
            raise ValueError(_not_separable(potential, rv)) from error
        if not separate:
            raise ValueError(_not_separable(potential, rv))


def initial_point_is_finite(potential: StochasticPotential, rows: np.ndarray | None) -> None:
    """Check every term of the log posterior at the initial point, on some rows or on all data."""
    model = potential.model
    likelihoods = list(potential.likelihoods)
    if rows is not None:
        assert potential.rows is not None
        values = [pt.constant(x[rows]) for x in potential.rows.values()]
        likelihoods = rebuild(likelihoods, potential.row_replacements(values))
    terms = [*potential.priors, *likelihoods, *potential.potentials]
    function = compile_graph(
        model.value_vars,
        [term.sum() for term in terms],
        mode="FAST_COMPILE",
        on_unused_input="ignore",
    )
    with np.errstate(all="ignore"):
        values = function(*(potential.initial_point[v.name] for v in model.value_vars))
    names = [rv.name for rv in (*model.basic_RVs, *model.potentials)]
    bad = [
        f"{name!r} contributes {float(x)}"
        for name, x in zip(names, values, strict=True)
        if not math.isfinite(x)
    ]
    if bad:
        raise SamplingError(
            f"The log posterior is not finite at the model's initial point: {', '.join(bad)}. "
            "Check the data against the support of these variables, or give initval=... to the "
            "variables they depend on."
        )


def _row_terms(
    potential: StochasticPotential,
    rv: Any,
    term: Variable,
    chosen: np.ndarray,
    points: Sequence[dict[str, np.ndarray]],
) -> list[np.ndarray]:
    """Term of one observed variable for each chosen row, at each point, up to a factor."""
    values = [x[chosen] for x in potential.rows.values()]  # type: ignore[union-attr]
    rows = [pt.tensor(dtype=x.dtype.name, shape=x.shape) for x in values]
    (term,) = rebuild([term], potential.row_replacements(rows))
    inputs = [*potential.model.value_vars, *rows]
    function = compile_graph(inputs, term, mode="FAST_COMPILE", on_unused_input="ignore")
    with np.errstate(all="ignore"):
        terms = [function(*point.values(), *values) for point in points]
    # A variable with total_size has multiplied its terms by N/B.
    own = isinstance(rv.owner.op, MinibatchRandomVariable)
    return [t / potential.scale(rv, len(chosen)) for t in terms] if own else terms


def _random_point(potential: StochasticPotential, scale: float, rng: np.random.Generator) -> dict:
    point = {}
    for v in potential.model.value_vars:
        x = np.asarray(potential.initial_point[v.name], v.type.dtype)
        jitter = scale * rng.uniform(-1, 1, x.shape) if x.dtype.kind == "f" else 0
        point[v.name] = np.asarray(x + jitter, v.type.dtype)
    return point


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    precision = 1e-6 if a.dtype == "float64" else 1e-3
    return np.allclose(a, b, rtol=precision, atol=precision, equal_nan=True)


def _shapes(data: RowData) -> str:
    return ", ".join(
        f"{v.name or 'an array'} {x.shape}"
        for v, x in zip(data.sources, data.values(), strict=True)
    )


def _out_of_range(data: RowData, rv: Any, error: IndexError) -> str:
    return (
        f"The likelihood of {rv.name!r} takes an entry that does not exist ({error}). Either the "
        "row data hold an index out of range, or one of these arrays is a table that has as many "
        f"entries as there are rows by chance: {_shapes(data)}. Mend the index, or name the row "
        "data with data=[...]."
    )


def _not_separable(potential: StochasticPotential, rv: Any) -> str:
    data, model = potential.rows, potential.model
    assert data is not None
    latents = [
        v.name
        for v in model.free_RVs
        if data.n_rows in np.shape(potential.initial_point[model.rvs_to_values[v].name])
    ]
    message = (
        f"The likelihood of {rv.name!r} is not a sum over rows, of which a minibatch could be "
        "taken: the terms of a few rows by themselves are not those that the same rows have among "
        f"all {data.n_rows} rows. Row data: {_shapes(data)}. "
    )
    if latents:
        return message + (
            f"{', '.join(map(repr, latents))} has one entry per row: a latent variable of each "
            "row can't be sampled from minibatches. Integrate it out (pm.Mixture does that for "
            "indicators; pm.gp.HSGP approximates a Gaussian process without it), or use "
            "batch_size=None, with which every update takes all rows. If it has as many entries by "
            "chance, name the row data with data=[...]."
        )
    taken = set(data.variables)
    left_out = [
        v.name or f"an array {value_of(v).shape}"
        for v in leaves(potential.likelihoods)
        if v not in taken and is_array(v) and len(value_of(v)) == data.n_rows
    ]
    if left_out:
        return message + (
            f"{', '.join(left_out)} also has {data.n_rows} entries: add it to data=[...] if it "
            "has one for each row (an array in pm.Data has a name)."
        )
    return message + (
        "Likely causes:\n"
        "- Rows depend on each other. A Gaussian process has no minibatches, its approximation "
        "pm.gp.HSGP has; an autoregression has if past values are columns of the data.\n"
        "- A statistic of all rows is computed inside the model, such as X - X.mean(0): compute it "
        "beforehand.\n"
        "- Rows are not along the leading axis.\n"
        "- Their number is written as a number: write X.shape[0], with X in pm.Data.\n"
        "- An array has as many entries as there are rows by chance: name the row data with "
        "data=[...] (arrays in pm.Data have names).\n"
        "Otherwise use batch_size=None, with which every update takes all rows."
    )
