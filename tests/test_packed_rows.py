"""Rows as words of 64 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pymc_sgmcmc.engines.jax import packed as module
from pymc_sgmcmc.engines.jax.packed import Packed, pack, take


@pytest.fixture(params=[False, True], ids=["cached", "far"])
def far(request, monkeypatch):
    """Whether data count as too large for the processor's caches."""
    if request.param:
        monkeypatch.setattr(module, "_CACHED", 0)
    return request.param


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int16", "uint8"])
@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_rows_come_back_bit_for_bit(dtype, several, far):
    rng = np.random.default_rng(0)
    bits = rng.integers(256, size=(50, 192), dtype=np.uint8)  # NaN and subnormal numbers as well
    rows = bits.view(dtype).reshape(50, 2, -1)
    numbers = rng.integers(50, size=(3, 7), dtype=np.int32)
    with jax.enable_x64(False):
        packed = pack(rows)
        assert isinstance(packed, Packed)
        function = jax.vmap(take, in_axes=(None, 0)) if several else lambda *args: take(*args)
        wanted = numbers if several else numbers[0]
        taken = np.asarray(jax.jit(function)(packed, jnp.asarray(wanted)))
    assert taken.dtype == rows.dtype
    np.testing.assert_array_equal(taken.view(np.uint8), rows[wanted].view(np.uint8))


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros(9, np.float32),
        np.zeros((9, 15), np.float32),
        np.zeros((9, 17), np.float32),
        np.zeros((9, 128), bool),
    ],
    ids=["numbers", "short", "no whole words", "truth values"],
)
def test_others_stay_as_they_are(rows, far):
    placed = pack(rows)
    assert isinstance(placed, jax.Array)
    assert placed.shape == rows.shape
    np.testing.assert_array_equal(take(placed, jnp.asarray([3, 1])), rows[[3, 1]])


@pytest.mark.parametrize(("dtype", "lines"), [("float64", 4), ("float32", 2)])
def test_rows_in_memory_are_fetched_before_they_are_copied(dtype, lines, far):
    rows = np.random.default_rng(0).normal(size=(50, 18)).astype(dtype)
    numbers = np.array([3, 49, 0, 3], np.int32)
    with jax.enable_x64(True):
        compiled = jax.jit(lambda *args: take(*args)).lower(pack(rows), numbers).compile()
        np.testing.assert_array_equal(compiled(pack(rows), numbers), rows[numbers])
    # A number of each line that a row may lie in: XLA has found no way to do without.
    assert compiled.as_text().count(" gather(") == (1 + lines if far else 1)


def test_neighbours_come_by_themselves(monkeypatch):
    monkeypatch.setattr(module, "_CACHED", 0)
    rows, numbers = np.random.default_rng(0).normal(size=(50, 18)), np.arange(7, 12)
    with jax.enable_x64(True):
        compiled = jax.jit(lambda *args: take(*args, True)).lower(rows, numbers).compile()
        np.testing.assert_array_equal(compiled(rows, numbers), rows[numbers])
    assert compiled.as_text().count(" gather(") == 1
