"""Control variates and preconditioned coordinates, against the gradient of all rows."""

import warnings

import jax
import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc.engines.jax.functions import compile_position, jax_function
from pymc_sgmcmc.engines.programs import gradient_program
from pymc_sgmcmc.estimators.axes import axes_along
from pymc_sgmcmc.estimators.blocks import Blocks, families
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.estimators.estimators import Clipped, ControlVariate, Estimator, Preconditioned
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.plan.tuning import Place
from tests.reference import by_pymc

N, B, D = 60, 12, 4
CENTRE = np.array([0.3, -0.2, 0.5, 0.1])
Z = np.array([0.7, -1.1, 0.4, 2.0])
FACTORS = {
    "dense": np.random.default_rng(1).normal(size=(D, D)),
    "diagonal": np.array([0.1, 2.0, 0.5, 1.5]),
}

dense_and_diagonal = pytest.mark.parametrize("kind", FACTORS)


@pytest.fixture(scope="module")
def potential():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 2, shape=3)
        s = pm.HalfNormal("s")
        mu = pm.Data("X", X) @ b
        pm.StudentT("y", nu=5, mu=mu, sigma=s, observed=X.sum(1) + rng.normal(size=N))
    return StochasticPotential(model, batch_size=B, dtype="float64")


def exact(potential, position):
    values = potential.unravel(position[None, None])
    return by_pymc(potential, {name: x[0, 0] for name, x in values.items()})


def compiled(estimator, parameters):
    """Function (coordinates, rows) → (value, gradient)."""
    with estimator.potential.model:
        function = jax_function(*gradient_program(estimator))
    rows = estimator.potential.row_values()
    values = [np.asarray(parameters[name]) for name in estimator.parameters]

    def evaluate(coordinates, batch):
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*requested dtype.*")
            value, gradient = jitted(coordinates, *values, *(x[batch] for x in rows))
            return float(value), np.asarray(gradient)

    with jax.enable_x64(True):
        jitted = jax.jit(function)
    return evaluate


def epoch(evaluate, coordinates):
    """Values ``(batches,)`` and gradients ``(batches, d)`` of batches that take each row once."""
    batches = np.random.default_rng(2).permutation(N).reshape(-1, B)
    values, gradients = zip(*[evaluate(coordinates, batch) for batch in batches], strict=True)
    return np.array(values), np.array(gradients)


def place(potential, factor, anchored=True):
    anchor = exact(potential, CENTRE) if anchored else None
    return Place(Coordinates(CENTRE, factor), np.zeros(D), 0.0, anchor).parameters()


def test_a_control_variate_is_unbiased(potential):
    position = CENTRE + 0.3 * Z
    evaluate = compiled(ControlVariate(Estimator(potential)), place(potential, np.ones(D)))
    values, gradients = epoch(evaluate, position)
    value, gradient = exact(potential, position)
    np.testing.assert_allclose(values.mean(), value, rtol=1e-10)
    np.testing.assert_allclose(
        gradients.mean(0), gradient, rtol=1e-10, atol=1e-10 * np.linalg.norm(gradient)
    )


def test_its_noise_vanishes_at_the_centre_and_grows_with_the_distance(potential):
    evaluate = compiled(ControlVariate(Estimator(potential)), place(potential, np.ones(D)))
    plain = compiled(Estimator(potential), {})
    value, gradient = exact(potential, CENTRE)
    values, gradients = epoch(evaluate, CENTRE)
    np.testing.assert_allclose(values, value, rtol=1e-10)
    np.testing.assert_allclose(gradients - gradient, 0, atol=1e-10 * np.linalg.norm(gradient))
    noise = [epoch(evaluate, CENTRE + r * Z)[1].std(0) for r in (0.01, 0.1)]
    assert (noise[0] > 0).all()
    assert (noise[1] > 5 * noise[0]).all()
    assert (noise[1] < epoch(plain, CENTRE + 0.1 * Z)[1].std(0)).all()


@dense_and_diagonal
def test_preconditioned_coordinates(potential, kind):
    factor = FACTORS[kind]
    matrix = factor if factor.ndim == 2 else np.diag(factor)
    parameters = place(potential, factor, anchored=False)
    estimator = Preconditioned(Estimator(potential), dense=kind == "dense")
    position = CENTRE + matrix @ Z
    values, gradients = epoch(compiled(estimator, parameters), Z)
    value, gradient = exact(potential, position)
    np.testing.assert_allclose(values.mean(), value, rtol=1e-10)
    np.testing.assert_allclose(gradients.mean(0), matrix.T @ gradient, rtol=1e-9)
    with jax.enable_x64(True):
        (theta,) = compile_position(estimator)(Z, CENTRE, factor)
    np.testing.assert_allclose(theta, position, rtol=1e-12)


def test_preconditioned_coordinates_with_axes(potential):
    axes, numbers = axes_along(np.linalg.qr(np.ones((D, 1)))[0].T)
    axes = axes.scaled(np.geomspace(1, 3, D)).turned(numbers, np.array([[2.0]]))
    place = Place(Coordinates(CENTRE, FACTORS["diagonal"], axes), np.zeros(D), 0.0)
    estimator = Preconditioned(Estimator(potential), dense=False, axes=2)
    values, gradients = epoch(compiled(estimator, place.parameters()), Z)
    value, gradient = exact(potential, place.coordinates.position(Z))
    np.testing.assert_allclose(values.mean(), value, rtol=1e-10)
    expected = place.coordinates.gradient(gradient)
    np.testing.assert_allclose(gradients.mean(0), expected, rtol=1e-9)
    with jax.enable_x64(True):
        known = [place.parameters()[name] for name in estimator.parameters]
        (theta,) = compile_position(estimator)(Z, *known)
    np.testing.assert_allclose(theta, place.coordinates.position(Z), rtol=1e-12)


@dense_and_diagonal
def test_a_control_variate_in_preconditioned_coordinates(potential, kind):
    factor = FACTORS[kind]
    matrix = factor if factor.ndim == 2 else np.diag(factor)
    estimator = Preconditioned(ControlVariate(Estimator(potential)), dense=kind == "dense")
    evaluate = compiled(estimator, place(potential, factor))
    values, gradients = epoch(evaluate, Z)
    value, gradient = exact(potential, CENTRE + matrix @ Z)
    np.testing.assert_allclose(values.mean(), value, rtol=1e-10)
    np.testing.assert_allclose(gradients.mean(0), matrix.T @ gradient, rtol=1e-9)
    _, at_centre = epoch(evaluate, np.zeros(D))
    expected = matrix.T @ exact(potential, CENTRE)[1]
    np.testing.assert_allclose(
        at_centre - expected, 0, atol=1e-10 * np.linalg.norm(expected) + 1e-12
    )


@pytest.mark.parametrize("length", [1e-2, 1e6])
def test_a_clipped_gradient_is_no_longer_than_it_may_be(potential, length):
    rows = np.arange(B)
    parameters = {"centre": CENTRE, "factor": FACTORS["diagonal"]}
    whole = Preconditioned(Estimator(potential), dense=False)
    value, gradient = compiled(whole, parameters)(Z, rows)
    clipped_value, clipped = compiled(Clipped(whole, length), parameters)(Z, rows)
    norm = np.linalg.norm(gradient)
    assert clipped_value == pytest.approx(value)
    np.testing.assert_allclose(clipped, gradient * min(1, length / norm))
    assert 1e-2 < norm < 1e6


def test_preconditioned_coordinates_with_blocks():
    rng = np.random.default_rng(5)
    groups, n = 40, 60
    g, x = rng.integers(groups, size=n), rng.normal(size=n)
    with pm.Model() as model:
        a, b = pm.Normal("a", shape=groups), pm.Normal("b", shape=groups)
        pm.Normal("y", a[g] + b[g] * x, observed=rng.normal(size=n))
    potential = StochasticPotential(model, batch_size=B, dtype="float64")
    (numbers,) = families(potential.layout)
    blocks = Blocks((numbers,), (rng.normal(size=(groups, 2, 2)),))
    coordinates = Coordinates(*rng.normal(size=(2, 2 * groups)), blocks=blocks)
    coordinates = coordinates.shortened(rng.uniform(0.5, 2, 2 * groups))
    z = rng.normal(size=2 * groups)
    parameters = Place(coordinates, np.zeros(2 * groups), 0.0).parameters()
    estimator = Preconditioned(Estimator(potential), dense=False, axes=0, blocks=True)
    values, gradients = epoch(compiled(estimator, parameters), z)
    value, gradient = exact(potential, coordinates.position(z))
    np.testing.assert_allclose(values.mean(), value, rtol=1e-10)
    np.testing.assert_allclose(gradients.mean(0), coordinates.gradient(gradient), rtol=1e-8)
