"""Measurements that are not finite, searches that fail, choices that were wrong elsewhere."""

import subprocess
import sys
import threading

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pymc.exceptions import SamplingError

from pymc_sgmcmc import ATMC, JAX, Numba, sample
from pymc_sgmcmc.dynamics import ATMCDynamics
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.model.hierarchy import non_centred
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.report.found import Found
from pymc_sgmcmc.run.starts import starting_positions
from pymc_sgmcmc.warmup import landscape as landscape_module
from pymc_sgmcmc.warmup import small as small_module
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.large import LargeWarmUp
from pymc_sgmcmc.warmup.noise import gradient_noise
from pymc_sgmcmc.warmup.scale import laplace, refine
from pymc_sgmcmc.warmup.small import SmallWarmUp
from pymc_sgmcmc.warmup.step_size import step_size

ENGINES = {"jax": JAX(), "numba": Numba()}


def logistic_model(n=4000):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    y = rng.random(n) < 1 / (1 + np.exp(-X @ [1, -1, 0.5]))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Bernoulli("y", logit_p=pm.Data("X", X) @ b, observed=y)
    return model


@pytest.fixture(scope="module")
def logistic():
    """A warm-up that has searched, and the settings that it found."""
    warming = SmallWarmUp(ATMC(batch_size=50, model=logistic_model()).compiled, {}, rng(), JAX())
    tuning, _ = warming.search(np.zeros((2, 3)))
    return warming, tuning


def rng():
    return np.random.default_rng(1)


class Valley:
    """U = (x⁴ + x²)/2 in every direction, and a slope besides."""

    n_rows = 1

    def __init__(self, shift=0.0):
        self.shift = shift

    def gradient(self, positions):
        x = positions
        with np.errstate(all="ignore"):
            return (x**4 + x**2).sum(1) / 2 + self.shift * x.sum(1), 2 * x**3 + x + self.shift


def test_a_centre_is_never_moved_to_where_nothing_is_finite():
    warming = object.__new__(SmallWarmUp)
    warming.fine, warming.whole = Valley(), Valley(shift=3.0)
    # A scale far too wide for the curvature there: whole steps overshoot more each time.
    fitted = Coordinates(np.full(2, 1.5), np.eye(2))
    _, wanted = warming.fine.gradient(fitted.centre[None])
    centre = warming._recentred(fitted).centre
    _, there = warming.whole.gradient(centre[None])
    _, before = warming.whole.gradient(fitted.centre[None])
    assert np.linalg.norm(there - wanted) < 0.5 * np.linalg.norm(before - wanted)


def test_a_start_without_finite_curvature_is_brought_nearer(logistic, monkeypatch):
    warming, _ = logistic
    coarse = warming.coarse

    class Overflowing:
        def hessian(self, positions):
            value, gradient, hessian = coarse.hessian(positions)
            return value, gradient, np.where(np.abs(positions).max() > 4, np.inf, hessian)

    expected = warming.search_from(np.zeros(3))
    monkeypatch.setattr(warming, "coarse", Overflowing())
    for far in (100.0, 3.0):
        found = warming.search_from(np.array([far, 0, 0]))
        assert found.converged
        np.testing.assert_allclose(found.position, expected.position, atol=0.05)


def test_wide_jitter_that_overflows_is_narrowed():
    with pm.Model() as model:
        pm.Normal("x", shape=20)
    potential = StochasticPotential(model)

    def evaluate(positions):  # finite only where all are within .1
        values = np.where(np.abs(positions).max(1) < 0.1, 0.0, np.inf)
        return values, np.zeros_like(positions)

    points = [model.initial_point(0)] * 3
    rngs = [np.random.default_rng(i) for i in range(3)]
    starts = starting_positions(potential, points, rngs, evaluate, False)
    assert (np.abs(starts) < 0.1).all()
    assert len(np.unique(starts)) == 60
    # Draws of a wide prior would overflow too: where they are only preferred, jitter replaces them.
    starts = starting_positions(potential, points, rngs, evaluate, "where possible")
    assert (np.abs(starts) < 0.1).all()


def test_an_error_of_starts_names_the_variable():
    with pm.Model() as model:
        pm.Normal("x")
        pm.HalfNormal("wild", shape=2)
    potential = StochasticPotential(model)

    def evaluate(positions):
        return np.zeros(len(positions)), np.where([False, True, False], np.nan, positions)

    with pytest.raises(SamplingError, match=r"in the direction of 'wild'\)"):
        starting_positions(potential, [model.initial_point(0)], [rng()], evaluate, False)


def test_an_error_of_a_measurement_names_the_variable_and_the_way():
    with pm.Model() as model:
        a = pm.Normal("a", shape=2)
        pm.Normal("b")
        pm.Potential("p", -pm.math.exp(1000 * a).sum())
    warming = SmallWarmUp(ATMC(model=model).compiled, {}, rng(), JAX())
    error = warming._not_finite("The curvature", np.array([0.0, 1.0, 0.0]))
    assert "Look at 'a': give initval=" in str(error)


def test_no_step_size_is_made_of_what_is_not_finite():
    with pytest.raises(ValueError, match="noise of nan"):
        step_size(ATMCDynamics(), 0.02, 1.0, np.array([1.0, np.nan]))
    # Noise that dwarfs the curvature is no reason to fail.
    h = step_size(ATMCDynamics(), 0.02, 1.0, np.full(2, 1e40))
    assert 0 < h < 1e-10
    assert ATMCDynamics().bias(h, 1.0, np.full(2, 1e40)) == pytest.approx(0.02)


def test_noise_is_that_of_the_finite_gradients():
    class Engine:
        def evaluate(self, positions, others, seed):
            noise = np.random.default_rng(seed).normal(size=positions.shape)
            return np.zeros(len(positions)), np.where(positions > 1, np.nan, noise)

    positions = np.linspace(-1, 2, 90)[:, None]
    plain, controlled = gradient_noise(
        Engine(), Coordinates(np.zeros(1), np.ones(1)), positions, {}, rng()
    )
    assert len(plain) == len(controlled) == (positions <= 1).sum()
    assert np.isfinite(plain).all()
    outside = Coordinates(np.full(1, 5.0), np.ones(1))
    plain, controlled = gradient_noise(Engine(), outside, positions, {}, rng())
    assert np.isfinite(plain).all()
    assert np.isinf(controlled).all()


def test_a_scale_that_its_own_curvature_depends_on_does_not_swing():
    # Log of the standard deviation of four effects: its conditional curvature is exponential in it.
    with pm.Model() as model:
        sd = pm.HalfNormal("sd", 1)
        a = pm.Normal("a", 0, sd, shape=4)
        pm.Normal("y", a, 0.02, observed=[-0.4, 0.1, 0.3, 0.2])
    landscape = small_module.Landscape(
        StochasticPotential(model).in_dtype("float64"), None, {}, rng(), JAX()
    )
    mode = small_module.newton(landscape, np.array([-1.0, -0.4, 0.1, 0.3, 0.2]))
    assert mode.converged
    misfits = [refine(laplace(mode), landscape, np.random.default_rng(i))[1] for i in range(20)]
    assert max(misfits) < 0.3


# -- modes ---------------------------------------------------------------------------------------


def two_wells(behind):
    """Two normals of sd .1 at ±2; the one at 2 has e^-behind of the other's mass."""
    with pm.Model(check_bounds=False) as model:
        x = pm.Flat("x", initval=-2.0)
        pm.Potential(
            "p", pt.logaddexp(-(((x + 2) / 0.1) ** 2) / 2, -behind - ((x - 2) / 0.1) ** 2 / 2)
        )
    return SmallWarmUp(ATMC(model=model).compiled, {}, rng(), JAX())


@pytest.mark.parametrize(("behind", "modes"), [(2.0, 2), (400.0, 1)])
def test_a_mode_has_posterior_mass(behind, modes):
    warming = two_wells(behind)
    found, labels = warming._modes(np.array([[-2.1], [2.1]]))
    assert len(found) == modes
    at = [found[i].position[0] for i in labels]
    np.testing.assert_allclose(at, [-2, 2 if modes == 2 else -2], atol=0.01)


def test_a_failed_search_is_no_mode_and_its_chain_starts_in_one(logistic, monkeypatch):
    warming, _ = logistic
    newton = small_module.newton

    def failing(landscape, start, *args):
        found = newton(landscape, start, *args)
        if start[0] > 1:
            return small_module.Mode(start, np.inf, np.eye(3), False, 9)
        return found

    monkeypatch.setattr(small_module, "newton", failing)
    starts = np.array([[0.0, 0, 0], [1.5, 0, 0]])
    found, labels = warming._modes(starts)
    assert [mode.converged for mode in found] == [True]
    assert list(labels) == [0, 0]

    monkeypatch.setattr(warming, "_leads_down", lambda start, mode: False)
    found, labels = warming._modes(starts)
    assert [mode.converged for mode in found] == [True]
    assert list(labels) == [0, 0]
    assert 1 <= warming.found.searches_failed < warming.found.searches
    tuning, _ = warming.search(starts)
    assert tuning.control_variate
    assert warming.found.modes == warming.found.modes_found == 1


# -- choices -------------------------------------------------------------------------------------


def test_the_control_variate_is_decided_anew_where_the_chains_went(logistic):
    warming, tuning = logistic
    assert tuning.control_variate
    place = tuning.places[0]
    around = place.coordinates.position(rng().normal(size=(100, 3)))
    assert warming.settle(tuning, around[None].repeat(2, 0)).control_variate
    away = place.coordinates.position(np.full(3, 300.0) + rng().normal(size=(100, 3)))
    settled = warming.settle(tuning, away[None].repeat(2, 0))
    assert not settled.control_variate
    # And what was about normal where the search ended is not called so there.
    assert settled.found.misfit > 0.5
    assert settled.steps_per_draw == 80


def test_the_prior_of_a_large_model_reads_no_rows():
    warming = LargeWarmUp(ATMC(batch_size=50, model=logistic_model()).compiled, {}, rng(), JAX())
    assert warming._prior.n_rows == 1
    b = rng().normal(size=(1, 3))
    value, gradient = warming._prior.gradient(b)
    np.testing.assert_allclose(value, np.square(b).sum() / 2 + 3 * np.log(2 * np.pi) / 2)
    np.testing.assert_allclose(gradient, b)


# -- hierarchies ---------------------------------------------------------------------------------


def varying_intercepts(centred, n=800):
    generator = np.random.default_rng(0)
    group = generator.integers(8, size=n)
    with pm.Model() as model:
        sd = pm.HalfNormal("sd", 1)
        z = pm.Normal("z", 0, sd if centred else 1, shape=8)
        effect = z if centred else sd * z
        # Products that are no such effects: of what was picked, and of coefficients.
        slope = pm.Normal("slope", 0, 1) * pm.Normal("table", 0, 1, shape=8)[group]
        fit = pm.Data("X", generator.normal(size=(n, 3))) @ (sd * pm.Normal("b", 0, 1, shape=3))
        pm.Normal("y", effect[group] + slope + fit, 1, observed=generator.normal(size=n))
    return model


@pytest.mark.parametrize("batch_size", [20, None])
def test_effects_that_are_written_non_centred_are_known(batch_size):
    def found(model):
        return non_centred(StochasticPotential(model, batch_size=batch_size).terms)

    z, *others = found(varying_intercepts(centred=False))
    assert z == ("z", 8, 100.0)
    assert [effects.name for effects in others] == []
    assert found(varying_intercepts(centred=True)) == []


def test_the_report_says_which_effects_of_many_rows_are_not_centred():
    for n, report in ((800, Found(non_centred=("z",), non_centred_rows=100.0)), (80, Found())):
        step = ATMC(batch_size=20, model=varying_intercepts(centred=False, n=n))
        found = SmallWarmUp(step.compiled, {}, rng(), JAX()).found
        assert found == report


@pytest.mark.parametrize("backend", ["jax", "numba"])
def test_pieces_of_the_rows_add_up_to_all(backend, monkeypatch):
    potential = StochasticPotential(logistic_model(100), batch_size=10)
    b = rng().normal(size=(2, 3))
    whole = Landscape(potential, None, {}, rng(), ENGINES[backend])
    monkeypatch.setattr(landscape_module, "_PIECE", 30)
    pieces = Landscape(potential, None, {}, rng(), ENGINES[backend])
    for found, expected in zip(pieces.gradient(b), whole.gradient(b), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert pieces.row_gradients == whole.row_gradients == 200


def test_all_rows_are_looked_at_once_for_each_centre(monkeypatch):
    """A control variate is anchored where the search ended, and anchored again at half-way."""
    monkeypatch.setattr(landscape_module, "_PIECE", 60)
    potential = StochasticPotential(logistic_model(100), batch_size=10)
    pieces, read, calls = Landscape(potential, None, {}, rng(), JAX()), potential.rows_at, []
    monkeypatch.setattr(potential, "rows_at", lambda rows: calls.append(rows) or read(rows))
    here, there = rng().normal(size=(2, 1, 3))
    first = pieces.gradient(here)
    pieces.gradient(there)
    again = pieces.gradient(here.copy())
    assert len(calls) == 4  # two pieces, at two positions
    assert pieces.row_gradients == 300
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        b += 1  # whoever is given it may change it
    np.testing.assert_array_equal(pieces.gradient(here)[1], first[1])


def test_rows_that_cant_be_read_ahead_are_an_error_here(monkeypatch):
    potential = StochasticPotential(logistic_model(100), batch_size=10)
    monkeypatch.setattr(landscape_module, "_PIECE", 30)
    pieces = Landscape(potential, None, {}, rng(), JAX())
    read = potential.rows_at

    def failing(rows):
        if rows.start >= 60:
            raise OSError("the disk is gone")
        return read(rows)

    monkeypatch.setattr(potential, "rows_at", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        pieces.gradient(np.zeros((1, 3)))
    assert not [t for t in threading.enumerate() if t.name.startswith("pymc_sgmcmc-rows")]


# -- engines that stand alone --------------------------------------------------------------------


def test_both_engines_have_the_same_derivatives():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(200, 3)) * [1e-3, 1, 1e3]
    y = generator.random(200) < 0.5
    with pm.Model() as model:
        b = pm.Normal("b", 0, [1e3, 1, 1e-3], shape=3)
        s = pm.HalfNormal("s", 1)
        pm.Bernoulli("y", logit_p=s * (pm.Data("X", X) @ b), observed=y)
    potential = StochasticPotential(model, batch_size=50).in_dtype("float64")
    rows = potential.row_values()
    numba, jax = (engine.derivatives(potential, rows) for engine in (Numba(), JAX()))
    q = generator.normal(size=(5, 4)) * [1e3, 1, 1e-3, 0.3]
    for ours, exact in zip(numba.gradient(q, {}), jax.gradient(q, {}), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-9)
    *_, ours = numba.hessian(q, {})
    *_, exact = jax.hessian(q, {})
    scale = np.sqrt(np.abs(np.einsum("kii->ki", exact)))
    assert (np.abs(ours - exact) / scale[:, None] / scale[:, :, None]).max() < 1e-5
    v = generator.normal(size=(5, 4)) * [1e3, 1, 1e-3, 1] * 0.1
    ours, exact = numba.products(q, v, {}), jax.products(q, v, {})
    assert (np.abs(ours - exact) / scale).max() < 1e-3 * (np.abs(exact) / scale).max()


_WITHOUT_JAX = """
import sys
sys.modules["jax"] = sys.modules["jaxlib"] = None
import numpy as np, pymc as pm
from pymc_sgmcmc import ATMC, diagnose, predict, sample
rng = np.random.default_rng(0)
X = rng.normal(size=(500, 2))
y = X @ [1, 2] + rng.normal(size=500)
with pm.Model() as model:
    b = pm.Normal("b", 0, 1, shape=2)
    pm.Normal("y", pm.Data("X", X) @ b, 1, observed=pm.Data("y_data", y))
    kwargs = dict(tune=100, random_seed=1, progressbar=False)
    idata = sample(400, step=ATMC(batch_size=50, engine="numba"), **kwargs)
    assert ATMC().plan.settings.engine.name == "numba"
    try:
        ATMC(engine="jax")
    except ImportError as error:
        print(error)
covariance = np.linalg.inv(X.T @ X + np.eye(2))
away = idata.posterior.b.mean(("chain", "draw")).values - covariance @ X.T @ y
sd = np.sqrt(np.diag(covariance))
assert np.abs(away / sd).max() < 0.2, away / sd
assert np.abs(idata.posterior.b.std(("chain", "draw")).values / sd - 1).max() < 0.15
predict(idata, {"X": X[:5], "y_data": y[:5]}, model=model)
diagnose(idata)
assert sys.modules["jax"] is None
"""


@pytest.mark.slow
@pytest.mark.weekly
def test_numba_stands_alone():
    done = subprocess.run([sys.executable, "-c", _WITHOUT_JAX], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'Or use engine="numba"' in done.stdout


def censored_gamma(n=400):
    generator = np.random.default_rng(0)
    t, c = generator.gamma(2, 1, n), generator.exponential(4, n)
    with pm.Model() as model:
        k, b = pm.Gamma("k", 2, 1), pm.Gamma("b", 2, 1)
        pm.Censored("y", pm.Gamma.dist(k, b), lower=None, upper=c, observed=np.minimum(t, c))
    return model


def test_a_model_that_one_backend_lacks_names_the_variable_and_the_other():
    with censored_gamma():
        step = ATMC(batch_size=50, engine="jax")
        with pytest.raises(NotImplementedError, match=r"of 'y' .*ScalarLoop.*numba"):
            sample(5, tune=5, step=step, progressbar=False)


@pytest.mark.slow
@pytest.mark.weekly
def test_a_model_that_jax_lacks_is_sampled_by_numba():
    with censored_gamma():
        idata = sample(500, tune=200, step=ATMC(batch_size=50), random_seed=1, progressbar=False)
    assert idata.posterior.attrs["backend"] == "numba"
    # Simulated with k = 2, b = 1; 400 rows leave standard deviations of about 8%.
    assert float(idata.posterior.k.mean()) == pytest.approx(2, abs=0.5)
    assert float(idata.posterior.b.mean()) == pytest.approx(1, abs=0.3)
