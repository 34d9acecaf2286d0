"""Modes of the posterior, by Newton's method."""

from dataclasses import dataclass

import numpy as np

from pymc_sgmcmc.warmup.landscape import Landscape

_EVALUATIONS = 200
# Share of directions in which U curves down, from which on Newton's method has a long way to go;
# and Hessians to look at: they lead a regression to where hardly a direction does, while of a
# network every third still does.
_ROUGH, _LOOKS = 0.1, 8
# Smallest curvature that counts, in units of the diagonal's: below it there is only rounding.
FLOOR = 1e-12
# Converged when a Newton step would lower U by less than this many nats: a tenth of a posterior
# standard deviation, and the step is made all the same.
_DECREMENT = 0.005


class Rough(Exception):
    """There is no mode that the posterior lies around: U curves down, or is another U elsewhere."""


@dataclass(frozen=True)
class Mode:
    """A local minimum of U, or where the search for one ended.

    Parameters
    ----------
    position : ndarray
        Shape ``(d,)``.
    potential : float
        U there, in nats.
    hessian : ndarray
        Shape ``(d, d)``.
    converged : bool
    evaluations : int
        Hessians that were evaluated.
    """

    position: np.ndarray
    potential: float
    hessian: np.ndarray
    converged: bool
    evaluations: int

    @property
    def started(self) -> bool:
        """Whether there was anything to follow: a finite Hessian at the start."""
        return self.evaluations > 1


def newton(landscape: Landscape, start: np.ndarray, refuse_rough: bool = False) -> Mode:
    """Follow Newton's method, damped as Levenberg and Marquardt do, from a start.

    The damping is relative to the diagonal of the Hessian, so that the units of the parameters do
    not matter; and curvature counts by its absolute value, so that saddles repel.

    Parameters
    ----------
    landscape : Landscape
    start : ndarray
        Shape ``(d,)``.
    refuse_rough : bool
        Whether to go on only where U is about to curve up in nearly all directions.

    Returns
    -------
    Mode

    Raises
    ------
    Rough
        If it is not, and was to be.

    References
    ----------
    Moré (1978), The Levenberg-Marquardt algorithm: implementation and theory.
    Dauphin et al. (2014), Identifying and attacking the saddle point problem in high-dimensional
    non-convex optimization, NeurIPS.
    """
    position = np.asarray(start, dtype=float)
    value, gradient, hessian = (x[0] for x in landscape.hessian(position[None]))
    if not np.isfinite(hessian).all():
        return Mode(position, float(value), np.eye(len(position)), False, 1)
    damping, converged, made = 1e-3, False, 1
    while not converged and made < _EVALUATIONS:
        if made == _LOOKS and refuse_rough:
            _refuse_rough(hessian)
        step, least = _damped_step(gradient, hessian, damping)
        expected = -gradient @ step - step @ hessian @ step / 2
        # Where U is flat, or curves down, there is no mode, however small the slope.
        near = damping <= 1e-3 and expected < _DECREMENT and least > FLOOR
        trial = [x[0] for x in landscape.hessian((position + step)[None])]
        made += 1
        finite = all(np.isfinite(x).all() for x in trial)
        ratio = (value - trial[0]) / max(expected, 1e-300) if finite else -np.inf
        # Close to the mode U itself is rounded more coarsely than its gradient.
        if ratio > 0.01 or (near and finite):
            position = position + step
            value, gradient, hessian = trial
            damping = max(damping * (0.1 if ratio > 0.5 else 1), 1e-8)
            converged = near
        else:
            damping *= 10
            if damping > 1e12:
                break
    if made <= _LOOKS and refuse_rough:
        _refuse_rough(hessian)
    return Mode(position, float(value), hessian, converged, made)


def _refuse_rough(hessian: np.ndarray) -> None:
    """Raise `Rough` where U curves down in too many directions."""
    if (np.linalg.eigvalsh(hessian) < 0).mean() > _ROUGH:
        raise Rough


def _damped_step(
    gradient: np.ndarray, hessian: np.ndarray, damping: float
) -> tuple[np.ndarray, float]:
    """Step −(|H| + τ diag|H|)⁻¹ g, and the least curvature in units of the diagonal.

    Where U curves down it goes as far as where U curves up as much, and where there is next to no
    slope besides, a length of |curvature|^(−1/2): off a saddle.
    """
    scale = np.sqrt(diagonal_scale(hessian))
    curvature, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    size = np.maximum(np.abs(curvature), FLOOR)
    step = -(vectors.T @ (gradient / scale)) / (size + damping)
    on_top = (curvature < -FLOOR) & (np.abs(step) * np.sqrt(size) < 0.1)
    step = np.where(on_top, np.copysign(1 / np.sqrt(size + damping), step), step)
    return vectors @ step / scale, float(curvature[0])


def diagonal_scale(hessian: np.ndarray) -> np.ndarray:
    """Absolute diagonal of a Hessian, with something positive where it vanishes."""
    diagonal = np.abs(np.diag(hessian))
    return np.maximum(diagonal, 1e-12 * max(diagonal.max(), 1e-12))
