"""The experiments behind the reference figures, and the figures.

The figures are from an independent NumPy simulation (h, V, D, μ as below; 400 to 4,000 chains),
good to about 1 %. Their thermostat has the mass μ, which here is thermostat_time = μ λ/h² with
λ = −log momentum_decay = D h.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytensor.tensor as pt

from pymc_sgmcmc.dynamics import (
    ATMCDynamics,
    Dynamics,
    SGHMCDynamics,
    SGLDDynamics,
    SGNHTDynamics,
    Transition,
)
from pymc_sgmcmc.dynamics.base import kick
from pymc_sgmcmc.schedules import CyclicalCosine, factors
from tests.laws.simulate import gaussian, simulate

# -- samplers in the letters of the tables -----------------------------------------------------


def sghmc(h, D, **options) -> SGHMCDynamics:
    return SGHMCDynamics(momentum_decay=np.exp(-D * h), **options)


def sgnht(h, D, mass=1.0, **options) -> SGNHTDynamics:
    return SGNHTDynamics(momentum_decay=np.exp(-D * h), thermostat_time=mass * D / h, **options)


def atmc(h, D, mass=1.0, c=None, dynamics=ATMCDynamics, **options) -> ATMCDynamics:
    return dynamics(
        momentum_decay=np.exp(-D * h), thermostat_time=mass * D / h, speed_limit=c, **options
    )


# -- 1: variance against gradient noise --------------------------------------------------------

NOISE = np.array([0.0, 20.0, 100.0, 400.0])
H = 0.05
NOISE_LEVELS: dict[str, tuple[Dynamics, float]] = {
    "SGLD ε=h²": (SGLDDynamics(), H),
    "SGLD ε=h": (SGLDDynamics(), H**0.5),
    "SGHMC D=1": (sghmc(H, 1), H),
    "SGNHT D=1": (sgnht(H, 1), H),
    "ATMC D=1": (atmc(H, 1), H),
    "ATMC D=2.1": (atmc(H, 2.1), H),
    "ATMC c=1": (atmc(H, 1, c=1.0), H),
}
NOISE_LEVELS_REFERENCE = {
    "SGLD ε=h²": [1.007, 1.018, 1.066, 1.249],
    "SGLD ε=h": [1.015, 1.269, 2.282, 6.08],
    "SGHMC D=1": [1.003, 1.504, 3.510, 11.0],
    "SGNHT D=1": [1.002, 1.001, 1.000, 1.016],
    "ATMC D=1": [1.003, 1.000, 1.000, 1.012],
    "ATMC D=2.1": [1.005, 1.003, 0.997, 1.012],
    "ATMC c=1": [1.007, 1.004, 1.011, 1.040],
}


@cache
def noise_levels(name: str) -> dict[str, np.ndarray]:
    """A 1-d standard Gaussian; groups are the levels of `NOISE`."""
    dynamics, h = NOISE_LEVELS[name]
    chains = 3000 if "ε=h²" in name else 1500  # 19 times as slow as the others
    return simulate(
        dynamics, gaussian(noise=NOISE[:, None]), (4, chains), h,
        draws=1600, burn_in=350, factors=np.ones(5),
    )  # fmt: skip


# -- 2: the invariant law of the thermostats, and errors planted in them -------------------------


@dataclass(frozen=True, kw_only=True)
class Planted(ATMCDynamics):
    """ATMC written once more, with places for an error."""

    heat: Callable = lambda p, v, w, T: v**2 - T * w**3
    """What drives the thermostat; w = 1/u."""
    friction_on_velocity: bool = True
    noise_temperature: bool = True

    def transition(self, position, auxiliaries, gradient, noise, step_size, base_step_size):
        T, h, h0 = self.temperature, step_size, base_step_size
        p, rate, zeta = (auxiliaries[k] for k in ("momentum", "friction", "thermostat"))
        D = rate / h0
        beta = pt.maximum(D, h * zeta)
        friction = beta * self.mobility(p) if self.friction_on_velocity else beta
        injected = beta - h * zeta
        p = kick(p, gradient, noise, h, friction, injected, T if self.noise_temperature else 1.0)
        w = self.mobility(p)
        position = position + h * w * p
        zeta = zeta + self._thermostat_rate(rate, h, h0) * self.heat(p, w * p, w, T)
        statistics = {"kinetic_temperature": w * p * p, "gradient_noise": zeta}
        new = {"momentum": p, "friction": rate, "thermostat": zeta}
        return Transition(position, new, statistics)


DISCRIMINATING: dict[str, dict] = {
    "v^2-u^-3 / v": {},
    "pv-1 / v": {"heat": lambda p, v, w, T: p * v - T},
    "pv-1 / p": {"heat": lambda p, v, w, T: p * v - T, "friction_on_velocity": False},
    "v^2-u^-3 / p": {"friction_on_velocity": False},
    "p^2-1 / p": {"heat": lambda p, v, w, T: p**2 - T, "friction_on_velocity": False},
    "v^2-1 / v": {"heat": lambda p, v, w, T: v**2 - T},
}
"""What drives the thermostat / what friction acts on. The first is right."""

DISCRIMINATING_REFERENCE = {
    "v^2-u^-3 / v": [1.003, 2.00, 2.01, 1.000, 2.70],
    "pv-1 / v": [1.014, 2.01, 4.62, 1.000, 2.61],
    "pv-1 / p": [1.052, 0.25, 2.42, 1.000, 2.39],
    "v^2-u^-3 / p": [0.933, 0.73, 1.28, 0.902, 2.05],
    "p^2-1 / p": [0.590, 2.01, 2.03, 0.564, 1.00],
    "v^2-1 / v": [42.8, -47, 67, 43, 3556],
    "SGNHT": [1.001, 1.99, 2.00, 1.000, 2.70],
}
"""θ variance, ξ mean, ξ variance, E[pv], E[p²]. SGNHT's too are with a speed limit c = 1."""

DISCRIMINATING_MASS = 0.5


def discriminating(dynamics: Dynamics, chains=2000, draws=1000, h=0.01) -> dict[str, np.ndarray]:
    """A 1-d standard Gaussian with hV/2 = 2."""
    return simulate(
        dynamics, gaussian(noise=4 / h), (1, chains), h,
        draws=draws, burn_in=300, factors=np.ones(10),
    )  # fmt: skip


def discriminating_atmc(planted: dict | None = None, T=1.0, h=0.01) -> ATMCDynamics:
    """c = m = 1, μ = 1/2, D = 1."""
    kind = {"dynamics": ATMCDynamics if planted is None else Planted} | (planted or {})
    return atmc(h, 1, DISCRIMINATING_MASS, c=1.0, temperature=T, **kind)


def discriminating_sgnht(c: float | None = 1.0, T=1.0, h=0.01) -> SGNHTDynamics:
    return sgnht(h, 1, DISCRIMINATING_MASS, speed_limit=c, temperature=T)


# -- 3: four parameters, each with noise of its own ----------------------------------------------

VARIANCES = np.array([1.0, 1.0, 4.0, 0.25])
FOUR_PARAMETERS: dict[str, Dynamics] = {
    "SGHMC": sghmc(H, 2),
    "SGNHT scalar": sgnht(H, 2, thermostat="scalar"),
    "SGNHT": sgnht(H, 2),
    "ATMC": atmc(H, 2),
    "ATMC c=2": atmc(H, 2, c=2.0),
}
FOUR_PARAMETERS_REFERENCE = {
    "SGHMC": [1.00, 1.25, 2.24, 6.02],
    "SGNHT scalar": [0.39, 0.48, 0.86, 2.29],
    "SGNHT": [1.00, 1.00, 0.99, 1.04],
    "ATMC": [1.00, 1.00, 0.99, 1.03],
    "ATMC c=2": [1.005, 1.005, 0.997, 1.04],
}


@cache
def four_parameters(name: str) -> np.ndarray:
    """Variance over its target, ``(4, chains)``; V = `NOISE`."""
    dynamics, curvature = FOUR_PARAMETERS[name], 1 / VARIANCES
    if getattr(dynamics, "thermostat", None) == "scalar":  # the dynamics must see 4 parameters
        gradient, shape = gaussian(curvature, NOISE), (1000, 4)
    else:
        gradient, shape = gaussian(curvature[:, None], NOISE[:, None]), (4, 1500)
    averages = simulate(dynamics, gradient, shape, H, 1600, burn_in=350, factors=np.ones(5))
    q2 = averages["q2"]
    return (q2.T if shape[1] == 4 else q2) / VARIANCES[:, None]


# -- 4: variance against the step size -----------------------------------------------------------

STEP_SIZES = np.array([0.05, 0.1, 0.2, 0.4])
_H0 = STEP_SIZES[-1]


def _published(c):  # the mass of whose thermostat does not change with the step size
    return ATMCDynamics(momentum_decay=np.exp(-2 * _H0), speed_limit=c, published=True)


BY_STEP_SIZE: dict[str, Dynamics] = {
    "SGLD": SGLDDynamics(),
    "SGHMC": sghmc(_H0, 2),
    "SGNHT": sgnht(_H0, 2),
    "ATMC": _published(c=None),
    "ATMC c=1": _published(c=1.0),
}
BY_STEP_SIZE_REFERENCE = {
    "SGNHT": [np.nan, 1.005, 1.010, 1.05],
    "ATMC": [np.nan, 1.006, 1.014, 1.05],
    "ATMC c=1": [np.nan, 1.02, 1.045, 1.086],
}


@cache
def by_step_size(name: str) -> dict[str, np.ndarray]:
    """A 1-d standard Gaussian, no noise, D = 2; groups are `STEP_SIZES`, parts of one h₀."""
    return simulate(
        BY_STEP_SIZE[name], gaussian(), (4, 3000), _H0,
        draws=1000, burn_in=300, factors=np.tile(STEP_SIZES / _H0, (4, 1)),
    )  # fmt: skip


# -- 5: schedules --------------------------------------------------------------------------------

SCHEDULE_NOISE = np.array([0.0, 1050.0, 4200.0])  # hV/2D = 0, .5, 2 at h₀
CYCLE = CyclicalCosine(400)
SCHEDULED: dict[str, Dynamics] = {
    "SGNHT": SGNHTDynamics(thermostat_time=100),
    "ATMC": ATMCDynamics(thermostat_time=100),
    "ATMC published": ATMCDynamics(published=True),
}


def _scheduled(name, draws, burn_in, factors):
    """A Gaussian of standard deviation 0.1; h₀ω = 0.1, momentum decay 0.9."""
    gradient = gaussian(100.0, SCHEDULE_NOISE[:, None])
    averages = simulate(SCHEDULED[name], gradient, (3, 2000), 0.01, draws, burn_in, factors)
    return averages | {"ratio": 100 * averages["q2"]}


@cache
def at_cycle_ends(name: str) -> dict[str, np.ndarray]:
    return _scheduled(name, 30, 20, factors(CYCLE, 0, CYCLE.cycle_length))


@cache
def at_quarter_step(name: str) -> dict[str, np.ndarray]:
    """All steps h₀/4, where the thermostat adapts 16 times as slowly."""
    return _scheduled(name, 500, 300, np.full(20, 0.25))
