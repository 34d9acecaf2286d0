"""Langevin dynamics, split as BAOAB."""

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
class BAOABDynamics(MomentumDynamics):
    r"""Underdamped Langevin dynamics with a constant friction D, split B-A-O-A.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    B is p ← p − h g, A is θ ← θ + h p/2, and O solves friction and noise exactly
    (`ornstein_uhlenbeck`). Beginning with B, where the method's name has half of it at either end,
    takes one gradient an update and passes through the same positions. As h → 0 they have the law
    exp(−U/T), to second order in h; on a normal posterior at every h below 2/ω, and to fourth order
    where friction makes a momentum anew in every update. Gradient noise of variance V heats it by
    hV/2D, as it does SGHMC: where the noise limits the step, it gains nothing.

    Leimkuhler & Matthews (2013), Rational construction of stochastic numerical methods for
    molecular sampling, Applied Mathematics Research eXpress 2013(1), section 4.

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
        """Largest relative error of a variance; see `Dynamics.bias`.

        Nothing but the heat where the posterior is normal. Of targets that are not (a quartic, two
        wells, a logistic, a t) little friction left at most a seventh of the leapfrog's error, of
        which a quarter is admitted; its square keeps a distance from where steps are unstable.
        """
        error = leapfrog_bias(step_size, curvature)
        heat = heating(step_size, np.max(noise) + correlated, self.decay_rate, self.temperature)
        return error / 4 + error**2 + heat

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
        position = position + h / 2 * p  # A
        p = ornstein_uhlenbeck(p, noise, h, friction / base_step_size, self.temperature)  # O
        position = position + h / 2 * p  # A
        return Transition(
            position, {"momentum": p, "friction": friction}, {"kinetic_temperature": pt.sqr(p)}
        )
