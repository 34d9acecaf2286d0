"""Geometric Langevin algorithm of first order."""

from collections.abc import Mapping
from typing import ClassVar

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
class GLA1Dynamics(MomentumDynamics):
    r"""Underdamped Langevin dynamics with a constant friction D, split B-A-O.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    B is p ← p − h g, A is θ ← θ + h p (together the symplectic Euler step), and O solves friction
    and noise exactly (`ornstein_uhlenbeck`). As h → 0 it leaves exp(−(U + p²/2)/T) invariant, to
    first order only: with a = e^(−Dh), a Gaussian of curvature ω² gets the variance

    .. math::

        \frac{T}{\omega^2}\, \frac{1 + a}{2}\, \Bigl(1 - \frac{h^2\omega^2}{2 (1 + a)}\Bigr)^{-1}

    so that a friction which takes λ of the momentum in one update makes positions colder by λ/2.
    Gradient noise of variance V heats them by hV/2D.

    It is here as the simplest of the splittings, and that of TATi: `GLA2` costs the same and is of
    second order. The friction that the warm-up finds keeps λ/2 within the target, and so mixes
    more slowly where much friction is wanted.

    Bou-Rabee & Owhadi (2010), Long-run accuracy of variational integrators in the stochastic
    context, SIAM Journal on Numerical Analysis 48, section 2.

    Parameters
    ----------
    {parameters}
    """

    usual_decay: ClassVar[float] = 0.99

    def friction_bias(self) -> float:
        """Of positions, (a − 1)/2; see `MomentumDynamics.friction_bias`."""
        return (self.decay - 1) / 2

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
        return leapfrog_bias(step_size, curvature) * 2 / (1 + self.decay) + heat

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
        p = auxiliaries["momentum"] - h * gradient  # B
        position = position + h * p  # A
        p = ornstein_uhlenbeck(p, noise, h, friction / base_step_size, self.temperature)  # O
        return Transition(
            position, {"momentum": p, "friction": friction}, {"kinetic_temperature": pt.sqr(p)}
        )
