"""Rows as words of 64 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pymc_sgmcmc.engines.jax.packed import Packed, pack, take


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int16", "uint8"])
@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_rows_come_back_bit_for_bit(dtype, several):
    rng = np.random.default_rng(0)
    bits = rng.integers(256, size=(50, 192), dtype=np.uint8)  # NaN and subnormal numbers as well
    rows = bits.view(dtype).reshape(50, 2, -1)
    numbers = rng.integers(50, size=(3, 7), dtype=np.int32)
    with jax.enable_x64(False):
        packed = pack(rows)
        assert isinstance(packed, Packed)
        function = jax.vmap(take, in_axes=(None, 0)) if several else take
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
def test_others_stay_as_they_are(rows):
    placed = pack(rows)
    assert isinstance(placed, jax.Array)
    assert placed.shape == rows.shape
    np.testing.assert_array_equal(take(placed, jnp.asarray([3, 1])), rows[[3, 1]])
