"""Checks of a model against minibatches, each made once, before anything is compiled for speed.

They run through NumPy, which refuses an index out of range (JAX would clamp it and Numba read past
the end) and starts no JAX backend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytensor
import pytensor.tensor as pt
from pymc.exceptions import SamplingError
from pymc.model import Model
from pymc.pytensorf import compile as compile_graph
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor.gradient import NullTypeGradError
from pytensor.graph.basic import Variable
from pytensor.graph.op import Op
from pytensor.graph.traversal import ancestors

from pymc_sgmcmc.model import causes
from pymc_sgmcmc.model.graphs import is_shared_value, rebuild, values_read
from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.model.rows import (
    RowData,
    is_array,
    same_array,
    shapes,
    user_name,
    value_of,
)
from pymc_sgmcmc.model.terms import Terms
from pymc_sgmcmc.model.variables import Named
from pymc_sgmcmc.streaming.extremes import extreme_rows
from pymc_sgmcmc.warn import warn_user

# Fewer rows cost next to nothing, however small a batch is.
_COSTLY = 1_000


def data_are_not_missing(model: Model) -> None:
    """Refuse data that ``pm.set_data`` has masked: it lets nan pass, where ``pm.Data`` does not."""
    for name, v in model.named_vars.items():
        if not is_shared_value(v):
            continue
        missing = np.argwhere(np.ma.getmask(v.get_value(borrow=True)))
        if len(missing):
            raise ValueError(
                f"{causes.place(repr(name), missing[0], 'missing')}. Drop the rows with missing "
                "values, or fill them."
            )


def warn_of_wrapped_integers(model: Model) -> None:
    """Tell of data that look like integers beyond 2³¹, which ``pm.Data`` wraps without a word."""
    for name, v in model.named_vars.items():
        if not is_shared_value(v) or v.type.dtype != "int32":
            continue
        x = v.get_value(borrow=True)
        if x.size and int(x.max()) - int(x.min()) >= 2**31:
            warn_user(
                f"{name!r} holds integers from {x.min()} to {x.max()}, which is what integers "
                "beyond 2**31 become in pm.Data, which makes them int32. If they were such, give "
                f"floats: pm.Data({name!r}, values.astype(float))."
            )


def some_rows(data: RowData) -> np.ndarray:
    """Draw rows to check at random, and add those that hold the extreme values of the data.

    So an index out of range, a value outside of a support and a nan are found in any row.
    """
    n, found = data.n_rows, [data.to_check()]
    assert n is not None
    if data.stored is not None:
        return found[0]
    for x in data.values() if n > data.n_checked else []:
        found.append(extreme_rows(lambda first, stop, x=x: x[first:stop], n))  # type: ignore[misc]
    return np.unique(np.concatenate(found))


def potentials_touch_no_rows(terms: Terms) -> None:
    """Refuse a ``pm.Potential`` of row data: what part of it belongs to a row can't be known."""
    assert terms.rows is not None
    rows = terms.rows.variables
    for rv, term in zip(terms.model.potentials, terms.potentials, strict=True):
        if any(same_array(v, x) for v in values_read(term) for x in rows):
            raise ValueError(
                f"The pm.Potential {rv.name!r} depends on row data: which part of it belongs to "
                "which row can't be known, so it can't be scaled to a batch. Write it as an "
                "observed variable, for example pm.CustomDist(..., logp=..., observed=...), or "
                "use batch_size=None."
            )


def rows_separate(terms: Terms, rows: np.ndarray) -> None:
    """Check that the terms of a few rows are those entries of the terms of all `rows`.

    They are compared at two random points.
    """
    data = terms.rows
    assert data is not None
    rng = np.random.default_rng(0)
    n = len(rows)
    chosen = np.sort(rng.choice(n, min(64, (n + 1) // 2), replace=False))
    # Close to the initial point as well, where the terms are surely not all infinite.
    points = [_random_point(terms, scale, rng) for scale in (1, 0.1)]
    for rv, term in terms.observed():
        if rv not in data.observed:
            continue
        try:
            full = _row_terms(terms, rv, term, rows, points)
            batch = _row_terms(terms, rv, term, rows[chosen], points)
            separate = all(
                len(f) == n and len(b) == len(chosen) and _close(f[chosen], b)
                for f, b in zip(full, batch, strict=True)
            )
        except IndexError as error:
            raise ValueError(_out_of_range(data, rv, error)) from error
        except (ValueError, TypeError, AssertionError) as error:
            message = causes.misfit(terms, rv, term)
            raise ValueError(message or causes.not_separable(terms, rv, term)) from error
        if not separate:
            raise ValueError(causes.not_separable(terms, rv, term))


def initial_point_is_finite(terms: Terms, rows: np.ndarray | None) -> None:
    """Check every term of the log posterior at the initial point, on some rows or on all data."""
    model = terms.model
    likelihoods = list(terms.likelihoods)
    if rows is not None:
        assert terms.rows is not None
        values = [pt.constant(x) for x in terms.rows.at(rows)]
        likelihoods = rebuild(likelihoods, terms.row_replacements(values))
    graphs = [*terms.priors, *likelihoods, *terms.potentials]
    function = compile_graph(model.value_vars, graphs, mode=INTERPRETED, on_unused_input="ignore")
    try:
        with np.errstate(all="ignore"):
            found = function(*(terms.initial_point[v.name] for v in model.value_vars))
            sums = [float(term.sum()) for term in found]
    except ValueError:
        for rv, term in terms.observed():
            if message := causes.misfit(terms, rv, term):
                raise ValueError(message) from None
        raise
    bad, places = [], []
    for (rv, graph), term, x in zip(terms.all(), found, sums, strict=True):
        if not math.isfinite(x):
            bad.append(f"{user_name(model, rv)!r} contributes {x}")
            belongs = terms.rows is not None and rv in terms.rows.observed
            places.append(causes.not_finite(terms, rv, graph, term, rows if belongs else None))
    if bad:
        seen = "".join(f"{place}. " for place in dict.fromkeys(places) if place)
        raise SamplingError(
            f"The log posterior is not finite at the model's initial point: {', '.join(bad)}. "
            f"{seen}Check the data against the support of these variables, or give initval=... to "
            "the variables they depend on."
        )


def terms_have_gradients(terms: Terms) -> None:
    """Refuse a term of the log posterior that PyTensor can't differentiate, and name it."""
    model = terms.model
    for rv, term in terms.all():
        try:
            pytensor.grad(term.sum(), list(terms.value_vars), disconnected_inputs="ignore")
        except (NotImplementedError, NullTypeGradError) as error:
            raise NotImplementedError(
                f"The log density of {user_name(model, rv)!r} has no gradient, which this step "
                f"needs ({error}). Sample it without gradients (pm.Slice, pm.DEMetropolisZ), or "
                "give its Op a pullback."
            ) from error


def lacks_gradient(terms: Terms) -> bool:
    """Whether an operation of the log posterior was written without a gradient."""
    graphs = [term for _, term in terms.all()]
    ops = {type(v.owner.op) for v in ancestors(graphs) if v.owner is not None}
    return any(
        op.pullback is Op.pullback and op.L_op is Op.L_op and op.grad is Op.grad for op in ops
    )


def warn_of_terms_in_full(terms: Terms) -> None:
    """Tell which terms read far more rows in an update than a batch has."""
    data, model, size = terms.rows, terms.model, terms.batch_size
    assert data is not None
    assert size is not None
    for rv, term in terms.all()[len(model.free_RVs) :]:
        lengths = [len(value_of(v)) for v in values_read(term) if is_array(v)]
        n = max(lengths, default=0)
        if rv in data.observed or n < max(_COSTLY, 10 * size):
            continue
        what = "pm.Potential" if rv in model.potentials else "observed variable"
        warn_user(
            f"The {what} {rv.name!r} reads {n} rows in every update, where a batch has {size}. If "
            f"they are observations, write them and those of {data.observed[0].name!r} as one "
            "observed variable, to have them in batches: pm.Censored for lifetimes, or "
            "pm.CustomDist(..., logp=..., observed=...) with a column that tells which row is "
            "which."
        )


def _row_terms(
    terms: Terms,
    rv: Named,
    term: Variable,
    chosen: np.ndarray,
    points: Sequence[dict[str, np.ndarray]],
) -> list[np.ndarray]:
    """Term of one observed variable for each chosen row, at each point, up to a factor."""
    values = terms.rows.at(chosen)  # type: ignore[union-attr]
    rows = [pt.tensor(dtype=x.dtype.name, shape=x.shape) for x in values]
    (term,) = rebuild([term], terms.row_replacements(rows))
    inputs = [*terms.model.value_vars, *rows]
    function = compile_graph(inputs, term, mode=INTERPRETED, on_unused_input="ignore")
    with np.errstate(all="ignore"):
        found = [function(*point.values(), *values) for point in points]
    # A variable with total_size has multiplied its terms by N/B.
    own = isinstance(rv.owner.op, MinibatchRandomVariable)
    return [x / terms.scale(rv, len(chosen)) for x in found] if own else found


def _random_point(terms: Terms, scale: float, rng: np.random.Generator) -> dict:
    point = {}
    for v in terms.model.value_vars:
        x = np.asarray(terms.initial_point[v.name], v.type.dtype)
        jitter = scale * rng.uniform(-1, 1, x.shape) if x.dtype.kind == "f" else 0
        point[v.name] = np.asarray(x + jitter, v.type.dtype)
    return point


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    precision = 1e-6 if a.dtype == "float64" else 1e-3
    return np.allclose(a, b, rtol=precision, atol=precision, equal_nan=True)


def _out_of_range(data: RowData, rv: Named, error: IndexError) -> str:
    return (
        f"The likelihood of {rv.name!r} takes an entry that does not exist ({error}). Either the "
        "row data hold an index out of range, or one of these arrays is a table that has as many "
        f"entries as there are rows by chance: {shapes(data)}. Mend the index, or name the "
        "row data with data=[...]."
    )
