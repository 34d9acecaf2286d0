"""Layers and networks of images: what they compute, their gradients, and where chains start."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from jax import lax
from pytensor.compile.mode import Mode

from pymc_sgmcmc import SGHMC, nn, predict, sample
from pymc_sgmcmc.engines.jax.derivatives import JaxDerivatives
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.nn.convolution import Convolution, by_jax

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(30, 14, 12, 2), dtype="uint8")
Y = np.arange(30) % 3
PYTHON = Mode("py", "fast_compile")


def by_hand(x, w, stride=1, padding="SAME"):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=layout)


# -- the operation -----------------------------------------------------------------------------


def convolution_and_derivatives(stride, same, shape, kernel):
    """Inputs; y, its gradients, and gradients of these; and the same by hand."""
    x, w = pt.tensor("x", shape=shape), pt.tensor("w", shape=kernel)
    y = Convolution(stride, same)(x, w)
    first = pt.grad(pt.sin(y).sum(), [x, w])
    second = pt.grad(sum(pt.cos(g).sum() for g in first), [x, w])
    padding = "SAME" if same else "VALID"

    def expected(x, w):
        def f(x, w):
            return by_hand(x, w, stride, padding)

        gradients = jax.grad(lambda x, w: jnp.sin(f(x, w)).sum(), (0, 1))
        further = jax.grad(lambda x, w: sum(jnp.cos(g).sum() for g in gradients(x, w)), (0, 1))
        return [f(x, w), *gradients(x, w), *further(x, w)]

    return [x, w], [y, *first, *second], expected


CASES = [(1, True, (5, 4))]
FURTHER = [
    (2, True, (3, 3)),
    (2, False, (5, 5)),
    (3, True, (1, 1)),
    (1, False, (3, 2)),
    (2, True, (1, 1)),
]
EVERY = CASES + [pytest.param(*case, marks=pytest.mark.slow) for case in FURTHER]


@pytest.mark.parametrize(("stride", "same", "size"), EVERY)
def test_a_convolution_and_its_derivatives_are_those_of_xla(stride, same, size):
    shape, kernel = (3, 9, 8, 2), (*size, 2, 4)
    inputs, outputs, expected = convolution_and_derivatives(stride, same, shape, kernel)
    values = [RNG.normal(size=shape), RNG.normal(size=kernel)]
    with jax.enable_x64(True):
        wanted = expected(*map(jnp.asarray, values))
        compiled = pytensor.function(inputs, outputs, mode="JAX").vm.jit_fn(*values)
    by_numpy = pytensor.function(inputs, outputs, mode=PYTHON)(*values)
    assert outputs[0].type.shape == wanted[0].shape
    for found in (by_numpy, compiled):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("stride", "same", "size"), CASES + FURTHER)
def test_numba_convolves_alike(stride, same, size):
    shape, kernel = (3, 9, 8, 2), (*size, 2, 4)
    inputs, outputs, _ = convolution_and_derivatives(stride, same, shape, kernel)
    values = [RNG.normal(size=shape), RNG.normal(size=kernel)]
    found = pytensor.function(inputs, outputs, mode="NUMBA")(*values)
    for a, b in zip(found, pytensor.function(inputs, outputs, mode=PYTHON)(*values), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("room", [0, 2**20], ids=["large", "small"])
def test_accelerators_run_the_convolution_of_xla_for_large_images(monkeypatch, room):
    """What is traced for them, compiled here all the same."""
    inputs, outputs, expected = convolution_and_derivatives(2, True, (3, 9, 8, 2), (3, 3, 2, 4))
    values = [RNG.normal(size=v.type.shape) for v in inputs]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(by_jax, "_PATCHES", room)
    with jax.enable_x64(True):
        function = pytensor.function(inputs, outputs, mode="JAX").vm.jit_fn
        traced = str(jax.make_jaxpr(function)(*values))
        found, wanted = function(*values), expected(*map(jnp.asarray, values))
    assert ("conv_general_dilated[" in traced) == (room == 0)
    assert ("dot_general" in traced) == (room > 0)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("batched", [(0, 0), pytest.param((None, 0), marks=pytest.mark.slow)])
@pytest.mark.slow
def test_chains_convolve_as_each_alone(batched):
    inputs, outputs, _ = convolution_and_derivatives(1, True, (3, 9, 8, 2), (3, 3, 2, 4))
    lead = [() if axis is None else (3,) for axis in batched]
    values = [RNG.normal(size=(*n, *v.type.shape)) for n, v in zip(lead, inputs, strict=True)]
    with jax.enable_x64(True):
        function = pytensor.function(inputs, outputs, mode="JAX").vm.jit_fn
        found = jax.vmap(function, batched)(*values)
        for chain in range(3):
            own = [x if axis is None else x[chain] for x, axis in zip(values, batched, strict=True)]
            for a, b in zip(found, function(*own), strict=True):
                np.testing.assert_allclose(a[chain], b, rtol=1e-10, atol=1e-10)


def test_a_convolution_of_unknown_size_tells_its_shape():
    x, w = pt.tensor4("x"), pt.tensor4("w")
    y = Convolution(2, False)(x, w)
    assert y.type.shape == (None,) * 4
    values = {x: np.ones((2, 9, 8, 3)), w: np.ones((3, 4, 3, 5))}
    assert tuple(y.shape.eval(values, mode=PYTHON)) == (2, 4, 3, 5)


# -- layers ------------------------------------------------------------------------------------


def test_pooling_takes_the_largest_and_the_mean():
    x = RNG.normal(size=(3, 7, 9, 2))
    squares = x[:, :6, :].reshape(3, 2, 3, 3, 3, 2)
    np.testing.assert_allclose(nn.max_pool2d(x, 3).eval(mode=PYTHON), squares.max((2, 4)))
    np.testing.assert_allclose(nn.avg_pool2d(x, 3).eval(mode=PYTHON), squares.mean((2, 4)))
    np.testing.assert_allclose(nn.avg_pool2d(x).eval(mode=PYTHON), x.mean((1, 2)))


def test_equal_pixels_share_the_gradient_of_the_largest():
    """Of a blank image all pixels are a bias: its derivative is 1 for each square."""
    bias = pt.dscalar()
    pooled = nn.max_pool2d(bias + np.zeros((1, 4, 4, 1)))
    gradient = pytensor.function([bias], pt.grad(pooled.sum(), bias), mode=PYTHON)
    assert gradient(0.3) == pytest.approx(4)


def test_filter_response_normalisation():
    with pm.Model() as model:
        x = nn.conv2d(IMAGES / 255 - 0.5, 4, "conv", prior=nn.FixedScale())
        y = nn.frn(x, "norm", threshold=True, scale=2.0)
    names = ["norm_gain", "norm_bias", "norm_threshold"]
    signal, normal, gain, bias, threshold = pm.draw(
        [x, y, *(model[n] for n in names)], random_seed=1, mode=PYTHON
    )
    root = np.sqrt(np.square(signal).mean((1, 2), keepdims=True) + 1e-6)
    np.testing.assert_allclose(normal, np.maximum(gain * signal / root + bias, threshold))
    assert model.initial_point(0)["norm_gain"].tolist() == [1] * 4
    assert model.named_vars_to_dims["norm_gain"] == ("conv",)


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        (nn.FixedScale(3.0), 3),
        (nn.GroupLaplace(0.1), 0.1 * np.sqrt(18 * 19)),
        (nn.GroupLaplace(None), np.sqrt(2)),
        (nn.Isotropic(0.2), 0.2 * np.sqrt(18)),
        (nn.WeightNorm(0.5), np.sqrt(2) * 0.5),
    ],
)
def test_priors_are_of_filters(prior, expected):
    """Root mean square of the length of a filter's weights, whose fan-in is 3 · 3 · 2."""
    with pm.Model() as model:
        nn.conv2d(IMAGES / 255 - 0.5, 500, "conv", activation="relu", prior=prior)
    weights = pm.draw(model["conv_weights"], random_seed=1, mode=PYTHON)
    squares = np.square(weights).sum(0)
    error = squares.std() / np.sqrt(len(squares))
    assert weights.shape == (18, 500)
    assert abs(squares.mean() - expected**2) < 4 * error


def test_layers_know_their_dims():
    with pm.Model() as model:
        x = nn.conv2d(pm.Data("X", IMAGES) / 255 - 0.5, 4, "conv", stride=2)
        y = nn.flatten(nn.max_pool2d(x))
        nn.dense(y, 3, "after", prior=nn.FixedScale())
        nn.dense(nn.avg_pool2d(x), 3, "mean", prior=nn.FixedScale())
    dims = model.named_vars_to_dims
    assert dims["after_weights"] == ("conv_pixel", "after")
    assert dims["mean_weights"] == ("conv", "mean")
    assert len(model.coords["conv_pixel"]) == 3 * 3 * 4
    assert len(model.coords["conv_patch"]) == 18


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nn.conv2d(x[..., 0], 3, "a"),
            r"'a' takes images.*3 axes. Use x\[\.\.\., None\]",
        ),
        (lambda x: nn.conv2d(x, 0, "a"), "filters must be an integer.*got 0"),
        (lambda x: nn.conv2d(x, 3, "a", padding="full"), '"same" or "valid", got .full'),
        (lambda x: nn.conv2d(x, 3, "a", size=13, padding="valid"), "13 × 13 .* 14 × 12 of 'a'"),
        (lambda x: nn.conv2d(pt.tensor4(), 3, "a"), "not known. Use pytensor.tensor.specify_shape"),
        (lambda x: nn.max_pool2d(x, 15), "no squares of 15 × 15"),
        (lambda x: nn.resnet_pp(x, depth=10), r"9 n \+ 2 \(11, 20, 29, ...\), got 10"),
        (lambda x: nn.resnet_frn(x, depth=2), r"6 n \+ 2 \(8, 14, 20, ...\), got 2"),
    ],
)
def test_errors_say_what_to_write(call, message):
    with pm.Model(), pytest.raises(ValueError, match=message):
        call(IMAGES / 255 - 0.5)


def test_bytes_without_a_scale_are_told():
    said = r"input of 'conv' is far from mean 0.*Standardise: pm.Data\('X', images\) / 255 - 0\.5"
    with pm.Model(), pytest.warns(UserWarning, match=said):
        nn.conv2d(pm.Data("X", IMAGES), 3, "conv")


# -- networks ----------------------------------------------------------------------------------


def model_of(network, **head):
    with pm.Model() as model:
        x = pm.Data("X", IMAGES) / 255 - 0.5
        nn.classification(network(x), pm.Data("y_data", Y), **head)
    return model


def small_lenet(x):
    return nn.lenet(x, prior=nn.FixedScale())


def lenet_by_hand(p, images, y):
    """Log density of `small_lenet` by jax.lax, p by name."""
    x = images / 255 - 0.5
    fan_in, gain = {}, {"y_class": 1.0}
    for layer, padding in (("lenet_conv_1", "SAME"), ("lenet_conv_2", "VALID")):
        w = p[f"{layer}_weights"]
        fan_in[layer] = len(w)
        kernel = w.reshape(5, 5, -1, w.shape[1])
        x = jax.nn.relu(by_hand(x, kernel, 1, padding) + p[f"{layer}_bias"])
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.reshape(len(x), -1)
    for layer in ("lenet_1", "lenet_2", "y_class"):
        fan_in[layer] = x.shape[1]
        x = x @ p[f"{layer}_weights"] + p[f"{layer}_bias"]
        x = x if layer == "y_class" else jax.nn.relu(x)
    value = jax.nn.log_softmax(x)[jnp.arange(len(y)), y].sum()
    for layer, n in fan_in.items():
        w, b = p[f"{layer}_weights"], p[f"{layer}_bias"]
        sd = gain.get(layer, np.sqrt(2)) / np.sqrt(n)
        value += jax.scipy.stats.norm.logpdf(w, 0, sd).sum() + jax.scipy.stats.norm.logpdf(b).sum()
    return value


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_density_of_lenet_is_that_by_hand(dtype):
    model = model_of(small_lenet, prior=nn.FixedScale())
    potential = StochasticPotential(model, dtype=dtype)
    position = RNG.normal(size=potential.size).astype(dtype) / 10
    with jax.enable_x64(dtype == "float64"):
        point = {k: jnp.asarray(v, dtype) for k, v in potential.unravel(position).items()}
        images = jnp.asarray(IMAGES, dtype)
        value, gradient = jax.jit(jax.value_and_grad(lenet_by_hand))(point, images, Y)
        gradient = potential.ravel({k: np.asarray(v) for k, v in gradient.items()})
    found = JaxDerivatives(potential, potential.row_arrays())
    u, slope = found.gradient(position[None], {})
    assert u[0] == pytest.approx(-float(value), rel=1e-5)
    np.testing.assert_allclose(slope[0], -gradient, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())


def test_bytes_stay_bytes_until_they_are_in_a_batch():
    potential = StochasticPotential(model_of(small_lenet), dtype="float32", batch_size=10)
    assert {x.dtype for x in potential.row_arrays()} >= {np.dtype("uint8")}
    _, _, rows = potential.inputs()
    assert [v.type.dtype for v in rows if v.type.ndim == 4] == ["uint8"]
    assert all(v.type.dtype != "float64" for v in rows)


def normalised(p, x, layer, stride=1):
    """A convolution with its filter response normalisation and threshold."""
    w, channels = p[f"{layer}_weights"], x.shape[3]
    size = int(np.sqrt(len(w) // channels))
    x = by_hand(x, w.reshape(size, size, channels, -1), stride) + p[f"{layer}_bias"]
    x = x / np.sqrt(np.square(x).mean((1, 2), keepdims=True) + 1e-6)
    y = p[f"{layer}_norm_gain"] * x + p[f"{layer}_norm_bias"]
    return np.maximum(y, p[f"{layer}_norm_threshold"])


def resnet_frn_by_hand(p, x):
    swish = jax.nn.silu
    x = swish(normalised(p, x, "resnet_start"))
    for stage in (1, 2, 3):
        stride = 1 if stage == 1 else 2
        y = swish(normalised(p, x, f"resnet_{stage}_1_1", stride))
        y = normalised(p, y, f"resnet_{stage}_1_2")
        x = x if stage == 1 else normalised(p, x, f"resnet_{stage}_1_way", stride)
        x = swish(x + y)
    return x.mean((1, 2))


def resnet_pp_by_hand(p, x):
    def convolution(x, layer, stride=1):
        direction = p[f"{layer}_weights_raw"]
        w = p[f"{layer}_weights_scale"] * direction / np.linalg.norm(direction, axis=0)
        size = int(np.sqrt(len(w) // x.shape[3]))
        return by_hand(x, w.reshape(size, size, x.shape[3], -1), stride) + p[f"{layer}_bias"]

    selu = jax.nn.selu
    x = selu(convolution(x, "resnet_start"))
    for stage in (1, 2, 3):
        layer, stride = f"resnet_{stage}_1", 1 if stage == 1 else 2
        y = selu(convolution(x, f"{layer}_1"))
        y = convolution(selu(convolution(y, f"{layer}_2", stride)), f"{layer}_3")
        x = selu(convolution(x, f"{layer}_way", stride) + y)
    return x.mean((1, 2))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda x: nn.resnet_frn(x, depth=8, width=2), resnet_frn_by_hand),
        (lambda x: nn.resnet_pp(x, depth=11, width=2), resnet_pp_by_hand),
    ],
)
@pytest.mark.slow
def test_a_residual_network_computes_what_it_says(network, expected):
    x = RNG.normal(size=(3, 10, 9, 3))
    with pm.Model() as model:
        features = network(pt.constant(x) * 1)
    named = model.free_RVs
    found, *values = pm.draw([features, *named], random_seed=1, mode=PYTHON)
    p = dict(zip([v.name for v in named], values, strict=True))
    with jax.enable_x64(True):
        np.testing.assert_allclose(found, expected(p, jnp.asarray(x)), rtol=1e-8)


def test_branches_of_resnet_pp_start_small():
    with pm.Model() as model:
        nn.resnet_pp(np.ones((3, 4, 4, 3)), depth=11, width=2, start=0.05)
    start = model.initial_point(0)
    assert set(start["resnet_2_1_3_weights_scale"]) == {0.05}
    assert set(start["resnet_2_1_2_weights_scale"]) == {1.0}


@pytest.mark.slow
@pytest.mark.parametrize("engine", [pytest.param("jax", marks=pytest.mark.weekly), "numba"])
def test_images_are_sampled_and_predicted(engine):
    """A bar in the upper or lower half, found by a convolution from bytes."""
    rng = np.random.default_rng(2)
    y = rng.integers(2, size=300)
    X = rng.integers(60, size=(300, 8, 8, 1), dtype="uint8")
    for i, row in enumerate(rng.integers(4, size=300) + 4 * y):
        X[i, row] += 120
    with pm.Model() as model:
        x = nn.conv2d(pm.Data("X", X[:200]) / 255 - 0.2, 4, "conv", activation="relu")
        nn.classification(nn.flatten(nn.max_pool2d(x)), y[:200])
        step = SGHMC(batch_size=50, dtype="float32", engine=engine)
        idata = sample(30, tune=60, chains=2, step=step, random_seed=1, progressbar=False)
    new = predict(idata, {"X": X[200:], "y": y[200:]}, model=model)
    p = new["predictions"]["y_probability"].mean(("chain", "draw"))
    assert ((p > 0.5) == y[200:]).mean() > 0.95


@pytest.mark.slow
def test_copies_of_rows_count_once_and_predict_alike():
    """As `total_size` has it: the energy of 3 copies is that of the rows; predictions are alike."""
    x, y = RNG.normal(size=(20, 2)), np.arange(20) % 3

    def model_of_copies(copies):
        with pm.Model() as model:
            logits = nn.dense(pm.Data("x", np.tile(x, (copies, 1))), 3, "class")
            total = {"total_size": len(y)} if copies > 1 else {}
            pm.Categorical("y", logit_p=logits, observed=np.tile(y, copies), **total)
        return model

    one, three = model_of_copies(1), model_of_copies(3)
    point = RNG.normal(size=StochasticPotential(one).size)
    energies = [
        JaxDerivatives(potential, potential.row_arrays()).gradient(point[None], {})[0][0]
        for potential in (StochasticPotential(one), StochasticPotential(three, batch_size=60))
    ]
    assert energies[1] == pytest.approx(energies[0])
    idata = pm.sample_prior_predictive(5, model=one, var_names=["class_weights", "class_bias"])
    asked = {"x": x[:4], "y": y[:4]}
    found = [predict(idata, asked, model=m, group="prior") for m in (one, three)]
    for group, name in (("predictions", "y_probability"), ("log_likelihood", "y")):
        np.testing.assert_allclose(*(tree[group][name].values for tree in found), rtol=1e-5)
