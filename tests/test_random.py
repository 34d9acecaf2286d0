"""Random numbers of the engines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from pymc_sgmcmc.engines.jax import random as of_jax
from pymc_sgmcmc.engines.numba import random as of_numba
from pymc_sgmcmc.engines.numba.random import threefry

u32 = np.uint32


def normals_of_numba(size, key=(1, 2), stream="NOISE", dtype=np.float64):
    out = np.empty(size, dtype)
    of_numba.normals(*map(u32, key), getattr(of_numba, stream), out)
    return out


def normals_of_jax(size, key=(1, 2), stream="NOISE", dtype=np.float64):
    wanted = getattr(of_jax, stream), of_jax.pairs_of_normals(size)
    with jax.enable_x64(dtype == np.float64):
        (pairs,) = of_jax.words(jnp.asarray(key, u32), u32(3), wanted)
        return np.asarray(of_jax.normals(pairs, size, np.dtype(dtype).name))


def rows_of_numba(size, n):
    rows = np.empty(size, np.int64)
    of_numba.random_rows(u32(1), u32(2), of_numba.ROWS, n, rows)
    return rows


def rows_of_jax(size, n):
    (pairs,) = of_jax.words(jnp.asarray([1, 2], u32), u32(3), (of_jax.ROWS, size))
    return np.asarray(of_jax.random_rows(pairs, n))


@pytest.fixture(params=[normals_of_jax, normals_of_numba], ids=["jax", "numba"])
def draw(request):
    return request.param


@pytest.fixture(params=[rows_of_jax, rows_of_numba], ids=["jax", "numba"])
def draw_rows(request):
    return request.param


def test_threefry_is_that_of_jax():
    rng = np.random.default_rng(0)
    for words in rng.integers(2**32, size=(20, 4), dtype=u32):
        expected = threefry_2x32(jnp.asarray(words[:2]), jnp.asarray(words[2:]))
        np.testing.assert_array_equal(threefry(*words), expected)


def test_normals_are_normal(draw):
    x = draw(4_000_001)
    n = x.size
    for k, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10_170)):
        assert abs((x**k).mean() - mean) < 5 * np.sqrt(variance / n), k
    # A spacing of the grid or a seam between two approximations would show here.
    assert stats.kstest(x, "norm").pvalue > 1e-3
    cells = np.histogram(stats.norm.cdf(x), bins=10_000, range=(0, 1))[0]
    assert abs(((cells - n / 10_000) ** 2 / (n / 10_000)).sum() - 9999) < 5 * np.sqrt(2 * 9999)
    assert 4.9 < np.abs(x).max() < (5.5 if draw is normals_of_jax else 6.8)


def test_normals_are_independent(draw):
    n = 1_000_000
    x = draw(2 * n)
    others = {
        "second half": (x[:n], x[n:]),
        "next": (x[1:], x[:-1]),
        "key": (x, draw(2 * n, key=(1, 3))),
        "stream": (x, draw(2 * n, stream="ESCAPE")),
    }
    for name, (a, b) in others.items():
        for f in (np.asarray, np.square, np.abs):
            assert abs(np.corrcoef(f(a), f(b))[0, 1]) < 5 / np.sqrt(len(a)), name


@pytest.mark.parametrize("size", [1, 2, 3, 10, 6311])
def test_sizes_and_precisions(draw, size):
    single, double = draw(size, dtype=np.float32), draw(size)
    np.testing.assert_array_equal(single, double.astype(np.float32))
    assert np.isfinite(single).all()
    # Of 24 bits each, a few may be equal.
    assert len(np.unique(single)) >= size - 5


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_rows_are_uniform(draw_rows, n):
    rows = draw_rows(1_000_000, n)
    counts = np.bincount(rows, minlength=n)
    assert len(counts) == n
    chi2 = ((counts - 1e6 / n) ** 2 / (1e6 / n)).sum()
    assert abs(chi2 - (n - 1)) < 5 * np.sqrt(2 * n)


@pytest.mark.parametrize("n", [2**31 - 1, 2**32 - 1])
def test_rows_of_huge_data(draw_rows, n):
    if draw_rows is rows_of_jax:
        n = min(n, 2**31 - 1)
    rows = draw_rows(100_000, n)
    assert rows.min() >= 0
    assert rows.max() < n
    assert abs(rows.mean() / n - 0.5) < 5 / np.sqrt(12 * rows.size)
    assert (rows % 2 == 1).mean() == pytest.approx(0.5, abs=0.01)


def test_rows_of_jax_are_a_fraction_of_64_bits():
    pairs = np.random.default_rng(0).integers(2**32, size=(2, 1000), dtype=u32)
    pairs[:, :3] = [[0, 2**32 - 1, 2**32 - 1], [2**32 - 1, 0, 2**32 - 1]]
    for n in (1, 3, 65_536, 65_537, 1_000_000_007, 2**31 - 1):
        exact = [(((int(x) << 32) + int(y)) * n) >> 64 for x, y in pairs.T]
        rows = np.asarray(of_jax.random_rows(jnp.asarray(pairs), n))
        np.testing.assert_array_equal(rows, exact)


@pytest.mark.parametrize(("n", "size"), [(10, 3), (3_001, 40), (12, 12), (2**31 - 1, 1_000)])
def test_a_row_of_each_stratum(n, size):
    """That it is ⌊(j n + r)/B⌋ of the r that `random_rows` gives, of all rows or of a stretch."""
    pairs = np.random.default_rng(0).integers(2**32, size=(2, size), dtype=u32)
    r = np.asarray(of_jax.random_rows(jnp.asarray(pairs), n)).astype(object)
    expected = (np.arange(size).astype(object) * n + r) // size
    found = np.asarray(of_jax.rows_of_strata(jnp.asarray(pairs), n, size))
    np.testing.assert_array_equal(found, expected)
    some = slice(size // 2, size // 2 + 2)
    stretch = of_jax.rows_of_strata(jnp.asarray(pairs[:, some]), n, size, some.start)
    np.testing.assert_array_equal(stretch, expected[some])


@pytest.mark.parametrize(("n", "size"), [(10, 3), (7, 5), (12, 4)])
def test_strata_take_every_row_as_often(n, size):
    batches = 40_000
    (pairs,) = of_jax.words(jnp.asarray([1, 2], u32), u32(3), (of_jax.ROWS, batches * size))
    of_batches = jnp.asarray(pairs).reshape(2, batches, size).swapaxes(0, 1)
    rows = np.asarray(jax.vmap(lambda x: of_jax.rows_of_strata(x, n, size))(of_batches))
    counts = np.bincount(rows.ravel(), minlength=n)
    expected = batches * size / n
    # A row is in at most two strata, so that its count is less spread than a Poisson's.
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert (np.diff(rows, axis=1) >= 0).all()
