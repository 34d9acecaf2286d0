"""The temperature of each variable's positions, such as of a network's layers."""

from __future__ import annotations

import numpy as np
from pymc.model import Model
from xarray import Dataset, DataTree

from pymc_sgmcmc.arguments import integer
from pymc_sgmcmc.diagnostics.positions import Layout, check_all_rows, unconstrained


def layer_temperatures(idata: DataTree, model: Model, *, draws: int = 100) -> Dataset:
    r"""Configurational temperature of each free variable, in each chain.

    .. math::

        T_b = \frac{1}{d_b} \bigl\langle (q_b - \bar q_b) \cdot \nabla_b U(q) \bigr\rangle

    over draws q in PyMC's unconstrained space, for the :math:`d_b` entries of the variable b. Under
    the posterior it is the temperature for every variable, whatever the sampler and its noise:
    above it a layer spreads too much, below it too little. Gradients are of all rows.

    Parameters
    ----------
    idata : xarray.DataTree
        With a ``posterior`` of all free variables of the model.
    model : pm.Model
        The model that was sampled, with all rows.
    draws : int, default 100
        Of each chain, evenly spaced, whose gradients are computed.

    Returns
    -------
    xarray.Dataset
        Dims ``(variable, chain)``: ``mean``; ``standard_error``, which allows for autocorrelation
        (`arviz_stats.mcse`); and ``deviation`` = (mean - T) / standard_error, of the temperature T
        in ``attrs["temperature"]``: that of the run, or else 1.

    Raises
    ------
    ValueError
        If the posterior lacks a free variable, the model has minibatches or discrete variables,
        chains have fewer than 8 draws, or steps had different temperatures.

    See Also
    --------
    temperatures : Of a whole chain, from what the run recorded.
    layer_summary : Size of each layer's weights.
    pymc_sgmcmc.plots.plot_layer_temperatures : Draws them.

    Notes
    -----
    The mean :math:`\bar q_b` is that of the draws used: n effective ones make T_b too low by the
    factor 1 − 1/n. A chain that never left a corner of the posterior may look cool for that reason.

    Examples
    --------
    Weights that were sampled, and others that spread twice too much:

    >>> import arviz as az
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc.diagnostics import layer_temperatures
    >>> with pm.Model() as model:
    ...     right = pm.Normal("right", shape=500)
    ...     hot = pm.Normal("hot", shape=500)
    >>> x = np.random.default_rng(0).normal(size=(2, 2, 100, 500))
    >>> idata = az.from_dict({"posterior": {"right": x[0], "hot": 2 * x[1]}})
    >>> layer_temperatures(idata, model)["mean"].mean("chain").round(1).values.tolist()
    [1.0, 4.0]
    """
    import arviz_stats

    check_all_rows(model)
    integer("draws", draws, least=8)
    posterior = idata["posterior"].to_dataset()
    chains, length = posterior.sizes["chain"], posterior.sizes["draw"]
    if length < 8:
        raise ValueError(f"A standard error takes 8 draws of each chain, and there are {length}.")
    T = _temperature(posterior)
    at = np.unique(np.linspace(0, length - 1, min(draws, length)).round().astype(int))
    layout, gradient = Layout.of(model), model.compile_dlogp()
    products = np.empty((len(layout.names), chains, len(at)))
    for chain in range(chains):
        q = unconstrained(idata, model, [(chain, draw) for draw in at])
        forces = np.array([-gradient(layout.point(x)) for x in q])
        for draw, product in enumerate((q - q.mean(0)) * forces):
            products[:, chain, draw] = [x.mean() for x in layout.parts(product)]
    x = Dataset(
        {"T": (("variable", "chain", "draw"), products)},
        coords={"variable": list(layout.names), "chain": posterior["chain"]},
    )["T"]
    mean, error = x.mean("draw"), arviz_stats.mcse(x, sample_dims=["draw"])
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = (mean - T) / error
    table = Dataset({"mean": mean, "standard_error": error, "deviation": deviation})
    return table.assign_attrs(temperature=T)


def _temperature(posterior: Dataset) -> float:
    """Temperature of the run, of one step or of several; 1 where none was noted."""
    noted = np.unique(np.asarray(posterior.attrs.get("temperature", 1.0), dtype=float))
    if len(noted) > 1:
        raise ValueError(f"The steps had the temperatures {noted.tolist()}: no one for all layers.")
    return float(noted[0])
