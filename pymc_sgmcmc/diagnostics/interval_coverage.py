"""Whether intervals of the posterior predictive hold what they promise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from xarray import Dataset, DataTree

from pymc_sgmcmc.arguments import numbers
from pymc_sgmcmc.diagnostics.reading import (
    OUTCOMES,
    find_group,
    observations,
    observed_names,
    pick,
    quoted,
    sampled,
)
from pymc_sgmcmc.weights import pooled


def coverage(
    idata: DataTree,
    var_name: str | None = None,
    probs: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    *,
    observed: ArrayLike | None = None,
    group: str | None = None,
    weights: ArrayLike | None = None,
) -> Dataset:
    """Share of the observations that lie in central intervals of the posterior predictive.

    Parameters
    ----------
    idata : xarray.DataTree
        With draws of the outcome, noise included, of dims ``(chain, draw, row)``. (Intervals of
        ``y_mean`` are of the function, and too narrow for outcomes.)
    var_name : str, optional
        Draws of the outcome; when None the variable called as the observed one.
    probs : sequence of float
        Nominal levels: the interval of level p has a tail of (1-p)/2 on either side, ends
        included. For levels near 1 many draws are needed, some 10/(1-p).
    observed : array_like, optional
        Outcome of the predicted rows; group ``observed_data`` when None.
    group : str, optional
        By default the first of ``predictions`` and ``posterior_predictive``.
    weights : array_like, optional
        Of each chain, from `stack_chains`; equal when None.

    Returns
    -------
    xarray.Dataset
        ``coverage`` and ``standard_error``, dims ``(prob,)``, in shares of the rows. The standard
        error is √(p(1-p)/N) at the nominal level: how far the share of N independent rows
        scatters from p if the intervals are right.

    Raises
    ------
    ValueError
        If there are no draws of the outcome, the rows differ, or a level is not in (0, 1).

    See Also
    --------
    calibration_error : The same question of probabilities.
    pymc_sgmcmc.predict : Makes draws of the outcome, with ``var_names=["y"]``.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import coverage
    >>> rng = np.random.default_rng(0)
    >>> y, draws = rng.normal(size=2_000), rng.normal(size=(1, 500, 2_000))

    Draws that scatter as the outcomes do, and half as much:

    >>> for scale in (1.0, 0.5):
    ...     new = az.from_dict({"predictions": {"y": scale * draws}, "observed_data": {"y": y}})
    ...     print(coverage(new, probs=[0.5, 0.9])["coverage"].values.round(1).tolist())
    [0.5, 0.9]
    [0.3, 0.6]
    """
    levels = np.atleast_1d(numbers("probs", probs))
    if not (levels.size and np.all((levels > 0) & (levels < 1))):
        raise ValueError(f"probs must be levels between 0 and 1, such as 0.9; got {probs!r}.")
    found = find_group(idata, group, OUTCOMES)[1]
    names = observed_names(idata)
    if var_name is None and names and not set(names) & set(found.data_vars):
        raise ValueError(
            f"There are no draws of the outcome, only {quoted(sampled(found))}. Make them: "
            f"predict(idata, {{...}}, var_names=[{names[0]!r}])."
        )
    draws = pick(idata, var_name, ("",), group, OUTCOMES)
    y = observations(idata, draws, observed)
    law = pooled(draws.astype(float), weights)
    tails = np.concatenate([(1 - levels) / 2, (1 + levels) / 2])
    limits = law.quantile(tails, dim=("chain", "draw"), skipna=False).values
    lower, upper = np.split(limits, 2)
    shares = np.mean((lower <= y) & (y <= upper), axis=tuple(range(1, y.ndim + 1)))
    error = np.sqrt(levels * (1 - levels) / y.size)
    return Dataset(
        {"coverage": ("prob", shares), "standard_error": ("prob", error)},
        coords={"prob": levels},
        attrs={"rows": y.size},
    )
