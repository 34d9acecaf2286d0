"""The estimate of the potential energy and its gradient, and what it refuses."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pymc.distributions.transforms import ordered
from pymc.exceptions import ImputationWarning, SamplingError
from pytensor.gradient import grad_undefined
from pytensor.graph.op import Op
from pytensor.graph.traversal import apply_ancestors
from scipy import stats

from pymc_sgmcmc.engines.jax.devices import Devices
from pymc_sgmcmc.engines.jax.engine import JaxEngine
from pymc_sgmcmc.model.fingerprint import digest
from pymc_sgmcmc.model.potential import StochasticPotential
from tests.reference import assert_close, by_epoch, by_jax, by_pymc, random_point

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")

N = 12
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 2))
y = X @ [1, -1] + rng.normal(size=N)
classes = rng.integers(0, 3, N)
counts = rng.poisson(2, N)


# -- models, one for each kind of transform ------------------------------------------------------


def no_transform():
    b = pm.Normal("b", shape=2)
    pm.Normal("y", pm.Data("X", X) @ b, 1, observed=y)


def log():
    pm.Normal("y", 0, pm.HalfNormal("s"), observed=y)


def interval():
    pm.Bernoulli("y", pm.Uniform("p", 0.1, 0.9), observed=classes > 0)


def simplex():
    pm.Categorical("y", pm.Dirichlet("p", [1, 2, 3]), observed=classes)


def order():
    cuts = pm.Normal("cuts", [-1, 1], 1, shape=2, transform=ordered, initval=[-1, 1])
    pm.OrderedLogistic("y", pm.Data("X", X) @ pm.Normal("b", shape=2), cuts, observed=classes)


def cholesky():
    L, *_ = pm.LKJCholeskyCov("L", n=2, eta=2, sd_dist=pm.HalfNormal.dist(1))
    pm.MvNormal("y", pm.Normal("mu", shape=2), chol=L, observed=X)


def everything():
    """Several variables of different shapes and transforms, the last a scalar."""
    w = pm.Dirichlet("w", [2, 2])
    mu = pm.Normal("mu", [-1, 1], 1, shape=2, transform=ordered, initval=[-1, 1])
    b = pm.Normal("b", shape=(2, 2))
    s = pm.HalfNormal("s")
    tau = pm.Uniform("tau", 0, 2)
    pm.Normal("z", mu @ w, s, observed=y)
    pm.Poisson("c", pt.exp(pm.Data("X", X) @ b @ [0.1, 0.2] * tau), observed=counts)


MODELS = [no_transform, log, interval, simplex, order, cholesky, everything]


def build(body):
    with pm.Model() as model:
        body()
    return model


@pytest.fixture(scope="module")
def linear():
    return build(no_transform)


@pytest.fixture(scope="module")
def mixed():
    """Continuous and discrete variables."""
    with pm.Model() as model:
        b = pm.Normal("b", shape=2)
        k = pm.Poisson("k", 2, shape=3)
        s = pm.HalfNormal("s")
        z = pm.Bernoulli("z", 0.3)
        pm.Normal("y", pm.Data("X", X) @ b + k.sum() * 0.1 + z, s, observed=y)
    return model


# -- values and gradients ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f, marks=pytest.mark.slow) if f.__name__ in ("everything", "order") else f
        for f in MODELS
    ],
    ids=lambda f: f.__name__,
)
def test_value_and_gradient(body):
    """PyMC's own, in both precisions."""
    model = build(body)
    point = random_point(model)
    double = StochasticPotential(model, dtype="float64")
    expected = by_pymc(double, point)
    assert_close(by_jax(double)(point), expected, 1e-9)
    single = StochasticPotential(model, batch_size=4, dtype="float32")
    assert_close(by_jax(single, all_rows=True)(point), expected, 1e-4)


def test_nothing_but_a_prior():
    model = build(lambda: pm.HalfNormal("s", shape=3))
    potential = StochasticPotential(model)
    assert potential.row_values() == []
    assert potential.n_rows is potential.batch_size is None
    point = random_point(model)
    assert_close(by_jax(potential)(point), by_pymc(potential, point), 1e-12)


def test_potential_terms_count_once(linear):
    """Priors, Jacobians and pm.Potential are not scaled by N/B."""

    def body():
        s = pm.HalfNormal("s")
        yd = pm.Data("yd", y)
        pm.Potential("p", -(s**4) * yd.shape[0])
        pm.Normal("y", 0, s, observed=yd)

    model = build(body)
    potential = StochasticPotential(model, batch_size=3)
    point = random_point(model)
    assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-12)


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_batches_are_scaled(linear, batch_size):
    """One batch: the prior, and N/B times the terms of its rows."""
    potential = StochasticPotential(linear, batch_size=batch_size)
    point = random_point(linear)
    batch = np.arange(batch_size)[::-1] * 2
    value, gradient = by_jax(potential)(point, batch)
    residual = y[batch] - X[batch] @ point["b"]
    terms = stats.norm.logpdf(residual).sum() * N / batch_size
    assert value == pytest.approx(-stats.norm.logpdf(point["b"]).sum() - terms)
    np.testing.assert_allclose(
        gradient, point["b"] - N / batch_size * X[batch].T @ residual, rtol=1e-12
    )
    assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-12)


def test_repeated_rows_count_twice(linear):
    """Batches with replacement may hold a row several times."""
    point = random_point(linear)
    evaluate = by_jax(StochasticPotential(linear, batch_size=4))
    twice = np.array([0, 0, 1, 1])
    once = by_jax(StochasticPotential(linear, batch_size=2))(point, np.array([0, 1]))
    assert_close(evaluate(point, twice), once, 1e-12)


@pytest.mark.parametrize("batch_size", [None, N])
def test_all_rows(linear, batch_size):
    potential = StochasticPotential(linear, batch_size=batch_size)
    assert potential.batch_size is None
    point = random_point(linear)
    assert_close(by_jax(potential)(point), by_pymc(potential, point), 1e-12)


def test_more_precise_than_pymc():
    """PyMC takes the square root of a float32 two in this tail; here it is float64."""

    def body():
        b = pm.Normal("b")
        pm.Censored("y", pm.Normal.dist(b, 1), lower=-1, upper=1, observed=y.clip(-1, 1))

    model = build(body)
    b = random_point(model)["b"]
    value, _ = by_jax(StochasticPotential(model))({"b": b})
    terms = np.where(y >= 1, stats.norm.logsf(1, b), stats.norm.logpdf(y, b))
    terms = np.where(y <= -1, stats.norm.logcdf(-1, b), terms)
    assert value == pytest.approx(-terms.sum() - stats.norm.logpdf(b), rel=1e-13)


def test_parameters_split_over_variables():
    """The same density of the same numbers, whatever variables hold them."""

    def together():
        b = pm.Normal("b", shape=3)
        pm.Normal("y", X @ b[:2], pt.exp(b[2]), observed=y)

    def apart():
        log_s, b0, b1 = pm.Normal("log_s"), pm.Normal("b0", shape=(1, 1)), pm.Normal("b1")
        pm.Normal("y", X @ pt.stack([b0[0, 0], b1]), pt.exp(log_s), observed=y)

    batch = np.array([3, 1, 7])
    b = np.array([0.3, -0.2, 0.5])
    value, gradient = by_jax(StochasticPotential(build(together), batch_size=3))({"b": b}, batch)
    point = {"log_s": b[2], "b0": b[:1, None], "b1": b[1]}
    split = by_jax(StochasticPotential(build(apart), batch_size=3))(point, batch)
    assert_close(split, (value, gradient[[2, 0, 1]]), 1e-12)


def test_float32_throughout():
    """No value of the graph is float64, nor are the rows."""
    potential = StochasticPotential(build(everything), batch_size=3, dtype="float32")
    graph = list(potential.value_and_gradient(*potential.inputs()))
    results = [v for node in apply_ancestors(graph) for v in node.outputs]
    assert "float64" not in {getattr(v.type, "dtype", None) for v in results}
    assert {x.dtype.name for x in potential.row_values()} == {"float32", "int64"}


def test_floatX_is_the_default_dtype():
    with pytensor.config.change_flags(floatX="float32"):
        model = build(no_transform)
        potential = StochasticPotential(model, batch_size=3)
        assert potential.dtype == potential.layout[0].dtype == "float32"
        point = random_point(model)
        assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-4)


# -- positions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1|g_sigma", "float32"])
def test_names_that_could_be_those_of_a_dtype(name):
    """Bambi's are of this kind."""
    model = build(lambda: pm.Normal("y", 0, pm.HalfNormal(name), observed=y))
    potential, point = StochasticPotential(model), random_point(model)
    assert_close(by_jax(potential)(point), by_pymc(potential, point), 1e-9)


def test_layout():
    potential = StochasticPotential(build(everything))
    assert [(b.name, b.shape, b.start, b.stop) for b in potential.layout] == [
        ("w_simplex__", (1,), 0, 1),
        ("mu_ordered__", (2,), 1, 3),
        ("b", (2, 2), 3, 7),
        ("s_log__", (), 7, 8),
        ("tau_interval__", (), 8, 9),
    ]
    assert potential.size == 9


@pytest.mark.parametrize("lead", [(), (3,), (2, 5)])
def test_unravel_undoes_ravel(lead):
    model = build(everything)
    potential = StochasticPotential(model, dtype="float32")
    points = [random_point(model, seed) for seed in range(np.prod(lead, dtype=int))]
    positions = np.stack([potential.ravel(p) for p in points]).reshape((*lead, -1))
    assert positions.dtype == "float32"
    for name, values in potential.unravel(positions).items():
        assert values.dtype == "float64"
        expected = np.stack([p[name] for p in points]).reshape(values.shape)
        np.testing.assert_allclose(values, expected, rtol=1e-6)


# -- some of the variables -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vars", "names"),
    [
        (None, ["b", "s_log__"]),
        ("b", ["b"]),
        (["s"], ["s_log__"]),
        (["s", "b"], ["b", "s_log__"]),
    ],
)
def test_subset(mixed, vars, names):
    """The gradient with respect to some variables given the others, discrete ones included."""
    potential = StochasticPotential(mixed, vars, batch_size=3, dtype="float64")
    assert [b.name for b in potential.layout] == names
    others = ["b", "k", "s_log__", "z"]
    assert [v.name for v in potential.others] == [x for x in others if x not in names]
    point = random_point(mixed) | {"k": np.array([1, 5, 2]), "z": np.array(1)}
    assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-9)


def test_vars_as_variables(mixed):
    """Random variables or value variables, alone or in a list."""
    s, s_value = mixed["s"], mixed.rvs_to_values[mixed["s"]]
    for vars in (s, [s], s_value, (s_value,)):
        assert StochasticPotential(mixed, vars).value_vars == (s_value,)


@pytest.mark.parametrize(
    ("vars", "message"),
    [
        (["b", "k"], r"'k' is discrete \(int64\) and has no gradient.*pm\.Metropolis\(\[k\]\)"),
        (["nope"], "vars names 'nope', which is not a free.*Its free variables: 'b', 'k', 's'"),
        (["y"], "vars names 'y', which is not a free random variable"),
        ([], "vars is empty: name at least one variable, or leave vars out"),
    ],
)
def test_vars_refused(mixed, vars, message):
    with pytest.raises(ValueError, match=message):
        StochasticPotential(mixed, vars)


def test_nothing_continuous():
    with pytest.raises(ValueError, match=r"no continuous free variable.*pm\.Metropolis"):
        StochasticPotential(build(lambda: pm.Poisson("k", 1)))


# -- arguments and data that are refused ---------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "error", "message"),
    [
        (0, ValueError, "at least 1, or None for all rows, got 0"),
        (-3, ValueError, "at least 1, or None for all rows, got -3"),
        (13, ValueError, "batch_size=13 exceeds the 12 rows.*Use batch_size=None"),
        (2.0, TypeError, r"batch_size must be an integer of at least 1, .*, got 2\.0"),
        (True, TypeError, "batch_size must be an integer .* or None for all rows, got True"),
        ("3", TypeError, "batch_size must be an integer .* or None for all rows, got '3'"),
    ],
)
def test_batch_size_refused(linear, batch_size, error, message):
    with pytest.raises(error, match=message):
        StochasticPotential(linear, batch_size=batch_size)


def test_batch_size_of_numpy(linear):
    assert StochasticPotential(linear, batch_size=np.int32(3)).batch_size == 3


@pytest.mark.parametrize("dtype", ["float16", "int64", "nonsense", int])
def test_dtype_refused(linear, dtype):
    with pytest.raises(ValueError, match=rf'dtype must be "float32" or "float64", got {dtype!r}'):
        StochasticPotential(linear, dtype=dtype)


def test_no_data():
    model = build(lambda: pm.Normal("x"))
    with pytest.raises(
        ValueError, match=r"batch_size or data was given.*no observed variable.*observed="
    ):
        StochasticPotential(model, batch_size=3)


def test_likelihood_in_a_potential():
    def body():
        mu = pm.Normal("b") * X[:, 0]
        pm.Potential("lik", (np.arange(N) * pm.logp(pm.Normal.dist(mu, 1), y)).sum())

    message = r"(?s)pm.Potential \('lik'\) can't be known.*w \* pm.logp.*CustomDist\(.*observed=y"
    with pytest.raises(ValueError, match=message):
        StochasticPotential(build(body), batch_size=3)


def test_no_rows():
    model = build(lambda: pm.Normal("y", pm.Normal("x"), observed=np.zeros(0)))
    with pytest.raises(ValueError, match=r"have no rows: 'y' .*is empty.*batch_size=None"):
        StochasticPotential(model, batch_size=1)
    assert StochasticPotential(model).batch_size is None


def test_nothing_to_sample():
    model = build(lambda: pm.Normal("x", shape=(0, 2)))
    with pytest.raises(ValueError, match=r"nothing to sample: 'x' has the shape \(0, 2\)"):
        StochasticPotential(model)


class BlackBox(Op):
    """A log-likelihood without a gradient."""

    itypes: ClassVar = [pt.dvector, pt.dvector]
    otypes: ClassVar = [pt.dvector]

    def perform(self, node, inputs, outputs):
        outputs[0][0] = -((inputs[0] - inputs[1]) ** 2)


class Undefined(BlackBox):
    def pullback(self, inputs, outputs, cotangents):
        return [grad_undefined(self, i, x) for i, x in enumerate(inputs)]


def black_box(op):
    def logp(value, b):
        return op(b + pt.zeros_like(value), value)

    return build(lambda: pm.CustomDist("lik", pm.Normal("b"), logp=logp, observed=y))


@pytest.mark.parametrize("batch_size", [None, 3])
def test_no_gradient(batch_size):
    message = r"'lik' has no gradient.*BlackBox.*pm\.Slice, pm\.DEMetropolisZ"
    with pytest.raises(NotImplementedError, match=message):
        StochasticPotential(black_box(BlackBox()), batch_size=batch_size)


def test_a_gradient_that_is_undefined():
    """An operation that has the method: found out where the gradient is asked for."""
    potential = StochasticPotential(black_box(Undefined()))
    with pytest.raises(NotImplementedError, match="'lik' has no gradient"):
        potential.value_and_gradient(*potential.inputs())


def test_scalar_data():
    model = build(lambda: pm.Normal("y", pm.Normal("x"), observed=1.0))
    with pytest.raises(ValueError, match=r"have no rows \(they are scalars\).*batch_size=None"):
        StochasticPotential(model, batch_size=3)
    assert StochasticPotential(model).batch_size is None


@pytest.mark.parametrize("n", [N, 50])
@pytest.mark.parametrize("missing", [np.nan, np.ma.masked], ids=["nan", "masked"])
def test_imputed_observations(missing, n):
    data = np.ma.array(np.resize(y, n))
    data[2] = missing
    observed = data if missing is np.ma.masked else np.asarray(data)
    with pytest.warns(ImputationWarning):
        model = build(lambda: pm.Normal("y", pm.Normal("x"), observed=observed))
    with pytest.raises(ValueError, match=r"'y' has missing values.*batch_size=None"):
        StochasticPotential(model, batch_size=3)
    potential = StochasticPotential(model)
    point = random_point(model)
    assert_close(by_jax(potential)(point), by_pymc(potential, point), 1e-12)


@pytest.mark.parametrize("plain", [False, True])
def test_potential_of_row_data(plain):
    def body():
        Xd, b = X if plain else pm.Data("X", X), pm.Normal("b", shape=2)
        pm.Normal("y", Xd @ b, observed=y)
        pm.Potential("penalty", -((Xd @ b) ** 2).sum())

    model = build(body)
    with pytest.raises(ValueError, match=r"pm.Potential 'penalty'.*row data.*pm.CustomDist"):
        StochasticPotential(model, batch_size=3)
    for batch_size in (None, N):
        potential = StochasticPotential(model, batch_size=batch_size)
        point = random_point(model)
        assert_close(by_jax(potential)(point), by_pymc(potential, point), 1e-12)


def test_initial_point_not_finite():
    def body():
        b = pm.Normal("b", initval=np.inf)
        pm.Exponential("y", pm.HalfNormal("s"), observed=y)
        pm.Potential("p", pt.log(-1.0 - b))

    message = "'b' contributes -inf, 'y' contributes -inf, 'p' contributes nan.*initval="
    for batch_size in (None, 3):
        with pytest.raises(SamplingError, match=message):
            StochasticPotential(build(body), batch_size=batch_size)


@pytest.mark.parametrize("value", [-1.0, np.inf])
def test_one_bad_row_in_many(value):
    """Of many rows the checks see some, those with the extreme values among them."""
    data = np.random.default_rng(0).exponential(size=100_000)
    data[77_777] = value
    model = build(lambda: pm.Exponential("y", pm.HalfNormal("s"), observed=pm.Data("d", data)))
    with pytest.raises(SamplingError, match="'y' contributes -inf"):
        StochasticPotential(model, batch_size=100)


@pytest.mark.parametrize("n", [N, 100_000])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_the_entry_that_is_not_finite(n, batch_size):
    bad, out, upper = rng.normal(size=(n, 2)), np.ones(n), np.full(n, np.inf)
    bad[n - 3, 1], out[n - 3] = np.nan, -1

    def predictor():
        pm.Normal("y", bad @ pm.Normal("b", shape=2), observed=np.zeros(n))

    def support():
        dist = pm.Weibull.dist(pm.HalfNormal("s"), 1)
        pm.Censored("y", dist, lower=None, upper=pm.Data("upper", upper), observed=out)

    def prior():
        pm.Normal("b", pm.Data("m", [0, np.inf]), shape=2)
        pm.Normal("y", 0, 1, observed=np.zeros(n))

    upper[n - 3] = 10
    for body, message in [
        (predictor, rf"An array of shape \({n}, 2\) is nan in row {n - 3}, column 1"),
        (support, rf"'y' contributes -inf\. 'y' is -1\.0 in row {n - 3}\. Check"),
        (prior, "'b' contributes nan. 'm' is inf in row 1"),
    ]:
        with pytest.raises(SamplingError, match=message):
            StochasticPotential(build(body), batch_size=batch_size)


@pytest.mark.parametrize("n", [N, 100_000])
def test_index_out_of_range(n):
    """JAX would clamp it, Numba read past the end of the table."""
    groups = np.arange(n) % 4
    groups[n // 2] = 4

    def body():
        mu = pm.Normal("a", shape=4)[pm.Data("group", groups)]
        pm.Normal("y", mu, observed=np.zeros(n))

    message = r"'y' takes an entry that does not exist \(index 4 .* size 4\).*group \(\d+,\)"
    with pytest.raises(ValueError, match=message):
        StochasticPotential(build(body), batch_size=3)


def test_integers_that_pm_data_wraps():
    """Of nanoseconds since 1970 it keeps the last 32 bits."""
    times = 1_600_000_000_000_000_000 + 10**15 * np.arange(N)

    def body(t):
        pm.Normal("y", pm.Normal("b") * pm.Data("t", t), observed=y)

    with pytest.warns(UserWarning, match="'t' holds integers from -.*beyond 2.*int32") as given:
        StochasticPotential(build(lambda: body(times)), batch_size=3)
    assert given[0].filename == __file__
    # None for those that fit, and for floats.
    for t in (np.arange(N) - 2**30, times.astype(float)):
        StochasticPotential(build(lambda t=t: body(t)), batch_size=3)


# -- a model that changes ------------------------------------------------------------------------


@pytest.fixture
def changing():
    with pm.Model(coords={"row": range(N), "column": ["a", "b"]}) as model:
        Xd = pm.Data("X", X, dims=("row", "column"))
        group = pm.Data("group", np.arange(N) % 3)
        scale = pm.Data("scale", 2.0)
        table = pm.Data("table", [1.0, 2.0, 3.0])
        b = pm.Normal("b", 0, scale, shape=2)
        yd = pm.Data("yd", y, dims="row")
        pm.Normal("y", Xd @ b + table[group], 1, observed=yd, dims="row")
    return model


def set_data(model, **data):
    with model:
        pm.set_data(data)


def test_current_with_new_rows(changing):
    """New numbers in the same rows are read anew, and enter the estimate."""
    potential = StochasticPotential(changing, batch_size=4)
    assert potential.is_current()
    set_data(changing, X=2 * X, yd=-y, group=np.arange(N)[::-1] % 3)
    assert potential.is_current()
    for new in (2 * X, -y):
        assert any(np.array_equal(new, x) for x in potential.row_values())
    point = random_point(changing)
    assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-12)


def test_not_current(changing):
    potential = StochasticPotential(changing, batch_size=4)
    for name, new in {"scale": 3.0, "table": np.zeros(3), "group": np.arange(N) % 4}.items():
        old = changing[name].get_value()
        set_data(changing, **{name: new})
        assert not potential.is_current(), name
        set_data(changing, **{name: old})
        assert potential.is_current()


def test_not_current_with_other_rows(changing):
    """More rows: the potential must be built anew, and is right then."""
    potential = StochasticPotential(changing, batch_size=4)
    with changing:
        new = {"X": np.tile(X, (2, 1)), "group": np.arange(2 * N) % 3, "yd": np.tile(y, 2)}
        pm.set_data(new, coords={"row": range(2 * N)})
    assert not potential.is_current()
    potential = StochasticPotential(changing, batch_size=4)
    assert potential.n_rows == 2 * N
    point = random_point(changing)
    assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-12)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_not_current_where_rows_feed_a_prior(batch_size):
    """The value that a prior took is a constant of the estimate."""

    def body():
        Xd = pm.Data("X", np.tile(X, (4, 1)))
        b = pm.Normal("b", Xd.mean(0), 1, shape=2)
        pm.Normal("y", Xd @ b, observed=pm.Data("yd", np.tile(y, 4)))

    model = build(body)
    potential = StochasticPotential(model, batch_size=batch_size)
    point = random_point(model)
    assert by_jax(potential, all_rows=True)(point)[0] == pytest.approx(by_pymc(potential, point)[0])
    set_data(model, yd=np.zeros(4 * N))
    assert potential.is_current()
    set_data(model, X=np.zeros((4 * N, 2)))
    assert not potential.is_current()


@pytest.mark.parametrize("plain", [False, True])
def test_data_changed_in_place(plain):
    """Those that are no rows become constants of the estimate; rows are read anew."""
    scale, rows = np.ones(2), X.copy()

    def body():
        b = pm.Normal("b", 0, scale if plain else pm.Data("scale", scale), shape=2)
        pm.Normal("y", rows @ b, observed=y)

    model = build(body)
    potential = StochasticPotential(model, batch_size=3)
    rows[:] = 2 * X
    assert potential.is_current()
    assert any(np.array_equal(2 * X, x) for x in potential.row_values())
    held = scale if plain else model["scale"].get_value(borrow=True)
    held[:] = 10
    assert not potential.is_current()


@pytest.mark.parametrize("batch_size", [None, 3])
def test_new_rows_are_checked(batch_size):
    """As those were that the potential was made with, and only when they changed."""
    data = np.random.default_rng(0).exponential(size=5_000)

    def body():
        pm.Exponential("y", pm.HalfNormal("s"), observed=pm.Data("d", data))

    model = build(body)
    potential = StochasticPotential(model, batch_size=batch_size)
    bad = data.copy()
    bad[4_321] = -1
    set_data(model, d=bad)
    with pytest.raises(SamplingError, match="'y' contributes -inf"):
        potential.is_current()
    set_data(model, d=2 * data)
    assert potential.is_current()


def test_new_rows_with_missing_values(changing):
    potential = StochasticPotential(changing, batch_size=4)
    missing = X.copy()
    missing[7, 1] = np.nan
    set_data(changing, X=missing)
    for look in (potential.is_current, lambda: StochasticPotential(changing, batch_size=4)):
        with pytest.raises(ValueError, match="'X' is missing in row 7, column 1"):
            look()
    set_data(changing, X=X)
    assert potential.is_current()


def test_rows_that_did_not_change_are_not_checked(changing, monkeypatch):
    potential = StochasticPotential(changing, batch_size=4)
    monkeypatch.setattr("pymc_sgmcmc.model.checks.initial_point_is_finite", pytest.fail)
    set_data(changing, X=X.copy())
    assert potential.is_current()


def test_digest_of_arrays():
    """One entry, dtype or shape that differs is told, whatever the layout in memory."""
    x = np.arange(24.0).reshape(4, 6)
    assert digest([x, y]) == digest([x.copy(), y.copy()])
    for layout in (x[::2], x[:, ::2], x.T[::3]):
        other = layout.copy()
        assert digest([layout]) == digest([other])
        other.flat[-1] += 1
        assert digest([layout]) != digest([other])
    other = [x.astype("float32"), x.reshape(6, 4), x[::-1], x.astype("int64"), x[:0]]
    assert len({digest([a]) for a in [x, *other]}) == 6


def test_edited_model():
    model = build(no_transform)
    potential = StochasticPotential(model, batch_size=3)
    with model:
        pm.Deterministic("d", model["b"] * 2)
    assert potential.is_current()
    with model:
        pm.Normal("new")
    with pytest.raises(ValueError, match=r"variables changed after this step.*Make a new step"):
        potential.is_current()


# -- the batches that the engine draws -----------------------------------------------------------


def draw_batches(n, batch_size, count):
    """Row numbers ``(count, B)`` of as many batches."""
    engine = object.__new__(JaxEngine)
    rows = np.arange(n)
    engine.batch_size, engine._host_rows, engine._devices = batch_size, [rows], Devices("chains")
    engine._in_strata = engine._in_blocks = False
    seed = jnp.asarray([1, 2], jnp.uint32)

    def batch(number):
        return engine._batch(seed, number, [rows, 2 * rows])

    batches, twice = jax.jit(jax.vmap(batch))(jnp.arange(count, dtype=jnp.uint32))
    assert (2 * batches == twice).all()
    return np.asarray(batches)


@pytest.mark.parametrize(("n", "batch_size"), [(40, 3), (40, 4), (40, 39), (7, 1)])
def test_rows_are_drawn_equally_often(n, batch_size):
    batches = draw_batches(n, batch_size, count=5000)
    assert batches.shape == (5000, batch_size)
    frequencies = np.bincount(batches.ravel(), minlength=n)
    if batch_size < n / 10:
        assert stats.chisquare(frequencies).pvalue > 1e-3
    else:
        # Each row is in a batch with probability B/N, and never twice.
        assert all(len(set(batch)) == batch_size for batch in batches.tolist())
        p = batch_size / n
        z = (frequencies - 5000 * p) / np.sqrt(5000 * p * (1 - p))
        # z sums to zero; its squares sum to chi-square with n - 1 degrees of freedom.
        assert 1e-3 < stats.chi2.sf((z**2).sum() * (n - 1) / n, n - 1) < 0.999


def test_small_batches_are_drawn_with_replacement():
    """The probability that all rows of a batch differ is that of independent draws."""
    n, size, count = 400, 30, 4000
    batches = draw_batches(n, size, count)
    distinct = sum(len(set(batch)) == size for batch in batches.tolist())
    p = np.prod(1 - np.arange(size) / n)
    assert stats.binomtest(distinct, count, p).pvalue > 1e-3


def test_all_rows_are_not_drawn():
    engine = object.__new__(JaxEngine)
    engine.batch_size = None
    rows = [np.arange(5)]
    assert engine._batch(None, 0, rows) is rows
