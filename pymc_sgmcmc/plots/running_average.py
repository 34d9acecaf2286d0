"""Running averages, with their Monte-Carlo errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataTree

from pymc_sgmcmc.diagnostics.points import Names, choose, labels
from pymc_sgmcmc.diagnostics.reading import find_group
from pymc_sgmcmc.plots.canvas import COLORS, Canvas, Visuals, documented

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

_VISUALS = {
    "chains": "plot",
    "error": "fill_between",
    "together": "plot",
    "title": "set_title",
    "xlabel": "set_xlabel",
    "ylabel": "set_ylabel",
}

# Panels of one figure; lengths at which the error is computed, and draws of the shortest.
_PANELS, _LENGTHS, _SHORTEST = 40, 25, 8


@documented(_VISUALS)
def plot_running_average(
    dt: DataTree,
    var_names: Sequence[str] | str | None = None,
    *,
    group: str = "posterior",
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Averages as draws are added, of each chain and of all chains, with two standard errors.

    A panel for each entry of each variable. Where the band is narrow and chains lie outside of it,
    they have not mixed: the error is computed from the draws so far, and knows nothing of what
    they have not seen.

    Parameters
    ----------
    dt : DataTree
        With draws ``(chain, draw, ...)``.
    var_names : sequence of str, optional
        Variables; all when None.
    group : str
        Where they are: ``"sample_stats"`` for temperatures and energies, for example.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If a variable is not there, there are fewer than 8 draws, or more than 40 panels.

    See Also
    --------
    pymc_sgmcmc.diagnose : Whether chains agree, and are many enough draws.
    plot_running_lppd : The same for predictions.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.plots import plot_running_average
    >>> rng = np.random.default_rng(0)
    >>> draws = az.from_dict({"posterior": {"b": rng.normal(3, 1, size=(4, 500, 2))}})
    >>> plot = plot_running_average(draws)
    >>> plot.savefig("running_average.png")
    >>> averages = plot.get_viz("together", sel={"entry": "b[0]"}).get_ydata()
    >>> round(float(averages[-1]), 1)
    3.0
    """
    entries = dict(_entries(dt, var_names, group))
    draws = next(iter(entries.values())).shape[1]
    if draws < _SHORTEST:
        raise ValueError(
            f"A standard error takes {_SHORTEST} draws of each chain, and there are {draws}."
        )
    canvas = Canvas(
        _VISUALS,
        (4, 2.6),
        list(entries),
        "entry",
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs={"col_wrap": 3, **pc_kwargs},
    )
    n = np.arange(1, draws + 1)
    lengths = np.unique(np.geomspace(_SHORTEST, draws, _LENGTHS).astype(int))
    for label, x in entries.items():
        each = x.cumsum(1) / n
        together = each.mean(0)
        for i, values in enumerate(each):
            line = {"color": COLORS[i % len(COLORS)], "linewidth": 0.8}
            canvas.draw("chains", n, values, panel=label, over={"chain": i}, **line)
        low, high = together[lengths - 1] + np.outer([-2, 2], _errors(x, lengths))
        canvas.draw("error", lengths, low, high, panel=label, color="black", alpha=0.2, linewidth=0)
        canvas.draw("together", n, together, panel=label, color="black", linewidth=1.8)
        canvas.draw("title", label, panel=label)
        canvas.draw("xlabel", "draws of each chain", panel=label)
        canvas.draw("ylabel", "average so far", panel=label)
    return canvas.finish()


def _entries(idata: DataTree, var_names: Names, group: str) -> Iterator[tuple[str, np.ndarray]]:
    """Label and draws ``(chain, draw)`` of each entry of the variables."""
    names, dataset = choose(idata, var_names, group), find_group(idata, group)[1]
    panels = sum(dataset[name][dict(chain=0, draw=0)].size for name in names)
    if panels > _PANELS:
        raise ValueError(
            f"{panels} panels are too many to see: name {_PANELS} entries at most, "
            f"var_names=[{names[0]!r}], or take some of them first, "
            "dt.posterior[['w']].isel(...)."
        )
    for name in names:
        x = dataset[name].transpose("chain", "draw", ...)
        flat = x.values.reshape(*x.shape[:2], -1).astype(float)
        for i, label in enumerate(labels(x)):
            yield label, flat[..., i]


def _errors(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Monte-Carlo error of the average over the first draws ``(chain, draw)``, at some lengths."""
    from arviz_stats.base import array_stats

    return np.array([array_stats.mcse(x[:, :n], chain_axis=0, draw_axis=1) for n in lengths])
