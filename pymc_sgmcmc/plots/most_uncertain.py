"""The images that a network is least sure of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from xarray import DataTree

from pymc_sgmcmc.diagnostics.calibration import read_probabilities
from pymc_sgmcmc.diagnostics.reading import pick
from pymc_sgmcmc.plots.arrays import class_probabilities, entropy
from pymc_sgmcmc.plots.canvas import BLUE, FAINT, ORANGE, Canvas, Visuals, documented

if TYPE_CHECKING:
    from arviz_base.labels import BaseLabeller
    from arviz_plots import PlotCollection

_VISUALS = {
    "images": "imshow",
    "titles": "set_title",
    "xlabel": "set_xlabel",
    "legend": "Figure.legend",
}


@documented(_VISUALS)
def plot_most_uncertain(
    dt: DataTree,
    images: ArrayLike,
    n: int = 10,
    *,
    shape: tuple[int, ...] | None = None,
    var_name: str | None = None,
    group: str | None = None,
    observed: ArrayLike | None = None,
    labeller: BaseLabeller | None = None,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Images whose predicted class has the highest entropy, the highest first.

    Over each are its first two guesses with their posterior predictive probabilities, orange
    where the first is wrong and blue where it is right; below it what it is, if that is known, and
    the entropy in nats.

    Parameters
    ----------
    dt : DataTree
        With class probabilities and, if they are known, the outcomes of the same rows in
        ``observed_data``.
    images : array_like
        Of shape ``(row, pixels)``, ``(row, height, width)`` or ``(row, height, width, 3)``.
    n : int, default 10
        Images shown.
    shape : tuple of int, optional
        Height and width of an image (and 3 for colours); square when None.
    var_name : str, optional
        Class probabilities ``(chain, draw, row, class)``, or P(y = 1) ``(chain, draw, row)``; the
        only ones when None.
    group : str, optional
        Group of the predictions; ``predictions`` when None, or else ``posterior_predictive`` or
        ``posterior``.
    observed : array_like, optional
        Outcomes of the predicted rows; those of the group ``observed_data`` when None.
    labeller : arviz_base.labels.Labeller, optional
        Names the classes.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection
        Its panels are rows of the predictions, by number.

    Raises
    ------
    ValueError
        If there are no class probabilities, or not one image, of that shape, for each row.

    See Also
    --------
    plot_rejection : How accurate the rest is.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.plots import plot_most_uncertain
    >>> images = np.random.default_rng(0).random((4, 28, 28))
    >>> p = np.array([[[0.99, 0.6, 0.1, 0.45]]])  # one draw of P(y = 1)
    >>> new = az.from_dict({"predictions": {"y_probability": p}})
    >>> plot = plot_most_uncertain(new, images, n=2)
    >>> plot.viz["images"]["row"].values.tolist()
    [3, 1]
    """
    from arviz_base.labels import BaseLabeller

    y = None
    if observed is None and "observed_data" not in dt.children:
        sampled = pick(dt, var_name, ("_probability",), group)
    else:
        sampled, y = read_probabilities(dt, var_name, observed=observed, group=group)
    p = class_probabilities(sampled)
    pictures = _pictures(np.asarray(images), len(p), shape)
    labeller, dim = labeller or BaseLabeller(), p.dims[1]
    names = [labeller.dim_coord_to_str(dim, x, i) for i, x in enumerate(p[dim].values)]

    spread = entropy(p)
    rows = np.argsort(-spread, kind="stable")[:n]
    canvas = Canvas(
        _VISUALS,
        (1.7, 2.3),
        rows.tolist(),
        "row",
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
        layout="compressed",  # for axes of fixed aspect
    )
    for row in rows.tolist():
        first, second = np.argsort(-p.values[row], kind="stable")[:2]
        canvas.draw("images", pictures[row], panel=row, cmap="gray_r")
        canvas.axes(row).set(xticks=[], yticks=[])
        canvas.axes(row).spines[:].set(visible=True, color=FAINT, linewidth=0.8)  # a frame
        text = "\n".join(f"{names[k]}: {p.values[row, k]:.0%}" for k in (first, second))
        color, is_ = "black", ""
        if y is not None:
            color, is_ = BLUE if first == y[row] else ORANGE, f"is {names[int(y[row])]}\n"
        canvas.draw("titles", text, panel=row, fontsize=10, color=color)
        canvas.draw("xlabel", f"{is_}{spread[row]:.2f} nats", panel=row, fontsize=9)
    if y is not None:
        from matplotlib.lines import Line2D

        canvas.draw(
            "legend",
            [Line2D([], [], color=color, linewidth=3) for color in (BLUE, ORANGE)],
            ["first guess is right", "wrong"],
            panel=int(rows[0]),
            loc="outside upper center",
            ncols=2,
            frameon=False,
        )
    return canvas.finish()


def _pictures(images: np.ndarray, n_rows: int, shape: tuple[int, ...] | None) -> np.ndarray:
    """Images of the shape ``(row, height, width[, 3])``."""
    if len(images) != n_rows:
        raise ValueError(
            f"images has {len(images)} rows, but there are predictions for {n_rows}: give the "
            "images of the same rows."
        )
    if shape is None:
        shape = images.shape[1:]
        if len(shape) == 1:
            shape = (math.isqrt(shape[0]),) * 2
    if math.prod(shape) != math.prod(images.shape[1:]):
        raise ValueError(
            f"Images of {math.prod(images.shape[1:])} numbers do not have the shape {shape}: "
            "write shape=(height, width) or shape=(height, width, 3)."
        )
    return images.reshape(n_rows, *shape)
