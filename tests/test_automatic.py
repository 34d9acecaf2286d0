"""Samplers without any tuning argument leave the exact law of models that have one."""

import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import ATMC, SGHMC, SGLD, WarmUp, sample
from pymc_sgmcmc.run import chains
from tests.moments import assert_moments, regression_posterior
from tests.samplers import mostly_slow

N, NOISE = 500, 0.7

pytestmark = pytest.mark.filterwarnings("ignore:Found chain dimension to be longer than draw")


def draw(model, step, draws=500, **kwargs):
    settings = {"tune": 100, "chains": 20, "random_seed": 1, "progressbar": False}
    return sample(draws, step=step, model=model, **(settings | kwargs))


@pytest.fixture(scope="module")
def conjugate():
    """A linear regression with correlated columns; its posterior is normal."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3)) + 1.5 * rng.normal(size=(N, 1))
    y = X @ [1.0, -1.0, 0.5] + NOISE * rng.normal(size=N)
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Normal("y", pm.Data("X", X) @ b, NOISE, observed=y)
    covariance = np.linalg.inv(X.T @ X / NOISE**2 + np.eye(3))
    return model, covariance @ X.T @ y / NOISE**2, covariance


@pytest.fixture(scope="module")
def badly_scaled():
    """Columns from 1e-3 to 1e3, two of them with a correlation of 0.99, and unknown noise."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 4))
    X[:, 3] = X[:, 2] + 0.14 * rng.normal(size=300)
    X *= [1e-3, 1, 1e3, 30]
    y = X @ [1e3, 1, 1e-3, 0.01] + NOISE * rng.normal(size=300)
    with pm.Model() as model:
        b = pm.Flat("b", shape=4)
        s = pm.HalfFlat("s")
        pm.Normal("y", pm.Data("X", X) @ b, s, observed=y)
    return model, *regression_posterior(X, y)


def with_log_s(idata):
    posterior = idata["posterior"]
    return np.concatenate([posterior["b"].values, np.log(posterior["s"].values)[..., None]], -1)


# -- the law -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", mostly_slow(SGHMC, ATMC))
def test_a_normal_without_data(sampler):
    mean = np.array([3.0, -200.0, 0.01])
    factor = np.diag([1, 100, 0.01]) @ np.array([[1, 0, 0], [0.9, 0.4, 0], [-0.7, 0.5, 0.3]])
    with pm.Model() as model:
        pm.MvNormal("x", mean, chol=factor)
        step = sampler()
    idata = draw(model, step)
    assert_moments(idata["posterior"]["x"].values, mean, factor @ factor.T)


@pytest.mark.parametrize("sampler", mostly_slow(ATMC))
def test_a_conjugate_regression_on_minibatches(conjugate, sampler):
    model, mean, covariance = conjugate
    idata = draw(model, sampler(batch_size=50, model=model))
    assert_moments(idata["posterior"]["b"].values, mean, covariance)


@pytest.mark.parametrize("sampler", [SGHMC, ATMC])
@pytest.mark.slow
def test_a_badly_scaled_regression(badly_scaled, sampler):
    model, mean, covariance = badly_scaled
    idata = draw(model, sampler(batch_size=60, model=model))
    assert_moments(with_log_s(idata), mean, covariance)


# -- the arguments beside it ---------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [SGLD, ATMC])
@pytest.mark.slow
def test_another_temperature(conjugate, sampler):
    model, mean, covariance = conjugate
    idata = draw(model, sampler(batch_size=50, temperature=4.0, model=model))
    assert_moments(idata["posterior"]["b"].values, mean, 4 * covariance)


def test_single_precision(conjugate):
    model, mean, covariance = conjugate
    idata = draw(model, ATMC(batch_size=50, dtype="float32", model=model))
    assert idata["posterior"].attrs["dtype"] == "float32"
    assert_moments(idata["posterior"]["b"].values, mean, covariance)


@pytest.mark.parametrize(
    ("chosen", "control_variate"),
    [
        ("dense", False),
        ("diagonal", False),
        ("covariance", "auto"),
        ("variances", "auto"),
        (None, "auto"),
        (None, True),
    ],
    ids=str,
)
@pytest.mark.slow
def test_preconditioners_and_control_variates(conjugate, chosen, control_variate):
    model, mean, covariance = conjugate
    chosen = {"covariance": covariance, "variances": np.diag(covariance)}.get(chosen, chosen)
    # With all of the noise and without the axes of the posterior, steps are small.
    slow = (str(chosen), control_variate) in {("diagonal", False), ("None", "auto")}
    step = ATMC(
        batch_size=50,
        warmup=WarmUp(preconditioner=chosen, control_variate=control_variate),
        steps_per_draw=500 if slow else "auto",
        model=model,
    )
    idata = draw(model, step, 300)
    if control_variate != "auto":
        assert idata["posterior"].attrs["control_variate"] == control_variate
    assert_moments(idata["posterior"]["b"].values, mean, covariance)


# -- beside other steps, and by both doors ---------------------------------------------------------


@pytest.mark.parametrize("other", [pm.Metropolis, pm.NUTS])
@pytest.mark.weekly
@pytest.mark.slow
def test_another_variable_that_starts_far_away(badly_scaled, other):
    # Where s starts, b may vary seventy times as much as where it ends.
    model, mean, covariance = badly_scaled
    with model:
        steps = [ATMC(["b"], batch_size=60), other([model["s"]])]
        idata = pm.sample(
            500, tune=300, chains=4, cores=1, step=steps, initvals={"s": 50.0}, random_seed=1,
            progressbar=False, compute_convergence_checks=False,
        )  # fmt: skip
    assert_moments(with_log_s(idata)[..., :4], mean[:4], covariance[:4, :4])


@pytest.fixture(scope="module")
def noisy(conjugate):
    """A model and a step whose noise the warm-up measures where the chains have come to."""
    model, _, _ = conjugate
    return model, ATMC(batch_size=50, model=model)


SHORT = {"tune": 20, "chains": 2, "random_seed": 3, "progressbar": False}


def test_both_doors_give_the_same_draws(noisy, monkeypatch):
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 1e9)
    model, step = noisy
    with model:
        theirs = pm.sample(30, step=step, compute_convergence_checks=False, **SHORT)
    ours = sample(30, step=step, model=model, **SHORT)
    np.testing.assert_array_equal(ours["posterior"]["b"], theirs["posterior"]["b"])
    for name in ("step_size", "steps_per_draw", "updates", "control_variate", "expected_bias"):
        assert ours["posterior"].attrs[name] == theirs["posterior"].attrs[name]


def test_the_same_seed_gives_the_same_draws_at_any_pace(noisy, monkeypatch):
    # A slow device, or one that compiles first, makes shorter blocks of draws.
    model, step = noisy
    runs = []
    for seconds in (1e-9, 1e9):
        monkeypatch.setattr(chains, "_BLOCK_SECONDS", seconds)
        runs.append(sample(30, step=step, model=model, **SHORT)["posterior"])
    assert runs[0].attrs["step_size"] == runs[1].attrs["step_size"]
    np.testing.assert_array_equal(runs[0]["b"], runs[1]["b"])
