"""Convolutions as JAX computes them: products of a matrix of patches with one of filters.

XLA's own, with filters of every chain, take up to thirty times as long on processors, and several
times on accelerators, where they serve images whose patches would fill the memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from pytensor.graph.basic import Apply
from pytensor.link.jax.dispatch import jax_funcify

from pymc_sgmcmc.nn.convolution.ops import Convolution, FilterGradient, Form, ImageGradient
from pymc_sgmcmc.nn.convolution.places import count

# Numbers in the patches of a chain's batch, on an accelerator: half a gigabyte in float32.
_PATCHES = 2**27


@jax_funcify.register(Convolution)
def _(op: Convolution, node: Apply, **_: Any) -> Callable:
    return _in_type_of(node, partial(convolve, op))


@jax_funcify.register(ImageGradient)
def _(op: ImageGradient, node: Apply, **_: Any) -> Callable:
    def gradient(x: jax.Array, w: jax.Array, g: jax.Array) -> jax.Array:
        # Where JAX has 64 bits for integers of the data, it makes float64 of some slopes.
        g = g.astype(jnp.result_type(x, w))
        (found,) = jax.linear_transpose(lambda x: convolve(op, x, w), x)(g)
        return found

    return _in_type_of(node, gradient)


@jax_funcify.register(FilterGradient)
def _(op: FilterGradient, node: Apply, **_: Any) -> Callable:
    def gradient(x: jax.Array, w: jax.Array, g: jax.Array) -> jax.Array:
        g = g.astype(jnp.result_type(x, w))
        (found,) = jax.linear_transpose(lambda w: convolve(op, x, w), w)(g)
        return found

    return _in_type_of(node, gradient)


def _in_type_of(node: Apply, function: Callable) -> Callable:
    """With 64-bit integers about, JAX makes float64 of some numbers that are float32 here."""
    dtype = node.outputs[0].type.dtype
    return lambda *inputs: function(*(x.astype(dtype) for x in inputs))


def convolve(op: Form, x: jax.Array, w: jax.Array) -> jax.Array:
    """Outputs x ∗ w, with the stride and the zeros of an operation."""
    height, width, channels, filters = w.shape
    seen = height * width * x.size // op.stride**2
    if jax.default_backend() != "cpu" and seen > _PATCHES:
        layout = ("NHWC", "HWIO", "NHWC")
        stride = (op.stride, op.stride)
        places = op.zeros(x.shape, w.shape)
        return lax.conv_general_dilated(x, w, stride, places, dimension_numbers=layout)
    return _patches(op, x, height, width) @ w.reshape(height * width * channels, filters)


def _patches(op: Form, x: jax.Array, height: int, width: int) -> jax.Array:
    """What filters see, ``(rows, height, width, numbers in a filter)``."""
    s, (top, left) = op.stride, op.zeros(x.shape, (height, width))
    rows, columns = (
        count(n, k, s, op.same) for n, k in zip(x.shape[1:3], (height, width), strict=True)
    )
    padded = jnp.pad(x, ((0, 0), top, left, (0, 0)))
    n, _, _, channels = x.shape

    def seen_by(k: int, m: int) -> jax.Array:
        end = (n, k + s * (rows - 1) + 1, m + s * (columns - 1) + 1, channels)
        return lax.slice(padded, (0, k, m, 0), end, (1, s, s, 1))

    return jnp.concatenate([seen_by(k, m) for k in range(height) for m in range(width)], -1)
