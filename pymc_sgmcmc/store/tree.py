"""A DataTree in a zarr store whose draws grow, and which can be read while they do."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray import Dataset, DataTree

from pymc_sgmcmc.store.shelf import Shelf, import_zarr

# Bytes of the draws that are written at once, of all variables together, and of a chunk of a
# variable of which a draw is small; draws in a chunk, at most.
_BYTES, _SMALL, _MOST = 2**25, 2**18, 4096

# As `pm.sample` has them.
_ORDER = (
    *("warmup_posterior", "warmup_sample_stats", "posterior", "sample_stats"),
    *("observed_data", "constant_data"),
)

Metadata = dict[str, Any]


class StoredTree:
    """The tree as readers see it: what its root says, and that changes in a single put.

    zarr has a metadata file for each array, and a process that dies between two of them would
    leave draws of two lengths. The root can hold a copy of them all ("consolidated"), which is what
    zarr and xarray read: arrays are filled beyond their ends, and then all ends move together. The
    files of the arrays themselves follow when the run ends.

    Parameters
    ----------
    shelf : Shelf
    groups : mapping of str to sequence of str, optional
        Groups that it has, and the variables of each.

    Attributes
    ----------
    groups : dict of str to list of str
    """

    def __init__(self, shelf: Shelf, groups: Mapping[str, Sequence[str]] | None = None) -> None:
        self._shelf = shelf
        self._nodes: dict[str, Metadata] = {}
        self.groups: dict[str, list[str]] = {}
        for group, names in (groups or {}).items():
            self._read(group, names)

    @property
    def layout(self) -> tuple[dict[str, Metadata], dict[str, list[str]]]:
        """All that another process needs to fill groups as well."""
        return self._nodes, self.groups

    def take(self, layout: tuple[dict[str, Metadata], dict[str, list[str]]]) -> None:
        """Take a `layout`, in place of reading it."""
        self._nodes, self.groups = layout

    def chains_in_chunks(self, group: str) -> set[int]:
        """Chains in the chunks of the variables of a group."""
        nodes = [self._nodes[f"{group}/{name}"] for name in self.groups[group]]
        shapes = [(_dims(x), x["chunk_grid"]["configuration"]["chunk_shape"]) for x in nodes]
        return {
            shape[dims.index("chain")] for dims, shape in shapes if {"chain", "draw"} <= {*dims}
        }

    def create(
        self,
        group: str,
        dataset: Dataset,
        chunks: Mapping[str, int] | None = None,
        share: int | None = None,
    ) -> None:
        """Write a group, of which nobody knows until the tree is published.

        Parameters
        ----------
        group : str
        dataset : Dataset
        chunks : mapping of str to int, optional
            Draws in a chunk of every variable that grows.
        share : int, optional
            Chains that one process writes are so many, or a multiple of it: a chunk has no others.
        """
        grows = (chunks or {}).items()
        encoding = {name: self._encoding(dataset[name], n, share) for name, n in grows}
        dataset.to_zarr(
            self._shelf.store,
            group=group,
            mode="w",
            zarr_format=3,
            consolidated=False,
            encoding=encoding,
        )
        self._read(group, [str(name) for name in dataset.variables])
        self._shelf.settle(self._shelf.keys(group))

    def fill(
        self, group: str, arrays: Mapping[str, np.ndarray], start: int, chains: slice = slice(None)
    ) -> None:
        """Write draws from the number `start` on; they count when the tree is published.

        Parameters
        ----------
        group : str
        arrays : mapping of str to ndarray
            Shape ``(chains, n, ...)``.
        start : int
        chains : slice
            Chains whose draws these are. The numbers of the draws go with the first of them.
        """
        zarr = import_zarr()
        from zarr.storage import StorePath

        stop = start + next(iter(arrays.values())).shape[1]
        keys: list[str] = []
        numbers = {} if chains.start else {"draw": np.arange(start, stop)}
        places = {"draw": slice(start, stop), "chain": chains}
        for name, x in {**arrays, **numbers}.items():
            path = f"{group}/{name}"
            metadata = _of_length(self._nodes[path], stop)
            place = StorePath(self._shelf.store, path)
            array = zarr.Array(zarr.AsyncArray.from_dict(place, metadata))
            where = [places.get(d, slice(None)) for d in _dims(metadata)]
            array[tuple(where)] = x
            chunks = itertools.product(*map(_chunks, where, array.shape, array.chunks))
            keys += [f"{path}/{array.metadata.encode_chunk_key(chunk)}" for chunk in chunks]
        self._shelf.settle(keys)

    def publish(self, lengths: Mapping[str, int], attributes: Mapping[str, Any]) -> None:
        """Let readers see so many draws of the groups that grow, with these attributes."""
        for group, length in lengths.items():
            self._nodes[group]["attributes"] |= attributes
            for name in self.groups[group]:
                path = f"{group}/{name}"
                self._nodes[path] = _of_length(self._nodes[path], length)
        self._shelf.put_soon({"zarr.json": self._group("", _GROUP)})
        # For those who open a group alone.
        self._shelf.put_soon(
            {f"{group}/zarr.json": self._group(group, self._nodes[group]) for group in self.groups}
        )

    def finish(self) -> None:
        """Bring the files of the arrays up to what readers see."""
        self._shelf.put_soon(
            {
                f"{path}/zarr.json": json.dumps(node).encode()
                for path, node in self._nodes.items()
                if node["node_type"] == "array"
            }
        )

    def _group(self, group: str, node: Metadata) -> bytes:
        """Metadata of a group, with those of all that is in it."""
        prefix = f"{group}/" if group else ""
        paths = sorted(self._nodes, key=lambda path: _ORDER.index(path.partition("/")[0]))
        within = {k.removeprefix(prefix): self._nodes[k] for k in paths if k.startswith(prefix)}
        return json.dumps({**node, "consolidated_metadata": _consolidated(within)}).encode()

    def _read(self, group: str, names: Sequence[str]) -> None:
        """Take the metadata of a group from its files."""
        self.groups[group] = list(names)
        for path in (group, *(f"{group}/{name}" for name in names)):
            text = self._shelf.get(f"{path}/zarr.json")
            if text is None:
                raise FileNotFoundError(f"{self._shelf.name} has lost {path}/zarr.json.")
            node = json.loads(text)
            node.pop("consolidated_metadata", None)
            self._nodes[path] = node

    @staticmethod
    def _encoding(x: xr.DataArray, draws: int, share: int | None) -> dict[str, Any]:
        sizes = {"chain": _chains_in_chunk(x, share), "draw": draws}
        found: dict[str, Any] = {"chunks": tuple(sizes.get(str(d), n) for d, n in x.sizes.items())}
        if x.dtype.kind == "f" and x.ndim > 2:
            found["compressors"] = None  # draws are noise, which only takes time to compress
        return found


def draws_in_chunks(datasets: Mapping[str, Dataset]) -> tuple[int, dict[str, dict[str, int]]]:
    """Draws to write at once, and draws in a chunk of every variable that grows.

    The first divides all others, so that what is written at once never ends within a chunk that
    is large.

    Parameters
    ----------
    datasets : mapping of str to Dataset
        Groups, with at least one draw.
    """
    growing = {
        group: {str(k): _bytes_of_draw(x) for k, x in dataset.variables.items() if "draw" in x.dims}
        for group, dataset in datasets.items()
    }
    total = sum(sum(sizes.values()) for sizes in growing.values())
    at_once = min(_MOST, 1 << max(0, (_BYTES // total).bit_length() - 1))

    def of(size: int) -> int:
        return at_once * max(1, min(_MOST, _SMALL // size) // at_once)

    chunks = {group: {k: of(size) for k, size in s.items()} for group, s in growing.items()}
    return at_once, chunks


def open_tree(shelf: Shelf) -> DataTree:
    """Tree of a store, of which nothing is read until it is asked for."""
    return xr.open_datatree(shelf.where, engine="zarr", chunks=None, consolidated=True)


_GROUP: Metadata = {"zarr_format": 3, "node_type": "group", "attributes": {}}


def _consolidated(nodes: Mapping[str, Metadata]) -> Metadata:
    return {"kind": "inline", "must_understand": False, "metadata": dict(nodes)}


def _dims(metadata: Metadata) -> list[str]:
    return list(metadata.get("dimension_names") or [])


def _of_length(metadata: Metadata, length: int) -> Metadata:
    """Metadata of an array with so many draws; of one without draws as they are."""
    found = copy.deepcopy(metadata)
    if "draw" in _dims(metadata):
        found["shape"][_dims(metadata).index("draw")] = length
    return found


def _chunks(where: slice, size: int, chunk: int) -> range:
    """Numbers of the chunks along an axis that a slice touches."""
    start, stop, _ = where.indices(size)
    return range(start // chunk, -(-stop // chunk))


def _bytes_of_draw(x: xr.Variable) -> int:
    rest = math.prod(n for d, n in x.sizes.items() if d != "draw")
    return max(1, rest * x.dtype.itemsize)


def _chains_in_chunk(x: xr.DataArray, share: int | None = None) -> int:
    """Chains in a chunk: all, or a process's share; fewer if a single draw is very large."""
    chains = x.sizes.get("chain", 1)
    most = max(1, min(chains, chains * 4 * _BYTES // _bytes_of_draw(x.variable)))
    if share is None or share == chains:
        return most
    return next(n for n in range(min(share, most), 0, -1) if share % n == 0)


def plain_attribute(value: Any) -> Any:
    """Attribute as xarray writes it to zarr."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
