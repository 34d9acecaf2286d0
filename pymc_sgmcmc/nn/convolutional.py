"""Layers of images, ``(rows, height, width, channels)``: convolution, pooling, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor import TensorLike
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import integer, number, one_of, optional, text
from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.nn.activations import Activation, resolve
from pymc_sgmcmc.nn.inputs import as_tensor, n_rows, warn_of_scale
from pymc_sgmcmc.nn.layers import label
from pymc_sgmcmc.nn.priors import Prior, checked

# Added to mean squares before they divide (Singh & Krishnan 2020, section 3.1).
_EPSILON = 1e-6


def conv2d(
    x: TensorLike,
    filters: int,
    name: str,
    *,
    size: int = 3,
    stride: int = 1,
    padding: Literal["same", "valid"] = "same",
    activation: Activation = None,
    prior: Prior | None = None,
    bias: float | None = 1.0,
) -> TensorVariable:
    """Write a layer of filters that are moved over images into the model.

    Each output is a filter's weights times the patch of the image that it lies on. So weights are
    a matrix as those of `dense`, from the numbers of a patch to the filters, and all priors are of
    a filter as of a unit; ``weights.reshape(size, size, channels, filters)`` is the kernel.

    Parameters
    ----------
    x : TensorVariable or array
        Images, ``(rows, height, width, channels)``: computed from a ``pm.Data`` (which may hold
        bytes, ``pm.Data("X", images) / 255 - 0.5``), or the output of another layer. Pixels should
        have about mean 0 and a standard deviation between 0.1 and 1.
    filters : int
        Channels of the output.
    name : str
        Of the layer, and of the dim of its filters. The variables are ``<name>_weights``, of dims
        ``(<name>_patch, <name>)``, with what the prior makes it of, and ``<name>_bias``.
    size : int
        Pixels on a side of a filter.
    stride : int
        Pixels from one place of a filter to the next.
    padding : {"same", "valid"}
        "same": zeros around the image, for ⌈height/stride⌉ × ⌈width/stride⌉ places. "valid": only
        places within the image.
    activation : str, callable or None
        See `dense`.
    prior : Prior, optional
        Of the weights, with a fan-in of size² · channels; `LearnedScale` when None.
    bias : float or None, default 1
        Standard deviation of the normal prior of the biases, one for each filter; None for a layer
        without.

    Returns
    -------
    TensorVariable
        Shape ``(rows, height', width', filters)``.

    Raises
    ------
    ValueError, TypeError
        If x holds no images of a known size, filters don't fit in them, or an argument is wrong.

    See Also
    --------
    max_pool2d, avg_pool2d : Smaller images.
    flatten : From images to the rows of features that `dense` takes.
    frn : Normalisation that leaves rows apart.

    Notes
    -----
    Both engines convolve by products of matrices; JAX's by XLA's own convolution on an accelerator
    where the patches of a batch would fill the memory.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> images = np.random.default_rng(0).integers(256, size=(100, 28, 28, 1), dtype="uint8")
    >>> with pm.Model() as model:
    ...     x = pm.Data("X", images) / 255 - 0.5
    ...     x = nn.max_pool2d(nn.conv2d(x, 6, "conv", size=5, activation="relu"))
    ...     y = nn.classification(nn.flatten(x), np.arange(100) % 10)
    >>> model["conv_weights"].eval().shape, model["y_class_weights"].eval().shape
    ((25, 6), (1176, 10))
    """
    filters, size = integer("filters", filters), integer("size", size)
    stride, bias = integer("stride", stride), optional(partial(number, low=0))("bias", bias)
    name = text("name", name)
    same = one_of("padding", padding, ("same", "valid")) == "same"
    function, gain = resolve(activation)
    height, width, channels = image_of(x, name)[:3]
    if not same and min(height, width) < size:
        raise ValueError(
            f"Filters of {size} × {size} pixels don't fit in the {height} × {width} of {name!r}. "
            'Use a smaller size, or padding="same".'
        )
    remedy = "pm.Data('X', images) / 255 - 0.5, and new images alike."
    warn_of_scale(x, f"The input of {name!r}", remedy)
    from pymc_sgmcmc.nn.convolution import Convolution, count  # they bring JAX

    fan_in = size * size * channels
    label(f"{name}_patch", fan_in)
    label(name, filters)
    weights = checked(prior).weights(f"{name}_weights", (f"{name}_patch", name), fan_in, gain)
    kernel = weights.reshape((size, size, channels, filters))
    signal: Any = Convolution(stride, same)(as_tensor(x), kernel)
    if bias is not None:
        signal = signal + pm.Normal(f"{name}_bias", 0, bias, dims=name)
    height, width = (count(n, size, stride, same) for n in (height, width))
    return _image(function(signal), x, Image(height, width, filters, name))


def max_pool2d(x: TensorLike, size: int = 2) -> TensorVariable:
    """Take the largest of each square of pixels, channel by channel.

    Squares lie side by side; pixels that are left over at the end of the image are dropped. Equal
    largest ones share the gradient: over a blank part of an image, all are.

    Parameters
    ----------
    x : TensorVariable or array
        Images, ``(rows, height, width, channels)``.
    size : int
        Pixels on a side of a square.

    Returns
    -------
    TensorVariable
        Shape ``(rows, ⌊height/size⌋, ⌊width/size⌋, channels)``.

    Raises
    ------
    ValueError, TypeError
        If x holds no images of a known size, or none as large as a square.

    See Also
    --------
    avg_pool2d : The mean instead.

    Examples
    --------
    >>> import numpy as np
    >>> from pymc_sgmcmc import nn
    >>> image = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> nn.max_pool2d(image).eval()[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    squares, image = _squares(x, size, "max_pool2d")
    largest = pt.eq(squares, squares.max((2, 4), keepdims=True))
    # The largest as the mean of the largest: so its gradient is shared, where PyTensor's own would
    # go to each of them in full.
    pooled = pt.where(largest, squares, 0).sum((2, 4)) / largest.sum((2, 4))
    return _image(pooled, x, image)


def avg_pool2d(x: TensorLike, size: int | None = None) -> TensorVariable:
    """Take the mean of each square of pixels, or of the whole image, channel by channel.

    Parameters
    ----------
    x : TensorVariable or array
        Images, ``(rows, height, width, channels)``.
    size : int or None
        Pixels on a side of a square, as of `max_pool2d`; None for the whole image.

    Returns
    -------
    TensorVariable
        Shape ``(rows, ⌊height/size⌋, ⌊width/size⌋, channels)``; of the whole image
        ``(rows, channels)``: features for `dense` and for heads.

    Raises
    ------
    ValueError, TypeError
        If x holds no images of a known size, or none as large as a square.

    See Also
    --------
    max_pool2d : The largest instead.

    Examples
    --------
    >>> import numpy as np
    >>> from pymc_sgmcmc import nn
    >>> image = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> nn.avg_pool2d(image, 2).eval()[0, :, :, 0].tolist(), nn.avg_pool2d(image).eval().tolist()
    ([[2.5, 4.5], [10.5, 12.5]], [[7.5]])
    """
    if size is not None:
        squares, image = _squares(x, size, "avg_pool2d")
        return _image(squares.mean((2, 4)), x, image)
    image = image_of(x, "avg_pool2d")
    features = as_tensor(x).mean((1, 2))
    features.tag.units, features.tag.rows = (image.channel, image.channels), n_rows(x)
    return features


def flatten(x: TensorLike, name: str | None = None) -> TensorVariable:
    """Write the pixels and channels of an image one after the other, as features.

    Parameters
    ----------
    x : TensorVariable or array
        Images, ``(rows, height, width, channels)``.
    name : str, optional
        Of the dim of the features; that of the channels and ``_pixel`` when None.

    Returns
    -------
    TensorVariable
        Shape ``(rows, height · width · channels)``: features for `dense` and for heads.

    Raises
    ------
    ValueError
        If x holds no images of a known size.

    See Also
    --------
    avg_pool2d : A mean of each channel, which are fewer features.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model():
    ...     features = nn.flatten(np.zeros((100, 4, 4, 3)))
    >>> features.eval().shape
    (100, 48)
    """
    image = image_of(x, "flatten")
    number = image.height * image.width * image.channels
    name = f"{image.channel}_pixel" if name is None else text("name", name)
    label(name, number)
    features = as_tensor(x)
    features = features.reshape((features.shape[0], number))
    features.tag.units, features.tag.rows = (name, number), n_rows(x)
    return features


def frn(
    x: TensorVariable,
    name: str,
    *,
    threshold: bool = False,
    center: float = 1.0,
    scale: float = 1.0,
) -> TensorVariable:
    r"""Write filter response normalisation into the model: each channel of each image by itself.

    .. math::

        y = \gamma \frac{x}{\sqrt{\nu^2 + \epsilon}} + \beta, \qquad
        \nu^2 = \text{mean of } x^2 \text{ over the pixels}

    Rows stay apart, which minibatches ask for: batch normalisation would couple them, and is no
    part of a model's density.

    Parameters
    ----------
    x : TensorVariable
        Images, ``(rows, height, width, channels)``: the output of `conv2d`.
    name : str
        The variables are ``<name>_gain`` (γ) and ``<name>_bias`` (β), and ``<name>_threshold`` (τ).
    threshold : bool
        Whether max(y, τ) is returned, the thresholded linear unit of the paper.
    center, scale : float
        Mean of the normal prior of γ, and standard deviation of those of γ, β and τ; the mean of β
        and τ is 0. Chains start at γ = 1 and β = τ = 0.

    Returns
    -------
    TensorVariable
        Shape of x.

    Raises
    ------
    ValueError, TypeError
        If x holds no images of a known size, or an argument is wrong.

    See Also
    --------
    conv2d : What it follows, without an activation.

    References
    ----------
    Singh & Krishnan (2020), Filter response normalization layer: eliminating batch dependence in
    the training of deep neural networks.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     x = nn.conv2d(np.ones((10, 8, 8, 3)), 4, "conv")
    ...     x = nn.frn(x, "norm", threshold=True)
    >>> [v.name for v in model.free_RVs if v.name.startswith("norm")]
    ['norm_gain', 'norm_bias', 'norm_threshold']
    """
    image = image_of(x, name)
    scale = number("scale", scale, 0)
    label(image.channel, image.channels)

    def parameter(kind: str, mean: float, start: float) -> TensorVariable:
        initval = [start] * image.channels
        return pm.Normal(f"{name}_{kind}", mean, scale, dims=image.channel, initval=initval)

    gain, bias = parameter("gain", center, 1.0), parameter("bias", 0.0, 0.0)
    mean_square = pt.square(x).mean((1, 2), keepdims=True)
    signal = gain * x / pt.sqrt(mean_square + _EPSILON) + bias
    if threshold:
        signal = pt.maximum(signal, parameter("threshold", 0.0, 0.0))
    return _image(signal, x, image)


class Image(NamedTuple):
    """What is known of the images in a tensor.

    Attributes
    ----------
    height, width, channels : int
    channel : str
        Name of the dim of the channels.
    """

    height: int
    width: int
    channels: int
    channel: str


def image_of(x: TensorLike, name: str) -> Image:
    """What is known of the images that a layer takes.

    Raises
    ------
    ValueError
        If x has not four axes, or their lengths can't be known.
    """
    known = getattr(getattr(x, "tag", None), "image", None)
    if known is not None:
        return known
    pixels = as_tensor(x)
    if pixels.type.ndim != 4:
        raise ValueError(
            f"{name!r} takes images, (rows, height, width, channels), and was given "
            f"{pixels.type.ndim} axes. Use x[..., None] for one channel, or x.reshape((-1, height, "
            "width, channels))."
        )
    shape: Sequence[Any] = pixels.type.shape[1:]
    if None in shape:
        try:
            shape = pixels.shape[1:].eval(mode=INTERPRETED)
        except Exception:
            raise ValueError(
                f"The size of the images of {name!r} is not known. Use "
                "pytensor.tensor.specify_shape(x, (None, height, width, channels))."
            ) from None
    height, width, channels = map(int, shape)
    return Image(height, width, channels, f"{name}_channel")


def add(x: TensorVariable, y: TensorVariable, activation: Activation) -> TensorVariable:
    """Activation of the sum of two images of one shape."""
    function, _ = resolve(activation)
    return _image(function(x + y), x, image_of(x, "sum"))


def activate(x: TensorVariable, activation: Activation) -> TensorVariable:
    """Activation of images."""
    function, _ = resolve(activation)
    return _image(function(x), x, image_of(x, "activation"))


def _squares(x: TensorLike, size: int, name: str) -> tuple[TensorVariable, Image]:
    """Images as ``(rows, height', size, width', size, channels)``, and what is known of those."""
    height, width, channels, channel = image_of(x, name)
    size = integer("size", size)
    rows, columns = height // size, width // size
    if not rows or not columns:
        raise ValueError(
            f"Images of {height} × {width} pixels have no squares of {size} × {size}. Use a "
            "smaller size, or avg_pool2d(x) for the mean of the whole image."
        )
    pixels = as_tensor(x)
    if (rows * size, columns * size) != (height, width):
        pixels = pixels[:, : rows * size, : columns * size]
    squares = pixels.reshape((pixels.shape[0], rows, size, columns, size, channels))
    return squares, Image(rows, columns, channels, channel)


def _image(signal: TensorVariable, x: TensorLike, image: Image) -> TensorVariable:
    """Signal that knows what images it holds, and of how many rows."""
    signal.tag.image, signal.tag.units = image, (image.channel, image.channels)
    signal.tag.rows = n_rows(x)
    return signal
