"""What a person may give for the rows of a model, and how it is opened."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pymc_sgmcmc.streaming.blocks import Blocks, Loader, Slices, Table
from pymc_sgmcmc.streaming.places import Held, Mapped, Place
from pymc_sgmcmc.streaming.scratch import check_numbers, write
from pymc_sgmcmc.streaming.stored import StoredRows

KINDS = (
    'an array with shape, dtype and slices (np.load(..., mmap_mode="r"), zarr, h5py), columns of a '
    'table ("rows.parquet", ["a", "b"]), or a loader of blocks (loader, 0)'
)


def open_rows(data: Mapping[str, Any]) -> StoredRows:
    """Open sources of rows, and write a working copy of those that can't be read in any order.

    Parameters
    ----------
    data : mapping of str to object
        By the names of row data: an array; what has shape, dtype and slices; a path to parquet or
        a table, with its columns; or a loader of blocks, with the part of them that is meant.

    Raises
    ------
    ValueError, TypeError
        If a source can't be one, or has another number of rows than the others.
    ImportError
        If pyarrow is needed and not installed.
    """
    if not data:
        raise ValueError("data is empty: give each of the row data its source, by name.")
    places: dict[str, Place] = {}
    waiting: dict[str, tuple[Blocks, Any]] = {}
    opened: dict[Any, Blocks] = {}
    for name, given in data.items():
        source, part = given if _is_pair(given) else (given, None)
        if (place := _place(name, source)) is not None and part is None:
            places[str(name)] = place
            continue
        key = str(source) if isinstance(source, str | Path) else id(source)
        if key not in opened:
            opened[key] = _blocks(name, source)
        opened[key].check(name, part)
        waiting[str(name)] = opened[key], part
    lengths = {k: x.shape[0] for k, x in places.items()} | {
        k: blocks.n_rows for k, (blocks, _) in waiting.items()
    }
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{k!r} {n:,}" for k, n in lengths.items())
        raise ValueError(f"The sources of data differ in their numbers of rows: {told}.")
    for blocks in opened.values():
        named = [(k, part) for k, (of, part) in waiting.items() if of is blocks]
        copies = write(blocks, named)
        places |= {k: copy for (k, _), copy in zip(named, copies, strict=True)}
    stamps = [blocks.stamp for blocks in opened.values()]
    return StoredRows({str(k): places[str(k)] for k in data}, stamps)


def is_source(given: Any) -> bool:
    """Whether something is a source of rows besides an array that NumPy can make of it."""
    sliced = all(hasattr(given, x) for x in ("shape", "dtype", "__getitem__"))
    return sliced or _is_pair(given) or not isinstance(given, list)


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2


def _place(name: str, source: Any) -> Place | None:
    """Where the rows of an array lie that can be read in any order; None for other sources."""
    if hasattr(source, "iloc"):  # of pandas
        source = source.to_numpy()
    if not isinstance(source, np.ndarray):
        return None
    if source.ndim == 0:
        raise ValueError(f"data[{name!r}] is a single number: give one entry for each row.")
    check_numbers(name, source.dtype)
    if isinstance(source, np.ma.MaskedArray):
        raise ValueError(f"data[{name!r}] is masked. Leave out the rows with missing values.")
    on_disk: Any = source
    if isinstance(source, np.memmap) and source.flags.c_contiguous and source.size:
        path = getattr(on_disk, "filename", None)
        if path is not None and on_disk.mode != "c" and Path(path).exists():
            return Mapped.of(source)
    return Held(source)


def _blocks(name: str, source: Any) -> Blocks:
    if isinstance(source, str | Path) or type(source).__module__.startswith("pyarrow"):
        if isinstance(source, str | Path) and not Path(source).exists():
            raise ValueError(f"data[{name!r}] is {str(source)!r}, which is no file or folder.")
        if importlib.util.find_spec("pyarrow") is None:
            raise ImportError(
                f"data[{name!r}] is a table, which pyarrow reads: "
                "pip install 'pymc-sgmcmc[streaming]'."
            )
        return Table(source)
    if all(hasattr(source, x) for x in ("shape", "dtype", "__getitem__")):
        if not source.shape:
            raise ValueError(f"data[{name!r}] is a single number: give one entry for each row.")
        return Slices(source)
    if isinstance(source, Iterable) and not isinstance(source, Mapping):
        return Loader(source)
    raise TypeError(f"data[{name!r}] must be {KINDS}; got {type(source).__name__}.")
