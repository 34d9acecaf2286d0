"""Why a model is not a sum over rows: the cause that is seen, or else the likely ones."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from pymc.pytensorf import compile as compile_graph
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.scan.op import Scan
from pytensor.tensor.subtensor import AdvancedSubtensor

from pymc_sgmcmc.model.graphs import leaves, values_read
from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.model.rows import (
    RowData,
    array_names,
    is_array,
    shapes,
    user_name,
    uses_minibatch,
    value_of,
)
from pymc_sgmcmc.model.terms import Terms
from pymc_sgmcmc.model.variables import Named


def misfit(terms: Terms, rv: Named, term: Variable) -> str | None:
    """Say which arrays of a likelihood have lengths that don't go together, if some do."""
    model = terms.model
    inputs = model.value_vars
    function = compile_graph(inputs, term, mode=INTERPRETED, on_unused_input="ignore")
    try:
        with np.errstate(all="ignore"):
            function(*(terms.initial_point[v.name] for v in inputs))
    except (ValueError, TypeError, AssertionError) as error:
        (reason, *_) = str(error).strip().splitlines()
        message = f"The arrays of {rv.name!r} don't go together ({reason.strip()}): "
        arrays = {array_names([v]): value_of(v).shape for v in _arrays(term)}
        # Of all lengths, the error has those that differ.
        seen = {int(number) for number in re.findall(r"\d+", reason)} - {1}
        lengths = {name: shape[0] for name, shape in arrays.items() if shape[0] in seen}
        if len(set(lengths.values())) > 1:
            return message + ", ".join(f"{name} has {n} rows" for name, n in lengths.items()) + "."
        large = [f"{name} {shape}" for name, shape in arrays.items() if np.prod(shape) > 1]
        return message + ", ".join(large) + "."
    return None


def not_separable(terms: Terms, rv: Named, term: Variable) -> str:
    """Say that the terms of a few rows are not those they have among all rows, and why."""
    data = terms.rows
    assert data is not None
    cause = _picked(data, term) or _latents(terms, rv) or _left_out(terms) or _likely(data, term)
    return (
        f"The likelihood of {rv.name!r} is not a sum over rows, of which a minibatch could be "
        "taken: the terms of a few rows by themselves are not those that the same rows have among "
        f"all {data.n_rows} rows. Row data: {shapes(data)}. {cause}"
    )


def not_finite(
    terms: Terms,
    rv: Named,
    graph: Variable,
    term: np.ndarray,
    rows: np.ndarray | None,
) -> str | None:
    """Say why a term is not finite: an array is not, or else which observed value it is of.

    Parameters
    ----------
    terms : Terms
    rv : Variable
        Variable of the term.
    graph : Variable
        Its log density.
    term : ndarray
        What that is at the initial point.
    rows : ndarray or None
        Numbers of the rows that the term is of; None for all data.
    """
    if terms.rows is not None and terms.rows.stored is not None and rows is not None:
        bad_row = _first_bad(term, len(rows))
        return None if bad_row is None else f"It is not in row {rows[bad_row]:,} of {rv.name!r}"
    value = _observed_value(terms, rv)
    row = None if value is None else _first_bad(term, len(value if rows is None else rows))
    if row is not None and rows is not None:
        row = int(rows[row])
    for v in _arrays(graph):
        x = value_of(v)
        bad = ~np.isfinite(x)
        if value is not None and row is not None and len(x) == len(value):
            # In another row it may be meant, as a bound of inf is.
            bad[np.arange(len(x)) != row] = False
        if bad.any():
            index = tuple(np.argwhere(bad)[0])
            return place(array_names([v]), index, x[index])
    return None if value is None or row is None else place(repr(rv.name), [row], value[row])


def _observed_value(terms: Terms, rv: Named) -> np.ndarray | None:
    """Observed rows of a variable, unless they are a batch or not the user's own."""
    model = terms.model
    if rv not in model.observed_RVs or user_name(model, rv) != rv.name:
        return None
    value = model.rvs_to_values[rv]
    return None if uses_minibatch([value]) or value.type.ndim == 0 else value_of(value)


def _first_bad(term: np.ndarray, length: int) -> int | None:
    bad = np.argwhere(~np.isfinite(term))
    return int(bad[0, 0]) if term.shape[:1] == (length,) and len(bad) else None


def place(name: str, index: Sequence[int], what: object) -> str:
    """Say what an array is at an index."""
    row, *others = map(int, index)
    column = f", column {others[0] if len(others) == 1 else tuple(others)}" if others else ""
    return f"{name[0].upper()}{name[1:]} is {what} in row {row}{column}"


def _arrays(term: Variable) -> list[Variable]:
    return [v for v in values_read(term) if is_array(v)]


def _picked(data: RowData, term: Variable) -> str | None:
    """Rows that a mask picks inside the model, from more."""
    for v in ancestors([term]):
        if v.owner is None or not isinstance(v.owner.op, AdvancedSubtensor):
            continue
        table, *indices = v.owner.inputs
        masks = [value_of(x) for x in indices if is_array(x) and x.type.dtype == "bool"]
        if not masks or np.count_nonzero(masks[0]) != data.n_rows:
            continue
        shape = masks[0].shape
        rows = f"Its {data.n_rows} rows are picked by a mask inside the model, from"
        if len(shape) > 1:
            return (
                f"{rows} an array of shape {shape}. Have index columns in place of the mask: with "
                "u, v = np.nonzero(mask), write (U[u] * V[v]).sum(-1) for (U @ V.T)[mask]."
            )
        found = [x for x in leaves([table]) if is_array(x) and len(value_of(x)) == shape[0]]
        if not found:
            return (
                f"{rows} {shape[0]} entries. Have an index column in place of the mask: "
                "a[np.flatnonzero(mask)] for a[mask]."
            )
        return (
            f"{rows} the {shape[0]} of {array_names(found)}. Pick them before, from the arrays "
            "themselves: X[mask] @ b for (X @ b)[mask]. Where masks split one predictor among "
            "several observed variables, one of all rows is faster (as pm.Censored is of "
            "lifetimes)."
        )
    return None


def _latents(terms: Terms, rv: Named) -> str | None:
    """Free variables with an entry for each row."""
    data, model = terms.rows, terms.model
    assert data is not None
    found = [
        v
        for v in model.free_RVs
        if data.n_rows in np.shape(terms.initial_point[model.rvs_to_values[v].name])
    ]
    if not found:
        return None
    message = f"{', '.join(repr(v.name) for v in found)} has one entry per row"
    chance = "If it has as many entries by chance, name the row data with data=[...]."
    if any(v in model.discrete_value_vars for v in map(model.rvs_to_values.get, found)):
        return (
            f"{message}: a latent variable of each row can't be sampled from minibatches, and a "
            "discrete one has no gradient. Sum it out (pm.Mixture does that for indicators), or "
            f"sample it with another step, without minibatches. {chance}"
        )
    shape = value_of(model.rvs_to_values[rv]).shape
    if len(shape) > 1:
        message += (
            f", and rows are along the first axis: {rv.name!r} {shape} has {shape[0]}. If these "
            f"are groups, make a row of each of the {np.prod(shape)} entries: flatten {rv.name!r}, "
            f"and have an index column tell the group, {found[0].name}[group] (documents: one row "
            "per word). If rows are along another axis, transpose the arrays. Otherwise"
        )
    else:
        message += ":"
    return (
        f"{message} a latent variable of each row can't be sampled from minibatches. Integrate it "
        "out (pm.Mixture does that for indicators; pm.gp.HSGP approximates a Gaussian process "
        f"without it), or use batch_size=None, with which every update takes all rows. {chance}"
    )


def _left_out(terms: Terms) -> str | None:
    """Arrays of the same length that ``data=`` does not name."""
    data = terms.rows
    assert data is not None
    found = [
        v
        for v in leaves(terms.likelihoods)
        if is_array(v) and v not in data.variables and len(value_of(v)) == data.n_rows
    ]
    if not found:
        return None
    return (
        f"{array_names(found)} also has {data.n_rows} entries: add it to data=[...] if it has one "
        "for each row (an array in pm.Data has a name)."
    )


def _likely(data: RowData, term: Variable) -> str:
    causes = [
        "Rows depend on each other. A Gaussian process has no minibatches, its approximation "
        "pm.gp.HSGP has; an autoregression has if past values are columns of the data.",
        "A statistic of all rows is computed inside the model, such as X - X.mean(0): compute it "
        "beforehand.",
        "Their number is written as a number: write X.shape[0], with X in pm.Data.",
        "An array has as many entries as there are rows by chance: name the row data with "
        "data=[...] (arrays in pm.Data have names).",
    ]
    across = [
        f"{array_names([v])} {value_of(v).shape}"
        for v in _arrays(term)
        if v not in data.variables and data.n_rows in value_of(v).shape[1:]
    ]
    axis = f": transpose {', '.join(across)}" if across else ""
    causes.insert(0 if across else 2, f"Rows are not along the leading axis{axis}.")
    if any(isinstance(v.owner.op, Scan) for v in ancestors([term]) if v.owner):
        causes.insert(
            0,
            "It has a loop (a Scan, as GARCH and adstock have), in which each entry depends on "
            "those before. A loop that forgets after L entries can be written without: with the "
            "past as L columns, (past * decay ** np.arange(L)).sum(-1).",
        )
    return (
        "Likely causes:\n"
        + "".join(f"- {cause}\n" for cause in causes)
        + "Otherwise use batch_size=None, with which every update takes all rows."
    )
