from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymc_sgmcmc.engines.jax import subsets
from pymc_sgmcmc.engines.numba import random


def draw_jax(n, size, repeats):
    words = jax.random.bits(jax.random.key(0), (repeats, subsets.ROUNDS), np.uint32)
    return np.asarray(jax.vmap(lambda of_one: subsets.random_subset(of_one, n, size))(words))


def draw_numba(n, size, repeats):
    drawn = np.empty((repeats, size), np.int64)
    for i in range(repeats):
        random.random_subset(np.uint32(i), np.uint32(0), random.ROWS, n, drawn[i])
    return drawn


@pytest.fixture(params=[draw_jax, draw_numba], ids=["jax", "numba"])
def draw(request):
    return request.param


@pytest.mark.parametrize(
    ("n", "size"), [(1, 1), (2, 1), (5, 5), (17, 16), (1000, 100), (1025, 999)]
)
def test_no_row_repeats_and_none_is_out_of_range(draw, n, size):
    subsets = np.sort(draw(n, size, 200), axis=1)
    assert (np.diff(subsets, axis=1) > 0).all()
    assert subsets.min() >= 0
    assert subsets.max() < n


@pytest.mark.parametrize(("n", "size"), [(7, 3), (1000, 100), (1025, 33)])
def test_parts_of_a_permutation_have_no_row_in_common(n, size):
    firsts = range(0, n - size + 1, size)
    words = jax.random.bits(jax.random.key(0), (subsets.ROUNDS,), np.uint32)
    draw_part = jax.jit(lambda first: subsets.random_subset(words, n, size, first))
    by_jax = [draw_part(np.uint32(first)) for first in firsts]
    by_numba = [np.empty(size, np.int64) for _ in firsts]
    for first, out in zip(firsts, by_numba, strict=True):
        random.random_subset(np.uint32(1), np.uint32(2), random.ROWS, n, out, first)
    for parts in (by_jax, by_numba):
        rows = np.concatenate(parts)
        assert len(set(rows.tolist())) == len(rows) == n // size * size
        assert rows.min() >= 0
        assert rows.max() < n


@st.composite
def sizes(draw, largest):
    """Rows, few or very many, and how many of them are drawn: all of them, often."""
    n = draw(st.integers(1, 40) | st.integers(1, largest) | st.integers(largest - 9, largest))
    return n, draw(st.integers(1, min(n, 300)) | st.just(min(n, 300)))


def is_subset(rows, n, size):
    different = rows.shape == (size,) and len(set(rows.tolist())) == size
    return different and rows.min() >= 0 and rows.max() < n


few = settings(derandomize=True, deadline=None, database=None)


@settings(few, max_examples=5)  # each compiles anew
@given(sizes=sizes(2**31 - 1), seed=st.integers(0, 2**31 - 1))
def test_subsets_of_any_size_by_jax(sizes, seed):
    words = np.random.default_rng(seed).integers(2**32, size=subsets.ROUNDS, dtype=np.uint32)
    rows = np.asarray(jax.jit(lambda: subsets.random_subset(jnp.asarray(words), *sizes))())
    assert is_subset(rows, *sizes), sizes


@settings(few, max_examples=300)
@given(sizes=sizes(2**32 - 1), keys=st.tuples(*[st.integers(0, 2**32 - 1).map(np.uint32)] * 2))
def test_subsets_of_any_size_by_numba(sizes, keys):
    n, size = sizes
    rows = np.empty(size, np.int64)
    random.random_subset(*keys, random.ROWS, n, rows)
    assert is_subset(rows, n, size), sizes


@pytest.mark.parametrize(("n", "size"), [(7, 3), (10, 9), (12, 2)])
def test_every_subset_is_equally_likely(draw, n, size):
    repeats = 200_000
    codes = (2 ** draw(n, size, repeats)).sum(1)
    expected = [sum(2**i for i in subset) for subset in combinations(range(n), size)]
    counts = np.array([(codes == code).sum() for code in expected])
    mean = repeats / len(expected)
    chi2, df = ((counts - mean) ** 2 / mean).sum(), len(expected) - 1
    assert counts.sum() == repeats
    assert abs(chi2 - df) < 5 * (2 * df) ** 0.5


def test_every_row_is_equally_likely_in_every_place(draw):
    n, size, repeats = 100, 20, 50_000
    subsets = draw(n, size, repeats)
    for place in (0, 7, 19):
        counts = np.bincount(subsets[:, place], minlength=n)
        chi2 = ((counts - repeats / n) ** 2 / (repeats / n)).sum()
        assert abs(chi2 - (n - 1)) < 5 * (2 * (n - 1)) ** 0.5
