"""The temperature of each variable's positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pymc.model import Model
from xarray import DataTree

from pymc_sgmcmc.diagnostics.hot_layers import layer_temperatures
from pymc_sgmcmc.plots.canvas import COLORS, FAINT, Canvas, Visuals, documented

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

_VISUALS = {
    "asked": "axvline",
    "chains": "errorbar",
    "legend": "legend",
    "xlabel": "set_xlabel",
}


@documented(_VISUALS)
def plot_layer_temperatures(
    dt: DataTree,
    model: Model,
    *,
    draws: int = 100,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Configurational temperature of each free variable in each chain, with two standard errors.

    All lie on the line of the temperature that was asked for, if the draws are the posterior's. A
    layer to its right spreads too much: its gradient noise heats it, or the step is too long there.

    Parameters
    ----------
    dt : DataTree
        With a ``posterior`` of all free variables of the model.
    model : pm.Model
        The model that was sampled, with all rows.
    draws : int, default 100
        Of each chain, evenly spaced, whose gradients are computed.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        As `layer_temperatures`.

    See Also
    --------
    pymc_sgmcmc.diagnostics.layer_temperatures : The numbers that are drawn.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc.plots import plot_layer_temperatures
    >>> with pm.Model() as model:
    ...     w = pm.Normal("w", shape=50)
    >>> x = np.random.default_rng(0).normal(size=(4, 100, 50))
    >>> plot = plot_layer_temperatures(az.from_dict({"posterior": {"w": x}}), model)
    >>> plot.savefig("layer_temperatures.png")
    """
    found = layer_temperatures(dt, model, draws=draws)
    names, chains = found["variable"].values.tolist(), found["chain"].values
    canvas = Canvas(
        _VISUALS,
        (6.5, 1.2 + 0.4 * len(names)),
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
    )
    canvas.draw("asked", found.attrs["temperature"], color=FAINT)
    places = np.arange(len(names))
    apart = (np.arange(len(chains)) - (len(chains) - 1) / 2) * 0.6 / len(chains)
    for i, chain in enumerate(chains):
        of = found.isel(chain=i)
        canvas.draw(
            "chains",
            of["mean"].values,
            places + apart[i],
            xerr=2 * of["standard_error"].values,
            over={"chain": chain.item()},
            color=COLORS[i % len(COLORS)],
            linestyle="none",
            marker="o",
            markersize=3,
            label=f"chain {chain}" if len(chains) <= len(COLORS) else None,
        )
    axes = canvas.axes()
    axes.set_yticks(places, names)
    axes.invert_yaxis()  # the first layer on top
    canvas.draw("xlabel", "configurational temperature")
    if len(chains) <= len(COLORS):
        canvas.draw("legend", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return canvas.finish()
