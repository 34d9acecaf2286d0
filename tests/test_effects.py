"""Regressions with more effects than a Hessian is for, beside the exact answer."""

import arviz as az
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from benchmarks.effects import collapsed
from pymc_sgmcmc import ATMC, WarmUp, sample
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.warmup.effects import EffectsWarmUp
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.large import LargeWarmUp

GROUPS = 1100


def intercepts(rows):
    """Centred varying intercepts, `rows` in each group: the model, and the rows."""
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(GROUPS), rows)
    y = rng.normal(rng.normal(1.0, 0.5, GROUPS)[g], 1.0)
    with pm.Model() as model:
        mu, sigma, tau = pm.Normal("mu", 0, 5), pm.HalfNormal("sigma", 2), pm.HalfNormal("tau", 2)
        effect = pm.Normal("a", mu, tau, shape=GROUPS)
        pm.Normal("y", effect[g], sigma, observed=y)
    return model, (g, y)


def searched(model, **settings):
    """Run of two chains that has searched, and drawn nothing."""
    step = ATMC(batch_size=200, model=model, **settings)
    points, rngs = [model.initial_point(0)] * 2, [np.random.default_rng(i) for i in (1, 2)]
    return Run(step.compiled, points, rngs, tune=16, draws=1).start()


@pytest.mark.slow
def test_varying_intercepts_are_those_of_the_collapsed_model():
    model, rows = intercepts(rows=20)
    exact = collapsed.moments(*rows, GROUPS)
    step = ATMC(batch_size=200, model=model)
    idata = sample(
        400, tune=400, chains=4, step=step, model=model, random_seed=1, progressbar=False
    )
    posterior, attributes = idata.posterior, idata.posterior.attrs
    assert attributes["mode_polished"]
    assert attributes["control_variate"]
    assert 0 < attributes["softest_curvature"] < 1
    away = (posterior["a"].mean(("chain", "draw")).values - exact.mean["a"]) / exact.sd["a"]
    assert np.sqrt(np.mean(away**2)) < 0.15
    for name in ("mu", "sigma", "tau"):
        assert float(az.rhat(posterior)[name]) < 1.05
        assert abs(float(posterior[name].mean()) - exact.mean[name]) < 0.3 * exact.sd[name]
    spread = posterior["a"].std(("chain", "draw")).values / exact.sd["a"]
    assert np.mean(spread**2) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_effects_with_rows_have_a_mode_for_a_control_variate():
    run = searched(intercepts(rows=20)[0])
    assert isinstance(run._warm_up, EffectsWarmUp)
    assert run.tuning.found.mode_polished
    assert run.tuning.control_variate
    (place,) = run.tuning.places
    # Effects are in units of their standard deviation, about (20/σ² + 1/τ²)^(-1/2).
    assert np.median(place.coordinates.factor) == pytest.approx(24**-0.5, rel=0.1)
    # All have as many rows, and so about the same noise.
    assert place.noise.max() < 5 * np.median(place.noise)


@pytest.mark.slow
def test_effects_whose_scale_shrinks_without_end_have_none():
    run = searched(intercepts(rows=2)[0])
    assert isinstance(run._warm_up, EffectsWarmUp)
    assert not run.tuning.found.mode_polished
    assert not run.tuning.control_variate
    assert run._warm_up.rounds == LargeWarmUp.rounds


@pytest.mark.slow
def test_a_network_of_plain_pymc_is_no_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 10))
    with pm.Model() as model:
        first, second = pm.Normal("first", shape=(10, 40)), pm.Normal("second", shape=(40, 20))
        signal = pt.tanh(pt.tanh(pm.Data("X", X) @ first) @ second) @ pm.Normal("third", shape=20)
        pm.Normal("y", signal, 1.0, observed=X[:, 0] * X[:, 1])
    run = searched(model)
    assert type(run._warm_up) is LargeWarmUp
    assert run.tuning.found.mode_polished is None
    assert run.tuning.steps_per_draw == 80


@pytest.mark.slow
def test_directions_that_effects_share_have_axes_of_their_own():
    """Of a store and an item in every row: a constant can move from one to the other."""
    rng = np.random.default_rng(3)
    stores, items, n = 400, 700, 20_000
    s, i = rng.integers(stores, size=n), rng.integers(items, size=n)
    with pm.Model() as model:
        mean = pm.Normal("mean", 0, 2)
        store = pm.Normal("store", 0, 0.5, shape=stores)
        item = pm.Normal("item", 0, 0.5, shape=items)
        pm.Normal("y", mean + store[s] + item[i], 1, observed=rng.normal(size=n))
    run = searched(model)
    (place,) = run.tuning.places
    axes = place.coordinates.axes
    assert axes is not None
    # The mean is known to 1/√20,000 if the effects are, and to about .5/√400 as it is.
    assert run.tuning.found.softest_curvature > 0.1
    z = place.coordinates.axes.out(np.random.default_rng(0).normal(size=(4000, 1101)))
    theta = z * place.coordinates.factor
    assert theta[:, 0].std() == pytest.approx(0.5 / np.sqrt(400) * np.sqrt(1 + 400 / 700), rel=0.25)


def test_curvature_is_that_of_all_pieces_of_the_rows(monkeypatch):
    """In files that are sorted, the first piece has nothing of the last groups."""
    rng = np.random.default_rng(4)
    monkeypatch.setattr("pymc_sgmcmc.warmup.landscape._PIECE", 64)
    g = np.repeat(np.arange(5), 30)
    with pm.Model():
        effect = pm.Normal("effect", 0, 1, shape=5)
        pm.Normal("y", effect[g], 1, observed=rng.normal(size=150))
        step = ATMC(batch_size=10)
    engine = step.plan.settings.engine.candidates[0]
    landscape = Landscape(step.plan.potential, None, {}, rng, engine)
    turned = landscape.products(np.zeros((1, 5)), np.ones((1, 5)))
    np.testing.assert_allclose(turned, 31.0, rtol=1e-6)
    np.testing.assert_allclose(
        landscape.hessian(np.zeros((1, 5)))[2], 31.0 * np.eye(5)[None], rtol=1e-6
    )


@pytest.mark.parametrize(
    "preconditioner",
    ["auto", *(pytest.param(x, marks=pytest.mark.slow) for x in ("diagonal", "array"))],
)
@pytest.mark.slow
def test_coordinates_are_those_that_were_asked_for(preconditioner):
    """Slopes on years since 2000 are nearly intercepts: effects of a group need a block."""
    rng = np.random.default_rng(5)
    groups, n = 600, 6000
    g, year = rng.integers(groups, size=n), rng.uniform(1, 3, n)
    variances = rng.uniform(0.5, 2, 2 * groups)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1, shape=groups), pm.Normal("b", 0, 1, shape=groups)
        pm.Normal("y", a[g] + b[g] * year, 1, observed=rng.normal(size=n))
    wanted = variances if preconditioner == "array" else preconditioner
    run = searched(model, warmup=WarmUp(preconditioner=wanted))
    (place,) = run.tuning.places
    coordinates = place.coordinates
    if preconditioner == "auto":
        matrix = coordinates.blocks.matrices[0]
        assert matrix.shape == (groups, 2, 2)
        # Curvature of a group with its n rows is that of its own least squares.
        rows = np.flatnonzero(g == 0)
        design = np.column_stack([np.ones(len(rows)), year[rows]])
        hessian = np.eye(2) + design.T @ design
        factor = coordinates.factor[[0, groups]][:, None] * matrix[0]
        whitened = np.linalg.eigvalsh(factor.T @ hessian @ factor)
        assert 0.3 < whitened[0] < whitened[1] < 3
        assert run.tuning.found.softest_curvature > 0.1
    else:
        assert coordinates.axes is None
        assert coordinates.blocks is None
    if preconditioner == "array":
        np.testing.assert_allclose(coordinates.factor, np.sqrt(variances))
