"""The temperatures that chains had, against the one they were to have."""

from __future__ import annotations

import numpy as np
from xarray import Dataset, DataTree, concat

from pymc_sgmcmc.diagnostics.reading import needs_tree, sampled
from pymc_sgmcmc.report.several import steps_of

_KINDS = {"kinetic": "kinetic_temperature", "configurational": "configurational_temperature"}


def temperatures(idata: DataTree) -> Dataset:
    """Kinetic and configurational temperature of each chain.

    The kinetic one is ⟨p·v⟩/d of momenta p and velocities v, the configurational one ⟨z·∇U⟩/d;
    the means over a chain at rest are both the temperature that was asked for. Momenta settle
    at once and positions slowly, so that the first can be right where the second is not.

    Parameters
    ----------
    idata : xarray.DataTree
        Output of `pm.sample(step=...)` or `pymc_sgmcmc.sample`. SGLD has no momenta.

    Returns
    -------
    xarray.Dataset
        Dims ``(kind, chain)``, with kind "kinetic" or "configurational": ``mean``;
        ``standard_error``, which allows for autocorrelation (`arviz_stats.mcse`); and
        ``deviation`` = (mean - T) / standard_error, of the temperature T in
        ``attrs["temperature"]``. Beyond some 4 it is not chance; whether it matters, the mean
        says. Of several steps ``(step, kind, chain)``, T an array, nan where one has no momenta.

    Raises
    ------
    ValueError
        If the draws are not from this package.

    See Also
    --------
    diagnose : Looks at them, and at other signs of trouble.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import SGHMC, sample
    >>> from pymc_sgmcmc.diagnostics import temperatures
    >>> with pm.Model():
    ...     x = pm.Normal("x", shape=100)
    ...     step = SGHMC(step_size=1.0)  # in units of the standard deviation of x
    ...     idata = sample(200, tune=200, step=step, random_seed=1, progressbar=False)

    A step that large heats the chains to 1/(1 - h²/4) = 4/3:

    >>> temperatures(idata)["mean"].sel(kind="kinetic").values.round(1).tolist()
    [1.3, 1.3, 1.3, 1.3]
    """
    needs_tree(idata)
    groups = idata.children
    statistics = groups["sample_stats"].to_dataset() if "sample_stats" in groups else Dataset()
    recorded = groups["posterior"].attrs if "posterior" in groups else {}
    attributes = {str(name): value for name, value in recorded.items()}
    kinds = [kind for kind, name in _KINDS.items() if name in statistics]
    if not kinds or "temperature" not in attributes:
        raise ValueError(
            "temperatures needs the output of pm.sample(step=...) or pymc_sgmcmc.sample with one "
            "of this package's steps: sample_stats with "
            f"{' or '.join(map(repr, _KINDS.values()))}, and a temperature in posterior.attrs."
        )
    arrays = {k: statistics[k].transpose("chain", "draw", ...).values for k in sampled(statistics)}
    chains = statistics.coords["chain"] if "chain" in statistics.coords else None
    tables = [
        _table({k: found[_KINDS[k]] for k in kinds if _KINDS[k] in found}, report.temperature)
        for found, report in steps_of(arrays, attributes)
    ]
    table = tables[0]
    if len(tables) > 1:
        table = concat(tables, "step", join="outer", combine_attrs="drop")
        table = table.assign_attrs(temperature=np.array([t.attrs["temperature"] for t in tables]))
    return table if chains is None else table.assign_coords(chain=chains)


def _table(samples: dict[str, np.ndarray], temperature: float) -> Dataset:
    """Means of ``(chain, draw)`` by kind, of one step."""
    import arviz_stats

    T = float(temperature)
    x = Dataset({kind: (("chain", "draw"), x) for kind, x in samples.items()}).to_dataarray("kind")
    mean, error = x.mean("draw"), arviz_stats.mcse(x, sample_dims=["draw"])
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = (mean - T) / error
    table = Dataset({"mean": mean, "standard_error": error, "deviation": deviation})
    return table.transpose("kind", "chain").assign_attrs(temperature=T)
