"""Layers: each writes its weights and biases into the model, and gives its output."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pymc as pm
from pytensor.tensor import TensorLike
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import integer, number, optional, text
from pymc_sgmcmc.nn.activations import Activation, resolve
from pymc_sgmcmc.nn.inputs import as_tensor, n_rows, warn_of_scale
from pymc_sgmcmc.nn.priors import Prior, checked


def dense(
    x: TensorLike,
    units: int | None,
    name: str,
    *,
    activation: Activation = None,
    prior: Prior | None = None,
    bias: float | None = 1.0,
) -> TensorVariable:
    """Write a fully connected layer, activation(x @ weights + bias), into the model.

    Parameters
    ----------
    x : TensorVariable or array
        Rows of features, ``(rows, inputs)``: a ``pm.Data``, or the output of another layer. Columns
        of data should have about mean 0 and standard deviation 1; a warning tells of others.
    units : int or None
        Outputs of the layer; None for a single one without an axis of its own.
    name : str
        Of the layer, and of the dim of its units, which keeps the model's labels where it has some
        (``coords={"y_class": ["cat", "dog"]}``). The variables are ``<name>_weights`` (with what
        the prior makes it of) and ``<name>_bias``.
    activation : str, callable or None
        "tanh", "relu", "selu", "gelu", "silu", "softplus", "sigmoid", "identity", or a function of
        a tensor.
    prior : Prior, optional
        Of the weights; `LearnedScale` when None.
    bias : float or None, default 1
        Standard deviation of the normal prior of the biases; None for a layer without.

    Returns
    -------
    TensorVariable
        Shape ``(rows, units)``, or ``(rows,)`` without `units`.

    Raises
    ------
    ValueError, TypeError
        If the number of inputs is not known, or an argument is wrong.

    See Also
    --------
    mlp : Several layers.
    residual : Two layers, added to their input.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     X = pm.Data("X", np.ones((100, 8)), dims=("row", "feature"))
    ...     features = nn.dense(X, 16, "layer", activation="relu")
    >>> model.named_vars_to_dims["layer_weights"]
    ('feature', 'layer')
    """
    function, gain = resolve(activation)
    name, bias = text("name", name), optional(partial(number, low=0))("bias", bias)
    if units is not None:
        units = integer("units", units, otherwise=", or None")
    inputs, fan_in = _inputs(x, name)
    remedy = "(X - X.mean(0)) / X.std(0), and new rows with the same mean and deviation."
    warn_of_scale(x, f"The input of {name!r}", remedy)
    dims: tuple[str, ...] = (inputs,)
    if units is not None:
        label(name, units)
        dims = (inputs, name)
    weights = checked(prior).weights(f"{name}_weights", dims, fan_in, gain)
    signal = as_tensor(x) @ weights
    if bias is not None:
        signal = signal + pm.Normal(f"{name}_bias", 0, bias, dims=dims[1:])
    signal = function(signal)
    signal.tag.units, signal.tag.rows = (name, units), n_rows(x)
    return signal


def mlp(
    x: TensorLike,
    hidden: Sequence[int] = (50,),
    *,
    activation: Activation = "tanh",
    prior: Prior | None = None,
    name: str = "hidden",
) -> TensorVariable:
    """Write the hidden layers of a multilayer perceptron into the model.

    Parameters
    ----------
    x : TensorVariable or array
        Features, ``(rows, inputs)``, each column of about mean 0 and standard deviation 1.
    hidden : sequence of int
        Units of each layer.
    activation : str, callable or None
        Of all layers; see `dense`.
    prior : Prior, optional
        Of the weights of all layers.
    name : str
        The layers are ``<name>_1``, ``<name>_2``, ...

    Returns
    -------
    TensorVariable
        Outputs of the last hidden layer, ``(rows, hidden[-1])``: what a head observes data with.

    See Also
    --------
    dense : One layer.
    regression : Observes numbers with the features.
    classification : Observes classes with the features.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     features = nn.mlp(pm.Data("X", np.ones((100, 8))), hidden=(50, 20))
    >>> [model.named_vars_to_dims[f"hidden_{k}_weights"] for k in (1, 2)]
    [('hidden_1_input', 'hidden_1'), ('hidden_1', 'hidden_2')]
    """
    if not isinstance(hidden, Sequence) or isinstance(hidden, str):
        raise TypeError(f"hidden must list the units of each layer, got {hidden!r}: ({hidden!r},).")
    for layer, units in enumerate(hidden, start=1):
        x = dense(x, units, f"{name}_{layer}", activation=activation, prior=prior)
    return as_tensor(x)


def residual(
    x: TensorVariable,
    units: int,
    name: str,
    *,
    activation: Activation = "relu",
    prior: Prior | None = None,
    start: float = 0.1,
) -> TensorVariable:
    """Write a residual block, x + gain · (two layers of x), that starts close to x.

    As in Fixup, the last layer of a branch starts small; here by one factor.

    Parameters
    ----------
    x : TensorVariable
        Output of another layer, ``(rows, inputs)``.
    units : int
        Units of the hidden layer of the branch.
    name : str
        The layers are ``<name>_1`` and ``<name>_2``; the gain, N(0, 1), is ``<name>_gain``.
    activation : str, callable or None
        Of the first layer; see `dense`. The second is linear.
    prior : Prior, optional
        Of the weights of both.
    start : float
        Where every chain starts the gain: small, so that a deep network starts out shallow, and
        not 0, where all gradients of the branch vanish.

    Returns
    -------
    TensorVariable
        Shape ``(rows, inputs)``.

    See Also
    --------
    dense : One layer, without a way around it.

    References
    ----------
    Zhang, Dauphin & Ma (2019), Fixup initialization: residual learning without normalization.
    De & Smith (2020), Batch normalization biases residual blocks towards the identity function in
    deep networks: one factor for each branch.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     features = nn.dense(pm.Data("X", np.ones((100, 8))), 16, "first")
    ...     for block in ("second", "third"):
    ...         features = nn.residual(features, 32, block)
    >>> model.named_vars_to_dims["second_1_weights"], model.named_vars_to_dims["second_2_weights"]
    (('first', 'second_1'), ('second_1', 'second_2'))
    >>> float(model.rvs_to_initial_values[model["second_gain"]])
    0.1
    """
    start, x = number("start", start, -np.inf), as_tensor(x)
    inputs, fan_in = _inputs(x, name)
    branch = dense(x, units, f"{name}_1", activation=activation, prior=prior)
    branch = dense(branch, fan_in, f"{name}_2", prior=prior)
    signal = x + pm.Normal(f"{name}_gain", 0, 1, initval=start) * branch
    signal.tag.units, signal.tag.rows = (inputs, fan_in), n_rows(x)
    return signal


def _inputs(x: TensorLike, name: str) -> tuple[str, int]:
    """Name of the dim of the inputs of a layer, and their number."""
    known = getattr(getattr(x, "tag", None), "units", None)
    if known is not None:
        if known[1] is None:
            raise ValueError(f"The input of {name!r} is the output of a layer without units.")
        return known
    x = as_tensor(x)
    if x.type.ndim != 2:
        raise ValueError(
            f"A dense layer needs rows of features, (rows, inputs); that of {name!r} has "
            f"{x.type.ndim} axes. Use x.reshape((x.shape[0], -1))."
        )
    model = pm.modelcontext(None)
    length = x.type.shape[-1]
    if length is None:
        try:
            length = int(x.shape[-1].eval())
        except Exception:
            raise ValueError(
                f"The number of inputs of {name!r} is not known. Use "
                "pytensor.tensor.specify_shape(x, (None, inputs))."
            ) from None
    dims = model.named_vars_to_dims.get(x.name) if x.name else None
    if dims and dims[-1] is not None:
        return dims[-1], length
    dim = f"{name}_input"
    label(dim, length)
    return dim, length


def label(dim: str, length: int) -> None:
    """Give the model a dim of this length, unless it has one with labels of its own."""
    coords = pm.modelcontext(None).coords
    if coords.get(dim) is None:
        pm.modelcontext(None).add_coord(dim, np.arange(length))
    elif len(coords[dim]) != length:
        raise ValueError(
            f"The dim {dim!r} needs {length} labels, and the model's coords give it "
            f"{len(coords[dim])}: {coords[dim]!r}."
        )
