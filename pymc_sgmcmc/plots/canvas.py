"""The panels of a plot and what is drawn on them, kept in a PlotCollection."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray, Dataset

if TYPE_CHECKING:
    from arviz_plots import PlotCollection
    from matplotlib.axes import Axes

Style = dict[str, Any]
"""Keyword arguments of a method that draws."""

Visuals = Mapping[str, Mapping[str, Any] | bool]
"""Keyword arguments of what is drawn, by name, or False to leave it out."""

# Okabe & Ito: told apart by the colour-blind, too.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLORS = (BLUE, ORANGE, GREEN, PINK, "#E69F00", "#56B4E9", "#8B6914", "#555555")
FAINT = "0.65"

_COMMON = """plot_collection : arviz_plots.PlotCollection, optional
    Draw on its panels rather than on a new figure.
backend : {"matplotlib"}, optional
    matplotlib is the only one.
visuals : mapping of {str: mapping or bool}, optional
    Keyword arguments of what is drawn, or False to leave it out: VISUALS.
**pc_kwargs
    Passed to ``arviz_plots.PlotCollection.wrap``, such as ``figure_kwargs={"figsize": (6, 4)}``."""


def documented[F: Callable](visuals: Mapping[str, str]) -> Callable[[F], F]:
    """Put the arguments that all plots have in the place of ``{common}`` in a docstring."""

    def document(function: F) -> F:
        listed = ", ".join(f"``{name}`` (``{method}``)" for name, method in visuals.items())
        text = inspect.getdoc(function) or ""
        function.__doc__ = text.replace("{common}", _COMMON.replace("VISUALS", listed))
        return function

    return document


class Canvas:
    """Panels of one figure, by name, and the visuals on them.

    Parameters
    ----------
    methods : mapping of str to str
        Name of each visual, and the method of ``Axes`` that draws it, or of ``Figure``:
        "colorbar" and "Figure.legend".
    size : (float, float)
        Width and height of a panel, in inches.
    panels : sequence of hashable, optional
        Names of the panels; a single one without a name when None.
    dim : str
        What the panels differ by: their dimension in the PlotCollection.
    plot_collection, backend, visuals, pc_kwargs
        As a person gave them.
    **figure_kwargs
        Defaults of the figure, such as ``sharex``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the backend is not matplotlib, or `visuals` has a name that is none of `methods`.
    """

    def __init__(
        self,
        methods: Mapping[str, str],
        size: tuple[float, float],
        panels: Sequence[Hashable] | None = None,
        dim: str = "panel",
        *,
        plot_collection: PlotCollection | None = None,
        backend: str | None = None,
        visuals: Visuals | None = None,
        pc_kwargs: Mapping[str, Any],
        **figure_kwargs: Any,
    ) -> None:
        if find_spec("matplotlib") is None:
            raise ImportError("Plots need matplotlib: pip install 'pymc-sgmcmc[plots]'.")
        if backend not in (None, "matplotlib"):
            raise ValueError(f'backend={backend!r} is not there: write backend="matplotlib".')
        self._visuals = dict(visuals or {})
        for name in self._visuals:
            if name not in methods:
                known = ", ".join(map(repr, methods))
                raise ValueError(f"visuals has {name!r}, but this plot has: {known}.")
        self._methods, self._dim = methods, dim
        self._drawn: dict[str, dict[tuple[tuple[str, Hashable], ...], object]] = {}
        if plot_collection is None:
            import arviz_plots  # starts JAX

            options = {"col_wrap": 5, **pc_kwargs}
            n = 1 if panels is None else len(panels)
            cols = min(n, options["col_wrap"])
            figsize = (size[0] * cols, size[1] * -(-n // cols))
            options["figure_kwargs"] = {
                "figsize": figsize,
                "layout": "constrained",
                **figure_kwargs,
                **options.get("figure_kwargs", {}),
            }
            data = Dataset({"plot": DataArray(0.0)})
            if panels is not None:
                values = np.zeros(n)
                data = Dataset({"plot": (dim, values)}, coords={dim: list(panels)})
                options["cols"] = [dim]
            plot_collection = arviz_plots.PlotCollection.wrap(data, backend="matplotlib", **options)
        self.collection: PlotCollection = plot_collection

    def axes(self, panel: Hashable | None = None) -> Axes:
        """Matplotlib axes of a panel."""
        return self.collection.get_viz("plot", sel=self._place(panel))

    def draw(
        self,
        visual: str,
        *arguments: Any,
        panel: Hashable | None = None,
        over: Mapping[str, Hashable] | None = None,
        **defaults: Any,
    ) -> object:
        """Draw a visual on a panel, unless it is not wanted.

        Parameters
        ----------
        visual : str
        *arguments
            Of the method that draws it.
        panel : hashable, optional
        over : mapping of str to hashable, optional
            Which of several of its kind on the panel this is, such as ``{"chain": 0}``.
        **defaults
            Keyword arguments where `visuals` gives no others.

        Returns
        -------
        object or None
            What the method gave; None where it was not wanted.
        """
        options = self._visuals.get(visual, True)
        if options is False:
            return None
        axes, method = self.axes(panel), self._methods[visual]
        if method == "colorbar":
            defaults["ax"] = axes
        owner = axes.figure if method in ("colorbar", "Figure.legend") else axes
        options = {} if options is True else options
        draw = getattr(owner, method.removeprefix("Figure."))
        artist = draw(*arguments, **{**defaults, **options})
        if method == "plot":
            (artist,) = artist
        place = {**self._place(panel), **(over or {})}
        self._drawn.setdefault(visual, {})[tuple(place.items())] = artist
        return artist

    def finish(self) -> PlotCollection:
        """PlotCollection with every visual that was drawn in its ``viz``."""
        for visual, artists in self._drawn.items():
            coords: dict[str, list[Hashable]] = {}
            for place in artists:
                for dim, value in place:
                    if value not in coords.setdefault(dim, []):
                        coords[dim].append(value)
            stored = np.full([len(values) for values in coords.values()], None, object)
            for place, artist in artists.items():
                stored[tuple(coords[dim].index(value) for dim, value in place)] = artist
            self.collection.viz[visual] = DataArray(stored, coords=coords, dims=list(coords))
        return self.collection

    def _place(self, panel: Hashable | None) -> dict[str, Hashable]:
        return {} if panel is None else {self._dim: panel}
