"""Predictive entropy in and out of distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray, DataTree

from pymc_sgmcmc.diagnostics.reading import pick
from pymc_sgmcmc.plots.arrays import class_probabilities, entropy, is_probability
from pymc_sgmcmc.plots.canvas import COLORS, Canvas, Visuals, documented

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

_VISUALS = {
    "densities": "stairs",
    "xlabel": "set_xlabel",
    "ylabel": "set_ylabel",
    "legend": "legend",
}


@documented(_VISUALS)
def plot_ood_entropy(
    dt_in: DataTree,
    dt_out: DataTree | Mapping[str, DataTree],
    *,
    var_name: str | None = None,
    group: str | None = None,
    bins: int = 30,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Histograms of predictive entropy for rows like those trained on and for other rows.

    The legend has the AUROC: the probability that a row out of distribution has a higher entropy
    than one in distribution, ties counted half; 0.5 where the entropy can't tell them apart.

    Parameters
    ----------
    dt_in : DataTree
        Predictions for rows of the distribution that was trained on.
    dt_out : DataTree or mapping of str to DataTree
        Predictions for other rows; several sets of them by name.
    var_name : str, optional
        Class probabilities ``(chain, draw, row, class)``, or P(y = 1) ``(chain, draw, row)``; the
        only ones when None.
    group : str, optional
        Group of the predictions; ``predictions`` when None, or else ``posterior_predictive`` or
        ``posterior``.
    bins : int, default 30
        Bins between 0 and the highest entropy there is, log(number of classes).
    {common}

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If there are no class probabilities, or several variables that may be.

    See Also
    --------
    plot_rejection : Whether the entropy tells errors.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.plots import plot_ood_entropy
    >>> rng = np.random.default_rng(0)
    >>> sure, unsure = rng.beta(0.1, 0.1, size=(1, 1, 500)), rng.beta(5, 5, size=(1, 1, 500))
    >>> known = az.from_dict({"predictions": {"y_probability": sure}})
    >>> strange = az.from_dict({"predictions": {"y_probability": unsure}})
    >>> plot = plot_ood_entropy(known, strange)
    >>> plot.get_viz("legend").get_texts()[1].get_text()
    'out of distribution: AUROC 0.9...'
    """
    from scipy.stats import mannwhitneyu

    named = dt_out if not isinstance(dt_out, DataTree) else {"out of distribution": dt_out}
    probabilities = [_read(dt, var_name, group) for dt in (dt_in, *named.values())]
    sets = dict(zip(["in distribution", *named], map(entropy, probabilities), strict=True))
    edges = np.linspace(0, np.log(max(p.shape[1] for p in probabilities)), bins + 1)
    canvas = Canvas(
        _VISUALS,
        (6, 4),
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
    )
    first, *_ = sets.values()
    for i, (name, values) in enumerate(sets.items()):
        density, _ = np.histogram(np.clip(values, 0, edges[-1]), edges, density=True)
        label = name
        if i:
            auroc = mannwhitneyu(values, first).statistic / (len(values) * len(first))
            label = f"{name}: AUROC {auroc:.3f}"
        # Filled and outlined by one call: the face is faint, the edge is not.
        face = (COLORS[i % len(COLORS)], 0.25)
        canvas.draw(
            "densities",
            density,
            edges,
            over={"rows": name},
            fill=True,
            facecolor=face,
            edgecolor=face[0],
            linewidth=1.5,
            label=label,
        )
    canvas.draw("xlabel", "predictive entropy (nats)")
    canvas.draw("ylabel", "density (per nat)")
    canvas.draw("legend", frameon=False)
    return canvas.finish()


def _read(dt: DataTree, var_name: str | None, group: str | None) -> DataArray:
    p = pick(dt, var_name, ("_probability",), group)
    if not is_probability(p):
        raise ValueError(
            f"{p.name!r} holds no probabilities (chain, draw, row) or (chain, draw, row, class). "
            "Name the variable that does: var_name=...."
        )
    return class_probabilities(p)
