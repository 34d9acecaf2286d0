"""Rows as words of 64 bits: taken at random, they come in half as many pieces as single numbers."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_WORD = np.dtype(np.uint64)
# Bytes of a row below which its first one takes the time: where it is has to be looked up.
_LONG = 64
# Bytes of data beyond which they lie in no cache; of a cache line; and of a row that the processor
# fetches ahead by itself.
_CACHED, _LINE, _FETCHED_AHEAD = 2**22, 64, 2**10


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["words"], meta_fields=["dtype", "shape"]
)
@dataclasses.dataclass(frozen=True)
class Packed:
    """Rows, each of them a few words.

    Attributes
    ----------
    words : jax.Array
        ``(N, k)``, uint64.
    dtype : str
        Of the numbers in a row.
    shape : tuple of int
        Of a row.
    """

    words: jax.Array
    dtype: str
    shape: tuple[int, ...]

    def take(self, numbers: jax.Array, neighbours: bool) -> jax.Array:
        """Rows by their numbers, ``(n, *shape)``."""
        with jax.enable_x64(True):  # or words would lose a half
            taken = _take(self.words, numbers, neighbours)
        return lax.bitcast_convert_type(taken, self.dtype).reshape(len(numbers), *self.shape)


def pack(rows: np.ndarray) -> Packed | jax.Array:
    """Put rows in place, packed if they are long and fill whole words."""
    row_bytes = math.prod(rows.shape[1:]) * rows.itemsize
    narrow = rows.dtype.kind in "fiu" and rows.itemsize < _WORD.itemsize
    if not narrow or row_bytes < _LONG or row_bytes % _WORD.itemsize:
        return jax.device_put(rows)
    words = np.ascontiguousarray(rows).reshape(len(rows), -1).view(_WORD)
    with jax.enable_x64(True):
        return Packed(jax.device_put(words), rows.dtype.name, rows.shape[1:])


def take(rows: Packed | jax.Array, numbers: jax.Array, neighbours: bool = False) -> jax.Array:
    """Rows by their numbers, ``(n, ...)``; `neighbours` if each lies beside the one before."""
    if isinstance(rows, Packed):
        return rows.take(numbers, neighbours)
    return _take(rows, numbers, neighbours)


def _take(rows: jax.Array, numbers: jax.Array, neighbours: bool) -> jax.Array:
    length = math.prod(rows.shape[1:]) * rows.dtype.itemsize
    far = rows.nbytes > _CACHED and _LONG <= length <= _FETCHED_AHEAD and not neighbours
    if far and rows.dtype != bool and jax.default_backend() == "cpu":
        numbers = _fetched(rows, numbers)
    return jnp.take(rows, numbers, axis=0, mode="clip")


def _fetched(rows: jax.Array, numbers: jax.Array) -> jax.Array:
    """The same numbers, once a number of each cache line of their rows was read.

    XLA copies one row after another, and waits for each. Of single numbers the processor fetches
    many at a time. What was read enters where the numbers are negative, which they never are,
    but XLA can't know it.
    """
    flat = rows.reshape(len(rows), -1)
    length, step = flat.shape[1], _LINE // rows.dtype.itemsize
    bits = jnp.dtype(f"uint{8 * rows.dtype.itemsize}")
    read = [
        lax.bitcast_convert_type(flat.at[numbers, i].get(mode="clip"), bits)
        for i in sorted({*range(0, length, step), length - 1})
    ]
    seen = functools.reduce(jnp.bitwise_or, read).astype(numbers.dtype)
    signs = numbers >> (8 * numbers.dtype.itemsize - 1)
    return lax.optimization_barrier(numbers | (seen & signs))
