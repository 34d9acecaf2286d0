"""Chains that predict worse than a model without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy
from xarray import DataArray, DataTree

from pymc_sgmcmc.arguments import number, one_of
from pymc_sgmcmc.diagnostics.calibration import read_probabilities
from pymc_sgmcmc.diagnostics.reading import observations, pick


@dataclass(frozen=True)
class DeadChains:
    """What `dead_chains` found; prints as a report.

    Attributes
    ----------
    dead : list
        Labels of the chains that are worse than the baseline.
    alive : list
        Labels of the others: `idata.sel(chain=found.alive)`.
    scores : DataArray
        Of each chain, dims ``(chain,)``.
    baseline : float
        Score of the baseline.
    measure : str
        "RMSE", in units of the outcome; or "log score", in nats per row, where more is better.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import dead_chains
    >>> y = np.arange(4.0)
    >>> y_mean = np.array([[y, y + 1], [0 * y, 0 * y]])  # two chains of two draws
    >>> new = az.from_dict({"predictions": {"y_mean": y_mean}, "observed_data": {"y": y}})
    >>> found = dead_chains(new)
    >>> found.alive, found.scores.values.round(1).tolist()
    ([0], [0.5, 1.9])
    >>> new["predictions"].sel(chain=found.alive).sizes["chain"]
    1
    """

    dead: list[int | str]
    alive: list[int | str]
    scores: DataArray
    baseline: float
    measure: str

    def __str__(self) -> str:
        verdict = f"{len(self.dead)} of {len(self.scores)} chains are worse than the baseline"
        lines = [f"{verdict} ({self.measure} {self.baseline:.4g})."]
        lines += [
            f"✗ chain {chain}: {self.measure} {float(self.scores.sel(chain=chain)):.4g}"
            for chain in self.dead
        ]
        return "\n".join(lines)

    __repr__ = __str__


def dead_chains(
    idata: DataTree,
    var_name: str | None = None,
    *,
    baseline: Literal["constant", "linear"] | float = "constant",
    X: ArrayLike | None = None,
    observed: ArrayLike | None = None,
    group: str | None = None,
) -> DeadChains:
    """Find chains whose predictions are worse than those of a trivial model.

    Some chains of a network end where most hidden units are off or saturated, and stay. In
    regression a chain is dead if the RMSE of its mean prediction is above the baseline's; with
    probabilities (``<outcome>_probability``, or with a dimension of classes) if its log score,
    the mean over rows of log p̄(y_i), is below.

    Parameters
    ----------
    idata : xarray.DataTree
        With predictions of dims ``(chain, draw, row)``, or probabilities with a last dimension of
        classes.
    var_name : str, optional
        When None the only one of ``<outcome>_probability``, ``<outcome>_mean``, or draws of the
        outcome, in this order.
    baseline : {"constant", "linear"} or float
        "constant" predicts the mean of the outcome (the frequencies of the classes); "linear" the
        least squares of the outcome on `X` with an intercept, in regression only. A number is the
        score that a chain must reach.
    X : array_like, optional
        Features of the predicted rows, ``(row, features)``, for "linear".
    observed : array_like, optional
        Outcome of the predicted rows; group ``observed_data`` when None.
    group : str, optional
        By default the first of ``predictions``, ``posterior_predictive`` and ``posterior``.

    Returns
    -------
    DeadChains
        The labels of dead and living chains, and what they were judged by.

    Raises
    ------
    ValueError
        If `X` is missing or has no more rows than the linear model has coefficients, or the
        baseline does not suit the prediction.

    See Also
    --------
    rmse : The error of each chain, with ``per_chain=True``.
    lppd : The log predictive density of each chain, with ``per_chain=True``.

    Notes
    -----
    The baseline is fitted to the rows that it is judged on. On training rows this is fair, and
    the rows to choose: no choice among chains then touches the held-out data. On held-out rows
    the baseline knows what the chains do not, by some (features + 1) / rows of its variance;
    with few rows, fit it to the training rows and give its score on the held-out ones as a number.

    References
    ----------
    Sommer, Wimmer, Papamarkou, Bothmann, Bischl and Rügamer, "Connecting the Dots: Is
    Mode-Connectedness the Key to Feasible Sample-Based Inference in Bayesian Neural Networks?",
    ICML 2024 (with the linear model).

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import dead_chains
    >>> y = np.arange(4.0)
    >>> y_mean = np.array([[y, y + 1], [0 * y, 0 * y]])  # two chains of two draws
    >>> new = az.from_dict({"predictions": {"y_mean": y_mean}, "observed_data": {"y": y}})
    >>> dead_chains(new)
    1 of 2 chains are worse than the baseline (RMSE 1.118).
    ✗ chain 1: RMSE 1.871
    """
    if isinstance(baseline, str):
        one_of("baseline", baseline, ("constant", "linear"), otherwise=", or a number")
    else:
        baseline = number("baseline", baseline, -np.inf)
    prediction = pick(idata, var_name, ("_probability", "_mean", ""), group)
    y = observations(idata, prediction, observed, classes=True)
    if prediction.ndim > y.ndim + 2 or str(prediction.name).endswith("_probability"):
        if baseline == "linear":
            raise ValueError(
                "baseline='linear' is for regression. For probabilities: baseline='constant', or "
                "the log score of a model of yours."
            )
        p, codes = read_probabilities(idata, str(prediction.name), observed=observed, group=group)
        scores, limit, sign = _log_scores(p, codes), _entropy_score(codes), -1
        measure = "log score"
    else:
        scores = _rmse(prediction.mean("draw").values, y)
        limit, sign = _baseline_rmse(y, None if baseline == "constant" else X, baseline), 1
        measure = "RMSE"
    if not isinstance(baseline, str):
        limit = baseline
    # A score that is no number is of a dead chain.
    dead = ~(sign * scores <= sign * limit)
    labels = prediction["chain"].values
    return DeadChains(
        dead=labels[dead].tolist(),
        alive=labels[~dead].tolist(),
        scores=DataArray(scores, dims="chain", coords={"chain": labels}, name=measure),
        baseline=limit,
        measure=measure,
    )


def _rmse(prediction: np.ndarray, y: np.ndarray) -> np.ndarray:
    rows = tuple(range(-y.ndim, 0))
    return np.sqrt(np.mean((prediction - y) ** 2, axis=rows))


def _baseline_rmse(y: np.ndarray, X: ArrayLike | None, baseline: str | float) -> float:
    """RMSE of least squares on a constant, and on `X` if that is asked for."""
    design = np.ones((len(y), 1))
    if baseline == "linear":
        features = None if X is None else np.asarray(X, dtype=float)
        if features is not None:
            features = features.reshape(len(features), -1)
        if features is None or len(features) != len(y) or len(y) <= features.shape[1] + 1:
            given = "nothing" if features is None else f"shape {features.shape}"
            raise ValueError(
                f"baseline='linear' needs X=..., the features of the {len(y)} predicted rows, and "
                f"more rows than coefficients; got {given}."
            )
        design = np.column_stack([design, features])
    coefficients = np.linalg.lstsq(design, y.astype(float), rcond=None)[0]
    return float(_rmse(design @ coefficients, y))


def _log_scores(p: DataArray, y: np.ndarray) -> np.ndarray:
    """Mean log probability of the outcomes, by chain."""
    mean = p.mean("draw").values
    if mean.ndim == 2:
        mean = np.stack([1 - mean, mean], axis=-1)
    with np.errstate(divide="ignore"):
        return np.log(mean[:, np.arange(len(y)), y].clip(0, 1)).mean(1)


def _entropy_score(y: np.ndarray) -> float:
    """Log score of the frequencies of the classes: minus their entropy."""
    frequency = np.bincount(y) / len(y)
    return float(xlogy(frequency, frequency).sum())
