"""Stochastic-gradient Nosé-Hoover thermostats."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import number, one_of
from pymc_sgmcmc.dynamics.base import (
    Transition,
    heating,
    kick,
    leapfrog_bias,
    thermostat_bias,
)
from pymc_sgmcmc.dynamics.relativistic import RelativisticDynamics
from pymc_sgmcmc.settings import setting, settings


@settings
class SGNHTDynamics(RelativisticDynamics):
    r"""Langevin dynamics with a friction that adapts to the gradient noise, split B-A-Z.

    .. math::

        d\theta = p\,dt, \quad dp = -\nabla\tilde U\,dt - (D + h\zeta) p\,dt + \sqrt{2 D T}\,dW,
        \quad d\zeta \propto p^2 - T

    B solves the momentum's Ornstein-Uhlenbeck equation exactly (`kick`), A is θ ← θ + h p, and Z
    is ζ ← ζ + (λ/(n h₀²)) (h/h₀) (p² − T), with λ = −log momentum_decay and n the thermostat
    time. As h → 0 it leaves invariant

    .. math::

        \exp\Bigl(-\frac{U + p^2/2}{T} - \frac{\mu (h\zeta - hV/2T)^2}{2 T}\Bigr),
        \qquad \mu = n h^2 / \lambda \text{ at } h = h_0,

    where V is the variance of the gradient noise of a parameter: 2Tζ is an estimate of V.

    With a speed limit (`RelativisticDynamics`) it is K(p) for p²/2, v for p where θ moves and where
    friction acts, and v² − T u⁻³ for p² − T, whose mean is 0 under exp(−K/T): what drives ζ is
    ∇K² − T∇²K for any K.

    Ding et al. (2014), equation 4, whose ξ is D + hζ. ζ does not scale with h, so that it stays
    right when a schedule changes h. Their thermostat is one for all parameters and sees the
    mean of p²; the default here is one for each, since gradient noise differs between parameters.

    Parameters
    ----------
    {parameters}
    """

    thermostat_time: float = setting(
        1000.0,
        "float, default 1000",
        "n, updates in which the thermostat adapts.",
        partial(number, low=0),
    )
    thermostat: Literal["parameter", "scalar"] = setting(
        "parameter",
        '{"parameter", "scalar"}',
        "One thermostat for each parameter, or one for all as in the paper.",
        partial(one_of, allowed=("parameter", "scalar")),
    )

    auxiliaries: ClassVar[tuple[str, ...]] = ("momentum", "friction", "thermostat")
    statistics: ClassVar[tuple[str, ...]] = ("kinetic_temperature", "gradient_noise")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_cold(self.temperature)

    def friction(self, step_size: float, noise: np.ndarray) -> np.ndarray:
        """Momentum lost to friction in one update; see `Dynamics.friction`."""
        adapted = step_size * self.settled(step_size, noise)["thermostat"]  # hζ
        return self.decay_rate + step_size * adapted

    def bias(
        self,
        step_size: float,
        curvature: float,
        noise: np.ndarray,
        correlated: float = 0.0,
        spread: float = 10.0,
    ) -> float:
        """Largest relative error of a variance; see `Dynamics.bias`."""
        h, decay, T = step_size, self.decay_rate, self.temperature
        left, friction = heating(h, correlated, decay, T), self.friction(h, noise)
        error = leapfrog_bias(h, curvature) + thermostat_bias(friction, decay, left)
        heat = heating(h, noise, float(np.max(friction)), T)
        error += self.uneven_heat(heat, spread)
        if self.thermostat == "scalar":  # noisier parameters stay hotter
            error += heating(h, noise - np.mean(noise), decay, T)
        return error

    def settled(self, step_size: float, noise: np.ndarray) -> dict[str, np.ndarray]:
        """Thermostats that have adapted; see `Dynamics.settled`."""
        noise = np.asarray(noise, dtype=float)
        friction = super().settled(step_size, noise)
        if self.thermostat == "scalar":
            noise = np.broadcast_to(noise.mean(-1, keepdims=True), noise.shape)
        return friction | {"thermostat": noise / (2 * self.temperature)}

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
        T, h, h0 = self.temperature, step_size, base_step_size
        friction, zeta = auxiliaries["friction"], auxiliaries["thermostat"]
        D = friction / h0
        p = auxiliaries["momentum"]
        p = kick(p, gradient, noise, h, (D + h * zeta) * self.mobility(p), D, T)  # B
        w = self.mobility(p)
        v = w * p
        position = position + h * v  # A
        heat = v * v - T * w * w * w
        if self.thermostat == "scalar":
            heat = pt.mean(heat)
        rate = friction / (self.thermostat_time * h0**2) * (h / h0)
        zeta = zeta + rate * heat  # Z
        statistics = {
            "kinetic_temperature": p * v,
            "gradient_noise": 2 * T * zeta,
        }
        return Transition(
            position, {"momentum": p, "friction": friction, "thermostat": zeta}, statistics
        )


def refuse_cold(temperature: float) -> None:
    """Raise a ValueError for a temperature at which no thermostat works."""
    if temperature == 0:
        raise ValueError(
            "temperature=0 leaves a thermostat nothing to regulate. Use SGLD or SGHMC, which "
            "descend the gradient at temperature 0."
        )
