"""Convolutions as Numba computes them: products of a matrix of patches and one of filters."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pytensor.graph.basic import Apply
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from pymc_sgmcmc.nn.convolution import places
from pymc_sgmcmc.nn.convolution.ops import Convolution, FilterGradient, Form, ImageGradient

# To be raised when the code below changes: PyTensor keeps what Numba has compiled.
_VERSION = 1

_count = numba_njit(places.count)


@register_funcify_default_op_cache_key(Convolution)
def _(op: Convolution, node: Apply, **_: Any) -> tuple[Callable, int]:
    patches = _patches_of(op)

    @numba_njit
    def convolve(x, w):
        height, width, channels, filters = w.shape
        matrix = np.ascontiguousarray(w).reshape(height * width * channels, filters)
        seen, rows, columns = patches(x, height, width)
        return np.dot(seen, matrix).reshape(x.shape[0], rows, columns, filters)

    return convolve, _VERSION


@register_funcify_default_op_cache_key(FilterGradient)
def _(op: FilterGradient, node: Apply, **_: Any) -> tuple[Callable, int]:
    patches = _patches_of(op)

    @numba_njit
    def gradient(x, w, g):
        seen, rows, columns = patches(x, w.shape[0], w.shape[1])
        handed = np.ascontiguousarray(g).reshape(x.shape[0] * rows * columns, w.shape[3])
        return np.dot(seen.T, handed).reshape(w.shape)

    return gradient, _VERSION


@register_funcify_default_op_cache_key(ImageGradient)
def _(op: ImageGradient, node: Apply, **_: Any) -> tuple[Callable, int]:
    stride, same = op.stride, op.same

    @numba_njit
    def gradient(x, w, g):
        n, rows, columns, filters = g.shape
        height, width, channels, _ = w.shape
        matrix = np.ascontiguousarray(w).reshape(height * width * channels, filters)
        handed = np.ascontiguousarray(g).reshape(n * rows * columns, filters)
        of_patches = np.dot(handed, matrix.T)
        top = _before(x.shape[1], height, stride, same)
        left = _before(x.shape[2], width, stride, same)
        found = np.zeros(x.shape, g.dtype)
        for i in range(n):
            for j in range(rows):
                for q in range(columns):
                    patch = of_patches[(i * rows + j) * columns + q]
                    for k in range(height):
                        row = j * stride + k - top
                        if row < 0 or row >= x.shape[1]:
                            continue
                        for m in range(width):
                            column = q * stride + m - left
                            if column < 0 or column >= x.shape[2]:
                                continue
                            start = (k * width + m) * channels
                            for c in range(channels):
                                found[i, row, column, c] += patch[start + c]
        return found

    return gradient, _VERSION


def _patches_of(op: Form) -> Callable:
    """Function that gives what filters see, ``(rows of all images, numbers in a filter)``."""
    stride, same = op.stride, op.same

    @numba_njit
    def patches(x, height, width):
        n, image_height, image_width, channels = x.shape
        rows = _count(image_height, height, stride, same)
        columns = _count(image_width, width, stride, same)
        top = _before(image_height, height, stride, same)
        left = _before(image_width, width, stride, same)
        seen = np.zeros((n * rows * columns, height * width * channels), x.dtype)
        for i in range(n):
            for j in range(rows):
                for q in range(columns):
                    patch = seen[(i * rows + j) * columns + q]
                    for k in range(height):
                        row = j * stride + k - top
                        if row < 0 or row >= image_height:
                            continue
                        for m in range(width):
                            column = q * stride + m - left
                            if column < 0 or column >= image_width:
                                continue
                            start = (k * width + m) * channels
                            for c in range(channels):
                                patch[start + c] = x[i, row, column, c]
        return seen, rows, columns

    return patches


@numba_njit
def _before(length, size, stride, same):
    """Zeros before the image; see `zeros` in `places`."""
    if not same:
        return 0
    return max((_count(length, size, stride, same) - 1) * stride + size - length, 0) // 2
