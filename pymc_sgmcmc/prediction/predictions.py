"""Predictions for new rows, and how likely their outcomes are, by every draw of a posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pymc.model import Model
from pymc.util import RandomState
from pytensor.tensor.variable import TensorVariable
from xarray import DataTree

from pymc_sgmcmc.arguments import float_dtype, generator, listed, names, text
from pymc_sgmcmc.model.graphs import values_read
from pymc_sgmcmc.model.plain import plain, the_model
from pymc_sgmcmc.prediction.groups import to_groups
from pymc_sgmcmc.prediction.in_blocks import predict_in_blocks
from pymc_sgmcmc.prediction.laws import parameters_of, resized
from pymc_sgmcmc.prediction.linearised import GROUP, of_draws
from pymc_sgmcmc.prediction.new_rows import NewRows
from pymc_sgmcmc.prediction.posterior import Posterior
from pymc_sgmcmc.prediction.values import in_order
from pymc_sgmcmc.streaming.sources import is_source, open_rows
from pymc_sgmcmc.warn import warn_user
from pymc_sgmcmc.weights import in_proportion


def predict(
    idata: DataTree,
    data: Mapping[str, ArrayLike],
    *,
    var_names: Sequence[str] | None = None,
    model: Model | None = None,
    coords: Mapping[str, Sequence | np.ndarray] | None = None,
    group: str = "posterior",
    dtype: str = "float32",
    random_seed: RandomState = None,
    weights: ArrayLike | None = None,
    quantiles: Sequence[float] | None = None,
    to: str | Path | None = None,
) -> DataTree:
    """Predict new rows with every draw of a posterior, and score their outcomes if they are given.

    A few draws are evaluated at a time, compiled by JAX where it can, so that little but what is
    returned takes memory: four bytes for each draw, row and class. The model's data stay.

    Draws that `laplace` gave are of a model that is linear around its mode, and so are predictions.

    Parameters
    ----------
    idata : DataTree
        With draws of the model's variables in `group`. Of variables that are computed from others,
        those that were recorded are taken as they are.
    data : mapping of str to array
        Values for the new rows: of each ``pm.Data`` that predictions need, and, by the names of
        observed variables (or of the ``pm.Data`` that they observe), the outcomes, where known. The
        columns of a frame may come in any order where the data have a dim with their names.
    var_names : sequence of str, optional
        What to predict: Deterministics; the name of an observed variable for draws of outcomes;
        or parameters of an observed variable ``y`` in its own law: ``y_mean``, ``y_sd`` of a normal
        one, ``y_probability`` of a Bernoulli (of 1) or categorical one (of each class), ``y_mean``
        of others. When None, all of these that depend on the data that are exchanged.
    model : pm.Model, optional
        The model of the ``with`` context when None.
    coords : mapping of str to sequence, optional
        Coordinates of dims whose length changes; 0, 1, 2, ... when left out.
    group : str, default "posterior"
        Where the draws are: "prior" for those of ``pm.sample_prior_predictive``, which show what a
        prior predicts.
    dtype : str, default "float32"
        Of what is returned.
    random_seed : int or numpy.random.Generator, optional
        For draws of outcomes.
    weights : array_like, optional
        Of each chain, from `stack_chains`. Each chain's draws are then taken in proportion, none
        twice, and come back as one chain in which all count the same: for plots and means that know
        no weights. (Scores take ``weights=`` themselves, and use every draw.) When None all draws,
        in their chains.
    quantiles : sequence of float, optional
        Have rows taken in blocks, and summaries over draws returned in place of draws: mean,
        standard deviation, these quantiles, and the log of the mean likelihood. Memory no longer
        grows with rows times draws, and `data` may hold sources of rows on disk, as that of a step
        may: columns of a table, ``("rows.parquet", ["a", "b"])``, arrays of zarr, memmaps.
    to : path, optional
        Where to write summaries to, a new zarr store; the DataTree then reads from it. They stay in
        memory when None.

    Returns
    -------
    DataTree
        Groups ``predictions`` with `var_names`, ``(chain, draw, row, ...)``; where outcomes are
        given, ``log_likelihood``, in nats, and ``observed_data``; ``predictions_constant_data``.
        With `quantiles`, groups ``mean``, ``sd`` and ``quantiles``, ``(row, ...)``, and
        ``log_predictive`` where outcomes are given.

    Raises
    ------
    ValueError
        If a name is unknown, values are no numbers, of another shape or codes of groups that the
        model has not seen, draws of a variable are missing, or the weights are not those of the
        chains; the message says what to write.

    Warns
    -----
    UserWarning
        If outcomes are impossible by every draw.

    See Also
    --------
    pymc_sgmcmc.diagnostics.stack_chains : Weights for chains that don't mix.
    pymc_sgmcmc.diagnostics.lppd : The score of outcomes whose log-likelihood is here.
    pymc_sgmcmc.diagnostics.predictive_rhat : Whether the chains agree on the predictions.
    pymc_sgmcmc.laplace : Draws around one mode.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, predict, sample
    >>> from pymc_sgmcmc.diagnostics import lppd
    >>> x = np.linspace(-1, 1, 1_000)
    >>> with pm.Model() as model:
    ...     slope = pm.Normal("slope", 0, 10)
    ...     y = pm.Normal("y", slope * pm.Data("x", x), 0.1, observed=2 * x)
    ...     idata = sample(100, tune=100, step=ATMC(), random_seed=1, progressbar=False)
    >>> new = predict(idata, {"x": [5.0, 10.0], "y": [10.0, 20.0]}, model=model)
    >>> new["predictions"]["y_mean"].mean(("chain", "draw")).values.round().tolist()
    [10.0, 20.0]
    >>> round(float(lppd(new)), 1)
    1.3
    """
    model = plain(the_model(model))
    if not isinstance(data, Mapping):
        name = next((v.name for v in model.data_vars), "X")
        raise TypeError(
            f"data must be a dict of new values by name, got {type(data).__name__}: "
            f"predict(idata, {{{name!r}: ...}})."
        )
    if not isinstance(idata, DataTree):
        raise TypeError(
            "predict needs the DataTree that pm.sample or pymc_sgmcmc.sample gave, got "
            f"{type(idata).__name__}: predict(idata, {{...}})."
        )
    if text("group", group) not in idata.children:
        raise ValueError(
            f"idata has no group {group!r}, only {', '.join(map(repr, idata.children))}."
        )
    _check_coords(coords)
    dtype = float_dtype("dtype", dtype, ("float16", "float32", "float64"))
    posterior, mode = idata.children[group], idata.children.get(GROUP)
    if weights is not None:
        posterior = DataTree(in_proportion(posterior.to_dataset(), weights), name=group)
    dims = model.named_vars_to_dims
    data = {k: in_order(k, x, dims.get(k, ()), model.coords) for k, x in data.items()}
    if quantiles is not None:
        rows = open_rows({k: x if is_source(x) else np.asarray(x) for k, x in data.items()})
        return predict_in_blocks(
            model, posterior, rows, lambda new: asked_of(new, var_names), quantiles, dtype, to, mode
        )
    _refuse_sources(data, to)
    new = NewRows(model, data, coords or {})
    rng = generator("random_seed", random_seed)
    asked = asked_of(new, var_names)
    try:
        draws = of_draws(model, posterior, new, dtype, mode)
        predictions, likelihood = _evaluate(asked, draws, new, rng)
        return to_groups(model, posterior, new, predictions, likelihood)
    except Exception as error:
        shapes = new.other_shapes()
        if not shapes:
            raise
        raise ValueError(f"{shapes}. The model can't be evaluated with those.") from error


def _check_coords(coords: Any) -> None:
    """Raise an error for what gives no labels to dims."""
    labels = {} if coords is None else coords
    if not isinstance(labels, Mapping) or any(listed(x) is None for x in labels.values()):
        raise TypeError(f"coords must be a dict of labels by dim, got {coords!r}.")


def _refuse_sources(data: Mapping[str, Any], to: str | Path | None) -> None:
    """Raise an error for sources of rows, or a place for summaries, where draws are asked for."""
    if to is not None:
        raise ValueError("to is where summaries go: say which, quantiles=(0.05, 0.95).")
    for name, x in data.items():
        if isinstance(x, str | Path) or (
            isinstance(x, tuple) and x and isinstance(x[0], str | Path)
        ):
            raise TypeError(
                f"data[{name!r}] is a source of rows on disk, whose predictions by every draw may "
                "be too many: ask for summaries with quantiles=(0.05, 0.95), say, or give an array."
            )


def asked_of(new: NewRows, var_names: Sequence[str] | None) -> dict[str, TensorVariable]:
    """What is to be predicted, by name; when None, parameters that depend on the new data."""
    parameters = {k: v for rv in new.model.observed_RVs for k, v in parameters_of(rv).items()}
    if var_names is None:
        changed = {v for v in new.values if v.name in new.shared}
        return {k: v for k, v in parameters.items() if changed & set(values_read(v))}
    var_names = names("var_names", var_names)
    deterministics = {v.name: v for v in new.model.deterministics}
    known = {**new.observed, **parameters, **deterministics}
    for name in var_names:
        if name not in known:
            raise ValueError(
                f"var_names has {name!r}. What can be predicted: {', '.join(map(repr, known))}."
            )
    return {name: known[name] for name in var_names}


def _evaluate(
    asked: Mapping[str, TensorVariable], draws: Posterior, new: NewRows, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Predictions, and log-likelihoods of the outcomes that are known."""
    sampled = {k: resized(v) for k, v in asked.items() if k in new.observed}
    computed = {k: v for k, v in asked.items() if k not in new.observed}
    scores = {
        k: pm.logp(resized(new.observed[k]), pt.as_tensor(x)) for k, x in new.outcomes.items()
    }
    # Together, for what they have in common is computed once.
    graphs = computed | scores
    results = draws.evaluate(graphs) if graphs else {}
    predictions = {k: results[k] for k in computed}
    likelihood = {k: results[k] for k in scores}
    for name, x in likelihood.items():
        _warn_of_impossible(name, new.outcomes[name], x)
    if sampled:
        predictions |= draws.draw(sampled, rng)
    return predictions, likelihood


def _warn_of_impossible(name: str, y: np.ndarray, log_likelihood: np.ndarray) -> None:
    """Warn of outcomes that no draw of the posterior allows, as 2 where the law is of 0 and 1."""
    impossible = np.argwhere(np.isneginf(log_likelihood).all((0, 1)))
    if len(impossible):
        where = impossible[0].tolist()
        value = f" is {y[tuple(where)]}" if y.ndim == len(where) else ""
        warn_user(
            f"{name!r}{value} at {where}, which has probability 0 by every draw: log-likelihoods "
            f"of {len(impossible)} rows are -inf, and so are scores. Is it coded as in the model?",
        )
