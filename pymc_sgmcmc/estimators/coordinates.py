"""Coordinates in which the posterior is about a standard normal: θ = μ + L z."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Coordinates:
    """Affine change of coordinates θ = μ + L z.

    Parameters
    ----------
    centre : ndarray
        μ, shape ``(d,)``.
    factor : ndarray
        L: a matrix ``(d, d)``, or the diagonal ``(d,)`` of one.
    """

    centre: np.ndarray
    factor: np.ndarray

    @property
    def dense(self) -> bool:
        """Whether L is a matrix."""
        return self.factor.ndim == 2

    def position(self, z: np.ndarray) -> np.ndarray:
        """θ at z, ``(..., d)``."""
        return self.centre + (z @ self.factor.T if self.dense else z * self.factor)

    def of(self, position: np.ndarray) -> np.ndarray:
        """Z of a position, ``(..., d)``."""
        away = position - self.centre
        return np.linalg.solve(self.factor, away.T).T if self.dense else away / self.factor

    def gradient(self, gradient: np.ndarray) -> np.ndarray:
        """∇_z of what has the gradient ∇_θ, ``(..., d)``."""
        return gradient @ self.factor if self.dense else gradient * self.factor

    def curvature(self, hessian: np.ndarray) -> np.ndarray:
        """Second derivatives with respect to z, ``(..., d, d)``."""
        if self.dense:
            return self.factor.T @ hessian @ self.factor
        return self.factor[:, None] * hessian * self.factor

    def turned(self, rotation: np.ndarray) -> "Coordinates":
        """These, with z = Q z': μ and the law of z stay if it is a standard normal."""
        factor = self.factor if self.dense else np.diag(self.factor)
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
