import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.graph.traversal import ancestors
from scipy import special

from pymc_sgmcmc.dynamics import ATMCDynamics, SGHMCDynamics, SGNHTDynamics
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


# -- transitions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", [ATMCDynamics, SGHMCDynamics, SGNHTDynamics])
def test_relativistic_momenta_take_few_divisions(dynamics):
    """A polynomial of a quotient may become one of quotients, with a division for each power.

    That made an update of ATMC five times as slow for a network, with 23 divisions.
    """
    names = ("position", *dynamics.auxiliaries, "gradient", "noise")
    position, *auxiliaries, gradient, noise = (pt.vector(name, dtype="float32") for name in names)
    step_sizes = [pt.scalar(name, dtype="float32") for name in ("h", "h0")]
    of_names = dict(zip(dynamics.auxiliaries, auxiliaries, strict=True))
    transition = dynamics(speed_limit=3.0).transition(
        position, of_names, gradient, noise, *step_sizes
    )
    outputs = [transition.position, *transition.auxiliaries.values()]
    rewritten = rewrite_graph(
        [*outputs, *transition.statistics.values()], include=("canonicalize", "specialize")
    )
    divisions = [
        x
        for x in ancestors(rewritten)
        if x.owner is not None
        and x.type.ndim == 1
        and str(getattr(x.owner.op, "scalar_op", "")) in ("true_div", "reciprocal")
    ]
    assert 0 < len(divisions) <= 8
