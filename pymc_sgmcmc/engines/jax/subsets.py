"""Random subsets of the rows without a sort: a keyed permutation, evaluated where it is needed."""

import math

import jax
import jax.numpy as jnp
from jax import lax

ROUNDS = 8


def random_subset(words: jax.Array, n: int, size: int, first: jax.Array | int = 0) -> jax.Array:
    """Indices of `size` of `n` rows, without repeats; every subset is equally likely.

    The images of first, ..., first + size − 1 under a pseudo-random permutation of n: a generalised
    Feistel network on a grid of just over n cells, walked on from where it leaves the n. It costs
    O(size) where sorting n random numbers costs O(n log n), and subsets of the same words that
    start `size` apart have no row in common.

    Black & Rogaway (2002), Ciphers with arbitrary finite domains, method 3.

    Parameters
    ----------
    words : jax.Array
        Random words, ``(ROUNDS,)``, uint32.
    n : int
        Number of rows, below 2³¹.
    size : int
        Length of the subset, at most n − first.
    first : jax.Array or int
        Where the subset begins in the permutation.

    Returns
    -------
    jax.Array
        Shape ``(size,)``, int32.
    """
    rows = math.isqrt(n - 1) + 1
    columns = -(-n // rows)

    def permute(x: jax.Array) -> jax.Array:
        row, column = x // columns, x % columns
        for i in range(0, ROUNDS, 2):
            row = (row + _hash(column, words[i]) % rows) % rows
            column = (column + _hash(row, words[i + 1]) % columns) % columns
        return row * columns + column

    def walk(x: jax.Array) -> jax.Array:
        return jnp.where(x >= n, permute(x), x)

    start = permute(jnp.uint32(first) + jnp.arange(size, dtype=jnp.uint32))
    return lax.while_loop(lambda x: jnp.any(x >= n), walk, start).astype(jnp.int32)


def _hash(x: jax.Array, key: jax.Array) -> jax.Array:
    """Mix 32 bits, as MurmurHash3 ends."""
    x = (x ^ key) * jnp.uint32(0x9E3779B1)
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
