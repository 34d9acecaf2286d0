"""Geometric Langevin algorithm of second order."""

from collections.abc import Mapping

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.dynamics.base import (
    MomentumDynamics,
    Transition,
    heating,
    leapfrog_bias,
    ornstein_uhlenbeck,
)
from pymc_sgmcmc.settings import settings


@settings
class GLA2Dynamics(MomentumDynamics):
    r"""Underdamped Langevin dynamics with a constant friction D, split B-O-B-A.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    B is p ← p − h g/2, O solves friction and noise exactly (`ornstein_uhlenbeck`), and A is
    θ ← θ + h p. Read from the second B on it is a leapfrog step B-A-B and then O, as the method is
    known; beginning with the first, both halves of a kick have the same gradient. As h → 0 it
    leaves exp(−U/T) invariant to second order: a Gaussian of curvature ω² gets the variance
    T/ω² / (1 − h²ω²/4) at any friction, where SGHMC's also grows with Dh. Gradient noise of
    variance V heats it by hV/2D, as it does SGHMC: at the little friction that a warm-up finds the
    two are as good as each other.

    Bou-Rabee & Owhadi (2010), Long-run accuracy of variational integrators in the stochastic
    context, SIAM Journal on Numerical Analysis 48, section 2.

    Parameters
    ----------
    {parameters}
    """

    def friction_bias(self) -> float:
        """None: at any friction; see `MomentumDynamics.friction_bias`."""
        return 0.0

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
        h, friction = step_size, auxiliaries["friction"]
        p = auxiliaries["momentum"] - h / 2 * gradient  # B
        p = ornstein_uhlenbeck(p, noise, h, friction / base_step_size, self.temperature)  # O
        p = p - h / 2 * gradient  # B
        position = position + h * p  # A
        return Transition(
            position, {"momentum": p, "friction": friction}, {"kinetic_temperature": pt.sqr(p)}
        )
