"""What several plots compute from predictions."""

from __future__ import annotations

import numpy as np
from xarray import DataArray

SAMPLE = ("chain", "draw")


def is_probability(x: DataArray) -> bool:
    """Whether ``(chain, draw, row[, class])`` may be probabilities of classes, or of one."""
    if x.ndim not in (3, 4) or x.dtype.kind != "f" or x.min() < -1e-6 or x.max() > 1 + 1e-6:
        return False
    return x.ndim == 3 or bool(abs(x[0, 0].sum([x.dims[-1]]) - 1).max() < 1e-3)


def class_probabilities(p: DataArray) -> DataArray:
    """Posterior predictive probabilities ``(row, class)``: means over the draws.

    Where there is only P(y = 1), the classes are 0 and 1.
    """
    mean = p.mean(SAMPLE)
    if mean.ndim == 2:
        return mean
    both = np.stack([1 - mean.values, mean.values], axis=-1)
    return DataArray(both, dims=(*mean.dims, "class"), coords={"class": [0, 1]}, name=p.name)


def entropy(probability: DataArray) -> np.ndarray:
    """Entropy ``(row,)`` of probabilities ``(row, class)``, in nats."""
    from scipy.special import entr

    return entr(np.clip(probability.values, 0, 1)).sum(-1)
