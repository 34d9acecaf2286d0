"""Coordinates in which the posterior is about a standard normal: θ = μ + L z."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Axes:
    """Orthogonal axes of which a few are given, and a length on each: A = (I − Yᵀ T Y) diag(l).

    Parameters
    ----------
    reflectors : ndarray
        Y, ``(k, d)``.
    triangle : ndarray
        T, ``(k, k)``.
    lengths : ndarray
        l, positive, ``(d,)``.
    """

    reflectors: np.ndarray
    triangle: np.ndarray
    lengths: np.ndarray

    def out(self, vectors: np.ndarray) -> np.ndarray:
        """A v of vectors ``(..., d)``."""
        return self._turned(vectors * self.lengths, self.triangle)

    def back(self, vectors: np.ndarray) -> np.ndarray:
        """A⁻¹ v of vectors ``(..., d)``."""
        return self._turned(vectors, self.triangle.T) / self.lengths

    def along(self, vectors: np.ndarray) -> np.ndarray:
        """Aᵀ v of vectors ``(..., d)``."""
        return self._turned(vectors, self.triangle.T) * self.lengths

    def _turned(self, vectors: np.ndarray, triangle: np.ndarray) -> np.ndarray:
        return vectors - (vectors @ self.reflectors.T) @ triangle.T @ self.reflectors


def axes_along(directions: np.ndarray) -> tuple[Axes, np.ndarray]:
    """Axes of length 1, some of which are given directions.

    All others stay as near to where they were as they can; each direction takes the place of the
    axis nearest to it.

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
    reflectors, triangle, numbers = np.zeros((k, d)), np.zeros((k, k)), np.zeros(k, int)
    free = np.ones(d, bool)
    for i, direction in enumerate(directions):
        # What the reflections until here leave of it; they hold the axes that are taken.
        left = direction - (direction @ reflectors.T) @ triangle @ reflectors
        left = np.where(free, left, 0.0)
        j = numbers[i] = int(np.argmax(np.abs(left)))
        free[j] = False
        mirror = left.copy()
        mirror[j] += np.copysign(np.linalg.norm(left), left[j])
        rate = 2 / (mirror @ mirror)
        triangle[:i, i] = -rate * triangle[:i, :i] @ (reflectors[:i] @ mirror)
        triangle[i, i], reflectors[i] = rate, mirror
    return Axes(reflectors, triangle, np.ones(d)), numbers


@dataclass(frozen=True)
class Coordinates:
    """Affine change of coordinates θ = μ + L z.

    Parameters
    ----------
    centre : ndarray
        μ, shape ``(d,)``.
    factor : ndarray
        L: a matrix ``(d, d)``, or the diagonal ``(d,)`` of one.
    axes : Axes, optional
        A, where L = diag(factor) A.
    """

    centre: np.ndarray
    factor: np.ndarray
    axes: Axes | None = None

    @property
    def dense(self) -> bool:
        """Whether L is a matrix."""
        return self.factor.ndim == 2

    def position(self, z: np.ndarray) -> np.ndarray:
        """θ at z, ``(..., d)``."""
        if self.dense:
            return self.centre + z @ self.factor.T
        return self.centre + self.factor * (self.axes.out(z) if self.axes else z)

    def of(self, position: np.ndarray) -> np.ndarray:
        """Z of a position, ``(..., d)``."""
        away = position - self.centre
        if self.dense:
            return np.linalg.solve(self.factor, away.T).T
        scaled = away / self.factor
        return self.axes.back(scaled) if self.axes else scaled

    def gradient(self, gradient: np.ndarray) -> np.ndarray:
        """∇_z of what has the gradient ∇_θ, ``(..., d)``."""
        if self.dense:
            return gradient @ self.factor
        scaled = gradient * self.factor
        return self.axes.along(scaled) if self.axes else scaled

    def curvature(self, hessian: np.ndarray) -> np.ndarray:
        """Second derivatives with respect to z, ``(..., d, d)``."""
        return self.gradient(self.gradient(hessian).swapaxes(-1, -2)).swapaxes(-1, -2)

    def turned(self, rotation: np.ndarray) -> "Coordinates":
        """These, with z = Q z': μ and the law of z stay if it is a standard normal."""
        factor = self.gradient(np.eye(len(self.centre))).T
        return Coordinates(self.centre, factor @ rotation)


def preconditioned(fitted: Coordinates, preconditioner: str | np.ndarray | None) -> Coordinates:
    """Coordinates as a person asked for them, around those that fit the posterior.

    Parameters
    ----------
    fitted : Coordinates
    preconditioner : {"auto", "dense", "diagonal"}, ndarray or None
        Covariance of what the coordinates make standard, ``(d, d)`` or its diagonal ``(d,)``; None
        for those of the model.
    """
    if preconditioner is None:
        return Coordinates(fitted.centre, np.ones_like(fitted.centre))
    if not isinstance(preconditioner, str):
        square = preconditioner.ndim == 2
        factor = np.linalg.cholesky(preconditioner) if square else np.sqrt(preconditioner)
        return Coordinates(fitted.centre, factor)
    if preconditioner == "diagonal" and fitted.dense:
        precision = np.square(np.linalg.inv(fitted.factor)).sum(0)
        return Coordinates(fitted.centre, 1 / np.sqrt(precision))
    return fitted
