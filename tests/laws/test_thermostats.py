"""SGNHT and ATMC: the invariant law, temperatures, schedules, and targets that aren't Gaussian."""

from dataclasses import dataclass, replace

import numpy as np
import pytensor.tensor as pt
import pytest

from pymc_sgmcmc.dynamics import ATMCDynamics, SGHMCDynamics, SGNHTDynamics, Transition
from tests.laws import experiments as ex
from tests.laws.simulate import check, expectation, gaussian, hyperbolic, noisy, simulate


def check_invariant_law(averages, dynamics, friction, mass, tolerance):
    """Assert the moments of exp(−(U + K(p))/T − μ(ξ − hV/2T)²/2T), U a standard Gaussian.

    `friction` is hV/2T. The tolerance, relative to each moment's scale, is for a finite step.
    """
    T, c = dynamics.temperature, getattr(dynamics, "speed_limit", None)
    friction = np.asarray(friction)
    mean_square = T if c is None else expectation(np.square, hyperbolic(c), T, width=100.0)
    about_mean = averages["xi2"] - 2 * friction[:, None] * averages["xi"] + friction[:, None] ** 2
    spread = (T / mass) ** 0.5
    check(averages["pv"] / T, 1.0, tolerance)
    check(averages["q2"] / T, 1.0, tolerance)
    check(averages["p2"] / mean_square, 1.0, tolerance)
    check(averages["xi"] / spread, friction / spread, tolerance * (1 + friction / spread))
    check(about_mean / spread**2, 1.0, 2 * tolerance, precision=0.03)


# -- the right equations, and wrong ones that look as good -----------------------------------------


@pytest.mark.parametrize("temperature", [1.0, pytest.param(2.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "sampler", ["ATMC", "SGNHT", pytest.param("SGNHT c=1", marks=pytest.mark.slow)]
)
def test_invariant_law(sampler, temperature):
    if sampler == "ATMC":
        dynamics = ex.discriminating_atmc(T=temperature)
    else:
        c = 1.0 if sampler == "SGNHT c=1" else None
        dynamics = ex.discriminating_sgnht(c, temperature)
    averages = ex.discriminating(dynamics, chains=4000)
    check_invariant_law(averages, dynamics, [2 / temperature], ex.DISCRIMINATING_MASS, 0.01)


def test_planted_copy_is_atmc():
    """The errors below are planted in the same equations, not in a copy that differs."""
    runs = [
        ex.discriminating(dynamics, chains=3, draws=5)
        for dynamics in (ex.discriminating_atmc(T=2.0), ex.discriminating_atmc({}, T=2.0))
    ]
    for name in ("q2", "p2", "xi"):
        np.testing.assert_allclose(runs[0][name], runs[1][name], rtol=1e-10)


WRONG_AT_ANY_TEMPERATURE = {k: v for k, v in ex.DISCRIMINATING.items() if v}
WRONG_AT_TWO = {
    "thermostat ignores T": {"heat": lambda p, v, w, T: v**2 - w**3},
    "noise ignores T": {"noise_temperature": False},
}


@pytest.mark.parametrize("error", [*WRONG_AT_ANY_TEMPERATURE, *WRONG_AT_TWO])
def test_planted_errors_are_seen(error):
    planted = (WRONG_AT_ANY_TEMPERATURE | WRONG_AT_TWO)[error]
    T = 2.0 if error in WRONG_AT_TWO else 1.0
    dynamics = ex.discriminating_atmc(planted, T)
    averages = ex.discriminating(dynamics, chains=2000, draws=800)
    with pytest.raises(AssertionError, match=r"Wrong|Diverged"):
        check_invariant_law(averages, dynamics, [2 / T], ex.DISCRIMINATING_MASS, 0.01)


# -- temperature ---------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.25, 4.0])
@pytest.mark.parametrize("sampler", ["SGNHT", "ATMC gaussian", "ATMC"])
@pytest.mark.slow
def test_temperature(sampler, temperature):
    h, noise = 0.05, np.array([0.0, 40.0])
    dynamics = {
        "SGNHT": ex.sgnht(h, 1, temperature=temperature),
        "ATMC gaussian": ex.atmc(h, 1, temperature=temperature),
        "ATMC": ex.atmc(h, 1, c=10 / 3, temperature=temperature),
    }[sampler]
    averages = simulate(
        dynamics, gaussian(noise=noise[:, None]), (2, 2000), h,
        draws=1500, burn_in=400, factors=np.ones(5),
    )  # fmt: skip
    check_invariant_law(averages, dynamics, h * noise / (2 * temperature), 1.0, 0.01)


@pytest.mark.parametrize("sampler", [SGNHTDynamics, ATMCDynamics])
def test_temperature_zero_is_refused(sampler):
    with pytest.raises(ValueError, match="temperature=0"):
        sampler(temperature=0)


# -- one thermostat for all parameters -------------------------------------------------------------


def test_scalar_thermostat_of_one_parameter():
    """With one parameter it is the parameter's own, bit for bit."""
    runs = [
        simulate(SGNHTDynamics(thermostat=kind), gaussian(noise=30.0), (4, 1), 0.1, 50, burn_in=0)
        for kind in ("scalar", "parameter")
    ]
    for name in runs[0]:
        np.testing.assert_array_equal(runs[0][name], runs[1][name])


@dataclass(frozen=True, kw_only=True)
class SummedHeat(SGNHTDynamics):
    """The kinetic energy of all parameters held at that of one: variance 1/d."""

    def transition(self, position, auxiliaries, gradient, noise, step_size, base_step_size):
        new = super().transition(position, auxiliaries, gradient, noise, step_size, base_step_size)
        scale = auxiliaries["friction"] / (self.thermostat_time * base_step_size**2)
        p = new.auxiliaries["momentum"]
        heat = scale * (step_size / base_step_size) * (pt.sum(p**2) - self.temperature)
        thermostat = {"thermostat": auxiliaries["thermostat"] + heat}
        return Transition(new.position, new.auxiliaries | thermostat, new.statistics)


@pytest.mark.parametrize("sampler", [SGNHTDynamics, SummedHeat])
def test_scalar_thermostat_of_many_parameters(sampler):
    """Equal noise everywhere: the variance is the target's, whatever the number of parameters."""
    dynamics = sampler(momentum_decay=0.95, thermostat_time=100, thermostat="scalar")
    averages = simulate(
        dynamics, gaussian(noise=40.0), (200, 5), 0.05, draws=1000, burn_in=300, factors=np.ones(5)
    )
    variance = averages["q2"].mean(1)
    if sampler is SGNHTDynamics:
        check(variance, 1.0, 0.005)
    else:
        with pytest.raises(AssertionError, match="Wrong"):
            check(variance, 1.0, 0.005)


# -- how soon thermostats adapt --------------------------------------------------------------------


class OwnClock(SGNHTDynamics):
    """A thermostat that adapts as fast at any friction."""

    def transition(self, position, auxiliaries, *rest):
        new = super().transition(position, auxiliaries, *rest)
        before, rate = auxiliaries["thermostat"], auxiliaries["friction"]
        moved = (new.auxiliaries["thermostat"] - before) * 0.1 / rate
        return new._replace(auxiliaries=new.auxiliaries | {"thermostat": before + moved})


def left_of_a_thermostat(sampler, decay, n=10_000, h=0.3, **options):
    """Mean over n updates of how far ζ still is from where it settles, beside the start.

    Of pairs of groups that start on both sides, which leaves out what is of second order.
    """
    dynamics = sampler(momentum_decay=decay, thermostat_time=n, **options)
    away = 0.1 * dynamics.decay_rate / h**2  # little beside the friction there is
    averages = simulate(
        dynamics, gaussian(), (2, 3000), h, draws=n // 20, burn_in=0, factors=np.ones(20),
        start={"thermostat": np.array([away, -away])},
    )  # fmt: skip
    above, below = averages["xi"] / h
    return (above - below) / (2 * away)


@pytest.mark.parametrize("decay", [0.9, pytest.param(0.99, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("sampler", "options"), [(SGNHTDynamics, {}), (ATMCDynamics, {"speed_limit": None})]
)
def test_thermostats_adapt_in_their_time_at_any_friction(sampler, options, decay):
    """As e^(−k/n) after k updates, to the 1/λ of them in which the energy follows."""
    left = left_of_a_thermostat(sampler, decay, **options)
    check(left, 1 - np.exp(-1), allowance=0.02)


def test_a_thermostat_with_a_clock_of_its_own_is_seen():
    with pytest.raises(AssertionError, match="Wrong"):
        check(left_of_a_thermostat(OwnClock, 0.99), 1 - np.exp(-1), allowance=0.02)


# -- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dynamics",
    [
        SGHMCDynamics(temperature=2.0),
        SGNHTDynamics(temperature=2.0, thermostat_time=100),
        ATMCDynamics(temperature=2.0, thermostat_time=100),
        ATMCDynamics(temperature=2.0, published=True),
    ],
    ids=["SGHMC", "SGNHT", "ATMC", "ATMC published"],
)
@pytest.mark.slow
def test_statistics(dynamics):
    """Means over parameters: of the kinetic temperature T, and of the gradient noise V."""
    h, noise = 0.05, 100.0
    averages = simulate(
        dynamics, gaussian(noise=noise), (100, 20), h, draws=600, burn_in=200, factors=np.ones(5)
    )
    temperature = averages["kinetic_temperature"][:, 0]
    if isinstance(dynamics, SGHMCDynamics):
        D = dynamics.decay_rate / h
        check(temperature, 2.0 + h * noise / (2 * D), 0.02)
    else:
        check(temperature, 2.0, 0.005)
        check(averages["gradient_noise"][:, 0], noise, 0.02 * noise)


# -- schedules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SGNHT", "ATMC"])
@pytest.mark.slow
def test_small_steps_of_a_schedule(name):
    """Steps of h₀/4: the law of θ is that of h₀, and Var ζ = λ/(n h₀³h)."""
    averages = ex.at_quarter_step(name)
    check(averages["ratio"], 1.0, allowance=0.005)
    h0, h, n = 0.01, 0.0025, ex.SCHEDULED[name].thermostat_time
    spread = averages["xi2"][0] / (-np.log(0.9) / (n * h0 * h))  # hζ is seen as h₀ζ
    check(spread, 1.0, allowance=0.05, precision=0.03)


@pytest.mark.parametrize("name", ["SGNHT", "ATMC"])
@pytest.mark.slow
def test_cycle_ends(name):
    check(ex.at_cycle_ends(name)["ratio"], 1.0, allowance=0.02)


@pytest.mark.slow
def test_published_thermostat_is_cold_at_cycle_ends():
    """ξ can't follow hV/2: too little noise where the draws are taken, unless V = 0."""
    variance = ex.at_cycle_ends("ATMC published")["ratio"]
    check(variance[0], 1.0, allowance=0.02)
    assert (variance[1:].mean(1) < 0.85).all()
    with pytest.raises(AssertionError, match="Wrong"):
        check(variance, 1.0, allowance=0.02)


def test_published_thermostat_at_fixed_step():
    """At h = h₀ both forms are one, with μ = 1."""
    h = ex.H
    adaptive = ex.atmc(h, 1, c=2.0)
    published = replace(adaptive, thermostat_time=None, published=True)
    runs = [
        simulate(dynamics, gaussian(noise=40.0), (1, 4), h, 20, burn_in=0)
        for dynamics in (adaptive, published)
    ]
    for name in runs[0]:
        np.testing.assert_allclose(runs[0][name], runs[1][name], rtol=1e-9, atol=1e-12)


# -- targets that aren't Gaussian ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SGNHT", "ATMC gaussian", "ATMC"])
@pytest.mark.slow
def test_quartic_and_double_well(name):
    """U = aθ⁴/4 + bθ²/2 without and with gradient noise, against quadrature."""
    h = 0.02
    dynamics = {
        "SGNHT": ex.sgnht(h, 1),
        "ATMC gaussian": ex.atmc(h, 1),
        "ATMC": ex.atmc(h, 1, c=10 / 3),
    }[name]
    a, b, noise = np.array(
        [[1.0, 0.0, 0.0], [1.0, 0.0, 40.0], [4.0, -4.0, 0.0], [4.0, -4.0, 40.0]]
    ).T[:, :, None]
    averages = simulate(
        dynamics, noisy(lambda x: a * x**3 + b * x, noise), (4, 1000), h,
        draws=1500, burn_in=400, factors=np.ones(10),
    )  # fmt: skip
    for moment, power in (("q2", 2), ("q4", 4)):
        expected = [
            expectation(
                lambda x, power=power: x**power,
                lambda x, a=a, b=b: a * x**4 / 4 + b * x**2 / 2,
                width=10.0,
            )
            for a, b in zip(a[:, 0], b[:, 0], strict=True)
        ]
        check(averages[moment], expected, allowance=0.004)
