"""Small DataTrees with planted properties, and the forward pass of a network."""

import numpy as np
from xarray import DataArray, Dataset, DataTree

FUNCTIONS = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0), "erf": np.arctan}


def tree(observed=None, **groups):
    """DataTree of groups of ``name=(dims after chain and draw, values)``."""
    made = {
        group: Dataset(
            {name: (("chain", "draw", *dims), np.asarray(x)) for name, (dims, x) in content.items()}
        )
        for group, content in groups.items()
    }
    for dataset in made.values():
        dataset.coords["chain"] = np.arange(dataset.sizes["chain"])
        dataset.coords["draw"] = np.arange(dataset.sizes["draw"])
    if observed is not None:
        y = np.asarray(observed)
        made["observed_data"] = Dataset({"y": (("row", "output")[: y.ndim], y)})
    return DataTree.from_dict(made)


def network(hidden, n_in=3, n_out=2, draws=(2, 5), noise=0.0, seed=0, raw=False):
    """Posterior of a network, copies of one setting of its weights with noise; and its layers."""
    rng = np.random.default_rng(seed)
    sizes = [n_in, *hidden, n_out]
    dims = ["feature", *(f"hidden_{k}" for k in range(len(hidden))), "output"]
    content, layers = {}, []
    for k in range(len(sizes) - 1):
        for name, where in ((f"W{k}", (k, k + 1)), (f"b{k}", (k + 1,))):
            shape = [sizes[i] for i in where]
            x = rng.normal(size=shape) + noise * rng.normal(size=(*draws, *shape))
            content[name] = [dims[i] for i in where], x
        layers.append((f"W{k}", f"b{k}"))
    if raw:
        # Non-centred: W = W_raw * scale of the unit.
        scale = rng.uniform(0.5, 2, size=(*draws, hidden[0]))
        content["scale"] = ["hidden_0"], scale
        content["W0_raw"] = ["feature", "hidden_0"], content["W0"][1] / scale[:, :, None]
    return tree(posterior=content), layers


def scramble(idata, layers, odd=True, by_chain=False, seed=1):
    """The same functions by other weights: random places, and signs if odd, of hidden units."""
    rng = np.random.default_rng(seed)
    posterior = idata["posterior"].to_dataset().copy(deep=True)
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    for k in range(len(layers) - 1):
        size = posterior.sizes[f"hidden_{k}"]
        for chain in range(chains):
            for draw in range(draws):
                if draw == 0 or not by_chain:
                    place = rng.permutation(size)
                    sign = rng.choice([-1, 1], size) if odd else np.ones(size)
                for name, x in posterior.data_vars.items():
                    one = x[chain, draw]
                    if f"hidden_{k}" in one.dims:
                        signs = DataArray(sign, dims=f"hidden_{k}") if name != "scale" else 1
                        moved = one.isel({f"hidden_{k}": place}) * signs
                        x[chain, draw] = moved.transpose(*one.dims)
    return DataTree.from_dict({"posterior": posterior})


def outputs(idata, layers, X, activation="tanh"):
    """Outputs of the network, ``(chain, draw, row, output)``."""
    posterior = idata["posterior"]
    h = X
    for k, (weights, bias) in enumerate(layers):
        b = posterior[bias].values[:, :, None] if bias else 0
        W = posterior[weights].values
        # A single output may be without a dimension.
        h = h @ (W if W.ndim == 4 else W[..., None]) + b
        if k < len(layers) - 1:
            h = FUNCTIONS[activation](h)
    return h
