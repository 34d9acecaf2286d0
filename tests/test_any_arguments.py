"""Whatever it is given, a public function works, or its error names the argument."""

import functools
import inspect
import tempfile
from pathlib import Path

import arviz as az
import hypothesis.strategies as st
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from pymc_sgmcmc import (
    ATMC,
    JAX,
    SGHMC,
    CCAdL,
    Numba,
    WarmUp,
    diagnostics,
    export,
    functions,
    laplace,
    nn,
    predict,
    reached,
    sample,
    sampling,
    schedules,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # an odd value may be warned of

ROWS, CHAINS, DRAWS = 8, 2, 30
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, 2))
with pm.Model() as model:
    b = pm.Normal("b", shape=2)
    pm.Normal("y", pm.Data("X", X) @ b, 1, observed=X.sum(1))
IMAGES = rng.normal(size=(ROWS, 6, 6, 1))

NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-2, 5),
    st.just(10**30),
    st.floats(),
    st.complex_numbers(),
    st.floats(-5, 5).map(np.float32),
    st.integers(0, 9).map(np.int64),
)
WORDS = st.one_of(st.text(max_size=3), st.sampled_from(["X", "y", "auto", "jax", "prior", "tanh"]))
ARRAYS = arrays(
    st.sampled_from([np.dtype("f8"), np.dtype("i8"), np.dtype("U1"), np.dtype("M8[D]")]),
    array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
ODD = st.sampled_from([None, ..., 1j, b"x", object(), object, slice(1), range(3), model, b])
PLAIN = st.one_of(NUMBERS, WORDS, ODD)
ANYTHING = st.one_of(
    PLAIN,
    ARRAYS,
    st.lists(PLAIN, max_size=3),
    st.tuples(NUMBERS, NUMBERS),
    st.dictionaries(WORDS, PLAIN, max_size=2),
    st.just([[1, 2], [3]]),
    st.sets(st.integers(0, 3), max_size=2),
)


def predictions(**variables):
    """A tree as `predict` gives it, with outcomes of the last variable but one."""
    dims, labels = ("chain", "draw", "row"), {"chain": range(CHAINS), "draw": range(DRAWS)}
    scores = {"y": (dims, rng.normal(size=(CHAINS, DRAWS, ROWS)))}
    return xr.DataTree.from_dict(
        {
            "/predictions": xr.Dataset({k: (dims, x) for k, x in variables.items()}, labels),
            "/log_likelihood": xr.Dataset(scores, labels),
            "/observed_data": xr.Dataset({"y": ("row", rng.integers(0, 2, ROWS))}),
        }
    )


NEW = rng.uniform(0.1, 0.9, (CHAINS, DRAWS, ROWS))
CLASSES, NUMERIC = predictions(y_probability=NEW), predictions(y_mean=NEW, y_sd=NEW)
OUTCOMES = predictions(y=NEW)
POSTERIOR = az.from_dict({"posterior": {"b": rng.normal(size=(CHAINS, 10, 2))}})


@functools.cache
def run():
    with model:
        step = ATMC(batch_size=4, step_size=0.1)
        return sample(20, tune=5, chains=2, step=step, random_seed=1, progressbar=False)


def checked_only(**arguments):
    """Arguments of `sample`, which are all looked at before anything runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_sampled", lambda *_: None)
        sample(**arguments)


def written(layer):
    """A layer in a model of its own."""

    def write(**arguments):
        with pm.Model():
            layer(**arguments)

    return write


def exported(function, name):
    """A file of its own."""

    def write(**arguments):
        with tempfile.TemporaryDirectory() as folder:
            function(**arguments, path=Path(folder, name))

    return write


FEATURES, LAYER = {"features": pm.math.stack([X])[0]}, {"x": X, "name": "layer"}
MODELLED = {"model": model}
EXPORTED = MODELLED | {"idata": POSTERIOR, "var_names": ["y_mean"]}
CALLS = {
    "ATMC": (ATMC, ATMC, MODELLED),
    "SGHMC": (SGHMC, SGHMC, MODELLED),
    "CCAdL": (CCAdL, CCAdL, MODELLED),
    "functions": (functions, functions, MODELLED),
    "sample": (
        checked_only,
        sample,
        MODELLED | {"step": ATMC(model=model), "chains": 2, "progressbar": False},
    ),
    "predict": (predict, predict, MODELLED | {"idata": POSTERIOR, "data": {"X": X[:3]}}),
    "laplace": (laplace, laplace, MODELLED | {"draws": 2}),
    "to_numpy": (exported(export.to_numpy, "b.py"), export.to_numpy, EXPORTED),
    "to_onnx": (exported(export.to_onnx, "b.onnx"), export.to_onnx, EXPORTED),
    "WarmUp": (WarmUp, WarmUp, {}),
    "JAX": (JAX, JAX, {}),
    "Numba": (Numba, Numba, {}),
    "reached": (reached, reached, {}),
    "PolynomialDecay": (schedules.PolynomialDecay, schedules.PolynomialDecay, {}),
    "CyclicalCosine": (schedules.CyclicalCosine, schedules.CyclicalCosine, {"cycle_length": 3}),
    "diagnose": (diagnostics.diagnose, diagnostics.diagnose, run),
    "temperatures": (diagnostics.temperatures, diagnostics.temperatures, run),
    "chains_needed": (
        diagnostics.chains_needed,
        diagnostics.chains_needed,
        {"n_modes": 3, "confidence": 0.9},
    ),
    "symmetry_count": (diagnostics.symmetry_count, diagnostics.symmetry_count, {"hidden": [3]}),
    **{
        name: (getattr(diagnostics, name), getattr(diagnostics, name), {"idata": tree})
        for name, tree in [
            ("brier_score", CLASSES),
            ("calibration_error", CLASSES),
            ("reliability", CLASSES),
            ("lppd", NUMERIC),
            ("rmse", NUMERIC),
            ("predictive_rhat", NUMERIC),
            ("predictive_ess", NUMERIC),
            ("chainwise_rhat", NUMERIC),
            ("stack_chains", NUMERIC),
            ("dead_chains", NUMERIC),
            ("coverage", OUTCOMES),
        ]
    },
    **{
        name: (written(getattr(nn, name)), getattr(nn, name), arguments)
        for name, arguments in [
            ("dense", LAYER | {"units": 3}),
            ("mlp", {"x": X}),
            ("residual", LAYER | {"units": 3}),
            ("conv2d", LAYER | {"x": IMAGES, "filters": 2}),
            ("max_pool2d", {"x": IMAGES}),
            ("avg_pool2d", {"x": IMAGES}),
            ("flatten", {"x": IMAGES}),
            ("regression", FEATURES | {"observed": X[:, 0]}),
            ("classification", FEATURES | {"observed": np.arange(ROWS) % 2}),
        ]
    },
    **{
        name: (getattr(nn, name), getattr(nn, name), {})
        for name in ("FixedScale", "LearnedScale", "GroupLaplace", "Isotropic", "WeightNorm")
    },
}
# What goes to other libraries, or is written to a disk.
NOT_OURS = {"store", "to", "callback", "predictions", "path"}


# What builds a model, or compiles.
SLOW = {"ATMC", "SGHMC", "CCAdL", "functions", "sample", "predict", "diagnose", "temperatures"}
SLOW |= {"laplace", "to_numpy", "to_onnx"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CALLS]
)
@settings(
    max_examples=30,
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_one_odd_argument(name, data):
    """Each in turn, the others as they should be."""
    function, documented, arguments = CALLS[name]
    if callable(arguments):
        arguments = {"idata": arguments()}
    known = [k for k in inspect.signature(documented).parameters if k not in NOT_OURS]
    if not known:
        return
    argument = data.draw(st.sampled_from(known))
    value = data.draw(ANYTHING)
    try:
        function(**arguments | {argument: value})
    except (TypeError, ValueError) as error:
        message = str(error)
    else:
        return
    keys = value if isinstance(value, dict) else ()
    entries = value if isinstance(value, list | tuple) else ()
    names = [argument, repr(value), *map(repr, keys), *map(repr, entries)]
    assert any(said in message for said in names), f"{argument}={value!r}: {message}"


@pytest.mark.parametrize("store", [{}, {1: 2}])
def test_a_store_that_is_none(store):
    with pytest.raises(TypeError, match="store must be a folder, an address or a store of zarr"):
        checked_only(model=model, step=ATMC(model=model), store=store)
