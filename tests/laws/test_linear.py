"""SGLD, SGHMC and frozen thermostats on a Gaussian: linear recursions, solved without chance."""

import jax
import numpy as np
import pytensor.tensor as pt
import pytest
from scipy.linalg import solve_discrete_lyapunov

from pymc_sgmcmc.dynamics import ATMCDynamics, SGHMCDynamics, SGLDDynamics, SGNHTDynamics
from pymc_sgmcmc.dynamics.base import kick
from pymc_sgmcmc.engines.jax.functions import jax_function
from tests.laws.simulate import (
    check,
    compiled,
    gaussian,
    sghmc_covariance,
    sgld_variance,
    simulate,
)


def coefficients(dynamics, h, h0=None, zeta=0.0):
    """Coefficients of position, momentum, gradient and noise in one update, by unit vectors."""
    position, momentum, gradient, noise = np.eye(4)
    given = {"momentum": momentum} | dynamics.settled(h0 or h, np.zeros(4))
    given |= {"thermostat": np.full(4, zeta)}
    auxiliaries = [given[k] for k in dynamics.auxiliaries]
    with jax.enable_x64(True):
        update = compiled(dynamics, 4, "float64")
        outputs = update(position, *auxiliaries, gradient, noise, h, h0 or h)
    state = ("position", *dynamics.auxiliaries)
    new = dict(zip(state, map(np.asarray, outputs[: len(state)]), strict=True))
    return np.array([new[k] for k in ("position", "momentum") if k in new])


def stationary_covariance(update, curvature, noise):
    """Covariance of (θ, p) that an update with these coefficients leaves as it is."""
    keep = [0, 1][: len(update)]
    recursion = update[:, keep] + curvature * np.outer(update[:, 2], np.eye(len(keep))[0])
    source = noise * np.outer(update[:, 2], update[:, 2]) + np.outer(update[:, 3], update[:, 3])
    return solve_discrete_lyapunov(recursion, source)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize(("curvature", "noise"), [(1.0, 0.0), (1.0, 400.0), (25.0, 100.0)])
@pytest.mark.parametrize("h", [0.01, 0.05, 0.2])
def test_sgld_covariance(h, curvature, noise, temperature):
    update = coefficients(SGLDDynamics(temperature=temperature), h)
    covariance = stationary_covariance(update, curvature, noise)
    expected = sgld_variance(h, curvature, noise, temperature)
    np.testing.assert_allclose(covariance, [[expected]], rtol=1e-9)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize(("curvature", "noise"), [(1.0, 0.0), (1.0, 400.0), (25.0, 100.0)])
@pytest.mark.parametrize(("h", "h0"), [(0.01, 0.01), (0.05, 0.05), (0.05, 0.2)])
def test_sghmc_covariance(h, h0, curvature, noise, temperature):
    """Also where a schedule makes h smaller than h₀: D stays, momentum decays by e^(−Dh)."""
    update = coefficients(SGHMCDynamics(momentum_decay=0.9, temperature=temperature), h, h0)
    covariance = stationary_covariance(update, curvature, noise)
    expected = sghmc_covariance(h, 0.9 ** (h / h0), curvature, noise, temperature)
    np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("xi", [-0.9, -1e-7, 0.0, 1e-7, 0.5, 3.0])
@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("heating", [0.0, 2.0])
def test_frozen_friction_at_small_steps(heating, temperature, xi):
    """Injected and gradient noise over friction: (αT + hV/2)/β, where the step vanishes."""
    h, D = 1e-5, 1.0
    options = {"momentum_decay": np.exp(-D * h), "temperature": temperature}
    # A thermostat that hardly moves.
    slow = options | {"thermostat_time": 1e30}
    alpha = max(D - xi, 0)
    cases = [(ATMCDynamics(**slow, speed_limit=None), alpha, alpha + xi)]
    cases += [(SGNHTDynamics(**slow), D, D + xi)]
    if xi == 0:
        cases += [(SGHMCDynamics(**options), D, D)]
    for dynamics, injected, friction in cases:
        update = coefficients(dynamics, h, zeta=xi / h)
        covariance = stationary_covariance(update, 1.0, 2 * heating / h)
        expected = (injected * temperature + heating) / friction
        np.testing.assert_allclose(covariance, expected * np.eye(2), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("friction", [-5.0, -1.1e-5, -1e-9, 0.0, 1e-9, 9e-6, 1.1e-5, 5.0])
def test_two_half_kicks_are_one(friction):
    """The momentum's step is exact, on both sides of its branch at βh → 0."""
    h, injected, temperature = 0.1, 2.0, 1.5
    p, gradient, noise, step = (pt.dscalar(k) for k in ("p", "gradient", "noise", "step"))
    new = kick(p, gradient, noise, step, pt.constant(friction), pt.constant(injected), temperature)
    with jax.enable_x64(True):
        step_of = jax_function([p, gradient, noise, step], [new])
        whole, half = (
            np.array([float(step_of(*unit, s)[0]) for unit in np.eye(3)]) for s in (h, h / 2)
        )
    decay, drift, diffusion = half
    twice = [decay**2, decay * drift + drift, diffusion * np.hypot(decay, 1)]
    np.testing.assert_allclose(whole, twice, rtol=1e-12)
    np.testing.assert_allclose(whole[0], np.exp(-friction * h), rtol=1e-14)
    if abs(friction) < 1e-4:
        np.testing.assert_allclose(whole[1:], [-h, np.sqrt(2 * injected * temperature * h)], 1e-5)


def test_temperature_zero_descends():
    """No noise at all: SGLD contracts by 1 − h²ω²/2 an update, SGHMC spirals into the mode."""
    h, curvature, n = 0.1, 4.0, 50

    def distance(dynamics, updates):  # from the mode, 1, when started at 0 and at rest
        averages = simulate(
            dynamics, lambda q, normal: curvature * (q - 1), (1, 3), h, 1, burn_in=updates - 1
        )
        return np.abs(1 - np.sqrt(averages["q2"][0]))

    sgld, sghmc = SGLDDynamics(temperature=0), SGHMCDynamics(temperature=0)
    np.testing.assert_allclose(distance(sgld, n), (1 - h**2 * curvature / 2) ** n, rtol=1e-10)
    update = coefficients(sghmc, h)
    np.testing.assert_array_equal(update[:, 3], 0)
    recursion = update[:, :2] + curvature * np.outer(update[:, 2], [1, 0])
    left = np.linalg.matrix_power(recursion, n) @ [-1, 0]
    np.testing.assert_allclose(distance(sghmc, n), abs(left[0]), rtol=1e-10)
    np.testing.assert_allclose(distance(sghmc, 1000), 0, atol=1e-10)


@pytest.mark.parametrize("temperature", [0.25, 4.0])
@pytest.mark.parametrize("sampler", [SGLDDynamics, SGHMCDynamics])
def test_temperature_simulated(sampler, temperature):
    """What the recursion's algebra says, the long run does."""
    h, curvature = 0.2, np.array([[1.0], [4.0], [1.0]])
    noise = np.array([[0.0], [0.0], [50.0]])
    averages = simulate(
        sampler(temperature=temperature), gaussian(curvature, noise), (3, 2000), h,
        draws=1000, burn_in=150, factors=np.ones(5),
    )  # fmt: skip
    update = coefficients(sampler(temperature=temperature), h)
    covariances = [
        stationary_covariance(update, *setting)
        for setting in zip(curvature[:, 0], noise[:, 0], strict=True)
    ]
    check(averages["q2"], [c[0, 0] for c in covariances])
    if sampler is SGHMCDynamics:
        check(averages["p2"], [c[1, 1] for c in covariances])


# -- errors that these tests must see ------------------------------------------------------------


class TwiceTheDrift(SGLDDynamics):
    """The ε of one convention as the ε/2 of another."""

    def transition(self, position, auxiliaries, gradient, *rest):
        return super().transition(position, auxiliaries, 2 * gradient, *rest)


class NoiseWithoutTemperature(SGHMCDynamics):
    def transition(self, *inputs):
        return SGHMCDynamics(momentum_decay=self.momentum_decay).transition(*inputs)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [(TwiceTheDrift, SGLDDynamics), (NoiseWithoutTemperature, SGHMCDynamics)],
)
def test_planted_errors_are_seen(wrong, right):
    h, noise = 0.05, 20.0
    variances = [
        stationary_covariance(coefficients(sampler(temperature=4.0), h), 1.0, noise)[0, 0]
        for sampler in (wrong, right)
    ]
    assert variances[0] < 0.6 * variances[1]
