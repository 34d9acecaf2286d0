"""Each rule from PyTensor to ONNX gives what PyTensor gives, as NumPy and by a runtime of ONNX."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.tensor.special import log_softmax, softmax

from pymc_sgmcmc.export import as_numpy, as_onnx, numerics
from pymc_sgmcmc.export.operators import _ELEMENTWISE, _REDUCTIONS, CantSpellError, spell
from pymc_sgmcmc.export.program import Program

rng = np.random.default_rng(0)
VALUES = {
    "x": rng.normal(size=(5, 4)).astype("float32"),
    "w": rng.normal(size=(4, 3)).astype("float32"),
    "i": np.array([3, 0, 1, -1, 2]),
    "b": np.array([2, 0, 1, 1, 0], "int8"),
}
x = pt.tensor("x", dtype="float32", shape=(None, 4))
w = pt.tensor("w", dtype="float32", shape=(4, 3))
i = pt.tensor("i", dtype="int64", shape=(None,))
b = pt.tensor("b", dtype="int8", shape=(None,))
e = w[i, 0]
positive = abs(x) + np.float32(0.1)
GRAPHS = {
    "activations": [
        f(x) for f in (pt.tanh, pt.sigmoid, pt.softplus, pt.exp, pt.expm1, pt.erf, pt.erfc, pt.sin)
    ],
    "others": [f(x) for f in (pt.cos, pt.sinh, pt.cosh, pt.arctan, pt.floor, pt.ceil, pt.sign)],
    "of positive": [f(positive) for f in (pt.log, pt.log1p, pt.sqrt, pt.sqr, pt.reciprocal)],
    "bounded": [pt.arcsin(pt.tanh(x)), pt.arccos(pt.tanh(x)), pt.tan(x), pt.round(x * 10), -x],
    "of two": [x + e[:, None], x - x[0], x / positive, x * x[:, :1], positive**x],
    "of many": [pt.add(x, x, x), pt.maximum(x, 0), pt.minimum(x, x[:, :1]), pt.clip(x, -1, 1)],
    "comparisons": [x > 0, x >= x[:, :1], x < 0, x <= 0, pt.eq(b, 1), pt.neq(b, 1), pt.eq(i, b)],
    "logic": [(x > 0) & (x < 1), (x > 1) | (x < 0), ~(x > 0), pt.where(x > 0, x, b[:, None])],
    "integers": [b + b, i * 2, i % 3, (i + b).astype("float32"), b.astype("bool")],
    "sums": [x.sum(), x.sum(0), x.mean(1), x.max((0, 1)), x.min(1, keepdims=True), pt.prod(x, 1)],
    "along an axis": [softmax(x, 1), log_softmax(x, 1), pt.argmax(x, 1), pt.logsumexp(x, 1)],
    "products": [x @ w, x @ w[:, 0], x[0] @ w, pt.stack([x, x]) @ w, pt.dot(x, w)],
    "shapes": [x.T, x[:, None], x.reshape((-1, 2, 2)), x.reshape((x.shape[0], 2, 2)), x.flatten()],
    "made": [
        pt.broadcast_to(x[0], x.shape),
        pt.ones((x.shape[0], 2), "float32"),
        x.shape[0].astype("float32") * x,
    ],
    "joined": [pt.concatenate([x, w[i]], 1), pt.stack([x, x], 1), pt.concatenate([b, i])],
    "entries": [x[0], x[:, -1], x[1:3, 2], x[::2], x[::-1, 1:], x[-2:], x[i[0]]],
    "picked": [w[i], w[b], w.T[:, i], w[b, i % 3], w[b, b], pt.take(x, [1, 0], 1)],
}


def program_of(graphs, values=VALUES):
    """Steps of graphs, of which w is drawn: of two draws."""
    inputs = {k: (v.dtype.name, (None, *v.shape[1:])) for k, v in values.items() if k != "w"}
    program = Program(inputs, {"w": np.stack([values["w"], -values["w"]])})
    names = {v: v.name for v in (x, w, i, b)}
    for n, (graph, array) in enumerate(zip(graphs, spell(graphs, names, program), strict=True)):
        program.give(f"out{n}", array, graph.type.dtype, graph.type.shape, None)
    program.drop_unused()
    return program, {k: values[k] for k in inputs}


def by_pytensor(graphs, values=VALUES):
    function = pytensor.function(
        [x, w, i, b], graphs, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    both = (function(**values | {"w": sign * values["w"]}) for sign in (1, -1))
    return [np.stack(pair) for pair in zip(*both, strict=True)]


@pytest.mark.parametrize("kind", GRAPHS)
def test_as_numpy(kind, tmp_path):
    graphs = [pt.as_tensor(g) for g in GRAPHS[kind]]
    program, given = program_of(graphs)
    as_numpy.write(program, tmp_path / "p.py", "")
    found = as_numpy.load(tmp_path / "p.py")(**given)
    for graph, got, wanted in zip(graphs, found.values(), by_pytensor(graphs), strict=True):
        np.testing.assert_allclose(got, wanted, 1e-5, 1e-6)
        assert got.dtype == graph.type.dtype
        assert got.shape == wanted.shape


@pytest.mark.slow
@pytest.mark.parametrize("kind", GRAPHS)
def test_as_onnx(kind, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    graphs = [pt.as_tensor(g) for g in GRAPHS[kind]]
    program, given = program_of(graphs)
    as_onnx.write(program, tmp_path / "p.onnx", "")
    session = runtime.InferenceSession(tmp_path / "p.onnx")
    taken = {v.name for v in session.get_inputs()}
    found = session.run(None, {k: v for k, v in given.items() if k in taken})
    for got, wanted in zip(found, by_pytensor(graphs), strict=True):
        np.testing.assert_allclose(got, wanted, 1e-5, 1e-6)
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape


def test_every_operator_has_an_expression():
    rules = Path(as_numpy.__file__).with_name("operators.py").read_text()
    written = set(re.findall(r'write\(\s*"(\w+)"', rules))
    known = written | {*_ELEMENTWISE.values(), *_REDUCTIONS.values()}
    assert known == set(as_numpy._EXPRESSIONS)


def test_what_no_draw_changes_is_computed_once():
    program, _ = program_of([pt.exp(x) @ w])
    assert [step.operator for step in program.before] == ["Exp"]
    assert [step.operator for step in program.by_draw] == ["MatMul"]


def test_what_has_no_rule_is_named():
    for graph, name in [
        (pt.linalg.cholesky(x.T @ x), "Cholesky"),
        (pt.cumsum(x, 0), "CumOp"),
        (pt.gammaln(x), "GammaLn"),
        (x[: i[0]], "Subtensor with bounds that are computed"),
        (softmax(x, None), "Softmax along several axes"),
    ]:
        with pytest.raises(CantSpellError, match=name):
            program_of([graph])


def test_numerics_need_numpy_alone():
    """They are copied into the files."""
    source = Path(importlib.util.find_spec(numerics.__name__).origin).read_text()
    assert re.findall(r"^(?:import|from) (\w+)", source, re.M) == ["math", "numpy"]
