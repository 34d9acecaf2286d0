"""Networks for images by name: LeNet-5, ResNet++ and the residual network of the HMC reference."""

from __future__ import annotations

from pytensor.tensor import TensorLike
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import integer
from pymc_sgmcmc.nn.activations import Activation
from pymc_sgmcmc.nn.convolutional import (
    activate,
    add,
    avg_pool2d,
    conv2d,
    flatten,
    frn,
    max_pool2d,
)
from pymc_sgmcmc.nn.layers import mlp
from pymc_sgmcmc.nn.priors import Isotropic, Prior, WeightNorm

_STAGES = 3


def lenet(
    x: TensorLike,
    *,
    activation: Activation = "relu",
    prior: Prior | None = None,
    name: str = "lenet",
) -> TensorVariable:
    """Write LeNet-5 into the model, up to its last hidden layer.

    Two convolutions of 6 and 16 filters of 5 × 5 pixels, each followed by the largest of squares of
    2 × 2, and dense layers of 120 and 84 units: with 10 classes, 61,706 weights and biases on
    images of 28 × 28 pixels (the original has means in place of largest, with weights, tanh, and
    filters that see some channels only).

    Parameters
    ----------
    x : TensorVariable or array
        Images, ``(rows, height, width, channels)``, as of `conv2d`.
    activation : str, callable or None
        Of all layers; see `dense`.
    prior : Prior, optional
        Of the weights of all layers; `LearnedScale` when None.
    name : str
        The layers are ``<name>_conv_1``, ``<name>_conv_2``, ``<name>_1`` and ``<name>_2``.

    Returns
    -------
    TensorVariable
        Features, ``(rows, 84)``: what a head observes data with.

    Raises
    ------
    ValueError
        If x holds no images of a known size, of 12 × 12 pixels or more.

    See Also
    --------
    resnet_frn, resnet_pp : Deeper ones.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document recognition.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> images = np.random.default_rng(0).integers(256, size=(100, 28, 28, 1), dtype="uint8")
    >>> with pm.Model() as model:
    ...     features = nn.lenet(pm.Data("X", images) / 255 - 0.5, prior=nn.FixedScale())
    ...     y = nn.classification(features, np.arange(100) % 10, prior=nn.FixedScale())
    >>> sum(v.size for v in model.initial_point(0).values())
    61706
    """
    x = conv2d(x, 6, f"{name}_conv_1", size=5, activation=activation, prior=prior)
    x = max_pool2d(x)
    x = conv2d(x, 16, f"{name}_conv_2", size=5, padding="valid", activation=activation, prior=prior)
    features = flatten(max_pool2d(x))
    return mlp(features, (120, 84), activation=activation, prior=prior, name=name)


def resnet_pp(
    x: TensorLike,
    *,
    depth: int = 56,
    width: int = 32,
    b: float = 5.0,
    start: float = 0.1,
    name: str = "resnet",
) -> TensorVariable:
    r"""Write ResNet++ into the model, a residual network without normalisation of its signals.

    Each block adds a branch of three convolutions, of 1 × 1, 3 × 3 and 1 × 1 pixels, to what came
    in, with SELUs between them and after the sum. All weights are normalised, θ = φ_s φ_d/‖φ_d‖ for
    each filter, with the priors of `WeightNorm`. As in Fixup, scales of the last layer of a branch
    start small, so that a deep network starts out shallow.

    Parameters
    ----------
    x : TensorVariable or array
        Images, ``(rows, height, width, channels)``, as of `conv2d`.
    depth : int
        Layers with weights, with the head: 9 n + 2 for n blocks in each of 3 stages (56: n = 6).
    width : int
        Filters of the first two layers of the branches of the first stage; twice as many in each
        further stage, on half the pixels. Blocks give four times as many, as those of He et al.
        (2016); the paper does not say.
    b : float
        Scale of the Laplace prior of φ_s.
    start : float
        Where chains start φ_s in the last layer of each branch (a "small constant" in the paper);
        not at 0, where all gradients of the branch vanish.
    name : str
        Layers are ``<name>_start`` and ``<name>_<stage>_<block>_<layer>``, with ``_way`` for the
        convolution of 1 × 1 around the first branch of a stage.

    Returns
    -------
    TensorVariable
        Features, ``(rows, 16 · width)``: means over the image. Give ``prior=nn.WeightNorm(b)`` to
        the head as well.

    Raises
    ------
    ValueError
        If x holds no images of a known size, or depth is not 9 n + 2.

    See Also
    --------
    resnet_frn : One with normalised signals, which forgives any scale of the weights.

    References
    ----------
    Heek & Kalchbrenner (2019), Bayesian inference for large scale image classification, section 5.
    Zhang, Dauphin & Ma (2019), Fixup initialization: residual learning without normalization.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     features = nn.resnet_pp(np.ones((10, 16, 16, 3)), depth=11, width=4)
    ...     y = nn.classification(features, np.arange(10), prior=nn.WeightNorm())
    >>> start = model.initial_point(0)
    >>> start["resnet_1_1_3_weights_scale"].tolist() == [0.1] * 16
    True
    >>> len(start["y_class_weights_raw"])
    64
    """
    blocks, width = _blocks(depth, 9), integer("width", width)
    prior, last = WeightNorm(b), WeightNorm(b, start=start)

    def convolution(x: TensorLike, filters: int, layer: str, **options: object) -> TensorVariable:
        return conv2d(x, filters, layer, **{"prior": prior, **options})  # type: ignore[arg-type]

    x = convolution(x, width, f"{name}_start", activation="selu")
    for stage in range(_STAGES):
        filters = width * 2**stage
        for block in range(1, blocks + 1):
            layer = f"{name}_{stage + 1}_{block}"
            stride = 2 if stage and block == 1 else 1
            branch = convolution(x, filters, f"{layer}_1", size=1, activation="selu")
            branch = convolution(branch, filters, f"{layer}_2", stride=stride, activation="selu")
            branch = convolution(branch, 4 * filters, f"{layer}_3", size=1, prior=last)
            if block == 1:
                x = convolution(x, 4 * filters, f"{layer}_way", size=1, stride=stride)
            x = add(x, branch, "selu")
    return avg_pool2d(x)


def resnet_frn(
    x: TensorLike,
    *,
    depth: int = 20,
    width: int = 16,
    activation: Activation = "silu",
    sd: float = 5**-0.5,
    name: str = "resnet",
) -> TensorVariable:
    """Write a residual network with filter response normalisation into the model.

    The network of the full-batch HMC of Izmailov et al. (2021): every convolution is followed by
    `frn` with its threshold, Swish (``"silu"``) follows the first of each block and each sum, and
    all parameters have one prior, N(0, sd²), that knows of no fan-in.

    Parameters
    ----------
    x : TensorVariable or array
        Images, ``(rows, height, width, channels)``, as of `conv2d`. Those of the reference have
        mean 0 and standard deviation 1 in each channel.
    depth : int
        Layers with weights, with the head: 6 n + 2 for n blocks of two layers in each of 3 stages.
    width : int
        Filters of the first stage; twice as many in each further one, on half the pixels.
    activation : str, callable or None
        See `dense`.
    sd : float
        Standard deviation of the prior of every parameter: a variance of 1/5 in the paper's table.
        Give ``prior=nn.Isotropic(sd)`` to the head as well.
    name : str
        Layers are ``<name>_start`` and ``<name>_<stage>_<block>_<layer>``, with ``_way`` for the
        convolution of 1 × 1 around the first branch of a stage; ``_norm`` follows for the `frn`.

    Returns
    -------
    TensorVariable
        Features, ``(rows, 4 · width)``: means over the image.

    Raises
    ------
    ValueError
        If x holds no images of a known size, or depth is not 6 n + 2.

    See Also
    --------
    resnet_pp : One without normalisation.

    References
    ----------
    Izmailov, Vikram, Hoffman & Wilson (2021), What are Bayesian neural network posteriors really
    like?

    Examples
    --------
    The parameters of ResNet-20 with a head of 10 classes:

    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     features = nn.resnet_frn(np.ones((10, 32, 32, 3)))
    ...     y = nn.classification(features, np.arange(10), prior=nn.Isotropic(5**-0.5))
    >>> sum(v.size for v in model.initial_point(0).values())
    274042
    """
    blocks, width = _blocks(depth, 6), integer("width", width)

    def normalised(
        x: TensorLike, filters: int, layer: str, size: int = 3, stride: int = 1
    ) -> TensorVariable:
        x = conv2d(x, filters, layer, size=size, stride=stride, prior=Isotropic(sd), bias=sd)
        return frn(x, f"{layer}_norm", threshold=True, center=0.0, scale=sd)

    x = activate(normalised(x, width, f"{name}_start"), activation)
    for stage in range(_STAGES):
        filters = width * 2**stage
        for block in range(1, blocks + 1):
            layer = f"{name}_{stage + 1}_{block}"
            stride = 2 if stage and block == 1 else 1
            branch = activate(normalised(x, filters, f"{layer}_1", stride=stride), activation)
            branch = normalised(branch, filters, f"{layer}_2")
            if stride > 1:
                x = normalised(x, filters, f"{layer}_way", size=1, stride=stride)
            x = add(x, branch, activation)
    return avg_pool2d(x)


def _blocks(depth: int, layers: int) -> int:
    """Blocks of each stage, of a network whose blocks have so many layers in all three stages."""
    blocks, rest = divmod(integer("depth", depth) - 2, layers)
    if rest or not blocks:
        some = ", ".join(str(layers * n + 2) for n in (1, 2, 3))
        raise ValueError(f"depth must be {layers} n + 2 ({some}, ...), got {depth}.")
    return blocks
