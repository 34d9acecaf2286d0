"""Random directions in the space of a model's parameters, at the scale of its weights."""

from __future__ import annotations

import numpy as np
from pymc.model import Model

from pymc_sgmcmc.diagnostics.positions import Layout


def filter_normalized(model: Model, position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random direction ``(d,)`` in which each filter changes in proportion to its size.

    A filter is what leads into one unit or channel: the entries of a variable with one index on its
    last axis. Each filter δ of a standard normal vector is scaled to the length of the filter w
    that lies there, δ ← δ ‖w‖/‖δ‖. So landscapes of networks with large and with small weights can
    be compared. A vector, such as biases, and a single number are one filter each.

    Li, Xu, Taylor, Studer and Goldstein (2018), Visualizing the loss landscape of neural nets,
    NeurIPS, section 4.

    Parameters
    ----------
    model : pm.Model
    position : ndarray
        Shape ``(d,)``: the model's value variables, in its order.
    rng : numpy.random.Generator
    """
    parts = []
    for x in Layout.of(model).parts(position):
        w = x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1)
        delta = rng.normal(size=w.shape)
        lengths = (np.linalg.norm(v, axis=0) for v in (w, delta))
        parts.append((delta * np.divide(*lengths)).ravel())
    return np.concatenate(parts)
