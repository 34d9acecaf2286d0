"""The weights of a network among the variables of a posterior, and the symmetries of its units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xarray import DataArray, Dataset

from pymc_sgmcmc.diagnostics.reading import quoted

Pair = tuple[str, str | None]
Layers = Sequence[Pair | list[Pair]]
"""Weights and bias of each layer from input to output; several outputs are a list in the end."""
Arrays = dict[str, np.ndarray]
"""Values of variables, with an axis of draws first."""


@dataclass(frozen=True)
class Member:
    """A variable that changes when hidden units change places.

    Attributes
    ----------
    name : str
    layer_of_axis : mapping of int to int
        Hidden layer whose units an axis is of; the axis of draws is 0.
    signed : bool
        Whether its entries change sign with their units.
    weight : bool
        Whether it is a weight or bias of the network, by which its units are told apart.
    """

    name: str
    layer_of_axis: Mapping[int, int]
    signed: bool
    weight: bool


@dataclass(frozen=True)
class Symmetry:
    """A change of the hidden units, for each draw and hidden layer, that keeps the function.

    Attributes
    ----------
    places : list of ndarray
        Shape ``(draws, units)`` each: the unit that comes to a place.
    signs : list of ndarray
        Shape ``(draws, units)`` each: 1 or -1, by which the unit at a place is multiplied.
    """

    places: list[np.ndarray]
    signs: list[np.ndarray]

    @classmethod
    def identity(cls, sizes: Sequence[int], draws: int) -> Symmetry:
        """Every unit stays."""
        return cls(
            [np.tile(np.arange(size), (draws, 1)) for size in sizes],
            [np.ones((draws, size), dtype=int) for size in sizes],
        )

    def then(self, layer: int, places: np.ndarray, signs: np.ndarray) -> None:
        """Go on with a change of one layer."""
        self.places[layer] = np.take_along_axis(self.places[layer], places, 1)
        self.signs[layer] = np.take_along_axis(self.signs[layer], places, 1) * signs


@dataclass(frozen=True)
class Network:
    """Hidden layers of a network, in order, and the variables that belong to them.

    Attributes
    ----------
    dims : tuple of str
        Dimension of the units of each hidden layer.
    sizes : tuple of int
        Its units.
    members : tuple of Member
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    members: tuple[Member, ...]

    def units(self, arrays: Arrays, layer: int, known: int) -> np.ndarray:
        """Vectors u = [b_h, W_in[:, h], W_out[h, :]] of the units of a layer.

        Weights from or to hidden layers beyond `known` are left out; ``(draws, units, numbers)``.
        """
        parts = []
        for member in self.members:
            layers = list(member.layer_of_axis.values())
            if member.weight and layer in layers and max(layers) <= known:
                axis = next(a for a, k in member.layer_of_axis.items() if k == layer)
                x = np.moveaxis(arrays[member.name], axis, 1)
                parts.append(x.reshape(*x.shape[:2], -1))
        return np.concatenate(parts, axis=2, dtype=float)

    def apply(self, arrays: Arrays, layer: int, places: np.ndarray, signs: np.ndarray) -> Arrays:
        """Move and flip the units of one layer."""
        changed = dict(arrays)
        for member in self.members:
            for axis, of in member.layer_of_axis.items():
                if of == layer and member.name in changed:
                    x = changed[member.name]
                    along = [1] * x.ndim
                    along[0], along[axis] = places.shape
                    x = np.take_along_axis(x, places.reshape(along), axis)
                    if member.signed:
                        x = x * signs.reshape(along).astype(x.dtype)
                    changed[member.name] = x
        return changed


def find_network(posterior: Dataset, layers: Layers) -> Network:
    """Find the hidden layers of a network, and every variable that their units occur in.

    Raises
    ------
    ValueError
        If a variable is missing or its shape does not fit, or two hidden layers share a dimension.
    """
    hidden, outputs = split_layers(layers)
    names = [name for pair in [*hidden, *outputs] for name in pair if name is not None]
    missing = [name for name in names if name not in posterior]
    if missing or len(set(names)) < len(names):
        raise ValueError(
            f"layers names {quoted(missing)}, which are missing, or a variable twice. The "
            f"posterior has {quoted(posterior.data_vars)}."
        )
    axes: dict[str, dict[int, int]] = {name: {} for name in names}
    for layer, (weights, bias) in enumerate(hidden):
        _expect(posterior, weights, 2, "(chain, draw, in, out)")
        axes[weights][2] = layer
        if bias is not None:
            _expect(posterior, bias, 1, "(chain, draw, out)")
            axes[bias][1] = layer
        for following, _ in [hidden[layer + 1]] if layer + 1 < len(hidden) else outputs:
            if values(posterior[following]).ndim < 2:
                raise ValueError(f"{following!r} must have dims (chain, draw, in, ...).")
            axes[following][1] = layer
    dims = _check_dims(posterior, hidden, axes)
    members = [Member(name, where, True, True) for name, where in axes.items() if where]
    for name, where in axes.items():
        twin = f"{name}_raw"
        same = twin in posterior and values(posterior[twin]).shape == values(posterior[name]).shape
        if same and where:
            members.append(Member(twin, where, True, False))
    found = {member.name for member in members}
    for other in map(str, posterior.data_vars):
        where = {
            axis: dims[dim]
            for axis, dim in enumerate(_dims(posterior, other), start=1)
            if dim in dims
        }
        if other not in found and where and {"chain", "draw"} <= set(posterior[other].dims):
            members.append(Member(other, where, False, False))
    return Network(
        tuple(_dims(posterior, weights)[1] for weights, _ in hidden),
        tuple(values(posterior[weights]).shape[2] for weights, _ in hidden),
        tuple(members),
    )


def split_layers(layers: Layers) -> tuple[list[Pair], list[Pair]]:
    """Pairs of weights and bias of the hidden layers, and of the outputs."""
    message = (
        "layers must be the (weights, bias) of each layer from input to output, with None for no "
        "bias: layers=[('W1', 'b1'), ('W2', 'b2')], and for several outputs a list of such pairs "
        f"in the last place; got {layers!r}."
    )
    if isinstance(layers, str) or len(layers) < 2:
        raise ValueError(message)
    last = layers[-1]
    outputs = [last] if isinstance(last, tuple) else list(last)
    hidden = [pair for pair in layers[:-1] if isinstance(pair, tuple)]
    if len(hidden) < len(layers) - 1:
        raise ValueError(message)
    for pair in [*hidden, *outputs]:
        right = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)
        if not right or not (pair[1] is None or isinstance(pair[1], str)):
            raise ValueError(message)
    return hidden, outputs


def values(x: DataArray) -> np.ndarray:
    """Values with chains and draws made one first axis."""
    x = x.transpose("chain", "draw", ...)
    return x.values.reshape(-1, *x.shape[2:])


def _dims(posterior: Dataset, name: str) -> list[str]:
    return [str(dim) for dim in posterior[name].dims if dim not in ("chain", "draw")]


def _expect(posterior: Dataset, name: str, ndim: int, dims: str) -> None:
    if values(posterior[name]).ndim != 1 + ndim:
        raise ValueError(f"{name!r} must have dims {dims}; it has {posterior[name].dims}.")


def _check_dims(
    posterior: Dataset, hidden: list[Pair], axes: dict[str, dict[int, int]]
) -> dict[str, int]:
    """Hidden layer of each dimension of units."""
    layer_of: dict[str, int] = {}
    for name, where in axes.items():
        for axis, layer in where.items():
            weights = hidden[layer][0]
            size, units = values(posterior[name]).shape[axis], values(posterior[weights]).shape[2]
            if size != units:
                raise ValueError(
                    f"{weights!r} leads to {units} units, but {name!r} has {size}. Name the layers "
                    "from input to output."
                )
            dim = _dims(posterior, name)[axis - 1]
            if layer_of.setdefault(dim, layer) != layer:
                raise ValueError(_SHARED.format(dim=dim))
    for name, where in axes.items():
        for axis, dim in enumerate(_dims(posterior, name), start=1):
            if axis not in where and dim in layer_of:
                raise ValueError(_SHARED.format(dim=dim))
    return layer_of


_SHARED = (
    "The dimension {dim!r} is of more than one layer. Give each layer's units a dimension of "
    "their own, such as dims=('hidden_1', 'hidden_2')."
)
