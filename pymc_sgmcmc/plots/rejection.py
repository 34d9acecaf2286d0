"""Accuracy or error of the rows that are left when the most uncertain are rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from xarray import DataArray, Dataset, DataTree

from pymc_sgmcmc.diagnostics.calibration import read_probabilities
from pymc_sgmcmc.diagnostics.reading import find_group, observations, pick
from pymc_sgmcmc.plots.arrays import SAMPLE, class_probabilities, entropy, is_probability
from pymc_sgmcmc.plots.canvas import COLORS, FAINT, Canvas, Style, Visuals, documented

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

_VISUALS = {
    "rejection": "plot",
    "oracle": "plot",
    "random": "plot",
    "xlabel": "set_xlabel",
    "ylabel": "set_ylabel",
    "legend": "legend",
}


@documented(_VISUALS)
def plot_rejection(
    dt: DataTree | Mapping[str, DataTree],
    *,
    var_name: str | None = None,
    group: str | None = None,
    observed: ArrayLike | None = None,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Accuracy, or RMSE, of the rows that are left when the most uncertain are rejected.

    Rows are rejected by the entropy of their predicted class, or by the standard deviation of
    their predicted outcome. Faint lines: an oracle that rejects the greatest errors first, which
    none can beat, and rows rejected at random.

    Parameters
    ----------
    dt : DataTree or mapping of str to DataTree
        With predictions and with the outcomes of the same rows in ``observed_data``; several
        models by name.
    var_name : str, optional
        Class probabilities ``(chain, draw, row[, class])``, which give an accuracy, or a predicted
        mean ``(chain, draw, row)``, which gives an RMSE in the unit of the outcome. The only one
        that fits when None, by preference one that ends in ``_probability`` or else ``_mean``.
        Beside ``y_mean``, a ``y_sd`` of the same group is added to the standard deviation.
    group : str, optional
        Group of the predictions; ``predictions`` when None, or else ``posterior_predictive`` or
        ``posterior``.
    observed : array_like, optional
        Outcomes of the predicted rows; those of the group ``observed_data`` when None.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If predictions or outcomes are missing, are ambiguous, or are those of other rows; if some
        models predict classes and others numbers.

    See Also
    --------
    plot_most_uncertain : The images that would be rejected.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.plots import plot_rejection
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random((1, 1, 10_000))  # one draw, 10,000 rows
    >>> y = rng.random(10_000) < p[0, 0]
    >>> new = az.from_dict({"predictions": {"y_probability": p}, "observed_data": {"y": y}})
    >>> plot = plot_rejection(new)

    The accuracy of all rows, and of the half that is surest:

    >>> plot.get_viz("rejection").get_ydata()[[0, 5_000]].round(2).tolist()
    [0.75, 0.87]
    """
    from matplotlib.ticker import FuncFormatter

    single = isinstance(dt, DataTree)
    models = {"most uncertain first": dt} if isinstance(dt, DataTree) else dt
    found = {k: _losses(x, var_name, group, observed) for k, x in models.items()}
    if len({classes for *_, classes in found.values()}) > 1:
        raise ValueError(
            "Some models predict classes and others numbers: name a variable that all have, "
            "var_name=..., or plot one model at a time."
        )
    canvas = Canvas(
        _VISUALS,
        (6, 4),
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
    )
    faint: Style = {"color": FAINT, "linewidth": 1.2}
    for i, (model, (uncertainty, loss, classes)) in enumerate(found.items()):
        over = None if single else {"model": model}
        share = np.arange(len(loss)) / len(loss)
        rejected, oracle = (
            _left(loss[np.argsort(-by, kind="stable")], classes) for by in (uncertainty, loss)
        )
        for visual, x, y, style, label in (
            ("oracle", share, oracle, "--", "oracle"),
            ("random", [0, 1], [rejected[0]] * 2, ":", "at random"),
        ):
            named = {"label": label} if i == 0 else {}
            canvas.draw(visual, x, y, over=over, linestyle=style, **named, **faint)
        line = {"color": COLORS[i % len(COLORS)], "linewidth": 2, "label": model}
        canvas.draw("rejection", share, rejected, over=over, **line)
    axes, percent = canvas.axes(), FuncFormatter(lambda x, _: f"{100 * x:.3g}%")
    axes.xaxis.set_major_formatter(percent)
    if next(iter(found.values()))[2]:
        axes.yaxis.set_major_formatter(percent)
        # Where few rows are wrong, nearly all of the line is at 100%.
        wrong = max(loss.mean() for _, loss, _ in found.values())
        axes.set_xlim(-0.01, min(1.01, max(0.05, 10 * wrong)))
    canvas.draw("xlabel", "share of rows rejected")
    canvas.draw("ylabel", f"{'accuracy' if classes else 'RMSE'} of the rows left")
    canvas.draw("legend", frameon=False)
    return canvas.finish()


def _losses(
    dt: DataTree, var_name: str | None, group: str | None, observed: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Uncertainty and loss of each row, and whether classes are predicted."""
    x = pick(dt, var_name, ("_probability", "_mean", ""), group)
    y = observations(dt, x, observed, classes=True)
    if is_probability(x) and (y.dtype.kind in "OUS" or bool((y == y.round()).all())):
        p, y = read_probabilities(dt, str(x.name), observed=observed, group=group)
        probability = class_probabilities(p)
        return entropy(probability), (probability.values.argmax(-1) != y).astype(float), True
    spread = _spread(find_group(dt, group)[1], x)
    return spread.ravel(), ((x.mean(SAMPLE).values - y) ** 2).ravel(), False


def _left(loss: np.ndarray, classes: bool) -> np.ndarray:
    """Score of the rows that are left after 0, 1, 2, ... rows."""
    mean = loss[::-1].cumsum()[::-1] / np.arange(len(loss), 0, -1)
    return 1 - mean if classes else np.sqrt(np.maximum(mean, 0))


def _spread(group: Dataset, x: DataArray) -> np.ndarray:
    """Standard deviation of predicted outcomes: of their mean, and about it where that is known."""
    variance = x.var(SAMPLE)
    name = str(x.name).removesuffix("_mean") + "_sd"
    if name in group:
        variance = variance + (group[name] ** 2).mean(SAMPLE)
    return np.sqrt(variance.values)
