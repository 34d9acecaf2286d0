"""Equinox and Flax modules in a model: what is sampled, what stays, and the way back."""

import itertools
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from jax.scipy.stats import norm
from scipy.stats import norm as normal

from pymc_sgmcmc import SGLD, SGNHT, nn, predict, sample
from pymc_sgmcmc.model.graphs import is_network
from pymc_sgmcmc.model.potential import StochasticPotential
from tests.moments import assert_moments
from tests.reference import assert_close, by_jax, random_point

eqx = pytest.importorskip("equinox")
nnx = pytest.importorskip("flax.nnx")
networks = pytest.importorskip("benchmarks.jax_networks")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4))
Y = np.sin(X[:, 0]) + 0.1 * RNG.normal(size=50)
KEY = jax.random.key(0)
WRITE = {"equinox": nn.from_equinox, "flax": nn.from_flax}


def mlp(outputs="scalar", width=5):
    return eqx.nn.MLP(4, outputs, width, 1, jnp.tanh, key=KEY)


def flax_mlp(outputs=3, width=5):
    rngs = nnx.Rngs(0)
    return nnx.Sequential(
        nnx.Linear(4, width, rngs=rngs), nnx.tanh, nnx.Linear(width, outputs, rngs=rngs)
    )


def regression(module, write=nn.from_equinox, x=X, **options):
    with pm.Model() as model:
        mean = pm.Deterministic("mean", write(module, pm.Data("X", x), **options))
        pm.Normal("y", mean, 0.5, observed=Y[: len(x)])
    return model


# -- the density -----------------------------------------------------------------------------------


def by_hand(library, module, x, y):
    """U of the arrays of a module, in JAX alone: weights N(0, 1/fan_in), others N(0 or 1, 1)."""

    def potential(parts):
        """Of the arrays in the layout that the model has, by path."""
        total, fan_in_first = 0.0, library == "equinox"
        arrays = {}
        for path, shape in shapes.items():
            w = parts[path]
            layer = path.split(".")[-2] if "." in path else ""
            if w.ndim == 1:
                gain = "norms" in path and path.endswith(("weight", "scale"))
                total -= norm.logpdf(w, 1.0 if gain else 0.0, 1).sum()
            else:
                fan_in = 1 if layer == "characters" else w.shape[0]
                total -= norm.logpdf(w, 0, 1 / np.sqrt(fan_in)).sum()
            back = w.T if fan_in_first and w.ndim == 2 and layer != "characters" else w
            arrays[path] = back.reshape(shape)
        logits = outputs(arrays)
        return total - jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1).sum()

    if library == "equinox":
        paths = jax.tree_util.tree_leaves_with_path(eqx.filter(module, eqx.is_inexact_array))
        named = {jax.tree_util.keystr(p, simple=True, separator="."): a for p, a in paths}

        def outputs(arrays):
            where = eqx.filter(module, eqx.is_inexact_array)
            tree = jax.tree.unflatten(jax.tree.structure(where), [arrays[k] for k in named])
            return jax.vmap(eqx.combine(tree, module))(x)

    else:
        graph, state, _ = nnx.split(module, nnx.Param, ...)
        named = {".".join(map(str, k)): v.get_value() for k, v in nnx.to_flat_state(state)}
        keys = [k for k, _ in nnx.to_flat_state(state)]

        def outputs(arrays):
            pairs = [(k, nnx.Param(arrays[".".join(map(str, k))])) for k in keys]
            return nnx.merge(graph, nnx.from_flat_state(pairs))(x)

    shapes = {k: a.shape for k, a in named.items()}
    return jax.jit(jax.value_and_grad(potential))


QUICK = [("mlp", "equinox", "float32"), ("mlp", "equinox", "float64"), ("mlp", "flax", "float32")]
CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
    for case in itertools.product(("mlp", "conv"), WRITE, ("float32", "float64"))
] + [
    pytest.param("transformer", "equinox", "float32", marks=pytest.mark.slow),
    pytest.param("transformer", "flax", "float64", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "library", "dtype"), CASES)
@pytest.mark.slow
def test_density_and_gradient_are_those_of_jax(kind, library, dtype):
    rows, side = (12, 6) if kind != "conv" else (12, 8)
    x, y = networks.text(rows, side) if kind == "transformer" else networks.images(rows, side, 3)
    x = x.reshape(rows, -1) if kind == "mlp" else x
    module = getattr(networks, library)(kind, 4, int(y.max()) + 1, side)
    with pm.Model() as model:
        logits = WRITE[library](module, pm.Data("x", x), prior=nn.FixedScale())
        pm.Categorical("y", logit_p=logits, observed=y)
    assert is_network(model)
    point = random_point(model)
    potential = StochasticPotential(model, dtype=dtype)
    with jax.enable_x64(dtype == "float64"):
        parts = {k.removeprefix("net."): jnp.asarray(v, dtype) for k, v in point.items()}
        data = x if x.dtype.kind == "i" else jnp.asarray(x, dtype)
        value, gradients = by_hand(library, module, data, y)(parts)
    flat = potential.ravel({f"net.{k}": np.asarray(g) for k, g in gradients.items()})
    tolerance = {"float32": 1e-5, "float64": 1e-11}[dtype]
    assert_close(by_jax(potential)(point), (float(value), flat), tolerance)


# -- variables -------------------------------------------------------------------------------------


def test_arrays_are_variables_by_their_paths():
    model = regression(
        mlp(), name="f", prior=nn.FixedScale(2), dims={"layers.0.weight": ("feature", "hidden")}
    )
    shapes = {k: np.shape(v) for k, v in model.initial_point().items()}
    assert shapes == {
        "f.layers.0.weight": (4, 5),
        "f.layers.0.bias": (5,),
        "f.layers.1.weight": (5, 1),
        "f.layers.1.bias": (1,),
    }
    assert model.named_vars_to_dims["f.layers.0.weight"] == ("feature", "hidden")
    assert is_network(model)
    draws = pm.draw(model["f.layers.0.weight"], 2000, random_seed=1)
    assert draws.std() == pytest.approx(2 / np.sqrt(4), rel=0.03)


class Fans:
    """A prior that notes the fan-in of what it is asked for, by path."""

    def __init__(self):
        self.found = {}

    def weights(self, name, dims, fan_in, gain):
        self.found[name.removeprefix("net.")] = fan_in
        return pm.Normal(name, dims=dims)


@pytest.mark.slow
@pytest.mark.parametrize("library", WRITE)
def test_fan_in_of_every_kind_of_layer(library):
    """Of convolutions, attention with several heads, and tables; and the factors of norms."""

    def fans(kind, x):
        prior = Fans()
        with pm.Model() as model:
            WRITE[library](getattr(networks, library)(kind, 4, 20, 6), x, prior=prior)
        return prior.found, model

    weight = "weight" if library == "equinox" else "kernel"
    conv, _ = fans("conv", np.ones((3, 8, 8)))
    assert conv == {f"first.{weight}": 9, f"second.{weight}": 8 * 9, f"head.{weight}": 16}
    found, model = fans("transformer", np.ones((3, 6), int))
    assert found["characters." + ("weight" if library == "equinox" else "embedding")] == 1
    query, out = ("query_proj", "output_proj") if library == "equinox" else ("query", "out")
    assert found[f"blocks.0.attention.{query}.{weight}"] == 4
    assert found[f"blocks.1.attention.{out}.{weight}"] == 4
    gain = model["net.blocks.0.norms.0." + ("weight" if library == "equinox" else "scale")]
    assert (model.rvs_to_initial_values[gain] == 1).all()
    assert gain.owner.op.dist_params(gain.owner)[0].eval() == 1


def test_priors_by_patterns():
    model = regression(
        mlp(),
        prior={"layers.0.*": nn.FixedScale(3), "*.bias": nn.Around(0.1), "*": nn.FixedScale(1)},
    )
    sd = {v.name: float(np.mean(v.owner.op.dist_params(v.owner)[1].eval())) for v in model.free_RVs}
    assert sd == pytest.approx(
        {
            "net.layers.0.weight": 3 / 2,
            "net.layers.0.bias": 3,
            "net.layers.1.weight": 1 / np.sqrt(5),
            "net.layers.1.bias": 0.1,
        }
    )


@pytest.mark.parametrize(
    "prior",
    [nn.Around(0.1), nn.FixedScale(), nn.LearnedScale(), nn.GroupLaplace(), nn.WeightNorm()],
    ids=lambda prior: type(prior).__name__,
)
@pytest.mark.filterwarnings("ignore:Numba will use object mode")
@pytest.mark.slow
def test_chains_start_at_the_module(prior):
    module = mlp("scalar", 5)
    model = regression(module, prior=prior, start="module")
    mean = model.replace_rvs_by_values([model["mean"]])[0]
    start = model.compile_fn(mean, inputs=model.value_vars)
    np.testing.assert_allclose(start(model.initial_point()), jax.vmap(module)(X), rtol=1e-5)


def test_around_is_a_prior_around_the_values():
    module = mlp()
    model = regression(module, prior=nn.Around(0.2))
    point = random_point(model)
    names = [v.name for v in model.value_vars]
    w, b, v, c = (np.asarray(a) for a in jax.tree.leaves(eqx.filter(module, eqx.is_array)))
    expected = sum(
        normal.logpdf(point[name], centre, 0.2 / np.sqrt(fan_in)).sum()
        for name, centre, fan_in in zip(names, (w.T, b, v.T, c), (4, 1, 5, 1), strict=True)
        if name.endswith("weight")
    ) + sum(
        normal.logpdf(point[name].ravel(), centre, 0.2).sum()
        for name, centre in zip(names, (w.T, b, v.T, c), strict=True)
        if name.endswith("bias")
    )
    found = model.compile_logp(vars=model.free_RVs)(point)
    assert found == pytest.approx(expected)


# -- freezing --------------------------------------------------------------------------------------


def test_what_is_frozen_is_no_variable_and_no_row_data():
    """Even where it has as many entries as there are rows."""
    module = mlp("scalar", 50)
    model = regression(module, freeze=("*", "!layers.1.*"), prior=nn.FixedScale())
    assert [v.name for v in model.free_RVs] == ["net.layers.1.weight", "net.layers.1.bias"]
    assert not is_network(model)
    potential = StochasticPotential(model, batch_size=10, dtype="float32")
    assert [x.shape for x in potential.row_arrays()] == [(50, 4), (50,)]
    biases = regression(module, freeze=("*", "!*.bias"))
    assert [v.name for v in biases.free_RVs] == ["net.layers.0.bias", "net.layers.1.bias"]


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
def test_adapters_alone():
    """A pretrained layer with an adapter of low rank, which begins at nothing (Hu et al. 2021)."""
    module = nnx.LoRALinear(4, 3, lora_rank=2, rngs=nnx.Rngs(0))
    with pm.Model() as model:
        signal = nn.from_flax(
            module, X, freeze=("*", "!*lora*"), prior=nn.FixedScale(), start="module"
        )
    point = {k: np.asarray(v) for k, v in model.initial_point().items()}
    assert {k: v.shape for k, v in point.items()} == {
        "net.lora.lora_a": (4, 2),
        "net.lora.lora_b": (2, 3),
    }
    point["net.lora.lora_b"] = RNG.normal(size=(2, 3))
    (signal,) = model.replace_rvs_by_values([signal])
    found = model.compile_fn(signal, inputs=model.value_vars)(point)
    expected = module(X) + X @ point["net.lora.lora_a"] @ point["net.lora.lora_b"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def last_layer(features, outcomes, sd, noise):
    """Mean and covariance of the weights and the bias of a linear layer, from N(0, sd²)."""
    design = np.column_stack([features, np.ones(len(features))])
    precision = design.T @ design / noise**2 + np.diag(1 / sd**2)
    covariance = np.linalg.inv(precision)
    return covariance @ design.T @ outcomes / noise**2, covariance


@pytest.mark.parametrize(
    ("module", "write", "freeze", "names"),
    [
        (mlp(), nn.from_equinox, ("*", "!layers.1.*"), ("layers.1.weight", "layers.1.bias")),
        pytest.param(
            flax_mlp(1), nn.from_flax, "layers.0.*", ("layers.2.kernel", "layers.2.bias"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["equinox", "flax"],
)  # fmt: skip
@pytest.mark.slow
def test_a_last_layer_has_its_closed_form(module, write, freeze, names):
    """Bayesian linear regression on the features of the frozen layer."""
    first = module.layers[0]
    features = np.tanh(first(X) if write is nn.from_flax else jax.vmap(first)(X))
    with pm.Model() as model:
        mean = write(module, pm.Data("X", X), freeze=freeze, prior=nn.FixedScale(2))
        pm.Normal("y", mean.ravel(), 0.5, observed=Y)
        step = SGNHT(batch_size=25, engine="jax")
        idata = sample(500, tune=300, chains=20, step=step, random_seed=1, progressbar=False)
    assert [v.name for v in model.free_RVs if "bias" not in v.name] == [f"net.{names[0]}"]
    weight, bias = (idata.posterior[f"net.{name}"].values for name in names)
    sd = np.array([2 / np.sqrt(5)] * 5 + [1.0])
    expected = last_layer(np.float64(features), Y, sd, 0.5)
    assert_moments(np.concatenate([weight[..., 0], bias], axis=-1), *expected)


# -- draws, and the way back -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "write", "back"),
    [
        pytest.param(mlp(3), nn.from_equinox, nn.to_equinox, id="equinox"),
        pytest.param(flax_mlp(3), nn.from_flax, nn.to_flax, id="flax", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_draw_goes_back_into_a_module(module, write, back):
    classes = RNG.integers(3, size=50)
    with pm.Model() as model:
        logits = write(module, pm.Data("X", X), freeze="layers.0.*")
        pm.Categorical("y", logit_p=logits, observed=classes)
        step = SGLD(step_size=0.01, steps_per_draw=2, batch_size=10, dtype="float32", engine="jax")
        idata = sample(4, tune=2, chains=2, step=step, random_seed=1, progressbar=False)
    new = predict(idata, {"X": X[:6]}, model=model).predictions["y_probability"]
    for draw in ((0, -1), (1, 2)):
        drawn = back(idata, module, draw)
        logits = jax.vmap(drawn)(X[:6]) if back is nn.to_equinox else drawn(X[:6])
        np.testing.assert_allclose(new[draw], jax.nn.softmax(logits), rtol=1e-4, atol=1e-6)
    untouched = jax.vmap(module)(X) if back is nn.to_equinox else module(X)
    assert not np.allclose(untouched[:6], logits)
    with pytest.raises(ValueError, match="name that the network was written with"):
        back(idata, module, name="other")
    few = idata.copy()
    few["posterior"] = few.posterior.to_dataset().drop_vars(
        [v for v in few.posterior.data_vars if v.endswith(("weight", "kernel"))]
    )
    with pytest.raises(ValueError, match=r"only what it is made of.*var_names"):
        back(few, module)


# -- what is refused -------------------------------------------------------------------------------


def test_chance_and_statistics_of_other_rows_are_refused():
    dropout = eqx.nn.Sequential([mlp(3), eqx.nn.Dropout(0.2)])
    with pytest.raises(ValueError, match=r"Dropout\(p=0.2\).*inference_mode"):
        regression(dropout)
    regression(eqx.nn.inference_mode(eqx.nn.Sequential([mlp(), eqx.nn.Dropout(0.2)])))
    norm_ = eqx.nn.Sequential([mlp(3), eqx.nn.BatchNorm(3, "batch", mode="batch")])
    with pytest.raises(ValueError, match=r"BatchNorm.*GroupNorm"):
        regression(norm_)
    rngs = nnx.Rngs(0)
    dropout = nnx.Sequential(nnx.Linear(4, 3, rngs=rngs), nnx.Dropout(0.2, rngs=rngs))
    with pytest.raises(ValueError, match=r"Dropout with a dropout of 0.2.*module.eval\(\)"):
        regression(dropout, nn.from_flax)
    norm_ = nnx.Sequential(nnx.Linear(4, 3, rngs=rngs), nnx.BatchNorm(3, rngs=rngs))
    with pytest.raises(ValueError, match=r"BatchNorm.*GroupNorm"):
        regression(norm_, nn.from_flax)
    attention = nnx.MultiHeadAttention(2, 4, dropout_rate=0.1, decode=False, rngs=rngs)
    with pytest.raises(ValueError, match=r"dropout of 0\.1"):
        nn.from_flax(attention, X)
    norm_.eval()
    with pm.Model() as model:  # the statistics are numbers now
        outputs = nn.from_flax(norm_, X)
    assert "net.layers.1.scale" in model.named_vars
    assert outputs.type.shape == (50, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"freeze": "*"}, ValueError, "leaves nothing of the module to sample.*'layers.0.weight'"),
        ({"freeze": "layer1"}, ValueError, "freeze has 'layer1', which matches no array.*layers.0"),
        ({"prior": {"last": nn.FixedScale()}}, ValueError, "prior has 'last', which matches"),
        ({"dims": {"*.weight": ("a",)}}, ValueError, "written with 2 dims.*gives"),
        ({"start": "zero"}, ValueError, 'start must be "prior" or "module"'),
    ],
)
def test_arguments(options, error, message):
    with pytest.raises(error, match=re.compile(message, re.S)):
        regression(mlp(), **options)


def test_a_module_that_does_not_fit():
    with pytest.raises(ValueError, match=r"MLP can't be applied to rows of x.*\(7,\)"):
        regression(mlp(), x=np.ones((50, 7)))
    with pytest.raises(TypeError, match=r"must be an equinox\.Module"):
        regression(3)
    with pytest.raises(TypeError, match=r"must be a flax\.nnx\.Module"):
        regression(mlp(), nn.from_flax)
    with pytest.raises(ValueError, match="scale must be greater than 0"):
        nn.Around(0)

    class Whole(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(4))

        def __call__(self, x):
            return (x @ self.w).mean()

    with pytest.raises(ValueError, match="not one for each row"):
        regression(Whole(), nn.from_flax)


def test_a_table_has_no_group_laplace():
    table = eqx.nn.Embedding(5, 3, key=KEY)
    with pm.Model(), pytest.raises(ValueError, match="a table of which one row is taken"):
        nn.from_equinox(table, np.zeros(50, int), prior=nn.GroupLaplace())


def test_a_prior_of_ones_own_can_not_start_anywhere():
    class Halves:
        def weights(self, name, dims, fan_in, gain):
            return pm.Deterministic(name, pm.Normal(f"{name}_half", dims=dims) / 2)

    with pytest.raises(TypeError, match="which variables of Halves"):
        regression(mlp(), prior=Halves(), start="module")
    regression(mlp(), prior=Halves())


def test_libraries_that_are_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(ImportError, match=r"pymc-sgmcmc\[equinox\]"):
        nn.from_equinox(None, X)
    with pytest.raises(ImportError, match=r"pymc-sgmcmc\[flax\]"):
        nn.from_flax(None, X)
