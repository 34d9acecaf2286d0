"""Random directions in the space of a model's parameters, at the scale of its weights."""

from __future__ import annotations

import numpy as np
from pymc.model import Model


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
    parts, start = [], 0
    for shape in (x.shape for x in _values(model)):
        end = start + int(np.prod(shape))
        filters = -1, shape[-1] if len(shape) > 1 else 1
        w = position[start:end].reshape(filters)
        delta = rng.normal(size=w.shape)
        lengths = (np.linalg.norm(x, axis=0) for x in (w, delta))
        parts.append((delta * np.divide(*lengths)).ravel())
        start = end
    return np.concatenate(parts)


def _values(model: Model) -> list[np.ndarray]:
    """Value variables of the initial point, in the model's order."""
    initial = model.initial_point(0)
    return [np.asarray(initial[v.name]) for v in model.value_vars]
