"""Graphs evaluated for many draws, against NumPy, by JAX and one draw after another."""

import numpy as np
import pytensor.tensor as pt
import pytest

from pymc_sgmcmc.evaluate import Evaluator

RNG = np.random.default_rng(0)
W, K = RNG.normal(size=(10, 3)), RNG.integers(5, size=10)
TABLE = np.arange(12.0).reshape(4, 3).astype("float32")


def evaluator(chunk, tell=pytest.fail):
    w, k = pt.vector("w", shape=(3,)), pt.lscalar("k")
    table = pt.fmatrix("table", shape=(4, 3))
    graphs = {"product": table @ w, "next": k + 1, "cast": w.astype("float32")}
    return Evaluator([w, k], graphs, {table: TABLE}, chunk, tell)


def check(found, w=W, k=K):
    product, following, cast = found
    np.testing.assert_allclose(product, w @ TABLE.T, rtol=1e-12)
    np.testing.assert_array_equal(following, k + 1)
    np.testing.assert_array_equal(cast, w.astype("float32"))
    assert [x.dtype for x in found] == ["float64", "int64", "float32"]


@pytest.mark.parametrize("chunk", [1, 4, 5, 10, 64])
def test_chunks_are_not_seen(chunk):
    check(evaluator(chunk)([W, K]))


def test_it_is_compiled_once():
    evaluate = evaluator(4)
    for n in (10, 4, 1):
        check(evaluate([W[:n], K[:n]]), W[:n], K[:n])
    assert evaluate._by_chunk._cache_size() == 1


def test_draws_may_come_in_other_types():
    found = evaluator(4)([W.astype("float32"), K.astype("int32")])
    assert [x.dtype for x in found] == ["float64", "int64", "float32"]


def test_one_draw_after_another(monkeypatch):
    told = []

    def fail(self, graphs):
        raise NotImplementedError("no such Op")

    monkeypatch.setattr(Evaluator, "_vectorised", fail)
    evaluate = evaluator(4, lambda error, unknown: told.append((str(error), unknown())))
    for n in (10, 1):
        check(evaluate([W[:n], K[:n]]), W[:n], K[:n])
    check(evaluate([W.astype("float64"), K.astype("int32")]))
    assert told == [("no such Op", ["product", "next", "cast"])]
