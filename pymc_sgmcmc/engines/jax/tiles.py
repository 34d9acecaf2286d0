"""Vectors in rows of one width, so that XLA's loops over them stay in vector units."""

import math

import jax
import jax.numpy as jnp

_WIDTH = 64


class Tiles:
    """How vectors of one length lie in memory while chains move.

    XLA cuts a long loop into parts for the threads of a processor. Where these are not of one
    length, the loop asks at every number whether it is still one of its own, and nothing is
    vectorised: it takes up to ten times as long. Of rows every thread has whole ones.

    The last row is filled up with the first numbers of the vector. Whatever is done to all numbers
    alike is done to these as well, so that they remain copies and can't be less finite.

    Parameters
    ----------
    size : int
        Length d of the vectors.
    threads : int
        Into how many parts XLA may cut a loop. Vectors that are cut evenly, and those that one row
        would have all of, stay as they are.

    Attributes
    ----------
    shape : tuple of int
        ``(rows, width)`` or ``(d,)``.
    """

    def __init__(self, size: int, threads: int) -> None:
        self.size = size
        rows = -(-size // _WIDTH)
        uneven = any(size % parts for parts in range(2, threads + 1))
        self.shape: tuple[int, ...] = (rows, _WIDTH) if uneven and rows > 1 else (size,)

    def lay(self, x: jax.Array) -> jax.Array:
        """Vector ``(d,)`` in rows."""
        filled = math.prod(self.shape) - self.size
        x = jnp.concatenate([x, x[:filled]]) if filled else x
        return x.reshape(self.shape)

    def take_up(self, x: jax.Array) -> jax.Array:
        """Vector ``(d,)`` that lies in rows."""
        return x.ravel()[: self.size]

    def ones(self, dtype: str) -> jax.Array:
        """Ones in the places of the vector's numbers, and zeros in those of the copies."""
        own = jnp.arange(math.prod(self.shape)) < self.size
        return own.astype(dtype).reshape(self.shape)
