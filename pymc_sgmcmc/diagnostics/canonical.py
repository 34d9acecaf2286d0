"""Remove the symmetries of a network's hidden units from draws of its weights."""

from __future__ import annotations

import numpy as np
from xarray import Dataset, DataTree

from pymc_sgmcmc.arguments import one_of
from pymc_sgmcmc.diagnostics.alignment import align_to_draw
from pymc_sgmcmc.diagnostics.clusters import align_by_clusters
from pymc_sgmcmc.diagnostics.network import Layers, Network, Symmetry, find_network, values
from pymc_sgmcmc.diagnostics.reading import find_group
from pymc_sgmcmc.diagnostics.symmetry import is_odd


def canonicalize(
    idata: DataTree,
    layers: Layers,
    *,
    activation: str = "tanh",
    reference: str | tuple[int, int] = "draw",
    group: str = "posterior",
    random_seed: int = 0,
) -> DataTree:
    """Give hidden units the same order, and the same signs, in all draws.

    Hidden units can be put in any order and, for an odd activation such as tanh, the weights into
    and out of a unit turned around together, without any change of the network's output. Chains
    end in such copies of one another. Each draw is here replaced by one of its copies, so that
    weights of different chains can be compared; every prediction stays as it is.

    Parameters
    ----------
    idata : xarray.DataTree
        With draws of the weights.
    layers : sequence of tuple
        ``(weights, bias)`` of each layer from input to output, by name, with None for no bias.
        Weights have dims ``(chain, draw, in, out)``, and biases ``(chain, draw, out)``; those of
        the output may be without ``out``. For several outputs, a list of such pairs in the last
        place. Each hidden layer needs a dimension of its own, and all its weights and biases must
        be named: predictions change if one is left out.
    activation : str
        Of the hidden layers: "tanh", "relu" ....
    reference : {"draw", "clusters"} or tuple
        "draw": bring all draws near to one by least squares, that of the highest ``lp`` or lowest
        ``potential_energy`` in sample_stats, or else the last one of the first chain; a tuple
        ``(chain, draw)`` names another. "clusters": the data-driven set of Wiese et al., which
        looks for clusters among the units of all draws, at a cost that grows with the square of
        draws times units; for small networks.
    group : str
        Where the weights are.
    random_seed : int
        Of "clusters".

    Returns
    -------
    xarray.DataTree
        With the weights and biases changed, and with them their twins called ``<name>_raw`` of the
        same shape; other variables with a hidden layer's dimension, such as a scale of each
        unit, are put in order but keep their sign. The group's attributes say what was done, and
        the new group ``symmetries`` has, of each hidden dimension and draw, ``place_<dim>``, the
        position that the unit came from, and ``sign_<dim>``: ``new[h] = sign[h] * old[place[h]]``.

    Raises
    ------
    ValueError
        If `layers` does not fit the variables, hidden layers share a dimension, an argument is not
        known, or there are too many units for "clusters".

    See Also
    --------
    layer_summary : How far chains agree on weights, before and after.
    symmetry_count : How many copies a network has.
    predictive_rhat : Needs no canonical weights.

    Notes
    -----
    A unit h is told by u = [b_h, W_in[:, h], W_out[h, :]]. "draw" maximises Σ_h r_h·(±u_π(h)) over
    permutations and signs, r being the reference's units: an assignment problem for each layer,
    solved in turns until nothing changes, starting with the layers in order of their incoming
    weights (Git Re-Basin). "clusters" goes through the layers once: a hyperplane through 0 far
    from all units picks the sign, and votes of the nearest neighbours pick the place. Unlike in the
    paper's code it begins at the input and leaves out weights to layers not yet in order.

    References
    ----------
    Ainsworth, Hayase and Srinivasa, "Git Re-Basin: Merging Models modulo Permutation Symmetries",
    ICLR 2023. Wiese, Wimmer, Papamarkou, Bischl, Günnemann and Rügamer, "Towards Efficient MCMC
    Sampling in Bayesian Neural Networks by Exploiting Symmetry", ECML PKDD 2023.

    Examples
    --------
    Two draws of the same network of two hidden units, which swapped places and one its sign:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import canonicalize
    >>> into, out = [[[1.0, 2.0]], [[2.0, -1.0]]], [[3.0, 4.0], [4.0, -3.0]]
    >>> weights = {"W1": np.array([into]), "W2": np.array([out])}
    >>> idata = az.from_dict({"posterior": weights}, dims={"W1": ["x", "unit"], "W2": ["unit"]})
    >>> same = canonicalize(idata, [("W1", None), ("W2", None)], reference=(0, 0))
    >>> same["posterior"]["W2"].values[0].tolist()
    [[3.0, 4.0], [3.0, 4.0]]
    >>> same["symmetries"]["sign_unit"].values[0].tolist()
    [[1, 1], [-1, 1]]
    """
    if isinstance(reference, str):
        one_of("reference", reference, ("draw", "clusters"), otherwise=", or a (chain, draw)")
    odd = is_odd(activation)
    dataset = find_group(idata, group)[1]
    network = find_network(dataset, layers)
    weights = {m.name: values(dataset[m.name]) for m in network.members if m.weight}
    broken = [name for name, x in weights.items() if not np.isfinite(x).all()]
    if broken:
        raise ValueError(f"{broken[0]!r} has values that are not finite: leave those draws out.")
    if reference == "clusters":
        done = "clusters"
        symmetry = align_by_clusters(network, weights, odd, random_seed)
    else:
        chain, draw = _reference_draw(idata, dataset, group, reference)
        done = f"chain {dataset['chain'].values[chain]}, draw {dataset['draw'].values[draw]}"
        position = chain * dataset.sizes["draw"] + draw
        symmetry = align_to_draw(network, weights, position, odd)
    result = idata.copy()
    result[group].dataset = _apply(dataset, network, symmetry).assign_attrs(
        canonical_reference=done, canonical_activation=activation
    )
    result["symmetries"] = DataTree(_recorded(dataset, network, symmetry))
    return result


def _reference_draw(
    idata: DataTree, dataset: Dataset, group: str, reference: str | tuple[int, int]
) -> tuple[int, int]:
    """Positions of chain and draw."""
    if not isinstance(reference, str):
        try:
            chain, draw = (
                np.flatnonzero(dataset[dim].values == label).item()
                for dim, label in zip(("chain", "draw"), reference, strict=True)
            )
        except (ValueError, TypeError):
            raise ValueError(
                f"reference={reference!r} is no (chain, draw) of the group {group!r}."
            ) from None
        return chain, draw
    shape = dataset.sizes["chain"], dataset.sizes["draw"]
    if "sample_stats" in idata.children and group == "posterior":
        statistics = idata["sample_stats"].to_dataset()
        for name, sign in (("lp", -1), ("potential_energy", 1)):
            if name in statistics and statistics[name].shape == shape:
                energy = sign * statistics[name].values
                if np.isfinite(energy).any():
                    best = np.unravel_index(np.nanargmin(energy), shape)
                    return int(best[0]), int(best[1])
    return 0, shape[1] - 1


def _apply(dataset: Dataset, network: Network, symmetry: Symmetry) -> Dataset:
    arrays = {member.name: values(dataset[member.name]) for member in network.members}
    for layer, (places, signs) in enumerate(zip(symmetry.places, symmetry.signs, strict=True)):
        arrays = network.apply(arrays, layer, places, signs)
    changed = {}
    for name, x in arrays.items():
        before = dataset[name].transpose("chain", "draw", ...)
        changed[name] = before.copy(data=x.reshape(before.shape)).transpose(*dataset[name].dims)
    return dataset.assign(changed)


def _recorded(dataset: Dataset, network: Network, symmetry: Symmetry) -> Dataset:
    shape = dataset.sizes["chain"], dataset.sizes["draw"]
    recorded = {}
    for dim, places, signs in zip(network.dims, symmetry.places, symmetry.signs, strict=True):
        for name, x in ((f"place_{dim}", places), (f"sign_{dim}", signs)):
            recorded[name] = (("chain", "draw", dim), x.reshape(*shape, -1))
    coords = {d: dataset[d] for d in ("chain", "draw", *network.dims) if d in dataset.coords}
    return Dataset(recorded, coords=coords)
