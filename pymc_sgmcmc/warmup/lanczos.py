"""Lanczos' method, for several symmetric matrices at once."""

from collections.abc import Callable

import numpy as np

Products = Callable[[np.ndarray], np.ndarray]
"""Products of matrices ``(d, d)`` with a vector each, ``(k, d)`` → ``(k, d)``."""

# Part of a vector outside the span of others that is not rounding, in single precision.
_SPAN = 1e-3
# Products after which the largest eigenvalue is known to a percent, whether it stands apart or not.
_VECTORS = 12


def krylov(times: Products, starts: np.ndarray, vectors: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases of the Krylov spaces of matrices, and what the matrices make of them.

    Parameters
    ----------
    times : callable
    starts : ndarray
        Random vectors, ``(k, d)``.
    vectors : int
        Dimension of the spaces, at most.

    Returns
    -------
    basis, images : ndarray
        ``(dimension, k, d)``. Vectors are zero from where the space of a matrix is exhausted, or an
        image was not finite.
    """
    basis: list[np.ndarray] = []
    images: list[np.ndarray] = []
    rest = starts
    while len(basis) < min(vectors, starts.shape[1]):
        before = np.linalg.norm(rest, axis=1, keepdims=True)
        for _ in range(2):  # once leaves what rounding adds
            for known in basis:
                rest = rest - (known * rest).sum(1, keepdims=True) * known
        norm = np.linalg.norm(rest, axis=1, keepdims=True)
        more = norm > _SPAN * before
        if not more.any():
            break  # all that there is to see has been seen
        basis.append(np.divide(rest, norm, out=np.zeros_like(rest), where=more))
        images.append(times(basis[-1]))
        finite = np.isfinite(images[-1]).all(1, keepdims=True)
        rest = np.where(finite & more, images[-1], 0.0)
    return np.array(basis), np.array(images)


def largest_eigenvalues(times: Products, starts: np.ndarray) -> np.ndarray:
    """Largest eigenvalue of each matrix to about a percent, never above it; nan if not finite.

    Parameters
    ----------
    times : callable
    starts : ndarray
        Random vectors, ``(k, d)``.

    Returns
    -------
    ndarray
        Shape ``(k,)``.
    """
    basis, images = krylov(times, starts, _VECTORS)
    finite = np.isfinite(images).all((0, 2))
    found = np.full(len(starts), np.nan)
    projected = np.einsum("ikd,jkd->kij", basis[:, finite], images[:, finite])
    found[finite] = np.linalg.eigvalsh((projected + projected.swapaxes(1, 2)) / 2)[:, -1]
    return found
