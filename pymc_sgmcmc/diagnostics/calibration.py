"""Whether predicted probabilities are frequencies: reliability, calibration error, Brier score."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from xarray import DataArray, Dataset, DataTree

from pymc_sgmcmc.arguments import boolean, integer, one_of
from pymc_sgmcmc.diagnostics.reading import observations, pick, quoted
from pymc_sgmcmc.weights import pooled


def reliability(
    idata: DataTree,
    var_name: str | None = None,
    *,
    bins: int = 15,
    adaptive: bool = False,
    classwise: bool = False,
    observed: ArrayLike | None = None,
    group: str | None = None,
    weights: ArrayLike | None = None,
) -> Dataset:
    """Predicted probability against observed frequency, in bins of the probability.

    Of the posterior-mean probability. For a binary outcome that is P(y=1) against how often
    y=1; for more classes, the probability of the most probable class against how often it is
    right, or each class against the rest.

    Parameters
    ----------
    idata : xarray.DataTree
        With probabilities, of dims ``(chain, draw, row)`` for a binary outcome (of y=1) or
        ``(chain, draw, row, class)``.
    var_name : str, optional
        When None ``<outcome>_probability``.
    bins : int
        How many; a probability on an edge belongs to the lower one.
    adaptive : bool
        Bins of equal mass (edges at quantiles of the predictions) instead of equal width.
    classwise : bool
        One table for each class, instead of one for the most probable class of each row.
        A binary outcome has one table either way.
    observed : array_like, optional
        Outcome of the predicted rows, 0, 1, ... or labels of the classes; group
        ``observed_data`` when None.
    group : str, optional
        By default the first of ``predictions``, ``posterior_predictive`` and ``posterior``.
    weights : array_like, optional
        Of each chain, from `stack_chains`; equal when None.

    Returns
    -------
    xarray.Dataset
        Dims ``(bin,)`` or ``(class, bin)``: ``probability``, the mean prediction in the bin;
        ``frequency``, of the outcome; ``count``, of rows; ``lower`` and ``upper``, the bin's
        edges. The first two are NaN in empty bins.

    Raises
    ------
    ValueError
        If the predictions are no probabilities, or do not fit the observations.

    See Also
    --------
    calibration_error : One number for the table.
    pymc_sgmcmc.plots.plot_reliability : A picture of it.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017; Nixon,
    Dusenberry, Zhang, Jerfel and Tran, "Measuring Calibration in Deep Learning", CVPR workshops
    2019 (adaptive, classwise).

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import reliability
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random((1, 1, 10_000))  # one draw, 10,000 rows
    >>> y = rng.random(10_000) < p[0, 0]
    >>> new = az.from_dict({"predictions": {"y_probability": p}, "observed_data": {"y": y}})
    >>> reliability(new, bins=5)[["probability", "frequency"]].to_dataframe().round(1)
         probability  frequency
    bin
    0            0.1        0.1
    1            0.3        0.3
    2            0.5        0.5
    3            0.7        0.7
    4            0.9        0.9
    """
    bins = integer("bins", bins)
    adaptive, classwise = boolean("adaptive", adaptive), boolean("classwise", classwise)
    probability, y = read_probabilities(idata, var_name, observed=observed, group=group)
    p = pooled(probability, weights).mean(("chain", "draw"))
    if p.ndim == 1:
        return _table(p.values, y == 1, bins, adaptive)
    if not classwise:
        return _table(p.values.max(1), p.values.argmax(1) == y, bins, adaptive)
    label = str(p.dims[1])
    tables = [_table(p.values[:, k], y == k, bins, adaptive) for k in range(p.sizes[label])]
    return xr.concat(tables, DataArray(p[label].values, dims=label, name=label))


def calibration_error(
    idata: DataTree,
    var_name: str | None = None,
    *,
    bins: int = 15,
    adaptive: bool = False,
    classwise: bool = False,
    norm: Literal["l1", "l2", "max"] = "l1",
    observed: ArrayLike | None = None,
    group: str | None = None,
    weights: ArrayLike | None = None,
) -> float:
    """Expected calibration error: how far predicted probabilities are from frequencies.

    With n_b of N rows in bin b, gap_b = abs(frequency - mean probability) there: "l1" is the ECE
    Σ_b (n_b/N) gap_b, "l2" is √(Σ_b (n_b/N) gap_b²), and "max" the largest gap. It is never
    negative, so that chance alone gives a positive value: compare at the same bins and rows.

    Parameters
    ----------
    idata : xarray.DataTree
        As in `reliability`.
    var_name : str, optional
        When None ``<outcome>_probability``.
    bins : int
        How many.
    adaptive : bool
        Bins of equal mass instead of equal width.
    classwise : bool
        Average over the classes, each against the rest, instead of the most probable class of
        each row (top-label).
    norm : {"l1", "l2", "max"}
        How the gaps are put together.
    observed : array_like, optional
        Outcome of the predicted rows; group ``observed_data`` when None.
    group : str, optional
        By default the first of ``predictions``, ``posterior_predictive`` and ``posterior``.
    weights : array_like, optional
        Of each chain, from `stack_chains`; equal when None.

    Returns
    -------
    float
        In probability, from 0 to 1.

    Raises
    ------
    ValueError
        As `reliability`, or if the norm is unknown.

    See Also
    --------
    reliability : The table that it sums up.
    brier_score : Rewards probabilities that tell rows apart as well.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017; Nixon,
    Dusenberry, Zhang, Jerfel and Tran, "Measuring Calibration in Deep Learning", CVPR workshops
    2019.

    Examples
    --------
    Probabilities that are frequencies, and the same rounded to certainty:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import calibration_error
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random((1, 1, 10_000))  # one draw, 10,000 rows
    >>> y = rng.random(10_000) < p[0, 0]
    >>> for predicted in (p, p.round()):
    ...     groups = {"predictions": {"y_probability": predicted}, "observed_data": {"y": y}}
    ...     print(round(calibration_error(az.from_dict(groups)), 2))
    0.01
    0.25
    """
    one_of("norm", norm, ("l1", "l2", "max"))
    table = reliability(
        idata,
        var_name,
        bins=bins,
        adaptive=adaptive,
        classwise=classwise,
        observed=observed,
        group=group,
        weights=weights,
    )
    gap = abs(table["frequency"] - table["probability"])
    share = table["count"] / table["count"].sum("bin")
    if norm == "max":
        of_each = gap.max("bin")
    elif norm == "l2":
        of_each = (share * gap**2).sum("bin") ** 0.5
    else:
        of_each = (share * gap).sum("bin")
    return float(of_each.mean())


def brier_score(
    idata: DataTree,
    var_name: str | None = None,
    *,
    observed: ArrayLike | None = None,
    group: str | None = None,
    weights: ArrayLike | None = None,
) -> float:
    """Brier score of the posterior-mean probability; smaller is better.

    (1/N) Σ_i Σ_k (p_ik - [y_i = k])² over the classes, from 0 to 2. For a binary outcome given as
    P(y=1), (1/N) Σ_i (p_i - y_i)², from 0 to 1: half of what its two classes would sum to.

    Parameters
    ----------
    idata : xarray.DataTree
        As in `reliability`.
    var_name : str, optional
        When None ``<outcome>_probability``.
    observed : array_like, optional
        Outcome of the predicted rows; group ``observed_data`` when None.
    group : str, optional
        By default the first of ``predictions``, ``posterior_predictive`` and ``posterior``.
    weights : array_like, optional
        Of each chain, from `stack_chains`; equal when None.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `reliability`.

    See Also
    --------
    calibration_error : Only whether probabilities are frequencies.
    lppd : The logarithmic score, which punishes false certainty harder.

    References
    ----------
    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review
    78 (1950).

    Examples
    --------
    Calibrated probabilities, that tell rows apart and that do not:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import brier_score
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random((1, 1, 10_000))  # one draw, 10,000 rows
    >>> y = rng.random(10_000) < p[0, 0]
    >>> for predicted in (p, np.full_like(p, 0.5)):
    ...     groups = {"predictions": {"y_probability": predicted}, "observed_data": {"y": y}}
    ...     print(round(brier_score(az.from_dict(groups)), 2))
    0.17
    0.25
    """
    probability, y = read_probabilities(idata, var_name, observed=observed, group=group)
    p = pooled(probability, weights).mean(("chain", "draw")).values
    if p.ndim == 1:
        return float(np.mean((p - y) ** 2))
    hit = y[:, None] == np.arange(p.shape[1])
    return float(np.sum((p - hit) ** 2, axis=1).mean())


def read_probabilities(
    idata: DataTree,
    var_name: str | None = None,
    *,
    observed: ArrayLike | None = None,
    group: str | None = None,
) -> tuple[DataArray, np.ndarray]:
    """Probabilities and outcomes, with all dimensions of rows made one.

    Returns
    -------
    DataArray
        Dims ``(chain, draw, row)``, or ``(chain, draw, row, class)``.
    ndarray
        Integers ``(row,)``: 0 or 1, or the position of the class.
    """
    p = pick(idata, var_name, ("_probability",), group).astype(float)
    y = observations(idata, p, observed, classes=True)
    if p.min() < -1e-6 or p.max() > 1 + 1e-6:
        raise ValueError(
            f"{p.name!r} goes from {float(p.min()):.3g} to {float(p.max()):.3g}: no probabilities. "
            "Name the variable that has them: var_name=...."
        )
    classes = str(p.dims[-1]) if p.ndim > y.ndim + 2 else None
    if y.ndim > 1:
        labels = {dim: p[dim] for dim in ("chain", "draw", classes) if dim in p.coords}
        dims = ["chain", "draw", "entry", *([classes] if classes else [])]
        flat = p.values.reshape(*p.shape[:2], y.size, *p.shape[2 + y.ndim :])
        p = DataArray(flat, dims=dims, coords=labels, name=p.name)
    y = _codes(y.ravel(), p, classes)
    if classes is not None and abs(p.sum(classes) - 1).max() > 1e-3:
        raise ValueError(f"{p.name!r} does not sum to 1 over {classes!r}: no probabilities.")
    return p, y


def _codes(y: np.ndarray, p: DataArray, classes: str | None) -> np.ndarray:
    """Position of each outcome's class, for outcomes that are positions or labels of classes."""
    if classes is None:
        known = np.array([0, 1])
    elif y.dtype.kind in "OUS":
        known = p[classes].values
    else:
        known = np.arange(p.sizes[classes])
    same = y[:, None] == known
    if not same.any(1).all():
        raise ValueError(
            f"The observations have the classes {quoted(np.unique(y)[:10])}, but {p.name!r} is for "
            f"{quoted(known[:10])}. Give their positions or labels: observed=...."
        )
    return same.argmax(1)


def _table(p: np.ndarray, hit: np.ndarray, bins: int, adaptive: bool) -> Dataset:
    edges = np.linspace(0, 1, bins + 1)
    if adaptive:
        edges = np.quantile(p, edges)
    place = np.searchsorted(edges[1:-1], p)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        probability = np.bincount(place, p, bins) / count
        frequency = np.bincount(place, hit, bins) / count
    return Dataset(
        {
            "probability": ("bin", probability),
            "frequency": ("bin", frequency),
            "count": ("bin", count),
            "lower": ("bin", edges[:-1]),
            "upper": ("bin", edges[1:]),
        },
        coords={"bin": np.arange(bins)},
    )
