"""Random numbers of the Numba engine."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from pymc_sgmcmc.engines.numba.random import ESCAPE, NOISE, ROWS, normals, random_rows, threefry

u32 = np.uint32


def draw(size, key=(1, 2), stream=NOISE, dtype=np.float64):
    out = np.empty(size, dtype)
    normals(*map(u32, key), stream, out)
    return out


def test_threefry_is_that_of_jax():
    rng = np.random.default_rng(0)
    for words in rng.integers(2**32, size=(20, 4), dtype=u32):
        expected = threefry_2x32(jnp.asarray(words[:2]), jnp.asarray(words[2:]))
        np.testing.assert_array_equal(threefry(*words), expected)


def test_normals_are_normal():
    x = draw(10_000_001)
    n = x.size
    for k, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10_170)):
        assert abs((x**k).mean() - mean) < 5 * np.sqrt(variance / n), k
    # A spacing of the grid or a seam between two approximations would show here.
    assert stats.kstest(x, "norm").pvalue > 1e-3
    cells = np.histogram(stats.norm.cdf(x), bins=10_000, range=(0, 1))[0]
    assert abs(((cells - n / 10_000) ** 2 / (n / 10_000)).sum() - 9999) < 5 * np.sqrt(2 * 9999)
    assert 4.9 < np.abs(x).max() < 6.8


def test_normals_are_independent():
    n = 1_000_000
    x = draw(2 * n)
    others = {
        "second half": (x[:n], x[n:]),
        "next": (x[1:], x[:-1]),
        "key": (x, draw(2 * n, key=(1, 3))),
        "stream": (x, draw(2 * n, stream=ESCAPE)),
    }
    for name, (a, b) in others.items():
        for f in (np.asarray, np.square, np.abs):
            assert abs(np.corrcoef(f(a), f(b))[0, 1]) < 5 / np.sqrt(len(a)), name


@pytest.mark.parametrize("size", [1, 2, 3, 10, 6311])
def test_sizes_and_precisions(size):
    single, double = draw(size, dtype=np.float32), draw(size)
    np.testing.assert_array_equal(single, double.astype(np.float32))
    assert np.isfinite(single).all()
    assert len(np.unique(single)) == size


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_rows_are_uniform(n):
    rows = np.empty(1_000_000, np.int64)
    random_rows(u32(1), u32(2), ROWS, n, rows)
    counts = np.bincount(rows, minlength=n)
    assert len(counts) == n
    chi2 = ((counts - 1e6 / n) ** 2 / (1e6 / n)).sum()
    assert abs(chi2 - (n - 1)) < 5 * np.sqrt(2 * n)


def test_rows_of_huge_data():
    n = 2**32 - 1
    rows = np.empty(100_000, np.int64)
    random_rows(u32(1), u32(2), ROWS, n, rows)
    assert rows.min() >= 0
    assert rows.max() < n
    assert abs(rows.mean() / n - 0.5) < 5 / np.sqrt(12 * rows.size)
    assert (rows % 2 == 1).mean() == pytest.approx(0.5, abs=0.01)
