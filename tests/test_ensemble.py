"""Walkers, `ensemble=`: the law that halves leave, both doors, runs that go on, what is refused."""

import numpy as np
import pymc as pm
import pytest
from scipy.stats import ortho_group

from pymc_sgmcmc import ATMC, BAOAB, SGHMC, CCAdL, WarmUp, sample
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.run.walkers import Walkers
from pymc_sgmcmc.warmup.base import _lent
from tests.laws.simulate import check

QUIET = {"random_seed": 1, "progressbar": False}


def narrow_and_wide(d, condition):
    """A normal distribution whose variances go from 1 to 1/condition, and how to make it standard.

    BAOAB leaves it exactly as it is at any step: what is off is the walkers' doing.
    """
    turn = ortho_group(d, seed=0).rvs() if d > 1 else np.eye(1)
    variances = np.geomspace(1, 1 / condition, d)
    with pm.Model() as model:
        x = pm.Flat("x", shape=d)
        pm.Potential("normal", -0.5 * x @ ((turn / variances) @ turn.T) @ x)
    return model, lambda x: x @ turn / np.sqrt(variances)


def variances(walkers, d, draws, condition=100, share=0.9, engine="numba"):
    """Over the exact ones, of 40 stretches of time of all walkers, ``(d, 40)``."""
    model, standard = narrow_and_wide(d, condition)
    # A step that is far too long for coordinates that don't know the narrow direction.
    step = BAOAB(
        step_size=0.3, steps_per_draw=10, ensemble=share, engine=engine, model=model,
        warmup=WarmUp(preconditioner=np.full(d, 4 / condition)), momentum_decay=0.8,
    )  # fmt: skip
    idata = sample(draws, tune=100, chains=walkers, step=step, model=model, **QUIET)
    squares = standard(idata.posterior["x"].values) ** 2
    return squares.reshape(walkers, 40, -1, d).mean((0, 2)).T


@pytest.mark.parametrize(("walkers", "d", "draws"), [(4, 3, 2400), (16, 20, 800), (64, 50, 200)])
@pytest.mark.slow
def test_halves_leave_the_law_as_it_is(walkers, d, draws):
    check(variances(walkers, d, draws), 1.0, precision=0.05)


@pytest.mark.slow
def test_coordinates_of_ones_own_do_not(monkeypatch):
    """The planted error: a half that moves in the coordinates of its own positions."""
    move = Walkers._move
    monkeypatch.setattr(
        Walkers,
        "_move",
        lambda self, state, moving, _, *rest: move(self, state, moving, moving, *rest),
    )
    with pytest.raises(AssertionError, match="Wrong"):
        check(variances(4, 3, 1200), 1.0, precision=0.1)


# -- coordinates -----------------------------------------------------------------------------------


def test_blended_coordinates():
    rng = np.random.default_rng(0)
    own = Coordinates(rng.normal(size=3), np.array([1.0, 2.0, 3.0]))
    positions = rng.normal(size=(10, 3))
    lent = own.blended(positions, 0.3)
    expected = 0.7 * np.diag([1.0, 4.0, 9.0]) + 0.3 * np.cov(positions.T)
    np.testing.assert_allclose(lent.factor @ lent.factor.T, expected)
    np.testing.assert_allclose(lent.of(lent.position(positions)), positions)


def test_what_few_walkers_do_to_curvature():
    """Largest eigenvalues of (1 − η) I + η C are about where the warm-up expects them."""
    rng, d, share = np.random.default_rng(0), 20, 0.8
    for chains in (8, 32, 128):
        covariances = [np.cov(rng.normal(size=(d, chains // 2))) for _ in range(200)]
        found = [np.linalg.eigvalsh((1 - share) * np.eye(d) + share * C)[-1] for C in covariances]
        assert 0.7 < np.mean(found) / _lent(share, np.zeros((chains, 1, d))) < 1
    assert _lent(None, np.zeros((chains, 1, d))) == 1


# -- doors -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(400, 2)) @ [[1.0, 0.9], [0.0, 0.3]]
    with pm.Model() as model:
        slopes = pm.Normal("slopes", 0, 10, shape=2)
        pm.Normal("y", pm.Data("X", X) @ slopes, 1, observed=X.sum(1))
    precision = X.T @ X + np.eye(2) / 100
    return model, np.linalg.solve(precision, X.T @ X.sum(1)), np.linalg.inv(precision)


@pytest.mark.slow
def test_doors_and_pieces_are_one_run(rows, tmp_path):
    """`pm.sample`, `sample`, and a run that stops and goes on from its store, on minibatches."""
    model, mean, covariance = rows

    def step():
        return SGHMC(batch_size=40, ensemble=0.7, engine="jax", model=model)

    with model:
        one = pm.sample(40, tune=20, chains=6, step=step(), **QUIET)
        other = sample(40, tune=20, chains=6, step=step(), **QUIET)
        store = {"store": tmp_path / "walkers.zarr", **QUIET}
        sample(40, tune=20, chains=6, step=step(), stop_when=lambda p: p.kept >= 7, **store)
        pieces = sample(40, tune=20, chains=6, step=step(), **store)
    draws = one.posterior["slopes"].values
    np.testing.assert_array_equal(draws, other.posterior["slopes"].values)
    np.testing.assert_array_equal(draws, pieces.posterior["slopes"].values)
    assert one.posterior.attrs["ensemble"] == 0.7
    away = (draws - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    check((away**2).mean(1).T, 1, allowance=0.05, precision=0.3)


@pytest.mark.slow
def test_the_step_is_that_of_the_coordinates_that_are_lent():
    """The curvature that it is found for is no longer that of the narrow direction, 10⁴."""
    model, _ = narrow_and_wide(4, 1e4)
    steps = {}
    for share in (None, 0.9999):
        warmup = WarmUp(preconditioner=None)
        step = BAOAB(ensemble=share, warmup=warmup, steps_per_draw=20, engine="jax", model=model)
        idata = sample(10, tune=20, chains=32, step=step, model=model, **QUIET)
        steps[share] = idata.posterior.attrs["step_size"]
        curvature = idata.posterior.attrs["largest_curvature"]
        assert curvature == pytest.approx(1e4, rel=0.01) if share is None else curvature < 10
    assert steps[0.9999] > 20 * steps[None]


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("chains", [2, 5])
def test_walkers_need_two_halves(rows, chains):
    model, *_ = rows
    step = BAOAB(ensemble=0.5, step_size=0.01, model=model)
    with pytest.raises(
        ValueError, match=rf"two halves.*are {chains}\. Use chains={max(4, chains + 1)}"
    ):
        sample(10, tune=0, chains=chains, step=step, model=model, **QUIET)


@pytest.mark.parametrize("share", [0, 1, -0.1, "half"])
def test_shares_that_are_none(rows, share):
    with pytest.raises((ValueError, TypeError), match=r"ensemble must be .* None for independent"):
        BAOAB(ensemble=share, model=rows[0])


@pytest.mark.parametrize("sampler", [ATMC, CCAdL])
def test_thermostats_need_all_rows(rows, sampler):
    with pytest.raises(ValueError, match=r"ensemble=0.5.*thermostat.*Use BAOAB or SGHMC"):
        sampler(batch_size=40, ensemble=0.5, model=rows[0])
    assert sampler(batch_size=400, ensemble=0.5, model=rows[0]).plan.settings.ensemble == 0.5


def test_other_steps_and_many_parameters_are_refused():
    with pm.Model():
        pm.Normal("x", shape=2)
        pm.Normal("wide", shape=1001)
        with pytest.raises(ValueError, match=r"all variables.*moves 'wide'"):
            BAOAB(["x"], ensemble=0.5)
        with pytest.raises(ValueError, match=r"there are 1,003, more than 1,000"):
            BAOAB(ensemble=0.5)
