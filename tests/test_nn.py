"""Networks written by `nn`: what they compute, the laws of their priors, where chains start."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import integrate, stats

from pymc_sgmcmc import ATMC, WarmUp, nn, sample
from pymc_sgmcmc.nn.activations import resolve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = X[:, 0] + RNG.normal(size=30)


def network(prior=None, activation="tanh", **head):
    with pm.Model(coords={"feature": list("abcd")}) as model:
        x = pm.Data("X", X, dims=("row", "feature"))
        features = nn.mlp(x, (5, 3), activation=activation, prior=prior)
        nn.regression(features, Y, prior=prior, dims="row", **head)
    return model


def values_of(model, names):
    """One prior draw of variables, and of the mean and sd of y, from the same graph."""
    y = model["y"]
    mean, sd = y.owner.op.dist_params(y.owner)
    found = pm.draw([*(model[n] for n in names), mean, sd], random_seed=1)
    return dict(zip([*names, "mean", "sd"], found, strict=True))


@pytest.mark.parametrize("activation", ["tanh", "relu", "selu", "gelu", "silu", "softplus"])
def test_a_network_computes_what_it_says(activation):
    model = network(nn.FixedScale(1.0), activation, noise="learned")
    names = [v.name for v in model.free_RVs]
    v = values_of(model, names)
    by_hand = {
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0),
        "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
        "gelu": lambda x: x * stats.norm.cdf(x),
        "silu": lambda x: x / (1 + np.exp(-x)),
        "softplus": lambda x: np.log1p(np.exp(x)),
    }[activation]
    signal = X
    for layer in ("hidden_1", "hidden_2"):
        signal = by_hand(signal @ v[f"{layer}_weights"] + v[f"{layer}_bias"])
    mean = signal @ v["y_mean_weights"] + v["y_mean_bias"]
    np.testing.assert_allclose(v["mean"], mean, rtol=1e-10)
    np.testing.assert_allclose(v["sd"], np.exp(v["y_log_sd"]))


def test_selu_keeps_the_law_of_a_signal():
    # Klambauer et al. (2017): zero mean and unit variance are a fixed point, which fixes λ and α.
    function, _ = resolve("selu")
    x = pt.dscalar()
    f = function(x)
    normal = {
        k: integrate.quad(lambda t, k=k: f.eval({x: t}) ** k * stats.norm.pdf(t), -8, 8)[0]
        for k in (1, 2)
    }
    assert abs(normal[1]) < 1e-6
    assert abs(normal[2] - 1) < 1e-6


@pytest.mark.parametrize("noise_range", [1.5, 2.0, 20.0])
def test_noise_that_depends_on_the_input_is_bounded_and_starts_asleep(noise_range):
    model = network(noise="input", noise_range=noise_range)
    v = values_of(model, ["y_log_sd"])
    ratio = np.log(v["sd"]) - v["y_log_sd"]
    assert ratio.std() > 1e-3
    assert np.abs(ratio).max() < np.log(noise_range) + 1e-9
    start = model.initial_point(0)
    assert np.exp(start["y_noise_weights_scale_log__"]) < 1e-3


def test_a_known_noise():
    assert network(noise=0.3)["y"].owner.inputs[-1].eval() == pytest.approx(0.3)


def test_dims_have_names():
    model = network()
    dims = model.named_vars_to_dims
    assert dims["hidden_1_weights"] == ("feature", "hidden_1")
    assert dims["hidden_2_weights_raw"] == ("hidden_1", "hidden_2")
    assert dims["hidden_2_bias"] == ("hidden_2",)
    assert dims["y_mean_weights"] == ("hidden_2",)


def lengths(prior, name="hidden_1_weights", draws=4000):
    """Draws of the weights into a unit of 4 inputs, ``(draws, 4)``."""
    with network(prior):
        found = pm.sample_prior_predictive(draws, var_names=[name], random_seed=1)
    return found["prior"][name].isel(chain=0, hidden_1=0).values


def test_a_fixed_scale():
    w = lengths(nn.FixedScale(3.0))
    assert w.std() == pytest.approx(3 / 2, rel=0.03)
    # What suits the activation: 5/3 for tanh.
    assert lengths(nn.FixedScale()).std() == pytest.approx(5 / 6, rel=0.03)


def test_a_learned_scale():
    w = lengths(nn.LearnedScale(3.0))
    assert w.std() == pytest.approx(3 / 2, rel=0.05)
    assert stats.kurtosis(w.ravel()) > 3  # of a normal scale mixture: 6


def test_group_laplace_is_that_law():
    # p(θ) ∝ exp(−‖θ‖/b) in 4 dimensions: the length is Gamma(4, b), the direction uniform.
    w = lengths(nn.GroupLaplace(2.0))
    length = np.linalg.norm(w, axis=1)
    assert stats.kstest(length, stats.gamma(4, scale=2).cdf).pvalue > 0.01
    assert np.abs((w / length[:, None]).mean(0)).max() < 4 / np.sqrt(4 * len(w))


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
def test_weight_norm_lengths_follow_their_law():
    w = lengths(nn.WeightNorm(), "hidden_1_weights_raw")
    length = np.linalg.norm(w, axis=1)

    def density(r):
        return r**3 * np.exp(-4 / 2 * (r**2 - 1) ** 2)

    total = integrate.quad(density, 0, 3)[0]
    mean = integrate.quad(lambda r: r * density(r), 0, 3)[0] / total
    square = integrate.quad(lambda r: r**2 * density(r), 0, 3)[0] / total
    error = np.sqrt((square - mean**2) / len(length))
    assert abs(length.mean() - mean) < 4 * error
    assert length.std() == pytest.approx(np.sqrt(square - mean**2), rel=0.05)


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
@pytest.mark.slow
def test_weight_norm_of_a_unit_is_its_scale():
    model = network(nn.WeightNorm())
    v = values_of(model, ["hidden_1_weights", "hidden_1_weights_scale"])
    np.testing.assert_allclose(
        np.linalg.norm(v["hidden_1_weights"], axis=0), np.abs(v["hidden_1_weights_scale"])
    )
    # The logp that is sampled is equation 13.
    value = RNG.normal(size=(4, 5))
    logp = pm.logp(model["hidden_1_weights_raw"], value).eval()
    assert logp == pytest.approx(-2 * ((np.square(value).sum(0) - 1) ** 2).sum())


def test_a_residual_block_starts_close_to_its_input():
    with pm.Model() as model:
        x = nn.dense(pm.Data("X", X), 6, "first")
        y = nn.residual(x, 3, "block", start=1e-3)
    moved, before = pm.draw([y, x], random_seed=1)
    assert moved.shape == before.shape
    assert model.initial_point(0)["block_gain"] == 1e-3
    gain, scaled = pm.draw([model["block_gain"], y - x], random_seed=2)
    branch = scaled / gain
    assert np.abs(branch).max() > 0.1
    assert model.named_vars_to_dims["block_2_weights"] == ("block_1", "block_2")


def test_two_and_more_classes():
    with pm.Model() as model:
        features = nn.mlp(pm.Data("X", X), (3,))
        two = nn.classification(features, (Y > 0).astype(int), name="sign")
        many = nn.classification(features, np.arange(30) % 4, name="kind")
    assert "sign_logit_weights" in model.named_vars
    assert model["kind_class_weights"].eval().shape == (3, 4)
    assert two.owner.op.name == "bernoulli"
    assert many.owner.op.name == "categorical"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nn.mlp(x, (3,), activation="tanhh"), '"identity", or a function.*got .tanhh'),
        (lambda x: nn.dense(x, 0, "a"), "units must be an integer.*got 0"),
        (lambda x: nn.dense(X[:, 0], 3, "a"), "rows of features.*reshape"),
        (lambda x: nn.dense(nn.dense(x, None, "a"), 2, "b"), "without units"),
        (lambda x: nn.regression(x, Y, noise="known"), '"input", or a number, got .known'),
        (lambda x: nn.regression(x, Y, name="z", noise=-1), "noise must be greater than 0"),
        (lambda x: nn.regression(x, Y, name="r", noise_range=1), "noise_range must be greater th"),
        (lambda x: nn.classification(x, Y > 0, classes=1), "at least 2"),
        (lambda x: nn.classification(x, np.sign(Y)), r"integers 0 to 1, got \[-1"),
        (lambda x: nn.classification(x, np.arange(30) % 3, classes=2), "integers 0 to 1"),
        (lambda x: nn.regression(x, Y[:, None]), r"one axis, .rows,., got 2.*ravel"),
        (lambda x: nn.classification(x, ["cat", "dog"] * 15), r"integers .* got \['cat', 'dog'"),
        (lambda x: nn.classification(x, np.full(30, np.nan)), r"got \[nan.*\]. Drop rows without"),
        (lambda x: nn.classification(x, np.arange(9) % 2), "9 outcomes for 30 rows"),
        (lambda x: nn.regression(x, Y[:10]), "'y' has 10 outcomes for 30 rows of features"),
        (lambda x: nn.regression(nn.mlp(x), pm.Data("t", Y[:10])), "10 outcomes for 30 rows"),
        (lambda x: nn.regression(nn.residual(x, 2, "r"), Y[:10]), "10 outcomes for 30 rows"),
        (lambda x: nn.FixedScale(-1), "scale must be greater than 0 and finite, got -1"),
        (lambda x: nn.GroupLaplace(0), "b must be greater than 0"),
    ],
)
def test_errors_say_what_to_write(call, message):
    with pm.Model(), pytest.raises(ValueError, match=message):
        call(pm.Data("X", X))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nn.dense(x, 2.5, "a"), r"units must be an integer.*or None, got 2\.5"),
        (lambda x: nn.classification(x, Y > 0, classes="2"), "classes must be an integer.*got '2'"),
        (lambda x: nn.FixedScale("wide"), "scale must be a number, got 'wide'"),
    ],
)
def test_what_is_no_number_is_refused(call, message):
    with pm.Model(), pytest.raises(TypeError, match=message):
        call(pm.Data("X", X))


WELL_SCALED = {
    "standard": X,
    "moderate": 3 * X + 2,
    "constant": np.full((30, 4), 100.0),
    "one-hot": np.eye(30),
    "codes": 1_000.0 * (X > 0),
    "pixels near the border": np.linspace(0.02, 0.06, 3_000)[:, None]
    * (np.arange(3_000) < 9)[:, None],
    "nothing": np.zeros((0, 2)),
}


@pytest.mark.parametrize("data", WELL_SCALED.values(), ids=WELL_SCALED)
def test_columns_that_need_no_word(data):
    with pm.Model():
        nn.dense(pm.Data("X", data), 2, "layer")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            X + np.array([0, 0, 1_800, 0]),
            r"column 'c' has mean 1\.8e\+03 and standard deviation \S+\. Stand",
        ),
        (X * np.array([50, 1, 1, 0.01]), "column 'a' has .*, column 'd' has "),
        (1_000 * X, "column 'a' .*, and 1 more"),
    ],
)
def test_inputs_far_from_standard(change, said):
    """Once, of the first layer, where it was written."""
    with pm.Model(coords={"feature": list("abcd")}):
        x = pm.Data("X", change, dims=("row", "feature"))
        with pytest.warns(UserWarning, match=f"input of 'hidden_1' .*: {said}.*mean") as given:
            nn.regression(nn.mlp(x, (3, 2)), Y)
    assert len(given) == 1
    assert given[0].filename == __file__


@pytest.mark.parametrize("wrap", [np.asarray, lambda y: pm.Data("y_data", y)])
def test_outcomes_far_from_standard(wrap):
    said = r"outcome 'y' .*: mean 3e\+05 and .*undo it after predict, y\.mean\(\) \+ y\.std\(\) \*"
    with pm.Model(), pytest.warns(UserWarning, match=said):
        nn.regression(X, wrap(3e5 + 1e5 * (Y - Y.mean())))


# -- where chains start ------------------------------------------------------------------------


def starts(model, chains=200, **options):
    """Where chains start: the first draw of a step that is next to none."""
    step = ATMC(model=model, step_size=1e-9, steps_per_draw=1, **options)
    quiet = {"progressbar": False, "random_seed": 1}
    return sample(1, tune=0, chains=chains, step=step, model=model, **quiet).posterior


def test_prior_starts_are_draws_of_the_prior():
    found = starts(network(), warmup=WarmUp(start="prior"))
    raw = found["hidden_1_weights_raw"].values.ravel()
    assert stats.kstest(raw, "norm").pvalue > 0.01
    # What has an initval starts there.
    np.testing.assert_allclose(found["hidden_1_weights_scale"], 5 / 3, rtol=1e-5)
    np.testing.assert_allclose(found["y_log_sd"], -1, rtol=1e-5)


def test_jittered_starts():
    raw = starts(network())["hidden_1_weights_raw"].values.ravel()
    assert stats.kstest(raw, stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_prior_starts_of_flat_variables_are_the_initial_point():
    with pm.Model() as model:
        pm.Flat("a", shape=3, initval=[1.0, 2.0, 3.0])
        pm.Flat("b")
        pm.Normal("c", 10, 0.1)
    found = starts(model, 50, warmup=WarmUp(start="prior"))
    np.testing.assert_allclose(found["a"].mean(("chain", "draw")), [1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(found["b"], 0, atol=1e-6)
    assert found["c"].std() == pytest.approx(0.1, rel=0.4)


def test_a_law_without_draws():
    with pm.Model() as model:
        pm.CustomDist("x", logp=lambda x: -(x**2), shape=1001)
    step = ATMC(model=model, warmup=WarmUp(start="prior"))
    with pytest.raises(NotImplementedError):
        sample(1, tune=2, chains=1, step=step, model=model, progressbar=False)
    step = ATMC(model=model, steps_per_draw=1)
    assert sample(1, tune=2, chains=1, step=step, model=model, progressbar=False)


def test_an_unknown_start():
    with pytest.raises(ValueError, match=r'"auto", "jitter" or "prior".*initvals.* got \'zero\''):
        ATMC(model=network(), step_size=0.1, warmup=WarmUp(start="zero"))


class Reached(Exception):
    """The warm-up has its starts."""


@pytest.mark.parametrize(("hidden", "of_prior"), [((100, 10), True), ((40,), True), ((1,), False)])
@pytest.mark.slow
def test_the_warm_up_of_a_network_starts_from_the_prior(hidden, of_prior, monkeypatch):
    # Above 1,000 parameters, and above 100 where U curves down in many directions; a model of a
    # few may have one mode, and Newton's method finds it.
    with pm.Model() as model:
        features = nn.mlp(pm.Data("X", X), hidden, prior=nn.FixedScale(20.0))
        nn.regression(features, Y)
    found = []

    def search(self, starts):
        found.append(starts)
        raise Reached

    monkeypatch.setattr("pymc_sgmcmc.warmup.base.BaseWarmUp.search", search)
    step = ATMC(model=model, batch_size=10)
    with pytest.raises(Reached):
        sample(1, tune=2, chains=40, step=step, model=model, progressbar=False)
    block = next(b for b in step.plan.potential.layout if b.name == "hidden_1_weights")
    weights = found[0][:, block.start : block.stop]
    assert weights.std() == pytest.approx(10 if of_prior else 1 / np.sqrt(3), rel=0.2)


def test_classes_keep_the_labels_of_the_model():
    with pm.Model(coords={"y_class": ["cat", "dog", "fish"]}) as model:
        nn.classification(pm.Data("X", X), RNG.integers(3, size=30))
    assert list(model.coords["y_class"]) == ["cat", "dog", "fish"]
    assert model["y_class_weights"].type.ndim == 2
    wrong = r"'y_class' needs 3 labels, .* give it 2: \('cat', 'dog'\)"
    with pm.Model(coords={"y_class": ["cat", "dog"]}), pytest.raises(ValueError, match=wrong):
        nn.classification(pm.Data("X", X), np.arange(30) % 3)
