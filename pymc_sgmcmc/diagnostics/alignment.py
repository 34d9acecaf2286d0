"""Put the hidden units of draws in the order and with the signs of a reference draw."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from pymc_sgmcmc.diagnostics.network import Arrays, Network, Symmetry

_BLOCK_BYTES = 2**26
# A smaller share of the largest possible similarity is rounding.
_ROUNDING = 1e-10


def align_to_draw(network: Network, arrays: Arrays, reference: int, odd: bool) -> Symmetry:
    """Find the symmetry of each draw that brings its weights near those of a reference draw.

    It minimises Σ‖W - W_ref‖² over all weights and biases, one hidden layer after the other
    while the rest is held fixed: exactly for one hidden layer, and to a local minimum for more.
    """
    target = {name: x[reference : reference + 1] for name, x in arrays.items()}
    draws = len(next(iter(arrays.values())))
    numbers = max(size**2 for size in network.sizes) + sum(x[0].size for x in arrays.values())
    block = max(1, _BLOCK_BYTES // (8 * numbers))
    found = [
        _align({k: x[i : i + block] for k, x in arrays.items()}, network, target, odd)
        for i in range(0, draws, block)
    ]
    return Symmetry(
        [np.concatenate(xs) for xs in zip(*(part.places for part in found), strict=True)],
        [np.concatenate(xs) for xs in zip(*(part.signs for part in found), strict=True)],
    )


def _align(arrays: Arrays, network: Network, target: Arrays, odd: bool) -> Symmetry:
    layers = range(len(network.sizes))
    symmetry = Symmetry.identity(network.sizes, len(next(iter(arrays.values()))))

    def improve(layer: int, known: int) -> bool:
        nonlocal arrays
        units, wanted = (network.units(x, layer, known) for x in (arrays, target))
        places, signs, better = _match(units, wanted[0], odd)
        arrays = network.apply(arrays, layer, places, signs)
        symmetry.then(layer, places, signs)
        return better

    # From the input on, at first by weights to layers that have their order already. So the start
    # of what follows does not depend on the order that the units came in, nor then does its end.
    for layer in layers:
        improve(layer, known=layer)
    while any([improve(layer, known=layers[-1]) for layer in layers]):
        pass
    return symmetry


def _match(units: np.ndarray, wanted: np.ndarray, odd: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """Unit and sign for each place that bring units of all draws nearest to those wanted.

    Σ_i ‖r_i - s_i u_π(i)‖² is smallest where Σ_i s_i r_i·u_π(i) is largest, and the better sign of
    a pair is that of r·u: the pair is worth |r·u|.
    """
    products = wanted @ units.swapaxes(1, 2)
    worth = np.abs(products) if odd else products
    best = np.array([linear_sum_assignment(w, maximize=True)[1] for w in worth])
    stay = np.arange(best.shape[1])
    gain = _along(worth, best).sum(1) - products[:, stay, stay].sum(1)
    scale = np.linalg.norm(units, axis=(1, 2)) * np.linalg.norm(wanted)
    # Among equals, units stay where they are.
    better = (gain > _ROUNDING * scale)[:, None]
    signs = np.where(_along(products, best) < 0, -1, 1) if odd else np.ones_like(best)
    return np.where(better, best, stay), np.where(better, signs, 1), bool(better.any())


def _along(matrices: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Entries ``[draw, i, places[draw, i]]``."""
    return np.take_along_axis(matrices, places[:, :, None], 2)[:, :, 0]
