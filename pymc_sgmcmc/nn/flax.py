"""Flax modules in a model, and draws put back into them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pytensor.tensor import TensorLike
from pytensor.tensor.variable import TensorVariable
from xarray import DataTree

from pymc_sgmcmc.nn.modules import Leaf, ModulePrior, Patterns, values_of, write


def from_flax(
    module: Any,
    x: TensorLike,
    *,
    name: str = "net",
    prior: ModulePrior | Mapping[str, ModulePrior] | None = None,
    freeze: Patterns = (),
    dims: Mapping[str, Sequence[str]] | None = None,
    start: str = "prior",
) -> TensorVariable:
    """Write a Flax module into the model: each parameter of it is a variable, or held fixed.

    Parameters
    ----------
    module : flax.nnx.Module
        Called with rows: ``module(x)``. What is no ``nnx.Param`` stays as it is.
    x : TensorVariable or array
        Rows, ``(rows, ...)``: a ``pm.Data``, or the output of a layer.
    name : str
        Of the network. Variables are called ``<name>.<path>``, "net.layers.0.kernel" say. Weights
        stand as matrices ``(inputs, units)``, like those of `dense`; biases as vectors.
    prior : Prior, Around, or mapping of str to these, optional
        Of the weights, by their fan-in; or one for each pattern of paths: see `from_equinox`.
    freeze : str or sequence of str
        Patterns of the paths of what keeps the values that the module has; one that begins with
        "!" lets go of some: ``("*", "!layers.2.*")`` samples the last layer alone.
    dims : mapping of str to sequence of str, optional
        Dims ``(inputs, units)`` of weights, or ``(units,)``, by patterns of paths.
    start : {"prior", "module"}
        Where chains start: at draws of the prior, or at the values that the module has.

    Returns
    -------
    TensorVariable
        Outputs, ``(rows, ...)``: for a head of `nn`, or a likelihood of PyMC.

    Raises
    ------
    ImportError
        If Flax is not installed.
    ValueError, TypeError
        If the module is not a function of each row alone, or an argument is wrong.

    See Also
    --------
    to_flax : Puts a draw back into a module.
    from_equinox : The same of Equinox.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from flax import nnx
    >>> from pymc_sgmcmc import nn
    >>> rngs = nnx.Rngs(0)
    >>> module = nnx.Sequential(nnx.Linear(4, 8, rngs=rngs), nnx.tanh, nnx.Linear(8, 3, rngs=rngs))
    >>> with pm.Model() as model:
    ...     logits = nn.from_flax(module, pm.Data("X", np.ones((100, 4))), freeze="layers.0.*")
    ...     y = pm.Categorical("y", logit_p=logits, observed=np.ones(100, int))
    >>> [v.name for v in model.free_RVs]
    ['net.layers.2.bias', 'net.layers.2.kernel_scale', 'net.layers.2.kernel_raw']
    """
    nnx = _nnx()
    _refuse_what_is_no_function(module)
    definition, parameters, rest = nnx.split(module, nnx.Param, ...)
    keys = [key for key, _ in nnx.to_flat_state(parameters)]

    def outputs(x: Any, *leaves: Any) -> Any:
        state = nnx.from_flat_state(zip(keys, map(nnx.Param, leaves), strict=True))
        return nnx.merge(definition, state, rest)(x)

    return write(
        _leaves(module), outputs, x, name, type(module).__name__, prior, freeze, dims, start
    )


def to_flax(
    idata: DataTree, module: Any, draw: tuple[int, int] = (0, -1), *, name: str = "net"
) -> Any:
    """Put a draw into a Flax module.

    Parameters
    ----------
    idata : xarray.DataTree
        Output of sampling a model with `from_flax`.
    module : flax.nnx.Module
        The one that the model was written with; what was held fixed stays as it is there.
    draw : tuple of int
        Chain, and draw of it; the last draw of the first chain by default.
    name : str
        Of the network in the model.

    Returns
    -------
    flax.nnx.Module
        A copy.

    Raises
    ------
    ImportError
        If Flax is not installed.
    ValueError
        If the draws of the module's parameters are missing.

    See Also
    --------
    from_flax : Writes the module into a model.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from flax import nnx
    >>> from pymc_sgmcmc import nn
    >>> layer = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    >>> with pm.Model():
    ...     outputs = nn.from_flax(layer, np.ones((100, 4)))
    ...     idata = pm.sample_prior_predictive(5, random_seed=1)
    >>> idata["posterior"] = idata["prior"]
    >>> drawn = nn.to_flax(idata, layer, draw=(0, 2))
    >>> kernel = idata["posterior"]["net.kernel"].values[0, 2]
    >>> bool(np.allclose(drawn.kernel[...], kernel))
    True
    """
    nnx = _nnx()
    import jax.numpy as jnp

    values = values_of(idata, _leaves(module), draw, name)
    copy = nnx.clone(module)
    for key, variable in nnx.to_flat_state(nnx.state(copy, nnx.Param)):
        if _text(key) in values:
            variable.set_value(jnp.asarray(values[_text(key)]))
    return copy


def _nnx() -> Any:
    try:
        from flax import nnx
    except ImportError:
        raise ImportError("Modules of Flax need Flax: pip install 'pymc-sgmcmc[flax]'.") from None
    return nnx


def _text(key: Sequence[Any]) -> str:
    return ".".join(map(str, key))


def _leaves(module: Any) -> list[Leaf]:
    nnx = _nnx()
    layers = dict(nnx.iter_modules(module))
    parameters = nnx.to_flat_state(nnx.state(module, nnx.Param))
    return [_leaf(layers[key[:-1]], key, v.get_value()) for key, v in parameters]


def _leaf(layer: Any, key: Sequence[Any], array: Any) -> Leaf:
    """What a parameter is for: by the layer that it belongs to, or else by its shape."""
    nnx = _nnx()
    value, text, own = np.asarray(array), _text(key), key[-1]
    if own == "scale":
        return Leaf(text, value, "gain")
    if value.ndim < 2 or own == "bias":
        return Leaf(text, value, "bias")
    if isinstance(layer, nnx.Embed):
        return Leaf(text, value, "weights", len(value))
    inputs = math.prod(value.shape[:-1])
    if isinstance(layer, nnx.LinearGeneral):
        inputs = math.prod(layer.in_features)
    return Leaf(text, value, "weights", inputs, inputs)


def _refuse_what_is_no_function(module: Any) -> None:
    """Refuse layers whose outputs depend on chance or on other rows."""
    nnx = _nnx()
    if not isinstance(module, nnx.Module) or not callable(module):
        raise TypeError(f"module must be a flax.nnx.Module with a __call__, got {module!r}.")
    for _, layer in nnx.iter_modules(module):
        kind = type(layer).__name__
        rate = getattr(layer, "rate", getattr(layer, "dropout_rate", 0))
        if isinstance(rate, float) and rate > 0 and not layer.deterministic:
            raise ValueError(
                f"The module has {kind} with a dropout of {rate}: its output is random, and the "
                "posterior has the network's uncertainty already. Call module.eval() before, or "
                "give a module without it."
            )
        if isinstance(layer, nnx.BatchNorm) and not layer.use_running_average:
            raise ValueError(
                f"The module has {kind}, which takes statistics of the other rows of a batch: the "
                "likelihood is no sum over rows then. Use GroupNorm, LayerNorm or filter response "
                "normalisation in its place; or call module.eval() before, which keeps the "
                "statistics of pretraining."
            )
