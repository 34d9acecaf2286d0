import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import special

from pymc_sgmcmc.engines.numba.vector_math import VectorMath, numba_mode

EXACT = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
}
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, -2.0, 1e-40, 1e-310, 3e38, -3e38, 88.5, -100.0]


def compiled(name, dtype, ndim=1):
    x = pt.tensor("x", dtype=dtype, shape=(None,) * ndim)
    f = pytensor.function([x], getattr(pt, name)(x), mode=numba_mode())
    assert any(isinstance(node.op, VectorMath) for node in f.maker.fgraph.apply_nodes)
    return f


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_values(name, dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=20_000) * s for s in (1e-6, 1e-3, 0.1, 1, 10, 80)])
    if name == "log":
        x = np.exp(np.clip(x, -80, 80))
    if name == "log1p":
        x = x[x > -0.9999]
    x = x.astype(dtype)
    f, limits = compiled(name, dtype), np.finfo(dtype)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.longdouble))
        found = f(x)
        normal = (np.abs(exact) > limits.tiny) & (np.abs(exact) < limits.max)
        error = np.abs(found[normal] / exact[normal] - 1)
        assert error.max() < 2 * limits.eps
        # The ends of the range, and what is no number.
        x = np.array(SPECIAL, dtype)
        np.testing.assert_allclose(f(x), EXACT[name](x), rtol=1e-6, atol=2 * limits.tiny)


def test_arrays_of_any_shape():
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    f = compiled("exp", "float32", ndim=2)
    for view in (x, x.T, x[::2, 1:], x[:0], np.asfortranarray(x)):
        np.testing.assert_allclose(f(view), np.exp(view), rtol=1e-6)


def test_integers_and_single_numbers_are_left_alone():
    for x in (pt.scalar("x"), pt.ivector("x")):
        f = pytensor.function([x], pt.exp(x), mode=numba_mode())
        assert not any(isinstance(node.op, VectorMath) for node in f.maker.fgraph.apply_nodes)
