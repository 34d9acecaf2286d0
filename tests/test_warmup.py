"""What the warm-up finds, held against what is known of models that have closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from jax import lax
from scipy import special

from pymc_sgmcmc import ATMC, JAX, SGHMC, SGLD, SGNHT, WarmUp, sample
from pymc_sgmcmc.dynamics import ATMCDynamics, SGHMCDynamics, SGLDDynamics, SGNHTDynamics
from pymc_sgmcmc.engines.jax.functions import compile_fresh, compile_transition
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.warmup.descent import DescentDynamics, descend
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.mode import newton
from pymc_sgmcmc.warmup.noise import correlated_part, gradient_noise, spread_of
from pymc_sgmcmc.warmup.scale import laplace, refine
from pymc_sgmcmc.warmup.step_size import largest_curvatures, step_size, steps_per_draw
from tests.moments import regression_posterior, standard_error

DYNAMICS = [SGLDDynamics(), SGHMCDynamics(), SGNHTDynamics(), ATMCDynamics()]

every_dynamics = pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda x: type(x).__name__)


def landscape_of(model):
    potential = StochasticPotential(model).in_dtype("float64")
    return Landscape(potential, None, {}, np.random.default_rng(0), JAX())


def normal(mean, covariance):
    with pm.Model() as model:
        pm.MvNormal("x", np.asarray(mean), cov=np.asarray(covariance))
    return landscape_of(model)


# -- modes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def badly_scaled():
    """A landscape, and the mode of (b, log s)."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(100, 5))
    X[:, 4] = 0.99 * X[:, 3] + np.sqrt(1 - 0.99**2) * X[:, 4]
    X *= [1e-3, 1, 1e3, 1, 10]
    y = X @ [100, 1, 1e-3, 1, -0.1] + rng.normal(size=100)
    with pm.Model() as model:
        b = pm.Flat("b", shape=5)
        s = pm.HalfFlat("s")
        pm.Normal("y", pm.Data("X", X) @ b, s, observed=y)
    b = np.linalg.lstsq(X / np.abs(X).max(0), y)[0] / np.abs(X).max(0)
    # The density of log s has the factor s.
    log_s = np.log(np.sum((y - X @ b) ** 2) / (100 - 1)) / 2
    return landscape_of(model), np.append(b, log_s), regression_posterior(X, y)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [1, 30])
def test_newton_finds_the_mode_of_a_badly_scaled_regression(badly_scaled, seed, spread):
    landscape, mode, (_, covariance) = badly_scaled
    start = np.random.default_rng(seed).uniform(-spread, spread, 6)
    start[5] = np.clip(start[5], -5, 5)
    found = newton(landscape, start)
    assert found.converged
    away = found.position - mode
    assert away @ np.linalg.solve(covariance, away) < 0.01
    assert found.evaluations < 100


@pytest.fixture(scope="module")
def saddle():
    """U = 2 (x² − 1)² + y²/2 has a saddle at 0, and modes at (±1, 0)."""
    with pm.Model() as model:
        x, y = pm.Flat("x"), pm.Flat("y")
        pm.Potential("p", -2 * (x**2 - 1) ** 2 - y**2 / 2)
    return landscape_of(model)


@pytest.mark.parametrize("start", [[0.1, 0.0], [-0.1, 0.5], [0.01, 3.0], [-1e-6, 1e-6]])
def test_saddles_repel(saddle, start):
    found = newton(saddle, np.array(start))
    assert found.converged
    np.testing.assert_allclose(found.position, [np.sign(start[0]), 0], atol=0.05)


def test_a_saddle_is_no_mode(saddle):
    found = newton(saddle, np.zeros(2))
    assert not found.converged or np.linalg.eigvalsh(found.hessian)[0] > 0


@pytest.mark.parametrize(
    "log_p",
    [lambda x: 3 * x, lambda x: 0 * x, lambda x: pt.log1p(x**2), lambda x: 1e-3 * x**2],
    ids=["slope", "flat", "tails that grow", "upside down"],
)
def test_where_there_is_no_mode_none_is_found(log_p):
    with pm.Model() as model:
        pm.Potential("p", log_p(pm.Flat("x")))
    assert not newton(landscape_of(model), np.full(1, 0.7)).converged


# -- scale ---------------------------------------------------------------------------------------


def test_refine_gives_the_moments_of_a_normal_posterior_in_one_go():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4, 4)) * [[1], [100], [0.01], [1]]
    mean, covariance = np.array([1.0, -300.0, 0.02, 5.0]), factor @ factor.T
    landscape = normal(mean, covariance)
    start = newton(landscape, np.zeros(4))
    moved = dataclasses.replace(laplace(start), centre=start.position + factor @ np.full(4, 0.2))
    found, misfit = refine(moved, landscape, rng)
    assert misfit < 1e-6
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((found.centre - mean) / scale, 0, atol=1e-3)
    found_covariance = found.factor @ found.factor.T
    np.testing.assert_allclose(
        (found_covariance - covariance) / np.outer(scale, scale), 0, atol=1e-3
    )


def test_refine_finds_the_mass_of_a_skewed_posterior():
    # Logarithms of Gamma(2) variables: mode log 2 − ..., mean ψ(2), variance ψ'(2).
    with pm.Model() as model:
        pm.Gamma("x", 2, 1, shape=3)
    landscape = landscape_of(model)
    mode = newton(landscape, np.full(3, 3.0))
    np.testing.assert_allclose(mode.position, np.log(2), atol=0.05)
    found, misfit = refine(laplace(mode), landscape, np.random.default_rng(0))
    mean, sd = special.digamma(2), special.polygamma(1, 2) ** 0.5
    assert np.abs(found.centre - mean).max() < 0.1 * sd
    assert np.abs(mode.position - mean).min() > 0.3 * sd
    laplace_sd = np.sqrt(np.diag(laplace(mode).factor @ laplace(mode).factor.T))
    found_sd = np.sqrt(np.diag(found.factor @ found.factor.T))
    assert (np.abs(found_sd / sd - 1) < np.abs(laplace_sd / sd - 1)).all()
    assert 0.01 < misfit < 0.5


@pytest.mark.parametrize("d", [5, 49, 60])
@pytest.mark.parametrize("dense", [True, False])
def test_the_largest_curvature_is_that_of_the_hessian(d, dense):
    rng = np.random.default_rng(d)
    root = rng.normal(size=(d, 2 * d)) * np.geomspace(0.5, 2, d)[:, None]
    precision = root @ root.T
    with pm.Model() as model:
        pm.MvNormal("x", np.zeros(d), tau=precision)
    factor = rng.normal(size=(d, d)) if dense else rng.uniform(0.5, 2, d)
    coordinates = Coordinates(np.zeros(d), factor)
    found = largest_curvatures(landscape_of(model), coordinates, np.ones((3, d)), rng)
    matrix = factor if dense else np.diag(factor)
    expected = np.linalg.eigvalsh(matrix.T @ precision @ matrix)[-1]
    np.testing.assert_allclose(found, expected, rtol=1e-6 if d < 50 else 0.05)


def test_differences_of_slopes_are_products_with_the_hessian(badly_scaled):
    landscape, mode, (_, covariance) = badly_scaled
    sds = np.sqrt(np.diag(covariance))
    directions = sds * np.random.default_rng(0).normal(size=(4, 6))
    positions = mode + directions[::-1]
    found = landscape.differences(positions, directions)
    expected = landscape.products(positions, directions)
    np.testing.assert_allclose(found * sds, expected * sds, rtol=1e-6, atol=1e-6)


# -- noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [10, 100], ids=["with replacement", "without"])
@pytest.mark.parametrize("controlled", [False, True])
def test_gradient_noise_has_the_exact_covariance(batch_size, controlled):
    rng = np.random.default_rng(0)
    n = 200
    X = rng.normal([1, 0], 1, (n, 2))
    y = X @ [1, 2] + rng.normal(size=n)
    with pm.Model():
        b = pm.Normal("b", shape=2)
        pm.Normal("y", pm.Data("X", X) @ b, 1, observed=y)
        step = SGLD(batch_size=batch_size)
    factor, centre = np.array([[0.1, 0.0], [0.05, 0.2]]), np.array([1.0, 2.0])
    position = np.array([1.3, 1.5])
    noise = gradient_noise(
        step.compiled.engine(),
        Coordinates(centre, factor),
        np.tile(position, (6400, 1)),
        {},
        rng,
    )[controlled]
    rows = X * (X @ position - y)[:, None]  # gradients of single rows
    if controlled:
        rows = rows - X * (X @ centre - y)[:, None]
    covariance = np.cov(rows.T, bias=True) * n**2 / batch_size
    if batch_size >= n / 10:
        covariance *= (n - batch_size) / (n - 1)
    expected = factor.T @ covariance @ factor
    products = noise[:, :, None] * noise[:, None, :]
    error = products.std(0) / np.sqrt(len(noise))
    assert (np.abs(products.mean(0) - expected) < 5 * error).all()
    assert (error < 0.1 * np.abs(expected).max()).all()


@pytest.mark.parametrize("shared", [0.0, 0.3])
def test_noise_that_parameters_share_is_seen_in_fewer_samples_than_parameters(shared):
    n, d = 256, 1000
    own, common = (np.random.default_rng(0).normal(size=(n, k)) for k in (d, 1))
    found = correlated_part(own + shared * common, turned=False)
    if shared:
        # Of 128 squares; the direction itself is known to cos² = 0.99 and more.
        assert found == pytest.approx((d - 1) * shared**2, rel=5 * np.sqrt(2 / 128))
    else:
        largest = 1 + 5 * np.sqrt(2 / n)
        assert found < max(largest / 10, 5 * np.sqrt(2 / 128))


def test_noise_of_constant_variance_has_no_spread():
    n, d = 4000, 50
    noise = np.random.default_rng(0).normal(size=(n, d)) * np.geomspace(0.01, 100, d)
    # A mean of n/2 products of squares, of variance 8 each about 1.
    assert spread_of(noise) < 5 * np.sqrt(8 / (n / 2) / d)
    noise[:, ::2] = 0  # parameters of which a batch says nothing
    assert spread_of(noise) < 5 * np.sqrt(8 / (n / 2) / (d / 2))
    assert spread_of(np.zeros((n, d))) == 0


def test_noise_of_few_batches_has_no_spread():
    """Every tenth batch has a row of an effect, wherever the chain is."""
    n, d = 40_000, 50
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.1)
    # A square has the variance 3/0.1 − 1 about its mean.
    assert spread_of(noise) < 5 * np.sqrt((2 * 29 + 29**2) / (n / 2) / d)


@pytest.mark.parametrize(("high", "share"), [(9.0, 0.25), (4.0, 0.5), (25.0, 0.1)])
def test_the_spread_of_noise_is_that_of_its_variance(high, share):
    """V is `high` at some positions and 1 at others, for all parameters together."""
    rng = np.random.default_rng(0)
    variance = np.where(rng.random((40, 2500, 1)) < share, high, 1.0).repeat(2, axis=1)
    noise = rng.normal(size=(40, 5000, 8)) * variance**0.5
    mean = 1 + share * (high - 1)
    expected = share * (1 - share) * (high - 1) ** 2 / mean**2
    found = np.array([spread_of(sample) for sample in noise])
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - expected) < 5 * error
    assert error < 0.02 * expected


# -- step size and updates between draws ---------------------------------------------------------


@every_dynamics
@pytest.mark.parametrize("target", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("curvature", [1.0, 50.0])
@pytest.mark.parametrize("noise", [0.0, 0.1, 300.0])
def test_the_step_size_leaves_the_target_bias(dynamics, target, curvature, noise):
    V = np.full(3, noise)
    h = step_size(dynamics, target, curvature, V)
    assert dynamics.bias(h, curvature, V) == pytest.approx(target, rel=1e-6)
    assert dynamics.bias(0.9 * h, curvature, V) < target
    assert h <= step_size(dynamics, target, curvature, V / 2)


CHAINS = 20_000


def oscillators(dynamics, h, noise, updates):
    """q₀q and q² of every update of U = q²/2: means over many chains, and their errors."""
    transition = compile_transition(dynamics, CHAINS, "float64")
    fresh = compile_fresh(dynamics, CHAINS, "float64")
    settled = dynamics.settled(h, np.full(CHAINS, noise))

    def update(state, key):
        normals = jax.random.normal(key, (2, CHAINS))
        gradient = state[0] + noise**0.5 * normals[0]
        state = list(transition(*state, gradient, normals[1], h, h))[: len(state)]
        products = jnp.stack([start * state[0], state[0] ** 2])
        return state, (products.mean(1), products.std(1) / CHAINS**0.5)

    with jax.enable_x64(True):
        start, momentum = jax.random.normal(jax.random.key(0), (2, CHAINS))
        auxiliaries = dict(zip(dynamics.auxiliaries, fresh(start, momentum), strict=True))
        auxiliaries |= {k: jnp.asarray(x) for k, x in settled.items()}
        keys = jax.random.split(jax.random.key(1), updates)
        state = [start, *auxiliaries.values()]
        _, (means, errors) = jax.jit(lambda: lax.scan(update, state, keys))()
    return np.asarray(means).T, np.asarray(errors).T


@every_dynamics
@pytest.mark.parametrize(("h", "noise"), [(0.15, 0.0), (0.05, 0.0), (0.1, 2.0)])
def test_correlations_are_those_of_a_simulation(dynamics, h, noise):
    (covariances, _), (errors, _) = oscillators(dynamics, h, noise, 120)
    expected = dynamics.correlation(h, np.full(3, noise), np.arange(1, 121))
    # Variances are off by up to this, and thermostats move a little.
    allowance = dynamics.bias(h, 1.0, np.full(3, noise)) + 0.01
    assert (np.abs(covariances - expected) < 5 * errors + allowance).all()
    assert allowance < 0.2 * np.ptp(expected)


@pytest.mark.parametrize("dynamics", [SGNHTDynamics(), ATMCDynamics(speed_limit=None)], ids=str)
def test_thermostats_take_up_momentum(dynamics):
    # Gradient noise whose friction is three times that of momentum_decay.
    h, noise = 0.1, 60.0
    (covariances, _), (errors, _) = oscillators(dynamics, h, noise, 200)
    with_noise, without = (
        dynamics.correlation(h, np.full(3, V), np.arange(1, 201)) for V in (noise, 0.0)
    )
    assert (np.abs(covariances - with_noise) < 5 * errors + 0.03).all()
    assert np.abs(with_noise - without).max() > 0.3


@every_dynamics
@pytest.mark.parametrize("noise", [0.0, 5.0])
@pytest.mark.slow
def test_variances_are_within_the_target_that_the_step_size_is_for(dynamics, noise):
    target = 0.05
    h = step_size(dynamics, target, 1.0, np.full(2, noise))
    (_, squares), (_, errors) = oscillators(dynamics, h, noise, 1200)
    assert abs(squares[600:].mean() - 1) < target + 3 * errors.max()
    assert errors.max() < 0.012


@every_dynamics
def test_smaller_steps_need_more_updates_between_draws(dynamics):
    V = np.zeros(2)
    # With larger ones momentum lasts for several updates, and positions oscillate.
    updates = [steps_per_draw(dynamics, h, V) for h in (0.15, 0.13, 0.1, 0.05, 0.02, 1e-3)]
    assert updates == sorted(updates)
    assert 1 < updates[0] < updates[1] < 250
    assert updates[-1] == 250


@every_dynamics
def test_draws_are_about_independent_after_so_many_updates(dynamics):
    h, V = 0.3, np.full(2, 0.1)
    n = steps_per_draw(dynamics, h, V)
    (covariances, _), _ = oscillators(dynamics, h, 0.1, 5 * n)
    later = covariances[n - 1 :: n]
    assert 2 * later.sum() < 0.55
    assert 2 * np.square(later).sum() < 0.3
    assert np.abs(covariances[: n // 2]).max() > 0.5


# -- what a run does with it ----------------------------------------------------------------------


def two_modes():
    """y ~ N(θ², 1): one mode at each of ±1."""
    y = np.random.default_rng(0).normal(1, 1, 200)
    with pm.Model() as model:
        theta = pm.Normal("theta", 0, 10)
        pm.Normal("y", theta**2, 1, observed=y)
    # Moments of the half above 0.
    grid = np.linspace(0, 3, 20_001)
    log_p = -(200 * grid**4 - 2 * y.sum() * grid**2) / 2 - grid**2 / 200
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ grid
    return model, mean, (p @ (grid - mean) ** 2) ** 0.5


@pytest.mark.parametrize("sampler", [pytest.param(SGNHT, marks=pytest.mark.slow), ATMC])
@pytest.mark.slow
def test_chains_in_different_modes_keep_their_own_coordinates(sampler):
    model, mean, sd = two_modes()
    with model:
        step = sampler(batch_size=50)
        initvals = [{"theta": s * x} for s in (1, -1) for x in (0.3, 0.8, 2.0, 3.0)]
        idata = sample(
            800, tune=100, chains=8, step=step, initvals=initvals, random_seed=1, progressbar=False
        )
    attributes = idata["posterior"].attrs
    assert attributes["modes"] == 2
    np.testing.assert_array_equal(attributes["mode_of_chain"] == attributes["mode_of_chain"][0],
                                  [True] * 4 + [False] * 4)  # fmt: skip
    theta = idata["posterior"]["theta"].values
    for half, sign in ((theta[:4], 1), (theta[4:], -1)):
        z = (sign * half - mean) / sd
        assert (half * sign > 0).all()
        assert abs(z.mean()) < 0.1
        assert abs((z**2).mean() - 1) < 0.03 + 5 * standard_error(z**2)


def test_chains_in_one_mode_share_a_place():
    y = np.random.default_rng(0).normal(1, 1, 100)
    with pm.Model():
        pm.Normal("y", pm.Normal("theta", 0, 10), 1, observed=y)
        step = ATMC(batch_size=25)
    points = [{"theta": np.array(x)} for x in (-30.0, 0.0, 5.0)]
    rngs = [np.random.default_rng(i) for i in range(3)]
    tuning = Run(step.compiled, points, rngs, tune=10).start().tuning
    assert len(tuning.places) == 1
    np.testing.assert_array_equal(tuning.place_of_chain, [0, 0, 0])


@pytest.fixture(scope="module")
def logistic():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 2, shape=2)
        y = rng.random(300) < 1 / (1 + np.exp(-X @ [1, -1]))
        pm.Bernoulli("y", logit_p=pm.Data("X", X) @ b, observed=y.astype(int))
        step = ATMC(batch_size=30)
    return model, step


def test_tuning_is_frozen_afterwards(logistic):
    model, step = logistic
    idata = sample(
        20, tune=40, chains=2, step=step, model=model, random_seed=1, progressbar=False,
        discard_tuned_samples=False,
    )  # fmt: skip
    before = idata["warmup_sample_stats"]["step_size"].values
    after = idata["sample_stats"]["step_size"].values
    assert len(np.unique(after)) == 1
    assert len(np.unique(before[:, :20])) == 1
    np.testing.assert_array_equal(before[:, 20:], after[0, 0])
    assert before[0, 0] != after[0, 0]  # measured anew half-way
    assert idata["posterior"].attrs["step_size"] == pytest.approx(after[0, 0])


@pytest.mark.parametrize(
    ("arguments", "finds"),
    [
        ({}, True),
        ({"step_size": 0.01}, False),
        ({"step_size": 0.01, "warmup": WarmUp(preconditioner="dense")}, True),
        ({"step_size": 0.01, "warmup": WarmUp(preconditioner=[1.0, 1.0])}, True),
        ({"step_size": 0.01, "warmup": WarmUp(control_variate=True)}, True),
        ({"warmup": WarmUp(preconditioner=None)}, True),
    ],
    ids=str,
)
def test_what_is_to_be_found_needs_tuning_draws(logistic, arguments, finds):
    model, _ = logistic
    step = SGHMC(batch_size=30, model=model, **arguments)
    assert step.plan.warms_up == finds
    point, rng = model.initial_point(0), np.random.default_rng(0)
    if finds:
        with pytest.raises(
            ValueError, match=r"tune=0 leaves no draws.*tune=1000, or give step_size="
        ):
            Run(step.compiled, [point], [rng], tune=0).start()
    else:
        Run(step.compiled, [point], [rng], tune=0).start()


# -- too large for Hessians ------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [pytest.param(SGHMC, marks=pytest.mark.slow), ATMC])
@pytest.mark.slow
def test_twelve_hundred_normals_of_different_scales(sampler):
    sd = np.geomspace(0.1, 10, 1200)
    with pm.Model() as model:
        pm.Normal("x", np.linspace(-1, 1, 1200) * sd, sd)
        step = sampler(steps_per_draw=40)
    idata = sample(60, tune=20, chains=10, step=step, model=model, random_seed=1, progressbar=False)
    z = idata["posterior"]["x"].values / sd - np.linspace(-1, 1, 1200)
    z = z.reshape(10, 60, 12, 100)  # a hundred parameters of about the same scale
    means, variances = z.mean(3), (z**2).mean(3)
    # Of the whole group, and every direction is one of the stiffest here: five times the target.
    assert (np.abs(means.mean((0, 1))) < 5 * standard_error(means)).all()
    errors = np.abs(variances.mean((0, 1)) - 1)
    assert (errors < 0.1 + 5 * standard_error(variances)).all()
    assert standard_error(variances).max() < 0.02


# -- which of the two warm-ups -------------------------------------------------------------------


@pytest.mark.parametrize("network", [True, False])
def test_a_network_of_some_parameters_is_told_from_a_regression(network):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 109 if not network else 8))
    y = X[:, 0] + 0.5 * rng.normal(size=300)
    with pm.Model() as model:
        s = pm.HalfNormal("s")
        if network:
            weights = pm.Normal("weights", shape=(8, 12))
            mean = pt.tanh(pt.as_tensor(X) @ weights) @ pm.Normal("out", shape=12)
        else:
            mean = X @ pm.Normal("b", shape=109)
        pm.Normal("y", mean, s, observed=y)
        step = ATMC(batch_size=None)
    points, rngs = [model.initial_point(0)] * 2, [np.random.default_rng(i) for i in (1, 2)]
    chains = Run(step.compiled, points, rngs, tune=4, draws=1).start()
    assert chains.tuning.places[0].coordinates.dense != network
    # Newton's method reports modes; a descent does not.
    assert (chains.tuning.found.modes is None) == network


@pytest.mark.slow
def test_the_noise_that_a_small_network_shares_does_not_hold_it_up():
    """All weights feel a batch's noise together: one direction of 45 is as hot as ten of them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    with pm.Model() as model:
        first, second = pm.Normal("first", shape=(2, 5)), pm.Normal("second", shape=(5, 5))
        signal = pt.tanh(pt.tanh(pm.Data("X", X) @ first) @ second) @ pm.Normal("third", shape=5)
        pm.Bernoulli("y", logit_p=signal, observed=(X**2).sum(1) < 1)
        step = ATMC(batch_size=50)
    points, rngs = (
        [model.initial_point(i) for i in (0, 1)],
        [np.random.default_rng(i) for i in (1, 2)],
    )
    tuning = Run(step.compiled, points, rngs, tune=20, draws=1).start().tuning
    (place,) = tuning.places
    assert place.correlated > 3 * place.noise.max()
    dynamics = step.plan.dynamics.with_decay(tuning.momentum_decay)
    facts = place.noise, place.correlated, place.spread
    # Five times the target where the noise is greatest, as in the stiffest direction.
    assert 0.03 < dynamics.bias(tuning.step_size, 0.0, *facts) < 0.12


@pytest.mark.slow
def test_the_descent_of_a_cold_law_goes_on():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 40))
    updates = {}
    for temperature in (1.0, 1e-4):
        with pm.Model():
            weights = pm.Normal("weights", shape=(40, 30))
            mean = pt.tanh(pm.Data("X", X) @ weights) @ pm.Normal("out", shape=30)
            pm.Normal("y", mean, 0.3, observed=X[:, 0])
            step = ATMC(batch_size=50, temperature=temperature)
            run = sample(1, tune=2, chains=1, step=step, progressbar=False, random_seed=0)
        updates[temperature] = run.posterior.attrs["descent_updates"]
    assert updates[1e-4] >= 1.5 * updates[1.0]


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_the_descent_ends_in_the_mass_and_not_at_the_bottom(temperature):
    with pm.Model() as model:
        pm.Normal("x", shape=1500)
    step = ATMC(model=model, temperature=temperature)
    rng = np.random.default_rng(0)
    starts, seeds = rng.normal(size=(2, 1500)), rng.integers(2**32, size=(2, 2), dtype=np.uint32)
    dynamics = DescentDynamics(temperature=temperature)
    engine = step.compiled.engine(dynamics=dynamics)
    found = descend(engine, starts, {}, seeds, temperature)
    assert found.at_rest
    assert not found.stuck.any()
    # About the variance of N(0, T): its preconditioner changes as it goes, and the chains settle
    # later. Without noise it ends at 0.
    assert np.square(found.positions).mean() == pytest.approx(temperature, rel=0.4)


def test_how_noise_varies_over_positions_is_measured():
    # Relative to the mode a slope's noise is proportional to z: its variance is c z², and Var(z²)
    # is 2 E(z²)², of which 1,024 pairs tell to 1.4 (moments of eighth order are uncertain). Without
    # a control variate it hardly varies.
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    with pm.Model() as model:
        b = pm.Normal("b", 0, 10)
        pm.Normal("y", pm.Data("x", x) * b, 1, observed=x + rng.normal(size=4000))
    found = {}
    for controlled in (True, False):
        warmup = WarmUp(control_variate=controlled)
        step = ATMC(batch_size=50, warmup=warmup, engine="jax", model=model)
        points, rngs = [model.initial_point(0)] * 2, list(np.random.default_rng(1).spawn(2))
        run = Run(step.compiled, points, rngs, tune=16, draws=1).start()
        (place,) = run.tuning.places
        found[controlled] = place.spread
    assert found[True] == pytest.approx(2, abs=3 * 1.4)
    assert found[False] < 0.5
