"""Means and standard deviations of a posterior: exact, or those of a long run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Moments of variables by name, each an array of the variable's shape.

    Attributes
    ----------
    mean, sd : dict of str to ndarray
    """

    mean: dict[str, np.ndarray]
    sd: dict[str, np.ndarray]

    def save(self, path: Path) -> None:
        """Write them to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"mean {name}": x for name, x in self.mean.items()}
        np.savez(path, **arrays, **{f"sd {name}": x for name, x in self.sd.items()})

    @classmethod
    def load(cls, path: Path) -> Moments:
        """Read what `save` wrote."""
        found: dict[str, dict[str, np.ndarray]] = {"mean": {}, "sd": {}}
        with np.load(path) as file:
            for key, x in file.items():
                kind, _, name = key.partition(" ")
                found[kind][name] = x
        return cls(**found)
