"""Sweeps through the rows, on a posterior whose law under them is known at every step size."""

from functools import cache

import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import ATMC, JAX, SGHMC, SGLD, SGNHT
from pymc_sgmcmc.estimators.estimators import Estimator
from tests.laws.simulate import check, estimate, sghmc_variance, sgld_variance, swept_covariance

B, D, CHAINS = 10, 8, 64
NOISE = 20.0
# Updates between draws, which so see every turn of a sweep equally often.
STEPS = 7


@cache
def model(n_rows):
    """A standard normal posterior; noise of variance `NOISE`, the same wherever the chain is."""
    y = np.random.default_rng(0).standard_normal((n_rows, D))
    y = (y - y.mean(0)) / y.std(0) * np.sqrt(B * NOISE)
    with pm.Model() as model:
        x = pm.Flat("x", shape=D)
        pm.Normal("y", x, np.sqrt(n_rows), observed=y)
    return model


def variances(engine, h, updates=6000, burn_in=700):
    """Mean square of every chain's draws after a burn-in, ``(chains,)``."""
    rng = np.random.default_rng(1)
    start = rng.standard_normal((CHAINS, D))
    state = engine.init(start, rng.integers(2**32, size=(CHAINS, 2), dtype=np.uint32))
    left, blocks = updates // STEPS, []
    while left > 0:
        n = min(left, engine.capacity(CHAINS))
        draws, state = engine.run(state, np.full((n, STEPS), h), h, {})
        blocks.append(draws.positions)
        left -= n
    positions = np.concatenate(blocks, 1)[:, burn_in // STEPS :]
    return (positions**2).mean((1, 2))


def sampled(sampler, h, n_rows=200, engine="jax", batches="sweeps", **settings):
    settings |= {"batch_size": B, "batches": batches, "step_size": h, "dtype": "float64"}
    step = sampler(**settings, engine=engine, model=model(n_rows))
    return variances(step.compiled.engine(), h)


def test_sweeps_take_the_noise_back():
    """SGHMC at low friction: the heat of independent batches is gone, at the same step."""
    h, decay = 0.03, np.exp(-0.03)
    independent = sampled(SGHMC, h, batches="independent", momentum_decay=decay)
    sweeps = sampled(SGHMC, h, momentum_decay=decay)
    check(independent, sghmc_variance(h, decay, noise=NOISE))
    swept = swept_covariance("sghmc", h, 200, B, NOISE, decay)[0, 0]
    check(sweeps, swept)
    assert swept < 1.005
    assert estimate(independent)[0] > 1.25


@pytest.mark.parametrize("engine", ["jax", "numba"])
def test_rows_that_a_sweep_leaves_out_leave_some_noise(engine):
    """Of the heat of independent batches 2 (N mod B)/N."""
    h, n_rows, decay = 0.03, 207, np.exp(-0.03)
    swept, whole = (swept_covariance("sghmc", h, n, B, NOISE, decay)[0, 0] for n in (n_rows, 200))
    check(sampled(SGHMC, h, n_rows, engine, momentum_decay=decay), swept)
    heat = sghmc_variance(h, decay, noise=NOISE) - 1
    assert swept - whole == pytest.approx(2 * (n_rows % B) / n_rows * heat, rel=0.1)


def test_sweeps_of_sgld():
    h = 0.2
    swept = swept_covariance("sgld", h, 200, B, NOISE)[0, 0]
    check(sampled(SGLD, h), swept)
    assert swept - 1 < 0.2 * (sgld_variance(h, noise=NOISE) - 1)


def test_the_error_is_of_second_order_and_more():
    """At low friction and where a sweep is short; independent batches leave the first order."""
    h = np.array([0.01, 0.02])
    swept = [swept_covariance("sghmc", x, 200, B, NOISE, np.exp(-x))[0, 0] - 1 for x in h]
    independent = sghmc_variance(h, np.exp(-h), noise=NOISE) - 1
    assert np.log2(independent[1] / independent[0]) == pytest.approx(1, abs=0.01)
    assert np.log2(swept[1] / swept[0]) > 2
    assert swept[1] < 0.01 * independent[1]


def test_momenta_are_hot_while_positions_are_not():
    """By the squares that a diagnosis of sweeps goes by."""
    for h, parts in ((0.02, 20), (0.05, 20), (0.02, 40)):
        covariance = swept_covariance("sghmc", h, B * parts, B, parts, np.exp(-h))
        excess = covariance[1, 1] - 1
        assert excess == pytest.approx((h * parts) ** 2 / 6, rel=0.15)
        assert abs(covariance[0, 0] - 1 - excess**2) < 0.01


@pytest.mark.parametrize("sampler", [SGNHT, ATMC])
def test_thermostats_are_cold_in_sweeps(sampler):
    """Which is why a step refuses them."""
    h = 0.05
    settings = {"batch_size": B, "step_size": h, "thermostat_time": 100.0, "dtype": "float64"}
    plan = sampler(**settings, model=model(200)).compiled.plan
    engine = JAX().engine(Estimator(plan.potential), plan.dynamics, batches="sweeps")
    assert estimate(variances(engine, h, burn_in=3000))[0] < 0.93
