"""Stochastic-gradient Hamiltonian Monte Carlo."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.dynamics.base import (
    Dynamics,
    Transition,
    check_number,
    friction_coefficient,
    heating,
    kick,
    leapfrog_bias,
)


@dataclass(frozen=True, kw_only=True)
class SGHMCDynamics(Dynamics):
    r"""Underdamped Langevin dynamics with a constant friction D, split B-A.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    B solves the momentum's Ornstein-Uhlenbeck equation exactly (`kick`); A is θ ← θ + h p. With
    exact gradients the law left invariant as h → 0 is exp(−(U + p²/2)/T). Gradient noise of
    variance V heats it: T grows to T + hV/2D.

    Chen, Fox & Guestrin (2014), equation 9, with B̂ = 0.

    Parameters
    ----------
    temperature : float
        T of the sampled law, proportional to exp(-U/T); 1 is the posterior.
    momentum_decay : float
        e^(−D h₀), what friction leaves of the momentum in one update; between 0 and 1.
    """

    momentum_decay: float = 0.9

    auxiliaries: ClassVar[tuple[str, ...]] = ("momentum",)
    statistics: ClassVar[tuple[str, ...]] = ("kinetic_temperature",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("momentum_decay", self.momentum_decay, 0, 1)

    def friction(self, step_size: float, noise: np.ndarray) -> np.ndarray:
        """Momentum lost to friction in one update; see `Dynamics.friction`."""
        return np.full(np.shape(noise), -math.log(self.momentum_decay))

    def bias(
        self, step_size: float, curvature: float, noise: np.ndarray, correlated: float = 0.0
    ) -> float:
        """Largest relative error of a variance; see `Dynamics.bias`."""
        heat = heating(
            step_size, np.max(noise) + correlated, -math.log(self.momentum_decay), self.temperature
        )
        return leapfrog_bias(step_size, curvature) + heat

    def transition(
        self,
        position: TensorVariable,
        auxiliaries: Mapping[str, TensorVariable],
        gradient: TensorVariable,
        noise: TensorVariable,
        step_size: TensorVariable,
        base_step_size: TensorVariable,
    ) -> Transition:
        """One update; see `Dynamics.transition`."""
        D = friction_coefficient(self.momentum_decay, base_step_size)
        p = kick(auxiliaries["momentum"], gradient, noise, step_size, D, D, self.temperature)  # B
        position = position + step_size * p  # A
        return Transition(position, {"momentum": p}, {"kinetic_temperature": pt.sqr(p)})
