"""Coordinates in which the posterior is about a standard normal: θ = μ + L z."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from pymc_sgmcmc.estimators.axes import Axes, identity
from pymc_sgmcmc.estimators.blocks import Blocks


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
        A, where L = diag(factor) B A.
    blocks : Blocks, optional
        B.
    """

    centre: np.ndarray
    factor: np.ndarray
    axes: Axes | None = None
    blocks: Blocks | None = None

    @property
    def dense(self) -> bool:
        """Whether L is a matrix."""
        return self.factor.ndim == 2

    def position(self, z: np.ndarray) -> np.ndarray:
        """θ at z, ``(..., d)``."""
        if self.dense:
            return self.centre + z @ self.factor.T
        z = self.axes.out(z) if self.axes else z
        return self.centre + self.factor * (self.blocks.times(z) if self.blocks else z)

    def of(self, position: np.ndarray) -> np.ndarray:
        """Z of a position, ``(..., d)``."""
        away = position - self.centre
        if self.dense:
            return np.linalg.solve(self.factor, away.T).T
        scaled = away / self.factor
        scaled = self.blocks.inverse.times(scaled) if self.blocks else scaled
        return self.axes.back(scaled) if self.axes else scaled

    def gradient(self, gradient: np.ndarray) -> np.ndarray:
        """∇_z of what has the gradient ∇_θ, ``(..., d)``."""
        if self.dense:
            return gradient @ self.factor
        scaled = gradient * self.factor
        scaled = self.blocks.transposed.times(scaled) if self.blocks else scaled
        return self.axes.along(scaled) if self.axes else scaled

    def curvature(self, hessian: np.ndarray) -> np.ndarray:
        """Second derivatives with respect to z, ``(..., d, d)``."""
        return self.gradient(self.gradient(hessian).swapaxes(-1, -2)).swapaxes(-1, -2)

    def shortened(self, lengths: np.ndarray) -> "Coordinates":
        """These, with z = lengths · z'."""
        if self.axes is None and self.blocks is None:
            return dataclasses.replace(self, factor=self.factor * lengths)
        axes = self.axes or identity(len(lengths))
        return dataclasses.replace(self, axes=axes.scaled(lengths))

    def mixed(self, blocks: Blocks) -> "Coordinates":
        """These, with z = C z': C stands to the right of L, and is orthogonal if L has axes."""
        axes = self.axes and self.axes.seen_from(blocks)
        blocks = self.blocks.after(blocks) if self.blocks else blocks
        return dataclasses.replace(self, axes=axes, blocks=blocks)

    @property
    def matrix(self) -> np.ndarray:
        """L as a matrix, ``(d, d)``."""
        return self.gradient(np.eye(len(self.centre)))

    def blended(self, positions: np.ndarray, share: float) -> "Coordinates":
        """These, with the covariance C of some positions: L' L'ᵀ = (1 − η) L Lᵀ + η C.

        Where positions are so far apart that L Lᵀ is lost beside C, these as they are.

        Parameters
        ----------
        positions : ndarray
            At least two, ``(m, d)``.
        share : float
            η, at least 0 and below 1.
        """
        away = positions - positions.mean(0)
        covariance = away.T @ away / (len(away) - 1)
        blend = (1 - share) * self.matrix @ self.matrix.T + share * covariance
        try:
            return Coordinates(self.centre, np.linalg.cholesky(blend))
        except np.linalg.LinAlgError:
            return Coordinates(self.centre, self.matrix)

    def turned(self, rotation: np.ndarray) -> "Coordinates":
        """These, with z = Q z': μ and the law of z stay if it is a standard normal."""
        return Coordinates(self.centre, self.matrix @ rotation)


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
