"""What comes out: a DataTree that ArviZ and PyMC go on working with."""

import arviz as az
import matplotlib as mpl
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.jax.dispatch import jax_funcify
from scipy import stats

from pymc_sgmcmc import ATMC, SGLD, output, sample
from pymc_sgmcmc.evaluate import Evaluator
from pymc_sgmcmc.output import Recorder

N = 40
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 2))
Y = X @ [1, -1] + rng.normal(size=N)


def regression(wrap):
    """A model of rows, whose data are given as `wrap` makes them."""
    with pm.Model(coords={"feature": ["a", "b"], "row": np.arange(N)}) as model:
        Xd, y = wrap("X", X, dims=("row", "feature")), wrap("targets", Y, dims="row")
        b = pm.Normal("b", dims="feature")
        s = pm.HalfNormal("s")
        mu = pm.Deterministic("mu", Xd @ b, dims="row")
        pm.Normal("y", mu, s, observed=y, dims="row")
    return model


@pytest.fixture(scope="module", params=["Data", "plain"])
def fitted(request):
    wrap = pm.Data if request.param == "Data" else lambda name, x, dims: x
    model = regression(wrap)
    step = ATMC(batch_size=20, step_size=0.03, steps_per_draw=10, model=model)
    idata = sample(
        200, tune=100, chains=4, step=step, model=model, random_seed=1, progressbar=False
    )
    return model, idata


# -- going on with ArviZ and PyMC --------------------------------------------------------------


def test_arviz(fitted):
    _, idata = fitted
    summary = az.summary(idata, var_names=["b", "s"])
    assert list(summary.index) == ["b[a]", "b[b]", "s"]
    assert np.isfinite(summary.astype(float)).all(axis=None)
    assert (az.rhat(idata, var_names=["b", "s"])["b"] < 1.05).all()
    assert (az.ess(idata, var_names=["b", "s"])["b"] > 100).all()
    mpl.use("Agg")
    az.plot_trace_dist(idata, var_names=["b", "s"], backend="matplotlib")
    mpl.pyplot.close("all")


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_log_likelihood_and_loo(fitted):
    model, idata = fitted
    idata = idata.copy()
    pm.compute_log_likelihood(idata, model=model, progressbar=False)
    b, s = idata.posterior["b"].values, idata.posterior["s"].values
    expected = stats.norm.logpdf(Y, b @ X.T, s[..., None])
    np.testing.assert_allclose(idata.log_likelihood["y"], expected, rtol=1e-9)
    loo = az.loo(idata)
    same = az.loo(
        az.from_dict(
            {
                "posterior": {name: x.values for name, x in idata.posterior.data_vars.items()},
                "log_likelihood": {"y": expected},
                "observed_data": {"y": Y},
            }
        )
    )
    np.testing.assert_allclose([loo.elpd, loo.se, loo.p], [same.elpd, same.se, same.p])


def test_posterior_predictive(fitted):
    model, idata = fitted
    with model:
        predictive = pm.sample_posterior_predictive(idata, random_seed=1, progressbar=False)
    draws = predictive.posterior_predictive["y"]
    assert draws.dims == ("chain", "draw", "row")
    centre = idata.posterior["mu"].mean(("chain", "draw"))
    assert abs(draws.mean(("chain", "draw")) - centre).max() < 0.2
    assert abs(draws.std() / Y.std() - 1) < 0.2


def test_prediction_at_new_rows(fitted):
    model, idata = fitted
    if "X" not in model.named_vars:
        pytest.skip("New rows need pm.Data.")
    old = {"X": X, "targets": Y}
    with model:
        new = {"X": [[10.0, 0], [0, 10], [0, 0]], "targets": np.zeros(3)}
        pm.set_data(new, coords={"row": [100, 101, 102]})
        predictive = pm.sample_posterior_predictive(
            idata, var_names=["mu"], predictions=True, progressbar=False
        ).predictions
        pm.set_data(old, coords={"row": np.arange(N)})
    b = idata.posterior["b"].values
    expected = np.stack([10 * b[..., 0], 10 * b[..., 1], 0 * b[..., 0]], -1)
    np.testing.assert_allclose(predictive["mu"], expected, atol=1e-12)
    assert list(predictive["row"].values) == [100, 101, 102]


def test_netcdf(fitted, tmp_path):
    _, idata = fitted
    idata.to_netcdf(tmp_path / "idata.nc")
    back = xr.load_datatree(tmp_path / "idata.nc")
    for group in idata.children:
        assert back[group].to_dataset().equals(idata[group].to_dataset())
        for name, value in idata[group].attrs.items():
            assert np.all(back[group].attrs[name] == value), name


# -- the variables of the posterior group ------------------------------------------------------


class Cube(Op):
    """An operation that JAX does not know."""

    __props__ = ()

    def make_node(self, x):
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = np.asarray(inputs[0] ** 3)


@pytest.fixture(scope="module")
def rich():
    """Transforms that change shapes, and derived variables of all types."""
    with pm.Model(coords={"part": list("uvw")}) as rich:
        offset = pm.Data("offset", [1.0, 2.0])
        x = pm.Normal("x", shape=2)
        s = pm.HalfNormal("s")
        u = pm.Uniform("u", -2, 5, shape=(2, 1))
        w = pm.Dirichlet("w", np.ones(3), dims="part")
        o = pm.Normal(
            "o", [0, 1], shape=2, transform=pm.distributions.transforms.ordered, initval=[0, 1]
        )
        pm.Deterministic("sum", x * s + offset + u[:, 0])
        pm.Deterministic("count", pt.sum(x > 0))
        pm.Deterministic("flag", x[0] > 0)
        pm.Deterministic("small", pt.cast(o * w[0], "float32"))
    return rich


def points(model, chains=2, draws=5):
    """Random values of the value variables."""
    rng = np.random.default_rng(0)
    return {
        v.name: rng.normal(size=(chains, draws, *model.initial_point(0)[v.name].shape))
        for v in model.value_vars
    }


def by_pymc(model, values):
    """Recorded variables computed by a function that PyMC compiles, one draw at a time."""
    variables = [v for v in model.unobserved_value_vars if not v.name.endswith("__")]
    function = model.compile_fn(variables, inputs=model.value_vars, mode="FAST_COMPILE")
    lead = next(iter(values.values())).shape[:2]
    recorded = {v.name: np.empty(lead, object) for v in variables}
    for i in np.ndindex(lead):
        for v, x in zip(variables, function({k: x[i] for k, x in values.items()}), strict=True):
            recorded[v.name][i] = x
    dtypes = {v.name: v.type.dtype for v in variables}
    return {
        k: np.array([[np.asarray(y) for y in row] for row in x], dtypes[k])
        for k, x in recorded.items()
    }


def assert_same(ours, theirs, **tolerances):
    assert list(ours) == list(theirs)
    for name, x in theirs.items():
        assert ours[name].dtype == x.dtype, name
        np.testing.assert_allclose(ours[name], x, **{"rtol": 1e-12, "atol": 1e-14, **tolerances})


def test_derived_variables_are_those_of_pymc(rich):
    values = points(rich)
    ours = Recorder(rich)(values)
    assert_same({k: v for k, v in ours.items() if k != "small"},
                {k: v for k, v in by_pymc(rich, values).items() if k != "small"})  # fmt: skip
    assert ours["count"].dtype == np.int64
    assert ours["flag"].dtype == bool
    assert ours["small"].dtype == np.float32
    np.testing.assert_allclose(ours["small"], by_pymc(rich, values)["small"], rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 3, 10, 64])
def test_chunks_do_not_matter(rich, chunk):
    values = points(rich)
    recorder = Recorder(rich, ["sum", "w", "x"])
    recorder._chunk = chunk
    whole = Recorder(rich, ["sum", "w", "x"])(values)
    assert list(whole) == ["x", "w", "sum"]
    assert_same(recorder(values), whole)


def test_chunks_are_bounded_by_memory(rich, monkeypatch):
    monkeypatch.setattr(output, "_CHUNK_BYTES", 1000)
    n = Recorder(rich)._chunk
    assert 1 <= n <= 10
    monkeypatch.setattr(output, "_CHUNK_BYTES", 1)
    assert Recorder(rich)._chunk == 1


def test_what_jax_can_not_compile(caplog):
    with pm.Model() as model:
        x = pm.Normal("x", shape=2)
        s = pm.HalfNormal("s")
        pm.Deterministic("cube", Cube()(x) + s)
        pm.Deterministic("matrix", pt.outer(x, x) * s)
        # An Op that JAX knows, but not with a length that depends on values.
        pm.Deterministic("total", pt.arange(3 + pt.cast(s > 0, "int64")).sum() * x)
    values = points(model)
    recorder = Recorder(model)
    recorder._chunk = 4
    assert_same(recorder(values), by_pymc(model, values))
    assert_same(recorder(values), by_pymc(model, values))
    (told,) = [r.getMessage() for r in caplog.records if r.name == "pymc_sgmcmc.output"]
    assert told.startswith("JAX can't compile 'cube', 'total' (")
    step = SGLD(step_size=0.1, model=model)
    idata = sample(10, tune=0, chains=2, step=step, model=model, progressbar=False)
    x, s = idata.posterior["x"], idata.posterior["s"]
    np.testing.assert_allclose(idata.posterior["cube"], (x**3 + s).transpose(*x.dims))


class Silent(Cube):
    """An Op that JAX gives up on without a word, when it traces it."""


@jax_funcify.register(Silent)
def _silent(op, **kwargs):
    def trace(x):
        raise NotImplementedError

    return trace


def test_a_reason_without_words(caplog):
    with pm.Model() as model:
        pm.Deterministic("cube", Silent()(pm.Normal("x", shape=2)))
    values = {"x": np.ones((2, 3, 2))}
    np.testing.assert_array_equal(Recorder(model)(values)["cube"], values["x"])
    assert "JAX can't compile 'cube' (NotImplementedError)" in caplog.text


def test_a_deterministic_whose_shape_changes_is_named():
    with pm.Model() as model:
        x = pm.Normal("x", shape=2)
        pm.Deterministic("positive", x[pt.nonzero(x > 0)[0]])
    values = {"x": np.array([[[1.0, 2.0], [1.0, -2.0]]])}
    with pytest.raises(ValueError, match=r"'positive' has the shape \(1,\) in one draw and \(2,\)"):
        Recorder(model)(values)


def test_other_errors_are_not_tried_again_in_a_loop(rich, monkeypatch):
    def fail(*args):
        raise MemoryError("all of it")

    monkeypatch.setattr(Evaluator, "_vectorised", fail)
    with pytest.raises(MemoryError, match="all of it"):
        Recorder(rich)(points(rich))


def test_derived_variables_use_the_data_as_they_are(rich):
    values = points(rich)
    before = Recorder(rich, ["sum"])(values)["sum"]
    with rich:
        pm.set_data({"offset": [11.0, 12.0]})
    after = Recorder(rich, ["sum"])(values)["sum"]
    with rich:
        pm.set_data({"offset": [1.0, 2.0]})
    np.testing.assert_allclose(after - before, 10)


def test_names_of_the_recorder(rich):
    assert Recorder(rich).names == ("x", "s", "u", "w", "o", "sum", "count", "flag", "small")
    with pytest.raises(ValueError, match=r"'s_log__'.*They are: 'x', 's', 'u'"):
        Recorder(rich, ["s_log__"])
    with pytest.raises(TypeError, match=r"write var_names=\['x'\]"):
        Recorder(rich, "x")


# -- large outputs -----------------------------------------------------------------------------


def test_large_outputs_warn_and_name_var_names(monkeypatch):
    with pm.Model() as model:
        x = pm.Normal("x")
        s = pm.HalfNormal("s")
        pm.Deterministic("rows", x * s * np.ones(1000))
        step = SGLD(step_size=0.1, steps_per_draw=1)
    assert output.output_bytes(model) == 8 * 1002
    assert output.output_bytes(model, ["x", "s"]) == 16
    kwargs = {"tune": 5, "chains": 2, "step": step, "progressbar": False}
    monkeypatch.setattr(output, "_WARN_BYTES", 8 * 1002 * 2 * 10 - 1)
    message = r"GB.*var_names=\['x', 's'\]"
    with pytest.warns(UserWarning, match=message):
        sample(10, model=model, **kwargs)
    with model, pytest.warns(UserWarning, match=message):
        pm.sample(10, compute_convergence_checks=False, **kwargs)
    # Nothing to warn of: pytest would raise it.
    sample(10, model=model, var_names=["x", "s"], **kwargs)
    sample(9, model=model, **kwargs)
