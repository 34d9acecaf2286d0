"""Linearised Laplace: exact where the model is linear, and beside the exact precision elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from pymc_sgmcmc import laplace, nn, predict
from pymc_sgmcmc.diagnostics import lppd
from pymc_sgmcmc.linearised.exact import Diagonal, Full
from pymc_sgmcmc.linearised.kronecker import Kronecker
from pymc_sgmcmc.linearised.linear import Graphs, LinearModel
from pymc_sgmcmc.linearised.mode import multiplications
from pymc_sgmcmc.linearised.sampled import Sampled
from pymc_sgmcmc.model.links import laws_of
from pymc_sgmcmc.model.potential import StochasticPotential

N, D, SD = 200, 5, 0.7
rng = np.random.default_rng(0)
X = rng.normal(size=(N, D)) @ np.linalg.cholesky(0.6 * np.ones((D, D)) + 0.4 * np.eye(D)).T
y = X @ [1.0, -1.0, 0.5, 0.0, 0.2] + SD * rng.normal(size=N)
STRUCTURES = ("full", "sampled", "kron", "diag")


def regression():
    """Its posterior is normal."""
    with pm.Model(coords={"column": list("abcde")}) as model:
        b = pm.Normal("b", 0.0, 2.0, dims="column")
        pm.Normal("y", pm.Data("X", X) @ b, SD, observed=y)
    return model


def exact(precision):
    """Mean and covariance of its posterior, for a precision of the prior."""
    covariance = np.linalg.inv(X.T @ X / SD**2 + np.diag(precision))
    return covariance @ X.T @ y / SD**2, covariance


def weights(idata, name="b", group="posterior"):
    return idata[group][name].values[0]


def assert_normal(draws, mean, covariance):
    """Means and covariances of independent draws, to 4.5 standard errors."""
    n, sd = len(draws), np.sqrt(np.diag(covariance))
    assert (np.abs(draws.mean(0) - mean) < 4.5 * sd / np.sqrt(n) + 0.06 * sd).all()
    errors = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / n)
    assert (np.abs(np.cov(draws.T) - covariance) < 4.5 * errors + 0.02 * np.outer(sd, sd)).all()


# -- a linear model, whose posterior is known ------------------------------------------------------


@pytest.mark.parametrize("structure", ["full", "sampled"])
def test_a_regression_is_exact(structure):
    idata = laplace(regression(), draws=1_000, structure=structure, random_seed=1)
    mean, covariance = exact(np.full(D, 1 / 4))
    assert_normal(weights(idata), mean, covariance)
    assert_normal(weights(idata, group="prior"), np.zeros(D), 4 * np.eye(D))
    gamma = D - np.trace(covariance) / 4
    assert idata.posterior.attrs["effective_dimension"] == pytest.approx(gamma, abs=0.3)
    assert idata.posterior["b"].dims == ("chain", "draw", "column")


def test_the_diagonal_is_that_of_the_precision():
    idata = laplace(regression(), draws=2_000, structure="diag", random_seed=1)
    precision = np.diag(X.T @ X) / SD**2 + 1 / 4
    assert_normal(weights(idata), exact(np.full(D, 1 / 4))[0], np.diag(1 / precision))


def test_a_vector_is_one_block_of_a_kronecker_product():
    """A vector of D weights into one unit: nothing is approximated."""
    idata = laplace(regression(), draws=2_000, structure="kron", random_seed=1)
    assert idata["variables"]["effective_dimension"].sizes == {"variable": 1}
    with pm.Model() as model:
        b = pm.Normal("b", 0.0, 2.0, shape=(D, 1))
        pm.Normal("y", pm.Data("X", X) @ b, SD, observed=y[:, None])
    idata = laplace(model, draws=2_000, structure="kron", random_seed=1)
    assert_normal(weights(idata)[..., 0], *exact(np.full(D, 1 / 4)))


def log_evidence(log_factor, base):
    covariance = SD**2 * np.eye(N) + X @ np.diag(np.exp(-log_factor) / base) @ X.T
    return multivariate_normal.logpdf(y, np.zeros(N), covariance)


@pytest.mark.parametrize(
    ("em", "base"),
    [("isotropic", np.full(D, 1 / 4)), ("g-prior", (X**2).sum(0) / SD**2)],
)
def test_em_maximises_the_evidence(em, base):
    found = minimize(lambda a: -log_evidence(a[0], base), [0.0], method="Nelder-Mead")
    best = np.exp(found.x[0])
    idata = laplace(regression(), draws=500, structure="full", em=em, random_seed=1)
    assert float(idata["variables"]["precision_factor"][0]) == pytest.approx(best, rel=2e-3)
    mean, covariance = exact(best * base)
    assert_normal(weights(idata), mean, covariance)
    gamma = D - best * np.trace(np.diag(base) @ covariance)
    assert idata.posterior.attrs["effective_dimension"] == pytest.approx(gamma, rel=1e-3)


@pytest.mark.slow
def test_em_by_samples_finds_the_same_precision():
    found = minimize(lambda a: -log_evidence(a[0], np.full(D, 1 / 4)), [0.0], method="Nelder-Mead")
    idata = laplace(regression(), draws=400, structure="sampled", em="isotropic", random_seed=1)
    factor = float(idata["variables"]["precision_factor"][0])
    assert factor == pytest.approx(np.exp(found.x[0]), rel=0.1)


def test_em_by_layer_gives_each_variable_its_own():
    """One that explains nothing is held at 0; one that explains all is let go."""
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1, shape=2)
        b = pm.Normal("b", 0, 1, shape=2)
        pm.Normal("y", 20 * X[:, :2] @ a + X[:, 2:4] @ b, 1, observed=100 * X[:, 0])
    idata = laplace(model, structure="full", em="layer", random_seed=1)
    factor = idata["variables"]["precision_factor"].values
    assert factor[0] == pytest.approx(2 / 25, rel=0.1)  # a² is 5² and 0
    assert factor[1] > 10


# -- products, against Jacobians that are formed ---------------------------------------------------

classes = np.digitize(y, [-0.5, 0.5])


def networks(head):
    with pm.Model() as model:
        features = nn.mlp(X[:, :3], (6,), prior=nn.FixedScale())
        if head == "normal":
            nn.regression(features, (y - y.mean()) / y.std(), noise="input")
        elif head == "categorical":
            nn.classification(features, classes, prior=nn.FixedScale())
        elif head == "bernoulli":
            nn.classification(features, y > 0, prior=nn.FixedScale())
        else:
            eta = nn.dense(features, None, "eta", prior=nn.FixedScale()) / 2
            if head == "poisson":
                pm.Poisson("y", pm.math.exp(eta), observed=classes)
            else:
                pm.Binomial("y", n=3, p=pm.math.sigmoid(eta), observed=classes)
    return model


def linear(model, batch_size=20, scale=0.5, prior_sd=0.5):
    """The linear model around a random position, the prior's standard deviations given."""
    potential = StochasticPotential(model, batch_size=batch_size)
    position = scale * np.random.default_rng(3).normal(size=potential.size)
    data = tuple(map(jnp.asarray, potential.row_values()))
    width = jnp.full(potential.size, prior_sd)
    graphs = Graphs(potential, laws_of(model))
    return LinearModel(data, jnp.asarray(position), jnp.arange(potential.size), width, graphs)


SLOW = [pytest.param(k, marks=pytest.mark.slow) for k in ("normal", "bernoulli", "poisson")]
HEADS = ("categorical", "binomial", *SLOW)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.slow
def test_the_curvature_is_the_expected_hessian(head):
    """Of the log-likelihood, over outcomes drawn from the law: by JAX's Hessian of the expectation.

    E[−∂² log p(y | w)] = −∂² E_{y ~ p(w₀)} log p(y | w) at w₀, a cross entropy that is known.
    """
    model = linear(networks(head), prior_sd=1.0)
    rows, zero = jnp.arange(model.n_rows), jnp.zeros(model.size)
    (at,) = model.outputs(zero, rows)

    def cross_entropy(u):
        (f,) = model.outputs(u, rows)
        if head == "normal":
            variance = jnp.exp(2 * at[1]) + (at[0] - f[0]) ** 2
            return (variance * jnp.exp(-2 * f[1]) / 2 + f[1]).sum()
        if head == "categorical":
            return -(jax.nn.softmax(at[0]) * jax.nn.log_softmax(f[0])).sum()
        if head == "poisson":
            return (jnp.exp(f[0]) - jnp.exp(at[0]) * f[0]).sum()
        p, n = jax.nn.sigmoid(at[0]), 3 if head == "binomial" else 1
        return -n * (p * jax.nn.log_sigmoid(f[0]) + (1 - p) * jax.nn.log_sigmoid(-f[0])).sum()

    expected = jax.hessian(cross_entropy)(zero)
    full = Full(model, np.zeros((0, model.size))).curvature
    np.testing.assert_allclose(full, expected, atol=1e-8 * np.abs(expected).max())
    products = sum(
        model.product(jax.tree.map(lambda x, i=i: x[i], model.pieces(30)), jnp.eye(model.size))
        for i in range(7)
    )
    np.testing.assert_allclose(products, expected, atol=1e-8 * np.abs(expected).max())


def test_kronecker_factors_have_the_trace_of_each_block():
    model = linear(networks("categorical"))
    shapes = [block.shape for block in model.graphs.potential.layout]
    one, slope = np.ones(model.size), np.zeros(model.size)
    noise = np.random.default_rng(1).normal(size=(20_000, model.size))
    diagonal = Diagonal(model, noise[:1]).posterior(one, slope).determined
    # Precision far above G: what is determined is then the diagonal of G itself.
    found = Kronecker(model, noise, shapes).posterior(1e6 * one, slope)
    assert found.determined.sum() * 1e6 == pytest.approx(
        (diagonal / (1 - diagonal)).sum(), rel=1e-2
    )
    found = Kronecker(model, noise, shapes).posterior(one, slope)
    variances = np.square(found.deviations).mean(0)
    np.testing.assert_allclose(variances, 1 - found.determined, rtol=5 * np.sqrt(2 / 20_000))


# -- draws by stochastic gradients, against the exact inverse --------------------------------------


def errors_of_sds(model, draws, batch_size, seed=1, max_updates=100_000):
    """Relative errors of marginal standard deviations, of the same noise; and what was found."""
    d = model.size
    sampled = Sampled(model, draws, batch_size, seed, max_updates)
    slope = np.random.default_rng(5).normal(size=d)
    found = sampled.posterior(np.ones(d), slope)
    assert sampled.progress.converged
    full = Full(model, np.zeros((0, d)))
    covariance = np.linalg.inv(full.curvature + np.eye(d))
    exact_draws = sampled.noise(np.ones(d)) @ covariance
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(found.mean + covariance @ slope) < 0.1 * sd).all()
    ratio = np.square(found.deviations).mean(0) / np.square(exact_draws).mean(0)
    # And that noise is of the right law: variances of all, to 4.5 standard errors.
    z = np.square(found.deviations / sd).mean(0) - 1
    assert (np.abs(z) < 4.5 * np.sqrt(2 / draws) + 0.1).all()
    return np.sqrt(ratio) - 1, found, full.posterior(np.ones(d), slope)


@pytest.mark.parametrize("head", [pytest.param("normal", marks=pytest.mark.slow), "categorical"])
def test_standard_deviations_are_exact_to_5_percent(head):
    model = linear(networks(head))
    errors, found, expected = errors_of_sds(model, draws=64, batch_size=20)
    assert np.abs(errors).max() < 0.05
    assert found.determined.sum() == pytest.approx(expected.determined.sum(), rel=0.1)


def test_filters_multiply_at_every_place_of_an_image():
    """So that a mode of few weights and many pixels is not polished for hours."""
    with pm.Model() as model:
        images = pm.Data("X", np.zeros((30, 12, 10, 1), np.uint8)) / 255
        filtered = nn.conv2d(images, 4, "filter", size=3, stride=2, prior=nn.FixedScale())
        features = nn.avg_pool2d(filtered)
        nn.classification(features, np.arange(30) % 3, classes=3, prior=nn.FixedScale())
    potential = StochasticPotential(model, batch_size=10)
    dense, filters, places = 4 * 3 + 3, 3 * 3 * 4, 6 * 5
    assert multiplications(potential) == filters * places + 4 + dense


@pytest.mark.slow
@pytest.mark.weekly
def test_standard_deviations_of_2000_parameters_are_exact_to_5_percent():
    with pm.Model() as wide:
        features = nn.mlp(rng.normal(size=(500, 8)), (200,), prior=nn.FixedScale())
        nn.classification(features, rng.integers(0, 2, 500), prior=nn.FixedScale())
    model = linear(wide, batch_size=100, prior_sd=0.3)
    assert model.size == 2001
    errors, _, _ = errors_of_sds(model, draws=32, batch_size=100)
    assert np.abs(errors).max() < 0.05


def test_no_jacobian_is_formed():
    """Of 20,000 rows and 20,001 parameters it would take 3 GB: temporaries of an update do not."""
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=20_001)
        x = pm.Data("x", np.zeros(20_000, np.int32))
        pm.Normal("y", b[x] + b[20_000], 1, observed=np.zeros(20_000))
    large = linear(model, batch_size=100)
    u = jnp.zeros((4, large.size))

    def product(model, batch, u):
        return model.product(batch, u)

    batch = jax.tree.map(lambda x: x[0], large.pieces(100))
    memory = jax.jit(product).lower(large, batch, u).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 20 * u.nbytes


# -- predictions -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_predictions_are_linear_in_the_draws():
    """f(x; w*) + J(x) (w − w*), by the Jacobian of the network."""
    with pm.Model() as model:
        features = nn.mlp(pm.Data("X", X[:, :3]), (6,), prior=nn.LearnedScale())
        nn.classification(features, classes)
    idata = laplace(model, draws=20, structure="full", random_seed=1)
    new = np.random.default_rng(4).normal(size=(7, 3))
    found = predict(idata, {"X": new, "y": np.arange(7) % 3}, model=model, dtype="float64")
    probability = found["predictions"]["y_probability"].values[0]

    logits = network_logits(model, new)
    mode = values_of(model, idata["linearised_at"].to_dataset())
    draws = [values_of(model, idata.posterior.isel(chain=0, draw=k)) for k in range(20)]
    f, jacobian = logits(mode), jax.jacobian(logits)(mode)
    expected = jax.nn.softmax(f + np.einsum("rcd,kd->krc", jacobian, np.array(draws) - mode), -1)
    np.testing.assert_allclose(probability, expected, rtol=1e-6, atol=1e-9)
    score = np.log(np.asarray(expected)[:, np.arange(7), np.arange(7) % 3])
    np.testing.assert_allclose(found["log_likelihood"]["y"].values[0], score, rtol=1e-6)
    assert np.isfinite(lppd(found))

    in_blocks = predict(idata, {"X": new}, model=model, quantiles=(0.5,), dtype="float64")
    np.testing.assert_allclose(in_blocks["mean"]["y_probability"], expected.mean(0), rtol=1e-6)


def values_of(model, point):
    """Position of free variables, logs where PyMC has them."""
    flat = []
    for rv in model.free_RVs:
        x = np.asarray(point[rv.name])
        flat.append((x if model.rvs_to_transforms[rv] is None else np.log(x)).ravel())
    return np.concatenate(flat)


def network_logits(model, x):
    """The network, written by hand."""
    shapes = {rv.name: model.initial_point()[model.rvs_to_values[rv].name].shape
              for rv in model.free_RVs}  # fmt: skip

    def logits(position):
        w, start = {}, 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            w[name] = position[start : start + size].reshape(shape)
            start += size
        for layer, inputs in (("hidden_1", 3), ("y_class", 6)):
            scale = jnp.exp(w[f"{layer}_weights_scale"])
            w[layer] = scale * w[f"{layer}_weights_raw"] / np.sqrt(inputs)
        hidden = jnp.tanh(x @ w["hidden_1"] + w["hidden_1_bias"])
        return hidden @ w["y_class"] + w["y_class_bias"]

    return logits


def test_outcomes_are_drawn_from_the_linear_model():
    model = regression()
    idata = laplace(model, draws=1_000, structure="full", random_seed=1)
    new = predict(idata, {"X": X[:2]}, var_names=["y"], model=model, random_seed=2)
    drawn = new["predictions"]["y"].values[0]
    mean, covariance = exact(np.full(D, 1 / 4))
    assert_normal(drawn, X[:2] @ mean, X[:2] @ covariance @ X[:2].T + SD**2 * np.eye(2))


# -- what is linearised ----------------------------------------------------------------------------


@pytest.mark.slow
def test_only_the_variables_named_leave_the_mode():
    model = networks("bernoulli")
    idata = laplace(model, draws=10, structure="last", random_seed=1)
    assert idata.posterior.attrs["free_variables"] == ["y_logit_weights", "y_logit_bias"]
    assert weights(idata, "y_logit_weights").std(0).all()
    assert not np.ptp(weights(idata, "hidden_1_weights"), axis=0).any()
    mode = {k: v.values for k, v in idata["linearised_at"].data_vars.items()}
    other = laplace(model, draws=10, vars=["y_logit_weights", "y_logit_bias"], mode=mode)
    np.testing.assert_allclose(other["linearised_at"]["hidden_1_bias"], mode["hidden_1_bias"])


def test_single_precision_gives_the_same():
    """And no warning of JAX's, which has no 64 bits then."""
    model = regression()
    found = [laplace(model, draws=50, dtype=k, random_seed=1) for k in ("float32", "float64")]
    gammas = [idata.posterior.attrs["effective_dimension"] for idata in found]
    assert gammas[0] == pytest.approx(gammas[1], rel=1e-4)


def test_a_mode_that_was_found_serves_again():
    """Of transformed variables as well, which the tree holds as they are."""
    with pm.Model() as model:
        s = pm.HalfNormal("s", 0.5)
        pm.Normal("y", pm.Normal("mu"), s, observed=y)
    first = laplace(model, draws=2, random_seed=1)
    second = laplace(model, draws=2, mode=first, random_seed=2)
    for name in ("s", "mu"):
        at = [float(idata["linearised_at"][name]) for idata in (first, second)]
        assert at[1] == pytest.approx(at[0], rel=1e-12)
    with pytest.raises(ValueError, match="mode has no group 'linearised_at' with 'b'"):
        laplace(regression(), mode=first)


def test_a_prior_that_is_not_normal_has_its_curvature():
    """Of a half-normal sd s with the scale τ, in log s: 2 s²/τ²; and 2 N of the rows."""
    with pm.Model() as model:
        s = pm.HalfNormal("s", 0.5)
        pm.Normal("y", 0, s, observed=y)
    idata = laplace(model, draws=4_000, structure="full", random_seed=1)
    mode = float(idata["linearised_at"]["s"])
    sd = 1 / np.sqrt(2 * (mode / 0.5) ** 2 + 2 * N)
    logs = np.log(weights(idata, "s"))
    assert logs.std() == pytest.approx(sd, rel=4.5 / np.sqrt(2 * 4_000))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of defaults of find_MAP
def test_a_module_of_equinox_is_the_network_that_it_is():
    """The same weights and priors as a network of `nn`: the same curvature and predictions."""
    eqx = pytest.importorskip("equinox")
    module = eqx.nn.MLP(3, 2, 6, 1, activation=jax.nn.tanh, key=jax.random.key(0))
    with pm.Model() as written:
        x = pm.Data("X", X[:, :3])
        f = nn.from_equinox(module, x, prior=nn.FixedScale())
        pm.Categorical("y", logit_p=f, observed=y > 0)
    with pm.Model() as by_hand:
        x = pm.Data("X", X[:, :3])
        w1, b1 = pm.Normal("w1", 0, 3**-0.5, shape=(3, 6)), pm.Normal("b1", shape=6)
        w2, b2 = pm.Normal("w2", 0, 6**-0.5, shape=(6, 2)), pm.Normal("b2", shape=2)
        pm.Categorical("y", logit_p=pm.math.tanh(x @ w1 + b1) @ w2 + b2, observed=y > 0)
    mode = pm.find_MAP(model=by_hand, progressbar=False)
    names = {"w1": "0.weight", "b1": "0.bias", "w2": "1.weight", "b2": "1.bias"}
    same = {f"net.layers.{name}": mode[k] for k, name in names.items()}
    first = laplace(written, draws=400, structure="full", mode=same, random_seed=1)
    second = laplace(by_hand, draws=400, structure="full", mode=mode, random_seed=2)
    gammas = [i.posterior.attrs["effective_dimension"] for i in (first, second)]
    assert gammas[0] == pytest.approx(gammas[1], rel=1e-6)
    found = [
        predict(i, {"X": X[:20, :3]}, model=m)["predictions"]["y_probability"].values[0]
        for i, m in ((first, written), (second, by_hand))
    ]
    error = found[1].std(0) * (2 / 400) ** 0.5  # of independent draws
    assert (np.abs(found[0].mean(0) - found[1].mean(0)) < 4.5 * error).all()


# -- what is refused -------------------------------------------------------------------------------


def test_errors_say_what_to_write():
    model = regression()
    with pytest.raises(ValueError, match='structure must be "auto", "full"'):
        laplace(model, structure="dense")
    with pytest.raises(ValueError, match='em must be "isotropic", "layer" or "g-prior", or None'):
        laplace(model, em="evidence")
    with pytest.raises(ValueError, match="vars has 'c', which is no free variable"):
        laplace(model, vars=["c"])
    with pytest.raises(TypeError, match=r"vars=\['b'\]"):
        laplace(model, vars="b")
    with pytest.raises(ValueError, match="needs a network whose layers nn wrote"):
        laplace(model, structure="last")
    with pytest.raises(ValueError, match="mode has no 'b'"):
        laplace(model, mode={})
    with pytest.raises(ValueError, match=r"mode\['b'\] must have the shape \(5,\)"):
        laplace(model, mode={"b": 0.0})


def test_likelihoods_and_priors_that_are_none_of_these_are_refused():
    with pm.Model() as student:
        pm.StudentT("y", nu=4, mu=pm.Normal("mu"), sigma=1, observed=y)
    with pytest.raises(ValueError, match=r"'y' \(t\) can't be linearised: laplace knows pm.Normal"):
        laplace(student)
    with pm.Model() as without:
        pm.Normal("mu")
    with pytest.raises(ValueError, match="no observed variable"):
        laplace(without)
    with pm.Model() as centred:
        mu = pm.Normal("mu")
        pm.Normal("y", pm.Normal("a", mu, 1, shape=D) @ X.T, 1, observed=y)
    with pytest.raises(ValueError, match=r"'mu', 'a' depend on each other.*non-centred"):
        laplace(centred)
    with pm.Model() as flat:
        pm.Normal("y", pm.Flat("mu"), 1, observed=y)
    with pytest.raises(ValueError, match="The prior of 'mu' does not curve up"):
        laplace(flat)
    with pm.Model() as lasso:
        pm.Normal("y", pm.HalfNormal("a", shape=D) @ X.T, 1, observed=y)
    with pytest.raises(ValueError, match=r"none of 'a' has one. Leave em out"):
        laplace(lasso, em="layer")


def scaled(prior):
    with pm.Model() as model:
        features = nn.mlp(X[:, :2], (3,), prior=prior)
        nn.classification(features, y > 0, prior=nn.FixedScale())
    return model


@pytest.mark.slow
@pytest.mark.parametrize("prior", [nn.LearnedScale(), nn.GroupLaplace(5)], ids=str)
def test_a_scale_is_not_learned_twice(prior):
    """Of s z the linear model can't tell what is s from what is z, once its precision is free."""
    model = scaled(prior)
    with pytest.raises(ValueError, match=r"'hidden_1_weights_raw', which the model multiplies by"):
        laplace(model, em="layer")


def test_nor_is_that_of_effects():
    with pm.Model() as effects:
        s, z = pm.HalfNormal("s"), pm.Normal("z", 0, 1, shape=5)
        pm.Normal("y", (s * z)[np.arange(N) % 5], 1, observed=y)
    with pytest.raises(ValueError, match=r"em='isotropic'.*of 'z', which.*by 's'.*vars=\['z'"):
        laplace(effects, em="isotropic")


@pytest.mark.slow
def test_data_are_no_scale():
    with pm.Model() as weighted:
        z = pm.Normal("z", 0, 1, shape=D)
        pm.Normal("y", (pm.Data("X", X) * z).sum(1), 1, observed=y)
    assert laplace(weighted, draws=2, em="layer").posterior["z"].shape == (1, 2, D)


def test_a_scale_that_stays_at_the_mode_lets_a_precision_be_fitted():
    """That of z by its own evidence, as if s were a number; what the rows say nothing of stays."""
    outcomes = y + np.arange(N) % 5
    with pm.Model() as model:
        s, z = pm.HalfNormal("s"), pm.Normal("z", 0, 1, shape=5)
        pm.Normal("idle", 0, 1)
        pm.Normal("y", (s * z)[np.arange(N) % 5], 1, observed=outcomes)
    means = outcomes.reshape(-1, 5).mean(0)
    mode = {"s_log__": np.array(0.0), "z": means, "idle": np.array(0.0)}
    idata = laplace(
        model, draws=20, em="layer", vars=["z", "idle"], structure="full", mode=mode, random_seed=1
    )
    factor = idata["variables"]["precision_factor"].values
    # s = 1: means of 40 rows ~ N(0, 1/α + 1/40), whose evidence is highest where that is theirs.
    variance = np.square(means).mean() - 5 / N
    assert factor[0] == pytest.approx(1 / variance, rel=0.01)
    assert factor[1] == 1
