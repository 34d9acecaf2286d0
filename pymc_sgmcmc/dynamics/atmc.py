"""Adaptive Thermostat Monte Carlo."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import boolean, number, optional
from pymc_sgmcmc.dynamics.base import (
    Transition,
    heating,
    kick,
    leapfrog_bias,
    thermostat_bias,
)
from pymc_sgmcmc.dynamics.relativistic import RelativisticDynamics
from pymc_sgmcmc.dynamics.sgnht import refuse_cold
from pymc_sgmcmc.settings import setting, settings


@settings
class ATMCDynamics(RelativisticDynamics):
    r"""Nosé-Hoover Langevin dynamics that injects only the noise the gradient lacks, split B-A-Z.

    .. math::

        d\theta &= v\,dt, \qquad v = \nabla K(p) = p/u, \qquad u = \sqrt{1 + p^2/c^2} \\
        dp &= -\nabla\tilde U\,dt - \beta v\,dt + \sqrt{2 \alpha T}\,dW,
        \qquad \alpha = \max(D - \xi, 0), \quad \beta = \alpha + \xi = \max(D, \xi) \\
        d\xi &= \tfrac{1}{\mu} (v^2 - T u^{-3})\,dt

    with the symmetric hyperbolic kinetic energy K(p) = c²(√(1 + p²/c²) − 1), whose speed never
    exceeds c, or K(p) = p²/2 (u = 1). B solves the momentum's equation exactly at a fixed
    position and u (`kick`), A is θ ← θ + h v, and Z advances the thermostat. As h → 0 it leaves
    invariant

    .. math::

        \exp\Bigl(-\frac{U + K(p)}{T} - \frac{\mu (\xi - hV/2T)^2}{2 T}\Bigr)

    where V is the variance of the gradient noise of a parameter, whatever α is.

    Heek & Kalchbrenner (2019), section 3. What adapts here is ζ = ξ/h, ζ ← ζ + (λ/(n h₀²)) (h/h₀)
    (v² − T u⁻³) with λ = −log momentum_decay. ζ settles at V/2T whatever the step size, so that a
    schedule's small steps are not cold, and it does so in n (h₀/h)² max(1, ξ/D) updates, where the
    paper's settings need 10⁵. ``published=True`` is the paper's own ξ, with μ = 1. The term u⁻³
    and the friction on v rather than p follow from the invariant law; the paper's equation 10
    needs them, and the factor e^(−βh).

    At a fixed h the thermostat holds the kinetic temperature, so that the variance in a direction
    is off by the factor (βh/2) coth(βh/2) whatever its curvature: 1.001 at momentum_decay = 0.9
    with exact gradients, 1.08 where h²V/2T = 1. Freezing u during B adds an error of order h for
    a small c; at c = 10/3 it is below 1%.

    Parameters
    ----------
    {parameters}
    """

    speed_limit: float | None = setting(
        10 / 3,
        "float or None, default 10/3",
        """c: the largest displacement of a parameter in one update, in units of h. None for
        Gaussian momenta. The paper's values give 10/3.""",
        optional(partial(number, low=0)),
    )
    thermostat_time: float | None = setting(
        None,
        "float, optional",
        """n, updates in which the thermostat adapts: n = μ λ/h². 1,000 when None, unless
        `published`.""",
        optional(partial(number, low=0)),
    )
    published: bool = setting(
        False,
        "bool, default False",
        """The paper's own thermostat ξ, of mass μ = 1: at small step sizes it needs 10⁵ updates to
        adapt, and it does not follow a schedule of step sizes.""",
        boolean,
    )

    auxiliaries: ClassVar[tuple[str, ...]] = ("momentum", "friction", "thermostat")
    statistics: ClassVar[tuple[str, ...]] = ("kinetic_temperature", "gradient_noise")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_cold(self.temperature)
        if self.published and self.thermostat_time is not None:
            raise ValueError(
                f"published=True fixes the thermostat's mass at 1; thermostat_time="
                f"{self.thermostat_time} can't be kept. Give one of the two."
            )
        if not self.published and self.thermostat_time is None:
            object.__setattr__(self, "thermostat_time", 1000.0)

    def friction(self, step_size: float, noise: np.ndarray) -> np.ndarray:
        """Momentum lost to friction in one update; see `Dynamics.friction`."""
        adapted = step_size**2 * np.asarray(noise) / (2 * self.temperature)  # ξ h
        return np.maximum(self.decay_rate, adapted)

    def bias(
        self,
        step_size: float,
        curvature: float,
        noise: np.ndarray,
        correlated: float = 0.0,
        spread: float = 10.0,
    ) -> float:
        """Largest relative error of a variance; see `Dynamics.bias`."""
        h, decay = step_size, self.decay_rate
        left = heating(h, correlated, decay, self.temperature)
        friction = self.friction(h, noise)
        error = leapfrog_bias(h, curvature) + thermostat_bias(friction, decay, left)
        heat = heating(h, noise, float(np.max(friction)), self.temperature)
        return error + self.uneven_heat(heat, spread)

    def settled(self, step_size: float, noise: np.ndarray) -> dict[str, np.ndarray]:
        """Thermostats that have adapted; see `Dynamics.settled`."""
        zeta = np.asarray(noise, dtype=float) / (2 * self.temperature)
        thermostat = step_size * zeta if self.published else zeta
        return super().settled(step_size, noise) | {"thermostat": thermostat}

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
        p, friction, z = (auxiliaries[k] for k in ("momentum", "friction", "thermostat"))
        D = friction / h0
        xi = z if self.published else h * z
        beta = pt.maximum(D, xi)
        p = kick(p, gradient, noise, h, beta * self.mobility(p), beta - xi, T)  # B
        w = self.mobility(p)
        v = w * p
        position = position + h * v  # A
        z = z + self._thermostat_rate(friction, h, h0) * (v * v - T * w * w * w)  # Z
        zeta = z / h0 if self.published else z
        statistics = {
            "kinetic_temperature": p * v,
            "gradient_noise": 2 * T * zeta,
        }
        return Transition(
            position, {"momentum": p, "friction": friction, "thermostat": z}, statistics
        )

    def _thermostat_rate(
        self, friction: TensorVariable, h: TensorVariable, h0: TensorVariable
    ) -> TensorVariable:
        if self.published:
            return h
        return friction / (self.thermostat_time * h0**2) * (h / h0)
