"""Models written with ``pymc.dims`` are sampled as those that are written with tensors."""

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytest
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from xarray import DataArray

from pymc_sgmcmc import ATMC, SGLD, functions, predict, sample
from pymc_sgmcmc.model.plain import plain
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.pymc_step.lone import Lone

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*experimental"),
    pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS"),
]

N = 120
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 2))
group = rng.integers(4, size=N)
y = X @ [1, -1] + 0.5 * rng.normal(size=4)[group] + rng.normal(size=N)
counts = rng.poisson(np.exp(0.5 * X[:, 0]))
ROW = {"row": range(N), "column": ["a", "b"], "group": list("ABCD")}


def regression(labelled):
    if labelled:
        b, s = pmd.Normal("b", 0, 1, dims="column"), pmd.HalfNormal("s", 1)
        mu = pmd.Data("X", X, dims=("row", "column")).dot(b, dim="column")
        pmd.Normal("y", mu, s, observed=pmd.Data("d", y, dims="row"))
    else:
        b, s = pm.Normal("b", 0, 1, dims="column"), pm.HalfNormal("s", 1)
        mu = pm.Data("X", X, dims=("row", "column")) @ b
        pm.Normal("y", mu, s, observed=pm.Data("d", y, dims="row"), dims="row")


def hierarchy(labelled):
    if labelled:
        a, tau = pmd.Normal("a", 0, 1), pmd.HalfNormal("tau", 1)
        effect = pmd.Normal("effect", a, tau, dims="group")
        mu = effect.isel(group=pmd.Data("g", group, dims="row"))
        pmd.Deterministic("spread", effect.max() - effect.min())
        pmd.Normal("y", mu, 1, observed=pmd.Data("d", y, dims="row"))
    else:
        a, tau = pm.Normal("a", 0, 1), pm.HalfNormal("tau", 1)
        effect = pm.Normal("effect", a, tau, dims="group")
        mu = effect[pm.Data("g", group, dims="row")]
        pm.Deterministic("spread", effect.max() - effect.min())
        pm.Normal("y", mu, 1, observed=pm.Data("d", y, dims="row"), dims="row")


def counted(labelled):
    if labelled:
        b = pmd.Normal("b", 0, 1, dims="column")
        mu = pmd.math.exp(pmd.Data("X", X, dims=("row", "column")).dot(b, dim="column"))
        pmd.Poisson("y", mu, observed=pmd.as_xtensor(counts, dims="row"))
    else:
        mu = pm.math.exp(pm.Data("X", X, dims=("row", "column")) @ pm.Normal("b", dims="column"))
        pm.Poisson("y", mu, observed=counts, dims="row")


def both(write):
    models = []
    for labelled in (True, False):
        with pm.Model(coords=ROW) as model:
            write(labelled)
        models.append(model)
    return models


def other_point(model):
    point = model.initial_point(0)
    noise = np.random.default_rng(1)
    return {name: x + noise.normal(size=x.shape) for name, x in point.items()}


def log_density(model, point):
    return model.compile_logp(**CHEAPLY)(point)


CHEAPLY = {"mode": "FAST_COMPILE"}
WRITTEN = pytest.mark.parametrize("write", [regression, hierarchy, counted])


@WRITTEN
def test_log_densities(write):
    labelled, tensors = both(write)
    copy = plain(labelled)
    assert plain(labelled) is copy
    assert plain(tensors) is tensors
    assert [v.name for v in copy.value_vars] == [v.name for v in tensors.value_vars]
    assert copy.named_vars_to_dims.items() >= tensors.named_vars_to_dims.items()
    point = other_point(tensors)
    for given in (copy, labelled):  # the model itself, by PyMC, as well
        np.testing.assert_allclose(
            log_density(given, point), log_density(tensors, point), rtol=1e-10
        )
    gradients = [model.compile_dlogp(**CHEAPLY)(point) for model in (copy, tensors)]
    np.testing.assert_allclose(*gradients, rtol=1e-10)


@pytest.mark.parametrize(
    ("write", "engine"),
    [
        (counted, "jax"),
        *(pytest.param(w, "jax", marks=pytest.mark.slow) for w in (regression, hierarchy)),
        pytest.param(hierarchy, "numba", marks=pytest.mark.slow),
    ],
)
def test_draws(write, engine):
    """Those of a model of tensors, at the same seed, with the same dims."""
    found = []
    for model in both(write):
        with model:
            step = SGLD(batch_size=30, step_size=0.01, engine=engine)
            found.append(sample(20, tune=5, chains=2, step=step, random_seed=1, progressbar=False))
    labelled, tensors = (idata["posterior"].to_dataset() for idata in found)
    assert set(labelled.data_vars) == set(tensors.data_vars)
    for name, x in tensors.items():
        assert labelled[name].dims == x.dims
        np.testing.assert_allclose(labelled[name], x, rtol=1e-9)


@pytest.mark.slow
def test_both_doors_and_the_warm_up():
    labelled, tensors = both(hierarchy)
    quiet = {"random_seed": 1, "progressbar": False}
    with tensors:
        want = sample(20, tune=20, chains=2, step=ATMC(batch_size=30), **quiet)["posterior"]
    with labelled:
        step = ATMC(batch_size=30)
        assert step.vars == labelled.value_vars
        ours = sample(20, tune=20, chains=2, step=step, **quiet)["posterior"]
        theirs = pm.sample(
            20, tune=20, chains=2, step=step, compute_convergence_checks=False, **quiet
        )["posterior"]
    for name, x in want.items():
        np.testing.assert_allclose(ours[name], x, rtol=1e-6)
        np.testing.assert_allclose(theirs[name], x, rtol=1e-6)


@pytest.mark.slow
def test_a_step_for_some_of_the_variables():
    labelled, tensors = both(hierarchy)
    found = []
    for model in (labelled, tensors):
        with model:
            some = [model["a"], model["effect"]]
            steps = [
                SGLD(vars=some, batch_size=30, step_size=0.01),
                SGLD(vars=[model["tau"]], batch_size=30, step_size=0.02),
            ]
            assert isinstance(steps[0], Lone)
            idata = pm.sample(
                20, tune=5, chains=2, cores=1, step=steps, random_seed=1, progressbar=False,
                compute_convergence_checks=False,
            )  # fmt: skip
            found.append(idata["posterior"])
    for name, x in found[1].items():
        assert found[0][name].dims == x.dims
        np.testing.assert_allclose(found[0][name], x, rtol=1e-9)


def test_predictions_and_scores():
    labelled, tensors = both(regression)
    with tensors:
        step = SGLD(batch_size=30, step_size=0.01)
        idata = sample(20, tune=5, chains=2, step=step, random_seed=1, progressbar=False)
    new = {"X": DataArray(X[:7].T, dims=("column", "row")), "y": y[:7]}
    found = predict(idata, new, model=labelled, var_names=["y", "y_mean"], random_seed=1)
    want = predict(
        idata, {"X": X[:7], "y": y[:7]}, model=tensors, var_names=["y", "y_mean"], random_seed=1
    )
    for group in ("predictions", "log_likelihood"):
        for name, x in want[group].items():
            assert found[group][name].dims == x.dims
            np.testing.assert_allclose(found[group][name], x, rtol=1e-6)


def test_functions():
    f, g = (functions(model, batch_size=30) for model in both(regression))
    q = f.ravel({"b": [0.5, -0.5], "s_log__": 0.7})
    np.testing.assert_allclose(f.potential(q), g.potential(q), rtol=1e-6)
    np.testing.assert_allclose(f.gradient(q), g.gradient(q), rtol=1e-5)


def test_new_data():
    """Data are the model's: what is set there is sampled, and a variable more is noticed."""
    labelled, _ = both(regression)
    potential = StochasticPotential(labelled, batch_size=30)
    assert potential.is_current()
    with labelled:
        pm.set_data({"d": -y})
    assert potential.is_current()
    np.testing.assert_array_equal(potential.row_values()[1], -y)
    with labelled:
        more = {"X": np.vstack([X, X]), "d": np.r_[y, y]}
        pm.set_data(more, coords={"row": range(2 * N)})
    assert not potential.is_current()
    assert StochasticPotential(labelled, batch_size=30).n_rows == 2 * N
    with labelled:
        pmd.Normal("another")
    with pytest.raises(ValueError, match="variables changed after this step was made"):
        potential.is_current()
    assert "another" in plain(labelled).named_vars


def several():
    z = pmd.Normal("z", dims="group", initval=[1.0, 2.0, 3.0, 4.0])
    w = pmd.Normal("w", z, dims=("group", "column"))
    pmd.Deterministic("same", w)
    pmd.Deterministic("turned", w.transpose("column", "group"))
    p = pmd.Dirichlet("p", pmd.as_xtensor(np.ones(4), dims="group"), core_dims="group")
    pmd.ZeroSumNormal("zero", core_dims="group", dims="group")
    pmd.Beta("share", 2, 3)
    pmd.Uniform("u", 0, 3)
    pmd.Potential("small", -(w**2).sum("column"))
    mu = pm.Normal("mixed", w.values[0, 0] + p.values[0])
    pmd.Censored("y", pmd.Normal.dist(mu), lower=-1, upper=1, observed=_clipped())


def _clipped():
    return pmd.as_xtensor(y.clip(-1, 1), dims="row")


def test_every_kind_of_variable():
    with pm.Model(coords=ROW) as model:
        several()
    copy = plain(model)
    start, same = model.initial_point(0), copy.initial_point(0)
    assert start.keys() == same.keys()
    for name, x in start.items():
        np.testing.assert_allclose(same[name], x, rtol=1e-12, atol=1e-12)
    point = other_point(model)
    np.testing.assert_allclose(log_density(copy, point), log_density(model, point), rtol=1e-10)
    names = ["same", "turned", "p", "zero"]
    (found, want) = (
        m.compile_fn([m[n].copy() for n in names], inputs=m.basic_RVs, on_unused_input="ignore",
                     point_fn=False, mode="FAST_COMPILE")
        for m in (copy, model)
    )  # fmt: skip
    values = pm.draw(copy.basic_RVs, random_seed=1)
    for a, b in zip(found(*values), want(*values), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_rows_that_do_not_come_first():
    two = np.c_[y, -y]
    x = X[:, 0]

    def write(**dims):
        with pm.Model(coords=ROW) as model:
            mu = pmd.Normal("b", dims="column") * pmd.Data("x", x, dims="row")
            pmd.Normal("y", mu, 1, observed=pmd.Data("d", two, dims=("row", "column")), **dims)
        return model

    with pytest.raises(ValueError, match=r"'y' has the dims \('column', 'row'\).*dims=\('row', "):
        StochasticPotential(write(), batch_size=30)
    assert StochasticPotential(write(dims=("row", ...)), batch_size=30).n_rows == N


class Unknown(Op):
    def make_node(self, x):
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = inputs[0]


def test_what_can_not_be_lowered():
    with pm.Model(coords=ROW) as model:
        b = pmd.Normal("b", dims="row")
        pmd.Normal("y", Unknown()(b), observed=_clipped())
    with pytest.raises(NotImplementedError, match=r"'y' .* operation Unknown.* pm\.Normal\("):
        StochasticPotential(model)
