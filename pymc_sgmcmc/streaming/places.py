"""Where rows lie that can be read in any order: in memory, or in a file as they would be there."""

from __future__ import annotations

import mmap
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

# Rows that change their type together, while they are in the processor's cache.
_CAST = 2**12


class Place(ABC):
    """All rows of one array, as they are: ``(N, ...)``.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @abstractmethod
    def read(self, first: int, stop: int) -> np.ndarray:
        """Rows from one number to before another."""

    @abstractmethod
    def take(self, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows of any numbers ``(k,)``, written into an array of any type if there is one."""

    def stamp(self) -> tuple[object, ...]:
        """What tells of a change without a look at the rows."""
        return ()


class Held(Place):
    """Rows in memory, which are the user's own.

    Parameters
    ----------
    array : ndarray
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, first: int, stop: int) -> np.ndarray:
        """Rows from one number to before another; see `Place.read`."""
        return self.array[first:stop]

    def take(self, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows of any numbers; see `Place.take`."""
        return _take(self.array, numbers, out)


class Mapped(Place):
    """Rows in a file, one after another, in C order.

    One after another they are read; here and there they are mapped: the system fetches the page
    that a row lies in, and keeps it as long as it has room.

    Parameters
    ----------
    path : Path
    offset : int
        Bytes before the first row.
    shape : tuple of int
    dtype : dtype
    """

    def __init__(
        self, path: Path | str, offset: int, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self._path, self._offset, self.shape, self.dtype = Path(path), offset, shape, dtype
        self._of_row = int(np.prod(shape[1:], dtype=int)) * dtype.itemsize
        with open(path, "rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):  # what lies beside a row is not wanted
            whole.madvise(mmap.MADV_RANDOM)
        size = shape[0] * self._of_row // dtype.itemsize
        self._array = np.frombuffer(whole, dtype, size, offset).reshape(shape)

    @classmethod
    def of(cls, array: np.memmap) -> Mapped:
        """Place of the rows of a memmap, or of a part of one, in its file."""
        source: Any = array
        whole = np.frombuffer(source._mmap, np.uint8)
        begin = source.offset - source.offset % mmap.ALLOCATIONGRANULARITY
        offset = begin + array.ctypes.data - whole.ctypes.data
        return cls(source.filename, offset, array.shape, array.dtype)

    def read(self, first: int, stop: int) -> np.ndarray:
        """Rows from one number to before another; see `Place.read`."""
        stop = min(stop, self.shape[0])
        count = (stop - first) * self._of_row // self.dtype.itemsize
        begin = self._offset + first * self._of_row
        rows = np.fromfile(self._path, self.dtype, count, offset=begin)
        if len(rows) < count:
            raise ValueError(f"{self._path} ends before row {stop:,}: it was cut off.")
        return rows.reshape(stop - first, *self.shape[1:])

    def take(self, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows of any numbers; see `Place.take`."""
        return _take(self._array, numbers, out)

    def stamp(self) -> tuple[object, ...]:
        """Length of the file and time of its last change."""
        now = os.stat(self._path)
        return str(self._path), now.st_size, now.st_mtime_ns

    def __reduce__(self) -> tuple[Any, ...]:
        return Mapped, (self._path, self._offset, self.shape, self.dtype)


def _take(array: np.ndarray, numbers: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return array.take(numbers, axis=0, mode="clip")
    if out.dtype == array.dtype:
        return array.take(numbers, axis=0, out=out, mode="clip")
    for i in range(0, len(numbers), _CAST):
        out[i : i + _CAST] = array.take(numbers[i : i + _CAST], axis=0, mode="clip")
    return out
