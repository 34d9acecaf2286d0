"""Modules of JAX libraries in a model: each of their arrays is a variable, or held fixed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.tensor import TensorConstant, TensorLike
from pytensor.tensor.variable import TensorVariable
from xarray import DataTree

from pymc_sgmcmc.arguments import number, one_of
from pymc_sgmcmc.model.graphs import reason
from pymc_sgmcmc.model.jax_functions import function_of_rows
from pymc_sgmcmc.nn.inputs import n_rows
from pymc_sgmcmc.nn.layers import label
from pymc_sgmcmc.nn.priors import GroupLaplace, LearnedScale, Prior, WeightNorm

Patterns = str | Sequence[str]


@dataclass(frozen=True)
class Around:
    """Weights from N(w, s²/fan_in), with w the values that a module has; chains start there.

    For `from_equinox` and `from_flax`. Of a bias, and of other vectors, the fan-in is 1.

    Parameters
    ----------
    scale : float
        s: how far from the values that are there a weight may go.

    See Also
    --------
    FixedScale : The same around 0.

    Examples
    --------
    >>> import equinox as eqx
    >>> import jax
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> layer = eqx.nn.Linear(4, 3, key=jax.random.key(0))
    >>> with pm.Model() as model:
    ...     outputs = nn.from_equinox(layer, np.ones((100, 4)), prior=nn.Around(0.1))
    >>> bool((model.initial_point()["net.weight"] == layer.weight.T).all())
    True
    """

    scale: float

    def __post_init__(self) -> None:
        number("scale", self.scale, 0)


ModulePrior = Prior | Around


@dataclass(frozen=True, eq=False)
class Leaf:
    """An array of a module, and how it is a matrix ``(inputs, units)``, which priors are made for.

    Parameters
    ----------
    path : str
        Where it is in the module: "layers.0.weight".
    value : ndarray
    kind : {"weights", "bias", "gain"}
        A gain is a factor of signals that were normalised; a bias any other vector.
    inputs : int
        Rows of the matrix; 1 for a vector.
    fan_in : int
        How many of them are added up in a unit: 1 for a table, of which one is taken.
    units_first : bool
        Whether the leading axis is that of the units, as Equinox has it, or the last ones are.
    """

    path: str
    value: np.ndarray
    kind: Literal["weights", "bias", "gain"]
    inputs: int = 1
    fan_in: int = 1
    units_first: bool = False

    def matrix(self) -> np.ndarray:
        """Values as a matrix."""
        if self.units_first:
            return self.value.reshape(-1, self.inputs).T
        return self.value.reshape(self.inputs, -1)

    def of_matrix(self, matrix: Any) -> Any:
        """Array like this one of a matrix (or a vector), of numbers or symbolic."""
        return (matrix.T if self.units_first else matrix).reshape(self.value.shape)


def write(
    leaves: Sequence[Leaf],
    outputs: Callable[..., Any],
    x: TensorLike,
    name: str,
    module: str,
    prior: ModulePrior | Mapping[str, ModulePrior] | None,
    freeze: Patterns,
    dims: Mapping[str, Sequence[str]] | None,
    start: str,
) -> TensorVariable:
    """Write the arrays of a module into the model, and give its outputs.

    Parameters
    ----------
    leaves : sequence of Leaf
    outputs : callable
        Function of JAX arrays, (x, *leaves) → outputs ``(rows, ...)``.
    x : TensorVariable or array
        Rows.
    name : str
        Of the network, with which the names of its variables begin.
    module : str
        What the module is called.
    prior, freeze, dims, start
        See `from_equinox`.

    Returns
    -------
    TensorVariable
        Shape ``(rows, ...)``.
    """
    one_of("start", start, ("prior", "module"))
    leaves = [replace(leaf, value=leaf.value.astype(pytensor.config.floatX)) for leaf in leaves]
    paths = [leaf.path for leaf in leaves]
    frozen = _frozen(freeze, paths)
    if all(frozen):
        raise ValueError(
            f"freeze={freeze!r} leaves nothing of the module to sample. Its arrays are: "
            f"{', '.join(map(repr, paths))}. A pattern that begins with '!' lets go of some: "
            f"freeze=('*', '!{paths[-1]}')."
        )
    priors = _of_paths("prior", prior if isinstance(prior, Mapping) else {}, paths)
    labels = _of_paths("dims", dims or {}, paths)
    for_all = None if isinstance(prior, Mapping) else prior
    arrays = []
    for leaf, stays in zip(leaves, frozen, strict=True):
        if stays:
            arrays.append(_constant(leaf, f"{name}.{leaf.path}"))
            continue
        own = priors.get(leaf.path)
        if own is None and (leaf.kind == "weights" or isinstance(for_all, Around)):
            own = for_all or LearnedScale()
        variable = _write(leaf, f"{name}.{leaf.path}", own, labels.get(leaf.path), start)
        arrays.append(leaf.of_matrix(variable))
    signal = _apply(outputs, x, arrays, module)
    signal.tag.rows = n_rows(x)
    if signal.type.ndim == 2:
        label(f"{name}_output", signal.type.shape[1])
        signal.tag.units = (f"{name}_output", signal.type.shape[1])
    elif signal.type.ndim == 1:
        signal.tag.units = (name, None)
    pairs = zip(leaves, frozen, strict=True)
    signal.tag.network = sum(leaf.kind == "weights" and not stays for leaf, stays in pairs) > 1
    return signal


def values_of(
    idata: DataTree, leaves: Sequence[Leaf], draw: tuple[int, int], name: str
) -> dict[str, np.ndarray]:
    """Values that a draw has for arrays of a module, by path; none of those that are not sampled.

    Parameters
    ----------
    idata : xarray.DataTree
    leaves : sequence of Leaf
    draw : tuple of int
        Chain, and draw of it.
    name : str
        Of the network.
    """
    posterior = idata["posterior"]
    chain, number_ = draw
    found = {}
    for leaf in leaves:
        variable = f"{name}.{leaf.path}"
        if variable in posterior.data_vars:
            drawn = posterior[variable].isel(chain=chain, draw=number_).values
            found[leaf.path] = leaf.of_matrix(drawn).astype(leaf.value.dtype)
        elif f"{variable}_raw" in posterior.data_vars:
            raise ValueError(
                f"The posterior has no {variable!r}, only what it is made of. Sample without "
                f"var_names, or with {variable!r} among them."
            )
    if not found:
        raise ValueError(
            f"The posterior has no array of the module: it would be called "
            f"'{name}.{leaves[0].path}' or the like. Give the name that the network was written "
            f"with, name=..., and leave its arrays in var_names."
        )
    return found


def _write(
    leaf: Leaf, name: str, prior: ModulePrior | None, dims: Sequence[str] | None, start: str
) -> TensorVariable:
    """Variable of an array, ``(inputs, units)``, or ``(units,)`` without a prior of its own."""
    values = leaf.matrix()
    if prior is None:
        (unit,) = _dims(name, dims, values.shape[1:])
        centre = 1.0 if leaf.kind == "gain" else 0.0
        variable = pm.Normal(name, centre, 1, dims=unit)
        if start == "module":
            _start(variable, values[0])
        elif leaf.kind == "gain":
            _start(variable, np.ones_like(values[0]))
        return variable
    if leaf.kind != "weights" and dims is not None:
        dims = (f"{name}_input", *dims)
    both = _dims(name, dims, values.shape)
    if isinstance(prior, Around):
        scale = prior.scale / math.sqrt(leaf.fan_in)
        return pm.Normal(name, values, scale, dims=both, initval=values)
    if isinstance(prior, GroupLaplace) and leaf.fan_in != leaf.inputs:
        raise ValueError(
            f"GroupLaplace is a law of the weights into a unit, and {name!r} is a table of which "
            f"one row is taken. Give it another prior: prior={{{leaf.path!r}: nn.LearnedScale(), "
            "'*weight': nn.GroupLaplace()}."
        )
    # Where the scales start: with the size of the values that are there, or with the prior's own.
    size = math.sqrt(leaf.fan_in * np.square(values).mean()) if start == "module" else 0.0
    own_gain = isinstance(prior, LearnedScale | GroupLaplace | WeightNorm)
    variable = prior.weights(name, both, leaf.fan_in, size if size and own_gain else 1.0)
    if start == "module":
        _start_parts(prior, name, values, leaf.fan_in)
    return variable


def _start_parts(prior: Prior, name: str, values: np.ndarray, fan_in: int) -> None:
    """Have the variables that weights are made of start where the weights have these values."""
    model = pm.modelcontext(None)
    if isinstance(prior, LearnedScale):
        scale = math.sqrt(fan_in * np.square(values).mean()) or 1.0
        _start(model[f"{name}_scale"], scale)
        _start(model[f"{name}_raw"], values * math.sqrt(fan_in) / scale)
    elif isinstance(prior, GroupLaplace):
        variance = np.square(values).mean(0)
        variance[variance == 0] = 1.0
        _start(model[f"{name}_variance"], variance)
        _start(model[f"{name}_raw"], values / np.sqrt(variance))
    elif isinstance(prior, WeightNorm):
        length = np.linalg.norm(values, axis=0)
        if not length.all():
            raise ValueError(
                f"{name!r} of the module has units without weights, which have no direction to "
                'start from. Use start="prior", or another prior than WeightNorm.'
            )
        _start(model[f"{name}_scale"], length)
        _start(model[f"{name}_raw"], values / length)
    elif model[name] in model.free_RVs:
        _start(model[name], values)
    else:
        raise TypeError(
            f'start="module" does not know which variables of {type(prior).__name__} give '
            f"{name!r} its values. Use a prior of nn (Around, FixedScale, LearnedScale, ...), or "
            'start="prior".'
        )


def _start(variable: TensorVariable, value: Any) -> None:
    pm.modelcontext(None).set_initval(variable, np.asarray(value, variable.type.dtype))


def _dims(name: str, given: Sequence[str] | None, lengths: Sequence[int]) -> tuple[str, ...]:
    """Names of the dims of a variable, which the model has from now on."""
    usual = (f"{name}_input", f"{name}_unit")[-len(lengths) :]
    names = tuple(usual if given is None else given)
    if len(names) != len(lengths):
        raise ValueError(
            f"{name!r} is written with {len(lengths)} dims, {usual}, and dims gives {names}."
        )
    for dim, length in zip(names, lengths, strict=True):
        label(dim, length)
    return names


def _constant(leaf: Leaf, name: str) -> TensorConstant:
    """Array that is held fixed; the rows of the data are none of its, however many it has."""
    constant = TensorConstant(pt.TensorType(leaf.value.dtype, leaf.value.shape), leaf.value, name)
    constant.tag.fixed = True
    return constant


def _apply(
    outputs: Callable[..., Any], x: TensorLike, arrays: Sequence[TensorVariable], module: str
) -> TensorVariable:
    rows: TensorVariable = pt.as_tensor_variable(x)
    shape: Sequence[int | None] = rows.type.shape
    if None in shape[1:]:
        try:
            shape = (shape[0], *map(int, rows.shape[1:].eval()))
        except Exception:
            raise ValueError(
                f"The shape of the rows of x is not known, {shape[1:]}. Use "
                "pytensor.tensor.specify_shape(x, (None, ...))."
            ) from None
        rows = pt.specify_shape(rows, shape)
    try:
        return function_of_rows(outputs, rows, *arrays, name=module)
    except Exception as error:
        raise ValueError(
            f"{module} can't be applied to rows of x, which have the shape {shape[1:]}: "
            f"{reason(error)}"
        ) from error


def _frozen(freeze: Patterns, paths: Sequence[str]) -> list[bool]:
    """Whether each path is held fixed: what the last pattern that matches it says."""
    frozen = dict.fromkeys(paths, False)
    for pattern in [freeze] if isinstance(freeze, str) else freeze:
        matched = _matching("freeze", pattern.removeprefix("!"), paths)
        frozen |= dict.fromkeys(matched, not pattern.startswith("!"))
    return list(frozen.values())


def _of_paths[T](argument: str, given: Mapping[str, T], paths: Sequence[str]) -> dict[str, T]:
    """What is given for each path: by the first pattern that matches it."""
    found: dict[str, T] = {}
    for pattern, what in given.items():
        found = dict.fromkeys(_matching(argument, pattern, paths), what) | found
    return found


def _matching(argument: str, pattern: str, paths: Sequence[str]) -> list[str]:
    matched = [path for path in paths if fnmatchcase(path, pattern)]
    if not matched:
        raise ValueError(
            f"{argument} has {pattern!r}, which matches no array of the module. They are: "
            f"{', '.join(map(repr, paths))}. ('*' stands for any characters.)"
        )
    return matched
