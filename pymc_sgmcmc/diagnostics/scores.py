"""How good predictions are: log predictive density, and root mean square error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from xarray import DataArray, DataTree

from pymc_sgmcmc.arguments import boolean
from pymc_sgmcmc.diagnostics.reading import (
    find_group,
    needs_log_likelihood,
    observations,
    pick,
    quoted,
    sampled,
)
from pymc_sgmcmc.weights import of_chains


def lppd(
    idata: DataTree,
    var_name: str | None = None,
    *,
    per_chain: bool = False,
    running: bool = False,
    weights: ArrayLike | None = None,
) -> DataArray:
    """Log pointwise predictive density, the mean per row (not the sum), in nats.

    (1/N) Σ_i log (1/S) Σ_s p(y_i | θ_s), over N observations and S draws; with weights, the average
    over draws is of each chain, and these are averaged by their weights.

    Parameters
    ----------
    idata : xarray.DataTree
        Its group ``log_likelihood`` has the log density of each observation, of dims
        ``(chain, draw, row)``: of held-out rows for a fair score. With more dimensions every
        entry is an observation.
    var_name : str, optional
        Variable of ``log_likelihood``; the only one when None.
    per_chain : bool
        Each chain as a posterior of its own, instead of all chains together.
    running : bool
        The value after 1, 2, ... draws (of every chain): flat where more draws would not help.
    weights : array_like, optional
        Of each chain, from `stack_chains`; equal when None.

    Returns
    -------
    xarray.DataArray
        Nats per row; dims ``()``, ``(chain)``, ``(draw)`` or ``(chain, draw)``.

    Raises
    ------
    ValueError
        If there is no log-likelihood, or several and no `var_name`; if the weights are not those of
        the chains.

    See Also
    --------
    rmse : The error of the mean prediction.
    pymc_sgmcmc.plots.plot_running_lppd : A picture of the running value.
    pymc_sgmcmc.predict : Gives the log-likelihood of new rows.

    References
    ----------
    Gelman, Hwang and Vehtari, "Understanding predictive information criteria for Bayesian
    models", Statistics and Computing 24 (2014), eq. 5.

    Examples
    --------
    Two draws, each of which gives one of two outcomes the probability 0.8 and the other 0.2. Their
    mean is better than either:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import lppd
    >>> log_density = np.log([[[0.8, 0.2], [0.2, 0.8]]])
    >>> new = az.from_dict({"log_likelihood": {"y": log_density}})
    >>> log_density.mean(2).round(2).tolist()
    [[-0.92, -0.92]]
    >>> round(float(lppd(new)), 2)
    -0.69
    """
    per_chain, running = boolean("per_chain", per_chain), boolean("running", running)
    needs_log_likelihood(idata)
    log_density = pick(idata, var_name, ("",), "log_likelihood").astype(float)
    values = log_density.values
    draws = values.shape[1]
    w = _shares(log_density, weights, per_chain)
    # Both sums of exponentials at once: over chains where they count as one, then over draws.
    if not per_chain:
        values = logsumexp(values, axis=0, keepdims=True, b=w.reshape(-1, *[1] * (values.ndim - 1)))
    if running:
        values = np.logaddexp.accumulate(values, axis=1)
        used = np.arange(1, draws + 1)
    else:
        values = logsumexp(values, axis=1, keepdims=True)
        used = np.array([draws])
    rows = tuple(range(2, values.ndim))
    mean = values.mean(axis=rows) - np.log(used)
    return _of_chain_and_draw(mean, log_density, "lppd", per_chain, running)


def rmse(
    idata: DataTree,
    var_name: str | None = None,
    *,
    observed: ArrayLike | None = None,
    group: str | None = None,
    per_chain: bool = False,
    running: bool = False,
    weights: ArrayLike | None = None,
) -> DataArray:
    """Root mean square error of the mean prediction, in units of the outcome.

    √((1/N) Σ_i (ȳ_i - y_i)²), with ȳ_i the mean over draws.

    Parameters
    ----------
    idata : xarray.DataTree
        With predictions of dims ``(chain, draw, row)``.
    var_name : str, optional
        When None ``<outcome>_mean``, or else draws of the outcome.
    observed : array_like, optional
        Outcome of the predicted rows; group ``observed_data`` when None.
    group : str, optional
        By default the first of ``predictions``, ``posterior_predictive`` and ``posterior``.
    per_chain : bool
        The error of each chain's mean prediction.
    running : bool
        The error of the mean of the first 1, 2, ... draws (of every chain).
    weights : array_like, optional
        Of each chain, from `stack_chains`; equal when None.

    Returns
    -------
    xarray.DataArray
        Dims ``()``, ``(chain)``, ``(draw)`` or ``(chain, draw)``.

    Raises
    ------
    ValueError
        If it is not clear what to compare, the rows of predictions and outcomes differ, all
        predictions are probabilities of classes, or the weights are not those of the chains.

    See Also
    --------
    lppd : Scores the predicted noise as well.
    dead_chains : Holds each chain against a trivial model.

    Examples
    --------
    Two chains that are wrong in opposite directions:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import rmse
    >>> y = np.arange(4.0)
    >>> y_mean = np.array([[y + 0.5] * 10, [y - 0.5] * 10])  # ten draws each
    >>> new = az.from_dict({"predictions": {"y_mean": y_mean}, "observed_data": {"y": y}})
    >>> rmse(new, per_chain=True).values.tolist(), float(rmse(new))
    ([0.5, 0.5], 0.0)
    """
    per_chain, running = boolean("per_chain", per_chain), boolean("running", running)
    if var_name is None:
        _refuse_probabilities(idata, group)
    prediction = pick(idata, var_name, ("_mean", ""), group)
    y = observations(idata, prediction, observed)
    values = prediction.values.astype(float)
    w = _shares(prediction, weights, per_chain)
    if not per_chain:
        values = np.tensordot(w, values, 1)[None]
    if running:
        count = np.arange(1, values.shape[1] + 1).reshape(-1, *[1] * y.ndim)
        values = values.cumsum(axis=1) / count
    else:
        values = values.mean(axis=1, keepdims=True)
    rows = tuple(range(2, values.ndim))
    error = np.sqrt(np.mean((values - y) ** 2, axis=rows))
    return _of_chain_and_draw(error, prediction, "rmse", per_chain, running)


def _refuse_probabilities(idata: DataTree, group: str | None) -> None:
    """Raise an error where all predictions are probabilities: an outcome of classes."""
    names = sampled(find_group(idata, group)[1])
    if names and all(name.endswith("_probability") for name in names):
        raise ValueError(
            f"rmse is for numbers, and {quoted(names)} {'are' if len(names) > 1 else 'is'} of "
            "classes: use brier_score(idata), or lppd(idata)."
        )


def _shares(x: DataArray, weights: ArrayLike | None, per_chain: bool) -> np.ndarray:
    """Weights ``(chain,)`` of sum 1; an error where they are given and chains stay apart."""
    if weights is None:
        return np.full(x.sizes["chain"], 1 / x.sizes["chain"])
    if per_chain:
        raise ValueError("per_chain=True keeps chains apart: weights mean nothing. Give one only.")
    return of_chains(weights, x["chain"]).values


def _of_chain_and_draw(
    values: np.ndarray, source: DataArray, name: str, per_chain: bool, running: bool
) -> DataArray:
    """Put dims and labels on values of shape ``(chain or 1, draw or 1)``."""
    dims = [d for d, kept in (("chain", per_chain), ("draw", running)) if kept]
    single = tuple(axis for axis, kept in enumerate((per_chain, running)) if not kept)
    coords = {dim: source[dim] for dim in dims if dim in source.coords}
    return DataArray(values.squeeze(single), dims=dims, coords=coords, name=name)
