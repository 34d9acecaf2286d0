"""Running log predictive density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from xarray import DataTree

from pymc_sgmcmc.diagnostics.scores import lppd
from pymc_sgmcmc.plots.canvas import COLORS, Canvas, Style, Visuals, documented

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

_VISUALS = {
    "chains": "plot",
    "together": "plot",
    "xlabel": "set_xlabel",
    "ylabel": "set_ylabel",
    "legend": "legend",
}


@documented(_VISUALS)
def plot_running_lppd(
    dt: DataTree,
    *,
    var_name: str | None = None,
    weights: ArrayLike | None = None,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Log predictive density as draws are added, of each chain and of all chains together.

    At t it is the mean over rows of log(1/t Σ p(y | θ)) over the first t draws: it rises as draws
    are averaged, and once it is flat, more draws do not predict better. How far all chains
    together lie above each is what the chains know besides each other.

    Parameters
    ----------
    dt : DataTree
        With log-likelihoods ``(chain, draw, row)``, in nats, in its group ``log_likelihood``.
    var_name : str, optional
        Outcome; the only one when None.
    weights : array_like, optional
        Of each chain, from `stack_chains`, for all chains together; equal when None.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the log-likelihoods are not there, or are those of several outcomes; if the weights are
        not those of the chains.

    See Also
    --------
    pymc_sgmcmc.diagnostics.lppd : The numbers that are drawn.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from scipy import stats
    >>> from pymc_sgmcmc.plots import plot_running_lppd
    >>> rng = np.random.default_rng(0)
    >>> y, mu = rng.normal(size=1_000), rng.normal(size=(4, 50, 1))
    >>> new = az.from_dict({"log_likelihood": {"y": stats.norm(mu).logpdf(y)}})
    >>> plot = plot_running_lppd(new)
    >>> plot.savefig("running_lppd.png")
    """
    each = lppd(dt, var_name, running=True, per_chain=True)
    together = lppd(dt, var_name, running=True, weights=weights).values
    many = len(each) > 4  # a legend of so many lines would lie on them: it stands beside them
    canvas = Canvas(
        _VISUALS,
        (8.5, 4) if many else (6, 4),
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
    )
    n = np.arange(1, len(together) + 1)
    for i, (chain, values) in enumerate(zip(each["chain"].values, each.values, strict=True)):
        color, width = COLORS[i % len(COLORS)], 1.2
        label = f"chain {chain}" if len(each) <= len(COLORS) else None
        over = {"chain": chain.item()}
        canvas.draw("chains", n, values, over=over, color=color, linewidth=width, label=label)
    if len(each) > 1:
        canvas.draw(
            "together", n, together, color="black", linewidth=2.2, label="all chains together"
        )
    canvas.draw("xlabel", "draws of each chain")
    canvas.draw("ylabel", "log predictive density\n(nats per row)")
    beside: Style = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if many else {}
    canvas.draw("legend", frameon=False, **beside)
    return canvas.finish()
