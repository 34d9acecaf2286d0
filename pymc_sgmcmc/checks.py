"""Checks of a model against minibatches, each made once, before anything is compiled for speed.

They run through NumPy, which refuses an index out of range (JAX would clamp it and Numba read past
the end) and starts no JAX backend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytensor.tensor as pt
from pymc.exceptions import SamplingError
from pymc.pytensorf import compile as compile_graph
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors

from pymc_sgmcmc.graphs import rebuild

if TYPE_CHECKING:
    from pymc_sgmcmc.potential import StochasticPotential

# Rows that a check evaluates at most, so that it needs little memory.
MAX_ROWS = 20_000


def potentials_touch_no_rows(potential: StochasticPotential) -> None:
    """Refuse a ``pm.Potential`` of row data: what part of it belongs to a row can't be known."""
    assert potential.rows is not None
    rows = set(potential.rows.variables)
    for rv, term in zip(potential.model.potentials, potential.potentials, strict=True):
        if rows & set(ancestors([term])):
            raise ValueError(
                f"The pm.Potential {rv.name!r} depends on row data: which part of it belongs to "
                "which row can't be known, so it can't be scaled to a batch. Write it as an "
                "observed variable, for example pm.CustomDist(..., logp=..., observed=...), or "
                "use batch_size=None."
            )


def rows_separate(potential: StochasticPotential) -> None:
    """Check that the terms of some rows are those rows of all terms, at two random points."""
    data = potential.rows
    assert data is not None and data.n_rows is not None
    rng = np.random.default_rng(0)
    n = min(data.n_rows, MAX_ROWS)
    all_rows = rng.permutation(data.n_rows)[:n]
    chosen = np.sort(rng.permutation(n)[: min(64, (n + 1) // 2)])
    points = [_random_point(potential, rng) for _ in range(2)]
    for rv, term in zip(potential.model.observed_RVs, potential.likelihoods, strict=True):
        if rv not in data.observed:
            continue
        try:
            full = _row_terms(potential, rv, term, all_rows, points)
            batch = _row_terms(potential, rv, term, all_rows[chosen], points)
            separate = all(
                len(f) == n
                and len(b) == len(chosen)
                and np.allclose(f[chosen], b, rtol=1e-5, atol=1e-8, equal_nan=True)
                for f, b in zip(full, batch, strict=True)
            )
        except Exception as error:
            raise ValueError(_not_separable(potential, rv)) from error
        if not separate:
            raise ValueError(_not_separable(potential, rv))


def initial_point_is_finite(potential: StochasticPotential) -> None:
    """Check every term of the log posterior at the initial point, on at most `MAX_ROWS` rows."""
    model = potential.model
    replacements = {}
    if potential.batch_size is not None:
        values = potential.rows.values()  # type: ignore[union-attr]
        replacements = potential.row_replacements([pt.constant(x[:MAX_ROWS]) for x in values])
    terms = [*potential.priors, *potential.likelihoods, *potential.potentials]
    function = compile_graph(
        model.value_vars,
        [term.sum() for term in rebuild(terms, replacements)],
        mode="FAST_COMPILE",
        on_unused_input="ignore",
    )
    point = model.initial_point(0)
    values = function(*(point[v.name] for v in model.value_vars))
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
    rv: Variable,
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
    terms = [function(*point.values(), *values) for point in points]
    # A variable with total_size has multiplied its terms by N/B.
    own = rv.owner.op.__class__.__name__ == "MinibatchRandomVariable"
    return [t / potential.scale(rv, len(chosen)) for t in terms] if own else terms


def _random_point(potential: StochasticPotential, rng: np.random.Generator) -> dict:
    point = {}
    initial = potential.model.initial_point(0)
    for v in potential.model.value_vars:
        x = np.asarray(initial[v.name], v.type.dtype)
        jitter = rng.uniform(-1, 1, x.shape) if x.dtype.kind == "f" else 0
        point[v.name] = np.asarray(x + jitter, v.type.dtype)
    return point


def _not_separable(potential: StochasticPotential, rv: Variable) -> str:
    data, model = potential.rows, potential.model
    assert data is not None
    point = model.initial_point(0)
    latents = [
        v.name
        for v in model.free_RVs
        if data.n_rows in np.shape(point[model.rvs_to_values[v].name])
    ]
    found = ", ".join(
        f"{v.name or 'an array'} {x.shape}"
        for v, x in zip(data.sources, data.values(), strict=True)
    )
    message = (
        f"The likelihood of {rv.name!r} is not a sum over rows: its terms for some rows are not "
        f"those rows of its terms for all {data.n_rows} rows. Row data: {found}. "
    )
    if latents:
        return message + (
            f"{', '.join(map(repr, latents))} has one entry per row: a latent variable of each "
            "row can't be sampled from minibatches. Integrate it out, or use batch_size=None."
        )
    return message + (
        "Likely causes: rows that depend on each other (a GP, an AR process); a statistic of all "
        "rows computed inside the model, such as X - X.mean(0) (compute it beforehand); rows that "
        "are not along the leading axis; an array of another length. Mend that, name the row data "
        "with data=[...], or use batch_size=None."
    )
