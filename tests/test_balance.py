"""Balanced batches: rare levels are drawn more often, and the law is the same."""

import arviz as az
import numpy as np
import pymc as pm
import pytensor
import pytest

from benchmarks.effects import collapsed
from pymc_sgmcmc import ATMC, WarmUp, nn, sample
from pymc_sgmcmc.model.balance import copies, weights
from pymc_sgmcmc.run.phases import Run

from .moments import assert_moments

N, LEVELS = 6_000, 12
engines = pytest.mark.parametrize("engine", ["jax", pytest.param("numba", marks=pytest.mark.slow)])


def unequal(n=N, levels=LEVELS, seed=0):
    """Level of each row; the rarest has a few rows, the commonest a third of all."""
    rng = np.random.default_rng(seed)
    shares = 0.6 ** np.arange(levels)
    return rng.permutation(np.concatenate([np.arange(levels), rng.choice(
        levels, n - levels, p=shares / shares.sum())]))  # fmt: skip


def effects(codes, levels=LEVELS, prior=1.0):
    """Normal effects with known noise: the model, the exact means and variances."""
    rng = np.random.default_rng(1)
    y = rng.normal(rng.normal(size=levels)[codes], 1.0)
    with pm.Model() as model:
        a = pm.Normal("a", 0, prior, shape=levels)
        pm.Normal("y", a[pm.Data("codes", codes)], 1.0, observed=pm.Data("y_data", y))
    rows = np.bincount(codes, minlength=levels)
    variance = 1 / (rows + prior**-2)
    return model, variance * np.bincount(codes, y, minlength=levels), variance


def plan_of(model, **settings):
    return ATMC(batch_size=60, model=model, dtype="float64", **settings).plan


def function(potential, length):
    position, _, rows = potential.inputs(length)
    outputs = potential.value_and_gradient(position, [], rows)
    return pytensor.function([position, *rows], outputs)


def test_the_table_gives_the_gradient_of_all_rows():
    model, *_ = effects(unequal())
    plan = plan_of(model)
    assert plan.settings.batches == "balanced"
    plain, balanced = plan.potential, plan.potential.in_balance()
    table = balanced.row_arrays()
    assert N < len(table[0]) <= 1.5 * N
    assert table[0].mean() == pytest.approx(1)
    at = np.random.default_rng(2).normal(size=LEVELS)
    value, gradient = function(balanced, len(table[0]))(at, *table)
    expected, expected_gradient = function(plain, N)(at, *plain.row_values())
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9)


def test_copies_are_inverse_to_the_rows_of_a_level():
    codes = unequal()
    model, *_ = effects(codes)
    found = copies(plan_of(model).potential.terms)
    rows = np.bincount(codes)[codes]
    rare = rows < N / LEVELS / 4
    ratio = found[rare] * rows[rare]
    assert ratio.max() < 1.5 * ratio.min()
    assert (found[rows > N / LEVELS] == 1).all()
    assert weights(found).sum() == pytest.approx(found.sum())


@pytest.mark.parametrize(
    "kind",
    ["equal", "no index", "classes", "many in a batch", "network", "no control variate", "a step"],
)
def test_where_nothing_is_rare_rows_are_independent(kind):
    codes = np.resize(np.arange(LEVELS), N) if kind == "equal" else unequal()
    model, *_ = effects(codes)
    size = 1_000 if kind == "many in a batch" else 60
    if kind == "no index":
        with pm.Model() as model:
            pm.Normal("y", pm.Normal("a"), 1.0, observed=np.zeros(N))
    if kind == "classes":
        with pm.Model() as model:
            x = pm.Data("x", np.linspace(-1, 1, N))
            logits = pm.Normal("a", shape=LEVELS) * x[:, None]
            pm.Categorical("y", logit_p=logits, observed=codes)
    if kind == "network":
        with pm.Model() as model:
            features = nn.mlp(np.random.default_rng(0).normal(size=(N, 2)), (4, 4))
            a = pm.Normal("a", 0, 1, shape=LEVELS)
            mu = nn.dense(features, 1, "out")[:, 0] + a[codes]
            pm.Normal("y", mu, 1.0, observed=np.zeros(N))
    of_kind = {
        "no control variate": {"warmup": WarmUp(control_variate=False)},
        "a step": {"step_size": 0.1},
    }
    step = ATMC(batch_size=size, model=model, **of_kind.get(kind, {}))
    assert step.plan.settings.batches == "independent"


def test_an_index_may_be_a_column_or_reached_by_another():
    codes = unequal()
    both = np.stack([codes, np.resize(np.arange(5), N)], 1)
    of_level = np.arange(LEVELS) // 2
    for which in ("column", "nested"):
        with pm.Model() as model:
            index = pm.Data("both", both)[:, 0] if which == "column" else of_level[codes]
            if which == "nested":
                index = pytensor.tensor.constant(of_level)[pm.Data("codes", codes)]
            a = pm.Normal("a", 0, 1, shape=LEVELS)
            pm.Normal("y", a[index], 1.0, observed=np.zeros(N))
        assert plan_of(model).settings.batches == "balanced"


def test_what_can_not_be_balanced_is_told():
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("a"), 1.0, observed=np.zeros(N))
    with pytest.raises(ValueError, match="There is none here"):
        plan_of(model, batches="balanced")
    with pytest.raises(ValueError, match=r"Give batch_size=\.\.\."):
        _ = ATMC(batches="balanced", model=model).plan


@engines
def test_noise_is_that_of_the_table(engine):
    codes = unequal()
    model, mean, variance = effects(codes)
    noise = {}
    for batches in ("independent", "balanced"):
        plan = ATMC(batch_size=60, model=model, dtype="float64", batches=batches, engine=engine)
        compiled = plan.compiled
        settings = compiled.plan.settings.engine.candidates[0]
        at = np.resize(mean, (4_000, LEVELS))
        slopes = compiled.engine(settings).evaluate(at, {}, np.array([1, 2], np.uint32))[1]
        noise[batches] = slopes.var(0) * variance
        with compiled.weighing_once(settings) as once:
            slopes = once.evaluate(at, {}, np.array([1, 2], np.uint32))[1]
        # N/B times the information, whatever the table: in units of the posterior, N/B.
        information = slopes.var(0) * 60 / N
        rows = np.bincount(codes)
        residuals = np.bincount(codes, np.square(model["y_data"].get_value() - mean[codes]))
        well_known = rows > 20
        np.testing.assert_allclose(information[well_known], residuals[well_known], rtol=0.35)
        # And after it, rows count as they should.
        after = compiled.engine(settings).evaluate(at, {}, np.array([1, 2], np.uint32))[1]
        np.testing.assert_array_equal(after.var(0) * variance, noise[batches])
    ratio = noise["balanced"] / noise["independent"]
    assert ratio.max() < 2  # a table is half as long again as there are rows
    assert ratio[-3:].max() < 0.15


@engines
def test_the_law_is_the_posterior(engine):
    model, mean, variance = effects(unequal())
    step = ATMC(batch_size=60, model=model, engine=engine)
    idata = sample(
        1_000, tune=300, chains=4, step=step, model=model, random_seed=3, progressbar=False
    )
    assert idata.posterior.attrs["batches"] == "balanced"
    assert_moments(idata.posterior["a"].values, mean, np.diag(variance))


@engines
@pytest.mark.slow
@pytest.mark.parametrize("size", [60, 300])
def test_the_law_without_a_control_variate(engine, size):
    model, mean, variance = effects(unequal())
    settings = {"warmup": WarmUp(control_variate=False), "batches": "balanced"}
    step = ATMC(batch_size=size, model=model, engine=engine, **settings)
    idata = sample(
        2_000, tune=500, chains=4, step=step, model=model, random_seed=3, progressbar=False
    )
    assert_moments(idata.posterior["a"].values, mean, np.diag(variance))


def test_new_data_are_balanced_anew():
    model, *_ = effects(unequal())
    step = ATMC(batch_size=60, model=model)
    assert step.plan.settings.batches == "balanced"
    for codes in (np.resize(np.arange(LEVELS), N), unequal(seed=5)):
        _, mean, variance = effects(codes)
        rng = np.random.default_rng(1)
        y = rng.normal(rng.normal(size=LEVELS)[codes], 1.0)
        model.set_data("codes", codes)
        model.set_data("y_data", y)
        idata = sample(
            500, tune=200, chains=4, step=step, model=model, random_seed=3, progressbar=False
        )
        away = (idata.posterior["a"].mean(("chain", "draw")).values - mean) / np.sqrt(variance)
        assert np.abs(away).max() < 0.25


def test_a_search_of_thousands_of_effects_finds_their_scale():
    rng = np.random.default_rng(0)
    codes = rng.choice(1_200, 40_000, p=rng.dirichlet(np.full(1_200, 0.5)))
    model, mean, variance = effects(codes, 1_200)
    found = {}
    for batches in ("independent", "balanced"):
        step = ATMC(batch_size=200, model=model, batches=batches)
        points, rngs = [model.initial_point(0)] * 2, [np.random.default_rng(i) for i in (1, 2)]
        found[batches] = Run(step.compiled, points, rngs, tune=16, draws=1).start().tuning
    for tuning in found.values():
        place = tuning.places[0]
        centre = place.coordinates.centre
        assert np.abs((centre - mean) / np.sqrt(variance)).max() < 0.1
    assert found["balanced"].places[0].noise.max() < found["independent"].places[0].noise.max() / 3


@pytest.mark.slow
def test_a_run_that_is_extended_is_one_run(tmp_path):
    model, *_ = effects(unequal())

    def run(draws, folder):
        step = ATMC(batch_size=60, model=model)
        given = {"tune": 20, "chains": 2, "random_seed": 3, "progressbar": False}
        return sample(draws, step=step, model=model, store=str(tmp_path / folder), **given)

    run(20, "parts")
    parts, whole = run(50, "parts"), run(50, "whole")
    np.testing.assert_array_equal(parts.posterior["a"], whole.posterior["a"])


@pytest.mark.slow
def test_thousands_of_unequal_effects_are_those_of_the_collapsed_model():
    rng = np.random.default_rng(0)
    groups = 1_200
    codes = rng.choice(groups, 60_000, p=rng.dirichlet(np.full(groups, 0.7)))
    y = rng.normal(rng.normal(1, 0.5, groups)[codes], 1.0)
    with pm.Model() as model:
        mu, sigma, tau = pm.Normal("mu", 0, 5), pm.HalfNormal("sigma", 2), pm.HalfNormal("tau", 2)
        a = pm.Normal("a", mu, tau, shape=groups)
        pm.Normal("y", a[codes], sigma, observed=y)
    exact = collapsed.moments(codes, y, groups)
    step = ATMC(batch_size=300, model=model)
    idata = sample(
        500, tune=300, chains=4, step=step, model=model, random_seed=1, progressbar=False
    )
    posterior = idata.posterior
    assert posterior.attrs["batches"] == "balanced"
    assert max(float(x.max()) for x in az.rhat(posterior).data_vars.values()) < 1.03
    away = (posterior["a"].mean(("chain", "draw")).values - exact.mean["a"]) / exact.sd["a"]
    assert np.sqrt(np.mean(away**2)) < 0.05
    ratio = posterior["a"].std(("chain", "draw")).values / exact.sd["a"]
    assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.04
    rare = np.bincount(codes, minlength=groups) < 10
    assert np.mean(ratio[rare]) == pytest.approx(1, abs=0.01)
    for name in ("mu", "sigma", "tau"):
        assert abs(float(posterior[name].mean()) - exact.mean[name]) < 0.1 * exact.sd[name]
