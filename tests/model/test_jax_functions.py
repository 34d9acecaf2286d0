"""JAX functions in a model (``pytensor.wrap_jax``): right in every precision, by both doors."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest

from pymc_sgmcmc import SGLD, predict, sample
from pymc_sgmcmc.engines.jax.functions import jax_function
from pymc_sgmcmc.engines.programs import gradient_program
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.fingerprint import structure
from pymc_sgmcmc.model.graphs import rebuild
from pymc_sgmcmc.model.potential import StochasticPotential
from tests.reference import assert_close, by_epoch, by_jax, by_pymc, random_point

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.sin(X[:, 0])
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def in_jax(x, w, v):
    return jnp.tanh(x @ w) @ v


def in_pytensor(x, w, v):
    return pt.tanh(x @ w) @ v


def build(network, wide=True, rows=X, outcomes=Y, sd=0.3):
    """A small network; as PyTensor has it when JAX has 64 bits, and when it has 32."""
    with jax.enable_x64(wide), warnings.catch_warnings(), pm.Model() as model:
        warnings.filterwarnings("ignore", message="Explicitly requested dtype float64")
        w = pm.Normal("w", shape=(3, 4))
        v = pm.Normal("v", shape=4)
        mu = pm.Deterministic("mu", network(pm.Data("X", rows), w, v))
        pm.Normal("y", mu, sd, observed=outcomes)
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("wide", [True, False])
def test_density_and_gradient(wide, dtype):
    model = build(pytensor.wrap_jax(in_jax), wide)
    assert model["mu"].type.dtype == ("float64" if wide else "float32")
    point = random_point(model)
    reference = StochasticPotential(build(in_pytensor))
    expected = by_pymc(reference, point)
    whole = StochasticPotential(model, dtype=dtype)
    assert_close(by_jax(whole)(point), expected, TOLERANCE[dtype])
    in_batches = StochasticPotential(model, batch_size=10, dtype=dtype)
    assert_close(by_epoch(in_batches, point), expected, TOLERANCE[dtype])


def test_a_model_of_32_bits_in_64():
    with pytensor.config.change_flags(floatX="float32"):
        model = build(pytensor.wrap_jax(in_jax), wide=False, sd=0.25)
        potential = StochasticPotential(model, batch_size=10, dtype="float64")
    assert {v.type.dtype for v in model.value_vars} == {"float32"}
    # The model's rows have lost digits; of the calculation none may be lost.
    rounded = {"rows": np.float64(np.float32(X)), "outcomes": np.float64(np.float32(Y))}
    reference = build(in_pytensor, sd=0.25, **rounded)
    point = random_point(reference)
    expected = by_pymc(StochasticPotential(reference), point)
    assert_close(by_epoch(potential, point), expected, 1e-8)


@pytest.mark.filterwarnings("ignore:Numba will use object mode")  # PyMC's, for mu
def test_both_doors_new_data_and_predictions():
    model = build(pytensor.wrap_jax(in_jax))
    settings = {"step_size": 1e-3, "steps_per_draw": 3, "batch_size": 10, "dtype": "float32"}
    with model:
        step = SGLD(engine="auto", **settings)
        one = sample(4, tune=2, chains=2, step=step, random_seed=1, progressbar=False)
        other = pm.sample(
            4, tune=2, chains=2, step=step, random_seed=1, progressbar=False,
            compute_convergence_checks=False,
        )  # fmt: skip
    assert one.posterior.attrs["backend"] == "jax"
    np.testing.assert_allclose(one.posterior["w"], other.posterior["w"])
    new = predict(one, {"X": X[:5] + 1}, model=model).predictions
    w, v = (one.posterior[k].values for k in "wv")
    expected = np.einsum("cdnk,cdk->cdn", np.tanh((X[:5] + 1) @ w), v)
    np.testing.assert_allclose(new["y_mean"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        one.posterior["mu"], np.einsum("cdnk,cdk->cdn", np.tanh(X @ w), v), rtol=1e-4, atol=1e-5
    )
    before = by_jax(step.compiled.plan.potential)(random_point(model), np.arange(10))[0]
    model.set_data("X", 2 * X)
    with model:
        sample(2, tune=2, chains=2, step=step, random_seed=1, progressbar=False)
    after = by_jax(step.compiled.plan.potential)(random_point(model), np.arange(10))[0]
    assert abs(after - before) > 1


def test_rows_that_do_not_separate():
    model = build(pytensor.wrap_jax(lambda x, w, v: in_jax(x - x.mean(0), w, v)))
    with pytest.raises(ValueError, match="not a sum over rows"):
        StochasticPotential(model, batch_size=10)


def test_shapes_that_are_not_known():
    x = pt.matrix("x", shape=(4, 3), dtype="float64")
    with jax.enable_x64(True):
        total = pytensor.wrap_jax(lambda x: {"sum": x.sum(0), "n": jnp.arange(2)})(x)
    new = pt.matrix("new", dtype="float32")
    outputs = rebuild([total["sum"], total["n"]], {x: new})
    assert [v.type.dtype for v in outputs] == ["float32", "int64"]
    values = np.arange(6, dtype="float32").reshape(2, 3)
    found = pytensor.function([new], outputs, mode="FAST_COMPILE")(values)
    np.testing.assert_array_equal(found[0], values.sum(0))
    np.testing.assert_array_equal(found[1], [0, 1])


def test_several_outputs_and_integers_have_gradients():
    codes = np.array([0, 2, 1])
    with jax.enable_x64(True):
        table, picked = pt.dvector("table", shape=(3,)), pt.constant(codes)
        f = pytensor.wrap_jax(lambda t, i: (t[i] ** 2, jnp.sum(t), i + 1))
        square, total, _ = f(table, picked)
    (cost,) = rebuild([square[0] + 3 * square[1] + total], {})
    (narrow,) = rebuild(
        [cost], {table: (t := pt.tensor("t", dtype="float32", shape=(3,)))}, "float32"
    )
    gradient = pytensor.function([t], pytensor.grad(narrow, t), mode="FAST_COMPILE")
    assert gradient(np.ones(3, "float32")).dtype == "float32"
    np.testing.assert_allclose(gradient(np.array([1, 2, 5], "float32")), [3, 1, 31])


@pytest.mark.filterwarnings("ignore:.*requested dtype")  # 64-bit names where JAX has 32 bits
def test_a_gradient_computes_no_value_twice():
    potential = StochasticPotential(build(pytensor.wrap_jax(in_jax)), dtype="float32")
    with jax.enable_x64(False):
        function = jax_function(*gradient_program(Estimator(potential)))
        inputs = np.zeros(potential.size, "float32"), *potential.row_values()
        program = str(jax.make_jaxpr(function)(*inputs))
    # Two products, and two for each in the gradient.
    assert program.count("dot_general") == 6


def test_functions_without_a_gradient_have_values():
    with jax.enable_x64(True):
        count = pytensor.wrap_jax(lambda x: jax.lax.while_loop(lambda y: y < 9, lambda y: 2 * y, x))
        (x,) = (pt.dscalar("x"),)
        (y,) = rebuild([count(x)], {x: (z := pt.scalar("z", dtype="float64"))})
        assert jax_function([z], [y])(3.0)[0] == 12


def test_what_a_function_computes_is_part_of_a_model():
    def of(network):
        return structure(build(pytensor.wrap_jax(network))["mu"])

    held = jnp.ones(3)
    assert of(in_jax) == of(lambda x, w, v: jnp.tanh(x @ w) @ v)
    assert of(in_jax) != of(lambda x, w, v: jnp.sin(x @ w) @ v)
    assert of(lambda x, w, v: (held * x) @ w @ v) != of(lambda x, w, v: (2 * held * x) @ w @ v)
