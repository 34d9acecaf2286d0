"""Stochastic-gradient Hamiltonian Monte Carlo."""

from collections.abc import Mapping

import numpy as np
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.dynamics.base import (
    Transition,
    heating,
    kick,
    leapfrog_bias,
)
from pymc_sgmcmc.dynamics.relativistic import RelativisticDynamics
from pymc_sgmcmc.settings import settings


@settings
class SGHMCDynamics(RelativisticDynamics):
    r"""Underdamped Langevin dynamics with a constant friction D, split B-A.

    .. math::

        d\theta = v\,dt, \qquad v = \nabla K(p), \qquad
        dp = -\nabla\tilde U\,dt - D v\,dt + \sqrt{2 D T}\,dW

    with K(p) = p²/2, or relativistic where there is a speed limit (`RelativisticDynamics`). B
    solves the momentum's Ornstein-Uhlenbeck equation exactly at a fixed position and u = p/v
    (`kick`); A is θ ← θ + h v. With exact gradients the law left invariant as h → 0 is
    exp(−(U + K(p))/T). Gradient noise of variance V heats it: T grows to T + hV/2D.

    Chen, Fox & Guestrin (2014), equation 9, with B̂ = 0; with a speed limit, the SGRHMC of Lu et al.
    (2017), Relativistic Monte Carlo, AISTATS.

    Parameters
    ----------
    {parameters}
    """

    def friction_bias(self) -> float:
        """Relative error that friction leaves by itself; see `MomentumDynamics.friction_bias`.

        A fixed u during B makes relativistic momenta colder: by λ/2κ of T where κ = c²/T is large.
        At others it is fitted, to 0.002, to what `tests/laws/test_relativistic.py` solves for.
        """
        error, c, T = super().friction_bias(), self.speed_limit, self.temperature
        if c is None:
            return error
        return error - self.decay_rate * c**2 * T / (2 * c**4 + 5.4 * c**2 * T + 0.7 * T**2)

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
        p = auxiliaries["momentum"]
        p = kick(p, gradient, noise, step_size, D * self.mobility(p), D, self.temperature)  # B
        v = self.mobility(p) * p
        position = position + step_size * v  # A
        return Transition(
            position, {"momentum": p, "friction": friction}, {"kinetic_temperature": p * v}
        )
