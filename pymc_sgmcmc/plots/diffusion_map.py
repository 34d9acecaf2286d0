"""Draws in the coordinates of a diffusion map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xarray import DataTree

from pymc_sgmcmc.diagnostics.diffusion import diffusion_map
from pymc_sgmcmc.diagnostics.points import Names
from pymc_sgmcmc.plots.canvas import Canvas, Visuals, documented
from pymc_sgmcmc.plots.coordinates import SIZE, VISUALS, Color, colors, draw_coordinates, pair

if TYPE_CHECKING:
    from arviz_plots import PlotCollection


@documented(VISUALS)
def plot_diffusion_map(
    dt: DataTree,
    var_names: Names = None,
    *,
    color: Color = "chain",
    components: tuple[int, int] = (1, 2),
    landmarks: int = 1000,
    alpha: float = 0.5,
    bandwidth: float | None = None,
    standardize: bool = True,
    group: str = "posterior",
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draws in the coordinates that a diffusion through them changes most slowly.

    Draws that hang together lie together. Separate heaps are modes; a curve is a ridge along which
    the slowest change goes, and its second coordinate often just the square of the first.

    Parameters
    ----------
    dt : DataTree
        With draws ``(chain, draw, ...)``.
    var_names : sequence of str, optional
        Variables; all of the group when None.
    color : str or array_like, default "chain"
        What dots are coloured by: ``"chain"``; a variable ``(chain, draw)`` of the group, of
        ``posterior`` or of ``sample_stats``, such as ``"potential_energy"``; or an array of that
        shape.
    components : (int, int), default (1, 2)
        The two coordinates, counted from 1.
    landmarks : int, default 1000
        Draws on which the eigenproblem is solved.
    alpha : float, default 0.5
        1 for the draws' shape alone, however dense they are.
    bandwidth : float, optional
        ε, in the squared unit of the entries; found when None.
    standardize : bool, default True
        Divide each entry by its standard deviation over all draws.
    group : str
        Where the variables are.
    {common}

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        As `diffusion_map`; if `color` is not one number for each draw, or `components` are not two.

    See Also
    --------
    pymc_sgmcmc.diagnostics.diffusion_map : The numbers that are drawn.
    plot_principal_components : Straight coordinates.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.plots import plot_diffusion_map
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(4, 250))
    >>> banana = {"x": x, "y": x**2 + rng.normal(0, 0.2, size=x.shape)}
    >>> plot = plot_diffusion_map(az.from_dict({"posterior": banana}), color="x")
    >>> plot.savefig("diffusion_map.png")
    """
    wanted = pair(components)
    found = diffusion_map(
        dt,
        var_names,
        n_components=max(wanted),
        landmarks=landmarks,
        alpha=alpha,
        bandwidth=bandwidth,
        standardize=standardize,
        group=group,
    )
    shown = colors(dt, group, found, color)
    canvas = Canvas(
        VISUALS,
        SIZE,
        plot_collection=plot_collection,
        backend=backend,
        visuals=visuals,
        pc_kwargs=pc_kwargs,
    )
    rate = found["rate"]
    axes = {k: f"diffusion coordinate {k}  (rate {rate.sel(component=k):.2g})" for k in wanted}
    draw_coordinates(canvas, found, axes, shown)
    return canvas.finish()
