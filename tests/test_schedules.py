"""Schedules of the step size, evaluated on the host."""

import math

import numpy as np
import optax
import pymc as pm
import pytest

from pymc_sgmcmc import SGLD, sample
from pymc_sgmcmc.schedules import (
    CyclicalCosine,
    PolynomialDecay,
    constant,
    factors,
    resolve,
)


def test_constant():
    assert (factors(constant, 7, 5) == 1).all()
    assert resolve(None, 10) is constant
    assert resolve("constant", 10) is constant


def test_polynomial():
    schedule = PolynomialDecay(offset=100, power=0.6)
    h = factors(schedule, 0, 1001)
    assert h[0] == 1
    assert (np.diff(h) < 0).all()
    epsilon = h**2  # ε ∝ (b + t)^(−γ)
    np.testing.assert_allclose(epsilon[100] / epsilon[0], 2**-0.6)
    np.testing.assert_allclose(epsilon[900] / epsilon[0], 10**-0.6)
    assert resolve("polynomial", 10) == PolynomialDecay()


def test_cyclical():
    schedule = resolve("cyclical", 50)
    assert schedule == CyclicalCosine(50)
    h = factors(schedule, 0, 150)
    np.testing.assert_allclose(h[:50], h[50:100], atol=1e-12)
    assert h[0] == h[50] == 1
    assert (np.diff(h[:50]) < 0).all()
    assert (h > 0).all()
    assert h[49] < 0.002  # the smallest step comes right before the draw
    # Several cycles in a draw are fine, for it still ends one.
    assert resolve(CyclicalCosine(25), 50) == CyclicalCosine(25)


def test_pieces_are_the_whole():
    for schedule in (constant, PolynomialDecay(), CyclicalCosine(30)):
        pieces = [factors(schedule, start, n) for start, n in ((0, 7), (7, 50), (57, 43))]
        np.testing.assert_array_equal(np.concatenate(pieces), factors(schedule, 0, 100))


@pytest.mark.parametrize(
    "schedule",
    [
        lambda t: 1.0 if t < 50 else 0.1,  # of one number only
        lambda t: math.exp(-t / 100),
        lambda t: 0.5,  # not of the number at all
        lambda t: np.float32(1) / (1 + t),
        optax.cosine_decay_schedule(1.0, 1000),
        optax.exponential_decay(1.0, 100, 0.5),
        optax.warmup_cosine_decay_schedule(0.1, 1.0, 20, 1000),
        optax.join_schedules([optax.constant_schedule(1.0), optax.constant_schedule(0.2)], [60]),
    ],
    ids=["branch", "math", "number", "float32", "cosine", "exponential", "warmup", "join"],
)
def test_any_function_of_the_update_number_serves(schedule):
    assert resolve(schedule, 100) is schedule
    h = factors(schedule, 40, 30)
    assert h.shape == (30,)
    assert h.dtype == np.float64
    np.testing.assert_allclose(h, [float(schedule(t)) for t in range(40, 70)], rtol=1e-6)
    np.testing.assert_allclose(factors(schedule, 40, 1), h[:1], rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "steps_per_draw", "message"),
    [
        ("linear", 10, '"constant", "polynomial" or "cyclical", or a function.*got .linear'),
        (0.1, 10, "name or a function of the update number, got 0.1"),
        (CyclicalCosine(30), 100, "every steps_per_draw=100.*steps_per_draw=30"),
        (CyclicalCosine(200), 100, "end of a cycle of 200. Use steps_per_draw=200"),
    ],
)
def test_wrong_schedules(schedule, steps_per_draw, message):
    with pytest.raises(ValueError, match=message):
        resolve(schedule, steps_per_draw)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolynomialDecay(offset=0), "offset must be greater than 0"),
        (lambda: PolynomialDecay(power=1.5), "power must lie between 0 and 1, got 1.5"),
        (lambda: CyclicalCosine(0), "cycle_length must be an integer of at least 1, got 0"),
        (lambda: CyclicalCosine(2.5), "integer of at least 1, got 2.5"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf])
def test_factors_that_are_no_step_sizes(bad):
    def schedule(t):
        return np.where(np.asarray(t) == 13, bad, 1.0)

    with pytest.raises(ValueError, match=f"gave {bad} at update 13.*finite and not negative"):
        factors(schedule, 10, 10)


@pytest.mark.parametrize(
    "schedule",
    ["polynomial", "cyclical", optax.cosine_decay_schedule(1.0, 10_000), lambda t: 1 / (1 + t)],
    ids=["polynomial", "cyclical", "optax", "function"],
)
def test_the_sampler_follows_the_schedule(schedule):
    with pm.Model() as model:
        pm.Normal("x")
        step = SGLD(step_size=0.1, steps_per_draw=20, schedule=schedule)
    idata = sample(30, tune=10, chains=2, step=step, model=model, random_seed=1, progressbar=False)
    h = 0.1 * factors(step.plan.schedule, 0, 800)
    # The statistic is the step size of a draw's last update, tuning included in the count.
    np.testing.assert_allclose(idata.sample_stats["step_size"], [h[219::20]] * 2)
    assert isinstance(idata.posterior.attrs["schedule"], str)
