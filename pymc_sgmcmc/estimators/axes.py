"""Axes to move along that are not the parameters' own: a diagonal and a few more directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymc_sgmcmc.estimators.blocks import Blocks


@dataclass(frozen=True)
class Axes:
    """A matrix A = diag(l) + Uᵀ V, whose columns are the axes: O(kd) to store and to multiply by.

    Parameters
    ----------
    lengths : ndarray
        l, ``(d,)``.
    left, right : ndarray
        U and V, ``(k, d)``.
    """

    lengths: np.ndarray
    left: np.ndarray
    right: np.ndarray

    def out(self, vectors: np.ndarray) -> np.ndarray:
        """A v of vectors ``(..., d)``."""
        return self.lengths * vectors + (vectors @ self.right.T) @ self.left

    def along(self, vectors: np.ndarray) -> np.ndarray:
        """Aᵀ v of vectors ``(..., d)``."""
        return self.lengths * vectors + (vectors @ self.left.T) @ self.right

    def back(self, vectors: np.ndarray) -> np.ndarray:
        """A⁻¹ v of vectors ``(..., d)``, by Woodbury's identity."""
        left, scaled = self.left / self.lengths, vectors / self.lengths
        coupling = np.eye(len(left)) + self.right @ left.T
        return scaled - np.linalg.solve(coupling, self.right @ scaled.T).T @ left

    def scaled(self, lengths: np.ndarray) -> Axes:
        """A diag(lengths)."""
        return Axes(self.lengths * lengths, self.left, self.right * lengths)

    def turned(self, numbers: np.ndarray, rotation: np.ndarray) -> Axes:
        """A, with a matrix ``(n, n)`` between some of its axes, whose numbers are ``(n,)``."""
        chosen = np.zeros((len(numbers), len(self.lengths)))
        chosen[np.arange(len(numbers)), numbers] = 1
        change = (rotation - np.eye(len(numbers))) @ chosen
        return Axes(
            self.lengths,
            np.concatenate([self.left, self.out(chosen)]),
            np.concatenate([self.right, change]),
        )

    def seen_from(self, blocks: Blocks) -> Axes:
        """Cᵀ A C, of orthogonal blocks C that leave parameters be whose length is not 1."""
        turn = blocks.transposed.times
        return Axes(self.lengths, turn(self.left), turn(self.right))

    def padded(self, multiple: int) -> Axes:
        """The same with a rank that is a multiple of something: programs differ by it."""
        more = (-len(self.left) % multiple, len(self.lengths))
        left, right = (np.concatenate([x, np.zeros(more)]) for x in (self.left, self.right))
        return Axes(self.lengths, left, right)


def identity(size: int) -> Axes:
    """The parameters' own axes."""
    return Axes(np.ones(size), np.zeros((0, size)), np.zeros((0, size)))


def axes_along(directions: np.ndarray) -> tuple[Axes, np.ndarray]:
    """Orthogonal axes of length 1, of which some are given directions.

    Each direction takes the place of the axis that is nearest to it; the others stay as near to
    where they were as they can.

    Parameters
    ----------
    directions : ndarray
        Orthonormal, ``(k, d)``.

    Returns
    -------
    Axes
    numbers : ndarray
        Which axes are the directions, ``(k,)``.

    References
    ----------
    Schreiber & Van Loan (1989), A storage-efficient WY representation for products of Householder
    transformations.
    """
    k, d = directions.shape
    mirrors, triangle, numbers = np.zeros((k, d)), np.zeros((k, k)), np.zeros(k, int)
    free = np.ones(d, bool)
    for i, direction in enumerate(directions):
        # What the mirrors so far leave of it, beside the axes that are taken.
        left = np.where(free, direction - (direction @ mirrors.T) @ triangle @ mirrors, 0.0)
        j = numbers[i] = int(np.argmax(np.abs(left)))
        free[j] = False
        mirror = left.copy()
        mirror[j] += np.copysign(np.linalg.norm(left), left[j])
        rate = 2 / (mirror @ mirror)
        triangle[:i, i] = -rate * triangle[:i, :i] @ (mirrors[:i] @ mirror)
        triangle[i, i], mirrors[i] = rate, mirror
    return Axes(np.ones(d), mirrors, -triangle @ mirrors), numbers
