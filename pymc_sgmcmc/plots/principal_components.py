"""Draws in the coordinates in which they spread most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xarray import DataTree

from pymc_sgmcmc.diagnostics.points import Names
from pymc_sgmcmc.diagnostics.principal import principal_components
from pymc_sgmcmc.plots.canvas import Canvas, Visuals, documented
from pymc_sgmcmc.plots.coordinates import SIZE, VISUALS, Color, colors, draw_coordinates, pair

if TYPE_CHECKING:
    from arviz_plots import PlotCollection


@documented(VISUALS)
def plot_principal_components(
    dt: DataTree,
    var_names: Names = None,
    *,
    color: Color = "chain",
    components: tuple[int, int] = (1, 2),
    standardize: bool = True,
    group: str = "posterior",
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draws in the directions in which they spread most.

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
        The two components, counted from 1.
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
        As `principal_components`; if `color` is not one number for each draw, or `components` are
        not two.

    See Also
    --------
    pymc_sgmcmc.diagnostics.principal_components : The numbers that are drawn.
    plot_diffusion_map : Coordinates that bend with the draws.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.plots import plot_principal_components
    >>> w = np.random.default_rng(0).normal(size=(4, 250, 10)) * np.arange(10)
    >>> plot = plot_principal_components(az.from_dict({"posterior": {"w": w}}), standardize=False)
    >>> plot.savefig("principal_components.png")
    """
    wanted = pair(components)
    found = principal_components(
        dt, var_names, n_components=max(wanted), standardize=standardize, group=group
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
    share = found["share"]
    axes = {k: f"component {k}  ({share.sel(component=k):.0%} of the variance)" for k in wanted}
    draw_coordinates(canvas, found, axes, shown)
    return canvas.finish()
