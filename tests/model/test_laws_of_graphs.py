"""A graph that is rebuilt on other leaves is the one that was written on them."""

import numpy as np
import pytensor
import pytensor.tensor as pt
from hypothesis import given, settings
from hypothesis import strategies as st

from pymc_sgmcmc.model.graphs import rebuild
from tests.test_graphs import float64_nodes

COLUMNS = 3
MATRIX = np.array([[0.3, -0.2, 0.1], [0.0, 0.4, -0.3], [-0.1, 0.2, 0.3]])
TABLE = np.array([[0.5, -1.0, 0.1], [0.2, 0.3, -0.7]])

# All numbers stay within about -1 and 1, so that those of float32 are as good as float64's.
LEAVES = {
    "x": lambda x: x,
    "constant": lambda x: 0.7 * pt.ones_like(x),
    "integers": lambda x: pt.arange(COLUMNS) / 2 + 0 * x,
    "length": lambda x: pt.alloc(x.shape[0] / 100, x.shape[0], COLUMNS),
    "picked": lambda x: pt.constant(TABLE)[pt.cast(x[:, 0] > 0, "int64")],
}
OF_ONE = {
    "tanh": pt.tanh,
    "sigmoid": pt.sigmoid,
    "relu": lambda a: pt.switch(a > 0, a, 0),
    "centred": lambda a: (a - a.mean(0)) / 2,
    "sum": lambda a: pt.broadcast_to(a.sum(1, keepdims=True) / COLUMNS, a.shape),
    "product": lambda a: a @ MATRIX,
    "columns": lambda a: pt.concatenate([a[:, 1:], a[:, :1]], axis=1),
    "transposed": lambda a: (MATRIX @ a.T).T,
    "softmax": lambda a: pt.special.softmax(a, axis=1),
    # As PyMC does, with a length that is a number where it is known.
    "filled": lambda a: pt.alloc(a, a.type.shape[0] or a.shape[0], COLUMNS),
    "reshaped": lambda a: a.ravel().reshape((-1, COLUMNS)),
}
OF_TWO = {
    "mean": lambda a, b: (a + b) / 2,
    "difference": lambda a, b: (a - b) / 2,
    "times": lambda a, b: a * b,
    "quotient": lambda a, b: a / (1 + b**2),
    "larger": pt.maximum,
}
recipes = st.recursive(
    st.sampled_from(sorted(LEAVES)),
    lambda part: (
        st.tuples(st.sampled_from(sorted(OF_ONE)), part)
        | st.tuples(st.sampled_from(sorted(OF_TWO)), part, part)
    ),
    max_leaves=5,
)
few = settings(derandomize=True, deadline=None, max_examples=25, database=None)


def cook(recipe, x):
    """Write a graph as a recipe has it."""
    if isinstance(recipe, str):
        return LEAVES[recipe](x)
    name, *parts = recipe
    return (OF_ONE | OF_TWO)[name](*(cook(part, x) for part in parts))


def numbers(rows, seed):
    return np.random.default_rng(seed).uniform(-1, 1, size=(rows, COLUMNS))


def leaf(kind, rows, dtype):
    x = numbers(rows, seed=0).astype(dtype)
    return {
        "constant": pt.constant(x),
        "shared": pytensor.shared(x),
        "input": pt.tensor(dtype=dtype, shape=x.shape),
        "of any shape": pt.matrix(dtype=dtype),
    }[kind]


def evaluate(graph, x, value):
    return pytensor.function([x], graph, mode="FAST_COMPILE", on_unused_input="ignore")(value)


kinds = st.sampled_from(["constant", "shared", "input", "of any shape"])
lengths = st.integers(1, 7)
several = st.integers(2, 7)  # a length of one that is written as a number might be meant


@few
@given(recipe=recipes, kind=kinds, before=several, after=lengths)
def test_rows_of_another_number(recipe, kind, before, after):
    old = leaf(kind, before, "float64")
    new = pt.tensor(dtype="float64", shape=(after, COLUMNS))
    value = numbers(after, seed=1)
    (rebuilt,) = rebuild([cook(recipe, old)], {old: new})
    expected = evaluate(cook(recipe, new), new, value)
    found = evaluate(rebuilt, new, value)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@few
@given(
    recipe=recipes,
    kind=kinds,
    before=several,
    after=lengths,
    dtypes=st.sampled_from([("float64", "float32"), ("float32", "float64")]),
)
def test_another_precision(recipe, kind, before, after, dtypes):
    old = leaf(kind, before, dtypes[0])
    new = pt.tensor(dtype=dtypes[1], shape=(after, COLUMNS))
    value = numbers(after, seed=1).astype(dtypes[1])
    (rebuilt,) = rebuild([cook(recipe, old)], {old: new}, dtypes[1])
    found = evaluate(rebuilt, new, value)
    wide = pt.tensor(dtype="float64", shape=(after, COLUMNS))
    expected = evaluate(cook(recipe, wide), wide, value.astype("float64"))
    # Constants of a graph that was float32 have lost their digits.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == dtypes[1]
    if dtypes[1] == "float32":
        assert float64_nodes([rebuilt]) == []


@few
@given(recipe=recipes, kind=kinds, rows=lengths)
def test_nothing_replaced_is_nothing_made(recipe, kind, rows):
    graph = cook(recipe, leaf(kind, rows, "float64"))
    assert rebuild([graph], {}) == [graph]
