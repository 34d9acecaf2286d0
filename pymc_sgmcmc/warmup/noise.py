"""The noise of minibatch gradients, with and without a control variate."""

import numpy as np

from pymc_sgmcmc.engines.base import Engine
from pymc_sgmcmc.estimators.coordinates import Coordinates

_AT_ONCE = 128


def correlated_part(sample: np.ndarray, turned: bool) -> float:
    """Largest variance of noise in any direction, beyond what that of the coordinates explains.

    Where the coordinates were turned to the axes of another sample, a tenth of the largest
    variance is left, by the error of its covariance. Of a sample that is smaller than the
    dimensions, one half shows the direction and the other half the variance.
    """
    largest = float(np.square(sample).mean(0).max())
    if turned:
        return largest / 10
    if len(sample) < sample.shape[1]:
        return max(largest / 10, _held_out(*np.array_split(sample, 2)))
    covariance = sample.T @ sample / len(sample)
    np.fill_diagonal(covariance, 0)
    return max(largest / 10, float(np.linalg.eigvalsh(covariance)[-1]))


def _held_out(first: np.ndarray, second: np.ndarray) -> float:
    """Variance of the second sample in the first's direction of most noise, beyond that of axes."""
    weights = np.linalg.eigh(first @ first.T)[1][:, -1]
    direction = weights @ first
    norm = np.linalg.norm(direction)
    if norm == 0:
        return 0.0
    direction = direction / norm
    alone = np.square(second).mean(0) @ np.square(direction)
    return float(np.square(second @ direction).mean() - alone)


def spread_of(sample: np.ndarray) -> float:
    """Variance of V over positions, over V², averaged over the parameters.

    From two samples of the noise at each position, ``(2k, d)``, one after the other: their squares
    have nothing in common but V there. A single one's kurtosis is also that of noise which is large
    in a few batches only, whatever the position.
    """
    whole = len(sample) // 2 * 2
    if whole == 0:
        return 0.0
    first, second = np.square(sample[0:whole:2]), np.square(sample[1:whole:2])
    means = first.mean(0) * second.mean(0)
    seen = means > 0
    if not seen.any():
        return 0.0
    return max(0.0, float(((first * second).mean(0)[seen] / means[seen]).mean()) - 1)


def gradient_noise(
    engine: Engine,
    coordinates: Coordinates,
    positions: np.ndarray,
    others: dict[str, np.ndarray],
    rng: np.random.Generator,
    controlled: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Noise of the gradient at positions: plain, and with a control variate at the centre.

    Differences of two batches at the same position, so that the exact gradient is not needed.

    Parameters
    ----------
    engine : Engine
        One that moves in the model's own coordinates.
    coordinates : Coordinates
    positions : ndarray
        Shape ``(k, d)``.
    others : dict of str to ndarray
        Values of the model's other value variables.
    rng : numpy.random.Generator
    controlled : bool
        Whether the second is asked for; it is the first if not.

    Returns
    -------
    plain, controlled : ndarray
        Samples of the noise of ∇_z Ũ, ``(k', d)`` each, at the k' ≤ k positions where the gradient
        is finite; infinite with a control variate at a centre where it is not.
    """
    plain, relative = [], []
    at_once = min(_AT_ONCE, len(positions))
    for first in range(0, len(positions), at_once):
        # The same seed takes the same batches, wherever the gradient is evaluated.
        seeds = rng.integers(2**32, size=(2, 2), dtype=np.uint32)
        here = np.resize(positions[first : first + at_once], (at_once, positions.shape[1]))
        centre = np.broadcast_to(coordinates.centre, here.shape)
        known = {k: np.broadcast_to(x, (at_once, *x.shape)) for k, x in others.items()}

        def difference(
            points: np.ndarray, seeds: np.ndarray = seeds, known: dict[str, np.ndarray] = known
        ) -> np.ndarray:
            with np.errstate(all="ignore"):
                one, other = (engine.evaluate(points, known, s)[1].astype(float) for s in seeds)
                return coordinates.gradient(one - other) / np.sqrt(2)

        n = len(positions) - first
        noise = difference(here)[:n]
        plain.append(noise)
        relative.append(noise - difference(centre)[:n] if controlled else noise)
    without, with_it = np.concatenate(plain), np.concatenate(relative)
    finite = np.isfinite(without).all(1)
    return without[finite], np.nan_to_num(with_it[finite], nan=np.inf, posinf=np.inf, neginf=np.inf)
