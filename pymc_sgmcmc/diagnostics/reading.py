"""Find the predictions in a DataTree, and the observations that belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from xarray import DataArray, Dataset, DataTree

from pymc_sgmcmc.arguments import text

PREDICTIONS = ("predictions", "posterior_predictive", "posterior")
"""Where predictions are looked for, the first group that exists."""

OUTCOMES = ("predictions", "posterior_predictive")
"""Where draws of the outcome can be: never among the parameters."""

SUFFIXES = ("_mean", "_sd", "_probability")
"""What a prediction of ``y`` is called: ``y_mean`` and so on; ``y`` itself is the outcome."""


def find_group(
    idata: DataTree, group: str | None = None, groups: Sequence[str] = PREDICTIONS
) -> tuple[str, Dataset]:
    """Name and variables of `group`, or of the first of `groups` that exists."""
    needs_tree(idata)
    wanted = groups if group is None else (text("group", group),)
    for name in wanted:
        if name in idata.children:
            return name, idata[name].to_dataset()
    raise ValueError(
        f"There is no group {' or '.join(map(repr, wanted))}; there are: "
        f"{quoted(idata.children)}. Name one of them with group=..., or make predictions first."
    )


def needs_tree(idata: DataTree) -> None:
    """Raise an error for what is no DataTree."""
    if not isinstance(idata, DataTree):
        raise TypeError(
            f"idata must be the DataTree that pm.sample, pymc_sgmcmc.sample or predict gave, got "
            f"{type(idata).__name__}."
        )


def sampled(dataset: Dataset) -> list[str]:
    """Names of the numeric variables that have chains and draws."""
    return [
        str(name)
        for name, x in dataset.data_vars.items()
        if {"chain", "draw"} <= set(x.dims) and x.dtype.kind in "biuf"
    ]


def observed_names(idata: DataTree) -> list[str]:
    """Names of the observed variables."""
    return list(map(str, observed_data(idata).data_vars))


def observed_data(idata: DataTree) -> Dataset:
    """Observed variables; empty if there are none."""
    return idata["observed_data"].to_dataset() if "observed_data" in idata.children else Dataset()


def has_rows(x: DataArray, idata: DataTree) -> bool:
    """Whether a variable shares a dimension with the observations: it is by row, a prediction."""
    return bool(set(x.dims) & set(observed_data(idata).dims))


def pick(
    idata: DataTree,
    var_name: str | None,
    suffixes: Sequence[str],
    group: str | None = None,
    groups: Sequence[str] = PREDICTIONS,
) -> DataArray:
    """Variable `var_name`, or the only one that fits, with dims ``(chain, draw, ...)``.

    What fits is called like an observed variable with the first of `suffixes` that is found (the
    empty one stands for draws of the outcome), or else has none of the usual suffixes.
    """
    group, dataset = find_group(idata, group, groups)
    names = sampled(dataset)
    if var_name is not None:
        if not isinstance(var_name, str):
            raise TypeError(f"var_name must be the name of a variable, got {var_name!r}.")
        if var_name not in names:
            raise ValueError(
                f"{var_name!r} is no variable of group {group!r} with chains and draws. They are: "
                f"{quoted(names)}."
            )
        return _chain_draw_first(dataset[var_name])
    if group == "posterior":
        names = [name for name in names if has_rows(dataset[name], idata)]
    fitting = _fitting(names, suffixes, observed_names(idata))
    if len(fitting) == 1:
        return _chain_draw_first(dataset[fitting[0]])
    listed = quoted(fitting or sampled(dataset))
    first = (fitting or sampled(dataset) or ["..."])[0]
    raise ValueError(
        f"{'Several variables' if fitting else 'No variable'} of group {group!r} fit; it has "
        f"{listed}. Name the one to use: var_name={first!r}."
    )


def _fitting(names: list[str], suffixes: Sequence[str], outcomes: list[str]) -> list[str]:
    for suffix in suffixes:
        if suffix:
            found = [name for name in names if name.endswith(suffix)]
        else:
            found = [name for name in names if name in outcomes]
        if found:
            return found
    return [name for name in names if not name.endswith(SUFFIXES)]


def needs_log_likelihood(idata: DataTree) -> None:
    """Raise an error where there are no log densities of observations."""
    needs_tree(idata)
    if "log_likelihood" not in idata.children:
        raise ValueError(
            "There is no group 'log_likelihood'. Give the outcomes of new rows to predict: "
            "predict(idata, {..., 'y': y_test}); or, for the rows of the model, use "
            "pm.compute_log_likelihood(idata, model=model)."
        )


def observations(
    idata: DataTree, prediction: DataArray, observed: ArrayLike | None = None, classes: bool = False
) -> np.ndarray:
    """Observations in the order of the rows of a prediction.

    Parameters
    ----------
    idata : xarray.DataTree
    prediction : DataArray
        Dims ``(chain, draw, row)``, with a last one of classes if `classes` allows it.
    observed : array_like, optional
        In place of group ``observed_data``.
    classes : bool
        Whether the prediction may have one more dimension than the observations.
    """
    y = _observed_of(idata, str(prediction.name)) if observed is None else _given(observed)
    extra = prediction.ndim - 2 - y.ndim
    rows = prediction.dims[2 : 2 + y.ndim]
    sizes = tuple(prediction.sizes[dim] for dim in rows)
    if extra not in ((0, 1) if classes else (0,)) or sizes != y.shape:
        raise ValueError(
            f"{prediction.name!r} predicts {_sizes(prediction)}, but the observations are "
            f"{_sizes(y)}. Give those of the same rows: observed=...."
        )
    for dim in set(rows) & set(y.coords):
        if dim in prediction.coords and not np.array_equal(prediction[dim], y[dim]):
            raise ValueError(
                f"{prediction.name!r} and the observations differ in the labels of {dim!r}. Give "
                "the observations of the same rows in the same order: observed=...."
            )
    return y.values


def _given(observed: ArrayLike) -> DataArray:
    try:
        y = DataArray(observed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"observed must be an array of outcomes, got {observed!r}.") from error
    if not y.ndim:
        raise ValueError(f"observed must have an outcome for each row, got {observed!r}.")
    return y


def _observed_of(idata: DataTree, prediction: str) -> DataArray:
    dataset = observed_data(idata)
    names = observed_names(idata)
    outcome = next((prediction.removesuffix(s) for s in SUFFIXES if prediction.endswith(s)), "")
    name = next((n for n in (prediction, outcome) if n in names), None)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        raise ValueError(
            f"Which observations does {prediction!r} predict? The group 'observed_data' has "
            f"{quoted(names)}. Give them: observed=...."
        )
    return dataset[name]


def _chain_draw_first(x: DataArray) -> DataArray:
    return x.transpose("chain", "draw", ...)


def _sizes(x: DataArray) -> str:
    sizes = {dim: n for dim, n in x.sizes.items() if dim not in ("chain", "draw")}
    return ", ".join(f"{n} of {dim!r}" for dim, n in sizes.items()) or "a single number"


def quoted(names: Iterable) -> str:
    """Names in quotes with commas, for messages."""
    return ", ".join(repr(str(name)) for name in names) or "none"
