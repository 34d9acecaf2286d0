"""Relativistic momenta, whose speed has a limit."""

import functools
import math

import numpy as np
import pytensor.tensor as pt
from numpy.polynomial import chebyshev
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import number, optional
from pymc_sgmcmc.dynamics.base import MomentumDynamics
from pymc_sgmcmc.settings import setting, settings

# No generator of the engines gives a standard normal beyond it.
_FARTHEST = 6.5
_DEGREE = 10


@settings
class RelativisticDynamics(MomentumDynamics):
    r"""Momentum dynamics with the kinetic energy of special relativity, one for each parameter.

    .. math::

        K(p) = c^2 \Bigl(\sqrt{1 + p^2/c^2} - 1\Bigr), \qquad
        v = \nabla K(p) = p/u, \quad u = \sqrt{1 + p^2/c^2}

    Momenta have the law exp(−K/T), whose tails are exponential, and speeds never exceed c. Position
    and momentum are independent under exp(−(U + K)/T), so that positions have the law exp(−U/T) at
    any c. Friction acts on v: noise √(2DT) dW is balanced by D ∇K, and by nothing else. Without a
    speed limit K(p) = p²/2, and v = p.

    Lu, Perrone, Hasenclever, Teh & Vollmer (2017), Relativistic Monte Carlo, AISTATS, with unit
    mass; Heek & Kalchbrenner (2019), section 3, have it for each parameter.

    Parameters
    ----------
    {parameters}
    """

    speed_limit: float | None = setting(
        None,
        "float, optional",
        """c: the largest displacement of a parameter in one update, in units of h, by relativistic
        momenta. None for Gaussian momenta, which have no limit.""",
        optional(functools.partial(number, low=0)),
    )

    def init(self, position: TensorVariable, noise: TensorVariable) -> dict[str, TensorVariable]:
        """Auxiliaries at the start of a chain, the momentum from exp(−K/T); see `Dynamics.init`."""
        fresh = super().init(position, noise)
        if self.speed_limit is None or self.temperature == 0:
            return fresh
        momentum = relativistic_momentum(noise, self.temperature, self.speed_limit)
        return fresh | {"momentum": momentum.astype(position.dtype)}

    def mobility(self, momentum: TensorVariable) -> TensorVariable:
        """Velocity that a unit of momentum gives, w = 1/u, ``(d,)``."""
        if self.speed_limit is None:
            return pt.ones_like(momentum)
        w = 1 / pt.sqrt(1 + pt.sqr(momentum / self.speed_limit))
        # It is never above 1. PyTensor would write polynomials in a quotient as quotients within
        # quotients, a division for each power, but takes a minimum as it is.
        return pt.minimum(w, 1)

    def uneven_heat(self, heat: float, spread: float) -> float:
        """Relative error of a variance where a thermostat absorbs noise that comes and goes.

        The noise of real batches varies with the position, and v² feels hot spells less than cold
        ones: E[pv] − T = 1.5 Var(T')/c² for a local temperature T'.

        Parameters
        ----------
        heat : float
            By how much the noise would raise the temperature; see `heating`.
        spread : float
            Variance of the noise's variance over positions, over its square.
        """
        if self.speed_limit is None:
            return 0.0
        return 1.5 * spread * (heat / self.speed_limit) ** 2


def relativistic_momentum(
    noise: TensorVariable, temperature: float, speed_limit: float
) -> TensorVariable:
    """Momentum from exp(−K/T), as a function of a standard normal number.

    The function that takes quantiles to quantiles, a polynomial in the absolute value: to 1e-5 √T
    where c ≥ √T, to 1e-3 √T where c ≥ 0.1 √T.

    Parameters
    ----------
    noise : TensorVariable
        Standard normal, shape ``(d,)``.
    temperature : float
        T > 0.
    speed_limit : float
        c.

    Returns
    -------
    TensorVariable
        Shape ``(d,)``.
    """
    size = pt.minimum(pt.abs(noise), _FARTHEST)
    value: TensorVariable = pt.zeros_like(noise)
    for coefficient in reversed(_coefficients(speed_limit**2 / temperature)):
        value = coefficient + value * size
    return temperature**0.5 * pt.sign(noise) * value


@functools.cache
def _coefficients(coldness: float) -> tuple[float, ...]:
    """Of the powers of a normal quantile, for that of p/√T; c²/T is the coldness."""
    series = chebyshev.Chebyshev.interpolate(
        lambda x: _quantiles(x, coldness), _DEGREE, (0, _FARTHEST)
    )
    return tuple(float(x) for x in series.convert(kind=np.polynomial.Polynomial).coef)


def _quantiles(normal: np.ndarray, coldness: float) -> np.ndarray:
    """Quantiles of p/√T that have the probability of those, at least 0, of a standard normal.

    In the rapidity y, p = c sinh y, by sums of exp(−K/T) dp from the tail, where digits are few.
    """
    rapidity = np.linspace(0, math.acosh(1 + 60 / coldness), 20_001)
    density = np.cosh(rapidity) * np.exp(-coldness * (np.cosh(rapidity) - 1))
    beyond = np.cumsum(((density[1:] + density[:-1]) / 2)[::-1])[::-1]
    wanted = np.log([math.erfc(x / math.sqrt(2)) for x in normal])
    found = np.interp(wanted, np.log(beyond / beyond[0])[::-1], rapidity[:-1][::-1])
    return math.sqrt(coldness) * np.sinh(found)
