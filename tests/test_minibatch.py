"""Finding the rows of a model's data, in every shape that data come in."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pymc.model.transform.optimization import freeze_dims_and_data, freeze_model
from pytensor.sparse import as_sparse_variable, structured_dot
from scipy.sparse import csr_matrix

from pymc_sgmcmc.model.potential import StochasticPotential
from tests.reference import assert_close, by_epoch, by_jax, by_pymc, random_point

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")

N = 12
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 3))
y = X @ [1, -1, 2] + rng.normal(size=N)
Y = rng.normal(size=(N, 2))
sequences = rng.normal(size=(N, 5, 2))
positive = np.exp(y / 3)
classes = rng.integers(0, 3, N)
counts = rng.multinomial(10, [0.2, 0.3, 0.5], size=N)
group = np.arange(N) % 4
integers = rng.integers(0, 5, (N, 3))
COORDS = {"row": range(N), "feature": ["a", "b", "c"], "group": range(4)}


def build(body):
    with pm.Model(coords=COORDS) as model:
        body()
    return model


def weights(shape=3, name="b"):
    return pm.Normal(name, shape=shape)


# -- layouts that work ---------------------------------------------------------------------------

# Row data in pm.Data or not.


def data_and_data():
    pm.Normal("y", pm.Data("X", X) @ weights(), 1, observed=pm.Data("yd", y))


def data_and_plain():
    pm.Normal("y", pm.Data("X", X) @ weights(), 1, observed=y)


def plain_and_data():
    pm.Normal("y", X @ weights(), 1, observed=pm.Data("yd", y))


def plain_and_plain():
    pm.Normal("y", X @ weights(), 1, observed=y)


def no_predictor():
    pm.Normal("y", pm.Normal("mu"), 1, shape=N, observed=y)


def integer_data():
    pm.Normal("y", pm.Data("X", integers) @ weights(), 1, observed=pm.Data("yd", classes))


def used_twice():
    Xd, b = pm.Data("X", X), weights()
    pm.Normal("y", Xd @ b + Xd**2 @ b, 1, observed=y)


def plain_twice():
    b = weights()
    pm.Normal("y", X @ b + pt.tanh(X @ b**2), 1, observed=y)


def observed_expression():
    pm.Normal("y", pm.Normal("mu"), 1, observed=pm.Data("yd", y) * 2 + 1)


# What models do with rows.


def rows_last():
    pm.Normal("y", weights() @ pm.Data("X", X).T, 1, observed=y)


def intercept():
    Xd = pm.Data("X", X)
    design = pt.concatenate([pt.ones((Xd.shape[0], 1)), Xd], axis=1)
    pm.Normal("y", design @ weights(4), 1, observed=y)


def masks():
    Xd, keep = pm.Data("X", X), pm.Data("keep", X[:, 0] > 0)
    pm.Normal("y", pm.math.switch(keep, Xd @ weights(), pm.Normal("a")), 1, observed=y)


def dot():
    pm.Normal("y", pm.math.dot(pm.Data("X", X), weights()), 1, observed=y)


def einsum():
    pm.Normal("y", pt.einsum("ij,j->i", pm.Data("X", X), weights()), 1, observed=y)


def network():
    hidden = pm.math.tanh(pm.Data("X", X) @ weights((3, 4), "w"))
    p = pm.math.softmax(hidden @ weights((4, 3), "v"), axis=-1)
    pm.Categorical("y", p, observed=pm.Data("yd", classes))


def recurrent_network():
    Xd, w = pm.Data("X", sequences), weights((2, 3))
    states = pytensor.scan(
        lambda x, state, w: pt.tanh(x @ w + state),
        sequences=[Xd.transpose(1, 0, 2)],
        outputs_info=[pt.zeros((Xd.shape[0], 3))],
        non_sequences=[w],
        return_updates=False,
    )
    pm.Normal("y", states[-1].sum(1), 1, observed=y)


def weighted_rows():
    weight = pm.Data("weight", positive)
    b = weights()

    def logp(value, mu, weight):
        return weight * pm.logp(pm.Normal.dist(mu, 1), value)

    pm.CustomDist("y", pm.Data("X", X) @ b, weight, logp=logp, observed=y)


# Groups.


def groups():
    a = pm.Normal("a", pm.Normal("mu"), pm.HalfNormal("s"), dims="group")
    pm.Normal("y", a[pm.Data("g", group)], 1, observed=y)


def plain_groups():
    z, s = pm.Normal("z", dims="group"), pm.HalfNormal("s")
    pm.Normal("y", (z * s)[group] + X @ weights(), 1, observed=y)


def group_table():
    u, a = pm.Data("u", rng.normal(size=4)), pm.Normal("a", dims="group")
    pm.Normal("y", (a * u)[pm.Data("g", group)], 1, observed=y)


# Names of dimensions.


def dims():
    Xd = pm.Data("X", X, dims=("row", "feature"))
    mu = pm.Deterministic("mu", Xd @ pm.Normal("b", dims="feature"), dims="row")
    pm.Normal("y", mu, 1, observed=pm.Data("yd", y, dims="row"), dims="row")


def dims_of_components():
    w, mu = pm.Dirichlet("w", [1, 1]), X @ weights()
    components = [pm.Normal.dist(mu, 1), pm.StudentT.dist(3, mu=mu, sigma=2)]
    pm.Mixture("y", w, components, observed=y, dims="row")


def dims_of_custom_distribution():
    def dist(mu, size):
        return 2 * pm.Normal.dist(mu, 1, size=size)

    pm.CustomDist("y", pm.Normal("mu"), dist=dist, observed=y, dims="row")


# Likelihoods.


def columns():
    pm.Normal("y", pm.Data("X", X) @ weights((3, 2)), 1, observed=Y)


def multivariate_normal():
    cov = np.array([[1, 0.3], [0.3, 2]])
    pm.MvNormal("y", pm.Data("X", X) @ weights((3, 2)), cov=cov, observed=Y)


def multinomial():
    p = pm.math.softmax(pm.Data("X", X) @ weights((3, 3)), axis=-1)
    pm.Multinomial("y", n=10.0, p=p, observed=counts)


def categorical():
    pm.Categorical("y", logit_p=X @ weights((3, 3)), observed=classes)


def zero_inflated():
    mu = pt.exp(pm.Data("X", X) @ weights())
    pm.ZeroInflatedPoisson("y", pm.Beta("p", 1, 1), mu, observed=classes)


def truncated():
    pm.Truncated("y", pm.Normal.dist(X @ weights(), 1), lower=-20, observed=y)


def censored():
    b = pm.Data("X", X) @ weights()
    pm.Censored("y", pm.Normal.dist(b, 1), lower=-1, upper=1, observed=y.clip(-1, 1))


def total_size():
    """On a model of all rows it says what is known already."""
    pm.Normal("y", pm.Data("X", X) @ weights(), 1, observed=y, total_size=N)


def total_size_of_more():
    """All rows stand for more rows, in batches as well."""
    pm.Normal("y", pm.Data("X", X) @ weights(), 1, observed=y, total_size=5 * N)


# Several observed variables.


def equal_lengths():
    mu = pm.Data("X", X) @ weights()
    pm.Normal("y", mu, 1, observed=y)
    pm.Poisson("c", pt.exp(mu), observed=classes)


def shorter_in_full():
    b = weights()
    pm.Normal("y", pm.Data("X", X) @ b, 1, observed=y)
    pm.Normal("z", b.sum(), 1, observed=pm.Data("zd", y[:7]))


LAYOUTS = [
    data_and_data, data_and_plain, plain_and_data, plain_and_plain, no_predictor, integer_data,
    used_twice, plain_twice, observed_expression, rows_last, intercept, masks, dot, einsum,
    network, recurrent_network, weighted_rows, groups, plain_groups, group_table, dims,
    dims_of_components, dims_of_custom_distribution, columns, multivariate_normal, multinomial,
    categorical, zero_inflated, truncated, censored, total_size, total_size_of_more,
    equal_lengths, shorter_in_full,
]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f, marks=pytest.mark.slow)
        if f.__name__ in ("zero_inflated", "dims_of_components", "truncated")
        else f
        for f in LAYOUTS
    ],
    ids=lambda f: f.__name__,
)
def test_mean_over_an_epoch_is_the_model(body):
    """Batches of each row once: their mean is the whole model's potential and gradient."""
    model = build(body)
    potential = StochasticPotential(model, batch_size=4)
    assert (potential.n_rows, potential.batch_size) == (N, 4)
    assert all(len(x) == N for x in potential.row_values())
    point = random_point(model)
    exact = 1e-10 if body not in (truncated, censored) else 1e-7  # PyMC: see reference.py
    assert_close(by_epoch(potential, point), by_pymc(potential, point), exact)


def sources(model, **kwargs):
    rows = StochasticPotential(model, **kwargs).rows
    return sorted(str(v.name) for v in rows.sources)


def test_the_same_array_is_taken_once():
    """Plain arrays enter a model's graph once for each use; equal ones share a gather."""
    assert sources(build(plain_twice), batch_size=4) == ["None", "y"]


def test_row_data_are_found():
    assert sources(build(masks), batch_size=4) == ["X", "keep", "y"]
    assert sources(build(group_table), batch_size=4) == ["g", "y"]
    assert sources(build(shorter_in_full), batch_size=4) == ["X", "y"]
    assert sources(build(equal_lengths), batch_size=4) == ["X", "c", "y"]


def test_arrays_are_inputs_without_batches():
    """All rows: big arrays are inputs, not constants of the compiled function."""

    def body():
        pm.Normal("y", pm.Data("X", np.tile(X, (4, 1))) @ weights(), observed=np.tile(y, 4))

    assert sources(build(body)) == ["X", "y"]


def test_models_in_models():
    def body():
        with pm.Model(name="sub"):
            pm.Normal("y", pm.Data("X", X) @ weights(), 1, observed=y)

    model = build(body)
    assert sources(model, batch_size=4) == ["sub::X", "sub::y"]
    assert sources(model, batch_size=4, data=["sub::X"]) == ["sub::X", "sub::y"]


def test_frozen_models():
    """Their data are constants, with names."""
    model = build(dims)
    for freeze in (freeze_model, freeze_dims_and_data):
        frozen = freeze(model)
        potential = StochasticPotential(frozen, batch_size=4, data=["X"])
        point = random_point(model)
        assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-10)


def test_sparse_rows():
    def body():
        mu = structured_dot(as_sparse_variable(csr_matrix(X)), weights((3, 1)))
        pm.Normal("y", mu[:, 0], 1, observed=y)

    message = r"is sparse: its rows.*one-hot.*w\[codes\].*dense array, or batch_size=None"
    with pytest.raises(ValueError, match=message):
        StochasticPotential(build(body), batch_size=4)


# -- naming the row data -------------------------------------------------------------------------


def test_data_chooses_between_lengths():
    model = build(shorter_in_full)
    point = random_point(model)
    potential = StochasticPotential(model, batch_size=1, data=["zd"])
    assert potential.n_rows == 7
    assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-10)


def test_table_as_long_as_the_rows():
    def body():
        u, a = pm.Data("u", rng.normal(size=N)), weights(N, "a")
        pm.Normal("y", (a * u)[pm.Data("g", rng.permutation(N))], 1, observed=pm.Data("yd", y))

    model = build(body)
    message = r"'u' has as many entries.*indexed by row data.*data=\['yd', 'g'\]"
    with pytest.raises(ValueError, match=message):
        StochasticPotential(model, batch_size=4)
    # The observed values follow without being named.
    assert sources(model, batch_size=4, data=["g"]) == ["g", "yd"]
    potential = StochasticPotential(model, batch_size=4, data=["g", "yd"])
    point = random_point(model)
    assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-10)


def test_as_many_features_as_rows():
    """An array that has N entries by chance: found out, and settled by data=."""

    def body():
        mu = pm.Data("X", np.eye(N)) @ (weights(N) * np.arange(N))
        pm.Normal("y", mu, 1, observed=y)

    model = build(body)
    with pytest.raises(ValueError, match=r"'b' has one entry per row.*by chance.*data=\["):
        StochasticPotential(model, batch_size=4)
    assert sources(model, batch_size=4, data=["X"]) == ["X", "y"]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("X", TypeError, r"data must be a list of names, got 'X': write data=\['X'\]"),
        ([], ValueError, "data is empty: name the row data, or leave data out"),
        (["W"], ValueError, "data names 'W', which is not in the model.*'zd', 'X', 'y'"),
        (["b"], ValueError, "data names 'b', which is not an array that feeds an observed"),
        (["X", "zd"], ValueError, r"arrays of one length, got {'X': 12, 'zd': 7}"),
    ],
)
def test_data_refused(data, error, message):
    model = build(shorter_in_full)
    for batch_size in (3, None):
        with pytest.raises(error, match=message):
            StochasticPotential(model, batch_size=batch_size, data=data)


def test_data_of_another_length():
    message = r"'y' has 12 rows, but depends on row data of length 4 \('u'\).*data=\["
    with pytest.raises(ValueError, match=message):
        StochasticPotential(build(group_table), batch_size=2, data=["u"])


# -- rows that do not separate -------------------------------------------------------------------


def standardised():
    Xd = pm.Data("X", X)
    pm.Normal("y", (Xd - Xd.mean(0)) @ weights(), 1, observed=y)


def autoregression():
    start = pm.Normal.dist(0, 1)
    pm.AR("y", rho=[pm.Normal("rho")], sigma=1, init_dist=start, observed=y)


def gaussian_process():
    kernel = pm.gp.cov.ExpQuad(3, pm.HalfNormal("length"))
    pm.gp.Marginal(cov_func=kernel).marginal_likelihood("y", X, y, sigma=1.0)


def lagged():
    yd = pm.Data("yd", y)
    mu = pt.concatenate([[0.0], yd[:-1]]) * pm.Normal("a")
    pm.Normal("y", mu, 1, observed=yd)


def normalised_over_rows():
    mu = pm.math.softmax(pm.Data("X", X) @ weights())
    pm.Normal("y", mu, 1, observed=y)


def rows_on_the_last_axis():
    pm.Normal("y", weights() @ pm.Data("X", X.T), 1, observed=y)


def length_as_a_number():
    pm.Normal("y", pt.full((N,), pm.Normal("mu")), 1, observed=y)


@pytest.mark.parametrize(
    "body",
    [
        standardised, autoregression, gaussian_process, lagged, normalised_over_rows,
        rows_on_the_last_axis, length_as_a_number,
    ],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_rows_must_separate(body):
    message = (
        r"(?s)likelihood of 'y' is not a sum over rows.*all 12 rows\. Row data: .*(y|yd) \(12.*"
        r"Likely causes:\n.*- .*pm\.gp\.HSGP.*past values are columns.*\n- .*X - X\.mean\(0\).*\n- "
        r".*data=\[\.\.\.\].*\nOtherwise use batch_size=None"
    )
    model = build(body)
    with pytest.raises(ValueError, match=message):
        StochasticPotential(model, batch_size=4)
    potential = StochasticPotential(model)
    point = random_point(model)
    assert by_jax(potential)(point)[0] == pytest.approx(by_pymc(potential, point)[0])


def mask():
    pm.Normal("y", (pm.Data("X", X) @ weights())[keep], 1, observed=y[keep])


def masks_split_a_predictor():
    mu = pm.Data("X", X) @ weights()
    pm.Normal("failed", mu[keep], 1, observed=y[keep])
    pm.Normal("y", mu[~keep], 1, observed=y[~keep])


def mask_of_latents():
    pm.Normal("y", weights(N, "a")[pm.Data("keep", keep)], 1, observed=y[keep])


def mask_of_a_matrix():
    known = rng.random((7, 9)) < 0.5
    factors = weights((7, 2), "U") @ weights((9, 2), "V").T
    pm.Normal("y", factors[known], 1, observed=np.zeros(known.sum()))


def mask_of_columns():
    Xd = pm.Data("X", X)[:, np.array([True, False, True])]
    pm.Normal("y", (Xd - Xd.mean(0)) @ weights(2), 1, observed=y)


def groups_on_the_first_axis():
    a = weights((12, 1), "a")
    pm.Normal("y", a * pm.Data("x", sequences[:, :, 0]), 1, observed=sequences[:, :, 1])


def discrete_latents():
    z = pm.Bernoulli("z", 0.5, shape=N)
    pm.Normal("y", weights(2)[z], 1, observed=y)


def loop():
    carried = pytensor.scan(
        lambda x, before, a: x + a * before,
        sequences=[pm.Data("x", positive)],
        outputs_info=[pt.zeros(())],
        non_sequences=[pm.Beta("a", 1, 1)],
        return_updates=False,
    )
    pm.Normal("y", carried, 1, observed=y)


keep = np.isin(np.arange(N), [0, 1, 3, 6, 7])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (mask, r"5 rows are picked by a mask.*from the 12 of 'X'\. .*X\[mask\] @ b for"),
        (masks_split_a_predictor, r"7 rows are picked by a mask.*from the 12 of 'X'.*Censored"),
        (mask_of_latents, r"from 12 entries\. .*a\[np\.flatnonzero\(mask\)\] for a\[mask\]"),
        (mask_of_a_matrix, r"from an array of shape \(7, 9\)\. .*\(U\[u\] \* V\[v\]\)\.sum\(-1\)"),
        (mask_of_columns, r"Likely causes:"),
        (
            groups_on_the_first_axis,
            r"'a' has one entry per row, .*first axis: 'y' \(12, 5\) has 12.*each of the 60 "
            r"entries: flatten 'y'.*index column.*a\[group\].*transpose.*batch_size=None",
        ),
        (discrete_latents, r"'z' has one entry per row: .*discrete one has no gradient.*another"),
        (loop, r"Likely causes:\n- It has a loop \(a Scan, .*past as L columns"),
        (rows_on_the_last_axis, r"Likely causes:\n- Rows are not .*: transpose 'X' \(3, 12\)"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_the_cause_that_is_seen(body, message):
    with pytest.raises(ValueError, match=f"(?s)is not a sum over rows.*{message}") as error:
        StochasticPotential(build(body), batch_size=3)
    if body is discrete_latents:
        assert "batch_size=None" not in str(error.value)


def test_an_index_of_the_rows_in_place_of_a_mask():
    """What the message on masks says works."""

    def body():
        pm.Normal("y", weights(N, "a")[np.flatnonzero(keep)], 1, observed=y[keep])

    model = build(body)
    potential = StochasticPotential(model, batch_size=1)
    point = random_point(model)
    assert_close(by_epoch(potential, point), by_pymc(potential, point), 1e-10)


def test_more_rows_in_a_batch_than_along_the_first_axis():
    model = build(lambda: pm.Normal("A", pm.Normal("mu", shape=(3, 1)), 1, observed=X.T))
    message = r"batch_size=4 exceeds the 3 rows.*A \(3, 12\).*transpose.*w\[group\].*=None"
    with pytest.raises(ValueError, match=message):
        StochasticPotential(model, batch_size=4)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_arrays_of_different_lengths(batch_size):
    model = build(data_and_data)
    with model:
        pm.set_data({"X": X[:7]})
    message = r"arrays of 'y' don't go together.*: 'yd' has 12 rows, 'X' has 7 rows"
    with pytest.raises(ValueError, match=message):
        StochasticPotential(model, batch_size=batch_size)


def test_plain_arrays_of_different_lengths():
    model = build(lambda: pm.Normal("y", X @ weights(), 1, observed=y[:7]))
    message = r"'y' has observed values of shape \(7,\), and a parameter of its law has \(12,\)"
    with pytest.raises(ValueError, match=message):
        StochasticPotential(model, batch_size=4)


def test_a_column_against_a_row():
    """N × N terms: a mistake that broadcasting hides."""

    def body():
        pm.Normal("y", pm.Data("X", X) @ weights(), 1, observed=y[:, None])

    model = build(body)
    with pytest.raises(ValueError, match=r"'y' don't go together \(.*'y' \(12, 1\), 'X' \(12, 3\)"):
        StochasticPotential(model, batch_size=4)


def test_a_latent_variable_of_each_row():
    def body():
        a = pm.Normal("a", dims="row")
        pm.Normal("y", a, 1, observed=y, dims="row")

    message = r"'a' has one entry per row.*Integrate it out \(pm\.Mixture.*or use batch_size=None"
    with pytest.raises(ValueError, match=message):
        StochasticPotential(build(body), batch_size=4)


def test_statistics_of_many_rows():
    """The check sees some of many rows; a mean over all is found out nevertheless."""
    many = rng.normal(size=100_000)

    def body():
        x = pm.Data("x", many)
        pm.Normal("y", (x - x.mean()) * pm.Normal("b"), 1, observed=many)

    with pytest.raises(ValueError, match="is not a sum over rows"):
        StochasticPotential(build(body), batch_size=10)


def potential_in_full():
    b = weights()
    pm.Normal("y", pm.Data("X", X) @ b, 1, observed=y)
    pm.Potential("more", (np.zeros((2_000, 3)) @ b).sum())


def observed_in_full():
    b = weights(1)
    pm.Normal("y", pm.Data("x", np.zeros((3_000, 1))) @ b, 1, observed=np.zeros(3_000))
    pm.Normal("more", b, 1, observed=np.zeros(2_000))


@pytest.mark.parametrize("body", [potential_in_full, observed_in_full], ids=lambda f: f.__name__)
def test_many_rows_outside_of_the_batches(body):
    model = build(body)
    message = (
        r"The .* 'more' reads 2000 rows in every update, where a batch has 6.*those of 'y' as one "
    )
    with pytest.warns(UserWarning, match=message) as given:
        StochasticPotential(model, batch_size=6)
    assert given[0].filename == __file__
    StochasticPotential(model)  # all rows are read in any case


# -- pm.Minibatch --------------------------------------------------------------------------------


def minibatch(X, y, total_size=N):
    X_batch, y_batch = pm.Minibatch(X, y, batch_size=3)
    pm.Normal("y", X_batch @ weights(), 1, observed=y_batch, total_size=total_size)


def whole(X, y):
    pm.Normal("y", X @ weights(), 1, observed=y)


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "data"])
@pytest.mark.parametrize(("batch_size", "expected"), [(None, 3), (4, 4), (N, None)])
def test_minibatch(wrapped, batch_size, expected):
    """Its rows are drawn by the package, in batches of any size; the model is that of all rows."""

    def body(of):
        return lambda: of(pm.Data("X", X), pm.Data("yd", classes)) if wrapped else of(X, y)

    model, reference = build(body(minibatch)), build(body(whole))
    with pytest.warns(UserWarning, match=r"pm\.compute_log_likelihood, LOO.*all its rows") as given:
        potential = StochasticPotential(model, batch_size=batch_size)
    assert "with pm.Model() as model:\n        X = pm.Data(" in str(given[0].message)
    assert given[0].filename == __file__
    assert (potential.n_rows, potential.batch_size) == (N, expected)
    assert potential.is_current()
    point = random_point(model)
    exact = by_pymc(StochasticPotential(reference), point)
    assert_close(by_jax(potential, all_rows=True)(point), exact, 1e-10)
    if expected:
        assert_close(by_epoch(potential, point), exact, 1e-10)


def separate_calls():
    X_batch, y_batch = pm.Minibatch(X, batch_size=3), pm.Minibatch(y, batch_size=3)
    pm.Normal("y", X_batch @ weights(), 1, observed=y_batch, total_size=N)


def minibatch_in_a_potential():
    minibatch(X, y)
    pm.Potential("p", -(pm.Minibatch(y, batch_size=3) ** 2).sum())


def no_total_size():
    minibatch(X, y, None)


def wrong_total_size():
    minibatch(X, y, 13)


def different_lengths():
    minibatch(X[:7], y)


@pytest.mark.filterwarnings("ignore:total_size not provided", "ignore:The model uses pm.Minibatch")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (separate_calls, r"2 independent pm\.Minibatch calls.*X_batch, y_batch = pm\.Minibatch\(X"),
        (minibatch_in_a_potential, r"a pm\.Potential .* depends on pm\.Minibatch.*all its rows"),
        (no_total_size, r"'y' observes a pm\.Minibatch without.*Give total_size=12 to 'y'"),
        (wrong_total_size, r"'y' has total_size=13.*of length 12\. Give total_size=12"),
        (different_lengths, r"pm\.Minibatch slices arrays of different lengths, \[7, 12\]"),
    ],
)
def test_minibatch_refused(body, message):
    with pytest.raises(ValueError, match=message):
        StochasticPotential(build(body))


@pytest.mark.filterwarnings("ignore:The model uses pm.Minibatch")
def test_minibatch_knows_its_rows():
    model = build(lambda: minibatch(X, y))
    with pytest.raises(ValueError, match=r"data=\['X'\] was given, but .*pm\.Minibatch already"):
        StochasticPotential(model, data=["X"])
