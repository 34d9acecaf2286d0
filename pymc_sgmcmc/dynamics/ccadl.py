"""Covariance-controlled adaptive Langevin dynamics."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import number
from pymc_sgmcmc.dynamics.base import (
    MomentumDynamics,
    Transition,
    heating,
    kick,
    leapfrog_bias,
    thermostat_bias,
)
from pymc_sgmcmc.dynamics.sgnht import refuse_cold
from pymc_sgmcmc.settings import setting, settings


@settings
class CCAdLDynamics(MomentumDynamics):
    r"""Langevin dynamics with the friction that the measured gradient noise needs, split B-A-Z.

    .. math::

        d\theta &= p\,dt, \qquad d\zeta \propto \tfrac{1}{d} p^\top p - T \\
        dp &= -\nabla\tilde U\,dt - \bigl(D + \tfrac{h}{2T}\Sigma + h\zeta\bigr) p\,dt
        + \sqrt{2 D T}\,dW

    Σ is the variance of the gradient's noise, one for each parameter, and ζ one thermostat for all
    of them, which settles at 0 where Σ is right and takes up what Σ is not. B solves the momentum's
    Ornstein-Uhlenbeck equation exactly for any Σ (`kick`), A is θ ← θ + h p, and Z is
    ζ ← ζ + (λ/(n h₀²)) (h/h₀) (pᵀp/d − T) with λ = −log momentum_decay and n the thermostat time.
    As h → 0 it leaves invariant

    .. math::

        \exp\Bigl(-\frac{U + p^\top p/2}{T} - \frac{\mu d\,(h\zeta)^2}{2 T}\Bigr),
        \qquad \mu = n h^2 / \lambda \text{ at } h = h_0 .

    Shang, Zhu, Leimkuhler & Storkey (2015), Covariance-controlled adaptive Langevin thermostat for
    large-scale Bayesian sampling, NeurIPS, section 4. Its friction is solved exactly, not by an
    Euler step that is unstable where h²Σ is large, which is the point of mCCAdL, arXiv:2512.24515.
    Both take the covariance from the gradients of single rows. Here it is half the squared
    difference of gradients that follow each other, of independent batches, averaged over n updates:
    Σ ← Σ + (½(g − g')² − Σ)/n. The way between the two adds h²ω⁴T/2 to it, which ζ takes back on
    average. And it is a diagonal: the warm-up turns its coordinates so that their noise is not
    correlated.

    `SGNHT` has a thermostat for each parameter, that needs no Σ and is as exact; it gains nothing
    over that where noise is the same wherever the chain is. Its one thermostat fluctuates less.

    Parameters
    ----------
    {parameters}
    """

    thermostat_time: float = setting(
        1000.0,
        "float, default 1000",
        "n, updates in which the thermostat adapts, and over which noise is measured.",
        partial(number, low=1),
    )

    auxiliaries: ClassVar[tuple[str, ...]] = (
        *("momentum", "friction", "thermostat"),
        *("covariance", "last_gradient"),
    )
    statistics: ClassVar[tuple[str, ...]] = ("kinetic_temperature", "gradient_noise")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_cold(self.temperature)

    def init(self, position: TensorVariable, noise: TensorVariable) -> dict[str, TensorVariable]:
        """Auxiliaries at the start of a chain; see `Dynamics.init`. No noise was seen yet."""
        zero = pt.zeros_like(position)
        fresh = {"momentum": self.temperature**0.5 * noise, "friction": zero + self.decay_rate}
        return {k: fresh.get(k, zero).astype(position.dtype) for k in self.auxiliaries}

    def friction(self, step_size: float, noise: np.ndarray) -> np.ndarray:
        """Momentum lost to friction in one update; see `Dynamics.friction`."""
        return self.decay_rate + step_size**2 * np.asarray(noise) / (2 * self.temperature)

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
        error = leapfrog_bias(h, curvature)
        # What the way between two gradients adds to Σ is friction of stiff directions alone.
        uneven = 4 * error**2 / decay
        return error + uneven + thermostat_bias(self.friction(h, noise), decay, left)

    def settled(self, step_size: float, noise: np.ndarray) -> dict[str, np.ndarray]:
        """Σ as the warm-up measured it, and a thermostat at rest; see `Dynamics.settled`."""
        noise = np.asarray(noise, dtype=float)
        rest = np.zeros_like(noise)
        measured = {"thermostat": rest, "covariance": noise, "last_gradient": rest}
        return super().settled(step_size, noise) | measured

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
        T, h, h0, n = self.temperature, step_size, base_step_size, self.thermostat_time
        friction, zeta, sigma, last = (auxiliaries[k] for k in self.auxiliaries[1:])
        D = friction / h0
        needed = D + h * (sigma / (2 * T) + zeta)
        p = kick(auxiliaries["momentum"], gradient, noise, h, needed, D, T)  # B
        position = position + h * p  # A
        zeta = zeta + friction / (n * h0**2) * (h / h0) * (pt.mean(pt.sqr(p)) - T)  # Z
        seen = pt.neq(last, 0)  # there is no gradient before the first
        sigma = sigma + seen * (pt.sqr(gradient - last) / 2 - sigma) / n
        state = {"momentum": p, "friction": friction, "thermostat": zeta}
        state |= {"covariance": sigma, "last_gradient": gradient}
        statistics = {"kinetic_temperature": pt.sqr(p), "gradient_noise": sigma + 2 * T * zeta}
        return Transition(position, state, statistics)
