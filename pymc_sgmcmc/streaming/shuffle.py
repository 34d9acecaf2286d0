"""Rows of a file in random order, in another file, with next to none of them in memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from pymc_sgmcmc.arguments import integer
from pymc_sgmcmc.streaming.sources import open_rows
from pymc_sgmcmc.streaming.stored import StoredRows

# Rows that are read at once; bytes of a heap, which is in memory as a whole; heaps, at most.
_READ, _HEAP, _MOST = 2**17, 2**28, 256


def shuffle_rows(
    data: Mapping[str, Any], folder: str | os.PathLike[str], *, random_seed: int = 0
) -> dict[str, np.ndarray]:
    """Write rows in random order into files, in which a batch can be B neighbours.

    For ``batches="blocks"`` of a step, where rows outgrow memory. Two passes: each row is put on
    one of some heaps at random, and then each heap is shuffled in memory. All orders of the rows
    are equally likely; all arrays have the same one.

    Parameters
    ----------
    data : dict
        Sources of rows by name, as a step takes them: arrays, tables, loaders.
    folder : path
        Where files such as ``X.npy`` are written. It takes twice the size of the rows, half of it
        until they are written.
    random_seed : int
        The same seed gives the same order.

    Returns
    -------
    dict of str to numpy.memmap
        What a step takes as its ``data=``.

    Raises
    ------
    FileExistsError
        If there is such a file.
    OSError
        If the disk has no room.
    ValueError, TypeError
        If a source can't be one; the message says what to write.

    See Also
    --------
    pymc_sgmcmc.ATMC : A step that takes them.

    Notes
    -----
    Memory: 256 MB, or a 256th of all rows, and as much again while a heap is shuffled.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from pymc_sgmcmc import shuffle_rows
    >>> outcomes = np.repeat([0, 1], 500)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = shuffle_rows({"X": np.arange(2000.0).reshape(1000, 2), "y": outcomes}, folder)
    ...     type(rows["X"]).__name__, rows["X"].shape, rows["y"].sum()
    ('memmap', (1000, 2), np.int64(500))
    """
    integer("random_seed", random_seed, 0)
    stored, folder = open_rows(data), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.npy" for name in stored.names}
    for path in paths.values():
        if path.exists():
            raise FileExistsError(f"{path} exists. Give another folder, or np.load it.")
    sizes = [int(np.prod(stored.shape(k), dtype=int)) * stored.dtype(k).itemsize for k in paths]
    if (needed := 2 * sum(sizes)) > (free := shutil.disk_usage(folder).free):
        raise OSError(
            f"Shuffling takes {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free. "
            "Give a folder with more room."
        )
    rng = np.random.default_rng(random_seed)
    with tempfile.TemporaryDirectory(dir=folder, prefix="shuffling_") as own:
        n_heaps = int(np.clip(-(-sum(sizes) // _HEAP), 1, _MOST))
        lengths = _put_on_heaps(stored, Path(own), n_heaps, rng)
        seed = int(rng.integers(2**63))
        for name, path in paths.items():
            unfinished = Path(own) / path.name
            _write(stored, name, Path(own), lengths, unfinished, seed)
            os.replace(unfinished, path)
    return {name: np.load(path, mmap_mode="r") for name, path in paths.items()}


def _put_on_heaps(
    stored: StoredRows, own: Path, n_heaps: int, rng: np.random.Generator
) -> np.ndarray:
    """Write every row to a random heap; how many there are on each, ``(n_heaps,)``."""
    lengths = np.zeros(n_heaps, int)
    with ExitStack() as opened:
        files = {
            name: [opened.enter_context(open(_heap(own, name, i), "wb")) for i in range(n_heaps)]
            for name in stored.names
        }
        for first in range(0, stored.n_rows, _READ):
            stop = min(first + _READ, stored.n_rows)
            heap = rng.integers(n_heaps, size=stop - first)
            order = np.argsort(heap, kind="stable")
            here = np.bincount(heap, minlength=n_heaps)
            cuts = np.cumsum(here)[:-1]
            for name, of_heaps in files.items():
                rows = stored.read(name, first, stop)[order]
                for file, part in zip(of_heaps, np.split(rows, cuts), strict=True):
                    file.write(np.ascontiguousarray(part).tobytes())
            lengths += here
    return lengths


def _write(
    stored: StoredRows, name: str, own: Path, lengths: np.ndarray, path: Path, seed: int
) -> None:
    """Write the heaps of an array one after another, each shuffled: alike for the same seed."""
    rng, dtype = np.random.default_rng(seed), stored.dtype(name)
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False}
    with open(path, "wb") as file:
        npy.write_array_header_1_0(file, {**header, "shape": stored.shape(name)})
        for i, length in enumerate(lengths):
            heap = _heap(own, name, i)
            rows = np.fromfile(heap, dtype).reshape(length, *stored.shape(name)[1:])
            file.write(rows[rng.permutation(length)].data)
            heap.unlink()


def _heap(own: Path, name: str, number: int) -> Path:
    return own / f"{name}.{number}.heap"
