"""The directions in which draws spread most."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.sparse.linalg import svds
from xarray import DataArray, Dataset, DataTree

from pymc_sgmcmc.arguments import integer
from pymc_sgmcmc.diagnostics.points import Names, points

# Up to this many numbers on the shorter side, all singular vectors cost little.
_SMALL = 300


def principal_components(
    idata: DataTree,
    var_names: Names = None,
    *,
    n_components: int = 2,
    standardize: bool = True,
    group: str = "posterior",
) -> Dataset:
    """Draws in the coordinates in which they spread most.

    The directions are the eigenvectors of the covariance of the entries of all variables, those of
    the largest variance first, over all chains together. Chains that lie apart on the first of them
    sample different places; in the weights of a network these may be copies of one another.

    Parameters
    ----------
    idata : xarray.DataTree
        With draws ``(chain, draw, ...)``.
    var_names : sequence of str, optional
        Variables; all of the group, deterministic ones too, when None.
    n_components : int, default 2
        Directions.
    standardize : bool, default True
        Divide each entry by its standard deviation over all draws: directions are then those of the
        correlations. False where all entries have the same unit, as predictions have.
    group : str
        Where the variables are. ``"predictions"`` compares functions in place of weights.

    Returns
    -------
    xarray.Dataset
        ``coordinate`` ``(chain, draw, component)``, in the unit of the entries, with mean 0;
        ``variance`` of each component and its ``share`` of that of all entries; ``direction``
        ``(component, entry)``, unit vectors, the sign such that the largest number is positive.
        `component` counts from 1, `entry` is labelled ``"b[0]"``.

    Raises
    ------
    ValueError
        If a variable is not there, has values that are not finite, or there are fewer draws or
        entries than components.

    See Also
    --------
    diffusion_map : Coordinates that bend with the draws, of the slowest changes.
    canonicalize : Gives hidden units the same order in all draws.
    pymc_sgmcmc.plots.plot_principal_components : Draws them.

    Examples
    --------
    Two entries that go together, and one that does not:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import principal_components
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(2, 4, 500))
    >>> draws = {"a": x, "b": 2 * x + 0.1 * noise, "c": rng.normal(size=(4, 500))}
    >>> found = principal_components(az.from_dict({"posterior": draws}))
    >>> found["share"].round(2).values.tolist()
    [0.67, 0.33]
    >>> found["direction"].sel(component=1).round(1).values.tolist()
    [0.7, 0.7, -0.0]
    """
    integer("n_components", n_components)
    draws = points(idata, var_names, group, standardize)
    x = draws.values - draws.values.mean(0)
    if n_components > min(x.shape):
        raise ValueError(
            f"n_components={n_components}, but {len(x)} draws of {x.shape[1]} entries have no more "
            f"than {min(x.shape)} directions."
        )
    u, s, directions = _singular(x, n_components)
    largest = np.abs(directions).argmax(1)
    signs = np.sign(directions[np.arange(n_components), largest])
    variance = s**2 / (len(x) - 1)
    total = (x**2).sum() / (len(x) - 1)
    along = partial(DataArray, dims="component")
    return Dataset(
        {
            "coordinate": draws.by_draw(u * s * signs),
            "variance": along(variance),
            "share": along(variance / total),
            "direction": (("component", "entry"), directions * signs[:, None]),
        },
        coords={"entry": draws.entries},
    )


def _singular(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k largest singular values of a matrix, in falling order, and their vectors."""
    if min(x.shape) <= max(_SMALL, 2 * k):
        u, s, directions = np.linalg.svd(x, full_matrices=False)
        return u[:, :k], s[:k], directions[:k]
    start = np.random.default_rng(0).normal(size=min(x.shape))  # the same result every time
    u, s, directions = svds(x, k, v0=start)
    order = np.argsort(-s)
    return u[:, order], s[order], directions[order]
