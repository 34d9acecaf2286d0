"""Put hidden units into clusters of alike ones: signs by a hyperplane, places by their neighbours.

The data-driven reference set of Wiese et al. (2023), which prefers no draw.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from pymc_sgmcmc.diagnostics.network import Arrays, Network, Symmetry

_MOST_EDGES = 20_000_000
# Settings of the paper's code; its neighbours were 1024 of 1274 draws.
_NEIGHBOURS = 0.8
_SWEEPS = 256
_RESTARTS, _EPOCHS, _BATCH, _RATE, _DECAY = 4, 32, 16, 0.1, 0.8


def align_by_clusters(network: Network, arrays: Arrays, odd: bool, seed: int) -> Symmetry:
    """Find the symmetry of each draw that puts like units of all draws in one place."""
    rng = np.random.default_rng(seed)
    draws = len(next(iter(arrays.values())))
    symmetry = Symmetry.identity(network.sizes, draws)
    for layer, size in enumerate(network.sizes):
        stay, keep = np.tile(np.arange(size), (draws, 1)), np.ones((draws, size), dtype=int)

        def change(places: np.ndarray, signs: np.ndarray, layer: int = layer) -> None:
            nonlocal arrays
            arrays = network.apply(arrays, layer, places, signs)
            symmetry.then(layer, places, signs)

        # Weights to later layers, whose units have no order yet, would blur the clusters.
        units = network.units(arrays, layer, known=layer)
        if odd:
            normal = separating_normal(units.reshape(-1, units.shape[2]), rng)
            change(stay, np.where(units @ normal < 0, -1, 1))
        change(np.argsort(cluster(network.units(arrays, layer, known=layer), rng), axis=1), keep)
        # Either half-space will do for a whole cluster: the one that most of its units were in.
        most = np.where(symmetry.signs[layer].mean(0) < 0, -1, 1)
        change(stay, keep * most)
    return symmetry


def separating_normal(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normal n of the plane through 0 that keeps the most room to points on either side.

    Stochastic gradient descent on ½‖n‖² + Σ_batch max(0, 1 - |u·n|), from several directions.
    """
    points = points / (np.sqrt(np.mean(points**2)) or 1.0)
    normals = rng.normal(size=(_RESTARTS, points.shape[1]))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    batch = min(_BATCH, len(points))
    for epoch in range(_EPOCHS):
        rate = _RATE * _DECAY**epoch
        order = rng.permutation(len(points))
        for start in range(0, len(points) - batch + 1, batch):
            u = points[order[start : start + batch]]
            height = u @ normals.T
            too_near = np.where(np.abs(height) < 1, np.sign(height), 0)
            normals -= rate * (normals - too_near.T @ u)
    near = np.maximum(0, 1 - np.abs(points @ normals.T)).mean(0)
    return normals[np.argmin((normals**2).sum(1) / 2 + batch * near)]


def cluster(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels ``(draws, units)`` of the units, each once in a draw, such that neighbours agree.

    Every unit hears the labels of its nearest neighbours among the units of all draws; within a
    draw the labels then go to the units with the clearest vote. A random half of the draws takes
    its new labels at a time, lest all of them swap to and fro together.
    """
    draws, size, _ = units.shape
    graph = _neighbours(units)
    labels = np.tile(np.arange(size), (draws, 1))
    for _ in range(_SWEEPS):
        votes = (graph @ np.eye(size)[labels.ravel()]).reshape(draws, size, size)
        new = _assign(votes / np.maximum(votes.sum(2, keepdims=True), 1e-300))
        if (new == labels).all():
            break
        half = rng.permutation(draws)[: (draws + 1) // 2]
        labels[half] = new[half]
    return labels


def _assign(share: np.ndarray) -> np.ndarray:
    """Give labels to the units of each draw, the clearest first; ``(draws, units, labels)``."""
    draws, size, _ = share.shape
    share, every = share.copy(), np.arange(draws)
    labels = np.empty((draws, size), dtype=int)
    for _ in range(size):
        unit, label = np.divmod(share.reshape(draws, -1).argmax(1), size)
        labels[every, unit] = label
        share[every, unit, :] = -1
        share[every, :, label] = -1
    return labels


def _neighbours(units: np.ndarray) -> csr_array:
    """Similarity exp(-d/2) of near units at distance d, in standard deviations; symmetric."""
    draws, size, _ = units.shape
    points = units.reshape(draws * size, -1)
    spread = points.std(0)
    points = (points - points.mean(0)) / np.where(spread > 0, spread, 1)
    n = len(points)
    k = min(n - 1, max(1, round(_NEIGHBOURS * draws)))
    if n * k > _MOST_EDGES:
        thin = int(np.ceil(np.sqrt(n * k / _MOST_EDGES)))
        raise ValueError(
            f"reference='clusters' compares all units of all draws, and {draws} draws of {size} "
            f"units are too many. Take fewer, idata.sel(draw=slice(None, None, {thin})), or "
            "reference='draw'."
        )
    distance, neighbour = cKDTree(points).query(points, k + 1)
    row = np.repeat(np.arange(n), k + 1)
    other = neighbour.ravel() != row
    weight = np.exp(-distance.ravel() / 2)
    graph = csr_array((weight[other], (row[other], neighbour.ravel()[other])), shape=(n, n))
    return graph.maximum(graph.T)
