"""The weights of a network, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xarray import Dataset, DataTree

from pymc_sgmcmc.diagnostics.network import Pair
from pymc_sgmcmc.diagnostics.reading import find_group, quoted


def layer_summary(
    idata: DataTree, layers: Sequence[str | Pair | list[Pair]], *, group: str = "posterior"
) -> Dataset:
    """Size of each layer's weights, and how far the chains agree on it.

    The norm ‖W‖ = √Σw² of a layer does not change when hidden units swap places or signs, so that
    its R-hat compares chains as they are. Those of weights do not, unless after `canonicalize`:
    compare `between` and `within` before and after.

    Parameters
    ----------
    idata : xarray.DataTree
        With draws of the weights.
    layers : sequence
        As for `canonicalize`, ``[("W1", "b1"), ("W2", None)]``, or names of weights. Biases don't
        count.
    group : str
        Where the weights are.

    Returns
    -------
    xarray.Dataset
        Dims ``(layer,)``, labelled by the weights' names. ``root_mean_square`` of a weight;
        ``norm``, its mean over draws, with ``norm_rhat`` and ``norm_ess`` (in draws); ``between``
        and ``within``, the root mean squares over a layer's weights of the sd of the chains' means
        and of the sd of draws within a chain. NaN where one chain is too few.
        `.to_dataframe()` makes a table of it.

    Raises
    ------
    ValueError
        If a variable is missing.

    See Also
    --------
    canonicalize : Gives the hidden units of all draws the same order.

    Examples
    --------
    Two chains of a network of two hidden units, in opposite order:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import layer_summary
    >>> W = np.random.default_rng(0).normal([1, 3], 0.1, size=(2, 100, 4, 2))
    >>> W[1] = W[1][..., ::-1]
    >>> summary = layer_summary(az.from_dict({"posterior": {"W": W}}), ["W"])
    >>> summary[["norm", "norm_rhat", "between", "within"]].to_dataframe().round(1)
           norm  norm_rhat  between  within
    layer
    W       6.3        1.0      1.4     0.1
    """
    import arviz_stats

    dataset = find_group(idata, group)[1]
    names = _weights(layers)
    missing = [name for name in names if name not in dataset]
    if missing or not names:
        raise ValueError(
            f"layers names {quoted(missing)}, which are missing. Group {group!r} has "
            f"{quoted(dataset.data_vars)}."
        )
    rows = []
    for name in names:
        w = dataset[name].transpose("chain", "draw", ...).astype(float)
        square = (w**2).sum([dim for dim in w.dims if dim not in ("chain", "draw")])
        norm = np.sqrt(square)
        several = w.sizes["chain"] > 1
        variance = w.mean("draw").var("chain", ddof=1) if several else w[0, 0] * np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            rows.append(
                {
                    "root_mean_square": np.sqrt((w**2).mean()),
                    "norm": norm.mean(),
                    "norm_rhat": arviz_stats.rhat(norm) if several else np.nan,
                    "norm_ess": arviz_stats.ess(norm),
                    "between": np.sqrt(variance.mean()),
                    "within": np.sqrt(w.var("draw", ddof=1).mean()),
                }
            )
    columns = {key: ("layer", np.array([float(row[key]) for row in rows])) for key in rows[0]}
    return Dataset(columns, coords={"layer": names})


def _weights(layers: Sequence[str | Pair | list[Pair]]) -> list[str]:
    """Names of the weights among names, pairs with a bias, and lists of such pairs."""
    names: list[str] = []
    for entry in [layers] if isinstance(layers, str) else layers:
        if isinstance(entry, list):
            names += _weights(entry)
        else:
            names.append(entry if isinstance(entry, str) else entry[0])
    return names
