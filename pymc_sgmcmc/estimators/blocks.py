"""Coordinates of groups: the effects of one group belong together, whatever the others do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymc_sgmcmc.model.layout import Block

# Groups, and effects of each, that make a family.
_GROUPS, _EFFECTS = 32, 8


def families(layout: Sequence[Block]) -> tuple[np.ndarray, ...]:
    """Numbers of the parameters that belong to one group, ``(groups, effects)`` for each family.

    Variables whose longest dimension is the same are effects of the same groups. If they are not,
    nothing but chance will be found between them.
    """
    by_groups: dict[int, list[np.ndarray]] = {}
    for block in layout:
        groups = max(block.shape, default=1)
        if groups < _GROUPS:
            continue
        numbers = np.arange(block.start, block.stop).reshape(block.shape)
        of_groups = np.moveaxis(numbers, block.shape.index(groups), 0).reshape(groups, -1)
        by_groups.setdefault(groups, []).append(of_groups)
    found = (np.concatenate(variables, axis=1) for variables in by_groups.values())
    return tuple(numbers for numbers in found if 1 < numbers.shape[1] <= _EFFECTS)


@dataclass(frozen=True)
class Blocks:
    """A matrix that mixes the effects of each group, and leaves all else as it is.

    Parameters
    ----------
    numbers : tuple of ndarray
        Of the parameters of each family, ``(groups, effects)``.
    matrices : tuple of ndarray
        Of each group, ``(groups, effects, effects)``.
    """

    numbers: tuple[np.ndarray, ...]
    matrices: tuple[np.ndarray, ...]

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """B v of vectors ``(..., d)``."""
        out = np.array(vectors, float)
        for numbers, matrices in zip(self.numbers, self.matrices, strict=True):
            out[..., numbers] = np.einsum("gij,...gj->...gi", matrices, vectors[..., numbers])
        return out

    @property
    def transposed(self) -> Blocks:
        """Bᵀ."""
        return Blocks(self.numbers, tuple(m.swapaxes(1, 2) for m in self.matrices))

    @property
    def inverse(self) -> Blocks:
        """B⁻¹."""
        return Blocks(self.numbers, tuple(np.linalg.inv(m) for m in self.matrices))

    def after(self, other: Blocks) -> Blocks:
        """B C, of blocks C of the same families."""
        pairs = zip(self.matrices, other.matrices, strict=True)
        return Blocks(self.numbers, tuple(one @ two for one, two in pairs))

    def without(self, parameters: np.ndarray) -> Blocks:
        """The same, but groups that have some of these parameters are left as they are."""
        matrices = []
        for numbers, found in zip(self.numbers, self.matrices, strict=True):
            has = np.isin(numbers, parameters).any(1)[:, None, None]
            matrices.append(np.where(has, np.eye(numbers.shape[1]), found))
        return Blocks(self.numbers, tuple(matrices))


def covariance(numbers: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean product of the effects of each group in two samples ``(n, d)``, made symmetric."""
    product = np.einsum("ngi,ngj->gij", first[:, numbers], second[:, numbers]) / len(first)
    return (product + product.swapaxes(1, 2)) / 2


def whitening(numbers: tuple[np.ndarray, ...], first: np.ndarray, second: np.ndarray) -> Blocks:
    """Blocks B with Bᵀ C B = I, of a covariance C of samples whose parameters have unit variance.

    A correlation that can't be told from none in a sample of that size counts as none.
    """
    unclear = 2 / math.sqrt(len(first))
    matrices = []
    for of_family in numbers:
        found = np.clip(covariance(of_family, first, second), -0.99, 0.99)
        found[np.abs(found) < unclear] = 0
        found[:, *np.diag_indices(of_family.shape[1])] = 1
        values, vectors = np.linalg.eigh(found)
        matrices.append(vectors / np.sqrt(np.maximum(values, 0.01))[:, None])
    return Blocks(numbers, tuple(matrices))


def principal(numbers: tuple[np.ndarray, ...], sample: np.ndarray) -> Blocks:
    """Rotations to the axes along which the effects of a group have no noise in common."""
    of_families = (covariance(of_family, sample, sample) for of_family in numbers)
    return Blocks(numbers, tuple(np.linalg.eigh(found)[1] for found in of_families))
