"""Predictions of more rows than memory holds: a block at a time, summarised over draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pymc as pm
import pytensor
from pymc.model import Model
from pytensor.tensor.variable import TensorVariable
from scipy.special import logsumexp
from xarray import Dataset, DataTree, concat, merge, open_datatree

from pymc_sgmcmc.arguments import listed, number
from pymc_sgmcmc.prediction.groups import dims_of
from pymc_sgmcmc.prediction.laws import resized
from pymc_sgmcmc.prediction.linearised import of_draws
from pymc_sgmcmc.prediction.new_rows import NewRows
from pymc_sgmcmc.streaming.stored import StoredRows

# Numbers of a block, over its rows and the draws of all chains.
_AT_ONCE = 2**24


def predict_in_blocks(
    model: Model,
    posterior: DataTree,
    rows: StoredRows,
    asked_of: Callable[[NewRows], dict[str, TensorVariable]],
    quantiles: Sequence[float],
    dtype: str,
    to: str | Path | None,
    mode: DataTree | None = None,
) -> DataTree:
    """Summaries over draws of what is predicted for each row.

    Parameters
    ----------
    model : pm.Model
    posterior : DataTree
        A group of draws.
    rows : StoredRows
        New rows, by the names of ``pm.Data`` and of observed variables.
    asked_of : callable
        Gives what is predicted, by name, of some new rows.
    quantiles : sequence of float
    dtype : str
        Of what is returned.
    to : path or None
        A new zarr store.
    mode : DataTree, optional
        Where the draws' model is linear; see `LinearisedPosterior`.

    Returns
    -------
    DataTree
        Groups ``mean``, ``sd`` and ``quantiles``, and ``log_predictive`` of known outcomes.

    Raises
    ------
    ValueError, TypeError
        As of `predict`; and for what has no entry per row, or is a draw of outcomes.
    FileExistsError
        If there is something where the store is to be.
    """
    if listed(quantiles) is None:
        raise TypeError(f"quantiles must be a list of levels, (0.05, 0.95) say, got {quantiles!r}.")
    levels = np.array([number("quantiles", q, 0, 1) for q in quantiles])
    if to is not None and Path(to).exists():
        raise FileExistsError(f"{to} exists: remove it, or write summaries to another place.")
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    size = min(rows.n_rows, max(1, _AT_ONCE // draws))

    def block(first: int) -> NewRows:
        found = {name: rows.read(name, first, first + size) for name in rows.names}
        # The last one is filled up: nothing compiles twice.
        short = {k: np.concatenate([x, x[-1:].repeat(size - len(x), 0)]) for k, x in found.items()}
        return NewRows(model, short, {})

    new = block(0)
    asked = asked_of(new)
    if sampled := [name for name in asked if name in new.observed]:
        raise ValueError(
            f"var_names has {', '.join(map(repr, sampled))}, draws of outcomes, which can't be "
            "summarised in blocks. Ask for parameters of their distribution, or leave quantiles "
            'out and take them of the draws: .quantile(levels, ("chain", "draw")).'
        )
    outcomes = {k: pytensor.shared(x, k) for k, x in new.outcomes.items()}
    scores = {k: pm.logp(resized(new.observed[k]), v) for k, v in outcomes.items()}
    scored = {k: f"{k} given its draws" for k in scores}
    graphs = asked | {scored[k]: x for k, x in scores.items()}
    evaluate = of_draws(model, posterior, new, dtype, mode).in_blocks(graphs, outcomes)
    dims = dims_of(model, list(asked)) | dims_of(model, list(scores))
    sink = _Sink(to)
    for first in range(0, rows.n_rows, size):
        kept = min(size, rows.n_rows - first)
        found = evaluate(block(first))
        for name, x in found.items():
            if x.shape[2:3] != (size,):
                raise ValueError(
                    f"{name!r} has the shape {x.shape[2:]}, not one entry for each of {size} rows: "
                    "leave it out of var_names."
                )
        flat = {k: x.reshape(-1, *x.shape[2:])[:, :kept] for k, x in found.items()}
        sink.add(_summaries({k: flat[k] for k in asked}, dims, levels, dtype))
        predictive = {k: _log_mean(flat[scored[k]]).astype(dtype) for k in scores}
        sink.add({"log_predictive": _dataset(predictive, dims)} if predictive else {})
    return sink.tree()


def _summaries(
    arrays: Mapping[str, np.ndarray],
    dims: Mapping[str, Sequence[str]],
    levels: np.ndarray,
    dtype: str,
) -> dict[str, Dataset]:
    means = {k: x.mean(0, dtype=float).astype(dtype) for k, x in arrays.items()}
    sds = {k: x.std(0, dtype=float).astype(dtype) for k, x in arrays.items()}
    found = {"mean": _dataset(means, dims), "sd": _dataset(sds, dims)}
    if levels.size:
        at = {k: np.quantile(x, levels, axis=0).astype(dtype) for k, x in arrays.items()}
        last = {k: np.moveaxis(x, 0, -1) for k, x in at.items()}
        named = {k: [*_dims(k, x.ndim - 1, dims), "quantile"] for k, x in last.items()}
        found["quantiles"] = _dataset(last, named).assign_coords(quantile=levels)
    return found


def _log_mean(log_likelihood: np.ndarray) -> np.ndarray:
    """Log of the mean likelihood of each row over draws, in nats."""
    found = logsumexp(log_likelihood.astype(float), axis=0) - np.log(len(log_likelihood))
    return found.reshape(len(found), -1).sum(1) if found.ndim > 1 else found


def _dataset(arrays: Mapping[str, np.ndarray], dims: Mapping[str, Sequence[str]]) -> Dataset:
    return Dataset({k: (_dims(k, x.ndim, dims), x) for k, x in arrays.items()})


def _dims(name: str, ndim: int, dims: Mapping[str, Sequence[str]]) -> list[str]:
    known = list(dims.get(name, ()))[:ndim]
    return [*known, *(f"{name}_dim_{i}" for i in range(len(known), ndim))]


class _Sink:
    """Where blocks of summaries go: into memory, or into a zarr store."""

    def __init__(self, to: str | Path | None) -> None:
        self._to, self._blocks = to, dict[str, list[Dataset]]()

    def add(self, groups: Mapping[str, Dataset]) -> None:
        """Add a block to every group, along the first dim of its variables."""
        for group, block in groups.items():
            begun = group in self._blocks
            blocks = self._blocks.setdefault(group, [])
            if self._to is None:
                blocks.append(block)
            elif begun:
                for dim, names in _by_rows(block).items():
                    block[names].to_zarr(self._to, group=group, append_dim=dim, consolidated=False)
            else:
                block.to_zarr(self._to, group=group, mode="a", consolidated=False)

    def tree(self) -> DataTree:
        """All that was added."""
        if self._to is not None:
            return open_datatree(self._to, engine="zarr", consolidated=False, chunks=None)
        whole = {}
        for group, blocks in self._blocks.items():
            parts = [
                concat([x[names] for x in blocks], dim)
                for dim, names in _by_rows(blocks[0]).items()
            ]
            whole[f"/{group}"] = merge(parts)
        return DataTree.from_dict(whole)


def _by_rows(block: Dataset) -> dict[str, list[str]]:
    """Names of variables by the dim of their rows."""
    found: dict[str, list[str]] = {}
    for name, x in block.data_vars.items():
        found.setdefault(str(x.dims[0]), []).append(str(name))
    return found
