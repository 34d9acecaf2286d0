"""Predicted probabilities against how often the outcome came."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from xarray import Dataset, DataTree

from pymc_sgmcmc.diagnostics.calibration import reliability
from pymc_sgmcmc.diagnostics.reading import pick
from pymc_sgmcmc.plots.canvas import BLUE, FAINT, Canvas, Visuals, documented

if TYPE_CHECKING:
    from arviz_base.labels import BaseLabeller
    from arviz_plots import PlotCollection

_VISUALS = {
    "diagonal": "plot",
    "shares": "bar",
    "points": "errorbar",
    "title": "set_title",
    "xlabel": "set_xlabel",
    "ylabel": "set_ylabel",
    "legend": "Figure.legend",
}


@documented(_VISUALS)
def plot_reliability(
    dt: DataTree | Mapping[str, DataTree],
    *,
    var_name: str | None = None,
    group: str | None = None,
    observed: ArrayLike | None = None,
    classes: str = "top",
    bins: int = 10,
    adaptive: bool = False,
    weights: ArrayLike | Mapping[str, ArrayLike] | None = None,
    ci_prob: float | None = None,
    labeller: BaseLabeller | None = None,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Reliability: predicted probabilities, in bins, against how often the outcome came.

    Points on the diagonal are calibrated; above it the network is too timid, below it too sure.
    Error bars are Wilson intervals of the frequency. Bars show which share of the predictions
    lies in each bin. For two classes `arviz.plot_ppc_pava` needs no bins.

    Parameters
    ----------
    dt : DataTree or mapping of str to DataTree
        With class probabilities, and the outcomes of the same rows in ``observed_data``; several
        models by name, each on a panel of its own.
    var_name : str, optional
        Class probabilities ``(chain, draw, row, class)``, or P(y = 1) ``(chain, draw, row)``; the
        only ones when None. Their mean over draws is compared with outcomes 0, 1, 2, ...
    group : str, optional
        Group of the predictions; ``predictions`` when None, or else ``posterior_predictive`` or
        ``posterior``.
    observed : array_like, optional
        Outcomes of the predicted rows; those of the group ``observed_data`` when None.
    classes : {"top", "pooled", "each"}
        The most probable class of each row against whether it came; all classes of all rows
        together (their error bars are then somewhat too short, as the classes of a row depend on
        each other); or one panel for each class.
    bins : int, default 10
        Number of bins.
    adaptive : bool, default False
        Bins with about the same number of predictions rather than of the same width.
    weights : array_like or mapping of str to array_like, optional
        Of each chain, from `stack_chains`; of several models by name. Equal when None.
    ci_prob : float, optional
        Probability of the error bars; ArviZ's ``stats.ci_prob`` when None.
    labeller : arviz_base.labels.Labeller, optional
        Names the classes.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If probabilities or outcomes are missing, are ambiguous, or are those of other rows; if an
        argument is none of those above.

    See Also
    --------
    pymc_sgmcmc.diagnostics.reliability : The table that is drawn.
    pymc_sgmcmc.diagnostics.calibration_error : One number for it.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.plots import plot_reliability
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random((1, 1, 10_000))  # one draw, 10,000 rows
    >>> y = rng.random(10_000) < p[0, 0]
    >>> new = az.from_dict({"predictions": {"y_probability": p}, "observed_data": {"y": y}})
    >>> plot = plot_reliability(new)
    >>> plot.savefig("reliability.png")
    """
    from arviz_base import rcParams
    from arviz_base.labels import BaseLabeller

    if classes not in ("top", "pooled", "each"):
        raise ValueError(f'classes={classes!r}: write "top", "pooled" or "each".')
    if classes == "pooled" and adaptive:
        raise ValueError('classes="pooled" has bins of one width: write adaptive=False.')
    models: Mapping[Any, DataTree] = {None: dt} if isinstance(dt, DataTree) else dt
    if len(models) > 1 and classes == "each":
        raise ValueError('classes="each" has panels of its own: plot one model at a time.')
    tables: dict[Hashable, Dataset] = {}
    dim = None if isinstance(dt, DataTree) else "model"
    for model, predicted in models.items():
        table = reliability(
            predicted,
            var_name,
            bins=bins,
            adaptive=adaptive,
            classwise=classes != "top",
            observed=observed,
            group=group,
            weights=weights.get(model) if isinstance(weights, Mapping) else weights,
        )
        label = next((str(d) for d in table.dims if d != "bin"), None)
        if label is not None and classes == "each":
            dim = label
            tables |= {k: table.isel({dim: i}) for i, k in enumerate(table[dim].values.tolist())}
        else:
            tables[model] = table if label is None else _pool(table, label)
    if pick(next(iter(models.values())), var_name, ("_probability",), group).ndim == 3:
        xlabel, ylabel = "predicted probability of y = 1", "how often y = 1"
    elif classes == "top":
        xlabel, ylabel = "probability of the predicted class", "how often it is right"
    else:
        xlabel, ylabel = "predicted probability of a class", "how often it is that class"
    small = dim not in (None, "model")
    canvas = Canvas(
        _VISUALS,
        (2.6, 2.8) if small else (4.6, 4.4),
        list(tables) if dim else None,
        dim or "panel",
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
    )
    labeller = labeller or BaseLabeller()
    ci_prob = rcParams["stats.ci_prob"] if ci_prob is None else ci_prob
    counts = {int(table["count"].sum()) for table in tables.values()}
    share_of = f"{counts.pop():,} predictions" if len(counts) == 1 else "the predictions"
    for i, (panel, table) in enumerate(tables.items()):
        table = table.isel(bin=table["count"].values > 0)
        count, rate = table["count"].values, table["frequency"].values
        low, high = _interval(count, rate, ci_prob)
        canvas.draw("diagonal", [0, 1], [0, 1], panel=panel, color=FAINT, linewidth=1)
        canvas.draw(
            "shares",
            table["lower"].values,
            count / count.sum(),
            (table["upper"] - table["lower"]).values,
            panel=panel,
            align="edge",
            color="0.88",
            edgecolor="white",
            zorder=0,
            label=f"share of {share_of}",
        )
        canvas.draw(
            "points",
            table["probability"].values,
            rate,
            [rate - low, high - rate],
            panel=panel,
            fmt="o",
            markersize=5,
            capsize=3,
            color=BLUE,
            label=f"frequency, {ci_prob:.0%} interval",
        )
        canvas.axes(panel).set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        size = "small" if small else "medium"
        if dim:
            name = labeller.dim_coord_to_str(dim, panel, i)
            title = f"{dim} {name}" if small else name
            canvas.draw("title", title, panel=panel, fontsize=size)
        canvas.axes(panel).tick_params(labelsize=size)
        canvas.draw("xlabel", xlabel, panel=panel, fontsize=size)
        if i % pc_kwargs.get("col_wrap", 5) == 0:
            canvas.draw("ylabel", ylabel, panel=panel, fontsize=size)
    # Above the panels: inside it would lie on an error bar sooner or later.
    first = next(iter(tables))
    canvas.draw(
        "legend",
        *canvas.axes(first).get_legend_handles_labels(),
        panel=first,
        loc="outside upper center",
        ncols=2 if len(tables) > 1 else 1,
        frameon=False,
        fontsize="small",
    )
    return canvas.finish()


def _pool(tables: Dataset, dim: str) -> Dataset:
    """One table from those of all classes, whose bins have the same edges."""
    count = tables["count"].sum(dim)
    pooled = tables[["probability", "frequency"]].weighted(tables["count"]).mean(dim)
    return pooled.assign(count=count, lower=tables["lower"][0], upper=tables["upper"][0])


def _interval(
    count: np.ndarray, frequency: np.ndarray, prob: float
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson interval of binomial frequencies."""
    from scipy.stats import norm

    z = norm.ppf((1 + prob) / 2)
    middle = (frequency + z**2 / (2 * count)) / (1 + z**2 / count)
    variance = frequency * (1 - frequency) / count + (z / (2 * count)) ** 2
    half = z * np.sqrt(variance) / (1 + z**2 / count)
    # It has the frequency in it; at 0 and 1 rounding may put it outside.
    return np.minimum(middle - half, frequency), np.maximum(middle + half, frequency)
