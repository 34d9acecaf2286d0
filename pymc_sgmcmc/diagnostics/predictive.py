"""Convergence of predictions, and of each chain with itself: R-hat and effective sample size.

The units of a hidden layer can swap places without any change of the network's output, so that
chains of weights seem to disagree where the functions that they stand for agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata
from xarray import DataArray, Dataset, DataTree, apply_ufunc

from pymc_sgmcmc.arguments import boolean, integer, names, text
from pymc_sgmcmc.diagnostics.reading import find_group, has_rows, observed_names, quoted, sampled
from pymc_sgmcmc.warn import warn_user


def predictive_rhat(
    idata: DataTree, var_names: Sequence[str] | str | None = None, *, group: str | None = None
) -> Dataset:
    """R-hat of predictions: whether the chains agree on the function.

    Rank-normalised split-R-hat, the maximum of bulk and tail, of every row's prediction. Weights
    of a neural network should not be asked: its hidden units swap places.

    Parameters
    ----------
    idata : xarray.DataTree
        With a group of predictions, variables of dims ``(chain, draw, row, ...)``.
    var_names : sequence of str, optional
        All of the group when None, but for draws of the outcome, whose noise hides what the chains
        disagree on.
    group : str, optional
        By default the first of ``predictions``, ``posterior_predictive`` and ``posterior``; of the
        latter, only variables that share a dimension with the observations.

    Returns
    -------
    xarray.Dataset
        Dims ``(row, ...)``; NaN where a prediction never changes.

    Raises
    ------
    ValueError
        If there is one chain only, or a group or variable is missing.

    Warns
    -----
    UserWarning
        If the variables look like parameters.

    See Also
    --------
    predictive_ess : How many draws the predictions are worth.
    chainwise_rhat : Whether each chain agrees with itself.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter and Bürkner, "Rank-normalization, folding, and
    localization: an improved R-hat", Bayesian Analysis 16 (2021).

    Examples
    --------
    Two rows; on the second, one of four chains predicts something else:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import predictive_rhat
    >>> y_mean = np.random.default_rng(0).normal(size=(4, 500, 2))
    >>> y_mean[3, :, 1] += 3
    >>> new = az.from_dict({"predictions": {"y_mean": y_mean}})
    >>> predictive_rhat(new)["y_mean"].values.round(1).tolist()
    [1.0, 1.5]
    """
    import arviz_stats

    dataset = _predictions(idata, var_names, group)
    if dataset.sizes["chain"] < 2:
        raise ValueError(
            "R-hat compares chains, and there is 1. Run four, or use chainwise_rhat(idata)."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return arviz_stats.rhat(dataset)


def predictive_ess(
    idata: DataTree,
    var_names: Sequence[str] | str | None = None,
    *,
    group: str | None = None,
    method: str = "bulk",
    prob: float | tuple[float, float] | None = None,
) -> Dataset:
    """Effective sample size of predictions.

    Parameters
    ----------
    idata : xarray.DataTree
        With a group of predictions, variables of dims ``(chain, draw, row, ...)``.
    var_names : sequence of str, optional
        As in `predictive_rhat`.
    group : str, optional
        As in `predictive_rhat`.
    method : str
        Of `arviz_stats.ess`: "bulk", "tail", "mean", "sd", "median", "quantile" ....
    prob : float or tuple of float, optional
        Probability that the methods "quantile", "local" and "tail" take.

    Returns
    -------
    xarray.Dataset
        In draws, dims ``(row, ...)``.

    Raises
    ------
    ValueError
        If a group or variable is missing.

    Warns
    -----
    UserWarning
        If the variables look like parameters.

    See Also
    --------
    predictive_rhat : Whether the chains agree on the predictions.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter and Bürkner, "Rank-normalization, folding, and
    localization: an improved R-hat", Bayesian Analysis 16 (2021).

    Examples
    --------
    2,000 independent draws, and 2,000 of which each is taken five times:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import predictive_ess
    >>> draws = np.random.default_rng(0).normal(size=(4, 500, 1))
    >>> y_mean = np.concatenate([draws, draws[:, :100].repeat(5, axis=1)], axis=2)
    >>> new = az.from_dict({"predictions": {"y_mean": y_mean}})
    >>> predictive_ess(new)["y_mean"].values.round(-2).tolist()
    [2000.0, 400.0]
    """
    import arviz_stats

    dataset = _predictions(idata, var_names, group)
    with np.errstate(divide="ignore", invalid="ignore"):
        return arviz_stats.ess(dataset, method=text("method", method), prob=prob)


def chainwise_rhat(
    idata: DataTree,
    var_names: Sequence[str] | str | None = None,
    *,
    splits: int = 4,
    group: str | None = None,
    per_chain: bool = False,
) -> Dataset:
    """ccR-hat(κ): whether each chain agrees with itself, wherever it is.

    Each chain is rank-normalised alone and cut into κ parts of n draws; R̂² = (n-1)/n + B/W with B
    the variance of the parts' means and W the mean of their variances. The average over chains is
    near 1 if every chain rests in its own place, although the places differ. It makes sense for
    weights too: `group="posterior"`.

    Parameters
    ----------
    idata : xarray.DataTree
        With variables of dims ``(chain, draw, ...)``; one chain is enough.
    var_names : sequence of str, optional
        As in `predictive_rhat`; with `group="posterior"` all its variables.
    splits : int
        κ, at least 2. The first draws are left out where κ does not divide their number.
    group : str, optional
        As in `predictive_rhat`.
    per_chain : bool
        Keep the values of the chains, instead of their average.

    Returns
    -------
    xarray.Dataset
        Dims ``(row, ...)``, with ``chain`` first if `per_chain`. NaN where a chain's prediction
        never changes.

    Raises
    ------
    ValueError
        If the parts would have fewer than 4 draws, or a group or variable is missing.

    See Also
    --------
    predictive_rhat : Whether chains agree with each other.

    References
    ----------
    Sommer, Wimmer, Papamarkou, Bothmann, Bischl and Rügamer, "Connecting the Dots: Is
    Mode-Connectedness the Key to Feasible Sample-Based Inference in Bayesian Neural Networks?",
    ICML 2024.

    Examples
    --------
    Four chains at rest in two places:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import chainwise_rhat, predictive_rhat
    >>> y_mean = np.random.default_rng(0).normal(size=(4, 500, 1))
    >>> y_mean[2:] += 3
    >>> new = az.from_dict({"predictions": {"y_mean": y_mean}})
    >>> [round(float(rhat(new)["y_mean"][0]), 1) for rhat in (predictive_rhat, chainwise_rhat)]
    [1.7, 1.0]
    """
    import arviz_stats

    dataset = _predictions(idata, var_names, group, warn=False)
    splits, per_chain = integer("splits", splits), boolean("per_chain", per_chain)
    n = dataset.sizes["draw"] // splits if splits >= 2 else 0
    if n < 4:
        raise ValueError(
            f"splits={splits} of {dataset.sizes['draw']} draws: at least 2 parts of at least 4 "
            f"draws each are needed. Try splits={max(2, min(4, dataset.sizes['draw'] // 4))}."
        )
    rested = dataset.isel(draw=slice(dataset.sizes["draw"] - splits * n, None))
    values = {}
    for name, x in rested.data_vars.items():
        parts = _normal_scores(x).coarsen(draw=n).construct(draw=("part", "within"))
        with np.errstate(divide="ignore", invalid="ignore"):
            values[name] = arviz_stats.rhat(
                parts, sample_dims=["part", "within"], method="identity"
            ).transpose("chain", ...)
    chains = Dataset(values)
    return chains if per_chain else chains.mean("chain", skipna=False)


def _normal_scores(x: DataArray) -> DataArray:
    """Rank-normalise each chain alone, ties sharing their mean rank."""

    def scores(draws: np.ndarray) -> np.ndarray:
        return ndtri((rankdata(draws, axis=-1) - 3 / 8) / (draws.shape[-1] + 1 / 4))

    normal = apply_ufunc(scores, x, input_core_dims=[["draw"]], output_core_dims=[["draw"]])
    return normal.drop_vars("draw", errors="ignore")


def _predictions(
    idata: DataTree, var_names: Sequence[str] | str | None, group: str | None, warn: bool = True
) -> Dataset:
    """Chosen variables of a group; a warning if they look like parameters."""
    name, dataset = find_group(idata, group)
    known = sampled(dataset)
    if var_names is None:
        rows = [v for v in known if has_rows(dataset[v], idata)]
        # A group that was asked for by name is meant as a whole.
        chosen = rows if name == "posterior" and group is None and rows else known
        chosen = [v for v in chosen if v not in observed_names(idata)] or chosen
    else:
        chosen = names("var_names", var_names, one=True)
    unknown = [v for v in chosen if v not in known]
    if unknown or not chosen:
        raise ValueError(
            f"Group {name!r} has no variable {quoted(unknown)} with chains and draws: var_names "
            f"may have {quoted(known)}."
        )
    parameters = [v for v in chosen if name == "posterior" and not has_rows(dataset[v], idata)]
    if warn and parameters:
        warn_user(
            f"{quoted(parameters)} of the posterior look like parameters. Hidden units swap "
            "places, so that their R-hat and effective sample size say little of a network: look "
            "at predictions, or at canonicalize(...) of the weights.",
        )
    return dataset[chosen]
