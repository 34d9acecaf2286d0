"""Rebuilding graphs on other leaves."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.builders import OpFromGraph
from pytensor.graph.traversal import apply_ancestors
from pytensor.tensor.special import Softmax

from pymc_sgmcmc.model.graphs import is_shared_value, leaves, rebuild, values_read
from pymc_sgmcmc.model.interpreted import INTERPRETED

rng = np.random.default_rng(0)
X = rng.normal(size=(6, 3))
BATCH = np.array([4, 0, 5, 4])


def evaluate(graph, inputs=()):
    variables, values = zip(*inputs, strict=True) if inputs else ((), ())
    function = pytensor.function(variables, graph, mode="FAST_COMPILE", on_unused_input="ignore")
    return function(*values)


def float64_nodes(outputs):
    """Nodes of a graph, and of graphs inside its nodes, that take or give float64."""
    found = []
    for node in apply_ancestors(outputs):
        variables = [*node.inputs, *node.outputs]
        if any(getattr(v.type, "dtype", None) == "float64" for v in variables):
            found.append(node)
        found += float64_nodes(getattr(node.op, "inner_outputs", ()))
    return found


def loop(x):
    """Hidden states (6, 3) of a recurrence over columns, all rows at once."""
    start = pt.zeros((x.shape[0], 3))
    states = pytensor.scan(
        lambda column, state: pt.tanh(state + column[:, None]),
        sequences=[x.T],
        outputs_info=[start],
        return_updates=False,
    )
    return states[-1]


def with_gradient(x):
    """Identity whose gradient is defined to be 7."""
    inner = pt.matrix(dtype=x.type.dtype, shape=x.type.shape)
    op = OpFromGraph([inner], [inner], pullback=lambda i, o, g: [pt.full_like(i[0], 7.0)])
    return op(x)


ROWWISE = {
    "arithmetic": lambda x: (x * 2 + 1) / 3,
    "dot": lambda x: x @ np.ones(3),
    "rows last": lambda x: (np.ones(3) @ x.T)[:, None],
    "alloc a column": lambda x: pt.concatenate([pt.ones((x.shape[0], 1)), x], axis=1),
    "alloc the value": lambda x: pt.alloc(x[:, 0], 2, x.shape[0]).T,
    "broadcast": lambda x: pt.broadcast_to(x[:, 0][:, None], (x.shape[0], 4)),
    "specify shape": lambda x: pt.specify_shape(x, (6, 3)) + 1,
    "specify one length": lambda x: pt.specify_shape(x, (None, 3)) + 1,
    "reshape": lambda x: x.reshape((x.shape[0], 3, 1)),
    "index": lambda x: x[:, [2, 0]],
    "index by its length": lambda x: x[pt.arange(x.shape[0]), 1],
    "set entries": lambda x: pt.set_subtensor(x[:, 1], 0.0),
    "switch": lambda x: pt.switch(x > 0, x, 0.1),
    "reduce": lambda x: x.sum(1),
    "softmax": lambda x: pt.special.softmax(x, axis=-1),
    "einsum": lambda x: pt.einsum("ij,j->i", x, np.ones(3)),
    "inner graph": lambda x: OpFromGraph([i := pt.matrix(shape=(6, 3))], [i * 2.5])(x),
    "gradient by hand": with_gradient,
    "scan": loop,
}


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("shape", [(6, 3), (None, None)], ids=["static", "open"])
@pytest.mark.parametrize("build", ROWWISE.values(), ids=ROWWISE)
def test_other_length(build, shape):
    """Fewer rows go in, the same rows come out; the graph itself stays as it is."""
    old, new = pt.tensor(shape=shape), pt.tensor(shape=(len(BATCH), 3))
    graph = build(old)
    (copy,) = rebuild([graph], {old: new})
    full = evaluate(graph, [(old, X)])
    np.testing.assert_allclose(evaluate(copy, [(new, X[BATCH])]), full[BATCH], rtol=1e-14)
    assert evaluate(copy, [(new, X[:1].repeat(4, 0))]).shape == (4, *full.shape[1:])


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("build", ROWWISE.values(), ids=ROWWISE)
def test_float32(build):
    """No node computes in float64, gradients of inner graphs included."""
    old, new = pt.tensor(shape=(6, 3)), pt.tensor(dtype="float32", shape=(6, 3))
    graph = build(old)
    (copy,) = rebuild([graph], {old: new}, "float32")
    assert copy.type.dtype == "float32"
    assert not float64_nodes([copy])
    value = evaluate(copy, [(new, X.astype("float32"))])
    np.testing.assert_allclose(value, evaluate(graph, [(old, X)]), rtol=1e-5, atol=1e-6)


def make_vector(x, k):
    return pt.stack([x[0], x[1] * 0.3])


ODD = {
    "cast": lambda x, k: k.astype("float64") * x,
    "sum of integers": lambda x, k: x * k.mean(),
    "integers": lambda x, k: x * k + k / 7,
    "function of integers": lambda x, k: x * pt.gammaln(k + 2),
    "integer matrix": lambda x, k: pt.outer(k, k) @ x,
    "float64 constant": lambda x, k: x * np.linspace(0, 1, 4),
    "vector of scalars": make_vector,
    "empty": lambda x, k: pt.set_subtensor(pt.empty(4)[:], x),
    "shape": lambda x, k: x / x.shape[0],
    "cholesky": lambda x, k: pt.linalg.cholesky(pt.diag(x**2 + 1)).sum(0),
    "xlogy": lambda x, k: pt.special.xlogy(k, x**2),
}


@pytest.mark.parametrize("build", ODD.values(), ids=ODD)
def test_float32_where_types_are_fixed(build):
    """What float64 an Op, a constant or 64-bit integers ask for becomes float32."""
    old, new = pt.vector(shape=(4,)), pt.vector(dtype="float32", shape=(4,))
    k = pt.vector(dtype="int64", shape=(4,))
    graph = build(old, k)
    (copy,) = rebuild([graph], {old: new}, "float32")
    assert not float64_nodes([copy])
    value, integers = np.array([0.5, -1.0, 2.0, 3.0]), np.array([0, 3, 1, 2])
    np.testing.assert_allclose(
        evaluate(copy, [(new, value.astype("float32")), (k, integers)]),
        evaluate(graph, [(old, value), (k, integers)]),
        rtol=1e-5,
    )


def test_float64_from_float32_constants():
    """A constant that PyTensor stores in float32 is used in float64, not rounded once more."""
    x = pt.vector(dtype="float32", shape=(2,))
    (copy,) = rebuild([pt.sqrt(pt.as_tensor(2.0)) * x], {x: pt.vector(shape=(2,))}, "float64")
    value = evaluate(copy, [(leaf, [1.0, 2.0]) for leaf in leaves([copy]) if leaf.type.ndim])
    np.testing.assert_allclose(value, np.sqrt(2) * np.array([1, 2]), rtol=1e-15)


def test_constant_replacements_are_converted():
    x, constant = pt.vector(), pt.constant(np.array([0.1, 0.2]))
    (copy,) = rebuild([x * 2], {x: constant}, "float32")
    assert not float64_nodes([copy])


def test_replace_an_intermediate_variable():
    x, y = pt.vector(), pt.vector()
    middle = x * 2
    (copy,) = rebuild([middle + 1], {middle: y})
    assert leaves([copy]) != leaves([middle + 1])
    assert evaluate(copy, [(y, [1.0])]) == [2.0]


def test_nothing_to_replace():
    x = pt.vector()
    graph = x + 1
    assert rebuild([graph, x], {}) == [graph, x]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_by_hand_stay(dtype):
    old, new = pt.tensor(shape=(6, 3)), pt.tensor(dtype=dtype, shape=(2, 3))
    (copy,) = rebuild([with_gradient(old)], {old: new}, dtype)
    gradient = evaluate(pytensor.grad(copy.sum(), new), [(new, np.zeros((2, 3), dtype))])
    assert (gradient == 7).all()


def test_stable_operations_stay():
    """PyTensor's own inner graphs come with gradients and rewrites: they are not taken apart."""
    old, new = pt.tensor(shape=(6, 3)), pt.tensor(shape=(2, 3))
    (copy,) = rebuild([pt.special.softmax(old, axis=1)], {old: new})
    assert isinstance(copy.owner.op, Softmax)
    x, y = pt.vector(), pt.vector(dtype="float32")
    (copy,) = rebuild([pt.special.xlogy(x, x).sum()], {x: y}, "float32")
    assert np.isfinite(evaluate(pytensor.grad(copy, y), [(y, np.ones(2, "float32"))])).all()


def test_leaves():
    x, shared = pt.vector("x"), pytensor.shared(np.zeros(2))
    middle = x + shared
    graph = middle * 2 + x
    assert [v for v in leaves([graph]) if v in (x, shared)] == [x, shared]
    assert shared not in leaves([graph], blockers=[middle])
    assert x not in leaves([graph], blockers=[x])


def test_values_read():
    x, y = pt.vector("x"), pt.vector("y")
    graph = pt.arange(x.shape[0]) * y
    assert y in values_read(graph)
    assert x not in values_read(graph)
    assert values_read(x) == [x]


def test_is_shared_value():
    assert is_shared_value(pytensor.shared(np.zeros(2)))
    assert not is_shared_value(pt.random.shared_rng(seed=0))
    assert not is_shared_value(pt.vector())


def test_nothing_is_left_that_pytensor_would_compile():
    x = pt.matrix("x")
    graph = pt.special.log_softmax(x, axis=1)  # has an inner graph, and that another one
    function = pytensor.function([x], graph, mode=INTERPRETED)
    nodes = function.maker.fgraph.apply_nodes
    assert not any(isinstance(node.op, OpFromGraph) for node in nodes)
    value = X.astype(x.dtype)
    expected = value - np.log(np.exp(value).sum(1, keepdims=True))
    np.testing.assert_allclose(function(value), expected, rtol=1e-6)
