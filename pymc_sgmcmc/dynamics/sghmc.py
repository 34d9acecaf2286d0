"""Stochastic-gradient Hamiltonian Monte Carlo."""

from collections.abc import Mapping

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.dynamics.base import (
    MomentumDynamics,
    Transition,
    heating,
    kick,
    leapfrog_bias,
)
from pymc_sgmcmc.settings import settings


@settings
class SGHMCDynamics(MomentumDynamics):
    r"""Underdamped Langevin dynamics with a constant friction D, split B-A.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    B solves the momentum's Ornstein-Uhlenbeck equation exactly (`kick`); A is θ ← θ + h p. With
    exact gradients the law left invariant as h → 0 is exp(−(U + p²/2)/T). Gradient noise of
    variance V heats it: T grows to T + hV/2D.

    Chen, Fox & Guestrin (2014), equation 9, with B̂ = 0.

    Parameters
    ----------
    {parameters}
    """

    def bias(
        self,
        step_size: float,
        curvature: float,
        noise: np.ndarray,
        correlated: float = 0.0,
        spread: float = 10.0,
    ) -> float:
        """Largest relative error of a variance; see `Dynamics.bias`."""
        heat = heating(step_size, np.max(noise) + correlated, self.decay_rate, self.temperature)
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
        friction = auxiliaries["friction"]
        D = friction / base_step_size
        p = kick(auxiliaries["momentum"], gradient, noise, step_size, D, D, self.temperature)  # B
        position = position + step_size * p  # A
        return Transition(
            position, {"momentum": p, "friction": friction}, {"kinetic_temperature": pt.sqr(p)}
        )
