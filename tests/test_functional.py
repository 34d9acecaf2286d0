"""A model as functions of JAX: right, friendly to JAX, and enough to sample with."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import diagnose, functions
from tests.moments import assert_moments

N, B = 400, 40
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 3))
y = X @ [1.0, -1.0, 0.5] + rng.normal(size=N)
group = rng.integers(0, 4, N)


def regression():
    """Its posterior is normal."""
    b = pm.Normal("b", 0, 1, dims="column")
    pm.Normal("y", pm.Data("X", X, dims=("row", "column")) @ b, 1, observed=y, dims="row")


def logistic():
    b = pm.Normal("b", 0, 1, dims="column")
    logit = pm.Data("X", X, dims=("row", "column")) @ b
    pm.Bernoulli("y", logit_p=logit, observed=y > 0, dims="row")


def hierarchical():
    """Transforms, integers among the rows, an observation without rows, a potential."""
    s = pm.HalfNormal("s", 1)
    a = pm.Normal("a", 0, s, shape=4)
    pm.Normal("y", a[pm.Data("group", group)], pm.Exponential("noise", 1), observed=y)
    pm.Normal("elsewhere", s, 1, observed=0.7)
    pm.Potential("soft", -(a.sum() ** 2))


MODELS = {"regression": regression, "logistic": logistic, "hierarchical": hierarchical}


def build(name):
    with pm.Model(coords={"column": list("abc"), "row": range(N)}) as model:
        MODELS[name]()
    return model


MOSTLY_SLOW = ["hierarchical", *(pytest.param(k, marks=pytest.mark.slow) for k in list(MODELS)[:2])]


@pytest.fixture(scope="module", params=MOSTLY_SLOW)
def case(request):
    model = build(request.param)
    return model, functions(model, batch_size=B)


@pytest.fixture(scope="module")
def of_regression():
    model = build("regression")
    return model, functions(model, batch_size=B)


def some_position(f, seed=1):
    return f.initial + jnp.asarray(np.random.default_rng(seed).normal(0, 0.5, f.size))


# -- values ----------------------------------------------------------------------------------------


def test_gradients_are_those_of_pymc(case):
    model, f = case
    value, slope = (
        model.compile_fn(graph, mode="FAST_COMPILE") for graph in (model.logp(), model.dlogp())
    )
    for seed in range(3):
        q = some_position(f, seed)
        point = {name: np.asarray(x) for name, x in f.unravel(q).items()}
        np.testing.assert_allclose(f.potential(q), -value(point), rtol=1e-9)
        np.testing.assert_allclose(f.gradient(q), -slope(point), rtol=1e-9, atol=1e-9)


def test_the_posterior_is_prior_times_likelihood(case):
    _, f = case
    q, some = some_position(f), jnp.array([3, 1, 3])
    rows = f.log_likelihood(q)
    assert rows.shape == (N,)
    np.testing.assert_allclose(-f.prior(q) - rows.sum(), f.potential(q), rtol=1e-10)
    np.testing.assert_allclose(f.log_likelihood(q, some), rows[some], rtol=1e-10)
    estimate = -f.prior(q) - N / 3 * rows[some].sum()
    np.testing.assert_allclose(f.potential(q, some), estimate, rtol=1e-10)


def test_minibatch_gradients_are_unbiased(case):
    """The average over many batches, to five standard errors in every parameter."""
    _, f = case
    q = some_position(f)
    keys = jax.random.split(jax.random.key(0), 4000)
    gradients = np.asarray(jax.vmap(f.minibatch_gradient, (None, 0))(q, keys))
    error = gradients.std(0) / np.sqrt(len(keys))
    assert (np.abs(gradients.mean(0) - f.gradient(q)) < 5 * error + 1e-9).all()
    assert (error > 0).any()


@pytest.mark.slow
def test_products_are_those_of_the_hessian(case):
    _, f = case
    q, v = some_position(f), some_position(f, 2)
    hessian = jax.hessian(f.potential)(q)
    np.testing.assert_allclose(f.hessian_product(q, v), hessian @ v, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("size", [pytest.param(B, marks=pytest.mark.slow), 100])
def test_batches_are_rows(of_regression, size):
    """With replacement below a tenth of all, without above; all rows come."""
    f = functions(of_regression[0], batch_size=size)
    batches = np.asarray(jax.vmap(f.batch)(jax.random.split(jax.random.key(1), 500)))
    assert batches.shape == (500, size)
    assert set(batches.ravel()) == set(range(N))
    repeats = [len(set(batch)) < size for batch in batches]
    assert not any(repeats) if size > N / 10 else np.mean(repeats) >= 0


def test_all_rows_where_there_is_no_batch():
    model = build("logistic")
    f = functions(model)
    q = some_position(f)
    assert f.batch(jax.random.key(0)) is None
    np.testing.assert_array_equal(f.minibatch_gradient(q, jax.random.key(0)), f.gradient(q))
    np.testing.assert_allclose(f.potential(q), functions(model, batch_size=B).potential(q))
    with pytest.raises(ValueError, match="Give batch_size"):
        f.log_likelihood(q)
    with pytest.raises(ValueError, match="Give batch_size"):
        f.gradient(q, jnp.arange(3))


def test_a_model_without_data():
    with pm.Model() as model:
        pm.Normal("x", 1, 2, shape=3)
    f = functions(model)
    q = jnp.array([0.0, 1.0, 3.0])
    np.testing.assert_allclose(f.gradient(q), (q - 1) / 4)
    np.testing.assert_allclose(f.prior(q), -f.potential(q))


def test_single_precision():
    f = functions(build("regression"), batch_size=B, dtype="float32")
    q = some_position(f).astype(jnp.float32)
    exact = functions(build("regression")).gradient(q.astype(float))
    assert f.initial.dtype == f.gradient(q).dtype == f.log_likelihood(q).dtype == jnp.float32
    np.testing.assert_allclose(f.gradient(q), exact, rtol=1e-3)


# -- positions, names ------------------------------------------------------------------------------


def test_positions_there_and_back(case):
    model, f = case
    assert f.names == tuple(v.name for v in model.value_vars)
    points = f.unravel(jnp.stack([some_position(f, seed) for seed in range(5)]))
    assert {name: x.shape[1:] for name, x in points.items()} == f.shapes
    np.testing.assert_array_equal(jax.vmap(f.ravel)(points)[2], some_position(f, 2))
    start = model.initial_point()
    np.testing.assert_allclose(f.initial, f.ravel(start))


def test_names_of_dimensions(of_regression):
    _, f = of_regression
    assert f.dims["b"] == ("column",)
    assert f.coords["column"] == ("a", "b", "c")
    assert (f.size, f.n_rows, f.batch_size, f.dtype) == (3, N, B, "float64")


# -- JAX -------------------------------------------------------------------------------------------


def test_functions_pass_through_jax(of_regression):
    """As an argument of a jitted function: the rows are no constants of its code."""
    _, f = of_regression
    q, keys = some_position(f), jax.random.split(jax.random.key(2), 3)

    @jax.jit
    def descend(f, q, keys):
        def update(q, key):
            q = q - 1e-4 * f.minibatch_gradient(q, key)
            return q, f.potential(q)

        return jax.lax.scan(update, q, keys)

    last, path = descend(f, q, keys)
    for key in keys:
        q = q - 1e-4 * f.minibatch_gradient(q, key)
    np.testing.assert_allclose(last, q, rtol=1e-12)
    np.testing.assert_allclose(path[-1], f.potential(q), rtol=1e-12)
    text = descend.lower(f, q, keys).as_text()
    assert f"tensor<{N}x3xf64>" in text.split("{", 2)[2][:2000]  # an argument of main
    assert "dense<" not in text or len(text) < 100_000


def test_rows_are_those_of_the_data_given(of_regression):
    """Leaves of the pytree: other rows of the same shape need no other functions."""
    _, f = of_regression
    halved = jax.tree.map(lambda x: x / 2, f)
    q = some_position(f)
    expected = f.potential(q) * 0 + 0.5 * np.sum((y / 2 - X / 2 @ q) ** 2)
    expected += 0.5 * np.sum(q**2) + 0.5 * (N + 3) * np.log(2 * np.pi)
    np.testing.assert_allclose(halved.potential(q), expected)


# -- errors ----------------------------------------------------------------------------------------


def test_what_is_refused(of_regression):
    _, f = of_regression
    with pytest.raises(ValueError, match="no 'b'"):
        f.ravel({"c": 1.0})
    with pytest.raises(TypeError, match="vector of integers below 400"):
        f.gradient(f.initial, jnp.array([0.5]))
    with pytest.raises(ValueError, match=r"shape \(chains, draws, 3\), got \(5, 3\)"):
        f.to_datatree(np.zeros((5, 3)), step_size=0.1)
    with pytest.raises(ValueError, match="'heat' must have the shape"):
        f.to_datatree(np.zeros((2, 5, 3)), step_size=0.1, sample_stats={"heat": np.zeros(5)})
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.5)
        pm.Normal("x", z, 1)
    with pytest.raises(ValueError, match="'z' is not"):
        functions(model)


# -- samplers --------------------------------------------------------------------------------------


def covariance():
    return np.linalg.inv(X.T @ X + np.eye(3))


def langevin(f, key, draws, thin, wrong):
    """BAOAB in ten lines, or B-O-A, whose friction slows the kick as well: (positions, momenta)."""
    h, a = 0.005, 0.5

    def update(state, key):
        q, p = state
        of_batch, of_noise = jax.random.split(key)
        p = p - h * f.minibatch_gradient(q, of_batch)
        q = q if wrong else q + h / 2 * p
        p = a * p + jnp.sqrt(1 - a**2) * jax.random.normal(of_noise, q.shape)
        return (q + (h if wrong else h / 2) * p, p), None

    def draw(state, key):
        state, _ = jax.lax.scan(update, state, jax.random.split(key, thin))
        return state, state

    start = f.initial, jnp.zeros(f.size)
    return jax.lax.scan(draw, start, jax.random.split(key, draws))[1]


@pytest.mark.parametrize("wrong", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_sampler_of_ones_own_and_its_diagnosis(of_regression, wrong):
    """Right, and said to be; wrong by a factor of 1.5, which `diagnose` sees in the gradients."""
    f = functions(of_regression[0], batch_size=200)
    run = jax.jit(jax.vmap(langevin, (None, 0, None, None, None)), static_argnums=(2, 3, 4))
    q, p = run(f, jax.random.split(jax.random.key(0), 8), 450, 40, wrong)
    q, heat = q[:, 100:], jnp.square(p[:, 100:]).mean(-1)
    idata = f.to_datatree(
        q, step_size=0.005, steps_per_draw=40, sample_stats={"kinetic_temperature": heat}
    )
    found = diagnose(idata)
    if wrong:
        (problem,) = [finding for finding in found.findings if finding.problem]
        assert problem.check == "configurational temperature"
        assert "instead of 1" in problem.message
        return
    assert found.trustworthy, found
    assert idata.posterior["b"].dims == ("chain", "draw", "column")
    assert idata.posterior.attrs["sampler"] == "own"
    assert_moments(idata.posterior["b"].values, covariance() @ X.T @ y, covariance())


@pytest.mark.slow
def test_draws_are_in_the_models_own_space():
    f = functions(build("hierarchical"), batch_size=B)
    positions = np.stack([[some_position(f, 2 * c + d) for d in range(2)] for c in range(2)])
    idata = f.to_datatree(positions, step_size=0.1)
    log_s = f.unravel(positions)["s_log__"]
    np.testing.assert_allclose(idata.posterior["s"], np.exp(log_s))
    statistic = idata.sample_stats["potential_energy"].values
    assert statistic.shape == (2, 2)
    assert set(idata.children) >= {"posterior", "sample_stats", "observed_data", "constant_data"}


def test_blackjax_sgld(case):
    """In three lines: its gradient is that of the log posterior, its step size h²/2."""
    _, f = case
    sgld = blackjax.sgld(lambda q, key: -f.minibatch_gradient(q, key))
    keys = jax.random.split(jax.random.key(3), 20)
    ours, theirs, h = f.initial, sgld.init(f.initial), 0.01
    step = jax.jit(sgld.step)
    for key in keys:
        theirs = step(key, theirs, key, h**2 / 2)
        noise = blackjax.util.generate_gaussian_noise(key, ours)
        ours = ours - h**2 / 2 * f.minibatch_gradient(ours, key) + h * noise
    np.testing.assert_allclose(theirs, ours, rtol=1e-9)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.slow
def test_blackjax_nuts(name):
    """In three lines; the moments are PyMC's own NUTS's, or the exact ones."""
    model = build(name)
    f = functions(model)
    warmup = blackjax.window_adaptation(blackjax.nuts, lambda q: -f.potential(q))

    @jax.jit
    def chain(key):
        (state, found), _ = warmup.run(key, f.initial, num_steps=300)
        step = blackjax.nuts(lambda q: -f.potential(q), **found).step

        def draw(state, key):
            state, _ = step(key, state)
            return state, state.position

        return jax.lax.scan(draw, state, jax.random.split(key, 500))[1]

    draws = np.asarray(jax.lax.map(chain, jax.random.split(jax.random.key(4), 4)))
    if name == "regression":
        assert_moments(draws, covariance() @ X.T @ y, covariance())
        return
    with model:
        reference = pm.sample(1000, chains=4, random_seed=1, progressbar=False, cores=1)
    idata = f.to_datatree(draws, step_size=1.0)
    for v in model.free_RVs:
        a, b = idata.posterior[v.name], reference.posterior[v.name]
        error = np.hypot(*(x.std(("chain", "draw")) for x in (a, b))) / np.sqrt(400)
        gap = np.abs(a.mean(("chain", "draw")) - b.mean(("chain", "draw")))
        assert (gap < 5 * error).all()
