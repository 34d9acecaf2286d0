"""Equinox modules in a model, and draws put back into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pytensor.tensor import TensorLike
from pytensor.tensor.variable import TensorVariable
from xarray import DataTree

from pymc_sgmcmc.nn.modules import Leaf, ModulePrior, Patterns, values_of, write


def from_equinox(
    module: Any,
    x: TensorLike,
    *,
    name: str = "net",
    prior: ModulePrior | Mapping[str, ModulePrior] | None = None,
    freeze: Patterns = (),
    dims: Mapping[str, Sequence[str]] | None = None,
    start: str = "prior",
) -> TensorVariable:
    """Write an Equinox module into the model: each array of it is a variable, or held fixed.

    Parameters
    ----------
    module : equinox.Module
        Called with one row, as Equinox has it: ``jax.vmap(module)(x)``.
    x : TensorVariable or array
        Rows, ``(rows, ...)``: a ``pm.Data``, or the output of a layer.
    name : str
        Of the network. Variables are called ``<name>.<path>``, "net.layers.0.weight" say. Weights
        stand as matrices ``(inputs, units)``, whatever their shape in the module, like those of
        `dense`; biases as vectors.
    prior : Prior, Around, or mapping of str to these, optional
        Of the weights, by their fan-in; or one for each pattern of paths, of which the first that
        matches counts: ``{"layers.0.*": nn.FixedScale(1), "*": nn.Around(0.1)}``. Weights without
        one have `LearnedScale`, biases and other vectors N(0, 1), factors of normalised signals
        N(1, 1), unless a pattern or an `Around` is meant for them.
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
        If Equinox is not installed.
    ValueError, TypeError
        If the module is not a function of each row alone, or an argument is wrong.

    See Also
    --------
    to_equinox : Puts a draw back into a module.
    from_flax : The same of Flax.

    Examples
    --------
    >>> import equinox as eqx
    >>> import jax
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> module = eqx.nn.MLP(4, "scalar", 8, depth=1, key=jax.random.key(0))
    >>> with pm.Model() as model:
    ...     mean = nn.from_equinox(module, pm.Data("X", np.ones((100, 4))), freeze="layers.0.*")
    ...     y = pm.Normal("y", mean, 0.1, observed=np.ones(100))
    >>> [v.name for v in model.free_RVs]
    ['net.layers.1.weight_scale', 'net.layers.1.weight_raw', 'net.layers.1.bias']
    """
    eqx = _equinox()
    import jax

    if not callable(module):
        raise TypeError(f"module must be an equinox.Module with a __call__, got {module!r}.")
    _refuse_what_is_no_function(module)
    arrays, rest = eqx.partition(module, _is_floating)
    structure = jax.tree.structure(arrays)

    def outputs(x: Any, *leaves: Any) -> Any:
        return jax.vmap(eqx.combine(jax.tree.unflatten(structure, leaves), rest))(x)

    return write(
        _leaves(module), outputs, x, name, type(module).__name__, prior, freeze, dims, start
    )


def to_equinox(
    idata: DataTree, module: Any, draw: tuple[int, int] = (0, -1), *, name: str = "net"
) -> Any:
    """Put a draw into an Equinox module.

    Parameters
    ----------
    idata : xarray.DataTree
        Output of sampling a model with `from_equinox`.
    module : equinox.Module
        The one that the model was written with; what was held fixed stays as it is there.
    draw : tuple of int
        Chain, and draw of it; the last draw of the first chain by default.
    name : str
        Of the network in the model.

    Returns
    -------
    equinox.Module
        A copy.

    Raises
    ------
    ImportError
        If Equinox is not installed.
    ValueError
        If the draws of the module's arrays are missing.

    See Also
    --------
    from_equinox : Writes the module into a model.

    Examples
    --------
    >>> import equinox as eqx
    >>> import jax
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> layer = eqx.nn.Linear(4, 3, key=jax.random.key(0))
    >>> with pm.Model():
    ...     outputs = nn.from_equinox(layer, np.ones((100, 4)))
    ...     idata = pm.sample_prior_predictive(5, random_seed=1)
    >>> idata["posterior"] = idata["prior"]
    >>> drawn = nn.to_equinox(idata, layer, draw=(0, 2))
    >>> weight = idata["posterior"]["net.weight"].values[0, 2]
    >>> bool(np.allclose(drawn.weight.T, weight))
    True
    """
    _equinox()
    import jax
    import jax.numpy as jnp

    values = values_of(idata, _leaves(module), draw, name)
    return jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.asarray(values[_text(path)]) if _text(path) in values else x, module
    )


def _equinox() -> Any:
    try:
        import equinox
    except ImportError:
        raise ImportError(
            "Modules of Equinox need Equinox: pip install 'pymc-sgmcmc[equinox]'."
        ) from None
    return equinox


def _is_floating(x: Any) -> bool:
    import jax.numpy as jnp

    return hasattr(x, "dtype") and hasattr(x, "shape") and jnp.issubdtype(x.dtype, jnp.floating)


def _text(path: Sequence[Any]) -> str:
    import jax

    return jax.tree_util.keystr(tuple(path), simple=True, separator=".")


def _leaves(module: Any) -> list[Leaf]:
    import jax

    arrays = jax.tree_util.tree_leaves_with_path(module)
    return [_leaf(module, path, x) for path, x in arrays if _is_floating(x)]


def _leaf(module: Any, path: Sequence[Any], array: Any) -> Leaf:
    """What an array is for: by the layer that it belongs to, or else by its shape."""
    from equinox import nn

    value, text, own = np.asarray(array), _text(path), path[-1]
    layer = module
    for key in path[:-1]:
        layer = _entry(layer, key)
    attribute = getattr(own, "name", None)
    if isinstance(layer, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm) and attribute == "weight":
        return Leaf(text, value, "gain")
    if value.ndim < 2 or attribute == "bias":
        return Leaf(text, value, "bias")
    if isinstance(layer, nn.Embedding):
        return Leaf(text, value, "weights", len(value))
    fan_in = value[0].size
    return Leaf(text, value, "weights", fan_in, fan_in, units_first=True)


def _entry(layer: Any, key: Any) -> Any:
    if hasattr(key, "name"):
        return getattr(layer, key.name)
    return layer[key.idx if hasattr(key, "idx") else key.key]


def _refuse_what_is_no_function(module: Any) -> None:
    """Refuse layers whose outputs depend on chance or on other rows."""
    import jax
    from equinox import nn

    stateful = nn.BatchNorm, nn.SpectralNorm, nn.StateIndex
    kinds = nn.Dropout, *stateful
    for part in jax.tree.leaves(module, is_leaf=lambda x: isinstance(x, kinds)):
        if isinstance(part, nn.Dropout) and part.p > 0 and not part.inference:
            raise ValueError(
                f"The module has Dropout(p={part.p}): its output is random, and the posterior has "
                "the network's uncertainty already. Give equinox.nn.inference_mode(module), or a "
                "module without it."
            )
        if isinstance(part, stateful):
            raise ValueError(
                f"The module has {type(part).__name__}, whose state is a statistic of other rows: "
                "the likelihood is no sum over rows then. Use GroupNorm, LayerNorm or filter "
                "response normalisation in its place; or, for pretrained features that stay "
                "fixed, compute them before and give them as x."
            )
