"""Predictions over a plane of two inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from xarray import Dataset, DataTree

from pymc_sgmcmc.diagnostics.reading import observed_data, pick
from pymc_sgmcmc.plots.arrays import SAMPLE, class_probabilities, entropy, is_probability
from pymc_sgmcmc.plots.canvas import COLORS, Canvas, Style, Visuals, documented

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

_VISUALS = {
    "surface": "tripcolor",
    "points": "scatter",
    "colorbar": "colorbar",
    "title": "set_title",
    "xlabel": "set_xlabel",
    "ylabel": "set_ylabel",
}


@documented(_VISUALS)
def plot_predictive_surface(
    dt: DataTree,
    x: str | ArrayLike | None = None,
    y: str | ArrayLike | None = None,
    *,
    points: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    spread: str = "sd",
    category: int | None = None,
    var_name: str | None = None,
    group: str | None = None,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Mean and spread of predictions over a plane of two inputs, with the data on top.

    Parameters
    ----------
    dt : DataTree
        With predictions for rows all over the plane.
    x, y : str or array_like, optional
        Inputs of the rows, ``(row,)``; or names of such variables, or of columns of a variable
        ``(row, column)``, of ``predictions_constant_data`` or else ``constant_data``. When None the
        two columns that are there.
    points : tuple of array_like, optional
        Inputs and outcomes ``(x, y, outcome)`` of data to draw on top. When None those of
        ``constant_data`` and ``observed_data``, if the plane's inputs are not from there.
    spread : {"sd", "entropy"}
        The second panel: standard deviation over draws, in the unit of the predictions, or, for
        classes, entropy of the posterior predictive, in nats.
    category : int, optional
        Class, by position, whose probability is shown; when None that of y = 1 or, of more than
        two classes, that of the most probable class at each point.
    var_name : str, optional
        Predictions ``(chain, draw, row)`` or ``(chain, draw, row, class)``; the only ones when
        None, by preference those that end in ``_probability`` or else ``_mean``.
    group : str, optional
        Group of the predictions; ``predictions`` when None, or else ``posterior_predictive`` or
        ``posterior``.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection
        Its panels are ``mean`` and `spread`.

    Raises
    ------
    ValueError
        If predictions or inputs are missing or ambiguous, or differ in their rows.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.plots import plot_predictive_surface
    >>> slopes = np.random.default_rng(0).normal([1, -1], 0.3, size=(1, 100, 2))
    >>> inputs = np.meshgrid(np.linspace(-3, 3, 30), np.linspace(-3, 3, 30))
    >>> x, y = map(np.ravel, inputs)
    >>> p = 1 / (1 + np.exp(-slopes @ [x, y]))
    >>> new = az.from_dict({"predictions": {"y_probability": p}})
    >>> plot = plot_predictive_surface(new, x, y)
    >>> plot.savefig("surface.png")
    """
    if spread not in ("sd", "entropy"):
        raise ValueError(f'spread={spread!r}: write "sd" or "entropy".')
    z = pick(dt, var_name, ("_probability", "_mean", ""), group)
    n_rows = z.shape[2]
    source, (x_name, y_name), (x_values, y_values) = _inputs(dt, x, y, n_rows)
    if points is None and source != "constant_data":
        points = _points(dt, str(z.name), x_name, y_name)

    classes, many = is_probability(z), False
    mean, unsure, what = z.mean(SAMPLE).values, z.std(SAMPLE).values, "mean"
    if classes and z.ndim == 3:
        what = f"P({str(z.name).removesuffix('_probability')} = 1), mean over draws"
    if z.ndim == 4:
        many = category is None and z.shape[3] > 2
        k: np.ndarray | int = mean.argmax(-1) if many else 1 if category is None else category
        what = "mean for the most probable class" if many else f"mean for {z[z.dims[3]].values[k]}"
        mean, unsure = (values[np.arange(n_rows), k] for values in (mean, unsure))
    if spread == "entropy":
        if not classes:
            raise ValueError(f'{z.name!r} holds no probabilities of classes: write spread="sd".')
        unsure = entropy(class_probabilities(z))

    canvas = Canvas(
        _VISUALS,
        (4.6, 3.8),
        ["mean", spread],
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
    )
    low, high = (0.0, 1.0) if classes else (mean.min(), mean.max())
    # The colours of many classes stand out on grey only.
    cmap = "Greys_r" if many else "RdBu_r" if classes else "viridis"
    scale: Style = {
        "cmap": cmap,
        "vmin": low,
        "vmax": high,
    }
    about = "standard deviation over draws" if spread == "sd" else "predictive entropy (nats)"
    for panel, values, how, title in (
        ("mean", mean, scale, what),
        (spread, unsure, Style(cmap="cividis", vmin=0), about),
    ):
        surface = canvas.draw(
            "surface", x_values, y_values, values, panel=panel, shading="gouraud", **how
        )
        if surface is not None:
            canvas.draw("colorbar", surface, panel=panel)
        if points is not None:
            outcome = np.asarray(points[2])
            color: Style = {"c": outcome, **scale}
            if many:
                color = {"c": [COLORS[int(k) % len(COLORS)] for k in outcome]}
            elif category is not None:
                color["c"] = outcome == category
            edge: Style = {"edgecolors": "black" if many else "white", "linewidths": 0.9}
            canvas.draw("points", *points[:2], panel=panel, s=24, **edge, **color)
        canvas.draw("title", title, panel=panel)
        canvas.draw("xlabel", x_name, panel=panel)
        canvas.draw("ylabel", y_name, panel=panel)
        xlim, ylim = ((v.min(), v.max()) for v in (x_values, y_values))
        canvas.axes(panel).set(xlim=xlim, ylim=ylim)
    return canvas.finish()


def _inputs(
    dt: DataTree, x: str | ArrayLike | None, y: str | ArrayLike | None, n_rows: int
) -> tuple[str | None, tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Where the two inputs of the rows are from, their names, and their values."""
    groups = [g for g in ("predictions_constant_data", "constant_data") if g in dt.children]
    columns: dict[str, np.ndarray] = {}
    source = None
    for source in groups:
        columns = _columns(dt[source].to_dataset(), n_rows)
        if columns:
            break
    there = ", ".join(map(repr, columns)) or f"no inputs of {n_rows} rows"
    if x is None and y is None:
        if len(columns) != 2:
            raise ValueError(f"Write x= and y=, names or arrays: the DataTree has {there}.")
        x, y = columns
    names, values = [], []
    for name, given in (("x", x), ("y", y)):
        if isinstance(given, str):
            if given not in columns:
                raise ValueError(f"{name}={given!r}: the DataTree has {there}.")
            name, given = given, columns[given]
        array = np.asarray(given, float)
        if array.shape != (n_rows,):
            raise ValueError(
                f"{name} has shape {array.shape}, but there are predictions for {n_rows} rows: "
                f"give an array of shape ({n_rows},)."
            )
        names.append(name)
        values.append(array)
    named = isinstance(x, str) or isinstance(y, str)
    return source if named else None, (names[0], names[1]), (values[0], values[1])


def _points(
    dt: DataTree, predicted: str, x_name: str, y_name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Inputs and outcomes of the observed rows, where they are known."""
    observed = observed_data(dt)
    names = [str(name) for name in observed.data_vars]
    names = [n for n in names if predicted.startswith(n)] if len(names) > 1 else names
    if len(names) != 1 or "constant_data" not in dt.children:
        return None
    outcome = observed[names[0]].values
    columns = _columns(dt["constant_data"].to_dataset(), len(outcome))
    if {x_name, y_name} <= set(columns):
        return columns[x_name], columns[y_name], outcome
    if len(columns) == 2:
        first, second = columns.values()
        return first, second, outcome
    return None


def _columns(data: Dataset, n_rows: int) -> dict[str, np.ndarray]:
    """Variables ``(row,)`` and columns of variables ``(row, column)``, by name."""
    columns = {}
    for name, x in data.data_vars.items():
        if x.dtype.kind != "f" or x.ndim not in (1, 2) or len(x) != n_rows:
            continue
        if x.ndim == 1:
            columns[str(name)] = x.values
            continue
        for j, label in enumerate(x[x.dims[1]].values):
            column = label if isinstance(label, str) else f"{name}[{label}]"
            columns[str(column)] = x.values[:, j]
    return columns
