"""The potential by PyMC itself, and by the package through JAX, as numbers to compare."""

import warnings

import jax
import numpy as np
import pytensor
from pymc.pytensorf import compile as compile_graph

from pymc_sgmcmc.engines.jax.functions import jax_function
from pymc_sgmcmc.engines.programs import gradient_program
from pymc_sgmcmc.estimators.estimators import Estimator


def random_point(model, seed=0):
    """The model's initial point, with every continuous value moved a little."""
    rng = np.random.default_rng(seed)
    return {
        name: (x + 0.3 * rng.normal(size=x.shape)).astype(x.dtype) if x.dtype.kind == "f" else x
        for name, x in model.initial_point(0).items()
    }


def by_pymc(potential, point):
    """Value and gradient of the whole model's ``-logp()``."""
    model = potential.model
    # PyMC stores numbers such as 2 as int8 or float32, and their logarithms and square roots are
    # wrong in the eighth digit. Under this policy those of its densities are float64.
    policy = "numpy+floatX" if pytensor.config.floatX == "float64" else "custom"
    with pytensor.config.change_flags(cast_policy=policy):
        value = -model.logp()
        gradient = pytensor.grad(value, list(potential.value_vars), disconnected_inputs="ignore")
    function = compile_graph(
        model.value_vars, [value, *gradient], mode="FAST_COMPILE", on_unused_input="ignore"
    )
    value, *gradient = function(*(point[v.name] for v in model.value_vars))
    return float(value), np.concatenate([g.ravel() for g in gradient])


def by_jax(potential, all_rows=False):
    """Function (point, row numbers) → (value, gradient)."""
    precision = potential.dtype == "float64"

    def evaluate(point, batch=slice(None)):
        rows = [x[batch] for x in potential.row_values()]
        others = [point[v.name] for v in potential.others]
        with jax.enable_x64(precision), warnings.catch_warnings():
            # 64-bit names where JAX has 32 bits: as meant.
            warnings.filterwarnings("ignore", message=".*requested dtype.*")
            value, gradient = function(potential.ravel(point), *others, *rows)
            assert value.dtype == gradient.dtype == potential.dtype
            return float(value), np.asarray(gradient)

    with jax.enable_x64(precision):
        function = jax.jit(
            jax_function(
                *gradient_program(Estimator(potential), potential.n_rows if all_rows else None)
            )
        )
    return evaluate


def by_epoch(potential, point, seed=0):
    """Mean value and gradient over batches that take every row once."""
    n, size = potential.n_rows, potential.batch_size
    assert n % size == 0
    evaluate = by_jax(potential)
    batches = np.random.default_rng(seed).permutation(n).reshape(-1, size)
    values, gradients = zip(*[evaluate(point, batch) for batch in batches], strict=True)
    return np.mean(values), np.mean(gradients, axis=0)


def assert_close(actual, expected, tolerance):
    """Compare values and gradients, the latter relative to their norm."""
    np.testing.assert_allclose(actual[0], expected[0], rtol=tolerance)
    np.testing.assert_allclose(
        actual[1], expected[1], rtol=tolerance, atol=tolerance * np.linalg.norm(expected[1])
    )
