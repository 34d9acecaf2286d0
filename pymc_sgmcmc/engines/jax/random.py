"""Random numbers of the JAX engine: a function of a chain's seed, an update and a stream.

Threefry-2x32, as `jax.random` has it, but all that an update needs in one call: its keys of keys
take XLA longer to compile than the model, and a small model longer to run.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry_2x32

# Streams of one update: the upper bits of the counter's second word.
NOISE, ROWS, ESCAPE = 0, 1 << 30, 1 << 31
# The numbers of 24 bits next to −1 and 1.
_WITHIN = np.float32(2.0**-24 - 1), np.float32(1 - 2.0**-24)


def words(seed: jax.Array, update: jax.Array, *streams: tuple[jax.Array | int, int]) -> list:
    """Random words of 32 bits.

    Parameters
    ----------
    seed : jax.Array
        That of a chain, ``(2,)``, uint32.
    update : jax.Array
        Number of the update, uint32.
    *streams : tuple of int
        A stream, and how many pairs of words are wanted of it.

    Returns
    -------
    list of jax.Array
        Of each stream, ``(2, pairs)``, uint32.
    """
    seconds = [jnp.uint32(stream) + jnp.arange(n, dtype=jnp.uint32) for stream, n in streams]
    second = jnp.concatenate(seconds)
    first = jnp.full(second.shape, update, jnp.uint32)
    # Threefry pairs the first half of what it is given with the second.
    pairs = threefry_2x32(seed, jnp.concatenate([first, second])).reshape(2, -1)
    ends = itertools.accumulate((n for _, n in streams), initial=0)
    return [pairs[:, a:b] for a, b in itertools.pairwise(ends)]


def pairs_of_normals(size: int) -> int:
    """Pairs of words that so many normal numbers take."""
    return -(-size // 2)


def normals(pairs: jax.Array, size: int, dtype: str) -> jax.Array:
    """Standard normals ``(size,)`` from pairs of words, a word each in either precision.

    √2 erf⁻¹(u), of a u between −1 and 1. XLA computes it several times as fast as the sines and
    cosines of Box & Muller. The largest has an absolute value of 5.4, as in `jax.random.normal`.
    """
    signed = lax.bitcast_convert_type(pairs, jnp.int32).astype(jnp.float32)
    u = jnp.clip(signed * jnp.float32(2.0**-31), *_WITHIN)
    z = (jnp.float32(math.sqrt(2)) * lax.erf_inv(u)).astype(dtype)
    # In the shape that words have: a loop over others looks for each word's place by a division,
    # and is not vectorised.
    return lax.optimization_barrier(z).ravel()[:size]


def random_rows(pairs: jax.Array, n: int) -> jax.Array:
    """Rows out of `n` < 2³¹, each of them drawn from all: n times a fraction of 64 bits."""
    low = _high_word(pairs[1], n)
    sum_of_low = pairs[0] * jnp.uint32(n) + low
    carry = (sum_of_low < low).astype(jnp.uint32)
    return (_high_word(pairs[0], n) + carry).astype(jnp.int32)


def rows_of_strata(pairs: jax.Array, n: int, size: int, first: jax.Array | int = 0) -> jax.Array:
    """Rows of a batch of which the j-th, j = first, ..., is drawn from the j-th of `size` strata.

    It is ⌊(j n + r)/size⌋, with r uniform among 0, ..., n − 1: every row is as likely to be in the
    batch as any other, whether `size` divides n or not. A row that two strata meet in belongs to
    both, by the part of it that lies in each.

    Parameters
    ----------
    pairs : jax.Array
        Pairs of random words, ``(2, k)``, uint32: for k of the rows.
    n : int
        Number of rows, below 2³¹.
    size : int
        Number of strata, B.
    first : jax.Array or int
        Stratum of the first of the k.

    Returns
    -------
    jax.Array
        Shape ``(k,)``, int32.

    References
    ----------
    Cochran (1977), Sampling techniques, chapter 5: with one draw of each stratum the variance of
    the estimate is that within strata alone.
    """
    k = pairs.shape[1]
    # j n = q B + s, and (s + r)/B fits 32 bits where (j n + r)/B may not.
    quotients, remainders = np.divmod(np.arange(size, dtype=np.int64) * n, size)
    q = lax.dynamic_slice_in_dim(jnp.asarray(quotients, jnp.int32), first, k)
    s = lax.dynamic_slice_in_dim(jnp.asarray(remainders, jnp.uint32), first, k)
    return q + ((s + random_rows(pairs, n).astype(jnp.uint32)) // size).astype(jnp.int32)


def neighbours(pairs: jax.Array, n: int, size: int) -> jax.Array:
    """Rows o, ..., o + size − 1 out of `n` < 2³¹, with o at random; after n − 1 comes 0."""
    (first,) = random_rows(pairs, n)
    return ((first.astype(jnp.uint32) + jnp.arange(size, dtype=jnp.uint32)) % n).astype(jnp.int32)


def _high_word(x: jax.Array, n: int) -> jax.Array:
    """Upper 32 bits of x times n, in halves: beside float32, JAX has no integers of 64 bits."""
    half = jnp.uint32(0xFFFF)
    x_high, x_low = x >> 16, x & half
    n_high, n_low = jnp.uint32(n >> 16), jnp.uint32(n & 0xFFFF)
    middle = x_high * n_low + (x_low * n_low >> 16)
    other = x_low * n_high + (middle & half)
    return x_high * n_high + (middle >> 16) + (other >> 16)
