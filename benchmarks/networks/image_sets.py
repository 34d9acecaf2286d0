"""Images as bytes, what they show, and images of another distribution."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

SETS = {"mnist": "mnist.npz", "fashion": "fashion_mnist.npz", "cifar10": "cifar10_subset.npz"}


class Images(NamedTuple):
    """Images and what they show.

    Attributes
    ----------
    X, X_test, X_other : ndarray
        ``(rows, height, width, channels)``, uint8; the last are of another distribution, letters.
    y, y_test : ndarray
        Classes, ``(rows,)``.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    X_other: np.ndarray

    def first(self, rows: int, tests: int) -> "Images":
        """The first so many of each."""
        return Images(
            self.X[:rows], self.y[:rows], self.X_test[:tests], self.y_test[:tests],
            self.X_other[:tests],
        )  # fmt: skip

    def halved(self) -> "Images":
        """Images of half the height and width: means of 2 × 2 pixels."""
        X, X_test, X_other = map(_halved, (self.X, self.X_test, self.X_other))
        return self._replace(X=X, X_test=X_test, X_other=X_other)


def load(name: str) -> Images:
    """Load one of `SETS`; CIFAR-10 is 10,000 images of it and 5,000 to test."""
    file, other = read(SETS[name]), read("notmnist_test.npz")["X_test"][..., None]
    X, X_test = (x if x.ndim == 4 else x[..., None] for x in (file["X_train"], file["X_test"]))
    if X.shape[3] == 3:  # letters in grey, with a border
        other = np.pad(other, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, 3)
    return Images(X, file["y_train"].astype(int), X_test, file["y_test"].astype(int), other)


def read(name: str) -> np.lib.npyio.NpzFile:
    """File of images by its name."""
    return np.load(Path(os.environ["PYMC_SGMCMC_DATA"]) / "images" / name)


def _halved(x: np.ndarray) -> np.ndarray:
    n, height, width, channels = x.shape
    squares = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return squares.mean((2, 4)).round().astype(np.uint8)
