"""A working copy of rows that can't be read in any order: a file, for as long as they are used."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pymc_sgmcmc.streaming.blocks import Blocks
from pymc_sgmcmc.streaming.places import Mapped


def folder() -> Path:
    """Where working copies are written: TMPDIR, or a folder of temporary files that is on disk.

    (What /tmp holds is in memory on many systems.)
    """
    given = os.environ.get("TMPDIR")
    lasting = Path("/var/tmp")
    if given or not os.access(lasting, os.W_OK):
        return Path(tempfile.gettempdir())
    return lasting


def write(blocks: Blocks, named: Sequence[tuple[str, Any]]) -> list[Mapped]:
    """Write all rows of some parts into files, in their own types, in one pass.

    The files are gone when nothing refers to their rows any more.

    Parameters
    ----------
    blocks : Blocks
    named : sequence of (str, object)
        Name of the data, and the part of the blocks that they are.

    Raises
    ------
    ValueError, TypeError
        If the rows are fewer or more than was said, or no numbers.
    OSError
        If there is no room.
    """
    paths: list[str] = []
    files: list[BinaryIO] = []
    shapes: list[tuple[int, ...]] = []
    dtypes: list[np.dtype] = []
    done = 0
    try:
        for parts in blocks.blocks([part for _, part in named]):
            for (name, _), x in zip(named, parts, strict=True):
                check_numbers(name, x.dtype)
                if len(paths) < len(named):
                    handle, path = tempfile.mkstemp(".rows", "pymc_sgmcmc_", folder())
                    paths.append(path)
                    files.append(os.fdopen(handle, "wb"))
                    shapes.append(x.shape[1:])
                    dtypes.append(x.dtype)
            if not done:
                _check_room(blocks.n_rows, shapes, dtypes)
            for i, ((name, _), x) in enumerate(zip(named, parts, strict=True)):
                dtypes[i] = _check_block(name, x, shapes[i], dtypes[i], len(parts[0]), done)
                np.ascontiguousarray(x, dtypes[i]).tofile(files[i])
            done += len(parts[0])
        if done != blocks.n_rows:
            raise ValueError(
                f"{', '.join(repr(name) for name, _ in named)} had {done:,} rows where "
                f"{blocks.n_rows:,} were said to be. A loader must give every row once: "
                "drop_last=False, and no sampler that repeats."
            )
        for file in files:
            file.close()
        found = [
            Mapped(path, 0, (done, *shape), dtype)
            for path, shape, dtype in zip(paths, shapes, dtypes, strict=True)
        ]
    except BaseException:
        for path, file in zip(paths, files, strict=True):
            file.close()
            os.unlink(path)
        raise
    for path, place in zip(paths, found, strict=True):
        weakref.finalize(place, os.unlink, path)
    return found


def check_numbers(name: str, dtype: np.dtype) -> None:
    """Refuse what is no number."""
    if dtype.kind not in "biuf":
        raise TypeError(
            f"data[{name!r}] holds {dtype}, not numbers. Give categories and strings as the codes "
            "that the model indexes with (series.cat.codes, np.unique(x, return_inverse=True)), "
            "dates as numbers of days."
        )


def _check_block(
    name: str, x: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, length: int, done: int
) -> np.dtype:
    """Type of a block as the first one's, or an error."""
    if x.shape[1:] != shape or len(x) != length:
        raise ValueError(
            f"Blocks of {name!r} differ: rows of shape {shape} at first, and a block of shape "
            f"{x.shape}, where others have {length} rows, from row {done:,} on."
        )
    if x.dtype != dtype and not np.can_cast(x.dtype, dtype, "safe"):
        raise TypeError(
            f"{name!r} is {dtype} at first and {x.dtype} from row {done:,} on, as where values "
            "are missing. Fill them in, or give the column one type."
        )
    return dtype


def _check_room(n_rows: int, shapes: list[tuple[int, ...]], dtypes: list[np.dtype]) -> None:
    sizes = zip(shapes, dtypes, strict=True)
    needed = n_rows * sum(int(np.prod(s, dtype=int)) * d.itemsize for s, d in sizes)
    free = shutil.disk_usage(folder()).free
    if needed > free:
        raise OSError(
            f"A working copy of the rows takes {needed / 1e9:.1f} GB, and {folder()} has "
            f"{free / 1e9:.1f} GB free. Set the environment variable TMPDIR to a folder with more "
            "room, or give a file that can be read in any order: np.load(..., mmap_mode='r')."
        )
