"""What is exported predicts what `predict` predicts, for any rows, without this package."""

import subprocess
import sys

import arviz as az
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy.special import softmax
from xarray import DataTree

from pymc_sgmcmc import nn, predict
from pymc_sgmcmc.export import to_numpy, to_onnx
from pymc_sgmcmc.prediction.linearised import GROUP

N, DRAWS = 30, 12
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 4))
IMAGES = rng.integers(0, 256, (N, 12, 12, 1), "uint8")
CODES = np.arange(N) % 6


def drawn(model, **more):
    """A posterior of two chains, of numbers that are as good as any."""
    start = model.initial_point()
    shapes = {rv.name: start[model.rvs_to_values[rv].name].shape for rv in model.free_RVs}
    free = {k: rng.normal(size=(2, DRAWS // 2, *shape)) for k, shape in shapes.items()}
    positive = {rv.name for rv in model.free_RVs if model.rvs_to_transforms[rv] is not None}
    draws = more or {k: abs(x) if k in positive else x for k, x in free.items()}
    return az.from_dict({"posterior": draws})


def regression():
    nn.regression(nn.mlp(pm.Data("X", X), (5, 5)), X[:, 0], noise="input")


def classes():
    x = nn.dense(pm.Data("X", X), 5, "a", activation="gelu", prior=nn.WeightNorm())
    nn.classification(nn.residual(x, 4, "b", activation="selu"), CODES % 3)


def images():
    x = nn.conv2d(pm.Data("X", IMAGES) / 255 - 0.5, 3, "conv", stride=2, activation="relu")
    x = nn.frn(nn.conv2d(nn.max_pool2d(x), 4, "next", size=2, padding="valid"), "norm")
    nn.classification(nn.flatten(nn.avg_pool2d(x, 2)), CODES % 2)


def embedding():
    code, size = pm.Data("code", CODES, dims="row"), pm.Data("size", CODES.astype("int8") % 2)
    table, effect = pm.Normal("table", shape=(6, 3)), pm.Normal("effect", shape=(6, 2))
    x = pt.concatenate([table[code], pm.Data("X", X)[:, 1:3]], 1)
    eta = nn.dense(nn.mlp(x, (5,)), None, "out") + effect[code, size]
    pm.Poisson("n", pm.math.exp(eta / 3), observed=CODES, dims="row")
    pm.OrderedLogistic("grade", eta, [-1, 1], observed=CODES % 3)
    pm.Deterministic("rows", pt.ones(code.shape[0]) * eta.shape[0])


def effects():
    """Variables that are made of others, which were recorded."""
    slope = pm.Deterministic("slope", pt.cumsum(pm.Normal("raw", shape=4)) * pm.HalfNormal("sd"))
    pm.Bernoulli("y", logit_p=pm.Data("X", X) @ slope, observed=CODES % 2)


MODELS = {f.__name__: f for f in (regression, classes, images, embedding, effects)}


@pytest.fixture(scope="module", params=[pytest.param(k, marks=pytest.mark.slow) for k in MODELS])
def written(request):
    with pm.Model() as model:
        MODELS[request.param]()
    recorded = {"slope": rng.normal(size=(2, DRAWS // 2, 4))} if "slope" in model.named_vars else {}
    return model, drawn(model, **recorded)


def of_rows(model, rows):
    """New rows: the model's own, turned round."""
    return {v.name: v.get_value()[::-1][:rows] for v in model.data_vars if len(v.get_value()) == N}


def names(model):
    return ["rows", "n_mean", "grade_probability"] if "rows" in model.named_vars else None


def assert_same(found, wanted):
    for name, x in wanted.items():
        assert found[name].shape == x.shape
        np.testing.assert_allclose(found[name], x, 1e-5, 1e-5)
    assert set(found) == set(wanted)


def predicted(model, idata, rows):
    new = predict(idata, rows, model=model, var_names=names(model))["predictions"].dataset
    return {k: x.values.reshape(DRAWS, *x.shape[2:]) for k, x in new.data_vars.items()}


def test_as_numpy(written, tmp_path):
    model, idata = written
    network = to_numpy(idata, tmp_path / "p.py", model=model, var_names=names(model))
    new = of_rows(model, 7)
    wanted = predicted(model, idata, new)
    assert_same(network(**new), wanted)
    first = {k: x[:, :1] for k, x in wanted.items() if k != "rows"}
    alone = network(**{k: x[:1] for k, x in new.items()})
    assert_same({k: alone[k] for k in first}, first)


def test_as_onnx(written, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, idata = written
    options = {"model": model, "var_names": names(model)}
    to_onnx(idata, tmp_path / "p.onnx", **options)
    to_onnx(idata, tmp_path / "average.onnx", average=True, **options)
    new = of_rows(model, 7)
    wanted = predicted(model, idata, new)
    for file, want in [
        ("p.onnx", wanted),
        ("average.onnx", {k: x.mean(0) for k, x in wanted.items()}),
    ]:
        session = runtime.InferenceSession(tmp_path / file)
        given = {
            v.name: new[v.name].astype("float32") if v.type == "tensor(float)" else new[v.name]
            for v in session.get_inputs()
        }
        outputs = [v.name for v in session.get_outputs()]
        assert_same(dict(zip(outputs, session.run(outputs, given), strict=True)), want)


# -- which draws, which rows -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def softmaxed():
    with pm.Model() as model:
        logits = pm.Data("X", X) @ pm.Normal("w", shape=(4, 3))
        pm.Categorical("y", logit_p=logits, observed=CODES % 3)
    return model, drawn(model)


def test_the_file_needs_numpy_alone(softmaxed, tmp_path):
    """Its numbers are those of softmax(X w), from draws that are evenly spaced over the chains."""
    model, idata = softmaxed
    to_numpy(idata, tmp_path / "served.py", model=model, draws=4)
    np.save(tmp_path / "X.npy", X[:5])
    script = (
        "import sys, numpy as np; from served import predict; p = predict(X=np.load('X.npy'));"
        "np.save('p.npy', p['y_probability']);"
        "print(*{m.split('.')[0] for m in sys.modules} & {'pymc', 'pytensor', 'jax', 'xarray'})"
    )
    run = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, ''); {script}"]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not result.stdout.strip()
    w = idata["posterior"]["w"].values.reshape(DRAWS, 4, 3)[[1, 4, 7, 10]]
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), softmax(X[:5] @ w, -1), 1e-5, 1e-6)


def test_averages_by_weights(softmaxed, tmp_path):
    model, idata = softmaxed
    options = {"model": model, "draws": None, "average": True}
    network = to_numpy(idata, tmp_path / "p.py", weights=[1, 3], **options)
    by_chain = softmax(X[:5] @ idata["posterior"]["w"].values, -1).mean(1)
    wanted = by_chain[0] / 4 + by_chain[1] * 3 / 4
    np.testing.assert_allclose(network(X=X[:5])["y_probability"], wanted, 1e-5, 1e-6)


@pytest.mark.slow
def test_few_draws_that_predict_like_all(softmaxed, tmp_path):
    model, idata = softmaxed
    few, weights = nn.compress(idata, 3, predictions=predict(idata, {"X": X}, model=model))
    network = to_numpy(few, tmp_path / "p.py", model=model, average=True, weights=weights)
    p = softmax(X @ few["posterior"]["w"].values[:, 0], -1)
    wanted = np.tensordot(weights.values, p, 1)
    np.testing.assert_allclose(network(X=X)["y_probability"], wanted, 1e-5, 1e-6)


def test_names_that_python_can_not_have(tmp_path):
    with pm.Model() as model:
        mu = pm.Data("class", X) @ pm.Normal("draws", shape=4)
        pm.Normal("net.out", mu, 1, observed=X[:, 0])
    idata = drawn(model)
    network = to_numpy(idata, tmp_path / "p.py", model=model, draws=None)
    w = idata["posterior"]["draws"].values.reshape(DRAWS, 4)
    np.testing.assert_allclose(network(class_=X)["net_out_mean"], w @ X.T, 1e-5, 1e-5)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": "p.txt"}, ValueError, "a file that ends in .py"),
        ({"weights": [1, 1]}, ValueError, "average=True"),
        ({"inputs": ["Z"]}, ValueError, "What can be given: 'X'"),
        ({"var_names": ["y"]}, ValueError, "draws are random"),
        ({"draws": 0}, ValueError, "draws must be an integer of at least 1"),
        ({"draws": 1, "average": True, "weights": [1, 0]}, ValueError, "draws=None for all"),
        ({"idata": {}}, TypeError, "the DataTree"),
    ],
)
def test_arguments_that_are_wrong(softmaxed, options, error, message, tmp_path):
    model, idata = softmaxed
    given = {"idata": idata, "path": tmp_path / "p.py", "model": model}
    with pytest.raises(error, match=message):
        to_numpy(**given | options)
    assert not list(tmp_path.iterdir())


def test_what_has_no_operator_is_named(tmp_path):
    with pm.Model() as model:
        pm.Normal("y", pt.cumsum(pm.Data("X", X) @ pm.Normal("w", shape=4)), observed=X[:, 0])
        idata = drawn(model)
        with pytest.raises(NotImplementedError, match="'y_mean' needs CumOp, which can't be exp"):
            to_numpy(idata, tmp_path / "p.py")


def test_no_rows_to_give(tmp_path):
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("m"), observed=X[:, 0])
    with pytest.raises(ValueError, match=r"write pm\.Data\('X', X\) in the model"):
        to_numpy(drawn(model), tmp_path / "p.py", model=model)


def test_linear_models_are_refused(softmaxed, tmp_path):
    model, idata = softmaxed
    linear = DataTree.from_dict({"/posterior": idata["posterior"].to_dataset(), f"/{GROUP}": None})
    with pytest.raises(NotImplementedError, match="laplace"):
        to_numpy(linear, tmp_path / "p.py", model=model)


def test_onnx_is_not_installed(softmaxed, tmp_path, monkeypatch):
    model, idata = softmaxed
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'pymc-sgmcmc\[onnx\]'"):
        to_onnx(idata, tmp_path / "p.onnx", model=model)
