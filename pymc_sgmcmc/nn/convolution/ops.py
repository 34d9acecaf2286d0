r"""Convolution of images with filters as an operation of PyTensor, and its gradients.

All three are parts of one form that is linear in each of images x, filters w and outputs g,

.. math::

    \langle g, x * w \rangle
    = \sum_{n, i, j, f} g_{nijf} \sum_{k, m, c} x_{n,\, si+k,\, sj+m,\, c}\; w_{kmcf},

of which x ∗ w is the gradient in g. So the gradient of any of them is made of the other two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.scalar import upcast

from pymc_sgmcmc.nn.convolution.places import count, zeros


class Form(Op):
    """Gradient of ⟨g, x ∗ w⟩ in one of the three.

    Images x are ``(rows, height, width, channels)``, filters w ``(height, width, channels,
    filters)``, outputs g ``(rows, height, width, filters)``.

    Parameters
    ----------
    stride : int
        s: from one window of the image to the next, along both axes.
    same : bool
        Whether zeros are put around the image, for as many windows as it has pixels (⌈pixels/s⌉).
        Otherwise windows lie within.
    """

    convolves = True

    __props__ = ("stride", "same")

    def __init__(self, stride: int = 1, same: bool = True) -> None:
        self.stride, self.same = stride, same

    def make_node(self, *inputs: Any) -> Apply:
        """Apply to tensors of four axes."""
        tensors = [pt.as_tensor_variable(v) for v in inputs]
        dtype = upcast("float32", *(v.type.dtype for v in tensors))
        tensors = [v.astype(dtype) for v in tensors]
        shape = self.shape(*(v.type.shape for v in tensors))
        return Apply(self, tensors, [pt.tensor(dtype=dtype, shape=shape)])

    def shape(self, *shapes: Any) -> tuple[Any, ...]:
        """Shape of the output from those of the inputs, of numbers, symbols and None."""
        raise NotImplementedError

    def infer_shape(self, *args: Any) -> list[tuple[Any, ...]]:
        """Symbolic shape of the output."""
        shapes = args[-1]  # after the node, and in some versions of PyTensor a graph
        return [self.shape(*shapes)]

    def zeros(self, image: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
        """Zeros before and after the rows of pixels, and the columns."""
        axes = zip(image[1:3], kernel[:2], strict=True)
        return [zeros(n, k, self.stride, self.same) for n, k in axes]

    def patches(self, x: np.ndarray, kernel: Sequence[int]) -> np.ndarray:
        """What filters see, ``(rows, height, width, *kernel, channels)``; a view."""
        padded = np.pad(x, ((0, 0), *self.zeros(x.shape, kernel), (0, 0)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, kernel[:2], (1, 2))
        return np.moveaxis(seen[:, :: self.stride, :: self.stride], 3, -1)


class Convolution(Form):
    """x ∗ w: of x and w."""

    def shape(self, x: Any, w: Any) -> tuple[Any, ...]:
        """As of g."""
        axes = zip(x[1:3], w[:2], strict=True)
        windows = [_known(count, n, k, self.stride, self.same) for n, k in axes]
        return (x[0], *windows, w[3])

    def pullback(self, inputs: Any, outputs: Any, output_grads: Any) -> list[Any]:
        """Gradients in x and w."""
        (x, w), (g,) = inputs, output_grads
        props = self.stride, self.same
        return [ImageGradient(*props)(x, w, g), FilterGradient(*props)(x, w, g)]

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Multiply what filters see with them."""
        x, w = inputs
        output_storage[0][0] = np.tensordot(self.patches(x, w.shape), w, 3)


class ImageGradient(Form):
    """Gradient in x: of x, of which only the shape matters, w and g."""

    def shape(self, x: Any, w: Any, g: Any) -> tuple[Any, ...]:
        """As of x."""
        return tuple(x)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Values of x don't matter."""
        return [[False], [True], [True]]

    def pullback(self, inputs: Any, outputs: Any, output_grads: Any) -> list[Any]:
        """Gradients in w and g."""
        (_, w, g), (x,) = inputs, output_grads
        props = self.stride, self.same
        return [disconnected_type(), FilterGradient(*props)(x, w, g), Convolution(*props)(x, w)]

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Add up what each place of a filter hands to the pixels that it saw."""
        x, w, g = inputs
        (top, bottom), (left, right) = self.zeros(x.shape, w.shape)
        n, height, width, channels = x.shape
        padded = np.zeros((n, top + height + bottom, left + width + right, channels), g.dtype)
        s, (rows, columns) = self.stride, g.shape[1:3]
        for k, m in np.ndindex(w.shape[:2]):
            padded[:, k : k + s * rows : s, m : m + s * columns : s] += g @ w[k, m].T
        output_storage[0][0] = padded[:, top : top + height, left : left + width].copy()


class FilterGradient(Form):
    """Gradient in w: of x, w, of which only the shape matters, and g."""

    def shape(self, x: Any, w: Any, g: Any) -> tuple[Any, ...]:
        """As of w."""
        return tuple(w)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Values of w don't matter."""
        return [[True], [False], [True]]

    def pullback(self, inputs: Any, outputs: Any, output_grads: Any) -> list[Any]:
        """Gradients in x and g."""
        (x, _, g), (w,) = inputs, output_grads
        props = self.stride, self.same
        return [ImageGradient(*props)(x, w, g), disconnected_type(), Convolution(*props)(x, w)]

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Multiply what filters saw with what they are handed."""
        x, w, g = inputs
        output_storage[0][0] = np.tensordot(self.patches(x, w.shape), g, ((0, 1, 2),) * 2)


def _known(function: Any, length: Any, size: Any, *rest: Any) -> Any:
    return None if length is None or size is None else function(length, size, *rest)
