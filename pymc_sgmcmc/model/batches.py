"""Which arrays of a model a batch takes rows of, and how many."""

from collections.abc import Sequence
from dataclasses import replace

from pymc.model import Model

from pymc_sgmcmc.arguments import integer
from pymc_sgmcmc.model.rows import (
    ROUTE_A,
    RowData,
    all_arrays,
    find_rows,
    find_stored_rows,
    shapes,
    uses_minibatch,
)
from pymc_sgmcmc.model.terms import Terms
from pymc_sgmcmc.streaming.stored import StoredRows
from pymc_sgmcmc.warn import warn_user


def in_batches(
    terms: Terms, batch_size: int | None, data: Sequence[str] | StoredRows | None
) -> Terms:
    """The same terms, with their row data and the number of rows in a batch.

    Parameters
    ----------
    terms : Terms
    batch_size : int or None
        None takes all rows, or the batch size of the model's own ``pm.Minibatch``.
    data : sequence of str, StoredRows or None
        Names of the row data; inferred when None. Or all rows, where those of the model are but
        a template.

    Raises
    ------
    ValueError, TypeError
        If the model or an argument does not allow minibatches; the message says what to write.
    """
    if batch_size is not None:
        batch_size = integer("batch_size", batch_size, otherwise=", or None for all rows")
    rows = _rows(terms, batch_size, data)
    return replace(terms, rows=rows, batch_size=_size(batch_size, rows, terms.model))


def _rows(
    terms: Terms, batch_size: int | None, data: Sequence[str] | StoredRows | None
) -> RowData | None:
    if uses_minibatch([*terms.priors, *terms.potentials]):
        raise ValueError(
            "A prior or a pm.Potential of the model depends on pm.Minibatch, which only "
            f"observed variables may do. {ROUTE_A}"
        )
    if uses_minibatch(terms.likelihoods):
        warn_user(
            "The model uses pm.Minibatch. Sampling is right, but pm.compute_log_likelihood, "
            "LOO and posterior predictive sampling of such a model see one random batch, "
            f"scaled by total_size. {ROUTE_A}",
        )
    elif batch_size is None and data is None:
        return all_arrays(terms.likelihoods)
    if isinstance(data, StoredRows):
        return find_stored_rows(terms.model, terms.likelihoods, data)
    return find_rows(terms.model, terms.likelihoods, data)


def _size(size: int | None, rows: RowData | None, model: Model) -> int | None:
    if rows is None or rows.n_rows is None:
        return None
    if size is None:
        size = rows.batch_size
    if size is None and rows.stored is not None:
        raise ValueError(
            "Sources of data are read in batches: give batch_size=..., 500 say. (For all "
            f"{rows.n_rows:,} rows in every update, write the model with all of them.)"
        )
    if size is not None and size > rows.n_rows:
        raise ValueError(
            f"batch_size={size} exceeds the {rows.n_rows} rows of the data, which are along the "
            f"first axis: {shapes(rows)}. {_other_axes(rows)}{_dims(model)}"
            "Use batch_size=None to take all rows."
        )
    return None if size == rows.n_rows else size


def _other_axes(rows: RowData) -> str:
    if all(x.ndim == 1 for x in rows.values()):
        return ""
    return (
        "If rows are along another axis, transpose the arrays; if the first axis is one of groups, "
        "flatten groups and rows into one axis, with an index column that tells the group: "
        "w[group]. "
    )


def _dims(model: Model) -> str:
    """Dims of observed tables: those that pymc.dims makes may not begin with that of the rows."""
    found = {rv.name: model.named_vars_to_dims.get(rv.name, ()) for rv in model.observed_RVs}
    return "".join(
        f"{name!r} has the dims {dims}: put that of its rows first, dims=({dims[-1]!r}, ...). "
        for name, dims in found.items()
        if len(dims) > 1
    )
