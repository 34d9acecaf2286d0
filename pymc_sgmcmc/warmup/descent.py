"""Minibatch descent from each chain's start, where Newton's method costs too much."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.dynamics.base import Dynamics, Transition
from pymc_sgmcmc.engines.base import STUCK, Engine

_LEARNING_RATE = 0.01
# Weights of the past in the averages of the gradient and of its square; what keeps a quotient by
# the latter finite.
_FIRST, _SECOND, _SMALL = 0.9, 0.999, 1e-8
# Largest standard deviation of the noise of an update, for parameters with next to no gradient.
_LARGEST_NOISE = 0.2
_BLOCK = 200
_BLOCKS = 50
_RESTS = 4


@dataclass(frozen=True, kw_only=True)
class DescentDynamics(Dynamics):
    r"""Adam, with the noise of a Langevin step.

    .. math::

        \Delta\theta = -\epsilon \frac{\hat m}{\sqrt{\hat v}}
        + \sqrt{\frac{2 \epsilon T}{\sqrt{\hat v}}}\, \eta

    with :math:`\hat m` and :math:`\hat v` the averages of the gradient and of its square, each over
    the same average of ones. The noise keeps the descent from the bottom, which for a network that
    can interpolate its rows lies where the noise of the observations vanishes, far from the mass of
    the posterior. The law is about that of exp(−U/T), and no more is asked of it: it gives starts.

    Parameters
    ----------
    temperature : float
        T.

    References
    ----------
    Kingma & Ba (2015), Adam: a method for stochastic optimization, ICLR.
    Li, Chen, Carlson & Carin (2016), Preconditioned stochastic gradient Langevin dynamics for deep
    neural networks, AAAI: the noise that suits such a preconditioner.
    """

    auxiliaries: ClassVar = ("first", "second", "first_weight", "second_weight")

    def init(self, position: TensorVariable, noise: TensorVariable) -> dict[str, TensorVariable]:
        """Averages of nothing yet."""
        return {name: pt.zeros_like(position) for name in self.auxiliaries}

    def friction(self, step_size: float, noise: np.ndarray) -> np.ndarray:
        """Infinite: no momentum is conserved; see `Dynamics.friction`."""
        return np.full(np.shape(noise), np.inf)

    def bias(
        self,
        step_size: float,
        curvature: float,
        noise: np.ndarray,
        correlated: float = 0.0,
        spread: float = 10.0,
    ) -> float:
        """Not known, and not small; see `Dynamics.bias`."""
        return np.inf

    def transition(
        self,
        position: TensorVariable,
        auxiliaries: Mapping[str, TensorVariable],
        gradient: TensorVariable,
        noise: TensorVariable,
        step_size: TensorVariable,
        base_step_size: TensorVariable,
    ) -> Transition:
        """One update; `step_size` is ε. See `Dynamics.transition`."""
        first, second, first_weight, second_weight = (auxiliaries[k] for k in self.auxiliaries)
        first = _FIRST * first + (1 - _FIRST) * gradient
        second = _SECOND * second + (1 - _SECOND) * gradient**2
        first_weight = _FIRST * first_weight + (1 - _FIRST)
        second_weight = _SECOND * second_weight + (1 - _SECOND)
        size = pt.sqrt(second / second_weight) + _SMALL
        deviation = pt.sqrt(2 * self.temperature * step_size / size)
        new = (
            position
            - step_size * first / first_weight / size
            + pt.minimum(deviation, _LARGEST_NOISE) * noise
        )
        averages = (first, second, first_weight, second_weight)
        return Transition(new, dict(zip(self.auxiliaries, averages, strict=True)), {})


class Descent(NamedTuple):
    """Where a descent ended.

    Attributes
    ----------
    positions : ndarray
        Shape ``(chains, d)``.
    potentials : ndarray
        Mean over the last updates, in nats, ``(chains,)``.
    updates : int
        Of each chain.
    at_rest : bool
        Whether the potential had stopped falling.
    stuck : ndarray of bool
        Chains whose every update gave numbers that are not finite, ``(chains,)``.
    """

    positions: np.ndarray
    potentials: np.ndarray
    updates: int
    at_rest: bool
    stuck: np.ndarray


def descend(
    engine: Engine,
    starts: np.ndarray,
    others: Mapping[str, np.ndarray],
    seeds: np.ndarray,
    temperature: float = 1.0,
) -> Descent:
    """Descend until the potential stops falling, or for 10,000 updates.

    Where the mass of the law ∝ exp(−U/T) is, U lies about T d/2 nats above its minimum: the descent
    ends when four times 200 updates lower no chain's potential by more than a fiftieth of that.

    Parameters
    ----------
    engine : Engine
        One of `DescentDynamics`, in the model's own coordinates.
    starts : ndarray
        Shape ``(chains, d)``.
    others : mapping of str to ndarray
        Values of the model's other value variables, ``(chains, ...)`` each.
    seeds : ndarray
        Shape ``(chains, 2)``, uint32.
    temperature : float
        T of the law whose mass is looked for.

    Returns
    -------
    Descent
    """
    rates = np.full((1, _BLOCK), _LEARNING_RATE)
    state: dict[str, Any] = engine.init(starts, seeds)
    before, rests, blocks = np.full(len(starts), np.inf), 0, 0
    enough = temperature * starts.shape[1] / 100
    while rests < _RESTS and blocks < _BLOCKS:
        draws, state = engine.run(state, rates, _LEARNING_RATE, others, 1)
        blocks += 1
        values = draws.statistics["potential_energy"][:, 0].astype(float)
        falls = before - values > enough
        rests = 0 if falls.any() else rests + 1
        before = np.minimum(before, values)
    positions = draws.whole().positions[:, 0].astype(float)
    stuck = np.asarray(state["rejected_in_a_row"]) >= STUCK
    return Descent(positions, values, blocks * _BLOCK, rests == _RESTS, stuck)
