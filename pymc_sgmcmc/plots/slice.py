"""The potential energy along a line or over a plane through draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pymc.model import Model
from xarray import DataTree

from pymc_sgmcmc.diagnostics.positions import Layout, check_all_rows, unconstrained
from pymc_sgmcmc.model.plain import plain, the_model
from pymc_sgmcmc.plots.arrays import SAMPLE
from pymc_sgmcmc.plots.canvas import BLUE, ORANGE, Canvas, Style, Visuals, documented
from pymc_sgmcmc.plots.directions import filter_normalized

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

_VISUALS = {
    "potential": "plot",
    "contours": "contourf",
    "lines": "contour",
    "colorbar": "colorbar",
    "draws": "plot",
    "names": "annotate",
    "xlabel": "set_xlabel",
    "ylabel": "set_ylabel",
}

Potential = Callable[[np.ndarray], float]
"""Of a flat position, in nats."""

_DOTS: Style = {
    "color": ORANGE,
    "marker": "o",
    "linestyle": "none",
    "markeredgecolor": "white",
}
_NAMES: Style = {
    "xytext": (5, 6),
    "textcoords": "offset points",
    "fontsize": 9,
    "bbox": {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
}


@documented(_VISUALS)
def plot_slice(
    idata: DataTree,
    model: Model,
    draws: Sequence[tuple[int, int]] | None = None,
    *,
    points: int | None = None,
    beyond: float | None = None,
    random_seed: int = 0,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Potential energy U on the line through two draws, on the plane through three, or around one.

    U = −log p(θ, data) over PyMC's unconstrained space, the Jacobians of its transforms included,
    with the data that the model has now: at temperature 1, whatever the draws were made at. A
    barrier between two draws says that they lie in different modes, at least along this line.

    Around one draw the plane has two random directions, in which the weights into each unit change
    in proportion to their size: the landscape of a network that can be compared with another's
    (Li et al. 2018).

    Parameters
    ----------
    idata : xarray.DataTree
        With a ``posterior`` of all free variables of the model.
    model : pm.Model
        The model that was sampled, with all rows.
    draws : sequence of (int, int), optional
        Chain and draw, by position, of one, two or three draws. When None the last draw of the
        first chain and of the last; of one chain, the first draw and the last.
    points : int, optional
        Points on the line, or on each side of the plane; 101 and 31 when None. Each takes one
        evaluation of the model's log-density with all rows.
    beyond : float, optional
        How far to go beyond the draws, in units of their distance; around one draw, in units of the
        size of its weights. When None 0.5, and 1 around one draw.
    random_seed : int
        Of the directions around one draw.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection
        On a line, position 0 is the first draw and 1 the second. A plane has two orthogonal axes
        of distance in the unconstrained space: the first draw lies at 0, the second on the first
        axis. Around one draw it lies at 0, and 1 is as far as the weights into a unit are long.

    Raises
    ------
    ValueError
        If the posterior lacks a free variable, the model has minibatches, the draws are not one,
        two or three different ones, or three lie on one line.

    See Also
    --------
    pymc_sgmcmc.diagnostics.canonicalize : Removes the barriers between copies of a network.

    References
    ----------
    Li, Xu, Taylor, Studer and Goldstein, "Visualizing the Loss Landscape of Neural Nets", NeurIPS
    2018. (They leave biases as they are; here all biases of a layer change like one unit.)

    Examples
    --------
    Two draws from the two modes of a mixture, and the barrier of 3.8 nats between them:

    >>> import arviz as az
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc.plots import plot_slice
    >>> with pm.Model() as model:
    ...     x = pm.NormalMixture("x", [0.5, 0.5], [-3, 3])
    >>> idata = az.from_dict({"posterior": {"x": np.array([[-3.0, 3.0]])}})
    >>> plot = plot_slice(idata, model)
    >>> U = plot.get_viz("potential").get_ydata()
    >>> round(float(U[50] - U[25]), 1)  # half-way, and at the first draw
    3.8
    """
    model = plain(the_model(model))
    posterior = idata["posterior"].to_dataset()
    if draws is None:
        draws = [(0, -1), (-1, -1)] if posterior.sizes["chain"] > 1 else [(0, 0), (0, -1)]
    if len(draws) not in (1, 2, 3):
        raise ValueError(f"draws has {len(draws)} draws: give one (chain, draw), two, or three.")
    potential, at = _potential(model), unconstrained(idata, model, draws)
    flat = len(draws) == 2
    canvas = Canvas(
        _VISUALS,
        (6, 4) if flat else (6, 5),
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
        layout="constrained" if flat else "compressed",
    )
    if flat:
        places = _line(canvas, potential, at, points or 101, 0.5 if beyond is None else beyond)
    else:
        if len(draws) == 1:
            rng = np.random.default_rng(random_seed)
            plane = _around(model, at[0], rng, 1.0 if beyond is None else beyond)
        else:
            plane = _through(at, 0.5 if beyond is None else beyond)
        places = plane.places
        _draw_plane(canvas, potential, plane, points or 31)
    canvas.draw("draws", *places.T, **_DOTS)
    for draw, place in zip(draws, places, strict=True):
        chain, number = (int(posterior[d][i]) for d, i in zip(SAMPLE, draw, strict=True))
        canvas.draw(
            "names",
            f"chain {chain}, draw {number}",
            place,
            over={"chain": chain, "draw": number},
            **_NAMES,
        )
    return canvas.finish()


def _potential(model: Model) -> Potential:
    """Potential energy of a flat position, in nats; NaN where it is not finite."""
    check_all_rows(model)
    logp, point = model.compile_logp(), Layout.of(model).point

    def potential(position: np.ndarray) -> float:
        u = -float(logp(point(position)))
        return u if np.isfinite(u) else np.nan

    return potential


def _line(
    canvas: Canvas, potential: Potential, at: np.ndarray, points: int, beyond: float
) -> np.ndarray:
    """Draw U on a line; places of the draws there, ``(2, 2)``."""
    first, second = at
    if np.array_equal(first, second):
        raise ValueError("The two draws are the same: give two different ones.")
    t = np.linspace(-beyond, 1 + beyond, points)
    u = [potential(first + s * (second - first)) for s in t]
    canvas.draw("potential", t, u, color=BLUE, linewidth=2)
    distance = np.linalg.norm(second - first)
    canvas.draw("xlabel", f"position on the line between two draws {distance:.3g} apart")
    canvas.draw("ylabel", "potential energy U (nats)")
    return np.array([[0, potential(first)], [1, potential(second)]])


@dataclass(frozen=True)
class _Plane:
    """Part of a plane in the unconstrained space.

    Attributes
    ----------
    origin : ndarray
        Shape ``(d,)``: where both coordinates are 0.
    axes : ndarray
        Shape ``(2, d)``: what one unit of each coordinate adds.
    places : ndarray
        Coordinates of the draws, ``(draws, 2)``.
    low, high : ndarray
        Of either coordinate.
    labels : (str, str)
        What they are.
    """

    origin: np.ndarray
    axes: np.ndarray
    places: np.ndarray
    low: np.ndarray
    high: np.ndarray
    labels: tuple[str, str]


def _through(at: np.ndarray, beyond: float) -> _Plane:
    """Plane through three draws ``(3, d)``, with orthonormal axes.

    The second draw is ahead on the first axis, the third on the second one's side.
    """
    basis, triangle = np.linalg.qr((at[1:] - at[0]).T)
    if np.abs(np.diag(triangle)).min() < 1e-8 * np.abs(triangle).max():
        raise ValueError("The three draws lie on one line: give others, or two of them.")
    signs = np.sign(np.diag(triangle))
    axes, places = (basis * signs).T, np.vstack([np.zeros(2), (signs[:, None] * triangle).T])
    low, high = places.min(0), places.max(0)
    margin = beyond * (high - low).max()
    labels = "distance along the first two draws", "distance across"
    return _Plane(at[0], axes, places, low - margin, high + margin, labels)


def _around(model: Model, at: np.ndarray, rng: np.random.Generator, beyond: float) -> _Plane:
    """Plane of two random directions around one draw ``(d,)``."""
    axes = np.array([filter_normalized(model, at, rng) for _ in range(2)])
    edge = np.full(2, beyond)
    labels = "one random direction (sizes of weights)", "another"
    return _Plane(at, axes, np.zeros((1, 2)), -edge, edge, labels)


def _draw_plane(canvas: Canvas, potential: Potential, plane: _Plane, points: int) -> None:
    """Draw U on a plane."""
    from matplotlib.colors import BoundaryNorm
    from matplotlib.ticker import FuncFormatter

    x, y = np.linspace(plane.low, plane.high, points).T
    u = np.array([[potential(plane.origin + [a, b] @ plane.axes) for a in x] for b in y])
    lowest, highest = np.nanmin(u), np.nanmax(u)
    # Denser near the bottom: even in distance if the bottom is a parabola.
    levels = lowest + (highest - lowest) * np.linspace(0, 1, 17) ** 2
    norm = BoundaryNorm(levels, 256)
    contours = canvas.draw("contours", x, y, u, levels=levels, cmap="viridis", norm=norm)
    canvas.draw("lines", x, y, u, levels=levels[1:-1], colors="white", linewidths=0.4, alpha=0.6)
    if contours is not None:
        canvas.draw(
            "colorbar",
            contours,
            label="potential energy U, above the lowest (nats)",
            ticks=levels[[0, 4, 8, 12, 16]],
            format=FuncFormatter(lambda u, _: f"{float(f'{u - lowest:.2g}'):,g}"),
        )
    canvas.axes().set_aspect("equal")
    for visual, label in zip(("xlabel", "ylabel"), plane.labels, strict=True):
        canvas.draw(visual, label)
